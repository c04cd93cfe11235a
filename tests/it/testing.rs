//! Streams without a socket behave like those with one, as far as a subscriber can tell.

#![allow(clippy::unwrap_used, reason = "a test: it panics")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests stand outside the walls of the library"
)]

use std::{sync::Arc, thread, time::Duration};

use crate::support::WAIT;
use trunkline::{
    Config, Decimal, Declared, EndReason, ErrorKind, Manager, MarketEvent, Notice, Overflow, Phase,
    Quote, RecvTimeoutError, Subscription, TryRecvError, Update,
    alpaca::{self, Feed},
    crossbeam_channel::Receiver,
    market::OrderBookUpdate,
    select,
    stream::Ready,
    testing,
};

fn quote(symbol: &str, bid: i64) -> MarketEvent {
    testing::quote(symbol, bid, bid + 1).into()
}

/// What is queued, in a word each.
fn queued(quotes: &Subscription<Quote>) -> Vec<String> {
    std::iter::from_fn(|| quotes.try_recv().ok())
        .map(|update| match update {
            Update::Event(quote) => format!("{} {}", quote.symbol, quote.bid_price),
            Update::Gap(gap) => format!("gap of {}", gap.epoch),
            Update::Dropped(dropped) => format!("dropped {}", dropped.count),
            Update::Notice(Declared {
                what: Notice::Confirmed { topics, .. },
                ..
            }) => {
                format!("confirmed {}", topics.len())
            }
            Update::Notice(Declared {
                what: Notice::Resumed { epoch, .. },
                ..
            }) => format!("resumed on {epoch}"),
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
        matches!(ends.kind(), ErrorKind::Overflow { capacity: 1, .. }),
        "{ends}"
    );
}

/// A whole book, of so many levels on each side.
fn book(symbol: &str, levels: usize) -> MarketEvent {
    let side = || vec![("1", "1"); levels];
    testing::order_book(symbol, side(), side()).into()
}

/// The sizes of the books that are queued, and what was dropped where.
fn books(books: &Subscription<OrderBookUpdate>) -> Vec<String> {
    std::iter::from_fn(|| books.try_recv().ok())
        .filter_map(|update| match update {
            Update::Event(book) => Some(book.bids.len().to_string()),
            Update::Dropped(dropped) => {
                assert_eq!(dropped.capacity_bytes, 1 << 20);
                Some(format!("dropped {}", dropped.count))
            }
            Update::Notice(_) => None,
            other => Some(format!("{other:?}")),
        })
        .collect()
}

/// A book of 10,000 levels on each side takes 640 KB.
#[test]
fn a_queue_is_bounded_in_bytes_too() {
    let topics = |policy| {
        let topics = alpaca::orderbooks(["BTC/USD", "ETH/USD"]);
        topics.queue(100, policy).queue_bytes(1 << 20)
    };
    let sizes = [10_000, 10_001, 5, 10_002, 7];
    let feed_all = |feed: &testing::TestFeed<MarketEvent>| {
        feed.events(sizes.map(|levels| book("BTC/USD", levels)));
    };
    for (policy, expected) in [
        (Overflow::DropOldest, &["dropped 2", "5", "10002", "7"][..]),
        (Overflow::DropNewest, &["10000", "dropped 4"]),
        // One symbol, so one book waits.
        (Overflow::Conflate, &["7"]),
    ] {
        let (feed, subscription) = testing::subscription(topics(policy));
        feed_all(&feed);
        let health = subscription.health();
        assert_eq!(health.capacity_bytes, 1 << 20);
        let queued = health.bytes_queued;
        assert!(queued <= 1 << 20, "{policy}: {queued}");
        let text = health.to_string();
        let shown = format!("{} queued of 100 (", health.events_queued);
        assert!(
            text.contains(&shown) && text.contains(" of 1.0 MiB)"),
            "{text}"
        );
        assert_eq!(books(&subscription), expected, "{policy}");
        assert_eq!(subscription.health().bytes_queued, 0, "{policy}");
        // There is room again.
        feed_all(&feed);
        assert_eq!(books(&subscription), expected, "{policy}");
    }

    let (feed, subscription) = testing::subscription(topics(Overflow::End));
    feed_all(&feed);
    let updates: Vec<_> = std::iter::from_fn(|| subscription.try_recv().ok()).collect();
    let [Update::Notice(_), Update::Event(first), Update::Ended(_)] = &updates[..] else {
        panic!("{updates:?}");
    };
    assert_eq!(first.bids.len(), 10_000);
    let error = updates
        .into_iter()
        .next_back()
        .unwrap()
        .event()
        .unwrap_err();
    assert!(
        error.to_string().contains("queue of 100 and 1.0 MiB"),
        "{error}"
    );

    // The newest of one symbol is too large to wait beside the other's.
    let (feed, subscription) = testing::subscription(topics(Overflow::Conflate));
    feed.events([book("BTC/USD", 1), book("ETH/USD", 10_000)]);
    feed.event(book("BTC/USD", 10_001));
    assert_eq!(books(&subscription), ["dropped 1", "10000"]);

    // One may always wait.
    let (feed, subscription) = testing::subscription(topics(Overflow::DropNewest));
    feed.event(book("BTC/USD", 65_536));
    assert_eq!(books(&subscription), ["65536"]);
}

#[test]
fn the_bound_in_bytes_leaves_events_of_a_fixed_size_alone_unless_it_is_chosen() {
    let (feed, quotes) =
        testing::subscription(alpaca::quotes(["*"]).queue(500_000, Overflow::DropNewest));
    let event = quote("KO", 1);
    for _ in 0..100 {
        feed.events(vec![event.clone(); 5_000]);
    }
    let health = quotes.health();
    assert_eq!((health.events_queued, health.events_dropped), (500_000, 0));
    assert!(health.bytes_queued > 64 << 20 && health.bytes_queued < health.capacity_bytes);

    let chosen = alpaca::quotes(["*"]).queue_bytes(100_000);
    let (feed, quotes) = testing::subscription(chosen);
    feed.events(vec![event; 5_000]);
    let health = quotes.health();
    assert!(
        health.bytes_queued <= 100_000 && health.bytes_queued > 99_000,
        "{health}"
    );
    assert_eq!(health.events_queued + health.events_dropped, 5_000);

    let (_feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    let error = handle
        .subscribe(alpaca::quotes(["KO"]).queue_bytes(64))
        .unwrap_err();
    assert!(error.to_string().contains("1,024 bytes"), "{error}");
    let mut config = Config::default();
    config.queue.bytes = Some(64);
    let error = Manager::with_config(config).unwrap_err();
    assert!(error.to_string().contains("1,024 bytes"), "{error}");
}

/// Three quotes of four events are most of what was read by number, and next to nothing by size.
#[test]
fn few_quotes_do_not_keep_a_large_book_alive() {
    let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
    let large = book("BTC/USD", 50_000);
    let MarketEvent::OrderBook(update) = &large else {
        panic!("it is a book");
    };
    let held = Arc::downgrade(&update.bids);
    feed.events([quote("KO", 1), large, quote("KO", 2), quote("KO", 3)]);
    // The memory of batches is used again.
    for bid in 4..40 {
        feed.events([quote("KO", bid), quote("KO", bid)]);
    }
    assert_eq!(held.strong_count(), 0, "the book is kept");
    assert_eq!(queued(&quotes).len(), 1 + 3 + 2 * 36);
}

#[test]
fn a_handle_subscribes_adds_and_removes_as_on_a_real_line() {
    let (feed, handle) = testing::line(alpaca::stocks(Feed::Iex));
    handle.wait_live(Duration::ZERO).unwrap();
    let error = handle.subscribe(alpaca::quotes(["ko"])).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::InvalidTopic { .. }),
        "{error}"
    );
    let error = handle.subscribe(alpaca::quotes::<&str>([])).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NoTopics), "{error}");
    assert!(
        error
            .to_string()
            .ends_with("at least one symbol, or `*` for all of them")
    );
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
        matches!(error.kind(), ErrorKind::StillShared { leases: 1, .. }),
        "{error}"
    );
    second.close(WAIT).unwrap();
    feed.event(quote("KO", 1));
}

