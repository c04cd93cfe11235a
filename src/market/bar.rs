//! Bars.

use std::fmt;

use rust_decimal::Decimal;

use super::{BARS, Code, DAILY_BARS, Symbol, Timestamp, UPDATED_BARS};
use crate::topic::Channel;

/// Open, high, low and close of a period.
///
/// Of crypto there is one for minutes without trades, too: its volume is zero then, and its prices are those between
/// bid and ask.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Bar {
    /// The symbol.
    pub symbol: Symbol,
    /// Which period, and whether it is a first or an updated version.
    pub interval: Interval,
    /// The first price.
    pub open: Decimal,
    /// The highest price.
    pub high: Decimal,
    /// The lowest price.
    pub low: Decimal,
    /// The last price.
    pub close: Decimal,
    /// Shares or coins traded.
    pub volume: Decimal,
    /// How many trades, where the venue says.
    pub trade_count: Option<u64>,
    /// The volume-weighted average price, where the venue says.
    pub vwap: Option<Decimal>,
    /// The exchange, where a crypto feed names it.
    pub exchange: Code,
    /// The start of the period.
    pub timestamp: Timestamp,
}

/// The period of a [`Bar`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(rename_all = "snake_case")
)]
pub enum Interval {
    /// A minute, sent right after its end.
    #[default]
    Minute,
    /// A minute again, because late trades changed it.
    UpdatedMinute,
    /// The running day.
    Day,
}

impl Interval {
    /// The channel that bars of this period come on.
    #[must_use]
    pub fn channel(self) -> Channel {
        match self {
            Self::Minute => BARS,
            Self::UpdatedMinute => UPDATED_BARS,
            Self::Day => DAILY_BARS,
        }
    }
}

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Minute => "minute",
            Self::UpdatedMinute => "updated minute",
            Self::Day => "day",
        })
    }
}

impl fmt::Display for Bar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} bar o {} h {} l {} c {} v {} at {}",
            self.symbol,
            self.interval,
            self.open,
            self.high,
            self.low,
            self.close,
            self.volume,
            self.timestamp
        )
    }
}
