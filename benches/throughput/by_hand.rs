//! The clients that a careful author would write by hand: down to the bare socket, and up to sharing with threads.

use std::{fmt, hint::black_box, io::Read as _, net::TcpStream, sync::Arc, thread};

use anyhow::{Context as _, Result};
use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, SeqAccess, Visitor},
};
use tungstenite::{
    Message, Utf8Bytes, WebSocket, client::client_with_config, protocol::WebSocketConfig,
};

use crate::{
    Workload,
    meter::{self, Figures},
    ready,
    workload::{RING, sent_at},
};

/// A message with everything that the venue says of a quote or a trade. Texts are borrowed, numbers are floats, and
/// the time is left as it came.
#[derive(Deserialize)]
struct Typed<'a> {
    #[serde(rename = "T")]
    kind: &'a str,
    #[serde(rename = "S")]
    symbol: &'a str,
    #[serde(default)]
    bx: &'a str,
    #[serde(default)]
    bp: f64,
    #[serde(default)]
    bs: f64,
    #[serde(default)]
    ax: &'a str,
    #[serde(default)]
    ap: f64,
    #[serde(rename = "as", default)]
    ask_size: f64,
    #[serde(default)]
    i: i64,
    #[serde(default)]
    x: &'a str,
    #[serde(default)]
    p: f64,
    #[serde(default)]
    s: f64,
    #[serde(borrow, default)]
    c: Codes<'a>,
    #[serde(default)]
    z: &'a str,
    t: &'a str,
}

/// The same with texts of its own, so that it can be kept, or handed to somebody.
#[derive(Deserialize)]
#[expect(dead_code, reason = "what is only received is not looked into")]
struct Kept {
    #[serde(rename = "T")]
    kind: String,
    #[serde(rename = "S")]
    symbol: String,
    #[serde(default)]
    bx: String,
    #[serde(default)]
    bp: f64,
    #[serde(default)]
    bs: f64,
    #[serde(default)]
    ax: String,
    #[serde(default)]
    ap: f64,
    #[serde(rename = "as", default)]
    ask_size: f64,
    #[serde(default)]
    i: i64,
    #[serde(default)]
    x: String,
    #[serde(default)]
    p: f64,
    #[serde(default)]
    s: f64,
    #[serde(default)]
    c: Vec<String>,
    #[serde(default)]
    z: String,
    t: String,
}

/// Condition codes, without an allocation.
#[derive(Clone, Copy, Default)]
struct Codes<'a>([&'a str; 4]);

impl<'de: 'a, 'a> Deserialize<'de> for Codes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> Visitor<'de> for Visit {
            type Value = Codes<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("condition codes")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Codes<'de>, A::Error> {
                let mut codes = Codes::default();
                let mut slots = codes.0.iter_mut();
                while let Some(code) = seq.next_element()? {
                    if let Some(slot) = slots.next() {
                        *slot = code;
                    }
                }
                Ok(codes)
            }
        }
        deserializer.deserialize_seq(Visit)
    }
}

/// Hands out the items of a frame one by one.
struct Each<F>(F);

impl<'de, F: FnMut(Typed<'de>)> DeserializeSeed<'de> for Each<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(Typed<'de>)> Visitor<'de> for Each<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element()? {
            (self.0)(item);
        }
        Ok(())
    }
}

fn decode<'a>(text: &'a str, each: impl FnMut(Typed<'a>)) -> Result<()> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    Ok(Each(each).deserialize(&mut deserializer)?)
}

