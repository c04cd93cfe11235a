//! The one error type: what was being done, to which stream, in which phase, why, and what to do about it.
//!
//! Foreign errors come in through private functions and leave only as [`source`](std::error::Error::source), so that
//! no other crate's type is part of a variant.

mod proxy;
mod rejection;
mod remedy;
#[cfg(test)]
mod tests;

use std::{
    error::Error as StdError,
    fmt::{self, Write as _},
    sync::Arc,
    time::Duration,
};

pub use self::{
    proxy::{ProxyAnswer, ProxyFault},
    rejection::{Rejection, RejectionCode, RejectionKind},
    remedy::Remedy,
};
use crate::{
    backoff::NextAttempt,
    correlation::{CorrelationId, Note},
    key::StreamKey,
    market::Timestamp,
    phase::Phase,
    price::{NotFresh, Obstacle},
    symbol_budget::{self, BudgetHolder, Counts, named},
    topic::{Bytes, Overflow, Topic},
};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong. Cheap to clone: every waiter is told the same reason.
///
/// `Debug` prints what `Display` does, then what to do and the chain of causes, because that is what a `main` that
/// returns an error shows. Match on variants for decisions, on [`code`](Self::code) for counters, and ask
/// [`is_retryable`](Self::is_retryable) and [`remedy`](Self::remedy) for advice.
#[derive(Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The credentials were refused before anything was connected.
    #[error("{at}invalid credentials: {fault}")]
    InvalidCredentials {
        /// Where they were to be used, if anywhere yet.
        at: At,
        /// What is wrong with them.
        fault: CredentialsFault,
    },

    /// The endpoint is not a WebSocket URL.
    #[error("{at}invalid endpoint: {why}")]
    InvalidEndpoint {
        /// The stream that was asked for, if one was.
        at: At,
        /// What is wrong with it.
        why: &'static str,
    },

    /// A topic cannot be subscribed to on this feed. Nothing was sent.
    #[error("{at}invalid topic {topic}: {why}")]
    InvalidTopic {
        /// The stream that it was asked of.
        at: At,
        /// The topic.
        topic: Topic,
        /// What is wrong with it.
        why: String,
    },

    /// A subscription to nothing, which would never receive an event. Nothing was sent.
    #[error("{at}no topics: name at least one symbol, or `*` for all of them")]
    NoTopics {
        /// The stream that it was asked of.
        at: At,
    },

    /// Every event of this venue counts, and the subscription's queue was to drop some. Nothing was sent.
    #[error("{at}no event of this venue may be dropped, which `{overflow}` does: use `end`")]
    LossyQueue {
        /// The stream.
        at: At,
        /// The policy that was asked for.
        overflow: Overflow,
    },

    /// A value of the configuration, or of an argument, makes no sense.
    #[error("{at}invalid configuration: {why}")]
    InvalidConfig {
        /// The stream that it was meant for, if there is one.
        at: At,
        /// What is wrong with it.
        why: String,
    },

    /// The key belongs to the other kind of account than the one that was asked for. Nothing was connected.
    #[error("{at}this is a {found} key, but a {wanted} account was asked for")]
    WrongAccount {
        /// The stream that was asked for.
        at: At,
        /// The account that was asked for.
        wanted: &'static str,
        /// The account that the key belongs to.
        found: &'static str,
    },

    /// The stream is open already, with other settings. The first opener's settings hold.
    #[error("{at}open with other settings already: {}", .differences.join(", "))]
    SettingsConflict {
        /// The stream, and the phase it is in.
        at: At,
        /// The settings that differ, by name.
        differences: Vec<&'static str>,
    },

    /// A predecessor with the same key was still ending when the time to wait for it ran out.
    #[error("{at}the previous connection is still ending (phase {}, for {waited:.1?})", .at.phase_name())]
    Draining {
        /// The stream, and the phase its predecessor is in.
        at: At,
        /// How long it has been ending.
        waited: Duration,
    },

    /// A call's deadline passed. The stream goes on.
    #[error("{at}timed out {doing} (phase {}{}){}", .at.phase_name(), retry_note(.retry_in), cause_note(.cause))]
    TimedOut {
        /// What was waited for.
        doing: Doing,
        /// The stream, and the phase it is in.
        at: At,
        /// When the next connection attempt is due, if one is.
        retry_in: Option<Duration>,
        /// The last thing that went wrong on the stream, if anything did.
        #[source]
        cause: Option<Arc<Self>>,
    },

    /// The venue rejected the credentials.
    #[error("{at}the venue rejected the credentials: {rejection}")]
    Rejected {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The account's plan does not include what was asked for.
    #[error("{at}not included in the account's plan: {rejection}")]
    NotEntitled {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The venue allows no further connection for these credentials: another process holds it, or one that died
    /// without a close handshake still counts (for about 90 s at Alpaca).
    #[error("{at}{rejection}: another process uses this key, or one that died still counts")]
    ConnectionLimit {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// Another connection took this one's place: the venue allows so many, and ends the older one. The stream comes back after a
    /// minute at least, since whoever comes back at once takes the line from the other again.
    #[error(
        "{at}{rejection}: a newcomer took the line, perhaps another program with this key, here or on another machine"
    )]
    Evicted {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The venue refused a request, for example a subscription. The stream goes on, and nothing else was changed.
    #[error("{at}request refused: {rejection}")]
    Refused {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The budget of symbols is full, and nobody who holds a part of it is worth less. Nothing was sent; the
    /// subscription's other topics go on. See [`SymbolBudget`](crate::SymbolBudget).
    #[error("{at}no room for it: {limit} {counts} are all, held by {}{}", symbol_budget::list(.holders), said_note(.said))]
    OverBudget {
        /// The stream, and the phase it is in.
        at: At,
        /// The limit.
        limit: usize,
        /// Of what.
        counts: Counts,
        /// Who holds it, those with the highest priority first.
        holders: Vec<BudgetHolder>,
        /// What the venue said when it refused more, where the limit was learned from that.
        said: Option<Rejection>,
    },

    /// The budget of symbols was full, and a subscription that is worth more took the place of topics. They come back
    /// when there is room.
    #[error("{at}displaced by {}, whose priority is {priority}", named(.by.as_ref()))]
    Displaced {
        /// The stream, and the phase it is in.
        at: At,
        /// Whose subscription it is that took the place, if that has a name.
        by: Option<CorrelationId>,
        /// Its priority.
        priority: i32,
    },

    /// The host name could not be resolved.
    #[error("{at}cannot resolve the host name")]
    Unresolved {
        /// The stream, and the phase it happened in.
        at: At,
        /// The resolver's error.
        #[source]
        source: Source,
    },

    /// The connection could not be set up: refused, unreachable or reset.
    #[error("{at}cannot connect (phase {})", .at.phase_name())]
    Unreachable {
        /// The stream, and the phase it happened in.
        at: At,
        /// The socket's error.
        #[source]
        source: Source,
    },

    /// The proxy that connections go through did not let one through to the venue.
    #[error("{at}the proxy {proxy} {fault}")]
    Proxy {
        /// The stream, and the phase it happened in.
        at: At,
        /// The proxy, without its login, and the variable that named it.
        proxy: String,
        /// What went wrong there, and who has to mend it.
        fault: Box<ProxyFault>,
        /// The resolver's or the socket's error, if it was one.
        #[source]
        source: Option<Source>,
    },

    /// TLS failed: the certificate's name, root or date, or the server does not speak TLS.
    #[error("{at}TLS failed: {why}")]
    Tls {
        /// The stream, and the phase it happened in.
        at: At,
        /// What failed.
        why: String,
        /// Whether it is the certificate that was refused, which another attempt will not change. Not for one that is out
        /// of date by a clock that says a year before this crate's: once the clock is set, it may be in date.
        certificate: bool,
    },

    /// The server answered the upgrade request with an HTTP status instead of a WebSocket.
    #[error("{at}the server answered the WebSocket upgrade with HTTP {status}{}{}{}", location_note(.location), retry_after_note(.retry_after), network_note(.kind, .status))]
    Upgrade {
        /// The stream, and the phase it happened in.
        at: At,
        /// The HTTP status.
        status: u16,
        /// What it means at this venue.
        kind: RejectionKind,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
        /// Where a redirect leads, without its query. It is not followed.
        location: Option<String>,
    },

    /// The venue did not keep to its protocol.
    #[error("{at}protocol error (phase {}): {why}", .at.phase_name())]
    Protocol {
        /// The stream, and the phase it happened in.
        at: At,
        /// What was wrong.
        why: String,
    },

    /// The connection ended, or was given up.
    #[error("{at}connection lost (phase {}): {why}", .at.phase_name())]
    Lost {
        /// The stream, and the phase it happened in.
        at: At,
        /// How it ended.
        why: String,
        /// The socket's error, if it was one.
        #[source]
        source: Option<Source>,
    },

    /// The connection was open, and what was expected on it did not come, although the market traded.
    #[error("{at}mute: nothing of what is expected came, although the line answers")]
    Mute {
        /// The stream, and the phase it happened in.
        at: At,
    },

    /// Nothing was tried yet. Streams of this process failed so often at the same host of late that its attempts are
    /// spaced: see [`Rules::attempts`](crate::venue::Rules::attempts). The stream goes on.
    #[error("{at}held back: this process failed {failures} times at this host of late")]
    HeldBack {
        /// The stream, and the phase it was in.
        at: At,
        /// How many failures are not forgiven yet.
        failures: u32,
        /// The last of them, which may be another stream's.
        #[source]
        cause: Arc<Self>,
    },

    /// The stream failed so often in a row that, by its configuration, it was given up.
    #[error("{at}given up after {failures} failures in a row")]
    GaveUp {
        /// The stream, and the phase of its last failure.
        at: At,
        /// How many failures.
        failures: u32,
        /// The last of them.
        #[source]
        cause: Arc<Self>,
    },

    /// The stream was closed or shut down in this process.
    #[error("{at}closed")]
    Closed {
        /// The stream.
        at: At,
    },

    /// A price book has no fresh value. Nothing was waited for.
    #[error("{at}{missing}")]
    NotFresh {
        /// The book's stream.
        at: At,
        /// What the book has instead.
        missing: NotFresh,
    },

    /// No fresh price came in time. The book goes on.
    #[error("{at}timed out waiting for a price: {missing}; {obstacle} (phase {})", .at.phase_name())]
    NoPrice {
        /// The stream, and the phase it is in.
        at: At,
        /// What the book has instead.
        missing: NotFresh,
        /// What stands in the way.
        obstacle: Obstacle,
        /// Why the line is not live, if it is not.
        #[source]
        cause: Option<Arc<Self>>,
    },

    /// `close` was called while other handles or subscriptions hold the stream. It stays open.
    #[error("{at}still shared by {leases} other handles or subscriptions")]
    StillShared {
        /// The stream, and the phase it is in.
        at: At,
        /// How many others hold it.
        leases: usize,
    },

    /// Events of a subscription may be missing: what [`Update::strict`](crate::Update::strict) makes of a loss. The
    /// subscription goes on; [`remedy`](Self::remedy) says what to do about what was missed.
    #[error("{at}events may be missing{}: {missed}", since_note(.since))]
    Missed {
        /// The stream, and whose subscription it is.
        at: At,
        /// How they were missed.
        missed: Missed,
        /// UTC: whatever is missing came then or later. Of a gap by the venue's own clock, if it said when something
        /// happened; otherwise by this machine's.
        since: Option<Timestamp>,
        /// What to do about it.
        remedy: Remedy,
        /// Why the connection broke, if it did.
        #[source]
        cause: Option<Arc<Self>>,
    },

    /// The subscription's queue was full, and its policy is to end.
    #[error(
        "{at}the consumer was too slow for its queue of {capacity} and {}, whose policy is to end",
        Bytes(*capacity_bytes)
    )]
    Overflow {
        /// The stream, and the phase it was in.
        at: At,
        /// The queue's length in events.
        capacity: usize,
        /// Its bound in bytes.
        capacity_bytes: usize,
    },

    /// The operating system refused a thread, a poller or a timer.
    #[error("{at}cannot start the stream's thread")]
    Spawn {
        /// The stream.
        at: At,
        /// The operating system's error.
        #[source]
        source: Source,
    },

    /// This process is a forked child of the one that opened the stream, and has no part in it: no thread was copied,
    /// and the connection is the parent's. Open streams after the fork, in the process that uses them.
    #[error("{at}belongs to the parent of this forked process")]
    Forked {
        /// The stream.
        at: At,
    },

    /// The stream's thread panicked. This is a bug, of this crate or of user code that runs there.
    #[error("{at}the stream's thread panicked (phase {}): {message}", .at.phase_name())]
    Panicked {
        /// The stream, and the phase it was in.
        at: At,
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// A short, stable name of the kind of error, for counters and alerts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidCredentials { .. } => "invalid_credentials",
            Self::InvalidEndpoint { .. } => "invalid_endpoint",
            Self::InvalidTopic { .. } => "invalid_topic",
            Self::NoTopics { .. } => "no_topics",
            Self::LossyQueue { .. } => "lossy_queue",
            Self::InvalidConfig { .. } => "invalid_config",
            Self::WrongAccount { .. } => "wrong_account",
            Self::SettingsConflict { .. } => "settings_conflict",
            Self::Draining { .. } => "draining",
            Self::TimedOut { .. } => "timed_out",
            Self::Rejected { .. } => "rejected",
            Self::NotEntitled { .. } => "not_entitled",
            Self::ConnectionLimit { .. } => "connection_limit",
            Self::Evicted { .. } => "evicted",
            Self::Refused { .. } => "refused",
            Self::OverBudget { .. } => "over_budget",
            Self::Displaced { .. } => "displaced",
            Self::Unresolved { .. } => "unresolved",
            Self::Unreachable { .. } => "unreachable",
            Self::Proxy { .. } => "proxy",
            Self::Tls { .. } => "tls",
            Self::Upgrade { .. } => "upgrade",
            Self::Protocol { .. } => "protocol",
            Self::Lost { .. } => "lost",
            Self::Mute { .. } => "mute",
            Self::HeldBack { .. } => "held_back",
            Self::GaveUp { .. } => "gave_up",
            Self::Closed { .. } => "closed",
            Self::NotFresh { .. } => "not_fresh",
            Self::NoPrice { .. } => "no_price",
            Self::StillShared { .. } => "still_shared",
            Self::Missed { .. } => "missed",
            Self::Overflow { .. } => "overflow",
            Self::Spawn { .. } => "spawn",
            Self::Forked { .. } => "forked",
            Self::Panicked { .. } => "panicked",
        }
    }

    /// The stream it happened to, where there is one.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamKey> {
        self.at().stream.as_ref()
    }

    /// The phase the stream was in, where there was a stream.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.at().phase
    }

    /// The [correlation id](CorrelationId) of the scope whose operation got this error, if it has one.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.at().correlation.as_ref().map(CorrelationId::as_str)
    }

    /// A topic that a venue does not have: for [`Venue::validate`](crate::venue::Venue::validate).
    #[must_use]
    pub fn invalid_topic(topic: &Topic, why: impl Into<String>) -> Self {
        Self::InvalidTopic {
            at: At::default(),
            topic: topic.clone(),
            why: why.into(),
        }
    }

    pub(crate) fn invalid_config(why: impl Into<String>) -> Self {
        Self::InvalidConfig {
            at: At::default(),
            why: why.into(),
        }
    }

    pub(crate) fn not_fresh(missing: NotFresh) -> Self {
        Self::NotFresh {
            at: At::default(),
            missing,
        }
    }

    /// The text with its causes, on one line: for records and health, which have no source to ask.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        for cause in self.unsaid_causes() {
            text.push_str(": ");
            write_bounded(&mut text, cause);
        }
        text
    }

    /// The causes, unless the text ends with them.
    fn unsaid_causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let is_said = matches!(self, Self::TimedOut { .. });
        causes(self).filter(move |_| !is_said)
    }

    /// The same without the stream, which a record names in front of it.
    pub(crate) fn for_record(&self) -> String {
        let text = self.with_causes();
        let beginning = self.at().to_string();
        text.strip_prefix(&*beginning).unwrap_or(&text).to_owned()
    }

    /// As the scope `correlation` gets it for its operation on `stream`: what was known better before stays.
    ///
    /// The stream's own errors, which all of its holders share, have no correlation.
    pub(crate) fn told(
        mut self,
        stream: &StreamKey,
        phase: Option<Phase>,
        correlation: Option<&CorrelationId>,
    ) -> Self {
        let at = self.at_mut();
        at.stream.get_or_insert_with(|| stream.clone());
        at.phase = at.phase.or(phase);
        if correlation.is_some() {
            at.correlation = correlation.cloned();
        }
        self
    }

    /// Where it happened, and for whom.
    pub(crate) fn place(&self) -> At {
        self.at().clone()
    }

    fn at(&self) -> &At {
        match self {
            Self::InvalidCredentials { at, .. }
            | Self::InvalidEndpoint { at, .. }
            | Self::InvalidTopic { at, .. }
            | Self::NoTopics { at }
            | Self::LossyQueue { at, .. }
            | Self::InvalidConfig { at, .. }
            | Self::WrongAccount { at, .. }
            | Self::SettingsConflict { at, .. }
            | Self::Draining { at, .. }
            | Self::TimedOut { at, .. }
            | Self::Rejected { at, .. }
            | Self::NotEntitled { at, .. }
            | Self::ConnectionLimit { at, .. }
            | Self::Evicted { at, .. }
            | Self::Refused { at, .. }
            | Self::OverBudget { at, .. }
            | Self::Displaced { at, .. }
            | Self::Unresolved { at, .. }
            | Self::Unreachable { at, .. }
            | Self::Proxy { at, .. }
            | Self::Tls { at, .. }
            | Self::Upgrade { at, .. }
            | Self::Protocol { at, .. }
            | Self::Lost { at, .. }
            | Self::Mute { at, .. }
            | Self::HeldBack { at, .. }
            | Self::GaveUp { at, .. }
            | Self::Closed { at, .. }
            | Self::NotFresh { at, .. }
            | Self::NoPrice { at, .. }
            | Self::StillShared { at, .. }
            | Self::Missed { at, .. }
            | Self::Overflow { at, .. }
            | Self::Spawn { at, .. }
            | Self::Forked { at, .. }
            | Self::Panicked { at, .. } => at,
        }
    }

    fn at_mut(&mut self) -> &mut At {
        match self {
            Self::InvalidCredentials { at, .. }
            | Self::InvalidEndpoint { at, .. }
            | Self::InvalidTopic { at, .. }
            | Self::NoTopics { at }
            | Self::LossyQueue { at, .. }
            | Self::InvalidConfig { at, .. }
            | Self::WrongAccount { at, .. }
            | Self::SettingsConflict { at, .. }
            | Self::Draining { at, .. }
            | Self::TimedOut { at, .. }
            | Self::Rejected { at, .. }
            | Self::NotEntitled { at, .. }
            | Self::ConnectionLimit { at, .. }
            | Self::Evicted { at, .. }
            | Self::Refused { at, .. }
            | Self::OverBudget { at, .. }
            | Self::Displaced { at, .. }
            | Self::Unresolved { at, .. }
            | Self::Unreachable { at, .. }
            | Self::Proxy { at, .. }
            | Self::Tls { at, .. }
            | Self::Upgrade { at, .. }
            | Self::Protocol { at, .. }
            | Self::Lost { at, .. }
            | Self::Mute { at, .. }
            | Self::HeldBack { at, .. }
            | Self::GaveUp { at, .. }
            | Self::Closed { at, .. }
            | Self::NotFresh { at, .. }
            | Self::NoPrice { at, .. }
            | Self::StillShared { at, .. }
            | Self::Missed { at, .. }
            | Self::Overflow { at, .. }
            | Self::Spawn { at, .. }
            | Self::Forked { at, .. }
            | Self::Panicked { at, .. } => at,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}\n  what to do: {}", self.remedy())?;
        for cause in self.unsaid_causes() {
            f.write_str("\n  caused by: ")?;
            write_bounded(f, cause);
        }
        write!(f, "\n  code: {}", self.code())
    }
}

