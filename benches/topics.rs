//! What many topics cost: the time for each, from 100 to 100,000 of them, and what a busy neighbor notices meanwhile.
//!
//! `cargo bench --bench topics`. Without `--bench`, by `cargo test`, it is a quick look that everything works.
//!
//! - *One subscription* and *one each* are without a socket: the topic table and the router alone.
//! - *At the simulator's pace*: a loopback line whose venue answers each request with all that is subscribed to, and sends
//!   trades to another subscriber all the while. An answer has to be read, so its cost is that of the topics it lists.

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking, prints a table, and has a thread of its own"
)]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use trunkline::{
    Manager, MarketEvent, Overflow, Subscription, Topics, Update,
    alpaca::{self, Feed},
    sim::{Sim, SimConfig},
    testing,
};

const LONG: Duration = Duration::from_secs(120);

fn main() {
    let is_bench = std::env::args().any(|argument| argument == "--bench");
    let sizes: &[usize] = if is_bench {
        &[100, 1_000, 10_000, 100_000]
    } else {
        &[100, 1_000]
    };
    println!("| topics | one subscription, µs each | one each, µs | given up again, µs |");
    println!("|--:|--:|--:|--:|");
    for size in sizes {
        let (together, apart, given_up) = (one_subscription(*size), one_each(*size), drops(*size));
        println!("| {size} | {together:.2} | {apart:.2} | {given_up:.2} |");
    }
    let (count, events_per_second) = if is_bench { (5_000, 2_000) } else { (200, 500) };
    println!();
    println!(
        "at the simulator's pace, {count} subscriptions of one symbol, {events_per_second} events a second for another:"
    );
    for waits in [false, true] {
        let (took, late) = at_the_pace(count, events_per_second, waits);
        let how = if waits {
            "each confirmed before the next"
        } else {
            "confirmed in the end"
        };
        println!("- {how}: {took:.2?} in all; the other's trades late by {late}");
    }
}

fn symbol(number: usize) -> String {
    format!("S{number}")
}

fn micros_each(took: Duration, count: usize) -> f64 {
    took.as_secs_f64() * 1e6 / count as f64
}

fn timed<R>(what: impl FnOnce() -> R) -> (Duration, R) {
    let start = now();
    let result = what();
    (now() - start, result)
}

fn now() -> Duration {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn one_subscription(count: usize) -> f64 {
    let (_feed, handle) = testing::line(alpaca::stocks(Feed::Sip));
    let topics = alpaca::quotes((0..count).map(symbol));
    let (took, quotes) = timed(|| {
        let quotes = handle.subscribe(topics).unwrap();
        quotes.wait_confirmed(LONG).unwrap();
        quotes
    });
    drop(quotes);
    micros_each(took, count)
}

fn one_each(count: usize) -> f64 {
    let (_feed, handle) = testing::line(alpaca::stocks(Feed::Sip));
    let (took, held) = timed(|| {
        let subscribe = |number| handle.subscribe(alpaca::quotes([symbol(number)])).unwrap();
        (0..count).map(subscribe).collect::<Vec<_>>()
    });
    held.last().unwrap().wait_confirmed(LONG).unwrap();
    micros_each(took, count)
}

fn drops(count: usize) -> f64 {
    let (_feed, handle) = testing::line(alpaca::stocks(Feed::Sip));
    let subscribe = |number| handle.subscribe(alpaca::quotes([symbol(number)])).unwrap();
    let held: Vec<_> = (0..count).map(subscribe).collect();
    let (took, ()) = timed(|| drop(held));
    micros_each(took, count)
}

/// How long all of it takes, and by how much the trades of another subscriber are late, from the simulator's stamp to the reader.
fn at_the_pace(count: usize, rate: u32, waits: bool) -> (Duration, String) {
    let mut config = SimConfig::default();
    config.rate = rate;
    let sim = Sim::start(config).unwrap();
    let feed = Manager::new()
        .open(&sim.stocks(), &sim.credentials())
        .unwrap();
    feed.wait_live(LONG).unwrap();
    let topics = Topics::<MarketEvent>::mixed().and(alpaca::trades(["*"]));
    let other: Subscription<MarketEvent> = feed
        .subscribe(topics.queue(1 << 20, Overflow::DropOldest))
        .unwrap();
    other.wait_confirmed(LONG).unwrap();
    let is_over = AtomicBool::new(false);
    let over = &is_over;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || lateness(&other, over));
        let (took, held) = timed(|| {
            let subscribe = |number| {
                let quotes = feed.subscribe(alpaca::quotes([symbol(number)])).unwrap();
                if waits {
                    quotes.wait_confirmed(LONG).unwrap();
                }
                quotes
            };
            let held: Vec<_> = (0..count).map(subscribe).collect();
            for quotes in &held {
                quotes.wait_confirmed(LONG).unwrap();
            }
            held
        });
        is_over.store(true, Ordering::Relaxed);
        let late = reader.join().unwrap();
        drop(held);
        (took, late)
    })
}

fn lateness(trades: &Subscription<MarketEvent>, is_over: &AtomicBool) -> String {
    let mut late: Vec<Duration> = Vec::new();
    while !is_over.load(Ordering::Relaxed) {
        let Ok(Update::Event(event)) = trades.recv_timeout(Duration::from_millis(20)) else {
            continue;
        };
        let MarketEvent::Trade(trade) = &*event else {
            continue;
        };
        let sent = Duration::from_nanos(trade.timestamp.as_nanos().max(0) as u64);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        late.push(now.saturating_sub(sent));
    }
    late.sort();
    let at = |share: f64| late.get((late.len() as f64 * share) as usize).copied();
    let shown =
        |time: Option<Duration>| time.map_or_else(String::new, |time| format!("{time:.1?}"));
    format!(
        "{} (median), {} (99 %), {} (most), of {}",
        shown(at(0.5)),
        shown(at(0.99)),
        shown(late.last().copied()),
        late.len()
    )
}
