//! What a stream that waits for data holds on the heap. A binary of its own: the allocator counts all of the process.
#![allow(clippy::unwrap_used, reason = "a test: it panics")]

#[allow(dead_code, reason = "several binaries share it")]
mod example;
mod support;

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, Stdio},
};

use peak_alloc::PeakAlloc;
use support::{WAIT, credentials, quick};
use trunkline::{
    Manager,
    alpaca::{self, Feed},
};

use self::example::example;

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

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