/// Where an error happened, and for whom. What does not apply is `None`.
///
/// `Display` is how a message begins: `wss://host/path [1a2b3c4d] (correlation order-7): `, or as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct At {
    /// The stream.
    pub stream: Option<StreamKey>,
    /// The phase it was in. `None` where there was no stream yet.
    pub phase: Option<Phase>,
    /// Whose operation got the error, where that has a correlation id.
    pub correlation: Option<CorrelationId>,
}

impl At {
    /// A subscription's, of a stream, whatever its phase.
    pub(crate) fn of(stream: Option<&StreamKey>, correlation: Option<&CorrelationId>) -> Self {
        Self {
            stream: stream.cloned(),
            phase: None,
            correlation: correlation.cloned(),
        }
    }

    pub(crate) fn new(stream: &StreamKey, phase: Phase) -> Self {
        Self {
            stream: Some(stream.clone()),
            phase: Some(phase),
            correlation: None,
        }
    }

    fn phase_name(&self) -> &'static str {
        self.phase.map_or("none", Phase::name)
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = Note(self.correlation.as_ref());
        match (&self.stream, &self.correlation) {
            (Some(stream), _) => write!(f, "{stream}{note}: "),
            (None, Some(id)) => write!(f, "(correlation {id}): "),
            (None, None) => Ok(()),
        }
    }
}

