//! What a queue holds: runs of shared batches, in order, mixed with declarations where they happened. No locks here.

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
};

use super::batch::Batch;
use crate::{
    event::{EndReason, Gap, Notice},
    market::Symbol,
    topic::{Channel, Overflow, QueueLimit},
    venue::{Routed, Stamped},
};

/// What a queue takes of a batch.
#[derive(Clone, Copy)]
pub(crate) enum Picks {
    All,
    /// The events that this range of the batch's picks names.
    Range(usize, usize),
}

/// The part of a batch that is one subscription's: from `next` to `end` of its events, or of its picks.
pub(super) struct Run<E> {
    batch: Arc<Batch<E>>,
    picked: bool,
    next: usize,
    end: usize,
}

pub(super) enum Entry<E> {
    Run(Run<E>),
    Gap(Gap),
    Dropped(u64),
    Notice(Notice),
}

/// Entries in order, and how many events are in their runs.
pub(super) struct Entries<E> {
    entries: VecDeque<Entry<E>>,
    events: usize,
    /// Notices of unparsed items among the entries.
    unparsed: usize,
    ended: Option<EndReason>,
    /// Where the newest event of each topic stands. Only for queues that conflate, and only while nothing has moved.
    newest: HashMap<(Channel, Symbol), usize>,
}

/// What an insert did to events besides queueing them.
#[derive(Debug, Default)]
pub(super) struct Inserted {
    pub(super) dropped: usize,
    pub(super) conflated: usize,
    /// The queue is full, and its policy is to end.
    pub(super) overflowed: bool,
}

/// Runs that were pushed out, to be destroyed after the lock was let go.
pub(super) type Trimmed<E> = Vec<Run<E>>;

/// What stands in front, taken out.
pub(super) enum Taken<'a, E> {
    Event(&'a Stamped<E>, u64),
    Declared(Declared),
}

pub(super) enum Declared {
    Gap(Gap),
    Dropped(u64),
    Notice(Notice),
    Ended(EndReason),
}

impl<E> Run<E> {
    pub(super) fn new(batch: Arc<Batch<E>>, picks: Picks) -> Self {
        let (picked, next, end) = match picks {
            Picks::All => (false, 0, batch.events.len()),
            Picks::Range(next, end) => (true, next, end),
        };
        Self {
            batch,
            picked,
            next,
            end,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.next
    }

    fn at(&self, position: usize) -> &Stamped<E> {
        let batch = &*self.batch;
        if self.picked {
            &batch.events[batch.picks[position] as usize]
        } else {
            &batch.events[position]
        }
    }
}

impl<E: Routed> Run<E> {
    /// Its events as runs of their own, each with the topic it is the newest of.
    pub(super) fn singles(&self) -> Vec<((Channel, Symbol), Self)> {
        let single = |position| {
            let Stamped { event, received } = self.at(position);
            // One without a symbol belongs to its whole channel.
            let symbol = event.symbols().first().cloned();
            let topic = (event.channel(), symbol.unwrap_or_else(|| "*".into()));
            let event = Stamped {
                event: event.clone(),
                received: *received,
            };
            let batch = Batch::new(vec![event], self.batch.epoch);
            (topic, Self::new(Arc::new(batch), Picks::All))
        };
        (self.next..self.end).map(single).collect()
    }
}

impl<E> Entries<E> {
    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            events: 0,
            unparsed: 0,
            ended: None,
            newest: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let read = matches!(self.entries.front(), Some(Entry::Run(run)) if run.len() == 0);
        self.entries.len() == usize::from(read) && self.ended.is_none()
    }

