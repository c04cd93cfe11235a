//! Who gets which event: the readers of each topic that is confirmed to them, and nothing else. The topic table decides what is
//! confirmed; the router is made from its [news](TableNews) alone.
//!
//! Owned by the stream's thread, so it has no lock. What an event costs is in proportion to its readers.
//!
//! # Map
//! | file | its job |
//! |---|---|
//! | `members.rs` | the subscriptions, each at a seat |
//! | `readers.rs` | who reads what: seats by channel and symbol; what follows from that, decided when it changes |
//! | `slicing.rs` | what of a batch is whose |
//! | `handing.rs` | how each member is handed its slice of the batch |
//! | `holds.rs` | events of topics that were asked for, until the answer |
//! | `recent.rs` | the ids of events that a member was given: what tells a repeat |
//! | `unmatched.rs` | who is told that events match nobody |
//! | `telling.rs` | what members are told of their topics, and of a line that is not live |
//! | `expectations.rs` | topics on which something has to arrive, and what follows where it does not |
//! | `rhythm.rs` | topics that fall silent, by their own past |
//! | `lanes.rs`, `by_symbol.rs` | sets of channels, and a map by symbol, for the hot path |
//!
//! None of them knows the router, and no two know each other. An event goes through [`dispatch`](Router::dispatch): held back,
//! sliced, handed. News goes through [`apply`](Router::apply): folds first, then readers, then queues.

mod by_symbol;
mod expectations;
mod handing;
pub(in crate::stream) mod holds;
mod lanes;
mod members;
mod readers;
mod recent;
mod rhythm;
mod slicing;
mod telling;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;
mod unmatched;

use std::time::{Duration, Instant};

use smallvec::SmallVec;

use self::{
    expectations::Expectations,
    handing::Handing,
    holds::{Holds, Most},
    members::Members,
    readers::{Readers, TopicReaders},
    rhythm::Rhythms,
    slicing::Slicing,
    telling::{Announced, Announcement, Announcements},
};
pub(crate) use self::{
    expectations::{Missing, Outlook},
    rhythm::Silence,
    telling::{Outage, Telling, TopicFate, TopicRecord},
};
use super::{
    sink::{Sink, TopicNews},
    subscriptions::Joined,
    topics::{SubscriptionId, TableNews},
};
use crate::{
    event::{Concerns, Gap, Notice, OddFields, Unparsed},
    health::SubscriptionHealth,
    topic::Topic,
    venue::{Events, Routed},
};

/// Where a member stands.
type Seat = usize;

pub(crate) struct Router<E> {
    members: Members<E>,
    readers: Readers,
    slicing: Slicing,
    handing: Handing<E>,
    holds: Holds<HeldEvent<E>, Seat>,
    expectations: Expectations,
    rhythms: Rhythms,
    /// Topics that began to be held too long ago: what they build on is lost.
    cut: Vec<Topic>,
    /// Since the connection was live last, if an attempt has failed.
    outage: Option<Outage>,
    /// What members were told of their topics since the driver last asked, for its records.
    told: Vec<TopicRecord>,
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
#[derive(Clone)]
struct HeldEvent<E> {
    event: E,
    received: Instant,
    odd_fields: OddFields,
}

/// What became of the events of a batch. Each of them was routed, or was unmatched, or was unsettled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Routing {
    /// Matched a subscription.
    pub(crate) routed: u64,
    /// Of those, the ones that were repeats to somebody.
    pub(crate) repeats: u64,
    /// Matched nobody, and nobody had asked for their topic.
    pub(crate) unmatched: u64,
    /// Matched nobody, and were of a topic that is wanted and not confirmed, or that was given back a moment ago.
    pub(crate) unsettled: u64,
    /// The topic of the newest that was unmatched.
    pub(crate) newest: Option<Topic>,
}

/// What is left of a member's wish for a topic that it gets no more of.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Still {
    Unwanted,
    /// It is wanted, and the venue does not send it.
    Refused,
    /// It is asked for again.
    Awaited,
}

