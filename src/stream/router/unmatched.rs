//! Events that match nobody. They are counted, and told where a subscription may be waiting for them under another name:
//! a venue that spells a symbol in another way than the subscriber sends events that reach nobody.

use std::{
    collections::{HashMap, HashSet},
    time::{Duration, Instant},
};

use super::{Heard, Router};
use crate::{
    event::Notice,
    topic::{Channel, Topic},
    venue::{Routed, Stamped},
};

/// What became of the events of a batch. Each of them was routed, or was unmatched, or was unsettled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// Matched a subscription.
    pub(crate) routed: u64,
    /// Of those, the ones that were repeats to somebody.
    pub(crate) repeats: u64,
    /// Matched nobody, and nobody had asked for their topic.
    pub(crate) unmatched: u64,
    /// Matched nobody, and were of a topic that is wanted and not confirmed, or that was given back a moment ago.
    pub(crate) unsettled: u64,
    /// The topic of the newest that was unmatched.
    pub(crate) newest: Option<Topic>,
}

/// What the router remembers of topics for this.
#[derive(Default)]
pub(super) struct Unmatched {
    /// When topics were given back.
    left: HashMap<Topic, Instant>,
    /// Channels of which an unmatched event was told to everybody who had to know, since something was confirmed last.
    said: HashSet<Channel>,
    pub(super) newest: Option<Topic>,
}

impl Unmatched {
    /// Nobody wants a topic any more. What the venue has sent of it may still be on its way.
    pub(super) fn leave(&mut self, topic: &Topic, now: Instant) {
        if self.left.len() >= MOST_LEFT {
            self.left
                .retain(|_, at| now.saturating_duration_since(*at) < ON_ITS_WAY);
        }
        if self.left.len() < MOST_LEFT {
            self.left.insert(topic.clone(), now);
        }
    }

    /// Somebody else may have to be told now.
    pub(super) fn confirmed(&mut self) {
        self.said.clear();
    }
}

impl<E: Routed> Router<E> {
    /// Counts the events at these places of a batch, which matched nobody, and tells those who may miss them.
    #[cold]
    pub(super) fn count_unmatched(
        &mut self,
        events: &[Stamped<E>],
        places: &[u32],
        routing: &mut Routing,
    ) {
        for place in places {
            let stamped = &events[*place as usize];
            let channel = stamped.event.channel();
            let wildcard = Topic::new(channel, "*");
            let symbols = stamped.event.symbols().iter();
            let own = symbols.map(|symbol| Topic::new(channel, symbol));
            let is_unsettled = own.chain([wildcard]).any(|topic| {
                let left = self.unmatched.left.get(&topic);
                let is_late = left
                    .is_some_and(|at| stamped.received.saturating_duration_since(*at) < ON_ITS_WAY);
                is_late || self.peek(&topic).is_some() || self.holds.has(&topic)
            });
            if is_unsettled {
                routing.unsettled += 1;
                continue;
            }
            routing.unmatched += 1;
            let symbol = stamped.event.symbols().first();
            let topic = Topic::new(channel, symbol.cloned().unwrap_or_default());
            if self.unmatched.said.insert(channel) {
                self.tell_unmatched(&topic);
            }
            routing.newest = Some(topic);
        }
        if routing.newest.is_some() {
            self.unmatched.newest.clone_from(&routing.newest);
        }
    }

    /// Tells those who have a confirmed topic of the channel that has never had an event, once each.
    fn tell_unmatched(&mut self, topic: &Topic) {
        let channel = topic.channel;
        for slot in 0..self.members.len() {
            let Some(member) = self.members[slot].as_ref() else {
                continue;
            };
            let is_silent = !member.told_unmatched.contains(&channel)
                && self.channels.iter().any(|(name, entries)| {
                    let mut entries = entries.values();
                    *name == channel
                        && entries.any(|entry| {
                            entry.heard.get() == Heard::Never && entry.members.contains(&slot)
                        })
                });
            if let Some(member) = self.members[slot].as_mut().filter(|_| is_silent) {
                member.told_unmatched.push(channel);
                member.sink.notice(|| Notice::Unmatched {
                    topic: topic.clone(),
                    correlation: None,
                });
            }
        }
    }
}

/// For how long after a topic was given back its events may still arrive: what the venue had sent before.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// How many of these topics are remembered: more than a market has symbols.
const MOST_LEFT: usize = 1 << 14;
