//! A proxy's user and password: in no record, no text and no memory that is not theirs.

use trunkline::{Config, Credentials, Manager, Proxy, Update, alpaca, config::ProxyServer};

use crate::{
    canary::{PLAIN, assert_clean, base64},
    capture::{Capture, is_trade, read_until},
    child::{DONE, Server, with_child},
    peer::{Listener, Peer},
    support::WAIT,
};

const VENUE: &str = "ws://venue.test/v2/iex";

fn venue() -> alpaca::MarketData {
    alpaca::stocks(alpaca::Feed::Iex).at(VENUE.parse().unwrap())
}

/// The child's server is the proxy.
fn through(server: &Server, scheme: &str) -> ProxyServer {
    let (_, rest) = server.url.split_once("://").unwrap();
    let address = rest.split('/').next().unwrap();
    format!("{scheme}://{address}").parse().unwrap()
}

// ------------------------------------------------------------------------------------------------------------ the records

#[test]
fn the_login_of_an_http_proxy_is_in_no_record_or_text() {
    match Server::of_this_child() {
        Some(server) => live_a_life(&server, "http"),
        None => with_child(
            "the_login_of_an_http_proxy_is_in_no_record_or_text",
            serve_http,
        ),
    }
}

#[test]
fn the_login_of_a_socks_proxy_is_in_no_record_or_text() {
    match Server::of_this_child() {
        Some(server) => live_a_life(&server, "socks5"),
        None => with_child(
            "the_login_of_a_socks_proxy_is_in_no_record_or_text",
            serve_socks,
        ),
    }
}

/// Lets it through, then refuses it with all that it was sent, and lets it through again.
fn serve_http(listener: &Listener) {
    for life in 0..3 {
        let mut peer = Peer::next(listener);
        peer.read_head();
        let login = format!("{}:{}", PLAIN.key, PLAIN.secret);
        assert!(
            peer.head.contains(&base64(login.as_bytes(), b"+/")),
            "{}",
            peer.head
        );
        if life == 1 {
            let sent = peer.head.replace("\r\n", " ");
            peer.http(&format!(
                "HTTP/1.1 407 {login} {sent}\r\nProxy-Authenticate: {login}, Basic realm=\"{sent}\"\r\n\r\n{login} {sent}"
            ));
            continue;
        }
        peer.http("HTTP/1.1 200 Connection established\r\n\r\n");
        live(&mut peer, life + 1);
    }
}

