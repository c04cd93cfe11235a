//! How long a caller waits to get, and to give back, a shared line: against a simulator that answers at once.
//!
//! `cargo bench --bench lifecycle`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::time::Duration;

use divan::Bencher;
use trunkline::{
    Manager, StreamHandle,
    alpaca::{self, MarketData},
    sim::{Sim, SimConfig},
};

const LONG: Duration = Duration::from_secs(20);

fn main() {
    divan::main();
}

fn quiet() -> Sim {
    let mut config = SimConfig::default();
    config.rate = 0;
    Sim::start(config).unwrap()
}

fn live(sim: &Sim) -> StreamHandle<MarketData> {
    let feed = Manager::global()
        .open(&sim.stocks(), &sim.credentials())
        .unwrap();
    feed.wait_live(LONG).unwrap();
    feed
}

/// A further handle of a stream that is live, and its drop.
#[divan::bench]
fn acquire_a_live_stream(bencher: Bencher<'_, '_>) {
    let sim = quiet();
    let held = live(&sim);
    let (venue, credentials) = (sim.stocks(), sim.credentials());
    bencher.bench_local(|| Manager::global().open(&venue, &credentials).unwrap());
    drop(held);
}

/// A clone of a handle, and its drop.
#[divan::bench]
fn clone_a_handle(bencher: Bencher<'_, '_>) {
    let sim = quiet();
    let held = live(&sim);
    bencher.bench_local(|| held.clone());
}

/// From `open` to live: a thread, a socket, an upgrade and an authentication.
#[divan::bench(sample_size = 1, sample_count = 200)]
fn open_to_live(bencher: Bencher<'_, '_>) {
    let sim = quiet();
    bencher.bench_local(|| drop(live(&sim)));
}

/// From the last drop to the joined thread, close handshake included.
#[divan::bench(sample_size = 1, sample_count = 200)]
fn last_drop(bencher: Bencher<'_, '_>) {
    let sim = quiet();
    bencher.with_inputs(|| live(&sim)).bench_local_values(drop);
}

/// From `subscribe` to the venue's confirmation.
#[divan::bench(sample_size = 1, sample_count = 200)]
fn subscribe_to_confirmed(bencher: Bencher<'_, '_>) {
    let sim = quiet();
    let feed = live(&sim);
    // A symbol of its own each time: one that is on the line already is confirmed without asking.
    let mut symbols = (0..).map(|number| format!("S{number}"));
    bencher.bench_local(|| {
        let symbol = symbols.next();
        let quotes = feed.subscribe(alpaca::quotes(symbol)).unwrap();
        quotes.wait_confirmed(LONG).unwrap();
    });
}
