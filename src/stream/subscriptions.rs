//! What the callers want of a stream, under its one cold lock: the topic table, the sinks of its subscriptions, and whether to stop.
//!
//! **The lock.** Callers write what they want and read what became of it; the stream's thread takes over what changed, once a turn,
//! and writes what the venue says. The thread hands what follows to router, queues and folds without the lock, and then says that it
//! has arrived: until then nobody is told that a topic is confirmed. Nothing else is locked under this lock, and no user code runs
//! under it.
//!
//! **Wakes.** Not a queue of commands, which could grow, but desired state. The waker is called after the lock was let go; the thread
//! looks at the state before it sleeps, and a wake that comes in between ends that sleep at once, so no change is overlooked. Those
//! who wait for a confirmation sleep on a Condvar of the same lock, which is notified whenever news has arrived.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use parking_lot::{Condvar, Mutex};

use super::{
    sink::Sink,
    topics::{Confirmation, SubscriptionId, TopicTable, Wanted},
};
use crate::{
    correlation::CorrelationId, error::Error, event::EndReason, health::SubscriptionHealth,
    transport::Waker, venue::Routed,
};

pub(crate) struct Subscriptions<E> {
    state: Mutex<SubscriptionsState<E>>,
    arrived: Condvar,
}

struct SubscriptionsState<E> {
    waker: Option<Waker>,
    stop: Option<Stop>,
    /// The stream has ended: whoever subscribes now is told so.
    closed: Option<EndReason>,
    table: TopicTable,
    subscriptions: HashMap<SubscriptionId, Of<E>>,
    joined: Vec<Joined<E>>,
    left: Vec<SubscriptionId>,
    /// Something was wanted or given up since the thread looked.
    is_changed: bool,
    last_id: SubscriptionId,
}

/// What is kept of a subscription beside its topics.
struct Of<E> {
    sink: Sink<E>,
    correlation: Option<CorrelationId>,
    priority: i32,
    ended: Option<EndReason>,
}

/// Somebody asked the stream to end.
#[derive(Clone)]
pub(crate) struct Stop {
    pub(crate) correlation: Option<CorrelationId>,
}

/// A new subscription, for the stream's thread.
pub(crate) struct Joined<E> {
    pub(crate) id: SubscriptionId,
    pub(crate) sink: Sink<E>,
    pub(crate) correlation: Option<CorrelationId>,
    /// How often something has to arrive, in trading time.
    pub(crate) expected: Option<Duration>,
}

/// What changed since the last look.
pub(crate) struct Changes<E> {
    pub(crate) stop: Option<Stop>,
    pub(crate) joined: Vec<Joined<E>>,
    pub(crate) left: Vec<SubscriptionId>,
    pub(crate) is_changed: bool,
}

/// What a wait for a confirmation came to.
pub(crate) enum Waited {
    Confirmed,
    Failed(Error),
    Ended(EndReason),
    TimedOut,
}

/// What one subscription wants, and what it is worth.
pub(crate) struct DesiredTopics {
    pub(crate) topics: Vec<Wanted>,
    pub(crate) expected: Option<Duration>,
    pub(crate) priority: i32,
}

impl<E: Routed> Subscriptions<E> {
    pub(crate) fn new(table: TopicTable) -> Self {
        Self {
            state: Mutex::new(SubscriptionsState {
                waker: None,
                stop: None,
                closed: None,
                table,
                subscriptions: HashMap::new(),
                joined: Vec::new(),
                left: Vec::new(),
                is_changed: false,
                last_id: SubscriptionId(0),
            }),
            arrived: Condvar::new(),
        }
    }

    /// From here on changes wake the thread. Its first turn sees the earlier ones.
    pub(crate) fn set_waker(&self, waker: Waker) {
        self.state.lock().waker = Some(waker);
    }

    // ---- callers ----

    /// The first to ask is the one that the records name.
    pub(crate) fn stop(&self, correlation: Option<&CorrelationId>) {
        let stop = Stop {
            correlation: correlation.cloned(),
        };
        self.change(|state| {
            state.stop.get_or_insert(stop);
        });
    }

    /// A new subscription, or why the stream has ended.
    pub(crate) fn subscribe(
        &self,
        sink: Sink<E>,
        desired: DesiredTopics,
        correlation: Option<CorrelationId>,
    ) -> Result<SubscriptionId, EndReason> {
        self.change(|state| {
            if let Some(reason) = &state.closed {
                return Err(reason.clone());
            }
            state.last_id.0 += 1;
            let id = state.last_id;
            let priority = desired.priority;
            state
                .table
                .subscribe(id, priority, correlation.clone(), desired.topics);
            state.joined.push(Joined {
                id,
                sink: sink.clone(),
                correlation: correlation.clone(),
                expected: desired.expected,
            });
            let of = Of {
                sink,
                correlation,
                priority,
                ended: None,
            };
            state.subscriptions.insert(id, of);
            state.is_changed = true;
            Ok(id)
        })
    }

    /// Changes what a subscription wants, or says why the stream has ended. `edit` runs under the lock, so that what it changes beside
    /// the table has the same order.
    pub(crate) fn edit(
        &self,
        id: SubscriptionId,
        edit: impl FnOnce(&mut TopicTable),
    ) -> Result<(), EndReason> {
        self.change(|state| match &state.closed {
            None if state.subscriptions.contains_key(&id) => {
                edit(&mut state.table);
                state.is_changed = true;
                Ok(())
            }
            reason => Err(reason.clone().unwrap_or(EndReason::Closed)),
        })
    }

