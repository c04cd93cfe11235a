//! Registry, lifecycle and queue under a model checker, which runs every interleaving of the threads below.
//!
//! A stream is modelled as what the claim table is about: a connection, which is open from the start of the thread
//! until right before its guard vacates the slot. Two of them open at once, a lease on a stream that nobody will ever
//! end, or a wait that nobody ends, fail the model.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib model --target-dir target/loom`

use std::{
    ops::ControlFlow,
    time::{Duration, Instant},
};

use loom::{
    model,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use super::{
    lifecycle::Lifecycle,
    queue::{Queue, Reader},
    registry::{Acquired, Registry, Released, ScopeId},
    subscription::Drain,
};
use crate::{
    Credentials, EndReason, Error, ErrorKind, MarketEvent, Overflow, Phase, Quote, StreamKey,
    Update, clock, error::At, stream::QueueLimit,
};

const SCOPE: ScopeId = ScopeId(0);

/// The claim table of generations, one key, and the connections that are open.
struct World {
    registry: Registry<u64>,
    key: StreamKey,
    far: Instant,
    open: AtomicUsize,
}

impl World {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            registry: Registry::new(),
            key: StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none()),
            far: clock::now() + Duration::from_secs(3_600),
            open: AtomicUsize::new(0),
        })
    }

    /// One lease; the generation it is of.
    fn acquire(&self) -> Option<u64> {
        match self
            .registry
            .acquire(&self.key, SCOPE, self.far, |generation| generation)
        {
            Ok(Acquired::Created { stream }) => {
                assert_eq!(
                    self.open.fetch_add(1, Ordering::SeqCst),
                    0,
                    "a second connection"
                );
                Some(stream)
            }
            Ok(Acquired::Joined { stream }) => Some(stream),
            Err(_) => None,
        }
    }

    /// What the stream's thread does last.
    fn thread_ends(&self, generation: u64) {
        self.open.fetch_sub(1, Ordering::SeqCst);
        self.registry.vacate(&self.key, generation);
    }

    /// What a holder does: the last one stops the thread, and waits for it.
    fn release(&self, generation: u64) -> Released {
        let released = self.registry.release(&self.key, generation);
        if released == Released::Last {
            self.thread_ends(generation);
            assert!(self.registry.wait_gone(&self.key, generation, self.far));
        }
        released
    }
}

fn spawn(world: &Arc<World>, body: impl FnOnce(&World) + 'static) -> thread::JoinHandle<()> {
    let world = Arc::clone(world);
    thread::spawn(move || body(&world))
}

/// Planted and found: `release` that counts down in one critical section and moves to draining in a second one (a
/// lease on a stream that is then ended: "nobody ends it"); `acquire` that takes a draining slot over instead of
/// waiting ("a second connection"); `vacate` without its `notify_all` (deadlock).
#[test]
fn model_acquire_against_the_last_release() {
    model(|| {
        let world = World::new();
        let first = world.acquire().unwrap();
        let other = spawn(&world, |world| {
            let generation = world.acquire().unwrap();
            let (leases, draining) = world.registry.holds(&world.key, generation);
            assert!(
                leases > 0 && draining.is_none(),
                "a lease on a stream that is being ended"
            );
            world.release(generation);
        });
        world.release(first);
        other.join().unwrap();
        assert_eq!(world.open.load(Ordering::SeqCst), 0, "nobody ends it");
        assert!(world.registry.streams(SCOPE).is_empty());
    });
}

