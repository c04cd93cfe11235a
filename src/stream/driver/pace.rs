//! How many requests a connection is sent, by the venue's own number: a window that slides over the times of the last ones.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::{clock, venue::Rules};

/// The requests of one connection that still count.
#[derive(Default)]
pub(super) struct Sent(VecDeque<Instant>);

impl Sent {
    /// When the next request may be made; nothing if that is now.
    pub(super) fn wait(&mut self, rules: &Rules, now: Instant) -> Option<Instant> {
        let pace = rules.pace?;
        while let Some(first) = self.0.front()
            && clock::after(*first, pace.within) <= now
        {
            self.0.pop_front();
        }
        let is_full = self.0.len() >= pace.requests;
        let first = self.0.front().filter(|_| is_full)?;
        Some(clock::after(*first, pace.within))
    }

    /// The machine slept for so long, and the clock stood still meanwhile.
    pub(super) fn slept(&mut self, slept: Duration) {
        for at in &mut self.0 {
            *at = clock::before(*at, slept);
        }
    }

    /// A request was made.
    pub(super) fn add(&mut self, rules: &Rules, now: Instant) {
        if rules.pace.is_some() {
            self.0.push_back(now);
        }
    }
}

#[cfg(test)]
mod tests;
