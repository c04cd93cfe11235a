//! Numbers, exactly.
//!
//! In JSON a number is what its digits say. In MessagePack it is a binary float that the venue made from such digits,
//! and stands for the shortest decimal that reads back as the same float: the one that its JSON would show.

use std::fmt;

use rust_decimal::Decimal;

/// What digits say, with an exponent or without, if a decimal can hold it exactly.
pub(super) fn parse(digits: &str) -> Option<Decimal> {
    if digits.contains(['e', 'E']) {
        Decimal::from_scientific(digits).ok()
    } else {
        Decimal::from_str_exact(digits).ok()
    }
}

/// The shortest decimal that reads back as the same float.
pub(super) fn shortest(float: f64) -> Option<Decimal> {
    match short(float) {
        Some((digits, scale)) => Some(Decimal::new(digits, scale)),
        None => parse_float(format_args!("{float:e}")),
    }
}

/// The same for the float that it is: as a double it would have more digits.
pub(super) fn shortest_of_single(float: f32) -> Option<Decimal> {
    parse_float(format_args!("{float:e}"))
}

/// The digits of the shortest decimal that reads back as the same float, and how many of them stand behind the point,
/// if they are few.
///
/// Prices have few decimals. Where a float is the nearest to an integer of at most 15 digits over a power of ten, it is
/// so to one of them only, and the smallest power gives the shortest.
pub(super) fn short(float: f64) -> Option<(i64, u32)> {
    for (decimals, power) in (0_u32..).zip(POWERS) {
        // Rounded by hand: where there is no instruction for it, `round` is a call.
        let scaled = float * power;
        let whole = (scaled + 0.5_f64.copysign(scaled)) as i64;
        if whole.unsigned_abs() >= FIFTEEN_DIGITS {
            break;
        }
        // A whole number of 15 digits is the same as a float.
        if whole as f64 / power == float {
            return Some((whole, decimals));
        }
    }
    None
}

const POWERS: [f64; 9] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8];
const FIFTEEN_DIGITS: u64 = 1_000_000_000_000_000;

/// A float as Rust prints it: the shortest digits that read back as the same.
fn parse_float(float: fmt::Arguments<'_>) -> Option<Decimal> {
    parse(&float.to_string())
}

#[cfg(test)]
mod tests;
