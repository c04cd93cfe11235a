//! What is expected of each topic, and what follows where it does not come.
//!
//! A subscription says how often something has to arrive on each of its topics, or the venue says it. Whatever comes of other
//! topics says nothing of this one: the venue may have forgotten one symbol of thousands.
//!
//! ```text
//!  on time ──too late──▶ probed ──the line answers──▶ asked again ──still nothing──▶ the line is given up
//!     ▲                    │                              │                    └──▶ kept, where another line would
//!     └─── an event, or the market closes ─────────────────┘                         bring no more
//! ```
//! The first two steps cost the neighbors of a topic nothing. All of these times are trading time, which the caller measures.
//! No clock in here: time is an argument.

use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

use super::readers::Readers;
use crate::{clock, market::Timestamp, topic::Topic};

pub(super) struct Expectations {
    topics: HashMap<Topic, Expectation>,
    /// When to look at the topics that are on time: each when it could be late at the earliest.
    timers: BTreeSet<(Instant, Topic)>,
    /// Those that are not on time.
    late: BTreeSet<Topic>,
    /// The connection is live since then.
    connected: Instant,
    /// When the newest event of any topic was read on this connection.
    newest: Instant,
    /// Not before this are those that are late looked at again, if they are many.
    look_again: Instant,
    /// The shortest time within which something is expected of those that are late, as of the last look at them.
    least: Duration,
}

/// Of one topic.
struct Expectation {
    within: Duration,
    /// Somebody gets the topic.
    is_active: bool,
    /// What came later is what is expected.
    since: Instant,
    lateness: Lateness,
    /// When a connection was given up that brought nothing of it.
    gave_up: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Lateness {
    OnTime {
        look_at: Instant,
    },
    /// The line was probed when so many messages had been read of it.
    Probed {
        messages: u64,
    },
    /// Nothing, while nobody gets it: the venue has not been asked yet, or has not answered.
    AskedAgain {
        until: Option<Instant>,
    },
    /// It did not come, and the line was kept.
    Kept {
        look_at: Instant,
    },
}

/// How it stands with the connection, and with time.
pub(crate) struct Outlook<'a> {
    pub(crate) now: Instant,
    pub(crate) utc: Timestamp,
    pub(crate) is_trading: bool,
    /// How many messages of any kind were read on this connection.
    pub(crate) messages: u64,
    /// How long a topic may stay silent that was asked for again, once it is confirmed.
    pub(crate) patience: Duration,
    /// For how long something may still stay away that is expected so often, and came last at this time.
    pub(crate) left: &'a dyn Fn(Duration, Instant) -> Duration,
    /// Whether a connection may be given up for a topic. It is told whether anything of the topic came on it, and when one was
    /// given up for the topic before.
    pub(crate) may_give_up: &'a dyn Fn(bool, Option<Timestamp>) -> bool,
}

/// What follows from a look.
#[derive(Default)]
pub(crate) struct Missing {
    /// Topics that have just become late: the line is to be probed.
    pub(crate) late: Vec<Topic>,
    /// The line answers, and these are still silent: they are to be asked for again.
    pub(crate) to_ask: Vec<Topic>,
    /// These did not come after that, and the line is kept.
    pub(crate) kept: Vec<Topic>,
    /// The line is to be given up, for these.
    pub(crate) given_up: Vec<Topic>,
    /// Something is late, and for as long nothing has come on any topic.
    pub(crate) is_whole_line: bool,
    /// When to look again.
    pub(crate) next: Option<Instant>,
}

