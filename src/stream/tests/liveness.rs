//! A line that is dead, mute, silent or late, and a machine that slept, on the virtual clock.

use std::collections::BTreeSet;

use super::*;
use crate::{SymbolBudget, stream::TopicTable};

#[test]
fn an_unanswered_ping_gives_the_line_up_and_any_sign_of_life_saves_it() {
    let config = Config::default();
    let mut bench = Bench::live();
    assert_eq!(bench.leap(), config.ping_interval);
    assert_eq!(bench.sent().last().unwrap(), "<ping>");
    bench.peer.pong();
    bench.step();
    assert_eq!(bench.leap(), config.ping_interval);
    assert_eq!(bench.phase(), Phase::Live);
    assert_eq!(bench.leap(), config.ping_timeout);
    assert_eq!(bench.phase(), Phase::Waiting);
}

/// After how long a line is given up that went silent without a word right after its login.
fn given_up_after<V: Venue>(venue: V, login: &[&str]) -> Duration {
    let credentials = Credentials::new("PKTEST", SECRET).unwrap();
    let key = crate::StreamKey::new(venue.endpoint(), &credentials);
    let stream = Stream::new(key, 0, venue.rules(), venue, Arc::new(Config::default()));
    let (peer, transport) = Peer::new();
    let mut driver = drive(&stream, &peer, transport, credentials);
    let mut next = driver.step(peer.now());
    for said in login {
        peer.say(*said);
        next = driver.step(peer.now());
    }
    let start = peer.now();
    while stream.lifecycle.phase() == Phase::Live {
        next = driver.step(peer.advance_to(next.expect("a deadline")));
    }
    assert_eq!(stream.lifecycle.phase(), Phase::Waiting);
    peer.now() - start
}

#[test]
fn a_line_that_is_dead_without_a_word_is_given_up_within_fifteen_seconds() {
    let stocks = alpaca::stocks(Feed::Iex);
    let after = given_up_after(stocks, &[CONNECTED, AUTHENTICATED]);
    assert_eq!(after, Duration::from_secs(15));
    let orders = alpaca::order_updates(alpaca::Account::Paper);
    let authorized =
        r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#;
    let listening = r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#;
    let after = given_up_after(orders, &[authorized, listening]);
    assert_eq!(after, Duration::from_secs(10));
}

/// Between two pings nothing wakes the thread of a line on which nothing happens.
#[test]
fn an_idle_line_wakes_up_for_its_pings_and_for_nothing_else() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.sent();
    let interval = Config::default().ping_interval;
    for _ in 0..360 {
        assert_eq!(bench.leap(), interval);
        assert_eq!(bench.sent(), ["<ping>"]);
        bench.peer.pong();
        bench.step();
    }
    drop(subscription);
}

#[test]
fn a_line_that_falls_behind_warns_once() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T14:30:06Z".parse().unwrap());
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    // The same time of the quote, at later and later times of arrival.
    for _ in 0..4 {
        bench.say(&quote("A", 1));
        bench.peer.advance(Duration::from_secs(2));
    }
    bench.say(&quote("A", 1));
    assert_eq!(
        words(&subscription),
        ["A@1", "A@1", "A@1", "A@1", "behind6", "A@1"]
    );
    assert_eq!(bench.stream.health().behind, Duration::from_secs(8));
}

/// Answers pings, and requests for quotes. Says what was sent.
fn answer(bench: &mut Bench) -> Vec<String> {
    let mut sent = Vec::new();
    loop {
        let requests = bench.sent();
        if requests.is_empty() {
            return sent;
        }
        for request in &requests {
            if request == "<ping>" {
                bench.peer.pong();
                bench.step();
                continue;
            }
            let Some(asked) = request.split(r#""quotes":["#).nth(1) else {
                continue;
            };
            let confirmed = bench.stream.subscriptions.look(TopicTable::told_confirmed);
            let mut held: BTreeSet<String> = confirmed
                .into_iter()
                .map(|(_, topic)| topic.symbol.to_string())
                .collect();
            if request.contains(r#""subscribe""#) {
                let asked = asked.split(']').next().into_iter();
                let asked = asked.flat_map(|list| list.split(','));
                held.extend(asked.map(|symbol| symbol.trim_matches('"').to_owned()));
            }
            let held: Vec<&str> = held.iter().map(String::as_str).collect();
            bench.say(&quotes_of(&held));
        }
        sent.extend(requests);
    }
}

/// Leaps for so long, with a peer that answers every ping and every request, and says the phases that were entered on the way.
fn pass(bench: &mut Bench, time: Duration) -> Vec<Phase> {
    let end = bench.peer.now() + time;
    let mut phases = Vec::new();
    while bench.next.is_some_and(|next| next <= end) {
        bench.leap();
        answer(bench);
        if phases.last() != Some(&bench.phase()) {
            phases.push(bench.phase());
        }
    }
    bench.peer.advance_to(end);
    phases
}

