//! StreamHandle: the counted lease.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    AnyStream, Stream,
    lifecycle::Phases,
    queue::Queue,
    registry::{Released, claims},
    sink::{Attached, Fold, Sink},
    subscription::{Subscription, deadline},
};
use crate::{
    clock,
    error::{Doing, Error, Result},
    event::EndReason,
    health::Health,
    key::StreamKey,
    phase::Phase,
    topic::{Overflow, Parts, Payload, QueueLimit, Topic, Topics},
    venue::Venue,
};

/// A hold on a shared stream. Clones and subscriptions are further holds; the last one that is dropped ends the stream.
///
/// Dropping the last hold closes the connection in good order and waits for the stream's thread, for
/// [`Config::release_timeout`](crate::Config::release_timeout) at most. On the stream's own thread (in a logger, or in
/// a `Session`) a drop never waits.
pub struct StreamHandle<V: Venue> {
    stream: Arc<Stream<V>>,
    lease: Lease,
    queue: QueueLimit,
}

impl<V: Venue> StreamHandle<V> {
    pub(crate) fn new(stream: Arc<Stream<V>>, lease: Lease, queue: QueueLimit) -> Self {
        Self {
            stream,
            lease,
            queue,
        }
    }

    /// Subscribes to topics. Returns at once; the venue's confirmation, or refusal, comes as a
    /// [`Notice`](crate::Notice), and [`wait_confirmed`](Subscription::wait_confirmed) waits for it. Before the
    /// stream is live, and while it reconnects, topics wait for it.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`] if the venue has no such topic, [`Error::InvalidConfig`] for a queue of no length,
    /// [`Error::LossyQueue`] for one that drops what must not be dropped, or the error the stream ended with.
    pub fn subscribe<T: Payload<Source = V::Event>>(
        &self,
        topics: Topics<T>,
    ) -> Result<Subscription<T>> {
        self.stream.lifecycle.check_process()?;
        let Parts {
            topics,
            queue,
            expected,
        } = topics.into_parts();
        let limit = self.limit(queue)?;
        if limit.events == 0 {
            return Err(Error::InvalidConfig {
                why: "a queue must hold at least one event".to_owned(),
            });
        }
        topics
            .iter()
            .try_for_each(|topic| self.stream.venue.validate(topic))?;
        let (queue, receiver) = Queue::new::<T>(limit, &self.stream.key);
        let id = self
            .stream
            .wishes
            .subscribe(Sink::Queue(Arc::clone(&queue)), topics, expected)
            .map_err(|reason| self.stream.lifecycle.ended(reason))?;
        Ok(Subscription::new(queue, receiver, id, self.lease.clone()))
    }

    /// The queue of a subscription that chose one, or none.
    fn limit(&self, chosen: Option<QueueLimit>) -> Result<QueueLimit> {
        let limit = chosen.unwrap_or(self.queue);
        if !self.stream.venue.is_lossless() || limit.overflow == Overflow::End {
            return Ok(limit);
        }
        match chosen {
            Some(QueueLimit { overflow, .. }) => Err(Error::LossyQueue { overflow }),
            None => Ok(QueueLimit::new(limit.events, Overflow::End)),
        }
    }

    /// Hands the events of `topics` to `fold` for as long as what this returns is held, which is a lease.
    pub(crate) fn attach(
        &self,
        fold: Arc<dyn Fold<V::Event>>,
        topics: Vec<Topic>,
    ) -> Result<Attached> {
        self.stream.lifecycle.check_process()?;
        topics
            .iter()
            .try_for_each(|topic| self.stream.venue.validate(topic))?;
        let id = self
            .stream
            .wishes
            .subscribe(Sink::Fold(fold), topics, None)
            .map_err(|reason| self.stream.lifecycle.ended(reason))?;
        Ok(Attached::new(id, self.lease.clone()))
    }

    pub(crate) fn venue(&self) -> &V {
        &self.stream.venue
    }

    /// Blocks until the stream is live, for `timeout` at most.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the phase, the last cause and the next attempt, or the error the stream ended with.
    pub fn wait_live(&self, timeout: Duration) -> Result<()> {
        self.stream.lifecycle.wait_live(deadline(timeout))
    }

