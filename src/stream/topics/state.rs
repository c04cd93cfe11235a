//! One topic: what the venue does with it, as far as is known, and what follows from that for those who read it.

use std::{cmp::Reverse, time::Instant};

use smallvec::SmallVec;

use super::SubscriptionId;
use crate::{
    correlation::CorrelationId,
    error::Error,
    topic::Topic,
    venue::{RequestId, Verb},
};

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Upstream {
    #[default]
    Absent,
    Asked,
    Confirmed,
    Leaving,
    Unknown,
}

/// What a reader should be told.
pub(super) enum Standing<'a> {
    Pending,
    Confirmed,
    Refused(&'a TopicRefusal),
    NoRoom,
}

/// Why a topic is not sent to those who want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    /// The venue said so.
    Said,
    /// The venue refused something, and perhaps it was another request, or another topic's fault.
    Guessed,
    /// A full state shows its neighbours and not the topic.
    LeftOut,
    /// The venue answered other requests, and never those for the topic.
    NoAnswer,
    /// Connections ended when it was asked for alone.
    Closed,
    /// The plan is full, and nobody is worth less.
    NoRoom,
}

pub(super) struct TopicRefusal {
    pub(super) cause: Cause,
    pub(super) error: Error,
    pub(super) at: Instant,
}

/// What a reader's wish is worth: more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct ReaderWorth {
    pub(super) priority: i32,
    pub(super) seniority: Reverse<u64>,
}

/// In which order topics are asked for: the least is the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Turn {
    /// Zero, unless connections ended over it.
    pub(super) deaths: u8,
    pub(super) priority: Reverse<i32>,
    pub(super) arrival: u64,
    /// Of one subscription, those under suspicion stand together in front: who came first keeps their place while a request that
    /// was too much is narrowed down.
    pub(super) at_most: u32,
    pub(super) topic: Topic,
}

/// Where a topic waits for the stream's thread. `refile` alone derives it, so nothing ever has to be searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    #[default]
    Nowhere,
    ToAsk(Turn),
    /// There is no room, and its readers know.
    Waiting(Turn),
    ToReturn,
    /// To be looked at again at this time.
    Resting(Instant),
}

/// What is known of a topic that was in a request which failed as a whole. Such a request is halved, and each half again, until
/// the topic that the venue objects to stands alone: of n topics that takes about 2·log2(n) requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Suspicion {
    /// No request may name the topic and more than so many together.
    pub(super) at_most: u32,
    /// How many connections in a row ended while a request for it was unanswered.
    pub(super) deaths: u8,
    /// Connections ended over it: it is asked for after all others, when nothing else is in flight, and nobody gives way for it.
    pub(super) is_deadly: bool,
}

impl Suspicion {
    pub(super) const NONE: Self = Self {
        at_most: u32::MAX,
        deaths: 0,
        is_deadly: false,
    };

    /// Those over which fewer connections ended are asked for first: so others are confirmed before a connection ends again.
    pub(super) fn rank(self) -> u8 {
        if self.is_deadly {
            self.deaths.saturating_add(1)
        } else {
            0
        }
    }
}

/// One topic.
pub(super) struct TopicState {
    pub(super) upstream: Upstream,
    /// The last request that named it.
    pub(super) last: Option<(RequestId, Verb)>,
    pub(super) readers: SmallVec<[(ReaderWorth, SubscriptionId); 1]>,
    pub(super) refused: Option<Box<TopicRefusal>>,
    /// There is no room for it, or it had to make room.
    pub(super) no_room: bool,
    /// Who took its place, and with which priority.
    pub(super) displaced_by: Option<(Option<CorrelationId>, i32)>,
    pub(super) builds: bool,
    /// To be given back and asked for anew: a part of it was missed, or somebody joined who has not seen what it builds on.
    pub(super) restart: bool,
    /// The router holds its events back.
    pub(super) held: bool,
    /// It was asked for, and there was no answer in time.
    pub(super) unanswered: bool,
    /// How often that was followed by an answered taking back.
    pub(super) misses: u8,
    pub(super) suspicion: Suspicion,
    pub(super) place: Place,
}

impl Default for TopicState {
    fn default() -> Self {
        Self {
            upstream: Upstream::Absent,
            last: None,
            readers: SmallVec::new(),
            refused: None,
            no_room: false,
            displaced_by: None,
            builds: false,
            restart: false,
            held: false,
            unanswered: false,
            misses: 0,
            suspicion: Suspicion::NONE,
            place: Place::Nowhere,
        }
    }
}

impl TopicState {
    pub(super) fn standing(&self) -> Standing<'_> {
        match (self.upstream, &self.refused) {
            (Upstream::Confirmed, _) if !self.restart => Standing::Confirmed,
            (Upstream::Confirmed, _) => Standing::Pending,
            (_, Some(refusal)) => Standing::Refused(refusal),
            _ if self.no_room => Standing::NoRoom,
            _ => Standing::Pending,
        }
    }

    /// Whether events of it may be held back for a request that is not answered.
    pub(super) fn is_held(&self) -> bool {
        self.held && matches!(self.upstream, Upstream::Asked | Upstream::Unknown)
    }

    pub(super) fn best(&self) -> Option<ReaderWorth> {
        self.readers.iter().map(|(worth, _)| *worth).max()
    }
}
