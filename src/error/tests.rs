//! What each kind of error says: a row each, in `tests/texts.txt`.

use std::{collections::HashSet, io, mem::discriminant, path::PathBuf, time::Duration};

use super::*;
use crate::{
    Counts, Credentials, Overflow, Quote, Timestamp,
    calendar::TradingSession,
    market::Sides,
    price::{Lack, Obstacle},
    symbol_budget::BudgetHolder,
    topic::{Channel, Payload as _},
};

fn key() -> StreamKey {
    StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none())
}

fn refused() -> Source {
    Source::new(io::Error::from(io::ErrorKind::ConnectionRefused))
}

fn rejection(kind: RejectionKind) -> Rejection {
    Rejection::new(kind, "no").with_code(499)
}

const REJECTIONS: [RejectionKind; 8] = [
    RejectionKind::Credentials,
    RejectionKind::Entitlement,
    RejectionKind::ConnectionLimit,
    RejectionKind::Evicted,
    RejectionKind::SymbolLimit,
    RejectionKind::BadRequest,
    RejectionKind::SlowClient,
    RejectionKind::Temporary,
];

fn credentials_faults() -> Vec<CredentialsFault> {
    let (field, path) = ("secret", PathBuf::from("keys.txt"));
    vec![
        CredentialsFault::Empty { field },
        CredentialsFault::TooLong {
            field,
            limit: 4_096,
        },
        CredentialsFault::Quoted { field },
        CredentialsFault::BadCharacter {
            field,
            found: "white space",
            place: "at its end",
        },
        CredentialsFault::BadPem { field },
        CredentialsFault::NotSet {
            variable: "KEY_ID",
            found: None,
        },
        CredentialsFault::NotSet {
            variable: "KEY_ID",
            found: Some("API_KEY"),
        },
        CredentialsFault::Unreadable {
            path: Some(path.clone()),
            kind: io::ErrorKind::NotFound,
        },
        CredentialsFault::Unreadable {
            path: Some(path.clone()),
            kind: io::ErrorKind::PermissionDenied,
        },
        CredentialsFault::Unreadable {
            path: None,
            kind: io::ErrorKind::TimedOut,
        },
        CredentialsFault::Exposed {
            path: path.clone(),
            mode: 0o644,
        },
        CredentialsFault::NotTwoLines { path: Some(path) },
        CredentialsFault::NotTwoLines { path: None },
    ]
}

fn proxy_faults() -> Vec<ProxyFault> {
    let answer = ProxyAnswer::Http {
        status: 499,
        retry_after: Some(Duration::from_secs(7)),
    };
    let venue = || "h:443".to_owned();
    let login = |is_configured, offers: &str| ProxyFault::LoginWanted {
        answer,
        is_configured,
        offers: offers.to_owned(),
    };
    vec![
        ProxyFault::Unresolved,
        ProxyFault::Unreachable,
        ProxyFault::Silent,
        ProxyFault::Ended,
        login(false, ""),
        login(true, ""),
        login(false, "NTLM"),
        ProxyFault::LoginRefused(answer),
        ProxyFault::Forbidden {
            venue: venue(),
            answer,
        },
        ProxyFault::VenueUnreachable {
            venue: venue(),
            answer,
        },
        ProxyFault::Failed(ProxyAnswer::Socks(1)),
        ProxyFault::NotAProxy("it says `hello`".to_owned()),
    ]
}

fn lacks() -> Vec<Lack> {
    let age = Duration::from_millis(1_500);
    let refusal = Error::from(ErrorKind::Refused {
        rejection: rejection(RejectionKind::SymbolLimit),
    });
    let refusal = refusal.told(&key(), Some(Phase::Live), None);
    vec![
        Lack::Stale { age },
        Lack::Cut { age, epoch: 2 },
        Lack::Unparsed { age: None },
        Lack::Unparsed { age: Some(age) },
        Lack::Unconfirmed,
        Lack::Refused(Source::new(refusal)),
        Lack::Silent,
        Lack::Canceled,
        Lack::Unusable(Sides::Crossed),
        Lack::NotInBook,
    ]
}

fn missed() -> Vec<Missed> {
    let unparsed = |count| Missed::Unparsed {
        count,
        why: "no price".into(),
    };
    vec![
        Missed::Gap,
        Missed::Dropped {
            count: 1,
            capacity: 8,
            capacity_bytes: 3 << 19,
        },
        Missed::Dropped {
            count: 3,
            capacity: 8,
            capacity_bytes: 3 << 19,
        },
        unparsed(1),
        unparsed(2),
    ]
}

