//! What subscribers are told, and what the venue is asked for on their behalf.

use super::*;
use crate::{
    Channel, Overflow, RecvTimeoutError, Symbol, TryRecvError,
    stream::{QueueLimit, entries::Scratch, queue::Queue},
    venue::{Events, Payload, Routed},
};

#[test]
fn topics_are_counted_across_subscriptions_and_nobody_is_disturbed() {
    let mut bench = Bench::live();
    let one = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.sent();
    bench.say(&quotes_of(&["AAPL"]));
    let two = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"subscribe","quotes":["MSFT"]}"#],
        "AAPL is there already"
    );
    bench.say(&quote("AAPL", 1));
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    bench.say(&quote("MSFT", 2));
    drop(one);
    bench.step();
    assert_eq!(
        bench.sent(),
        Vec::<String>::new(),
        "somebody still wants AAPL"
    );
    bench.say(&quote("AAPL", 3));
    two.remove(alpaca::quotes(["AAPL"])).unwrap();
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"unsubscribe","quotes":["AAPL"]}"#]
    );
    assert_eq!(
        words(&two),
        [
            "confirmed[quotes:AAPL]",
            "AAPL@1",
            "confirmed[quotes:MSFT]",
            "MSFT@2",
            "AAPL@3"
        ]
    );
    assert_eq!(bench.peer.attempts(), 1);
}

#[test]
fn a_refused_symbol_of_one_caller_does_not_sink_another() {
    let mut bench = Bench::live();
    let bad = bench.subscribe(alpaca::quotes(["AAPL", "BAD"]));
    let good = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"subscribe","quotes":["AAPL","BAD","MSFT"]}"#],
        "one request for all"
    );
    bench.say(REFUSED);
    let asked = |bench: &Bench| bench.sent().concat();
    assert_eq!(
        asked(&bench),
        r#"{"action":"subscribe","quotes":["AAPL","BAD"]}"#
    );
    bench.say(REFUSED);
    assert_eq!(asked(&bench), r#"{"action":"subscribe","quotes":["AAPL"]}"#);
    bench.say(&quotes_of(&["AAPL"]));
    assert_eq!(asked(&bench), r#"{"action":"subscribe","quotes":["BAD"]}"#);
    bench.say(REFUSED);
    assert_eq!(asked(&bench), r#"{"action":"subscribe","quotes":["MSFT"]}"#);
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    assert_eq!(
        words(&good),
        ["confirmed[quotes:AAPL]", "confirmed[quotes:MSFT]"]
    );
    assert_eq!(
        words(&bad),
        ["confirmed[quotes:AAPL]", "refused[quotes:BAD]"]
    );
    let error = bad.wait_confirmed(Duration::ZERO).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Refused { rejection, .. } if rejection.code().is_some_and(|code| *code == 400)),
        "{error:?}"
    );
    good.wait_confirmed(Duration::ZERO).unwrap();
    assert_eq!(bench.stream.health().topics_missing.len(), 1);
}

const REFUSED: &str = r#"[{"T":"error","code":400,"msg":"invalid syntax"}]"#;

