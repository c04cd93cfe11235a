//! Shared streams: [`StreamHandle`], by which a thread holds one, and [`Subscription`], by which it reads.
//!
//! | you want to | use |
//! |---|---|
//! | read one update after the other | [`Subscription::recv`], [`recv_timeout`](Subscription::recv_timeout), or iterate: [`Iter`] |
//! | wait for several things at once | [`Subscription::ready`], whose [`Ready`] tokens wake a `select!`, and [`Subscription::drain`] |
//! | know when the line is up | [`StreamHandle::wait_live`], or [`StreamHandle::phases`] |
//! | close and know that it is closed | [`StreamHandle::close`], which says [`LineClosed`] |
//! | bound a queue | [`Topics::queue`](crate::Topics::queue), [`QueueLimit`] |

// How a shared stream is made: its parts, its thread, and how it starts and ends.
//
// # Walks
// - **A frame**: `driver` reads it (`flow.rs`) and gives it to the session, whose events go to the `router`, which hands them
//   to the `queue` of each reader, or to a `sink::Fold`; the subscription takes them out.
// - **A wish**: a handle or a subscription writes it into the topic table (`topics`, kept by `subscriptions`) and wakes the
//   thread, which asks the table for the next request and gives that to the session.
// - **An answer**: the session says what the venue said, the table decides what follows, and its news goes through the router to
//   those whom it concerns: first to folds, then to queues. Then it has arrived, and whoever waits for it is woken.
// - **A last drop**: `lease` gives the lease back to `registry`, stops the thread and waits until its guard has freed the key.
//
// # Locks
// Each is private to its file. A thread holds one at a time, and never across I/O, a join, a send, a destructor or
// user code. (One exception is argued in `queue.rs`: the token of the end is sent under the tail.)
//
// | lock | file | protects | its Condvar |
// |---|---|---|---|
// | claim table | `registry.rs` | which stream holds which key | the end of a draining stream |
// | lifecycle | `lifecycle.rs` | the phase | a change of it |
// | subscriptions | `subscriptions.rs` | the topic table: what callers want, and what became of it | news that has arrived |
// | queue, tail | `queue.rs` | what the stream's thread pushed | the first of it; in `select!` the wake token |
// | refusal, reported | `price_book/cell.rs` | why a topic was refused, how the last trade was named | none |
// | gate | `price_book/gate.rs` | the number of an update | an update |
// | unmatched | here | the topic of the newest event that matched nobody | none |
// | thread | here | the join handle | none |
// | router | `in_memory.rs` | the router of a stream that a test feeds; the one that others are taken under | none |

mod batch;
mod behind;
mod driver;
mod entries;
mod handle;
pub(crate) mod in_memory;
mod lease;
mod lifecycle;
mod liveness;
#[cfg(feature = "metrics")]
mod meter;
#[cfg(not(feature = "metrics"))]
#[path = "meter_off.rs"]
mod meter;
#[cfg(all(test, loom))]
mod model;
mod queue;
mod registry;
mod router;
#[cfg(test)]
#[cfg(not(loom))]
mod simulation;
pub(crate) mod sink;
mod subscription;
mod subscriptions;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod tests;
mod topics;

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    thread::{JoinHandle, ThreadId},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

pub(crate) use self::{
    batch::{Batch, Slice},
    in_memory::in_memory,
    lease::{Lease, end},
    lifecycle::Lifecycle,
    registry::{Acquired, ScopeId, claims},
    topics::SubscriptionId,
};
use self::{
    driver::Driver,
    router::Routing,
    subscriptions::{Subscriptions, Waited},
    topics::{Limits, TopicTable, Wanted},
};
pub use self::{
    handle::{LineClosed, StreamHandle},
    lifecycle::Phases,
    queue::Ready,
    subscription::{Drain, Iter, RecvError, RecvTimeoutError, Subscription, TryRecvError},
};
pub use crate::topic::QueueLimit;
use crate::{
    ambient::System,
    attempts::Attempts,
    clock,
    config::Config,
    correlation::CorrelationId,
    credentials::Credentials,
    error::{At, Error, ErrorKind, Result, SettingDifference, Source},
    event::EndReason,
    health::{CounterValues, Health, SubscriptionHealth},
    key::StreamKey,
    phase::Phase,
    proxy::ProxyServer,
    record, thread,
    topic::{Overflow, Topic},
    transport::{Transport, proxy::proxy_for, websocket::WebSocketTransport},
    venue::{Delivery, Rules, Venue},
};

