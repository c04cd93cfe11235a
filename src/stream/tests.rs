//! The driver on a transport without sockets, with the test as the peer and the clock.

use std::{
    ops::ControlFlow,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Stream, StreamHandle, Subscription, batch::Batch, driver::Driver, entries::Scratch,
    handle::Lease, queue::Queue,
};
use crate::{
    Channel, Config, Credentials, EndReason, Error, Gap, Notice, Overflow, Payload, Phase,
    QueueLimit, Quote, RecvTimeoutError, Symbol, Topics, TryRecvError, Update,
    alpaca::{self, Feed, MarketData},
    attempts::Attempts,
    clock,
    stream::Shared,
    transport::{
        Fault,
        memory::{Dice, MemoryTransport, Peer},
    },
    venue::{Confirmed, Events, Frame, Output, Request, Routed, Session, Venue},
};

/// A driver in the surroundings of a test.
pub(crate) fn drive<V: Venue>(
    stream: &Arc<Stream<V>>,
    peer: &Peer,
    transport: MemoryTransport,
    credentials: Credentials,
) -> Driver<V, MemoryTransport> {
    let (ambient, attempts) = (peer.ambient(), peer.failed_attempts());
    Driver::new(
        Arc::clone(stream),
        transport,
        ambient,
        attempts,
        credentials,
    )
}

/// A stream whose thread is the test.
pub(crate) struct Bench {
    pub(crate) peer: Peer,
    driver: Driver<MarketData, MemoryTransport>,
    stream: Arc<Stream<MarketData>>,
    next: Option<Instant>,
}

const SECRET: &str = "s-e-c-r-e-t";
pub(crate) const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;
pub(crate) const CONNECTED: &str = r#"[{"T":"success","msg":"connected"}]"#;

impl Bench {
    fn new(config: Config) -> Self {
        Self::on(config, Peer::new())
    }

    fn on(config: Config, transport: (Peer, MemoryTransport)) -> Self {
        Self::of(alpaca::stocks(Feed::Iex), config, transport)
    }

    fn of(venue: MarketData, config: Config, (peer, transport): (Peer, MemoryTransport)) -> Self {
        let credentials = Credentials::new("PKTEST", SECRET).unwrap();
        let key = crate::StreamKey::new(venue.endpoint(), &credentials);
        let stream = Stream::new(key, 0, venue, Arc::new(config));
        let driver = drive(&stream, &peer, transport, credentials);
        Self {
            peer,
            driver,
            stream,
            next: None,
        }
    }

    pub(crate) fn live() -> Self {
        Self::live_on(alpaca::stocks(Feed::Iex))
    }

    pub(crate) fn live_on(venue: MarketData) -> Self {
        let mut bench = Self::of(venue, Config::default(), Peer::new());
        bench.log_in();
        bench.sent();
        bench
    }

    pub(crate) fn health(&self) -> crate::Health {
        self.stream.health()
    }

    fn log_in(&mut self) {
        self.step();
        self.peer.say(CONNECTED);
        self.step();
        self.peer.say(AUTHENTICATED);
        self.step();
        assert_eq!(self.phase(), Phase::Live);
    }

    pub(crate) fn step(&mut self) {
        self.next = self.driver.step(self.peer.now());
    }

    pub(crate) fn say(&mut self, text: &str) {
        self.peer.say(text);
        self.step();
    }

    /// Cuts the line, and brings it back with the quotes of these symbols.
    fn reconnect(&mut self, symbols: &[&str]) {
        self.peer.cut();
        self.step();
        self.relive();
        self.say(&quotes_of(symbols));
    }

    /// Brings a line back that was cut, up to the log-in.
    fn relive(&mut self) {
        self.leap();
        self.say(CONNECTED);
        self.say(AUTHENTICATED);
    }

    /// Lets time pass until something is due.
    pub(crate) fn leap(&mut self) -> Duration {
        let before = self.peer.now();
        let now = self.peer.advance_to(self.next.expect("something is due"));
        self.step();
        now - before
    }

    pub(crate) fn phase(&self) -> Phase {
        self.stream.lifecycle.phase()
    }

    /// Whether the driver has ended.
    fn is_over(&self) -> bool {
        self.next.is_none()
    }

    /// The lease is of a slot that the claim table does not have, so it counts for nothing.
    pub(crate) fn handle(&self) -> StreamHandle<MarketData> {
        let lease = Lease::counted(Arc::clone(&self.stream) as Arc<dyn Shared>, None);
        StreamHandle::new(Arc::clone(&self.stream), lease, self.stream.config.queue)
    }

    fn subscribe(&self, topics: Topics<Quote>) -> Subscription<Quote> {
        self.handle().subscribe(topics).unwrap()
    }

    pub(crate) fn shared(&self) -> Arc<dyn Shared> {
        Arc::clone(&self.stream) as _
    }

    /// Has a topic begin anew.
    pub(crate) fn restart(&mut self, topic: crate::Topic) {
        self.driver.restart(&[topic]);
    }

    /// What its thread does last.
    pub(crate) fn end(&self, reason: &EndReason) {
        self.stream.conclude(reason);
    }

    pub(crate) fn sent(&self) -> Vec<String> {
        self.peer.take_sent()
    }
}

pub(crate) fn quote(symbol: &str, bid: u32) -> String {
    format!(
        r#"[{{"T":"q","S":"{symbol}","bx":"V","bp":{bid},"bs":1,"ax":"Q","ap":{bid}.5,"as":1,"c":["R"],"z":"C","t":"2026-03-17T14:30:05Z"}}]"#
    )
}

pub(crate) fn quotes_of(symbols: &[&str]) -> String {
    let list = symbols
        .iter()
        .map(|symbol| format!("\"{symbol}\""))
        .collect::<Vec<_>>()
        .join(",");
    format!(r#"[{{"T":"subscription","trades":[],"quotes":[{list}],"bars":null}}]"#)
}

/// One word an update, for comparing.
fn words(subscription: &Subscription<Quote>) -> Vec<String> {
    std::iter::from_fn(|| subscription.try_recv().ok())
        .map(|update| match update {
            Update::Event(quote) => format!("{}@{}", quote.symbol, quote.bid_price),
            Update::Gap(Gap { epoch, breaks, .. }) => format!("gap{epoch}x{breaks}"),
            Update::Dropped(dropped) => format!("dropped{}", dropped.count),
            Update::Notice(Notice::Confirmed { topics, .. }) => format!("confirmed{topics:?}"),
            Update::Notice(Notice::Refused { topics, .. }) => format!("refused{topics:?}"),
            Update::Notice(Notice::Displaced { topics, .. }) => format!("displaced{topics:?}"),
            Update::Notice(Notice::Resumed { epoch, .. }) => format!("resumed{epoch}"),
            Update::Notice(Notice::Unparsed(unparsed)) => {
                format!("unparsed:{}+{}", unparsed.raw, unparsed.more)
            }
            Update::Notice(Notice::Unmatched { topic, .. }) => format!("unmatched{topic}"),
            Update::Notice(Notice::Behind { by, .. }) => format!("behind{}", by.as_secs()),
            Update::Notice(Notice::NotLive { attempt, cause, .. }) => {
                format!("not live {attempt} {}", cause.code())
            }
            Update::Ended(ended) => format!("ended:{ended}"),
        })
        .collect()
}

#[test]
fn the_secret_is_sent_once_after_the_welcome_and_masked_until_live() {
    let mut bench = Bench::new(Config::default());
    bench.step();
    assert_eq!(
        bench.sent(),
        Vec::<String>::new(),
        "the server speaks first"
    );
    assert!(bench.peer.is_masked());
    bench.say(CONNECTED);
    assert_eq!(
        bench.sent(),
        [format!(
            r#"{{"action":"auth","key":"PKTEST","secret":"{SECRET}"}}"#
        )]
    );
    bench.say(AUTHENTICATED);
    assert!(!bench.peer.is_masked());
    assert_eq!(bench.phase(), Phase::Live);
}

#[test]
fn topics_are_counted_across_subscriptions_and_nobody_is_disturbed() {
    let mut bench = Bench::live();
    let one = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.sent();
    bench.say(&quotes_of(&["AAPL"]));
    let two = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"subscribe","quotes":["MSFT"]}"#],
        "AAPL is there already"
    );
    bench.say(&quote("AAPL", 1));
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    bench.say(&quote("MSFT", 2));
    drop(one);
    bench.step();
    assert_eq!(
        bench.sent(),
        Vec::<String>::new(),
        "somebody still wants AAPL"
    );
    bench.say(&quote("AAPL", 3));
    two.remove(alpaca::quotes(["AAPL"])).unwrap();
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"unsubscribe","quotes":["AAPL"]}"#]
    );
    assert_eq!(
        words(&two),
        [
            "confirmed[quotes:AAPL]",
            "AAPL@1",
            "confirmed[quotes:MSFT]",
            "MSFT@2",
            "AAPL@3"
        ]
    );
    assert_eq!(bench.peer.attempts(), 1);
}

#[test]
fn a_refused_symbol_of_one_caller_does_not_sink_another() {
    let mut bench = Bench::live();
    let bad = bench.subscribe(alpaca::quotes(["AAPL", "BAD"]));
    let good = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    assert_eq!(
        bench.sent(),
        [r#"{"action":"subscribe","quotes":["AAPL","BAD"]}"#],
        "one request at a time"
    );
    bench.say(REFUSED);
    let asked = |bench: &Bench| bench.sent().concat();
    assert_eq!(asked(&bench), r#"{"action":"subscribe","quotes":["AAPL"]}"#);
    bench.say(&quotes_of(&["AAPL"]));
    assert_eq!(asked(&bench), r#"{"action":"subscribe","quotes":["BAD"]}"#);
    bench.say(REFUSED);
    assert_eq!(asked(&bench), r#"{"action":"subscribe","quotes":["MSFT"]}"#);
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    assert_eq!(
        words(&good),
        ["confirmed[quotes:AAPL]", "confirmed[quotes:MSFT]"]
    );
    assert_eq!(
        words(&bad),
        ["confirmed[quotes:AAPL]", "refused[quotes:BAD]"]
    );
    let error = bad.wait_confirmed(Duration::ZERO).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { rejection, .. } if rejection.code == Some(400)),
        "{error:?}"
    );
    good.wait_confirmed(Duration::ZERO).unwrap();
    assert_eq!(bench.stream.health().topics_missing.len(), 1);
}

const REFUSED: &str = r#"[{"T":"error","code":400,"msg":"invalid syntax"}]"#;

/// The symbols of a request to subscribe to quotes.
fn asked_for(request: &str) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_str(request).unwrap();
    assert_eq!(request["action"], "subscribe");
    let symbols = request["quotes"].as_array().unwrap().iter();
    symbols
        .map(|symbol| symbol.as_str().unwrap().to_owned())
        .collect()
}

#[test]
fn a_topic_that_the_venue_refuses_is_found_among_many_by_halving() {
    for guilty in [0, 17, 29] {
        let mut bench = Bench::live();
        let symbols: Vec<String> = (0..30).map(|number| format!("S{number:02}")).collect();
        let subscription = bench.subscribe(alpaca::quotes(&symbols));
        bench.step();
        let (mut requests, mut confirmed) = (0, Vec::new());
        while let [request] = &*bench.sent() {
            requests += 1;
            let asked = asked_for(request);
            if asked.contains(&symbols[guilty]) {
                bench.say(REFUSED);
            } else {
                confirmed.extend(asked);
                let state: Vec<&str> = confirmed.iter().map(String::as_str).collect();
                bench.say(&quotes_of(&state));
            }
        }
        // The first, then two for each of the five times that the rest is halved.
        assert!(requests <= 11, "{requests} requests");
        assert_eq!(confirmed.len(), 29);
        let words = words(&subscription);
        let refused = format!("refused[quotes:{}]", symbols[guilty]);
        let refusals = words.iter().filter(|word| word.starts_with("refused"));
        assert_eq!(refusals.collect::<Vec<_>>(), [&refused]);
        subscription.wait_confirmed(Duration::ZERO).unwrap_err();
    }
}

/// A venue that closes the connection over a request answers it, too. The topic at fault is found, and the others are
/// served, although each wrong request costs a connection.
#[test]
fn a_topic_that_the_venue_closes_the_connection_over_is_found_by_halving() {
    for guilty in [0, 5, 7] {
        let mut bench = Bench::live();
        let symbols: Vec<String> = (0..8).map(|number| format!("S{number}")).collect();
        let subscription = bench.subscribe(alpaca::quotes(&symbols));
        bench.step();
        let (mut deaths, mut confirmed, mut refused) = (0, Vec::new(), Vec::new());
        let is_told = |told: &[String]| told.iter().any(|word| word.starts_with("refused"));
        while !is_told(&refused) {
            let sent = bench.sent();
            let Some(request) = sent.iter().find(|text| text.contains("subscribe")) else {
                // All that it may ask for is answered.
                panic!("{deaths} connections, and the guilty one is not found");
            };
            let asked = asked_for(request);
            if asked.contains(&symbols[guilty]) {
                deaths += 1;
                assert!(deaths <= 12, "{asked:?}");
                confirmed.clear();
                bench.peer.cut();
                bench.step();
                bench.relive();
            } else {
                confirmed.extend(asked);
                let state: Vec<&str> = confirmed.iter().map(String::as_str).collect();
                bench.say(&quotes_of(&state));
            }
            refused.extend(words(&subscription));
        }
        let refusals: Vec<_> = refused
            .iter()
            .filter(|word| word.starts_with("refused"))
            .collect();
        assert_eq!(refusals, [&format!("refused[quotes:{}]", symbols[guilty])]);
    }
}

/// That a line dies twice before the only topic is answered for is no proof against that topic.
#[test]
fn the_only_topic_is_not_refused_because_the_line_keeps_dying() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["KO"]));
    bench.step();
    for _ in 0..10 {
        let sent = bench.sent();
        let requests = sent.iter().filter(|text| text.contains("subscribe"));
        assert_eq!(requests.count(), 1);
        bench.peer.cut();
        bench.step();
        bench.relive();
    }
    bench.say(&quotes_of(&["KO"]));
    let told = words(&subscription);
    assert!(
        !told.iter().any(|word| word.starts_with("refused")),
        "{told:?}"
    );
    assert_eq!(
        told[told.len() - 2..],
        ["confirmed[quotes:KO]", "resumed11"]
    );
}

