//! Books on the driver's bench, where the test is the venue and both clocks.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
};

use super::*;
use crate::{
    EndReason, Phase,
    clock::Moment,
    market::Sides,
    price::PriceSource,
    stream::tests::{AUTHENTICATED, Bench, CONNECTED, quote},
    transport::memory::Dice,
};

/// Long enough for anything that is not broken, on a busy machine.
const GENEROUS: Duration = Duration::from_secs(60);
/// For those who are to be woken: longer than anybody waits for that, so that their own deadline does not do it.
const ENDLESS: Duration = Duration::from_secs(3_600);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: i64 = 3_600_000_000_000;

fn listed(symbols: &[&str]) -> String {
    let list = symbols
        .iter()
        .map(|symbol| format!("\"{symbol}\""))
        .collect::<Vec<_>>()
        .join(",");
    format!(r#"[{{"T":"subscription","trades":[{list}],"quotes":[{list}],"bars":null}}]"#)
}

fn sides(symbol: &str, bid: &str, ask: &str) -> String {
    format!(
        r#"[{{"T":"q","S":"{symbol}","bx":"V","bp":{bid},"bs":1,"ax":"Q","ap":{ask},"as":2,"c":["R"],"z":"C","t":"2026-03-17T14:30:05Z"}}]"#
    )
}

fn trade(symbol: &str, id: u64, price: &str) -> String {
    format!(
        r#"[{{"T":"t","S":"{symbol}","i":{id},"x":"V","p":{price},"s":7,"c":["@"],"z":"C","t":"2026-03-17T14:30:05Z"}}]"#
    )
}

fn correction(symbol: &str, id: u64, new: u64, price: &str) -> String {
    format!(
        r#"[{{"T":"c","S":"{symbol}","x":"V","oi":{id},"op":1,"os":7,"oc":["@"],"ci":{new},"cp":{price},"cs":8,"cc":["@"],"z":"C","t":"2026-03-17T14:31:05Z"}}]"#
    )
}

fn cancel(symbol: &str, id: u64) -> String {
    format!(
        r#"[{{"T":"x","S":"{symbol}","i":{id},"x":"V","p":1,"s":7,"a":"C","z":"C","t":"2026-03-17T14:32:05Z"}}]"#
    )
}

/// A live line with a book of these symbols, confirmed.
fn book_of(symbols: &[&str]) -> (Bench, PriceBook) {
    let mut bench = Bench::live();
    let book = bench.handle().price_book(symbols.iter().copied()).unwrap();
    bench.step();
    bench.say(&listed(symbols));
    (bench, book)
}

impl Bench {
    /// The quote's state, bid and age in milliseconds, in a word.
    fn quoted(&self, book: &PriceBook, symbol: &str, max_age: Duration) -> String {
        let cell = book.0.table.index.get(symbol).unwrap();
        let reading = book.0.table.quote(cell, max_age, || self.peer.moment());
        word(reading, |quote| quote.bid_price)
    }

    fn traded(&self, book: &PriceBook, symbol: &str, max_age: Duration) -> String {
        let cell = book.0.table.index.get(symbol).unwrap();
        let reading = book.0.table.trade(cell, max_age, || self.peer.moment());
        word(reading, |trade| trade.price)
    }

    fn best(&self, book: &PriceBook, symbol: &str) -> Result<(String, PriceSource, u128), String> {
        let cell = book.0.table.index.get(symbol).unwrap();
        let best = book.0.table.best_price(cell, SECOND, || self.peer.moment());
        best.map(|best| (best.price.to_string(), best.source, best.age.as_millis()))
            .map_err(|missing| missing.to_string())
    }

    /// Does what is asked for, and says what it sends, until nothing more is asked.
    fn serve(&mut self, serves: &mut BTreeSet<String>) {
        self.step();
        loop {
            let sent = self.sent();
            let Some(request) = sent.iter().find(|sent| sent.contains("\"quotes\"")) else {
                return;
            };
            let request: serde_json::Value = serde_json::from_str(request).unwrap();
            for symbol in request["quotes"].as_array().unwrap() {
                let symbol = symbol.as_str().unwrap();
                if request["action"] == "subscribe" {
                    serves.insert(symbol.to_owned());
                } else {
                    serves.remove(symbol);
                }
            }
            let symbols: Vec<&str> = serves.iter().map(String::as_str).collect();
            self.say(&listed(&symbols));
        }
    }

    fn reconnect_to(&mut self, symbols: &[&str]) {
        self.leap();
        self.say(CONNECTED);
        self.say(AUTHENTICATED);
        self.say(&listed(symbols));
    }
}

fn word<T>(reading: Reading<T>, price: impl Fn(&T) -> crate::Decimal) -> String {
    let shown = |value: &Aged<T>| format!("{}@{}", price(value), value.age.as_millis());
    match &reading {
        Reading::Fresh(value) => format!("fresh {}", shown(value)),
        Reading::Stale(value) => format!("stale {}", shown(value)),
        Reading::Cut(value) => format!("cut {}", shown(value)),
        Reading::Missed(value) => format!("missed {}", shown(value)),
        Reading::Never(why) => format!("never: {}", why.lack),
    }
}

#[expect(clippy::disallowed_methods, reason = "a test's own threads")]
fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    std::thread::spawn(body)
}

