//! Points in time: RFC 3339 in JSON; the timestamp extension in MessagePack, where old servers also wrote a text, or
//! seconds and nanoseconds.

use std::fmt;

use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error, IgnoredAny, SeqAccess, Unexpected, Visitor},
};

use crate::market::Timestamp;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Timestamp, D::Error> {
    maybe::deserialize(deserializer)?.ok_or_else(|| D::Error::custom("a time is missing"))
}

pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(time)
    } else {
        serialize_ext(*time, serializer)
    }
}

/// A time that may be missing: as nil, as an empty text, or as the year 1, which is Go's zero.
pub(super) mod maybe {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        deserializer.deserialize_any(Time)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => super::serialize(time, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// In the shortest of the three forms that can hold it.
fn serialize_ext<S: Serializer>(time: Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    let seconds = time.as_nanos().div_euclid(BILLION);
    // Less than a thousand million.
    let nanos = time.as_nanos().rem_euclid(BILLION) as u32;
    match u64::try_from(seconds) {
        Ok(seconds) if nanos == 0 && u32::try_from(seconds).is_ok() => {
            ext(&(seconds as u32).to_be_bytes(), serializer)
        }
        Ok(seconds) if seconds >> 34 == 0 => ext(
            &(u64::from(nanos) << 34 | seconds).to_be_bytes(),
            serializer,
        ),
        _ => {
            let mut bytes = [0; 12];
            bytes[..4].copy_from_slice(&nanos.to_be_bytes());
            bytes[4..].copy_from_slice(&seconds.to_be_bytes());
            ext(&bytes, serializer)
        }
    }
}

fn ext<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    struct Bytes<'a>(&'a [u8]);
    impl serde::Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(EXT, Bytes(bytes)))
}

/// The type of MessagePack's timestamp extension.
const EXT: i8 = -1;
const BILLION: i64 = 1_000_000_000;

struct Time;

impl<'de> Visitor<'de> for Time {
    type Value = Option<Timestamp>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp from 1677 to 2262")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Self::Value, E> {
        if matches!(text, "" | "0001-01-01T00:00:00Z") {
            return Ok(None);
        }
        let time = text.parse();
        time.map(Some)
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    /// An extension comes as its type and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        struct Ext;
        impl<'de> Visitor<'de> for Ext {
            type Value = Option<Timestamp>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Time.expecting(f)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
                let kind: i8 = parts.next_element()?.unwrap_or_default();
                let Bytes(bytes) = parts.next_element()?.unwrap_or(Bytes(&[]));
                Some(bytes)
                    .filter(|_| kind == EXT)
                    .and_then(maybe_from_ext)
                    .ok_or_else(|| A::Error::invalid_value(Unexpected::Bytes(bytes), &self))
            }
        }
        deserializer.deserialize_any(Ext)
    }

    /// Seconds and nanoseconds.
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Self::Value, A::Error> {
        let missing = || A::Error::invalid_length(0, &self);
        let seconds: i64 = parts.next_element()?.ok_or_else(missing)?;
        let nanos: u32 = parts.next_element()?.ok_or_else(missing)?;
        while parts.next_element::<IgnoredAny>()?.is_some() {}
        from_parts((seconds, nanos))
            .ok_or_else(|| A::Error::invalid_value(Unexpected::Signed(seconds), &self))
    }
}

/// What the bytes of an extension say, if it is a time.
pub(super) fn from_ext(bytes: &[u8]) -> Option<Timestamp> {
    maybe_from_ext(bytes).flatten()
}

/// The same, where the year 1 is told from bytes that are no time.
pub(super) fn maybe_from_ext(bytes: &[u8]) -> Option<Option<Timestamp>> {
    parts_of_ext(bytes).and_then(from_parts)
}

fn parts_of_ext(bytes: &[u8]) -> Option<(i64, u32)> {
    match bytes.len() {
        4 => Some((u32::from_be_bytes(bytes.try_into().ok()?).into(), 0)),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            // 34 bits and 30 bits.
            Some(((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32))
        }
        12 => {
            let (nanos, seconds) = bytes.split_first_chunk()?;
            let seconds = i64::from_be_bytes(seconds.try_into().ok()?);
            Some((seconds, u32::from_be_bytes(*nanos)))
        }
        _ => None,
    }
}

/// The year 1 is no time. Nothing where it is one that cannot be held.
fn from_parts((seconds, nanos): (i64, u32)) -> Option<Option<Timestamp>> {
    if (seconds, nanos) == (YEAR_ONE, 0) {
        return Some(None);
    }
    let nanos = Some(i64::from(nanos)).filter(|nanos| *nanos < BILLION)?;
    let nanos = seconds.checked_mul(BILLION)?.checked_add(nanos)?;
    Some(Some(Timestamp::from_nanos(nanos)))
}

/// 0001-01-01T00:00:00Z, in seconds.
const YEAR_ONE: i64 = -62_135_596_800;

struct Bytes<'a>(&'a [u8]);

impl<'de: 'a, 'a> Deserialize<'de> for Bytes<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrowed;
        impl<'de> Visitor<'de> for Borrowed {
            type Value = Bytes<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Bytes<'de>, E> {
                Ok(Bytes(bytes))
            }
        }
        deserializer.deserialize_bytes(Borrowed)
    }
}
