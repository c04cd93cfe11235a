//! What the venue says of topics, and what follows from its silence.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{
    TableNews, TopicTable,
    state::{Cause, Suspicion, TopicState, Upstream},
    wildcard,
};
use crate::{
    clock,
    error::{At, Error, ErrorKind, Rejection, RejectionKind},
    phase::Phase,
    symbol_budget::Counts,
    topic::{Channel, Topic},
    venue::{Answer, RequestId, TopicAnswer, Verb},
};

/// What was found in what the venue said.
#[derive(Default)]
pub(crate) struct Heard {
    /// When the requests were made that have their answers.
    pub(crate) answered: Vec<Instant>,
    /// Refusals of no request, in words.
    pub(crate) unasked: Vec<String>,
}

impl Heard {
    fn unasked_topic(&mut self, topic: &Topic, rejection: &Rejection) {
        self.unasked.push(format!("{topic}: {rejection}"));
    }
}

/// A request without its answer.
pub(super) struct Outstanding {
    pub(super) id: RequestId,
    pub(super) verb: Verb,
    topics: Vec<Topic>,
    /// The channels of these, each with whether its wildcard is among them, and whether others are.
    channels: SmallVec<[(Channel, bool); 2]>,
    /// How many of them are not answered.
    open: usize,
    /// Refusals of one topic each that did not say which, and the last of them.
    refusals: (usize, Option<Rejection>),
    /// Connections ended over a topic of it: nothing else is asked for meanwhile, which would share the blame.
    pub(super) is_deadly: bool,
    sent: Instant,
    pub(super) deadline: Instant,
    /// Its time is over. The answer may still come.
    pub(super) late: bool,
}

impl Outstanding {
    pub(super) fn new(
        id: RequestId,
        verb: Verb,
        topics: Vec<Topic>,
        is_deadly: bool,
        sent: Instant,
        deadline: Instant,
    ) -> Self {
        let mut channels = SmallVec::new();
        for topic in &topics {
            let of = (topic.channel, topic.is_wildcard());
            if !channels.contains(&of) {
                channels.push(of);
            }
        }
        Self {
            id,
            verb,
            channels,
            open: topics.len(),
            topics,
            refusals: (0, None),
            is_deadly,
            sent,
            deadline,
            late: false,
        }
    }

    /// Whether a topic of it covers this one, or is covered by it.
    pub(super) fn overlaps(&self, topic: &Topic) -> bool {
        let overlaps = |&(channel, is_wildcard): &(Channel, bool)| {
            channel == topic.channel && (is_wildcard || topic.is_wildcard())
        };
        self.channels.iter().any(overlaps)
    }
}

impl TopicTable {
    /// All that one frame says. No request can be made in between.
    pub(crate) fn hear(&mut self, words: Vec<Answer>, now: Instant) -> Heard {
        if !words.is_empty() {
            self.strikes = 0;
        }
        for word in words {
            match word {
                Answer::State(listed) => self.hear_state(listed, now),
                Answer::Topic(topic, verdict, request) => {
                    self.hear_topic(&topic, verdict, request, now);
                }
                Answer::Request(request, answer) => self.hear_request(request, answer, now),
            }
            self.count_refusals(now);
        }
        std::mem::take(&mut self.heard)
    }

    fn hear_topic(
        &mut self,
        topic: &Topic,
        verdict: TopicAnswer,
        request: Option<RequestId>,
        now: Instant,
    ) {
        use Upstream::{Absent, Asked, Confirmed, Leaving, Unknown};
        if verdict == TopicAnswer::Unsubscribed {
            self.stopped(topic);
        }
        let Some(entry) = self.topics.get(topic) else {
            // The venue sends what nobody asked for. With a request it is an old answer.
            match verdict {
                TopicAnswer::Subscribed if request.is_none() => self.confirm(topic),
                TopicAnswer::Refused(rejection) => self.heard.unasked_topic(topic, &rejection),
                TopicAnswer::Subscribed | TopicAnswer::Unsubscribed => {}
            }
            return;
        };
        // The answer to an older request for the same topic says nothing of the newer one.
        let verb = match verdict {
            TopicAnswer::Subscribed | TopicAnswer::Refused(_) => Verb::Subscribe,
            TopicAnswer::Unsubscribed => Verb::Unsubscribe,
        };
        let is_current = entry.last.is_some_and(|(last_id, last_verb)| {
            last_verb == verb && request.is_none_or(|id| id == last_id)
        });
        let was_named = entry.last.is_some();
        match (verdict, entry.upstream) {
            (TopicAnswer::Subscribed, Asked | Unknown) if is_current => self.confirm(topic),
            (TopicAnswer::Subscribed, Absent) if is_current => self.confirm(topic),
            // Not asked for on this connection: it is news.
            (TopicAnswer::Subscribed, Absent) if request.is_none() && !was_named => {
                self.confirm(topic);
            }
            // Late, and an answer to a newer request may have come before.
            (TopicAnswer::Subscribed, Absent) if request.is_none() => self.move_to(topic, Unknown),
            (TopicAnswer::Unsubscribed, Leaving | Unknown) if is_current => self.absent(topic, now),
            (TopicAnswer::Unsubscribed, Confirmed) if request.is_none() => self.absent(topic, now),
            (TopicAnswer::Refused(rejection), Asked | Unknown) if is_current => {
                self.refused(std::slice::from_ref(topic), rejection, now);
            }
            (TopicAnswer::Refused(rejection), _) => self.heard.unasked_topic(topic, &rejection),
            _ => {}
        }
    }

