//! Every kind of data as the reference has it, byte for byte: what is pushed in goes out like this. Client and simulator
//! share the wire types, so that without these literals the two could be wrong together.

use super::*;
use crate::market::{
    Bar, Code, Conditions, Imbalance, Interval, LuldBand, News, OrderBookUpdate, PerpetualPricing,
    PriceLevel, Quote, Trade, TradeCancel, TradeCorrection, TradingStatus,
};

/// Events, each with its frame in JSON and in MessagePack. The order of a map's keys is ours, but for `T`, which has to
/// be first.
fn literals() -> Vec<(MarketEvent, &'static str, &'static str)> {
    vec![
        (
            MarketEvent::Trade(trade()),
            r#"[{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"],"z":"A","t":"2026-03-17T14:30:05.12Z"}]"#,
            "91 89 a154 a174 a153 a24b4f a169 ce00011624 a178 a150 a170 cb404ea33333333333 a173 28 a163 92a140a149
             a17a a141 a174 d7ff1c9c380069b9656d",
        ),
        (
            MarketEvent::Quote(stock_quote()),
            r#"[{"T":"q","S":"PEP","bx":"V","bp":152.1,"bs":2,"ax":"Q","ap":152.14,"as":1,"c":["R"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}]"#,
            "91 8b a154 a171 a153 a3504550 a26278 a156 a26270 cb4063033333333333 a26273 02 a26178 a151
             a26170 cb4063047ae147ae14 a26173 01 a163 91a152 a17a a143 a174 d7ff1d6f345469b9656d",
        ),
        (
            MarketEvent::Bar(Bar {
                symbol: "KO".into(),
                interval: Interval::Minute,
                open: decimal("61.2"),
                high: decimal("61.3"),
                low: decimal("61.19"),
                close: decimal("61.28"),
                volume: decimal("8120"),
                trade_count: Some(97),
                vwap: Some(decimal("61.2431")),
                exchange: Code::default(),
                timestamp: time("2026-03-17T14:30:00Z"),
            }),
            r#"[{"T":"b","S":"KO","o":61.2,"h":61.3,"l":61.19,"c":61.28,"v":8120,"n":97,"vw":61.2431,"t":"2026-03-17T14:30:00Z"}]"#,
            "91 8a a154 a162 a153 a24b4f a16f cb404e99999999999a a168 cb404ea66666666666 a16c cb404e9851eb851eb8
             a163 cb404ea3d70a3d70a4 a176 cd1fb8 a16e 61 a27677 cb404e9f1de69ad42c a174 d6ff69b96568",
        ),
        (
            MarketEvent::Status(Box::new(TradingStatus {
                symbol: "PEP".into(),
                status_code: "H".into(),
                status_message: "Trading Halt".into(),
                reason_code: "T1".into(),
                reason_message: "Halt News Pending".into(),
                tape: "C".into(),
                timestamp: time("2026-03-17T14:35:00.5Z"),
            })),
            r#"[{"T":"s","S":"PEP","sc":"H","sm":"Trading Halt","rc":"T1","rm":"Halt News Pending","z":"C","t":"2026-03-17T14:35:00.5Z"}]"#,
            "91 88 a154 a173 a153 a3504550 a27363 a148 a2736d ac54726164696e672048616c74 a27263 a25431
             a2726d b148616c74204e6577732050656e64696e67 a17a a143 a174 d7ff7735940069b96694",
        ),
        (
            MarketEvent::Luld(Box::new(LuldBand {
                symbol: "PEP".into(),
                limit_up: decimal("159.71"),
                limit_down: decimal("144.5"),
                indicator: "B".into(),
                tape: "C".into(),
                timestamp: time("2026-03-17T14:31:00.25Z"),
            })),
            r#"[{"T":"l","S":"PEP","u":159.71,"d":144.5,"i":"B","z":"C","t":"2026-03-17T14:31:00.25Z"}]"#,
            "",
        ),
        (
            MarketEvent::Imbalance(Box::new(Imbalance {
                symbol: "PEP".into(),
                price: decimal("151.02"),
                tape: "C".into(),
                timestamp: time("2026-03-17T14:33:12.081Z"),
            })),
            r#"[{"T":"i","S":"PEP","p":151.02,"z":"C","t":"2026-03-17T14:33:12.081Z"}]"#,
            "",
        ),
        (
            MarketEvent::Cancel(Box::new(TradeCancel {
                symbol: "KO".into(),
                id: Some(71_204),
                exchange: "P".into(),
                price: decimal("61.275"),
                size: decimal("40"),
                action: "E".into(),
                tape: "A".into(),
                timestamp: time("2026-03-17T14:32:40.9Z"),
            })),
            r#"[{"T":"x","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"a":"E","z":"A","t":"2026-03-17T14:32:40.9Z"}]"#,
            "",
        ),
        (
            MarketEvent::Correction(Box::new(TradeCorrection {
                symbol: "KO".into(),
                exchange: "P".into(),
                original_id: Some(71_204),
                original_price: decimal("61.275"),
                original_size: decimal("40"),
                original_conditions: conditions(&["@", "I"]),
                corrected_id: Some(71_388),
                corrected_price: decimal("61.27"),
                corrected_size: decimal("40"),
                corrected_conditions: conditions(&["@", "I"]),
                tape: "A".into(),
                timestamp: time("2026-03-17T14:33:02.000001Z"),
            })),
            r#"[{"T":"c","S":"KO","x":"P","oi":71204,"op":61.275,"os":40,"oc":["@","I"],"ci":71388,"cp":61.27,"cs":40,"cc":["@","I"],"z":"A","t":"2026-03-17T14:33:02.000001Z"}]"#,
            "",
        ),
        (
            MarketEvent::Trade(Trade {
                symbol: "ETH/USD".into(),
                id: Some(9_007_199_254_740_995),
                exchange: Code::default(),
                price: decimal("2310.55"),
                size: decimal("0.0142"),
                taker_side: "S".into(),
                conditions: Conditions::default(),
                tape: Code::default(),
                timestamp: time("2026-03-17T14:30:05.1Z"),
                ..trade()
            }),
            r#"[{"T":"t","S":"ETH/USD","p":2310.55,"s":0.0142,"t":"2026-03-17T14:30:05.1Z","i":9007199254740995,"tks":"S"}]"#,
            "91 87 a154 a174 a153 a74554482f555344 a169 cf0020000000000003 a170 cb40a20d199999999a
             a173 cb3f8d14e3bcd35a86 a3746b73 a153 a174 d7ff17d7840069b9656d",
        ),
        (
            MarketEvent::Quote(Quote {
                symbol: "ETH/USD".into(),
                bid_exchange: Code::default(),
                bid_price: decimal("2310.1"),
                bid_size: decimal("4.2"),
                ask_exchange: Code::default(),
                ask_price: decimal("2310.9"),
                ask_size: decimal("7.03125"),
                conditions: Conditions::default(),
                tape: Code::default(),
                timestamp: time("2026-03-17T14:30:05.2Z"),
                ..stock_quote()
            }),
            r#"[{"T":"q","S":"ETH/USD","bp":2310.1,"bs":4.2,"ap":2310.9,"as":7.03125,"t":"2026-03-17T14:30:05.2Z"}]"#,
            "",
        ),
        (
            MarketEvent::OrderBook(Box::new(book(true, &[("2310.1", "4.2")], &[("2310.9", "7.03125")]))),
            r#"[{"T":"o","S":"ETH/USD","t":"2026-03-17T14:30:05.3Z","b":[{"p":2310.1,"s":4.2}],"a":[{"p":2310.9,"s":7.03125}],"r":true}]"#,
            "91 86 a154 a16f a153 a74554482f555344 a174 d7ff47868c0069b9656d
             a162 91 82 a170 cb40a20c3333333333 a173 cb4010cccccccccccd
             a161 91 82 a170 cb40a20dcccccccccd a173 cb401c200000000000 a172 c3",
        ),
        (
            MarketEvent::OrderBook(Box::new(book(false, &[("2310.1", "0")], &[]))),
            r#"[{"T":"o","S":"ETH/USD","t":"2026-03-17T14:30:05.3Z","b":[{"p":2310.1,"s":0}],"a":[]}]"#,
            "",
        ),
        (
            MarketEvent::Pricing(Box::new(PerpetualPricing {
                symbol: "ETH-PERP".into(),
                index_price: Some(decimal("2310.55")),
                mark_price: Some(decimal("2311")),
                funding_rate: Some(decimal("-0.0001")),
                open_interest: Some(decimal("120.5")),
                next_funding: Some(time("2026-03-17T16:00:00Z")),
                exchange: Code::default(),
                timestamp: time("2026-03-17T14:30:05.1Z"),
            })),
            r#"[{"T":"p","S":"ETH-PERP","t":"2026-03-17T14:30:05.1Z","ip":2310.55,"mp":2311,"fr":-0.0001,"oi":120.5,"ft":"2026-03-17T16:00:00Z"}]"#,
            "",
        ),
        (
            MarketEvent::News(Box::new(News {
                id: Some(40_100_123),
                headline: "Bottler lifts outlook".into(),
                summary: "".into(),
                author: "Desk".into(),
                created_at: time("2026-03-17T14:30:00Z"),
                updated_at: Some(time("2026-03-17T14:30:01Z")),
                url: "https://example.com/a".into(),
                content: "<p>A &amp; B</p>".into(),
                symbols: ["KO".into(), "PEP".into()].into(),
                source: "benzinga".into(),
            })),
            r#"[{"T":"n","id":40100123,"headline":"Bottler lifts outlook","summary":"","author":"Desk","created_at":"2026-03-17T14:30:00Z","updated_at":"2026-03-17T14:30:01Z","url":"https://example.com/a","content":"\u003cp\u003eA \u0026amp; B\u003c/p\u003e","symbols":["KO","PEP"],"source":"benzinga"}]"#,
            "",
        ),
    ]
}