#[test]
fn a_line_that_answers_pings_and_brings_nothing_is_mute_while_the_market_trades() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let subscription =
        bench.subscribe(alpaca::quotes(["A"]).expect_within(Duration::from_secs(300)));
    let quiet = bench.subscribe(alpaca::quotes(["QUIET"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.say(&quotes_of(&["A", "QUIET"]));
    words(&quiet);
    assert_eq!(pass(&mut bench, Duration::from_secs(299)), [Phase::Live]);
    bench.say(&quote("A", 1));
    assert_eq!(
        pass(&mut bench, Duration::from_secs(299)),
        [Phase::Live],
        "it came"
    );
    assert_eq!(
        pass(&mut bench, Duration::from_secs(2)),
        [Phase::Mute],
        "probed"
    );
    bench.say(&quote("A", 2));
    assert_eq!(
        pass(&mut bench, Duration::from_secs(30)),
        [Phase::Live],
        "it came after all"
    );
    words(&subscription);
    let start = bench.peer.now();
    let phases = pass(&mut bench, Duration::from_secs(285));
    assert_eq!(
        phases,
        [
            Phase::Live,
            Phase::Mute,
            Phase::Waiting,
            Phase::Authenticating
        ]
    );
    assert!(bench.peer.now() - start <= Duration::from_secs(285));
    assert_eq!(words(&subscription), ["gap1x1"]);
    let gap = std::iter::from_fn(|| quiet.try_recv().ok()).find_map(|update| match update {
        Update::Gap(gap) => Some(gap),
        _ => None,
    });
    let gap = gap.expect("every subscription of the line hears of it");
    let cause = &gap.cause;
    assert!(matches!(cause.kind(), ErrorKind::Mute), "{cause:?}");
}

/// Lets seconds pass in which the lively topics have a quote each, and the venue answers. Says what was sent.
fn pass_with(bench: &mut Bench, seconds: usize, lively: &[&str]) -> Vec<String> {
    let mut sent = Vec::new();
    for _ in 0..seconds {
        bench.peer.advance(Duration::from_secs(1));
        for symbol in lively {
            bench.say(&quote(symbol, 1));
        }
        bench.step();
        sent.extend(answer(bench));
    }
    sent
}

/// A line on the day of a market, with a subscription to A and B that expects each of them within a minute, and another one of B.
fn expectant() -> (Bench, Subscription<Quote>, Subscription<Quote>) {
    expectant_on(alpaca::stocks(Feed::Iex))
}

fn expectant_on(venue: MarketData) -> (Bench, Subscription<Quote>, Subscription<Quote>) {
    let mut bench = Bench::live_on(venue);
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let topics = alpaca::quotes(["A", "B"]).expect_within(Duration::from_secs(60));
    let both = bench.subscribe(topics);
    let neighbor = bench.subscribe(alpaca::quotes(["B"]));
    bench.step();
    pass_with(&mut bench, 1, &["A", "B"]);
    bench.say(&quote("A", 1));
    words(&both);
    words(&neighbor);
    (bench, both, neighbor)
}

fn without_quotes(words: Vec<String>) -> Vec<String> {
    words
        .into_iter()
        .filter(|word| !word.contains('@') && !word.starts_with("behind"))
        .collect()
}

#[test]
fn a_mute_topic_is_probed_then_asked_for_again_and_then_the_line_is_cut_while_its_neighbors_are_lively()
 {
    let again = [
        "<ping>",
        r#"{"action":"unsubscribe","quotes":["A"]}"#,
        r#"{"action":"subscribe","quotes":["A"]}"#,
    ];
    for comes in [true, false] {
        let (mut bench, both, neighbor) = expectant();
        let asked = pass_with(&mut bench, 59, &["B"]);
        assert_eq!(asked, Vec::<String>::new(), "not yet");
        let asked = pass_with(&mut bench, 3, &["B"]);
        assert_eq!(asked, again);
        // Its neighbors go on, and only who reads it is told of a loss.
        assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
        let told = words(&both);
        let quotes = told.iter().filter(|word| *word == "B@1").count();
        assert_eq!(
            (quotes, without_quotes(told)),
            (62, vec!["gap1x0".to_owned(), "resumed1".to_owned()])
        );
        assert_eq!(without_quotes(words(&neighbor)), Vec::<String>::new());
        if comes {
            pass_with(&mut bench, 1, &["A"]);
            let asked = pass_with(&mut bench, 55, &["B"]);
            assert_eq!(asked, Vec::<String>::new(), "it came after all");
            assert_eq!(bench.health().epoch, 1);
            continue;
        }
        pass_with(&mut bench, 9, &["B"]);
        let phase = bench.phase();
        assert!(
            [Phase::Waiting, Phase::Authenticating].contains(&phase),
            "it did not come, and it is {phase}"
        );
        for subscription in [&both, &neighbor] {
            let gap =
                std::iter::from_fn(|| subscription.try_recv().ok()).find_map(
                    |update| match update {
                        Update::Gap(gap) => Some(gap),
                        _ => None,
                    },
                );
            assert!(matches!(
                gap.expect("the line broke").cause.kind(),
                ErrorKind::Mute
            ));
        }
        // Nor does it come on the next connection: another would bring no more, and it is kept for the others.
        answer_login(&mut bench, AUTHENTICATED);
        for _ in 0..60 {
            pass_with(&mut bench, 60, &["B"]);
            assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 2));
        }
        let told = without_quotes(words(&both));
        assert!(
            told.len() <= 6,
            "asked for again once, and left alone: {told:?}"
        );
    }
}