/// How events were missed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Missed {
    /// The connection broke.
    Gap,
    /// The reader was too slow, and they did not fit into its queue.
    Dropped {
        /// How many events.
        count: u64,
        /// How many the queue holds.
        capacity: usize,
        /// How many bytes it holds.
        capacity_bytes: usize,
    },
    /// The venue sent what could not be read.
    Unparsed {
        /// How many items.
        count: u64,
        /// What is wrong with the first.
        why: Arc<str>,
    },
}

impl fmt::Display for Missed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Gap => f.write_str("the connection broke"),
            Self::Dropped {
                count,
                capacity,
                capacity_bytes,
            } => write!(
                f,
                "the reader was too slow for its queue of {capacity} and {}, which dropped {count}",
                Bytes(*capacity_bytes)
            ),
            Self::Unparsed { count: 1, why } => {
                write!(f, "the venue sent what could not be read ({why})")
            }
            Self::Unparsed { count, why } => write!(
                f,
                "the venue sent {count} items that could not be read (the first: {why})"
            ),
        }
    }
}

/// Why credentials were refused before they were used. The value itself is never in it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CredentialsFault {
    /// A field is empty.
    #[error("the {field} is empty")]
    Empty {
        /// Which one.
        field: &'static str,
    },
    /// A field is longer than any venue's.
    #[error("the {field} is longer than {limit} bytes")]
    TooLong {
        /// Which one.
        field: &'static str,
        /// The limit in bytes.
        limit: usize,
    },
    /// A field begins or ends with quotes.
    #[error("the {field} stands in quotes, which are no part of it: remove them")]
    Quoted {
        /// Which one.
        field: &'static str,
    },
    /// A field holds something that no key holds.
    #[error("the {field} holds white space, a control character or a character outside ASCII")]
    BadCharacter {
        /// Which one.
        field: &'static str,
    },
    /// A field begins as PEM does, and is none.
    #[error(
        "the {field} is no whole PEM: a first line, Base64, and the last line, with line breaks in between"
    )]
    BadPem {
        /// Which one.
        field: &'static str,
    },
    /// An environment variable is missing.
    #[error("the environment variable {variable} is not set{}", .found.map_or_else(String::new, |found| format!(" ({found} is: did you mean that one?)")))]
    NotSet {
        /// Its name.
        variable: &'static str,
        /// Another SDK's variable for the same, which is set.
        found: Option<&'static str>,
    },
    /// The file or reader could not be read.
    #[error("cannot read them: {0}")]
    Unreadable(std::io::ErrorKind),
    /// The file is readable by others than its owner.
    #[error("the file's permissions are {mode:03o}, so others can read it: `chmod 600` it")]
    Exposed {
        /// The permission bits.
        mode: u32,
    },
    /// The file or reader did not hold exactly two lines.
    #[error("expected two lines: the key id, then the secret")]
    NotTwoLines,
}