/// The symbols of a request to subscribe to quotes.
fn asked_for(request: &str) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["action"], "subscribe");
    let symbols = request["quotes"].as_array().unwrap().iter();
    symbols
        .map(|symbol| symbol.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_topic_that_the_venue_refuses_is_found_among_many_by_halving() {
    for guilty in [0, 17, 29] {
        let mut bench = Bench::live();
        let symbols: Vec<String> = (0..30).map(|number| format!("S{number:02}")).collect();
        let subscription = bench.subscribe(alpaca::quotes(&symbols));
        bench.step();
        let (mut requests, mut confirmed) = (0, Vec::new());
        while let [request] = &*bench.sent() {
            requests += 1;
            let asked = asked_for(request);
            if asked.contains(&symbols[guilty]) {
                bench.say(REFUSED);
            } else {
                confirmed.extend(asked);
                let state: Vec<&str> = confirmed.iter().map(String::as_str).collect();
                bench.say(&quotes_of(&state));
            }
        }
        // The first, then two for each of the five times that the rest is halved.
        assert!(requests <= 11, "{requests} requests");
        assert_eq!(confirmed.len(), 29);
        let words = words(&subscription);
        let refused = format!("refused[quotes:{}]", symbols[guilty]);
        let refusals = words.iter().filter(|word| word.starts_with("refused"));
        assert_eq!(refusals.collect::<Vec<_>>(), [&refused]);
        subscription.wait_confirmed(Duration::ZERO).unwrap_err();
    }
}

/// A venue that closes the connection over a request answers it, too. The topic at fault is found, and the others are
/// served, although each wrong request costs a connection.
#[test]
fn a_topic_that_the_venue_closes_the_connection_over_is_found_by_halving() {
    for guilty in [0, 5, 7] {
        let mut bench = Bench::live();
        let symbols: Vec<String> = (0..8).map(|number| format!("S{number}")).collect();
        let subscription = bench.subscribe(alpaca::quotes(&symbols));
        bench.step();
        let (mut deaths, mut confirmed, mut refused) = (0, Vec::new(), Vec::new());
        let is_told = |told: &[String]| told.iter().any(|word| word.starts_with("refused"));
        while !is_told(&refused) {
            let sent = bench.sent();
            let Some(request) = sent.iter().find(|text| text.contains("subscribe")) else {
                // All that it may ask for is answered.
                panic!("{deaths} connections, and the guilty one is not found");
            };
            let asked = asked_for(request);
            if asked.contains(&symbols[guilty]) {
                deaths += 1;
                assert!(deaths <= 12, "{asked:?}");
                confirmed.clear();
                bench.peer.cut();
                bench.step();
                bench.relive();
            } else {
                confirmed.extend(asked);
                let state: Vec<&str> = confirmed.iter().map(String::as_str).collect();
                bench.say(&quotes_of(&state));
            }
            refused.extend(words(&subscription));
        }
        let refusals: Vec<_> = refused
            .iter()
            .filter(|word| word.starts_with("refused"))
            .collect();
        assert_eq!(refusals, [&format!("refused[quotes:{}]", symbols[guilty])]);
    }
}

/// That a line dies twice before the only topic is answered for is no proof against that topic.
#[test]
fn the_only_topic_is_not_refused_because_the_line_keeps_dying() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["KO"]));
    bench.step();
    for _ in 0..10 {
        let sent = bench.sent();
        let requests = sent.iter().filter(|text| text.contains("subscribe"));
        assert_eq!(requests.count(), 1);
        bench.peer.cut();
        bench.step();
        bench.relive();
    }
    bench.say(&quotes_of(&["KO"]));
    let told = words(&subscription);
    assert!(
        !told.iter().any(|word| word.starts_with("refused")),
        "{told:?}"
    );
    assert_eq!(
        told[told.len() - 2..],
        ["confirmed[quotes:KO]", "resumed11"]
    );
}

#[test]
fn what_a_full_state_reply_leaves_out_was_refused_in_silence() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    assert_eq!(
        words(&subscription),
        ["confirmed[quotes:AAPL]", "refused[quotes:MSFT]"]
    );
}

#[test]
fn a_request_that_is_never_answered_is_refused_in_time_and_the_next_one_goes_out() {
    let mut bench = Bench::live();
    let silent = bench.subscribe(alpaca::quotes(["AAPL"]));
    let next = bench.subscribe(alpaca::quotes(["MSFT"]));
    bench.step();
    bench.sent();
    // No answer is no verdict: what the venue may be sending is taken back, and asked for once more.
    let timeout = Config::default().request_timeout;
    for _ in 0..2 {
        assert_eq!(bench.leap(), timeout);
        assert_eq!(words(&silent), [""; 0]);
        let taken_back = r#"{"action":"unsubscribe","quotes":["AAPL","MSFT"]}"#;
        assert_eq!(bench.sent()[0], taken_back);
        bench.say(&quotes_of(&[]));
        bench.sent();
    }
    assert_eq!(words(&silent), ["refused[quotes:AAPL]"]);
    assert_eq!(words(&next), ["refused[quotes:MSFT]"]);
    // What was inferred from silence is tried again.
    bench.sent();
    bench.peer.advance(Duration::from_secs(601));
    bench.peer.pong();
    bench.step();
    let asked = bench.sent().concat();
    assert!(
        asked.contains(r#"{"action":"subscribe","quotes":["AAPL"]}"#),
        "{asked}"
    );
    bench.say(&quotes_of(&["AAPL"]));
    assert_eq!(words(&silent), ["confirmed[quotes:AAPL]"]);
}

#[test]
fn a_broken_line_is_a_gap_behind_what_was_read_and_resumes_with_everything_back() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    bench.peer.say(quote("AAPL", 1));
    bench.peer.cut();
    bench.peer.say(quote("AAPL", 2));
    bench.step();
    assert_eq!(
        words(&subscription),
        ["confirmed[quotes:AAPL, quotes:MSFT]", "AAPL@1", "gap1x1"]
    );
    assert_eq!(bench.phase(), Phase::Waiting);
    bench.sent();
    bench.leap();
    bench.say(CONNECTED);
    bench.say(AUTHENTICATED);
    assert_eq!(
        bench.sent()[1..],
        [r#"{"action":"subscribe","quotes":["AAPL","MSFT"]}"#]
    );
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    bench.say(&quote("AAPL", 3));
    assert_eq!(
        words(&subscription),
        ["resumed2", "AAPL@3"],
        "what the dead connection left behind is not delivered"
    );
}

#[test]
fn gaps_of_a_flapping_line_merge() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    for _ in 0..50 {
        bench.reconnect(&["AAPL"]);
    }
    assert_eq!(words(&subscription), ["gap50x50", "resumed51"]);
}

