//! Alpaca's market data as it stands on the wire: types and codec, and nothing else. The simulator writes with the
//! same types that the session reads with.
//!
//! A frame is an array of objects whose `T` names their kind. Items are read one by one, so that an odd one costs
//! nothing but itself.

pub(crate) mod orders;

use std::{borrow::Cow, fmt};

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error as _, SeqAccess, Visitor},
};
use serde_json::value::RawValue;

use crate::{
    event::Unparsed,
    market::{
        BARS, Bar, Code, Conditions, DAILY_BARS, Interval, MarketEvent, QUOTES, Quote, Symbol,
        TRADES, Timestamp, Trade, TradeCancel, TradeCorrection, UPDATED_BARS,
    },
    topic::{Channel, Topic},
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

/// Reads a frame and hands out its items, in order. What stands behind a broken place in the frame is handed out as
/// one unparsed item.
pub(crate) fn decode(text: &str, mut each: impl FnMut(Result<Incoming, Unparsed>)) {
    // A bare object is what some mock servers send; the venue itself always sends arrays.
    if text.trim_ascii_start().starts_with('{') {
        return each(decode_item(text));
    }
    let mut read_to = 0;
    let mut items = |item: &str| {
        // A pointer into `text`: the item was borrowed from it.
        read_to = item.as_ptr() as usize - text.as_ptr() as usize + item.len();
        each(decode_item(item));
    };
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let whole = Items(&mut items)
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    if let Err(error) = whole {
        each(Err(Unparsed::new(&text.as_bytes()[read_to..], error)));
    }
}

/// Walks the outer array without keeping its items: they are handed out while the rest is still unread.
struct Items<F>(F);

impl<'de, F: FnMut(&'de str)> DeserializeSeed<'de> for Items<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, F: FnMut(&'de str)> Visitor<'de> for Items<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array of messages")
    }
    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        while let Some(item) = items.next_element::<&RawValue>()? {
            (self.0)(item.get());
        }
        Ok(())
    }
}

fn decode_item(item: &str) -> Result<Incoming, Unparsed> {
    read_item(item).map_err(|error| Unparsed::new(item.as_bytes(), error))
}

fn read_item(item: &str) -> Result<Incoming, serde_json::Error> {
    Ok(match kind(item)?.as_ref() {
        "q" => Incoming::Event(MarketEvent::Quote(
            serde_json::from_str::<WireQuote>(item)?.into(),
        )),
        "t" => Incoming::Event(MarketEvent::Trade(
            serde_json::from_str::<WireTrade>(item)?.into(),
        )),
        "b" => bar(item, Interval::Minute)?,
        "u" => bar(item, Interval::UpdatedMinute)?,
        "d" => bar(item, Interval::Day)?,
        "c" => Incoming::Event(MarketEvent::Correction(
            serde_json::from_str::<WireCorrection>(item)?.into(),
        )),
        "x" => Incoming::Event(MarketEvent::Cancel(
            serde_json::from_str::<WireCancel>(item)?.into(),
        )),
        "success" => Incoming::Success(
            serde_json::from_str::<WireSuccess<'_>>(item)?
                .msg
                .into_owned(),
        ),
        "error" => {
            let error: WireError<'_> = serde_json::from_str(item)?;
            Incoming::Error {
                code: error.code,
                message: error.msg.into_owned(),
            }
        }
        "subscription" => {
            Incoming::Subscription(serde_json::from_str::<Lists>(item)?.into_topics())
        }
        kind => {
            return Err(serde_json::Error::custom(format_args!(
                "unknown message type `{}`",
                kind.escape_debug()
            )));
        }
    })
}

fn bar(item: &str, interval: Interval) -> Result<Incoming, serde_json::Error> {
    Ok(Incoming::Event(MarketEvent::Bar(
        serde_json::from_str::<WireBar>(item)?.into_bar(interval),
    )))
}

