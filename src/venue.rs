//! The contract between a venue's protocol and the stream that carries it. Sans-IO: no sockets, threads, clock or
//! randomness on this side.
//!
//! A [`Venue`] is immutable and shared. For each connection it mints a fresh [`Session`], so the state of a dead
//! connection is dropped, never reset field by field. What users want to be subscribed to lives outside the session;
//! after a reconnect the new session is asked for it again.
//!
//! ```text
//!              handle_open ─┐                  ┌─ out.event(..), out.unparsed(..)
//!  connection  handle_frame ├─▶  Session  ──▶  ├─ out.send(..), out.send_secret(..)
//!              handle_close ┤                  ├─ out.up(), out.down(..)
//!  clock     handle_timeout ┤                  └─ out.confirmed(..), out.refused(..)
//!  users            request ┘
//! ```

mod events;

use std::{
    collections::VecDeque,
    fmt,
    time::{Duration, Instant},
};

use zeroize::Zeroizing;

pub(crate) use self::events::{Events, Stamped};
use crate::{
    calendar::Calendar,
    credentials::{Credentials, json_escape},
    error::{Rejection, Result},
    event::{OddFields, Unparsed},
    key::Endpoint,
    market::{Symbol, Timestamp},
    symbol_budget::SymbolBudget,
    topic::{Channel, Topic},
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

    /// Refuses credentials that cannot be meant, before anything is connected.
    ///
    /// # Errors
    /// Whatever is wrong with them. Which stream they were for is filled in, and for whom.
    fn admit(&self, credentials: &Credentials) -> Result<()> {
        let _ = credentials;
        Ok(())
    }

    /// Refuses a topic that this venue does not have, before anything is sent.
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

    /// After how long a silence its peer is to be pinged at the latest, where that is less than
    /// [`Config::ping_interval`](crate::Config::ping_interval). By default that is all there is.
    fn ping_interval(&self) -> Option<Duration> {
        None
    }

    /// How often something has to arrive on a topic, in trading time, if that can be said: where it does not, the line is probed,
    /// then the topic is asked for again, then the line is replaced. By default it cannot: most symbols are quiet for hours.
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

    /// What the venue's plan grants to one connection, where the stream is to keep to it. By default it does not: what
    /// the venue refuses is refused.
    fn symbol_budget(&self) -> Option<SymbolBudget> {
        None
    }

    /// Whether it answers for each topic of a request by itself: then a refusal that names no topic concerns one of them. By
    /// default it answers for the request.
    fn answers_per_topic(&self) -> bool {
        false
    }

    /// How many topics one request may name.
    fn request_limit(&self) -> usize {
        100
    }

    /// The protocol's state for a new connection. Drop the credentials once they were sent.
    fn session(&self, credentials: Credentials) -> Self::Session;
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

/// The protocol of one connection: frames, deadlines and wishes in, everything else out.
///
/// Runs on the stream's own thread, never under a lock. Must not block: a stream whose session blocks cannot be
/// stopped in time.
pub trait Session: Send {
    /// What it makes of frames.
    type Event;

    /// The WebSocket is open.
    fn handle_open(&mut self, now: Instant, out: &mut Output<Self::Event>);

    /// A whole message arrived.
    fn handle_frame(&mut self, now: Instant, frame: Frame<'_>, out: &mut Output<Self::Event>);

    /// The peer closes the connection, with a code if it gave one (RFC 6455, 7.4). Unless the session puts out a
    /// verdict of its own, the connection is lost, and tried again.
    fn handle_close(&mut self, now: Instant, code: Option<u16>, out: &mut Output<Self::Event>) {
        let _ = (now, code, out);
    }

    /// The time that [`deadline`](Self::deadline) named has come.
    fn handle_timeout(&mut self, now: Instant, out: &mut Output<Self::Event>) {
        let _ = (now, out);
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called.
    fn deadline(&self) -> Option<Instant> {
        None
    }

    /// Sends one request. Called only between [`Output::up`] and the end, and not again before the answer, which is
    /// [`Output::confirmed`] or [`Output::refused`].
    fn request(&mut self, now: Instant, request: Request<'_>, out: &mut Output<Self::Event>);
}

/// A change of what the venue should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request<'a> {
    /// Send these, too.
    Subscribe(&'a [Topic]),
    /// Send these no longer.
    Unsubscribe(&'a [Topic]),
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

/// Says where an event belongs, so that it reaches those who asked for it.
pub trait Routed: Clone + Send + Sync + 'static {
    /// The channel it came on.
    fn channel(&self) -> Channel;

    /// The symbols it is about. Those who asked for the whole channel get it in any case.
    fn symbols(&self) -> &[Symbol];

    /// When it happened by the venue's clock, if that says how old it was when it was sent: the time of a trade does,
    /// the start of a bar does not.
    fn happened_at(&self) -> Option<Timestamp> {
        None
    }

    /// How many bytes it keeps outside of itself, for the bound in bytes of the queues that it waits in
    /// ([`QueueLimit::bytes`](crate::QueueLimit::bytes)). Only what may be large has to be counted, such as the levels of an
    /// order book or the text of an article. Asked once for each event, on the stream's thread: add up lengths, and no more.
    /// By default zero, and the event counts with its own size alone.
    fn heap_size(&self) -> usize {
        0
    }

    /// What no other event has but one that the venue sends again. Each subscription remembers its last 4,096 of these,
    /// across reconnects too, and is not given the same twice; health counts them. By default nothing, and nothing is
    /// taken for a repeat.
    fn unique_id(&self) -> Option<String> {
        None
    }
}

/// A message that holds a secret. It is built in memory that is wiped, and sent past everything that keeps or logs
/// copies.
pub struct SecretMessage {
    bytes: Zeroizing<Vec<u8>>,
    text: bool,
}

impl SecretMessage {
    /// Builds a text message from the pieces that `write` hands out.
    ///
    /// `write` is called twice with the same pieces: once to measure, once to fill a buffer of exactly that size.
    ///
    /// # Examples
    /// ```
    /// # use trunkline::{Credentials, venue::{Piece, SecretMessage}};
    /// # let credentials = Credentials::new("PKEXAMPLE", "sEXAMPLE").unwrap();
    /// let login = credentials.expose(|key, secret| {
    ///     SecretMessage::text(|piece| {
    ///         piece(Piece::Plain(r#"{"key":""#));
    ///         piece(Piece::JsonString(key));
    ///         piece(Piece::Plain(r#"","secret":""#));
    ///         piece(Piece::JsonString(secret));
    ///         piece(Piece::Plain(r#""}"#));
    ///     })
    /// });
    /// assert_eq!(format!("{login:?}"), "SecretMessage(***)");
    /// ```
    pub fn text(write: impl Fn(&mut dyn FnMut(Piece<'_>))) -> Self {
        Self::new(write, true)
    }

    /// Builds a binary message from the pieces that `write` hands out, as [`text`](Self::text) does.
    pub fn binary(write: impl Fn(&mut dyn FnMut(Piece<'_>))) -> Self {
        Self::new(write, false)
    }

    fn new(write: impl Fn(&mut dyn FnMut(Piece<'_>)), text: bool) -> Self {
        let mut len = 0;
        write(&mut |piece| piece.each(|bytes| len += bytes.len()));
        let mut bytes = Zeroizing::new(Vec::with_capacity(Self::HEADROOM + len));
        bytes.resize(Self::HEADROOM, 0);
        write(&mut |piece| piece.each(|piece| bytes.extend_from_slice(piece)));
        Self { bytes, text }
    }

    /// The buffer, with room for a WebSocket header in front of the payload, and whether it is text.
    pub(crate) fn into_parts(self) -> (Zeroizing<Vec<u8>>, bool) {
        (self.bytes, self.text)
    }

    /// The longest header of a client's frame: two bytes, an eight-byte length, a four-byte mask (RFC 6455, 5.2).
    pub(crate) const HEADROOM: usize = 14;
}

impl fmt::Debug for SecretMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretMessage(***)")
    }
}

/// A piece of a [`SecretMessage`].
#[derive(Clone, Copy)]
pub enum Piece<'a> {
    /// Written as it is.
    Plain(&'a str),
    /// Escaped as the inside of a JSON string. Credentials are ASCII without control characters.
    JsonString(&'a str),
    /// Written as they are. In a text message they must be UTF-8.
    Bytes(&'a [u8]),
    /// A MessagePack string: its length in front, in as few bytes as can be.
    MessagePackString(&'a str),
}

impl Piece<'_> {
    fn each(self, mut write: impl FnMut(&[u8])) {
        match self {
            Self::Plain(text) => write(text.as_bytes()),
            Self::JsonString(text) => json_escape(text.as_bytes(), write),
            Self::Bytes(bytes) => write(bytes),
            Self::MessagePackString(text) => {
                let len = text.len();
                match (u8::try_from(len), u16::try_from(len), u32::try_from(len)) {
                    (Ok(len @ ..32), ..) => write(&[0xa0 | len]),
                    (Ok(len), ..) => write(&[0xd9, len]),
                    (_, Ok(len), _) => {
                        write(&[0xda]);
                        write(&len.to_be_bytes());
                    }
                    (.., len) => {
                        write(&[0xdb]);
                        write(&len.unwrap_or(u32::MAX).to_be_bytes());
                    }
                }
                write(text.as_bytes());
            }
        }
    }
}

impl fmt::Debug for Piece<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Piece(***)")
    }
}

/// How a session ends its connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The venue refused. Whether the stream ends or tries again follows from the kind of rejection.
    Rejected(Rejection),
    /// The venue did not keep to its protocol. Tried again.
    Protocol(String),
    /// There is nothing more to come. Ends the stream, in good order.
    Done,
}

/// Where a [`Session`] puts what it makes. Order is kept.
///
/// Events lie in one vector that becomes the batch that subscribers share; everything else is rare, and remembers how
/// many events stood before it.
pub struct Output<E> {
    received: Instant,
    events: Events<E>,
    rest: VecDeque<(usize, Item)>,
}

/// Something a session put out that is not an event.
pub(crate) enum Item {
    Unparsed(Unparsed),
    Send(Message),
    SendSecret(SecretMessage),
    Up,
    Down(Verdict),
    Confirmed(Confirmed),
    Refused(Option<Topic>, Rejection),
    Resync(Vec<Topic>),
}

/// What the venue confirmed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmed {
    /// The request, as it was sent.
    Request,
    /// Everything that the venue sends now, asked for or not. It is the truth of its moment: what it lists and nobody wants
    /// is unsubscribed, and what it lists no longer is a loss to those who want it, and is asked for again. If it shows any
    /// of the change that was asked for, what it does not show of that was refused.
    State(Vec<Topic>),
    /// One topic is sent from here on. For a venue that answers for each topic.
    Subscribed(Topic),
    /// One topic is sent no longer.
    Unsubscribed(Topic),
}

impl<E> Output<E> {
    /// An empty one: the driver's, or that of a test of a session. Events are stamped with `received`.
    #[must_use]
    pub fn new(received: Instant) -> Self {
        Self {
            received,
            events: Events::new(),
            rest: VecDeque::new(),
        }
    }

    /// An event for those who subscribed to it.
    #[inline]
    pub fn event(&mut self, event: E) {
        self.events.push(event, self.received);
    }

    /// The same, where some of its fields came in a form that could not be read and are absent for that.
    pub fn odd_event(&mut self, event: E, odd_fields: OddFields) {
        self.events.push_odd(event, self.received, odd_fields);
    }

    /// Something that could not be read. It is counted, and shown to the subscriptions that it
    /// [concerns](Unparsed::concerns).
    pub fn unparsed(&mut self, item: Unparsed) {
        self.push(Item::Unparsed(item));
    }

    /// Topics whose events build on each other, one of which was missed: they are unsubscribed and subscribed to again,
    /// so that the venue begins them anew. Nothing more of them is delivered until they are confirmed again: those who want
    /// them are told by a [`Gap`](crate::Gap) of these topics, and when it is over. Report what could not be read with [`unparsed`](Self::unparsed) first.
    pub fn resync(&mut self, topics: Vec<Topic>) {
        self.push(Item::Resync(topics));
    }

    /// A message to send. One that holds the stream's credentials is not sent, and ends the connection: it belongs to
    /// [`send_secret`](Self::send_secret).
    pub fn send(&mut self, message: Message) {
        self.push(Item::Send(message));
    }

    /// A message to send that must not be logged or kept.
    pub fn send_secret(&mut self, message: SecretMessage) {
        self.push(Item::SendSecret(message));
    }

    /// The connection is authenticated, and requests can be sent.
    pub fn up(&mut self) {
        self.push(Item::Up);
    }

    /// The connection is of no more use.
    pub fn down(&mut self, verdict: Verdict) {
        self.push(Item::Down(verdict));
    }

    /// What the venue sends, or sends no longer: the answer to the request in flight, or news.
    pub fn confirmed(&mut self, confirmed: Confirmed) {
        self.push(Item::Confirmed(confirmed));
    }

    /// The request in flight was refused whole, or, at a venue that [answers per topic](Venue::answers_per_topic), one topic of
    /// it. A request that is refused whole is halved until the topic that the venue objects to stands alone. With none in
    /// flight the refusal is shown as an item that could not be read.
    pub fn refused(&mut self, rejection: Rejection) {
        self.push(Item::Refused(None, rejection));
    }

    /// One topic of the request in flight was refused.
    pub fn refused_topic(&mut self, topic: Topic, rejection: Rejection) {
        self.push(Item::Refused(Some(topic), rejection));
    }

    /// The events so far, for tests of a session.
    pub fn events(&self) -> impl Iterator<Item = &E> {
        self.events.iter().map(|stamped| &stamped.event)
    }

    fn push(&mut self, item: Item) {
        self.rest.push_back((self.events.len(), item));
    }

    pub(crate) fn stamp(&mut self, received: Instant) {
        self.received = received;
    }

    /// How many events wait to be taken.
    pub(crate) fn pending(&self) -> usize {
        self.events.len()
    }

    /// The events in front of the next item, and that item; nothing when only events are left.
    pub(crate) fn next_item(&mut self) -> Option<(Events<E>, Item)> {
        let (before, item) = self.rest.pop_front()?;
        let events = self.events.take_first(before);
        for (position, _) in &mut self.rest {
            *position -= before;
        }
        Some((events, item))
    }

    /// The events that are left once every item was taken.
    pub(crate) fn take_events(&mut self) -> Events<E> {
        debug_assert!(self.rest.is_empty());
        std::mem::replace(&mut self.events, Events::new())
    }

    /// Takes memory for the events to come, emptied, from whoever took the last ones.
    pub(crate) fn reuse(&mut self, mut memory: Events<E>) {
        memory.clear();
        if self.events.is_empty() {
            self.events = memory;
        }
    }

    /// Forgets everything: what is left of a dead connection is never delivered.
    pub(crate) fn clear(&mut self) {
        self.events.clear();
        self.rest.clear();
    }
}

impl<E> fmt::Debug for Output<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output")
            .field("events", &self.events.len())
            .field("rest", &self.rest.len())
            .finish()
    }
}
