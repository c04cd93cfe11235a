//! A stream whose events come from a test: the real claim table, topic table, router and queues, and in place of the thread, the
//! session and the socket whoever calls [`TestFeed`]'s methods.
//!
//! **The lock.** What a stream's thread owns alone is shared here, so the router lies under a Mutex. It is taken outermost:
//! under it, subscriptions, lifecycle and queues lock for a moment each, and none of them calls back in here with a lock of
//! its own held: the waker runs after the subscriptions were let go. The claim table is called after the router was let go.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::Mutex;

use super::{
    Acquired, Lease, ScopeId, Stream, claims,
    handle::StreamHandle,
    router::{Router, Telling},
    topics::TopicTable,
};
use crate::{
    clock,
    config::Config,
    credentials::Credentials,
    error::{At, Error, ErrorKind},
    event::{EndReason, Gap, Notice},
    key::{Endpoint, StreamKey},
    phase::Phase,
    transport::Wake,
    venue::{Answer, Events, Routed, Venue},
};

/// The venue's side of a stream without a socket: what is fed here reaches the subscriptions of its handle, as far as
/// they asked for it. Made by [`testing`](crate::testing).
///
/// The stream is live from the beginning, and confirms every topic at once. It ends when this is dropped, with
/// [`EndReason::Closed`], and when its last handle or subscription is. No method blocks, and every one does nothing
/// once it has ended.
pub struct TestFeed<E: Routed> {
    stream: Arc<dyn FedStream<E>>,
}

impl<E: Routed> TestFeed<E> {
    /// An event, read from the connection just now.
    pub fn event(&self, event: impl Into<E>) {
        self.events([event]);
    }

    /// Events that were read together. Between a [`gap`](Self::gap) and [`resume`](Self::resume) they are lost, as on
    /// any broken line.
    pub fn events<I: Into<E>>(&self, events: impl IntoIterator<Item = I>) {
        let received = clock::now();
        let mut stamped = Events::new();
        for event in events {
            stamped.push(event.into(), received);
        }
        self.stream.dispatch(stamped);
    }

    /// The connection breaks: every subscription gets an [`Update::Gap`](crate::Update::Gap).
    pub fn gap(&self) {
        self.stream.gap();
    }

    /// The next connection is live and everything is confirmed again: those that had a gap get
    /// [`Notice::Resumed`].
    pub fn resume(&self) {
        self.stream.resume();
    }

    /// Every subscription is too slow for `count` events at once, whatever its queue would have held.
    pub fn drop_events(&self, count: u64) {
        self.stream.lose(count);
    }

    /// Every subscription is told something; of what could not be read, those that it [concerns](crate::event::Unparsed::concerns).
    pub fn notice(&self, notice: Notice) {
        self.stream.notice(&notice);
    }

    /// The stream ends, behind what is queued.
    pub fn end(&self, reason: EndReason) {
        self.stream.end(&reason);
    }
}

impl<E: Routed> Drop for TestFeed<E> {
    fn drop(&mut self) {
        self.stream.end(&EndReason::Closed);
    }
}

impl<E: Routed> fmt::Debug for TestFeed<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestFeed").finish_non_exhaustive()
    }
}

/// A stream of `venue` without a socket, and its first handle. The venue makes no session.
pub(crate) fn in_memory<V: Venue>(venue: V) -> (TestFeed<V::Event>, StreamHandle<V>) {
    // A key of its own, so that tests that run side by side share nothing.
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let endpoint: Endpoint = format!("ws://test.invalid/{number}")
        .parse()
        .expect("a number makes a path");
    let key = StreamKey::new(&endpoint, &Credentials::none());
    let config = Arc::new(Config::default());
    let queue = config.queue;
    let rules = venue.rules();
    let mut created = None;
    let acquired = claims().acquire(
        &key,
        ScopeId(0),
        clock::deadline(config.open_timeout),
        |generation| {
            let stream = Stream::new(key.clone(), generation, rules, venue, config);
            created = Some(Arc::clone(&stream));
            stream
        },
    );
    let (Ok(Acquired::Created { stream: shared }), Some(stream)) = (acquired, created) else {
        unreachable!("nobody else has this key");
    };
    let fed = Arc::new(InMemoryStream {
        stream: Arc::clone(&stream),
        router: Mutex::new(Router::new(clock::now())),
    });
    stream.lifecycle.change(clock::now(), |state| {
        state.phase = Phase::Live;
        state.epoch = 1;
    });
    stream.set_rules();
    stream.subscriptions.with_table(TopicTable::connected);
    // The two hold each other, until either end of the line lets go: `end` takes it back.
    stream.subscriptions.set_waker(Arc::clone(&fed) as _);
    let handle = StreamHandle::new(stream, Lease::counted(shared, None), queue);
    (TestFeed { stream: fed }, handle)
}

