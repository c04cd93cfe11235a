//! Points in time: RFC 3339 in JSON; the timestamp extension in MessagePack, where old servers also wrote a text, or
//! seconds and nanoseconds.

use crate::market::Timestamp;

/// The type of MessagePack's timestamp extension.
pub(super) const EXT: i8 = -1;
pub(super) const BILLION: i64 = 1_000_000_000;

/// What a text says: RFC 3339, where a time without a zone is UTC, and digits of its fraction behind the ninth are cut
/// off. Nothing where it is no time; inside that nothing where it says that there is none: as an empty text, or as the
/// year 1, which is Go's zero.
pub(super) fn of_text(text: &str) -> Option<Option<Timestamp>> {
    if text.is_empty() || text.starts_with("0001-01-01T") {
        return Some(None);
    }
    let exact = || text.parse::<Timestamp>().ok();
    let cut = || {
        let (whole, fraction) = text.split_once('.')?;
        let digits = fraction.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, zone) = fraction.split_at(digits);
        let digits = digits.get(..9).unwrap_or(digits);
        let zone = if zone.is_empty() { "Z" } else { zone };
        format!("{whole}.{digits}{zone}").parse().ok()
    };
    let zoneless = || format!("{text}Z").parse().ok();
    exact().or_else(cut).or_else(zoneless).map(Some)
}

/// What the bytes of an extension say. Nothing where it is no time that can be held; inside that nothing for the year 1.
pub(super) fn from_ext(bytes: &[u8]) -> Option<Option<Timestamp>> {
    let (seconds, nanos) = parts_of_ext(bytes)?;
    of_parts(seconds, nanos.into())
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

/// The same of seconds and nanoseconds.
pub(super) fn of_parts(seconds: i64, nanos: i64) -> Option<Option<Timestamp>> {
    if (seconds, nanos) == (YEAR_ONE, 0) {
        return Some(None);
    }
    let nanos = Some(nanos).filter(|nanos| (0..BILLION).contains(nanos))?;
    let nanos = seconds.checked_mul(BILLION)?.checked_add(nanos)?;
    Some(Some(Timestamp::from_nanos(nanos)))
}

/// 0001-01-01T00:00:00Z, in seconds.
const YEAR_ONE: i64 = -62_135_596_800;
