//! No secret in any log, text or memory: a whole life with a canary for credentials, in a process of its own.
//!
//! The server's side is in this process, on bare sockets; the client's is in a child process, this same binary run
//! again for one test. So every record that is captured there, and every byte of memory, is the client's.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test: it panics, it has its own clock, and the child reports on its standard output"
)]

mod support;

use std::{
    collections::BTreeSet,
    fmt::{self, Write as _},
    io::{ErrorKind, Read, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use support::{WAIT, eventually, quick};
use trunkline::{
    Credentials, EndReason, Error, Manager, RejectionKind, StreamHandle, Subscription, TradeEvent,
    Update,
    alpaca::{self, Feed, MarketData},
};
use tungstenite::handshake::derive_accept_key;

/// Set in the child: where the server is.
const SERVER: &str = "TRUNKLINE_TEST_SERVER";
/// Printed by a child that came to its end.
const DONE: &str = "the child came to its end";

const WELCOME: &str = r#"[{"T":"success","msg":"connected"}]"#;
const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;

// ---------------------------------------------------------------------------------------------------- the canaries

#[derive(Clone, Copy)]
struct Canary {
    key: &'static str,
    secret: &'static str,
}

const PLAIN: Canary = Canary {
    key: "PKCANARY7KEYQ2ZX81",
    secret: "cAnArYsEcReT0f5H9k3LmN7pQ2rS4tV6wX8yZ1bD",
};

/// Everything that some encoding or other treats apart.
const ODD: Canary = Canary {
    key: r#"PKodd"key\id&<7>/Q2"#,
    secret: r#"0dd"sE\cR&eT<a>/b+c=d%40?x'y#z:{w}[v]"#,
};

impl Canary {
    /// As the inside of a JSON string. Cut by hand: a quote at the end would be trimmed off otherwise.
    fn key_json(self) -> String {
        inside(self.key)
    }

    fn secret_json(self) -> String {
        inside(self.secret)
    }

    fn auth(self) -> String {
        format!(
            r#"{{"action":"auth","key":"{}","secret":"{}"}}"#,
            self.key_json(),
            self.secret_json()
        )
    }

    fn error(self, code: u16) -> String {
        format!(
            r#"[{{"T":"error","code":{code},"msg":"not {} with {} today"}}]"#,
            self.key_json(),
            self.secret_json()
        )
    }
}

fn inside(text: &str) -> String {
    let quoted = serde_json::to_string(text).unwrap();
    quoted[1..quoted.len() - 1].to_owned()
}

/// Every way in which a text may hold a secret, with a name for the report.
fn forms(secret: &str) -> Vec<(&'static str, String)> {
    const FRAGMENT: usize = 8;
    let join = |bytes: &[u8], each: fn(&u8) -> String, separator: &str| {
        bytes.iter().map(each).collect::<Vec<_>>().join(separator)
    };
    let bytes = secret.as_bytes();
    let mut forms = vec![
        ("percent-encoded", join(bytes, |b| format!("%{b:02X}"), "")),
        ("percent-encoded", join(bytes, |b| format!("%{b:02x}"), "")),
        (
            "percent-encoded",
            join(
                bytes,
                |b| {
                    if b.is_ascii_alphanumeric() {
                        char::from(*b).to_string()
                    } else {
                        format!("%{b:02X}")
                    }
                },
                "",
            ),
        ),
        (
            "unicode escapes",
            join(bytes, |b| format!("\\u{b:04x}"), ""),
        ),
    ];
    for window in bytes.windows(FRAGMENT).step_by(4) {
        let text = String::from_utf8(window.to_vec()).unwrap();
        forms.push(("JSON", inside(&text)));
        forms.push(("escaped twice", inside(&inside(&text))));
        forms.push(("escape_debug", text.escape_debug().to_string()));
        forms.push(("raw", text));
        for separator in ["", " ", ":", "-", ", ", ",", "\\x", ", 0x", " 0x"] {
            forms.push(("hex", join(window, |b| format!("{b:02x}"), separator)));
            forms.push(("HEX", join(window, |b| format!("{b:02X}"), separator)));
        }
        for separator in [", ", ",", " "] {
            forms.push(("decimal", join(window, u8::to_string, separator)));
        }
    }
    for (start, text) in
        (0..3).flat_map(|start| [(start, secret.to_owned()), (start, inside(secret))])
    {
        forms.push(("Base64", base64(&text.as_bytes()[start..], b"+/")));
        forms.push(("Base64", base64(&text.as_bytes()[start..], b"-_")));
    }
    forms
}

/// The groups of Base64 that are the same whatever follows.
fn base64(bytes: &[u8], last: &[u8; 2]) -> String {
    let alphabet: Vec<u8> = (b'A'..=b'Z')
        .chain(b'a'..=b'z')
        .chain(b'0'..=b'9')
        .chain(*last)
        .collect();
    let mut text = String::new();
    for group in bytes.chunks_exact(3) {
        let bits = u32::from(group[0]) << 16 | u32::from(group[1]) << 8 | u32::from(group[2]);
        for shift in [18, 12, 6, 0] {
            text.push(char::from(alphabet[(bits >> shift) as usize & 63]));
        }
    }
    text
}

/// Fails when `text` holds key or secret in any form.
#[track_caller]
fn assert_clean(canary: Canary, text: &str) {
    if let Some(leak) = leak(canary, text) {
        panic!("{leak}");
    }
}

/// What `text` holds of key or secret, and in which line.
fn leak(canary: Canary, text: &str) -> Option<String> {
    for (what, value) in [("secret", canary.secret), ("key", canary.key)] {
        for (form, needle) in forms(value) {
            if let Some(at) = text.find(&needle) {
                let line = text[..at].rfind('\n').map_or(0, |at| at + 1);
                let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
                return Some(format!("the {what} leaked ({form}): {}", &text[line..end]));
            }
        }
        for run in text.split(|character: char| !character.is_ascii_hexdigit()) {
            let bytes: Vec<u8> = run
                .as_bytes()
                .chunks_exact(2)
                .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
                .collect();
            let masked = bytes
                .windows(value.len())
                .any(|window| is_masked(window, |at| value.as_bytes()[at]));
            if masked {
                return Some(format!("the {what} leaked, masked as in a frame: {run}"));
            }
        }
    }
    None
}

/// Whether `window` is the needle, plain or under a mask of four bytes.
fn is_masked(window: &[u8], needle: impl Fn(usize) -> u8) -> bool {
    (4..window.len()).all(|at| window[at] ^ needle(at) == window[at - 4] ^ needle(at - 4))
}

#[test]
fn the_search_finds_what_it_looks_for() {
    for canary in [PLAIN, ODD] {
        let secret = canary.secret.as_bytes();
        let masked: Vec<u8> = secret
            .iter()
            .zip([1, 2, 3, 4].iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        let hex = |bytes: &[u8]| bytes.iter().map(|b| format!("{b:02x}")).collect::<String>();
        for sample in [
            canary.secret.to_owned(),
            canary.key.to_owned(),
            canary.auth(),
            format!("{:?}", canary.auth()),
            format!("{secret:?}"),
            hex(secret),
            hex(secret).to_uppercase(),
            format!("{secret:02x?}"),
            hex(&masked),
            base64(canary.auth().as_bytes(), b"+/"),
        ] {
            let text = format!("x {sample} y");
            assert!(leak(canary, &text).is_some(), "overlooked: {sample}");
        }
        assert_clean(canary, "nothing to see here, 0123456789abcdef");
    }
}

// ------------------------------------------------------------------------------------------------------ the server

/// The server's end of one connection.
struct Peer {
    socket: TcpStream,
    head: String,
    trades: BTreeSet<String>,
}

struct Message {
    opcode: u8,
    masked: bool,
    payload: Vec<u8>,
}

impl Peer {
    /// The next client, and the head of its request.
    fn accept(listener: &TcpListener) -> Self {
        listener.set_nonblocking(true).unwrap();
        let mut accepted = None;
        eventually("a client comes", || match listener.accept() {
            Ok((socket, _)) => {
                accepted = Some(socket);
                true
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        });
        let mut socket = accepted.unwrap();
        socket.set_nonblocking(false).unwrap();
        socket.set_nodelay(true).unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            socket.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        Self {
            socket,
            head: String::from_utf8(head).unwrap(),
            trades: BTreeSet::new(),
        }
    }

    /// The next client, upgraded.
    fn open(listener: &TcpListener) -> Self {
        let mut peer = Self::accept(listener);
        let key = peer
            .head
            .lines()
            .find_map(|line| {
                let (name, value) = line.split_once(':')?;
                name.eq_ignore_ascii_case("sec-websocket-key")
                    .then(|| value.trim().to_owned())
            })
            .expect("it asks for a WebSocket");
        peer.http(&format!(
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
             Sec-WebSocket-Accept: {}\r\n\r\n",
            derive_accept_key(key.as_bytes())
        ));
        peer
    }

    /// The next client, which authenticates.
    fn live(listener: &TcpListener) -> (Self, String) {
        let mut peer = Self::open(listener);
        peer.text(WELCOME);
        let auth = peer.read();
        assert!(auth.masked && auth.opcode == 1);
        peer.text(AUTHENTICATED);
        (peer, String::from_utf8(auth.payload).unwrap())
    }

    fn http(&mut self, response: &str) {
        self.socket.write_all(response.as_bytes()).unwrap();
    }

    fn text(&mut self, text: &str) {
        self.frame(0x81, text.as_bytes(), usize::MAX);
    }

    /// One frame, in segments of `piece` bytes; each was read by the client before the next is sent.
    fn frame(&mut self, first: u8, payload: &[u8], piece: usize) {
        let frame = server_frame(first, payload);
        for piece in frame.chunks(piece.min(frame.len())) {
            self.socket.write_all(piece).unwrap();
            if piece.len() < frame.len() {
                self.wait_read();
            }
        }
    }

    /// Waits until the client's kernel holds nothing that its process has not read.
    fn wait_read(&self) {
        #[cfg(target_os = "linux")]
        {
            let client = format!(":{:04X}", self.socket.peer_addr().unwrap().port());
            let server = format!(":{:04X}", self.socket.local_addr().unwrap().port());
            eventually("the client reads", || {
                let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
                let ends = |text: &str, end: &str| text.ends_with(end);
                table.lines().all(|line| {
                    let fields: Vec<_> = line.split_whitespace().collect();
                    match fields.as_slice() {
                        [_, local, remote, _, queues, ..]
                            if ends(local, &client) && ends(remote, &server) =>
                        {
                            ends(queues, ":00000000")
                        }
                        [_, local, remote, _, queues, ..]
                            if ends(local, &server) && ends(remote, &client) =>
                        {
                            queues.starts_with("00000000:")
                        }
                        _ => true,
                    }
                })
            });
        }
        #[cfg(not(target_os = "linux"))]
        thread::yield_now();
    }

    /// The next frame, read byte by byte.
    fn read(&mut self) -> Message {
        self.try_read().expect("the client sends a frame")
    }

    fn try_read(&mut self) -> std::io::Result<Message> {
        let mut take = |len: usize| -> std::io::Result<Vec<u8>> {
            let mut bytes = vec![0; len];
            for byte in bytes.chunks_mut(1) {
                self.socket.read_exact(byte)?;
            }
            Ok(bytes)
        };
        let head = take(2)?;
        assert_eq!(head[0] & 0xf0, 0x80, "whole messages without extensions");
        let len = match head[1] & 0x7f {
            126 => take(2)?
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
            127 => take(8)?
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
            len => usize::from(len),
        };
        let masked = head[1] & 0x80 != 0;
        let mask = take(if masked { 4 } else { 0 })?;
        let mut payload = take(len)?;
        for (byte, mask) in payload.iter_mut().zip(mask.iter().cycle()) {
            *byte ^= mask;
        }
        Ok(Message {
            opcode: head[0] & 0x0f,
            masked,
            payload,
        })
    }

    /// Asks for a pong, answers subscriptions until it comes, and says how many there were.
    fn ping(&mut self) -> usize {
        self.frame(0x89, b"still there?", usize::MAX);
        let mut answered = 0;
        loop {
            let message = self.read();
            match message.opcode {
                0xa if message.payload == b"still there?" => return answered,
                0xa => assert!(message.masked),
                1 => {
                    self.answer(&message);
                    answered += 1;
                }
                other => panic!("unexpected opcode {other}"),
            }
        }
    }

    /// The symbols of a request for trades, which is not answered.
    fn request(&mut self) -> Vec<String> {
        let message = self.read();
        symbols(&message)
    }

    /// Answers a request with the whole state.
    fn answer(&mut self, message: &Message) {
        let text = String::from_utf8_lossy(&message.payload).into_owned();
        for symbol in symbols(message) {
            if text.contains(r#""action":"subscribe""#) {
                self.trades.insert(symbol);
            } else {
                self.trades.remove(&symbol);
            }
        }
        let trades = serde_json::to_string(&self.trades).unwrap();
        self.text(&format!(
            r#"[{{"T":"subscription","trades":{trades},"quotes":[],"bars":[]}}]"#
        ));
    }

    /// Answers requests until `symbol` is asked for.
    fn serve_until(&mut self, symbol: &str) {
        while !self.trades.contains(symbol) {
            let message = self.read();
            if message.opcode == 1 {
                self.answer(&message);
            }
        }
    }

    fn trade(&mut self, id: u32) {
        self.text(&format!(
            r#"[{{"T":"t","S":"AAPL","i":{id},"x":"V","p":150.25,"s":10,"c":["@"],"z":"C","t":"2026-03-17T14:30:05Z"}}]"#
        ));
    }

    /// Answers what comes until the client ends the connection.
    fn serve_to_the_end(&mut self) {
        while let Ok(message) = self.try_read() {
            match message.opcode {
                1 => self.answer(&message),
                8 => {
                    let _ = self.socket.write_all(&server_frame(0x88, &message.payload));
                }
                _ => {}
            }
        }
    }
}

/// A frame without a mask.
fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match u16::try_from(payload.len()).unwrap() {
        len @ 0..126 => frame.push(u8::try_from(len).unwrap()),
        len => {
            frame.push(126);
            frame.extend(len.to_be_bytes());
        }
    }
    frame.extend(payload);
    frame
}

fn symbols(message: &Message) -> Vec<String> {
    let request: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
    let trades = request["trades"].as_array().cloned().unwrap_or_default();
    trades
        .iter()
        .map(|symbol| symbol.as_str().unwrap().to_owned())
        .collect()
}

/// Runs `test` of this binary in a child process, with `serve` as its server.
fn with_child(test: &str, serve: impl FnOnce(&TcpListener) + Send) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(SERVER, listener.local_addr().unwrap().to_string())
        .env_remove("RUST_LOG")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let (served, output) = thread::scope(|scope| {
        let server = scope.spawn(move || serve(&listener));
        let output = child.wait_with_output().unwrap();
        (server.join(), output)
    });
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(
        served.is_ok() && output.status.success() && stdout.contains(DONE),
        "server {}, child {}:\n{stdout}\n{stderr}",
        if served.is_ok() { "fine" } else { "failed" },
        output.status
    );
}

/// In the child: where its server is.
fn server() -> Option<SocketAddr> {
    Some(std::env::var(SERVER).ok()?.parse().unwrap())
}

fn venue(server: SocketAddr) -> MarketData {
    alpaca::stocks(Feed::Iex).at(format!("ws://{server}/v2/iex").parse().unwrap())
}

// ---------------------------------------------------------------------------------------------------- the captures

/// Everything that was logged, and everything that the library gave out as text.
#[derive(Default)]
struct Capture(Mutex<String>);

impl log::Log for Capture {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        struct Pairs(String);
        impl<'kvs> log::kv::VisitSource<'kvs> for Pairs {
            fn visit_pair(
                &mut self,
                key: log::kv::Key<'kvs>,
                value: log::kv::Value<'kvs>,
            ) -> Result<(), log::kv::Error> {
                let _ = write!(self.0, " {key}={value} {value:?}");
                Ok(())
            }
        }
        let mut pairs = Pairs(String::new());
        let _ = record.key_values().visit(&mut pairs);
        self.add(format_args!(
            "{} {}: {}{}",
            record.level(),
            record.target(),
            record.args(),
            pairs.0
        ));
    }

    fn flush(&self) {}
}

impl Capture {
    fn install() -> &'static Self {
        static CAPTURE: OnceLock<Capture> = OnceLock::new();
        let capture = CAPTURE.get_or_init(Self::default);
        log::set_logger(capture).unwrap();
        log::set_max_level(log::LevelFilter::Trace);
        capture
    }

    fn add(&self, text: fmt::Arguments<'_>) {
        // A line each, whatever is in it.
        let text = text.to_string().replace('\n', " / ");
        let mut all = self.0.lock();
        all.push_str(&text);
        all.push('\n');
    }

    fn error(&self, error: &Error) {
        self.add(format_args!(
            "{error} {error:?} {error:#?} {} {:?}",
            error.remedy(),
            error.stream()
        ));
    }

    fn update(&self, update: &Update<TradeEvent>) {
        self.add(format_args!("{update:?} {update:#?}"));
        self.add(format_args!("{}", serde_json::to_string(update).unwrap()));
        match update {
            Update::Event(event) => self.add(format_args!("{event}")),
            Update::Gap(gap) => {
                self.add(format_args!("{gap}"));
                self.error(&gap.cause);
            }
            Update::Dropped(dropped) => self.add(format_args!("{dropped}")),
            Update::Notice(notice) => self.add(format_args!("{notice}")),
            Update::Ended(ended) => self.add(format_args!("{ended}")),
        }
    }

    fn stream(&self, feed: &StreamHandle<MarketData>, manager: &Manager) {
        for health in manager.health().streams.into_iter().chain([feed.health()]) {
            self.add(format_args!("{health} {health:?} {health:#?}"));
            self.add(format_args!("{}", serde_json::to_string(&health).unwrap()));
        }
        self.add(format_args!("{feed:?} {:?} {}", feed.key(), feed.key()));
        self.add(format_args!("{manager:?} {:?}", manager.config()));
        self.add(format_args!("{:?}", feed.end_reason()));
    }
}

