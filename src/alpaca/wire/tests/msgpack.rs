//! What only MessagePack has: extensions, widths, and lengths that are said ahead.

use super::*;
use crate::alpaca::{DataFeed, OptionFeed};
use crate::market::Trade;

fn unpacked(hex: &str) -> Vec<Result<Incoming, Unparsed>> {
    all(&bytes(hex), Codec::MessagePack)
}

/// A trade of `A` whose price and time are these bytes.
fn trade(price: &str, time: &str) -> Result<Trade, String> {
    let frame = format!("91 85 a154 a174 a153 a141 a170 {price} a173 01 a174 {time}");
    match unpacked(&frame).remove(0) {
        Ok(Incoming::Event(MarketEvent::Trade(trade), _)) => Ok(trade),
        Err(unparsed) => Err(unparsed.to_string()),
        other => panic!("{other:?}"),
    }
}

const NOON: &str = "d6ff69b96568";

#[test]
fn an_option_trade_as_the_reference_spells_it() {
    let frame = bytes(
        "91 87 a154 a174 a153 b34d534654323630363139433030343530303030 a174 d7ff1d6f280069b9656d
         a170 cb4028b33333333333 a173 03 a178 a14e a163 a167",
    );
    let event = MarketEvent::Trade(Trade {
        symbol: "MSFT260619C00450000".into(),
        id: None,
        exchange: "N".into(),
        price: decimal("12.35"),
        size: decimal("3"),
        taker_side: Code::default(),
        conditions: ["g"].iter().collect(),
        tape: Code::default(),
        update: Code::default(),
        timestamp: time("2026-03-17T14:30:05.123456Z"),
    });
    let item = server::event(
        &event,
        DataFeed::Options(OptionFeed::Opra),
        Codec::MessagePack,
    );
    assert_eq!(server::frame(&[item], Codec::MessagePack), frame);
    assert_eq!(
        all(&frame, Codec::MessagePack),
        [Ok(Incoming::Event(event, OddFields::default()))]
    );
}

#[test]
fn a_time_in_each_of_its_forms() {
    for (hex, expected) in [
        ("d6ff69b96568", "2026-03-17T14:30:00Z"),
        ("d6ff00000000", "1970-01-01T00:00:00Z"),
        ("d6ffffffffff", "2106-02-07T06:28:15Z"),
        ("d7ff1d6f345469b9656d", "2026-03-17T14:30:05.123456789Z"),
        // The first second that four bytes cannot say, and nanoseconds at their most.
        ("d7ffee6b27fc00000000", "1970-01-01T00:00:00.999999999Z"),
        ("d7ff0000000100000000", "2106-02-07T06:28:16Z"),
        (
            "c70cff0000000100000000 69b96568",
            "2026-03-17T14:30:00.000000001Z",
        ),
        ("c70cff 00000000 ffffffffffffffff", "1969-12-31T23:59:59Z"),
        (
            "b4 323032362d30332d31375431343a33303a30305a",
            "2026-03-17T14:30:00Z",
        ),
        ("92 ce69b96568 ce075bcd15", "2026-03-17T14:30:00.123456789Z"),
        ("92 d30000000069b96568 00", "2026-03-17T14:30:00Z"),
    ] {
        assert_eq!(trade("01", hex).unwrap().timestamp, time(expected), "{hex}");
    }
    for (hex, why) in [
        // Go's zero time, nil and an empty text all say that there is none. A trade must have one.
        ("c70cff00000000fffffff1886e0900", "year 1"),
        ("c0", "nil"),
        ("a0", "an empty text"),
        ("d6fe69b96568", "another extension"),
        ("d5ff69b9", "another length"),
        ("d7ffee6b280000000000", "a thousand million nanoseconds"),
        ("c70cff000000007fffffffffffffff", "the end of time"),
        ("cb41da6e595a00000000", "a float"),
        ("90", "an empty list"),
    ] {
        trade("01", hex).expect_err(why);
    }
}

#[test]
fn times_are_written_in_the_shortest_form() {
    for (text, hex) in [
        ("2026-03-17T14:30:00Z", "d6ff69b96568"),
        ("2026-03-17T14:30:05.123456789Z", "d7ff1d6f345469b9656d"),
        ("2106-02-07T06:28:16Z", "d7ff0000000100000000"),
        ("1969-12-31T23:59:59Z", "c70cff00000000ffffffffffffffff"),
    ] {
        let event = MarketEvent::Trade(Trade {
            timestamp: time(text),
            ..trade("01", NOON).unwrap()
        });
        let feed = DataFeed::Options(OptionFeed::Opra);
        let item = server::event(&event, feed, Codec::MessagePack);
        assert!(
            item.escape_ascii()
                .to_string()
                .contains(&bytes(hex).escape_ascii().to_string()),
            "{text}"
        );
    }
}

