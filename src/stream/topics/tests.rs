//! Seeded days of the table alone: venues that answer with full states, per topic, per request or never, late, lost, wrongly, or by
//! closing the line; callers that come, go, and change their minds; and readers that check what they are told and given.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use super::super::router::holds::{Holds, Most};
use super::{SubscriptionId as SubId, Upstream, Wanted};
use crate::{
    credentials::Credentials,
    error::{At, Error, ErrorKind, Rejection, RejectionKind},
    key::StreamKey,
    phase::Phase,
    stream::simulation::seeds,
    symbol_budget::{Counts, SymbolBudget},
    topic::Channel,
    venue::{self, RequestId, Verb},
};

type Time = u64;

/// What counts as one.
type Unit = (u8, u32);

/// A topic in short.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
struct Topic {
    channel: u8,
    symbol: u32,
}

/// The symbol that stands for a whole channel.
const STAR: u32 = 0;

impl Topic {
    fn new(channel: u8, symbol: u32) -> Self {
        Self { channel, symbol }
    }

    fn is_star(self) -> bool {
        self.symbol == STAR
    }

    fn star(self) -> Self {
        Self::new(self.channel, STAR)
    }

    fn covers(self, channel: u8, symbol: u32) -> bool {
        self.channel == channel && (self.is_star() || self.symbol == symbol)
    }
}

const CHANNELS: [Channel; 3] = [Channel::new("a"), Channel::new("b"), Channel::new("book")];

fn real(topic: Topic) -> super::Topic {
    let channel = CHANNELS[usize::from(topic.channel)];
    match topic.symbol {
        STAR => super::Topic::new(channel, "*"),
        number => super::Topic::new(channel, format!("S{number}")),
    }
}

