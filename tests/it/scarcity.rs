//! What the operating system refuses or takes away: descriptors, threads, time and packets. Each test runs in a process of
//! its own.
#![cfg(target_os = "linux")]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a test: it panics, says what was skipped, and stands outside the walls of the library"
)]

#[allow(dead_code, reason = "not every test uses all of it")]
use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader},
    net::SocketAddr,
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use crate::common::{
    GENEROUS, alone, alone_with, brisk, credentials, failure, hurried, ledger::Ledger, open,
    patient, stocks_at, stream_threads, until, until_no_thread,
};
use crate::example;
use parking_lot::Mutex;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, kill_process, setrlimit};
use trunkline::{
    Config, Error, Manager, StreamHandle,
    alpaca::{self, MarketData},
    config::Resolver,
    sim::{Sim, SimConfig, SimEvent},
};

fn sim(change: impl FnOnce(&mut SimConfig)) -> Sim {
    let mut config = SimConfig::default();
    config.rate = 2_000;
    change(&mut config);
    Sim::start(config).unwrap()
}

/// Reads so many trades. None is missing.
fn read_trades(handle: &StreamHandle<MarketData>, count: u64) -> Ledger {
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let mut ledger = Ledger::new("scarcity");
    while ledger.events < count {
        ledger.enter(&trades.recv_timeout(GENEROUS).unwrap());
    }
    ledger
}

/// A host whose name is looked up, each time with `first`.
fn named(config: Config, address: SocketAddr, first: impl Fn() + Send + Sync + 'static) -> Config {
    let mut config = config;
    config.resolver = Resolver::new(move |_, _| {
        first();
        Ok(vec![address])
    });
    config
}

fn refused(error: &Error, code: &str, number: u32) {
    let text = format!("{error:?}");
    assert_eq!(error.code(), code, "{text}");
    assert!(error.is_retryable(), "{text}");
    assert!(text.contains(&format!("os error {number}")), "{text}");
}

// --------------------------------------------------------------------------------------------------------- descriptors

/// Takes all descriptors that are left.
fn take_all() -> Vec<File> {
    let mut taken = Vec::new();
    while let Ok(file) = File::open("/dev/null") {
        taken.push(file);
    }
    taken
}

#[test]
fn a_process_without_descriptors_is_told_so_and_goes_on_once_it_has_some() {
    const NAME: &str =
        "scarcity::a_process_without_descriptors_is_told_so_and_goes_on_once_it_has_some";
    const NO_DESCRIPTOR: u32 = 24;
    alone(NAME, || {
        let all = getrlimit(Resource::Nofile);
        let few = Rlimit {
            current: Some(256),
            ..all
        };
        setrlimit(Resource::Nofile, few).unwrap();
        let sim = sim(|_| {});
        let credentials = credentials();
        let manager = Manager::with_config(patient()).unwrap();

        // There is none for a poller: the stream does not begin, and its key is free.
        let taken = take_all();
        let error = manager.open(&sim.stocks(), &credentials).unwrap_err();
        drop(taken);
        refused(&error, "spawn", NO_DESCRIPTOR);
        let handle = manager.open(&sim.stocks(), &credentials).unwrap();
        read_trades(&handle, 5);
        drop(handle);
        until_no_thread(&credentials);

        // There is none for a socket: an attempt has failed, and the next one waits for its time.
        let taken = Arc::new(Mutex::new(Vec::new()));
        let take = {
            let taken = Arc::clone(&taken);
            move || taken.lock().extend(take_all())
        };
        let venue = stocks_at("ws://descriptors.test/v2/iex").with_rules(hurried);
        let config = named(patient(), sim.local_addr(), take);
        let handle = open(&config, &venue, &credentials);
        let error = failure(&handle);
        let attempts = handle.health().counters.attempts;
        taken.lock().clear();
        refused(&error, "unreachable", NO_DESCRIPTOR);
        assert_eq!(attempts, 1, "it tries again when its backoff says so");
        drop(handle);
        until_no_thread(&credentials);

        // Three times there is none.
        let lookups = Mutex::new(0);
        let held = Arc::clone(&taken);
        let take = move || {
            let mut lookups = lookups.lock();
            *lookups += 1;
            held.lock().clear();
            if *lookups <= 3 {
                held.lock().extend(take_all());
            }
        };
        let config = named(brisk(), sim.local_addr(), take);
        let handle = open(&config, &venue, &credentials);
        read_trades(&handle, 5);
        assert_eq!(handle.health().counters.attempts, 4);
        drop(handle);
        until_no_thread(&credentials);
    });
}

// ------------------------------------------------------------------------------------------------------------- threads

