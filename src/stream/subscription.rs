//! Subscription and Delivery: the reader's side of a queue.

use std::{
    cell::{Cell, RefCell},
    fmt,
    marker::PhantomData,
    ops::ControlFlow,
    sync::{Arc, Weak},
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;

use super::{
    handle::Lease,
    queue::{Front, Queue},
    wishes::{FIRST_VERSION, SubscriptionId},
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::{Doing, Result},
    event::Update,
    health::SubscriptionHealth,
    topic::{Parts, Payload, Topics},
    venue::Routed,
};

/// One reader's view of a stream: every event of its topics, in the order the venue sent them.
///
/// `Send`, but neither `Sync` nor `Clone`: a second view is a second subscription. It keeps its stream alive. Dropping
/// it unsubscribes from what nobody else wants; if it was the last hold on the stream, that ends, and the drop waits
/// for it, for [`Config::release_timeout`](crate::Config::release_timeout) at most.
///
/// Updates that are queued come before [`Update::Ended`], which is the last.
///
/// # Examples
/// In `select!`, the arm's delivery is iterated for all that is queued. Reading only a part of it is fine: the rest
/// comes again.
/// ```
/// use std::time::Duration;
/// use trunkline::{Manager, Update, alpaca, select, sim::{Sim, SimConfig}};
///
/// let sim = Sim::start(SimConfig::default())?;
/// let feed = Manager::new().open(&sim.stocks(), &sim.credentials())?;
/// let quotes = feed.subscribe(alpaca::quotes(["AAPL"]))?;
/// let trades = feed.subscribe(alpaca::trades(["MSFT"]))?;
/// let mut seen = 0;
/// while seen < 10 {
///     select! {
///         recv(quotes.receiver()) -> delivery => for update in delivery? {
///             if let Some(quote) = update.event()? { assert_eq!(&*quote.symbol, "AAPL"); seen += 1 }
///         },
///         recv(trades.receiver()) -> delivery => for update in delivery? {
///             if let Some(trade) = update.event()? { assert_eq!(&*trade.trade().unwrap().symbol, "MSFT"); seen += 1 }
///         },
///         default(Duration::from_secs(10)) => panic!("nothing came"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a subscription that is dropped ends at once"]
pub struct Subscription<T: Payload<Source: Routed>> {
    queue: Arc<Queue<T::Source>>,
    receiver: Receiver<Delivery<T>>,
    /// What was taken out of the queue, until the channel is handed out: deliveries share it from then on.
    own: RefCell<Option<Front<T::Source>>>,
    id: SubscriptionId,
    version: Cell<u64>,
    /// Below the queue on purpose: the lease goes last, after the subscription was taken off the stream.
    lease: Lease,
}

impl<T: Payload<Source: Routed>> Subscription<T> {
    pub(super) fn new(
        queue: Arc<Queue<T::Source>>,
        receiver: Receiver<Delivery<T>>,
        id: SubscriptionId,
        lease: Lease,
    ) -> Self {
        Self {
            queue,
            receiver,
            own: RefCell::new(Some(Front::new())),
            id,
            version: Cell::new(FIRST_VERSION),
            lease,
        }
    }

    /// The next update. Blocks until there is one.
    ///
    /// # Errors
    /// [`RecvError`] once [`Update::Ended`] was taken.
    #[inline]
    pub fn recv(&self) -> Result<Update<T>, RecvError> {
        self.next(Ok, |front| {
            self.more(front, None).map_break(|_| Err(RecvError))
        })
    }

    /// The next update, if one is queued. Never blocks.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], or [`TryRecvError::Ended`] once [`Update::Ended`] was taken.
    pub fn try_recv(&self) -> Result<Update<T>, TryRecvError> {
        self.next(Ok, |_| {
            ControlFlow::Break(Err(if self.queue.is_over() {
                TryRecvError::Ended
            } else {
                TryRecvError::Empty
            }))
        })
    }

    /// The next update. Blocks for `timeout` at most.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or [`RecvTimeoutError::Ended`] once [`Update::Ended`] was taken.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Update<T>, RecvTimeoutError> {
        self.recv_deadline(clock::deadline(timeout))
    }

    /// The next update. Blocks until `deadline` at most.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or [`RecvTimeoutError::Ended`] once [`Update::Ended`] was taken.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Update<T>, RecvTimeoutError> {
        self.next(Ok, |front| self.more(front, Some(deadline)).map_break(Err))
    }

    /// Updates until [`Update::Ended`], which is the last. Blocks for each. `&subscription` iterates likewise.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { subscription: self }
    }

    /// The channel that fires when something is queued, for `select!`. It never disconnects, and never fires again
    /// once [`Update::Ended`] was taken.
    #[must_use]
    pub fn receiver(&self) -> &Receiver<Delivery<T>> {
        if let Some(front) = self.own.take() {
            self.queue.with_shared(|shared| *shared = front);
        }
        &self.receiver
    }

    /// Whether the channel would fire, without a reason to share the front.
    #[cfg(test)]
    pub(super) fn fires(&self) -> bool {
        !self.receiver.is_empty()
    }

    /// Blocks until the venue has confirmed every topic, for `timeout` at most: from here on their events are seen.
    ///
    /// # Errors
    /// [`Error::Refused`](crate::Error::Refused) (or another refusal) as soon as the venue refuses a topic,
    /// [`Error::TimedOut`](crate::Error::TimedOut) with the stream's last cause, or the error the stream ended with.
    pub fn wait_confirmed(&self, timeout: Duration) -> Result<()> {
        let waited = self.wait_answered(timeout);
        waited.map_err(|error| self.lease.told(error))
    }

    fn wait_answered(&self, timeout: Duration) -> Result<()> {
        let lifecycle = self.lease.stream().lifecycle();
        lifecycle.check_process()?;
        let answers = self
            .queue
            .wait_answered(self.version.get(), clock::deadline(timeout));
        match (answers.ended, answers.refused) {
            (Some(reason), _) => Err(lifecycle.ended(reason)),
            (None, Some(error)) => Err(error),
            (None, None) if answers.version >= self.version.get() && answers.pending == 0 => Ok(()),
            (None, None) => Err(lifecycle.timed_out(Doing::WaitingForConfirmation)),
        }
    }

    /// Adds topics, without touching what is there. Does not wait for the venue; see
    /// [`wait_confirmed`](Self::wait_confirmed).
    ///
    /// # Errors
    /// [`Error::InvalidTopic`](crate::Error::InvalidTopic) if the venue has no such topic, and nothing is added then; or
    /// the end of the stream.
    pub fn add<U: Payload<Source = T::Source>>(&self, topics: Topics<U>) -> Result<()> {
        let Parts {
            topics,
            correlation,
            ..
        } = topics.into_parts();
        let stream = self.lease.stream();
        let version = stream.add_topics(self.id, topics).map_err(|error| {
            let error = self.lease.told(error);
            error.told(stream.key(), None, correlation.as_ref())
        })?;
        self.version.set(version);
        Ok(())
    }

    /// Removes topics. Events of theirs that are queued, or on their way, may still come.
    ///
    /// # Errors
    /// The end of the stream.
    pub fn remove<U: Payload<Source = T::Source>>(&self, topics: Topics<U>) -> Result<()> {
        let topics = topics.into_parts().topics;
        let removed = self.lease.stream().remove_topics(self.id, &topics);
        self.version
            .set(removed.map_err(|error| self.lease.told(error))?);
        Ok(())
    }

    /// Asks the venue again for the topics that it refused. [`add`](Self::add) and [`remove`](Self::remove) do so, too.
    ///
    /// # Errors
    /// The end of the stream.
    pub fn resubscribe(&self) -> Result<()> {
        self.add(Topics::<T>::mixed())
    }

    /// Depth, drops and lag, right now.
    #[must_use]
    pub fn health(&self) -> SubscriptionHealth {
        let of_member = self.lease.stream().health_of(self.id);
        of_member.unwrap_or_else(|| self.queue.health(self.id.number()))
    }

    /// The id of the scope it was made in, if that has one. Everything but events says it.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.lease.correlation().map(CorrelationId::as_str)
    }

    /// The next update, wrapped. Where none is queued, `more` waits for one, and takes it out if it gets the front, or
    /// says what to return instead.
    #[inline]
    fn next<R>(
        &self,
        wrap: impl FnOnce(Update<T>) -> R,
        more: impl Fn(Option<&mut Front<T::Source>>) -> ControlFlow<R>,
    ) -> R {
        if let Some(front) = &mut *self.own.borrow_mut() {
            return self.queue.read(front, wrap, |front| {
                if self.queue.take(front) {
                    ControlFlow::Continue(())
                } else {
                    more(Some(front))
                }
            });
        }
        // Others read the front, too: it is not held while this one waits.
        loop {
            let update = self.queue.with_shared(|front| {
                self.queue.read(front, Some, |front| {
                    if self.queue.take(front) {
                        ControlFlow::Continue(())
                    } else {
                        ControlFlow::Break(None)
                    }
                })
            });
            if let Some(update) = update {
                return wrap(update);
            }
            if let ControlFlow::Break(instead) = more(None) {
                return instead;
            }
        }
    }

    /// Blocks until something is queued.
    #[cold]
    fn more(
        &self,
        front: Option<&mut Front<T::Source>>,
        deadline: Option<Instant>,
    ) -> ControlFlow<RecvTimeoutError> {
        if self.queue.is_over() {
            ControlFlow::Break(RecvTimeoutError::Ended)
        } else if self.queue.wait(deadline, front) {
            ControlFlow::Continue(())
        } else {
            ControlFlow::Break(RecvTimeoutError::Timeout)
        }
    }
}

