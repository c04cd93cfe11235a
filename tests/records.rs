//! What a stream tells an operator: log records and health.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

mod support;

use std::{
    collections::BTreeMap,
    net::TcpListener,
    sync::{Arc, Once},
    thread,
};

use parking_lot::Mutex;
use support::{WAIT, credentials, eventually, quick, sim};
use trunkline::{
    Credentials, EndReason, Error, Health, Manager, MarketEvent, Phase, StreamHandle, StreamKey,
    Trade, Update,
    alpaca::{self, Account, MarketData},
    sim::{Accept, Sim},
};

// ------------------------------------------------------------------------------------------------------------ the logger

/// A record, as a structured logger sees it.
#[derive(Clone, Debug)]
struct Seen {
    level: log::Level,
    target: String,
    message: String,
    pairs: BTreeMap<String, String>,
}

impl Seen {
    fn event(&self) -> &str {
        self.pairs.get("event").map_or("", String::as_str)
    }
}

type Hook = Arc<dyn Fn(&Seen) + Send + Sync>;

/// Everything that the library logs in this process, and what to do at a record of a stream.
#[derive(Default)]
struct Logger {
    seen: Mutex<Vec<Seen>>,
    hooks: Mutex<BTreeMap<String, Hook>>,
}

static LOGGER: Logger = Logger {
    seen: Mutex::new(Vec::new()),
    hooks: Mutex::new(BTreeMap::new()),
};

impl log::Log for Logger {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        metadata.target().starts_with("trunkline")
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs(BTreeMap<String, String>);
        impl<'kvs> log::kv::VisitSource<'kvs> for Pairs {
            fn visit_pair(
                &mut self,
                key: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                let twice = self.0.insert(key.to_string(), value.to_string());
                assert_eq!(twice, None, "{key} stands twice");
                Ok(())
            }
        }
        if !self.enabled(record.metadata()) {
            return;
        }
        let mut pairs = Pairs(BTreeMap::new());
        record.key_values().visit(&mut pairs).unwrap();
        let seen = Seen {
            level: record.level(),
            target: record.target().to_owned(),
            message: record.args().to_string(),
            pairs: pairs.0,
        };
        let hook = seen
            .pairs
            .get("stream")
            .and_then(|stream| self.hooks.lock().get(stream).cloned());
        self.seen.lock().push(seen.clone());
        if let Some(hook) = hook {
            hook(&seen);
        }
    }

    fn flush(&self) {}
}

fn install() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        log::set_logger(&LOGGER).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
    });
}

/// The records of one stream, and those that name none.
fn records(stream: &StreamKey) -> Vec<Seen> {
    let name = stream.to_string();
    let seen = LOGGER.seen.lock();
    seen.iter()
        .filter(|record| {
            record.message.contains(&name)
                || record
                    .pairs
                    .get("stream")
                    .is_none_or(|stream| *stream == name)
        })
        .cloned()
        .collect()
}

fn wait_for(stream: &StreamKey, event: &str, times: usize) {
    eventually(event, || {
        let seen = records(stream);
        seen.iter().filter(|record| record.event() == event).count() >= times
    });
}

fn open(sim: &Sim, credentials: &Credentials) -> (Manager, StreamHandle<MarketData>) {
    install();
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&sim.stocks(), credentials).unwrap();
    (manager, feed)
}

fn trade(id: i64) -> MarketEvent {
    MarketEvent::Trade(Trade {
        symbol: "AAPL".into(),
        id: Some(id),
        exchange: "V".into(),
        price: 150.into(),
        size: 10.into(),
        taker_side: trunkline::Code::default(),
        update: trunkline::Code::default(),
        conditions: ["@"].iter().collect(),
        tape: "C".into(),
        timestamp: trunkline::Timestamp::from_nanos(0),
    })
}

// --------------------------------------------------------------------------------------------------------------- records

