//! The fields of market data, kind by kind: one table of each for reading and writing. One type serves all feeds: what
//! a feed lacks may be missing.
//!
//! ItemReading: an `essential` field costs the item, an `optional` one only itself, a `decisive` one may be missing, but
//! not unreadable. Writing: what is empty is left out, unless it is essential or `always` there, which on reading is
//! optional.

use std::sync::Arc;

#[cfg(any(feature = "sim", test))]
use serde::{Serialize, Serializer, ser::SerializeMap as _};

#[cfg(any(feature = "sim", test))]
use super::form::{Codes, Count, Flag, Id, Levels, Number, Size, Symbols, Text, Time};
use super::{
    field::{Field, Fields, ItemReading, Odd, Read, list, slots},
    value::Raw,
};
use crate::market::{
    Bar, Imbalance, Interval, LuldBand, News, OrderBookUpdate, PerpetualPricing, PriceLevel, Quote,
    Trade, TradeCancel, TradeCorrection, TradingStatus,
};

/// A kind of item that can be read.
pub(super) trait MarketItem: Sized {
    fn read(fields: &Fields<'_>, reading: &mut ItemReading) -> Result<Self, String>;
}

/// A value of the market as it stands on the wire.
#[cfg(any(feature = "sim", test))]
pub(super) struct Wire<T>(pub(super) T);

macro_rules! item {
    ($type:ident { $($field:ident $key:literal $how:ident $form:ident,)+ } $(with $($rest:ident: $value:expr),+)?) => {
        impl MarketItem for $type {
            fn read(fields: &Fields<'_>, reading: &mut ItemReading) -> Result<Self, String> {
                Ok(Self {
                    $($field: item!(read $how fields $key reading),)+
                    $($($rest: $value,)+)?
                })
            }
        }

        #[cfg(any(feature = "sim", test))]
        impl Serialize for Wire<&$type> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                // MessagePack writes the number of pairs in front.
                let pairs = [$(item!(is_written $how $form::of(&self.0.$field))),+];
                let count = pairs.iter().filter(|is_written| **is_written).count();
                let mut map = serializer.serialize_map(Some(count))?;
                $(if item!(is_written $how $form::of(&self.0.$field)) {
                    map.serialize_entry($key, &$form::of(&self.0.$field))?;
                })+
                map.end()
            }
        }
    };
    (read essential $fields:ident $key:literal $reading:ident) => { $fields.essential($key, $reading)? };
    (read decisive $fields:ident $key:literal $reading:ident) => { $fields.decisive($key, $reading)? };
    (read optional $fields:ident $key:literal $reading:ident) => { $fields.optional($key, $reading) };
    (read always $fields:ident $key:literal $reading:ident) => { $fields.optional($key, $reading) };
    (is_written essential $form:expr) => { true };
    (is_written always $form:expr) => { true };
    (is_written $how:ident $form:expr) => { !$form.is_empty() };
}

item! {
    Trade {
        symbol "S" essential Text,
        id "i" optional Id,
        exchange "x" optional Text,
        price "p" essential Number,
        size "s" essential Size,
        taker_side "tks" optional Text,
        conditions "c" optional Codes,
        tape "z" optional Text,
        update "u" optional Text,
        timestamp "t" essential Time,
    }
}

item! {
    Quote {
        symbol "S" essential Text,
        bid_exchange "bx" optional Text,
        bid_price "bp" essential Number,
        bid_size "bs" essential Size,
        ask_exchange "ax" optional Text,
        ask_price "ap" essential Number,
        ask_size "as" essential Size,
        exchange "x" optional Text,
        conditions "c" optional Codes,
        tape "z" optional Text,
        timestamp "t" essential Time,
    }
}

// The interval is said by the item's kind.
item! {
    Bar {
        symbol "S" essential Text,
        open "o" essential Number,
        high "h" essential Number,
        low "l" essential Number,
        close "c" essential Number,
        volume "v" essential Size,
        trade_count "n" optional Count,
        vwap "vw" optional Number,
        exchange "x" optional Text,
        timestamp "t" essential Time,
    }
    with interval: Interval::Minute
}

item! {
    TradeCorrection {
        symbol "S" essential Text,
        exchange "x" always Text,
        original_id "oi" always Id,
        original_price "op" essential Number,
        original_size "os" essential Size,
        original_conditions "oc" always Codes,
        corrected_id "ci" always Id,
        corrected_price "cp" essential Number,
        corrected_size "cs" essential Size,
        corrected_conditions "cc" always Codes,
        tape "z" always Text,
        timestamp "t" essential Time,
    }
}

// Here `x` is the exchange, although it is also the kind.
item! {
    TradeCancel {
        symbol "S" essential Text,
        id "i" always Id,
        exchange "x" always Text,
        price "p" essential Number,
        size "s" essential Size,
        action "a" always Text,
        tape "z" always Text,
        timestamp "t" essential Time,
    }
}

item! {
    TradingStatus {
        symbol "S" essential Text,
        status_code "sc" always Text,
        status_message "sm" always Text,
        reason_code "rc" always Text,
        reason_message "rm" always Text,
        tape "z" always Text,
        timestamp "t" essential Time,
    }
}

item! {
    LuldBand {
        symbol "S" essential Text,
        limit_up "u" essential Number,
        limit_down "d" essential Number,
        indicator "i" always Text,
        tape "z" always Text,
        timestamp "t" essential Time,
    }
}

item! {
    Imbalance {
        symbol "S" essential Text,
        price "p" essential Number,
        tape "z" always Text,
        timestamp "t" essential Time,
    }
}

// A book without one of its changes, or with one more after a reset, is another book.
item! {
    OrderBookUpdate {
        symbol "S" essential Text,
        exchange "x" optional Text,
        timestamp "t" essential Time,
        bids "b" decisive Levels,
        asks "a" decisive Levels,
        reset "r" decisive Flag,
    }
}

item! {
    PriceLevel {
        price "p" essential Number,
        // Fractional on every feed that has books.
        size "s" essential Number,
    }
}

item! {
    PerpetualPricing {
        symbol "S" essential Text,
        index_price "ip" optional Number,
        mark_price "mp" optional Number,
        funding_rate "fr" optional Number,
        open_interest "oi" optional Number,
        next_funding "ft" optional Time,
        exchange "x" optional Text,
        timestamp "t" essential Time,
    }
}

// Who wants one symbol must not miss what is about it.
item! {
    News {
        id "id" always Id,
        headline "headline" always Text,
        summary "summary" always Text,
        author "author" always Text,
        created_at "created_at" essential Time,
        updated_at "updated_at" always Time,
        url "url" always Text,
        content "content" always Text,
        symbols "symbols" decisive Symbols,
        source "source" always Text,
    }
}

slots! { Arc<[PriceLevel]> }

impl Field for Arc<[PriceLevel]> {
    const WHAT: &'static str = "a list of price levels";

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        let Some(levels) = list(raw)? else {
            return Ok(None);
        };
        let levels = levels.into_iter().map(|level| {
            let fields = Fields::of(level).map_err(|_| Odd)?;
            PriceLevel::read(&fields, reading).map_err(|_| Odd)
        });
        levels.collect::<Result<_, _>>().map(Some)
    }
}