impl<T: Payload<Source: Routed>> Drop for Subscription<T> {
    fn drop(&mut self) {
        if self.lease.stream().lifecycle().check_process().is_ok() {
            self.lease.stream().unsubscribe(self.id);
            self.queue.discard();
        }
    }
}

impl<'a, T: Payload<Source: Routed>> IntoIterator for &'a Subscription<T> {
    type Item = Update<T>;
    type IntoIter = Iter<'a, T>;
    fn into_iter(self) -> Iter<'a, T> {
        self.iter()
    }
}

impl<T: Payload<Source: Routed>> fmt::Debug for Subscription<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscription")
            .field("stream", self.lease.stream().key())
            .field("health", &self.health())
            .finish()
    }
}

/// Blocking iterator over a [`Subscription`]'s updates.
#[derive(Debug)]
pub struct Iter<'a, T: Payload<Source: Routed>> {
    subscription: &'a Subscription<T>,
}

impl<T: Payload<Source: Routed>> Iterator for Iter<'_, T> {
    type Item = Update<T>;
    #[inline]
    fn next(&mut self) -> Option<Update<T>> {
        let subscription = self.subscription;
        subscription.next(Some, |front| {
            subscription.more(front, None).map_break(|_| None)
        })
    }
}

/// What was queued when a `select!` arm fired. Iterate it; it ends when that is read, so that a flood cannot keep the
/// other arms waiting. Dropped half-read, it leaves the rest where it was and lets the arm fire again.
#[must_use = "iterate it for the updates"]
pub struct Delivery<T: Payload<Source: Routed>> {
    queue: Weak<Queue<T::Source>>,
    opened: Option<Arc<Queue<T::Source>>>,
    yields: PhantomData<fn() -> T>,
}