/// What a reader has taken out and not read comes first, and the channel fires for it, however it is read.
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
    quotes.ready().recv_timeout(WAIT).unwrap();
    note(quotes.drain().next().unwrap());
    note(quotes.recv().unwrap());
    feed.event(quote("KO", 5));
    // What was taken out, and what came since, in one go.
    quotes.ready().recv_timeout(WAIT).unwrap();
    quotes.drain().for_each(&mut note);
    assert_eq!(waiting(&quotes), 0);
    assert_eq!(bids, (1..=5).map(Decimal::from).collect::<Vec<_>>());
}

/// What others receive from the channel costs the reader no update: the next call makes it good.
#[test]
fn a_clone_of_the_channel_takes_tokens_and_no_updates() {
    let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
    let clone = quotes.ready().clone();
    feed.event(quote("KO", 1));
    clone.recv_timeout(WAIT).unwrap();
    let arm_fires = select! {
        recv(quotes.ready()) -> _ => true,
        default => false,
    };
    assert!(arm_fires);
    let events = quotes.drain().filter_map(|update| update.event().unwrap());
    assert_eq!(events.count(), 1);
}

/// A feed that is faster than its reader cannot keep the other arms waiting.
#[test]
fn a_drain_ends_although_more_comes() {
    let (feed, quotes) = testing::subscription(alpaca::quotes(["KO"]));
    feed.event(quote("KO", 1));
    quotes.ready().recv_timeout(WAIT).unwrap();
    let mut bids = Vec::new();
    for update in quotes.drain() {
        if let Some(quote) = update.event().unwrap() {
            bids.push(quote.bid_price);
        }
        feed.event(quote("KO", 2));
    }
    assert_eq!(bids, [Decimal::ONE]);
    assert!(!quotes.ready().is_empty(), "it fires for the rest");
}

