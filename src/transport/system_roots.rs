//! The roots that the machine trusts. Reading them is work for the file system, which may hang: it is done on a helper
//! thread, one at a time for the whole process, that whoever asked may abandon.

use std::sync::{Arc, LazyLock, Weak};

use parking_lot::Mutex;
use rustls::RootCertStore;

use super::Waker;
use crate::thread;

/// A reading that was asked for. Dropping it abandons it.
pub(super) struct SystemRoots(Slot);

type Slot = Arc<Mutex<Option<Arc<RootCertStore>>>>;

#[derive(Default)]
struct Reading {
    is_running: bool,
    waiters: Vec<Waiter>,
}

struct Waiter {
    slot: Weak<Mutex<Option<Arc<RootCertStore>>>>,
    waker: Waker,
}

static READING: LazyLock<Mutex<Reading>> = LazyLock::new(Mutex::default);

impl SystemRoots {
    /// Asks for them. `waker` is called when they are there.
    pub(super) fn read(waker: &Waker) -> Self {
        let slot = Slot::default();
        let is_running = {
            let mut reading = READING.lock();
            // Those who gave up would pile up behind a file system that hangs.
            reading
                .waiters
                .retain(|waiter| waiter.slot.strong_count() > 0);
            reading.waiters.push(Waiter {
                slot: Arc::downgrade(&slot),
                waker: Arc::clone(waker),
            });
            std::mem::replace(&mut reading.is_running, true)
        };
        if !is_running {
            let mut helper = Helper(RootCertStore::empty());
            // A helper that cannot be started is dropped with the closure, and answers with no roots.
            drop(thread::spawn("tl-roots".to_owned(), move || {
                // Certificates that cannot be read are common on some machines, and only matter if none can.
                let found = rustls_native_certs::load_native_certs().certs;
                helper.0.add_parsable_certificates(found);
            }));
        }
        Self(slot)
    }

    /// The roots, once they are there.
    pub(super) fn take(&self) -> Option<Arc<RootCertStore>> {
        self.0.lock().take()
    }
}

/// The helper thread's duty to answer, which it has even if it panics or never ran.
struct Helper(RootCertStore);

impl Drop for Helper {
    fn drop(&mut self) {
        let roots = Arc::new(std::mem::replace(&mut self.0, RootCertStore::empty()));
        let reading = std::mem::take(&mut *READING.lock());
        for waiter in reading.waiters {
            if let Some(slot) = waiter.slot.upgrade() {
                *slot.lock() = Some(Arc::clone(&roots));
                waiter.waker.wake();
            }
        }
    }
}
