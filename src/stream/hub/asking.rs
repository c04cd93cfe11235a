//! What to ask the venue for, and what its answers mean for those who wait for them.
//!
//! One request is in flight at a time, and each is made for one member, so that a refusal concerns only that member.
//! Nothing is queued: the next request follows from what is wanted and what is confirmed.

use std::{collections::HashSet, time::Instant};

use super::{Entry, Hub, Sink, Standing, Told, Upstream, Word, budget::Grant};
use crate::{
    error::Error,
    stream::wishes::SubscriptionId,
    topic::Topic,
    venue::{Confirmed, Routed},
};

/// The request in flight.
pub(super) enum Asked {
    /// For one member.
    For(SubscriptionId, Vec<Topic>),
    /// What the last connection had, for everybody at once.
    Restore(Vec<Topic>),
    Unsubscribe(Vec<Topic>),
}

impl Asked {
    fn topics(&self) -> &[Topic] {
        match self {
            Self::For(_, topics) | Self::Restore(topics) | Self::Unsubscribe(topics) => topics,
        }
    }

    /// A full state does not say which request it answers: it may repeat an earlier one, or come after that request ran
    /// out of time. It is taken for the answer to this one if it shows all that was asked for, or a part of it that
    /// stood in no state before: a topic that a wildcard covers was listed all along.
    fn is_answered_by(&self, state: &HashSet<Topic>, earlier: &HashSet<Topic>) -> bool {
        match self {
            Self::For(_, topics) | Self::Restore(topics) => {
                topics.iter().all(|topic| is_listed(state, topic))
                    || topics
                        .iter()
                        .any(|topic| state.contains(topic) && !earlier.contains(topic))
            }
            Self::Unsubscribe(_) => self.is_done_in(state),
        }
    }

    /// Whether a full state shows any of what was asked for. When the time is up, that has to do.
    fn is_done_in(&self, state: &HashSet<Topic>) -> bool {
        match self {
            Self::For(_, topics) | Self::Restore(topics) => {
                topics.iter().any(|topic| is_listed(state, topic))
            }
            Self::Unsubscribe(topics) => !topics.iter().any(|topic| state.contains(topic)),
        }
    }
}

/// A wildcard stands for its whole channel, whatever else the venue lists beside it.
fn is_listed(state: &HashSet<Topic>, topic: &Topic) -> bool {
    state.contains(topic) || state.contains(&Topic::new(topic.channel, "*"))
}

/// A request to make.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Ask {
    Subscribe(Vec<Topic>),
    Unsubscribe(Vec<Topic>),
}

impl<E: Routed> Hub<E> {
    /// The next request, if none is in flight and there is something to ask.
    pub(crate) fn next_request(&mut self, limit: usize, now: Instant) -> Option<Ask> {
        if self.in_flight.is_some() {
            return None;
        }
        self.forget_old(now);
        if self.unwanted {
            let given_back = self.topics().filter(|(_, entry)| match entry.upstream {
                Upstream::Confirmed => entry.members.is_empty(),
                Upstream::Restarting => true,
                Upstream::Absent | Upstream::Requested | Upstream::Leaving => false,
            });
            let mut unwanted: Vec<Topic> = given_back.map(|(topic, _)| topic).collect();
            unwanted.sort();
            unwanted.truncate(limit);
            if !unwanted.is_empty() {
                for topic in &unwanted {
                    self.entry(topic).upstream = Upstream::Leaving;
                }
                self.begin(Asked::Unsubscribe(unwanted.clone()));
                return Some(Ask::Unsubscribe(unwanted));
            }
            self.unwanted = false;
        }
        if self.restoring {
            let restored = self.wanting(None);
            if !restored.is_empty()
                && let Grant::Ask(topics) = self.grant(restored, None, limit)
            {
                let topics = self.narrow(topics);
                return Some(self.ask(topics, Asked::Restore));
            }
            self.restoring = false;
        }
        self.bring_back();
        while let Some((id, slot)) = self.next_asker() {
            let topics = self.wanting(Some(slot));
            let (priority, correlation) = match &self.members[slot] {
                Some(member) if !topics.is_empty() => (member.priority, &member.correlation),
                _ => {
                    self.to_ask.retain(|other| *other != id);
                    continue;
                }
            };
            match self.grant(topics, Some(priority), limit) {
                Grant::Ask(topics) => {
                    let topics = self.narrow(topics);
                    return Some(self.ask(topics, |topics| Asked::For(id, topics)));
                }
                Grant::Displace(topics) => {
                    let by = correlation.clone();
                    return Some(self.displace(topics, by, priority));
                }
                Grant::Nothing => self.turn_away(slot),
            }
        }
        None
    }

