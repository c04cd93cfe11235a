//! Trades, quotes and bars as the venue usually writes them, straight from their bytes: what nearly every message is.
//! It must not know what an odd item means. At anything unusual it gives up, having handed out nothing of that item,
//! and serde reads it instead; where both can read, they read the same.
//!
//! `T` is in front, usually; the other keys may come in any order. They are quickest in the order in which they are
//! asked for here, as the processor foresees it.

mod json;
mod msgpack;

pub(crate) use self::json::LastDay;
use rust_decimal::Decimal;

use super::super::Codec;
use crate::market::{
    Bar, Code, Conditions, Interval, Letters, MarketEvent, Quote, Timestamp, Trade,
};

/// How much of a frame was usual.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Scanned {
    Whole,
    /// So many items, and something else behind them.
    Items(usize),
}

/// Hands out the events of a frame, in order, up to the first unusual place.
#[inline]
pub(crate) fn scan(
    frame: &[u8],
    codec: Codec,
    day: &mut LastDay,
    each: impl FnMut(MarketEvent),
) -> Scanned {
    match codec {
        Codec::Json => items(json::Cursor::new(frame, day), each),
        Codec::MessagePack => match msgpack::Cursor::new(frame) {
            Some(frame) => items(frame, each),
            None => Scanned::Items(0),
        },
    }
}

fn items<'a>(mut frame: impl Tokens<'a>, mut each: impl FnMut(MarketEvent)) -> Scanned {
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
trait Tokens<'a> {
    /// The beginning of the next item, or whether the frame is whole without one.
    fn item(&mut self) -> Option<bool>;
    /// The one letter that says an item's kind, which is the first thing it says.
    fn kind(&mut self) -> Option<u8>;
    /// Whether the item ends here.
    fn end(&mut self) -> bool;
    /// Passes the key of the item's next pair, if it is this.
    fn key(&mut self, key: Key) -> bool;
    fn text(&mut self) -> Option<Text<'a>>;
    /// The same where one letter is usual.
    fn code(&mut self) -> Option<Text<'a>>;
    fn codes(&mut self) -> Option<Codes<'a>>;
    fn number(&mut self) -> Option<Number>;
    fn integer(&mut self) -> Option<u64>;
    fn timestamp(&mut self) -> Option<Timestamp>;
    /// The list that `codes` passed.
    fn conditions(list: &'a [u8]) -> Option<Conditions>;
}

// What was read of an item stays in words and slices until all of it was, because those fit into registers. A value of
// sixteen bytes is stored in pieces; whoever moves it loads it whole, and has to wait until all of its pieces are there.

/// A text, and the same in a word if it is short enough for that.
#[derive(Clone, Copy, Default)]
struct Text<'a> {
    bytes: &'a [u8],
    letters: Letters,
}

impl<'a> Text<'a> {
    #[inline(always)]
    fn read<T: From<Letters> + From<&'a str>>(self) -> T {
        if self.bytes.len() <= Letters::MOST {
            return self.letters.into();
        }
        self.as_str().into()
    }

    /// One letter, which must be ASCII.
    #[inline(always)]
    fn of(letter: &'a u8) -> Self {
        Self {
            bytes: std::slice::from_ref(letter),
            letters: Letters::letter(*letter),
        }
    }

    /// Nobody wants a symbol without a letter: something is missing.
    #[inline(always)]
    fn not_empty(self) -> Option<Self> {
        (!self.bytes.is_empty()).then_some(self)
    }

    fn as_str(self) -> &'a str {
        // It was one when it was passed.
        str::from_utf8(self.bytes).unwrap_or_default()
    }
}

/// Condition codes.
#[derive(Clone, Copy)]
enum Codes<'a> {
    /// Those that are a few letters.
    Few(Letters),
    /// The list.
    Any(&'a [u8]),
}

impl<'a> Codes<'a> {
    #[inline(always)]
    fn read<T: Tokens<'a>>(self) -> Conditions {
        match self {
            Self::Few(letters) => letters.into(),
            // They were some when they were passed.
            Self::Any(list) => T::conditions(list).unwrap_or_default(),
        }
    }
}

/// A number: its digits, and how many of them stand behind the point, which are 28 at most.
#[derive(Clone, Copy)]
struct Number {
    digits: u64,
    scale: u32,
    is_negative: bool,
}

impl Number {
    #[inline(always)]
    fn read(self) -> Decimal {
        let (low, middle) = (self.digits as u32, (self.digits >> 32) as u32);
        Decimal::from_parts(low, middle, 0, self.is_negative, self.scale)
    }
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
fn event<'a, T: Tokens<'a>>(item: &mut T, each: &mut impl FnMut(MarketEvent)) -> Option<()> {
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
fn quote<'a, T: Tokens<'a>>(item: &mut T) -> Option<Quote> {
    pairs!(item:
        "S" => symbol = text,
        "bx" => bid_exchange = code,
        "bp" => bid_price = number,
        "bs" => bid_size = number,
        "ax" => ask_exchange = code,
        "ap" => ask_price = number,
        "as" => ask_size = number,
        "c" => conditions = codes,
        "z" => tape = code,
        "t" => timestamp = timestamp,
        "x" => exchange = code,
    );
    Some(Quote {
        symbol: symbol?.not_empty()?.read(),
        bid_exchange: bid_exchange.unwrap_or_default().read(),
        bid_price: bid_price?.read(),
        bid_size: bid_size?.read(),
        ask_exchange: ask_exchange.unwrap_or_default().read(),
        ask_price: ask_price?.read(),
        ask_size: ask_size?.read(),
        exchange: exchange.unwrap_or_default().read(),
        conditions: conditions.map_or_else(Conditions::default, Codes::read::<T>),
        tape: tape.unwrap_or_default().read(),
        timestamp: timestamp?,
    })
}

#[inline(always)]
fn trade<'a, T: Tokens<'a>>(item: &mut T) -> Option<Trade> {
    pairs!(item:
        "S" => symbol = text,
        "i" => id = integer,
        "x" => exchange = code,
        "p" => price = number,
        "s" => size = number,
        "c" => conditions = codes,
        "z" => tape = code,
        "t" => timestamp = timestamp,
        "tks" => taker_side = code,
    );
    Some(Trade {
        symbol: symbol?.not_empty()?.read(),
        id: match id {
            Some(id) => Some(i64::try_from(id).ok()?),
            None => None,
        },
        exchange: exchange.unwrap_or_default().read(),
        price: price?.read(),
        size: size?.read(),
        taker_side: taker_side.unwrap_or_default().read(),
        conditions: conditions.map_or_else(Conditions::default, Codes::read::<T>),
        tape: tape.unwrap_or_default().read(),
        update: Code::default(),
        timestamp: timestamp?,
    })
}

#[inline(always)]
fn bar<'a, T: Tokens<'a>>(item: &mut T, interval: Interval) -> Option<Bar> {
    pairs!(item:
        "S" => symbol = text,
        "o" => open = number,
        "h" => high = number,
        "l" => low = number,
        "c" => close = number,
        "v" => volume = number,
        "n" => trade_count = integer,
        "vw" => vwap = number,
        "t" => timestamp = timestamp,
        "x" => exchange = code,
    );
    Some(Bar {
        symbol: symbol?.not_empty()?.read(),
        interval,
        open: open?.read(),
        high: high?.read(),
        low: low?.read(),
        close: close?.read(),
        volume: volume?.read(),
        trade_count,
        vwap: vwap.map(Number::read),
        exchange: exchange.unwrap_or_default().read(),
        timestamp: timestamp?,
    })
}

#[cfg(test)]
mod tests;
