//! The simulator over real sockets.

use std::{
    io::Write as _,
    net::TcpStream,
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use tungstenite::{Error as WsError, Message, WebSocket};

use super::*;
use crate::clock;

const AUTH: &str = r#"{"action":"auth","key":"PKONE","secret":"s1"}"#;
const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;
const LIMIT: &str = r#"[{"T":"error","code":406,"msg":"connection limit exceeded"}]"#;
const GENEROUS: Duration = Duration::from_secs(10);

struct Client(WebSocket<TcpStream>);

impl Client {
    fn open(sim: &Sim) -> Self {
        let mut client = Self::upgrade(sim, "/v2/iex").unwrap();
        assert_eq!(client.next(), r#"[{"T":"success","msg":"connected"}]"#);
        client
    }

    fn live(sim: &Sim) -> Self {
        let mut client = Self::open(sim);
        assert_eq!(client.ask(AUTH), AUTHENTICATED);
        client
    }

    fn upgrade(sim: &Sim, path: &str) -> Result<Self, WsError> {
        let stream = TcpStream::connect(sim.local_addr()).unwrap();
        stream.set_read_timeout(Some(GENEROUS)).unwrap();
        match tungstenite::client(sim.endpoint(path).to_string(), stream) {
            Ok((socket, _)) => Ok(Self(socket)),
            Err(tungstenite::HandshakeError::Failure(error)) => Err(error),
            Err(other) => panic!("{other}"),
        }
    }

    fn ask(&mut self, message: &str) -> String {
        self.0.send(Message::text(message)).unwrap();
        self.next()
    }

    fn next(&mut self) -> String {
        match self.0.read().unwrap() {
            Message::Text(text) => text.to_string(),
            other => panic!("{other}"),
        }
    }
}

/// A simulator that sends only what is pushed, and what it tells of connections.
fn quiet(change: impl FnOnce(&mut SimConfig)) -> (Sim, Receiver<SimEvent>) {
    let (events, happened) = crossbeam_channel::bounded(1024);
    let mut config = SimConfig {
        rate: 0,
        events: Some(events),
        ..SimConfig::default()
    };
    change(&mut config);
    (Sim::start(config).unwrap(), happened)
}

/// Waits for a closed connection, and says how it ended.
fn closed(happened: &Receiver<SimEvent>) -> &'static str {
    loop {
        if let SimEvent::Closed { why, .. } = happened.recv_timeout(GENEROUS).unwrap() {
            return why;
        }
    }
}

#[test]
fn data_flows_to_a_subscriber() {
    let (sim, _) = quiet(|config| config.rate = 2_000);
    let mut client = Client::live(&sim);
    let reply = client.ask(r#"{"action":"subscribe","trades":["AAPL"],"quotes":["*"]}"#);
    assert!(reply.starts_with(r#"[{"T":"subscription","trades":["AAPL"],"quotes":["*"]"#));
    for _ in 0..50 {
        assert!(client.next().starts_with(r#"[{"T":""#));
    }
    let stats = sim.stats();
    assert_eq!((stats.connections_opened, stats.requests), (1, 1));
    assert!(stats.messages_sent >= 50);
}

#[test]
fn json_in_binary_frames_is_understood() {
    let (sim, _) = quiet(|_| {});
    let mut client = Client::open(&sim);
    client.0.send(Message::binary(AUTH.as_bytes())).unwrap();
    assert_eq!(client.next(), AUTHENTICATED);
}

#[test]
fn a_wrong_path_is_not_found() {
    let (sim, happened) = quiet(|_| {});
    match Client::upgrade(&sim, "/v2/boats") {
        Err(WsError::Http(response)) => assert_eq!(response.status(), 404),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("upgraded"),
    }
    let event = happened.recv_timeout(GENEROUS).unwrap();
    assert!(event.to_string().contains("404"), "{event}");
}

#[test]
fn ends_of_stream_that_have_arrived_count_before_a_newcomer() {
    // Each client ends its socket in its own way, and the next one comes at once.
    let (sim, _) = quiet(|_| {});
    for round in 0..150 {
        let mut client = Client::live(&sim);
        match round % 3 {
            0 => {
                // Authentication is under way when the socket ends.
                client
                    .0
                    .get_mut()
                    .shutdown(std::net::Shutdown::Both)
                    .unwrap();
            }
            1 => {
                client.0.close(None).unwrap();
                while client.0.read().is_ok() {}
            }
            _ => drop(client),
        }
    }
    let stats = sim.stats();
    assert_eq!((stats.limit_errors, stats.most_open_per_key), (0, 1));
}

#[test]
fn an_end_that_arrived_counts_although_the_newcomer_is_read_first() {
    let (sim, _) = quiet(|_| {});
    for _ in 0..30 {
        // The newcomer has the lower number, so its turn comes first where both are ready.
        let mut new = Client::open(&sim);
        let old = Client::live(&sim);
        {
            // The thread is kept from its poller until both have happened.
            let _held = sim.shared.desk.lock();
            sim.wake();
            drop(old);
            new.0.send(Message::text(AUTH)).unwrap();
        }
        assert_eq!(new.next(), AUTHENTICATED);
    }
    let stats = sim.stats();
    assert_eq!((stats.limit_errors, stats.most_open_per_key), (0, 1));
}

#[test]
fn what_a_newcomer_says_in_another_ones_turn_waits_for_its_own() {
    // Two that were refused, and both ask again at once: one gets the slot, each gets one answer.
    let (sim, _) = quiet(|_| {});
    for _ in 0..30 {
        let old = Client::live(&sim);
        let (mut one, mut two) = (Client::open(&sim), Client::open(&sim));
        assert_eq!((one.ask(AUTH), two.ask(AUTH)), (LIMIT.into(), LIMIT.into()));
        {
            let _held = sim.shared.desk.lock();
            sim.wake();
            drop(old);
            two.0.send(Message::text(AUTH)).unwrap();
            one.0.send(Message::text(AUTH)).unwrap();
        }
        let mut answers = [one.next(), two.next()];
        answers.sort();
        assert_eq!(answers, [LIMIT, AUTHENTICATED]);
    }
}

#[test]
fn the_newcomer_is_refused_and_the_old_one_goes_on() {
    let (sim, _) = quiet(|_| {});
    let mut old = Client::live(&sim);
    let mut new = Client::open(&sim);
    assert_eq!(new.ask(AUTH), LIMIT);
    assert!(
        old.ask(r#"{"action":"subscribe"}"#)
            .contains("subscription")
    );
    drop(old);
    assert_eq!(new.ask(AUTH), AUTHENTICATED);
    let stats = sim.stats();
    assert_eq!((stats.limit_errors, stats.most_open_per_key), (1, 2));
}

#[test]
fn a_late_client_is_told_and_closed() {
    let (sim, _) = quiet(|config| config.auth_timeout = Duration::from_millis(20));
    let mut client = Client::open(&sim);
    assert_eq!(
        client.next(),
        r#"[{"T":"error","code":404,"msg":"auth timeout"}]"#
    );
    assert!(matches!(client.0.read(), Ok(Message::Close(Some(_)))));
    assert!(matches!(client.0.read(), Err(WsError::ConnectionClosed)));
}

#[test]
fn cut_close_and_reset_are_what_they_say() {
    let (sim, happened) = quiet(|_| {});
    let mut client = Client::live(&sim);
    sim.cut();
    assert!(matches!(
        client.0.read(),
        Err(WsError::Protocol(
            tungstenite::error::ProtocolError::ResetWithoutClosingHandshake
        ))
    ));
    drop(client);
    assert_eq!(closed(&happened), "cut");

    let mut client = Client::live(&sim);
    sim.close_all(1012);
    match client.0.read() {
        Ok(Message::Close(Some(frame))) => assert_eq!(u16::from(frame.code), 1012),
        other => panic!("{other:?}"),
    }
    assert!(matches!(client.0.read(), Err(WsError::ConnectionClosed)));
    drop(client);
    assert_eq!(closed(&happened), "closed on request");

    let client = Client::live(&sim);
    sim.reset();
    assert_eq!(closed(&happened), "reset");
    let mut byte = [0];
    let error = std::io::Read::read(&mut client.0.get_ref(), &mut byte).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    assert_eq!(sim.stats().most_open_per_key, 1);
}

#[test]
fn raw_text_reaches_those_who_are_authenticated() {
    let (sim, _) = quiet(|_| {});
    let mut client = Client::live(&sim);
    sim.send_raw("no JSON");
    assert_eq!(client.next(), "no JSON");
}

#[test]
fn a_mute_simulator_answers_nothing_until_it_speaks_again() {
    let (sim, _) = quiet(|_| {});
    let mut client = Client::live(&sim);
    sim.mute(true);
    // Nothing tells when an order was carried out; the raw text that follows it would have come.
    sim.send_raw("lost");
    client.0.send(Message::Ping("hello".into())).unwrap();
    client
        .0
        .get_mut()
        .set_read_timeout(Some(Duration::from_millis(100)))
        .unwrap();
    assert!(matches!(client.0.read(), Err(WsError::Io(_))));
    client.0.get_mut().set_read_timeout(Some(GENEROUS)).unwrap();
    // A newcomer's upgrade waits, too.
    let mut newcomer = TcpStream::connect(sim.local_addr()).unwrap();
    newcomer.set_read_timeout(Some(GENEROUS)).unwrap();
    newcomer
        .write_all(b"GET /v2/iex HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
        .unwrap();
    sim.mute(false);
    assert!(matches!(client.0.read(), Ok(Message::Pong(_))));
    assert!(
        client
            .ask(r#"{"action":"subscribe"}"#)
            .contains("subscription")
    );
    let mut answer = [0; 12];
    std::io::Read::read_exact(&mut newcomer, &mut answer).unwrap();
    assert_eq!(&answer, b"HTTP/1.1 101");
}

#[test]
fn a_client_that_does_not_read_is_cut() {
    let (sim, happened) = quiet(|config| {
        config.output_limit = 64 << 10;
        config.rate = 1_000_000;
    });
    let mut client = Client::live(&sim);
    client
        .0
        .send(Message::text(r#"{"action":"subscribe","quotes":["*"]}"#))
        .unwrap();
    let told = |event: &SimEvent| matches!(event, SimEvent::Refused { code: 407, .. });
    while !told(&happened.recv_timeout(GENEROUS).unwrap()) {}
    // It is cut only now, and what was sent before is still there to be read.
    let mut last = String::new();
    while let Ok(message) = client.0.read() {
        last = message.to_string();
    }
    drop(client);
    assert_eq!(last, r#"[{"T":"error","code":407,"msg":"slow client"}]"#);
    assert_eq!(closed(&happened), "too slow");
    assert_eq!(sim.stats().slow_clients, 1);
}

#[test]
fn a_broken_frame_costs_one_connection() {
    let (sim, happened) = quiet(|_| {});
    let mut client = Client::live(&sim);
    // Not masked, which a client's frame must be.
    client.0.get_mut().write_all(&[0x81, 1, b'x']).unwrap();
    assert!(matches!(client.0.read(), Ok(Message::Close(Some(_)))));
    drop(client);
    assert_eq!(closed(&happened), "the client broke the WebSocket protocol");
    Client::live(&sim);
}

#[test]
fn dropping_it_ends_every_connection_and_its_thread() {
    let (sim, _) = quiet(|config| config.rate = 10_000);
    let mut client = Client::live(&sim);
    client.ask(r#"{"action":"subscribe","quotes":["*"]}"#);
    let address = sim.local_addr();
    let shared = Arc::downgrade(&sim.shared);
    drop(sim);
    assert!(shared.upgrade().is_none(), "the thread holds it no longer");
    while client.0.read().is_ok() {}
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn statistics_follow_connections() {
    let (sim, happened) = quiet(|_| {});
    let client = Client::live(&sim);
    drop(client);
    closed(&happened);
    let deadline: Instant = clock::now() + GENEROUS;
    while sim.stats().connections_open != 0 {
        assert!(clock::now() < deadline);
        std::thread::yield_now();
    }
}

#[test]
fn threads_can_share_it() {
    fn shareable<T: Send + Sync>() {}
    shareable::<Sim>();
}

#[test]
fn bad_settings_are_refused() {
    let changes: [fn(&mut SimConfig); 7] = [
        |config| config.batch = 0,
        |config| config.connection_limit = 0,
        |config| config.output_limit = 1,
        |config| config.rate = u32::MAX,
        |config| config.symbols = vec!["aapl".into()],
        |config| {
            config.faults = FaultScript::new([Fault::new(FaultKind::Cut, Duration::ZERO)]);
        },
        |config| config.listen = SocketAddr::from(([192, 0, 2, 1], 1)),
    ];
    for change in changes {
        let mut config = SimConfig::default();
        change(&mut config);
        let error = Sim::start(config).unwrap_err();
        assert_eq!(error.code(), "invalid_config", "{error}");
    }
}

#[test]
fn newcomers_are_reset_or_answered_with_a_status() {
    let (sim, happened) = quiet(|_| {});
    sim.inject(FaultKind::Http {
        status: 429,
        retry_after: Some(7),
    });
    match Client::upgrade(&sim, "/v2/iex") {
        Err(WsError::Http(response)) => {
            assert_eq!(response.status(), 429);
            assert_eq!(response.headers()["Retry-After"], "7");
        }
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("upgraded"),
    }
    Client::live(&sim);
    sim.inject(FaultKind::Refuse(Duration::from_secs(3_600)));
    assert!(matches!(
        Client::upgrade(&sim, "/v2/iex"),
        Err(WsError::Io(_) | WsError::Protocol(_))
    ));
    let told = |event: SimEvent| event.to_string().contains("reset by the fault script");
    while !told(happened.recv_timeout(GENEROUS).unwrap()) {}
}

#[test]
fn a_stalled_upgrade_is_not_answered() {
    let (sim, _) = quiet(|_| {});
    sim.inject(FaultKind::StallUpgrade);
    let mut stalled = TcpStream::connect(sim.local_addr()).unwrap();
    stalled.write_all(b"GET /v2/iex HTTP/1.1\r\n\r\n").unwrap();
    Client::live(&sim);
    stalled.set_nonblocking(true).unwrap();
    let error = std::io::Read::read(&mut stalled, &mut [0]).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock);
}

#[test]
fn a_half_open_connection_says_nothing_and_its_end_is_noticed() {
    let (sim, happened) = quiet(|_| {});
    let mut client = Client::live(&sim);
    sim.inject(FaultKind::HalfOpen);
    until(|| sim.stats().faults_injected == 1);
    client.0.send(Message::Ping("?".into())).unwrap();
    // Its slot is free, and its socket is not in the way.
    let mut second = Client::live(&sim);
    second.0.send(Message::Ping("?".into())).unwrap();
    assert!(matches!(second.0.read(), Ok(Message::Pong(_))));
    client.0.get_mut().set_nonblocking(true).unwrap();
    assert!(matches!(client.0.read(), Err(WsError::Io(_))));
    drop(client);
    assert_eq!(closed(&happened), "broken by the fault script");
}

#[test]
fn frames_end_in_their_middle_or_are_too_large_for_anybody() {
    let (sim, _) = quiet(|_| {});
    let mut client = Client::live(&sim);
    sim.inject(FaultKind::ResetMidFrame);
    assert!(matches!(client.0.read(), Err(WsError::Io(_))));
    drop(client);
    let mut client = Client::live(&sim);
    sim.inject(FaultKind::Oversized);
    assert!(matches!(client.0.read(), Err(WsError::Capacity(_))));
}

#[test]
fn pieces_make_whole_frames() {
    let (sim, _) = quiet(|_| {});
    let mut client = Client::live(&sim);
    for kind in [FaultKind::Dribble, FaultKind::Split, FaultKind::Coalesce] {
        sim.inject(kind);
        for number in 0..40 {
            sim.send_raw(format!("{kind} {number}"));
        }
        for number in 0..40 {
            assert_eq!(client.next(), format!("{kind} {number}"));
        }
    }
    assert_eq!(sim.stats().faults_injected, 3);
}

#[test]
fn a_slow_client_is_told_and_its_slot_is_reaped() {
    let (sim, _) = quiet(|config| config.reap_after = Duration::from_millis(200));
    let mut client = Client::live(&sim);
    sim.inject(FaultKind::SlowClient);
    assert!(client.next().contains("407"));
    assert!(client.0.read().is_err());
    drop(client);
    let mut next = Client::open(&sim);
    assert_eq!(next.ask(AUTH), LIMIT);
    let deadline = clock::now() + GENEROUS;
    while next.ask(AUTH) != AUTHENTICATED {
        assert!(clock::now() < deadline);
    }
}

fn until(condition: impl Fn() -> bool) {
    let deadline = clock::now() + GENEROUS;
    while !condition() {
        assert!(clock::now() < deadline);
        std::thread::yield_now();
    }
}
