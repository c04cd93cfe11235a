//! What may come and go for as long as a process lives, and must leave nothing behind: `--soak`.
//!
//! Every thread has readers that never read, one that is slow, and one that takes on ever new topics; and it makes and
//! drops managers, receivers of phases, price books and subscriptions. Meanwhile the lines break all the time.

use std::{
    fs,
    io::Write as _,
    process::ExitCode,
    sync::atomic::{AtomicU64, AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use serde::Serialize;
use trunkline::{
    Config, Credentials, Error, Manager, MarketEvent, Overflow, StreamHandle, Subscription, Topics,
    alpaca::{self, MarketData},
    crossbeam_channel as channel,
    sim::Sim,
};

use super::{
    Arguments, HEAP, KEYS, PANICS, Random, SOON,
    common::{line_threads, settled},
    is_over,
};

/// The last line of output. Of what is watched the first figure is the median of the middle third of the time, and the
/// last one that of the last third.
#[derive(Serialize)]
struct Summary {
    soak: bool,
    operations: u64,
    connections_opened: u64,
    heap_bytes: Figures,
    threads: Figures,
    descriptors: Figures,
    /// The most that waited in one queue that nobody reads, in percent of its bound.
    queue_events_percent: usize,
    queue_bytes_percent: usize,
    threads_leaked: usize,
    connections_left: usize,
    panics: u64,
    unexpected: u64,
    seconds: u64,
    seed: u64,
    /// What grew beyond its bound.
    grew: Vec<&'static str>,
}

#[derive(Clone, Copy, Debug, Default, Serialize)]
struct Figures {
    first: usize,
    last: usize,
}

impl Figures {
    /// Of what was seen, in order.
    fn of(samples: &[usize]) -> Self {
        let median = |third: &[usize]| {
            let mut sorted = third.to_vec();
            sorted.sort_unstable();
            sorted.get(sorted.len() / 2).copied().unwrap_or(0)
        };
        let (_, rest) = samples.split_at(samples.len() / 3);
        let (middle, late) = rest.split_at(rest.len() / 2);
        Self {
            first: median(middle),
            last: median(late),
        }
    }

    fn grew(self, slack: usize) -> bool {
        self.last > self.first + self.first / 4 + slack
    }
}

/// What the process uses at a moment.
struct Sample {
    heap: usize,
    threads: usize,
    descriptors: usize,
}

impl Sample {
    /// What cannot be seen on this system is none.
    fn take() -> Self {
        let count = |path| fs::read_dir(path).map_or(0, Iterator::count);
        Self {
            heap: HEAP.current_usage(),
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
        }
    }
}

/// What the threads share.
struct Stage {
    venue: MarketData,
    config: Config,
    credentials: Vec<Credentials>,
    end: Instant,
    operations: AtomicU64,
    unexpected: AtomicU64,
    events_percent: AtomicUsize,
    bytes_percent: AtomicUsize,
}

/// Runs it for the time that was asked for, with progress, and writes the summary.
pub(super) fn run(arguments: &Arguments, sim: &Sim, config: Config) -> anyhow::Result<ExitCode> {
    let started = Instant::now();
    let stage = Stage {
        venue: sim.stocks().with_rules(crate::unspared),
        config,
        credentials: (0..KEYS)
            .map(|key| Credentials::new(format!("PKSOAK{key}"), format!("no-secret-{key}")))
            .collect::<Result<_, _>>()?,
        end: started + Duration::from_secs(arguments.seconds),
        operations: AtomicU64::new(0),
        unexpected: AtomicU64::new(0),
        events_percent: AtomicUsize::new(0),
        bytes_percent: AtomicUsize::new(0),
    };
    let mut samples = Vec::new();
    thread::scope(|scope| {
        for number in 0..arguments.threads {
            let random = Random(arguments.seed.wrapping_mul(1 << 32) + number);
            let stage = &stage;
            let worker = move || match Worker::new(stage, random, number) {
                Ok(worker) => worker.run(),
                Err(error) => stage.unexpected("begin", &error),
            };
            let spawned = thread::Builder::new()
                .name(format!("worker-{number}"))
                .spawn_scoped(scope, worker);
            if let Err(error) = spawned {
                stage.unexpected("spawn", &error);
            }
        }
        let tick = channel::tick(SAMPLED);
        while tick.recv().is_ok() && !is_over(stage.end) {
            samples.push(Sample::take());
            if samples.len() % PROGRESS == 0 {
                eprintln!(
                    "{:>4} s  {}",
                    started.elapsed().as_secs(),
                    stage.progress(sim)
                );
            }
        }
    });
    let column =
        |of: fn(&Sample) -> usize| Figures::of(&samples.iter().map(of).collect::<Vec<_>>());
    let heap_bytes = column(|sample| sample.heap);
    let threads = column(|sample| sample.threads);
    let descriptors = column(|sample| sample.descriptors);
    let threads_leaked = settled(SOON, line_threads).unwrap_or(0);
    let connections_left = settled(SOON, || Some(sim.stats().connections_open)).unwrap_or(0);
    let count = |counter: &AtomicUsize| counter.load(Ordering::Relaxed);
    let (events, bytes) = (count(&stage.events_percent), count(&stage.bytes_percent));
    let unexpected = stage.unexpected.load(Ordering::Relaxed);
    let panics = PANICS.load(Ordering::Relaxed);
    let grew = [
        ("the heap", heap_bytes.grew(HEAP_SLACK)),
        ("threads", threads.grew(SLACK)),
        ("descriptors", descriptors.grew(SLACK)),
        ("a queue, beyond its events", events > 100),
        ("a queue, beyond its bytes", bytes > 100),
        ("threads of lines that have ended", threads_leaked > 0),
        ("connections of lines that have ended", connections_left > 0),
    ];
    let summary = Summary {
        soak: true,
        operations: stage.operations.load(Ordering::Relaxed),
        connections_opened: sim.stats().connections_opened,
        heap_bytes,
        threads,
        descriptors,
        queue_events_percent: events,
        queue_bytes_percent: bytes,
        threads_leaked,
        connections_left,
        panics,
        unexpected,
        seconds: arguments.seconds,
        seed: arguments.seed,
        grew: grew
            .into_iter()
            .filter_map(|(what, grew)| grew.then_some(what))
            .collect(),
    };
    for what in &summary.grew {
        eprintln!("grew: {what}");
    }
    let json = serde_json::to_string(&summary).context("cannot write the summary")?;
    writeln!(std::io::stdout(), "{json}")?;
    let is_good = summary.grew.is_empty() && panics == 0 && unexpected == 0;
    Ok(if is_good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

impl Stage {
    fn progress(&self, sim: &Sim) -> String {
        let (sample, stats) = (Sample::take(), sim.stats());
        format!(
            "{:>8} operations  {:>5} connections  {:>7} KiB of heap  {:>3} threads  {:>3} descriptors  queues {}% of their events, {}% of their bytes",
            self.operations.load(Ordering::Relaxed),
            stats.connections_opened,
            sample.heap >> 10,
            sample.threads,
            sample.descriptors,
            self.events_percent.load(Ordering::Relaxed),
            self.bytes_percent.load(Ordering::Relaxed),
        )
    }

    fn unexpected(&self, operation: &str, error: &dyn std::fmt::Debug) {
        if self.unexpected.fetch_add(1, Ordering::Relaxed) < 20 {
            eprintln!("unexpected, {operation}: {error:?}");
        }
    }

    fn check<T>(&self, operation: &str, result: Result<T, Error>) -> Option<T> {
        result
            .map_err(|error| self.unexpected(operation, &error))
            .ok()
    }
}

/// One thread, and what it holds for the whole time.
struct Worker<'a> {
    stage: &'a Stage,
    random: Random,
    handle: StreamHandle<MarketData>,
    /// Nobody reads these.
    unread: Vec<Subscription<MarketEvent>>,
    /// How full each of them was when it was looked at last, in percent of its events.
    waited: [usize; 3],
    slow: Subscription<MarketEvent>,
    /// Which of the symbols the first that nobody reads takes on next.
    next: u64,
}

impl<'a> Worker<'a> {
    fn new(stage: &'a Stage, mut random: Random, number: u64) -> Result<Self, Error> {
        let manager = Manager::with_config(stage.config.clone())?;
        let handle = manager.open(&stage.venue, random.pick(&stage.credentials))?;
        let all = || {
            let mixed = Topics::<MarketEvent>::mixed();
            mixed.and(alpaca::trades(["*"])).and(alpaca::quotes(["*"]))
        };
        let policies = [
            Overflow::DropOldest,
            Overflow::DropNewest,
            Overflow::Conflate,
        ];
        let unread = policies.map(|policy| {
            // One is bounded by its events, and the others are by their bytes.
            let bytes = match policy {
                Overflow::DropNewest => 1_000,
                _ => 150,
            };
            handle.subscribe(all().queue(UNREAD, policy).queue_bytes(UNREAD * bytes))
        });
        Ok(Self {
            unread: unread.into_iter().collect::<Result<_, _>>()?,
            slow: handle.subscribe(all().queue(UNREAD, Overflow::DropOldest))?,
            waited: [0; 3],
            stage,
            random,
            handle,
            next: number << 20,
        })
    }

    fn run(mut self) {
        while !is_over(self.stage.end) {
            match self.random.below(8) {
                0 => self.manager(),
                1 => {
                    for _ in 0..20 {
                        drop(self.handle.phases());
                    }
                }
                2 => {
                    let book = self.handle.price_book(["AAPL", "MSFT", "NVDA"]);
                    self.stage.check("prices", book);
                }
                3 => {
                    let made = self.handle.subscribe(alpaca::quotes(["AAPL"]));
                    self.stage.check("subscribe", made);
                }
                4 => self.look(),
                _ => self.take_on(),
            }
            self.stage.operations.fetch_add(1, Ordering::Relaxed);
            // It is slow: one update for each operation.
            let _ = self.slow.recv_timeout(Duration::from_millis(1));
        }
    }

    /// A manager comes, with a line and a reader, and goes.
    fn manager(&mut self) {
        let Some(manager) =
            (self.stage).check("manager", Manager::with_config(self.stage.config.clone()))
        else {
            return;
        };
        let credentials = self.random.pick(&self.stage.credentials);
        let opened = manager.open(&self.stage.venue, credentials);
        if let Some(handle) = self.stage.check("open", opened) {
            self.stage
                .check("subscribe", handle.subscribe(alpaca::trades(["AAPL"])));
        }
    }

    /// A topic that is new to its queue, in place of the last one.
    fn take_on(&mut self) {
        let Some(unread) = self.unread.first() else {
            return;
        };
        let symbol = |number: u64| {
            let letter = |place: u32| char::from(b'A' + (number / 26_u64.pow(place) % 26) as u8);
            format!("Q{}{}{}", letter(2), letter(1), letter(0))
        };
        let (last, new) = (symbol(self.next), symbol(self.next + 1));
        self.next += 1;
        let one = |symbol| Topics::<MarketEvent>::mixed().and(alpaca::quotes([symbol]));
        let changed = unread.add(one(new)).and_then(|()| unread.remove(one(last)));
        self.stage.check("add and remove", changed);
    }

    /// Whether what waits is within its bounds.
    fn look(&mut self) {
        for (subscription, before) in self.unread.iter().zip(&mut self.waited) {
            let health = subscription.health();
            let events = health.events_queued as usize * 100 / health.capacity;
            let bytes = health.bytes_queued * 100 / health.capacity_bytes;
            // What was dropped is counted a moment after what came: only what stays is too much.
            let lasting = events.min(std::mem::replace(before, events));
            self.stage
                .events_percent
                .fetch_max(lasting, Ordering::Relaxed);
            self.stage.bytes_percent.fetch_max(bytes, Ordering::Relaxed);
        }
    }
}

const SAMPLED: Duration = Duration::from_millis(50);
/// Samples for a line of progress.
const PROGRESS: usize = 20;
/// The queues of those that never read, in events.
const UNREAD: usize = 200;
/// What the heap may grow by, in bytes, and the others in number: beside a quarter of the first figure.
const HEAP_SLACK: usize = 2 << 20;
const SLACK: usize = 8;
