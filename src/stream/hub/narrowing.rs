//! Which topic of a request the venue objects to. A venue refuses a request as a whole, or closes the connection over it:
//! so the request is halved, and each half again, until the topic that it objects to stands alone. Of n topics that takes
//! about 2·log2(n) requests. The others are confirmed on the way.

use std::cmp::Reverse;

use super::{Asked, Hub, Word};
use crate::{
    error::{At, Error, Rejection, RejectionKind},
    phase::Phase,
    topic::Topic,
    venue::Routed,
};

/// What is known of a topic that was in a request which failed as a whole.
#[derive(Clone, Copy, Default)]
pub(super) struct Suspicion {
    /// No request may name the topic and more than so many together. Zero is no limit.
    at_most: u32,
    /// How many connections in a row ended while a request for it was unanswered.
    deaths: u8,
}

impl Suspicion {
    fn limit(self) -> usize {
        match self.at_most {
            0 => usize::MAX,
            limit => limit as usize,
        }
    }
}

impl<E: Routed> Hub<E> {
    /// The beginning of `topics` that one request may name. Those that no connection ended over come first: so others are
    /// confirmed before the request that the venue may close the connection over.
    pub(super) fn narrow(&self, mut topics: Vec<Topic>) -> Vec<Topic> {
        if !self.narrowing {
            return topics;
        }
        let suspicion = |topic: &Topic| {
            let entry = self.peek(topic);
            entry.map_or_else(Suspicion::default, |entry| entry.suspicion)
        };
        topics.sort_by_cached_key(|topic| {
            let suspicion = suspicion(topic);
            (suspicion.deaths, Reverse(suspicion.limit()), topic.clone())
        });
        let mut most = usize::MAX;
        let fit = topics.iter().enumerate().take_while(|(before, topic)| {
            most = most.min(suspicion(topic).limit());
            *before < most
        });
        let fit = fit.count();
        topics.truncate(fit);
        topics
    }

    /// The venue confirmed the topic: it objects to another.
    pub(super) fn clear_suspicion(&mut self, topic: &Topic) {
        self.entry(topic).suspicion = Suspicion::default();
    }

    /// The venue refused the request in flight. Says whether smaller ones take its place.
    pub(super) fn halve(&mut self, error: &Error) -> bool {
        let is_objection = matches!(error, Error::Refused { rejection, .. }
            if rejection.kind == RejectionKind::BadRequest);
        let topics = match &self.in_flight {
            Some(Asked::For(_, topics) | Asked::Restore(topics)) => topics.clone(),
            Some(Asked::Unsubscribe(_)) | None => return false,
        };
        if !is_objection || topics.len() < 2 {
            return false;
        }
        self.in_flight = None;
        self.suspect(&topics);
        for topic in &topics {
            self.entry(topic).upstream = super::Upstream::Absent;
        }
        self.ask_again(&topics);
        true
    }

    /// The connection ended before these topics of a request were answered for. That happens, and proves nothing. When
    /// the next connection ends the same way the request is halved. A topic that was asked for alone is refused then, if
    /// the venue had confirmed others on the connection: it is that topic that it closes the connection over.
    pub(super) fn died_with(&mut self, mut topics: Vec<Topic>, cause: &Error) {
        // Nobody may want some of them any more.
        topics.retain(|topic| self.peek(topic).is_some());
        let mut deaths = u8::MAX;
        for topic in &topics {
            let suspicion = &mut self.entry(topic).suspicion;
            suspicion.deaths = suspicion.deaths.saturating_add(1);
            deaths = deaths.min(suspicion.deaths);
        }
        self.narrowing |= !topics.is_empty();
        match &*topics {
            [] => {}
            // It has to have been part of a larger request that ended connections: that a line keeps dying before its
            // only topic is answered for says nothing of the topic.
            [alone] => {
                let was_narrowed = self.entry(alone).suspicion.at_most > 0;
                if was_narrowed && deaths >= DEATHS && self.has_confirmed {
                    self.refuse_for_deaths(alone, cause);
                }
            }
            _ if deaths >= DEATHS => self.suspect(&topics),
            _ => {}
        }
    }

    /// From here on requests with any of these name half as many.
    fn suspect(&mut self, topics: &[Topic]) {
        let half = u32::try_from(topics.len().div_ceil(2)).unwrap_or(u32::MAX);
        for topic in topics {
            self.entry(topic).suspicion = Suspicion {
                at_most: half,
                deaths: 0,
            };
        }
        self.narrowing = true;
    }

    fn refuse_for_deaths(&mut self, topic: &Topic, cause: &Error) {
        let why = format!(
            "{DEATHS} connections in a row ended when it was asked for alone: {}",
            cause.for_record()
        );
        let error = Error::Refused {
            at: At::new(&self.stream, Phase::Live),
            rejection: Rejection::new(RejectionKind::BadRequest, None, why),
        };
        self.entry(topic).suspicion.deaths = 0;
        let slots = self.entry(topic).members.to_vec();
        for slot in self.folds_first(slots) {
            self.answer(
                slot,
                std::slice::from_ref(topic),
                Word::Refused(error.clone()),
            );
        }
    }
}

/// So many connections have to end in a row before a request is taken for the cause.
const DEATHS: u8 = 2;