#[test]
fn what_a_full_state_reply_leaves_out_was_refused_in_silence() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    assert_eq!(
        words(&subscription),
        ["confirmed[quotes:AAPL]", "refused[quotes:MSFT]"]
    );
}

#[test]
fn a_request_that_is_never_answered_is_refused_in_time_and_the_next_one_goes_out() {
    let mut bench = Bench::live();
    let silent = bench.subscribe(alpaca::quotes(["AAPL"]));
    let next = bench.subscribe(alpaca::quotes(["MSFT"]));
    bench.step();
    bench.sent();
    assert_eq!(bench.leap(), Config::default().request_timeout);
    assert_eq!(words(&silent), ["refused[quotes:AAPL]"]);
    assert_eq!(
        bench.sent()[0],
        r#"{"action":"subscribe","quotes":["MSFT"]}"#
    );
    bench.say(&quotes_of(&["MSFT"]));
    assert_eq!(words(&next), ["confirmed[quotes:MSFT]"]);
}

#[test]
fn a_broken_line_is_a_gap_behind_what_was_read_and_resumes_with_everything_back() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    bench.peer.say(quote("AAPL", 1));
    bench.peer.cut();
    bench.peer.say(quote("AAPL", 2));
    bench.step();
    assert_eq!(
        words(&subscription),
        ["confirmed[quotes:AAPL, quotes:MSFT]", "AAPL@1", "gap1x1"]
    );
    assert_eq!(bench.phase(), Phase::Waiting);
    bench.sent();
    bench.leap();
    bench.say(CONNECTED);
    bench.say(AUTHENTICATED);
    assert_eq!(
        bench.sent()[1..],
        [r#"{"action":"subscribe","quotes":["AAPL","MSFT"]}"#]
    );
    bench.say(&quotes_of(&["AAPL", "MSFT"]));
    bench.say(&quote("AAPL", 3));
    assert_eq!(
        words(&subscription),
        ["resumed2", "AAPL@3"],
        "what the dead connection left behind is not delivered"
    );
}

#[test]
fn gaps_of_a_flapping_line_merge() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    for _ in 0..50 {
        bench.reconnect(&["AAPL"]);
    }
    assert_eq!(words(&subscription), ["gap50x50", "resumed51"]);
}

/// To a program without a logger this is all that it learns of a name that cannot be resolved, or of a port that refuses.
#[test]
fn each_subscription_is_told_in_band_why_the_line_is_not_live() {
    let mut bench = Bench::new(Config::default());
    let early = bench.subscribe(alpaca::quotes(["AAPL"]));
    let refused = || Fault::Upgrade {
        status: 503,
        retry_after: None,
        location: None,
    };
    bench.peer.fail_next(refused());
    bench.step();
    assert_eq!(words(&early), ["not live 1 upgrade"]);
    bench.peer.fail_next(refused());
    bench.leap();
    bench.leap();
    assert_eq!(words(&early), [""; 0], "it is the same cause");
    let late = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    assert_eq!(words(&late), ["not live 2 upgrade"]);
    bench.peer.fail_next(reset());
    bench.leap();
    assert_eq!(words(&early), ["not live 3 lost"]);
    assert_eq!(words(&late), ["not live 3 lost"]);
    // What a gap tells is not told again, and after the line was live everything is news.
    while bench.phase() != Phase::Authenticating {
        bench.leap();
    }
    bench.say(CONNECTED);
    bench.say(AUTHENTICATED);
    bench.say(&quotes_of(&["AAPL"]));
    bench.say(&quotes_of(&["AAPL"]));
    bench.peer.cut();
    bench.step();
    assert_eq!(words(&early), ["confirmed[quotes:AAPL]", "gap1x1"]);
    bench.peer.fail_next(refused());
    for _ in 0..3 {
        bench.leap();
    }
    let told = words(&early);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].ends_with("upgrade"), "{told:?}");
}

/// The newest of a subscription's own topics, by the venue's clock, however old it is by ours.
#[test]
fn a_gap_says_where_a_backfill_begins() {
    let quote = |symbol: &str, time: &str| {
        format!(
            r#"{{"T":"q","S":"{symbol}","bp":1,"bs":1,"ap":1,"as":1,"t":"2026-03-17T14:30:{time}Z"}}"#
        )
    };
    let mut bench = Bench::live();
    let both = bench.subscribe(alpaca::quotes(["AAPL", "MSFT"]));
    let one = bench.subscribe(alpaca::quotes(["AAPL"]));
    let none = bench.subscribe(alpaca::quotes(["KO"]));
    bench.step();
    let since = |subscription: &Subscription<Quote>| {
        let updates = std::iter::from_fn(|| subscription.try_recv().ok());
        let gaps = updates.filter_map(|update| match update {
            Update::Gap(gap) => Some(gap.since.map(|since| since.to_string())),
            _ => None,
        });
        gaps.collect::<Vec<_>>()
    };
    let state = quotes_of(&["AAPL", "MSFT", "KO"]);
    bench.say(&state);
    bench.say(&state);
    bench.say(&format!(
        "[{},{}]",
        quote("AAPL", "05.1"),
        quote("MSFT", "05.2")
    ));
    bench.say(&format!("[{}]", quote("AAPL", "04.9")));
    bench.reconnect(&["AAPL", "MSFT", "KO"]);
    // Nothing came in between: the first gap's time is where the backfill begins.
    bench.reconnect(&["AAPL", "MSFT", "KO"]);
    let at = |time: &str| vec![Some(format!("2026-03-17T14:30:{time}Z"))];
    assert_eq!(since(&both), at("05.2"));
    assert_eq!(since(&one), at("05.1"));
    assert_eq!(since(&none), [None]);
    bench.say(&format!("[{}]", quote("MSFT", "06")));
    bench.reconnect(&["AAPL", "MSFT", "KO"]);
    assert_eq!(since(&both), at("06"));
    assert_eq!(since(&one), at("05.1"), "it is the newest of its own");
}

/// What is said of a topic again and again, to a reader that does not read, is kept once between two events.
#[test]
fn notices_that_nobody_reads_do_not_pile_up() {
    for overflow in [
        Overflow::DropOldest,
        Overflow::DropNewest,
        Overflow::Conflate,
    ] {
        let mut bench = Bench::live();
        let topics = alpaca::quotes(["AAPL"]).queue(10, overflow);
        let subscription = bench.subscribe(topics);
        bench.step();
        bench.say(&quotes_of(&["AAPL"]));
        for bid in 0..1_000 {
            subscription.add(alpaca::quotes(["MSFT"])).unwrap();
            bench.step();
            bench.say(&quotes_of(&["AAPL", "MSFT"]));
            bench.say(&quote("AAPL", bid));
            subscription.remove(alpaca::quotes(["MSFT"])).unwrap();
            bench.step();
            bench.say(&quotes_of(&["AAPL"]));
        }
        let words = words(&subscription);
        assert!(words.len() < 150, "{overflow:?}: {}", words.len());
        let confirmed = |word: &&String| word.starts_with("confirmed");
        let last = words.iter().rev().find(confirmed);
        assert!(last.is_some_and(|word| word.contains("MSFT")), "{words:?}");
        let events = words.iter().filter(|word| word.contains('@')).count();
        let dropped: usize = words
            .iter()
            .filter_map(|word| word.strip_prefix("dropped")?.parse::<usize>().ok())
            .sum();
        let conflated = bench.health().subscriptions[0].events_conflated as usize;
        assert_eq!(
            events + dropped + conflated,
            1_000,
            "{overflow:?}: {words:?}"
        );
    }
}

/// They say from which event on something holds.
#[test]
fn notices_with_events_between_them_all_stay() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    let mut expected = Vec::new();
    for bid in 0..200 {
        subscription.add(alpaca::quotes(["MSFT"])).unwrap();
        bench.step();
        bench.say(&quotes_of(&["AAPL", "MSFT"]));
        bench.say(&quote("AAPL", bid));
        subscription.remove(alpaca::quotes(["MSFT"])).unwrap();
        bench.step();
        bench.say(&quotes_of(&["AAPL"]));
        expected.extend(["confirmed[quotes:MSFT]".to_owned(), format!("AAPL@{bid}")]);
    }
    assert_eq!(words(&subscription), expected);
}

#[test]
fn receivers_of_phases_that_are_gone_are_not_kept_until_the_next_phase() {
    let bench = Bench::live();
    let kept = bench.handle().phases();
    for _ in 0..100 {
        drop(bench.handle().phases());
    }
    assert!(bench.stream.lifecycle.watchers() <= 2);
    drop(kept);
}

#[test]
fn the_whole_set_up_has_one_deadline() {
    let mut bench = Bench::new(Config::default());
    bench.step();
    let start = bench.peer.now();
    bench.peer.advance(Duration::from_secs(8));
    bench.say(CONNECTED);
    bench.leap();
    assert_eq!(bench.peer.now() - start, Config::default().setup_timeout);
    assert_eq!(bench.phase(), Phase::Waiting);
    let cause = bench.stream.lifecycle.snapshot().cause.unwrap();
    assert!(
        matches!(&cause, Error::Lost { at, .. } if at.phase == Some(Phase::Authenticating)),
        "{cause:?}"
    );
}