#[test]
fn a_whole_life_is_told_in_structured_records_of_one_per_change() {
    let sim_credentials = credentials("life");
    let sim = sim(|config| {
        config.accept = Accept::Only(sim_credentials.clone());
        config.symbol_limit = Some(1);
    });
    let (_manager, feed) = open(&sim, &sim_credentials);
    let key = feed.key().clone();
    feed.wait_live(WAIT).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    let refused = feed.subscribe(alpaca::trades(["MSFT"])).unwrap();
    refused.wait_confirmed(WAIT).unwrap_err();
    wait_for(&key, "refused", 1);
    drop(refused);
    sim.cut();
    wait_for(&key, "live", 2);
    eventually("it is live again", || feed.phase() == Phase::Live);
    drop(trades);
    feed.close(WAIT).unwrap();
    wait_for(&key, "ended", 1);

    let seen = records(&key);
    for record in &seen {
        assert_eq!(record.target, "trunkline::stream", "{record:?}");
        assert!(!record.event().is_empty(), "{record:?}");
        assert_eq!(record.pairs["stream"], key.to_string(), "{record:?}");
        let fingerprint = format!("[{}]", key.fingerprint());
        assert!(record.message.contains(&fingerprint), "{record:?}");
        assert!(record.message.starts_with(&key.to_string()), "{record:?}");
        assert!(!record.message.contains('\n'), "{record:?}");
        let all = format!("{record:?}");
        assert!(
            !all.contains("secret-of-life") && !all.contains("PKlife"),
            "{all}"
        );
    }
    let events: Vec<_> = seen.iter().map(Seen::event).collect();
    let count = |event: &str| events.iter().filter(|seen| **seen == event).count();
    assert_eq!(events.first(), Some(&"opening"), "{events:?}");
    assert_eq!(events.last(), Some(&"ended"), "{events:?}");
    for (event, times) in [("opening", 1), ("live", 2), ("lost", 1), ("ended", 1)] {
        assert_eq!(count(event), times, "{event} in {events:?}");
    }
    assert!(count("refused") >= 1 && count("phase") > 1, "{events:?}");
    let at = |event: &str| events.iter().position(|seen| *seen == event).unwrap();
    assert!(at("opening") < at("live") && at("live") < at("refused") && at("refused") < at("lost"));
    // Levels that an operator can filter by.
    for record in &seen {
        match record.event() {
            "phase" => assert!(record.level >= log::Level::Debug, "{record:?}"),
            "lost" | "refused" => assert_eq!(record.level, log::Level::Warn, "{record:?}"),
            "opening" | "live" => assert_eq!(record.level, log::Level::Info, "{record:?}"),
            _ => {}
        }
    }
}

#[test]
fn a_fatal_end_is_told_with_its_cause() {
    let right = credentials("right");
    let sim = sim(|config| config.accept = Accept::Only(right));
    let wrong = credentials("wrong");
    let (_manager, feed) = open(&sim, &wrong);
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected", "{error:?}");
    let key = feed.key().clone();
    wait_for(&key, "ended", 1);
    let seen = records(&key);
    let ended: Vec<_> = seen
        .iter()
        .filter(|record| record.event() == "ended")
        .collect();
    assert_eq!(ended.len(), 1, "{seen:#?}");
    assert_eq!(ended[0].level, log::Level::Error, "{:?}", ended[0]);
    assert!(ended[0].message.contains("402"), "{:?}", ended[0]);
    assert!(matches!(
        feed.end_reason(),
        Some(EndReason::Failed(Error::Rejected { .. }))
    ));
}

#[test]
fn ten_thousand_messages_make_no_record() {
    const ALL: u64 = 10_000;
    let sim = sim(|config| config.batch = 1);
    let (_manager, feed) = open(&sim, &credentials("hot"));
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    wait_for(feed.key(), "confirmed", 1);
    let told = records(feed.key()).len();
    let before = feed.health().counters;
    for id in 1..=ALL {
        sim.push(trade(i64::try_from(id).unwrap()));
    }
    let mut events = 0;
    while events < ALL {
        if let Update::Event(_) = trades.recv_timeout(WAIT).unwrap() {
            events += 1;
        }
    }
    eventually("all were counted", || {
        feed.health().counters.events - before.events == ALL
    });
    let messages = feed.health().counters.messages - before.messages;
    assert!(messages > ALL / 100, "they came in {messages} messages");
    let name = feed.key().to_string();
    let new: Vec<_> = records(feed.key())
        .split_off(told)
        .into_iter()
        .filter(|record| record.message.contains(&name))
        .collect();
    assert!(new.is_empty(), "{new:#?}");
}

/// Runs `body` on a thread of its own, and fails when it hangs.
fn in_time(body: impl FnOnce() + Send + 'static) {
    let (done, finished) = crossbeam_channel::bounded(1);
    let thread = thread::spawn(move || {
        body();
        let _ = done.send(());
    });
    match finished.recv_timeout(2 * WAIT) {
        Ok(()) => {}
        Err(crossbeam_channel::RecvTimeoutError::Timeout) => panic!("deadlock"),
        Err(crossbeam_channel::RecvTimeoutError::Disconnected) => {
            std::panic::resume_unwind(thread.join().unwrap_err())
        }
    }
}

