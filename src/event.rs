//! What a subscription receives: [`Update`]s. Each is an [`Event`], or declares what is not there.
//!
//! | update | means |
//! |---|---|
//! | [`Update::Event`] | an event, with the instant at which it was read and the number of its connection |
//! | [`Update::Gap`] | the connection broke: events may be missing from here on, until [`Notice::Resumed`] |
//! | [`Update::Dropped`] | this reader was too slow, and so many events of its own were dropped here |
//! | [`Update::Notice`] | nothing is missing, but something should be known: a topic was confirmed or refused, an item was [`Unparsed`] |
//! | [`Update::Ended`] | nothing follows, and [`EndReason`] says why |
//!
//! All but events come as [`Declared`]: with the stream, and the correlation id of the subscription.

mod origin;

use std::{
    fmt::{self, Write as _},
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

pub(crate) use self::origin::Origin;
use crate::{
    correlation::{CorrelationId, Note},
    error::{At, Error, ErrorKind, Missed, Result},
    key::StreamKey,
    market::Timestamp,
    phase::NextAttempt,
    topic::{Channel, Payload, Topic, list},
};

/// One thing read from a subscription.
///
/// The enum is closed on purpose: a new way of losing data must be a compile error in a bot. What grows is
/// [`Notice`]. A notice can tell of a loss, too: [`loss`](Self::loss) says for every update whether it does.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Update<T> {
    /// An event.
    Event(Event<T>),
    /// The connection broke here: what the venue sent until [`Notice::Resumed`] was missed.
    Gap(Declared<Gap>),
    /// The reader was too slow, and events are missing here.
    Dropped(Declared<Dropped>),
    /// Something worth knowing happened. [`loss`](Self::loss) says whether events may be missing for it.
    Notice(Declared<Notice>),
    /// The last update. Nothing follows.
    Ended(Declared<Ended>),
}

impl<T> Update<T> {
    /// The event, if it is one. A [`Gap`], a [`Dropped`] and every [`Notice`] are passed over, also a notice that tells
    /// of a loss. Use [`strict`](Self::strict) where a loss must not be passed over.
    ///
    /// # Errors
    /// The error that the stream or subscription ended with.
    pub fn event(self) -> Result<Option<Event<T>>> {
        match self {
            Self::Event(event) => Ok(Some(event)),
            Self::Gap(_) | Self::Dropped(_) | Self::Notice(_) => Ok(None),
            Self::Ended(ended) => ended.into_result().map(|()| None),
        }
    }

    /// The [correlation id](CorrelationId) of the subscription, on everything that is not an event.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        let id = match self {
            Self::Event(_) => &None,
            Self::Gap(gap) => &gap.correlation,
            Self::Dropped(dropped) => &dropped.correlation,
            Self::Notice(notice) => &notice.correlation,
            Self::Ended(ended) => &ended.correlation,
        };
        id.as_ref().map(CorrelationId::as_str)
    }
}

impl<T: Payload> Update<T> {
    /// The event, if it is one, and an error wherever events may be missing. A good end, and a [`Notice`] that tells of
    /// no loss, are passed over.
    ///
    /// After [`ErrorKind::Missed`] the subscription goes on: do what its [`remedy`](Error::remedy) says, and read on. For order
    /// updates that is to ask the venue's REST interface for open orders and positions.
    ///
    /// # Errors
    /// The [`loss`](Self::loss) that the update tells of, or the error that the stream or subscription ended with.
    pub fn strict(self) -> Result<Option<Event<T>>> {
        match self.loss() {
            Some(loss) => Err(loss),
            None => self.event(),
        }
    }

