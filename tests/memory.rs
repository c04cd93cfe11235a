//! What a stream and its queues hold on the heap. A binary of its own: the allocator counts all of the process, and so
//! the tests take turns.
#![allow(clippy::unwrap_used, reason = "a test: it panics")]

#[allow(dead_code, reason = "several binaries share it")]
mod example;
mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use parking_lot::Mutex;
use peak_alloc::PeakAlloc;
use support::{WAIT, credentials, quick};
use trunkline::{
    Manager, MarketEvent, Overflow,
    alpaca::{self, Feed},
    testing,
};

use self::example::example;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;
static TURN: Mutex<()> = Mutex::new(());

/// The simulator in a process of its own, so that its heap is not counted.
struct Simulator(Child);

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_idle_stream_holds_less_than_64_kib() {
    const STREAMS: usize = 8;
    let _turn = TURN.lock();
    let child = example("simulator")
        .args(["--rate", "0"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn();
    let mut simulator = Simulator(child.unwrap());
    let mut said = BufReader::new(simulator.0.stdout.take().unwrap()).lines();
    let url = loop {
        let line = said.next().unwrap().unwrap();
        if let Some(url) = line
            .split_whitespace()
            .find(|word| word.starts_with("ws://"))
        {
            break url.to_owned();
        }
    };

    let venue = alpaca::stocks(Feed::Iex).at(url.parse().unwrap());
    let manager = Manager::with_config(quick()).unwrap();
    let open = |name: String| {
        let feed = manager.open(&venue, &credentials(&name)).unwrap();
        let quotes = feed.subscribe(alpaca::quotes(["AAPL"])).unwrap();
        quotes.wait_confirmed(WAIT).unwrap();
        quotes
    };
    // What the process makes once, and not for each stream.
    drop(open("FIRST".to_owned()));
    let before = HEAP.current_usage();
    let idle: Vec<_> = (0..STREAMS)
        .map(|number| open(format!("IDLE{number}")))
        .collect();
    let each = (HEAP.current_usage() - before) / idle.len();
    assert!(each < 64 << 10, "{each} bytes");
}

#[test]
fn an_event_that_waits_keeps_itself_and_not_the_batch_it_came_in() {
    const BATCHES: usize = 500;
    const BATCH: usize = 400;
    let _turn = TURN.lock();
    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    let few = alpaca::quotes(["FEW"]).queue(BATCHES, Overflow::End);
    let slow = handle.subscribe(few).unwrap();
    let quick = handle.subscribe(alpaca::quotes(["MANY"])).unwrap();
    let batch: Vec<_> = (0..BATCH)
        .map(|at| quote(if at == BATCH / 2 { "FEW" } else { "MANY" }))
        .collect();
    let round = || {
        feed.events(batch.iter().cloned());
        while quick.try_recv().is_ok() {}
    };
    round();
    let before = HEAP.current_usage();
    for _ in 1..BATCHES {
        round();
    }
    let each = HEAP.current_usage().saturating_sub(before) / BATCHES;
    assert_eq!(slow.health().events_queued, BATCHES as u64);
    // A queue's memory grows by doubling.
    assert!(each < 4 * size_of::<MarketEvent>(), "{each} bytes");
}

fn quote(symbol: &str) -> MarketEvent {
    testing::quote(symbol, 1, 2).into()
}
