//! Literal frames, as the venue documents them, against values; and back.

use rust_decimal::Decimal;

use super::*;
use crate::{
    market::{BARS, Code, DAILY_BARS, QUOTES, TRADES, Timestamp},
    venue::Message,
};

fn decode_all(text: &str) -> Vec<Result<Incoming, Unparsed>> {
    let mut items = Vec::new();
    decode(text.as_bytes(), Codec::Json, |item| items.push(item));
    items
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
        Incoming::Event(event) => event,
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
fn a_trade_with_every_field() {
    let frame = r#"[{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"," "],"z":"A","t":"2026-03-17T14:30:05.12Z"}]"#;
    let expected = Trade {
        symbol: "KO".into(),
        id: Some(71_204),
        exchange: "P".into(),
        price: decimal("61.275"),
        size: decimal("40"),
        taker_side: Code::default(),
        update: Code::default(),
        conditions: ["@", "I", " "].iter().collect(),
        tape: "A".into(),
        timestamp: time("2026-03-17T14:30:05.12Z"),
    };
    assert_eq!(event(frame), MarketEvent::Trade(expected.clone()));
    assert_eq!(
        format!("[{}]", server::json::event(&MarketEvent::Trade(expected))),
        frame
    );
}

#[test]
fn a_quote_with_every_field() {
    let frame = r#"[{"T":"q","S":"PEP","bx":"V","bp":152.1,"bs":2,"ax":"Q","ap":152.14,"as":1,"c":["R"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}]"#;
    let expected = Quote {
        symbol: "PEP".into(),
        bid_exchange: "V".into(),
        bid_price: decimal("152.1"),
        bid_size: decimal("2"),
        ask_exchange: "Q".into(),
        ask_price: decimal("152.14"),
        ask_size: decimal("1"),
        exchange: Code::default(),
        conditions: ["R"].iter().collect(),
        tape: "C".into(),
        timestamp: time("2026-03-17T14:30:05.123456789Z"),
    };
    assert_eq!(event(frame), MarketEvent::Quote(expected.clone()));
    assert_eq!(
        format!("[{}]", server::json::event(&MarketEvent::Quote(expected))),
        frame
    );
}

#[test]
fn bars_of_every_interval() {
    for (kind, interval) in [
        ("b", Interval::Minute),
        ("u", Interval::UpdatedMinute),
        ("d", Interval::Day),
    ] {
        let frame = format!(
            r#"[{{"T":"{kind}","S":"KO","o":61.2,"h":61.3,"l":61.19,"c":61.28,"v":8120,"n":97,"vw":61.2431,"t":"2026-03-17T14:30:00Z"}}]"#
        );
        let expected = Bar {
            symbol: "KO".into(),
            interval,
            open: decimal("61.2"),
            high: decimal("61.3"),
            low: decimal("61.19"),
            close: decimal("61.28"),
            volume: decimal("8120"),
            trade_count: Some(97),
            vwap: Some(decimal("61.2431")),
            exchange: Code::default(),
            timestamp: time("2026-03-17T14:30:00Z"),
        };
        assert_eq!(event(&frame), MarketEvent::Bar(expected.clone()));
        assert_eq!(
            format!("[{}]", server::json::event(&MarketEvent::Bar(expected))),
            frame
        );
    }
    let old =
        r#"[{"T":"b","S":"KO","o":1,"h":1,"l":1,"c":1,"v":1,"n":null,"t":"2026-03-17T14:30:00Z"}]"#;
    let MarketEvent::Bar(bar) = event(old) else {
        panic!()
    };
    assert_eq!(
        (bar.trade_count, bar.vwap),
        (None, None),
        "missing in old captures"
    );
}

#[test]
fn a_correction_and_a_cancel() {
    let cancel = r#"[{"T":"x","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"a":"E","z":"A","t":"2026-03-17T14:32:40.9Z"}]"#;
    let MarketEvent::Cancel(value) = event(cancel) else {
        panic!()
    };
    assert_eq!(
        (value.id, value.exchange.as_str(), value.action.as_str()),
        (71_204, "P", "E")
    );
    assert_eq!(
        format!("[{}]", server::json::event(&MarketEvent::Cancel(value))),
        cancel
    );

    let correction = r#"[{"T":"c","S":"KO","x":"P","oi":71204,"op":61.275,"os":40,"oc":["@","I"],"ci":71388,"cp":61.27,"cs":40,"cc":["@","I"],"z":"A","t":"2026-03-17T14:33:02.000001Z"}]"#;
    let MarketEvent::Correction(value) = event(correction) else {
        panic!()
    };
    assert_eq!((value.original_id, value.corrected_id), (71_204, 71_388));
    assert_eq!(
        (value.original_price, value.corrected_price),
        (decimal("61.275"), decimal("61.27"))
    );
    assert_eq!(
        format!("[{}]", server::json::event(&MarketEvent::Correction(value))),
        correction
    );
}

#[test]
fn control_messages_in_any_key_order_and_with_unknown_keys() {
    assert_eq!(
        one(r#"[{"T":"success","msg":"connected"}]"#),
        Incoming::Success("connected".to_owned())
    );
    let error = Incoming::Error {
        code: 405,
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

#[test]
fn a_request_names_only_what_it_means() {
    let topics = [
        Topic::new(QUOTES, "KO"),
        Topic::new(QUOTES, "PEP"),
        Topic::new(DAILY_BARS, "*"),
    ];
    let request = SubscriptionRequest {
        action: "subscribe",
        topics: &topics,
    };
    let json = r#"{"action":"subscribe","quotes":["KO","PEP"],"dailyBars":["*"]}"#;
    assert_eq!(request.encode(Codec::Json), Message::Text(json.to_owned()));
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex
        .bytes()
        .filter(|byte| !byte.is_ascii_whitespace())
        .collect();
    digits
        .chunks(2)
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

#[test]
fn an_option_trade_as_the_venue_sends_it() {
    let frame = bytes(
        "91 87 a154 a174 a153 b34d534654323630363139433030343530303030 a174 d7ff1d6f280069b9656d
         a170 cb4028b33333333333 a173 03 a178 a14e a163 a167",
    );
    let expected = Trade {
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
    };
    let mut items = Vec::new();
    decode(&frame, Codec::MessagePack, |item| items.push(item));
    let event = MarketEvent::Trade(expected);
    let feed = super::super::DataFeed::Options(crate::alpaca::OptionFeed::Opra);
    let item = server::event(&event, feed, Codec::MessagePack);
    assert_eq!(server::frame(&[item], Codec::MessagePack), frame);
    assert_eq!(items, [Ok(Incoming::Event(event))]);
}
