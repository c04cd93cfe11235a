//! The simulator's sockets: one thread, one poller, no decisions. What the exchange wants is done here; what clients
//! send and how they end is told to it.
//!
//! One law: before a newcomer's authentication is put to the exchange, everything that other sockets of the same key
//! have received is read, so that an end of stream that has arrived is an end of stream that counts.

mod connection;
mod upgrade;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io::{self, Write as _},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use tungstenite::{
    Error, Message,
    protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
};

use self::connection::{Connection, Stage, Step, Turn};
use super::{
    Shared, SimConfig, SimEvent,
    exchange::{Breakage, ConnectionId, Effect, Exchange, Moment, Reception},
    gate::Gate,
};
use crate::{clock, venue};

/// The simulator's thread, in one value.
pub(super) struct Server {
    poll: Poll,
    listener: TcpListener,
    /// When to accept again, after the system refused to.
    accept_at: Option<Instant>,
    exchange: Exchange,
    connections: HashMap<ConnectionId, Connection>,
    next_id: ConnectionId,
    /// Connections that have something to be read although the poller will not say so.
    woken: BTreeSet<ConnectionId>,
    /// Connections that may have something to be written.
    unflushed: BTreeSet<ConnectionId>,
    /// Connections whose next piece is due in the next turn of the loop.
    in_pieces: BTreeSet<ConnectionId>,
    websocket: WebSocketConfig,
    at: Moment,
    shared: Arc<Shared>,
    events: Option<Sender<SimEvent>>,
}

impl Server {
    pub(super) fn new(
        config: SimConfig,
        mut listener: TcpListener,
        shared: Arc<Shared>,
    ) -> io::Result<(Self, Waker)> {
        let poll = Poll::new()?;
        let waker = Waker::new(poll.registry(), WAKER)?;
        poll.registry()
            .register(&mut listener, LISTENER, Interest::READABLE)?;
        let at = read_clocks();
        let server = Self {
            poll,
            listener,
            accept_at: None,
            connections: HashMap::new(),
            next_id: 1,
            woken: BTreeSet::new(),
            unflushed: BTreeSet::new(),
            in_pieces: BTreeSet::new(),
            websocket: WebSocketConfig::default()
                .read_buffer_size(16 << 10)
                .write_buffer_size((config.output_limit / 2).min(64 << 10))
                .max_write_buffer_size(config.output_limit)
                .max_message_size(Some(LARGEST_MESSAGE))
                .max_frame_size(Some(LARGEST_MESSAGE)),
            at,
            shared,
            events: config.events.clone(),
            exchange: Exchange::new(config, at.now),
        };
        Ok((server, waker))
    }