fn trade() -> Trade {
    Trade {
        symbol: "KO".into(),
        id: Some(71_204),
        exchange: "P".into(),
        price: decimal("61.275"),
        size: decimal("40"),
        taker_side: Code::default(),
        conditions: conditions(&["@", "I"]),
        tape: "A".into(),
        update: Code::default(),
        timestamp: time("2026-03-17T14:30:05.12Z"),
    }
}

fn stock_quote() -> Quote {
    Quote {
        symbol: "PEP".into(),
        bid_exchange: "V".into(),
        bid_price: decimal("152.1"),
        bid_size: decimal("2"),
        ask_exchange: "Q".into(),
        ask_price: decimal("152.14"),
        ask_size: decimal("1"),
        exchange: Code::default(),
        conditions: conditions(&["R"]),
        tape: "C".into(),
        timestamp: time("2026-03-17T14:30:05.123456789Z"),
    }
}

fn book(reset: bool, bids: &[(&str, &str)], asks: &[(&str, &str)]) -> OrderBookUpdate {
    let levels = |side: &[(&str, &str)]| {
        let levels = side.iter().map(|(price, size)| PriceLevel {
            price: decimal(price),
            size: decimal(size),
        });
        levels.collect()
    };
    OrderBookUpdate {
        symbol: "ETH/USD".into(),
        reset,
        bids: levels(bids),
        asks: levels(asks),
        exchange: Code::default(),
        timestamp: time("2026-03-17T14:30:05.3Z"),
    }
}

