//! The simulator's sockets: one thread, one poller, no decisions. What the exchange wants is done here; what clients
//! send and how they end is told to it.
//!
//! One law: before a newcomer's authentication is put to the exchange, everything that other sockets of the same key
//! have received is read, so that an end of stream that has arrived is an end of stream that counts.

mod connection;
#[cfg(feature = "compression")]
mod deflate;
mod outgoing;
mod upgrade;

use std::{
    collections::{BTreeSet, HashMap, VecDeque},
    io, mem,
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::Sender;
use mio::{
    Events, Interest, Poll, Token, Waker,
    net::{TcpListener, TcpStream},
};
use tungstenite::{Error, protocol::WebSocketConfig};

use self::connection::{Connection, Stage, Step, Turn};
use super::{
    Shared, SimConfig, SimEvent,
    exchange::{ConnectionId, Exchange, Moment, Reception},
    gate::Gate,
};
use crate::clock;

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
    #[cfg(feature = "compression")]
    compresses: bool,
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
            #[cfg(feature = "compression")]
            compresses: config.compression,
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
                        self.accept_at = Some(clock::after(self.at.now, ACCEPT_AGAIN));
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
                    #[cfg(feature = "compression")]
                    offer: self.compresses.then(Arc::default),
                    #[cfg(feature = "compression")]
                    deflater: None,
                    arrival: Arc::default(),
                    peer,
                    backlog: VecDeque::new(),
                    give_up: Some(clock::after(self.at.now, UPGRADE_TIMEOUT)),
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
                    // The next read may send the answer along with a pong.
                    self.publish();
                }
                Step::Farewell(why) => {
                    connection.why.get_or_insert(why);
                    // A mute server did not hear it, and waits for the end of the stream.
                    if !mute {
                        connection.give_up = Some(clock::after(self.at.now, LINGER));
                        self.exchange.ended(self.at, id);
                    }
                }
                Step::Gone(why) => return self.lose(id, why),
            }
            self.carry_out();
        }
        self.unflushed.insert(id);
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

const ACCEPT_AGAIN: Duration = Duration::from_millis(100);

/// The venue's own limit is not known; the largest request of its official SDKs is far below this.
const LARGEST_MESSAGE: usize = 1 << 20;

const LOST: &str = "lost";

#[cfg(test)]
mod tests;