fn short(topic: &super::Topic) -> Topic {
    let channel = CHANNELS
        .iter()
        .position(|channel| *channel == topic.channel);
    let number = topic.symbol.as_str().strip_prefix('S');
    let number = number.map_or(STAR, |number| number.parse().unwrap());
    Topic::new(channel.unwrap() as u8, number)
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Request {
    id: RequestId,
    verb: Verb,
    topics: Vec<Topic>,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Cause {
    Bad,
    Limit,
    LeftOut,
    NoAnswer,
    Closed,
    NoRoom,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Verdict {
    Subscribed,
    Unsubscribed,
    Refused(Cause),
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Word {
    State(Vec<Topic>),
    Topic(Topic, Verdict, Option<RequestId>),
    Request(Option<RequestId>, Verdict),
}

impl Word {
    fn real(&self) -> venue::Answer {
        let refusal = |cause: Cause| {
            let kind = match cause {
                Cause::Limit => RejectionKind::SymbolLimit,
                _ => RejectionKind::BadRequest,
            };
            Rejection::new(kind, format!("{cause:?}"))
        };
        match self {
            Self::State(topics) => venue::Answer::State(topics.iter().copied().map(real).collect()),
            Self::Topic(topic, verdict, id) => {
                let verdict = match verdict {
                    Verdict::Subscribed => venue::TopicAnswer::Subscribed,
                    Verdict::Unsubscribed => venue::TopicAnswer::Unsubscribed,
                    Verdict::Refused(cause) => venue::TopicAnswer::Refused(refusal(*cause)),
                };
                venue::Answer::Topic(real(*topic), verdict, *id)
            }
            Self::Request(id, Verdict::Refused(cause)) => {
                venue::Answer::Request(*id, Err(refusal(*cause)))
            }
            Self::Request(id, _) => venue::Answer::Request(*id, Ok(())),
        }
    }
}

/// How a venue answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Answers {
    State,
    PerTopic,
    PerRequest,
}

#[derive(Clone, Debug)]
struct Limits {
    answers: Answers,
    counts: Counts,
    plan: Option<usize>,
    topics_per_request: usize,
    in_flight: usize,
    timeout: Time,
}

#[derive(Clone, Debug)]
enum News {
    Joined,
    Confirmed { sub: SubId, topic: Topic },
    Gap(SubId, Topic),
    Resumed(SubId),
    Refused(SubId, Topic, Cause),
    Displaced(SubId, Topic),
    Left(SubId, Topic),
    Asked(Topic),
    Settled(Topic),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Told {
    Nothing,
    Confirmed,
    Lost,
    Refused(Cause),
    Displaced,
}

/// The table, in short words.
struct Table(super::TopicTable, Instant);

impl Table {
    fn new(limits: &Limits) -> Self {
        let key = StreamKey::new(
            &"ws://test.invalid/1".parse().unwrap(),
            &Credentials::none(),
        );
        let plan = limits
            .plan
            .map_or_else(SymbolBudget::learned, SymbolBudget::of);
        let rules = super::Limits {
            topics: limits.topics_per_request,
            in_flight: limits.in_flight,
            per_topic: limits.answers == Answers::PerTopic,
            timeout: Duration::from_secs(limits.timeout),
        };
        let mut table = super::TopicTable::new(&key);
        table.set_rules(rules, Some(plan.counting(limits.counts)));
        Self(table, crate::clock::now())
    }

    fn at(&self, now: Time) -> Instant {
        self.1 + Duration::from_secs(now)
    }

    fn want(&mut self, sub: SubId, topics: &[Topic], priority: i32) {
        let wanted = topics.iter().map(|topic| Wanted {
            topic: real(*topic),
            builds: topic.channel == BOOK,
        });
        let wanted = wanted.collect();
        if self.0.subscriptions.contains_key(&sub) {
            self.0.add(sub, wanted);
        } else {
            self.0.subscribe(sub, priority, None, wanted);
        }
    }

    fn give_up(&mut self, sub: SubId, topics: &[Topic]) {
        let topics: Vec<_> = topics.iter().copied().map(real).collect();
        self.0.remove(sub, &topics);
    }

    fn drop_sub(&mut self, sub: SubId) {
        self.0.unsubscribe(sub);
    }

    fn is_confirmed(&self, sub: SubId) -> bool {
        matches!(self.0.confirmation(sub), super::Confirmation::Confirmed)
    }

    fn take_over(&mut self, now: Time) {
        let _ = now;
        self.0.take_over();
    }

    fn restart(&mut self, topic: Topic) {
        self.0.restart(&[real(topic)]);
    }

    fn connected(&mut self) {
        self.0.connected();
    }

    fn disconnected(&mut self, now: Time) -> Vec<News> {
        let at = At::new(&self.0.stream, Phase::Live);
        let why = "cut".to_owned();
        let error = Error::new(at, ErrorKind::Lost { why, source: None });
        let before: Vec<(SubId, Topic)> = self.confirmed_rows();
        self.0.disconnected(Some(&error), self.at(now));
        let mut news = self.take_news();
        // The gap of the whole line.
        let lost = before.into_iter().map(|(sub, topic)| News::Gap(sub, topic));
        news.splice(0..0, lost);
        news
    }

    fn confirmed_rows(&self) -> Vec<(SubId, Topic)> {
        let mut rows = Vec::new();
        for (sub, owner) in &self.0.subscriptions {
            let confirmed = owner
                .rows
                .iter()
                .filter(|(_, row)| row.told == super::rows::Told::Confirmed);
            rows.extend(confirmed.map(|(topic, _)| (*sub, short(topic))));
        }
        rows
    }

    fn is_deaf(&self) -> bool {
        self.0.is_deaf()
    }

    fn deadline(&self) -> Option<Time> {
        let at = self.0.deadline()?;
        Some(at.saturating_duration_since(self.1).as_secs())
    }

    fn tick(&mut self, now: Time) {
        self.0.tick(self.at(now));
    }

    fn next(&mut self, now: Time) -> Option<Request> {
        let request = self.0.next(self.at(now))?;
        Some(Request {
            id: request.id,
            verb: request.verb,
            topics: request.topics.iter().map(short).collect(),
        })
    }

    fn hear(&mut self, words: &[Word], now: Time) {
        let words = words.iter().map(Word::real).collect();
        self.0.hear(words, self.at(now));
    }

    fn take_news(&mut self) -> Vec<News> {
        let news = self.0.take_news();
        self.0.reached();
        let news = news.into_iter().map(|news| match news {
            super::TableNews::Confirmed { id, topic, .. } => News::Confirmed {
                sub: id,
                topic: short(&topic),
            },
            super::TableNews::Joined(..) => News::Joined,
            super::TableNews::Lost(sub, topic) => News::Gap(sub, short(&topic)),
            super::TableNews::Resumed(sub) => News::Resumed(sub),
            super::TableNews::Refused(sub, topic, error) => {
                News::Refused(sub, short(&topic), cause(&error))
            }
            super::TableNews::Displaced(sub, topic, _) => News::Displaced(sub, short(&topic)),
            super::TableNews::Left(sub, topic) => News::Left(sub, short(&topic)),
            super::TableNews::Hold(topic) => News::Asked(short(&topic)),
            super::TableNews::Settled(topic) => News::Settled(short(&topic)),
        });
        news.collect()
    }
}

fn cause(error: &Error) -> Cause {
    match error.kind() {
        ErrorKind::OverBudget { .. } => Cause::NoRoom,
        ErrorKind::Refused { rejection, .. } => match &*rejection.message {
            text if text.contains("left it out") => Cause::LeftOut,
            text if text.contains("did not answer") => Cause::NoAnswer,
            text if text.contains("asked for alone") => Cause::Closed,
            "Limit" => Cause::Limit,
            _ => Cause::Bad,
        },
        _ => panic!("{error}"),
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
struct Event {
    channel: u8,
    symbol: u32,
    /// Counts what happens to this symbol on this channel, whether it is sent or not.
    number: u64,
    /// It needs nothing that came before.
    is_snapshot: bool,
}

/// Who gets what. Made from news alone, and owned by the stream's thread.
struct Router {
    routes: HashMap<Topic, Vec<SubId>>,
    holds: Holds<Event, SubId>,
    /// Topics whose hold was too short.
    overflowed: Vec<Topic>,
}

/// The longest hold.
const MOST_HELD: Most = Most {
    events: 10,
    bytes: 1_000,
};

/// What a reader is given: an event, or so many that were missed.
enum Given {
    Event(Event),
    Missed,
}

impl Router {
    fn new() -> Self {
        Self {
            routes: HashMap::new(),
            holds: Holds::new(MOST_HELD),
            overflowed: Vec::new(),
        }
    }

    /// Applies one piece of news. Says what a reader is given behind it.
    fn apply(&mut self, news: &News) -> Vec<(SubId, Given)> {
        match *news {
            News::Confirmed { sub, topic } => return self.add(sub, topic),
            News::Gap(sub, topic)
            | News::Refused(sub, topic, _)
            | News::Displaced(sub, topic)
            | News::Left(sub, topic) => self.remove(sub, topic),
            News::Asked(topic) => self.holds.begin(&real(topic)),
            News::Settled(topic) => self.holds.settle(&real(topic)),
            News::Joined | News::Resumed(_) => {}
        }
        Vec::new()
    }

    /// A reader's topic is confirmed. It gets what was held, but nothing that it reads by another topic, too.
    fn add(&mut self, sub: SubId, topic: Topic) -> Vec<(SubId, Given)> {
        let routes = &self.routes;
        let reads = |topic| {
            routes
                .get(&topic)
                .is_some_and(|subs: &Vec<SubId>| subs.contains(&sub))
        };
        let has =
            |event: &Event| reads(Topic::new(event.channel, event.symbol)) || reads(topic.star());
        let given = self.holds.give(&real(topic), sub, has, |event, topic| {
            short(topic).covers(event.channel, event.symbol)
        });
        let events = given
            .numbers
            .iter()
            .filter_map(|number| self.holds.get(*number));
        let events = events.map(|event| (sub, Given::Event(*event)));
        let missed = (given.missed > 0).then_some((sub, Given::Missed));
        let given = missed.into_iter().chain(events).collect();
        self.routes.entry(topic).or_default().push(sub);
        given
    }

    fn remove(&mut self, sub: SubId, topic: Topic) {
        let Some(subs) = self.routes.get_mut(&topic) else {
            return;
        };
        let before = subs.len();
        subs.retain(|other| *other != sub);
        let was_reader = subs.len() < before;
        if subs.is_empty() {
            self.routes.remove(&topic);
        }
        if was_reader {
            self.holds.left(&real(topic), sub);
        }
    }

    /// Who gets an event: the readers of its topic and of its channel's wildcard, each once.
    fn route(&mut self, event: Event) -> Vec<SubId> {
        let topic = Topic::new(event.channel, event.symbol);
        let mut subs: Vec<SubId> = Vec::new();
        for topic in [topic, topic.star()] {
            for sub in self.routes.get(&topic).into_iter().flatten() {
                if !subs.contains(sub) {
                    subs.push(*sub);
                }
            }
        }
        let topics = [real(topic), real(topic.star())];
        let cut = self
            .holds
            .take_in(topics.iter(), event, 1, !subs.is_empty());
        self.overflowed.extend(cut.iter().map(short));
        subs
    }
}

struct Rng(u64);

impl Rng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1000) < per_mille
    }
}

/// What a venue does with a topic that it does not have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum BadTopics {
    None,
    /// An error without a name. With full states and answers per request, all of the request is refused.
    Nameless,
    /// An error with its name, where the venue answers per topic.
    Named,
    Silent,
    ClosesConnection,
}

/// A venue's character, and the faults of this world, in per mille.
#[derive(Clone, Debug)]
struct Character {
    limits: Limits,
    ids: bool,
    /// Answers nothing: the session answers for it.
    mute: bool,
    bad: BadTopics,
    /// The plan, whether or not we know it.
    plan: Option<usize>,
    caps_in_silence: bool,
    merges_stars: bool,
    late: u64,
    lost: u64,
    unasked: u64,
    shrinks: u64,
    adds: u64,
    errors: u64,
    cuts: u64,
    changes: u64,
}

const SYMBOLS: u64 = 7;
const BAD_FROM: u32 = 6;
const BOOK: u8 = 2;

impl Character {
    fn random(rng: &mut Rng) -> Self {
        let answers = [
            Answers::State,
            Answers::State,
            Answers::PerTopic,
            Answers::PerRequest,
        ][rng.below(4) as usize];
        let ids =
            answers == Answers::PerRequest || (answers == Answers::PerTopic && rng.chance(500));
        let mute = answers == Answers::PerRequest && rng.chance(250);
        let bad = match (rng.below(6), answers) {
            _ if mute => BadTopics::None,
            (0, _) => BadTopics::None,
            (1, _) => BadTopics::ClosesConnection,
            (2, Answers::State | Answers::PerTopic) => BadTopics::Silent,
            (3, Answers::PerTopic) => BadTopics::Named,
            _ => BadTopics::Nameless,
        };
        let per_mille =
            |rng: &mut Rng, most: u64| if rng.chance(500) { rng.below(most) } else { 0 };
        let late = per_mille(rng, 200);
        let plan = (!mute && rng.chance(600)).then(|| 2 + rng.below(4) as usize);
        let caps_in_silence = answers == Answers::State && rng.chance(250);
        let channel_counts = if rng.chance(500) {
            Counts::Symbols
        } else {
            Counts::Topics
        };
        Self {
            limits: Limits {
                answers,
                counts: channel_counts,
                plan: plan.filter(|_| rng.chance(600)),
                topics_per_request: 1 + rng.below(10) as usize,
                in_flight: if ids && rng.chance(500) { 3 } else { 1 },
                timeout: 10,
            },
            ids,
            mute,
            bad,
            plan,
            caps_in_silence,
            merges_stars: answers == Answers::State && rng.chance(400),
            late,
            lost: per_mille(rng, 100),
            // States that nobody asked for, on a line whose answers are late, with errors without a name: see the limits.
            unasked: if late > 0 { 0 } else { per_mille(rng, 60) },
            shrinks: if late > 0 { 0 } else { per_mille(rng, 20) },
            adds: if late > 0 { 0 } else { per_mille(rng, 10) },
            errors: per_mille(rng, 900),
            cuts: per_mille(rng, 15),
            changes: 30 + rng.below(250),
        }
    }

    fn is_bad(&self, topic: Topic) -> bool {
        self.bad != BadTopics::None && topic.symbol >= BAD_FROM
    }

    fn unit(&self, topic: Topic) -> Option<Unit> {
        (!topic.is_star()).then_some(match self.limits.counts {
            Counts::Symbols => (u8::MAX, topic.symbol),
            Counts::Topics => (topic.channel, topic.symbol),
        })
    }

    fn units(&self, topics: impl IntoIterator<Item = Topic>) -> usize {
        topics
            .into_iter()
            .filter_map(|topic| self.unit(topic))
            .collect::<HashSet<_>>()
            .len()
    }
}

#[derive(Clone, Debug)]
enum Packet {
    Frame(Vec<Word>),
    Event(Event),
    Closed,
}

/// What one subscription may believe, from what it was told, and what it got.
#[derive(Default)]
struct Reader {
    wants: BTreeSet<Topic>,
    confirmed: BTreeSet<Topic>,
    told: BTreeMap<Topic, Told>,
    /// The next number of a symbol, where nothing was declared since the last.
    expects: HashMap<(u8, u32), u64>,
    last: HashMap<(u8, u32), u64>,
}

impl Reader {
    fn reads(&self, channel: u8, symbol: u32) -> bool {
        self.confirmed
            .iter()
            .any(|topic| topic.covers(channel, symbol))
    }

    /// It was told that no more comes of a topic, for now or for good.
    fn stops(&mut self, topic: Topic) {
        self.confirmed.remove(&topic);
        let confirmed = &self.confirmed;
        let reads = |channel, symbol| confirmed.iter().any(|topic| topic.covers(channel, symbol));
        self.expects
            .retain(|(channel, symbol), _| reads(*channel, *symbol));
    }
}

struct World {
    rng: Rng,
    character: Character,
    now: Time,
    table: Table,
    router: Router,
    readers: BTreeMap<SubId, Reader>,
    last_sub: u32,
    /// What the venue sends on this connection.
    live: BTreeSet<Topic>,
    numbers: HashMap<(u8, u32), u64>,
    /// Requests on their way, and packets on theirs.
    requests: VecDeque<(Time, Request)>,
    packets: VecDeque<(Time, Packet)>,
    open: bool,
    reopen_at: Time,
    /// What the session saw last of each book on this connection.
    books: HashMap<u32, u64>,
    calm: bool,
    /// The venue did something that we had not asked for, on this connection.
    odd: bool,
    sent: u64,
    died_alone: HashMap<Topic, u32>,
    /// This connection hears nothing any more.
    deaf: bool,
    /// Who came back before anybody looked, and was not told so far.
    came_back: Vec<(SubId, Topic)>,
    broken: BTreeMap<&'static str, String>,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut rng = Rng(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x1234_5678);
        let character = Character::random(&mut rng);
        let table = Table::new(&character.limits);
        Self {
            rng,
            character,
            now: 1,
            table,
            router: Router::new(),
            readers: BTreeMap::new(),
            last_sub: 0,
            live: BTreeSet::new(),
            numbers: HashMap::new(),
            requests: VecDeque::new(),
            packets: VecDeque::new(),
            open: false,
            reopen_at: 2,
            books: HashMap::new(),
            calm: false,
            odd: false,
            sent: 0,
            died_alone: HashMap::new(),
            deaf: false,
            came_back: Vec::new(),
            broken: BTreeMap::new(),
        }
    }

    fn breaks(&mut self, what: &'static str, detail: impl FnOnce() -> String) {
        let now = self.now;
        self.broken
            .entry(what)
            .or_insert_with(|| format!("at {now}: {}", detail()));
    }

    fn faulty(&mut self, per_mille: u64) -> bool {
        !self.calm && self.rng.chance(per_mille)
    }

    // ---- callers ----

    fn random_topics(&mut self) -> Vec<Topic> {
        let count = 1 + self.rng.below(4);
        let mut topics = Vec::new();
        for _ in 0..count {
            // Without answers, nobody can tell the old changes of a book from the new ones: see the limits.
            let channels = if self.character.mute { 2 } else { 3 };
            let channel = self.rng.below(channels) as u8;
            let is_star = channel != BOOK && self.rng.chance(120);
            let symbol = if is_star {
                STAR
            } else {
                1 + self.rng.below(SYMBOLS) as u32
            };
            topics.push(Topic::new(channel, symbol));
        }
        topics
    }

    fn random_wish(&mut self) {
        let subs: Vec<SubId> = self
            .readers
            .iter()
            .filter(|(_, reader)| !reader.wants.is_empty())
            .map(|(id, _)| *id)
            .collect();
        let priority = self.rng.below(3) as i32;
        let topics = self.random_topics();
        let what = self.rng.below(100);
        if subs.is_empty() || (what < 30 && subs.len() < 6) {
            self.last_sub += 1;
            let sub = SubId(u64::from(self.last_sub));
            self.table.want(sub, &topics, priority);
            self.readers.entry(sub).or_default().wants.extend(topics);
            return;
        }
        let sub = subs[self.rng.below(subs.len() as u64) as usize];
        let wants: Vec<Topic> = self.readers[&sub].wants.iter().copied().collect();
        let some: Vec<Topic> = wants
            .iter()
            .copied()
            .filter(|_| self.rng.chance(400))
            .collect();
        let Some(reader) = self.readers.get_mut(&sub) else {
            return;
        };
        match what {
            30..50 => {
                self.table.want(sub, &topics, priority);
                reader.wants.extend(topics);
            }
            50..68 => {
                self.table.give_up(sub, &some);
                reader.wants.retain(|topic| !some.contains(topic));
            }
            68..78 => {
                // Gives up and comes back before anybody looks.
                let told = some.iter().filter(|topic| reader.confirmed.contains(topic));
                self.came_back.extend(told.map(|topic| (sub, *topic)));
                self.table.give_up(sub, &some);
                self.table.want(sub, &some, priority);
            }
            _ => {
                self.table.drop_sub(sub);
                reader.wants.clear();
            }
        }
    }

    // ---- the venue ----

    fn reply(&mut self, words: Vec<Word>) {
        if words.is_empty() || self.faulty(self.character.lost) {
            return;
        }
        if self.rng.chance(500) {
            self.deliver(Packet::Frame(words));
        } else {
            for word in words {
                self.deliver(Packet::Frame(vec![word]));
            }
        }
    }

    /// Sometimes one frame says it five times.
    fn reply_error(&mut self, word: Word) {
        if !self.faulty(self.character.lost) {
            let times = if self.faulty(self.character.errors) {
                5
            } else {
                1
            };
            self.deliver(Packet::Frame(vec![word; times]));
        }
    }

    fn deliver(&mut self, packet: Packet) {
        let delay = if self.faulty(self.character.late / 8) {
            5 + self.rng.below(30)
        } else {
            1 + self.rng.below(2)
        };
        let at = self
            .packets
            .back()
            .map_or(0, |(at, _)| *at)
            .max(self.now + delay);
        self.packets.push_back((at, packet));
    }

    fn state(&self) -> Word {
        Word::State(self.live.iter().copied().collect())
    }

    /// Begins to send a topic.
    fn begin(&mut self, topic: Topic) {
        let merged = self.character.merges_stars && topic.channel != BOOK;
        if merged && topic.is_star() {
            self.live.retain(|other| other.channel != topic.channel);
        }
        if merged && self.live.contains(&topic.star()) {
            return;
        }
        if self.live.insert(topic) && topic.channel == BOOK {
            let number = self
                .numbers
                .get(&(BOOK, topic.symbol))
                .copied()
                .unwrap_or(0);
            self.deliver(Packet::Event(Event {
                channel: BOOK,
                symbol: topic.symbol,
                number,
                is_snapshot: true,
            }));
        }
    }

    fn handle(&mut self, request: &Request) {
        let character = self.character.clone();
        let id = character.ids.then_some(request.id);
        let answers = character.limits.answers;
        let mut words = Vec::new();
        if request.verb == Verb::Unsubscribe {
            for topic in &request.topics {
                self.live.remove(topic);
                words.push(Word::Topic(*topic, Verdict::Unsubscribed, id));
            }
            return match answers {
                Answers::State => self.reply(vec![self.state()]),
                Answers::PerTopic => self.reply(words),
                Answers::PerRequest => self.reply(vec![Word::Request(id, Verdict::Unsubscribed)]),
            };
        }
        let total = character.units(self.live.iter().chain(&request.topics).copied());
        let is_over = character.plan.is_some_and(|plan| total > plan);
        let is_clear = !self.odd && !self.table.0.is_vague;
        if character.limits.plan.is_some() && is_over && is_clear {
            self.breaks("asks for more than the plan", || {
                format!("{request:?}, {total} of {:?}", character.plan)
            });
        }
        let (bad, good): (Vec<Topic>, Vec<Topic>) = request
            .topics
            .iter()
            .partition(|topic| character.is_bad(**topic));
        if !bad.is_empty() && character.bad == BadTopics::ClosesConnection {
            return self.deliver(Packet::Closed);
        }
        let is_atomic = answers != Answers::PerTopic;
        if is_atomic && !bad.is_empty() && character.bad == BadTopics::Nameless {
            return self.reply_error(Word::Request(id, Verdict::Refused(Cause::Bad)));
        }
        if is_atomic && is_over && !character.caps_in_silence {
            return self.reply_error(Word::Request(id, Verdict::Refused(Cause::Limit)));
        }
        let data_first = self.rng.chance(300);
        for topic in bad {
            match character.bad {
                BadTopics::Named => {
                    words.push(Word::Topic(topic, Verdict::Refused(Cause::Bad), id))
                }
                BadTopics::Nameless => words.push(Word::Request(id, Verdict::Refused(Cause::Bad))),
                _ => {}
            }
        }
        let mut begun = Vec::new();
        for topic in good {
            let live = self.live.iter().chain(&begun).copied();
            let is_over = character
                .plan
                .is_some_and(|plan| character.units(live.chain([topic])) > plan);
            if is_over && answers == Answers::State {
                continue;
            }
            if is_over {
                words.push(match character.bad {
                    BadTopics::Named => Word::Topic(topic, Verdict::Refused(Cause::Limit), id),
                    _ => Word::Request(id, Verdict::Refused(Cause::Limit)),
                });
                continue;
            }
            // Some venues do not answer twice for what they send already.
            if !self.live.contains(&topic) || character.ids {
                words.push(Word::Topic(topic, Verdict::Subscribed, id));
            }
            begun.push(topic);
        }
        if data_first {
            begun.drain(..).for_each(|topic| self.begin(topic));
        }
        let later = begun.clone();
        match answers {
            Answers::State => {
                // A state is of the moment at which it is made.
                begun.drain(..).for_each(|topic| self.begin(topic));
                self.reply(vec![self.state()]);
            }
            Answers::PerTopic => self.reply(words),
            Answers::PerRequest => self.reply(vec![Word::Request(id, Verdict::Subscribed)]),
        }
        if answers != Answers::State {
            later.into_iter().for_each(|topic| self.begin(topic));
        }
    }

    /// Something happens on the market.
    fn trade(&mut self) {
        let (channel, symbol) = (self.rng.below(3) as u8, 1 + self.rng.below(SYMBOLS) as u32);
        let number = self.numbers.entry((channel, symbol)).or_insert(0);
        *number += 1;
        let event = Event {
            channel,
            symbol,
            number: *number,
            is_snapshot: false,
        };
        let topic = Topic::new(channel, symbol);
        if self.open && (self.live.contains(&topic) || self.live.contains(&topic.star())) {
            self.deliver(Packet::Event(event));
        }
    }

    fn misbehave(&mut self) {
        let character = self.character.clone();
        let has_state = character.limits.answers == Answers::State;
        if has_state && self.faulty(character.unasked) {
            self.deliver(Packet::Frame(vec![self.state()]));
        }
        if self.faulty(character.shrinks) && !self.live.is_empty() && !character.ids {
            let index = self.rng.below(self.live.len() as u64) as usize;
            let Some(topic) = self.live.iter().nth(index).copied() else {
                return;
            };
            self.live.remove(&topic);
            let word = if has_state {
                self.state()
            } else {
                Word::Topic(topic, Verdict::Unsubscribed, None)
            };
            self.deliver(Packet::Frame(vec![word]));
        }
        if has_state && self.faulty(character.adds) {
            let topic = Topic::new(self.rng.below(2) as u8, 1 + self.rng.below(5) as u32);
            self.odd = true;
            self.begin(topic);
            self.deliver(Packet::Frame(vec![self.state()]));
        }
        self.deaf |= self.faulty(character.cuts / 6);
        if self.faulty(character.cuts) {
            self.cut();
        }
    }

    fn cut(&mut self) {
        if !self.open {
            return;
        }
        for request in self
            .table
            .0
            .outstanding
            .iter()
            .filter(|request| !request.late)
        {
            if let [topic] = &self.table.0.open_topics(request)[..] {
                *self.died_alone.entry(short(topic)).or_default() += 1;
            }
        }
        self.open = false;
        self.reopen_at = self.now + 1 + self.rng.below(5);
        self.live.clear();
        self.requests.clear();
        self.packets.clear();
        self.books.clear();
        self.odd = false;
        self.deaf = false;
        let news = self.table.disconnected(self.now);
        self.tell(news);
    }

    // ---- the stream's thread ----

    fn send(&mut self) {
        while let Some(request) = self.table.next(self.now) {
            self.sent += 1;
            self.publish();
            let delay = if self.faulty(self.character.late) {
                8 + self.rng.below(25)
            } else {
                1
            };
            let at = self
                .requests
                .back()
                .map_or(0, |(at, _)| *at)
                .max(self.now + delay);
            if self.sent > 20_000 {
                return self.breaks("asks without end", || format!("{request:?}"));
            }
            self.requests.push_back((at, request));
        }
        self.publish();
    }

    /// Applies the news to the router and to those who check it.
    fn publish(&mut self) {
        let news = self.table.take_news();
        self.tell(news);
    }

    fn tell(&mut self, news: Vec<News>) {
        for news in news {
            self.check_news(&news);
            if let News::Asked(topic) = news {
                // The session forgets its book: it begins anew.
                if topic.channel == BOOK {
                    self.books.remove(&topic.symbol);
                }
            }
            for (sub, given) in self.router.apply(&news) {
                match given {
                    Given::Event(event) => self.check_event(sub, event),
                    Given::Missed => self.readers.entry(sub).or_default().expects.clear(),
                }
            }
        }
    }

    fn read(&mut self) {
        while let Some((at, _)) = self.packets.front()
            && *at <= self.now
            && let Some((_, packet)) = self.packets.pop_front()
        {
            match packet {
                Packet::Closed => return self.cut(),
                Packet::Frame(words) => {
                    self.table.hear(&words, self.now);
                    self.publish();
                }
                Packet::Event(event) => self.read_event(event),
            }
        }
    }

    fn read_event(&mut self, event: Event) {
        if event.channel == BOOK && (event.is_snapshot || self.books.contains_key(&event.symbol)) {
            self.books.insert(event.symbol, event.number);
        }
        let subs = self.router.route(event);
        for sub in &subs {
            self.check_event(*sub, event);
        }
        let (channel, symbol) = (event.channel, event.symbol);
        let missed = self
            .readers
            .iter()
            .find(|(sub, reader)| reader.reads(channel, symbol) && !subs.contains(sub));
        if let Some((sub, _)) = missed {
            let sub = *sub;
            self.breaks("a confirmed topic's event is not delivered", || {
                format!("{event:?} to {sub:?}")
            });
        }
        for topic in std::mem::take(&mut self.router.overflowed) {
            if topic.channel == BOOK {
                self.table.restart(topic);
            }
        }
    }

    // ---- checks ----

    fn check_news(&mut self, news: &News) {
        let (sub, topic, told) = match *news {
            News::Confirmed { sub, topic, .. } => (sub, topic, Told::Confirmed),
            News::Gap(sub, topic) => (sub, topic, Told::Lost),
            News::Refused(sub, topic, cause) => (sub, topic, Told::Refused(cause)),
            News::Displaced(sub, topic) => (sub, topic, Told::Displaced),
            News::Left(sub, topic) => {
                self.came_back.retain(|other| *other != (sub, topic));
                (sub, topic, Told::Nothing)
            }
            News::Resumed(sub) => {
                if self.readers.get(&sub).is_some_and(|reader| {
                    let mut told = reader.told.iter();
                    told.any(|(topic, told)| *told == Told::Lost && reader.wants.contains(topic))
                }) {
                    self.breaks("resumed while a gap is open", || format!("{sub:?}"));
                }
                return;
            }
            News::Joined | News::Asked(_) | News::Settled(_) => return,
        };
        let Some(reader) = self.readers.get_mut(&sub) else {
            return;
        };
        let before = reader.told.insert(topic, told).unwrap_or(Told::Nothing);
        if told == Told::Confirmed {
            reader.confirmed.insert(topic);
        } else {
            reader.stops(topic);
        }
        if told == Told::Nothing {
            reader.told.remove(&topic);
        }
        let is_legal = match (before, told) {
            (_, Told::Nothing) => true,
            (Told::Lost, Told::Lost) | (_, Told::Lost) => before == Told::Confirmed,
            (_, Told::Displaced) => matches!(before, Told::Confirmed | Told::Lost),
            // Asked anew, it is refused anew.
            (Told::Refused(_), Told::Refused(_)) => true,
            _ => before != told,
        };
        if !is_legal {
            self.breaks("told out of order", || {
                format!("{sub:?} {topic:?}: {before:?}, then {told:?}")
            });
        }
    }

    fn check_event(&mut self, sub: SubId, event: Event) {
        let Some(reader) = self.readers.get_mut(&sub) else {
            return;
        };
        let key = (event.channel, event.symbol);
        let reads = reader.reads(event.channel, event.symbol);
        let expected = reader.expects.insert(key, event.number + 1);
        let last = reader.last.insert(key, event.number);
        if !reads {
            return self.breaks("an event of what is not confirmed", || {
                format!("{event:?} to {sub:?}")
            });
        }
        let is_repeat = last.is_some_and(|last| {
            event.number < last || (event.number == last && !event.is_snapshot)
        });
        if is_repeat {
            self.breaks("an event twice or out of order", || {
                format!("{event:?} to {sub:?}, last {last:?}")
            });
        }
        if event.channel == BOOK && expected.is_none() && !event.is_snapshot {
            self.breaks("changes of something never seen", || {
                format!("{event:?} to {sub:?}")
            });
        }
        // Without answers, what is left of an earlier subscription cannot be told from the new one: see the limits.
        if !self.character.mute && expected.is_some_and(|expected| event.number > expected) {
            self.breaks("a hole without a declaration", || {
                format!("{event:?} to {sub:?}, expected {expected:?}")
            });
        }
    }

    /// After every step.
    fn check(&mut self) {
        let mut routes: BTreeSet<(Topic, SubId)> = BTreeSet::new();
        for (topic, subs) in &self.router.routes {
            routes.extend(subs.iter().map(|sub| (*topic, *sub)));
        }
        let mut told = BTreeSet::new();
        for (sub, owner) in &self.table.0.subscriptions {
            let confirmed = owner
                .rows
                .iter()
                .filter(|(_, row)| row.told == super::rows::Told::Confirmed);
            told.extend(confirmed.map(|(topic, _)| (short(topic), *sub)));
        }
        if routes != told {
            self.breaks("the router is not what the table says", || {
                format!("{routes:?} {told:?}")
            });
        }
        let mut lies = None;
        for (sub, reader) in self
            .readers
            .iter()
            .filter(|(_, reader)| !reader.wants.is_empty())
        {
            if self.table.is_confirmed(*sub) && !reader.wants.is_subset(&reader.confirmed) {
                lies = Some(*sub);
            }
        }
        if let Some(sub) = lies {
            self.breaks("wait_confirmed lies", || format!("{sub:?}"));
        }
        let mut character = self.character.clone();
        let plan = self.table.0.plan.as_ref();
        character.limits.counts = plan.map_or(Counts::Symbols, |plan| plan.counts());
        let units = character.units(
            self.table
                .0
                .topics
                .iter()
                .filter(|(_, entry)| entry.upstream != Upstream::Absent)
                .map(|(topic, _)| short(topic)),
        );
        if units != self.table.0.used {
            let used = self.table.0.used;
            self.breaks("what counts is counted wrongly", || {
                format!("{units} {used}")
            });
        }
    }

    // ---- one day ----

    fn step(&mut self) {
        self.now += 1;
        if !self.calm && self.rng.chance(self.character.changes) {
            self.random_wish();
        }
        // Callers write at any moment, and the stream's thread may first read.
        if self.rng.chance(300) {
            self.check();
        }
        for _ in 0..self.rng.below(4) {
            self.trade();
        }
        self.misbehave();
        if !self.open && self.now >= self.reopen_at {
            self.open = true;
            self.table.connected();
        }
        while let Some((at, request)) = self.requests.front().cloned()
            && at <= self.now
            && self.open
        {
            self.requests.pop_front();
            if self.deaf && !self.character.mute {
                continue;
            }
            self.handle(&request);
            if self.character.mute {
                // The session answers for a venue that answers nothing, once it is sent.
                let verdict = match request.verb {
                    Verb::Subscribe => Verdict::Subscribed,
                    Verb::Unsubscribe => Verdict::Unsubscribed,
                };
                self.packets
                    .retain(|(_, packet)| !matches!(packet, Packet::Frame(_)));
                self.table
                    .hear(&[Word::Request(Some(request.id), verdict)], self.now);
                self.publish();
            }
        }
        self.read();
        self.table.tick(self.now);
        self.table.take_over(self.now);
        self.send();
        if let Some(other) = self.came_back.pop() {
            self.breaks("who came back does not begin anew", || format!("{other:?}"));
        }
        if self.open && self.table.is_deaf() {
            self.cut();
        }
        self.check();
    }

    fn run(mut self) -> BTreeMap<&'static str, String> {
        let days = 150 + self.rng.below(250);
        for _ in 0..days {
            self.step();
        }
        self.calm = true;
        let before = self.sent;
        let end = self.now + 3_000;
        while self.now < end {
            self.step();
            // Nothing is under way: on to the next deadline.
            let is_idle = self.requests.is_empty() && self.packets.is_empty() && self.open;
            if is_idle && self.now + 2_800 > end {
                let next = self.table.deadline().unwrap_or(end).min(end);
                self.now = next.max(self.now + 1) - 1;
            }
        }
        // What is inferred is tried again for ever, now and then: look when none of that is under way.
        for _ in 0..60 {
            if self.open
                && self.table.0.outstanding.is_empty()
                && self.requests.is_empty()
                && self.packets.is_empty()
            {
                break;
            }
            self.step();
        }
        self.check_rest(self.sent - before);
        self.broken
    }

    /// Nobody can be given it.
    fn is_out(&self, topic: Topic) -> bool {
        let is_refused = |entry: &super::state::TopicState| entry.refused.is_some();
        let entry = self.table.0.topics.get(&real(topic));
        self.character.is_bad(topic) || entry.is_some_and(is_refused)
    }

    /// The world has behaved for a long time.
    fn check_rest(&mut self, requests: u64) {
        let wanted: BTreeSet<Topic> = self
            .readers
            .values()
            .flat_map(|reader| reader.wants.iter().copied())
            .collect();
        // A line that dies before it confirms anything says nothing of the only topic that it was asked for.
        let closes = self.character.bad == BadTopics::ClosesConnection;
        if closes && wanted.iter().all(|topic| self.is_out(*topic)) {
            return;
        }
        let most = 60 + 30 * wanted.len() as u64;
        if requests > most {
            self.breaks("too many requests", || {
                format!("{requests}, {} topics", wanted.len())
            });
        }
        let covers = |live: &BTreeSet<Topic>, topic: &Topic| {
            live.contains(topic) || live.contains(&topic.star())
        };
        for topic in self.live.clone() {
            if !wanted.contains(&topic) {
                self.breaks("the venue sends what nobody wants", || format!("{topic:?}"));
            }
        }
        let character = self.character.clone();
        let confirmed = || {
            self.table
                .0
                .topics
                .iter()
                .filter(|(_, entry)| entry.upstream == Upstream::Confirmed)
                .map(|(topic, _)| short(topic))
        };
        let used = character.units(confirmed());
        let is_full = character.plan.is_some_and(|plan| used >= plan);
        let mut priorities: HashMap<Unit, i32> = HashMap::new();
        for (sub, reader) in &self.readers {
            let is_out =
                |told: &Told| matches!(told, Told::Refused(cause) if *cause != Cause::NoRoom);
            for topic in reader
                .wants
                .iter()
                .filter(|topic| !reader.told.get(topic).is_some_and(is_out))
            {
                let priority = self
                    .table
                    .0
                    .subscriptions
                    .get(sub)
                    .map_or(i32::MIN, |owner| owner.priority);
                if let Some(unit) = character.unit(*topic) {
                    let highest = priorities.entry(unit).or_insert(priority);
                    *highest = priority.max(*highest);
                }
            }
        }
        let lowest = confirmed()
            .filter_map(|topic| priorities.get(&character.unit(topic)?))
            .min()
            .copied();
        let rows: Vec<(SubId, Topic, Told)> = self
            .readers
            .iter()
            .flat_map(|(sub, reader)| {
                reader
                    .wants
                    .iter()
                    .map(|topic| (*sub, *topic, &reader.told))
            })
            .map(|(sub, topic, told)| {
                (
                    sub,
                    topic,
                    told.get(&topic).copied().unwrap_or(Told::Nothing),
                )
            })
            .collect();
        for (sub, topic, told) in rows {
            let is_bad = character.is_bad(topic);
            let priority = self
                .table
                .0
                .subscriptions
                .get(&sub)
                .map_or(0, |owner| owner.priority);
            // For whom connections ended, nobody gives way.
            let is_doubtful = is_bad
                || self
                    .table
                    .0
                    .topics
                    .get(&real(topic))
                    .is_some_and(|entry| entry.suspicion.is_deadly);
            let is_right = match told {
                Told::Confirmed => {
                    covers(&self.live, &topic)
                        && (!is_bad || character.mute || covers(&self.live, &topic))
                }
                Told::Nothing | Told::Lost => false,
                Told::Refused(Cause::NoRoom) | Told::Displaced => {
                    !self.live.contains(&topic)
                        && is_full
                        && (is_doubtful || lowest.is_none_or(|lowest| priority <= lowest))
                }
                Told::Refused(Cause::LeftOut | Cause::NoAnswer) => {
                    is_bad || (character.caps_in_silence && is_full)
                }
                Told::Refused(Cause::Limit) => is_full && !self.live.contains(&topic),
                Told::Refused(Cause::Bad) => is_bad,
                Told::Refused(Cause::Closed) => {
                    is_bad
                        || self
                            .died_alone
                            .get(&topic)
                            .is_some_and(|deaths| *deaths >= 2)
                }
            };
            if !is_right {
                let detail = format!(
                    "{sub:?} {topic:?} {told:?} priority {priority} lowest {lowest:?} live {:?} plan {:?} used {} of {:?}",
                    self.live,
                    character.plan,
                    self.table.0.used,
                    self.table.0.plan.as_ref().map(|plan| plan.limit()),
                );
                self.breaks(
                    match told {
                        Told::Confirmed => "confirmed, and the venue does not send it",
                        Told::Nothing | Told::Lost => "pending for ever",
                        Told::Displaced | Told::Refused(Cause::NoRoom) => {
                            "no room, and there is room or a lower one"
                        }
                        Told::Refused(_) => "refused without a reason",
                    },
                    || detail,
                );
            }
        }
    }
}