/// The venue takes one request in half a minute: between the two that ask for a topic again nothing can come of it.
#[test]
fn the_time_of_a_topic_that_is_asked_for_again_runs_from_when_the_venue_confirms_it() {
    let half_a_minute = Duration::from_secs(30);
    let slow = alpaca::stocks(Feed::Iex).with_rules(|rules| rules.pace(1, half_a_minute));
    let (mut bench, both, neighbor) = expectant_on(slow);
    let asked = pass_with(&mut bench, 62, &["B"]);
    assert!(
        asked.last().unwrap().contains("unsubscribe"),
        "and not yet for it again: {asked:?}"
    );
    let mut waited = 0;
    while !pass_with(&mut bench, 1, &["B"])
        .concat()
        .contains("subscribe")
    {
        assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
        waited += 1;
    }
    assert!((25..=31).contains(&waited), "{waited}");
    let patience = Config::default().request_timeout.as_secs();
    pass_with(&mut bench, patience as usize - 1, &["B"]);
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
    pass_with(&mut bench, 2, &["B"]);
    assert_ne!(bench.phase(), Phase::Live, "it did not come");
    drop((both, neighbor));
}

/// The venue takes one request at a time, and leaves another one unanswered.
#[test]
fn a_topic_that_is_to_be_asked_for_again_waits_for_the_request_before_it() {
    let (mut bench, both, neighbor) = expectant();
    pass_with(&mut bench, 58, &["B"]);
    let slow = bench.subscribe(alpaca::quotes(["SLOW"]));
    bench.step();
    assert_eq!(bench.sent().len(), 1, "asked for, and never answered");
    let patience = Config::default().request_timeout.as_secs();
    let asked = pass_with(&mut bench, patience as usize + 4, &["B"]);
    let asked = asked.concat();
    assert!(asked.contains(r#""subscribe","quotes":["A""#), "{asked}");
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
    drop((both, neighbor, slow));
}

/// Who expected the topic within a minute leaves while it is asked for again: before the venue has confirmed it, or after.
#[test]
fn a_line_is_not_given_up_for_what_nobody_expects_so_soon_any_more() {
    for (others, is_confirmed) in [
        (Some(3_600), true),
        (Some(3_600), false),
        (None, true),
        (None, false),
    ] {
        let story = format!("{others:?} {is_confirmed}");
        let mut bench = Bench::live();
        bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
        let within = |seconds| alpaca::quotes(["A"]).expect_within(Duration::from_secs(seconds));
        let hasty = bench.subscribe(within(60));
        let patient = bench.subscribe(match others {
            Some(seconds) => within(seconds),
            None => alpaca::quotes(["A"]),
        });
        let lively = bench.subscribe(alpaca::quotes(["B"]));
        bench.step();
        pass_with(&mut bench, 1, &["A", "B"]);
        pass_with(&mut bench, 59, &["B"]);
        bench.peer.advance(Duration::from_secs(2));
        bench.step();
        assert_eq!(bench.sent(), ["<ping>"], "{story}");
        bench.peer.pong();
        bench.step();
        if is_confirmed {
            assert!(answer(&mut bench).concat().contains(r#""subscribe""#));
        }
        drop(hasty);
        bench.step();
        answer(&mut bench);
        pass_with(&mut bench, 600, &["B"]);
        let seen = (bench.phase(), bench.health().epoch);
        assert_eq!(seen, (Phase::Live, 1), "{story}");
        assert!(!bench.driver.router().is_any_late(), "{story}");
        drop((patient, lively));
    }
}

#[test]
fn nothing_is_expected_every_moment() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let _quotes = bench.subscribe(alpaca::quotes(["A"]).expect_within(Duration::ZERO));
    bench.step();
    answer(&mut bench);
    for _ in 0..100 {
        bench.peer.advance(Duration::from_millis(300));
        bench.say(&quote("A", 1));
        assert_eq!(bench.sent(), Vec::<String>::new(), "no ping for each event");
    }
}

#[test]
fn a_topic_that_was_asked_for_again_has_its_time_awake() {
    let (mut bench, both, neighbor) = expectant();
    let asked = pass_with(&mut bench, 62, &["B"]);
    assert!(asked.last().unwrap().contains(r#""subscribe""#));
    bench.peer.suspend(Duration::from_secs(3_600));
    bench.step();
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Mute, 1));
    answer(&mut bench);
    pass_with(&mut bench, 3, &["A", "B"]);
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
    drop((both, neighbor));
}

/// A holiday that the calendar's table does not have.
#[test]
fn a_mute_line_that_is_kept_is_live_to_whoever_waits_for_that() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2029-12-25T14:30:00Z".parse().unwrap());
    let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(60));
    let quotes = bench.subscribe(topics);
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.reconnect(&["A"]);
    bring_nothing(&mut bench, Duration::from_secs(600));
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Mute, 2));
    bench.handle().wait_live(Duration::ZERO).unwrap();
    assert_eq!(bench.health().cause, None, "it was live since");
    drop(quotes);
}

