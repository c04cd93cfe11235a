//! Which member gets which events of a batch.
//!
//! What follows from the topics alone is decided once, when they have changed: for each channel, who gets all of it, and
//! whether anybody wants single symbols. A member whose wildcards cover every channel of a batch then takes the batch
//! as it is, and an event of a channel on which nobody wants single symbols is looked up nowhere.

use std::{
    ops::{Deref, DerefMut},
    sync::Arc,
};

use smallvec::SmallVec;

use super::{Entry, Heard, Member, Router, Routing, by_symbol::BySymbol};
use crate::{
    topic::Channel,
    venue::{Routed, Stamped},
};

/// The topics by channel and symbol. Whoever changes any of them has the routes made anew.
#[derive(Default)]
pub(super) struct Channels {
    list: Vec<(Channel, BySymbol<Entry>)>,
    is_changed: bool,
}

impl Deref for Channels {
    type Target = Vec<(Channel, BySymbol<Entry>)>;
    fn deref(&self) -> &Self::Target {
        &self.list
    }
}

impl DerefMut for Channels {
    fn deref_mut(&mut self) -> &mut Self::Target {
        self.is_changed = true;
        &mut self.list
    }
}

/// What follows from the topics, and room for what is found out of a batch.
#[derive(Default)]
pub(super) struct Routes {
    /// For each channel, at the same place.
    channels: Vec<Route>,
    /// The members that want all of some channel.
    wide: SmallVec<[usize; 8]>,
    /// For each event of the batch at hand, the lane of its channel.
    lanes: Vec<u8>,
}

struct Route {
    /// As the newest event spelled it: then a look at where the name lies tells that it is the same.
    channel: Channel,
    /// Its bit in a set of lanes: one of its own, unless there are more channels than bits.
    lane: u8,
    /// Somebody gets all of it.
    has_wildcard: bool,
    /// Some topics of it name a symbol.
    has_symbols: bool,
}

/// A set of channels, a bit each.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lanes(u64);

impl Lanes {
    #[inline]
    fn insert(&mut self, lane: u8) {
        self.0 |= 1 << lane;
    }

    #[inline]
    fn has(self, lane: u8) -> bool {
        self.0 >> lane & 1 != 0
    }

    fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }
}

/// In place of a channel's lane: of this event each member's picks say whether it gets it. It is in no member's set.
const PICKED: u8 = 63;

impl Routes {
    /// Gives the memory back that only a batch needs.
    pub(super) fn release_memory(&mut self) {
        self.lanes = Vec::new();
    }

    /// Where the channel stands.
    #[inline]
    fn find(&mut self, channel: Channel) -> Option<usize> {
        let here = |route: &Route| route.channel.is_at(channel);
        self.channels
            .iter()
            .position(here)
            .or_else(|| self.find_by_name(channel))
    }

    /// The same where the name lies elsewhere: a constant may have several places.
    #[cold]
    fn find_by_name(&mut self, channel: Channel) -> Option<usize> {
        let found = self
            .channels
            .iter()
            .position(|route| route.channel == channel)?;
        self.channels[found].channel = channel;
        Some(found)
    }
}

impl<E: Routed> Router<E> {
    /// Decides anew what follows from the topics.
    #[cold]
    fn make_routes(&mut self) {
        self.channels.is_changed = false;
        for member in self.members.iter_mut().flatten() {
            member.wide = Lanes::default();
        }
        self.routes.channels.clear();
        for (place, (channel, entries)) in self.channels.iter().enumerate() {
            let wildcard = entries.get("*");
            let mut route = Route {
                channel: *channel,
                lane: u8::try_from(place).unwrap_or(PICKED).min(PICKED),
                has_wildcard: false,
                has_symbols: entries.len() > usize::from(wildcard.is_some()),
            };
            for slot in wildcard.iter().flat_map(|entry| &entry.members) {
                if let Some(member) = self.members[*slot].as_mut() {
                    route.has_wildcard = true;
                    if route.lane != PICKED {
                        member.wide.insert(route.lane);
                    }
                }
            }
            self.routes.channels.push(route);
        }
        let is_wide =
            |member: &Option<Member<E>>| member.as_ref().is_some_and(|m| !m.wide.is_empty());
        let members = self.members.iter().enumerate();
        let wide = members.filter(|(_, member)| is_wide(member));
        self.routes.wide = wide.map(|(slot, _)| slot).collect();
    }

