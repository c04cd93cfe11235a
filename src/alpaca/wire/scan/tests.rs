//! That the scanner and serde read the same, whatever the frame, and that what is usual never gets to serde.

use proptest::{collection::vec, prelude::*, sample::select};

use super::*;
use crate::{
    alpaca::{
        DataFeed, Feed, OptionFeed,
        wire::{Incoming, decode, decode_behind, msgpack::token::skip, server},
    },
    event::Unparsed,
    market::{Code, Symbol},
};

/// A frame as the scanner and serde read it together, and as serde reads it alone.
fn read(frame: &[u8], codec: Codec) -> [Vec<Result<Incoming, Unparsed>>; 2] {
    let [mut together, mut alone] = [Vec::new(), Vec::new()];
    decode(frame, codec, |item| together.push(item));
    decode_behind(0, frame, codec, |item| alone.push(item));
    [together, alone]
}

fn assert_same(frame: &[u8], codec: Codec) {
    let [together, alone] = read(frame, codec);
    let shown = String::from_utf8_lossy(frame);
    assert_eq!(together, alone, "{shown}");
    // `Debug` shows how many zeros stand behind a decimal, which `==` passes over.
    assert_eq!(format!("{together:?}"), format!("{alone:?}"), "{shown}");
}

fn is_whole(frame: &[u8], codec: Codec) -> bool {
    scan(frame, codec, &mut LastDay::default(), |_| {}) == Scanned::Whole
}

fn symbols() -> impl Strategy<Value = Symbol> {
    "[A-Z]{1,5}|[A-Z]{1,4}[./][A-Z]{1,3}|[A-Z]{1,6}[0-9]{6}[CP][0-9]{8}|[ -!#-\\[\\]-~]{1,30}"
        .prop_map(Symbol::from)
}

fn codes() -> impl Strategy<Value = Code> {
    "[A-Z]|[ -!#-\\[\\]-~]{0,18}".prop_map(Code::from)
}

fn conditions() -> impl Strategy<Value = Conditions> {
    let code = "[ @A-Z0-9]|[ -!#-\\[\\]-~]{0,6}";
    prop_oneof![
        4 => vec("[ @A-Z0-9]", 0..4),
        1 => vec(code, 0..12),
    ]
    .prop_map(|codes| codes.iter().collect())
}

fn decimals() -> impl Strategy<Value = Decimal> {
    prop_oneof![
        (0_i64..1_000_000, 0_u32..4),
        (0_i64..1_000_000_000_000_000_000, 0_u32..18),
    ]
    .prop_map(|(digits, scale)| Decimal::new(digits, scale))
}

fn timestamps() -> impl Strategy<Value = Timestamp> {
    const LAST: i64 = 9_214_646_399_999_999_999; // 2261-12-31T23:59:59.999999999Z
    (0..=LAST, select(vec![1, 1_000, 1_000_000, 1_000_000_000]))
        .prop_map(|(nanos, unit)| Timestamp::from_nanos(nanos / unit * unit))
}

/// What the venue usually sends, in values.
fn events() -> impl Strategy<Value = MarketEvent> {
    let trade = (
        symbols(),
        proptest::option::of(0..1_000_000_000_000_000_000_i64),
        (codes(), codes(), codes()),
        (decimals(), decimals()),
        conditions(),
        timestamps(),
    )
        .prop_map(
            |(symbol, id, (exchange, taker_side, tape), (price, size), conditions, timestamp)| {
                MarketEvent::Trade(Trade {
                    symbol,
                    id,
                    exchange,
                    price,
                    size,
                    taker_side,
                    conditions,
                    tape,
                    update: Code::default(),
                    timestamp,
                })
            },
        );
    let quote = (
        symbols(),
        (codes(), codes(), codes(), codes()),
        (decimals(), decimals(), decimals(), decimals()),
        conditions(),
        timestamps(),
    )
        .prop_map(|(symbol, codes, numbers, conditions, timestamp)| {
            MarketEvent::Quote(Quote {
                symbol,
                bid_exchange: codes.0,
                bid_price: numbers.0,
                bid_size: numbers.1,
                ask_exchange: codes.1,
                ask_price: numbers.2,
                ask_size: numbers.3,
                exchange: codes.2,
                conditions,
                tape: codes.3,
                timestamp,
            })
        });
    let bar = (
        (symbols(), codes(), timestamps()),
        select(vec![
            Interval::Minute,
            Interval::UpdatedMinute,
            Interval::Day,
        ]),
        (decimals(), decimals(), decimals(), decimals(), decimals()),
        proptest::option::of(0..1_000_000_000_000_000_000_u64),
        proptest::option::of(decimals()),
    )
        .prop_map(
            |((symbol, exchange, timestamp), interval, numbers, trade_count, vwap)| {
                MarketEvent::Bar(Bar {
                    symbol,
                    interval,
                    open: numbers.0,
                    high: numbers.1,
                    low: numbers.2,
                    close: numbers.3,
                    volume: numbers.4,
                    trade_count,
                    vwap,
                    exchange,
                    timestamp,
                })
            },
        );
    prop_oneof![3 => trade, 3 => quote, 1 => bar]
}

