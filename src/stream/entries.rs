//! What a queue holds: slices of shared batches, and events of its own where those would be few of many, in order, mixed
//! with declarations where they happened. No locks here.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem::{self, Discriminant},
    sync::Arc,
    time::Instant,
};

use super::batch::{Batch, Slice};
use crate::{
    event::{EndReason, Gap, Notice, Origin},
    market::Symbol,
    topic::{Channel, Overflow, QueueLimit, Topic},
    venue::Stamped,
};

pub(super) enum Entry<E> {
    /// Events of a batch that is shared.
    Shared(Arc<Batch<E>>, Slice),
    One(One<E>),
    Gap(Gap),
    Dropped(Hole),
    Notice(Notice),
}

/// Events that are missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    pub(super) count: u64,
    /// All of them were read then or later.
    pub(super) since: Option<Instant>,
}

impl Hole {
    /// The same hole with those of another in it.
    fn and(self, other: Self) -> Self {
        let both = self.since.into_iter().chain(other.since);
        Self {
            count: self.count + other.count,
            since: both.min(),
        }
    }
}

/// How much may be queued, and what happens to more.
#[derive(Clone, Copy, Debug)]
pub(super) struct Room {
    pub(super) events: usize,
    pub(super) bytes: usize,
    pub(super) overflow: Overflow,
}

impl Room {
    /// The room for events of this type.
    pub(super) fn of<E>(limit: QueueLimit) -> Self {
        Self {
            events: limit.events,
            bytes: limit.bytes_for(size_of::<Stamped<E>>()),
            overflow: limit.overflow,
        }
    }
}

/// An event that is shared with nobody.
pub(super) struct One<E> {
    event: E,
    origin: Origin,
    /// What it keeps outside of itself.
    heap: usize,
    /// It was lent out, and goes when the next is asked for.
    read: bool,
}

/// Entries in order, and how many events are among them. What every push looks at comes first.
#[repr(C)]
pub(super) struct Entries<E> {
    entries: VecDeque<Entry<E>>,
    events: usize,
    /// What the events keep outside of themselves. What was read still counts.
    heap: usize,
    /// Events were dropped behind all others, so that none goes in any more: a reader finds the oldest events, and one hole.
    is_closed: bool,
    ended: Option<Box<EndReason>>,
    /// Notices of unparsed items among the entries.
    unparsed: usize,
    /// What the notices weigh, and from what weight on they are merged again.
    notices: usize,
    merge_at: usize,
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

/// What a push needs room for outside of the lock, in memory that is used again. Each push clears it first, too: the clone
/// of a user's event may have panicked in the one before.
pub(crate) struct Scratch<E> {
    /// What is about to be queued.
    pub(super) load: VecDeque<Entry<E>>,
    /// What that keeps outside of itself.
    pub(super) heap: usize,
    /// Where events conflate: the topic of each.
    pub(super) topics: Vec<(Channel, Symbol)>,
    /// What was pushed out, or did not fit, to be destroyed after the lock was let go.
    spent: Vec<Entry<E>>,
}

impl<E> Scratch<E> {
    pub(crate) fn new() -> Self {
        Self {
            load: VecDeque::new(),
            heap: 0,
            topics: Vec::new(),
            spent: Vec::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.load.clear();
        self.heap = 0;
        self.topics.clear();
        self.spent.clear();
    }

    /// Leaves out so many of the first events of the load.
    fn skip(&mut self, mut count: usize) {
        while count > 0
            && let Some(entry) = self.load.front_mut()
        {
            let here = entry.events().min(count);
            self.heap -= entry.heaps().take(here).sum::<usize>();
            entry.skip(here);
            count -= here;
            if entry.is_read() {
                self.spent.extend(self.load.pop_front());
            }
        }
    }

    /// Leaves out so many of its last events.
    fn cut(&mut self, mut count: usize) {
        while count > 0
            && let Some(entry) = self.load.back_mut()
        {
            let here = entry.events().min(count);
            self.heap -= entry.heaps().rev().take(here).sum::<usize>();
            entry.cut(here);
            count -= here;
            if entry.is_read() {
                self.spent.extend(self.load.pop_back());
            }
        }
    }
}

/// What stands in front, taken out.
pub(super) enum Taken<'a, E> {
    Event(&'a E, Origin),
    Declared(Declaration),
}

pub(super) enum Declaration {
    Gap(Gap),
    Dropped(Hole),
    Notice(Notice),
    Ended(EndReason),
}

impl<E> One<E> {
    /// One that keeps so many bytes outside of itself.
    pub(super) fn new(event: E, origin: Origin, heap: usize) -> Self {
        Self {
            event,
            origin,
            heap,
            read: false,
        }
    }

