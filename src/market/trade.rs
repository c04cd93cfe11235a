//! Trades, and what amends them.

use std::fmt;

use rust_decimal::Decimal;

use super::{Code, Conditions, Symbol, Timestamp};

/// A trade as it was reported, of a stock, a coin or an option contract.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct Trade {
    /// The symbol.
    pub symbol: Symbol,
    /// The venue's id of the trade. Options have none.
    pub id: Option<i64>,
    /// The exchange it was made on. Usually empty for crypto.
    pub exchange: Code,
    /// Price per share, contract's unit or coin, in the quote currency.
    pub price: Decimal,
    /// Shares, contracts or coins.
    pub size: Decimal,
    /// Which side took liquidity, for crypto: `B` the buyer, `S` the seller, `-` unknown. Empty for others.
    pub taker_side: Code,
    /// Condition codes of the tape. None for crypto.
    pub conditions: Conditions,
    /// The tape it was reported on. For stocks.
    pub tape: Code,
    /// `canceled`, `corrected` or `incorrect`, in case the venue says such a thing with the trade. Usually empty:
    /// amendments come as [`TradeCancel`] and [`TradeCorrection`].
    pub update: Code,
    /// When it happened, by the exchange's or the tape's clock.
    pub timestamp: Timestamp,
}

/// A trade that was replaced by another.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TradeCorrection {
    /// The symbol.
    pub symbol: Symbol,
    /// The exchange.
    pub exchange: Code,
    /// The id that the trade was reported with. Nothing where the venue wrote none that could be read.
    pub original_id: Option<i64>,
    /// The price that was reported.
    pub original_price: Decimal,
    /// The size that was reported.
    pub original_size: Decimal,
    /// The conditions that were reported.
    pub original_conditions: Conditions,
    /// The id that holds now. Nothing where the venue wrote none that could be read.
    pub corrected_id: Option<i64>,
    /// The price that holds now.
    pub corrected_price: Decimal,
    /// The size that holds now.
    pub corrected_size: Decimal,
    /// The conditions that hold now.
    pub corrected_conditions: Conditions,
    /// The tape.
    pub tape: Code,
    /// When the correction was made.
    pub timestamp: Timestamp,
}

/// A trade that was taken back.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct TradeCancel {
    /// The symbol.
    pub symbol: Symbol,
    /// The id of the trade that was taken back. Nothing where the venue wrote none that could be read.
    pub id: Option<i64>,
    /// The exchange.
    pub exchange: Code,
    /// Its price.
    pub price: Decimal,
    /// Its size.
    pub size: Decimal,
    /// What was done: `C` for a cancel, `E` for an error, and whatever else the venue may send.
    pub action: Code,
    /// The tape.
    pub tape: Code,
    /// When it was taken back.
    pub timestamp: Timestamp,
}

/// What a subscription to trades yields: trades, and what amends them.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "type", rename_all = "snake_case")
)]
pub enum TradeEvent {
    /// A trade.
    Trade(Trade),
    /// A correction of a trade.
    Correction(Box<TradeCorrection>),
    /// A trade taken back.
    Cancel(Box<TradeCancel>),
}

impl TradeEvent {
    /// The trade, where it is one, and not an amendment.
    #[must_use]
    pub fn trade(&self) -> Option<&Trade> {
        if let Self::Trade(trade) = self {
            Some(trade)
        } else {
            None
        }
    }
}

impl From<Trade> for TradeEvent {
    fn from(trade: Trade) -> Self {
        Self::Trade(trade)
    }
}

impl From<TradeCorrection> for TradeEvent {
    fn from(correction: TradeCorrection) -> Self {
        Self::Correction(Box::new(correction))
    }
}

impl From<TradeCancel> for TradeEvent {
    fn from(cancel: TradeCancel) -> Self {
        Self::Cancel(Box::new(cancel))
    }
}

impl fmt::Display for Trade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} trade {} x {}", self.symbol, self.price, self.size)?;
        if let Some(id) = self.id {
            write!(f, " #{id}")?;
        }
        write!(f, " at {}", self.timestamp)
    }
}

impl fmt::Display for TradeCorrection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} correction {} {} x {} -> {} {} x {}",
            self.symbol,
            TradeId(self.original_id),
            self.original_price,
            self.original_size,
            TradeId(self.corrected_id),
            self.corrected_price,
            self.corrected_size
        )
    }
}

impl fmt::Display for TradeCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cancel {} {} x {} ({})",
            self.symbol,
            TradeId(self.id),
            self.price,
            self.size,
            self.action
        )
    }
}

/// A trade's id as people read it.
struct TradeId(Option<i64>);

impl fmt::Display for TradeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(id) => write!(f, "#{id}"),
            None => f.write_str("#?"),
        }
    }
}

impl fmt::Display for TradeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trade(trade) => trade.fmt(f),
            Self::Correction(correction) => correction.fmt(f),
            Self::Cancel(cancel) => cancel.fmt(f),
        }
    }
}
