//! What a subscriber receives: events, and a declaration for everything that is not there.

use std::{
    fmt::{self, Write as _},
    ops::Deref,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{
    correlation::{CorrelationId, Note},
    error::{Error, Result},
    key::StreamKey,
    market::Timestamp,
    topic::{Topic, list},
};

/// One thing read from a subscription.
///
/// The enum is closed on purpose: a new way of losing data must be a compile error in a bot. What grows is
/// [`Notice`], which loses nothing.
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
    Gap(Gap),
    /// The reader was too slow, and events are missing here.
    Dropped(Dropped),
    /// Something worth knowing happened. Nothing was lost.
    Notice(Notice),
    /// The last update. Nothing follows.
    Ended(Ended),
}

impl<T> Update<T> {
    /// The event, if it is one. A [`Gap`], a [`Dropped`] and a [`Notice`] are passed over; use
    /// [`strict`](Self::strict) where a loss must not be.
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

    /// The event, if it is one. Only a good end and a [`Notice`] are passed over, unless that says that events will be
    /// missing.
    ///
    /// # Errors
    /// The cause of a [`Gap`], [`Error::Overflow`] for [`Dropped`] events, [`Error::Displaced`], or the error that the stream or
    /// subscription ended with.
    pub fn strict(self) -> Result<Option<Event<T>>> {
        match self {
            Self::Gap(gap) => Err(gap.cause),
            Self::Dropped(dropped) => Err(dropped.error),
            Self::Notice(Notice::Displaced { error, .. }) => Err(error),
            other => other.event(),
        }
    }

    /// The [correlation id](CorrelationId) of the subscription, on everything that is not an event.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        let id = match self {
            Self::Event(_) => None,
            Self::Gap(gap) => gap.correlation.as_ref(),
            Self::Dropped(dropped) => dropped.correlation.as_ref(),
            Self::Notice(notice) => notice.correlation(),
            Self::Ended(ended) => ended.correlation.as_ref(),
        };
        id.map(CorrelationId::as_str)
    }
}

/// Data, and how it came here. Derefs to the data.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Event<T> {
    /// The data.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub data: T,
    /// When the read from the socket that brought it returned: a monotonic clock, for measuring ages and delays.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub received: Instant,
    /// Which connection of the stream brought it, counted from 1.
    pub epoch: u64,
}

impl<T> Event<T> {
    /// An event, for tests of code that takes one.
    pub fn new(data: T, received: Instant, epoch: u64) -> Self {
        Self {
            data,
            received,
            epoch,
        }
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

/// The connection broke. Everything that was read before stands in front of it.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Gap {
    /// UTC, by this machine's clock: when the last message of the broken connection was read. Backfill from here.
    pub last: Option<Timestamp>,
    /// Why the connection broke.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub cause: Error,
    /// The connection that broke, counted from 1.
    pub epoch: u64,
    /// How many breaks this gap stands for: a line that breaks again before anything was delivered adds to it.
    pub breaks: u64,
    /// Whose subscription it is.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub correlation: Option<CorrelationId>,
}

impl Gap {
    /// As the subscription of `stream` gets it whose scope this is.
    pub(crate) fn told(self, stream: &StreamKey, correlation: Option<&CorrelationId>) -> Self {
        Self {
            cause: self.cause.told(stream, None, correlation),
            correlation: correlation.cloned(),
            ..self
        }
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "connection {} broke", self.epoch)?;
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
    /// The same as an error, for [`Update::strict`].
    #[cfg_attr(feature = "serde", serde(skip))]
    pub error: Error,
    /// Whose subscription it is.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub correlation: Option<CorrelationId>,
}

impl fmt::Display for Dropped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} event{}{}",
            self.count,
            if self.count == 1 { "" } else { "s" },
            Note(self.correlation.as_ref())
        )
    }
}

