//! Delivery over real sockets: broadcast, slow readers, changing topics, gaps, and values that come as they were sent.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::unwrap_used,
    reason = "a test: it panics, and has its own clock and threads"
)]

use std::{
    collections::BTreeMap,
    thread,
    time::{Duration, Instant},
};

use crate::support::{WAIT, credentials, eventually, quick, sim};
use trunkline::{
    Decimal, Declared, EndReason, Error, ErrorKind, Event, Manager, MarketEvent, Notice, Overflow,
    Quote, RecvError, StreamHandle, Subscription, Symbol, Timestamp, Topics, Trade, TryRecvError,
    Update,
    alpaca::{self, MarketData},
    error::RejectionKind,
    market::TradeEvent,
    select,
    sim::Sim,
    stream::{Drain, Iter},
    testing,
    venue::Payload,
};

// ------------------------------------------------------------------------------------------------------- what it takes

/// A live line to `sim`, whose credentials are those of `test`.
fn live(sim: &Sim, test: &str) -> (Manager, StreamHandle<MarketData>) {
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials(test)).unwrap();
    feed.wait_live(WAIT).unwrap();
    (manager, feed)
}

fn confirmed<T: Payload<Source = MarketEvent>>(
    feed: &StreamHandle<MarketData>,
    topics: Topics<T>,
) -> Subscription<T> {
    let subscription = feed.subscribe(topics).unwrap();
    subscription.wait_confirmed(WAIT).unwrap();
    subscription
}

fn trade(symbol: &str, id: i64) -> MarketEvent {
    trade_of(symbol, id).into()
}

fn trade_of(symbol: &str, id: i64) -> Trade {
    let mut trade = testing::trade(symbol, "150.25", 10);
    trade.id = Some(id);
    trade.timestamp = "2026-03-17T14:30:05.123456789Z".parse().unwrap();
    trade
}

fn quote(symbol: &str, bid: &str) -> MarketEvent {
    testing::quote(symbol, bid, 0).into()
}

fn next<T: Payload<Source = MarketEvent>>(subscription: &Subscription<T>) -> Update<T> {
    subscription.recv_timeout(WAIT).expect("an update in time")
}

/// The next event. Confirmations are passed over, and nothing else.
fn next_event<T: Payload<Source = MarketEvent> + std::fmt::Debug>(
    subscription: &Subscription<T>,
) -> Event<T> {
    loop {
        match next(subscription) {
            Update::Event(event) => return event,
            Update::Notice(Declared {
                what: Notice::Confirmed { .. },
                ..
            }) => {}
            other => panic!("no event: {other:?}"),
        }
    }
}

/// Checks that ids have no hole but those that are declared.
#[derive(Default)]
struct Ledger {
    last: BTreeMap<Symbol, i64>,
    events: u64,
    declared: u64,
    hole: u64,
}

impl Ledger {
    /// One update of a subscription to the trades of a single symbol, or without holes. A match without a catch-all:
    /// the enum is closed.
    fn enter(&mut self, update: &Update<TradeEvent>) {
        match update {
            Update::Event(event) => {
                let trade = event.trade().expect("nothing was amended");
                self.events += 1;
                let hole = i64::try_from(std::mem::take(&mut self.hole)).unwrap();
                match self.last.get_mut(&trade.symbol) {
                    Some(last) => {
                        assert_eq!(
                            trade.id.unwrap(),
                            *last + hole + 1,
                            "{} after {last}",
                            trade.symbol
                        );
                        *last = trade.id.unwrap();
                    }
                    None => {
                        self.last.insert(trade.symbol.clone(), trade.id.unwrap());
                    }
                }
            }
            Update::Dropped(dropped) => {
                assert!(dropped.count > 0);
                assert!(dropped.to_string().starts_with(&dropped.count.to_string()));
                assert_eq!(self.hole, 0, "one hole is declared once");
                self.hole = dropped.count;
                self.declared += dropped.count;
            }
            Update::Notice(Declared {
                what: Notice::Confirmed { .. },
                ..
            }) => {}
            Update::Gap(_) | Update::Notice(_) | Update::Ended(_) => {
                panic!("not in this test: {update:?}")
            }
        }
    }
}

