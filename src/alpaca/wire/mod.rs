//! Alpaca's market data as it stands on the wire, as JSON and as MessagePack: types and codecs, and nothing else. The
//! simulator writes with the same types that the session reads with.
//!
//! A frame is an array of maps whose `T` names their kind. Items are read one by one, so that an odd one costs nothing
//! but itself.

mod control;
mod field;
#[cfg(any(feature = "sim", test))]
mod form;
mod json;
mod market;
mod msgpack;
mod number;
pub(crate) mod orders;
mod scan;
#[cfg(any(feature = "sim", test))]
pub(crate) mod server;
mod time;
mod value;

pub(crate) use self::{
    control::SubscriptionRequest,
    scan::{LastDay, Scanned, scan},
};
use std::fmt::Display;

use self::{
    field::{Fields, ItemReading},
    market::MarketItem,
    msgpack::notation,
    value::Raw,
};
use super::Codec;
use crate::{
    event::{Concerns, OddFields, Unparsed},
    market::{
        BARS, Bar, DAILY_BARS, IMBALANCES, Interval, LULDS, MarketEvent, NEWS, ORDERBOOKS, PRICING,
        QUOTES, STATUSES, Symbol, TRADES, UPDATED_BARS,
    },
    topic::{Channel, Topic},
};

/// One item of a server's frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Success(String),
    Error {
        /// Nothing where it is none, or cannot be read.
        code: Option<u16>,
        message: String,
    },
    /// The whole state, as topics. Channels that come by themselves are left out.
    Subscription(Vec<Topic>),
    /// An event, and its fields that could not be read.
    Event(MarketEvent, OddFields),
}

/// Reads the items of a frame that stand behind so many that were scanned, and hands them out in order. What
/// stands behind a broken place is handed out as one unparsed item.
pub(crate) fn decode_behind(
    scanned: usize,
    frame: &[u8],
    codec: Codec,
    each: impl FnMut(Result<Incoming, Unparsed>),
) {
    bounded(each, |each| {
        items(frame, codec, scanned, |item| each(item.and_then(read_item)));
    });
}

/// An item of a frame, unread.
struct Item<'a> {
    raw: Raw<'a>,
    /// Bytes of the frame that are no text were replaced by U+FFFD.
    was_mended: bool,
}

impl Item<'_> {
    fn reading(&self) -> ItemReading {
        ItemReading::new(self.was_mended)
    }

    fn unparsed(&self, why: impl Display) -> Unparsed {
        match self.raw {
            Raw::Json(text) => Unparsed::new(text.as_bytes(), why),
            Raw::MessagePack(bytes) => Unparsed::new(notation::of(bytes).as_bytes(), why),
        }
    }
}