#[test]
fn a_value_says_how_old_it_is_and_what_may_be_made_of_it() {
    let mut bench = Bench::live();
    let book = bench.handle().price_book(["AAPL", "MSFT"]).unwrap();
    let unconfirmed = "never: the venue has not confirmed it yet";
    assert_eq!(bench.quoted(&book, "AAPL", SECOND), unconfirmed);
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"subscribe","trades":["AAPL","MSFT"],"quotes":["AAPL","MSFT"]}"#]
    );
    bench.say(&listed(&["AAPL", "MSFT"]));
    let silent = "never: the venue confirmed it and has sent none";
    assert_eq!(bench.quoted(&book, "AAPL", SECOND), silent);
    bench.say(&quote("AAPL", 7));
    bench.say(&trade("AAPL", 1, "7.25"));
    bench.peer.advance(SECOND);
    assert_eq!(bench.quoted(&book, "AAPL", SECOND), "fresh 7@1000");
    assert_eq!(bench.traded(&book, "AAPL", SECOND), "fresh 7.25@1000");
    bench.peer.advance(Duration::from_millis(1));
    assert_eq!(bench.quoted(&book, "AAPL", SECOND), "stale 7@1001");
    assert_eq!(bench.traded(&book, "AAPL", SECOND), "stale 7.25@1001");
    assert_eq!(bench.traded(&book, "AAPL", 2 * SECOND), "fresh 7.25@1001");
    assert_eq!(bench.quoted(&book, "MSFT", SECOND), silent);
    let health = bench.handle().health().subscriptions.swap_remove(0);
    assert_eq!((health.events_routed, health.events_conflated), (2, 2));
    assert_eq!((health.topics_confirmed, health.topics_pending), (4, 0));
}

#[test]
fn once_the_line_is_cut_every_value_is_until_the_next_one_of_the_new_connection() {
    let (mut bench, book) = book_of(&["A", "B"]);
    bench.say(&quote("A", 1));
    bench.say(&quote("B", 1));
    bench.say(&trade("A", 1, "1.1"));
    bench.peer.say(quote("A", 2));
    bench.peer.cut();
    bench.step();
    // Whatever age is allowed.
    let (forever, day) = (Duration::MAX, 24 * 3_600 * SECOND);
    assert_eq!(bench.quoted(&book, "A", forever), "cut 2@0");
    assert_eq!(bench.quoted(&book, "B", day), "cut 1@0");
    assert_eq!(bench.traded(&book, "A", day), "cut 1.1@0");
    let error = book.quote("A", day).fresh().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("nothing fresh of A: connection 1 broke after the newest, which is"),
        "{error}"
    );
    assert_eq!(book.unconfirmed().len(), 4);
    bench.reconnect_to(&["A", "B"]);
    assert!(book.unconfirmed().is_empty());
    assert!(bench.quoted(&book, "A", day).starts_with("cut 2@"));
    bench.say(&quote("A", 3));
    assert_eq!(bench.quoted(&book, "A", SECOND), "fresh 3@0");
    assert!(bench.quoted(&book, "B", day).starts_with("cut 1@"));
    assert!(bench.traded(&book, "A", day).starts_with("cut 1.1@"));
    bench.say(&trade("A", 2, "3.1"));
    assert_eq!(bench.traded(&book, "A", SECOND), "fresh 3.1@0");
}