/// Something worth knowing that loses nothing.
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
        /// Whose subscription it is.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        correlation: Option<CorrelationId>,
    },
    /// The venue refused topics. The others of the subscription go on.
    #[non_exhaustive]
    Refused {
        /// The topics.
        topics: Vec<Topic>,
        /// Why.
        #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
        error: Error,
        /// Whose subscription it is.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        correlation: Option<CorrelationId>,
    },
    /// After a [`Gap`]: connected, authenticated, and the venue has answered for every topic of the subscription.
    #[non_exhaustive]
    Resumed {
        /// The new connection, counted from 1.
        epoch: u64,
        /// UTC, by this machine's clock.
        at: Timestamp,
        /// Whose subscription it is.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        correlation: Option<CorrelationId>,
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
        /// Whose subscription it is.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        correlation: Option<CorrelationId>,
    },
    /// The venue's buffer for this connection is filling: events are so much older when they arrive than the freshest
    /// ones were. The venue cuts a client whose buffer is full. Said once, until it has caught up.
    #[non_exhaustive]
    Behind {
        /// How much older.
        by: Duration,
        /// Whose subscription it is.
        #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
        correlation: Option<CorrelationId>,
    },
    /// A message, or an item of one, that could not be read. Its neighbours were.
    Unparsed(Unparsed),
}

impl Notice {
    /// [`Notice::Behind`], for tests of code that takes one.
    #[must_use]
    pub fn behind(by: Duration) -> Self {
        Self::Behind {
            by,
            correlation: None,
        }
    }

    /// As the subscription of `stream` gets it whose scope this is.
    pub(crate) fn told(mut self, stream: &StreamKey, id: Option<&CorrelationId>) -> Self {
        if let Self::Refused { error, .. } | Self::Displaced { error, .. } = &mut self {
            *error = error.clone().told(stream, None, id);
        }
        match &mut self {
            Self::Confirmed { correlation, .. }
            | Self::Refused { correlation, .. }
            | Self::Resumed { correlation, .. }
            | Self::Displaced { correlation, .. }
            | Self::Behind { correlation, .. }
            | Self::Unparsed(Unparsed { correlation, .. }) => *correlation = id.cloned(),
        }
        self
    }

    fn correlation(&self) -> Option<&CorrelationId> {
        match self {
            Self::Confirmed { correlation, .. }
            | Self::Refused { correlation, .. }
            | Self::Resumed { correlation, .. }
            | Self::Displaced { correlation, .. }
            | Self::Behind { correlation, .. }
            | Self::Unparsed(Unparsed { correlation, .. }) => correlation.as_ref(),
        }
    }
}

impl fmt::Display for Notice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed { topics, .. } => write!(f, "confirmed: {}", list(topics)),
            // The error says whose it is.
            Self::Refused { topics, error, .. } => {
                return write!(f, "refused: {}: {error}", list(topics));
            }
            Self::Resumed { epoch, at, .. } => write!(f, "resumed on connection {epoch} at {at}"),
            // The error says whose it is.
            Self::Displaced { topics, error, .. } => {
                return write!(f, "displaced: {}: {error}", list(topics));
            }
            Self::Behind { by, .. } => write!(f, "the line is {by:.1?} behind"),
            Self::Unparsed(unparsed) => unparsed.fmt(f),
        }?;
        Note(self.correlation()).fmt(f)
    }
}

/// Something that the venue sent and that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Unparsed {
    /// The item, as it came, but with secrets masked and cut to 4,096 bytes.
    pub raw: Arc<str>,
    /// What is wrong with it.
    pub why: Arc<str>,
    /// How many more there were behind this one, in the same message or while the reader was too slow to be shown
    /// each.
    pub more: u64,
    /// Whose subscription was shown it.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub correlation: Option<CorrelationId>,
}

impl Unparsed {
    const SHOWN: usize = 4_096;

    /// An item for a [`Session`](crate::venue::Session) to report.
    #[must_use]
    pub fn new(raw: &[u8], why: impl fmt::Display) -> Self {
        let shown = &raw[..raw.len().min(Self::SHOWN)];
        Self {
            raw: String::from_utf8_lossy(shown).into(),
            why: why.to_string().into(),
            more: 0,
            correlation: None,
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
    /// Whose subscription it is.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub correlation: Option<CorrelationId>,
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
        write!(f, "ended: {}", self.reason)?;
        match &self.reason {
            // The error says whose it is.
            EndReason::Failed(_) => Ok(()),
            EndReason::Closed | EndReason::Done => Note(self.correlation.as_ref()).fmt(f),
        }
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

impl EndReason {
    /// As the scope `correlation` of `stream` gets it.
    pub(crate) fn told(self, stream: &StreamKey, correlation: Option<&CorrelationId>) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(error.told(stream, None, correlation)),
            Self::Closed | Self::Done => self,
        }
    }
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
    serializer.serialize_str(&error.with_causes())
}
