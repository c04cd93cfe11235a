use super::*;
use crate::{
    alpaca::{self, Feed},
    event::OddFields,
    venue::{Answer, Item, Message, Output, RequestId},
};

/// What a session makes of an error: ends the connection, refuses the request in flight, or neither.
#[derive(Debug, PartialEq)]
enum Does {
    Down(RejectionKind),
    Refuse(RejectionKind),
    Up,
    Nothing,
}

fn does(out: &mut Output<MarketEvent>) -> Does {
    match out.next_item().map(|(_, item)| item) {
        Some(Item::Down(Verdict::Rejected(rejection))) => Does::Down(rejection.kind),
        Some(Item::Answer(Answer::Request(None, Err(rejection)))) => Does::Refuse(rejection.kind),
        Some(Item::Up) => Does::Up,
        None => Does::Nothing,
        Some(_) => panic!("something else"),
    }
}

fn error(code: u16) -> String {
    format!(r#"[{{"T":"error","code":{code},"msg":"so it says"}}]"#)
}

fn asks(verb: Verb, topics: &[Topic]) -> Request<'_> {
    Request::new(RequestId::new(1), verb, topics)
}

/// A session that was told these frames, and what the last of them did.
fn told(frames: &[&str], request: bool, last: &str) -> Does {
    let now = clock::now();
    let credentials = Credentials::new("PKTEST", "not-a-secret").unwrap();
    let mut session = alpaca::stocks(Feed::Iex).session(credentials);
    let mut out = Output::default();
    for frame in frames {
        session.handle_frame(Frame::Text(frame), &mut out.context(now));
    }
    if request {
        let topics = [Topic::new(QUOTES, "KO")];
        session.request(asks(Verb::Subscribe, &topics), &mut out.context(now));
    }
    out.clear();
    session.handle_frame(Frame::Text(last), &mut out.context(now));
    does(&mut out)
}

#[test]
fn what_a_plan_grants_is_assumed_at_the_venue_and_whatever_the_user_says_holds_anywhere() {
    let iex = || alpaca::stocks(Feed::Iex);
    let proxy: Endpoint = "ws://localhost/v2/iex".parse().unwrap();
    let budget = |venue: MarketData| Venue::symbol_budget(&venue);
    assert_eq!(budget(iex()), Some(SymbolBudget::of(30)));
    assert_eq!(
        budget(iex().at(proxy.clone())),
        Some(SymbolBudget::learned())
    );
    for given in [None, Some(SymbolBudget::of(200))] {
        assert_eq!(budget(iex().symbol_budget(given)), given);
        // In either order.
        assert_eq!(budget(iex().symbol_budget(given).at(proxy.clone())), given);
        assert_eq!(budget(iex().at(proxy.clone()).symbol_budget(given)), given);
    }
}

#[test]
fn a_login_is_written_in_the_codec_of_the_connection() {
    let written = |key: &str, secret: &str, codec: Codec| {
        let credentials = Credentials::new(key, secret).unwrap();
        let (bytes, text) = login(&credentials, codec).into_parts();
        assert_eq!(text, codec == Codec::Json);
        bytes[SecretMessage::HEADROOM..].to_vec()
    };
    assert_eq!(
        written("PK1", "s3", Codec::Json),
        br#"{"action":"auth","key":"PK1","secret":"s3"}"#
    );
    let literal = "83a6616374696f6ea461757468a36b6579a3504b31a6736563726574a27333";
    assert_eq!(
        written("PK1", "s3", Codec::MessagePack),
        wire::tests::bytes(literal)
    );
    // A text's length is written in one, two or three bytes. The longest credential has 512.
    for len in [1, 31, 32, 255, 256, 512] {
        let key = "k".repeat(len);
        let signs = "s\"\\".chars().cycle().take(len - 1);
        let secret: String = signs.chain(['s']).collect();
        for codec in [Codec::Json, Codec::MessagePack] {
            let message = written(&key, &secret, codec);
            let read = wire::server::ClientMessage::decode(&message, codec);
            let (key, secret) = (key.clone(), secret.clone());
            let auth = wire::server::ClientMessage::Auth { key, secret };
            assert_eq!(read, Some(auth), "{len} {codec}");
        }
    }
}

