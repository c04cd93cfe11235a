//! What can go wrong: the one enum to match on.

use std::{fmt, sync::Arc, time::Duration};

use super::{Error, ProxyFault, Rejection, RejectionKind};
use crate::{
    correlation::CorrelationId,
    credentials::CredentialsFault,
    price::{NotFresh, Obstacle},
    remedy::Remedy,
    source::Source,
    symbol_budget::{BudgetHolder, Counts},
    timestamp::Timestamp,
    topic::{Bytes, Overflow, Topic},
};

/// What went wrong: [`Error::kind`]. Match on it for decisions.
///
/// `?` makes an [`Error`] of one that happened nowhere yet.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The credentials were refused before anything was connected.
    InvalidCredentials {
        /// What is wrong with them.
        fault: CredentialsFault,
    },

    /// The endpoint is not a WebSocket URL.
    InvalidEndpoint {
        /// What is wrong with it.
        why: &'static str,
    },

    /// A topic cannot be subscribed to on this feed. Nothing was sent.
    InvalidTopic {
        /// The topic.
        topic: Topic,
        /// What is wrong with it.
        why: String,
    },

    /// A subscription to nothing, which would never receive an event. Nothing was sent.
    NoTopics,

    /// Every event of this venue counts, and the subscription's queue was to drop some. Nothing was sent.
    LossyQueue {
        /// The policy that was asked for.
        overflow: Overflow,
    },

    /// A value of the configuration, or of an argument, makes no sense.
    InvalidConfig {
        /// What is wrong with it.
        why: String,
    },

    /// The key belongs to the other kind of account than the one that was asked for. Nothing was connected.
    WrongAccount {
        /// The account that was asked for.
        wanted: &'static str,
        /// The account that the key belongs to.
        found: &'static str,
    },

    /// The stream is open already, with other settings. The first opener's settings hold.
    SettingsConflict {
        /// The settings that differ.
        differences: Vec<SettingDifference>,
    },

    /// A predecessor with the same key was still ending when the time to wait for it ran out.
    Draining {
        /// How long it has been ending.
        waited: Duration,
    },

    /// A call's deadline passed. The stream goes on.
    TimedOut {
        /// What was waited for.
        doing: Doing,
        /// When the next connection attempt is due, if one is.
        retry_in: Option<Duration>,
        /// The last thing that went wrong on the stream, if anything did.
        cause: Option<Error>,
    },

    /// The venue rejected the credentials.
    Rejected {
        /// What the venue said.
        rejection: Rejection,
    },

    /// The account's plan does not include what was asked for.
    NotEntitled {
        /// What the venue said.
        rejection: Rejection,
    },

    /// The venue allows no further connection for these credentials: another process holds it, or one that died
    /// without a close handshake still counts, until the venue drops it.
    ConnectionLimit {
        /// What the venue said.
        rejection: Rejection,
    },

    /// Another connection took this one's place: the venue allows so many, and ends the older one. The stream comes back after a
    /// minute at least, since whoever comes back at once takes the line from the other again.
    Evicted {
        /// What the venue said.
        rejection: Rejection,
    },

    /// The venue refused a request, for example a subscription. The stream goes on, and nothing else was changed.
    Refused {
        /// What the venue said.
        rejection: Rejection,
    },

    /// The budget of symbols is full, and nobody who holds a part of it is worth less. Nothing was sent; the
    /// subscription's other topics go on. See [`SymbolBudget`](crate::SymbolBudget).
    OverBudget {
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
    Displaced {
        /// Whose subscription it is that took the place, if that has a name.
        by: Option<CorrelationId>,
        /// Its priority.
        priority: i32,
    },

    /// The host name could not be resolved.
    Unresolved {
        /// The resolver's error.
        source: Source,
    },

    /// The connection could not be set up: refused, unreachable or reset.
    Unreachable {
        /// The socket's error.
        source: Source,
    },

    /// The proxy that connections go through did not let one through to the venue.
    Proxy {
        /// The proxy, without its login, and the variable that named it.
        proxy: String,
        /// What went wrong there, and who has to mend it.
        fault: Box<ProxyFault>,
        /// The resolver's or the socket's error, if it was one.
        source: Option<Source>,
    },

    /// TLS failed: the certificate's name, root or date, or the server does not speak TLS.
    Tls {
        /// What failed.
        why: String,
        /// Whether it is the certificate that was refused, which another attempt will not change. Not for one that is out
        /// of date by a clock that says a year before this crate's: once the clock is set, it may be in date.
        certificate: bool,
    },

    /// The server answered the upgrade request with an HTTP status instead of a WebSocket.
    Upgrade {
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
    Protocol {
        /// What was wrong.
        why: String,
    },

    /// The connection ended, or was given up.
    Lost {
        /// How it ended.
        why: String,
        /// The socket's error, if it was one.
        source: Option<Source>,
    },

    /// The connection was open, and what was expected on it did not come, although the market traded.
    Mute,

    /// Nothing was tried yet. Streams of this process failed so often at the same host of late that its attempts are
    /// spaced: see [`Rules::attempts`](crate::venue::Rules::attempts). The stream goes on.
    HeldBack {
        /// How many failures are not forgiven yet.
        failures: u32,
        /// The last of them, which may be another stream's.
        cause: Error,
    },

    /// The stream failed so often in a row that, by its configuration, it was given up.
    GaveUp {
        /// How many failures.
        failures: u32,
        /// The last of them.
        cause: Error,
    },

    /// The stream was closed or shut down in this process.
    Closed,

    /// A price book has no fresh value. Nothing was waited for.
    NotFresh {
        /// What the book has instead.
        missing: NotFresh,
    },

    /// No fresh price came in time. The book goes on.
    NoPrice {
        /// What the book has instead.
        missing: NotFresh,
        /// What stands in the way.
        obstacle: Obstacle,
        /// Why the line is not live, if it is not.
        cause: Option<Error>,
    },

    /// `close` was called while other handles or subscriptions hold the stream. It stays open.
    StillShared {
        /// How many others hold it.
        leases: usize,
    },

    /// Events of a subscription may be missing: what [`Update::strict`](crate::Update::strict) makes of a loss. The
    /// subscription goes on; [`remedy`](Error::remedy) says what to do about what was missed.
    Missed {
        /// How they were missed.
        missed: Missed,
        /// UTC: whatever is missing came then or later. Of a gap by the venue's own clock, if it said when something
        /// happened; otherwise by this machine's.
        since: Option<Timestamp>,
        /// What to do about it.
        remedy: Remedy,
        /// Why the connection broke, if it did.
        cause: Option<Error>,
    },

    /// The subscription's queue was full, and its policy is to end.
    Overflow {
        /// The queue's length in events.
        capacity: usize,
        /// Its bound in bytes.
        capacity_bytes: usize,
    },

    /// The operating system refused a thread, a poller or a timer.
    Spawn {
        /// The operating system's error.
        source: Source,
    },

    /// This process is a forked child of the one that opened the stream, and has no part in it: no thread was copied,
    /// and the connection is the parent's. Open streams after the fork, in the process that uses them.
    Forked,

    /// The stream's thread panicked. This is a bug, of this crate or of user code that runs there.
    Panicked {
        /// The panic's message.
        message: String,
    },
}

/// A setting of an open stream that somebody wants otherwise.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct SettingDifference {
    /// Its name.
    pub name: &'static str,
    /// What the stream is open with.
    pub open: String,
    /// What was asked for.
    pub asked: String,
}

impl SettingDifference {
    pub(crate) fn new(name: &'static str, open: String, asked: String) -> Self {
        Self { name, open, asked }
    }

    /// Of two values, if they differ.
    pub(crate) fn between<T: PartialEq + fmt::Debug>(
        name: &'static str,
        open: &T,
        asked: &T,
    ) -> Option<Self> {
        (open != asked).then(|| Self::new(name, format!("{open:?}"), format!("{asked:?}")))
    }
}

impl fmt::Display for SettingDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, open, asked } = self;
        // Code cannot be shown.
        if open == asked {
            return write!(f, "{name} (another one)");
        }
        write!(f, "{name} (open with {open}, asked for {asked})")
    }
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
