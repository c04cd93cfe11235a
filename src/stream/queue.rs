//! One subscription's queue: runs of shared batches mixed with declarations, and a wake token.
//!
//! The stream's thread pushes, one reader takes. A batch is shared by every queue it was pushed to; a run says which of
//! its events are this subscription's. Declarations (gaps, drops, notices) stand between runs, where they happened.
//!
//! **Token.** A `bounded(1)` channel carries the wake token. Whoever makes the queue non-empty sends it, outside the
//! lock; a full channel means that one is on its way already. A reader that leaves something behind sends it again.
//! So: *if something is queued and no reader is at work, a token is in the channel.* The one token that is sent under
//! the lock is that of the end: whoever takes [`Update::Ended`] then finds it in the channel and removes it, so that
//! the channel never fires after it. Nor does it disconnect, since the queue keeps both ends: an arm of an ended
//! subscription stays silent in `select!` instead of spinning.
//!
//! **Two stages.** `tail` is where the stream's thread pushes; `front` is what the reader has swapped out and works
//! through, which it does without holding the lock. The two locks are never held together.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::{Condvar, Mutex};

use super::subscription::Delivery;
use crate::{
    error::Error,
    event::{Dropped, EndReason, Ended, Event, Gap, Notice, Update},
    key::StreamKey,
    process::Process,
    topic::{Overflow, Payload, QueueLimit},
    venue::{Routed, Stamped},
};

/// Events that were flushed together, shared by the queues they went to.
pub(crate) struct Batch<E> {
    pub(crate) events: Vec<Stamped<E>>,
    pub(crate) epoch: u64,
}

/// What a queue takes of a batch.
pub(crate) enum Picks {
    All,
    Some(Box<[u32]>),
}

/// The part of a batch that is one subscription's, from `next` to `end` of its picks.
struct Run<E> {
    batch: Arc<Batch<E>>,
    picks: Picks,
    next: usize,
    end: usize,
}

impl<E> Run<E> {
    fn new(batch: Arc<Batch<E>>, picks: Picks) -> Self {
        let end = match &picks {
            Picks::All => batch.events.len(),
            Picks::Some(picks) => picks.len(),
        };
        Self {
            batch,
            picks,
            next: 0,
            end,
        }
    }

    fn len(&self) -> usize {
        self.end - self.next
    }

    fn peek(&self) -> Option<&Stamped<E>> {
        if self.next == self.end {
            return None;
        }
        self.batch.events.get(match &self.picks {
            Picks::All => self.next,
            Picks::Some(picks) => picks[self.next] as usize,
        })
    }
}

enum Entry<E> {
    Run(Run<E>),
    Gap(Gap),
    Dropped(u64),
    Notice(Notice),
}

/// Entries in order, and how many events are in their runs.
pub(crate) struct Entries<E> {
    entries: VecDeque<Entry<E>>,
    events: usize,
    ended: Option<EndReason>,
}

impl<E> Entries<E> {
    fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            events: 0,
            ended: None,
        }
    }

    fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.ended.is_none()
    }
}

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
    unparsed: usize,
}

/// The queue. See the module's documentation.
pub(crate) struct Queue<E> {
    limit: QueueLimit,
    stream: StreamKey,
    process: Process,
    tail: Mutex<Tail<E>>,
    front: Mutex<Entries<E>>,
    answers: Mutex<Answers>,
    answered: Condvar,
    routed: AtomicU64,
    delivered: AtomicU64,
    dropped: AtomicU64,
    /// When the oldest event of the last taken run was read from the socket, as an age in nanoseconds.
    lag: AtomicU64,
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

/// Counters of one subscription. Routed events are delivered, queued, dropped, or discarded at the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) routed: u64,
    pub(crate) delivered: u64,
    pub(crate) dropped: u64,
    pub(crate) queued: u64,
    pub(crate) lag: Duration,
}