#[test]
fn two_thousand_seeds_of_the_table() {
    let mut broken: BTreeMap<&'static str, (u64, u64, String)> = BTreeMap::new();
    for seed in seeds(2_000) {
        for (what, detail) in World::new(seed).run() {
            broken.entry(what).or_insert((0, seed, detail)).0 += 1;
        }
    }
    assert!(
        broken.is_empty(),
        "how many, the first, and what: {broken:#?}"
    );
}

// ---- what the days above do not show ----

/// A table that is connected, and has so many requests in flight.
fn connected(in_flight: usize) -> Table {
    let mut table = Table::new(&Limits {
        answers: Answers::PerRequest,
        counts: Counts::Symbols,
        plan: None,
        topics_per_request: 10,
        in_flight,
        timeout: 10,
    });
    table.connected();
    table
}

fn confirmed(news: &[News]) -> Vec<(SubId, Topic)> {
    let confirmed = news.iter().filter_map(|news| match news {
        News::Confirmed { sub, topic } => Some((*sub, *topic)),
        _ => None,
    });
    confirmed.collect()
}

const BOOKS: Topic = Topic {
    channel: BOOK,
    symbol: STAR,
};
const A_BOOK: Topic = Topic {
    channel: BOOK,
    symbol: 1,
};

/// Nobody could tell for which of the two the first of a book came.
#[test]
fn a_book_is_not_asked_for_while_a_topic_that_overlaps_it_is_being_given_back() {
    for (first, second) in [(BOOKS, A_BOOK), (A_BOOK, BOOKS)] {
        let mut table = connected(3);
        table.want(SubId(1), &[first], 0);
        table.take_over(0);
        let asked = table.next(0).unwrap();
        table.hear(&[Word::Request(Some(asked.id), Verdict::Subscribed)], 0);
        table.drop_sub(SubId(1));
        table.want(SubId(2), &[second], 0);
        table.take_over(0);
        let back = table.next(0).unwrap();
        assert_eq!(
            (back.verb, &back.topics[..]),
            (Verb::Unsubscribe, &[first][..])
        );
        assert_eq!(table.next(0), None);
        table.hear(&[Word::Request(Some(back.id), Verdict::Unsubscribed)], 1);
        let asked = table.next(1).unwrap();
        assert_eq!(
            (asked.verb, &asked.topics[..]),
            (Verb::Subscribe, &[second][..])
        );
        // And the other way round.
        table.drop_sub(SubId(2));
        table.want(SubId(3), &[first], 0);
        table.take_over(1);
        let crossing = table.next(1).unwrap();
        assert_eq!(crossing.verb, Verb::Subscribe);
        table.take_news();
        table.hear(&[Word::Request(Some(crossing.id), Verdict::Subscribed)], 2);
        assert_eq!(confirmed(&table.take_news()), [(SubId(3), first)]);
        table.drop_sub(SubId(3));
        table.take_over(2);
        assert_eq!(table.next(2), None, "the second is still being asked for");
        table.hear(&[Word::Request(Some(asked.id), Verdict::Subscribed)], 3);
        assert_eq!(table.next(3).unwrap().verb, Verb::Unsubscribe);
    }
}

