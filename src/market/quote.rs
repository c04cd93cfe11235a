//! Quotes.

use std::fmt;

use rust_decimal::Decimal;

use super::{Code, Conditions, Symbol, Timestamp};

/// The best bid and ask, of a stock, a coin or an option contract.
///
/// Sizes are as the venue sends them: of stocks in round lots or shares, by feed and date; of options in contracts; of
/// crypto in coins.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Quote {
    /// The symbol.
    pub symbol: Symbol,
    /// The exchange of the bid. May be empty where there is no bid, and is for crypto.
    pub bid_exchange: Code,
    /// The bid, in the quote currency. Zero where there is none.
    pub bid_price: Decimal,
    /// The bid's size.
    pub bid_size: Decimal,
    /// The exchange of the ask. May be empty where there is no ask, and is for crypto.
    pub ask_exchange: Code,
    /// The ask, in the quote currency. Zero where there is none.
    pub ask_price: Decimal,
    /// The ask's size.
    pub ask_size: Decimal,
    /// The exchange of both sides, where a crypto feed names it.
    pub exchange: Code,
    /// Condition codes of the tape. None for crypto.
    pub conditions: Conditions,
    /// The tape. For stocks.
    pub tape: Code,
    /// When it was made, by the exchange's or the tape's clock.
    pub timestamp: Timestamp,
}

impl fmt::Display for Quote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} quote {} x {} / {} x {} at {}",
            self.symbol,
            self.bid_price,
            self.bid_size,
            self.ask_price,
            self.ask_size,
            self.timestamp
        )
    }
}
