//! One connection per key, whoever opens it and whoever lets go of it.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    io::{BufRead as _, BufReader},
    sync::{Arc, Barrier},
    thread,
    time::{Duration, Instant},
};

use crate::common;
use crate::common::{
    GENEROUS, Peer, certificate, credentials, open, patient, quiet_sim, spawn, stocks_at,
    stream_threads, until, until_no_thread,
};
use parking_lot::Mutex;
use trunkline::{
    Config, Credentials, EndReason, Error, ErrorKind, Manager, StreamHandle, Update,
    alpaca::{self, MarketData},
    config::{Resolver, Roots},
    sim::{Accept, Sim, SimConfig},
};

/// A small generator (xorshift64), seeded: the same rounds in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

#[test]
fn sixty_four_threads_that_open_subscribe_and_drop_at_random_never_have_two_connections() {
    const THREADS: u64 = 64;
    let mut config = SimConfig::default();
    config.rate = 500;
    let sim = Sim::start(config).unwrap();
    let credentials = credentials();
    let end = Instant::now() + Duration::from_secs(10);
    let totals = Mutex::new((0, 0));
    thread::scope(|scope| {
        for number in 1..=THREADS {
            let (sim, credentials, totals) = (&sim, &credentials, &totals);
            scope.spawn(move || {
                let manager = Manager::new();
                let mut dice = Dice(number.wrapping_mul(0x9E37_79B9_7F4A_7C15));
                let (mut opened, mut lived) = (0, 0);
                while Instant::now() < end {
                    // All threads pause at times, so that the last lease goes again and again.
                    thread::park_timeout(Duration::from_millis(dice.roll(200)));
                    let handle = manager
                        .open_timeout(&sim.stocks(), credentials, GENEROUS)
                        .unwrap();
                    opened += 1;
                    match dice.roll(5) {
                        0 => drop(handle),
                        1 => {
                            handle.wait_live(GENEROUS).unwrap();
                            lived += 1;
                        }
                        2 => {
                            let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
                            drop(handle);
                            trades.wait_confirmed(GENEROUS).unwrap();
                            lived += 1;
                        }
                        3 => {
                            let other = handle.clone();
                            drop(handle);
                            let quotes = other.subscribe(alpaca::quotes(["*"])).unwrap();
                            drop(other);
                            let _ = quotes.recv_timeout(Duration::from_millis(dice.roll(5)));
                        }
                        _ => match handle.close(GENEROUS) {
                            Err(error)
                                if !matches!(error.kind(), ErrorKind::StillShared { .. }) =>
                            {
                                panic!("{error:?}")
                            }
                            _ => {}
                        },
                    }
                }
                let mut totals = totals.lock();
                totals.0 += opened;
                totals.1 += lived;
            });
        }
    });
    let (opened, lived) = *totals.lock();
    assert!(
        opened > THREADS && lived > 0,
        "{opened} opens, {lived} live"
    );
    until_no_thread(&credentials);
    until("every connection has ended", || {
        sim.stats().connections_open == 0
    });
    let stats = sim.stats();
    assert_eq!(
        (
            stats.most_open_per_key,
            stats.limit_errors,
            stats.slow_clients
        ),
        (1, 0, 0),
        "{stats:?}"
    );
    assert!(stats.connections_opened > 1, "the last lease never went");
}

#[test]
fn two_managers_and_the_global_one_share_one_connection() {
    let sim = quiet_sim();
    let credentials = credentials();
    let (one, two) = (Manager::new(), Manager::new());
    let handles = [&one, &two, Manager::global()]
        .map(|manager| manager.open(&sim.stocks(), &credentials).unwrap());
    for handle in &handles {
        handle.wait_live(GENEROUS).unwrap();
        assert_eq!(handle.health().leases, 3);
    }
    assert_eq!(stream_threads(&credentials).len(), 1);
    // The manager that opened it is of no more importance than the others.
    drop(one);
    let [first, second, third] = handles;
    drop(first);
    assert_eq!(second.health().leases, 2);
    drop(second);
    third.wait_live(GENEROUS).unwrap();
    assert_eq!(third.health().epoch, 1);
    assert_eq!(sim.stats().connections_opened, 1);
    drop(third);
    until_no_thread(&credentials);
    until("the connection has ended", || {
        sim.stats().connections_open == 0
    });
}