/// The accounting identity.
#[track_caller]
fn assert_adds_up<T: Payload<Source = MarketEvent>>(subscription: &Subscription<T>) {
    let health = subscription.health();
    assert_eq!(
        health.events_routed,
        health.events_delivered + health.events_dropped + health.events_queued,
        "{health:?}"
    );
}

// ---------------------------------------------------------------------------------------------------------- broadcast

#[test]
fn eight_subscriptions_each_see_every_trade_in_order() {
    const EACH: u64 = 2_000;
    let sim = sim(|config| config.rate = 8_000);
    let (_manager, feed) = live(&sim, "broadcast");
    let subscriptions: Vec<_> = (0..8)
        .map(|_| confirmed(&feed, alpaca::trades(["AAPL", "MSFT"])))
        .collect();
    thread::scope(|scope| {
        for subscription in subscriptions {
            scope.spawn(move || {
                let mut ledger = Ledger::default();
                while ledger.events < EACH {
                    let update = next(&subscription);
                    assert!(!matches!(update, Update::Dropped(_)));
                    ledger.enter(&update);
                }
                assert_eq!(ledger.last.len(), 2, "both symbols came");
            });
        }
    });
    assert_eq!(sim.stats().connections_opened, 1);
}

#[test]
fn subscriptions_get_the_same_events_and_not_a_share_of_them() {
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "same");
    let subscriptions: Vec<_> = (0..8)
        .map(|_| confirmed(&feed, alpaca::trades(["AAPL"])))
        .collect();
    for id in 1..=300 {
        sim.push(trade("AAPL", id));
    }
    for subscription in &subscriptions {
        let ids: Vec<_> = (1..=300)
            .map(|_| next_event(subscription).trade().unwrap().id.unwrap())
            .collect();
        assert_eq!(ids, (1..=300).collect::<Vec<_>>());
    }
}

// --------------------------------------------------------------------------------------------------------- slow readers

#[test]
fn a_dead_reader_delays_nobody_and_its_losses_are_counted_exactly() {
    const ALL: u64 = 20_000;
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "dead");
    let subscribe = |overflow| confirmed(&feed, alpaca::trades(["AAPL"]).queue(100, overflow));
    let oldest = subscribe(Overflow::DropOldest);
    let newest = subscribe(Overflow::DropNewest);
    let end = subscribe(Overflow::End);
    let reader = confirmed(
        &feed,
        alpaca::trades(["AAPL"]).queue(100_000, Overflow::End),
    );
    for id in 1..=i64::try_from(ALL).unwrap() {
        sim.push(trade("AAPL", id));
    }
    let mut ledger = Ledger::default();
    while ledger.events < ALL {
        ledger.enter(&next(&reader));
    }
    assert_eq!(ledger.declared, 0, "the one that reads lost nothing");
    assert_eq!(reader.health().events_delivered, ALL);

    for subscription in [&oldest, &newest] {
        eventually("everything was routed", || {
            subscription.health().events_routed == ALL
        });
        let health = subscription.health();
        assert_eq!(
            (health.events_dropped, health.events_queued),
            (ALL - 100, 100)
        );
        assert_adds_up(subscription);
    }
    assert_adds_up(&end);

    // Drop oldest: the hole, and then the newest.
    let mut updates = oldest
        .iter()
        .filter(|update| !matches!(update, Update::Notice(_)));
    assert!(matches!(updates.next(), Some(Update::Dropped(dropped)) if dropped.count == ALL - 100));
    let ids: Vec<_> = updates
        .by_ref()
        .take(100)
        .map(|update| {
            update
                .event()
                .unwrap()
                .unwrap()
                .trade()
                .unwrap()
                .id
                .unwrap()
        })
        .collect();
    let last = i64::try_from(ALL).unwrap();
    assert_eq!(ids, (last - 99..=last).collect::<Vec<_>>());

    // Drop newest: the oldest, and then the hole.
    for id in 1..=100 {
        assert_eq!(next_event(&newest).trade().unwrap().id.unwrap(), id);
    }
    assert!(matches!(next(&newest), Update::Dropped(dropped) if dropped.count == ALL - 100));

    // End: the oldest without a hole, then the end, which is the reason.
    for id in 1..=100 {
        assert_eq!(next_event(&end).trade().unwrap().id.unwrap(), id);
    }
    let Update::Ended(ended) = next(&end) else {
        panic!("it goes on");
    };
    assert!(
        matches!(&ended.reason, EndReason::Failed(error) if matches!(error.kind(), ErrorKind::Overflow { capacity: 100, .. }))
    );
    assert_eq!(end.try_recv().unwrap_err(), TryRecvError::Ended);
    for subscription in [&oldest, &newest, &end] {
        assert_adds_up(subscription);
    }
    // The others are none the wiser.
    sim.push(trade("AAPL", last + 1));
    for subscription in [&oldest, &newest, &reader] {
        assert_eq!(
            next_event(subscription).trade().unwrap().id.unwrap(),
            last + 1
        );
    }
}