/// The value of `T`: nearly always in front, but nothing promises it.
fn kind(item: &str) -> Result<Cow<'_, str>, serde_json::Error> {
    if let Some((kind, _)) = item
        .strip_prefix(r#"{"T":""#)
        .and_then(|rest| rest.split_once('"'))
        && !kind.contains('\\')
    {
        return Ok(Cow::Borrowed(kind));
    }
    #[derive(Deserialize)]
    struct Head<'a> {
        #[serde(rename = "T", borrow)]
        kind: Cow<'a, str>,
    }
    serde_json::from_str::<Head<'_>>(item).map(|head| head.kind)
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireTrade {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "i")]
    id: i64,
    #[serde(rename = "x", default, with = "text")]
    exchange: Code,
    #[serde(rename = "p", with = "number")]
    price: Decimal,
    #[serde(rename = "s", with = "number")]
    size: Decimal,
    #[serde(rename = "c", default, with = "codes")]
    conditions: Conditions,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireQuote {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "bx", default, with = "text")]
    bid_exchange: Code,
    #[serde(rename = "bp", with = "number")]
    bid_price: Decimal,
    #[serde(rename = "bs", with = "number")]
    bid_size: Decimal,
    #[serde(rename = "ax", default, with = "text")]
    ask_exchange: Code,
    #[serde(rename = "ap", with = "number")]
    ask_price: Decimal,
    #[serde(rename = "as", with = "number")]
    ask_size: Decimal,
    #[serde(rename = "c", default, with = "codes")]
    conditions: Conditions,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireBar {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "o", with = "number")]
    open: Decimal,
    #[serde(rename = "h", with = "number")]
    high: Decimal,
    #[serde(rename = "l", with = "number")]
    low: Decimal,
    #[serde(rename = "c", with = "number")]
    close: Decimal,
    #[serde(rename = "v", with = "number")]
    volume: Decimal,
    #[serde(rename = "n", default)]
    trade_count: Option<u64>,
    #[serde(rename = "vw", default, with = "maybe_number")]
    vwap: Option<Decimal>,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireCorrection {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "x", default, with = "text")]
    exchange: Code,
    #[serde(rename = "oi")]
    original_id: i64,
    #[serde(rename = "op", with = "number")]
    original_price: Decimal,
    #[serde(rename = "os", with = "number")]
    original_size: Decimal,
    #[serde(rename = "oc", default, with = "codes")]
    original_conditions: Conditions,
    #[serde(rename = "ci")]
    corrected_id: i64,
    #[serde(rename = "cp", with = "number")]
    corrected_price: Decimal,
    #[serde(rename = "cs", with = "number")]
    corrected_size: Decimal,
    #[serde(rename = "cc", default, with = "codes")]
    corrected_conditions: Conditions,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
pub(crate) struct WireCancel {
    #[serde(rename = "S", with = "text")]
    symbol: Symbol,
    #[serde(rename = "i")]
    id: i64,
    #[serde(rename = "x", default, with = "text")]
    exchange: Code,
    #[serde(rename = "p", with = "number")]
    price: Decimal,
    #[serde(rename = "s", with = "number")]
    size: Decimal,
    #[serde(rename = "a", default, with = "text")]
    action: Code,
    #[serde(rename = "z", default, with = "text")]
    tape: Code,
    #[serde(rename = "t", with = "time")]
    timestamp: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct WireSuccess<'a> {
    #[serde(borrow)]
    msg: Cow<'a, str>,
}

#[derive(Serialize, Deserialize)]
struct WireError<'a> {
    code: u16,
    #[serde(borrow, default)]
    msg: Cow<'a, str>,
}

/// Symbols by channel: in requests what to change, in replies the whole state. Lists may be missing or null.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Lists {
    #[serde(with = "symbols", skip_serializing_if = "Vec::is_empty")]
    pub(crate) trades: Vec<Symbol>,
    #[serde(with = "symbols", skip_serializing_if = "Vec::is_empty")]
    pub(crate) quotes: Vec<Symbol>,
    #[serde(with = "symbols", skip_serializing_if = "Vec::is_empty")]
    pub(crate) bars: Vec<Symbol>,
    #[serde(with = "symbols", skip_serializing_if = "Vec::is_empty")]
    pub(crate) updated_bars: Vec<Symbol>,
    #[serde(with = "symbols", skip_serializing_if = "Vec::is_empty")]
    pub(crate) daily_bars: Vec<Symbol>,
}

impl Lists {
    pub(crate) fn from_topics(topics: &[Topic]) -> Self {
        let of = |channel: Channel| {
            topics
                .iter()
                .filter(|topic| topic.channel == channel)
                .map(|topic| topic.symbol.clone())
                .collect()
        };
        Self {
            trades: of(TRADES),
            quotes: of(QUOTES),
            bars: of(BARS),
            updated_bars: of(UPDATED_BARS),
            daily_bars: of(DAILY_BARS),
        }
    }

    pub(crate) fn into_topics(self) -> Vec<Topic> {
        let Self {
            trades,
            quotes,
            bars,
            updated_bars,
            daily_bars,
        } = self;
        [
            (TRADES, trades),
            (QUOTES, quotes),
            (BARS, bars),
            (UPDATED_BARS, updated_bars),
            (DAILY_BARS, daily_bars),
        ]
        .into_iter()
        .flat_map(|(channel, symbols)| crate::market::topics(channel, symbols))
        .collect()
    }
}