/// A waiter whose deadline passes while the key becomes free gets one or the other, and never the stuck generation.
/// Planted and found: `acquire` that takes a draining slot over instead of waiting ("handed out").
#[test]
fn model_acquire_against_a_stuck_release() {
    model(|| {
        let world = World::new();
        let first = world.acquire().unwrap();
        assert_eq!(world.registry.release(&world.key, first), Released::Last);
        let acquirer = spawn(&world, |world| {
            if let Some(generation) = world.acquire() {
                assert_ne!(generation, 1, "the draining one was handed out");
                world.release(generation);
            }
        });
        let clock = spawn(&world, |world| world.registry.time_passes());
        // The thread was stuck, and ends at last: before the deadline or after it.
        world.thread_ends(first);
        acquirer.join().unwrap();
        clock.join().unwrap();
        assert_eq!(world.open.load(Ordering::SeqCst), 0);
    });
}

/// A releaser whose thread never ends is let go by its deadline; the key stays taken until the thread ends.
#[test]
fn model_a_bounded_wait_for_a_thread_that_is_stuck() {
    model(|| {
        let world = World::new();
        let first = world.acquire().unwrap();
        assert_eq!(world.registry.release(&world.key, first), Released::Last);
        let clock = spawn(&world, |world| world.registry.time_passes());
        assert!(!world.registry.wait_gone(&world.key, first, world.far));
        assert!(world.acquire().is_none());
        clock.join().unwrap();
        world.thread_ends(first);
        assert_eq!(world.acquire(), Some(2));
    });
}

/// `close` and `drop` of the two last holders. Planted and found: a `release` that reads the count before it locks
/// (nobody was last).
#[test]
fn model_close_against_drop() {
    model(|| {
        let world = World::new();
        let first = world.acquire().unwrap();
        world.registry.retain(&world.key, first);
        let last = Arc::new(AtomicUsize::new(0));
        let other = spawn(&world, {
            let last = Arc::clone(&last);
            move |world| {
                last.fetch_add(
                    usize::from(world.release(first) == Released::Last),
                    Ordering::SeqCst,
                );
            }
        });
        last.fetch_add(
            usize::from(world.release(first) == Released::Last),
            Ordering::SeqCst,
        );
        other.join().unwrap();
        assert_eq!(last.load(Ordering::SeqCst), 1, "exactly one is the last");
        assert_eq!(world.open.load(Ordering::SeqCst), 0);
    });
}

/// Planted and found: a `shutdown` that removes the slot instead of draining it ("a second connection").
#[test]
fn model_shutdown_against_acquire() {
    model(|| {
        let world = World::new();
        let first = world.acquire().unwrap();
        let other = spawn(&world, |world| {
            let generation = world.acquire().unwrap();
            // Joined before the shutdown, and ended by it; or new after it.
            if generation != 1 {
                world.release(generation);
            } else {
                assert_ne!(
                    world.registry.release(&world.key, generation),
                    Released::Last
                );
            }
        });
        for generation in world.registry.shutdown(SCOPE) {
            if generation == first {
                world.thread_ends(first);
                assert!(world.registry.wait_gone(&world.key, first, world.far));
            }
        }
        assert_eq!(world.registry.release(&world.key, first), Released::Stale);
        other.join().unwrap();
        assert_eq!(world.open.load(Ordering::SeqCst), 0);
    });
}

/// A stream that ends by itself while somebody opens it. Planted and found: a `release` that does not compare the
/// generation (it counts down the successor, which then has no holder: "a second connection").
#[test]
fn model_fatal_end_against_acquire() {
    model(|| {
        let world = World::new();
        let first = world.acquire().unwrap();
        let other = spawn(&world, |world| {
            let generation = world.acquire().unwrap();
            if generation == 1 {
                // It joined what has ended since, or is about to: giving it back never ends a successor.
                world.registry.release(&world.key, generation);
            } else {
                let (leases, _) = world.registry.holds(&world.key, generation);
                assert_eq!(leases, 1, "somebody else's lease was counted here");
                world.release(generation);
            }
        });
        world.thread_ends(first);
        world.registry.release(&world.key, first);
        other.join().unwrap();
        assert_eq!(world.open.load(Ordering::SeqCst), 0);
        assert!(world.registry.streams(SCOPE).is_empty());
    });
}

