//! The topic table: what is wanted of the venue, what the venue sends, and what each subscription was told. Pure: no clock, no
//! I/O, no lock of its own. [`Subscriptions`](super::subscriptions) keeps it under one.
//!
//! | column | belongs to | written by |
//! |---|---|---|
//! | wanted | a row: one topic of one subscription | callers |
//! | asked | the topic: [`Upstream`] | the stream's thread |
//! | standing | nobody: it follows from the topic, see [`Entry::standing`] | |
//! | told | the row: [`Told`] | the stream's thread |
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
//! Giving back comes first: it makes room. Then what no connection ended over, by priority; what readers had before a break
//! comes before what is new, and who came first before who came later. Where there is no room, a topic that is worth more takes the
//! place of the lowest. A topic that finds no room is told once, and is asked for when there is room.

mod answers;
mod asking;
mod plan;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::{
    cell::OnceCell,
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    time::{Duration, Instant},
};

use smallvec::SmallVec;

pub(crate) use self::answers::Word;
use self::plan::Plan;
pub(crate) use crate::venue::Verb;
use crate::{
    clock,
    correlation::CorrelationId,
    error::{At, Error, Rejection, RejectionKind},
    event::Concerns,
    key::StreamKey,
    market::Symbol,
    phase::Phase,
    symbol_budget::{BudgetUse, Counts, SymbolBudget},
    topic::{Channel, Topic},
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
pub(crate) enum News {
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Upstream {
    #[default]
    Absent,
    Asked,
    Confirmed,
    Leaving,
    Unknown,
}

/// What a reader was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Told {
    Nothing,
    Confirmed,
    /// A gap was declared, and its end was not.
    Lost,
    Refused(Cause),
    Displaced,
}

/// What a reader should be told.
enum Standing<'a> {
    Pending,
    Confirmed,
    Refused(&'a Refusal),
    NoRoom,
}

/// Why a topic is not sent to those who want it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
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

struct Refusal {
    cause: Cause,
    error: Error,
    at: Instant,
}

/// What a reader's wish is worth: more is better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Worth {
    priority: i32,
    seniority: Reverse<u64>,
}

/// In which order topics are asked for: the least is the first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Turn {
    /// Zero, unless connections ended over it.
    deaths: u8,
    priority: Reverse<i32>,
    is_new: bool,
    arrival: u64,
    /// Of one subscription, those under suspicion stand together in front: who came first keeps their place while a request that
    /// was too much is narrowed down.
    at_most: u32,
    topic: Topic,
}

/// Where a topic waits for the stream's thread. `refile` alone derives it, so nothing ever has to be searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
enum Place {
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
struct Suspicion {
    /// No request may name the topic and more than so many together.
    at_most: u32,
    /// How many connections in a row ended while a request for it was unanswered.
    deaths: u8,
    /// Connections ended over it: it is asked for after all others, with nothing else in flight, and nobody gives way for it.
    is_deadly: bool,
}

impl Suspicion {
    const NONE: Self = Self {
        at_most: u32::MAX,
        deaths: 0,
        is_deadly: false,
    };

    /// Those over which fewer connections ended are asked for first: so others are confirmed before a connection ends again.
    fn rank(self) -> u8 {
        if self.is_deadly {
            self.deaths.saturating_add(1)
        } else {
            0
        }
    }
}

/// One topic.
struct Entry {
    upstream: Upstream,
    /// The last request that named it.
    last: Option<(RequestId, Verb)>,
    readers: SmallVec<[(Worth, SubscriptionId); 1]>,
    refused: Option<Box<Refusal>>,
    /// There is no room for it, or it had to make room.
    no_room: bool,
    /// Who took its place, and with which priority.
    displaced_by: Option<(Option<CorrelationId>, i32)>,
    builds: bool,
    /// To be given back and asked for anew: a part of it was missed, or somebody joined who has not seen what it builds on.
    restart: bool,
    /// Confirmed by the wildcard of its channel, which a full state lists in its place: it goes with that.
    covered: bool,
    /// The router holds its events back.
    held: bool,
    /// It was asked for, and there was no answer in time.
    unanswered: bool,
    /// How often that was followed by an answered taking back.
    misses: u8,
    suspicion: Suspicion,
    /// Readers that were told `Lost`.
    lost: usize,
    place: Place,
}

impl Default for Entry {
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
            covered: false,
            held: false,
            unanswered: false,
            misses: 0,
            suspicion: Suspicion::NONE,
            lost: 0,
            place: Place::Nowhere,
        }
    }
}

