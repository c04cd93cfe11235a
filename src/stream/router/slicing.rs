//! What of a batch is whose.
//!
//! A member whose wildcards cover every channel of a batch takes the batch as it is, and an event of a channel of which nobody
//! named a symbol is looked up nowhere. Those who named symbols are found by the symbol alone.

use std::{sync::Arc, time::Instant};

use super::{
    Routing, Seat,
    lanes::{Lane, Lanes, SINGLE},
    members::{Member, Members},
    readers::{ChannelReaders, Readers, TopicReaders},
};
use crate::{
    topic::Topic,
    venue::{Routed, Stamped},
};

/// What is found out of the batch at hand. Kept for its memory.
#[derive(Default)]
pub(super) struct Slicing {
    /// For each event, the lane of its channel.
    lanes: Vec<Lane>,
    /// Which members get something. They have noted what.
    pub(super) touched: Vec<Seat>,
    /// What the events keep outside of themselves, up to the last that keeps any.
    pub(super) heap: Vec<usize>,
    /// The first event of each channel that matched nobody, where that is to be told.
    pub(super) to_tell: Vec<Topic>,
}

/// Who gets an event.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Match {
    Somebody,
    /// Nobody, and somebody waits for its topic, or left it a moment ago.
    Unsettled,
    Nobody,
}

impl Slicing {
    /// Has the members note which of the events they get.
    pub(super) fn slice<E: Routed>(
        &mut self,
        events: &[Stamped<E>],
        readers: &mut Readers,
        members: &mut Members<E>,
    ) -> Routing {
        self.lanes.clear();
        self.lanes.reserve(events.len());
        self.touched.clear();
        self.heap.clear();
        let mut routing = Routing::default();
        let mut met = Lanes::default();
        let mut unmatched = None;
        for (index, stamped) in (0_u32..).zip(events) {
            // A batch is far from four thousand million events long: the driver flushes at a few thousand.
            let event = &stamped.event;
            let heap = event.heap_size();
            if heap > 0 {
                self.heap.resize(index as usize, 0);
                self.heap.push(heap);
            }
            let id: Option<Arc<str>> = event.unique_id().map(Into::into);
            let (mut lane, mut found) = (SINGLE, Match::Nobody);
            if let Some(place) = readers.place(event.channel()) {
                let channel = readers.at(place);
                if id.is_none() {
                    lane = channel.lane;
                }
                found = self.find(channel, lane, stamped, index, id, members, &mut routing);
                if found == Match::Nobody && !channel.told_unmatched {
                    channel.told_unmatched = true;
                    self.to_tell.push(topic_of(event));
                }
            }
            match found {
                Match::Somebody => routing.routed += 1,
                Match::Unsettled => routing.unsettled += 1,
                Match::Nobody => {
                    routing.unmatched += 1;
                    unmatched = Some(event);
                }
            }
            // Whoever gets all of a channel gets none of it that matched nobody.
            let lane = if found == Match::Somebody {
                lane
            } else {
                SINGLE
            };
            met.insert(lane);
            self.lanes.push(lane);
        }
        routing.newest = unmatched.map(topic_of);
        if let Some(last) = events.last() {
            self.note_wide(met, last.received, readers, members);
        }
        routing
    }

    /// Finds those who get an event, and has those note it that no lane tells of it.
    #[inline]
    #[expect(clippy::too_many_arguments, reason = "what the loop above has at hand")]
    fn find<E: Routed>(
        &mut self,
        channel: &ChannelReaders,
        lane: Lane,
        stamped: &Stamped<E>,
        index: u32,
        id: Option<Arc<str>>,
        members: &mut Members<E>,
        routing: &mut Routing,
    ) -> Match {
        let has_wildcard = !channel.wildcard.readers.is_empty();
        let mut found = match () {
            () if has_wildcard => Match::Somebody,
            () if channel.wildcard.is_idle() => Match::Nobody,
            () => Match::Unsettled,
        };
        // Of an event with an id it has to be asked of each member whether it was given it before.
        let wildcard = (has_wildcard && lane == SINGLE).then_some(&channel.wildcard);
        if channel.by_symbol.is_empty() && wildcard.is_none() {
            return found;
        }
        let mut is_repeat = false;
        let symbols = stamped.event.symbols().iter();
        let named = symbols.filter_map(|symbol| channel.by_symbol.get(symbol));
        for of in named.chain(wildcard) {
            of.hear(stamped.received);
            if of.readers.is_empty() {
                // It is there because it is waited for, or was left a moment ago.
                if found == Match::Nobody {
                    found = Match::Unsettled;
                }
                continue;
            }
            found = Match::Somebody;
            for seat in &of.readers {
                let Some(member) = members.get_mut(*seat) else {
                    continue;
                };
                // Its wildcard brings it, or it came by its symbol, and by another or the wildcard again.
                if member.wide().has(lane) || member.places.last() == Some(&index) {
                    continue;
                }
                if let Some(id) = &id
                    && !member.recent.insert(id)
                {
                    is_repeat = true;
                    continue;
                }
                if member.places.is_empty() {
                    self.touched.push(*seat);
                }
                member.places.push(index);
            }
        }
        routing.repeats += u64::from(is_repeat);
        found
    }

    /// Has those who get whole channels note which of the events that are, where events of these channels were met.
    fn note_wide<E>(
        &mut self,
        met: Lanes,
        newest: Instant,
        readers: &Readers,
        members: &mut Members<E>,
    ) {
        let is_met = |channel: &&ChannelReaders| channel.lane != SINGLE && met.has(channel.lane);
        for channel in readers.channels().iter().filter(is_met) {
            let TopicReaders { readers, .. } = &channel.wildcard;
            if !readers.is_empty() {
                channel.wildcard.hear(newest);
            }
        }
        members.each_wide(|seat, member| {
            if !member.wide().meets(met) {
                return;
            }
            if member.places.is_empty() {
                self.touched.push(seat);
            }
            // Of a single event there is nothing to spare.
            member.takes_whole = self.lanes.len() > 1 && member.wide().covers(met);
            if !member.takes_whole {
                member.note_wide(&self.lanes);
            }
        });
    }
}

impl<E> Member<E> {
    /// Adds to its places what its wildcards bring.
    fn note_wide(&mut self, lanes: &[Lane]) {
        let single = std::mem::take(&mut self.places);
        let mut single = single.iter().peekable();
        for (index, lane) in (0_u32..).zip(lanes) {
            if single.next_if(|next| **next == index).is_some() || self.wide().has(*lane) {
                self.places.push(index);
            }
        }
    }
}

/// What an event is of, by its first symbol.
fn topic_of<E: Routed>(event: &E) -> Topic {
    let symbol = event.symbols().first();
    Topic::new(event.channel(), symbol.cloned().unwrap_or_default())
}
