//! Quotes.

use std::fmt;

use rust_decimal::Decimal;

use super::{Code, Conditions, Symbol, Timestamp};

/// The best bid and ask, of a stock, a coin or an option contract.
///
/// Sizes are as the venue sends them: of stocks in round lots or shares, by feed and date; of options in contracts; of
/// crypto in coins.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
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

impl Quote {
    /// Prices and sizes by themselves, which say how the sides stand to each other.
    #[must_use]
    pub fn top(&self) -> TopOfBook {
        TopOfBook {
            bid_price: self.bid_price,
            bid_size: self.bid_size,
            ask_price: self.ask_price,
            ask_size: self.ask_size,
            timestamp: self.timestamp,
        }
    }

    /// Half-way between bid and ask, of a quote that has both and is not crossed.
    ///
    /// # Examples
    /// ```
    /// let quote = trunkline::testing::quote("KO", "60.00", "60.02");
    /// assert_eq!(quote.mid(), Some("60.01".parse().expect("it is a number")));
    /// assert_eq!(quote.spread(), Some("0.02".parse().expect("it is a number")));
    /// assert_eq!(trunkline::testing::quote("KO", "60.00", 0).mid(), None); // no ask
    /// ```
    #[must_use]
    pub fn mid(&self) -> Option<Decimal> {
        self.top().mid()
    }

    /// Ask minus bid, of a quote that has both and is not crossed. Zero if it is locked.
    #[must_use]
    pub fn spread(&self) -> Option<Decimal> {
        self.top().spread()
    }
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

/// The newest best bid and ask of a symbol.
///
/// A side without a price is zero, as the venue sent it, and is never made up from the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct TopOfBook {
    /// The bid, in the quote currency. Zero where there is none: see [`bid`](Self::bid).
    pub bid_price: Decimal,
    /// The bid's size, in the venue's units.
    pub bid_size: Decimal,
    /// The ask, in the quote currency. Zero where there is none: see [`ask`](Self::ask).
    pub ask_price: Decimal,
    /// The ask's size, in the venue's units.
    pub ask_size: Decimal,
    /// When it was made, UTC, by the exchange's or the tape's clock.
    pub timestamp: Timestamp,
}

impl TopOfBook {
    /// Which sides it has, and how they stand to each other.
    #[must_use]
    pub fn sides(&self) -> Sides {
        match (self.bid(), self.ask()) {
            (None, None) => Sides::Neither,
            (Some(_), None) => Sides::BidOnly,
            (None, Some(_)) => Sides::AskOnly,
            (Some(bid), Some(ask)) if bid < ask => Sides::Both,
            (Some(bid), Some(ask)) if bid == ask => Sides::Locked,
            (Some(_), Some(_)) => Sides::Crossed,
        }
    }

    /// The bid, if there is one: a price above zero.
    #[must_use]
    pub fn bid(&self) -> Option<Decimal> {
        Some(self.bid_price).filter(|price| *price > Decimal::ZERO)
    }

    /// The ask, if there is one: a price above zero.
    #[must_use]
    pub fn ask(&self) -> Option<Decimal> {
        Some(self.ask_price).filter(|price| *price > Decimal::ZERO)
    }

    /// Half-way between bid and ask, of a quote that has both and is not crossed.
    #[must_use]
    pub fn mid(&self) -> Option<Decimal> {
        let half = self.spread()?.checked_div(Decimal::TWO)?;
        Some(half.checked_add(self.bid_price)?.normalize())
    }

    /// Ask minus bid, of a quote that has both and is not crossed. Zero if it is locked.
    #[must_use]
    pub fn spread(&self) -> Option<Decimal> {
        match self.sides() {
            Sides::Both | Sides::Locked => self.ask_price.checked_sub(self.bid_price),
            Sides::Crossed | Sides::BidOnly | Sides::AskOnly | Sides::Neither => None,
        }
    }
}

impl fmt::Display for TopOfBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} x {} / {} x {}",
            self.bid_price, self.bid_size, self.ask_price, self.ask_size
        )?;
        match self.sides() {
            Sides::Both => Ok(()),
            sides => write!(f, " ({sides})"),
        }
    }
}

/// Which sides a quote has, and how they stand to each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Sides {
    /// A bid below an ask.
    Both,
    /// A bid at the ask.
    Locked,
    /// A bid above the ask: neither is to be trusted.
    Crossed,
    /// No ask.
    BidOnly,
    /// No bid.
    AskOnly,
    /// No price at all.
    Neither,
}

impl fmt::Display for Sides {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Both => "two-sided",
            Self::Locked => "locked",
            Self::Crossed => "crossed",
            Self::BidOnly => "no ask",
            Self::AskOnly => "no bid",
            Self::Neither => "empty",
        })
    }
}