/// What the handles, the subscriptions and the thread of one stream share.
pub(crate) struct Stream<V: Venue> {
    key: StreamKey,
    generation: u64,
    venue: V,
    /// The venue's own.
    rules: Rules,
    config: Arc<Config>,
    lifecycle: Lifecycle,
    subscriptions: Subscriptions<V::Event>,
    counters: Counters,
    /// The topic of the newest event that matched nobody.
    unmatched: Mutex<Option<Topic>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    thread_id: OnceLock<ThreadId>,
}

/// A stream, whatever its venue.
pub(crate) type AnyStream = Arc<dyn SharedStream>;

/// What can be done with a stream without knowing its venue.
pub(crate) trait SharedStream: Any + Send + Sync {
    fn key(&self) -> &StreamKey;
    fn generation(&self) -> u64;
    fn lifecycle(&self) -> &Lifecycle;
    fn release_timeout(&self) -> Duration;
    /// Asks the thread to end, in the name of whoever let go of it. Does not wait.
    fn stop(&self, correlation: Option<&CorrelationId>);
    /// Joins a thread that has ended. Whoever comes second finds nothing to join.
    fn join(&self);
    fn is_own_thread(&self) -> bool;
    /// A topic as the venue writes it.
    fn canonical(&self, topic: &Topic) -> Topic;
    fn unsubscribe(&self, id: SubscriptionId);
    /// Adds topics to a subscription, whose queue does this when it is full, if it has one. `also` runs under the lock, so that what
    /// it does has the same order for all threads.
    fn add_topics(
        &self,
        id: SubscriptionId,
        topics: Vec<Topic>,
        overflow: Option<Overflow>,
        also: &mut dyn FnMut(),
    ) -> Result<()>;
    fn remove_topics(
        &self,
        id: SubscriptionId,
        topics: &[Topic],
        also: &mut dyn FnMut(),
    ) -> Result<()>;
    fn wait_confirmed(&self, id: SubscriptionId, deadline: Instant) -> Waited;
    fn is_refused(&self, id: SubscriptionId, topic: &Topic) -> bool;
    /// `None` once the stream has ended, and in a forked child.
    fn health_of(&self, id: SubscriptionId) -> Option<SubscriptionHealth>;
    fn health(&self) -> Health;
}

impl<V: Venue> Stream<V> {
    pub(crate) fn new(
        key: StreamKey,
        generation: u64,
        rules: Rules,
        venue: V,
        config: Arc<Config>,
    ) -> Arc<Self> {
        Arc::new(Self {
            lifecycle: Lifecycle::new(key.clone()),
            subscriptions: Subscriptions::new(TopicTable::new(&key)),
            key,
            generation,
            venue,
            rules,
            config,
            counters: Counters::default(),
            unmatched: Mutex::default(),
            thread: Mutex::new(None),
            thread_id: OnceLock::new(),
        })
    }

