//! Health: what a stream is doing, and how it fares. Plain snapshots, without a secret, that cost no stream anything.
//!
//! | you have | and get |
//! |---|---|
//! | a [`StreamHandle`](crate::StreamHandle) | [`Health`] by [`health`](crate::StreamHandle::health) |
//! | a [`Subscription`](crate::Subscription) | [`SubscriptionHealth`], and its stream's [`Health`] |
//! | a [`Manager`](crate::Manager) | [`ManagerHealth`]: all streams of the process |

use std::{fmt, time::Duration};

use crate::{
    correlation::{CorrelationId, Note},
    key::StreamKey,
    phase::{NextAttempt, Phase},
    plural::Plural,
    topic::{Bytes, Overflow, Topic, list},
};
pub use crate::{resolver::PendingLookup, symbol_budget::BudgetUse};

/// What a stream is doing, and how it fares. Consistent within each group of fields.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Health {
    /// The stream.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub stream: StreamKey,
    /// Which stream with this key it is in this process, counted over all keys.
    pub generation: u64,
    /// What it is doing.
    pub phase: Phase,
    /// For how long it has been doing that.
    pub in_phase: Duration,
    /// What went wrong last, unless it is live again.
    pub cause: Option<String>,
    /// The [code](crate::Error::code) of that, for alerts.
    pub cause_code: Option<&'static str>,
    /// Failed attempts since it was last live and stable.
    pub failures: u32,
    /// When the next attempt is due.
    pub next_attempt_in: Option<Duration>,
    /// When the stream gives up, if the venue goes on refusing credentials that it accepted before: see
    /// [`Backoff::credentials_patience`](crate::config::Backoff::credentials_patience).
    pub gives_up_in: Option<Duration>,
    /// How many connections became live; the newest is this one.
    pub epoch: u64,
    /// Handles and subscriptions that hold it.
    pub leases: usize,
    /// For how long it has been ending. One that exceeds its bound is stuck in the phase above.
    pub draining_for: Option<Duration>,
    /// How many topics subscriptions want. These counts and lists are of one moment: a subscription that was made just
    /// now is in all of them or in none.
    pub topics_wanted: usize,
    /// How many topics the venue has confirmed.
    pub topics_confirmed: usize,
    /// Topics that are wanted and not confirmed.
    pub topics_missing: Vec<Topic>,
    /// What is used of what the venue's plan grants, where that is kept to.
    pub budget: Option<BudgetUse>,
    /// The topic of the newest event that matched nobody, although nobody had just unsubscribed from it.
    pub newest_unmatched: Option<Topic>,
    /// How long ago anything was read from the connection.
    pub last_message_age: Option<Duration>,
    /// How much older than the freshest of this connection the newest event was when it arrived: how far the venue's
    /// buffer has filled.
    pub behind: Duration,
    /// What was counted since the stream was opened.
    pub counters: CounterValues,
    /// The subscriptions, in the order they were made.
    pub subscriptions: Vec<SubscriptionHealth>,
}

/// A snapshot of a manager's streams, and of the process's name lookups.
#[derive(Clone, Debug)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct ManagerHealth {
    /// The streams that were opened from the manager and are held, or still ending.
    pub streams: Vec<Health>,
    /// The name lookups that run now, of the whole process.
    pub lookups: Vec<PendingLookup>,
}

impl fmt::Display for ManagerHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} streams", self.streams.len())?;
        for stream in &self.streams {
            write!(f, "\n{stream}")?;
        }
        for lookup in &self.lookups {
            write!(f, "\n{lookup}")?;
        }
        Ok(())
    }
}

/// What a stream counted since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct CounterValues {
    /// Attempts to connect.
    pub attempts: u64,
    /// WebSocket messages read.
    pub messages: u64,
    /// Events in them.
    pub events: u64,
    /// Events among them that matched a subscription. Every event is one of these, or [unmatched](Self::events_unmatched),
    /// or [unsettled](Self::events_unsettled).
    pub events_routed: u64,
    /// Events that a subscription had been given before, and was not given again.
    pub repeats: u64,
    /// Events that matched nobody, of topics that nobody asked for: [`Health::newest_unmatched`] names the last one. The
    /// venue may spell a symbol in another way than it was subscribed to.
    pub events_unmatched: u64,
    /// Events that matched nobody, of topics that are wanted and that the venue has not confirmed, or that were
    /// unsubscribed less than ten seconds before.
    pub events_unsettled: u64,
    /// Events with a field that could not be read and was left out: see [`Event::odd_fields`](crate::Event::odd_fields).
    pub odd_events: u64,
    /// Pings and pongs read.
    pub control_frames: u64,
    /// Pings sent.
    pub pings: u64,
    /// Requests sent.
    pub requests: u64,
    /// Items that could not be read.
    pub unparsed: u64,
    /// Bytes read, after TLS.
    pub bytes: u64,
}

