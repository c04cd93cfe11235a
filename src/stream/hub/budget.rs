//! Keeping to the venue's limit: what fits, who makes room for whom, and who gets back what was taken.
//!
//! What the venue sends, or was asked for, or has not yet confirmed to be gone, counts. So what is asked for fits even
//! while something is being given up, and the venue is never over its limit. A unit of the budget is a symbol or a
//! topic; it is worth the highest priority among those who want it.
//!
//! ```text
//!              room, or somebody lower                 a higher one comes
//!  Pending ──────────────────────────▶ Confirmed ───────────────────────────▶ Displaced
//!     │ neither                            ▲   room, or somebody lower is left    │
//!     └──▶ Refused                         └──────────────────────────────────────┘
//! ```

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::collections::{BTreeMap, HashSet};

use super::{Ask, Asked, Hub, Standing, Upstream, Word};
use crate::{
    correlation::CorrelationId,
    error::{At, Error, RejectionKind},
    market::Symbol,
    phase::Phase,
    stream::wishes::SubscriptionId,
    symbol_budget::{BudgetHolder, BudgetUse, Counts, SymbolBudget},
    topic::{Channel, Topic},
    venue::Routed,
};

/// The limit, as far as it is known on this connection.
pub(super) struct Budget {
    given: SymbolBudget,
    counts: Counts,
    limit: Option<usize>,
    /// The venue refused more than this at once: while its limit is being found out, no request names more.
    most: usize,
}

/// What counts as one.
type Unit = (Option<Channel>, Symbol);

/// A unit that counts.
struct Held {
    priority: i32,
    /// Who came for it last. Of two that are worth the same, the later one makes room.
    newest: Option<SubscriptionId>,
    topics: Vec<Topic>,
}

impl Budget {
    pub(super) fn new(given: SymbolBudget) -> Self {
        Self {
            given,
            counts: given.counts(),
            limit: given.limit(),
            most: usize::MAX,
        }
    }

    /// What was learned goes with its connection.
    fn forget(&mut self) {
        *self = Self::new(self.given);
    }

    fn unit(&self, topic: &Topic) -> Unit {
        let channel = match self.counts {
            Counts::Symbols => None,
            Counts::Topics => Some(topic.channel),
        };
        (channel, topic.symbol.clone())
    }

    fn room(&self, used: usize) -> usize {
        self.limit
            .map_or(usize::MAX, |limit| limit.saturating_sub(used))
    }

    fn is_limited(&self) -> bool {
        self.limit.is_some() || self.most < usize::MAX
    }
}

/// What becomes of topics that are asked for.
pub(super) enum Grant {
    /// These fit.
    Ask(Vec<Topic>),
    /// These have to make room first.
    Displace(Vec<Topic>),
    /// None of them fits, and nobody makes room for them.
    Nothing,
}

impl<E: Routed> Hub<E> {
    /// What of `topics` can be asked for, by somebody of this priority. Those who ask for what they had before displace
    /// nobody: they have no priority.
    pub(super) fn grant(
        &self,
        mut topics: Vec<Topic>,
        priority: Option<i32>,
        limit: usize,
    ) -> Grant {
        let Some(budget) = self.budget.as_ref().filter(|budget| budget.is_limited()) else {
            topics.truncate(limit);
            return Grant::Ask(topics);
        };
        let held = self.held(budget);
        let room = budget.room(held.len()).min(budget.most);
        let mut fresh = HashSet::new();
        let mut left_out = HashSet::new();
        let mut fit = Vec::new();
        for topic in topics {
            let unit = budget.unit(&topic);
            if held.contains_key(&unit) || fresh.contains(&unit) || fresh.len() < room {
                if !held.contains_key(&unit) {
                    fresh.insert(unit);
                }
                fit.push(topic);
            } else {
                left_out.insert(unit);
            }
        }
        if !fit.is_empty() {
            fit.truncate(limit);
            return Grant::Ask(fit);
        }
        let Some(priority) = priority else {
            return Grant::Nothing;
        };
        let mut lower: Vec<Held> = held
            .into_values()
            .filter(|held| held.priority < priority)
            .collect();
        lower.sort_by_key(|held| (held.priority, std::cmp::Reverse(held.newest)));
        let mut displaced: Vec<Topic> = Vec::new();
        for held in lower.into_iter().take(left_out.len()) {
            if !displaced.is_empty() && displaced.len() + held.topics.len() > limit {
                break;
            }
            displaced.extend(held.topics);
        }
        if displaced.is_empty() {
            return Grant::Nothing;
        }
        displaced.sort();
        Grant::Displace(displaced)
    }

