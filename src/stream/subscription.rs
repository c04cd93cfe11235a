//! Subscription and its iterators: what a user sees of a queue's reader.

use std::{
    fmt,
    marker::PhantomData,
    mem,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use super::{
    lease::Lease,
    queue::{Front, Reader, Ready},
    subscriptions::Waited,
    topics::SubscriptionId,
};
use crate::{
    clock,
    correlation::CorrelationId,
    error::{Doing, Result},
    event::Update,
    health::SubscriptionHealth,
    sync::Receiver,
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
/// In `select!`, an arm waits for [`ready`](Self::ready) and reads what is queued by [`drain`](Self::drain). Reading only
/// a part of it is fine: the arm fires again for the rest.
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
///         recv(quotes.ready()) -> _ => for update in quotes.drain() {
///             if let Some(quote) = update.event()? { assert_eq!(&*quote.symbol, "AAPL"); seen += 1 }
///         },
///         recv(trades.ready()) -> _ => for update in trades.drain() {
///             if let Some(trade) = update.event()? { assert_eq!(&*trade.trade().unwrap().symbol, "MSFT"); seen += 1 }
///         },
///         default(Duration::from_secs(10)) => panic!("nothing came"),
///     }
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "a subscription that is dropped ends at once"]
pub struct Subscription<T: Payload<Source: Routed>> {
    reader: Reader<T::Source>,
    id: SubscriptionId,
    /// Below the reader on purpose: the lease goes last, after the subscription was taken off the stream.
    lease: Lease,
}

impl<T: Payload<Source: Routed>> Subscription<T> {
    pub(super) fn new(reader: Reader<T::Source>, id: SubscriptionId, lease: Lease) -> Self {
        Self { reader, id, lease }
    }

    /// The next update. Blocks until there is one.
    ///
    /// # Errors
    /// [`RecvError`] once [`Update::Ended`] was taken.
    #[inline]
    pub fn recv(&self) -> Result<Update<T>, RecvError> {
        self.next(Ok, |_| Err(RecvError), || None)
    }

    /// The next update, if one is queued. Never blocks.
    ///
    /// # Errors
    /// [`TryRecvError::Empty`], or [`TryRecvError::Ended`] once [`Update::Ended`] was taken.
    pub fn try_recv(&self) -> Result<Update<T>, TryRecvError> {
        self.reader.read(Ok, |front| {
            if self.reader.take(front) {
                ControlFlow::Continue(())
            } else if front.is_over() {
                ControlFlow::Break(Err(TryRecvError::Ended))
            } else {
                ControlFlow::Break(Err(TryRecvError::Empty))
            }
        })
    }

    /// The next update. Blocks for `timeout` at most.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or [`RecvTimeoutError::Ended`] once [`Update::Ended`] was taken.
    pub fn recv_timeout(&self, timeout: Duration) -> Result<Update<T>, RecvTimeoutError> {
        // The clock is read once, and not at all while something is queued: reading it costs more than an event.
        let mut deadline = None;
        self.next(Ok, Err, || {
            Some(*deadline.get_or_insert_with(|| clock::deadline(timeout)))
        })
    }

    /// The next update. Blocks until `deadline` at most.
    ///
    /// # Errors
    /// [`RecvTimeoutError::Timeout`], or [`RecvTimeoutError::Ended`] once [`Update::Ended`] was taken.
    pub fn recv_deadline(&self, deadline: Instant) -> Result<Update<T>, RecvTimeoutError> {
        self.next(Ok, Err, || Some(deadline))
    }

    /// Updates until [`Update::Ended`], which is the last. Blocks for each. `&subscription` iterates likewise.
    pub fn iter(&self) -> Iter<'_, T> {
        Iter { subscription: self }
    }

    /// The channel that fires when something is queued, for `select!`. What comes through it carries nothing: read the
    /// updates by [`drain`](Self::drain), in the arm. Never blocks.
    ///
    /// Call it anew for each `select!`: if anything is queued by then, whatever became of the last token, the channel holds
    /// one. A channel that is kept instead, for a [`Select`](crossbeam_channel::Select), fires again as long as each token
    /// is followed by a drain. The channel never fires again once [`Update::Ended`] was taken, and does not disconnect as
    /// long as the subscription is there.
    #[must_use]
    pub fn ready(&self) -> &Receiver<Ready> {
        self.reader.ready()
    }

    /// What is queued, without blocking: an iterator that ends when that is read, so that a flood cannot keep the other
    /// arms of a `select!` waiting. Dropped half-read, it leaves the rest where it was, and [`ready`](Self::ready) fires
    /// again.
    pub fn drain(&self) -> Drain<'_, T> {
        Drain::new(&self.reader)
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> SubscriptionId {
        self.id
    }

    /// Whether the channel would fire, without asking for it.
    #[cfg(test)]
    pub(super) fn fires(&self) -> bool {
        self.reader.fires()
    }

    /// Blocks until the venue has confirmed every topic, for `timeout` at most: from here on their events are seen.
    ///
    /// # Errors
    /// [`ErrorKind::Refused`](crate::ErrorKind::Refused) (or another refusal) as soon as the venue refuses a topic,
    /// [`ErrorKind::Displaced`](crate::ErrorKind::Displaced) if one had to make room,
    /// [`ErrorKind::TimedOut`](crate::ErrorKind::TimedOut) with the stream's last cause, or the error the stream ended with.
    pub fn wait_confirmed(&self, timeout: Duration) -> Result<()> {
        let waited = self.wait_answered(timeout);
        waited.map_err(|error| self.lease.told(error))
    }

    fn wait_answered(&self, timeout: Duration) -> Result<()> {
        let lifecycle = self.lease.stream().lifecycle();
        lifecycle.check_process()?;
        let deadline = clock::deadline(timeout);
        match self.lease.stream().wait_confirmed(self.id, deadline) {
            Waited::Confirmed => Ok(()),
            Waited::Failed(error) => Err(error),
            Waited::Ended(reason) => Err(lifecycle.ended(reason)),
            Waited::TimedOut => Err(lifecycle.timed_out(Doing::WaitingForConfirmation)),
        }
    }

    /// Adds topics, without touching what is there. Does not wait for the venue; see
    /// [`wait_confirmed`](Self::wait_confirmed).
    ///
    /// # Errors
    /// [`ErrorKind::InvalidTopic`](crate::ErrorKind::InvalidTopic) if the venue has no such topic, and nothing is added then;
    /// or the end of the stream.
    pub fn add<U: Payload<Source = T::Source>>(&self, topics: Topics<U>) -> Result<()> {
        let Parts {
            topics,
            correlation,
            ..
        } = topics.into_parts();
        let stream = self.lease.stream();
        let overflow = self.reader.queue().overflow();
        let added = stream.add_topics(self.id, topics, Some(overflow), &mut || ());
        added.map_err(|error| {
            let error = self.lease.told(error);
            error.told(stream.key(), None, correlation.as_ref())
        })
    }

    /// Removes topics. Events of theirs that are queued, or on their way, may still come.
    ///
    /// # Errors
    /// The end of the stream.
    pub fn remove<U: Payload<Source = T::Source>>(&self, topics: Topics<U>) -> Result<()> {
        let topics = topics.into_parts().topics;
        let removed = self
            .lease
            .stream()
            .remove_topics(self.id, &topics, &mut || ());
        removed.map_err(|error| self.lease.told(error))
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
        of_member.unwrap_or_else(|| self.reader.queue().health(self.id.number()))
    }

    /// The id of the scope it was made in, if that has one. Everything but events says it.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.lease.correlation().map(CorrelationId::as_str)
    }

    /// The next update, wrapped. Where none is queued it waits for one, until the deadline at most, and wraps why there is
    /// none.
    #[inline]
    fn next<R>(
        &self,
        wrap: impl FnOnce(Update<T>) -> R,
        nothing: impl Fn(RecvTimeoutError) -> R,
        mut deadline: impl FnMut() -> Option<Instant>,
    ) -> R {
        self.reader.read(wrap, |front| {
            if self.reader.take(front) {
                ControlFlow::Continue(())
            } else {
                self.more(front, &mut deadline).map_break(&nothing)
            }
        })
    }

    /// Blocks until something is queued.
    #[cold]
    fn more(
        &self,
        front: &mut Front<T::Source>,
        deadline: impl FnOnce() -> Option<Instant>,
    ) -> ControlFlow<RecvTimeoutError> {
        if front.is_over() {
            ControlFlow::Break(RecvTimeoutError::Ended)
        } else if self.reader.wait(front, deadline()) {
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
            self.reader.queue().discard();
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
        self.subscription.next(Some, |_| None, || None)
    }
}

