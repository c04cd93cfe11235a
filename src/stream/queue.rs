//! One subscription's queue: [entries](super::entries), and a wake token. The stream's thread pushes, one reader takes.
//!
//! **Token.** A `bounded(1)` channel carries the wake token. Whoever makes the queue non-empty sends it, outside the
//! lock; a full channel means that one is on its way already. A reader that leaves something behind sends it again.
//! So: *if something is queued and no reader is at work, a token is in the channel.* The one token that is sent under
//! the lock is that of the end: whoever takes [`Update::Ended`] then finds it in the channel and removes it, so that
//! the channel never fires after it. Nor does it disconnect, since the queue keeps both ends: an arm of an ended
//! subscription stays silent in `select!` instead of spinning.
//!
//! **Two stages.** `tail` is where the stream's thread pushes. The reader swaps it out whole into `front`, and works
//! through that: so its share of the contended lock is one swap, however much is queued. The two are never held
//! together. `front` belongs to one reader, and is never contended; that is why a user's `Payload` may be projected
//! under it.

use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::{
    entries::{Batch, Entries, Inserted, Picks, Run, Taken},
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

struct Tail<E> {
    queue: Entries<E>,
    /// The subscription was dropped: nothing is taken in any more.
    discarded: bool,
}

/// The queue. See the module's documentation.
pub(crate) struct Queue<E> {
    limit: QueueLimit,
    stream: StreamKey,
    /// Whose subscription it is. Declarations are stamped with it when they are read, and events never.
    correlation: Option<CorrelationId>,
    process: Process,
    tail: Mutex<Tail<E>>,
    front: Mutex<Entries<E>>,
    answers: Mutex<Answers>,
    answered: Condvar,
    routed: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    conflated: AtomicU64,
    lag: Lag,
    /// [`Update::Ended`] was taken.
    over: AtomicBool,
    token: Box<dyn Token>,
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
            }),
            front: Mutex::new(Entries::new()),
            answers: Mutex::new(Answers::default()),
            answered: Condvar::new(),
            routed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
            conflated: AtomicU64::new(0),
            lag: Lag::default(),
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

    /// Takes in the picked events of a batch, as the limit allows.
    pub(crate) fn push(&self, batch: &Arc<Batch<E>>, picks: Picks) {
        let run = Run::new(Arc::clone(batch), picks);
        let count = run.len() as u64;
        // Events are cloned before the lock is taken, and destroyed after it was let go.
        let singles = (self.limit.overflow == Overflow::Conflate).then(|| run.singles());
        let mut trimmed = Vec::new();
        let overflowed = self.change(|tail| {
            self.routed.fetch_add(count, Ordering::Relaxed);
            let inserted = match singles {
                _ if tail.queue.is_ended() => Inserted {
                    dropped: run.len(),
                    ..Inserted::default()
                },
                Some(singles) => tail.queue.conflate(singles, self.limit, &mut trimmed),
                None => tail.queue.insert(run, self.limit, &mut trimmed),
            };
            self.dropped
                .fetch_add(inserted.dropped as u64, Ordering::Relaxed);
            self.conflated
                .fetch_add(inserted.conflated as u64, Ordering::Relaxed);
            if inserted.overflowed {
                tail.queue.end(&EndReason::Failed(self.overflow_error()));
            }
            inserted.overflowed
        });
        drop(trimmed);
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
                tail.queue.lose(count);
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

    /// Says something that loses nothing.
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

    /// One change of the tail, then the token if that made it non-empty. What is dropped is dropped unlocked.
    fn change<R: Default>(&self, change: impl FnOnce(&mut Tail<E>) -> R) -> R {
        let (result, wake) = {
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
            (result, !ends && was_empty && !tail.queue.is_empty())
        };
        if wake {
            self.token.send();
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

    /// The next update, or nothing where none is queued.
    pub(crate) fn pop<T: Payload<Source = E>>(&self) -> Option<Update<T>> {
        self.pop_taken().or_else(|| {
            self.take();
            self.pop_taken()
        })
    }

    /// The next update of what was taken out already.
    pub(crate) fn pop_taken<T: Payload<Source = E>>(&self) -> Option<Update<T>> {
        let (stream, correlation) = (&self.stream, self.correlation.as_ref());
        let mut front = self.front.lock();
        loop {
            return Some(match front.take()? {
                Taken::Event(stamped, epoch) => {
                    let data = T::project(&stamped.event);
                    self.delivered.fetch_add(1, Ordering::Relaxed);
                    let Some(data) = data else { continue };
                    self.lag.saw(stamped.received);
                    Update::Event(Event::new(data, stamped.received, epoch))
                }
                Taken::Gap(gap) => Update::Gap(gap.told(stream, correlation)),
                Taken::Dropped(count) => Update::Dropped(Dropped {
                    count,
                    error: self.overflow_error().told(stream, None, correlation),
                    correlation: correlation.cloned(),
                }),
                Taken::Notice(notice) => Update::Notice(notice.told(stream, correlation)),
                Taken::Ended(reason) => {
                    self.over.store(true, Ordering::Release);
                    self.token.take_back();
                    Update::Ended(Ended {
                        reason: reason.told(stream, correlation),
                        correlation: correlation.cloned(),
                    })
                }
            });
        }
    }

    /// Takes out all that is queued, if what was taken before is read.
    pub(crate) fn take(&self) {
        let is_read = self.front.lock().is_empty();
        if !is_read {
            return;
        }
        let taken = if self.process.is_parent() {
            self.forked()
        } else {
            let mut tail = self.tail.lock();
            let taken = std::mem::replace(&mut tail.queue, Entries::new());
            // Nothing comes after the end, and the end is told once.
            tail.discarded |= taken.is_ended();
            taken
        };
        let read = std::mem::replace(&mut *self.front.lock(), taken);
        drop(read);
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
        let in_front = !self.front.lock().is_empty();
        if in_front || !self.tail.lock().queue.is_empty() {
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
        let front = std::mem::replace(&mut *self.front.lock(), Entries::new());
        drop((front, tail));
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
            topics: Vec::new(),
            events_routed: counts.routed,
            events_delivered: counts.delivered,
            events_dropped: counts.dropped,
            events_conflated: counts.conflated,
            events_queued: counts.queued,
            capacity: self.limit.events,
            overflow: self.limit.overflow,
            lag: self.lag.newest(),
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

/// How old events are when they are taken. Measured every so often: a look at the clock costs as much as an event.
#[derive(Default)]
struct Lag {
    nanos: AtomicU64,
    events: AtomicU64,
}

impl Lag {
    const EVERY: u64 = 64;

    fn saw(&self, received: Instant) {
        if self
            .events
            .fetch_add(1, Ordering::Relaxed)
            .is_multiple_of(Self::EVERY)
        {
            let age = clock::now().saturating_duration_since(received).as_nanos();
            self.nanos
                .store(u64::try_from(age).unwrap_or(u64::MAX), Ordering::Relaxed);
        }
    }

    fn newest(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}
