//! Many threads do to a few shared streams whatever the library lets them, at random, while the exchange misbehaves;
//! and what the library promises is checked: `cargo run --release --example stress -- --threads 64 --seconds 20`

#![allow(
    clippy::disallowed_methods,
    reason = "an example has no clock of its own"
)]

#[path = "../common/mod.rs"]
mod common;
mod soak;
mod trouble;

use std::{
    collections::HashMap,
    fmt, panic,
    process::ExitCode,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use clap::Parser;
use peak_alloc::PeakAlloc;
use serde::Serialize;
use trunkline::{
    Channel, Config, Credentials, Declared, EndReason, Error, ErrorKind, Manager, MarketEvent,
    Notice, Overflow, StreamHandle, Subscription, Symbol, Topics, Update,
    alpaca::{self, MarketData},
    crossbeam_channel::{self as channel, Sender},
    market::{QUOTES, TRADES},
    select,
    sim::{FaultScript, Sim, SimConfig},
    venue::Rules,
};

use self::{
    common::{line_threads, settled},
    trouble::{KINDS_OF_TROUBLE, Trouble},
};

/// Opens, clones, subscribes, changes, reads, drops and shuts down streams at random, from many threads, against an
/// embedded exchange that cuts, resets, closes and sends nonsense. On lines beside these, with keys of their own, user code
/// panics and blocks, a server sends without end what never comes to anything, and settings are extreme.
///
/// Progress goes to standard error, once a second. The last line, on standard output, is a summary in JSON. Exit code
/// 1 when a promise was broken; which one, and where, stands on standard error.
///
/// With --soak it watches what can grow in a process that lives long: heap, threads, descriptors and queues, while
/// some never read, some are slow and take on ever new topics, lines break, and managers, price books and receivers of
/// phases come and go. Exit code 1 when the median of one of them in the last third of the time was above that of the
/// middle third by a quarter and 2 MiB of heap, or 8 of the others; or a queue was beyond its bound.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many threads.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=4096))]
    threads: u64,
    /// Stop after N seconds. Ctrl-C stops earlier, with the same summary.
    #[arg(long, value_name = "N", default_value_t = 10)]
    seconds: u64,
    /// The same seed makes the same market, faults and choices. How threads interleave is up to the system.
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Watches what can grow, in place of the events. Of use for minutes to days.
    #[arg(long)]
    soak: bool,
    /// Inject no faults.
    #[arg(long)]
    no_faults: bool,
    /// What goes wrong, and how often, as for the simulator.
    #[arg(
        long,
        value_name = "SCRIPT",
        conflicts_with = "no_faults",
        default_value = ALL_FAULTS
    )]
    fault: FaultScript,
}

/// The last line of output.
#[derive(Serialize)]
struct Summary {
    operations: u64,
    connections_opened: u64,
    most_open_per_key: usize,
    limit_errors: u64,
    undeclared_losses: u64,
    duplicates: u64,
    longest_drop_ms: f64,
    median_drop_ms: f64,
    threads_leaked: usize,
    connections_left: usize,
    panics: u64,
    seed: u64,
    threads: u64,
    seconds: u64,
    /// The events that the losses and duplicates were looked for in.
    events: u64,
    faults: u64,
    /// Errors that no operation should have got.
    unexpected: u64,
    /// Panics of user code, and lines on which it blocked.
    user_panics: u64,
    user_blocks: u64,
    /// Lines to a server that sends without end, and with extreme settings.
    hostile_lines: u64,
    extreme_lines: u64,
}

/// What all threads count.
#[derive(Default)]
struct Tally {
    operations: AtomicU64,
    events: AtomicU64,
    losses: AtomicU64,
    duplicates: AtomicU64,
    unexpected: AtomicU64,
}

static PANICS: AtomicU64 = AtomicU64::new(0);
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

/// Whether the time is up, or somebody does not want to wait for that.
fn is_over(end: Instant) -> bool {
    INTERRUPTED.load(Ordering::Relaxed) || Instant::now() >= end
}

#[global_allocator]
static HEAP: PeakAlloc = PeakAlloc;

/// All faults are at one host. What is there to spare a real one would keep the lines down.
fn unspared(rules: Rules) -> Rules {
    rules.attempts(u32::MAX, Duration::from_secs(1))
}