    /// Who asks next: of those who have something to ask, whoever is worth most, and came first.
    fn next_asker(&self) -> Option<(SubscriptionId, usize)> {
        let askers = self.to_ask.iter().filter_map(|id| {
            let slot = *self.slots.get(id)?;
            let member = self.members[slot].as_ref()?;
            Some((member.priority, (*id, slot)))
        });
        let first = askers.reduce(|best, other| if other.0 > best.0 { other } else { best });
        first.map(|(_, asker)| asker)
    }

    fn ask(&mut self, topics: Vec<Topic>, asked: impl FnOnce(Vec<Topic>) -> Asked) -> Ask {
        for topic in &topics {
            self.entry(topic).upstream = Upstream::Requested;
        }
        self.begin(asked(topics.clone()));
        Ask::Subscribe(topics)
    }

    /// Topics to ask for: those one member waits for, or, without a member, those that an earlier connection had.
    fn wanting(&self, slot: Option<usize>) -> Vec<Topic> {
        let range = slot.map_or(0..self.members.len(), |slot| slot..slot + 1);
        let mut topics: Vec<Topic> = self.members[range]
            .iter()
            .flatten()
            .flat_map(|member| &member.topics)
            .filter(|(topic, answer)| {
                let restored = slot.is_some() || answer.told == Some(Standing::Confirmed);
                answer.is(Standing::Pending)
                    && restored
                    && self
                        .peek(topic)
                        .is_some_and(|entry| entry.upstream == Upstream::Absent)
            })
            .map(|(topic, _)| topic.clone())
            .collect();
        topics.sort();
        topics.dedup();
        topics
    }

    pub(super) fn begin(&mut self, asked: Asked) {
        self.in_flight = Some(asked);
        self.seen = false;
    }

    pub(crate) fn has_request(&self) -> bool {
        self.in_flight.is_some()
    }

    /// The venue answered. Says whether that was the answer to the request in flight.
    pub(crate) fn confirm(&mut self, confirmed: Confirmed, left_out: impl Fn() -> Error) -> bool {
        match confirmed {
            Confirmed::Request => match self.in_flight.take() {
                Some(Asked::For(_, topics) | Asked::Restore(topics)) => {
                    self.settle(&topics, Upstream::Confirmed, None);
                }
                Some(Asked::Unsubscribe(topics)) => self.unsubscribed(&topics),
                None => {}
            },
            Confirmed::State(topics) => {
                let state = topics.into_iter().collect();
                let earlier = std::mem::replace(&mut self.listed, state);
                let Some(asked) = &self.in_flight else {
                    self.reconcile(left_out);
                    return true;
                };
                let late = asked
                    .topics()
                    .iter()
                    .any(|topic| self.unanswered.contains(topic));
                self.seen = late || !asked.is_answered_by(&self.listed, &earlier);
                if self.seen {
                    self.reconcile(left_out);
                    return false;
                }
                self.take_state(left_out);
            }
        }
        true
    }

    /// The request in flight has run out of time. Says whether its topics were refused for that.
    pub(crate) fn run_out(
        &mut self,
        error: Error,
        now: Instant,
        left_out: impl Fn() -> Error,
    ) -> bool {
        let Some(asked) = &self.in_flight else {
            return false;
        };
        if self.seen && asked.is_done_in(&self.listed) {
            self.take_state(left_out);
            return false;
        }
        self.unanswered.extend(asked.topics().iter().cloned());
        self.refuse(error, now);
        true
    }

    /// The last full state is the answer to the request in flight.
    fn take_state(&mut self, left_out: impl Fn() -> Error) {
        let listed = |topic: &Topic| is_listed(&self.listed, topic);
        match self.in_flight.take() {
            Some(Asked::For(_, topics) | Asked::Restore(topics)) => {
                let (granted, refused): (Vec<_>, Vec<_>) = topics.into_iter().partition(listed);
                self.settle(&granted, Upstream::Confirmed, None);
                self.settle(&refused, Upstream::Absent, Some(left_out()));
            }
            Some(Asked::Unsubscribe(topics)) => self.unsubscribed(&topics),
            None => {}
        }
        self.reconcile(left_out);
    }

