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
    if deserializer.is_human_readable() {
        deserializer.deserialize_str(Time)
    } else {
        deserializer.deserialize_any(Time)
    }
}

pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        serializer.collect_str(time)
    } else {
        serialize_ext(*time, serializer)
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
    type Value = Timestamp;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a timestamp from 1677 to 2262")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse()
            .map_err(|_| E::invalid_value(Unexpected::Str(text), &self))
    }

    /// An extension comes as its type and its bytes.
    fn visit_newtype_struct<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Timestamp, D::Error> {
        struct Ext;
        impl<'de> Visitor<'de> for Ext {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                Time.expecting(f)
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Timestamp, A::Error> {
                let kind: i8 = parts.next_element()?.unwrap_or_default();
                let bytes: Bytes<'de> = parts.next_element()?.unwrap_or(Bytes(&[]));
                (kind == EXT)
                    .then(|| from_ext(bytes.0))
                    .flatten()
                    .ok_or_else(|| A::Error::invalid_value(Unexpected::Bytes(bytes.0), &self))
            }
        }
        deserializer.deserialize_any(Ext)
    }

    /// Seconds and nanoseconds.
    fn visit_seq<A: SeqAccess<'de>>(self, mut parts: A) -> Result<Timestamp, A::Error> {
        let missing = || A::Error::invalid_length(0, &self);
        let seconds: i64 = parts.next_element()?.ok_or_else(missing)?;
        let nanos: u32 = parts.next_element()?.ok_or_else(missing)?;
        while parts.next_element::<IgnoredAny>()?.is_some() {}
        from_parts(seconds, nanos)
            .ok_or_else(|| A::Error::invalid_value(Unexpected::Signed(seconds), &self))
    }
}

fn from_ext(bytes: &[u8]) -> Option<Timestamp> {
    match bytes.len() {
        4 => from_parts(u32::from_be_bytes(bytes.try_into().ok()?).into(), 0),
        8 => {
            let both = u64::from_be_bytes(bytes.try_into().ok()?);
            // 34 bits and 30 bits.
            from_parts((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
        }
        12 => {
            let (nanos, seconds) = bytes.split_first_chunk()?;
            from_parts(
                i64::from_be_bytes(seconds.try_into().ok()?),
                u32::from_be_bytes(*nanos),
            )
        }
        _ => None,
    }
}

fn from_parts(seconds: i64, nanos: u32) -> Option<Timestamp> {
    let nanos = Some(i64::from(nanos)).filter(|nanos| *nanos < BILLION)?;
    seconds
        .checked_mul(BILLION)?
        .checked_add(nanos)
        .map(Timestamp::from_nanos)
}

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
