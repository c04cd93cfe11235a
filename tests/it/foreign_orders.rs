//! Alpaca's own SDK for Python reads the simulator's order updates, told of it by its URL and by nothing else. Where it
//! fails, it is right, and the simulator is wrong.
//!
//! Needs `python3` with `venv`, and a package index. Without them a test says so and passes, unless
//! `TRUNKLINE_REQUIRE_PYTHON` is set.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test: it panics, and stands outside the walls of the library"
)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use trunkline::{Credentials, sim::Accept};

use crate::example::{Ran, Running, example, run};
use crate::{foreign, support};

const BOUND: Duration = Duration::from_secs(150);

/// What the SDK says of the stream at `url`.
fn judge(what: &str, url: &str) -> Option<Ran> {
    let mut judge = Command::new(foreign::python()?);
    judge.arg(foreign::script("order_updates.py"));
    Some(run(judge.args([what, url]), BOUND))
}

#[test]
fn the_sdk_for_python_reads_every_kind_of_order_update_and_stops() {
    let mut simulator = example("simulator");
    simulator.args(["--listen", "127.0.0.1:0", "--rate", "20000"]);
    let mut simulator = Running(simulator.stdout(Stdio::piped()).spawn().unwrap());
    let said = BufReader::new(simulator.0.stdout.take().unwrap());
    let mut said = said.lines().map(Result::unwrap);
    let greeting = said.next().unwrap();
    let (_, rest) = greeting.split_once("ws://").unwrap();
    let (address, _) = rest.split_once('/').unwrap();
    let Some(ran) = judge("everything", &format!("ws://{address}/stream")) else {
        return;
    };
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    let events: Value = serde_json::from_str(&ran.stdout).unwrap();
    for event in [
        "new",
        "fill",
        "partial_fill",
        "canceled",
        "replaced",
        "held",
    ] {
        assert!(events[event].as_u64() > Some(0), "{event} in {events}");
    }
    let ended = said.find(|line| line.contains("closed: "));
    assert!(ended.unwrap().contains("closed by the client"));
}

#[test]
fn the_sdk_for_python_knows_that_it_was_refused() {
    let right = Credentials::new("PKRIGHT", "right-secret").unwrap();
    let sim = support::sim(|config| config.accept = Accept::Only(right));
    // The address of older versions of it.
    let url = format!("ws://{}/stream/", sim.local_addr());
    let Some(ran) = judge("refused", &url) else {
        return;
    };
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert!(ran.stdout.contains("failed to authenticate"), "{ran:?}");
    assert_eq!(sim.stats().auth_failures, 1);
}
