//! Topic table and fan-out: who gets which event, and what to ask the venue for.
//!
//! Owned by the stream's thread alone, so it has no lock; what callers want comes in through [`Wishes`].
//!
//! For each topic the table tracks its members and what the venue was asked and has confirmed. For each member it
//! tracks the answer to each of its topics. Wanted is what has members; what is wanted and not confirmed is asked for;
//! what is confirmed and not wanted is taken back: see [`asking`].
//!
//! [`Wishes`]: super::wishes::Wishes

mod asking;
mod budget;
mod by_symbol;
mod narrowing;
mod recent;
mod rhythm;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod unmatched;

use std::{
    cell::Cell,
    collections::{HashMap, HashSet, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use smallvec::SmallVec;

pub(crate) use self::{asking::Ask, rhythm::Silence, unmatched::Routing};
use self::{
    asking::Asked, budget::Budget, by_symbol::BySymbol, narrowing::Suspicion, recent::Recent,
    rhythm::Rhythms, unmatched::Unmatched,
};
use super::{
    batch::{Batch, Pool},
    entries::{Picks, Scratch},
    sink::{Sink, Standing},
    wishes::{SubscriptionId, Wish},
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::Error,
    event::{Concerns, Gap, Notice, Unparsed},
    health::SubscriptionHealth,
    key::StreamKey,
    market::Timestamp,
    symbol_budget::SymbolBudget,
    topic::{Channel, Topic},
    venue::{Events, Routed, Stamped},
};

pub(crate) struct Hub<E> {
    stream: StreamKey,
    /// By slot, so that an event is routed by index and not by hash.
    members: Vec<Option<Member<E>>>,
    slots: HashMap<SubscriptionId, usize>,
    channels: Vec<(Channel, BySymbol<Entry>)>,
    /// Members that have topics to ask for, in the order they came.
    to_ask: VecDeque<SubscriptionId>,
    in_flight: Option<Asked>,
    /// The last full state of this connection.
    listed: HashSet<Topic>,
    /// It came since the request in flight, and was not taken for its answer.
    seen: bool,
    /// Topics of requests of this connection that ran out of time: their answers may still come.
    unanswered: HashSet<Topic>,
    /// Some topics may have been confirmed to members before, and not on this connection.
    restoring: bool,
    /// Some topics may be confirmed and have no member.
    unwanted: bool,
    /// What the venue's plan grants, where that is kept to.
    budget: Option<Budget>,
    /// Some topics may have been taken from members for others.
    displaced: bool,
    unmatched: Unmatched,
    rhythms: Rhythms,
    /// Some topics are suspected of having failed a request.
    narrowing: bool,
    /// The venue confirmed something on this connection.
    has_confirmed: bool,
    /// Since the connection was live last, if an attempt has failed.
    outage: Option<Outage>,
    /// What members were told of their topics since the driver last asked, for its records.
    told: Vec<Told>,
    /// Which members the batch at hand concerns. Kept for its memory.
    touched: Vec<usize>,
    /// What the events of the batch at hand keep outside of themselves, up to the last that keeps any. Kept for its memory.
    heap: Vec<usize>,
    batches: Pool<E>,
    scratch: Scratch<E>,
}

/// Somebody was told of topics.
pub(crate) struct Told {
    /// Whose they are. Nobody's, where the venue refused to stop sending what nobody wants.
    pub(crate) correlation: Option<CorrelationId>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) word: Word,
}

/// What is said of topics.
#[derive(Clone)]
pub(crate) enum Word {
    Confirmed,
    Refused(Error),
    /// Taken for a subscription that is worth more.
    Displaced(Error),
}

impl Word {
    fn standing(&self) -> Standing {
        match self {
            Self::Confirmed => Standing::Confirmed,
            Self::Refused(_) => Standing::Refused,
            Self::Displaced(_) => Standing::Displaced,
        }
    }

    /// For a queue, which says whose it is when it is read.
    fn notice(self, topics: Vec<Topic>) -> Notice {
        let correlation = None;
        match self {
            Self::Confirmed => Notice::Confirmed {
                topics,
                correlation,
            },
            Self::Refused(error) => Notice::Refused {
                topics,
                error,
                correlation,
            },
            Self::Displaced(error) => Notice::Displaced {
                topics,
                error,
                correlation,
            },
        }
    }
}

/// What every event looks at comes first, in a line of the processor's cache: where there are many members, few of them
/// stay near.
#[repr(C, align(64))]
/// Why the line is not live.
pub(crate) struct Outage {
    /// How many attempts have failed in a row.
    pub(crate) attempt: u32,
    /// Why the last one did.
    pub(crate) cause: Error,
    /// When the next one is due.
    pub(crate) retry_at: Instant,
}

struct Member<E> {
    sink: Sink<E>,
    /// Which events of the batch at hand it gets, and where they stand among the batch's picks.
    picks: SmallVec<[u32; 4]>,
    picks_at: usize,
    /// When something arrived last.
    heard: Instant,
    /// When the newest of its events happened, by the venue's clock.
    newest: Option<Timestamp>,
    id: SubscriptionId,
    priority: i32,
    /// A gap was declared, and its end was not yet.
    broken: bool,
    /// Whose it is.
    correlation: Option<CorrelationId>,
    topics: HashMap<Topic, Answer>,
    version: u64,
    /// How often something has to arrive, in trading time.
    expected: Option<Duration>,
    /// Channels of which it was told that events match nobody.
    told_unmatched: Vec<Channel>,
    /// Codes of the causes that it was told for which the line is not live.
    told_causes: Vec<&'static str>,
    recent: Recent,
}

impl<E> Member<E> {
    /// What it takes of a batch of which so many members get something.
    fn share(&self, batch: &Batch<E>, members: usize) -> Share {
        let (count, total) = (self.picks.len(), batch.events.len());
        let is_alone = count == 1 && members == 1;
        match &self.sink {
            Sink::Queue(queue) if queue.conflates() => Share::Copies,
            _ if is_alone || count < total / PINNING => Share::Copies,
            _ if count == total => Share::All,
            _ if self.is_light(batch) => Share::Copies,
            _ => Share::Part,
        }
    }

    /// Whether it is given little of a batch by size, although not by number: quotes among whole order books.
    fn is_light(&self, batch: &Batch<E>) -> bool {
        if batch.heap.is_empty() {
            return false;
        }
        let bytes = |events: usize, heap: usize| events * size_of::<Stamped<E>>() + heap;
        let own = bytes(self.picks.len(), batch.heap_of(&self.picks));
        own < bytes(batch.events.len(), batch.heap.iter().sum()) / PINNING
    }
}

/// How a queue takes its part of a batch.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Share {
    All,
    Part,
    /// A few events must not keep a large batch alive for as long as they wait. And a single one that nobody shares is
    /// copied sooner than a batch is found for the next.
    Copies,
}

