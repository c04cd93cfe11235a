//! Keeping to the venue's limit: what fits, who makes room for whom, and who gets back what was taken.
//!
//! What the venue sends, or was asked for, or has not yet confirmed to be gone, counts. So what is asked for fits even
//! while something is being given up, and the venue is never over its limit. A unit of the budget is a symbol or a
//! topic; it is worth the highest priority among those who want it. A wildcard is no unit: whether a plan grants it has
//! nothing to do with how many symbols it grants.
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

use std::{
    collections::{BTreeMap, HashSet},
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use super::{Ask, Asked, Hub, Standing, Upstream, Word};
use crate::{
    correlation::CorrelationId,
    error::{At, Error, Rejection, RejectionKind},
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
    learned: Option<Learned>,
    proven: Proven,
    /// The venue refused a request with a wildcard for its limit: each is asked for alone.
    wildcards_alone: bool,
}

/// The most that the venue confirmed at once: its limit is not lower.
#[derive(Clone, Copy, Default)]
struct Proven {
    symbols: usize,
    topics: usize,
}

impl Proven {
    fn of(self, counts: Counts) -> usize {
        match counts {
            Counts::Symbols => self.symbols,
            Counts::Topics => self.topics,
        }
    }
}

/// What the venue's refusals say of its limit.
struct Learned {
    limit: NonZeroUsize,
    /// The venue refused more than this at once: while its limit is being found out, no request names more.
    most: usize,
    /// When the venue refused last.
    at: Instant,
    /// Its own words.
    said: Rejection,
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

impl Learned {
    fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) >= LEARNED_FOR
    }
}

impl Budget {
    pub(super) fn new(given: SymbolBudget) -> Self {
        Self {
            given,
            counts: given.counts(),
            learned: None,
            proven: Proven::default(),
            wildcards_alone: false,
        }
    }

    fn limit(&self) -> Option<usize> {
        let learned = self.learned.as_ref().map(|learned| learned.limit.get());
        learned.or_else(|| self.given.limit())
    }

    /// What was learned goes with its connection.
    fn forget(&mut self) {
        *self = Self::new(self.given);
    }

    fn unit(&self, topic: &Topic) -> Unit {
        unit(self.counts, topic)
    }

    fn room(&self, used: usize) -> usize {
        self.limit()
            .map_or(usize::MAX, |limit| limit.saturating_sub(used))
    }

    /// How many units one request may name.
    fn most(&self) -> usize {
        self.learned
            .as_ref()
            .map_or(usize::MAX, |learned| learned.most)
    }
}