impl Entry {
    fn standing(&self) -> Standing<'_> {
        match (self.upstream, &self.refused) {
            (Upstream::Confirmed, _) if !self.restart => Standing::Confirmed,
            (Upstream::Confirmed, _) => Standing::Pending,
            (_, Some(refusal)) => Standing::Refused(refusal),
            _ if self.no_room => Standing::NoRoom,
            _ => Standing::Pending,
        }
    }

    fn best(&self) -> Option<Worth> {
        self.readers.iter().map(|(worth, _)| *worth).max()
    }

    fn was_last(&self, verb: Verb) -> bool {
        self.last.is_some_and(|(_, last)| last == verb)
    }
}

/// One topic of one subscription. It exists until it is neither wanted nor read.
struct Row {
    wanted: bool,
    /// Given up and wanted again before the stream's thread looked: the reader begins anew.
    rejoined: bool,
    /// Refused, and wanted anew.
    anew: bool,
    builds: bool,
    /// Its place among the topic's readers.
    seat: Option<Worth>,
    told: Told,
    /// Why it was refused or displaced.
    why: Option<Box<Error>>,
}

impl Row {
    fn is_unsettled(&self) -> bool {
        self.wanted && (self.rejoined || matches!(self.told, Told::Nothing | Told::Lost))
    }

    fn has_failed(&self) -> bool {
        self.wanted && !self.rejoined && matches!(self.told, Told::Refused(_) | Told::Displaced)
    }
}

struct Subscription {
    correlation: Option<CorrelationId>,
    priority: i32,
    dropped: bool,
    rows: HashMap<Topic, Row>,
    wanted: usize,
    /// Rows that are wanted and have no answer.
    unsettled: usize,
    /// Rows that are wanted and were refused or displaced.
    failed: usize,
    /// A gap was declared, and its end was not.
    broken: bool,
    /// The number of the last news that concerned it.
    news: u64,
}

impl Subscription {
    /// Changes a row, and counts what it is afterwards.
    fn change<R>(&mut self, topic: &Topic, change: impl FnOnce(&mut Row) -> R) -> Option<R> {
        let row = self.rows.get_mut(topic)?;
        let counted =
            |row: &Row| [row.wanted, row.is_unsettled(), row.has_failed()].map(usize::from);
        let before = counted(row);
        let result = change(row);
        let after = counted(row);
        let counts = [&mut self.wanted, &mut self.unsettled, &mut self.failed];
        for ((count, before), after) in counts.into_iter().zip(before).zip(after) {
            *count = *count + after - before;
        }
        Some(result)
    }
}

/// What counts as one against the plan. Wildcards do not count.
type Unit = (Option<Channel>, Symbol);

#[derive(Default)]
struct UnitEntry {
    topics: SmallVec<[Topic; 2]>,
    counted: Counted,
}

/// What a unit adds to the numbers of the plan.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
struct Counted {
    /// Something of it is not Absent.
    used: bool,
    /// All that is used of it is being given back.
    departing: bool,
    /// The venue confirmed something of it by name.
    granted: bool,
    /// More than a wildcard brings it: another topic of it takes no room.
    solid: bool,
}

/// A sum over a set of topics: equal sets have equal sums, and others practically never, because the hash has a random key. With
/// it a full state that changes nothing else costs one pass over its list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct SetSum {
    count: usize,
    /// How many of them are no wildcards.
    named: usize,
    sum: u64,
}

impl SetSum {
    fn add(&mut self, topic: &Topic, hash: u64) {
        self.count += 1;
        self.named += usize::from(!topic.is_wildcard());
        self.sum = self.sum.wrapping_add(hash);
    }

    fn remove(&mut self, topic: &Topic, hash: u64) {
        self.count -= 1;
        self.named -= usize::from(!topic.is_wildcard());
        self.sum = self.sum.wrapping_sub(hash);
    }
}

