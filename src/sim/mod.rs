//! An exchange in the box: Alpaca's stock streams from the server's side, on loopback, with its rules and, on
//! request, with faults. For this crate's tests, for a demo without credentials, and for your own tests.
//!
//! It is on one thread, reads no environment and needs no network beyond loopback. A seed makes the market and the
//! faults; the trade ids of each symbol are 1, 2, 3, …, and the bid sizes of its quotes are 1, 2, 3, …, 1,000,000, 1,
//! …, so that a reader can prove that nothing is missing between two of them.
//!
//! # Examples
//! ```
//! use trunkline::sim::{Sim, SimConfig};
//! let sim = Sim::start(SimConfig::default())?;
//! let venue = sim.stocks(); // what to open, with `sim.credentials()`
//! assert!(venue.to_string().starts_with("ws://127.0.0.1:"));
//! assert_eq!(sim.stats().connections_opened, 0);
//! # Ok::<(), trunkline::Error>(())
//! ```

mod exchange;
mod fault;
mod server;
mod tape;

use std::{
    collections::BTreeMap,
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::Sender;
use mio::Waker;
use parking_lot::Mutex;

pub use self::fault::{Fault, FaultKind, FaultScript};
use self::{exchange::Control, server::Server};
use crate::{
    alpaca::{self, Feed, MarketData},
    credentials::{Credentials, Fingerprint},
    error::{Error, Result, Source},
    key::{Endpoint, StreamKey},
    market::{MarketEvent, Symbol},
    thread,
};

/// A running simulator. Dropping it closes every connection, and returns when its thread has ended.
///
/// What changes its course (`push`, `cut`, …) returns at once: the simulator's thread carries it out soon after, in
/// the order of the calls. None of its methods blocks, except that `Drop` joins the thread, which runs no foreign code.
pub struct Sim {
    address: SocketAddr,
    credentials: Credentials,
    shared: Arc<Shared>,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
}

/// What the handle and the thread share. Each lock is held for a moment, and never two of them.
#[derive(Default)]
struct Shared {
    desk: Mutex<Desk>,
    stats: Mutex<SimStats>,
}

#[derive(Default)]
struct Desk {
    controls: Vec<Control>,
    stop: bool,
}

impl Sim {
    /// Starts a simulator.
    ///
    /// # Errors
    /// [`Error::InvalidConfig`] when a value of `config` makes no sense or its address cannot be listened on, and
    /// [`Error::Spawn`] when the system refuses a thread or a poller.
    pub fn start(config: SimConfig) -> Result<Self> {
        config.validate()?;
        let cannot_listen = |error: std::io::Error| Error::InvalidConfig {
            why: format!("cannot listen on {}: {error}", config.listen),
        };
        let listener = mio::net::TcpListener::bind(config.listen).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let credentials = match &config.accept {
            Accept::Only(credentials) => credentials.clone(),
            Accept::Any => {
                Credentials::new("PKSIMULATED000000001", "simulated-secret-of-no-value")?
            }
        };
        let refused = |error| Error::Spawn {
            stream: StreamKey::new(&endpoint_at(address, ""), &credentials),
            source: Source::new(error),
        };
        let shared = Arc::new(Shared::default());
        let (server, waker) =
            Server::new(config, listener, Arc::clone(&shared)).map_err(refused)?;
        let thread = thread::spawn("tl-sim".to_owned(), move || server.run()).map_err(refused)?;
        Ok(Self {
            address,
            credentials,
            shared,
            waker,
            thread: Some(thread),
        })
    }

    /// Where it listens.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint at `path`, such as `/v2/iex`.
    ///
    /// # Panics
    /// When `path` cannot be part of a URL: white space, control characters, `#`.
    #[must_use]
    pub fn endpoint(&self, path: &str) -> Endpoint {
        endpoint_at(self.address, path)
    }

    /// The stock stream to open: the IEX feed.
    #[must_use]
    pub fn stocks(&self) -> MarketData {
        alpaca::stocks(Feed::Iex).at(self.endpoint(Feed::Iex.path()))
    }

    /// Credentials that it accepts: those of [`Accept::Only`], or made-up ones that look like a paper account's.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        self.credentials.clone()
    }

    /// What has happened so far. What a client has been told is in it.
    #[must_use]
    pub fn stats(&self) -> SimStats {
        self.shared.stats.lock().clone()
    }

    /// Sends an event to those who are subscribed to it.
    pub fn push(&self, event: MarketEvent) {
        self.order(Control::Push(Box::new(event)));
    }

    /// Ends every connection without a close frame, as a crash or a deployment at the venue does.
    pub fn cut(&self) {
        self.order(Control::Cut);
    }

    /// Resets every connection, as a broken middlebox does.
    pub fn reset(&self) {
        self.order(Control::Reset);
    }

    /// Closes every connection with `code`, in good order.
    pub fn close_all(&self, code: u16) {
        self.order(Control::CloseAll(code));
    }

    /// Sends `text`, whatever it is, as one text frame to every authenticated connection.
    pub fn send_raw(&self, text: impl Into<String>) {
        self.order(Control::SendRaw(text.into()));
    }

    /// Stops the market: only pushed events are sent.
    pub fn pause_data(&self) {
        self.order(Control::PauseData);
    }

    /// Lets the market go on, from where it stopped.
    pub fn resume_data(&self) {
        self.order(Control::ResumeData);
    }

    /// While mute, it ignores whatever clients send and sends nothing: no data, no reply, no pong, no answer to a
    /// newcomer's upgrade. TCP stays open. Messages that came meanwhile are lost; pings are answered afterwards.
    pub fn mute(&self, mute: bool) {
        self.order(Control::Mute(mute));
    }

    fn order(&self, control: Control) {
        self.shared.desk.lock().controls.push(control);
        self.wake();
    }

    /// Whether the thread will notice.
    fn wake(&self) -> bool {
        self.waker.wake().is_ok()
    }
}

