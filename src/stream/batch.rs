//! Batches: events that were flushed together, shared by the queues they went to. Their memory is used again: a stream
//! that has found its pace makes no new ones.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use crate::venue::Events;

/// Events that were flushed together, and which of them is whose.
pub(crate) struct Batch<E> {
    pub(crate) events: Events<E>,
    pub(crate) epoch: u64,
    /// How long the machine had been asleep when they were read, at least.
    pub(crate) asleep: Duration,
    /// Indices of events: for each of those who get a part of the batch, a range of this.
    pub(super) picks: Vec<u32>,
    /// What each event keeps outside of itself. Nothing where none keeps any.
    pub(super) heap: Vec<usize>,
}

impl<E> Batch<E> {
    pub(super) fn new(events: Events<E>, epoch: u64) -> Self {
        Self {
            events,
            epoch,
            asleep: Duration::ZERO,
            picks: Vec::new(),
            heap: Vec::new(),
        }
    }

    /// What these events, of those that `picks` may name, keep outside of themselves.
    pub(super) fn heap_of(&self, picks: &[u32]) -> usize {
        if self.heap.is_empty() {
            return 0;
        }
        let heap = picks
            .iter()
            .filter_map(|pick| self.heap.get(*pick as usize));
        heap.sum()
    }
}

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
        own.picks.clear();
        own.heap.clear();
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
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_filled_again_and_what_is_held_is_left_alone() {
        let now = crate::clock::now();
        let mut pool = Pool::new(2);
        let mut fill = |number: u32| {
            pool.fill(|batch| {
                batch.events.push(number, now);
            })
        };
        let held = fill(1);
        let read = Arc::as_ptr(&fill(2));
        let third = fill(3);
        assert_eq!(Arc::as_ptr(&third), read, "the second was let go of");
        let fourth = fill(4);
        let number = |batch: &Batch<u32>| {
            assert_eq!(batch.events.len(), 1);
            batch.events[0].event
        };
        assert_eq!((number(&held), number(&third), number(&fourth)), (1, 3, 4));
    }
}
