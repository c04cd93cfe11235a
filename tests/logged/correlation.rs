//! Whose operation it was: on errors, declarations and health, although the stream is shared.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use crate::support;
use crate::support::{
    WAIT, credentials, eventually,
    logger::{install, records, wait_for},
    quick, sim,
};
use trunkline::{
    Declared, EndReason, Error, Manager, MarketEvent, Notice, Overflow, Phase, StreamHandle,
    Subscription, Update,
    alpaca::{self, Account, MarketData},
    market::TradeEvent,
    sim::Accept,
    testing,
};

fn trade(id: i64) -> MarketEvent {
    let mut trade = testing::trade("AAPL", 150, 10);
    trade.id = Some(id);
    trade.into()
}

/// The next update that is not an event.
fn declared(trades: &Subscription<TradeEvent>) -> Update<TradeEvent> {
    loop {
        match trades.recv_timeout(WAIT).unwrap() {
            Update::Event(_) => {}
            other => return other,
        }
    }
}

#[test]
fn scopes_inherit_and_the_narrowest_wins() {
    let sim = sim(|_| {});
    let manager = Manager::with_config(quick()).unwrap();
    assert_eq!(manager.correlation(), None);
    let bot = manager.correlated("bot");
    assert_eq!(bot.correlation(), Some("bot"));
    assert_eq!(manager.correlation(), None, "a scope of its own");
    assert_eq!(bot.correlated(" \n").correlation(), Some("bot"));
    let credentials = credentials("inherit");
    let feed = bot.open(&sim.stocks(), &credentials).unwrap();
    let order = feed.correlated(format_args!("order-{}", 7));
    let topics = || alpaca::trades(["AAPL"]);
    let subscriptions = [
        (feed.subscribe(topics()).unwrap(), Some("bot")),
        (order.clone().subscribe(topics()).unwrap(), Some("order-7")),
        (
            order.subscribe(topics().correlated("leg\t1")).unwrap(),
            Some("leg_1"),
        ),
        (
            manager
                .open(&sim.stocks(), &credentials)
                .unwrap()
                .subscribe(topics())
                .unwrap(),
            None,
        ),
    ];
    let health = feed.health();
    assert_eq!(health.leases, 6, "a scope of a handle is a hold");
    for (subscription, id) in &subscriptions {
        subscription.wait_confirmed(WAIT).unwrap();
        assert_eq!(subscription.correlation(), *id);
        let Update::Notice(notice) = declared(subscription) else {
            panic!("no acknowledgement");
        };
        assert!(matches!(notice.what, Notice::Confirmed { .. }), "{notice}");
        assert_eq!(notice.stream(), feed.key());
        let update = Update::<()>::Notice(notice.clone());
        assert_eq!(update.correlation(), *id);
        let note = id.map_or_else(String::new, |id| format!(" (correlation {id})"));
        assert_eq!(notice.to_string(), format!("confirmed: trades:AAPL{note}"));
        let json = serde_json::to_value(&notice).unwrap();
        assert_eq!(json.get("correlation").and_then(|id| id.as_str()), *id);
    }
    // Who holds this symbol?
    let health = feed.health();
    let holders: Vec<_> = health
        .subscriptions
        .iter()
        .filter(|held| held.topics.iter().any(|topic| topic.symbol == "AAPL"))
        .map(|held| held.correlation.as_ref().map(ToString::to_string))
        .collect();
    let expected: Vec<_> = subscriptions
        .iter()
        .map(|(_, id)| id.map(ToOwned::to_owned))
        .collect();
    assert_eq!(holders, expected);
    assert!(
        health
            .to_string()
            .contains("subscription 2 (correlation order-7): trades:AAPL: "),
        "{health}"
    );
    assert_eq!(
        serde_json::to_value(&health).unwrap()["subscriptions"][2]["correlation"],
        "leg_1"
    );
}