/// One of each kind, and more where it says different things.
fn kinds() -> Vec<ErrorKind> {
    let error = |kind| Error::new(At::new(&key(), Phase::Connecting), kind);
    let unreachable = || error(ErrorKind::Unreachable { source: refused() });
    let limit = || {
        error(ErrorKind::ConnectionLimit {
            rejection: rejection(RejectionKind::ConnectionLimit),
        })
    };
    let not_fresh = |lack| NotFresh {
        symbol: "AAPL".into(),
        lack,
    };
    let holder = |priority| BudgetHolder {
        correlation: CorrelationId::of("order-8"),
        priority,
        holds: 30,
    };
    let timed_out = |doing, cause| ErrorKind::TimedOut {
        doing,
        retry_in: Some(Duration::from_secs(3)),
        cause,
    };
    let no_price = |obstacle, cause| ErrorKind::NoPrice {
        missing: not_fresh(Lack::Silent),
        obstacle,
        cause,
    };
    let upgrade = |status: u16, kind| ErrorKind::Upgrade {
        status,
        kind,
        retry_after: (status == 429).then_some(Duration::from_secs(7)),
        location: (status == 302).then(|| "https://login/".to_owned()),
    };
    let mut kinds: Vec<ErrorKind> = Vec::new();
    kinds.extend(
        credentials_faults()
            .into_iter()
            .map(|fault| ErrorKind::InvalidCredentials { fault }),
    );
    kinds.extend([
        ErrorKind::InvalidEndpoint {
            why: "the port is missing behind `:`",
        },
        ErrorKind::InvalidTopic {
            topic: Topic::new(Channel::new("trades"), "aapl"),
            why: "symbols are upper case: `AAPL`?".to_owned(),
        },
        ErrorKind::NoTopics,
        ErrorKind::LossyQueue {
            overflow: Overflow::DropOldest,
        },
        ErrorKind::InvalidConfig {
            why: "`linger` is 1s, and 10 ms at most".to_owned(),
        },
        ErrorKind::WrongAccount {
            wanted: "paper",
            found: "live",
        },
        ErrorKind::SettingsConflict {
            differences: vec![
                SettingDifference::new("ping_interval", "30s".to_owned(), "10s".to_owned()),
                SettingDifference::new("venue", String::new(), String::new()),
            ],
        },
        ErrorKind::Draining {
            waited: Duration::from_secs(2),
        },
        timed_out(Doing::WaitingForLive, None),
        timed_out(Doing::WaitingForLive, Some(unreachable())),
        timed_out(Doing::WaitingForLive, Some(limit())),
        timed_out(Doing::WaitingForConfirmation, None),
        timed_out(Doing::Closing, None),
        ErrorKind::Rejected {
            rejection: rejection(RejectionKind::Credentials),
        },
        ErrorKind::NotEntitled {
            rejection: rejection(RejectionKind::Entitlement),
        },
        ErrorKind::NotEntitled {
            rejection: rejection(RejectionKind::Entitlement).with_advice("open the free feed"),
        },
        ErrorKind::ConnectionLimit {
            rejection: rejection(RejectionKind::ConnectionLimit),
        },
        ErrorKind::Evicted {
            rejection: rejection(RejectionKind::Evicted),
        },
    ]);
    kinds.extend(REJECTIONS.map(|kind| ErrorKind::Refused {
        rejection: rejection(kind),
    }));
    kinds.extend([
        ErrorKind::OverBudget {
            limit: 30,
            counts: Counts::Symbols,
            holders: vec![holder(0)],
            said: Some(rejection(RejectionKind::SymbolLimit)),
        },
        ErrorKind::OverBudget {
            limit: 1,
            counts: Counts::Topics,
            holders: Vec::new(),
            said: None,
        },
        ErrorKind::Displaced {
            by: CorrelationId::of("order-9"),
            priority: 3,
        },
        ErrorKind::Displaced {
            by: None,
            priority: 3,
        },
        ErrorKind::Unresolved { source: refused() },
        ErrorKind::Unreachable { source: refused() },
    ]);
    kinds.extend(proxy_faults().into_iter().map(|fault| ErrorKind::Proxy {
        proxy: "http://p:3128 (from HTTPS_PROXY)".to_owned(),
        source: matches!(fault, ProxyFault::Unreachable).then(refused),
        fault: Box::new(fault),
    }));
    kinds.extend([true, false].map(|certificate| ErrorKind::Tls {
        why: "the certificate is old".to_owned(),
        certificate,
    }));
    kinds.extend(
        [200, 302, 401, 403, 404, 407, 418, 429, 503]
            .map(|status| upgrade(status, crate::venue::usual_meaning(status))),
    );
    kinds.push(upgrade(403, RejectionKind::Credentials));
    kinds.extend([
        ErrorKind::Protocol {
            why: "the frame is cut".to_owned(),
        },
        ErrorKind::Lost {
            why: "the socket failed".to_owned(),
            source: Some(refused()),
        },
        ErrorKind::Mute,
        ErrorKind::HeldBack {
            failures: 21,
            cause: unreachable(),
        },
        ErrorKind::GaveUp {
            failures: 1,
            cause: unreachable(),
        },
        ErrorKind::GaveUp {
            failures: 9,
            cause: limit(),
        },
        ErrorKind::Closed,
    ]);
    kinds.extend(lacks().into_iter().map(|lack| ErrorKind::NotFresh {
        missing: not_fresh(lack),
    }));
    let night = Some((TradingSession::Overnight, Timestamp::from_nanos(0)));
    kinds.extend([
        no_price(Obstacle::Line { retry_in: None }, Some(limit())),
        no_price(
            Obstacle::Line {
                retry_in: Some(Duration::from_secs(3)),
            },
            None,
        ),
        no_price(Obstacle::MarketClosed { opens: night }, None),
        no_price(Obstacle::MarketClosed { opens: None }, None),
        no_price(Obstacle::Quiet(TradingSession::Regular), None),
    ]);
    kinds.extend([1, 3].map(|leases| ErrorKind::StillShared { leases }));
    kinds.extend(missed().into_iter().map(|missed| ErrorKind::Missed {
        since: Some(Timestamp::from_nanos(0)),
        remedy: Quote::after_loss(),
        cause: matches!(missed, Missed::Gap).then(unreachable),
        missed,
    }));
    kinds.extend([
        ErrorKind::Missed {
            missed: Missed::Gap,
            since: None,
            remedy: Remedy::Reconcile,
            cause: None,
        },
        ErrorKind::Overflow {
            capacity: 8,
            capacity_bytes: 3 << 19,
        },
        ErrorKind::Spawn { source: refused() },
        ErrorKind::Forked,
        ErrorKind::Panicked {
            message: "boom".to_owned(),
        },
    ]);
    kinds
}

