//! The contract between a venue's protocol and the stream that carries it. Sans-IO: no sockets, threads or clocks on this
//! side.
//!
//! A [`Venue`] is immutable and shared. For each connection it mints a fresh [`Session`], so the state of a dead
//! connection is dropped, never reset field by field. What users want to be subscribed to lives outside the session;
//! after a reconnect the new session is asked for it again.
//!
//! ```text
//!              handle_open ─┐                  ┌─ cx.event(..), cx.unparsed(..), cx.lost(..)
//!  connection  handle_frame ├─▶  Session  ──▶  ├─ cx.send(..), cx.send_secret(..)
//!              handle_close ┤                  ├─ cx.up(), cx.down(..)
//!  clock     handle_timeout ┤                  └─ cx.state(..), cx.confirmed(..), cx.subscribed(..), ..
//!  users            request ┘
//! ```

//!
//! # Examples
//! A venue of one's own: prices, one in each message, such as `KO 61.27`. A request is `sub 7 KO PEP`, and its answer `ok 7`.
//! ```
//! # use std::time::Duration;
//! use trunkline::{
//!     Channel, Credentials, Endpoint, Manager, Symbol, Topic, Topics, Update,
//!     event::Unparsed,
//!     venue::{Payload, Context, Frame, Message, Request, RequestId, Routed, Rules, Session, Venue, Verb},
//! };
//!
//! const PRICES: Channel = Channel::new("prices");
//!
//! #[derive(Clone, Debug)]
//! struct Price {
//!     symbol: [Symbol; 1],
//!     price: String,
//! }
//!
//! impl Routed for Price {
//!     fn channel(&self) -> Channel {
//!         PRICES
//!     }
//!     fn symbols(&self) -> &[Symbol] {
//!         &self.symbol
//!     }
//! }
//!
//! impl Payload for Price {
//!     type Source = Self;
//!     fn project(price: &Self) -> Option<impl FnOnce() -> Self> {
//!         Some(|| price.clone())
//!     }
//! }
//!
//! #[derive(Clone)]
//! struct Ticker(Endpoint);
//!
//! impl Venue for Ticker {
//!     type Event = Price;
//!     type Session = TickerSession;
//!
//!     fn endpoint(&self) -> &Endpoint {
//!         &self.0
//!     }
//!     fn rules(&self) -> Rules {
//!         // Its answers name the request.
//!         Rules::new().requests_at_once(4)
//!     }
//!     fn canonical(&self, topic: &Topic) -> Topic {
//!         Topic::new(topic.channel, topic.symbol.to_ascii_uppercase())
//!     }
//!     fn session(&self, _: Credentials) -> TickerSession {
//!         TickerSession
//!     }
//! }
//!
//! struct TickerSession;
//!
//! impl Session for TickerSession {
//!     type Event = Price;
//!
//!     fn handle_open(&mut self, cx: &mut Context<'_, Price>) {
//!         // There is no login.
//!         cx.up();
//!     }
//!     fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, Price>) {
//!         let text = String::from_utf8_lossy(frame.bytes());
//!         match text.split_once(' ').map(|(word, rest)| (word, rest, rest.parse())) {
//!             Some(("ok", _, Ok(id))) => cx.confirmed(RequestId::new(id)),
//!             Some((symbol, price, _)) if symbol != "ok" => cx.event(Price {
//!                 symbol: [symbol.into()],
//!                 price: price.to_owned(),
//!             }),
//!             _ => cx.unparsed(Unparsed::new(frame.bytes(), "neither a price nor an answer")),
//!         }
//!     }
//!     fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, Price>) {
//!         let verb = match request.verb {
//!             Verb::Subscribe => "sub",
//!             Verb::Unsubscribe => "unsub",
//!         };
//!         let symbols: Vec<&str> = request.topics.iter().map(|topic| &*topic.symbol).collect();
//!         cx.send(Message::Text(format!("{verb} {} {}", request.id, symbols.join(" "))));
//!     }
//! }
//!
//! # let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
//! # let endpoint = format!("ws://{}/", listener.local_addr()?).parse()?;
//! # let server = std::thread::spawn(move || {
//! #     let mut peer = tungstenite::accept(listener.accept().unwrap().0).unwrap();
//! #     let request = peer.read().unwrap().into_text().unwrap();
//! #     for text in ["ok 1", "KO 61.27"] {
//! #         peer.send(tungstenite::Message::text(text)).unwrap();
//! #     }
//! #     while peer.read().is_ok() {}
//! #     request.to_string()
//! # });
//! let line = Manager::new().open(&Ticker(endpoint), &Credentials::none())?;
//! let prices = line.subscribe(Topics::<Price>::new([Topic::new(PRICES, "ko")]))?;
//! prices.wait_confirmed(Duration::from_secs(20))?;
//! let price = prices.iter().find_map(|update| match update {
//!     Update::Event(price) => Some(price.data.price),
//!     _ => None,
//! });
//! assert_eq!(price.as_deref(), Some("61.27"));
//! # drop((prices, line));
//! # assert_eq!(server.join().unwrap(), "sub 1 KO");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod context;
mod events;
mod request;
mod rules;
mod secret;

