//! Streams without a socket, for unit tests of your own strategies: a test plays the venue, and the code under test gets
//! the handles and subscriptions that it gets in production, with the same queues, overflow policies and declarations.
//!
//! Needs no feature. For whole connections (a login, a reconnect, a refused second connection) there is the simulator,
//! `trunkline::sim`, behind the feature `sim`.
//!
//! # Examples
//! A strategy that takes a subscription:
//! ```
//! # use trunkline::{Code, MarketEvent, Quote, Subscription, Update, alpaca, testing, Conditions, Decimal};
//! /// The mid price of the last quote, or nothing once a quote may be missing.
//! fn last_mid(quotes: &Subscription<Quote>) -> Option<Decimal> {
//!     let mut mid = None;
//!     while let Ok(update) = quotes.try_recv() {
//!         mid = match update {
//!             Update::Event(quote) => Some((quote.bid_price + quote.ask_price) / Decimal::TWO),
//!             Update::Gap(_) | Update::Dropped(_) | Update::Ended(_) => None,
//!             Update::Notice(_) => mid,
//!         };
//!     }
//!     mid
//! }
//!
//! # fn quote(bid: i64, ask: i64) -> MarketEvent {
//! #     MarketEvent::Quote(Quote {
//! #         symbol: "KO".into(), bid_exchange: "V".into(), bid_price: bid.into(), bid_size: 1.into(),
//! #         ask_exchange: "V".into(), ask_price: ask.into(), ask_size: 1.into(), exchange: Code::default(), conditions: Conditions::default(),
//! #         tape: "A".into(), timestamp: "2026-03-17T14:30:05Z".parse().unwrap(),
//! #     })
//! # }
//! let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
//! feed.event(quote(60, 62));
//! assert_eq!(last_mid(&quotes), Some(61.into()));
//! feed.gap();
//! assert_eq!(last_mid(&quotes), None);
//! feed.resume();
//! feed.event(quote(62, 64));
//! assert_eq!(last_mid(&quotes), Some(63.into()));
//! feed.drop_events(7);
//! assert_eq!(last_mid(&quotes), None);
//! ```
//! One that subscribes for itself, by the handle of a stream:
//! ```
//! # use trunkline::{EndReason, Result, StreamHandle, Subscription, Trade, TradeEvent, alpaca::{self, Feed, MarketData}, testing};
//! struct Counter {
//!     trades: Subscription<TradeEvent>,
//! }
//!
//! impl Counter {
//!     fn new(feed: &StreamHandle<MarketData>) -> Result<Self> {
//!         Ok(Self { trades: feed.subscribe(alpaca::trades(["KO"]))? })
//!     }
//!
//!     /// How many updates there were until the end, which has to be a good one, without a loss before it.
//!     fn run(self) -> Result<usize> {
//!         self.trades.iter().map(|update| update.strict().map(|event| usize::from(event.is_some()))).sum()
//!     }
//! }
//!
//! let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
//! let counter = Counter::new(&handle)?;
//! # let trade = |symbol: &str| trunkline::MarketEvent::Trade(Trade {
//! #     symbol: symbol.into(), id: Some(1), exchange: "V".into(), price: 61.into(), size: 1.into(),
//! #     taker_side: trunkline::Code::default(), update: trunkline::Code::default(),
//! #     conditions: trunkline::Conditions::default(), tape: "A".into(),
//! #     timestamp: "2026-03-17T14:30:05Z".parse().unwrap(),
//! # });
//! feed.events([trade("KO"), trade("PEP")]); // nobody has asked for PEP
//! feed.end(EndReason::Done);
//! assert_eq!(counter.run()?, 1);
//! # Ok::<(), trunkline::Error>(())
//! ```

use std::marker::PhantomData;

pub use crate::stream::TestFeed;
use crate::{
    credentials::Credentials,
    key::Endpoint,
    stream::{StreamHandle, Subscription, rehearse},
    topic::{Payload, Topics},
    venue::{Context, Frame, Request, Routed, Session, Venue},
};

/// A stream of `venue` without a socket: the venue's side of it, and its first handle. It is live, and has nothing in
/// common with any other stream; the venue is asked which topics it has, and nothing else.
#[must_use]
pub fn line<V: Venue>(venue: V) -> (TestFeed<V::Event>, StreamHandle<V>) {
    rehearse(venue)
}

/// A subscription to `topics`, with the queue that they choose, and what feeds it.
///
/// # Panics
/// When `topics` choose a queue of no length, or of next to no bytes.
pub fn subscription<T: Payload<Source: Routed>>(
    topics: Topics<T>,
) -> (TestFeed<T::Source>, Subscription<T>) {
    let (feed, handle) = line(Anything {
        endpoint: Endpoint::wss("test.invalid", ""),
        events: PhantomData,
    });
    let subscription = handle
        .subscribe(topics)
        .expect("a stream that has just begun takes any topics whose queue has room");
    (feed, subscription)
}

/// A venue that has every topic, and a session that is never asked for.
struct Anything<E> {
    endpoint: Endpoint,
    events: PhantomData<fn() -> E>,
}

impl<E: Routed> Venue for Anything<E> {
    type Event = E;
    type Session = Nothing<E>;

    fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    fn session(&self, _: Credentials) -> Nothing<E> {
        Nothing(PhantomData)
    }
}

struct Nothing<E>(PhantomData<fn() -> E>);

impl<E: Routed> Session for Nothing<E> {
    type Event = E;
    fn handle_open(&mut self, _: &mut Context<'_, E>) {}
    fn handle_frame(&mut self, _: Frame<'_>, _: &mut Context<'_, E>) {}
    fn request(&mut self, _: Request<'_>, _: &mut Context<'_, E>) {}
}