/// What a call with a deadline was waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Doing {
    /// `wait_live`.
    WaitingForLive,
    /// `wait_confirmed`.
    WaitingForConfirmation,
    /// `close`, or the end of a shutdown.
    Closing,
}

impl fmt::Display for Doing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::WaitingForLive => "waiting for the stream to be live",
            Self::WaitingForConfirmation => "waiting for the venue to confirm the subscription",
            Self::Closing => "waiting for the stream's thread to end",
        })
    }
}

/// The causes of an error, as many as anybody reads: a foreign error may be its own cause.
fn causes(error: &Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(error.source(), |cause| (*cause).source()).take(16)
}

/// Writes what a foreign error says, as far as anybody reads it: its `Display` may have no end.
fn write_bounded(out: &mut dyn fmt::Write, text: &dyn fmt::Display) {
    let left = 4_096;
    // It fails at the bound, or by itself. What was written until then is the text.
    let _ = write!(Bounded { out, left }, "{text}");
}

struct Bounded<'a> {
    out: &'a mut dyn fmt::Write,
    left: usize,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // An empty text counts, too.
        let left = self.left.checked_sub(text.len().max(1));
        self.left = left.unwrap_or(0);
        if left.is_none() {
            return Err(fmt::Error);
        }
        self.out.write_str(text)
    }
}

