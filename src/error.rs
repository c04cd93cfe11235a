//! The one error type: what was being done, to which stream, in which phase, why, and what to do about it.
//!
//! Foreign errors come in through private functions and leave only as [`source`](std::error::Error::source), so that
//! no other crate's type is part of a variant.

use std::{error::Error as StdError, fmt, sync::Arc, time::Duration};

use crate::{
    key::StreamKey,
    phase::Phase,
    price::{NotFresh, Obstacle},
    topic::{Overflow, Topic},
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
    #[error("invalid credentials: {0}")]
    InvalidCredentials(CredentialsFault),

    /// The endpoint is not a WebSocket URL.
    #[error("invalid endpoint: {why}")]
    InvalidEndpoint {
        /// What is wrong with it.
        why: &'static str,
    },

    /// A topic cannot be subscribed to on this feed. Nothing was sent.
    #[error("invalid topic {topic}: {why}")]
    InvalidTopic {
        /// The topic.
        topic: Topic,
        /// What is wrong with it.
        why: String,
    },

    /// Every event of this venue counts, and the subscription's queue was to drop some. Nothing was sent.
    #[error("no event of this venue may be dropped, which `{overflow}` does: use `end`")]
    LossyQueue {
        /// The policy that was asked for.
        overflow: Overflow,
    },

    /// A value of the configuration, or of an argument, makes no sense.
    #[error("invalid configuration: {why}")]
    InvalidConfig {
        /// What is wrong with it.
        why: String,
    },

    /// The key belongs to the other kind of account than the one that was asked for. Nothing was connected.
    #[error("{stream}: this is a {found} key, but a {wanted} account was asked for")]
    WrongAccount {
        /// The stream that was asked for.
        stream: StreamKey,
        /// The account that was asked for.
        wanted: &'static str,
        /// The account that the key belongs to.
        found: &'static str,
    },

    /// The stream is open already, with other settings. The first opener's settings hold.
    #[error("{stream} is open with other settings: {}", .differences.join(", "))]
    SettingsConflict {
        /// The stream.
        stream: StreamKey,
        /// The settings that differ, by name.
        differences: Vec<&'static str>,
    },

    /// A predecessor with the same key was still ending when the time to wait for it ran out.
    #[error("{}: the previous connection is still ending (phase {}, for {waited:.1?})", .at.stream, .at.phase)]
    Draining {
        /// The stream, and the phase its predecessor is in.
        at: At,
        /// How long it has been ending.
        waited: Duration,
    },

    /// A call's deadline passed. The stream goes on.
    #[error("{}: timed out {doing} (phase {}{})", .at.stream, .at.phase, retry_note(.retry_in))]
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
    #[error("{}: the venue rejected the credentials: {rejection}", .at.stream)]
    Rejected {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The account's plan does not include what was asked for.
    #[error("{}: not included in the account's plan: {rejection}", .at.stream)]
    NotEntitled {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The venue allows no further connection for these credentials: another process holds it, or one that died
    /// without a close handshake still counts (for about 90 s at Alpaca).
    #[error("{}: {rejection}: another process uses this key, or one that died still counts", .at.stream)]
    ConnectionLimit {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The venue refused a request, for example a subscription. The stream goes on, and nothing else was changed.
    #[error("{}: request refused: {rejection}", .at.stream)]
    Refused {
        /// The stream, and the phase it happened in.
        at: At,
        /// What the venue said.
        rejection: Rejection,
    },

    /// The host name could not be resolved.
    #[error("{}: cannot resolve the host name", .at.stream)]
    Unresolved {
        /// The stream, and the phase it happened in.
        at: At,
        /// The resolver's error.
        #[source]
        source: Source,
    },

    /// The connection could not be set up: refused, unreachable or reset.
    #[error("{}: cannot connect (phase {})", .at.stream, .at.phase)]
    Unreachable {
        /// The stream, and the phase it happened in.
        at: At,
        /// The socket's error.
        #[source]
        source: Source,
    },

    /// TLS failed: the certificate's name, root or date, or the server does not speak TLS.
    #[error("{}: TLS failed: {why}", .at.stream)]
    Tls {
        /// The stream, and the phase it happened in.
        at: At,
        /// What failed.
        why: String,
        /// Whether it is the certificate that was refused, which another attempt will not change.
        certificate: bool,
    },

    /// The server answered the upgrade request with an HTTP status instead of a WebSocket.
    #[error("{}: the server answered the WebSocket upgrade with HTTP {status}{}", .at.stream, retry_after_note(.retry_after))]
    Upgrade {
        /// The stream, and the phase it happened in.
        at: At,
        /// The HTTP status.
        status: u16,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },

    /// The venue did not keep to its protocol.
    #[error("{}: protocol error (phase {}): {why}", .at.stream, .at.phase)]
    Protocol {
        /// The stream, and the phase it happened in.
        at: At,
        /// What was wrong.
        why: String,
    },

    /// The connection ended, or was given up.
    #[error("{}: connection lost (phase {}): {why}", .at.stream, .at.phase)]
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
    #[error("{}: mute: nothing of what is expected came, although the line answers", .at.stream)]
    Mute {
        /// The stream, and the phase it happened in.
        at: At,
    },

    /// The stream failed so often in a row that, by its configuration, it was given up.
    #[error("{stream}: given up after {failures} failures in a row")]
    GaveUp {
        /// The stream.
        stream: StreamKey,
        /// How many failures.
        failures: u32,
        /// The last of them.
        #[source]
        cause: Arc<Self>,
    },

    /// The stream was closed or shut down in this process.
    #[error("{stream}: closed")]
    Closed {
        /// The stream.
        stream: StreamKey,
    },

    /// A price book has no fresh value. Nothing was waited for.
    #[error("{0}")]
    NotFresh(NotFresh),

    /// No fresh price came in time. The book goes on.
    #[error("{}: timed out waiting for a price: {missing}; {obstacle} (phase {})", .at.stream, .at.phase)]
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
    #[error("{stream}: still shared by {leases} other handles or subscriptions")]
    StillShared {
        /// The stream.
        stream: StreamKey,
        /// How many others hold it.
        leases: usize,
    },

    /// The subscription's queue was full, and its policy is to end.
    #[error(
        "{stream}: the consumer was too slow for its queue of {capacity}, whose policy is to end"
    )]
    Overflow {
        /// The stream.
        stream: StreamKey,
        /// The queue's length in events.
        capacity: usize,
    },

    /// The operating system refused a thread, a poller or a timer.
    #[error("{stream}: cannot start the stream's thread")]
    Spawn {
        /// The stream.
        stream: StreamKey,
        /// The operating system's error.
        #[source]
        source: Source,
    },

    /// This process is a forked child of the one that opened the stream, and has no part in it: no thread was copied,
    /// and the connection is the parent's. Open streams after the fork, in the process that uses them.
    #[error("{stream}: belongs to the parent of this forked process")]
    Forked {
        /// The stream.
        stream: StreamKey,
    },

    /// The stream's thread panicked. This is a bug, of this crate or of user code that runs there.
    #[error("{stream}: the stream's thread panicked: {message}")]
    Panicked {
        /// The stream.
        stream: StreamKey,
        /// The panic's message.
        message: String,
    },
}

impl Error {
    /// A short, stable name of the kind of error, for counters and alerts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::InvalidCredentials(_) => "invalid_credentials",
            Self::InvalidEndpoint { .. } => "invalid_endpoint",
            Self::InvalidTopic { .. } => "invalid_topic",
            Self::LossyQueue { .. } => "lossy_queue",
            Self::InvalidConfig { .. } => "invalid_config",
            Self::WrongAccount { .. } => "wrong_account",
            Self::SettingsConflict { .. } => "settings_conflict",
            Self::Draining { .. } => "draining",
            Self::TimedOut { .. } => "timed_out",
            Self::Rejected { .. } => "rejected",
            Self::NotEntitled { .. } => "not_entitled",
            Self::ConnectionLimit { .. } => "connection_limit",
            Self::Refused { .. } => "refused",
            Self::Unresolved { .. } => "unresolved",
            Self::Unreachable { .. } => "unreachable",
            Self::Tls { .. } => "tls",
            Self::Upgrade { .. } => "upgrade",
            Self::Protocol { .. } => "protocol",
            Self::Lost { .. } => "lost",
            Self::Mute { .. } => "mute",
            Self::GaveUp { .. } => "gave_up",
            Self::Closed { .. } => "closed",
            Self::NotFresh(_) => "not_fresh",
            Self::NoPrice { .. } => "no_price",
            Self::StillShared { .. } => "still_shared",
            Self::Overflow { .. } => "overflow",
            Self::Spawn { .. } => "spawn",
            Self::Forked { .. } => "forked",
            Self::Panicked { .. } => "panicked",
        }
    }

    /// What a human, or the program, should do.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::InvalidCredentials(_) | Self::WrongAccount { .. } | Self::Rejected { .. } => {
                Remedy::FixCredentials
            }
            Self::InvalidEndpoint { .. }
            | Self::InvalidTopic { .. }
            | Self::LossyQueue { .. }
            | Self::InvalidConfig { .. }
            | Self::SettingsConflict { .. }
            | Self::Forked { .. } => Remedy::FixRequest,
            Self::Tls {
                certificate: true, ..
            } => Remedy::FixRequest,
            Self::Upgrade { status, .. } => match status {
                401 | 403 => Remedy::FixCredentials,
                408 | 425 | 429 | 500.. => Remedy::RetryLater,
                _ => Remedy::FixRequest,
            },
            Self::NotEntitled { .. } => Remedy::ChangePlan,
            Self::Refused { rejection, .. } => match rejection.kind {
                RejectionKind::SymbolLimit => Remedy::ReduceSymbols,
                RejectionKind::Entitlement => Remedy::ChangePlan,
                _ => Remedy::FixRequest,
            },
            Self::ConnectionLimit { .. } => Remedy::CloseOthers,
            Self::Overflow { .. } => Remedy::ReadFaster,
            Self::Panicked { .. } => Remedy::ReportBug,
            Self::GaveUp { cause, .. }
            | Self::TimedOut {
                cause: Some(cause), ..
            }
            | Self::NoPrice {
                cause: Some(cause), ..
            } => cause.remedy(),
            Self::Draining { .. }
            | Self::TimedOut { .. }
            | Self::Unresolved { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Lost { .. }
            | Self::Mute { .. }
            | Self::Closed { .. }
            | Self::NotFresh(_)
            | Self::NoPrice { .. }
            | Self::StillShared { .. }
            | Self::Spawn { .. } => Remedy::RetryLater,
        }
    }

    /// Whether doing the same again, later, can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.remedy(), Remedy::RetryLater | Remedy::CloseOthers)
    }

    /// The stream it happened to, where there is one.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamKey> {
        match self {
            Self::InvalidCredentials(_)
            | Self::InvalidEndpoint { .. }
            | Self::InvalidTopic { .. }
            | Self::LossyQueue { .. }
            | Self::InvalidConfig { .. }
            | Self::NotFresh(_) => None,
            Self::WrongAccount { stream, .. }
            | Self::SettingsConflict { stream, .. }
            | Self::GaveUp { stream, .. }
            | Self::Closed { stream }
            | Self::StillShared { stream, .. }
            | Self::Overflow { stream, .. }
            | Self::Spawn { stream, .. }
            | Self::Forked { stream }
            | Self::Panicked { stream, .. } => Some(stream),
            other => other.at().map(|at| &at.stream),
        }
    }

    /// The phase the stream was in, where that matters.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.at().map(|at| at.phase)
    }

    /// The text with its causes, on one line: for records and health, which have no source to ask.
    pub(crate) fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        text
    }

    fn at(&self) -> Option<&At> {
        match self {
            Self::Draining { at, .. }
            | Self::TimedOut { at, .. }
            | Self::NoPrice { at, .. }
            | Self::Rejected { at, .. }
            | Self::NotEntitled { at, .. }
            | Self::ConnectionLimit { at, .. }
            | Self::Refused { at, .. }
            | Self::Unresolved { at, .. }
            | Self::Unreachable { at, .. }
            | Self::Tls { at, .. }
            | Self::Upgrade { at, .. }
            | Self::Protocol { at, .. }
            | Self::Mute { at }
            | Self::Lost { at, .. } => Some(at),
            _ => None,
        }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}\n  what to do: {}", self.remedy())?;
        let mut cause = self.source();
        while let Some(error) = cause {
            write!(f, "\n  caused by: {error}")?;
            cause = error.source();
        }
        write!(f, "\n  code: {}", self.code())
    }
}

