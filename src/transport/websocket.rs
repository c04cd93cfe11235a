//! TCP, a proxy, TLS, the WebSocket and the poller.
//!
//! ```text
//!  connect ▶ Resolving ▶ Connecting ▶ (Tunneling) ▶ (Securing) ▶ Upgrading ▶ Open ▶ Closing
//!            helper      the first of   proxy         rustls       tungstenite
//!            thread      its addresses
//! ```
//! The set-up, up to `Open`, stands in `setup`.
//!
//! Readiness is edge-triggered: what the poller reports once holds until a call would block. `more` remembers that
//! something may be left to read, in the socket or in the buffers above it, and then [`wait`](Transport::wait) only
//! looks at the poller instead of sleeping.
//!
//! A poller rounds time-outs to milliseconds. The shorter [linger](Config::linger) is waited for as a parked thread; a
//! wake ends it.

mod faults;
mod setup;

use std::{
    collections::VecDeque,
    io,
    net::Shutdown,
    sync::{Arc, OnceLock},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use mio::{Events, Poll, Token, net::TcpStream};
use tungstenite::{
    Error as WsError, Message as WsMessage, WebSocket,
    error::ProtocolError,
    protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
};
use zeroize::Zeroizing;

use self::setup::SetUp;
use super::{
    Fault, Incoming, Payload, Target, Transport, Wake, Waker, addresses::KnownAddresses,
    connecting, wire::Wire,
};
use crate::{
    clock,
    config::Config,
    error::Result as CrateResult,
    phase::Phase,
    resolver::Resolver,
    venue::{Message, Rules, SecretMessage},
};

/// The only socket.
pub(crate) struct WebSocketTransport {
    poll: Poll,
    events: Events,
    waker: Arc<PollWaker>,
    linger: Duration,
    limits: WebSocketConfig,
    /// Up to which size a message may be compressed, where compression is offered.
    #[cfg(feature = "compression")]
    inflates: Option<usize>,
    resolver: Resolver,
    known: KnownAddresses,
    #[cfg(feature = "tls")]
    tls: super::tls::Client,
    state: State,
    /// What is to be said of the set-up, though it goes on.
    remark: Option<String>,
    /// How far the set-up got.
    phase: Phase,
    /// The peer's close frame was read, and answered.
    peer_closed: bool,
    /// The peer broke the protocol: what the close frame will say of it.
    failure: Option<CloseCode>,
    /// The socket of the state, for shutting it down whatever became of the layers above.
    socket: Option<Arc<TcpStream>>,
    /// Something may be left to read.
    more: bool,
    /// Something was read since the last wait.
    busy: bool,
    /// Something was kept because the socket did not take it.
    unsent: bool,
    /// What waits until nothing else is on its way out, in order: a secret frame first, and what was sent after it.
    waiting: VecDeque<Outgoing>,
    bytes_read: u64,
}

enum Outgoing {
    Message(WsMessage),
    Secret(SecretMessage),
}

enum State {
    Idle,
    SettingUp(Box<SetUp>),
    Open(Box<WebSocket<Wire>>),
    /// The close frame is queued. The peer's own, and then its end of stream, are still to come.
    Closing(Box<WebSocket<Wire>>),
    /// The same where nothing may be read any more without the secrets that were masked in it: only the end of stream
    /// is to come.
    Deaf(Box<WebSocket<Wire>>),
    /// The same before there was a WebSocket, or with nothing left to send.
    HalfClosed,
}

impl WebSocketTransport {
    /// A transport with a poller of its own.
    pub(crate) fn new(config: &Config, rules: &Rules) -> CrateResult<Self, io::Error> {
        let poll = Poll::new()?;
        let waker = Arc::new(PollWaker {
            poll: mio::Waker::new(poll.registry(), WAKE)?,
            parked: OnceLock::new(),
        });
        #[cfg(feature = "tls")]
        let tls = super::tls::Client::new(config, &(Arc::clone(&waker) as Waker))
            .map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            poll,
            events: Events::with_capacity(8),
            waker,
            linger: config.linger,
            limits: WebSocketConfig::default()
                .read_buffer_size(config.read_buffer_size)
                .max_message_size(Some(rules.message_size))
                .max_frame_size(Some(rules.message_size))
                .write_buffer_size(0)
                .max_write_buffer_size(MAX_UNSENT.max(rules.message_size.saturating_mul(2))),
            #[cfg(feature = "compression")]
            inflates: (config.compression && rules.compresses).then_some(rules.message_size),
            resolver: config.resolver.clone(),
            known: KnownAddresses::default(),
            #[cfg(feature = "tls")]
            tls,
            state: State::Idle,
            remark: None,
            phase: Phase::Resolving,
            peer_closed: false,
            failure: None,
            socket: None,
            more: false,
            busy: false,
            unsent: false,
            waiting: VecDeque::new(),
            bytes_read: 0,
        })
    }

    pub(crate) fn waker(&self) -> Waker {
        Arc::<PollWaker>::clone(&self.waker)
    }

    fn websocket(&mut self) -> Option<&mut WebSocket<Wire>> {
        match &mut self.state {
            State::Open(websocket) | State::Closing(websocket) => Some(websocket),
            _ => None,
        }
    }

    /// The byte stream of the connection, as long as there is one to read.
    fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.state {
            State::SettingUp(set_up) => set_up.wire(),
            State::Open(websocket) | State::Closing(websocket) => Some(websocket.get_mut()),
            _ => None,
        }
    }

    /// What a call on the WebSocket came to: something, not now, or a fault.
    fn outcome<T>(&mut self, result: Result<T, WsError>) -> Result<Option<T>, Fault> {
        match result {
            Ok(value) => Ok(Some(value)),
            Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => {
                self.failure = faults::failure(&error);
                Err(faults::fault(error))
            }
        }
    }

    /// Ends the socket: shut down before it is closed, because a copy in a forked child would keep it open.
    fn drop_socket(&mut self) {
        if let Some(websocket) = self.websocket() {
            let read = websocket.get_ref().bytes_read();
            self.bytes_read += read;
        }
        if let State::SettingUp(set_up) = &mut self.state {
            set_up.end(self.poll.registry());
        }
        self.state = State::Idle;
        self.more = false;
        self.unsent = false;
        self.peer_closed = false;
        self.failure = None;
        self.waiting.clear();
        // The layers above went with the state, so nobody else holds it.
        if let Some(socket) = self.socket.take().and_then(Arc::into_inner) {
            connecting::end(socket, self.poll.registry());
        }
    }

    /// Reads the rest of a connection that nobody wants any more; says whether its end was seen.
    fn drain(&mut self) -> bool {
        // A proxy may repeat there what it was sent.
        let mut scratch = Zeroizing::new([0; 4_096]);
        for _ in 0..DRAIN_BUDGET {
            let Some(socket) = &self.socket else {
                return true;
            };
            match io::Read::read(&mut &**socket, &mut *scratch) {
                Ok(0) => return true,
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.more = false;
                    return false;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return true,
            }
        }
        self.more = true;
        false
    }
}

