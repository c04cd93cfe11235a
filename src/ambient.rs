//! What a driver learns from around it, apart from its connection: the clocks, and random numbers.
//!
//! [`System`] is the machine's own. The tests of the driver have another one, which the test moves.

use std::{
    io,
    time::{Duration, Instant},
};

use crate::{clock, timestamp::Timestamp};

/// The clocks of [`clock`], and random numbers. None of these calls blocks.
pub(crate) trait Ambient: Send {
    /// The monotonic clock.
    fn now(&self) -> Instant;

    /// The wall clock.
    fn utc(&self) -> Timestamp;

    /// How long the machine was asleep since some moment, at least: [`now`](Self::now) leaves that out.
    fn asleep(&self) -> Duration;

    /// A random number between 0 and 1, 1 excluded.
    fn random(&mut self) -> f64;

    /// A random number of all sizes.
    fn roll(&mut self) -> u64;

    /// When, by the wall clock, something happened that the monotonic clock has stamped.
    fn utc_of(&self, at: Instant) -> Timestamp {
        clock::earlier(self.utc(), self.now().saturating_duration_since(at))
    }
}

/// The clocks of this machine.
pub(crate) struct System {
    random: SplitMix64,
}

impl System {
    /// Random numbers of its own, which differ from those of other processes.
    pub(crate) fn new() -> io::Result<Self> {
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(Self {
            random: SplitMix64::new(u64::from_ne_bytes(seed)),
        })
    }
}

impl Ambient for System {
    fn now(&self) -> Instant {
        clock::now()
    }

    fn utc(&self) -> Timestamp {
        clock::utc()
    }

    fn asleep(&self) -> Duration {
        clock::asleep()
    }

    /// Jitter needs to differ between processes, not to be unpredictable.
    fn random(&mut self) -> f64 {
        self.random.fraction()
    }

    fn roll(&mut self) -> u64 {
        self.random.roll()
    }
}

/// SplitMix64 (Steele, Lea and Flood, 2014): the same numbers from the same seed.
#[derive(Clone, Debug)]
pub(crate) struct SplitMix64(u64);

impl SplitMix64 {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to 1, 1 excluded.
    pub(crate) fn fraction(&mut self) -> f64 {
        (self.roll() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
