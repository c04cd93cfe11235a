//! How many requests are made, and when: as many as the socket takes, as the venue's pace allows, and as leave room for a stop.

use super::*;
use crate::{
    MarketEvent, StreamKey, Topic,
    error::{Rejection, RejectionKind},
    market::QUOTES,
    venue::{Context, Delivery, Frame, Message, Request, RequestId, Session},
};

/// A venue that is up at once. Its frames are answers, `yes 1` or `no 1`, refusals of a topic, `no A`, and quotes, `quote A`.
#[derive(Clone)]
struct Asked {
    endpoint: crate::Endpoint,
    rules: Rules,
    /// The session confirms what it asks for in the call that asks.
    obliges: bool,
}

impl Venue for Asked {
    type Event = MarketEvent;
    type Session = Self;

    fn endpoint(&self) -> &crate::Endpoint {
        &self.endpoint
    }

    fn rules(&self) -> Rules {
        self.rules.clone()
    }

    fn delivery(&self, _: &Topic) -> Delivery {
        Delivery::Changes
    }

    fn session(&self, _: Credentials) -> Self {
        self.clone()
    }
}

impl Session for Asked {
    type Event = MarketEvent;

    fn handle_open(&mut self, cx: &mut Context<'_, MarketEvent>) {
        cx.up();
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        let text = String::from_utf8_lossy(frame.bytes());
        let Some((word, id)) = text.split_once(' ') else {
            return;
        };
        let rejection = || Rejection::new(RejectionKind::BadRequest, "no such thing");
        match (word, id.parse().map(RequestId::new)) {
            ("yes", Ok(id)) => cx.confirmed(id),
            ("no", Ok(id)) => cx.refused(id, rejection()),
            ("no", Err(_)) => cx.refused_topic(Topic::new(QUOTES, id), None, rejection()),
            _ => cx.event(crate::testing::quote(id, 1, 2).into()),
        }
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        let Request {
            id, verb, topics, ..
        } = request;
        cx.send(Message::Text(format!("{id} {verb:?} {topics:?}")));
        if self.obliges {
            cx.confirmed(id);
        }
    }
}

struct AskedBench {
    peer: Peer,
    driver: Driver<Asked, MemoryTransport>,
    stream: Arc<Stream<Asked>>,
    handle: StreamHandle<Asked>,
    next: Option<Instant>,
}

impl AskedBench {
    fn of(rules: Rules, obliges: bool) -> Self {
        let venue = Asked {
            endpoint: "ws://asked.invalid/".parse().unwrap(),
            rules,
            obliges,
        };
        let key = StreamKey::new(&venue.endpoint, &Credentials::none());
        let stream = Stream::new(key, 0, venue.rules(), venue, Arc::new(Config::default()));
        let lease = Lease::counted(Arc::clone(&stream) as Arc<dyn SharedStream>, None);
        let handle = StreamHandle::new(Arc::clone(&stream), lease, stream.config.queue);
        let (peer, transport) = Peer::new();
        let driver = drive(&stream, &peer, transport, Credentials::none());
        let mut bench = Self {
            peer,
            driver,
            stream,
            handle,
            next: None,
        };
        bench.step();
        assert_eq!(bench.phase(), Phase::Live);
        bench
    }

    fn subscribe(&self, topics: usize) -> Subscription<MarketEvent> {
        let topics = (0..topics).map(|number| Topic::new(QUOTES, format!("S{number:05}")));
        self.handle.subscribe(Topics::new(topics)).unwrap()
    }

    fn step(&mut self) {
        self.next = self.driver.step(self.peer.now());
    }

    fn say(&mut self, text: &str) {
        self.peer.say(text);
        self.step();
    }

    fn leap(&mut self) {
        self.peer.advance_to(self.next.expect("something is due"));
        self.step();
    }

    fn phase(&self) -> Phase {
        self.stream.lifecycle.phase()
    }

    /// The requests that the socket took.
    fn requests(&self) -> Vec<String> {
        let mut sent = self.peer.take_sent();
        sent.retain(|text| text.contains("ubscribe"));
        sent
    }

    fn made(&self) -> u64 {
        self.handle.health().counters.requests
    }
}