    /// A full state is the truth of its moment, whatever request it answers. So what was confirmed before and is not in
    /// it is gone: those who want it are told.
    fn reconcile(&mut self, left_out: impl Fn() -> Error) {
        let state = self.listed.clone();
        let listed = |topic: &Topic| is_listed(&state, topic);
        let lost = self.confirmed(|topic, _| !listed(topic));
        let uncovered = self.confirmed(|topic, entry| !listed(topic) && entry.covered);
        self.settle(&lost, Upstream::Absent, Some(left_out()));
        self.retry(&uncovered);
        for (channel, entries) in &mut self.channels {
            for (symbol, entry) in entries {
                entry.covered = entry.upstream == Upstream::Confirmed
                    && !state.contains(&Topic::new(*channel, symbol));
            }
        }
    }

    /// The confirmed topics that `which` picks.
    fn confirmed(&self, which: impl Fn(&Topic, &Entry) -> bool) -> Vec<Topic> {
        self.topics()
            .filter(|(topic, entry)| entry.upstream == Upstream::Confirmed && which(topic, entry))
            .map(|(topic, _)| topic)
            .collect()
    }

    /// Asks for topics again that were lost through no fault of theirs: the wildcard that they came with is gone. Those
    /// who want them were told of the loss, and will be told of its end.
    fn retry(&mut self, topics: &[Topic]) {
        if topics.is_empty() {
            return;
        }
        for slot in self.folds_first((0..self.members.len()).collect()) {
            let Some(member) = self.members[slot].as_mut() else {
                continue;
            };
            for topic in topics {
                if let Some(answer) = member.topics.get_mut(topic) {
                    answer.now = Standing::Pending;
                }
            }
            self.tell(slot, Vec::new(), None);
        }
        self.ask_again(topics);
    }

    /// Events of these topics build on each other, and one of them was missed: they are asked for again, so that they
    /// begin anew. Nothing more of them is handed out until then; those who want them are told when they are confirmed.
    pub(crate) fn restart(&mut self, topics: &[Topic]) {
        let mut slots = Vec::new();
        let wildcards = topics.iter().map(|topic| Topic::new(topic.channel, "*"));
        for topic in wildcards.chain(topics.iter().cloned()) {
            let is_sent = |entry: &Entry| entry.upstream == Upstream::Confirmed;
            if !self.peek(&topic).is_some_and(is_sent) {
                continue;
            }
            let entry = self.entry(&topic);
            entry.upstream = Upstream::Restarting;
            self.unwanted = true;
            for slot in self.entry(&topic).members.clone() {
                if let Some(answer) = self.members[slot]
                    .as_mut()
                    .and_then(|member| member.topics.get_mut(&topic))
                {
                    answer.now = Standing::Pending;
                    answer.told = None;
                }
                slots.push(slot);
            }
        }
        for slot in self.folds_first(slots) {
            self.tell(slot, Vec::new(), None);
        }
    }

    /// The venue refused the request in flight.
    pub(crate) fn refuse(&mut self, error: Error, now: Instant) {
        if self.learn(&error, now) || self.halve(&error) {
            return self.forget_unwanted();
        }
        match self.in_flight.take() {
            Some(Asked::For(id, topics)) => {
                // Only this member's request was refused. Others who want one of the topics get a request of their
                // own: it may be another topic of this one that the venue objected to.
                let slot = self.slots.get(&id).copied();
                for topic in &topics {
                    self.entry(topic).upstream = Upstream::Absent;
                }
                if let Some(slot) = slot {
                    self.answer(slot, &topics, Word::Refused(error));
                }
                self.ask_again(&topics);
            }
            Some(Asked::Restore(topics)) => {
                // Nobody in particular asked: everybody asks again, each for itself.
                self.restoring = false;
                for topic in &topics {
                    self.entry(topic).upstream = Upstream::Absent;
                }
                self.ask_again(&topics);
            }
            // Nobody wants them, and the venue may go on sending them: they reach no member. If it does not, what came
            // with a wildcard among them has stopped, too.
            Some(Asked::Unsubscribe(topics)) => {
                self.unsubscribed(&topics);
                self.told.push(Told {
                    correlation: None,
                    topics: topics.clone(),
                    word: Word::Refused(error.clone()),
                });
                let uncovered = self.confirmed(|topic, entry| {
                    entry.covered && topics.contains(&Topic::new(topic.channel, "*"))
                });
                self.settle(&uncovered, Upstream::Absent, Some(error));
                self.retry(&uncovered);
            }
            None => {}
        }
        self.forget_unwanted();
    }