    fn hear_request(
        &mut self,
        request: Option<RequestId>,
        answer: Result<(), Rejection>,
        now: Instant,
    ) {
        let index = match request {
            Some(id) => self.outstanding.iter().position(|other| other.id == id),
            // Nobody can say whose answer it is. All of the requests are Unknown, and what they were for is asked for again.
            None if self.outstanding.len() > 1 => {
                for request in std::mem::take(&mut self.outstanding) {
                    for topic in self.open_topics(&request) {
                        self.unanswered(&topic, request.verb);
                    }
                }
                return;
            }
            None => self.outstanding.len().checked_sub(1),
        };
        let Some(index) = index else {
            let unasked = answer.err().map(|rejection| rejection.to_string());
            self.heard.unasked.extend(unasked);
            return;
        };
        if let Err(rejection) = &answer
            && self.limits.per_topic
        {
            let refusals = &mut self.outstanding[index].refusals;
            *refusals = (refusals.0 + 1, Some(rejection.clone()));
            return;
        }
        let request = self.outstanding.remove(index);
        self.heard.answered.push(request.sent);
        let topics = self.open_topics(&request);
        if request.verb == Verb::Unsubscribe {
            request.topics.iter().for_each(|topic| self.stopped(topic));
        }
        match (answer, request.verb) {
            (Err(rejection), Verb::Subscribe) => self.refused(&topics, rejection, now),
            // The venue may go on sending them.
            (Err(_), Verb::Unsubscribe) => {
                topics
                    .iter()
                    .for_each(|topic| self.unanswered(topic, request.verb));
            }
            (Ok(()), Verb::Subscribe) => topics.iter().for_each(|topic| self.confirm(topic)),
            (Ok(()), Verb::Unsubscribe) => topics.iter().for_each(|topic| self.absent(topic, now)),
        }
    }

    /// Requests of which as many topics are left as were refused without a name: now it is known which.
    fn count_refusals(&mut self, now: Instant) {
        let is_known = |request: &Outstanding| request.refusals.0 >= request.open;
        let refused = |request: &Outstanding| request.refusals.0 > 0 && is_known(request);
        while let Some(index) = self.outstanding.iter().position(refused) {
            let request = self.outstanding.remove(index);
            let topics = self.open_topics(&request);
            for topic in &topics {
                match (request.verb, &request.refusals.1) {
                    (Verb::Subscribe, Some(rejection)) => {
                        self.refused(std::slice::from_ref(topic), rejection.clone(), now);
                    }
                    (verb, _) => self.unanswered(topic, verb),
                }
            }
        }
    }

    fn hear_state(&mut self, listed: Vec<Topic>, now: Instant) {
        let sum = self.sum(&listed);
        // The usual case: the state shows what is known, with or without what is in flight. A wildcard may stand for others.
        let has_wildcard = |topic: &Topic| {
            let wildcard = self.topics.get(&wildcard(topic));
            let is_sent = wildcard.is_some_and(|entry| entry.upstream == Upstream::Confirmed);
            is_sent || topic.is_wildcard()
        };
        match &self.outstanding[..] {
            [] if sum == self.confirmed => return,
            [request] if !request.late && !request.topics.iter().any(has_wildcard) => {
                let verb = request.verb;
                let topics = self.open_topics(request);
                let mut after = self.confirmed;
                topics.iter().for_each(|topic| after.add(self.hash(topic)));
                match verb {
                    Verb::Subscribe if sum == after => {
                        return topics.iter().for_each(|topic| self.confirm(topic));
                    }
                    Verb::Unsubscribe if sum == self.confirmed => {
                        return topics.iter().for_each(|topic| self.absent(topic, now));
                    }
                    // It was made before the request was handled.
                    _ if sum == self.confirmed || sum == after => return,
                    _ => {}
                }
            }
            _ => {}
        }
        self.reconcile(&listed.into_iter().collect(), now);
    }