#[test]
fn spellings_of_one_endpoint_share_one_connection() {
    let sim = quiet_sim();
    let credentials = credentials();
    let port = sim.local_addr().port();
    let manager = Manager::new();
    let handles: Vec<_> = [
        format!("ws://localhost:{port}/v2/iex"),
        format!("WS://LocalHost:{port}/v2/iex/"),
        format!("ws://LOCALHOST:{port}/v2/iex"),
        format!("ws://localhost.:{port}/v2/./%69ex?"),
    ]
    .iter()
    .map(|url| manager.open(&stocks_at(url), &credentials).unwrap())
    .collect();
    for handle in &handles {
        handle.wait_live(GENEROUS).unwrap();
        assert_eq!(handle.key(), handles[0].key());
    }
    assert_eq!(sim.stats().connections_opened, 1);
    assert_eq!(stream_threads(&credentials).len(), 1);
}

/// Endpoints, each with other spellings of it.
const ONE: &[(&str, &[&str])] = &[
    // An empty query is no query (RFC 6455, section 3).
    ("ws://h.test/p", &["ws://h.test/p?", "ws://h.test/p/?"]),
    // The port.
    ("ws://h.test/p", &["ws://h.test:80/p", "ws://h.test:0080/p"]),
    ("wss://h.test", &["wss://h.test:443/", "WSS://H.TEST"]),
    // A dot at the end of a name, and the letters of what stands for other alphabets.
    (
        "wss://h.test/p",
        &["wss://h.test./p", "wss://H.Test.:443/p"],
    ),
    ("wss://xn--bcher-kva.test", &["wss://XN--BCHER-KVA.test"]),
    // An IPv4 address, in the notations that `getaddrinfo` reads.
    (
        "ws://127.0.0.1:9/p",
        &[
            "ws://127.1:9/p",
            "ws://127.0.1:9/p",
            "ws://2130706433:9/p",
            "ws://0x7f.1:9/p",
            "ws://0X7F000001:9/p",
            "ws://0177.0.0.01:9/p",
            "ws://017700000001:9/p",
            "ws://00000000177.0x0.0.1:9/p",
            "ws://127.0.0.1.:9/p",
            // The operating system connects to it by IPv4.
            "ws://[::ffff:127.0.0.1]:9/p",
            "ws://[::FFFF:7f00:1]:9/p",
        ],
    ),
    // An IPv6 address.
    (
        "ws://[::1]:9",
        &[
            "ws://[0:0:0:0:0:0:0:1]:9",
            "ws://[0000:0000::0001]:9",
            "ws://[::0.0.0.1]:9",
        ],
    ),
    ("ws://[::abcd]:9", &["ws://[::ABCD]:9", "ws://[0::AbCd]:9"]),
    // Percent-encoding that changes nothing (RFC 3986, section 6.2.2).
    (
        "ws://h.test/a-b_c~d.e",
        &[
            "ws://h.test/%61-b_c~d.e",
            "ws://h.test/a%2Db%5Fc%7Ed%2Ee",
            "ws://h.test/a%2db%5fc%7ed%2ee",
        ],
    ),
    ("ws://h.test/a%2Fb", &["ws://h.test/a%2fb"]),
    ("ws://h.test/p?a=%3D~", &["ws://h.test/p?a=%3d%7E"]),
    // What a URL cannot hold as it is.
    ("ws://h.test/%7Ba%7D?%5B1%5D", &["ws://h.test/{a}?[1]"]),
    // Dot segments.
    (
        "ws://h.test/a/b",
        &[
            "ws://h.test/./a/b",
            "ws://h.test/a/./b/.",
            "ws://h.test/a/x/../b",
            "ws://h.test/../a/b",
            "ws://h.test/x/%2E%2e/a/%2e/b/",
        ],
    ),
    ("ws://h.test", &["ws://h.test/.", "ws://h.test/a/.."]),
];

