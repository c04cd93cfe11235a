//! Proxies, with every step of theirs scripted: the handshakes, what they refuse and how that is told, and the rules of the
//! environment. `real_proxies` shows the same with programs that are not ours.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    net::{SocketAddr, TcpListener},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::common;
use crate::common::{
    FullBacklog, GENEROUS, Line, Peer, Venue, alone_with, brisk, certificate, credentials, failure,
    hurried, open, patient, quiet_sim, stocks_at, until, until_no_thread,
};
use crate::support::logger::{install, records};
use parking_lot::Mutex;
use trunkline::{
    Config, Error, ErrorKind, Manager, Phase, Proxy, StreamHandle,
    alpaca::MarketData,
    config::Resolver,
    error::{ProxyAnswer, ProxyFault, Remedy},
};

const PASSWORD: &str = "hunter2/of the odd:kind";

/// Goes through a proxy, and looks up no name but the proxy's.
fn through(proxy: &str) -> Config {
    let mut config = brisk();
    config.proxy = Proxy::At(proxy.parse().unwrap());
    config.resolver = Resolver::new(|host, _| panic!("{host} is for the proxy to look up"));
    config
}

fn url(scheme: &str, login: &str, proxy: &Peer) -> String {
    format!("{scheme}://{login}{}", proxy.address())
}

/// What a proxy was told.
type Heard = Arc<Mutex<Vec<String>>>;

/// A proxy that lets everybody through to one address, and keeps what it was told.
fn http_proxy(to: SocketAddr) -> (Peer, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let peer = Peer::start(move |mut line| {
        told.lock().extend(line.head());
        line.write("HTTP/1.1 200 Connection established\r\n\r\n");
        line.relay(to);
    });
    (peer, heard)
}