    /// The loss that this update tells of, as an error, or nothing if no event is missing for it. The end of a
    /// subscription is no loss: nothing follows it, and [`Ended::into_result`] says whether it was a failure.
    ///
    /// | update | error |
    /// |---|---|
    /// | [`Gap`], [`Dropped`] | [`ErrorKind::Missed`] |
    /// | [`Notice::Unparsed`], unless it [concerns](Unparsed::concerns) nobody | [`ErrorKind::Missed`] |
    /// | [`Notice::Refused`] | why the topics were refused, or taken away later |
    /// | [`Notice::Displaced`] | [`ErrorKind::Displaced`] |
    /// | [`Notice::LeftOut`], if topics were refused or displaced | why, for the newest of them |
    /// | all others | none |
    #[must_use]
    pub fn loss(&self) -> Option<Error> {
        let missed = |at: At, missed, since, cause: Option<&Error>| {
            Some(Error::new(
                at,
                ErrorKind::Missed {
                    missed,
                    since,
                    remedy: T::after_loss(),
                    cause: cause.cloned(),
                },
            ))
        };
        // Without a catch-all arm: whoever adds an update or a notice decides here whether it tells of a loss.
        match self {
            Self::Event(_) | Self::Ended(_) => None,
            Self::Gap(gap) => {
                let since = gap.since.or(gap.last);
                missed(gap.cause.at().clone(), Missed::Gap, since, Some(&gap.cause))
            }
            Self::Dropped(dropped) => missed(
                dropped.place(),
                Missed::Dropped {
                    count: dropped.count,
                    capacity: dropped.capacity,
                    capacity_bytes: dropped.capacity_bytes,
                },
                dropped.since,
                None,
            ),
            Self::Notice(notice) => match &notice.what {
                Notice::Refused { topics, error, .. } | Notice::Displaced { topics, error, .. } => {
                    Some(error.clone().about(topics))
                }
                Notice::LeftOut { error, .. } => error.clone(),
                Notice::Unparsed(unparsed) if unparsed.concerns != Concerns::Nobody => missed(
                    notice.place(),
                    Missed::Unparsed {
                        count: unparsed.more.saturating_add(1),
                        why: Arc::clone(&unparsed.why),
                    },
                    unparsed.at,
                    None,
                ),
                Notice::Unparsed(_)
                | Notice::Confirmed { .. }
                | Notice::Resumed { .. }
                | Notice::Behind { .. }
                | Notice::Unmatched { .. }
                // Nothing was confirmed, or a gap has told of it.
                | Notice::NotLive { .. } => None,
            },
        }
    }
}

/// In plain words, one line: the event itself, or what is missing here and why.
impl<T: fmt::Display> fmt::Display for Update<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Event(event) => event.fmt(f),
            Self::Gap(gap) => write!(f, "events may be missing: {gap}"),
            Self::Dropped(dropped) => {
                write!(f, "events are missing, the reader was too slow: {dropped}")
            }
            Self::Notice(notice) => notice.fmt(f),
            Self::Ended(ended) => ended.fmt(f),
        }
    }
}

/// Data, and how it came here. Derefs to the data.
///
/// With the feature `serde` it is serialized as the data, with `epoch`, and with `odd_fields` where there are some.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Event<T> {
    /// The data.
    pub data: T,
    origin: Origin,
}

impl<T> Event<T> {
    /// An event without odd fields, for tests of code that takes one.
    pub fn new(data: T, received: Instant, epoch: u64) -> Self {
        Self::of(data, Origin::plain(received, epoch))
    }

    #[inline]
    pub(crate) fn of(data: T, origin: Origin) -> Self {
        Self { data, origin }
    }

    /// When the read from the socket that brought it returned: a monotonic clock, for measuring ages and delays.
    #[must_use]
    pub fn received(&self) -> Instant {
        self.origin.received()
    }

    /// Which connection of the stream brought it, counted from 1.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.origin.epoch()
    }

    /// The fields of the data that came in a form that could not be read, and are absent for that. Nearly always none.
    #[must_use]
    pub fn odd_fields(&self) -> &OddFields {
        self.origin.odd_fields()
    }
}

#[cfg(feature = "serde")]
impl<T: serde::Serialize> serde::Serialize for Event<T> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Fields<'a, T> {
            #[serde(flatten)]
            data: &'a T,
            epoch: u64,
            #[serde(skip_serializing_if = "OddFields::is_empty")]
            odd_fields: &'a OddFields,
        }
        let fields = Fields {
            data: &self.data,
            epoch: self.epoch(),
            odd_fields: self.odd_fields(),
        };
        fields.serialize(serializer)
    }
}

