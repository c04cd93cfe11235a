//! The main job, and no set-up: three threads open the same line, each for itself, and share one connection. One prints
//! quotes, one prints trades, one watches the line's health; then everything is dropped, and the proof is printed.
//! `cargo run --example quickstart`, or with your own account `cargo run --example quickstart -- --live`

#![allow(clippy::disallowed_methods, reason = "a program of its own")]

#[path = "../common/mod.rs"]
mod common;
mod proof;

use std::{io, io::Write as _, process::ExitCode, thread, time::Duration};

use anyhow::Result;
use clap::Parser;
use trunkline::{
    Credentials, Manager, StreamHandle, Topics, Update, alpaca, alpaca::MarketData,
    crossbeam_channel as channel, crossbeam_channel::Receiver, select,
};

use self::proof::{Counted, Item, Part, Proof, say};

/// Three threads share one stream of quotes and trades; then the proof that it was one, and that nothing is left of it.
///
/// Exit code 0 only when the proof holds, also after Ctrl-C; 2 when the arguments make no sense.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Stop after N seconds.
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
    #[command(flatten)]
    stocks: common::Stocks,
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

/// What a thread is given: what to open, and nothing that it would have to share.
#[derive(Clone)]
struct Line(MarketData, Credentials, Vec<String>, Receiver<()>);

fn run(arguments: &Arguments) -> Result<ExitCode> {
    let (interrupted, time_is_up) = (common::ctrl_c()?, common::after(Some(arguments.seconds)));
    let (venue, credentials, sim) = arguments.stocks.open()?;
    writeln!(io::stdout(), "three threads, one line to {venue}\n")?;

    // Nothing is sent on it: that `stop` is dropped is what the threads see.
    let (stop, stopped) = channel::bounded(0);
    let line = Line(venue, credentials, arguments.stocks.symbols(), stopped);
    let (done, parts) = channel::bounded(3);
    let start = |name: &str, body: fn(&Line) -> Result<Part>| {
        let (line, done) = (line.clone(), done.clone());
        let thread = thread::Builder::new().name(name.to_owned());
        thread.spawn(move || done.send(body(&line)).is_ok())
    };
    start("quotes", |line| read(line, alpaca::quotes(&line.2)))?;
    start("trades", |line| read(line, alpaca::trades(&line.2)))?;
    start("health", watch)?;
    drop(done);
    let first = select! {
        recv(parts) -> part => part.ok(),
        recv(interrupted) -> _ => None,
        recv(time_is_up) -> _ => None,
    };
    drop(stop);
    let parts = first.into_iter().chain(parts).collect::<Result<Vec<_>>>()?;

    // Drops all of it, and looks at what is left.
    let holds = Proof::of(parts)?.print(&mut io::stdout(), sim.as_ref())?;
    Ok(ExitCode::from(u8::from(!holds)))
}

/// Opens the line: whoever comes first connects, everybody else joins.
fn open(Line(venue, credentials, ..): &Line) -> trunkline::Result<StreamHandle<MarketData>> {
    Manager::global().open(venue, credentials)
}

/// The body of two of the threads: shows a few of the events a second, and counts all of them.
fn read<T: Item>(line: &Line, topics: Topics<T>) -> Result<Part> {
    let (feed, Line(_, _, symbols, stopped)) = (open(line)?, line);
    let subscription = feed.subscribe(topics)?;
    let mut counted = Counted::default();
    loop {
        select! {
            recv(subscription.ready()) -> _ => for update in subscription.drain() {
                match update {
                    Update::Event(event) => if counted.event(&*event, symbols.len()) { say(T::NAME, event.line())? },
                    Update::Gap(gap) => { counted.gap(&gap); say(T::NAME, gap)? }
                    Update::Dropped(dropped) => { counted.dropped(&dropped); say(T::NAME, dropped)? }
                    Update::Notice(notice) => common::progress(&notice),
                    Update::Ended(ended) => ended.into_result()?,
                }
            },
            recv(stopped) -> _ => return Ok((counted, Box::new((feed, subscription)))),
        }
    }
}

/// The body of the third: looks at the line once a second, and subscribes to nothing.
fn watch(line: &Line) -> Result<Part> {
    let (feed, tick) = (open(line)?, channel::tick(Duration::from_secs(1)));
    loop {
        select! {
            recv(tick) -> _ => {
                let health = feed.health();
                let (phase, events) = (health.phase, health.counters.events);
                say("health", format_args!("{phase}, held {} times, {events} events", health.leases))?;
            }
            recv(line.3) -> _ => return Ok((Counted::default(), Box::new(feed))),
        }
    }
}