/// The two ways in which nothing but the socket and the turn bound how many requests are made.
fn without_a_bound() -> [AskedBench; 2] {
    let rules = Rules::new().request_limit(1);
    [
        AskedBench::of(rules.clone(), true),
        AskedBench::of(rules.requests_at_once(usize::MAX), false),
    ]
}

#[test]
fn no_more_is_asked_for_than_the_socket_takes() {
    for mut bench in without_a_bound() {
        let subscription = bench.subscribe(100);
        bench.peer.block();
        for _ in 0..3 {
            bench.step();
        }
        assert_eq!(bench.made(), 1, "the socket did not take the first yet");
        assert_eq!(bench.requests().len(), 0);
        bench.peer.unblock();
        bench.step();
        assert_eq!(bench.made(), 100);
        assert_eq!(bench.requests().len(), 100);
        assert_eq!(bench.phase(), Phase::Live);
        drop(subscription);
    }
}

/// A peer may go on sending, and answer pings, and take nothing of what it is sent.
#[test]
fn a_socket_that_takes_nothing_is_waited_for_as_long_as_for_an_answer() {
    let timeout = Config::default().request_timeout;
    for mut bench in without_a_bound() {
        let subscription = bench.subscribe(3);
        bench.peer.block();
        let begun = bench.peer.now();
        bench.step();
        while bench.phase() == Phase::Live {
            assert!(bench.peer.now() < begun + timeout, "it waits for too long");
            bench.peer.pong();
            bench.leap();
        }
        assert_eq!(bench.peer.now(), begun + timeout);
        let cause = bench.stream.lifecycle.snapshot().cause.unwrap();
        assert!(
            matches!(cause.kind(), ErrorKind::Lost { why, .. } if why.contains("did not read")),
            "{cause}"
        );
        drop(subscription);
    }
}

/// What the session or a ping left in the socket is nobody's fault where nothing is to be asked for.
#[test]
fn a_socket_that_takes_nothing_while_nothing_is_to_be_asked_for_costs_no_line() {
    let mut bench = AskedBench::of(Rules::new(), true);
    let subscription = bench.subscribe(1);
    bench.step();
    bench.peer.block();
    let begun = bench.peer.now();
    while bench.peer.now() < begun + 3 * Config::default().request_timeout {
        // A ping is sent. What is said of topics then is a sign of life, and nothing follows from it.
        bench.leap();
        bench.say("no 77");
        assert_eq!(bench.phase(), Phase::Live);
    }
    drop(subscription);
}

#[test]
fn a_turn_makes_so_many_requests_and_then_looks_for_a_stop() {
    for mut bench in without_a_bound() {
        let subscription = bench.subscribe(2_000);
        bench.step();
        let first = bench.made();
        assert!((1..1_000).contains(&first), "{first} in one turn");
        let at = bench.peer.now();
        while bench.made() < 1_000 {
            bench.leap();
            assert_eq!(bench.peer.now(), at, "the next turn is due at once");
        }
        bench.stream.stop(None);
        let before = bench.made();
        bench.step();
        assert_eq!(bench.made(), before);
        assert!(bench.driver.is_over());
        drop(subscription);
    }
}

#[test]
fn the_pace_counts_from_when_a_request_was_made_and_not_from_when_its_turn_began() {
    let second = Duration::from_secs(1);
    let rules = Rules::new().request_limit(1).pace(1, second);
    let mut bench = AskedBench::of(rules, false);
    let subscription = bench.subscribe(3);
    bench.step();
    assert_eq!(bench.requests().len(), 1);
    bench.peer.advance(2 * second);
    // The answer is a large message, and takes long to read.
    bench.peer.set_read_time(second / 2);
    bench.peer.say("yes 1");
    bench.step();
    let made = bench.peer.now();
    assert_eq!(bench.requests().len(), 1);
    bench.peer.say("yes 2");
    bench.peer.set_read_time(Duration::ZERO);
    bench.step();
    while bench.requests().is_empty() {
        bench.leap();
    }
    assert_eq!(bench.peer.now() - made, second);
    drop(subscription);
}