fn main() -> ExitCode {
    common::exit(run(&Arguments::parse()))
}

fn run(arguments: &Arguments) -> anyhow::Result<ExitCode> {
    ctrlc::set_handler(|| INTERRUPTED.store(true, Ordering::Relaxed))
        .context("cannot wait for Ctrl-C")?;
    let report = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::Relaxed);
        report(panic);
    }));

    let mut config = SimConfig::default();
    config.seed = arguments.seed;
    config.rate = 2_000;
    if !arguments.no_faults {
        config.faults = arguments.fault.clone();
    }
    let sim = Sim::start(config)?;
    // Reconnects at once: what is to be tested are many connections, not much patience.
    let mut config = Config::default();
    config.backoff.initial = Duration::from_millis(20);
    config.backoff.cap = Duration::from_millis(100);
    // A line that hangs is soon given up.
    config.setup_timeout = Duration::from_secs(1);
    config.request_timeout = Duration::from_secs(1);
    config.ping_interval = Duration::from_secs(1);
    config.ping_timeout = Duration::from_millis(500);
    if arguments.soak {
        return soak::run(arguments, &sim, config);
    }
    let stage = Stage {
        venue: sim.stocks().with_rules(unspared),
        managers: (0..MANAGERS)
            .map(|_| Manager::with_config(config.clone()))
            .collect::<Result<_, _>>()?,
        credentials: (0..KEYS)
            .map(|key| Credentials::new(format!("PKSTRESS{key}"), format!("no-secret-{key}")))
            .collect::<Result<_, _>>()?,
        trouble: Trouble::new(&config, arguments.seed)?,
        tally: Tally::default(),
        end: Instant::now() + Duration::from_secs(arguments.seconds),
    };
    let mut drops = play(arguments, &stage, &sim);
    drops.sort_unstable();

    let threads_leaked = settled(SOON, line_threads).unwrap_or(0);
    let trouble = &stage.trouble;
    let connections_left = settled(SOON, || {
        Some(sim.stats().connections_open + trouble.sim.stats().connections_open)
    })
    .unwrap_or(0);
    let (tally, stats, beside) = (&stage.tally, sim.stats(), trouble.sim.stats());
    let millis =
        |drop: Option<&Duration>| drop.map_or(0.0, |drop| (drop.as_secs_f64() * 1e6).round() / 1e3);
    let summary = Summary {
        operations: tally.operations.load(Ordering::Relaxed),
        connections_opened: stats.connections_opened,
        most_open_per_key: stats.most_open_per_key.max(beside.most_open_per_key),
        limit_errors: stats.limit_errors + beside.limit_errors,
        undeclared_losses: tally.losses.load(Ordering::Relaxed),
        duplicates: tally.duplicates.load(Ordering::Relaxed),
        longest_drop_ms: millis(drops.last()),
        median_drop_ms: millis(drops.get(drops.len() / 2)),
        threads_leaked,
        connections_left,
        panics: PANICS.load(Ordering::Relaxed),
        seed: arguments.seed,
        threads: arguments.threads,
        seconds: arguments.seconds,
        events: tally.events.load(Ordering::Relaxed),
        faults: stats.faults_injected,
        unexpected: tally.unexpected.load(Ordering::Relaxed),
        user_panics: trouble.panics.load(Ordering::Relaxed),
        user_blocks: trouble.blocks.load(Ordering::Relaxed),
        hostile_lines: trouble.hostile_lines.load(Ordering::Relaxed),
        extreme_lines: trouble.extreme_lines.load(Ordering::Relaxed),
    };
    let broken = summary.broken();
    for promise in &broken {
        eprintln!("broken: {promise}");
    }
    let json = serde_json::to_string(&summary).context("cannot write the summary")?;
    use std::io::Write as _;
    writeln!(std::io::stdout(), "{json}")?;
    Ok(if broken.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Summary {
    fn broken(&self) -> Vec<&'static str> {
        [
            (
                self.most_open_per_key > 1,
                "a key had more than one connection at a time",
            ),
            (
                self.limit_errors > 0,
                "the exchange refused a connection too many",
            ),
            (
                self.undeclared_losses > 0,
                "events were lost without a word",
            ),
            (self.duplicates > 0, "events came twice, or out of order"),
            (self.threads_leaked > 0, "a stream's thread is left"),
            (self.connections_left > 0, "a connection is left"),
            (self.panics > 0, "something panicked"),
            (
                self.unexpected > 0,
                "an operation failed that should not have",
            ),
        ]
        .into_iter()
        .filter_map(|(broken, promise)| broken.then_some(promise))
        .collect()
    }
}