    /// Takes topics from those who have them, for a member that is worth more.
    pub(super) fn displace(
        &mut self,
        topics: Vec<Topic>,
        by: Option<CorrelationId>,
        priority: i32,
    ) -> Ask {
        let mut slots = Vec::new();
        for topic in &topics {
            let entry = self.entry(topic);
            entry.upstream = Upstream::Leaving;
            slots.extend_from_slice(&entry.members);
        }
        for slot in self.folds_first(slots) {
            let error = Error::Displaced {
                at: At::new(&self.stream, Phase::Live),
                by: by.clone(),
                priority,
            };
            self.answer(slot, &topics, Word::Displaced(error));
        }
        self.displaced = true;
        self.begin(Asked::Unsubscribe(topics.clone()));
        Ask::Unsubscribe(topics)
    }

    /// Nothing of what this member waits for fits. What was taken from it stays so without another word; the rest is
    /// refused.
    pub(super) fn turn_away(&mut self, slot: usize) {
        let full = self.full();
        let (Some(full), Some(member)) = (full, self.members[slot].as_mut()) else {
            return;
        };
        let mut refused = Vec::new();
        for (topic, answer) in &mut member.topics {
            match answer {
                _ if !answer.is(Standing::Pending) => {}
                _ if answer.told == Some(Standing::Displaced) => {
                    answer.now = Standing::Displaced;
                    self.displaced = true;
                }
                _ => refused.push(topic.clone()),
            }
        }
        if refused.is_empty() {
            return self.tell(slot, Vec::new(), None);
        }
        self.answer(slot, &refused, Word::Refused(full));
    }

    /// Lets those ask again from whom something was taken, as far as there is room, or somebody who is worth less.
    pub(super) fn bring_back(&mut self) {
        let Some(budget) = self.budget.as_ref().filter(|_| self.displaced) else {
            return;
        };
        // Those who are worth most first, and among them who came first.
        let mut waiting: BTreeMap<(std::cmp::Reverse<i32>, SubscriptionId), Vec<Topic>> =
            BTreeMap::new();
        for member in self.members.iter().flatten() {
            let displaced = member
                .topics
                .iter()
                .filter(|(_, answer)| answer.is(Standing::Displaced));
            let mut topics: Vec<_> = displaced.map(|(topic, _)| topic.clone()).collect();
            if !topics.is_empty() {
                topics.sort();
                waiting.insert((std::cmp::Reverse(member.priority), member.id), topics);
            }
        }
        let held = self.held(budget);
        let mut room = budget.room(held.len());
        let mut worth: Vec<i32> = held.values().map(|held| held.priority).collect();
        worth.sort_unstable_by(|one, other| other.cmp(one));
        let mut back = Vec::new();
        let mut fresh = HashSet::new();
        for ((std::cmp::Reverse(priority), id), topics) in &waiting {
            for topic in topics {
                let unit = budget.unit(topic);
                if !held.contains_key(&unit) && !fresh.contains(&unit) {
                    if room > 0 {
                        room -= 1;
                    } else if worth.last().is_some_and(|lowest| lowest < priority) {
                        worth.pop();
                    } else {
                        continue;
                    }
                    fresh.insert(unit);
                }
                back.push((*id, topic.clone()));
            }
        }
        self.displaced = !waiting.is_empty();
        for (id, topic) in back {
            let Some(member) = self
                .slots
                .get(&id)
                .and_then(|slot| self.members[*slot].as_mut())
            else {
                continue;
            };
            if let Some(answer) = member.topics.get_mut(&topic) {
                answer.now = Standing::Pending;
            }
            if !self.to_ask.contains(&id) {
                self.to_ask.push_back(id);
            }
        }
    }