/// What is held back then may be of the topic that ended, or the first of a book that is asked for: it is let go, and asked for again.
#[test]
fn a_book_begins_anew_whose_first_state_may_have_been_let_go() {
    for (asked_for, ended) in [(A_BOOK, BOOKS), (BOOKS, A_BOOK)] {
        let mut table = connected(3);
        table.want(SubId(1), &[asked_for], 0);
        table.take_over(0);
        let asked = table.next(0).unwrap();
        table.take_news();
        table.hear(&[Word::Topic(ended, Verdict::Unsubscribed, None)], 1);
        table.hear(&[Word::Request(Some(asked.id), Verdict::Subscribed)], 2);
        assert_eq!(confirmed(&table.take_news()), []);
        let back = table.next(2).unwrap();
        assert_eq!(back.verb, Verb::Unsubscribe);
        table.hear(&[Word::Request(Some(back.id), Verdict::Unsubscribed)], 3);
        let again = table.next(3).unwrap();
        table.hear(&[Word::Request(Some(again.id), Verdict::Subscribed)], 4);
        assert_eq!(confirmed(&table.take_news()), [(SubId(1), asked_for)]);
        assert_eq!(table.next(4), None);
    }
}

/// A number of the connection before means nothing to this one, and what is said without a number is news.
#[test]
fn an_answer_to_a_request_of_the_connection_before_confirms_nothing() {
    for says in [true, false] {
        let mut table = connected(1);
        let topic = Topic::new(0, 1);
        table.want(SubId(1), &[topic], 0);
        table.take_over(0);
        let asked = table.next(0).unwrap();
        table.disconnected(1);
        table.connected();
        let id = says.then_some(asked.id);
        table.hear(&[Word::Topic(topic, Verdict::Subscribed, id)], 2);
        let news = confirmed(&table.take_news());
        assert_eq!(news.is_empty(), says, "{news:?}");
        assert_eq!(table.next(2).is_some(), says);
    }
}