/// To a program without a logger this is all that it learns of a name that cannot be resolved, or of a port that refuses.
#[test]
fn each_subscription_is_told_in_band_why_the_line_is_not_live() {
    let mut bench = Bench::new(Config::default());
    let early = bench.subscribe(alpaca::quotes(["AAPL"]));
    let refused = || Fault::Upgrade {
        status: 503,
        retry_after: None,
        location: None,
    };
    bench.peer.fail_next(refused());
    bench.step();
    assert_eq!(words(&early), ["not live 1 upgrade"]);
    bench.peer.fail_next(refused());
    bench.leap();
    bench.leap();
    assert_eq!(words(&early), [""; 0], "it is the same cause");
    let late = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    assert_eq!(words(&late), ["not live 2 upgrade"]);
    bench.peer.fail_next(reset());
    bench.leap();
    assert_eq!(words(&early), ["not live 3 lost"]);
    assert_eq!(words(&late), ["not live 3 lost"]);
    // What a gap tells is not told again, and after the line was live everything is news.
    while bench.phase() != Phase::Authenticating {
        bench.leap();
    }
    bench.say(CONNECTED);
    bench.say(AUTHENTICATED);
    bench.say(&quotes_of(&["AAPL"]));
    bench.say(&quotes_of(&["AAPL"]));
    bench.peer.cut();
    bench.step();
    assert_eq!(words(&early), ["confirmed[quotes:AAPL]", "gap1x1"]);
    bench.peer.fail_next(refused());
    for _ in 0..3 {
        bench.leap();
    }
    let told = words(&early);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("upgrade"), "{told:?}");
}

/// The newest of a subscription's own topics, by the venue's clock, however old it is by ours.
#[test]
fn a_gap_says_where_a_backfill_begins() {
    let quote = |symbol: &str, time: &str| {
        format!(
            r#"{{"T":"q","S":"{symbol}","bp":1,"bs":1,"ap":1,"as":1,"t":"2026-03-17T14:30:{time}Z"}}"#
        )
    };
    let mut bench = Bench::live();
    let both = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    let one = bench.subscribe(alpaca::quotes(["AAPL"]));
    let none = bench.subscribe(alpaca::quotes(["KO"]));
    bench.step();
    let since = |subscription: &Subscription<Quote>| {
        let updates = std::iter::from_fn(|| subscription.try_recv().ok());
        let gaps = updates.filter_map(|update| match update {
            Update::Gap(gap) => Some(gap.since.map(|since| since.to_string())),
            _ => None,
        });
        gaps.collect::<Vec<_>>()
    };
    let state = quotes_of(&["AAPL", "MSFT", "KO"]);
    bench.say(&state);
    bench.say(&state);
    bench.say(&format!(
        "[{},{}]",
        quote("AAPL", "05.1"),
        quote("MSFT", "05.2")
    ));
    bench.say(&format!("[{}]", quote("AAPL", "04.9")));
    bench.reconnect(&["AAPL", "MSFT", "KO"]);
    // Nothing came in between: the first gap's time is where the backfill begins.
    bench.reconnect(&["AAPL", "MSFT", "KO"]);
    let at = |time: &str| vec![Some(format!("2026-03-17T14:30:{time}Z"))];
    assert_eq!(since(&both), at("05.2"));
    assert_eq!(since(&one), at("05.1"));
    assert_eq!(since(&none), [None]);
    bench.say(&format!("[{}]", quote("MSFT", "06")));
    bench.reconnect(&["AAPL", "MSFT", "KO"]);
    assert_eq!(since(&both), at("06"));
    assert_eq!(since(&one), at("05.1"), "it is the newest of its own");
}

/// Where no event is let in, two breaks are one gap, and what was dropped before the last of them stands in front of it.
#[test]
fn gaps_and_drops_of_a_full_queue_merge_on_a_flapping_line() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]).queue(2, Overflow::DropNewest));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    for bid in 0..50 {
        for _ in 0..2 {
            bench.say(&quote("AAPL", bid));
        }
        bench.reconnect(&["AAPL"]);
    }
    bench.say(&quote("AAPL", 50));
    assert_eq!(
        words(&subscription),
        [
            "AAPL@0",
            "AAPL@0",
            "dropped98",
            "gap50x50",
            "resumed51",
            "dropped1"
        ]
    );
}

