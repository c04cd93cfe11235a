//! What becomes of a topic: the steps from one state to another.

use std::time::Instant;

use super::{
    TableNews, TopicTable,
    state::{Cause, Suspicion, TopicRefusal, TopicState, Upstream},
    wildcard,
};
use crate::{
    error::{At, Error, ErrorKind, Rejection, RejectionKind},
    event::Concerns,
    phase::Phase,
    topic::Topic,
    venue::Verb,
};

impl TopicTable {
    pub(super) fn entry(&mut self, topic: &Topic) -> &mut TopicState {
        if !self.topics.contains_key(topic) {
            self.count_in(topic);
            self.topics.insert(topic.clone(), TopicState::default());
        }
        self.topics.get_mut(topic).expect("it was inserted")
    }

    /// The only way from one upstream state to another.
    pub(super) fn move_to(&mut self, topic: &Topic, to: Upstream) {
        use Upstream::{Absent, Asked, Confirmed, Leaving, Unknown};
        let hash = self.hash(topic);
        let entry = self.entry(topic);
        let from = std::mem::replace(&mut entry.upstream, to);
        // Whoever asks for it next begins it anew.
        entry.restart &= to != Absent;
        let last = entry.last;
        let begins_hold = to == Asked && !entry.held;
        entry.held |= begins_hold;
        if from == Confirmed {
            self.confirmed.remove(hash);
        }
        if to == Confirmed {
            self.confirmed.add(hash);
            #[cfg(test)]
            (self.served += usize::from(!self.has_confirmed));
            self.has_confirmed = true;
        }
        if begins_hold {
            self.announce(None, TableNews::Hold(topic.clone()));
        }
        if matches!(from, Asked | Leaving | Unknown)
            && to != Unknown
            && let Some((id, _)) = last
        {
            self.answered(id);
        }
        self.tell_all(topic);
        let entry = self.entry(topic);
        if matches!(to, Absent | Confirmed | Leaving) && std::mem::replace(&mut entry.held, false) {
            self.announce(None, TableNews::Settled(topic.clone()));
        }
        self.refile(topic);
    }

    /// Forgets that a topic was refused, or that there was no room. It is asked for again, without neighbours that it could harm.
    pub(super) fn asked_anew(&mut self, topic: &Topic) {
        let entry = self.entry(topic);
        entry.no_room = false;
        if entry.refused.take().is_some() {
            entry.suspicion.at_most = 1;
        }
        self.refile(topic);
    }

    pub(super) fn refuse(&mut self, topic: &Topic, cause: Cause, error: Error, now: Instant) {
        let entry = self.entry(topic);
        entry.refused = Some(Box::new(TopicRefusal {
            cause,
            error,
            at: now,
        }));
        entry.unanswered = false;
        // Once nothing was heard of it, one more miss is enough.
        entry.misses = u8::from(matches!(cause, Cause::LeftOut | Cause::NoAnswer));
        entry.suspicion = Suspicion::NONE;
        self.move_to(topic, Upstream::Absent);
    }

    /// The connection ended before these topics were answered for. That happens, and proves nothing. When the next connection ends
    /// the same way the request is halved. A topic that was asked for alone then, and over which connections end although the
    /// venue confirms others, is refused.
    pub(super) fn died_with(&mut self, mut topics: Vec<Topic>, cause: &Error, now: Instant) {
        topics.retain(|topic| self.topics.contains_key(topic));
        let mut deaths = u8::MAX;
        for topic in &topics {
            let suspicion = &mut self.entry(topic).suspicion;
            suspicion.deaths = suspicion.deaths.saturating_add(1);
            deaths = deaths.min(suspicion.deaths);
            self.refile(topic);
        }
        if deaths < DEATHS {
            return;
        }
        for topic in &topics {
            self.entry(topic).suspicion.is_deadly = true;
        }
        match &*topics {
            [] => {}
            [alone] if self.entry(alone).suspicion.at_most == 1 => {
                // A line that dies before it confirms anything says nothing of the topic.
                if self.has_confirmed {
                    let why = format!(
                        "{DEATHS} connections in a row ended when it was asked for alone: {}",
                        cause.for_record()
                    );
                    let error = self.refusal_error(why);
                    self.refuse(alone, Cause::Closed, error, now);
                }
            }
            _ => self.halve(&topics),
        }
    }

