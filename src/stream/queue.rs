//! One subscription's queue: [entries](super::entries), and a wake token. The stream's thread pushes into [`Queue`], and
//! its one [`Reader`] takes.
//!
//! **Double buffer.** The stream's thread pushes into the *tail*, under its lock. The reader owns the *front*, which no
//! other thread can reach, and swaps the two once the front is read: so the reader's share of the contended lock is one
//! swap, however much is queued, a user's `Payload` is projected without a lock, and the memory of both is used again.
//! The reader is neither `Sync` nor `Clone`, and the queue gives updates to nobody else: no two threads can share them.
//!
//! **A reader that blocks** in `recv` waits on a Condvar of the tail's lock, because `select!` spins before it sleeps. It
//! sets `waiting` under that lock, and the push that fills the tail reads it there: no wake is lost, and none is
//! made for a reader that is awake.
//!
//! **A reader in `select!`** waits for a token, which carries nothing, in a `bounded(1)` channel. A full channel is as good
//! as one more token. Two threads send it:
//!
//! 1. the push that makes an empty tail non-empty, if `asked` is set, after it let go of the lock;
//! 2. the reader, in [`ready`](Reader::ready) and in [`rearm`](Reader::rearm), if anything is in the front or the tail.
//!
//! `asked` says that the reader wants tokens. The reader sets it in `ready`, under the tail's lock, in the same critical
//! section in which it looks at the tail; before that, no token is sent. What can be, while `asked` is set, and what leads
//! out of it:
//!
//! | front, tail | channel | reader | what follows |
//! |---|---|---|---|
//! | both empty | empty | waits | the next push fills the tail and sends (1) |
//! | both empty | token | waits | a stale token: the reader wakes once, drains nothing, and waits with an empty channel |
//! | tail filled | empty | waits | the push that filled it has left the lock and sends next (1) |
//! | any filled | token | waits | the reader wakes, and drains |
//! | front empty, tail filled | any | drains | the drain takes the tail, or ends without having taken it, and re-arms (2) |
//! | front filled | any | drains | the drain reads the front to its end, or is dropped before it, and re-arms (2) |
//! | front empty, tail taken | any | drains | the drain ends: the tail was empty when it was taken, so the next push sends (1) |
//!
//! A reader that waits has come from `ready` or from the end of a drain. Both leave *filled, no token, and nobody about to
//! send* impossible: where something was left behind, the reader itself has sent (2), and what is pushed after the
//! reader's last critical section either finds the tail empty, and is sent (1), or finds it filled, and whoever filled it
//! has sent, or is about to. A token that is received by a clone of the channel is lost to the reader until it calls
//! `ready` again; so is one that the reader receives and does not follow by a drain.
//!
//! **The end** is the last thing in the tail, and its token is the one that is sent under the lock: so whoever takes
//! [`Update::Ended`] finds that token, and every earlier one, in the channel, and removes it. Nothing is pushed after
//! the end, and both sends of the reader need something that is queued: the channel never fires again. Nor does it
//! disconnect, since the queue holds both ends: an arm of an ended subscription stays silent in `select!` instead of
//! spinning. (Pushes come one after the other from the stream's thread. A test's feed that is used from two threads can
//! have its last token still on the way when it ends, which then is a stale one.)
//!
//! **A forked child** reads what its parent had taken out already, and then the end. It has a channel of its own, because it
//! must not touch the locks that it inherited, those within the channel included: another thread may have held them at the
//! fork.

use std::{
    cell::{Cell, OnceCell, RefCell},
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    batch::{Batch, Slice},
    entries::{Declaration, Entries, Entry, Hole, One, Room, Scratch, Taken},
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::{At, Error, ErrorKind},
    event::{Declared, Dropped, EndReason, Ended, Event, Gap, Notice, Update},
    health::SubscriptionHealth,
    key::StreamKey,
    phase::Phase,
    process::Process,
    sync::{Condvar, Mutex, Receiver, Sender, bounded},
    topic::{Overflow, Payload, QueueLimit},
    venue::Routed,
};

