//! Through proxies that are not ours: Tinyproxy, Squid, Dante and microsocks as Debian has them, and mitmproxy, which opens
//! the TLS that goes through it, as the proxies of companies do.
//!
//! Alpaca's SDK for Python goes through the first four to the simulator, too: what a proxy makes of the simulator's frames
//! is then judged by a client that is not ours.
//!
//! Where one is not installed its test says so and passes, unless `TRUNKLINE_REQUIRE_PROXIES` is set, or for mitmproxy and
//! the SDK `TRUNKLINE_REQUIRE_PYTHON`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests: they panic, and say what was skipped"
)]
#![cfg(unix)]

#[allow(dead_code, reason = "the examples themselves are not run here")]
use std::{
    fs::{self, File},
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use crate::common::{
    GENEROUS, Peer, Venue, alone_with, brisk, certificate, credentials, failure, hurried, open,
    patient, quiet_sim, stocks_at, until,
};
use crate::example::{Running, run};
use crate::foreign;
use trunkline::{
    Config, Error, ErrorKind, Phase, Proxy, StreamHandle,
    alpaca::MarketData,
    config::{Resolver, Roots},
    crossbeam_channel,
    error::{ProxyFault, Remedy},
    sim::{Sim, SimConfig},
};

/// Far more than a session takes.
const SESSION: Duration = Duration::from_secs(60);

/// A folder that is gone after the test, and that every user may read: some of the programs give their rights away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let folder = Self(path);
        // Squid opens it after it has become another user.
        let log = folder.file("log", "");
        fs::set_permissions(log, fs::Permissions::from_mode(0o666)).unwrap();
        folder
    }

    /// What the program writes.
    fn log(&self) -> PathBuf {
        self.0.join("log")
    }

    fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        path
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Debian keeps daemons where only root looks.
fn program(name: &str) -> Option<PathBuf> {
    let path = std::env::var("PATH").unwrap_or_default();
    let found = path
        .split(':')
        .chain(["/usr/sbin", "/usr/bin"])
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists());
    if found.is_none() {
        let is_required = std::env::var_os("TRUNKLINE_REQUIRE_PROXIES").is_some();
        assert!(!is_required, "{name} is not installed");
        println!("skipped: {name} is not installed");
    }
    found
}

fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

fn start(command: &mut Command, port: u16) -> Running {
    let running = Running(command.stdin(Stdio::null()).spawn().unwrap());
    until("the proxy listens", || {
        TcpStream::connect(("127.0.0.1", port)).is_ok()
    });
    running
}

/// Names are the proxy's to look up.
fn through(proxy: &str) -> Config {
    let mut config = brisk();
    config.close_timeout = Duration::from_millis(500);
    config.proxy = Proxy::At(proxy.parse().unwrap());
    config.resolver = Resolver::new(|host, _| panic!("{host} is for the proxy to look up"));
    config
}

fn refusal(config: &Config, port: u16) -> (ProxyFault, Error) {
    let mut once = config.clone();
    once.backoff = patient().backoff;
    let venue = stocks_at(&format!("ws://localhost:{port}/v2/iex")).with_rules(hurried);
    let feed = open(&once, &venue, &credentials());
    let error = failure(&feed);
    let ErrorKind::Proxy { fault, .. } = error.kind() else {
        panic!("{error:?}")
    };
    ((**fault).clone(), error)
}

fn until_live(feed: &StreamHandle<MarketData>, epoch: u64) {
    until("it is live", || {
        feed.health().epoch >= epoch && feed.phase() == Phase::Live
    });
}