    pub(super) fn heap(&self) -> usize {
        self.heap
    }
}

impl<E> Entry<E> {
    /// When the first event of it that is left was read.
    fn received(&self) -> Option<Instant> {
        match self {
            Self::Shared(batch, slice) => {
                let first = batch.first_place(*slice);
                first.map(|place| batch.events[place].received)
            }
            Self::One(one) => (!one.read).then(|| one.origin.received()),
            Self::Gap(_) | Self::Dropped(_) | Self::Notice(_) => None,
        }
    }

    /// How many events of it are left.
    fn events(&self) -> usize {
        match self {
            Self::Shared(_, slice) => slice.len(),
            Self::One(one) => usize::from(!one.read),
            Self::Gap(_) | Self::Dropped(_) | Self::Notice(_) => 0,
        }
    }

    /// What each of them keeps outside of itself.
    fn heaps(&self) -> impl DoubleEndedIterator<Item = usize> {
        let (shared, own) = match self {
            Self::Shared(batch, slice) => {
                let places = batch.places_of(*slice);
                (Some(places.map(|place| batch.heap_at(place))), None)
            }
            Self::One(one) => (None, (!one.read).then_some(one.heap)),
            Self::Gap(_) | Self::Dropped(_) | Self::Notice(_) => (None, None),
        };
        shared.into_iter().flatten().chain(own)
    }

    /// Leaves out so many of its first events.
    fn skip(&mut self, count: usize) {
        match self {
            Self::Shared(_, slice) => slice.skip(count),
            Self::One(one) => one.read |= count > 0,
            Self::Gap(_) | Self::Dropped(_) | Self::Notice(_) => {}
        }
    }

    /// Leaves out so many of its last events.
    fn cut(&mut self, count: usize) {
        match self {
            Self::Shared(_, slice) => slice.cut(count),
            other => other.skip(count),
        }
    }

    fn is_of_events(&self) -> bool {
        matches!(self, Self::Shared(..) | Self::One(_))
    }

    /// Whether it was read to its end. Its last event was lent out: it is removed when the next is asked for.
    fn is_read(&self) -> bool {
        self.is_of_events() && self.events() == 0
    }
}

impl<E> Entries<E> {
    /// What an event takes by itself.
    const SIZE: usize = size_of::<Stamped<E>>();