/// Endpoints that look alike, and are two.
const TWO: &[(&str, &str)] = &[
    ("ws://h.test/p", "wss://h.test/p"),
    ("ws://h.test/p", "ws://h.test:443/p"),
    ("ws://h.test/p", "ws://i.test/p"),
    ("ws://h.test/p", "ws://h.h.test/p"),
    ("ws://h.test/p", "ws://h/p"),
    ("ws://h.test/p", "ws://h.test/P"),
    ("ws://h.test/p", "ws://h.test/p?q"),
    ("ws://h.test/p?q", "ws://h.test/p?Q"),
    ("ws://h.test/p?q", "ws://h.test/p?q="),
    ("ws://h.test/p?q", "ws://h.test/p?q/"),
    ("ws://h.test/p?q", "ws://h.test/p??q"),
    ("ws://h.test/p?q", "ws://h.test/p?q&"),
    ("ws://h.test/p?a&b", "ws://h.test/p?b&a"),
    ("ws://h.test/p?a=+", "ws://h.test/p?a=%20"),
    ("ws://h.test/p?a=+", "ws://h.test/p?a=%2B"),
    ("ws://h.test/a/b", "ws://h.test/a%2Fb"),
    ("ws://h.test/a?b", "ws://h.test/a%3Fb"),
    ("ws://h.test/a;b", "ws://h.test/a%3Bb"),
    ("ws://h.test/%41", "ws://h.test/%2541"),
    ("ws://h.test/a/...", "ws://h.test/a"),
    ("ws://h.test/p?./a", "ws://h.test/p?a"),
    ("ws://127.0.0.1:9", "ws://127.0.0.2:9"),
    ("ws://127.0.0.1:9", "ws://localhost:9"),
    ("ws://127.0.0.1:9", "ws://[::1]:9"),
    // Not mapped: an address of its own.
    ("ws://127.0.0.1:9", "ws://[::127.0.0.1]:9"),
    ("ws://127.10:9", "ws://127.010:9"),
    ("ws://0x7f.1:9", "ws://0x7f.test:9"),
];

#[test]
fn every_spelling_of_an_endpoint_is_one_key_and_no_other_endpoint_is() {
    let credentials = credentials();
    // Only the keys matter: no name has an address, and nothing listens at the addresses.
    let mut config = patient();
    config.resolver = Resolver::new(|_, _| Ok(Vec::new()));
    let manager = Manager::with_config(config).unwrap();
    let open = |url: &str| manager.open(&stocks_at(url), &credentials).unwrap();
    for (url, spellings) in ONE {
        let first = open(url);
        for spelling in *spellings {
            let second = open(spelling);
            assert_eq!(first.key(), second.key(), "{url} and {spelling}");
            assert_eq!(first.health().leases, 2, "{url} and {spelling}");
        }
        first.close(GENEROUS).unwrap();
    }
    for (url, other) in TWO {
        let (first, second) = (open(url), open(other));
        assert_ne!(first.key(), second.key(), "{url} and {other}");
        assert_eq!(first.health().leases, 1, "{url} and {other}");
        first.close(GENEROUS).unwrap();
        second.close(GENEROUS).unwrap();
    }
    until_no_thread(&credentials);
}

#[test]
fn spellings_of_one_address_share_one_connection() {
    let sim = quiet_sim();
    let credentials = credentials();
    let port = sim.local_addr().port();
    let manager = Manager::new();
    let handles: Vec<_> = [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0177.0.0.1",
        "127.0.0.1.",
        "[::ffff:127.0.0.1]",
    ]
    .map(|host| {
        let url = format!("ws://{host}:{port}/v2/iex");
        manager.open(&stocks_at(&url), &credentials).unwrap()
    })
    .into();
    for handle in &handles {
        handle.wait_live(GENEROUS).unwrap();
    }
    assert_eq!(handles[0].health().leases, handles.len());
    assert_eq!(sim.stats().connections_opened, 1);
}

