//! The exchange's side of Alpaca's market-data protocol, sans-IO: who is connected, who is authenticated, who gets
//! what, and what goes wrong when. No sockets, no clocks, no threads: time and messages come in as arguments, and what
//! is to be done comes out as [`Effect`]s.
//!
//! ```text
//!  opened                 good credentials, a free slot
//! ────────▶ Greeted ──────────────────────────────────▶ Live
//!              │ ▲ 402, 406: may try again                │
//!     404, end │ └──┘                          end, fault │
//!              └───────────────▶ Over ◀───────────────────┘   (until the socket is gone)
//! ```
//!
//! A slot is taken by a `Live` connection. It is free at once when that ends in good order, and after
//! [`SimConfig::reap_after`] when it does not. Sockets that are `Over` and not gone are counted apart, to catch a client
//! that connects before its last socket is closed.
//!
//! What goes wrong on purpose is in `mischief`.

mod mischief;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    time::{Duration, Instant},
};

pub(super) use self::mischief::{Breakage, Reception};
use self::mischief::{Mischief, Scheduled, Waiting};
use super::{
    Accept, FaultKind, LimitCounts, SimConfig, SimEvent, SimStats,
    gate::Pieces,
    tape::{Random, Tape},
};
use crate::{
    alpaca::{
        Codec, Feed,
        wire::server::{ClientMessage, RequestLists, json as server},
    },
    credentials::Credentials,
    market::{BARS, DAILY_BARS, MarketEvent, QUOTES, Symbol, TRADES, Timestamp, UPDATED_BARS},
    topic::Channel,
    venue::Routed as _,
};

/// Names one connection for as long as the simulator runs.
pub(super) type ConnectionId = usize;

/// What the server is to do, in this order.
#[derive(Debug, PartialEq)]
pub(super) enum Effect {
    Send {
        to: ConnectionId,
        text: String,
    },
    /// A close handshake, then the end.
    Close {
        to: ConnectionId,
        code: u16,
        why: &'static str,
    },
    /// The end, without a close frame.
    Cut {
        to: ConnectionId,
    },
    /// One last text, as far as the client still takes it, then the end without a close frame.
    Dismiss {
        to: ConnectionId,
        text: String,
    },
    /// The end, by a reset.
    Reset {
        to: ConnectionId,
    },
    /// The end, in the midst of things.
    Break {
        to: ConnectionId,
        how: Breakage,
    },
    /// What is written from here on is cut.
    Slice {
        to: ConnectionId,
        pieces: Pieces,
    },
    /// From here on nothing is written yet; or again, together with what had to wait.
    Cork {
        to: ConnectionId,
        on: bool,
    },
    /// For those who watch.
    Report(SimEvent),
}

/// What a user wants to happen.
#[derive(Debug)]
pub(super) enum Control {
    Push(Box<MarketEvent>),
    Cut,
    Reset,
    CloseAll(u16),
    SendRaw(String),
    PauseData,
    ResumeData,
    Mute(bool),
    Inject(FaultKind),
}

/// Both clocks, read once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    pub(super) now: Instant,
    pub(super) utc: Timestamp,
}

/// The feed that a path names. A trailing slash is what older clients send.
pub(super) fn feed_at(path: &str) -> Option<Feed> {
    let path = path.trim_end_matches('/');
    [
        Feed::Iex,
        Feed::Sip,
        Feed::DelayedSip,
        Feed::Boats,
        Feed::Overnight,
        Feed::Test,
    ]
    .into_iter()
    .find(|feed| feed.path() == path)
}

#[derive(Debug)]
pub(super) struct Exchange {
    config: SimConfig,
    connections: BTreeMap<ConnectionId, Connection>,
    tape: Tape,
    pace: Pace,
    faults: Vec<Scheduled>,
    /// For faults, apart from the market: so a fault script does not change the market.
    chance: Random,
    /// Faults that wait for the next one who comes into their way.
    waiting: Waiting,
    /// Slots of connections that ended without a close handshake, until they are reaped.
    ghosts: Vec<Ghost>,
    mute: bool,
    stats: SimStats,
    /// Last trade ids that are not in the published statistics yet.
    fresh_trades: BTreeMap<Symbol, i64>,
    effects: VecDeque<Effect>,
}