/// Hands out the items of a frame behind the first `scanned`, and what stands behind a broken place in it. A bare item
/// without the array around it will do.
fn items(
    frame: &[u8],
    codec: Codec,
    scanned: usize,
    mut each: impl FnMut(Result<Item<'_>, Unparsed>),
) {
    // Whoever was asked for MessagePack, and speaks JSON all the same, can be told by the first byte.
    let is_json = codec == Codec::Json || matches!(frame, [b'[' | b'{', ..]);
    if is_json {
        json::items(frame, scanned, &mut each);
    } else {
        msgpack::items(frame, scanned, &mut each);
    }
}

/// All items of a frame, however each of them is read.
#[cfg(test)]
pub(crate) fn decode(frame: &[u8], codec: Codec, mut each: impl FnMut(Result<Incoming, Unparsed>)) {
    let scanned = scan(frame, codec, &mut LastDay::default(), |event| {
        each(Ok(Incoming::Event(event, OddFields::default())))
    });
    if let Scanned::Items(scanned) = scanned {
        decode_behind(scanned, frame, codec, each);
    }
}

/// Of many unparsed items in what `walk` hands out the first go on to `each`, and the others are counted in one more, at
/// the end: each takes far more memory than its bytes in the frame, of which there may be millions.
fn bounded<T>(
    mut each: impl FnMut(Result<T, Unparsed>),
    walk: impl FnOnce(&mut dyn FnMut(Result<T, Unparsed>)),
) {
    let mut shown = 0;
    let mut uncounted: Option<Unparsed> = None;
    walk(&mut |item| match (item, &mut uncounted) {
        (Err(unparsed), Some(last)) => last.absorb(&unparsed),
        (Err(unparsed), None) if shown == MAX_UNPARSED => uncounted = Some(unparsed),
        (item, _) => {
            shown += usize::from(item.is_err());
            each(item);
        }
    });
    if let Some(last) = uncounted {
        each(Err(last));
    }
}

/// How many unparsed items of a frame are handed out one by one.
const MAX_UNPARSED: usize = 100;

fn read_item(item: Item<'_>) -> Result<Incoming, Unparsed> {
    let mut reading = item.reading();
    // Until the kind is known it may be an event of any topic.
    let fields = Fields::of(item.raw).map_err(|why| item.unparsed(why))?;
    let kind = fields
        .word("T", &reading)
        .map_err(|why| item.unparsed(why))?;
    let unparsed = |why: String, concerns| item.unparsed(why).concerning(concerns);
    match read_kind(&kind, &fields, &mut reading) {
        Kind::Control(read) => read.map_err(|why| unparsed(why, Concerns::Nobody)),
        Kind::Event(_, Ok(event)) => Ok(Incoming::Event(event, reading.into_odd_fields())),
        Kind::Event(channel, Err(why)) => {
            let symbol = fields.essential::<Symbol>("S", &mut reading);
            let concerns = match symbol {
                Ok(symbol) => Concerns::Topic(Topic::new(channel, symbol)),
                Err(_) => Concerns::Channel(channel),
            };
            Err(unparsed(why, concerns))
        }
    }
}

enum Kind {
    Control(Result<Incoming, String>),
    Event(Channel, Result<MarketEvent, String>),
}

fn read_kind(kind: &str, fields: &Fields<'_>, reading: &mut ItemReading) -> Kind {
    let bar = |interval, reading: &mut ItemReading| {
        let bar = Bar::read(fields, reading)?;
        Ok(MarketEvent::Bar(Bar { interval, ..bar }))
    };
    let (channel, event) = match kind {
        "q" => (
            QUOTES,
            MarketItem::read(fields, reading).map(MarketEvent::Quote),
        ),
        "t" => (
            TRADES,
            MarketItem::read(fields, reading).map(MarketEvent::Trade),
        ),
        "b" => (BARS, bar(Interval::Minute, reading)),
        "u" => (UPDATED_BARS, bar(Interval::UpdatedMinute, reading)),
        "d" => (DAILY_BARS, bar(Interval::Day, reading)),
        "c" => (TRADES, boxed(fields, reading, MarketEvent::Correction)),
        "x" => (TRADES, boxed(fields, reading, MarketEvent::Cancel)),
        "s" => (STATUSES, boxed(fields, reading, MarketEvent::Status)),
        "l" => (LULDS, boxed(fields, reading, MarketEvent::Luld)),
        "i" => (IMBALANCES, boxed(fields, reading, MarketEvent::Imbalance)),
        "o" => (ORDERBOOKS, boxed(fields, reading, MarketEvent::OrderBook)),
        "p" => (PRICING, boxed(fields, reading, MarketEvent::Pricing)),
        "n" => (NEWS, boxed(fields, reading, MarketEvent::News)),
        // Letters mean something else in the other case. Words do not.
        kind if kind.eq_ignore_ascii_case("success") => {
            return Kind::Control(control::success(fields, reading));
        }
        kind if kind.eq_ignore_ascii_case("error") => {
            return Kind::Control(Ok(control::error(fields, reading)));
        }
        kind if kind.eq_ignore_ascii_case("subscription") => {
            return Kind::Control(control::subscription(fields, reading));
        }
        kind => {
            let why = format!("unknown message type `{}`", kind.escape_debug());
            return Kind::Control(Err(why));
        }
    };
    Kind::Event(channel, event)
}

fn boxed<I: MarketItem>(
    fields: &Fields<'_>,
    reading: &mut ItemReading,
    event: fn(Box<I>) -> MarketEvent,
) -> Result<MarketEvent, String> {
    I::read(fields, reading).map(|item| event(Box::new(item)))
}

#[cfg(test)]
pub(super) mod tests;
