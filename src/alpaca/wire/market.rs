//! The keys of market data, kind by kind. One type serves all feeds: what a feed lacks may be missing.

use std::{fmt, sync::Arc};

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, SeqAccess, Visitor},
};

use super::{
    number,
    text::{self, LONGER, LONGEST, codes, symbols},
    time,
};
use crate::market::{
    Bar, Code, Conditions, Imbalance, Interval, LuldBand, News, OrderBookUpdate, PerpetualPricing,
    PriceLevel, Quote, Symbol, Timestamp, Trade, TradeCancel, TradeCorrection, TradingStatus,
};

/// A value of the market as it stands on the wire.
pub(super) struct Wire<T>(pub(super) T);

macro_rules! wire {
    ($($wire:ident is $value:ident),+ $(,)?) => {$(
        impl<'de> Deserialize<'de> for Wire<$value> {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $wire::deserialize(deserializer).map(Self)
            }
        }
        impl Serialize for Wire<&$value> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $wire::serialize(self.0, serializer)
            }
        }
    )+};
}
wire! {
    WireTrade is Trade,
    WireCorrection is TradeCorrection,
    WireCancel is TradeCancel,
    WireQuote is Quote,
    WireBar is Bar,
    WireStatus is TradingStatus,
    WireLuld is LuldBand,
    WireImbalance is Imbalance,
    WireOrderBook is OrderBookUpdate,
    WireLevel is PriceLevel,
    WirePricing is PerpetualPricing,
    WireNews is News,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Trade")]
struct WireTrade {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    id: Option<i64>,
    #[serde(
        rename = "x",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    exchange: Code,
    #[serde(rename = "p", with = "number")]
    price: Decimal,
    #[serde(rename = "s", with = "number::size")]
    size: Decimal,
    #[serde(
        rename = "tks",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    taker_side: Code,
    #[serde(
        rename = "c",
        default,
        with = "codes",
        skip_serializing_if = "Conditions::is_empty"
    )]
    conditions: Conditions,
    #[serde(
        rename = "z",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    tape: Code,
    #[serde(
        rename = "u",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    update: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Quote")]
struct WireQuote {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(
        rename = "bx",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    bid_exchange: Code,
    #[serde(rename = "bp", with = "number")]
    bid_price: Decimal,
    #[serde(rename = "bs", with = "number::size")]
    bid_size: Decimal,
    #[serde(
        rename = "ax",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    ask_exchange: Code,
    #[serde(rename = "ap", with = "number")]
    ask_price: Decimal,
    #[serde(rename = "as", with = "number::size")]
    ask_size: Decimal,
    #[serde(
        rename = "x",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    exchange: Code,
    #[serde(
        rename = "c",
        default,
        with = "codes",
        skip_serializing_if = "Conditions::is_empty"
    )]
    conditions: Conditions,
    #[serde(
        rename = "z",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Bar")]
struct WireBar {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    /// Said by `T`.
    #[serde(skip, default = "minute")]
    interval: Interval,
    #[serde(rename = "o", with = "number")]
    open: Decimal,
    #[serde(rename = "h", with = "number")]
    high: Decimal,
    #[serde(rename = "l", with = "number")]
    low: Decimal,
    #[serde(rename = "c", with = "number")]
    close: Decimal,
    #[serde(rename = "v", with = "number::size")]
    volume: Decimal,
    #[serde(
        rename = "n",
        default,
        with = "number::count",
        skip_serializing_if = "Option::is_none"
    )]
    trade_count: Option<u64>,
    #[serde(
        rename = "vw",
        default,
        with = "number::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    vwap: Option<Decimal>,
    #[serde(
        rename = "x",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    exchange: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

fn minute() -> Interval {
    Interval::Minute
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TradeCorrection")]
struct WireCorrection {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "x", default, with = "text")]
    exchange: Code,
    #[serde(rename = "oi")]
    original_id: i64,
    #[serde(rename = "op", with = "number")]
    original_price: Decimal,
    #[serde(rename = "os", with = "number::size")]
    original_size: Decimal,
    #[serde(rename = "oc", default, with = "codes")]
    original_conditions: Conditions,
    #[serde(rename = "ci")]
    corrected_id: i64,
    #[serde(rename = "cp", with = "number")]
    corrected_price: Decimal,
    #[serde(rename = "cs", with = "number::size")]
    corrected_size: Decimal,
    #[serde(rename = "cc", default, with = "codes")]
    corrected_conditions: Conditions,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