/// Iterator over what is queued: see [`Subscription::drain`].
#[must_use = "iterate it for the updates"]
pub struct Drain<'a, T: Payload<Source: Routed>> {
    reader: &'a Reader<T::Source>,
    /// The queue was taken out. What came since has sent a token of its own, and is left to it.
    took: bool,
    yields: PhantomData<fn() -> T>,
}

impl<'a, T: Payload<Source: Routed>> Drain<'a, T> {
    pub(super) fn new(reader: &'a Reader<T::Source>) -> Self {
        Self {
            reader,
            took: false,
            yields: PhantomData,
        }
    }
}

impl<T: Payload<Source: Routed>> Iterator for Drain<'_, T> {
    type Item = Update<T>;

    #[inline]
    fn next(&mut self) -> Option<Update<T>> {
        self.reader.read(Some, |front| {
            if !mem::replace(&mut self.took, true) && self.reader.take(front) {
                ControlFlow::Continue(())
            } else {
                ControlFlow::Break(None)
            }
        })
    }
}

impl<T: Payload<Source: Routed>> Drop for Drain<'_, T> {
    /// Whether or not it was looked at: what is left behind wants a token.
    fn drop(&mut self) {
        if !self.took || self.reader.has_more() {
            self.reader.rearm();
        }
    }
}

impl<T: Payload<Source: Routed>> fmt::Debug for Drain<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Drain").finish_non_exhaustive()
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
