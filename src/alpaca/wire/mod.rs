//! Alpaca's market data as it stands on the wire, as JSON and as MessagePack: types and codecs, and nothing else. The
//! simulator writes with the same types that the session reads with.
//!
//! A frame is an array of maps whose `T` names their kind. Items are read one by one, so that an odd one costs nothing
//! but itself.

mod control;
mod json;
mod market;
mod msgpack;
mod number;
pub(crate) mod orders;
mod scan;
#[cfg(any(feature = "sim", test))]
pub(crate) mod server;
mod text;
mod time;

use std::fmt::Display;

use serde::de::DeserializeOwned;

pub(crate) use self::{
    control::SubscriptionRequest,
    scan::{Scanned, scan},
};
use self::{
    control::{State, WireError, WireSuccess},
    market::Wire,
};
use super::Codec;
use crate::{
    event::Unparsed,
    market::{
        Bar, Imbalance, Interval, LuldBand, MarketEvent, News, OrderBookUpdate, PerpetualPricing,
        Quote, Trade, TradeCancel, TradeCorrection, TradingStatus,
    },
    topic::Topic,
};

/// One item of a server's frame.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Success(String),
    Error {
        code: u16,
        message: String,
    },
    /// The whole state, as topics. Channels that come by themselves are left out.
    Subscription(Vec<Topic>),
    Event(MarketEvent),
}

/// Reads the items of a frame that stand behind so many that were scanned, and hands them out in order. What
/// stands behind a broken place is handed out as one unparsed item.
pub(crate) fn decode_behind(
    scanned: usize,
    frame: &[u8],
    codec: Codec,
    each: impl FnMut(Result<Incoming, Unparsed>),
) {
    bounded(each, |mut each| match codec {
        Codec::Json => json::decode(frame, scanned, &mut each),
        Codec::MessagePack => msgpack::decode(frame, scanned, &mut each),
    });
}

/// All items of a frame, however each of them is read.
#[cfg(test)]
pub(crate) fn decode(frame: &[u8], codec: Codec, mut each: impl FnMut(Result<Incoming, Unparsed>)) {
    let scanned = scan(frame, codec, |event| each(Ok(Incoming::Event(event))));
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

/// One whole item in either codec.
trait Item: Copy {
    type Error: Display;
    /// The value of `T`.
    fn kind(self) -> Result<impl AsRef<str>, Self::Error>;
    fn read<T: DeserializeOwned>(self) -> Result<T, Self::Error>;
}

fn read_item<I: Item>(item: I) -> Result<Incoming, String> {
    let kind = item.kind().map_err(|error| error.to_string())?;
    let event = match kind.as_ref() {
        "q" => MarketEvent::Quote(read::<Wire<Quote>>(item)?.0),
        "t" => MarketEvent::Trade(read::<Wire<Trade>>(item)?.0),
        "b" => bar(item, Interval::Minute)?,
        "u" => bar(item, Interval::UpdatedMinute)?,
        "d" => bar(item, Interval::Day)?,
        "c" => MarketEvent::Correction(Box::new(read::<Wire<TradeCorrection>>(item)?.0)),
        "x" => MarketEvent::Cancel(Box::new(read::<Wire<TradeCancel>>(item)?.0)),
        "s" => MarketEvent::Status(Box::new(read::<Wire<TradingStatus>>(item)?.0)),
        "l" => MarketEvent::Luld(Box::new(read::<Wire<LuldBand>>(item)?.0)),
        "i" => MarketEvent::Imbalance(Box::new(read::<Wire<Imbalance>>(item)?.0)),
        "o" => MarketEvent::OrderBook(Box::new(read::<Wire<OrderBookUpdate>>(item)?.0)),
        "p" => MarketEvent::Pricing(Box::new(read::<Wire<PerpetualPricing>>(item)?.0)),
        "n" => MarketEvent::News(Box::new(read::<Wire<News>>(item)?.0)),
        "success" => return Ok(Incoming::Success(read::<WireSuccess>(item)?.msg)),
        "error" => {
            let WireError { code, msg } = read(item)?;
            return Ok(Incoming::Error { code, message: msg });
        }
        "subscription" => return Ok(Incoming::Subscription(read::<State>(item)?.0)),
        kind => return Err(format!("unknown message type `{}`", kind.escape_debug())),
    };
    Ok(Incoming::Event(event))
}

fn bar<I: Item>(item: I, interval: Interval) -> Result<MarketEvent, String> {
    let bar = read::<Wire<Bar>>(item)?.0;
    Ok(MarketEvent::Bar(Bar { interval, ..bar }))
}

fn read<T: DeserializeOwned>(item: impl Item) -> Result<T, String> {
    item.read().map_err(|error| error.to_string())
}

#[cfg(test)]
pub(super) mod tests;
