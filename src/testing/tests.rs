//! Values survive being stored, and orders are read as the trading API writes them.

use std::collections::BTreeSet;

use rust_decimal::Decimal;
use serde::{Serialize, de::DeserializeOwned};
use serde_json::{Value, json};

use super::*;
use crate::{
    clock,
    event::Event,
    market::{Interval, MarketEvent, Quote, Timestamp, TradeEvent},
    order::{
        Amendment, AssetClass, Fill, LegFill, Order, OrderClass, OrderEvent, OrderStatus,
        OrderType, OrderUpdate, PositionIntent, Side, TimeInForce,
    },
};

/// Reads what was written, in both formats, and expects nothing to have changed: not even the zeros behind a number.
fn assert_read_back<T: Serialize + DeserializeOwned + PartialEq + std::fmt::Debug>(value: &T) {
    let json = serde_json::to_string(value).unwrap();
    let read: T = serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(&read, value, "{json}");
    assert_eq!(serde_json::to_string(&read).unwrap(), json);
    let packed = rmp_serde::to_vec_named(value).unwrap();
    let read: T = rmp_serde::from_slice(&packed).unwrap_or_else(|error| panic!("{error}: {json}"));
    assert_eq!(&read, value, "{json}");
}

fn decimal(text: &str) -> Decimal {
    text.parse().unwrap()
}

/// Events of every kind: as a test makes them, empty, and with what is hard to write.
fn events() -> Vec<MarketEvent> {
    let trade = trade("KO", "61.280", 100);
    let (first, last) = (
        Timestamp::from_nanos(i64::MIN),
        Timestamp::from_nanos(i64::MAX),
    );
    let mut odd_quote = quote("BRK.B\"\\ \u{1f}é", Decimal::MIN, Decimal::MAX);
    odd_quote.bid_size = decimal("0.0000000000000000000000000001");
    odd_quote.ask_size = decimal("-0.00");
    odd_quote.conditions = ["", " ", "@", "a code that is too long to be in place"]
        .iter()
        .collect();
    odd_quote.tape = "longer than fifteen bytes".into();
    odd_quote.timestamp = first;
    let mut odd_trade = trade.clone();
    (odd_trade.id, odd_trade.timestamp) = (Some(i64::MIN), last);
    let mut odd_bar = bar("KO", 1, 2, 3, 4, 5);
    odd_bar.interval = Interval::UpdatedMinute;
    (odd_bar.trade_count, odd_bar.vwap) = (Some(u64::MAX), Some(decimal("1.50")));
    let mut day = odd_bar.clone();
    day.interval = Interval::Day;
    let mut change = order_book("BTC/USD", [], [("64001", "0")]);
    change.reset = false;
    let mut odd_news = news(["KO", "MSFT260619C00450000"], "„Quoted“\n\u{0}");
    (odd_news.id, odd_news.updated_at) = (None, None);
    odd_news.content = "<p>x</p>".repeat(1_000).into();
    vec![
        trade.clone().into(),
        odd_trade.into(),
        crate::Trade::default().into(),
        correction(&trade, "61.30", 90).into(),
        crate::market::TradeCorrection::default().into(),
        cancel(&trade).into(),
        crate::market::TradeCancel::default().into(),
        quote("KO", "60.00", "60.02").into(),
        odd_quote.into(),
        Quote::default().into(),
        bar("KO", "60.1", "60.4", "60.0", "60.20", 1_000).into(),
        odd_bar.into(),
        day.into(),
        crate::Bar::default().into(),
        status("KO", "H").into(),
        crate::market::TradingStatus::default().into(),
        luld_band("KO", "57.10", "63.10").into(),
        crate::market::LuldBand::default().into(),
        imbalance("KO", "60.00").into(),
        crate::market::Imbalance::default().into(),
        order_book("BTC/USD", [("64000.50", "0.1"), ("64000", "2")], []).into(),
        change.into(),
        crate::market::OrderBookUpdate::default().into(),
        perpetual_pricing("BTC-PERP", "64000.00").into(),
        crate::market::PerpetualPricing::default().into(),
        news(["KO"], "Coca-Cola").into(),
        odd_news.into(),
        crate::market::News::default().into(),
    ]
}

