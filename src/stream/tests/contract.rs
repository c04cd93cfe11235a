//! What the driver does for a venue of somebody's own: a status that means something else there, and what a session finds in its
//! context.

use parking_lot::Mutex;

use super::*;
use crate::{
    MarketEvent, Timestamp, Topic,
    error::{RejectionKind, Remedy},
    venue::{Context, Frame, Message, Request, RequestId, Session, Verb},
};

/// A venue that is up at once, and notes what its sessions are told.
#[derive(Clone)]
struct Own {
    endpoint: crate::Endpoint,
    /// What an HTTP status of 418 means.
    teapot: RejectionKind,
    noted: Arc<Mutex<Vec<Noted>>>,
}

/// A call of a session: when it came, by both clocks, and a random number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Noted {
    now: Instant,
    utc: Timestamp,
    random: u64,
}

impl Venue for Own {
    type Event = MarketEvent;
    type Session = Self;

    fn endpoint(&self) -> &crate::Endpoint {
        &self.endpoint
    }

    fn judge_status(&self, status: u16) -> RejectionKind {
        assert_eq!(status, 418);
        self.teapot
    }

    fn session(&self, _: Credentials) -> Self {
        self.clone()
    }
}

impl Own {
    fn note(&self, cx: &mut Context<'_, MarketEvent>) {
        let (now, utc, random) = (cx.now(), cx.utc(), cx.random());
        self.noted.lock().push(Noted { now, utc, random });
    }
}

impl Session for Own {
    type Event = MarketEvent;

    fn handle_open(&mut self, cx: &mut Context<'_, MarketEvent>) {
        self.note(cx);
        cx.up();
    }

    fn handle_frame(&mut self, _: Frame<'_>, cx: &mut Context<'_, MarketEvent>) {
        self.note(cx);
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, MarketEvent>) {
        self.note(cx);
        let Request {
            id, verb, topics, ..
        } = request;
        cx.send(Message::Text(format!("{id} {verb:?} {topics:?}")));
    }
}

struct OwnBench {
    peer: Peer,
    driver: Driver<Own, MemoryTransport>,
    stream: Arc<Stream<Own>>,
    handle: StreamHandle<Own>,
}

impl OwnBench {
    fn of(teapot: RejectionKind) -> (Self, Arc<Mutex<Vec<Noted>>>) {
        let noted = Arc::default();
        let venue = Own {
            endpoint: "ws://own.invalid/".parse().unwrap(),
            teapot,
            noted: Arc::clone(&noted),
        };
        let key = crate::StreamKey::new(&venue.endpoint, &Credentials::none());
        let stream = Stream::new(key, 0, venue.rules(), venue, Arc::new(Config::default()));
        let lease = Lease::counted(Arc::clone(&stream) as Arc<dyn SharedStream>, None);
        let handle = StreamHandle::new(Arc::clone(&stream), lease, stream.config.queue);
        let (peer, transport) = Peer::new();
        let driver = drive(&stream, &peer, transport, Credentials::none());
        let bench = Self {
            peer,
            driver,
            stream,
            handle,
        };
        (bench, noted)
    }

    fn step(&mut self) {
        self.driver.step(self.peer.now());
    }
}

#[test]
fn a_status_at_the_upgrade_means_what_the_venue_says() {
    for (teapot, phase, remedy) in [
        (RejectionKind::Temporary, Phase::Waiting, Remedy::RetryLater),
        (
            RejectionKind::ConnectionLimit,
            Phase::Waiting,
            Remedy::CloseOthers,
        ),
        // As far as the driver goes: the thread's guard tells the end.
        (
            RejectionKind::BadRequest,
            Phase::Closing,
            Remedy::FixRequest,
        ),
        (
            RejectionKind::Credentials,
            Phase::Closing,
            Remedy::FixCredentials,
        ),
    ] {
        let (mut bench, _) = OwnBench::of(teapot);
        bench.peer.fail_next(Fault::Upgrade {
            status: 418,
            retry_after: None,
            location: None,
        });
        bench.step();
        let health = bench.handle.health();
        let is_over = bench.driver.is_over();
        assert_eq!(is_over, phase == Phase::Closing, "{teapot:?}: {health}");
        let cause = bench.stream.lifecycle.snapshot().cause;
        let cause = cause.expect("it failed");
        assert_eq!(cause.remedy(), remedy, "{teapot:?}");
    }
}

#[test]
fn a_session_finds_the_time_of_its_input_and_a_new_random_number_in_its_context() {
    let (mut bench, noted) = OwnBench::of(RejectionKind::Temporary);
    bench.peer.seed_jitter(7);
    let topics = Topics::<MarketEvent>::new([Topic::new(crate::market::QUOTES, "A")]);
    let _quotes = bench.handle.subscribe(topics).unwrap();
    let begun = bench.driver.utc();
    bench.step();
    bench.peer.advance(Duration::from_secs(3));
    bench.peer.say("something");
    bench.step();
    let noted = noted.lock().clone();
    let [opened, asked, heard] = noted[..] else {
        panic!("{noted:?}")
    };
    assert_eq!((opened.now, opened.utc), (asked.now, begun));
    assert_eq!(heard.now - opened.now, Duration::from_secs(3));
    let later = heard.utc.as_nanos() - opened.utc.as_nanos();
    assert_eq!(later, 3_000_000_000);
    assert!(opened.random != asked.random && asked.random != heard.random);
    // The first request of the stream, and what it is for.
    let sent: Vec<_> = bench.peer.take_deeds().into_iter().collect();
    let first = format!("{} {:?} [quotes:A]", RequestId::new(1), Verb::Subscribe);
    assert!(
        sent.iter()
            .any(|deed| matches!(deed, Deed::Sent(text) if *text == first)),
        "{sent:?}"
    );
}