/// Where an error happened: which stream, in which phase.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct At {
    /// The stream.
    pub stream: StreamKey,
    /// The phase it was in.
    pub phase: Phase,
}

impl At {
    pub(crate) fn new(stream: &StreamKey, phase: Phase) -> Self {
        Self {
            stream: stream.clone(),
            phase,
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
    /// A field holds something that no key holds.
    #[error("the {field} holds white space, a control character or a character outside ASCII")]
    BadCharacter {
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

/// What a venue said when it refused something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// What it means.
    pub kind: RejectionKind,
    /// The venue's own number for it.
    pub code: Option<u16>,
    /// The venue's own words, with secrets masked and control characters escaped.
    pub message: String,
}

impl Rejection {
    /// A rejection for a [`Session`](crate::venue::Session) to report.
    #[must_use]
    pub fn new(kind: RejectionKind, code: Option<u16>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.code.map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

/// What a venue's refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The credentials are wrong. Ends the stream.
    Credentials,
    /// The account's plan does not include it. Ends the stream when it concerns the connection.
    Entitlement,
    /// Too many connections for these credentials. Retried, with patience.
    ConnectionLimit,
    /// More symbols than the plan allows.
    SymbolLimit,
    /// The request makes no sense to the venue.
    BadRequest,
    /// The venue cut a client that read too slowly. Retried.
    SlowClient,
    /// A fault on the venue's side, or a deadline that passed. Retried.
    Temporary,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Try again later; streams do so by themselves.
    RetryLater,
    /// Use other credentials.
    FixCredentials,
    /// Use another plan, or a feed that the plan includes.
    ChangePlan,
    /// Subscribe to fewer symbols.
    ReduceSymbols,
    /// Correct the request, the endpoint or the configuration.
    FixRequest,
    /// Find and close the other connection that uses the same key.
    CloseOthers,
    /// Read faster, use a longer queue, or another overflow policy.
    ReadFaster,
    /// Report a bug.
    ReportBug,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RetryLater => "retry later",
            Self::FixCredentials => "fix the credentials",
            Self::ChangePlan => "change the plan, or use a feed that it includes",
            Self::ReduceSymbols => "reduce the number of symbols",
            Self::FixRequest => "correct the request, the endpoint or the configuration",
            Self::CloseOthers => {
                "find and close the other connection that uses this key, or wait until it is reaped"
            }
            Self::ReadFaster => "read faster, use a longer queue, or another overflow policy",
            Self::ReportBug => "report a bug",
        })
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
        self.0.fmt(f)
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

fn retry_note(retry_in: &Option<Duration>) -> String {
    retry_in.map_or_else(String::new, |wait| format!(", next attempt in {wait:.1?}"))
}

fn retry_after_note(retry_after: &Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!(", to be retried after {wait:.0?}")
    })
}
