//! A whole stream against a venue that misbehaves, on the virtual clock, decided by one seed: what subscribers do, what
//! the venue answers, where the line breaks, how late the thread is.
//!
//! The venue is a parameter: see [`personality`]. Three parts share nothing but what stands on the wire:
//! - [`Market`], the venue. It numbers what it sends: consecutive ids for each channel and symbol.
//! - [`Line`], what a client may conclude from the frames it sent and read. Kept in the order of the [`Deed`]s of the
//!   transport, from them alone.
//! - [`Reader`], what one subscription must show: what the line brought for it, less what it declares.
//!
//! 500 seeds of each kind by default; `TRUNKLINE_SEEDS=all` runs all of them, `TRUNKLINE_SEEDS=17` or `TRUNKLINE_SEEDS=17..99`
//! these only. A failure names its seed and tells the last steps.

mod frail;
mod lines;
mod per_request;
mod per_topic;
mod personality;
mod silent;

use std::{
    any::Any,
    cell::RefCell,
    collections::{BTreeSet, HashSet, VecDeque},
    fmt::Write as _,
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;

use self::{
    frail::{BUG, Frail, Fuse},
    per_request::PerRequest,
    per_topic::PerTopic,
    personality::{Alpaca, Answers, Heard, Personality, Speech},
    silent::Silent,
};
use super::{
    Acquired, Phases, Ready, RecvTimeoutError, ScopeId, SharedStream, Stream, StreamHandle,
    Subscription, TryRecvError, claims,
    driver::Driver,
    lease::Lease,
    router::Handed,
    tests::{drive, may_follow},
    topics::{SubscriptionId, TopicTable},
    wind_up,
};
use crate::{
    Config, Credentials, EndReason, ErrorKind, MarketEvent, Notice, Overflow, Phase, StreamKey,
    Symbol, Topic, Topics, Update,
    alpaca::wire::server::json as server,
    backoff::KEPT,
    clock::{self, SUSPEND},
    error::Source,
    market::{QUOTES, TRADES},
    transport::{
        Fault,
        memory::{Deed, Dice, MemoryTransport, Peer},
    },
    venue::{Rules, Venue},
};

// ---- topics, as bits ----

const CHANNELS: [crate::Channel; 2] = [TRADES, QUOTES];
const SYMBOLS: [&str; 5] = ["*", "A", "B", "C", "D"];
const ALL: Set = (1 << (CHANNELS.len() * SYMBOLS.len())) - 1;

/// Topics. One bit each.
type Set = u16;

const fn bit(channel: usize, symbol: usize) -> Set {
    1 << (channel * SYMBOLS.len() + symbol)
}

/// The bits of a channel whose `*` is in `set`, and `set`.
fn spread(set: Set) -> Set {
    (0..CHANNELS.len())
        .filter(|channel| set & bit(*channel, 0) != 0)
        .map(|channel| ((1 << SYMBOLS.len()) - 1) << (channel * SYMBOLS.len()))
        .fold(set, |all, channel: Set| all | channel)
}

fn topics(set: Set) -> Vec<Topic> {
    let all = (0..CHANNELS.len()).flat_map(|channel| (0..SYMBOLS.len()).map(move |s| (channel, s)));
    all.filter(|(channel, symbol)| set & bit(*channel, *symbol) != 0)
        .map(|(channel, symbol)| Topic::new(CHANNELS[channel], SYMBOLS[symbol]))
        .collect()
}

fn bit_of(channel: &str, symbol: &str) -> Set {
    let channel = CHANNELS.iter().position(|known| known.name() == channel);
    let symbol = SYMBOLS.iter().position(|known| *known == symbol);
    bit(channel.expect("a channel"), symbol.expect("a symbol"))
}

fn set_of(topics: &[Topic]) -> Set {
    let bits = topics
        .iter()
        .map(|topic| bit_of(topic.channel.name(), &topic.symbol));
    bits.fold(0, |set, bit| set | bit)
}

// ---- the venue ----

/// An event: the `id`th of its channel and symbol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Tick {
    channel: usize,
    symbol: usize,
    id: u64,
    /// Who has this needs nothing that came before.
    whole: bool,
}

impl Tick {
    fn topics(self) -> Set {
        bit(self.channel, self.symbol) | bit(self.channel, 0)
    }

    /// Only what the codec must have.
    fn json(self) -> String {
        let Self {
            channel,
            symbol,
            id,
            ..
        } = self;
        let symbol = SYMBOLS[symbol];
        const AT: &str = "2026-03-17T14:30:05Z";
        if CHANNELS[channel] == TRADES {
            format!(r#"{{"T":"t","S":"{symbol}","i":{id},"p":1,"s":1,"t":"{AT}"}}"#)
        } else {
            format!(r#"{{"T":"q","S":"{symbol}","bp":1,"bs":{id},"ap":1,"as":1,"t":"{AT}"}}"#)
        }
    }

    fn of(event: &MarketEvent) -> Self {
        let channel = usize::from(matches!(event, MarketEvent::Quote(_)));
        let symbol = SYMBOLS
            .iter()
            .position(|symbol| event.symbol().is_some_and(|of| of == symbol));
        let id = match event {
            MarketEvent::Trade(trade) => trade.id.expect("an id") as u64,
            MarketEvent::Quote(quote) => quote.bid_size.mantissa() as u64,
            other => panic!("the venue never sent {other:?}"),
        };
        let whole = match event {
            MarketEvent::Quote(quote) => !quote.ask_size.is_zero(),
            _ => true,
        };
        Self {
            channel,
            symbol: symbol.expect("a symbol"),
            id,
            whole,
        }
    }
}

/// What the venue said, as it lies in front of the stream.
#[derive(Clone, Debug)]
enum Said {
    Data(Vec<Item>),
    Welcome,
    Authenticated,
    /// Data, and the whole state behind it.
    State(Vec<Item>, Set),
    /// Data, and behind it what became of topics and requests.
    Answer(Vec<Item>, Vec<Reply>),
    Error(u16),
    /// A newcomer has the line.
    Evicted,
    Pong,
    /// The connection ends here.
    End,
}

/// Of one topic, or of the request of this number.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Subscribed(Set),
    Unsubscribed(Set),
    RefusedTopic(Set),
    /// Of one topic, which is not named.
    RefusedSome,
    Done(u64),
    Refused(u64),
}

#[derive(Clone, Copy, Debug)]
enum Item {
    Tick(Tick),
    /// Cannot be read.
    Odd(Lost),
    /// An event of a channel that nobody has a topic of.
    Stray,
}

/// How much of an item could be read all the same.
#[derive(Clone, Copy, Debug)]
enum Lost {
    /// Its channel and symbol.
    Topic,
    /// Its channel.
    Channel,
    /// Nothing.
    All,
    /// Its kind, which no topic names.
    Nothing,
}

impl Lost {
    const ALL: [Self; 4] = [Self::Topic, Self::Channel, Self::All, Self::Nothing];

    fn json(self) -> &'static str {
        match self {
            Self::Topic => r#"{"T":"t","S":"A","i":1,"p":null}"#,
            Self::Channel => r#"{"T":"t","S":null,"i":1,"p":1}"#,
            Self::All => r#"{"S":"A"}"#,
            Self::Nothing => r#"{"T":"zz","S":"A"}"#,
        }
    }