impl<T> Deref for Event<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: fmt::Display> fmt::Display for Event<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.data.fmt(f)
    }
}

/// The names of an event's fields that came in a form that could not be read, as the venue spells them.
///
/// The event is delivered all the same, and such a field is absent from it: empty, or `None`. Only a field without
/// which the event means nothing costs the event, and that is told by [`Notice::Unparsed`]. An event without odd fields
/// allocates nothing for them.
///
/// # Examples
/// ```
/// let odd: trunkline::event::OddFields = ["event_id", "order.hwm"].into_iter().collect();
/// assert_eq!(odd.to_string(), "event_id order.hwm");
/// assert!(trunkline::event::OddFields::default().is_empty());
/// ```
#[derive(Clone, Default, PartialEq, Eq)]
pub struct OddFields(Option<Arc<[Box<str>]>>);

impl OddFields {
    /// The names, in the order in which they were met.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0
            .iter()
            .flat_map(|names| names.iter().map(AsRef::as_ref))
    }

    /// Whether every field could be read.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}

impl<N: Into<Box<str>>> FromIterator<N> for OddFields {
    fn from_iter<I: IntoIterator<Item = N>>(names: I) -> Self {
        let names: Arc<[Box<str>]> = names.into_iter().map(Into::into).collect();
        Self((!names.is_empty()).then_some(names))
    }
}

impl fmt::Display for OddFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, name) in self.iter().enumerate() {
            f.write_str(if place == 0 { "" } else { " " })?;
            f.write_str(name)?;
        }
        Ok(())
    }
}

impl fmt::Debug for OddFields {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for OddFields {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// What a subscription is told in the place of events, and whose subscription it is. Derefs to what it is told.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Declared<T> {
    /// What it is told.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub what: T,
    /// Whose subscription it is, if its scope has a [correlation id](CorrelationId).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub correlation: Option<CorrelationId>,
    #[cfg_attr(feature = "serde", serde(skip))]
    stream: StreamKey,
}

impl<T> Declared<T> {
    /// The one place where a declaration, and the error in it, is stamped.
    pub(crate) fn new(what: T, stream: &StreamKey, correlation: Option<&CorrelationId>) -> Self
    where
        T: Attributed,
    {
        Self {
            what: what.told(stream, correlation),
            correlation: correlation.cloned(),
            stream: stream.clone(),
        }
    }

    /// The stream that the subscription is one of.
    #[must_use]
    pub fn stream(&self) -> &StreamKey {
        &self.stream
    }

    fn place(&self) -> At {
        At::of(Some(&self.stream), self.correlation.as_ref())
    }
}

impl Declared<Ended> {
    /// As [`Ended::into_result`].
    ///
    /// # Errors
    /// The error that ended it, if one did.
    pub fn into_result(self) -> Result<()> {
        self.what.into_result()
    }
}

impl<T> Deref for Declared<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.what
    }
}

impl<T: fmt::Display> fmt::Display for Declared<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, note) = (
            self.what.to_string(),
            Note(self.correlation.as_ref()).to_string(),
        );
        f.write_str(&text)?;
        // An error in it says whose it is.
        f.write_str(if text.contains(&note) { "" } else { &note })
    }
}

/// What may hold an error, which says whose it is.
pub(crate) trait Attributed: Sized {
    fn error(&mut self) -> Option<&mut Error>;

    /// As the scope `correlation` of `stream` gets it.
    fn told(mut self, stream: &StreamKey, correlation: Option<&CorrelationId>) -> Self {
        if let Some(error) = self.error() {
            *error = error.clone().told(stream, None, correlation);
        }
        self
    }
}

impl Attributed for Gap {
    fn error(&mut self) -> Option<&mut Error> {
        Some(&mut self.cause)
    }
}

impl Attributed for Dropped {
    fn error(&mut self) -> Option<&mut Error> {
        None
    }
}

