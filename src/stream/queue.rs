//! One subscription's queue: [entries](super::entries), and a wake token. The stream's thread pushes, one reader takes.
//!
//! **Token.** A `bounded(1)` channel carries the wake token. Whoever makes the queue non-empty sends it, outside the
//! lock; a full channel means that one is on its way already. A reader that leaves something behind sends it again.
//! So: *if something is queued and no reader is at work, a token is in the channel.* The one token that is sent under
//! the lock is that of the end: whoever takes [`Update::Ended`] then finds it in the channel and removes it, so that
//! the channel never fires after it. Nor does it disconnect, since the queue keeps both ends: an arm of an ended
//! subscription stays silent in `select!` instead of spinning.
//!
//! A reader that blocks in `recv` does not wait for the token, which would first spin for it, but on a Condvar of the
//! tail's lock. It says so under that lock, and whoever makes the queue non-empty reads it there: no wake is lost, and
//! none is made for a reader that is awake. The token is sent all the same. One that stays in the channel is stale:
//! it lets a `select!` look once in vain.
//!
//! **Two stages.** `tail` is where the stream's thread pushes. The reader swaps it with a [`Front`], once that is read,
//! and works through it: so its share of the contended lock is one swap, however much is queued, and the memory of both
//! is used again. The stream's thread only ever takes `tail`.
//!
//! A front belongs to one reader at a time, which is why a user's `Payload` may be projected while it is held, and why its
//! counters need no atomic addition. As long as nobody has asked for the channel, that reader is the subscription: it
//! keeps the front to itself, and needs no lock to read an update that was taken out. When it hands out the channel it
//! puts the front into `shared`, for good, since deliveries may be read wherever the channel was cloned to; the token
//! for what is in it lies in the channel, because nobody could receive it until then. For the swap a reader of the
//! shared front holds both locks, `shared` first, or a second delivery could come between and lose what the first has
//! taken.

use std::{
    ops::ControlFlow,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{
    batch::Batch,
    entries::{Declared, Entries, Entry, Hole, One, Picks, Run, Scratch, Taken},
    subscription::Delivery,
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::{At, Error},
    event::{Dropped, EndReason, Ended, Event, Gap, Notice, Update},
    health::SubscriptionHealth,
    key::StreamKey,
    phase::Phase,
    process::Process,
    topic::{Overflow, Payload, QueueLimit},
    venue::Routed,
};

/// What the venue has answered so far, for `wait_confirmed`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answers {
    /// Which version of the subscription's topics the stream's thread has seen.
    pub(crate) version: u64,
    pub(crate) pending: usize,
    pub(crate) confirmed: usize,
    pub(crate) refused: Option<Error>,
    pub(crate) ended: Option<EndReason>,
}

#[repr(C)]
struct Tail<E> {
    /// The subscription was dropped: nothing is taken in any more.
    discarded: bool,
    /// A reader is blocked until it is not empty.
    waiting: bool,
    queue: Entries<E>,
}

/// What a reader has taken out of the queue, and not read yet.
pub(super) struct Front<E> {
    queue: Entries<E>,
    /// Events until the next look at the clock.
    until_lag: u32,
}

impl<E> Front<E> {
    pub(super) fn new() -> Self {
        Self {
            queue: Entries::new(),
            until_lag: 0,
        }
    }
}

/// The queue. See the module's documentation.
///
/// What every push looks at comes first, where few lines of the processor's cache hold it: a stream may have a thousand
/// queues. What the reader writes lies elsewhere.
#[repr(C, align(64))]
pub(crate) struct Queue<E> {
    limit: QueueLimit,
    routed: AtomicU64,
    dropped: AtomicU64,
    conflated: AtomicU64,
    token: Box<dyn Token>,
    tail: Mutex<Tail<E>>,
    filled: Condvar,
    answers: Mutex<Answers>,
    answered: Condvar,
    stream: StreamKey,
    /// Whose subscription it is. Declarations are stamped with it when they are read, and events never.
    correlation: Option<CorrelationId>,
    process: Process,
    shared: Mutex<Front<E>>,
    delivered: AtomicU64,
    /// How old an event was when it was taken, in nanoseconds: the newest such measurement.
    lag: AtomicU64,
    /// [`Update::Ended`] was taken.
    over: AtomicBool,
}

/// The wake token's channel, whatever the reader makes of the events.
trait Token: Send + Sync {
    /// Makes the reader's channel fire, if it does not already.
    fn send(&self);
    /// Takes back a token that was not received.
    fn take_back(&self);
}

struct Channel<T: Payload<Source: Routed>> {
    sender: Sender<Delivery<T>>,
    receiver: Receiver<Delivery<T>>,
    /// Weak, because a token lies in a channel that the queue owns.
    queue: Weak<Queue<T::Source>>,
}

