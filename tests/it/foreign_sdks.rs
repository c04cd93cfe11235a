//! Alpaca's own SDKs, pointed at the simulator by its URL and by nothing else: what they believe to be the venue is the
//! venue. Where one of them fails, it is right, and the simulator is wrong.
//!
//! Needs `python3` with `venv`, or `node` with `npm`, and their package indices. Without them a test says so and passes,
//! unless `TRUNKLINE_REQUIRE_PYTHON` or `TRUNKLINE_REQUIRE_NODE` is set.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: it panics, and stands outside the walls of the library"
)]

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use crate::example::{Ran, Running, example, run};
use crate::{foreign, support};
use trunkline::{
    Credentials,
    crossbeam_channel::{self, Receiver},
    sim::Accept,
};

const BOUND: Duration = Duration::from_secs(90);

#[test]
fn the_sdk_for_python_believes_the_simulator() {
    let Some(python) = foreign::python() else {
        return;
    };
    let simulator = Simulator::start();
    let ran = run(
        python_judge(&python).args(["everything", &simulator.url]),
        BOUND,
    );
    succeeded(&ran);
    // Five streams of one key, each on a path of its own, and each closed in good order.
    simulator.saw(
        &[
            ("/v2/iex", "msgpack"),
            ("/v2/sip", "msgpack"),
            ("/v1beta3/crypto/us", "msgpack"),
            ("/v1beta1/indicative", "msgpack"),
            ("/v1beta1/news", "msgpack"),
        ],
        "closed by the client",
    );
}

#[test]
fn the_sdk_for_python_stops_where_its_plan_ends() {
    let Some(python) = foreign::python() else {
        return;
    };
    let sim = support::sim(|config| config.not_in_plan = vec!["/v2/sip".to_owned()]);
    let url = format!("ws://{}", sim.local_addr());
    let ran = run(python_judge(&python).args(["refused", &url]), BOUND);
    succeeded(&ran);
    assert!(ran.stdout.contains("insufficient subscription"), "{ran:?}");
    assert_eq!(sim.stats().connections_opened, 1, "it does not try again");
}

#[test]
fn the_sdk_for_node_believes_the_simulator() {
    let Some(packages) = foreign::node() else {
        return;
    };
    let simulator = Simulator::start();
    let ran = run(
        node_judge(&packages).args(["everything", &simulator.url]),
        BOUND,
    );
    succeeded(&ran);
    simulator.saw(
        &[
            ("/v2/iex", "msgpack"),
            ("/v1beta3/crypto/us", "msgpack"),
            ("/v1beta1/opra", "msgpack"),
            ("/v1beta1/news", "msgpack"),
        ],
        "closed by the client",
    );
}

#[test]
fn the_sdk_for_node_knows_refusals_by_code_and_text() {
    let Some(packages) = foreign::node() else {
        return;
    };
    let sim = support::sim(|config| {
        config.not_in_plan = vec!["/v2/sip".to_owned()];
    });
    let refusing = support::sim(|config| {
        config.accept = Accept::Only(Credentials::new("PKNODE", "another-secret").unwrap());
    });
    let urls = [&refusing, &sim].map(|sim| format!("ws://{}", sim.local_addr()));
    let ran = run(node_judge(&packages).arg("refused").args(urls), BOUND);
    succeeded(&ran);
    assert_eq!(
        ran.stdout.trim(),
        r#"{"failed":["server_rejected",402],"why":"insufficient subscription"}"#
    );
}

fn python_judge(python: &Path) -> Command {
    let mut judge = Command::new(python);
    judge.arg(foreign::script("market_data.py"));
    judge
}

fn node_judge(packages: &Path) -> Command {
    let mut judge = Command::new("node");
    judge.arg(foreign::script("market_data.js")).arg(packages);
    judge
}

fn succeeded(ran: &Ran) {
    assert_eq!(ran.code(), Some(0), "{}\n{}", ran.stdout, ran.stderr);
}

/// The `simulator` example on a port of its own, as somebody would start it by hand.
struct Simulator {
    _program: Running,
    said: Receiver<String>,
    url: String,
}

impl Simulator {
    fn start() -> Self {
        let child = example("simulator")
            .args(["--listen", "127.0.0.1:0", "--rate", "1000"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut program = Running(child);
        let stdout = BufReader::new(program.0.stdout.take().unwrap());
        let (says, said) = crossbeam_channel::unbounded();
        // It ends with the program, or with whoever would hear it.
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let _ = says.send(line);
            }
        });
        let first = said.recv_timeout(BOUND).unwrap();
        let url = first
            .split_whitespace()
            .find_map(|word| word.strip_suffix("/v2/iex"))
            .unwrap_or_else(|| panic!("{first}"))
            .to_owned();
        Self {
            _program: program,
            said,
            url,
        }
    }

    /// Whether it told of one connection to each of these paths, in this codec, that was not refused anything and ended
    /// so.
    fn saw(&self, connections: &[(&str, &str)], end: &str) {
        let mut left = connections.len();
        let (mut said, mut closed) = (Vec::new(), 0);
        while closed < left {
            let line = self.said.recv_timeout(BOUND).unwrap();
            closed += usize::from(line.contains(" closed: "));
            said.push(line);
        }
        for (path, codec) in connections {
            let opened = |line: &&String| {
                line.contains(&format!(" opened {path} ")) && line.ends_with(codec)
            };
            left -= said.iter().filter(opened).count();
        }
        let ended = said.iter().filter(|line| line.ends_with(end)).count();
        let refused = said.iter().any(|line| line.contains(" refused: "));
        assert!(
            left == 0 && ended == connections.len() && !refused,
            "{said:#?}"
        );
    }
}