    /// The settings that somebody who asks for `venue` and `config` would have otherwise.
    pub(crate) fn differences(
        &self,
        venue: &V,
        rules: &Rules,
        config: &Config,
    ) -> Vec<SettingDifference> {
        let (here, there) = (self.venue.settings(), venue.settings());
        let of = |settings: &[(&'static str, String)], name| {
            let named = settings.iter().filter(|(known, _)| *known == name);
            let values: Vec<&str> = named.map(|(_, value)| value.as_str()).collect();
            values.join(" ")
        };
        let mut names: Vec<_> = here.iter().chain(&there).map(|(name, _)| *name).collect();
        names.sort_unstable();
        names.dedup();
        let venues = names
            .into_iter()
            .map(|name| (name, of(&here, name), of(&there, name)));
        let venues = venues.filter(|(_, open, asked)| open != asked);
        venues
            .map(|(name, open, asked)| SettingDifference::new(name, open, asked))
            .chain(SettingDifference::between("rules", &self.rules, rules))
            .chain(self.config.differences(config))
            .collect()
    }

    /// Tells the table the venue's rules, before it is asked for anything.
    fn set_rules(&self) {
        let rules = &self.rules;
        let limits = Limits {
            topics: rules.request_limit,
            in_flight: rules.requests_at_once,
            per_topic: rules.answers_per_topic,
            timeout: self.config.request_timeout,
        };
        let plan = self.venue.symbol_budget();
        self.subscriptions
            .with_table(|table| table.set_rules(limits, plan));
    }

    /// Topics in the venue's own spelling, each once.
    fn all_canonical(&self, topics: &[Topic]) -> Vec<Topic> {
        let topics = topics.iter().map(|topic| self.venue.canonical(topic));
        let mut topics: Vec<Topic> = topics.collect();
        topics.sort_unstable();
        topics.dedup();
        topics
    }

    /// Topics as the table takes them.
    ///
    /// # Errors
    /// The venue does not have one of them.
    fn wanted(&self, topics: &[Topic]) -> Result<Vec<Wanted>> {
        let topics = self.all_canonical(topics);
        topics
            .iter()
            .try_for_each(|topic| self.venue.validate(topic))?;
        let wanted = topics.into_iter().map(|topic| Wanted {
            builds: self.venue.delivery(&topic) == Delivery::Changes,
            topic,
        });
        Ok(wanted.collect())
    }

    /// Whether a queue may leave out some of the events of these topics.
    fn may_drop(&self, topics: &[Topic]) -> bool {
        let topics = self.all_canonical(topics);
        let mut deliveries = topics.iter().map(|topic| self.venue.delivery(topic));
        deliveries.all(|delivery| delivery == Delivery::Latest)
    }

    /// Starts the thread of a stream that was just claimed, if it is `admitted`.
    ///
    /// # Errors
    /// [`ErrorKind::Spawn`], why it is not admitted, or [`ErrorKind::InvalidConfig`] for a proxy of the environment that makes
    /// no sense. The claim is given up then, and whoever joined in the meantime is told.
    pub(crate) fn start(
        self: &Arc<Self>,
        admitted: Result<()>,
        credentials: Credentials,
        correlation: Option<&CorrelationId>,
    ) -> Result<()> {
        // The guard goes with the thread. Where there is none it is dropped here, and ends the stream all the same: also
        // where a panic of the venue or the logger unwinds through this, with the key claimed.
        let mut guard = Guard {
            stream: Arc::clone(self),
            reason: None,
        };
        let proxy = admitted.and_then(|()| proxy_for(&self.config.proxy, self.key.endpoint()));
        let proxy = match proxy {
            Ok(proxy) => proxy,
            Err(error) => {
                guard.reason = Some(EndReason::Failed(error.clone()));
                return Err(error);
            }
        };
        let through = proxy
            .as_ref()
            .map_or_else(String::new, |proxy| format!(", through the proxy {proxy}"));
        record!(Info, "opening", self.key, for correlation, generation = self.generation; "opening {}{through}", credentials.redact(&self.venue.label(&credentials)));
        let spawned = WebSocketTransport::new(&self.config, &self.rules).and_then(|transport| {
            let ambient = System::new()?;
            self.subscriptions.set_waker(transport.waker());
            let stream = Arc::clone(self);
            let name = format!("tl-{}", self.key.fingerprint());
            let (send_guard, receive_guard) = crossbeam_channel::bounded::<Guard<V>>(1);
            let handle = thread::spawn(name, move || {
                thread::before_destructors();
                // Sent right after the spawn succeeded. Had it failed, this closure would not run.
                let Ok(mut guard) = receive_guard.recv() else {
                    return;
                };
                guard.reason = Some(run(&stream, transport, ambient, credentials, proxy));
                drop(stream);
                thread::after_destructors(guard);
            })?;
            Ok((handle, send_guard))
        });
        match spawned {
            Ok((handle, send_guard)) => {
                *self.thread.lock() = Some(handle);
                // It has room for one, and the thread holds the other end.
                let _ = send_guard.send(guard);
                Ok(())
            }
            Err(error) => {
                let error = Error::new(
                    At::new(&self.key, self.lifecycle.phase()),
                    ErrorKind::Spawn {
                        source: Source::new(error),
                    },
                );
                guard.reason = Some(EndReason::Failed(error.clone()));
                Err(error)
            }
        }
    }
}

impl<V: Venue> Stream<V> {
    /// The last thing that happens to a stream: it cuts what folds, frees the key and tells everybody who waits.
    fn conclude(&self, reason: &EndReason) {
        // Before anybody can learn of the end: also a thread that panicked leaves no price that looks fresh.
        for sink in self.subscriptions.sinks() {
            sink.cut(u64::MAX);
        }
        // Then the key: whoever learns below that the stream has ended may open it again at once, and must not join
        // the dead one.
        claims().vacate(&self.key, self.generation);
        self.lifecycle.end(clock::now(), reason);
        for sink in self.subscriptions.close(reason) {
            sink.end(reason);
        }
    }
}

/// The body of the stream's thread. A panic, of this crate or of user code that runs here, is a reason to end.
fn run<V: Venue>(
    stream: &Arc<Stream<V>>,
    transport: WebSocketTransport,
    ambient: System,
    credentials: Credentials,
    proxy: Option<ProxyServer>,
) -> EndReason {
    let _ = stream.thread_id.set(std::thread::current().id());
    let mut driver = None;
    let body = AssertUnwindSafe(|| {
        let driver = driver.insert(Driver::new(
            Arc::clone(stream),
            transport,
            Box::new(ambient),
            Attempts::global(),
            credentials,
            proxy,
        ));
        driver.run()
    });
    let ended = catch_unwind(body);
    let reason = wind_up(stream, driver, ended);
    // A logger is user code: if it blocks, the key stays taken; if it panics, that must keep nobody waiting.
    let _ = catch_unwind(AssertUnwindSafe(|| match &reason {
        EndReason::Failed(error) => {
            record!(Error, "ended", stream.key, code = error.code(); "ended: {}", error.for_record())
        }
        EndReason::Closed | EndReason::Done => {
            record!(Info, "ended", stream.key; "ended: {reason}")
        }
    }));
    reason
}

/// Destroys the driver, and with it the socket: they are gone before the guard frees the key. Says why the stream ends,
/// which `ended` does unless there was a panic, of the driver or of its destruction.
fn wind_up<V: Venue, T: Transport>(
    stream: &Stream<V>,
    driver: Option<Driver<V, T>>,
    ended: std::thread::Result<EndReason>,
) -> EndReason {
    let panicked = |message: String| {
        EndReason::Failed(Error::new(
            At::new(&stream.key, stream.lifecycle.phase()),
            ErrorKind::Panicked { message },
        ))
    };
    let reason = ended.unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<&str>()
            .copied()
            .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no message");
        // A session that panics may show what it was given. Nothing was, before there was a driver.
        let shown = driver.as_ref().map(|driver| driver.redact(text));
        panicked(shown.unwrap_or_else(|| text.to_owned()))
    });
    match catch_unwind(AssertUnwindSafe(|| drop(driver))) {
        Ok(()) => reason,
        Err(_) => panicked("while the stream's state was dropped".to_owned()),
    }
}

