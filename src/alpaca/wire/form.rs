//! The forms in which fields of market data are written, in both codecs. Where one is empty, there is nothing to write.

use rust_decimal::Decimal;
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::value::RawValue;

use super::{
    market::Wire,
    time::{BILLION, EXT},
};
use crate::market::{Conditions, PriceLevel, Symbol, Timestamp};

macro_rules! forms {
    ($($form:ident of $value:ty, $(empty if $is_empty:expr,)? written by $write:expr;)+) => {$(
        pub(super) struct $form<'a>(&'a $value);

        impl<'a> $form<'a> {
            pub(super) fn of(value: &'a $value) -> Self {
                Self(value)
            }

            $(pub(super) fn is_empty(&self) -> bool {
                let is_empty: fn(&$value) -> bool = $is_empty;
                is_empty(self.0)
            })?
        }

        impl Serialize for $form<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $write(self.0, serializer)
            }
        }
    )+};
}

forms! {
    Text of str, empty if str::is_empty, written by str::serialize;
    Id of Option<i64>, empty if Option::is_none, written by Option::serialize;
    Count of Option<u64>, empty if Option::is_none, written by Option::serialize;
    Codes of Conditions, empty if Conditions::is_empty, written by codes;
    Symbols of [Symbol], empty if |_| false, written by symbols;
    Levels of [PriceLevel], empty if |_| false, written by levels;
    Flag of bool, empty if |flag| !flag, written by bool::serialize;
    Size of Decimal, written by size;
}

fn codes<S: Serializer>(codes: &Conditions, serializer: S) -> Result<S::Ok, S::Error> {
    // Collected, so that its length is known: MessagePack writes it in front.
    serializer.collect_seq(codes.iter().collect::<Vec<_>>())
}

fn symbols<S: Serializer>(list: &[Symbol], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(list.iter().map(Symbol::as_str))
}

fn levels<S: Serializer>(levels: &[PriceLevel], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(levels.iter().map(Wire))
}

/// Forms of what may be absent or not.
macro_rules! maybe_forms {
    ($($form:ident of $value:ty, written by $write:path;)+) => {$(
        pub(super) struct $form<'a>(Option<&'a $value>);

        impl<'a> $form<'a> {
            pub(super) fn of(value: impl Into<Option<&'a $value>>) -> Self {
                Self(value.into())
            }

            pub(super) fn is_empty(&self) -> bool {
                self.0.is_none()
            }
        }

        impl Serialize for $form<'_> {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.0 {
                    Some(value) => $write(value, serializer),
                    None => serializer.serialize_none(),
                }
            }
        }
    )+};
}

maybe_forms! {
    Number of Decimal, written by number;
    Time of Timestamp, written by time;
}

/// JSON's digits, and MessagePack's float whatever its value.
fn number<S: Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        let digits = RawValue::from_string(number.to_string());
        digits.map_err(S::Error::custom)?.serialize(serializer)
    } else {
        // Correctly rounded, which the decimal's own conversion is not.
        let float: f64 = number.to_string().parse().map_err(S::Error::custom)?;
        serializer.serialize_f64(float)
    }
}

/// What is whole is an integer in MessagePack.
fn size<S: Serializer>(size: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    match u64::try_from(*size) {
        Ok(whole) if size.is_integer() && !serializer.is_human_readable() => {
            serializer.serialize_u64(whole)
        }
        _ => number(size, serializer),
    }
}

/// RFC 3339 in JSON. In MessagePack the extension, in the shortest of the three forms that can hold it.
fn time<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        return serializer.collect_str(time);
    }
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
    impl Serialize for Bytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    serializer.serialize_newtype_struct(rmp_serde::MSGPACK_EXT_STRUCT_NAME, &(EXT, Bytes(bytes)))
}
