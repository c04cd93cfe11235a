//! Points in time.

use std::{
    fmt,
    str::FromStr,
    time::{Duration, SystemTime},
};

use crate::invalid::InvalidValue;

/// A point in time, UTC, to the nanosecond, from the year 1677 to 2262. By default 1970-01-01T00:00:00Z.
///
/// `Display` and `FromStr` are RFC 3339.
///
/// # Examples
/// ```
/// use trunkline::Timestamp;
/// let time: Timestamp = "2026-03-17T14:30:05.123456789Z".parse()?;
/// assert_eq!(time.as_nanos(), 1_773_757_805_123_456_789);
/// assert_eq!(time.to_string(), "2026-03-17T14:30:05.123456789Z");
///
/// let half_a_second = std::time::Duration::from_millis(500);
/// let later = time.checked_add(half_a_second).expect("it is not beyond the year 2262");
/// assert_eq!(later.since(time), half_a_second);
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// The time from `earlier` to this. Zero where `earlier` is the later one, which happens between a venue's clock and
    /// this machine's: compare the two with `<` where the direction matters.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Duration {
        if self.0 <= earlier.0 {
            return Duration::ZERO;
        }
        Duration::from_nanos(self.0.abs_diff(earlier.0))
    }

    /// The point in time so much later, unless that is beyond the year 2262.
    #[must_use]
    pub fn checked_add(self, time: Duration) -> Option<Self> {
        let nanos = i128::try_from(time.as_nanos()).ok()?;
        let sum = i128::from(self.0).checked_add(nanos)?;
        i64::try_from(sum).ok().map(Self)
    }

    /// The point in time so much earlier, unless that is before the year 1677.
    #[must_use]
    pub fn checked_sub(self, time: Duration) -> Option<Self> {
        let nanos = i128::try_from(time.as_nanos()).ok()?;
        let difference = i128::from(self.0).checked_sub(nanos)?;
        i64::try_from(difference).ok().map(Self)
    }

    fn from_jiff(time: jiff::Timestamp) -> Option<Self> {
        i64::try_from(time.as_nanosecond()).ok().map(Self)
    }
}

impl FromStr for Timestamp {
    type Err = InvalidValue;

    fn from_str(text: &str) -> Result<Self, InvalidValue> {
        let invalid = || {
            InvalidValue::new(format!(
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
    type Error = InvalidValue;

    fn try_from(time: SystemTime) -> Result<Self, InvalidValue> {
        let outside = || InvalidValue::new("the time is not between the years 1677 and 2262");
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

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Timestamp {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimestampVisitor;
        impl serde::de::Visitor<'_> for TimestampVisitor {
            type Value = Timestamp;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an RFC 3339 timestamp from 1677 to 2262")
            }
            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Timestamp, E> {
                let invalid = |_| E::invalid_value(serde::de::Unexpected::Str(text), &self);
                text.parse().map_err(invalid)
            }
        }
        deserializer.deserialize_str(TimestampVisitor)
    }
}

#[cfg(test)]
mod tests;
