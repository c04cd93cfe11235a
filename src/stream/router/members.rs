//! The subscriptions of a stream, each at a seat of its own: so an event finds its readers by index and not by hash.

use std::{collections::HashMap, time::Duration};

use smallvec::SmallVec;

use super::{
    Seat,
    lanes::{Lane, Lanes, SINGLE},
    recent::Recent,
};
use crate::{
    correlation::CorrelationId,
    error::Remedy,
    market::Timestamp,
    stream::{sink::Sink, subscriptions::Joined, topics::SubscriptionId},
    topic::Channel,
};

pub(super) struct Members<E> {
    list: Vec<Option<Member<E>>>,
    /// Slots of those that have left.
    free: Vec<Seat>,
    seats: HashMap<SubscriptionId, Seat>,
    /// Those that want all of some channel.
    wide: SmallVec<[Seat; 8]>,
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
    /// The kinds of the causes that it was told for which the line is not live.
    pub(super) told_causes: Vec<(&'static str, Remedy)>,
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
            seats: HashMap::new(),
            wide: SmallVec::new(),
        }
    }

    pub(super) fn join(&mut self, joined: Joined<E>) -> Seat {
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
        let seat = self.free.pop().unwrap_or_else(|| {
            self.list.push(None);
            self.list.len() - 1
        });
        self.list[seat] = Some(member);
        self.seats.insert(joined.id, seat);
        seat
    }

    /// It gets no topic any more. Says which seat is free now, for somebody else.
    pub(super) fn leave(&mut self, id: SubscriptionId) -> Option<Seat> {
        let seat = self.seats.remove(&id)?;
        self.list[seat] = None;
        self.free.push(seat);
        Some(seat)
    }

    pub(super) fn seat(&self, id: SubscriptionId) -> Option<Seat> {
        self.seats.get(&id).copied()
    }

    #[inline]
    pub(super) fn get(&self, seat: Seat) -> Option<&Member<E>> {
        self.list.get(seat)?.as_ref()
    }

    #[inline]
    pub(super) fn get_mut(&mut self, seat: Seat) -> Option<&mut Member<E>> {
        self.list.get_mut(seat)?.as_mut()
    }

    pub(super) fn of(&self, id: SubscriptionId) -> Option<&Member<E>> {
        self.get(self.seat(id)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Member<E>> {
        self.list.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Member<E>> {
        self.list.iter_mut().flatten()
    }

    /// The seats that are taken.
    pub(super) fn seats(&self) -> impl Iterator<Item = Seat> {
        let taken = |(seat, member): (Seat, &Option<Member<E>>)| member.as_ref().map(|_| seat);
        self.list.iter().enumerate().filter_map(taken)
    }

    /// Whether a member gets all of a channel, from here on.
    pub(super) fn set_wide(&mut self, seat: Seat, lane: Lane, is_wide: bool) {
        let Some(member) = self.get_mut(seat).filter(|_| lane != SINGLE) else {
            return;
        };
        if is_wide {
            member.wide.insert(lane);
        } else {
            member.wide.remove(lane);
        }
        let has_any = !member.wide.is_empty();
        self.wide.retain(|other| *other != seat);
        if has_any {
            self.wide.push(seat);
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
    pub(super) fn each_wide(&mut self, mut each: impl FnMut(Seat, &mut Member<E>)) {
        for seat in &self.wide {
            if let Some(member) = self.list[*seat].as_mut() {
                each(*seat, member);
            }
        }
    }
}