#[test]
fn nothing_is_expected_of_a_topic_that_is_left_or_that_the_venue_refuses() {
    // Who expects it leaves it, and another one reads on.
    let (mut bench, both, neighbor) = expectant();
    both.remove(alpaca::quotes(["B"])).unwrap();
    bench.step();
    let asked = pass_with(&mut bench, 300, &["A"]);
    assert_eq!(
        asked.iter().filter(|sent| *sent != "<ping>").count(),
        0,
        "{asked:?}"
    );
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
    drop(neighbor);

    // It is asked for again, and refused.
    let (mut bench, both, _neighbor) = expectant();
    pass_with(&mut bench, 58, &["B"]);
    let mut refusals = 0;
    for _ in 0..300 {
        bench.peer.advance(Duration::from_secs(1));
        bench.say(&quote("B", 1));
        for request in bench.sent() {
            if request == "<ping>" {
                bench.peer.pong();
                bench.step();
            } else if request.contains("unsubscribe") {
                bench.say(&quotes_of(&["B"]));
            } else {
                refusals += 1;
                bench.say(r#"[{"T":"error","code":400,"msg":"invalid syntax"}]"#);
            }
        }
    }
    assert_eq!(
        (refusals, bench.health().epoch, bench.phase()),
        (1, 1, Phase::Live)
    );
    assert!(words(&both).iter().any(|word| word.starts_with("refused")));
}

/// What the venue says of a wildcard holds for its channel, however lively another one is.
#[test]
fn a_lively_channel_does_not_hide_a_mute_one() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let quotes = bench.subscribe(alpaca::quotes(["*"]).conflate());
    let trades = bench.handle().subscribe(alpaca::trades(["*"])).unwrap();
    bench.step();
    bench.say(r#"[{"T":"subscription","trades":["*"],"quotes":["*"]}]"#);
    bench.sent();
    let mut asked = Vec::new();
    for number in 0..62 {
        bench.peer.advance(Duration::from_secs(1));
        bench.say(&format!(
            r#"[{{"T":"t","S":"A","i":{number},"p":1,"s":1,"t":"2026-03-17T14:30:05Z"}}]"#
        ));
        asked.extend(bench.sent());
    }
    assert_eq!(
        asked,
        ["<ping>", r#"{"action":"unsubscribe","quotes":["*"]}"#]
    );
    assert_eq!(bench.phase(), Phase::Live);
    drop((quotes, trades));
}

/// A thread that was held up finds in one turn that the probe's time is over, that somebody subscribed, and what was missing.
#[test]
fn what_lies_in_the_socket_is_read_before_a_mute_line_is_given_up_whoever_subscribed_meanwhile() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(300));
    let subscription = bench.subscribe(topics);
    bench.step();
    bench.say(&quotes_of(&["A"]));
    let phases = pass(&mut bench, Duration::from_secs(301));
    assert_eq!(phases, [Phase::Live, Phase::Mute]);
    bench.peer.advance(Duration::from_secs(60));
    let another = bench.subscribe(alpaca::quotes(["B"]));
    bench.say(&quote("A", 1));
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
    assert_eq!(words(&subscription).last().unwrap(), "A@1");
    drop(another);
}

/// A crypto line on which two symbols have had a quote every half second for a minute.
fn busy_line() -> (Bench, Subscription<Quote>) {
    busy_line_on(alpaca::crypto(alpaca::CryptoFeed::Us))
}

fn busy_line_on(venue: MarketData) -> (Bench, Subscription<Quote>) {
    let mut bench = Bench::live_on(venue);
    let subscription = bench.subscribe(alpaca::quotes(["BTC/USD", "ETH/USD"]));
    bench.step();
    bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
    for _ in 0..120 {
        bench.peer.advance(Duration::from_millis(500));
        bench.say(&quote("BTC/USD", 1));
        bench.say(&quote("ETH/USD", 1));
    }
    bench.sent();
    words(&subscription);
    (bench, subscription)
}

