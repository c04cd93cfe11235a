//! Hosts with several addresses, of both families, some of which hang or serve nobody; names that move; resolvers that
//! fail (RFC 8305, R4).
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::common::{
    FullBacklog, GENEROUS, Peer, brisk, credentials, failure, hurried, open, patient, stocks_at,
    until,
};
use crate::support::logger::{install, records, wait_for};
use parking_lot::Mutex;
use trunkline::{
    Config, ErrorKind, Phase, StreamHandle,
    alpaca::MarketData,
    config::Resolver,
    sim::{Sim, SimConfig},
};

/// A name whose answer the test sets.
#[derive(Clone)]
struct Name(Arc<Mutex<Answer>>);

#[derive(Clone)]
enum Answer {
    Addresses(Vec<SocketAddr>),
    Fails,
    /// Until the other end is dropped.
    Hangs(crossbeam_channel::Receiver<()>),
}

impl Name {
    fn new(addresses: &[SocketAddr]) -> Self {
        Self(Arc::new(Mutex::new(Answer::Addresses(addresses.to_vec()))))
    }

    fn set(&self, answer: Answer) {
        *self.0.lock() = answer;
    }

    fn config(&self) -> Config {
        let mut config = brisk();
        let answer = Arc::clone(&self.0);
        config.resolver = Resolver::new(move |_, _| {
            let answer = answer.lock().clone();
            match answer {
                Answer::Addresses(addresses) => Ok(addresses),
                Answer::Fails => Err(io::Error::other("no server of names answers")),
                Answer::Hangs(until) => {
                    let _ = until.recv();
                    Err(io::ErrorKind::TimedOut.into())
                }
            }
        });
        config
    }
}

fn sim() -> Sim {
    let mut config = SimConfig::default();
    config.rate = 0;
    Sim::start(config).unwrap()
}

fn venue() -> MarketData {
    stocks_at("ws://several.test/v2/iex").with_rules(hurried)
}

fn until_live(feed: &StreamHandle<MarketData>, epoch: u64) {
    until("it is live", || {
        feed.health().epoch >= epoch && feed.phase() == Phase::Live
    });
}

/// An address that accepts, logs in and serves until it is dropped.
fn serving(address: SocketAddr) -> Peer {
    Peer::start_at(address, |line| {
        let mut venue = line.venue();
        venue.log_in();
        venue.serve();
    })
}

fn loopback(last: u8) -> SocketAddr {
    ([127, 0, 0, last], 0).into()
}

/// What worked is asked first from then on: another address that would serve as well sees nobody.
#[test]
fn the_address_that_worked_last_is_tried_first() {
    let full = FullBacklog::new().unwrap();
    let (works, other) = (sim(), serving(loopback(2)));
    let name = Name::new(&[full.address(), works.local_addr()]);
    let mut config = name.config();
    config.setup_timeout = GENEROUS;
    let feed = open(&config, &venue(), &credentials());
    let begun = Instant::now();
    until_live(&feed, 1);
    let first = begun.elapsed();
    name.set(Answer::Addresses(vec![
        full.address(),
        other.address(),
        works.local_addr(),
    ]));
    let begun = Instant::now();
    for epoch in 2..5 {
        works.cut();
        until_live(&feed, epoch);
    }
    let again = begun.elapsed() / 3;
    let health = feed.health();
    assert_eq!(health.counters.attempts, 4, "each attempt succeeds");
    assert_eq!(works.stats().connections_opened, 4);
    assert_eq!(works.stats().most_open_per_key, 1);
    assert_eq!(other.accepted().len(), 0);
    assert!(
        first < GENEROUS / 2,
        "the first address has no share of the time to itself"
    );
    println!("live after {first:?} behind an address that hangs, and again after {again:?}");
}

/// IPv6 comes first in most answers, and does not work in many networks.
#[test]
fn both_families_are_tried() {
    let six = SocketAddr::from((Ipv6Addr::LOCALHOST, 0));
    if std::net::TcpListener::bind(six).is_err() {
        println!("skipped: this machine has no IPv6");
        return;
    }
    let (peer_six, peer_four) = (serving(six), serving(loopback(1)));
    let dead_six = std::net::TcpListener::bind(six)
        .unwrap()
        .local_addr()
        .unwrap();
    let dead_four = std::net::TcpListener::bind(loopback(1))
        .unwrap()
        .local_addr()
        .unwrap();
    for (answer, wanted) in [
        (vec![dead_six, dead_six, peer_four.address()], &peer_four),
        (vec![dead_four, peer_six.address()], &peer_six),
    ] {
        let feed = open(&Name::new(&answer).config(), &venue(), &credentials());
        feed.wait_live(GENEROUS).unwrap();
        assert_eq!(feed.health().counters.attempts, 1, "{answer:?}");
        assert_eq!(wanted.accepted().len(), 1, "{answer:?}");
    }
}

