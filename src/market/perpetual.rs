//! Perpetual futures.

use std::fmt;

use rust_decimal::Decimal;

use super::{Code, Symbol, Timestamp};

/// What a perpetual future is worth, and what holding it costs.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PerpetualPricing {
    /// The symbol.
    pub symbol: Symbol,
    /// The price of what it is about.
    pub index_price: Option<Decimal>,
    /// The price that positions are valued at.
    pub mark_price: Option<Decimal>,
    /// What longs pay to shorts at the next funding, as a fraction of the position. May be negative.
    pub funding_rate: Option<Decimal>,
    /// Contracts that are held.
    pub open_interest: Option<Decimal>,
    /// When the next funding is.
    pub next_funding: Option<Timestamp>,
    /// The exchange, where the feed names it.
    pub exchange: Code,
    /// When it was computed.
    pub timestamp: Timestamp,
}

impl fmt::Display for PerpetualPricing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} pricing", self.symbol)?;
        for (name, value) in [
            ("index", self.index_price),
            ("mark", self.mark_price),
            ("funding", self.funding_rate),
            ("open interest", self.open_interest),
        ] {
            if let Some(value) = value {
                write!(f, " {name} {value}")?;
            }
        }
        write!(f, " at {}", self.timestamp)
    }
}
