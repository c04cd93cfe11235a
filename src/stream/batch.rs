//! Batches: events that were flushed together, shared by the queues they went to; and slices, the part of a batch that is
//! one reader's. The memory of batches is used again: a stream that has found its pace makes no new ones.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::venue::{Events, Stamped};

/// Events that were flushed together, and which of them are whose.
pub(crate) struct Batch<E> {
    pub(crate) events: Events<E>,
    pub(crate) epoch: u64,
    /// How long the machine had been asleep when they were read, at least.
    pub(crate) asleep: Duration,
    /// Places of events: for each of those who get a part of the batch, a range of this.
    places: Vec<u32>,
    /// What each event keeps outside of itself. Nothing where none keeps any.
    pub(super) heap: Vec<usize>,
    /// How many readers get something of it.
    pub(super) readers: usize,
}

/// Which events of a batch are one reader's: all of them, or those whose places the batch lists in this range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slice {
    is_listed: bool,
    next: usize,
    end: usize,
}

impl Slice {
    /// How many events are left of it.
    #[inline]
    pub(crate) fn len(self) -> usize {
        self.end - self.next
    }

    /// Leaves out so many of its first events.
    pub(super) fn skip(&mut self, count: usize) {
        self.next += count;
    }

    /// Leaves out so many of its last events.
    pub(super) fn cut(&mut self, count: usize) {
        self.end -= count;
    }
}

impl<E> Batch<E> {
    pub(super) fn new(events: Events<E>, epoch: u64) -> Self {
        Self {
            events,
            epoch,
            asleep: Duration::ZERO,
            places: Vec::new(),
            heap: Vec::new(),
            readers: 1,
        }
    }

    /// All of it.
    pub(super) fn whole(&self) -> Slice {
        Slice {
            is_listed: false,
            next: 0,
            end: self.events.len(),
        }
    }

    /// The events at these places, which go up.
    pub(super) fn list(&mut self, places: &[u32]) -> Slice {
        if places.len() == self.events.len() {
            return self.whole();
        }
        let next = self.places.len();
        self.places.extend_from_slice(places);
        Slice {
            is_listed: true,
            next,
            end: self.places.len(),
        }
    }

    /// The events of a slice, in order.
    pub(crate) fn events_of(&self, slice: Slice) -> impl Iterator<Item = &Stamped<E>> {
        self.places_of(slice).map(|place| &self.events[place])
    }

    /// Where in the batch the events of a slice stand.
    pub(super) fn places_of(&self, slice: Slice) -> impl DoubleEndedIterator<Item = usize> {
        (slice.next..slice.end).map(move |position| self.place(slice, position))
    }

    /// Where the first event that is left of a slice stands.
    #[inline]
    pub(super) fn first_place(&self, slice: Slice) -> Option<usize> {
        (slice.len() > 0).then(|| self.place(slice, slice.next))
    }

    /// Where its last event stands.
    pub(super) fn last_place(&self, slice: Slice) -> Option<usize> {
        (slice.len() > 0).then(|| self.place(slice, slice.end - 1))
    }

    #[inline]
    fn place(&self, slice: Slice, position: usize) -> usize {
        if slice.is_listed {
            self.places[position] as usize
        } else {
            position
        }
    }

    /// What the event at a place keeps outside of itself.
    pub(super) fn heap_at(&self, place: usize) -> usize {
        self.heap.get(place).copied().unwrap_or(0)
    }

    /// What the events of a slice keep outside of themselves.
    pub(super) fn heap_of(&self, slice: Slice) -> usize {
        if self.heap.is_empty() {
            return 0;
        }
        self.places_of(slice).map(|place| self.heap_at(place)).sum()
    }

    /// Whether a queue should copy the events of a slice, and not keep the batch for them. A few events must not keep a large
    /// batch alive for as long as they wait, be they few by number or by size: quotes among whole order books. And a
    /// single one that nobody shares is copied sooner than a batch is found for the next.
    pub(super) fn is_better_copied(&self, slice: Slice) -> bool {
        let (count, all) = (slice.len(), self.events.len());
        if count == 1 && self.readers == 1 || count < all / PINNING {
            return true;
        }
        if count == all || self.heap.is_empty() {
            return false;
        }
        let bytes = |events: usize, heap: usize| events * size_of::<Stamped<E>>() + heap;
        bytes(count, self.heap_of(slice)) < bytes(all, self.heap.iter().sum()) / PINNING
    }
}

/// Who gets less than one in so many events of a batch gets copies.
const PINNING: usize = 4;

/// The batches that were handed out last, the oldest first: those that every reader has let go of are filled again.
pub(super) struct Pool<E> {
    batches: VecDeque<Arc<Batch<E>>>,
    most: usize,
}

impl<E> Pool<E> {
    /// A pool that remembers so many batches.
    pub(super) fn new(most: usize) -> Self {
        Self {
            batches: VecDeque::new(),
            most,
        }
    }

    /// An empty batch, filled by `fill` before anybody else can see it.
    pub(super) fn fill(&mut self, fill: impl FnOnce(&mut Batch<E>)) -> Arc<Batch<E>> {
        let mut batch = self.free();
        let own = Arc::get_mut(&mut batch).expect("nobody else holds a free batch");
        own.events.clear();
        own.places.clear();
        own.heap.clear();
        own.readers = 1;
        fill(own);
        if self.batches.len() == self.most {
            // Whoever still reads it frees it.
            self.batches.pop_front();
        }
        self.batches.push_back(Arc::clone(&batch));
        batch
    }

    /// One that nobody else holds.
    fn free(&mut self) -> Arc<Batch<E>> {
        for _ in 0..LOOKS.min(self.batches.len()) {
            let Some(mut batch) = self.batches.pop_front() else {
                break;
            };
            if Arc::get_mut(&mut batch).is_some() {
                return batch;
            }
            // Somebody is slow. The others are not kept from being used again.
            self.batches.push_back(batch);
        }
        Arc::new(Batch::new(Events::new(), 0))
    }

    /// Gives the memory back.
    pub(super) fn clear(&mut self) {
        self.batches = VecDeque::new();
    }
}

/// How many of the oldest batches are looked at for one that is free.
const LOOKS: usize = 4;

#[cfg(test)]
mod tests;