/// Runs the threads to their end, with progress. Returns how long each drop took.
fn play(arguments: &Arguments, stage: &Stage, sim: &Sim) -> Vec<Duration> {
    let started = Instant::now();
    let (done, drops) = channel::unbounded();
    thread::scope(|scope| {
        for number in 0..arguments.threads {
            let seed = arguments.seed.wrapping_mul(1 << 32) + number;
            let done = done.clone();
            let worker = move || Worker::new(stage, Random(seed)).run(number, &done);
            // A thread that panics is counted by the hook.
            let spawned = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn_scoped(scope, worker);
            if let Err(error) = spawned {
                stage.unexpected("spawn", &error);
            }
        }
        drop(done);
        let tick = channel::tick(Duration::from_secs(1));
        let mut all = Vec::new();
        loop {
            select! {
                recv(drops) -> one => match one {
                    Ok(one) => all.extend::<Vec<_>>(one),
                    Err(_) => return all,
                },
                recv(tick) -> _ => eprintln!(
                    "{:>4} s  {}",
                    started.elapsed().as_secs(),
                    stage.progress(sim),
                ),
            }
        }
    })
}

/// What the threads share.
struct Stage {
    venue: MarketData,
    managers: Vec<Manager>,
    credentials: Vec<Credentials>,
    trouble: Trouble,
    tally: Tally,
    end: Instant,
}

impl Stage {
    fn progress(&self, sim: &Sim) -> String {
        let (tally, stats) = (&self.tally, sim.stats());
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        format!(
            "{:>8} operations  {:>5} connections  {} open  {:>9} events  {} lost  {} twice  {} faults",
            count(&tally.operations),
            stats.connections_opened,
            stats.connections_open,
            count(&tally.events),
            count(&tally.losses),
            count(&tally.duplicates),
            stats.faults_injected,
        )
    }

    fn unexpected(&self, operation: &str, error: &dyn fmt::Debug) {
        // The first few say enough.
        if self.tally.unexpected.fetch_add(1, Ordering::Relaxed) < 20 {
            eprintln!("unexpected, {operation}: {error:?}");
        }
    }
}

/// One thread, and what it holds.
struct Worker<'a> {
    stage: &'a Stage,
    random: Random,
    handles: Vec<StreamHandle<MarketData>>,
    readers: Vec<Reader>,
    drops: Vec<Duration>,
}

struct Reader {
    subscription: Subscription<MarketEvent>,
    ledger: Ledger,
}

impl<'a> Worker<'a> {
    fn new(stage: &'a Stage, random: Random) -> Self {
        Self {
            stage,
            random,
            handles: Vec::new(),
            readers: Vec::new(),
            drops: Vec::new(),
        }
    }

    fn run(mut self, number: u64, done: &Sender<Vec<Duration>>) {
        // However short the run is, each kind comes once.
        self.trouble(number);
        while !is_over(self.stage.end) {
            self.operate();
            self.stage.tally.operations.fetch_add(1, Ordering::Relaxed);
        }
        while !self.handles.is_empty() || !self.readers.is_empty() {
            if self.random.one_in(2) {
                self.drop_handle();
            } else {
                self.drop_reader();
            }
        }
        // The main thread listens until the last worker has ended.
        let _ = done.send(self.drops);
    }

    fn operate(&mut self) {
        match self.random.below(1_000) {
            0..80 => self.open(),
            80..120 => self.clone_handle(),
            120..240 => self.subscribe(),
            240..440 => self.add_or_remove(),
            440..720 => self.read(),
            720..770 => self.wait(),
            770..800 => self.look(),
            800..880 => self.drop_handle(),
            880..960 => self.drop_reader(),
            960..990 => self.close(),
            990..998 => {
                let kind = self.random.below(KINDS_OF_TROUBLE);
                self.trouble(kind);
            }
            // It ends what everybody holds, so not often.
            _ if self.random.one_in(20) => self.shut_down(),
            _ => self.clone_handle(),
        }
    }