#[test]
fn each_error_says_whose_operation_got_it() {
    let sim = sim(|config| {
        config.symbol_limit = Some(1);
        config.accept = Accept::Only(credentials("errors"));
    });
    let credentials = credentials("errors");
    let manager = Manager::with_config(quick()).unwrap().correlated("opener");
    let is = |error: Error, code: &str, id: &str, phase: Option<Phase>| {
        assert_eq!(error.code(), code, "{error:?}");
        assert_eq!(error.correlation(), Some(id), "{error:?}");
        assert_eq!(error.phase(), phase, "{error:?}");
        let stream = error.stream().unwrap();
        for text in [error.to_string(), format!("{error:?}")] {
            let begins = format!("{stream} (correlation {id}): ");
            assert!(text.starts_with(&begins), "{text}");
        }
    };
    let live = Some(Phase::Live);
    is(
        manager
            .open(
                &sim.stocks().symbol_budget(None).account(Account::Live),
                &credentials,
            )
            .unwrap_err(),
        "wrong_account",
        "opener",
        None,
    );
    let feed = manager
        .open(&sim.stocks().symbol_budget(None), &credentials)
        .unwrap();
    feed.wait_live(WAIT).unwrap();
    let mut other = quick();
    other.ping_interval = Duration::from_secs(77);
    let stranger = Manager::with_config(other).unwrap().correlated("stranger");
    let conflict = stranger
        .open(&sim.stocks().symbol_budget(None), &credentials)
        .unwrap_err();
    is(conflict, "settings_conflict", "stranger", live);

    let order = feed.correlated("order");
    let bad = order.subscribe(alpaca::trades(["aapl"])).unwrap_err();
    is(bad, "invalid_topic", "order", live);
    let bad = alpaca::trades(["AAPL"]).queue(0, Overflow::End);
    let bad = order.subscribe(bad.correlated("leg")).unwrap_err();
    is(bad, "invalid_config", "leg", live);
    let first = order.subscribe(alpaca::trades(["AAPL"])).unwrap();
    first.wait_confirmed(WAIT).unwrap();
    let bad = first.add(alpaca::quotes(["x y"])).unwrap_err();
    is(bad, "invalid_topic", "order", live);
    let bad = first.add(alpaca::quotes(["x y"]).correlated("added"));
    is(bad.unwrap_err(), "invalid_topic", "added", live);
    let second = feed
        .subscribe(alpaca::trades(["MSFT"]).correlated("second"))
        .unwrap();
    let refused = second.wait_confirmed(WAIT).unwrap_err();
    is(refused, "refused", "second", live);
    let Update::Notice(Declared {
        what: Notice::Refused { error, .. },
        ..
    }) = declared(&second)
    else {
        panic!("no refusal");
    };
    is(error, "refused", "second", live);
    let book = order.price_book(["AAPL", "TSLA"]).unwrap();
    let refused = book.wait_fresh("TSLA", WAIT, WAIT).unwrap_err();
    is(refused, "refused", "order", live);
    let (_, refusal) = book.unconfirmed().swap_remove(0);
    is(refusal.unwrap(), "refused", "order", live);
    let stale = book.best_price("NVDA", WAIT).unwrap_err();
    is(stale, "not_fresh", "order", None);
    is(book.add(["*"]).unwrap_err(), "invalid_topic", "order", None);
    let wild = order.price_book(["*"]).unwrap_err();
    is(wild, "invalid_topic", "order", live);
    let held = order.health().subscriptions.pop().unwrap();
    assert_eq!(held.correlation.unwrap().as_str(), "order");
    drop(book);
    let late = feed.subscribe(alpaca::trades(["MSFT", "AAPL"])).unwrap();
    is(
        late.wait_confirmed(WAIT).unwrap_err(),
        "refused",
        "opener",
        live,
    );
    let closed = order.clone().close(WAIT).unwrap_err();
    is(closed, "still_shared", "order", live);

    // What ends all of them is told to each in its own name.
    manager.shutdown(WAIT);
    let ended = Some(Phase::Ended);
    is(feed.wait_live(WAIT).unwrap_err(), "closed", "opener", ended);
    is(order.wait_live(WAIT).unwrap_err(), "closed", "order", ended);
    is(
        first.wait_confirmed(WAIT).unwrap_err(),
        "closed",
        "order",
        ended,
    );
    is(second.resubscribe().unwrap_err(), "closed", "second", ended);
    let gone = order.subscribe(alpaca::trades(["AAPL"])).unwrap_err();
    is(gone, "closed", "order", ended);
    assert!(matches!(
        declared(&first),
        Update::Notice(Declared {
            what: Notice::Confirmed { .. },
            ..
        })
    ));
    let Update::Ended(end) = declared(&first) else {
        panic!("no end");
    };
    assert_eq!(end.to_string(), "ended: closed (correlation order)");

    // Nobody listens any more: the end is a failure, and the stream's own cause is in no scope.
    drop((feed, order, first, second, late, sim));
    let mut config = quick();
    config.backoff.max_failures = Some(2);
    let sim = support::sim(|config| config.accept = Accept::Only(support::credentials("nobody")));
    let manager = Manager::with_config(config).unwrap();
    let feed = manager
        .correlated("rejected")
        .open(&sim.stocks().symbol_budget(None), &credentials)
        .unwrap();
    let order = feed.correlated("also");
    let phase = Some(Phase::Authenticating);
    is(
        feed.wait_live(WAIT).unwrap_err(),
        "rejected",
        "rejected",
        phase,
    );
    is(
        order.wait_live(WAIT).unwrap_err(),
        "rejected",
        "also",
        phase,
    );
    let Some(EndReason::Failed(reason)) = order.end_reason() else {
        panic!("no reason");
    };
    is(reason, "rejected", "also", phase);
}

