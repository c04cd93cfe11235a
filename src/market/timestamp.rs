//! Points in time.

use std::{fmt, str::FromStr, time::SystemTime};

use crate::error::{Error, Result};

/// A point in time, UTC, to the nanosecond, from the year 1677 to 2262.
///
/// `Display` and `FromStr` are RFC 3339.
///
/// # Examples
/// ```
/// use trunkline::Timestamp;
/// let time: Timestamp = "2026-03-17T14:30:05.123456789Z".parse()?;
/// assert_eq!(time.as_nanos(), 1_773_757_805_123_456_789);
/// assert_eq!(time.to_string(), "2026-03-17T14:30:05.123456789Z");
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Timestamp(i64);

impl Timestamp {
    /// From nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn from_nanos(nanos: i64) -> Self {
        Self(nanos)
    }

    /// Nanoseconds since 1970-01-01T00:00:00Z.
    #[must_use]
    pub const fn as_nanos(self) -> i64 {
        self.0
    }

    fn from_jiff(time: jiff::Timestamp) -> Option<Self> {
        i64::try_from(time.as_nanosecond()).ok().map(Self)
    }
}

impl FromStr for Timestamp {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = || {
            Error::invalid_config(format!(
                "`{}` is no RFC 3339 timestamp from 1677 to 2262",
                text.escape_debug()
            ))
        };
        text.parse::<jiff::Timestamp>()
            .ok()
            .and_then(Self::from_jiff)
            .ok_or_else(invalid)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Every i64 of nanoseconds is inside jiff's range of years.
        fmt::Display::fmt(
            &jiff::Timestamp::from_nanosecond(i128::from(self.0)).unwrap_or_default(),
            f,
        )
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Timestamp> for SystemTime {
    fn from(time: Timestamp) -> Self {
        jiff::Timestamp::from_nanosecond(i128::from(time.0))
            .unwrap_or_default()
            .into()
    }
}

impl TryFrom<SystemTime> for Timestamp {
    type Error = Error;

    fn try_from(time: SystemTime) -> Result<Self> {
        let outside = || Error::invalid_config("the time is not between the years 1677 and 2262");
        jiff::Timestamp::try_from(time)
            .ok()
            .and_then(Self::from_jiff)
            .ok_or_else(outside)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Timestamp {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timestamps_keep_nanoseconds_and_cut_zeros() {
        for text in [
            "2026-03-17T14:30:05Z",
            "2026-03-17T14:30:05.12Z",
            "2026-03-17T14:30:05.123456789Z",
            "1969-12-31T23:59:59.999999999Z",
        ] {
            let time: Timestamp = text.parse().unwrap();
            assert_eq!(time.to_string(), text);
            assert_eq!(Timestamp::try_from(SystemTime::from(time)).unwrap(), time);
        }
        let offset: Timestamp = "2026-03-17T10:30:05.2-04:00".parse().unwrap();
        assert_eq!(offset.to_string(), "2026-03-17T14:30:05.2Z");
        assert!("0001-01-01T00:00:00Z".parse::<Timestamp>().is_err());
        assert!("yesterday".parse::<Timestamp>().is_err());
    }
}
