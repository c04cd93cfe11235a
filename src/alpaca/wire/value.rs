//! One value of a frame in either codec, read no deeper than it is asked.

use std::{
    borrow::Cow,
    fmt::{self, Write as _},
};

use serde::{
    Deserialize, Deserializer,
    de::{DeserializeSeed, Error as _, MapAccess, Visitor},
};
use serde_json::value::RawValue;

use super::{
    json::Items,
    msgpack::{
        notation,
        token::{Token, skip, token},
    },
    time,
};
use crate::market::Timestamp;

/// A whole value as it stands in a frame: checked to be one, and not read.
#[derive(Clone, Copy)]
pub(super) enum Raw<'a> {
    Json(&'a str),
    MessagePack(&'a [u8]),
}

/// A value's kind, with what it says unless it holds other values.
pub(super) enum Value<'a> {
    Null,
    Bool(bool),
    /// A number of JSON, by its digits.
    Digits(&'a str),
    Integer(i128),
    Double(f64),
    Single(f32),
    Text(Cow<'a, str>),
    /// A time of MessagePack. Nothing where it is the year 1, with which Go says that there is none.
    Time(Option<Timestamp>),
    /// Its values are read with [`Raw::list`].
    List,
    /// Its pairs are read with [`Raw::map`].
    Map,
    /// Bytes, a text that is none, or an extension that is not known.
    Other,
}

/// The pairs of a map, in order.
pub(super) type Pairs<'a> = Vec<Pair<'a>>;

pub(super) struct Pair<'a> {
    pub(super) key: Cow<'a, str>,
    pub(super) value: Raw<'a>,
    tag: u64,
}

impl<'a> Pair<'a> {
    fn new(key: Cow<'a, str>, value: Raw<'a>) -> Self {
        let tag = tag(&key);
        Self { key, value, tag }
    }

    /// Whether this is the key, whose [`tag`] is given with it.
    #[inline]
    pub(super) fn is(&self, key: &str, tag: u64) -> bool {
        self.tag == tag && (key.len() < WHOLE || self.key == key)
    }
}

/// A key's length and its first bytes: of a short key all, so that a word is compared in place of a text.
#[inline]
pub(super) fn tag(key: &str) -> u64 {
    let bytes = key.bytes().take(WHOLE - 1);
    bytes.fold(key.len().min(WHOLE) as u64, |tag, byte| {
        tag << 8 | u64::from(byte)
    })
}

/// From this length on a tag is not the whole key.
const WHOLE: usize = 8;

impl<'a> Raw<'a> {
    pub(super) fn value(self) -> Value<'a> {
        match self {
            Self::Json(text) => of_json(text),
            Self::MessagePack(bytes) => of_msgpack(bytes),
        }
    }

    /// The values of a list. Nothing where it is none, or longer than [`LONGEST`].
    pub(super) fn list(self) -> Option<Vec<Self>> {
        let mut list = Vec::new();
        let count = self.each(|value| {
            // Each takes more memory than its bytes in the frame: what is too many is only counted.
            if list.len() < LONGEST {
                list.push(value);
            }
        })?;
        (count <= LONGEST).then_some(list)
    }

    /// Hands out the values of a list, one after the other, and says how many there were. Nothing where it is none.
    pub(super) fn each(self, mut each: impl FnMut(Self)) -> Option<usize> {
        let mut count = 0;
        match self {
            Self::Json(text) => {
                let items = |item: &'a str| {
                    count += 1;
                    each(Self::Json(item));
                };
                let mut deserializer = serde_json::Deserializer::from_str(text);
                Items(items).deserialize(&mut deserializer).ok()?;
            }
            Self::MessagePack(bytes) => {
                let (Token::Array(announced), mut rest) = token(bytes)? else {
                    return None;
                };
                for _ in 0..announced {
                    each(Self::first(&mut rest)?);
                    count += 1;
                }
            }
        }
        Some(count)
    }

    /// The pairs of a map, unless there are more than [`MOST_PAIRS`].
    pub(super) fn map(self) -> Result<Pairs<'a>, String> {
        match self {
            Self::Json(text) => serde_json::from_str::<JsonPairs<'a>>(text)
                .map(|pairs| pairs.0)
                .map_err(|error| error.to_string()),
            Self::MessagePack(bytes) => {
                let Some((Token::Map(count), mut rest)) = token(bytes) else {
                    return Err("not a map".to_owned());
                };
                if count as usize > MOST_PAIRS {
                    return Err(TOO_MANY_PAIRS.to_owned());
                }
                let mut pairs = Pairs::with_capacity(count as usize);
                for _ in 0..count {
                    let missing = || "the map is not all there".to_owned();
                    let key = Self::first(&mut rest).ok_or_else(missing)?;
                    let value = Self::first(&mut rest).ok_or_else(missing)?;
                    // Of keys that are no text nothing is known.
                    if let Self::MessagePack([0xa0..=0xbf, key @ ..]) = key
                        && let Ok(key) = std::str::from_utf8(key)
                    {
                        pairs.push(Pair::new(key.into(), value));
                    } else if let Value::Text(key) = key.value() {
                        pairs.push(Pair::new(key, value));
                    }
                }
                Ok(pairs)
            }
        }
    }

    /// The first value in `bytes`, which is taken from them.
    fn first(bytes: &mut &'a [u8]) -> Option<Self> {
        let after = skip(bytes)?;
        let value = &bytes[..bytes.len() - after.len()];
        *bytes = after;
        Some(Self::MessagePack(value))
    }
}

