//! What goes into the exchange, and what comes out.

use std::{fmt, time::Instant};

use rust_decimal::Decimal;

use super::mischief::Breakage;
use crate::{
    alpaca::Codec,
    market::{MarketEvent, Symbol, Timestamp},
    order::{OrderUpdate, Side},
    sim::{FaultKind, SimEvent, gate::Pieces, path::Path},
    venue::Message,
};

/// Names one connection for as long as the simulator runs.
pub(in crate::sim) type ConnectionId = usize;

/// What the server is to do, in this order.
#[derive(Debug, PartialEq)]
pub(in crate::sim) enum Effect {
    Send {
        to: ConnectionId,
        message: Message,
    },
    Ping {
        to: ConnectionId,
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
        why: &'static str,
    },
    /// One last message, as far as the client still takes it, then the end without a close frame.
    Dismiss {
        to: ConnectionId,
        message: Message,
    },
    /// The end, by a reset.
    Reset {
        to: ConnectionId,
    },
    /// The end, in the midst of things.
    Break {
        to: ConnectionId,
        how: Breakage,
    },
    /// What is written from here on is cut.
    Slice {
        to: ConnectionId,
        pieces: Pieces,
    },
    /// From here on nothing is written yet; or again, together with what had to wait.
    Cork {
        to: ConnectionId,
        on: bool,
    },
    /// For those who watch.
    Report(SimEvent),
}

/// What a user wants to happen.
#[derive(Debug)]
pub(in crate::sim) enum Control {
    Push(Box<MarketEvent>),
    PushOrder(Box<OrderUpdate>),
    Fill(Symbol, Side, Decimal, Decimal),
    Cut,
    Reset,
    CloseAll(u16),
    SendRaw(String),
    PauseData,
    ResumeData,
    CloseMarket,
    OpenMarket,
    Mute(bool),
    Inject(FaultKind),
}

/// Both clocks, read once.
#[derive(Clone, Copy, Debug)]
pub(in crate::sim) struct Moment {
    pub(in crate::sim) now: Instant,
    pub(in crate::sim) utc: Timestamp,
}

/// What a client's upgrade request says.
#[derive(Clone, Debug)]
pub(in crate::sim) struct Arrival {
    pub(in crate::sim) path: Path,
    pub(in crate::sim) codec: Codec,
    /// Credentials in its headers, which need no message.
    pub(in crate::sim) login: Option<Login>,
}

/// Credentials as a client gave them, right or wrong. Gone as soon as they were looked at.
#[derive(Clone)]
pub(in crate::sim) struct Login {
    pub(in crate::sim) key: String,
    pub(in crate::sim) secret: String,
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Login(***)")
    }
}