fn unit(counts: Counts, topic: &Topic) -> Unit {
    let channel = match counts {
        Counts::Symbols => None,
        Counts::Topics => Some(topic.channel),
    };
    (channel, topic.symbol.clone())
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
        let budget = self.budget.as_ref();
        if budget.is_some_and(|budget| budget.wildcards_alone)
            && let Some(wildcard) = topics.iter().find(|topic| topic.is_wildcard())
        {
            return Grant::Ask(vec![wildcard.clone()]);
        }
        let Some(budget) = budget.filter(|budget| budget.limit().is_some()) else {
            topics.truncate(limit);
            return Grant::Ask(topics);
        };
        let held = self.held(budget);
        let room = budget.room(held.len()).min(budget.most());
        let mut fresh = HashSet::new();
        let mut left_out = HashSet::new();
        let mut fit = Vec::new();
        for topic in topics {
            let unit = budget.unit(&topic);
            if topic.is_wildcard() || held.contains_key(&unit) || fresh.contains(&unit) {
                fit.push(topic);
            } else if fresh.len() < room {
                fresh.insert(unit);
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
    ///
    /// Nothing is learned where the refusal cannot be about the number of symbols: of a wildcard, of the only symbol, or
    /// of no more symbols than the venue confirmed before. Those get the venue's own words.
    pub(super) fn learn(&mut self, error: &Error, now: Instant) -> bool {
        let said = match error {
            Error::Refused { rejection, .. } if rejection.kind == RejectionKind::SymbolLimit => {
                rejection
            }
            _ => return false,
        };
        let Some(Asked::For(_, topics) | Asked::Restore(topics)) = &self.in_flight else {
            return false;
        };
        let topics = topics.clone();
        for topic in &topics {
            self.entry(topic).upstream = Upstream::Absent;
        }
        let Some(budget) = &mut self.budget else {
            return false;
        };
        if topics.iter().any(Topic::is_wildcard) {
            budget.wildcards_alone = true;
            return topics.len() > 1 && self.ask_less(&topics);
        }
        let (counted, proven) = (budget.counts, budget.proven);
        let Some((counts, used, new)) = [counted, Counts::Topics].into_iter().find_map(|counts| {
            let (used, new) = self.beyond(counts, &topics);
            // What it confirms cannot be too much.
            let is_told = new > 1 || new == 1 && used >= proven.of(counts);
            is_told.then_some((counts, used, new))
        }) else {
            return false;
        };
        let Some(budget) = &mut self.budget else {
            return false;
        };
        if counts != counted {
            // No more symbols than it confirms, and it is too much: it counts topics. What was learned of symbols is
            // void.
            budget.counts = counts;
            budget.learned = None;
        }
        // What it carries is within the limit, and all of this was not.
        let below = used + new - 1;
        let limit = budget.limit().map_or(below, |limit| limit.min(below));
        let Some(limit) = NonZeroUsize::new(limit.max(proven.of(counts)).max(used)) else {
            return false;
        };
        budget.learned = Some(Learned {
            limit,
            // Once a single one was refused, it is known exactly.
            most: if new > 1 { new / 2 } else { usize::MAX },
            at: now,
            said: said.clone(),
        });
        self.ask_less(&topics)
    }

    /// The request in flight is over. What it was for is asked for again, in another request.
    fn ask_less(&mut self, topics: &[Topic]) -> bool {
        self.in_flight = None;
        self.ask_again(topics);
        true
    }

    /// What the venue confirmed is within its limit.
    pub(super) fn prove(&mut self) {
        if self.budget.is_none() {
            return;
        }
        let is_confirmed = |upstream| upstream == Upstream::Confirmed;
        let symbols = self.count(Counts::Symbols, is_confirmed);
        let topics = self.count(Counts::Topics, is_confirmed);
        if let Some(budget) = &mut self.budget {
            budget.proven = Proven {
                symbols: budget.proven.symbols.max(symbols),
                topics: budget.proven.topics.max(topics),
            };
        }
    }

    /// A plan may have changed, and a refusal may have been a mistake: what was learned long ago is asked again.
    pub(super) fn forget_old(&mut self, now: Instant) {
        if let Some(budget) = &mut self.budget {
            budget.learned.take_if(|learned| learned.is_old(now));
        }
    }

    /// Whether those wait for room whom a limit keeps out that is old by now. There are turns enough for this to be
    /// noticed: the line is pinged when it is quiet.
    pub(crate) fn asks_again(&self, now: Instant) -> bool {
        let learned = self
            .budget
            .as_ref()
            .and_then(|budget| budget.learned.as_ref());
        let is_old = learned.is_some_and(|learned| learned.is_old(now));
        is_old && self.displaced && self.in_flight.is_none()
    }

    /// How many units count already, and how many more `topics` are.
    fn beyond(&self, counts: Counts, topics: &[Topic]) -> (usize, usize) {
        let held: HashSet<Unit> = self
            .topics()
            .filter(|(topic, entry)| entry.upstream != Upstream::Absent && !topic.is_wildcard())
            .map(|(topic, _)| unit(counts, &topic))
            .collect();
        let units: HashSet<Unit> = topics.iter().map(|topic| unit(counts, topic)).collect();
        (held.len(), units.difference(&held).count())
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
            used: self.count(budget.counts, |upstream| upstream != Upstream::Absent),
            limit: budget.limit(),
            counts: budget.counts,
        })
    }

    fn count(&self, counts: Counts, which: impl Fn(Upstream) -> bool) -> usize {
        let held = self.channels.iter().flat_map(|(_, entries)| entries);
        let held = held.filter(|(symbol, entry)| *symbol != "*" && which(entry.upstream));
        match counts {
            Counts::Topics => held.count(),
            Counts::Symbols => held.map(|(symbol, _)| symbol).collect::<HashSet<_>>().len(),
        }
    }

    fn held(&self, budget: &Budget) -> BTreeMap<Unit, Held> {
        let mut held = BTreeMap::new();
        for (topic, entry) in self.topics() {
            if entry.upstream == Upstream::Absent || topic.is_wildcard() {
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
            if entry.upstream == Upstream::Absent || topic.is_wildcard() {
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
            limit: budget.limit()?,
            counts: budget.counts,
            holders,
            said: budget.learned.as_ref().map(|learned| learned.said.clone()),
        })
    }
}

/// How long a limit holds that was learned, and not given.
const LEARNED_FOR: Duration = Duration::from_secs(600);
