//! Accounting over real sockets: whatever the simulator does to a line, a trade that is missing was declared missing,
//! and what was counted is what was read.
//!
//! A seed is a market and a script of faults. One that fails is named, and played again with
//! `TRUNKLINE_SEEDS=17..18 cargo test --test it seeds`; how the threads meet differs from run to run, so play a seed more
//! than once.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    env,
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use crate::common::{GENEROUS, credentials, hurried, ledger::Ledger, spawn};
use trunkline::{
    Config, EndReason, ErrorKind, Manager, Overflow, Subscription, alpaca,
    market::TradeEvent,
    sim::{Sim, SimConfig},
};

/// How long a seed is played, and by how many at once.
const TIME: Duration = Duration::from_millis(90);
const PLAYERS: u64 = 4;

const FAULTS: [&str; 24] = [
    "cut",
    "reset",
    "close:1000",
    "close:1012",
    "close:4000",
    "unknown",
    "null",
    "garbage",
    "truncated",
    "mute",
    "mute-data",
    "half-open",
    "reset-mid-frame",
    "oversized",
    "slow-client",
    "dribble",
    "split",
    "coalesce",
    "duplicate-ack",
    "late-ack",
    "refuse:4ms",
    "http:503",
    "http:429/0",
    "stall-upgrade",
];

/// The same numbers for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }
}

/// Says which seed it was, when its test fails.
struct Naming {
    seed: u64,
    script: String,
}

impl Drop for Naming {
    fn drop(&mut self) {
        if thread::panicking() {
            let (seed, next) = (self.seed, self.seed + 1);
            eprintln!(
                "seed {seed} ({}): TRUNKLINE_SEEDS={seed}..{next} cargo test --test it seeds",
                self.script
            );
        }
    }
}

/// Everything is over soon, and tried again soon.
fn hasty() -> Config {
    let mut config = Config::default();
    config.setup_timeout = Duration::from_millis(60);
    config.close_timeout = Duration::from_millis(20);
    config.request_timeout = Duration::from_millis(40);
    config.ping_interval = Duration::from_millis(15);
    config.ping_timeout = Duration::from_millis(15);
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(4);
    config
}

type SetTime = fn(&mut Config, Duration);

/// Settings, and the least that each is. How long a close waits is not among them: without a bound it is as long as the
/// peer's, which may never answer.
const SETTINGS: [(Duration, SetTime); 7] = [
    (MILLISECOND, |config, time| config.setup_timeout = time),
    (Duration::ZERO, |config, time| config.request_timeout = time),
    (MILLISECOND, |config, time| config.ping_interval = time),
    (MILLISECOND, |config, time| config.ping_timeout = time),
    (Duration::ZERO, |config, time| config.behind_warning = time),
    (Duration::from_nanos(1), |config, time| {
        config.backoff.initial = time;
        config.backoff.cap = config.backoff.cap.max(time);
    }),
    (Duration::ZERO, |config, time| {
        config.backoff.reset_after = time;
    }),
];

const MILLISECOND: Duration = Duration::from_millis(1);

/// With every eighth seed some settings are as long or as short as they may be.
fn settings_of(seed: u64) -> Config {
    let mut config = hasty();
    if seed.is_multiple_of(8) {
        let mut random = Random(!seed);
        for _ in 0..=random.below(2) {
            let (least, set) = SETTINGS[random.below(SETTINGS.len() as u64) as usize];
            let time = [least, Duration::MAX][random.below(2) as usize];
            set(&mut config, time);
        }
    }
    config
}

/// What a run has seen, so that it is known to have seen something.
#[derive(Default)]
struct Seen {
    events: AtomicU64,
    gaps: AtomicU64,
    dropped: AtomicU64,
    unparsed: AtomicU64,
    overflows: AtomicU64,
}

