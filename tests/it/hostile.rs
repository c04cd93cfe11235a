//! A server cannot hold a stream's thread (R4, R6). On each layer it sends what never comes to anything, as fast as it
//! can and without end; each time the stream can be stopped, keeps its deadlines, and asks whether anybody is there.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    io::Write,
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use crate::common::{
    GENEROUS, Line, Peer, Venue, certificate, credentials, failure, open, patient, stocks_at,
    until, until_no_thread,
};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use trunkline::{
    Config,
    alpaca::{self, MarketData},
};

/// What the server does without end. Each ends when the client, or the test, has ended the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attack {
    /// In place of the answer to the upgrade.
    Head,
    /// The same, a byte at a time.
    SlowHead,
    /// A message whose bytes come one at a time.
    Drip,
    /// A message of parts without content.
    EmptyParts,
    Pings,
    /// Records of TLS without plain text: changes of its keys.
    Records,
}

/// When it begins, once TCP and TLS are there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    /// In place of the upgrade.
    Connected,
    /// In place of the welcome.
    Upgraded,
    Live,
}

impl Attack {
    /// What comes first, and what comes again and again.
    fn bytes(self) -> (&'static [u8], Vec<u8>) {
        match self {
            Self::Head => (
                b"HTTP/1.1 101 Switching Protocols\r\n",
                b"x: y\r\n".repeat(1_000),
            ),
            Self::SlowHead => (b"HTTP/1.1 101 Switching Protocols\r\nx: ", b"y".to_vec()),
            Self::Drip => (&[0x81, 127, 0, 0, 0, 0, 0, 0x3f, 0, 0], b" ".to_vec()),
            Self::EmptyParts => (&[1, 0], [0, 0].repeat(32_768)),
            Self::Pings => (&[], [0x89, 0].repeat(32_768)),
            Self::Records => (&[], Vec::new()),
        }
    }

    fn write(self, stream: &mut impl Write, begun: &AtomicBool) {
        let (first, again) = self.bytes();
        let mut result = stream.write_all(first);
        while result.is_ok() {
            result = stream.write_all(&again).and_then(|()| stream.flush());
            begun.store(true, Ordering::SeqCst);
        }
    }

    fn write_secure(
        self,
        stream: &mut StreamOwned<ServerConnection, TcpStream>,
        begun: &AtomicBool,
    ) {
        if self != Self::Records {
            return self.write(stream, begun);
        }
        loop {
            for _ in 0..100 {
                stream.conn.refresh_traffic_keys().unwrap();
            }
            while stream.conn.wants_write() {
                if stream.conn.write_tls(&mut stream.sock).is_err() {
                    return;
                }
            }
            begun.store(true, Ordering::SeqCst);
        }
    }
}

struct Server {
    peer: Peer,
    config: Config,
    secure: bool,
    begun: Arc<AtomicBool>,
}

impl Server {
    fn start(attack: Attack, when: When, secure: bool) -> Self {
        let (authority, tls) = certificate();
        let begun = Arc::new(AtomicBool::new(false));
        let peer = {
            let begun = Arc::clone(&begun);
            Peer::start(move |line| run(line, attack, when, secure.then_some(&tls), &begun))
        };
        let mut config = patient();
        config.extra_roots = authority;
        config.close_timeout = Duration::from_millis(100);
        Self {
            peer,
            config,
            secure,
            begun,
        }
    }

    fn venue(&self) -> MarketData {
        let scheme = if self.secure { "wss" } else { "ws" };
        let port = self.peer.address().port();
        stocks_at(&format!("{scheme}://localhost:{port}/v2/iex"))
    }

    fn until_it_has_begun(&self) {
        until("the attack has begun", || self.begun.load(Ordering::SeqCst));
    }
}

