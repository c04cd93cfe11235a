//! What it costs to make events of a frame, by codec, kind of message and messages per frame. `items/s` counts messages.
//!
//! - `usual`: as the venue usually writes them.
//! - `unusual`: the same in a way that the scanner leaves to serde, whole frames of it.
//! - `floor`: serde into a struct of binary floats that borrows its texts and reads no time, as a program would do that
//!   reads for itself alone.
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
use serde::{Deserialize, de::IgnoredAny};
use trunkline::{
    Credentials, Timestamp,
    alpaca::{self, Codec, Feed, MarketDataSession},
    venue::{Frame, Output, Session, Venue},
};

const PER_FRAME: [usize; 3] = [1, 10, 50];

fn main() {
    divan::main();
}

macro_rules! benches {
    ($($kind:ident as $floor:ident),+ $(,)?) => {
        #[divan::bench_group]
        mod json {
            $(mod $kind {
                use crate::*;

                #[divan::bench(args = PER_FRAME)]
                fn usual(bencher: Bencher<'_, '_>, per_frame: usize) {
                    session(bencher, Codec::Json, per_frame, frames(per_frame, $kind, json));
                }

                #[divan::bench(args = PER_FRAME)]
                fn unusual(bencher: Bencher<'_, '_>, per_frame: usize) {
                    let mut frames = frames(per_frame, $kind, json);
                    for frame in &mut frames {
                        frame.insert(1, b' ');
                    }
                    session(bencher, Codec::Json, per_frame, frames);
                }

                #[divan::bench(args = PER_FRAME)]
                fn floor(bencher: Bencher<'_, '_>, per_frame: usize) {
                    let frames = frames(per_frame, $kind, json);
                    each_frame(bencher, per_frame, &frames, |frame| {
                        let text = str::from_utf8(frame).unwrap();
                        let all: Vec<$floor<'_, &str>> = serde_json::from_str(text).unwrap();
                        black_box(all);
                    });
                }
            })+
        }

        #[divan::bench_group]
        mod msgpack {
            $(mod $kind {
                use crate::*;

                #[divan::bench(args = PER_FRAME)]
                fn usual(bencher: Bencher<'_, '_>, per_frame: usize) {
                    session(bencher, Codec::MessagePack, per_frame, frames(per_frame, $kind, msgpack));
                }

                #[divan::bench(args = PER_FRAME)]
                fn unusual(bencher: Bencher<'_, '_>, per_frame: usize) {
                    let frames = frames(per_frame, $kind, msgpack_in_wide_maps);
                    session(bencher, Codec::MessagePack, per_frame, frames);
                }

                #[divan::bench(args = PER_FRAME)]
                fn floor(bencher: Bencher<'_, '_>, per_frame: usize) {
                    let frames = frames(per_frame, $kind, msgpack);
                    each_frame(bencher, per_frame, &frames, |frame| {
                        let all: Vec<$floor<'_, IgnoredAny>> = rmp_serde::from_slice(frame).unwrap();
                        black_box(all);
                    });
                }
            })+
        }
    };
}
benches!(
    quote as QuoteOfFloats,
    trade as TradeOfFloats,
    bar as BarOfFloats
);

#[derive(Deserialize)]
#[expect(dead_code, reason = "what counts is that they are read")]
struct QuoteOfFloats<'a, Time> {
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
    t: Time,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what counts is that they are read")]
struct TradeOfFloats<'a, Time> {
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
    t: Time,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "what counts is that they are read")]
struct BarOfFloats<'a, Time> {
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
    t: Time,
}

/// From the frame to the events, which are dropped at once.
fn session(bencher: Bencher<'_, '_>, codec: Codec, per_frame: usize, frames: Vec<Vec<u8>>) {
    let now = Instant::now();
    let mut session = live(codec);
    each_frame(bencher, per_frame, &frames, |frame| {
        let mut out = Output::default();
        session.handle_frame(Frame::Binary(frame), &mut out.context(now));
        assert_eq!(out.events().count(), per_frame);
        black_box(out);
    });
}

fn each_frame(
    bencher: Bencher<'_, '_>,
    per_frame: usize,
    frames: &[Vec<u8>],
    mut read: impl FnMut(&[u8]),
) {
    let mut frames = frames.iter().cycle();
    bencher.counter(ItemsCount::new(per_frame)).bench_local(|| {
        read(frames.next().unwrap());
    });
}

fn live(codec: Codec) -> MarketDataSession {
    let now = Instant::now();
    let credentials = Credentials::new("PKEXAMPLE", "sEXAMPLE").unwrap();
    let mut session = alpaca::stocks(Feed::Sip).codec(codec).session(credentials);
    for message in ["connected", "authenticated"] {
        let message = vec![
            ("T", Value::Text("success".into())),
            ("msg", Value::Text(message.into())),
        ];
        let frame = match codec {
            Codec::MessagePack => msgpack(&[message]),
            _ => json(&[message]),
        };
        session.handle_frame(Frame::Binary(&frame), &mut Output::default().context(now));
    }
    session
}

type Message = Vec<(&'static str, Value)>;

enum Value {
    Text(String),
    Texts(&'static [&'static str]),
    Price(String),
    Whole(u64),
    /// Seconds and nanoseconds since 1970.
    Time(i64, u32),
}