/// Topics that are asked for and confirmed, whatever there is to ask for.
fn settle(table: &mut Table, now: Time) {
    table.take_over(now);
    while let Some(request) = table.next(now) {
        let verdict = match request.verb {
            Verb::Subscribe => Verdict::Subscribed,
            Verb::Unsubscribe => Verdict::Unsubscribed,
        };
        table.hear(&[Word::Request(Some(request.id), verdict)], now);
    }
}

fn full(plan: usize, topics_per_request: usize) -> (Table, Vec<Topic>) {
    let mut table = Table::new(&Limits {
        answers: Answers::PerRequest,
        counts: Counts::Symbols,
        plan: Some(plan),
        topics_per_request,
        in_flight: 3,
        timeout: 10,
    });
    table.connected();
    let symbols = 1..=u32::try_from(plan).unwrap();
    let held: Vec<Topic> = symbols.map(|symbol| Topic::new(0, symbol)).collect();
    table.want(SubId(1), &held, 0);
    settle(&mut table, 0);
    assert!(table.is_confirmed(SubId(1)) || !confirmed(&table.take_news()).is_empty());
    (table, held)
}

#[test]
fn of_two_that_could_give_way_for_one_newcomer_one_does() {
    let (mut table, _) = full(2, 10);
    table.want(SubId(2), &[Topic::new(0, 8)], 1);
    table.take_over(1);
    let back = table.next(1).unwrap();
    assert_eq!((back.verb, back.topics.len()), (Verb::Unsubscribe, 1));
    assert_eq!(table.next(1), None, "the place is on its way");
    table.hear(&[Word::Request(Some(back.id), Verdict::Unsubscribed)], 2);
    settle(&mut table, 2);
    let displaced = |news: &News| matches!(news, News::Displaced(..));
    let news = table.take_news();
    assert_eq!(news.iter().filter(|news| displaced(news)).count(), 1);
    assert!(table.is_confirmed(SubId(2)));
}

