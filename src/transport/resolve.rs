//! Name lookup, which no platform lets us cancel: it runs on a helper thread, one per host at a time, that whoever
//! asked may abandon.

use std::{
    collections::{HashMap, hash_map::Entry},
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs as _},
    sync::{Arc, LazyLock, Weak},
};

use parking_lot::Mutex;

use super::Waker;
use crate::{error::Source, thread};

/// A lookup that was asked for. Dropping it abandons it.
pub(super) struct Lookup {
    answer: Arc<Mutex<Option<Answer>>>,
}

type Answer = Result<Vec<SocketAddr>, Source>;

/// Who waits for a host and port. There is an entry for as long as there is a thread.
static RUNNING: LazyLock<Mutex<Running>> = LazyLock::new(Mutex::default);

type Running = HashMap<(String, u16), Vec<Waiter>>;

struct Waiter {
    answer: Weak<Mutex<Option<Answer>>>,
    waker: Waker,
}

impl Lookup {
    /// Asks for the addresses of a host. `waker` is called when the answer is there.
    pub(super) fn start(host: &str, port: u16, waker: &Waker) -> Self {
        let answer = Arc::new(Mutex::new(None));
        if let Ok(address) = host.parse::<IpAddr>() {
            *answer.lock() = Some(Ok(vec![SocketAddr::new(address, port)]));
            return Self { answer };
        }
        let key = (host.to_owned(), port);
        let waiter = Waiter {
            answer: Arc::downgrade(&answer),
            waker: Arc::clone(waker),
        };
        let is_running = match RUNNING.lock().entry(key.clone()) {
            Entry::Occupied(mut running) => {
                // Those who gave up would pile up behind a resolver that hangs.
                running
                    .get_mut()
                    .retain(|waiter| waiter.answer.strong_count() > 0);
                running.get_mut().push(waiter);
                true
            }
            Entry::Vacant(none) => {
                none.insert(vec![waiter]);
                false
            }
        };
        if !is_running {
            let helper = thread::spawn("tl-resolve".to_owned(), {
                let key = key.clone();
                move || finish(&key, &resolve(&key.0, key.1))
            });
            if let Err(error) = helper {
                finish(&key, &Err(Source::new(error)));
            }
        }
        Self { answer }
    }

    /// The answer, once it is there.
    pub(super) fn take(&self) -> Option<Answer> {
        self.answer.lock().take()
    }
}

fn resolve(host: &str, port: u16) -> Answer {
    match (host, port).to_socket_addrs() {
        Ok(addresses) => {
            let addresses: Vec<_> = addresses.collect();
            if addresses.is_empty() {
                return Err(Source::new(io::Error::new(
                    io::ErrorKind::NotFound,
                    "the name has no address",
                )));
            }
            Ok(addresses)
        }
        Err(error) => Err(Source::new(error)),
    }
}

/// Tells everybody who waits. The entry goes first: whoever asks from here on gets a lookup of their own.
fn finish(key: &(String, u16), answer: &Answer) {
    let waiters = RUNNING.lock().remove(key).unwrap_or_default();
    for waiter in waiters {
        if let Some(slot) = waiter.answer.upgrade() {
            *slot.lock() = Some(answer.clone());
            waiter.waker.wake();
        }
    }
}