#[test]
fn topics_of_a_wrong_feed_fail_before_the_wire() {
    use crate::alpaca::{CryptoFeed, OptionFeed, crypto, news, options, stocks};
    for (venue, good, bad) in [
        (
            stocks(Feed::Iex),
            &["trades:BRK.B", "lulds:*", "statuses:KO", "imbalances:KO"][..],
            &[
                "orderbooks:KO",
                "news:KO",
                "trades:ko",
                "trades:",
                "trades:K*",
                "corrections:KO",
            ][..],
        ),
        (
            stocks(Feed::Test),
            &["trades:FAKEPACA", "bars:*"],
            &["statuses:FAKEPACA", "dailyBars:FAKEPACA"],
        ),
        (
            crypto(CryptoFeed::Eu1),
            &["orderbooks:BTC/USD", "orderbooks:*", "updatedBars:ETH/USD"],
            &["trades:AAPL", "statuses:BTC/USD", "news:BTC/USD"],
        ),
        (
            options(OptionFeed::Opra),
            &[
                "trades:*",
                "quotes:A260619P00000500",
                "trades:GOOGL1260619C00450000",
            ],
            &[
                "quotes:*",
                "bars:MSFT260619C00450000",
                "trades:MSFT",
                "trades:260619C00450000",
                "trades:MSFT260619X00450000",
                "trades:MSFT260619C0045000A",
                "trades:TOOLONG260619C00450000",
            ],
        ),
        (news(), &["news:*", "news:BTCUSD"], &["trades:KO", "news:"]),
    ] {
        let topic = |text: &'static str| {
            let (channel, symbol) = text.split_once(':').unwrap();
            Topic::new(crate::topic::Channel::new(channel), symbol)
        };
        for text in good {
            venue.validate(&topic(text)).expect(text);
        }
        for text in bad {
            venue.validate(&topic(text)).expect_err(text);
        }
    }
}

#[test]
fn every_code_has_its_meaning_in_every_state() {
    use RejectionKind::{
        BadRequest, ConnectionLimit, Credentials, Entitlement, SlowClient, SymbolLimit, Temporary,
    };
    const CONNECTED: &str = r#"[{"T":"success","msg":"connected"}]"#;
    const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;
    for (code, kind, live) in [
        (400, BadRequest, Does::Refuse(BadRequest)),
        (401, Temporary, Does::Down(Temporary)),
        (402, Credentials, Does::Down(Credentials)),
        (404, Temporary, Does::Down(Temporary)),
        (405, SymbolLimit, Does::Refuse(SymbolLimit)),
        (406, ConnectionLimit, Does::Down(ConnectionLimit)),
        (407, SlowClient, Does::Down(SlowClient)),
        (408, Entitlement, Does::Refuse(Entitlement)),
        (409, Entitlement, Does::Refuse(Entitlement)),
        (410, BadRequest, Does::Refuse(BadRequest)),
        (411, Entitlement, Does::Refuse(Entitlement)),
        (412, BadRequest, Does::Refuse(BadRequest)),
        (413, BadRequest, Does::Refuse(BadRequest)),
        (500, Temporary, Does::Down(Temporary)),
        (599, Temporary, Does::Refuse(Temporary)),
    ] {
        let error = error(code);
        assert_eq!(
            told(&[], false, &error),
            Does::Down(kind),
            "{code} for a welcome"
        );
        assert_eq!(
            told(&[CONNECTED], false, &error),
            Does::Down(kind),
            "{code} at the login"
        );
        let ready = [CONNECTED, AUTHENTICATED];
        assert_eq!(told(&ready, true, &error), live, "{code} to a request");
    }
    // "already authenticated" is what a login wants to hear.
    assert_eq!(told(&[CONNECTED], false, &error(403)), Does::Up);
    assert_eq!(
        told(&[CONNECTED, AUTHENTICATED], true, &error(403)),
        Does::Nothing
    );
}

const CONNECTED: &str = r#"[{"T":"success","msg":"connected"}]"#;
const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;

/// A session, and all that it puts out, in words.
struct Told {
    session: MarketDataSession,
    now: Instant,
    out: Output<MarketEvent>,
}

impl Told {
    fn opened() -> Self {
        let now = clock::now();
        let credentials = Credentials::new("PKTEST", "not-a-secret").unwrap();
        Self {
            session: alpaca::stocks(Feed::Iex).session(credentials),
            now,
            out: Output::default(),
        }
    }

    fn ready() -> Self {
        let mut told = Self::opened();
        assert_eq!(told.hears(CONNECTED), ["login"]);
        assert_eq!(told.hears(AUTHENTICATED), ["up"]);
        told
    }

