//! Who reads what: the readers of each topic, by channel and symbol.
//!
//! What follows from the topics alone is decided here, when they change, and not for each event: a channel keeps those who get
//! all of it apart from those who named a symbol.

use std::{
    cell::Cell,
    collections::{BTreeSet, VecDeque},
    time::{Duration, Instant},
};

use smallvec::SmallVec;

use super::{
    Seat,
    by_symbol::BySymbol,
    lanes::{Lane, SINGLE},
};
use crate::{
    clock,
    event::Concerns,
    topic::{Channel, Topic},
};

#[derive(Default)]
pub(super) struct Readers {
    channels: Vec<ChannelReaders>,
    /// Topics that lost their last reader, the earliest first.
    departures: VecDeque<(Instant, Topic)>,
}

/// The readers of one channel. It stays when the last of them has left.
pub(super) struct ChannelReaders {
    /// As the newest event spelled it: then a look at where the name lies tells that it is the same.
    channel: Channel,
    pub(super) lane: Lane,
    /// Those of all symbols.
    pub(super) wildcard: TopicReaders,
    pub(super) by_symbol: BySymbol<TopicReaders>,
    /// It was told that events of the channel match nobody, since a topic of it was confirmed last.
    pub(super) told_unmatched: bool,
}

/// One topic, as long as anybody wants it, or its events may still be on their way.
#[derive(Default)]
pub(super) struct TopicReaders {
    /// Those that get its events.
    pub(super) readers: SmallVec<[Seat; 2]>,
    /// Those that want it and do not get it now.
    pub(super) waiting: SmallVec<[Seat; 2]>,
    /// When the newest of its events was read.
    pub(super) heard: Cell<Option<Instant>>,
    /// That was since the rhythms were looked at last.
    pub(super) is_fresh: Cell<bool>,
    /// Its events are held back.
    pub(super) is_held: bool,
    /// How often it is among the departures.
    departed: u32,
}

impl TopicReaders {
    /// An event of it was read.
    #[inline]
    pub(super) fn hear(&self, at: Instant) {
        self.heard.set(Some(at));
        self.is_fresh.set(true);
    }

    /// Somebody gets it.
    pub(super) fn is_read(&self) -> bool {
        !self.readers.is_empty()
    }

    pub(super) fn is_wanted(&self) -> bool {
        self.is_read() || !self.waiting.is_empty()
    }

    /// Nobody wants it, and nothing of it is on its way.
    pub(super) fn is_idle(&self) -> bool {
        !self.is_wanted() && !self.is_held && self.departed == 0
    }
}

