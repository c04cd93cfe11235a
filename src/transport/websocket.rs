//! TCP, TLS, the WebSocket and the poller.
//!
//! ```text
//!  connect ▶ Resolving ▶ Connecting ▶ (Securing) ▶ Upgrading ▶ Open ▶ Closing
//!            helper       each address   rustls       tungstenite
//!            thread       in turn
//! ```
//!
//! Readiness is edge-triggered: what the poller reports once holds until a call would block. `more` remembers that
//! something may be left to read, in the socket or in the buffers above it, and then [`wait`](Transport::wait) only
//! looks at the poller instead of sleeping.
//!
//! A poller rounds time-outs to milliseconds. The shorter [linger](Config::linger) is waited for as a parked thread; a
//! wake ends it.

use std::{
    collections::VecDeque,
    io,
    net::{Shutdown, SocketAddr},
    sync::{Arc, OnceLock},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use mio::{Events, Interest, Poll, Token, net::TcpStream};
use tungstenite::{
    Error as WsError, HandshakeError, Message as WsMessage, WebSocket,
    client::IntoClientRequest as _,
    error::ProtocolError,
    handshake::{MidHandshake, client::ClientHandshake},
    http::{HeaderName, HeaderValue, header},
    protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
};

use super::{
    Close, Fault, Incoming, Payload, Target, Transport, Wake, Waker, proxy, resolve::Lookup,
    wire::Wire,
};
use crate::{
    clock,
    config::Config,
    error::{Result as CrateResult, Source},
    market::Timestamp,
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
    resolver: Resolver,
    #[cfg(feature = "tls")]
    tls: super::tls::Client,
    state: State,
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
    Resolving(Lookup, Target),
    Connecting {
        rest: VecDeque<SocketAddr>,
        give_up: Instant,
        target: Target,
    },
    #[cfg(feature = "tls")]
    Securing(Box<Wire>, Target),
    Upgrading(Box<MidHandshake<ClientHandshake<Wire>>>),
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
            resolver: config.resolver.clone(),
            #[cfg(feature = "tls")]
            tls,
            state: State::Idle,
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

    /// Tries the next address. `earlier` is why the one before it failed.
    fn connect_next(
        &mut self,
        mut rest: VecDeque<SocketAddr>,
        target: Target,
        earlier: Option<io::Error>,
    ) -> Result<(), Fault> {
        self.drop_socket();
        self.phase = Phase::Connecting;
        let mut failure = earlier;
        while let Some(address) = rest.pop_front() {
            match self.begin(address) {
                Ok(()) => {
                    // Each address gets an equal share of the time that is left, so one that hangs does not cost the
                    // others theirs.
                    let now = clock::now();
                    let share = target.deadline.saturating_duration_since(now)
                        / (1 + u32::try_from(rest.len()).unwrap_or(u32::MAX - 1));
                    self.state = State::Connecting {
                        give_up: clock::after(now, share),
                        rest,
                        target,
                    };
                    return Ok(());
                }
                Err(error) => failure = Some(error),
            }
        }
        let failure = failure.unwrap_or_else(|| io::ErrorKind::TimedOut.into());
        Err(Fault::Connect(proxy::note(Source::new(failure))))
    }

    fn begin(&mut self, address: SocketAddr) -> io::Result<()> {
        let mut socket = TcpStream::connect(address)?;
        self.poll.registry().register(
            &mut socket,
            SOCKET,
            Interest::READABLE | Interest::WRITABLE,
        )?;
        // Without this, a pong or a request would wait for the peer's acknowledgement of the one before it.
        let _ = socket.set_nodelay(true);
        self.socket = Some(Arc::new(socket));
        Ok(())
    }

    /// Whether the TCP connection is there.
    fn is_connected(&self) -> io::Result<bool> {
        let Some(socket) = &self.socket else {
            return Err(io::ErrorKind::NotConnected.into());
        };
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        match socket.peer_addr() {
            Ok(_) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
            // What macOS says while it is still connecting.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn connected(&mut self, target: Target) -> Result<(), Fault> {
        let Some(socket) = &self.socket else {
            return Err(Fault::Connect(Source::new(io::Error::from(
                io::ErrorKind::NotConnected,
            ))));
        };
        #[cfg_attr(
            not(feature = "tls"),
            expect(unused_mut, reason = "only TLS changes it")
        )]
        let mut wire = Wire::new(Arc::clone(socket), &target.secrets);
        if !target.endpoint.is_secure() {
            return self.upgrade(wire, &target);
        }
        #[cfg(feature = "tls")]
        {
            let fault = |why| Fault::Tls {
                why,
                certificate: true,
            };
            let config = self.tls.get().map_err(|error| fault(error.to_string()))?;
            let config = config.ok_or_else(|| fault(UNREAD_ROOTS.to_owned()))?;
            let tls = super::tls::connection(config, target.endpoint.host()).map_err(fault)?;
            wire.secure(tls);
            self.phase = Phase::Securing;
            self.state = State::Securing(Box::new(wire), target);
            Ok(())
        }
        #[cfg(not(feature = "tls"))]
        Err(Fault::Tls {
            why: "built without the feature `tls`".to_owned(),
            certificate: true,
        })
    }

    fn upgrade(&mut self, wire: Wire, target: &Target) -> Result<(), Fault> {
        self.phase = Phase::Upgrading;
        let protocol = |error: WsError| Fault::Protocol(error.to_string());
        let mut request = target
            .endpoint
            .request_url()
            .into_client_request()
            .map_err(protocol)?;
        for (name, value) in &target.headers {
            if let (Ok(name), Ok(value)) =
                (HeaderName::try_from(*name), HeaderValue::try_from(value))
            {
                request.headers_mut().insert(name, value);
            }
        }
        let middle = ClientHandshake::start(wire, request, Some(self.limits)).map_err(protocol)?;
        self.state = State::Upgrading(Box::new(middle));
        Ok(())
    }

    fn websocket(&mut self) -> Option<&mut WebSocket<Wire>> {
        match &mut self.state {
            State::Open(websocket) | State::Closing(websocket) => Some(websocket),
            _ => None,
        }
    }

    /// Whether those whom a connection to the target is to trust are known. What is wrong with them is said once they are
    /// needed.
    fn has_roots(&mut self, target: &Target) -> bool {
        #[cfg(feature = "tls")]
        if target.endpoint.is_secure() {
            return !matches!(self.tls.get(), Ok(None));
        }
        let _ = target;
        true
    }

    /// The byte stream of the connection, as long as there is one to read.
    fn wire(&mut self) -> Option<&mut Wire> {
        match &mut self.state {
            #[cfg(feature = "tls")]
            State::Securing(wire, _) => Some(wire),
            State::Upgrading(middle) => Some(middle.get_mut().get_mut()),
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
                self.failure = failure(&error);
                Err(fault(error))
            }
        }
    }

    /// Ends the socket: shut down before it is closed, because a copy in a forked child would keep it open.
    fn drop_socket(&mut self) {
        if let Some(websocket) = self.websocket() {
            let read = websocket.get_ref().bytes_read();
            self.bytes_read += read;
        }
        self.state = State::Idle;
        self.more = false;
        self.unsent = false;
        self.peer_closed = false;
        self.failure = None;
        self.waiting.clear();
        if let Some(socket) = self.socket.take() {
            let _ = socket.shutdown(Shutdown::Both);
            // The layers above went with the state, so nobody else holds it.
            if let Some(mut socket) = Arc::into_inner(socket) {
                let _ = self.poll.registry().deregister(&mut socket);
            }
        }
    }

    /// Reads the rest of a connection that nobody wants any more; says whether its end was seen.
    fn drain(&mut self) -> bool {
        let mut scratch = [0; 4_096];
        for _ in 0..DRAIN_BUDGET {
            let Some(socket) = &self.socket else {
                return true;
            };
            match io::Read::read(&mut &**socket, &mut scratch) {
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
        let endpoint = &target.endpoint;
        let lookup = Lookup::start(
            &self.resolver,
            endpoint.host(),
            endpoint.port(),
            &self.waker(),
        );
        self.state = State::Resolving(lookup, target);
        self.phase = Phase::Resolving;
        self.more = true;
    }

    fn progress(&mut self, now: Instant) -> Result<Phase, Fault> {
        loop {
            match std::mem::replace(&mut self.state, State::Idle) {
                State::Resolving(lookup, target) if !self.has_roots(&target) => {
                    self.state = State::Resolving(lookup, target);
                    self.more = false;
                    return Ok(self.phase);
                }
                State::Resolving(lookup, target) => match lookup.take() {
                    None => {
                        self.state = State::Resolving(lookup, target);
                        self.more = false;
                        return Ok(self.phase);
                    }
                    Some(Err(source)) => return Err(Fault::Resolve(proxy::note(source))),
                    Some(Ok(addresses)) => self.connect_next(addresses.into(), target, None)?,
                },
                State::Connecting {
                    rest,
                    give_up,
                    target,
                } => match self.is_connected() {
                    Ok(true) => self.connected(target)?,
                    Ok(false) if now < give_up => {
                        self.state = State::Connecting {
                            rest,
                            give_up,
                            target,
                        };
                        self.more = false;
                        return Ok(self.phase);
                    }
                    Ok(false) => self.connect_next(rest, target, None)?,
                    Err(error) => self.connect_next(rest, target, Some(error))?,
                },
                #[cfg(feature = "tls")]
                State::Securing(mut wire, target) => match wire.handshake() {
                    Ok(true) => self.upgrade(*wire, &target)?,
                    Ok(false) => {
                        self.more = wire.is_spent();
                        self.state = State::Securing(wire, target);
                        return Ok(self.phase);
                    }
                    Err(error) => {
                        self.state = State::HalfClosed;
                        return Err(super::tls::fault(error, wire.speaks_tls()));
                    }
                },
                State::Upgrading(middle) => match middle.handshake() {
                    Ok((websocket, response)) => {
                        self.state = State::Open(Box::new(websocket));
                        // Straight after the upgrade frames may lie in the buffers already.
                        self.more = true;
                        if response
                            .headers()
                            .contains_key(header::SEC_WEBSOCKET_EXTENSIONS)
                        {
                            return Err(Fault::Protocol(
                                "the server uses an extension that nobody offered".to_owned(),
                            ));
                        }
                    }
                    Err(HandshakeError::Interrupted(middle)) => {
                        self.more = middle.get_ref().get_ref().is_spent();
                        self.state = State::Upgrading(Box::new(middle));
                        return Ok(self.phase);
                    }
                    Err(HandshakeError::Failure(error)) => {
                        self.state = State::HalfClosed;
                        return Err(fault(error));
                    }
                },
                state @ (State::Open(_) | State::Closing(_)) => {
                    self.state = state;
                    return Ok(Phase::Live);
                }
                state @ (State::Idle | State::Deaf(_) | State::HalfClosed) => {
                    self.state = state;
                    return Err(Fault::Lost {
                        why: "there is no connection".to_owned(),
                        source: None,
                    });
                }
            }
        }
    }

    fn phase(&self) -> Phase {
        self.phase
    }

    fn obstacle(&self) -> Option<Source> {
        #[cfg(feature = "tls")]
        if let (State::Resolving(_, target), super::tls::Client::Reading { .. }) =
            (&self.state, &self.tls)
            && target.endpoint.is_secure()
        {
            return Some(Source::new(io::Error::other(UNREAD_ROOTS)));
        }
        match self.phase {
            Phase::Resolving | Phase::Connecting => proxy::unused(),
            _ => None,
        }
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.state {
            State::Connecting { give_up, .. } => Some(*give_up),
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
            WsMessage::Close(frame) => Incoming::Close(close(frame)),
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
            // No layer above has anything to say any more. One that hangs in its set-up is shut down below it.
            State::Idle | State::Resolving(..) | State::HalfClosed | State::Upgrading(_) => {
                self.shut_down_writing()
            }
            #[cfg(feature = "tls")]
            State::Securing(..) => self.shut_down_writing(),
            State::Connecting { .. } => self.drop_socket(),
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
                        Err(
                            WsError::ConnectionClosed | WsError::AlreadyClosed | WsError::Io(_),
                        ) => return true,
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
            State::Idle | State::Resolving(..) => true,
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

/// A frame with a code that may not be sent comes as one of tungstenite's own making: 1002, with these words.
fn close(frame: Option<CloseFrame>) -> Close {
    match frame {
        None => Close::Nothing,
        Some(CloseFrame {
            code: CloseCode::Protocol,
            reason,
        }) if reason.as_str() == "Protocol violation" => Close::Forbidden,
        Some(frame) => Close::Code {
            code: frame.code.into(),
            reason: frame.reason.to_string(),
        },
    }
}

/// Everything tungstenite can say, without its `Debug`, which may show whole messages.
fn fault(error: WsError) -> Fault {
    let lost = |why: &str| Fault::Lost {
        why: why.to_owned(),
        source: None,
    };
    match error {
        WsError::Http(response) => Fault::Upgrade {
            status: response.status().as_u16(),
            location: response
                .headers()
                .get(header::LOCATION)
                .filter(|_| response.status().is_redirection())
                .and_then(|value| value.to_str().ok())
                .map(target),
            retry_after: response
                .headers()
                .get(header::RETRY_AFTER)
                .and_then(|value| value.to_str().ok())
                .and_then(|value| retry_after(value, clock::utc())),
        },
        WsError::Io(error) => Fault::Lost {
            why: "the socket failed".to_owned(),
            source: Some(Source::new(error)),
        },
        WsError::ConnectionClosed | WsError::AlreadyClosed => lost("closed by the peer"),
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => {
            lost("ended by the peer without a close frame")
        }
        WsError::Protocol(ProtocolError::HandshakeIncomplete) => {
            lost("ended by the peer during the upgrade")
        }
        WsError::WriteBufferFull(_) => lost(DOES_NOT_READ),
        WsError::AttackAttempt => Fault::Protocol(
            "the upgrade response is too long or comes in too small pieces".to_owned(),
        ),
        other => Fault::Protocol(other.to_string()),
    }
}

/// The code that RFC 6455, 7.4.1, has for what the peer did, if it broke the protocol.
fn failure(error: &WsError) -> Option<CloseCode> {
    match error {
        WsError::Protocol(ProtocolError::ResetWithoutClosingHandshake) => None,
        WsError::Protocol(_) => Some(CloseCode::Protocol),
        WsError::Capacity(_) => Some(CloseCode::Size),
        WsError::Utf8(_) => Some(CloseCode::Invalid),
        _ => None,
    }
}

/// Where a redirect leads, without what may be secret: a query, a fragment, a user's name and password.
fn target(location: &str) -> String {
    let end = location.find(['?', '#']).unwrap_or(location.len());
    let shown = &location[..end];
    let Some((scheme, rest)) = shown.split_once("//") else {
        return shown.to_owned();
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}//{host}{path}")
}

/// `Retry-After` is a number of seconds or a date (RFC 9110, 10.2.3). Some servers write the date as a Unix time, in
/// seconds or milliseconds. A time that has passed asks for nothing.
fn retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let Ok(number) = value.trim().parse::<u64>() else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(value.trim())
            .ok()?;
        return until(now, date.as_nanosecond());
    };
    for nanos_per_unit in [1_000_000_000, 1_000_000] {
        let time = i128::from(number) * nanos_per_unit;
        if (time - i128::from(now.as_nanos())).abs() < YEAR_NANOS {
            return until(now, time);
        }
    }
    Some(Duration::from_secs(number))
}

/// How long it is until a time, in nanoseconds since 1970, that lies ahead.
fn until(now: Timestamp, time: i128) -> Option<Duration> {
    let nanos = time.checked_sub(i128::from(now.as_nanos()))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// A number is a Unix time if it is that near to now: as seconds to wait it would be decades.
const YEAR_NANOS: i128 = 366 * 24 * 3_600 * 1_000_000_000;

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
mod tests {
    use super::*;
    use crate::{credentials::Credentials, venue::Piece};

    #[test]
    fn a_redirect_is_shown_without_what_may_be_secret() {
        for (location, shown) in [
            ("wss://h/v2/sip", "wss://h/v2/sip"),
            ("https://me:s3@h:8/login?token=s3#s3", "https://h:8/login"),
            ("//me@h", "//h"),
            ("/v2/sip?token=s3", "/v2/sip"),
            ("?s3", ""),
        ] {
            assert_eq!(target(location), shown);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_time() {
        let now: Timestamp = "2026-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(retry_after("120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            retry_after("Fri, 06 Nov 2026 08:49:37 GMT", now),
            Some(Duration::from_secs(37))
        );
        assert_eq!(retry_after("Fri, 06 Nov 2026 08:40:00 GMT", now), None);
        assert_eq!(retry_after("soon", now), None);
        // The same moments as Unix times.
        let unix = now.as_nanos() / 1_000_000_000;
        for (number, wait) in [
            (unix + 37, Some(37)),
            ((unix + 37) * 1_000, Some(37)),
            (unix - 540, None),
            (unix + 30 * 86_400, Some(30 * 86_400)),
            (86_400, Some(86_400)),
            // No time near now.
            (1_000_000_000, Some(1_000_000_000)),
        ] {
            let wait = wait.map(Duration::from_secs);
            assert_eq!(retry_after(&number.to_string(), now), wait, "{number}");
        }
    }

    #[test]
    fn secret_messages_go_out_in_order_with_all_others_though_the_socket_was_blocked() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (read, may_read) = crossbeam_channel::bounded::<()>(1);
        let serve = move || {
            let (socket, _) = listener.accept().unwrap();
            socket.set_read_timeout(Some(WAIT)).unwrap();
            let mut peer = tungstenite::accept(socket).unwrap();
            may_read.recv().unwrap();
            let mut read = Vec::new();
            while read.last().is_none_or(|last| last != "last secret") {
                match peer.read().unwrap() {
                    WsMessage::Text(text) => read.push(text.to_string()),
                    WsMessage::Ping(_) => read.push("ping".to_owned()),
                    _ => {}
                }
            }
            read
        };
        let order = thread::scope(|scope| {
            let server = scope.spawn(serve);
            let mut transport = open(address);
            while !transport.unsent {
                transport.send(Message::Binary(vec![0; 1 << 16])).unwrap();
            }
            transport.send(Message::Text("before".to_owned())).unwrap();
            transport.send_secret(secret("a secret")).unwrap();
            transport.send_secret(secret("another secret")).unwrap();
            transport.send(Message::Text("after".to_owned())).unwrap();
            transport.ping().unwrap();
            transport.send_secret(secret("last secret")).unwrap();
            read.send(()).unwrap();
            let deadline = clock::now() + WAIT;
            while transport.unsent && clock::now() < deadline {
                transport.wait(Some(deadline));
                transport.flush().unwrap();
            }
            server.join().unwrap()
        });
        assert_eq!(
            order,
            [
                "before",
                "a secret",
                "another secret",
                "after",
                "ping",
                "last secret"
            ]
        );
    }

    fn secret(text: &str) -> SecretMessage {
        SecretMessage::text(|piece| piece(Piece::Plain(text)))
    }

    fn open(address: SocketAddr) -> WebSocketTransport {
        let mut transport = WebSocketTransport::new(&Config::default(), &Rules::new()).unwrap();
        transport.connect(Target {
            endpoint: format!("ws://{address}").parse().unwrap(),
            headers: Vec::new(),
            secrets: Credentials::none(),
            deadline: clock::now() + WAIT,
        });
        while transport.progress(clock::now()).unwrap() != Phase::Live {
            transport.wait(Some(clock::now() + WAIT));
        }
        transport
    }

    #[test]
    fn messages_behind_a_secret_that_a_peer_does_not_read_are_bounded() {
        let mut transport = WebSocketTransport::new(&Config::default(), &Rules::new()).unwrap();
        let mut sent = 0;
        while transport
            .enqueue(Outgoing::Secret(secret("a secret")))
            .is_ok()
        {
            sent += 1;
        }
        assert_eq!(sent, MAX_WAITING);
        assert!(matches!(
            transport.write(WsMessage::text("after")),
            Err(Fault::Lost { why, .. }) if why == DOES_NOT_READ
        ));
    }

    const WAIT: Duration = Duration::from_secs(60);
}