/// Something is queued: what comes through the channel of [`Subscription::ready`](super::Subscription::ready). It carries
/// no update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ready(());

#[repr(C)]
struct Tail<E> {
    /// The subscription was dropped: nothing is taken in any more.
    discarded: bool,
    /// The reader is blocked until it is not empty.
    waiting: bool,
    /// The reader wants tokens.
    asked: bool,
    queue: Entries<E>,
}

/// The reader's side of a queue. There is one.
pub(super) struct Reader<E> {
    queue: Arc<Queue<E>>,
    front: RefCell<Front<E>>,
    /// Somebody has the channel.
    asked: Cell<bool>,
    /// What a forked child has instead of it.
    in_child: OnceCell<WakeChannel>,
}

/// What the reader has taken out of the queue, and not read yet.
pub(super) struct Front<E> {
    queue: Entries<E>,
    /// Events until the next look at the clock.
    until_lag: u32,
    /// [`Update::Ended`] was taken.
    over: bool,
}

impl<E> Front<E> {
    pub(super) fn is_over(&self) -> bool {
        self.over
    }
}

/// The channel of the wake token.
struct WakeChannel {
    sender: Sender<Ready>,
    receiver: Receiver<Ready>,
}

impl WakeChannel {
    fn new() -> Self {
        let (sender, receiver) = bounded(1);
        Self { sender, receiver }
    }

    /// Sends the token. A channel that is full has one already.
    fn fire(&self) {
        let _ = self.sender.try_send(Ready(()));
    }

    /// Takes back a token that was not received.
    fn silence(&self) {
        let _ = self.receiver.try_recv();
    }
}

/// The queue. See the module's documentation.
///
/// What every push looks at comes first, where few lines of the processor's cache hold it: a stream may have a thousand
/// queues. What the reader writes lies elsewhere.
#[repr(C, align(64))]
pub(crate) struct Queue<E> {
    room: Room,
    routed: AtomicU64,
    dropped: AtomicU64,
    conflated: AtomicU64,
    /// The bytes of what is in the tail.
    waiting_bytes: AtomicUsize,
    tail: Mutex<Tail<E>>,
    filled: Condvar,
    channel: WakeChannel,
    stream: StreamKey,
    /// Whose subscription it is. Declarations are stamped with it when they are read, and events never.
    correlation: Option<CorrelationId>,
    process: Process,
    delivered: AtomicU64,
    /// The bytes of what was taken out of the tail last, until it is read to its end.
    taken_bytes: AtomicUsize,
    /// How old an event was when it was taken, in nanoseconds: the newest such measurement.
    lag: AtomicU64,
}

/// Counters of one subscription. Routed events are delivered, queued, dropped, conflated, or discarded at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct QueueCounts {
    routed: u64,
    delivered: u64,
    dropped: u64,
    conflated: u64,
    queued: u64,
}

impl<E> Queue<E> {
    /// Takes out all that is queued, into a front that was cleared.
    fn swap(&self, tail: &mut Tail<E>, front: &mut Front<E>) {
        std::mem::swap(&mut tail.queue, &mut front.queue);
        self.taken_bytes
            .store(front.queue.bytes(), Ordering::Relaxed);
        self.waiting_bytes.store(0, Ordering::Relaxed);
        // Nothing comes after the end, and the end is told once.
        tail.discarded |= front.queue.is_ended();
    }

    fn conflates(&self) -> bool {
        self.overflow() == Overflow::Conflate
    }

    pub(super) fn overflow(&self) -> Overflow {
        self.room.overflow
    }
}

