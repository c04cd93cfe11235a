//! What is derived from the topics, so that nothing ever has to be searched for: what waits for the stream's thread, and the numbers
//! that the plan is told.

use std::{cmp::Reverse, hash::BuildHasher};

use smallvec::SmallVec;

use super::{
    HOLDS_FOR, TopicTable,
    state::{Cause, Place, TopicState, Turn, Upstream},
};
use crate::{
    clock,
    market::Symbol,
    symbol_budget::Counts,
    topic::{Channel, Topic},
};

/// What counts as one against the plan. Wildcards do not count.
pub(super) type Unit = (Option<Channel>, Symbol);

#[derive(Default)]
pub(super) struct UnitEntry {
    pub(super) topics: SmallVec<[Topic; 2]>,
    pub(super) counted: UnitCounts,
}

/// What a unit adds to the numbers of the plan.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct UnitCounts {
    /// Something of it is not Absent: another topic of it takes no room.
    pub(super) used: bool,
    /// The venue confirmed something of it.
    pub(super) granted: bool,
}

/// A sum over a set of topics: equal sets have equal sums, and others practically never, because the hash has a random key. With
/// it a full state that changes nothing else costs one pass over its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct SetSum {
    pub(super) count: usize,
    pub(super) sum: u64,
}

impl SetSum {
    pub(super) fn add(&mut self, hash: u64) {
        self.count += 1;
        self.sum = self.sum.wrapping_add(hash);
    }

    pub(super) fn remove(&mut self, hash: u64) {
        self.count -= 1;
        self.sum = self.sum.wrapping_sub(hash);
    }
}

impl TopicTable {
    pub(super) fn unit(&self, topic: &Topic) -> Option<Unit> {
        let counts = self.plan.as_ref()?.counts();
        let channel = match counts {
            Counts::Symbols => None,
            Counts::Topics => Some(topic.channel),
        };
        (!topic.is_wildcard()).then(|| (channel, topic.symbol.clone()))
    }

    /// Counts a topic among those of its unit.
    pub(super) fn count_in(&mut self, topic: &Topic) {
        if let Some(unit) = self.unit(topic) {
            let unit = self.units.entry(unit).or_default();
            unit.topics.push(topic.clone());
        }
    }

    /// Counts anew, in the units of the plan as it is now.
    pub(super) fn recount(&mut self) {
        (self.used, self.granted) = (0, 0);
        self.units.clear();
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        topics.iter().for_each(|topic| self.count_in(topic));
        topics.iter().for_each(|topic| self.refile(topic));
    }

    /// Files a topic, and those that count as one with it, where they belong now. The only writer of what is derived.
    pub(super) fn refile(&mut self, topic: &Topic) {
        use Upstream::{Absent, Confirmed};
        let Some(id) = self.unit(topic) else {
            return self.refile_topic(topic, false);
        };
        let Some(unit) = self.units.get(&id) else {
            return;
        };
        let topics = unit.topics.clone();
        let before = unit.counted;
        let mut now = UnitCounts::default();
        for entry in topics.iter().filter_map(|topic| self.topics.get(topic)) {
            now.used |= entry.upstream != Absent;
            now.granted |= entry.upstream == Confirmed;
        }
        let count = |number: &mut usize, before: bool, after: bool| {
            *number = *number + usize::from(after) - usize::from(before);
        };
        count(&mut self.used, before.used, now.used);
        count(&mut self.granted, before.granted, now.granted);
        if before != now {
            self.full.take();
        } else {
            // Its neighbours stand where they stood.
            return self.refile_topic(topic, !now.used);
        }
        if let Some(unit) = self.units.get_mut(&id) {
            unit.counted = now;
        }
        for topic in &topics {
            self.refile_topic(topic, !now.used);
        }
    }

    pub(super) fn refile_topic(&mut self, topic: &Topic, takes_room: bool) {
        let Some(entry) = self.topics.get(topic) else {
            return;
        };
        let place = self.place(topic, entry, takes_room);
        if place != entry.place {
            match &entry.place {
                Place::Nowhere => false,
                Place::ToAsk(turn) => self.to_ask.remove(turn),
                Place::Waiting(turn) => self.waiting.remove(turn),
                Place::ToReturn => self.to_return.remove(topic),
                Place::Resting(at) => self.resting.remove(&(*at, topic.clone())),
            };
            match place.clone() {
                Place::Nowhere => false,
                Place::ToAsk(turn) => self.to_ask.insert(turn),
                Place::Waiting(turn) => self.waiting.insert(turn),
                Place::ToReturn => self.to_return.insert(topic.clone()),
                Place::Resting(at) => self.resting.insert((at, topic.clone())),
            };
        }
        let entry = self.entry(topic);
        entry.place = place;
        let is_idle = entry.readers.is_empty() && entry.upstream == Upstream::Absent;
        if is_idle && entry.refused.is_none() {
            self.topics.remove(topic);
            if let Some(id) = self.unit(topic)
                && let Some(unit) = self.units.get_mut(&id)
            {
                unit.topics.retain(|other| other != topic);
                if unit.topics.is_empty() {
                    self.units.remove(&id);
                }
            }
        }
    }

    pub(super) fn place(&self, topic: &Topic, entry: &TopicState, takes_room: bool) -> Place {
        use Upstream::{Absent, Asked, Confirmed, Leaving, Unknown};
        match (entry.upstream, &entry.refused, entry.best()) {
            (Unknown, ..) | (Confirmed, _, None) => Place::ToReturn,
            (Confirmed, ..) if entry.restart => Place::ToReturn,
            (Absent, Some(refusal), best) => {
                let is_inferred = matches!(
                    refusal.cause,
                    Cause::Guessed | Cause::LeftOut | Cause::NoAnswer
                );
                if best.is_some() && !is_inferred {
                    return Place::Nowhere;
                }
                Place::Resting(clock::after(refusal.at, HOLDS_FOR))
            }
            (Absent, None, Some(best)) => {
                let turn = Turn {
                    deaths: entry.suspicion.rank(),
                    priority: Reverse(best.priority),
                    arrival: best.seniority.0,
                    at_most: entry.suspicion.at_most,
                    topic: topic.clone(),
                };
                if takes_room && entry.no_room {
                    Place::Waiting(turn)
                } else {
                    Place::ToAsk(turn)
                }
            }
            (Absent, None, None) | (Asked | Confirmed | Leaving, ..) => Place::Nowhere,
        }
    }

    pub(super) fn hash(&self, topic: &Topic) -> u64 {
        self.hasher.hash_one(topic)
    }

    pub(super) fn sum(&self, topics: &[Topic]) -> SetSum {
        let mut sum = SetSum::default();
        topics.iter().for_each(|topic| sum.add(self.hash(topic)));
        sum
    }
}
