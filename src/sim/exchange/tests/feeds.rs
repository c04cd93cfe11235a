//! What is served where: channels, codecs, plans, and the quirks of each feed.

use super::*;
use crate::{
    event::OddFields,
    market::{News, OrderBookUpdate},
};

const CRYPTO: &str = "/v1beta3/crypto/us";
const OPTIONS: &str = "/v1beta1/opra";
const NEWS: &str = "/v1beta1/news";

impl Scenario {
    fn live_at(mut self, id: ConnectionId, path: &str) -> Self {
        self.open(id, path);
        assert_eq!(self.say(id, AUTH), [server::success("authenticated")]);
        self
    }
}

fn quiet() -> Scenario {
    Scenario::new(|config| config.rate = 0)
}

fn push(scenario: &mut Scenario, event: MarketEvent) -> Vec<Effect> {
    scenario.control(Control::Push(Box::new(event)))
}

fn news(symbols: &[&str]) -> MarketEvent {
    let now = Timestamp::from_nanos(0);
    MarketEvent::News(Box::new(News {
        id: Some(1),
        headline: "".into(),
        summary: "".into(),
        author: "".into(),
        created_at: now,
        updated_at: Some(now),
        url: "".into(),
        content: "".into(),
        symbols: symbols.iter().copied().map(Symbol::from).collect(),
        source: "".into(),
    }))
}

fn book(symbol: &str) -> MarketEvent {
    MarketEvent::OrderBook(Box::new(OrderBookUpdate {
        symbol: symbol.into(),
        reset: false,
        bids: [].into(),
        asks: [].into(),
        exchange: "".into(),
        timestamp: Timestamp::from_nanos(0),
    }))
}