    /// Whoever wants one of these topics is told.
    fn topics(self) -> Set {
        match self {
            Self::Topic => bit_of("trades", "A") | bit_of("trades", "*"),
            Self::Channel => spread(bit_of("trades", "*")),
            Self::All | Self::Nothing => Set::MAX,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ask {
    id: u64,
    subscribes: bool,
    topics: Set,
}

struct Market {
    peer: Peer,
    speech: Speech,
    dice: Dice,
    /// Does nothing wrong any more.
    honest: bool,
    /// The last id of each channel and symbol. Events happen whether or not anybody is there.
    ids: [[u64; SYMBOLS.len()]; CHANNELS.len()],
    open: bool,
    ready: bool,
    held: Set,
    /// Requests that it takes its time for.
    owed: VecDeque<Ask>,
    said: VecDeque<Said>,
    /// Nothing more comes from it.
    mute: bool,
    /// Of these nothing happens any more, while the others go on.
    muted: Set,
    /// Nothing more reaches it.
    deaf: bool,
    /// Until then it counts a connection that died.
    slot_until: Option<Instant>,
}

/// How many topics the venue grants.
const GRANTED: u32 = 8;

impl Market {
    fn below(&mut self, bound: u64) -> u64 {
        self.dice.roll() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        !self.honest && self.below(100) < percent
    }

    fn say(&mut self, said: Said) {
        if !self.open || self.mute {
            return;
        }
        match &said {
            Said::Pong => self.peer.pong(),
            Said::End => self.end(),
            said => {
                let text = (self.speech.write)(said);
                self.peer.say(text.expect("its protocol has that"));
            }
        }
        self.said.push_back(said);
    }

    /// One of the ways in which a connection ends.
    fn end(&mut self) {
        let lost = |why: &str, kind: std::io::ErrorKind| Fault::Lost {
            why: why.to_owned(),
            source: Some(Source::new(std::io::Error::from(kind))),
        };
        match self.below(6) {
            0 => self.peer.cut(),
            1 => self
                .peer
                .break_with(lost("reset", std::io::ErrorKind::ConnectionReset)),
            2 => self
                .peer
                .break_with(lost("in a frame", std::io::ErrorKind::UnexpectedEof)),
            3 => self
                .peer
                .break_with(Fault::Protocol("a reserved bit".to_owned())),
            4 => self.peer.close_frame(None),
            _ => {
                let code = [1000, 1001, 1006, 1011, 1012][self.below(5) as usize];
                self.peer.close_frame(Some((code, "bye".to_owned())));
            }
        }
    }

    fn connected(&mut self) {
        self.open = false;
        self.ready = false;
        self.held = 0;
        self.mute = false;
        self.deaf = false;
        self.owed.clear();
        self.said.clear();
    }

    fn opened(&mut self) {
        self.open = true;
        if self.chance(4) {
            self.mute = true;
        }
        self.say(Said::Welcome);
        if self.chance(3) {
            self.say(Said::End);
        }
    }

    fn closed(&mut self) {
        self.open = false;
        self.said.clear();
    }

    fn authenticate(&mut self, now: Instant) {
        if self.slot_until.is_some_and(|until| now < until) {
            return self.say(Said::Error(406));
        }
        let fate = if self.honest { 99 } else { self.below(100) };
        match fate {
            0..4 => self.say(Said::Error(406)),
            4..6 => self.say(Said::Error(404)),
            6..8 => self.say(Said::Error(500)),
            8 => {
                let code = if self.below(2) == 0 { 402 } else { 409 };
                self.say(Said::Error(code));
            }
            // The client's deadline has to find out.
            9..12 => self.mute = true,
            _ => {
                self.ready = true;
                self.say(Said::Authenticated);
            }
        }
    }

    fn request(&mut self, ask: Ask) {
        if self.deaf {
            return;
        }
        if !self.owed.is_empty() {
            return self.owed.push_back(ask);
        }
        let fate = if self.honest { 99 } else { self.below(100) };
        match (self.speech.answers, fate) {
            // Whoever never answers takes everything in at last.
            (Answers::Never, 0..24) => return self.owed.push_back(ask),
            (Answers::PerTopic | Answers::PerRequest, 22..) | (Answers::Never, _) => {
                return self.serve(ask);
            }
            (Answers::State | Answers::PerTopic | Answers::PerRequest, _) => {}
        }
        match fate {
            0..8 => self.say(Said::Error(400)),
            // Never taken in.
            8..11 => {}
            // Taken in, and never answered.
            11..14 => {
                let begins = self.apply(ask);
                if !begins.is_empty() {
                    self.say(Said::Data(begins));
                }
            }
            14..22 => self.owed.push_back(ask),
            22..28 => {
                let part = ask.topics & self.dice.roll() as Set;
                self.apply(Ask {
                    topics: part,
                    ..ask
                });
                self.state();
            }
            28..33 => {
                self.serve(ask);
                self.state();
            }
            _ => self.serve(ask),
        }
    }

    fn serve(&mut self, ask: Ask) {
        match self.speech.answers {
            Answers::State => self.serve_state(ask),
            Answers::PerTopic => self.serve_topics(ask),
            Answers::PerRequest => {
                let reply = if ask.subscribes && self.chance(20) {
                    Reply::Refused(ask.id)
                } else {
                    self.apply(ask);
                    Reply::Done(ask.id)
                };
                let data = self.some_data();
                self.say(Said::Answer(data, vec![reply]));
            }
            Answers::Never => {
                self.apply(ask);
            }
        }
    }

    /// Some topics may be refused, with their names or without. In one frame, or data comes in between.
    fn serve_topics(&mut self, ask: Ask) {
        let may_refuse = ask.subscribes && self.chance(30);
        let refused = if may_refuse {
            ask.topics & self.dice.roll() as Set
        } else {
            0
        };
        let mut data = self.apply(Ask {
            topics: ask.topics & !refused,
            ..ask
        });
        let mut replies = Vec::new();
        let all = (0..Set::BITS).map(|bit| 1 << bit);
        for topic in all.filter(|bit| ask.topics & bit != 0) {
            replies.push(if refused & topic == 0 {
                match ask.subscribes {
                    true => Reply::Subscribed(topic),
                    false => Reply::Unsubscribed(topic),
                }
            } else if self.chance(50) {
                Reply::RefusedSome
            } else {
                Reply::RefusedTopic(topic)
            });
        }
        if self.chance(30) {
            // What begins comes behind the answer.
            self.say(Said::Answer(Vec::new(), std::mem::take(&mut replies)));
        }
        if self.chance(30) {
            for reply in std::mem::take(&mut replies) {
                self.say(Said::Answer(std::mem::take(&mut data), vec![reply]));
                data = self.some_data();
            }
        }
        data.extend(self.some_data());
        if !data.is_empty() || !replies.is_empty() {
            self.say(Said::Answer(data, replies));
        }
    }

    fn some_data(&mut self) -> Vec<Item> {
        if self.chance(25) {
            self.data(3)
        } else {
            Vec::new()
        }
    }

    fn serve_state(&mut self, ask: Ask) {
        let wanted = (self.held | ask.topics).count_ones();
        if ask.subscribes && wanted > GRANTED && !self.honest {
            return self.say(Said::Error(405));
        }
        self.apply(ask);
        self.state();
    }

    /// Gives what those topics begin with whose events build on each other.
    fn apply(&mut self, ask: Ask) -> Vec<Item> {
        if !ask.subscribes {
            self.held &= !ask.topics;
            return Vec::new();
        }
        self.held |= ask.topics;
        let begins = ask.topics & self.speech.builds;
        let all = (0..CHANNELS.len()).flat_map(|c| (1..SYMBOLS.len()).map(move |s| (c, s)));
        let begun = all.filter(|(c, s)| begins & bit(*c, *s) != 0);
        begun
            .filter_map(|(channel, symbol)| self.happens(channel, symbol, true))
            .collect()
    }

    /// What it holds, now. Sometimes behind data in the same frame.
    fn state(&mut self) {
        if self.speech.answers != Answers::State {
            return;
        }
        let data = self.some_data();
        let held = self.held;
        self.say(Said::State(data, held));
    }

    /// Things happen, and those that the client holds are for it.
    fn data(&mut self, most: u64) -> Vec<Item> {
        let mut items = Vec::new();
        for _ in 0..=self.below(most) {
            if self.ready && self.chance(3) {
                let lost = Lost::ALL[self.below(4) as usize];
                items.push(Item::Odd(lost));
                continue;
            }
            if self.ready && self.speech.answers == Answers::State && self.chance(3) {
                items.push(Item::Stray);
                continue;
            }
            let channel = self.below(CHANNELS.len() as u64) as usize;
            let symbol = 1 + self.below(SYMBOLS.len() as u64 - 1) as usize;
            let happened = self.happens(channel, symbol, false);
            // Of a venue that numbers its events some never come, and the numbers alone show it.
            let is_left_out = self.speech.answers == Answers::Never && self.chance(8);
            items.extend(happened.filter(|_| !is_left_out));
        }
        items
    }

    fn happens(&mut self, channel: usize, symbol: usize, begins: bool) -> Option<Item> {
        if !begins && self.muted & bit(channel, symbol) != 0 {
            return None;
        }
        self.ids[channel][symbol] += 1;
        let tick = Tick {
            channel,
            symbol,
            id: self.ids[channel][symbol],
            whole: begins || self.speech.builds & bit(channel, symbol) == 0,
        };
        (self.ready && self.held & tick.topics() != 0).then_some(Item::Tick(tick))
    }
}

fn frame(items: &[Item]) -> String {
    let mut text = "[".to_owned();
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        match item {
            Item::Tick(tick) => text.push_str(&tick.json()),
            Item::Stray => text.push_str(STRAY),
            Item::Odd(lost) => text.push_str(lost.json()),
        }
    }
    text.push(']');
    text
}

const STRAY: &str = r#"{"T":"s","S":"A","sc":"H","t":"2026-03-17T14:30:05Z"}"#;

fn state_frame(state: Set) -> String {
    let symbols: Vec<Symbol> = SYMBOLS.into_iter().map(Symbol::from).collect();
    let lists: Vec<_> = CHANNELS
        .iter()
        .enumerate()
        .map(|(channel, name)| {
            let held = symbols.iter().enumerate();
            let held = held.filter(|(symbol, _)| state & bit(channel, *symbol) != 0);
            (name.name(), held.map(|(_, symbol)| symbol).collect())
        })
        .collect();
    server::subscription(&lists)
}

// ---- the oracle ----

/// What follows from what was sent and read.
struct Line {
    epoch: u64,
    live: bool,
    /// The last request, and when it was made.
    asked: Option<Instant>,
    /// Requests of this connection that wait for an answer by their number, and when requests were made of late.
    in_flight: Vec<(u64, Instant)>,
    requests: VecDeque<Instant>,
    /// By the wall clock: when a newcomer took the line last.
    evicted: Option<Instant>,
    /// How often that happened, with no line in between that was live for an hour.
    evictions: u64,
    /// By the wall clock, too.
    live_since: Instant,
    /// Refusals that were read in this turn, and everything that was read and was no use.
    refusals: u64,
    odd: u64,
    /// When anything, and when a message, was read last.
    heard: Instant,
    /// When something came of each topic, by its bit, or the line was live.
    came: [Instant; CHANNELS.len() * SYMBOLS.len()],
    /// The machine slept, and nothing was heard since the ping that follows from it.
    probed: Option<Instant>,
    message: Option<Instant>,
    /// Something was read that ends the connection.
    broke: bool,
    /// Nothing can be written any more.
    pipe_broken: bool,
    stopped: bool,
    /// The session panicked, at whatever place: what was read last may not have been handed on.
    panicked: bool,
    /// Connections on which the venue confirmed something.
    served: usize,
    /// Since when credentials are refused that were accepted before, and whether the last refusal ends the stream.
    refused_since: Option<Instant>,
    refused_for_good: bool,
    /// Events that were read, those of them that somebody got, and those that nobody had asked for.
    events: u64,
    matched: HashSet<(usize, usize, u64)>,
    strays: u64,
}

/// What the topic table says that it has told.
struct Facts {
    confirmed: BTreeSet<(SubscriptionId, Topic)>,
    refused: BTreeSet<(SubscriptionId, Topic)>,
    is_at_rest: bool,
}

impl Facts {
    fn of(table: &TopicTable) -> Self {
        Self {
            confirmed: table.told_confirmed(),
            refused: table.told_refused(),
            is_at_rest: table.is_at_rest(),
        }
    }
}

/// One subscription, and what it has to show.
struct Reader {
    name: usize,
    subscription: Rc<Subscription<MarketEvent>>,
    /// The channel of its tokens, kept from when it asked for it.
    ready: Option<Receiver<Ready>>,
    limit: usize,
    policy: Overflow,
    wants: Set,
    /// What the stream's thread knows that it wants; nothing before its first look.
    seen: Option<Set>,
    /// What the line brought for it, and which connection did.
    routed: Vec<(Tick, u64)>,
    /// How much of that was delivered or declared dropped; for a queue that conflates, when it was empty last.
    told: usize,
    delivered: u64,
    dropped: u64,
    /// Connections that broke under it, and when they had brought a message last; how many it was told of.
    breaks: Vec<(u64, Option<Instant>)>,
    breaks_told: usize,
    gap: u64,
    gapped: bool,
    /// Items that could not be read.
    odd: u64,
    odd_told: u64,
    /// The venue's word on its topics, as it was told last, and what of that a gap has put in question.
    confirmed: Set,
    lost: Set,
    refused: Set,
    /// Topics that it gave up since it was up to date: what it was told of them before may still lie in its queue.
    left: Set,
    /// Given up since the stream's thread looked, and perhaps wanted again.
    given_up: Set,
    /// The newest id that it read, and where a hole is declared since then.
    last: [[u64; SYMBOLS.len()]; CHANNELS.len()],
    declared: Set,
    /// Topics whose events build on each other, and those of them of which nothing whole has come yet.
    builds: Set,
    begins: Set,
    half_read: bool,
    /// Everything was read when this much had been routed, and nothing since then.
    read_to: Option<usize>,
    /// A loss of some of its topics was declared since then.
    lost_some: bool,
    overflowed: bool,
    ended: bool,
}

impl Reader {
    fn event(&mut self, tick: Tick, epoch: u64) {
        let Tick {
            channel,
            symbol,
            id,
            whole,
        } = tick;
        let name = self.name;
        let last = &mut self.last[channel][symbol];
        assert!(
            *last < id,
            "{name}: {tick:?} after {last}: twice, or out of order"
        );
        if self.policy == Overflow::Conflate {
            assert!(
                self.routed[self.told..].contains(&(tick, epoch)),
                "{name}: {tick:?} was never for it"
            );
        } else {
            let due = self.routed.get(self.told);
            assert_eq!(Some(&(tick, epoch)), due, "{name}: out of its place");
            self.told += 1;
            let hole = self.declared & bit(channel, symbol) == 0 && *last + 1 != id;
            assert!(
                !hole,
                "{name}: {tick:?} after {last}: a loss that nobody declares"
            );
        }
        *last = id;
        assert!(
            whole || self.begins & bit(channel, symbol) == 0,
            "{name}: {tick:?} changes what it has not seen"
        );
        self.begins &= !bit(channel, symbol);
        self.declared &= !bit(channel, symbol);
        self.delivered += 1;
        assert!(
            epoch > self.gap,
            "{name}: {tick:?} of connection {epoch}, behind its gap"
        );
        let missing = self.breaks.get(self.breaks_told);
        let early = missing.is_some_and(|(broken, _)| *broken < epoch);
        assert!(
            !early,
            "{name}: {tick:?} of connection {epoch} before the gap of {missing:?}"
        );
    }

    fn gap(&mut self, gap: &crate::Gap, started: Instant, utc: i64) {
        let name = self.name;
        let topics = match &*gap.topics {
            [] => ALL,
            topics => set_of(topics),
        };
        self.lost |= self.confirmed & topics;
        self.confirmed &= !topics;
        self.gapped = true;
        self.declared |= spread(topics);
        self.begins |= topics & self.builds;
        if gap.breaks == 0 {
            assert!(!gap.topics.is_empty(), "{name}: of what?");
            return;
        }
        let breaks = self.breaks_told..self.breaks_told + gap.breaks as usize;
        let broken = self
            .breaks
            .get(breaks.clone())
            .expect("a gap where nothing broke");
        assert_eq!(
            broken.last().map(|(epoch, _)| *epoch),
            Some(gap.epoch),
            "{name}"
        );
        let last = broken[0].1.map(|at| utc + (at - started).as_nanos() as i64);
        // A loss of some topics in front of it may have merged with it.
        assert!(
            gap.last.map(|at| at.as_nanos()) <= last,
            "{name}: backfill from there"
        );
        self.breaks_told = breaks.end;
        self.gap = gap.epoch;
        self.all_before(gap.epoch);
        self.declared = ALL;
    }

    /// What a connection brought does not come any more, now.
    fn all_before(&self, epoch: u64) {
        let name = self.name;
        if self.policy != Overflow::Conflate {
            let next = self.routed.get(self.told);
            assert!(
                next.is_none_or(|(_, of)| *of > epoch),
                "{name}: {next:?} is not told"
            );
        } else if self.dropped == 0 {
            for (tick, of) in &self.routed[self.told..] {
                let last = self.last[tick.channel][tick.symbol];
                assert!(
                    *of > epoch || tick.id <= last,
                    "{name}: {tick:?} was the newest"
                );
            }
        }
    }

    fn dropped(&mut self, count: u64) {
        let name = self.name;
        assert!(
            count > 0 && self.policy != Overflow::End,
            "{name}: dropped {count}"
        );
        self.dropped += count;
        self.declared = ALL;
        if self.policy != Overflow::Conflate {
            self.told += count as usize;
            assert!(
                self.told <= self.routed.len(),
                "{name}: {count} is more than there were"
            );
        }
    }

    fn notice(&mut self, notice: &Notice, line: &Line, speech: &Speech) {
        let name = self.name;
        if let Notice::Refused { error, .. } = notice
            && let ErrorKind::Refused { rejection } = error.kind()
            && speech.answers != Answers::State
        {
            let code = (speech.code)();
            let is_known = rejection.code().is_none_or(|said| *said == code);
            assert!(is_known, "{name}: nobody said {rejection}");
        }
        match notice {
            Notice::Confirmed { topics, .. } | Notice::Refused { topics, .. } => {
                let topics = set_of(topics);
                self.confirmed &= !topics;
                self.lost &= !topics;
                self.refused &= !topics;
                if matches!(notice, Notice::Confirmed { .. }) {
                    self.confirmed |= topics;
                    self.begins |= topics & self.builds;
                } else {
                    self.refused |= topics;
                }
                self.declared |= spread(topics);
            }
            Notice::Resumed { epoch, .. } => {
                assert!(self.gapped, "{name}: resumed without a gap");
                assert!(
                    *epoch > self.gap && *epoch <= line.epoch,
                    "{name}: resumed {epoch}"
                );
                self.gapped = false;
                self.confirmed |= std::mem::take(&mut self.lost);
                // From the gap to here the reader is to refill. A topic may have come by a wildcard for a while, and by
                // itself only now.
                self.declared = ALL;
            }
            Notice::Unparsed(unparsed) => self.odd_told += 1 + unparsed.more,
            // Times of the events mean nothing here.
            Notice::Behind { .. } => {}
            Notice::NotLive { attempt, cause, .. } => {
                let is_held_back = matches!(cause.kind(), ErrorKind::HeldBack { .. });
                assert_eq!(*attempt == 0, is_held_back, "{name}: {notice}");
            }
            Notice::Displaced { .. } => panic!("{name}: nothing is kept within a budget"),
            Notice::LeftOut { .. } => panic!("{name}: there were not that many"),
            // The venue may go on with what was given back and never answered for.
            Notice::Unmatched { topic, .. } => {
                let known = CHANNELS.contains(&topic.channel);
                assert!(known, "{name}: nobody has a topic of {topic}'s channel");
            }
        }
    }

    fn end(&mut self, reason: &EndReason, line: &Line) {
        let name = self.name;
        assert!(!self.ended, "{name}: ended twice");
        self.ended = true;
        let kind = match reason {
            EndReason::Failed(error) => Some(error.kind()),
            _ => None,
        };
        match kind {
            Some(ErrorKind::Overflow { .. }) => {
                assert_eq!(self.policy, Overflow::End, "{name}");
                assert!(self.routed.len() > self.limit, "{name}: it had room");
            }
            Some(ErrorKind::Panicked { message }) => {
                assert!(line.panicked, "{name}: {message}");
            }
            _ => {
                assert!(line.stopped, "{name}: ended before the stream did");
                self.all_before(u64::MAX);
            }
        }
        assert!(!self.subscription.fires(), "{name}: it fires after its end");
        assert_eq!(
            self.subscription.try_recv().unwrap_err(),
            TryRecvError::Ended
        );
        assert_eq!(self.subscription.health().events_queued, 0, "{name}");
    }

    /// Everything was read: so everything must have been told.
    fn drained(&mut self, line: &Line, facts: &Facts) {
        let name = self.name;
        let health = self.subscription.health();
        assert_eq!(
            health.events_queued, 0,
            "{name}: queued, and cannot be read"
        );
        assert_eq!(
            self.breaks_told,
            self.breaks.len(),
            "{name}: a break that nobody declares"
        );
        assert_eq!(self.odd_told, self.odd, "{name}: unparsed items");
        assert_eq!(health.events_delivered, self.delivered, "{name}");
        assert_eq!(health.events_dropped, self.dropped, "{name}");
        let conflated = self.routed.len() as u64 - self.delivered - self.dropped;
        assert_eq!(health.events_conflated, conflated, "{name}");
        self.all_before(u64::MAX);
        if self.seen.is_none() || !line.live {
            return;
        }
        let set = |told: &BTreeSet<(SubscriptionId, Topic)>| {
            let topics = told.iter().filter(|(id, _)| *id == self.subscription.id());
            topics.fold(0, |set, (_, topic)| {
                set | set_of(std::slice::from_ref(topic))
            })
        };
        let (confirmed, refused) = (set(&facts.confirmed), set(&facts.refused));
        if self.gapped {
            let known = self.confirmed | self.lost;
            assert_eq!(confirmed & !known, 0, "{name}: confirmed, and not told");
        } else {
            let sure = !self.left;
            let (told, known) = (confirmed & sure, self.confirmed & sure);
            assert_eq!(known, told, "{name}: what it was told of");
            assert_eq!(
                confirmed & !self.confirmed,
                0,
                "{name}: confirmed, and not told"
            );
            (self.confirmed, self.left) = (confirmed, 0);
        }
        assert_eq!(refused & !self.refused, 0, "{name}: refused, and not told");
        assert!(
            !self.gapped || !facts.is_at_rest,
            "{name}: everything is answered, and it is not resumed"
        );
    }

    /// All that waited was read in one go: for each connection the newest of each topic, where its oldest stood, less
    /// what did not fit. What stood there when something went is not replaced any more.
    fn conflated(&self, from: usize, got: &[(Tick, u64)], dropped: u64) {
        let mut waiting: VecDeque<(Tick, u64)> = VecDeque::new();
        let (mut fixed, mut gone) = (0, 0);
        for (tick, epoch) in &self.routed[from..] {
            let same =
                |(other, of): &&mut (Tick, u64)| of == epoch && other.topics() == tick.topics();
            if let Some((older, _)) = waiting.iter_mut().skip(fixed).find(same) {
                *older = *tick;
                continue;
            }
            if waiting.len() == self.limit {
                waiting.pop_front();
                gone += 1;
                fixed = waiting.len();
            }
            waiting.push_back((*tick, *epoch));
        }
        assert_eq!(
            (got, dropped),
            (&*waiting.make_contiguous(), gone),
            "{}",
            self.name
        );
    }

    /// What must hold at any time.
    fn check(&mut self) {
        let name = self.name;
        let health = self.subscription.health();
        let queued = health.events_queued as usize;
        assert_eq!(
            health.events_routed,
            health.events_delivered
                + health.events_queued
                + health.events_dropped
                + health.events_conflated,
            "{name}"
        );
        self.overflowed |= self.policy == Overflow::End && health.events_dropped > 0;
        if !self.overflowed && !self.ended {
            let routed = self.routed.len() as u64;
            assert_eq!(health.events_routed, routed, "{name}: routed");
        }
        assert!(
            queued <= self.limit * (1 + usize::from(self.half_read)),
            "{name}: {queued} wait"
        );
        assert!(
            self.policy == Overflow::Conflate || health.events_conflated == 0,
            "{name}"
        );
        if self.ended {
            return;
        }
        let declares = self.breaks_told < self.breaks.len() && !self.overflowed;
        if self.ready.is_some() {
            assert!(
                self.subscription.fires() || (queued == 0 && !declares),
                "{name}: something waits, and nothing fires"
            );
        } else {
            assert!(!self.subscription.fires(), "{name}: nobody has asked");
        }
    }
}

/// FNV-1a over all that can be seen from outside.
struct Trace(u64);

impl Trace {
    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn number(&mut self, number: u64) {
        self.add(&number.to_le_bytes());
    }
}

// ---- the simulation ----

struct Simulation<P: Personality> {
    peer: Peer,
    /// Until the stream has ended.
    driver: Option<Driver<Frail<P::Venue>, MemoryTransport>>,
    stream: Arc<Stream<Frail<P::Venue>>>,
    handle: StreamHandle<Frail<P::Venue>>,
    /// Has the session panic.
    fuse: Fuse,
    config: Config,
    rules: Rules,
    started: Instant,
    /// What the wall clock said then.
    utc: i64,
    /// How often something is to arrive on each topic of most readers.
    expects: Option<Duration>,
    next: Option<Instant>,
    over: bool,
    market: Market,
    line: Line,
    readers: Vec<Reader>,
    readers_made: usize,
    attempts: Vec<Instant>,
    /// The phases that are told, and the last of them.
    phases: Phases,
    phase: Phase,
    /// How long the machine slept since the last turn.
    slept: Duration,
    trace: Trace,
    story: Option<Story>,
}

/// The last steps.
type Story = Rc<RefCell<VecDeque<String>>>;

/// Say what happens, for whom it may concern.
macro_rules! tell {
    ($simulation:expr, $($text:tt)+) => {
        if let Some(story) = &$simulation.story {
            let mut story = story.borrow_mut();
            if story.len() == 40 {
                story.pop_front();
            }
            let at = $simulation.peer.now() - $simulation.started;
            story.push_back(format!("{at:>10.3?} {}", format_args!($($text)+)));
        }
    };
}

impl<P: Personality> Simulation<P> {
    fn new(seed: u64, settings: Settings, story: Option<Story>) -> Self {
        let Settings { config, rules } = settings;
        // The claim table is the process's, and days are played at the same time: each has a key of its own.
        static DAYS: AtomicU64 = AtomicU64::new(0);
        let day = DAYS.fetch_add(1, Ordering::Relaxed);
        let endpoint = format!("wss://day-{day}.invalid/").parse().unwrap();
        let fuse = Fuse::default();
        let venue = Frail {
            venue: P::venue(endpoint, rules.clone()),
            fuse: fuse.clone(),
        };
        let credentials = Credentials::new("PKTEST", "s-e-c-r-e-t").unwrap();
        let key = StreamKey::new(venue.endpoint(), &credentials);
        let mut made = None;
        let acquired = claims().acquire(&key, ScopeId(u64::MAX), clock::now(), |generation| {
            let stream = Stream::new(
                key.clone(),
                generation,
                venue.rules(),
                venue,
                Arc::new(config.clone()),
            );
            Arc::clone(made.insert(stream)) as Arc<dyn SharedStream>
        });
        assert!(matches!(acquired, Ok(Acquired::Created { .. })));
        let stream = made.expect("it was created");
        let (peer, transport) = Peer::new();
        peer.seed_jitter(seed);
        let mut driver = drive(&stream, &peer, transport, credentials);
        driver.log_routed();
        let lease = Lease::counted(Arc::clone(&stream) as Arc<dyn SharedStream>, None);
        let handle = StreamHandle::new(Arc::clone(&stream), lease, config.queue);
        let started = peer.now();
        // On such days the market trades, and readers expect something of each of their topics.
        let expects = (seed % 5 == 2).then_some(EXPECTED);
        if expects.is_some() {
            peer.set_utc(EXPECTING.parse().expect("a time"));
        }
        let utc = driver.utc().as_nanos();
        let (phases, phase) = (handle.phases(), stream.lifecycle.phase());
        Self {
            phases,
            phase,
            market: Market {
                peer: peer.clone(),
                speech: P::SPEECH,
                dice: Dice::new(!seed),
                honest: false,
                ids: Default::default(),
                open: false,
                ready: false,
                held: 0,
                owed: VecDeque::new(),
                said: VecDeque::new(),
                mute: false,
                muted: 0,
                deaf: false,
                slot_until: None,
            },
            expects,
            line: Line {
                epoch: 0,
                live: false,
                asked: None,
                in_flight: Vec::new(),
                requests: VecDeque::new(),
                evicted: None,
                evictions: 0,
                live_since: started,
                refusals: 0,
                odd: 0,
                heard: started,
                came: [started; CHANNELS.len() * SYMBOLS.len()],
                probed: None,
                message: None,
                broke: false,
                pipe_broken: false,
                stopped: false,
                panicked: false,
                served: 0,
                refused_since: None,
                refused_for_good: false,
                events: 0,
                matched: HashSet::new(),
                strays: 0,
            },
            peer,
            driver: Some(driver),
            stream,
            handle,
            fuse,
            config,
            rules,
            started,
            utc,
            slept: Duration::ZERO,
            next: None,
            over: false,
            readers: Vec::new(),
            readers_made: 0,
            attempts: Vec::new(),
            trace: Trace(0xcbf2_9ce4_8422_2325),
            story,
        }
    }

    // ---- what the stream does ----

    /// One turn of the stream's thread, and what follows from it.
    fn turn(&mut self) {
        if self.over {
            return;
        }
        for reader in &mut self.readers {
            // What it was told of topics that it left and takes again is void.
            let gone = reader.seen.unwrap_or(0) & std::mem::take(&mut reader.given_up);
            reader.confirmed &= !gone;
            reader.lost &= !gone;
            reader.left |= gone;
            reader.refused &= !gone;
            reader.seen = Some(reader.wants);
        }
        let now = self.peer.now();
        self.line.broke = false;
        if self.slept >= SUSPEND {
            self.line.heard = clock::before(self.line.heard, self.slept);
            let requests = self.line.requests.iter_mut();
            let in_flight = self.line.in_flight.iter_mut().map(|(_, at)| at);
            let asked = self.line.asked.iter_mut();
            for at in requests
                .chain(in_flight)
                .chain(asked)
                .chain(&mut self.line.came)
            {
                *at = clock::before(*at, self.slept);
            }
        }
        let Some(driver) = &mut self.driver else {
            return;
        };
        match catch_unwind(AssertUnwindSafe(|| driver.step(now))) {
            Ok(next) => self.next = next,
            Err(panic) => return self.panicked(panic, now),
        }
        self.follow_phases();
        for deed in self.peer.take_deeds() {
            self.follow(deed, now);
        }
        self.count_routed();
        self.count_unasked();
        // As the table counted it: a connection may be confirmed and die in one step.
        self.line.served = self.stream.subscriptions.look(|table| table.served);
        self.slept = Duration::ZERO;
        assert!(
            !self.line.broke || !self.market.open,
            "keeps a bad connection"
        );
        self.check(now);
        if self.line.epoch > 0 && !self.line.stopped {
            let ends = self.next.is_none();
            let may_end = self.line.refused_for_good;
            assert!(may_end || !ends, "ended, although it was live before");
            let waits = self.stream.lifecycle.phase() == Phase::Waiting;
            assert!(!may_end || !waits, "tries again, although it lost patience");
        }
        if self.next.is_none() {
            self.finish();
        }
    }

    /// Refusals that answered no request are shown to everybody.
    fn count_unasked(&mut self) {
        let unasked = self.stream.counters.values().unparsed - self.line.odd;
        let refusals = std::mem::take(&mut self.line.refusals);
        assert!(unasked <= refusals, "{unasked} items of which nobody knows");
        for _ in 0..unasked {
            self.odd(Set::MAX);
        }
    }

    /// What the router has handed out. The queues have to account for it.
    fn count_routed(&mut self) {
        let router = self.driver.as_mut().map(Driver::router);
        let log = router.and_then(|router| router.log.replace(Vec::new()));
        for (id, handed) in log.into_iter().flatten() {
            let mut readers = self.readers.iter_mut();
            let reader = readers.find(|reader| reader.subscription.id() == id);
            let Handed::Event(epoch, event) = handed else {
                reader
                    .into_iter()
                    .for_each(|reader| reader.lost_some = true);
                continue;
            };
            let tick = Tick::of(&event);
            self.line
                .matched
                .insert((tick.channel, tick.symbol, tick.id));
            if let Some(reader) = reader {
                reader.routed.push((tick, epoch));
            }
        }
    }

    /// Every phase that is told may follow the one before it.
    fn follow_phases(&mut self) {
        for phase in self.phases.receiver().try_iter() {
            let before = std::mem::replace(&mut self.phase, phase);
            assert!(may_follow(before, phase), "{phase} after {before}");
        }
        assert_eq!(self.phase, self.stream.lifecycle.phase(), "not told");
    }

    fn follow(&mut self, deed: Deed, now: Instant) {
        match deed {
            Deed::Connect => {
                tell!(self, "connects");
                self.attempts.push(now);
                self.trace.add(b"connect");
                self.trace.number((now - self.started).as_nanos() as u64);
                self.line.pipe_broken = false;
                self.line.in_flight.clear();
                self.line.requests.clear();
                let wall = now + self.peer.moment().asleep;
                if let Some(evicted) = self.line.evicted.take() {
                    let doublings = (self.line.evictions - 1).min(9);
                    let least = Duration::from_secs((60 << doublings).min(600));
                    let waited = wall - evicted;
                    assert!(waited >= least, "fights after {waited:?}");
                }
                self.market.connected();
            }
            Deed::Open => self.market.opened(),
            Deed::Read => self.read(now),
            Deed::Sent(text) => self.sent(&text, now),
            Deed::Close => {
                self.close(now);
                self.market.closed();
            }
            Deed::Abort => {}
        }
    }

    fn read(&mut self, now: Instant) {
        let said = self.market.said.pop_front().expect("read what nobody said");
        tell!(self, "reads {said:?}");
        self.line.heard = now;
        self.line.probed = None;
        if !matches!(said, Said::Pong | Said::End) {
            // By the wall clock, which goes on while the machine sleeps.
            self.line.message = Some(now + self.peer.moment().asleep);
        }
        match said {
            // What comes in front of the login's answer is waited past, and shown to everybody.
            Said::Data(items) if !self.line.live => self.odd_before_login(items.len()),
            Said::State(items, _) if !self.line.live => self.odd_before_login(items.len() + 1),
            Said::Data(items) => self.bring(&items),
            Said::Answer(items, replies) => {
                self.bring(&items);
                for reply in replies {
                    match reply {
                        Reply::Subscribed(_) | Reply::Unsubscribed(_) => {}
                        Reply::RefusedTopic(_) | Reply::RefusedSome => self.line.refusals += 1,
                        Reply::Done(id) | Reply::Refused(id) => {
                            self.line.refusals += u64::from(matches!(reply, Reply::Refused(_)));
                            self.line.in_flight.retain(|(other, _)| *other != id);
                        }
                    }
                }
            }
            Said::Evicted => {
                self.line.broke = true;
                self.line.evicted = Some(now + self.peer.moment().asleep);
            }
            Said::State(items, state) => {
                let _ = state;
                self.bring(&items);
            }
            Said::Authenticated => {
                self.line.live = true;
                self.line.live_since = now + self.peer.moment().asleep;
                self.line.came.fill(now);
                self.line.epoch += 1;
                self.line.refused_since = None;
                self.line.asked = None;
            }
            Said::Error(400 | 405) if !self.line.live => self.line.broke = true,
            // Whether a request waited for it is the table's to know: see `count_unasked`.
            Said::Error(400 | 405) => {
                self.line.refusals += 1;
                self.line.in_flight.clear();
            }
            Said::Error(403) | Said::Welcome | Said::Pong => {}
            Said::Error(402 | 409) => {
                self.line.broke = true;
                let since = *self.line.refused_since.get_or_insert(now);
                let patience = self.config.backoff.credentials_patience;
                self.line.refused_for_good =
                    self.line.epoch == 0 || now >= clock::after(since, patience);
            }
            Said::Error(_) | Said::End => self.line.broke = true,
        }
    }

    fn bring(&mut self, items: &[Item]) {
        for item in items {
            match item {
                Item::Tick(tick) => {
                    self.line.events += 1;
                    let topics = tick.topics();
                    let came = self.line.came.iter_mut().enumerate();
                    came.filter(|(bit, _)| topics >> bit & 1 != 0)
                        .for_each(|(_, at)| *at = self.line.heard);
                }
                Item::Odd(lost) => {
                    self.odd(lost.topics());
                }
                Item::Stray => {
                    self.line.events += 1;
                    self.line.strays += 1;
                }
            }
        }
    }

    fn odd_before_login(&mut self, count: usize) {
        for _ in 0..count {
            self.odd(Set::MAX);
        }
    }

    /// Something could not be read, which concerns those who want one of `topics`, or all.
    fn odd(&mut self, topics: Set) {
        self.line.odd += 1;
        for reader in &mut self.readers {
            let concerned = |seen| topics == Set::MAX || seen & topics != 0;
            let is_told = reader.seen.is_some_and(concerned) && !reader.overflowed;
            reader.odd += u64::from(is_told);
        }
    }

    fn sent(&mut self, text: &str, now: Instant) {
        tell!(self, "sends {text}");
        self.trace.add(text.as_bytes());
        if text == "<ping>" {
            let silent = now - self.line.heard;
            let slept = self.slept >= SUSPEND;
            assert!(
                slept || silent >= self.config.ping_interval || self.is_any_late(now),
                "a ping after {silent:?}"
            );
            self.line.probed = slept.then_some(now);
            if !self.market.deaf && !self.market.chance(3) {
                self.market.say(Said::Pong);
            }
            return;
        }
        let ask = match (P::SPEECH.read)(text) {
            Heard::Login => return self.market.authenticate(now),
            Heard::Ask {
                id,
                subscribes,
                topics,
            } => Ask {
                id,
                subscribes,
                topics,
            },
        };
        let subscribes = ask.subscribes;
        self.keeps_the_rules(&ask, now);
        assert!(self.line.live, "a request before it is live");
        let wanted = self
            .readers
            .iter()
            .fold(0, |all, reader| all | reader.wants);
        if subscribes {
            assert_eq!(ask.topics & !wanted, 0, "asks for what nobody wants");
        }
        self.line.asked.get_or_insert(now);
        self.market.request(ask);
    }

    /// No more requests at once, and no more of them in a while, than the venue takes.
    fn keeps_the_rules(&mut self, ask: &Ask, now: Instant) {
        let rules = &self.stream.rules;
        if let Some(pace) = rules.pace {
            let recent = |at: &Instant| clock::after(*at, pace.within) > now;
            self.line.requests.retain(recent);
            self.line.requests.push_back(now);
            assert!(self.line.requests.len() <= pace.requests, "too fast");
        }
        if P::SPEECH.answers == Answers::PerRequest {
            let timeout = self.config.request_timeout;
            let waits = |(_, at): &(u64, Instant)| clock::after(*at, timeout) > now;
            self.line.in_flight.retain(waits);
            self.line.in_flight.push((ask.id, now));
            let at_once = self.line.in_flight.len();
            assert!(at_once <= rules.requests_at_once, "{at_once} at once");
        }
    }

    fn close(&mut self, now: Instant) {
        if !self.line.live {
            return;
        }
        tell!(self, "connection {} is gone", self.line.epoch);
        let lived = now + self.peer.moment().asleep - self.line.live_since;
        if lived >= KEPT {
            self.line.evictions = 0;
        }
        self.line.evictions += u64::from(self.line.evicted.is_some());
        if !self.line.stopped {
            let config = &self.config;
            let mute = config.ping_interval.saturating_add(config.ping_timeout);
            let probed = self.line.probed;
            let mute = now - self.line.heard >= mute
                || probed.is_some_and(|at| now - at >= self.config.ping_timeout);
            // Two requests in a row to be sent less went unanswered.
            let patience = self.config.request_timeout.saturating_mul(2);
            let asked = self.line.asked;
            let is_deaf = asked.is_some_and(|at| now.saturating_duration_since(at) >= patience);
            let is_late = self.is_any_late(now);
            let bad = self.line.broke || self.line.pipe_broken || mute || is_deaf || is_late;
            assert!(bad, "gave up a good connection");
            let broken = (self.line.epoch, self.line.message);
            for reader in self
                .readers
                .iter_mut()
                .filter(|reader| reader.seen.is_some())
            {
                if !reader.ended && !reader.overflowed {
                    reader.breaks.push(broken);
                }
            }
        }
        self.line.live = false;
    }

    /// Whether nothing has come of a topic for longer than somebody waits for it.
    fn is_any_late(&self, now: Instant) -> bool {
        let Some(within) = self.expects else {
            return false;
        };
        let readers = self.readers.iter();
        let wanted = readers.fold(0, |all, reader| all | reader.wants);
        let came = self.line.came.iter().enumerate();
        let mut wanted = came.filter(|(bit, _)| wanted >> bit & 1 != 0);
        wanted.any(|(_, at)| now.saturating_duration_since(*at) >= within)
    }

    fn check(&mut self, now: Instant) {
        assert_eq!(self.peer.overlaps(), 0, "two connections at once");
        // A connection that was accepted and dropped is a failure, too, unless the venue confirmed topics on it: each
        // other attempt but the newest was one.
        let budget = self.rules.attempts;
        let regained = (now - self.started).as_nanos() / budget.interval.as_nanos().max(1);
        let failed = (self.attempts.len() - self.line.served) as u128;
        // Where a line counts as stable at once, its end is no failure.
        let is_counted = self.config.backoff.reset_after >= Config::default().backoff.reset_after;
        assert!(!is_counted || failed <= 1 + u128::from(budget.burst) + regained);
        if let Some(next) = self.next {
            let wait = next.saturating_duration_since(now);
            let most = if self.is_usual() && self.line.evictions > 0 {
                Duration::from_secs(900)
            } else if self.is_usual() {
                Duration::from_secs(40)
            } else {
                Duration::MAX
            };
            assert!(wait <= most, "sleeps for {wait:?}");
        }
        let line = &self.line;
        for reader in &mut self.readers {
            reader.check();
        }
        let counted = self.stream.counters.values();
        let left_out = P::left_out(&self.stream.venue.venue);
        assert_eq!(
            (counted.events, counted.events_routed),
            (line.events - left_out, line.matched.len() as u64),
            "events read, and routed to somebody"
        );
        let nobodys = counted.events_unmatched + counted.events_unsettled;
        assert_eq!(counted.events, counted.events_routed + nobodys);
        assert!(counted.events_unmatched >= line.strays);
        if line.strays > 0 && counted.events_unmatched == line.strays {
            let topic = self.stream.unmatched.lock().clone();
            assert_eq!(
                topic.map(|topic| topic.to_string()).as_deref(),
                Some("statuses:A")
            );
        }
        self.stream.subscriptions.look(|table| {
            let routed = self.driver.as_mut().map(|driver| driver.router().routed());
            assert_eq!(routed, Some(table.told_confirmed()), "routed, and told");
            let (wanted, confirmed, missing, _) = table.overview();
            if line.live && !line.stopped && table.is_at_rest() {
                let sent = wanted - missing.len();
                assert_eq!(confirmed, sent, "nobody wants it, and it is kept");
            }
        });
    }

    /// What the stream's thread does when the driver returns.
    fn finish(&mut self) {
        let cause = self.stream.lifecycle.snapshot().cause;
        let reason = match cause {
            Some(cause) if !self.line.stopped => EndReason::Failed(cause),
            _ => EndReason::Closed,
        };
        self.conclude(Ok(reason));
    }

    /// The session panicked: what the stream's thread does then. Everybody is told, and the key is free.
    fn panicked(&mut self, panic: Box<dyn Any + Send>, now: Instant) {
        if panic
            .downcast_ref::<String>()
            .is_none_or(|text| text != BUG)
        {
            resume_unwind(panic);
        }
        tell!(self, "the session panics");
        self.line.panicked = true;
        let is_stopping = self.line.stopped;
        self.follow_phases();
        for deed in self.peer.take_deeds() {
            self.follow(deed, now);
        }
        self.count_routed();
        self.conclude(Err(panic));
        let Some(EndReason::Failed(error)) = self.handle.end_reason() else {
            panic!("ended for {:?}", self.handle.end_reason())
        };
        let ErrorKind::Panicked { message } = error.kind() else {
            panic!("ended for {error:?}")
        };
        // Once the stream stops, its credentials are out, and nothing is shown that may hold them.
        assert!(message == BUG || is_stopping, "{message}");
    }

    /// The last that a stream's thread does, driver and guard.
    fn conclude(&mut self, ended: std::thread::Result<EndReason>) {
        self.over = true;
        self.line.stopped = true;
        let reason = wind_up(&self.stream, self.driver.take(), ended);
        tell!(self, "over: {reason}");
        assert!(!self.peer.is_connected(), "the socket is there");
        self.stream.conclude(&reason);
        assert!(!claims().is_live(&self.stream.key), "the key is taken");
        self.follow_phases();
        let late = Topics::<MarketEvent>::new(topics(1));
        assert!(
            self.handle.subscribe(late).is_err(),
            "subscribed to what has ended"
        );
        assert!(self.handle.wait_live(Duration::ZERO).is_err());
    }

    // ---- what subscribers do ----

    fn subscribe(&mut self, wants: Set, limit: usize, policy: Overflow) {
        self.readers_made += 1;
        let name = self.readers_made;
        tell!(
            self,
            "{name} subscribes to {:?}, {limit} {policy}",
            topics(wants)
        );
        let list = Topics::<MarketEvent>::new(self.spelled(wants)).queue(limit, policy);
        let list = match self.expects.filter(|_| !name.is_multiple_of(3)) {
            Some(within) => list.expect_within(within),
            None => list,
        };
        let subscription = match self.handle.subscribe(list) {
            Err(error) if wants == 0 && matches!(error.kind(), ErrorKind::NoTopics) => return,
            subscription => subscription.expect("the stream goes on"),
        };
        // The others ask when they read by it for the first time.
        let asks = name.is_multiple_of(2);
        let ready = asks.then(|| subscription.ready().clone());
        self.readers.push(Reader {
            name,
            subscription: Rc::new(subscription),
            ready,
            limit,
            policy,
            wants,
            seen: None,
            lost: 0,
            left: 0,
            given_up: 0,
            routed: Vec::new(),
            told: 0,
            delivered: 0,
            dropped: 0,
            breaks: Vec::new(),
            breaks_told: 0,
            gap: 0,
            gapped: false,
            odd: 0,
            odd_told: 0,
            confirmed: 0,
            refused: 0,
            last: Default::default(),
            declared: ALL,
            builds: P::SPEECH.builds,
            begins: P::SPEECH.builds,
            half_read: false,
            read_to: Some(0),
            lost_some: false,
            overflowed: false,
            ended: false,
        });
    }

    /// Reads `most` updates at most, in one of the ways there are. Says whether nothing is left.
    fn read_some(&mut self, index: usize, most: usize, way: u64) {
        let reader = &mut self.readers[index];
        let started_empty = !reader.half_read;
        let read_to = if most > 0 {
            reader.read_to.take()
        } else {
            None
        };
        let dropped = reader.dropped;
        let mut got = Vec::new();
        let mut previous_is_gap = false;
        let mut emptied = false;
        let subscription = Rc::clone(&reader.subscription);
        let mut drain = None;
        if way == 2 {
            let ready = reader
                .ready
                .get_or_insert_with(|| subscription.ready().clone());
            if ready.try_recv().is_err() {
                return;
            }
            drain = Some(subscription.drain());
        }
        for _ in 0..most {
            let update = match (&mut drain, way) {
                (Some(drain), _) => drain.next(),
                (None, 1) => match subscription.recv_timeout(Duration::ZERO) {
                    Err(RecvTimeoutError::Timeout) => None,
                    update => update.ok(),
                },
                _ => subscription.try_recv().ok(),
            };
            let Some(update) = update else {
                emptied = true;
                break;
            };
            if self.story.is_some() {
                let mut text = format!("{} gets ", reader.name);
                let _ = match &update {
                    Update::Event(event) => {
                        write!(text, "{:?} of {}", Tick::of(event), event.epoch())
                    }
                    Update::Gap(gap) => write!(text, "a gap: {}x{}", gap.epoch, gap.breaks),
                    Update::Dropped(dropped) => write!(text, "{dropped} dropped"),
                    Update::Notice(notice) => write!(text, "{notice}"),
                    Update::Ended(ended) => write!(text, "{ended}"),
                };
                tell!(self, "{text}");
            }
            self.trace.number(reader.name as u64);
            let is_gap = matches!(update, Update::Gap(_));
            match update {
                Update::Event(event) => {
                    previous_is_gap = false;
                    let tick = Tick::of(&event);
                    self.trace
                        .number(tick.id << 8 | (tick.channel << 4 | tick.symbol) as u64);
                    self.trace.number(event.epoch());
                    assert!(event.received() <= self.peer.now());
                    reader.event(tick, event.epoch());
                    got.push((tick, event.epoch()));
                }
                Update::Gap(gap) => {
                    self.trace.number(gap.epoch << 32 | gap.breaks);
                    let apart = started_empty && previous_is_gap;
                    assert!(!apart, "{}: two gaps with no event between", reader.name);
                    reader.gap(&gap, self.started, self.utc);
                }
                Update::Dropped(dropped) => {
                    self.trace.number(dropped.count);
                    reader.dropped(dropped.count);
                }
                Update::Notice(notice) => {
                    if let Notice::Confirmed { topics, .. } | Notice::Refused { topics, .. } =
                        &notice.what
                    {
                        self.trace.number(set_of(topics).into());
                    }
                    reader.notice(&notice, &self.line, &P::SPEECH);
                }
                Update::Ended(ended) => {
                    drop(drain.take());
                    reader.end(&ended.reason, &self.line);
                    emptied = true;
                    break;
                }
            }
            previous_is_gap |= is_gap;
        }
        drop(drain);
        reader.half_read = !emptied && (reader.half_read || most > 0);
        if emptied && !reader.ended && !reader.overflowed {
            let facts = self.stream.subscriptions.look(Facts::of);
            reader.drained(&self.line, &facts);
            reader.told = reader.routed.len();
            reader.read_to = Some(reader.told);
            // What stood in front of a gap of some topics is not replaced any more, either.
            let lost_some = std::mem::take(&mut reader.lost_some);
            let is_whole = reader.policy == Overflow::Conflate && !lost_some;
            if let Some(from) = read_to.filter(|_| is_whole) {
                reader.conflated(from, &got, reader.dropped - dropped);
            }
        }
        reader.check();
    }

    fn drain(&mut self, index: usize) {
        self.read_some(index, usize::MAX, 0);
    }

    // ---- a random day ----

    fn some_topics(&mut self) -> Set {
        let few = self.market.dice.roll() & self.market.dice.roll();
        few as Set & ALL & !P::SPEECH.absent
    }

    /// Topics as somebody may write them.
    fn spelled(&mut self, set: Set) -> Vec<Topic> {
        let mut topics = topics(set);
        for topic in &mut topics {
            if P::SPEECH.has_spellings && self.market.below(2) == 0 {
                topic.symbol = topic.symbol.to_ascii_lowercase().into();
            }
        }
        topics
    }

    fn act(&mut self) {
        let readers = self.readers.len() as u64;
        let any = |simulation: &mut Self| simulation.market.below(readers.max(1)) as usize;
        let action = self.market.below(100);
        match action {
            0..34 => {
                for _ in 0..=self.market.below(3) {
                    let data = self.market.data(5);
                    if !data.is_empty() {
                        self.market.say(Said::Data(data));
                    }
                }
            }
            34..50 if readers > 0 => {
                let (reader, most, way) = (any(self), self.market.below(8), self.market.below(3));
                let most = if most == 7 { usize::MAX } else { most as usize };
                self.read_some(reader, most, way);
            }
            50..58 if readers < 5 => {
                let policies = [
                    Overflow::DropOldest,
                    Overflow::DropNewest,
                    Overflow::Conflate,
                    Overflow::End,
                ];
                let policy = policies[self.market.below(4) as usize];
                let limit = match self.market.below(4) {
                    0 => 1_000,
                    _ => 1 + self.market.below(9) as usize,
                };
                let wants = self.some_topics();
                let builds = wants & P::SPEECH.builds != 0;
                let policy = if builds { Overflow::End } else { policy };
                self.subscribe(wants, limit, policy);
            }
            58..61 if readers > 0 => {
                let reader = any(self);
                let reader = self.readers.swap_remove(reader);
                tell!(self, "{} is dropped", reader.name);
            }
            61..73 if readers > 0 => {
                let (reader, change, topics) = (any(self), action, self.some_topics());
                self.change(reader, change, topics);
            }
            73..78 => self.leap(),
            78..81 => {
                let by = Duration::from_millis(self.market.below(12_000));
                if self.market.below(4) == 0 {
                    self.peer.suspend(SUSPEND + by);
                    self.slept += SUSPEND + by;
                } else {
                    self.peer.advance(by);
                }
            }
            81..85 => self.misbehave(),
            85..89 => {
                if let Some(ask) = self.market.owed.pop_front() {
                    self.market.serve(ask);
                }
            }
            89..91 => self.market.state(),
            91 => {
                let codes = [400, 403, 405, 407, 500, 406, 400, 403, 405, 402];
                let code = codes[self.market.below(codes.len() as u64) as usize];
                if self.market.ready {
                    self.market.say(Said::Error(code));
                }
            }
            92..94 => {
                let answers = self.market.below(3) > 0;
                self.peer.answer_close(answers);
            }
            _ => {
                match self.market.below(2_000) {
                    0 => self.burst(),
                    1..20 if self.market.ready => {
                        self.market
                            .say(Said::Data(vec![Item::Odd(Lost::Topic); 70]))
                    }
                    _ => {}
                }
                self.peer
                    .advance(Duration::from_millis(self.market.below(300)));
            }
        }
    }

    /// More frames than are read in a turn, and more events than go into a batch.
    fn burst(&mut self) {
        for _ in 0..700 {
            let data = self.market.data(4);
            if !data.is_empty() {
                self.market.say(Said::Data(data));
            }
        }
    }

    fn change(&mut self, reader: usize, change: u64, few: Set) {
        let may_build = self.readers[reader].policy == Overflow::End;
        let few = if may_build {
            few
        } else {
            few & !P::SPEECH.builds
        };
        let list = Topics::<MarketEvent>::new(self.spelled(few));
        let reader = &mut self.readers[reader];
        match change % 3 {
            0 => {
                reader.subscription.add(list).expect("the stream goes on");
                reader.wants |= few;
            }
            1 => {
                reader
                    .subscription
                    .remove(list)
                    .expect("the stream goes on");
                reader.wants &= !few;
                reader.given_up |= few;
            }
            _ => reader
                .subscription
                .resubscribe()
                .expect("the stream goes on"),
        }
        tell!(self, "{} wants {:?} now", reader.name, topics(reader.wants));
    }

    fn misbehave(&mut self) {
        let lost = |why: &str| Fault::Lost {
            why: why.to_owned(),
            source: None,
        };
        if !self.market.open {
            let fault = match self.market.below(4) {
                0 => lost("nobody there"),
                1 => Fault::Connect(Source::new(std::io::Error::from(
                    std::io::ErrorKind::ConnectionRefused,
                ))),
                2 => Fault::Resolve(Source::new(std::io::Error::other("no such host"))),
                _ => Fault::Upgrade {
                    status: 429,
                    retry_after: Some(Duration::from_secs(7)),
                    location: None,
                },
            };
            return self.peer.fail_next(fault);
        }
        if self.market.ready && P::SPEECH.evicts && self.market.below(6) == 0 {
            return self.market.say(Said::Evicted);
        }
        if self.expects.is_some() && self.market.below(2) == 0 {
            self.market.muted = match self.market.below(3) {
                0 => 0,
                _ => self.market.muted | self.some_topics(),
            };
            tell!(self, "mute: {:?}", topics(self.market.muted & ALL));
            return;
        }
        match self.market.below(7) {
            0..3 => self.market.say(Said::End),
            3 => self.market.mute = true,
            4 => self.market.deaf = true,
            5 => {
                tell!(self, "the pipe breaks");
                self.peer.break_pipe(lost("broken pipe"));
                self.line.pipe_broken = true;
            }
            _ => {
                let wait = Duration::from_secs(self.market.below(90));
                self.market.slot_until = Some(self.peer.now() + wait);
                self.market.say(Said::End);
            }
        }
    }

    fn leap(&mut self) {
        if let Some(next) = self.next {
            // A setting without a bound is not waited out, but by a stop.
            self.peer
                .advance_to(next.min(self.peer.now() + LONGEST_LEAP));
        }
    }
}

impl<P: Personality> Simulation<P> {
    /// From here on everybody keeps to the rules, and the stream gets the time that it asks for: it has to come to rest.
    fn settle(&mut self) {
        self.market.honest = true;
        if self.market.deaf && P::SPEECH.answers == Answers::Never {
            // What it did not hear it never hears, and nobody would know.
            self.market.say(Said::End);
        }
        self.market.muted = 0;
        self.market.deaf = false;
        self.market.slot_until = None;
        self.peer.answer_close(true);
        for round in 1..=200 {
            while let Some(ask) = self.market.owed.pop_front() {
                self.market.serve(ask);
            }
            self.turn();
            let is_quiet = self.market.said.is_empty() && self.market.owed.is_empty();
            if self.over
                || self.line.live && is_quiet && !self.market.mute && self.is_at_rest()
                || self.waits_for_ever()
            {
                return;
            }
            if round % 20 == 0 && !self.is_usual() {
                // What is never answered is waited for without a bound. The line breaks at last.
                self.market.mute = false;
                self.market.say(Said::End);
            }
            if is_quiet {
                self.leap();
            }
        }
        panic!("it does not come to rest");
    }

    fn is_usual(&self) -> bool {
        self.config == Config::default() && self.rules == RULES
    }

    /// Whether the next attempt is years away, as the settings want it.
    fn waits_for_ever(&self) -> bool {
        let year = 365 * DAY;
        let wait = |next: Instant| next.saturating_duration_since(self.peer.now());
        self.stream.lifecycle.phase() == Phase::Waiting && self.next.map(wait) > Some(year)
    }

    fn is_at_rest(&self) -> bool {
        self.stream.subscriptions.look(TopicTable::is_at_rest)
    }

    /// Lets the stream have its time, and nothing happen, until `done`.
    fn settle_until(&mut self, done: impl Fn(&Line) -> bool) {
        for _ in 0..200 {
            if done(&self.line) {
                return;
            }
            if self.market.said.is_empty() {
                self.leap();
            }
            self.turn();
        }
        panic!("it does not come to that");
    }

    /// Some seconds of a line that is not to be relied on, with an honest venue at its end.
    fn flap(&mut self) {
        self.turn();
        let later = self.peer.now() + Duration::from_millis(self.market.below(8_000));
        let next = self.next.map_or(later, |next| next.min(later));
        self.peer.advance_to(next);
        if self.market.below(10) == 0 {
            self.misbehave();
        } else {
            let data = self.market.data(4);
            if !data.is_empty() {
                self.market.say(Said::Data(data));
            }
        }
        let (reader, way) = (self.market.below(3) as usize, self.market.below(3));
        if self.market.below(4) == 0 {
            self.read_some(reader, usize::MAX, way);
        }
    }

    /// A stop, which must end it within the bound of a close.
    fn stop(&mut self) {
        tell!(self, "stop");
        self.stream.stop(None);
        self.line.stopped = true;
        let deadline = clock::after(self.peer.now(), self.config.close_timeout);
        self.turn();
        if let Some(next) = self.next.filter(|_| !self.over) {
            self.peer.advance_to(next);
            self.turn();
        }
        assert!(self.over && self.peer.now() <= deadline, "it does not end");
    }

    fn everybody_reads_to_the_end(&mut self) {
        for index in 0..self.readers.len() {
            self.drain(index);
            if self.over && !self.readers[index].ended {
                panic!("{} has no end", self.readers[index].name);
            }
        }
    }

    /// At rest, and again after everything that was refused was asked for again: nothing is missing, and data comes.
    fn is_whole(&mut self) {
        self.settle();
        self.everybody_reads_to_the_end();
        if self.over || self.waits_for_ever() {
            return;
        }
        for reader in &self.readers {
            reader
                .subscription
                .resubscribe()
                .expect("the stream goes on");
        }
        self.settle();
        if self.line.panicked || self.waits_for_ever() {
            return;
        }
        let wanted = self.readers.iter().filter(|reader| reader.seen.is_some());
        let wanted = wanted.fold(0, |all, reader| all | reader.wants);
        let (_, _, missing, _) = self.stream.subscriptions.look(TopicTable::overview);
        assert_eq!(missing, [], "the venue grants everything");
        assert_eq!(wanted & !spread(self.market.held), 0, "granted");
        assert_eq!(self.market.held & !wanted, 0, "sent, and wanted by nobody");
        let (channels, symbols) = (0..CHANNELS.len(), 1..SYMBOLS.len());
        let all = channels.flat_map(|channel| symbols.clone().map(move |symbol| (channel, symbol)));
        let all: Vec<_> = all
            .filter_map(|(c, s)| self.market.happens(c, s, false))
            .collect();
        self.market.say(Said::Data(all));
        self.turn();
        self.everybody_reads_to_the_end();
    }

    /// A few hundred random steps, and an end.
    fn run(&mut self, steps: u64) {
        let stop_at = self.market.below(steps * 2);
        self.turn();
        for step in 0..steps {
            if step == stop_at {
                self.stop();
            }
            if self.over {
                break;
            }
            self.act();
            if self.market.below(100) < 80 {
                self.turn();
            }
            if !self.line.live && self.market.said.is_empty() && self.market.below(100) < 60 {
                self.leap();
            }
        }
        if !self.over {
            self.is_whole();
        }
        if !self.over {
            self.stop();
        }
        self.everybody_reads_to_the_end();
    }
}

impl<P: Personality> Drop for Simulation<P> {
    fn drop(&mut self) {
        // The leases that go after this would wait for a thread that there is none of.
        claims().vacate(&self.stream.key, self.stream.generation);
    }
}

/// Runs what `play` does with a simulation; where that fails, once more, telling the last steps.
fn with_seed<P: Personality, R>(
    seed: u64,
    settings: &Settings,
    play: impl Fn(&mut Simulation<P>) -> R,
) -> R {
    let run = |story: Option<Story>| {
        let play = || play(&mut Simulation::new(seed, settings.clone(), story));
        catch_unwind(AssertUnwindSafe(play)).map_err(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            text.or_else(|| panic.downcast_ref().map(|text: &&str| (*text).to_owned()))
        })
    };
    run(None).unwrap_or_else(|first| {
        let story = Story::default();
        let again = run(Some(Rc::clone(&story))).err();
        let steps: Vec<String> = story.take().into();
        let differs = again.as_ref() != Some(&first);
        let differs = if differs {
            ", but not what it was the first time"
        } else {
            ""
        };
        let why = again.flatten().or(first).unwrap_or_default();
        panic!("seed {seed}:\n{}\n{why}{differs}", steps.join("\n"));
    })
}

/// What a day was: all that could be seen of it, and whether the session panicked.
#[derive(Debug, PartialEq, Eq)]
struct Played {
    trace: u64,
    panicked: bool,
}

fn random_day<P: Personality>(seed: u64) -> Played {
    with_seed(
        seed,
        &settings_of(seed),
        |simulation: &mut Simulation<P>| {
            if seed % 4 == 1 {
                simulation
                    .fuse
                    .panic_at(1 + Dice::new(seed).roll() % MOST_CALLS);
            }
            simulation.run(STEPS);
            Played {
                trace: simulation.trace.0,
                panicked: simulation.line.panicked,
            }
        },
    )
}

/// What a day is played with.
#[derive(Clone)]
struct Settings {
    config: Config,
    rules: Rules,
}

impl Settings {
    fn usual() -> Self {
        Self {
            config: Config::default(),
            rules: RULES,
        }
    }
}

const RULES: Rules = Rules::new();

type SetTime = fn(&mut Settings, Duration);

/// Each setting that is a time and that a stream without sockets knows, and the least that makes sense.
const SETTINGS: [(Duration, SetTime); 11] = [
    (MILLISECOND, |settings, time| {
        settings.config.setup_timeout = time
    }),
    (Duration::ZERO, |settings, time| {
        settings.config.close_timeout = time
    }),
    // A request that ran out in the turn in which it was made could be told from another only by the order of the two.
    (TINY, |settings, time| {
        settings.config.request_timeout = time
    }),
    (MILLISECOND, |settings, time| {
        settings.config.ping_interval = time
    }),
    (MILLISECOND, |settings, time| {
        settings.config.ping_timeout = time
    }),
    (Duration::ZERO, |settings, time| {
        settings.config.behind_warning = time
    }),
    (TINY, |settings, time| {
        settings.config.backoff.initial = time;
        settings.config.backoff.cap = time;
    }),
    (Duration::ZERO, |settings, time| {
        settings.config.backoff.reset_after = time;
    }),
    (Duration::ZERO, |settings, time| {
        settings.rules = settings.rules.clone().reaping(time, time);
    }),
    (Duration::ZERO, |settings, time| {
        settings.config.backoff.credentials_patience = time;
    }),
    (Duration::ZERO, |settings, time| {
        let burst = settings.rules.attempts.burst;
        settings.rules = settings.rules.clone().attempts(burst, time);
    }),
];

const TINY: Duration = Duration::from_nanos(1);
const MILLISECOND: Duration = Duration::from_millis(1);

/// On every third day some settings are as long or as short as they may be.
fn settings_of(seed: u64) -> Settings {
    let mut settings = Settings::usual();
    if seed.is_multiple_of(3) {
        let mut dice = Dice::new(seed ^ 0xe47e);
        for _ in 0..=dice.roll() % 3 {
            let (least, set) = SETTINGS[(dice.roll() % SETTINGS.len() as u64) as usize];
            let time = if dice.roll().is_multiple_of(2) {
                least
            } else {
                Duration::MAX
            };
            set(&mut settings, time);
        }
    }
    settings.config.validate().expect("extreme, and valid");
    settings
}

/// A panic comes at one of so many calls of the session: most days have more.
const MOST_CALLS: u64 = 150;
/// Far more than any setting of the default takes, and less than a night.
const LONGEST_LEAP: Duration = Duration::from_secs(600);

/// Less than most leaps: some topics of many are late all the time.
const EXPECTED: Duration = Duration::from_secs(20);
/// When a day begins on which something is expected: a Tuesday, with hours of trading left.
const EXPECTING: &str = "2026-03-17T15:00:00Z";

const STEPS: u64 = 120;

/// The seeds to run of `all` that a test has: a first look by default, all of them where `TRUNKLINE_SEEDS` is `all`, or those that
/// it names.
pub(super) fn seeds(all: u64) -> std::ops::Range<u64> {
    const FIRST_LOOK: u64 = 500;
    let Ok(text) = std::env::var("TRUNKLINE_SEEDS") else {
        return 0..all.min(FIRST_LOOK);
    };
    let number = |text: &str| {
        text.trim().parse().unwrap_or_else(|_| {
            panic!("TRUNKLINE_SEEDS is `all`, one seed such as `17`, or `17..99`, and not {text:?}")
        })
    };
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None if text.trim() == "all" => 0..all,
        None => number(&text)..number(&text) + 1,
    }
}