/// The row of an error: what `Display` says, behind its stream; then what a program is told.
fn row(kind: ErrorKind) -> String {
    let error = Error::new(At::new(&key(), Phase::Upgrading), kind);
    let text = error.for_record();
    let remedy = error.remedy();
    let advice = match text.contains("; what to do: ") {
        true => String::new(),
        false => format!("    ({})\n", error.advice()),
    };
    let retry = if error.is_retryable() {
        "retry"
    } else {
        "no retry"
    };
    format!(
        "{} | {remedy:?} | {retry}\n    {text}\n{advice}",
        error.code()
    )
}

/// A change of words is seen in review. `BLESS=1` writes the table anew.
#[test]
fn every_kind_says_what_the_table_says() {
    let table: String = kinds().into_iter().map(row).collect();
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/error/tests/texts.txt");
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(path, &table).unwrap();
    }
    let known = std::fs::read_to_string(path).unwrap();
    for (line, (now, known)) in table.lines().zip(known.lines()).enumerate() {
        assert_eq!(now, known, "line {} of {path}", line + 1);
    }
    assert_eq!(table.lines().count(), known.lines().count());
}

/// The names of the variants of an enum, as its source has them.
fn variants(source: &str, name: &str) -> Vec<String> {
    let body = source
        .split(&format!("pub enum {name} {{\n"))
        .nth(1)
        .unwrap();
    let body = body.split("\n}\n").next().unwrap();
    let lines = body.lines().filter_map(|line| line.strip_prefix("    "));
    let variants = lines.filter(|line| line.starts_with(|first: char| first.is_ascii_uppercase()));
    variants
        .map(|line| line.split([' ', ',', '(']).next().unwrap().to_owned())
        .collect()
}