struct InMemoryStream<V: Venue> {
    stream: Arc<Stream<V>>,
    router: Mutex<Router<V::Event>>,
}

/// What a feed does, without knowing its venue.
trait FedStream<E>: Send + Sync {
    fn dispatch(&self, events: Events<E>);
    fn gap(&self);
    fn resume(&self);
    fn lose(&self, count: u64);
    fn notice(&self, notice: &Notice);
    fn end(&self, reason: &EndReason);
}

impl<V: Venue> InMemoryStream<V> {
    /// Takes over what callers want, and confirms it while the line is up. Says whether they want no more of it.
    fn take_over(&self, router: &mut Router<V::Event>) -> bool {
        let now = clock::now();
        let subscriptions = &self.stream.subscriptions;
        let changes = subscriptions.take_changes();
        for joined in changes.joined {
            router.join(joined, now);
        }
        subscriptions.with_table(|table| {
            while self.is_live() && table.next(now).is_some() {
                table.hear(vec![Answer::Request(None, Ok(()))], now);
            }
        });
        self.tell_news(router);
        for id in changes.left {
            router.leave(id);
        }
        changes.stop.is_some()
    }

    fn tell_news(&self, router: &mut Router<V::Event>) {
        let news = self.stream.subscriptions.with_table(TopicTable::take_news);
        let telling = Telling {
            gap: self.gap_of(self.lost(), 0),
            epoch: self.epoch(),
            at: clock::now(),
            now: clock::utc(),
            asleep: clock::asleep(),
            expects: &|_| None,
        };
        self.stream.counters.claim(router.apply(news, &telling));
        self.stream.subscriptions.arrived();
        // Of a test's stream there are no records.
        drop(router.take_told());
    }

    /// A gap of so many breaks of the connection, none where it goes on.
    fn gap_of(&self, cause: Error, breaks: u64) -> Gap {
        Gap {
            since: None,
            last: Some(clock::utc()),
            cause,
            epoch: self.epoch(),
            topics: Box::default(),
            breaks,
        }
    }

    fn is_live(&self) -> bool {
        self.stream.lifecycle.phase() == Phase::Live
    }

    fn epoch(&self) -> u64 {
        self.stream.lifecycle.snapshot().epoch
    }

    fn lost(&self) -> Error {
        Error::new(
            At::new(&self.stream.key, Phase::Live),
            ErrorKind::Lost {
                why: "the test feed says so".to_owned(),
                source: None,
            },
        )
    }
}

impl<V: Venue> FedStream<V::Event> for InMemoryStream<V> {
    fn dispatch(&self, mut events: Events<V::Event>) {
        let count = events.len() as u64;
        if self.is_live() {
            self.stream.counters.events.add(count);
            self.stream.counters.last_read.set(clock::now());
        }
        let mut router = self.router.lock();
        let routing = router.dispatch(&mut events, self.epoch(), clock::asleep());
        for id in router.take_overflowed() {
            self.stream.subscriptions.end_full(id);
        }
        drop(router);
        if self.is_live() {
            self.stream.counters.add_routing(&routing);
        }
    }

    fn gap(&self) {
        let mut router = self.router.lock();
        if !self.is_live() {
            return;
        }
        let cause = self.lost();
        router.disconnected(Some(&self.gap_of(cause.clone(), 1)));
        let subscriptions = &self.stream.subscriptions;
        subscriptions.with_table(|table| table.disconnected(Some(&cause), clock::now()));
        self.stream.lifecycle.change(clock::now(), |state| {
            state.phase = Phase::Waiting;
            state.failures += 1;
            state.cause = Some(cause);
        });
        self.take_over(&mut router);
    }

    fn resume(&self) {
        let mut router = self.router.lock();
        if self.stream.lifecycle.phase() != Phase::Waiting {
            return;
        }
        let now = clock::now();
        self.stream.lifecycle.change(now, |state| {
            state.phase = Phase::Live;
            state.epoch += 1;
        });
        router.connected(now);
        self.stream.subscriptions.with_table(TopicTable::connected);
        self.take_over(&mut router);
    }

    fn lose(&self, count: u64) {
        self.router.lock().lose(count);
    }

    fn notice(&self, notice: &Notice) {
        let router = self.router.lock();
        match notice {
            Notice::Unparsed(unparsed) => router.unparsed(unparsed),
            other => router.notice(other),
        }
    }

    fn end(&self, reason: &EndReason) {
        self.stream.conclude(reason);
    }
}

/// Called by whoever wants something else, with none of the stream's locks held.
impl<V: Venue> Wake for InMemoryStream<V> {
    fn wake(&self) {
        let stop = self.take_over(&mut self.router.lock());
        if stop {
            self.end(&EndReason::Closed);
        }
    }
}