pub(crate) struct TopicTable {
    stream: StreamKey,
    limits: Limits,
    plan: Option<Plan>,
    subscriptions: BTreeMap<SubscriptionId, Subscription>,
    /// In order, so that the same day is the same every time.
    topics: BTreeMap<Topic, Entry>,
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
    news: Vec<News>,
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
    departing: usize,
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
            departing: 0,
            granted: 0,
            confirmed: SetSum::default(),
            full: OnceCell::new(),
            hasher: RandomState::new(),
            last_request: RequestId(0),
            arrivals: 0,
        }
    }
}

/// For callers. They write what is wanted, and nothing else.
impl TopicTable {
    pub(crate) fn subscribe(
        &mut self,
        id: SubscriptionId,
        priority: i32,
        correlation: Option<CorrelationId>,
        topics: Vec<Wanted>,
    ) {
        let subscription = Subscription {
            correlation,
            priority,
            dropped: false,
            rows: HashMap::new(),
            wanted: 0,
            unsettled: 0,
            failed: 0,
            broken: false,
            news: 0,
        };
        self.subscriptions.insert(id, subscription);
        self.add(id, topics);
    }

    /// Adds topics, and asks anew for those of the subscription that were refused.
    pub(crate) fn add(&mut self, id: SubscriptionId, topics: Vec<Wanted>) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        for Wanted { topic, builds } in topics {
            subscription.rows.entry(topic.clone()).or_insert(Row {
                wanted: false,
                rejoined: false,
                anew: false,
                builds,
                seat: None,
                told: Told::Nothing,
                why: None,
            });
            let is_new = subscription.change(&topic, |row| {
                let is_new = !std::mem::replace(&mut row.wanted, true);
                row.rejoined |= is_new && row.seat.is_some();
                is_new
            });
            if is_new == Some(true) {
                self.changed.insert((id, topic));
            }
        }
        self.ask_anew(id);
    }

    pub(crate) fn remove(&mut self, id: SubscriptionId, topics: &[Topic]) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        for topic in topics {
            let was_wanted =
                subscription.change(topic, |row| std::mem::replace(&mut row.wanted, false));
            if was_wanted == Some(true) {
                self.changed.insert((id, topic.clone()));
            }
        }
        self.ask_anew(id);
    }

    pub(crate) fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        subscription.dropped = true;
        let topics: Vec<Topic> = subscription.rows.keys().cloned().collect();
        self.remove(id, &topics);
        if topics.is_empty() {
            self.forget(id);
        }
    }

    /// What was refused is wanted anew: something may have made room, or the venue may have changed its mind.
    fn ask_anew(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        if subscription.failed == 0 {
            return;
        }
        let refused = subscription.rows.iter();
        let refused = refused.filter(|(_, row)| matches!(row.told, Told::Refused(_)) && row.wanted);
        let topics: Vec<Topic> = refused.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            subscription.change(&topic, |row| {
                row.anew = true;
                row.told = Told::Nothing;
            });
            self.changed.insert((id, topic));
        }
    }

    fn forget(&mut self, id: SubscriptionId) {
        self.full.take();
        self.subscriptions.remove(&id);
        self.broken.remove(&id);
    }

    /// Whether a subscription sees every event of all that it wants, from here on.
    pub(crate) fn confirmation(&self, id: SubscriptionId) -> Confirmation {
        let Some(subscription) = self.subscriptions.get(&id) else {
            return Confirmation::Pending;
        };
        if subscription.failed > 0 {
            let failed = subscription.rows.iter().filter(|(_, row)| row.has_failed());
            let first = failed.min_by_key(|(topic, _)| *topic);
            if let Some(error) = first.and_then(|(_, row)| row.why.as_deref()) {
                return Confirmation::Failed(error.clone());
            }
        }
        // What the stream's thread has decided and not told yet is not so yet.
        if subscription.unsettled > 0 || subscription.news > self.reached {
            return Confirmation::Pending;
        }
        Confirmation::Confirmed
    }

    /// How many topics of a subscription are confirmed, and how many have no answer.
    pub(crate) fn counts(&self, id: SubscriptionId) -> (usize, usize) {
        self.subscriptions.get(&id).map_or((0, 0), |subscription| {
            let answered = subscription.unsettled + subscription.failed;
            (subscription.wanted - answered, subscription.unsettled)
        })
    }

    /// What a subscription wants, sorted.
    pub(crate) fn wanted_by(&self, id: SubscriptionId) -> Vec<Topic> {
        let rows = self
            .subscriptions
            .get(&id)
            .map(|subscription| &subscription.rows);
        let wanted = rows.into_iter().flatten().filter(|(_, row)| row.wanted);
        let mut topics: Vec<Topic> = wanted.map(|(topic, _)| topic.clone()).collect();
        topics.sort_unstable();
        topics
    }

    /// Whether one topic of a subscription was refused, or displaced, and was not asked for anew since.
    pub(crate) fn is_refused(&self, id: SubscriptionId, topic: &Topic) -> bool {
        let rows = self
            .subscriptions
            .get(&id)
            .map(|subscription| &subscription.rows);
        rows.and_then(|rows| rows.get(topic))
            .is_some_and(Row::has_failed)
    }

    /// How many topics somebody wants, how many the venue sends, which of the wanted ones it does not send, and how much of
    /// its plan is used.
    pub(crate) fn overview(&self) -> (usize, usize, Vec<Topic>, Option<BudgetUse>) {
        let is_confirmed = |entry: &Entry| entry.upstream == Upstream::Confirmed;
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

#[cfg(test)]
impl TopicTable {
    /// The topics that each subscription was told are confirmed.
    pub(crate) fn told_confirmed(&self) -> BTreeSet<(SubscriptionId, Topic)> {
        self.told(|told| told == Told::Confirmed)
    }

    /// The topics that each subscription was told are refused.
    pub(crate) fn told_refused(&self) -> BTreeSet<(SubscriptionId, Topic)> {
        self.told(|told| matches!(told, Told::Refused(_)))
    }

    fn told(&self, which: impl Fn(Told) -> bool) -> BTreeSet<(SubscriptionId, Topic)> {
        let of = |(id, subscription): (&SubscriptionId, &Subscription)| {
            let rows = subscription.rows.iter().filter(|(_, row)| which(row.told));
            let topics: Vec<_> = rows.map(|(topic, _)| (*id, topic.clone())).collect();
            topics
        };
        self.subscriptions.iter().flat_map(of).collect()
    }

    /// Nobody gives way for the topic: it went unanswered, or connections ended over it.
    pub(crate) fn is_doubtful(&self, topic: &Topic) -> bool {
        let entry = self.topics.get(topic);
        entry.is_some_and(|entry| entry.misses > 0 || entry.suspicion.is_deadly)
    }

    /// Nothing is asked for, and nothing waits for an answer.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outstanding.is_empty() && self.to_ask.is_empty() && self.to_return.is_empty()
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

    /// Takes over what callers have changed.
    pub(crate) fn take_wishes(&mut self) {
        for (id, topic) in std::mem::take(&mut self.changed) {
            self.take_wish(id, topic);
        }
    }

    fn take_wish(&mut self, id: SubscriptionId, topic: Topic) {
        let Some(row) = self.row(id, &topic) else {
            return;
        };
        let (wanted, rejoined) = (row.wanted, row.rejoined);
        if !wanted || rejoined {
            self.leave(id, &topic);
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        if !wanted {
            subscription.rows.remove(&topic);
            if subscription.dropped && subscription.rows.is_empty() {
                self.forget(id);
            }
            return self.refile(&topic);
        }
        let priority = subscription.priority;
        let taken = subscription.change(&topic, |row| {
            row.rejoined = false;
            (
                row.seat,
                std::mem::replace(&mut row.anew, false),
                row.builds,
            )
        });
        let Some((seat, anew, builds)) = taken else {
            return;
        };
        if seat.is_none() {
            self.arrivals += 1;
            let seat = Worth {
                priority,
                seniority: Reverse(self.arrivals),
            };
            if let Some(row) = self.row(id, &topic) {
                row.seat = Some(seat);
            }
            let entry = self.entry(&topic);
            entry.builds |= builds;
            entry.readers.push((seat, id));
            self.announce(Some(id), News::Joined(id, topic.clone()));
            self.join(id, &topic);
        } else if anew {
            self.asked_anew(&topic);
            self.tell(id, &topic);
        }
        self.refile(&topic);
    }

    fn row(&mut self, id: SubscriptionId, topic: &Topic) -> Option<&mut Row> {
        self.subscriptions.get_mut(&id)?.rows.get_mut(topic)
    }

    /// A new reader of a topic.
    fn join(&mut self, id: SubscriptionId, topic: &Topic) {
        let entry = self.entry(topic);
        if entry.refused.is_some() || entry.no_room {
            return self.asked_anew(topic);
        }
        if entry.upstream == Upstream::Confirmed && entry.builds && !entry.restart {
            // The reader has not seen what the changes build on: all of the topic's readers begin again.
            return self.restart_one(topic);
        }
        self.tell(id, topic);
    }

    /// Forgets that a topic was refused, or that there was no room. It is asked for again, without neighbours that it could harm.
    fn asked_anew(&mut self, topic: &Topic) {
        let entry = self.entry(topic);
        entry.no_room = false;
        if entry.refused.take().is_some() {
            entry.suspicion.at_most = 1;
        }
        self.refile(topic);
    }

    /// A reader leaves a topic.
    fn leave(&mut self, id: SubscriptionId, topic: &Topic) {
        let Some(seat) = self.row(id, topic).and_then(|row| row.seat.take()) else {
            return;
        };
        self.entry(topic)
            .readers
            .retain(|reader| *reader != (seat, id));
        self.set_told(id, topic, Told::Nothing, None);
        self.announce(Some(id), News::Left(id, topic.clone()));
    }

    /// Events of these topics build on each other, and one of them was missed. A wildcard may be what brings them.
    pub(crate) fn restart(&mut self, topics: &[Topic]) {
        for topic in topics {
            self.restart_one(&wildcard(topic));
            self.restart_one(topic);
        }
    }

    /// Events of these topics never came. Those who read them are told by a gap, and read on; what builds on them begins anew.
    pub(crate) fn lost(&mut self, scope: &Concerns) {
        let is_meant = |topic: &Topic| match scope {
            Concerns::Topic(lost) if lost.is_wildcard() => topic.channel == lost.channel,
            Concerns::Topic(lost) => topic == lost || *topic == wildcard(lost),
            Concerns::Channel(channel) => topic.channel == *channel,
            Concerns::Everybody => true,
            Concerns::Nobody => false,
        };
        let topics = self.topics.keys().filter(|topic| is_meant(topic));
        let topics: Vec<Topic> = topics.cloned().collect();
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

    /// Tells those who read a topic that they lost it, and that they have it again.
    fn interrupt(&mut self, topic: &Topic) {
        let readers = self.entry(topic).readers.clone();
        for (_, id) in readers {
            let is_told = |row: &mut Row| row.told == Told::Confirmed;
            if self.row(id, topic).is_some_and(is_told) {
                self.lose(id, topic);
            }
        }
        self.tell_all(topic);
    }

    fn lose(&mut self, id: SubscriptionId, topic: &Topic) {
        self.set_told(id, topic, Told::Lost, None);
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.broken = true;
            self.broken.insert(id);
        }
        self.announce(Some(id), News::Lost(id, topic.clone()));
    }

    /// Has those of these topics begin anew whose events build on each other.
    pub(crate) fn restart_built(&mut self, topics: &[Topic]) {
        for topic in topics {
            if self.topics.get(topic).is_some_and(|entry| entry.builds) {
                self.restart_one(topic);
            }
        }
    }

    fn restart_one(&mut self, topic: &Topic) {
        use Upstream::{Asked, Confirmed, Unknown};
        if let Some(entry) = self.topics.get_mut(topic)
            && matches!(entry.upstream, Asked | Confirmed | Unknown)
        {
            entry.restart = true;
            self.tell_all(topic);
            self.refile(topic);
        }
    }

    pub(crate) fn connected(&mut self) {
        self.connected = true;
    }

    /// Whether the venue confirmed anything on this connection.
    pub(crate) fn has_confirmed(&self) -> bool {
        self.has_confirmed
    }

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
            entry.misses = 0;
            entry.unanswered = false;
            entry.restart = false;
            self.move_to(&topic, Upstream::Absent);
        }
        // The gap of the whole line stands for the losses of its topics.
        let mut index = 0;
        self.news.retain(|news| {
            index += 1;
            index <= made || !matches!(news, News::Lost(..))
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
    pub(crate) fn take_news(&mut self) -> Vec<News> {
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

    /// Subscriptions that had a gap, and an answer to all that they want since.
    fn resume(&mut self) {
        let is_over = |id: &SubscriptionId| {
            let subscription = self.subscriptions.get(id);
            subscription.is_none_or(|subscription| subscription.unsettled == 0)
        };
        let over: Vec<SubscriptionId> = self.broken.iter().copied().filter(is_over).collect();
        for id in over {
            self.broken.remove(&id);
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.broken = false;
                self.announce(Some(id), News::Resumed(id));
            }
        }
    }

    fn announce(&mut self, id: Option<SubscriptionId>, news: News) {
        self.made += 1;
        if let Some(subscription) = id.and_then(|id| self.subscriptions.get_mut(&id)) {
            subscription.news = self.made;
        }
        self.news.push(news);
    }
}

/// What became of a topic, and who is told.
impl TopicTable {
    fn entry(&mut self, topic: &Topic) -> &mut Entry {
        if !self.topics.contains_key(topic) {
            if let Some(unit) = self.unit(topic) {
                self.units
                    .entry(unit)
                    .or_default()
                    .topics
                    .push(topic.clone());
            }
            self.topics.insert(topic.clone(), Entry::default());
        }
        self.topics.get_mut(topic).expect("it was inserted")
    }

    /// The only way from one upstream state to another.
    fn move_to(&mut self, topic: &Topic, to: Upstream) {
        use Upstream::{Absent, Asked, Confirmed, Leaving, Unknown};
        let hash = self.hasher.hash_one(topic);
        let entry = self.entry(topic);
        let from = std::mem::replace(&mut entry.upstream, to);
        let last = entry.last;
        let begins_hold = to == Asked && !entry.held;
        entry.held |= begins_hold;
        let was_listed = from == Confirmed && !std::mem::replace(&mut entry.covered, false);
        if was_listed {
            self.confirmed.remove(topic, hash);
        }
        if to == Confirmed {
            self.confirmed.add(topic, hash);
            #[cfg(test)]
            (self.served += usize::from(!self.has_confirmed));
            self.has_confirmed = true;
        }
        if begins_hold {
            self.announce(None, News::Hold(topic.clone()));
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
            self.announce(None, News::Settled(topic.clone()));
        }
        self.refile(topic);
    }

    fn refuse(&mut self, topic: &Topic, cause: Cause, error: Error, now: Instant) {
        let entry = self.entry(topic);
        entry.refused = Some(Box::new(Refusal {
            cause,
            error,
            at: now,
        }));
        entry.unanswered = false;
        entry.suspicion = Suspicion::NONE;
        if matches!(cause, Cause::LeftOut | Cause::NoAnswer) {
            // From here on one more is enough, and nobody gives way for it.
            entry.misses = 1;
        }
        self.move_to(topic, Upstream::Absent);
    }

    /// The connection ended before these topics were answered for. That happens, and proves nothing. When the next connection ends
    /// the same way the request is halved. A topic that was asked for alone then, and over which connections end although the
    /// venue confirms others, is refused.
    fn died_with(&mut self, mut topics: Vec<Topic>, cause: &Error, now: Instant) {
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
    fn halve(&mut self, topics: &[Topic]) {
        let half = u32::try_from(topics.len().div_ceil(2)).unwrap_or(u32::MAX);
        for topic in topics {
            let suspicion = &mut self.entry(topic).suspicion;
            suspicion.at_most = half;
            suspicion.deaths = 0;
            self.refile(topic);
        }
    }

    fn refusal_error(&self, why: String) -> Error {
        Error::Refused {
            at: At::new(&self.stream, Phase::Live),
            rejection: Rejection::new(RejectionKind::BadRequest, why),
        }
    }

    fn tell_all(&mut self, topic: &Topic) {
        let readers: SmallVec<[SubscriptionId; 4]> = self
            .entry(topic)
            .readers
            .iter()
            .map(|(_, id)| *id)
            .collect();
        for id in readers {
            self.tell(id, topic);
        }
    }

    /// Tells one reader the difference between what it was told and what is so.
    fn tell(&mut self, id: SubscriptionId, topic: &Topic) {
        let row = self
            .subscriptions
            .get(&id)
            .and_then(|subscription| subscription.rows.get(topic));
        let (Some(row), Some(entry)) = (row, self.topics.get(topic)) else {
            return;
        };
        let topic = topic.clone();
        let (told, news) = match (entry.standing(), row.told) {
            (Standing::Confirmed, Told::Confirmed) | (Standing::NoRoom, Told::Displaced) => return,
            (Standing::NoRoom, Told::Refused(Cause::NoRoom)) => return,
            (Standing::Confirmed, told) => {
                let again = told == Told::Lost;
                (Told::Confirmed, News::Confirmed { id, topic, again })
            }
            (Standing::Pending, Told::Confirmed) => return self.lose(id, &topic),
            (Standing::Pending, _) => return,
            (Standing::Refused(refusal), Told::Refused(known)) if refusal.cause == known => return,
            (Standing::Refused(refusal), _) => {
                let error = refusal.error.clone();
                (
                    Told::Refused(refusal.cause),
                    News::Refused(id, topic, error),
                )
            }
            (Standing::NoRoom, Told::Confirmed | Told::Lost)
                if let Some((by, priority)) = self.displacer(id, entry) =>
            {
                let at = At::new(&self.stream, Phase::Live);
                let error = Error::Displaced { at, by, priority };
                (Told::Displaced, News::Displaced(id, topic, error))
            }
            (Standing::NoRoom, _) => {
                let error = self.full.get_or_init(|| self.over_plan()).clone();
                (
                    Told::Refused(Cause::NoRoom),
                    News::Refused(id, topic, error),
                )
            }
        };
        let (topic, why) = match &news {
            News::Refused(_, topic, why) | News::Displaced(_, topic, why) => (topic, Some(why)),
            News::Confirmed { topic, .. } => (topic, None),
            _ => return,
        };
        let (topic, why) = (topic.clone(), why.cloned().map(Box::new));
        self.set_told(id, &topic, told, why);
        self.announce(Some(id), news);
    }

    /// Who took the place of a topic: whoever was given it, or, after a break, the least of those that are worth more.
    fn displacer(&self, id: SubscriptionId, entry: &Entry) -> Option<(Option<CorrelationId>, i32)> {
        if entry.displaced_by.is_some() {
            return entry.displaced_by.clone();
        }
        let priority = self.subscriptions.get(&id)?.priority;
        let sent = self
            .topics
            .values()
            .filter(|entry| entry.upstream != Upstream::Absent);
        let readers = sent.flat_map(|entry| &entry.readers);
        let more = readers.filter(|(worth, _)| worth.priority > priority);
        let (worth, by) = more.min()?;
        let by = self.subscriptions.get(by)?;
        Some((by.correlation.clone(), worth.priority))
    }

    fn set_told(&mut self, id: SubscriptionId, topic: &Topic, told: Told, why: Option<Box<Error>>) {
        let subscription = self.subscriptions.get_mut(&id);
        let before = subscription.and_then(|subscription| {
            subscription.change(topic, |row| {
                row.why = why;
                std::mem::replace(&mut row.told, told)
            })
        });
        if let (Some(before), Some(entry)) = (before, self.topics.get_mut(topic)) {
            let lost = |told| usize::from(told == Told::Lost);
            entry.lost = entry.lost + lost(told) - lost(before);
        }
    }
}

/// What is derived.
impl TopicTable {
    fn unit(&self, topic: &Topic) -> Option<Unit> {
        let counts = self.plan.as_ref()?.counts();
        let channel = match counts {
            Counts::Symbols => None,
            Counts::Topics => Some(topic.channel),
        };
        (!topic.is_wildcard()).then(|| (channel, topic.symbol.clone()))
    }

    /// Counts anew, in the units of the plan as it is now.
    fn recount(&mut self) {
        (self.used, self.departing, self.granted) = (0, 0, 0);
        self.units.clear();
        let topics: Vec<Topic> = self.topics.keys().cloned().collect();
        for topic in &topics {
            if let Some(unit) = self.unit(topic) {
                self.units
                    .entry(unit)
                    .or_default()
                    .topics
                    .push(topic.clone());
            }
        }
        topics.iter().for_each(|topic| self.refile(topic));
    }

    /// Files a topic, and those that count as one with it, where they belong now. The only writer of what is derived.
    fn refile(&mut self, topic: &Topic) {
        use Upstream::{Absent, Asked, Confirmed};
        let Some(id) = self.unit(topic) else {
            return self.refile_topic(topic, false);
        };
        let Some(unit) = self.units.get(&id) else {
            return;
        };
        let topics = unit.topics.clone();
        let before = unit.counted;
        let mut now = Counted::default();
        let mut stays = false;
        for entry in topics.iter().filter_map(|topic| self.topics.get(topic)) {
            let is_listed = entry.upstream == Confirmed && !entry.covered;
            now.used |= entry.upstream != Absent;
            now.granted |= is_listed;
            now.solid |= is_listed || !matches!(entry.upstream, Absent | Confirmed);
            stays |= matches!(entry.upstream, Asked | Confirmed);
        }
        now.departing = now.used && !stays;
        let count = |number: &mut usize, before: bool, after: bool| {
            *number = *number + usize::from(after) - usize::from(before);
        };
        count(&mut self.used, before.used, now.used);
        count(&mut self.departing, before.departing, now.departing);
        count(&mut self.granted, before.granted, now.granted);
        if before != now {
            self.full.take();
        } else {
            // Its neighbours stand where they stood.
            return self.refile_topic(topic, !now.solid);
        }
        if let Some(unit) = self.units.get_mut(&id) {
            unit.counted = now;
        }
        for topic in &topics {
            self.refile_topic(topic, !now.solid);
        }
    }

    fn refile_topic(&mut self, topic: &Topic, takes_room: bool) {
        let Some(entry) = self.topics.get(topic) else {
            return;
        };
        let place = self.place(topic, entry, takes_room);
        if place != entry.place {
            match &entry.place {
                Place::Nowhere => false,
                Place::ToAsk(turn) => self.to_ask.remove(turn),
                Place::Waiting(turn) => self.waiting.remove(turn),
                Place::ToReturn => self.to_return.remove(topic),
                Place::Resting(at) => self.resting.remove(&(*at, topic.clone())),
            };
            match place.clone() {
                Place::Nowhere => false,
                Place::ToAsk(turn) => self.to_ask.insert(turn),
                Place::Waiting(turn) => self.waiting.insert(turn),
                Place::ToReturn => self.to_return.insert(topic.clone()),
                Place::Resting(at) => self.resting.insert((at, topic.clone())),
            };
        }
        let entry = self.entry(topic);
        entry.place = place;
        let is_idle = entry.readers.is_empty() && entry.upstream == Upstream::Absent;
        if is_idle && entry.refused.is_none() {
            self.topics.remove(topic);
            if let Some(id) = self.unit(topic)
                && let Some(unit) = self.units.get_mut(&id)
            {
                unit.topics.retain(|other| other != topic);
                if unit.topics.is_empty() {
                    self.units.remove(&id);
                }
            }
        }
    }

    fn place(&self, topic: &Topic, entry: &Entry, takes_room: bool) -> Place {
        use Upstream::{Absent, Asked, Confirmed, Leaving, Unknown};
        match (entry.upstream, &entry.refused, entry.best()) {
            (Unknown, ..) | (Confirmed, _, None) => Place::ToReturn,
            (Confirmed, ..) if entry.restart => Place::ToReturn,
            (Absent, Some(refusal), best) => {
                let is_inferred = matches!(
                    refusal.cause,
                    Cause::Guessed | Cause::LeftOut | Cause::NoAnswer
                );
                if best.is_some() && !is_inferred {
                    return Place::Nowhere;
                }
                Place::Resting(clock::after(refusal.at, HOLDS_FOR))
            }
            (Absent, None, Some(best)) => {
                let turn = Turn {
                    deaths: entry.suspicion.rank(),
                    priority: Reverse(best.priority),
                    is_new: entry.lost == 0,
                    arrival: best.seniority.0,
                    at_most: entry.suspicion.at_most,
                    topic: topic.clone(),
                };
                if takes_room && entry.no_room {
                    Place::Waiting(turn)
                } else {
                    Place::ToAsk(turn)
                }
            }
            (Absent, None, None) | (Asked | Confirmed | Leaving, ..) => Place::Nowhere,
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
/// So many connections have to end in a row before a request is taken for the cause.
const DEATHS: u8 = 2;
