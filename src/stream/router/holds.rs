//! Events of topics that were asked for and have no answer yet. A venue may send them before it confirms the topic: they are held
//! back until then, so that they follow the confirmation, or are let go with the refusal.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
};

use smallvec::SmallVec;

use crate::topic::Topic;

/// What is held back for topics, to be given to readers `R`.
pub(in crate::stream) struct Holds<E, R> {
    topics: HashMap<Topic, HeldTopic<R>>,
    /// The events, by a number that goes up. One of a symbol is held for its own topic, for the wildcard, or for both.
    events: BTreeMap<u64, Kept<E>>,
    last: u64,
    size: usize,
    most: Most,
}

/// The bounds of what is held back for one stream.
#[derive(Clone, Copy)]
pub(in crate::stream) struct Most {
    pub(in crate::stream) events: usize,
    pub(in crate::stream) bytes: usize,
}

struct HeldTopic<R> {
    numbers: VecDeque<u64>,
    /// Events that were let go because there were too many.
    missed: u64,
    /// From which number on a reader may have those of another topic too: it was given the earlier ones by that.
    from: HashMap<(R, Topic), u64>,
}

struct Kept<E> {
    event: E,
    size: usize,
    /// The topics that it is held for.
    topics: SmallVec<[Topic; 2]>,
    was_given: bool,
}

/// What a reader is given of a topic that was confirmed to it.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::stream) struct HeldEvents {
    pub(in crate::stream) numbers: Vec<u64>,
    /// How many more there were, and were not kept.
    pub(in crate::stream) missed: u64,
    /// How many of these nobody had been given before.
    pub(in crate::stream) claimed: u64,
}

impl<E, R: Copy + Eq + Hash> Holds<E, R> {
    pub(in crate::stream) fn new(most: Most) -> Self {
        Self {
            topics: HashMap::new(),
            events: BTreeMap::new(),
            last: 0,
            size: 0,
            most,
        }
    }

    pub(in crate::stream) fn is_empty(&self) -> bool {
        self.topics.is_empty()
    }

    pub(in crate::stream) fn has(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    /// Begins to hold back the events of a topic. What was held of it before is let go.
    pub(in crate::stream) fn begin(&mut self, topic: &Topic) {
        self.settle(topic);
        let hold = HeldTopic {
            numbers: VecDeque::new(),
            missed: 0,
            from: HashMap::new(),
        };
        self.topics.insert(topic.clone(), hold);
    }

    /// Ends a hold. What nobody was given is gone.
    pub(in crate::stream) fn settle(&mut self, topic: &Topic) {
        let hold = self.topics.remove(topic);
        for number in hold.into_iter().flat_map(|hold| hold.numbers) {
            self.let_go(number, topic);
        }
    }

    /// Ends all holds.
    pub(in crate::stream) fn clear(&mut self) {
        self.topics.clear();
        self.events.clear();
        self.size = 0;
    }

    /// Holds an event back for those of `topics` that are held back. `was_given` says that somebody
    /// has it already. Returns the topics that lost their oldest event to the bounds.
    pub(in crate::stream) fn take_in<'t>(
        &mut self,
        topics: impl Iterator<Item = &'t Topic>,
        event: E,
        size: usize,
        was_given: bool,
    ) -> Vec<Topic> {
        self.last += 1;
        let mut held_for = SmallVec::new();
        for topic in topics {
            if let Some(hold) = self.topics.get_mut(topic) {
                hold.numbers.push_back(self.last);
                held_for.push(topic.clone());
            }
        }
        if !held_for.is_empty() {
            self.size += size;
            let kept = Kept {
                event,
                size,
                topics: held_for,
                was_given,
            };
            self.events.insert(self.last, kept);
        }
        let mut cut = Vec::new();
        while self.events.len() > self.most.events || self.size > self.most.bytes {
            let Some((number, kept)) = self.events.pop_first() else {
                break;
            };
            self.size -= kept.size;
            for topic in kept.topics {
                if let Some(hold) = self.topics.get_mut(&topic)
                    && hold.numbers.front() == Some(&number)
                {
                    hold.numbers.pop_front();
                    hold.missed += 1;
                    cut.push(topic);
                }
            }
        }
        cut
    }

    /// What a reader is given of a topic that is held back and was confirmed to it. `has` says whether it was given an event
    /// already, by another topic that it reads, and `is_of` whether an event is of a topic.
    pub(in crate::stream) fn give(
        &mut self,
        topic: &Topic,
        reader: R,
        has: impl Fn(&E) -> bool,
        is_of: impl Fn(&E, &Topic) -> bool,
    ) -> HeldEvents {
        let Some(hold) = self.topics.get(topic) else {
            return HeldEvents {
                numbers: Vec::new(),
                missed: 0,
                claimed: 0,
            };
        };
        let own = hold.from.iter().filter(|((of, _), _)| *of == reader);
        let own: Vec<(&Topic, u64)> = own.map(|((_, left), from)| (left, *from)).collect();
        let is_new = |number: &u64| {
            let had = |event: &E| {
                let mut own = own.iter();
                own.any(|(left, from)| number < from && is_of(event, left))
            };
            let kept = self.events.get(number);
            kept.is_some_and(|kept| !has(&kept.event) && !had(&kept.event))
        };
        let numbers: Vec<u64> = hold.numbers.iter().copied().filter(is_new).collect();
        let missed = hold.missed;
        let mut claimed = 0;
        for number in &numbers {
            if let Some(kept) = self.events.get_mut(number) {
                claimed += u64::from(!std::mem::replace(&mut kept.was_given, true));
            }
        }
        HeldEvents {
            numbers,
            missed,
            claimed,
        }
    }

    /// An event that was given to somebody.
    pub(in crate::stream) fn get(&self, number: u64) -> Option<&E> {
        self.events.get(&number).map(|kept| &kept.event)
    }

    /// A reader no longer reads a topic. What it was given by it, a hold of an overlapping topic may have as well.
    pub(in crate::stream) fn left(&mut self, topic: &Topic, reader: R) {
        let from = self.last + 1;
        if !topic.is_wildcard() {
            let wildcard = Topic::new(topic.channel, "*");
            if let Some(hold) = self.topics.get_mut(&wildcard) {
                hold.from.insert((reader, topic.clone()), from);
            }
            return;
        }
        let holds = self.topics.iter_mut();
        for (_, hold) in holds.filter(|(other, _)| other.channel == topic.channel) {
            hold.from.insert((reader, topic.clone()), from);
        }
    }

    /// A reader is gone. Whoever is called the same from here on was given nothing.
    pub(in crate::stream) fn forget_reader(&mut self, reader: R) {
        for hold in self.topics.values_mut() {
            hold.from.retain(|(of, _), _| *of != reader);
        }
    }

    fn let_go(&mut self, number: u64, topic: &Topic) {
        if let Some(kept) = self.events.get_mut(&number) {
            kept.topics.retain(|other| other != topic);
            if kept.topics.is_empty() {
                self.size -= kept.size;
                self.events.remove(&number);
            }
        }
    }
}
