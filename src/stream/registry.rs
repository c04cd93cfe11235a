//! The claim table of the process: which stream holds which key.
//!
//! ```text
//!                acquire: the caller starts the thread
//!   (vacant) ──────────────────────────────────────────▶ Live(g, leases) ──┐ acquire: one more lease
//!      ▲  ▲                                                │   │   ▲  ▲     │ release: one fewer
//!      │  │ last release                                   │   │   │  └─────┘
//!      │  │                       the thread ended by itself│   │   │ acquire: a new generation
//!      │  └──────────────────────── Ended(g, leases) ◀──────┘   │   │
//!      │                               │                        │   │
//!      │                               └────────────────────────┼───┘
//!      │  the thread is gone, and its socket before it          │ release to zero, or shutdown
//!      └───────────────────────── Draining(g, since) ◀──────────┘
//! ```
//!
//! | transition | made by | under |
//! |---|---|---|
//! | vacant, Ended → Live | `acquire`, whose caller then starts the thread | the one lock |
//! | Live → Live ± 1 | `acquire`, `retain`, `release` | the one lock |
//! | Live → Draining | the `release` that takes the last lease, or `shutdown` | the one lock |
//! | Draining → vacant, Live → Ended | `vacate`, by the guard of the stream's thread alone, after its socket is gone (or by an opener whose thread could not be started) | the one lock |
//!
//! The generation `g` is new for each Live. Every call but `acquire` names it, and does nothing where the slot has
//! moved on: a late release can neither free nor count down a successor. The step to zero leases and the move to
//! Draining are one critical section, so no acquire can find a Live slot that nobody holds.
//!
//! Who waits for what: `acquire` for Draining to be over, the last releaser for the same of its own generation. Both
//! loop on that predicate until a deadline; every change of a slot notifies all. No I/O, and no user code, in here.

use std::{
    collections::{HashMap, HashSet, hash_map::Entry},
    sync::LazyLock,
    time::Instant,
};

use crate::{
    clock,
    key::StreamKey,
    sync::{Condvar, Mutex},
};

/// A claim table whose slots point at `S`, a shared stream.
pub(crate) struct Registry<S> {
    slots: Mutex<KeySlots<S>>,
    changed: Condvar,
}

struct KeySlots<S> {
    by_key: HashMap<StreamKey, KeySlot<S>>,
    last_generation: u64,
}

struct KeySlot<S> {
    generation: u64,
    stream: S,
    state: SlotState,
    /// The managers that ever acquired this generation, for their shutdown.
    scopes: HashSet<ScopeId>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SlotState {
    Live { leases: usize },
    Draining { since: Instant },
    Ended { leases: usize },
}

/// A manager, as the claim table knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ScopeId(pub(crate) u64);

/// What `acquire` found. Either way the caller holds one lease now.
pub(crate) enum Acquired<S> {
    /// A stream that runs already.
    Joined { stream: S },
    /// A new one, whose thread the caller has to start, or `vacate`.
    Created { stream: S },
}

/// What `release` did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Released {
    /// It was the last lease, and the slot drains: the caller has to stop the stream.
    Last,
    /// So many others hold it still.
    Shared(usize),
    /// The stream has ended, or somebody else ends it.
    Stale,
}

impl<S: Clone> Registry<S> {
    pub(crate) fn new() -> Self {
        let slots = KeySlots {
            by_key: HashMap::new(),
            last_generation: 0,
        };
        Self {
            slots: Mutex::new(slots),
            changed: Condvar::new(),
        }
    }

    /// A lease on the stream of `key`. Where there is none, `create` makes one; it must not block, and must not call
    /// back in here. Waits for a predecessor that drains until `deadline`.
    ///
    /// `Err` has the predecessor, and since when it drains.
    pub(crate) fn acquire(
        &self,
        key: &StreamKey,
        scope: ScopeId,
        deadline: Instant,
        create: impl FnOnce(u64) -> S,
    ) -> Result<Acquired<S>, (S, Instant)> {
        // What a new generation replaces is destroyed after the lock was let go: this is declared before it.
        let _replaced;
        let mut slots = self.slots.lock();
        loop {
            let generation = slots.last_generation + 1;
            match slots.by_key.entry(key.clone()) {
                Entry::Vacant(vacant) => {
                    let stream = create(generation);
                    vacant.insert(KeySlot::live(generation, stream.clone(), scope));
                    slots.last_generation = generation;
                    return Ok(Acquired::Created { stream });
                }
                Entry::Occupied(mut occupied) => {
                    let slot = occupied.get_mut();
                    match &mut slot.state {
                        SlotState::Live { leases } => {
                            *leases += 1;
                            slot.scopes.insert(scope);
                            return Ok(Acquired::Joined {
                                stream: slot.stream.clone(),
                            });
                        }
                        SlotState::Ended { .. } => {
                            let stream = create(generation);
                            _replaced = std::mem::replace(
                                slot,
                                KeySlot::live(generation, stream.clone(), scope),
                            );
                            slots.last_generation = generation;
                            return Ok(Acquired::Created { stream });
                        }
                        SlotState::Draining { since } => {
                            let since = *since;
                            let stream = slot.stream.clone();
                            // A spurious or foreign wake only makes it look again.
                            if self.changed.wait_until(&mut slots, deadline).timed_out()
                                && slots.is_draining(key)
                            {
                                return Err((stream, since));
                            }
                        }
                    }
                }
            }
        }
    }

    /// One more lease, for somebody who holds one.
    pub(crate) fn retain(&self, key: &StreamKey, generation: u64) {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.of(key, generation)
            && let SlotState::Live { leases } | SlotState::Ended { leases } = &mut slot.state
        {
            *leases += 1;
        }
    }