#[derive(Debug)]
struct Connection {
    feed: Feed,
    state: State,
    /// The key id it last authenticated with, whether or not there was a slot for it.
    key: Option<String>,
    mute: bool,
    subscriptions: Subscriptions,
    frame: Frame,
    mischief: Mischief,
}

/// What stays of a connection that ended without a close handshake.
#[derive(Debug)]
struct Ghost {
    feed: Feed,
    key: String,
    reaped_at: Instant,
}

/// How a connection ends.
#[derive(Clone, Copy, PartialEq)]
enum End {
    /// With a close handshake.
    Clean,
    /// Without.
    Abrupt,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum State {
    Greeted { auth_by: Instant },
    Live,
    Over,
}

type Subscriptions = BTreeMap<Channel, BTreeSet<Symbol>>;

/// A frame of data that is being filled.
#[derive(Debug, Default)]
struct Frame {
    text: String,
    items: usize,
    /// Faulty items that wait for good neighbors.
    odd: Vec<String>,
}

/// The market's speed: how many events are due since when, so that no rounding adds up.
#[derive(Debug)]
struct Pace {
    since: Instant,
    produced: u64,
    last: Instant,
    paused: bool,
}

impl Exchange {
    pub(super) fn new(config: SimConfig, now: Instant) -> Self {
        let mut chance = Random::new(!config.seed);
        let faults = Scheduled::all(&config.faults, now, &mut chance);
        Self {
            tape: Tape::new(config.seed, &config.symbols),
            config,
            connections: BTreeMap::new(),
            pace: Pace {
                since: now,
                produced: 0,
                last: now,
                paused: false,
            },
            faults,
            chance,
            waiting: Waiting::default(),
            ghosts: Vec::new(),
            mute: false,
            stats: SimStats::default(),
            fresh_trades: BTreeMap::new(),
            effects: VecDeque::new(),
        }
    }

    /// A client was upgraded to a WebSocket.
    pub(super) fn opened(&mut self, at: Moment, id: ConnectionId, feed: Feed) {
        self.catch_up(at);
        let stalled = mem::take(&mut self.waiting.stall_welcome);
        self.connections.insert(
            id,
            Connection {
                feed,
                state: State::Greeted {
                    auth_by: at.now + self.config.auth_timeout,
                },
                key: None,
                mute: stalled,
                subscriptions: Subscriptions::new(),
                frame: Frame::default(),
                mischief: Mischief::default(),
            },
        );
        self.stats.connections_opened += 1;
        self.stats.connections_open = self.connections.len();
        self.send(id, server::success("connected"));
    }

    /// A client sent a message, text or binary.
    pub(super) fn received(&mut self, at: Moment, id: ConnectionId, message: &[u8]) {
        self.catch_up(at);
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let live = match connection.state {
            State::Greeted { .. } => false,
            State::Live => true,
            State::Over => return,
        };
        if self.is_mute(id) {
            return;
        }
        match ClientMessage::decode(message, Codec::Json) {
            Some(ClientMessage::Auth { .. }) if live => self.refuse(id, ALREADY_AUTHENTICATED),
            Some(ClientMessage::Auth { key, secret }) => self.authenticate(at, id, key, &secret),
            Some(_) if !live => self.refuse(id, NOT_AUTHENTICATED),
            Some(ClientMessage::Subscribe(lists)) => self.change(at, id, &lists, Change::Add),
            Some(ClientMessage::Unsubscribe(lists)) => {
                self.change(at, id, &lists, Change::Remove);
            }
            None => self.refuse(id, INVALID_SYNTAX),
        }
    }

    /// A client's session ended, in good order or because the server gave it up. Its socket may still be there.
    pub(super) fn ended(&mut self, at: Moment, id: ConnectionId) {
        self.catch_up(at);
        self.end(at, id, End::Clean);
    }

    /// A client's socket is no more.
    pub(super) fn gone(&mut self, at: Moment, id: ConnectionId) {
        self.catch_up(at);
        self.end(at, id, End::Abrupt);
        self.connections.remove(&id);
        self.stats.connections_open = self.connections.len();
    }