/// A client's request. `auth` is not among what this can write: that frame is a secret.
#[derive(Serialize)]
pub(crate) struct SubscriptionRequest {
    pub(crate) action: &'static str,
    #[serde(flatten)]
    pub(crate) lists: Lists,
}

/// Writes a value whose keys are strings and whose numbers are finite, which cannot fail.
pub(crate) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

macro_rules! convert {
    ($wire:ident, $value:ident { $($field:ident),+ }) => {
        impl From<$wire> for $value {
            fn from($wire { $($field),+ }: $wire) -> Self {
                Self { $($field),+ }
            }
        }
        #[cfg(any(feature = "sim", test))]
        impl From<$value> for $wire {
            fn from($value { $($field),+ }: $value) -> Self {
                Self { $($field),+ }
            }
        }
    };
}
convert!(
    WireTrade,
    Trade {
        symbol,
        id,
        exchange,
        price,
        size,
        conditions,
        tape,
        timestamp
    }
);
convert!(
    WireQuote,
    Quote {
        symbol,
        bid_exchange,
        bid_price,
        bid_size,
        ask_exchange,
        ask_price,
        ask_size,
        conditions,
        tape,
        timestamp
    }
);
convert!(
    WireCorrection,
    TradeCorrection {
        symbol,
        exchange,
        original_id,
        original_price,
        original_size,
        original_conditions,
        corrected_id,
        corrected_price,
        corrected_size,
        corrected_conditions,
        tape,
        timestamp
    }
);
convert!(
    WireCancel,
    TradeCancel {
        symbol,
        id,
        exchange,
        price,
        size,
        action,
        tape,
        timestamp
    }
);

impl WireBar {
    fn into_bar(self, interval: Interval) -> Bar {
        let Self {
            symbol,
            open,
            high,
            low,
            close,
            volume,
            trade_count,
            vwap,
            timestamp,
        } = self;
        Bar {
            symbol,
            interval,
            open,
            high,
            low,
            close,
            volume,
            trade_count,
            vwap,
            timestamp,
        }
    }
}

/// What only a server writes and reads.
#[cfg(any(feature = "sim", test))]
pub(crate) mod server {
    use std::collections::BTreeMap;

    use super::*;

    /// A market-data item with its `T`, in front.
    #[derive(Serialize)]
    #[serde(tag = "T")]
    enum Item {
        #[serde(rename = "t")]
        Trade(WireTrade),
        #[serde(rename = "q")]
        Quote(WireQuote),
        #[serde(rename = "b")]
        Bar(WireBar),
        #[serde(rename = "u")]
        UpdatedBar(WireBar),
        #[serde(rename = "d")]
        DailyBar(WireBar),
        #[serde(rename = "c")]
        Correction(WireCorrection),
        #[serde(rename = "x")]
        Cancel(WireCancel),
    }

    /// One data item, without the array around it.
    pub(crate) fn event(event: MarketEvent) -> String {
        to_json(&match event {
            MarketEvent::Trade(trade) => Item::Trade(trade.into()),
            MarketEvent::Quote(quote) => Item::Quote(quote.into()),
            MarketEvent::Correction(correction) => Item::Correction(correction.into()),
            MarketEvent::Cancel(cancel) => Item::Cancel(cancel.into()),
            MarketEvent::Bar(bar) => {
                let Bar {
                    symbol,
                    interval,
                    open,
                    high,
                    low,
                    close,
                    volume,
                    trade_count,
                    vwap,
                    timestamp,
                } = bar;
                let wire = WireBar {
                    symbol,
                    open,
                    high,
                    low,
                    close,
                    volume,
                    trade_count,
                    vwap,
                    timestamp,
                };
                match interval {
                    Interval::Minute => Item::Bar(wire),
                    Interval::UpdatedMinute => Item::UpdatedBar(wire),
                    Interval::Day => Item::DailyBar(wire),
                }
            }
        })
    }

    /// A whole frame: `[{"T":"success","msg":…}]`.
    pub(crate) fn success(msg: &str) -> String {
        frame("success", &WireSuccess { msg: msg.into() })
    }

    /// A whole frame: `[{"T":"error","code":…,"msg":…}]`.
    pub(crate) fn error(code: u16, msg: &str) -> String {
        frame(
            "error",
            &WireError {
                code,
                msg: msg.into(),
            },
        )
    }