#[test]
fn a_line_that_is_closed_here_is_cut_before_the_peer_has_answered() {
    let (mut bench, book) = book_of(&["A"]);
    bench.say(&quote("A", 1));
    bench.peer.never_answers_close();
    crate::stream::SharedStream::stop(&**book.0.attached.stream(), None);
    bench.step();
    assert_eq!(bench.phase(), Phase::Closing);
    assert_eq!(bench.quoted(&book, "A", Duration::MAX), "cut 1@0");
}

/// A year of mishaps in no time: whatever happens, wherever the wall clock goes, and however often the machine sleeps, only
/// what came on the connection that stands, since the symbol was last wanted and since the machine last slept, at most so
/// long ago, is fresh. Time asleep is a part of every age.
#[test]
fn no_read_calls_fresh_what_is_not_whatever_the_clocks_do() {
    const SYMBOLS: [&str; 3] = ["A", "B", "C"];
    const AGES: [Duration; 3] = [Duration::ZERO, SECOND, Duration::from_secs(3_600)];
    let mut seen = [0; 3];
    for seed in 0..60 {
        let mut dice = Dice::new(seed);
        let mut below = |bound: u64| (dice.roll() % bound) as usize;
        let mut bench = Bench::live();
        let book = bench.handle().price_book(SYMBOLS).unwrap();
        let mut serves = BTreeSet::new();
        bench.serve(&mut serves);
        // The bid and when it came; whether it was cut.
        let mut known: [Option<(u32, Moment, bool)>; 3] = [None; 3];
        let mut bid = 0;
        for _ in 0..200 {
            let which = below(3);
            let symbol = SYMBOLS[which];
            match below(14) {
                0..=3 => {
                    bid += 1;
                    bench.say(&quote(symbol, bid));
                    known[which] = Some((bid, bench.peer.moment(), false));
                }
                4..=6 => {
                    bench.peer.advance(SECOND * below(3) as u32 / 2);
                }
                7 => {
                    bench.peer.advance(AGES[2]);
                    bench.peer.pong();
                    bench.step();
                }
                8 => {
                    bench.peer.cut();
                    bench.step();
                    known = known.map(|quote| quote.map(|(bid, at, _)| (bid, at, true)));
                    check(&bench, &book, &known, &mut seen);
                    bench.leap();
                    serves.clear();
                    bench.say(CONNECTED);
                    bench.say(AUTHENTICATED);
                }
                9 => {
                    book.remove([symbol]).unwrap();
                    if below(2) == 0 {
                        bench.serve(&mut serves);
                    }
                    book.add([symbol]).unwrap();
                    known[which] = known[which].map(|(bid, at, _)| (bid, at, true));
                    check(&bench, &book, &known, &mut seen);
                }
                10..=11 => {
                    bench.peer.suspend([SECOND / 2, SECOND, AGES[2]][below(3)]);
                    // A reader may be awake before the stream's thread is.
                    check(&bench, &book, &known, &mut seen);
                    bench.step();
                    bench.peer.pong();
                    bench.step();
                }
                _ => {
                    let by = if below(2) == 0 { HOUR } else { -HOUR };
                    let utc = Timestamp::from_nanos(by + below(1_000) as i64);
                    bench.peer.set_utc(utc);
                }
            }
            bench.serve(&mut serves);
            check(&bench, &book, &known, &mut seen);
        }
    }
    assert!(seen.iter().all(|count| *count > 1_000), "{seen:?}");

    fn check(
        bench: &Bench,
        book: &PriceBook,
        known: &[Option<(u32, Moment, bool)>; 3],
        seen: &mut [u32; 3],
    ) {
        for (symbol, known) in SYMBOLS.iter().zip(known) {
            for max_age in AGES {
                let expected = known.map(|(bid, at, is_cut)| {
                    let present = bench.peer.moment();
                    let slept = present.asleep - at.asleep;
                    let age = present.now - at.now + slept;
                    let state = match is_cut {
                        true => 1,
                        false if age > max_age || slept >= SECOND => 2,
                        false => 0,
                    };
                    seen[state] += 1;
                    let state = ["fresh", "cut", "stale"][state];
                    format!("{state} {bid}@{}", age.as_millis())
                });
                let quoted = bench.quoted(book, symbol, max_age);
                match expected {
                    Some(expected) => assert_eq!(quoted, expected),
                    None => assert!(quoted.starts_with("never"), "{quoted}"),
                }
            }
        }
    }
}