/// What has rested is due while the pace allows nothing: it must not be due again in every turn.
#[test]
fn what_has_rested_while_no_request_may_be_made_does_not_keep_the_thread_awake() {
    let hour = Duration::from_secs(3_600);
    for blocks in [false, true] {
        let mut bench = AskedBench::of(Rules::new().pace(1, hour), false);
        let subscription = bench.subscribe(1);
        bench.step();
        bench.peer.say("no 1");
        bench.step();
        drop(subscription);
        if blocks {
            bench.peer.block();
        }
        let begun = bench.peer.now();
        let mut turns = 0;
        while bench.peer.now() < begun + hour / 2 {
            bench.peer.pong();
            bench.leap();
            turns += 1;
            assert!(turns < 2_000, "the thread spins");
        }
        assert_eq!(bench.phase(), Phase::Live);
    }
}

fn updates(subscription: &Subscription<MarketEvent>) -> Vec<Update<MarketEvent>> {
    std::iter::from_fn(|| subscription.try_recv().ok()).collect()
}

/// Of what is held back for a wildcard, a reader is spared what it was given by the symbol. Whoever comes after it, at its place,
/// was given nothing.
#[test]
fn whoever_takes_the_place_of_a_reader_that_left_is_given_all_that_is_held_back() {
    let mut bench = AskedBench::of(Rules::new(), false);
    let symbol = |bench: &AskedBench, symbol: &str| {
        let topics = Topics::new([Topic::new(QUOTES, symbol)]);
        bench.handle.subscribe(topics).unwrap()
    };
    let early = symbol(&bench, "A");
    bench.step();
    bench.say("yes 1");
    let waiting = symbol(&bench, "*");
    bench.step();
    assert_eq!(bench.made(), 2);
    // The first of a book, and what changes it comes behind the answer.
    bench.say("quote B");
    drop(early);
    bench.step();
    let late = symbol(&bench, "*");
    bench.step();
    bench.say("yes 2");
    for reader in [&waiting, &late] {
        let is_quote = |update: &Update<MarketEvent>| matches!(update, Update::Event(_));
        let quotes = updates(reader)
            .iter()
            .filter(|update| is_quote(update))
            .count();
        assert_eq!(quotes, 1);
    }
}

/// What it was given by the symbol is of that symbol alone.
#[test]
fn whoever_turns_from_a_symbol_to_all_is_given_what_is_held_back_of_the_others() {
    let mut bench = AskedBench::of(Rules::new(), false);
    let topics = |symbol: &str| Topics::<MarketEvent>::new([Topic::new(QUOTES, symbol)]);
    let turning = bench.handle.subscribe(topics("A")).unwrap();
    bench.step();
    bench.say("yes 1");
    let waiting = bench.handle.subscribe(topics("*")).unwrap();
    bench.step();
    bench.say("quote A");
    bench.say("quote B");
    turning.remove(topics("A")).unwrap();
    bench.step();
    turning.add(topics("*")).unwrap();
    bench.step();
    bench.say("yes 2");
    for reader in [&turning, &waiting] {
        let quotes: Vec<String> = updates(reader)
            .iter()
            .filter_map(|update| match update {
                Update::Event(quote) => Some(quote.symbol()?.to_string()),
                _ => None,
            })
            .collect();
        assert_eq!(quotes, ["A", "B"]);
    }
}

/// A refusal that no request waits for may be the only word of what is wrong.
#[test]
fn a_refusal_of_a_topic_that_nobody_asked_for_is_shown_as_one_of_a_request_is() {
    let mut bench = AskedBench::of(Rules::new(), false);
    let subscription = bench.subscribe(1);
    bench.step();
    bench.say("yes 1");
    updates(&subscription);
    // Of no request, of a topic that nobody has, and of one that is confirmed.
    for (refusal, shown) in [
        ("no 77", "no such thing"),
        ("no OTHER", "quotes:OTHER: no such thing"),
        ("no S00000", "quotes:S00000: no such thing"),
    ] {
        bench.say(refusal);
        let updates = updates(&subscription);
        assert!(
            matches!(&updates[..], [Update::Notice(Declared { what: Notice::Unparsed(unparsed), .. })]
                if unparsed.raw.contains(shown)),
            "{refusal}: {updates:?}"
        );
    }
}
