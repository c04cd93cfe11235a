//! Lease: one of the counted holds that keep a stream alive. The last one that is dropped ends it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    AnyStream,
    registry::{Released, claims},
};
use crate::{clock, correlation::CorrelationId, error::Error, record};

/// One of the leases that the claim table counts, and whose it is.
pub(crate) struct Lease {
    stream: AnyStream,
    correlation: Option<CorrelationId>,
    given_back: AtomicBool,
}

impl Lease {
    /// Stands for a lease that the claim table has already counted.
    pub(crate) fn counted(stream: AnyStream, correlation: Option<CorrelationId>) -> Self {
        Self {
            stream,
            correlation,
            given_back: false.into(),
        }
    }

    /// A further lease, in the scope of `correlation` if there is one, and else in the same scope.
    pub(super) fn scoped(&self, correlation: Option<CorrelationId>) -> Self {
        let mut lease = self.clone();
        lease.correlation = correlation.or_else(|| lease.correlation.take());
        lease
    }

    pub(crate) fn stream(&self) -> &AnyStream {
        &self.stream
    }

    pub(crate) fn correlation(&self) -> Option<&CorrelationId> {
        self.correlation.as_ref()
    }

    /// An error of the stream's as the holder of this lease gets it.
    pub(crate) fn told(&self, error: Error) -> Error {
        let phase = self.stream.lifecycle().phase();
        error.told(self.stream.key(), Some(phase), self.correlation())
    }

    /// Gives the lease back, once.
    pub(super) fn give_back(&self) -> Released {
        if self.stream.lifecycle().check_process().is_err() {
            return Released::Stale;
        }
        if self.given_back.swap(true, Ordering::Relaxed) {
            return Released::Stale;
        }
        claims().release(self.stream.key(), self.stream.generation())
    }

    /// Ends the stream, of which this was the last lease, or waits for whoever does.
    pub(super) fn end(&self, deadline: Instant) -> bool {
        end(&self.stream, self.correlation(), deadline)
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        if self.stream.lifecycle().check_process().is_ok() {
            claims().retain(self.stream.key(), self.stream.generation());
        }
        Self::counted(Arc::clone(&self.stream), self.correlation.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.give_back() == Released::Last {
            self.end(clock::deadline(self.stream.release_timeout()));
        }
    }
}

/// Stops a stream that drains, in the name of whoever let go of it, and waits for its thread until `deadline`; says
/// whether it is gone. The stream's own thread only stops it: it cannot wait for itself.
pub(crate) fn end(
    stream: &AnyStream,
    correlation: Option<&CorrelationId>,
    deadline: Instant,
) -> bool {
    stream.stop(correlation);
    if stream.is_own_thread() {
        return false;
    }
    let (key, generation) = (stream.key(), stream.generation());
    let gone = claims().wait_gone(key, generation, deadline);
    if gone {
        // Its guard has run, which is the last thing the thread does, so this join is short.
        stream.join();
        return true;
    }
    // The key stays taken, and is freed when the thread ends.
    let (_, since) = claims().holds(key, generation);
    let waited = since.map_or(Duration::ZERO, |since| {
        clock::now().saturating_duration_since(since)
    });
    let phase = stream.lifecycle().phase();
    record!(Error, "stuck", key, for correlation, phase = phase; "has been ending for {waited:.1?}, stuck in phase {phase}");
    false
}