/// What is said of a topic again and again, to a reader that does not read, is kept once between two events.
#[test]
fn notices_that_nobody_reads_do_not_pile_up() {
    for overflow in [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Conflate,
    ] {
        let mut bench = Bench::live();
        let topics = alpaca::quotes(["AAPL"]).queue(10, overflow);
        let subscription = bench.subscribe(topics);
        bench.step();
        bench.say(&quotes_of(&["AAPL"]));
        for bid in 0..1_000 {
            subscription.add(alpaca::quotes(["MSFT"])).unwrap();
            bench.step();
            bench.say(&quotes_of(&["AAPL", "MSFT"]));
            bench.say(&quote("AAPL", bid));
            subscription.remove(alpaca::quotes(["MSFT"])).unwrap();
            bench.step();
            bench.say(&quotes_of(&["AAPL"]));
        }
        let words = words(&subscription);
        assert!(words.len() < 150, "{overflow:?}: {}", words.len());
        let confirmed = |word: &&String| word.starts_with("confirmed");
        let last = words.iter().rev().find(confirmed);
        assert!(last.is_some_and(|word| word.contains("MSFT")), "{words:?}");
        let events = words.iter().filter(|word| word.contains('@')).count();
        let dropped: usize = words
            .iter()
            .filter_map(|word| word.strip_prefix("dropped")?.parse::<usize>().ok())
            .sum();
        let conflated = bench.health().subscriptions[0].events_conflated as usize;
        assert_eq!(
            events + dropped + conflated,
            1_000,
            "{overflow:?}: {words:?}"
        );
    }
}

/// They say from which event on something holds.
#[test]
fn notices_with_events_between_them_all_stay() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    let mut expected = Vec::new();
    for bid in 0..200 {
        subscription.add(alpaca::quotes(["MSFT"])).unwrap();
        bench.step();
        bench.say(&quotes_of(&["AAPL", "MSFT"]));
        bench.say(&quote("AAPL", bid));
        subscription.remove(alpaca::quotes(["MSFT"])).unwrap();
        bench.step();
        bench.say(&quotes_of(&["AAPL"]));
        expected.extend(["confirmed[quotes:MSFT]".to_owned(), format!("AAPL@{bid}")]);
    }
    assert_eq!(words(&subscription), expected);
}

#[test]
fn one_odd_item_costs_one_item() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["*"]));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    words(&subscription);
    let good = quote("AAPL", 1);
    let inner = good.trim_matches(['[', ']']).to_owned() + "]";
    let inner = inner.replace("\"c\":[\"R\"]]", "\"c\":[\"R\"]");
    let inner = inner.trim_end_matches(']');
    let null = inner.replace("\"bp\":1,", "\"bp\":null,");
    bench.say(&format!(
        r#"[{inner},{{"T":"new thing","S":"AAPL"}},{inner},{null},{inner}]"#
    ));
    bench.say("[1,2");
    bench.say(r#"{"T":"heartbeat"}"#);
    assert_eq!(
        words(&subscription),
        [
            "AAPL@1",
            r#"unparsed:{"T":"new thing","S":"AAPL"}+0"#,
            "AAPL@1",
            &format!("unparsed:{null}+0"),
            "AAPL@1",
            "unparsed:1+0",
            "unparsed:2+0",
            "unparsed:+0",
            r#"unparsed:{"T":"heartbeat"}+0"#,
        ]
    );
    assert_eq!(bench.stream.health().counters.unparsed, 6);
    assert_eq!(bench.phase(), Phase::Live);
}