impl<E: Routed> Queue<E> {
    /// A queue, and its reader.
    pub(super) fn new(
        limit: QueueLimit,
        stream: &StreamKey,
        correlation: Option<CorrelationId>,
    ) -> (Arc<Self>, Reader<E>) {
        let queue = Arc::new(Self {
            room: Room::of::<E>(limit),
            stream: stream.clone(),
            correlation,
            process: Process::this(),
            tail: Mutex::new(Tail {
                queue: Entries::new(),
                discarded: false,
                waiting: false,
                asked: false,
            }),
            filled: Condvar::new(),
            channel: WakeChannel::new(),
            routed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            conflated: AtomicU64::new(0),
            waiting_bytes: AtomicUsize::new(0),
            taken_bytes: AtomicUsize::new(0),
            lag: AtomicU64::new(0),
        });
        let reader = Reader {
            queue: Arc::clone(&queue),
            front: RefCell::new(Front {
                queue: Entries::new(),
                until_lag: 0,
                over: false,
            }),
            asked: Cell::new(false),
            in_child: OnceCell::new(),
        };
        (queue, reader)
    }

    // ---- the stream's thread ----

    /// Takes in a slice of a batch, as the limit allows: shared, or copied where that is better. Where events conflate, each of
    /// them is by itself. Says whether the queue has ended, because it was full.
    pub(crate) fn push(
        &self,
        batch: &Arc<Batch<E>>,
        slice: Slice,
        scratch: &mut Scratch<E>,
    ) -> bool {
        // Events are cloned before the lock is taken, and destroyed after it was let go.
        scratch.clear();
        if self.conflates() || batch.is_better_copied(slice) {
            self.load_copies(batch, slice, scratch);
        } else {
            scratch.heap = batch.heap_of(slice);
            let shared = Entry::Shared(Arc::clone(batch), slice);
            scratch.load.push_back(shared);
        }
        self.insert(slice.len(), scratch)
    }

    fn load_copies(&self, batch: &Batch<E>, slice: Slice, scratch: &mut Scratch<E>) {
        for place in batch.places_of(slice) {
            let event = &batch.events[place].event;
            if self.conflates() {
                // One without a symbol belongs to its whole channel.
                let symbol = event.symbols().first().cloned();
                let topic = (event.channel(), symbol.unwrap_or_else(|| "*".into()));
                scratch.topics.push(topic);
            }
            let origin = batch.events.origin(place, batch.epoch);
            let copy = One::new(event.clone(), origin, batch.heap_at(place));
            scratch.heap += copy.heap();
            scratch.load.push_back(Entry::One(copy));
        }
    }

    /// Takes in what the scratch is loaded with.
    fn insert(&self, count: usize, scratch: &mut Scratch<E>) -> bool {
        let overflowed = self.change(|tail| {
            if tail.queue.is_ended() {
                add(&self.dropped, count as u64);
                add(&self.routed, count as u64);
                return false;
            }
            let inserted = tail.queue.insert(count, self.room, scratch);
            self.waiting_bytes
                .store(tail.queue.bytes(), Ordering::Relaxed);
            add(&self.dropped, inserted.dropped as u64);
            add(&self.conflated, inserted.conflated as u64);
            // Behind what was dropped, which would else count as waiting for as long as the insert takes.
            add(&self.routed, count as u64);
            if inserted.overflowed {
                tail.queue.end(&EndReason::Failed(self.overflow_error()));
            }
            inserted.overflowed
        });
        scratch.clear();
        overflowed
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
    }

    /// One change of the tail, then the token if that made it non-empty, and a wake for a reader that waits. What is
    /// dropped is dropped unlocked.
    fn change<R: Default>(&self, change: impl FnOnce(&mut Tail<E>) -> R) -> R {
        let (result, fire, wake) = {
            let mut tail = self.tail.lock();
            if tail.discarded {
                return R::default();
            }
            let (was_empty, was_ended) = (tail.queue.is_empty(), tail.queue.is_ended());
            let result = change(&mut tail);
            let ends = !was_ended && tail.queue.is_ended();
            if ends && tail.asked {
                // Under the lock, so that the reader cannot take the end before its token is in the channel.
                self.channel.fire();
            }
            let filled = !tail.queue.is_empty();
            let wake = filled && std::mem::take(&mut tail.waiting);
            let fire = !ends && was_empty && filled && tail.asked;
            (result, fire, wake)
        };
        if fire {
            self.channel.fire();
        }
        if wake {
            self.filled.notify_one();
        }
        result
    }