impl<T: Payload<Source: Routed>> Token for Channel<T> {
    fn send(&self) {
        if let Err(refused) = self.sender.try_send(Delivery::new(self.queue.clone())) {
            refused.into_inner().spend();
        }
    }

    fn take_back(&self) {
        if let Ok(token) = self.receiver.try_recv() {
            token.spend();
        }
    }
}

/// Counters of one subscription. Routed events are delivered, queued, dropped, conflated, or discarded at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Counts {
    routed: u64,
    delivered: u64,
    dropped: u64,
    conflated: u64,
    queued: u64,
}

impl<E> Queue<E> {
    pub(crate) fn conflates(&self) -> bool {
        self.limit.overflow == Overflow::Conflate
    }
}

impl<E: Routed> Queue<E> {
    /// A queue, and the channel that its tokens come through.
    pub(crate) fn new<T: Payload<Source = E>>(
        limit: QueueLimit,
        stream: &StreamKey,
        correlation: Option<CorrelationId>,
    ) -> (Arc<Self>, Receiver<Delivery<T>>) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let queue = Arc::new_cyclic(|queue| Self {
            limit,
            stream: stream.clone(),
            correlation,
            process: Process::this(),
            tail: Mutex::new(Tail {
                queue: Entries::new(),
                discarded: false,
                waiting: false,
            }),
            filled: Condvar::new(),
            shared: Mutex::new(Front::new()),
            answers: Mutex::new(Answers::default()),
            answered: Condvar::new(),
            routed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            conflated: AtomicU64::new(0),
            lag: AtomicU64::new(0),
            over: AtomicBool::new(false),
            token: Box::new(Channel::<T> {
                sender,
                receiver: receiver.clone(),
                queue: queue.clone(),
            }),
        });
        (queue, receiver)
    }

    // ---- the stream's thread ----

    /// Takes in the picked events of a batch, as the limit allows. Not for one that conflates.
    pub(crate) fn push(&self, batch: &Arc<Batch<E>>, picks: Picks, scratch: &mut Scratch<E>) {
        debug_assert!(!self.conflates(), "a run is not of one topic");
        let run = Run::new(Arc::clone(batch), picks);
        let count = run.len();
        scratch.clear();
        scratch.load.push_back(Entry::Run(run));
        self.insert(count, scratch);
    }

    /// The same with copies: few events must not keep a large batch alive for as long as they wait, and what conflates
    /// takes each by itself.
    pub(crate) fn push_copies(&self, batch: &Batch<E>, picks: &[u32], scratch: &mut Scratch<E>) {
        // Events are cloned before the lock is taken, and destroyed after it was let go.
        scratch.clear();
        for index in picks {
            let place = *index as usize;
            let event = &batch.events[place].event;
            if self.conflates() {
                // One without a symbol belongs to its whole channel.
                let symbol = event.symbols().first().cloned();
                let topic = (event.channel(), symbol.unwrap_or_else(|| "*".into()));
                scratch.topics.push(topic);
            }
            let copy = One::new(event.clone(), batch.events.origin(place, batch.epoch));
            scratch.load.push_back(Entry::One(copy));
        }
        self.insert(picks.len(), scratch);
    }

    /// Takes in what the scratch is loaded with.
    fn insert(&self, count: usize, scratch: &mut Scratch<E>) {
        let overflowed = self.change(|tail| {
            add(&self.routed, count as u64);
            if tail.queue.is_ended() {
                add(&self.dropped, count as u64);
                return false;
            }
            let inserted = tail.queue.insert(count, self.limit, scratch);
            add(&self.dropped, inserted.dropped as u64);
            add(&self.conflated, inserted.conflated as u64);
            if inserted.overflowed {
                tail.queue.end(&EndReason::Failed(self.overflow_error()));
            }
            inserted.overflowed
        });
        scratch.clear();
        if overflowed {
            self.end_answers(&EndReason::Failed(self.overflow_error()));
        }
    }

    /// Declares events dropped that never were.
    pub(crate) fn lose(&self, count: u64) {
        self.change(|tail| {
            if !tail.queue.is_ended() {
                self.routed.fetch_add(count, Ordering::Relaxed);
                self.dropped.fetch_add(count, Ordering::Relaxed);
                tail.queue.lose(Hole { count, since: None });
            }
        });
    }

    /// Declares that the connection broke.
    pub(crate) fn push_gap(&self, gap: Gap) {
        self.change(|tail| {
            if !tail.queue.is_ended() {
                tail.queue.gap(gap);
            }
        });
    }

    /// Says something.
    pub(crate) fn push_notice(&self, notice: Notice) {
        self.change(|tail| {
            if !tail.queue.is_ended() {
                tail.queue.notice(notice);
            }
        });
    }

    /// Ends the subscription, behind what is queued. The first reason stays.
    pub(crate) fn end(&self, reason: &EndReason) {
        self.change(|tail| tail.queue.end(reason));
        self.end_answers(reason);
    }

    /// Publishes what the venue has answered.
    pub(crate) fn answer(&self, update: impl FnOnce(&mut Answers)) {
        update(&mut self.answers.lock());
        self.answered.notify_all();
    }

    fn end_answers(&self, reason: &EndReason) {
        self.answer(|answers| {
            answers.ended.get_or_insert_with(|| reason.clone());
        });
    }

    /// One change of the tail, then the token if that made it non-empty, and a wake for whoever waits. What is dropped is
    /// dropped unlocked.
    fn change<R: Default>(&self, change: impl FnOnce(&mut Tail<E>) -> R) -> R {
        let (result, fire, wake) = {
            let mut tail = self.tail.lock();
            if tail.discarded {
                return R::default();
            }
            let (was_empty, was_ended) = (tail.queue.is_empty(), tail.queue.is_ended());
            let result = change(&mut tail);
            let ends = !was_ended && tail.queue.is_ended();
            if ends {
                // Under the lock, so that nobody can take the end before its token is in the channel.
                self.token.send();
            }
            let filled = !tail.queue.is_empty();
            let wake = filled && std::mem::take(&mut tail.waiting);
            (result, !ends && was_empty && filled, wake)
        };
        if fire {
            self.token.send();
        }
        if wake {
            self.filled.notify_one();
        }
        result
    }

    fn overflow_error(&self) -> Error {
        Error::Overflow {
            // Events are only taken in while it is.
            at: At::new(&self.stream, Phase::Live),
            capacity: self.limit.events,
        }
    }

    // ---- the reader ----

    /// The front that deliveries read.
    pub(super) fn shared(&self) -> MutexGuard<'_, Front<E>> {
        self.shared.lock()
    }

    /// What a reader makes of the shared front. In a forked child, a thread that was not copied may hold it for ever: all
    /// that is left to read then is the end. Which process this is is only asked where somebody holds it, because the
    /// question costs more than an event.
    pub(super) fn with_shared<R>(&self, read: impl FnOnce(&mut Front<E>) -> R) -> R {
        if let Some(mut front) = self.shared.try_lock() {
            return read(&mut front);
        }
        if self.process.is_parent() {
            let mut front = Front::new();
            self.take(&mut front);
            return read(&mut front);
        }
        read(&mut self.shared())
    }

    /// The next update that stands in front, as `wrap` makes something of it. Where there is none, `refill` brings more,
    /// or breaks off with what to return instead.
    ///
    /// The update is made where its reader wants it, in whatever that wraps it in: it is large, and each move shows.
    #[inline]
    pub(super) fn read<T: Payload<Source = E>, R>(
        &self,
        front: &mut Front<E>,
        wrap: impl FnOnce(Update<T>) -> R,
        mut refill: impl FnMut(&mut Front<E>) -> ControlFlow<R>,
    ) -> R {
        loop {
            match front.queue.take() {
                None => {
                    if let ControlFlow::Break(instead) = refill(front) {
                        return instead;
                    }
                }
                Some(Taken::Event(event, origin)) => {
                    add(&self.delivered, 1);
                    if front.until_lag == 0 {
                        front.until_lag = LAG_EVERY;
                        self.measure_lag(origin.received());
                    }
                    front.until_lag -= 1;
                    if let Some(project) = T::project(event) {
                        return wrap(Update::Event(Event::of(project(), origin)));
                    }
                }
                Some(Taken::Declared(declared)) => return wrap(self.declare(declared)),
            }
        }
    }

    /// Whatever is not an event, as this subscription is told it.
    #[cold]
    fn declare<T>(&self, declared: Declared) -> Update<T> {
        let (stream, correlation) = (&self.stream, self.correlation.as_ref());
        match declared {
            Declared::Gap(gap) => Update::Gap(gap.told(stream, correlation)),
            Declared::Dropped(hole) => Update::Dropped(Dropped {
                count: hole.count,
                capacity: self.limit.events,
                since: hole.since.map(clock::utc_of),
                stream: stream.clone(),
                correlation: correlation.cloned(),
            }),
            Declared::Notice(notice) => Update::Notice(notice.told(stream, correlation)),
            Declared::Ended(reason) => {
                self.over.store(true, Ordering::Release);
                if !self.process.is_parent() {
                    self.token.take_back();
                }
                Update::Ended(Ended {
                    reason: reason.told(stream, correlation),
                    correlation: correlation.cloned(),
                })
            }
        }
    }

    /// Takes out all that is queued, if what was taken before is read. Says whether there is something to read.
    pub(super) fn take(&self, front: &mut Front<E>) -> bool {
        if !front.queue.is_empty() {
            return true;
        }
        if self.process.is_parent() {
            front.queue = self.forked();
            return !front.queue.is_empty();
        }
        front.queue.clear();
        swap(&mut self.tail.lock(), front);
        !front.queue.is_empty()
    }

    /// Blocks until something is queued, or `deadline`, and takes it out into `front`, if given one that is read. Says
    /// whether there may be something to read.
    pub(super) fn wait(&self, deadline: Option<Instant>, mut front: Option<&mut Front<E>>) -> bool {
        if let Some(front) = &mut front {
            front.queue.clear();
        }
        let mut tail = self.tail.lock();
        while tail.queue.is_empty() && !tail.discarded {
            tail.waiting = true;
            match deadline {
                None => self.filled.wait(&mut tail),
                Some(deadline) => {
                    if self.filled.wait_until(&mut tail, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        tail.waiting = false;
        let filled = !tail.queue.is_empty();
        if let Some(front) = front {
            swap(&mut tail, front);
        }
        filled || tail.discarded
    }

    /// All that is left to read in a forked child: that there is nothing to read.
    fn forked(&self) -> Entries<E> {
        let mut entries = Entries::new();
        if !self.is_over() {
            let at = At::new(&self.stream, Phase::Ended);
            entries.end(&EndReason::Failed(Error::Forked { at }));
        }
        entries
    }

    /// Sends the token if something is queued.
    pub(crate) fn rearm(&self) {
        if self.process.is_parent() {
            return;
        }
        // The front is held to the end: a reader that came in between could take from it, or move the tail into it, and
        // what was seen of either would be true no more.
        let front = self.shared();
        if !front.queue.is_empty() || !self.tail.lock().queue.is_empty() {
            self.token.send();
        }
    }

    /// Whether [`Update::Ended`] was taken.
    pub(crate) fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Waits until the venue has answered for every topic of `version`, the end, or `deadline`.
    pub(crate) fn wait_answered(&self, version: u64, deadline: Instant) -> Answers {
        let mut answers = self.answers.lock();
        let done = |answers: &Answers| {
            answers.ended.is_some()
                || (answers.version >= version
                    && (answers.pending == 0 || answers.refused.is_some()))
        };
        while !done(&answers) {
            if self.answered.wait_until(&mut answers, deadline).timed_out() {
                break;
            }
        }
        answers.clone()
    }

    fn answers(&self) -> Answers {
        if self.process.is_parent() {
            return Answers::default();
        }
        self.answers.lock().clone()
    }

    /// The subscription is gone: what is queued is destroyed, and nothing is taken in any more.
    pub(crate) fn discard(&self) {
        let tail = {
            let mut tail = self.tail.lock();
            tail.discarded = true;
            std::mem::replace(&mut tail.queue, Entries::new())
        };
        let front = std::mem::replace(&mut self.shared().queue, Entries::new());
        drop((front, tail));
    }

    fn measure_lag(&self, received: Instant) {
        let age = clock::now().saturating_duration_since(received).as_nanos();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        self.lag.store(age, Ordering::Relaxed);
    }

    /// What became of the events. Takes no lock; the numbers may be a moment apart.
    fn counts(&self) -> Counts {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let dropped = self.dropped.load(Ordering::Relaxed);
        let conflated = self.conflated.load(Ordering::Relaxed);
        let routed = self.routed.load(Ordering::Relaxed);
        let queued = routed.saturating_sub(delivered + dropped + conflated);
        Counts {
            routed,
            delivered,
            dropped,
            conflated,
            queued,
        }
    }

    /// What health shows of it, as the subscription of this number.
    pub(crate) fn health(&self, id: u64) -> SubscriptionHealth {
        let counts = self.counts();
        let answers = self.answers();
        SubscriptionHealth {
            id,
            correlation: self.correlation.clone(),
            priority: 0,
            topics: Vec::new(),
            events_routed: counts.routed,
            events_delivered: counts.delivered,
            events_dropped: counts.dropped,
            events_conflated: counts.conflated,
            events_queued: counts.queued,
            capacity: self.limit.events,
            overflow: self.limit.overflow,
            lag: Duration::from_nanos(self.lag.load(Ordering::Relaxed)),
            topics_confirmed: answers.confirmed,
            topics_pending: answers.pending,
        }
    }
}

impl<E> std::fmt::Debug for Queue<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("limit", &self.limit)
            .finish_non_exhaustive()
    }
}

/// Takes out all that is queued, into a front that was cleared.
fn swap<E>(tail: &mut Tail<E>, front: &mut Front<E>) {
    std::mem::swap(&mut tail.queue, &mut front.queue);
    // Nothing comes after the end, and the end is told once.
    tail.discarded |= front.queue.is_ended();
}

/// Adds to a counter that only one thread writes at a time: whoever holds the tail, or a front.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// How old events are is measured every so often: a look at the clock costs as much as an event.
const LAG_EVERY: u32 = 64;
