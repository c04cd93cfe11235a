//! A name lookup that hangs holds nobody's key, and is listed in health (R4).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::{
    io,
    process::Command,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::common::{
    GENEROUS, Peer, Venue, alone_with, certificate, credentials, failure, hurried, open, spawn,
    stocks_at, until,
};
use trunkline::{
    Config, Credentials, ErrorKind, Manager, Phase, Proxy,
    alpaca::{self, Feed, MarketData},
    config::{Resolver, Roots},
    crossbeam_channel,
    sim::{Sim, SimConfig},
};

/// A resolver that hangs until the sender is used or dropped, and gives that answer from then on; and how often it was
/// asked.
fn hanging() -> (
    Resolver,
    crossbeam_channel::Sender<Vec<std::net::SocketAddr>>,
    Arc<AtomicU64>,
) {
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let asked = Arc::new(AtomicU64::new(0));
    let count = Arc::clone(&asked);
    let answer = OnceLock::new();
    let resolver = Resolver::new(move |_, _| {
        count.fetch_add(1, Ordering::SeqCst);
        let answer = answer.get_or_init(|| receiver.recv().ok());
        answer.clone().ok_or_else(|| io::ErrorKind::NotFound.into())
    });
    (resolver, sender, asked)
}

fn manager(resolver: &Resolver) -> Manager {
    let mut config = Config::default();
    config.proxy = Proxy::Never;
    config.resolver = resolver.clone();
    Manager::with_config(config).unwrap()
}

fn venue(host: &str, port: u16) -> MarketData {
    alpaca::stocks(Feed::Iex).at(format!("ws://{host}:{port}/v2/iex").parse().unwrap())
}

#[test]
fn a_stop_abandons_a_lookup_that_hangs_and_the_key_works_again() {
    let (resolver, release, asked) = hanging();
    let manager = manager(&resolver);
    let credentials = Credentials::new("PKLOOKUP1", "secret").unwrap();
    for _ in 0..3 {
        let feed = manager
            .open(&venue("hanging.test", 80), &credentials)
            .unwrap();
        until("the lookup runs", || asked.load(Ordering::SeqCst) == 1);
        assert_eq!(feed.phase(), Phase::Resolving);
        let error = feed.wait_live(Duration::from_millis(1)).unwrap_err();
        assert!(
            matches!(error.kind(), ErrorKind::TimedOut { .. }),
            "{error:?}"
        );
        assert_eq!(error.phase(), Some(Phase::Resolving));
        // Not a time of its own, but the bound: a close that waited for the lookup would run into it.
        feed.close(GENEROUS).unwrap();
    }
    let health = manager.health();
    assert!(health.streams.is_empty());
    let lookup = health
        .lookups
        .iter()
        .find(|lookup| lookup.host == "hanging.test:80")
        .unwrap();
    assert!(lookup.is_abandoned, "{lookup}");
    assert_eq!(
        asked.load(Ordering::SeqCst),
        1,
        "one helper per host, however many streams asked"
    );
    drop(release);
    until("the helper ends", || {
        manager
            .health()
            .lookups
            .iter()
            .all(|lookup| lookup.host != "hanging.test:80")
    });
}

#[test]
fn streams_that_wait_for_one_host_all_get_its_answer() {
    let sim = Sim::start(SimConfig::default()).unwrap();
    let (resolver, release, asked) = hanging();
    let manager = manager(&resolver);
    let port = sim.local_addr().port();
    let feeds: Vec<_> = (0..4)
        .map(|index| {
            let credentials = Credentials::new(format!("PKLOOKUP2{index}"), "secret").unwrap();
            manager
                .open(&venue("shared.test", port), &credentials)
                .unwrap()
        })
        .collect();
    until("the lookup runs", || asked.load(Ordering::SeqCst) == 1);
    release.send(vec![sim.local_addr()]).unwrap();
    for feed in &feeds {
        feed.wait_live(GENEROUS).unwrap();
    }
}

#[test]
fn a_name_without_an_address_is_a_typed_error_and_tried_again() {
    let manager = manager(&Resolver::new(|_, _| Ok(Vec::new())));
    let credentials = Credentials::new("PKLOOKUP3", "secret").unwrap();
    let feed = manager
        .open(&venue("nowhere.test", 80), &credentials)
        .unwrap();
    until("it failed twice", || feed.health().failures >= 2);
    let error = feed.wait_live(Duration::ZERO).unwrap_err();
    let ErrorKind::TimedOut {
        cause: Some(cause), ..
    } = error.kind()
    else {
        panic!("{error:?}")
    };
    assert!(
        matches!(cause.kind(), ErrorKind::Unresolved { .. }),
        "{cause:?}"
    );
    assert!(cause.is_retryable());
}

#[test]
fn a_resolver_that_panics_is_a_failed_lookup() {
    let manager = manager(&Resolver::new(|_, _| panic!("on purpose")));
    let credentials = Credentials::new("PKLOOKUP4", "secret").unwrap();
    let feed = manager
        .open(&venue("panics.test", 80), &credentials)
        .unwrap();
    until("it failed", || feed.health().failures >= 1);
    feed.close(GENEROUS).unwrap();
}

/// The certificates that the machine trusts lie in files, and a file system may hang like a resolver does.
#[test]
fn certificates_that_cannot_be_read_hold_up_no_open_and_no_stop() {
    let path = std::env::temp_dir().join(format!("trunkline-roots-{}", std::process::id()));
    let file = [("SSL_CERT_FILE", Some(path.to_str().unwrap()))];
    alone_with(
        "lookup::certificates_that_cannot_be_read_hold_up_no_open_and_no_stop",
        &file,
        || {
            let path = std::env::var("SSL_CERT_FILE").unwrap();
            // Whoever reads it waits for somebody who writes.
            let made = Command::new("mkfifo").arg(&path).status().unwrap();
            assert!(made.success());
            let (done, outcome) = crossbeam_channel::bounded(1);
            let body = {
                let path = path.clone();
                spawn(move || {
                    unread_roots(&path);
                    let _ = done.send(());
                })
            };
            // Whatever hangs does so for ever.
            let ended = outcome.recv_timeout(2 * GENEROUS);
            let _ = std::fs::remove_file(&path);
            ended.expect("it hangs, or failed");
            body.join().unwrap();
        },
    );
}

fn unread_roots(path: &str) {
    let (authority, server) = certificate();
    let peer = Peer::start(move |line| {
        let mut venue = Venue::new(line.secure(&server));
        venue.log_in();
        venue.serve();
    });
    let venue = stocks_at(&format!("wss://localhost:{}/", peer.address().port()));
    let venue = venue.with_rules(hurried);
    let mut config = Config::default();
    config.roots = Roots::Platform;
    config.setup_timeout = Duration::from_millis(200);
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(1);
    let open = || open(&config, &venue, &credentials());
    // Two at once wait for the same reading.
    let (one, other) = (open(), open());
    let error = failure(&one);
    assert!(
        format!("{error:?}").contains("still being read"),
        "{error:?}"
    );
    other.close(GENEROUS).unwrap();
    assert!(
        peer.accepted().is_empty(),
        "nobody is connected to whom nothing proves"
    );
    std::fs::write(path, authority).unwrap();
    one.wait_live(GENEROUS).unwrap();
    one.close(GENEROUS).unwrap();
}