    pub(super) fn overflow_error(&self) -> Error {
        // Events are only taken in while it is live.
        let at = At::new(&self.stream, Phase::Live);
        Error::new(
            at,
            ErrorKind::Overflow {
                capacity: self.room.events,
                capacity_bytes: self.room.bytes,
            },
        )
    }

    /// The subscription is gone: what is queued is destroyed, and nothing is taken in any more.
    pub(crate) fn discard(&self) {
        let tail = {
            let mut tail = self.tail.lock();
            tail.discarded = true;
            std::mem::replace(&mut tail.queue, Entries::new())
        };
        self.waiting_bytes.store(0, Ordering::Relaxed);
        self.taken_bytes.store(0, Ordering::Relaxed);
        drop(tail);
    }

    /// What became of the events. Takes no lock; the numbers may be a moment apart.
    fn counts(&self) -> QueueCounts {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let dropped = self.dropped.load(Ordering::Relaxed);
        let conflated = self.conflated.load(Ordering::Relaxed);
        let routed = self.routed.load(Ordering::Relaxed);
        let queued = routed.saturating_sub(delivered + dropped + conflated);
        QueueCounts {
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
            capacity: self.room.events,
            bytes_queued: self.waiting_bytes.load(Ordering::Relaxed)
                + self.taken_bytes.load(Ordering::Relaxed),
            capacity_bytes: self.room.bytes,
            overflow: self.room.overflow,
            lag: Duration::from_nanos(self.lag.load(Ordering::Relaxed)),
            topics_confirmed: 0,
            topics_pending: 0,
        }
    }
}

impl<E> Reader<E> {
    pub(super) fn queue(&self) -> &Arc<Queue<E>> {
        &self.queue
    }

    /// The channel that the token comes through. It holds one if anything is queued.
    pub(super) fn ready(&self) -> &Receiver<Ready> {
        self.asked.set(true);
        &self.arm().receiver
    }

    /// Sends the token if anything is queued, to a reader that has asked for the channel.
    pub(super) fn rearm(&self) {
        if self.asked.get() {
            self.arm();
        }
    }

    fn arm(&self) -> &WakeChannel {
        let queue = &*self.queue;
        let (channel, is_queued) = if queue.process.is_parent() {
            let channel = self.in_child.get_or_init(WakeChannel::new);
            (channel, !self.front.borrow().over)
        } else {
            let mut tail = queue.tail.lock();
            tail.asked = true;
            (&queue.channel, !tail.queue.is_empty())
        };
        if is_queued || self.has_more() {
            channel.fire();
        }
        channel
    }

    #[cfg(test)]
    pub(super) fn fires(&self) -> bool {
        !self.queue.channel.receiver.is_empty()
    }

    /// Whether something that was taken out is not read yet.
    pub(super) fn has_more(&self) -> bool {
        !self.front.borrow().queue.is_empty()
    }

    /// Takes out all that is queued, if what was taken before is read. Says whether there is something to read.
    pub(super) fn take(&self, front: &mut Front<E>) -> bool {
        if !front.queue.is_empty() {
            return true;
        }
        if self.queue.process.is_parent() {
            front.queue = self.forked(front.over);
            return !front.queue.is_empty();
        }
        front.queue.clear();
        self.queue.swap(&mut self.queue.tail.lock(), front);
        !front.queue.is_empty()
    }