/// A server that accepts and serves nobody must not hide those behind it for ever.
#[test]
fn an_address_that_accepts_and_serves_nobody_is_tried_last_from_then_on() {
    let mute = Peer::start(|line| line.hold());
    let works = sim();
    let name = Name::new(&[mute.address(), works.local_addr()]);
    let mut config = name.config();
    config.setup_timeout = Duration::from_secs(1);
    let feed = open(&config, &venue(), &credentials());
    until_live(&feed, 1);
    for epoch in 2..4 {
        works.cut();
        until_live(&feed, epoch);
    }
    assert_eq!(mute.accepted().len(), 1);
}

#[test]
fn a_name_that_moves_is_followed() {
    let before = serving(loopback(1));
    let after = serving(loopback(2));
    let name = Name::new(&[before.address()]);
    let feed = open(&name.config(), &venue(), &credentials());
    until_live(&feed, 1);
    name.set(Answer::Addresses(vec![after.address()]));
    drop(before);
    until_live(&feed, 2);
    assert_eq!(after.accepted().len(), 1);
}

/// The resolver is often behind the same broken link as the venue, and comes back later.
#[test]
fn addresses_that_worked_are_used_when_the_resolver_fails_or_hangs() {
    install();
    let (release, hangs) = crossbeam_channel::bounded::<()>(0);
    for (broken, says) in [
        (Answer::Fails, "no server of names answers"),
        (Answer::Hangs(hangs), "the resolver does not answer"),
    ] {
        let works = sim();
        let name = Name::new(&[works.local_addr()]);
        let mut config = name.config();
        config.setup_timeout = Duration::from_secs(8);
        let feed = open(&config, &venue(), &credentials());
        until_live(&feed, 1);
        name.set(broken);
        works.cut();
        until_live(&feed, 2);
        assert_eq!(feed.health().counters.attempts, 2, "{says}");
        wait_for(feed.key(), "old_addresses", 1);
        let told = records(feed.key());
        let told: Vec<_> = told
            .iter()
            .filter(|record| record.event() == "old_addresses")
            .collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].message.contains(says), "{told:?}");
        assert_eq!(told[0].level, log::Level::Warn);
    }
    drop(release);
}

/// An answer that never led anywhere is no reason to believe that the name is well known.
#[test]
fn addresses_that_never_worked_are_no_help_to_a_resolver_that_fails() {
    let refusing = std::net::TcpListener::bind(loopback(1))
        .unwrap()
        .local_addr()
        .unwrap();
    let name = Name::new(&[refusing]);
    let mut config = name.config();
    config.backoff.initial = Duration::from_secs(1);
    config.backoff.cap = Duration::from_secs(1);
    let feed = open(&config, &venue(), &credentials());
    let error = failure(&feed);
    assert_eq!(error.code(), "unreachable", "{error:?}");
    assert!(
        format!("{error:?}").contains(&refusing.to_string()),
        "it says which address: {error:?}"
    );
    name.set(Answer::Fails);
    until("the name is not found", || {
        let error = feed.wait_live(Duration::ZERO).unwrap_err();
        matches!(error.kind(), ErrorKind::TimedOut { cause: Some(cause), .. } if cause.code() == "unresolved")
    });
}

/// A set-up that ran out of time says which addresses it waited for.
#[test]
fn a_set_up_that_is_too_late_names_the_addresses_that_hang() {
    let full = FullBacklog::new().unwrap();
    let name = Name::new(&[full.address()]);
    let mut config = patient();
    config.resolver = name.config().resolver;
    config.setup_timeout = Duration::from_millis(300);
    let error = failure(&open(&config, &venue(), &credentials()));
    assert_eq!(
        (error.code(), error.phase()),
        ("lost", Some(Phase::Connecting))
    );
    let says = format!("{}: has not answered", full.address());
    assert!(format!("{error:?}").contains(&says), "{error:?}");
}

/// The machine's own, where it has one: `lookup` in the library's own tests needs none.
#[test]
#[cfg(target_os = "linux")]
fn a_link_local_address_is_reached_through_its_interface() {
    let Ok(table) = std::fs::read_to_string("/proc/net/if_inet6") else {
        return;
    };
    for line in table.lines() {
        let fields: Vec<_> = line.split_whitespace().collect();
        let address = Ipv6Addr::from(u128::from_str_radix(fields[0], 16).unwrap());
        if !address.is_unicast_link_local() {
            continue;
        }
        let number = u32::from_str_radix(fields[1], 16).unwrap();
        let peer = serving(SocketAddrV6::new(address, 0, 0, number).into());
        let port = peer.address().port();
        for zone in [fields[5].to_owned(), number.to_string()] {
            let venue =
                stocks_at(&format!("ws://[{address}%25{zone}]:{port}/v2/iex")).with_rules(hurried);
            let feed = open(&patient(), &venue, &credentials());
            feed.wait_live(GENEROUS).unwrap();
        }
    }
}