/// Nobody has to remember that a new kind, or a new fault within one, needs a row.
#[test]
fn no_kind_is_left_out_of_the_table() {
    let codes: HashSet<_> = kinds()
        .into_iter()
        .map(|kind| Error::from(kind).code().to_owned())
        .collect();
    let kind = include_str!("kind.rs");
    let in_snake = |name: &String| {
        let mut snake = String::new();
        for letter in name.chars() {
            if letter.is_uppercase() && !snake.is_empty() {
                snake.push('_');
            }
            snake.push(letter.to_ascii_lowercase());
        }
        snake
    };
    let expected: HashSet<_> = variants(kind, "ErrorKind").iter().map(in_snake).collect();
    assert!(expected.len() > 30, "{expected:?}");
    assert_eq!(codes, expected, "the code is the name of the kind");

    fn distinct<T>(all: Vec<T>) -> usize {
        all.iter().map(discriminant).collect::<HashSet<_>>().len()
    }
    for (source, name, rows) in [
        (
            include_str!("../credentials.rs"),
            "CredentialsFault",
            distinct(credentials_faults()),
        ),
        (
            include_str!("proxy.rs"),
            "ProxyFault",
            distinct(proxy_faults()),
        ),
        (include_str!("../price.rs"), "Lack", distinct(lacks())),
        (
            include_str!("rejection.rs"),
            "RejectionKind",
            distinct(REJECTIONS.to_vec()),
        ),
        (kind, "Missed", distinct(missed())),
        (kind, "Doing", 3),
    ] {
        assert_eq!(variants(source, name).len(), rows, "{name}");
    }
}

#[test]
fn every_error_names_its_stream_once_and_its_causes_and_ends_on_the_same_line() {
    let id = CorrelationId::of("order-7");
    for kind in kinds() {
        let error = Error::from(kind);
        assert_eq!(
            (error.stream(), error.phase(), error.correlation()),
            (None, None, None)
        );
        let error = error.told(&key(), Some(Phase::Closing), id.as_ref());
        let text = error.to_string();
        let begins = format!("{} (correlation order-7): ", key());
        assert!(text.starts_with(&begins), "{text}");
        assert!(!text.contains('\n'), "{text}");
        assert!(!text[begins.len()..].contains(&key().to_string()), "{text}");
        for cause in error.causes().filter(|cause| !cause.is::<Error>()) {
            assert!(text.contains(&cause.to_string()), "{text}");
        }

        // As a `main` prints it.
        let shown = format!("{error:?}");
        let (first, rest) = shown.split_once('\n').unwrap();
        assert!(text.starts_with(first), "{shown}");
        assert!(
            rest.starts_with(&format!("  what to do: {}\n", error.advice())),
            "{shown}"
        );
        assert_eq!(
            rest.matches("\n  caused by: ").count(),
            error.causes().count(),
            "{shown}"
        );
        assert!(
            rest.ends_with(&format!("\n  code: {}", error.code())),
            "{shown}"
        );
    }
}

#[test]
fn what_is_not_known_is_filled_in_and_what_is_known_stays() {
    for kind in kinds() {
        let error = Error::from(kind);
        assert!(!error.to_string().starts_with(':'), "{error}");
        let scoped = error.told(&key(), None, None);
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

/// A cause of another stream, such as the last failure at a host that several share, is named with its stream.
#[test]
fn a_cause_of_another_stream_says_which() {
    let other = StreamKey::new(&"ws://other/".parse().unwrap(), &Credentials::none());
    let cause = Error::new(At::new(&other, Phase::Live), ErrorKind::Mute);
    let error = Error::new(
        At::new(&key(), Phase::Waiting),
        ErrorKind::HeldBack {
            failures: 21,
            cause,
        },
    );
    let text = error.to_string();
    assert!(text.contains(&format!(": {other}: mute")), "{text}");
}

/// Every waiter is told the same, by a word.
#[test]
fn an_error_is_one_word() {
    assert_eq!(size_of::<Result<()>>(), size_of::<usize>());
}

#[test]
fn an_error_about_topics_names_them() {
    let error = Error::from(ErrorKind::Refused {
        rejection: rejection(RejectionKind::SymbolLimit),
    });
    let error = error.about(&[Topic::new(Channel::new("quotes"), "MSFT")]);
    assert!(
        error
            .to_string()
            .starts_with("quotes:MSFT: request refused: no (499)"),
        "{error}"
    );
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
        let source = Source::new(Endless(text));
        let error = Error::from(ErrorKind::Unresolved { source });
        let shown = error.to_string();
        assert_eq!(shown.contains("again again"), !text.is_empty());
        for shown in [shown, format!("{error:?}"), error.for_record()] {
            assert!(shown.len() < 100_000, "{}", shown.len());
        }
    }
}

/// The note is about a status that nobody at the venue can have meant. One that the venue judges is its own word.
#[test]
fn the_network_is_blamed_for_a_status_only_where_the_venue_does_not_say_it() {
    let upgrade = |kind| ErrorKind::Upgrade {
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
        let error = Error::from(upgrade(kind));
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
