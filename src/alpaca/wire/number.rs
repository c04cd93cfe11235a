//! Numbers, exactly.
//!
//! In JSON a number is what its digits say. In MessagePack it is a binary float that the venue made from such digits,
//! and stands for the shortest decimal that reads back as the same float: the one that its JSON would show.

use std::fmt;

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{Error, Visitor},
    ser,
};
use serde_json::value::RawValue;

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Decimal, D::Error> {
    maybe::deserialize(deserializer)?.ok_or_else(|| D::Error::custom("a number is missing"))
}

/// As JSON's digits, and as MessagePack's float whatever its value.
pub(super) fn serialize<S: Serializer>(number: &Decimal, serializer: S) -> Result<S::Ok, S::Error> {
    if serializer.is_human_readable() {
        digits(number).serialize(serializer)
    } else {
        // Correctly rounded, which the decimal's own conversion is not.
        let float: f64 = number.to_string().parse().map_err(ser::Error::custom)?;
        serializer.serialize_f64(float)
    }
}

fn digits(number: &Decimal) -> Box<RawValue> {
    RawValue::from_string(number.to_string()).expect("a decimal's digits are JSON")
}

/// A number that may be null or missing.
pub(super) mod maybe {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Decimal>, D::Error> {
        if !deserializer.is_human_readable() {
            return deserializer.deserialize_any(Number);
        }
        match <&RawValue>::deserialize(deserializer)?.get() {
            "null" => Ok(None),
            // A number in quotes holds nothing that has to be escaped.
            digits => parse(digits.trim_matches('"'))
                .map(Some)
                .map_err(D::Error::custom),
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        number: &Option<Decimal>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match number {
            Some(number) => super::serialize(number, serializer),
            None => serializer.serialize_none(),
        }
    }
}

/// A size: what is whole is an integer in MessagePack.
pub(super) mod size {
    use super::*;

    pub(in super::super) use super::deserialize;

    pub(in super::super) fn serialize<S: Serializer>(
        number: &Decimal,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match u64::try_from(*number) {
            Ok(whole) if number.is_integer() && !serializer.is_human_readable() => {
                serializer.serialize_u64(whole)
            }
            _ => super::serialize(number, serializer),
        }
    }
}

/// A count that may be null or missing.
pub(super) mod count {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<u64>, D::Error> {
        let Some(number) = maybe::deserialize(deserializer)? else {
            return Ok(None);
        };
        match u64::try_from(number) {
            Ok(count) if number.is_integer() => Ok(Some(count)),
            _ => Err(D::Error::custom(format_args!("{number} is no count"))),
        }
    }

    pub(in super::super) fn serialize<S: Serializer>(
        count: &Option<u64>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        count.serialize(serializer)
    }
}

/// A number in MessagePack: an integer of any width, a float of either, or a text.
struct Number;

impl Visitor<'_> for Number {
    type Value = Option<Decimal>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number")
    }
    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(None)
    }
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number.into()))
    }
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number.into()))
    }
    fn visit_f64<E: Error>(self, float: f64) -> Result<Self::Value, E> {
        shortest(float).map(Some).map_err(E::custom)
    }
    fn visit_f32<E: Error>(self, float: f32) -> Result<Self::Value, E> {
        // The shortest for the float that it is: as a double it would have more digits.
        parse_float(format_args!("{float:e}"))
            .map(Some)
            .map_err(E::custom)
    }
    fn visit_str<E: Error>(self, digits: &str) -> Result<Self::Value, E> {
        parse(digits).map(Some).map_err(E::custom)
    }
}

pub(super) fn parse(digits: &str) -> Result<Decimal, String> {
    let parsed = if digits.contains(['e', 'E']) {
        Decimal::from_scientific(digits)
    } else {
        Decimal::from_str_exact(digits)
    };
    parsed.map_err(|error| format!("`{}` is no exact decimal: {error}", shown(digits)))
}

/// The shortest decimal that reads back as the same float.
pub(super) fn shortest(float: f64) -> Result<Decimal, String> {
    match short(float) {
        Some((digits, scale)) => Ok(Decimal::new(digits, scale)),
        None => parse_float(format_args!("{float:e}")),
    }
}

/// The digits of the shortest decimal that reads back as the same float, and how many of them stand behind the point,
/// if they are few.
///
/// Prices have few decimals. Where a float is the nearest to an integer of at most 15 digits over a power of ten, it is
/// so to one of them only, and the smallest power gives the shortest.
pub(super) fn short(float: f64) -> Option<(i64, u32)> {
    for (decimals, power) in (0_u32..).zip(POWERS) {
        let whole = (float * power).round();
        if whole.abs() >= FIFTEEN_DIGITS {
            break;
        }
        if whole / power == float {
            // It is whole, and has 15 digits.
            return Some((whole as i64, decimals));
        }
    }
    None
}

const POWERS: [f64; 9] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
const FIFTEEN_DIGITS: f64 = 1e15;

/// A float as Rust prints it: the shortest digits that read back as the same.
fn parse_float(float: fmt::Arguments<'_>) -> Result<Decimal, String> {
    parse(&float.to_string())
}

fn shown(digits: &str) -> String {
    digits
        .chars()
        .take(64)
        .flat_map(char::escape_debug)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Both ways to find the shortest decimal agree, and what they find reads back.
    #[test]
    fn a_float_is_the_shortest_decimal_that_reads_back_as_it() {
        let mut seed: u64 = 7;
        let mut next = || {
            // Knuth's multiplier: any spread of bits will do.
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            seed >> 11
        };
        for round in 0..20_000 {
            let float = match round % 4 {
                0 => (next() % 10_000_000) as f64 / 100.0,
                1 => (next() % 1_000_000_000_000) as f64 / 1e8,
                2 => f64::from_bits(0x3ff0_0000_0000_0000 | next() >> 1),
                _ => -((next() % 1_000_000) as f64) / 3.0,
            };
            let found = shortest(float).unwrap();
            assert_eq!(found, parse(&format!("{float:e}")).unwrap(), "{float:e}");
            assert_eq!(found.to_string().parse::<f64>().unwrap(), float);
        }
    }
}