#[test]
fn a_logger_may_ask_for_health_and_drop_handles_and_open_again() {
    in_time(|| {
        let sim = sim(|config| config.symbol_limit = Some(1));
        let credentials = credentials("hook");
        let (manager, feed) = open(&sim, &credentials);
        let key = feed.key().clone();
        feed.wait_live(WAIT).unwrap();
        let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
        trades.wait_confirmed(WAIT).unwrap();

        let spare = Mutex::new(vec![feed.clone(); 20]);
        let subscription = Mutex::new(Some(trades));
        let called = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&called);
        let (asked, venue) = (manager.clone(), sim.stocks());
        LOGGER.hooks.lock().insert(
            key.to_string(),
            Arc::new(move |record| {
                let handle = spare.lock().pop();
                let mut healths = asked.health().streams;
                if let Some(handle) = &handle {
                    healths.push(handle.health());
                    let _ = handle.phase();
                    let _ = handle.end_reason();
                    // Not while it ends: the stream's own thread would wait for itself.
                    if matches!(record.event(), "live" | "lost" | "refused") {
                        drop(asked.open(&venue, &credentials));
                    }
                }
                told.lock().push((record.event().to_owned(), healths.len()));
                if record.event() == "lost" {
                    drop(subscription.lock().take());
                }
                drop(handle);
            }),
        );
        // Records from both sides: of the stream's thread, and of calls.
        feed.subscribe(alpaca::trades(["MSFT"]))
            .unwrap()
            .wait_confirmed(WAIT)
            .unwrap_err();
        wait_for(&key, "refused", 1);
        sim.cut();
        wait_for(&key, "live", 2);
        sim.reset();
        wait_for(&key, "live", 3);
        assert!(called.lock().iter().any(|(event, _)| event == "lost"));
        assert!(called.lock().iter().all(|(_, healths)| *healths >= 1));
        let shut = manager.shutdown(WAIT);
        assert!(shut.iter().all(|stream| stream.stuck.is_none()), "{shut:?}");
        drop(feed);
        wait_for(&key, "ended", 1);
        LOGGER.hooks.lock().remove(&key.to_string());
    });
}

#[test]
fn the_last_handle_may_be_dropped_inside_a_logger() {
    in_time(|| {
        let sim = sim(|_| {});
        let (manager, feed) = open(&sim, &credentials("lasthook"));
        let key = feed.key().clone();
        feed.wait_live(WAIT).unwrap();
        let last = Mutex::new(Some(feed));
        LOGGER
            .hooks
            .lock()
            .insert(key.to_string(), Arc::new(move |_| drop(last.lock().take())));
        sim.cut();
        wait_for(&key, "ended", 1);
        eventually("the stream is gone", || manager.health().streams.is_empty());
        LOGGER.hooks.lock().remove(&key.to_string());
    });
}

// -------------------------------------------------------------------------------------------------------------- accounts

#[test]
fn the_opening_record_names_the_account() {
    let sim = sim(|_| {});
    for (key, named, other) in [
        ("PKOPENING1", "paper", "live"),
        ("AKOPENING2", "live", "paper"),
    ] {
        let credentials = Credentials::new(key, "secret-of-opening").unwrap();
        let (_manager, feed) = open(&sim, &credentials);
        wait_for(feed.key(), "opening", 1);
        let seen = records(feed.key());
        let opening: Vec<_> = seen
            .iter()
            .filter(|record| record.event() == "opening")
            .collect();
        assert_eq!(opening.len(), 1);
        let message = &opening[0].message;
        assert!(
            message.contains(named) && !message.contains(other),
            "{message}"
        );
        feed.close(WAIT).unwrap();
    }
}

#[test]
fn a_key_of_the_other_account_is_refused_before_any_connection() {
    assert_eq!(Account::default(), Account::Paper);
    let sim = sim(|_| {});
    install();
    let manager = Manager::with_config(quick()).unwrap();
    for (key, account, found) in [
        ("AKREFUSED1", Account::Paper, "live"),
        ("PKREFUSED2", Account::Live, "paper"),
        ("AKREFUSED3", Account::default(), "live"),
    ] {
        let credentials = Credentials::new(key, "secret-of-refused").unwrap();
        let venue = sim.stocks().account(account);
        let error = manager.open(&venue, &credentials).unwrap_err();
        assert!(
            matches!(&error, Error::WrongAccount { found: seen, wanted, .. }
                if *seen == found && *wanted == account.to_string()),
            "{error:?}"
        );
        assert!(!error.is_retryable());
        assert!(!format!("{error} {error:?}").contains(key));
        assert_eq!(Account::of(&credentials).unwrap().to_string(), found);
    }
    assert!(manager.health().streams.is_empty());
    // The right ones pass, and so does a key that tells nothing. The first connection is theirs.
    for (key, account) in [
        ("PKALLOWED1", Account::Paper),
        ("AKALLOWED2", Account::Live),
        ("CKALLOWED3", Account::Live),
    ] {
        assert_eq!(
            sim.stats().connections_opened,
            u64::from(account == Account::Live) + u64::from(key.starts_with("CK"))
        );
        let credentials = Credentials::new(key, "secret-of-allowed").unwrap();
        let feed = manager
            .open(&sim.stocks().account(account), &credentials)
            .unwrap();
        feed.wait_live(WAIT).unwrap();
    }
    assert_eq!(sim.stats().connections_opened, 3);
}

