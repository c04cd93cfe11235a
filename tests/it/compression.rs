//! permessage-deflate (RFC 7692): what a server compresses is read as if it had not been, and a server that breaks the
//! rules of it costs a gap. `src/transport/inflate` has the rules, one by one.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "a test: it panics, and stands outside the walls of the library"
)]

use std::{
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{
    GENEROUS, Line, Peer, Venue, brisk, credentials, failure, hurried, ledger::Ledger, open,
    patient, trade, trade_id, until_no_thread,
};
use crate::{example, foreign};
use trunkline::{
    Config, Error, ErrorKind, Manager, Phase, Update,
    alpaca::{self, Account, MarketData},
    sim::{Sim, SimConfig},
    venue::Venue as _,
};
use tungstenite::Message;

fn compressing(mut config: Config) -> Config {
    config.compression = true;
    config
}

fn sim(compresses: bool) -> Sim {
    let mut config = SimConfig::default();
    config.rate = 5_000;
    config.compression = compresses;
    Sim::start(config).unwrap()
}

/// Bytes for each event, of so many trades. None is missing.
fn cost(config: &Config, venue: &MarketData, trades: u64) -> f64 {
    let credentials = credentials();
    let handle = open(config, venue, &credentials);
    let reader = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let mut ledger = Ledger::new("compressed");
    while ledger.events < trades {
        ledger.enter(&reader.recv_timeout(GENEROUS).unwrap());
    }
    assert_eq!((ledger.gaps, ledger.unparsed, ledger.dropped), (0, 0, 0));
    let counters = handle.health().counters;
    drop((reader, handle));
    until_no_thread(&credentials);
    counters.bytes as f64 / counters.events as f64
}

#[test]
fn what_is_compressed_is_read_as_if_it_were_not_and_costs_less_than_half() {
    let [plain, compressed] = [false, true].map(sim);
    let [off, on] = [patient(), compressing(patient())];
    // Whichever side does not want it, there is none.
    let whole = cost(&off, &plain.stocks(), 500);
    for (config, sim) in [(&off, &compressed), (&on, &plain)] {
        let cost = cost(config, &sim.stocks(), 500);
        assert!((cost - whole).abs() < whole / 5.0, "{cost} of {whole}");
    }
    let less = cost(&on, &compressed.stocks(), 500);
    assert!(less < whole / 2.0, "{less} of {whole}");
}

#[test]
fn it_is_offered_only_where_it_is_wanted_and_the_venue_takes_it() {
    const OFFER: &str = "sec-websocket-extensions: permessage-deflate; client_no_context_takeover; client_max_window_bits";
    let (heads, seen) = crossbeam_channel::unbounded();
    let peer = Peer::start(move |mut line| {
        let head = line
            .head()
            .into_iter()
            .map(|line| line.to_ascii_lowercase());
        let offers: Vec<_> = head.filter(|line| line.contains("extensions")).collect();
        heads.send(offers).unwrap();
        line.drain();
    });
    let [off, on] =
        [patient(), compressing(patient())].map(|config| Manager::with_config(config).unwrap());
    let stocks = peer.stocks();
    let denied = stocks.clone().with_rules(|rules| rules.compresses(false));
    // The venue's documentation of these does not speak of it.
    let orders = alpaca::order_updates(Account::Paper).at(stocks.endpoint().clone());
    let next = || seen.recv_timeout(GENEROUS).unwrap();
    let _on = on.open(&stocks, &credentials()).unwrap();
    assert_eq!(next(), [OFFER]);
    let _off = off.open(&stocks, &credentials()).unwrap();
    assert!(next().is_empty());
    let _denied = on.open(&denied, &credentials()).unwrap();
    assert!(next().is_empty());
    let _orders = on.open(&orders, &credentials()).unwrap();
    assert!(next().is_empty());

    let shared = credentials();
    let first = on.open(&stocks, &shared).unwrap();
    let error = off.open(&stocks, &shared).unwrap_err();
    let ErrorKind::SettingsConflict { differences, .. } = error.kind() else {
        panic!("{error:?}")
    };
    assert!(
        matches!(&differences[..], [one] if one.name == "compression" && (&*one.open, &*one.asked) == ("true", "false")),
        "{error:?}"
    );
    drop(first);
}

// -------------------------------------------------------------------------------------------------------- broken servers

/// Upgrades with these headers.
fn upgrade(line: &mut Line, extensions: &str) -> Venue<std::net::TcpStream> {
    let key = line.request();
    let accept = tungstenite::handshake::derive_accept_key(key.as_bytes());
    line.write(format!(
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: {accept}\r\nSec-WebSocket-Extensions: {extensions}\r\n\r\n"
    ));
    Venue::upgraded(line.stream.try_clone().unwrap())
}

#[test]
fn a_server_that_does_not_answer_the_offer_is_told_apart_and_tried_again() {
    for answer in [
        "permessage-deflate; client_max_window_bits",
        "permessage-deflate; server_max_window_bits=16",
        "permessage-deflate; level=9",
        "permessage-deflate; server_no_context_takeover; server_no_context_takeover",
        "permessage-deflate, permessage-deflate",
        "permessage-bzip2",
    ] {
        let peer = Peer::start(move |mut line| {
            upgrade(&mut line, answer);
            line.drain();
        });
        let credentials = credentials();
        let handle = open(&compressing(patient()), &peer.stocks(), &credentials);
        let error = failure(&handle);
        assert_eq!(
            (error.code(), error.is_retryable()),
            ("protocol", true),
            "{answer}: {error:?}"
        );
        assert_eq!(error.phase(), Some(Phase::Upgrading), "{answer}");
        drop(handle);
        until_no_thread(&credentials);
    }
}

#[test]
fn a_message_that_cannot_be_inflated_costs_a_gap_and_the_line_comes_back() {
    // 64 MiB of nothing, in 64 KiB.
    let bomb = miniz_oxide::deflate::compress_to_vec(&vec![b' '; 64 << 20], 9);
    assert!(bomb.len() < 1 << 17);
    let mut giant = vec![0xc1, 127];
    giant.extend((bomb.len() as u64).to_be_bytes());
    giant.extend(&bomb);
    for (name, code, frames) in [
        ("no deflate", 1007, vec![0xc1, 1, 7]),
        ("broken off", 1007, vec![0xc1, 3, 0xf2, 0x48, 0xcd]),
        (
            "another between its fragments",
            1002,
            vec![0x41, 2, 0xf2, 0x48, 0x81, 2, b'[', b']'],
        ),
        ("a compressed ping", 1002, vec![0xc9, 1, 0]),
        (
            "a compressed continuation",
            1002,
            vec![0x41, 2, 0xf2, 0x48, 0xc0, 1, 0],
        ),
        (
            "announced too large",
            1009,
            vec![0xc1, 127, 0, 0, 1, 0, 0, 0, 0, 0],
        ),
        ("a bomb", 1009, giant),
    ] {
        let (codes, closed) = crossbeam_channel::unbounded();
        let peer = Peer::start(move |mut line| {
            let mut venue = upgrade(&mut line, "permessage-deflate");
            venue.log_in();
            venue.confirm();
            venue.say(format!("[{}]", trade(2 * line.number as i64 + 1)));
            if line.number == 0 {
                line.write(&frames);
                while let Ok(message) = venue.0.read() {
                    if let Message::Close(Some(frame)) = message {
                        codes.send(u16::from(frame.code)).unwrap();
                    }
                }
            } else {
                venue.serve();
            }
        });
        let credentials = credentials();
        let config = compressing(brisk());
        let venue = peer.stocks().with_rules(hurried);
        let handle = open(&config, &venue, &credentials);
        let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
        let (mut ids, mut causes) = (Vec::new(), Vec::new());
        while !ids.contains(&3) {
            let update = trades.recv_timeout(GENEROUS).unwrap();
            ids.extend(trade_id(&update));
            if let Update::Gap(gap) = &update {
                causes.push(gap.cause.clone());
            }
        }
        assert_eq!(ids, [1, 3], "{name}");
        let codes: Vec<_> = causes.iter().map(Error::code).collect();
        assert_eq!(codes, ["protocol"], "{name}: {causes:?}");
        assert_eq!(closed.recv_timeout(GENEROUS), Ok(code), "{name}");
        drop((trades, handle));
        until_no_thread(&credentials);
    }
}

// -------------------------------------------------------------------------------------------------- a server of others'

/// Needs `python3` with `venv`, and a package index. Without them the test says so and passes, unless
/// `TRUNKLINE_REQUIRE_PYTHON` is set.
#[test]
fn a_foreign_server_that_compresses_is_read_exactly_whatever_it_asks_for() {
    const BOUND: Duration = Duration::from_secs(240);
    let Some(python) = foreign::python() else {
        return;
    };
    let child = Command::new(python)
        .arg(foreign::script("deflate.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut server = example::Running(child);
    let mut lines = BufReader::new(server.0.stdout.take().unwrap()).lines();
    let ports = lines.next().unwrap().unwrap();
    for port in ports.split(' ') {
        let url = format!("ws://127.0.0.1:{port}");
        let mut echo = example::example("echo_venue");
        let ran = example::run(echo.args([&url, "trunkline", "--compress"]), BOUND);
        assert_eq!(ran.code(), Some(0), "{}{}", ran.stdout, ran.stderr);
        let report = lines.next().unwrap().unwrap();
        let (parameters, verdict) = report.rsplit_once(": ").unwrap();
        assert_eq!(verdict, "[]", "{parameters}");
        let done = parameters.split(": ").last().unwrap();
        let (done, all) = done.split_once(" of ").unwrap();
        assert!(all.starts_with(&format!("{done} ")), "{report}");
    }
}