/// Whichever spelling came first, and in a certificate a name has no dot at its end.
#[test]
fn what_is_sent_is_the_canonical_spelling() {
    let (authority, server) = certificate();
    let (heads, head) = crossbeam_channel::unbounded();
    let peer = Peer::start(move |line| {
        let mut tls = BufReader::new(line.secure(&server));
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") && tls.read_line(&mut head).is_ok_and(|read| read > 0) {}
        let name = tls.get_ref().conn.server_name().map(ToOwned::to_owned);
        let _ = heads.send((head, name));
    });
    let port = peer.address().port();
    let mut config = patient();
    config.roots = Roots::ExtraOnly;
    config.extra_roots = authority;
    let url = format!("WSS://LocalHost.:{port}/x/../%76%32/a%2fb/?x=%7e&y={{1}}");
    let handle = open(&config, &stocks_at(&url), &credentials());
    let (head, name) = head.recv_timeout(GENEROUS).unwrap();
    let line = "GET /v2/a%2Fb?x=~&y=%7B1%7D HTTP/1.1\r\n";
    assert!(head.starts_with(line), "{head}");
    let host = format!("\r\nHost: localhost:{port}\r\n");
    assert!(head.contains(&host), "{head}");
    assert_eq!(name.as_deref(), Some("localhost"));
    handle.close(GENEROUS).unwrap();
}

#[test]
fn default_ports_and_letter_case_do_not_make_another_key() {
    let credentials = credentials();
    // Nothing listens there, or whatever does is no exchange: only the keys are compared.
    let manager = Manager::with_config(patient()).unwrap();
    let key = |url: &str| {
        manager
            .open(&stocks_at(url), &credentials)
            .unwrap()
            .key()
            .clone()
    };
    assert_eq!(key("ws://127.0.0.1:80/a"), key("WS://127.0.0.1/a/"));
    assert_eq!(key("wss://127.0.0.1:443"), key("Wss://127.0.0.1/"));
    assert_ne!(
        key("ws://127.0.0.1/a"),
        key("ws://127.0.0.1/A"),
        "paths have a case"
    );
    assert_ne!(key("ws://127.0.0.1:443/a"), key("wss://127.0.0.1/a"));
    until_no_thread(&credentials);
}

#[test]
fn different_credentials_get_connections_of_their_own() {
    let mut config = SimConfig::default();
    config.rate = 0;
    config.connection_limit = 3; // the simulator tells keys by their id alone
    let sim = Sim::start(config).unwrap();
    let manager = Manager::new();
    // Plain concatenation would take the first two for the same.
    let all = [
        ("PKshare:first", "second-field"),
        ("PKshare", "first:second-field"),
        ("PKshare", "another-secret"),
    ]
    .map(|(key, secret)| Credentials::new(key, secret).unwrap());
    let handles = all
        .each_ref()
        .map(|credentials| manager.open(&sim.stocks(), credentials).unwrap());
    for (handle, credentials) in handles.iter().zip(&all) {
        handle.wait_live(GENEROUS).unwrap();
        assert_eq!(stream_threads(credentials).len(), 1);
        assert_eq!(handle.key().fingerprint(), credentials.fingerprint());
    }
    assert_eq!(sim.stats().connections_opened, 3);
    assert_ne!(handles[0].key(), handles[1].key());
    assert_ne!(handles[1].key(), handles[2].key());
}

#[test]
fn a_short_secret_that_is_part_of_the_protocols_words_connects_too() {
    let sim = quiet_sim();
    for secret in ["c", "key", "auth"] {
        let credentials = Credentials::new("PKshort", secret).unwrap();
        let handle = Manager::new().open(&sim.stocks(), &credentials).unwrap();
        handle.wait_live(GENEROUS).unwrap();
    }
}