/// The oracle counts what the venue sent and the client could read; no subscription misses any of it unless it says so.
fn loses_nothing_in_silence<P: Personality>(all: u64) {
    let (mut days, mut panics) = (0, 0);
    for seed in seeds(all) {
        let played = random_day::<P>(seed);
        if seed % 32 < 2 {
            let again = random_day::<P>(seed);
            assert_eq!(played, again, "seed {seed}: another run, another story");
        }
        days += 1;
        panics += u64::from(played.panicked);
    }
    assert!(
        days < 100 || panics > days / 20,
        "{panics} panics on {days} days"
    );
}

#[test]
fn ten_thousand_seeds_lose_nothing_in_silence() {
    loses_nothing_in_silence::<Alpaca>(10_000);
}

#[test]
fn nor_do_three_thousand_of_a_venue_that_answers_per_topic() {
    loses_nothing_in_silence::<PerTopic>(3_000);
}

#[test]
fn nor_do_three_thousand_of_a_venue_that_answers_per_request() {
    loses_nothing_in_silence::<PerRequest>(3_000);
}

#[test]
fn nor_do_three_thousand_of_a_venue_that_never_answers() {
    loses_nothing_in_silence::<Silent>(3_000);
}

const DAY: Duration = Duration::from_secs(24 * 3_600);

