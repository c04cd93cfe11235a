//! What it costs to make events of a frame, by kind of message and messages per frame. `items/s` counts messages.
//!
//! - `usual`: as the venue usually writes them.
//! - `unusual`: the same with a blank in front, which sends the whole frame to serde.
//! - `floor`: serde into a struct of binary floats that borrows its texts and keeps no timestamp, as a program would do
//!   that reads for itself alone.
//!
//! `cargo bench --bench decode`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking, and stands on the caller's side of the clock"
)]

use std::{hint::black_box, time::Instant};

use divan::{Bencher, counter::ItemsCount};
use serde::Deserialize;
use trunkline::{
    Credentials,
    alpaca::{self, Feed, MarketDataSession},
    venue::{Frame, Output, Session, Venue},
};

const PER_FRAME: [usize; 3] = [1, 10, 50];

fn main() {
    divan::main();
}

#[divan::bench_group]
mod quote {
    use super::*;

    #[divan::bench(args = PER_FRAME)]
    fn usual(bencher: Bencher<'_, '_>, per_frame: usize) {
        session(bencher, per_frame, "[", quote);
    }

    #[divan::bench(args = PER_FRAME)]
    fn unusual(bencher: Bencher<'_, '_>, per_frame: usize) {
        session(bencher, per_frame, "[ ", quote);
    }

    #[divan::bench(args = PER_FRAME)]
    fn floor(bencher: Bencher<'_, '_>, per_frame: usize) {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "what counts is that they are read")]
        struct Quote<'a> {
            #[serde(rename = "T")]
            kind: &'a str,
            #[serde(rename = "S")]
            symbol: &'a str,
            bx: &'a str,
            bp: f64,
            bs: f64,
            ax: &'a str,
            ap: f64,
            r#as: f64,
            c: Vec<&'a str>,
            z: &'a str,
            t: &'a str,
        }
        each_frame(bencher, per_frame, "[", quote, |frame| {
            black_box(serde_json::from_str::<Vec<Quote<'_>>>(frame).unwrap());
        });
    }
}

#[divan::bench_group]
mod trade {
    use super::*;

    #[divan::bench(args = PER_FRAME)]
    fn usual(bencher: Bencher<'_, '_>, per_frame: usize) {
        session(bencher, per_frame, "[", trade);
    }

    #[divan::bench(args = PER_FRAME)]
    fn unusual(bencher: Bencher<'_, '_>, per_frame: usize) {
        session(bencher, per_frame, "[ ", trade);
    }

    #[divan::bench(args = PER_FRAME)]
    fn floor(bencher: Bencher<'_, '_>, per_frame: usize) {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "what counts is that they are read")]
        struct Trade<'a> {
            #[serde(rename = "T")]
            kind: &'a str,
            #[serde(rename = "S")]
            symbol: &'a str,
            i: i64,
            x: &'a str,
            p: f64,
            s: f64,
            c: Vec<&'a str>,
            z: &'a str,
            t: &'a str,
        }
        each_frame(bencher, per_frame, "[", trade, |frame| {
            black_box(serde_json::from_str::<Vec<Trade<'_>>>(frame).unwrap());
        });
    }
}

#[divan::bench_group]
mod bar {
    use super::*;

    #[divan::bench(args = PER_FRAME)]
    fn usual(bencher: Bencher<'_, '_>, per_frame: usize) {
        session(bencher, per_frame, "[", bar);
    }

    #[divan::bench(args = PER_FRAME)]
    fn unusual(bencher: Bencher<'_, '_>, per_frame: usize) {
        session(bencher, per_frame, "[ ", bar);
    }

    #[divan::bench(args = PER_FRAME)]
    fn floor(bencher: Bencher<'_, '_>, per_frame: usize) {
        #[derive(Deserialize)]
        #[expect(dead_code, reason = "what counts is that they are read")]
        struct Bar<'a> {
            #[serde(rename = "T")]
            kind: &'a str,
            #[serde(rename = "S")]
            symbol: &'a str,
            o: f64,
            h: f64,
            l: f64,
            c: f64,
            v: f64,
            n: u64,
            vw: f64,
            t: &'a str,
        }
        each_frame(bencher, per_frame, "[", bar, |frame| {
            black_box(serde_json::from_str::<Vec<Bar<'_>>>(frame).unwrap());
        });
    }
}

