use super::*;
use crate::order::{AssetClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce};

/// Frames as the venue's documentation has them, with made-up values.
pub(crate) const PARTIAL_FILL: &str = r#"{"stream":"trade_updates","data":{"event":"partial_fill","execution_id":"5b0f2f3e-1c1d-4a57-9d0c-0a6f0f7f1a11",
"order":{"id":"0d5c7f0e-9c0b-4c39-8a55-6f5b0c2f7d21","client_order_id":"my-7","created_at":"2026-03-17T10:30:00.101-04:00",
"updated_at":"2026-03-17T10:30:05.2-04:00","submitted_at":"2026-03-17T10:30:00.1-04:00","filled_at":null,"expired_at":null,
"cancel_requested_at":null,"canceled_at":null,"failed_at":null,"replaced_at":null,"replaced_by":null,"replaces":null,
"asset_id":"9a1d2c3b-0000-4000-8000-1234567890ab","symbol":"KO","asset_class":"us_equity","notional":null,"qty":"100",
"filled_qty":"40","filled_avg_price":"61.275","order_class":"","order_type":"limit","type":"limit","side":"buy",
"time_in_force":"day","limit_price":"61.28","stop_price":null,"status":"partially_filled","extended_hours":false,
"legs":null,"trail_percent":null,"trail_price":null,"hwm":null},
"price":"61.275","qty":"40","position_qty":"140","timestamp":"2026-03-17T14:30:05.123456Z"}}"#;

/// Every field that an update, and an order, can have.
const EVERYTHING: &str = r#"{"stream":"trade_updates","data":{"event":"canceled","execution_id":"e1","at":"2026-03-17T14:30:09.000000001Z",
"event_id":"01JPHX0000000000000000000A","reason":"CORPORATE_ACTION","account_id":"acc","commission":"0.35",
"timestamp":"2026-03-17T14:30:08Z","order":{"id":"o1","client_order_id":"ünïcode \"7\"","created_at":"2026-03-17T09:00:00-05:00",
"updated_at":"2026-03-17T14:00:01Z","submitted_at":"2026-03-17T14:00:02Z","filled_at":"2026-03-17T14:00:03.5Z",
"expired_at":"2026-03-17T14:00:04Z","expires_at":"2026-03-17T20:00:00Z","cancel_requested_at":"2026-03-17T14:00:05Z",
"canceled_at":"2026-03-17T14:00:06.123456789Z","failed_at":"2026-03-17T14:00:07Z","replaced_at":"2026-03-17T14:00:08Z",
"replaced_by":"o2","replaces":"o0","asset_id":"a1","symbol":"BTC/USD","asset_class":"crypto","notional":"100.5","qty":"0.000000001",
"filled_qty":"0.5","filled_avg_price":"64000.123456789","order_class":"bracket","order_type":"trailing_stop","type":"trailing_stop",
"side":"sell","position_intent":"sell_to_close","time_in_force":"gtc","limit_price":"1","stop_price":"2","status":"canceled",
"extended_hours":true,"legs":[{"id":"leg"}],"trail_percent":"3","trail_price":"4","hwm":"5","ratio_qty":"6","commission":"7",
"source":"access_key","subtag":"desk"}}}"#;

