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
    /// The venue confirmed so many at once: its limit is not lower.
    proven: usize,
    learned: Option<Learned>,
}

/// What the venue's last refusal taught.
struct Learned {
    limit: usize,
    at: Instant,
    said: Rejection,
}

impl Plan {
    pub(super) fn new(given: SymbolBudget) -> Self {
        Self {
            given,
            counts: given.counts(),
            proven: 0,
            learned: None,
        }
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The venue refused no more symbols than it confirmed before: it counts topics, of which it grants so many now. What was
    /// learned of symbols is void. So many symbols as were granted were at least as many topics.
    pub(super) fn count_topics(&mut self, granted: usize) {
        *self = Self {
            counts: Counts::Topics,
            proven: self.proven.max(granted),
            ..Self::new(self.given)
        };
    }

    pub(super) fn limit(&self) -> Option<usize> {
        let learned = self.learned.as_ref().map(|learned| learned.limit);
        learned.or_else(|| self.given.limit())
    }

    /// What the venue said when it refused more, where the limit was learned from that.
    pub(super) fn said(&self) -> Option<&Rejection> {
        self.learned.as_ref().map(|learned| &learned.said)
    }

    /// How many more may be asked for at once. What is left below a learned limit is halved, because the true limit may be lower
    /// still: it is found with about log2 of it in requests.
    pub(super) fn room(&self, used: usize) -> usize {
        let left = self.limit().map(|limit| limit.saturating_sub(used));
        match left {
            None => usize::MAX,
            Some(left) if self.learned.is_some() => left.div_ceil(2),
            Some(left) => left,
        }
    }

    /// The venue grants so many at once.
    pub(super) fn granted(&mut self, granted: usize) {
        self.proven = self.proven.max(granted);
        if let Some(learned) = &mut self.learned {
            learned.limit = learned.limit.max(granted);
        }
    }

    /// The venue refused to have so many at once. Says whether something was learned: nothing is where it had confirmed as
    /// many, or where there is only one.
    pub(super) fn refused(&mut self, total: usize, said: &Rejection, now: Instant) -> bool {
        if total <= self.proven.max(1) {
            return false;
        }
        let limit = self.limit().map_or(total - 1, |old| old.min(total - 1));
        self.learned = Some(Learned {
            limit,
            at: now,
            said: said.clone(),
        });
        true
    }

    /// When what was learned is tried again: a plan may have changed, and a refusal may have been a mistake.
    pub(super) fn expires(&self) -> Option<Instant> {
        let learned = self.learned.as_ref();
        learned.map(|learned| clock::after(learned.at, HOLDS_FOR))
    }

    /// What was learned goes with its connection.
    pub(super) fn forget(&mut self) {
        *self = Self::new(self.given);
    }
}