/// How one subscription fares.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct SubscriptionHealth {
    /// Its number on its stream.
    pub id: u64,
    /// Whose it is.
    pub correlation: Option<CorrelationId>,
    /// What it is worth where the plan grants too few topics.
    pub priority: i32,
    /// The topics that it wants, sorted. None once the stream has ended.
    pub topics: Vec<Topic>,
    /// Events that were for it.
    pub events_routed: u64,
    /// Events that were read.
    pub events_delivered: u64,
    /// Events that did not fit and were declared dropped.
    pub events_dropped: u64,
    /// Events that a newer one of their topic took the place of.
    pub events_conflated: u64,
    /// Events that wait.
    pub events_queued: u64,
    /// How many may wait.
    pub capacity: usize,
    /// The bytes of the events that wait. What the reader has taken out counts in whole until it is read to its end. See
    /// [`QueueLimit::bytes`](crate::stream::QueueLimit::bytes) for what is counted.
    pub bytes_queued: usize,
    /// How many bytes may wait.
    pub capacity_bytes: usize,
    /// What happens to more.
    #[cfg_attr(feature = "serde", serde(serialize_with = "as_text"))]
    pub overflow: Overflow,
    /// How old an event was, from the socket read on, when it was taken from the queue: the newest such measurement.
    pub lag: Duration,
    /// Topics that the venue has confirmed.
    pub topics_confirmed: usize,
    /// Topics that wait for the venue's answer.
    pub topics_pending: usize,
}

impl fmt::Display for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: {} for {:.1?}",
            self.stream, self.phase, self.in_phase
        )?;
        if let Some(wait) = self.next_attempt_in {
            write!(f, ", {}", NextAttempt(wait))?;
        }
        if let Some(cause) = &self.cause {
            write!(f, ", after {} failed: {cause}", self.failures)?;
        }
        if let Some(left) = self.gives_up_in {
            write!(f, ", given up in {left:.1?} unless they are accepted again")?;
        }
        if let Some(draining) = self.draining_for {
            write!(f, ", ending for {draining:.1?}")?;
        }
        write!(
            f,
            "; connection {}, {}, {} of {} confirmed, {}, {}",
            self.epoch,
            Plural::of(self.leases, "lease"),
            self.topics_confirmed,
            Plural::of(self.topics_wanted, "topic"),
            Plural(self.counters.messages, "message"),
            Plural(self.counters.events, "event"),
        )?;
        if !self.topics_missing.is_empty() {
            write!(f, ", missing {}", list(&self.topics_missing))?;
        }
        if let Some(budget) = self.budget {
            write!(f, ", {budget}")?;
        }
        if self.behind >= Duration::from_secs(1) {
            write!(f, ", {:.1?} behind", self.behind)?;
        }
        if self.counters.unparsed > 0 {
            write!(f, ", {} unparsed", self.counters.unparsed)?;
        }
        if self.counters.odd_events > 0 {
            write!(f, ", {} with odd fields", self.counters.odd_events)?;
        }
        if let Some(topic) = &self.newest_unmatched {
            let count = self.counters.events_unmatched;
            write!(f, ", {count} for nobody (the last of {topic})")?;
        }
        if let Some(age) = self.last_message_age {
            write!(f, ", last message {age:.1?} ago")?;
        }
        for subscription in &self.subscriptions {
            write!(f, "\n  {subscription}")?;
        }
        Ok(())
    }
}

impl fmt::Display for SubscriptionHealth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "subscription {}{}: {}: {} delivered, {} queued of {} ({} of {}), {} dropped ({}), lag {:.1?}",
            self.id,
            Note(self.correlation.as_ref()),
            list(&self.topics),
            self.events_delivered,
            self.events_queued,
            self.capacity,
            Bytes(self.bytes_queued),
            Bytes(self.capacity_bytes),
            self.events_dropped,
            self.overflow,
            self.lag
        )?;
        if self.topics_pending > 0 {
            let topics = Plural::of(self.topics_pending, "topic");
            write!(f, ", {topics} unanswered")?;
        }
        Ok(())
    }
}

#[cfg(feature = "serde")]
fn as_text<T: fmt::Display, S: serde::Serializer>(
    value: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(value)
}
