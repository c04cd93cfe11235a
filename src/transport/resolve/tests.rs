use std::{cell::RefCell, time::Duration};

use crossbeam_channel::Sender;

use super::*;
use crate::transport::Wake;

struct Nobody;

impl Wake for Nobody {
    fn wake(&self) {}
}

/// Waits for it.
fn answer(lookup: &Lookup) -> Answer {
    let deadline = clock::now() + WAIT;
    loop {
        if let Some(answer) = lookup.take() {
            return answer;
        }
        assert!(clock::now() < deadline);
        std::thread::yield_now();
    }
}

/// Which number an interface has is asked of the system, and no resolver of the user's is troubled with it.
#[test]
fn the_interface_of_a_link_local_address_becomes_its_number() {
    let waker: Waker = Arc::new(Nobody);
    let resolver = Resolver::new(|_, _| panic!("it is no name"));
    for (host, number) in [("fe80::1%lo", 1), ("fe80::1%7", 7)] {
        let lookup = Lookup::start(&resolver, host, 443, &waker);
        for address in answer(&lookup).unwrap() {
            let SocketAddr::V6(address) = address else {
                panic!("{address}")
            };
            assert_eq!(address.to_string(), format!("[fe80::1%{number}]:443"));
        }
    }
}

/// Asks again as soon as it is told of an answer, on the thread that tells it.
struct AsksAgain {
    resolver: Resolver,
    asked: Sender<Lookup>,
    thread_ended: Sender<()>,
}

impl Wake for AsksAgain {
    fn wake(&self) {
        /// Says that a thread has ended: all of its locals are dropped behind all that stood on its stack.
        struct Last(Sender<()>);

        impl Drop for Last {
            fn drop(&mut self) {
                let _ = self.0.send(());
            }
        }

        thread_local! {
            static LAST: RefCell<Option<Last>> = const { RefCell::new(None) };
        }

        LAST.set(Some(Last(self.thread_ended.clone())));
        let waker: Waker = Arc::new(Nobody);
        let lookup = Lookup::start(&self.resolver, "again.test", 443, &waker);
        self.asked.send(lookup).unwrap();
    }
}

/// A helper that is done has no say in the next lookup of the same name, which somebody may have asked for before the
/// helper's thread has ended.
#[test]
fn a_helper_that_has_answered_leaves_whoever_asks_again_alone() {
    let (release, released) = crossbeam_channel::unbounded();
    let resolver = Resolver::new(move |_, _| released.recv().map_err(io::Error::other));
    let (asked, again) = crossbeam_channel::bounded(1);
    let (thread_ended, ended) = crossbeam_channel::bounded(1);
    let waker: Waker = Arc::new(AsksAgain {
        resolver: resolver.clone(),
        asked,
        thread_ended,
    });
    let addresses = [1, 2].map(|last| vec![SocketAddr::from(([192, 0, 2, last], 443))]);
    let [first, second] = addresses;

    let lookup = Lookup::start(&resolver, "again.test", 443, &waker);
    release.send(first.clone()).unwrap();
    let next = again.recv_timeout(WAIT).unwrap();
    ended.recv_timeout(WAIT).unwrap();
    assert_eq!(answer(&lookup).unwrap(), first);
    assert!(next.take().is_none(), "its own helper still looks");
    let is_pending = |lookup: &PendingLookup| lookup.host == "again.test:443";
    assert!(pending().iter().any(is_pending));
    release.send(second.clone()).unwrap();
    assert_eq!(answer(&next).unwrap(), second);
}

const WAIT: Duration = Duration::from_secs(60);
