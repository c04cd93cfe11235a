//! Each kind of message, with every field: the literal JSON, and the same in every style of MessagePack, against one
//! value; and what our server writes of that value against both.

use super::{
    pack::{Style, pack},
    *,
};
use crate::{
    alpaca::{CryptoFeed, DataFeed, Feed, OptionFeed},
    market::{
        Imbalance, LuldBand, News, OrderBookUpdate, PerpetualPricing, PriceLevel, Quote, Trade,
        TradeCancel, TradeCorrection, TradingStatus,
    },
};

const STOCKS: DataFeed = DataFeed::Stocks(Feed::Sip);
const CRYPTO: DataFeed = DataFeed::Crypto(CryptoFeed::Us);
const OPTIONS: DataFeed = DataFeed::Options(OptionFeed::Opra);

/// `frame` reads as `event` and is written as it stands.
fn check(feed: DataFeed, frame: &str, event: MarketEvent) {
    check_reading(frame, &event);
    for (codec, expected) in [
        (Codec::Json, frame.as_bytes().to_vec()),
        (Codec::MessagePack, pack(frame, Style::Short)),
    ] {
        let item = server::event(&event, feed, codec);
        let written = server::frame(&[item], codec);
        assert_eq!(
            written.escape_ascii().to_string(),
            expected.escape_ascii().to_string(),
            "{frame}"
        );
    }
}

fn check_reading(frame: &str, event: &MarketEvent) {
    let expected = [Ok(Incoming::Event(event.clone(), OddFields::default()))];
    assert_eq!(all(frame.as_bytes(), Codec::Json), expected, "{frame}");
    for style in Style::ALL {
        let packed = pack(frame, style);
        assert_eq!(
            all(&packed, Codec::MessagePack),
            expected,
            "{style:?} {frame}"
        );
    }
}

#[test]
fn trades_of_stocks_crypto_and_options() {
    let stock = Trade {
        symbol: "KO".into(),
        id: Some(71_204),
        exchange: "P".into(),
        price: decimal("61.275"),
        size: decimal("40"),
        taker_side: Code::default(),
        conditions: ["@", "I", " "].iter().collect(),
        tape: "A".into(),
        update: Code::default(),
        timestamp: time("2026-03-17T14:30:05.12Z"),
    };
    check(
        STOCKS,
        r#"[{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"," "],"z":"A","t":"2026-03-17T14:30:05.12Z"}]"#,
        MarketEvent::Trade(stock.clone()),
    );
    check(
        STOCKS,
        r#"[{"T":"t","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"c":["@","I"," "],"z":"A","u":"canceled","t":"2026-03-17T14:30:05.12Z"}]"#,
        MarketEvent::Trade(Trade {
            update: "canceled".into(),
            ..stock
        }),
    );
    check(
        CRYPTO,
        r#"[{"T":"t","S":"ETH/USD","i":9007199254740995,"p":2310.55,"s":0.0142,"tks":"S","t":"2026-03-17T14:30:05.1Z"}]"#,
        MarketEvent::Trade(Trade {
            symbol: "ETH/USD".into(),
            id: Some(9_007_199_254_740_995),
            exchange: Code::default(),
            price: decimal("2310.55"),
            size: decimal("0.0142"),
            taker_side: "S".into(),
            conditions: Conditions::default(),
            tape: Code::default(),
            update: Code::default(),
            timestamp: time("2026-03-17T14:30:05.1Z"),
        }),
    );
    check(
        OPTIONS,
        r#"[{"T":"t","S":"MSFT260619C00450000","t":"2026-03-17T14:30:05.123456Z","p":12.35,"s":3,"x":"N","c":"g"}]"#,
        MarketEvent::Trade(Trade {
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
        }),
    );
}