    /// More waits for a client that does not read than the server will hold.
    pub(super) fn too_slow(&mut self, at: Moment, id: ConnectionId) {
        self.catch_up(at);
        if self
            .connections
            .get(&id)
            .is_none_or(|c| c.state == State::Over)
        {
            return;
        }
        self.dismiss(at, id);
    }

    /// Time passed.
    pub(super) fn tick(&mut self, at: Moment) {
        self.catch_up(at);
        self.play_faults(at);
        self.let_go(at);
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(id, connection)| {
                matches!(connection.state, State::Greeted { auth_by } if auth_by <= at.now)
                    && !self.is_mute(**id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.refuse(id, AUTH_TIMEOUT);
            self.end(at, id, End::Clean);
            self.effects.push_back(Effect::Close {
                to: id,
                code: 1008,
                why: "authentication timed out",
            });
        }
    }

    /// The user wants something.
    pub(super) fn control(&mut self, at: Moment, control: Control) {
        self.catch_up(at);
        match control {
            Control::Push(event) => {
                self.route(*event);
                self.finish_frames();
            }
            Control::Cut => self.each_open(at, End::Abrupt, |to| Effect::Cut { to }),
            Control::Reset => self.each_open(at, End::Abrupt, |to| Effect::Reset { to }),
            Control::CloseAll(code) => self.each_open(at, End::Clean, |to| Effect::Close {
                to,
                code,
                why: "closed on request",
            }),
            Control::SendRaw(text) => {
                for id in self.live() {
                    self.send(id, text.clone());
                }
            }
            Control::PauseData => self.pace.paused = true,
            Control::ResumeData => {
                if mem::replace(&mut self.pace.paused, false) {
                    self.pace.restart(at.now);
                }
            }
            Control::Mute(mute) => self.mute = mute,
            Control::Inject(kind) => self.strike(at, kind),
        }
    }

    /// Whether a connection, or one that is still to open, is to get no byte.
    pub(super) fn is_mute(&self, id: ConnectionId) -> bool {
        self.mute || self.connections.get(&id).is_some_and(|c| c.mute)
    }

    /// The connections whose end would make room for `id`, should `message` be an authentication.
    pub(super) fn rivals(&self, id: ConnectionId, message: &[u8]) -> Vec<ConnectionId> {
        let Some(newcomer) = self.connections.get(&id).filter(|_| self.is_newcomer(id)) else {
            return Vec::new();
        };
        let Some(ClientMessage::Auth { key, .. }) = ClientMessage::decode(message, Codec::Json)
        else {
            return Vec::new();
        };
        self.of_key(newcomer.feed, &key)
            .filter(|(rival, _)| **rival != id)
            .map(|(rival, _)| *rival)
            .collect()
    }

    /// Whether a connection is to authenticate yet.
    pub(super) fn is_newcomer(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| matches!(connection.state, State::Greeted { .. }))
    }

    /// When [`tick`](Self::tick) is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let auth = self
            .connections
            .iter()
            .filter_map(|(id, connection)| match connection.state {
                State::Greeted { auth_by } if !self.is_mute(*id) => Some(auth_by),
                _ => None,
            });
        let faults = self.faults.iter().map(|fault| fault.due);
        let held = self
            .connections
            .values()
            .filter_map(|connection| connection.mischief.deadline());
        auth.chain(faults)
            .chain(held)
            .chain(self.next_event())
            .min()
    }

    pub(super) fn next_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Brings published statistics up to date.
    pub(super) fn publish(&mut self, published: &mut SimStats) {
        let mut last_trade_ids = mem::take(&mut published.last_trade_ids);
        last_trade_ids.append(&mut self.fresh_trades);
        *published = SimStats {
            last_trade_ids,
            // The exchange's own copy keeps that map empty, so this is a handful of numbers.
            ..self.stats.clone()
        };
    }

