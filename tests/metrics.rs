//! The feature `metrics`: what a recorder is handed, under which names and labels.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

mod support;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
};

use metrics::{
    Counter, Gauge, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder, SharedString, Unit,
};
use parking_lot::Mutex;
use support::{WAIT, credentials, eventually, quick, sim};
use trunkline::{Manager, MarketEvent, Overflow, StreamKey, Update, alpaca, testing};

/// All that was handed on, by name and labels.
#[derive(Default)]
struct Kept {
    counters: Mutex<BTreeMap<Key, Arc<AtomicU64>>>,
    gauges: Mutex<BTreeMap<Key, Arc<AtomicU64>>>,
    times: Mutex<BTreeMap<Key, Arc<Times>>>,
    described: Mutex<BTreeSet<String>>,
}

#[derive(Default)]
struct Times(Mutex<Vec<f64>>);

impl HistogramFn for Times {
    fn record(&self, value: f64) {
        self.0.lock().push(value);
    }
}

static KEPT: LazyLock<Kept> = LazyLock::new(Kept::default);

struct Keep;

impl Recorder for Keep {
    fn describe_counter(&self, name: KeyName, _: Option<Unit>, _: SharedString) {
        KEPT.described.lock().insert(name.as_str().to_owned());
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, what: SharedString) {
        self.describe_counter(name, unit, what);
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, what: SharedString) {
        self.describe_counter(name, unit, what);
    }

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Arc::clone(
            KEPT.counters.lock().entry(key.clone()).or_default(),
        ))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Arc::clone(
            KEPT.gauges.lock().entry(key.clone()).or_default(),
        ))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Arc::clone(
            KEPT.times.lock().entry(key.clone()).or_default(),
        ))
    }
}

/// The metrics of one stream, by name, without the prefix.
fn of<V: Clone>(stream: &StreamKey, all: &Mutex<BTreeMap<Key, V>>) -> BTreeMap<String, V> {
    let fingerprint = stream.fingerprint().to_string();
    let all = all.lock();
    let of_stream = all.iter().filter(|(key, _)| {
        key.labels()
            .any(|label| label.key() == "fingerprint" && label.value() == fingerprint)
    });
    of_stream
        .map(|(key, value)| {
            let labels: BTreeMap<_, _> = key
                .labels()
                .map(|label| (label.key(), label.value()))
                .collect();
            let endpoint = stream.endpoint().to_string();
            assert_eq!(
                labels,
                BTreeMap::from([("endpoint", &*endpoint), ("fingerprint", &*fingerprint)])
            );
            assert!(KEPT.described.lock().contains(key.name()), "{key}");
            let name = key.name().strip_prefix("trunkline_").unwrap();
            (name.to_owned(), value.clone())
        })
        .collect()
}

fn counter(stream: &StreamKey, name: &str) -> u64 {
    of(stream, &KEPT.counters)
        .get(name)
        .map_or(0, |value| value.load(Ordering::Acquire))
}

fn gauge(stream: &StreamKey, name: &str) -> f64 {
    of(stream, &KEPT.gauges)
        .get(name)
        .map_or(0.0, |value| f64::from_bits(value.load(Ordering::Acquire)))
}

fn times(stream: &StreamKey, name: &str) -> usize {
    of(stream, &KEPT.times)
        .get(name)
        .map_or(0, |times| times.0.lock().len())
}

fn trade(id: i64) -> MarketEvent {
    let mut trade = testing::trade("AAPL", 150, 10);
    trade.id = Some(id);
    trade.into()
}

#[test]
fn a_stream_hands_its_counters_to_whatever_recorder_there_is() {
    metrics::set_global_recorder(Keep).unwrap();
    let sim = sim(|_| {});
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager
        .open(&sim.stocks(), &credentials("metrics"))
        .unwrap();
    let key = feed.key().clone();
    feed.wait_live(WAIT).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    let slow = alpaca::trades(["AAPL"]).queue(2, Overflow::DropOldest);
    let slow = feed.subscribe(slow).unwrap();
    slow.wait_confirmed(WAIT).unwrap();
    for id in 0..10 {
        sim.push(trade(id));
    }
    let mut read = 0;
    while read < 10 {
        read += u64::from(matches!(trades.recv_timeout(WAIT), Ok(Update::Event(_))));
    }
    // Also what came too soon after the last time is handed on, without anything more having to happen.
    eventually("events are counted", || counter(&key, "events_total") == 10);
    let health = feed.health();
    for (name, value) in [
        ("attempts_total", health.counters.attempts),
        ("messages_total", health.counters.messages),
        ("bytes_total", health.counters.bytes),
        ("requests_total", health.counters.requests),
        ("connections_total", 1),
        ("events_dropped_total", 8),
    ] {
        // The recorder is handed one metric after the other, and may be looked at in between.
        eventually(name, || counter(&key, name) == value);
    }
    for (name, value) in [
        ("live", 1.0),
        ("leases", 3.0),
        ("subscriptions", 2.0),
        ("topics_wanted", 1.0),
        ("topics_confirmed", 1.0),
    ] {
        eventually(name, || (gauge(&key, name) - value).abs() < 1e-9);
    }
    assert_eq!(
        (times(&key, "setup_seconds"), times(&key, "outage_seconds")),
        (1, 0)
    );
    assert!(times(&key, "request_seconds") >= 1);

    // What a subscription that is gone has counted stays counted.
    drop(slow);
    sim.cut();
    eventually("an outage is measured", || {
        times(&key, "outage_seconds") == 1
    });
    eventually("another connection is counted", || {
        counter(&key, "connections_total") == 2
    });
    eventually("deliveries are counted", || {
        counter(&key, "events_delivered_total") == 10
    });
    assert_eq!(counter(&key, "events_dropped_total"), 8);
    assert_eq!(times(&key, "setup_seconds"), 2);
    let slow = alpaca::trades(["AAPL"]).queue(2, Overflow::DropOldest);
    let slow = feed.subscribe(slow).unwrap();
    slow.wait_confirmed(WAIT).unwrap();
    for id in 10..20 {
        sim.push(trade(id));
    }
    eventually("further drops are added", || {
        counter(&key, "events_dropped_total") == 16
    });
    drop(slow);

    drop(trades);
    feed.close(WAIT).unwrap();
    for (name, value) in of(&key, &KEPT.gauges) {
        let value = f64::from_bits(value.load(Ordering::Acquire));
        assert!(value.abs() < 1e-9, "{name} is still {value}");
    }
    assert_eq!(counter(&key, "events_dropped_total"), 16);
    let everything = format!(
        "{:?} {:?}",
        KEPT.counters.lock().keys(),
        KEPT.described.lock()
    );
    assert!(
        !everything.contains("PKmetrics") && !everything.contains("secret-of-metrics"),
        "{everything}"
    );
    // The crate's documentation has a row for each name, and no other.
    let documented: BTreeSet<_> = include_str!("../src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//! | `trunkline_"))
        .filter_map(|row| row.split('`').next())
        .map(|name| format!("trunkline_{name}"))
        .collect();
    assert_eq!(*KEPT.described.lock(), documented);
}
