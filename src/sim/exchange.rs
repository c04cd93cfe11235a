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
//! A slot is taken by a `Live` connection and free at once when it is `Over`; what still stands in the way of a
//! socket that is `Over` is counted apart, to catch a client that connects before its last socket is closed.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    time::{Duration, Instant},
};

use super::{
    Accept, FaultKind, LimitCounts, SimConfig, SimEvent, SimStats,
    tape::{Random, Tape},
};
use crate::{
    alpaca::{
        Feed,
        wire::server::{self, ClientMessage, RequestLists},
    },
    credentials::Credentials,
    market::{
        BARS, DAILY_BARS, MarketEvent, QUOTES, Symbol, TRADES, Timestamp, Trade, UPDATED_BARS,
    },
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
    /// How many of the next newcomers get no welcome.
    stalls: usize,
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

#[derive(Debug)]
struct Scheduled {
    kind: FaultKind,
    every: Duration,
    due: Instant,
}

impl Exchange {
    pub(super) fn new(config: SimConfig, now: Instant) -> Self {
        let mut chance = Random::new(!config.seed);
        let faults = config
            .faults
            .iter()
            .map(|fault| Scheduled {
                kind: fault.kind,
                every: fault.every,
                due: now + jitter(fault.every, &mut chance),
            })
            .collect();
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
            stalls: 0,
            mute: false,
            stats: SimStats::default(),
            fresh_trades: BTreeMap::new(),
            effects: VecDeque::new(),
        }
    }

    /// A client was upgraded to a WebSocket.
    pub(super) fn opened(&mut self, at: Moment, id: ConnectionId, feed: Feed) {
        self.catch_up(at);
        let stalled = self.stalls > 0;
        self.stalls -= usize::from(stalled);
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
        match serde_json::from_slice(message) {
            Ok(ClientMessage::Auth { .. }) if live => self.refuse(id, ALREADY_AUTHENTICATED),
            Ok(ClientMessage::Auth { key, secret }) => self.authenticate(at, id, key, &secret),
            Ok(_) if !live => self.refuse(id, NOT_AUTHENTICATED),
            Ok(ClientMessage::Subscribe(lists)) => self.change(id, &lists, Change::Add),
            Ok(ClientMessage::Unsubscribe(lists)) => self.change(id, &lists, Change::Remove),
            Err(_) => self.refuse(id, INVALID_SYNTAX),
        }
    }

    /// A client's session ended, in good order or because the server gave it up. Its socket may still be there.
    pub(super) fn ended(&mut self, at: Moment, id: ConnectionId) {
        self.catch_up(at);
        self.end(id);
    }

    /// A client's socket is no more.
    pub(super) fn gone(&mut self, at: Moment, id: ConnectionId) {
        self.catch_up(at);
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
        self.stats.slow_clients += 1;
        self.end(id);
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

    /// Time passed.
    pub(super) fn tick(&mut self, at: Moment) {
        self.catch_up(at);
        self.play_faults(at);
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
            self.end(id);
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
            Control::Cut => self.each_open(|to| Effect::Cut { to }),
            Control::Reset => self.each_open(|to| Effect::Reset { to }),
            Control::CloseAll(code) => self.each_open(|to| Effect::Close {
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
        let Ok(ClientMessage::Auth { key, .. }) = serde_json::from_slice(message) else {
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
        auth.chain(faults).chain(self.next_event()).min()
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
        let Some(credentials) = accepted else {
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
        let taken = same_key.iter().filter(|state| **state == State::Live);
        if taken.count() >= self.config.connection_limit {
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
    fn change(&mut self, id: ConnectionId, lists: &RequestLists, change: Change) {
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
        self.send(id, reply);
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
        let (channel, symbol) = (event.channel(), event.symbol().clone());
        let trade = match &event {
            MarketEvent::Trade(trade) => Some(trade.id),
            _ => None,
        };
        let mut event = Some(event);
        let mut encoded = String::new();
        for (id, connection) in &mut self.connections {
            if self.mute || connection.mute || !connection.wants(channel, &symbol) {
                continue;
            }
            if let Some(event) = event.take() {
                encoded = server::event(event);
            }
            connection.frame.push(&encoded);
            self.stats.messages_sent += 1;
            if connection.frame.items >= self.config.batch {
                self.effects.push_back(Effect::Send {
                    to: *id,
                    text: connection.frame.finish(),
                });
            }
        }
        if let (None, Some(trade)) = (event, trade) {
            self.fresh_trades.insert(symbol, trade);
        }
    }

    fn finish_frames(&mut self) {
        for (id, connection) in &mut self.connections {
            if connection.frame.items > 0 {
                self.effects.push_back(Effect::Send {
                    to: *id,
                    text: connection.frame.finish(),
                });
            }
        }
    }

    fn play_faults(&mut self, at: Moment) {
        for position in 0..self.faults.len() {
            let fault = &mut self.faults[position];
            if fault.due > at.now {
                continue;
            }
            fault.due = at.now + jitter(fault.every, &mut self.chance);
            let kind = fault.kind;
            if kind == FaultKind::StallWelcome {
                // One waits at most: a script must not lock out every newcomer after a quiet hour.
                self.stalls = 1;
                self.stats.faults_injected += 1;
                continue;
            }
            let victims: Vec<_> = self.live().filter(|id| !self.is_mute(*id)).collect();
            if !victims.is_empty() {
                let pick = self.chance.below(victims.len() as u64) as usize;
                self.inject(at, kind, victims[pick]);
                self.stats.faults_injected += 1;
            }
        }
    }

    fn inject(&mut self, at: Moment, kind: FaultKind, to: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&to) else {
            return;
        };
        match kind {
            FaultKind::Cut => {
                self.end(to);
                self.effects.push_back(Effect::Cut { to });
            }
            FaultKind::Reset => {
                self.end(to);
                self.effects.push_back(Effect::Reset { to });
            }
            FaultKind::Close(code) => {
                self.end(to);
                self.effects.push_back(Effect::Close {
                    to,
                    code,
                    why: "closed by the fault script",
                });
            }
            FaultKind::Unknown => connection.frame.odd.push(UNKNOWN_ITEM.to_owned()),
            FaultKind::Null => {
                let symbol = connection.subscriptions.values().flatten();
                let symbol = symbol.into_iter().find(|symbol| symbol.as_str() != "*");
                let symbol = symbol.cloned().unwrap_or_else(|| Symbol::from("AAPL"));
                connection.frame.odd.push(priceless(symbol, at.utc));
            }
            FaultKind::Garbage => self.send(to, GARBAGE.to_owned()),
            FaultKind::Mute => connection.mute = true,
            FaultKind::StallWelcome => {}
        }
    }

    fn end(&mut self, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.state = State::Over;
            connection.subscriptions.clear();
            connection.frame = Frame::default();
        }
    }

    fn each_open(&mut self, effect: impl Fn(ConnectionId) -> Effect) {
        let open: Vec<_> = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.state != State::Over)
            .map(|(id, _)| *id)
            .collect();
        for id in open {
            self.end(id);
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
        if !self.is_mute(to) {
            self.effects.push_back(Effect::Send { to, text });
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
        self.subscriptions
            .get(&channel)
            .is_some_and(|held| held.contains(symbol) || (covered && held.contains("*")))
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

/// A period, give or take a fifth.
fn jitter(period: Duration, chance: &mut Random) -> Duration {
    period * (800 + chance.below(401) as u32) / 1000
}

/// A trade without a price: what a venue's bug looks like.
fn priceless(symbol: Symbol, utc: Timestamp) -> String {
    let trade = server::event(MarketEvent::Trade(Trade {
        symbol,
        id: 0,
        exchange: "V".into(),
        price: 0.into(),
        size: 1.into(),
        conditions: ["@"].into_iter().collect(),
        tape: "C".into(),
        timestamp: utc,
    }));
    trade.replacen(r#""p":0"#, r#""p":null"#, 1)
}

/// The made-up stock of the test feed.
const FAKEPACA: &str = "FAKEPACA";

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// More often would cost wake-ups and gain nothing: batches are what a client gets then.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// Events produced at once.
const LONGEST_BURST: u64 = 20_000;

const UNKNOWN_ITEM: &str = r#"{"T":"zz","S":"AAPL","note":"a type that nobody knows"}"#;
const GARBAGE: &str = "this is not JSON";

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
mod tests {
    use super::*;
    use crate::{
        alpaca::wire::{self, Incoming},
        clock,
        sim::FaultScript,
    };

    const ONE: ConnectionId = 1;
    const TWO: ConnectionId = 2;
    const AUTH: &str = r#"{"action":"auth","key":"PKONE","secret":"s1"}"#;

    /// An exchange, and a clock that leaps.
    struct Scenario {
        exchange: Exchange,
        at: Moment,
    }

    impl Scenario {
        fn new(change: impl FnOnce(&mut SimConfig)) -> Self {
            let mut config = SimConfig::default();
            change(&mut config);
            let now = clock::now();
            let utc = Timestamp::from_nanos(1_773_757_805_000_000_000);
            Self {
                exchange: Exchange::new(config, now),
                at: Moment { now, utc },
            }
        }

        fn opened(mut self, id: ConnectionId) -> Self {
            self.open(id, Feed::Iex);
            self
        }

        fn live(mut self, id: ConnectionId) -> Self {
            self.open(id, Feed::Iex);
            assert_eq!(self.say(id, AUTH), [server::success("authenticated")]);
            self
        }

        fn open(&mut self, id: ConnectionId, feed: Feed) -> Vec<String> {
            self.exchange.opened(self.at, id, feed);
            self.texts(id)
        }

        fn say(&mut self, id: ConnectionId, message: &str) -> Vec<String> {
            self.exchange.received(self.at, id, message.as_bytes());
            self.texts(id)
        }

        fn error(&mut self, id: ConnectionId, message: &str) -> String {
            let mut texts = self.say(id, message);
            assert_eq!(texts.len(), 1, "{message}: {texts:?}");
            texts.remove(0)
        }

        fn pass(&mut self, time: Duration) -> Vec<Effect> {
            self.at.now += time;
            self.exchange.tick(self.at);
            self.effects()
        }

        fn control(&mut self, control: Control) -> Vec<Effect> {
            self.exchange.control(self.at, control);
            self.effects()
        }

        /// What is to be done, without reports.
        fn effects(&mut self) -> Vec<Effect> {
            std::iter::from_fn(|| self.exchange.next_effect())
                .filter(|effect| !matches!(effect, Effect::Report(_)))
                .collect()
        }

        fn texts(&mut self, id: ConnectionId) -> Vec<String> {
            texts(self.effects(), id)
        }

        fn stats(&mut self) -> SimStats {
            let mut stats = SimStats::default();
            self.exchange.publish(&mut stats);
            stats
        }
    }

    fn texts(effects: Vec<Effect>, id: ConnectionId) -> Vec<String> {
        effects
            .into_iter()
            .map(|effect| match effect {
                Effect::Send { to, text } if to == id => text,
                other => panic!("{other:?}"),
            })
            .collect()
    }

    fn events(frames: &[String]) -> Vec<MarketEvent> {
        let mut events = Vec::new();
        for frame in frames {
            wire::decode(frame, |item| match item {
                Ok(Incoming::Event(event)) => events.push(event),
                other => panic!("{other:?}"),
            });
        }
        events
    }

    fn quote(symbol: &str) -> MarketEvent {
        let mut tape = Tape::new(1, &[symbol.into()]);
        loop {
            let event = tape.next(Timestamp::from_nanos(0)).unwrap();
            if matches!(event, MarketEvent::Quote(_)) {
                return event;
            }
        }
    }

    #[test]
    fn every_stock_path_is_known_with_and_without_a_slash() {
        for path in [
            "/v2/iex",
            "/v2/sip",
            "/v2/delayed_sip",
            "/v1beta1/boats",
            "/v1beta1/overnight",
            "/v2/test",
        ] {
            assert_eq!(feed_at(path).unwrap().path(), path);
            assert_eq!(feed_at(&format!("{path}/")).unwrap().path(), path);
        }
        for path in ["/", "/v2/boats", "/v2", "/v2/IEX"] {
            assert_eq!(feed_at(path), None, "{path}");
        }
    }

    #[test]
    fn the_welcome_comes_alone_and_requests_wait_for_authentication() {
        let mut scenario = Scenario::new(|_| {});
        assert_eq!(
            scenario.open(ONE, Feed::Iex),
            [r#"[{"T":"success","msg":"connected"}]"#]
        );
        for (message, answer) in [
            (
                r#"{"action":"subscribe","trades":["KO"]}"#,
                server::error(401, "not authenticated"),
            ),
            ("what?", server::error(400, "invalid syntax")),
            (
                r#"{"action":"dance"}"#,
                server::error(400, "invalid syntax"),
            ),
            (
                r#"{"action":"auth","key":"","secret":"x"}"#,
                server::error(402, "auth failed"),
            ),
            (AUTH, server::success("authenticated")),
            (AUTH, server::error(403, "already authenticated")),
        ] {
            assert_eq!(scenario.say(ONE, message), [answer], "{message}");
        }
        assert_eq!(scenario.stats().auth_failures, 1);
    }

    #[test]
    fn only_the_right_credentials_are_accepted_where_they_are_given() {
        let only = Credentials::new("PKONE", "right").unwrap();
        let mut scenario = Scenario::new(|config| config.accept = Accept::Only(only)).opened(ONE);
        assert_eq!(scenario.error(ONE, AUTH), server::error(402, "auth failed"));
        let right = AUTH.replace("s1", "right");
        assert_eq!(
            scenario.say(ONE, &right),
            [server::success("authenticated")]
        );
    }

    #[test]
    fn a_client_that_does_not_authenticate_in_time_is_closed() {
        let mut scenario = Scenario::new(|_| {}).opened(ONE);
        let opened = scenario.at.now;
        assert_eq!(
            scenario.exchange.deadline(),
            Some(opened + Duration::from_secs(10))
        );
        assert_eq!(scenario.pass(Duration::from_millis(9_999)), []);
        let effects = scenario.pass(Duration::from_millis(1));
        assert!(
            matches!(
                &effects[..],
                [Effect::Send { to: ONE, text }, Effect::Close { to: ONE, .. }]
                    if *text == server::error(404, "auth timeout")
            ),
            "{effects:?}"
        );
        assert_eq!(scenario.exchange.deadline(), None);
        assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
    }

    #[test]
    fn the_newcomer_loses_and_gets_the_slot_once_it_is_free() {
        let mut scenario = Scenario::new(|_| {}).live(ONE).opened(TWO);
        let limit = server::error(406, "connection limit exceeded");
        assert_eq!(scenario.exchange.rivals(TWO, AUTH.as_bytes()), [ONE]);
        assert_eq!(scenario.error(TWO, AUTH), limit);
        // The old one goes on.
        assert_eq!(
            scenario
                .say(ONE, r#"{"action":"subscribe","trades":["KO"]}"#)
                .len(),
            1
        );
        // The refused one may stay and ask again, well after its first deadline.
        scenario.pass(Duration::from_secs(9));
        scenario.say(TWO, AUTH);
        assert!(
            !scenario
                .pass(Duration::from_secs(9))
                .iter()
                .any(|effect| matches!(effect, Effect::Close { .. }))
        );
        scenario.exchange.gone(scenario.at, ONE);
        assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
        let stats = scenario.stats();
        assert_eq!((stats.limit_errors, stats.most_open_per_key), (2, 2));
        assert_eq!((stats.connections_opened, stats.connections_open), (2, 1));
    }

    #[test]
    fn slots_are_per_key_and_per_path() {
        let mut scenario = Scenario::new(|_| {}).live(ONE);
        scenario.open(TWO, Feed::Sip);
        assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
        scenario.open(3, Feed::Iex);
        assert_eq!(
            scenario.say(3, &AUTH.replace("PKONE", "PKTWO")),
            [server::success("authenticated")]
        );
        assert_eq!(scenario.stats().most_open_per_key, 1);
    }

    #[test]
    fn a_slot_is_free_after_a_clean_close_but_a_socket_that_lingers_counts() {
        let mut scenario = Scenario::new(|_| {}).live(ONE).opened(TWO);
        scenario.exchange.ended(scenario.at, ONE);
        assert_eq!(scenario.say(TWO, AUTH), [server::success("authenticated")]);
        assert_eq!(scenario.stats().most_open_per_key, 2);

        let mut scenario = Scenario::new(|_| {}).live(ONE).opened(TWO);
        scenario.exchange.ended(scenario.at, ONE);
        scenario.exchange.gone(scenario.at, ONE);
        scenario.say(TWO, AUTH);
        assert_eq!(scenario.stats().most_open_per_key, 1);
    }

    #[test]
    fn each_request_gets_the_full_state() {
        let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
        for (request, reply) in [
            (
                r#"{"action":"subscribe","trades":["MSFT","AAPL"],"bars":["*"],"news":[],"lulds":null}"#,
                r#"[{"T":"subscription","trades":["AAPL","MSFT"],"quotes":[],"bars":["*"],"updatedBars":[],"dailyBars":[],"statuses":[],"lulds":[],"imbalances":[],"corrections":["AAPL","MSFT"],"cancelErrors":["AAPL","MSFT"]}]"#,
            ),
            (
                r#"{"action":"unsubscribe","trades":["AAPL","KO"],"bars":["*"],"quotes":["PEP"]}"#,
                r#"[{"T":"subscription","trades":["MSFT"],"quotes":[],"bars":[],"updatedBars":[],"dailyBars":[],"statuses":[],"lulds":[],"imbalances":[],"corrections":["MSFT"],"cancelErrors":["MSFT"]}]"#,
            ),
        ] {
            assert_eq!(scenario.say(ONE, request), [reply]);
            // The same again changes nothing, and is answered all the same.
            assert_eq!(scenario.say(ONE, request), [reply]);
        }
        assert_eq!(scenario.stats().requests, 4);

        scenario.open(TWO, Feed::Test);
        scenario.say(TWO, AUTH);
        assert_eq!(
            scenario.say(TWO, r#"{"action":"subscribe","trades":["FAKEPACA"]}"#),
            [r#"[{"T":"subscription","trades":["FAKEPACA"],"quotes":[],"bars":[]}]"#]
        );
        assert_eq!(
            scenario.say(TWO, r#"{"action":"subscribe","updatedBars":["FAKEPACA"]}"#),
            [server::error(410, "invalid subscribe action for this feed")]
        );
    }

    #[test]
    fn a_refused_request_changes_nothing() {
        let mut scenario = Scenario::new(|config| {
            config.rate = 0;
            config.symbol_limit = Some(3);
        })
        .live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","trades":["A","B"]}"#);
        let long = format!(
            r#"{{"action":"subscribe","trades":["A","{}"]}}"#,
            "X".repeat(33)
        );
        for (request, answer) in [
            (
                r#"{"action":"subscribe","trades":["C"],"quotes":["A"]}"#,
                server::error(405, "symbol limit exceeded"),
            ),
            (
                r#"{"action":"subscribe","trades":["C"],"orderbooks":["A"]}"#,
                server::error(410, "invalid subscribe action for this feed"),
            ),
            (
                r#"{"action":"subscribe","trades":["C","aapl"]}"#,
                server::error(400, "invalid syntax"),
            ),
            (
                r#"{"action":"subscribe","trades":["C",""]}"#,
                server::error(400, "invalid syntax"),
            ),
            (
                r#"{"action":"subscribe","trades":["C"," A"]}"#,
                server::error(400, "invalid syntax"),
            ),
            (
                r#"{"action":"subscribe","trades":["C","A*"]}"#,
                server::error(400, "invalid syntax"),
            ),
            (&long, server::error(400, "invalid syntax")),
        ] {
            assert_eq!(scenario.error(ONE, request), answer, "{request}");
            let state = scenario.error(ONE, r#"{"action":"subscribe"}"#);
            assert!(
                state.contains(r#""trades":["A","B"],"quotes":[]"#),
                "{state}"
            );
        }
    }

    #[test]
    fn the_limit_can_count_symbols_in_place_of_pairs() {
        let mut scenario = Scenario::new(|config| {
            config.symbol_limit = Some(2);
            config.limit_counts = LimitCounts::Symbols;
        })
        .live(ONE);
        let both = r#"{"action":"subscribe","trades":["A","B"],"quotes":["A","B"]}"#;
        assert!(scenario.error(ONE, both).contains("subscription"));
        let third = r#"{"action":"subscribe","quotes":["C"]}"#;
        assert!(scenario.error(ONE, third).contains("405"));
    }

    #[test]
    fn trade_ids_are_consecutive_for_each_connection() {
        let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","trades":["AAPL","MSFT"]}"#);
        let mut last = BTreeMap::<Symbol, i64>::new();
        for _ in 0..200 {
            let frames = texts(scenario.pass(Duration::from_millis(7)), ONE);
            for event in events(&frames) {
                let MarketEvent::Trade(trade) = event else {
                    panic!("{event}")
                };
                if let Some(last) = last.insert(trade.symbol, trade.id) {
                    assert_eq!(trade.id, last + 1);
                }
            }
        }
        assert_eq!(last.len(), 2);
        assert_eq!(scenario.stats().last_trade_ids, last);
    }

    #[test]
    fn the_pace_has_no_drift_and_frames_have_a_cap() {
        let mut scenario = Scenario::new(|config| {
            config.rate = 333;
            config.batch = 4;
        })
        .live(ONE);
        scenario.say(
            ONE,
            r#"{"action":"subscribe","trades":["*"],"quotes":["*"],"bars":["*"],"updatedBars":["*"],"dailyBars":["*"]}"#,
        );
        let (end, mut sent) = (scenario.at.now + Duration::from_secs(10), 0);
        while scenario.at.now < end {
            let due = scenario.exchange.deadline().unwrap().min(end);
            assert!(due > scenario.at.now);
            let frames = texts(scenario.pass(due - scenario.at.now), ONE);
            for frame in &frames {
                let events = events(std::slice::from_ref(frame));
                assert!((1..=4).contains(&events.len()));
                sent += events.len() as u64;
            }
        }
        assert_eq!(sent, 3_330);
        assert_eq!(scenario.stats().messages_sent, sent);
        // However long the process slept, it owes a second at most.
        let frames = texts(scenario.pass(Duration::from_secs(3_600)), ONE);
        assert_eq!(events(&frames).len(), 333);
    }

    #[test]
    fn nobody_listens_and_the_exchange_sleeps() {
        let mut scenario = Scenario::new(|_| {}).live(ONE);
        assert_eq!(scenario.exchange.deadline(), None);
        scenario.say(ONE, r#"{"action":"subscribe","trades":["AAPL"]}"#);
        assert!(scenario.exchange.deadline().is_some());
        scenario.control(Control::PauseData);
        assert_eq!(scenario.exchange.deadline(), None);
        assert_eq!(scenario.pass(Duration::from_secs(1)), []);
        scenario.control(Control::ResumeData);
        let due = scenario.exchange.deadline().unwrap();
        assert_eq!(due, scenario.at.now + Duration::from_millis(10));
    }

    #[test]
    fn an_item_that_matches_twice_is_sent_once() {
        let mut scenario = Scenario::new(|config| config.rate = 0).live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","quotes":["*","AAPL"]}"#);
        let frames = texts(
            scenario.control(Control::Push(Box::new(quote("AAPL")))),
            ONE,
        );
        assert_eq!(events(&frames), [quote("AAPL")]);
        let frames = texts(
            scenario.control(Control::Push(Box::new(quote("OTHER")))),
            ONE,
        );
        assert_eq!(events(&frames), [quote("OTHER")]);
        scenario.say(ONE, r#"{"action":"unsubscribe","quotes":["*"]}"#);
        assert_eq!(
            scenario.control(Control::Push(Box::new(quote("OTHER")))),
            []
        );
    }

    #[test]
    fn new_symbols_are_listed_and_the_test_feed_has_its_own() {
        let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","quotes":["ZZZ"]}"#);
        let frames = texts(scenario.pass(Duration::from_secs(1)), ONE);
        assert!(!events(&frames).is_empty());

        let mut scenario = Scenario::new(|config| config.rate = 1_000).live(ONE);
        scenario.open(TWO, Feed::Test);
        scenario.say(TWO, AUTH);
        scenario.say(TWO, r#"{"action":"subscribe","quotes":["*"]}"#);
        let frames = texts(scenario.pass(Duration::from_secs(1)), TWO);
        let events = events(&frames);
        assert!(!events.is_empty());
        assert!(
            events
                .iter()
                .all(|event| event.symbol().as_str() == "FAKEPACA")
        );
    }

    #[test]
    fn a_seed_is_a_session() {
        let session = |seed| {
            let mut scenario = Scenario::new(|config| {
                config.seed = seed;
                config.rate = 1_000;
                config.faults = "null@100ms,unknown@150ms".parse().unwrap();
            })
            .live(ONE);
            scenario.say(ONE, r#"{"action":"subscribe","trades":["*"]}"#);
            (0..50)
                .flat_map(|_| texts(scenario.pass(Duration::from_millis(20)), ONE))
                .collect::<Vec<_>>()
        };
        assert_eq!(session(5), session(5));
        assert_ne!(session(5), session(6));
    }

    fn with_fault(script: &str) -> Scenario {
        let faults: FaultScript = script.parse().unwrap();
        Scenario::new(|config| {
            config.rate = 0;
            config.faults = faults;
        })
    }

    #[test]
    fn faults_hit_an_authenticated_connection_within_their_period() {
        for (script, effect) in [
            ("cut@1s", Effect::Cut { to: ONE }),
            ("reset@1s", Effect::Reset { to: ONE }),
            (
                "close:1012@1s",
                Effect::Close {
                    to: ONE,
                    code: 1012,
                    why: "closed by the fault script",
                },
            ),
            (
                "garbage@1s",
                Effect::Send {
                    to: ONE,
                    text: GARBAGE.to_owned(),
                },
            ),
        ] {
            let mut scenario = with_fault(script).live(ONE).opened(TWO);
            assert_eq!(scenario.pass(Duration::from_millis(799)), [], "{script}");
            assert_eq!(
                scenario.pass(Duration::from_millis(401)),
                [effect],
                "{script}"
            );
            assert_eq!(scenario.stats().faults_injected, 1);
        }
        let mut idle = with_fault("cut@1s").opened(ONE);
        assert_eq!(idle.pass(Duration::from_millis(1_200)), []);
        assert_eq!(idle.stats().faults_injected, 0);
    }

    #[test]
    fn odd_items_stand_among_good_ones() {
        let mut scenario = with_fault("null@1s,unknown@1s").live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","quotes":["AAPL"]}"#);
        assert_eq!(scenario.pass(Duration::from_millis(1_200)), []);
        let frames = texts(
            scenario.control(Control::Push(Box::new(quote("AAPL")))),
            ONE,
        );
        let (mut good, mut odd) = (0, Vec::new());
        wire::decode(&frames[0], |item| match item {
            Ok(_) => good += 1,
            Err(unparsed) => odd.push(unparsed.to_string()),
        });
        assert_eq!((good, odd.len()), (1, 2), "{odd:?}");
        assert!(frames[0].contains(r#""p":null"#) && frames[0].contains(r#""T":"zz""#));
    }

    #[test]
    fn a_mute_connection_hears_nothing_and_keeps_its_slot() {
        let mut scenario = with_fault("mute@1s").live(ONE);
        scenario.say(ONE, r#"{"action":"subscribe","quotes":["AAPL"]}"#);
        assert_eq!(scenario.pass(Duration::from_millis(1_200)), []);
        assert!(scenario.exchange.is_mute(ONE));
        assert_eq!(scenario.control(Control::Push(Box::new(quote("AAPL")))), []);
        assert_eq!(
            scenario.say(ONE, r#"{"action":"unsubscribe","quotes":["AAPL"]}"#),
            [""; 0]
        );
        let mut scenario = scenario.opened(TWO);
        assert!(scenario.error(TWO, AUTH).contains("406"));
    }

    #[test]
    fn a_stalled_newcomer_gets_no_welcome_and_the_one_after_it_does() {
        let mut scenario = with_fault("stall-welcome@1s");
        scenario.pass(Duration::from_millis(1_200));
        assert_eq!(scenario.open(ONE, Feed::Iex), [""; 0]);
        assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
        assert_eq!(scenario.open(TWO, Feed::Iex).len(), 1);
    }

    #[test]
    fn orders_of_the_user_reach_every_connection() {
        for (control, effect) in [
            (Control::Cut, Effect::Cut { to: ONE }),
            (Control::Reset, Effect::Reset { to: ONE }),
            (
                Control::CloseAll(1001),
                Effect::Close {
                    to: ONE,
                    code: 1001,
                    why: "closed on request",
                },
            ),
            (
                Control::SendRaw("null".to_owned()),
                Effect::Send {
                    to: ONE,
                    text: "null".to_owned(),
                },
            ),
        ] {
            let mut scenario = Scenario::new(|_| {}).live(ONE);
            assert_eq!(scenario.control(control), [effect]);
        }
        let mut scenario = Scenario::new(|_| {}).opened(ONE);
        scenario.control(Control::Mute(true));
        assert_eq!(scenario.say(ONE, AUTH), [""; 0]);
        scenario.control(Control::Mute(false));
        assert_eq!(scenario.say(ONE, AUTH), [server::success("authenticated")]);
    }
}