/// A foreign error, kept for [`source`](StdError::source).
#[derive(Clone)]
pub struct Source(Arc<dyn StdError + Send + Sync>);

impl Source {
    pub(crate) fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bounded(f, &self.0);
        Ok(())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Source {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

fn since_note(since: &Option<Timestamp>) -> String {
    since.map_or_else(String::new, |since| format!(" since {since}"))
}

fn said_note(said: &Option<Rejection>) -> String {
    said.as_ref()
        .map_or_else(String::new, |said| format!("; the venue said: {said}"))
}

fn retry_note(retry_in: &Option<Duration>) -> String {
    retry_in.map_or_else(String::new, |wait| format!(", {}", NextAttempt(wait)))
}

/// What went wrong last, for the text of an error that is about something else.
fn cause_note(cause: &Option<Arc<Error>>) -> String {
    cause
        .as_ref()
        .map_or_else(String::new, |cause| format!(": {}", cause.for_record()))
}

fn location_note(location: &Option<String>) -> String {
    location.as_ref().map_or_else(String::new, |location| {
        format!(", a redirect to {location}, which is not followed")
    })
}

/// The upgrade says nothing of who asks, so it is not that which was refused, unless the venue means something else by it.
fn network_note(kind: &RejectionKind, status: &u16) -> &'static str {
    match (kind, status) {
        (RejectionKind::BadRequest, 401 | 403 | 407) => {
            ": no credentials were sent yet, so a proxy, a firewall or a wrong host says this"
        }
        _ => "",
    }
}

fn retry_after_note(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!(", to be retried after {wait:.0?}")
    })
}
