//! Name lookup, which no platform lets us cancel: it runs on a helper thread, one per host at a time, that whoever
//! asked may abandon.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{IpAddr, SocketAddr},
    sync::{Arc, LazyLock, Weak},
    time::Instant,
};

use parking_lot::Mutex;

use super::Waker;
use crate::{
    clock,
    error::Source,
    resolver::{PendingLookup, Resolver},
    thread,
};

/// A lookup that was asked for. Dropping it abandons it.
pub(super) struct Lookup {
    answer: Arc<Mutex<Option<Answer>>>,
}

type Answer = Result<Vec<SocketAddr>, Source>;

/// A host, a port, and which resolver was asked.
type Question = (String, u16, usize);

/// There is an entry for as long as there is a helper thread.
static RUNNING: LazyLock<Mutex<HashMap<Question, Running>>> = LazyLock::new(Mutex::default);

struct Running {
    since: Instant,
    waiters: Vec<Waiter>,
}

struct Waiter {
    answer: Weak<Mutex<Option<Answer>>>,
    waker: Waker,
}

impl Lookup {
    /// Asks for the addresses of a host. `waker` is called when the answer is there.
    pub(super) fn start(resolver: &Resolver, host: &str, port: u16, waker: &Waker) -> Self {
        let answer = Arc::new(Mutex::new(None));
        if let Ok(address) = host.parse::<IpAddr>() {
            *answer.lock() = Some(Ok(vec![SocketAddr::new(address, port)]));
            return Self { answer };
        }
        // Which number an interface has is the system's to say, whoever looks names up.
        let system = Resolver::default();
        let resolver = if host.contains('%') {
            &system
        } else {
            resolver
        };
        let question = (host.to_owned(), port, resolver.id());
        let waiter = Waiter {
            answer: Arc::downgrade(&answer),
            waker: Arc::clone(waker),
        };
        let is_running = match RUNNING.lock().entry(question.clone()) {
            Entry::Occupied(mut running) => {
                let waiters = &mut running.get_mut().waiters;
                // Those who gave up would pile up behind a resolver that hangs.
                waiters.retain(|waiter| waiter.answer.strong_count() > 0);
                waiters.push(waiter);
                true
            }
            Entry::Vacant(none) => {
                none.insert(Running {
                    since: clock::now(),
                    waiters: vec![waiter],
                });
                false
            }
        };
        if !is_running {
            let resolver = resolver.clone();
            let asked = question.clone();
            let spawned = thread::spawn("tl-resolve".to_owned(), move || {
                let (host, port, _) = asked.clone();
                let mut helper = Helper(Some(asked));
                helper.finish(resolver.resolve(&host, port));
            });
            if let Err(error) = spawned {
                Helper(Some(question)).finish(Err(error));
            }
        }
        Self { answer }
    }

    /// The answer, once it is there.
    pub(super) fn take(&self) -> Option<Answer> {
        self.answer.lock().take()
    }
}

/// The lookups that run now. Those that nobody waits for any more are still on their thread.
pub(crate) fn pending() -> Vec<PendingLookup> {
    let now = clock::now();
    let running = RUNNING.lock();
    let mut pending: Vec<_> = running
        .iter()
        .map(|((host, port, _), running)| PendingLookup {
            host: format!("{host}:{port}"),
            running_for: now.saturating_duration_since(running.since),
            is_abandoned: running
                .waiters
                .iter()
                .all(|waiter| waiter.answer.strong_count() == 0),
        })
        .collect();
    drop(running);
    pending.sort_by(|one, other| one.host.cmp(&other.host));
    pending
}

/// The helper thread's duty to answer, which it has even if the resolver panics.
struct Helper(Option<Question>);

impl Helper {
    /// Tells everybody who waits, once: somebody may have asked again by the time that this is dropped. The entry goes
    /// first: whoever asks from here on gets a lookup of their own.
    fn finish(&mut self, answer: io::Result<Vec<SocketAddr>>) {
        let Some(question) = self.0.take() else {
            return;
        };
        let answer = answer.map_err(Source::new);
        let running = RUNNING.lock().remove(&question);
        for waiter in running.into_iter().flat_map(|running| running.waiters) {
            if let Some(slot) = waiter.answer.upgrade() {
                *slot.lock() = Some(answer.clone());
                waiter.waker.wake();
            }
        }
    }
}

impl Drop for Helper {
    fn drop(&mut self) {
        self.finish(Err(io::Error::other("the lookup panicked")));
    }
}

#[cfg(test)]
#[cfg(not(loom))]
#[cfg(target_os = "linux")]
mod tests;