/// So many different messages that no branch predictor knows them by heart.
fn frames(
    per_frame: usize,
    message: fn(&mut Numbers) -> Message,
    encode: fn(&[Message]) -> Vec<u8>,
) -> Vec<Vec<u8>> {
    let mut numbers = Numbers(1);
    (0..5_000 / per_frame)
        .map(|_| {
            let messages: Vec<_> = (0..per_frame).map(|_| message(&mut numbers)).collect();
            encode(&messages)
        })
        .collect()
}

fn json(messages: &[Message]) -> Vec<u8> {
    let message = |message: &Message| {
        let pairs: Vec<_> = message
            .iter()
            .map(|(key, value)| format!("\"{key}\":{}", text(value)))
            .collect();
        format!("{{{}}}", pairs.join(","))
    };
    let messages: Vec<_> = messages.iter().map(message).collect();
    format!("[{}]", messages.join(",")).into_bytes()
}

fn text(value: &Value) -> String {
    match value {
        Value::Text(text) => format!("\"{text}\""),
        Value::Texts(texts) => format!("{texts:?}").replace(' ', ""),
        Value::Price(price) => price.clone(),
        Value::Whole(whole) => whole.to_string(),
        Value::Time(seconds, nanos) => {
            format!(
                "\"{}\"",
                Timestamp::from_nanos(seconds * 1_000_000_000 + i64::from(*nanos))
            )
        }
    }
}

fn msgpack(messages: &[Message]) -> Vec<u8> {
    pack(messages, |bytes, len| bytes.push(0x80 + len as u8))
}

/// With lengths in two bytes that would fit into half of one.
fn msgpack_in_wide_maps(messages: &[Message]) -> Vec<u8> {
    pack(messages, |bytes, len| bytes.extend([0xde, 0, len as u8]))
}

fn pack(messages: &[Message], write_map: fn(&mut Vec<u8>, usize)) -> Vec<u8> {
    use rmp::encode;
    let mut bytes = Vec::new();
    encode::write_array_len(&mut bytes, messages.len() as u32).unwrap();
    for message in messages {
        write_map(&mut bytes, message.len());
        for (key, value) in message {
            encode::write_str(&mut bytes, key).unwrap();
            match value {
                Value::Text(text) => encode::write_str(&mut bytes, text).unwrap(),
                Value::Texts(texts) => {
                    encode::write_array_len(&mut bytes, texts.len() as u32).unwrap();
                    for text in *texts {
                        encode::write_str(&mut bytes, text).unwrap();
                    }
                }
                Value::Price(price) => {
                    encode::write_f64(&mut bytes, price.parse().unwrap()).unwrap();
                }
                Value::Whole(whole) => drop(encode::write_uint(&mut bytes, *whole).unwrap()),
                Value::Time(seconds, nanos) => {
                    encode::write_ext_meta(&mut bytes, 8, -1).unwrap();
                    bytes.extend((u64::from(*nanos) << 34 | *seconds as u64).to_be_bytes());
                }
            }
        }
    }
    bytes
}

fn quote(numbers: &mut Numbers) -> Message {
    let (seconds, nanos) = numbers.time();
    vec![
        ("T", Value::Text("q".into())),
        ("S", Value::Text(numbers.symbol())),
        ("bx", Value::Text(numbers.exchange())),
        ("bp", Value::Price(numbers.price())),
        ("bs", Value::Whole(numbers.size())),
        ("ax", Value::Text(numbers.exchange())),
        ("ap", Value::Price(numbers.price())),
        ("as", Value::Whole(numbers.size())),
        ("c", Value::Texts(&["R"])),
        ("z", Value::Text("C".into())),
        ("t", Value::Time(seconds, nanos)),
    ]
}

fn trade(numbers: &mut Numbers) -> Message {
    let (seconds, nanos) = numbers.time();
    vec![
        ("T", Value::Text("t".into())),
        ("S", Value::Text(numbers.symbol())),
        ("i", Value::Whole(numbers.next(10_000_000))),
        ("x", Value::Text(numbers.exchange())),
        ("p", Value::Price(numbers.price())),
        ("s", Value::Whole(numbers.size())),
        ("c", Value::Texts(&["@", "I"])),
        ("z", Value::Text("A".into())),
        ("t", Value::Time(seconds, nanos)),
    ]
}

fn bar(numbers: &mut Numbers) -> Message {
    let (seconds, _) = numbers.time();
    vec![
        ("T", Value::Text("b".into())),
        ("S", Value::Text(numbers.symbol())),
        ("o", Value::Price(numbers.price())),
        ("h", Value::Price(numbers.price())),
        ("l", Value::Price(numbers.price())),
        ("c", Value::Price(numbers.price())),
        ("v", Value::Whole(numbers.next(1_000_000))),
        ("n", Value::Whole(numbers.next(10_000))),
        (
            "vw",
            Value::Price(format!("{}{:03}", numbers.price(), numbers.next(999) + 1)),
        ),
        ("t", Value::Time(seconds / 60 * 60, 0)),
    ]
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

    fn symbol(&mut self) -> String {
        const SYMBOLS: [&str; 8] = ["AAPL", "F", "KO", "GOOGL", "SPY", "BRK.B", "TSLA", "PEP"];
        SYMBOLS[self.next(8) as usize].to_owned()
    }

    fn exchange(&mut self) -> String {
        char::from(b"VQPZ"[self.next(4) as usize]).to_string()
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

    /// Seconds and nanoseconds since 1970, in March 2026.
    fn time(&mut self) -> (i64, u32) {
        let nanos = match self.next(4) {
            0 => self.next(1_000_000_000),
            _ => self.next(1_000_000) * 1_000,
        };
        (1_773_705_600 + self.next(86_400) as i64, nanos as u32)
    }
}