impl Drop for Sim {
    fn drop(&mut self) {
        self.shared.desk.lock().stop = true;
        if self.wake()
            && let Some(thread) = self.thread.take()
        {
            // A panic was printed where it happened; there is nobody to tell here.
            let _ = thread.join();
        }
    }
}

impl fmt::Debug for Sim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sim")
            .field("address", &self.address)
            .finish_non_exhaustive()
    }
}

/// The settings of a [`Sim`].
///
/// # Examples
/// ```
/// use trunkline::sim::{Sim, SimConfig};
/// let mut config = SimConfig::default();
/// config.rate = 1_000;
/// config.faults = "reset@5s,null@1s".parse()?;
/// let sim = Sim::start(config)?;
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SimConfig {
    /// Where to listen. Default 127.0.0.1, on a free port.
    pub listen: SocketAddr,
    /// Which credentials are right. Default any.
    pub accept: Accept,
    /// How long a client may take to authenticate. Default 10 s.
    pub auth_timeout: Duration,
    /// How many connections one key may have on one path. Default 1.
    pub connection_limit: usize,
    /// How much one connection may be subscribed to, in the unit of `limit_counts`. Default no limit; the venue's free
    /// plan has 30.
    pub symbol_limit: Option<usize>,
    /// What `symbol_limit` counts. Default pairs of channel and symbol.
    pub limit_counts: LimitCounts,
    /// How many bytes may wait for a client that does not read before it is cut as a slow client. Default 8 MiB, at
    /// least 1 KiB. What the kernel holds comes on top.
    pub output_limit: usize,
    /// Makes the market and the faults. Default 1.
    pub seed: u64,
    /// Market events per second, of all symbols together. Default 100, at most 10 million; 0 for nothing but pushed
    /// events.
    pub rate: u32,
    /// The most items in one frame of data. Default 50.
    pub batch: usize,
    /// The symbols that `*` stands for. Others join when they are first subscribed to. Default AAPL, MSFT, NVDA, TSLA,
    /// AMD and SPY; on `/v2/test`, `*` is FAKEPACA alone.
    pub symbols: Vec<Symbol>,
    /// What goes wrong by itself. Default nothing.
    pub faults: FaultScript,
    /// Where to tell what happens to connections. The simulator never waits for room there: what does not fit is not
    /// told.
    pub events: Option<Sender<SimEvent>>,
}

impl Default for SimConfig {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            accept: Accept::Any,
            auth_timeout: Duration::from_secs(10),
            connection_limit: 1,
            symbol_limit: None,
            limit_counts: LimitCounts::Pairs,
            output_limit: 8 << 20,
            seed: 1,
            rate: 100,
            batch: 50,
            symbols: ["AAPL", "MSFT", "NVDA", "TSLA", "AMD", "SPY"]
                .map(Symbol::from)
                .into(),
            faults: FaultScript::default(),
            events: None,
        }
    }
}

