//! Literal frames, as the venue documents them, against values; and back.

mod kinds;
mod msgpack;
mod odd;
pub(crate) mod pack;

use rust_decimal::Decimal;

use super::*;
use crate::{
    market::{BARS, Code, Conditions, DAILY_BARS, QUOTES, TRADES, Timestamp},
    venue::Message,
};

pub(crate) fn all(frame: &[u8], codec: Codec) -> Vec<Result<Incoming, Unparsed>> {
    let mut items = Vec::new();
    decode(frame, codec, |item| items.push(item));
    items
}

fn decode_all(text: &str) -> Vec<Result<Incoming, Unparsed>> {
    all(text.as_bytes(), Codec::Json)
}

pub(crate) fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

fn one(text: &str) -> Incoming {
    let mut items = decode_all(text);
    assert_eq!(items.len(), 1, "{text}");
    items
        .remove(0)
        .unwrap_or_else(|unparsed| panic!("{unparsed}"))
}

fn event(text: &str) -> MarketEvent {
    match one(text) {
        Incoming::Event(event, _) => event,
        other => panic!("{other:?}"),
    }
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[test]
fn control_messages_in_any_key_order_and_with_unknown_keys() {
    assert_eq!(
        one(r#"[{"T":"success","msg":"connected"}]"#),
        Incoming::Success("connected".to_owned())
    );
    let error = Incoming::Error {
        code: Some(405),
        message: "symbol limit exceeded".to_owned(),
    };
    assert_eq!(
        one(r#"[{"T":"error","code":405,"msg":"symbol limit exceeded"}]"#),
        error
    );
    assert_eq!(
        one(r#" [ { "msg" : "symbol limit exceeded", "x":{"y":[1]}, "code":405, "T":"error" } ] "#),
        error
    );
    let state = r#"[{"T":"subscription","trades":["KO"],"quotes":null,"bars":["*"],"lulds":[],"corrections":["KO"],"cancelErrors":["KO"]}]"#;
    let topics = vec![Topic::new(TRADES, "KO"), Topic::new(BARS, "*")];
    assert_eq!(
        one(state),
        Incoming::Subscription(topics),
        "what comes by itself is left out"
    );
}

/// The numbers of the venue are binary floats when it writes them. Here they are what their digits say.
#[test]
fn numbers_are_exactly_what_their_digits_say() {
    for (digits, value) in [
        ("0", "0"),
        ("140", "140"),
        ("0.1", "0.1"),
        ("61.243100000000001", "61.243100000000001"),
        ("4e-7", "0.0000004"),
        ("1.5E+3", "1500"),
        ("-0.5", "-0.5"),
        ("123456789012345678.12345678", "123456789012345678.12345678"),
    ] {
        let frame = format!(
            r#"[{{"T":"t","S":"A","i":9007199254740995,"p":{digits},"s":1,"t":"2026-03-17T14:30:05Z"}}]"#
        );
        let MarketEvent::Trade(trade) = event(&frame) else {
            panic!()
        };
        assert_eq!(trade.price.normalize().to_string(), value);
        assert_eq!(
            trade.id,
            Some(9_007_199_254_740_995),
            "above 2^53, and never through a double"
        );
    }
    for digits in [
        "null",
        "\"one\"",
        "1e400",
        "NaN",
        "1e-40",
        "0.00000000000000000000000000001",
        "[1]",
        "",
    ] {
        let frame =
            format!(r#"[{{"T":"t","S":"A","i":1,"p":{digits},"s":1,"t":"2026-03-17T14:30:05Z"}}]"#);
        assert!(decode_all(&frame).iter().all(Result::is_err), "{digits}");
    }
}

#[test]
fn odd_values_that_occur() {
    let MarketEvent::Quote(quote) = event(
        r#"[{"t":"2026-03-17T14:30:05Z","ap":0,"as":0,"bp":1,"bs":1.5,"bx":"","c":"R","s":7,"S":"\u0041","T":"q","z":null}]"#,
    ) else {
        panic!()
    };
    assert_eq!(quote.symbol, "A");
    assert_eq!(
        quote.conditions.iter().collect::<Vec<_>>(),
        ["R"],
        "one bare string"
    );
    assert_eq!((quote.ask_exchange.as_str(), quote.tape.as_str()), ("", ""));
    assert_eq!(quote.bid_size, decimal("1.5"));
    assert_eq!(
        one(r#"{"T":"success","msg":"connected"}"#),
        Incoming::Success("connected".to_owned()),
        "no array"
    );
    assert_eq!(decode_all("[]"), []);
}

/// The first are shown, and the others counted, whatever stands between them.
#[test]
fn a_flood_of_odd_items_is_counted_and_not_kept() {
    for codec in [Codec::Json, Codec::MessagePack] {
        let good = server::success("x", codec);
        let good = &good[1..good.len() - usize::from(codec == Codec::Json)];
        let mut parts = vec![b"7".as_slice(); 150];
        parts.insert(120, good);
        let items = all(&server::frame(&parts, codec), codec);
        assert_eq!(items.iter().filter(|item| item.is_ok()).count(), 1);
        let odd: Vec<_> = items.into_iter().filter_map(Result::err).collect();
        assert_eq!(odd.len(), MAX_UNPARSED + 1);
        assert_eq!(odd.iter().map(|odd| 1 + odd.more).sum::<u64>(), 150);
    }
}

#[test]
fn what_cannot_be_read_costs_nothing_but_itself() {
    let good = r#"{"T":"success","msg":"x"}"#;
    let check = |frame: &str, oks: usize, raw: &str| {
        let items = decode_all(frame);
        assert_eq!(
            items.iter().filter(|item| item.is_ok()).count(),
            oks,
            "{frame}"
        );
        let odd: Vec<_> = items.into_iter().filter_map(Result::err).collect();
        assert_eq!(odd.len(), 1, "{frame}: {odd:?}");
        assert_eq!(&*odd[0].raw, raw, "{frame}");
        assert!(!odd[0].why.is_empty());
    };
    check(
        &format!(r#"[{good},{{"T":"zz","a":1}},{good}]"#),
        2,
        r#"{"T":"zz","a":1}"#,
    );
    check(
        &format!(r#"[{good},{{"S":"A"}},{good}]"#),
        2,
        r#"{"S":"A"}"#,
    );
    check(&format!("[{good},7,{good}]"), 2, "7");
    check(&format!("[{good},null]"), 1, "null");
    check(&format!("[{good},{{\"T\":\"succ"), 1, ",{\"T\":\"succ");
    check(&format!("[{good}]trailing"), 1, "]trailing");
    check("hello", 0, "hello");
    check("", 0, "");
    check("\"text\"", 0, "\"text\"");
    let deep = format!("[{good},{}{}]", "[".repeat(100_000), "]".repeat(100_000));
    let items = decode_all(&deep);
    assert!(items[0].is_ok());
    assert!(items[1..].iter().all(Result::is_err));
    assert!(
        items
            .iter()
            .filter_map(|item| item.as_ref().err())
            .all(|odd| odd.raw.len() <= 4_096)
    );
}
