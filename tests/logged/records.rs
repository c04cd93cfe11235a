//! What a stream tells an operator: log records and health.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

use std::{net::TcpListener, sync::Arc, thread, time::Duration};

use crate::support::{
    WAIT, credentials, eventually,
    logger::{LOGGER, Seen, install, records, wait_for},
    quick, sim,
};
use parking_lot::Mutex;
use trunkline::{
    Config, Credentials, EndReason, ErrorKind, Health, Manager, MarketEvent, Phase, StreamHandle,
    StreamKey, Update,
    alpaca::{self, Account, Feed, MarketData},
    calendar::Calendar,
    sim::{Accept, Sim},
    testing,
};

fn open(sim: &Sim, credentials: &Credentials) -> (Manager, StreamHandle<MarketData>) {
    install();
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&sim.stocks(), credentials).unwrap();
    (manager, feed)
}

fn trade(id: i64) -> MarketEvent {
    let mut trade = testing::trade("AAPL", 150, 10);
    trade.id = Some(id);
    trade.into()
}

// --------------------------------------------------------------------------------------------------------------- records

/// What every record has, whatever it tells.
fn assert_well_formed(record: &Seen, key: &StreamKey) {
    assert_eq!(record.target, "trunkline::stream", "{record:?}");
    assert_eq!(record.pairs["stream"], key.to_string(), "{record:?}");
    assert!(record.message.starts_with(&key.to_string()), "{record:?}");
    assert!(!record.message.contains('\n'), "{record:?}");
    let again = &record.message[key.to_string().len()..];
    assert!(!again.contains(&key.to_string()), "{record:?}");
    // Whose it is stands in both places, or in none.
    let note = format!("{key} (correlation ");
    match record.pairs.get("correlation") {
        Some(id) => assert!(record.message.starts_with(&format!("{note}{id}): "))),
        None => assert!(!record.message.contains("correlation"), "{record:?}"),
    }
}

#[test]
fn a_whole_life_is_told_in_exactly_the_documented_records() {
    use log::Level::{Debug, Info, Warn};
    let sim_credentials = credentials("life");
    let sim = sim(|config| {
        config.accept = Accept::Only(sim_credentials.clone());
        config.symbol_limit = Some(1);
    });
    install();
    let manager = Manager::with_config(quick()).unwrap().correlated("bot");
    let feed = manager.open(&sim.stocks(), &sim_credentials).unwrap();
    let key = feed.key().clone();
    feed.wait_live(WAIT).unwrap();
    let order = feed.correlated("order-7");
    let trades = order.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    let another = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    another.wait_confirmed(WAIT).unwrap();
    wait_for(&key, "confirmed", 2);
    let refused = feed.subscribe(alpaca::trades(["MSFT"]).correlated("leg-2"));
    let refused = refused.unwrap();
    refused.wait_confirmed(WAIT).unwrap_err();
    wait_for(&key, "refused", 1);
    sim.cut();
    wait_for(&key, "live", 2);
    // Restored as it was, and refused as before: no news, and no records.
    eventually("it was asked for again", || {
        feed.health().topics_confirmed == 1
            && refused.health().topics_pending == 0
            && feed.health().epoch == 2
    });
    // The one that was refused goes first: there will be room for it when the others have gone.
    drop((refused, trades, another, feed));
    order.close(WAIT).unwrap();
    wait_for(&key, "ended", 1);

    let seen = records(&key);
    let mut told = Vec::new();
    for record in &seen {
        assert_well_formed(record, &key);
        let all = format!("{record:?}");
        assert!(
            !all.contains("secret-of-life") && !all.contains("PKlife"),
            "{all}"
        );
        let keys: Vec<_> = record.pairs.keys().map(String::as_str).collect();
        let correlation = record.pairs.get("correlation").map(String::as_str);
        if record.event() == "phase" {
            assert_eq!((record.level, correlation), (Debug, None), "{record:?}");
            assert_eq!(keys, ["event", "stream"]);
        } else {
            told.push((record.event(), record.level, correlation, keys));
        }
    }
    let by_caller = ["correlation", "event", "stream"].to_vec();
    let opening = ["correlation", "event", "generation", "stream"].to_vec();
    let refusal = ["code", "correlation", "event", "stream"].to_vec();
    let live = ["epoch", "event", "stream"].to_vec();
    let lost = ["attempt", "code", "event", "stream"].to_vec();
    let expected = vec![
        ("opening", Info, Some("bot"), opening),
        ("live", Info, None, live.clone()),
        ("confirmed", Debug, Some("order-7"), by_caller.clone()),
        ("confirmed", Debug, Some("bot"), by_caller.clone()),
        ("refused", Warn, Some("leg-2"), refusal),
        ("lost", Warn, None, lost),
        ("live", Info, None, live),
        ("stopping", Info, Some("order-7"), by_caller),
        ("ended", Info, None, ["event", "stream"].to_vec()),
    ];
    assert_eq!(told, expected, "{seen:#?}");
    // A phase is told when it is entered, and only then.
    let phases: Vec<_> = seen
        .iter()
        .filter(|record| record.event() == "phase")
        .map(|record| record.message.rsplit(": ").next().unwrap().to_owned())
        .collect();
    assert!(
        phases.windows(2).all(|pair| pair[0] != pair[1]),
        "{phases:?}"
    );
    assert!(
        phases.iter().any(|phase| phase.starts_with("waiting for ")),
        "{phases:?}"
    );
}

