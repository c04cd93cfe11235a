//! Where a member's share of the stream goes: into a queue that one reader takes from, or folded into a table as it
//! comes.

use std::sync::Arc;

use super::{
    AnyStream,
    batch::{Batch, Slice},
    entries::Scratch,
    lease::Lease,
    queue::Queue,
    topics::SubscriptionId,
};
use crate::{
    error::{Error, Result},
    event::{Concerns, EndReason, Gap, Notice},
    health::SubscriptionHealth,
    topic::Topic,
    venue::Routed,
};

/// See the module's documentation.
pub(crate) enum Sink<E> {
    Queue(Arc<Queue<E>>),
    Fold(Arc<dyn Fold<E>>),
}

/// What takes events in as they come and keeps no queue. Called on the stream's thread alone, and never under a lock;
/// it must not block there.
pub(crate) trait Fold<E>: Send + Sync {
    /// Takes in a slice of a batch, in order.
    fn fold(&self, batch: &Batch<E>, slice: Slice);

    /// What became of one of its topics.
    fn told(&self, topic: &Topic, news: TopicNews<'_>);

    /// Something that came could not be read: events of what this concerns may be missing. It never concerns nobody.
    fn missed(&self, concerns: &Concerns);

    /// Nothing more comes of connection `epoch`, nor of those before it.
    fn cut(&self, epoch: u64);

    /// Nothing more comes at all. The first reason stays.
    fn end(&self, reason: &EndReason);

    /// What health shows of it, as the subscription of this number.
    fn health(&self, id: u64) -> SubscriptionHealth;
}

/// What a fold is told of one of its topics.
#[derive(Clone, Copy)]
pub(crate) enum TopicNews<'a> {
    /// Its events follow.
    Confirmed,
    /// No more of it comes, until it is confirmed again.
    Stopped,
    /// The same, because it was refused, or had to make room.
    Refused(&'a Error),
}

impl<E: Routed> Sink<E> {
    /// Takes in a slice of a batch. Says whether a queue has ended, because it was full.
    pub(super) fn take(
        &self,
        batch: &Arc<Batch<E>>,
        slice: Slice,
        scratch: &mut Scratch<E>,
    ) -> bool {
        match self {
            Self::Queue(queue) => queue.push(batch, slice, scratch),
            Self::Fold(fold) => {
                fold.fold(batch, slice);
                false
            }
        }
    }

    /// Declares that the connection broke.
    pub(crate) fn gap(&self, gap: Gap) {
        if let Self::Queue(queue) = self {
            queue.push_gap(gap);
        }
    }

    /// Says something.
    pub(crate) fn notice(&self, notice: impl FnOnce() -> Notice) {
        if let Self::Queue(queue) = self {
            queue.push_notice(notice());
        }
    }

    /// Declares events dropped that never were. What keeps no queue drops none.
    pub(crate) fn lose(&self, count: u64) {
        if let Self::Queue(queue) = self {
            queue.lose(count);
        }
    }

    /// What keeps a queue is told by a notice, which shows what could not be read.
    pub(crate) fn missed(&self, concerns: &Concerns) {
        if let Self::Fold(fold) = self {
            fold.missed(concerns);
        }
    }

    pub(crate) fn cut(&self, epoch: u64) {
        if let Self::Fold(fold) = self {
            fold.cut(epoch);
        }
    }

    pub(crate) fn end(&self, reason: &EndReason) {
        match self {
            Self::Queue(queue) => queue.end(reason),
            Self::Fold(fold) => fold.end(reason),
        }
    }

    pub(crate) fn health(&self, id: u64) -> SubscriptionHealth {
        match self {
            Self::Queue(queue) => queue.health(id),
            Self::Fold(fold) => fold.health(id),
        }
    }
}

impl<E> Clone for Sink<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Queue(queue) => Self::Queue(Arc::clone(queue)),
            Self::Fold(fold) => Self::Fold(Arc::clone(fold)),
        }
    }
}

/// A member that folds, as long as it is one: its drop takes it off the stream, and gives its lease back.
pub(crate) struct Attached {
    id: SubscriptionId,
    lease: Lease,
}

impl Attached {
    pub(super) fn new(id: SubscriptionId, lease: Lease) -> Self {
        Self { id, lease }
    }

    pub(crate) fn stream(&self) -> &AnyStream {
        self.lease.stream()
    }

    /// An error as the scope gets it whose member this is.
    pub(crate) fn told(&self, error: Error) -> Error {
        // Without a look at the phase, which takes a lock.
        error.told(self.stream().key(), None, self.lease.correlation())
    }

    /// Adds topics. `also` is done in the same moment, so that two threads that add and remove the same agree on the order.
    pub(crate) fn add(&self, topics: Vec<Topic>, also: &mut dyn FnMut()) -> Result<()> {
        let added = self.stream().add_topics(self.id, topics, None, also);
        added.map_err(|error| self.lease.told(error))
    }

    pub(crate) fn remove(&self, topics: &[Topic], also: &mut dyn FnMut()) -> Result<()> {
        let removed = self.stream().remove_topics(self.id, topics, also);
        removed.map_err(|error| self.lease.told(error))
    }

    /// Whether one of its topics was refused, and was not asked for anew since.
    pub(crate) fn is_refused(&self, topic: &Topic) -> bool {
        self.stream().is_refused(self.id, topic)
    }
}

impl Drop for Attached {
    fn drop(&mut self) {
        if self.stream().lifecycle().check_process().is_ok() {
            self.stream().unsubscribe(self.id);
        }
    }
}
