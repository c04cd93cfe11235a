//! The exchange's side of Alpaca's market-data protocol, sans-IO: who is connected, who is authenticated, who gets
//! what, and what goes wrong when. No sockets, no clocks, no threads: time and messages come in as arguments, and what
//! is to be done comes out as [`Effect`]s.
//!
//! ```text
//!  opened                 good credentials, a free slot
//! ────────▶ Greeted ──────────────────────────────────▶ Live
//!              │ ▲ 402, 406, 409: may try again           │
//!     404, end │ └──┘                          end, fault │
//!              └───────────────▶ Over ◀───────────────────┘   (until the socket is gone)
//! ```
//!
//! | file | what it decides |
//! |---|---|
//! | `admission` | who may come in: credentials, plans, slots |
//! | `subscriptions` | what a request changes, and what it is answered |
//! | `market` | what happens when, and who gets it |
//! | `frame` | what stands together in a frame of data |
//! | `refusal` | the venue's words for what is wrong |
//! | `alive` | pings, and who does not answer them |
//! | `orders` | the trading stream, which has a protocol of its own |
//! | `mischief` | what goes wrong on purpose |

mod admission;
mod alive;
mod frame;
mod interface;
mod market;
mod mischief;
mod orders;
mod refusal;
mod subscriptions;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    mem,
    time::Instant,
};

use self::{
    admission::Ghost,
    alive::Alive,
    frame::Frame,
    market::Pace,
    mischief::{Mischief, Scheduled, Waiting},
    refusal::{
        ALREADY_AUTHENTICATED, INVALID_SYNTAX, MSGPACK_ONLY, NOT_AUTHENTICATED, SLOW_CLIENT,
    },
    subscriptions::Change,
};
pub(super) use self::{
    interface::{Arrival, ConnectionId, Control, Effect, Login, Moment},
    mischief::{Breakage, Reception},
};
use super::{
    SimConfig, SimStats,
    path::{Market, Path},
    tape::{Random, Tape},
};
use crate::{
    alpaca::{
        Codec,
        wire::server::{self, ClientMessage},
    },
    clock,
    market::Symbol,
    topic::Channel,
    venue::Message,
};

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
    path: Path,
    codec: Codec,
    state: State,
    /// For whom it last authenticated, whether or not there was a slot for it.
    account: Option<String>,
    mute: bool,
    subscriptions: Subscriptions,
    frame: Frame,
    alive: Alive,
    mischief: Mischief,
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