    /// Notes for each member which of the events it gets.
    pub(super) fn route(&mut self, events: &[Stamped<E>]) -> Routing {
        if self.channels.is_changed {
            self.make_routes();
        }
        let mut routing = Routing::default();
        let mut unmatched: SmallVec<[u32; 8]> = SmallVec::new();
        let mut met = Lanes::default();
        self.heap.clear();
        self.routes.lanes.clear();
        self.routes.lanes.reserve(events.len());
        for (index, stamped) in events.iter().enumerate() {
            // A batch is far from four thousand million events long: the driver flushes at a few thousand.
            let index = index as u32;
            let event = &stamped.event;
            let heap = event.heap_size();
            if heap > 0 {
                self.heap.resize(index as usize, 0);
                self.heap.push(heap);
            }
            let (lane, is_matched) = match self.routes.find(event.channel()) {
                None => (PICKED, false),
                Some(place) => {
                    let route = &self.routes.channels[place];
                    let id: Option<Arc<str>> = event.unique_id().map(Into::into);
                    // Of an event with an id it has to be asked of each member whether it was given it before.
                    let lane = if id.is_some() { PICKED } else { route.lane };
                    let has_wildcard = route.has_wildcard;
                    let is_picked = route.has_symbols || (has_wildcard && lane == PICKED);
                    let is_matched = is_picked
                        && self.pick(place, lane, event, index, id.as_ref(), &mut routing);
                    (lane, is_matched || has_wildcard)
                }
            };
            // Whoever gets all of a channel gets none of it that matched nobody.
            let lane = if is_matched { lane } else { PICKED };
            met.insert(lane);
            self.routes.lanes.push(lane);
            if is_matched {
                routing.routed += 1;
            } else {
                unmatched.push(index);
            }
        }
        self.note_wide(met);
        if !unmatched.is_empty() {
            self.count_unmatched(events, &unmatched, &mut routing);
        }
        routing
    }

    /// Notes an event for those of its channel that are to be found one by one: all, where no lane tells who gets it, or
    /// else those whose wildcards do not bring it. Says whether there was anybody.
    fn pick(
        &mut self,
        place: usize,
        lane: u8,
        event: &E,
        index: u32,
        id: Option<&Arc<str>>,
        routing: &mut Routing,
    ) -> bool {
        let (_, entries) = &self.channels.list[place];
        let wildcard = (lane == PICKED).then(|| entries.get("*")).flatten();
        let by_symbol = event
            .symbols()
            .iter()
            .filter_map(|symbol| entries.get(symbol));
        let entries = by_symbol.chain(wildcard);
        let slots = entries.flat_map(|entry| {
            if !entry.members.is_empty() {
                entry.heard.set(Heard::Now);
            }
            &entry.members
        });
        let (mut is_matched, mut is_repeat) = (false, false);
        for slot in slots {
            let Some(member) = self.members[*slot].as_mut() else {
                continue;
            };
            is_matched = true;
            // Its wildcard brings it, or it came by its symbol, and by another or the wildcard again.
            if member.wide.has(lane) || member.picks.last() == Some(&index) {
                continue;
            }
            if id.is_some_and(|id| !member.recent.insert(id)) {
                is_repeat = true;
                continue;
            }
            if member.picks.is_empty() {
                self.touched.push(*slot);
            }
            member.picks.push(index);
        }
        routing.repeats += u64::from(is_repeat);
        is_matched
    }

    /// Notes for those who get whole channels which of the events that are, where events of these channels were met.
    fn note_wide(&mut self, met: Lanes) {
        let Self {
            members,
            routes,
            channels,
            touched,
            ..
        } = self;
        for (route, (_, entries)) in routes.channels.iter().zip(&channels.list) {
            if route.has_wildcard
                && route.lane != PICKED
                && met.has(route.lane)
                && let Some(wildcard) = entries.get("*")
            {
                wildcard.heard.set(Heard::Now);
            }
        }
        for slot in &routes.wide {
            let Some(member) = members[*slot].as_mut() else {
                continue;
            };
            if !member.wide.meets(met) {
                continue;
            }
            if member.picks.is_empty() {
                touched.push(*slot);
            }
            // Of a single event there is nothing to spare.
            let is_whole = routes.lanes.len() > 1 && member.wide.covers(met);
            member.takes_whole = member.takes_runs && is_whole;
            if !member.takes_whole {
                member.pick_wide(&routes.lanes);
            }
        }
    }
}

impl<E> Member<E> {
    /// Adds to its picks what its wildcards bring.
    fn pick_wide(&mut self, lanes: &[u8]) {
        let single = std::mem::take(&mut self.picks);
        let mut single = single.iter().peekable();
        for (index, lane) in (0_u32..).zip(lanes) {
            if single.next_if(|next| **next == index).is_some() || self.wide.has(*lane) {
                self.picks.push(index);
            }
        }
    }
}
