//! The same binary again, as a client in a process of its own.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Command, Stdio},
    thread,
};

use trunkline::{
    Config,
    alpaca::{self, Feed, MarketData},
};

use crate::{
    peer::{Identity, Listener},
    support::quick,
};

/// Set in the child: the URL of its server.
const SERVER: &str = "TRUNKLINE_TEST_SERVER";
/// Set in the child of a server with TLS: whom to trust.
const ROOT: &str = "TRUNKLINE_TEST_ROOT";
/// Set in the child: of how many characters its key id is.
const KEY_LEN: &str = "TRUNKLINE_TEST_KEY_LEN";
/// Printed by a child that came to its end.
pub(crate) const DONE: &str = "the child came to its end";

/// In the child: its server.
pub(crate) struct Server {
    pub(crate) url: String,
    root: String,
    #[cfg(target_os = "linux")]
    pub(crate) key_len: usize,
}

impl Server {
    /// Nothing in the parent.
    pub(crate) fn of_this_child() -> Option<Self> {
        Some(Self {
            url: std::env::var(SERVER).ok()?,
            root: std::env::var(ROOT).unwrap_or_default(),
            #[cfg(target_os = "linux")]
            key_len: std::env::var(KEY_LEN).unwrap().parse().unwrap(),
        })
    }

    pub(crate) fn venue(&self) -> MarketData {
        alpaca::stocks(Feed::Iex)
            .at(self.url.parse().unwrap())
            .symbol_budget(None)
            .with_rules(|rules| rules.attempts(20, std::time::Duration::from_micros(1)))
    }

    /// Quick to connect again, as often as a test wants.
    pub(crate) fn config(&self) -> Config {
        let mut config = quick();
        config.extra_roots = self.root.clone().into_bytes();
        // A login that was accepted once is given up at the first refusal.
        config.backoff.credentials_patience = std::time::Duration::ZERO;
        config
    }

    /// Lets the server go on, by a connection of its own.
    pub(crate) fn knock(&self) {
        let (_, address) = self.url.split_once("://").unwrap();
        let address = address.split('/').next().unwrap();
        TcpStream::connect(address).unwrap();
    }
}

/// Runs `test` of this binary in a child process, with `serve` as its server.
pub(crate) fn with_child(test: &str, serve: impl FnOnce(&Listener) + Send) {
    with_child_of_key(40, test, None, serve);
}

/// The same with a key id of so many characters, and over TLS if there is an identity.
pub(crate) fn with_child_of_key(
    key_len: usize,
    test: &str,
    identity: Option<&Identity>,
    serve: impl FnOnce(&Listener) + Send,
) {
    with_child_of_environment(|_| Vec::new(), key_len, test, identity, serve);
}

/// The same with further variables in its environment, which may depend on the address of the server.
pub(crate) fn with_child_of_environment(
    variables: impl FnOnce(SocketAddr) -> Vec<(&'static str, String)>,
    key_len: usize,
    test: &str,
    identity: Option<&Identity>,
    serve: impl FnOnce(&Listener) + Send,
) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let variables = variables(listener.local_addr().unwrap());
    let scheme = if identity.is_some() { "wss" } else { "ws" };
    let url = format!("{scheme}://{}/v2/iex", listener.local_addr().unwrap());
    let listener = Listener::new(listener, identity);
    let child = Command::new(std::env::current_exe().unwrap())
        .args([test, "--nocapture", "--test-threads=1"])
        .env(SERVER, url)
        .env(ROOT, identity.map_or("", |identity| &identity.root))
        .env(KEY_LEN, key_len.to_string())
        .envs(variables)
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
    let complete = stdout.contains(DONE) && stdout.contains(" 1 passed;");
    assert!(
        served.is_ok() && output.status.success() && complete,
        "key id of {key_len}, server {}, child {}:\n{stdout}\n{stderr}",
        if served.is_ok() { "fine" } else { "failed" },
        output.status
    );
}
