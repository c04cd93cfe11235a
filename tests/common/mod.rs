//! What the integration tests share: waiting with deadlines, counting a stream's threads, and servers whose every step
//! is scripted.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "each test binary uses a part of it"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::missing_panics_doc,
    reason = "tests"
)]

pub mod ledger;

use std::{
    convert::Infallible,
    fs,
    io::{self, BufRead as _, BufReader, Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::PathBuf,
    process::Command,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use parking_lot::Mutex;
use rustls::{ServerConfig, ServerConnection, StreamOwned, pki_types::PrivatePkcs8KeyDer};
use trunkline::{
    Config, Credentials, Endpoint, Error, ErrorKind, Manager, Proxy, StreamHandle, Update,
    alpaca::{self, Feed, MarketData},
    config::Backoff,
    market::TradeEvent,
    sim::{Sim, SimConfig},
    venue::Rules,
};
use tungstenite::{Message, WebSocket};

/// Long enough for anything that is not broken, on a busy machine.
pub const GENEROUS: Duration = Duration::from_secs(20);

/// A failure must not try again while its test looks at it.
pub const NEVER: Duration = Duration::from_secs(3_600);

/// Credentials that no other test has: each test counts the threads of its own.
pub fn credentials() -> Credentials {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let number = LAST.fetch_add(1, Ordering::Relaxed);
    Credentials::new(
        format!("PKTEST{}N{number}", std::process::id()),
        "not-a-secret",
    )
    .unwrap()
}

/// A simulator that sends only what is pushed.
pub fn quiet_sim() -> Sim {
    let mut config = SimConfig::default();
    config.rate = 0;
    Sim::start(config).unwrap()
}

/// Short bounds, no second attempt while anybody looks, and no proxy of the machine that runs the tests.
pub fn patient() -> Config {
    let mut config = Config::default();
    config.proxy = Proxy::Never;
    config.backoff = Backoff::default();
    config.backoff.initial = NEVER;
    config.backoff.cap = NEVER;
    config
}

/// Tries again at once, and waits for nothing for long.
pub fn brisk() -> Config {
    let mut config = patient();
    config.close_timeout = Duration::from_millis(100);
    config.backoff.initial = Duration::from_millis(1);
    config.backoff.cap = Duration::from_millis(20);
    config
}

/// Waits until `condition` holds.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + GENEROUS;
    while !condition() {
        assert!(Instant::now() < deadline, "waited too long until {what}");
        thread::park_timeout(Duration::from_millis(2));
    }
}

/// Starts a named thread of a test.
pub fn spawn<T: Send + 'static>(body: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    thread::Builder::new()
        .name("test-helper".to_owned())
        .spawn(body)
        .unwrap()
}

/// The `/proc` directories of the threads that run the streams of `credentials`.
pub fn stream_threads(credentials: &Credentials) -> Vec<PathBuf> {
    let name = format!("tl-{}", credentials.fingerprint());
    fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| {
            let path = task.ok()?.path();
            // A thread may end between the two calls.
            let comm = fs::read_to_string(path.join("comm")).ok()?;
            (comm.trim_end() == name).then_some(path)
        })
        .collect()
}

/// Waits until no thread runs a stream of `credentials`.
pub fn until_no_thread(credentials: &Credentials) {
    until("no stream thread is left", || {
        stream_threads(credentials).is_empty()
    });
}

/// How many file descriptors this process has open, without the one that looks.
pub fn open_files() -> usize {
    fs::read_dir("/proc/self/fd").unwrap().count() - 1
}

/// How many threads this process has.
pub fn all_threads() -> usize {
    fs::read_dir("/proc/self/task").unwrap().count()
}

/// A field of a thread's status.
pub fn status_of(task: &std::path::Path, field: &str) -> u64 {
    fs::read_to_string(task.join("status"))
        .unwrap()
        .lines()
        .find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))
        .unwrap()
        .trim()
        .parse()
        .unwrap()
}

/// Runs `body` in a process of its own, where nothing else opens files or starts threads. `test` is the full name of
/// the test that calls this.
pub fn alone(test: &str, body: impl FnOnce()) {
    alone_with(test, &[], body);
}