/// The venue's answer to one topic of one member, and what the member was last told of it: a reconnect that changes
/// nothing is not news.
#[derive(Clone, Copy)]
struct Answer {
    now: Standing,
    told: Option<Standing>,
}

impl Answer {
    fn is(self, standing: Standing) -> bool {
        self.now == standing
    }
}

/// A topic that has members, or that the venue still has to be told to stop. With its symbol it fills a line of the
/// processor's cache, and lies in one.
#[derive(Default)]
#[repr(align(32))]
struct Entry {
    members: SmallVec<[usize; 2]>,
    upstream: Upstream,
    /// Confirmed by the wildcard of its channel alone, which the venue listed in its place: it may go with that.
    covered: bool,
    heard: Cell<Heard>,
    suspicion: Suspicion,
}

/// Whether an event of a topic came.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Heard {
    #[default]
    Never,
    Before,
    /// Since the rhythms were looked at last.
    Now,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Upstream {
    #[default]
    Absent,
    Requested,
    Confirmed,
    /// Being unsubscribed. Whoever comes for it now waits, and is asked for again.
    Leaving,
    /// To be unsubscribed and asked for again, since its events build on one that could not be read.
    Restarting,
}

impl<E: Routed> Hub<E> {
    pub(crate) fn new(stream: &StreamKey, budget: Option<SymbolBudget>) -> Self {
        Self {
            stream: stream.clone(),
            members: Vec::new(),
            slots: HashMap::new(),
            channels: Vec::new(),
            to_ask: VecDeque::new(),
            in_flight: None,
            listed: HashSet::new(),
            seen: false,
            unanswered: HashSet::new(),
            restoring: false,
            unwanted: false,
            budget: budget.map(Budget::new),
            displaced: false,
            unmatched: Unmatched::default(),
            rhythms: Rhythms::default(),
            narrowing: false,
            has_confirmed: false,
            outage: None,
            told: Vec::new(),
            touched: Vec::new(),
            heap: Vec::new(),
            batches: Pool::new(MOST_BATCHES),
            scratch: Scratch::new(),
        }
    }

