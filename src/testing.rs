//! Streams without a socket, for unit tests of your own strategies: a test plays the venue, and the code under test gets
//! the handles and subscriptions that it gets in production, with the same queues, overflow policies and declarations.
//!
//! Needs no feature. For whole connections (a login, a reconnect, a refused second connection) there is the simulator,
//! `trunkline::sim`, behind the feature `sim`.
//!
//! # Values
//! An event of each kind is made in one line, with plausible values for what is not said, all at the same time:
//! 2026-03-17T14:30:05Z, a Tuesday, in the market's regular session. Numbers are whatever prints as one: `"60.02"`, `60`, a
//! [`Decimal`]. Fields are public, so a test changes what it is about:
//! ```
//! use trunkline::testing;
//! let mut quote = testing::quote("KO", "60.00", "60.02");
//! quote.bid_size = 7.into();
//! assert_eq!(quote.to_string(), "KO quote 60.00 x 7 / 60.02 x 100 at 2026-03-17T14:30:05Z");
//! ```
//!
//! # Examples
//! A strategy that takes a subscription:
//! ```
//! use trunkline::{Decimal, Quote, Subscription, Update, alpaca, testing};
//!
//! /// The mid price of the last quote, or nothing once a quote may be missing.
//! fn last_mid(quotes: &Subscription<Quote>) -> Option<Decimal> {
//!     let mut mid = None;
//!     while let Ok(update) = quotes.try_recv() {
//!         mid = match update {
//!             Update::Event(quote) => quote.mid(),
//!             Update::Gap(_) | Update::Dropped(_) | Update::Ended(_) => None,
//!             Update::Notice(_) => mid,
//!         };
//!     }
//!     mid
//! }
//!
//! let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
//! feed.event(testing::quote("KO", 60, 62));
//! assert_eq!(last_mid(&quotes), Some(61.into()));
//! feed.gap();
//! assert_eq!(last_mid(&quotes), None);
//! feed.resume();
//! feed.event(testing::quote("KO", 62, 64));
//! assert_eq!(last_mid(&quotes), Some(63.into()));
//! feed.drop_events(7);
//! assert_eq!(last_mid(&quotes), None);
//! ```
//! One that subscribes for itself, by the handle of a stream:
//! ```
//! use trunkline::{
//!     EndReason, Result, StreamHandle, Subscription, testing,
//!     alpaca::{self, Feed, MarketData}, market::TradeEvent,
//! };
//!
//! struct Counter {
//!     trades: Subscription<TradeEvent>,
//! }
//!
//! impl Counter {
//!     fn new(feed: &StreamHandle<MarketData>) -> Result<Self> {
//!         let trades = feed.subscribe(alpaca::trades(["KO"]))?;
//!         Ok(Self { trades })
//!     }
//!
//!     /// How many trades there were until the end, which has to be
//!     /// a good one, without a loss before it.
//!     fn run(self) -> Result<usize> {
//!         let mut count = 0;
//!         for update in &self.trades {
//!             count += usize::from(update.strict()?.is_some());
//!         }
//!         Ok(count)
//!     }
//! }
//!
//! let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
//! let counter = Counter::new(&handle)?;
//! feed.event(testing::trade("KO", "61.28", 100));
//! feed.event(testing::trade("PEP", "150.10", 5)); // nobody has asked for it
//! feed.end(EndReason::Done);
//! assert_eq!(counter.run()?, 1);
//! # Ok::<(), trunkline::Error>(())
//! ```
//! Orders, from the first report to the last fill:
//! ```
//! use trunkline::{alpaca, testing, order::{OrderEvent, Side}};
//! let (account, updates) = testing::subscription(alpaca::orders());
//! let order = testing::order("KO", Side::Buy, 100);
//! account.event(testing::order_update(&order, OrderEvent::New));
//! let first = testing::fill(&order, 40, "61.28");
//! account.event(testing::fill(&first.order, 60, "61.29"));
//! assert_eq!(updates.drain().count(), 3); // confirmed, new, fill
//! ```

mod values;

use std::marker::PhantomData;

pub use self::values::{
    bar, cancel, correction, fill, imbalance, luld_band, news, order, order_book, order_update,
    perpetual_pricing, quote, status, trade,
};
#[cfg(doc)]
use crate::Decimal;
pub use crate::stream::in_memory::TestFeed;
use crate::{
    credentials::Credentials,
    key::Endpoint,
    stream::{StreamHandle, Subscription, in_memory},
    topic::{Payload, Topics},
    venue::{Context, Frame, Request, Routed, Session, Venue},
};

/// A stream of `venue` without a socket: the venue's side of it, and its first handle. It is live, and has nothing in
/// common with any other stream. What the venue says of topics, and its rules, count as on any other; it makes no session, and
/// nothing is connected.
#[must_use]
pub fn line<V: Venue>(venue: V) -> (TestFeed<V::Event>, StreamHandle<V>) {
    in_memory(venue)
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

#[cfg(test)]
#[cfg(feature = "serde")]
#[cfg(not(loom))]
mod tests;
