//! The main job, and no set-up: three threads open the same line, each for itself, and share one connection. One prints
//! quotes, one prints trades, one watches the line's health; then everything is dropped, and the proof is printed.
//!
//! `cargo run --example quickstart`, or with your own account `cargo run --example quickstart -- --live`

#![allow(
    clippy::disallowed_methods,
    reason = "an example has no clock of its own"
)]

use std::{
    collections::HashMap,
    fs,
    io::{self, Write as _},
    process::ExitCode,
    thread::{self, ScopedJoinHandle},
    time::{Duration, Instant},
};

use anyhow::anyhow;
use clap::Parser;
use trunkline::{
    Credentials, Health, Manager, MarketEvent, Payload, Quote, StreamHandle, Subscription, Symbol,
    Topics, TradeEvent, Update,
    alpaca::{self, Feed, MarketData},
    crossbeam_channel::{self as channel, Sender},
    sim::{Sim, SimConfig},
};

/// Three threads share one stream of quotes and trades; then the proof that it was one, and that nothing is left of it.
///
/// By default from an embedded simulator. Exit code 0 only when the proof holds.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// Use Alpaca, with the credentials in APCA_API_KEY_ID and APCA_API_SECRET_KEY, in place of the simulator.
    #[arg(long)]
    live: bool,
    /// iex, sip, delayed_sip, boats, overnight or test, which is a made-up stock around the clock.
    #[arg(long, default_value_t = Feed::Iex)]
    feed: Feed,
    /// What to watch. Default AAPL, MSFT and NVDA, or FAKEPACA on the test feed.
    #[arg(long, value_name = "A,B", value_delimiter = ',')]
    symbols: Vec<String>,
    /// For how long.
    #[arg(long, value_name = "N", default_value_t = 5)]
    seconds: u64,
}

