//! What only a server writes and reads.
//!
//! Data items are written one by one, and put into frames by [`frame`]; control messages come as whole frames, because
//! they always come alone. `T` stands in front everywhere: Alpaca's Go SDK insists on it.

use std::{collections::BTreeMap, fmt};

use serde::{Deserialize, Deserializer, Serialize, Serializer, ser::SerializeMap as _};

use super::{
    control::{to_json, to_msgpack},
    form::{Number, Size, Time},
    market::Wire,
};
use crate::{
    alpaca::{Codec, DataFeed},
    market::{
        Bar, Imbalance, Interval, LuldBand, MarketEvent, News, OrderBookUpdate, PerpetualPricing,
        Quote, Symbol, Trade, TradeCancel, TradeCorrection, TradingStatus,
    },
};

/// One data item, without the array around it.
pub(crate) fn event(event: &MarketEvent, feed: DataFeed, codec: Codec) -> Vec<u8> {
    let options = matches!(feed, DataFeed::Options(_));
    let item = match event {
        MarketEvent::Trade(trade) if options => Item::OptionTrade(OptionTrade::new(trade)),
        MarketEvent::Quote(quote) if options => Item::OptionQuote(OptionQuote::new(quote)),
        MarketEvent::Trade(trade) => Item::Trade(Wire(trade)),
        MarketEvent::Quote(quote) => Item::Quote(Wire(quote)),
        MarketEvent::Bar(bar) => match bar.interval {
            Interval::Minute => Item::Bar(Wire(bar)),
            Interval::UpdatedMinute => Item::UpdatedBar(Wire(bar)),
            Interval::Day => Item::DailyBar(Wire(bar)),
        },
        MarketEvent::Correction(correction) => Item::Correction(Wire(correction)),
        MarketEvent::Cancel(cancel) => Item::Cancel(Wire(cancel)),
        MarketEvent::Status(status) => Item::Status(Wire(status)),
        MarketEvent::Luld(band) => Item::Luld(Wire(band)),
        MarketEvent::Imbalance(imbalance) => Item::Imbalance(Wire(imbalance)),
        MarketEvent::OrderBook(update) => Item::OrderBook(Wire(update)),
        MarketEvent::Pricing(pricing) => Item::Pricing(Wire(pricing)),
        MarketEvent::News(news) => Item::News(Wire(news)),
    };
    encode(&item, codec)
}

/// Items in a frame.
pub(crate) fn frame<I: AsRef<[u8]>>(items: &[I], codec: Codec) -> Vec<u8> {
    let mut frame = Vec::new();
    match codec {
        Codec::Json => {
            frame.push(b'[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    frame.push(b',');
                }
                frame.extend_from_slice(item.as_ref());
            }
            frame.push(b']');
        }
        Codec::MessagePack => {
            let count = u32::try_from(items.len()).expect("a frame holds far fewer items");
            rmp::encode::write_array_len(&mut frame, count).expect("a `Vec` takes everything");
            for item in items {
                frame.extend_from_slice(item.as_ref());
            }
        }
    }
    frame
}

/// A whole frame: `[{"T":"success","msg":…}]`.
pub(crate) fn success(msg: &str, codec: Codec) -> Vec<u8> {
    alone(&Control::Success { msg }, codec)
}

/// A whole frame: `[{"T":"error","code":…,"msg":…}]`.
pub(crate) fn error(code: u16, msg: &str, codec: Codec) -> Vec<u8> {
    alone(&Control::Error { code, msg }, codec)
}

/// A whole frame with the whole state: every channel of the feed in order, with its symbols. `corrections` and
/// `cancelErrors` are among them, as mirrors of `trades`. What is no list is nil.
pub(crate) fn subscription(state: &[(&str, Option<Vec<&Symbol>>)], codec: Codec) -> Vec<u8> {
    struct State<'a>(&'a [(&'a str, Option<Vec<&'a Symbol>>)]);
    impl Serialize for State<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            let mut map = serializer.serialize_map(Some(1 + self.0.len()))?;
            map.serialize_entry("T", "subscription")?;
            for (channel, symbols) in self.0 {
                let symbols = symbols.as_ref().map(|list| {
                    list.iter()
                        .map(|symbol| symbol.as_str())
                        .collect::<Vec<_>>()
                });
                map.serialize_entry(channel, &symbols)?;
            }
            map.end()
        }
    }
    alone(&State(state), codec)
}

/// The same for a server that speaks JSON and nothing else.
#[cfg(test)]
pub(crate) mod json {
    use super::{Codec, Symbol};

    pub(crate) fn success(msg: &str) -> String {
        text(super::success(msg, Codec::Json))
    }

    pub(crate) fn error(code: u16, msg: &str) -> String {
        text(super::error(code, msg, Codec::Json))
    }

    pub(crate) fn subscription(state: &[(&str, Vec<&Symbol>)]) -> String {
        let lists: Vec<_> = state
            .iter()
            .map(|(channel, symbols)| (*channel, Some(symbols.clone())))
            .collect();
        text(super::subscription(&lists, Codec::Json))
    }

    fn text(json: Vec<u8>) -> String {
        String::from_utf8(json).expect("JSON is text")
    }
}

fn alone(item: &impl Serialize, codec: Codec) -> Vec<u8> {
    frame(&[encode(item, codec)], codec)
}

fn encode(item: &impl Serialize, codec: Codec) -> Vec<u8> {
    match codec {
        Codec::Json => to_json(item).into_bytes(),
        Codec::MessagePack => to_msgpack(item),
    }
}