    pub(super) fn new() -> Self {
        Self {
            entries: VecDeque::new(),
            events: 0,
            heap: 0,
            is_closed: false,
            unparsed: 0,
            notices: 0,
            merge_at: MERGED_NOTICES,
            ended: None,
            newest: HashMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        let read = self.entries.front().is_some_and(Entry::is_read);
        self.entries.len() == usize::from(read) && self.ended.is_none()
    }

    /// Empties it, and keeps its memory, unless that is far more than is usual.
    pub(super) fn clear(&mut self) {
        if self.entries.capacity() * size_of::<Entry<E>>() > KEPT {
            *self = Self::new();
            return;
        }
        self.entries.clear();
        self.events = 0;
        self.heap = 0;
        self.is_closed = false;
        self.unparsed = 0;
        self.notices = 0;
        self.merge_at = MERGED_NOTICES;
        self.newest.clear();
    }

    /// The bytes of the events.
    pub(super) fn bytes(&self) -> usize {
        self.events * Self::SIZE + self.heap
    }

    pub(super) fn is_ended(&self) -> bool {
        self.ended.is_some()
    }

    /// Takes in the events of the load, `count` of them, as far as there is room, and declares what there is none for.
    pub(super) fn insert(
        &mut self,
        count: usize,
        room: Room,
        scratch: &mut Scratch<E>,
    ) -> Inserted {
        if room.overflow == Overflow::Conflate {
            return self.conflate(room, scratch);
        }
        let excess = self.excess(count, room, scratch);
        if excess == 0 {
            self.append(count, scratch);
            return Inserted::default();
        }
        let hole = Hole {
            count: excess as u64,
            since: scratch.load.iter().find_map(Entry::received),
        };
        match room.overflow {
            Overflow::DropNewest | Overflow::End => {
                scratch.cut(excess);
                self.append(count - excess, scratch);
                if room.overflow == Overflow::DropNewest {
                    self.is_closed = true;
                    self.lose(hole);
                }
            }
            Overflow::DropOldest | Overflow::Conflate => {
                let queued = excess.min(self.events);
                scratch.skip(excess - queued);
                self.trim(queued, hole, &mut scratch.spent);
                self.append(count - (excess - queued), scratch);
            }
        }
        Inserted {
            dropped: excess,
            conflated: 0,
            overflowed: room.overflow == Overflow::End,
        }
    }

    /// Takes in what is left of the load.
    fn append(&mut self, count: usize, scratch: &mut Scratch<E>) {
        self.events += count;
        self.heap += scratch.heap;
        self.entries.append(&mut scratch.load);
    }

    /// How many events are too many, with `count` more in the load.
    #[inline]
    fn excess(&self, count: usize, room: Room, scratch: &Scratch<E>) -> usize {
        let events = self.events + count;
        let bytes = events * Self::SIZE + self.heap + scratch.heap;
        if events <= room.events && bytes <= room.bytes && !self.is_closed {
            return 0;
        }
        let excess = events.saturating_sub(room.events);
        let over = bytes.saturating_sub(room.bytes);
        match room.overflow {
            _ if self.is_closed => count,
            Overflow::DropNewest | Overflow::End => {
                let newest = scratch.load.iter().rev();
                let newest = newest.flat_map(|entry| entry.heaps().rev());
                // One event may always wait.
                let most = count.saturating_sub(usize::from(self.events == 0));
                excess.max(Self::until_free(newest, over)).min(most)
            }
            Overflow::DropOldest | Overflow::Conflate => {
                let oldest = self.entries.iter().chain(&scratch.load);
                let oldest = oldest.flat_map(Entry::heaps);
                excess
                    .max(Self::until_free(oldest, over))
                    .min(events.saturating_sub(1))
            }
        }
    }

    /// How many events have to go, in this order, until so many bytes are free.
    fn until_free(heaps: impl Iterator<Item = usize>, bytes: usize) -> usize {
        let mut free = 0;
        let goes = |heap: &usize| {
            let goes = free < bytes;
            free += Self::SIZE + heap;
            goes
        };
        heaps.take_while(goes).count()
    }

    /// The same where only the newest event of each topic counts: one that waits is replaced where it stands.
    fn conflate(&mut self, room: Room, scratch: &mut Scratch<E>) -> Inserted {
        let mut inserted = Inserted::default();
        for (topic, entry) in scratch.topics.drain(..).zip(scratch.load.drain(..)) {
            let heap: usize = entry.heaps().sum();
            let waiting = self.newest.get(&topic).copied();
            if let Some(older @ Entry::One(_)) = waiting.and_then(|at| self.entries.get_mut(at)) {
                self.heap = self.heap + heap - older.heaps().sum::<usize>();
                scratch.spent.push(mem::replace(older, entry));
                inserted.conflated += 1;
                inserted.dropped += self.drop_oldest(room, None, &mut scratch.spent);
                continue;
            }
            let received = entry.received();
            self.events += 1;
            self.heap += heap;
            self.entries.push_back(entry);
            inserted.dropped += self.drop_oldest(room, received, &mut scratch.spent);
            self.newest.insert(topic, self.entries.len() - 1);
        }
        inserted
    }

    /// Drops the oldest events until there is room for the others, but never the last. Says how many; then no event is
    /// replaced any more where it stands.
    fn drop_oldest(
        &mut self,
        room: Room,
        since: Option<Instant>,
        spent: &mut Vec<Entry<E>>,
    ) -> usize {
        let mut dropped = 0;
        while self.events > 1 && (self.events > room.events || self.bytes() > room.bytes) {
            self.trim(1, Hole { count: 1, since }, spent);
            self.newest.clear();
            dropped += 1;
        }
        dropped
    }

    /// Declares that events are missing behind what is queued. Where only notices stand between this and the last such
    /// declaration, the two become one.
    pub(super) fn lose(&mut self, hole: Hole) {
        let mut behind = self.entries.iter_mut().rev();
        match behind.find(|entry| !matches!(entry, Entry::Notice(_))) {
            _ if hole.count == 0 => {}
            Some(Entry::Dropped(earlier)) => *earlier = earlier.and(hole),
            _ => {
                // What came before the hole stays before it.
                self.newest.clear();
                self.entries.push_back(Entry::Dropped(hole));
            }
        }
    }

    /// Declares that the connection broke. Where no event stands between this and the last such declaration, the two
    /// become one, or a flapping line would pile them up.
    pub(super) fn gap(&mut self, gap: Gap) {
        // What came before the gap stays before it: nothing replaces it from behind.
        self.newest.clear();
        push_gap(&mut self.entries, gap);
    }

    /// Says something. Of unparsed items so many are shown one by one, and the rest is counted: behind the same event, so
    /// that each is declared where it was lost.
    pub(super) fn notice(&mut self, mut notice: Notice) {
        if let Notice::Unparsed(unparsed) = &mut notice {
            if self.unparsed >= MAX_UNPARSED {
                let mut behind = self.entries.iter_mut().rev();
                let shown = behind.find_map(|entry| match entry {
                    Entry::Notice(Notice::Unparsed(unparsed)) => Some(Some(unparsed)),
                    entry => entry.is_of_events().then_some(None),
                });
                if let Some(Some(last)) = shown {
                    return last.absorb(unparsed);
                }
                unparsed.shorten();
            }
            self.unparsed += 1;
        }
        self.notices += weight(&notice);
        self.entries.push_back(Entry::Notice(notice));
        if self.notices >= self.merge_at {
            self.merge_notices();
        }
    }

    /// Of notices with no event between them, the newest of each kind says it for each topic: a reader learns the same.
    /// Where that leaves too many, because they are of ever new topics, the oldest are left out, and their number stands in
    /// their place. The queue is gone through when the weight of its notices has doubled, so that none of them costs much.
    #[cold]
    fn merge_notices(&mut self) {
        let mut said = HashSet::new();
        let mut kept = VecDeque::with_capacity(self.entries.len());
        // Behind the event that comes next.
        let mut left_out = None;
        let mut is_full = false;
        self.notices = 0;
        while let Some(mut entry) = self.entries.pop_back() {
            match &mut entry {
                Entry::Notice(notice) => {
                    if !leave_the_news(notice, &mut said) {
                        continue;
                    }
                    let weight = weight(notice);
                    // The newest may be of more topics than all others may.
                    is_full |= self.notices > 0 && self.notices + weight > MAX_NOTICES / 2;
                    if is_full && weight > 0 || matches!(notice, Notice::LeftOut { .. }) {
                        left_out = Some(and_left_out(notice, left_out));
                        continue;
                    }
                    self.notices += weight;
                }
                Entry::Shared(..) | Entry::One(_) => {
                    said.clear();
                    if let Some(notice) = left_out.take() {
                        kept.push_front((None, Entry::Notice(notice)));
                    }
                }
                Entry::Gap(_) | Entry::Dropped(_) => {}
            }
            // With the place that it had.
            kept.push_front((Some(self.entries.len()), entry));
        }
        if let Some(notice) = left_out {
            kept.push_front((None, Entry::Notice(notice)));
        }
        let places: HashMap<usize, usize> = kept
            .iter()
            .enumerate()
            .filter_map(|(place, (before, _))| Some(((*before)?, place)))
            .collect();
        // Only events stand there, and all of them are kept.
        self.newest
            .retain(|_, place| places.get(place).map(|now| *place = *now).is_some());
        self.entries = kept.into_iter().map(|(_, entry)| entry).collect();
        self.merge_at = MERGED_NOTICES.max(2 * self.notices);
    }

    /// The end, behind everything. The first reason stays.
    pub(super) fn end(&mut self, reason: &EndReason) {
        self.ended.get_or_insert_with(|| Box::new(reason.clone()));
    }

    /// What stands in front.
    #[inline]
    pub(super) fn take(&mut self) -> Option<Taken<'_, E>> {
        while self.entries.front().is_some_and(Entry::is_read) {
            self.entries.pop_front();
        }
        // Looked at twice: what is lent out of one arm stays borrowed in the others.
        if let Some(Entry::Shared(..) | Entry::One(_)) = self.entries.front() {
            self.events -= 1;
            match self.entries.front_mut() {
                Some(Entry::Shared(batch, slice)) => {
                    let place = batch.first_place(*slice)?;
                    slice.skip(1);
                    let origin = batch.events.origin(place, batch.epoch);
                    return Some(Taken::Event(&batch.events[place].event, origin));
                }
                Some(Entry::One(one)) => {
                    one.read = true;
                    return Some(Taken::Event(&one.event, one.origin.clone()));
                }
                _ => return None,
            }
        }
        self.take_declared().map(Taken::Declared)
    }