/// The same, with these variables in its environment. Those without a value are removed from it.
pub fn alone_with(test: &str, variables: &[(&str, Option<&str>)], body: impl FnOnce()) {
    const MARK: &str = "TRUNKLINE_TEST_ALONE";
    if std::env::var_os(MARK).is_some() {
        return body();
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    for (name, value) in variables {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let output = command
        .args(["--exact", test, "--nocapture", "--test-threads=1"])
        .env(MARK, "1")
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success() && text.contains("1 passed"),
        "{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Drops `value` while its thread unwinds.
pub fn drop_in_a_panic<T: Send + 'static>(value: T) {
    let outcome = spawn(move || {
        let _held = value;
        // Unwinds like any panic, but prints nothing.
        std::panic::resume_unwind(Box::new("on purpose"));
    })
    .join();
    assert!(outcome.is_err());
}

/// A server on loopback: each connection gets a thread of its own, which runs the script.
pub struct Peer {
    address: SocketAddr,
    stop: Arc<AtomicBool>,
    open: Arc<Mutex<Vec<TcpStream>>>,
    gate: Option<Sender<Infallible>>,
    accepted: Receiver<usize>,
    thread: Option<JoinHandle<()>>,
}

/// One connection to a [`Peer`].
pub struct Line {
    /// The socket.
    pub stream: TcpStream,
    /// Counted from 0.
    pub number: usize,
    gate: Receiver<Infallible>,
}

impl Line {
    /// Neither reads nor writes until the peer is dropped.
    pub fn hold(&self) {
        assert!(self.gate.recv().is_err());
    }

    /// Reads and forgets until the client's end, or the peer's.
    pub fn drain(&mut self) {
        let mut sink = [0; 4096];
        while self.stream.read(&mut sink).is_ok_and(|read| read > 0) {}
    }

    /// Reads the upgrade request, and gives the key that it asks to be answered with.
    pub fn request(&mut self) -> String {
        let mut key = String::new();
        for line in self.head() {
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("sec-websocket-key")
            {
                key = value.trim().to_owned();
            }
        }
        key
    }

    /// Reads the head of a request.
    pub fn head(&mut self) -> Vec<String> {
        let lines = BufReader::new(&mut self.stream).lines();
        lines
            .map_while(Result::ok)
            .take_while(|line| !line.is_empty())
            .collect()
    }

    /// Reads so many bytes, or as many as come.
    pub fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut len = 0;
        while len < count {
            match self.stream.read(&mut bytes[len..]) {
                Ok(read @ 1..) => len += read,
                _ => break,
            }
        }
        bytes.truncate(len);
        bytes
    }

    /// Hands on what comes from each side to the other, until both have ended.
    pub fn relay(mut self, to: SocketAddr) {
        let Ok(mut venue) = TcpStream::connect(to) else {
            return;
        };
        let (mut back, mut client) = (venue.try_clone().unwrap(), self.stream.try_clone().unwrap());
        let behind = spawn(move || {
            let _ = io::copy(&mut back, &mut client);
            let _ = client.shutdown(Shutdown::Write);
        });
        let _ = io::copy(&mut self.stream, &mut venue);
        // Also a venue that never ends what it has begun.
        let _ = venue.shutdown(Shutdown::Both);
        let _ = behind.join();
    }

    /// The same, where the client speaks TLS and the venue does not.
    pub fn relay_secure(mut self, server: &Arc<ServerConfig>, to: SocketAddr) {
        let Ok(mut venue) = TcpStream::connect(to) else {
            return;
        };
        let tls = Arc::new(Mutex::new(
            ServerConnection::new(Arc::clone(server)).unwrap(),
        ));
        let behind = {
            let (mut venue, tls) = (venue.try_clone().unwrap(), Arc::clone(&tls));
            let mut client = self.stream.try_clone().unwrap();
            spawn(move || {
                let mut bytes = [0; 4096];
                while let Ok(read @ 1..) = venue.read(&mut bytes) {
                    let mut tls = tls.lock();
                    tls.writer().write_all(&bytes[..read]).unwrap();
                    flush(&mut tls, &mut client);
                }
                let mut tls = tls.lock();
                tls.send_close_notify();
                flush(&mut tls, &mut client);
                let _ = client.shutdown(Shutdown::Write);
            })
        };
        // No lock is held while one side is read: the other may have something to say.
        let mut bytes = [0; 4096];
        while let Ok(read @ 1..) = self.stream.read(&mut bytes) {
            let mut plain = Vec::new();
            let mut tls = tls.lock();
            let mut rest = &bytes[..read];
            while !rest.is_empty() && tls.read_tls(&mut rest).is_ok() {
                if tls.process_new_packets().is_err() {
                    break;
                }
                // Nothing more is there, or the client has ended.
                let _ = tls.reader().read_to_end(&mut plain);
            }
            flush(&mut tls, &mut self.stream);
            drop(tls);
            if !rest.is_empty() || venue.write_all(&plain).is_err() {
                break;
            }
        }
        let _ = venue.shutdown(Shutdown::Both);
        let _ = behind.join();
    }

    /// Writes, whether or not the client is still there.
    pub fn write(&mut self, bytes: impl AsRef<[u8]>) {
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Ends the connection with a reset.
    pub fn reset(&self) {
        socket2::SockRef::from(&self.stream)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
    }

    /// The same line, behind TLS.
    pub fn secure(&self, server: &Arc<ServerConfig>) -> StreamOwned<ServerConnection, TcpStream> {
        let tls = ServerConnection::new(Arc::clone(server)).unwrap();
        StreamOwned::new(tls, self.stream.try_clone().unwrap())
    }

    /// Upgrades.
    pub fn venue(&self) -> Venue<TcpStream> {
        Venue::new(self.stream.try_clone().unwrap())
    }
}

impl Peer {
    /// A peer with a script.
    pub fn start(script: impl Fn(Line) + Send + Sync + 'static) -> Self {
        Self::start_at(([127, 0, 0, 1], 0).into(), script)
    }

    /// A peer that listens at an address.
    pub fn start_at(address: SocketAddr, script: impl Fn(Line) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(address).unwrap();
        let address = listener.local_addr().unwrap();
        let stop = Arc::new(AtomicBool::new(false));
        let open = Arc::new(Mutex::new(Vec::new()));
        let (gate, closed) = crossbeam_channel::bounded(0);
        let (accepted_sender, accepted) = crossbeam_channel::unbounded();
        let script = Arc::new(script);
        let thread = {
            let (stop, open) = (Arc::clone(&stop), Arc::clone(&open));
            spawn(move || {
                let mut scripts = Vec::new();
                for number in 0.. {
                    let (stream, _) = listener.accept().unwrap();
                    if stop.load(Ordering::SeqCst) {
                        break;
                    }
                    let _ = stream.set_nodelay(true);
                    open.lock().push(stream.try_clone().unwrap());
                    let _ = accepted_sender.send(number);
                    let line = Line {
                        stream,
                        number,
                        gate: closed.clone(),
                    };
                    let (script, open) = (Arc::clone(&script), Arc::clone(&open));
                    scripts.push(spawn(move || {
                        let client = line.stream.peer_addr();
                        script(line);
                        // The copy that `Drop` would shut down goes too: this is the connection's end.
                        if let Ok(client) = client {
                            open.lock()
                                .retain(|copy| copy.peer_addr().is_ok_and(|peer| peer != client));
                        }
                    }));
                }
                for script in scripts {
                    // Scripts fail when their client goes away in the middle, which is often the point.
                    let _ = script.join();
                }
            })
        };
        Self {
            address,
            stop,
            open,
            gate: Some(gate),
            accepted,
            thread: Some(thread),
        }
    }

    /// A peer that speaks the stock protocol up to the point where it is authenticated, then runs the script.
    pub fn live(script: impl Fn(Line, &mut Venue<TcpStream>) + Send + Sync + 'static) -> Self {
        Self::start(move |line| {
            let mut venue = line.venue();
            venue.log_in();
            script(line, &mut venue);
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to open.
    pub fn stocks(&self) -> MarketData {
        stocks_at(&format!("ws://{}/v2/iex", self.address))
    }

    /// The numbers of connections, as they are accepted.
    pub fn accepted(&self) -> &Receiver<usize> {
        &self.accepted
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        self.gate = None;
        for stream in self.open.lock().drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let outcome = thread.join();
            assert!(outcome.is_ok() || thread::panicking());
        }
    }
}

/// Sends what TLS has to say, whether or not the client is still there.
fn flush(tls: &mut ServerConnection, client: &mut TcpStream) {
    while tls.wants_write() && tls.write_tls(client).is_ok() {}
}

/// A server's side of TLS for `localhost`, and the certificate that its clients have to trust.
pub fn certificate() -> (Vec<u8>, Arc<ServerConfig>) {
    let signed = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![signed.cert.der().clone()],
            PrivatePkcs8KeyDer::from(signed.signing_key.serialize_der()).into(),
        )
        .unwrap();
    (signed.cert.pem().into_bytes(), Arc::new(server))
}

/// The stock stream at `url`.
pub fn stocks_at(url: &str) -> MarketData {
    alpaca::stocks(Feed::Iex).at(url.parse::<Endpoint>().unwrap())
}

/// For a venue that is connected to again at once, as often as a test wants.
pub fn hurried(rules: Rules) -> Rules {
    let (least, most) = (Duration::from_millis(1), Duration::from_millis(20));
    rules
        .reaping(least, most)
        .attempts(20, Duration::from_micros(1))
}

/// The server's side of the stock protocol, one step at a time. Steps fail silently when the client has gone.
pub struct Venue<S: Read + Write>(pub WebSocket<S>);

impl<S: Read + Write> Venue<S> {
    /// Upgrades.
    pub fn new(stream: S) -> Self {
        Self(
            tungstenite::accept(stream)
                .map_err(|error| error.to_string())
                .unwrap(),
        )
    }

    /// Behind an upgrade that the script has answered itself.
    pub fn upgraded(stream: S) -> Self {
        let role = tungstenite::protocol::Role::Server;
        Self(WebSocket::from_raw_socket(stream, role, None))
    }

    /// Sends a text frame.
    pub fn say(&mut self, text: impl Into<String>) {
        let _ = self.0.send(Message::text(text.into()));
    }

    /// The next text frame; nothing once the client has gone or has asked to close.
    pub fn hear(&mut self) -> Option<String> {
        loop {
            match self.0.read() {
                Ok(Message::Text(text)) => return Some(text.to_string()),
                Ok(Message::Close(_)) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Welcome.
    pub fn welcome(&mut self) {
        self.say(r#"[{"T":"success","msg":"connected"}]"#);
    }

    /// Welcome and authentication.
    pub fn log_in(&mut self) {
        self.welcome();
        if self.hear().is_some() {
            self.say(r#"[{"T":"success","msg":"authenticated"}]"#);
        }
    }

    /// Answers the next request with just what it asks for.
    pub fn confirm(&mut self) {
        let Some(request) = self.hear() else { return };
        let request: serde_json::Value = serde_json::from_str(&request).unwrap();
        let of = |channel: &str| {
            request
                .get(channel)
                .cloned()
                .unwrap_or_else(|| "[]".parse().unwrap())
        };
        self.say(format!(
            r#"[{{"T":"subscription","trades":{},"quotes":{},"bars":{}}}]"#,
            of("trades"),
            of("quotes"),
            of("bars")
        ));
    }

    /// Answers pings and closes until the client is gone.
    pub fn serve(&mut self) {
        while self.0.read().is_ok() {}
    }
}

/// A trade as the venue writes it.
pub fn trade(id: i64) -> String {
    format!(
        r#"{{"T":"t","i":{id},"S":"AAPL","x":"V","p":187.25,"s":100,"c":["@"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}}"#
    )
}

/// A quote as the venue writes it.
pub fn quote(bid_size: i64) -> String {
    format!(
        r#"{{"T":"q","S":"AAPL","bx":"V","bp":187.24,"bs":{bid_size},"ax":"V","ap":187.26,"as":2,"c":["R"],"z":"C","t":"2026-03-17T14:30:05.123456789Z"}}"#
    )
}

/// The id of a trade.
pub fn trade_id(update: &Update<TradeEvent>) -> Option<i64> {
    match update {
        Update::Event(event) => event.trade().and_then(|trade| trade.id),
        _ => None,
    }
}

/// Opens with a manager of its own.
pub fn open(
    config: &Config,
    venue: &MarketData,
    credentials: &Credentials,
) -> StreamHandle<MarketData> {
    Manager::with_config(config.clone())
        .unwrap()
        .open(venue, credentials)
        .unwrap()
}

/// Waits until an attempt has failed, and gives its error: the one that the stream ended with, or the last cause.
pub fn failure(handle: &StreamHandle<MarketData>) -> Error {
    until("the attempt has failed", || {
        handle.end_reason().is_some() || handle.health().cause.is_some()
    });
    match handle.wait_live(Duration::ZERO) {
        Err(error) => match error.kind() {
            ErrorKind::TimedOut {
                cause: Some(cause), ..
            } => cause.clone(),
            _ => error,
        },
        Ok(()) => panic!("it is live"),
    }
}

/// The names of the settings that two openers disagree about.
pub(crate) fn names(differences: &[trunkline::error::SettingDifference]) -> Vec<&'static str> {
    differences.iter().map(|setting| setting.name).collect()
}

/// A listener that completes no further TCP handshake, and what fills it.
pub struct FullBacklog {
    listener: socket2::Socket,
    fillers: Vec<TcpStream>,
}

impl FullBacklog {
    /// Listens, and fills the backlog until a connect hangs.
    pub fn new() -> io::Result<Self> {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None)?;
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())?;
        listener.listen(0)?;
        let address = listener.local_addr()?.as_socket().unwrap();
        let mut fillers = Vec::new();
        while let Ok(filler) = TcpStream::connect_timeout(&address, Duration::from_millis(200)) {
            fillers.push(filler);
            assert!(fillers.len() < 64, "the backlog does not fill");
        }
        Ok(Self { listener, fillers })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.listener.local_addr().unwrap().as_socket().unwrap()
    }

    /// What to open.
    pub fn stocks(&self) -> MarketData {
        stocks_at(&format!("ws://{}/v2/iex", self.address()))
    }
}

/// An address that refuses connections.
pub fn refusing() -> MarketData {
    let address = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    stocks_at(&format!("ws://{address}/v2/iex"))
}