/// Whatever age is allowed, and whether or not the stream's thread has noticed.
#[test]
fn what_came_before_the_machine_slept_is_stale_with_its_true_age_until_the_next_one() {
    let (mut bench, book) = book_of(&["A"]);
    bench.say(&quote("A", 1));
    bench.say(&trade("A", 1, "1.1"));
    bench.peer.advance(SECOND);
    bench.peer.suspend(7_200 * SECOND);
    for _ in 0..2 {
        assert_eq!(bench.quoted(&book, "A", Duration::MAX), "stale 1@7201000");
        assert_eq!(bench.traded(&book, "A", Duration::MAX), "stale 1.1@7201000");
        assert_eq!(
            bench.best(&book, "A"),
            Err("nothing fresh of A: the newest is 7201.0s old".to_owned())
        );
        bench.step();
    }
    bench.say(&quote("A", 2));
    assert_eq!(bench.quoted(&book, "A", SECOND), "fresh 2@0");
    assert!(bench.traded(&book, "A", Duration::MAX).starts_with("stale"));
    // What is left of a short sleep is a part of the age, and no more than that.
    bench.peer.suspend(SECOND / 2);
    bench.step();
    assert_eq!(bench.quoted(&book, "A", SECOND), "fresh 2@500");
}

#[test]
fn one_sided_zero_locked_and_crossed_quotes_are_flagged_and_never_filled_in() {
    let (mut bench, book) = book_of(&["A"]);
    let table = [
        ("1", "1.5", Sides::Both, Some(("1.25", PriceSource::Mid))),
        ("2", "2", Sides::Locked, Some(("2", PriceSource::Mid))),
        ("3", "2.9", Sides::Crossed, None),
        ("4", "0", Sides::BidOnly, Some(("4", PriceSource::Bid))),
        ("0", "5", Sides::AskOnly, Some(("5", PriceSource::Ask))),
        ("0", "0", Sides::Neither, None),
        ("-1", "6", Sides::AskOnly, Some(("6", PriceSource::Ask))),
        ("-2", "-1", Sides::Neither, None),
    ];
    for (bid, ask, expected, price) in table {
        bench.say(&sides("A", bid, ask));
        let quote = book.quote("A", Duration::MAX).fresh().unwrap();
        assert_eq!(quote.sides(), expected);
        assert_eq!(
            (quote.bid_price.to_string(), quote.ask_price.to_string()),
            (bid.to_owned(), ask.to_owned())
        );
        let has_both = matches!(expected, Sides::Both | Sides::Locked);
        assert_eq!(quote.mid().is_some(), has_both);
        assert_eq!(quote.spread().is_some(), has_both);
        match price {
            Some((price, source)) => {
                assert_eq!(bench.best(&book, "A"), Ok((price.to_owned(), source, 0)));
            }
            None => assert_eq!(
                bench.best(&book, "A"),
                Err(format!("nothing fresh of A: the quote is {expected}"))
            ),
        }
    }
}

