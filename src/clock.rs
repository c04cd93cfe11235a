//! The clocks: the only place that reads them.

use std::time::{Duration, Instant, SystemTime};

use crate::market::Timestamp;

/// The monotonic clock: for deadlines and ages.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    Instant::now()
}

/// When, by the wall clock, something happened that the monotonic clock has stamped.
pub(crate) fn utc_of(at: Instant) -> Timestamp {
    earlier(utc(), now().saturating_duration_since(at))
}

/// So much earlier, or the earliest time there is.
pub(crate) fn earlier(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_sub(span))
}

/// The wall clock: for what people and other systems compare with.
pub(crate) fn utc() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    let time = SystemTime::now();
    // A machine whose clock stands outside the years 1677 to 2262 gets the epoch.
    Timestamp::try_from(time).unwrap_or(Timestamp::from_nanos(0))
}