#[test]
fn a_day_of_flapping_is_the_same_day_every_time() {
    let day = |seed| {
        with_seed(
            seed,
            &Settings::usual(),
            |simulation: &mut Simulation<Alpaca>| {
                simulation.market.honest = true;
                simulation.subscribe(bit(0, 0), 20, Overflow::DropOldest);
                simulation.subscribe(bit(0, 1) | bit(1, 1), 20, Overflow::DropNewest);
                simulation.subscribe(bit(0, 0) | bit(1, 0), 1_000, Overflow::Conflate);
                while simulation.peer.now() - simulation.started < DAY {
                    simulation.flap();
                }
                simulation.is_whole();
                let breaks = simulation.readers[0].breaks_told;
                assert!(breaks > 500, "{breaks} are no flapping");
                simulation.stop();
                simulation.everybody_reads_to_the_end();
                (simulation.trace.0, simulation.attempts.len(), breaks)
            },
        )
    };
    assert_eq!(day(1), day(1));
}

/// What backoff and budget allow in `time`, for these random numbers, where every connection dies at once: before the
/// venue has confirmed anything on it, or right after that.
fn allowed(
    config: &Config,
    time: Duration,
    serves: bool,
    mut random: impl FnMut() -> f64,
) -> usize {
    let (backoff, budget) = (&config.backoff, RULES.attempts);
    let (mut attempts, mut now, mut whole_at) = (0_u32, Duration::ZERO, Duration::ZERO);
    while now <= time {
        attempts += 1;
        let bound = backoff.initial.saturating_mul(1 << (attempts - 1).min(20));
        let wait = clock::times(bound.min(backoff.cap), random());
        if serves {
            now += Duration::from_secs(1) + wait;
            continue;
        }
        whole_at = whole_at.max(now).saturating_add(budget.interval);
        let owed = (whole_at - now).saturating_sub(budget.interval * budget.burst);
        now += wait.max(owed);
    }
    attempts as usize
}

