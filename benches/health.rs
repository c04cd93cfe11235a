//! What a health snapshot costs, at rest and while the line is flooded.
//!
//! `cargo bench --bench health`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use std::time::Duration;

use divan::Bencher;
use trunkline::{
    Manager, StreamHandle, Subscription,
    alpaca::{self, MarketData},
    market::TradeEvent,
    sim::{Sim, SimConfig},
};

const LONG: Duration = Duration::from_secs(20);

fn main() {
    divan::main();
}

/// A line with so many subscriptions of ten symbols each, and so many events a second.
struct Line {
    feed: StreamHandle<MarketData>,
    subscriptions: Vec<Subscription<TradeEvent>>,
    _sim: Sim,
}

impl Line {
    fn new(subscriptions: usize, rate: u32) -> Self {
        let mut config = SimConfig::default();
        config.rate = rate;
        let sim = Sim::start(config).unwrap();
        let feed = Manager::new()
            .open(&sim.stocks(), &sim.credentials())
            .unwrap();
        feed.wait_live(LONG).unwrap();
        let subscribe = |_| {
            let symbols = (0..10).map(|number| format!("S{number}"));
            // Nobody reads: the queue stays at its length.
            let trades = alpaca::trades(symbols).conflate();
            let trades = feed.subscribe(trades).unwrap();
            trades.wait_confirmed(LONG).unwrap();
            trades
        };
        let subscriptions: Vec<_> = (0..subscriptions).map(subscribe).collect();
        if rate > 0 {
            // The flood has begun.
            assert!(
                subscriptions[0]
                    .iter()
                    .any(|update| update.event().is_ok_and(|event| event.is_some()))
            );
        }
        Self {
            subscriptions,
            feed,
            _sim: sim,
        }
    }
}

const QUIET: u32 = 0;
const FLOOD: u32 = 100_000;

/// The whole stream's, as an operator asks: about 0.7 µs for each subscription, most of it the names of its topics.
#[divan::bench(args = [1, 10, 100], consts = [QUIET, FLOOD], sample_count = 200)]
fn of_a_stream<const RATE: u32>(bencher: Bencher<'_, '_>, subscriptions: usize) {
    let line = Line::new(subscriptions, RATE);
    bencher.bench_local(|| line.feed.health());
}

/// One subscription's, as a reader asks of itself.
#[divan::bench(consts = [QUIET, FLOOD], sample_count = 200)]
fn of_a_subscription<const RATE: u32>(bencher: Bencher<'_, '_>) {
    let line = Line::new(10, RATE);
    bencher.bench_local(|| line.subscriptions[0].health());
}

/// As text, for a human.
#[divan::bench(args = [1, 100], sample_count = 200)]
fn shown(bencher: Bencher<'_, '_>, subscriptions: usize) {
    let line = Line::new(subscriptions, QUIET);
    let health = line.feed.health();
    bencher.bench_local(|| health.to_string());
}
