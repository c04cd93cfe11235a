//! StreamHandle: what callers hold of a shared stream.

use std::{fmt, sync::Arc, time::Duration};

use super::{
    Stream,
    lease::Lease,
    lifecycle::Phases,
    queue::Queue,
    registry::Released,
    sink::{Attached, Fold, Sink},
    subscription::Subscription,
    subscriptions::DesiredTopics,
    topics::SubscriptionId,
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::{At, Doing, Error, ErrorKind, Result},
    event::{Attributed as _, EndReason},
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

    /// A further hold on the same stream, in the scope of `id`: see [`CorrelationId`]. What is subscribed to from it
    /// inherits the scope.
    #[must_use]
    pub fn correlated(&self, id: impl fmt::Display) -> Self {
        Self {
            stream: Arc::clone(&self.stream),
            lease: self.lease.scoped(CorrelationId::of(id)),
            queue: self.queue,
        }
    }

    /// The id of this scope, if it has one.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.lease.correlation().map(CorrelationId::as_str)
    }

    /// Subscribes to topics. Returns at once; the venue's confirmation, or refusal, comes as a
    /// [`Notice`](crate::Notice), and [`wait_confirmed`](Subscription::wait_confirmed) waits for it. Before the
    /// stream is live, and while it reconnects, topics wait for it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidTopic`] if the venue has no such topic, [`ErrorKind::NoTopics`] where none is named,
    /// [`ErrorKind::InvalidConfig`] for a queue of no length or of next to no bytes,
    /// [`ErrorKind::LossyQueue`] for one that drops what must not be dropped, or the error the stream ended with.
    pub fn subscribe<T: Payload<Source = V::Event>>(
        &self,
        topics: Topics<T>,
    ) -> Result<Subscription<T>> {
        let mut parts = topics.into_parts();
        let lease = self.lease.scoped(parts.correlation.take());
        let subscribe = || {
            if parts.topics.is_empty() {
                return Err(ErrorKind::NoTopics.into());
            }
            let bytes = parts.queue_bytes.or(self.queue.bytes);
            let limit = QueueLimit {
                bytes,
                ..self.limit(parts.queue, &parts.topics)?
            };
            limit.validate()?;
            let (queue, reader) = Queue::new(limit, &self.stream.key, lease.correlation().cloned());
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
            Some(QueueLimit { overflow, .. }) => Err(ErrorKind::LossyQueue { overflow }.into()),
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
        stream.lifecycle.check_open()?;
        let desired = DesiredTopics {
            topics: stream.wanted(&parts.topics)?,
            expected: parts.expected,
            priority: parts.priority,
        };
        stream
            .subscriptions
            .subscribe(sink, desired, lease.correlation().cloned())
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
    /// [`ErrorKind::TimedOut`] with the phase, the last cause and the next attempt, or the error the stream ended with.
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
        Some(reason.told(&self.stream.key, self.lease.correlation()))
    }

    /// What the stream is named by.
    #[must_use]
    pub fn key(&self) -> &StreamKey {
        &self.stream.key
    }

    /// A snapshot of the stream's state and counters. Never blocks on the stream's thread.
    #[must_use]
    pub fn health(&self) -> Health {
        super::SharedStream::health(&*self.stream)
    }

    /// Gives this hold back and, as it was the last, waits for the stream to end, for `timeout` at most.
    ///
    /// # Errors
    /// At once [`ErrorKind::StillShared`], if others hold the stream: it stays open. [`ErrorKind::TimedOut`] if its thread did
    /// not end in time, whoever asked it to: its key stays taken until it does. The stream's own thread cannot wait for
    /// itself, and gets that at once.
    pub fn close(self, timeout: Duration) -> Result<LineClosed> {
        let Self { stream, lease, .. } = self;
        let started = clock::now();
        let error = match stream.lifecycle.check_process() {
            Err(forked) => forked,
            Ok(()) => match lease.give_back() {
                Released::Shared(leases) => Error::new(
                    At::new(&stream.key, stream.lifecycle.phase()),
                    ErrorKind::StillShared { leases },
                ),
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