/// Its drop is the last thing that a stream's thread does, behind the destructors of what user code keeps in the
/// thread's locals: it frees the key and tells everybody who waits. A drop, so that nothing which can go wrong before it
/// leaves anybody waiting.
struct Guard<V: Venue> {
    stream: Arc<Stream<V>>,
    reason: Option<EndReason>,
}

impl<V: Venue> Drop for Guard<V> {
    fn drop(&mut self) {
        let reason = self.reason.take().unwrap_or_else(|| {
            EndReason::Failed(Error::new(
                At::new(&self.stream.key, self.stream.lifecycle.phase()),
                ErrorKind::Panicked {
                    message: "no message".to_owned(),
                },
            ))
        });
        self.stream.conclude(&reason);
    }
}

impl<V: Venue> SharedStream for Stream<V> {
    fn key(&self) -> &StreamKey {
        &self.key
    }

    fn generation(&self) -> u64 {
        self.generation
    }

    fn lifecycle(&self) -> &Lifecycle {
        &self.lifecycle
    }

    fn release_timeout(&self) -> Duration {
        self.config.release_timeout
    }

    fn stop(&self, correlation: Option<&CorrelationId>) {
        self.subscriptions.stop(correlation);
    }

    fn join(&self) {
        let handle = self.thread.lock().take();
        if let Some(handle) = handle {
            // A panic was caught inside and has been told to everybody already.
            let _ = handle.join();
        }
    }