/// A program, and what it can be asked to do, and to refuse.
struct Kind {
    program: &'static str,
    scheme: &'static str,
    has_login: bool,
    has_rules: bool,
    /// Adds the arguments with which it listens on a port of loopback, and lets through to the three others, if it has
    /// rules. Its configuration goes to the folder, and what it writes of connections to `Folder::log`, or to its output.
    arguments: fn(&mut Command, &Folder, u16, [u16; 3]),
    /// What a line of its has that tells of a connection, and the word in it that names the venue, up to the port.
    connected: [&'static str; 2],
}

/// A proxy that runs.
struct Server {
    kind: &'static Kind,
    port: u16,
    _running: Running,
    folder: Folder,
}

impl Server {
    /// Lets through to these ports.
    fn start(kind: &'static Kind, test: &str, ports: [u16; 3]) -> Option<Self> {
        let program = program(kind.program)?;
        let folder = Folder::new(&format!("{}-{test}", kind.program));
        let port = free_port();
        let mut command = Command::new(program);
        (kind.arguments)(&mut command, &folder, port, ports);
        let log = File::options().append(true).open(folder.log()).unwrap();
        command.stdout(log.try_clone().unwrap()).stderr(log);
        Some(Self {
            kind,
            port,
            _running: start(&mut command, port),
            folder,
        })
    }

    fn url(&self, login: &str) -> String {
        format!("{}://{login}127.0.0.1:{}", self.kind.scheme, self.port)
    }

    fn right_url(&self) -> String {
        self.url(if self.kind.has_login {
            "me:hunter2@"
        } else {
            ""
        })
    }

    /// How often it says that it has connected to a port of `localhost`.
    fn connected(&self, port: u16) -> usize {
        let [mark, host] = self.kind.connected;
        let venue = format!("{host}{port}");
        fs::read_to_string(self.folder.log())
            .unwrap()
            .lines()
            .filter(|line| line.contains(mark))
            .filter(|line| line.split_whitespace().any(|word| word == venue))
            .count()
    }
}

/// Our client goes through, and what the proxy refuses is told.
fn judge(kind: &'static Kind) {
    let sim = quiet_sim();
    let (root, server) = certificate();
    let behind_tls = Peer::start(move |line| {
        let mut venue = Venue::new(line.secure(&server));
        venue.log_in();
        venue.serve();
    });
    let secure = behind_tls.address().port();
    let nobody = free_port();
    let ports = [sim.local_addr().port(), secure, nobody];
    let Some(proxy) = Server::start(kind, "client", ports) else {
        return;
    };
    let config = through(&proxy.right_url());

    let venue = stocks_at(&format!(
        "ws://localhost:{}/v2/iex",
        sim.local_addr().port()
    ))
    .with_rules(hurried);
    let feed = open(&config, &venue, &credentials());
    until_live(&feed, 1);
    sim.cut();
    until_live(&feed, 2);
    feed.close(GENEROUS).unwrap();
    assert_eq!(sim.stats().connections_opened, 2);

    let mut trusting = config.clone();
    trusting.extra_roots = root;
    let venue = stocks_at(&format!("wss://localhost:{secure}/v2/iex")).with_rules(hurried);
    let feed = open(&trusting, &venue, &credentials());
    until_live(&feed, 1);
    feed.close(GENEROUS).unwrap();
    assert_eq!(behind_tls.accepted().len(), 1);

    let (fault, error) = refusal(&config, nobody);
    assert!(
        matches!(fault, ProxyFault::VenueUnreachable { .. }),
        "{error:?}"
    );
    assert!(error.is_retryable(), "{error:?}");
    if kind.has_rules {
        let (fault, error) = refusal(&config, free_port());
        assert!(matches!(fault, ProxyFault::Forbidden { .. }), "{error:?}");
        assert_eq!(error.remedy(), Remedy::AllowInProxy);
    }
    if kind.has_login {
        let (fault, error) = refusal(&through(&proxy.url("me:wrong@")), nobody);
        assert!(matches!(fault, ProxyFault::LoginRefused(_)), "{error:?}");
        assert_eq!(error.remedy(), Remedy::FixProxy);
        let (fault, error) = refusal(&through(&proxy.url("")), nobody);
        assert!(matches!(fault, ProxyFault::LoginWanted { .. }), "{error:?}");
        assert_eq!(error.remedy(), Remedy::FixProxy);
    }
    assert_eq!(sim.stats().connections_opened, 2);
}

/// Alpaca's SDK for Python goes through to the simulator, with TLS and without. The proxy's word is what shows that it
/// did: the SDK would reach the simulator without it.
fn judge_the_sdk(kind: &'static Kind) {
    let Some(python) = foreign::python() else {
        return;
    };
    let (events, seen) = crossbeam_channel::unbounded();
    let mut config = SimConfig::default();
    config.rate = 1_000;
    config.incidents = 50;
    config.events = Some(events);
    let sim = Sim::start(config).unwrap();
    let venue = sim.local_addr();
    let (root, server) = certificate();
    let behind_tls = Peer::start(move |line| line.relay_secure(&server, venue));
    let ports = [venue.port(), behind_tls.address().port(), free_port()];
    let Some(proxy) = Server::start(kind, "sdk", ports) else {
        return;
    };
    let root = proxy
        .folder
        .file("root.pem", &String::from_utf8(root).unwrap());
    for (scheme, port) in ["ws", "wss"].into_iter().zip(ports) {
        let ran = run(
            Command::new(&python)
                .arg(foreign::script("market_data.py"))
                .args(["proxied", &format!("{scheme}://localhost:{port}")])
                .arg(proxy.right_url())
                .env("SSL_CERT_FILE", &root),
            SESSION,
        );
        assert_eq!(ran.code(), Some(0), "{scheme}: {ran:?}");
        let mut said = Vec::new();
        while !said.iter().any(|line: &String| line.contains(" closed: ")) {
            said.push(seen.recv_timeout(GENEROUS).unwrap().to_string());
        }
        let [opened, authenticated, closed] = said.as_slice() else {
            panic!("{scheme}: {said:#?}")
        };
        assert!(
            opened.contains(" opened /v2/iex ") && opened.ends_with("msgpack"),
            "{opened}"
        );
        assert!(authenticated.contains(" authenticated "), "{authenticated}");
        assert!(closed.ends_with("closed by the client"), "{closed}");
        until("the proxy has written it down", || {
            proxy.connected(port) > 0
        });
    }
    let [open, secure, _] = ports.map(|port| proxy.connected(port));
    assert_eq!((open, secure), (1, 1));
    assert_eq!(sim.stats().connections_opened, 2);
}

static TINYPROXY: Kind = Kind {
    program: "tinyproxy",
    scheme: "http",
    has_login: true,
    has_rules: true,
    arguments: |command, folder, port, [open, secure, nobody]| {
        let file = folder.file(
            "tinyproxy.conf",
            &format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\n\
                 BasicAuth me hunter2\nConnectPort {open}\nConnectPort {secure}\nConnectPort {nobody}\n"
            ),
        );
        command.args(["-d", "-c"]).arg(file);
    },
    connected: ["Request (file descriptor", "localhost:"],
};