    pub(super) fn ask_again(&mut self, topics: &[Topic]) {
        let mut waiting: Vec<SubscriptionId> = self
            .slots
            .iter()
            .filter(|(_, slot)| {
                self.members[**slot].as_ref().is_some_and(|member| {
                    topics.iter().any(|topic| {
                        member
                            .topics
                            .get(topic)
                            .is_some_and(|answer| answer.is(Standing::Pending))
                    })
                })
            })
            .map(|(id, _)| *id)
            .collect();
        // In the order they came: it decides who gets the last of what the venue grants.
        waiting.sort_unstable();
        for id in waiting {
            if !self.to_ask.contains(&id) {
                self.to_ask.push_back(id);
            }
        }
    }

    fn unsubscribed(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.entry(topic).upstream = Upstream::Absent;
        }
        // Somebody may have come back for one of them in the meantime.
        self.ask_again(topics);
        self.forget_unwanted();
    }

    /// The venue's word on topics, for every member that wants them.
    fn settle(&mut self, topics: &[Topic], upstream: Upstream, refusal: Option<Error>) {
        if topics.is_empty() {
            return;
        }
        let word = refusal.map_or(Word::Confirmed, Word::Refused);
        let mut slots = Vec::new();
        for topic in topics {
            let entry = self.entry(topic);
            entry.upstream = upstream;
            entry.covered = false;
            slots.extend_from_slice(&entry.members);
            // Those who wanted it left while it was asked for.
            let unwanted = entry.members.is_empty();
            self.unwanted |= unwanted;
            if upstream == Upstream::Confirmed {
                self.has_confirmed = true;
                self.clear_suspicion(topic);
                self.unmatched.confirmed();
            }
        }
        if upstream == Upstream::Confirmed {
            self.prove();
        }
        for slot in self.folds_first(slots) {
            self.answer(slot, topics, word.clone());
        }
        self.forget_unwanted();
    }

    pub(super) fn answer(&mut self, slot: usize, topics: &[Topic], word: Word) {
        let Some(member) = self.members[slot].as_mut() else {
            return;
        };
        let standing = word.standing();
        let mut news = Vec::new();
        for topic in topics {
            if let Some(answer) = member.topics.get_mut(topic) {
                answer.now = standing;
                if answer.told.replace(standing) != Some(standing) {
                    news.push(topic.clone());
                }
            }
        }
        self.tell(slot, news, Some(word));
    }

    /// Publishes a member's answers, and gives it notice of what is new.
    pub(super) fn tell(&mut self, slot: usize, mut news: Vec<Topic>, word: Option<Word>) {
        let Some(member) = self.members[slot].as_mut() else {
            return;
        };
        news.sort();
        if let Some(word) = word.as_ref().filter(|_| !news.is_empty()) {
            self.told.push(Told {
                correlation: member.correlation.clone(),
                topics: news.clone(),
                word: word.clone(),
            });
        }
        let queue = match &member.sink {
            Sink::Queue(queue) => queue,
            Sink::Fold(fold) => {
                let mut answers = member
                    .topics
                    .iter()
                    .map(|(topic, answer)| (topic, answer.now));
                let why = match &word {
                    Some(Word::Refused(error) | Word::Displaced(error)) => Some(error),
                    Some(Word::Confirmed) | None => None,
                };
                return fold.answers(member.version, &mut answers, why);
            }
        };
        let refusal = match &word {
            Some(Word::Refused(error)) => Some(error.clone()),
            _ => None,
        };
        if let Some(word) = word.filter(|_| !news.is_empty()) {
            queue.push_notice(word.notice(news));
        }
        let count = |standing| {
            member
                .topics
                .values()
                .filter(|answer| answer.is(standing))
                .count()
        };
        let (pending, confirmed) = (count(Standing::Pending), count(Standing::Confirmed));
        let any_refused = count(Standing::Refused) > 0;
        let version = member.version;
        queue.answer(|answers| {
            answers.version = version;
            answers.pending = pending;
            answers.confirmed = confirmed;
            answers.refused = if any_refused {
                refusal.or_else(|| answers.refused.take())
            } else {
                None
            };
        });
    }
}