    /// The venue refused the subscription in flight for its limit, which is now known better: what it was for is asked
    /// for again, less of it. Says whether that is so.
    pub(super) fn learn(&mut self, error: &Error) -> bool {
        let is_limit = matches!(error, Error::Refused { rejection, .. }
            if rejection.kind == RejectionKind::SymbolLimit);
        let Some(Asked::For(_, topics) | Asked::Restore(topics)) = &self.in_flight else {
            return false;
        };
        if !is_limit || self.budget.is_none() {
            return false;
        }
        let topics = topics.clone();
        self.in_flight = None;
        for topic in &topics {
            self.entry(topic).upstream = Upstream::Absent;
        }
        let mut new = self.beyond(&topics);
        if new == 0
            && let Some(budget) = &mut self.budget
        {
            // Only symbols that count already, and it is too much: it counts topics. What was learned of symbols is
            // void.
            budget.counts = Counts::Topics;
            budget.limit = budget.given.limit();
            new = self.beyond(&topics);
        }
        let used = self.used().map_or(0, |budget| budget.used);
        if let Some(budget) = &mut self.budget {
            // What it carries is within the limit, and all of this was not.
            let most = used + new.max(1) - 1;
            budget.limit = Some(budget.limit.map_or(most, |limit| limit.clamp(used, most)));
            // Once a single one was refused, it is known exactly.
            budget.most = if new > 1 { new / 2 } else { usize::MAX };
        }
        self.ask_again(&topics);
        true
    }

    /// How many units `topics` are that do not count already.
    fn beyond(&self, topics: &[Topic]) -> usize {
        let Some(budget) = &self.budget else {
            return 0;
        };
        let held = self.held(budget);
        let units: HashSet<Unit> = topics.iter().map(|topic| budget.unit(topic)).collect();
        units.iter().filter(|unit| !held.contains_key(unit)).count()
    }

    pub(super) fn forget_budget(&mut self) {
        if let Some(budget) = &mut self.budget {
            budget.forget();
        }
    }

    /// For health.
    pub(crate) fn used(&self) -> Option<BudgetUse> {
        let budget = self.budget.as_ref()?;
        Some(BudgetUse {
            used: self.count(budget.counts),
            limit: budget.limit,
            counts: budget.counts,
        })
    }

    fn count(&self, counts: Counts) -> usize {
        let held = self.channels.iter().flat_map(|(_, entries)| entries);
        let held = held.filter(|(_, entry)| entry.upstream != Upstream::Absent);
        match counts {
            Counts::Topics => held.count(),
            Counts::Symbols => held.map(|(symbol, _)| symbol).collect::<HashSet<_>>().len(),
        }
    }

    fn held(&self, budget: &Budget) -> BTreeMap<Unit, Held> {
        let mut held = BTreeMap::new();
        for (topic, entry) in self.topics() {
            if entry.upstream == Upstream::Absent {
                continue;
            }
            let unit = held.entry(budget.unit(&topic)).or_insert_with(|| Held {
                priority: i32::MIN,
                newest: None,
                topics: Vec::new(),
            });
            for member in entry
                .members
                .iter()
                .filter_map(|slot| self.members[*slot].as_ref())
            {
                unit.priority = unit.priority.max(member.priority);
                unit.newest = unit.newest.max(Some(member.id));
            }
            unit.topics.push(topic);
        }
        held
    }

    /// The full budget and who holds it, those who are worth most first.
    fn full(&self) -> Option<Error> {
        let budget = self.budget.as_ref()?;
        let mut holders: BTreeMap<SubscriptionId, (usize, HashSet<Unit>)> = BTreeMap::new();
        for (topic, entry) in self.topics() {
            if entry.upstream == Upstream::Absent {
                continue;
            }
            for slot in &entry.members {
                if let Some(member) = &self.members[*slot] {
                    let (_, units) = holders
                        .entry(member.id)
                        .or_insert_with(|| (*slot, HashSet::new()));
                    units.insert(budget.unit(&topic));
                }
            }
        }
        let mut holders: Vec<BudgetHolder> = holders
            .into_values()
            .filter_map(|(slot, units)| {
                let member = self.members[slot].as_ref()?;
                Some(BudgetHolder {
                    correlation: member.correlation.clone(),
                    priority: member.priority,
                    holds: units.len(),
                })
            })
            .collect();
        holders.sort_by_key(|holder| std::cmp::Reverse(holder.priority));
        Some(Error::OverBudget {
            at: At::new(&self.stream, Phase::Live),
            limit: budget.limit?,
            counts: budget.counts,
            holders,
        })
    }
}
