//! Who gets which event: the readers of each topic that is confirmed to them, and nothing else. The topic table decides what is
//! confirmed; the router is made from its [news](News) alone.
//!
//! Owned by the stream's thread, so it has no lock. What an event costs is in proportion to its readers.

mod by_symbol;
pub(in crate::stream) mod holds;
mod recent;
mod rhythm;
mod route;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod unmatched;

use std::{
    cell::Cell,
    collections::{BTreeMap, HashMap, HashSet},
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use self::{
    holds::{Holds, Most},
    recent::Recent,
    rhythm::Rhythms,
    route::{Channels, Lanes, Routes},
    unmatched::Unmatched,
};
pub(crate) use self::{rhythm::Silence, unmatched::Routing};
use super::{
    batch::{Batch, Pool},
    entries::{Picks, Scratch},
    sink::{Sink, TopicNews},
    subscriptions::Joined,
    topics::{News, SubscriptionId},
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::Error,
    event::{Concerns, Gap, Notice, OddFields, Unparsed},
    health::SubscriptionHealth,
    market::Timestamp,
    topic::{Channel, Topic},
    venue::{Events, Routed, Stamped},
};

pub(crate) struct Router<E> {
    /// By slot, so that an event is routed by index and not by hash.
    members: Vec<Option<Member<E>>>,
    slots: HashMap<SubscriptionId, usize>,
    channels: Channels,
    routes: Routes,
    holds: Holds<Held<E>, usize>,
    /// Topics that began to be held too long ago: what they build on is lost.
    cut: Vec<Topic>,
    /// Topics on which the venue says that something has to arrive so often.
    expected: HashMap<Topic, Duration>,
    unmatched: Unmatched,
    rhythms: Rhythms,
    /// Since the connection was live last, if an attempt has failed.
    outage: Option<Outage>,
    /// What members were told of their topics since the driver last asked, for its records.
    told: Vec<TopicRecord>,
    /// Subscriptions whose queues were ended because they were full.
    overflowed: Vec<SubscriptionId>,
    /// Which members the batch at hand concerns. Kept for its memory.
    touched: Vec<usize>,
    /// What the events of the batch at hand keep outside of themselves, up to the last that keeps any. Kept for its memory.
    heap: Vec<usize>,
    batches: Pool<E>,
    scratch: Scratch<E>,
    /// What was handed to members, in order.
    #[cfg(test)]
    pub(in crate::stream) log: Option<Vec<(SubscriptionId, Handed<E>)>>,
}

/// An event, with the connection that brought it, or that some topics were lost.
#[cfg(test)]
pub(in crate::stream) enum Handed<E> {
    Event(u64, E),
    Lost,
}

/// An event that is held back, until its topic is confirmed.
struct Held<E> {
    event: E,
    received: Instant,
    odd_fields: OddFields,
}

/// Somebody was told of topics: for the records.
pub(crate) struct TopicRecord {
    /// Whose they are.
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

/// Why the line is not live.
pub(crate) struct Outage {
    /// How many attempts have failed in a row.
    pub(crate) attempt: u32,
    /// Why the last one did.
    pub(crate) cause: Error,
    /// When the next one is due.
    pub(crate) retry_at: Instant,
}

/// What the news is told with.
pub(crate) struct Telling<'a> {
    /// A gap in some topics of a connection that goes on, but for its topics.
    pub(crate) gap: Gap,
    pub(crate) epoch: u64,
    pub(crate) now: Timestamp,
    pub(crate) asleep: Duration,
    /// The venue's own expectation of a topic.
    pub(crate) expects: &'a dyn Fn(&Topic) -> Option<Duration>,
}

/// What every event looks at comes first, in a line of the processor's cache: where there are many members, few of them
/// stay near.
#[repr(C, align(64))]
struct Member<E> {
    sink: Sink<E>,
    /// Which events of the batch at hand it gets, and where they stand among the batch's picks. Or it gets all of them.
    picks: SmallVec<[u32; 4]>,
    picks_at: usize,
    takes_whole: bool,
    /// It keeps a queue that takes a part of a batch as it is.
    takes_runs: bool,
    /// The channels that it gets all of.
    wide: Lanes,
    /// When something arrived last.
    heard: Instant,
    /// When the newest of its events happened, by the venue's clock.
    newest: Option<Timestamp>,
    id: SubscriptionId,
    /// Whose it is.
    correlation: Option<CorrelationId>,
    /// How many topics are confirmed to it.
    topics: usize,
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
        if self.takes_whole {
            return Share::All;
        }
        let (count, total) = (self.picks.len(), batch.events.len());
        let is_alone = count == 1 && members == 1;
        if !self.takes_runs || is_alone || count < total / PINNING {
            Share::Copies
        } else if count == total {
            Share::All
        } else if self.is_light(batch) {
            Share::Copies
        } else {
            Share::Part
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

/// A topic that somebody was told of. With its symbol it fills a line of the processor's cache, and lies in one.
#[derive(Default)]
#[repr(align(32))]
struct Entry {
    /// Those that get its events.
    members: SmallVec<[usize; 2]>,
    /// Those that want it and do not get it now.
    without: SmallVec<[usize; 2]>,
    heard: Cell<Heard>,
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

/// News of one kind for one member, to be told at once.
struct Group<E> {
    slot: usize,
    kind: Kind,
    topics: Vec<Topic>,
    /// Events that were held back, by their numbers, and how many more there were.
    given: BTreeMap<u64, Held<E>>,
    missed: u64,
}

enum Kind {
    Confirmed { again: bool },
    Lost,
    Refused(Error),
    Displaced(Error),
    Resumed,
}

impl Kind {
    fn is_like(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Confirmed { again: one }, Self::Confirmed { again: other }) => one == other,
            (Self::Lost, Self::Lost) | (Self::Resumed, Self::Resumed) => true,
            (Self::Refused(one), Self::Refused(other))
            | (Self::Displaced(one), Self::Displaced(other)) => {
                one.code() == other.code() && one.to_string() == other.to_string()
            }
            _ => false,
        }
    }
}

impl<E: Routed> Router<E> {
    pub(crate) fn new() -> Self {
        Self {
            members: Vec::new(),
            slots: HashMap::new(),
            channels: Channels::default(),
            routes: Routes::default(),
            holds: Holds::new(MOST_HELD),
            cut: Vec::new(),
            expected: HashMap::new(),
            unmatched: Unmatched::default(),
            rhythms: Rhythms::default(),
            outage: None,
            told: Vec::new(),
            overflowed: Vec::new(),
            touched: Vec::new(),
            heap: Vec::new(),
            batches: Pool::new(MOST_BATCHES),
            scratch: Scratch::new(),
            #[cfg(test)]
            log: None,
        }
    }

    // ---- members ----

    pub(crate) fn join(&mut self, joined: Joined<E>, now: Instant) {
        let member = Member {
            takes_runs: matches!(&joined.sink, Sink::Queue(queue) if !queue.conflates()),
            sink: joined.sink,
            picks: SmallVec::new(),
            picks_at: 0,
            takes_whole: false,
            wide: Lanes::default(),
            heard: now,
            newest: None,
            id: joined.id,
            correlation: joined.correlation,
            topics: 0,
            expected: joined.expected,
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
        self.slots.insert(joined.id, slot);
        if let Some(outage) = self.outage.take() {
            self.tell_why(slot, &outage, now);
            self.outage = Some(outage);
        }
    }

    /// Its topics were told of as left before.
    pub(crate) fn leave(&mut self, id: SubscriptionId) {
        if let Some(slot) = self.slots.remove(&id) {
            self.members[slot] = None;
        }
    }

    // ---- the connection ----

    /// The connection is gone, and nothing is confirmed any more. Where it was live, that is a gap: every fold is cut before the
    /// first queue says so, whatever the order of the members.
    pub(crate) fn disconnected(&mut self, gap: Option<&Gap>) {
        if let Some(gap) = gap {
            self.cut(gap.epoch);
        }
        self.forget_silence();
        self.holds.clear();
        for (channel, entries) in self.channels.iter_mut() {
            for (symbol, entry) in entries {
                for slot in std::mem::take(&mut entry.members) {
                    entry.without.push(slot);
                    if let Some(Sink::Fold(fold)) = self.members[slot].as_ref().map(|of| &of.sink) {
                        fold.told(&Topic::new(*channel, symbol), TopicNews::Stopped);
                    }
                }
            }
        }
        for member in self.members.iter_mut().flatten() {
            member.topics = 0;
            if let Some(gap) = gap {
                let since = member.newest;
                member.sink.gap(Gap {
                    since,
                    ..gap.clone()
                });
            }
        }
    }

    /// Nothing more comes of this connection: whoever holds a price of it has to know at once.
    pub(crate) fn cut(&self, epoch: u64) {
        for member in self.members.iter().flatten() {
            member.sink.cut(epoch);
        }
    }

    /// The connection is live: what is expected is expected from here on.
    pub(crate) fn connected(&mut self, now: Instant) {
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
    /// did last.
    pub(crate) fn least_left(
        &self,
        left: impl Fn(Duration, Instant) -> Duration,
    ) -> Option<Duration> {
        let members = self.members.iter().flatten();
        let own = members
            .filter(|member| member.topics > 0)
            .filter_map(|member| Some((member.expected?, member.heard)));
        let of_topics = self.expected.iter().flat_map(|(topic, within)| {
            let slots = self
                .peek(topic)
                .into_iter()
                .flat_map(|entry| &entry.members);
            let members = slots.filter_map(|slot| self.members[*slot].as_ref());
            members.map(|member| (*within, member.heard))
        });
        own.chain(of_topics)
            .map(|(within, heard)| left(within, heard))
            .min()
    }

    // ---- news ----

    /// Does what the table has decided, in its order, and tells those whom it concerns. Says how many events that were held
    /// back somebody was given who had none of them before.
    ///
    /// Every fold knows of a loss before any queue is told, so that nobody who reads of it there finds a price that does not.
    pub(crate) fn apply(&mut self, news: Vec<News>, telling: &Telling<'_>) -> u64 {
        for news in &news {
            self.tell_fold(news, true);
        }
        let mut groups: Vec<Group<E>> = Vec::new();
        let mut last: HashMap<usize, usize> = HashMap::new();
        let mut claimed = 0;
        for news in news {
            self.tell_fold(&news, false);
            let (id, topic, kind) = match news {
                News::Confirmed { id, topic, again } => {
                    (id, Some(topic), Kind::Confirmed { again })
                }
                News::Lost(id, topic) => (id, Some(topic), Kind::Lost),
                News::Refused(id, topic, error) => (id, Some(topic), Kind::Refused(error)),
                News::Displaced(id, topic, error) => (id, Some(topic), Kind::Displaced(error)),
                News::Resumed(id) => (id, None, Kind::Resumed),
                News::Joined(id, topic) => {
                    if let Some(slot) = self.slots.get(&id).copied() {
                        self.entry(&topic).without.push(slot);
                    }
                    continue;
                }
                News::Left(id, topic) => {
                    self.remove(id, &topic, false);
                    continue;
                }
                News::Hold(topic) => {
                    self.holds.begin(&topic);
                    continue;
                }
                News::Settled(topic) => {
                    self.holds.settle(&topic);
                    continue;
                }
            };
            let Some(slot) = self.slots.get(&id).copied() else {
                continue;
            };
            let group = match last.get(&slot) {
                Some(group) if groups[*group].kind.is_like(&kind) => *group,
                _ => {
                    last.insert(slot, groups.len());
                    groups.push(Group {
                        slot,
                        kind,
                        topics: Vec::new(),
                        given: BTreeMap::new(),
                        missed: 0,
                    });
                    groups.len() - 1
                }
            };
            let Some(topic) = topic else { continue };
            let group = &mut groups[group];
            if matches!(group.kind, Kind::Confirmed { .. }) {
                claimed += self.add(slot, &topic, group, telling);
            } else {
                self.remove(id, &topic, true);
            }
            group.topics.push(topic);
        }
        for group in groups {
            self.tell(group, telling);
        }
        claimed
    }

    /// Tells a fold of one of its topics, or, beforehand, only of what it loses.
    fn tell_fold(&self, news: &News, beforehand: bool) {
        let (id, topic, told) = match news {
            News::Confirmed { id, topic, .. } if !beforehand => (id, topic, TopicNews::Confirmed),
            News::Lost(id, topic) | News::Left(id, topic) => (id, topic, TopicNews::Stopped),
            News::Refused(id, topic, why) | News::Displaced(id, topic, why) => {
                (id, topic, TopicNews::Refused(why))
            }
            News::Joined(..)
            | News::Confirmed { .. }
            | News::Resumed(_)
            | News::Hold(_)
            | News::Settled(_) => return,
        };
        if let Some(Sink::Fold(fold)) = self.member(*id).map(|member| &member.sink) {
            fold.told(topic, told);
        }
    }

    /// A topic is confirmed to a member, which is given what was held back of it.
    fn add(
        &mut self,
        slot: usize,
        topic: &Topic,
        group: &mut Group<E>,
        telling: &Telling<'_>,
    ) -> u64 {
        let mut claimed = 0;
        if self.holds.has(topic) {
            let channels = &self.channels;
            let has = |held: &Held<E>| {
                let symbols = held.event.symbols().iter();
                let own = symbols.map(|symbol| Topic::new(topic.channel, symbol));
                own.chain([wildcard(topic.channel)]).any(|topic| {
                    let entry = find(channels, &topic);
                    entry.is_some_and(|entry| entry.members.contains(&slot))
                })
            };
            let given = self.holds.give(topic, slot, has);
            claimed = given.claimed;
            group.missed += given.missed;
            for number in given.numbers {
                if let Some(held) = self.holds.get(number) {
                    group.given.entry(number).or_insert_with(|| Held {
                        event: held.event.clone(),
                        received: held.received,
                        odd_fields: held.odd_fields.clone(),
                    });
                }
            }
        }
        if let Some(within) = (telling.expects)(topic) {
            self.expected.insert(topic.clone(), within);
        }
        let entry = self.entry(topic);
        entry.without.retain(|other| *other != slot);
        entry.members.push(slot);
        if let Some(member) = &mut self.members[slot] {
            member.topics += 1;
        }
        self.unmatched.confirmed();
        claimed
    }

    /// A member gets no more of a topic. It may still want it.
    fn remove(&mut self, id: SubscriptionId, topic: &Topic, is_wanted: bool) {
        let Some(slot) = self.slots.get(&id).copied() else {
            return;
        };
        let entry = self.entry(topic);
        let before = entry.members.len();
        entry.members.retain(|other| *other != slot);
        let was_reader = entry.members.len() < before;
        entry.without.retain(|other| *other != slot);
        if is_wanted {
            entry.without.push(slot);
        }
        let has_readers = !entry.members.is_empty();
        let is_idle = !has_readers && entry.without.is_empty();
        if is_idle {
            self.forget(topic);
        }
        if !has_readers {
            self.expected.remove(topic);
        }
        if was_reader {
            if let Some(member) = &mut self.members[slot] {
                member.topics -= 1;
            }
            if !has_readers {
                self.unmatched.leave(topic, clock::now());
            }
            self.holds.left(topic, slot);
        }
    }

    fn tell(&mut self, group: Group<E>, telling: &Telling<'_>) {
        let mut topics = group.topics;
        topics.sort_unstable();
        let Some(member) = &self.members[group.slot] else {
            return;
        };
        let word = match group.kind {
            Kind::Confirmed { again: false } => Some(Word::Confirmed),
            Kind::Confirmed { again: true } => None,
            Kind::Refused(error) => Some(Word::Refused(error)),
            Kind::Displaced(error) => Some(Word::Displaced(error)),
            Kind::Lost => {
                #[cfg(test)]
                self.log
                    .iter_mut()
                    .for_each(|log| log.push((member.id, Handed::Lost)));
                return member.sink.gap(Gap {
                    since: member.newest,
                    topics: topics.into(),
                    ..telling.gap.clone()
                });
            }
            Kind::Resumed => {
                return member.sink.notice(|| Notice::Resumed {
                    epoch: telling.epoch,
                    at: telling.now,
                    correlation: None,
                });
            }
        };
        if let Some(word) = word {
            member.sink.notice(|| word.clone().notice(topics.clone()));
            self.told.push(TopicRecord {
                correlation: member.correlation.clone(),
                topics,
                word,
            });
        }
        if group.missed > 0 {
            member.sink.lose(group.missed);
        }
        self.give(group.slot, group.given, telling);
    }

    /// Gives a member what was held back for it.
    fn give(&mut self, slot: usize, given: BTreeMap<u64, Held<E>>, telling: &Telling<'_>) {
        let Some(member) = self.members[slot].as_mut().filter(|_| !given.is_empty()) else {
            return;
        };
        let mut events = Events::new();
        for held in given.into_values() {
            let id = held.event.unique_id().map(Into::into);
            if id.is_none_or(|id| member.recent.insert(&id)) {
                events.push_odd(held.event, held.received, held.odd_fields);
            }
        }
        #[cfg(test)]
        if let Some(log) = &mut self.log {
            let events = events.iter().map(|stamped| stamped.event.clone());
            log.extend(events.map(|event| (member.id, Handed::Event(telling.epoch, event))));
        }
        let newest = events
            .iter()
            .filter_map(|stamped| stamped.event.happened_at())
            .max();
        member.newest = member.newest.max(newest);
        let picks: Vec<u32> = (0..events.len() as u32).collect();
        let batch = self.batches.fill(|batch| {
            batch
                .heap
                .extend(events.iter().map(|stamped| stamped.event.heap_size()));
            batch.events = events;
            batch.epoch = telling.epoch;
            batch.asleep = telling.asleep;
        });
        match &member.sink {
            Sink::Fold(fold) => fold.fold(&batch, &picks),
            Sink::Queue(queue) => {
                if queue.push_copies(&batch, &picks, &mut self.scratch) {
                    self.overflowed.push(member.id);
                }
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
        let slots = self.concerned(&unparsed.concerns);
        let members = || slots.iter().filter_map(|slot| self.members[*slot].as_ref());
        if unparsed.concerns != Concerns::Nobody {
            members().for_each(|member| member.sink.missed(&unparsed.concerns));
        }
        for member in members() {
            member.sink.notice(|| Notice::Unparsed(unparsed.clone()));
        }
    }

    /// The members that want what this concerns. Where it concerns nobody, that is news for all.
    fn concerned(&self, concerns: &Concerns) -> Vec<usize> {
        let entries: Vec<&Entry> = match concerns {
            Concerns::Everybody | Concerns::Nobody => {
                let slots = 0..self.members.len();
                return slots.filter(|slot| self.members[*slot].is_some()).collect();
            }
            Concerns::Topic(topic) if !topic.is_wildcard() => {
                let entries = [self.peek(topic), self.peek(&wildcard(topic.channel))];
                entries.into_iter().flatten().collect()
            }
            Concerns::Topic(Topic { channel, .. }) | Concerns::Channel(channel) => {
                let entries = self.channels.iter().filter(|(name, _)| name == channel);
                entries.flat_map(|(_, entries)| entries.values()).collect()
            }
        };
        let slots: HashSet<usize> = entries
            .iter()
            .flat_map(|entry| entry.members.iter().chain(&entry.without))
            .copied()
            .collect();
        let mut slots: Vec<usize> = slots.into_iter().collect();
        slots.sort_unstable();
        slots
    }

    /// What members were told of their topics since the last call.
    pub(crate) fn take_told(&mut self) -> Vec<TopicRecord> {
        std::mem::take(&mut self.told)
    }

    /// Subscriptions that ended since the last call, because they were too slow.
    pub(crate) fn take_overflowed(&mut self) -> Vec<SubscriptionId> {
        std::mem::take(&mut self.overflowed)
    }

    /// Topics that were held back for too long since the last call: events that they build on are lost.
    pub(crate) fn take_cut(&mut self) -> Vec<Topic> {
        std::mem::take(&mut self.cut)
    }

    /// Declares that every subscription was too slow for so many events. For a stream that a test feeds.
    pub(crate) fn lose(&self, count: u64) {
        for member in self.members.iter().flatten() {
            member.sink.lose(count);
        }
    }

    /// What one member has counted.
    pub(crate) fn health(&self, id: SubscriptionId) -> Option<SubscriptionHealth> {
        Some(self.member(id)?.sink.health(id.number()))
    }

    // ---- events ----

    /// Hands events to those whose topics they match, each once, in order. Costs what matches.
    ///
    /// Only to topics that are confirmed: the venue may be sending an event for another topic, for example a wildcard,
    /// and stop before this one's turn comes, which would leave a hole that nobody declares. What comes of a topic that was
    /// asked for is held back.
    ///
    /// Says what became of them. `asleep` is how long the machine had been when they were read.
    pub(crate) fn dispatch(
        &mut self,
        events: &mut Events<E>,
        epoch: u64,
        asleep: Duration,
    ) -> Routing {
        if !self.holds.is_empty() {
            self.hold_back(events);
        }
        let routing = self.route(events);
        if self.touched.is_empty() {
            events.clear();
            return routing;
        }
        #[cfg(test)]
        self.log(events, epoch);
        let Self {
            members,
            touched,
            heap,
            batches,
            scratch,
            overflowed,
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
            let last = match member.picks.last() {
                Some(last) => batch.events.get(*last as usize),
                None => batch.events.last(),
            };
            let last = last.and_then(|last| last.event.happened_at());
            member.newest = member.newest.max(last);
            let share = member.share(&batch, sharers);
            let part = Picks::Range(member.picks_at, member.picks_at + member.picks.len());
            let has_overflowed = match (&member.sink, share) {
                (Sink::Fold(fold), _) => {
                    fold.fold(&batch, &member.picks);
                    false
                }
                (Sink::Queue(queue), Share::All) => queue.push(&batch, Picks::All, scratch),
                (Sink::Queue(queue), Share::Part) => queue.push(&batch, part, scratch),
                (Sink::Queue(queue), Share::Copies) => {
                    queue.push_copies(&batch, &member.picks, scratch)
                }
            };
            if has_overflowed {
                overflowed.push(member.id);
            }
            member.picks.clear();
            member.takes_whole = false;
        }
        routing
    }

    #[cfg(test)]
    fn log(&mut self, events: &Events<E>, epoch: u64) {
        let Some(log) = &mut self.log else { return };
        for member in self
            .touched
            .iter()
            .filter_map(|slot| self.members[*slot].as_ref())
        {
            for (place, stamped) in events.iter().enumerate() {
                if member.takes_whole || member.picks.contains(&(place as u32)) {
                    log.push((member.id, Handed::Event(epoch, stamped.event.clone())));
                }
            }
        }
    }

    /// The topics that each member gets.
    #[cfg(test)]
    pub(in crate::stream) fn routed(&self) -> std::collections::BTreeSet<(SubscriptionId, Topic)> {
        let entries = self.channels.iter().flat_map(|(channel, entries)| {
            entries
                .iter()
                .map(|(symbol, entry)| (Topic::new(*channel, symbol), entry))
        });
        let routed = entries.flat_map(|(topic, entry)| {
            let members = entry
                .members
                .iter()
                .filter_map(|slot| self.members[*slot].as_ref());
            members.map(move |member| (member.id, topic.clone()))
        });
        routed.collect()
    }

    /// Holds back copies of what was asked for and is not confirmed.
    #[cold]
    fn hold_back(&mut self, events: &Events<E>) {
        for (place, stamped) in events.iter().enumerate() {
            let channel = stamped.event.channel();
            let symbols = stamped.event.symbols().iter();
            let topics = symbols.map(|symbol| Topic::new(channel, symbol));
            let topics: SmallVec<[Topic; 2]> = topics.chain([wildcard(channel)]).collect();
            if !topics.iter().any(|topic| self.holds.has(topic)) {
                continue;
            }
            let has_readers = topics.iter().any(|topic| {
                self.peek(topic)
                    .is_some_and(|entry| !entry.members.is_empty())
            });
            let held = Held {
                event: stamped.event.clone(),
                received: stamped.received,
                odd_fields: events.odd_fields(place),
            };
            let size = size_of::<Held<E>>() + stamped.event.heap_size();
            let cut = self.holds.take_in(topics.iter(), held, size, has_readers);
            self.cut.extend(cut);
        }
    }

    /// Gives back the memory that is kept for the next burst.
    pub(crate) fn release_memory(&mut self) {
        self.batches.clear();
        self.scratch = Scratch::new();
        self.touched = Vec::new();
        self.heap = Vec::new();
        self.routes.release_memory();
        for member in self.members.iter_mut().flatten() {
            member.picks = SmallVec::new();
        }
    }

    // ---- small things ----

    fn member(&self, id: SubscriptionId) -> Option<&Member<E>> {
        self.members[*self.slots.get(&id)?].as_ref()
    }

    fn peek(&self, topic: &Topic) -> Option<&Entry> {
        find(&self.channels, topic)
    }

    fn entry(&mut self, topic: &Topic) -> &mut Entry {
        let channel = match self
            .channels
            .iter()
            .position(|(name, _)| *name == topic.channel)
        {
            Some(channel) => channel,
            None => {
                self.channels.push((topic.channel, Default::default()));
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
}

fn find<'a>(channels: &'a Channels, topic: &Topic) -> Option<&'a Entry> {
    let (_, entries) = channels.iter().find(|(name, _)| *name == topic.channel)?;
    entries.get(&topic.symbol)
}

fn wildcard(channel: Channel) -> Topic {
    Topic::new(channel, "*")
}

/// A subscription that gets less than one in so many events of a batch gets copies.
const PINNING: usize = 4;
/// Batches that are used again: more are under way only where a reader is slow.
const MOST_BATCHES: usize = 8;
/// How much is held back for one stream.
const MOST_HELD: Most = Most {
    events: 4_096,
    bytes: 4 << 20,
};