    fn hears(&mut self, frame: &str) -> Vec<String> {
        let frame = Frame::Text(frame);
        self.session
            .handle_frame(frame, &mut self.out.context(self.now));
        self.said()
    }

    fn asks(&mut self, request: Request<'_>) {
        self.session
            .request(request, &mut self.out.context(self.now));
        self.out.clear();
    }

    fn waits(&mut self, time: Duration) -> Vec<String> {
        self.now += time;
        if self
            .session
            .deadline()
            .is_some_and(|deadline| deadline <= self.now)
        {
            self.session.handle_timeout(&mut self.out.context(self.now));
        }
        self.said()
    }

    fn said(&mut self) -> Vec<String> {
        let mut said = Vec::new();
        while let Some((events, item)) = self.out.next_item() {
            said.extend(events.iter().map(|_| "event".to_owned()));
            said.push(match item {
                Item::SendSecret(_) => "login".to_owned(),
                Item::Up => "up".to_owned(),
                Item::Unparsed(unparsed) => format!("unparsed {:?}", unparsed.concerns),
                Item::Resync(topics) => format!("resync {topics:?}"),
                Item::Answer(Answer::State(topics)) => format!("state {topics:?}"),
                Item::Down(Verdict::Rejected(rejection)) => format!("down {:?}", rejection.kind),
                Item::Answer(Answer::Request(None, Err(rejection))) => {
                    format!("refused {:?}", rejection.kind)
                }
                Item::Send(Message::Text(text)) => text,
                _ => panic!("something else"),
            });
        }
        said.extend(self.out.take_events().iter().map(|_| "event".to_owned()));
        said
    }
}

/// Items that no set-up waits for. Some may mean something at another time.
pub(crate) const STRANGERS: [&str; 12] = [
    r#"{"T":"heartbeat","t":"2026-03-17T14:30:05Z"}"#,
    r#"{"T":"info","msg":"maintenance at 02:00Z"}"#,
    r#"{"T":"success","msg":"hello"}"#,
    r#"{"T":"success","msg":null}"#,
    r#"{"T":"subscription","trades":["KO"]}"#,
    r#"{"T":"t","S":"KO","i":1,"p":1,"s":1,"t":"2026-03-17T14:30:05Z"}"#,
    r#"{"T":"t","S":"KO","p":null}"#,
    r#"{"stream":"authorization","data":{}}"#,
    "{}",
    "7",
    "null",
    "\"text\"",
];

#[test]
fn a_set_up_waits_past_strangers_in_front_of_every_step() {
    for stranger in STRANGERS {
        for frame in [
            format!("[{stranger}]"),
            stranger.to_owned(),
            "[]".to_owned(),
        ] {
            let mut told = Told::opened();
            // Nobody wanted a topic by then: it is nobody's loss.
            let is_counted = |said: &[String]| said.iter().all(|said| said == "unparsed Nobody");
            assert!(is_counted(&told.hears(&frame)), "{frame}");
            assert_eq!(told.hears(CONNECTED), ["login"], "{frame}");
            let said = told.hears(&frame);
            assert!(is_counted(&said), "{frame}");
            assert_eq!(said.len(), usize::from(frame != "[]"), "{frame}");
            assert_eq!(told.hears(AUTHENTICATED), ["up"], "{frame}");
        }
        // In the same frame.
        let mut told = Told::opened();
        let both = CONNECTED.replace('[', &format!("[{stranger},"));
        assert_eq!(told.hears(&both), ["unparsed Nobody", "login"]);
        let both = AUTHENTICATED.replace('[', &format!("[{stranger},"));
        assert_eq!(told.hears(&both), ["unparsed Nobody", "up"]);
    }
}

#[test]
fn steps_are_taken_in_any_case() {
    let mut told = Told::opened();
    assert_eq!(
        told.hears(&CONNECTED.replace("connected", "Connected")),
        ["login"]
    );
    assert_eq!(
        told.hears(&AUTHENTICATED.to_uppercase().replace("\"MSG\"", "\"msg\"")),
        ["up"]
    );
}

/// What the venue's reference has, and its Go SDK for 411.
const SAID: [(u16, &str); 15] = [
    (400, "invalid syntax"),
    (401, "not authenticated"),
    (402, "auth failed"),
    (403, "already authenticated"),
    (404, "auth timeout"),
    (405, "symbol limit exceeded"),
    (406, "connection limit exceeded"),
    (407, "slow client"),
    (408, "v2 not enabled"),
    (409, "insufficient subscription"),
    (410, "invalid subscribe action for this feed"),
    (411, "insufficient scope"),
    (412, "option messages are only available in MsgPack format"),
    (413, "star subscription is not allowed for option quotes"),
    (500, "internal error"),
];