    fn authenticate(&mut self, at: Moment, id: ConnectionId, key: String, secret: &str) {
        let accepted =
            Credentials::new(&key, secret)
                .ok()
                .filter(|credentials| match &self.config.accept {
                    Accept::Any => true,
                    Accept::Only(only) => only.fingerprint() == credentials.fingerprint(),
                });
        let expired = mem::take(&mut self.waiting.expired);
        let Some(credentials) = accepted.filter(|_| !expired) else {
            self.stats.auth_failures += 1;
            return self.refuse(id, AUTH_FAILED);
        };
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.key = Some(key.clone());
        let feed = connection.feed;
        let same_key: Vec<_> = self
            .of_key(feed, &key)
            .map(|(_, connection)| connection.state)
            .collect();
        // This one is among them: it bears the key now.
        self.stats.most_open_per_key = self.stats.most_open_per_key.max(same_key.len());
        let live = same_key.iter().filter(|state| **state == State::Live);
        self.ghosts.retain(|ghost| ghost.reaped_at > at.now);
        let ghosts = self
            .ghosts
            .iter()
            .filter(|ghost| ghost.feed == feed && ghost.key == key);
        if live.count() + ghosts.count() >= self.config.connection_limit {
            self.stats.limit_errors += 1;
            if let Some(connection) = self.connections.get_mut(&id) {
                // Official clients try again on the same socket, so the deadline starts anew.
                connection.state = State::Greeted {
                    auth_by: at.now + self.config.auth_timeout,
                };
            }
            return self.refuse(id, CONNECTION_LIMIT);
        }
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.state = State::Live;
        }
        self.effects
            .push_back(Effect::Report(SimEvent::Authenticated {
                connection: id,
                fingerprint: credentials.fingerprint(),
            }));
        self.send(id, server::success("authenticated"));
    }

    /// All of a request or, where anything in it is wrong, nothing.
    fn change(&mut self, at: Moment, id: ConnectionId, lists: &RequestLists, change: Change) {
        self.stats.requests += 1;
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let channels = channels(connection.feed);
        let mut state = connection.subscriptions.clone();
        for (name, symbols) in &lists.0 {
            let Some(channel) = channels.iter().find(|channel| channel.name() == name) else {
                return self.refuse(id, FOREIGN_CHANNEL);
            };
            if !symbols.iter().all(is_well_formed) {
                return self.refuse(id, INVALID_SYNTAX);
            }
            let held = state.entry(*channel).or_default();
            for symbol in symbols {
                match change {
                    Change::Add => held.insert(symbol.clone()),
                    Change::Remove => held.remove(symbol),
                };
            }
        }
        state.retain(|_, symbols| !symbols.is_empty());
        let counted = match self.config.limit_counts {
            LimitCounts::Pairs => state.values().map(BTreeSet::len).sum(),
            LimitCounts::Symbols => state.values().flatten().collect::<BTreeSet<_>>().len(),
        };
        if change == Change::Add
            && self
                .config
                .symbol_limit
                .is_some_and(|limit| counted > limit)
        {
            return self.refuse(id, SYMBOL_LIMIT);
        }
        let feed = connection.feed;
        for symbol in state.values().flatten() {
            if symbol.as_str() != "*" {
                self.tape.list(symbol);
            } else if feed == Feed::Test {
                self.tape.list(&FAKEPACA.into());
            }
        }
        let reply = server::subscription(&full_state(feed, &state));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.subscriptions = state;
        }
        self.acknowledge(at, id, reply);
    }

    /// Produces what the market owes up to now.
    fn catch_up(&mut self, at: Moment) {
        let rate = u64::from(self.config.rate);
        if self.pace.paused || rate == 0 {
            return;
        }
        let due = events_in(at.now.saturating_duration_since(self.pace.since), rate);
        let owed = due.saturating_sub(self.pace.produced);
        if owed == 0 {
            return;
        }
        self.pace.produced = due;
        self.pace.last = at.now;
        // Where nobody listened, or the process was stopped, the market does not owe more than a second. A rate that
        // the machine cannot keep up with becomes a slower market, and not a server that is busy with nothing else.
        for offset in 0..owed.min(rate).min(LONGEST_BURST) {
            let nanos = at.utc.as_nanos().saturating_add(offset as i64);
            if let Some(event) = self.tape.next(Timestamp::from_nanos(nanos)) {
                self.route(event);
            }
        }
        self.finish_frames();
    }

    /// When the next event is due: never where nobody listens, so that an idle simulator sleeps.
    fn next_event(&self) -> Option<Instant> {
        let listens = |id: &ConnectionId, connection: &Connection| {
            connection.state == State::Live
                && !connection.subscriptions.is_empty()
                && !connection.mischief.is_mute_for_data()
                && !self.is_mute(*id)
        };
        let rate = u64::from(self.config.rate);
        if self.pace.paused || rate == 0 || !self.connections.iter().any(|(id, c)| listens(id, c)) {
            return None;
        }
        let nanos = (u128::from(self.pace.produced) + 1) * NANOS_PER_SECOND;
        let nanos = u64::try_from(nanos.div_ceil(u128::from(rate))).unwrap_or(u64::MAX);
        let due = self.pace.since + Duration::from_nanos(nanos);
        Some(due.max(self.pace.last + SHORTEST_TICK))
    }

    /// Puts an event into the frames of those who asked for it. It is encoded once, and only for somebody.
    fn route(&mut self, event: MarketEvent) {
        let channel = event.channel();
        let Some(symbol) = event.symbol().cloned() else {
            return;
        };
        let trade = match &event {
            MarketEvent::Trade(trade) => trade.id,
            _ => None,
        };
        let mut event = Some(event);
        let mut encoded = String::new();
        for (id, connection) in &mut self.connections {
            if self.mute || connection.mute || !connection.wants(channel, &symbol) {
                continue;
            }
            if let Some(event) = event.take() {
                encoded = server::event(&event);
            }
            connection.frame.push(&encoded);
            self.stats.messages_sent += 1;
            if connection.frame.items >= self.config.batch {
                connection.send_data(*id, &mut self.effects);
            }
        }
        if let (None, Some(trade)) = (event, trade) {
            self.fresh_trades.insert(symbol, trade);
        }
    }

    fn finish_frames(&mut self) {
        for (id, connection) in &mut self.connections {
            if connection.frame.items > 0 {
                connection.send_data(*id, &mut self.effects);
            }
        }
    }

    fn end(&mut self, at: Moment, id: ConnectionId, how: End) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let was_live = mem::replace(&mut connection.state, State::Over) == State::Live;
        connection.subscriptions.clear();
        connection.frame = Frame::default();
        connection.mischief = Mischief::default();
        if let Some(key) = &connection.key
            && was_live
            && how == End::Abrupt
            && !self.config.reap_after.is_zero()
        {
            self.ghosts.push(Ghost {
                feed: connection.feed,
                key: key.clone(),
                reaped_at: at.now + self.config.reap_after,
            });
        }
    }

    /// 407, and the end.
    fn dismiss(&mut self, at: Moment, id: ConnectionId) {
        self.stats.slow_clients += 1;
        self.end(at, id, End::Abrupt);
        let (code, message) = SLOW_CLIENT;
        self.effects.push_back(Effect::Report(SimEvent::Refused {
            connection: id,
            code,
            message,
        }));
        self.effects.push_back(Effect::Dismiss {
            to: id,
            text: server::error(code, message),
        });
    }

    fn each_open(&mut self, at: Moment, how: End, effect: impl Fn(ConnectionId) -> Effect) {
        let open: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.state != State::Over)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.end(at, id, how);
            self.effects.push_back(effect(id));
        }
    }

    fn live(&self) -> impl Iterator<Item = ConnectionId> + use<> {
        let live: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.state == State::Live)
            .map(|(id, _)| *id)
            .collect();
        live.into_iter()
    }

    fn of_key(&self, feed: Feed, key: &str) -> impl Iterator<Item = (&ConnectionId, &Connection)> {
        self.connections.iter().filter(move |(_, connection)| {
            connection.feed == feed && connection.key.as_deref() == Some(key)
        })
    }

    fn send(&mut self, to: ConnectionId, text: String) {
        if self.is_mute(to) {
            return;
        }
        self.effects.push_back(Effect::Send { to, text });
        if let Some(connection) = self.connections.get_mut(&to) {
            connection.mischief.sent(to, &mut self.effects);
        }
    }

    fn refuse(&mut self, to: ConnectionId, (code, message): (u16, &'static str)) {
        self.effects.push_back(Effect::Report(SimEvent::Refused {
            connection: to,
            code,
            message,
        }));
        self.send(to, server::error(code, message));
    }
}

