//! How much may be asked for under the venue's plan: a pure policy. It is told what the table counts, and says how many more may be
//! asked for at once.

#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::time::Instant;

use super::HOLDS_FOR;
use crate::{
    clock,
    error::Rejection,
    symbol_budget::{Counts, SymbolBudget},
};

/// The plan, as far as it is known on this connection.
pub(super) struct Plan {
    given: SymbolBudget,
    counts: Counts,
    /// So many fit, by what was given or confirmed.
    fits: usize,
    /// The venue confirmed so many at once, and so many topics: its limit is not lower.
    proven: usize,
    proven_topics: usize,
    refused_at: Option<usize>,
    /// When the venue refused last, and in which words.
    learned: Option<(Instant, Rejection)>,
}

impl Plan {
    pub(super) fn new(given: SymbolBudget) -> Self {
        let limit = given.limit();
        Self {
            given,
            counts: given.counts(),
            fits: limit.unwrap_or(0),
            proven: 0,
            proven_topics: 0,
            refused_at: limit.map(|limit| limit.saturating_add(1)),
            learned: None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The venue refused no more symbols than it confirmed before: it counts topics. What was learned of symbols is void.
    pub(super) fn count_topics(&mut self) {
        let proven = self.proven_topics;
        *self = Self::new(self.given);
        self.counts = Counts::Topics;
        self.granted(proven, proven);
    }

    pub(super) fn limit(&self) -> Option<usize> {
        self.refused_at.map(|at| at - 1)
    }

    /// What the venue said when it refused more, where the limit was learned from that.
    pub(super) fn said(&self) -> Option<&Rejection> {
        self.learned.as_ref().map(|(_, said)| said)
    }

    /// How many more may be asked for at once. Between what fits and what was refused the distance is halved, so a limit is
    /// found with about log2 of it in requests.
    pub(super) fn room(&self, used: usize) -> usize {
        match self.refused_at {
            None => usize::MAX,
            Some(_) if used < self.fits => self.fits - used,
            Some(at) if used + 1 >= at => 0,
            Some(at) => ((at - used) / 2).max(1),
        }
    }

    /// The venue grants so many at once, of so many topics.
    pub(super) fn granted(&mut self, granted: usize, topics: usize) {
        self.proven_topics = self.proven_topics.max(topics);
        self.proven = self.proven.max(granted);
        self.fits = self.fits.max(granted);
        self.refused_at = self.refused_at.map(|at| at.max(granted + 1));
    }

    /// The venue refused to have so many at once. Says whether something was learned: nothing is where it had confirmed as
    /// many, or where there is only one.
    pub(super) fn refused(&mut self, total: usize, said: &Rejection, now: Instant) -> bool {
        if total <= self.proven.max(1) {
            return false;
        }
        let at = self.refused_at.map_or(total, |old| old.min(total));
        self.refused_at = Some(at);
        self.fits = self.fits.min(at - 1);
        self.learned = Some((now, said.clone()));
        true
    }

    /// When what was learned is tried again: a plan may have changed, and a refusal may have been a mistake.
    pub(super) fn expires(&self) -> Option<Instant> {
        self.learned
            .as_ref()
            .map(|(at, _)| clock::after(*at, HOLDS_FOR))
    }

    /// What was learned goes with its connection.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.given);
    }
}
