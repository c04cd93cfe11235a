//! What can be subscribed to: a channel and a symbol, and how much of it may wait for a slow reader.

use std::{cmp::Ordering, fmt, marker::PhantomData, str::FromStr, time::Duration};

use crate::{
    correlation::CorrelationId, invalid::InvalidValue, names::Symbol, remedy::Remedy,
    timestamp::Timestamp,
};

/// A kind of message that a venue offers, by the venue's own name for it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Channel(&'static str);

impl Ord for Channel {
    /// Ordered maps of topics compare channels all the time, and nearly always one with itself.
    fn cmp(&self, other: &Self) -> Ordering {
        if self.is_at(*other) {
            return Ordering::Equal;
        }
        self.0.cmp(other.0)
    }
}

impl PartialOrd for Channel {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Channel {
    /// The channel called `name` by its venue.
    #[must_use]
    pub const fn new(name: &'static str) -> Self {
        Self(name)
    }

    /// Whether both names lie in the same place: then they are the same. Names that lie elsewhere may be, too.
    #[inline]
    pub(crate) fn is_at(self, other: Self) -> bool {
        std::ptr::eq(self.0, other.0)
    }

    /// The venue's name for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        self.0
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Channel {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0)
    }
}

/// One channel of one symbol; the symbol `*` stands for all of them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Topic {
    /// The channel.
    pub channel: Channel,
    /// The symbol, or `*`.
    pub symbol: Symbol,
}

impl Topic {
    /// A topic.
    #[must_use]
    pub fn new(channel: Channel, symbol: impl Into<Symbol>) -> Self {
        Self {
            channel,
            symbol: symbol.into(),
        }
    }

    /// Whether it stands for every symbol of its channel.
    #[must_use]
    pub fn is_wildcard(&self) -> bool {
        self.symbol.as_str() == "*"
    }
}

impl fmt::Display for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.channel, self.symbol)
    }
}

impl fmt::Debug for Topic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Topic {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Some topics for a reader: the first few, and how many more.
pub(crate) fn list(topics: &[Topic]) -> String {
    const SHOWN: usize = 8;
    let mut text = topics
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" ");
    if topics.len() > SHOWN {
        text.push_str(&format!(" and {} more", topics.len() - SHOWN));
    }
    text
}

/// What a subscription yields: the venue's events of type `Source`, seen as `Self`.
///
/// Implement it for your own venue's event type to subscribe to that, with `Source = Self` and `Some(|| event.clone())`.
pub trait Payload: Sized + 'static {
    /// The event type of the venues that this can be read from.
    type Source: Send + Sync + 'static;

    /// What makes this view of `event`, or nothing where the event is of another kind. It is made where the reader
    /// wants it: moving a large event costs as much as making it.
    fn project(event: &Self::Source) -> Option<impl FnOnce() -> Self>;

    /// What whoever reads these should do after a loss, for the error that [`Update::strict`](crate::Update::strict)
    /// makes of it. By default [`Remedy::Backfill`].
    #[must_use]
    fn after_loss() -> Remedy {
        Remedy::Backfill
    }
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
    /// ([`QueueLimit::bytes`](crate::stream::QueueLimit::bytes)). Only what may be large has to be counted, such as the levels of an
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

/// Topics to subscribe to, typed by what they yield, and the queue that holds what was not read yet.
///
/// Venues give functions that make them, such as [`alpaca::quotes`](crate::alpaca::quotes).
///
/// # Examples
/// ```
/// use trunkline::{alpaca, MarketEvent, Overflow, Topics};
/// let quotes = alpaca::quotes(["AAPL", "MSFT"]).queue(1_000, Overflow::DropOldest);
/// let mixed = Topics::<MarketEvent>::mixed().and(quotes).and(alpaca::trades(["AAPL"]));
/// assert_eq!(mixed.iter().count(), 3);
/// ```
pub struct Topics<T> {
    topics: Vec<Topic>,
    queue: Option<QueueLimit>,
    queue_bytes: Option<usize>,
    expected: Option<Duration>,
    correlation: Option<CorrelationId>,
    priority: i32,
    yields: PhantomData<fn() -> T>,
}

impl<T: Payload> Topics<T> {
    /// Topics that yield `T`.
    pub fn new(topics: impl IntoIterator<Item = Topic>) -> Self {
        let mut topics: Vec<_> = topics.into_iter().collect();
        topics.sort();
        topics.dedup();
        Self {
            topics,
            queue: None,
            queue_bytes: None,
            expected: None,
            correlation: None,
            priority: 0,
            yields: PhantomData,
        }
    }

