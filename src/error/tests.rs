//! Every variant says what an operator needs: a row each.

use std::io;

use super::*;
use crate::{
    Credentials,
    price::Lack,
    topic::{Channel, Overflow},
};

fn key() -> StreamKey {
    StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none())
}

fn rejection(kind: RejectionKind) -> Rejection {
    Rejection::new(kind, "no").with_code(499)
}

fn refused() -> Source {
    Source::new(io::Error::from(io::ErrorKind::ConnectionRefused))
}

/// What a row says of its error: the code, the remedy, whether it has a cause, and words of the text.
type Row = (Error, &'static str, Remedy, bool, &'static str);

/// One of each variant, at `at`.
fn rows(at: &At) -> Vec<Row> {
    use Remedy::{
        AllowInProxy, ChangePlan, CheckNetwork, CloseOthers, FixCredentials, FixProxy, FixRequest,
        OpenAgain, ReadFaster, ReduceSymbols, ReportBug, RetryLater,
    };
    let at = || at.clone();
    let topic = Topic::new(Channel::new("trades"), "*");
    let why = || "why".to_owned();
    let missing = || NotFresh {
        symbol: "AAPL".into(),
        lack: Lack::NotInBook,
    };
    let cause = Arc::new(Error::Unreachable {
        at: At::new(&key(), Phase::Connecting),
        source: refused(),
    });
    let upgrade = |status| Error::Upgrade {
        at: at(),
        kind: crate::venue::usual_meaning(status),
        status,
        retry_after: Some(Duration::from_secs(7)),
        location: None,
    };
    let tls = |certificate| Error::Tls {
        at: at(),
        why: why(),
        certificate,
    };
    let proxy = |fault| Error::Proxy {
        at: at(),
        proxy: "http://p:3128".to_owned(),
        fault: Box::new(fault),
        source: None,
    };
    let answer = ProxyAnswer::Http {
        status: 499,
        retry_after: Some(Duration::from_secs(7)),
    };
    let venue = || "h:443".to_owned();
    let refusal = |kind| Error::Refused {
        at: at(),
        rejection: rejection(kind),
    };
    vec![
        (
            Error::InvalidCredentials {
                at: at(),
                fault: CredentialsFault::NotTwoLines,
            },
            "invalid_credentials",
            FixCredentials,
            false,
            "two lines",
        ),
        (
            Error::InvalidEndpoint {
                at: at(),
                why: "why",
            },
            "invalid_endpoint",
            FixRequest,
            false,
            "why",
        ),
        (
            Error::InvalidTopic {
                at: at(),
                topic,
                why: why(),
            },
            "invalid_topic",
            FixRequest,
            false,
            "trades:*",
        ),
        (
            Error::NoTopics { at: at() },
            "no_topics",
            FixRequest,
            false,
            "at least one symbol",
        ),
        (
            Error::LossyQueue {
                at: at(),
                overflow: Overflow::DropOldest,
            },
            "lossy_queue",
            FixRequest,
            false,
            "`drop-oldest`",
        ),
        (
            Error::InvalidConfig {
                at: at(),
                why: why(),
            },
            "invalid_config",
            FixRequest,
            false,
            "why",
        ),
        (
            Error::WrongAccount {
                at: at(),
                wanted: "paper",
                found: "live",
            },
            "wrong_account",
            FixCredentials,
            false,
            "a live key, but a paper account",
        ),
        (
            Error::SettingsConflict {
                at: at(),
                differences: vec!["backoff", "roots"],
            },
            "settings_conflict",
            FixRequest,
            false,
            "backoff, roots",
        ),
        (
            Error::Draining {
                at: at(),
                waited: Duration::from_secs(2),
            },
            "draining",
            RetryLater,
            false,
            "(phase closing, for 2.0s)",
        ),
        (
            Error::TimedOut {
                doing: Doing::WaitingForLive,
                at: at(),
                retry_in: Some(Duration::from_secs(3)),
                cause: None,
            },
            "timed_out",
            RetryLater,
            false,
            "(phase closing, next attempt in 3.0s)",
        ),
        (
            Error::TimedOut {
                doing: Doing::WaitingForConfirmation,
                at: at(),
                retry_in: None,
                cause: Some(Arc::new(refusal(RejectionKind::SymbolLimit))),
            },
            "timed_out",
            ReduceSymbols,
            true,
            "to confirm the subscription",
        ),
        (
            Error::Rejected {
                at: at(),
                rejection: rejection(RejectionKind::Credentials),
            },
            "rejected",
            FixCredentials,
            false,
            "no (499)",
        ),
        (
            Error::NotEntitled {
                at: at(),
                rejection: rejection(RejectionKind::Entitlement),
            },
            "not_entitled",
            ChangePlan,
            false,
            "no (499)",
        ),
        (
            Error::ConnectionLimit {
                at: at(),
                rejection: rejection(RejectionKind::ConnectionLimit),
            },
            "connection_limit",
            CloseOthers,
            false,
            "another process uses this key",
        ),
        (
            Error::Evicted {
                at: at(),
                rejection: rejection(RejectionKind::Evicted),
            },
            "evicted",
            CloseOthers,
            false,
            "no (499): a newcomer took the line",
        ),
        (
            Error::OverBudget {
                at: at(),
                limit: 30,
                counts: Counts::Symbols,
                holders: Vec::new(),
                said: Some(rejection(RejectionKind::SymbolLimit)),
            },
            "over_budget",
            ReduceSymbols,
            false,
            "30 symbols are all, held by nobody; the venue said: no (499)",
        ),
        (
            Error::Displaced {
                at: at(),
                by: None,
                priority: 3,
            },
            "displaced",
            ReduceSymbols,
            false,
            "priority is 3",
        ),
        (
            refusal(RejectionKind::SymbolLimit),
            "refused",
            ReduceSymbols,
            false,
            "no (499)",
        ),
        (
            refusal(RejectionKind::Entitlement),
            "refused",
            ChangePlan,
            false,
            "no (499)",
        ),
        (
            refusal(RejectionKind::BadRequest),
            "refused",
            FixRequest,
            false,
            "no (499)",
        ),
        (
            refusal(RejectionKind::Temporary),
            "refused",
            RetryLater,
            false,
            "no (499)",
        ),
        (
            Error::Unresolved {
                at: at(),
                source: refused(),
            },
            "unresolved",
            RetryLater,
            true,
            "host name",
        ),
        (
            Error::Unreachable {
                at: at(),
                source: refused(),
            },
            "unreachable",
            RetryLater,
            true,
            "cannot connect",
        ),
        (
            proxy(ProxyFault::LoginRefused(answer)),
            "proxy",
            FixProxy,
            false,
            "the proxy http://p:3128 refused its user and password (HTTP 499, to be retried after 7s)",
        ),
        (
            proxy(ProxyFault::LoginWanted {
                answer,
                is_configured: false,
                offers: String::new(),
            }),
            "proxy",
            FixProxy,
            false,
            "no user and password are configured",
        ),
        (
            proxy(ProxyFault::NotAProxy(why())),
            "proxy",
            FixProxy,
            false,
            "like a proxy of its kind: why",
        ),
        (
            proxy(ProxyFault::Forbidden {
                venue: venue(),
                answer,
            }),
            "proxy",
            AllowInProxy,
            false,
            "connections to h:443 (HTTP 499, to be retried after 7s); the venue was not asked",
        ),
        (
            proxy(ProxyFault::VenueUnreachable {
                venue: venue(),
                answer,
            }),
            "proxy",
            RetryLater,
            false,
            "is at fault rather than the proxy",
        ),
        (
            Error::Proxy {
                at: at(),
                proxy: "http://p:3128".to_owned(),
                fault: Box::new(ProxyFault::Unreachable),
                source: Some(refused()),
            },
            "proxy",
            RetryLater,
            true,
            "the proxy http://p:3128 cannot be reached",
        ),
        (tls(true), "tls", FixRequest, false, "why"),
        (tls(false), "tls", RetryLater, false, "why"),
        (upgrade(401), "upgrade", CheckNetwork, false, "HTTP 401"),
        (upgrade(404), "upgrade", FixRequest, false, "HTTP 404"),
        (
            upgrade(429),
            "upgrade",
            RetryLater,
            false,
            "to be retried after 7s",
        ),
        (upgrade(503), "upgrade", RetryLater, false, "HTTP 503"),
        (
            Error::Protocol {
                at: at(),
                why: why(),
            },
            "protocol",
            RetryLater,
            false,
            "why",
        ),
        (
            Error::Lost {
                at: at(),
                why: why(),
                source: Some(refused()),
            },
            "lost",
            RetryLater,
            true,
            "connection lost",
        ),
        (Error::Mute { at: at() }, "mute", RetryLater, false, "mute"),
        (
            Error::HeldBack {
                at: at(),
                failures: 21,
                cause: Arc::new(Error::Mute { at: at() }),
            },
            "held_back",
            RetryLater,
            true,
            "failed 21 times",
        ),
        (
            Error::GaveUp {
                at: at(),
                failures: 9,
                cause: Arc::clone(&cause),
            },
            "gave_up",
            RetryLater,
            true,
            "9 failures",
        ),
        (
            Error::Closed { at: at() },
            "closed",
            OpenAgain,
            false,
            "closed",
        ),
        (
            Error::NotFresh {
                at: at(),
                missing: missing(),
            },
            "not_fresh",
            RetryLater,
            false,
            "nothing fresh of AAPL: it is not in the book",
        ),
        (
            Error::NoPrice {
                at: at(),
                missing: missing(),
                obstacle: Obstacle::Line { retry_in: None },
                cause: Some(Arc::clone(&cause)),
            },
            "no_price",
            RetryLater,
            true,
            "timed out waiting for a price",
        ),
        (
            Error::StillShared {
                at: at(),
                leases: 3,
            },
            "still_shared",
            RetryLater,
            false,
            "by 3 other handles",
        ),
        (
            Error::Overflow {
                at: at(),
                capacity: 8,
                capacity_bytes: 3 << 19,
            },
            "overflow",
            ReadFaster,
            false,
            "queue of 8 and 1.5 MiB",
        ),
        (
            Error::Spawn {
                at: at(),
                source: refused(),
            },
            "spawn",
            RetryLater,
            true,
            "thread",
        ),
        (
            Error::Forked { at: at() },
            "forked",
            OpenAgain,
            false,
            "forked process",
        ),
        (
            Error::Panicked {
                at: at(),
                message: "boom".to_owned(),
            },
            "panicked",
            ReportBug,
            false,
            "(phase closing): boom",
        ),
    ]
}