/// Lets time pass with pongs alone, and says what was asked of the venue, until `done`.
fn pongs_alone(bench: &mut Bench, done: impl Fn(&Bench) -> bool) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..1_000 {
        if done(bench) {
            return asked;
        }
        bench.leap();
        let sent = bench.sent();
        if sent.iter().any(|sent| sent == "<ping>") {
            bench.peer.pong();
            bench.step();
        }
        asked.extend(sent.into_iter().filter(|sent| sent != "<ping>"));
    }
    panic!("it does not come to that: {asked:?}");
}

#[test]
fn a_busy_line_that_falls_silent_is_asked_again_and_then_given_up() {
    // The venue answers what it is asked, or does not, and brings nothing.
    for answers in [true, false] {
        let (mut bench, subscription) = busy_line();
        let start = bench.peer.now();
        let asked = pongs_alone(&mut bench, |bench| bench.phase() == Phase::Mute);
        let silent = (bench.peer.now() - start).as_secs();
        assert!((30..=45).contains(&silent), "probed after {silent} s");
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].contains("unsubscribe"), "{asked:?}");
        if answers {
            bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
            let asked = bench.sent().concat();
            assert!(asked.contains(r#""subscribe""#), "{asked}");
            bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
        }
        pongs_alone(&mut bench, |bench| bench.phase() != Phase::Mute);
        assert_eq!(bench.phase(), Phase::Waiting);
        let silent = (bench.peer.now() - start).as_secs();
        assert!(silent <= 90, "given up after {silent} s");
        let gap =
            std::iter::from_fn(|| subscription.try_recv().ok()).find_map(|update| match update {
                Update::Gap(gap) => Some(gap),
                Update::Notice(Declared {
                    what: Notice::Refused { .. },
                    ..
                }) => panic!("nothing was refused"),
                _ => None,
            });
        let cause = gap.expect("the line broke").what.cause;
        assert!(matches!(cause.kind(), ErrorKind::Mute), "{cause:?}");
        // The next connection has brought nothing yet, so nothing is expected of it.
        answer_login(&mut bench, AUTHENTICATED);
        bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
        bench.sent();
        let later = bench.peer.now() + Duration::from_secs(3_600);
        let asked = pongs_alone(&mut bench, |bench| bench.peer.now() >= later);
        assert_eq!((bench.phase(), asked.len()), (Phase::Live, 0), "{asked:?}");
    }
}