    // ---- operations ----

    fn open(&mut self) {
        if self.handles.len() >= MOST_HELD {
            return self.drop_handle();
        }
        let manager = self.random.pick(&self.stage.managers);
        let credentials = self.random.pick(&self.stage.credentials);
        match manager.open(&self.stage.venue, credentials) {
            Ok(handle) => self.handles.push(handle),
            Err(error) => self.stage.unexpected("open", &error),
        }
    }

    fn clone_handle(&mut self) {
        if let Some(at) = self.random.index(&self.handles) {
            let clone = self.handles[at].clone();
            if self.handles.len() < MOST_HELD {
                self.handles.push(clone);
            } else {
                self.time(clone);
            }
        }
    }

    fn subscribe(&mut self) {
        if self.readers.len() >= MOST_HELD {
            return self.drop_reader();
        }
        let Some(at) = self.random.index(&self.handles) else {
            return self.open();
        };
        let length = *self.random.pick(&[1, 3, 20, 200, 2_000, 50_000]);
        let overflow =
            *self
                .random
                .pick(&[Overflow::DropOldest, Overflow::DropNewest, Overflow::End]);
        let topics = self.topics().queue(length, overflow);
        match self.handles[at].subscribe(topics) {
            Ok(subscription) => self.readers.push(Reader {
                subscription,
                ledger: Ledger::default(),
            }),
            Err(error) => self.unless_over("subscribe", error),
        }
    }

    fn add_or_remove(&mut self) {
        let topics = self.topics();
        let Some(at) = self.random.index(&self.readers) else {
            return;
        };
        let subscription = &self.readers[at].subscription;
        let result = match self.random.below(3) {
            0 => subscription.add(topics),
            1 => subscription.remove(topics),
            // There and back: the stream may see one change, two, or none.
            _ => subscription
                .remove(topics.clone())
                .and_then(|()| subscription.add(topics)),
        };
        if let Err(error) = result {
            self.unless_over("add or remove", error);
        }
    }

    fn read(&mut self) {
        let Some(at) = self.random.index(&self.readers) else {
            return;
        };
        let reader = &mut self.readers[at];
        let many = [1, 5, 100, 100_000][self.random.below(4) as usize];
        let patience = Duration::from_millis(self.random.below(8));
        let mut over = false;
        match self.random.below(4) {
            0 => {
                for _ in 0..many {
                    let Ok(update) = reader.subscription.try_recv() else {
                        break;
                    };
                    over |= reader.ledger.enter(self.stage, update);
                }
            }
            1 => {
                let deadline = Instant::now() + patience;
                for _ in 0..many {
                    let Ok(update) = reader.subscription.recv_deadline(deadline) else {
                        break;
                    };
                    over |= reader.ledger.enter(self.stage, update);
                }
            }
            2 => {
                if let Ok(update) = reader.subscription.recv_timeout(patience) {
                    over |= reader.ledger.enter(self.stage, update);
                }
            }
            // Read to its end, in part, or not at all.
            _ => select! {
                recv(reader.subscription.ready()) -> ready => match ready {
                    Ok(_) => for update in reader.subscription.drain().take(many - 1) {
                        over |= reader.ledger.enter(self.stage, update);
                    },
                    Err(error) => self.stage.unexpected("select", &error),
                },
                default(patience) => {}
            },
        }
        if over {
            let reader = self.readers.swap_remove(at);
            if reader.subscription.try_recv().is_ok() || !reader.subscription.ready().is_empty() {
                self.stage
                    .unexpected("read", &"something came after the end");
            }
            self.time(reader.subscription);
        }
    }

