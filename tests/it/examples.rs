//! The examples do what they say, with the exit codes that they say.

#![allow(clippy::panic, reason = "a test says what it found")]
#![allow(
    clippy::disallowed_methods,
    reason = "tests stand outside the walls of the library"
)]

#[path = "../../examples/price_watch/screen.rs"]
mod screen;

use std::{
    io::{BufRead as _, BufReader, Read},
    net::TcpListener,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use serde_json::Value;
use trunkline::{
    Credentials, crossbeam_channel as channel,
    sim::{Accept, Sim, SimConfig},
};

use crate::example::{Running, example, run};

const BOUND: Duration = Duration::from_secs(60);

fn lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

#[test]
fn quickstart_proves_what_it_claims() {
    let ran = run(example("quickstart").args(["--seconds", "2"]), BOUND);
    assert_eq!(ran.code(), Some(0), "{ran:?}");
    assert_eq!(ran.stderr, "");
    let row = |name: &str| {
        let row = ran
            .stdout
            .lines()
            .find_map(|line| line.trim_start().strip_prefix(name));
        row.unwrap_or_else(|| panic!("no `{name}`: {}", ran.stdout))
            .trim()
            .to_owned()
    };
    assert_eq!(row("connections opened"), "1");
    assert_eq!(row("shared by"), "3 handles, 2 subscriptions");
    assert_eq!(row("events lost"), "0");
    assert_eq!(row("connections left"), "0");
    assert!(row("events received").parse::<u64>().unwrap() > 100);
    if cfg!(target_os = "linux") {
        assert_eq!(row("threads left"), "0");
    }
    let shown = ran
        .stdout
        .lines()
        .filter(|line| {
            ["quotes ", "trades ", "health "]
                .iter()
                .any(|name| line.starts_with(name))
        })
        .count();
    assert!((8..=30).contains(&shown), "{}", ran.stdout);
    let widest = ran.stdout.lines().map(str::len).max();
    assert!(widest <= Some(60), "{}", ran.stdout);
}

#[test]
fn quickstart_names_what_it_has_no_credentials_in() {
    let ran = run(example("quickstart").arg("--live"), BOUND);
    assert_eq!(ran.code(), Some(1));
    assert!(ran.stderr.contains("APCA_API_KEY_ID"), "{}", ran.stderr);
    // Whoever has no keys at all learns how to do without.
    assert!(ran.stderr.contains("needs no keys"), "{}", ran.stderr);
}

#[test]
fn stress_finds_no_broken_promise() {
    let ran = run(
        example("stress").args(["--threads", "8", "--seconds", "3", "--seed", "7"]),
        BOUND,
    );
    assert_eq!(ran.code(), Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let summary = lines(&ran.stdout).pop().unwrap();
    for promise in [
        "limit_errors",
        "undeclared_losses",
        "duplicates",
        "threads_leaked",
        "connections_left",
        "panics",
        "unexpected",
    ] {
        assert_eq!(summary[promise], 0, "{promise} in {summary}");
    }
    assert_eq!(summary["most_open_per_key"], 1);
    assert_eq!(
        (&summary["threads"], &summary["seed"]),
        (&8.into(), &7.into())
    );
    for (count, least) in [
        ("operations", 11),
        ("connections_opened", 11),
        ("events", 11),
        ("user_panics", 2),
        ("user_blocks", 2),
        ("extreme_lines", 2),
        ("hostile_lines", 1),
    ] {
        assert!(
            summary[count].as_u64().unwrap() >= least,
            "{count} in {summary}"
        );
    }
    assert!(summary["longest_drop_ms"].as_f64() >= summary["median_drop_ms"].as_f64());
    assert!(ran.stderr.lines().count() >= 2, "{}", ran.stderr);
}

#[test]
fn stress_that_soaks_finds_nothing_that_grows() {
    let ran = run(
        example("stress").args(["--soak", "--threads", "3", "--seconds", "6", "--seed", "7"]),
        BOUND,
    );
    assert_eq!(ran.code(), Some(0), "{}\n{}", ran.stdout, ran.stderr);
    let summary = lines(&ran.stdout).pop().unwrap();
    assert_eq!(summary["grew"], Value::Array(Vec::new()), "{summary}");
    for count in ["operations", "connections_opened", "queue_events_percent"] {
        assert!(summary[count].as_u64().unwrap() > 1, "{count} in {summary}");
    }
    assert!(summary["heap_bytes"]["first"].as_u64().unwrap() > 10_000);
    assert!(ran.stderr.lines().count() >= 2, "{}", ran.stderr);
    let help = run(example("stress").arg("--help"), BOUND);
    assert!(help.stdout.contains("--soak"), "{}", help.stdout);
}

#[test]
fn tail_refuses_arguments_that_make_no_sense() {
    for arguments in [
        &["--symbols", "AAPL", "--channel", "gossip"][..],
        &["--channel", "trades"],
        &["--symbols", "AAPL", "--url", "http://localhost"],
        &["--symbols", "AAPL", "--max", "0"],
        &["--symbols", "AAPL", "--ca", "no such file"],
        &["--symbols", "aapl", "--seconds", "1"],
        &["--symbols", "A", "--feed", "test", "--channel", "dailyBars"],
        &["--symbols", "A", "--feed", "gossip"],
        &["--symbols", "A", "--codec", "morse"],
        &["--symbols", "*", "--feed", "opra", "--channel", "quotes"],
        &["--symbols", "*", "--feed", "opra", "--codec", "json"],
        &[
            "--symbols",
            "AAPL",
            "--url",
            "ws://localhost/v1beta3/crypto/us",
        ],
    ] {
        let ran = run(
            example("tail")
                .args(arguments)
                .env("APCA_API_KEY_ID", "PKTAIL")
                .env("APCA_API_SECRET_KEY", "tail-secret"),
            BOUND,
        );
        assert_eq!(ran.code(), Some(2), "{arguments:?}: {ran:?}");
        assert!(ran.stdout.is_empty() && !ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn tail_keeps_trying_where_nobody_listens_and_says_so() {
    let url = nowhere();
    let ran = run(
        example("tail")
            .args(["--symbols", "AAPL", "--seconds", "1", "--url", &url])
            .env("APCA_API_KEY_ID", "PKTAIL")
            .env("APCA_API_SECRET_KEY", "tail-secret"),
        BOUND,
    );
    assert_eq!(ran.code(), Some(3));
    let told = r#"{"kind":"notice","notice":"not_live","attempt":1,"#;
    assert!(ran.stdout.starts_with(told), "{}", ran.stdout);
    assert!(ran.stderr.starts_with("not live after"), "{}", ran.stderr);
    for why in [
        "not connected",
        "cannot connect",
        "refused",
        "what to do: check that",
    ] {
        assert!(ran.stderr.contains(why), "{}", ran.stderr);
    }
}

#[test]
fn tail_ends_with_what_the_venue_says_of_wrong_credentials_and_keeps_them_secret() {
    let mut config = SimConfig::default();
    config.accept = Accept::Only(Credentials::new("PKRIGHT", "right-secret").unwrap());
    let sim = Sim::start(config).unwrap();
    let url = sim.endpoint("/v2/iex").to_string();
    let ran = run(
        example("tail")
            .args(["--symbols", "AAPL", "--seconds", "30", "--url", &url])
            .env("APCA_API_KEY_ID", "PKWRONG")
            .env("APCA_API_SECRET_KEY", "wrong-secret")
            .env("RUST_LOG", "trace"),
        BOUND,
    );
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    let ended = lines(&ran.stdout).pop().unwrap();
    assert_eq!(ended["kind"], "ended");
    assert!(ran.stderr.contains("rejected the credentials"));
    assert!(
        ran.stderr
            .contains("what to do: use both halves of one pair")
    );
    for secret in ["wrong-secret", "PKWRONG"] {
        assert!(
            !ran.stdout.contains(secret) && !ran.stderr.contains(secret),
            "{ran:?}"
        );
    }
}

#[test]
fn tail_prints_each_update_as_a_line_and_stops_at_its_maximum() {
    let mut config = SimConfig::default();
    config.rate = 2_000;
    let sim = Sim::start(config).unwrap();
    let url = sim.endpoint("/v2/iex").to_string();
    let ran = run(
        example("tail")
            .args(["--symbols", "AAPL,MSFT", "--channel", "trades,quotes"])
            .args(["--channel", "bars", "--max", "200", "--seconds", "30"])
            .args(["--url", &url])
            .env("APCA_API_KEY_ID", "PKTAIL")
            .env("APCA_API_SECRET_KEY", "tail-secret"),
        BOUND,
    );
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""));
    let (events, others): (Vec<_>, Vec<_>) = lines(&ran.stdout)
        .into_iter()
        .partition(|line| line["kind"] == "event");
    assert_eq!(events.len(), 200);
    assert!(
        others.iter().all(|line| line["kind"] == "notice"),
        "{others:?}"
    );
    for (kind, field) in [("trade", "price"), ("quote", "ask_size"), ("bar", "vwap")] {
        let event = events.iter().find(|event| event["type"] == kind);
        let event = event.unwrap_or_else(|| panic!("no {kind}"));
        assert!(
            event[field].is_string() && event["timestamp"].is_string(),
            "{event}"
        );
        assert_eq!(event["epoch"], 1);
    }
}

/// Which feed it is follows from the path, and from the feed how it is encoded.
#[test]
fn tail_speaks_to_every_feed_in_every_codec() {
    let mut config = SimConfig::default();
    config.rate = 2_000;
    let sim = Sim::start(config).unwrap();
    for (path, codec, channel, kind) in [
        ("/v2/sip", "msgpack", "trades", "trade"),
        ("/v1beta3/crypto/us", "json", "orderbooks", "order_book"),
        ("/v1beta3/crypto/eu-1", "msgpack", "quotes", "quote"),
        ("/v1beta1/opra", "", "trades", "trade"),
        ("/v1beta1/indicative", "msgpack", "trades", "trade"),
        ("/v1beta1/news", "json", "news", "news"),
        ("/v1beta1/news", "msgpack", "news", "news"),
    ] {
        let url = sim.endpoint(path).to_string();
        let mut command = example("tail");
        command
            .args(["--symbols", "*", "--channel", channel, "--max", "3"])
            .args(["--seconds", "30", "--url", &url])
            .env("APCA_API_KEY_ID", "PKTAIL")
            .env("APCA_API_SECRET_KEY", "tail-secret");
        if !codec.is_empty() {
            command.args(["--codec", codec]);
        }
        let ran = run(&mut command, BOUND);
        assert_eq!(
            (ran.code(), ran.stderr.as_str()),
            (Some(0), ""),
            "{path} {codec}"
        );
        let lines = lines(&ran.stdout);
        let events: Vec<_> = lines
            .iter()
            .filter(|line| line["kind"] == "event")
            .collect();
        assert_eq!(events.len(), 3, "{path} {codec}");
        assert!(
            events.iter().all(|event| event["type"] == kind),
            "{lines:?}"
        );
    }
}

#[test]
fn tail_ends_quietly_when_nobody_reads_any_more() {
    let mut config = SimConfig::default();
    config.rate = 2_000;
    let sim = Sim::start(config).unwrap();
    let url = sim.endpoint("/v2/iex").to_string();
    let child = example("tail")
        .args(["--symbols", "*", "--seconds", "30", "--url", &url])
        .env("APCA_API_KEY_ID", "PKTAIL")
        .env("APCA_API_SECRET_KEY", "tail-secret")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut tail = Running(child);
    let mut line = String::new();
    {
        let stdout = tail.0.stdout.take().unwrap();
        BufReader::new(stdout).read_line(&mut line).unwrap();
    }
    assert!(
        line.starts_with(r#"{"kind":"notice","notice":"confirmed""#),
        "{line}"
    );
    // It has 30 s; the pipe is closed now, so it ends long before.
    let mut stderr = String::new();
    tail.0
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut stderr)
        .unwrap();
    let status = tail.0.wait().unwrap();
    assert_eq!((status.code(), stderr.as_str()), (Some(0), ""));
}

#[test]
fn price_watch_shows_a_row_per_symbol_with_prices_and_ages() {
    let ran = run(
        example("price_watch").args(["--seconds", "2", "--symbols", "AAPL,TSLA"]),
        BOUND,
    );
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""));
    assert!(!ran.stdout.contains('\u{1b}'), "{}", ran.stdout);
    let mut lines = ran.stdout.lines();
    let header: Vec<_> = lines.next().unwrap().split_whitespace().collect();
    assert_eq!(header, ["symbol", "bid", "ask", "last", "spread", "age"]);
    for symbol in ["AAPL", "TSLA"] {
        let mut rows = ran.stdout.lines().filter(|line| line.starts_with(symbol));
        let last: Vec<_> = rows.next_back().unwrap().split_whitespace().collect();
        let price = |at: usize| last[at].parse::<trunkline::Decimal>().unwrap();
        assert_eq!(price(2) - price(1), price(4), "{last:?}");
        assert!(price(3) > 0.into() && last[5].ends_with('s'), "{last:?}");
    }
}

#[test]
fn every_example_explains_itself() {
    for (name, flag) in [
        ("simulator", "--fault"),
        ("quickstart", "--live"),
        ("tail", "--channel"),
        ("stress", "--no-faults"),
        ("price_watch", "--max-age"),
        ("bot", "--paper"),
        ("select", "--seconds"),
        ("price_once", "--within"),
        ("orders", "Exit code"),
        ("echo_venue", "<AGENT>"),
    ] {
        let ran = run(example(name).arg("--help"), BOUND);
        assert_eq!(ran.code(), Some(0), "{ran:?}");
        assert!(ran.stdout.contains(flag), "{ran:?}");
        let ran = run(example(name).arg("--gossip"), BOUND);
        assert_eq!(
            (ran.code(), ran.stdout.as_str()),
            (Some(2), ""),
            "{name}: {ran:?}"
        );
        assert!(
            ran.stderr.contains("unexpected argument '--gossip'"),
            "{ran:?}"
        );
    }
}

/// What is asked wrongly is told as wrong arguments are, with what to do.
#[test]
fn an_example_that_is_asked_for_no_symbol_of_this_world_says_so() {
    for (name, arguments) in [
        ("quickstart", &["--symbols", "aapl"][..]),
        ("select", &["--symbols", "aapl"]),
        ("price_watch", &["--symbols", "aapl"]),
        ("price_once", &["aapl"]),
    ] {
        let ran = run(example(name).args(arguments), BOUND);
        assert_eq!(ran.code(), Some(2), "{name}: {ran:?}");
        for part in ["`aapl`", "what to do: correct"] {
            assert!(ran.stderr.contains(part), "{name}: {ran:?}");
        }
    }
}

/// An address at which nobody listens.
fn nowhere() -> String {
    let listener = TcpListener::bind("127.0.0.1:0");
    let address = listener.and_then(|listener| listener.local_addr());
    format!("ws://{}/v2/iex", address.expect("loopback has a free port"))
}

#[test]
fn an_example_that_cannot_connect_says_why_while_it_tries() {
    for (name, arguments, code, reason) in [
        (
            "quickstart",
            &["--seconds", "1"][..],
            1,
            "connecting, attempt 1: cannot connect",
        ),
        (
            "select",
            &["--seconds", "1"],
            0,
            "connecting, attempt 1: cannot connect",
        ),
        (
            "price_once",
            &["AAPL", "--within", "3"],
            3,
            "connecting: cannot connect",
        ),
    ] {
        let ran = run(
            example(name)
                .args(arguments)
                .args(["--url", &nowhere()])
                .env("APCA_API_KEY_ID", "PKNOWHERE")
                .env("APCA_API_SECRET_KEY", "nowhere-secret"),
            BOUND,
        );
        assert_eq!(ran.code(), Some(code), "{name}: {ran:?}");
        let first = ran.stderr.lines().next().unwrap_or_default();
        assert!(
            first.starts_with(reason) && first.contains("refused"),
            "{name}: {ran:?}"
        );
    }
}

#[test]
fn price_watch_says_why_there_is_no_price() {
    let ran = run(
        example("price_watch")
            .args(["--seconds", "1", "--symbols", "AAPL", "--url", &nowhere()])
            .env("APCA_API_KEY_ID", "PKNOWHERE")
            .env("APCA_API_SECRET_KEY", "nowhere-secret"),
        BOUND,
    );
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let row = ran.stdout.lines().last().unwrap();
    assert!(row.starts_with("AAPL     cannot connect"), "{row}");
    assert!(row.contains("refused"), "{row}");
}

/// As `NAME | head -1` does.
#[test]
fn every_example_ends_quietly_when_nobody_reads_any_more() {
    for (name, arguments) in [
        ("quickstart", &["--seconds", "20"][..]),
        ("select", &["--seconds", "20"]),
        ("price_watch", &["--seconds", "20"]),
        ("bot", &["--seconds", "20"]),
        ("orders", &[]),
    ] {
        let child = example(name)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut running = Running(child);
        let mut line = String::new();
        BufReader::new(running.0.stdout.take().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(!line.is_empty(), "{name}");
        let mut stderr = String::new();
        let mut pipe = running.0.stderr.take().unwrap();
        pipe.read_to_string(&mut stderr).unwrap();
        let status = running.0.wait().unwrap();
        assert_eq!((status.code(), stderr.as_str()), (Some(0), ""), "{name}");
    }
}

/// What a program still writes until it ends, which has to be soon.
#[cfg(unix)]
fn rest_of(mut pipe: impl Read + Send + 'static) -> String {
    let (tell, told) = channel::bounded(1);
    thread::spawn(move || {
        let mut rest = String::new();
        let read = pipe.read_to_string(&mut rest);
        tell.send(read.map(|_| rest))
    });
    let rest = told.recv_timeout(BOUND).expect("it ends in time");
    rest.expect("it is text")
}

/// Whoever stops it early gets what there is.
#[test]
#[cfg(unix)]
fn ctrl_c_ends_an_example_with_its_summary() {
    for (name, code, summary) in [
        ("select", 0, " trades"),
        ("quickstart", 0, "proved: one connection, "),
    ] {
        let mut command = example(name);
        command.args(["--seconds", "100000"]).stdout(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let mut stdout = BufReader::new(running.0.stdout.take().unwrap());
        let mut lines = stdout.by_ref().lines().map(Result::unwrap);
        // Trades and quotes come once both were confirmed, and so the line is whole.
        assert!(lines.any(|line| line.contains("ask")));
        assert!(lines.any(|line| line.contains("trade")));
        let interrupted = Command::new("kill")
            .args(["-INT", &running.0.id().to_string()])
            .status()
            .unwrap();
        assert!(interrupted.success());
        let rest = rest_of(stdout);
        let last = rest.lines().last().unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(code), "{name}");
        assert!(last.contains(summary), "{name}: {last}");
    }
}

#[test]
#[cfg(unix)]
fn ctrl_c_ends_stress_with_its_summary() {
    for soak in [&[][..], &["--soak"]] {
        let mut command = example("stress");
        command
            .args(["--threads", "2", "--seconds", "100000"])
            .args(soak)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut running = Running(command.spawn().unwrap());
        let mut progress = String::new();
        let mut stderr = BufReader::new(running.0.stderr.take().unwrap());
        stderr.read_line(&mut progress).unwrap();
        assert!(progress.contains(" s  "), "{progress}");
        let interrupted = Command::new("kill")
            .args(["-INT", &running.0.id().to_string()])
            .status()
            .unwrap();
        assert!(interrupted.success());
        let stdout = rest_of(running.0.stdout.take().unwrap());
        stderr.read_to_string(&mut progress).unwrap();
        assert_eq!(running.0.wait().unwrap().code(), Some(0), "{progress}");
        let summary = lines(&stdout).pop().unwrap();
        assert!(summary["operations"].as_u64().unwrap() > 0, "{summary}");
    }
}

#[test]
fn select_prints_what_both_subscriptions_bring() {
    let ran = run(example("select").args(["--seconds", "2"]), BOUND);
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let shown = |word: &str| {
        ran.stdout
            .lines()
            .filter(|line| line.contains(word))
            .count()
    };
    let (quoted, traded) = (shown(" ask "), shown(" traded "));
    assert!(quoted > 10 && traded > 10, "{ran:?}");
    let last = ran.stdout.lines().last().unwrap();
    assert!(
        last.starts_with(&format!("{quoted} quotes and ")),
        "{last}, not {quoted}"
    );
    assert!(ran.stdout.lines().all(|line| line.len() <= 60), "{ran:?}");
}

#[test]
fn price_once_prints_a_price_and_nothing_else() {
    let ran = run(example("price_once").arg("AAPL"), BOUND);
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let price: trunkline::Decimal = ran.stdout.trim_end().parse().unwrap();
    assert!(price > 0.into());
}

#[test]
fn orders_tells_what_to_do_when_the_line_broke() {
    let ran = run(&mut example("orders"), BOUND);
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let told: Vec<_> = ran.stdout.lines().collect();
    assert_eq!(
        told,
        [
            "filled: 100 at 150, position 100",
            "the line broke: no orders until I know my position",
            "it is back: GET https://paper-api.alpaca.markets/v2/orders",
            "filled: 40 at 151, position 60",
            "2 fills, 1 break of the line",
        ]
    );
    assert!(told.iter().all(|line| line.len() <= 60), "{told:?}");
}

mod price_watch_on_a_terminal {
    use ratatui::{Terminal, backend::TestBackend};

    use super::screen::{HEADER, Row, draw};

    fn prices(symbol: &str, state: &'static str) -> Row {
        Row::Prices {
            symbol: symbol.to_owned(),
            bid: "404.63".to_owned(),
            ask: "404.67".to_owned(),
            last: "404.6512".to_owned(),
            spread: "0.04".to_owned(),
            age: "12.5ms".to_owned(),
            state,
        }
    }

    /// What the terminal shows, line by line.
    fn shown(width: u16, height: u16, rows: &[Row], first: usize, line: &str) -> Vec<String> {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| draw(frame, rows, first, line))
            .unwrap();
        let cells = terminal.backend().buffer().content();
        cells
            .chunks(width.into())
            .map(|cells| {
                let text: String = cells.iter().map(ratatui::buffer::Cell::symbol).collect();
                text.trim_end().to_owned()
            })
            .collect()
    }

    const SIZES: [(u16, u16); 3] = [(60, 15), (80, 24), (200, 50)];

    #[test]
    fn every_row_is_one_line_on_a_terminal_of_any_size() {
        let why = "cannot resolve the host name: failed to lookup address information: Temporary failure in name \
            resolution, which is longer than any terminal is wide: it goes on and on and on, and is to be cut where it ends";
        let rows = [
            prices("AAPL", ""),
            prices("MSFT", "missed"),
            Row::Nothing {
                symbol: "NVDA".to_owned(),
                why: why.to_owned(),
            },
            prices("TSLA", ""),
        ];
        for (width, height) in SIZES {
            let shown = shown(width, height, &rows, 0, "waiting: cannot connect");
            assert_eq!(shown[0], HEADER, "{width}");
            for (row, line) in rows.iter().zip(&shown[1..]) {
                let cut: String = row.text().chars().take(width.into()).collect();
                assert_eq!(*line, cut.trim_end(), "{width}");
            }
            assert!(shown[2].ends_with(" missed"), "{width}: {shown:?}");
            assert!(shown[3].starts_with("NVDA     cannot resolve the host name"));
            assert_eq!(
                shown[usize::from(height) - 1],
                "waiting: cannot connect; q ends"
            );
        }
    }

    #[test]
    fn more_symbols_than_rows_can_be_walked_through() {
        let rows: Vec<_> = (0..100).map(|n| prices(&format!("S{n}"), "")).collect();
        for (width, height) in SIZES {
            // Header, what is left out, and how the line is.
            let room = usize::from(height) - 3;
            for first in [0, 1, 99] {
                let shown = shown(width, height, &rows, first, "live, 7 events");
                let seen = shown[1..=room].iter().filter(|line| !line.is_empty());
                let count = room.min(100 - first);
                assert_eq!(seen.count(), count, "{width}");
                assert!(shown[1].starts_with(&format!("S{first} ")), "{width}");
                assert_eq!(
                    shown[room + 1],
                    format!("{} of 100 symbols are not shown: up, down", 100 - count)
                );
            }
        }
        for (width, height) in [(1, 1), (5, 2), (20, 3)] {
            shown(width, height, &rows, 0, "live");
        }
    }
}

#[test]
fn bot_says_what_it_does_not_know_the_worth_of() {
    let mut command = example("bot");
    command.args(["--seconds", "50"]).stdout(Stdio::piped());
    let mut bot = Running(command.spawn().unwrap());
    let stdout = BufReader::new(bot.0.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    // The simulator's orders are in symbols that no strategy watches. From the first fill on they are watched.
    let fill = lines.find(|line| line.contains("worth unknown")).unwrap();
    let symbol = fill.split(' ').next().unwrap();
    assert!(!["AAPL", "MSFT"].contains(&symbol), "{fill}");
    let again = lines.find(|line| line.starts_with(symbol) && line.contains("position"));
    let again = again.expect("the simulator fills more of it");
    assert!(!again.contains("unknown"), "{again}");
}

#[test]
fn bot_ends_in_the_same_good_order_whatever_ends_it() {
    for (arguments, code, says) in [
        (&["--seconds", "2"][..], 0, "AAPL has ended\n"),
        (&["--trouble", "fail"], 1, " has failed: told to fail\n"),
        (&["--trouble", "panic"], 1, " has failed: it panicked\n"),
    ] {
        let ran = run(example("bot").args(arguments), BOUND);
        assert_eq!(ran.code(), Some(code), "{ran:?}");
        assert!(ran.stdout.contains(says), "{}", ran.stdout);
        assert!(ran.stdout.contains("risk has ended\n"), "{}", ran.stdout);
        for line in ["/stream [", "/v2/iex ["] {
            let lines = ran.stdout.lines();
            let ended = lines.filter(|shown| shown.contains(line) && shown.contains("ended after"));
            assert_eq!(ended.count(), 1, "{}", ran.stdout);
        }
    }
}

#[test]
#[cfg(unix)]
fn bot_ends_in_good_order_on_ctrl_c_after_it_has_seen_fills() {
    let mut bot = Running(example("bot").stdout(Stdio::piped()).spawn().unwrap());
    let stdout = BufReader::new(bot.0.stdout.take().unwrap());
    let mut lines = stdout.lines().map(Result::unwrap);
    // A fill names its position.
    assert!(lines.any(|line| line.contains("position") && line.contains("worth")));
    let interrupted = Command::new("kill")
        .args(["-INT", &bot.0.id().to_string()])
        .status()
        .unwrap();
    assert!(interrupted.success());
    let rest: Vec<String> = lines.collect();
    assert_eq!(bot.0.wait().unwrap().code(), Some(0), "{rest:?}");
    let ended = rest.iter().filter(|line| line.contains("ended after"));
    assert_eq!(ended.count(), 2, "{rest:?}");
}

#[test]
fn bot_on_paper_names_what_it_has_no_credentials_in() {
    let ran = run(example("bot").arg("--paper"), BOUND);
    assert_eq!(ran.code(), Some(1));
    assert!(ran.stderr.contains("APCA_API_KEY_ID"), "{}", ran.stderr);
}

#[test]
fn tail_prints_order_updates_with_their_orders() {
    let mut config = SimConfig::default();
    config.rate = 5_000;
    let sim = Sim::start(config).unwrap();
    let url = sim.endpoint("/stream").to_string();
    let ran = run(
        example("tail")
            .args(["--orders", "--seconds", "30", "--max", "60", "--url", &url])
            .env("APCA_API_KEY_ID", "PKTAIL")
            .env("APCA_API_SECRET_KEY", "tail-secret"),
        BOUND,
    );
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let lines = lines(&ran.stdout);
    assert_eq!(lines[0]["topics"][0], "trade_updates:*");
    let events = &lines[1..];
    assert_eq!(events.len(), 60);
    for event in events {
        assert_eq!(
            (&event["kind"], &event["type"]),
            (&"event".into(), &"order_update".into())
        );
        assert_eq!(event["symbol"], event["order"]["symbol"]);
        assert!(event["order"]["status"].is_string() && event["timestamp"].is_string());
        assert!(event["order"]["filled_qty"].is_string(), "{event}");
    }
    let fill = events
        .iter()
        .find(|event| event["event"] == "fill")
        .unwrap();
    assert!(
        fill["price"].is_string() && fill["qty"].is_string(),
        "{fill}"
    );
    assert_eq!(fill["epoch"], 1);
}

#[test]
fn tail_refuses_a_key_of_the_other_account() {
    let ran = run(
        example("tail")
            .args([
                "--orders",
                "--seconds",
                "30",
                "--url",
                "ws://127.0.0.1:9/stream",
            ])
            .env("APCA_API_KEY_ID", "AKLIVE")
            .env("APCA_API_SECRET_KEY", "tail-secret"),
        BOUND,
    );
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    assert!(ran.stderr.contains("this is a live key"), "{}", ran.stderr);
}