/// A day with one reader and a venue that keeps to its rules, where nothing happens but what `play` does. `fixed` is where in its
/// range each random wait lies.
fn on_an_honest_line<R>(
    seed: u64,
    fixed: Option<f64>,
    play: impl Fn(&mut Simulation<Alpaca>) -> R,
) -> R {
    with_seed(
        seed,
        &Settings::usual(),
        |simulation: &mut Simulation<Alpaca>| {
            if let Some(fraction) = fixed {
                simulation.peer.fix_jitter(fraction);
            }
            simulation.market.honest = true;
            simulation.subscribe(bit(0, 1), 20, Overflow::DropOldest);
            play(simulation)
        },
    )
}

#[test]
fn a_storm_stays_inside_the_schedule() {
    const HOUR: Duration = Duration::from_secs(3_600);
    let config = Config::default();
    // How far a connection gets before it dies: nowhere, to its login, to the venue's answer.
    let storm = |seed: u64, fixed: Option<f64>, steps: u32| {
        on_an_honest_line(seed, fixed, |simulation| {
            while simulation.peer.now() - simulation.started <= HOUR {
                simulation.turn();
                let dies = match steps {
                    0 => true,
                    1 => simulation.market.ready,
                    _ => simulation
                        .stream
                        .subscriptions
                        .look(TopicTable::has_confirmed),
                };
                if simulation.market.open && dies {
                    simulation.market.say(Said::End);
                }
                if simulation.market.said.is_empty() {
                    simulation.leap();
                }
            }
            simulation.drain(0);
            simulation.attempts.len()
        })
    };
    for steps in 0..3 {
        for fraction in [0.0, 0.01, 0.5, 0.999] {
            let attempts = storm(0, Some(fraction), steps);
            assert_eq!(
                attempts,
                allowed(&config, HOUR, steps == 2, || fraction),
                "{fraction}"
            );
        }
        for seed in 0..10 {
            let mut dice = Dice::new(seed);
            let attempts = storm(seed, None, steps);
            assert_eq!(
                attempts,
                allowed(&config, HOUR, steps == 2, || dice.fraction()),
                "seed {seed}"
            );
        }
    }
    let most = 1 + RULES.attempts.burst as usize + HOUR.as_secs() as usize;
    assert_eq!(
        allowed(&config, HOUR, false, || 0.0),
        most,
        "the budget alone"
    );
}

#[test]
fn a_half_dead_predecessor_is_waited_out() {
    const REAPED: Duration = Duration::from_secs(90);
    let wait_out = |seed: u64, fixed: Option<f64>| {
        on_an_honest_line(seed, fixed, |simulation| {
            simulation.turn();
            simulation.settle_until(|line| line.live);
            let (before, cut) = (simulation.attempts.len(), simulation.peer.now());
            simulation.market.slot_until = Some(cut + REAPED);
            simulation.market.say(Said::End);
            simulation.turn();
            simulation.settle_until(|line| line.live);
            let took = simulation.peer.now() - cut;
            let most = REAPED + RULES.reaping.1;
            assert!(took >= REAPED && took <= most, "live again after {took:?}");
            simulation.drain(0);
            let attempts = simulation.attempts.len() - before;
            assert!(attempts - 1 <= 12, "{} refusals", attempts - 1);
            attempts
        })
    };
    for fraction in [0.0, 0.5, 0.999] {
        wait_out(0, Some(fraction));
    }
    for seed in 0..300 {
        let attempts = wait_out(seed, None);
        assert!(attempts <= 12, "seed {seed}: {attempts} attempts");
    }
}
