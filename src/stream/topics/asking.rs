//! What to ask the venue for next. Nothing is queued: each request follows from what is wanted and what is confirmed.

use std::{cmp::Reverse, collections::HashSet, time::Instant};

use super::{
    SubscriptionId, TopicTable,
    answers::Outstanding,
    plan::Plan,
    state::{ReaderWorth, TopicState, Turn, Upstream},
};
use crate::{
    error::{At, Error, ErrorKind},
    phase::Phase,
    symbol_budget::BudgetHolder,
    topic::Topic,
    venue::{RequestId, Verb},
};

/// A request to make.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PlannedRequest {
    pub(crate) id: RequestId,
    pub(crate) verb: Verb,
    pub(crate) topics: Vec<Topic>,
}

impl TopicTable {
    /// The next request. To be called when all that was read has been heard: what is asked for here is in flight from the next
    /// frame on, so one frame with five errors refuses one request.
    pub(crate) fn next(&mut self, now: Instant) -> Option<PlannedRequest> {
        self.wake(now);
        let in_flight = self.outstanding.iter().filter(|request| !request.late);
        let is_alone = in_flight.clone().any(|request| request.is_deadly);
        let in_flight = in_flight.count();
        if is_alone || !self.connected || self.is_deaf() || in_flight >= self.limits.in_flight {
            return None;
        }
        let request = self
            .give_back(now)
            .or_else(|| self.ask(in_flight, now))
            .or_else(|| self.displace(now));
        if request.is_none() && in_flight == 0 {
            self.turn_away();
        }
        request
    }

    /// What has rested long enough is tried again.
    pub(crate) fn wake(&mut self, now: Instant) {
        if let Some(plan) = &mut self.plan
            && plan.expires().is_some_and(|at| at <= now)
        {
            plan.forget();
            self.recount();
            let granted = self.granted;
            self.plan.iter_mut().for_each(|plan| plan.granted(granted));
        }
        while let Some((at, topic)) = self.resting.first().cloned()
            && at <= now
        {
            self.asked_anew(&topic);
        }
    }

    /// Whether [`next`](Self::next) may have something to ask for.
    pub(crate) fn has_to_ask(&self) -> bool {
        !(self.to_ask.is_empty() && self.waiting.is_empty() && self.to_return.is_empty())
    }

    fn give_back(&mut self, now: Instant) -> Option<PlannedRequest> {
        let topics = self.to_return.iter();
        let topics = topics.filter(|topic| !self.is_crossed(topic, Verb::Subscribe));
        let topics: Vec<Topic> = topics.take(self.limits.topics).cloned().collect();
        for topic in &topics {
            self.move_to(topic, Upstream::Leaving);
        }
        self.send(Verb::Unsubscribe, topics, now)
    }

    fn ask(&mut self, in_flight: usize, now: Instant) -> Option<PlannedRequest> {
        let mut room = self.room();
        let mut topics: Vec<Topic> = Vec::new();
        let mut fresh = HashSet::new();
        let mut most = self.limits.topics;
        for turn in self.turns(room > 0) {
            // Whoever is under suspicion is asked for with few others.
            let at_most = turn.at_most as usize;
            if topics.len() >= most.min(at_most) || (turn.deaths > 0 && in_flight > 0) {
                break;
            }
            if self.is_crossed(&turn.topic, Verb::Unsubscribe) {
                continue;
            }
            if let Some(unit) = self.unit(&turn.topic)
                && !fresh.contains(&unit)
                && !self.units.get(&unit).is_some_and(|unit| unit.counted.used)
            {
                if room == 0 {
                    continue;
                }
                room -= 1;
                fresh.insert(unit);
            }
            most = most.min(at_most);
            topics.push(turn.topic.clone());
        }
        for topic in &topics {
            let entry = self.entry(topic);
            entry.no_room = false;
            entry.displaced_by = None;
            self.move_to(topic, Upstream::Asked);
        }
        self.send(Verb::Subscribe, topics, now)
    }

    /// What is to be asked for, the first turn first. What has no room and knows it waits apart, so that it costs nothing while there
    /// is none.
    fn turns(&self, with_waiting: bool) -> impl Iterator<Item = &Turn> {
        let mut to_ask = self.to_ask.iter().peekable();
        let waiting = self.waiting.iter();
        let mut waiting = waiting.filter(move |_| with_waiting).peekable();
        std::iter::from_fn(move || match (to_ask.peek(), waiting.peek()) {
            (Some(one), Some(other)) if other < one => waiting.next(),
            (None, _) => waiting.next(),
            (Some(_), _) => to_ask.next(),
        })
    }

    /// Whether an overlapping topic is being asked for, or given back, while this one is to be dealt with the other way round. Where
    /// events build on each other nobody could tell for which of the two the first of them came, so the answer is waited for.
    fn is_crossed(&self, topic: &Topic, verb: Verb) -> bool {
        let is_crossed = |request: &Outstanding| {
            request.verb == verb && !request.late && request.overlaps(topic)
        };
        let builds = self.topics.get(topic).is_some_and(|entry| entry.builds);
        builds && self.outstanding.iter().any(is_crossed)
    }

    fn room(&self) -> usize {
        let plan = self.plan.as_ref();
        plan.map_or(usize::MAX, |plan| plan.room(self.used))
    }

