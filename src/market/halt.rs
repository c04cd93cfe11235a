//! What holds trading up: halts and resumptions, price bands, imbalances.

use std::{fmt, sync::Arc};

use rust_decimal::Decimal;

use super::{Code, Symbol, Timestamp};

/// A change of whether a stock trades: a halt, a pause, a resumption.
///
/// Which codes there are depends on the tape, and both sets are open. Tapes A and B say, for example, `2` for a halt
/// and `3` for a resumption, tape C `H` for a halt, `P` for a volatility pause and `T` for a resumption.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TradingStatus {
    /// The symbol.
    pub symbol: Symbol,
    /// The tape's code of the status.
    pub status_code: Code,
    /// The status in words.
    pub status_message: Arc<str>,
    /// The tape's code of the reason. May be empty.
    pub reason_code: Code,
    /// The reason in words. May be empty.
    pub reason_message: Arc<str>,
    /// The tape.
    pub tape: Code,
    /// When it changed.
    pub timestamp: Timestamp,
}

/// The band of prices in which a stock may trade: limit up, limit down.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct LuldBand {
    /// The symbol.
    pub symbol: Symbol,
    /// The highest price it may trade at.
    pub limit_up: Decimal,
    /// The lowest price it may trade at.
    pub limit_down: Decimal,
    /// The tape's indicator, one letter.
    pub indicator: Code,
    /// The tape.
    pub tape: Code,
    /// From when on it holds.
    pub timestamp: Timestamp,
}

/// An imbalance of orders while a limit-up-limit-down halt lasts.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Imbalance {
    /// The symbol.
    pub symbol: Symbol,
    /// The price.
    pub price: Decimal,
    /// The tape.
    pub tape: Code,
    /// When it was reported.
    pub timestamp: Timestamp,
}

impl fmt::Display for TradingStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} status {} {}",
            self.symbol, self.status_code, self.status_message
        )?;
        if !self.reason_code.is_empty() || !self.reason_message.is_empty() {
            write!(f, " ({} {})", self.reason_code, self.reason_message)?;
        }
        write!(f, " at {}", self.timestamp)
    }
}

impl fmt::Display for LuldBand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} band {} to {} ({}) at {}",
            self.symbol, self.limit_down, self.limit_up, self.indicator, self.timestamp
        )
    }
}

impl fmt::Display for Imbalance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} imbalance {} at {}",
            self.symbol, self.price, self.timestamp
        )
    }
}
