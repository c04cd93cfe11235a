//! Against a server that this crate has no part in: Python's `websockets`, and frames written by hand.
//!
//! Needs `python3` with `venv`, and a package index. Without them the test says so and passes, unless
//! `TRUNKLINE_REQUIRE_PYTHON` is set.

use std::{
    io::{BufRead as _, BufReader},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use crate::example::{Running, example, run};
use crate::foreign;

const BOUND: Duration = Duration::from_secs(60);

#[test]
fn a_foreign_server_is_read_exactly() {
    let Some(python) = foreign::python() else {
        return;
    };
    let (_server, port) = serve(&python);
    let url = format!("ws://127.0.0.1:{port}/v2/iex");
    let ran = run(
        tail(&url, "foreign-secret")
            .args(["--channel", "trades,quotes", "--channel", "bars,dailyBars"])
            .args(["--max", "7"]),
        BOUND,
    );
    assert_eq!((ran.code(), ran.stderr.as_str()), (Some(0), ""), "{ran:?}");
    let lines: Vec<_> = ran.stdout.lines().collect();
    for (line, wanted) in lines.iter().zip(LINES) {
        // The time of the read, which no test can know.
        let (line, _) = line.split_once(r#","at":"#).unwrap_or((line, ""));
        match wanted.strip_suffix('…') {
            Some(start) => assert!(line.starts_with(start), "{line}"),
            None => assert_eq!(line, wanted),
        }
    }
    assert_eq!(lines.len(), LINES.len(), "{}", ran.stdout);

    let ran = run(&mut tail(&url, "wrong-secret"), BOUND);
    assert_eq!(ran.code(), Some(2), "{ran:?}");
    assert!(ran.stderr.contains("402"), "{}", ran.stderr);
}

/// What `foreign/server.py` sends, as `tail` prints it. Behind `…` stand words of another crate's.
const LINES: [&str; 10] = [
    r#"{"kind":"notice","notice":"confirmed","topics":["bars:KO","bars:PEP","dailyBars:KO","dailyBars:PEP","quotes:KO","quotes:PEP","trades:KO","trades:PEP"]}"#,
    r#"{"kind":"event","type":"trade","symbol":"KO","id":71204,"exchange":"P","price":"61.275","size":"40","taker_side":"","conditions":["@","I"],"tape":"A","update":"","timestamp":"2026-03-17T14:30:05.12Z","epoch":1}"#,
    r#"{"kind":"event","type":"quote","symbol":"PEP","bid_exchange":"","bid_price":"152.1","bid_size":"2","ask_exchange":"Q","ask_price":"140","ask_size":"1","exchange":"","conditions":["R"," "],"tape":"C","timestamp":"2026-03-17T14:30:05.123456789Z","epoch":1}"#,
    r#"{"kind":"event","type":"trade","symbol":"KO","id":9007199254740993,"exchange":"V","price":"187.12345678901234","size":"0.5","taker_side":"","conditions":[],"tape":"<","update":"","timestamp":"2026-03-17T14:30:06Z","epoch":1}"#,
    r#"{"kind":"unparsed","raw":"{\"T\":\"zz\",\"S\":\"KO\",\"what\":\"is this\"}","why":"unknown message type `zz`","concerns":"nobody","more":0"#,
    r#"{"kind":"event","type":"bar","symbol":"KO","interval":"minute","open":"0.0000001","high":"140","low":"0.0000001","close":"1.50","volume":"0","trade_count":3,"vwap":null,"exchange":"","timestamp":"2026-03-17T14:29:00Z","epoch":1}"#,
    r#"{"kind":"unparsed","raw":"{\"T\":\"t\",\"S\":\"KO\",\"i\":71205,\"x\":\"P\",\"p\":null,\"s\":1,\"c\":[\"@\"],\"z\":\"A\",\"t\":\"2026-03-17T14:30:07Z\"}","why":"there is nothing in field `p`…"#,
    r#"{"kind":"event","type":"bar","symbol":"KO","interval":"day","open":"60","high":"62.5","low":"59.99","close":"61","volume":"12345678","trade_count":null,"vwap":null,"exchange":"","timestamp":"2026-03-17T04:00:00Z","epoch":1}"#,
    r#"{"kind":"event","type":"correction","symbol":"KO","exchange":"P","original_id":71204,"original_price":"61.275","original_size":"40","original_conditions":["@"],"corrected_id":71300,"corrected_price":"61.28","corrected_size":"41","corrected_conditions":["@"],"tape":"A","timestamp":"2026-03-17T14:30:08Z","epoch":1}"#,
    r#"{"kind":"event","type":"cancel","symbol":"KO","id":71300,"exchange":"P","price":"61.28","size":"41","action":"C","tape":"A","timestamp":"2026-03-17T14:30:09.5Z","epoch":1}"#,
];

fn tail(url: &str, secret: &str) -> Command {
    let mut tail = example("tail");
    tail.args(["--symbols", "KO,PEP", "--seconds", "30", "--url", url])
        .env("APCA_API_KEY_ID", "PKFOREIGN")
        .env("APCA_API_SECRET_KEY", secret);
    tail
}

/// The server and its port.
fn serve(python: &Path) -> (Running, u16) {
    let child = Command::new(python)
        .arg(foreign::script("server.py"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python starts");
    let mut server = Running(child);
    let mut port = String::new();
    let stdout = server.0.stdout.take().expect("it is piped");
    BufReader::new(stdout)
        .read_line(&mut port)
        .expect("it can be read");
    let port = port.trim().parse().expect("the server prints its port");
    (server, port)
}
