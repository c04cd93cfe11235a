//! What it costs to find those who want an event and to queue it for them: it grows with them, and not with the table.
//! Each event matches one subscription; symbols × subscriptions is the table.
//!
//! `cargo bench --bench dispatch`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    reason = "a bench fails by panicking"
)]

use divan::{Bencher, counter::ItemsCount};
use trunkline::{
    MarketEvent, Overflow, Quote, StreamHandle, Subscription,
    alpaca::{self, Feed, MarketData},
    testing,
};

fn main() {
    divan::main();
}

/// Symbols, and the subscriptions that share them.
const TABLES: [(usize, usize); 3] = [(10, 1), (10_000, 1), (10_000, 1_000)];
const EVENTS: usize = 1_000;

#[divan::bench(args = TABLES, sample_count = 1_000)]
fn one_by_one(bencher: Bencher<'_, '_>, (symbols, subscriptions): (usize, usize)) {
    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    let _held = subscribe(&handle, symbols, subscriptions);
    // In turns that jump about the table, and come to all of it.
    let mut turns = (0..).map(|turn: usize| turn * 7_919 % symbols);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .with_inputs(|| turns.by_ref().take(EVENTS).map(quote).collect::<Vec<_>>())
        .bench_local_values(|quotes| quotes.into_iter().for_each(|quote| feed.event(quote)));
}

/// All symbols, shared out among the subscriptions. Nobody reads: every event pushes the one
/// before it out.
fn subscribe(
    handle: &StreamHandle<MarketData>,
    symbols: usize,
    subscriptions: usize,
) -> Vec<Subscription<Quote>> {
    (0..subscriptions)
        .map(|number| {
            let share = (number..symbols).step_by(subscriptions).map(symbol);
            let topics = alpaca::quotes(share).queue(1, Overflow::DropOldest);
            handle.subscribe(topics).unwrap()
        })
        .collect()
}

fn symbol(number: usize) -> String {
    format!("S{number}")
}

fn quote(number: usize) -> MarketEvent {
    testing::quote(symbol(number), "150.25", "150.27").into()
}