    /// Blocks until something is queued, or `deadline`, and takes it out into a front that is read. Says whether there may
    /// be something to read.
    pub(super) fn wait(&self, front: &mut Front<E>, deadline: Option<Instant>) -> bool {
        front.queue.clear();
        self.queue.taken_bytes.store(0, Ordering::Relaxed);
        let filled = &self.queue.filled;
        let mut tail = self.queue.tail.lock();
        while tail.queue.is_empty() && !tail.discarded {
            tail.waiting = true;
            match deadline {
                None => filled.wait(&mut tail),
                Some(deadline) => {
                    if filled.wait_until(&mut tail, deadline).timed_out() {
                        break;
                    }
                }
            }
        }
        tail.waiting = false;
        self.queue.swap(&mut tail, front);
        !front.queue.is_empty() || tail.discarded
    }

    /// All that is left to read in a forked child: that there is nothing to read.
    fn forked(&self, is_over: bool) -> Entries<E> {
        let mut entries = Entries::new();
        if !is_over {
            let at = At::new(&self.queue.stream, Phase::Ended);
            entries.end(&EndReason::Failed(Error::new(at, ErrorKind::Forked)));
        }
        entries
    }
}

impl<E: Routed> Reader<E> {
    /// The next update that stands in front, as `wrap` makes something of it. Where there is none, `refill` brings more,
    /// or breaks off with what to return instead.
    ///
    /// The update is made where its reader wants it, in whatever that wraps it in: it is large, and each move shows.
    #[inline]
    pub(super) fn read<T: Payload<Source = E>, R>(
        &self,
        wrap: impl FnOnce(Update<T>) -> R,
        mut refill: impl FnMut(&mut Front<E>) -> ControlFlow<R>,
    ) -> R {
        let front = &mut *self.front.borrow_mut();
        loop {
            match front.queue.take() {
                None => {
                    if let ControlFlow::Break(instead) = refill(front) {
                        return instead;
                    }
                }
                Some(Taken::Event(event, origin)) => {
                    add(&self.queue.delivered, 1);
                    if front.until_lag == 0 {
                        front.until_lag = LAG_EVERY;
                        self.measure_lag(origin.received());
                    }
                    front.until_lag -= 1;
                    if let Some(project) = T::project(event) {
                        return wrap(Update::Event(Event::of(project(), origin)));
                    }
                }
                Some(Taken::Declared(declared)) => {
                    front.over |= matches!(declared, Declaration::Ended(_));
                    return wrap(self.declare(declared));
                }
            }
        }
    }

    /// Whatever is not an event, as this subscription is told it.
    #[cold]
    fn declare<T>(&self, declared: Declaration) -> Update<T> {
        let queue = &self.queue;
        let (stream, correlation) = (&queue.stream, queue.correlation.as_ref());
        match declared {
            Declaration::Gap(gap) => Update::Gap(Declared::new(gap, stream, correlation)),
            Declaration::Dropped(hole) => {
                let dropped = Dropped {
                    count: hole.count,
                    capacity: queue.room.events,
                    capacity_bytes: queue.room.bytes,
                    since: hole.since.map(clock::utc_of),
                };
                Update::Dropped(Declared::new(dropped, stream, correlation))
            }
            Declaration::Notice(notice) => {
                Update::Notice(Declared::new(notice, stream, correlation))
            }
            Declaration::Ended(reason) => {
                // The last token that was sent: the channel is silent from here on.
                match self.in_child.get() {
                    Some(channel) => channel.silence(),
                    None if queue.process.is_parent() => {}
                    None => queue.channel.silence(),
                }
                Update::Ended(Declared::new(Ended { reason }, stream, correlation))
            }
        }
    }

    fn measure_lag(&self, received: Instant) {
        let age = clock::now().saturating_duration_since(received).as_nanos();
        let age = u64::try_from(age).unwrap_or(u64::MAX);
        self.queue.lag.store(age, Ordering::Relaxed);
    }
}

impl<E> std::fmt::Debug for Queue<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Queue")
            .field("room", &self.room)
            .finish_non_exhaustive()
    }
}

/// Adds to a counter that only one thread writes at a time: whoever holds the tail, or a front.
fn add(counter: &AtomicU64, more: u64) {
    counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}

/// How old events are is measured every so often: a look at the clock costs as much as an event.
const LAG_EVERY: u32 = 64;