    fn is_own_thread(&self) -> bool {
        self.thread_id.get() == Some(&std::thread::current().id())
    }

    fn canonical(&self, topic: &Topic) -> Topic {
        self.venue.canonical(topic)
    }

    fn unsubscribe(&self, id: SubscriptionId) {
        self.subscriptions.unsubscribe(id);
    }

    fn add_topics(
        &self,
        id: SubscriptionId,
        topics: Vec<Topic>,
        overflow: Option<Overflow>,
        also: &mut dyn FnMut(),
    ) -> Result<()> {
        self.lifecycle.check_open()?;
        if let Some(overflow) = overflow.filter(|overflow| *overflow != Overflow::End)
            && !self.may_drop(&topics)
        {
            let at = At::default();
            return Err(Error::new(at, ErrorKind::LossyQueue { overflow }));
        }
        let wanted = self.wanted(&topics)?;
        let edit = |table: &mut TopicTable| {
            table.add(id, wanted);
            also();
        };
        let edited = self.subscriptions.edit(id, edit);
        edited.map_err(|reason| self.lifecycle.ended(reason))
    }

    fn remove_topics(
        &self,
        id: SubscriptionId,
        topics: &[Topic],
        also: &mut dyn FnMut(),
    ) -> Result<()> {
        self.lifecycle.check_open()?;
        let topics = self.all_canonical(topics);
        let edit = |table: &mut TopicTable| {
            table.remove(id, &topics);
            also();
        };
        let edited = self.subscriptions.edit(id, edit);
        edited.map_err(|reason| self.lifecycle.ended(reason))
    }

    fn wait_confirmed(&self, id: SubscriptionId, deadline: Instant) -> Waited {
        self.subscriptions.wait_confirmed(id, deadline)
    }

    fn is_refused(&self, id: SubscriptionId, topic: &Topic) -> bool {
        self.subscriptions.look(|table| table.is_refused(id, topic))
    }

    fn health_of(&self, id: SubscriptionId) -> Option<SubscriptionHealth> {
        self.lifecycle.check_process().ok()?;
        self.subscriptions.health_of(id)
    }