impl Transport for WebSocketTransport {
    fn connect(&mut self, target: Target) {
        self.drop_socket();
        self.begin(target);
    }

    fn progress(&mut self, now: Instant) -> Result<Phase, Fault> {
        match std::mem::replace(&mut self.state, State::Idle) {
            State::SettingUp(set_up) => {
                let is_open = self.go_on(*set_up, now)?;
                Ok(if is_open { Phase::Live } else { self.phase })
            }
            state @ (State::Open(_) | State::Closing(_)) => {
                self.state = state;
                Ok(Phase::Live)
            }
            state @ (State::Idle | State::Deaf(_) | State::HalfClosed) => {
                self.state = state;
                Err(Fault::Lost {
                    why: "there is no connection".to_owned(),
                    source: None,
                })
            }
        }
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn overdue(&self, why: String) -> Fault {
        match &self.state {
            State::SettingUp(set_up) => self.overdue_in(set_up, why),
            _ => Fault::Lost { why, source: None },
        }
    }

    fn take_remark(&mut self) -> Option<String> {
        self.remark.take()
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::SettingUp(set_up) => set_up.deadline(),
            _ => None,
        }
    }

    fn read(&mut self) -> Result<Option<(Incoming, Instant)>, Fault> {
        let Some(websocket) = self.websocket() else {
            return Ok(None);
        };
        let result = websocket.read();
        let (read_at, is_spent) = (
            websocket.get_ref().read_at(),
            websocket.get_ref().is_spent(),
        );
        let Some(message) = self.outcome(result)? else {
            self.more = is_spent;
            return Ok(None);
        };
        self.more = true;
        self.busy = true;
        self.peer_closed |= matches!(message, WsMessage::Close(_));
        let incoming = match message {
            WsMessage::Text(text) => Incoming::Message(Payload::Text(text)),
            WsMessage::Binary(bytes) => Incoming::Message(Payload::Binary(bytes)),
            WsMessage::Ping(_) | WsMessage::Pong(_) | WsMessage::Frame(_) => Incoming::Control,
            WsMessage::Close(frame) => Incoming::Close(faults::close(frame)),
        };
        Ok(Some((incoming, read_at)))
    }

