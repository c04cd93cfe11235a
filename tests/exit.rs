//! A stream's thread never waits for itself, and no way of ending a process hangs or aborts (R7).
//!
//! Each case runs in a child process, which is this binary again with a case in its environment.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::disallowed_types,
    reason = "a test fails by panicking, and a logger needs a std Mutex in a static"
)]

mod common;

use std::{
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::{GENEROUS, Peer, Venue, certificate, credentials, hurried, open, stocks_at, until};
use trunkline::{
    Config, Error, ErrorKind, Manager, StreamHandle, alpaca,
    alpaca::MarketData,
    sim::{Sim, SimConfig},
};

const CASE: &str = "TRUNKLINE_EXIT_CASE";

/// What the child prints when it got to the end of its case.
const DONE: &str = "case done";

fn run(case: &str, expect_success: bool) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture", "--test-threads=1"])
        .env(CASE, case)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut status = None;
    until("the child ends", || {
        status = child.try_wait().unwrap();
        status.is_some()
    });
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned()
        + &String::from_utf8_lossy(&output.stderr);
    assert!(text.contains(DONE), "{case}: {text}");
    let status = status.unwrap();
    assert_eq!(status.success(), expect_success, "{case}: {status}: {text}");
    // An abort, or a second panic while unwinding, is a signal and not an exit code.
    assert!(status.code().is_some(), "{case}: {status}: {text}");
}

#[test]
fn the_last_handle_may_go_on_the_streams_own_thread() {
    run("own thread", true);
}

#[test]
fn the_last_handle_may_go_while_a_panic_unwinds() {
    run("panic", false);
}

#[test]
fn a_process_may_end_with_live_streams_in_statics() {
    run("static", true);
}

#[test]
fn a_process_may_exit_in_the_middle() {
    run("exit", true);
}

#[test]
fn a_thread_may_end_with_a_live_stream_in_its_locals() {
    run("thread local", true);
}

#[test]
fn a_logger_that_blocks_holds_the_key_until_it_lets_go() {
    run("blocking logger", true);
}

#[test]
fn a_logger_that_panics_in_open_takes_no_key() {
    run("panicking logger", true);
}

/// Command-line programs give SIGPIPE back its default, so that they end with the pipe that they write to.
#[test]
fn a_line_that_is_reset_does_not_kill_a_program_that_has_sigpipe_at_its_default() {
    run("sigpipe", true);
}

/// Not a test of its own: without a case it has nothing to do.
#[test]
fn child() {
    let Ok(case) = std::env::var(CASE) else {
        return;
    };
    let sim = Sim::start(SimConfig::default()).unwrap();
    let manager = Manager::new();
    let feed = manager.open(&sim.stocks(), &sim.credentials()).unwrap();
    let quotes = feed.subscribe(alpaca::quotes(["*"])).unwrap();
    feed.wait_live(GENEROUS).unwrap();
    match case.as_str() {
        "own thread" => {
            drop(quotes);
            log::set_logger(&DROPPER).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            *LAST.lock().unwrap() = Some(feed);
            // The next record is the stream's own: the connection is lost, and the logger drops the last handle.
            sim.cut();
            until("the logger was called", || DROPPED.load(Ordering::SeqCst));
            until("the stream is gone", || manager.health().streams.is_empty());
            println!("{DONE}");
        }
        "panic" => {
            println!("{DONE}");
            let _held = (feed, quotes);
            panic!("on purpose");
        }
        "static" => {
            *LAST.lock().unwrap() = Some(feed);
            std::mem::forget((quotes, sim));
            println!("{DONE}");
        }
        "exit" => {
            println!("{DONE}");
            std::process::exit(0);
        }
        "thread local" => {
            thread_local! {
                static HELD: std::cell::RefCell<Option<StreamHandle<MarketData>>> = const { std::cell::RefCell::new(None) };
            }
            drop(quotes);
            std::thread::spawn(move || HELD.with(|held| *held.borrow_mut() = Some(feed)))
                .join()
                .unwrap();
            until("the stream is gone", || manager.health().streams.is_empty());
            println!("{DONE}");
        }
        "blocking logger" => {
            drop((quotes, feed));
            blocking_logger(&sim);
            println!("{DONE}");
        }
        "panicking logger" => {
            drop((quotes, feed));
            log::set_logger(&PANICKER).unwrap();
            log::set_max_level(log::LevelFilter::Trace);
            let open = || manager.open(&sim.stocks(), &sim.credentials());
            let opened = std::panic::catch_unwind(std::panic::AssertUnwindSafe(open));
            assert!(opened.is_err(), "with the key claimed, and no thread yet");
            assert!(manager.health().streams.is_empty());
            let feed = open().unwrap();
            feed.wait_live(GENEROUS).unwrap();
            println!("{DONE}");
        }
        "sigpipe" => {
            sigpipe::reset();
            drop((quotes, feed));
            for secure in [false, true] {
                reset_lines(secure);
            }
            println!("{DONE}");
        }
        other => panic!("no case `{other}`"),
    }
}

