//! Trades, quotes and bars as the venue usually writes them, straight from their bytes: what nearly every message is.
//! It must not know what an odd item means. At anything unusual it gives up, having handed out nothing of that item,
//! and serde reads it instead; where both can read, they read the same.
//!
//! `T` is in front, usually; the other keys may come in any order. They are quickest in the order in which they are
//! asked for here, as the processor foresees it.

mod json;
mod msgpack;

use rust_decimal::Decimal;

use super::super::Codec;
use crate::market::{
    Bar, Code, Conditions, Interval, MarketEvent, Quote, Symbol, Timestamp, Trade,
};

/// How much of a frame was usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scanned {
    Whole,
    /// So many items, and something else behind them.
    Items(usize),
}

/// Hands out the events of a frame, in order, up to the first unusual place.
#[inline]
pub(super) fn scan(frame: &[u8], codec: Codec, each: impl FnMut(MarketEvent)) -> Scanned {
    match codec {
        Codec::Json => items(json::Cursor::new(frame), each),
        Codec::MessagePack => match msgpack::Cursor::new(frame) {
            Some(frame) => items(frame, each),
            None => Scanned::Items(0),
        },
    }
}

fn items(mut frame: impl Tokens, mut each: impl FnMut(MarketEvent)) -> Scanned {
    let mut count = 0;
    while let Some(is_last) = frame.item() {
        if is_last {
            return Scanned::Whole;
        }
        if event(&mut frame, &mut each).is_none() {
            break;
        }
        count += 1;
    }
    Scanned::Items(count)
}

/// A frame in one of the codecs. Everything fails at what is unusual; then the frame is of no more use.
trait Tokens {
    /// The beginning of the next item, or whether the frame is whole without one.
    fn item(&mut self) -> Option<bool>;
    /// The one letter that says an item's kind, which is the first thing it says.
    fn kind(&mut self) -> Option<u8>;
    /// Whether the item ends here.
    fn end(&mut self) -> bool;
    /// Passes the key of the item's next pair, if it is this.
    fn key(&mut self, key: Key) -> bool;
    fn symbol(&mut self) -> Option<Symbol>;
    fn code(&mut self) -> Option<Code>;
    fn conditions(&mut self) -> Option<Conditions>;
    fn decimal(&mut self) -> Option<Decimal>;
    fn integer(&mut self) -> Option<u64>;
    fn timestamp(&mut self) -> Option<Timestamp>;
}

/// A key as it is written in each codec.
#[derive(Clone, Copy)]
struct Key {
    name: &'static str,
    /// With everything between the value before it and its own.
    json: &'static str,
}

macro_rules! key {
    ($name:literal) => {
        Key {
            name: $name,
            json: concat!(",\"", $name, "\":"),
        }
    };
}

// Each kind hands its event out by itself: so it is written once, to where it is wanted.
#[inline(always)]
fn event<T: Tokens>(item: &mut T, each: &mut impl FnMut(MarketEvent)) -> Option<()> {
    match item.kind()? {
        b'q' => each(MarketEvent::Quote(quote(item)?)),
        b't' => each(MarketEvent::Trade(trade(item)?)),
        b'b' => each(MarketEvent::Bar(bar(item, Interval::Minute)?)),
        b'u' => each(MarketEvent::Bar(bar(item, Interval::UpdatedMinute)?)),
        b'd' => each(MarketEvent::Bar(bar(item, Interval::Day)?)),
        _ => return None,
    }
    Some(())
}

/// Reads the pairs of an item into places, each at most once, and fails at any other key.
macro_rules! pairs {
    ($item:ident: $($name:literal => $place:ident = $read:ident),+ $(,)?) => {
        $(let mut $place = None;)+
        while !$item.end() {
            let mut is_known = false;
            $(if $item.key(key!($name)) {
                if $place.is_some() {
                    return None;
                }
                $place = Some($item.$read()?);
                is_known = true;
            })+
            if !is_known {
                return None;
            }
        }
    };
}

#[inline(always)]
fn quote<T: Tokens>(item: &mut T) -> Option<Quote> {
    pairs!(item:
        "S" => symbol = symbol,
        "bx" => bid_exchange = code,
        "bp" => bid_price = decimal,
        "bs" => bid_size = decimal,
        "ax" => ask_exchange = code,
        "ap" => ask_price = decimal,
        "as" => ask_size = decimal,
        "c" => conditions = conditions,
        "z" => tape = code,
        "t" => timestamp = timestamp,
        "x" => exchange = code,
    );
    Some(Quote {
        symbol: symbol?,
        bid_exchange: bid_exchange.unwrap_or_default(),
        bid_price: bid_price?,
        bid_size: bid_size?,
        ask_exchange: ask_exchange.unwrap_or_default(),
        ask_price: ask_price?,
        ask_size: ask_size?,
        exchange: exchange.unwrap_or_default(),
        conditions: conditions.unwrap_or_default(),
        tape: tape.unwrap_or_default(),
        timestamp: timestamp?,
    })
}

#[inline(always)]
fn trade<T: Tokens>(item: &mut T) -> Option<Trade> {
    pairs!(item:
        "S" => symbol = symbol,
        "i" => id = integer,
        "x" => exchange = code,
        "p" => price = decimal,
        "s" => size = decimal,
        "c" => conditions = conditions,
        "z" => tape = code,
        "t" => timestamp = timestamp,
        "tks" => taker_side = code,
    );
    Some(Trade {
        symbol: symbol?,
        id: match id {
            Some(id) => Some(i64::try_from(id).ok()?),
            None => None,
        },
        exchange: exchange.unwrap_or_default(),
        price: price?,
        size: size?,
        taker_side: taker_side.unwrap_or_default(),
        conditions: conditions.unwrap_or_default(),
        tape: tape.unwrap_or_default(),
        update: Code::default(),
        timestamp: timestamp?,
    })
}

#[inline(always)]
fn bar<T: Tokens>(item: &mut T, interval: Interval) -> Option<Bar> {
    pairs!(item:
        "S" => symbol = symbol,
        "o" => open = decimal,
        "h" => high = decimal,
        "l" => low = decimal,
        "c" => close = decimal,
        "v" => volume = decimal,
        "n" => trade_count = integer,
        "vw" => vwap = decimal,
        "t" => timestamp = timestamp,
        "x" => exchange = code,
    );
    Some(Bar {
        symbol: symbol?,
        interval,
        open: open?,
        high: high?,
        low: low?,
        close: close?,
        volume: volume?,
        trade_count,
        vwap,
        exchange: exchange.unwrap_or_default(),
        timestamp: timestamp?,
    })
}

#[cfg(test)]
mod tests;