use std::time::{Duration, Instant};

pub(crate) use self::{
    context::{Answer, Item, TopicAnswer},
    events::{Events, Stamped},
    rules::AttemptBudget,
};
pub use self::{
    context::{Context, Output, Verdict},
    request::{Request, RequestId, Verb},
    rules::Rules,
    secret::{Piece, SecretMessage},
};
pub use crate::topic::{Payload, Routed};
use crate::{
    calendar::Calendar,
    credentials::Credentials,
    error::{RejectionKind, Result},
    key::Endpoint,
    symbol_budget::SymbolBudget,
    topic::Topic,
};

/// An exchange and its protocol at one endpoint. Cheap to share, immutable.
pub trait Venue: Send + Sync + 'static {
    /// What its streams carry.
    type Event: Routed;
    /// The protocol of one connection.
    type Session: Session<Event = Self::Event>;

    /// Where it is.
    fn endpoint(&self) -> &Endpoint;

    /// What the record of an opening stream calls it. Credentials in it are masked.
    fn label(&self, credentials: &Credentials) -> String {
        let _ = credentials;
        self.endpoint().to_string()
    }

    /// Whatever else distinguishes two streams with the same key, by name and value: a codec, for example. A second
    /// opener whose settings differ gets an error that names them.
    fn settings(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Headers for the upgrade request. Never a secret: dependencies log them. A stream whose headers hold its
    /// credentials is not opened.
    fn headers(&self) -> Vec<(&'static str, String)> {
        Vec::new()
    }

    /// Its own numbers: how large its messages are, how much it may be asked for at once, how often it may be connected to.
    /// Asked for each time that a stream is opened. All who share a stream have the same: who opens it with others than the
    /// first gets [`ErrorKind::SettingsConflict`](crate::ErrorKind::SettingsConflict).
    fn rules(&self) -> Rules {
        Rules::new()
    }

    /// Refuses credentials that cannot be meant, before anything is connected.
    ///
    /// # Errors
    /// Whatever is wrong with them. Which stream they were for is filled in, and for whom.
    fn admit(&self, credentials: &Credentials) -> Result<()> {
        let _ = credentials;
        Ok(())
    }

    /// The one spelling of a topic that the venue's events and answers have, where users may write others: two spellings
    /// of one topic are asked for once, and both readers get its events; a price book knows a symbol by either. All that is asked of the venue or the session
    /// after this, and all that subscriptions are told, has this spelling; what a session says of topics must have it,
    /// too. Of its own result it makes the same, and of the symbol `*`, which stands for all, `*`. A price
    /// book asks for the spelling of its symbols on the channel of quotes. By default each topic is its own.
    fn canonical(&self, topic: &Topic) -> Topic {
        topic.clone()
    }

    /// Refuses a topic that this venue does not have, before anything is sent. It has its
    /// [canonical](Self::canonical) spelling.
    ///
    /// # Errors
    /// [`Error::invalid_topic`](crate::Error::invalid_topic), usually. Which stream it was asked of is filled in, and
    /// for whom.
    fn validate(&self, topic: &Topic) -> Result<()> {
        let _ = topic;
        Ok(())
    }

    /// What the events of a topic are to each other: it decides which queues a subscription may have. By default each
    /// stands for itself.
    fn delivery(&self, topic: &Topic) -> Delivery {
        let _ = topic;
        Delivery::Latest
    }

    /// When its market trades: expectations of data run only then. By default always.
    fn calendar(&self) -> Calendar {
        Calendar::always_open()
    }

    /// How often something has to arrive on a topic, in trading time, if that can be said: where it does not, the line is probed,
    /// then the topic is asked for again, then the line is replaced. By default it cannot: most symbols are quiet for
    /// hours. Less than a second counts as a second.
    fn expects(&self, topic: &Topic) -> Option<Duration> {
        let _ = topic;
        None
    }

    /// Whether a topic that brings something every second can be expected to go on. Where one falls silent for far longer
    /// than it ever was, half a minute at least, it is asked for again; a line on which all of them do is mute. By default
    /// so, except where every event counts: of orders nothing can be expected.
    fn has_rhythm(&self, topic: &Topic) -> bool {
        self.delivery(topic) != Delivery::Every
    }

    /// What an HTTP status means that answers the upgrade in place of a WebSocket. By default 408, 425, 429 and 500 and
    /// above are [temporary](RejectionKind::Temporary), and any other is a
    /// [bad request](RejectionKind::BadRequest): it ends a stream that was never live. The wait that a `Retry-After` asks
    /// for is kept to in any case.
    fn judge_status(&self, status: u16) -> RejectionKind {
        usual_meaning(status)
    }

    /// What the venue's plan grants to one connection, where the stream is to keep to it. By default it does not: what
    /// the venue refuses is refused.
    fn symbol_budget(&self) -> Option<SymbolBudget> {
        None
    }

    /// The protocol's state for a new connection. Drop the credentials once they were sent.
    fn session(&self, credentials: Credentials) -> Self::Session;
}