#[test]
fn the_best_price_is_the_best_of_what_is_fresh_and_its_age_is_its_own() {
    let (mut bench, book) = book_of(&["A"]);
    bench.say(&trade("A", 1, "9"));
    bench.peer.advance(SECOND / 2);
    bench.say(&sides("A", "1", "1.5"));
    let mid = |age| Ok(("1.25".to_owned(), PriceSource::Mid, age));
    assert_eq!(bench.best(&book, "A"), mid(0));
    bench.say(&sides("A", "1", "0"));
    let trade_is = |age| Ok(("9".to_owned(), PriceSource::LastTrade, age));
    assert_eq!(bench.best(&book, "A"), trade_is(500), "before a lone side");
    bench.say(&sides("A", "2", "1"));
    assert_eq!(
        bench.best(&book, "A"),
        trade_is(500),
        "not from a crossed quote"
    );
    bench.peer.advance(SECOND);
    bench.say(&sides("A", "2", "0"));
    let bid = Ok(("2".to_owned(), PriceSource::Bid, 0));
    assert_eq!(bench.best(&book, "A"), bid, "not from a stale trade");
    bench.say(&trade("A", 2, "0"));
    assert_eq!(bench.best(&book, "A"), bid, "not from a trade at nothing");
    bench.peer.advance(2 * SECOND);
    assert_eq!(
        bench.best(&book, "A"),
        Err("nothing fresh of A: the newest is 2.0s old".to_owned())
    );
}

#[test]
fn a_correction_of_the_last_trade_keeps_its_age_and_a_cancel_leaves_none() {
    let (mut bench, book) = book_of(&["A"]);
    bench.say(&trade("A", 1, "1"));
    bench.say(&trade("A", 2, "2"));
    bench.peer.advance(SECOND / 2);
    bench.say(&correction("A", 1, 3, "9"));
    bench.say(&cancel("A", 1));
    assert_eq!(
        bench.traded(&book, "A", SECOND),
        "fresh 2@500",
        "of an earlier one"
    );
    bench.say(&correction("A", 2, 4, "2.5"));
    assert_eq!(bench.traded(&book, "A", SECOND), "fresh 2.5@500");
    assert!(book.trade("A", Duration::MAX).fresh().unwrap().is_corrected);
    bench.say(&cancel("A", 2));
    assert_eq!(
        bench.traded(&book, "A", SECOND),
        "fresh 2.5@500",
        "by its old name"
    );
    bench.say(&cancel("A", 4));
    let canceled = "never: the last one was canceled";
    assert_eq!(bench.traded(&book, "A", SECOND), canceled);
    bench.say(&correction("A", 4, 5, "2.75"));
    assert_eq!(bench.traded(&book, "A", SECOND), canceled, "it stays so");
    assert!(bench.best(&book, "A").is_err());
    bench.say(&trade("A", 6, "3"));
    assert_eq!(bench.traded(&book, "A", SECOND), "fresh 3@0");
}

#[test]
fn an_amendment_does_not_mend_a_cut() {
    let (mut bench, book) = book_of(&["A"]);
    bench.say(&trade("A", 1, "1"));
    book.remove(["A"]).unwrap();
    book.add(["A"]).unwrap();
    bench.say(&correction("A", 1, 2, "1.5"));
    assert_eq!(bench.traded(&book, "A", SECOND), "cut 1.5@0");
    bench.say(&trade("A", 3, "2"));
    assert_eq!(bench.traded(&book, "A", SECOND), "fresh 2@0");
    bench.peer.cut();
    bench.step();
    bench.reconnect_to(&["A"]);
    bench.say(&correction("A", 3, 4, "2.5"));
    assert!(
        bench
            .traded(&book, "A", Duration::MAX)
            .starts_with("cut 2.5@")
    );
}

