//! Where threads wait for one kind of price of one symbol. The writer passes without a lock while nobody does.
//!
//! **No update is slept through.** A waiter counts itself, then looks; the writer writes, then looks at the count; each
//! with a `SeqCst` fence in between. So whichever fence comes second, its thread sees what the other did: the waiter
//! sees the value, or the writer sees the waiter. A writer that sees one turns the gate under the lock. A waiter took
//! the number of the turn before it looked and sleeps only while that is still the number, which it checks under the
//! lock: what came after its look wakes it.
//!
//! **The writer does not wait for waiters.** They hold the lock to compare two numbers and never while they look at a
//! price or run anything else, so the most that the writer meets is a thread at that. Sleepers are told with the lock
//! let go; parking_lot wakes one of them and lets the rest come through the lock one after the other, so that a
//! thousand of them cost the writer one wake-up.

use std::time::Instant;

use crate::sync::{
    Condvar, Mutex,
    atomic::{AtomicUsize, Ordering, fence},
};

/// See the module's documentation.
pub(super) struct Gate {
    waiting: AtomicUsize,
    turn: Mutex<u64>,
    turned: Condvar,
}

impl Gate {
    pub(super) fn new() -> Self {
        Self {
            waiting: AtomicUsize::new(0),
            turn: Mutex::new(0),
            turned: Condvar::new(),
        }
    }

    /// Looks at once and after each update, until something is found or `deadline` has passed.
    pub(super) fn wait<T>(
        &self,
        deadline: Instant,
        mut look: impl FnMut() -> Option<T>,
    ) -> Option<T> {
        let _counted = Counted::new(&self.waiting);
        fence(Ordering::SeqCst);
        let mut seen = *self.turn.lock();
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            let mut turn = self.turn.lock();
            while *turn == seen {
                if self.turned.wait_until(&mut turn, deadline).timed_out() {
                    drop(turn);
                    return look();
                }
            }
            seen = *turn;
        }
    }

    /// Lets those who wait look again. A `SeqCst` fence stands between what they are to see and this.
    pub(super) fn turn(&self) {
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        *self.turn.lock() += 1;
        self.turned.notify_all();
    }
}

/// One more, until it is dropped: also by a panic.
pub(super) struct Counted<'a>(&'a AtomicUsize);

impl<'a> Counted<'a> {
    pub(super) fn new(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