impl SimConfig {
    fn validate(&self) -> Result<()> {
        let invalid = |why: &str| {
            Err(Error::InvalidConfig {
                why: why.to_owned(),
            })
        };
        if self.connection_limit == 0 {
            return invalid("`connection_limit` is 0: nobody could connect");
        }
        if self.batch == 0 {
            return invalid("`batch` is 0: a frame holds at least one item");
        }
        if self.rate > 10_000_000 {
            return invalid("`rate` is above 10,000,000 per second");
        }
        if self.output_limit < 1024 {
            return invalid("`output_limit` is below 1024 bytes");
        }
        if self
            .faults
            .iter()
            .any(|fault| fault.every < Duration::from_millis(1))
        {
            return invalid("a fault's period is below 1 ms");
        }
        if let Some(bad) = self
            .symbols
            .iter()
            .find(|symbol| symbol.as_str() == "*" || !exchange::is_well_formed(symbol))
        {
            return invalid(&format!(
                "`{}` is no symbol: 1 to 32 ASCII characters, no lower case, no white space",
                bad.escape_debug()
            ));
        }
        Ok(())
    }
}

/// Which credentials a [`Sim`] takes for right.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub enum Accept {
    /// All that are well formed.
    #[default]
    Any,
    /// These.
    Only(Credentials),
}

/// What [`SimConfig::symbol_limit`] counts. `*` counts as one symbol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LimitCounts {
    /// Pairs of channel and symbol, as measured at the venue.
    #[default]
    Pairs,
    /// Symbols, whatever their channels, as its documentation reads.
    Symbols,
}

/// What a [`Sim`] has seen and done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimStats {
    /// Connections that were upgraded to WebSockets.
    pub connections_opened: u64,
    /// Connections that are open now: from the upgrade until the client's end of stream was seen.
    pub connections_open: usize,
    /// The most sockets that one key ever had open at once on one path, looked at whenever one of them authenticates,
    /// and after everything that other ones had sent was read. More than 1 is a client that breaks the venue's rule:
    /// it came before its last socket was closed. Sockets that were refused count until they are closed.
    pub most_open_per_key: usize,
    /// Authentications refused with 406, "connection limit exceeded".
    pub limit_errors: u64,
    /// Requests to subscribe and to unsubscribe from authenticated clients, refused ones included.
    pub requests: u64,
    /// Authentications refused with 402, "auth failed".
    pub auth_failures: u64,
    /// Data items sent, counted per connection. Faulty items are not among them.
    pub messages_sent: u64,
    /// Connections cut because they did not read.
    pub slow_clients: u64,
    /// Faults of the script that were played.
    pub faults_injected: u64,
    /// For each symbol, the id of the last trade that was sent to anybody.
    pub last_trade_ids: BTreeMap<Symbol, i64>,
}

/// Something that happened to a connection. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimEvent {
    /// A client was upgraded to a WebSocket.
    Opened {
        /// The connection's number.
        connection: usize,
        /// The path's feed.
        feed: Feed,
        /// The client.
        peer: SocketAddr,
    },
    /// A client came and was not upgraded: a path that does not exist, or no WebSocket handshake at all.
    NotUpgraded {
        /// The connection's number.
        connection: usize,
        /// The client.
        peer: SocketAddr,
        /// What was wrong.
        why: String,
    },
    /// A client authenticated.
    Authenticated {
        /// The connection's number.
        connection: usize,
        /// The fingerprint of its credentials.
        fingerprint: Fingerprint,
    },
    /// A client was told that something is wrong.
    Refused {
        /// The connection's number.
        connection: usize,
        /// The venue's number for it.
        code: u16,
        /// The venue's words for it.
        message: &'static str,
    },
    /// A connection is no more.
    Closed {
        /// The connection's number.
        connection: usize,
        /// How it ended.
        why: &'static str,
    },
}

impl fmt::Display for SimEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened {
                connection,
                feed,
                peer,
            } => write!(f, "#{connection} opened {} from {peer}", feed.path()),
            Self::NotUpgraded {
                connection,
                peer,
                why,
            } => write!(f, "#{connection} not upgraded, from {peer}: {why}"),
            Self::Authenticated {
                connection,
                fingerprint,
            } => write!(f, "#{connection} authenticated [{fingerprint}]"),
            Self::Refused {
                connection,
                code,
                message,
            } => write!(f, "#{connection} refused: {code} {message}"),
            Self::Closed { connection, why } => write!(f, "#{connection} closed: {why}"),
        }
    }
}