/// Here `x` is the exchange, although it is also the kind.
#[derive(Serialize, Deserialize)]
#[serde(remote = "TradeCancel")]
struct WireCancel {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "i")]
    id: i64,
    #[serde(rename = "x", default, with = "text")]
    exchange: Code,
    #[serde(rename = "p", with = "number")]
    price: Decimal,
    #[serde(rename = "s", with = "number::size")]
    size: Decimal,
    #[serde(rename = "a", default, with = "text")]
    action: Code,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "TradingStatus")]
struct WireStatus {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "sc", default, with = "text")]
    status_code: Code,
    #[serde(rename = "sm", default = "text::none", with = "text")]
    status_message: Arc<str>,
    #[serde(rename = "rc", default, with = "text")]
    reason_code: Code,
    #[serde(rename = "rm", default = "text::none", with = "text")]
    reason_message: Arc<str>,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "LuldBand")]
struct WireLuld {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "u", with = "number")]
    limit_up: Decimal,
    #[serde(rename = "d", with = "number")]
    limit_down: Decimal,
    #[serde(rename = "i", default, with = "text")]
    indicator: Code,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Imbalance")]
struct WireImbalance {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "p", with = "number")]
    price: Decimal,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "OrderBookUpdate")]
struct WireOrderBook {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(
        rename = "x",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    exchange: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
    #[serde(rename = "b", default = "no_levels", with = "levels")]
    bids: Arc<[PriceLevel]>,
    #[serde(rename = "a", default = "no_levels", with = "levels")]
    asks: Arc<[PriceLevel]>,
    /// Sent only where it is true.
    #[serde(
        rename = "r",
        default,
        with = "flag",
        skip_serializing_if = "flag::is_off"
    )]
    reset: bool,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PriceLevel")]
struct WireLevel {
    #[serde(rename = "p", with = "number")]
    price: Decimal,
    /// Fractional on every feed that has books.
    #[serde(rename = "s", with = "number")]
    size: Decimal,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "PerpetualPricing")]
struct WirePricing {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(
        rename = "ip",
        default,
        with = "number::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    index_price: Option<Decimal>,
    #[serde(
        rename = "mp",
        default,
        with = "number::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    mark_price: Option<Decimal>,
    #[serde(
        rename = "fr",
        default,
        with = "number::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    funding_rate: Option<Decimal>,
    #[serde(
        rename = "oi",
        default,
        with = "number::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    open_interest: Option<Decimal>,
    #[serde(
        rename = "ft",
        default,
        with = "time::maybe",
        skip_serializing_if = "Option::is_none"
    )]
    next_funding: Option<Timestamp>,
    #[serde(
        rename = "x",
        default,
        with = "text",
        skip_serializing_if = "text::is_empty"
    )]
    exchange: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "News")]
struct WireNews {
    id: i64,
    #[serde(default = "text::none", with = "text")]
    headline: Arc<str>,
    #[serde(default = "text::none", with = "text")]
    summary: Arc<str>,
    #[serde(default = "text::none", with = "text")]
    author: Arc<str>,
    #[serde(with = "time")]
    created_at: Timestamp,
    #[serde(with = "time")]
    updated_at: Timestamp,
    #[serde(default = "text::none", with = "text")]
    url: Arc<str>,
    #[serde(default = "text::none", with = "text")]
    content: Arc<str>,
    #[serde(default = "no_symbols", with = "symbols")]
    symbols: Arc<[Symbol]>,
    #[serde(default, with = "text")]
    source: Code,
}

fn no_symbols() -> Arc<[Symbol]> {
    Arc::new([])
}

fn no_levels() -> Arc<[PriceLevel]> {
    Arc::new([])
}

/// The levels of one side of a book, or null.
mod levels {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[PriceLevel]>, D::Error> {
        struct Levels;
        impl<'de> Visitor<'de> for Levels {
            type Value = Arc<[PriceLevel]>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of price levels")
            }
            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(no_levels())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
                let mut levels = Vec::new();
                while let Some(Wire(level)) = items.next_element()? {
                    if levels.len() == LONGEST {
                        return Err(A::Error::custom(LONGER));
                    }
                    levels.push(level);
                }
                Ok(levels.into())
            }
        }
        deserializer.deserialize_any(Levels)
    }

    pub(super) fn serialize<S: Serializer>(
        levels: &[PriceLevel],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(levels.iter().map(Wire))
    }
}

/// A flag that may be null or missing, and is off then.
mod flag {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<bool, D::Error> {
        Ok(Option::deserialize(deserializer)?.unwrap_or_default())
    }

    pub(super) fn serialize<S: Serializer>(flag: &bool, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bool(*flag)
    }

    pub(super) fn is_off(flag: &bool) -> bool {
        !*flag
    }
}