fn only(frame: &[u8]) -> Result<Incoming, Unparsed> {
    let mut all = Vec::new();
    decode(frame, Codec::Json, |item| all.push(item));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

fn order_update(frame: &str) -> OrderUpdate {
    match only(frame.as_bytes()) {
        Ok(Incoming::Update(update, _)) => *update,
        other => panic!("{frame}: {other:?}"),
    }
}

/// An update with this event and these fields, of an order with three of its keys.
fn with(event: &str, fields: &str) -> OrderUpdate {
    order_update(&format!(
        r#"{{"stream":"trade_updates","data":{{"event":"{event}","order":{{"id":"o1","symbol":"KO","qty":"5"}}{fields}}}}}"#
    ))
}

fn unparsed(frame: &str) -> String {
    match only(frame.as_bytes()) {
        Err(unparsed) => unparsed.why.to_string(),
        Ok(other) => panic!("{frame}: {other:?}"),
    }
}

fn time(text: &str) -> Option<Timestamp> {
    Some(text.parse().unwrap())
}

fn decimal(text: &str) -> Option<Decimal> {
    Some(text.parse().unwrap())
}

#[test]
fn a_partial_fill_as_documented() {
    let order = Order {
        id: "0d5c7f0e-9c0b-4c39-8a55-6f5b0c2f7d21".into(),
        client_order_id: "my-7".into(),
        created_at: time("2026-03-17T14:30:00.101Z"),
        updated_at: time("2026-03-17T14:30:05.2Z"),
        submitted_at: time("2026-03-17T14:30:00.1Z"),
        asset_id: Some("9a1d2c3b-0000-4000-8000-1234567890ab".into()),
        symbol: "KO".into(),
        asset_class: Some(AssetClass::UsEquity),
        qty: decimal("100"),
        filled_qty: Decimal::from(40),
        filled_avg_price: decimal("61.275"),
        order_class: OrderClass::Simple,
        order_type: Some(OrderType::Limit),
        side: Some(Side::Buy),
        time_in_force: TimeInForce::Day,
        limit_price: decimal("61.28"),
        status: OrderStatus::PartiallyFilled,
        ..Order::default()
    };
    let update = OrderUpdate {
        event: OrderEvent::PartialFill(Fill {
            price: Decimal::new(61_275, 3),
            qty: Decimal::from(40),
            position_qty: decimal("140"),
            ..Fill::default()
        }),
        order,
        execution_id: Some("5b0f2f3e-1c1d-4a57-9d0c-0a6f0f7f1a11".into()),
        timestamp: time("2026-03-17T14:30:05.123456Z"),
        ..OrderUpdate::default()
    };
    assert_eq!(order_update(PARTIAL_FILL), update);
}

#[test]
fn every_field_there_is() {
    let order = Order {
        id: "o1".into(),
        client_order_id: "ünïcode \"7\"".into(),
        created_at: time("2026-03-17T14:00:00Z"),
        updated_at: time("2026-03-17T14:00:01Z"),
        submitted_at: time("2026-03-17T14:00:02Z"),
        filled_at: time("2026-03-17T14:00:03.5Z"),
        expired_at: time("2026-03-17T14:00:04Z"),
        expires_at: time("2026-03-17T20:00:00Z"),
        cancel_requested_at: time("2026-03-17T14:00:05Z"),
        canceled_at: time("2026-03-17T14:00:06.123456789Z"),
        failed_at: time("2026-03-17T14:00:07Z"),
        replaced_at: time("2026-03-17T14:00:08Z"),
        replaced_by: Some("o2".into()),
        replaces: Some("o0".into()),
        asset_id: Some("a1".into()),
        symbol: "BTC/USD".into(),
        asset_class: Some(AssetClass::Crypto),
        notional: decimal("100.5"),
        qty: decimal("0.000000001"),
        filled_qty: Decimal::new(5, 1),
        filled_avg_price: decimal("64000.123456789"),
        order_class: OrderClass::Bracket,
        order_type: Some(OrderType::TrailingStop),
        side: Some(Side::Sell),
        position_intent: Some(PositionIntent::SellToClose),
        time_in_force: TimeInForce::GoodTilCanceled,
        limit_price: decimal("1"),
        stop_price: decimal("2"),
        status: OrderStatus::Canceled,
        extended_hours: true,
        legs: vec![Order {
            id: "leg".into(),
            ..Order::default()
        }],
        trail_percent: decimal("3"),
        trail_price: decimal("4"),
        hwm: decimal("5"),
        ratio_qty: decimal("6"),
        commission: decimal("7"),
        source: Some("access_key".into()),
        subtag: Some("desk".into()),
    };
    let update = OrderUpdate {
        event: OrderEvent::Canceled,
        order,
        execution_id: Some("e1".into()),
        timestamp: time("2026-03-17T14:30:08Z"),
        at: time("2026-03-17T14:30:09.000000001Z"),
        event_id: Some("01JPHX0000000000000000000A".into()),
        reason: Some("CORPORATE_ACTION".into()),
        account_id: Some("acc".into()),
        commission: decimal("0.35"),
    };
    assert_eq!(order_update(EVERYTHING), update);
}

/// What the simulator writes is what the venue writes, except that its times have no offset.
#[test]
fn what_is_written_is_the_literal_frame() {
    for frame in [PARTIAL_FILL, EVERYTHING] {
        let written = server::update(&order_update(frame));
        assert_eq!(order_update(&written), order_update(frame));
    }
    let in_utc = PARTIAL_FILL
        .replace("T10:30", "T14:30")
        .replace("-04:00", "Z");
    let written: serde_json::Value =
        serde_json::from_str(&server::update(&order_update(PARTIAL_FILL))).unwrap();
    let literal: serde_json::Value = serde_json::from_str(&in_utc).unwrap();
    assert_eq!(written, literal);
}

#[test]
fn every_event_has_its_kind() {
    for (word, event) in [
        ("new", OrderEvent::New),
        ("canceled", OrderEvent::Canceled),
        ("expired", OrderEvent::Expired),
        ("done_for_day", OrderEvent::DoneForDay),
        ("replaced", OrderEvent::Replaced),
        ("rejected", OrderEvent::Rejected),
        ("accepted", OrderEvent::Accepted),
        ("pending_new", OrderEvent::PendingNew),
        ("stopped", OrderEvent::Stopped),
        ("pending_cancel", OrderEvent::PendingCancel),
        ("pending_replace", OrderEvent::PendingReplace),
        ("calculated", OrderEvent::Calculated),
        ("suspended", OrderEvent::Suspended),
        ("order_replace_rejected", OrderEvent::OrderReplaceRejected),
        ("order_cancel_rejected", OrderEvent::OrderCancelRejected),
        ("held", OrderEvent::Held),
        ("pending_review", OrderEvent::PendingReview),
        ("restated", OrderEvent::Restated),
        (
            "partially_filled",
            OrderEvent::Other("partially_filled".into()),
        ),
    ] {
        let update = with(word, "");
        assert_eq!((&update.event, update.event.name()), (&event, word));
        // However the venue writes it.
        let shouted = with(&word.to_ascii_uppercase(), "");
        assert_eq!(
            shouted.event == event,
            !matches!(event, OrderEvent::Other(_))
        );
        assert_eq!(order_update(&server::update(&update)), update, "{word}");
    }
}

#[test]
fn words_are_read_in_any_case() {
    let order = |text: &str| order_update(text).order;
    let literal = order(PARTIAL_FILL);
    let mut shouted = PARTIAL_FILL.to_owned();
    for word in [
        "us_equity",
        "limit",
        "buy",
        "day",
        "partially_filled",
        "partial_fill",
        "trade_updates",
    ] {
        shouted = shouted.replace(
            &format!("\"{word}\""),
            &format!("\"{}\"", word.to_uppercase()),
        );
    }
    assert_eq!(order(&shouted), literal);
    assert_eq!(literal.side, Some(Side::Buy));
}

#[test]
fn an_unknown_event_still_delivers_its_order() {
    let update = with("eaten_by_alpaca", r#","price":null,"since":{"a":[1]}"#);
    assert_eq!(update.event, OrderEvent::Other("eaten_by_alpaca".into()));
    assert_eq!(
        (update.order.id.as_str(), update.order.qty),
        ("o1", decimal("5"))
    );
}

#[test]
fn fills_carry_their_price_and_those_without_one_are_lost() {
    let fill = Fill {
        price: Decimal::new(1_5, 1),
        qty: Decimal::from(2),
        position_qty: decimal("-3"),
        ..Fill::default()
    };
    // Numbers in place of strings, as old servers write them.
    for fields in [
        r#","price":"1.5","qty":"2","position_qty":"-3""#,
        r#","price":1.5,"qty":2,"position_qty":-3"#,
        r#","price":15e-1,"qty":"2.0","position_qty":"-3""#,
    ] {
        assert_eq!(with("fill", fields).event, OrderEvent::Fill(fill.clone()));
        assert_eq!(with("partial_fill", fields).fill(), Some(&fill));
    }
    for fields in [
        "",
        r#","price":null,"qty":"2""#,
        r#","price":"1.5","qty":"""#,
    ] {
        let frame = format!(
            r#"{{"stream":"trade_updates","data":{{"event":"fill","order":{{"id":"o1"}}{fields}}}}}"#
        );
        assert!(only(frame.as_bytes()).is_err(), "{fields}");
    }
}

#[test]
fn decimals_are_exact() {
    let update = with(
        "fill",
        r#","price":0.1234567890123456789,"qty":"123456789.123456789""#,
    );
    let fill = update.fill().unwrap();
    assert_eq!(fill.price.to_string(), "0.1234567890123456789");
    assert_eq!(fill.qty.to_string(), "123456789.123456789");
    for (fields, says) in [
        (
            r#","price":"abc","qty":"1""#,
            "field `price` is not an exact decimal number: `\"abc\"`",
        ),
        (
            r#","price":"1","qty":"1e400""#,
            "field `qty` is not an exact decimal number: `\"1e400\"`",
        ),
        (
            r#","price":"1","qty":{}"#,
            "field `qty` is not an exact decimal number: `{}`",
        ),
    ] {
        let frame = format!(
            r#"{{"stream":"trade_updates","data":{{"event":"fill","order":{{"id":"o1"}}{fields}}}}}"#
        );
        assert!(unparsed(&frame).starts_with(says), "{}", unparsed(&frame));
    }
}

/// Quirk 15.
#[test]
fn a_multi_leg_fill_has_positions_and_legs() {
    let frame = r#"{"stream":"trade_updates","data":{"at":"2026-03-17T14:30:05.7Z","event_id":"01JPHX","event":"fill",
"timestamp":"2026-03-17T14:30:05.6Z","order":{"id":"parent","client_order_id":"c","asset_id":"00000000-0000-0000-0000-000000000000",
"symbol":"","asset_class":"","notional":null,"qty":"1","filled_qty":"1","filled_avg_price":"1.62","order_class":"mleg",
"order_type":"limit","type":"limit","side":"","position_intent":"","time_in_force":"day","limit_price":"2","status":"filled","extended_hours":false,
"legs":[{"id":"leg-1","symbol":"KO260619C00060000","asset_class":"us_option","qty":"1","filled_qty":"1","filled_avg_price":"3.5",
"order_class":"mleg","order_type":"","type":"","side":"buy","position_intent":"buy_to_open","status":"filled","ratio_qty":"1"}]},
"price":"1.62","qty":"1","position_qtys":{"KO260619C00070000":"-1","KO260619C00060000":"1"},
"legs":[{"execution_id":"x1","order_id":"leg-1","symbol":"KO260619C00060000","qty":"1","price":"3.5","timestamp":"2026-03-17T14:30:05.6Z"},
{"execution_id":"x2","order_id":"leg-2","symbol":"KO260619C00070000","qty":"1","price":"1.88","timestamp":"2026-03-17T14:30:05.6Z"}]}}"#;
    let update = order_update(frame);
    let fill = update.fill().unwrap();
    assert_eq!(
        (fill.position_qty, fill.price),
        (None, Decimal::new(162, 2))
    );
    let positions: Vec<_> = fill.position_qtys.iter().collect();
    assert_eq!(positions[0], (&"KO260619C00060000".into(), &Decimal::ONE));
    assert_eq!(positions[1].1, &Decimal::NEGATIVE_ONE);
    assert_eq!(
        fill.legs[1],
        LegFill {
            execution_id: Some("x2".into()),
            order_id: Some("leg-2".into()),
            symbol: "KO260619C00070000".into(),
            price: decimal("1.88"),
            qty: decimal("1"),
            timestamp: time("2026-03-17T14:30:05.6Z"),
        }
    );
    let order = &update.order;
    assert_eq!(
        (
            &*order.symbol,
            &order.asset_class,
            &order.asset_id,
            &order.side,
            &order.position_intent
        ),
        ("", &None, &None, &None, &None)
    );
    assert_eq!(order.order_class, OrderClass::MultiLeg);
    let leg = &order.legs[0];
    assert_eq!((&leg.order_type, leg.ratio_qty), (&None, decimal("1")));
    assert_eq!(leg.position_intent, Some(PositionIntent::BuyToOpen));
    assert_eq!(update.execution_id, None);
    assert_eq!(order_update(&server::update(&update)), update);
}