/// However it is written, an error does what its code does, of which `every_code_has_its_meaning_in_every_state` has the
/// table.
#[test]
fn an_error_keeps_its_class() {
    let does = |fields: &str| {
        let mut told = Told::ready();
        told.asks(asks(Verb::Subscribe, &[Topic::new(QUOTES, "KO")]));
        told.hears(&format!(r#"[{{"T":"error",{fields}}}]"#))
    };
    for (code, text) in SAID {
        let wanted = does(&format!(r#""code":{code},"msg":"so it says""#));
        for fields in [
            format!(r#""code":"{code}","msg":"so it says""#),
            format!(r#""code":{code}.0,"message":"so it says""#),
            format!(r#""code":{code},"msg":null"#),
            format!(r#""code":{code}"#),
            // By its text alone, where there is no code, or one that is not known.
            format!(r#""msg":"{text}""#),
            format!(r#""code":null,"error":"Oh: {}!""#, text.to_uppercase()),
            format!(r#""code":70000000000000000000000,"reason":"{text}""#),
            format!(r#""code":7,"msg":"{text}""#),
            format!(r#""code":[],"msg":"{text}""#),
        ] {
            assert_eq!(does(&fields), wanted, "{fields}");
        }
    }
}

#[test]
fn a_book_that_lost_an_update_begins_anew() {
    let book = |symbol: &str, levels: &str| {
        format!(r#"[{{"T":"o","S":{symbol},"t":"2026-03-17T14:30:05Z","b":{levels}}}]"#)
    };
    let mut told = Told::ready();
    let topics = [
        Topic::new(ORDERBOOKS, "BTC/USD"),
        Topic::new(ORDERBOOKS, "ETH/USD"),
        Topic::new(QUOTES, "LTC/USD"),
    ];
    told.asks(asks(Verb::Subscribe, &topics));
    assert_eq!(told.hears(&book(r#""BTC/USD""#, "[]")), ["event"]);
    assert_eq!(
        told.hears(&book(r#""BTC/USD""#, "7")),
        [
            "unparsed Topic(orderbooks:BTC/USD)",
            "resync [orderbooks:BTC/USD]"
        ]
    );
    // What comes right behind it waits: a book that never can be read must not be asked for all the time.
    assert_eq!(
        told.hears(&book(r#""ETH/USD""#, "7")),
        ["unparsed Topic(orderbooks:ETH/USD)"]
    );
    assert_eq!(
        told.hears(&book(r#""BTC/USD""#, "7")),
        ["unparsed Topic(orderbooks:BTC/USD)"]
    );
    assert_eq!(
        told.waits(Books::PAUSE),
        ["resync [orderbooks:BTC/USD, orderbooks:ETH/USD]"]
    );
    assert_eq!(told.waits(Books::PAUSE), [""; 0]);
    assert_eq!(told.session.deadline(), None, "nothing is to be done");
    // Of a symbol that cannot be read it may be any book; of a kind, too.
    assert_eq!(
        told.hears(&book("null", "[]")),
        [
            "unparsed Channel(orderbooks)",
            "resync [orderbooks:BTC/USD, orderbooks:ETH/USD]"
        ]
    );
    told.asks(asks(Verb::Unsubscribe, &topics[..1]));
    told.waits(Books::PAUSE);
    assert_eq!(
        told.hears("[7]"),
        ["unparsed Everybody", "resync [orderbooks:ETH/USD]"]
    );
    told.waits(Books::PAUSE);
    // What is no book's loss changes no book.
    for other in [r#"[{"T":"q","S":"BTC/USD"}]"#, r#"[{"T":"zz"}]"#] {
        assert_eq!(told.hears(other).len(), 1, "{other}");
    }
}

#[test]
fn an_event_says_which_of_its_fields_were_odd() {
    let mut told = Told::ready();
    let frame = r#"[{"T":"t","S":"KO","i":"x","p":1,"s":1,"z":{},"t":"2026-03-17T14:30:05Z"}]"#;
    told.session
        .handle_frame(Frame::Text(frame), &mut told.out.context(told.now));
    let events = told.out.take_events();
    let odd: OddFields = ["i", "z"].into_iter().collect();
    assert_eq!(events.origin(0, 1).odd_fields(), &odd);
    assert_eq!(events.odd(), 1);
}
