//! What one odd value costs: every field of every kind of message, times every odd value, in both codecs.
//!
//! The tables say what the reader may be told of; they share no line with the tables that it reads by.

use std::fmt::Write as _;

use super::*;
use crate::alpaca::wire::orders;

/// Kind, channel and fields. A field without which the event means nothing has `!`, one that may be missing but not
/// unreadable `?`.
const MARKET: [(&str, Channel, &str); 13] = [
    (
        "t",
        TRADES,
        "S:symbol! i:integer x:text p:number! s:number! tks:text c:codes z:text u:text t:time!",
    ),
    (
        "q",
        QUOTES,
        "S:symbol! bx:text bp:number! bs:number! ax:text ap:number! as:number! x:text c:codes z:text t:time!",
    ),
    ("b", BARS, BAR),
    ("u", UPDATED_BARS, BAR),
    ("d", DAILY_BARS, BAR),
    (
        "c",
        TRADES,
        "S:symbol! x:text oi:integer op:number! os:number! oc:codes ci:integer cp:number! cs:number! cc:codes z:text t:time!",
    ),
    (
        "x",
        TRADES,
        "S:symbol! i:integer x:text p:number! s:number! a:text z:text t:time!",
    ),
    (
        "s",
        STATUSES,
        "S:symbol! sc:text sm:text rc:text rm:text z:text t:time!",
    ),
    (
        "l",
        LULDS,
        "S:symbol! u:number! d:number! i:text z:text t:time!",
    ),
    ("i", IMBALANCES, "S:symbol! p:number! z:text t:time!"),
    (
        "o",
        ORDERBOOKS,
        "S:symbol! x:text t:time! b:levels? a:levels? r:flag?",
    ),
    (
        "p",
        PRICING,
        "S:symbol! ip:number mp:number fr:number oi:number ft:time x:text t:time!",
    ),
    (
        "n",
        NEWS,
        "id:integer headline:text summary:text author:text created_at:time! updated_at:time url:text content:text symbols:symbols? source:text",
    ),
];
const BAR: &str = "S:symbol! o:number! h:number! l:number! c:number! v:number! n:integer vw:number x:text t:time!";

/// An update's fields, and those of its order.
const UPDATE: &str = "event:word! price:number! qty:number! position_qty:number position_qtys:map legs:list \
    execution_id:text timestamp:time at:time event_id:text reason:text account_id:text commission:number order:order!";
const ORDER: &str = "id:text! client_order_id:text created_at:time updated_at:time submitted_at:time filled_at:time \
    expired_at:time expires_at:time cancel_requested_at:time canceled_at:time failed_at:time replaced_at:time \
    replaced_by:text replaces:text asset_id:text symbol:symbol asset_class:text notional:number qty:number \
    filled_qty:number filled_avg_price:number order_class:text order_type:text side:text position_intent:text \
    time_in_force:text limit_price:number stop_price:number status:text extended_hours:flag legs:list \
    trail_percent:number trail_price:number hwm:number ratio_qty:number commission:number source:text subtag:text";

const VALUES: [&str; 13] = [
    "17",
    r#""NONE""#,
    "true",
    r#""TRUE""#,
    r#""""#,
    "[]",
    "{}",
    "null",
    r#""NaN""#,
    "17.5",
    r#""17""#,
    // No zone, and more digits than nine.
    r#""2026-03-17T14:30:05.123456789123""#,
    "-1e400",
];

#[derive(Clone, Copy, Debug)]
struct Field<'a> {
    name: &'a str,
    kind: &'a str,
    need: Need,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Need {
    Essential,
    Decisive,
    Optional,
}

/// What a reader makes of a value.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Is {
    Read,
    Nothing,
    Odd,
}