fn endpoint_at(address: SocketAddr, path: &str) -> Endpoint {
    // Who listens everywhere is reached on loopback.
    let host = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    let address = SocketAddr::new(host, address.port());
    format!("ws://{address}/{}", path.trim_start_matches('/'))
        .parse()
        .expect("an address makes a URL with any path that a URL can hold")
}

#[cfg(test)]
mod tests {
    use std::{io::Write as _, net::TcpStream, time::Instant};

    use crossbeam_channel::Receiver;
    use tungstenite::{Error as WsError, Message, WebSocket};

    use super::*;
    use crate::clock;

    const AUTH: &str = r#"{"action":"auth","key":"PKONE","secret":"s1"}"#;
    const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;
    const LIMIT: &str = r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#;
    const GENEROUS: Duration = Duration::from_secs(10);

    struct Client(WebSocket<TcpStream>);

    impl Client {
        fn open(sim: &Sim) -> Self {
            let mut client = Self::upgrade(sim, "/v2/iex").unwrap();
            assert_eq!(client.next(), r#"[{"T":"success","msg":"connected"}]"#);
            client
        }

        fn live(sim: &Sim) -> Self {
            let mut client = Self::open(sim);
            assert_eq!(client.ask(AUTH), AUTHENTICATED);
            client
        }

        fn upgrade(sim: &Sim, path: &str) -> Result<Self, WsError> {
            let stream = TcpStream::connect(sim.local_addr()).unwrap();
            stream.set_read_timeout(Some(GENEROUS)).unwrap();
            match tungstenite::client(sim.endpoint(path).to_string(), stream) {
                Ok((socket, _)) => Ok(Self(socket)),
                Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
                Err(other) => panic!("{other}"),
            }
        }

        fn ask(&mut self, message: &str) -> String {
            self.0.send(Message::text(message)).unwrap();
            self.next()
        }

        fn next(&mut self) -> String {
            match self.0.read().unwrap() {
                Message::Text(text) => text.to_string(),
                other => panic!("{other}"),
            }
        }
    }

    /// A simulator that sends only what is pushed, and what it tells of connections.
    fn quiet(change: impl FnOnce(&mut SimConfig)) -> (Sim, Receiver<SimEvent>) {
        let (events, happened) = crossbeam_channel::bounded(1024);
        let mut config = SimConfig {
            rate: 0,
            events: Some(events),
            ..SimConfig::default()
        };
        change(&mut config);
        (Sim::start(config).unwrap(), happened)
    }

    /// Waits for a closed connection, and says how it ended.
    fn closed(happened: &Receiver<SimEvent>) -> &'static str {
        loop {
            if let SimEvent::Closed { why, .. } = happened.recv_timeout(GENEROUS).unwrap() {
                return why;
            }
        }
    }

