//! Values of the market that any venue may use: symbols, timestamps, trades, quotes, bars.
//!
//! Prices and sizes are exact decimals and times keep their nanoseconds. Nothing here knows where a value came from.

use std::{borrow::Borrow, fmt, ops::Deref, str::FromStr, time::SystemTime};

use rust_decimal::Decimal;
use smol_str::SmolStr;

use crate::{
    error::{Error, Result},
    topic::{Channel, Payload, Topic},
    venue::Routed,
};

/// A ticker symbol, as the venue spells it.
///
/// Cheap to clone; up to 23 bytes, which covers every option symbol, without an allocation. Hashes, orders and
/// compares as the `str` it holds, so a `HashMap<Symbol, _>` can be asked with a `&str`.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Symbol(SmolStr);

/// A short code of a venue: an exchange, a tape, a taker's side. May be empty.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Code(SmolStr);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                &self.0
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.0 == other
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.0 == *other
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<&String> for $name {
            fn from(text: &String) -> Self {
                Self(text.into())
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text.into())
            }
        }
        impl From<&Self> for $name {
            fn from(other: &Self) -> Self {
                other.clone()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}
text!(Symbol);
text!(Code);

/// Condition codes, in the venue's order. A code may be a single space.
///
/// Held as one text in which each code is closed by a unit separator, so that the usual one to four codes need no
/// allocation.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Conditions(SmolStr);

const CLOSE: char = '\u{1f}';

impl Conditions {
    /// The codes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(CLOSE)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Conditions {
    fn from_iter<I: IntoIterator<Item = S>>(codes: I) -> Self {
        let mut text = smol_str::SmolStrBuilder::new();
        for code in codes {
            text.push_str(code.as_ref());
            text.push(CLOSE);
        }
        Self(text.finish())
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Conditions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

/// A point in time, UTC, to the nanosecond, from the year 1677 to 2262.
///
/// `Display` and `FromStr` are RFC 3339.
///
/// # Examples
/// ```
/// use trunkline::Timestamp;
/// let time: Timestamp = "2026-03-17T14:30:05.123456789Z".parse()?;
/// assert_eq!(time.as_nanos(), 1_773_757_805_123_456_789);
/// assert_eq!(time.to_string(), "2026-03-17T14:30:05.123456789Z");
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    fn from_jiff(time: jiff::Timestamp) -> Option<Self> {
        i64::try_from(time.as_nanosecond()).ok().map(Self)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || Error::InvalidConfig {
            why: format!(
                "`{}` is no RFC 3339 timestamp from 1677 to 2262",
                text.escape_debug()
            ),
        };
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(Self::from_jiff)
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds is inside jiff's range of years.
        fmt::Display::fmt(
            &jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default(),
            f,
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        jiff::Timestamp::from_nanosecond(i128::from(time.0))
            .unwrap_or_default()
            .into()
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = Error;

    fn try_from(time: SystemTime) -> Result<Self> {
        let outside = || Error::InvalidConfig {
            why: "the time is not between the years 1677 and 2262".to_owned(),
        };
        jiff::Timestamp::try_from(time)
            .ok()
            .and_then(Self::from_jiff)
            .ok_or_else(outside)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A trade as it was reported.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Trade {
    /// The symbol.
    pub symbol: Symbol,
    /// The venue's id of the trade.
    pub id: i64,
    /// The exchange it was made on.
    pub exchange: Code,
    /// Price per share or unit, in the quote currency.
    pub price: Decimal,
    /// Shares or units.
    pub size: Decimal,
    /// Condition codes of the tape.
    pub conditions: Conditions,
    /// The tape it was reported on.
    pub tape: Code,
    /// When it happened, by the exchange's or the tape's clock.
    pub timestamp: Timestamp,
}

/// A trade that was replaced by another.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TradeCorrection {
    /// The symbol.
    pub symbol: Symbol,
    /// The exchange.
    pub exchange: Code,
    /// The id that the trade was reported with.
    pub original_id: i64,
    /// The price that was reported.
    pub original_price: Decimal,
    /// The size that was reported.
    pub original_size: Decimal,
    /// The conditions that were reported.
    pub original_conditions: Conditions,
    /// The id that holds now.
    pub corrected_id: i64,
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
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct TradeCancel {
    /// The symbol.
    pub symbol: Symbol,
    /// The id of the trade that was taken back.
    pub id: i64,
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

/// The best bid and ask.
///
/// Sizes are as the venue sends them: round lots or shares, by feed and date.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
pub struct Quote {
    /// The symbol.
    pub symbol: Symbol,
    /// The exchange of the bid. May be empty where there is none.
    pub bid_exchange: Code,
    /// The bid, in the quote currency. Zero where there is none.
    pub bid_price: Decimal,
    /// The bid's size.
    pub bid_size: Decimal,
    /// The exchange of the ask. May be empty where there is none.
    pub ask_exchange: Code,
    /// The ask, in the quote currency. Zero where there is none.
    pub ask_price: Decimal,
    /// The ask's size.
    pub ask_size: Decimal,
    /// Condition codes of the tape.
    pub conditions: Conditions,
    /// The tape.
    pub tape: Code,
    /// When it was made, by the exchange's or the tape's clock.
    pub timestamp: Timestamp,
}

/// Open, high, low and close of a period.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
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
    /// Shares or units traded.
    pub volume: Decimal,
    /// How many trades, where the venue says.
    pub trade_count: Option<u64>,
    /// The volume-weighted average price, where the venue says.
    pub vwap: Option<Decimal>,
    /// The start of the period.
    pub timestamp: Timestamp,
}

/// The period of a [`Bar`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Interval {
    /// A minute, sent right after its end.
    Minute,
    /// A minute again, because late trades changed it.
    UpdatedMinute,
    /// The running day.
    Day,
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

/// A market-data message of any kind.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "type", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum MarketEvent {
    /// A trade.
    Trade(Trade),
    /// A correction of a trade.
    Correction(TradeCorrection),
    /// A trade taken back.
    Cancel(TradeCancel),
    /// A quote.
    Quote(Quote),
    /// A bar.
    Bar(Bar),
}

/// What a subscription to trades yields: trades, and what amends them.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(tag = "type", rename_all = "snake_case")
)]
pub enum TradeEvent {
    /// A trade.
    Trade(Trade),
    /// A correction of a trade.
    Correction(TradeCorrection),
    /// A trade taken back.
    Cancel(TradeCancel),
}

impl MarketEvent {
    /// The symbol it is about.
    #[must_use]
    pub fn symbol(&self) -> &Symbol {
        match self {
            Self::Trade(trade) => &trade.symbol,
            Self::Correction(correction) => &correction.symbol,
            Self::Cancel(cancel) => &cancel.symbol,
            Self::Quote(quote) => &quote.symbol,
            Self::Bar(bar) => &bar.symbol,
        }
    }
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

/// Trades and what amends them.
pub const TRADES: Channel = Channel::new("trades");
/// Quotes.
pub const QUOTES: Channel = Channel::new("quotes");
/// Minute bars.
pub const BARS: Channel = Channel::new("bars");
/// Minute bars that late trades changed.
pub const UPDATED_BARS: Channel = Channel::new("updatedBars");
/// The running day's bars.
pub const DAILY_BARS: Channel = Channel::new("dailyBars");

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

impl Routed for MarketEvent {
    fn channel(&self) -> Channel {
        match self {
            Self::Trade(_) | Self::Correction(_) | Self::Cancel(_) => TRADES,
            Self::Quote(_) => QUOTES,
            Self::Bar(bar) => bar.interval.channel(),
        }
    }

    fn symbols(&self) -> &[Symbol] {
        std::slice::from_ref(self.symbol())
    }

    fn happened_at(&self) -> Option<Timestamp> {
        match self {
            Self::Trade(trade) => Some(trade.timestamp),
            Self::Quote(quote) => Some(quote.timestamp),
            // A correction may name a trade of long ago, and a bar the start of its period.
            Self::Correction(_) | Self::Cancel(_) | Self::Bar(_) => None,
        }
    }
}

impl Payload for MarketEvent {
    type Source = Self;
    fn project(event: &Self) -> Option<Self> {
        Some(event.clone())
    }
}

impl Payload for TradeEvent {
    type Source = MarketEvent;
    fn project(event: &MarketEvent) -> Option<Self> {
        Some(match event {
            MarketEvent::Trade(trade) => Self::Trade(trade.clone()),
            MarketEvent::Correction(correction) => Self::Correction(correction.clone()),
            MarketEvent::Cancel(cancel) => Self::Cancel(cancel.clone()),
            MarketEvent::Quote(_) | MarketEvent::Bar(_) => return None,
        })
    }
}

impl Payload for Quote {
    type Source = MarketEvent;
    fn project(event: &MarketEvent) -> Option<Self> {
        if let MarketEvent::Quote(quote) = event {
            Some(quote.clone())
        } else {
            None
        }
    }
}

impl Payload for Bar {
    type Source = MarketEvent;
    fn project(event: &MarketEvent) -> Option<Self> {
        if let MarketEvent::Bar(bar) = event {
            Some(bar.clone())
        } else {
            None
        }
    }
}

/// One topic of `channel` for each of `symbols`.
pub fn topics<S: Into<Symbol>>(
    channel: Channel,
    symbols: impl IntoIterator<Item = S>,
) -> impl Iterator<Item = Topic> {
    symbols
        .into_iter()
        .map(move |symbol| Topic::new(channel, symbol))
}

impl fmt::Display for Trade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} trade {} x {} #{} at {}",
            self.symbol, self.price, self.size, self.id, self.timestamp
        )
    }
}