fn fields(table: &str) -> Vec<Field<'_>> {
    let field = |text| {
        let (name, kind): (&str, &str) = str::split_once(text, ':').unwrap();
        let (kind, need) = match kind.strip_suffix('!') {
            Some(kind) => (kind, Need::Essential),
            None => match kind.strip_suffix('?') {
                Some(kind) => (kind, Need::Decisive),
                None => (kind, Need::Optional),
            },
        };
        Field { name, kind, need }
    };
    table.split_whitespace().map(field).collect()
}

fn usual(field: &Field<'_>) -> &'static str {
    match (field.kind, field.name) {
        ("word", _) => r#""fill""#,
        ("symbol", _) => r#""KO""#,
        ("text", _) => r#""P""#,
        ("number", _) => "61.275",
        ("integer", _) => "71204",
        ("time", _) => r#""2026-03-17T14:30:05Z""#,
        ("codes", _) => r#"["@"]"#,
        ("levels", _) => r#"[{"p":1,"s":2}]"#,
        ("symbols", _) => r#"["KO"]"#,
        ("flag", _) => "true",
        ("map", _) => r#"{"KO":"1"}"#,
        ("list", _) => "[]",
        _ => panic!("{field:?}"),
    }
}

fn is(kind: &str, value: &str) -> Is {
    let text = value.starts_with('"');
    let number = value
        .trim_matches('"')
        .parse::<f64>()
        .is_ok_and(f64::is_finite);
    let read = match (kind, value) {
        (_, "null") => return Is::Nothing,
        ("levels" | "symbols" | "list" | "map" | "order", r#""""#) => false,
        ("word", r#""""#) => false,
        (_, r#""""#) => return Is::Nothing,
        ("text", "-1e400") => true,
        ("text", _) => text || number,
        ("symbol" | "word", _) => text,
        ("number", _) => number,
        ("integer", _) => number && value != "17.5",
        ("time", _) => value.contains("T14"),
        ("codes", "[]" | "-1e400") => true,
        ("codes", _) => text || number,
        ("levels" | "symbols" | "list", _) => value == "[]",
        ("map", _) => value == "{}",
        ("flag", _) => value.trim_matches('"').eq_ignore_ascii_case("true"),
        ("order", _) => false,
        _ => panic!("{kind}"),
    };
    if read { Is::Read } else { Is::Odd }
}

/// Whether the event comes, and with an odd field.
fn expected(field: &Field<'_>, value: &str) -> Option<bool> {
    let is = is(field.kind, value);
    match field.need {
        Need::Essential => (is == Is::Read).then_some(false),
        Need::Decisive => (is != Is::Odd).then_some(false),
        Need::Optional => Some(is == Is::Odd),
    }
}

fn object(pairs: impl IntoIterator<Item = (impl AsRef<str>, String)>) -> String {
    let mut text = "{".to_owned();
    for (place, (name, value)) in pairs.into_iter().enumerate() {
        let comma = if place == 0 { "" } else { "," };
        write!(text, r#"{comma}"{}":{value}"#, name.as_ref()).unwrap();
    }
    text + "}"
}

/// The usual fields, of which one has this value.
fn with(fields: &[Field<'_>], odd: &str, value: &str) -> Vec<(String, String)> {
    let pairs = fields.iter().map(|field| {
        let value = if field.name == odd {
            value
        } else {
            usual(field)
        };
        (field.name.to_owned(), value.to_owned())
    });
    pairs.collect()
}

/// The same in each codec. JSON's widest numbers cannot be written in MessagePack.
fn in_both(json: &str) -> Vec<(Vec<u8>, Codec)> {
    let mut frames = vec![(json.as_bytes().to_vec(), Codec::Json)];
    if let Ok(value) = serde_json::from_str::<serde_json::Value>(json) {
        frames.push((rmp_serde::to_vec(&value).unwrap(), Codec::MessagePack));
    }
    frames
}

#[test]
fn an_odd_value_costs_an_event_of_the_market_only_where_it_means_nothing_without() {
    const GOOD: &str = r#"{"T":"s","S":"PEP","t":"2026-03-17T14:30:05Z"}"#;
    for (kind, channel, table) in MARKET {
        let fields = fields(table);
        for field in &fields {
            for value in VALUES {
                let head = [("T".to_owned(), format!("{kind:?}"))];
                let item = object(head.into_iter().chain(with(&fields, field.name, value)));
                for (frame, codec) in in_both(&format!("[{item},{GOOD}]")) {
                    let items = all(&frame, codec);
                    assert!(items[1].is_ok(), "a neighbour is lost: {item}");
                    match (&items[0], expected(field, value)) {
                        (Ok(Incoming::Event(_, odd)), Some(is_odd)) => {
                            let names: Vec<_> = odd.iter().collect();
                            let wanted = if is_odd { vec![field.name] } else { vec![] };
                            assert_eq!(names, wanted, "{codec} {item}");
                        }
                        (Err(unparsed), None) => {
                            let concerns = if matches!(field.name, "S") || channel == NEWS {
                                Concerns::Channel(channel)
                            } else {
                                Concerns::Topic(Topic::new(channel, "KO"))
                            };
                            assert_eq!(unparsed.concerns, concerns, "{codec} {item}");
                            let names_it = unparsed.why.contains(&format!("`{}`", field.name));
                            assert!(names_it, "{}", unparsed.why);
                        }
                        (got, wanted) => panic!("{codec} {item}: {got:?}, not {wanted:?}"),
                    }
                }
            }
        }
    }
}

#[test]
fn an_odd_value_costs_an_order_update_only_where_it_means_nothing_without() {
    let (update, order) = (fields(UPDATE), fields(ORDER));
    let frame = |update: Vec<(String, String)>| {
        format!(r#"{{"stream":"trade_updates","data":{}}}"#, object(update))
    };
    let usual_order = || object(with(&order, "", ""));
    let check = |frame: &str, name: &str, expected: Option<bool>| {
        for (frame, codec) in in_both(frame) {
            let mut got = Vec::new();
            orders::decode(&frame, codec, |item| got.push(item));
            match (&got[..], expected) {
                ([Ok(orders::Incoming::Update(_, odd))], Some(is_odd)) => {
                    let names: Vec<_> = odd.iter().collect();
                    let wanted = if is_odd { vec![name] } else { vec![] };
                    assert_eq!(names, wanted, "{codec}");
                }
                // Whoever wants order updates wants this one.
                ([Err(unparsed)], None) => assert_eq!(unparsed.concerns, Concerns::Everybody),
                (got, wanted) => panic!("{codec} {name}: {got:?}, not {wanted:?}"),
            }
        }
    };
    for value in VALUES {
        for field in &update {
            let mut pairs = with(&update[..update.len() - 1], field.name, value);
            let order = if field.name == "order" {
                value.to_owned()
            } else {
                usual_order()
            };
            pairs.push(("order".to_owned(), order));
            check(&frame(pairs), field.name, expected(field, value));
        }
        for field in &order {
            let mut pairs = with(&update[..update.len() - 1], "", "");
            pairs.push(("order".to_owned(), object(with(&order, field.name, value))));
            let name = format!("order.{}", field.name);
            check(&frame(pairs), &name, expected(field, value));
        }
    }
}

/// Nobody knows which of two values holds.
#[test]
fn a_field_that_stands_there_twice_is_odd() {
    let trade = |fields: &str| {
        let item =
            format!(r#"{{"T":"t","S":"KO","i":1,"p":1,"s":1,"t":"2026-03-17T14:30:05Z"{fields}}}"#);
        decode_all(&item).remove(0)
    };
    assert!(matches!(trade(r#","i":2"#), Ok(Incoming::Event(_, odd)) if odd.to_string() == "i"));
    let concerns = trade(r#","p":2"#).unwrap_err().concerns;
    assert_eq!(concerns, Concerns::Topic(Topic::new(TRADES, "KO")));
    let concerns = trade(r#","S":"PEP""#).unwrap_err().concerns;
    assert_eq!(concerns, Concerns::Channel(TRADES));
    // What the kinds say nothing of may stand there as often as it likes.
    assert!(matches!(trade(r#","y":1,"y":2"#), Ok(Incoming::Event(_, odd)) if odd.is_empty()));
}

#[test]
fn parts_of_a_list_that_are_odd_are_left_out_and_noted() {
    let codes = r#"{"T":"t","S":"KO","p":1,"s":1,"c":["@",{},7,null],"t":"2026-03-17T14:30:05Z"}"#;
    let Ok(Incoming::Event(MarketEvent::Trade(trade), odd)) = decode_all(codes).remove(0) else {
        panic!()
    };
    assert_eq!(trade.conditions.iter().collect::<Vec<_>>(), ["@", "7"]);
    assert_eq!(odd.to_string(), "c");
    let legs = r#"{"stream":"trade_updates","data":{"event":"new","order":{"id":"o","legs":[{"id":"a","qty":{}},{"qty":"1"},null]}}}"#;
    let mut read = Vec::new();
    orders::decode(legs.as_bytes(), Codec::Json, |item| read.push(item));
    let Ok(orders::Incoming::Update(update, odd)) = read.remove(0) else {
        panic!()
    };
    let ids: Vec<_> = update
        .order
        .legs
        .iter()
        .map(|leg| leg.id.as_str())
        .collect();
    assert_eq!(ids, ["a"]);
    assert_eq!(
        odd.iter().collect::<Vec<_>>(),
        ["order.legs.qty", "order.legs"]
    );
}

/// A level that cannot be read makes another book of it.
#[test]
fn an_odd_level_costs_its_book_the_update() {
    for levels in [r#"[{"p":1}]"#, r#"[{"p":"x","s":1}]"#, "[7]"] {
        let item = format!(r#"{{"T":"o","S":"BTC/USD","t":"2026-03-17T14:30:05Z","b":{levels}}}"#);
        let concerns = decode_all(&item).remove(0).unwrap_err().concerns;
        assert_eq!(concerns, Concerns::Topic(Topic::new(ORDERBOOKS, "BTC/USD")));
    }
}

#[test]
fn whose_loss_it_is_follows_from_what_could_be_read() {
    for (item, concerns) in [
        // A kind that no topic names.
        (r#"{"T":"zz","S":"KO"}"#, Concerns::Nobody),
        (r#"{"T":"success","msg":{}}"#, Concerns::Nobody),
        (r#"{"T":"subscription","trades":7}"#, Concerns::Nobody),
        // It may be anything.
        (r#"{"S":"KO","p":1}"#, Concerns::Everybody),
        (r#"{"T":17,"S":"KO"}"#, Concerns::Everybody),
        (r#"{"T":null,"S":"KO"}"#, Concerns::Everybody),
        (r#"{"T":"t","T":"q","S":"KO"}"#, Concerns::Everybody),
        ("7", Concerns::Everybody),
        (r#"{"T":"t""#, Concerns::Everybody),
    ] {
        for codec in [Codec::Json, Codec::MessagePack] {
            // Where JSON comes in place of MessagePack it is read as what it is.
            let items = all(format!("[{item}]").as_bytes(), codec);
            let unparsed = items[0].as_ref().expect_err(item);
            assert_eq!(unparsed.concerns, concerns, "{item}");
        }
    }
}

/// Bytes that are no text cost the field that they stand in.
#[test]
fn bytes_that_are_no_text_cost_their_field() {
    let item = |field: &str, bytes: &[u8]| {
        let text = r#"[{"T":"t","S":"KO","x":"P","p":1,"s":1,"t":"2026-03-17T14:30:05Z"}]"#;
        let frame = text.replace(field, "#");
        let (head, tail) = frame.split_once('#').unwrap();
        all(
            &[head.as_bytes(), bytes, tail.as_bytes()].concat(),
            Codec::Json,
        )
        .remove(0)
    };
    let read = item(r#""P""#, b"\"\xff\"");
    assert!(matches!(read, Ok(Incoming::Event(_, odd)) if odd.to_string() == "x"));
    let lost = item(r#""KO""#, b"\"K\xff\"").unwrap_err();
    assert_eq!(lost.concerns, Concerns::Channel(TRADES));
    // Not a kind that nobody knows, but one that could not be read.
    let lost = item(r#""t","#, b"\"\xff\",").unwrap_err();
    assert_eq!(lost.concerns, Concerns::Everybody);
}

#[test]
fn errors_keep_their_code_and_message_however_they_are_written() {
    for (fields, code, message) in [
        (r#""code":405,"msg":"no""#, Some(405), "no"),
        (r#""code":"405","msg":"no""#, Some(405), "no"),
        (r#""code":405.0,"msg":"no""#, Some(405), "no"),
        (r#""code":" 405 ","message":"no""#, Some(405), "no"),
        (r#""code":405,"msg":null,"reason":"no""#, Some(405), "no"),
        (r#""code":405,"msg":17"#, Some(405), "17"),
        (r#""code":405"#, Some(405), ""),
        (r#""msg":"no""#, None, "no"),
        (
            r#""code":4050000000000,"msg":"no""#,
            None,
            "no (code `4050000000000`)",
        ),
        (r#""code":{},"msg":{}"#, None, "(code `{}`)"),
        ("\"x\":1", None, ""),
    ] {
        for kind in ["error", "ERROR"] {
            let frame = format!(r#"[{{"T":"{kind}",{fields}}}]"#);
            for (frame, codec) in in_both(&frame) {
                let message = message.to_owned();
                let wanted = [Ok(Incoming::Error { code, message })];
                assert_eq!(all(&frame, codec), wanted, "{codec} {fields}");
            }
        }
    }
}

#[test]
fn a_time_without_a_zone_is_utc_and_digits_behind_the_ninth_are_cut() {
    for (text, reads) in [
        ("2026-03-17T14:30:05", "2026-03-17T14:30:05Z"),
        ("2026-03-17T14:30:05.5", "2026-03-17T14:30:05.5Z"),
        ("2026-03-17 14:30:05", "2026-03-17T14:30:05Z"),
        (
            "2026-03-17T14:30:05.1234567899",
            "2026-03-17T14:30:05.123456789Z",
        ),
        (
            "2026-03-17T14:30:05.1234567899Z",
            "2026-03-17T14:30:05.123456789Z",
        ),
        (
            "2026-03-17T10:30:05.1234567899-04:00",
            "2026-03-17T14:30:05.123456789Z",
        ),
    ] {
        let item = format!(r#"{{"T":"s","S":"KO","t":"{text}"}}"#);
        let MarketEvent::Status(status) = event(&item) else {
            panic!()
        };
        assert_eq!(status.timestamp, time(reads), "{text}");
    }
}

/// NaN has no word in JSON, and a float in MessagePack.
#[test]
fn floats_that_are_no_numbers_cost_their_field() {
    let trade = |key: &str| {
        let mut frame = b"\x91\x86\xa1T\xa1b\xa1S\xa2KO".to_vec();
        for name in ["o", "h", "l", "c", "v", "vw", "t"] {
            frame.push(0xa0 | name.len() as u8);
            frame.extend(name.as_bytes());
            match name {
                "t" => frame.extend(b"\xd6\xff\x69\xb9\x65\x68"),
                name if name == key => frame.extend(b"\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00"),
                _ => frame.push(1),
            }
        }
        frame[1] = 0x89;
        all(&frame, Codec::MessagePack).remove(0)
    };
    assert!(matches!(trade("vw"), Ok(Incoming::Event(_, odd)) if odd.to_string() == "vw"));
    let lost = trade("h").unwrap_err();
    assert_eq!(lost.concerns, Concerns::Topic(Topic::new(BARS, "KO")));
}