#[test]
fn a_number_in_each_of_its_widths() {
    for (hex, expected) in [
        ("07", "7"),
        ("e0", "-32"),
        ("ccff", "255"),
        ("cdffff", "65535"),
        ("ceffffffff", "4294967295"),
        ("cfffffffffffffffff", "18446744073709551615"),
        ("d080", "-128"),
        ("d18000", "-32768"),
        ("d280000000", "-2147483648"),
        ("d38000000000000000", "-9223372036854775808"),
        ("cb4028b33333333333", "12.35"),
        ("cb404ea33333333333", "61.275"),
        ("cb3fd5555555555555", "0.3333333333333333"),
        ("cb3fd3333333333334", "0.30000000000000004"),
        ("cb8000000000000000", "0"),
        ("cb3e7ad7f29abcaf48", "0.0000001"),
        // A float of four bytes is not the double that it becomes, 12.350000381469727.
        ("ca4145999a", "12.35"),
        ("a5 31322e3335", "12.35"),
        ("a4 34652d37", "0.0000004"),
    ] {
        let price = trade(hex, NOON).unwrap().price;
        assert_eq!(price.normalize().to_string(), expected, "{hex}");
    }
    for (hex, why) in [
        ("c0", "missing"),
        ("c3", "a flag"),
        ("a0", "an empty text"),
        ("a3 6f6e65", "a word"),
        ("cb7ff0000000000000", "infinite"),
        ("cb7ff8000000000000", "not a number"),
        ("cb7e37e43c8800759c", "far too large"),
        ("9101", "a list"),
        ("c40101", "bytes"),
        ("d6ff69b96568", "a time"),
    ] {
        trade(hex, NOON).expect_err(why);
    }
}

#[test]
fn what_a_frame_claims_costs_nothing() {
    let broken = |hex: &str, good: usize| {
        let items = unpacked(hex);
        assert_eq!(items.len(), good + 1, "{hex}");
        assert!(items[..good].iter().all(Result::is_ok), "{hex}");
        items.last().unwrap().as_ref().unwrap_err().clone()
    };
    let good = "82 a154 a773756363657373 a36d7367 a178";
    for (hex, goods) in [
        // Lists, maps, texts, bytes and extensions of four thousand million.
        ("ddffffffff".to_owned(), 0),
        (format!("ddffffffff {good}"), 1),
        ("91 dfffffffff".to_owned(), 0),
        ("91 dbffffffff 4141".to_owned(), 0),
        ("91 c6ffffffff 4141".to_owned(), 0),
        ("91 c9ffffffff ff 4141".to_owned(), 0),
        (format!("92 {good} dfffffffff a154 a174"), 1),
        // Inside an item, and behind its kind.
        (format!("92 {good} 82 a154 a174 a163 ddffffffff a140"), 1),
        // Cut in the middle of everything.
        (format!("93 {good} {good} 82 a154 a773"), 2),
        (format!("93 {good} {good}"), 2),
        // What no value begins with.
        (format!("93 {good} c1 {good}"), 1),
    ] {
        broken(&hex, goods);
    }
    // A hundred thousand lists in one another, whole and cut short; and as many maps.
    for (open, close) in [("91", "c0"), ("91", ""), ("81a161", "c0"), ("81a161", "")] {
        let frame = format!("91 {}{close}", open.repeat(100_000));
        let items = unpacked(&frame);
        assert_eq!(items.len(), 1);
        let odd = items[0].as_ref().unwrap_err();
        assert!(odd.raw.len() <= 4_096);
    }
    // A known kind with an unknown key that is too deep, between good ones.
    let deep = format!("82 a154 a7737563636573 73 a17a {}c0", "91".repeat(100_000));
    let items = unpacked(&format!("93 {good} {deep} {good}"));
    assert_eq!(
        items.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [true, false, true]
    );
}

#[test]
fn what_cannot_be_read_is_shown_as_people_read_it() {
    for (hex, raw) in [
        (
            "91 82 a154 a27a7a a161 93 01 cb3ff8000000000000 c0",
            r#"{"T":"zz","a":[1,1.5,null]}"#,
        ),
        ("91 81 a153 a141", r#"{"S":"A"}"#),
        ("91 07", "7"),
        ("91 81 a1e9 c2", r#"{b"\xe9":false}"#),
        (
            "91 82 a174 d6ff69b96568 a162 c403 0041ff",
            r#"{"t":ext(-1)b"i\xb9eh","b":b"\x00A\xff"}"#,
        ),
        ("91 82 a154 a27a7a a170", r#"{"T":"zz","p":"#),
        (
            "91 82 a154 a27a7a d9ff7365637265",
            r#"{"T":"zz",b"\xd9\xffsecre""#,
        ),
        ("91 90", "[]"),
        ("91 80", "{}"),
        // A frame that begins as JSON.
        ("5b7b2254", r#"[{"T"#),
    ] {
        let items = unpacked(hex);
        let odd = items[0].as_ref().unwrap_err();
        assert_eq!(&*odd.raw, raw, "{hex}");
    }
}

#[test]
fn a_state_whose_map_ends_with_the_frame_is_what_is_there() {
    let state = |hex: &str| unpacked(&format!("91 89 a154 ac737562736372697074696f6e {hex}"));
    let topics = |topics| [Ok(Incoming::Subscription(topics))];
    assert_eq!(
        state("a6747261646573 91a141 a671756f746573 c0"),
        topics(vec![Topic::new(TRADES, "A")])
    );
    assert_eq!(state(""), topics(vec![]));
    // Cut inside a pair, nobody knows what was meant; and other kinds are not mended.
    assert!(state("a6747261646573 91a141 a6717569").remove(0).is_err());
    assert!(state("a6747261646573").remove(0).is_err());
    let trade = "91 89 a154 a174 a153 a141 a170 01 a173 01 a174 d6ff69b96568";
    assert!(unpacked(trade).remove(0).is_err());
    // And with something behind it the map is just broken.
    let both = format!(
        "92 {} 89 a154 ac737562736372697074696f6e",
        "82 a154 a773756363657373 a36d7367 a178"
    );
    assert_eq!(unpacked(&both).len(), 2);
}