    // ---- wishes ----

    /// Takes over what one subscription wants now.
    pub(crate) fn update(&mut self, id: SubscriptionId, wish: Option<Wish<E>>, now: Instant) {
        let Some(wish) = wish else {
            return self.remove(id, now);
        };
        let slot = self.slot_of(id, &wish, now);
        let Some(member) = self.members[slot].as_mut() else {
            return;
        };
        member.version = wish.version;
        let gone: Vec<Topic> = member
            .topics
            .keys()
            .filter(|topic| !wish.topics.contains(topic))
            .cloned()
            .collect();
        let new: Vec<Topic> = wish
            .topics
            .iter()
            .filter(|topic| !member.topics.contains_key(topic))
            .cloned()
            .collect();
        // What was refused is asked for again when the topics change: something may have made room.
        for answer in member
            .topics
            .values_mut()
            .filter(|answer| answer.is(Standing::Refused))
        {
            answer.now = Standing::Pending;
        }
        for topic in &gone {
            member.topics.remove(topic);
        }
        let mut confirmed = Vec::new();
        for topic in new {
            let entry = self.entry(&topic);
            entry.members.push(slot);
            if entry.upstream == Upstream::Confirmed {
                confirmed.push(topic.clone());
            }
            if let Some(member) = &mut self.members[slot] {
                member.topics.insert(
                    topic,
                    Answer {
                        now: Standing::Pending,
                        told: None,
                    },
                );
            }
        }
        for topic in gone {
            self.leave(&topic, slot, now);
        }
        if !self.to_ask.contains(&id) {
            self.to_ask.push_back(id);
        }
        if !confirmed.is_empty() {
            self.unmatched.confirmed();
        }
        self.answer(slot, &confirmed, Word::Confirmed);
    }

    fn slot_of(&mut self, id: SubscriptionId, wish: &Wish<E>, now: Instant) -> usize {
        if let Some(slot) = self.slots.get(&id) {
            return *slot;
        }
        let member = Member {
            id,
            priority: wish.priority,
            sink: wish.sink.clone(),
            correlation: wish.correlation.clone(),
            topics: HashMap::new(),
            version: 0,
            expected: wish.expected,
            heard: now,
            newest: None,
            broken: false,
            picks: SmallVec::new(),
            picks_at: 0,
            told_unmatched: Vec::new(),
            told_causes: Vec::new(),
            recent: Recent::default(),
        };
        let slot = self
            .members
            .iter()
            .position(Option::is_none)
            .unwrap_or_else(|| {
                self.members.push(None);
                self.members.len() - 1
            });
        self.members[slot] = Some(member);
        self.slots.insert(id, slot);
        if let Some(outage) = self.outage.take() {
            self.tell_why(slot, &outage, now);
            self.outage = Some(outage);
        }
        slot
    }