#[test]
fn every_wrong_answer_of_a_venue_is_a_typed_error_in_its_phase() {
    type Is = fn(&Error) -> bool;
    let cases: [(&[&str], bool, Is); 6] = [
        (
            &[r#"[{"T":"error","code":500,"msg":"internal error"}]"#],
            false,
            |error| matches!(error, Error::Refused { at, .. } if at.phase == Some(Phase::Authenticating)),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":402,"msg":"auth failed"}]"#,
            ],
            true,
            |error| matches!(error, Error::Rejected { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":409,"msg":"insufficient subscription"}]"#,
            ],
            true,
            |error| matches!(error, Error::NotEntitled { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#,
            ],
            false,
            |error| matches!(error, Error::ConnectionLimit { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":404,"msg":"auth timeout"}]"#,
            ],
            false,
            |error| matches!(error, Error::Refused { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":500,"msg":"internal error"}]"#,
            ],
            false,
            |error| matches!(error, Error::Refused { .. }),
        ),
    ];
    for (frames, fatal, is) in cases {
        let mut bench = Bench::new(Config::default());
        bench.step();
        for frame in frames {
            bench.say(frame);
        }
        let cause = bench
            .stream
            .lifecycle
            .snapshot()
            .cause
            .unwrap_or_else(|| panic!("{frames:?}: no cause"));
        assert!(is(&cause), "{frames:?}: {cause:?}");
        assert_eq!(cause.stream(), Some(&bench.stream.key));
        assert_eq!(bench.next.is_none(), fatal, "{frames:?}");
        assert!(!bench.peer.is_connected());
    }
}

/// What a venue says before its time is waited past, within the deadline of the set-up, and stands in the error then.
#[test]
fn the_error_of_a_set_up_says_what_came_instead() {
    for frames in [
        &["garbage <html>"][..],
        &["[]garbage <html>"],
        &[r#"[{"T":"success","msg":"<html>"}]"#],
        &[CONNECTED, r#"[{"T":"success","msg":"<html>"}]"#],
        &[CONNECTED, r#"[{"T":"<html>"}]"#],
    ] {
        let mut bench = Bench::new(Config::default());
        bench.step();
        for frame in frames {
            bench.say(frame);
        }
        assert!(bench.peer.is_connected(), "{frames:?}");
        assert!(bench.stream.lifecycle.snapshot().cause.is_none());
        bench.peer.advance(Config::default().setup_timeout);
        bench.step();
        let cause = bench.stream.lifecycle.snapshot().cause.unwrap();
        assert!(
            matches!(&cause, Error::Lost { at, why, .. }
                if at.phase == Some(Phase::Authenticating) && why.contains("<html>")),
            "{frames:?}: {cause:?}"
        );
        assert!(bench.next.is_some(), "it tries again");
    }
}

#[test]
fn a_reflected_secret_is_shown_nowhere() {
    let mut bench = Bench::new(Config::default());
    bench.step();
    bench.say(CONNECTED);
    bench.say(&format!(
        r#"[{{"T":"error","code":500,"msg":"no user PKTEST with\n{SECRET}"}}]"#
    ));
    let cause = bench.stream.lifecycle.snapshot().cause.unwrap();
    let shown = format!(
        "{cause} {cause:?} {} {:?}",
        bench.stream.health(),
        bench.stream.health()
    );
    assert!(
        !shown.contains(SECRET) && !shown.contains("PKTEST"),
        "{shown}"
    );
    assert!(
        cause.to_string().contains("no user ****** with\\n***"),
        "{cause}"
    );
}

#[test]
fn one_odd_item_costs_one_item() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["*"]));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    words(&subscription);
    let good = quote("AAPL", 1);
    let inner = good.trim_matches(['[', ']']).to_owned() + "]";
    let inner = inner.replace("\"c\":[\"R\"]]", "\"c\":[\"R\"]");
    let inner = inner.trim_end_matches(']');
    let null = inner.replace("\"bp\":1,", "\"bp\":null,");
    bench.say(&format!(
        r#"[{inner},{{"T":"new thing","S":"AAPL"}},{inner},{null},{inner}]"#
    ));
    bench.say("[1,2");
    bench.say(r#"{"T":"heartbeat"}"#);
    assert_eq!(
        words(&subscription),
        [
            "AAPL@1",
            r#"unparsed:{"T":"new thing","S":"AAPL"}+0"#,
            "AAPL@1",
            &format!("unparsed:{null}+0"),
            "AAPL@1",
            "unparsed:1+0",
            "unparsed:2+0",
            "unparsed:+0",
            r#"unparsed:{"T":"heartbeat"}+0"#,
        ]
    );
    assert_eq!(bench.stream.health().counters.unparsed, 6);
    assert_eq!(bench.phase(), Phase::Live);
}

#[test]
fn a_flood_of_unparsed_items_is_counted_and_does_not_grow() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
    bench.step();
    bench.say(&quotes_of(&["AAPL"]));
    words(&subscription);
    for _ in 0..1_000 {
        bench.say(r#"[{"T":"?"}]"#);
    }
    let words = words(&subscription);
    assert_eq!(words.len(), 64);
    assert_eq!(words.last().unwrap(), r#"unparsed:{"T":"?"}+936"#);
}

#[test]
fn a_wildcard_and_its_symbol_deliver_an_event_once() {
    let mut bench = Bench::live();
    let both = bench.subscribe(alpaca::quotes(["*", "AAPL"]));
    let other = bench.subscribe(alpaca::quotes(["MSFT"]));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    bench.say(&quotes_of(&["*"]));
    bench.say(&quote("AAPL", 1));
    assert_eq!(words(&both), ["confirmed[quotes:*, quotes:AAPL]", "AAPL@1"]);
    assert_eq!(words(&other), ["confirmed[quotes:MSFT]"]);
}

#[test]
fn an_unanswered_ping_gives_the_line_up_and_any_sign_of_life_saves_it() {
    let config = Config::default();
    let mut bench = Bench::live();
    assert_eq!(bench.leap(), config.ping_interval);
    assert_eq!(bench.sent().last().unwrap(), "<ping>");
    bench.peer.pong();
    bench.step();
    assert_eq!(bench.leap(), config.ping_interval);
    assert_eq!(bench.phase(), Phase::Live);
    assert_eq!(bench.leap(), config.ping_timeout);
    assert_eq!(bench.phase(), Phase::Waiting);
}

/// After how long a line is given up that went silent without a word right after its login.
fn given_up_after<V: Venue>(venue: V, login: &[&str]) -> Duration {
    let credentials = Credentials::new("PKTEST", SECRET).unwrap();
    let key = crate::StreamKey::new(venue.endpoint(), &credentials);
    let stream = Stream::new(key, 0, venue, Arc::new(Config::default()));
    let (peer, transport) = Peer::new();
    let mut driver = drive(&stream, &peer, transport, credentials);
    let mut next = driver.step(peer.now());
    for said in login {
        peer.say(*said);
        next = driver.step(peer.now());
    }
    let start = peer.now();
    while stream.lifecycle.phase() == Phase::Live {
        next = driver.step(peer.advance_to(next.expect("a deadline")));
    }
    assert_eq!(stream.lifecycle.phase(), Phase::Waiting);
    peer.now() - start
}

#[test]
fn a_line_that_is_dead_without_a_word_is_given_up_within_fifteen_seconds() {
    let stocks = alpaca::stocks(Feed::Iex);
    let after = given_up_after(stocks, &[CONNECTED, AUTHENTICATED]);
    assert_eq!(after, Duration::from_secs(15));
    let orders = alpaca::order_updates(alpaca::Account::Paper);
    let authorized =
        r#"{"stream":"authorization","data":{"status":"authorized","action":"authenticate"}}"#;
    let listening = r#"{"stream":"listening","data":{"streams":["trade_updates"]}}"#;
    let after = given_up_after(orders, &[authorized, listening]);
    assert_eq!(after, Duration::from_secs(10));
}

/// Between two pings nothing wakes the thread of a line on which nothing happens.
#[test]
fn an_idle_line_wakes_up_for_its_pings_and_for_nothing_else() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.sent();
    let interval = Config::default().ping_interval;
    for _ in 0..360 {
        assert_eq!(bench.leap(), interval);
        assert_eq!(bench.sent(), ["<ping>"]);
        bench.peer.pong();
        bench.step();
    }
    drop(subscription);
}

#[test]
fn refused_and_unresolved_try_again_and_a_wait_says_why() {
    let mut bench = Bench::new(Config::default());
    let refused = || {
        Fault::Connect(crate::Source::new(std::io::Error::from(
            std::io::ErrorKind::ConnectionRefused,
        )))
    };
    bench.peer.fail_next(refused());
    bench.peer.fail_next(refused());
    bench.step();
    assert_eq!(bench.phase(), Phase::Waiting);
    let error = bench
        .stream
        .lifecycle
        .wait_live(clock::deadline(Duration::ZERO))
        .unwrap_err();
    let Error::TimedOut {
        cause: Some(cause), ..
    } = &error
    else {
        panic!("{error:?}")
    };
    assert!(matches!(**cause, Error::Unreachable { .. }), "{cause:?}");
    assert!(error.is_retryable());
    assert_eq!(
        bench.leap(),
        Duration::from_millis(250),
        "half of the first bound, by the jitter of this transport"
    );
    assert_eq!(
        bench.leap(),
        Duration::from_millis(500),
        "half of twice the first bound"
    );
    assert_eq!(bench.peer.attempts(), 3);
}

#[test]
fn a_stop_in_every_phase_ends_at_once_or_within_the_close_bound() {
    for mute in [false, true] {
        for phase in ["waiting", "authenticating", "live"] {
            let mut bench = Bench::new(Config::default());
            if phase == "waiting" {
                bench.peer.fail_next(Fault::Lost {
                    why: "no".to_owned(),
                    source: None,
                });
            }
            bench.step();
            if phase == "live" {
                bench.say(CONNECTED);
                bench.say(AUTHENTICATED);
            }
            let subscription = bench.subscribe(alpaca::quotes(["AAPL"]));
            bench.step();
            if mute {
                bench.peer.never_answers_close();
            }
            bench.stream.stop(None);
            bench.step();
            if mute && phase != "waiting" {
                assert_eq!(bench.phase(), Phase::Closing, "{phase}");
                assert_eq!(bench.leap(), Config::default().close_timeout, "{phase}");
            }
            assert_eq!(bench.next, None, "{phase}: it is over");
            assert!(!bench.peer.is_connected());
            drop(subscription);
        }
    }
}

#[test]
fn never_two_connections_however_often_it_reconnects() {
    let mut bench = Bench::live();
    bench.peer.never_answers_close();
    for _ in 0..20 {
        bench.peer.cut();
        bench.step();
        while bench.phase() != Phase::Authenticating {
            bench.leap();
        }
        bench.say(CONNECTED);
        bench.say(AUTHENTICATED);
    }
    assert_eq!(bench.peer.overlaps(), 0);
    assert_eq!(bench.peer.attempts(), 21);
}

/// Every event is delivered, queued or declared dropped, and the hole is where the events are missing.
#[test]
fn a_full_queue_drops_where_its_policy_says_and_says_so_there() {
    let cases: [(Overflow, &[&str]); 3] = [
        (
            Overflow::DropOldest,
            &["dropped7", "A@8", "A@9", "A@10", "ended"],
        ),
        (
            Overflow::DropNewest,
            &["A@1", "A@2", "A@3", "dropped7", "ended"],
        ),
        (Overflow::End, &["A@1", "A@2", "A@3", "ended"]),
    ];
    for (policy, expected) in cases {
        for per_turn in [1, 2, 5, 10] {
            let mut bench = Bench::live();
            let subscription = bench.subscribe(alpaca::quotes(["A"]).queue(3, policy));
            bench.step();
            bench.say(&quotes_of(&["A"]));
            assert_eq!(words(&subscription), ["confirmed[quotes:A]"]);
            for index in 1..=10 {
                bench.peer.say(quote("A", index));
                if index % per_turn == 0 {
                    bench.step();
                }
            }
            bench.step();
            let health = subscription.health();
            assert_eq!(
                (
                    health.events_routed,
                    health.events_queued,
                    health.events_dropped
                ),
                (10, 3, 7),
                "{policy}"
            );
            for queue in bench.stream.wishes.close(&EndReason::Closed) {
                queue.end(&EndReason::Closed);
            }
            let words: Vec<_> = words(&subscription)
                .into_iter()
                .map(|word| word.split(':').next().unwrap().to_owned())
                .collect();
            assert_eq!(words, expected, "{policy}, {per_turn} a turn");
            assert_eq!(subscription.health().events_delivered, 3);
        }
    }
}

#[test]
fn a_conflating_queue_keeps_the_newest_of_each_topic_in_its_place() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A", "B"]).conflate());
    bench.step();
    bench.say(&quotes_of(&["A", "B"]));
    words(&subscription);
    for (symbol, bid) in [("A", 1), ("B", 2), ("A", 3), ("A", 4), ("B", 5)] {
        bench.say(&quote(symbol, bid));
    }
    let health = subscription.health();
    assert_eq!(
        (
            health.events_routed,
            health.events_conflated,
            health.events_queued
        ),
        (5, 3, 2)
    );
    bench.reconnect(&["A", "B"]);
    bench.say(&quote("A", 6));
    bench.say(&quote("A", 7));
    assert_eq!(
        words(&subscription),
        ["A@4", "B@5", "gap1x1", "resumed2", "A@7"]
    );
    bench.say(&quote("A", 8));
    assert_eq!(words(&subscription), ["A@8"]);
    let health = subscription.health();
    assert_eq!(
        (
            health.events_routed,
            health.events_conflated,
            health.events_delivered
        ),
        (8, 4, 4)
    );
    assert_eq!((health.events_dropped, health.events_queued), (0, 0));
}

#[test]
fn a_conflating_queue_that_is_too_short_for_its_topics_says_what_it_dropped() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["*"]).queue(2, Overflow::Conflate));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    words(&subscription);
    for (symbol, bid) in [("A", 1), ("B", 2), ("A", 3), ("C", 4), ("C", 5), ("B", 6)] {
        bench.say(&quote(symbol, bid));
    }
    let words = words(&subscription);
    let health = subscription.health();
    assert_eq!(
        words[0],
        format!("dropped{}", health.events_dropped),
        "{words:?}"
    );
    assert_eq!(words[words.len() - 2..], ["C@5", "B@6"]);
    assert_eq!(
        health.events_delivered + health.events_dropped + health.events_conflated,
        6
    );
}

#[test]
fn a_gap_stays_between_the_events_it_stood_between() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]).queue(4, Overflow::DropOldest));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    for index in 1..=3 {
        bench.say(&quote("A", index));
    }
    bench.reconnect(&["A"]);
    bench.say(&quote("A", 4));
    bench.say(&quote("A", 5));
    bench.say(&quote("A", 6));
    assert_eq!(
        words(&subscription),
        ["dropped2", "A@3", "gap1x1", "resumed2", "A@4", "A@5", "A@6"]
    );
}