impl<E: Routed> Queue<E> {
    /// A queue, and the channel that its tokens come through.
    pub(crate) fn new<T: Payload<Source = E>>(
        limit: QueueLimit,
        stream: &StreamKey,
    ) -> (Arc<Self>, Receiver<Delivery<T>>) {
        let (sender, receiver) = crossbeam_channel::bounded(1);
        let queue = Arc::new_cyclic(|queue| Self {
            limit,
            stream: stream.clone(),
            process: Process::this(),
            tail: Mutex::new(Tail {
                queue: Entries::new(),
                discarded: false,
                unparsed: 0,
            }),
            front: Mutex::new(Entries::new()),
            answers: Mutex::new(Answers::default()),
            answered: Condvar::new(),
            routed: AtomicU64::new(0),
            delivered: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
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

    /// Takes in the picked events of a batch, as the limit allows.
    pub(crate) fn push(&self, batch: &Arc<Batch<E>>, picks: Picks) {
        let mut run = Run::new(Arc::clone(batch), picks);
        let count = run.len();
        // Runs that are pushed out by newer ones are destroyed after the lock was let go.
        let mut trimmed = Vec::new();
        let overflow = self.change(|tail| {
            self.routed.fetch_add(count as u64, Ordering::Relaxed);
            if tail.queue.ended.is_some() {
                self.dropped.fetch_add(count as u64, Ordering::Relaxed);
                return false;
            }
            let excess = (tail.queue.events + count).saturating_sub(self.limit.events);
            match self.limit.overflow {
                Overflow::DropOldest => {
                    if excess > 0 {
                        let from_queue = excess.min(tail.queue.events);
                        run.next += excess - from_queue;
                        self.trim(&mut tail.queue, from_queue, excess, &mut trimmed);
                    }
                    tail.queue.append(run);
                }
                Overflow::DropNewest => {
                    run.end -= excess;
                    tail.queue.append(run);
                    if excess > 0 {
                        self.dropped.fetch_add(excess as u64, Ordering::Relaxed);
                        match tail.queue.entries.back_mut() {
                            Some(Entry::Dropped(count)) => *count += excess as u64,
                            _ => tail.queue.entries.push_back(Entry::Dropped(excess as u64)),
                        }
                    }
                }
                Overflow::End => {
                    run.end -= excess;
                    tail.queue.append(run);
                    if excess > 0 {
                        self.dropped.fetch_add(excess as u64, Ordering::Relaxed);
                        let error = Error::Overflow {
                            stream: self.stream.clone(),
                            capacity: self.limit.events,
                        };
                        tail.queue.ended = Some(EndReason::Failed(error));
                        return true;
                    }
                }
            }
            false
        });
        drop(trimmed);
        if overflow {
            self.end_answers(&EndReason::Failed(self.overflow_error()));
        }
    }

    /// Takes `from_queue` events off the head and declares `lost` where they were.
    ///
    /// Other declarations that stood among them come after the hole, because they are still true: no event is left
    /// between them, so it does not matter for any reader where exactly in the hole they stand. Gaps that become
    /// neighbours merge, or a flapping line would pile them up.
    fn trim(
        &self,
        queue: &mut Entries<E>,
        mut from_queue: usize,
        lost: usize,
        trimmed: &mut Vec<Run<E>>,
    ) {
        self.dropped.fetch_add(lost as u64, Ordering::Relaxed);
        queue.events -= from_queue;
        let mut hole = lost as u64;
        let mut kept: Vec<Entry<E>> = Vec::new();
        loop {
            match queue.entries.front_mut() {
                Some(Entry::Dropped(count)) => {
                    hole += *count;
                    queue.entries.pop_front();
                }
                Some(Entry::Run(run)) if from_queue > 0 => {
                    let here = run.len().min(from_queue);
                    run.next += here;
                    from_queue -= here;
                    if run.len() == 0
                        && let Some(Entry::Run(run)) = queue.entries.pop_front()
                    {
                        trimmed.push(run);
                    }
                }
                Some(Entry::Gap(_) | Entry::Notice(_)) if from_queue > 0 => {
                    match queue.entries.pop_front() {
                        Some(Entry::Gap(gap)) => merge_gap(&mut kept, gap),
                        Some(entry) => kept.push(entry),
                        None => {}
                    }
                }
                _ => break,
            }
        }
        for entry in kept.into_iter().rev() {
            queue.entries.push_front(entry);
        }
        queue.entries.push_front(Entry::Dropped(hole));
    }

    /// Declares that the connection broke.
    pub(crate) fn push_gap(&self, gap: Gap) {
        self.change(|tail| {
            if tail.queue.ended.is_none() {
                merge_gap_back(&mut tail.queue.entries, gap);
            }
        });
    }

    /// Says something that loses nothing. A flood of unparsed items is counted once some of them wait.
    pub(crate) fn push_notice(&self, notice: Notice) {
        self.change(|tail| {
            if tail.queue.ended.is_some() {
                return;
            }
            if let Notice::Unparsed(_) = &notice {
                if tail.unparsed >= MAX_UNPARSED {
                    let last = tail
                        .queue
                        .entries
                        .iter_mut()
                        .rev()
                        .find_map(|entry| match entry {
                            Entry::Notice(Notice::Unparsed(unparsed)) => Some(unparsed),
                            _ => None,
                        });
                    if let Some(last) = last {
                        last.more += 1;
                        return;
                    }
                }
                tail.unparsed += 1;
            }
            tail.queue.entries.push_back(Entry::Notice(notice));
        });
    }

    /// Ends the subscription, behind what is queued. The first reason stays.
    pub(crate) fn end(&self, reason: &EndReason) {
        self.change(|tail| {
            tail.queue.ended.get_or_insert_with(|| reason.clone());
        });
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
            let (was_empty, was_ended) = (tail.queue.is_empty(), tail.queue.ended.is_some());
            let result = change(&mut tail);
            let ends = !was_ended && tail.queue.ended.is_some();
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
            stream: self.stream.clone(),
            capacity: self.limit.events,
        }
    }

    // ---- the reader ----

    /// The next update, or nothing where none is queued.
    pub(crate) fn pop<T: Payload<Source = E>>(&self) -> Option<Update<T>> {
        let mut entries = self.take();
        let update = self.next(&mut entries);
        self.restore(entries);
        update
    }

    /// Everything that is queued, to be worked through without a lock. The rest goes back by [`restore`](Self::restore).
    pub(crate) fn take(&self) -> Entries<E> {
        let front = std::mem::replace(&mut *self.front.lock(), Entries::new());
        if !front.is_empty() {
            return front;
        }
        if self.process.is_parent() {
            return self.forked();
        }
        let mut tail = self.tail.lock();
        tail.unparsed = 0;
        let taken = std::mem::replace(&mut tail.queue, Entries::new());
        // Nothing comes after the end, and the end is told once.
        tail.discarded |= taken.ended.is_some();
        taken
    }

    /// All that is left to read in a forked child: that there is nothing to read.
    fn forked(&self) -> Entries<E> {
        let mut entries = Entries::new();
        if !self.is_over() {
            let stream = self.stream.clone();
            entries.ended = Some(EndReason::Failed(Error::Forked { stream }));
        }
        entries
    }

    /// Gives back what a reader did not read.
    pub(crate) fn restore(&self, mut rest: Entries<E>) {
        if rest.is_empty() {
            return;
        }
        let mut front = self.front.lock();
        // Only a second delivery, taken while the first was still held, can have left something here.
        let newer = std::mem::replace(&mut *front, Entries::new());
        rest.events += newer.events;
        rest.entries.extend(newer.entries);
        rest.ended = rest.ended.or(newer.ended);
        *front = rest;
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

    /// The next update out of `entries`.
    pub(crate) fn next<T: Payload<Source = E>>(
        &self,
        entries: &mut Entries<E>,
    ) -> Option<Update<T>> {
        loop {
            match entries.entries.front_mut() {
                Some(Entry::Run(run)) => {
                    let Some(stamped) = run.peek() else {
                        entries.entries.pop_front();
                        continue;
                    };
                    let event = T::project(&stamped.event)
                        .map(|data| Event::new(data, stamped.received, run.batch.epoch));
                    run.next += 1;
                    entries.events -= 1;
                    self.delivered.fetch_add(1, Ordering::Relaxed);
                    if run.len() == 0 {
                        if let Some(event) = &event {
                            let age = crate::clock::now().saturating_duration_since(event.received);
                            self.lag.store(
                                u64::try_from(age.as_nanos()).unwrap_or(u64::MAX),
                                Ordering::Relaxed,
                            );
                        }
                        entries.entries.pop_front();
                    }
                    if let Some(event) = event {
                        return Some(Update::Event(event));
                    }
                }
                Some(_) => {
                    return match entries.entries.pop_front()? {
                        Entry::Gap(gap) => Some(Update::Gap(gap)),
                        Entry::Dropped(count) => Some(Update::Dropped(Dropped {
                            count,
                            error: self.overflow_error(),
                        })),
                        Entry::Notice(notice) => Some(Update::Notice(notice)),
                        Entry::Run(_) => None,
                    };
                }
                None => {
                    let reason = entries.ended.take()?;
                    self.over.store(true, Ordering::Release);
                    self.token.take_back();
                    return Some(Update::Ended(Ended::new(reason)));
                }
            }
        }
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

    pub(crate) fn answers(&self) -> Answers {
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
    pub(crate) fn counts(&self) -> Counts {
        let delivered = self.delivered.load(Ordering::Relaxed);
        let dropped = self.dropped.load(Ordering::Relaxed);
        let routed = self.routed.load(Ordering::Relaxed);
        let queued = routed.saturating_sub(delivered + dropped);
        let lag = Duration::from_nanos(self.lag.load(Ordering::Relaxed));
        Counts {
            routed,
            delivered,
            dropped,
            queued,
            lag,
        }
    }

    pub(crate) fn limit(&self) -> QueueLimit {
        self.limit
    }
}

impl<E> Entries<E> {
    fn append(&mut self, run: Run<E>) {
        if run.len() > 0 {
            self.events += run.len();
            self.entries.push_back(Entry::Run(run));
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

/// Adds `gap` behind `entries`. Where no event and no drop stands between it and the last one, the two are one.
fn merge_gap_back<E>(entries: &mut VecDeque<Entry<E>>, gap: Gap) {
    let last = entries
        .iter()
        .rposition(|entry| !matches!(entry, Entry::Notice(_)));
    if let Some(at) = last
        && let Some(Entry::Gap(earlier)) = entries.get_mut(at)
    {
        *earlier = merged(earlier, gap);
        // What was said to be resumed in between broke again before it brought anything.
        let mut position = 0;
        entries.retain(|entry| {
            position += 1;
            position <= at || !matches!(entry, Entry::Notice(Notice::Resumed { .. }))
        });
    } else {
        entries.push_back(Entry::Gap(gap));
    }
}

fn merge_gap<E>(kept: &mut Vec<Entry<E>>, gap: Gap) {
    let mut entries = VecDeque::from(std::mem::take(kept));
    merge_gap_back(&mut entries, gap);
    *kept = entries.into();
}

/// The first `last` is the one to backfill from; the newest cause and connection are the ones that matter.
fn merged(earlier: &Gap, later: Gap) -> Gap {
    Gap {
        last: earlier.last,
        breaks: earlier.breaks + later.breaks,
        ..later
    }
}

/// How many unparsed items may wait to be shown one by one.
const MAX_UNPARSED: usize = 64;