#[test]
fn gaps_resumptions_and_drops_say_whose_they_are() {
    let sim = sim(|_| {});
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager
        .open(&sim.stocks(), &credentials("declared"))
        .unwrap();
    let named = feed
        .subscribe(
            alpaca::trades(["AAPL"])
                .queue(2, Overflow::DropOldest)
                .correlated("slow"),
        )
        .unwrap();
    let nameless = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    for subscription in [&named, &nameless] {
        subscription.wait_confirmed(WAIT).unwrap();
        assert!(matches!(declared(subscription), Update::Notice(_)));
    }
    for id in 1..=5 {
        sim.push(trade(id));
    }
    eventually("all were routed", || named.health().events_routed == 5);
    let dropped = declared(&named);
    assert_eq!(dropped.correlation(), Some("slow"));
    let Update::Dropped(dropped) = dropped else {
        panic!("{dropped:?}")
    };
    assert_eq!(dropped.to_string(), "3 events (correlation slow)");
    let error = Update::<TradeEvent>::Dropped(dropped).strict().unwrap_err();
    assert_eq!(error.correlation(), Some("slow"), "{error:?}");

    sim.cut();
    for (subscription, id) in [(&named, Some("slow")), (&nameless, None)] {
        let gap = declared(subscription);
        assert_eq!(gap.correlation(), id);
        let Update::Gap(gap) = gap else {
            panic!("{gap:?}")
        };
        assert_eq!(gap.to_string().contains("(correlation slow)"), id.is_some());
        let error = Update::<TradeEvent>::Gap(gap).strict().unwrap_err();
        assert_eq!(error.correlation(), id, "{error:?}");
        let resumed = declared(subscription);
        assert!(
            matches!(
                &resumed,
                Update::Notice(Declared {
                    what: Notice::Resumed { .. },
                    ..
                })
            ),
            "{resumed:?}"
        );
        assert_eq!(resumed.correlation(), id);
    }
}

/// What one of many saw that was its own.
#[derive(Debug, Default)]
struct Seen {
    events: u64,
    gaps: u64,
    resumed: u64,
    drops: u64,
    confirmed: u64,
    refused: u64,
    overflowed: u64,
}

impl Seen {
    /// Everything but an event says whose it is, and names none but this one's topics.
    fn take(&mut self, update: Update<TradeEvent>, id: &str, own: &str) {
        if let Update::Event(_) = &update {
            self.events += 1;
            return;
        }
        assert_eq!(update.correlation(), Some(id), "{update:?}");
        let mine = |error: &Error| assert_eq!(error.correlation(), Some(id), "{error:?}");
        if let Some(loss) = update.loss() {
            mine(&loss);
        }
        match update {
            Update::Event(_) => {}
            Update::Gap(gap) => {
                mine(&gap.cause);
                self.gaps += gap.breaks;
            }
            Update::Dropped(dropped) => {
                self.drops += dropped.count;
            }
            Update::Notice(Declared {
                what: Notice::Confirmed { topics, .. },
                ..
            }) => {
                assert!(
                    topics.iter().all(|topic| is_of(&topic.symbol, own)),
                    "{topics:?}"
                );
                self.confirmed += 1;
            }
            Update::Notice(Declared {
                what: Notice::Refused { topics, error, .. },
                ..
            }) => {
                assert!(
                    topics.iter().all(|topic| is_of(&topic.symbol, own)),
                    "{topics:?}"
                );
                mine(&error);
                self.refused += 1;
            }
            Update::Notice(Declared {
                what: Notice::Resumed { .. },
                ..
            }) => self.resumed += 1,
            Update::Notice(_) => {}
            Update::Ended(end) => match end.into_result() {
                Ok(()) => {}
                Err(error) => {
                    mine(&error);
                    assert_eq!(error.code(), "overflow", "{error:?}");
                    self.overflowed += 1;
                }
            },
        }
    }
}

/// Symbols say whose they are: `W7`, `W7X` and everybody's `AAPL`.
fn is_of(symbol: &str, own: &str) -> bool {
    symbol == "AAPL" || symbol == own || symbol == format!("{own}X")
}