impl<T: Payload<Source: Routed>> Delivery<T> {
    pub(super) fn new(queue: Weak<Queue<T::Source>>) -> Self {
        Self {
            queue,
            opened: None,
            yields: PhantomData,
        }
    }

    /// Lets go of a token whose message was understood: it must not be sent again.
    pub(super) fn spend(mut self) {
        self.queue = Weak::new();
    }
}

impl<T: Payload<Source: Routed>> Iterator for Delivery<T> {
    type Item = Update<T>;

    fn next(&mut self) -> Option<Update<T>> {
        if self.opened.is_none() {
            let queue = self.queue.upgrade()?;
            queue.with_shared(|front| queue.take(front));
            self.opened = Some(queue);
        }
        let queue = self.opened.as_ref()?;
        queue.with_shared(|front| queue.read(front, Some, |_| ControlFlow::Break(None)))
    }
}

impl<T: Payload<Source: Routed>> Drop for Delivery<T> {
    /// Whether or not it was looked at: what is still queued wants a token.
    fn drop(&mut self) {
        if let Some(queue) = self.queue.upgrade() {
            queue.rearm();
        }
    }
}

impl<T: Payload<Source: Routed>> fmt::Debug for Delivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery").finish_non_exhaustive()
    }
}

/// The subscription has ended, and [`Update::Ended`] was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the subscription has ended")]
pub struct RecvError;

/// Why [`Subscription::try_recv`] has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TryRecvError {
    /// Nothing is queued.
    #[error("nothing is queued")]
    Empty,
    /// The subscription has ended, and [`Update::Ended`] was taken.
    #[error("the subscription has ended")]
    Ended,
}

/// Why [`Subscription::recv_timeout`] has nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecvTimeoutError {
    /// Nothing came in time.
    #[error("nothing came in time")]
    Timeout,
    /// The subscription has ended, and [`Update::Ended`] was taken.
    #[error("the subscription has ended")]
    Ended,
}