    /// From here on requests with any of these name half as many.
    pub(super) fn halve(&mut self, topics: &[Topic]) {
        let half = u32::try_from(topics.len().div_ceil(2)).unwrap_or(u32::MAX);
        for topic in topics {
            let suspicion = &mut self.entry(topic).suspicion;
            suspicion.at_most = half;
            suspicion.deaths = 0;
            self.refile(topic);
        }
    }

    pub(super) fn refusal_error(&self, why: String) -> Error {
        Error::new(
            At::new(&self.stream, Phase::Live),
            ErrorKind::Refused {
                rejection: Rejection::new(RejectionKind::BadRequest, why),
            },
        )
    }
}

/// A topic begins again.
impl TopicTable {
    /// Events of these topics build on each other, and one of them was missed. A wildcard may be what brings them.
    pub(crate) fn restart(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.restart_one(&wildcard(topic));
            self.restart_one(topic);
        }
    }

    /// Nothing comes of these topics. They alone are asked for again.
    pub(crate) fn ask_again(&mut self, topics: &[Topic]) {
        topics.iter().for_each(|topic| self.restart_one(topic));
    }

    /// Events of these topics never came. Those who read them are told by a gap, and read on; what builds on them begins anew.
    pub(crate) fn lost(&mut self, scope: &Concerns) {
        let of_channel = match scope {
            Concerns::Topic(lost) if lost.is_wildcard() => Some(lost.channel),
            Concerns::Channel(channel) => Some(*channel),
            Concerns::Topic(_) | Concerns::Everybody | Concerns::Nobody => None,
        };
        let topics: Vec<Topic> = match scope {
            // Of one symbol, as nearly all losses are: found without a walk.
            Concerns::Topic(lost) if !lost.is_wildcard() => vec![wildcard(lost), lost.clone()],
            Concerns::Nobody => Vec::new(),
            Concerns::Topic(_) | Concerns::Channel(_) | Concerns::Everybody => {
                let is_meant =
                    |topic: &&Topic| of_channel.is_none_or(|channel| topic.channel == channel);
                self.topics.keys().filter(is_meant).cloned().collect()
            }
        };
        for topic in &topics {
            // What is held of it may have the hole in it.
            self.hold_anew(topic);
            match self.topics.get(topic) {
                Some(entry) if entry.builds => self.restart_one(topic),
                Some(_) => self.interrupt(topic),
                None => {}
            }
        }
    }

    /// As [`restart`](Self::restart), for those of these topics whose events build on each other.
    pub(crate) fn restart_built(&mut self, topics: &[Topic]) {
        for topic in topics {
            if self.topics.get(topic).is_some_and(|entry| entry.builds) {
                self.restart_one(topic);
            }
        }
    }

    pub(super) fn restart_one(&mut self, topic: &Topic) {
        use Upstream::{Asked, Confirmed, Unknown};
        if let Some(entry) = self.topics.get_mut(topic)
            && matches!(entry.upstream, Asked | Confirmed | Unknown)
        {
            entry.restart = true;
            self.tell_all(topic);
            self.refile(topic);
        }
    }
}

/// A connection ends.
impl TopicTable {
    /// The connection is gone. Where it was live, `cause` says why: every subscription is told by a gap of the whole line, which is
    /// not the table's to make.
    pub(crate) fn disconnected(&mut self, cause: Option<&Error>, now: Instant) {
        self.connected = false;
        self.strikes = 0;
        self.struck_at = None;
        self.is_vague = false;
        let mut suspects = Vec::new();
        for request in std::mem::take(&mut self.outstanding) {
            if request.verb == Verb::Subscribe && !request.late {
                suspects.push(self.open_topics(&request));
            }
        }
        if let Some(plan) = &mut self.plan {
            plan.forget();
            self.recount();
        }
        let made = self.news.len();
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        for topic in topics {
            let entry = self.entry(&topic);
            // The next connection has heard of none of these requests, and answers none of them.
            entry.last = None;
            self.move_to(&topic, Upstream::Absent);
        }
        // The gap of the whole line stands for the losses of its topics.
        let mut index = 0;
        self.news.retain(|news| {
            index += 1;
            index <= made || !matches!(news, TableNews::Lost(..))
        });
        if let Some(cause) = cause {
            for (id, subscription) in &mut self.subscriptions {
                subscription.broken = true;
                self.broken.insert(*id);
            }
            suspects
                .into_iter()
                .for_each(|topics| self.died_with(topics, cause, now));
        }
        self.has_confirmed = false;
    }
}

/// So many connections have to end in a row before a request is taken for the cause.
const DEATHS: u8 = 2;