#[test]
fn every_hole_in_the_ids_is_declared_where_it_is_and_as_long_as_it_is() {
    for overflow in [Overflow::DropOldest, Overflow::DropNewest] {
        let sim = sim(|_| {});
        let (_manager, feed) = live(&sim, "holes");
        let subscription = confirmed(&feed, alpaca::trades(["AAPL"]).queue(37, overflow));
        let mut ledger = Ledger::default();
        let mut sent = 0;
        // The first event anchors the ledger.
        for (burst, read) in [
            (1, 1),
            (50, 7),
            (20, 40),
            (100, 1),
            (3, 2),
            (200, 90),
            (37, 37),
            (38, 5),
        ]
        .into_iter()
        .cycle()
        .take(48)
        {
            for _ in 0..burst {
                sent += 1;
                sim.push(trade("AAPL", sent));
            }
            let sent = u64::try_from(sent).unwrap();
            eventually("the burst was routed", || {
                subscription.health().events_routed == sent
            });
            assert_adds_up(&subscription);
            for _ in 0..read {
                let Ok(update) = subscription.try_recv() else {
                    break;
                };
                ledger.enter(&update);
                assert_adds_up(&subscription);
            }
        }
        while let Ok(update) = subscription.try_recv() {
            ledger.enter(&update);
        }
        let last = ledger.last[&Symbol::from("AAPL")] + i64::try_from(ledger.hole).unwrap();
        assert_eq!(last, sent, "{overflow}: the tail is declared, too");
        let health = subscription.health();
        assert_eq!(health.events_queued, 0);
        assert_eq!(health.events_delivered, ledger.events);
        assert_eq!(health.events_dropped, ledger.declared);
        assert!(ledger.declared > 0);
    }
}

// --------------------------------------------------------------------------------------------------------------- topics

#[test]
fn changes_of_topics_never_cost_another_subscription_a_trade() {
    let sim = sim(|config| config.rate = 4_000);
    let (_manager, feed) = live(&sim, "changes");
    let watcher = confirmed(&feed, alpaca::trades(["AAPL"]));
    let (stop, stopped) = crossbeam_channel::bounded::<()>(0);
    thread::scope(|scope| {
        let watching = scope.spawn(move || {
            let mut ledger = Ledger::default();
            while stopped.is_empty()
                && !matches!(
                    stopped.try_recv(),
                    Err(crossbeam_channel::TryRecvError::Disconnected)
                )
            {
                ledger.enter(&next(&watcher));
            }
            ledger.events
        });
        let other = confirmed(&feed, alpaca::trades(["MSFT"]));
        for round in 0..25 {
            // The watcher's own topic, from other sides, too.
            other.add(alpaca::trades(["AAPL", "NVDA"])).unwrap();
            other.wait_confirmed(WAIT).unwrap();
            let third = confirmed(&feed, alpaca::trades(["AAPL", "AMD"]));
            let quotes = confirmed(&feed, alpaca::quotes(["AAPL"]));
            other.remove(alpaca::trades(["AAPL", "NVDA"])).unwrap();
            drop(third);
            if round % 2 == 0 {
                drop(quotes);
                other.wait_confirmed(WAIT).unwrap();
            }
        }
        drop(stop);
        assert!(watching.join().unwrap() > 0);
    });
    assert_eq!(sim.stats().connections_opened, 1);
}