    /// Empties it, and keeps its memory, unless that is far more than is usual.
    pub(super) fn clear(&mut self) {
        if self.entries.capacity() > KEPT {
            *self = Self::new();
            return;
        }
        self.entries.clear();
        self.events = 0;
        self.unparsed = 0;
        self.newest.clear();
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Takes in a run, as far as the limit allows, and declares what it does not.
    pub(super) fn insert(
        &mut self,
        mut run: Run<E>,
        limit: QueueLimit,
        trimmed: &mut Trimmed<E>,
    ) -> Inserted {
        let mut inserted = Inserted::default();
        let excess = (self.events + run.len()).saturating_sub(limit.events);
        match limit.overflow {
            Overflow::DropOldest | Overflow::Conflate => {
                if excess > 0 {
                    let queued = excess.min(self.events);
                    run.next += excess - queued;
                    self.trim(queued, excess, trimmed);
                }
                self.append(run);
            }
            Overflow::DropNewest => {
                run.end -= excess;
                self.append(run);
                self.lose(excess as u64);
            }
            Overflow::End => {
                run.end -= excess;
                self.append(run);
                inserted.overflowed = excess > 0;
            }
        }
        inserted.dropped = excess;
        inserted
    }

    /// Takes in events of which only the newest of each topic counts: one that waits is replaced where it stands.
    pub(super) fn conflate(
        &mut self,
        singles: Vec<((Channel, Symbol), Run<E>)>,
        limit: QueueLimit,
        trimmed: &mut Trimmed<E>,
    ) -> Inserted {
        let mut inserted = Inserted::default();
        for (topic, run) in singles {
            let waiting = self.newest.get(&topic).copied();
            if let Some(Entry::Run(older)) = waiting.and_then(|at| self.entries.get_mut(at)) {
                trimmed.push(std::mem::replace(older, run));
                inserted.conflated += 1;
                continue;
            }
            inserted.dropped += self.insert(run, limit, trimmed).dropped;
            self.newest.insert(topic, self.entries.len() - 1);
        }
        inserted
    }

    /// Declares that so many events are missing behind what is queued.
    pub(super) fn lose(&mut self, lost: u64) {
        match self.entries.back_mut() {
            _ if lost == 0 => {}
            Some(Entry::Dropped(count)) => *count += lost,
            _ => {
                // What came before the hole stays before it.
                self.newest.clear();
                self.entries.push_back(Entry::Dropped(lost));
            }
        }
    }

    /// Declares that the connection broke. Where no event and no drop stands between this and the last such
    /// declaration, the two become one, or a flapping line would pile them up.
    pub(super) fn gap(&mut self, gap: Gap) {
        // What came before the gap stays before it: nothing replaces it from behind.
        self.newest.clear();
        push_gap(&mut self.entries, gap);
    }

    /// Says something that loses nothing. Of unparsed items so many are shown one by one, and the rest is counted.
    pub(super) fn notice(&mut self, notice: Notice) {
        if let Notice::Unparsed(unparsed) = &notice {
            let more = unparsed.more;
            if self.unparsed >= MAX_UNPARSED {
                let shown = self.entries.iter_mut().rev().find_map(|entry| match entry {
                    Entry::Notice(Notice::Unparsed(unparsed)) => Some(unparsed),
                    _ => None,
                });
                if let Some(last) = shown {
                    last.more += 1 + more;
                    return;
                }
            }
            self.unparsed += 1;
        }
        self.entries.push_back(Entry::Notice(notice));
    }

    /// The end, behind everything. The first reason stays.
    pub(super) fn end(&mut self, reason: &EndReason) {
        self.ended.get_or_insert_with(|| reason.clone());
    }

    /// What stands in front.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Taken<'_, E>> {
        // A run that was read to its end is removed when the next is asked for: its last event was lent out.
        while matches!(self.entries.front(), Some(Entry::Run(run)) if run.len() == 0) {
            self.entries.pop_front();
        }
        if let Some(Entry::Run(_)) = self.entries.front() {
            self.events -= 1;
            let Some(Entry::Run(run)) = self.entries.front_mut() else {
                return None;
            };
            run.next += 1;
            return Some(Taken::Event(run.at(run.next - 1), run.batch.epoch));
        }
        self.take_declared().map(Taken::Declared)
    }

    #[cold]
    fn take_declared(&mut self) -> Option<Declared> {
        match self.entries.pop_front() {
            Some(Entry::Gap(gap)) => Some(Declared::Gap(gap)),
            Some(Entry::Dropped(count)) => Some(Declared::Dropped(count)),
            Some(Entry::Notice(notice)) => {
                self.unparsed -= usize::from(matches!(notice, Notice::Unparsed(_)));
                Some(Declared::Notice(notice))
            }
            Some(Entry::Run(_)) | None => self.ended.take().map(Declared::Ended),
        }
    }

    fn append(&mut self, run: Run<E>) {
        if run.len() > 0 {
            self.events += run.len();
            self.entries.push_back(Entry::Run(run));
        }
    }

    /// Takes `queued` events off the head and declares `lost` where they were.
    ///
    /// Other declarations that stood among them come after the hole. They are still true, and no event is left between
    /// them, so for a reader it makes no difference where in the hole they stand.
    fn trim(&mut self, mut queued: usize, lost: usize, trimmed: &mut Trimmed<E>) {
        self.newest.clear();
        self.events -= queued;
        let mut hole = lost as u64;
        let mut kept = VecDeque::new();
        loop {
            match self.entries.front_mut() {
                Some(Entry::Dropped(count)) => {
                    hole += *count;
                    self.entries.pop_front();
                }
                Some(Entry::Run(run)) if queued > 0 => {
                    let here = run.len().min(queued);
                    run.next += here;
                    queued -= here;
                    if run.len() == 0
                        && let Some(Entry::Run(run)) = self.entries.pop_front()
                    {
                        trimmed.push(run);
                    }
                }
                // Also behind the last event that goes: two gaps may have come together.
                Some(Entry::Gap(_) | Entry::Notice(_)) => match self.entries.pop_front() {
                    Some(Entry::Gap(gap)) => push_gap(&mut kept, gap),
                    Some(entry) => kept.push_back(entry),
                    None => {}
                },
                _ => break,
            }
        }
        for entry in kept.into_iter().rev() {
            self.entries.push_front(entry);
        }
        self.entries.push_front(Entry::Dropped(hole));
    }
}

fn push_gap<E>(entries: &mut VecDeque<Entry<E>>, gap: Gap) {
    let last = entries
        .iter()
        .rposition(|entry| !matches!(entry, Entry::Notice(_)));
    let Some((at, Entry::Gap(earlier))) = last.and_then(|at| Some((at, entries.get_mut(at)?)))
    else {
        return entries.push_back(Entry::Gap(gap));
    };
    // The first `last` is the one to backfill from; the newest cause and connection are the ones that matter.
    *earlier = Gap {
        last: earlier.last,
        breaks: earlier.breaks + gap.breaks,
        ..gap
    };
    // What was said to be resumed in between broke again before it brought anything.
    let mut position = 0;
    entries.retain(|entry| {
        position += 1;
        position <= at || !matches!(entry, Entry::Notice(Notice::Resumed { .. }))
    });
}

/// How many unparsed items may wait to be shown one by one.
const MAX_UNPARSED: usize = 64;
/// How many entries a queue that was emptied keeps room for.
const KEPT: usize = 256;
