//! A forked child has no part in its parent's streams (R7): a typed error, no hang, and the parent's socket stays up.

#![cfg(unix)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test fails by panicking"
)]

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    process::{Command, exit},
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use fork::{Fork, fork, waitpid_nohang};
use trunkline::{
    EndReason, Error, ErrorKind, Manager, Phase, PriceBook, Quote, RecvTimeoutError, StreamHandle,
    Subscription, Update,
    alpaca::{self, MarketData},
    crossbeam_channel::{self, select},
    sim::{Sim, SimConfig},
    stream::Phases,
};

const LONG: Duration = Duration::from_secs(20);
/// Forks under load. Without a look at which process this is, the first or second child hangs.
const FORKS: usize = 300;

/// What a program holds of a stream.
struct Held {
    manager: Manager,
    feed: StreamHandle<MarketData>,
    quotes: Subscription<Quote>,
    /// Read by `select!`, with another thread at its channel, too.
    selected: Subscription<Quote>,
    book: PriceBook,
    phases: Phases,
}

/// The only test of its binary: a fork copies one thread, and no other test's thread must hold a lock then. Those that do
/// here hold the library's.
#[test]
fn a_forked_child_gets_typed_errors_and_the_parent_keeps_its_line() {
    let sim = Sim::start(SimConfig::default()).unwrap();
    let manager = Manager::new();
    let (venue, credentials) = (sim.stocks(), sim.credentials());
    let feed = manager.open(&venue, &credentials).unwrap();
    feed.wait_live(LONG).unwrap();
    let topics = || alpaca::quotes(["AAPL", "MSFT", "KO"]);
    let (quotes, selected) = (
        feed.subscribe(topics()).unwrap(),
        feed.subscribe(topics()).unwrap(),
    );
    quotes.wait_confirmed(LONG).unwrap();
    let book = feed.price_book(["AAPL", "MSFT"]).unwrap();
    let phases = feed.phases();
    let held = Held {
        manager,
        feed,
        quotes,
        selected,
        book,
        phases,
    };

    let stop = AtomicBool::new(false);
    let until_stopped = |work: &dyn Fn()| {
        while !stop.load(Ordering::Relaxed) {
            work();
        }
    };
    let held = thread::scope(|scope| {
        // Whatever becomes of the forks, these end.
        let _stopper = Stopper(&stop);
        for _ in 0..3 {
            let (manager, venue, credentials) = (held.manager.clone(), &venue, &credentials);
            scope.spawn(move || {
                until_stopped(&|| {
                    let feed = manager.open(venue, credentials).unwrap();
                    drop(feed.subscribe(alpaca::trades(["MSFT"])).unwrap());
                    drop(manager.health());
                });
            });
        }
        let book = held.book.clone();
        scope.spawn(move || {
            until_stopped(&|| {
                book.add(["TSLA"]).unwrap();
                drop(book.unconfirmed());
                book.remove(["TSLA"]).unwrap();
            });
        });
        let ready = held.selected.ready().clone();
        scope.spawn(move || {
            until_stopped(&|| {
                let tick = crossbeam_channel::after(Duration::from_millis(1));
                select! {
                    recv(ready) -> token => assert!(token.is_ok()),
                    recv(tick) -> _ => {}
                }
            });
        });
        for _ in 0..FORKS {
            match fork().unwrap() {
                Fork::Child => {
                    // Whatever happens, this process must not go on as a second test runner.
                    let checked =
                        catch_unwind(AssertUnwindSafe(|| check(held, &venue, &credentials)));
                    exit(i32::from(checked.is_err()));
                }
                Fork::Parent(child) => wait_for(child),
            }
            // What is queued by then is not what the child is about.
            while held.quotes.try_recv().is_ok() {}
            held.selected.drain().for_each(drop);
        }
        held
    });

    let before = sim.stats().connections_opened;
    let newest = loop {
        if let Update::Event(quote) = held.quotes.recv_timeout(LONG).unwrap()
            && quote.received().elapsed() < Duration::from_secs(1)
        {
            break quote;
        }
    };
    assert_eq!(newest.epoch(), 1, "the line was not cut");
    assert_eq!(sim.stats().connections_opened, before);
    assert_eq!(before, 1);
}