static SQUID: Kind = Kind {
    program: "squid",
    scheme: "http",
    has_login: true,
    has_rules: true,
    arguments: |command, folder, port, [open, secure, nobody]| {
        // `openssl passwd -apr1 -salt trunkline hunter2`
        let users = folder.file("users", "me:$apr1$trunklin$kVBQPlW8RUeNvhdhB/b3f1\n");
        let file = folder.file(
            "squid.conf",
            &format!(
                "http_port 127.0.0.1:{port}\nvisible_hostname localhost\n\
                 auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 acl users proxy_auth REQUIRED\nacl venue port {open} {secure} {nobody}\n\
                 http_access deny !venue\nhttp_access allow users\nhttp_access deny all\n\
                 cache deny all\naccess_log stdio:{}\ncache_log /dev/null\npid_filename none\n\
                 shutdown_lifetime 0 seconds\n",
                users.display(),
                folder.log().display()
            ),
        );
        command.args(["-N", "-f"]).arg(file);
    },
    connected: ["TCP_TUNNEL/200", "localhost:"],
};

static DANTE: Kind = Kind {
    program: "danted",
    scheme: "socks5",
    has_login: false,
    has_rules: true,
    arguments: |command, folder, port, ports| {
        let rules = ports.map(|port| {
            format!(
                "socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 port = {port} command: connect\nlog: connect }}\n"
            )
        });
        let file = folder.file(
            "danted.conf",
            &format!(
                "logoutput: stdout\ninternal: 127.0.0.1 port = {port}\nexternal: lo\n\
                 clientmethod: none\nsocksmethod: none\n\
                 client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n{}\
                 socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n",
                rules.concat()
            ),
        );
        command.arg("-f").arg(file);
    },
    connected: [": tcp/connect [", "127.0.0.1."],
};