    /// Runs until the handle is dropped.
    pub(super) fn run(mut self) {
        let mut events = Events::with_capacity(256);
        loop {
            let wait = self
                .deadline()
                .map(|deadline| deadline.saturating_duration_since(clock::now()));
            match self.poll.poll(&mut events, wait) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // Without a poller there is nothing left to do; clients see their connections end.
                Err(_) => return,
            }
            self.at = read_clocks();
            // Orders first: what was ordered before a client came holds for it.
            if self.obey() {
                return;
            }
            for event in &events {
                match event.token() {
                    WAKER => {}
                    LISTENER => self.accept(),
                    Token(id) => {
                        self.woken.insert(id);
                    }
                }
            }
            for id in mem::take(&mut self.in_pieces) {
                if let Some(gate) = self.connections.get_mut(&id).and_then(Connection::gate) {
                    gate.next_turn();
                    self.unflushed.insert(id);
                }
            }
            self.exchange.tick(self.at);
            self.carry_out();
            if self.accept_at.is_some_and(|due| due <= self.at.now) {
                self.accept_at = None;
                self.accept();
            }
            // Flushing may find a connection dead, and reading may make something to flush.
            while !self.woken.is_empty() || !self.unflushed.is_empty() {
                while let Some(id) = self.woken.pop_first() {
                    self.read(id, Turn::Own);
                }
                // Published before it is told: who has an answer finds it counted.
                self.publish();
                while let Some(id) = self.unflushed.pop_first() {
                    self.flush(id);
                }
            }
            self.give_up();
            self.publish();
        }
    }

    /// Carries out what the handle ordered. Says whether to stop.
    fn obey(&mut self) -> bool {
        let (controls, stop) = {
            let mut desk = self.shared.desk.lock();
            (mem::take(&mut desk.controls), desk.stop)
        };
        let was_mute = self.exchange.is_mute(NOBODY);
        for control in controls {
            self.exchange.control(self.at, control);
            self.carry_out();
        }
        if was_mute && !self.exchange.is_mute(NOBODY) {
            // What had to wait for this moment has no readiness to announce it.
            self.woken.extend(self.connections.keys());
        }
        stop
    }

    fn accept(&mut self) {
        loop {
            let (mut stream, peer) = match self.listener.accept() {
                Ok(accepted) => accepted,
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock => return,
                    io::ErrorKind::Interrupted | io::ErrorKind::ConnectionAborted => continue,
                    _ => {
                        // Out of descriptors, most likely: no readiness will tell when that is over.
                        self.accept_at = Some(self.at.now + ACCEPT_AGAIN);
                        return;
                    }
                },
            };
            let id = self.next_id;
            let registered = self.poll.registry().register(
                &mut stream,
                Token(id),
                Interest::READABLE | Interest::WRITABLE,
            );
            if registered.is_err() {
                continue;
            }
            self.next_id += 1;
            let reception = self.exchange.arrived(self.at);
            if reception == Reception::Reset {
                reset(&stream);
                self.report(SimEvent::NotUpgraded {
                    connection: id,
                    peer,
                    why: "reset by the fault script".to_owned(),
                });
                continue;
            }
            // Without this, small frames wait for the acknowledgement of earlier ones.
            let _ = stream.set_nodelay(true);
            self.connections.insert(
                id,
                Connection {
                    stage: match reception {
                        Reception::Stall => Stage::Deaf(Gate::new(stream)),
                        _ => Stage::Arrived(Gate::new(stream)),
                    },
                    answer: match reception {
                        Reception::Answer {
                            status,
                            retry_after,
                        } => Some((status, retry_after)),
                        _ => None,
                    },
                    breakage: None,
                    arrival: Arc::default(),
                    peer,
                    backlog: VecDeque::new(),
                    give_up: Some(self.at.now + UPGRADE_TIMEOUT),
                    why: None,
                },
            );
            self.woken.insert(id);
        }
    }

    /// Reads a connection until it would block. In the turn of another one, nothing is decided: what a newcomer said
    /// waits for its own turn.
    fn read(&mut self, id: ConnectionId, turn: Turn) {
        loop {
            let mute = self.exchange.is_mute(id);
            let Some(connection) = self.connections.get_mut(&id) else {
                return;
            };
            match connection.step(turn, mute, &self.websocket) {
                Step::Blocked => break,
                Step::Upgraded(arrival) => {
                    connection.give_up = None;
                    let peer = connection.peer;
                    self.report(SimEvent::Opened {
                        connection: id,
                        path: arrival.path.name,
                        codec: arrival.codec,
                        peer,
                    });
                    if let Some(login) = &arrival.login {
                        for rival in self.exchange.rivals_at(arrival.path, login, id) {
                            self.read(rival, Turn::Others);
                        }
                    }
                    self.exchange.opened(self.at, id, *arrival);
                }
                Step::SignOfLife => {
                    if !mute {
                        self.exchange.heard(self.at, id);
                    }
                }
                Step::NotUpgraded(why) => {
                    let peer = connection.peer;
                    self.connections.remove(&id);
                    self.report(SimEvent::NotUpgraded {
                        connection: id,
                        peer,
                        why,
                    });
                    return;
                }
                Step::Message(message) => {
                    if turn == Turn::Others
                        && (self.exchange.is_newcomer(id) || !connection.backlog.is_empty())
                    {
                        connection.backlog.push_back(message);
                        self.woken.insert(id);
                        continue;
                    }
                    for rival in self.exchange.rivals(id, &message) {
                        self.read(rival, Turn::Others);
                    }
                    self.exchange.received(self.at, id, &message);
                }
                Step::Farewell(why) => {
                    connection.why.get_or_insert(why);
                    // A mute server did not hear it, and waits for the end of the stream.
                    if !mute {
                        connection.give_up = Some(self.at.now + LINGER);
                        self.exchange.ended(self.at, id);
                    }
                }
                Step::Gone(why) => return self.lose(id, why),
            }
            self.carry_out();
        }
        self.unflushed.insert(id);
    }

    /// Does what the exchange wants.
    fn carry_out(&mut self) {
        while let Some(effect) = self.exchange.next_effect() {
            match effect {
                Effect::Send { to, message } => self.send(to, sent(message)),
                Effect::Ping { to } => self.send(to, Message::Ping(tungstenite::Bytes::new())),
                Effect::Close { to, code, why } => {
                    if let Some(connection) = self.ending(to, why)
                        && let Stage::Open(socket) = &mut connection.stage
                    {
                        let farewell = CloseFrame {
                            code: CloseCode::from(code),
                            reason: "".into(),
                        };
                        // Where there is no room even for this, the client is not told.
                        if let Err(Error::WriteBufferFull(_)) = socket.close(Some(farewell)) {
                            connection.finish();
                        }
                    }
                    self.unflushed.insert(to);
                }
                Effect::Cut { to, why } => {
                    if let Some(connection) = self.ending(to, why) {
                        connection.shut();
                    }
                    self.woken.insert(to);
                }
                Effect::Dismiss { to, message } => {
                    if let Some(connection) = self.ending(to, "too slow") {
                        connection.finish();
                        if let Stage::Finishing(socket) = &mut connection.stage {
                            let message = sent(message);
                            let room = message.len() + 16;
                            socket.set_config(|config| config.max_write_buffer_size += room);
                            // Best effort: if it cannot be written now, flushing will try until the client is given up.
                            let _ = socket.write(message);
                        }
                    }
                    self.unflushed.insert(to);
                }
                Effect::Reset { to } => {
                    self.reset(to, "reset");
                }
                Effect::Break { to, how } => {
                    if let Some(connection) = self.ending(to, "broken by the fault script") {
                        connection.finish();
                        connection.breakage = Some(how);
                    }
                    self.unflushed.insert(to);
                }
                Effect::Slice { to, pieces } => {
                    if let Some(gate) = self.connections.get_mut(&to).and_then(Connection::gate) {
                        gate.cut(pieces);
                    }
                }
                Effect::Cork { to, on } => {
                    if let Some(gate) = self.connections.get_mut(&to).and_then(Connection::gate) {
                        gate.corked = on;
                    }
                    self.unflushed.insert(to);
                }
                Effect::Report(event) => self.report(event),
            }
        }
    }

    fn send(&mut self, to: ConnectionId, message: Message) {
        let Some(connection) = self.connections.get_mut(&to) else {
            return;
        };
        let Stage::Open(socket) = &mut connection.stage else {
            return;
        };
        socket.get_mut().mute = false;
        match socket.write(message) {
            Ok(()) => {}
            Err(error) if would_block(&error) => {}
            Err(Error::WriteBufferFull(_)) => {
                // Nothing that was meant to follow may slip in behind the hole.
                connection.finish();
                self.exchange.too_slow(self.at, to);
            }
            // Reading finds out how it ended.
            Err(_) => {
                self.woken.insert(to);
            }
        }
        self.unflushed.insert(to);
    }

    fn flush(&mut self, id: ConnectionId) {
        let mute = self.exchange.is_mute(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let is_open = matches!(connection.stage, Stage::Open(_));
        let (Stage::Open(socket) | Stage::Finishing(socket)) = &mut connection.stage else {
            return;
        };
        socket.get_mut().mute = mute;
        match socket.flush() {
            Ok(()) if is_open => {}
            Ok(()) if connection.breakage.is_some() => self.break_off(id),
            Err(error) if would_block(&error) => {
                if socket.get_ref().waits_for_a_turn() {
                    self.in_pieces.insert(id);
                }
            }
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                connection.shut();
                connection.give_up.get_or_insert(self.at.now + LINGER);
                self.woken.insert(id);
            }
            Err(_) => self.lose(id, LOST),
        }
    }

    /// Everything that was sent has left: now it breaks.
    fn break_off(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(how) = connection.breakage.take() else {
            return;
        };
        if let Some(gate) = connection.gate() {
            let last: &[u8] = match how {
                Breakage::MidFrame => &HALF_A_FRAME,
                Breakage::Oversized => &GIANT_HEADER,
                Breakage::HalfOpen => &[],
            };
            // Where not even this fits, it breaks without.
            let _ = gate.write(last);
        }
        if how == Breakage::MidFrame {
            self.reset(id, "reset in the middle of a frame");
        } else {
            connection.deafen();
            // The client is the one to end it.
            connection.give_up = None;
            self.woken.insert(id);
        }
    }

    fn reset(&mut self, id: ConnectionId, why: &'static str) {
        if let Some(gate) = self.connections.get_mut(&id).and_then(Connection::gate) {
            reset(&gate.stream);
        }
        self.lose(id, why);
    }

    /// A connection that is to end, with a bound on how long that takes.
    fn ending(&mut self, id: ConnectionId, why: &'static str) -> Option<&mut Connection> {
        let give_up = self.at.now + LINGER;
        let mute = self.exchange.is_mute(id);
        let connection = self.connections.get_mut(&id)?;
        connection.why.get_or_insert(why);
        connection.give_up = Some(give_up);
        if let Stage::Open(socket) = &mut connection.stage {
            socket.get_mut().mute = mute;
            socket.get_mut().clear();
        }
        Some(connection)
    }

    /// Drops connections that took too long to upgrade or to end.
    fn give_up(&mut self) {
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(id, connection)| {
                self.patience(**id, connection)
                    .is_some_and(|due| due <= self.at.now)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.lose(id, "given up");
        }
        self.carry_out();
    }

    fn patience(&self, id: ConnectionId, connection: &Connection) -> Option<Instant> {
        // A mute server has no deadlines for what it does not hear.
        let waits = connection.is_upgrading() && self.exchange.is_mute(id);
        connection.give_up.filter(|_| !waits)
    }

    /// Closes a socket, which also takes it out of the poller, and tells the exchange.
    fn lose(&mut self, id: ConnectionId, why: &'static str) {
        let Some(connection) = self.connections.remove(&id) else {
            return;
        };
        if connection.arrival.get().is_some() && !connection.is_upgrading() {
            self.exchange.gone(self.at, id);
            self.report(SimEvent::Closed {
                connection: id,
                why: connection.why.unwrap_or(why),
            });
        }
    }

    fn publish(&mut self) {
        let mut published = self.shared.stats.lock();
        self.exchange.publish(&mut published);
    }

    fn report(&self, event: SimEvent) {
        if let Some(events) = &self.events {
            // Whoever does not listen misses it, as documented.
            let _ = events.try_send(event);
        }
    }

    fn deadline(&self) -> Option<Instant> {
        let patience = self
            .connections
            .iter()
            .filter_map(|(id, connection)| self.patience(*id, connection));
        let pieces = (!self.in_pieces.is_empty()).then_some(self.at.now);
        patience
            .chain(pieces)
            .chain(self.exchange.deadline())
            .chain(self.accept_at)
            .min()
    }
}