impl fmt::Display for TradeCorrection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} correction #{} {} x {} -> #{} {} x {}",
            self.symbol,
            self.original_id,
            self.original_price,
            self.original_size,
            self.corrected_id,
            self.corrected_price,
            self.corrected_size
        )
    }
}

impl fmt::Display for TradeCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} cancel #{} {} x {} ({})",
            self.symbol, self.id, self.price, self.size, self.action
        )
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

impl fmt::Display for TradeEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trade(trade) => trade.fmt(f),
            Self::Correction(correction) => correction.fmt(f),
            Self::Cancel(cancel) => cancel.fmt(f),
        }
    }
}

impl fmt::Display for MarketEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trade(trade) => trade.fmt(f),
            Self::Correction(correction) => correction.fmt(f),
            Self::Cancel(cancel) => cancel.fmt(f),
            Self::Quote(quote) => quote.fmt(f),
            Self::Bar(bar) => bar.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_symbol_needs_no_allocation_and_hashes_as_str() {
        let symbol = Symbol::from("MSFT260619C00450000");
        assert!(!symbol.0.is_heap_allocated());
        let map = std::collections::HashMap::from([(symbol, 1)]);
        assert_eq!(map.get("MSFT260619C00450000"), Some(&1));
    }

    #[test]
    fn timestamps_keep_nanoseconds_and_cut_zeros() {
        for text in [
            "2026-03-17T14:30:05Z",
            "2026-03-17T14:30:05.12Z",
            "2026-03-17T14:30:05.123456789Z",
            "1969-12-31T23:59:59.999999999Z",
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::try_from(SystemTime::from(time)).unwrap(), time);
        }
        let offset: Timestamp = "2026-03-17T10:30:05.2-04:00".parse().unwrap();
        assert_eq!(offset.to_string(), "2026-03-17T14:30:05.2Z");
        assert!("0001-01-01T00:00:00Z".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }

    #[test]
    fn conditions_keep_order_spaces_and_empty_codes() {
        for codes in [&["@", " ", "TI"][..], &[], &[""]] {
            assert_eq!(
                codes
                    .iter()
                    .collect::<Conditions>()
                    .iter()
                    .collect::<Vec<_>>(),
                codes
            );
        }
    }
}
