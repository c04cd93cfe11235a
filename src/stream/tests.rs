//! The driver on a transport without sockets, with the test as the peer and the clock.

mod contract;
mod depth;
mod liveness;
mod proxy;
mod requests;
mod telling;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{
    Drain, ScopeId, Stream, StreamHandle, Subscription,
    batch::Batch,
    claims,
    driver::Driver,
    lease::Lease,
    registry::Released,
    sink::{Fold, Sink, TopicNews},
    subscriptions::DesiredTopics,
};
use crate::{
    Config, Credentials, Declared, EndReason, Error, ErrorKind, Notice, Phase, Proxy, Quote,
    Topics, Update,
    alpaca::{self, Feed, MarketData},
    attempts::Attempts,
    clock,
    error::At,
    event::Concerns,
    health::SubscriptionHealth,
    stream::SharedStream,
    transport::{
        Fault,
        memory::{Deed, Dice, MemoryTransport, Peer},
    },
    venue::{Rules, Venue},
};

/// A driver in the surroundings of a test.
pub(crate) fn drive<V: Venue>(
    stream: &Arc<Stream<V>>,
    peer: &Peer,
    transport: MemoryTransport,
    credentials: Credentials,
) -> Driver<V, MemoryTransport> {
    let (ambient, attempts) = (peer.ambient(), peer.failed_attempts());
    let proxy = match &stream.config.proxy {
        Proxy::At(proxy) => Some(proxy.clone()),
        Proxy::FromEnv | Proxy::Never => None,
    };
    Driver::new(
        Arc::clone(stream),
        transport,
        ambient,
        attempts,
        credentials,
        proxy,
    )
}