#[derive(Serialize)]
#[serde(tag = "T", rename_all = "lowercase")]
enum Control<'a> {
    Success { msg: &'a str },
    Error { code: u16, msg: &'a str },
}

/// A market-data item with its `T`, in front.
#[derive(Serialize)]
#[serde(tag = "T")]
enum Item<'a> {
    #[serde(rename = "t")]
    Trade(Wire<&'a Trade>),
    #[serde(rename = "t")]
    OptionTrade(OptionTrade<'a>),
    #[serde(rename = "q")]
    Quote(Wire<&'a Quote>),
    #[serde(rename = "q")]
    OptionQuote(OptionQuote<'a>),
    #[serde(rename = "b")]
    Bar(Wire<&'a Bar>),
    #[serde(rename = "u")]
    UpdatedBar(Wire<&'a Bar>),
    #[serde(rename = "d")]
    DailyBar(Wire<&'a Bar>),
    #[serde(rename = "c")]
    Correction(Wire<&'a TradeCorrection>),
    #[serde(rename = "x")]
    Cancel(Wire<&'a TradeCancel>),
    #[serde(rename = "s")]
    Status(Wire<&'a TradingStatus>),
    #[serde(rename = "l")]
    Luld(Wire<&'a LuldBand>),
    #[serde(rename = "i")]
    Imbalance(Wire<&'a Imbalance>),
    #[serde(rename = "o")]
    OrderBook(Wire<&'a OrderBookUpdate>),
    #[serde(rename = "p")]
    Pricing(Wire<&'a PerpetualPricing>),
    #[serde(rename = "n")]
    News(Wire<&'a News>),
}

/// A trade of an option: its condition is one text, and not a list.
#[derive(Serialize)]
struct OptionTrade<'a> {
    #[serde(rename = "S")]
    symbol: &'a str,
    #[serde(rename = "t")]
    timestamp: Time<'a>,
    #[serde(rename = "p")]
    price: Number<'a>,
    #[serde(rename = "s")]
    size: Size<'a>,
    #[serde(rename = "x")]
    exchange: &'a str,
    #[serde(rename = "c")]
    condition: &'a str,
}

impl<'a> OptionTrade<'a> {
    fn new(trade: &'a Trade) -> Self {
        Self {
            symbol: &trade.symbol,
            timestamp: Time::of(&trade.timestamp),
            price: Number::of(&trade.price),
            size: Size::of(&trade.size),
            exchange: &trade.exchange,
            condition: trade.conditions.iter().next().unwrap_or_default(),
        }
    }
}

/// A quote of an option: its condition is one text, and not a list.
#[derive(Serialize)]
struct OptionQuote<'a> {
    #[serde(rename = "S")]
    symbol: &'a str,
    #[serde(rename = "t")]
    timestamp: Time<'a>,
    #[serde(rename = "bx")]
    bid_exchange: &'a str,
    #[serde(rename = "bp")]
    bid_price: Number<'a>,
    #[serde(rename = "bs")]
    bid_size: Size<'a>,
    #[serde(rename = "ax")]
    ask_exchange: &'a str,
    #[serde(rename = "ap")]
    ask_price: Number<'a>,
    #[serde(rename = "as")]
    ask_size: Size<'a>,
    #[serde(rename = "c")]
    condition: &'a str,
}

impl<'a> OptionQuote<'a> {
    fn new(quote: &'a Quote) -> Self {
        Self {
            symbol: &quote.symbol,
            timestamp: Time::of(&quote.timestamp),
            bid_exchange: &quote.bid_exchange,
            bid_price: Number::of(&quote.bid_price),
            bid_size: Size::of(&quote.bid_size),
            ask_exchange: &quote.ask_exchange,
            ask_price: Number::of(&quote.ask_price),
            ask_size: Size::of(&quote.ask_size),
            condition: quote.conditions.iter().next().unwrap_or_default(),
        }
    }
}

/// What a client sends: a map, and no array around it.
#[derive(PartialEq, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub(crate) enum ClientMessage {
    Auth { key: String, secret: String },
    Subscribe(RequestLists),
    Unsubscribe(RequestLists),
}

/// Users may run the simulator with credentials that are worth something.
impl fmt::Debug for ClientMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auth { .. } => f.write_str("Auth(***)"),
            Self::Subscribe(lists) => f.debug_tuple("Subscribe").field(lists).finish(),
            Self::Unsubscribe(lists) => f.debug_tuple("Unsubscribe").field(lists).finish(),
        }
    }
}

impl ClientMessage {
    /// Reads a message by the connection's codec, whatever kind of frame it came in. Nothing where it is none.
    pub(crate) fn decode(message: &[u8], codec: Codec) -> Option<Self> {
        match codec {
            Codec::Json => serde_json::from_slice(message).ok(),
            Codec::MessagePack => rmp_serde::from_slice(message).ok(),
        }
    }
}

/// A client's lists by channel name, known or not. Empty and null lists are left out: SDKs name every channel they
/// know, with an empty list for those they do not mean.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct RequestLists(pub(crate) BTreeMap<String, Vec<Symbol>>);

impl<'de> Deserialize<'de> for RequestLists {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let lists = BTreeMap::<String, Option<Vec<String>>>::deserialize(deserializer)?;
        Ok(Self(
            lists
                .into_iter()
                .map(|(name, list)| (name, list.unwrap_or_default()))
                .filter(|(_, list)| !list.is_empty())
                .map(|(name, list)| (name, list.iter().map(Symbol::from).collect()))
                .collect(),
        ))
    }
}