#[test]
fn a_release_that_races_an_acquire_never_overlaps() {
    const ROUNDS: u32 = 150;
    let sim = quiet_sim();
    let credentials = credentials();
    let barrier = Arc::new(Barrier::new(2));
    let (give, take) = crossbeam_channel::bounded::<StreamHandle<MarketData>>(0);
    let releaser = {
        let barrier = Arc::clone(&barrier);
        spawn(move || {
            for handle in take {
                barrier.wait();
                drop(handle);
            }
        })
    };
    let manager = Manager::new();
    let mut handle = manager.open(&sim.stocks(), &credentials).unwrap();
    let (mut joined, mut renewed) = (0, 0);
    for round in 0..ROUNDS {
        handle.wait_live(GENEROUS).unwrap();
        let before = handle.health().generation;
        give.send(handle).unwrap();
        barrier.wait();
        // Both sides of the race should win at times.
        for _ in 0..round % 8 * 200 {
            std::hint::spin_loop();
        }
        handle = manager
            .open_timeout(&sim.stocks(), &credentials, GENEROUS)
            .unwrap();
        if handle.health().generation == before {
            joined += 1;
        } else {
            renewed += 1;
        }
        // The predecessor's may stay listed for a moment after it was joined.
        until("one thread is left", || {
            stream_threads(&credentials).len() == 1
        });
    }
    drop(give);
    releaser.join().unwrap();
    handle.wait_live(GENEROUS).unwrap();
    drop(handle);
    until_no_thread(&credentials);
    let stats = sim.stats();
    assert_eq!((stats.most_open_per_key, stats.limit_errors), (1, 0));
    assert!(stats.connections_opened <= u64::from(renewed) + 1);
    assert_eq!(joined + renewed, ROUNDS);
}

#[test]
fn the_next_connection_waits_for_the_peers_end_of_the_last_one() {
    let (closing, asked_to_close) = crossbeam_channel::bounded(1);
    let (answer, may_answer) = crossbeam_channel::bounded::<()>(1);
    let peer = Peer::live(move |line, venue| {
        if line.number > 0 {
            return venue.serve();
        }
        assert_eq!(venue.hear(), None);
        closing.send(()).unwrap();
        may_answer.recv_timeout(GENEROUS).unwrap();
        // tungstenite has queued the answer to the close frame; this sends it.
        let _ = venue.0.flush();
    });
    let mut config = Config::default();
    config.close_timeout = GENEROUS;
    config.open_timeout = GENEROUS;
    config.release_timeout = GENEROUS;
    let credentials = credentials();
    let first = open(&config, &peer.stocks(), &credentials);
    first.wait_live(GENEROUS).unwrap();
    assert_eq!(peer.accepted().recv_timeout(GENEROUS), Ok(0));
    let releaser = spawn(move || drop(first));
    asked_to_close.recv_timeout(GENEROUS).unwrap();
    let opener = {
        let (venue, credentials) = (peer.stocks(), credentials.clone());
        spawn(move || {
            let second = open(&config, &venue, &credentials);
            second.wait_live(GENEROUS).unwrap();
            second
        })
    };
    assert!(
        peer.accepted()
            .recv_timeout(Duration::from_millis(500))
            .is_err(),
        "the second connection came while the first was not closed"
    );
    assert!(!releaser.is_finished() && !opener.is_finished());
    answer.send(()).unwrap();
    assert_eq!(peer.accepted().recv_timeout(GENEROUS), Ok(1));
    releaser.join().unwrap();
    drop(opener.join().unwrap());
    until_no_thread(&credentials);
}

#[test]
fn other_settings_are_refused_by_name_and_hold_nothing() {
    let sim = quiet_sim();
    let credentials = credentials();
    let first = Manager::new().open(&sim.stocks(), &credentials).unwrap();
    let with = |change: fn(&mut Config)| {
        let mut config = Config::default();
        change(&mut config);
        Manager::with_config(config)
            .unwrap()
            .open(&sim.stocks(), &credentials)
    };
    type Change = fn(&mut Config);
    let table: [(Change, &[&str]); 3] = [
        (
            |config| config.ping_interval = Duration::from_secs(3),
            &["ping_interval"],
        ),
        (
            |config| config.backoff.cap = Duration::from_secs(7),
            &["backoff"],
        ),
        (
            |config| {
                config.close_timeout = Duration::from_secs(3);
                config.setup_timeout = Duration::from_secs(3);
            },
            &["setup_timeout", "close_timeout"],
        ),
    ];
    for (change, names) in table {
        let error = with(change).unwrap_err();
        match error.kind() {
            ErrorKind::SettingsConflict { differences, .. } => {
                assert_eq!(error.at().stream.as_ref(), Some(first.key()));
                assert_eq!(common::names(differences), names);
            }
            _ => panic!("{error:?}"),
        }
    }
    let venue = sim.stocks().with_rules(|rules| rules.request_limit(7));
    let error = Manager::new().open(&venue, &credentials).unwrap_err();
    match error.kind() {
        ErrorKind::SettingsConflict { differences, .. } => {
            assert_eq!(common::names(differences), ["rules"]);
        }
        _ => panic!("{error:?}"),
    }
    let error = with(table[0].0).unwrap_err();
    assert!(error.to_string().contains("ping_interval"), "{error}");
    // What belongs to the caller is no conflict.
    drop(with(|config| config.open_timeout = Duration::from_secs(1)).unwrap());
    assert_eq!(first.health().leases, 1, "a refused open keeps no lease");
    first.close(GENEROUS).unwrap();
    until_no_thread(&credentials);
}

