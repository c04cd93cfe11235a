//! What the callers want of a stream: desired state under a lock, announced by the waker.
//!
//! Not a queue of commands, which could grow: the newest wish of each subscription, and whether to stop. The stream's
//! thread takes what changed, once per turn. The waker is called after the lock was let go; the thread looks at the
//! wishes before it sleeps, and a wake that comes in between ends that sleep at once, so no wish is overlooked.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use super::sink::Sink;
use crate::{
    correlation::CorrelationId,
    event::EndReason,
    health::SubscriptionHealth,
    topic::{Parts, Topic},
    transport::Waker,
    venue::Routed,
};

/// One subscription of one stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SubscriptionId(u64);

impl SubscriptionId {
    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

pub(crate) struct Wishes<E> {
    state: Mutex<State<E>>,
}

struct State<E> {
    waker: Option<Waker>,
    stop: Option<Stop>,
    /// The stream has ended: whoever subscribes now is told so.
    closed: Option<EndReason>,
    subscriptions: HashMap<SubscriptionId, Wish<E>>,
    changed: BTreeSet<SubscriptionId>,
    last_id: u64,
}

/// Somebody asked the stream to end.
#[derive(Clone)]
pub(crate) struct Stop {
    pub(crate) correlation: Option<CorrelationId>,
}

/// What one subscription wants.
pub(crate) struct Wish<E> {
    pub(crate) sink: Sink<E>,
    /// Whose it is.
    pub(crate) correlation: Option<CorrelationId>,
    /// Shared, so that whoever looks at them need not copy them under the lock.
    pub(crate) topics: Arc<HashSet<Topic>>,
    /// How often something has to arrive, in trading time.
    pub(crate) expected: Option<Duration>,
    /// What it is worth where the venue's plan grants too few topics.
    pub(crate) priority: i32,
    /// Goes up with each change of the topics.
    pub(crate) version: u64,
}

impl<E> Clone for Wish<E> {
    fn clone(&self) -> Self {
        Self {
            sink: self.sink.clone(),
            correlation: self.correlation.clone(),
            topics: Arc::clone(&self.topics),
            expected: self.expected,
            priority: self.priority,
            version: self.version,
        }
    }
}

/// The version of the topics that a subscription begins with.
pub(crate) const FIRST_VERSION: u64 = 1;

/// What changed since the last look. A subscription without a wish is gone.
pub(crate) struct Changes<E> {
    pub(crate) stop: Option<Stop>,
    pub(crate) subscriptions: Vec<(SubscriptionId, Option<Wish<E>>)>,
}

impl<E: Routed> Wish<E> {
    /// What health shows of it, as the subscription of this number.
    pub(crate) fn health(&self, id: SubscriptionId) -> SubscriptionHealth {
        let mut topics: Vec<_> = self.topics.iter().cloned().collect();
        topics.sort_unstable();
        SubscriptionHealth {
            correlation: self.correlation.clone(),
            priority: self.priority,
            topics,
            ..self.sink.health(id.number())
        }
    }
}

impl<E> Wishes<E> {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::new(State {
                waker: None,
                stop: None,
                closed: None,
                subscriptions: HashMap::new(),
                changed: BTreeSet::new(),
                last_id: 0,
            }),
        }
    }

    /// From here on changes wake the thread. Its first turn sees the earlier ones.
    pub(crate) fn set_waker(&self, waker: Waker) {
        self.state.lock().waker = Some(waker);
    }

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
        parts: Parts,
        correlation: Option<CorrelationId>,
    ) -> Result<SubscriptionId, EndReason> {
        self.change(|state| {
            if let Some(reason) = &state.closed {
                return Err(reason.clone());
            }
            state.last_id += 1;
            let id = SubscriptionId(state.last_id);
            let wish = Wish {
                sink,
                correlation,
                topics: Arc::new(parts.topics.into_iter().collect()),
                expected: parts.expected,
                priority: parts.priority,
                version: FIRST_VERSION,
            };
            state.subscriptions.insert(id, wish);
            state.changed.insert(id);
            Ok(id)
        })
    }

    /// Changes a subscription's topics; returns their new version, or why the stream has ended.
    pub(crate) fn edit(
        &self,
        id: SubscriptionId,
        edit: impl FnOnce(&mut HashSet<Topic>),
    ) -> Result<u64, EndReason> {
        self.change(
            |state| match (&state.closed, state.subscriptions.get_mut(&id)) {
                (None, Some(wish)) => {
                    edit(Arc::make_mut(&mut wish.topics));
                    wish.version += 1;
                    state.changed.insert(id);
                    Ok(wish.version)
                }
                (reason, _) => Err(reason.clone().unwrap_or(EndReason::Closed)),
            },
        )
    }

    pub(crate) fn unsubscribe(&self, id: SubscriptionId) {
        // The wish is destroyed after the lock was let go.
        let _gone = self.change(|state| {
            let gone = state.subscriptions.remove(&id);
            if gone.is_some() {
                state.changed.insert(id);
            }
            gone
        });
    }

    /// What changed since the last call. For the stream's thread.
    pub(crate) fn take_changes(&self) -> Changes<E> {
        let mut state = self.state.lock();
        let changed = std::mem::take(&mut state.changed);
        let subscriptions = changed
            .into_iter()
            .map(|id| (id, state.subscriptions.get(&id).cloned()))
            .collect();
        Changes {
            stop: state.stop.clone(),
            subscriptions,
        }
    }

    /// The stream has ended. Returns the subscriptions that have to be told, each exactly once.
    pub(crate) fn close(&self, reason: &EndReason) -> Vec<Sink<E>> {
        let subscriptions = {
            let mut state = self.state.lock();
            state.closed.get_or_insert_with(|| reason.clone());
            state.waker = None;
            state.changed.clear();
            std::mem::take(&mut state.subscriptions)
        };
        subscriptions.into_values().map(|wish| wish.sink).collect()
    }

    /// What one subscription wants. `None` once the stream has ended.
    pub(crate) fn of(&self, id: SubscriptionId) -> Option<Wish<E>> {
        self.state.lock().subscriptions.get(&id).cloned()
    }

    /// Every subscription and what it wants, in the order they were made.
    pub(crate) fn view(&self) -> Vec<(SubscriptionId, Wish<E>)> {
        let mut subscriptions: Vec<_> = {
            let state = self.state.lock();
            let wishes = state.subscriptions.iter();
            wishes.map(|(id, wish)| (*id, wish.clone())).collect()
        };
        subscriptions.sort_unstable_by_key(|(id, _)| *id);
        subscriptions
    }

    fn change<R>(&self, change: impl FnOnce(&mut State<E>) -> R) -> R {
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
