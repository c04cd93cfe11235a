//! The lock and the Condvar of the registry, the lifecycle and the queues, the channel of the queues' wake tokens, and the
//! atomics of the price book: parking_lot's, crossbeam's and std's, or, under `--cfg loom`, the model checker's behind
//! the same few methods.
//!
//! The checker never lets a timed wait time out. Deadlines are modelled as an event instead: time stands still until
//! a test lets it pass, which wakes whoever waits.

#[cfg(not(all(test, loom)))]
pub(crate) use crossbeam_channel::{Receiver, Sender, bounded};
#[cfg(all(test, loom))]
pub(crate) use loom::sync::atomic;
#[cfg(not(all(test, loom)))]
pub(crate) use parking_lot::{Condvar, Mutex};
#[cfg(not(all(test, loom)))]
pub(crate) use std::sync::atomic;

#[cfg(all(test, loom))]
pub(crate) use self::model::{Condvar, Mutex, Receiver, Sender, bounded};

#[cfg(all(test, loom))]
pub(crate) mod model {
    use std::{
        ops::{Deref, DerefMut},
        time::Instant,
    };

    use loom::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    };

    pub(crate) struct Mutex<T>(loom::sync::Mutex<T>);

    /// Taken out while it waits.
    pub(crate) struct MutexGuard<'a, T>(Option<loom::sync::MutexGuard<'a, T>>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(loom::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            MutexGuard(Some(self.0.lock().unwrap()))
        }
    }

    impl<T> Deref for MutexGuard<'_, T> {
        type Target = T;
        fn deref(&self) -> &T {
            self.0.as_ref().unwrap()
        }
    }

    impl<T> DerefMut for MutexGuard<'_, T> {
        fn deref_mut(&mut self) -> &mut T {
            self.0.as_mut().unwrap()
        }
    }

    pub(crate) struct Condvar(loom::sync::Condvar);

    pub(crate) struct WaitTimeoutResult(bool);

    impl WaitTimeoutResult {
        pub(crate) fn timed_out(&self) -> bool {
            self.0
        }
    }

    impl Condvar {
        pub(crate) fn new() -> Self {
            Self(loom::sync::Condvar::new())
        }

        /// Whatever the deadline: it has passed when the model's clock has.
        pub(crate) fn wait_until<T>(
            &self,
            guard: &mut MutexGuard<'_, T>,
            _deadline: Instant,
        ) -> WaitTimeoutResult {
            if !HAS_PASSED.load(Ordering::SeqCst) {
                guard.0 = guard.0.take().map(|guard| self.0.wait(guard).unwrap());
            }
            WaitTimeoutResult(HAS_PASSED.load(Ordering::SeqCst))
        }

        pub(crate) fn wait<T>(&self, guard: &mut MutexGuard<'_, T>) {
            guard.0 = guard.0.take().map(|guard| self.0.wait(guard).unwrap());
        }

        pub(crate) fn notify_one(&self) {
            self.0.notify_one();
        }

        pub(crate) fn notify_all(&self) {
            self.0.notify_all();
        }
    }

    struct Slot<T> {
        item: Mutex<Option<T>>,
        filled: Condvar,
    }

    pub(crate) struct Sender<T>(Arc<Slot<T>>);

    pub struct Receiver<T>(Arc<Slot<T>>);

    /// A channel with room for one item, and no end.
    pub(crate) fn bounded<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
        assert_eq!(capacity, 1);
        let slot = Arc::new(Slot {
            item: Mutex::new(None),
            filled: Condvar::new(),
        });
        (Sender(Arc::clone(&slot)), Receiver(slot))
    }

    impl<T> Sender<T> {
        pub(crate) fn try_send(&self, item: T) -> Result<(), T> {
            let mut slot = self.0.item.lock();
            if slot.is_some() {
                return Err(item);
            }
            *slot = Some(item);
            drop(slot);
            self.0.filled.notify_one();
            Ok(())
        }
    }

    impl<T> Receiver<T> {
        pub(crate) fn recv(&self) -> T {
            let mut slot = self.0.item.lock();
            loop {
                if let Some(item) = slot.take() {
                    return item;
                }
                self.0.filled.wait(&mut slot);
            }
        }

        pub(crate) fn try_recv(&self) -> Option<T> {
            self.0.item.lock().take()
        }

        pub(crate) fn is_empty(&self) -> bool {
            self.0.item.lock().is_none()
        }
    }

    loom::lazy_static! {
        static ref HAS_PASSED: AtomicBool = AtomicBool::new(false);
    }

    /// Lets every deadline pass. Called under the lock that the waiters hold when they look, or a wake could fall
    /// between their look and their wait.
    pub(crate) fn time_passes() {
        HAS_PASSED.store(true, Ordering::SeqCst);
    }
}