#[test]
fn a_calendar_whose_table_ends_is_told_once_and_one_that_goes_on_is_not() {
    let sim = sim(|_| {});
    install();
    let manager = Manager::with_config(quick()).unwrap();
    for (last, told) in [(2025, 1), (2250, 0)] {
        let calendar = Calendar::us_equities()
            .with_known_through(last, 12, 31)
            .unwrap();
        let venue = sim.stocks().calendar(calendar);
        let credentials = credentials(&format!("table{last}"));
        let feed = manager.open(&venue, &credentials).unwrap();
        let key = feed.key().clone();
        feed.wait_live(WAIT).unwrap();
        sim.cut();
        wait_for(&key, "live", 2);
        feed.close(WAIT).unwrap();
        wait_for(&key, "ended", 1);
        let records = records(&key);
        let ends: Vec<_> = records
            .iter()
            .filter(|record| record.event() == "calendar")
            .collect();
        assert_eq!(ends.len(), told, "{records:#?}");
        for record in ends {
            assert_eq!(record.level, log::Level::Warn);
            assert!(record.message.contains("2026-01-01T01:00:00"), "{record:?}");
        }
    }
}

#[test]
fn a_stream_that_does_not_end_in_time_is_told_with_whose_wait_it_was() {
    in_time(|| {
        let sim = sim(|_| {});
        install();
        let manager = Manager::with_config(quick()).unwrap();
        let feed = manager
            .correlated("patient")
            .open(&sim.stocks(), &credentials("stuck"))
            .unwrap();
        feed.wait_live(WAIT).unwrap();
        let key = feed.key().clone();
        // The stream's thread hangs in user code.
        let (release, held) = crossbeam_channel::bounded::<()>(0);
        LOGGER.hooks.lock().insert(
            key.to_string(),
            Arc::new(move |record| {
                if record.event() == "lost" {
                    let _ = held.recv();
                }
            }),
        );
        sim.cut();
        wait_for(&key, "lost", 1);
        let error = feed
            .correlated("impatient")
            .close(Duration::ZERO)
            .unwrap_err();
        assert_eq!(error.code(), "still_shared");
        let last = feed.correlated("impatient");
        drop(feed);
        let error = last.close(Duration::from_millis(1)).unwrap_err();
        assert_eq!(
            (error.code(), error.correlation()),
            ("timed_out", Some("impatient"))
        );
        let shut = manager.correlated("janitor").shutdown(Duration::ZERO);
        assert!(shut[0].stuck.is_some(), "{shut:?}");
        drop(release);
        wait_for(&key, "ended", 1);
        LOGGER.hooks.lock().remove(&key.to_string());
        let seen = records(&key);
        seen.iter()
            .for_each(|record| assert_well_formed(record, &key));
        let of = |event: &str| -> Vec<_> {
            let of = seen.iter().filter(|record| record.event() == event);
            of.map(|record| (record.level, record.pairs["correlation"].as_str()))
                .collect()
        };
        assert_eq!(
            of("stuck"),
            [
                (log::Level::Error, "impatient"),
                (log::Level::Error, "janitor")
            ]
        );
        // Who asked first is who ended it.
        assert_eq!(of("stopping"), [(log::Level::Info, "impatient")]);
    });
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
    assert!(
        matches!(feed.end_reason(), Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Rejected { .. }))
    );
}

