//! Servers that say what they were sent, in odd ways.

use std::time::Duration;

use trunkline::{Credentials, Declared, Error, ErrorKind, Manager, Update, alpaca};

use crate::{
    canary::{Canary, ODD, PLAIN, assert_clean, base64, inside},
    capture::Capture,
    child::{DONE, Server, with_child},
    peer::{Peer, WELCOME, server_frame},
    support::{self, WAIT, quick},
};

/// A child that is turned away with whatever `reflect` sends, then refused for good, and whose records are clean.
fn reflections_are_in_no_record(name: &str, canary: Canary, reflect: impl Fn(&mut Peer) + Sync) {
    let Some(server) = Server::of_this_child() else {
        return with_child(name, |listener| {
            let mut peer = Peer::open(listener);
            reflect(&mut peer);
            peer.serve_to_the_end();
            let mut peer = Peer::open(listener);
            peer.text(WELCOME);
            peer.read();
            peer.text(r#"[{"T":"error","code":402,"msg":"auth failed"}]"#);
            peer.serve_to_the_end();
        });
    };
    let capture = Capture::install();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    let manager = Manager::with_config(server.config()).unwrap();
    let feed = manager.open(&server.venue(), &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    capture.error(&error);
    capture.stream(&feed, &manager);
    let all = capture.0.lock().clone();
    assert!(all.contains("TRACE tungstenite"));
    assert_clean(canary, &all);
    println!("{DONE}");
}

#[test]
fn a_secret_reflected_with_the_escapes_of_the_venue_is_in_no_record() {
    reflections_are_in_no_record(
        "a_secret_reflected_with_the_escapes_of_the_venue_is_in_no_record",
        ODD,
        |peer| {
            let error = ODD
                .error(500)
                .replace('&', "\\u0026")
                .replace('<', "\\u003c")
                .replace('>', "\\u003e");
            peer.text(&error);
        },
    );
}

#[test]
fn a_secret_reflected_all_in_escapes_is_in_no_record() {
    reflections_are_in_no_record(
        "a_secret_reflected_all_in_escapes_is_in_no_record",
        PLAIN,
        |peer| {
            let escapes = |text: &str| -> String {
                text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()
            };
            let error = PLAIN
                .error(500)
                .replace(PLAIN.secret, &escapes(PLAIN.secret))
                .replace(PLAIN.key, &escapes(PLAIN.key));
            peer.text(&error);
        },
    );
}

type Encode = fn(&[u8]) -> String;

/// How a server may write what it was sent.
const ENCODINGS: [(&str, Encode); 12] = [
    ("hex", |bytes| each(bytes, |b| format!("{b:02x}"), "")),
    ("HEX", |bytes| each(bytes, |b| format!("{b:02X}"), "")),
    ("percent", |bytes| each(bytes, |b| format!("%{b:02X}"), "")),
    ("a list", |bytes| each(bytes, |b| b.to_string(), ",")),
    ("HTML", |bytes| each(bytes, |b| format!("&#{b};"), "")),
    ("HTML in hex", |bytes| {
        each(bytes, |b| format!("&#x{b:04x};"), "")
    }),
    ("hex with colons", |bytes| {
        each(bytes, |b| format!("{b:02x}"), ":")
    }),
    ("an array", |bytes| {
        each(bytes, |b| format!("0x{b:02x}"), ", ")
    }),
    ("octal", |bytes| each(bytes, |b| format!("\\\\{b:03o}"), "")),
    ("quoted-printable", |bytes| {
        each(bytes, |b| format!("={b:02X}"), "")
    }),
    ("Base64", |bytes| base64(bytes, b"+/")),
    ("Base64 of URLs", |bytes| {
        base64(&[b"x", bytes].concat(), b"-_")
    }),
];

fn each(bytes: &[u8], write: fn(u8) -> String, separator: &str) -> String {
    let written: Vec<_> = bytes.iter().map(|byte| write(*byte)).collect();
    written.join(separator)
}

#[test]
fn a_secret_in_any_encoding_is_in_no_record() {
    reflections_are_in_no_record("a_secret_in_any_encoding_is_in_no_record", ODD, |peer| {
        let encoded: Vec<_> = ENCODINGS
            .iter()
            .flat_map(|(name, encode)| {
                let both = [ODD.key, ODD.secret].map(|text| encode(text.as_bytes()));
                [(*name).to_owned()].into_iter().chain(both)
            })
            .collect();
        let text = format!(
            r#"[{{"T":"error","code":500,"msg":"no {} {}"}}]"#,
            encoded.join(" "),
            inside(&ODD.error(500)),
        );
        peer.frame(0x81, text.as_bytes(), 41);
    });
}

#[test]
fn a_login_that_is_sent_back_under_its_mask_is_in_no_record() {
    reflections_are_in_no_record(
        "a_login_that_is_sent_back_under_its_mask_is_in_no_record",
        PLAIN,
        |peer| {
            let auth = PLAIN.auth().into_bytes();
            // What is left to those who overlook the mask in the header reads as a pong, so that they go on.
            let end = auth.len() - 4;
            let mut mask = [1, 2, 3, 4];
            mask[end % 4] = auth[end] ^ 0x8a;
            mask[(end + 1) % 4] = auth[end + 1] ^ 2;
            let masked = auth.iter().zip(mask.iter().cycle());
            let masked: Vec<u8> = masked.map(|(byte, mask)| byte ^ mask).collect();
            let mut frame = server_frame(0x81, &masked);
            // As a client writes it: a bit that says so, and the mask behind the length.
            frame[1] |= 0x80;
            let header = frame.len() - masked.len();
            frame.splice(header..header, mask);
            peer.raw(&frame);
        },
    );
}

/// Everything that the venue's error codes can end in: at the welcome, at the login, and in answer to a request.
const CODES: [u16; 16] = [
    400, 401, 402, 403, 404, 405, 406, 407, 408, 409, 410, 411, 412, 413, 500, 599,
];

#[test]
fn no_error_of_the_venue_shows_the_secret_that_it_repeats() {
    const NAME: &str = "no_error_of_the_venue_shows_the_secret_that_it_repeats";
    let Some(server) = Server::of_this_child() else {
        return with_child(NAME, |listener| {
            for code in CODES {
                let mut peer = Peer::open(listener);
                peer.text(&ODD.error(code));
                peer.serve_to_the_end();
            }
            for code in CODES {
                let mut peer = Peer::open(listener);
                peer.text(WELCOME);
                peer.read();
                peer.text(&ODD.error(code));
                peer.serve_to_the_end();
            }
            for code in CODES {
                let (mut peer, _) = Peer::live(listener);
                peer.request();
                peer.text(&ODD.error(code));
                peer.serve_to_the_end();
            }
        });
    };
    let capture = Capture::install();
    let credentials = Credentials::new(ODD.key, ODD.secret).unwrap();
    let mut config = server.config();
    config.backoff.max_failures = Some(1);
    config.request_timeout = Duration::from_millis(500);
    let manager = Manager::with_config(config).unwrap();
    let mut seen = std::collections::BTreeSet::new();
    for _ in CODES.iter().chain(&CODES) {
        let feed = manager.open(&server.venue(), &credentials).unwrap();
        // At the login, "already authenticated" is good news.
        if let Err(error) = feed.wait_live(WAIT) {
            capture.error(&error);
            seen.extend(innermost(&error));
        }
        capture.stream(&feed, &manager);
    }
    for _ in CODES {
        let feed = manager.open(&server.venue(), &credentials).unwrap();
        let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
        // What says nothing of the request leaves it unanswered, and it is made once more.
        if let Err(error) = trades.wait_confirmed(WAIT) {
            capture.error(&error);
            seen.extend(innermost(&error));
        }
        capture.stream(&feed, &manager);
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        ["connection_limit", "not_entitled", "refused", "rejected"]
    );
    assert_clean(ODD, &capture.0.lock());
    println!("{DONE}");
}

#[test]
fn a_close_frame_that_is_answered_with_the_secret_is_in_no_record() {
    const NAME: &str = "a_close_frame_that_is_answered_with_the_secret_is_in_no_record";
    let Some(server) = Server::of_this_child() else {
        return with_child(NAME, |listener| {
            let (mut peer, _) = Peer::live(listener);
            let close = loop {
                let message = peer.read();
                if message.opcode == 8 {
                    break message.payload;
                }
            };
            assert_eq!(close, 1_000_u16.to_be_bytes());
            let answer = [&close, PLAIN.secret.as_bytes()].concat();
            peer.frame(0x88, &answer, usize::MAX);
            // The child ends the connection without being asked to.
            assert!(peer.try_read().is_err());
        });
    };
    let capture = Capture::install();
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let manager = Manager::with_config(server.config()).unwrap();
    let feed = manager.open(&server.venue(), &credentials).unwrap();
    feed.wait_live(WAIT).unwrap();
    let closed = feed.close(WAIT);
    capture.add(format_args!("{closed:?}"));
    let shut = manager.shutdown(WAIT);
    assert!(shut.iter().all(|shut| shut.stuck.is_none()), "{shut:?}");
    let all = capture.0.lock().clone();
    assert!(all.contains("TRACE tungstenite::protocol"));
    assert_clean(PLAIN, &all);
    println!("{DONE}");
}

#[test]
fn the_reason_of_a_close_frame_is_in_no_record_where_debug_is_the_level() {
    const NAME: &str = "the_reason_of_a_close_frame_is_in_no_record_where_debug_is_the_level";
    let Some(server) = Server::of_this_child() else {
        return with_child(NAME, |listener| {
            let (mut peer, _) = Peer::live(listener);
            let reason = [&1_011_u16.to_be_bytes(), PLAIN.secret.as_bytes()].concat();
            peer.frame(0x88, &reason, usize::MAX);
            peer.serve_to_the_end();
        });
    };
    let capture = Capture::install();
    log::set_max_level(log::LevelFilter::Debug);
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let manager = Manager::with_config(server.config()).unwrap();
    let _feed = manager.open(&server.venue(), &credentials).unwrap();
    support::eventually("the close frame is logged", || {
        let all = capture.0.lock();
        all.contains("DEBUG tungstenite::protocol: Received close frame")
    });
    assert_clean(PLAIN, &capture.0.lock());
    println!("{DONE}");
}

/// The code of the error behind it all.
fn innermost(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::GaveUp { cause, .. } => innermost(cause),
        _ => Some(error.code()),
    }
}

#[test]
fn no_answer_to_the_upgrade_shows_the_secret_that_it_repeats() {
    const NAME: &str = "no_answer_to_the_upgrade_shows_the_secret_that_it_repeats";
    const STATUSES: [u16; 10] = [200, 301, 307, 400, 401, 403, 404, 429, 500, 503];
    let Some(server) = Server::of_this_child() else {
        return with_child(NAME, |listener| {
            for status in STATUSES {
                let mut peer = Peer::accept(listener);
                let (key, secret) = (PLAIN.key, PLAIN.secret);
                let basic = base64(format!("{key}:{secret}").as_bytes(), b"+/");
                let body = PLAIN.auth();
                peer.http(&format!(
                    "HTTP/1.1 {status} {secret}\r\nLocation: ws://{key}:{secret}@127.0.0.1:1/?k={key}\r\n\
                     X-{secret}: 1\r\nx-{}: 1\r\nAPCA-API-SECRET-KEY: {secret}\r\n\
                     Authorization: Basic {basic}\r\nContent-Length: {}\r\n\r\n{body}",
                    secret.to_lowercase(),
                    body.len()
                ));
                peer.serve_to_the_end();
            }
        });
    };
    let capture = Capture::install();
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let mut config = server.config();
    config.backoff.max_failures = Some(1);
    let manager = Manager::with_config(config).unwrap();
    for status in STATUSES {
        let feed = manager.open(&server.venue(), &credentials).unwrap();
        let error = feed.wait_live(WAIT).unwrap_err();
        assert!(
            ["upgrade", "protocol"].contains(&innermost(&error).unwrap()),
            "{status}: {error:?}"
        );
        capture.error(&error);
        capture.stream(&feed, &manager);
    }
    let all = capture.0.lock().clone();
    assert_clean(PLAIN, &all);
    assert!(!all.to_lowercase().contains(&PLAIN.secret.to_lowercase()));
    println!("{DONE}");
}

#[test]
fn an_unparsed_item_that_is_cut_shows_no_beginning_of_a_secret() {
    const CUT: usize = 4_096;
    let sim = support::sim(|_| {});
    let manager = Manager::with_config(quick()).unwrap();
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    let before = r#"{"T":"t","S":"AAPL","p":null,"memo":""#;
    for shown in [1, 10, 20, 39, 40] {
        let padding = "x".repeat(CUT - before.len() - shown);
        sim.send_raw(format!(r#"[{before}{padding}{}"}}]"#, PLAIN.secret));
        let unparsed = loop {
            match trades.recv_timeout(WAIT).unwrap() {
                Update::Notice(Declared {
                    what: trunkline::Notice::Unparsed(unparsed),
                    ..
                }) => break unparsed,
                Update::Notice(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(unparsed.raw.len() <= CUT);
        let tail = unparsed
            .raw
            .trim_start_matches(before)
            .trim_start_matches('x');
        assert!(
            shown < 8 || !tail.contains(&PLAIN.secret[..8]),
            "{shown} characters of the secret are shown: {tail}"
        );
    }
}

#[test]
fn credentials_of_a_letter_or_two_authenticate_like_any_others() {
    for (key, secret) in [("PK1", "s3"), ("k", "s"), ("auth", "http")] {
        let sim = support::sim(|_| {});
        let manager = Manager::with_config(quick()).unwrap();
        let credentials = Credentials::new(key, secret).unwrap();
        let feed = manager.open(&sim.stocks(), &credentials).unwrap();
        let live = feed.wait_live(Duration::from_secs(5));
        assert!(live.is_ok(), "{key} and {secret}: {live:?}");
    }
}