/// The venue takes one request in two minutes, more time than a busy line may be silent.
#[test]
fn a_busy_line_is_not_given_up_before_it_could_be_asked_again() {
    let crypto = alpaca::crypto(alpaca::CryptoFeed::Us);
    let pace = Duration::from_secs(120);
    let (mut bench, subscription) = busy_line_on(crypto.with_rules(|rules| rules.pace(1, pace)));
    let mut asked = Vec::new();
    while asked.len() < 2 {
        bench.leap();
        for sent in bench.sent() {
            match &*sent {
                "<ping>" => bench.peer.pong(),
                _ => asked.push(sent),
            }
        }
        if asked.len() == 1 {
            bench.peer.say(r#"[{"T":"subscription","quotes":[]}]"#);
        }
        bench.step();
        assert_ne!(bench.phase(), Phase::Waiting, "{asked:?}");
    }
    assert!(asked[1].contains(r#""subscribe""#), "{asked:?}");
    drop(subscription);
}

/// The plan has room for the busy topics alone, which have to make room for quiet ones.
#[test]
fn topics_that_were_displaced_are_no_sign_of_a_mute_line() {
    let crypto = alpaca::crypto(alpaca::CryptoFeed::Us);
    let (mut bench, busy) = busy_line_on(crypto.symbol_budget(Some(SymbolBudget::of(2))));
    bench.say(&quote("BTC/USD", 1));
    let quiet = bench.subscribe(alpaca::quotes(["DOGE/USD", "LTC/USD"]).priority(1));
    bench.step();
    assert!(bench.sent().concat().contains("unsubscribe"));
    bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
    assert!(bench.sent().concat().contains(r#""subscribe""#));
    bench.say(&quotes_of(&["DOGE/USD", "LTC/USD"]));
    assert!(words(&busy).concat().contains("displaced"));
    let later = bench.peer.now() + Duration::from_secs(600);
    let asked = pongs_alone(&mut bench, |bench| {
        bench.peer.now() >= later || bench.phase() != Phase::Live
    });
    assert_eq!((bench.phase(), asked.len()), (Phase::Live, 0), "{asked:?}");
    drop(quiet);
}

#[test]
fn a_busy_topic_that_was_displaced_does_not_hide_a_mute_line() {
    let crypto = alpaca::crypto(alpaca::CryptoFeed::Us);
    let (mut bench, busy) = busy_line_on(crypto.symbol_budget(Some(SymbolBudget::of(2))));
    bench.say(&quote("ETH/USD", 1));
    let quiet = bench.subscribe(alpaca::quotes(["DOGE/USD"]).priority(1));
    bench.step();
    assert!(bench.sent().concat().contains("ETH/USD"));
    bench.say(&quotes_of(&["BTC/USD"]));
    bench.say(&quotes_of(&["BTC/USD", "DOGE/USD"]));
    bench.sent();
    let later = bench.peer.now() + Duration::from_secs(600);
    pongs_alone(&mut bench, |bench| {
        bench.peer.now() >= later || bench.phase() == Phase::Mute
    });
    assert_eq!(bench.phase(), Phase::Mute);
    drop((busy, quiet));
}

#[test]
fn a_busy_line_that_was_silent_for_a_while_is_live_again_with_the_first_event() {
    let (mut bench, subscription) = busy_line();
    pongs_alone(&mut bench, |bench| bench.phase() == Phase::Mute);
    bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
    bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
    bench.peer.advance(Duration::from_secs(1));
    bench.say(&quote("BTC/USD", 2));
    assert_eq!(bench.phase(), Phase::Live);
    assert_eq!(
        words(&subscription),
        ["gap1x0", "resumed1", "BTC/USD@2"],
        "what may have come meanwhile is declared"
    );
    assert_eq!(bench.peer.attempts(), 1);
}

#[test]
fn one_busy_topic_that_falls_silent_is_asked_for_again_and_costs_the_others_nothing() {
    let (mut bench, subscription) = busy_line();
    let mut asked = Vec::new();
    for _ in 0..1_200 {
        bench.peer.advance(Duration::from_millis(500));
        bench.say(&quote("ETH/USD", 1));
        assert_eq!(bench.phase(), Phase::Live);
        for request in bench.sent() {
            bench.say(&if request.contains("unsubscribe") {
                quotes_of(&["ETH/USD"])
            } else {
                quotes_of(&["BTC/USD", "ETH/USD"])
            });
            asked.push(request);
        }
    }
    assert_eq!(
        asked,
        [
            r#"{"action":"unsubscribe","quotes":["BTC/USD"]}"#,
            r#"{"action":"subscribe","quotes":["BTC/USD"]}"#
        ],
        "once"
    );
    let told = words(&subscription);
    let events = told.iter().filter(|word| *word == "ETH/USD@1").count();
    assert_eq!(
        (events, told.len()),
        (1_200, 1_202),
        "and a gap of one topic, and its end"
    );
    assert_eq!(bench.peer.attempts(), 1);
}

/// Gaps as markets have them: log-normal, with a rate that follows the hour of the day, and bursts.
#[test]
fn a_week_of_gaps_as_markets_have_them_is_never_taken_for_a_silence() {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
    // The median gap in seconds by day, and how widely gaps are spread.
    for (seed, median, spread) in [
        (1, 2.0, 0.8),
        (2, 10.0, 1.2),
        (3, 60.0, 1.0),
        (4, 600.0, 1.5),
    ] {
        let mut bench = Bench::live_on(alpaca::crypto(alpaca::CryptoFeed::Us));
        let subscription = bench.subscribe(alpaca::quotes(["BTC/USD"]).conflate());
        bench.step();
        bench.say(&quotes_of(&["BTC/USD"]));
        bench.sent();
        let mut dice = Dice::new(seed);
        let start = bench.peer.now();
        while bench.peer.now() - start < WEEK {
            // The sum of twelve uniform numbers is as good as normal (Irwin and Hall).
            let normal: f64 = (0..12).map(|_| dice.fraction()).sum::<f64>() - 6.0;
            let hours = (bench.peer.now() - start).as_secs_f64() / 3_600.0;
            let by_hour = 1.0 + 2.0 * (hours * std::f64::consts::TAU / 24.0).sin().max(0.0);
            let gap = Duration::from_secs_f64(median * by_hour * (normal * spread).exp());
            let next = bench.peer.now() + gap;
            while bench.next.is_some_and(|due| due < next) {
                bench.leap();
                let sent = bench.sent();
                assert!(sent.iter().all(|sent| sent == "<ping>"), "{seed}: {sent:?}");
                bench.peer.pong();
                bench.step();
            }
            bench.peer.advance_to(next);
            bench.say(&quote("BTC/USD", 1));
            assert_eq!(bench.sent(), Vec::<String>::new(), "{seed}");
            assert_eq!(bench.phase(), Phase::Live);
        }
        assert_eq!(bench.peer.attempts(), 1);
        drop(subscription);
    }
}

/// Logins, requests and pings are answered, and no data comes.
fn bring_nothing(bench: &mut Bench, time: Duration) {
    let end = bench.peer.now() + time;
    while bench.next.is_some_and(|next| next <= end) {
        bench.leap();
        answer(bench);
        if bench.phase() == Phase::Authenticating {
            bench.say(CONNECTED);
            bench.say(AUTHENTICATED);
            bench.say(&quotes_of(&["A"]));
        }
    }
    bench.peer.advance_to(end);
}

/// A day of mourning that the calendar was not told of, and a holiday of a year that its table does not cover.
#[test]
fn a_market_that_is_closed_without_the_calendars_knowledge_costs_one_connection_a_day_or_none() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    for (opening, epochs) in [
        ("2026-03-17T13:30:00Z", [2, 3, 4]),
        ("2029-12-25T14:30:00Z", [1, 1, 1]),
    ] {
        let mut bench = Bench::live();
        bench.peer.set_utc(opening.parse().unwrap());
        let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(60));
        let quotes = bench.subscribe(topics);
        bench.step();
        bench.say(&quotes_of(&["A"]));
        bring_nothing(&mut bench, hours(6));
        let seen = (bench.health().epoch, bench.phase());
        assert_eq!(seen, (epochs[0], Phase::Mute), "{opening}");

        // After the close nothing is expected, and on the next day it is expected from the opening.
        bring_nothing(&mut bench, hours(17));
        let seen = (bench.health().epoch, bench.phase());
        assert_eq!(seen, (epochs[0], Phase::Live), "{opening}");
        bring_nothing(&mut bench, hours(1) + Duration::from_secs(20));

        // A connection that brought something, and does no longer, is another matter on a day that is known: each time.
        for epoch in &epochs[1..] {
            bench.say(&quote("A", 1));
            bring_nothing(&mut bench, Duration::from_secs(300));
            let seen = (bench.health().epoch, bench.phase());
            assert_eq!(seen, (*epoch, Phase::Mute), "{opening}");
        }
        drop(quotes);
    }
}

#[test]
fn a_week_with_its_nights_and_its_week_end_causes_no_false_reconnect() {
    let mut bench = Bench::live();
    // A Friday, before the opening.
    bench.peer.set_utc("2026-03-20T13:00:00Z".parse().unwrap());
    let all = bench.subscribe(alpaca::quotes(["*"]).conflate());
    let daily = StreamHandle::new(
        Arc::clone(&bench.stream),
        Lease::counted(Arc::clone(&bench.stream) as Arc<dyn SharedStream>, None),
        bench.stream.config.queue,
    )
    .subscribe(alpaca::daily_bars(["A"]))
    .unwrap();
    bench.step();
    bench.say(&quotes_of(&["*"]));
    bench.say(r#"[{"T":"subscription","quotes":["*"],"dailyBars":["A"]}]"#);
    bench.sent();
    // Until the next Friday's close something comes every half minute of trading, and nothing at any other time.
    let trading = crate::calendar::Calendar::us_equities();
    for _ in 0..2 * 60 * 24 * 7 {
        pass(&mut bench, Duration::from_secs(30));
        let utc = bench.driver.utc();
        if trading.session_at(utc) == crate::calendar::TradingSession::Regular {
            bench.say(&quote("A", 1));
        }
    }
    assert_eq!(bench.peer.attempts(), 1);
    assert_eq!(bench.phase(), Phase::Live);
    drop((all, daily));
}

/// A line that was heard a moment ago, one that was quiet, and one whose ping is unanswered: in the turn in which the
/// thread notices that the machine slept it sends a ping, which has its whole time, whatever was read in that turn.
#[test]
fn after_the_machine_slept_the_line_is_probed_in_the_same_turn_and_given_up_without_a_pong() {
    let config = Config::default();
    for (quiet, slept, buffered, answers) in [
        (0, 1, false, false),
        (0, 3_600, true, false),
        (19, 1, true, true),
        (20, 3_600, false, false),
        (20, 1, true, true),
        (25, 86_400, true, false),
    ] {
        let story = format!("{quiet} {slept} {buffered} {answers}");
        let mut bench = Bench::live();
        bench.peer.advance(Duration::from_secs(quiet));
        bench.step();
        bench.sent();
        bench.peer.suspend(Duration::from_secs(slept));
        if buffered {
            bench.peer.say(quote("KO", 1));
        }
        bench.step();
        assert_eq!(bench.sent(), ["<ping>"], "{story}");
        bench.step();
        assert_eq!(bench.sent(), Vec::<String>::new(), "{story}: once");
        if answers {
            bench.peer.pong();
            bench.step();
            assert_eq!(bench.leap(), config.ping_interval, "{story}");
            assert_eq!(bench.phase(), Phase::Live, "{story}");
        } else {
            assert_eq!(bench.leap(), config.ping_timeout, "{story}");
            assert_eq!(bench.phase(), Phase::Waiting, "{story}");
        }
    }
}

#[test]
fn what_two_clocks_differ_by_for_less_than_a_second_is_no_sleep() {
    let mut bench = Bench::live();
    for _ in 0..10 {
        bench.peer.suspend(Duration::from_millis(999));
        bench.step();
    }
    assert_eq!(bench.sent(), Vec::<String>::new());
}

/// Set-up, backoff, a request, a close: what was slept is a part of the time that each is given.
#[test]
fn deadlines_count_the_time_asleep() {
    let config = Config::default();
    let second = Duration::from_secs(1);
    type Begin = fn() -> Bench;
    type IsOver = fn(&Bench) -> bool;
    let table: [(&str, Begin, Duration, IsOver); 4] = [
        (
            "set-up",
            || {
                let mut bench = Bench::new(Config::default());
                bench.step();
                bench
            },
            config.setup_timeout,
            |bench| bench.phase() == Phase::Waiting,
        ),
        (
            "backoff",
            || {
                let mut bench = Bench::live();
                bench.peer.cut();
                bench.step();
                assert_eq!(bench.phase(), Phase::Waiting);
                bench
            },
            // Half of the first bound, by the fixed jitter.
            config.backoff.initial / 2,
            |bench| bench.phase() == Phase::Authenticating,
        ),
        (
            "request",
            || {
                let mut bench = Bench::live();
                std::mem::forget(bench.subscribe(alpaca::quotes(["KO"])));
                bench.step();
                assert!(!taken_back(&bench));
                bench
            },
            config.request_timeout,
            taken_back,
        ),
        (
            "close",
            || {
                let mut bench = Bench::live();
                bench.peer.never_answers_close();
                bench.peer.cut();
                bench.step();
                assert_eq!(bench.phase(), Phase::Closing);
                bench
            },
            config.close_timeout,
            |bench| bench.phase() == Phase::Waiting,
        ),
    ];
    for (what, begin, time, is_over) in table {
        let mut bench = begin();
        // The last second passes awake. Less than a second of sleep is not counted.
        let slept = time.saturating_sub(second).max(second);
        bench.peer.suspend(slept);
        if slept < time {
            bench.step();
            assert!(!is_over(&bench), "{what}: too early");
            bench.peer.advance(time - slept);
        }
        bench.step();
        assert!(is_over(&bench), "{what}");
    }

    fn taken_back(bench: &Bench) -> bool {
        bench.sent().iter().any(|sent| sent.contains("unsubscribe"))
    }
}

#[test]
fn the_attempt_after_a_sleep_is_shown_where_it_is() {
    let mut bench = Bench::live();
    bench.peer.fix_jitter(0.99);
    for _ in 0..8 {
        bench.peer.fail_next(Fault::Protocol("planted".to_owned()));
    }
    bench.peer.cut();
    bench.step();
    while bench.stream.lifecycle.snapshot().failures < 8 {
        bench.leap();
    }
    let retry_at = |bench: &Bench| bench.stream.lifecycle.snapshot().retry_at.unwrap();
    let before = retry_at(&bench);
    let slept = Duration::from_secs(3);
    assert!(before > bench.peer.now() + slept);
    bench.peer.suspend(slept);
    bench.step();
    assert_eq!(retry_at(&bench), before - slept);
}

/// Expectations run on while the machine sleeps, in trading time: a line that brought nothing is probed for its data.
#[test]
fn what_is_expected_is_expected_through_a_sleep() {
    for (slept, phase) in [(200, Phase::Live), (301, Phase::Mute)] {
        let mut bench = Bench::live();
        bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
        let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(300));
        let _quotes = bench.subscribe(topics);
        bench.step();
        bench.say(&quotes_of(&["A"]));
        bench.peer.suspend(Duration::from_secs(slept));
        bench.step();
        bench.step();
        assert_eq!(bench.phase(), phase, "{slept}");
    }
}

/// A backfill begins at `last`: it must not begin after what was missed in the sleep.
#[test]
fn a_gap_after_a_sleep_says_when_the_last_message_was_read() {
    let mut bench = Bench::live();
    let quotes = bench.subscribe(alpaca::quotes(["KO"]));
    bench.step();
    bench.say(&quotes_of(&["KO"]));
    bench.say(&quote("KO", 1));
    let read_at = bench.driver.utc();
    bench.peer.suspend(Duration::from_secs(3_600));
    bench.peer.advance(Duration::from_secs(1));
    bench.peer.cut();
    bench.step();
    let last = std::iter::from_fn(|| quotes.try_recv().ok()).find_map(|update| match update {
        Update::Gap(gap) => Some(gap.last),
        _ => None,
    });
    assert_eq!(last, Some(Some(read_at)));
}