    fn wait(&mut self) {
        let patience = Duration::from_millis(self.random.below(30));
        let started = Instant::now();
        let result = if self.random.one_in(2) {
            let Some(at) = self.random.index(&self.handles) else {
                return;
            };
            self.handles[at].wait_live(patience)
        } else {
            let Some(at) = self.random.index(&self.readers) else {
                return;
            };
            self.readers[at].subscription.wait_confirmed(patience)
        };
        match result {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::TimedOut { .. }) => {}
            Err(error) => self.unless_over("wait", error),
        }
        let late = started.elapsed().saturating_sub(patience);
        if late > LATE {
            self.stage.unexpected("wait", &format!("{late:?} late"));
        }
    }

    fn look(&mut self) {
        if let Some(at) = self.random.index(&self.handles) {
            let health = self.handles[at].health();
            if health.to_string().contains("no-secret") {
                self.stage.unexpected("health", &"it tells a secret");
            }
        }
        let manager = self.random.pick(&self.stage.managers);
        if manager.health().streams.len() > KEYS * 2 {
            self.stage
                .unexpected("health", &"more streams than keys, twice over");
        }
    }

    fn drop_handle(&mut self) {
        if let Some(at) = self.random.index(&self.handles) {
            let handle = self.handles.swap_remove(at);
            self.time(handle);
        }
    }

    fn drop_reader(&mut self) {
        if let Some(at) = self.random.index(&self.readers) {
            let reader = self.readers.swap_remove(at);
            self.time(reader.subscription);
        }
    }

    fn close(&mut self) {
        let Some(at) = self.random.index(&self.handles) else {
            return;
        };
        let handle = self.handles.swap_remove(at);
        let started = Instant::now();
        match handle.close(BOUND) {
            Err(error) if !matches!(error.kind(), ErrorKind::StillShared { .. }) => {
                self.stage.unexpected("close", &error);
            }
            _ => self.drops.push(started.elapsed()),
        }
    }

    fn shut_down(&mut self) {
        let manager = self.random.pick(&self.stage.managers);
        for stream in manager.shutdown(BOUND) {
            if stream.stuck.is_some() {
                self.stage.unexpected("shutdown", &stream);
            }
        }
    }

    // ---- small things ----

    /// Some trades and quotes.
    fn topics(&mut self) -> Topics<MarketEvent> {
        let mut topics = Topics::mixed();
        for _ in 0..=self.random.below(3) {
            let symbol = *self.random.pick(&SYMBOLS);
            topics = if self.random.one_in(3) {
                topics.and(alpaca::quotes([symbol]))
            } else {
                topics.and(alpaca::trades([symbol]))
            };
        }
        topics
    }

    /// Drops what may be the last hold on a stream.
    fn time<T>(&mut self, what: T) {
        let started = Instant::now();
        drop(what);
        let took = started.elapsed();
        if took > BOUND + LATE {
            self.stage.unexpected("drop", &took);
        }
        self.drops.push(took);
    }

    /// Another thread may have shut the stream down; nothing else may have ended it.
    fn unless_over(&self, operation: &str, error: Error) {
        match error.kind() {
            ErrorKind::Closed | ErrorKind::Overflow { .. } => {}
            _ => self.stage.unexpected(operation, &error),
        }
    }
}

/// What one subscription has read of each channel and symbol. The exchange numbers each of them consecutively: trades
/// by their ids, quotes by the sizes of their bids.
///
/// Numbers may never go back, whatever happened. And one may be missing only where the subscription said so since the
/// last one: by a gap, by dropped events, or by a notice that the topic was confirmed anew, after a `remove`. A faulty
/// item has no number of its own, so a notice of one excuses nothing.
#[derive(Default)]
struct Ledger {
    pages: HashMap<(Channel, Symbol), Page>,
}

struct Page {
    last: i64,
    /// Nothing may be missing behind it.
    sure: bool,
}