impl Expectations {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            topics: HashMap::new(),
            timers: BTreeSet::new(),
            late: BTreeSet::new(),
            connected: now,
            newest: now,
            look_again: now,
            least: Duration::MAX,
        }
    }

    /// How often something is expected of a topic that somebody gets.
    pub(super) fn within(&self, topic: &Topic) -> Option<Duration> {
        let expectation = self.topics.get(topic)?;
        expectation.is_active.then_some(expectation.within)
    }

    /// Whether anything is known of the topic, also while nobody gets it.
    pub(super) fn has(&self, topic: &Topic) -> bool {
        self.topics.contains_key(topic)
    }

    /// Somebody gets the topic, and something is expected of it so often.
    pub(super) fn expect(&mut self, topic: &Topic, within: Duration, now: Instant) {
        let within = within.max(LEAST);
        let expectation = self.topics.entry(topic.clone()).or_insert(Expectation {
            within,
            is_active: false,
            since: now,
            lateness: Lateness::OnTime { look_at: now },
            gave_up: None,
        });
        let was_active = std::mem::replace(&mut expectation.is_active, true);
        let had = std::mem::replace(&mut expectation.within, within);
        if let Lateness::OnTime { .. } = expectation.lateness
            && !(was_active && had == within)
        {
            if !was_active {
                expectation.since = now;
            }
            self.look_at(topic, now);
        }
    }

    /// Nobody gets the topic any more. It may be asked for again: then it is known how it stood.
    pub(super) fn pause(&mut self, topic: &Topic) {
        if let Some(expectation) = self.topics.get_mut(topic) {
            expectation.is_active = false;
            match &mut expectation.lateness {
                Lateness::OnTime { look_at } => {
                    self.timers.remove(&(*look_at, topic.clone()));
                }
                Lateness::AskedAgain { until } => *until = None,
                Lateness::Probed { .. } | Lateness::Kept { .. } => {}
            }
        }
    }

    /// Nothing is expected of the topic.
    pub(super) fn forget(&mut self, topic: &Topic) {
        self.pause(topic);
        self.topics.remove(topic);
        self.late.remove(topic);
    }

    /// A connection is live.
    pub(super) fn connected(&mut self, now: Instant) {
        self.connected = now;
        self.newest = now;
        self.look_again = now;
    }

    /// The connection is gone, and nobody gets anything any more.
    pub(super) fn disconnected(&mut self) {
        self.timers.clear();
        self.late.clear();
        self.least = Duration::MAX;
        for expectation in self.topics.values_mut() {
            expectation.is_active = false;
            expectation.lateness = Lateness::OnTime {
                look_at: self.connected,
            };
        }
    }

    /// Events were read.
    #[inline]
    pub(super) fn heard(&mut self, at: Instant) {
        self.newest = at;
    }

    /// The machine slept for so long, and the clock stood still meanwhile.
    pub(super) fn slept(&mut self, slept: Duration) {
        let move_back = |at: &mut Instant| *at = clock::before(*at, slept);
        self.timers.clear();
        for (topic, expectation) in &mut self.topics {
            move_back(&mut expectation.since);
            match &mut expectation.lateness {
                Lateness::OnTime { look_at } => {
                    move_back(look_at);
                    if expectation.is_active {
                        self.timers.insert((*look_at, topic.clone()));
                    }
                }
                Lateness::Kept { look_at } => move_back(look_at),
                // Nothing could arrive meanwhile. As a pong has, what was asked for has its time awake.
                Lateness::Probed { .. } | Lateness::AskedAgain { .. } => {}
            }
        }
        for at in [&mut self.connected, &mut self.newest, &mut self.look_again] {
            move_back(at);
        }
    }

    /// Whether something is late, so that whatever is read may end that.
    pub(super) fn is_any_late(&self) -> bool {
        !self.late.is_empty()
    }

    /// Looks at what is due, and at what is late.
    pub(super) fn look(&mut self, readers: &Readers, outlook: &Outlook<'_>) -> Missing {
        let mut missing = Missing::default();
        let looks_at_late = self.look_again <= outlook.now || self.late.len() <= FEW;
        if looks_at_late {
            self.least = Duration::MAX;
            for topic in self.late.clone() {
                self.look_at_late(&topic, readers, outlook, &mut missing);
            }
            let late = u32::try_from(self.late.len()).unwrap_or(u32::MAX);
            self.look_again = clock::after(outlook.now, LOOK_COSTS.saturating_mul(late));
        }
        while let Some((at, _)) = self.timers.first()
            && *at <= outlook.now
            && let Some((_, topic)) = self.timers.pop_first()
        {
            self.look_at_timely(topic, readers, outlook, &mut missing);
        }
        if !missing.given_up.is_empty() {
            self.given_up(readers, outlook.utc);
        }
        missing.is_whole_line =
            !self.late.is_empty() && (outlook.left)(self.least, self.newest).is_zero();
        let late = if looks_at_late {
            self.late_next()
        } else {
            Some(self.look_again)
        };
        let timely = self.timers.first().map(|(at, _)| *at);
        missing.next = late.into_iter().chain(timely).min();
        missing
    }

    /// One that is not known to be late.
    fn look_at_timely(
        &mut self,
        topic: Topic,
        readers: &Readers,
        outlook: &Outlook<'_>,
        missing: &mut Missing,
    ) {
        let Some(expectation) = self.topics.get_mut(&topic) else {
            return;
        };
        let heard = heard(&topic, readers);
        let newest = heard.map_or(expectation.since, |heard| heard.max(expectation.since));
        let left = (outlook.left)(expectation.within, newest);
        if left > Duration::ZERO {
            return self.look_at(&topic, clock::after(outlook.now, left));
        }
        // From here on only what comes later counts.
        expectation.since = newest;
        expectation.lateness = Lateness::Probed {
            messages: outlook.messages,
        };
        self.least = self.least.min(expectation.within);
        self.late.insert(topic.clone());
        missing.late.push(topic);
    }

    fn look_at_late(
        &mut self,
        topic: &Topic,
        readers: &Readers,
        outlook: &Outlook<'_>,
        missing: &mut Missing,
    ) {
        let Some(expectation) = self.topics.get_mut(topic) else {
            return;
        };
        let heard = heard(topic, readers);
        if !outlook.is_trading {
            // What did not come on this day is not missed on the next.
            expectation.since = outlook.now;
        }
        let has_come = heard.is_some_and(|heard| heard > expectation.since);
        // Whoever expected it so soon may have left.
        let has_time = !(outlook.left)(expectation.within, expectation.since).is_zero();
        if has_come || has_time || !outlook.is_trading {
            self.late.remove(topic);
            return self.look_at(topic, outlook.now);
        }
        self.least = self.least.min(expectation.within);
        let until = clock::after(outlook.now, outlook.patience);
        match &mut expectation.lateness {
            Lateness::Probed { messages }
                if expectation.is_active && outlook.messages > *messages =>
            {
                expectation.lateness = Lateness::AskedAgain { until: Some(until) };
                missing.to_ask.push(topic.clone());
            }
            Lateness::AskedAgain {
                until: not_yet @ None,
            } if expectation.is_active => {
                *not_yet = Some(until);
            }
            Lateness::AskedAgain { until: Some(until) } if *until <= outlook.now => {
                let came = heard.is_some_and(|heard| heard > self.connected);
                if (outlook.may_give_up)(came, expectation.gave_up) {
                    return missing.given_up.push(topic.clone());
                }
                expectation.lateness = Lateness::Kept {
                    look_at: clock::after(outlook.now, LOOK_AT_KEPT),
                };
                missing.kept.push(topic.clone());
            }
            Lateness::Kept { look_at } if *look_at <= outlook.now => {
                *look_at = clock::after(outlook.now, LOOK_AT_KEPT);
            }
            Lateness::OnTime { .. }
            | Lateness::Probed { .. }
            | Lateness::AskedAgain { .. }
            | Lateness::Kept { .. } => {}
        }
    }

    /// The connection is given up. Another is tried for all of which it brought nothing, not only for those that are late by now.
    fn given_up(&mut self, readers: &Readers, utc: Timestamp) {
        for (topic, expectation) in &mut self.topics {
            let came = heard(topic, readers).is_some_and(|heard| heard > self.connected);
            if self.late.contains(topic) || expectation.is_active && !came {
                expectation.gave_up = Some(utc);
            }
        }
    }

    /// When one of those that are late is due.
    fn late_next(&self) -> Option<Instant> {
        let late = self.late.iter().filter_map(|topic| self.topics.get(topic));
        let due = late.filter_map(|expectation| match expectation.lateness {
            Lateness::AskedAgain { until } => until,
            Lateness::Kept { look_at } => Some(look_at),
            Lateness::OnTime { .. } | Lateness::Probed { .. } => None,
        });
        due.min()
    }

    /// Has a topic looked at then that is on time.
    fn look_at(&mut self, topic: &Topic, at: Instant) {
        let Some(expectation) = self.topics.get_mut(topic) else {
            return;
        };
        if let Lateness::OnTime { look_at } = expectation.lateness {
            self.timers.remove(&(look_at, topic.clone()));
        }
        expectation.lateness = Lateness::OnTime { look_at: at };
        if expectation.is_active {
            self.timers.insert((at, topic.clone()));
        }
    }
}

/// When the newest event of a topic was read.
fn heard(topic: &Topic, readers: &Readers) -> Option<Instant> {
    readers.find(topic)?.heard.get()
}

/// Nothing can be expected more often. A line whose every event is late again at once would be pinged for each.
const LEAST: Duration = Duration::from_secs(1);
/// The market may close, after which nothing is missed: so often that is looked at.
const LOOK_AT_KEPT: Duration = Duration::from_secs(60);
/// Up to so many late topics are looked at in every turn, and more of them in so much time for each at the most.
const FEW: usize = 64;
const LOOK_COSTS: Duration = Duration::from_micros(20);

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
