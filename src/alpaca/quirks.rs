//! The venue's oddities in market data, a test for each, by their numbers in our notes on its protocol.
//!
//! Those that are missing here concern order updates (13, 15, 16), the simulator (29, 30), or the connection below
//! (26).

use std::time::Instant;

use super::{
    Codec, CryptoFeed, Feed, MarketData, MarketDataSession, OptionFeed,
    wire::{
        Incoming,
        tests::{
            all, bytes,
            pack::{Style, pack},
        },
    },
};
use crate::{
    credentials::Credentials,
    error::RejectionKind,
    event::{OddFields, Unparsed},
    market::{BARS, MarketEvent, News, QUOTES, Quote, TRADES, Trade, TradeCancel, TradeCorrection},
    topic::Topic,
    venue::{
        Answer, Frame, Item, Message, Output, Request, RequestId, Session as _, Venue as _, Verb,
        Verdict,
    },
};

// ---- items ----

/// What each item of the frame is, and the same of it in every style of MessagePack.
fn items(json: &str) -> Vec<Result<Incoming, Unparsed>> {
    let items = all(json.as_bytes(), Codec::Json);
    for style in Style::ALL {
        let packed = all(&pack(json, style), Codec::MessagePack);
        assert_eq!(packed.len(), items.len(), "{style:?} {json}");
        for (packed, item) in packed.iter().zip(&items) {
            assert_eq!(packed.as_ref().ok(), item.as_ref().ok(), "{style:?} {json}");
        }
    }
    items
}

fn event(json: &str) -> MarketEvent {
    match items(&format!("[{json}]")).remove(0) {
        Ok(Incoming::Event(event, _)) => event,
        other => panic!("{json}: {other:?}"),
    }
}

macro_rules! only {
    ($name:ident, $kind:ident($of:ty)) => {
        fn $name(json: &str) -> $of {
            match event(json) {
                MarketEvent::$kind(value) => value,
                other => panic!("{json}: {other:?}"),
            }
        }
    };
}
only!(trade, Trade(Trade));
only!(quote, Quote(Quote));
only!(correction, Correction(Box<TradeCorrection>));
only!(cancel, Cancel(Box<TradeCancel>));
only!(article, News(Box<News>));

const TRADE: &str = r#"{"T":"t","S":"KO","i":1,"x":"P","p":61.25,"s":4,"c":["@"],"z":"A","t":"2026-03-17T14:30:05Z"}"#;

/// The trade with one text in the place of another.
fn with(old: &str, new: &str) -> String {
    assert!(TRADE.contains(old), "{old}");
    TRADE.replace(old, new)
}

#[test]
fn quirk_01_frames_are_arrays_and_a_bare_object_will_do() {
    let good = trade(TRADE);
    let two = items(&format!("[{TRADE},{TRADE}]"));
    assert_eq!(two.len(), 2);
    assert_eq!(
        items(TRADE),
        [Ok(Incoming::Event(
            MarketEvent::Trade(good),
            OddFields::default()
        ))]
    );
    assert_eq!(items("[]"), []);
}

#[test]
fn quirk_03_keys_that_differ_by_case_are_different_keys() {
    let json = r#"{"t":"2026-03-17T14:30:05Z","T":"q","s":7,"S":"KO","bp":1,"bs":2,"ap":3,"as":4}"#;
    let quote = quote(json);
    assert_eq!((quote.symbol.as_str(), quote.bid_size), ("KO", 2.into()));
    assert_eq!(quote.timestamp.to_string(), "2026-03-17T14:30:05Z");
}