fn serve_socks(listener: &Listener) {
    for life in 0..3 {
        let mut peer = Peer::next(listener);
        assert_eq!(peer.take(4), [5, 2, 0, 2]);
        peer.raw(&[5, 2]);
        let login = peer.take(3 + PLAIN.key.len() + PLAIN.secret.len());
        let login = String::from_utf8(login).unwrap();
        assert!(login.contains(PLAIN.key) && login.ends_with(PLAIN.secret));
        if life == 1 {
            peer.raw(&[1, 7]);
            peer.raw(login.as_bytes());
            continue;
        }
        peer.raw(&[1, 0]);
        assert_eq!(peer.take(17), b"\x05\x01\x00\x03\x0avenue.test\x00\x50");
        peer.raw(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        live(&mut peer, life + 1);
    }
}

fn live(peer: &mut Peer, trade: u32) {
    peer.upgrade();
    assert_clean(PLAIN, &peer.head);
    peer.log_in();
    peer.serve_until("AAPL");
    peer.trade(trade);
    if trade > 1 {
        peer.serve_to_the_end();
    }
}

fn live_a_life(server: &Server, scheme: &str) {
    let capture = Capture::install();
    let proxy = through(server, scheme);
    let mut config = server.config();
    // It was accepted before.
    config.backoff.credentials_patience = WAIT;
    config.proxy = Proxy::At(proxy.login(PLAIN.key, PLAIN.secret).unwrap());
    capture.add(format_args!("{config:?} {config:#?} {:?}", config.proxy));
    let manager = Manager::with_config(config).unwrap();
    let credentials = Credentials::new("PKNOTTHEPROXYS", "of-the-venue-alone").unwrap();
    let feed = manager.open(&venue(), &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    read_until(capture, &trades, |update| is_trade(update, 1));
    // Behind the gap come refused attempts, which are told in its place.
    read_until(capture, &trades, |update| is_trade(update, 3));
    capture.stream(&feed, &manager);
    let told = capture.0.lock().clone();
    let refused = "refused its user and password";
    assert!(told.contains(refused), "it was told: {told}");
    manager.shutdown(WAIT);
    for update in &trades {
        capture.update(&update);
        if matches!(update, Update::Ended(_)) {
            break;
        }
    }
    drop((feed, trades));
    let told = capture.0.lock().clone();
    assert!(told.contains("TRACE"), "everything is captured");
    assert_clean(PLAIN, &told);
    println!("{DONE}");
}

// ------------------------------------------------------------------------------------------------------------- the memory

#[cfg(target_os = "linux")]
mod memory {
    use super::*;
    use crate::{
        child::with_child_of_environment,
        hidden::{Needle, SECRET, key},
        memory::assert_copies,
        support::eventually,
    };
    use trunkline::Phase;
    use zeroize::Zeroizing;

    const USER: Needle = key(40);
    const CONNECTIONS: u64 = 5;

    #[test]
    fn the_login_of_a_proxy_is_in_memory_once_and_gone_with_its_configuration() {
        const NAME: &str = "the_login_of_a_proxy_is_in_memory_once_and_gone_with_its_configuration";
        match Server::of_this_child() {
            Some(server) => ["http", "socks5"].map(|scheme| one_copy(&server, scheme)),
            None => {
                with_child(NAME, |listener| {
                    serve(listener, http);
                    serve(listener, socks);
                });
                return;
            }
        };
        println!("{DONE}");
    }

    /// What a proxy does with what it was sent.
    enum Answer {
        LetThrough,
        /// Says it again, in its answer and behind that.
        Repeat,
    }

    fn http(peer: &mut Peer, answer: Answer) {
        peer.read_head();
        match answer {
            Answer::LetThrough => peer.http("HTTP/1.1 200 Connection established\r\n\r\n"),
            Answer::Repeat => {
                let (user, password) = (text(USER), text(SECRET));
                let sent = format!("{} {} {}", peer.head.replace("\r\n", " "), *user, *password);
                peer.http(&format!(
                    "HTTP/1.1 407 No\r\nX: {sent}\r\nProxy-Authenticate: Basic\r\n\r\n{}",
                    sent.repeat(200)
                ));
            }
        }
    }

    fn socks(peer: &mut Peer, answer: Answer) {
        peer.take(4);
        peer.raw(&[5, 2]);
        let login = peer.take(3 + USER.len + SECRET.len);
        peer.raw(&[1, 0]);
        peer.take(17);
        match answer {
            Answer::LetThrough => peer.raw(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]),
            // In the place of the name that it connects from, which never ends.
            Answer::Repeat => {
                let length = u8::try_from(login.len() + 3).unwrap();
                peer.raw(&[&[5, 0, 0, 3, length], &*login].concat());
            }
        }
    }

    fn serve(listener: &Listener, tunnel: fn(&mut Peer, Answer)) {
        for _ in 0..CONNECTIONS {
            let mut peer = Peer::next(listener);
            tunnel(&mut peer, Answer::LetThrough);
            peer.upgrade();
            peer.log_in();
            listener.wait_for_a_knock();
        }
        // The last, or the next one would be read to the same place.
        let mut peer = Peer::next(listener);
        tunnel(&mut peer, Answer::Repeat);
    }

    /// The environment keeps what it has. The stream's copy of it goes when the stream drains.
    #[test]
    fn the_login_of_a_proxy_of_the_environment_goes_when_the_stream_drains() {
        const NAME: &str = "the_login_of_a_proxy_of_the_environment_goes_when_the_stream_drains";
        if let Some(server) = Server::of_this_child() {
            return drains(&server);
        }
        let variables = |address| {
            let (user, password) = (text(USER), text(SECRET));
            let url = format!("http://{}:{}@{address}", *user, *password);
            vec![
                ("HTTPS_PROXY", url),
                ("NO_PROXY", String::new()),
                ("no_proxy", String::new()),
            ]
        };
        with_child_of_environment(variables, 40, NAME, None, |listener| {
            let mut peer = Peer::next(listener);
            peer.read_head();
            peer.http("HTTP/1.1 200 Connection established\r\n\r\n");
            peer.upgrade();
            peer.log_in();
            listener.wait_for_a_knock();
            peer.serve_to_the_end();
        });
    }

    fn drains(server: &Server) {
        assert_copies(USER, "in the environment", 1);
        let mut config: Config = server.config();
        config.close_timeout = WAIT;
        config.proxy = Proxy::FromEnv;
        let manager = Manager::with_config(config).unwrap();
        let credentials = Credentials::new("PKNOTTHEPROXYS", "of-the-venue-alone").unwrap();
        let feed = manager.open(&venue(), &credentials).unwrap();
        feed.wait_live(WAIT).unwrap();
        assert_copies(USER, "in the environment, and the stream's", 2);
        manager.shutdown(std::time::Duration::ZERO);
        eventually("it waits for the peer to close", || {
            feed.phase() == Phase::Closing
        });
        assert_copies(USER, "draining", 1);
        server.knock();
        feed.close(WAIT).unwrap();
        println!("{DONE}");
    }

    /// Never in one piece but in what is wiped.
    fn text(needle: Needle) -> Zeroizing<String> {
        let mut text = Zeroizing::new(String::with_capacity(needle.len));
        (0..needle.len).for_each(|at| text.push(char::from(needle.at(at))));
        text
    }

    fn one_copy(server: &Server, scheme: &str) {
        assert_copies(USER, "before", 0);
        let proxy = through(server, scheme);
        let proxy = proxy
            .login(text(USER).as_str(), text(SECRET).as_str())
            .unwrap();
        assert_copies(USER, "configured", 1);
        let mut config: Config = server.config();
        config.close_timeout = WAIT;
        config.ping_interval = WAIT;
        config.ping_timeout = WAIT;
        // The first failure at the proxy is the last: in front of it each connection was cut.
        config.backoff.reset_after = std::time::Duration::MAX;
        config.backoff.max_failures = u32::try_from(CONNECTIONS + 1).ok();
        config.proxy = Proxy::At(proxy);
        let manager = Manager::with_config(config).unwrap();
        let credentials = Credentials::new("PKNOTTHEPROXYS", "of-the-venue-alone").unwrap();
        let feed = manager.open(&venue(), &credentials).unwrap();
        for connection in 1..=CONNECTIONS {
            eventually("the line is live", || {
                feed.health().epoch == connection && feed.phase() == Phase::Live
            });
            assert_copies(USER, &format!("{scheme}: on connection {connection}"), 1);
            assert_no_base64(&format!("{scheme}: on connection {connection}"));
            server.knock();
        }
        eventually("the proxy has said it again", || {
            feed.phase() == Phase::Ended
        });
        let error = feed.wait_live(WAIT).unwrap_err();
        assert!(format!("{error:?}").contains("the proxy"), "{error:?}");
        assert_copies(USER, "repeated, and the configuration held", 1);
        assert_no_base64("repeated");
        drop((feed, error));
        drop(manager);
        assert_copies(USER, "dropped", 0);
        assert_no_base64("dropped");
    }

    /// As an HTTP proxy is sent it. What is looked for is turned over, or it would find itself.
    #[track_caller]
    fn assert_no_base64(when: &str) {
        use std::os::unix::fs::FileExt as _;
        const SIGNS: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let login = |at: usize| match at.checked_sub(USER.len) {
            None => USER.at(at),
            Some(0) => b':',
            Some(behind) => SECRET.at(behind - 1),
        };
        let sign = |at: usize| {
            let three = [0, 1, 2].map(|by| usize::from(login(at / 4 * 3 + by)));
            let bits = three[0] << 16 | three[1] << 8 | three[2];
            SIGNS[bits >> (18 - at % 4 * 6) & 63]
        };
        // Behind what an allocator writes into freed memory.
        let needle: [u8; 32] = std::array::from_fn(|at| sign(24 + at) ^ 0xff);
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let memory = std::fs::File::open("/proc/self/mem").unwrap();
        let mut buffer = vec![0_u8; 1 << 20];
        for line in maps.lines() {
            let mut fields = line.split_whitespace();
            let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
            if !rights.starts_with("rw") {
                continue;
            }
            let (start, end) = range.split_once('-').unwrap();
            let mut at = u64::from_str_radix(start, 16).unwrap();
            let end = u64::from_str_radix(end, 16).unwrap();
            while at + (needle.len() as u64) < end {
                let want = buffer.len().min((end - at) as usize);
                let Ok(read) = memory.read_at(&mut buffer[..want], at) else {
                    break;
                };
                let own = buffer.as_ptr() as u64;
                for (offset, window) in buffer[..read].windows(needle.len()).enumerate() {
                    let address = at + offset as u64;
                    if window[0] ^ needle[0] == 0xff
                        && !(own..own + buffer.len() as u64).contains(&address)
                        && window
                            .iter()
                            .zip(&needle)
                            .all(|(one, other)| one ^ other == 0xff)
                    {
                        panic!("{when}: the login in Base64, at {address:x}");
                    }
                }
                if read < needle.len() || at + read as u64 == end {
                    break;
                }
                at += (read - needle.len() + 1) as u64;
            }
        }
        buffer.fill(0);
    }
}
