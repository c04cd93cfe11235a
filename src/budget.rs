//! How many failures a host may be made to see: one budget for the process, whoever connects.
//!
//! Backoff spaces the attempts of one stream. This bounds what all of them do together, and what a loop does that opens
//! a stream again each time it has failed for good. A connection that was live for long enough to count as stable costs
//! nothing.

use std::{
    collections::HashMap,
    sync::LazyLock,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::config::AttemptBudget;

/// For each host, when its budget will be whole again. A failure puts that off by one interval.
pub(crate) struct Budget {
    whole_at: Mutex<HashMap<String, Instant>>,
}

impl Budget {
    pub(crate) fn new() -> Self {
        Self {
            whole_at: Mutex::new(HashMap::new()),
        }
    }

    /// The process's own.
    pub(crate) fn global() -> &'static Self {
        static GLOBAL: LazyLock<Budget> = LazyLock::new(Budget::new);
        &GLOBAL
    }

    /// An attempt at `host` has failed.
    pub(crate) fn spend(&self, host: &str, now: Instant, limit: &AttemptBudget) {
        let mut whole_at = self.whole_at.lock();
        // Hosts that nobody has failed at for long need no entry.
        whole_at.retain(|_, at| *at > now);
        let at = whole_at.entry(host.to_owned()).or_insert(now);
        *at += limit.interval;
    }

    /// How long the next attempt at `host` has to wait.
    pub(crate) fn wait(&self, host: &str, now: Instant, limit: &AttemptBudget) -> Duration {
        let whole_at = self.whole_at.lock().get(host).copied();
        whole_at.map_or(Duration::ZERO, |at| {
            let owed = at.saturating_duration_since(now);
            // The failure that uses the last of the burst may still be followed by an attempt at once.
            owed.saturating_sub(limit.interval.saturating_mul(limit.burst))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock;

    #[test]
    fn a_burst_is_free_and_what_follows_comes_one_by_one() {
        let limit = AttemptBudget {
            burst: 3,
            interval: Duration::from_secs(2),
        };
        let budget = Budget::new();
        let now = clock::now();
        for _ in 0..3 {
            assert_eq!(budget.wait("a", now, &limit), Duration::ZERO);
            budget.spend("a", now, &limit);
        }
        assert_eq!(budget.wait("a", now, &limit), Duration::ZERO);
        budget.spend("a", now, &limit);
        assert_eq!(budget.wait("a", now, &limit), Duration::from_secs(2));
        assert_eq!(
            budget.wait("b", now, &limit),
            Duration::ZERO,
            "each host has its own"
        );
        let later = now + Duration::from_secs(2);
        assert_eq!(budget.wait("a", later, &limit), Duration::ZERO);
        budget.spend("a", later, &limit);
        assert_eq!(budget.wait("a", later, &limit), Duration::from_secs(2));
        assert_eq!(
            budget.wait("a", now + Duration::from_secs(60), &limit),
            Duration::ZERO
        );
    }
}