#[test]
fn quirk_04_a_key_means_what_its_kind_says() {
    let cancel = cancel(
        r#"{"T":"x","S":"KO","i":7,"x":"P","p":1,"s":2,"a":"C","z":"A","t":"2026-03-17T14:30:05Z"}"#,
    );
    assert_eq!(
        (cancel.exchange.as_str(), cancel.action.as_str()),
        ("P", "C")
    );
    let correction = correction(
        r#"{"T":"c","S":"KO","x":"P","oi":1,"op":1,"os":1,"oc":["@"],"ci":2,"cp":2,"cs":2,"cc":["I"],"z":"A","t":"2026-03-17T14:30:05Z"}"#,
    );
    assert_eq!(
        correction.original_conditions.iter().collect::<Vec<_>>(),
        ["@"]
    );
    assert_eq!(
        correction.corrected_conditions.iter().collect::<Vec<_>>(),
        ["I"]
    );
    let MarketEvent::Bar(bar) =
        event(r#"{"T":"b","S":"KO","o":1,"h":4,"l":2,"c":3,"v":5,"t":"2026-03-17T14:30:00Z"}"#)
    else {
        panic!()
    };
    assert_eq!(bar.close, 3.into());
}

#[test]
fn quirk_05_conditions_are_a_list_or_one_text() {
    for (conditions, expected) in [
        (r#"["@","I"]"#, &["@", "I"][..]),
        (r#""R""#, &["R"]),
        (r#""""#, &[]),
        ("[]", &[]),
        ("null", &[]),
    ] {
        let trade = trade(&with(r#"["@"]"#, conditions));
        assert_eq!(trade.conditions.iter().collect::<Vec<_>>(), expected);
    }
    assert!(trade(&with(r#""c":["@"],"#, "")).conditions.is_empty());
}

#[test]
fn quirk_06_a_condition_may_be_one_space() {
    let trade = trade(&with(r#"["@"]"#, r#"["@"," ","TI"]"#));
    assert_eq!(
        trade.conditions.iter().collect::<Vec<_>>(),
        ["@", " ", "TI"]
    );
}

#[test]
fn quirk_07_a_time_has_any_number_of_digits() {
    for time in [
        "2026-03-17T14:30:05Z",
        "2026-03-17T14:30:05.1Z",
        "2026-03-17T14:30:05.12Z",
        "2026-03-17T14:30:05.123Z",
        "2026-03-17T14:30:05.12345678Z",
        "2026-03-17T14:30:05.123456789Z",
    ] {
        let trade = trade(&with("2026-03-17T14:30:05Z", time));
        assert_eq!(trade.timestamp.to_string(), time);
    }
    let offset = trade(&with("2026-03-17T14:30:05Z", "2026-03-17T10:30:05.2-04:00"));
    assert_eq!(offset.timestamp.to_string(), "2026-03-17T14:30:05.2Z");
}

#[test]
fn quirk_08_numbers_are_integers_long_floats_and_ids_beyond_floats() {
    for (digits, expected) in [
        ("140", "140"),
        ("61.24310000000001", "61.24310000000001"),
        ("0.30000000000000004", "0.30000000000000004"),
        ("4e-7", "0.0000004"),
    ] {
        assert_eq!(trade(&with("61.25", digits)).price.to_string(), expected);
    }
    let trade = trade(&with(r#""i":1"#, r#""i":9007199254740993"#));
    assert_eq!(trade.id, Some(9_007_199_254_740_993));
}

#[test]
fn quirk_09_the_year_one_means_that_there_is_no_time() {
    // When Go's server received it: a key of its own, which nobody needs.
    trade(&with(r#","t""#, r#","r":"0001-01-01T00:00:00Z","t""#));
    trade(&with(r#","t""#, r#","r":null,"t""#));
    // A trade without a time is none.
    let without = items(&format!(
        "[{},{TRADE}]",
        with("2026-03-17T14:30:05Z", "0001-01-01T00:00:00Z")
    ));
    assert_eq!(
        without.iter().map(Result::is_ok).collect::<Vec<_>>(),
        [false, true]
    );
}

#[test]
fn quirk_10_lists_are_nil_or_missing() {
    for json in [
        r#"[{"T":"subscription","trades":["KO"],"quotes":null,"bars":[]}]"#,
        r#"[{"T":"subscription","trades":["KO"]}]"#,
    ] {
        let state = vec![Topic::new(TRADES, "KO")];
        assert_eq!(items(json), [Ok(Incoming::Subscription(state))]);
    }
}

#[test]
fn quirk_11_news_has_escapes_entities_and_maybe_no_symbols() {
    let news = |rest: &str| {
        article(&format!(
            r#"{{"T":"n","id":7,"headline":"A","content":"\u003cp\u003e\u0026ldquo;é\u003c/p\u003e","created_at":"2026-03-17T14:30:00Z","updated_at":"2026-03-17T14:30:01Z"{rest}}}"#
        ))
    };
    let about = news(r#","symbols":["BTCUSD","KO"]"#);
    assert_eq!(&*about.content, "<p>&ldquo;é</p>", "entities stay");
    assert_eq!(&*about.symbols, ["BTCUSD", "KO"]);
    for general in ["", r#","symbols":[]"#, r#","symbols":null"#] {
        assert!(news(general).symbols.is_empty());
    }
}

#[test]
fn quirk_12_keys_come_in_any_order_and_with_others() {
    let error = Incoming::Error {
        code: Some(405),
        message: "no".to_owned(),
    };
    for json in [
        r#"[{"T":"error","code":405,"msg":"no"}]"#,
        r#"[{"msg":"no","since":{"a":[1,null]},"code":405,"T":"error"}]"#,
    ] {
        assert_eq!(items(json).remove(0).as_ref(), Ok(&error));
    }
    let more = with(
        r#""S":"KO""#,
        r#""new":{"deep":[{"x":1}]},"S":"KO","flag":true"#,
    );
    assert_eq!(trade(&more), trade(TRADE));
}

#[test]
fn quirk_14_the_overnight_state_claims_more_than_it_has() {
    let three = "a6747261646573 91a24b4f a671756f746573 90 a462617273 c0";
    let frame = format!("91 89 a154 ac737562736372697074696f6e {three}");
    let state = vec![Topic::new(TRADES, "KO")];
    assert_eq!(
        all(&bytes(&frame), Codec::MessagePack),
        [Ok(Incoming::Subscription(state))]
    );
}

#[test]
fn quirk_22_the_symbols_of_crypto_are_pairs() {
    let trade =
        trade(r#"{"T":"t","S":"BTC/USD","i":1,"p":1,"s":2,"tks":"-","t":"2026-03-17T14:30:05Z"}"#);
    assert_eq!(trade.symbol, "BTC/USD");
    let venue = super::crypto(CryptoFeed::Us);
    assert!(venue.validate(&Topic::new(TRADES, "BTC/USD")).is_ok());
    assert!(venue.validate(&Topic::new(TRADES, "BTCUSD")).is_err());
}

#[test]
fn quirk_23_a_bar_of_crypto_may_have_no_volume() {
    let MarketEvent::Bar(bar) = event(
        r#"{"T":"b","S":"ETH/USD","o":2309.5,"h":2309.5,"l":2309.5,"c":2309.5,"v":0,"n":0,"vw":0,"t":"2026-03-17T14:30:00Z"}"#,
    ) else {
        panic!()
    };
    assert_eq!(
        (bar.volume, bar.trade_count, bar.vwap),
        (0.into(), Some(0), Some(0.into()))
    );
}

#[test]
fn quirk_24_sizes_are_as_the_venue_sends_them() {
    let quote =
        quote(r#"{"T":"q","S":"KO","bp":1,"bs":200,"ap":3,"as":1.5,"t":"2026-03-17T14:30:05Z"}"#);
    assert_eq!(quote.bid_size, 200.into(), "whatever their unit is today");
    assert_eq!(quote.ask_size.to_string(), "1.5");
}

#[test]
fn quirk_25_an_exchange_may_be_empty() {
    assert_eq!(trade(&with(r#""x":"P""#, r#""x":"""#)).exchange, "");
    assert_eq!(trade(&with(r#""x":"P""#, r#""x":null"#)).exchange, "");
}

// ---- sessions ----

struct Wired {
    session: MarketDataSession,
    codec: Codec,
    now: Instant,
    out: Output<MarketEvent>,
}

impl Wired {
    /// Connected, and authenticated.
    fn new(venue: &MarketData, codec: Codec) -> Self {
        let mut wired = Self::unwelcomed(venue, codec);
        wired.hear(r#"[{"T":"success","msg":"connected"}]"#);
        wired.hear(r#"[{"T":"success","msg":"authenticated"}]"#);
        wired.out.clear();
        wired
    }

    fn unwelcomed(venue: &MarketData, codec: Codec) -> Self {
        let credentials = Credentials::new("PK1", "s3").unwrap();
        let now = crate::clock::now();
        Self {
            session: venue.clone().codec(codec).session(credentials),
            codec,
            now,
            out: Output::default(),
        }
    }

    fn hear(&mut self, json: &str) {
        match self.codec {
            Codec::Json => self.read(Frame::Text(json)),
            Codec::MessagePack => {
                let packed = pack(json, Style::Short);
                self.read(Frame::Binary(&packed));
            }
        }
    }

    fn read(&mut self, frame: Frame<'_>) {
        self.session
            .handle_frame(frame, &mut self.out.context(self.now));
    }

    fn asks(&mut self, verb: Verb, topics: &[Topic]) {
        let request = Request::new(RequestId::new(1), verb, topics);
        self.session
            .request(request, &mut self.out.context(self.now));
    }

    fn said(&mut self) -> Option<Item> {
        self.out.next_item().map(|(_, item)| item)
    }
}

const CODECS: [Codec; 2] = [Codec::Json, Codec::MessagePack];

#[test]
fn quirk_02_the_codec_counts_and_not_the_kind_of_frame() {
    let json = format!("[{TRADE}]");
    let mut wired = Wired::new(&super::stocks(Feed::Iex), Codec::Json);
    let frame = Frame::Binary(json.as_bytes());
    wired.read(frame);
    assert_eq!(wired.out.events().count(), 1);
    // One of two items of a binary frame is no text. The other is read.
    let mut broken = format!("[{},{TRADE}]", with("KO", "K?")).into_bytes();
    let at = broken.iter().position(|byte| *byte == b'?').unwrap();
    broken[at] = 0xff;
    wired.out.clear();
    wired.read(Frame::Binary(&broken));
    assert!(matches!(wired.said(), Some(Item::Unparsed(_))));
    assert_eq!(wired.out.events().count(), 1);
}

#[test]
fn quirk_17_data_may_come_for_what_was_just_unsubscribed() {
    for codec in CODECS {
        let mut wired = Wired::new(&super::stocks(Feed::Iex), codec);
        let topics = [Topic::new(TRADES, "KO")];
        wired.asks(Verb::Unsubscribe, &topics);
        wired.out.clear();
        wired.hear(&format!("[{TRADE}]"));
        wired.hear(r#"[{"T":"subscription","trades":[]}]"#);
        wired.hear(&format!("[{TRADE}]"));
        // The topic table knows who wants them. Neither is the answer, and neither ends anything.
        assert_eq!(wired.out.events().count(), 2);
        let Some((before, Item::Answer(answer))) = wired.out.next_item() else {
            panic!()
        };
        assert_eq!((before.len(), answer), (1, Answer::State(vec![])));
    }
}

#[test]
fn quirk_18_requests_are_changes_and_replies_are_everything() {
    for codec in CODECS {
        let mut wired = Wired::new(&super::stocks(Feed::Iex), codec);
        let topics = [Topic::new(QUOTES, "KO")];
        wired.asks(Verb::Subscribe, &topics);
        let json = r#"{"action":"subscribe","quotes":["KO"]}"#;
        let Some(Item::Send(request)) = wired.said() else {
            panic!()
        };
        assert_eq!(
            request,
            match codec {
                Codec::Json => Message::Text(json.to_owned()),
                Codec::MessagePack => Message::Binary(pack(json, Style::Short)),
            }
        );
        wired.hear(r#"[{"T":"subscription","trades":["PEP"],"quotes":["KO"]}]"#);
        let Some(Item::Answer(Answer::State(state))) = wired.said() else {
            panic!()
        };
        assert_eq!(state, [Topic::new(TRADES, "PEP"), Topic::new(QUOTES, "KO")]);
    }
}

#[test]
fn quirk_19_corrections_and_cancels_are_listed_although_nobody_asked() {
    for codec in CODECS {
        let mut wired = Wired::new(&super::stocks(Feed::Iex), codec);
        wired.hear(
            r#"[{"T":"subscription","trades":["KO"],"corrections":["KO"],"cancelErrors":["KO"]}]"#,
        );
        let Some(Item::Answer(Answer::State(state))) = wired.said() else {
            panic!()
        };
        assert_eq!(state, [Topic::new(TRADES, "KO")]);
    }
}

#[test]
fn quirk_20_options_speak_msgpack_and_have_no_quotes_of_everything() {
    let venue = super::options(OptionFeed::Indicative);
    let credentials = Credentials::new("PK1", "s3").unwrap();
    assert_eq!(
        venue.headers(),
        [("Content-Type", "application/msgpack".to_owned())]
    );
    assert!(venue.admit(&credentials).is_ok());
    assert!(
        venue
            .clone()
            .codec(Codec::Json)
            .admit(&credentials)
            .is_err()
    );
    assert!(venue.validate(&Topic::new(TRADES, "*")).is_ok());
    assert!(venue.validate(&Topic::new(QUOTES, "*")).is_err());
    assert!(
        venue
            .validate(&Topic::new(QUOTES, "MSFT260619C00450000"))
            .is_ok()
    );
    assert!(
        venue
            .validate(&Topic::new(BARS, "MSFT260619C00450000"))
            .is_err()
    );
    // And where the venue says it all the same, it refuses the request alone.
    for code in [410, 412, 413] {
        let mut wired = Wired::new(&venue, Codec::MessagePack);
        wired.hear(&format!(r#"[{{"T":"error","code":{code},"msg":"no"}}]"#));
        let Some(Item::Answer(Answer::Request(None, Err(rejection)))) = wired.said() else {
            panic!("{code}")
        };
        assert_eq!(rejection.kind, RejectionKind::BadRequest);
    }
    // A login is answered in JSON where something in between took the header away.
    let mut wired = Wired::unwelcomed(&venue, Codec::MessagePack);
    let json = r#"[{"T":"error","code":412,"msg":"option messages are only available in MsgPack format"}]"#;
    wired
        .session
        .handle_frame(Frame::Text(json), &mut wired.out.context(wired.now));
    let Some(Item::Down(Verdict::Rejected(rejection))) = wired.said() else {
        panic!()
    };
    assert_eq!(rejection.kind, RejectionKind::BadRequest);
    assert!(
        rejection
            .message
            .contains("only available in MsgPack format")
    );
}

#[test]
fn quirk_21_the_overnight_feeds_live_elsewhere() {
    for (venue, url) in [
        (
            super::stocks(Feed::Iex),
            "wss://stream.data.alpaca.markets/v2/iex",
        ),
        (
            super::stocks(Feed::Sip),
            "wss://stream.data.alpaca.markets/v2/sip",
        ),
        (
            super::stocks(Feed::DelayedSip),
            "wss://stream.data.alpaca.markets/v2/delayed_sip",
        ),
        (
            super::stocks(Feed::Test),
            "wss://stream.data.alpaca.markets/v2/test",
        ),
        (
            super::stocks(Feed::Boats),
            "wss://stream.data.alpaca.markets/v1beta1/boats",
        ),
        (
            super::stocks(Feed::Overnight),
            "wss://stream.data.alpaca.markets/v1beta1/overnight",
        ),
        (
            super::crypto(CryptoFeed::Us),
            "wss://stream.data.alpaca.markets/v1beta3/crypto/us",
        ),
        (
            super::crypto(CryptoFeed::Us1),
            "wss://stream.data.alpaca.markets/v1beta3/crypto/us-1",
        ),
        (
            super::crypto(CryptoFeed::Eu1),
            "wss://stream.data.alpaca.markets/v1beta3/crypto/eu-1",
        ),
        (
            super::options(OptionFeed::Opra),
            "wss://stream.data.alpaca.markets/v1beta1/opra",
        ),
        (
            super::options(OptionFeed::Indicative).sandbox(),
            "wss://stream.data.sandbox.alpaca.markets/v1beta1/indicative",
        ),
        (
            super::perpetuals(),
            "wss://stream.data.alpaca.markets/v1beta1/crypto-perps/global",
        ),
        (
            super::news(),
            "wss://stream.data.alpaca.markets/v1beta1/news",
        ),
    ] {
        assert_eq!(venue.to_string(), url);
        // The URL alone tells the feed.
        assert_eq!(super::market_data(url.parse().unwrap()).unwrap(), venue);
    }
    assert!(super::market_data("wss://example.com/v2/boats".parse().unwrap()).is_err());
}

#[test]
fn quirk_27_one_connection_too_many_is_told_at_the_login() {
    for codec in CODECS {
        let mut wired = Wired::unwelcomed(&super::stocks(Feed::Iex), codec);
        wired.hear(r#"[{"T":"success","msg":"connected"}]"#);
        wired.out.clear();
        wired.hear(r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#);
        let Some(Item::Down(Verdict::Rejected(rejection))) = wired.said() else {
            panic!()
        };
        assert_eq!(rejection.kind, RejectionKind::ConnectionLimit);
    }
}

#[test]
fn quirk_28_errors_go_by_their_code() {
    for codec in CODECS {
        for text in ["auth failed", "invalid credentials", ""] {
            let mut wired = Wired::unwelcomed(&super::stocks(Feed::Iex), codec);
            wired.hear(r#"[{"T":"success","msg":"connected"}]"#);
            wired.out.clear();
            wired.hear(&format!(r#"[{{"T":"error","code":402,"msg":"{text}"}}]"#));
            let Some(Item::Down(Verdict::Rejected(rejection))) = wired.said() else {
                panic!()
            };
            assert_eq!(rejection.kind, RejectionKind::Credentials);
        }
    }
}