#[test]
fn a_flood_of_unparsed_items_is_counted_and_does_not_grow() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    for _ in 0..1_000 {
        bench.say(r#"[{"T":"?"}]"#);
    }
    let words = words(&subscription);
    assert_eq!(words.len(), 64);
    assert_eq!(words.last().unwrap(), r#"unparsed:{"T":"?"}+936"#);
}

#[test]
fn a_wildcard_and_its_symbol_deliver_an_event_once() {
    let mut bench = Bench::live();
    let both = bench.subscribe(alpaca::quotes(["*", "AAPL"]));
    let other = bench.subscribe(alpaca::quotes(["MSFT"]));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    bench.say(&quotes_of(&["*"]));
    bench.say(&quote("AAPL", 1));
    assert_eq!(words(&both), ["confirmed[quotes:*, quotes:AAPL]", "AAPL@1"]);
    assert_eq!(words(&other), ["confirmed[quotes:MSFT]"]);
}

/// Every event is delivered, queued or declared dropped, and the hole is where the events are missing.
#[test]
fn a_full_queue_drops_where_its_policy_says_and_says_so_there() {
    let cases: [(Overflow, &[&str]); 3] = [
        (
            Overflow::DropOldest,
            &["dropped7", "A@8", "A@9", "A@10", "ended"],
        ),
        (
            Overflow::DropNewest,
            &["A@1", "A@2", "A@3", "dropped7", "ended"],
        ),
        (Overflow::End, &["A@1", "A@2", "A@3", "ended"]),
    ];
    for (policy, expected) in cases {
        for per_turn in [1, 2, 5, 10] {
            let mut bench = Bench::live();
            let subscription = bench.subscribe(alpaca::quotes(["A"]).queue(3, policy));
            bench.step();
            bench.say(&quotes_of(&["A"]));
            assert_eq!(words(&subscription), ["confirmed[quotes:A]"]);
            for index in 1..=10 {
                bench.peer.say(quote("A", index));
                if index % per_turn == 0 {
                    bench.step();
                }
            }
            bench.step();
            let health = subscription.health();
            assert_eq!(
                (
                    health.events_routed,
                    health.events_queued,
                    health.events_dropped
                ),
                (10, 3, 7),
                "{policy}"
            );
            for queue in bench.stream.subscriptions.close(&EndReason::Closed) {
                queue.end(&EndReason::Closed);
            }
            let words: Vec<_> = words(&subscription)
                .into_iter()
                .map(|word| word.split(':').next().unwrap().to_owned())
                .collect();
            assert_eq!(words, expected, "{policy}, {per_turn} a turn");
            assert_eq!(subscription.health().events_delivered, 3);
        }
    }
}

#[test]
fn a_conflating_queue_keeps_the_newest_of_each_topic_in_its_place() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A", "B"]).conflate());
    bench.step();
    bench.say(&quotes_of(&["A", "B"]));
    words(&subscription);
    for (symbol, bid) in [("A", 1), ("B", 2), ("A", 3), ("A", 4), ("B", 5)] {
        bench.say(&quote(symbol, bid));
    }
    let health = subscription.health();
    assert_eq!(
        (
            health.events_routed,
            health.events_conflated,
            health.events_queued
        ),
        (5, 3, 2)
    );
    bench.reconnect(&["A", "B"]);
    bench.say(&quote("A", 6));
    bench.say(&quote("A", 7));
    assert_eq!(
        words(&subscription),
        ["A@4", "B@5", "gap1x1", "resumed2", "A@7"]
    );
    bench.say(&quote("A", 8));
    assert_eq!(words(&subscription), ["A@8"]);
    let health = subscription.health();
    assert_eq!(
        (
            health.events_routed,
            health.events_conflated,
            health.events_delivered
        ),
        (8, 4, 4)
    );
    assert_eq!((health.events_dropped, health.events_queued), (0, 0));
}

#[test]
fn a_conflating_queue_that_is_too_short_for_its_topics_says_what_it_dropped() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["*"]).queue(2, Overflow::Conflate));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    words(&subscription);
    for (symbol, bid) in [("A", 1), ("B", 2), ("A", 3), ("C", 4), ("C", 5), ("B", 6)] {
        bench.say(&quote(symbol, bid));
    }
    let words = words(&subscription);
    let health = subscription.health();
    assert_eq!(
        words[0],
        format!("dropped{}", health.events_dropped),
        "{words:?}"
    );
    assert_eq!(words[words.len() - 2..], ["C@5", "B@6"]);
    assert_eq!(
        health.events_delivered + health.events_dropped + health.events_conflated,
        6
    );
}

#[test]
fn a_gap_stays_between_the_events_it_stood_between() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]).queue(4, Overflow::DropOldest));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    for index in 1..=3 {
        bench.say(&quote("A", index));
    }
    bench.reconnect(&["A"]);
    bench.say(&quote("A", 4));
    bench.say(&quote("A", 5));
    bench.say(&quote("A", 6));
    assert_eq!(
        words(&subscription),
        ["dropped2", "A@3", "gap1x1", "resumed2", "A@4", "A@5", "A@6"]
    );
}

/// A look at the clock costs as much as an event: only the lag takes one, at the first event and at every 64th.
#[test]
fn what_is_queued_is_read_without_the_clock() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    for index in 1..=8 {
        bench.say(&quote("A", index));
    }
    let deadline = clock::now();
    subscription.recv().unwrap();
    let reads = clock::READS.get();
    let timeout = Duration::from_secs(60);
    for _ in 0..2 {
        subscription.recv_timeout(timeout).unwrap();
        subscription.recv_deadline(deadline).unwrap();
    }
    assert_eq!(subscription.iter().take(1).count(), 1);
    subscription.ready().try_recv().unwrap();
    assert_eq!(subscription.drain().count(), 2);
    assert_eq!(clock::READS.get(), reads);
}