fn decimal(text: &str) -> rust_decimal::Decimal {
    text.parse().unwrap()
}

fn time(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn conditions(codes: &[&str]) -> Conditions {
    codes.iter().collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.bytes().filter(u8::is_ascii_hexdigit).collect();
    let pairs = digits.chunks(2);
    pairs
        .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
        .collect()
}

/// A connection in each codec to the path of a market, subscribed to everything.
fn subscribed(path: &str, channels: &[Channel]) -> Scenario {
    let lists: Vec<_> = channels
        .iter()
        .map(|channel| format!(r#""{}":["*"]"#, channel.name()))
        .collect();
    let request = format!(r#"{{"action":"subscribe",{}}}"#, lists.join(","));
    let mut scenario = Scenario::new(|config| config.rate = 0);
    scenario.open(ONE, path);
    scenario.say(ONE, AUTH);
    assert!(scenario.error(ONE, &request).contains("subscription"));
    scenario.open_msgpack(TWO, path);
    scenario.say_msgpack(TWO, &AUTH.replace("ONE", "TWO"));
    assert_eq!(scenario.say_msgpack(TWO, &request).len(), 1);
    scenario
}

#[test]
fn every_kind_stands_on_the_wire_as_the_reference_has_it() {
    for (event, json, msgpack) in literals() {
        let path = match Market::of(&event) {
            Market::Stocks => SIP,
            Market::Crypto => "/v1beta3/crypto/us",
            Market::Perpetuals => "/v1beta1/crypto-perps/global",
            Market::News => "/v1beta1/news",
            Market::Options | Market::Orders => panic!("{event}"),
        };
        let mut scenario = subscribed(path, Path::of(path).unwrap().channels());
        let sent = scenario.control(Control::Push(Box::new(event.clone())));
        let [
            Effect::Send {
                to: ONE,
                message: Message::Text(text),
            },
            Effect::Send {
                to: TWO,
                message: Message::Binary(binary),
            },
        ] = &sent[..]
        else {
            panic!("{event}: {sent:?}")
        };
        let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).unwrap();
        assert_eq!(value(text), value(json));
        assert!(text.starts_with(&json[..8]), "`T` is in front: {text}");
        if msgpack.is_empty() {
            // Whatever the codec, the keys are the same, and `T` is the first of them.
            assert_eq!(binary[2..5], [0xa1, b'T', 0xa1], "{event}");
            assert_eq!(
                usize::from(binary[1] & 0x0f),
                value(json)[0].as_object().unwrap().len()
            );
        } else {
            assert_eq!(*binary, bytes(msgpack), "{event}");
        }
    }
}

#[test]
fn options_stand_on_the_wire_as_the_reference_has_them() {
    let path = "/v1beta1/opra";
    let contract = "MSFT260619C00450000";
    let mut scenario = Scenario::new(|config| config.rate = 0);
    scenario.open_msgpack(ONE, path);
    scenario.say_msgpack(ONE, AUTH);
    let request = format!(r#"{{"action":"subscribe","trades":["*"],"quotes":["{contract}"]}}"#);
    scenario.say_msgpack(ONE, &request);
    let option_trade = Trade {
        symbol: contract.into(),
        id: None,
        exchange: "N".into(),
        price: decimal("12.35"),
        size: decimal("3"),
        conditions: conditions(&["g"]),
        tape: Code::default(),
        timestamp: time("2026-03-17T14:30:05.123456Z"),
        ..trade()
    };
    let option_quote = Quote {
        symbol: contract.into(),
        conditions: conditions(&["A"]),
        tape: Code::default(),
        ..stock_quote()
    };
    for (event, hex) in [
        (
            MarketEvent::Trade(option_trade),
            "91 87 a154 a174 a153 b34d534654323630363139433030343530303030 a174 d7ff1d6f280069b9656d
             a170 cb4028b33333333333 a173 03 a178 a14e a163 a167",
        ),
        (
            MarketEvent::Quote(option_quote),
            "91 8a a154 a171 a153 b34d534654323630363139433030343530303030 a174 d7ff1d6f345469b9656d
             a26278 a156 a26270 cb4063033333333333 a26273 02 a26178 a151 a26170 cb4063047ae147ae14 a26173 01
             a163 a141",
        ),
    ] {
        scenario
            .exchange
            .control(scenario.at, Control::Push(Box::new(event)));
        assert_eq!(scenario.binaries(ONE), [bytes(hex)]);
    }
}

#[test]
fn control_messages_stand_on_the_wire_as_the_reference_has_them() {
    let mut scenario = Scenario::new(|config| config.rate = 0);
    let welcome = "9182a154a773756363657373a36d7367a9636f6e6e6563746564";
    assert_eq!(scenario.open_msgpack(ONE, IEX), [bytes(welcome)]);
    let login = "83a6616374696f6ea461757468a36b6579a3504b31a6736563726574a27333";
    scenario.exchange.received(scenario.at, ONE, &bytes(login));
    assert_eq!(scenario.binaries(ONE).len(), 1);
    let before_login = scenario.open_msgpack(TWO, IEX).len();
    assert_eq!(before_login, 1);
    // [{"T":"error","code":401,"msg":"not authenticated"}]
    let error =
        "91 83 a154 a56572726f72 a4636f6465 cd0191 a36d7367 b16e6f742061757468656e74696361746564";
    assert_eq!(
        scenario.say_msgpack(TWO, r#"{"action":"subscribe"}"#),
        [bytes(error)]
    );
    let reply = r#"[{"T":"subscription","trades":["KO"],"quotes":["KO","PEP"],"bars":["*"],"updatedBars":[],"dailyBars":[],"statuses":[],"lulds":[],"imbalances":[],"corrections":["KO"],"cancelErrors":["KO"]}]"#;
    let request =
        r#"{"action":"subscribe","trades":["KO"],"quotes":["KO","PEP"],"bars":["*"],"news":null}"#;
    let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
    assert_eq!(scenario.say(ONE, request), [reply]);
}
