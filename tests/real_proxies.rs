//! Through proxies that are not ours: Tinyproxy, Squid, Dante and microsocks as Debian has them, and mitmproxy, which opens
//! the TLS that goes through it, as the proxies of companies do.
//!
//! Where one is not installed its test says so and passes, unless `TRUNKLINE_REQUIRE_PROXIES` is set, or for mitmproxy
//! `TRUNKLINE_REQUIRE_PYTHON`.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests: they panic, and say what was skipped"
)]
#![cfg(unix)]

mod common;
#[allow(dead_code, reason = "the examples themselves are not run here")]
mod example;
mod foreign;

use std::{
    fs,
    net::{TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::Duration,
};

use common::{
    GENEROUS, Peer, Venue, alone_with, brisk, certificate, credentials, failure, hurried, open,
    patient, quiet_sim, stocks_at, until,
};
use example::Running;
use trunkline::{
    Config, Error, ErrorKind, Phase, Proxy, StreamHandle,
    alpaca::MarketData,
    config::{Resolver, Roots},
    error::{ProxyFault, Remedy},
};

/// A folder that is gone after the test, and that every user may read: some of the programs give their rights away.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("trunkline-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        Self(path)
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
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let running = Running(child);
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

/// What a proxy can be asked to do, and to refuse.
struct Kind {
    scheme: &'static str,
    has_login: bool,
    has_rules: bool,
}

/// `run` starts the proxy on a port, and lets it through to the three others.
fn judge(kind: &Kind, run: impl FnOnce(u16, [u16; 3]) -> Running) {
    let sim = quiet_sim();
    let (root, server) = certificate();
    let behind_tls = Peer::start(move |line| {
        let mut venue = Venue::new(line.secure(&server));
        venue.log_in();
        venue.serve();
    });
    let secure = behind_tls.address().port();
    let nobody = free_port();
    let port = free_port();
    let _running = run(port, [sim.local_addr().port(), secure, nobody]);
    let with = |login: &str| through(&format!("{}://{login}127.0.0.1:{port}", kind.scheme));
    let config = with(if kind.has_login { "me:hunter2@" } else { "" });

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
        let (fault, error) = refusal(&with("me:wrong@"), nobody);
        assert!(matches!(fault, ProxyFault::LoginRefused(_)), "{error:?}");
        assert_eq!(error.remedy(), Remedy::FixProxy);
        let (fault, error) = refusal(&with(""), nobody);
        assert!(matches!(fault, ProxyFault::LoginWanted { .. }), "{error:?}");
        assert_eq!(error.remedy(), Remedy::FixProxy);
    }
    assert_eq!(sim.stats().connections_opened, 2);
}

#[test]
fn tinyproxy() {
    let Some(program) = program("tinyproxy") else {
        return;
    };
    let folder = Folder::new("tinyproxy");
    let kind = Kind {
        scheme: "http",
        has_login: true,
        has_rules: true,
    };
    judge(&kind, |port, [open, secure, nobody]| {
        let file = folder.file(
            "tinyproxy.conf",
            &format!(
                "Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 20\nAllow 127.0.0.1\n\
                 BasicAuth me hunter2\nConnectPort {open}\nConnectPort {secure}\nConnectPort {nobody}\n"
            ),
        );
        start(Command::new(program).args(["-d", "-c"]).arg(file), port)
    });
}

#[test]
fn squid() {
    let Some(program) = program("squid") else {
        return;
    };
    let folder = Folder::new("squid");
    let kind = Kind {
        scheme: "http",
        has_login: true,
        has_rules: true,
    };
    judge(&kind, |port, [open, secure, nobody]| {
        // `openssl passwd -apr1 -salt trunkline hunter2`
        let users = folder.file("users", "me:$apr1$trunklin$kVBQPlW8RUeNvhdhB/b3f1\n");
        let file = folder.file(
            "squid.conf",
            &format!(
                "http_port 127.0.0.1:{port}\nvisible_hostname localhost\n\
                 auth_param basic program /usr/lib/squid/basic_ncsa_auth {}\n\
                 acl users proxy_auth REQUIRED\nacl venue port {open} {secure} {nobody}\n\
                 http_access deny !venue\nhttp_access allow users\nhttp_access deny all\n\
                 cache deny all\naccess_log none\ncache_log /dev/null\npid_filename none\n\
                 shutdown_lifetime 0 seconds\n",
                users.display()
            ),
        );
        start(Command::new(program).args(["-N", "-f"]).arg(file), port)
    });
}

#[test]
fn dante() {
    let Some(program) = program("danted") else {
        return;
    };
    let folder = Folder::new("dante");
    let kind = Kind {
        scheme: "socks5",
        has_login: false,
        has_rules: true,
    };
    judge(&kind, |port, [open, secure, nobody]| {
        let rule = |port| {
            format!(
                "socks pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 port = {port} command: connect }}\n"
            )
        };
        let file = folder.file(
            "danted.conf",
            &format!(
                "logoutput: /dev/null\ninternal: 127.0.0.1 port = {port}\nexternal: lo\n\
                 clientmethod: none\nsocksmethod: none\n\
                 client pass {{ from: 127.0.0.0/8 to: 0.0.0.0/0 }}\n{}{}{}\
                 socks block {{ from: 0.0.0.0/0 to: 0.0.0.0/0 }}\n",
                rule(open),
                rule(secure),
                rule(nobody)
            ),
        );
        start(Command::new(program).arg("-f").arg(file), port)
    });
}

#[test]
fn microsocks() {
    let Some(program) = program("microsocks") else {
        return;
    };
    let kind = Kind {
        scheme: "socks5h",
        has_login: true,
        has_rules: false,
    };
    judge(&kind, |port, _| {
        let port_text = port.to_string();
        let arguments = [
            "-i",
            "127.0.0.1",
            "-p",
            &port_text,
            "-u",
            "me",
            "-P",
            "hunter2",
        ];
        start(Command::new(program).args(arguments), port)
    });
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
    alone_with("mitmproxy", &variables, || {
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