impl Connection {
    fn wants(&self, channel: Channel, symbol: &Symbol) -> bool {
        // On the test feed the wildcard stands for its one made-up stock, elsewhere for everything but that.
        let covered = (self.feed == Feed::Test) == (symbol.as_str() == FAKEPACA);
        !self.mischief.is_mute_for_data()
            && self
                .subscriptions
                .get(&channel)
                .is_some_and(|held| held.contains(symbol) || (covered && held.contains("*")))
    }

    /// Sends the frame that is being filled.
    fn send_data(&mut self, id: ConnectionId, effects: &mut VecDeque<Effect>) {
        effects.push_back(Effect::Send {
            to: id,
            text: self.frame.finish(),
        });
        self.mischief.sent(id, effects);
        self.mischief.sent_data(id, effects);
    }
}

impl Frame {
    fn push(&mut self, item: &str) {
        // Odd items go behind the first good one.
        if self.items == 1 {
            self.push_odd();
        }
        self.text.push(if self.items == 0 { '[' } else { ',' });
        self.text.push_str(item);
        self.items += 1;
    }

    fn push_odd(&mut self) {
        for odd in self.odd.drain(..) {
            self.text.push(',');
            self.text.push_str(&odd);
        }
    }

    fn finish(&mut self) -> String {
        self.push_odd();
        self.text.push(']');
        self.items = 0;
        mem::take(&mut self.text)
    }
}