fn of_json(text: &str) -> Value<'_> {
    match text.as_bytes() {
        [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => {
            Value::Text(text[1..text.len() - 1].into())
        }
        [b'"', ..] => serde_json::from_str::<String>(text)
            .map_or(Value::Other, |text| Value::Text(text.into())),
        [b'n', ..] => Value::Null,
        [b't', ..] => Value::Bool(true),
        [b'f', ..] => Value::Bool(false),
        [b'[', ..] => Value::List,
        [b'{', ..] => Value::Map,
        _ => Value::Digits(text),
    }
}

fn of_msgpack(bytes: &[u8]) -> Value<'_> {
    let Some((token, _)) = token(bytes) else {
        return Value::Other;
    };
    match token {
        Token::Nil => Value::Null,
        Token::Bool(flag) => Value::Bool(flag),
        Token::Integer(number) => Value::Integer(number),
        Token::Double(number) => Value::Double(number),
        Token::Single(number) => Value::Single(number),
        Token::Str(text) => {
            std::str::from_utf8(text).map_or(Value::Other, |text| Value::Text(text.into()))
        }
        Token::Ext(time::EXT, bytes) => time::from_ext(bytes).map_or(Value::Other, Value::Time),
        Token::Array(_) => Value::List,
        Token::Map(_) => Value::Map,
        Token::Bin(_) | Token::Ext(..) => Value::Other,
    }
}

/// As people read it, cut to what fits into a line.
impl fmt::Display for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text: Cow<'_, str> = match self {
            Self::Json(text) => (*text).into(),
            Self::MessagePack(bytes) => notation::of(bytes).into(),
        };
        f.write_char('`')?;
        for character in text.chars().take(SHOWN) {
            if character.is_control() {
                write!(f, "{}", character.escape_default())?;
            } else {
                f.write_char(character)?;
            }
        }
        f.write_str(if text.chars().nth(SHOWN).is_some() {
            "...`"
        } else {
            "`"
        })
    }
}

const SHOWN: usize = 64;

struct JsonPairs<'a>(Pairs<'a>);

impl<'de: 'a, 'a> Deserialize<'de> for JsonPairs<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Map;
        impl<'de> Visitor<'de> for Map {
            type Value = Pairs<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs<'de>, A::Error> {
                let mut pairs = Pairs::with_capacity(16);
                while let Some(Key(key)) = map.next_key()? {
                    if pairs.len() == MOST_PAIRS {
                        return Err(A::Error::custom(TOO_MANY_PAIRS));
                    }
                    let value = Raw::Json(map.next_value::<&RawValue>()?.get());
                    pairs.push(Pair::new(key, value));
                }
                Ok(pairs)
            }
        }
        deserializer.deserialize_map(Map).map(Self)
    }
}

/// A key, borrowed where nothing in it is escaped.
struct Key<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Key<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }
            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(key.into()))
            }
            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(key.to_owned().into()))
            }
        }
        deserializer.deserialize_str(Text)
    }
}

/// How many values a list of an event may have. Each takes more memory than its bytes in the frame.
const LONGEST: usize = 1 << 16;

/// How many pairs a map may have. The longest, an order, has some fifty.
const MOST_PAIRS: usize = 1 << 10;
const TOO_MANY_PAIRS: &str = "a map of more than 1,024 pairs";