    /// No topics yet; [`and`](Self::and) adds them.
    #[must_use]
    pub fn mixed() -> Self {
        Self::new([])
    }

    /// These topics and those of `other`, whatever those yield by themselves. The queue, and the rest, stays this
    /// one's.
    #[must_use]
    pub fn and<U: Payload<Source = T::Source>>(self, other: Topics<U>) -> Self {
        Self {
            queue: self.queue,
            queue_bytes: self.queue_bytes,
            expected: self.expected,
            correlation: self.correlation,
            priority: self.priority,
            ..Self::new(self.topics.into_iter().chain(other.topics))
        }
    }

    /// Lets `events` events wait for the reader, and says what to do with more. By default the queue of
    /// [`Config`](crate::Config) holds.
    #[must_use]
    pub fn queue(self, events: usize, overflow: Overflow) -> Self {
        Self {
            queue: Some(QueueLimit::new(events, overflow)),
            ..self
        }
    }

    /// Lets events of `bytes` bytes in all wait for the reader: what does not fit is treated like what is more events than
    /// the queue is long, by the same policy. See [`QueueLimit::bytes`] for what is counted. By default that of
    /// [`Config::queue`](crate::Config::queue) holds, which leaves 64 MiB for order books and articles.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{alpaca, Overflow};
    /// let books = alpaca::orderbooks(["BTC/USD"]);
    /// let books = books.queue(1_000, Overflow::DropOldest).queue_bytes(8 << 20);
    /// ```
    #[must_use]
    pub fn queue_bytes(self, bytes: usize) -> Self {
        Self {
            queue_bytes: Some(bytes),
            ..self
        }
    }

    /// Expects something to arrive on each of these topics at least this often while the market's regular session lasts: on each
    /// symbol that is named, and on a wildcard as a whole. Whatever other topics bring says nothing of one that is mute. The
    /// line is probed then. If it answers, and the topic stays mute, that topic alone is asked for again, which its readers are
    /// told by a [`Gap`](crate::Gap) that names it. If that does not help, the connection is replaced: once a day for a
    /// topic of which its successor brings nothing either, and not at all beyond the [calendar's](crate::calendar::Calendar) table, since
    /// the market may be closed. By default only what the venue itself expects is, and that topics which were busy go on
    /// ([`Venue::has_rhythm`](crate::venue::Venue::has_rhythm)): for quiet symbols no such time can be named. Less than a second
    /// counts as a second.
    #[must_use]
    pub fn expect_within(self, time: Duration) -> Self {
        Self {
            expected: Some(time),
            ..self
        }
    }

    /// Names whose subscription it will be, with a [correlation id](CorrelationId): narrower than that of the handle.
    /// With topics that are [added](crate::Subscription::add), only that call's own error says it.
    #[must_use]
    pub fn correlated(self, id: impl fmt::Display) -> Self {
        Self {
            correlation: CorrelationId::of(id).or(self.correlation),
            ..self
        }
    }

    /// What these topics are worth where the venue's plan grants too few: see [`SymbolBudget`](crate::SymbolBudget). By
    /// default 0; higher numbers displace lower ones. It is the subscription's, and holds for topics that are
    /// [added](crate::Subscription::add), too.
    #[must_use]
    pub fn priority(self, priority: i32) -> Self {
        Self { priority, ..self }
    }

    /// Lets only the newest event of each topic wait: for readers that want the latest, and not every one.
    #[must_use]
    pub fn conflate(self) -> Self {
        self.queue(65_536, Overflow::Conflate)
    }

    /// The topics, sorted, each once.
    pub fn iter(&self) -> impl Iterator<Item = &Topic> {
        self.topics.iter()
    }

    pub(crate) fn into_parts(self) -> Parts {
        Parts {
            topics: self.topics,
            queue: self.queue,
            queue_bytes: self.queue_bytes,
            expected: self.expected,
            correlation: self.correlation,
            priority: self.priority,
        }
    }
}

/// What [`Topics`] are made of.
#[derive(Default)]
pub(crate) struct Parts {
    pub(crate) topics: Vec<Topic>,
    pub(crate) queue: Option<QueueLimit>,
    pub(crate) queue_bytes: Option<usize>,
    pub(crate) expected: Option<Duration>,
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) priority: i32,
}

