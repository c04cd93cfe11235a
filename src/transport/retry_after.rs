//! `Retry-After`: a number of seconds or a date (RFC 9110, 10.2.3). Some servers write the date as a Unix time, in seconds
//! or milliseconds.

use std::time::Duration;

use crate::market::Timestamp;

/// How long it asks to wait. A time that has passed asks for nothing.
pub(super) fn wait(value: &[u8], now: Timestamp) -> Option<Duration> {
    let value = std::str::from_utf8(value).ok()?;
    let Ok(number) = value.trim().parse::<u64>() else {
        let date = jiff::fmt::rfc2822::DateTimeParser::new()
            .parse_timestamp(value.trim())
            .ok()?;
        return until(now, date.as_nanosecond());
    };
    for nanos_per_unit in [1_000_000_000, 1_000_000] {
        let time = i128::from(number) * nanos_per_unit;
        if (time - i128::from(now.as_nanos())).abs() < YEAR_NANOS {
            return until(now, time);
        }
    }
    Some(Duration::from_secs(number))
}

/// How long it is until a time, in nanoseconds since 1970, that lies ahead.
fn until(now: Timestamp, time: i128) -> Option<Duration> {
    let nanos = time.checked_sub(i128::from(now.as_nanos()))?;
    u64::try_from(nanos).ok().map(Duration::from_nanos)
}

/// A number is a Unix time if it is that near to now: as seconds to wait it would be decades.
const YEAR_NANOS: i128 = 366 * 24 * 3_600 * 1_000_000_000;

#[cfg(test)]
mod tests;