    /// A whole frame with the whole state: every channel of the feed in order, with its symbols. `corrections` and
    /// `cancelErrors` are among them, as mirrors of `trades`.
    pub(crate) fn subscription(state: &[(&str, Vec<&Symbol>)]) -> String {
        struct State<'a>(&'a [(&'a str, Vec<&'a Symbol>)]);
        impl Serialize for State<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_map(self.0.iter().map(|(channel, symbols)| {
                    let symbols: Vec<_> = symbols.iter().map(|symbol| symbol.as_str()).collect();
                    (channel, symbols)
                }))
            }
        }
        frame("subscription", &State(state))
    }

    fn frame(kind: &'static str, body: &impl Serialize) -> String {
        #[derive(Serialize)]
        struct Tagged<'a, B> {
            #[serde(rename = "T")]
            kind: &'static str,
            #[serde(flatten)]
            body: &'a B,
        }
        to_json(&[Tagged { kind, body }])
    }

    /// What a client sends.
    #[derive(Debug, PartialEq, Deserialize)]
    #[serde(tag = "action", rename_all = "snake_case")]
    pub(crate) enum ClientMessage {
        Auth { key: String, secret: String },
        Subscribe(RequestLists),
        Unsubscribe(RequestLists),
    }

    /// A client's lists by channel name, known or not. Empty and null lists are left out: SDKs name every channel
    /// they know, with an empty list for those they do not mean.
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
}

/// Text that may be null or missing, and is empty then.
mod text {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>, T: for<'a> From<&'a str>>(
        deserializer: D,
    ) -> Result<T, D::Error> {
        struct Text<T>(std::marker::PhantomData<T>);
        impl<T: for<'a> From<&'a str>> Visitor<'_> for Text<T> {
            type Value = T;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }
            fn visit_str<E>(self, text: &str) -> Result<T, E> {
                Ok(text.into())
            }
            fn visit_unit<E>(self) -> Result<T, E> {
                Ok("".into())
            }
        }
        deserializer.deserialize_any(Text(std::marker::PhantomData))
    }

    pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(text)
    }
}

/// A number, exactly as its digits say.
mod number {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Decimal, D::Error> {
        parse(<&RawValue>::deserialize(deserializer)?.get()).map_err(D::Error::custom)
    }

    pub(super) fn serialize<S: Serializer>(
        number: &Decimal,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        RawValue::from_string(number.to_string())
            .map_err(serde::ser::Error::custom)?
            .serialize(serializer)
    }

    pub(super) fn parse(digits: &str) -> Result<Decimal, String> {
        let parsed = if digits.contains(['e', 'E']) {
            Decimal::from_scientific(digits)
        } else {
            Decimal::from_str_exact(digits)
        };
        parsed.map_err(|error| format!("`{}` is no exact decimal: {error}", digits.escape_debug()))
    }
}

mod maybe_number {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Decimal>, D::Error> {
        match <&RawValue>::deserialize(deserializer)?.get() {
            "null" => Ok(None),
            digits => number::parse(digits).map(Some).map_err(D::Error::custom),
        }
    }

    pub(super) fn serialize<S: Serializer>(
        number: &Option<Decimal>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => number::serialize(number, serializer),
            None => serializer.serialize_none(),
        }
    }
}

mod time {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        struct Time;
        impl Visitor<'_> for Time {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 timestamp")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                text.parse()
                    .map_err(|_| E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_str(Time)
    }

    pub(super) fn serialize<S: Serializer>(
        time: &Timestamp,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(time)
    }
}

/// Condition codes: a list, one bare string, or null.
mod codes {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Conditions, D::Error> {
        struct Codes;
        impl<'de> Visitor<'de> for Codes {
            type Value = Conditions;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of condition codes")
            }
            fn visit_str<E>(self, code: &str) -> Result<Conditions, E> {
                Ok([code].into_iter().collect())
            }
            fn visit_unit<E>(self) -> Result<Conditions, E> {
                Ok(Conditions::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Conditions, A::Error> {
                let mut codes = Vec::with_capacity(items.size_hint().unwrap_or(4).min(16));
                while let Some(code) = items.next_element::<Cow<'de, str>>()? {
                    codes.push(code);
                }
                Ok(codes.into_iter().collect())
            }
        }
        deserializer.deserialize_any(Codes)
    }

    pub(super) fn serialize<S: Serializer>(
        codes: &Conditions,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(codes.iter())
    }
}

/// A list of symbols, or null.
mod symbols {
    use super::*;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Vec<Symbol>, D::Error> {
        let list = Option::<Vec<Cow<'de, str>>>::deserialize(deserializer)?;
        Ok(list
            .unwrap_or_default()
            .iter()
            .map(|symbol| Symbol::from(symbol.as_ref()))
            .collect())
    }

    pub(super) fn serialize<S: Serializer>(
        list: &[Symbol],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(Symbol::as_str))
    }
}

#[cfg(test)]
mod tests;