#[test]
fn each_feed_lists_its_own_channels_and_refuses_the_others() {
    for (path, request, reply) in [
        (
            "/v2/delayed_sip",
            r#"{"action":"subscribe","imbalances":["*"],"trades":["KO"],"orderbooks":[]}"#,
            r#"[{"T":"subscription","trades":["KO"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"lulds":[],"imbalances":["*"],"corrections":["KO"],"cancelErrors":["KO"]}]"#,
        ),
        (
            CRYPTO,
            r#"{"action":"subscribe","trades":["BTC/USD"],"orderbooks":["*"]}"#,
            r#"[{"T":"subscription","trades":["BTC/USD"],"quotes":[],"orderbooks":["*"],"bars":[],"updatedBars":[],"dailyBars":[]}]"#,
        ),
        (
            "/v1beta1/crypto-perps/global",
            r#"{"action":"subscribe","pricing":["ETH-PERP"]}"#,
            r#"[{"T":"subscription","trades":[],"quotes":[],"orderbooks":[],"bars":[],"updatedBars":[],"dailyBars":[],"pricing":["ETH-PERP"]}]"#,
        ),
        (
            NEWS,
            r#"{"action":"subscribe","news":["*"]}"#,
            r#"[{"T":"subscription","news":["*"]}]"#,
        ),
    ] {
        let mut scenario = quiet().live_at(ONE, path);
        assert_eq!(scenario.say(ONE, request), [reply]);
        let foreign = if path == NEWS { "trades" } else { "news" };
        let request = format!(r#"{{"action":"subscribe","{foreign}":["KO"]}}"#);
        let refusal = server::error(410, "invalid subscribe action for this feed");
        assert_eq!(scenario.say(ONE, &request), [refusal]);
        for automatic in ["corrections", "cancelErrors"] {
            let request = format!(r#"{{"action":"subscribe","{automatic}":["KO"]}}"#);
            assert!(scenario.error(ONE, &request).contains("410"));
        }
    }
}

#[test]
fn options_speak_messagepack_alone() {
    let refusal = server::error(412, "option messages are only available in MsgPack format");
    let mut scenario = quiet();
    // The welcome is for everybody.
    assert_eq!(scenario.open(ONE, OPTIONS), [server::success("connected")]);
    for _ in 0..2 {
        assert_eq!(scenario.error(ONE, AUTH), refusal);
    }
    let mut by_headers = arrival(OPTIONS, Codec::Json);
    by_headers.login = Some(login());
    scenario.exchange.opened(scenario.at, TWO, by_headers);
    assert_eq!(scenario.texts(TWO)[1..], [refusal]);
}

#[test]
fn all_quotes_of_all_options_cannot_be_had_and_nothing_of_such_a_request_is_done() {
    let mut scenario = quiet();
    scenario.open_msgpack(ONE, OPTIONS);
    scenario.say_msgpack(ONE, AUTH);
    let text = |frames: Vec<Vec<u8>>| String::from_utf8_lossy(&frames[0]).into_owned();
    let star = r#"{"action":"subscribe","trades":["*"],"quotes":["*"]}"#;
    let refused = text(scenario.say_msgpack(ONE, star));
    assert!(refused.contains("star subscription is not allowed for option quotes"));
    let state = scenario.say_msgpack(ONE, r#"{"action":"subscribe"}"#);
    // T, trades, quotes: both lists are empty.
    assert_eq!(
        state,
        [b"\x91\x83\xa1T\xacsubscription\xa6trades\x90\xa6quotes\x90".to_vec()]
    );
    let trades = text(scenario.say_msgpack(ONE, r#"{"action":"subscribe","trades":["*"]}"#));
    assert!(trades.contains("subscription"));
    let unsubscribe = r#"{"action":"unsubscribe","quotes":["*"]}"#;
    assert!(text(scenario.say_msgpack(ONE, unsubscribe)).contains("subscription"));
}

#[test]
fn a_message_is_read_by_its_connections_codec() {
    let mut scenario = quiet();
    scenario.open_msgpack(ONE, IEX);
    scenario
        .exchange
        .received(scenario.at, ONE, AUTH.as_bytes());
    let refused = scenario.binaries(ONE);
    assert!(String::from_utf8_lossy(&refused[0]).contains("invalid syntax"));
    // As the reference has it: {"action":"auth","key":"PK1","secret":"s3"}.
    let login = b"\x83\xa6action\xa4auth\xa3key\xa3PK1\xa6secret\xa2s3";
    scenario.exchange.received(scenario.at, ONE, login);
    let welcome = b"\x91\x82\xa1T\xa7success\xa3msg\xadauthenticated".to_vec();
    assert_eq!(scenario.binaries(ONE), [welcome]);
    // One event, two codecs.
    let mut scenario = scenario.live(TWO);
    let request = r#"{"action":"subscribe","quotes":["AAPL"],"trades":null}"#;
    scenario.say_msgpack(ONE, request);
    scenario.say(TWO, request);
    let effects = push(&mut scenario, quote("AAPL"));
    let (binary, text): (Vec<_>, Vec<_>) = effects
        .into_iter()
        .partition(|effect| matches!(effect, Effect::Send { to: ONE, .. }));
    let mut decoded = Vec::new();
    let Message::Binary(binary) = &sent(binary, ONE)[0] else {
        panic!()
    };
    wire::decode(binary, Codec::MessagePack, |item| {
        decoded.push(item.unwrap())
    });
    assert_eq!(
        decoded,
        [Incoming::Event(quote("AAPL"), OddFields::default())]
    );
    assert_eq!(events(&texts(text, TWO)), [quote("AAPL")]);
}

fn login() -> Login {
    Login {
        key: "PKONE".to_owned(),
        secret: "s1".to_owned(),
    }
}

#[test]
fn headers_log_in_without_a_message() {
    let only = Credentials::new("PKONE", "s1").unwrap();
    let mut scenario = Scenario::new(|config| config.accept = Accept::Only(only));
    let by_headers = |secret: &str| Arrival {
        login: Some(Login {
            secret: secret.to_owned(),
            ..login()
        }),
        ..arrival(IEX, Codec::Json)
    };
    let connected = server::success("connected");
    scenario.exchange.opened(scenario.at, ONE, by_headers("s1"));
    assert_eq!(
        scenario.texts(ONE),
        [connected.clone(), server::success("authenticated")]
    );
    assert_eq!(
        scenario.error(ONE, AUTH),
        server::error(403, "already authenticated")
    );
    // The slot is taken, and the second one may ask again.
    scenario.exchange.opened(scenario.at, TWO, by_headers("s1"));
    assert_eq!(
        scenario.texts(TWO),
        [
            connected.clone(),
            server::error(406, "connection limit exceeded")
        ]
    );
    let path = Path::of(IEX).unwrap();
    assert_eq!(scenario.exchange.rivals_at(path, &login(), TWO), [ONE]);
    scenario.exchange.gone(scenario.at, ONE);
    assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
    scenario
        .exchange
        .opened(scenario.at, 3, by_headers("wrong"));
    assert_eq!(
        scenario.texts(3),
        [connected, server::error(402, "auth failed")]
    );
}

#[test]
fn tokens_count_apart_although_they_share_a_key() {
    let oauth = |token: &str| format!(r#"{{"action":"auth","key":"oauth","secret":"{token}"}}"#);
    let mut scenario = quiet().opened(ONE).opened(TWO);
    assert!(scenario.error(ONE, &oauth("one")).contains("authenticated"));
    assert!(scenario.error(TWO, &oauth("two")).contains("authenticated"));
    let mut scenario = scenario.opened(3);
    assert!(scenario.error(3, &oauth("one")).contains("406"));
    assert_eq!(scenario.stats().most_open_per_key, 2);
}

#[test]
fn a_feed_outside_the_plan_is_refused_in_the_words_that_sdks_know() {
    let mut scenario = Scenario::new(|config| config.not_in_plan = vec![SIP.to_owned()]);
    scenario.open(ONE, SIP);
    assert_eq!(
        scenario.say(ONE, AUTH),
        [r#"[{"T":"error","code":409,"msg":"insufficient subscription"}]"#]
    );
    scenario.open(TWO, IEX);
    assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
    let stats = scenario.stats();
    assert_eq!((stats.auth_failures, stats.limit_errors), (0, 0));
}

#[test]
fn what_is_pushed_goes_where_it_belongs() {
    let all = r#"{"action":"subscribe","quotes":["*"]}"#;
    let mut scenario = quiet().live(ONE).live_at(TWO, CRYPTO);
    scenario.say(ONE, all);
    scenario.say(
        TWO,
        r#"{"action":"subscribe","quotes":["*"],"orderbooks":["BTC/USD"]}"#,
    );
    let mut scenario = scenario.live_at(3, NEWS);
    scenario.say(3, r#"{"action":"subscribe","news":["KO"]}"#);
    let to = |effects: Vec<Effect>| -> Vec<ConnectionId> {
        effects
            .into_iter()
            .map(|effect| match effect {
                Effect::Send { to, .. } => to,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    let contract = "MSFT260619C00450000";
    for (event, receivers) in [
        (quote("KO"), &[ONE][..]),
        (book("BTC/USD"), &[TWO]),
        (book("ETH/USD"), &[]),
        (news(&["PEP", "KO"]), &[3]),
        (news(&["PEP"]), &[]),
        (news(&[]), &[]),
    ] {
        assert_eq!(to(push(&mut scenario, event.clone())), receivers, "{event}");
    }
    let MarketEvent::Quote(stock) = quote("KO") else {
        panic!()
    };
    for (symbol, receivers) in [("BTC/USD", &[TWO][..]), (contract, &[]), ("BRK.B", &[ONE])] {
        let event = MarketEvent::Quote(crate::market::Quote {
            symbol: symbol.into(),
            ..stock.clone()
        });
        assert_eq!(to(push(&mut scenario, event)), receivers, "{symbol}");
    }
    // General news is for those who want all.
    scenario.say(3, r#"{"action":"subscribe","news":["*"]}"#);
    assert_eq!(to(push(&mut scenario, news(&[]))), [3]);
    assert_eq!(to(push(&mut scenario, news(&["KO"]))), [3], "once");
}

#[test]
fn a_subscriber_to_an_order_book_gets_the_whole_of_it_first() {
    let mut scenario = Scenario::new(|_| {}).live_at(ONE, CRYPTO);
    let books = |frames: &[String]| -> Vec<(String, bool)> {
        events(frames)
            .into_iter()
            .map(|event| match event {
                MarketEvent::OrderBook(book) => (book.symbol.to_string(), book.reset),
                other => panic!("{other}"),
            })
            .collect()
    };
    let one = r#"{"action":"subscribe","orderbooks":["ETH/USD"]}"#;
    let frames = scenario.say(ONE, one);
    assert!(frames[0].contains("subscription"));
    assert_eq!(books(&frames[1..]), [("ETH/USD".to_owned(), true)]);
    // Whoever has it gets no second one.
    assert_eq!(scenario.say(ONE, one).len(), 1);
    let frames = scenario.say(ONE, r#"{"action":"subscribe","orderbooks":["*"]}"#);
    assert_eq!(books(&frames[1..]).len(), 3);
    let later = texts(scenario.pass(Duration::from_secs(1)), ONE);
    let later = books(&later);
    assert!(!later.is_empty() && later.iter().all(|(_, reset)| !reset));
    // Without a market there is no book.
    let mut scenario = quiet().live_at(ONE, CRYPTO);
    assert_eq!(scenario.say(ONE, one).len(), 1);
}

#[test]
fn a_market_that_is_closed_ends_with_bars_while_the_others_go_on() {
    let mut scenario = Scenario::new(|_| {}).live(ONE).live_at(TWO, CRYPTO);
    let all = r#"{"action":"subscribe","quotes":["*"],"bars":["*"],"dailyBars":["*"]}"#;
    scenario.say(ONE, all);
    scenario.say(TWO, all);
    scenario.pass(Duration::from_secs(1));
    let last = events(&texts(scenario.control(Control::CloseMarket), ONE));
    assert!(
        last.len() > 6
            && last
                .iter()
                .all(|event| matches!(event, MarketEvent::Bar(_)))
    );
    assert_eq!(scenario.control(Control::CloseMarket), []);
    assert!(!texts(scenario.pass(Duration::from_secs(1)), TWO).is_empty());
    scenario.exchange.gone(scenario.at, TWO);
    assert_eq!(scenario.exchange.deadline(), None, "nothing will come");
    scenario.control(Control::OpenMarket);
    assert!(!texts(scenario.pass(Duration::from_secs(1)), ONE).is_empty());
}

#[test]
fn a_market_that_nobody_has_visited_costs_nothing() {
    let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
    let all = r#"{"action":"subscribe","trades":["*"],"quotes":["*"],"bars":["*"],"updatedBars":["*"],"dailyBars":["*"]}"#;
    scenario.say(ONE, all);
    scenario.pass(Duration::from_secs(1));
    assert_eq!(scenario.stats().messages_sent, 1_000);
    let mut scenario = scenario.live_at(TWO, CRYPTO);
    scenario.say(TWO, &all.replace('}', r#","orderbooks":["*"]}"#));
    scenario.pass(Duration::from_secs(1));
    // Three whole books, and both markets at the same pace.
    assert_eq!(scenario.stats().messages_sent, 3_003);
}

#[test]
fn replies_have_nil_lists_or_end_early_once() {
    let request = r#"{"action":"subscribe","bars":["KO"]}"#;
    let mut scenario = quiet().live_at(ONE, TEST);
    let whole = r#"[{"T":"subscription","trades":[],"quotes":[],"bars":["KO"]}]"#;
    for (fault, reply) in [
        (
            "nil-lists",
            r#"[{"T":"subscription","trades":null,"quotes":null,"bars":["KO"]}]"#,
        ),
        (
            "short-reply",
            r#"[{"T":"subscription","trades":[],"quotes":[]}]"#,
        ),
    ] {
        struck(&mut scenario, fault);
        assert_eq!(scenario.say(ONE, request), [reply]);
        assert_eq!(scenario.say(ONE, request), [whole]);
    }

    scenario.open_msgpack(TWO, TEST);
    scenario.say_msgpack(TWO, &AUTH.replace("ONE", "TWO"));
    struck(&mut scenario, "nil-lists");
    assert_eq!(
        scenario.say_msgpack(TWO, request),
        [b"\x91\x84\xa1T\xacsubscription\xa6trades\xc0\xa6quotes\xc0\xa4bars\x91\xa2KO".to_vec()]
    );
    // Four pairs are announced, and three are there.
    struck(&mut scenario, "short-reply");
    assert_eq!(
        scenario.say_msgpack(TWO, request),
        [b"\x91\x84\xa1T\xacsubscription\xa6trades\x90\xa6quotes\x90".to_vec()]
    );
}

#[test]
fn faults_in_messagepack_are_faults_there() {
    let mut scenario = quiet();
    scenario.open_msgpack(ONE, IEX);
    scenario.say_msgpack(ONE, AUTH);
    scenario.say_msgpack(ONE, r#"{"action":"subscribe","quotes":["AAPL"]}"#);
    let decoded = |frame: &[u8]| {
        let (mut good, mut odd) = (Vec::new(), Vec::new());
        wire::decode(frame, Codec::MessagePack, |item| match item {
            Ok(item) => good.push(item),
            Err(unparsed) => odd.push(unparsed.to_string()),
        });
        (good, odd)
    };
    let frames = |effects: Vec<Effect>| -> Vec<Vec<u8>> {
        sent(effects, ONE)
            .into_iter()
            .map(|message| match message {
                Message::Binary(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect()
    };
    struck(&mut scenario, "null");
    struck(&mut scenario, "unknown");
    let frame = frames(push(&mut scenario, quote("AAPL")));
    let (good, odd) = decoded(&frame[0]);
    assert_eq!(good, [Incoming::Event(quote("AAPL"), OddFields::default())]);
    assert_eq!(odd.len(), 2, "{odd:?}");
    for fault in ["garbage", "truncated"] {
        let frame = frames(struck(&mut scenario, fault));
        let (good, odd) = decoded(&frame[0]);
        assert!(good.is_empty() && !odd.is_empty(), "{fault}");
    }
}