#[test]
fn every_variant_has_all_that_an_operator_needs() {
    let mut codes = Vec::new();
    let id = CorrelationId::of("order-7");
    for (error, code, remedy, has_cause, words) in rows(&At::new(&key(), Phase::Closing)) {
        assert_eq!(error.correlation(), None, "{error:?}");
        let error = error.told(&key(), None, id.as_ref());
        assert_eq!(error.code(), code, "{error:?}");
        assert_eq!(error.remedy(), remedy, "{error:?}");
        let can_be_tried = matches!(remedy, Remedy::RetryLater | Remedy::CloseOthers);
        assert_eq!(error.is_retryable(), can_be_tried, "{error:?}");
        assert_eq!(error.stream(), Some(&key()), "{error:?}");
        assert_eq!(error.phase(), Some(Phase::Closing), "{error:?}");
        assert_eq!(error.correlation(), Some("order-7"), "{error:?}");
        assert_eq!(error.source().is_some(), has_cause, "{error:?}");

        let text = error.to_string();
        let begins = format!("{} (correlation order-7): ", key());
        assert!(text.starts_with(&begins), "{text}");
        assert!(text.contains(words), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(!text[begins.len()..].contains(&key().to_string()), "{text}");

        // As a `main` prints it.
        let shown = format!("{error:?}");
        let mut expected = format!("{text}\n  what to do: {remedy}");
        // The text of a time-out ends with its cause.
        let is_said = matches!(error, Error::TimedOut { .. });
        let mut cause = error.source().filter(|_| !is_said);
        while let Some(error) = cause {
            expected += &format!("\n  caused by: {error}");
            cause = error.source();
        }
        expected += &format!("\n  code: {code}");
        assert_eq!(shown, expected);
        codes.push(code);
    }
    codes.dedup();
    assert_eq!(codes.len(), 35, "one code a variant: {codes:?}");
}

#[test]
fn what_is_not_known_is_filled_in_and_what_is_known_stays() {
    for (error, ..) in rows(&At::default()) {
        assert_eq!((error.stream(), error.phase()), (None, None), "{error:?}");
        assert!(!error.to_string().starts_with(':'), "{error}");
        let scoped = error.clone().told(&key(), None, None);
        assert_eq!(scoped.phase(), None, "nothing was opened");
        assert_eq!(scoped.correlation(), None, "{scoped:?}");
        assert!(scoped.to_string().starts_with("ws://h/p ["), "{scoped}");
        let other = StreamKey::new(&"ws://other/".parse().unwrap(), &Credentials::none());
        let id = CorrelationId::of("later");
        let again = scoped.told(&other, Some(Phase::Live), id.as_ref());
        assert_eq!(again.stream(), Some(&key()));
        assert_eq!(again.phase(), Some(Phase::Live));
        assert_eq!(again.correlation(), Some("later"));
    }
}

#[test]
fn declarations_make_an_update_no_larger_than_its_event() {
    use crate::{Event, Quote, Update};
    let (update, event) = (size_of::<Update<Quote>>(), size_of::<Event<Quote>>());
    assert!(
        update <= event + 8,
        "{update} bytes, of which {event} are the event"
    );
}

/// A foreign error may say whatever it likes, without end, and be its own cause.
#[test]
fn what_is_read_of_a_foreign_error_has_an_end() {
    #[derive(Debug)]
    struct Endless(&'static str);
    impl fmt::Display for Endless {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            loop {
                f.write_str(self.0)?;
            }
        }
    }
    impl StdError for Endless {
        fn source(&self) -> Option<&(dyn StdError + 'static)> {
            Some(self)
        }
    }
    for text in ["again ", ""] {
        let error = Error::Unresolved {
            at: At::default(),
            source: Source::new(Endless(text)),
        };
        assert_eq!(
            error.with_causes().matches("again again").count() > 0,
            !text.is_empty()
        );
        for shown in [error.with_causes(), format!("{error:?}"), error.to_string()] {
            assert!(shown.len() < 100_000, "{}", shown.len());
        }
    }
}

/// The note is about a status that nobody at the venue can have meant. One that the venue judges is its own word.
#[test]
fn the_network_is_blamed_for_a_status_only_where_the_venue_does_not_say_it() {
    let upgrade = |kind| Error::Upgrade {
        at: At::default(),
        kind,
        status: 403,
        retry_after: None,
        location: None,
    };
    for (kind, is_blamed) in [
        (RejectionKind::BadRequest, true),
        (RejectionKind::Credentials, false),
        (RejectionKind::ConnectionLimit, false),
        (RejectionKind::Evicted, false),
    ] {
        let error = upgrade(kind);
        let text = error.to_string();
        assert_eq!(text.contains("a proxy, a firewall"), is_blamed, "{text}");
        assert_eq!(error.remedy() == Remedy::CheckNetwork, is_blamed, "{text}");
    }
}

/// No user and password help with a proxy that takes none.
#[test]
fn a_login_that_is_not_spoken_here_is_not_asked_for() {
    for (offers, is_configured, says) in [
        ("", false, "no user and password are configured"),
        ("Basic", false, "no user and password are configured"),
        ("Basic, NTLM", false, "no user and password are configured"),
        ("NTLM", false, "takes NTLM alone"),
        ("Digest", true, "takes Digest alone"),
        ("NTLM, Negotiate", false, "takes NTLM, Negotiate alone"),
        ("", true, "takes no user and password, but others"),
    ] {
        let fault = ProxyFault::LoginWanted {
            answer: ProxyAnswer::Socks(255),
            is_configured,
            offers: offers.to_owned(),
        };
        let text = fault.to_string();
        assert!(text.contains(says), "{text}");
        let names_a_way = text.contains("cntlm") && text.contains("only Basic");
        assert_eq!(names_a_way, says.ends_with("alone"), "{text}");
    }
}
