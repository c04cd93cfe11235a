//! How members are handed what is theirs of a batch: as a slice of it, which all of them share.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use super::{HeldEvent, members::Members, slicing::Slicing};
use crate::{
    stream::{
        batch::{Batch, Pool, Slice},
        entries::Scratch,
        topics::SubscriptionId,
    },
    venue::{Events, Routed},
};

pub(super) struct Handing<E> {
    batches: Pool<E>,
    scratch: Scratch<E>,
    /// Subscriptions whose queues were ended because they were full.
    pub(super) overflowed: Vec<SubscriptionId>,
    /// The slices of the batch at hand. Kept for its memory.
    slices: Vec<Slice>,
}

impl<E: Routed> Handing<E> {
    pub(super) fn new() -> Self {
        Self {
            batches: Pool::new(MOST_BATCHES),
            scratch: Scratch::new(),
            overflowed: Vec::new(),
            slices: Vec::new(),
        }
    }

    /// Hands the members of a slicing what they have noted, and leaves other memory in the place of the events.
    pub(super) fn hand(
        &mut self,
        events: &mut Events<E>,
        epoch: u64,
        asleep: Duration,
        slicing: &mut Slicing,
        members: &mut Members<E>,
    ) {
        let slices = &mut self.slices;
        let batch = self.batches.fill(|batch| {
            std::mem::swap(&mut batch.events, events);
            batch.epoch = epoch;
            batch.asleep = asleep;
            batch.readers = slicing.touched.len();
            if !slicing.heap.is_empty() {
                slicing.heap.resize(batch.events.len(), 0);
                std::mem::swap(&mut batch.heap, &mut slicing.heap);
            }
            for seat in &slicing.touched {
                let Some(member) = members.get_mut(*seat) else {
                    slices.push(batch.list(&[]));
                    continue;
                };
                slices.push(if std::mem::take(&mut member.takes_whole) {
                    batch.whole()
                } else {
                    batch.list(&member.places)
                });
                member.places.clear();
            }
        });
        for (seat, slice) in slicing.touched.drain(..).zip(self.slices.drain(..)) {
            let Some(member) = members.get_mut(seat) else {
                continue;
            };
            // Of a batch the last is as good as the newest.
            let last = batch.last_place(slice).map(|place| &batch.events[place]);
            let happened = last.and_then(|last| last.event.happened_at());
            member.newest = member.newest.max(happened);
            if member.sink.take(&batch, slice, &mut self.scratch) {
                self.overflowed.push(member.id);
            }
        }
    }

    /// A batch of what was held back for one member, who was not given it before.
    pub(super) fn held(
        &mut self,
        given: BTreeMap<u64, HeldEvent<E>>,
        epoch: u64,
        asleep: Duration,
    ) -> Arc<Batch<E>> {
        self.batches.fill(|batch| {
            for held in given.into_values() {
                batch.heap.push(held.event.heap_size());
                batch
                    .events
                    .push_odd(held.event, held.received, held.odd_fields);
            }
            batch.epoch = epoch;
            batch.asleep = asleep;
        })
    }

    /// Hands one member a whole batch.
    pub(super) fn give(
        &mut self,
        batch: &Arc<Batch<E>>,
        seat: super::Seat,
        members: &mut Members<E>,
    ) {
        let Some(member) = members.get_mut(seat) else {
            return;
        };
        let happened = batch
            .events
            .iter()
            .map(|stamped| stamped.event.happened_at());
        member.newest = happened.chain([member.newest]).max().flatten();
        if member.sink.take(batch, batch.whole(), &mut self.scratch) {
            self.overflowed.push(member.id);
        }
    }

    /// Gives back the memory that is kept for the next burst.
    pub(super) fn release_memory(&mut self) {
        self.batches.clear();
        self.scratch = Scratch::new();
        self.slices = Vec::new();
    }
}

/// Batches that are used again: more are under way only where a reader is slow.
const MOST_BATCHES: usize = 8;