    /// Compares a full state with all that is known.
    fn reconcile(&mut self, listed: &BTreeSet<Topic>, now: Instant) {
        use Upstream::{Absent, Asked, Confirmed, Leaving, Unknown};
        let is_covered =
            |topic: &Topic| listed.contains(topic) || listed.contains(&wildcard(topic));
        // The newest request that the state is known to be younger than, because it shows something new of it.
        let subscribes = self
            .outstanding
            .iter()
            .filter(|request| request.verb == Verb::Subscribe);
        let shows_new = |request: &&Outstanding| {
            let mut topics = self.open_topics(request).into_iter();
            topics.any(|topic| listed.contains(&topic))
        };
        let proven = subscribes
            .clone()
            .filter(shows_new)
            .map(|request| request.id)
            .max();
        // A wildcard that was there before proves nothing. It will do where there is nothing else to wait for.
        let is_done = |request: &&Outstanding| {
            request.open > 0 && self.open_topics(request).iter().all(is_covered)
        };
        let done: Vec<RequestId> = subscribes
            .filter(is_done)
            .map(|request| request.id)
            .collect();
        // Its own answer is still to come, and may be taken for another's.
        self.is_vague |= done.iter().any(|id| Some(*id) > proven);
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        for topic in topics {
            let Some(entry) = self.topics.get(&topic) else {
                continue;
            };
            let is_listed = listed.contains(&topic);
            let is_done = entry.last.is_some_and(|(id, _)| done.contains(&id));
            let is_proven = entry.last.is_some_and(|(id, _)| Some(id) <= proven);
            match entry.upstream {
                Asked | Unknown if is_listed || (is_covered(&topic) && (is_proven || is_done)) => {
                    self.confirm(&topic);
                }
                Asked if is_proven => {
                    let error = self.refusal_error("the venue left it out of its reply".to_owned());
                    self.refuse(&topic, Cause::LeftOut, error, now);
                }
                Unknown if is_proven => self.absent(&topic, now),
                Leaving if !is_listed => self.absent(&topic, now),
                Confirmed if !is_covered(&topic) => self.absent(&topic, now),
                // Listed late, or taken back by nobody.
                Absent if is_listed => self.confirm(&topic),
                Absent | Asked | Confirmed | Leaving | Unknown => {}
            }
        }
        for topic in listed {
            if !self.topics.contains_key(topic) {
                self.confirm(topic);
            }
        }
    }

    /// The venue sends it.
    fn confirm(&mut self, topic: &Topic) {
        let entry = self.entry(topic);
        entry.misses = 0;
        entry.unanswered = false;
        entry.refused = None;
        entry.no_room = false;
        entry.suspicion = Suspicion::NONE;
        // Nobody knows where an earlier subscription ended: what is held may be of that.
        let gives_back =
            |request: &Outstanding| request.verb == Verb::Unsubscribe && request.overlaps(topic);
        let is_unclear = self.outstanding.iter().any(gives_back);
        if is_unclear {
            self.hold_anew(topic);
        }
        // Where its beginning was not held back, it begins again before anybody is given it.
        let entry = self.entry(topic);
        let has_beginning = entry.held && !is_unclear;
        entry.restart |= entry.builds && !has_beginning && !entry.readers.is_empty();
        self.move_to(topic, Upstream::Confirmed);
        if let Some(plan) = &mut self.plan {
            plan.granted(self.granted);
        }
    }

    /// The venue does not send it.
    fn absent(&mut self, topic: &Topic, now: Instant) {
        self.stopped(topic);
        let entry = self.entry(topic);
        if std::mem::take(&mut entry.unanswered) {
            entry.misses += 1;
            if entry.misses >= 2 {
                let error = Error::new(
                    At::new(&self.stream, Phase::Live),
                    ErrorKind::Refused {
                        rejection: Rejection::new(
                            RejectionKind::Temporary,
                            format!(
                                "the venue did not answer within {:?}, twice",
                                self.limits.timeout
                            ),
                        ),
                    },
                );
                return self.refuse(topic, Cause::NoAnswer, error, now);
            }
        }
        self.move_to(topic, Upstream::Absent);
    }

    /// A request, or one topic of it, was refused.
    fn refused(&mut self, topics: &[Topic], rejection: Rejection, now: Instant) {
        let is_limit = rejection.kind == RejectionKind::SymbolLimit;
        let has_learned = is_limit && self.learn(topics, &rejection, now);
        if let [topic] = topics
            && !has_learned
        {
            let at = At::new(&self.stream, Phase::Live);
            let error = Error::new(at, ErrorKind::Refused { rejection });
            let is_sure = !is_limit && !self.is_vague;
            let cause = if is_sure { Cause::Said } else { Cause::Guessed };
            return self.refuse(topic, cause, error, now);
        }
        if !has_learned {
            self.halve(topics);
        }
        topics
            .iter()
            .for_each(|topic| self.move_to(topic, Upstream::Absent));
    }