    fn remove(&mut self, id: SubscriptionId, now: Instant) {
        let Some(slot) = self.slots.remove(&id) else {
            return;
        };
        self.to_ask.retain(|other| *other != id);
        if let Some(member) = self.members[slot].take() {
            for topic in member.topics.keys() {
                self.leave(topic, slot, now);
            }
        }
    }

    /// One member fewer. The entry stays for as long as the venue sends the topic.
    fn leave(&mut self, topic: &Topic, slot: usize, now: Instant) {
        let entry = self.entry(topic);
        entry.members.retain(|member| *member != slot);
        match (entry.members.is_empty(), entry.upstream) {
            (true, Upstream::Absent) => self.forget(topic),
            (true, Upstream::Confirmed) => {
                self.unwanted = true;
                self.unmatched.leave(topic, now);
            }
            _ => {}
        }
    }

    // ---- the connection ----

    /// The connection is gone, and nothing of it is confirmed any more. Where it was live, that is a gap: every fold is
    /// cut before the first queue says so, whatever the order of the members.
    pub(crate) fn disconnected(&mut self, gap: Option<&Gap>) {
        if let Some(gap) = gap {
            self.cut(gap.epoch);
        }
        let unanswered = match self.in_flight.take() {
            Some(Asked::For(_, topics) | Asked::Restore(topics)) => topics,
            Some(Asked::Unsubscribe(_)) | None => Vec::new(),
        };
        self.unanswered.clear();
        self.listed.clear();
        self.forget_silence();
        self.unwanted = false;
        self.restoring = true;
        self.forget_budget();
        for (_, entries) in &mut self.channels {
            entries.retain(|_, entry| {
                entry.upstream = Upstream::Absent;
                !entry.members.is_empty()
            });
        }
        for slot in self.folds_first((0..self.members.len()).collect()) {
            let Some(member) = self.members[slot].as_mut() else {
                continue;
            };
            for answer in member.topics.values_mut() {
                if !answer.is(Standing::Displaced) {
                    answer.now = Standing::Pending;
                }
            }
            if let Some(gap) = gap {
                member.broken = true;
                let since = member.newest;
                member.sink.gap(Gap {
                    since,
                    ..gap.clone()
                });
            }
            self.tell(slot, Vec::new(), None);
        }
        if let Some(gap) = gap {
            self.died_with(unanswered, &gap.cause);
        }
        self.to_ask = self.slots.keys().copied().collect();
        self.to_ask.make_contiguous().sort_unstable();
    }

    /// Nothing more comes of this connection: whoever holds a price of it has to know at once.
    pub(crate) fn cut(&self, epoch: u64) {
        for member in self.members.iter().flatten() {
            member.sink.cut(epoch);
        }
    }

    /// These slots, each once: those that fold in front of those that queue. What concerns several members is told in this
    /// order, so that nobody who reads of a loss in a queue finds a price that does not know of it.
    fn folds_first(&self, mut slots: Vec<usize>) -> Vec<usize> {
        slots.sort_unstable_by_key(|slot| {
            let member = self.members[*slot].as_ref();
            (member.is_some_and(|member| !member.sink.is_fold()), *slot)
        });
        slots.dedup();
        slots
    }