#[test]
fn the_first_subscriber_subscribes_and_the_last_unsubscribes() {
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "counted");
    let one = confirmed(&feed, alpaca::trades(["AAPL"]));
    assert_eq!(sim.stats().requests, 1);
    let two = confirmed(&feed, alpaca::trades(["AAPL"]));
    assert_eq!(sim.stats().requests, 1, "it is subscribed to already");
    let three = feed.clone().subscribe(alpaca::trades(["AAPL"])).unwrap();
    three.wait_confirmed(WAIT).unwrap();
    drop(one);
    drop(three);
    // One request at a time, in order: had they unsubscribed, this one would come behind.
    let fence = confirmed(&feed, alpaca::quotes(["MSFT"]));
    assert_eq!(sim.stats().requests, 2, "one still wants it");
    assert_eq!(feed.health().topics_wanted, 2);
    sim.push(trade("AAPL", 1));
    assert_eq!(next_event(&two).trade().unwrap().id.unwrap(), 1);
    drop(two);
    eventually("the last one unsubscribes", || sim.stats().requests == 3);
    eventually("the topic is gone", || feed.health().topics_confirmed == 1);
    assert_eq!(feed.health().topics_wanted, 1);
    // What nobody wants is not sent: the simulator counts what it sends.
    let sent = sim.stats().messages_sent;
    sim.push(trade("AAPL", 2));
    sim.push(quote("MSFT", "1"));
    next_event(&fence);
    assert_eq!(sim.stats().messages_sent, sent + 1);
}

#[test]
fn a_refused_symbol_hits_only_the_one_who_asked() {
    let sim = sim(|config| config.symbol_limit = Some(2));
    let manager = Manager::with_config(quick()).unwrap();
    // What the venue refuses is refused: nothing is learned from it.
    let venue = sim.stocks().symbol_budget(None);
    let feed = manager.open(&venue, &credentials("refused")).unwrap();
    feed.wait_live(WAIT).unwrap();
    let good = confirmed(&feed, alpaca::trades(["AAPL", "MSFT"]));
    let bad = feed.subscribe(alpaca::trades(["NVDA"])).unwrap();
    let error = bad.wait_confirmed(WAIT).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Refused { rejection, .. }
            if rejection.kind == RejectionKind::SymbolLimit && rejection.code().is_some_and(|code| *code == 405)),
        "{error:?}"
    );
    assert!(
        matches!(next(&bad), Update::Notice(Declared { what: Notice::Refused { topics, .. }, .. }) if topics[0].to_string() == "trades:NVDA")
    );
    sim.push(trade("NVDA", 1));
    sim.push(trade("AAPL", 1));
    assert_eq!(next_event(&good).trade().unwrap().id.unwrap(), 1);
    assert!(good.try_recv().is_err() && bad.try_recv().is_err());
    let missing: Vec<_> = feed
        .health()
        .topics_missing
        .iter()
        .map(ToString::to_string)
        .collect();
    assert_eq!(missing, ["trades:NVDA"], "the difference is visible");
}

#[test]
fn under_a_plan_that_grants_too_little_the_higher_priority_is_served_and_nobody_is_left_in_the_dark()
 {
    let sim = sim(|config| config.symbol_limit = Some(2));
    let (_manager, feed) = live(&sim, "plan");
    let low = confirmed(&feed, alpaca::trades(["AAPL", "MSFT"]).correlated("low"));
    next(&low);
    let high = alpaca::trades(["NVDA"]).priority(1).correlated("high");
    let high = confirmed(&feed, high);
    let displaced = next(&low);
    assert_eq!(displaced.correlation(), Some("low"));
    let error = displaced.strict().unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Displaced { by: Some(by), priority: 1, .. } if by.as_str() == "high")
    );
    let equal = feed.subscribe(alpaca::trades(["TSLA"])).unwrap();
    let error = equal.wait_confirmed(WAIT).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("high (1, priority 1), low (1, priority 0)"),
        "{error}"
    );
    assert_eq!(feed.health().budget.unwrap().to_string(), "2 of 2 symbols");
    drop(high);
    assert!(matches!(
        next(&low),
        Update::Notice(Declared {
            what: Notice::Confirmed { .. },
            ..
        })
    ));
    sim.push(trade("AAPL", 1));
    sim.push(trade("MSFT", 2));
    assert_eq!(next_event(&low).trade().unwrap().id.unwrap(), 1);
    assert_eq!(next_event(&low).trade().unwrap().id.unwrap(), 2);
}