#[test]
fn what_the_venue_refused_says_so_and_ends_a_wait_at_once() {
    let mut bench = Bench::live();
    let book = bench.handle().price_book(["GOOD", "BAD"]).unwrap();
    bench.step();
    bench.say(&listed(&["GOOD"]));
    bench.say(&quote("GOOD", 1));
    assert!(
        bench
            .quoted(&book, "BAD", SECOND)
            .starts_with("never: the venue refused it: "),
    );
    assert_eq!(bench.quoted(&book, "GOOD", SECOND), "fresh 1@0");
    let refused = book.unconfirmed();
    let topics: Vec<_> = refused.iter().map(|(topic, _)| topic.to_string()).collect();
    assert_eq!(topics, ["quotes:BAD", "trades:BAD"]);
    assert!(refused.iter().all(|(_, refusal)| refusal.is_some()));
    // Both return without the time-out.
    for error in [
        book.wait_fresh("BAD", SECOND, Duration::MAX).unwrap_err(),
        book.wait_price("BAD", SECOND, Duration::MAX).unwrap_err(),
    ] {
        assert!(
            matches!(error.kind(), ErrorKind::Refused { .. }),
            "{error:?}"
        );
    }
    // It is asked for again, so the refusal is not the last word any more.
    book.add(["BAD"]).unwrap();
    let error = book.wait_fresh("BAD", SECOND, Duration::ZERO).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NoPrice { .. }),
        "{error:?}"
    );
    bench.step();
    bench.say(&listed(&["GOOD", "BAD"]));
    bench.say(&quote("BAD", 2));
    assert_eq!(bench.quoted(&book, "BAD", SECOND), "fresh 2@0");
    // Lost again: what was known is not the latest any more.
    let other = bench.handle().price_book(["NEW"]).unwrap();
    bench.step();
    bench.say(&listed(&["GOOD", "NEW"]));
    assert_eq!(bench.quoted(&book, "BAD", SECOND), "cut 2@0");
    assert_eq!(bench.quoted(&book, "GOOD", SECOND), "fresh 1@0");
    drop(other);
}

#[test]
fn symbols_come_and_go_without_disturbing_others() {
    let (mut bench, book) = book_of(&["A"]);
    let clone = book.clone();
    let price = book.symbol("A").unwrap();
    bench.say(&quote("A", 1));
    bench.sent();
    clone.add(["B"]).unwrap();
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"subscribe","trades":["B"],"quotes":["B"]}"#]
    );
    bench.say(&listed(&["A", "B"]));
    bench.say(&quote("B", 2));
    assert_eq!(bench.quoted(&book, "A", SECOND), "fresh 1@0");
    assert_eq!(bench.quoted(&book, "B", SECOND), "fresh 2@0");
    assert_eq!(book.symbols(), ["A", "B"]);
    book.remove(["A"]).unwrap();
    assert_eq!(clone.symbols(), ["B"]);
    assert_eq!(
        price.quote(SECOND).fresh().unwrap_err().to_string(),
        "nothing fresh of A: it is not in the book"
    );
    assert!(book.symbol("A").is_none());
    let error = price.wait_fresh(SECOND, Duration::MAX).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::NotFresh { .. }),
        "{error:?}"
    );
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"unsubscribe","trades":["A"],"quotes":["A"]}"#]
    );
    for wrong in [book.add(["*"]), book.add(["C", "no such symbol"])] {
        assert!(
            matches!(
                wrong.as_ref().map_err(Error::kind),
                Err(ErrorKind::InvalidTopic { .. })
            ),
            "{wrong:?}"
        );
    }
    assert_eq!(book.symbols(), ["B"]);
    drop((book, price));
    bench.step();
    assert_eq!(bench.sent(), Vec::<String>::new(), "a clone is left");
    drop(clone);
    bench.say(&listed(&["B"]));
    assert_eq!(
        bench.sent(),
        [r#"{"action":"unsubscribe","trades":["B"],"quotes":["B"]}"#]
    );
}