#[test]
fn quotes_of_stocks_crypto_and_options() {
    check(
        STOCKS,
        r#"[{"T":"q","S":"PEP","bx":"V","bp":152.1,"bs":2,"ax":"Q","ap":152.14,"as":1,"c":["R"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}]"#,
        MarketEvent::Quote(Quote {
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
        }),
    );
    check(
        CRYPTO,
        r#"[{"T":"q","S":"ETH/USD","bp":2310.1,"bs":4.2,"ap":2310.9,"as":7.03125,"x":"CBSE","t":"2026-03-17T14:30:05.2Z"}]"#,
        MarketEvent::Quote(Quote {
            symbol: "ETH/USD".into(),
            bid_exchange: Code::default(),
            bid_price: decimal("2310.1"),
            bid_size: decimal("4.2"),
            ask_exchange: Code::default(),
            ask_price: decimal("2310.9"),
            ask_size: decimal("7.03125"),
            exchange: "CBSE".into(),
            conditions: Conditions::default(),
            tape: Code::default(),
            timestamp: time("2026-03-17T14:30:05.2Z"),
        }),
    );
    check(
        OPTIONS,
        r#"[{"T":"q","S":"MSFT260619C00450000","t":"2026-03-17T14:30:05.5Z","bx":"C","bp":12.3,"bs":11,"ax":"N","ap":12.45,"as":201,"c":"A"}]"#,
        MarketEvent::Quote(Quote {
            symbol: "MSFT260619C00450000".into(),
            bid_exchange: "C".into(),
            bid_price: decimal("12.3"),
            bid_size: decimal("11"),
            ask_exchange: "N".into(),
            ask_price: decimal("12.45"),
            ask_size: decimal("201"),
            exchange: Code::default(),
            conditions: ["A"].iter().collect(),
            tape: Code::default(),
            timestamp: time("2026-03-17T14:30:05.5Z"),
        }),
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
        let stock = Bar {
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
        check(STOCKS, &frame, MarketEvent::Bar(stock));
        let frame = format!(
            r#"[{{"T":"{kind}","S":"ETH/USD","o":2309.5,"h":2311.2,"l":2308.75,"c":2310.55,"v":3.7714,"n":12,"vw":2310.0144829,"x":"CBSE","t":"2026-03-17T14:30:00Z"}}]"#
        );
        let crypto = Bar {
            symbol: "ETH/USD".into(),
            interval,
            open: decimal("2309.5"),
            high: decimal("2311.2"),
            low: decimal("2308.75"),
            close: decimal("2310.55"),
            volume: decimal("3.7714"),
            trade_count: Some(12),
            vwap: Some(decimal("2310.0144829")),
            exchange: "CBSE".into(),
            timestamp: time("2026-03-17T14:30:00Z"),
        };
        check(CRYPTO, &frame, MarketEvent::Bar(crypto));
    }
    // Captures of old servers lack two keys.
    let old = Bar {
        symbol: "KO".into(),
        interval: Interval::Minute,
        open: decimal("1"),
        high: decimal("4"),
        low: decimal("2"),
        close: decimal("3"),
        volume: decimal("5"),
        trade_count: None,
        vwap: None,
        exchange: Code::default(),
        timestamp: time("2026-03-17T14:30:00Z"),
    };
    for rest in ["", r#","n":null,"vw":null"#] {
        let frame = format!(
            r#"[{{"T":"b","S":"KO","o":1,"h":4,"l":2,"c":3,"v":5{rest},"t":"2026-03-17T14:30:00Z"}}]"#
        );
        check_reading(&frame, &MarketEvent::Bar(old.clone()));
    }
}

#[test]
fn corrections_and_cancels() {
    check(
        STOCKS,
        r#"[{"T":"c","S":"KO","x":"P","oi":71204,"op":61.275,"os":40,"oc":["@","I"],"ci":71388,"cp":61.27,"cs":41,"cc":["@"],"z":"A","t":"2026-03-17T14:33:02.000001Z"}]"#,
        MarketEvent::Correction(Box::new(TradeCorrection {
            symbol: "KO".into(),
            exchange: "P".into(),
            original_id: Some(71_204),
            original_price: decimal("61.275"),
            original_size: decimal("40"),
            original_conditions: ["@", "I"].iter().collect(),
            corrected_id: Some(71_388),
            corrected_price: decimal("61.27"),
            corrected_size: decimal("41"),
            corrected_conditions: ["@"].iter().collect(),
            tape: "A".into(),
            timestamp: time("2026-03-17T14:33:02.000001Z"),
        })),
    );
    check(
        STOCKS,
        r#"[{"T":"x","S":"KO","i":71204,"x":"P","p":61.275,"s":40,"a":"E","z":"A","t":"2026-03-17T14:32:40.9Z"}]"#,
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
    );
}

#[test]
fn statuses_bands_and_imbalances() {
    check(
        STOCKS,
        r#"[{"T":"s","S":"PEP","sc":"H","sm":"Trading Halt","rc":"T1","rm":"Halt News Pending","z":"C","t":"2026-03-17T14:35:00.5Z"}]"#,
        MarketEvent::Status(Box::new(TradingStatus {
            symbol: "PEP".into(),
            status_code: "H".into(),
            status_message: "Trading Halt".into(),
            reason_code: "T1".into(),
            reason_message: "Halt News Pending".into(),
            tape: "C".into(),
            timestamp: time("2026-03-17T14:35:00.5Z"),
        })),
    );
    check(
        STOCKS,
        r#"[{"T":"l","S":"PEP","u":159.71,"d":144.5,"i":"B","z":"C","t":"2026-03-17T14:31:00.25Z"}]"#,
        MarketEvent::Luld(Box::new(LuldBand {
            symbol: "PEP".into(),
            limit_up: decimal("159.71"),
            limit_down: decimal("144.5"),
            indicator: "B".into(),
            tape: "C".into(),
            timestamp: time("2026-03-17T14:31:00.25Z"),
        })),
    );
    check(
        STOCKS,
        r#"[{"T":"i","S":"PEP","p":151.02,"z":"C","t":"2026-03-17T14:33:12.081Z"}]"#,
        MarketEvent::Imbalance(Box::new(Imbalance {
            symbol: "PEP".into(),
            price: decimal("151.02"),
            tape: "C".into(),
            timestamp: time("2026-03-17T14:33:12.081Z"),
        })),
    );
}

#[test]
fn order_books() {
    let level = |price, size| PriceLevel {
        price: decimal(price),
        size: decimal(size),
    };
    let whole = OrderBookUpdate {
        symbol: "ETH/USD".into(),
        reset: true,
        bids: [level("2310.1", "4.2"), level("2310.05", "0.5")].into(),
        asks: [level("2310.9", "7.03125")].into(),
        exchange: "CBSE".into(),
        timestamp: time("2026-03-17T14:30:05.3Z"),
    };
    check(
        CRYPTO,
        r#"[{"T":"o","S":"ETH/USD","x":"CBSE","t":"2026-03-17T14:30:05.3Z","b":[{"p":2310.1,"s":4.2},{"p":2310.05,"s":0.5}],"a":[{"p":2310.9,"s":7.03125}],"r":true}]"#,
        MarketEvent::OrderBook(Box::new(whole)),
    );
    // A size of zero takes a level away; a side, or `r`, may be empty, null, false or missing.
    let change = OrderBookUpdate {
        symbol: "ETH/USD".into(),
        reset: false,
        bids: [level("2310.1", "0")].into(),
        asks: [].into(),
        exchange: Code::default(),
        timestamp: time("2026-03-17T14:30:05.9Z"),
    };
    for rest in ["", r#","a":[]"#, r#","a":null,"r":null"#, r#","r":false"#] {
        let frame = format!(
            r#"[{{"T":"o","S":"ETH/USD","t":"2026-03-17T14:30:05.9Z","b":[{{"p":2310.1,"s":0}}]{rest}}}]"#
        );
        check_reading(&frame, &MarketEvent::OrderBook(Box::new(change.clone())));
    }
}

#[test]
fn pricing_of_perpetuals() {
    let pricing = PerpetualPricing {
        symbol: "ETH-PERP".into(),
        index_price: Some(decimal("2310.5")),
        mark_price: Some(decimal("2310.75")),
        funding_rate: Some(decimal("-0.0000125")),
        open_interest: Some(decimal("1234.5")),
        next_funding: Some(time("2026-03-17T16:00:00Z")),
        exchange: "GLOBAL".into(),
        timestamp: time("2026-03-17T14:30:05.3Z"),
    };
    check(
        DataFeed::Perpetuals,
        r#"[{"T":"p","S":"ETH-PERP","ip":2310.5,"mp":2310.75,"fr":-0.0000125,"oi":1234.5,"ft":"2026-03-17T16:00:00Z","x":"GLOBAL","t":"2026-03-17T14:30:05.3Z"}]"#,
        MarketEvent::Pricing(Box::new(pricing.clone())),
    );
    let little = PerpetualPricing {
        index_price: None,
        funding_rate: None,
        open_interest: None,
        next_funding: None,
        exchange: Code::default(),
        ..pricing
    };
    for rest in [
        "",
        r#","ip":null,"ft":null"#,
        r#","ft":"""#,
        r#","ft":"0001-01-01T00:00:00Z""#,
    ] {
        let frame = format!(
            r#"[{{"T":"p","S":"ETH-PERP","mp":2310.75{rest},"t":"2026-03-17T14:30:05.3Z"}}]"#
        );
        check_reading(&frame, &MarketEvent::Pricing(Box::new(little.clone())));
    }
}

#[test]
fn news() {
    let content = format!("<p>{}</p>", "A & B, “C”. ".repeat(600));
    let article = News {
        id: Some(40_100_123),
        headline: "Bottler lifts outlook".into(),
        summary: "".into(),
        author: "Desk".into(),
        created_at: time("2026-03-17T14:30:00Z"),
        updated_at: Some(time("2026-03-17T14:30:01Z")),
        url: "https://example.com/a".into(),
        content: content.as_str().into(),
        symbols: ["KO".into(), "PEP".into()].into(),
        source: "benzinga".into(),
    };
    let frame = format!(
        r#"[{{"T":"n","id":40100123,"headline":"Bottler lifts outlook","summary":"","author":"Desk","created_at":"2026-03-17T14:30:00Z","updated_at":"2026-03-17T14:30:01Z","url":"https://example.com/a","content":"{content}","symbols":["KO","PEP"],"source":"benzinga"}}]"#
    );
    check(DataFeed::News, &frame, MarketEvent::News(Box::new(article)));
}

#[test]
fn answers_of_the_server() {
    let check = |frame: &str, incoming: Incoming, written: &dyn Fn(Codec) -> Vec<u8>| {
        let expected = [Ok(incoming)];
        assert_eq!(all(frame.as_bytes(), Codec::Json), expected, "{frame}");
        assert_eq!(written(Codec::Json), frame.as_bytes());
        for style in Style::ALL {
            assert_eq!(
                all(&pack(frame, style), Codec::MessagePack),
                expected,
                "{style:?} {frame}"
            );
        }
        assert_eq!(written(Codec::MessagePack), pack(frame, Style::Short));
    };
    check(
        r#"[{"T":"success","msg":"connected"}]"#,
        Incoming::Success("connected".to_owned()),
        &|codec| server::success("connected", codec),
    );
    check(
        r#"[{"T":"error","code":405,"msg":"symbol limit exceeded"}]"#,
        Incoming::Error {
            code: Some(405),
            message: "symbol limit exceeded".to_owned(),
        },
        &|codec| server::error(405, "symbol limit exceeded", codec),
    );
    let (coke, all_of_them) = ("KO".into(), "*".into());
    check(
        r#"[{"T":"subscription","trades":["KO"],"bars":["*"],"lulds":[],"corrections":["KO"],"cancelErrors":["KO"]}]"#,
        Incoming::Subscription(vec![Topic::new(TRADES, "KO"), Topic::new(BARS, "*")]),
        &|codec| {
            let state = [
                ("trades", Some(vec![&coke])),
                ("bars", Some(vec![&all_of_them])),
                ("lulds", Some(vec![])),
                ("corrections", Some(vec![&coke])),
                ("cancelErrors", Some(vec![&coke])),
            ];
            server::subscription(&state, codec)
        },
    );
    assert_eq!(
        server::success("connected", Codec::MessagePack),
        bytes("9182a154a773756363657373a36d7367a9636f6e6e6563746564")
    );
}

#[test]
fn requests_of_the_client() {
    use crate::alpaca::wire::server::{ClientMessage, RequestLists};
    let topics = [
        Topic::new(QUOTES, "KO"),
        Topic::new(QUOTES, "PEP"),
        Topic::new(DAILY_BARS, "*"),
    ];
    let request = SubscriptionRequest {
        action: "subscribe",
        topics: &topics,
    };
    // What is not meant is not named.
    let json = r#"{"action":"subscribe","quotes":["KO","PEP"],"dailyBars":["*"]}"#;
    let packed = bytes(
        "83 a6 616374696f6e a9 737562736372696265 a6 71756f746573 92 a2 4b4f a3 504550
         a9 6461696c7942617273 91 a1 2a",
    );
    assert_eq!(request.encode(Codec::Json), Message::Text(json.to_owned()));
    assert_eq!(
        request.encode(Codec::MessagePack),
        Message::Binary(packed.clone())
    );
    let lists = [
        ("quotes".to_owned(), vec!["KO".into(), "PEP".into()]),
        ("dailyBars".to_owned(), vec!["*".into()]),
    ];
    let read = Some(ClientMessage::Subscribe(RequestLists(lists.into())));
    assert_eq!(ClientMessage::decode(json.as_bytes(), Codec::Json), read);
    assert_eq!(ClientMessage::decode(&packed, Codec::MessagePack), read);
    // Alpaca's Go SDK names every channel, most with nil.
    let json =
        r#"{"action":"subscribe","trades":null,"bars":[],"quotes":["KO","PEP"],"dailyBars":["*"]}"#;
    for style in Style::ALL {
        assert_eq!(
            ClientMessage::decode(&pack(json, style), Codec::MessagePack),
            read
        );
    }
}

#[test]
fn every_channel_can_be_asked_for_and_is_read_in_the_state() {
    for channel in [
        "trades",
        "quotes",
        "bars",
        "updatedBars",
        "dailyBars",
        "statuses",
        "lulds",
        "imbalances",
        "orderbooks",
        "pricing",
        "news",
    ] {
        let state = format!(r#"[{{"T":"subscription","{channel}":["X"]}}]"#);
        let [Ok(Incoming::Subscription(topics))] = &all(state.as_bytes(), Codec::Json)[..] else {
            panic!("{channel}")
        };
        assert_eq!(topics.len(), 1);
        assert_eq!(topics[0].channel.name(), channel);
        let request = SubscriptionRequest {
            action: "unsubscribe",
            topics,
        };
        assert_eq!(
            request.encode(Codec::Json),
            Message::Text(format!(r#"{{"action":"unsubscribe","{channel}":["X"]}}"#))
        );
    }
}

/// What bounds a state is the size of a frame, and not how many topics are in it, in all or in one list.
#[test]
fn a_state_lists_as_many_topics_as_fit_into_a_frame() {
    let symbols: Vec<Symbol> = (0..70_000)
        .map(|number| format!("S{number}").into())
        .collect();
    let list = || Some(symbols.iter().collect());
    let state = [("trades", list()), ("quotes", list())];
    let topics = [TRADES, QUOTES].into_iter().flat_map(|channel| {
        let symbols = symbols.iter();
        symbols.map(move |symbol| Topic::new(channel, symbol))
    });
    let topics: Vec<Topic> = topics.collect();
    for codec in [Codec::Json, Codec::MessagePack] {
        let items = all(&server::subscription(&state, codec), codec);
        let [Ok(Incoming::Subscription(read))] = &items[..] else {
            panic!("{codec}: {} items", items.len());
        };
        assert!(*read == topics, "{codec}: {} topics", read.len());
    }
    assert!(
        matches!(
            &decode_all(r#"[{"T":"subscription","trades":["KO",7]}]"#)[..],
            [Err(_)]
        ),
        "a state that cannot be read whole would take topics away"
    );
}