    /// What the stream is doing.
    #[must_use]
    pub fn phase(&self) -> Phase {
        self.stream.lifecycle.phase()
    }

    /// The phases that the stream enters from now on, for those who want to know without asking.
    #[must_use]
    pub fn phases(&self) -> Phases {
        self.stream.lifecycle.phases()
    }

    /// Why the stream ended, once it has.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        self.stream.lifecycle.snapshot().ended
    }

    /// What the stream is named by.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        &self.stream.key
    }

    /// A snapshot of the stream's state and counters. Never blocks on the stream's thread.
    #[must_use]
    pub fn health(&self) -> Health {
        super::Shared::health(&*self.stream)
    }

    /// Gives this hold back and, as it was the last, waits for the stream to end, for `timeout` at most.
    ///
    /// # Errors
    /// At once [`Error::StillShared`], if others hold the stream: it stays open. [`Error::TimedOut`] if its thread did
    /// not end in time: its key stays taken until it does.
    pub fn close(self, timeout: Duration) -> Result<LineClosed> {
        self.stream.lifecycle.check_process()?;
        let Self { stream, lease, .. } = self;
        let started = clock::now();
        match lease.give_back() {
            Released::Shared(leases) => Err(Error::StillShared {
                stream: stream.key.clone(),
                leases,
            }),
            Released::Last if !end(&lease.stream, started + timeout) => {
                Err(stream.lifecycle.timed_out(Doing::Closing))
            }
            Released::Last | Released::Stale => Ok(LineClosed {
                took: clock::now().saturating_duration_since(started),
            }),
        }
    }
}

impl<V: Venue> Clone for StreamHandle<V> {
    fn clone(&self) -> Self {
        Self {
            stream: Arc::clone(&self.stream),
            lease: self.lease.clone(),
            queue: self.queue,
        }
    }
}

impl<V: Venue> fmt::Debug for StreamHandle<V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamHandle")
            .field("stream", &self.stream.key)
            .field("phase", &self.phase())
            .finish()
    }
}

/// The stream has ended: its thread is joined and its socket closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LineClosed {
    /// How long that took.
    pub took: Duration,
}

/// One of the leases that the claim table counts.
pub(crate) struct Lease {
    stream: AnyStream,
    given_back: std::sync::atomic::AtomicBool,
}

impl Lease {
    /// Stands for a lease that the claim table has already counted.
    pub(crate) fn counted(stream: AnyStream) -> Self {
        Self {
            stream,
            given_back: false.into(),
        }
    }

    pub(crate) fn stream(&self) -> &AnyStream {
        &self.stream
    }

    /// Gives the lease back, once.
    fn give_back(&self) -> Released {
        if self.stream.lifecycle().check_process().is_err() {
            return Released::Stale;
        }
        if self
            .given_back
            .swap(true, std::sync::atomic::Ordering::Relaxed)
        {
            return Released::Stale;
        }
        claims().release(self.stream.key(), self.stream.generation())
    }
}

impl Clone for Lease {
    fn clone(&self) -> Self {
        if self.stream.lifecycle().check_process().is_ok() {
            claims().retain(self.stream.key(), self.stream.generation());
        }
        Self::counted(Arc::clone(&self.stream))
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if self.give_back() == Released::Last {
            let bound = self.stream.release_timeout();
            if !end(&self.stream, clock::now() + bound) {
                super::record_stuck(&self.stream, bound);
            }
        }
    }
}

/// Stops a stream that drains, and waits for its thread until `deadline`; says whether it is gone. The stream's own
/// thread only stops it: it cannot wait for itself.
pub(crate) fn end(stream: &AnyStream, deadline: Instant) -> bool {
    stream.stop();
    if stream.is_own_thread() {
        return true;
    }
    let gone = claims().wait_gone(stream.key(), stream.generation(), deadline);
    if gone {
        // Its guard has run, which is the last thing the thread does, so this join is short.
        stream.join();
    }
    gone
}