impl Exchange {
    pub(super) fn new(config: SimConfig, now: Instant) -> Self {
        let mut chance = Random::new(!config.seed);
        let faults = Scheduled::all(&config.faults, now, &mut chance);
        Self {
            tape: Tape::new(config.seed, &config.symbols, config.incidents),
            config,
            connections: BTreeMap::new(),
            pace: Pace::new(now),
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
    pub(super) fn opened(&mut self, at: Moment, id: ConnectionId, arrival: Arrival) {
        self.catch_up(at);
        let Arrival { path, codec, login } = arrival;
        self.pace.visit(path.market);
        let stalled = mem::take(&mut self.waiting.stall_welcome);
        self.connections.insert(
            id,
            Connection {
                path,
                codec,
                state: State::Greeted {
                    auth_by: clock::after(at.now, self.config.auth_timeout),
                },
                account: None,
                mute: stalled,
                subscriptions: Subscriptions::new(),
                frame: Frame::new(codec),
                alive: Alive::new(at.now, self.config.ping_interval),
                mischief: Mischief::default(),
            },
        );
        self.stats.connections_opened += 1;
        self.stats.connections_open = self.connections.len();
        if path.market == Market::Orders {
            // The client speaks first, and its headers say nothing.
            return;
        }
        self.send(id, server::success("connected", codec));
        if let Some(login) = login
            && !self.is_mute(id)
        {
            self.log_in(at, id, login);
        }
    }

    /// A client sent a message, text or binary.
    pub(super) fn received(&mut self, at: Moment, id: ConnectionId, message: &[u8]) {
        self.catch_up(at);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        connection.alive.heard(at.now);
        let live = match connection.state {
            State::Greeted { .. } => false,
            State::Live => true,
            State::Over => return,
        };
        let (path, codec) = (connection.path, connection.codec);
        if self.is_mute(id) {
            return;
        }
        if path.market == Market::Orders {
            return self.hear_trader(at, id, message, live);
        }
        if !path.speaks(codec) {
            return self.refuse(id, MSGPACK_ONLY);
        }
        // By codec, whatever the opcode.
        match ClientMessage::decode(message, codec) {
            Some(ClientMessage::Auth { .. }) if live => self.refuse(id, ALREADY_AUTHENTICATED),
            Some(ClientMessage::Auth { key, secret }) => {
                self.log_in(at, id, Login { key, secret });
            }
            Some(_) if !live => self.refuse(id, NOT_AUTHENTICATED),
            Some(ClientMessage::Subscribe(lists)) => self.change(at, id, &lists, Change::Add),
            Some(ClientMessage::Unsubscribe(lists)) => {
                self.change(at, id, &lists, Change::Remove);
            }
            None => self.refuse(id, INVALID_SYNTAX),
        }
    }

    /// A client pinged, or answered a ping.
    pub(super) fn heard(&mut self, at: Moment, id: ConnectionId) {
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.alive.heard(at.now);
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
        self.turn_away_the_late(at);
        self.ping(at);
    }

    /// The user wants something.
    pub(super) fn control(&mut self, at: Moment, control: Control) {
        self.catch_up(at);
        match control {
            Control::Push(event) => {
                self.route(Market::of(&event), &event);
                self.finish_frames();
            }
            Control::PushOrder(update) => self.report_order(&update),
            Control::Fill(symbol, side, qty, price) => {
                for update in self.tape.fill(symbol, side, qty, price, at.utc) {
                    self.report_order(&update);
                }
            }
            Control::Cut => self.each_open(at, End::Abrupt, |to| Effect::Cut { to, why: "cut" }),
            Control::Reset => self.each_open(at, End::Abrupt, |to| Effect::Reset { to }),
            Control::CloseAll(code) => self.each_open(at, End::Clean, |to| Effect::Close {
                to,
                code,
                why: "closed on request",
            }),
            Control::SendRaw(text) => {
                for id in self.live() {
                    self.send_message(id, Message::Text(text.clone()));
                }
            }
            Control::PauseData => self.pace.pause(),
            Control::ResumeData => self.pace.resume(at.now),
            Control::CloseMarket => self.close_market(at),
            Control::OpenMarket => self.pace.open(),
            Control::Mute(mute) => self.set_mute(at, mute),
            Control::Inject(kind) => self.strike(at, kind),
        }
    }

    /// Whether a connection, or one that is still to open, is to get no byte.
    pub(super) fn is_mute(&self, id: ConnectionId) -> bool {
        self.mute || self.connections.get(&id).is_some_and(|c| c.mute)
    }

    /// When [`tick`](Self::tick) is to be called.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let connections = self.connections.iter().flat_map(|(id, connection)| {
            let auth = match connection.state {
                State::Greeted { auth_by } if !self.is_mute(*id) => Some(auth_by),
                _ => None,
            };
            [
                auth,
                connection.mischief.deadline(),
                self.alive_until(*id, connection),
            ]
        });
        let faults = self.faults.iter().map(|fault| fault.due);
        connections
            .flatten()
            .chain(faults)
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

    fn set_mute(&mut self, at: Moment, mute: bool) {
        self.mute = mute;
        if !mute {
            // What clients said meanwhile was not heard, and is not held against them.
            for connection in self.connections.values_mut() {
                connection.alive.heard(at.now);
            }
        }
    }

    fn end(&mut self, at: Moment, id: ConnectionId, how: End) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let was_live = mem::replace(&mut connection.state, State::Over) == State::Live;
        connection.subscriptions.clear();
        connection.frame = Frame::new(connection.codec);
        connection.mischief = Mischief::default();
        if let Some(account) = &connection.account
            && was_live
            && how == End::Abrupt
            && !self.config.reap_after.is_zero()
        {
            self.ghosts.push(Ghost {
                path: connection.path,
                account: account.clone(),
                reaped_at: clock::after(at.now, self.config.reap_after),
            });
        }
    }

    /// 407, and the end.
    fn dismiss(&mut self, at: Moment, id: ConnectionId) {
        self.stats.slow_clients += 1;
        self.end(at, id, End::Abrupt);
        let message = self.report_refusal(id, SLOW_CLIENT);
        self.effects.push_back(Effect::Dismiss { to: id, message });
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

    /// Sends a whole frame in the connection's codec.
    fn send(&mut self, to: ConnectionId, frame: Vec<u8>) {
        let message = message(frame, self.codec_of(to));
        self.send_message(to, message);
    }

    fn send_message(&mut self, to: ConnectionId, message: Message) {
        if self.is_mute(to) {
            return;
        }
        self.effects.push_back(Effect::Send { to, message });
        if let Some(connection) = self.connections.get_mut(&to) {
            connection.mischief.sent(to, &mut self.effects);
        }
    }

    fn codec_of(&self, id: ConnectionId) -> Codec {
        self.connections
            .get(&id)
            .map_or(Codec::Json, |connection| connection.codec)
    }
}

/// A frame as the kind of message that its codec goes in.
fn message(frame: Vec<u8>, codec: Codec) -> Message {
    match codec {
        Codec::Json => Message::Text(String::from_utf8(frame).expect("JSON is text")),
        Codec::MessagePack => Message::Binary(frame),
    }
}

#[cfg(test)]
mod tests;