/// One thread feeds, in bursts and one by one, and another reads in every way there is: each event comes once, in order,
/// and then the end, after which the channel is silent. A wake that is lost is a read that never comes.
#[test]
fn no_wake_is_lost_between_two_threads() {
    const EVENTS: i64 = 30_000;
    type Way = fn(&Receiver<Ready>, &Subscription<Quote>) -> Vec<Update<Quote>>;
    let ways: [Way; 5] = [
        // The channel is kept, and all is read, or a part of it.
        |kept, quotes| {
            kept.recv_timeout(WAIT).unwrap();
            quotes.drain().collect()
        },
        |kept, quotes| {
            kept.recv_timeout(WAIT).unwrap();
            quotes.drain().take(1).collect()
        },
        // It is asked for anew, and read by something else.
        |_, quotes| {
            quotes.ready().recv_timeout(WAIT).unwrap();
            quotes.try_recv().into_iter().collect()
        },
        |_, quotes| {
            select! {
                recv(quotes.ready()) -> _ => quotes.drain().take(3).collect(),
                default(WAIT) => panic!("nothing came"),
            }
        },
        |_, quotes| vec![quotes.recv_timeout(WAIT).unwrap()],
    ];
    // Each way alone, and all of them in turn.
    for mix in 0..=ways.len() {
        let topics = alpaca::quotes(["KO"]).queue(EVENTS as usize, Overflow::End);
        let (feed, quotes) = testing::subscription(topics);
        let feeding = thread::spawn(move || {
            let mut bid = 0;
            while bid < EVENTS {
                let burst = 1 + bid % 3;
                feed.events((bid..(bid + burst).min(EVENTS)).map(|bid| quote("KO", bid)));
                bid += burst;
            }
            feed.end(EndReason::Done);
        });
        let kept = quotes.ready().clone();
        let (mut next, mut turn) = (0, 0);
        'reading: loop {
            turn += 1;
            let way = ways.get(mix).unwrap_or(&ways[turn % ways.len()]);
            for update in way(&kept, &quotes) {
                match update {
                    Update::Event(quote) => {
                        assert_eq!(quote.bid_price, Decimal::from(next));
                        next += 1;
                    }
                    Update::Notice(_) => {}
                    Update::Ended(_) => break 'reading,
                    other => panic!("{other:?}"),
                }
            }
            // A token that was received and not followed by a drain: the next call makes it good.
            if mix == ways.len() {
                let _ = quotes.ready();
            }
        }
        assert_eq!(next, EVENTS);
        feeding.join().unwrap();
        assert!(kept.is_empty() && quotes.ready().is_empty(), "way {mix}");
    }
}

/// How many events of it wait.
fn waiting(quotes: &Subscription<Quote>) -> u64 {
    quotes.health().events_queued
}
