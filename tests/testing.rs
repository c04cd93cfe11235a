//! Streams without a socket behave like those with one, as far as a subscriber can tell.

#![allow(clippy::unwrap_used, reason = "a test: it panics")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests stand outside the walls of the library"
)]

mod support;

use std::{thread, time::Duration};

use support::WAIT;
use trunkline::{
    Code, Conditions, Decimal, EndReason, Error, MarketEvent, Notice, Overflow, Phase, Quote,
    RecvTimeoutError, Subscription, TryRecvError, Update,
    alpaca::{self, Feed},
    testing,
};

fn quote(symbol: &str, bid: i64) -> MarketEvent {
    MarketEvent::Quote(Quote {
        symbol: symbol.into(),
        bid_exchange: "V".into(),
        bid_price: bid.into(),
        bid_size: Decimal::ONE,
        ask_exchange: "V".into(),
        ask_price: (bid + 1).into(),
        ask_size: Decimal::ONE,
        exchange: Code::default(),
        conditions: Conditions::default(),
        tape: "A".into(),
        timestamp: "2026-03-17T14:30:05Z".parse().unwrap(),
    })
}

/// What is queued, in a word each.
fn queued(quotes: &Subscription<Quote>) -> Vec<String> {
    std::iter::from_fn(|| quotes.try_recv().ok())
        .map(|update| match update {
            Update::Event(quote) => format!("{} {}", quote.symbol, quote.bid_price),
            Update::Gap(gap) => format!("gap of {}", gap.epoch),
            Update::Dropped(dropped) => format!("dropped {}", dropped.count),
            Update::Notice(Notice::Confirmed { topics, .. }) => {
                format!("confirmed {}", topics.len())
            }
            Update::Notice(Notice::Resumed { epoch, .. }) => format!("resumed on {epoch}"),
            other => format!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_subscription_gets_what_it_asked_for_and_every_declaration_in_its_place() {
    let (feed, quotes) = testing::subscription(alpaca::quotes(["KO", "PEP"]));
    quotes.wait_confirmed(WAIT).unwrap();
    feed.events([quote("KO", 1), quote("MSFT", 2), quote("PEP", 3)]);
    feed.gap();
    feed.gap();
    feed.event(quote("KO", 4));
    feed.resume();
    feed.resume();
    feed.drop_events(2);
    feed.drop_events(3);
    feed.event(quote("KO", 5));
    assert_eq!(
        queued(&quotes),
        [
            "confirmed 2",
            "KO 1",
            "PEP 3",
            "gap of 1",
            "resumed on 2",
            "dropped 5",
            "KO 5"
        ]
    );
    let health = quotes.health();
    assert_eq!(
        (
            health.events_routed,
            health.events_delivered,
            health.events_dropped
        ),
        (8, 3, 5)
    );
    feed.end(EndReason::Done);
    assert!(matches!(quotes.recv(), Ok(Update::Ended(_))));
    assert_eq!(quotes.try_recv().unwrap_err(), TryRecvError::Ended);
    feed.event(quote("KO", 6));
    assert_eq!(quotes.try_recv().unwrap_err(), TryRecvError::Ended);
}

#[test]
fn the_queue_is_the_real_one_with_its_policy() {
    let topics = alpaca::quotes(["*"]).queue(2, Overflow::DropOldest);
    let (feed, quotes) = testing::subscription(topics);
    feed.events((1..=5).map(|bid| quote("KO", bid)));
    assert_eq!(
        queued(&quotes),
        ["dropped 3", "confirmed 1", "KO 4", "KO 5"]
    );

    let (feed, quotes) = testing::subscription(alpaca::quotes(["*"]).conflate());
    feed.events([quote("KO", 1), quote("KO", 2)]);
    feed.drop_events(1);
    feed.event(quote("KO", 3));
    assert_eq!(
        queued(&quotes),
        ["confirmed 1", "KO 2", "dropped 1", "KO 3"]
    );

    let topics = alpaca::quotes(["*"]).queue(1, Overflow::End);
    let (feed, quotes) = testing::subscription(topics);
    feed.events([quote("KO", 1), quote("KO", 2)]);
    let ends = quotes.iter().last().unwrap().event().unwrap_err();
    assert!(
        matches!(ends, Error::Overflow { capacity: 1, .. }),
        "{ends}"
    );
}

#[test]
fn a_handle_subscribes_adds_and_removes_as_on_a_real_line() {
    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    handle.wait_live(Duration::ZERO).unwrap();
    let error = handle.subscribe(alpaca::quotes(["ko"])).unwrap_err();
    assert!(matches!(error, Error::InvalidTopic { .. }), "{error}");
    let quotes = handle.subscribe(alpaca::quotes(["KO"])).unwrap();
    let other = handle.subscribe(alpaca::quotes(["PEP"])).unwrap();
    quotes.add(alpaca::quotes(["PEP"])).unwrap();
    quotes.wait_confirmed(Duration::ZERO).unwrap();
    feed.event(quote("PEP", 1));
    quotes.remove(alpaca::quotes(["PEP"])).unwrap();
    feed.event(quote("PEP", 2));
    assert_eq!(queued(&quotes), ["confirmed 1", "confirmed 1", "PEP 1"]);
    assert_eq!(queued(&other), ["confirmed 1", "PEP 1", "PEP 2"]);

    let health = handle.health();
    assert_eq!((health.leases, health.topics_confirmed), (3, 2));
    feed.gap();
    assert_eq!(handle.phase(), Phase::Waiting);
    let error = format!("{:?}", handle.wait_live(Duration::ZERO).unwrap_err());
    assert!(error.contains("the test feed says so"), "{error}");
    quotes.add(alpaca::quotes(["MSFT"])).unwrap();
    assert!(quotes.wait_confirmed(Duration::ZERO).is_err());
    feed.resume();
    quotes.wait_confirmed(Duration::ZERO).unwrap();
}

#[test]
fn the_line_ends_with_its_feed_and_with_its_last_holder() {
    let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
    let reader = thread::spawn(move || {
        let last = quotes.iter().last();
        (last, quotes)
    });
    drop(feed);
    let (last, quotes) = reader.join().unwrap();
    assert!(last.is_some_and(|last| last.event().is_ok_and(|event| event.is_none())));
    assert!(quotes.add(alpaca::quotes(["PEP"])).is_err());
    assert_eq!(
        quotes.recv_timeout(Duration::ZERO).unwrap_err(),
        RecvTimeoutError::Ended
    );

    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    let second = handle.clone();
    let error = handle.close(WAIT).unwrap_err();
    assert!(
        matches!(error, Error::StillShared { leases: 1, .. }),
        "{error}"
    );
    second.close(WAIT).unwrap();
    feed.event(quote("KO", 1));
}

/// What a half-read subscription holds back goes to whoever asks for its channel, in order, and the channel fires for it.
#[test]
fn what_was_taken_out_and_not_read_is_there_for_select() {
    let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
    feed.events((1..=4).map(|bid| quote("KO", bid)));
    let mut bids = Vec::new();
    let mut note = |update: Update<Quote>| {
        if let Update::Event(quote) = update {
            bids.push(quote.bid_price);
        }
    };
    while waiting(&quotes) > 3 {
        note(quotes.recv().unwrap());
    }
    let channel = quotes.receiver().clone();
    let mut delivery = channel.recv_timeout(WAIT).unwrap();
    note(delivery.next().unwrap());
    drop(delivery);
    note(quotes.recv().unwrap());
    feed.event(quote("KO", 5));
    // The one that was queued when it fired first, and the one that came since.
    while waiting(&quotes) > 0 {
        channel.recv_timeout(WAIT).unwrap().for_each(&mut note);
    }
    assert_eq!(bids, (1..=5).map(Decimal::from).collect::<Vec<_>>());
}

/// How many events of it wait.
fn waiting(quotes: &Subscription<Quote>) -> u64 {
    quotes.health().events_queued
}