/// From the frame to the events, which are dropped at once.
fn session(
    bencher: Bencher<'_, '_>,
    per_frame: usize,
    open: &str,
    message: fn(&mut Numbers) -> String,
) {
    let now = Instant::now();
    let mut session = live();
    each_frame(bencher, per_frame, open, message, |frame| {
        let mut out = Output::new(now);
        session.handle_frame(now, Frame::Text(frame), &mut out);
        assert_eq!(out.events().count(), per_frame);
        black_box(out);
    });
}

/// Runs over so many different messages that no branch predictor knows them by heart.
fn each_frame(
    bencher: Bencher<'_, '_>,
    per_frame: usize,
    open: &str,
    message: fn(&mut Numbers) -> String,
    mut read: impl FnMut(&str),
) {
    let mut numbers = Numbers(1);
    let frames: Vec<String> = (0..5_000 / per_frame)
        .map(|_| {
            let messages: Vec<_> = (0..per_frame).map(|_| message(&mut numbers)).collect();
            format!("{open}{}]", messages.join(","))
        })
        .collect();
    let mut frames = frames.iter().cycle();
    bencher.counter(ItemsCount::new(per_frame)).bench_local(|| {
        read(frames.next().unwrap());
    });
}

fn live() -> MarketDataSession {
    let now = Instant::now();
    let credentials = Credentials::new("PKEXAMPLE", "sEXAMPLE").unwrap();
    let mut session = alpaca::stocks(Feed::Sip).session(credentials);
    for message in ["connected", "authenticated"] {
        let frame = format!(r#"[{{"T":"success","msg":"{message}"}}]"#);
        session.handle_frame(now, Frame::Text(&frame), &mut Output::new(now));
    }
    session
}

fn quote(numbers: &mut Numbers) -> String {
    format!(
        r#"{{"T":"q","S":"{}","bx":"{}","bp":{},"bs":{},"ax":"{}","ap":{},"as":{},"c":["R"],"z":"C","t":"{}"}}"#,
        numbers.symbol(),
        numbers.exchange(),
        numbers.price(),
        numbers.size(),
        numbers.exchange(),
        numbers.price(),
        numbers.size(),
        numbers.time(),
    )
}

fn trade(numbers: &mut Numbers) -> String {
    format!(
        r#"{{"T":"t","S":"{}","i":{},"x":"{}","p":{},"s":{},"c":["@","I"],"z":"A","t":"{}"}}"#,
        numbers.symbol(),
        numbers.next(10_000_000),
        numbers.exchange(),
        numbers.price(),
        numbers.size(),
        numbers.time(),
    )
}

fn bar(numbers: &mut Numbers) -> String {
    format!(
        r#"{{"T":"b","S":"{}","o":{},"h":{},"l":{},"c":{},"v":{},"n":{},"vw":{}{},"t":"2026-03-17T14:30:00Z"}}"#,
        numbers.symbol(),
        numbers.price(),
        numbers.price(),
        numbers.price(),
        numbers.price(),
        numbers.next(1_000_000),
        numbers.next(10_000),
        numbers.price(),
        numbers.next(100_000),
    )
}

/// The same pseudo-random numbers in every run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self, below: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }

    fn symbol(&mut self) -> &'static str {
        const SYMBOLS: [&str; 8] = ["AAPL", "F", "KO", "GOOGL", "SPY", "BRK.B", "TSLA", "PEP"];
        SYMBOLS[self.next(8) as usize]
    }

    fn exchange(&mut self) -> char {
        char::from(b"VQPZ"[self.next(4) as usize])
    }

    fn price(&mut self) -> String {
        let whole = match self.next(3) {
            0 => self.next(20),
            1 => self.next(200),
            _ => self.next(2_000),
        };
        format!("{whole}.{:02}", self.next(99) + 1)
    }

    fn size(&mut self) -> u64 {
        match self.next(3) {
            0 => self.next(9) + 1,
            1 => self.next(40) * 100 + 100,
            _ => self.next(300) + 1,
        }
    }

    fn time(&mut self) -> String {
        let digits = if self.next(4) == 0 { 9 } else { 6 };
        let fraction = self.next(1_000_000_000).to_string();
        format!(
            "2026-03-17T{:02}:{:02}:{:02}.{:0<digits$.digits$}Z",
            self.next(24),
            self.next(60),
            self.next(60),
            fraction,
        )
    }
}