#[test]
fn an_event_of_every_kind_is_read_back_as_it_was_written() {
    let events = events();
    let mut kinds = BTreeSet::new();
    for event in &events {
        // Without a catch-all arm: a new kind has to be made above.
        kinds.insert(match event {
            MarketEvent::Trade(_) => 0,
            MarketEvent::Correction(_) => 1,
            MarketEvent::Cancel(_) => 2,
            MarketEvent::Quote(_) => 3,
            MarketEvent::Bar(_) => 4,
            MarketEvent::Status(_) => 5,
            MarketEvent::Luld(_) => 6,
            MarketEvent::Imbalance(_) => 7,
            MarketEvent::OrderBook(_) => 8,
            MarketEvent::Pricing(_) => 9,
            MarketEvent::News(_) => 10,
        });
        assert_read_back(event);
    }
    assert_eq!(kinds.len(), 11);
    assert_read_back(&events);
    assert_read_back(&quote("KO", "60.00", "60.02"));
    let trade = trade("KO", "61.28", 100);
    for event in [
        TradeEvent::from(trade.clone()),
        correction(&trade, 1, 2).into(),
        cancel(&trade).into(),
    ] {
        assert_read_back(&event);
        assert_read_back(&MarketEvent::from(event));
    }
}

/// What `tail` and other writers of whole events put beside the data is passed over.
#[test]
fn an_event_is_read_from_a_line_that_says_more() {
    let quote = quote("KO", "60.00", "60.02");
    let event = Event::new(MarketEvent::from(quote.clone()), clock::now(), 3);
    let mut line = serde_json::to_value(&event).unwrap();
    line["kind"] = json!("event");
    assert_eq!(line["epoch"], 3);
    let read: MarketEvent = serde_json::from_value(line).unwrap();
    assert_eq!(read, quote.into());
}

