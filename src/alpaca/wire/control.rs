//! Everything that is not market data: the server's answers, and a client's requests.

use serde::{Serialize, Serializer, ser::SerializeMap as _};

use super::{
    Incoming,
    field::{Fields, ItemReading, Listed},
};
use crate::{
    alpaca::Codec,
    market::{
        BARS, DAILY_BARS, IMBALANCES, LULDS, NEWS, ORDERBOOKS, PRICING, QUOTES, STATUSES, TRADES,
        UPDATED_BARS,
    },
    topic::{Channel, Topic},
    venue::Message,
};

pub(super) fn success(fields: &Fields<'_>, reading: &mut ItemReading) -> Result<Incoming, String> {
    fields.essential("msg", reading).map(Incoming::Success)
}

/// An error is one however it is written: with its code as a number or a text, of any size, with its message under
/// another name, or without either.
pub(super) fn error(fields: &Fields<'_>, reading: &mut ItemReading) -> Incoming {
    const NAMES: [&str; 6] = ["msg", "message", "error", "reason", "description", "detail"];
    let message = NAMES
        .iter()
        .find_map(|name| fields.optional::<Option<String>>(name, reading));
    let code = fields.optional::<Option<u16>>("code", reading);
    let mut message = message.unwrap_or_default();
    if code.is_none()
        && let Some((_, code)) = fields.pairs().find(|(name, _)| *name == "code")
    {
        message = format!("{message} (code {code})").trim_start().to_owned();
    }
    Incoming::Error { code, message }
}

/// The whole state: symbols by channel. Lists may be missing or null. `corrections` and `cancelErrors` come with
/// `trades` by themselves, and are left out like any channel that is not known.
pub(super) fn subscription(
    fields: &Fields<'_>,
    reading: &mut ItemReading,
) -> Result<Incoming, String> {
    let mut state = Vec::new();
    for channel in CHANNELS {
        let Listed(symbols) = fields.decisive(channel.name(), reading)?;
        state.extend(crate::market::topics(channel, symbols));
    }
    Ok(Incoming::Subscription(state))
}

const CHANNELS: [Channel; 11] = [
    TRADES,
    QUOTES,
    BARS,
    UPDATED_BARS,
    DAILY_BARS,
    STATUSES,
    LULDS,
    IMBALANCES,
    ORDERBOOKS,
    PRICING,
    NEWS,
];

/// A client's request. `auth` is not among what this can write: that frame is a secret.
pub(crate) struct SubscriptionRequest<'a> {
    pub(crate) action: &'static str,
    pub(crate) topics: &'a [Topic],
}

impl SubscriptionRequest<'_> {
    pub(crate) fn encode(&self, codec: Codec) -> Message {
        match codec {
            Codec::Json => Message::Text(to_json(self)),
            Codec::MessagePack => Message::Binary(to_msgpack(self)),
        }
    }
}

impl Serialize for SubscriptionRequest<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |channel: &Channel| {
            let topics = self.topics.iter();
            topics
                .filter(|topic| topic.channel == *channel)
                .map(|topic| topic.symbol.as_str())
                .collect::<Vec<_>>()
        };
        let lists: Vec<_> = CHANNELS
            .iter()
            .map(|channel| (channel.name(), of(channel)))
            .filter(|(_, symbols)| !symbols.is_empty())
            .collect();
        let mut map = serializer.serialize_map(Some(1 + lists.len()))?;
        map.serialize_entry("action", self.action)?;
        for (channel, symbols) in &lists {
            map.serialize_entry(channel, symbols)?;
        }
        map.end()
    }
}

/// Writes a value whose keys are strings and whose numbers are finite, which cannot fail.
pub(super) fn to_json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("such a value can be written")
}

/// Writes such a value with its structs as maps.
pub(super) fn to_msgpack(value: &impl Serialize) -> Vec<u8> {
    rmp_serde::to_vec_named(value).expect("such a value can be written")
}