impl<E: Routed> Router<E> {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            members: Members::new(),
            readers: Readers::default(),
            slicing: Slicing::default(),
            handing: Handing::new(),
            holds: Holds::new(MOST_HELD),
            expectations: Expectations::new(now),
            rhythms: Rhythms::default(),
            cut: Vec::new(),
            outage: None,
            told: Vec::new(),
            #[cfg(test)]
            log: None,
        }
    }

    // ---- members ----

    pub(crate) fn join(&mut self, joined: Joined<E>, now: Instant) {
        let seat = self.members.join(joined);
        if let (Some(outage), Some(member)) = (&self.outage, self.members.get_mut(seat)) {
            outage.tell(member, now);
        }
    }

    /// Its topics were told of as left before.
    pub(crate) fn leave(&mut self, id: SubscriptionId) {
        if let Some(seat) = self.members.leave(id) {
            self.holds.forget_reader(seat);
        }
    }

    /// What one member has counted.
    pub(crate) fn health(&self, id: SubscriptionId) -> Option<SubscriptionHealth> {
        Some(self.members.of(id)?.sink.health(id.number()))
    }

    // ---- the connection ----

    /// The connection is gone, and nothing is confirmed any more. Where it was live, that is a gap: every fold is cut before the
    /// first queue says so, whatever the order of the members.
    pub(crate) fn disconnected(&mut self, gap: Option<&Gap>) {
        if let Some(gap) = gap {
            self.cut(gap.epoch);
        }
        self.rhythms.forget_silence(&self.readers);
        self.expectations.disconnected();
        self.holds.clear();
        for (seat, topic) in self.readers.stop_all() {
            if let Some(Sink::Fold(fold)) = self.members.get(seat).map(|member| &member.sink) {
                fold.told(&topic, TopicNews::Stopped);
            }
        }
        self.members.stop_all();
        let Some(gap) = gap else { return };
        for member in self.members.iter() {
            let since = member.newest;
            let gap = gap.clone();
            member.sink.gap(Gap { since, ..gap });
        }
    }

    /// Nothing more comes of this connection: whoever holds a price of it has to know at once.
    pub(crate) fn cut(&self, epoch: u64) {
        self.members
            .iter()
            .for_each(|member| member.sink.cut(epoch));
    }

    /// The connection is live: what is expected is expected from here on.
    pub(crate) fn connected(&mut self, now: Instant) {
        self.outage = None;
        for member in self.members.iter_mut() {
            member.told_causes.clear();
        }
        self.expectations.connected(now);
    }

    /// An attempt has failed, or the line broke, of which a gap told everybody.
    pub(crate) fn not_live(&mut self, outage: Outage, is_told: bool, now: Instant) {
        for member in self.members.iter_mut() {
            if is_told {
                member.told_causes.push(outage.kind());
            }
            outage.tell(member, now);
        }
        self.outage = Some(outage);
    }

    /// The machine slept for so long: what arrived before is that much older.
    pub(crate) fn slept(&mut self, slept: Duration) {
        self.readers.slept(slept);
        self.expectations.slept(slept);
    }

    /// Whether something is late that was expected, so that whatever is read may end that.
    pub(crate) fn is_any_late(&self) -> bool {
        self.expectations.is_any_late()
    }

    /// Looks whether what is expected has come.
    pub(crate) fn look(&mut self, outlook: &Outlook<'_>) -> Missing {
        self.expectations.look(&self.readers, outlook)
    }

    /// Looks for topics that have fallen silent, once a second at most. `learns` says whether a topic's past says anything
    /// of its future.
    pub(crate) fn silence(
        &mut self,
        now: Instant,
        is_trading: impl FnOnce() -> bool,
        learns: impl Fn(&Topic) -> bool,
    ) -> Option<Silence> {
        self.rhythms.look(&self.readers, now, is_trading, learns)
    }

    // ---- news ----

    /// Does what the table has decided, in its order, and tells those whom it concerns. Says how many events that were held
    /// back somebody was given who had none of them before.
    ///
    /// Every fold knows of a loss before any queue is told, so that nobody who reads of it there finds a price that does not.
    pub(crate) fn apply(&mut self, news: Vec<TableNews>, telling: &Telling<'_>) -> u64 {
        for news in &news {
            self.tell_fold(news, true);
        }
        let mut announcements = Announcements::new();
        let mut claimed = 0;
        for news in news {
            self.tell_fold(&news, false);
            let (id, topic, what) = match news {
                TableNews::Confirmed {
                    id,
                    topic,
                    again: false,
                } => (id, Some(topic), Announced::Fate(TopicFate::Confirmed)),
                TableNews::Confirmed { id, topic, .. } => {
                    (id, Some(topic), Announced::ConfirmedAgain)
                }
                TableNews::Refused(id, topic, error) => {
                    let fate = TopicFate::Refused(error);
                    (id, Some(topic), Announced::Fate(fate))
                }
                TableNews::Displaced(id, topic, error) => {
                    let fate = TopicFate::Displaced(error);
                    (id, Some(topic), Announced::Fate(fate))
                }
                TableNews::Lost(id, topic) => (id, Some(topic), Announced::Lost),
                TableNews::Resumed(id) => (id, None, Announced::Resumed),
                TableNews::Joined(id, topic) => {
                    if let Some(seat) = self.members.seat(id) {
                        self.readers.want(&topic, seat);
                    }
                    continue;
                }
                TableNews::Left(id, topic) => {
                    if let Some(seat) = self.members.seat(id) {
                        self.stop(seat, &topic, Still::Unwanted, telling);
                    }
                    continue;
                }
                TableNews::Hold(topic) => {
                    self.holds.begin(&topic);
                    self.readers.hold(&topic, true);
                    continue;
                }
                TableNews::Settled(topic) => {
                    self.holds.settle(&topic);
                    self.readers.hold(&topic, false);
                    continue;
                }
            };
            let Some(seat) = self.members.seat(id) else {
                continue;
            };
            let announcement = announcements.of(seat, what);
            let Some(topic) = topic else { continue };
            if announcement.what.is_confirmed() {
                claimed += self.give_held(&topic, announcement);
                self.begin(seat, &topic, telling);
            } else {
                let still = match announcement.what {
                    Announced::Lost => Still::Awaited,
                    _ => Still::Refused,
                };
                self.stop(seat, &topic, still, telling);
            }
            announcement.topics.push(topic);
        }
        for announcement in announcements.into_list() {
            self.announce(announcement, telling);
        }
        claimed
    }

    /// Tells a fold of one of its topics, or, beforehand, only of what it loses.
    fn tell_fold(&self, news: &TableNews, beforehand: bool) {
        let (id, topic, told) = match news {
            TableNews::Confirmed { id, topic, .. } if !beforehand => {
                (id, topic, TopicNews::Confirmed)
            }
            TableNews::Lost(id, topic) | TableNews::Left(id, topic) => {
                (id, topic, TopicNews::Stopped)
            }
            TableNews::Refused(id, topic, why) | TableNews::Displaced(id, topic, why) => {
                (id, topic, TopicNews::Refused(why))
            }
            TableNews::Joined(..)
            | TableNews::Confirmed { .. }
            | TableNews::Resumed(_)
            | TableNews::Hold(_)
            | TableNews::Settled(_) => return,
        };
        if let Some(Sink::Fold(fold)) = self.members.of(*id).map(|member| &member.sink) {
            fold.told(topic, told);
        }
    }

    /// Adds to an announcement that a topic is confirmed what was held back of it.
    fn give_held(&mut self, topic: &Topic, announcement: &mut Announcement<E>) -> u64 {
        if !self.holds.has(topic) {
            return 0;
        }
        let (seat, readers) = (announcement.seat, &self.readers);
        let reads = |topic: &Topic| {
            let of = readers.find(topic);
            of.is_some_and(|of| of.readers.contains(&seat))
        };
        let has = |held: &HeldEvent<E>| {
            let symbols = held.event.symbols().iter();
            let own = symbols.map(|symbol| Topic::new(topic.channel, symbol));
            own.chain([Topic::new(topic.channel, "*")])
                .any(|topic| reads(&topic))
        };
        let is_of = |held: &HeldEvent<E>, topic: &Topic| {
            topic.is_wildcard() || held.event.symbols().contains(&topic.symbol)
        };
        let given = self.holds.give(topic, seat, has, is_of);
        let newest = given
            .numbers
            .last()
            .and_then(|number| self.holds.get(*number));
        if let (Some(newest), Some(of)) = (newest, self.readers.find(topic)) {
            of.hear(newest.received);
        }
        announcement.missed += given.missed;
        for number in given.numbers {
            if let Some(held) = self.holds.get(number) {
                let given = &mut announcement.given;
                given.entry(number).or_insert_with(|| held.clone());
            }
        }
        given.claimed
    }

    /// A member gets a topic from here on.
    fn begin(&mut self, seat: Seat, topic: &Topic, telling: &Telling<'_>) {
        if let Some(lane) = self.readers.begin_reading(topic, seat) {
            self.members.set_wide(seat, lane, true);
        }
        let own = self.members.get(seat).and_then(|member| member.expected);
        let within = [
            own,
            (telling.expects)(topic),
            self.expectations.within(topic),
        ];
        if let Some(within) = within.into_iter().flatten().min() {
            self.expectations.expect(topic, within, telling.at);
        }
    }

    /// A member gets no more of a topic, which it may still want, and which may be asked for again.
    fn stop(&mut self, seat: Seat, topic: &Topic, still: Still, telling: &Telling<'_>) {
        let is_wanted = still != Still::Unwanted;
        let stopped = self
            .readers
            .stop_reading(topic, seat, is_wanted, telling.at);
        if let Some(lane) = stopped.lane {
            self.members.set_wide(seat, lane, false);
        }
        if stopped.was_reader {
            self.holds.left(topic, seat);
        }
        let of = self.readers.find(topic);
        let is_read = of.is_some_and(TopicReaders::is_read);
        match still {
            // Its readers stop one after the other, and begin again.
            Still::Awaited if is_read => {}
            Still::Awaited => self.expectations.pause(topic),
            Still::Unwanted => self.expect_less(topic, telling),
            Still::Refused => {
                self.expectations.forget(topic);
                self.rhythms.refused(topic, &self.readers);
            }
        }
    }

    /// One of those that want a topic has left, and what the others expect remains.
    fn expect_less(&mut self, topic: &Topic, telling: &Telling<'_>) {
        if !self.expectations.has(topic) {
            return;
        }
        let of = self.readers.find(topic).filter(|of| of.is_wanted());
        let Some(of) = of else {
            return self.expectations.forget(topic);
        };
        let is_read = of.is_read();
        let seats = if is_read { &of.readers } else { &of.waiting };
        let members = seats.iter().filter_map(|seat| self.members.get(*seat));
        let own = members.filter_map(|member| member.expected);
        match own.chain((telling.expects)(topic)).min() {
            Some(least) if is_read => self.expectations.expect(topic, least, telling.at),
            Some(_) => self.expectations.pause(topic),
            None => self.expectations.forget(topic),
        }
    }

    fn announce(&mut self, announcement: Announcement<E>, telling: &Telling<'_>) {
        let Announcement {
            seat,
            what,
            mut topics,
            given,
            missed,
        } = announcement;
        topics.sort_unstable();
        let Some(member) = self.members.get_mut(seat) else {
            return;
        };
        match what {
            Announced::Lost => {
                #[cfg(test)]
                self.log
                    .iter_mut()
                    .for_each(|log| log.push((member.id, Handed::Lost)));
                member.sink.gap(Gap {
                    since: member.newest,
                    topics: topics.into(),
                    ..telling.gap.clone()
                });
            }
            Announced::Resumed => member.sink.notice(|| Notice::Resumed {
                epoch: telling.epoch,
                at: telling.now,
            }),
            Announced::Fate(fate) => {
                member.sink.notice(|| fate.clone().notice(topics.clone()));
                let correlation = member.correlation.clone();
                self.told.push(TopicRecord {
                    correlation,
                    topics,
                    fate,
                });
            }
            Announced::ConfirmedAgain => {}
        }
        if missed > 0 {
            member.sink.lose(missed);
        }
        let mut given = given;
        given.retain(|_, held| {
            let id = held.event.unique_id().map(Into::into);
            id.is_none_or(|id| member.recent.insert(&id))
        });
        if given.is_empty() {
            return;
        }
        #[cfg(test)]
        if let Some(log) = &mut self.log {
            let events = given.values().map(|held| held.event.clone());
            log.extend(events.map(|event| (member.id, Handed::Event(telling.epoch, event))));
        }
        let batch = self.handing.held(given, telling.epoch, telling.asleep);
        self.handing.give(&batch, seat, &mut self.members);
    }

    /// Says something to every subscription.
    pub(crate) fn notice(&self, notice: &Notice) {
        for member in self.members.iter() {
            member.sink.notice(|| notice.clone());
        }
    }

    /// Says that something could not be read, to those whose events it may have held: what folds them first.
    pub(crate) fn unparsed(&self, unparsed: &Unparsed) {
        let concerned = self.readers.concerned(&unparsed.concerns);
        let members = || {
            let seats = self.members.seats();
            let seats = seats.filter(|seat| concerned.as_ref().is_none_or(|of| of.contains(seat)));
            seats.filter_map(|seat| self.members.get(seat))
        };
        if unparsed.concerns != Concerns::Nobody {
            members().for_each(|member| member.sink.missed(&unparsed.concerns));
        }
        for member in members() {
            member.sink.notice(|| Notice::Unparsed(unparsed.clone()));
        }
    }

    /// Declares that every subscription was too slow for so many events. For a stream that a test feeds.
    pub(crate) fn lose(&self, count: u64) {
        self.members
            .iter()
            .for_each(|member| member.sink.lose(count));
    }

    // ---- what the driver asks for ----

    /// What members were told of their topics since the last call.
    pub(crate) fn take_told(&mut self) -> Vec<TopicRecord> {
        std::mem::take(&mut self.told)
    }

    /// Subscriptions that ended since the last call, because they were too slow.
    pub(crate) fn take_overflowed(&mut self) -> Vec<SubscriptionId> {
        std::mem::take(&mut self.handing.overflowed)
    }

    /// Topics that were held back for too long since the last call: events that they build on are lost.
    pub(crate) fn take_cut(&mut self) -> Vec<Topic> {
        std::mem::take(&mut self.cut)
    }

    /// Gives back the memory that is kept for the next burst.
    pub(crate) fn release_memory(&mut self, now: Instant) {
        self.readers.forget_departures(now);
        self.slicing = Slicing::default();
        self.handing.release_memory();
        for member in self.members.iter_mut() {
            member.places = SmallVec::new();
        }
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
        let Some(first) = events.first() else {
            return Routing::default();
        };
        self.readers.forget_departures(first.received);
        let newest = events.last().map_or(first.received, |last| last.received);
        if !self.holds.is_empty() {
            self.hold_back(events);
        }
        let routing = self
            .slicing
            .slice(events, &mut self.readers, &mut self.members);
        for topic in self.slicing.to_tell.drain(..) {
            unmatched::tell(&topic, &self.readers, &mut self.members);
        }
        #[cfg(test)]
        self.log(events, epoch);
        if routing.routed + routing.unsettled > 0 {
            self.expectations.heard(newest);
        }
        if self.slicing.touched.is_empty() {
            events.clear();
            return routing;
        }
        let (slicing, members) = (&mut self.slicing, &mut self.members);
        self.handing.hand(events, epoch, asleep, slicing, members);
        routing
    }

    /// Holds back copies of what was asked for and is not confirmed.
    #[cold]
    fn hold_back(&mut self, events: &Events<E>) {
        for (index, stamped) in events.iter().enumerate() {
            let event = &stamped.event;
            let Some(place) = self.readers.place(event.channel()) else {
                continue;
            };
            let channel = self.readers.at(place);
            let named = event.symbols().iter();
            let named = named.filter_map(|symbol| Some((symbol, channel.by_symbol.get(symbol)?)));
            let topics: SmallVec<[_; 2]> = named
                .map(|(symbol, of)| (symbol.as_str(), of))
                .chain([("*", &channel.wildcard)])
                .collect();
            if !topics.iter().any(|(_, of)| of.is_held) {
                continue;
            }
            let has_readers = topics.iter().any(|(_, of)| !of.readers.is_empty());
            let topics = topics
                .iter()
                .map(|(symbol, _)| Topic::new(event.channel(), *symbol));
            let topics: SmallVec<[Topic; 2]> = topics.collect();
            let held = HeldEvent {
                event: event.clone(),
                received: stamped.received,
                odd_fields: events.odd_fields(index),
            };
            let size = size_of::<HeldEvent<E>>() + event.heap_size();
            let cut = self.holds.take_in(topics.iter(), held, size, has_readers);
            self.cut.extend(cut);
        }
    }

    #[cfg(test)]
    fn log(&mut self, events: &Events<E>, epoch: u64) {
        let Some(log) = &mut self.log else { return };
        let touched = self.slicing.touched.iter();
        for member in touched.filter_map(|seat| self.members.get(*seat)) {
            for (place, stamped) in events.iter().enumerate() {
                if member.takes_whole || member.places.contains(&(place as u32)) {
                    log.push((member.id, Handed::Event(epoch, stamped.event.clone())));
                }
            }
        }
    }

    /// The topics that each member gets.
    #[cfg(test)]
    pub(in crate::stream) fn routed(&self) -> std::collections::BTreeSet<(SubscriptionId, Topic)> {
        let topics = self.readers.iter();
        let routed = topics.flat_map(|(channel, symbol, of)| {
            let members = of.readers.iter().filter_map(|seat| self.members.get(*seat));
            members.map(move |member| (member.id, Topic::new(channel, symbol)))
        });
        routed.collect()
    }
}

/// How much is held back for one stream.
const MOST_HELD: Most = Most {
    events: 4_096,
    bytes: 4 << 20,
};