#[test]
fn after_the_end_was_taken_the_channel_stays_silent() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.say(&quote("A", 1));
    // Of a channel that is kept, each token is followed by a drain. This one reads nothing.
    let ready = subscription.ready();
    ready.try_recv().expect("something is queued");
    drop(subscription.drain());
    bench.say(&quote("A", 2));
    for queue in bench.stream.subscriptions.close(&EndReason::Closed) {
        queue.end(&EndReason::Closed);
    }
    ready.try_recv().expect("unread, so it fires again");
    assert_eq!(subscription.drain().take(2).count(), 2);
    ready.try_recv().expect("half-read, so it fires again");
    // A token that came to nothing is made good by the next call.
    assert!(ready.is_empty());
    subscription
        .ready()
        .try_recv()
        .expect("something is queued");
    let rest: Vec<_> = subscription.drain().collect();
    assert!(
        matches!(rest[..], [Update::Event(_), Update::Ended(_)]),
        "{rest:?}"
    );
    assert!(ready.is_empty());
    assert!(subscription.ready().try_recv().is_err());
    assert_eq!(subscription.drain().count(), 0);
    assert!(ready.is_empty());
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Ended);
    assert_eq!(
        subscription
            .recv_timeout(Duration::from_secs(60))
            .unwrap_err(),
        RecvTimeoutError::Ended
    );
}