impl Attributed for Notice {
    fn error(&mut self) -> Option<&mut Error> {
        match self {
            Self::Refused { error, .. }
            | Self::Displaced { error, .. }
            | Self::NotLive { cause: error, .. } => Some(error),
            Self::LeftOut { error, .. } => error.as_mut(),
            Self::Confirmed { .. }
            | Self::Resumed { .. }
            | Self::Behind { .. }
            | Self::Unmatched { .. }
            | Self::Unparsed(_) => None,
        }
    }
}

impl Attributed for EndReason {
    fn error(&mut self) -> Option<&mut Error> {
        match self {
            Self::Failed(error) => Some(error),
            Self::Closed | Self::Done => None,
        }
    }
}

impl Attributed for Ended {
    fn error(&mut self) -> Option<&mut Error> {
        self.reason.error()
    }
}

/// The connection broke. Everything that was read before stands in front of it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Gap {
    /// The venue's own time of the newest event of this subscription's topics: where a backfill begins. Nothing where none
    /// came that says when it happened; then there is only [`last`](Self::last).
    ///
    /// Ask for a little more, some seconds before it, and drop what was seen already by its id: events of several symbols
    /// need not come in the order of their times. Mind what REST filters by: its list of orders goes by when an order
    /// was submitted, not by when it changed, so ask for open orders, and by id for those that were open before.
    pub since: Option<Timestamp>,
    /// UTC, by this machine's clock: when the last message of the broken connection was read. What was on its way then
    /// happened before, by as much as the feed is late: up to 15 minutes on a delayed one.
    pub last: Option<Timestamp>,
    /// Why the connection broke.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub cause: Error,
    /// The connection that broke, counted from 1.
    pub epoch: u64,
    /// The topics that it concerns, sorted. None is all of the subscription's: the connection broke. Otherwise the connection
    /// goes on, and the venue left out a part of these, begins them again, or sends them no longer.
    pub topics: Box<[Topic]>,
    /// How many breaks of the connection this gap stands for, none where the connection goes on: a line that breaks again before anything was delivered adds to it.
    pub breaks: u64,
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.topics.is_empty() {
            write!(f, "connection {} broke", self.epoch)?;
        } else {
            let topics = list(&self.topics);
            write!(f, "connection {} goes on without {topics}", self.epoch)?;
        }
        if let Some(since) = self.since {
            write!(f, ", newest event of {since}")?;
        }
        if let Some(last) = self.last {
            write!(f, ", last message at {last}")?;
        }
        write!(f, ": {}", self.cause)
    }
}

/// Events that did not fit into the subscription's queue. `Display` says how many.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Dropped {
    /// How many events are missing here.
    pub count: u64,
    /// How many events may wait in the subscription's queue.
    pub capacity: usize,
    /// How many bytes they may take.
    pub capacity_bytes: usize,
    /// UTC, by this machine's clock: all that is missing was read then or later. `None` where a test made it up.
    pub since: Option<Timestamp>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} event{}",
            self.count,
            if self.count == 1 { "" } else { "s" },
        )
    }
}