    fn health(&self) -> Health {
        let now = clock::now();
        let state = self.lifecycle.snapshot();
        let cause = state.cause.filter(|_| !state.phase.is_live());
        let mut health = Health {
            stream: self.key.clone(),
            generation: self.generation,
            phase: state.phase,
            in_phase: now.saturating_duration_since(state.since),
            cause_code: cause.as_ref().map(Error::code),
            cause: cause.map(|error| error.for_record()),
            failures: state.failures,
            next_attempt_in: state.retry_at.map(|at| at.saturating_duration_since(now)),
            gives_up_in: state
                .gives_up_at
                .map(|at| at.saturating_duration_since(now)),
            epoch: state.epoch,
            leases: 0,
            draining_for: None,
            topics_wanted: 0,
            topics_confirmed: 0,
            topics_missing: Vec::new(),
            budget: None,
            newest_unmatched: None,
            last_message_age: self.counters.last_read.age(now),
            behind: Duration::from_nanos(self.counters.behind_nanos.get()),
            counters: self.counters.values(),
            subscriptions: Vec::new(),
        };
        if self.lifecycle.check_process().is_err() {
            return health;
        }
        let (leases, draining) = claims().holds(&self.key, self.generation);
        health.leases = leases;
        health.draining_for = draining.map(|since| now.saturating_duration_since(since));
        health.subscriptions = self.subscriptions.health();
        // All of one moment: what the stream's thread knew. What it has not seen yet is not in it.
        if state.phase != Phase::Ended {
            let (wanted, confirmed, missing, plan) = self.subscriptions.look(TopicTable::overview);
            health.topics_wanted = wanted;
            health.topics_confirmed = confirmed;
            health.topics_missing = missing;
            health.budget = plan;
        }
        health.newest_unmatched.clone_from(&self.unmatched.lock());
        health
    }
}

/// Counted by the stream's thread alone, read by anybody.
#[derive(Default)]
struct Counters {
    attempts: Counter,
    messages: Counter,
    events: Counter,
    routed: Counter,
    repeats: Counter,
    unmatched: Counter,
    unsettled: Counter,
    odd: Counter,
    control_frames: Counter,
    pings: Counter,
    requests: Counter,
    unparsed: Counter,
    bytes: Counter,
    last_read: LastRead,
    behind_nanos: Counter,
}

impl Counters {
    fn add_routing(&self, routing: &Routing) {
        self.routed.add(routing.routed);
        self.repeats.add(routing.repeats);
        self.unmatched.add(routing.unmatched);
        self.unsettled.add(routing.unsettled);
    }

    /// So many events that had reached nobody were held back, and somebody was given them.
    fn claim(&self, events: u64) {
        self.unsettled
            .set(self.unsettled.get().saturating_sub(events));
        self.routed.add(events);
    }

    fn values(&self) -> CounterValues {
        CounterValues {
            attempts: self.attempts.get(),
            messages: self.messages.get(),
            events: self.events.get(),
            events_routed: self.routed.get(),
            repeats: self.repeats.get(),
            events_unmatched: self.unmatched.get(),
            events_unsettled: self.unsettled.get(),
            odd_events: self.odd.get(),
            control_frames: self.control_frames.get(),
            pings: self.pings.get(),
            requests: self.requests.get(),
            unparsed: self.unparsed.get(),
            bytes: self.bytes.get(),
        }
    }
}

/// One writer, so a plain load and store count exactly.
#[derive(Default)]
struct Counter(AtomicU64);

impl Counter {
    fn add(&self, more: u64) {
        self.set(self.get() + more);
    }

    fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// When something was read last, as nanoseconds since the stream was opened, plus one.
struct LastRead {
    opened: Instant,
    nanos: Counter,
}

impl Default for LastRead {
    fn default() -> Self {
        Self {
            opened: clock::now(),
            nanos: Counter::default(),
        }
    }
}

impl LastRead {
    fn set(&self, at: Instant) {
        let nanos = at.saturating_duration_since(self.opened).as_nanos();
        self.nanos
            .set(u64::try_from(nanos).unwrap_or(u64::MAX - 1) + 1);
    }

    fn age(&self, now: Instant) -> Option<Duration> {
        let nanos = self.nanos.get().checked_sub(1)?;
        Some(now.saturating_duration_since(clock::after(self.opened, Duration::from_nanos(nanos))))
    }
}
