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
    behind: Duration,
    warned: bool,
}

impl Behind {
    /// An event that happened at `happened` arrived at `arrived`. Says by how much it is late if that is worth a
    /// warning: once, until it has caught up to half of the threshold.
    pub(super) fn saw(
        &mut self,
        happened: Timestamp,
        arrived: Timestamp,
        threshold: Duration,
    ) -> Option<Duration> {
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
                        .saw(happened, arrived, threshold)
                        .map(|by| (at, by.as_secs())),
                );
            }
            assert_eq!(warned, [(4, 6), (9, 7)], "offset {offset}");
            assert_eq!(behind.by(), Duration::from_secs(7));
        }
    }
}