impl Pace {
    fn restart(&mut self, now: Instant) {
        self.since = now;
        self.last = now;
        self.produced = 0;
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Change {
    Add,
    Remove,
}

const STATUSES: Channel = Channel::new("statuses");
const LULDS: Channel = Channel::new("lulds");
const IMBALANCES: Channel = Channel::new("imbalances");

/// The channels that may be asked for. Of the last three the simulator has no data, which on most days is what
/// happens at the venue, too.
fn channels(feed: Feed) -> &'static [Channel] {
    match feed {
        Feed::Test => &[TRADES, QUOTES, BARS],
        Feed::Iex | Feed::Sip | Feed::DelayedSip | Feed::Boats | Feed::Overnight => &[
            TRADES,
            QUOTES,
            BARS,
            UPDATED_BARS,
            DAILY_BARS,
            STATUSES,
            LULDS,
            IMBALANCES,
        ],
    }
}

/// What a reply lists: every channel of the feed, and the two that come with trades unasked.
fn full_state(feed: Feed, state: &Subscriptions) -> Vec<(&'static str, Vec<&Symbol>)> {
    let of = |channel: Channel| -> Vec<_> { state.get(&channel).into_iter().flatten().collect() };
    let mut lists: Vec<_> = channels(feed)
        .iter()
        .map(|channel| (channel.name(), of(*channel)))
        .collect();
    if feed != Feed::Test {
        lists.push(("corrections", of(TRADES)));
        lists.push(("cancelErrors", of(TRADES)));
    }
    lists
}

pub(super) fn is_well_formed(symbol: &Symbol) -> bool {
    (1..=32).contains(&symbol.len())
        && symbol
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_lowercase())
        && (symbol.as_str() == "*" || !symbol.contains('*'))
}

fn events_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
}

/// The made-up stock of the test feed.
const FAKEPACA: &str = "FAKEPACA";

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// More often would cost wake-ups and gain nothing: batches are what a client gets then.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// Events produced at once.
const LONGEST_BURST: u64 = 20_000;

const INVALID_SYNTAX: (u16, &str) = (400, "invalid syntax");
const NOT_AUTHENTICATED: (u16, &str) = (401, "not authenticated");
const AUTH_FAILED: (u16, &str) = (402, "auth failed");
const ALREADY_AUTHENTICATED: (u16, &str) = (403, "already authenticated");
const AUTH_TIMEOUT: (u16, &str) = (404, "auth timeout");
const SYMBOL_LIMIT: (u16, &str) = (405, "symbol limit exceeded");
const CONNECTION_LIMIT: (u16, &str) = (406, "connection limit exceeded");
const SLOW_CLIENT: (u16, &str) = (407, "slow client");
const FOREIGN_CHANNEL: (u16, &str) = (410, "invalid subscribe action for this feed");

#[cfg(test)]
mod tests;