#[test]
fn a_wait_in_vain_says_what_stands_in_the_way() {
    let (mut bench, book) = book_of(&["A"]);
    let obstacle = |bench: &Bench, utc: &str| {
        let missing = book.quote("A", SECOND).fresh().unwrap_err();
        let error = book.no_price(missing, bench.peer.now(), utc.parse().unwrap());
        // Without the stream's name in front.
        let text = error.to_string();
        text[text.find("timed out").unwrap()..].to_owned()
    };
    assert_eq!(
        obstacle(&bench, "2026-03-17T15:00:00Z"),
        "timed out waiting for a price: nothing fresh of A: the venue confirmed it and has sent none; the line is \
         live and the market open (regular) (phase live)"
    );
    assert_eq!(
        obstacle(&bench, "2026-03-21T15:00:00Z"),
        "timed out waiting for a price: nothing fresh of A: the venue confirmed it and has sent none; the market is \
         closed until 2026-03-23T00:00:00Z (overnight) (phase live)"
    );
    bench.peer.cut();
    bench.step();
    let text = obstacle(&bench, "2026-03-17T15:00:00Z");
    assert!(
        text.starts_with(
            "timed out waiting for a price: nothing fresh of A: the venue has not confirmed it yet; the line is not \
             live, next attempt in "
        ) && text.ends_with("s (phase waiting): connection lost (phase live): cut"),
        "{text}"
    );
    let error = book.wait_fresh("A", SECOND, Duration::ZERO).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap();
    assert!(cause.to_string().contains("cut"), "{cause}");
    bench.end(&EndReason::Closed);
    let error = book.wait_fresh("A", SECOND, Duration::MAX).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
    assert!(bench.quoted(&book, "A", Duration::MAX).starts_with("never"));
}

/// Counts how often those who wait look: once when they come, and once for each update of theirs.
#[test]
fn a_thousand_who_wait_look_once_per_update_of_theirs_and_nobody_else_does() {
    let (mut bench, book) = book_of(&["A", "B"]);
    type GateOf = fn(&Cell) -> &Gate;
    let groups: [(&str, GateOf, usize); 3] = [
        ("A", |cell| &cell.quoted, 1_000),
        ("A", |cell| &cell.priced, 20),
        ("B", |cell| &cell.quoted, 20),
    ];
    let looks: Arc<[AtomicUsize; 3]> = Arc::default();
    let mut waiting = Vec::new();
    for (group, (symbol, gate, count)) in groups.into_iter().enumerate() {
        for _ in 0..count {
            let (book, looks) = (book.clone(), Arc::clone(&looks));
            let wait = move || {
                let cell = Arc::clone(book.cell(symbol).unwrap());
                book.wait(gate(&cell), ENDLESS, || {
                    looks[group].fetch_add(1, Ordering::SeqCst);
                    // Nothing is ever good enough for these.
                    let (symbol, lack) = (symbol.into(), Lack::Silent);
                    Err::<(), _>((NotFresh { symbol, lack }, None))
                })
            };
            waiting.push(spawn(wait));
        }
    }
    let until = |updates: [usize; 3]| {
        let expected = [0, 1, 2].map(|group| groups[group].2 * (1 + updates[group]));
        let deadline = clock::now() + GENEROUS;
        loop {
            let seen = [0, 1, 2].map(|group| looks[group].load(Ordering::SeqCst));
            if seen == expected {
                return;
            }
            assert!(clock::now() < deadline, "{seen:?}, not {expected:?}");
            std::thread::yield_now();
        }
    };
    until([0, 0, 0]);
    for update in 1..=4 {
        bench.say(&quote("A", update as u32));
        until([update, update, 0]);
    }
    bench.say(&trade("A", 1, "1"));
    until([4, 5, 0]);
    // Many in one batch are one update.
    for bid in 1..=100 {
        bench.peer.say(quote("A", bid));
        bench.peer.say(trade("A", bid.into(), "1"));
    }
    bench.step();
    until([5, 6, 0]);
    bench.say(&quote("B", 1));
    until([5, 6, 1]);
    bench.end(&EndReason::Closed);
    until([6, 7, 2]);
    for thread in waiting {
        let error = thread.join().unwrap().unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::Closed), "{error:?}");
    }
    until([6, 7, 2]);
    assert_eq!(book.0.table.waiting.load(Ordering::SeqCst), 0);
}