fn socks_proxy(to: SocketAddr, wants_login: bool) -> (Peer, Heard) {
    let heard = Heard::default();
    let told = Arc::clone(&heard);
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let peer = Peer::start(move |mut line| {
        let count = line.bytes(2)[1];
        let kinds = line.bytes(count.into());
        assert_eq!(kinds.contains(&2), wants_login);
        if wants_login {
            line.write([5, 2]);
            let user_len = line.bytes(2)[1];
            let user = line.bytes(user_len.into());
            let password_len = line.bytes(1)[0];
            let password = line.bytes(password_len.into());
            told.lock().push(text(&user));
            told.lock().push(text(&password));
            line.write([1, 0]);
        } else {
            line.write([5, 0]);
        }
        let name_len = line.bytes(5)[4];
        let name = line.bytes(name_len.into());
        let port = line.bytes(2);
        let port = u16::from_be_bytes([port[0], port[1]]);
        told.lock().push(format!("{}:{port}", text(&name)));
        line.write([5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        line.relay(to);
    });
    (peer, heard)
}

fn until_live(feed: &StreamHandle<MarketData>, epoch: u64) {
    until("it is live", || {
        feed.health().epoch >= epoch && feed.phase() == Phase::Live
    });
}

// ------------------------------------------------------------------------------------------------------------- through

#[test]
fn a_line_goes_through_a_proxy_of_each_kind_and_again_when_it_broke() {
    install();
    let sim = quiet_sim();
    let to = sim.local_addr();
    let login = "me:hunter2%2Fof%20the%20odd%3Akind@";
    for (scheme, login) in [
        ("http", ""),
        ("http", login),
        ("socks5", ""),
        ("socks5h", login),
    ] {
        let (proxy, heard) = if scheme == "http" {
            http_proxy(to)
        } else {
            socks_proxy(to, !login.is_empty())
        };
        let config = through(&url(scheme, login, &proxy));
        let venue = stocks_at("ws://venue.test:81/v2/iex").with_rules(hurried);
        let credentials = credentials();
        let opened = sim.stats().connections_opened;
        let feed = open(&config, &venue, &credentials);
        until_live(&feed, 1);
        let told = std::mem::take(&mut *heard.lock());
        let wanted = match (scheme, login) {
            ("http", "") => vec!["CONNECT venue.test:81 HTTP/1.1", "Host: venue.test:81"],
            // Python's `base64.b64encode(b"me:hunter2/of the odd:kind")`.
            ("http", _) => vec![
                "CONNECT venue.test:81 HTTP/1.1",
                "Host: venue.test:81",
                "Proxy-Authorization: Basic bWU6aHVudGVyMi9vZiB0aGUgb2RkOmtpbmQ=",
            ],
            (_, "") => vec!["venue.test:81"],
            _ => vec!["me", PASSWORD, "venue.test:81"],
        };
        assert_eq!(told, wanted, "{scheme}");
        sim.cut();
        until_live(&feed, 2);
        assert_eq!(*heard.lock(), wanted, "{scheme}");
        assert_eq!(sim.stats().connections_opened, opened + 2);
        let told = records(feed.key());
        let told: Vec<_> = told.iter().map(|record| &record.message).collect();
        let shown = url(&scheme.replace("5h", "5"), "", &proxy);
        let says = format!(", through the proxy {shown}");
        assert!(told[0].ends_with(&says), "{told:?}");
        assert!(!format!("{told:?}").contains("hunter2"), "{told:?}");
        feed.close(GENEROUS).unwrap();
        until_no_thread(&credentials);
    }
}

/// The proxy sees nothing but TLS, and the certificate is the venue's.
#[test]
fn tls_goes_through_a_proxy_to_the_venue() {
    let (authority, server) = certificate();
    let venue = Peer::start(move |line| {
        let mut venue = Venue::new(line.secure(&server));
        venue.log_in();
        venue.serve();
    });
    let (proxy, _) = http_proxy(venue.address());
    let mut config = through(&url("http", "", &proxy));
    config.extra_roots = authority;
    let feed = open(
        &config,
        &stocks_at("wss://localhost/v2/iex").with_rules(hurried),
        &credentials(),
    );
    feed.wait_live(GENEROUS).unwrap();
    // Another name than the certificate's: who may have answered in the venue's place is named.
    let feed = open(
        &config,
        &stocks_at("wss://venue.test/v2/iex").with_rules(hurried),
        &credentials(),
    );
    let error = feed.wait_live(GENEROUS).unwrap_err();
    assert_eq!(
        (error.code(), error.phase()),
        ("tls", Some(Phase::Securing))
    );
    let says = format!("goes through the proxy http://{}", proxy.address());
    assert!(error.to_string().contains(&says), "{error}");
}

/// What the first opener has chosen holds, as for every other setting.
#[test]
fn openers_agree_on_the_proxy() {
    let sim = quiet_sim();
    let (proxy, _) = http_proxy(sim.local_addr());
    let credentials = credentials();
    let config = through(&url("http", "me:hunter2@", &proxy));
    let first = open(&config, &sim.stocks(), &credentials);
    let mut other = config.clone();
    for (proxy, agrees) in [
        (config.proxy.clone(), true),
        (
            Proxy::At(url("http", "me:hunter3@", &proxy).parse().unwrap()),
            false,
        ),
        (Proxy::Never, false),
        (Proxy::FromEnv, false),
    ] {
        other.proxy = proxy;
        let second = Manager::with_config(other.clone())
            .unwrap()
            .open(&sim.stocks(), &credentials);
        match second {
            Ok(_) => assert!(agrees),
            Err(error) => {
                let ErrorKind::SettingsConflict { differences } = error.kind() else {
                    panic!("{error:?}")
                };
                let names = common::names(differences);
                assert_eq!((agrees, names), (false, vec!["proxy"]));
                assert!(!error.to_string().contains("secret"), "{error}");
            }
        }
    }
    first.wait_live(GENEROUS).unwrap();
}

// ------------------------------------------------------------------------------------------------------------- refused

fn checked(row: &str, config: &Config, fault: &ProxyFault, phase: Phase, remedy: Remedy) -> Error {
    let credentials = credentials();
    let feed = open(
        config,
        &stocks_at("ws://venue.test/v2/iex").with_rules(hurried),
        &credentials,
    );
    let begun = Instant::now();
    let error = failure(&feed);
    assert!(begun.elapsed() < GENEROUS, "{row}");
    let ErrorKind::Proxy {
        proxy, fault: told, ..
    } = error.kind()
    else {
        panic!("{row}: {error:?}")
    };
    let Proxy::At(server) = &config.proxy else {
        panic!("{row}")
    };
    assert_eq!((&**told, proxy), (fault, &server.to_string()), "{row}");
    let seen = (error.code(), error.phase(), error.remedy());
    assert_eq!(seen, ("proxy", Some(phase), remedy), "{row}: {error:?}");
    let text = format!("{error:?}");
    assert!(text.contains(proxy), "{row}: it says which: {text}");
    for secret in ["hunter2", "aHVudGVyMg", "not-a-secret"] {
        assert!(!text.contains(secret), "{row}: {text}");
    }
    // Before it was ever live, what a human must mend ends it.
    if error.is_retryable() {
        assert!(feed.end_reason().is_none(), "{row}");
    } else {
        feed.wait_live(GENEROUS).unwrap_err();
        assert!(feed.end_reason().is_some(), "{row}");
    }
    let closing = Instant::now();
    drop(feed);
    assert!(closing.elapsed() < GENEROUS / 2, "{row}");
    until_no_thread(&credentials);
    error
}

fn status(status: u16) -> ProxyAnswer {
    let retry_after = None;
    ProxyAnswer::Http {
        status,
        retry_after,
    }
}

#[test]
fn what_a_proxy_refuses_is_a_typed_error_that_says_who_mends_it() {
    use ProxyAnswer::Socks;
    use ProxyFault::{
        Ended, Failed, Forbidden, LoginRefused, LoginWanted, NotAProxy, VenueUnreachable,
    };
    let venue = || "venue.test:80".to_owned();
    let not_a_proxy = |why: &str| NotAProxy(why.to_owned());
    let http = |head: &str| vec![format!("{head}\r\n\r\nhunter2").into_bytes()];
    let socks = |code: u8| {
        vec![
            vec![5, 2],
            vec![1, 0],
            vec![5, code, 0, 1, 0, 0, 0, 0, 0, 0],
        ]
    };
    for (scheme, answers, fault, remedy) in [
        (
            "http",
            http("HTTP/1.1 407 hunter2\r\nProxy-Authenticate: Basic realm=hunter2"),
            LoginRefused(status(407)),
            Remedy::FixProxy,
        ),
        (
            "http",
            http("HTTP/1.1 407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: hunter2"),
            LoginWanted {
                answer: status(407),
                is_configured: true,
                offers: "Negotiate".to_owned(),
            },
            Remedy::FixProxy,
        ),
        (
            "http",
            http("HTTP/1.1 403 Forbidden"),
            Forbidden {
                venue: venue(),
                answer: status(403),
            },
            Remedy::AllowInProxy,
        ),
        (
            "http",
            http("HTTP/1.0 502 Bad gateway"),
            VenueUnreachable {
                venue: venue(),
                answer: status(502),
            },
            Remedy::RetryLater,
        ),
        (
            "http",
            http("HTTP/1.1 429 Later"),
            Failed(status(429)),
            Remedy::RetryLater,
        ),
        (
            "http",
            vec![
                b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>hunter2</html>".to_vec(),
            ],
            not_a_proxy("it goes on with content, as a web server does"),
            Remedy::FixProxy,
        ),
        (
            "http",
            vec![b"<html>hunter2</html>".to_vec()],
            not_a_proxy("it does not answer in HTTP"),
            Remedy::FixProxy,
        ),
        (
            "http",
            http("HTTP/1.1 404 Not found"),
            not_a_proxy("HTTP 404 to `CONNECT`"),
            Remedy::FixProxy,
        ),
        ("http", vec![Vec::new()], Ended, Remedy::RetryLater),
        (
            "socks5",
            vec![vec![5, 2], vec![1, 9]],
            LoginRefused(Socks(9)),
            Remedy::FixProxy,
        ),
        (
            "socks5",
            vec![vec![5, 0xff]],
            LoginWanted {
                answer: Socks(0xff),
                is_configured: true,
                offers: String::new(),
            },
            Remedy::FixProxy,
        ),
        (
            "socks5",
            socks(2),
            Forbidden {
                venue: venue(),
                answer: Socks(2),
            },
            Remedy::AllowInProxy,
        ),
        (
            "socks5",
            socks(5),
            VenueUnreachable {
                venue: venue(),
                answer: Socks(5),
            },
            Remedy::RetryLater,
        ),
        ("socks5", socks(1), Failed(Socks(1)), Remedy::RetryLater),
        (
            "socks5",
            vec![b"HTTP/1.1 400 hunter2\r\n\r\n".to_vec()],
            not_a_proxy("it answers in HTTP: is it an `http://` proxy?"),
            Remedy::FixProxy,
        ),
        (
            "socks5",
            vec![vec![5, 2], Vec::new()],
            Ended,
            Remedy::RetryLater,
        ),
    ] {
        let row = format!("{scheme}: {fault}");
        let proxy = Peer::start(move |mut line| {
            for (number, answer) in answers.iter().enumerate() {
                if scheme == "http" {
                    line.head();
                } else {
                    // The greeting, the login, and the request by name.
                    line.bytes([4, 12, 17][number]);
                }
                line.write(answer);
            }
            let _ = line.stream.shutdown(std::net::Shutdown::Write);
            line.drain();
        });
        let mut config = patient();
        config.close_timeout = Duration::from_millis(100);
        config.proxy = Proxy::At(url(scheme, "me:hunter2@", &proxy).parse().unwrap());
        checked(&row, &config, &fault, Phase::Tunneling, remedy);
        assert_eq!(proxy.accepted().len(), 1, "{row}: it is not asked again");
    }
}

#[test]
fn a_login_that_a_proxy_wants_and_nobody_configured_is_asked_for() {
    let http = Peer::start(|mut line| {
        line.head();
        line.write("HTTP/1.1 407 No\r\nProxy-Authenticate: Basic\r\n\r\n");
    });
    let socks = Peer::start(|mut line| {
        line.bytes(3);
        line.write([5, 0xff]);
    });
    for (scheme, proxy, answer, offers) in [
        ("http", &http, status(407), "Basic"),
        ("socks5", &socks, ProxyAnswer::Socks(0xff), ""),
    ] {
        let config = through(&url(scheme, "", proxy));
        let fault = ProxyFault::LoginWanted {
            answer,
            is_configured: false,
            offers: offers.to_owned(),
        };
        let error = checked(scheme, &config, &fault, Phase::Tunneling, Remedy::FixProxy);
        assert!(
            error
                .to_string()
                .contains("no user and password are configured")
        );
    }
}

/// One deadline for the whole set-up, however a proxy dribbles.
#[test]
fn a_proxy_that_does_not_let_the_line_through_in_time_is_blamed_for_it() {
    let mute = Peer::start(|line| line.hold());
    let dribbling = Peer::start(|mut line| {
        line.head();
        let (_never, paused) = crossbeam_channel::bounded::<()>(0);
        for byte in b"HTTP/1.1 200 OK\r\nX: ".iter().cycle() {
            line.write([*byte]);
            if paused.recv_timeout(Duration::from_millis(20))
                != Err(crossbeam_channel::RecvTimeoutError::Timeout)
                || line.stream.peer_addr().is_err()
            {
                return;
            }
        }
    });
    let full = FullBacklog::new().unwrap();
    for (row, proxy, phase) in [
        ("http", url("http", "", &mute), Phase::Tunneling),
        ("socks", url("socks5", "", &mute), Phase::Tunneling),
        ("dribbles", url("http", "", &dribbling), Phase::Tunneling),
        (
            "hangs",
            format!("http://{}", full.address()),
            Phase::Connecting,
        ),
    ] {
        let mut config = through(&proxy);
        config.backoff = patient().backoff;
        config.setup_timeout = Duration::from_millis(300);
        let error = checked(row, &config, &ProxyFault::Silent, phase, Remedy::RetryLater);
        assert!(
            std::error::Error::source(&error).is_some(),
            "{row}: {error:?}"
        );
    }
}

/// Whoever ends or holds up the line behind a success may be the proxy or the venue.
#[test]
fn what_ends_or_hangs_behind_a_proxy_names_it() {
    install();
    const SUCCESS: &str = "HTTP/1.1 200 Connection established\r\n\r\n";
    let ends = Peer::start(|mut line| {
        line.head();
        line.write(SUCCESS);
    });
    let hangs = Peer::start(|mut line| {
        line.head();
        line.write(SUCCESS);
        line.hold();
    });
    let babbles = Peer::start(|mut line| {
        line.head();
        line.write(SUCCESS);
        line.head();
        line.write("hunter2\r\n\r\n");
        line.hold();
    });
    for (row, proxy, venue, code, phase) in [
        ("ends", &ends, "ws", "lost", Phase::Upgrading),
        ("ends", &ends, "wss", "lost", Phase::Securing),
        ("hangs", &hangs, "ws", "lost", Phase::Upgrading),
        ("hangs", &hangs, "wss", "lost", Phase::Securing),
        ("babbles", &babbles, "ws", "protocol", Phase::Upgrading),
    ] {
        let mut config = through(&url("http", "", proxy));
        config.backoff = patient().backoff;
        config.setup_timeout = Duration::from_millis(300);
        let feed = open(
            &config,
            &stocks_at(&format!("{venue}://venue.test/v2/iex")).with_rules(hurried),
            &credentials(),
        );
        let error = failure(&feed);
        assert_eq!((error.code(), error.phase()), (code, Some(phase)), "{row}");
        let says = format!("goes through the proxy http://{}", proxy.address());
        assert!(error.to_string().contains(&says), "{row}: {error}");
    }
}

#[test]
fn a_proxy_that_is_not_found_or_refuses_is_named_in_the_venues_place() {
    let nobody = TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let mut config = patient();
    config.resolver = Resolver::new(|host, _| {
        assert_eq!(host, "proxy.test");
        Err(std::io::Error::other("no such name"))
    });
    for (proxy, fault, phase, says) in [
        (
            format!("http://{nobody}"),
            ProxyFault::Unreachable,
            Phase::Connecting,
            "refused",
        ),
        (
            "socks5://proxy.test".to_owned(),
            ProxyFault::Unresolved,
            Phase::Resolving,
            "no such name",
        ),
    ] {
        config.proxy = Proxy::At(proxy.parse().unwrap());
        let error = checked(&proxy, &config, &fault, phase, Remedy::RetryLater);
        let text = format!("{error:?}");
        assert!(text.contains(says), "the cause is kept: {text}");
    }
}

// --------------------------------------------------------------------------------------------------------- environment

/// The variables of the machine that runs the tests are none of theirs.
const VARIABLES: [&str; 6] = [
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
    "NO_PROXY",
    "no_proxy",
];

fn with_variables(test: &str, set: &[(&str, &str)], body: impl FnOnce()) {
    let value = |name| set.iter().find(|(other, _)| *other == name);
    let variables = VARIABLES.map(|name| (name, value(name).map(|(_, value)| *value)));
    alone_with(test, &variables, body);
}

/// A port that nobody uses now, for a process that is to be told of it before it listens there.
fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port()
}

#[test]
fn the_environment_names_the_proxy_and_its_exceptions() {
    let test = "proxies::the_environment_names_the_proxy_and_its_exceptions";
    let port = free_port();
    let proxy = format!("http://me:hunter2@127.0.0.1:{port}");
    for set in [
        &[
            ("HTTPS_PROXY", &*proxy),
            ("NO_PROXY", "elsewhere.test,direct.test"),
        ][..],
        &[("all_proxy", &*proxy), ("no_proxy", ".direct.test")],
    ] {
        with_variables(test, set, || {
            let sim = quiet_sim();
            let name = VARIABLES
                .into_iter()
                .find(|name| std::env::var(name).is_ok_and(|value| value.contains("hunter2")));
            let port = std::env::var(name.unwrap()).unwrap();
            let port = port.rsplit(':').next().unwrap().parse().unwrap();
            let (to, heard) = (sim.local_addr(), Heard::default());
            let told = Arc::clone(&heard);
            let _proxy = Peer::start_at(([127, 0, 0, 1], port).into(), move |mut line: Line| {
                told.lock().extend(line.head());
                line.write("HTTP/1.1 200 OK\r\n\r\n");
                line.relay(to);
            });
            let mut config = Config::default();
            assert_eq!(config.proxy, Proxy::FromEnv, "it is the default");
            config.resolver = Resolver::new(move |host, _| {
                assert_eq!(host, "stream.direct.test");
                Ok(vec![to])
            });
            let live = |config: &Config, url: &str| {
                let feed = open(config, &stocks_at(url).with_rules(hurried), &credentials());
                feed.wait_live(GENEROUS).unwrap();
                std::mem::take(&mut *heard.lock())
            };
            let asked = live(&config, "ws://venue.test/v2/iex");
            assert_eq!(asked[0], "CONNECT venue.test:80 HTTP/1.1");
            let login = "Proxy-Authorization: Basic bWU6aHVudGVyMg==";
            assert!(asked.iter().any(|line| line == login), "{asked:?}");
            // An exception, and this machine itself.
            assert!(live(&config, "ws://stream.direct.test/v2/iex").is_empty());
            assert!(live(&config, &format!("ws://{to}/v2/iex")).is_empty());
            config.proxy = Proxy::Never;
            assert!(live(&config, "ws://stream.direct.test/v2/sip").is_empty());
        });
    }
}

/// A proxy that is set and cannot be used is no reason to go without one, and not a word of it is repeated.
#[test]
fn a_proxy_of_the_environment_that_makes_no_sense_fails_the_open() {
    let test = "proxies::a_proxy_of_the_environment_that_makes_no_sense_fails_the_open";
    for (value, says) in [
        ("https://me:hunter2@proxy.test", "reached by TLS"),
        ("socks4://me:hunter2@proxy.test", "none of `http`"),
        (
            "http://me:hunter2@proxy.test:hunter2",
            "port is not a number",
        ),
    ] {
        with_variables(test, &[("ALL_PROXY", value), ("NO_PROXY", says)], || {
            let says = std::env::var("NO_PROXY").unwrap();
            let credentials = credentials();
            let manager = Manager::new();
            for _ in 0..2 {
                let venue = stocks_at("wss://venue.test/v2/iex").with_rules(hurried);
                let error = manager.open(&venue, &credentials).unwrap_err();
                assert_eq!(
                    (error.code(), error.remedy()),
                    ("invalid_config", Remedy::FixRequest)
                );
                let text = format!("{error:?}");
                assert!(
                    text.contains("ALL_PROXY: ") && text.contains(&says),
                    "{text}"
                );
                assert!(!text.contains("hunter2") && !text.contains("me:"), "{text}");
            }
            until_no_thread(&credentials);
            // It harms nobody who needs none.
            let sim = quiet_sim();
            let feed = manager.open(&sim.stocks(), &credentials).unwrap();
            feed.wait_live(GENEROUS).unwrap();
        });
    }
}