fn written(events: &[MarketEvent], feed: DataFeed, codec: Codec) -> Vec<u8> {
    let items: Vec<_> = events
        .iter()
        .map(|event| server::event(event, feed, codec))
        .collect();
    server::frame(&items, codec)
}

const STOCKS: DataFeed = DataFeed::Stocks(Feed::Sip);
const OPTIONS: DataFeed = DataFeed::Options(OptionFeed::Opra);

/// An item in MessagePack with its pairs in another order, some of them missing or there twice, which may claim one pair
/// too many or too few.
fn rearranged(item: &[u8], order: &[usize], left_out: usize, twice: bool, claims: u8) -> Vec<u8> {
    let mut pairs = Vec::new();
    let mut rest = &item[1..];
    while let Some(behind) = skip(rest).and_then(skip) {
        pairs.push(&rest[..rest.len() - behind.len()]);
        rest = behind;
    }
    let kind = pairs.remove(0);
    let mut pairs: Vec<_> = order
        .iter()
        .filter_map(|index| pairs.get(*index).copied())
        .collect();
    pairs.drain(..left_out.saturating_sub(1));
    if twice {
        pairs.push(pairs[0]);
    }
    [&[0x80 + pairs.len() as u8 + claims], kind, &pairs.concat()].concat()
}