/// What all three threads are given: what to open, and nothing that they would have to share.
struct Setting {
    venue: MarketData,
    credentials: Credentials,
    symbols: Vec<String>,
    time: Duration,
    /// The simulator numbers what it sends, so that a loss shows.
    numbered: bool,
    started: Instant,
    say: Sender<String>,
}

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // The library's own errors say in `Debug` what to do about them.
            match error.downcast_ref::<trunkline::Error>() {
                Some(error) => eprintln!("{error:?}"),
                None => eprintln!("{error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}

/// Says whether the proof holds.
fn run(arguments: Arguments) -> anyhow::Result<bool> {
    let (feed, mut symbols) = (arguments.feed, arguments.symbols);
    if symbols.is_empty() && feed == Feed::Test {
        symbols.push("FAKEPACA".to_owned());
    } else if symbols.is_empty() {
        symbols.extend(["AAPL", "MSFT", "NVDA"].map(str::to_owned));
    }
    let venue = alpaca::stocks(feed);
    let (venue, credentials, sim) = if arguments.live {
        (venue, Credentials::from_env()?, None)
    } else {
        let mut config = SimConfig::default();
        config.rate = 1_000;
        config.symbols = symbols.iter().map(Symbol::from).collect();
        let sim = Sim::start(config)?;
        let venue = venue.at(sim.endpoint(feed.path()));
        (venue, sim.credentials(), Some(sim))
    };
    let (say, lines) = channel::unbounded();
    let setting = Setting {
        venue,
        credentials,
        symbols,
        time: Duration::from_secs(arguments.seconds),
        numbered: sim.is_some(),
        started: Instant::now(),
        say,
    };
    let mut out = io::stdout();
    let simulated = if sim.is_some() {
        ", a simulator in this process"
    } else {
        ""
    };
    writeln!(
        out,
        "three threads, one line to {}{simulated}\n",
        setting.venue
    )?;

    let (quotes, trades, watch) = thread::scope(|scope| {
        let setting = setting; // dropped at the end of this block, and its sender with it
        let (one, two, three) = (setting.again(), setting.again(), setting.again());
        let quotes = scope.spawn(move || read(&one, alpaca::quotes(&one.symbols)));
        let trades = scope.spawn(move || read(&two, alpaca::trades(&two.symbols)));
        let watch = scope.spawn(move || watch(&three));
        drop(setting);
        for line in lines {
            writeln!(out, "{line}")?;
        }
        anyhow::Ok((joined(quotes)?, joined(trades)?, joined(watch)?))
    })?;

    let before = watch.health();
    let (counted, also) = (quotes.counted, trades.counted);
    let ending = Instant::now();
    drop((quotes.feed, quotes.subscription));
    drop((trades.feed, trades.subscription));
    drop(watch);
    let proof = Proof {
        ended_in: ending.elapsed(),
        events: counted.events + also.events,
        lost: counted.lost() + also.lost(),
        breaks: counted.breaks.max(also.breaks),
        threads_left: settled(line_threads),
        connections_opened: sim.as_ref().map_or(before.counters.attempts, |sim| {
            sim.stats().connections_opened
        }),
        connections_left: settled(|| Some(sim.as_ref()?.stats().connections_open)),
        before,
    };
    proof.print(&mut out, arguments.live)
}

impl Setting {
    fn again(&self) -> Self {
        Self {
            venue: self.venue.clone(),
            credentials: self.credentials.clone(),
            symbols: self.symbols.clone(),
            say: self.say.clone(),
            ..*self
        }
    }

    /// Opens the line: whoever comes first connects, everybody else joins.
    fn open(&self) -> trunkline::Result<StreamHandle<MarketData>> {
        let feed = Manager::global().open(&self.venue, &self.credentials)?;
        feed.wait_live(GENEROUS)?;
        Ok(feed)
    }

    /// Whole lines, through one channel, so that threads do not write into each other's.
    fn say(&self, what: &str, text: impl std::fmt::Display) {
        let at = self.started.elapsed().as_secs_f64();
        // Nobody listens any more once standard output is closed.
        let _ = self.say.send(format!("{at:>6.2} s  {what:<7} {text}"));
    }
}

/// What a reading thread hands back: still open, so that the end of the line can be timed.
struct Reader<T: Payload<Source = MarketEvent>> {
    feed: StreamHandle<MarketData>,
    subscription: Subscription<T>,
    counted: Counted,
}

/// The body of two of the threads: shows a few of the events a second, and counts all of them.
fn read<T: Item>(setting: &Setting, topics: Topics<T>) -> anyhow::Result<Reader<T>> {
    let feed = setting.open()?;
    let subscription = feed.subscribe(topics)?;
    subscription.wait_confirmed(GENEROUS)?;
    let end = Instant::now() + setting.time;
    let mut counted = Counted::default();
    let mut shown: Option<(Instant, Symbol)> = None;
    while let Ok(update) = subscription.recv_deadline(end) {
        match update {
            Update::Event(event) => {
                counted.event(&*event, setting.numbered);
                let turn = shown.as_ref().is_none_or(|(at, symbol)| {
                    at.elapsed() >= BETWEEN_LINES
                        && (symbol != event.symbol() || setting.symbols.len() == 1)
                });
                if turn {
                    setting.say(T::NAME, event.line());
                    shown = Some((Instant::now(), event.symbol().clone()));
                }
            }
            Update::Gap(gap) => {
                counted.breaks += gap.breaks;
                counted.last.clear();
                setting.say(T::NAME, format_args!("the line broke: {gap}"));
            }
            Update::Dropped(dropped) => {
                counted.dropped += dropped.count;
                setting.say(T::NAME, format_args!("too slow for {dropped}"));
            }
            Update::Notice(notice) => setting.say(T::NAME, notice),
            Update::Ended(ended) => {
                ended.into_result()?;
                break;
            }
        }
    }
    Ok(Reader {
        feed,
        subscription,
        counted,
    })
}

/// The body of the third: looks at the line once a second, and subscribes to nothing.
fn watch(setting: &Setting) -> anyhow::Result<StreamHandle<MarketData>> {
    let feed = setting.open()?;
    let end = channel::after(setting.time);
    let tick = channel::tick(Duration::from_secs(1));
    loop {
        trunkline::select! {
            recv(tick) -> _ => {
                let health = feed.health();
                let lag = health.subscriptions.iter().map(|one| one.lag).max().unwrap_or_default();
                setting.say("health", format_args!(
                    "{}, connection {}, held {} times, {} of {} topics, {} events, lag {:.2} ms",
                    health.phase, health.epoch, health.leases, health.topics_confirmed, health.topics_wanted,
                    health.counters.events, lag.as_secs_f64() * 1e3,
                ));
            }
            recv(end) -> _ => return Ok(feed),
        }
    }
}

fn joined<T>(thread: ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    thread
        .join()
        .map_err(|_| anyhow!("a thread of this example panicked"))?
}

/// What a reading thread needs of an event.
trait Item: Payload<Source = MarketEvent> {
    const NAME: &'static str;
    fn symbol(&self) -> &Symbol;
    /// What the simulator numbers consecutively, symbol by symbol: trades by their ids, quotes by the bids' sizes.
    fn number(&self) -> Option<i64>;
    fn line(&self) -> String;
}

impl Item for Quote {
    const NAME: &'static str = "quotes";

    fn symbol(&self) -> &Symbol {
        &self.symbol
    }

    fn number(&self) -> Option<i64> {
        self.bid_size.try_into().ok()
    }

    fn line(&self) -> String {
        format!(
            "{:<8} bid {:>9} x {:<6} ask {:>9} x {}",
            self.symbol, self.bid_price, self.bid_size, self.ask_price, self.ask_size
        )
    }
}

impl Item for TradeEvent {
    const NAME: &'static str = "trades";

    fn symbol(&self) -> &Symbol {
        match self {
            Self::Trade(trade) => &trade.symbol,
            Self::Correction(correction) => &correction.symbol,
            Self::Cancel(cancel) => &cancel.symbol,
        }
    }

    fn number(&self) -> Option<i64> {
        self.trade().and_then(|trade| trade.id)
    }

    fn line(&self) -> String {
        match self.trade() {
            Some(trade) => format!(
                "{:<8}     {:>9} x {:<6} #{}",
                trade.symbol,
                trade.price,
                trade.size,
                trade.id.unwrap_or_default()
            ),
            None => self.to_string(),
        }
    }
}

#[derive(Default)]
struct Counted {
    events: u64,
    /// Numbers that never came.
    missing: u64,
    /// Events that the library declared dropped.
    dropped: u64,
    breaks: u64,
    last: HashMap<Symbol, i64>,
}

impl Counted {
    fn event(&mut self, item: &impl Item, numbered: bool) {
        self.events += 1;
        if let (true, Some(number)) = (numbered, item.number())
            && let Some(last) = self.last.insert(item.symbol().clone(), number)
        {
            self.missing += number.abs_diff(last % NUMBERS + 1);
        }
    }

    fn lost(&self) -> u64 {
        self.missing.max(self.dropped)
    }
}

struct Proof {
    /// The line while everybody held it.
    before: Health,
    connections_opened: u64,
    events: u64,
    lost: u64,
    breaks: u64,
    threads_left: Option<usize>,
    connections_left: Option<usize>,
    ended_in: Duration,
}

impl Proof {
    fn print(&self, out: &mut impl io::Write, live: bool) -> anyhow::Result<bool> {
        let subscriptions = self.before.subscriptions.len();
        let handles = self.before.leases.saturating_sub(subscriptions);
        let or_not = |count: Option<usize>| {
            count.map_or_else(|| "not counted".to_owned(), |n| n.to_string())
        };
        let rows = [
            ("connections opened", self.connections_opened.to_string()),
            (
                "shared by",
                format!("{handles} handles, {subscriptions} subscriptions"),
            ),
            ("events received", self.events.to_string()),
            ("events lost", self.lost.to_string()),
            ("breaks of the line", self.breaks.to_string()),
            ("threads left", or_not(self.threads_left)),
            ("connections left", or_not(self.connections_left)),
            (
                "ended in",
                format!("{:.1} ms", self.ended_in.as_secs_f64() * 1e3),
            ),
        ];
        writeln!(out)?;
        for (name, value) in rows {
            writeln!(out, "  {name:<20} {value}")?;
        }
        let failed: Vec<_> = [
            (self.connections_opened == 1, "not exactly one connection"),
            (
                (handles, subscriptions) == (3, 2),
                "the line was not shared by all",
            ),
            (self.events > 0, "no events came"),
            (self.lost == 0, "events were lost"),
            (self.breaks == 0, "the line broke"),
            (self.threads_left.unwrap_or(0) == 0, "a thread is left"),
            (
                self.connections_left.unwrap_or(0) == 0,
                "a connection is left",
            ),
        ]
        .into_iter()
        .filter_map(|(holds, otherwise)| (!holds).then_some(otherwise))
        .collect();
        if failed.is_empty() {
            writeln!(
                out,
                "\nproved: one connection, nothing lost, nothing left behind"
            )?;
        } else {
            writeln!(out, "\nNOT proved: {}", failed.join(", "))?;
        }
        if live && self.events == 0 {
            writeln!(out, "no data? market closed: try --live --feed test")?;
        }
        Ok(failed.is_empty())
    }
}

/// How many threads of this process serve lines; nothing where that cannot be seen.
fn line_threads() -> Option<usize> {
    let tasks = fs::read_dir("/proc/self/task").ok()?;
    let names = tasks.filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok());
    let lines = names.filter(|name| name.starts_with("tl-") && name.trim_end() != "tl-sim");
    Some(lines.count())
}

/// Counts until there is none. The system takes a thread that was joined off its list a moment later, and the
/// simulator a connection.
fn settled(count: impl Fn() -> Option<usize>) -> Option<usize> {
    let look_again = channel::tick(Duration::from_millis(1));
    let enough = channel::after(Duration::from_secs(5));
    while enough.is_empty() && count().is_some_and(|count| count > 0) {
        let _ = look_again.recv();
    }
    count()
}

const GENEROUS: Duration = Duration::from_secs(15);
const BETWEEN_LINES: Duration = Duration::from_millis(330);

/// The simulator's bid sizes go to this and start over.
const NUMBERS: i64 = 1_000_000;