/// A thread that panics ends every wait: its guard makes the last change. Planted and found: `end` without the
/// `notify_all`, and `wait_live` that looks for `Live` alone (deadlock, both).
#[test]
fn model_panic_against_wait() {
    model(|| {
        let key = StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none());
        let lifecycle = Arc::new(Lifecycle::new(key.clone()));
        let now = clock::now();
        let waiter = thread::spawn({
            let lifecycle = Arc::clone(&lifecycle);
            move || lifecycle.wait_live(now + Duration::from_secs(3_600))
        });
        lifecycle.change(now, |state| state.phase = Phase::Connecting);
        let error = Error::new(
            At::new(&key, Phase::Connecting),
            ErrorKind::Panicked {
                message: "x".to_owned(),
            },
        );
        lifecycle.end(now, &EndReason::Failed(error));
        assert!(matches!(
            waiter.join().unwrap().as_ref().map_err(Error::kind),
            Err(ErrorKind::Panicked { .. })
        ));
    });
}

/// A queue into which a thread puts two holes of one event each, and the end, while `read` takes them out. Whatever
/// `read` does, it has to come to the end, and the channel is silent after it.
fn model_queue(read: impl Fn(&Reader<MarketEvent>, &mut Taken) + Send + Sync + 'static) {
    model(move || {
        let key = StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none());
        let limit = QueueLimit::new(8, Overflow::DropOldest);
        let (queue, reader) = Queue::new(limit, &key, None);
        let pushing = thread::spawn(move || {
            queue.lose(1);
            queue.lose(1);
            queue.end(&EndReason::Closed);
        });
        let mut taken = Taken::default();
        read(&reader, &mut taken);
        assert!(!reader.fires(), "after the end");
        pushing.join().unwrap();
        assert!(!reader.fires(), "after the end");
        assert_eq!(taken.lost, 2);
    });
}

#[derive(Default)]
struct Taken {
    lost: u64,
    ended: bool,
}

impl Taken {
    fn note(&mut self, update: Update<Quote>) {
        assert!(!self.ended, "nothing follows the end");
        match update {
            Update::Dropped(dropped) => self.lost += dropped.count,
            Update::Ended(_) => self.ended = true,
            other => panic!("{other:?}"),
        }
    }
}

/// The channel is asked for once, and each token is followed by a drain, which is left after one update.
///
/// Planted and found: a drain that does not re-arm when it is dropped (deadlock).
#[test]
fn model_a_kept_channel_against_pushes() {
    model_queue(|reader, taken| {
        let ready = reader.ready();
        while !taken.ended {
            ready.recv();
            Drain::new(reader)
                .take(1)
                .for_each(|update| taken.note(update));
        }
    });
}

/// The channel is asked for anew for each wait, and what is read is not a drain.
///
/// Planted and found: a `ready` that does not look at what was taken out, and one that looks at the tail and says in a
/// second critical section that tokens are wanted (deadlock, both); the token of the end sent after the lock was let go,
/// or not taken back ("after the end", both).
#[test]
fn model_a_channel_that_is_asked_for_anew_against_pushes() {
    model_queue(|reader, taken| {
        while !taken.ended {
            reader.ready().recv();
            let update = reader.read(Some, |front| match reader.take(front) {
                true => ControlFlow::Continue(()),
                false => ControlFlow::Break(None),
            });
            update.into_iter().for_each(|update| taken.note(update));
        }
    });
}

/// A reader that blocks, of a channel that somebody asked for. Planted and found: a reader that looks at the tail and says
/// in a second critical section that it waits, and a push that wakes nobody (deadlock, both).
#[test]
fn model_a_blocked_reader_against_pushes() {
    model_queue(|reader, taken| {
        let _ = reader.ready();
        while !taken.ended {
            let update = reader.read(Some, |front| {
                match reader.take(front) || reader.wait(front, None) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(None),
                }
            });
            update.into_iter().for_each(|update| taken.note(update));
        }
    });
}