/// A stream whose thread is the test.
pub(crate) struct Bench {
    pub(crate) peer: Peer,
    driver: Driver<MarketData, MemoryTransport>,
    pub(crate) stream: Arc<Stream<MarketData>>,
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
        let stream = Stream::new(key, 0, venue.rules(), venue, Arc::new(config));
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
        let lease = Lease::counted(Arc::clone(&self.stream) as Arc<dyn SharedStream>, None);
        StreamHandle::new(Arc::clone(&self.stream), lease, self.stream.config.queue)
    }

    fn subscribe(&self, topics: Topics<Quote>) -> Subscription<Quote> {
        self.handle().subscribe(topics).unwrap()
    }

    pub(crate) fn shared(&self) -> Arc<dyn SharedStream> {
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
            Update::Gap(gap) => format!("gap{}x{}", gap.epoch, gap.breaks),
            Update::Dropped(dropped) => format!("dropped{}", dropped.count),
            Update::Notice(Declared {
                what: Notice::Confirmed { topics, .. },
                ..
            }) => format!("confirmed{topics:?}"),
            Update::Notice(Declared {
                what: Notice::Refused { topics, .. },
                ..
            }) => format!("refused{topics:?}"),
            Update::Notice(Declared {
                what: Notice::Displaced { topics, .. },
                ..
            }) => format!("displaced{topics:?}"),
            Update::Notice(Declared {
                what: Notice::Resumed { epoch, .. },
                ..
            }) => format!("resumed{epoch}"),
            Update::Notice(Declared {
                what: Notice::Unparsed(unparsed),
                ..
            }) => {
                format!("unparsed:{}+{}", unparsed.raw, unparsed.more)
            }
            Update::Notice(Declared {
                what: Notice::Unmatched { topic, .. },
                ..
            }) => format!("unmatched{topic}"),
            Update::Notice(Declared {
                what: Notice::Behind { by, .. },
                ..
            }) => format!("behind{}", by.as_secs()),
            Update::Notice(Declared {
                what: Notice::NotLive { attempt, cause, .. },
                ..
            }) => {
                format!("not live {attempt} {}", cause.code())
            }
            Update::Notice(Declared {
                what: Notice::LeftOut { count, .. },
                ..
            }) => format!("leftout{count}"),
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
        matches!(cause.kind(), ErrorKind::Lost { .. } if cause.phase() == Some(Phase::Authenticating)),
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
            |error| matches!(error.kind(), ErrorKind::Refused { .. } if error.phase() == Some(Phase::Authenticating)),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":402,"msg":"auth failed"}]"#,
            ],
            true,
            |error| matches!(error.kind(), ErrorKind::Rejected { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":409,"msg":"insufficient subscription"}]"#,
            ],
            true,
            |error| matches!(error.kind(), ErrorKind::NotEntitled { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#,
            ],
            false,
            |error| matches!(error.kind(), ErrorKind::ConnectionLimit { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":404,"msg":"auth timeout"}]"#,
            ],
            false,
            |error| matches!(error.kind(), ErrorKind::Refused { .. }),
        ),
        (
            &[
                CONNECTED,
                r#"[{"T":"error","code":500,"msg":"internal error"}]"#,
            ],
            false,
            |error| matches!(error.kind(), ErrorKind::Refused { .. }),
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
            matches!(cause.kind(), ErrorKind::Lost { why, .. }
                if cause.phase() == Some(Phase::Authenticating) && why.contains("<html>")),
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
fn refused_and_unresolved_try_again_and_a_wait_says_why() {
    let mut bench = Bench::new(Config::default());
    let refused = || {
        Fault::Connect(crate::error::Source::new(std::io::Error::from(
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
    let ErrorKind::TimedOut {
        cause: Some(cause), ..
    } = error.kind()
    else {
        panic!("{error:?}")
    };
    assert!(
        matches!(cause.kind(), ErrorKind::Unreachable { .. }),
        "{cause:?}"
    );
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

/// However much lies in front of the stream, a turn reads a part of it: a stop is noticed between two turns.
#[test]
fn a_flood_of_messages_large_or_small_does_not_keep_a_stop_waiting() {
    const FLOOD: usize = 20_000;
    // How long it takes to read one, and how many of them a turn may read.
    for (read_time, most) in [
        (Duration::ZERO, 4_096),
        (Duration::from_micros(10), 500),
        (Duration::from_millis(2), 3),
        (Duration::from_secs(1), 1),
    ] {
        let mut bench = Bench::live();
        bench.peer.set_read_time(read_time);
        for _ in 0..FLOOD {
            bench.peer.say(quote("A", 1));
        }
        bench.peer.take_deeds();
        for _ in 0..3 {
            bench.step();
            let deeds = bench.peer.take_deeds();
            let reads = deeds.iter().filter(|deed| **deed == Deed::Read);
            assert_eq!(reads.count(), most, "{read_time:?}");
        }
        bench.stream.stop(None);
        bench.step();
        assert!(bench.is_over(), "{read_time:?}");
        let deeds = bench.peer.take_deeds();
        assert!(!deeds.contains(&Deed::Read), "{read_time:?}");
    }
}

/// What a member sees at each step of a stream's end: whether the key is still taken.
struct EndSteps {
    key: crate::StreamKey,
    generation: u64,
    steps: Mutex<Vec<(&'static str, bool)>>,
}

impl EndSteps {
    fn add(&self, step: &'static str) {
        let (_, draining) = claims().holds(&self.key, self.generation);
        self.steps.lock().push((step, draining.is_some()));
    }
}

impl Fold<crate::market::MarketEvent> for EndSteps {
    fn fold(&self, _: &Batch<crate::market::MarketEvent>, _: super::Slice) {}

    fn told(&self, _: &crate::Topic, _: TopicNews<'_>) {}

    fn missed(&self, _: &Concerns) {}

    fn cut(&self, _: u64) {
        self.add("cut");
    }

    fn end(&self, _: &EndReason) {
        self.add("end");
    }

    fn health(&self, _: u64) -> SubscriptionHealth {
        unreachable!("nobody asks")
    }
}

/// Whoever learns that a stream has ended may open the same key at once, and must neither wait for the dead stream nor
/// join it. And nobody who opens the key anew finds a price of the old connection that looks fresh.
#[test]
fn the_key_is_free_before_anybody_learns_of_the_end_and_prices_are_cut_before_that() {
    let venue = alpaca::stocks(Feed::Iex);
    let credentials = Credentials::new("PKENDSTEPS", SECRET).unwrap();
    let key = crate::StreamKey::new(venue.endpoint(), &credentials);
    let mut made = None;
    let acquired = claims().acquire(&key, ScopeId(u64::MAX), clock::now(), |generation| {
        let stream = Stream::new(
            key.clone(),
            generation,
            venue.rules(),
            venue,
            Arc::default(),
        );
        Arc::clone(made.insert(stream)) as Arc<dyn SharedStream>
    });
    assert!(acquired.is_ok());
    let stream = made.unwrap();
    let generation = stream.generation;
    let steps = Arc::new(EndSteps {
        key: key.clone(),
        generation,
        steps: Mutex::default(),
    });
    let topics = alpaca::quotes(["A"]).into_parts();
    let sink = Sink::Fold(Arc::clone(&steps) as _);
    let desired = DesiredTopics {
        topics: stream.wanted(&topics.topics).unwrap(),
        expected: None,
        priority: 0,
    };
    stream.subscriptions.subscribe(sink, desired, None).unwrap();
    assert_eq!(claims().release(&key, generation), Released::Last);

    let (begin, begun) = crossbeam_channel::bounded(1);
    let thread = {
        let stream = Arc::clone(&stream);
        let conclude = move || {
            begun.recv().unwrap();
            stream.conclude(&EndReason::Closed);
        };
        crate::thread::spawn("concludes".to_owned(), conclude).unwrap()
    };
    // Nobody can be told of a phase while the state is held here: the key has to become free all the same.
    let mut is_free = false;
    stream.lifecycle.change(clock::now(), |_| {
        begin.send(()).unwrap();
        is_free = claims().wait_gone(&key, generation, clock::now() + Duration::from_secs(30));
    });
    thread.join().unwrap();
    assert!(is_free, "the phase was told first");
    assert_eq!(stream.lifecycle.phase(), Phase::Ended);
    assert_eq!(*steps.steps.lock(), [("cut", true), ("end", false)]);
}

/// The end is told before the subscriptions are closed. Whoever has heard of it must not be given a subscription in between.
#[test]
fn who_was_told_of_the_end_gets_its_error_from_every_call() {
    let mut bench = Bench::live();
    let (handle, quotes) = (bench.handle(), bench.subscribe(alpaca::quotes(["A"])));
    bench.step();
    let rejected = Error::new(
        At::new(&bench.stream.key, Phase::Authenticating),
        ErrorKind::Rejected {
            rejection: crate::error::Rejection::new(crate::error::RejectionKind::Credentials, "no")
                .with_code(402),
        },
    );
    let reason = EndReason::Failed(rejected);
    bench.stream.lifecycle.end(clock::now(), &reason);
    for is_closed in [false, true] {
        if is_closed {
            bench.end(&reason);
        }
        let calls = [
            handle.wait_live(Duration::ZERO),
            handle.subscribe(alpaca::quotes(["A"])).map(drop),
            handle.price_book(["A"]).map(drop),
            quotes.add(alpaca::quotes(["B"])),
            quotes.remove(alpaca::quotes(["A"])),
            quotes.resubscribe(),
        ];
        let told: Vec<_> = calls
            .into_iter()
            .map(|call| call.unwrap_err().to_string())
            .collect();
        assert!(told[0].contains("402"), "{told:?}");
        assert!(told.iter().all(|error| *error == told[0]), "{told:?}");
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

/// A venue that accepts and drops at once: backoff for one stream, the budget for what it may be shown at all.
#[test]
fn a_host_is_shown_no_more_failures_than_its_budget() {
    let mut config = Config::default();
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(1);
    let venue = alpaca::stocks(Feed::Iex);
    let venue = venue.with_rules(|rules| rules.attempts(5, Duration::from_secs(10)));
    let mut bench = Bench::of(venue, config, Peer::new());
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
    let limit = Rules::new().attempts(0, Duration::from_secs(1)).attempts;
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
            &Rules::new().attempts,
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
        Lease::counted(Arc::clone(&bench.stream) as Arc<dyn SharedStream>, None),
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
    let ErrorKind::GaveUp {
        failures: 3, cause, ..
    } = cause.kind()
    else {
        panic!("{cause:?}")
    };
    assert!(
        matches!(cause.kind(), ErrorKind::Upgrade { status: 503, .. }),
        "{cause:?}"
    );
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
    let most = 10 + Rules::new().attempts.burst + SECONDS;
    assert!(attempts <= most, "{attempts} attempts, of {most}");
    assert!(
        attempts >= SECONDS,
        "{attempts} attempts: it is not to starve them either"
    );
}
