//! The clocks: the only place that reads them.
//!
//! | clock | goes on while the machine sleeps | steps | for |
//! |---|---|---|---|
//! | monotonic, [`now`] | no: on Linux `Instant` is `CLOCK_MONOTONIC` | never | deadlines and ages |
//! | wall, [`utc`] | yes | whenever somebody sets it | what people and other systems compare with |
//! | [`asleep`] | it is what was slept | never | what the monotonic clock leaves out |
//!
//! Time asleep is the clock that counts it (`CLOCK_BOOTTIME` on Linux, `mach_continuous_time` on macOS) less the
//! monotonic one. Elsewhere there is no such clock in safe code, and the wall clock stands in for it: a step forward looks
//! like sleep, which makes prices look older than they are and costs a ping; a step back hides as much sleep.

use std::{
    sync::LazyLock,
    time::{Duration, Instant, SystemTime},
};

use crate::timestamp::Timestamp;

/// A suspend takes longer than that. What two clocks differ by for other reasons, such as a wall clock that is slewed,
/// is less between two looks.
pub(crate) const SUSPEND: Duration = Duration::from_secs(1);

/// The monotonic clock: for deadlines and ages.
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    READS.set(READS.get() + 1);
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    Instant::now()
}

#[cfg(test)]
thread_local! {
    /// How often this thread has read the monotonic clock.
    pub(crate) static READS: std::cell::Cell<u64> = const { std::cell::Cell::new(0) };
}

/// The monotonic clock, and what was slept until then: what judges the age of something that was read before.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    pub(crate) now: Instant,
    /// Time asleep, as [`asleep`] counts it, or a little more: never less.
    pub(crate) asleep: Duration,
}

/// The present. A thread that is held up between the two clocks takes that for sleep, and a price for older than it is:
/// the other order would take it for younger.
pub(crate) fn moment() -> Moment {
    let now = now();
    let asleep = slept_until(uninterrupted(), now);
    Moment { now, asleep }
}

/// How long the machine was asleep since some moment that stays the same for the life of the process, or a little less:
/// never more. For what is read from now on.
pub(crate) fn asleep() -> Duration {
    let uninterrupted = uninterrupted();
    slept_until(uninterrupted, now())
}

fn slept_until(uninterrupted: Duration, now: Instant) -> Duration {
    uninterrupted.saturating_sub(now.saturating_duration_since(START.1))
}

/// Time since the first look, asleep or not.
fn uninterrupted() -> Duration {
    let (start, _) = *START;
    sleepless::now()
        .checked_duration_since(start)
        .unwrap_or_default()
}

/// The clock that goes on first, so that the difference is never below zero.
static START: LazyLock<(sleepless::Instant, Instant)> = LazyLock::new(|| (sleepless::now(), now()));

/// A clock that goes on while the machine sleeps.
#[cfg(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios"
))]
mod sleepless {
    pub(super) use boot_time::Instant;

    pub(super) fn now() -> Instant {
        Instant::now()
    }
}

/// The wall clock, in the place of one that goes on while the machine sleeps.
#[cfg(not(any(
    target_os = "linux",
    target_os = "android",
    target_os = "macos",
    target_os = "ios"
)))]
mod sleepless {
    use std::time::{Duration, SystemTime};

    #[derive(Clone, Copy)]
    pub(super) struct Instant(SystemTime);

    pub(super) fn now() -> Instant {
        #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
        Instant(SystemTime::now())
    }

    impl Instant {
        pub(super) fn checked_duration_since(&self, earlier: Self) -> Option<Duration> {
            self.0.duration_since(earlier.0).ok()
        }
    }
}

/// When, by the wall clock, something happened that the monotonic clock has stamped.
pub(crate) fn utc_of(at: Instant) -> Timestamp {
    earlier(utc(), now().saturating_duration_since(at))
}

/// As long as never. `Duration::MAX` is what people write for "no bound", and the clock cannot express a sum with it.
pub(crate) const CENTURY: Duration = Duration::from_secs(100 * 365 * 24 * 3_600);

/// So much later, or a [`CENTURY`] later. An `Instant` plus a `Duration` panics where the clock cannot express the sum, so
/// clippy refuses every other one.
pub(crate) fn after(at: Instant, span: Duration) -> Instant {
    at.checked_add(span.min(CENTURY)).unwrap_or(at)
}

/// So much from now on.
pub(crate) fn deadline(span: Duration) -> Instant {
    after(now(), span)
}

/// A span times a factor of zero or more, or the longest span: `Duration::mul_f64` panics beyond it.
pub(crate) fn times(span: Duration, factor: f64) -> Duration {
    Duration::try_from_secs_f64(span.as_secs_f64() * factor).unwrap_or(Duration::MAX)
}

/// So much earlier, as far back as the monotonic clock can say.
pub(crate) fn before(at: Instant, span: Duration) -> Instant {
    at.checked_sub(span).unwrap_or(at)
}

/// So much earlier, or the earliest time there is.
pub(crate) fn earlier(time: Timestamp, span: Duration) -> Timestamp {
    let span = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
    Timestamp::from_nanos(time.as_nanos().saturating_sub(span))
}

/// 2026-01-01, in seconds since 1970: a wall clock that says an earlier time has not been set. Older than any release of
/// this crate, whose calendar was announced in December 2025.
#[cfg(feature = "tls")]
pub(crate) const NOT_SET_BEFORE: u64 = 1_767_225_600;

impl Timestamp {
    /// The present, by this machine's wall clock, which somebody may set. The present by the monotonic clock is what
    /// [`Event::received`](crate::Event::received) is to be compared with.
    #[must_use]
    pub fn now() -> Self {
        utc()
    }
}

/// The wall clock: for what people and other systems compare with.
pub(crate) fn utc() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    let time = SystemTime::now();
    // A machine whose clock stands outside the years 1677 to 2262 gets the epoch.
    Timestamp::try_from(time).unwrap_or(Timestamp::from_nanos(0))
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