#[test]
fn close_says_still_shared_at_once_and_line_closed_to_the_last() {
    let sim = quiet_sim();
    let credentials = credentials();
    let manager = Manager::new();
    let one = manager.open(&sim.stocks(), &credentials).unwrap();
    let two = one.clone();
    let trades = two.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(GENEROUS).unwrap();
    let begun = Instant::now();
    let error = one.close(GENEROUS).unwrap_err();
    match error.kind() {
        ErrorKind::StillShared { leases, .. } => {
            assert_eq!((error.stream(), *leases), (Some(two.key()), 2));
        }
        _ => panic!("{error:?}"),
    }
    assert!(begun.elapsed() < GENEROUS / 2, "it waited");
    assert_eq!(two.health().leases, 2);
    assert!(matches!(
        two.close(GENEROUS).as_ref().map_err(Error::kind),
        Err(ErrorKind::StillShared { leases: 1, .. })
    ));
    // The subscription alone keeps it alive; then a handle is the last again.
    let last = manager.open(&sim.stocks(), &credentials).unwrap();
    drop(trades);
    let closed = last.close(GENEROUS).unwrap();
    assert!(closed.took < GENEROUS);
    assert!(manager.health().streams.is_empty());
    until_no_thread(&credentials);
    until("the connection has ended", || {
        sim.stats().connections_open == 0
    });
    assert_eq!(sim.stats().connections_opened, 1);
}

