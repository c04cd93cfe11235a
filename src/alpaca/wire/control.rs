//! Everything that is not market data: the server's answers, and a client's requests.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error as _, IgnoredAny, MapAccess, Visitor},
    ser::SerializeMap as _,
};

use super::text::{LONGER, LONGEST, Symbols};
use crate::{
    alpaca::Codec,
    market::{
        BARS, DAILY_BARS, IMBALANCES, LULDS, NEWS, ORDERBOOKS, PRICING, QUOTES, STATUSES, TRADES,
        UPDATED_BARS,
    },
    topic::{Channel, Topic},
    venue::Message,
};

#[derive(Serialize, Deserialize)]
pub(super) struct WireSuccess {
    pub(super) msg: String,
}

#[derive(Serialize, Deserialize)]
pub(super) struct WireError {
    pub(super) code: u16,
    #[serde(default)]
    pub(super) msg: String,
}

/// The whole state: symbols by channel. Lists may be missing or null. `corrections` and `cancelErrors` come with
/// `trades` by themselves, and are left out like any channel that is not known.
pub(super) struct State(pub(super) Vec<Topic>);

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

impl<'de> Deserialize<'de> for State {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Lists;
        impl<'de> Visitor<'de> for Lists {
            type Value = State;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("symbols by channel")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut lists: A) -> Result<State, A::Error> {
                let mut state = Vec::new();
                while let Some(name) = lists.next_key::<String>()? {
                    let Some(channel) = CHANNELS.iter().find(|channel| channel.name() == name)
                    else {
                        lists.next_value::<IgnoredAny>()?;
                        continue;
                    };
                    let Symbols(symbols) = lists.next_value()?;
                    if state.len() + symbols.len() > LONGEST {
                        return Err(A::Error::custom(LONGER));
                    }
                    state.extend(crate::market::topics(*channel, symbols));
                }
                Ok(State(state))
            }
        }
        deserializer.deserialize_map(Lists)
    }
}

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