#[test]
fn one_askers_refused_symbols_sink_nobodys_before_the_line_is_live_or_after_a_cut() {
    let sim = sim(|config| config.symbol_limit = Some(2));
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager
        .open(&sim.stocks().symbol_budget(None), &credentials("sink"))
        .unwrap();
    let first = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    // Who came first is asked for first, and what is too much is narrowed down to those who came last.
    let last = feed.subscribe(alpaca::trades(["AMD"])).unwrap();
    let greedy = feed
        .subscribe(alpaca::trades(["MSFT", "NVDA", "TSLA"]))
        .unwrap();
    first.wait_confirmed(WAIT).unwrap();
    last.wait_confirmed(WAIT).unwrap();
    assert_eq!(greedy.wait_confirmed(WAIT).unwrap_err().code(), "refused");

    sim.cut();
    eventually("the second connection is live", || feed.health().epoch == 2);
    for (subscription, symbol) in [(&first, "AAPL"), (&last, "AMD")] {
        subscription.wait_confirmed(WAIT).unwrap();
        sim.push(trade(symbol, 7));
        let came = subscription
            .iter()
            .find_map(|update| update.event().unwrap());
        assert_eq!(came.unwrap().trade().unwrap().id, Some(7));
    }
}

#[test]
fn a_malformed_topic_is_refused_before_the_wire_and_takes_the_good_ones_with_it() {
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "malformed");
    for bad in [
        "aapl",
        "",
        "AA PL",
        "A*",
        "ÄÄ",
        "TOOLONGTOOLONGTOOLONGTOOLONGTOOLONG",
        "A\nB",
    ] {
        let error = feed.subscribe(alpaca::trades(["AAPL", bad])).unwrap_err();
        assert_eq!(error.code(), "invalid_topic", "{bad:?}: {error:?}");
    }
    let sub = confirmed(&feed, alpaca::quotes(["MSFT"]));
    assert_eq!(
        sub.add(alpaca::quotes(["AAPL", "x"])).unwrap_err().code(),
        "invalid_topic"
    );
    assert_eq!(sim.stats().requests, 1);
    assert_eq!(feed.health().topics_wanted, 1);
    assert!(
        feed.subscribe(alpaca::trades(["AAPL"]).queue(0, Overflow::End))
            .is_err()
    );
}

// --------------------------------------------------------------------------------------------------------------- values

#[test]
fn subscriptions_yield_what_their_topics_are() {
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "typed");
    let quotes: Subscription<Quote> = confirmed(&feed, alpaca::quotes(["AAPL"]));
    let trades: Subscription<TradeEvent> = confirmed(&feed, alpaca::trades(["AAPL"]));
    let mixed: Subscription<MarketEvent> = confirmed(
        &feed,
        Topics::mixed()
            .and(alpaca::quotes(["AAPL"]))
            .and(alpaca::trades(["AAPL"])),
    );
    let mut correction = testing::correction(&trade_of("AAPL", 1), "150.26", 11);
    correction.corrected_conditions = ["@", " "].iter().collect();
    let sent = [
        quote("AAPL", "150.1"),
        trade("AAPL", 1),
        correction.into(),
        testing::cancel(&trade_of("AAPL", 2)).into(),
        trade("MSFT", 1),
        quote("AAPL", "150.2"),
    ];
    for event in &sent {
        sim.push(event.clone());
    }
    let of_apple: Vec<_> = sent
        .iter()
        .filter(|event| event.symbol().is_some_and(|symbol| symbol == "AAPL"))
        .collect();
    for event in &of_apple {
        assert_eq!(&&next_event(&mixed).data, event);
    }
    for event in &of_apple {
        match event {
            MarketEvent::Quote(quote) => assert_eq!(&next_event(&quotes).data, quote),
            MarketEvent::Trade(trade) => {
                assert_eq!(next_event(&trades).data, TradeEvent::Trade(trade.clone()));
            }
            MarketEvent::Correction(correction) => assert_eq!(
                next_event(&trades).data,
                TradeEvent::Correction(correction.clone())
            ),
            MarketEvent::Cancel(cancel) => {
                assert_eq!(next_event(&trades).data, TradeEvent::Cancel(cancel.clone()));
            }
            other => panic!("{other}"),
        }
    }
    assert_eq!(trades.try_recv().unwrap_err(), TryRecvError::Empty);
    assert_eq!(quotes.try_recv().unwrap_err(), TryRecvError::Empty);
}