/// Makes the end of a socket a reset.
fn reset(stream: &TcpStream) {
    // If this fails, the client sees an orderly end in place of it.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

fn sent(message: venue::Message) -> Message {
    match message {
        venue::Message::Text(text) => Message::text(text),
        venue::Message::Binary(bytes) => Message::binary(bytes),
    }
}

fn would_block(error: &Error) -> bool {
    matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::WouldBlock)
}

fn read_clocks() -> Moment {
    Moment {
        now: clock::now(),
        utc: clock::utc(),
    }
}

const WAKER: Token = Token(usize::MAX);
const LISTENER: Token = Token(usize::MAX - 1);

/// No connection's number: what holds for it holds for newcomers.
const NOBODY: ConnectionId = 0;

const UPGRADE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a connection that ends may take to do so. Its slot is free meanwhile.
const LINGER: Duration = Duration::from_secs(5);

/// 256 bytes of text are announced.
const HALF_A_FRAME: [u8; 12] = *b"\x81\x7e\x01\x00[{\"T\":\"t";

/// 2^40 bytes of text are announced.
const GIANT_HEADER: [u8; 10] = [0x81, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0];

const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The venue's own limit is not known; the largest request of its official SDKs is far below this.
const LARGEST_MESSAGE: usize = 1 << 20;

const LOST: &str = "lost";
