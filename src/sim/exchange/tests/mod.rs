//! The exchange at invented instants.

mod alive;
mod feeds;
mod literal;
mod mischief;
mod orders;

use std::time::Duration;

use super::*;
use crate::{
    alpaca::wire::{self, Incoming},
    clock,
    credentials::Credentials,
    market::{MarketEvent, Timestamp},
    sim::{Accept, FaultScript, LimitCounts, gate::Pieces},
};

/// The venue's words as a JSON frame. Written out here, so that the encoder is judged, too.
mod server {
    pub(super) fn success(msg: &str) -> String {
        format!(r#"[{{"T":"success","msg":"{msg}"}}]"#)
    }

    pub(super) fn error(code: u16, msg: &str) -> String {
        format!(r#"[{{"T":"error","code":{code},"msg":"{msg}"}}]"#)
    }
}

const IEX: &str = "/v2/iex";
const SIP: &str = "/v2/sip";
const TEST: &str = "/v2/test";

const ONE: ConnectionId = 1;
const TWO: ConnectionId = 2;
const AUTH: &str = r#"{"action":"auth","key":"PKONE","secret":"s1"}"#;

/// An exchange, and a clock that leaps.
struct Scenario {
    exchange: Exchange,
    at: Moment,
}

impl Scenario {
    fn new(change: impl FnOnce(&mut SimConfig)) -> Self {
        let mut config = SimConfig::default();
        change(&mut config);
        let now = clock::now();
        let utc = Timestamp::from_nanos(1_773_757_805_000_000_000);
        Self {
            exchange: Exchange::new(config, now),
            at: Moment { now, utc },
        }
    }

    fn opened(mut self, id: ConnectionId) -> Self {
        self.open(id, IEX);
        self
    }

    fn live(mut self, id: ConnectionId) -> Self {
        self.open(id, IEX);
        assert_eq!(self.say(id, AUTH), [server::success("authenticated")]);
        self
    }

    fn open(&mut self, id: ConnectionId, path: &str) -> Vec<String> {
        let arrival = arrival(path, Codec::Json);
        self.exchange.opened(self.at, id, arrival);
        self.texts(id)
    }

    fn say(&mut self, id: ConnectionId, message: &str) -> Vec<String> {
        self.exchange.received(self.at, id, message.as_bytes());
        self.texts(id)
    }

    /// Opens a connection that speaks MessagePack, and what it is sent.
    fn open_msgpack(&mut self, id: ConnectionId, path: &str) -> Vec<Vec<u8>> {
        let arrival = arrival(path, Codec::MessagePack);
        self.exchange.opened(self.at, id, arrival);
        self.binaries(id)
    }

    /// Says in MessagePack what stands here in JSON.
    fn say_msgpack(&mut self, id: ConnectionId, json: &str) -> Vec<Vec<u8>> {
        let value: serde_json::Value = serde_json::from_str(json).unwrap();
        let message = rmp_serde::to_vec(&value).unwrap();
        self.exchange.received(self.at, id, &message);
        self.binaries(id)
    }

    fn binaries(&mut self, id: ConnectionId) -> Vec<Vec<u8>> {
        sent(self.effects(), id)
            .into_iter()
            .map(|message| match message {
                Message::Binary(bytes) => bytes,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn error(&mut self, id: ConnectionId, message: &str) -> String {
        let mut texts = self.say(id, message);
        assert_eq!(texts.len(), 1, "{message}: {texts:?}");
        texts.remove(0)
    }

    fn pass(&mut self, time: Duration) -> Vec<Effect> {
        self.at.now += time;
        self.exchange.tick(self.at);
        self.effects()
    }

    fn control(&mut self, control: Control) -> Vec<Effect> {
        self.exchange.control(self.at, control);
        self.effects()
    }

    /// What is to be done, without reports.
    fn effects(&mut self) -> Vec<Effect> {
        std::iter::from_fn(|| self.exchange.next_effect())
            .filter(|effect| !matches!(effect, Effect::Report(_)))
            .collect()
    }

    fn texts(&mut self, id: ConnectionId) -> Vec<String> {
        texts(self.effects(), id)
    }

    fn stats(&mut self) -> SimStats {
        let mut stats = SimStats::default();
        self.exchange.publish(&mut stats);
        stats
    }
}

fn arrival(path: &str, codec: Codec) -> Arrival {
    Arrival {
        path: Path::of(path).unwrap(),
        codec,
        login: None,
    }
}

fn sent(effects: Vec<Effect>, id: ConnectionId) -> Vec<Message> {
    effects
        .into_iter()
        .map(|effect| match effect {
            Effect::Send { to, message } if to == id => message,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn texts(effects: Vec<Effect>, id: ConnectionId) -> Vec<String> {
    sent(effects, id)
        .into_iter()
        .map(|message| match message {
            Message::Text(text) => text,
            other => panic!("{other:?}"),
        })
        .collect()
}

fn send(to: ConnectionId, text: &str) -> Effect {
    Effect::Send {
        to,
        message: Message::Text(text.to_owned()),
    }
}

fn events(frames: &[String]) -> Vec<MarketEvent> {
    let mut events = Vec::new();
    for frame in frames {
        wire::decode(frame.as_bytes(), Codec::Json, |item| match item {
            Ok(Incoming::Event(event, _)) => events.push(event),
            other => panic!("{other:?}"),
        });
    }
    events
}

fn quote(symbol: &str) -> MarketEvent {
    let mut tape = Tape::new(1, &[symbol.into()], 0);
    let mut events = Vec::new();
    loop {
        tape.next(Market::Stocks, Timestamp::from_nanos(0), &mut events);
        if let Some(event @ MarketEvent::Quote(_)) = events.pop() {
            return event;
        }
    }
}

#[test]
fn the_welcome_comes_alone_and_requests_wait_for_authentication() {
    let mut scenario = Scenario::new(|_| {});
    assert_eq!(
        scenario.open(ONE, IEX),
        [r#"[{"T":"success","msg":"connected"}]"#]
    );
    for (message, answer) in [
        (
            r#"{"action":"subscribe","trades":["KO"]}"#,
            server::error(401, "not authenticated"),
        ),
        ("what?", server::error(400, "invalid syntax")),
        (
            r#"{"action":"dance"}"#,
            server::error(400, "invalid syntax"),
        ),
        (
            r#"{"action":"auth","key":"","secret":"x"}"#,
            server::error(402, "auth failed"),
        ),
        (AUTH, server::success("authenticated")),
        (AUTH, server::error(403, "already authenticated")),
    ] {
        assert_eq!(scenario.say(ONE, message), [answer], "{message}");
    }
    assert_eq!(scenario.stats().auth_failures, 1);
}

#[test]
fn only_the_right_credentials_are_accepted_where_they_are_given() {
    let only = Credentials::new("PKONE", "right").unwrap();
    let mut scenario = Scenario::new(|config| config.accept = Accept::Only(only)).opened(ONE);
    assert_eq!(scenario.error(ONE, AUTH), server::error(402, "auth failed"));
    let right = AUTH.replace("s1", "right");
    assert_eq!(
        scenario.say(ONE, &right),
        [server::success("authenticated")]
    );
}

#[test]
fn a_client_that_does_not_authenticate_in_time_is_closed() {
    let mut scenario = Scenario::new(|_| {}).opened(ONE);
    let opened = scenario.at.now;
    assert_eq!(
        scenario.exchange.deadline(),
        Some(opened + Duration::from_secs(10))
    );
    assert_eq!(scenario.pass(Duration::from_millis(9_999)), []);
    let effects = scenario.pass(Duration::from_millis(1));
    assert!(
        matches!(
            &effects[..],
            [Effect::Send { to: ONE, message: Message::Text(text) }, Effect::Close { to: ONE, .. }]
                if *text == server::error(404, "auth timeout")
        ),
        "{effects:?}"
    );
    assert_eq!(scenario.exchange.deadline(), None);
    assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
}

#[test]
fn the_newcomer_loses_and_gets_the_slot_once_it_is_free() {
    let mut scenario = Scenario::new(|_| {}).live(ONE).opened(TWO);
    let limit = server::error(406, "connection limit exceeded");
    assert_eq!(scenario.exchange.rivals(TWO, AUTH.as_bytes()), [ONE]);
    assert_eq!(scenario.error(TWO, AUTH), limit);
    // The old one goes on.
    assert_eq!(
        scenario
            .say(ONE, r#"{"action":"subscribe","trades":["KO"]}"#)
            .len(),
        1
    );
    // The refused one may stay and ask again, well after its first deadline.
    scenario.pass(Duration::from_secs(9));
    scenario.say(TWO, AUTH);
    assert!(
        !scenario
            .pass(Duration::from_secs(9))
            .iter()
            .any(|effect| matches!(effect, Effect::Close { .. }))
    );
    scenario.exchange.gone(scenario.at, ONE);
    assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
    let stats = scenario.stats();
    assert_eq!((stats.limit_errors, stats.most_open_per_key), (2, 2));
    assert_eq!((stats.connections_opened, stats.connections_open), (2, 1));
}

#[test]
fn slots_are_per_key_and_per_path() {
    let mut scenario = Scenario::new(|_| {}).live(ONE);
    scenario.open(TWO, SIP);
    assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
    scenario.open(3, IEX);
    assert_eq!(
        scenario.say(3, &AUTH.replace("PKONE", "PKTWO")),
        [server::success("authenticated")]
    );
    assert_eq!(scenario.stats().most_open_per_key, 1);
}

#[test]
fn a_slot_is_free_after_a_clean_close_but_a_socket_that_lingers_counts() {
    let mut scenario = Scenario::new(|_| {}).live(ONE).opened(TWO);
    scenario.exchange.ended(scenario.at, ONE);
    assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
    assert_eq!(scenario.stats().most_open_per_key, 2);

    let mut scenario = Scenario::new(|_| {}).live(ONE).opened(TWO);
    scenario.exchange.ended(scenario.at, ONE);
    scenario.exchange.gone(scenario.at, ONE);
    scenario.say(TWO, AUTH);
    assert_eq!(scenario.stats().most_open_per_key, 1);
}

#[test]
fn each_request_gets_the_full_state() {
    let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
    for (request, reply) in [
        (
            r#"{"action":"subscribe","trades":["MSFT","AAPL"],"bars":["*"],"news":[],"lulds":null}"#,
            r#"[{"T":"subscription","trades":["AAPL","MSFT"],"quotes":[],"bars":["*"],"updatedBars":[],"dailyBars":[],"statuses":[],"lulds":[],"imbalances":[],"corrections":["AAPL","MSFT"],"cancelErrors":["AAPL","MSFT"]}]"#,
        ),
        (
            r#"{"action":"unsubscribe","trades":["AAPL","KO"],"bars":["*"],"quotes":["PEP"]}"#,
            r#"[{"T":"subscription","trades":["MSFT"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"lulds":[],"imbalances":[],"corrections":["MSFT"],"cancelErrors":["MSFT"]}]"#,
        ),
    ] {
        assert_eq!(scenario.say(ONE, request), [reply]);
        // The same again changes nothing, and is answered all the same.
        assert_eq!(scenario.say(ONE, request), [reply]);
    }
    assert_eq!(scenario.stats().requests, 4);

    scenario.open(TWO, TEST);
    scenario.say(TWO, AUTH);
    assert_eq!(
        scenario.say(TWO, r#"{"action":"subscribe","trades":["FAKEPACA"]}"#),
        [r#"[{"T":"subscription","trades":["FAKEPACA"],"quotes":[],"bars":[]}]"#]
    );
    assert_eq!(
        scenario.say(TWO, r#"{"action":"subscribe","updatedBars":["FAKEPACA"]}"#),
        [server::error(410, "invalid subscribe action for this feed")]
    );
}

#[test]
fn a_refused_request_changes_nothing() {
    let mut scenario = Scenario::new(|config| {
        config.rate = 0;
        config.symbol_limit = Some(3);
    })
    .live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","trades":["A","B"]}"#);
    let long = format!(
        r#"{{"action":"subscribe","trades":["A","{}"]}}"#,
        "X".repeat(33)
    );
    for (request, answer) in [
        (
            r#"{"action":"subscribe","trades":["C"],"quotes":["A"]}"#,
            server::error(405, "symbol limit exceeded"),
        ),
        (
            r#"{"action":"subscribe","trades":["C"],"orderbooks":["A"]}"#,
            server::error(410, "invalid subscribe action for this feed"),
        ),
        (
            r#"{"action":"subscribe","trades":["C","aapl"]}"#,
            server::error(400, "invalid syntax"),
        ),
        (
            r#"{"action":"subscribe","trades":["C",""]}"#,
            server::error(400, "invalid syntax"),
        ),
        (
            r#"{"action":"subscribe","trades":["C"," A"]}"#,
            server::error(400, "invalid syntax"),
        ),
        (
            r#"{"action":"subscribe","trades":["C","A*"]}"#,
            server::error(400, "invalid syntax"),
        ),
        (&long, server::error(400, "invalid syntax")),
    ] {
        assert_eq!(scenario.error(ONE, request), answer, "{request}");
        let state = scenario.error(ONE, r#"{"action":"subscribe"}"#);
        assert!(
            state.contains(r#""trades":["A","B"],"quotes":[]"#),
            "{state}"
        );
    }
}

#[test]
fn the_limit_can_count_symbols_in_place_of_pairs() {
    let mut scenario = Scenario::new(|config| {
        config.symbol_limit = Some(2);
        config.limit_counts = LimitCounts::Symbols;
    })
    .live(ONE);
    let both = r#"{"action":"subscribe","trades":["A","B"],"quotes":["A","B"]}"#;
    assert!(scenario.error(ONE, both).contains("subscription"));
    let third = r#"{"action":"subscribe","quotes":["C"]}"#;
    assert!(scenario.error(ONE, third).contains("405"));
}

#[test]
fn trade_ids_are_consecutive_for_each_connection() {
    let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","trades":["AAPL","MSFT"]}"#);
    let mut last = BTreeMap::<Symbol, i64>::new();
    for _ in 0..200 {
        let frames = texts(scenario.pass(Duration::from_millis(7)), ONE);
        for event in events(&frames) {
            let MarketEvent::Trade(trade) = event else {
                panic!("{event}")
            };
            if let Some(last) = last.insert(trade.symbol, trade.id.unwrap()) {
                assert_eq!(trade.id, Some(last + 1));
            }
        }
    }
    assert_eq!(last.len(), 2);
    assert_eq!(scenario.stats().last_trade_ids, last);
}

#[test]
fn the_pace_has_no_drift_and_frames_have_a_cap() {
    let mut scenario = Scenario::new(|config| {
        config.rate = 333;
        config.batch = 4;
    })
    .live(ONE);
    scenario.say(
        ONE,
        r#"{"action":"subscribe","trades":["*"],"quotes":["*"],"bars":["*"],"updatedBars":["*"],"dailyBars":["*"]}"#,
    );
    let (end, mut sent) = (scenario.at.now + Duration::from_secs(10), 0);
    while scenario.at.now < end {
        let due = scenario.exchange.deadline().unwrap().min(end);
        assert!(due > scenario.at.now);
        let frames = texts(scenario.pass(due - scenario.at.now), ONE);
        for frame in &frames {
            let events = events(std::slice::from_ref(frame));
            assert!((1..=4).contains(&events.len()));
            sent += events.len() as u64;
        }
    }
    assert_eq!(sent, 3_330);
    assert_eq!(scenario.stats().messages_sent, sent);
    // However long the process slept, it owes a second at most.
    let frames = texts(scenario.pass(Duration::from_secs(3_600)), ONE);
    assert_eq!(events(&frames).len(), 333);
}

#[test]
fn nobody_listens_and_the_exchange_sleeps() {
    let mut scenario = Scenario::new(|_| {}).live(ONE);
    assert_eq!(scenario.exchange.deadline(), None);
    scenario.say(ONE, r#"{"action":"subscribe","trades":["AAPL"]}"#);
    assert!(scenario.exchange.deadline().is_some());
    scenario.control(Control::PauseData);
    assert_eq!(scenario.exchange.deadline(), None);
    assert_eq!(scenario.pass(Duration::from_secs(1)), []);
    scenario.control(Control::ResumeData);
    let due = scenario.exchange.deadline().unwrap();
    assert_eq!(due, scenario.at.now + Duration::from_millis(10));
}

#[test]
fn an_item_that_matches_twice_is_sent_once() {
    let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","quotes":["*","AAPL"]}"#);
    let frames = texts(
        scenario.control(Control::Push(Box::new(quote("AAPL")))),
        ONE,
    );
    assert_eq!(events(&frames), [quote("AAPL")]);
    let frames = texts(
        scenario.control(Control::Push(Box::new(quote("OTHER")))),
        ONE,
    );
    assert_eq!(events(&frames), [quote("OTHER")]);
    scenario.say(ONE, r#"{"action":"unsubscribe","quotes":["*"]}"#);
    assert_eq!(
        scenario.control(Control::Push(Box::new(quote("OTHER")))),
        []
    );
}

#[test]
fn new_symbols_are_listed_and_the_test_feed_has_its_own() {
    let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","quotes":["ZZZ"]}"#);
    let frames = texts(scenario.pass(Duration::from_secs(1)), ONE);
    assert!(!events(&frames).is_empty());

    let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
    scenario.open(TWO, TEST);
    scenario.say(TWO, AUTH);
    scenario.say(TWO, r#"{"action":"subscribe","quotes":["*"]}"#);
    let frames = texts(scenario.pass(Duration::from_secs(1)), TWO);
    let events = events(&frames);
    assert!(!events.is_empty());
    assert!(
        events
            .iter()
            .all(|event| event.symbol().is_some_and(|symbol| symbol == "FAKEPACA"))
    );
}

#[test]
fn a_seed_is_a_session() {
    let session = |seed| {
        let mut scenario = Scenario::new(|config| {
            config.seed = seed;
            config.rate = 1_000;
            config.faults = "null@100ms,unknown@150ms".parse().unwrap();
        })
        .live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","trades":["*"]}"#);
        (0..50)
            .flat_map(|_| texts(scenario.pass(Duration::from_millis(20)), ONE))
            .collect::<Vec<_>>()
    };
    assert_eq!(session(5), session(5));
    assert_ne!(session(5), session(6));
}

fn with_fault(script: &str) -> Scenario {
    let faults: FaultScript = script.parse().unwrap();
    Scenario::new(|config| {
        config.rate = 0;
        config.faults = faults;
    })
}

#[test]
fn faults_hit_an_authenticated_connection_within_their_period() {
    for (script, effect) in [
        (
            "cut@1s",
            Effect::Cut {
                to: ONE,
                why: "cut",
            },
        ),
        ("reset@1s", Effect::Reset { to: ONE }),
        (
            "close:1012@1s",
            Effect::Close {
                to: ONE,
                code: 1012,
                why: "closed by the fault script",
            },
        ),
        ("garbage@1s", send(ONE, "this is not JSON")),
    ] {
        let mut scenario = with_fault(script).live(ONE).opened(TWO);
        assert_eq!(scenario.pass(Duration::from_millis(799)), [], "{script}");
        assert_eq!(
            scenario.pass(Duration::from_millis(401)),
            [effect],
            "{script}"
        );
        assert_eq!(scenario.stats().faults_injected, 1);
    }
    let mut idle = with_fault("cut@1s").opened(ONE);
    assert_eq!(idle.pass(Duration::from_millis(1_200)), []);
    assert_eq!(idle.stats().faults_injected, 0);
}

#[test]
fn odd_items_stand_among_good_ones() {
    let mut scenario = with_fault("null@1s,unknown@1s").live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","quotes":["AAPL"]}"#);
    assert_eq!(scenario.pass(Duration::from_millis(1_200)), []);
    let frames = texts(
        scenario.control(Control::Push(Box::new(quote("AAPL")))),
        ONE,
    );
    let (mut good, mut odd) = (0, Vec::new());
    wire::decode(frames[0].as_bytes(), Codec::Json, |item| match item {
        Ok(_) => good += 1,
        Err(unparsed) => odd.push(unparsed.to_string()),
    });
    assert_eq!((good, odd.len()), (1, 2), "{odd:?}");
    assert!(frames[0].contains(r#""p":null"#) && frames[0].contains(r#""T":"zz""#));
}

#[test]
fn a_mute_connection_hears_nothing_and_keeps_its_slot() {
    let mut scenario = with_fault("mute@1s").live(ONE);
    scenario.say(ONE, r#"{"action":"subscribe","quotes":["AAPL"]}"#);
    assert_eq!(scenario.pass(Duration::from_millis(1_200)), []);
    assert!(scenario.exchange.is_mute(ONE));
    assert_eq!(scenario.control(Control::Push(Box::new(quote("AAPL")))), []);
    assert_eq!(
        scenario.say(ONE, r#"{"action":"unsubscribe","quotes":["AAPL"]}"#),
        [""; 0]
    );
    let mut scenario = scenario.opened(TWO);
    assert!(scenario.error(TWO, AUTH).contains("406"));
}

#[test]
fn a_stalled_newcomer_gets_no_welcome_and_the_one_after_it_does() {
    let mut scenario = with_fault("stall-welcome@1s");
    scenario.pass(Duration::from_millis(1_200));
    assert_eq!(scenario.open(ONE, IEX), [""; 0]);
    assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
    assert_eq!(scenario.open(TWO, IEX).len(), 1);
}

#[test]
fn orders_of_the_user_reach_every_connection() {
    for (control, effect) in [
        (
            Control::Cut,
            Effect::Cut {
                to: ONE,
                why: "cut",
            },
        ),
        (Control::Reset, Effect::Reset { to: ONE }),
        (
            Control::CloseAll(1001),
            Effect::Close {
                to: ONE,
                code: 1001,
                why: "closed on request",
            },
        ),
        (Control::SendRaw("null".to_owned()), send(ONE, "null")),
    ] {
        let mut scenario = Scenario::new(|_| {}).live(ONE);
        assert_eq!(scenario.control(control), [effect]);
    }
    let mut scenario = Scenario::new(|_| {}).opened(ONE);
    scenario.control(Control::Mute(true));
    assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
    scenario.control(Control::Mute(false));
    assert_eq!(scenario.say(ONE, AUTH), [server::success("authenticated")]);
}

fn struck(scenario: &mut Scenario, kind: &str) -> Vec<Effect> {
    scenario.control(Control::Inject(kind.parse().unwrap()))
}