/// Something worth knowing. [`Update::event`] passes every notice over; [`Update::strict`] makes an error of those that tell
/// of a loss: see [`Update::loss`].
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "notice", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Notice {
    /// The venue confirmed topics: their events are seen from here on.
    #[non_exhaustive]
    Confirmed {
        /// The topics.
        topics: Vec<Topic>,
    },
    /// The venue refused topics: no events of them come. The others of the subscription go on.
    #[non_exhaustive]
    Refused {
        /// The topics.
        topics: Vec<Topic>,
        /// Why.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
        error: Error,
    },
    /// After a [`Gap`]: connected, authenticated, and the venue has answered for every topic of the subscription.
    #[non_exhaustive]
    Resumed {
        /// The new connection, counted from 1.
        epoch: u64,
        /// UTC, by this machine's clock.
        at: Timestamp,
    },
    /// The budget was full, and topics were taken for a subscription that is worth more: no events of them come from
    /// here on. They come back with [`Confirmed`](Self::Confirmed), when there is room. See
    /// [`SymbolBudget`](crate::SymbolBudget).
    #[non_exhaustive]
    Displaced {
        /// The topics.
        topics: Vec<Topic>,
        /// For whom.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
        error: Error,
    },
    /// The venue's buffer for this connection is filling: events are so much older when they arrive than the freshest
    /// ones were. The venue cuts a client whose buffer is full. Said once, until it has caught up.
    #[non_exhaustive]
    Behind {
        /// How much older.
        by: Duration,
    },
    /// Events come that nobody asked for, while a confirmed topic of this subscription on the same channel has never had
    /// one: the venue may spell the symbol in another way. Said once for each channel.
    #[non_exhaustive]
    Unmatched {
        /// What the venue calls the first of them.
        topic: Topic,
    },
    /// The line is not live, and why. Told at the first attempt that fails and at each new kind of cause until the line is
    /// live; to whoever subscribes in the meantime, at once. A line that breaks is told by [`Update::Gap`], and what then
    /// fails for another cause by this.
    #[non_exhaustive]
    NotLive {
        /// How many attempts have failed in a row. Zero where other streams' failures hold the first one back.
        attempt: u32,
        /// Why the last one did.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
        cause: Error,
        /// When the next one is due.
        retry_in: Duration,
    },
    /// A message, or an item of one, that could not be read. Its neighbours were. It is shown to those whose events it
    /// may have held: see [`Unparsed::concerns`].
    Unparsed(Unparsed),
    /// Notices stood here, and were left out because more waited than a queue keeps: about a thousand, of 65,536 topics.
    /// Ask [health](crate::Health::topics_missing) what became of the topics.
    /// Gaps, drops, unparsed items, and that the line resumed, are never left out.
    #[non_exhaustive]
    LeftOut {
        /// How many. Of those that said the same of the same topics only the newest counts.
        count: u64,
        /// Why topics were refused, or displaced, if any were: for the newest of them.
        #[cfg_attr(
            feature = "serde",
            serde(
                skip_serializing_if = "Option::is_none",
                serialize_with = "as_text_if_any"
            )
        )]
        error: Option<Error>,
    },
}

impl Notice {
    /// [`Notice::Behind`], for tests of code that takes one.
    #[must_use]
    pub fn behind(by: Duration) -> Self {
        Self::Behind { by }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { topics, .. } => write!(f, "confirmed: {}", list(topics)),
            Self::Refused { topics, error } => write!(f, "refused: {}: {error}", list(topics)),
            Self::Resumed { epoch, at, .. } => write!(f, "resumed on connection {epoch} at {at}"),
            Self::Displaced { topics, error } => {
                write!(f, "displaced: {}: {error}", list(topics))
            }
            Self::Behind { by, .. } => write!(f, "the line is {by:.1?} behind"),
            Self::Unmatched { topic, .. } => write!(
                f,
                "events of {topic} come, which nobody asked for, and none of what was"
            ),
            Self::NotLive {
                attempt,
                cause,
                retry_in,
                ..
            } => {
                let next = NextAttempt(*retry_in);
                f.write_str("not live")?;
                match attempt {
                    0 => f.write_str(" yet")?,
                    1 => f.write_str(" after 1 failed attempt")?,
                    _ => write!(f, " after {attempt} failed attempts")?,
                }
                write!(f, ", {next}: {cause}")
            }
            Self::Unparsed(unparsed) => unparsed.fmt(f),
            Self::LeftOut { count, error, .. } => {
                let s = if *count == 1 { "" } else { "s" };
                write!(f, "{count} notice{s} left out")?;
                match error {
                    Some(error) => write!(f, ", the last of a loss: {error}"),
                    None => Ok(()),
                }
            }
        }
    }
}

/// Something that the venue sent and that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Unparsed {
    /// The item, as it came, but with secrets masked and cut to 4,096 bytes; to 64 where many wait to be read.
    pub raw: Arc<str>,
    /// What is wrong with it.
    pub why: Arc<str>,
    /// Whose events may be missing for it.
    pub concerns: Concerns,
    /// How many more there were behind this one, in the same message or while the reader was too slow to be shown
    /// each.
    pub more: u64,
    /// UTC, by this machine's clock: when it was read.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub at: Option<Timestamp>,
}

