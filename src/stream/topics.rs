//! The topic table: what is wanted of the venue, what the venue sends, and what each subscription was told. Pure: no clock, no
//! I/O, no lock of its own. [`Subscriptions`](super::subscriptions) keeps it under one.
//!
//! | column | belongs to | written by |
//! |---|---|---|
//! | wanted | a row: one topic of one subscription | callers |
//! | asked | the topic: [`Upstream`] | the stream's thread |
//! | standing | nobody: it follows from the topic, see [`TopicState::standing`](state::TopicState::standing) | |
//! | told | the row: [`Told`](rows::Told) | the stream's thread |
//!
//! News is the difference between standing and told, and [`TopicTable::tell`] alone makes it: nothing is lost in silence, and
//! nothing is said twice.
//!
//! # What the venue does with a topic, as far as is known
//! ```text
//!                subscribe sent           says yes
//!      Absent ───────────────────▶ Asked ──────────▶ Confirmed
//!       ▲ ▲ ▲                      │   │              │     │
//!       │ │ └── refused ───────────┘   │ no answer    │     │ unsubscribe sent: nobody wants it,
//!       │ │                            ▼ in time      │     ▼ it is displaced or begun again
//!       │ └── a full state made     Unknown ◀──────── │ ─ Leaving ── says gone ──▶ Absent
//!       │     later has it not       │  │  no answer   │
//!       │                            │  └── unsubscribe sent ──▶ Leaving
//!       │                            └───── a late yes ──▶ Confirmed
//!       └── the venue took it away, or the connection is gone (from any state)
//! ```
//! 1. Only what is Absent is asked for. Whatever is not Absent counts against the venue's plan.
//! 2. No answer is no verdict. A topic whose request was not answered in time is Unknown, and is taken back. If the taking back is
//!    answered and the asking was not, twice, the topic is refused.
//! 3. A full state is the truth of its moment, whoever it was meant for. Only a state that shows something new of a request proves
//!    that the venue handled the request, and that it leaves out for good what the state does not show.
//! 4. A refusal that names neither request nor topic proves nothing while several requests are unanswered: they all are Unknown.
//! 5. What the venue said is final until somebody asks anew. What was inferred from its silence is tried again.
//!
//! # In which order topics are asked for
//! Giving back comes first: it makes room. Then what no connection ended over, by priority, and who came first before who came
//! later. Where there is no room, a topic that is worth more takes the place of the lowest; what is being given back is waited
//! for. The readers of a topic that finds no room are told once, and it is asked for when there is room.

mod answers;
mod asking;
mod index;
mod moves;
mod plan;
mod rows;
mod state;
mod telling;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::{
    cell::OnceCell,
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::RandomState,
    time::{Duration, Instant},
};

use self::{
    index::{SetSum, Unit, UnitEntry},
    plan::Plan,
    rows::Subscriber,
    state::{TopicState, Turn, Upstream},
};
use crate::{
    error::Error,
    key::StreamKey,
    symbol_budget::{BudgetUse, SymbolBudget},
    topic::Topic,
    venue::RequestId,
};

/// One subscription of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriptionId(pub(super) u64);

impl SubscriptionId {
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

/// What the venue's own rules are.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits {
    /// How many topics one request may name.
    pub(crate) topics: usize,
    /// How many requests may wait for their answers.
    pub(crate) in_flight: usize,
    /// The venue answers for each topic by itself: a refusal that does not name one concerns one of them.
    pub(crate) per_topic: bool,
    /// How long an answer may take.
    pub(crate) timeout: Duration,
}

/// A topic that somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Wanted {
    pub(crate) topic: Topic,
    /// Its events build on each other: who comes later has to be given a beginning.
    pub(crate) builds: bool,
}

/// What readers, the router and the folds are told. They are told in this order, and each is true from then on.
#[derive(Clone, Debug)]
pub(crate) enum TableNews {
    /// The subscription wants the topic.
    Joined(SubscriptionId, Topic),
    /// Events of the topic follow. `again` says that a gap went before: the end of that is told by `Resumed`.
    Confirmed {
        id: SubscriptionId,
        topic: Topic,
        again: bool,
    },
    /// The topic had been confirmed, and no more of it comes for now.
    Lost(SubscriptionId, Topic),
    /// All topics of the subscription have an answer again.
    Resumed(SubscriptionId),
    Refused(SubscriptionId, Topic, Error),
    /// The topic made room for a subscription that is worth more.
    Displaced(SubscriptionId, Topic, Error),
    /// The subscription gave the topic up.
    Left(SubscriptionId, Topic),
    /// From here on events of the topic are held back until `Settled`. What is held of it so far is let go: it was sent for an
    /// earlier request.
    Hold(Topic),
    /// Nothing of the topic is held back any more.
    Settled(Topic),
}

/// Whether a subscription has what it wants.
pub(crate) enum Confirmation {
    Pending,
    Confirmed,
    /// One of its topics was refused, or displaced.
    Failed(Error),
}

