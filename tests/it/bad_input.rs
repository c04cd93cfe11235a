//! What a server can do wrong: a typed error that says where, or a notice; in time; and nothing else is lost.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    io::Write as _,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::common;
use crate::common::{
    GENEROUS, Line, NEVER, Peer, Venue, credentials, failure, open, patient, quote, refusing,
    stocks_at, trade, trade_id, until_no_thread,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use trunkline::{
    Config, Declared, EndReason, Error, ErrorKind, MarketEvent, Notice, Phase, Topics, Update,
    alpaca, alpaca::MarketData, config::Roots, error::Remedy, event::Unparsed, market::TradeEvent,
};

/// What every error must tell, and how it must read.
fn check(row: &str, error: &Error, handle: &trunkline::StreamHandle<MarketData>, phase: Phase) {
    assert_eq!(error.stream(), Some(handle.key()), "{row}: {error:?}");
    assert_eq!(error.phase(), Some(phase), "{row}: {error:?}");
    assert!(
        error.to_string().contains(&handle.key().to_string()),
        "{row}: {error}"
    );
    let debug = format!("{error:?}");
    // On one line, or on several.
    let (text, first) = (error.to_string(), debug.lines().next().unwrap());
    assert!(text.starts_with(first), "{row}: {debug}");
    for cause in debug
        .lines()
        .filter_map(|line| line.strip_prefix("  caused by: "))
    {
        assert!(text.contains(cause), "{row}: {text}");
    }
    assert!(debug.contains("what to do: "), "{row}: {debug}");
    assert!(debug.contains(error.code()), "{row}: {debug}");
    let shown = [error.to_string(), debug].concat();
    assert!(
        shown.chars().all(|c| c == '\n' || !c.is_control()),
        "{row}: control characters get through: {shown:?}"
    );
    assert!(!shown.contains("not-a-secret"), "{row}: {shown}");
}

/// What a failed set-up must come to.
struct Failure {
    code: &'static str,
    phase: Phase,
    /// Whether the stream ends, because only a human can mend it; `None` where the contract leaves it open.
    fatal: Option<bool>,
}

/// Opens, and checks the error of the first attempt, and that everything ends.
fn fails(row: &str, config: &Config, venue: &MarketData, expected: &Failure) -> Error {
    let credentials = credentials();
    let begun = Instant::now();
    let handle = open(config, venue, &credentials);
    let trades = handle.subscribe(alpaca::trades(["AAPL"]));
    let error = failure(&handle);
    assert!(begun.elapsed() < GENEROUS, "{row}");
    assert_eq!(error.code(), expected.code, "{row}: {error:?}");
    check(row, &error, &handle, expected.phase);
    if let Some(fatal) = expected.fatal {
        if fatal {
            // The end follows the cause.
            let again = handle.wait_live(GENEROUS).unwrap_err();
            assert_eq!(again.code(), expected.code, "{row}: {again:?}");
            assert!(
                matches!(handle.end_reason(), Some(EndReason::Failed(_))),
                "{row}"
            );
            if let Ok(trades) = &trades {
                assert!(
                    matches!(trades.recv_timeout(GENEROUS), Ok(Update::Ended(_))),
                    "{row}"
                );
            }
            assert!(!error.is_retryable(), "{row}: {error:?}");
        } else {
            assert!(handle.end_reason().is_none(), "{row}: {error:?}");
            assert!(error.is_retryable(), "{row}: {error:?}");
        }
    }
    drop(trades);
    drop(handle);
    until_no_thread(&credentials);
    error
}

fn tolerant() -> Config {
    let mut config = patient();
    config.setup_timeout = Duration::from_secs(2);
    config.close_timeout = Duration::from_millis(100);
    config
}

#[test]
fn hosts_that_cannot_be_found_or_refuse_are_named_and_tried_again() {
    let error = fails(
        "unknown host",
        &patient(),
        &stocks_at("ws://nosuchhost.invalid/v2/iex"),
        &Failure {
            code: "unresolved",
            phase: Phase::Resolving,
            fatal: Some(false),
        },
    );
    assert!(std::error::Error::source(&error).is_some());
    let error = fails(
        "refused",
        &patient(),
        &refusing(),
        &Failure {
            code: "unreachable",
            phase: Phase::Connecting,
            fatal: Some(false),
        },
    );
    let debug = format!("{error:?}");
    assert!(debug.contains("refused"), "the cause is kept: {debug}");
}

#[test]
fn http_statuses_at_the_upgrade_say_who_has_to_mend_what() {
    let table: [(u16, &str, Option<bool>); 10] = [
        (301, "Location: ws://192.0.2.1/elsewhere?t0ken\r\n", None),
        (400, "", None),
        (401, "", Some(true)),
        (403, "", Some(true)),
        (407, "", Some(true)),
        (404, "", Some(true)),
        (429, "Retry-After: 1800\r\n", Some(false)),
        (429, "", Some(false)),
        (500, "", Some(false)),
        (503, "Retry-After: 7\r\n", Some(false)),
    ];
    for (status, headers, fatal) in table {
        let peer = Peer::start(move |mut line| {
            line.request();
            line.write(format!(
                "HTTP/1.1 {status} Whatever\r\n{headers}Content-Length: 5\r\nConnection: close\r\n\r\nhello"
            ));
        });
        let row = format!("HTTP {status} {headers}");
        let error = fails(
            &row,
            &tolerant(),
            &peer.stocks(),
            &Failure {
                code: "upgrade",
                phase: Phase::Upgrading,
                fatal,
            },
        );
        let ErrorKind::Upgrade {
            status: told,
            retry_after,
            ..
        } = error.kind()
        else {
            panic!("{error:?}")
        };
        let asked = headers
            .strip_prefix("Retry-After: ")
            .map(|seconds| Duration::from_secs(seconds.trim().parse().unwrap()));
        assert_eq!((*told, *retry_after), (status, asked), "{row}");
        assert_eq!(
            peer.accepted().len(),
            1,
            "{row}: it came again, or went elsewhere"
        );
        let is_network = matches!(status, 401 | 403 | 407);
        let text = error.to_string();
        assert_eq!(error.remedy() == Remedy::CheckNetwork, is_network, "{row}");
        assert_eq!(text.contains("a proxy, a firewall"), is_network, "{text}");
        assert_eq!(
            text.contains("a redirect to ws://192.0.2.1/elsewhere, which is not followed"),
            status == 301,
            "{text}"
        );
        assert!(!text.contains("t0ken"), "{text}");
    }
}

#[test]
fn retry_after_is_honored() {
    let peer = Peer::start(|mut line| {
        line.request();
        line.write("HTTP/1.1 429 Slow down\r\nRetry-After: 1800\r\nContent-Length: 0\r\n\r\n");
    });
    let mut config = tolerant();
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(1);
    let handle = open(&config, &peer.stocks(), &credentials());
    failure(&handle);
    common::until("it waits", || handle.phase() == Phase::Waiting);
    let error = handle.wait_live(Duration::from_millis(200)).unwrap_err();
    let ErrorKind::TimedOut { retry_in, .. } = error.kind() else {
        panic!("{:?}", handle.health());
    };
    let wait = retry_in.unwrap();
    assert!(
        wait > Duration::from_secs(1_700) && wait <= Duration::from_secs(1_800),
        "{wait:?}"
    );
    assert_eq!(peer.accepted().len(), 1);
}

#[test]
fn broken_upgrades_and_log_ins_give_typed_errors_in_time() {
    type Script = fn(Line);
    fn upgraded(line: &mut Line, headers: &str) {
        let key = line.request();
        let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
        line.write(format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\n{headers}\r\n"
        ));
    }
    let table: [(&str, Script, &str, Phase, Option<bool>); 15] = [
        (
            "an extension that nobody offered",
            |mut line| {
                upgraded(
                    &mut line,
                    "Sec-WebSocket-Extensions: permessage-deflate\r\n",
                );
                line.drain();
            },
            "protocol",
            Phase::Upgrading,
            None,
        ),
        (
            "another connection's accept key",
            |mut line| {
                line.request();
                line.write("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n");
                line.drain();
            },
            "protocol",
            Phase::Upgrading,
            None,
        ),
        (
            "garbage instead of an upgrade response",
            |mut line| {
                line.request();
                line.write(b"\x00\x01\x02\x1b[31mgarbage\x07\xff\xfe\r\n\r\n");
                line.drain();
            },
            "protocol",
            Phase::Upgrading,
            None,
        ),
        (
            "garbage before anything was asked",
            |mut line| {
                line.write(b"220 smtp.example ESMTP\x1b[31m\r\n\r\n");
                line.drain();
            },
            "protocol",
            Phase::Upgrading,
            None,
        ),
        (
            "an endless header",
            |mut line| {
                line.request();
                line.write("HTTP/1.1 101 Switching Protocols\r\n");
                let header = format!("X-Endless: {}\r\n", "x".repeat(1_000));
                while line.stream.write_all(header.as_bytes()).is_ok() {}
            },
            "protocol",
            Phase::Upgrading,
            None,
        ),
        (
            "an end instead of an upgrade response",
            |mut line| {
                line.request();
            },
            "lost",
            Phase::Upgrading,
            Some(false),
        ),
        (
            "no upgrade response",
            |mut line| line.drain(),
            "lost",
            Phase::Upgrading,
            Some(false),
        ),
        (
            "garbage instead of a welcome",
            |line| {
                let mut venue = line.venue();
                venue.say("what do you want? \u{1b}[31m\u{7}");
                venue.serve();
            },
            "lost",
            Phase::Authenticating,
            Some(false),
        ),
        (
            "binary garbage instead of a welcome",
            |line| {
                let mut venue = line.venue();
                let _ = venue
                    .0
                    .send(tungstenite::Message::binary(vec![0xff, 0xfe, 0]));
                venue.serve();
            },
            "lost",
            Phase::Authenticating,
            Some(false),
        ),
        (
            "a reset instead of a welcome",
            |line| {
                let venue = line.venue();
                line.reset();
                drop(venue);
            },
            "lost",
            Phase::Authenticating,
            Some(false),
        ),
        (
            "no welcome",
            |line| line.venue().serve(),
            "lost",
            Phase::Authenticating,
            Some(false),
        ),
        (
            "wrong credentials",
            |line| {
                let mut venue = line.venue();
                venue.welcome();
                venue.hear();
                venue.say(r#"[{"T":"error","code":402,"msg":"auth failed \u001b[31m"}]"#);
                venue.serve();
            },
            "rejected",
            Phase::Authenticating,
            Some(true),
        ),
        (
            "not in the plan",
            |line| {
                let mut venue = line.venue();
                venue.welcome();
                venue.hear();
                venue.say(r#"[{"T":"error","code":409,"msg":"insufficient subscription"}]"#);
                venue.serve();
            },
            "not_entitled",
            Phase::Authenticating,
            Some(true),
        ),
        (
            "the connection limit",
            |line| {
                let mut venue = line.venue();
                venue.welcome();
                venue.hear();
                venue.say(r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#);
                venue.serve();
            },
            "connection_limit",
            Phase::Authenticating,
            Some(false),
        ),
        (
            "garbage instead of the answer to the authentication",
            |line| {
                let mut venue = line.venue();
                venue.welcome();
                venue.hear();
                venue.say(r#"[{"T":"#);
                venue.serve();
            },
            "lost",
            Phase::Authenticating,
            Some(false),
        ),
    ];
    for (row, script, code, phase, fatal) in table {
        let peer = Peer::start(script);
        fails(
            row,
            &tolerant(),
            &peer.stocks(),
            &Failure { code, phase, fatal },
        );
    }
}

/// The WebSocket library makes a 1002 of a code that may not be sent, which then looked as if the peer had sent it.
#[test]
fn a_close_code_is_shown_only_if_the_peer_sent_it() {
    for (code, reason, says) in [
        (1006_u16, "", "a code that no close frame may carry"),
        (999, "bye", "a code that no close frame may carry"),
        (1005, "", "a code that no close frame may carry"),
        (1002, "bye", "with code 1002 bye"),
        (1002, "", "with code 1002"),
        (4999, "bye", "with code 4999 bye"),
    ] {
        let peer = Peer::start(move |mut line| {
            let venue = line.venue();
            let mut frame = vec![0x88, 2 + u8::try_from(reason.len()).unwrap()];
            frame.extend(code.to_be_bytes());
            frame.extend(reason.as_bytes());
            line.write(frame);
            line.drain();
            drop(venue);
        });
        let error = fails(
            &format!("close code {code}"),
            &tolerant(),
            &peer.stocks(),
            &Failure {
                code: "lost",
                phase: Phase::Authenticating,
                fatal: Some(false),
            },
        );
        let text = error.to_string();
        assert!(text.ends_with(says), "{code}: {text}");
    }
}

#[test]
fn a_server_that_reflects_the_secret_does_not_get_it_into_an_error() {
    let peer = Peer::start(|line| {
        let mut venue = line.venue();
        venue.welcome();
        let sent = venue.hear().unwrap();
        assert!(sent.contains("not-a-secret"), "{sent}");
        venue.say(format!(
            r#"[{{"T":"error","code":402,"msg":"auth failed: {}"}}]"#,
            sent.replace('"', "\\\"")
        ));
        venue.serve();
    });
    let error = fails(
        "reflected",
        &tolerant(),
        &peer.stocks(),
        &Failure {
            code: "rejected",
            phase: Phase::Authenticating,
            fatal: Some(true),
        },
    );
    assert!(error.to_string().contains("auth failed"), "{error}");
    assert!(!format!("{error:?}").contains("PKTEST"), "{error:?}");
}

// While live.

fn seen(update: &Update<TradeEvent>) -> String {
    match update {
        Update::Event(_) => format!("trade {}", trade_id(update).unwrap()),
        Update::Notice(Declared {
            what: Notice::Confirmed { .. },
            ..
        }) => "confirmed".to_owned(),
        Update::Notice(Declared {
            what: Notice::Resumed { .. },
            ..
        }) => "resumed".to_owned(),
        Update::Notice(Declared {
            what: Notice::Unparsed(_),
            ..
        }) => "unparsed".to_owned(),
        Update::Notice(notice) => format!("notice {notice}"),
        Update::Gap(gap) => format!("gap {}", gap.cause.code()),
        Update::Dropped(dropped) => format!("dropped {}", dropped.count),
        Update::Ended(end) => format!("ended {}", end.reason),
    }
}

/// Runs the protocol, says trade 1, something bad, and trade 9; on further connections trade 9 alone. Gives what a
/// subscriber saw, up to trade 9.
fn live(
    row: &str,
    bad: impl Fn(&mut Line, &mut Venue<std::net::TcpStream>) + Send + Sync + 'static,
) -> (Vec<String>, Vec<Unparsed>, Option<Error>) {
    let peer = Peer::live(move |mut line, venue| {
        venue.confirm();
        if line.number == 0 {
            venue.say(format!("[{}]", trade(1)));
            bad(&mut line, venue);
        }
        venue.say(format!("[{}]", trade(9)));
        venue.serve();
    });
    let mut config = tolerant();
    config.backoff.initial = Duration::from_millis(1);
    let credentials = credentials();
    let handle = open(&config, &peer.stocks(), &credentials);
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let (mut all, mut unparsed, mut cause) = (Vec::new(), Vec::new(), None);
    loop {
        let update = trades
            .recv_timeout(GENEROUS)
            .unwrap_or_else(|error| panic!("{row}: {error} after {all:?}"));
        match &update {
            Update::Notice(Declared {
                what: Notice::Unparsed(item),
                ..
            }) => unparsed.push(item.clone()),
            Update::Gap(gap) => {
                check(row, &gap.cause, &handle, Phase::Live);
                cause = Some(gap.cause.clone());
            }
            _ => {}
        }
        all.push(seen(&update));
        if trade_id(&update) == Some(9) || matches!(update, Update::Ended(_)) {
            break;
        }
    }
    assert_eq!(
        handle.health().counters.unparsed,
        unparsed.iter().map(|item| 1 + item.more).sum::<u64>(),
        "{row}"
    );
    drop(trades);
    drop(handle);
    drop(peer);
    until_no_thread(&credentials);
    (all, unparsed, cause)
}

#[test]
fn one_odd_item_costs_one_item_and_never_its_neighbours() {
    let nested = format!("{}{}", "[".repeat(100_000), "]".repeat(100_000));
    let deep_field = format!(
        r#"[{},{{"T":"t","S":"AAPL","x":{}1{}}},{}]"#,
        trade(2),
        "[".repeat(100_000),
        "]".repeat(100_000),
        trade(3)
    );
    let among = |item: &str| format!("[{},{item},{}]", trade(2), trade(3));
    let odd = |from: &str, to: &str| {
        let good = trade(5);
        let bad = good.replace(from, to);
        assert_ne!(good, bad);
        among(&bad)
    };
    // The frame, what is shown of the odd item, and whether its neighbours are in the same frame.
    let table: [(&str, String, &str, bool); 17] = [
        (
            "unknown type",
            among(r#"{"T":"zebra","S":"AAPL"}"#),
            "zebra",
            true,
        ),
        ("no type", among(r#"{"S":"AAPL","i":5}"#), r#""i":5"#, true),
        (
            "type that is a number",
            among(r#"{"T":5}"#),
            r#"{"T":5}"#,
            true,
        ),
        ("type that is null", among(r#"{"T":null}"#), "null", true),
        ("not an object", among("42"), "42", true),
        ("null item", among("null"), "null", true),
        ("null price", odd("187.25", "null"), "null", true),
        (
            "price that is a text",
            odd("187.25", r#""cheap""#),
            "cheap",
            true,
        ),
        (
            "price beyond all decimals",
            odd("187.25", "1e400"),
            "1e400",
            true,
        ),
        ("no price", odd(r#""p":187.25,"#, ""), "AAPL", true),
        (
            "time that is none",
            odd("2026-03-17T14:30:05.123456789Z", "yesterday"),
            "yesterday",
            true,
        ),
        (
            "symbol that is a number",
            odd(r#""S":"AAPL""#, r#""S":5"#),
            r#""S":5"#,
            true,
        ),
        ("nested too deep in a field", deep_field, "[[[[", true),
        (
            "truncated JSON",
            trade(5)[..40].to_owned(),
            r#"{"T":"t","i":5"#,
            false,
        ),
        ("no JSON", "hello\u{1b}[31m".to_owned(), "hello", false),
        ("empty frame", String::new(), "", false),
        ("100,000 levels of nesting", nested, "[[[[", false),
    ];
    for (row, frame, shown, neighbours) in table {
        let (all, unparsed, _) = live(row, move |_, venue| venue.say(frame.clone()));
        let events: Vec<_> = all
            .iter()
            .filter(|seen| seen.starts_with("trade"))
            .collect();
        let expected: &[_] = if neighbours {
            &["trade 1", "trade 2", "trade 3", "trade 9"]
        } else {
            &["trade 1", "trade 9"]
        };
        assert_eq!(events, expected, "{row}: {all:?}");
        assert_eq!(unparsed.len(), 1, "{row}: {all:?}");
        assert!(
            unparsed[0].raw.contains(shown),
            "{row}: {:?} is not shown in {:?}",
            shown,
            unparsed[0].raw
        );
        assert!(unparsed[0].raw.len() <= 3 * 4_096, "{row}");
        assert!(!unparsed[0].why.is_empty(), "{row}");
        assert!(
            !all.iter().any(|seen| seen.starts_with("gap")),
            "{row}: {all:?}"
        );
    }
}

#[test]
fn unknown_fields_and_other_orders_of_fields_cost_nothing() {
    let (all, unparsed, _) = live("unknown field", |_, venue| {
        let frame = format!(
            "[{}]",
            trade(2).replace("{\"T\"", r#"{"new":{"a":[1,null]},"T""#)
        );
        venue.say(frame);
        venue.say("[]");
        // An integer-valued float that no binary float can hold.
        venue.say(format!(
            "[{}]",
            trade(3).replace("187.25", "0.1000000000000000055511151231")
        ));
    });
    assert_eq!(
        all,
        ["confirmed", "trade 1", "trade 2", "trade 3", "trade 9"]
    );
    assert!(unparsed.is_empty());
}

#[test]
fn a_frame_that_ends_in_the_middle_keeps_what_stood_before_it_or_says_so() {
    let (all, unparsed, _) = live("cut off", |_, venue| {
        venue.say(format!("[{},{},{}", trade(2), trade(3), &trade(4)[..40]));
    });
    // Whatever is not delivered is shown.
    assert_eq!(unparsed.len(), 1, "{all:?}");
    let delivered = |id: i64| all.contains(&format!("trade {id}"));
    for id in [2, 3] {
        assert!(
            delivered(id) || unparsed[0].raw.contains(&format!(r#""i":{id},"#)),
            "trade {id} is lost without a word: {all:?} {unparsed:?}"
        );
    }
    assert!(unparsed[0].raw.contains(r#""i":4"#));
    assert!(delivered(9));
}

#[test]
fn a_broken_connection_is_declared_where_it_broke_and_mended() {
    type Bad = fn(&mut Line, &mut Venue<std::net::TcpStream>);
    let table: [(&str, Bad, &str); 8] = [
        (
            "a giant frame is announced",
            // 2^40 bytes of text.
            |line, _| line.write([0x81, 127, 0, 0, 1, 0, 0, 0, 0, 0]),
            "protocol",
        ),
        (
            "a message without end",
            |line, _| {
                line.write([0x01, 1, b'[']);
                let mut more = vec![0x00, 126, 0xff, 0xff];
                more.resize(4 + 0xffff, b' ');
                for _ in 0..64 {
                    line.write(&more);
                }
            },
            "protocol",
        ),
        (
            "text that is no UTF-8",
            |line, _| line.write([0x81, 3, b'[', 0xff, 0xfe]),
            "protocol",
        ),
        (
            "a reserved opcode",
            |line, _| line.write([0x83, 1, b'x']),
            "protocol",
        ),
        (
            "a masked frame from a server",
            |line, _| line.write([0x81, 0x81, 1, 2, 3, 4, b'x']),
            "protocol",
        ),
        (
            "a compressed frame",
            |line, _| line.write([0xc1, 1, b'x']),
            "protocol",
        ),
        (
            "an end in the middle of a frame",
            |line, _| {
                line.write([0x81, 126, 1, 0, b'[']);
                let _ = line.stream.shutdown(std::net::Shutdown::Write);
            },
            "lost",
        ),
        (
            "a close frame with a code and control characters",
            |_, venue| {
                let _ = venue.0.close(Some(tungstenite::protocol::CloseFrame {
                    code: 1012.into(),
                    reason: "restart \u{1b}[31m".into(),
                }));
            },
            "lost",
        ),
    ];
    for (row, bad, code) in table {
        let (all, _, cause) = live(row, bad);
        assert_eq!(
            all,
            [
                "confirmed",
                "trade 1",
                &format!("gap {code}"),
                "resumed",
                "trade 9"
            ],
            "{row}: {cause:?}"
        );
    }
}

#[test]
fn a_reset_in_the_middle_of_a_frame_is_a_gap_behind_what_was_read() {
    // A hand-written end: a reset is sent only when the last copy of the socket goes.
    let listener = std::net::TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let venue = stocks_at(&format!("ws://{}/v2/iex", listener.local_addr().unwrap()));
    let server = common::spawn(move || {
        let mut session = Venue::new(listener.accept().unwrap().0);
        session.log_in();
        session.confirm();
        session.say(format!("[{}]", trade(1)));
        // The client's pong says that it has read everything so far: a reset overtakes what is on its way.
        session
            .0
            .send(tungstenite::Message::Ping("?".into()))
            .unwrap();
        while !matches!(session.0.read(), Ok(tungstenite::Message::Pong(_))) {}
        let stream = session.0.get_mut();
        stream.write_all(&[0x81, 126, 1, 0, b'[']).unwrap();
        socket2::SockRef::from(&*stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(session);
        let mut session = Venue::new(listener.accept().unwrap().0);
        session.log_in();
        session.confirm();
        session.say(format!("[{}]", trade(9)));
        session.serve();
    });
    let mut config = tolerant();
    config.backoff.initial = Duration::from_millis(1);
    let handle = open(&config, &venue, &credentials());
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let mut all = Vec::new();
    while !all.contains(&"trade 9".to_owned()) {
        let update = trades.recv_timeout(GENEROUS).unwrap();
        if let Update::Gap(gap) = &update {
            check("reset", &gap.cause, &handle, Phase::Live);
            assert!(
                std::error::Error::source(&gap.cause).is_some(),
                "{:?}",
                gap.cause
            );
            assert!(gap.last.is_some());
            assert_eq!(gap.epoch, 1);
        }
        all.push(seen(&update));
    }
    assert_eq!(
        all,
        ["confirmed", "trade 1", "gap lost", "resumed", "trade 9"]
    );
    drop(trades);
    drop(handle);
    server.join().unwrap();
}

// TLS.

/// A certificate authority, and a server's certificate from it.
struct Certificates {
    authority: String,
    server: Arc<ServerConfig>,
}

fn certificates(name: &str) -> Certificates {
    certificates_of(name, |_| {})
}

fn certificates_of(name: &str, change: impl FnOnce(&mut CertificateParams)) -> Certificates {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([name.to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, &authority).unwrap();
    let server =
        ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            )
            .unwrap();
    Certificates {
        authority: authority.pem(),
        server: Arc::new(server),
    }
}

/// A venue behind TLS: two trades and a quote for whoever gets through.
fn tls_peer(server: Arc<ServerConfig>) -> (Peer, MarketData) {
    let peer = Peer::start(move |line| {
        let tls = ServerConnection::new(Arc::clone(&server)).unwrap();
        let stream = StreamOwned::new(tls, line.stream.try_clone().unwrap());
        let Ok(websocket) = tungstenite::accept(stream) else {
            return;
        };
        let mut venue = Venue(websocket);
        venue.log_in();
        venue.confirm();
        venue.say(format!("[{},{},{}]", trade(1), quote(2), trade(3)));
        venue.serve();
    });
    let venue = stocks_at(&format!("wss://localhost:{}/v2/iex", peer.address().port()));
    (peer, venue)
}

#[test]
fn tls_with_a_trusted_certificate_carries_trades_and_quotes() {
    let certificates = certificates("localhost");
    let (peer, venue) = tls_peer(Arc::clone(&certificates.server));
    let mut bundled_too = patient();
    bundled_too.extra_roots = certificates.authority.clone().into_bytes();
    let mut alone = bundled_too.clone();
    alone.roots = Roots::ExtraOnly;
    for config in [bundled_too, alone] {
        let credentials = credentials();
        let handle = open(&config, &venue, &credentials);
        handle.wait_live(GENEROUS).unwrap();
        let events = handle
            .subscribe(
                Topics::<MarketEvent>::mixed()
                    .and(alpaca::trades(["AAPL"]))
                    .and(alpaca::quotes(["AAPL"])),
            )
            .unwrap();
        events.wait_confirmed(GENEROUS).unwrap();
        let mut all = Vec::new();
        while all.len() < 3 {
            match events.recv_timeout(GENEROUS).unwrap() {
                Update::Event(event) => all.push(match &event.data {
                    MarketEvent::Trade(trade) => {
                        format!("trade {} at {}", trade.id.unwrap(), trade.price)
                    }
                    MarketEvent::Quote(quote) => {
                        format!("quote {}x{}", quote.bid_size, quote.bid_price)
                    }
                    other => panic!("{other:?}"),
                }),
                Update::Notice(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(
            all,
            ["trade 1 at 187.25", "quote 2x187.24", "trade 3 at 187.25"]
        );
        drop(events);
        handle.close(GENEROUS).unwrap();
        until_no_thread(&credentials);
    }
    drop(peer);
}

#[test]
fn certificates_that_are_not_to_be_trusted_end_the_stream_at_once() {
    let certificate = Failure {
        code: "tls",
        phase: Phase::Securing,
        fatal: Some(true),
    };
    let trusted = |certificates: &Certificates| {
        let mut config = tolerant();
        config.extra_roots = certificates.authority.clone().into_bytes();
        config
    };
    let good = certificates("localhost");
    let (peer, venue) = tls_peer(Arc::clone(&good.server));
    let error = fails("unknown root", &tolerant(), &venue, &certificate);
    for way_out in ["`Roots::Platform`", "`Config::extra_roots`"] {
        assert!(error.to_string().contains(way_out), "{error}");
    }
    const ISSUER: &str = "it was issued by `rcgen self signed cert`";
    assert!(error.to_string().contains(ISSUER), "{error}");
    fails(
        "another authority's root",
        &trusted(&certificates("localhost")),
        &venue,
        &certificate,
    );
    drop(peer);
    let other = certificates("elsewhere.example");
    let (peer, venue) = tls_peer(Arc::clone(&other.server));
    let error = fails("another name", &trusted(&other), &venue, &certificate);
    assert!(
        error.to_string().contains("elsewhere.example"),
        "it says which: {error}"
    );
    assert!(error.to_string().contains(ISSUER), "{error}");
    assert_eq!(error.remedy(), Remedy::FixRequest);
    drop(peer);
}

#[test]
fn a_certificate_out_of_its_time_is_told_with_its_date_and_this_clock() {
    for (row, from, to, says) in [
        ("expired", 2001, 2002, "expired at 2002-02-03T00:00:00Z"),
        (
            "not valid yet",
            2901,
            2902,
            "not valid before 2901-02-03T00:00:00Z",
        ),
    ] {
        let certificates = certificates_of("localhost", |params| {
            params.not_before = rcgen::date_time_ymd(from, 2, 3);
            params.not_after = rcgen::date_time_ymd(to, 2, 3);
        });
        let (peer, venue) = tls_peer(Arc::clone(&certificates.server));
        let mut config = tolerant();
        config.extra_roots = certificates.authority.into_bytes();
        let error = fails(
            row,
            &config,
            &venue,
            &Failure {
                code: "tls",
                phase: Phase::Securing,
                fatal: Some(true),
            },
        );
        let text = error.to_string();
        assert!(text.contains(says), "{text}");
        // A date of our own time, whatever the day.
        assert!(text.contains("this machine's clock says 2"), "{text}");
        drop(peer);
    }
}

#[test]
fn a_server_that_does_not_speak_tls_is_named_and_tried_again() {
    let plain = Failure {
        code: "tls",
        phase: Phase::Securing,
        fatal: Some(false),
    };
    type Script = fn(Line);
    let table: [(&str, Script); 3] = [
        ("plain text at once", |mut line| {
            line.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            line.drain();
        }),
        ("plain text as an answer", |mut line| {
            let mut byte = [0];
            let _ = std::io::Read::read(&mut line.stream, &mut byte);
            line.write("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n");
            line.drain();
        }),
        ("garbage", |mut line| {
            line.write([0x16, 0x03, 0x03, 0x00, 0x05, 0xff, 0xff, 0xff, 0xff, 0xff]);
            line.drain();
        }),
    ];
    for (row, script) in table {
        let peer = Peer::start(script);
        let venue = stocks_at(&format!("wss://{}/v2/iex", peer.address()));
        let error = fails(row, &tolerant(), &venue, &plain);
        assert!(
            matches!(
                error.kind(),
                ErrorKind::Tls {
                    certificate: false,
                    ..
                }
            ),
            "{error:?}"
        );
        assert_eq!(
            error
                .to_string()
                .contains("does not speak TLS on this port: is it `ws://`"),
            row.starts_with("plain text"),
            "{error}"
        );
    }
}

#[test]
fn a_tls_record_that_never_ends_is_bounded_by_the_set_up() {
    let peer = Peer::start(|mut line| {
        line.write([0x16, 0x03, 0x03, 0x40, 0x00, 0x02]);
        line.drain();
    });
    let venue = stocks_at(&format!("wss://{}/v2/iex", peer.address()));
    let mut config = tolerant();
    config.setup_timeout = Duration::from_millis(500);
    config.backoff.cap = NEVER;
    fails(
        "truncated record",
        &config,
        &venue,
        &Failure {
            code: "lost",
            phase: Phase::Securing,
            fatal: Some(false),
        },
    );
}
