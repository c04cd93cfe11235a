//! A reader that sleeps harms nobody, costs no memory without bound, and learns how much it lost (R10).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use common::{GENEROUS, spawn, until};
use peak_alloc::PeakAlloc;
use trunkline::{
    Manager, Overflow, Update, alpaca,
    sim::{Sim, SimConfig},
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

const QUEUE: usize = 1_000;

/// The only test of its binary: it measures the heap of the whole process. How many events pass by the sleeper can be
/// set, as can their rate: `TRUNKLINE_SLEEPER=1500000,50000` is half a minute.
#[test]
fn a_sleeper_costs_the_others_nothing_and_learns_what_it_lost() {
    let setting = std::env::var("TRUNKLINE_SLEEPER").unwrap_or_else(|_| "40000,20000".to_owned());
    let (events, rate) = setting.split_once(',').unwrap();
    let (events, rate): (u64, u32) = (events.parse().unwrap(), rate.parse().unwrap());

    let mut config = SimConfig::default();
    config.rate = rate;
    let sim = Sim::start(config).unwrap();
    let feed = Manager::new()
        .open(&sim.stocks(), &sim.credentials())
        .unwrap();
    let sleeper = feed
        .subscribe(alpaca::trades(["*"]).queue(QUEUE, Overflow::DropOldest))
        .unwrap();
    let reader = feed.subscribe(alpaca::trades(["*"])).unwrap();
    reader.wait_confirmed(GENEROUS).unwrap();
    sleeper.wait_confirmed(GENEROUS).unwrap();

    let awake = spawn(move || {
        let mut last = std::collections::HashMap::new();
        let mut read = 0;
        while read < events {
            match reader.recv_timeout(GENEROUS).unwrap() {
                Update::Event(event) => {
                    let trade = event.trade().unwrap();
                    let before = last.insert(trade.symbol.clone(), trade.id.unwrap());
                    assert!(
                        before.is_none_or(|before| trade.id == Some(before + 1)),
                        "{trade} after {before:?}"
                    );
                    read += 1;
                }
                Update::Notice(_) => {}
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(reader.health().events_dropped, 0);
    });
    until("the sleeper's queue is full", || {
        sleeper.health().events_dropped > 0
    });
    let full = HEAP.current_usage();
    awake.join().unwrap();
    let grown = HEAP.current_usage().saturating_sub(full);
    assert!(
        grown < 4 << 20,
        "{grown} bytes while {events} events passed a queue of {QUEUE}"
    );

    let health = sleeper.health();
    assert!(health.events_routed >= events, "{health}");
    let mut dropped = None;
    let first = loop {
        match sleeper.recv_timeout(GENEROUS).unwrap() {
            Update::Event(event) => break event,
            Update::Dropped(hole) => dropped = Some(hole.count),
            Update::Notice(_) => {}
            other => panic!("{other:?}"),
        }
    };
    let dropped = dropped.expect("the hole comes first");
    assert!(
        dropped + QUEUE as u64 >= events,
        "{dropped} dropped, then {}",
        &*first
    );
}