/// One of fifty: subscribes, changes, reads too slowly and drops, until `done`; then waits for the end.
fn work(feed: &StreamHandle<MarketData>, number: usize, done: &AtomicBool) -> Seen {
    let id = format!("worker-{number}");
    let own = format!("W{number}");
    let handle = feed.correlated(&id);
    let mine = |error: Error| assert_eq!(error.correlation(), Some(&*id), "{error:?}");
    let mut seen = Seen::default();
    let policy = [Overflow::DropOldest, Overflow::DropNewest, Overflow::End][number % 3];
    while !done.load(Ordering::Acquire) {
        let topics = alpaca::trades([&own, "AAPL"]).queue(4, policy);
        let trades = handle.subscribe(topics).unwrap();
        if let Err(error) = trades.wait_confirmed(Duration::from_millis(200)) {
            mine(error);
        }
        mine(trades.add(alpaca::trades(["lower case"])).unwrap_err());
        if let Err(error) = trades.add(alpaca::trades([format!("{own}X")])) {
            // The stream has not ended, so the subscription has: it overflowed.
            mine(error);
        }
        if let Err(error) = trades.wait_confirmed(Duration::from_millis(200)) {
            mine(error);
        }
        mine(handle.clone().close(WAIT).unwrap_err());
        for _ in 0..20 {
            match trades.recv_timeout(Duration::from_millis(5)) {
                Ok(update) => seen.take(update, &id, &own),
                Err(_) => break,
            }
        }
    }
    let last = handle.subscribe(alpaca::trades([own.as_str()])).unwrap();
    for update in &last {
        seen.take(update, &id, &own);
    }
    mine(handle.wait_live(WAIT).unwrap_err());
    seen
}

#[test]
fn of_fifty_handles_under_faults_each_is_told_its_own_and_nothing_else() {
    const WORKERS: usize = 50;
    // Together they want a hundred and one.
    const SYMBOLS: usize = 60;
    install();
    let sim = sim(|config| config.symbol_limit = Some(SYMBOLS));
    let manager = Manager::with_config(quick()).unwrap();
    let opener = manager.correlated("opener");
    let feed = opener.open(&sim.stocks(), &credentials("fifty")).unwrap();
    let key = feed.key().clone();
    feed.wait_live(WAIT).unwrap();
    let done = AtomicBool::new(false);
    let seen: Vec<Seen> = thread::scope(|scope| {
        let workers: Vec<_> = (0..WORKERS)
            .map(|number| {
                let (feed, done) = (&feed, &done);
                scope.spawn(move || work(feed, number, done))
            })
            .collect();
        for round in 1..=12 {
            eventually("the symbols do not suffice for all", || {
                feed.health().topics_confirmed == SYMBOLS
            });
            let before = feed.health().counters.events;
            for id in 0..200 {
                sim.push(trade(id));
            }
            eventually("they came", || feed.health().counters.events > before);
            match round % 3 {
                0 => sim.reset(),
                _ => sim.cut(),
            }
            eventually("the line is back", || feed.health().epoch > round);
        }
        done.store(true, Ordering::Release);
        eventually("each holds one", || {
            let health = feed.health();
            let held = &health.subscriptions;
            held.len() == WORKERS && held.iter().all(|held| held.topics.len() == 1)
        });
        // Who holds what, by name.
        for held in feed.health().subscriptions {
            let id = held.correlation.unwrap();
            let number = id.as_str().strip_prefix("worker-").unwrap();
            assert_eq!(held.topics[0].symbol, *format!("W{number}"));
        }
        manager.correlated("janitor").shutdown(WAIT);
        workers
            .into_iter()
            .map(|worker| worker.join().unwrap())
            .collect()
    });
    let sum = |of: fn(&Seen) -> u64| seen.iter().map(of).sum::<u64>();
    for (what, count) in [
        ("events", sum(|seen| seen.events)),
        ("gaps", sum(|seen| seen.gaps)),
        ("resumptions", sum(|seen| seen.resumed)),
        ("drops", sum(|seen| seen.drops)),
        ("confirmations", sum(|seen| seen.confirmed)),
        ("refusals", sum(|seen| seen.refused)),
        ("overflows", sum(|seen| seen.overflowed)),
    ] {
        assert!(count > 0, "no {what}: {seen:?}");
    }

    wait_for(&key, "ended", 1);
    let name = key.to_string();
    let told = records(&key).into_iter();
    for record in told.filter(|record| record.message.starts_with(&name)) {
        let id = record.pairs.get("correlation").map(String::as_str);
        match (record.event(), id) {
            ("opening", id) => assert_eq!(id, Some("opener")),
            ("stopping", id) => assert_eq!(id, Some("janitor")),
            ("confirmed" | "refused", Some(id)) => {
                let own = id.replace("worker-", "W");
                let symbols: Vec<_> = record
                    .message
                    .split([' ', ':'])
                    .zip(record.message.split([' ', ':']).skip(1))
                    .filter(|(channel, _)| *channel == "trades")
                    .map(|(_, symbol)| symbol)
                    .collect();
                assert!(!symbols.is_empty(), "{record:?}");
                assert!(
                    symbols.iter().all(|symbol| is_of(symbol, &own)),
                    "{record:?}"
                );
            }
            ("phase" | "live" | "lost" | "ended", None) => {}
            _ => panic!("nobody's, or the wrong one's: {record:?}"),
        }
    }
}
