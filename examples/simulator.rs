//! Alpaca's streams on a port of your own, for clients in any language:
//! `cargo run --example simulator -- --listen 127.0.0.1:9000 --fault reset@5s`

mod common;

use std::{
    io::{self, Write as _},
    net::ToSocketAddrs as _,
    process::ExitCode,
    time::Duration,
};

use anyhow::Context as _;
use clap::Parser;
use trunkline::{
    Credentials,
    sim::{Accept, FaultScript, Sim, SimConfig},
};

/// Serves Alpaca's market data and order updates, made up: every path of the venue on one port.
///
/// JSON, or MessagePack where the upgrade says `Content-Type: application/msgpack`; options in MessagePack alone. One
/// connection per key and path, as at the venue: a second one gets `406 connection limit exceeded`. Prints one line per
/// thing that happens to a connection, and runs until Ctrl-C.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:0")]
    listen: String,
    /// The same seed makes the same market and the same faults.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Events per second in each market that anybody has connected to, of all its symbols together.
    #[arg(long, value_name = "MSGS_PER_S", default_value_t = 100)]
    rate: u32,
    /// What goes wrong, and how often: KIND@PERIOD, separated by commas, such as `reset@5s,null@500ms`. Kinds: cut,
    /// reset, close:CODE, unknown, null, garbage, truncated, mute, mute-data, half-open, reset-mid-frame, oversized,
    /// slow-client, dribble, split, coalesce, duplicate-ack, late-ack, nil-lists, short-reply, expired, refuse:TIME,
    /// http:STATUS, http:STATUS/RETRY_AFTER_SECONDS, stall-upgrade, stall-welcome.
    #[arg(long, value_name = "SCRIPT")]
    fault: Option<FaultScript>,
    /// How many seconds a connection that ended without a close handshake keeps its slot; the venue takes about 90.
    #[arg(long, value_name = "SECONDS", default_value_t = 0)]
    reap_after: u32,
    /// The only key that is right. By default any well-formed one is.
    #[arg(long, value_name = "K", requires = "secret")]
    key: Option<String>,
    /// Its secret.
    #[arg(long, value_name = "S", requires = "key")]
    secret: Option<String>,
}

fn main() -> ExitCode {
    common::exit(run(Arguments::parse()))
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let (events, happened) = crossbeam_channel::bounded(1024);
    let stopped = common::ctrl_c()?;

    let mut config = SimConfig::default();
    config.listen = arguments
        .listen
        .to_socket_addrs()
        .ok()
        .and_then(|mut addresses| addresses.next())
        .with_context(|| format!("`{}` is no HOST:PORT to listen on", arguments.listen))?;
    config.seed = arguments.seed;
    config.rate = arguments.rate;
    // As the venue does it: halts, bands and amended trades now and then, and pings that want an answer.
    config.incidents = 50;
    config.ping_interval = Some(Duration::from_secs(10));
    config.faults = arguments.fault.unwrap_or_default();
    config.reap_after = Duration::from_secs(arguments.reap_after.into());
    config.events = Some(events);
    if let (Some(key), Some(secret)) = (arguments.key, arguments.secret) {
        config.accept = Accept::Only(Credentials::new(key, secret)?);
    }
    let sim = Sim::start(config)?;
    let mut out = io::stdout();
    writeln!(
        out,
        "listening on {} and the other paths, and order updates at /stream; Ctrl-C ends",
        sim.endpoint("/v2/iex")
    )?;
    loop {
        crossbeam_channel::select! {
            recv(happened) -> event => writeln!(out, "{}", event?)?,
            recv(stopped) -> _ => break,
        }
    }
    drop(sim);
    writeln!(out, "stopped")?;
    Ok(ExitCode::SUCCESS)
}
