use super::*;
use crate::{
    Credentials, StreamKey,
    error::{At, ProxyAnswer, ProxyFault, Rejection},
    phase::{NextAttempt, Phase},
};

fn at() -> At {
    At::new(
        &StreamKey::new(&"ws://h".parse().unwrap(), &Credentials::none()),
        Phase::Upgrading,
    )
}

fn upgrade(status: u16, retry_after: Option<Duration>) -> Error {
    Error::new(
        at(),
        ErrorKind::Upgrade {
            kind: crate::venue::usual_meaning(status),
            status,
            retry_after,
            location: None,
        },
    )
}

const REAPING: (Duration, Duration) = (Duration::from_secs(9), Duration::from_secs(12));

fn refused(kind: RejectionKind) -> Error {
    let rejection = Rejection::new(kind, "no");
    Error::new(at(), ErrorKind::Refused { rejection })
}

/// A status means what the venue says that it means.
#[test]
fn a_status_that_the_venue_judges_counts_as_any_other_refusal_of_its_kind() {
    let judged = |kind| {
        Error::from(ErrorKind::Upgrade {
            kind,
            status: 418,
            retry_after: None,
            location: None,
        })
    };
    use RejectionKind::{
        BadRequest, ConnectionLimit, Credentials, Entitlement, Evicted, SlowClient, SymbolLimit,
        Temporary,
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
    let evicted = Error::new(at(), ErrorKind::Evicted { rejection });
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
    let by_status = Error::new(
        at(),
        ErrorKind::Upgrade {
            kind: RejectionKind::Evicted,
            status: 409,
            retry_after: None,
            location: None,
        },
    );
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
    let certificate = |certificate| {
        Error::from(ErrorKind::Tls {
            why: String::new(),
            certificate,
        })
    };
    assert_eq!(class(&certificate(true), false), Class::Fatal);
    assert_eq!(class(&certificate(false), false), Class::Retry);
    let proxy = |fault| {
        Error::from(ErrorKind::Proxy {
            proxy: String::new(),
            fault: Box::new(fault),
            source: None,
        })
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
        Error::new(
            at(),
            ErrorKind::Rejected {
                rejection: rejection(RejectionKind::Credentials, 402),
            },
        ),
        Error::new(
            at(),
            ErrorKind::NotEntitled {
                rejection: rejection(RejectionKind::Entitlement, 409),
            },
        ),
    ]
}

#[test]
fn refused_credentials_are_tried_again_after_two_to_five_seconds_and_then_more_rarely() {
    let backoff = Backoff::default();
    for refused in refusals() {
        for (count, least, most) in [(1, 2, 5), (2, 4, 10), (3, 8, 20), (4, 16, 30), (40, 30, 30)] {
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
    let asks_in_a_proxy = Error::new(
        at(),
        ErrorKind::Proxy {
            proxy: String::new(),
            fault: Box::new(ProxyFault::Failed(ProxyAnswer::Http {
                status: 429,
                retry_after: Some(seconds(400)),
            })),
            source: None,
        },
    );
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