#[test]
fn a_slot_that_the_venue_still_counts_is_named_with_the_next_attempt() {
    let mut bench = Bench::live();
    let book = bench.handle().price_book(["A"]).unwrap();
    bench.step();
    bench.peer.cut();
    bench.step();
    bench.leap();
    bench.say(CONNECTED);
    bench.say(r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#);
    assert_eq!(bench.phase(), Phase::Waiting);
    let missing = book.quote("A", SECOND).fresh().unwrap_err();
    let error = book.no_price(missing, bench.peer.now(), Timestamp::from_nanos(0));
    let ErrorKind::NoPrice {
        obstacle, cause, ..
    } = error.kind()
    else {
        panic!("{error:?}");
    };
    assert!(
        matches!(obstacle, Obstacle::Line { retry_in: Some(wait) } if *wait >= 9 * SECOND),
        "{error:?}"
    );
    let cause = cause.as_ref().map(Error::kind);
    assert!(matches!(cause, Some(ErrorKind::ConnectionLimit { .. })));
    assert_eq!(error.remedy(), crate::error::Remedy::CloseOthers);
}

/// The two orders in which somebody can come to wait and the stream can end.
#[test]
fn the_end_of_the_stream_ends_waits_at_once_before_and_after_it() {
    let (bench, book) = book_of(&["A"]);
    let late = book.clone();
    let early = spawn(move || book.wait_price("A", SECOND, ENDLESS));
    let deadline = clock::now() + GENEROUS;
    while late.0.table.waiting.load(Ordering::SeqCst) == 0 {
        assert!(clock::now() < deadline);
        std::thread::yield_now();
    }
    let at = At::new(late.0.attached.stream().key(), Phase::Ended);
    bench.end(&EndReason::Failed(Error::new(
        at.clone(),
        ErrorKind::GaveUp {
            failures: 3,
            cause: Error::new(at, ErrorKind::Closed),
        },
    )));
    let deadline = clock::now() + GENEROUS;
    while !early.is_finished() {
        assert!(clock::now() < deadline, "it was not told");
        std::thread::yield_now();
    }
    for error in [
        early.join().unwrap().unwrap_err(),
        late.wait_fresh("A", SECOND, Duration::MAX).unwrap_err(),
    ] {
        assert!(
            matches!(error.kind(), ErrorKind::GaveUp { failures: 3, .. }),
            "{error:?}"
        );
    }
}

/// A record is eleven times one number, so any mixture of two shows.
#[test]
fn no_reader_sees_a_mixture_of_two_records() {
    let latest = latest::Latest::<11>::new();
    let (done, read) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..8)
            .map(|_| {
                scope.spawn(|| {
                    let mut newest = 0;
                    while done.load(Ordering::Acquire) == 0 {
                        let Some((number, words)) = latest.read() else {
                            continue;
                        };
                        assert!(words.iter().all(|word| *word == number), "{words:?}");
                        assert!(number >= newest, "{number} after {newest}");
                        read.fetch_add(usize::from(number > newest), Ordering::Relaxed);
                        newest = number;
                    }
                })
            })
            .collect();
        let deadline = clock::now() + GENEROUS;
        for number in 1.. {
            latest.write([number; 11]);
            // On a busy machine the readers may come late.
            let is_enough = number >= 1_000_000 && read.load(Ordering::Relaxed) > 1_000;
            if is_enough || clock::now() > deadline {
                break;
            }
        }
        done.store(1, Ordering::Release);
        for reader in readers {
            reader.join().unwrap();
        }
    });
    assert!(read.into_inner() > 1_000, "the readers hardly ran");
}

#[test]
fn a_symbol_that_comes_and_goes_has_one_small_place() {
    let (_bench, book) = book_of(&["AAPL"]);
    let place = Arc::clone(book.cell("AAPL").unwrap());
    for _ in 0..10 {
        book.remove(["AAPL"]).unwrap();
        book.add(["AAPL"]).unwrap();
    }
    let mut places = 0;
    book.0.table.index.each(|_| places += 1);
    assert_eq!(places, 1);
    assert!(size_of_val(&*place) < 900, "{}", size_of_val(&*place));
}
