//! The settings of a simulator.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use crossbeam_channel::Sender;

use super::{
    FaultKind, FaultScript, SimEvent,
    path::{Path, is_well_formed},
};
use crate::{
    credentials::Credentials,
    error::{Error, Result},
    market::Symbol,
};

/// The settings of a [`Sim`](super::Sim).
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
    /// Paths that are not in anybody's plan, such as `/v2/sip`: authentication is answered with 409 there. Default
    /// none.
    pub not_in_plan: Vec<String>,
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
    /// How often each client is sent a ping. Default never: the venue's own interval is not known.
    pub ping_interval: Option<Duration>,
    /// How long a client that is pinged may show no sign of life (no message, no ping, no pong) before it is cut.
    /// Default 20 s, which is the venue's rule.
    pub pong_timeout: Duration,
    /// Whether order updates come in binary frames, as those of paper accounts do, or as text. Default binary.
    pub orders_in_binary: bool,
    /// Whether what is sent to clients that offer it is compressed (permessage-deflate, RFC 7692). Default false.
    #[cfg(feature = "compression")]
    pub compression: bool,
    /// Makes the markets and the faults. Default 1.
    pub seed: u64,
    /// Events per second in each of the markets (stocks, crypto, perpetual futures, options, news) that anybody has
    /// connected to, of all symbols together. Of every ten turns of the news one is an article, and of every fifty turns
    /// of an account's orders one is an update. Default 100, at most 10 million; 0 for
    /// nothing but pushed events.
    pub rate: u32,
    /// Statuses, bands, imbalances, corrections and cancels of stocks, for each thousand of their other events, and
    /// besides them. Default 0: corrections and cancels come with trades, and most readers of trades want trades.
    pub incidents: u32,
    /// The most items in one frame of data. Default 50.
    pub batch: usize,
    /// The symbols that `*` stands for: stocks, pairs of crypto (`BTC/USD`), perpetual futures (`BTC-PERP`) and contracts
    /// of options (`AAPL271217C00250000`), each in its market. Others join when they are first subscribed to. Default
    /// AAPL, MSFT, NVDA, TSLA, AMD and SPY, and two or three of each of the other kinds; on `/v2/test`, `*` is FAKEPACA alone.
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
            not_in_plan: Vec::new(),
            connection_limit: 1,
            reap_after: Duration::ZERO,
            symbol_limit: None,
            limit_counts: LimitCounts::Pairs,
            output_limit: 8 << 20,
            ping_interval: None,
            pong_timeout: Duration::from_secs(20),
            orders_in_binary: true,
            #[cfg(feature = "compression")]
            compression: false,
            seed: 1,
            rate: 100,
            incidents: 0,
            batch: 50,
            symbols: SYMBOLS.map(Symbol::from).into(),
            faults: FaultScript::default(),
            events: None,
        }
    }
}

const SYMBOLS: [&str; 14] = [
    "AAPL",
    "MSFT",
    "NVDA",
    "TSLA",
    "AMD",
    "SPY",
    "BTC/USD",
    "ETH/USD",
    "SOL/USD",
    "BTC-PERP",
    "ETH-PERP",
    "AAPL271217C00250000",
    "AAPL271217P00250000",
    "MSFT271217C00450000",
];

impl SimConfig {
    pub(super) fn validate(&self) -> Result<()> {
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
        if let Some(interval) = self.ping_interval
            && interval < Duration::from_millis(1)
        {
            return invalid("`ping_interval` is below 1 ms");
        }
        if self.incidents > 1_000_000 {
            return invalid("`incidents` is above 1,000,000 for each thousand events");
        }
        let served = |name: &String| Path::ALL.iter().any(|path| path.name == name);
        if let Some(path) = self.not_in_plan.iter().find(|path| !served(path)) {
            return invalid(&format!("there is no path `{}`", path.escape_debug()));
        }
        if let Some(bad) = self
            .symbols
            .iter()
            .find(|symbol| symbol.as_str() == "*" || !is_well_formed(symbol))
        {
            return invalid(&format!(
                "`{}` is no symbol: 1 to 32 ASCII characters, no lower case, no white space",
                bad.escape_debug()
            ));
        }
        Ok(())
    }
}

/// Which credentials a [`Sim`](super::Sim) takes for right.
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
