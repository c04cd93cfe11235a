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
mod gate;
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
    error::{At, Error, Result, Source},
    key::{Endpoint, StreamKey},
    market::{MarketEvent, Symbol},
    phase::Phase,
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
        let cannot_listen = |error: std::io::Error| {
            Error::invalid_config(format!("cannot listen on {}: {error}", config.listen))
        };
        let listener = mio::net::TcpListener::bind(config.listen).map_err(cannot_listen)?;
        let address = listener.local_addr().map_err(cannot_listen)?;
        let credentials = match &config.accept {
            Accept::Only(credentials) => credentials.clone(),
            Accept::Any => {
                Credentials::new("PKSIMULATED000000001", "simulated-secret-of-no-value")?
            }
        };
        let stream = StreamKey::new(&endpoint_at(address, ""), &credentials);
        let refused = |error| Error::Spawn {
            at: At::new(&stream, Phase::Resolving),
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

    /// Injects a fault once, now, where there is anything for it to hit: [`SimStats::faults_injected`] counts it then.
    ///
    /// # Examples
    /// ```
    /// use trunkline::sim::{FaultKind, Sim, SimConfig};
    /// let sim = Sim::start(SimConfig::default())?;
    /// sim.inject(FaultKind::Http { status: 429, retry_after: Some(1) }); // the next client is told so
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn inject(&self, kind: FaultKind) {
        self.order(Control::Inject(kind));
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
    /// How long a connection that ended without a close handshake keeps its slot, so that the next authentication with its
    /// key gets 406. The venue takes about 90 s. Default zero: the slot is free at once.
    pub reap_after: Duration,
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
            reap_after: Duration::ZERO,
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
        let invalid = |why: &str| Err(Error::invalid_config(why));
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
        let impossible = |kind: FaultKind| match kind {
            FaultKind::Http { status, .. } => !(300..=599).contains(&status),
            FaultKind::Close(code) => !(1000..=4999).contains(&code),
            _ => false,
        };
        if self.faults.iter().any(|fault| impossible(fault.kind)) {
            return invalid(
                "a fault's HTTP status is not from 300 to 599, or its close code not from 1000 to 4999",
            );
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
    /// Faults of the script, and of [`Sim::inject`], that were played.
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
mod tests;