/// A price that is not there must not be read as zero.
#[test]
fn a_value_without_what_it_is_about_is_not_read() {
    for (kind, essential) in [
        ("trade", &["symbol", "price", "size", "timestamp"][..]),
        ("quote", &["symbol", "bid_price", "ask_size", "timestamp"]),
        ("bar", &["interval", "open", "volume"]),
    ] {
        let event = events()
            .into_iter()
            .map(|event| serde_json::to_value(event).unwrap())
            .find(|event| event["type"] == kind)
            .unwrap();
        for field in essential {
            let mut without = event.clone();
            without.as_object_mut().unwrap().remove(*field);
            let error = serde_json::from_value::<MarketEvent>(without).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }
    let order = json!({"client_order_id": "mine"});
    let error = serde_json::from_value::<Order>(order).unwrap_err();
    assert!(error.to_string().contains("`id`"), "{error}");
    let update = serde_json::to_value(fill(&order_of(100), 40, "61.28")).unwrap();
    for field in ["event", "order", "price", "qty"] {
        for nothing in [None, Some(Value::Null), Some(json!(""))] {
            let mut without = update.clone();
            without.as_object_mut().unwrap().remove(field);
            without
                .as_object_mut()
                .unwrap()
                .extend(nothing.map(|nothing| (field.to_owned(), nothing)));
            let error = serde_json::from_value::<OrderUpdate>(without).unwrap_err();
            assert!(error.to_string().contains(field), "{error}");
        }
    }
}

fn order_of(qty: i64) -> Order {
    order("KO", Side::Buy, qty)
}

#[test]
fn an_order_update_of_every_kind_is_read_back_as_it_was_written() {
    let legs = vec![LegFill {
        execution_id: Some("e7".into()),
        order_id: Some("leg".into()),
        symbol: "MSFT260619C00450000".into(),
        price: Some(decimal("1.10")),
        qty: Some(Decimal::ONE),
        timestamp: Some(Timestamp::from_nanos(1)),
    }];
    let of_legs = Fill {
        price: decimal("-0.50"),
        qty: Decimal::TWO,
        position_qty: None,
        position_qtys: [("MSFT260619C00450000".into(), Decimal::ONE)].into(),
        legs,
    };
    let amendment = Amendment {
        previous_execution_id: Some("e1".into()),
        price: Some(decimal("61.28")),
        qty: Some(decimal("-40")),
        position_qty: Some(Decimal::ZERO),
    };
    let parent = Order {
        order_class: OrderClass::MultiLeg,
        position_intent: Some(PositionIntent::BuyToOpen),
        notional: Some(decimal("100.00")),
        replaced_by: Some("another".into()),
        expires_at: Some(Timestamp::from_nanos(2)),
        hwm: Some(decimal("62.00")),
        ratio_qty: Some(Decimal::ONE),
        source: Some("api".into()),
        extended_hours: true,
        legs: vec![order_of(1), order_of(2)],
        asset_class: Some("a class of tomorrow".into()),
        ..order_of(3)
    };
    let words = "accepted pending_new new canceled expired done_for_day replaced rejected stopped pending_cancel \
        pending_replace pending_review calculated suspended held order_cancel_rejected order_replace_rejected restated \
        a_word_of_tomorrow";
    let mut events: Vec<_> = words.split(' ').map(OrderEvent::from).collect();
    assert_eq!(
        events.iter().map(OrderEvent::name).collect::<Vec<_>>(),
        words.split(' ').collect::<Vec<_>>()
    );
    events.extend([
        OrderEvent::Fill(of_legs.clone()),
        OrderEvent::PartialFill(of_legs),
        OrderEvent::TradeBust(amendment.clone()),
        OrderEvent::TradeCorrect(amendment),
    ]);
    for event in events {
        assert_read_back(&event);
        let mut update = order_update(&parent, event);
        assert_read_back(&update);
        update.execution_id = Some("e9".into());
        update.event_id = Some("01J".into());
        update.reason = Some("because".into());
        update.account_id = Some("acc".into());
        update.commission = Some(decimal("0.10"));
        assert_read_back(&update);
    }
    assert_read_back(&fill(&order_of(100), 40, "61.28"));
    assert_read_back(&parent);
}

/// `GET /v2/orders`, from the trading API's documentation.
#[test]
fn an_order_is_read_as_the_trading_api_writes_it() {
    let list = r#"[{"id":"1a2b3c4d-0000-4000-8000-000000000001","client_order_id":"my-8","created_at":"2026-03-17T14:31:00.1Z",
        "updated_at":"2026-03-17T14:31:02.25Z","submitted_at":"2026-03-17T10:31:00.09-04:00","filled_at":"2026-03-17T14:31:02.2Z",
        "expired_at":null,"canceled_at":null,"failed_at":null,"replaced_at":null,"replaced_by":null,"replaces":null,
        "asset_id":"9a1d2c3b-0000-4000-8000-1234567890ab","symbol":"KO","asset_class":"us_equity","notional":null,"qty":"100",
        "filled_qty":"100","filled_avg_price":"61.27","order_class":"","order_type":"limit","type":"limit","side":"buy",
        "time_in_force":"day","limit_price":"61.28","stop_price":null,"status":"filled","extended_hours":false,"legs":null,
        "trail_percent":null,"trail_price":null,"hwm":null}]"#;
    let [order]: [Order; 1] = serde_json::from_str(list).unwrap();
    let time = |text: &str| Some(text.parse().unwrap());
    let expected = Order {
        id: "1a2b3c4d-0000-4000-8000-000000000001".into(),
        client_order_id: "my-8".into(),
        created_at: time("2026-03-17T14:31:00.1Z"),
        updated_at: time("2026-03-17T14:31:02.25Z"),
        submitted_at: time("2026-03-17T14:31:00.09Z"),
        filled_at: time("2026-03-17T14:31:02.2Z"),
        asset_id: Some("9a1d2c3b-0000-4000-8000-1234567890ab".into()),
        symbol: "KO".into(),
        asset_class: Some(AssetClass::UsEquity),
        qty: Some(decimal("100")),
        filled_qty: decimal("100"),
        filled_avg_price: Some(decimal("61.27")),
        order_class: OrderClass::Simple,
        order_type: Some(OrderType::Limit),
        side: Some(Side::Buy),
        time_in_force: TimeInForce::Day,
        limit_price: Some(decimal("61.28")),
        status: OrderStatus::Filled,
        ..Order::default()
    };
    assert_eq!(order, expected);
    assert_read_back(&order);
}

/// What is empty, what comes as a number, what is called by its other name, and what nobody knows.
#[test]
fn an_order_is_read_however_loosely_it_is_written() {
    let order: Order = serde_json::from_value(json!({
        "id": "parent", "symbol": "", "asset_class": "", "asset_id": "00000000-0000-0000-0000-000000000000",
        "order_class": "mleg", "side": "", "order_type": "", "type": "stop_limit", "qty": 2, "filled_qty": null,
        "limit_price": 1.05, "extended_hours": null, "status": "invented", "advanced_instructions": {"a": [1]},
        "legs": [{"id": "leg", "symbol": "MSFT260619C00450000", "order_type": "", "type": "", "legs": null,
            "position_intent": "buy_to_open", "ratio_qty": "1"}],
    }))
    .unwrap();
    let leg = Order {
        id: "leg".into(),
        symbol: "MSFT260619C00450000".into(),
        position_intent: Some(PositionIntent::BuyToOpen),
        ratio_qty: Some(Decimal::ONE),
        ..Order::default()
    };
    let expected = Order {
        id: "parent".into(),
        order_class: OrderClass::MultiLeg,
        order_type: Some(OrderType::StopLimit),
        qty: Some(Decimal::TWO),
        limit_price: Some(decimal("1.05")),
        status: "invented".into(),
        legs: vec![leg],
        ..Order::default()
    };
    assert_eq!(order, expected);
    for wrong in [
        json!({"id": "a", "qty": "many"}),
        json!({"id": "a", "legs": "none"}),
        json!({"id": "a", "created_at": "yesterday"}),
        json!({"id": ["a"]}),
        json!(["a"]),
    ] {
        serde_json::from_value::<Order>(wrong).unwrap_err();
    }
}

