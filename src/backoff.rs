//! When to try again: the kind of failure, how many there were, and a random number in; a verdict out. No clock.

use std::{
    fmt,
    time::{Duration, Instant},
};

use crate::{
    clock,
    config::Backoff,
    error::{Error, RejectionKind, Remedy},
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
    let kind = match error {
        Error::Tls {
            certificate: true, ..
        } => return fatal_at_first,
        // The stream went through it with the same ones.
        Error::Proxy { fault, .. } if was_live && fault.refuses_login() => {
            return Class::Credentials;
        }
        Error::Proxy { .. } => {
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
    match error {
        Error::Rejected { rejection, .. }
        | Error::NotEntitled { rejection, .. }
        | Error::ConnectionLimit { rejection, .. }
        | Error::Evicted { rejection, .. }
        | Error::Refused { rejection, .. } => Some(rejection.kind),
        Error::Upgrade { kind, .. } => Some(*kind),
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
    let wait = match error {
        Error::Upgrade { retry_after, .. } => *retry_after,
        Error::Proxy { fault, .. } => fault.retry_after(),
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

/// When the next attempt is made, for people.
pub(crate) struct NextAttempt(pub(crate) Duration);

impl fmt::Display for NextAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_millis(1) {
            return f.write_str("next attempt at once");
        }
        write!(f, "next attempt in {:.1?}", self.0)
    }
}

/// A server that asks for more than this is not taken at its word.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(3_600);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{At, Credentials, ProxyAnswer, ProxyFault, Rejection, StreamKey, phase::Phase};

    fn at() -> At {
        At::new(
            &StreamKey::new(&"ws://h".parse().unwrap(), &Credentials::none()),
            Phase::Upgrading,
        )
    }

    fn upgrade(status: u16, retry_after: Option<Duration>) -> Error {
        Error::Upgrade {
            at: at(),
            kind: crate::venue::usual_meaning(status),
            status,
            retry_after,
            location: None,
        }
    }

    const REAPING: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(12));

    fn refused(kind: RejectionKind) -> Error {
        let rejection = Rejection::new(kind, "no");
        Error::Refused {
            at: at(),
            rejection,
        }
    }

    /// A status means what the venue says that it means.
    #[test]
    fn a_status_that_the_venue_judges_counts_as_any_other_refusal_of_its_kind() {
        let judged = |kind| Error::Upgrade {
            at: at(),
            kind,
            status: 418,
            retry_after: None,
            location: None,
        };
        use RejectionKind::{
            BadRequest, ConnectionLimit, Credentials, Entitlement, Evicted, SlowClient,
            SymbolLimit, Temporary,
        };
        for (kind, at_first, later) in [
            (Credentials, Class::Fatal, Class::Credentials),
            (Entitlement, Class::Fatal, Class::Credentials),
            (
                ConnectionLimit,
                Class::ConnectionLimit,
                Class::ConnectionLimit,
            ),
            (Evicted, Class::Evicted, Class::Evicted),
            (SymbolLimit, Class::Fatal, Class::Retry),
            (BadRequest, Class::Fatal, Class::Retry),
            (SlowClient, Class::Retry, Class::Retry),
            (Temporary, Class::Retry, Class::Retry),
        ] {
            for error in [judged(kind), refused(kind)] {
                assert_eq!(class(&error, false), at_first, "{error}");
                assert_eq!(class(&error, true), later, "{error}");
            }
        }
    }

    #[test]
    fn a_slot_that_is_not_reaped_is_waited_for_as_long_as_the_venue_says() {
        let (backoff, limited) = (Backoff::default(), refused(RejectionKind::ConnectionLimit));
        let wait = |count, random| {
            let class = class(&limited, true);
            delay(
                (&backoff, (Duration::from_secs(2), Duration::from_secs(6))),
                &limited,
                class,
                count,
                Worth::Nothing,
                random,
            )
        };
        for count in [1, 9] {
            assert_eq!(wait(count, 0.0), Duration::from_secs(2));
            assert_eq!(wait(count, 1.0), Duration::from_secs(6));
        }
    }

    #[test]
    fn who_was_evicted_waits_for_minutes_and_longer_each_time() {
        let backoff = Backoff::default();
        let rejection = Rejection::new(RejectionKind::Evicted, "max_connections");
        let evicted = Error::Evicted {
            at: at(),
            rejection,
        };
        let wait = |count, random| {
            let rules = (&backoff, REAPING);
            delay(
                rules,
                &evicted,
                Class::Evicted,
                count,
                Worth::Stable,
                random,
            )
        };
        for (count, least, most) in [(1, 60, 90), (2, 120, 180), (5, 600, 900), (99, 600, 900)] {
            assert_eq!(wait(count, 0.0), Duration::from_secs(least));
            assert_eq!(wait(count, 1.0), Duration::from_secs(most));
        }
        assert!(wait(99, 1.0) < KEPT, "a rival that waits as long is none");
        let by_status = Error::Upgrade {
            at: at(),
            kind: RejectionKind::Evicted,
            status: 409,
            retry_after: None,
            location: None,
        };
        for evicted in [&evicted, &by_status] {
            let why = origin(wait(99, 1.0), evicted, Class::Evicted);
            assert!(why.is_some_and(|why| why.contains("whoever")), "{evicted}");
        }
    }

    #[test]
    fn what_a_human_must_mend_is_fatal_until_it_was_live_once() {
        for status in [301, 400, 401, 403, 404] {
            assert_eq!(
                class(&upgrade(status, None), false),
                Class::Fatal,
                "{status}"
            );
            assert_eq!(
                class(&upgrade(status, None), true),
                Class::Retry,
                "{status}"
            );
        }
        for status in [408, 429, 500, 502, 503] {
            assert_eq!(
                class(&upgrade(status, None), false),
                Class::Retry,
                "{status}"
            );
        }
        let certificate = |certificate| Error::Tls {
            at: at(),
            why: String::new(),
            certificate,
        };
        assert_eq!(class(&certificate(true), false), Class::Fatal);
        assert_eq!(class(&certificate(false), false), Class::Retry);
        let proxy = |fault| Error::Proxy {
            at: at(),
            proxy: String::new(),
            fault: Box::new(fault),
            source: None,
        };
        let wanted = ProxyFault::LoginWanted {
            answer: ProxyAnswer::Socks(0xff),
            is_configured: false,
            offers: String::new(),
        };
        for (fault, first) in [
            (wanted, Class::Fatal),
            (ProxyFault::NotAProxy(String::new()), Class::Fatal),
            (ProxyFault::Silent, Class::Retry),
            (ProxyFault::Failed(ProxyAnswer::Socks(1)), Class::Retry),
        ] {
            assert_eq!(class(&proxy(fault.clone()), false), first, "{fault}");
            assert_eq!(class(&proxy(fault), true), Class::Retry);
        }
        let login = proxy(ProxyFault::LoginRefused(ProxyAnswer::Socks(1)));
        assert_eq!(class(&login, true), Class::Credentials);
        for refused in refusals() {
            assert_eq!(class(&refused, false), Class::Fatal, "{refused}");
            assert_eq!(class(&refused, true), Class::Credentials, "{refused}");
        }
    }

    fn refusals() -> [Error; 2] {
        let rejection = |kind, code| Rejection::new(kind, "").with_code(code);
        [
            Error::Rejected {
                at: at(),
                rejection: rejection(RejectionKind::Credentials, 402),
            },
            Error::NotEntitled {
                at: at(),
                rejection: rejection(RejectionKind::Entitlement, 409),
            },
        ]
    }

    #[test]
    fn refused_credentials_are_tried_again_after_two_to_five_seconds_and_then_more_rarely() {
        let backoff = Backoff::default();
        for refused in refusals() {
            for (count, least, most) in
                [(1, 2, 5), (2, 4, 10), (3, 8, 20), (4, 16, 30), (40, 30, 30)]
            {
                let delay = |random| {
                    delay(
                        (&backoff, REAPING),
                        &refused,
                        Class::Credentials,
                        count,
                        Worth::Nothing,
                        random,
                    )
                };
                assert_eq!(delay(0.0), Duration::from_secs(least), "{count}");
                assert_eq!(delay(1.0), Duration::from_secs(most), "{count}");
            }
        }
        let now = clock::now();
        let mut backoff = backoff;
        let until = Refusals::new(now).until(&backoff);
        assert_eq!(until, Some(now + Duration::from_secs(300)));
        backoff.credentials_patience = Duration::MAX;
        assert_eq!(Refusals::new(now).until(&backoff), None, "for ever");
    }

    #[test]
    fn the_bound_doubles_up_to_the_cap_and_retry_after_is_honored() {
        let backoff = Backoff::default();
        let at_most = |failures, error: &Error| {
            delay(
                (&backoff, REAPING),
                error,
                Class::Retry,
                failures,
                Worth::Nothing,
                1.0,
            )
        };
        let plain = upgrade(503, None);
        assert_eq!(at_most(1, &plain), Duration::from_millis(500));
        assert_eq!(at_most(2, &plain), Duration::from_secs(1));
        assert_eq!(at_most(7, &plain), Duration::from_secs(30));
        assert_eq!(at_most(u32::MAX, &plain), Duration::from_secs(30));
        assert_eq!(
            delay(
                (&backoff, REAPING),
                &plain,
                Class::Retry,
                5,
                Worth::Nothing,
                0.0
            ),
            Duration::ZERO
        );
        assert_eq!(
            at_most(1, &upgrade(429, Some(Duration::from_secs(60)))),
            Duration::from_secs(60)
        );
        assert_eq!(
            delay(
                (&backoff, REAPING),
                &plain,
                Class::ConnectionLimit,
                1,
                Worth::Nothing,
                0.0
            ),
            Duration::from_secs(9)
        );
    }

    #[test]
    fn a_wait_of_more_than_five_minutes_says_where_it_comes_from() {
        let seconds = Duration::from_secs;
        let asks_in_a_proxy = Error::Proxy {
            at: at(),
            proxy: String::new(),
            fault: Box::new(ProxyFault::Failed(ProxyAnswer::Http {
                status: 429,
                retry_after: Some(seconds(400)),
            })),
            source: None,
        };
        let rules = (&Backoff::default(), REAPING);
        let wait = delay(
            rules,
            &asks_in_a_proxy,
            class(&asks_in_a_proxy, false),
            1,
            Worth::Nothing,
            1.0,
        );
        assert_eq!(wait, seconds(400));
        let says = |delay, error: &Error| {
            origin(delay, error, Class::Retry).map(|text| text.contains("Retry-After"))
        };
        let asks = |wait| upgrade(429, Some(seconds(wait)));
        assert_eq!(says(wait, &asks_in_a_proxy), Some(true));
        assert_eq!(says(seconds(300), &asks(300)), None);
        assert_eq!(says(seconds(301), &asks(301)), Some(true));
        assert_eq!(says(seconds(3_600), &asks(86_400)), Some(true), "the most");
        assert_eq!(
            says(seconds(900), &asks(301)),
            Some(false),
            "the backoff is longer"
        );
        // Also where a status of the upgrade is what the venue says it with.
        for (class, source) in [
            (Class::ConnectionLimit, "`Rules::reaping`"),
            (Class::Evicted, "whoever has it now"),
            (Class::Credentials, "`Config::backoff`"),
            (Class::Retry, "`Config::backoff`"),
        ] {
            for error in [upgrade(418, None), refused(RejectionKind::ConnectionLimit)] {
                let text = origin(seconds(301), &error, class);
                assert!(text.is_some_and(|text| text.contains(source)), "{text:?}");
            }
        }
    }

    #[test]
    fn an_attempt_that_is_due_is_made_at_once_and_not_in_nanoseconds() {
        let shown = |nanos| NextAttempt(Duration::from_nanos(nanos)).to_string();
        assert_eq!(shown(0), "next attempt at once");
        assert_eq!(shown(999_999), "next attempt at once");
        assert_eq!(shown(1_500_000_000), "next attempt in 1.5s");
    }

    #[test]
    fn a_connection_that_served_is_a_success_and_its_successor_comes_after_a_second_at_least() {
        let backoff = Backoff::default();
        let (millis, second) = (Duration::from_millis, Duration::from_secs(1));
        for (lived, has_confirmed, worth) in [
            (None, false, Worth::Nothing),
            (Some(millis(29_999)), false, Worth::Nothing),
            (Some(millis(499)), true, Worth::Short),
            (Some(millis(500)), true, Worth::Served),
            (Some(millis(30_000)), false, Worth::Stable),
        ] {
            assert_eq!(
                Worth::of(lived, has_confirmed, &backoff),
                worth,
                "{lived:?}"
            );
        }
        let plain = upgrade(503, None);
        let delay = |failures, worth, random| {
            delay(
                (&backoff, REAPING),
                &plain,
                Class::Retry,
                failures,
                worth,
                random,
            )
        };
        assert_eq!(delay(1, Worth::Served, 0.0), second);
        assert_eq!(delay(1, Worth::Served, 1.0), millis(1_500));
        assert_eq!(delay(4, Worth::Short, 0.0), second);
        assert_eq!(delay(4, Worth::Short, 1.0), millis(5_000), "it grows");
        assert_eq!(delay(1, Worth::Stable, 0.0), Duration::ZERO);
    }
}