/// Whose events may be missing because something could not be read, or never came.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Concerns {
    /// Those who want events of this topic. The item's channel and symbol could be read, and no more.
    Topic(Topic),
    /// Those who want events of any symbol of this channel. The item's symbol could not be read.
    Channel(Channel),
    /// Everybody: it may have been an event of any topic.
    Everybody,
    /// Nobody: it is of a kind that no topic names. It is shown to everybody all the same.
    Nobody,
}

impl Concerns {
    /// The narrowest that holds both.
    #[must_use]
    pub(crate) fn and(self, other: Self) -> Self {
        let channel = |concerns: &Self| match concerns {
            Self::Topic(topic) => Some(topic.channel),
            Self::Channel(channel) => Some(*channel),
            Self::Everybody | Self::Nobody => None,
        };
        match (self, other) {
            (one, other) if one == other => one,
            (Self::Nobody, one) | (one, Self::Nobody) => one,
            (one, other) => match (channel(&one), channel(&other)) {
                (Some(one), Some(other)) if one == other => Self::Channel(one),
                _ => Self::Everybody,
            },
        }
    }
}

impl Unparsed {
    const SHOWN: usize = 4_096;

    /// An item for a [`Session`](crate::venue::Session) to report. It concerns everybody, unless
    /// [`concerning`](Self::concerning) says otherwise.
    #[must_use]
    pub fn new(raw: &[u8], why: impl fmt::Display) -> Self {
        let shown = &raw[..raw.len().min(Self::SHOWN)];
        Self {
            raw: String::from_utf8_lossy(shown).into(),
            why: why.to_string().into(),
            concerns: Concerns::Everybody,
            more: 0,
            at: None,
        }
    }

    /// The same, where it is known whose events may be missing.
    #[must_use]
    pub fn concerning(self, concerns: Concerns) -> Self {
        Self { concerns, ..self }
    }

    /// Counts `other`, which came behind this one, and is not shown by itself.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.more = self.more.saturating_add(other.more).saturating_add(1);
        let own = std::mem::replace(&mut self.concerns, Concerns::Nobody);
        self.concerns = own.and(other.concerns.clone());
    }

    /// Shows less of it, where many are kept.
    pub(crate) fn shorten(&mut self) {
        if let Some(end) = (0..=64).rfind(|end| self.raw.is_char_boundary(*end)) {
            self.raw = self.raw[..end].into();
        }
    }

    /// Whether it may be the beginning of something longer.
    pub(crate) fn is_cut(&self) -> bool {
        self.raw.len() >= Self::SHOWN
    }
}

impl fmt::Display for Unparsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unparsed ({}): ", self.why)?;
        for character in self.raw.chars() {
            // A record is one line, whatever the venue sends.
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        Ok(())
    }
}

/// The end of a subscription, and why.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Ended {
    /// Why.
    pub reason: EndReason,
}

impl Ended {
    /// `Ok` when somebody in this process asked for the end, or when the venue said that it was done.
    ///
    /// # Errors
    /// The error that ended it otherwise.
    pub fn into_result(self) -> Result<()> {
        match self.reason {
            EndReason::Closed | EndReason::Done => Ok(()),
            EndReason::Failed(error) => Err(error),
        }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ended: {}", self.reason)
    }
}

/// Why a stream or a subscription ended.
#[derive(Clone, Debug)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum EndReason {
    /// It was closed, or shut down, in this process.
    Closed,
    /// The venue said that there is nothing more to come.
    Done,
    /// It failed, and trying again would not help; or the subscription's queue overflowed and its policy is to end.
    Failed(#[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))] Error),
}

impl fmt::Display for EndReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Closed => f.write_str("closed"),
            Self::Done => f.write_str("the venue is done"),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

#[cfg(feature = "serde")]
fn as_text<S: serde::Serializer>(error: &Error, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&error.to_string())
}

#[cfg(feature = "serde")]
fn as_text_if_any<S: serde::Serializer>(
    error: &Option<Error>,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.serialize_some(&error.as_ref().map(ToString::to_string))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