#[test]
fn a_process_without_threads_is_told_so_and_goes_on_once_it_has_some() {
    const NAME: &str =
        "scarcity::a_process_without_threads_is_told_so_and_goes_on_once_it_has_some";
    const NO_THREAD: u32 = 11;
    const GIBIBYTE: u64 = 1 << 30;
    // The stack of a thread is what there is no room for: by their number root is not refused any.
    let stack = GIBIBYTE.to_string();
    alone_with(NAME, &[("RUST_MIN_STACK", Some(&stack))], || {
        let all = getrlimit(Resource::As);
        let room_for_stacks = |stacks: u64| {
            let status = fs::read_to_string("/proc/self/status").unwrap();
            let size = status.lines().find(|line| line.starts_with("VmSize"));
            let size = size.unwrap().split_whitespace().nth(1).unwrap();
            let used = size.parse::<u64>().unwrap() << 10;
            let current = Some(used + stacks * GIBIBYTE + GIBIBYTE / 2);
            setrlimit(Resource::As, Rlimit { current, ..all }).unwrap();
        };
        let sim = sim(|_| {});
        let credentials = credentials();
        let manager = Manager::with_config(patient()).unwrap();

        // Not for the stream's own: its key is free.
        room_for_stacks(0);
        let error = manager.open(&sim.stocks(), &credentials).unwrap_err();
        setrlimit(Resource::As, all).unwrap();
        refused(&error, "spawn", NO_THREAD);
        assert!(stream_threads(&credentials).is_empty());
        let handle = manager.open(&sim.stocks(), &credentials).unwrap();
        read_trades(&handle, 5);
        drop(handle);
        until_no_thread(&credentials);

        // Not for the lookup.
        let venue = stocks_at("ws://threads.test/v2/iex").with_rules(hurried);
        let config = named(brisk(), sim.local_addr(), || {});
        room_for_stacks(1);
        let handle = open(&config, &venue, &credentials);
        let error = failure(&handle);
        setrlimit(Resource::As, all).unwrap();
        refused(&error, "unresolved", NO_THREAD);
        read_trades(&handle, 5);
        drop(handle);
        until_no_thread(&credentials);
    });
}

// ---------------------------------------------------------------------------------------------------------------- time

#[test]
fn a_process_that_is_stopped_and_goes_on_declares_what_it_missed() {
    let (events, seen) = crossbeam_channel::unbounded();
    let sim = sim(|config| {
        config.events = Some(events);
        config.ping_interval = Some(Duration::from_millis(50));
        config.pong_timeout = Duration::from_millis(400);
    });
    let credentials = sim.credentials();
    let mut tail = example::example("tail");
    credentials.expose(|key, secret| {
        tail.env("APCA_API_KEY_ID", key)
            .env("APCA_API_SECRET_KEY", secret);
    });
    let url = format!("ws://{}/v2/iex", sim.local_addr());
    tail.args([
        "--channel",
        "trades",
        "--symbols",
        "AAPL",
        "--seconds",
        "60",
    ])
    .args(["--url", &url])
    .stdin(Stdio::null())
    .stdout(Stdio::piped());
    let mut child = example::Running(tail.spawn().unwrap());
    let mut lines = BufReader::new(child.0.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let is_event = |line: &String| line.starts_with(r#"{"kind":"event""#);
    let id = |line: &str| -> i64 {
        let (_, id) = line.split_once(r#""id":"#).unwrap();
        id.split(',').next().unwrap().parse().unwrap()
    };
    assert!(lines.any(|line| is_event(&line)));
    let process = Pid::from_child(&child.0);
    kill_process(process, Signal::STOP).unwrap();
    // Until the venue takes it for dead.
    loop {
        let event = seen.recv_timeout(GENEROUS).unwrap();
        if matches!(event, SimEvent::Closed { .. }) {
            break;
        }
    }
    kill_process(process, Signal::CONT).unwrap();
    // What was in the socket by then still comes, without a hole.
    let mut last = id(&lines.find(is_event).unwrap());
    let gap = loop {
        let line = lines.next().unwrap();
        if is_event(&line) {
            assert_eq!(id(&line), last + 1);
            last += 1;
        } else if !line.starts_with(r#"{"kind":"notice""#) {
            break line;
        }
    };
    assert!(gap.starts_with(r#"{"kind":"gap""#), "{gap}");
    let next = id(&lines.find(is_event).unwrap());
    assert!(next > last, "{next} behind {last}");
    assert_eq!(sim.stats().most_open_per_key, 1);
}

// ------------------------------------------------------------------------------------------------------------- packets

/// A line that drops what comes faster than it carries: a namespace of the network whose loopback has a short queue.
#[test]
fn a_line_that_drops_packets_delivers_every_event() {
    const NAME: &str = "scarcity::a_line_that_drops_packets_delivers_every_event";
    const SET_UP: &str = "ip link set lo mtu 1500 up && tc qdisc add dev lo root tbf rate 1mbit burst 3000 limit 6000";
    const MARK: &str = "TRUNKLINE_TEST_LOSSY";
    let in_namespace = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["-rn", "sh", "-c", script]);
        command
    };
    if std::env::var_os(MARK).is_none() {
        let tried = in_namespace(SET_UP).output();
        if !tried.as_ref().is_ok_and(|tried| tried.status.success()) {
            println!("skipped: no namespace of the network with a queue of its own: {tried:?}");
            return;
        }
        let ran = in_namespace(&format!(r#"{SET_UP} && exec "$0" "$@""#))
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture", "--test-threads=1"])
            .env(MARK, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&ran.stdout);
        assert!(
            ran.status.success() && text.contains("1 passed"),
            "{text}{}",
            String::from_utf8_lossy(&ran.stderr)
        );
        return;
    }
    let dropped = || -> u64 {
        let shown = Command::new("tc")
            .args(["-s", "qdisc", "show", "dev", "lo"])
            .output();
        let shown = String::from_utf8(shown.unwrap().stdout).unwrap();
        let (_, dropped) = shown.split_once("dropped ").unwrap();
        dropped.split([',', ' ']).next().unwrap().parse().unwrap()
    };
    // More than the line carries, so that its queue is always full.
    let sim = sim(|config| config.rate = 20_000);
    let handle = open(&patient(), &sim.stocks(), &credentials());
    let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let mut ledger = Ledger::new("lossy");
    until("packets are lost, and 500 trades are read", || {
        while let Ok(update) = trades.try_recv() {
            ledger.enter(&update);
        }
        dropped() >= 20 && ledger.events >= 500
    });
    assert_eq!((ledger.gaps, ledger.dropped, ledger.unparsed), (0, 0, 0));
}