#[test]
fn after_the_end_was_taken_the_channel_stays_silent() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.say(&quote("A", 1));
    // One token is taken and not looked at, so that another is on its way.
    drop(subscription.receiver().try_recv().unwrap());
    bench.say(&quote("A", 2));
    for queue in bench.stream.wishes.close(&EndReason::Closed) {
        queue.end(&EndReason::Closed);
    }
    let mut delivery = subscription.receiver().try_recv().unwrap();
    assert_eq!(delivery.by_ref().take(2).count(), 2);
    drop(delivery);
    let delivery = subscription
        .receiver()
        .try_recv()
        .expect("half-read, so it fires again");
    let rest: Vec<_> = delivery.collect();
    assert!(
        matches!(rest[..], [Update::Event(_), Update::Ended(_)]),
        "{rest:?}"
    );
    assert!(subscription.receiver().try_recv().is_err());
    assert_eq!(subscription.try_recv().unwrap_err(), TryRecvError::Ended);
    assert_eq!(
        subscription
            .recv_timeout(Duration::from_secs(60))
            .unwrap_err(),
        RecvTimeoutError::Ended
    );
}

/// A venue that accepts and drops at once: backoff for one stream, the budget for what it may be shown at all.
#[test]
fn a_host_is_shown_no_more_failures_than_its_budget() {
    let mut config = Config::default();
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(1);
    config.attempt_budget.burst = 5;
    config.attempt_budget.interval = Duration::from_secs(10);
    let mut bench = Bench::new(config);
    for _ in 0..1_000 {
        bench.peer.fail_next(Fault::Lost {
            why: "no".to_owned(),
            source: None,
        });
    }
    let start = bench.peer.now();
    bench.step();
    while bench.peer.now() - start < Duration::from_secs(100) {
        bench.leap();
    }
    // The first attempt, five of the burst, and one every ten seconds.
    assert_eq!(bench.peer.attempts(), 1 + 5 + 10);
    let shown = bench.stream.health().to_string();
    assert!(shown.contains("next attempt in"), "{shown}");
}

/// For how much of ten minutes a line is live that serves, and that a fault ends after `lived`, a number of seconds.
fn live_share(seed: u64, mut lived: impl FnMut(f64) -> f64) -> f64 {
    const TEN_MINUTES: Duration = Duration::from_secs(600);
    let mut bench = Bench::new(Config::default());
    bench.peer.seed_jitter(seed);
    let mut dice = Dice::new(!seed);
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    let (start, mut live) = (bench.peer.now(), Duration::ZERO);
    bench.step();
    while bench.peer.now() - start < TEN_MINUTES {
        answer_login(&mut bench, AUTHENTICATED);
        bench.say(&quotes_of(&["A"]));
        let lived = Duration::from_secs_f64(lived(dice.fraction()));
        bench.peer.advance(lived);
        live += lived;
        bench.peer.cut();
        bench.step();
        words(&subscription);
    }
    live.as_secs_f64() / (bench.peer.now() - start).as_secs_f64()
}

/// The next attempt comes after a second at least, so a line that dies every second cannot be live for half of the time.
#[test]
fn a_line_that_serves_and_keeps_dying_is_live_most_of_the_time() {
    for seed in 0..20 {
        // From one to three seconds, and from two to four.
        let share = live_share(seed, |fraction| 1.0 + 2.0 * fraction);
        assert!(share >= 0.55, "seed {seed}: {share}");
        let share = live_share(seed, |fraction| 2.0 + 2.0 * fraction);
        assert!(share >= 0.65, "seed {seed}: {share}");
        // About a second.
        let share = live_share(seed, |fraction| 0.5 + fraction);
        assert!(share >= 0.4, "seed {seed}: {share}");
        // A line that dies at once is left alone for longer and longer.
        let share = live_share(seed, |_| 0.01);
        assert!(share <= 0.002, "seed {seed}: {share}");
    }
}

/// What the streams of a host share is how often it was failed at. A stream that may wait long makes no other wait long.
#[test]
fn connections_that_served_cost_the_host_nothing() {
    let attempts = Arc::new(Attempts::new());
    let (peer, transport) = Peer::with_attempts(Arc::clone(&attempts));
    let mut bench = Bench::on(Config::default(), (peer, transport));
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    for _ in 0..100 {
        answer_login(&mut bench, AUTHENTICATED);
        bench.say(&quotes_of(&["A"]));
        bench.peer.cut();
        bench.step();
    }
    let limit = crate::AttemptBudget {
        burst: 0,
        ..Config::default().attempt_budget
    };
    let host = bench.stream.venue.endpoint().authority();
    assert_eq!(
        attempts.wait(&host, bench.peer.now(), &limit),
        Duration::ZERO
    );
    drop(subscription);
}

#[test]
fn a_stream_that_is_held_back_for_others_says_so() {
    let attempts = Arc::new(Attempts::new());
    let (peer, transport) = Peer::with_attempts(Arc::clone(&attempts));
    let mut other = Bench::on(Config::default(), (peer, transport));
    for _ in 0..100 {
        other.peer.fail_next(Fault::Upgrade {
            location: None,
            status: 503,
            retry_after: None,
        });
    }
    other.step();
    while attempts
        .wait(
            &other.stream.venue.endpoint().authority(),
            other.peer.now(),
            &Config::default().attempt_budget,
        )
        .is_zero()
    {
        // Each time it is tried again at once, as by a loop that opens the stream whenever it has failed.
        other.peer.fix_jitter(0.0);
        other.leap();
    }
    let (peer, transport) = Peer::with_attempts(attempts);
    peer.advance_to(other.peer.now());
    let mut held = Bench::on(Config::default(), (peer, transport));
    let subscription = held.subscribe(alpaca::quotes(["AAPL"]));
    held.step();
    assert_eq!(held.phase(), Phase::Waiting);
    assert_eq!(words(&subscription), ["not live 0 held_back"]);
    assert_eq!(held.peer.attempts(), 0);
    let health = held.health();
    assert_eq!(health.cause_code, Some("held_back"));
    let shown = health.to_string();
    assert!(
        shown.contains("failed 21 times") && shown.contains("HTTP 503"),
        "{shown}"
    );
    let error = held
        .stream
        .lifecycle
        .wait_live(clock::deadline(Duration::ZERO));
    let error = format!("{:?}", error.unwrap_err());
    assert!(
        error.contains("held back") && error.contains("HTTP 503"),
        "{error}"
    );
    held.leap();
    assert_eq!(held.peer.attempts(), 1);
    answer_login(&mut held, AUTHENTICATED);
    assert_eq!(held.health().cause, None);
}

#[test]
fn phases_are_told_in_order_and_the_newest_are_kept() {
    let mut bench = Bench::new(Config::default());
    let handle = StreamHandle::new(
        Arc::clone(&bench.stream),
        Lease::counted(Arc::clone(&bench.stream) as Arc<dyn Shared>, None),
        bench.stream.config.queue,
    );
    let mut phases = handle.phases();
    bench.log_in();
    bench.peer.cut();
    bench.step();
    bench.stream.stop(None);
    bench.step();
    bench
        .stream
        .lifecycle
        .end(bench.peer.now(), &EndReason::Closed);
    let seen: Vec<Phase> = phases.by_ref().collect();
    assert_eq!(
        seen,
        [
            Phase::Authenticating,
            Phase::Live,
            Phase::Waiting,
            Phase::Ended
        ]
    );
    assert_eq!(phases.next(), None);
    assert_eq!(
        handle.phases().next(),
        Some(Phase::Ended),
        "asked for after the end"
    );
}

/// Whether a stream may enter one phase from another.
pub(super) fn may_follow(from: Phase, to: Phase) -> bool {
    use Phase::{
        Authenticating, Closing, Connecting, Ended, Live, Mute, Resolving, Securing, Upgrading,
        Waiting,
    };
    let set_up = [Resolving, Connecting, Securing, Upgrading, Authenticating];
    let step = |phase| set_up.iter().position(|step| *step == phase);
    match (from, to) {
        // Several steps of a set-up may be done in one turn; none is done twice.
        (from, to) if step(from).is_some() && step(to).is_some() => step(from) < step(to),
        (Authenticating | Mute, Live) | (Live, Mute) | (Waiting, Resolving) => true,
        // Whether a connection takes time to close or not, what follows is the same.
        (Resolving | Connecting | Securing | Upgrading | Authenticating, Closing | Waiting)
        | (Live | Mute, Closing | Waiting)
        | (Closing, Waiting) => true,
        (from, Ended) => from != Ended,
        _ => false,
    }
}