struct Stopper<'a>(&'a AtomicBool);

impl Drop for Stopper<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Without a thread of its own, which would hold a lock of the standard library's while it starts or ends: a child that
/// was forked then could not even exit.
fn wait_for(child: i32) {
    let deadline = Instant::now() + LONG;
    loop {
        if let Some(status) = waitpid_nohang(child).unwrap() {
            assert_eq!(status, 0, "the child's checks failed");
            return;
        }
        if Instant::now() > deadline {
            let _ = Command::new("kill")
                .args(["-9", &child.to_string()])
                .status();
            panic!("the child hangs");
        }
        thread::park_timeout(Duration::from_millis(1));
    }
}

/// Each public entrance, in the child. What is held is dropped here, too.
fn check(held: Held, venue: &MarketData, credentials: &trunkline::Credentials) {
    let Held {
        manager,
        feed,
        quotes,
        selected,
        book,
        phases,
    } = held;

    for manager in [&manager, &Manager::new(), &manager.correlated("child")] {
        let opened = manager.open(venue, credentials);
        assert!(matches!(
            opened.as_ref().map_err(Error::kind),
            Err(ErrorKind::Forked)
        ));
    }
    assert!(manager.health().streams.is_empty());
    assert!(manager.shutdown(LONG).is_empty());
    drop(manager.shutdown_guard(LONG));

    assert!(matches!(
        feed.wait_live(LONG).as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    assert_eq!(feed.phase(), Phase::Ended);
    assert!(
        matches!(feed.end_reason(), Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Forked))
    );
    let subscribed = feed.subscribe(alpaca::quotes(["MSFT"]));
    assert!(matches!(
        subscribed.as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    assert!(matches!(
        feed.price_book(["KO"]).as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    assert_eq!(feed.health().phase, Phase::Ended);
    assert_eq!(feed.phases().last(), Some(Phase::Ended));
    assert_eq!(phases.last(), Some(Phase::Ended));
    drop(feed.correlated(format!("{feed:?}")));

    check_subscription(&quotes, || quotes.recv_timeout(LONG).ok());
    check_subscription(&selected, || {
        select! {
            recv(selected.ready()) -> _ => selected.drain().next(),
            default(LONG) => None,
        }
    });

    let (age, symbol) = (Duration::MAX, book.symbol("AAPL").unwrap());
    let waited = book.wait_price("AAPL", age, LONG);
    assert!(matches!(
        waited.as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    let waited = symbol.wait_fresh(age, LONG);
    assert!(matches!(
        waited.as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    assert!(matches!(
        book.add(["TSLA"]).as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    assert!(matches!(
        book.remove(["TSLA"]).as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    // They grow old.
    let _ = (
        book.quote("AAPL", age),
        symbol.trade(age),
        symbol.best_price(age),
    );
    let _ = (book.symbols(), book.unconfirmed(), format!("{book:?}"));

    drop((feed.clone(), book.clone(), quotes, selected, symbol, book));
    assert!(matches!(
        feed.close(LONG).as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
}

/// What the other process reads of a subscription, by `read`.
fn check_subscription(
    subscription: &Subscription<Quote>,
    read: impl Fn() -> Option<Update<Quote>>,
) {
    let forked = [
        subscription.wait_confirmed(LONG),
        subscription.add(alpaca::quotes(["KO"])),
        subscription.remove(alpaca::quotes(["KO"])),
        subscription.resubscribe(),
    ];
    for forked in forked {
        assert!(matches!(
            forked.as_ref().map_err(Error::kind),
            Err(ErrorKind::Forked)
        ));
    }
    assert_eq!(subscription.health().topics, []);
    assert!(!format!("{subscription:?}").is_empty());
    // What the reader had taken out already is its own; then comes the end.
    let end = loop {
        match read().unwrap() {
            Update::Ended(end) => break end,
            Update::Event(_) | Update::Notice(_) | Update::Gap(_) | Update::Dropped(_) => {}
        }
    };
    assert!(matches!(
        end.into_result().as_ref().map_err(Error::kind),
        Err(ErrorKind::Forked)
    ));
    assert_eq!(
        subscription.recv_timeout(LONG).err(),
        Some(RecvTimeoutError::Ended)
    );
    assert!(subscription.ready().is_empty());
}
