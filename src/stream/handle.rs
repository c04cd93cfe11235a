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
    subscription::Subscription,
    subscriptions::Wishes,
    topics::SubscriptionId,
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::{At, Doing, Error, Result},
    event::EndReason,
    health::Health,
    key::StreamKey,
    phase::Phase,
    record,
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

    /// A further hold on the same stream, in the scope of `id`: see [`CorrelationId`]. What is subscribed to from it
    /// inherits the scope.
    #[must_use]
    pub fn correlated(&self, id: impl fmt::Display) -> Self {
        let mut handle = self.clone();
        if let Some(id) = CorrelationId::of(id) {
            handle.lease.correlation = Some(id);
        }
        handle
    }

    /// The id of this scope, if it has one.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.lease.correlation.as_ref().map(CorrelationId::as_str)
    }

    /// Subscribes to topics. Returns at once; the venue's confirmation, or refusal, comes as a
    /// [`Notice`](crate::Notice), and [`wait_confirmed`](Subscription::wait_confirmed) waits for it. Before the
    /// stream is live, and while it reconnects, topics wait for it.
    ///
    /// # Errors
    /// [`Error::InvalidTopic`] if the venue has no such topic, [`Error::InvalidConfig`] for a queue of no length
    /// or of next to no bytes,
    /// [`Error::LossyQueue`] for one that drops what must not be dropped, or the error the stream ended with.
    pub fn subscribe<T: Payload<Source = V::Event>>(
        &self,
        topics: Topics<T>,
    ) -> Result<Subscription<T>> {
        let mut parts = topics.into_parts();
        let mut lease = self.lease.clone();
        lease.correlation = parts
            .correlation
            .take()
            .or_else(|| lease.correlation.take());
        let subscribe = || {
            let bytes = parts.queue_bytes.or(self.queue.bytes);
            let limit = QueueLimit {
                bytes,
                ..self.limit(parts.queue, &parts.topics)?
            };
            limit.validate()?;
            let (queue, reader) = Queue::new(limit, &self.stream.key, lease.correlation.clone());
            let id = self.join(Sink::Queue(queue), parts, &lease)?;
            Ok((reader, id))
        };
        match subscribe() {
            Ok((reader, id)) => Ok(Subscription::new(reader, id, lease)),
            Err(error) => Err(lease.told(error)),
        }
    }

    /// The queue of a subscription that chose one, or none.
    fn limit(&self, chosen: Option<QueueLimit>, topics: &[Topic]) -> Result<QueueLimit> {
        let limit = chosen.unwrap_or(self.queue);
        if limit.overflow == Overflow::End || self.stream.may_drop(topics) {
            return Ok(limit);
        }
        match chosen {
            Some(QueueLimit { overflow, .. }) => Err(Error::LossyQueue {
                at: At::default(),
                overflow,
            }),
            None => Ok(QueueLimit::new(limit.events, Overflow::End)),
        }
    }

    /// Hands the events of `topics` to `fold` for as long as what this returns is held, which is a lease.
    pub(crate) fn attach(
        &self,
        fold: Arc<dyn Fold<V::Event>>,
        topics: Vec<Topic>,
    ) -> Result<Attached> {
        let lease = self.lease.clone();
        let parts = Parts {
            topics,
            ..Parts::default()
        };
        match self.join(Sink::Fold(fold), parts, &lease) {
            Ok(id) => Ok(Attached::new(id, lease)),
            Err(error) => Err(lease.told(error)),
        }
    }

    /// One member more, in the scope of `lease`.
    fn join(&self, sink: Sink<V::Event>, parts: Parts, lease: &Lease) -> Result<SubscriptionId> {
        let stream = &self.stream;
        stream.lifecycle.check_process()?;
        let wishes = Wishes {
            topics: stream.wanted(&parts.topics)?,
            expected: parts.expected,
            priority: parts.priority,
        };
        stream
            .subscriptions
            .subscribe(sink, wishes, lease.correlation.clone())
            .map_err(|reason| stream.lifecycle.ended(reason))
    }

    /// An error as this scope gets it.
    pub(crate) fn told(&self, error: Error) -> Error {
        self.lease.told(error)
    }

    pub(crate) fn venue(&self) -> &V {
        &self.stream.venue
    }

    /// Blocks until the stream is live, for `timeout` at most.
    ///
    /// # Errors
    /// [`Error::TimedOut`] with the phase, the last cause and the next attempt, or the error the stream ended with.
    pub fn wait_live(&self, timeout: Duration) -> Result<()> {
        self.stream
            .lifecycle
            .wait_live(clock::deadline(timeout))
            .map_err(|error| self.lease.told(error))
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
        let reason = self.stream.lifecycle.snapshot().ended?;
        Some(reason.told(&self.stream.key, self.lease.correlation.as_ref()))
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
    /// not end in time, whoever asked it to: its key stays taken until it does. The stream's own thread cannot wait for
    /// itself, and gets that at once.
    pub fn close(self, timeout: Duration) -> Result<LineClosed> {
        let Self { stream, lease, .. } = self;
        let started = clock::now();
        let error = match stream.lifecycle.check_process() {
            Err(forked) => forked,
            Ok(()) => match lease.give_back() {
                Released::Shared(leases) => Error::StillShared {
                    at: At::new(&stream.key, stream.lifecycle.phase()),
                    leases,
                },
                // Also where somebody else ends it, by a shutdown: that may still be at it.
                Released::Last | Released::Stale => {
                    if lease.end(clock::after(started, timeout)) {
                        return Ok(LineClosed {
                            took: clock::now().saturating_duration_since(started),
                        });
                    }
                    stream.lifecycle.timed_out(Doing::Closing)
                }
            },
        };
        Err(lease.told(error))
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

/// One of the leases that the claim table counts, and whose it is.
pub(crate) struct Lease {
    stream: AnyStream,
    correlation: Option<CorrelationId>,
    given_back: std::sync::atomic::AtomicBool,
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

    /// Ends the stream, of which this was the last lease, or waits for whoever does.
    fn end(&self, deadline: Instant) -> bool {
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
