//! A forked child has no part in its parent's streams (R7): a typed error, no hang, and the parent's socket stays up.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::exit,
    time::Duration,
};

use fork::{Fork, fork, waitpid};
use trunkline::{
    EndReason, Error, Manager, Phase, RecvTimeoutError, Update, alpaca, crossbeam_channel,
    sim::{Sim, SimConfig},
};

const LONG: Duration = Duration::from_secs(20);

/// The only test of its binary: a fork copies one thread, and no other test's thread must hold a lock then.
#[test]
fn a_forked_child_gets_typed_errors_and_the_parent_keeps_its_line() {
    let sim = Sim::start(SimConfig::default()).unwrap();
    let manager = Manager::new();
    let (venue, credentials) = (sim.stocks(), sim.credentials());
    let feed = manager.open(&venue, &credentials).unwrap();
    feed.wait_live(LONG).unwrap();
    let quotes = feed.subscribe(alpaca::quotes(["AAPL"])).unwrap();
    quotes.wait_confirmed(LONG).unwrap();

    match fork().unwrap() {
        Fork::Child => {
            // Whatever happens, this process must not go on as a second test runner.
            let checked = catch_unwind(AssertUnwindSafe(|| {
                assert!(matches!(feed.wait_live(LONG), Err(Error::Forked { .. })));
                assert_eq!(feed.phase(), Phase::Ended);
                assert!(matches!(
                    feed.end_reason(),
                    Some(EndReason::Failed(Error::Forked { .. }))
                ));
                let subscribed = feed.subscribe(alpaca::quotes(["MSFT"]));
                assert!(matches!(subscribed, Err(Error::Forked { .. })));
                let opened = manager.open(&venue, &credentials);
                assert!(matches!(opened, Err(Error::Forked { .. })));
                assert!(matches!(
                    quotes.wait_confirmed(LONG),
                    Err(Error::Forked { .. })
                ));
                // What the reader had taken out already is its own; then comes the end.
                let end = loop {
                    match quotes.recv_timeout(LONG).unwrap() {
                        Update::Ended(end) => break end,
                        Update::Event(_)
                        | Update::Notice(_)
                        | Update::Gap(_)
                        | Update::Dropped(_) => {}
                    }
                };
                assert!(matches!(end.into_result(), Err(Error::Forked { .. })));
                assert_eq!(
                    quotes.recv_timeout(LONG).unwrap_err(),
                    RecvTimeoutError::Ended
                );
                assert_eq!(feed.health().phase, Phase::Ended);
                assert!(manager.shutdown(LONG).is_empty());
                let copy = feed.clone();
                drop((copy, quotes));
                assert!(matches!(feed.close(LONG), Err(Error::Forked { .. })));
            }));
            exit(i32::from(checked.is_err()));
        }
        Fork::Parent(child) => {
            let (sender, receiver) = crossbeam_channel::bounded(1);
            std::thread::Builder::new()
                .name("waiter".to_owned())
                .spawn(move || sender.send(waitpid(child)))
                .unwrap();
            let status = receiver.recv_timeout(LONG).expect("the child hangs");
            assert_eq!(status.unwrap(), 0, "the child's checks failed");
        }
    }

    let before = sim.stats().connections_opened;
    let newest = loop {
        if let Update::Event(quote) = quotes.recv_timeout(LONG).unwrap()
            && quote.received.elapsed() < Duration::from_secs(1)
        {
            break quote;
        }
    };
    assert_eq!(newest.epoch, 1, "the line was not cut");
    assert_eq!(sim.stats().connections_opened, before);
    assert_eq!(before, 1);
}
