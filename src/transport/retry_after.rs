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
mod tests {
    use super::*;

    #[test]
    fn it_is_seconds_or_a_time() {
        let now: Timestamp = "2026-11-06T08:49:00Z".parse().unwrap();
        assert_eq!(wait(b"120", now), Some(Duration::from_secs(120)));
        assert_eq!(
            wait(b"Fri, 06 Nov 2026 08:49:37 GMT", now),
            Some(Duration::from_secs(37))
        );
        assert_eq!(wait(b"Fri, 06 Nov 2026 08:40:00 GMT", now), None);
        assert_eq!(wait(b"soon", now), None);
        // The same moments as Unix times.
        let unix = now.as_nanos() / 1_000_000_000;
        for (number, seconds) in [
            (unix + 37, Some(37)),
            ((unix + 37) * 1_000, Some(37)),
            (unix - 540, None),
            (unix + 30 * 86_400, Some(30 * 86_400)),
            (86_400, Some(86_400)),
            // No time near now.
            (1_000_000_000, Some(1_000_000_000)),
        ] {
            let seconds = seconds.map(Duration::from_secs);
            assert_eq!(
                wait(number.to_string().as_bytes(), now),
                seconds,
                "{number}"
            );
        }
    }
}