    fn send(&mut self, message: Message) -> Result<(), Fault> {
        let message = match message {
            Message::Text(text) => WsMessage::text(text),
            Message::Binary(bytes) => WsMessage::binary(bytes),
        };
        self.write(message)
    }

    fn send_secret(&mut self, message: SecretMessage) -> Result<(), Fault> {
        self.enqueue(Outgoing::Secret(message))?;
        self.flush()
    }

    fn ping(&mut self) -> Result<(), Fault> {
        self.write(WsMessage::Ping(tungstenite::Bytes::new()))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        if !self.unsent {
            return Ok(());
        }
        loop {
            let Some(websocket) = self.websocket() else {
                return Ok(());
            };
            let flushed = websocket.flush();
            if self.outcome(flushed)?.is_none() {
                return Ok(());
            }
            // Nothing is pending above: a queued pong can no longer get into the middle of a secret frame.
            let Some(next) = self.waiting.pop_front() else {
                break;
            };
            let Some(websocket) = self.websocket() else {
                return Ok(());
            };
            let written = match next {
                Outgoing::Message(message) => websocket.write(message),
                Outgoing::Secret(secret) => {
                    websocket.get_mut().put_secret(secret).map_err(WsError::Io)
                }
            };
            self.outcome(written)?;
        }
        self.unsent = false;
        Ok(())
    }

    fn has_unsent(&self) -> bool {
        self.unsent
    }

    fn unmask(&mut self) {
        if let Some(websocket) = self.websocket() {
            websocket.get_mut().unmask();
            // What the mask held back is in no socket any more: the poller would not tell.
            self.more = true;
        }
    }

    fn close(&mut self) {
        self.waiting.clear();
        match std::mem::replace(&mut self.state, State::HalfClosed) {
            State::Open(mut websocket) => {
                let frame = CloseFrame {
                    code: self.failure.unwrap_or(CloseCode::Normal),
                    reason: "".into(),
                };
                // A fault here shows again as soon as the end of the stream is looked for.
                let _ = websocket.close(Some(frame));
                let masks = websocket.get_ref().is_masking();
                let is_torn = websocket.get_mut().forget_secrets();
                if self.peer_closed || self.failure.is_some() || is_torn {
                    // Both have said so; or the peer broke the protocol and cannot be asked to keep to it now; or half
                    // of a frame was sent. Nothing is read any more, but for the end of the stream.
                    websocket.get_mut().shut_down_writing();
                } else if masks {
                    self.bytes_read += websocket.get_ref().bytes_read();
                    self.state = State::Deaf(websocket);
                } else {
                    self.unsent = true;
                    self.state = State::Closing(websocket);
                }
            }
            state @ (State::Closing(_) | State::Deaf(_)) => self.state = state,
            State::SettingUp(mut set_up) => {
                // No layer above has anything to say any more. One that hangs in its set-up is shut down below it.
                set_up.end(self.poll.registry());
                self.shut_down_writing();
            }
            State::Idle | State::HalfClosed => self.shut_down_writing(),
        }
        self.more = true;
    }

    fn is_closed(&mut self) -> bool {
        match &mut self.state {
            State::Closing(websocket) => {
                let _ = websocket.flush();
                for _ in 0..DRAIN_BUDGET {
                    match websocket.read() {
                        Ok(WsMessage::Close(_)) => {
                            // Both have said so: no need to wait for the server to end the TCP connection first.
                            websocket.get_mut().shut_down_writing();
                        }
                        Ok(_) => {}
                        Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                            self.more = websocket.get_ref().is_spent();
                            return false;
                        }
                        Err(WsError::ConnectionClosed | WsError::AlreadyClosed) => return true,
                        // Of bytes that make no sense a socket says nothing: it is not at its end then.
                        Err(WsError::Io(error)) if error.kind() != io::ErrorKind::InvalidData => {
                            return true;
                        }
                        Err(WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => {
                            return true;
                        }
                        Err(_) => {
                            // It does not even close by the rules. Its end of stream is all that is left to see.
                            websocket.get_mut().shut_down_writing();
                            self.state = State::HalfClosed;
                            return self.drain();
                        }
                    }
                }
                self.more = true;
                false
            }
            State::Deaf(websocket) => {
                if !matches!(
                    websocket.flush(),
                    Err(WsError::Io(error)) if error.kind() == io::ErrorKind::WouldBlock
                ) {
                    websocket.get_mut().shut_down_writing();
                    self.state = State::HalfClosed;
                }
                self.drain()
            }
            State::Idle => true,
            _ => self.drain(),
        }
    }