    /// The venue refused these for its limit. Says whether less of it is to be asked for. A wildcard is no symbol, and whether
    /// the plan grants it has nothing to do with their number: it is asked for alone.
    fn learn(&mut self, topics: &[Topic], said: &Rejection, now: Instant) -> bool {
        if self.plan.is_none() {
            return false;
        }
        if topics.iter().any(Topic::is_wildcard) {
            for topic in topics.iter().filter(|topic| topic.is_wildcard()) {
                self.entry(topic).suspicion.at_most = 1;
            }
            return topics.len() > 1;
        }
        let used = self.used;
        let Some(plan) = &mut self.plan else {
            return false;
        };
        if plan.refused(used, said, now) {
            return true;
        }
        if plan.counts() == Counts::Topics {
            return false;
        }
        let is_granted = |(topic, entry): &(&Topic, &TopicState)| {
            entry.upstream == Upstream::Confirmed && !topic.is_wildcard()
        };
        plan.count_topics(self.topics.iter().filter(is_granted).count());
        self.recount();
        let used = self.used;
        let plan = self.plan.as_mut();
        plan.is_some_and(|plan| plan.refused(used, said, now))
    }

    /// Requests whose time is over. Says whether there were any.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let mut is_late = false;
        let is_due = |request: &Outstanding| !request.late && request.deadline <= now;
        while let Some(index) = self.outstanding.iter().position(is_due) {
            let topics = self.open_topics(&self.outstanding[index]);
            let request = &mut self.outstanding[index];
            let (verb, sent) = (request.verb, request.sent);
            request.late = true;
            self.is_vague = true;
            // Of requests that waited at the same time the second says no more than the first.
            let is_next = self.struck_at.is_none_or(|at| at <= sent);
            if verb == Verb::Unsubscribe && is_next {
                self.strikes += 1;
                self.struck_at = Some(now);
            }
            topics.iter().for_each(|topic| self.unanswered(topic, verb));
            is_late = true;
        }
        is_late
    }

    /// The machine slept for so long, and the clock stood still meanwhile.
    pub(crate) fn slept(&mut self, slept: Duration) {
        for request in &mut self.outstanding {
            request.sent = clock::before(request.sent, slept);
            request.deadline = clock::before(request.deadline, slept);
        }
    }

    fn unanswered(&mut self, topic: &Topic, verb: Verb) {
        self.entry(topic).unanswered |= verb == Verb::Subscribe;
        self.move_to(topic, Upstream::Unknown);
    }

    /// What a request named and was not answered for.
    pub(super) fn open_topics(&self, request: &Outstanding) -> Vec<Topic> {
        use Upstream::{Asked, Leaving, Unknown};
        let is_open = |topic: &&Topic| {
            self.topics.get(topic).is_some_and(|entry| {
                entry.last.is_some_and(|(id, _)| id == request.id)
                    && matches!(entry.upstream, Asked | Leaving | Unknown)
            })
        };
        request.topics.iter().filter(is_open).cloned().collect()
    }

    /// One topic of this request has its answer, or needs none because it is asked for otherwise.
    pub(super) fn answered(&mut self, id: RequestId) {
        let index = self.outstanding.iter().position(|request| request.id == id);
        if let Some(index) = index {
            let request = &mut self.outstanding[index];
            request.open -= 1;
            if request.open == 0 {
                let request = self.outstanding.remove(index);
                self.heard.answered.push(request.sent);
            }
        }
    }

    // ---- what is held back ----

    /// Up to here, events that this topic covers or that cover it may have been sent for it. The others may have been sent
    /// already for what is asked for: where events build on each other, the first of them is let go with the rest.
    fn stopped(&mut self, topic: &Topic) {
        let overlapping = if topic.is_wildcard() {
            let asked = self.outstanding.iter().flat_map(|request| &request.topics);
            let covered = asked.filter(|other| other.channel == topic.channel);
            covered.cloned().collect()
        } else {
            vec![wildcard(topic)]
        };
        for topic in &overlapping {
            self.hold_anew(topic);
            if let Some(entry) = self.topics.get_mut(topic)
                && entry.is_held()
            {
                entry.restart |= entry.builds;
            }
        }
    }

    /// The venue said something that shows that it does not send the topic yet. What is held of it was sent for an earlier
    /// subscription or for a wildcard, and a hole may follow.
    pub(super) fn hold_anew(&mut self, topic: &Topic) {
        if self.topics.get(topic).is_some_and(TopicState::is_held) {
            self.announce(None, TableNews::Hold(topic.clone()));
        }
    }
}
