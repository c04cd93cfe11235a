//! Opening and closing, over and over, leaves threads, descriptors and heap as they were (R1, R4).

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test fails by panicking"
)]

mod common;

use std::time::Duration;

use common::{GENEROUS, until};
use peak_alloc::PeakAlloc;
use trunkline::{
    Manager, Update, alpaca,
    sim::{Sim, SimConfig},
};

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// The only test of its binary: it counts what the whole process holds.
#[test]
fn a_thousand_cycles_leave_threads_descriptors_and_heap_as_they_were() {
    let mut config = SimConfig::default();
    config.rate = 0;
    let sim = Sim::start(config).unwrap();
    let manager = Manager::new();
    let cycle = |seed: u32| {
        let feed = manager.open(&sim.stocks(), &sim.credentials()).unwrap();
        let quotes = feed.subscribe(alpaca::quotes(["AAPL"])).unwrap();
        // Some are ended while they connect, some live, some with an answer on its way.
        match seed % 3 {
            0 => {}
            1 => feed.wait_live(GENEROUS).unwrap(),
            _ => {
                quotes.wait_confirmed(GENEROUS).unwrap();
                assert!(matches!(
                    quotes.recv_timeout(GENEROUS),
                    Ok(Update::Notice(_))
                ));
            }
        }
        if seed.is_multiple_of(2) {
            drop(feed);
            drop(quotes);
        } else {
            drop(quotes);
            feed.close(Duration::from_secs(10)).unwrap();
        }
    };
    let held = || {
        until("the simulator has seen every end", || {
            sim.stats().connections_open == 0
        });
        (entries("task"), entries("fd"), HEAP.current_usage())
    };
    (0..200).for_each(cycle);
    let (threads, descriptors, before) = held();
    (0..1_000).for_each(cycle);
    until("every thread is gone", || entries("task") <= threads);
    until("every descriptor is closed", || {
        entries("fd") <= descriptors
    });
    let (.., after) = held();
    // Tables that grew once keep their memory. What leaks does so in each cycle.
    let grown = after.saturating_sub(before);
    assert!(
        grown < 64_000,
        "{grown} bytes in 1,000 cycles ({before} before)"
    );
}

/// How many entries this process has in one of its `/proc` directories.
fn entries(directory: &str) -> usize {
    std::fs::read_dir(format!("/proc/self/{directory}"))
        .unwrap()
        .count()
}
