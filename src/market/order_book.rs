//! Order books.

use std::{fmt, sync::Arc};

use rust_decimal::Decimal;

use super::{Code, Symbol, Timestamp};

/// A change of an order book, or the whole of it.
///
/// With `reset` it is the whole book, and what was known before is void. Without, each level takes the place of the one
/// at its price, and a level of size zero takes it away. There are no sequence numbers: after a
/// [`Gap`](crate::Update::Gap) or a [`Dropped`](crate::Update::Dropped), start from nothing.
///
/// # Examples
/// ```
/// use std::collections::BTreeMap;
/// use trunkline::{Decimal, market::OrderBookUpdate};
///
/// /// The bids, by price.
/// fn apply(bids: &mut BTreeMap<Decimal, Decimal>, update: &OrderBookUpdate) {
///     if update.reset {
///         bids.clear();
///     }
///     for level in &*update.bids {
///         if level.size.is_zero() {
///             bids.remove(&level.price);
///         } else {
///             bids.insert(level.price, level.size);
///         }
///     }
/// }
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct OrderBookUpdate {
    /// The symbol.
    pub symbol: Symbol,
    /// Whether this is the whole book.
    pub reset: bool,
    /// Levels of the buyers' side.
    pub bids: Arc<[PriceLevel]>,
    /// Levels of the sellers' side.
    pub asks: Arc<[PriceLevel]>,
    /// The exchange, where the feed names it.
    pub exchange: Code,
    /// When it changed.
    pub timestamp: Timestamp,
}

/// One price of an order book.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PriceLevel {
    /// The price.
    pub price: Decimal,
    /// How much is bid or asked at it. Zero where nothing is left.
    pub size: Decimal,
}

impl fmt::Display for OrderBookUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} book {}{} bids, {} asks at {}",
            self.symbol,
            if self.reset { "reset: " } else { "" },
            self.bids.len(),
            self.asks.len(),
            self.timestamp
        )
    }
}