    /// One lease fewer.
    pub(crate) fn release(&self, key: &StreamKey, generation: u64) -> Released {
        // Destroyed after the lock was let go.
        let _removed;
        let mut slots = self.slots.lock();
        let Some(slot) = slots.of(key, generation) else {
            return Released::Stale;
        };
        match &mut slot.state {
            SlotState::Live { leases: 1 } => {
                slot.state = SlotState::Draining {
                    since: clock::now(),
                };
                Released::Last
            }
            SlotState::Ended { leases: 1 } => {
                _removed = slots.by_key.remove(key);
                Released::Stale
            }
            SlotState::Ended { leases } => {
                *leases -= 1;
                Released::Stale
            }
            SlotState::Live { leases } => {
                *leases -= 1;
                Released::Shared(*leases)
            }
            SlotState::Draining { .. } => Released::Stale,
        }
    }

    /// Moves every live slot that `scope` has acquired to draining, whoever else holds it, and says which streams to
    /// stop and wait for, those that drain already included.
    pub(crate) fn shutdown(&self, scope: ScopeId) -> Vec<S> {
        let now = clock::now();
        let mut slots = self.slots.lock();
        let mut streams = Vec::new();
        for slot in slots
            .by_key
            .values_mut()
            .filter(|slot| slot.scopes.contains(&scope))
        {
            if let SlotState::Live { .. } = slot.state {
                slot.state = SlotState::Draining { since: now };
            }
            if let SlotState::Draining { .. } = slot.state {
                streams.push(slot.stream.clone());
            }
        }
        streams
    }

    /// The manager is gone, and nobody asks for what it has acquired any more. Streams that it opened live on.
    pub(crate) fn forget(&self, scope: ScopeId) {
        for slot in self.slots.lock().by_key.values_mut() {
            slot.scopes.remove(&scope);
        }
    }

    /// How many managers are known to have acquired this key.
    #[cfg(test)]
    pub(crate) fn scopes(&self, key: &StreamKey) -> usize {
        let slots = self.slots.lock();
        slots.by_key.get(key).map_or(0, |slot| slot.scopes.len())
    }

    /// The stream of this generation is gone, and its socket before it.
    pub(crate) fn vacate(&self, key: &StreamKey, generation: u64) {
        // Destroyed after the lock was let go.
        let _removed;
        {
            let mut slots = self.slots.lock();
            let Some(slot) = slots.of(key, generation) else {
                return;
            };
            match slot.state {
                // It ended by itself: those who hold it may still ask why.
                SlotState::Live { leases } => slot.state = SlotState::Ended { leases },
                SlotState::Draining { .. } => _removed = slots.by_key.remove(key),
                SlotState::Ended { .. } => {}
            }
        }
        self.changed.notify_all();
    }

    /// Blocks until the stream of this generation no longer drains, or until `deadline`. Says whether it is gone.
    pub(crate) fn wait_gone(&self, key: &StreamKey, generation: u64, deadline: Instant) -> bool {
        let mut slots = self.slots.lock();
        while slots
            .of(key, generation)
            .is_some_and(|slot| matches!(slot.state, SlotState::Draining { .. }))
        {
            if self.changed.wait_until(&mut slots, deadline).timed_out() {
                return !slots
                    .of(key, generation)
                    .is_some_and(|slot| matches!(slot.state, SlotState::Draining { .. }));
            }
        }
        true
    }

    /// Leases on this generation, and since when it drains.
    pub(crate) fn holds(&self, key: &StreamKey, generation: u64) -> (usize, Option<Instant>) {
        let mut slots = self.slots.lock();
        match slots.of(key, generation).map(|slot| slot.state) {
            Some(SlotState::Live { leases } | SlotState::Ended { leases }) => (leases, None),
            Some(SlotState::Draining { since }) => (0, Some(since)),
            None => (0, None),
        }
    }

    /// Whether a stream runs for the key now, so that whoever asks for it joins.
    pub(crate) fn is_live(&self, key: &StreamKey) -> bool {
        let slots = self.slots.lock();
        let slot = slots.by_key.get(key);
        slot.is_some_and(|slot| matches!(slot.state, SlotState::Live { .. }))
    }

    /// The streams that `scope` has acquired and that are in the table.
    pub(crate) fn streams(&self, scope: ScopeId) -> Vec<S> {
        let slots = self.slots.lock();
        slots
            .by_key
            .values()
            .filter(|slot| slot.scopes.contains(&scope))
            .map(|slot| slot.stream.clone())
            .collect()
    }
}

impl<S> KeySlots<S> {
    fn of(&mut self, key: &StreamKey, generation: u64) -> Option<&mut KeySlot<S>> {
        self.by_key
            .get_mut(key)
            .filter(|slot| slot.generation == generation)
    }

    fn is_draining(&self, key: &StreamKey) -> bool {
        self.by_key
            .get(key)
            .is_some_and(|slot| matches!(slot.state, SlotState::Draining { .. }))
    }
}

impl<S> KeySlot<S> {
    fn live(generation: u64, stream: S, scope: ScopeId) -> Self {
        Self {
            generation,
            stream,
            state: SlotState::Live { leases: 1 },
            scopes: HashSet::from([scope]),
        }
    }
}

#[cfg(all(test, loom))]
impl<S> Registry<S> {
    /// Lets every deadline pass, as the model checker's clock.
    pub(super) fn time_passes(&self) {
        let slots = self.slots.lock();
        crate::sync::model::time_passes();
        drop(slots);
        self.changed.notify_all();
    }
}

/// The one claim table, whoever asks. Not for a forked child: a thread that was not copied may hold its lock for ever.
pub(crate) fn claims() -> &'static Registry<super::AnyStream> {
    static CLAIMS: LazyLock<Registry<super::AnyStream>> = LazyLock::new(Registry::new);
    &CLAIMS
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
