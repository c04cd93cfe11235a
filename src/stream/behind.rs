//! How far the venue's buffer for a connection has filled, seen from the age of what arrives.
//!
//! A venue may hide for a long time that a client is slow: it buffers, and the events that arrive get older. Clocks
//! differ, and a feed may be late on purpose, so what counts is how much older than the freshest of this connection.

use std::time::Duration;

use crate::market::Timestamp;

#[derive(Default)]
pub(super) struct Behind {
    /// The smallest age seen on this connection, in nanoseconds. May be negative: clocks differ.
    freshest: Option<i64>,
    /// What the wall clock was ahead of the monotonic clock, when the last event arrived.
    offset: Option<i64>,
    behind: Duration,
    warned: bool,
}

impl Behind {
    /// An event that happened at `happened` arrived at `arrived`. Says by how much it is late if that is worth a
    /// warning: once, until it has caught up to half of the threshold.
    ///
    /// `elapsed` is the monotonic clock at `arrived`, from any fixed moment on. By it a wall clock that was set is known:
    /// what it was moved by is no age, and the events are as fresh as before.
    pub(super) fn saw(
        &mut self,
        happened: Timestamp,
        arrived: Timestamp,
        elapsed: Duration,
        threshold: Duration,
    ) -> Option<Duration> {
        let elapsed = i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX);
        let offset = arrived.as_nanos().saturating_sub(elapsed);
        let step = offset.saturating_sub(self.offset.replace(offset).unwrap_or(offset));
        if step.unsigned_abs() >= STEP_NANOS {
            self.freshest = self.freshest.map(|freshest| freshest.saturating_add(step));
        }
        let age = arrived.as_nanos().saturating_sub(happened.as_nanos());
        if age.unsigned_abs() > PLAUSIBLE_NANOS {
            return None;
        }
        let freshest = self.freshest.map_or(age, |freshest| freshest.min(age));
        self.freshest = Some(freshest);
        self.behind = Duration::from_nanos(age.abs_diff(freshest));
        if self.behind >= threshold && !self.warned {
            self.warned = true;
            return Some(self.behind);
        }
        self.warned &= self.behind > threshold / 2;
        None
    }

    /// How far behind the newest event was.
    pub(super) fn by(&self) -> Duration {
        self.behind
    }
}

/// A wall clock that is kept right by small corrections moves by less from one event to the next.
const STEP_NANOS: u64 = 100_000_000;

/// A day. Beyond that, no clock and no buffer is off: it is a recording, or a test's own event.
const PLAUSIBLE_NANOS: u64 = 24 * 3_600 * 1_000_000_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_growing_age_warns_once_an_episode_whatever_the_clocks_say() {
        let threshold = Duration::from_secs(5);
        for offset in [-3_600, 0, 900] {
            let mut behind = Behind::default();
            let mut warned = Vec::new();
            for (at, age) in [1, 0, 2, 4, 6, 9, 4, 6, 2, 7].into_iter().enumerate() {
                let arrived = Timestamp::from_nanos((100 + at as i64) * 1_000_000_000);
                let happened =
                    Timestamp::from_nanos(arrived.as_nanos() - (age + offset) * 1_000_000_000);
                warned.extend(
                    behind
                        .saw(happened, arrived, Duration::from_secs(at as u64), threshold)
                        .map(|by| (at, by.as_secs())),
                );
            }
            assert_eq!(warned, [(4, 6), (9, 7)], "offset {offset}");
            assert_eq!(behind.by(), Duration::from_secs(7));
        }
    }

    /// An hour forward or back, by a human or at the end of a suspend, whose time the wall clock alone has counted.
    #[test]
    fn a_wall_clock_that_is_set_makes_no_event_late() {
        let (threshold, second) = (Duration::from_secs(5), 1_000_000_000);
        for step in [3_600, -3_600, 60, -60] {
            let mut behind = Behind::default();
            let mut saw = |at: u64, set: i64, age: i64| {
                let true_time = (1_000_000 + at as i64) * second;
                let arrived = Timestamp::from_nanos(true_time + set * second);
                let happened = Timestamp::from_nanos(true_time - age * second);
                let warning = behind.saw(happened, arrived, Duration::from_secs(at), threshold);
                (warning.map(|by| by.as_secs()), behind.by().as_secs())
            };
            assert_eq!(saw(1, 0, 0), (None, 0));
            assert_eq!(saw(2, step, 0), (None, 0), "{step}");
            assert_eq!(saw(3, step, 2), (None, 2), "{step}");
            assert_eq!(
                saw(4, step, 6),
                (Some(6), 6),
                "{step}: a real delay is seen all the same"
            );
            assert_eq!(saw(5, 0, 0), (None, 0), "{step}: and back");
        }
    }
}