    pub(crate) fn unsubscribe(&self, id: SubscriptionId) {
        // The sinks are destroyed after the lock was let go.
        let _gone = self.change(|state| {
            let gone = state.subscriptions.remove(&id);
            let mut never_seen = None;
            if gone.is_some() {
                state.table.unsubscribe(id);
                state.is_changed = true;
                match state.joined.iter().position(|joined| joined.id == id) {
                    Some(index) => never_seen = Some(state.joined.remove(index)),
                    None => state.left.push(id),
                }
            }
            (gone, never_seen)
        });
    }

    /// Waits until all topics of a subscription are confirmed, one of them cannot be, the end, or `deadline`.
    pub(crate) fn wait_confirmed(&self, id: SubscriptionId, deadline: Instant) -> Waited {
        let mut state = self.state.lock();
        loop {
            let ended = match state.subscriptions.get(&id) {
                Some(of) => of.ended.clone(),
                None => Some(state.closed.clone().unwrap_or(EndReason::Closed)),
            };
            if let Some(reason) = ended {
                return Waited::Ended(reason);
            }
            match state.table.confirmation(id) {
                Confirmation::Confirmed => return Waited::Confirmed,
                Confirmation::Failed(error) => return Waited::Failed(error),
                Confirmation::Pending => {}
            }
            if self.arrived.wait_until(&mut state, deadline).timed_out() {
                return Waited::TimedOut;
            }
        }
    }

    /// Looks at the table.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&TopicTable) -> R) -> R {
        look(&self.state.lock().table)
    }

    /// What health shows of one subscription. `None` once it or the stream has ended.
    pub(crate) fn health_of(&self, id: SubscriptionId) -> Option<SubscriptionHealth> {
        self.healths(Some(id)).pop()
    }

    /// What health shows of all subscriptions, in the order in which they were made.
    pub(crate) fn health(&self) -> Vec<SubscriptionHealth> {
        self.healths(None)
    }

    fn healths(&self, only: Option<SubscriptionId>) -> Vec<SubscriptionHealth> {
        let mut healths: Vec<_> = {
            let state = self.state.lock();
            let of = state.subscriptions.iter();
            let of = of.filter(|(id, _)| only.is_none_or(|only| only == **id));
            of.map(|(id, of)| {
                let topics = state.table.wanted_by(*id);
                let counts = state.table.counts(*id);
                (
                    *id,
                    of.sink.clone(),
                    of.correlation.clone(),
                    of.priority,
                    topics,
                    counts,
                )
            })
            .collect()
        };
        healths.sort_unstable_by_key(|(id, ..)| *id);
        let healths = healths.into_iter();
        healths
            .map(
                |(id, sink, correlation, priority, topics, counts)| SubscriptionHealth {
                    correlation,
                    priority,
                    topics,
                    topics_confirmed: counts.0,
                    topics_pending: counts.1,
                    ..sink.health(id.number())
                },
            )
            .collect()
    }

    // ---- the stream's thread ----

    /// What changed since the last call. The table has taken it over.
    pub(crate) fn take_changes(&self) -> Changes<E> {
        let mut state = self.state.lock();
        let is_changed = std::mem::take(&mut state.is_changed);
        if is_changed {
            state.table.take_over();
        }
        Changes {
            stop: state.stop.clone(),
            joined: std::mem::take(&mut state.joined),
            left: std::mem::take(&mut state.left),
            is_changed,
        }
    }

    pub(crate) fn with_table<R>(&self, change: impl FnOnce(&mut TopicTable) -> R) -> R {
        change(&mut self.state.lock().table)
    }

    /// The news that was taken from the table has reached router, queues and folds.
    pub(crate) fn arrived(&self) {
        self.state.lock().table.reached();
        self.arrived.notify_all();
    }

    /// The queue of one subscription was full, which ended it.
    pub(crate) fn end_full(&self, id: SubscriptionId) {
        if let Some(of) = self.state.lock().subscriptions.get_mut(&id)
            && let Sink::Queue(queue) = &of.sink
        {
            of.ended
                .get_or_insert_with(|| EndReason::Failed(queue.overflow_error()));
        }
        self.arrived.notify_all();
    }

    /// The sinks of all subscriptions.
    pub(crate) fn sinks(&self) -> Vec<Sink<E>> {
        let state = self.state.lock();
        state
            .subscriptions
            .values()
            .map(|of| of.sink.clone())
            .collect()
    }

    /// The stream has ended. Returns the sinks that have to be told, each exactly once.
    pub(crate) fn close(&self, reason: &EndReason) -> Vec<Sink<E>> {
        let (subscriptions, _joined, _waker) = {
            let mut state = self.state.lock();
            state.closed.get_or_insert_with(|| reason.clone());
            state.left.clear();
            (
                std::mem::take(&mut state.subscriptions),
                std::mem::take(&mut state.joined),
                state.waker.take(),
            )
        };
        self.arrived.notify_all();
        subscriptions.into_values().map(|of| of.sink).collect()
    }

    fn change<R>(&self, change: impl FnOnce(&mut SubscriptionsState<E>) -> R) -> R {
        let (result, waker) = {
            let mut state = self.state.lock();
            (change(&mut state), state.waker.clone())
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        result
    }
}