impl ChannelReaders {
    fn new(channel: Channel, lane: Lane) -> Self {
        Self {
            channel,
            lane,
            wildcard: TopicReaders::default(),
            by_symbol: BySymbol::default(),
            told_unmatched: false,
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &TopicReaders)> {
        let named = self.by_symbol.iter();
        let named = named.map(|(symbol, of)| (symbol.as_str(), of));
        named.chain([(WILDCARD, &self.wildcard)])
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = (&str, &mut TopicReaders)> {
        let named = self.by_symbol.iter_mut();
        let named = named.map(|(symbol, of)| (symbol.as_str(), of));
        named.chain([(WILDCARD, &mut self.wildcard)])
    }
}

impl Readers {
    // ---- looks ----

    pub(super) fn find(&self, topic: &Topic) -> Option<&TopicReaders> {
        let of = |channel: &&ChannelReaders| channel.channel == topic.channel;
        let channel = self.channels.iter().find(of)?;
        if topic.is_wildcard() {
            return Some(&channel.wildcard);
        }
        channel.by_symbol.get(&topic.symbol)
    }

    /// Where a channel stands that an event is of. Nothing where there are too many channels.
    #[inline]
    pub(super) fn place(&mut self, channel: Channel) -> Option<usize> {
        let mut channels = self.channels.iter();
        let is_here = |known: &ChannelReaders| known.channel.is_at(channel);
        channels
            .position(is_here)
            .or_else(|| self.place_by_name(channel))
    }

    /// The same where the name lies elsewhere: a constant may have several places. One that is not known gets a place, so that
    /// its next event finds it by where its name lies.
    #[cold]
    fn place_by_name(&mut self, channel: Channel) -> Option<usize> {
        let is_same = |known: &ChannelReaders| known.channel == channel;
        match self.channels.iter().position(is_same) {
            Some(place) => {
                self.channels[place].channel = channel;
                Some(place)
            }
            None if self.channels.len() < MOST_CHANNELS => Some(self.begin(channel)),
            None => None,
        }
    }

    fn begin(&mut self, channel: Channel) -> usize {
        let lane = Lane::try_from(self.channels.len()).unwrap_or(SINGLE);
        self.channels
            .push(ChannelReaders::new(channel, lane.min(SINGLE)));
        self.channels.len() - 1
    }

    #[inline]
    pub(super) fn at(&mut self, place: usize) -> &mut ChannelReaders {
        &mut self.channels[place]
    }

    pub(super) fn channels(&self) -> &[ChannelReaders] {
        &self.channels
    }

    /// All topics, by channel and symbol.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Channel, &str, &TopicReaders)> {
        self.channels.iter().flat_map(|channel| {
            let topics = channel.iter();
            topics.map(|(symbol, of)| (channel.channel, symbol, of))
        })
    }

    /// The topics of a channel.
    pub(super) fn of_channel(&self, channel: Channel) -> impl Iterator<Item = &TopicReaders> {
        let channels = self.channels.iter();
        let channels = channels.filter(move |known| known.channel == channel);
        channels.flat_map(ChannelReaders::iter).map(|(_, of)| of)
    }

    /// Those that want what this concerns. Nothing where it concerns all, or is news for all because it concerns nobody.
    pub(super) fn concerned(&self, concerns: &Concerns) -> Option<BTreeSet<Seat>> {
        let topics: Vec<&TopicReaders> = match concerns {
            Concerns::Everybody | Concerns::Nobody => return None,
            Concerns::Topic(topic) if !topic.is_wildcard() => {
                let wildcard = Topic::new(topic.channel, WILDCARD);
                let topics = [self.find(topic), self.find(&wildcard)];
                topics.into_iter().flatten().collect()
            }
            Concerns::Topic(Topic { channel, .. }) | Concerns::Channel(channel) => {
                self.of_channel(*channel).collect()
            }
        };
        let seats = topics
            .iter()
            .flat_map(|of| of.readers.iter().chain(&of.waiting));
        Some(seats.copied().collect())
    }

    // ---- changes ----

    /// Somebody wants a topic.
    pub(super) fn want(&mut self, topic: &Topic, seat: Seat) {
        let of = self.of(topic);
        if !of.is_wanted() {
            of.heard.set(None);
            of.is_fresh.set(false);
        }
        of.waiting.push(seat);
    }

    /// Somebody gets a topic that it wants. Says which lane it gets all of from here on.
    pub(super) fn begin_reading(&mut self, topic: &Topic, seat: Seat) -> Option<Lane> {
        let of = self.of(topic);
        of.waiting.retain(|other| *other != seat);
        of.readers.push(seat);
        let place = self.place(topic.channel)?;
        let channel = &mut self.channels[place];
        channel.told_unmatched = false;
        topic.is_wildcard().then_some(channel.lane)
    }

    /// Somebody gets no more of a topic. It may still want it. What the venue has sent of a topic that nobody wants any more may
    /// still be on its way.
    pub(super) fn stop_reading(
        &mut self,
        topic: &Topic,
        seat: Seat,
        is_wanted: bool,
        now: Instant,
    ) -> Stopped {
        let of = self.of(topic);
        let before = of.readers.len();
        of.readers.retain(|other| *other != seat);
        let was_reader = of.readers.len() < before;
        of.waiting.retain(|other| *other != seat);
        if is_wanted {
            of.waiting.push(seat);
        }
        let is_last = was_reader && of.readers.is_empty();
        self.forget_departures(now);
        if is_last && self.departures.len() < MOST_DEPARTURES {
            self.of(topic).departed += 1;
            self.departures.push_back((now, topic.clone()));
        }
        self.forget_if_idle(topic);
        let lane = if was_reader && topic.is_wildcard() {
            self.place(topic.channel)
                .map(|place| self.channels[place].lane)
        } else {
            None
        };
        Stopped { was_reader, lane }
    }

    /// Nobody gets anything any more. Says who got what.
    pub(super) fn stop_all(&mut self) -> Vec<(Seat, Topic)> {
        let mut stopped = Vec::new();
        for channel in &mut self.channels {
            let name = channel.channel;
            for (symbol, of) in channel.iter_mut() {
                of.is_held = false;
                for seat in std::mem::take(&mut of.readers) {
                    of.waiting.push(seat);
                    stopped.push((seat, Topic::new(name, symbol)));
                }
            }
            channel.by_symbol.retain(|_, of| !of.is_idle());
        }
        stopped
    }

    /// The machine slept for so long: what arrived before is that much older.
    pub(super) fn slept(&mut self, slept: Duration) {
        for (_, _, of) in self.iter() {
            let heard = of.heard.get();
            of.heard.set(heard.map(|heard| clock::before(heard, slept)));
        }
        for (at, _) in &mut self.departures {
            *at = clock::before(*at, slept);
        }
    }

    /// Whether the events of a topic are held back, from here on.
    pub(super) fn hold(&mut self, topic: &Topic, is_held: bool) {
        self.of(topic).is_held = is_held;
        self.forget_if_idle(topic);
    }

    /// Forgets the topics whose last reader left long ago.
    #[inline]
    pub(super) fn forget_departures(&mut self, now: Instant) {
        while let Some((at, _)) = self.departures.front()
            && now.saturating_duration_since(*at) >= ON_ITS_WAY
            && let Some((_, topic)) = self.departures.pop_front()
        {
            self.of(&topic).departed -= 1;
            self.forget_if_idle(&topic);
        }
    }

    fn forget_if_idle(&mut self, topic: &Topic) {
        if !topic.is_wildcard()
            && self.find(topic).is_some_and(TopicReaders::is_idle)
            && let Some(place) = self.place(topic.channel)
        {
            self.channels[place].by_symbol.remove(&topic.symbol);
        }
    }

    fn of(&mut self, topic: &Topic) -> &mut TopicReaders {
        let is_same = |known: &ChannelReaders| known.channel == topic.channel;
        let place = self.channels.iter().position(is_same);
        let place = place.unwrap_or_else(|| self.begin(topic.channel));
        let channel = &mut self.channels[place];
        if topic.is_wildcard() {
            return &mut channel.wildcard;
        }
        channel.by_symbol.entry(topic.symbol.clone()).or_default()
    }
}

/// What became of a reader that stopped.
pub(super) struct Stopped {
    /// It got the topic until now.
    pub(super) was_reader: bool,
    /// What it got all of until now.
    pub(super) lane: Option<Lane>,
}

const WILDCARD: &str = "*";
/// For how long after a topic lost its last reader its events may still arrive: what the venue had sent before.
const ON_ITS_WAY: Duration = Duration::from_secs(10);
/// How many of these topics are remembered: more than a market has symbols, on all of its channels.
const MOST_DEPARTURES: usize = 1 << 17;
/// How many channels events are counted for though nobody wants them. A venue has a few dozen.
const MOST_CHANNELS: usize = 256;
