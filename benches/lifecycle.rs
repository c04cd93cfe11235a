//! How long a caller waits to get, and to give back, a shared line: against a simulator that answers at once.
//!
//! `cargo bench --bench lifecycle`

#![allow(
    missing_docs,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a bench fails by panicking, and its threads are its own"
)]

use std::{
    net::{SocketAddr, TcpListener},
    thread,
    time::Duration,
};

use crossbeam_channel::Receiver;
use divan::Bencher;
use trunkline::{
    Credentials, Manager, StreamHandle,
    alpaca::{self, Feed, MarketData},
    sim::{Sim, SimConfig},
};
use tungstenite::Message;

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

/// From `subscribe` to the request's bytes in the hands of a server that blocks for them, and its word of that back in
/// this thread.
#[divan::bench(sample_size = 1, sample_count = 200)]
fn subscribe_to_wire(bencher: Bencher<'_, '_>) {
    let (address, heard) = listener();
    let venue =
        alpaca::stocks(Feed::Test)
            .symbol_budget(None)
            .at(format!("ws://{address}/v2/test").parse().unwrap());
    let credentials = Credentials::new("PKBENCH", "not-a-secret").unwrap();
    let feed = Manager::global().open(&venue, &credentials).unwrap();
    feed.wait_live(LONG).unwrap();
    let all = feed.subscribe(alpaca::quotes(None::<&str>)).unwrap();
    let mut symbols = (0..).map(|number| format!("S{number}"));
    bencher
        .with_inputs(|| {
            // One request is in flight at a time.
            all.wait_confirmed(LONG).unwrap();
            alpaca::quotes(symbols.next())
        })
        .bench_local_values(|quotes| {
            all.add(quotes).unwrap();
            heard.recv_timeout(LONG).unwrap();
        });
}

/// A server for one connection that says when it has heard a request, and confirms it then.
fn listener() -> (SocketAddr, Receiver<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (say, heard) = crossbeam_channel::unbounded();
    thread::spawn(move || {
        let (stream, _) = listener.accept().unwrap();
        stream.set_nodelay(true).unwrap();
        let mut socket = tungstenite::accept(stream).unwrap();
        let success = |message| format!(r#"[{{"T":"success","msg":"{message}"}}]"#).into();
        socket.send(Message::Text(success("connected"))).unwrap();
        socket.read().unwrap();
        socket
            .send(Message::Text(success("authenticated")))
            .unwrap();
        let mut symbols = Vec::new();
        while let Ok(Message::Text(request)) = socket.read() {
            let request: serde_json::Value = serde_json::from_str(&request).unwrap();
            if request["action"] != "subscribe" {
                continue;
            }
            let _ = say.send(());
            symbols.extend(request["quotes"].as_array().unwrap().clone());
            let state = serde_json::json!([{"T": "subscription", "quotes": symbols}]);
            socket.send(Message::text(state.to_string())).unwrap();
        }
    });
    (address, heard)
}