impl Ledger {
    /// Says whether it was the last update.
    fn enter(&mut self, stage: &Stage, update: Update<MarketEvent>) -> bool {
        match update {
            Update::Event(event) => {
                stage.tally.events.fetch_add(1, Ordering::Relaxed);
                let (channel, symbol, number) = match &event.data {
                    MarketEvent::Trade(trade) => (TRADES, &trade.symbol, trade.id),
                    MarketEvent::Quote(quote) => {
                        (QUOTES, &quote.symbol, quote.bid_size.try_into().ok())
                    }
                    other => return stage.unexpected_event(other),
                };
                let Some(number) = number else {
                    return stage.unexpected_event(&event.data);
                };
                self.check(stage, channel, symbol, number);
            }
            Update::Gap(_) | Update::Dropped(_) => self.excuse(|_, _| true),
            Update::Notice(Declared {
                what: Notice::Confirmed { topics, .. } | Notice::Refused { topics, .. },
                ..
            }) => {
                for topic in topics {
                    self.excuse(|channel, symbol| {
                        channel == topic.channel && (topic.is_wildcard() || *symbol == topic.symbol)
                    });
                }
            }
            // Topics that were confirmed anew may be among them.
            Update::Notice(Declared {
                what: Notice::LeftOut { .. },
                ..
            }) => self.excuse(|_, _| true),
            Update::Notice(_) => {}
            Update::Ended(ended) => {
                match ended.what.reason {
                    EndReason::Closed => {}
                    EndReason::Failed(error)
                        if matches!(error.kind(), ErrorKind::Overflow { .. }) => {}
                    reason => stage.unexpected("end", &reason),
                }
                return true;
            }
        }
        false
    }

    fn check(&mut self, stage: &Stage, channel: Channel, symbol: &Symbol, number: i64) {
        let new = Page {
            last: number,
            sure: true,
        };
        let Some(Page { last, sure }) = self.pages.insert((channel, symbol.clone()), new) else {
            return;
        };
        let next = if channel == QUOTES {
            last % SIZES + 1
        } else {
            last + 1
        };
        // Bid sizes start over once in a million quotes.
        let back = number <= last && !(channel == QUOTES && last - number > SIZES / 2);
        let (wrong, count) = if back {
            (&stage.tally.duplicates, 1)
        } else if sure && number != next {
            (&stage.tally.losses, number.abs_diff(next))
        } else {
            return;
        };
        if wrong.fetch_add(count, Ordering::Relaxed) < 20 {
            let word = if back { "twice" } else { "lost" };
            eprintln!("{word}: {channel}:{symbol} {number} came after {last}");
        }
    }

    fn excuse(&mut self, which: impl Fn(Channel, &Symbol) -> bool) {
        for ((channel, symbol), page) in &mut self.pages {
            page.sure &= !which(*channel, symbol);
        }
    }
}

impl Stage {
    fn unexpected_event(&self, event: &MarketEvent) -> bool {
        self.unexpected("event", event);
        false
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound.max(1)
    }

    fn one_in(&mut self, bound: u64) -> bool {
        self.below(bound) == 0
    }

    fn index<T>(&mut self, of: &[T]) -> Option<usize> {
        (!of.is_empty()).then(|| self.below(of.len() as u64) as usize)
    }

    /// One of some that are not none.
    fn pick<'t, T>(&mut self, of: &'t [T]) -> &'t T {
        &of[self.below(of.len() as u64) as usize]
    }
}

/// How long threads and connections may take to be off every list.
const SOON: Duration = Duration::from_secs(2);
const KEYS: usize = 4;
const MANAGERS: usize = 3;
/// The wildcard often: single symbols and the wildcard together are where a mistake is easily made.
const SYMBOLS: [&str; 8] = ["AAPL", "MSFT", "NVDA", "TSLA", "KO", "*", "*", "*"];

/// Handles, and readers, that a thread holds at most.
const MOST_HELD: usize = 5;

/// How long a drop may take.
const BOUND: Duration = Duration::from_secs(5);
/// What a deadline may be exceeded by, on a machine with far fewer processors than there are threads here.
const LATE: Duration = Duration::from_secs(2);

/// The simulator's bid sizes go to this and start over.
const SIZES: i64 = 1_000_000;

/// Everything that the simulator can do wrong, but for what ends a stream for good.
const ALL_FAULTS: &str = "cut@700ms,reset@900ms,close:1012@1100ms,unknown@90ms,null@70ms,garbage@130ms,\
     truncated@150ms,reset-mid-frame@1300ms,oversized@1700ms,slow-client@1900ms,dribble@300ms,split@200ms,\
     coalesce@250ms,duplicate-ack@110ms,late-ack@170ms,refuse:100ms@2300ms,http:503@1500ms,http:429/0@2100ms,\
     stall-welcome@2900ms,stall-upgrade@3100ms,half-open@3700ms,mute@4100ms";