/// Connected, logged in and subscribed to everything.
fn connect(port: u16) -> Result<WebSocket<TcpStream>> {
    let stream = TcpStream::connect(("127.0.0.1", port))?;
    stream.set_nodelay(true)?;
    // The default zero-fills 128 KiB at every read.
    let config = WebSocketConfig::default().read_buffer_size(16 << 10);
    let url = format!("ws://127.0.0.1:{port}/v2/iex");
    let (mut socket, _) =
        client_with_config(url, stream, Some(config)).context("the upgrade failed")?;
    socket.read()?;
    socket.send(Message::text(r#"{"action":"auth","key":"k","secret":"s"}"#))?;
    socket.read()?;
    socket.send(Message::text(
        r#"{"action":"subscribe","trades":["*"],"quotes":["*"]}"#,
    ))?;
    socket.read()?;
    Ok(socket)
}

fn text_of(message: Message) -> Result<Utf8Bytes> {
    match message {
        Message::Text(text) => Ok(text),
        other => anyhow::bail!("a text was expected, not {other:?}"),
    }
}

/// Reads bytes and does nothing with them.
pub fn drain(port: u16, workload: &Workload) -> Result<Figures> {
    let mut stream = connect(port)?.into_inner();
    // At full speed, whole rings are sent.
    let mut left = workload.messages / RING * workload.ring().bytes().len();
    let mut buffer = vec![0; 16 << 10];
    let meter = ready();
    let mut first = 0;
    while left > 0 {
        let read = stream.read(&mut buffer)?;
        anyhow::ensure!(read > 0, "the server ended early");
        if first == 0 {
            first = meter::now();
        }
        black_box(&buffer[..read]);
        left -= read;
    }
    Ok(meter.stop(workload.messages, first, Vec::new()))
}

/// Reads messages and does not look into them.
pub fn frames(port: u16, workload: &Workload) -> Result<Figures> {
    let mut socket = connect(port)?;
    let meter = ready();
    let mut first = 0;
    for _ in 0..workload.messages / workload.per_frame {
        black_box(text_of(socket.read()?)?);
        if first == 0 {
            first = meter::now();
        }
    }
    Ok(meter.stop(workload.messages, first, Vec::new()))
}

/// One thread, nothing shared, messages that can be kept: the floor.
pub fn alone(port: u16, workload: &Workload) -> Result<Figures> {
    receive(port, workload, |text, seen| {
        for message in serde_json::from_str::<Vec<Kept>>(text)? {
            seen.saw(&message.kind, message.i);
            black_box(message);
        }
        Ok(())
    })
}

/// The same with messages that borrow from their frame, and go with it.
pub fn borrowed(port: u16, workload: &Workload) -> Result<Figures> {
    receive(port, workload, |text, seen| {
        decode(text, |message| {
            seen.saw(message.kind, message.i);
            black_box(message);
        })
    })
}

/// What one thread has received.
struct Seen {
    messages: usize,
    paced: bool,
    latencies: Vec<u64>,
}

impl Seen {
    fn saw(&mut self, kind: &str, id: i64) {
        self.messages += 1;
        if self.paced && kind == "t" {
            let late = meter::now().saturating_sub(sent_at(id));
            self.latencies.push(late);
        }
    }
}

fn receive(
    port: u16,
    workload: &Workload,
    mut read: impl FnMut(&str, &mut Seen) -> Result<()>,
) -> Result<Figures> {
    let mut socket = connect(port)?;
    let mut seen = Seen {
        messages: 0,
        paced: workload.rate.is_some(),
        latencies: Vec::with_capacity(workload.latencies()),
    };
    let meter = ready();
    let mut first = 0;
    while seen.messages < workload.messages {
        let text = text_of(socket.read()?)?;
        if first == 0 {
            first = meter::now();
        }
        read(&text, &mut seen)?;
    }
    Ok(meter.stop(workload.messages, first, seen.latencies))
}

/// A message that outlives its frame.
#[expect(dead_code, reason = "what is only received is not looked into")]
struct Owned {
    kind: u8,
    symbol: Box<str>,
    codes: [u8; 3],
    bid: (f64, f64),
    ask: (f64, f64),
    id: i64,
    trade: (f64, f64),
    conditions: [u8; 4],
    time: Box<str>,
}

impl From<Typed<'_>> for Owned {
    fn from(message: Typed<'_>) -> Self {
        let byte = |text: &str| text.bytes().next().unwrap_or(b' ');
        Self {
            kind: byte(message.kind),
            symbol: message.symbol.into(),
            codes: [
                byte(message.bx),
                byte(message.ax),
                byte(if message.x.is_empty() {
                    message.z
                } else {
                    message.x
                }),
            ],
            bid: (message.bp, message.bs),
            ask: (message.ap, message.ask_size),
            id: message.i,
            trade: (message.p, message.s),
            conditions: message.c.0.map(byte),
            time: message.t.into(),
        }
    }
}

/// The floor, and an `Arc` of each message into a channel for each of so many threads.
pub fn shared(port: u16, workload: &Workload, threads: usize) -> Result<Figures> {
    let mut socket = connect(port)?;
    let consumers: Vec<_> = (0..threads)
        .map(|_| {
            let (sender, receiver) = crossbeam_channel::bounded::<Arc<Owned>>(65_536);
            let workload = *workload;
            let thread = thread::spawn(move || {
                let mut latencies = Vec::with_capacity(workload.latencies());
                for message in receiver.iter().take(workload.messages) {
                    if workload.rate.is_some() && message.kind == b't' {
                        latencies.push(meter::now().saturating_sub(sent_at(message.id)));
                    }
                    black_box(message);
                }
                latencies
            });
            (sender, thread)
        })
        .collect();
    let (senders, threads): (Vec<_>, Vec<_>) = consumers.into_iter().unzip();
    let meter = ready();
    let (mut first, mut got) = (0, 0);
    while got < workload.messages {
        let text = text_of(socket.read()?)?;
        if first == 0 {
            first = meter::now();
        }
        decode(&text, |message| {
            got += 1;
            let message = Arc::new(Owned::from(message));
            for sender in &senders {
                let _ = sender.send(Arc::clone(&message));
            }
        })?;
    }
    let mut latencies = Vec::new();
    for thread in threads {
        latencies.extend(thread.join().expect("a consumer does not panic"));
    }
    Ok(meter.stop(workload.messages, first, latencies))
}