/// What happened first is told first, also where it came in one message with what followed.
#[test]
fn a_confirmation_is_told_before_the_loss_right_behind_it() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("ws://{}/v2/iex", listener.local_addr().unwrap());
    let server = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut venue = tungstenite::accept(socket).unwrap();
        for said in ["connected", "authenticated"] {
            let said = format!(r#"[{{"T":"success","msg":"{said}"}}]"#);
            venue.send(said.into()).unwrap();
            venue.read().unwrap();
        }
        let reply = r#"{"T":"subscription","trades":["AAPL"]}"#;
        let refusal = r#"{"T":"error","code":406,"msg":"connection limit exceeded"}"#;
        venue.send(format!("[{reply},{refusal}]").into()).unwrap();
        while venue.read().is_ok() {}
    });
    install();
    let mut config = Config::default();
    config.backoff.initial = WAIT;
    config.backoff.cap = WAIT;
    let manager = Manager::with_config(config).unwrap();
    let venue = alpaca::stocks(Feed::Iex).at(url.parse().unwrap());
    let feed = manager.open(&venue, &credentials("brief")).unwrap();
    let key = feed.key().clone();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    wait_for(&key, "lost", 1);
    server.join().unwrap();
    let seen = records(&key);
    let events = seen.iter().map(Seen::event);
    let events: Vec<_> = events.filter(|event| *event != "phase").collect();
    assert_eq!(events[..4], ["opening", "live", "confirmed", "lost"]);
    drop((trades, feed));
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
            matches!(error.kind(), ErrorKind::WrongAccount { found: seen, wanted, .. }
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
    // All that an operator may ask for, by name.
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let names = |json: &serde_json::Value| -> Vec<String> {
        json.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(
        names(&json),
        [
            "behind",
            "budget",
            "cause",
            "cause_code",
            "counters",
            "draining_for",
            "epoch",
            "failures",
            "generation",
            "gives_up_in",
            "in_phase",
            "last_message_age",
            "leases",
            "newest_unmatched",
            "next_attempt_in",
            "phase",
            "stream",
            "subscriptions",
            "topics_confirmed",
            "topics_missing",
            "topics_wanted",
        ]
    );
    for subscription in json["subscriptions"].as_array().unwrap() {
        assert_eq!(
            names(subscription),
            [
                "bytes_queued",
                "capacity",
                "capacity_bytes",
                "correlation",
                "events_conflated",
                "events_delivered",
                "events_dropped",
                "events_queued",
                "events_routed",
                "id",
                "lag",
                "overflow",
                "priority",
                "topics",
                "topics_confirmed",
                "topics_pending",
            ]
        );
    }
    json
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
    assert_eq!((health.topics_wanted, health.topics_confirmed), (3, 2));
    let missing: Vec<_> = health
        .topics_missing
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(missing, ["trades:NVDA"]);
    assert_eq!(json["topics_missing"][0], "trades:NVDA");
    // Learned from a refusal.
    assert_eq!(json["budget"]["limit"], 2);
    assert_eq!(health.budget.unwrap().used, 2);
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
        health.to_string().contains("2 of 3 topics confirmed"),
        "{health}"
    );
    assert!(
        health
            .to_string()
            .contains("missing trades:NVDA, 2 of 2 symbols"),
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
    // Once, in front.
    assert_eq!(health.to_string().matches(&address.to_string()).count(), 1);
    assert!(health.to_string().contains(health.cause.as_ref().unwrap()));
    let code = health.cause_code.unwrap();
    assert!(["unreachable", "lost"].contains(&code), "{code}");
    manager.shutdown(WAIT);
    assert_eq!(feed.health().phase, Phase::Ended);
    assert_shown(&feed.health(), &key);
}