#[test]
fn places_are_given_back_in_requests_that_the_venue_takes() {
    let (mut table, held) = full(5, 2);
    let newcomers: Vec<Topic> = (11..=15).map(|symbol| Topic::new(0, symbol)).collect();
    table.want(SubId(2), &newcomers, 1);
    table.take_over(1);
    let mut given_back = 0;
    while let Some(request) = table.next(1) {
        assert!(request.topics.len() <= 2, "{request:?}");
        let verdict = match request.verb {
            Verb::Subscribe => Verdict::Subscribed,
            Verb::Unsubscribe => {
                given_back += request.topics.len();
                Verdict::Unsubscribed
            }
        };
        table.hear(&[Word::Request(Some(request.id), verdict)], 1);
    }
    table.take_news();
    assert_eq!(given_back, held.len());
    assert!(table.is_confirmed(SubId(2)));
}

/// One connection may end for any reason while the topic is asked for alone.
#[test]
fn a_topic_is_refused_for_ending_connections_after_two_on_which_it_was_alone() {
    let mut table = connected(1);
    let (good, deadly) = (Topic::new(0, 1), [Topic::new(0, 2), Topic::new(0, 3)]);
    table.want(SubId(1), &[good], 1);
    table.want(SubId(2), &deadly, 0);
    table.take_over(0);
    let (mut alone, mut refused) = (BTreeMap::new(), Vec::new());
    for connection in 0..20 {
        while let Some(request) = table.next(connection) {
            if request.topics == [good] {
                table.hear(
                    &[Word::Request(Some(request.id), Verdict::Subscribed)],
                    connection,
                );
                continue;
            }
            if let [topic] = request.topics[..] {
                *alone.entry(topic).or_insert(0) += 1;
            }
            break;
        }
        for news in table.disconnected(connection) {
            if let News::Refused(_, topic, cause) = news {
                assert_eq!(cause, Cause::Closed, "{topic:?}");
                refused.push(topic);
                assert!(alone[&topic] >= 2, "{topic:?}: {alone:?}");
            }
        }
        table.connected();
    }
    assert_eq!(refused, deadly);
}