#[test]
fn what_was_refused_is_asked_for_again_on_request() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(r#"[{"T":"error","code":400,"msg":"invalid syntax"}]"#);
    assert!(subscription.wait_confirmed(Duration::ZERO).is_err());
    bench.sent();
    subscription.resubscribe().unwrap();
    bench.step();
    assert_eq!(bench.sent(), [r#"{"action":"subscribe","quotes":["A"]}"#]);
    bench.say(&quotes_of(&["A"]));
    subscription.wait_confirmed(Duration::ZERO).unwrap();
    assert_eq!(
        words(&subscription),
        ["refused[quotes:A]", "confirmed[quotes:A]"]
    );
}

/// What the venue sends for another topic may stop before this one is confirmed: delivered early, it would leave a hole
/// that nobody declares.
#[test]
fn nothing_is_delivered_before_its_topic_is_confirmed() {
    let mut bench = Bench::live();
    let one = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    let all = bench.subscribe(alpaca::quotes(["*"]));
    bench.say(&quote("A", 1));
    bench.step();
    bench.say(&quotes_of(&["*", "A"]));
    bench.say(&quote("A", 2));
    all.remove(alpaca::quotes(["*"])).unwrap();
    bench.step();
    all.add(alpaca::quotes(["*"])).unwrap();
    bench.step();
    bench.say(&quote("A", 3));
    bench.say(&quotes_of(&["A"]));
    bench.say(&quote("A", 4));
    bench.say(&quotes_of(&["*", "A"]));
    bench.say(&quote("A", 5));
    assert_eq!(
        words(&one),
        ["confirmed[quotes:A]", "A@1", "A@2", "A@3", "A@4", "A@5"]
    );
    assert_eq!(
        words(&all),
        [
            "confirmed[quotes:*]",
            "A@1",
            "A@2",
            "confirmed[quotes:*]",
            "A@4",
            "A@5"
        ],
        "what came since the state that lacked it is held back until it is confirmed"
    );
}

#[test]
fn what_health_says_of_topics_is_of_one_moment() {
    let mut bench = Bench::live();
    let adds_up = |bench: &Bench, wanted: usize| {
        let health = bench.health();
        let sum = health.topics_confirmed + health.topics_missing.len();
        assert_eq!((health.topics_wanted, sum), (wanted, wanted), "{health}");
    };
    let subscription = bench.subscribe(alpaca::quotes(["A", "B"]));
    adds_up(&bench, 0);
    bench.step();
    adds_up(&bench, 2);
    bench.say(&quotes_of(&["A", "B"]));
    adds_up(&bench, 2);
    subscription.remove(alpaca::quotes(["B"])).unwrap();
    adds_up(&bench, 2);
    bench.step();
    adds_up(&bench, 1);
    bench.say(&quotes_of(&["A"]));
    adds_up(&bench, 1);
}

#[test]
fn a_repeated_or_late_reply_is_not_taken_for_another_request() {
    let mut bench = Bench::live();
    let one = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    let two = bench.subscribe(alpaca::quotes(["B"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    assert_eq!(words(&two), [""; 0], "the answer is still to come");
    bench.say(&quotes_of(&["A", "B"]));
    assert_eq!(words(&two), ["confirmed[quotes:B]"]);

    // What comes too late is believed all the same, and what was asked for since then is not taken for refused.
    let three = bench.subscribe(alpaca::quotes(["C"]));
    bench.step();
    bench.leap();
    assert_eq!(words(&three), [""; 0], "no answer is no verdict");
    let four = bench.subscribe(alpaca::quotes(["D"]));
    bench.step();
    bench.say(&quotes_of(&["A", "B", "C"]));
    assert_eq!(words(&four), [""; 0], "an answer, but not to this");
    bench.say(&quotes_of(&["A", "B"]));
    bench.say(&quotes_of(&["A", "B", "C", "D"]));
    assert_eq!(words(&three), ["confirmed[quotes:C]"]);
    assert_eq!(words(&four), ["confirmed[quotes:D]"]);
    assert_eq!(
        words(&one),
        ["confirmed[quotes:A]"],
        "nobody else was disturbed"
    );
}

/// What stood between two gaps was dropped, so they are adjacent, and adjacent gaps are one.
#[test]
fn gaps_that_come_together_when_events_are_dropped_are_one() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]).queue(2, Overflow::DropOldest));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    for index in 1..=2 {
        bench.say(&quote("A", index));
        bench.reconnect(&["A"]);
    }
    bench.say(&quote("A", 3));
    bench.say(&quote("A", 4));
    assert_eq!(
        words(&subscription),
        ["dropped2", "gap2x2", "resumed3", "A@3", "A@4"]
    );
}

#[test]
fn topics_are_given_up_in_order() {
    const SYMBOLS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(SYMBOLS));
    bench.step();
    bench.say(&quotes_of(&SYMBOLS));
    bench.sent();
    drop(subscription);
    bench.step();
    let list = SYMBOLS.map(|symbol| format!("\"{symbol}\"")).join(",");
    assert_eq!(
        bench.sent(),
        [format!(r#"{{"action":"unsubscribe","quotes":[{list}]}}"#)]
    );
}

#[test]
fn who_asks_again_does_so_in_the_order_they_came() {
    const SYMBOLS: [&str; 4] = ["D", "B", "A", "C"];
    let mut bench = Bench::live();
    let all = bench.subscribe(alpaca::quotes(["*"]));
    let others = SYMBOLS.map(|symbol| bench.subscribe(alpaca::quotes([symbol])));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    drop(all);
    bench.step();
    bench.sent();
    bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
    let list = SYMBOLS.map(|symbol| format!("\"{symbol}\"")).join(",");
    assert_eq!(
        bench.sent(),
        [format!(r#"{{"action":"subscribe","quotes":[{list}]}}"#)]
    );
    drop(others);
}

/// A venue may list `*` in the place of what it stands for. Whoever gives the `*` up must not take along, in silence or
/// for good, what others want.
#[test]
fn a_topic_that_came_with_a_wildcard_does_not_go_with_it() {
    for answered in [true, false] {
        let mut bench = Bench::live();
        let all = bench.subscribe(alpaca::quotes(["*"]));
        let one = bench.subscribe(alpaca::quotes(["A"]));
        bench.step();
        bench.say(&quotes_of(&["*"]));
        bench.say(&quote("A", 1));
        drop(all);
        bench.step();
        assert_eq!(
            bench.sent().last().unwrap(),
            r#"{"action":"unsubscribe","quotes":["*"]}"#
        );
        if answered {
            bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
            let asked = bench.sent().concat();
            assert_eq!(asked, r#"{"action":"subscribe","quotes":["A"]}"#);
            bench.say(&quotes_of(&["A"]));
        } else {
            // The venue may have stopped sending all of it: a line that does not say so twice is replaced.
            let asked = bench.peer.now();
            while bench.phase() == Phase::Live {
                bench.peer.pong();
                bench.leap();
            }
            let patience = 2 * Config::default().request_timeout;
            assert_eq!(bench.peer.now() - asked, patience);
            bench.reconnect(&["A"]);
        }
        bench.say(&quote("A", 5));
        one.wait_confirmed(Duration::ZERO).unwrap();
        let (gap, resumed) = if answered {
            ("gap1x0", "resumed1")
        } else {
            ("gap1x1", "resumed2")
        };
        assert_eq!(
            words(&one),
            ["confirmed[quotes:A]", "A@1", gap, resumed, "A@5"]
        );
    }
}

/// News of the whole channel, for example.
#[test]
fn an_event_without_a_symbol_is_not_lost_in_a_queue_that_conflates() {
    #[derive(Clone, Debug, PartialEq)]
    struct News(u32);
    impl Routed for News {
        fn channel(&self) -> Channel {
            Channel::new("news")
        }
        fn symbols(&self) -> &[Symbol] {
            &[]
        }
    }
    impl Payload for News {
        type Source = Self;
        fn project(event: &Self) -> Option<impl FnOnce() -> Self> {
            Some(|| event.clone())
        }
    }
    let bench = Bench::live();
    let limit = QueueLimit::new(10, Overflow::Conflate);
    let (queue, reader) = Queue::<News>::new(limit, &bench.stream.key, None);
    let mut scratch = Scratch::new();
    for index in 1..=2 {
        let mut events = Events::new();
        events.push(News(index), bench.peer.now());
        let batch = Arc::new(Batch::new(events, 1));
        queue.push(&batch, batch.whole(), &mut scratch);
    }
    let health = queue.health(1);
    assert_eq!(
        (
            health.events_routed,
            health.events_conflated,
            health.events_queued
        ),
        (2, 1, 1)
    );
    let update: Update<News> = Drain::new(&reader).next().unwrap();
    assert_eq!(update.event().unwrap().unwrap().data, News(2));
    assert_eq!(queue.health(1).events_queued, 0);
}

/// A wildcard covers its symbols in every state, so that alone does not make a repeated one the answer.
#[test]
fn a_repeated_reply_with_a_wildcard_does_not_refuse_the_next_request() {
    let mut bench = Bench::live();
    let all = bench.subscribe(alpaca::quotes(["*"]));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    let lease = Lease::counted(Arc::clone(&bench.stream) as Arc<dyn SharedStream>, None);
    let mixed = StreamHandle::new(Arc::clone(&bench.stream), lease, bench.stream.config.queue)
        .subscribe(alpaca::quotes(["A"]))
        .unwrap();
    mixed.add(alpaca::bars(["B"])).unwrap();
    bench.step();
    bench.say(&quotes_of(&["*"]));
    assert_eq!(
        words(&mixed),
        Vec::<String>::new(),
        "the answer is still to come"
    );
    bench.say(r#"[{"T":"subscription","quotes":["*","A"],"bars":["B"]}]"#);
    assert_eq!(words(&mixed), ["confirmed[bars:B, quotes:A]"]);
    assert_eq!(words(&all), ["confirmed[quotes:*]"]);
}

/// A venue that writes a symbol in another way than it was asked for sends events that reach nobody. They are counted and
/// named, and who waits for them is told once.
#[test]
fn events_that_match_nobody_are_counted_named_and_told_once_to_who_may_be_waiting_for_them() {
    let mut bench = Bench::live();
    let waiting = bench.subscribe(alpaca::quotes(["KO"]));
    let served = bench.subscribe(alpaca::quotes(["PEP"]));
    bench.step();
    while !bench.sent().is_empty() {
        bench.say(&quotes_of(&["KO", "PEP"]));
    }
    bench.say(&quote("PEP", 1));
    for bid in 2..5 {
        bench.say(&quote("KO.N", bid));
    }
    assert_eq!(
        words(&waiting),
        ["confirmed[quotes:KO]", "unmatchedquotes:KO.N"]
    );
    assert_eq!(words(&served), ["confirmed[quotes:PEP]", "PEP@1"]);
    let health = bench.health();
    let counted = health.counters;
    assert_eq!(
        (
            counted.events,
            counted.events_routed,
            counted.events_unmatched
        ),
        (4, 1, 3)
    );
    assert_eq!(
        health.newest_unmatched.as_ref().map(ToString::to_string),
        Some("quotes:KO.N".to_owned())
    );
    assert!(
        health
            .to_string()
            .contains("3 for nobody (the last of quotes:KO.N)"),
        "{health}"
    );

    // What was unsubscribed a moment ago may still be on its way: it is counted apart, and nobody is told.
    drop(served);
    bench.step();
    bench.say(&quote("PEP", 5));
    bench.say(&quotes_of(&["KO"]));
    bench.say(&quote("PEP", 6));
    let counted = bench.health().counters;
    assert_eq!((counted.events_unmatched, counted.events_unsettled), (3, 2));
}

/// Events that build on one that could not be read are worth nothing: the topic is unsubscribed and asked for again, and
/// its readers are told when it begins anew.
#[test]
fn a_topic_that_is_to_begin_anew_is_asked_for_again_and_nothing_of_it_comes_until_then() {
    let mut bench = Bench::live();
    let ko = bench.subscribe(alpaca::quotes(["KO", "PEP"]));
    bench.step();
    bench.sent();
    bench.say(&quotes_of(&["KO", "PEP"]));
    bench.restart(crate::Topic::new(crate::market::QUOTES, "KO"));
    bench.say(&quote("KO", 1));
    bench.say(&quote("PEP", 1));
    assert_eq!(
        bench.sent(),
        [r#"{"action":"unsubscribe","quotes":["KO"]}"#]
    );
    bench.say(&quotes_of(&["PEP"]));
    assert_eq!(bench.sent(), [r#"{"action":"subscribe","quotes":["KO"]}"#]);
    assert!(
        ko.wait_confirmed(Duration::ZERO).is_err(),
        "it is not confirmed now"
    );
    bench.say(&quotes_of(&["KO", "PEP"]));
    bench.say(&quote("KO", 2));
    assert_eq!(
        words(&ko),
        [
            "confirmed[quotes:KO, quotes:PEP]",
            "gap1x0",
            "PEP@1",
            "resumed1",
            "KO@2"
        ]
    );
    ko.wait_confirmed(Duration::ZERO).unwrap();
}