/// Quirk 16.
#[test]
fn a_notional_order_has_no_quantity() {
    let frame = r#"{"stream":"trade_updates","data":{"event":"new","order":{"id":"o","notional":"25.50","qty":null}}}"#;
    let order = order_update(frame).order;
    assert_eq!((order.notional, order.qty), (decimal("25.50"), None));
}

#[test]
fn trades_that_are_taken_back() {
    let update = with(
        "trade_bust",
        r#","previous_execution_id":"e0","qty":"-3","price":"2","reason":"TRADE_BUST""#,
    );
    let amendment = Amendment {
        previous_execution_id: Some("e0".into()),
        price: decimal("2"),
        qty: decimal("-3"),
        position_qty: None,
    };
    assert_eq!(update.event, OrderEvent::TradeBust(amendment));
    assert_eq!(update.reason, Some("TRADE_BUST".into()));
    assert_eq!(order_update(&server::update(&update)), update);
    assert_eq!(
        with("trade_correct", "").event,
        OrderEvent::TradeCorrect(Amendment::default())
    );
}

/// Quirk 9, in JSON; and quirk 7.
#[test]
fn times_have_any_offset_and_any_number_of_digits_and_may_stand_for_nothing() {
    for (text, utc) in [
        ("2026-03-17T10:30:05-04:00", Some("2026-03-17T14:30:05Z")),
        (
            "2026-01-17T09:30:05.2-05:00",
            Some("2026-01-17T14:30:05.2Z"),
        ),
        (
            "2026-03-17T14:30:05.123456789Z",
            Some("2026-03-17T14:30:05.123456789Z"),
        ),
        ("2026-03-17T14:30:05+00:00", Some("2026-03-17T14:30:05Z")),
        ("0001-01-01T00:00:00Z", None),
        ("", None),
    ] {
        let update = with("canceled", &format!(r#","timestamp":"{text}""#));
        assert_eq!(update.timestamp, utc.and_then(time), "{text}");
    }
}

#[test]
fn the_type_of_an_order_may_be_said_once() {
    for (fields, order_type) in [
        (r#""type":"stop""#, Some(OrderType::Stop)),
        (r#""order_type":"stop","type":"""#, Some(OrderType::Stop)),
        (
            r#""order_type":"iceberg""#,
            Some(OrderType::Other("iceberg".into())),
        ),
    ] {
        let frame = format!(
            r#"{{"stream":"trade_updates","data":{{"event":"new","order":{{"id":"o1",{fields}}}}}}}"#
        );
        assert_eq!(order_update(&frame).order.order_type, order_type);
    }
}

#[test]
fn control_frames() {
    let authorization = |status: &str, action: &str, message: &str| {
        Incoming::Authorization(Authorization {
            status: status.to_owned(),
            action: action.to_owned(),
            message: message.to_owned(),
        })
    };
    for (frame, incoming) in [
        (
            r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#,
            authorization("authorized", "authenticate", ""),
        ),
        (
            r#"{"data":{"action":"authenticate","message":"access key verification failed","status":"unauthorized"},"stream":"authorization"}"#,
            authorization(
                "unauthorized",
                "authenticate",
                "access key verification failed",
            ),
        ),
        (
            r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#,
            Incoming::Listening(vec!["trade_updates".into()]),
        ),
        (
            r#"{"stream":"listening","data":{"streams":null}}"#,
            Incoming::Listening(Vec::new()),
        ),
        (
            r#"{"stream":"listening","data":{"error":"your connection is already authenticated"}}"#,
            Incoming::Objection("your connection is already authenticated".to_owned()),
        ),
        (
            r#"{"action":"error","data":{"error_message":"internal server error"}}"#,
            Incoming::Fault("internal server error".to_owned()),
        ),
        ("\u{1}", Incoming::Heartbeat),
    ] {
        assert_eq!(only(frame.as_bytes()).unwrap(), incoming, "{frame}");
    }
    assert_eq!(
        only(server::authorization("authorized", "authenticate").as_bytes()).unwrap(),
        authorization("authorized", "authenticate", "")
    );
    assert_eq!(
        server::listening(&["trade_updates".to_owned()]),
        r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#
    );
    assert_eq!(
        only(server::fault("internal server error").as_bytes()).unwrap(),
        Incoming::Fault("internal server error".to_owned())
    );
}

/// Quirk 13, and what else cannot be read.
#[test]
fn what_cannot_be_read_is_shown_and_says_why() {
    for (frame, says) in [
        (
            r#"{"stream":"trade_updates","data":null}"#,
            "there is nothing in field `data`",
        ),
        (r#"{"stream":"trade_updates"}"#, "missing field `data`"),
        (
            r#"{"stream":"trade_updates","data":{"event":"new"}}"#,
            "missing field `order`",
        ),
        (
            r#"{"stream":"trade_updates","data":[]}"#,
            "field `data` is not a map: `[]`",
        ),
        (
            r#"{"stream":"trade_updates","data":{"event":"new","order":{"symbol":"KO"}}}"#,
            "missing field `id`",
        ),
        (
            r#"{"stream":"account_updates","data":{}}"#,
            "unknown stream `account_updates`",
        ),
        (
            r#"{"action":"applaud","data":{}}"#,
            "it belongs to no stream",
        ),
        ("{}", "it belongs to no stream"),
        ("", "EOF"),
        ("nonsense", "expected"),
        ("[{]", "key must be a string"),
    ] {
        assert!(
            unparsed(frame).starts_with(says),
            "{frame}: {}",
            unparsed(frame)
        );
    }
    assert!(only(b"{\"stream\":\"\xff\"}").is_err());
    let nested = format!(
        r#"{{"stream":"trade_updates","data":{{"event":"new","order":{}{}}}}}"#,
        r#"{"legs":["#.repeat(100_000),
        "]}".repeat(100_000)
    );
    assert!(only(nested.as_bytes()).is_err());
}

#[test]
fn arrays_are_taken_too_and_an_odd_item_costs_only_itself() {
    let new = r#"{"stream":"trade_updates","data":{"event":"new","order":{"id":"o"}}}"#;
    let mut all = Vec::new();
    decode(
        format!("[{new}, 7 ,{new}]").as_bytes(),
        Codec::Json,
        |item| {
            all.push(item.is_ok());
        },
    );
    assert_eq!(all, [true, false, true]);
    let mut odd = 0;
    let many = format!("[{}7]", "7,".repeat(100_000));
    decode(many.as_bytes(), Codec::Json, |_| odd += 1);
    assert_eq!(odd, 101, "the others are counted in the last");
}

#[test]
fn what_clients_send() {
    use server::ClientMessage;
    let login = |key: &str, secret: &str| ClientMessage::Login {
        key: key.to_owned(),
        secret: secret.to_owned(),
    };
    let listen =
        |streams: &[&str]| ClientMessage::Listen(streams.iter().map(ToString::to_string).collect());
    for (text, message) in [
        (
            r#"{"action":"auth","key":"PK1","secret":"s3"}"#,
            login("PK1", "s3"),
        ),
        (
            r#"{"action":"authenticate","data":{"key_id":"PK1","secret_key":"s3"}}"#,
            login("PK1", "s3"),
        ),
        (
            r#"{"action":"authenticate","data":{"oauth_token":"token"}}"#,
            login("oauth", "token"),
        ),
        (
            r#"{"action":"listen","data":{"streams":["trade_updates","gossip"]}}"#,
            listen(&["trade_updates", "gossip"]),
        ),
        (r#"{"action":"listen","data":{}}"#, listen(&[])),
    ] {
        let packed: serde_json::Value = serde_json::from_str(text).unwrap();
        let packed = rmp_serde::to_vec(&packed).unwrap();
        // No message that may hold a secret can be shown.
        assert!(ClientMessage::decode(&packed, Codec::MessagePack).as_ref() == Some(&message));
        assert!(ClientMessage::decode(text.as_bytes(), Codec::Json) == Some(message));
    }
    for text in [
        r#"{"action":"authenticate","data":{"key_id":"PK1"}}"#,
        r#"{"action":"subscribe"}"#,
        "nonsense",
    ] {
        assert!(ClientMessage::decode(text.as_bytes(), Codec::Json).is_none());
    }
}

/// As rmp's own writer has it: an encoder that this crate has no part in.
fn packed(json: &str) -> Vec<u8> {
    let value: serde_json::Value = serde_json::from_str(json).unwrap();
    rmp_serde::to_vec(&value).unwrap()
}

fn unpacked(frame: &[u8]) -> Result<Incoming, Unparsed> {
    let mut all = Vec::new();
    decode(frame, Codec::MessagePack, |item| all.push(item));
    assert_eq!(all.len(), 1, "{all:?}");
    all.remove(0)
}

#[test]
fn messagepack_says_the_same() {
    for frame in [PARTIAL_FILL, EVERYTHING] {
        let update = Incoming::Update(Box::new(order_update(frame)), OddFields::default());
        assert_eq!(unpacked(&packed(frame)).unwrap(), update);
        // From a server that speaks JSON all the same.
        assert_eq!(unpacked(frame.as_bytes()).unwrap(), update);
    }
    assert_eq!(unpacked(&[1]).unwrap(), Incoming::Heartbeat);
}

#[test]
fn times_and_numbers_of_messagepack() {
    // {"stream":"trade_updates","data":{"event":"fill","order":{"id":"o"},"price":12.35,"qty":3,"timestamp":…,"at":…}}
    let mut frame =
        b"\x82\xa6stream\xadtrade_updates\xa4data\x86\xa5event\xa4fill\xa5order\x81\xa2id\xa1o"
            .to_vec();
    frame.extend(b"\xa5price\xcb\x40\x28\xb3\x33\x33\x33\x33\x33\xa3qty\x03");
    frame.extend(b"\xa9timestamp\xd7\xff\x1d\x6f\x34\x54\x69\xb9\x65\x6d");
    frame.extend(b"\xa2at\xc7\x0c\xff\x00\x00\x00\x00\xff\xff\xff\xf1\x88\x6e\x09\x00");
    let Ok(Incoming::Update(update, _)) = unpacked(&frame) else {
        panic!("{:?}", unpacked(&frame));
    };
    let fill = update.fill().unwrap();
    assert_eq!(
        (fill.price.to_string(), fill.qty),
        ("12.35".to_owned(), Decimal::from(3))
    );
    assert_eq!(update.timestamp, time("2026-03-17T14:30:05.123456789Z"));
    assert_eq!(update.at, None, "Go's zero time");
    for cut in 0..frame.len() {
        assert!(unpacked(&frame[..cut]).is_err(), "cut at {cut}");
    }
    for broken in [
        &b"\x81\x01\xa1x"[..], // a key that is no text
        b"\xc1",
        b"\xdf\xff\xff\xff\xff\xa1a\x01", // four thousand million pairs
        b"\x81\xa1a\xcb\x7f\xf0\x00\x00\x00\x00\x00\x00", // infinity
        &[0x91; 100_000],
    ] {
        assert!(unpacked(broken).is_err());
    }
}

/// Quirk 15, in the simulator's words.
#[test]
fn what_multi_leg_orders_lack_is_written_as_the_venue_does() {
    let order = Order {
        id: "o1".into(),
        order_class: OrderClass::MultiLeg,
        ..Order::default()
    };
    let update = OrderUpdate {
        order,
        ..OrderUpdate::default()
    };
    let written: serde_json::Value = serde_json::from_str(&server::update(&update)).unwrap();
    let order = &written["data"]["order"];
    for name in ["symbol", "asset_class", "type", "order_type", "side"] {
        assert_eq!(order[name], "", "{name}");
    }
    assert_eq!(order["asset_id"], "00000000-0000-0000-0000-000000000000");
    assert_eq!(order_update(&server::update(&update)), update);
}