impl<T> Clone for Topics<T> {
    fn clone(&self) -> Self {
        Self {
            topics: self.topics.clone(),
            queue: self.queue,
            queue_bytes: self.queue_bytes,
            expected: self.expected,
            correlation: self.correlation.clone(),
            priority: self.priority,
            yields: PhantomData,
        }
    }
}

impl<T> fmt::Debug for Topics<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Topics")
            .field("topics", &self.topics)
            .field("queue", &self.queue)
            .field("queue_bytes", &self.queue_bytes)
            .field("expected", &self.expected)
            .field("priority", &self.priority)
            .field("correlation", &self.correlation)
            .finish()
    }
}

/// How much may wait in a subscription's queue, and what happens to more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct QueueLimit {
    /// Events that may wait. A reader that works through what it has taken holds up to as many again.
    pub events: usize,
    /// What happens to more.
    pub overflow: Overflow,
    /// Bytes that they may take. Default `None`: 64 MiB beside what so many [`events`](Self::events) take by themselves, so
    /// that it never bites for events of a fixed size, such as quotes.
    ///
    /// An event counts with its own size and what it [keeps outside of itself](crate::venue::Routed::heap_size): the levels
    /// of an order book, the texts of an article. One event may always wait, however large it is. Events of one read
    /// are kept together, and shared by the queues that they are in: each queue counts its own, so several count the
    /// same memory. What is kept for the sake of a queue is at most four times what it counts, and the events of one read
    /// more.
    pub bytes: Option<usize>,
}

impl QueueLimit {
    /// A limit of `events`, treated as `overflow` says.
    #[must_use]
    pub const fn new(events: usize, overflow: Overflow) -> Self {
        Self {
            events,
            overflow,
            bytes: None,
        }
    }

    /// # Errors
    /// For a queue of no length, or of next to no bytes.
    pub(crate) fn validate(self) -> Result<(), InvalidValue> {
        if self.events == 0 {
            return Err(InvalidValue::new(
                "a queue of 0 events holds none: give it 1 or more",
            ));
        }
        if self.bytes.is_some_and(|bytes| bytes < LEAST_BYTES) {
            return Err(InvalidValue::new(
                "a queue of less than 1,024 bytes holds next to nothing: `QueueLimit::bytes` counts bytes",
            ));
        }
        Ok(())
    }

    /// The bound in bytes for events that take `size` bytes each by themselves.
    pub(crate) fn bytes_for(self, size: usize) -> usize {
        let fixed = self.events.saturating_mul(size);
        self.bytes
            .unwrap_or_else(|| fixed.saturating_add(DEFAULT_BYTES))
    }
}

/// For what events keep outside of themselves, where no bound was chosen.
const DEFAULT_BYTES: usize = 64 << 20;
/// Whoever gives less has another unit in mind.
const LEAST_BYTES: usize = 1_024;

/// A number of bytes for a reader.
pub(crate) struct Bytes(pub(crate) usize);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.0 as f64;
        match self.0 {
            0..1_024 => write!(f, "{} bytes", self.0),
            1_024..0x10_0000 => write!(f, "{:.1} KiB", bytes / 1_024.0),
            _ => write!(f, "{:.1} MiB", bytes / (1_024.0 * 1_024.0)),
        }
    }
}

/// What a subscription's queue does when it is full. Whatever it does is declared to the reader, in place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Overflow {
    /// Drop the oldest events: the reader finds the hole first, then the newest events.
    DropOldest,
    /// Drop the events that do not fit: the reader finds the oldest events, then the hole. Once one did not fit, none is let
    /// in until the reader takes what waits.
    DropNewest,
    /// Keep only the newest event of each topic: it takes the place of the older one that waits. Where more waits than the
    /// queue is long, the oldest events are dropped: with more topics than that, or behind a gap or a drop, since what came
    /// before one is not replaced from behind it.
    Conflate,
    /// End the subscription: what was delivered has no hole.
    End,
}

impl fmt::Display for Overflow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::DropOldest => "drop-oldest",
            Self::DropNewest => "drop-newest",
            Self::Conflate => "conflate",
            Self::End => "end",
        })
    }
}

impl FromStr for Overflow {
    type Err = InvalidValue;

    fn from_str(name: &str) -> Result<Self, InvalidValue> {
        [
            Self::DropOldest,
            Self::DropNewest,
            Self::Conflate,
            Self::End,
        ]
        .into_iter()
        .find(|policy| policy.to_string() == name)
        .ok_or_else(|| {
            InvalidValue::new(format!(
                "`{}` is no overflow policy: drop-oldest, drop-newest, conflate or end",
                name.escape_debug()
            ))
        })
    }
}
