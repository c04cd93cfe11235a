//! Failed attempts, by host: one count for the process, whoever connects, and how long it makes the next attempt wait.
//!
//! Backoff spaces the attempts of one stream. This bounds what all of them do together, and what a loop does that opens
//! a stream again each time it has failed for good. A connection that was live for long enough to count as stable costs
//! nothing.

use std::{
    collections::HashMap,
    sync::{Arc, LazyLock},
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    clock::{self, CENTURY},
    error::Error,
    venue::AttemptBudget,
};

/// For each host, the failures that are not forgiven yet.
pub(crate) struct Attempts {
    hosts: Mutex<HashMap<String, Failures>>,
}

struct Failures {
    /// As each bound in use counts them.
    counts: Vec<Count>,
    last: Error,
}

/// What an attempt has to wait for.
pub(crate) struct Hold {
    pub(crate) wait: Duration,
    /// How many failures are not forgiven yet, and the last of them.
    pub(crate) failures: u32,
    pub(crate) last: Error,
}

/// The failures of a host under one bound: one is forgiven after each interval.
///
/// Kept as the time when all are forgiven. Streams with the same interval share it, and no interval of another stream
/// ever enters it: what they have in common is how often the host was failed at.
struct Count {
    interval: Duration,
    whole_at: Instant,
}

impl Count {
    fn failures(&self, now: Instant) -> u32 {
        let owed = self.whole_at.saturating_duration_since(now).as_nanos();
        let interval = self.interval.as_nanos().max(1);
        u32::try_from(owed.div_ceil(interval)).unwrap_or(u32::MAX)
    }
}

/// The count under `interval`. One that is new takes over what the others have counted.
fn count_of(counts: &mut Vec<Count>, interval: Duration, now: Instant) -> &mut Count {
    let known = counts.iter().position(|count| count.interval == interval);
    let index = known.unwrap_or_else(|| {
        let failures = counts.iter().map(|count| count.failures(now)).max();
        let owed = interval.saturating_mul(failures.unwrap_or(0));
        counts.push(Count {
            interval,
            whole_at: clock::after(now, owed),
        });
        counts.len() - 1
    });
    &mut counts[index]
}

impl Attempts {
    pub(crate) fn new() -> Self {
        Self {
            hosts: Mutex::new(HashMap::new()),
        }
    }

    /// The process's own.
    pub(crate) fn global() -> Arc<Self> {
        static GLOBAL: LazyLock<Arc<Attempts>> = LazyLock::new(|| Arc::new(Attempts::new()));
        Arc::clone(&GLOBAL)
    }

    /// An attempt at `host` has failed, with `error`.
    pub(crate) fn failed(&self, host: &str, now: Instant, limit: &AttemptBudget, error: &Error) {
        let mut hosts = self.hosts.lock();
        // Hosts that nobody has failed at for long need no entry.
        hosts.retain(|_, failures| {
            failures.counts.retain(|count| count.whole_at > now);
            !failures.counts.is_empty()
        });
        let failures = hosts.entry(host.to_owned()).or_insert_with(|| Failures {
            counts: Vec::new(),
            last: error.clone(),
        });
        failures.last = error.clone();
        count_of(&mut failures.counts, limit.interval.min(CENTURY), now);
        for count in &mut failures.counts {
            count.whole_at = clock::after(count.whole_at.max(now), count.interval);
        }
    }

    /// What the next attempt at `host` has to wait for, if it has to.
    pub(crate) fn hold(&self, host: &str, now: Instant, limit: &AttemptBudget) -> Option<Hold> {
        let interval = limit.interval.min(CENTURY);
        let mut hosts = self.hosts.lock();
        let failures = hosts.get_mut(host)?;
        let count = count_of(&mut failures.counts, interval, now);
        let owed = count.whole_at.saturating_duration_since(now);
        // The failure that uses the last of the burst may still be followed by an attempt at once.
        let wait = owed.saturating_sub(interval.saturating_mul(limit.burst));
        (wait > Duration::ZERO).then(|| Hold {
            wait,
            failures: count.failures(now),
            last: failures.last.clone(),
        })
    }
}

#[cfg(test)]
mod tests;