/// A pair of any key with any value.
fn odd_pairs() -> impl Strategy<Value = String> {
    const KEYS: &[&str] = &[
        "S", "i", "x", "p", "s", "c", "z", "t", "bx", "bp", "bs", "ax", "ap", "as", "o", "h", "l",
        "v", "n", "vw", "tks", "u", "r", "T", "\\u0053", "Ü", "",
    ];
    let blanks = || select(vec!["", "", " ", "\n\t"]);
    let values = prop_oneof![
        numbers(),
        times().prop_map(|time| format!("\"{time}\"")),
        r#""([A-Zé"\\ -]|\\u00[0-9a-f]{2}|\\[nt"\\/]){0,9}""#,
        r#"\[("[A-Z@ ]{0,3}"){0,1}(,"[A-Z@ ]{0,3}"){0,6}\]"#,
        r#"\[ ?("[A-Z]" ?, ?){0,2}(null|1|"\\n"|"é"|"A") ?\]"#,
        select(vec!["null", "true", "[]", "{}", "\"", "[", "-", ""]).prop_map(str::to_owned),
    ];
    (select(KEYS), blanks(), blanks(), blanks(), values).prop_map(
        |(key, before, between, behind, value)| {
            format!(r#"{before}"{key}"{between}:{between}{value}{behind}"#)
        },
    )
}

/// A pair that is usual for some kind.
fn usual_pairs() -> impl Strategy<Value = String> {
    let code = (select(vec!["x", "z", "bx", "ax", "tks"]), "[A-Z]?")
        .prop_map(|(key, code)| format!(r#""{key}":"{code}""#));
    let conditions = r#""c":\[("[A-Z@ ]"(,"[A-Z@ ]{1,9}"){0,4})?\]"#;
    prop_oneof![code, conditions, r#""(n|i|vw)":[1-9][0-9]{0,12}"#]
}

fn numbers() -> impl Strategy<Value = String> {
    prop_oneof![
        40 => r"(0|[1-9][0-9]{0,6})(\.[0-9]{1,5})?",
        2 => r"[0-9]{1,30}(\.[0-9]{1,30})?",
        1 => r"-?[0-9]{0,20}\.?[0-9]{0,20}([eE][+-]?[0-9]{0,3})?",
        1 => r"0[0-9]{1,5}(\.[0-9]{0,4})?",
    ]
}

fn times() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => r"20[0-9]{2}-(0[1-9]|1[0-2])-[0-2][1-8]T[01][0-9]:[0-5][0-9]:[0-5][0-9](\.[0-9]{1,9})?Z",
        2 => r"20[0-9]{2}-(0[1-9]|1[0-2])-[0-3][0-9]T[0-2][0-9]:[0-5][0-9]:[0-6][0-9](\.[0-9]{0,11})?Z",
        1 => r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ][0-9]{2}:[0-9]{2}:[0-9]{2}([.,][0-9]{0,11})?(Z|z|[+-][0-9]{2}:?[0-9]{2})?",
    ]
}

/// An item with the keys that its kind needs, usually; with further ones, now and then; in some order.
fn items() -> impl Strategy<Value = String> {
    const KINDS: &[(&str, &[&str])] = &[
        ("q", &["bp", "bs", "ap", "as"]),
        ("t", &["p", "s"]),
        ("b", &["o", "h", "l", "c", "v"]),
        ("u", &["o", "h", "l", "c", "v"]),
        ("d", &["o", "h", "l", "c", "v"]),
    ];
    let usual = (
        select(KINDS),
        vec(numbers(), 5),
        times(),
        "[A-Z]{1,6}",
        vec(usual_pairs(), 0..3),
        prop_oneof![9 => vec(odd_pairs(), 0), 1 => vec(odd_pairs(), 1..3)],
        prop::option::weighted(0.05, any::<prop::sample::Index>()),
    )
        .prop_map(
            |((kind, keys), numbers, time, symbol, more, odd, missing)| {
                let numbers = keys.iter().zip(numbers);
                let mut pairs = vec![format!(r#""S":"{symbol}""#)];
                pairs.extend(numbers.map(|(key, number)| format!(r#""{key}":{number}"#)));
                pairs.push(format!(r#""t":"{time}""#));
                pairs.extend(more);
                pairs.extend(odd);
                if let Some(missing) = missing {
                    pairs.remove(missing.index(pairs.len()));
                }
                (format!(r#""T":"{kind}""#), pairs)
            },
        )
        .boxed();
    let leading = usual.clone().prop_flat_map(|(kind, pairs)| {
        let pairs = prop_oneof![Just(pairs.clone()), Just(pairs).prop_shuffle()];
        (Just(kind), pairs).prop_map(|(kind, pairs)| [vec![kind], pairs].concat())
    });
    let anywhere =
        usual.prop_flat_map(|(kind, pairs)| Just([vec![kind], pairs].concat()).prop_shuffle());
    let other = select(vec![
        "7",
        "null",
        "\"x\"",
        r#"{"T":"success","msg":"m"}"#,
        "[]",
        "{}",
    ]);
    prop_oneof![
        20 => leading.prop_map(|pairs| format!("{{{}}}", pairs.join(","))),
        1 => anywhere.prop_map(|pairs| format!("{{{}}}", pairs.join(", "))),
        1 => other.prop_map(str::to_owned),
    ]
}

fn frames() -> impl Strategy<Value = String> {
    let around = || prop_oneof![15 => Just(""), 1 => Just(" "), 1 => Just("\r\n"), 1 => Just("]")];
    (vec(items(), 0..5), around(), around(), around()).prop_map(
        |(items, before, between, behind)| {
            format!("{before}[{}]{behind}", items.join(&format!("{between},")))
        },
    )
}

/// A byte that is changed, put in or taken out somewhere.
fn changed(mut frame: Vec<u8>, changes: &[(usize, u8, u8)]) -> Vec<u8> {
    for (place, how, byte) in changes {
        let place = place % (frame.len() + 1);
        match how % 3 {
            0 => frame.insert(place, *byte),
            1 if place < frame.len() => frame[place] = *byte,
            _ => drop(frame.drain(place..frame.len().min(place + 1))),
        }
    }
    frame
}

fn changes() -> impl Strategy<Value = Vec<(usize, u8, u8)>> {
    let telling =
        select(b"0919.\"\\,:[]{}TSZ -+e\x81\x8a\x91\xa1\xc0\xca\xcb\xcf\xd0\xd6\xd7\xd9".to_vec());
    vec(
        (
            any::<usize>(),
            any::<u8>(),
            prop_oneof![telling, any::<u8>()],
        ),
        1..3,
    )
}

proptest! {
    // A failure is shown, and nothing is left behind.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// Were the fast path not used any more, or for less, this would tell.
    #[test]
    fn what_is_usual_is_read_whole_and_exactly(events in vec(events(), 1..4)) {
        let frame = written(&events, STOCKS, Codec::Json);
        let mut scanned = Vec::new();
        let whole = scan(&frame, Codec::Json, &mut LastDay::default(), |event| scanned.push(event));
        prop_assert_eq!(whole, Scanned::Whole, "{}", String::from_utf8_lossy(&frame));
        prop_assert_eq!(&scanned, &events);
        assert_same(&frame, Codec::Json);
        // Here numbers are floats, and may be others afterwards.
        for feed in [STOCKS, OPTIONS] {
            let frame = written(&events, feed, Codec::MessagePack);
            prop_assert!(is_whole(&frame, Codec::MessagePack), "{:x?}", frame);
            assert_same(&frame, Codec::MessagePack);
        }
    }

    #[test]
    fn scanner_and_serde_agree_on_any_json(frame in frames()) {
        assert_same(frame.as_bytes(), Codec::Json);
    }

    #[test]
    fn they_agree_on_usual_frames_with_a_wrong_byte(
        events in vec(events(), 1..3),
        changes in changes(),
    ) {
        assert_same(&changed(written(&events, STOCKS, Codec::Json), &changes), Codec::Json);
        for feed in [STOCKS, OPTIONS] {
            let frame = written(&events, feed, Codec::MessagePack);
            assert_same(&changed(frame, &changes), Codec::MessagePack);
        }
    }

    #[test]
    fn they_agree_on_maps_in_any_order(
        event in events(),
        order in prop_oneof![
            Just((0..11_usize).collect::<Vec<_>>()),
            Just((0..11_usize).collect::<Vec<_>>()).prop_shuffle(),
        ],
        left_out in 0..3_usize,
        twice in any::<bool>(),
        claims in select(vec![0, 1, 1, 1, 2]),
    ) {
        let item = server::event(&event, STOCKS, Codec::MessagePack);
        let item = rearranged(&item, &order, left_out, twice, claims);
        assert_same(&server::frame(&[item], Codec::MessagePack), Codec::MessagePack);
    }

    #[test]
    fn they_agree_on_any_bytes(bytes in vec(any::<u8>(), 0..200)) {
        assert_same(&bytes, Codec::Json);
        assert_same(&[br#"[{"T":"q""#, &*bytes].concat(), Codec::Json);
        assert_same(&bytes, Codec::MessagePack);
        assert_same(&[b"\x91\x83\xa1T\xa1t\xa1S", &*bytes].concat(), Codec::MessagePack);
    }

    #[test]
    fn they_agree_on_times(time in times()) {
        let frame = format!(r#"[{{"T":"t","S":"A","i":1,"p":1,"s":1,"t":"{time}"}}]"#);
        assert_same(frame.as_bytes(), Codec::Json);
    }

    #[test]
    fn they_agree_on_numbers(number in numbers()) {
        let frame = format!(
            r#"[{{"T":"b","S":"A","o":1,"h":{number},"l":1,"c":1,"v":1,"n":{number},"t":"2026-03-17T14:30:00Z"}}]"#
        );
        assert_same(frame.as_bytes(), Codec::Json);
    }
}

/// Word by word from the venue's documentation, in its orders.
#[test]
fn documented_messages_are_usual() {
    for item in [
        r#"{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"],"z":"A","t":"2026-03-17T14:30:05.12Z"}"#,
        r#"{"T":"t","i":96921,"S":"AAPL","x":"D","p":126.55,"s":1,"t":"2021-02-22T15:51:44.208Z","c":["@","I"],"z":"C"}"#,
        r#"{"T":"q","S":"PEP","bx":"V","bp":152.1,"bs":2,"ax":"Q","ap":152.14,"as":1,"c":["R"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}"#,
        r#"{"T":"q","S":"AMD","bx":"U","bp":87.66,"bs":1,"ax":"Q","ap":87.68,"as":4,"t":"2021-02-22T15:51:45.335689322Z","c":["R"],"z":"C"}"#,
        r#"{"T":"b","S":"KO","o":61.2,"h":61.3,"l":61.19,"c":61.28,"v":8120,"n":97,"vw":61.2431,"t":"2026-03-17T14:30:00Z"}"#,
        r#"{"T":"t","S":"ETH/USD","p":2310.55,"s":0.0142,"t":"2026-03-17T14:30:05.1Z","i":9007199254740995,"tks":"S"}"#,
        r#"{"T":"q","S":"ETH/USD","bp":2310.1,"bs":4.2,"ap":2310.9,"as":7.03125,"t":"2026-03-17T14:30:05.2Z"}"#,
        r#"{"T":"d","S":"ETH/USD","o":2309,"h":2311.2,"l":2308.75,"c":2310.55,"v":3.7714,"n":12,"vw":2310.0144829,"t":"2026-03-17T14:30:00Z"}"#,
    ] {
        let frame = format!("[{item},{item}]");
        assert!(is_whole(frame.as_bytes(), Codec::Json), "{frame}");
        assert_same(frame.as_bytes(), Codec::Json);
    }
}

#[test]
fn every_day_of_the_years_that_are_scanned_is_the_same() {
    let mut days = 0;
    for year in 1968..=2263 {
        for month in 0..=13 {
            for day in [0, 1, 15, 28, 29, 30, 31, 32] {
                let frame = format!(
                    r#"[{{"T":"t","S":"A","p":1,"s":1,"t":"{year}-{month:02}-{day:02}T23:59:59Z"}}]"#
                );
                assert_same(frame.as_bytes(), Codec::Json);
                days += u32::from(is_whole(frame.as_bytes(), Codec::Json));
            }
        }
    }
    let leap_years =
        (1970..=2261).filter(|year| year % 4 == 0 && (year % 100 != 0 || year % 400 == 0));
    // Four days of every month that are the same for all, the 30th of eleven, the 31st of seven, and leap days.
    let of_all = 292 * (12 * 3 + 11 + 11 + 7);
    assert_eq!(days, of_all + leap_years.count() as u32);
}

/// The day of the last time is remembered from one frame to the next: no other is taken for it, and none that there is not.
#[test]
fn a_day_that_is_remembered_is_taken_for_no_other() {
    let mut day = LastDay::default();
    let days = [
        "1970-01-00",
        "1970-01-01",
        "2026-02-28",
        "2026-02-28",
        "2026-02-29",
        "2026-02-30",
        "2026-03-28",
        "2026-02-00",
        "2025-02-28",
        "2026-02-28",
        "2024-02-29",
        "2023-02-29",
        "2026-13-28",
        "2026-02-2x",
        "2026-0228-",
        "0000-00-00",
        "2026-02-28",
    ];
    for text in days {
        let time = format!("{text}T14:30:05Z");
        let frame = format!(r#"[{{"T":"t","S":"A","p":1,"s":1,"t":"{time}"}}]"#);
        let mut read = None;
        scan(frame.as_bytes(), Codec::Json, &mut day, |event| {
            read = match event {
                MarketEvent::Trade(trade) => Some(trade.timestamp),
                _ => None,
            };
        });
        assert_eq!(read, time.parse().ok(), "{text}");
    }
}

#[test]
fn an_odd_item_ends_the_scan_and_costs_nothing() {
    let good = r#"{"T":"q","S":"A","bp":1,"bs":1,"ap":1,"as":1,"t":"2026-03-17T14:30:00Z"}"#;
    for (odd, why) in [
        (good.replace(r#""A""#, r#""\u0041""#), "an escape"),
        (good.replace(r#""bp":1"#, r#""bp":1e0"#), "an exponent"),
        (good.replace(r#""bp":1"#, r#""bp":-1"#), "a sign"),
        (good.replace(r#""bp":1"#, r#""bp": 1"#), "white space"),
        (good.replace(r#""bp":1"#, r#""bp":01"#), "a zero in front"),
        (good.replace(r#""bp":1"#, r#""bp":1."#), "no digit behind"),
        (good.replace(r#""bp":1"#, r#""bp":.5"#), "none in front"),
        (good.replace("T14", "T24"), "an hour too many"),
        (good.replace("30:00", "30:60"), "a leap second"),
        (good.replace("03-17", "02-30"), "no day"),
        (good.replace("00Z", "00.Z"), "no fraction"),
        (good.replace("00Z", "00.0000000001Z"), "ten digits"),
        (
            good.replace(r#""bp":1"#, r#""bp":1234567890.123456789"#),
            "19 digits",
        ),
        (good.replace(r#""bp":1"#, r#""bp":1,"bp":1"#), "a key twice"),
        (
            good.replace(r#""bp":1"#, r#""bp":1,"q":1"#),
            "an unknown key",
        ),
        (good.replace("00Z", "00+00:00"), "an offset"),
        (good.replace(r#""A""#, "\"É\""), "not ASCII"),
    ] {
        let frame = format!("[{good},{odd},{good}]");
        let mut count = 0;
        let scanned = scan(
            frame.as_bytes(),
            Codec::Json,
            &mut LastDay::default(),
            |_| count += 1,
        );
        assert_eq!((scanned, count), (Scanned::Items(1), 1), "{why}");
        assert_same(frame.as_bytes(), Codec::Json);
    }
}

#[test]
fn integers_of_every_width_and_floats_are_usual_in_messagepack() {
    let trade = |size: &[u8], time: &[u8]| {
        let before = b"\x91\x85\xa1T\xa1t\xa1S\xa1A\xa1p\x01\xa1s";
        [before, size, b"\xa1t", time].concat()
    };
    const TIME: &[u8] = b"\xd6\xff\x69\xb9\x65\x68";
    for (size, is_usual) in [
        (&b"\x7f"[..], true),
        (b"\xcc\xff", true),
        (b"\xcd\xff\xff", true),
        (b"\xce\xff\xff\xff\xff", true),
        (b"\xcf\xff\xff\xff\xff\xff\xff\xff\xff", true),
        (b"\xd3\x7f\xff\xff\xff\xff\xff\xff\xff", true),
        (b"\xd3\xff\xff\xff\xff\xff\xff\xff\xff", false),
        (b"\xd0\x01", false),
        (b"\xff", false),
        (b"\xcb\x40\x28\xb3\x33\x33\x33\x33\x33", true),
        (b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00", false),
        (b"\xca\x3f\x80\x00\x00", false),
        (b"\xa11", false),
        (b"\xc0", false),
    ] {
        let frame = trade(size, TIME);
        assert_eq!(is_whole(&frame, Codec::MessagePack), is_usual, "{size:x?}");
        assert_same(&frame, Codec::MessagePack);
    }
    for (time, is_usual) in [
        (TIME, true),
        (b"\xd7\xff\x1d\x6f\x34\x54\x69\xb9\x65\x6d", true),
        // A thousand million nanoseconds.
        (b"\xd7\xff\xee\x6b\x28\x00\x69\xb9\x65\x6d", false),
        (b"\xd6\x01\x69\xb9\x65\x68", false),
        (
            b"\xc7\x0c\xff\x00\x00\x00\x00\x00\x00\x00\x00\x69\xb9\x65\x68",
            false,
        ),
        (
            b"\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x88\x6e\x09\x00",
            false,
        ),
        (b"\xb42026-03-17T14:30:00Z", false),
        (b"\x92\x01\x02", false),
    ] {
        let frame = trade(b"\x01", time);
        assert_eq!(is_whole(&frame, Codec::MessagePack), is_usual, "{time:x?}");
        assert_same(&frame, Codec::MessagePack);
    }
}