/// Of an HTTP status.
pub(crate) fn usual_meaning(status: u16) -> RejectionKind {
    match status {
        408 | 425 | 429 | 500.. => RejectionKind::Temporary,
        _ => RejectionKind::BadRequest,
    }
}

/// What the events of a topic are to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Delivery {
    /// Each stands for itself, as a quote does: a queue that is full may drop some, or keep the newest alone.
    Latest,
    /// Each counts, as an order update does. A queue that drops is refused, and the queue of a subscription that chose none
    /// ends it when it is full, whatever [`Config::queue`](crate::Config::queue) says.
    Every,
    /// Each changes what the one before left, as in an order book, and the first after a request is whole. The same
    /// queues are refused. Where somebody joins a topic that is sent already, the topic is asked for again, so that all who
    /// read it begin with a whole one: each of them is told by a [`Gap`](crate::Gap) of this topic.
    Changes,
}

/// The protocol of one connection: frames, deadlines and requests in, everything else out, by way of the [`Context`].
///
/// Runs on the stream's own thread, never under a lock. Must not block: a stream whose session blocks cannot be
/// stopped in time.
pub trait Session: Send {
    /// What it makes of frames.
    type Event;

    /// The WebSocket is open.
    fn handle_open(&mut self, cx: &mut Context<'_, Self::Event>);

    /// A whole message arrived.
    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, Self::Event>);

    /// The peer closes the connection, with a code if it gave one (RFC 6455, 7.4). Unless the session puts out a
    /// verdict of its own, the connection is lost, and tried again.
    fn handle_close(&mut self, code: Option<u16>, cx: &mut Context<'_, Self::Event>) {
        let _ = (code, cx);
    }

    /// The time that [`deadline`](Self::deadline) named has come.
    fn handle_timeout(&mut self, cx: &mut Context<'_, Self::Event>) {
        let _ = cx;
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Sends one request. Called only between [`Context::up`] and the end. The venue's answer goes to the context that the
    /// session has when it hears it: see there, also for a venue that has none.
    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, Self::Event>);
}

/// A whole WebSocket message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// Text, checked to be UTF-8.
    Text(&'a str),
    /// Bytes.
    Binary(&'a [u8]),
}

impl<'a> Frame<'a> {
    /// The payload of either kind.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// A message to send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Text.
    Text(String),
    /// Bytes.
    Binary(Vec<u8>),
}