    fn abort(&mut self) {
        self.drop_socket();
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        if let Some(wire) = self.wire() {
            wire.begin_turn();
        }
        if std::mem::take(&mut self.busy) && !self.more && !self.linger.is_zero() {
            // Bytes that come now gather in the socket. They are read without asking the poller first: it will tell of
            // what comes behind them, and of a wake that cut this short.
            self.waker.park(self.linger);
            self.more = true;
            return;
        }
        let timeout = if self.more {
            Some(Duration::ZERO)
        } else {
            deadline.map(|deadline| deadline.saturating_duration_since(clock::now()))
        };
        match self.poll.poll(&mut self.events, timeout) {
            Ok(()) => {}
            // A signal. The caller looks at everything again anyway.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A poller that fails would turn the loop into a spin. There is no way to go on without one; the panic
            // ends the stream with a typed error for everybody who waits.
            #[expect(clippy::panic, reason = "there is no way to go on without a poller")]
            Err(error) => panic!("the poller failed: {error}"),
        }
        for event in &self.events {
            if event.token() == SOCKET {
                self.more = true;
            }
        }
    }

    fn bytes_read(&self) -> u64 {
        let current = match &self.state {
            State::Open(websocket) | State::Closing(websocket) => websocket.get_ref().bytes_read(),
            _ => 0,
        };
        self.bytes_read + current
    }
}

impl WebSocketTransport {
    fn write(&mut self, message: WsMessage) -> Result<(), Fault> {
        if self.waiting.is_empty() {
            let Some(websocket) = self.websocket() else {
                return Ok(());
            };
            let written = websocket.write(message);
            self.unsent = true;
            self.outcome(written)?;
        } else {
            self.enqueue(Outgoing::Message(message))?;
        }
        self.flush()
    }

    /// Puts something behind all that was to be sent before it.
    fn enqueue(&mut self, outgoing: Outgoing) -> Result<(), Fault> {
        if self.waiting.len() >= MAX_WAITING {
            return Err(Fault::Lost {
                why: DOES_NOT_READ.to_owned(),
                source: None,
            });
        }
        self.waiting.push_back(outgoing);
        self.unsent = true;
        Ok(())
    }

    fn shut_down_writing(&self) {
        if let Some(socket) = &self.socket {
            // A socket that is gone already needs no shutting down.
            let _ = socket.shutdown(Shutdown::Write);
        }
    }
}

impl Drop for WebSocketTransport {
    fn drop(&mut self) {
        self.drop_socket();
    }
}

struct PollWaker {
    poll: mio::Waker,
    /// The stream's thread, if it ever lingers.
    parked: OnceLock<Thread>,
}

impl PollWaker {
    /// Waits for `time`, or less: until a wake, and a wake that came before may cut it short, too.
    fn park(&self, time: Duration) {
        self.parked.get_or_init(thread::current);
        thread::park_timeout(time);
    }
}

impl Wake for PollWaker {
    fn wake(&self) {
        // An eventfd that cannot be written to is full of wakes already.
        let _ = self.poll.wake();
        // Behind the other, which therefore is seen as soon as this one has ended the rest.
        if let Some(thread) = self.parked.get() {
            thread.unpark();
        }
    }
}

const DOES_NOT_READ: &str = "the peer does not read what it is sent";
#[cfg(feature = "tls")]
const UNREAD_ROOTS: &str = "the certificates that this machine trusts are still being read";
const SOCKET: Token = Token(0);
const WAKE: Token = Token(1);
/// A peer that lets this much pile up, and more than the largest message, does not read.
const MAX_UNSENT: usize = 1 << 20;
/// As many messages behind a secret frame show the same.
const MAX_WAITING: usize = 1_024;
/// Reads per turn from a connection that is being closed, so that a flood cannot outlast the bound.
const DRAIN_BUDGET: usize = 256;

#[cfg(test)]
mod tests;