    /// Takes the places of the lowest for those that are worth more and find no room. Nobody gives way twice for one newcomer: what
    /// is being given back is waited for.
    fn displace(&mut self, now: Instant) -> Option<PlannedRequest> {
        let gives_back = |request: &Outstanding| request.verb == Verb::Unsubscribe && !request.late;
        if self.room() > 0 || self.outstanding.iter().any(gives_back) {
            return None;
        }
        // Nobody gives way for a topic over which connections ended: those come last.
        let newcomers = self.turns(true).take_while(|turn| turn.deaths == 0);
        let mut newcomers = newcomers.peekable();
        newcomers.peek()?;
        let mut places = self.places().into_iter();
        let mut seen = HashSet::new();
        let mut leaving: Vec<(Topic, SubscriptionOf)> = Vec::new();
        for turn in newcomers {
            if !self.unit(&turn.topic).is_some_and(|unit| seen.insert(unit)) {
                continue;
            }
            let Some((worth, topics)) = places.next() else {
                break;
            };
            let is_full = leaving.len() + topics.len() > self.limits.topics;
            if turn.priority.0 <= worth.priority || (!leaving.is_empty() && is_full) {
                break;
            }
            let readers = self.topics[&turn.topic].readers.iter();
            let by = readers.max().map(|(worth, id)| (*id, worth.priority));
            leaving.extend(topics.into_iter().map(|topic| (topic, by)));
        }
        for (topic, by) in &leaving {
            let by = by.map(|(id, priority)| {
                let subscription = self.subscriptions.get(&id);
                (subscription.and_then(|by| by.correlation.clone()), priority)
            });
            let entry = self.entry(topic);
            entry.no_room = true;
            entry.displaced_by = by;
            self.move_to(topic, Upstream::Leaving);
        }
        let topics = leaving.into_iter().map(|(topic, _)| topic).collect();
        self.send(Verb::Unsubscribe, topics, now)
    }

    /// Units that could make room, the lowest first.
    fn places(&self) -> Vec<(ReaderWorth, Vec<Topic>)> {
        let settled = self.units.values().filter(|unit| unit.counted.used);
        let mut places: Vec<_> = settled
            .filter_map(|unit| {
                let entries = || {
                    unit.topics
                        .iter()
                        .filter_map(|topic| self.topics.get(topic))
                };
                let is_settled =
                    |upstream| matches!(upstream, Upstream::Absent | Upstream::Confirmed);
                if !entries().all(|entry| is_settled(entry.upstream)) {
                    return None;
                }
                let wanted = entries().filter(|entry| entry.refused.is_none());
                let worth = wanted.filter_map(TopicState::best).max()?;
                let is_sent = |topic: &&Topic| self.topics[*topic].upstream == Upstream::Confirmed;
                Some((worth, unit.topics.iter().filter(is_sent).cloned().collect()))
            })
            .collect();
        places.sort_unstable();
        places
    }

    /// Nothing can be asked for: those that wait for room are told, once.
    fn turn_away(&mut self) {
        if self.room() > 0 {
            return;
        }
        let turned_away: Vec<Topic> = self.to_ask.iter().map(|turn| turn.topic.clone()).collect();
        for topic in &turned_away {
            self.entry(topic).no_room = true;
            self.tell_all(topic);
            self.refile(topic);
        }
    }

    fn send(&mut self, verb: Verb, topics: Vec<Topic>, now: Instant) -> Option<PlannedRequest> {
        if topics.is_empty() {
            return None;
        }
        self.last_request.0 += 1;
        let id = self.last_request;
        let mut is_deadly = false;
        for topic in &topics {
            let entry = self.entry(topic);
            entry.last = Some((id, verb));
            is_deadly |= verb == Verb::Subscribe && entry.suspicion.is_deadly;
        }
        let deadline = crate::clock::after(now, self.limits.timeout);
        let request = Outstanding::new(id, verb, topics.clone(), is_deadly, now, deadline);
        self.outstanding.push(request);
        Some(PlannedRequest { id, verb, topics })
    }

    /// What those get whose topics find no room: who holds the plan, those that are worth most first.
    pub(super) fn over_plan(&self) -> Error {
        let plan = self.plan.as_ref();
        let mut holders: Vec<BudgetHolder> = Vec::new();
        for subscription in self.subscriptions.values() {
            let used = subscription.rows.keys().filter(|topic| {
                let entry = self.topics.get(topic);
                entry.is_some_and(|entry| entry.upstream != Upstream::Absent)
            });
            let units: HashSet<_> = used.filter_map(|topic| self.unit(topic)).collect();
            if !units.is_empty() {
                holders.push(BudgetHolder {
                    correlation: subscription.correlation.clone(),
                    priority: subscription.priority,
                    holds: units.len(),
                });
            }
        }
        holders.sort_by_key(|holder| Reverse((holder.priority, holder.holds)));
        Error::new(
            At::new(&self.stream, Phase::Live),
            ErrorKind::OverBudget {
                limit: plan.and_then(Plan::limit).unwrap_or_default(),
                counts: plan.map(Plan::counts).unwrap_or_default(),
                holders,
                said: plan.and_then(Plan::said).cloned(),
            },
        )
    }
}

/// Who takes a place, and with which priority.
type SubscriptionOf = Option<(SubscriptionId, i32)>;