/// What is decided is so when those have heard of it who act on it: the router above all.
#[test]
fn nobody_is_told_that_a_topic_is_confirmed_before_its_reader_was() {
    let mut table = connected(1);
    table.want(SubId(1), &[Topic::new(0, 1)], 0);
    settle(&mut table, 0);
    assert!(!table.is_confirmed(SubId(1)));
    table.take_news();
    assert!(table.is_confirmed(SubId(1)));
}

/// For those who check the table.
impl super::TopicTable {
    /// The topics that each subscription was told are confirmed.
    pub(crate) fn told_confirmed(&self) -> BTreeSet<(SubId, super::Topic)> {
        self.told(|told| told == super::rows::Told::Confirmed)
    }

    /// The topics that each subscription was told are refused.
    pub(crate) fn told_refused(&self) -> BTreeSet<(SubId, super::Topic)> {
        self.told(|told| matches!(told, super::rows::Told::Refused(_)))
    }

    fn told(&self, which: impl Fn(super::rows::Told) -> bool) -> BTreeSet<(SubId, super::Topic)> {
        let of = |(id, subscription): (&SubId, &super::rows::Subscriber)| {
            let rows = subscription.rows.iter().filter(|(_, row)| which(row.told));
            let topics: Vec<_> = rows.map(|(topic, _)| (*id, topic.clone())).collect();
            topics
        };
        self.subscriptions.iter().flat_map(of).collect()
    }

    /// Nobody gives way for the topic: connections ended over it.
    pub(crate) fn is_doubtful(&self, topic: &super::Topic) -> bool {
        let entry = self.topics.get(topic);
        entry.is_some_and(|entry| entry.suspicion.is_deadly)
    }

    /// Nothing is asked for, and nothing waits for an answer.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.outstanding.is_empty() && self.to_ask.is_empty() && self.to_return.is_empty()
    }
}
