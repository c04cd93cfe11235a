//! An exchange in the box: Alpaca's market data from the server's side, on loopback, with its rules and, on request,
//! with faults. For this crate's tests, for a demo without credentials, and for your own tests. Alpaca's own SDKs for
//! Python and Node take it for the venue, which is a test of this crate's.
//!
//! It serves every path of the venue's market data on one port: stocks, crypto, perpetual futures, options and news, in
//! JSON or, where the upgrade request says `Content-Type: application/msgpack`, in MessagePack. Beside them, at `/stream`,
//! come the updates of an account's orders, which place themselves. A client of market data may authenticate by message or by
//! the headers of its upgrade (`APCA-API-KEY-ID` and `APCA-API-SECRET-KEY`, or `Authorization: Basic`). Messages are
//! not compressed, whatever a client offers, unless `SimConfig::compression`, of the feature `compression`, says so.
//!
//! It is on one thread, reads no environment and needs no network beyond loopback. A seed makes the markets and the
//! faults; the trade ids of each stock are 1, 2, 3, …, those of each crypto pair count from 2^53 + 1, and the bid sizes
//! of a stock's quotes are 1, 2, 3, …, 1,000,000, 1, …, so that a reader can prove that nothing is missing between two
//! of them. What the venue's documentation leaves open is decided here in one way, and may be otherwise there.
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

mod config;
mod exchange;
mod fault;
mod gate;
mod path;
mod report;
mod server;
mod tape;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
    thread::JoinHandle,
};

use mio::Waker;
use parking_lot::Mutex;
use rust_decimal::Decimal;

pub use self::{
    config::{Accept, LimitCounts, SimConfig},
    fault::{Fault, FaultKind, FaultScript},
    report::{SimEvent, SimStats},
};
use self::{exchange::Control, server::Server};
use crate::{
    alpaca::{self, Account, Feed, MarketData, OrderUpdates},
    credentials::Credentials,
    error::{At, Error, ErrorKind, Result, Source},
    key::{Endpoint, StreamKey},
    market::{MarketEvent, Symbol},
    order::{OrderUpdate, Side},
    phase::Phase,
    thread,
    venue::Venue as _,
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
    /// [`ErrorKind::InvalidConfig`] when a value of `config` makes no sense or its address cannot be listened on, and
    /// [`ErrorKind::Spawn`] when the system refuses a thread or a poller.
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
        let refused = |error| {
            Error::new(
                At::new(&stream, Phase::Resolving),
                ErrorKind::Spawn {
                    source: Source::new(error),
                },
            )
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
        self.venue(alpaca::stocks(Feed::Iex))
    }

    /// Any of Alpaca's feeds, served here: the path is the feed's own.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{alpaca::{self, CryptoFeed}, sim::{Sim, SimConfig}};
    /// let sim = Sim::start(SimConfig::default())?;
    /// let coins = sim.venue(alpaca::crypto(CryptoFeed::Us));
    /// assert!(coins.to_string().starts_with("ws://127.0.0.1:"));
    /// assert!(coins.to_string().ends_with("/v1beta3/crypto/us"));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    #[must_use]
    pub fn venue(&self, venue: MarketData) -> MarketData {
        let endpoint = self.endpoint(venue.endpoint().path());
        venue.at(endpoint)
    }

    /// The stream of order updates to open, as of a paper account.
    #[must_use]
    pub fn order_updates(&self) -> OrderUpdates {
        alpaca::order_updates(Account::Paper).at(self.endpoint("/stream"))
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

    /// Sends an event to those who are subscribed to it, on every path of the market that its kind and symbol belong
    /// to: a pair with a slash is crypto, `-PERP` a perpetual future, an OCC symbol an option, anything else a stock.
    pub fn push(&self, event: MarketEvent) {
        self.order(Control::Push(Box::new(event)));
    }

    /// Sends an order update, whatever it says, to those who listen to order updates.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{
    ///     testing, order::{OrderEvent, Side}, sim::{Sim, SimConfig},
    /// };
    /// let sim = Sim::start(SimConfig::default())?;
    /// let order = testing::order("KO", Side::Buy, 100);
    /// sim.push_order_update(testing::order_update(&order, OrderEvent::Rejected));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn push_order_update(&self, update: OrderUpdate) {
        self.order(Control::PushOrder(Box::new(update)));
    }

    /// Fills a market order that the account is said to have placed: those who listen to order updates get `new`, then
    /// `fill` with the position after it.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{Decimal, order::Side, sim::{Sim, SimConfig}};
    /// let sim = Sim::start(SimConfig::default())?;
    /// sim.fill("KO", Side::Buy, Decimal::from(100), "61.28".parse().expect("it is a number"));
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn fill(&self, symbol: impl Into<Symbol>, side: Side, qty: Decimal, price: Decimal) {
        self.order(Control::Fill(symbol.into(), side, qty, price));
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

    /// Ends the day of stocks and their options: the last bars come, and then only pushed events. Crypto and news go on.
    pub fn close_market(&self) {
        self.order(Control::CloseMarket);
    }

    /// Lets stocks and options trade again after [`close_market`](Self::close_market).
    pub fn open_market(&self) {
        self.order(Control::OpenMarket);
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