/// Reads until `wanted` says so, and captures everything on the way.
fn read_until(
    capture: &Capture,
    subscription: &Subscription<TradeEvent>,
    mut wanted: impl FnMut(&Update<TradeEvent>) -> bool,
) -> Update<TradeEvent> {
    let deadline = Instant::now() + WAIT;
    loop {
        let update = subscription
            .recv_deadline(deadline)
            .expect("the update comes in time");
        capture.update(&update);
        if wanted(&update) {
            return update;
        }
    }
}

fn is_trade(update: &Update<TradeEvent>, id: i64) -> bool {
    matches!(update, Update::Event(event) if event.trade().is_some_and(|trade| trade.id == Some(id)))
}

// ------------------------------------------------------------------------------------------------ a whole life, logs

#[test]
fn no_secret_is_in_any_record_of_any_level_or_in_any_text() {
    match server() {
        Some(server) => live_a_whole_life(server, PLAIN),
        None => with_child(
            "no_secret_is_in_any_record_of_any_level_or_in_any_text",
            |listener| serve_a_whole_life(listener, PLAIN),
        ),
    }
}

#[test]
fn a_secret_of_odd_characters_is_in_no_record_or_text_either() {
    match server() {
        Some(server) => live_a_whole_life(server, ODD),
        None => with_child(
            "a_secret_of_odd_characters_is_in_no_record_or_text_either",
            |listener| serve_a_whole_life(listener, ODD),
        ),
    }
}