/// What the trading API never does: decimals without quotes, which `serde_json` hands on as binary floats.
#[test]
fn a_number_of_an_order_is_read_exactly_or_not_at_all() {
    for number in [
        "0.1",
        "1.10",
        "-12345678901.2345",
        "1e-9",
        "123456789012345678",
    ] {
        let order: Order =
            serde_json::from_str(&format!(r#"{{"id":"x","qty":{number}}}"#)).unwrap();
        let exact = number.parse().or_else(|_| Decimal::from_scientific(number));
        assert_eq!(order.qty, Some(exact.unwrap()), "{number}");
        let fill = format!(r#"{{"price":1,"qty":1,"position_qtys":{{"KO":{number}}}}}"#);
        let fill: Fill = serde_json::from_str(&fill).unwrap();
        assert_eq!(fill.position_qtys["KO"], order.qty.unwrap());
    }
    for number in [
        "0.1234567890123456",
        "12345678901.23456",
        "1234567890123456.5",
    ] {
        let order = format!(r#"{{"id":"x","qty":{number}}}"#);
        let error = serde_json::from_str::<Order>(&order).unwrap_err();
        assert!(error.to_string().contains("15 digits"), "{error}");
        let fill = format!(r#"{{"price":1,"qty":1,"position_qtys":{{"KO":{number}}}}}"#);
        serde_json::from_str::<Fill>(&fill).unwrap_err();
        let text = format!(r#"{{"id":"x","qty":"{number}"}}"#);
        let order: Order = serde_json::from_str(&text).unwrap();
        assert_eq!(order.qty, Some(decimal(number)));
    }
}

#[test]
fn an_update_says_in_plain_words_what_it_is() {
    let (feed, quotes) = subscription(crate::alpaca::quotes(["KO"]).correlated("me"));
    feed.event(quote("KO", "60.00", "60.02"));
    feed.gap();
    feed.resume();
    feed.drop_events(3);
    feed.end(crate::EndReason::Done);
    let said: Vec<_> = quotes.iter().map(|update| update.to_string()).collect();
    let [confirmed, event, gap, resumed, dropped, ended] = &said[..] else {
        panic!("{said:?}");
    };
    assert_eq!(confirmed, "confirmed: quotes:KO (correlation me)");
    assert_eq!(
        event,
        "KO quote 60.00 x 100 / 60.02 x 100 at 2026-03-17T14:30:05Z"
    );
    assert!(
        gap.starts_with("events may be missing: connection 1 broke"),
        "{gap}"
    );
    assert!(resumed.starts_with("resumed on connection 2"), "{resumed}");
    assert_eq!(
        dropped,
        "events are missing, the reader was too slow: 3 events (correlation me)"
    );
    assert_eq!(ended, "ended: the venue is done (correlation me)");
}

#[test]
fn a_quote_has_a_middle_and_a_spread_where_it_has_two_sides() {
    for (bid, ask, mid, spread) in [
        ("60.00", "60.02", Some("60.01"), Some("0.02")),
        ("60", "60", Some("60"), Some("0")),
        ("60.02", "60.00", None, None),
        ("60", "0", None, None),
        ("0", "60", None, None),
        ("0", "0", None, None),
        ("-1", "60", None, None),
    ] {
        let quote = quote("KO", bid, ask);
        assert_eq!(quote.mid(), mid.map(decimal), "{quote}");
        assert_eq!(quote.spread(), spread.map(decimal), "{quote}");
    }
    let widest = quote("KO", "0.0000000000000000000000000001", Decimal::MAX);
    assert!(widest.mid().is_none_or(|mid| mid > Decimal::ZERO));
}
