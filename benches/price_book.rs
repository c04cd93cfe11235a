//! What it costs to ask a price book, while nothing comes and while quotes and trades pour in.
//!
//! `cargo bench --bench price_book`

#![allow(
    missing_docs,
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a bench fails by panicking, and has its own clock"
)]

use std::{
    hint::black_box,
    thread,
    time::{Duration, Instant},
};

use divan::Bencher;
use parking_lot::Mutex;
use trunkline::{
    Manager, PriceBook,
    sim::{Sim, SimConfig},
};

const LONG: Duration = Duration::from_secs(20);

fn main() {
    divan::main();
}

/// What happens to the book while it is read.
#[derive(Clone, Copy, Debug)]
enum Load {
    /// Nothing.
    Alone,
    /// As much as the simulator sends: some hundred thousand events per second, every other one for the symbol that is
    /// read.
    Flood,
}

const LOADS: [Load; 2] = [Load::Alone, Load::Flood];

/// A book of this many symbols, `AAPL` among them, that has prices.
fn book(load: Load, symbols: usize) -> (Sim, PriceBook) {
    let mut config = SimConfig::default();
    config.symbols = vec!["AAPL".into(), "MSFT".into()];
    config.batch = 20;
    config.rate = match load {
        Load::Alone => 1_000,
        Load::Flood => 400_000,
    };
    let sim = Sim::start(config).unwrap();
    let feed = Manager::new()
        .open(&sim.stocks(), &sim.credentials())
        .unwrap();
    let others = (2..symbols).map(|number| format!("S{number}"));
    let book = feed
        .price_book(
            ["AAPL".to_owned(), "MSFT".to_owned()]
                .into_iter()
                .chain(others),
        )
        .unwrap();
    book.wait_price("AAPL", LONG, LONG).unwrap();
    book.wait_fresh("AAPL", LONG, LONG).unwrap();
    while book.trade("AAPL", LONG).value().is_none() {
        thread::yield_now();
    }
    if matches!(load, Load::Alone) {
        sim.pause_data();
    }
    (sim, book)
}

/// A symbol's handle.
#[divan::bench(args = LOADS)]
fn quote_by_handle(bencher: Bencher<'_, '_>, load: Load) {
    let (_sim, book) = book(load, 2);
    let price = book.symbol("AAPL").unwrap();
    bencher.bench_local(|| price.quote(LONG));
}

#[divan::bench(args = LOADS)]
fn trade_by_handle(bencher: Bencher<'_, '_>, load: Load) {
    let (_sim, book) = book(load, 2);
    let price = book.symbol("AAPL").unwrap();
    bencher.bench_local(|| price.trade(LONG));
}

#[divan::bench(args = LOADS)]
fn best_price_by_handle(bencher: Bencher<'_, '_>, load: Load) {
    let (_sim, book) = book(load, 2);
    let price = book.symbol("AAPL").unwrap();
    bencher.bench_local(|| price.best_price(LONG));
}

/// By name, in a book of so many symbols.
#[divan::bench(args = [2, 30, 1_000])]
fn quote_by_name(bencher: Bencher<'_, '_>, symbols: usize) {
    let (_sim, book) = book(Load::Alone, symbols);
    bencher.bench_local(|| book.quote(black_box("AAPL"), LONG));
}

/// By name, from so many threads at once.
#[divan::bench(args = LOADS, threads = [2, 8])]
fn quote_by_name_from_threads(bencher: Bencher<'_, '_>, load: Load) {
    let (_sim, book) = book(load, 30);
    bencher.bench(|| book.quote(black_box("AAPL"), LONG));
}

/// What every reading contains: a look at the clock.
#[divan::bench]
fn baseline_clock() -> Instant {
    Instant::now()
}

/// The same words behind a lock, with the clock: what a cell could have been.
#[divan::bench(threads = [1, 8])]
fn baseline_mutex(bencher: Bencher<'_, '_>) {
    let words = Mutex::new([1_u64; 11]);
    bencher.bench(|| (*words.lock(), Instant::now()));
}