#[test]
fn prices_are_exact_and_times_keep_their_nanoseconds() {
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "exact");
    let trades = confirmed(&feed, alpaca::trades(["AAPL"]));
    let prices = [
        "0.1",
        "0.30000000000000004",
        "1.0000000000000001",
        "123456789.12345679",
        "12345678901234567",
        "0.00000000000000001",
        "61.275000000000013",
        "9007199254740993",
        "0.1234567890123456789012345678",
        "79228162514264337593543950335",
    ];
    let times = [
        "2026-03-17T14:30:05.123456789Z",
        "2026-03-17T14:30:05.000000001Z",
        "2026-03-17T14:30:05.999999999Z",
        "2026-03-17T14:30:05.1Z",
        "2026-03-17T14:30:05Z",
        "1970-01-01T00:00:00Z",
        "1969-12-31T23:59:59.999999999Z",
    ];
    for (at, price) in prices.iter().enumerate() {
        let MarketEvent::Trade(mut trade) = trade("AAPL", i64::MAX - i64::try_from(at).unwrap())
        else {
            unreachable!()
        };
        trade.price = price.parse().unwrap();
        trade.size = price.parse().unwrap();
        trade.timestamp = times[at % times.len()].parse().unwrap();
        sim.push(MarketEvent::Trade(trade.clone()));
        let came = next_event(&trades);
        assert_eq!(came.data, TradeEvent::Trade(trade));
        let came = came.trade().unwrap();
        assert_eq!(came.price.to_string(), *price);
        assert_eq!(came.timestamp.to_string(), times[at % times.len()]);
    }
    // The venue's own text, which the simulator's writer has not seen.
    sim.send_raw(
        r#"[{"T":"t","S":"AAPL","i":9007199254740993,"x":"V","p":0.30000000000000004,"s":4e-7,"c":["@"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}]"#,
    );
    let came = next_event(&trades);
    let came = came.trade().unwrap();
    assert_eq!(came.id, Some(9_007_199_254_740_993));
    assert_eq!(came.price, "0.30000000000000004".parse().unwrap());
    assert_eq!(came.size, "0.0000004".parse().unwrap());
    assert_eq!(came.timestamp.as_nanos(), 1_773_757_805_123_456_789);
}

#[test]
fn arrival_stamps_are_monotonic_and_between_sending_and_reading() {
    let sim = sim(|_| {});
    let (_manager, feed) = live(&sim, "stamps");
    let trades = confirmed(&feed, alpaca::trades(["AAPL"]));
    let mut last = Instant::now();
    for id in 1..=200 {
        let sent = Instant::now();
        sim.push(trade("AAPL", id));
        let event = next_event(&trades);
        assert!(event.received() >= sent && event.received() >= last);
        assert!(event.received() <= Instant::now());
        assert_eq!(event.epoch(), 1);
        last = event.received();
    }
}

// ----------------------------------------------------------------------------------------------------------------- gaps

