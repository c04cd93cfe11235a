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
mod tests;