fn play(seed: u64, seen: &Seen) {
    let mut random = Random(seed);
    let script: Vec<_> = (0..4)
        .map(|_| {
            let fault = FAULTS[random.below(FAULTS.len() as u64) as usize];
            format!("{fault}@{}ms", 8 + random.below(60))
        })
        .collect();
    let naming = Naming {
        seed,
        script: script.join(","),
    };
    let mut config = SimConfig::default();
    config.seed = seed;
    config.rate = 50_000;
    config.batch = 1 + random.below(60) as usize;
    config.symbol_limit = (random.below(3) == 0).then_some(3);
    config.reap_after = Duration::from_millis(random.below(2) * 5);
    config.faults = naming.script.parse().unwrap();
    let sim = Sim::start(config).unwrap();
    let manager = Manager::with_config(settings_of(seed)).unwrap();
    let venue = sim.stocks().with_rules(hurried);
    let feed = manager.open(&venue, &credentials()).unwrap();
    let mut readers: Vec<(Subscription<TradeEvent>, Ledger)> = [
        (Overflow::DropOldest, 100_000),
        (Overflow::DropOldest, 7),
        (Overflow::DropNewest, 7),
        (Overflow::Conflate, 7),
        (Overflow::Conflate, 1),
        (Overflow::End, 60),
    ]
    .into_iter()
    .map(|(overflow, length)| {
        let topics = alpaca::trades(["AAPL", "MSFT"]).queue(length, overflow);
        let name = format!("seed {seed}, {overflow} at {length}");
        (
            feed.subscribe(topics).unwrap(),
            Ledger::new(name).with_overflow(overflow),
        )
    })
    .collect();
    let (_never, nothing) = crossbeam_channel::bounded::<()>(0);
    let end = Instant::now() + TIME;
    while Instant::now() < end {
        // Each is read a little, now and then, and some change their minds.
        let at = random.below(readers.len() as u64) as usize;
        let (subscription, ledger) = &mut readers[at];
        for _ in 0..random.below(400) {
            let Ok(update) = subscription.try_recv() else {
                break;
            };
            ledger.enter(&update);
        }
        let change = match random.below(30) {
            0 => subscription.add(alpaca::trades(["NVDA", "TSLA"])),
            1 => subscription.remove(alpaca::trades(["NVDA", "MSFT"])),
            2 => subscription.add(alpaca::trades(["MSFT"])),
            _ => Ok(()),
        };
        assert!(
            change.is_ok() || ledger.ended.is_some(),
            "seed {seed}: {change:?}"
        );
        let _ = nothing.recv_timeout(Duration::from_micros(300));
    }
    for stream in manager.shutdown(GENEROUS) {
        assert_eq!(stream.stuck, None, "seed {seed}: {stream}");
    }
    for (subscription, ledger) in &mut readers {
        if ledger.ended.is_none() {
            for update in &*subscription {
                ledger.enter(&update);
            }
        }
        ledger.settle(&subscription.health());
        match ledger.ended.as_ref().unwrap() {
            EndReason::Closed => {}
            EndReason::Failed(error)
                if matches!(error.kind(), ErrorKind::Overflow { capacity: 60, .. }) =>
            {
                seen.overflows.fetch_add(1, Ordering::Relaxed);
            }
            other => panic!("seed {seed}: {other}"),
        }
        seen.events.fetch_add(ledger.events, Ordering::Relaxed);
        seen.gaps.fetch_add(ledger.gaps, Ordering::Relaxed);
        seen.dropped.fetch_add(ledger.dropped, Ordering::Relaxed);
        seen.unparsed.fetch_add(ledger.unparsed, Ordering::Relaxed);
    }
    let stats = sim.stats();
    assert!(
        stats.most_open_per_key <= 1,
        "seed {seed}: it came before its last socket was closed: {stats:?}"
    );
}

#[test]
fn what_is_missing_was_declared_and_what_was_counted_was_read() {
    let range = env::var("TRUNKLINE_SEEDS").ok();
    let range = range.filter(|range| range != "all");
    let range = range.unwrap_or_else(|| "0..200".to_owned());
    let form = "TRUNKLINE_SEEDS is `all`, or a range such as `17..99`";
    let (from, to) = range.split_once("..").expect(form);
    let (from, to): (u64, u64) = (from.parse().expect(form), to.parse().expect(form));
    let seen = std::sync::Arc::new(Seen::default());
    let players: Vec<_> = (0..PLAYERS)
        .map(|player| {
            let seen = std::sync::Arc::clone(&seen);
            spawn(move || {
                for seed in (from..to).filter(|seed| seed % PLAYERS == player) {
                    play(seed, &seen);
                }
            })
        })
        .collect();
    let failed: Vec<_> = players
        .into_iter()
        .filter_map(|player| player.join().err())
        .collect();
    assert!(failed.is_empty(), "the seeds are named above");
    let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
    println!(
        "{} events, {} gaps, {} dropped, {} unparsed, {} overflows",
        of(&seen.events),
        of(&seen.gaps),
        of(&seen.dropped),
        of(&seen.unparsed),
        of(&seen.overflows)
    );
    if to - from >= 200 {
        for (count, enough) in [
            (&seen.events, 10_000),
            (&seen.gaps, 100),
            (&seen.dropped, 1_000),
            (&seen.unparsed, 100),
            (&seen.overflows, 1),
        ] {
            assert!(of(count) >= enough, "hardly anything happened");
        }
    }
}