static MICROSOCKS: Kind = Kind {
    program: "microsocks",
    scheme: "socks5h",
    has_login: true,
    has_rules: false,
    arguments: |command, _, port, _| {
        command
            .args(["-i", "127.0.0.1", "-p", &port.to_string()])
            .args(["-u", "me", "-P", "hunter2"]);
    },
    connected: ["connected to", "localhost:"],
};

#[test]
fn tinyproxy() {
    judge(&TINYPROXY);
}

#[test]
fn squid() {
    judge(&SQUID);
}

#[test]
fn dante() {
    judge(&DANTE);
}

#[test]
fn microsocks() {
    judge(&MICROSOCKS);
}

#[test]
fn the_sdk_for_python_goes_through_tinyproxy() {
    judge_the_sdk(&TINYPROXY);
}

#[test]
fn the_sdk_for_python_goes_through_squid() {
    judge_the_sdk(&SQUID);
}

#[test]
fn the_sdk_for_python_goes_through_dante() {
    judge_the_sdk(&DANTE);
}

#[test]
fn the_sdk_for_python_goes_through_microsocks() {
    judge_the_sdk(&MICROSOCKS);
}

/// The root of such a proxy is trusted where it was installed: in a file that `SSL_CERT_FILE` names, or in the settings.
#[test]
fn mitmproxy() {
    let Some(python) = foreign::python_with("foreign-proxies", "proxies.txt") else {
        return;
    };
    // Where it keeps its root: this process and its child agree on it.
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mitmproxy");
    let root = home.join("mitmproxy-ca-cert.pem");
    let variables = [
        ("SSL_CERT_FILE", root.to_str()),
        ("SSL_CERT_DIR", None),
        ("NO_PROXY", None),
        ("no_proxy", None),
    ];
    alone_with("real_proxies::mitmproxy", &variables, || {
        let _ = fs::remove_dir_all(&home);
        fs::create_dir_all(&home).unwrap();
        let (authority, server) = certificate();
        let upstream = home.join("upstream.pem");
        fs::write(&upstream, authority).unwrap();
        let venue = Peer::start(move |line| {
            let mut venue = Venue::new(line.secure(&server));
            venue.log_in();
            venue.serve();
        });
        let port = free_port();
        let _running = start(
            Command::new(python.with_file_name("mitmdump"))
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .args(["-q", "--listen-host", "127.0.0.1", "-p", &port.to_string()])
                .args(["--proxyauth", "me:hunter2", "--set"])
                .arg(format!("confdir={}", home.display()))
                .arg("--set")
                .arg(format!(
                    "ssl_verify_upstream_trusted_ca={}",
                    upstream.display()
                )),
            port,
        );
        let url = format!("wss://localhost:{}/v2/iex", venue.address().port());
        let mut config = through(&format!("http://me:hunter2@127.0.0.1:{port}"));

        let feed = open(
            &config,
            &stocks_at(&url).with_rules(hurried),
            &credentials(),
        );
        let error = feed.wait_live(GENEROUS).unwrap_err();
        assert_eq!(
            (error.code(), error.phase()),
            ("tls", Some(Phase::Securing))
        );
        let text = error.to_string();
        assert!(text.contains("it was issued by `mitmproxy`"), "{text}");
        assert!(
            text.contains(&format!("through the proxy http://127.0.0.1:{port}")),
            "{text}"
        );

        config.roots = Roots::Platform;
        let feed = open(
            &config,
            &stocks_at(&url).with_rules(hurried),
            &credentials(),
        );
        feed.wait_live(GENEROUS).unwrap();
        config.roots = Roots::Bundled;
        config.extra_roots = fs::read(&root).unwrap();
        let feed = open(
            &config,
            &stocks_at(&url).with_rules(hurried),
            &credentials(),
        );
        feed.wait_live(GENEROUS).unwrap();
        drop(feed);

        let wrong = through(&format!("http://me:wrong@127.0.0.1:{port}"));
        let (fault, error) = refusal(&wrong, 9);
        assert!(matches!(fault, ProxyFault::LoginRefused(_)), "{error:?}");
    });
}
