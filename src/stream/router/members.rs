//! The subscriptions of a stream, each at a slot of its own: so an event finds its readers by index and not by hash.

use std::{collections::HashMap, time::Duration};

use smallvec::SmallVec;

use super::{
    Slot,
    lanes::{Lane, Lanes, SINGLE},
    recent::Recent,
};
use crate::{
    correlation::CorrelationId,
    market::Timestamp,
    stream::{sink::Sink, subscriptions::Joined, topics::SubscriptionId},
    topic::Channel,
};

pub(super) struct Members<E> {
    list: Vec<Option<Member<E>>>,
    /// Slots of those that have left.
    free: Vec<Slot>,
    slots: HashMap<SubscriptionId, Slot>,
    /// Those that want all of some channel.
    wide: SmallVec<[Slot; 8]>,
}

/// What every event looks at comes first, in a line of the processor's cache: where there are many members, few of them
/// stay near.
#[repr(C, align(64))]
pub(super) struct Member<E> {
    pub(super) sink: Sink<E>,
    /// Which events of the batch at hand it gets. Or it gets all of them.
    pub(super) places: SmallVec<[u32; 4]>,
    pub(super) takes_whole: bool,
    /// The channels that it gets all of.
    wide: Lanes,
    /// When the newest of its events happened, by the venue's clock.
    pub(super) newest: Option<Timestamp>,
    pub(super) id: SubscriptionId,
    /// Whose it is.
    pub(super) correlation: Option<CorrelationId>,
    pub(super) recent: Recent,
    /// Channels of which it was told that events match nobody.
    pub(super) told_unmatched: Vec<Channel>,
    /// Codes of the causes that it was told for which the line is not live.
    pub(super) told_causes: Vec<&'static str>,
    /// How often something has to arrive on each of its topics, in trading time.
    pub(super) expected: Option<Duration>,
}

impl<E> Member<E> {
    pub(super) fn wide(&self) -> Lanes {
        self.wide
    }
}

impl<E> Members<E> {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            free: Vec::new(),
            slots: HashMap::new(),
            wide: SmallVec::new(),
        }
    }

    pub(super) fn join(&mut self, joined: Joined<E>) -> Slot {
        let member = Member {
            sink: joined.sink,
            places: SmallVec::new(),
            takes_whole: false,
            wide: Lanes::default(),
            newest: None,
            id: joined.id,
            correlation: joined.correlation,
            recent: Recent::default(),
            told_unmatched: Vec::new(),
            told_causes: Vec::new(),
            expected: joined.expected,
        };
        let slot = self.free.pop().unwrap_or_else(|| {
            self.list.push(None);
            self.list.len() - 1
        });
        self.list[slot] = Some(member);
        self.slots.insert(joined.id, slot);
        slot
    }

    /// It gets no topic any more.
    pub(super) fn leave(&mut self, id: SubscriptionId) {
        if let Some(slot) = self.slots.remove(&id) {
            self.list[slot] = None;
            self.free.push(slot);
        }
    }

    pub(super) fn slot(&self, id: SubscriptionId) -> Option<Slot> {
        self.slots.get(&id).copied()
    }

    #[inline]
    pub(super) fn get(&self, slot: Slot) -> Option<&Member<E>> {
        self.list.get(slot)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, slot: Slot) -> Option<&mut Member<E>> {
        self.list.get_mut(slot)?.as_mut()
    }

    pub(super) fn of(&self, id: SubscriptionId) -> Option<&Member<E>> {
        self.get(self.slot(id)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<E>> {
        self.list.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member<E>> {
        self.list.iter_mut().flatten()
    }

    /// The slots that are taken.
    pub(super) fn slots(&self) -> impl Iterator<Item = Slot> {
        let taken = |(slot, member): (Slot, &Option<Member<E>>)| member.as_ref().map(|_| slot);
        self.list.iter().enumerate().filter_map(taken)
    }

    /// Whether a member gets all of a channel, from here on.
    pub(super) fn set_wide(&mut self, slot: Slot, lane: Lane, is_wide: bool) {
        let Some(member) = self.get_mut(slot).filter(|_| lane != SINGLE) else {
            return;
        };
        if is_wide {
            member.wide.insert(lane);
        } else {
            member.wide.remove(lane);
        }
        let has_any = !member.wide.is_empty();
        self.wide.retain(|other| *other != slot);
        if has_any {
            self.wide.push(slot);
        }
    }

    /// Nobody gets anything any more.
    pub(super) fn stop_all(&mut self) {
        self.wide.clear();
        for member in self.iter_mut() {
            member.wide = Lanes::default();
        }
    }

    /// Does something with each of those that get all of some channel.
    #[inline]
    pub(super) fn each_wide(&mut self, mut each: impl FnMut(Slot, &mut Member<E>)) {
        for slot in &self.wide {
            if let Some(member) = self.list[*slot].as_mut() {
                each(*slot, member);
            }
        }
    }
}