fn serve_a_whole_life(listener: &TcpListener, canary: Canary) {
    // An error that reflects the credentials, before anything was sent, in small segments.
    let mut peer = Peer::open(listener);
    assert_clean(canary, &peer.head);
    let head = peer.head.to_lowercase();
    assert!(
        !head.contains("authorization") && !head.contains("apca"),
        "{head}"
    );
    assert_eq!(peer.ping(), 0, "it sends nothing before the welcome");
    peer.frame(0x81, canary.error(500).as_bytes(), 17);
    peer.serve_to_the_end();

    // The good one: welcome in single bytes, authentication, subscription, data, pings.
    let mut peer = Peer::open(listener);
    assert_clean(canary, &peer.head);
    peer.frame(0x81, WELCOME.as_bytes(), 9);
    let auth = peer.read();
    assert!(auth.masked && auth.opcode == 1);
    assert_eq!(String::from_utf8(auth.payload).unwrap(), canary.auth());
    peer.frame(0x81, AUTHENTICATED.as_bytes(), 10);
    peer.serve_until("AAPL");
    peer.trade(1);
    peer.ping();
    // An item that cannot be read, and reflects the credentials.
    peer.frame(
        0x81,
        format!(
            r#"[{{"T":"t","S":"AAPL","i":"?","p":null,"memo":"{} {}"}}]"#,
            canary.key_json(),
            canary.secret_json()
        )
        .as_bytes(),
        29,
    );
    // A refusal that reflects them.
    assert_eq!(peer.request(), ["NVDA"]);
    peer.frame(0x81, canary.error(405).as_bytes(), 23);
    peer.ping();
    // And so does the reason of the close frame.
    let reason = format!("bye {} {}", canary.key, canary.secret);
    let mut close = 1011_u16.to_be_bytes().to_vec();
    close.extend(reason.as_bytes());
    peer.frame(0x88, &close, 24);
    peer.serve_to_the_end();

    // Connected again, and authenticated again, then cut.
    let (mut peer, auth) = Peer::live(listener);
    assert_eq!(auth, canary.auth());
    assert_clean(canary, &peer.head);
    peer.serve_until("AAPL");
    peer.ping();
    peer.trade(2);
    peer.ping();
    drop(peer);

    // No WebSocket this time.
    let mut peer = Peer::accept(listener);
    assert_clean(canary, &peer.head);
    peer.http(&format!(
        "HTTP/1.1 403 Forbidden\r\nX-Why: {} {}\r\nContent-Length: {}\r\n\r\n{} {}",
        canary.key,
        canary.secret,
        canary.key.len() + canary.secret.len() + 1,
        canary.key,
        canary.secret
    ));
    drop(peer);

    // The credentials are refused, with their values.
    let mut peer = Peer::open(listener);
    peer.text(WELCOME);
    assert_eq!(peer.read().payload, canary.auth().as_bytes());
    peer.frame(0x81, canary.error(402).as_bytes(), 19);
    peer.serve_to_the_end();

    // A new stream is turned away before it was ever live.
    let mut peer = Peer::accept(listener);
    peer.http("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    drop(peer);

    // And another is sent elsewhere, where it must not go.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = Peer::accept(listener);
    assert_clean(canary, &peer.head);
    peer.http(&format!(
        "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://{}/v2/iex\r\nContent-Length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    ));
    drop(peer);
    // The child says that it has seen the end by connecting once more.
    let mut peer = Peer::accept(listener);
    elsewhere.set_nonblocking(true).unwrap();
    let followed = elsewhere.accept();
    assert!(
        matches!(&followed, Err(error) if error.kind() == ErrorKind::WouldBlock),
        "it followed the redirect: {followed:?}"
    );
    peer.http("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
}

fn live_a_whole_life(server: SocketAddr, canary: Canary) {
    let capture = Capture::install();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    capture.add(format_args!("{credentials:?} {credentials:#?}"));
    let manager = Manager::with_config(quick()).unwrap();
    let venue = venue(server);
    capture.add(format_args!("{venue:?} {venue}"));

    let feed = manager.open(&venue, &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    capture.add(format_args!("{trades:?} {trades:#?}"));
    feed.wait_live(WAIT).unwrap();
    read_until(capture, &trades, |update| is_trade(update, 1));
    capture.stream(&feed, &manager);

    let unparsed = read_until(capture, &trades, |update| {
        matches!(update, Update::Notice(trunkline::Notice::Unparsed(_)))
    });
    let Update::Notice(trunkline::Notice::Unparsed(unparsed)) = unparsed else {
        unreachable!()
    };
    assert!(unparsed.raw.contains("memo"), "{unparsed}");

    let refused = feed.subscribe(alpaca::trades(["NVDA"])).unwrap();
    let error = refused.wait_confirmed(WAIT).unwrap_err();
    assert!(
        matches!(&error, Error::Refused { rejection, .. } if rejection.kind == RejectionKind::SymbolLimit),
        "{error:?}"
    );
    capture.error(&error);
    read_until(capture, &refused, |update| {
        matches!(update, Update::Notice(trunkline::Notice::Refused { .. }))
    });
    drop(refused);
    capture.stream(&feed, &manager);

    read_until(capture, &trades, |update| is_trade(update, 2));
    capture.stream(&feed, &manager);
    let end = read_until(capture, &trades, |update| {
        matches!(update, Update::Ended(_))
    });
    let Update::Ended(end) = end else {
        unreachable!()
    };
    assert!(
        matches!(&end.reason, EndReason::Failed(Error::Rejected { .. })),
        "{end:?}"
    );
    capture.stream(&feed, &manager);
    capture.add(format_args!("{trades:?}"));
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    capture.error(&error);
    drop((feed, trades));

    for (status, last) in [(403, false), (301, false), (403, true)] {
        let feed = manager.open(&venue, &credentials).unwrap();
        let error = feed.wait_live(WAIT).unwrap_err();
        capture.error(&error);
        capture.stream(&feed, &manager);
        assert!(
            matches!(error, Error::Upgrade { status: seen, .. } if seen == status),
            "{error:?} (last: {last})"
        );
        let closed = feed.close(WAIT);
        capture.add(format_args!("{closed:?}"));
    }
    let shut = manager.shutdown(WAIT);
    capture.add(format_args!("{shut:?}"));
    capture.add(format_args!("{:?}", manager.shutdown_guard(WAIT)));

    let all = capture.0.lock().clone();
    assert!(
        all.contains("TRACE tungstenite") && all.contains(r#""i":1,"x":"V""#),
        "the dependencies' records were captured"
    );
    assert!(all.contains("trunkline::stream: "), "and the library's");
    assert_clean(canary, &without_frames_of_live_lines(&all));
    println!("{DONE}");
}

/// Once a line is authenticated, what the venue sends is no longer masked on its way in: it is redacted where the
/// library shows it. The frames that tungstenite prints then are the one thing that is left out here.
fn without_frames_of_live_lines(all: &str) -> String {
    let mut live = false;
    all.lines()
        .filter(|line| {
            if !line.contains(" tungstenite::") {
                return true;
            }
            let frame = live;
            live |= line.contains(r#""msg":"authenticated""#);
            live &= !line.contains("andshake");
            !frame || !(line.contains("Received message") || line.contains("rame"))
        })
        .flat_map(|line| [line, "\n"])
        .collect()
}

// -------------------------------------------------------------------------------------- reflections of odder kinds

/// A child that is turned away with whatever `reflect` sends, then refused for good, and whose records are clean.
fn reflections_are_in_no_record(name: &str, canary: Canary, reflect: impl Fn(&mut Peer) + Sync) {
    let Some(server) = server() else {
        return with_child(name, |listener| {
            let mut peer = Peer::open(listener);
            reflect(&mut peer);
            peer.serve_to_the_end();
            let mut peer = Peer::open(listener);
            peer.text(WELCOME);
            peer.read();
            peer.text(r#"[{"T":"error","code":402,"msg":"auth failed"}]"#);
            peer.serve_to_the_end();
        });
    };
    let capture = Capture::install();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&venue(server), &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    capture.error(&error);
    capture.stream(&feed, &manager);
    let all = capture.0.lock().clone();
    assert!(all.contains("TRACE tungstenite"));
    assert_clean(canary, &all);
    println!("{DONE}");
}

#[test]
fn a_secret_reflected_with_the_escapes_of_the_venue_is_in_no_record() {
    reflections_are_in_no_record(
        "a_secret_reflected_with_the_escapes_of_the_venue_is_in_no_record",
        ODD,
        |peer| {
            let error = ODD
                .error(500)
                .replace('&', "\\u0026")
                .replace('<', "\\u003c")
                .replace('>', "\\u003e");
            peer.text(&error);
        },
    );
}

#[test]
fn a_secret_reflected_all_in_escapes_is_in_no_record() {
    reflections_are_in_no_record(
        "a_secret_reflected_all_in_escapes_is_in_no_record",
        PLAIN,
        |peer| {
            let escapes = |text: &str| -> String {
                text.bytes().map(|byte| format!("\\u{byte:04x}")).collect()
            };
            let error = PLAIN
                .error(500)
                .replace(PLAIN.secret, &escapes(PLAIN.secret))
                .replace(PLAIN.key, &escapes(PLAIN.key));
            peer.text(&error);
        },
    );
}

#[test]
fn an_unparsed_item_that_is_cut_shows_no_beginning_of_a_secret() {
    const CUT: usize = 4_096;
    let sim = support::sim(|_| {});
    let manager = Manager::with_config(quick()).unwrap();
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let feed = manager.open(&sim.stocks(), &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    let before = r#"{"T":"t","S":"AAPL","p":null,"memo":""#;
    for shown in [1, 10, 20, 39, 40] {
        let padding = "x".repeat(CUT - before.len() - shown);
        sim.send_raw(format!(r#"[{before}{padding}{}"}}]"#, PLAIN.secret));
        let unparsed = loop {
            match trades.recv_timeout(WAIT).unwrap() {
                Update::Notice(trunkline::Notice::Unparsed(unparsed)) => break unparsed,
                Update::Notice(_) => {}
                other => panic!("{other:?}"),
            }
        };
        assert!(unparsed.raw.len() <= CUT);
        let tail = unparsed
            .raw
            .trim_start_matches(before)
            .trim_start_matches('x');
        assert!(
            shown < 8 || !tail.contains(&PLAIN.secret[..8]),
            "{shown} characters of the secret are shown: {tail}"
        );
    }
}

#[test]
fn credentials_of_a_letter_or_two_authenticate_like_any_others() {
    for (key, secret) in [("PK1", "s3"), ("k", "s"), ("auth", "http")] {
        let sim = support::sim(|_| {});
        let manager = Manager::with_config(quick()).unwrap();
        let credentials = Credentials::new(key, secret).unwrap();
        let feed = manager.open(&sim.stocks(), &credentials).unwrap();
        let live = feed.wait_live(Duration::from_secs(5));
        assert!(live.is_ok(), "{key} and {secret}: {live:?}");
    }
}

// ------------------------------------------------------------------------------------------------ the auth frame

#[test]
fn the_auth_frame_is_whole_among_pongs_on_a_socket_that_is_full() {
    let key = format!("PK{}", r#"k"\"#.repeat(160));
    let secret = r#"s\""#.repeat(165);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let wanted = format!(
        r#"{{"action":"auth","key":"{}","secret":"{}"}}"#,
        inside(&key),
        inside(&secret)
    );
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let mut peer = Peer::open(&listener);
            let mut socket = peer.socket.try_clone().unwrap();
            let (done, finished) = crossbeam_channel::bounded(1);
            thread::scope(|scope| {
                scope.spawn(move || {
                    // Pings that nobody reads the answers of, until neither side's buffers hold more.
                    let ping = server_frame(0x89, &[b'p'; 125]);
                    for _ in 0..200 {
                        socket.write_all(&ping.repeat(256)).unwrap();
                    }
                    socket
                        .write_all(&server_frame(0x81, WELCOME.as_bytes()))
                        .unwrap();
                    done.send(()).unwrap();
                });
                let _ = finished.recv_timeout(Duration::from_secs(2));
                let auth = loop {
                    let message = peer.read();
                    assert!(message.masked);
                    if message.opcode == 1 {
                        break message.payload;
                    }
                    assert_eq!((message.opcode, message.payload), (0xa, vec![b'p'; 125]));
                };
                assert_eq!(String::from_utf8(auth).unwrap(), wanted);
            });
            peer.text(AUTHENTICATED);
            peer.serve_to_the_end();
        });
        let manager = Manager::with_config(quick()).unwrap();
        let credentials = Credentials::new(&key, &secret).unwrap();
        let feed = manager.open(&venue(address), &credentials).unwrap();
        feed.wait_live(WAIT).unwrap();
        feed.close(WAIT).unwrap();
        server.join().unwrap();
    });
}

// ------------------------------------------------------------------------------------------------------ validation

#[test]
fn credentials_that_are_refused_are_not_echoed() {
    let canary = PLAIN.secret;
    let long = canary.repeat(20);
    let bad = [
        format!("{canary} "),
        format!("{canary}\n{canary}"),
        format!("\t{canary}"),
        format!("{canary}\u{0}"),
        format!("é{canary}"),
        long,
    ];
    for value in &bad {
        for error in [
            Credentials::new(value, "fine").unwrap_err(),
            Credentials::new("PKFINE", value).unwrap_err(),
            Credentials::from_reader(format!("{value}\n{value}\n{value}").as_bytes()).unwrap_err(),
        ] {
            assert_eq!(error.code(), "invalid_credentials");
            let text = format!("{error} {error:?} {error:#?}");
            assert_clean(PLAIN, &text);
        }
    }
    for (key, secret) in [("", canary), (canary, ""), ("", "")] {
        let error = Credentials::new(key, secret).unwrap_err();
        assert_clean(PLAIN, &format!("{error} {error:?}"));
        assert!(error.to_string().contains("empty"), "{error}");
    }
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let shown = format!("{credentials:?}");
    assert!(shown.contains("***"), "{shown}");
    assert_clean(PLAIN, &shown);
}

// ---------------------------------------------------------------------------------------------------------- memory

/// Makes a key id or a secret that stands nowhere as one piece.
#[cfg(target_os = "linux")]
mod hidden {
    use std::hint::black_box;

    pub(crate) const LEN: usize = 40;
    /// White space in front, which is cut: what an allocator writes into freed memory stands at its beginning.
    const BEFORE: usize = 500;

    fn character(seed: usize, at: usize) -> u8 {
        const SIGNS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        SIGNS[black_box(at * at * at * 7 + at * seed + seed * 13) % SIGNS.len()]
    }

    pub(crate) fn key(at: usize) -> u8 {
        character(black_box(29), at)
    }

    pub(crate) fn secret(at: usize) -> u8 {
        character(black_box(17), at)
    }

    /// Gives out the two lines, a byte at a time.
    pub(crate) struct Lines(pub(crate) usize);

    impl std::io::Read for Lines {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let (at, Some(byte)) = (self.0, buffer.first_mut()) else {
                return Ok(0);
            };
            *byte = match at.checked_sub(BEFORE) {
                None => b' ',
                Some(at @ 0..LEN) => key(at),
                Some(LEN) => b'\n',
                Some(at) if at <= 2 * LEN => secret(at - LEN - 1),
                Some(_) => return Ok(0),
            };
            self.0 += 1;
            Ok(1)
        }
    }
}

/// Where the process's writable memory holds `needle`: plain, and under a mask.
#[cfg(target_os = "linux")]
fn copies(needle: fn(usize) -> u8) -> (Vec<String>, Vec<String>) {
    use std::os::unix::fs::FileExt as _;

    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0_u8; 1 << 20];
    // What is read here stands here, too.
    let own = buffer.as_ptr() as usize..buffer.as_ptr() as usize + buffer.len();
    let differences: Vec<u8> = (4..hidden::LEN)
        .map(|at| needle(at) ^ needle(at - 4))
        .collect();
    let (mut plain, mut masked) = (Vec::new(), Vec::new());
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let name = fields.nth(3).unwrap_or("anonymous");
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let mut at = usize::from_str_radix(start, 16).unwrap();
        let end = usize::from_str_radix(end, 16).unwrap();
        while at + hidden::LEN <= end {
            let want = buffer.len().min(end - at);
            let Ok(read) = memory.read_at(&mut buffer[..want], at as u64) else {
                break;
            };
            if read < hidden::LEN {
                break;
            }
            for offset in 0..=read - hidden::LEN {
                let window = &buffer[offset..offset + hidden::LEN];
                let found = window[4] ^ window[0] == differences[0]
                    && window
                        .iter()
                        .skip(4)
                        .zip(window)
                        .zip(&differences)
                        .all(|((later, earlier), difference)| later ^ earlier == *difference);
                let address = at + offset;
                if found && !own.contains(&address) {
                    let place = format!("{address:x} in {name}");
                    if window[..4]
                        .iter()
                        .enumerate()
                        .all(|(at, byte)| *byte == needle(at))
                    {
                        plain.push(place);
                    } else {
                        masked.push(place);
                    }
                }
            }
            at += read - hidden::LEN + 1;
        }
    }
    buffer.fill(0);
    std::hint::black_box(&buffer);
    (plain, masked)
}

#[cfg(target_os = "linux")]
#[track_caller]
fn assert_copies(when: &str, wanted: usize) {
    for (what, needle) in [
        ("secret", hidden::secret as fn(usize) -> u8),
        ("key id", hidden::key),
    ] {
        let (plain, masked) = copies(needle);
        assert_eq!(
            plain.len(),
            wanted,
            "{when}: copies of the {what}: {plain:?}"
        );
        assert!(
            masked.is_empty(),
            "{when}: masked copies of the {what}: {masked:?}"
        );
    }
}

#[cfg(target_os = "linux")]
#[test]
fn one_copy_is_in_memory_while_live_and_none_when_all_is_dropped() {
    const NAME: &str = "one_copy_is_in_memory_while_live_and_none_when_all_is_dropped";
    let Some(server) = server() else {
        return with_child(NAME, |listener| {
            for cut in ["CUTA", "CUTB"] {
                let (mut peer, auth) = Peer::live(listener);
                assert!(auth.starts_with(r#"{"action":"auth","key":""#));
                peer.serve_until("AAPL");
                peer.serve_until(cut);
            }
            let (mut peer, _) = Peer::live(listener);
            peer.serve_to_the_end();
        });
    };
    assert_copies("before", 0);
    let credentials = Credentials::from_reader(hidden::Lines(0)).unwrap();
    assert_copies("made", 1);
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&venue(server), &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    trades.wait_confirmed(WAIT).unwrap();
    assert_copies("live", 1);
    let clone = feed.clone();
    for (cut, epoch) in [("CUTA", 2), ("CUTB", 3)] {
        trades.add(alpaca::trades([cut])).unwrap();
        eventually("the line is live again", || {
            let health = clone.health();
            health.epoch == epoch && health.topics_confirmed >= 2
        });
        assert_copies("live again", 1);
    }
    let more = credentials.clone();
    drop(credentials);
    assert_copies("with a clone", 1);
    for shut in manager.shutdown(WAIT) {
        assert_eq!(shut.stuck, None, "{shut}");
    }
    drop(more);
    assert_copies("shut down, and handles held", 0);
    drop((feed, clone, trades, manager));
    assert_copies("dropped", 0);
    println!("{DONE}");
}

#[cfg(target_os = "linux")]
#[test]
fn a_stream_that_failed_keeps_no_copy_though_the_venue_reflected_the_secret() {
    const NAME: &str = "a_stream_that_failed_keeps_no_copy_though_the_venue_reflected_the_secret";
    let Some(server) = server() else {
        return with_child(NAME, |listener| {
            let reflect = |peer: &mut Peer, code: u16, auth: &str, piece| {
                let auth: serde_json::Value = serde_json::from_str(auth).unwrap();
                let text = format!(
                    r#"[{{"T":"error","code":{code},"msg":"not {} with {}"}}]"#,
                    auth["key"].as_str().unwrap(),
                    auth["secret"].as_str().unwrap()
                );
                peer.frame(0x81, text.as_bytes(), piece);
            };
            for (code, piece) in [(500, usize::MAX), (500, 13), (402, usize::MAX)] {
                let mut peer = Peer::open(listener);
                peer.text(WELCOME);
                let auth = String::from_utf8(peer.read().payload).unwrap();
                reflect(&mut peer, code, &auth, piece);
                peer.serve_to_the_end();
            }
        });
    };
    let credentials = Credentials::from_reader(hidden::Lines(0)).unwrap();
    let manager = Manager::with_config(quick()).unwrap();
    let feed = manager.open(&venue(server), &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    eventually("the thread has ended", || {
        feed.phase() == trunkline::Phase::Ended
    });
    assert_copies("failed", 1);
    drop(credentials);
    assert_copies("failed, and handle and error held", 0);
    drop((feed, error, manager));
    assert_copies("dropped", 0);
    println!("{DONE}");
}