fn run(
    mut line: Line,
    attack: Attack,
    when: When,
    tls: Option<&Arc<ServerConfig>>,
    begun: &AtomicBool,
) {
    let log_in = |venue: &mut dyn FnMut()| {
        if when == When::Live {
            venue();
        }
    };
    match tls {
        None if when == When::Connected => {
            line.request();
            attack.write(&mut line.stream, begun);
        }
        None => {
            let mut venue = line.venue();
            log_in(&mut || {
                venue.log_in();
                venue.confirm();
            });
            attack.write(&mut line.stream, begun);
        }
        Some(tls) if when == When::Connected => {
            let mut stream = line.secure(tls);
            while stream.conn.is_handshaking() {
                stream.conn.complete_io(&mut stream.sock).unwrap();
            }
            attack.write_secure(&mut stream, begun);
        }
        Some(tls) => {
            let mut venue = Venue::new(line.secure(tls));
            log_in(&mut || {
                venue.log_in();
                venue.confirm();
            });
            attack.write_secure(venue.0.get_mut(), begun);
        }
    }
}

/// Every attack that makes sense, in the clear and behind TLS.
fn attacks(whens: &[When]) -> Vec<(Attack, When, bool)> {
    let all = [
        (Attack::Head, When::Connected),
        (Attack::SlowHead, When::Connected),
        (Attack::Records, When::Connected),
        (Attack::Drip, When::Upgraded),
        (Attack::EmptyParts, When::Upgraded),
        (Attack::Pings, When::Upgraded),
        (Attack::Records, When::Upgraded),
        (Attack::Drip, When::Live),
        (Attack::EmptyParts, When::Live),
        (Attack::Pings, When::Live),
        (Attack::Records, When::Live),
    ];
    let mut attacks = Vec::new();
    for (attack, when) in all {
        for secure in [false, true] {
            if whens.contains(&when) && (secure || attack != Attack::Records) {
                attacks.push((attack, when, secure));
            }
        }
    }
    attacks
}

#[test]
fn a_stream_can_be_stopped_whatever_its_server_sends() {
    for (attack, when, secure) in attacks(&[When::Connected, When::Upgraded, When::Live]) {
        let server = Server::start(attack, when, secure);
        let credentials = credentials();
        let handle = open(&server.config, &server.venue(), &credentials);
        // The server waits for this request: what it sends before it has seen one may be read with its welcome.
        let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
        server.until_it_has_begun();
        drop(trades);
        let closed = handle.close(GENEROUS);
        assert!(
            closed.is_ok(),
            "{attack:?} {when:?} {secure}: {}",
            closed.unwrap_err()
        );
        until_no_thread(&credentials);
    }
}

#[test]
fn a_set_up_ends_in_time_whatever_its_server_sends() {
    for (attack, when, secure) in attacks(&[When::Connected, When::Upgraded]) {
        let mut server = Server::start(attack, when, secure);
        server.config.setup_timeout = Duration::from_millis(500);
        let credentials = credentials();
        let handle = open(&server.config, &server.venue(), &credentials);
        let error = failure(&handle);
        assert!(
            error.is_retryable(),
            "{attack:?} {when:?} {secure}: {error}"
        );
        drop(handle);
        until_no_thread(&credentials);
    }
}

/// Each of these brings nothing that counts as a sign of life. A ping does.
#[test]
fn a_line_is_pinged_and_given_up_whatever_its_server_sends() {
    for (attack, when, secure) in attacks(&[When::Live]) {
        // rustls itself ends a line on which keys are changed without end.
        if matches!(attack, Attack::Pings | Attack::Records) {
            continue;
        }
        let mut server = Server::start(attack, when, secure);
        server.config.ping_interval = Duration::from_millis(200);
        server.config.ping_timeout = Duration::from_millis(200);
        let credentials = credentials();
        let handle = open(&server.config, &server.venue(), &credentials);
        let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
        let error = failure(&handle);
        assert_eq!(error.code(), "lost", "{attack:?} {secure}: {error}");
        assert!(
            handle.health().counters.pings > 0,
            "{attack:?} {secure}: {error:?}"
        );
        drop((trades, handle));
        until_no_thread(&credentials);
    }
}