/// Every way in which a connection or a stream ends, with a peer that answers a close and with one that does not. A phase
/// that the code only passes through must not be among those that are told.
#[test]
fn each_way_of_ending_shows_the_phases_that_it_has_and_no_others() {
    use Phase::{Authenticating, Closing, Ended, Live, Mute, Resolving, Waiting};
    type Act = fn(&mut Bench);
    const STOP: Act = |bench| bench.stream.stop(None);
    const CUT: Act = |bench| bench.peer.cut();
    const LIMIT: Act = |bench| bench.peer.say(error(406));
    // It is waited past, until the set-up's time is up.
    const NOT_JSON: Act = |bench| {
        bench.peer.say("[{}");
        bench.step();
        WAIT(bench);
    };
    const REFUSED: Act = |bench| bench.peer.say(error(402));
    const WAIT: Act = |bench| {
        bench.leap();
        while [Live, Mute, Authenticating].contains(&bench.phase()) {
            bench.leap();
        }
    };
    const PONG: Act = |bench| {
        while bench.phase() == Live {
            bench.leap();
            bench.peer.pong();
            bench.step();
        }
    };
    // Where it stands, what happens, and the phases that follow until it waits or has ended.
    let cases: [(&str, Phase, Act, &[Phase]); 19] = [
        ("stop", Waiting, STOP, &[Ended]),
        ("stop", Authenticating, STOP, &[Ended]),
        ("cut", Authenticating, CUT, &[Waiting]),
        ("connection limit", Authenticating, LIMIT, &[Waiting]),
        ("not the protocol", Authenticating, NOT_JSON, &[Waiting]),
        ("login refused", Authenticating, REFUSED, &[Ended]),
        ("no welcome", Authenticating, WAIT, &[Waiting]),
        ("stop", Live, STOP, &[Ended]),
        ("cut", Live, CUT, &[Waiting]),
        (
            "reset",
            Live,
            |bench| bench.peer.break_with(reset()),
            &[Waiting],
        ),
        (
            "broken pipe",
            Live,
            |bench| bench.peer.break_pipe(reset()),
            &[Waiting],
        ),
        (
            "close frame",
            Live,
            |bench| bench.peer.close_frame(None),
            &[Waiting],
        ),
        ("evicted", Live, LIMIT, &[Waiting]),
        ("slow", Live, |bench| bench.peer.say(error(407)), &[Waiting]),
        ("no pong", Live, WAIT, &[Waiting]),
        (
            "mute",
            Live,
            |bench| {
                PONG(bench);
                WAIT(bench);
            },
            &[Mute, Waiting],
        ),
        (
            "mute, then data",
            Live,
            |bench| {
                PONG(bench);
                bench.peer.say(quote("A", 1));
            },
            &[Mute, Live],
        ),
        (
            "mute, then cut",
            Live,
            |bench| {
                PONG(bench);
                CUT(bench);
            },
            &[Mute, Waiting],
        ),
        (
            "mute, then stop",
            Live,
            |bench| {
                PONG(bench);
                STOP(bench);
            },
            &[Mute, Ended],
        ),
    ];
    for (name, start, act, expected) in cases {
        for answers_close in [true, false] {
            let mut bench = Bench::new(Config::default());
            bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
            bench.peer.answer_close(answers_close);
            let phases = bench.handle().phases();
            let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(300));
            let subscription = bench.subscribe(topics);
            match start {
                Waiting => {
                    bench.peer.fail_next(reset());
                    bench.step();
                }
                Live => {
                    bench.log_in();
                    bench.say(&quotes_of(&["A"]));
                }
                _ => bench.step(),
            }
            assert_eq!(bench.phase(), start, "{name}");
            let before: Vec<Phase> = phases.receiver().try_iter().collect();
            act(&mut bench);
            bench.step();
            if bench.phase() == Closing {
                bench.leap();
            }
            if bench.is_over() {
                bench.end(&EndReason::Closed);
            }
            let mut expected = expected.to_vec();
            if !answers_close && start != Waiting && expected.last() != Some(&Live) {
                expected.insert(expected.len() - 1, Closing);
            }
            let after: Vec<Phase> = phases.receiver().try_iter().collect();
            assert_eq!(after, expected, "{name} while {start}, {answers_close}");
            let all: Vec<Phase> = [Resolving].into_iter().chain(before).chain(after).collect();
            for pair in all.windows(2) {
                assert!(may_follow(pair[0], pair[1]), "{name}: {all:?}");
            }
            drop(subscription);
        }
    }
}

/// Logs in as far as the venue's answer to the credentials.
fn answer_login(bench: &mut Bench, answer: &str) {
    while bench.phase() != Phase::Authenticating {
        bench.leap();
    }
    bench.say(CONNECTED);
    bench.say(answer);
}

#[test]
fn credentials_that_were_accepted_before_are_tried_for_some_minutes_and_then_given_up() {
    let patience = Config::default().backoff.credentials_patience;
    for refusal in [error(402), error(409)] {
        let mut bench = Bench::live();
        let subscription = bench.subscribe(alpaca::quotes(["A"]));
        bench.step();
        bench.say(&quotes_of(&["A"]));
        // A login in between is a new beginning.
        for _ in 0..2 {
            bench.peer.cut();
            bench.step();
            answer_login(&mut bench, &refusal);
            answer_login(&mut bench, AUTHENTICATED);
            assert_eq!(bench.health().gives_up_in, None);
            bench.say(&quotes_of(&["A"]));
        }
        bench.peer.cut();
        bench.step();
        let mut refused = Vec::new();
        while !bench.is_over() {
            answer_login(&mut bench, &refusal);
            refused.push(bench.peer.now());
            if !bench.is_over() {
                let health = bench.health();
                assert_eq!(health.phase, Phase::Waiting);
                assert!(health.gives_up_in.is_some() && health.cause.is_some());
                let shown = health.to_string();
                assert!(shown.contains("given up in"), "{shown}");
            }
        }
        let waits: Vec<Duration> = refused.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let seconds = |duration: Duration| duration.as_secs_f64();
        assert!((2.0..=5.0).contains(&seconds(waits[0])), "{waits:?}");
        assert!(waits[1] > waits[0], "{waits:?}");
        assert!(waits.len() <= 20, "{} attempts", waits.len());
        assert_eq!(*refused.last().unwrap() - refused[0], patience);
        let cause = bench.stream.lifecycle.snapshot().cause.unwrap();
        let code = ["rejected", "not_entitled"];
        assert!(code.contains(&cause.code()), "{cause:?}");
        drop(subscription);
    }
    // Without patience, and without an earlier login, the first refusal is the last.
    let mut config = Config::default();
    config.backoff.credentials_patience = Duration::ZERO;
    let mut bench = Bench::new(config);
    bench.log_in();
    bench.peer.cut();
    bench.step();
    answer_login(&mut bench, &error(402));
    assert!(bench.is_over());
    let mut bench = Bench::new(Config::default());
    bench.step();
    answer_login(&mut bench, &error(402));
    assert!(bench.is_over());
}