    #[test]
    fn data_flows_to_a_subscriber() {
        let (sim, _) = quiet(|config| config.rate = 2_000);
        let mut client = Client::live(&sim);
        let reply = client.ask(r#"{"action":"subscribe","trades":["AAPL"],"quotes":["*"]}"#);
        assert!(reply.starts_with(r#"[{"T":"subscription","trades":["AAPL"],"quotes":["*"]"#));
        for _ in 0..50 {
            assert!(client.next().starts_with(r#"[{"T":""#));
        }
        let stats = sim.stats();
        assert_eq!((stats.connections_opened, stats.requests), (1, 1));
        assert!(stats.messages_sent >= 50);
    }

    #[test]
    fn json_in_binary_frames_is_understood() {
        let (sim, _) = quiet(|_| {});
        let mut client = Client::open(&sim);
        client.0.send(Message::binary(AUTH.as_bytes())).unwrap();
        assert_eq!(client.next(), AUTHENTICATED);
    }

    #[test]
    fn a_wrong_path_is_not_found() {
        let (sim, happened) = quiet(|_| {});
        match Client::upgrade(&sim, "/v2/boats") {
            Err(WsError::Http(response)) => assert_eq!(response.status(), 404),
            Err(other) => panic!("{other}"),
            Ok(_) => panic!("upgraded"),
        }
        let event = happened.recv_timeout(GENEROUS).unwrap();
        assert!(event.to_string().contains("404"), "{event}");
    }

    #[test]
    fn ends_of_stream_that_have_arrived_count_before_a_newcomer() {
        // Each client ends its socket in its own way, and the next one comes at once.
        let (sim, _) = quiet(|_| {});
        for round in 0..150 {
            let mut client = Client::live(&sim);
            match round % 3 {
                0 => {
                    // Authentication is under way when the socket ends.
                    client
                        .0
                        .get_mut()
                        .shutdown(std::net::Shutdown::Both)
                        .unwrap();
                }
                1 => {
                    client.0.close(None).unwrap();
                    while client.0.read().is_ok() {}
                }
                _ => drop(client),
            }
        }
        let stats = sim.stats();
        assert_eq!((stats.limit_errors, stats.most_open_per_key), (0, 1));
    }

    #[test]
    fn an_end_that_arrived_counts_although_the_newcomer_is_read_first() {
        let (sim, _) = quiet(|_| {});
        for _ in 0..30 {
            // The newcomer has the lower number, so its turn comes first where both are ready.
            let mut new = Client::open(&sim);
            let old = Client::live(&sim);
            {
                // The thread is kept from its poller until both have happened.
                let _held = sim.shared.desk.lock();
                sim.wake();
                drop(old);
                new.0.send(Message::text(AUTH)).unwrap();
            }
            assert_eq!(new.next(), AUTHENTICATED);
        }
        let stats = sim.stats();
        assert_eq!((stats.limit_errors, stats.most_open_per_key), (0, 1));
    }

    #[test]
    fn what_a_newcomer_says_in_another_ones_turn_waits_for_its_own() {
        // Two that were refused, and both ask again at once: one gets the slot, each gets one answer.
        let (sim, _) = quiet(|_| {});
        for _ in 0..30 {
            let old = Client::live(&sim);
            let (mut one, mut two) = (Client::open(&sim), Client::open(&sim));
            assert_eq!((one.ask(AUTH), two.ask(AUTH)), (LIMIT.into(), LIMIT.into()));
            {
                let _held = sim.shared.desk.lock();
                sim.wake();
                drop(old);
                two.0.send(Message::text(AUTH)).unwrap();
                one.0.send(Message::text(AUTH)).unwrap();
            }
            let mut answers = [one.next(), two.next()];
            answers.sort();
            assert_eq!(answers, [LIMIT, AUTHENTICATED]);
        }
    }

    #[test]
    fn the_newcomer_is_refused_and_the_old_one_goes_on() {
        let (sim, _) = quiet(|_| {});
        let mut old = Client::live(&sim);
        let mut new = Client::open(&sim);
        assert_eq!(new.ask(AUTH), LIMIT);
        assert!(
            old.ask(r#"{"action":"subscribe"}"#)
                .contains("subscription")
        );
        drop(old);
        assert_eq!(new.ask(AUTH), AUTHENTICATED);
        let stats = sim.stats();
        assert_eq!((stats.limit_errors, stats.most_open_per_key), (1, 2));
    }

    #[test]
    fn a_late_client_is_told_and_closed() {
        let (sim, _) = quiet(|config| config.auth_timeout = Duration::from_millis(20));
        let mut client = Client::open(&sim);
        assert_eq!(
            client.next(),
            r#"[{"T":"error","code":404,"msg":"auth timeout"}]"#
        );
        assert!(matches!(client.0.read(), Ok(Message::Close(Some(_)))));
        assert!(matches!(client.0.read(), Err(WsError::ConnectionClosed)));
    }

    #[test]
    fn cut_close_and_reset_are_what_they_say() {
        let (sim, happened) = quiet(|_| {});
        let mut client = Client::live(&sim);
        sim.cut();
        assert!(matches!(
            client.0.read(),
            Err(WsError::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
            ))
        ));
        drop(client);
        assert_eq!(closed(&happened), "cut");

        let mut client = Client::live(&sim);
        sim.close_all(1012);
        match client.0.read() {
            Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1012),
            other => panic!("{other:?}"),
        }
        assert!(matches!(client.0.read(), Err(WsError::ConnectionClosed)));
        drop(client);
        assert_eq!(closed(&happened), "closed on request");

        let client = Client::live(&sim);
        sim.reset();
        assert_eq!(closed(&happened), "reset");
        let mut byte = [0];
        let error = std::io::Read::read(&mut client.0.get_ref(), &mut byte).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        assert_eq!(sim.stats().most_open_per_key, 1);
    }

    #[test]
    fn raw_text_reaches_those_who_are_authenticated() {
        let (sim, _) = quiet(|_| {});
        let mut client = Client::live(&sim);
        sim.send_raw("no JSON");
        assert_eq!(client.next(), "no JSON");
    }

    #[test]
    fn a_mute_simulator_answers_nothing_until_it_speaks_again() {
        let (sim, _) = quiet(|_| {});
        let mut client = Client::live(&sim);
        sim.mute(true);
        // Nothing tells when an order was carried out; the raw text that follows it would have come.
        sim.send_raw("lost");
        client.0.send(Message::Ping("hello".into())).unwrap();
        client
            .0
            .get_mut()
            .set_read_timeout(Some(Duration::from_millis(100)))
            .unwrap();
        assert!(matches!(client.0.read(), Err(WsError::Io(_))));
        client.0.get_mut().set_read_timeout(Some(GENEROUS)).unwrap();
        // A newcomer's upgrade waits, too.
        let mut newcomer = TcpStream::connect(sim.local_addr()).unwrap();
        newcomer.set_read_timeout(Some(GENEROUS)).unwrap();
        newcomer
            .write_all(b"GET /v2/iex HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
            .unwrap();
        sim.mute(false);
        assert!(matches!(client.0.read(), Ok(Message::Pong(_))));
        assert!(
            client
                .ask(r#"{"action":"subscribe"}"#)
                .contains("subscription")
        );
        let mut answer = [0; 12];
        std::io::Read::read_exact(&mut newcomer, &mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 101");
    }

    #[test]
    fn a_client_that_does_not_read_is_cut() {
        let (sim, happened) = quiet(|config| {
            config.output_limit = 64 << 10;
            config.rate = 1_000_000;
        });
        let mut client = Client::live(&sim);
        client
            .0
            .send(Message::text(r#"{"action":"subscribe","quotes":["*"]}"#))
            .unwrap();
        let told = |event: &SimEvent| matches!(event, SimEvent::Refused { code: 407, .. });
        while !told(&happened.recv_timeout(GENEROUS).unwrap()) {}
        // It is cut only now, and what was sent before is still there to be read.
        let mut last = String::new();
        while let Ok(message) = client.0.read() {
            last = message.to_string();
        }
        drop(client);
        assert_eq!(last, r#"[{"T":"error","code":407,"msg":"slow client"}]"#);
        assert_eq!(closed(&happened), "too slow");
        assert_eq!(sim.stats().slow_clients, 1);
    }

    #[test]
    fn a_broken_frame_costs_one_connection() {
        let (sim, happened) = quiet(|_| {});
        let mut client = Client::live(&sim);
        // Not masked, which a client's frame must be.
        client.0.get_mut().write_all(&[0x81, 1, b'x']).unwrap();
        assert!(matches!(client.0.read(), Ok(Message::Close(Some(_)))));
        drop(client);
        assert_eq!(closed(&happened), "the client broke the WebSocket protocol");
        Client::live(&sim);
    }

    #[test]
    fn dropping_it_ends_every_connection_and_its_thread() {
        let (sim, _) = quiet(|config| config.rate = 10_000);
        let mut client = Client::live(&sim);
        client.ask(r#"{"action":"subscribe","quotes":["*"]}"#);
        let address = sim.local_addr();
        let shared = Arc::downgrade(&sim.shared);
        drop(sim);
        assert!(shared.upgrade().is_none(), "the thread holds it no longer");
        while client.0.read().is_ok() {}
        assert!(TcpStream::connect(address).is_err());
    }

    #[test]
    fn statistics_follow_connections() {
        let (sim, happened) = quiet(|_| {});
        let client = Client::live(&sim);
        drop(client);
        closed(&happened);
        let deadline: Instant = clock::now() + GENEROUS;
        while sim.stats().connections_open != 0 {
            assert!(clock::now() < deadline);
            std::thread::yield_now();
        }
    }

    #[test]
    fn threads_can_share_it() {
        fn shareable<T: Send + Sync>() {}
        shareable::<Sim>();
    }

    #[test]
    fn bad_settings_are_refused() {
        let changes: [fn(&mut SimConfig); 7] = [
            |config| config.batch = 0,
            |config| config.connection_limit = 0,
            |config| config.output_limit = 1,
            |config| config.rate = u32::MAX,
            |config| config.symbols = vec!["aapl".into()],
            |config| {
                config.faults = FaultScript::new([Fault::new(FaultKind::Cut, Duration::ZERO)]);
            },
            |config| config.listen = SocketAddr::from(([192, 0, 2, 1], 1)),
        ];
        for change in changes {
            let mut config = SimConfig::default();
            change(&mut config);
            let error = Sim::start(config).unwrap_err();
            assert_eq!(error.code(), "invalid_config", "{error}");
        }
    }
}