#[test]
fn a_subscription_alone_keeps_the_stream_alive() {
    let mut config = SimConfig::default();
    config.rate = 1_000;
    let sim = Sim::start(config).unwrap();
    let credentials = credentials();
    let handle = Manager::new().open(&sim.stocks(), &credentials).unwrap();
    let quotes = handle.subscribe(alpaca::quotes(["AAPL"])).unwrap();
    drop(handle);
    let mut seen = 0;
    while seen < 100 {
        match quotes.recv_timeout(GENEROUS).unwrap() {
            Update::Event(event) => {
                assert_eq!(event.epoch(), 1);
                seen += 1;
            }
            Update::Notice(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(sim.stats().connections_open, 1);
    drop(quotes);
    until_no_thread(&credentials);
    until("the connection has ended", || {
        sim.stats().connections_open == 0
    });
}

#[test]
fn a_clone_in_another_thread_is_a_hold_of_its_own() {
    let sim = quiet_sim();
    let credentials = credentials();
    let handle = Manager::new().open(&sim.stocks(), &credentials).unwrap();
    let (let_go, may_let_go) = crossbeam_channel::bounded::<()>(0);
    let clone = handle.clone();
    let other = spawn(move || {
        clone.wait_live(GENEROUS).unwrap();
        may_let_go.recv_timeout(GENEROUS).unwrap();
        assert_eq!(clone.health().leases, 1);
        clone.wait_live(Duration::ZERO).unwrap();
    });
    handle.wait_live(GENEROUS).unwrap();
    drop(handle);
    assert_eq!(sim.stats().connections_open, 1);
    assert_eq!(stream_threads(&credentials).len(), 1);
    let_go.send(()).unwrap();
    other.join().unwrap();
    until_no_thread(&credentials);
    assert_eq!(sim.stats().connections_opened, 1);
}

#[test]
fn a_stream_that_ended_stays_ended_and_the_next_open_connects_again() {
    let right = Credentials::new("PKRIGHT0001", "right").unwrap();
    let mut config = SimConfig::default();
    config.accept = Accept::Only(right);
    config.rate = 0;
    let sim = Sim::start(config).unwrap();
    let wrong = credentials();
    let manager = Manager::new();
    let mut generations = Vec::new();
    let mut held = Vec::new();
    for attempt in 1..=3 {
        let handle = manager.open(&sim.stocks(), &wrong).unwrap();
        let trades = handle.subscribe(alpaca::trades(["AAPL"]));
        let error = handle.wait_live(GENEROUS).unwrap_err();
        match error.kind() {
            ErrorKind::Rejected { rejection, .. } => {
                assert_eq!(error.at().stream.as_ref(), Some(handle.key()));
                assert!(rejection.code().is_some_and(|code| *code == 402));
            }
            _ => panic!("{error:?}"),
        }
        if let Ok(trades) = trades {
            assert!(matches!(
                trades
                    .wait_confirmed(GENEROUS)
                    .as_ref()
                    .map_err(Error::kind),
                Err(ErrorKind::Rejected { .. })
            ));
            let Ok(Update::Ended(ended)) = trades.recv_timeout(GENEROUS) else {
                panic!("it did not end");
            };
            assert!(matches!(
                ended.into_result().as_ref().map_err(Error::kind),
                Err(ErrorKind::Rejected { .. })
            ));
        }
        generations.push(handle.health().generation);
        until("the thread of the ended stream is gone", || {
            stream_threads(&wrong).is_empty()
        });
        assert_eq!(sim.stats().auth_failures, attempt);
        // Those who hold an ended stream do not stand in the way of the next one, nor are revived by it.
        held.push(handle);
    }
    generations.dedup();
    assert_eq!(generations.len(), 3, "{generations:?}");
    for handle in &held {
        assert!(
            matches!(handle.end_reason(), Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Rejected { .. }))
        );
        assert!(matches!(
            handle
                .subscribe(alpaca::trades(["AAPL"]))
                .as_ref()
                .map_err(Error::kind),
            Err(ErrorKind::Rejected { .. })
        ));
    }
    drop(held);
    until_no_thread(&wrong);
    assert_eq!(sim.stats().connections_opened, 3);
}

#[test]
fn open_waits_while_the_last_one_drains_and_says_draining_past_its_time() {
    // It reads whatever comes, the close frame too, and never ends.
    let peer = Peer::live(|mut line, _| {
        line.drain();
        line.hold();
    });
    let mut config = Config::default();
    config.close_timeout = Duration::from_secs(4);
    config.release_timeout = GENEROUS;
    let credentials = credentials();
    let manager = Manager::with_config(config).unwrap();
    let first = manager.open(&peer.stocks(), &credentials).unwrap();
    first.wait_live(GENEROUS).unwrap();
    let releaser = spawn(move || drop(first));
    until("it drains", || {
        manager
            .health()
            .streams
            .first()
            .is_some_and(|health| health.draining_for.is_some())
    });
    let short = Duration::from_millis(300);
    let begun = Instant::now();
    let error = manager
        .open_timeout(&peer.stocks(), &credentials, short)
        .unwrap_err();
    match error.kind() {
        ErrorKind::Draining { waited, .. } => {
            assert_eq!(
                error.stream().unwrap().fingerprint(),
                credentials.fingerprint()
            );
            assert!(*waited >= short, "{waited:?}");
        }
        _ => panic!("{error:?}"),
    }
    assert!(begun.elapsed() >= short);
    assert_eq!(peer.accepted().len(), 1, "no second connection yet");
    // One that may wait for longer gets its turn when the close bound has passed.
    let second = manager
        .open_timeout(&peer.stocks(), &credentials, GENEROUS)
        .unwrap();
    second.wait_live(GENEROUS).unwrap();
    assert_eq!(peer.accepted().len(), 2);
    assert_eq!(second.health().leases, 1);
    releaser.join().unwrap();
    drop(peer);
    drop(second);
    until_no_thread(&credentials);
}