fn error(code: u16) -> String {
    format!(r#"[{{"T":"error","code":{code},"msg":"no"}}]"#)
}

fn reset() -> Fault {
    Fault::Lost {
        why: "reset".to_owned(),
        source: None,
    }
}

#[test]
fn what_was_refused_is_asked_for_again_on_request() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(r#"[{"T":"error","code":400,"msg":"invalid syntax"}]"#);
    assert!(subscription.wait_confirmed(Duration::ZERO).is_err());
    bench.sent();
    subscription.resubscribe().unwrap();
    bench.step();
    assert_eq!(bench.sent(), [r#"{"action":"subscribe","quotes":["A"]}"#]);
    bench.say(&quotes_of(&["A"]));
    subscription.wait_confirmed(Duration::ZERO).unwrap();
    assert_eq!(
        words(&subscription),
        ["refused[quotes:A]", "confirmed[quotes:A]"]
    );
}

/// What the venue sends for another topic may stop before this one is confirmed: delivered early, it would leave a hole
/// that nobody declares.
#[test]
fn nothing_is_delivered_before_its_topic_is_confirmed() {
    let mut bench = Bench::live();
    let one = bench.subscribe(alpaca::quotes(["A"]));
    let all = bench.subscribe(alpaca::quotes(["*"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.say(&quote("A", 1));
    bench.say(&quotes_of(&["*", "A"]));
    bench.say(&quote("A", 2));
    all.remove(alpaca::quotes(["*"])).unwrap();
    bench.step();
    all.add(alpaca::quotes(["*"])).unwrap();
    bench.step();
    bench.say(&quote("A", 3));
    bench.say(&quotes_of(&["A"]));
    bench.say(&quote("A", 4));
    bench.say(&quotes_of(&["*", "A"]));
    bench.say(&quote("A", 5));
    assert_eq!(
        words(&one),
        ["confirmed[quotes:A]", "A@1", "A@2", "A@3", "A@4", "A@5"]
    );
    assert_eq!(
        words(&all),
        ["confirmed[quotes:*]", "A@2", "confirmed[quotes:*]", "A@5"]
    );
}

#[test]
fn a_limit_of_failures_ends_the_stream_with_the_last_of_them() {
    let mut config = Config::default();
    config.backoff.max_failures = Some(3);
    let mut bench = Bench::new(config);
    for _ in 0..3 {
        bench.peer.fail_next(Fault::Upgrade {
            status: 503,
            retry_after: None,
            location: None,
        });
    }
    bench.step();
    bench.leap();
    bench.leap();
    assert_eq!(bench.next, None, "it is over");
    assert_eq!(bench.peer.attempts(), 3);
    let cause = bench.stream.lifecycle.snapshot().cause.unwrap();
    let Error::GaveUp {
        failures: 3, cause, ..
    } = cause
    else {
        panic!("{cause:?}")
    };
    assert!(
        matches!(&*cause, Error::Upgrade { status: 503, .. }),
        "{cause:?}"
    );
}

#[test]
fn what_health_says_of_topics_is_of_one_moment() {
    let mut bench = Bench::live();
    let adds_up = |bench: &Bench, wanted: usize| {
        let health = bench.health();
        let sum = health.topics_confirmed + health.topics_missing.len();
        assert_eq!((health.topics_wanted, sum), (wanted, wanted), "{health}");
    };
    let subscription = bench.subscribe(alpaca::quotes(["A", "B"]));
    adds_up(&bench, 0);
    bench.step();
    adds_up(&bench, 2);
    bench.say(&quotes_of(&["A", "B"]));
    adds_up(&bench, 2);
    subscription.remove(alpaca::quotes(["B"])).unwrap();
    adds_up(&bench, 2);
    bench.step();
    adds_up(&bench, 1);
    bench.say(&quotes_of(&["A"]));
    adds_up(&bench, 1);
}

#[test]
fn a_line_that_falls_behind_warns_once() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T14:30:06Z".parse().unwrap());
    let subscription = bench.subscribe(alpaca::quotes(["A"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    // The same time of the quote, at later and later times of arrival.
    for _ in 0..4 {
        bench.say(&quote("A", 1));
        bench.peer.advance(Duration::from_secs(2));
    }
    bench.say(&quote("A", 1));
    assert_eq!(
        words(&subscription),
        ["A@1", "A@1", "A@1", "A@1", "behind6", "A@1"]
    );
    assert_eq!(bench.stream.health().behind, Duration::from_secs(8));
}

/// Leaps for so long, with a peer that answers every ping, and says the phases that were entered on the way.
fn pass(bench: &mut Bench, time: Duration) -> Vec<Phase> {
    let end = bench.peer.now() + time;
    let mut phases = Vec::new();
    while bench.next.is_some_and(|next| next <= end) {
        bench.leap();
        if bench.sent().last().is_some_and(|sent| sent == "<ping>") {
            bench.peer.pong();
            bench.step();
        }
        if phases.last() != Some(&bench.phase()) {
            phases.push(bench.phase());
        }
    }
    bench.peer.advance_to(end);
    phases
}

#[test]
fn a_line_that_answers_pings_and_brings_nothing_is_mute_while_the_market_trades() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let subscription =
        bench.subscribe(alpaca::quotes(["A"]).expect_within(Duration::from_secs(300)));
    let quiet = bench.subscribe(alpaca::quotes(["QUIET"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.say(&quotes_of(&["A", "QUIET"]));
    words(&quiet);
    assert_eq!(pass(&mut bench, Duration::from_secs(299)), [Phase::Live]);
    bench.say(&quote("A", 1));
    assert_eq!(
        pass(&mut bench, Duration::from_secs(299)),
        [Phase::Live],
        "it came"
    );
    assert_eq!(
        pass(&mut bench, Duration::from_secs(2)),
        [Phase::Mute],
        "probed"
    );
    bench.say(&quote("A", 2));
    assert_eq!(
        pass(&mut bench, Duration::from_secs(30)),
        [Phase::Live],
        "it came after all"
    );
    words(&subscription);
    let start = bench.peer.now();
    let phases = pass(&mut bench, Duration::from_secs(285));
    assert_eq!(
        phases,
        [
            Phase::Live,
            Phase::Mute,
            Phase::Waiting,
            Phase::Authenticating
        ]
    );
    assert!(bench.peer.now() - start <= Duration::from_secs(285));
    assert_eq!(words(&subscription), ["gap1x1"]);
    let gap = std::iter::from_fn(|| quiet.try_recv().ok()).find_map(|update| match update {
        Update::Gap(gap) => Some(gap),
        _ => None,
    });
    let cause = gap
        .expect("every subscription of the line hears of it")
        .cause;
    assert!(matches!(cause, Error::Mute { .. }), "{cause:?}");
}

/// A thread that was held up finds in one turn that the probe's time is over, that somebody subscribed, and what was missing.
#[test]
fn what_lies_in_the_socket_is_read_before_a_mute_line_is_given_up_whoever_subscribed_meanwhile() {
    let mut bench = Bench::live();
    bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
    let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(300));
    let subscription = bench.subscribe(topics);
    bench.step();
    bench.say(&quotes_of(&["A"]));
    let phases = pass(&mut bench, Duration::from_secs(301));
    assert_eq!(phases, [Phase::Live, Phase::Mute]);
    bench.peer.advance(Duration::from_secs(60));
    let another = bench.subscribe(alpaca::quotes(["B"]));
    bench.say(&quote("A", 1));
    assert_eq!((bench.phase(), bench.health().epoch), (Phase::Live, 1));
    assert_eq!(words(&subscription).last().unwrap(), "A@1");
    drop(another);
}

/// A crypto line on which two symbols have had a quote every half second for a minute.
fn busy_line() -> (Bench, Subscription<Quote>) {
    let mut bench = Bench::live_on(alpaca::crypto(alpaca::CryptoFeed::Us));
    let subscription = bench.subscribe(alpaca::quotes(["BTC/USD", "ETH/USD"]));
    bench.step();
    bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
    for _ in 0..120 {
        bench.peer.advance(Duration::from_millis(500));
        bench.say(&quote("BTC/USD", 1));
        bench.say(&quote("ETH/USD", 1));
    }
    bench.sent();
    words(&subscription);
    (bench, subscription)
}

/// Lets time pass with pongs alone, and says what was asked of the venue, until `done`.
fn pongs_alone(bench: &mut Bench, done: impl Fn(&Bench) -> bool) -> Vec<String> {
    let mut asked = Vec::new();
    for _ in 0..1_000 {
        if done(bench) {
            return asked;
        }
        bench.leap();
        let sent = bench.sent();
        if sent.iter().any(|sent| sent == "<ping>") {
            bench.peer.pong();
            bench.step();
        }
        asked.extend(sent.into_iter().filter(|sent| sent != "<ping>"));
    }
    panic!("it does not come to that: {asked:?}");
}

#[test]
fn a_busy_line_that_falls_silent_is_asked_again_and_then_given_up() {
    // The venue answers what it is asked, or does not, and brings nothing.
    for answers in [true, false] {
        let (mut bench, subscription) = busy_line();
        let start = bench.peer.now();
        let asked = pongs_alone(&mut bench, |bench| bench.phase() == Phase::Mute);
        let silent = (bench.peer.now() - start).as_secs();
        assert!((30..=45).contains(&silent), "probed after {silent} s");
        assert_eq!(asked.len(), 1, "{asked:?}");
        assert!(asked[0].contains("unsubscribe"), "{asked:?}");
        if answers {
            bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
            let asked = bench.sent().concat();
            assert!(asked.contains(r#""subscribe""#), "{asked}");
            bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
        }
        pongs_alone(&mut bench, |bench| bench.phase() != Phase::Mute);
        assert_eq!(bench.phase(), Phase::Waiting);
        let silent = (bench.peer.now() - start).as_secs();
        assert!(silent <= 90, "given up after {silent} s");
        let gap =
            std::iter::from_fn(|| subscription.try_recv().ok()).find_map(|update| match update {
                Update::Gap(gap) => Some(gap),
                Update::Notice(Notice::Refused { .. }) => panic!("nothing was refused"),
                _ => None,
            });
        let cause = gap.expect("the line broke").cause;
        assert!(matches!(cause, Error::Mute { .. }), "{cause:?}");
        // The next connection has brought nothing yet, so nothing is expected of it.
        answer_login(&mut bench, AUTHENTICATED);
        bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
        bench.sent();
        let later = bench.peer.now() + Duration::from_secs(3_600);
        let asked = pongs_alone(&mut bench, |bench| bench.peer.now() >= later);
        assert_eq!((bench.phase(), asked.len()), (Phase::Live, 0), "{asked:?}");
    }
}

#[test]
fn a_busy_line_that_was_silent_for_a_while_is_live_again_with_the_first_event() {
    let (mut bench, subscription) = busy_line();
    pongs_alone(&mut bench, |bench| bench.phase() == Phase::Mute);
    bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
    bench.say(&quotes_of(&["BTC/USD", "ETH/USD"]));
    bench.peer.advance(Duration::from_secs(1));
    bench.say(&quote("BTC/USD", 2));
    assert_eq!(bench.phase(), Phase::Live);
    assert_eq!(
        words(&subscription),
        ["confirmed[quotes:BTC/USD, quotes:ETH/USD]", "BTC/USD@2"]
    );
    assert_eq!(bench.peer.attempts(), 1);
}

#[test]
fn one_busy_topic_that_falls_silent_is_asked_for_again_and_costs_the_others_nothing() {
    let (mut bench, subscription) = busy_line();
    let mut asked = Vec::new();
    for _ in 0..1_200 {
        bench.peer.advance(Duration::from_millis(500));
        bench.say(&quote("ETH/USD", 1));
        assert_eq!(bench.phase(), Phase::Live);
        for request in bench.sent() {
            bench.say(&if request.contains("unsubscribe") {
                quotes_of(&["ETH/USD"])
            } else {
                quotes_of(&["BTC/USD", "ETH/USD"])
            });
            asked.push(request);
        }
    }
    assert_eq!(
        asked,
        [
            r#"{"action":"unsubscribe","quotes":["BTC/USD"]}"#,
            r#"{"action":"subscribe","quotes":["BTC/USD"]}"#
        ],
        "once"
    );
    let told = words(&subscription);
    let events = told.iter().filter(|word| *word == "ETH/USD@1").count();
    assert_eq!((events, told.len()), (1_200, 1_201), "and one confirmation");
    assert_eq!(bench.peer.attempts(), 1);
}

/// Gaps as markets have them: log-normal, with a rate that follows the hour of the day, and bursts.
#[test]
fn a_week_of_gaps_as_markets_have_them_is_never_taken_for_a_silence() {
    const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);
    // The median gap in seconds by day, and how widely gaps are spread.
    for (seed, median, spread) in [
        (1, 2.0, 0.8),
        (2, 10.0, 1.2),
        (3, 60.0, 1.0),
        (4, 600.0, 1.5),
    ] {
        let mut bench = Bench::live_on(alpaca::crypto(alpaca::CryptoFeed::Us));
        let subscription = bench.subscribe(alpaca::quotes(["BTC/USD"]).conflate());
        bench.step();
        bench.say(&quotes_of(&["BTC/USD"]));
        bench.sent();
        let mut dice = Dice::new(seed);
        let start = bench.peer.now();
        while bench.peer.now() - start < WEEK {
            // The sum of twelve uniform numbers is as good as normal (Irwin and Hall).
            let normal: f64 = (0..12).map(|_| dice.fraction()).sum::<f64>() - 6.0;
            let hours = (bench.peer.now() - start).as_secs_f64() / 3_600.0;
            let by_hour = 1.0 + 2.0 * (hours * std::f64::consts::TAU / 24.0).sin().max(0.0);
            let gap = Duration::from_secs_f64(median * by_hour * (normal * spread).exp());
            let next = bench.peer.now() + gap;
            while bench.next.is_some_and(|due| due < next) {
                bench.leap();
                let sent = bench.sent();
                assert!(sent.iter().all(|sent| sent == "<ping>"), "{seed}: {sent:?}");
                bench.peer.pong();
                bench.step();
            }
            bench.peer.advance_to(next);
            bench.say(&quote("BTC/USD", 1));
            assert_eq!(bench.sent(), Vec::<String>::new(), "{seed}");
            assert_eq!(bench.phase(), Phase::Live);
        }
        assert_eq!(bench.peer.attempts(), 1);
        drop(subscription);
    }
}

/// Logins, requests and pings are answered, and no data comes.
fn bring_nothing(bench: &mut Bench, time: Duration) {
    let end = bench.peer.now() + time;
    while bench.next.is_some_and(|next| next <= end) {
        bench.leap();
        if bench.sent().iter().any(|sent| sent == "<ping>") {
            bench.peer.pong();
            bench.step();
        }
        if bench.phase() == Phase::Authenticating {
            bench.say(CONNECTED);
            bench.say(AUTHENTICATED);
            bench.say(&quotes_of(&["A"]));
        }
    }
    bench.peer.advance_to(end);
}

/// A day of mourning that the calendar was not told of, and a holiday of a year that its table does not cover.
#[test]
fn a_market_that_is_closed_without_the_calendars_knowledge_costs_one_connection_a_day_or_none() {
    let hours = |hours: u64| Duration::from_secs(hours * 3_600);
    for (opening, epochs) in [
        ("2026-03-17T13:30:00Z", [2, 3, 4]),
        ("2029-12-25T14:30:00Z", [1, 1, 1]),
    ] {
        let mut bench = Bench::live();
        bench.peer.set_utc(opening.parse().unwrap());
        let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(60));
        let quotes = bench.subscribe(topics);
        bench.step();
        bench.say(&quotes_of(&["A"]));
        bring_nothing(&mut bench, hours(6));
        let seen = (bench.health().epoch, bench.phase());
        assert_eq!(seen, (epochs[0], Phase::Mute), "{opening}");

        // After the close nothing is expected, and on the next day it is expected from the opening.
        bring_nothing(&mut bench, hours(17));
        let seen = (bench.health().epoch, bench.phase());
        assert_eq!(seen, (epochs[0], Phase::Live), "{opening}");
        bring_nothing(&mut bench, hours(1) + Duration::from_secs(20));

        // A connection that brought something, and does no longer, is another matter on a day that is known: each time.
        for epoch in &epochs[1..] {
            bench.say(&quote("A", 1));
            bring_nothing(&mut bench, Duration::from_secs(300));
            let seen = (bench.health().epoch, bench.phase());
            assert_eq!(seen, (*epoch, Phase::Mute), "{opening}");
        }
        drop(quotes);
    }
}

#[test]
fn a_week_with_its_nights_and_its_week_end_causes_no_false_reconnect() {
    let mut bench = Bench::live();
    // A Friday, before the opening.
    bench.peer.set_utc("2026-03-20T13:00:00Z".parse().unwrap());
    let all = bench.subscribe(alpaca::quotes(["*"]).conflate());
    let daily = StreamHandle::new(
        Arc::clone(&bench.stream),
        Lease::counted(Arc::clone(&bench.stream) as Arc<dyn Shared>, None),
        bench.stream.config.queue,
    )
    .subscribe(alpaca::daily_bars(["A"]))
    .unwrap();
    bench.step();
    bench.say(&quotes_of(&["*"]));
    bench.say(r#"[{"T":"subscription","quotes":["*"],"dailyBars":["A"]}]"#);
    // Until the next Friday's close something comes every half minute of trading, and nothing at any other time.
    let trading = crate::Calendar::us_equities();
    for _ in 0..2 * 60 * 24 * 7 {
        pass(&mut bench, Duration::from_secs(30));
        let utc = bench.driver.utc();
        if trading.session_at(utc) == crate::TradingSession::Regular {
            bench.say(&quote("A", 1));
        }
    }
    assert_eq!(bench.peer.attempts(), 1);
    assert_eq!(bench.phase(), Phase::Live);
    drop((all, daily));
}

#[test]
fn a_repeated_or_late_reply_is_not_taken_for_another_request() {
    let mut bench = Bench::live();
    let one = bench.subscribe(alpaca::quotes(["A"]));
    let two = bench.subscribe(alpaca::quotes(["B"]));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    bench.say(&quotes_of(&["A"]));
    assert_eq!(
        words(&two),
        Vec::<String>::new(),
        "the answer is still to come"
    );
    bench.say(&quotes_of(&["A", "B"]));
    assert_eq!(words(&two), ["confirmed[quotes:B]"]);

    let three = bench.subscribe(alpaca::quotes(["C"]));
    let four = bench.subscribe(alpaca::quotes(["D"]));
    bench.step();
    bench.leap();
    assert_eq!(words(&three), ["refused[quotes:C]"], "never answered");
    bench.say(&quotes_of(&["A", "B", "C"]));
    assert_eq!(
        words(&four),
        Vec::<String>::new(),
        "an answer, but not to this"
    );
    bench.say(&quotes_of(&["A", "B", "C", "D"]));
    assert_eq!(words(&four), ["confirmed[quotes:D]"]);
    assert_eq!(
        words(&one),
        ["confirmed[quotes:A]"],
        "nobody else was disturbed"
    );

    // Another answer for the same may still come: the last one counts, when the time is up.
    three.resubscribe().unwrap();
    bench.step();
    bench.say(&quotes_of(&["A", "B", "C", "D"]));
    assert_eq!(words(&three), Vec::<String>::new());
    bench.leap();
    assert_eq!(words(&three), ["confirmed[quotes:C]"]);
}

/// What stood between two gaps was dropped, so they are adjacent, and adjacent gaps are one.
#[test]
fn gaps_that_come_together_when_events_are_dropped_are_one() {
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(["A"]).queue(2, Overflow::DropOldest));
    bench.step();
    bench.say(&quotes_of(&["A"]));
    words(&subscription);
    for index in 1..=2 {
        bench.say(&quote("A", index));
        bench.reconnect(&["A"]);
    }
    bench.say(&quote("A", 3));
    bench.say(&quote("A", 4));
    assert_eq!(
        words(&subscription),
        ["dropped2", "gap2x2", "resumed3", "A@3", "A@4"]
    );
}

#[test]
fn topics_are_given_up_in_order() {
    const SYMBOLS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let mut bench = Bench::live();
    let subscription = bench.subscribe(alpaca::quotes(SYMBOLS));
    bench.step();
    bench.say(&quotes_of(&SYMBOLS));
    bench.sent();
    drop(subscription);
    bench.step();
    let list = SYMBOLS.map(|symbol| format!("\"{symbol}\"")).join(",");
    assert_eq!(
        bench.sent(),
        [format!(r#"{{"action":"unsubscribe","quotes":[{list}]}}"#)]
    );
}

#[test]
fn who_asks_again_does_so_in_the_order_they_came() {
    const SYMBOLS: [&str; 8] = ["A", "B", "C", "D", "E", "F", "G", "H"];
    let mut bench = Bench::live();
    let all = bench.subscribe(alpaca::quotes(["*"]));
    let others = SYMBOLS.map(|symbol| bench.subscribe(alpaca::quotes([symbol])));
    bench.step();
    for _ in 0..=SYMBOLS.len() {
        bench.say(&quotes_of(&["*"]));
    }
    drop(all);
    bench.step();
    bench.sent();
    for count in 0..SYMBOLS.len() {
        bench.say(&quotes_of(&SYMBOLS[..count]));
        let symbol = SYMBOLS[count];
        assert_eq!(
            bench.sent(),
            [format!(r#"{{"action":"subscribe","quotes":["{symbol}"]}}"#)]
        );
    }
    drop(others);
}

/// A venue may list `*` in the place of what it stands for. Whoever gives the `*` up must not take along, in silence or
/// for good, what others want.
#[test]
fn a_topic_that_came_with_a_wildcard_does_not_go_with_it() {
    for answered in [true, false] {
        let mut bench = Bench::live();
        let all = bench.subscribe(alpaca::quotes(["*"]));
        let one = bench.subscribe(alpaca::quotes(["A"]));
        bench.step();
        bench.say(&quotes_of(&["*"]));
        bench.say(&quotes_of(&["*"]));
        bench.say(&quote("A", 1));
        drop(all);
        bench.step();
        assert_eq!(
            bench.sent().last().unwrap(),
            r#"{"action":"unsubscribe","quotes":["*"]}"#
        );
        if answered {
            bench.say(r#"[{"T":"subscription","quotes":[]}]"#);
        } else {
            assert_eq!(bench.leap(), Config::default().request_timeout);
        }
        // A silence that is as long as the time for an answer ends with a ping, too.
        assert_eq!(
            bench.sent()[0],
            r#"{"action":"subscribe","quotes":["A"]}"#,
            "answered: {answered}"
        );
        bench.say(&quotes_of(&["A"]));
        bench.say(&quote("A", 5));
        one.wait_confirmed(Duration::ZERO).unwrap();
        assert_eq!(
            words(&one),
            [
                "confirmed[quotes:A]",
                "A@1",
                "refused[quotes:A]",
                "confirmed[quotes:A]",
                "A@5"
            ]
        );
    }
}

/// News of the whole channel, for example.
#[test]
fn an_event_without_a_symbol_is_not_lost_in_a_queue_that_conflates() {
    #[derive(Clone, Debug, PartialEq)]
    struct News(u32);
    impl Routed for News {
        fn channel(&self) -> Channel {
            Channel::new("news")
        }
        fn symbols(&self) -> &[Symbol] {
            &[]
        }
    }
    impl Payload for News {
        type Source = Self;
        fn project(event: &Self) -> Option<impl FnOnce() -> Self> {
            Some(|| event.clone())
        }
    }
    let bench = Bench::live();
    let limit = QueueLimit::new(10, Overflow::Conflate);
    let (queue, _receiver) = Queue::<News>::new::<News>(limit, &bench.stream.key, None);
    let mut scratch = Scratch::new();
    for index in 1..=2 {
        let mut events = Events::new();
        events.push(News(index), bench.peer.now());
        let batch = Batch::new(events, 1);
        queue.push_copies(&batch, &[0], &mut scratch);
    }
    let health = queue.health(1);
    assert_eq!(
        (
            health.events_routed,
            health.events_conflated,
            health.events_queued
        ),
        (2, 1, 1)
    );
    let mut front = queue.shared();
    assert!(queue.take(&mut front));
    let update: Update<News> = queue
        .read(&mut front, Some, |_| ControlFlow::Break(None))
        .unwrap();
    assert_eq!(update.event().unwrap().unwrap().data, News(2));
    assert_eq!(queue.health(1).events_queued, 0);
}

#[test]
fn ten_streams_that_storm_together_stay_inside_one_budget() {
    let attempts = Arc::new(Attempts::new());
    let mut benches: Vec<Bench> = (0..10)
        .map(|seed| {
            let (peer, transport) = Peer::with_attempts(Arc::clone(&attempts));
            peer.seed_jitter(seed);
            for _ in 0..1_000 {
                peer.fail_next(Fault::Upgrade {
                    status: 503,
                    retry_after: None,
                    location: None,
                });
            }
            let mut config = Config::default();
            config.backoff.cap = Duration::from_secs(1);
            Bench::on(config, (peer, transport))
        })
        .collect();
    const SECONDS: u32 = 60;
    for _ in 0..SECONDS * 100 {
        for bench in &mut benches {
            bench.step();
            bench.peer.advance(Duration::from_millis(10));
        }
    }
    let attempts: u32 = benches.iter().map(|bench| bench.peer.attempts()).sum();
    // Each one's first, the burst, and from there on one a second. By themselves they would make some twenty a second.
    let most = 10 + Config::default().attempt_budget.burst + SECONDS;
    assert!(attempts <= most, "{attempts} attempts, of {most}");
    assert!(
        attempts >= SECONDS,
        "{attempts} attempts: it is not to starve them either"
    );
}

/// A wildcard covers its symbols in every state, so that alone does not make a repeated one the answer.
#[test]
fn a_repeated_reply_with_a_wildcard_does_not_refuse_the_next_request() {
    let mut bench = Bench::live();
    let all = bench.subscribe(alpaca::quotes(["*"]));
    bench.step();
    bench.say(&quotes_of(&["*"]));
    let lease = Lease::counted(Arc::clone(&bench.stream) as Arc<dyn Shared>, None);
    let mixed = StreamHandle::new(Arc::clone(&bench.stream), lease, bench.stream.config.queue)
        .subscribe(alpaca::quotes(["A"]))
        .unwrap();
    mixed.add(alpaca::bars(["B"])).unwrap();
    bench.step();
    bench.say(&quotes_of(&["*"]));
    assert_eq!(
        words(&mixed),
        Vec::<String>::new(),
        "the answer is still to come"
    );
    bench.say(r#"[{"T":"subscription","quotes":["*","A"],"bars":["B"]}]"#);
    assert_eq!(words(&mixed), ["confirmed[bars:B, quotes:A]"]);
    assert_eq!(words(&all), ["confirmed[quotes:*]"]);
}

/// A venue that writes a symbol in another way than it was asked for sends events that reach nobody. They are counted and
/// named, and who waits for them is told once.
#[test]
fn events_that_match_nobody_are_counted_named_and_told_once_to_who_may_be_waiting_for_them() {
    let mut bench = Bench::live();
    let waiting = bench.subscribe(alpaca::quotes(["KO"]));
    let served = bench.subscribe(alpaca::quotes(["PEP"]));
    bench.step();
    while !bench.sent().is_empty() {
        bench.say(&quotes_of(&["KO", "PEP"]));
    }
    bench.say(&quote("PEP", 1));
    for bid in 2..5 {
        bench.say(&quote("KO.N", bid));
    }
    assert_eq!(
        words(&waiting),
        ["confirmed[quotes:KO]", "unmatchedquotes:KO.N"]
    );
    assert_eq!(words(&served), ["confirmed[quotes:PEP]", "PEP@1"]);
    let health = bench.health();
    let counted = health.counters;
    assert_eq!(
        (
            counted.events,
            counted.events_routed,
            counted.events_unmatched
        ),
        (4, 1, 3)
    );
    assert_eq!(
        health.newest_unmatched.as_ref().map(ToString::to_string),
        Some("quotes:KO.N".to_owned())
    );
    assert!(
        health
            .to_string()
            .contains("3 for nobody (the last of quotes:KO.N)"),
        "{health}"
    );

    // What was unsubscribed a moment ago may still be on its way: it is counted apart, and nobody is told.
    drop(served);
    bench.step();
    bench.say(&quote("PEP", 5));
    bench.say(&quotes_of(&["KO"]));
    bench.say(&quote("PEP", 6));
    let counted = bench.health().counters;
    assert_eq!((counted.events_unmatched, counted.events_unsettled), (3, 2));
}

/// Events that build on one that could not be read are worth nothing: the topic is unsubscribed and asked for again, and
/// its readers are told when it begins anew.
#[test]
fn a_topic_that_is_to_begin_anew_is_asked_for_again_and_nothing_of_it_comes_until_then() {
    let mut bench = Bench::live();
    let ko = bench.subscribe(alpaca::quotes(["KO", "PEP"]));
    bench.step();
    bench.sent();
    bench.say(&quotes_of(&["KO", "PEP"]));
    bench.restart(crate::Topic::new(crate::QUOTES, "KO"));
    bench.say(&quote("KO", 1));
    bench.say(&quote("PEP", 1));
    assert_eq!(
        bench.sent(),
        [r#"{"action":"unsubscribe","quotes":["KO"]}"#]
    );
    bench.say(&quotes_of(&["PEP"]));
    assert_eq!(bench.sent(), [r#"{"action":"subscribe","quotes":["KO"]}"#]);
    assert!(
        ko.wait_confirmed(Duration::ZERO).is_err(),
        "it is not confirmed now"
    );
    bench.say(&quotes_of(&["KO", "PEP"]));
    bench.say(&quote("KO", 2));
    assert_eq!(
        words(&ko),
        [
            "confirmed[quotes:KO, quotes:PEP]",
            "PEP@1",
            "confirmed[quotes:KO]",
            "KO@2"
        ]
    );
    ko.wait_confirmed(Duration::ZERO).unwrap();
}

/// A line that was heard a moment ago, one that was quiet, and one whose ping is unanswered: in the turn in which the
/// thread notices that the machine slept it sends a ping, which has its whole time, whatever was read in that turn.
#[test]
fn after_the_machine_slept_the_line_is_probed_in_the_same_turn_and_given_up_without_a_pong() {
    let config = Config::default();
    for (quiet, slept, buffered, answers) in [
        (0, 1, false, false),
        (0, 3_600, true, false),
        (19, 1, true, true),
        (20, 3_600, false, false),
        (20, 1, true, true),
        (25, 86_400, true, false),
    ] {
        let story = format!("{quiet} {slept} {buffered} {answers}");
        let mut bench = Bench::live();
        bench.peer.advance(Duration::from_secs(quiet));
        bench.step();
        bench.sent();
        bench.peer.suspend(Duration::from_secs(slept));
        if buffered {
            bench.peer.say(quote("KO", 1));
        }
        bench.step();
        assert_eq!(bench.sent(), ["<ping>"], "{story}");
        bench.step();
        assert_eq!(bench.sent(), Vec::<String>::new(), "{story}: once");
        if answers {
            bench.peer.pong();
            bench.step();
            assert_eq!(bench.leap(), config.ping_interval, "{story}");
            assert_eq!(bench.phase(), Phase::Live, "{story}");
        } else {
            assert_eq!(bench.leap(), config.ping_timeout, "{story}");
            assert_eq!(bench.phase(), Phase::Waiting, "{story}");
        }
    }
}

#[test]
fn what_two_clocks_differ_by_for_less_than_a_second_is_no_sleep() {
    let mut bench = Bench::live();
    for _ in 0..10 {
        bench.peer.suspend(Duration::from_millis(999));
        bench.step();
    }
    assert_eq!(bench.sent(), Vec::<String>::new());
}

/// Set-up, backoff, a request, a close: what was slept is a part of the time that each is given.
#[test]
fn deadlines_count_the_time_asleep() {
    let config = Config::default();
    let second = Duration::from_secs(1);
    type Begin = fn() -> Bench;
    type IsOver = fn(&Bench) -> bool;
    let table: [(&str, Begin, Duration, IsOver); 4] = [
        (
            "set-up",
            || {
                let mut bench = Bench::new(Config::default());
                bench.step();
                bench
            },
            config.setup_timeout,
            |bench| bench.phase() == Phase::Waiting,
        ),
        (
            "backoff",
            || {
                let mut bench = Bench::live();
                bench.peer.cut();
                bench.step();
                assert_eq!(bench.phase(), Phase::Waiting);
                bench
            },
            // Half of the first bound, by the fixed jitter.
            config.backoff.initial / 2,
            |bench| bench.phase() == Phase::Authenticating,
        ),
        (
            "request",
            || {
                let mut bench = Bench::live();
                std::mem::forget(bench.subscribe(alpaca::quotes(["KO"])));
                bench.step();
                assert!(!refused(&bench));
                bench
            },
            config.request_timeout,
            refused,
        ),
        (
            "close",
            || {
                let mut bench = Bench::live();
                bench.peer.never_answers_close();
                bench.peer.cut();
                bench.step();
                assert_eq!(bench.phase(), Phase::Closing);
                bench
            },
            config.close_timeout,
            |bench| bench.phase() == Phase::Waiting,
        ),
    ];
    for (what, begin, time, is_over) in table {
        let mut bench = begin();
        // The last second passes awake. Less than a second of sleep is not counted.
        let slept = time.saturating_sub(second).max(second);
        bench.peer.suspend(slept);
        if slept < time {
            bench.step();
            assert!(!is_over(&bench), "{what}: too early");
            bench.peer.advance(time - slept);
        }
        bench.step();
        assert!(is_over(&bench), "{what}");
    }

    fn refused(bench: &Bench) -> bool {
        let of_first = bench.health().subscriptions.swap_remove(0);
        of_first.topics_pending == 0
    }
}

#[test]
fn the_attempt_after_a_sleep_is_shown_where_it_is() {
    let mut bench = Bench::live();
    bench.peer.fix_jitter(0.99);
    for _ in 0..8 {
        bench.peer.fail_next(Fault::Protocol("planted".to_owned()));
    }
    bench.peer.cut();
    bench.step();
    while bench.stream.lifecycle.snapshot().failures < 8 {
        bench.leap();
    }
    let retry_at = |bench: &Bench| bench.stream.lifecycle.snapshot().retry_at.unwrap();
    let before = retry_at(&bench);
    let slept = Duration::from_secs(3);
    assert!(before > bench.peer.now() + slept);
    bench.peer.suspend(slept);
    bench.step();
    assert_eq!(retry_at(&bench), before - slept);
}

/// Expectations run on while the machine sleeps, in trading time: a line that brought nothing is probed for its data.
#[test]
fn what_is_expected_is_expected_through_a_sleep() {
    for (slept, phase) in [(200, Phase::Live), (301, Phase::Mute)] {
        let mut bench = Bench::live();
        bench.peer.set_utc("2026-03-17T15:00:00Z".parse().unwrap());
        let topics = alpaca::quotes(["A"]).expect_within(Duration::from_secs(300));
        let _quotes = bench.subscribe(topics);
        bench.step();
        bench.say(&quotes_of(&["A"]));
        bench.peer.suspend(Duration::from_secs(slept));
        bench.step();
        bench.step();
        assert_eq!(bench.phase(), phase, "{slept}");
    }
}

/// A backfill begins at `last`: it must not begin after what was missed in the sleep.
#[test]
fn a_gap_after_a_sleep_says_when_the_last_message_was_read() {
    let mut bench = Bench::live();
    let quotes = bench.subscribe(alpaca::quotes(["KO"]));
    bench.step();
    bench.say(&quotes_of(&["KO"]));
    bench.say(&quote("KO", 1));
    let read_at = bench.driver.utc();
    bench.peer.suspend(Duration::from_secs(3_600));
    bench.peer.advance(Duration::from_secs(1));
    bench.peer.cut();
    bench.step();
    let last = std::iter::from_fn(|| quotes.try_recv().ok()).find_map(|update| match update {
        Update::Gap(gap) => Some(gap.last),
        _ => None,
    });
    assert_eq!(last, Some(Some(read_at)));
}

// What follows is about depth: none may follow from how much a peer sends, or how much is asked for. A stack that is
// exceeded ends the process, and no test of it goes on.

/// Runs `body` where the stack is an eighth of what a thread has otherwise.
#[expect(
    clippy::disallowed_methods,
    reason = "the crate's own has no small stack"
)]
fn on_a_small_stack(body: impl FnOnce() + Send + 'static) {
    // The first use of a calendar parses a time zone, in a debug build on 200 KiB.
    let _ = alpaca::stocks(Feed::Iex);
    let builder = std::thread::Builder::new().stack_size(256 << 10);
    builder.spawn(body).unwrap().join().unwrap();
}

#[test]
fn thousands_of_answers_in_one_frame_take_no_more_of_the_stack_than_one() {
    on_a_small_stack(|| {
        let mut bench = Bench::live();
        let subscriptions: Vec<_> = (0..2_000)
            .map(|number| bench.subscribe(alpaca::quotes([format!("S{number}")])))
            .collect();
        bench.step();
        assert_eq!(bench.sent().len(), 1);
        let refusals = vec![r#"{"T":"error","code":400,"msg":"x"}"#; 2_000].join(",");
        bench.say(&format!("[{refusals}]"));
        // The first answers the one request that was made. The rest answers none: the next was made after they came.
        assert_eq!(bench.sent(), [r#"{"action":"subscribe","quotes":["S1"]}"#]);
        let refused = |subscription| {
            let words = words(subscription).into_iter();
            words
                .filter(|word| !word.starts_with("unparsed"))
                .collect::<Vec<_>>()
        };
        assert_eq!(refused(&subscriptions[0]), ["refused[quotes:S0]"]);
        assert_eq!(refused(&subscriptions[1]), [""; 0]);
        assert_eq!(bench.health().counters.unparsed, 1_999);
        let states = vec![r#"{"T":"subscription","quotes":["S1"]}"#; 2_000].join(",");
        bench.say(&format!("[{states}]"));
        assert_eq!(words(&subscriptions[1]), ["confirmed[quotes:S1]"]);
    });
}

/// A venue that needs nobody's word: what is asked for is confirmed in the call that asks.
struct Obliging(crate::Endpoint);

impl Venue for Obliging {
    type Event = crate::market::MarketEvent;
    type Session = Self;

    fn endpoint(&self) -> &crate::Endpoint {
        &self.0
    }

    fn session(&self, _: Credentials) -> Self {
        Self(self.0.clone())
    }
}

impl Session for Obliging {
    type Event = crate::market::MarketEvent;

    fn handle_open(&mut self, _: Instant, out: &mut Output<crate::market::MarketEvent>) {
        out.up();
    }

    fn handle_frame(
        &mut self,
        _: Instant,
        _: Frame<'_>,
        _: &mut Output<crate::market::MarketEvent>,
    ) {
    }

    fn request(
        &mut self,
        _: Instant,
        _: Request<'_>,
        out: &mut Output<crate::market::MarketEvent>,
    ) {
        out.confirmed(Confirmed::Request);
    }
}

#[test]
fn a_thousand_requests_that_are_answered_while_they_are_made_take_no_more_of_the_stack_than_one() {
    on_a_small_stack(|| {
        let venue = Obliging("ws://obliging.invalid/".parse().unwrap());
        let key = crate::StreamKey::new(&venue.0, &Credentials::none());
        let stream = Stream::new(key, 0, venue, Arc::new(Config::default()));
        let lease = Lease::counted(Arc::clone(&stream) as Arc<dyn Shared>, None);
        let handle = StreamHandle::new(Arc::clone(&stream), lease, stream.config.queue);
        let subscriptions: Vec<_> = (0..1_000)
            .map(|number| handle.subscribe(alpaca::quotes([format!("S{number}")])))
            .collect::<Result<_, _>>()
            .unwrap();
        let (peer, transport) = Peer::new();
        let mut driver = drive(&stream, &peer, transport, Credentials::none());
        driver.step(peer.now());
        for subscription in &subscriptions {
            subscription.wait_confirmed(Duration::ZERO).unwrap();
        }
    });
}
