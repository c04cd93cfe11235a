//! What members are told: of their topics, and why the line is not live.

use std::{
    collections::{BTreeMap, HashMap},
    time::{Duration, Instant},
};

use super::{HeldEvent, Seat, members::Member};
use crate::{
    correlation::CorrelationId,
    error::{Error, Remedy},
    event::{Gap, Notice},
    market::Timestamp,
    topic::Topic,
    venue::Routed,
};

/// What the news is told with.
pub(crate) struct Telling<'a> {
    /// A gap in some topics of a connection that goes on, but for its topics.
    pub(crate) gap: Gap,
    pub(crate) epoch: u64,
    pub(crate) at: Instant,
    pub(crate) now: Timestamp,
    pub(crate) asleep: Duration,
    /// The venue's own expectation of a topic.
    pub(crate) expects: &'a dyn Fn(&Topic) -> Option<Duration>,
}

/// Somebody was told of topics: for the records.
pub(crate) struct TopicRecord {
    /// Whose they are.
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) fate: TopicFate,
}

/// What became of topics.
#[derive(Clone)]
pub(crate) enum TopicFate {
    Confirmed,
    Refused(Error),
    /// Taken for a subscription that is worth more.
    Displaced(Error),
}

impl TopicFate {
    /// For a queue, which says whose it is when it is read.
    pub(super) fn notice(self, topics: Vec<Topic>) -> Notice {
        match self {
            Self::Confirmed => Notice::Confirmed { topics },
            Self::Refused(error) => Notice::Refused { topics, error },
            Self::Displaced(error) => Notice::Displaced { topics, error },
        }
    }
}

/// What one member is told of some of its topics at once.
pub(super) struct Announcement<E> {
    pub(super) seat: Seat,
    pub(super) what: Announced,
    pub(super) topics: Vec<Topic>,
    /// Events that were held back, by their numbers, and how many more there were.
    pub(super) given: BTreeMap<u64, HeldEvent<E>>,
    pub(super) missed: u64,
}

pub(super) enum Announced {
    Fate(TopicFate),
    /// Behind a gap, whose end is told by itself.
    ConfirmedAgain,
    Lost,
    /// All topics have their answers again.
    Resumed,
}

impl Announced {
    pub(super) fn is_confirmed(&self) -> bool {
        matches!(
            self,
            Self::Fate(TopicFate::Confirmed) | Self::ConfirmedAgain
        )
    }

    fn is_like(&self, other: &Self) -> bool {
        use TopicFate::{Confirmed, Displaced, Refused};
        match (self, other) {
            (Self::Fate(Confirmed), Self::Fate(Confirmed))
            | (Self::ConfirmedAgain, Self::ConfirmedAgain)
            | (Self::Lost, Self::Lost)
            | (Self::Resumed, Self::Resumed) => true,
            (Self::Fate(Refused(one)), Self::Fate(Refused(other)))
            | (Self::Fate(Displaced(one)), Self::Fate(Displaced(other))) => {
                one.code() == other.code() && one.to_string() == other.to_string()
            }
            _ => false,
        }
    }
}

/// News in the order in which it is told: for each member, what is alike and comes one after the other is told at once.
pub(super) struct Announcements<E> {
    list: Vec<Announcement<E>>,
    newest: HashMap<Seat, usize>,
}

impl<E> Announcements<E> {
    pub(super) fn new() -> Self {
        Self {
            list: Vec::new(),
            newest: HashMap::new(),
        }
    }

    pub(super) fn of(&mut self, seat: Seat, what: Announced) -> &mut Announcement<E> {
        let newest = self.newest.get(&seat).copied();
        let newest = newest.filter(|place| self.list[*place].what.is_like(&what));
        let place = newest.unwrap_or_else(|| {
            self.newest.insert(seat, self.list.len());
            self.list.push(Announcement {
                seat,
                what,
                topics: Vec::new(),
                given: BTreeMap::new(),
                missed: 0,
            });
            self.list.len() - 1
        });
        &mut self.list[place]
    }

    pub(super) fn into_list(self) -> Vec<Announcement<E>> {
        self.list
    }
}

/// Why the line is not live.
pub(crate) struct Outage {
    /// How many attempts have failed in a row.
    pub(crate) attempt: u32,
    /// Why the last one did.
    pub(crate) cause: Error,
    /// When the next one is due.
    pub(crate) retry_at: Instant,
}

impl Outage {
    /// What tells a new cause from one that was told: a proxy that is down and one that refuses a login have one code.
    pub(super) fn kind(&self) -> (&'static str, Remedy) {
        (self.cause.code(), self.cause.remedy())
    }

    /// Tells a member, once for each cause.
    pub(super) fn tell<E: Routed>(&self, member: &mut Member<E>, now: Instant) {
        let kind = self.kind();
        if member.told_causes.contains(&kind) {
            return;
        }
        member.told_causes.push(kind);
        member.sink.notice(|| Notice::NotLive {
            attempt: self.attempt,
            cause: self.cause.clone(),
            retry_in: self.retry_at.saturating_duration_since(now),
        });
    }
}