    #[cold]
    fn take_declared(&mut self) -> Option<Declaration> {
        match self.entries.pop_front() {
            Some(Entry::Gap(gap)) => Some(Declaration::Gap(gap)),
            Some(Entry::Dropped(hole)) => Some(Declaration::Dropped(hole)),
            Some(Entry::Notice(notice)) => {
                self.unparsed -= usize::from(matches!(notice, Notice::Unparsed(_)));
                self.notices = self.notices.saturating_sub(weight(&notice));
                Some(Declaration::Notice(notice))
            }
            Some(Entry::Shared(..) | Entry::One(_)) | None => {
                self.ended.take().map(|reason| Declaration::Ended(*reason))
            }
        }
    }

    /// Takes `queued` events off the head and declares the hole where they were.
    ///
    /// Other declarations that stood among them come after the hole. They are still true, and no event is left between
    /// them, so for a reader it makes no difference where in the hole they stand.
    fn trim(&mut self, mut queued: usize, mut hole: Hole, spent: &mut Vec<Entry<E>>) {
        self.events -= queued;
        let mut kept = VecDeque::new();
        loop {
            match self.entries.front_mut() {
                Some(Entry::Dropped(earlier)) => {
                    hole = hole.and(*earlier);
                    self.entries.pop_front();
                }
                Some(entry @ (Entry::Shared(..) | Entry::One(_))) if queued > 0 => {
                    let oldest = entry.received();
                    hole.since = hole.since.into_iter().chain(oldest).min();
                    let here = entry.events().min(queued);
                    if self.heap > 0 {
                        self.heap -= entry.heaps().take(here).sum::<usize>();
                    }
                    entry.skip(here);
                    queued -= here;
                    if entry.is_read() {
                        spent.extend(self.entries.pop_front());
                    }
                }
                // Also behind the last event that goes: two gaps may have come together.
                Some(Entry::Gap(_) | Entry::Notice(_)) => match self.entries.pop_front() {
                    Some(Entry::Gap(gap)) => push_gap(&mut kept, gap),
                    Some(Entry::Notice(notice @ Notice::LeftOut { .. })) => {
                        let mut earlier = kept.iter_mut();
                        let earlier = earlier.find_map(|entry| match entry {
                            Entry::Notice(earlier @ Notice::LeftOut { .. }) => Some(earlier),
                            _ => None,
                        });
                        match earlier {
                            Some(earlier) => *earlier = and_left_out(earlier, Some(notice)),
                            None => kept.push_back(Entry::Notice(notice)),
                        }
                    }
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

/// Puts a gap behind the entries. Between two events there is one gap at most, and one drop on each side of it: what was
/// dropped before the last of its breaks stands in front of it, and what was dropped since then behind it.
fn push_gap<E>(entries: &mut VecDeque<Entry<E>>, gap: Gap) {
    let mut last = before_notices(entries, entries.len());
    // Between two breaks, of a connection that the gap now stands for.
    let mut hole = None;
    if let Some(at) = last
        && let Some(Entry::Dropped(dropped)) = entries.get(at)
        && let Some(before) = before_notices(entries, at)
        && let Some(Entry::Gap(_)) = entries.get(before)
    {
        hole = Some(*dropped);
        entries.remove(at);
        last = Some(before);
    }
    let Some((at, Entry::Gap(earlier))) = last.and_then(|at| Some((at, entries.get_mut(at)?)))
    else {
        return entries.push_back(Entry::Gap(gap));
    };
    // The first times are those to backfill from; the newest cause and connection are the ones that matter, and those of a
    // connection that broke more than those of one that goes on.
    let topics = match (&earlier.topics[..], &gap.topics[..]) {
        ([], _) | (_, []) => Box::default(),
        (one, other) => {
            let mut topics = [one, other].concat();
            topics.sort_unstable();
            topics.dedup();
            topics.into()
        }
    };
    let (since, last) = (earlier.since.or(gap.since), earlier.last);
    let breaks = earlier.breaks + gap.breaks;
    if gap.breaks > 0 || earlier.breaks == 0 {
        *earlier = gap;
    }
    (earlier.since, earlier.last) = (since, last);
    (earlier.topics, earlier.breaks) = (topics, breaks);
    // What was said to be resumed in between broke again before it brought anything; why it was not live then is over.
    let mut behind = entries.split_off(at + 1);
    behind.retain(|entry| {
        !matches!(
            entry,
            Entry::Notice(Notice::Resumed { .. } | Notice::NotLive { .. })
        )
    });
    entries.append(&mut behind);
    let Some(hole) = hole else {
        return;
    };
    let before = before_notices(entries, at).and_then(|before| entries.get_mut(before));
    match before {
        Some(Entry::Dropped(earlier)) => *earlier = earlier.and(hole),
        _ => entries.insert(at, Entry::Dropped(hole)),
    }
}

/// Where the last of the first `end` entries stands that is no notice.
fn before_notices<E>(entries: &VecDeque<Entry<E>>, end: usize) -> Option<usize> {
    let mut before = entries.iter().take(end);
    before.rposition(|entry| !matches!(entry, Entry::Notice(_)))
}

/// What stands for a notice that is left out, and for those behind it that were.
fn and_left_out(notice: &Notice, behind: Option<Notice>) -> Notice {
    let (mut count, mut error) = match notice {
        Notice::LeftOut { count, error, .. } => (*count, error.as_ref()),
        Notice::Refused { error, .. } | Notice::Displaced { error, .. } => (1, Some(error)),
        Notice::Confirmed { .. }
        | Notice::Resumed { .. }
        | Notice::Behind { .. }
        | Notice::Unmatched { .. }
        | Notice::NotLive { .. }
        | Notice::Unparsed(_) => (1, None),
    };
    if let Some(Notice::LeftOut {
        count: more,
        error: newer,
        ..
    }) = &behind
    {
        count += more;
        error = newer.as_ref().or(error);
    }
    Notice::LeftOut {
        count,
        error: error.cloned(),
    }
}

/// How much of the room for notices one takes. None, where there can be no more than events: a connection that resumed
/// has a gap of its own, and the others merge behind an event.
fn weight(notice: &Notice) -> usize {
    match notice {
        Notice::Confirmed { topics, .. }
        | Notice::Refused { topics, .. }
        | Notice::Displaced { topics, .. } => 1 + topics.len() / TOPICS_PER_NOTICE,
        Notice::Behind { .. } | Notice::Unmatched { .. } | Notice::NotLive { .. } => 1,
        Notice::Resumed { .. } | Notice::Unparsed(_) | Notice::LeftOut { .. } => 0,
    }
}

/// Leaves of a notice what none in `said` says, and adds that to it. Says whether anything is left.
fn leave_the_news(
    notice: &mut Notice,
    said: &mut HashSet<(Discriminant<Notice>, Option<Topic>)>,
) -> bool {
    let kind = mem::discriminant(notice);
    match notice {
        Notice::Confirmed { topics, .. }
        | Notice::Refused { topics, .. }
        | Notice::Displaced { topics, .. } => {
            topics.retain(|topic| said.insert((kind, Some(topic.clone()))));
            !topics.is_empty()
        }
        Notice::Unmatched { topic, .. } => said.insert((kind, Some(topic.clone()))),
        Notice::Resumed { .. } | Notice::Behind { .. } | Notice::NotLive { .. } => {
            said.insert((kind, None))
        }
        // So many are shown, and the rest is counted.
        Notice::Unparsed(_) | Notice::LeftOut { .. } => true,
    }
}

/// Fewer notices than that are not worth merging.
const MERGED_NOTICES: usize = 64;
/// What notices may weigh. When they are merged, the oldest are left out until half of it is free.
const MAX_NOTICES: usize = 1_024;
/// A notice weighs one, and one more for each so many topics.
const TOPICS_PER_NOTICE: usize = 64;
/// How many unparsed items may wait to be shown one by one.
const MAX_UNPARSED: usize = 64;
/// How much memory for entries a queue that was emptied keeps, in bytes.
const KEPT: usize = 32 << 10;

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