/// A server that resets each connection once it is live. What the client says after that, a close frame and the end of
/// TLS, meets a socket that is gone.
fn reset_lines(secure: bool) {
    let (authority, server) = certificate();
    let peer = Peer::start(move |line| {
        if secure {
            Venue::new(line.secure(&server)).log_in();
        } else {
            line.venue().log_in();
        }
        line.reset();
    });
    let mut config = Config::default();
    config.extra_roots = authority;
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(1);
    let scheme = if secure { "wss" } else { "ws" };
    let venue = stocks_at(&format!("{scheme}://localhost:{}/", peer.address().port()));
    let venue = venue.with_rules(hurried);
    let _feed = open(&config, &venue, &credentials());
    for _ in 0..20 {
        peer.accepted().recv_timeout(GENEROUS).unwrap();
    }
}

static PANICKER: Panicker = Panicker(AtomicBool::new(false));

/// A logger that panics once, at the record of a stream that is being opened.
struct Panicker(AtomicBool);

impl log::Log for Panicker {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let is_opening = record.args().to_string().contains(": opening ");
        if is_opening && !self.0.swap(true, Ordering::SeqCst) {
            std::panic::resume_unwind(Box::new("a logger's own bug"));
        }
    }

    fn flush(&self) {}
}

/// A stream whose thread hangs in a logger: the drop is bounded, the key stays taken and is shown as such, and works
/// again once the logger lets go, without anybody's help.
fn blocking_logger(sim: &Sim) {
    let mut config = Config::default();
    config.release_timeout = Duration::from_millis(200);
    config.open_timeout = Duration::from_millis(200);
    let manager = Manager::with_config(config).unwrap();
    let feed = manager.open(&sim.stocks(), &sim.credentials()).unwrap();
    feed.wait_live(GENEROUS).unwrap();
    let (hold, held) = crossbeam_channel::bounded::<()>(0);
    let (entered, is_in) = crossbeam_channel::bounded::<()>(1);
    *BLOCK.lock().unwrap() = Some((entered, held));
    log::set_logger(&BLOCKER).unwrap();
    log::set_max_level(log::LevelFilter::Trace);
    sim.cut();
    is_in.recv_timeout(GENEROUS).unwrap();

    drop(feed);
    let health = manager.health();
    let stuck = health.streams.first().expect("it is not forgotten");
    assert!(stuck.draining_for.is_some(), "{stuck}");
    let opened = manager.open(&sim.stocks(), &sim.credentials());
    assert!(
        matches!(
            opened.as_ref().map_err(Error::kind),
            Err(ErrorKind::Draining { .. })
        ),
        "{opened:?}"
    );
    assert_eq!(
        sim.stats().connections_opened,
        2,
        "never a second connection"
    );

    drop(hold);
    until("the key is free", || manager.health().streams.is_empty());
    let feed = manager.open(&sim.stocks(), &sim.credentials()).unwrap();
    feed.wait_live(GENEROUS).unwrap();
}

/// Where the logger says that it is in, and what it waits for.
type Block = (
    crossbeam_channel::Sender<()>,
    crossbeam_channel::Receiver<()>,
);
static BLOCK: Mutex<Option<Block>> = Mutex::new(None);
static BLOCKER: Blocker = Blocker;

/// A logger that hangs once, on a stream's own thread.
struct Blocker;

impl log::Log for Blocker {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if on_a_streams_thread() && record.target() == "trunkline::stream" {
            let block = BLOCK.lock().unwrap().take();
            if let Some((entered, held)) = block {
                let _ = entered.send(());
                let _ = held.recv();
            }
        }
    }

    fn flush(&self) {}
}

fn on_a_streams_thread() -> bool {
    std::thread::current()
        .name()
        .is_some_and(|name| name.starts_with("tl-") && name != "tl-sim")
}

static LAST: Mutex<Option<StreamHandle<MarketData>>> = Mutex::new(None);
static DROPPED: AtomicBool = AtomicBool::new(false);
static DROPPER: Dropper = Dropper;

/// A logger that drops the last handle, on whatever thread it is called.
struct Dropper;

impl log::Log for Dropper {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        if on_a_streams_thread() && record.target() == "trunkline::stream" {
            let last = LAST.lock().unwrap().take();
            if last.is_some() {
                drop(last);
                DROPPED.store(true, Ordering::SeqCst);
            }
        }
    }

    fn flush(&self) {}
}