/// See the module's documentation.
pub(crate) struct TopicTable {
    stream: StreamKey,
    limits: Limits,
    plan: Option<Plan>,
    subscriptions: BTreeMap<SubscriptionId, Subscriber>,
    /// In order, so that the same day is the same every time.
    topics: BTreeMap<Topic, TopicState>,
    units: HashMap<Unit, UnitEntry>,
    /// Requests without an answer, in the order in which they were made.
    outstanding: Vec<answers::Outstanding>,
    connected: bool,
    /// The venue confirmed something on this connection.
    has_confirmed: bool,
    /// How many connections it confirmed something on.
    #[cfg(test)]
    pub(crate) served: usize,
    /// Unsubscribe requests in a row that were not answered in time, and when that was known of the last of them.
    strikes: u32,
    struck_at: Option<Instant>,
    /// Some request of this connection was not answered in time: its answer may be taken for another's.
    is_vague: bool,
    /// Rows that callers have changed since the stream's thread looked.
    changed: BTreeSet<(SubscriptionId, Topic)>,
    /// Subscriptions that had a gap.
    broken: BTreeSet<SubscriptionId>,
    news: Vec<TableNews>,
    heard: answers::Heard,
    /// How much news was made, and how much of that has reached whom it concerns.
    made: u64,
    reached: u64,
    // What follows is derived from the topics.
    to_ask: BTreeSet<Turn>,
    waiting: BTreeSet<Turn>,
    to_return: BTreeSet<Topic>,
    resting: BTreeSet<(Instant, Topic)>,
    used: usize,
    granted: usize,
    confirmed: SetSum,
    /// What those are told that find no room, until that changes.
    full: OnceCell<Error>,
    hasher: RandomState,
    last_request: RequestId,
    arrivals: u64,
}

impl TopicTable {
    pub(crate) fn new(stream: &StreamKey) -> Self {
        Self {
            stream: stream.clone(),
            limits: Limits::default(),
            plan: None,
            subscriptions: BTreeMap::new(),
            topics: BTreeMap::new(),
            units: HashMap::new(),
            outstanding: Vec::new(),
            connected: false,
            has_confirmed: false,
            #[cfg(test)]
            served: 0,
            strikes: 0,
            struck_at: None,
            is_vague: false,
            changed: BTreeSet::new(),
            broken: BTreeSet::new(),
            news: Vec::new(),
            heard: answers::Heard::default(),
            made: 0,
            reached: 0,
            to_ask: BTreeSet::new(),
            waiting: BTreeSet::new(),
            to_return: BTreeSet::new(),
            resting: BTreeSet::new(),
            used: 0,
            granted: 0,
            confirmed: SetSum::default(),
            full: OnceCell::new(),
            hasher: RandomState::new(),
            last_request: RequestId(0),
            arrivals: 0,
        }
    }

    /// How many topics somebody wants, how many the venue sends, which of the wanted ones it does not send, and how much of
    /// its plan is used.
    pub(crate) fn overview(&self) -> (usize, usize, Vec<Topic>, Option<BudgetUse>) {
        let is_confirmed = |entry: &TopicState| entry.upstream == Upstream::Confirmed;
        let confirmed = self.topics.values().filter(|entry| is_confirmed(entry));
        let wanted = self
            .topics
            .iter()
            .filter(|(_, entry)| !entry.readers.is_empty());
        let missing = wanted.clone().filter(|(_, entry)| !is_confirmed(entry));
        let mut missing: Vec<Topic> = missing.map(|(topic, _)| topic.clone()).collect();
        missing.sort_unstable();
        let plan = self.plan.as_ref().map(|plan| BudgetUse {
            used: self.used,
            limit: plan.limit(),
            counts: plan.counts(),
        });
        (wanted.count(), confirmed.count(), missing, plan)
    }
}

/// For the stream's thread.
impl TopicTable {
    /// Before anything is taken over.
    pub(crate) fn set_rules(&mut self, limits: Limits, plan: Option<SymbolBudget>) {
        debug_assert!(self.topics.is_empty(), "what is counted by other rules");
        self.limits = limits;
        self.plan = plan.map(Plan::new);
    }

    pub(crate) fn connected(&mut self) {
        self.connected = true;
    }

    /// Whether the venue confirmed anything on this connection.
    pub(crate) fn has_confirmed(&self) -> bool {
        self.has_confirmed
    }

    /// Whether so many requests went unanswered that the connection is better replaced.
    pub(crate) fn is_deaf(&self) -> bool {
        self.strikes >= DEAF_AFTER
    }

    /// When [`tick`](Self::tick) or [`next`](Self::next) has something to do although nothing happened.
    pub(crate) fn deadline(&self) -> Option<Instant> {
        let requests = self.outstanding.iter().filter(|request| !request.late);
        let resting = self.resting.first().map(|(at, _)| *at);
        let expires = self.plan.as_ref().and_then(Plan::expires);
        requests
            .map(|request| request.deadline)
            .chain(expires.filter(|_| !self.waiting.is_empty()))
            .chain(resting)
            .min()
    }

    /// What has been decided since the last call, in the order in which everybody is to be told.
    pub(crate) fn take_news(&mut self) -> Vec<TableNews> {
        if self.connected {
            self.resume();
        }
        std::mem::take(&mut self.news)
    }

    /// The news that was taken has reached whom it concerns.
    pub(crate) fn reached(&mut self) {
        if self.news.is_empty() {
            self.reached = self.made;
        }
    }
}

fn wildcard(topic: &Topic) -> Topic {
    Topic::new(topic.channel, "*")
}

/// For how long a refusal holds for those who come later, and what was inferred or learned holds for everybody.
const HOLDS_FOR: Duration = Duration::from_secs(600);
/// So many unsubscribe requests in a row without an answer, and the line is given up. That a subscribe request is not answered may
/// be the fault of its topics.
const DEAF_AFTER: u32 = 2;