// ---------------------------------------------------------------------------------------------------------------- health

fn assert_shown(health: &Health, key: &StreamKey) -> serde_json::Value {
    let json = serde_json::to_string(health).unwrap();
    for text in [health.to_string(), json.clone(), format!("{health:?}")] {
        assert!(text.contains(&key.fingerprint().to_string()), "{text}");
        assert!(
            !text.contains("PKhealth") && !text.contains("secret-of-health"),
            "{text}"
        );
    }
    assert!(health.to_string().contains(health.phase.name()));
    serde_json::from_str(&json).unwrap()
}

#[test]
fn health_follows_the_stream_in_display_and_json() {
    let sim = sim(|config| config.symbol_limit = Some(2));
    let credentials = credentials("health");
    {
        // Somebody listens and never says a word.
        install();
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let endpoint = format!("ws://{}/v2/iex", silent.local_addr().unwrap());
        let venue = sim.stocks().at(endpoint.parse().unwrap());
        let feed = Manager::new().open(&venue, &credentials).unwrap();
        eventually("it waits for the upgrade", || {
            feed.phase() == Phase::Upgrading
        });
        let health = feed.health();
        let json = assert_shown(&health, feed.key());
        assert_eq!(json["phase"], "upgrading");
        assert_eq!(
            (health.epoch, health.leases, health.topics_wanted),
            (0, 1, 0)
        );
        assert_eq!(health.counters.attempts, 1);
    }

    let (manager, feed) = open(&sim, &credentials);
    let key = feed.key().clone();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    feed.wait_live(WAIT).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    let refused = feed.subscribe(alpaca::trades(["MSFT", "NVDA"])).unwrap();
    refused.wait_confirmed(WAIT).unwrap_err();
    let another = feed.clone();
    for id in 1..=5 {
        sim.push(trade(id));
    }
    eventually("five events are queued", || {
        trades.health().events_queued == 5
    });
    let health = feed.health();
    let json = assert_shown(&health, &key);
    assert_eq!(json["phase"], "live");
    assert_eq!(json["stream"], key.to_string());
    assert_eq!(health.leases, 4, "two handles, two subscriptions");
    assert_eq!((health.topics_wanted, health.topics_confirmed), (3, 1));
    let missing: Vec<_> = health
        .topics_missing
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(missing, ["trades:MSFT", "trades:NVDA"]);
    assert_eq!(json["topics_missing"][0], "trades:MSFT");
    assert_eq!(health.epoch, 1);
    assert_eq!(health.cause, None);
    assert_eq!(health.counters.events, 5);
    assert!(health.counters.messages >= 4 && health.counters.bytes > 0);
    assert!(health.last_message_age.is_some());
    assert_eq!(health.subscriptions.len(), 2);
    assert_eq!(health.subscriptions[0].events_queued, 5);
    assert_eq!(json["subscriptions"][0]["events_routed"], 5);
    assert_eq!(json["counters"]["events"], 5);
    assert!(
        health.to_string().contains("1 of 3 topics confirmed"),
        "{health}"
    );
    assert_eq!(manager.health().streams.len(), 1);

    drop((another, refused));
    eventually("what was refused is wanted no longer", || {
        feed.health().topics_wanted == 1
    });
    assert_eq!(feed.health().leases, 2);
    while !matches!(trades.recv_timeout(WAIT).unwrap(), Update::Event(_)) {}
    let health = feed.health().subscriptions.swap_remove(0);
    assert_eq!((health.events_delivered, health.events_queued), (1, 4));

    sim.cut();
    eventually("it is live again", || {
        let health = feed.health();
        health.phase == Phase::Live && health.epoch == 2
    });
    assert_eq!(feed.health().cause, None, "what is over is no cause");

    // Somebody who comes back later finds a line that waits, with its cause.
    let address = sim.local_addr();
    drop(sim);
    eventually("the cause is shown", || feed.health().cause.is_some());
    let health = feed.health();
    assert!(health.failures >= 1, "{health}");
    assert_shown(&health, &key);
    assert!(health.cause.unwrap().contains(&address.to_string()));
    manager.shutdown(WAIT);
    assert_eq!(feed.health().phase, Phase::Ended);
    assert_shown(&feed.health(), &key);
}
