//! The clocks: the only place that reads them.

use std::time::{Instant, SystemTime};

use crate::market::Timestamp;

/// The monotonic clock: for deadlines and ages.
pub(crate) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    Instant::now()
}

/// The wall clock: for what people and other systems compare with.
pub(crate) fn utc() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    let time = SystemTime::now();
    // A machine whose clock stands outside the years 1677 to 2262 gets the epoch.
    Timestamp::try_from(time).unwrap_or(Timestamp::from_nanos(0))
}
