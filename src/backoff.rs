//! When to try again: the kind of failure, how many there were, and a random number in; a verdict out. No clock.

use std::time::{Duration, Instant};

use crate::{
    clock,
    config::Backoff,
    error::{Error, ErrorKind, RejectionKind, Remedy},
};

/// What a failure means for the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Trying again cannot help.
    Fatal,
    /// Try again.
    Retry,
    /// Try again, with patience: a dead predecessor may have to be reaped first.
    ConnectionLimit,
    /// Another connection took the place of this one. Whoever comes back at once takes it away again, and so for ever: try
    /// again when the other may have what it wanted.
    Evicted,
    /// Try again for some minutes: the venue accepted these credentials before, or the proxy its login, and refuses them now.
    Credentials,
}

/// What a connection had been good for when it failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Worth {
    /// It was never live, or the venue confirmed nothing on it.
    Nothing,
    /// The venue confirmed topics on it, and it died young.
    Short,
    /// The venue confirmed topics on it, and it lived for a while.
    Served,
    /// It was live for so long that what happened before is forgotten.
    Stable,
}

impl Worth {
    /// Of a connection that was live for so long, if it ever was.
    pub(crate) fn of(lived: Option<Duration>, has_confirmed: bool, backoff: &Backoff) -> Self {
        match lived {
            Some(lived) if lived >= backoff.reset_after => Self::Stable,
            Some(lived) if has_confirmed && lived >= backoff.initial => Self::Served,
            Some(_) if has_confirmed => Self::Short,
            _ => Self::Nothing,
        }
    }

    /// Whether the failures before it count no longer.
    pub(crate) fn is_success(self) -> bool {
        matches!(self, Self::Served | Self::Stable)
    }
}

/// Refusals of credentials, or of the login at a proxy, that had been accepted before, with no success in between.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusals {
    since: Instant,
    pub(crate) count: u32,
}

impl Refusals {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            since: now,
            count: 0,
        }
    }

    /// When the stream gives up, if it ever does.
    pub(crate) fn until(&self, backoff: &Backoff) -> Option<Instant> {
        self.since.checked_add(backoff.credentials_patience)
    }
}

/// The one table of what is fatal. Before a stream was ever live, what a human has to mend is; once it was, the same
/// faults are more likely to be the venue's, and pass.
pub(crate) fn class(error: &Error, was_live: bool) -> Class {
    let fatal_at_first = if was_live { Class::Retry } else { Class::Fatal };
    let kind = match error.kind() {
        ErrorKind::Tls {
            certificate: true, ..
        } => return fatal_at_first,
        // The stream went through it with the same ones.
        ErrorKind::Proxy { fault, .. } if was_live && fault.refuses_login() => {
            return Class::Credentials;
        }
        ErrorKind::Proxy { .. } => {
            return match error.remedy() {
                Remedy::RetryLater => Class::Retry,
                _ => fatal_at_first,
            };
        }
        _ => kind(error),
    };
    let Some(kind) = kind else {
        return Class::Retry;
    };
    match kind {
        RejectionKind::Credentials | RejectionKind::Entitlement if was_live => Class::Credentials,
        RejectionKind::Credentials | RejectionKind::Entitlement => Class::Fatal,
        RejectionKind::ConnectionLimit => Class::ConnectionLimit,
        RejectionKind::Evicted => Class::Evicted,
        RejectionKind::SlowClient | RejectionKind::Temporary => Class::Retry,
        RejectionKind::SymbolLimit | RejectionKind::BadRequest => fatal_at_first,
    }
}

/// What it means at the venue, where the venue is asked for that.
fn kind(error: &Error) -> Option<RejectionKind> {
    match error.kind() {
        ErrorKind::Rejected { rejection, .. }
        | ErrorKind::NotEntitled { rejection, .. }
        | ErrorKind::ConnectionLimit { rejection, .. }
        | ErrorKind::Evicted { rejection, .. }
        | ErrorKind::Refused { rejection, .. } => Some(rejection.kind),
        ErrorKind::Upgrade { kind, .. } => Some(*kind),
        _ => None,
    }
}

/// How long to wait before the next attempt. `failures` counts this one, and for refused credentials the refusals;
/// `random` is from 0 to 1. What served comes back soon, and not at once: its bound starts from its spacing.
pub(crate) fn delay(
    (backoff, reaping): (&Backoff, (Duration, Duration)),
    error: &Error,
    class: Class,
    failures: u32,
    worth: Worth,
    random: f64,
) -> Duration {
    let doubled = 1_u32 << failures.saturating_sub(1).min(31);
    let jittered = match class {
        Class::ConnectionLimit => {
            let (least, most) = reaping;
            least.saturating_add(clock::times(most.saturating_sub(least), random))
        }
        Class::Evicted => {
            let [least, most] =
                [0, 1].map(|end| EVICTED[end].saturating_mul(doubled).min(EVICTED_MOST[end]));
            least.saturating_add(clock::times(most.saturating_sub(least), random))
        }
        Class::Credentials => {
            let (least, most) = REFUSED_SPACING;
            let (least, most) = (least.saturating_mul(doubled), most.saturating_mul(doubled));
            least
                .saturating_add(clock::times(most.saturating_sub(least), random))
                .min(backoff.cap.max(REFUSED_SPACING.0))
        }
        Class::Retry | Class::Fatal => {
            let least = match worth {
                Worth::Short | Worth::Served => backoff.spacing(),
                Worth::Nothing | Worth::Stable => Duration::ZERO,
            };
            let bound = backoff.initial.saturating_mul(doubled).min(backoff.cap);
            least.saturating_add(clock::times(bound, random))
        }
    };
    jittered.max(asked_for(error).unwrap_or(Duration::ZERO))
}

/// What the server or the proxy asked for, as far as it is taken at its word.
fn asked_for(error: &Error) -> Option<Duration> {
    let wait = match error.kind() {
        ErrorKind::Upgrade { retry_after, .. } => *retry_after,
        ErrorKind::Proxy { fault, .. } => fault.retry_after(),
        _ => None,
    };
    wait.map(|wait| wait.min(LONGEST_RETRY_AFTER))
}

/// Where a wait comes from that is so long that somebody may take the stream for dead. For its record.
pub(crate) fn origin(delay: Duration, error: &Error, class: Class) -> Option<&'static str> {
    if delay <= LONG {
        return None;
    }
    if asked_for(error) == Some(delay) {
        return Some("which was asked for with `Retry-After`; an hour is the most that is granted");
    }
    Some(match class {
        Class::ConnectionLimit => {
            "which the venue may take to forget a dead connection, by `Rules::reaping`"
        }
        Class::Evicted => "so as not to take the line from whoever has it now",
        Class::Credentials | Class::Retry | Class::Fatal => "which `Config::backoff` asks for",
    })
}

/// A longer wait is explained.
const LONG: Duration = Duration::from_secs(300);

/// The least and most time between the first two refusals of credentials that were accepted before. It doubles.
const REFUSED_SPACING: (Duration, Duration) = (Duration::from_secs(2), Duration::from_secs(5));

/// The least and most time after the first eviction. It doubles with each that follows.
const EVICTED: [Duration; 2] = [Duration::from_secs(60), Duration::from_secs(90)];
/// What the doubling comes to.
const EVICTED_MOST: [Duration; 2] = [Duration::from_secs(600), Duration::from_secs(900)];
/// A line that was live for so long is not one that two take from each other: evictions before that are forgotten. More than
/// the longest wait, or a rival that waits as long would look like peace.
pub(crate) const KEPT: Duration = Duration::from_secs(3_600);

/// A server that asks for more than this is not taken at its word.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests;