#[test]
fn a_cut_shows_as_gap_then_resumed_then_events_of_the_next_connection() {
    let sim = sim(|config| config.rate = 2_000);
    let (_manager, feed) = live(&sim, "cut");
    let subscriptions: Vec<_> = (0..3)
        .map(|_| confirmed(&feed, alpaca::trades(["AAPL"])))
        .collect();
    for epoch in 1..=3 {
        for subscription in &subscriptions {
            assert_eq!(next_event(subscription).epoch(), epoch);
        }
        let before = Timestamp::try_from(std::time::SystemTime::now()).unwrap();
        sim.cut();
        for subscription in &subscriptions {
            let mut ledger = Ledger::default();
            let gap = loop {
                match next(subscription) {
                    Update::Gap(gap) => break gap,
                    update => {
                        if let Update::Event(event) = &update {
                            assert_eq!(event.epoch(), epoch);
                        }
                        ledger.enter(&update);
                    }
                }
            };
            assert_eq!((gap.epoch, gap.breaks), (epoch, 1), "{gap}");
            assert!(
                matches!(gap.cause.kind(), ErrorKind::Lost { .. }),
                "{:?}",
                gap.cause
            );
            let last = gap.last.expect("messages came before");
            assert!(last.as_nanos() > before.as_nanos() - 60_000_000_000);
            let mut resumed = false;
            loop {
                match next(subscription) {
                    Update::Notice(Declared {
                        what: Notice::Resumed { epoch: new, at, .. },
                        ..
                    }) => {
                        assert!(!resumed);
                        assert_eq!(new, epoch + 1);
                        assert!(at >= last);
                        resumed = true;
                    }
                    Update::Notice(Declared {
                        what: Notice::Confirmed { .. },
                        ..
                    }) => {}
                    Update::Event(event) => {
                        assert!(resumed, "events only after Resumed");
                        assert_eq!(event.epoch(), epoch + 1);
                        break;
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
    assert_eq!(sim.stats().connections_opened, 4);
    assert_eq!(sim.stats().most_open_per_key, 1);
}

// ------------------------------------------------------------------------------------------------------------ receiving

#[test]
fn a_loop_over_a_subscription_ends_after_ended() {
    let sim = sim(|_| {});
    let (manager, feed) = live(&sim, "ends");
    let trades = confirmed(&feed, alpaca::trades(["AAPL"]));
    sim.push(trade("AAPL", 1));
    eventually("it is queued", || trades.health().events_queued == 1);
    thread::scope(|scope| {
        let reading = scope.spawn(move || {
            let (mut events, mut ends) = (0, 0);
            for update in &trades {
                assert_eq!(ends, 0, "nothing follows the end");
                match update {
                    Update::Event(_) => events += 1,
                    Update::Gap(gap) => panic!("{gap}"),
                    Update::Dropped(dropped) => panic!("{dropped}"),
                    Update::Notice(_) => {}
                    Update::Ended(ended) => {
                        assert!(matches!(ended.reason, EndReason::Closed));
                        assert!(ended.into_result().is_ok());
                        ends += 1;
                    }
                }
            }
            assert_eq!((events, ends), (1, 1));
            assert_eq!(trades.recv().unwrap_err(), RecvError);
            assert_eq!(trades.iter().count(), 0);
        });
        let shut = manager.shutdown(WAIT);
        assert!(shut.iter().all(|stream| stream.stuck.is_none()), "{shut:?}");
        reading.join().unwrap();
    });
}

#[test]
fn select_waits_for_two_and_never_spins_after_both_have_ended() {
    const QUIET: Duration = Duration::from_millis(200);
    let sim = sim(|_| {});
    let (manager, feed) = live(&sim, "select");
    let quotes = confirmed(&feed, alpaca::quotes(["AAPL"]));
    let trades = confirmed(&feed, alpaca::trades(["AAPL"]));
    for id in 1..=50 {
        sim.push(trade("AAPL", id));
        sim.push(quote("AAPL", &id.to_string()));
    }
    // Each time two updates are read: the arm fires again for the rest.
    let (mut bids, mut ids) = (Vec::new(), Vec::new());
    while bids.len() < 50 || ids.len() < 50 {
        select! {
            recv(quotes.ready()) -> _ => {
                let events = quotes.drain().take(2).filter_map(|update| update.event().unwrap());
                bids.extend(events.map(|quote| quote.bid_price));
            }
            recv(trades.ready()) -> _ => {
                let events = trades.drain().take(2).filter_map(|update| update.event().unwrap());
                ids.extend(events.map(|trade| trade.trade().unwrap().id.unwrap()));
            }
            default(WAIT) => panic!("nothing came"),
        }
    }
    assert_eq!(ids, (1..=50).collect::<Vec<_>>());
    assert_eq!(bids, (1..=50).map(Decimal::from).collect::<Vec<_>>());

    // Left unread, it fires again, also where the channel is kept.
    sim.push(trade("AAPL", 51));
    let ready = trades.ready();
    ready.recv_timeout(WAIT).unwrap();
    drop(trades.drain());
    let mut left = Vec::new();
    while left.is_empty() {
        ready.recv_timeout(WAIT).unwrap();
        left.extend(trades.drain().filter_map(|update| update.event().unwrap()));
    }
    assert_eq!(left[0].trade().unwrap().id, Some(51));

    manager.shutdown(WAIT);
    let mut ends = 0;
    while ends < 2 {
        select! {
            recv(quotes.ready()) -> _ =>
                ends += quotes.drain().filter(|update| matches!(update, Update::Ended(_))).count(),
            recv(trades.ready()) -> _ =>
                ends += trades.drain().filter(|update| matches!(update, Update::Ended(_))).count(),
            default(WAIT) => panic!("the end did not come"),
        }
    }
    let quiet = select! {
        recv(quotes.ready()) -> _ => false,
        recv(ready) -> _ => false,
        default(QUIET) => true,
    };
    assert!(quiet, "an arm that fires for ever would spin");
    assert_eq!(quotes.try_recv().unwrap_err(), TryRecvError::Ended);
}

// --------------------------------------------------------------------------------------------------------------- linger

#[test]
fn a_stream_that_lingers_reads_only_every_so_often() {
    let sim = sim(|config| config.rate = 2_000);
    let mut config = quick();
    config.linger = Duration::from_millis(10);
    let manager = Manager::with_config(config.clone()).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials("LINGER")).unwrap();
    let events = confirmed(
        &feed,
        Topics::<MarketEvent>::mixed()
            .and(alpaca::trades(["*"]))
            .and(alpaca::quotes(["*"])),
    );
    let mut reads: Vec<Instant> = Vec::new();
    while reads.len() < 30 {
        reads.push(next_event(&events).received());
        reads.dedup();
    }
    // One wait may be cut short by a wake, and one turn may read twice: the middle one says what is usual.
    let mut pauses: Vec<_> = reads.windows(2).map(|pair| pair[1] - pair[0]).collect();
    pauses.sort();
    assert!(pauses[pauses.len() / 2] >= config.linger, "{pauses:?}");

    config.linger = Duration::from_millis(11);
    assert!(matches!(
        Manager::with_config(config).as_ref().map_err(Error::kind),
        Err(ErrorKind::InvalidConfig { .. })
    ));
}

// ---------------------------------------------------------------------------------------------------------------- types

/// Does not compile where `$type` is `$bound`: which of the two implementations would be ambiguous.
macro_rules! assert_not {
    ($type:ty: $bound:path) => {
        const _: fn() = || {
            trait Ambiguous<A> {
                fn pick() {}
            }
            impl<T: ?Sized> Ambiguous<()> for T {}
            #[allow(dead_code, reason = "it only has to be there")]
            struct Marker;
            impl<T: ?Sized + $bound> Ambiguous<Marker> for T {}
            let _ = <$type as Ambiguous<_>>::pick;
        };
    };
}

// Nothing else gives a subscription's updates, and none of it can be in two hands.
assert_not!(Subscription<Quote>: Sync);
assert_not!(Subscription<Quote>: Clone);
assert_not!(Drain<'static, Quote>: Send);
assert_not!(Drain<'static, Quote>: Clone);
assert_not!(Iter<'static, Quote>: Send);
assert_not!(Iter<'static, Quote>: Clone);
assert_not!(trunkline::Credentials: std::fmt::Display);
assert_not!(trunkline::Credentials: PartialEq);

const _: fn() = || {
    fn sent<T: Send>() {}
    fn shared<T: Clone + Send + Sync>() {}
    sent::<Subscription<Quote>>();
    sent::<Subscription<TradeEvent>>();
    shared::<Manager>();
    shared::<StreamHandle<MarketData>>();
    shared::<trunkline::Credentials>();
    shared::<Error>();
};