    /// The connection is live: what is expected is expected from here on.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.has_confirmed = false;
        self.outage = None;
        for member in self.members.iter_mut().flatten() {
            member.told_causes.clear();
        }
        self.expect_anew(now);
    }

    /// What is expected is expected from here on.
    pub(crate) fn expect_anew(&mut self, now: Instant) {
        for member in self.members.iter_mut().flatten() {
            member.heard = now;
        }
    }

    /// An attempt has failed, or the line broke, of which a gap told everybody.
    pub(crate) fn not_live(&mut self, outage: Outage, is_told: bool, now: Instant) {
        for slot in 0..self.members.len() {
            if is_told && let Some(member) = &mut self.members[slot] {
                member.told_causes.push(outage.cause.code());
            }
            self.tell_why(slot, &outage, now);
        }
        self.outage = Some(outage);
    }

    fn tell_why(&mut self, slot: usize, outage: &Outage, now: Instant) {
        let Some(member) = &mut self.members[slot] else {
            return;
        };
        let code = outage.cause.code();
        if member.told_causes.contains(&code) {
            return;
        }
        member.told_causes.push(code);
        member.sink.notice(|| Notice::NotLive {
            attempt: outage.attempt,
            cause: outage.cause.clone(),
            retry_in: outage.retry_at.saturating_duration_since(now),
            correlation: None,
        });
    }

    /// The machine slept for so long: what arrived before is that much older.
    pub(crate) fn slept(&mut self, slept: Duration) {
        for member in self.members.iter_mut().flatten() {
            member.heard = clock::before(member.heard, slept);
        }
    }

    /// The least that `left` says of any expectation, which is given how often something has to arrive, and when it
    /// did last. `expects` is the venue's own expectation of a topic.
    pub(crate) fn least_left(
        &self,
        expects: impl Fn(&Topic) -> Option<Duration>,
        left: impl Fn(Duration, Instant) -> Duration,
    ) -> Option<Duration> {
        self.members
            .iter()
            .flatten()
            .filter_map(|member| {
                let confirmed = |answer: &Answer| answer.is(Standing::Confirmed);
                let own = member
                    .expected
                    .filter(|_| member.topics.values().any(confirmed));
                let topics = member.topics.iter().filter(|(_, answer)| confirmed(answer));
                let within = topics
                    .filter_map(|(topic, _)| expects(topic))
                    .chain(own)
                    .min()?;
                Some(left(within, member.heard))
            })
            .min()
    }

    /// Tells those that had a gap, and an answer to all of their topics since, that it is over.
    pub(crate) fn resume(&mut self, epoch: u64, at: impl Fn() -> Timestamp) {
        for member in self
            .members
            .iter_mut()
            .flatten()
            .filter(|member| member.broken)
        {
            if !member
                .topics
                .values()
                .any(|answer| answer.is(Standing::Pending))
            {
                member.broken = false;
                member.sink.notice(|| Notice::Resumed {
                    epoch,
                    at: at(),
                    correlation: None,
                });
            }
        }
    }

    /// Says something to every subscription.
    pub(crate) fn notice(&self, notice: &Notice) {
        for member in self.members.iter().flatten() {
            member.sink.notice(|| notice.clone());
        }
    }

    /// Says that something could not be read, to those whose events it may have held: what folds them first.
    pub(crate) fn unparsed(&self, unparsed: &Unparsed) {
        if unparsed.concerns != Concerns::Nobody {
            for member in self.concerned(&unparsed.concerns) {
                member.sink.missed(&unparsed.concerns);
            }
        }
        for member in self.concerned(&unparsed.concerns) {
            member.sink.notice(|| Notice::Unparsed(unparsed.clone()));
        }
    }

    /// The members that want what this concerns. Where it concerns nobody, that is news for all.
    fn concerned(&self, concerns: &Concerns) -> impl Iterator<Item = &Member<E>> {
        let entries: Vec<&Entry> = match concerns {
            Concerns::Everybody | Concerns::Nobody => Vec::new(),
            Concerns::Topic(topic) if !topic.is_wildcard() => {
                let wildcard = Topic::new(topic.channel, "*");
                let entries = [self.peek(topic), self.peek(&wildcard)];
                entries.into_iter().flatten().collect()
            }
            Concerns::Topic(Topic { channel, .. }) | Concerns::Channel(channel) => {
                let entries = self.channels.iter().filter(|(name, _)| name == channel);
                entries.flat_map(|(_, entries)| entries.values()).collect()
            }
        };
        let slots: HashSet<usize> = match concerns {
            Concerns::Everybody | Concerns::Nobody => (0..self.members.len()).collect(),
            Concerns::Topic(_) | Concerns::Channel(_) => entries
                .iter()
                .flat_map(|entry| &entry.members)
                .copied()
                .collect(),
        };
        let members = self.members.iter().enumerate();
        members
            .filter(move |(slot, _)| slots.contains(slot))
            .filter_map(|(_, member)| member.as_ref())
    }

    /// Whether the venue confirmed anything on this connection.
    pub(crate) fn has_confirmed(&self) -> bool {
        self.has_confirmed
    }

    /// What members were told of their topics since the last call.
    pub(crate) fn take_told(&mut self) -> Vec<Told> {
        std::mem::take(&mut self.told)
    }

    /// Declares that every subscription was too slow for so many events. For a stream that a test feeds.
    pub(crate) fn lose(&self, count: u64) {
        for member in self.members.iter().flatten() {
            member.sink.lose(count);
        }
    }

    /// What one member has counted.
    pub(crate) fn health(&self, id: SubscriptionId) -> Option<SubscriptionHealth> {
        let member = self.members[*self.slots.get(&id)?].as_ref()?;
        Some(member.sink.health(id.number()))
    }

    /// What the venue has confirmed, and what not, for health.
    pub(in crate::stream) fn standing(&self) -> crate::stream::Standing {
        let (mut wanted, mut confirmed) = (0, 0);
        let mut missing = Vec::new();
        for (topic, entry) in self.topics() {
            let is_wanted = !entry.members.is_empty();
            wanted += usize::from(is_wanted);
            if entry.upstream == Upstream::Confirmed {
                confirmed += 1;
            } else if is_wanted {
                missing.push(topic);
            }
        }
        missing.sort();
        crate::stream::Standing {
            wanted,
            confirmed,
            missing,
            budget: self.used(),
            unmatched: self.unmatched.newest.clone(),
        }
    }

    // ---- events ----

    /// Hands events to those whose topics they match, each once, in order. Costs what matches.
    ///
    /// Only to topics that are confirmed: the venue may be sending an event for another topic, for example a wildcard,
    /// and stop before this one's turn comes, which would leave a hole that nobody declares.
    ///
    /// Says what became of them. `asleep` is how long the machine had been when they were read.
    pub(crate) fn dispatch(
        &mut self,
        events: &mut Events<E>,
        epoch: u64,
        asleep: Duration,
    ) -> Routing {
        let routing = self.route(events);
        if self.touched.is_empty() {
            events.clear();
            return routing;
        }
        let Self {
            members,
            touched,
            heap,
            batches,
            scratch,
            ..
        } = self;
        let newest = events.last().map(|stamped| stamped.received);
        self.rhythms.newest = newest;
        let sharers = touched.len();
        let batch = batches.fill(|batch| {
            std::mem::swap(&mut batch.events, events);
            batch.epoch = epoch;
            batch.asleep = asleep;
            if !heap.is_empty() {
                heap.resize(batch.events.len(), 0);
                std::mem::swap(&mut batch.heap, heap);
            }
            for slot in &*touched {
                if let Some(member) = &mut members[*slot]
                    && member.share(batch, sharers) == Share::Part
                {
                    member.picks_at = batch.picks.len();
                    batch.picks.extend_from_slice(&member.picks);
                }
            }
        });
        for slot in touched.drain(..) {
            let Some(member) = members[slot].as_mut() else {
                continue;
            };
            member.heard = newest.unwrap_or(member.heard);
            // Of a batch the last is as good as the newest.
            let last = member.picks.last();
            let last = last.and_then(|last| batch.events[*last as usize].event.happened_at());
            member.newest = member.newest.max(last);
            let share = member.share(&batch, sharers);
            let part = Picks::Range(member.picks_at, member.picks_at + member.picks.len());
            match (&member.sink, share) {
                (Sink::Fold(fold), _) => fold.fold(&batch, &member.picks),
                (Sink::Queue(queue), Share::All) => queue.push(&batch, Picks::All, scratch),
                (Sink::Queue(queue), Share::Part) => queue.push(&batch, part, scratch),
                (Sink::Queue(queue), Share::Copies) => {
                    queue.push_copies(&batch, &member.picks, scratch);
                }
            }
            member.picks.clear();
        }
        routing
    }

    /// Notes for each member which of the events it gets.
    fn route(&mut self, events: &[Stamped<E>]) -> Routing {
        let mut routing = Routing::default();
        let mut unmatched: SmallVec<[u32; 8]> = SmallVec::new();
        self.heap.clear();
        for (index, stamped) in events.iter().enumerate() {
            let channel = stamped.event.channel();
            let heap = stamped.event.heap_size();
            if heap > 0 {
                self.heap.resize(index, 0);
                self.heap.push(heap);
            }
            // A batch is far from four thousand million events long: the driver flushes at a few thousand.
            let index = index as u32;
            let Some((_, entries)) = self.channels.iter().find(|(name, _)| *name == channel) else {
                unmatched.push(index);
                continue;
            };
            let wildcard = entries.get("*");
            let by_symbol = stamped
                .event
                .symbols()
                .iter()
                .filter_map(|symbol| entries.get(symbol));
            let entries = by_symbol
                .chain(wildcard)
                .filter(|entry| entry.upstream == Upstream::Confirmed);
            let id: Option<Arc<str>> = stamped.event.unique_id().map(Into::into);
            let (mut is_matched, mut is_repeat) = (false, false);
            let slots = entries.flat_map(|entry| {
                entry.heard.set(Heard::Now);
                &entry.members
            });
            for slot in slots {
                let Some(member) = self.members[*slot].as_mut() else {
                    continue;
                };
                is_matched = true;
                // It came by its symbol, and by the wildcard again.
                if member.picks.last() == Some(&index) {
                    continue;
                }
                if id.as_ref().is_some_and(|id| !member.recent.insert(id)) {
                    is_repeat = true;
                    continue;
                }
                if member.picks.is_empty() {
                    self.touched.push(*slot);
                }
                member.picks.push(index);
            }
            routing.repeats += u64::from(is_repeat);
            if is_matched {
                routing.routed += 1;
            } else {
                unmatched.push(index);
            }
        }
        if !unmatched.is_empty() {
            self.count_unmatched(events, &unmatched, &mut routing);
        }
        routing
    }

    /// Gives back the memory that is kept for the next burst.
    pub(crate) fn release_memory(&mut self) {
        self.batches.clear();
        self.scratch = Scratch::new();
        self.touched = Vec::new();
        self.heap = Vec::new();
        for member in self.members.iter_mut().flatten() {
            member.picks = SmallVec::new();
        }
    }

    // ---- the table ----

    fn topics(&self) -> impl Iterator<Item = (Topic, &Entry)> {
        self.channels.iter().flat_map(|(channel, entries)| {
            entries
                .iter()
                .map(|(symbol, entry)| (Topic::new(*channel, symbol), entry))
        })
    }

    fn peek(&self, topic: &Topic) -> Option<&Entry> {
        self.channels
            .iter()
            .find(|(name, _)| *name == topic.channel)?
            .1
            .get(&topic.symbol)
    }

    fn entry(&mut self, topic: &Topic) -> &mut Entry {
        let channel = match self
            .channels
            .iter()
            .position(|(name, _)| *name == topic.channel)
        {
            Some(channel) => channel,
            None => {
                self.channels.push((topic.channel, BySymbol::default()));
                self.channels.len() - 1
            }
        };
        self.channels[channel]
            .1
            .entry(topic.symbol.clone())
            .or_default()
    }

    fn forget(&mut self, topic: &Topic) {
        if let Some((_, entries)) = self
            .channels
            .iter_mut()
            .find(|(name, _)| *name == topic.channel)
        {
            entries.remove(&topic.symbol);
        }
    }

    fn forget_unwanted(&mut self) {
        for (_, entries) in &mut self.channels {
            entries
                .retain(|_, entry| !entry.members.is_empty() || entry.upstream != Upstream::Absent);
        }
    }
}

/// A subscription that gets less than one in so many events of a batch gets copies.
const PINNING: usize = 4;
/// Batches that are used again: more are under way only where a reader is slow.
const MOST_BATCHES: usize = 8;
