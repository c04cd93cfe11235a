//! What networks and servers do to a line, fault by fault: each ends in a typed error, a notice or a gap, in bounded
//! time, leaves nothing behind, and loses nothing that it does not declare. `faults.md` is the list of them all.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::disallowed_methods,
    reason = "tests"
)]

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};

use crate::common;
use crate::common::{
    FullBacklog, GENEROUS, Line, Peer, Venue, brisk, credentials, failure, hurried, ledger::Ledger,
    open, patient, quote, spawn, stocks_at, trade, trade_id, until, until_no_thread,
};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::{
    ServerConfig, ServerConnection, StreamOwned,
    pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer},
};
use trunkline::{
    Config, Credentials, Declared, EndReason, Error, ErrorKind, Notice, StreamHandle, Subscription,
    Update,
    alpaca::{self, MarketData},
    calendar::Calendar,
    config::Resolver,
    error::RejectionKind,
    market::TradeEvent,
    sim::{FaultKind, Sim, SimConfig},
};
use tungstenite::Message;

// ------------------------------------------------------------------------------------------------------- what it takes

/// Finds out soon that a line is dead.
fn suspicious() -> Config {
    let mut config = brisk();
    config.ping_interval = Duration::from_millis(200);
    config.ping_timeout = Duration::from_millis(500);
    config
}

fn sim(change: impl FnOnce(&mut SimConfig)) -> Sim {
    let mut config = SimConfig::default();
    config.rate = 2_000;
    change(&mut config);
    Sim::start(config).unwrap()
}

/// One who reads trades and keeps books.
struct Reader {
    credentials: Credentials,
    handle: StreamHandle<MarketData>,
    trades: Subscription<TradeEvent>,
    ledger: Ledger,
    causes: Vec<Error>,
}

impl Reader {
    fn of(name: &str, config: &Config, venue: &MarketData) -> Self {
        Self::at(name, config, &venue.clone().with_rules(hurried))
    }

    fn at(name: &str, config: &Config, venue: &MarketData) -> Self {
        let credentials = credentials();
        let handle = open(config, venue, &credentials);
        let trades = handle.subscribe(alpaca::trades(["AAPL"])).unwrap();
        Self {
            credentials,
            handle,
            trades,
            ledger: Ledger::new(name),
            causes: Vec::new(),
        }
    }

    fn read(&mut self) -> Update<TradeEvent> {
        let update = self
            .trades
            .recv_timeout(GENEROUS)
            .unwrap_or_else(|error| panic!("{error}: {}", self.handle.health()));
        self.ledger.enter(&update);
        if let Update::Gap(gap) = &update {
            self.causes.push(gap.cause.clone());
        }
        update
    }

    /// Reads so many trades more.
    fn read_trades(&mut self, count: u64) {
        let enough = self.ledger.events + count;
        while self.ledger.events < enough {
            self.read();
        }
    }

    /// Reads until the line has broken and is back, and brings trades again. Gives the first cause.
    fn read_past_a_gap(&mut self) -> Error {
        let (gaps, resumed) = (self.ledger.gaps, self.ledger.resumed);
        let seen = self.causes.len();
        while self.ledger.gaps == gaps || self.ledger.resumed == resumed {
            self.read();
        }
        self.read_trades(5);
        self.causes[seen].clone()
    }

    /// Ends, and leaves nothing.
    fn end(self) {
        let begun = Instant::now();
        drop(self.trades);
        drop(self.handle);
        assert!(begun.elapsed() < GENEROUS);
        until_no_thread(&self.credentials);
    }
}

// ------------------------------------------------------------------------------------------------------------- connect

#[test]
fn of_several_addresses_one_that_works_is_found_behind_those_that_do_not() {
    let sim = sim(|_| {});
    let full = FullBacklog::new().unwrap();
    let refusing: SocketAddr = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap();
    let address = |venue: &MarketData| -> SocketAddr {
        let text = venue.to_string();
        let text = text.strip_prefix("ws://").unwrap();
        text.split('/').next().unwrap().parse().unwrap()
    };
    let works = sim.local_addr();
    for (name, addresses) in [
        ("the first refuses", vec![refusing, works]),
        ("the first hangs", vec![address(&full.stocks()), works]),
        (
            "several hang and refuse",
            vec![
                address(&full.stocks()),
                refusing,
                address(&full.stocks()),
                works,
            ],
        ),
    ] {
        let mut config = patient();
        config.setup_timeout = Duration::from_secs(6);
        config.resolver = Resolver::new(move |_, _| Ok(addresses.clone()));
        let venue = stocks_at("ws://several.test/v2/iex");
        let mut reader = Reader::of(name, &config, &venue);
        reader.read_trades(5);
        assert_eq!(reader.handle.health().counters.attempts, 1, "{name}");
        reader.end();
    }
}

#[test]
fn connections_that_are_reset_at_accept_are_tried_again_until_they_are_not() {
    let sim = sim(|_| {});
    sim.inject(FaultKind::Refuse(Duration::from_millis(300)));
    let mut reader = Reader::of("refused", &brisk(), &sim.stocks());
    // The reset may be there before the client has looked at its connection.
    let error = failure(&reader.handle);
    assert!(["lost", "unreachable"].contains(&error.code()), "{error:?}");
    reader.read_trades(5);
    assert_eq!(sim.stats().connections_opened, 1);
    reader.end();
}

#[test]
fn an_upgrade_that_is_never_answered_is_given_up_and_the_next_one_is_answered() {
    let sim = sim(|_| {});
    sim.inject(FaultKind::StallUpgrade);
    let mut config = brisk();
    config.setup_timeout = Duration::from_secs(1);
    let mut reader = Reader::of("stalled", &config, &sim.stocks());
    reader.read_trades(5);
    assert!(reader.handle.health().counters.attempts >= 2);
    reader.end();
}

#[test]
fn a_server_that_asks_for_patience_is_left_alone_for_that_long() {
    let wait = Duration::from_secs(1);
    let sim = sim(|_| {});
    let mut reader = Reader::of("429", &brisk(), &sim.stocks());
    reader.read_trades(5);
    sim.inject(FaultKind::Http {
        status: 429,
        retry_after: Some(1),
    });
    let begun = Instant::now();
    sim.cut();
    reader.read_past_a_gap();
    assert!(begun.elapsed() >= wait, "{:?}", begun.elapsed());
    assert_eq!(reader.handle.health().counters.attempts, 3);
    reader.end();
}

// ----------------------------------------------------------------------------------------------------------------- TLS

/// A server's certificate for `localhost`, and the authority's that signed it.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> (String, Arc<ServerConfig>) {
    let mut authority = CertificateParams::new(Vec::<String>::new()).unwrap();
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    change(&mut params);
    let certificate = params.signed_by(&key, &authority).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let server = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
        )
        .unwrap();
    (authority.pem(), Arc::new(server))
}

/// Speaks TLS and the stock protocol, and then runs the script.
fn secure_peer(
    server: Arc<ServerConfig>,
    script: impl Fn(&mut Line, &mut Venue<StreamOwned<ServerConnection, TcpStream>>)
    + Send
    + Sync
    + 'static,
) -> (Peer, MarketData) {
    let peer = Peer::start(move |mut line| {
        let tls = ServerConnection::new(Arc::clone(&server)).unwrap();
        let stream = StreamOwned::new(tls, line.stream.try_clone().unwrap());
        let Ok(websocket) = tungstenite::accept(stream) else {
            return;
        };
        let mut venue = Venue(websocket);
        venue.log_in();
        venue.confirm();
        script(&mut line, &mut venue);
    });
    let venue = stocks_at(&format!("wss://localhost:{}/v2/iex", peer.address().port()));
    (peer, venue)
}

#[test]
fn an_expired_certificate_ends_the_stream_and_says_so() {
    let (authority, server) = certificate(|params| {
        params.not_before = rcgen::date_time_ymd(2019, 1, 1);
        params.not_after = rcgen::date_time_ymd(2020, 1, 1);
    });
    let (_peer, venue) = secure_peer(server, |_, _| {});
    let mut config = patient();
    config.extra_roots = authority.into_bytes();
    let credentials = credentials();
    let handle = open(&config, &venue, &credentials);
    let error = handle.wait_live(GENEROUS).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Tls { certificate: true, why, .. } if why.to_lowercase().contains("expired")),
        "{error:?}"
    );
    assert!(matches!(handle.end_reason(), Some(EndReason::Failed(_))));
    drop(handle);
    until_no_thread(&credentials);
}

#[test]
fn a_tls_record_that_is_cut_or_forged_costs_a_gap_and_no_more() {
    let (authority, server) = certificate(|_| {});
    for (name, garbage) in [
        ("cut", &[0x17, 3, 3, 0x10, 0, 1, 2, 3][..]),
        (
            "forged",
            &[
                0x17, 3, 3, 0, 20, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9, 9,
            ],
        ),
    ] {
        let (_peer, venue) = secure_peer(Arc::clone(&server), move |line, venue| {
            if line.number == 0 {
                venue.say(format!("[{}]", trade(1)));
                // Right behind it: what was good before the broken record is delivered.
                line.write(garbage);
                let _ = line.stream.shutdown(std::net::Shutdown::Write);
                line.drain();
            } else {
                for id in 7..20 {
                    venue.say(format!("[{}]", trade(id)));
                }
                venue.serve();
            }
        });
        let mut config = brisk();
        config.extra_roots = authority.clone().into_bytes();
        let mut reader = Reader::of(name, &config, &venue);
        reader.read_trades(1);
        let cause = reader.read_past_a_gap();
        assert!(cause.is_retryable(), "{name}: {cause:?}");
        reader.end();
    }
}

// ------------------------------------------------------------------------------------------------------------- session

#[test]
fn a_slot_that_is_not_reaped_yet_is_waited_for_without_a_second_socket() {
    let reap = Duration::from_millis(300);
    let sim = sim(|config| config.reap_after = reap);
    let mut reader = Reader::of("reaped", &brisk(), &sim.stocks());
    reader.read_trades(5);
    let begun = Instant::now();
    sim.reset();
    reader.read_past_a_gap();
    assert!(begun.elapsed() >= reap);
    let stats = sim.stats();
    assert!(stats.limit_errors > 0, "{stats:?}");
    assert_eq!(stats.most_open_per_key, 1, "{stats:?}");
    // The end in good order frees the slot at once.
    let limited = stats.limit_errors;
    sim.close_all(1012);
    reader.read_past_a_gap();
    assert_eq!(sim.stats().limit_errors, limited);
    reader.end();
}

#[test]
fn credentials_that_are_refused_once_are_tried_again_while_patience_lasts() {
    let sim = sim(|_| {});
    let mut config = brisk();
    config.backoff.credentials_patience = Duration::from_millis(50);
    let mut reader = Reader::of("refused once", &config, &sim.stocks());
    reader.read_trades(5);
    sim.inject(FaultKind::Expired);
    sim.cut();
    reader.read_past_a_gap();
    let health = reader.handle.health();
    // The first, the one that was refused, and the one after it.
    assert_eq!((health.epoch, health.counters.attempts), (2, 3));
    assert_eq!(health.gives_up_in, None);
    reader.end();
}

#[test]
fn credentials_that_expire_end_the_stream_when_its_patience_is_over() {
    let sim = sim(|_| {});
    let mut config = brisk();
    config.backoff.credentials_patience = Duration::ZERO;
    let mut reader = Reader::of("expired", &config, &sim.stocks());
    reader.read_trades(5);
    sim.inject(FaultKind::Expired);
    sim.cut();
    while reader.ledger.ended.is_none() {
        reader.read();
    }
    assert!(
        matches!(&reader.ledger.ended, Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Rejected { rejection, .. } if rejection.code().is_some_and(|code| *code == 402)))
    );
    assert_eq!(reader.ledger.gaps, 1);
    reader.end();
}

#[test]
fn replies_that_come_twice_or_behind_data_cost_nothing() {
    let sim = sim(|_| {});
    let mut reader = Reader::of("acks", &brisk(), &sim.stocks());
    reader.read_trades(5);
    for kind in [FaultKind::DuplicateAck, FaultKind::LateAck] {
        for symbol in ["MSFT", "NVDA"] {
            sim.inject(kind);
            let other = reader.handle.subscribe(alpaca::trades([symbol])).unwrap();
            other.wait_confirmed(GENEROUS).unwrap();
            let mut ledger = Ledger::new(format!("{kind} {symbol}"));
            while ledger.events < 20 {
                ledger.enter(&other.recv_timeout(GENEROUS).unwrap());
            }
            let others = (ledger.gaps, ledger.unparsed, ledger.dropped);
            assert_eq!(others, (0, 0, 0), "{kind}");
        }
        reader.read_trades(50);
    }
    assert_eq!((reader.ledger.gaps, reader.ledger.unparsed), (0, 0));
    until("the others are unsubscribed", || {
        reader.handle.health().topics_confirmed == 1
    });
    reader.end();
}

#[test]
fn several_items_in_one_frame_are_each_taken_for_what_they_are() {
    let peer = Peer::start(|line| {
        let mut venue = line.venue();
        // A venue that was told who it is talking to before says both at once.
        venue.say(r#"[{"T":"success","msg":"connected"},{"T":"success","msg":"authenticated"}]"#);
        venue.hear();
        venue.hear();
        venue.say(format!(
            r#"[{{"T":"subscription","trades":["AAPL"],"quotes":[]}},{},{{"T":"zz"}},{}]"#,
            trade(1),
            trade(2)
        ));
        venue.serve();
    });
    let mut reader = Reader::of("several", &patient(), &peer.stocks());
    reader.read_trades(2);
    assert_eq!((reader.ledger.gaps, reader.ledger.unparsed), (0, 1));
    reader.end();
}

#[test]
fn a_server_that_dies_right_after_each_log_in_is_given_up_as_its_backoff_says() {
    const FAILURES: u32 = 6;
    let peer = Peer::live(|_, _| {});
    let mut config = brisk();
    config.backoff.max_failures = Some(FAILURES);
    let reader = Reader::of("flapping", &config, &peer.stocks());
    let last = reader.trades.iter().last();
    let Some(Update::Ended(ended)) = last else {
        panic!("{last:?}")
    };
    assert!(
        matches!(&ended.reason, EndReason::Failed(error) if matches!(error.kind(), ErrorKind::GaveUp { failures: FAILURES, .. })),
        "a log-in is no success: {ended}"
    );
    assert_eq!(peer.accepted().len(), FAILURES as usize);
    reader.end();
}

#[test]
fn a_server_that_flaps_for_ever_sees_no_more_attempts_than_the_budget_allows() {
    let peer = Peer::live(|_, _| {});
    let begun = Instant::now();
    let venue = peer.stocks();
    let venue = venue.with_rules(|rules| rules.attempts(3, Duration::from_millis(200)));
    let reader = Reader::at("budget", &brisk(), &venue);
    until("it has come eight times", || peer.accepted().len() >= 8);
    // Three for nothing, the first one, and one in each interval.
    assert!(
        begun.elapsed() >= Duration::from_millis(200) * 3,
        "{:?}",
        begun.elapsed()
    );
    reader.end();
}

// -------------------------------------------------------------------------------------------------------------- stream

#[test]
fn however_a_live_line_breaks_it_is_a_gap_and_goes_on_and_nothing_else_is_missing() {
    let sim = sim(|_| {});
    let mut reader = Reader::of("breaks", &suspicious(), &sim.stocks());
    reader.read_trades(5);
    for (kind, codes) in [
        (FaultKind::Cut, &["lost"][..]),
        (FaultKind::Reset, &["lost"]),
        (FaultKind::ResetMidFrame, &["lost"]),
        (FaultKind::HalfOpen, &["lost"]),
        (FaultKind::Mute, &["lost"]),
        (FaultKind::Oversized, &["protocol"]),
        (FaultKind::SlowClient, &["refused"]),
        (FaultKind::Close(1000), &["lost"]),
        (FaultKind::Close(1001), &["lost"]),
        (FaultKind::Close(1008), &["lost"]),
        (FaultKind::Close(1011), &["lost"]),
        (FaultKind::Close(1012), &["lost"]),
        (FaultKind::Close(1013), &["lost"]),
        (FaultKind::Close(4000), &["lost"]),
    ] {
        sim.inject(kind);
        let cause = reader.read_past_a_gap();
        assert!(codes.contains(&cause.code()), "{kind}: {cause:?}");
        assert!(
            cause.is_retryable() || kind == FaultKind::SlowClient,
            "{kind}: {cause:?}"
        );
        if let ErrorKind::Refused { rejection, .. } = cause.kind() {
            assert_eq!(rejection.kind, RejectionKind::SlowClient);
        }
    }
    let stats = sim.stats();
    assert_eq!((stats.most_open_per_key, stats.limit_errors), (1, 0));
    reader.end();
}

#[test]
fn frames_in_pieces_or_several_at_once_lose_nothing() {
    let sim = sim(|_| {});
    let mut reader = Reader::of("pieces", &brisk(), &sim.stocks());
    reader.read_trades(5);
    for kind in [FaultKind::Dribble, FaultKind::Split, FaultKind::Coalesce] {
        for _ in 0..10 {
            sim.inject(kind);
            reader.read_trades(20);
        }
    }
    assert_eq!(sim.stats().faults_injected, 30);
    let ledger = &reader.ledger;
    assert_eq!((ledger.gaps, ledger.unparsed, ledger.dropped), (0, 0, 0));
    reader.end();
}

#[test]
fn a_line_without_data_is_found_by_what_its_reader_expects() {
    let sim = sim(|_| {});
    let venue = sim.stocks().calendar(Calendar::always_open());
    let mut config = brisk();
    config.request_timeout = Duration::from_secs(2);
    let credentials = credentials();
    let handle = open(&config, &venue, &credentials);
    let topics = alpaca::trades(["AAPL"]).expect_within(Duration::from_secs(1));
    let mut reader = Reader {
        trades: handle.subscribe(topics).unwrap(),
        credentials,
        handle,
        ledger: Ledger::new("mute"),
        causes: Vec::new(),
    };
    reader.read_trades(5);
    sim.inject(FaultKind::MuteData);
    // First the topic alone is asked for again, which is a gap of it, and then the line is replaced.
    reader.read_past_a_gap();
    assert_eq!(reader.causes.last().map(Error::code), Some("mute"));
    reader.end();
}

#[test]
fn truncated_json_is_one_notice() {
    let sim = sim(|_| {});
    let mut reader = Reader::of("truncated", &brisk(), &sim.stocks());
    reader.read_trades(5);
    sim.inject(FaultKind::Truncated);
    while reader.ledger.unparsed == 0 {
        reader.read();
    }
    reader.read_trades(50);
    assert_eq!((reader.ledger.unparsed, reader.ledger.gaps), (1, 0));
    reader.end();
}

/// Trade 1, something odd, and trades 2 and 3: one line, and nothing missing.
fn survives(
    name: &str,
    unparsed: u64,
    odd: impl Fn(&mut Line, &mut Venue<TcpStream>) + Send + Sync + 'static,
) {
    let peer = Peer::live(move |mut line, venue| {
        venue.confirm();
        venue.say(format!("[{}]", trade(1)));
        odd(&mut line, venue);
        venue.say(format!("[{}]", trade(2)));
        venue.say(format!("[{}]", trade(3)));
        venue.serve();
    });
    let mut reader = Reader::of(name, &patient(), &peer.stocks());
    reader.read_trades(3);
    let ledger = &reader.ledger;
    assert_eq!((ledger.gaps, ledger.unparsed), (0, unparsed), "{name}");
    reader.end();
}

#[test]
fn floods_of_pings_and_pongs_that_nobody_asked_for_cost_nothing() {
    survives("pings", 0, |_, venue| {
        for _ in 0..20_000 {
            if venue.0.write(Message::Ping("?".into())).is_err() {
                break;
            }
        }
    });
    survives("pongs", 0, |_, venue| {
        for _ in 0..20_000 {
            if venue.0.write(Message::Pong("nobody asked".into())).is_err() {
                break;
            }
        }
    });
}

#[test]
fn a_flood_of_pings_without_end_starves_no_stop() {
    let peer = Peer::live(|line, venue| {
        venue.confirm();
        // The pongs are read, so that the flood goes on.
        let mut reading = line.stream.try_clone().unwrap();
        let reader = spawn(move || {
            let mut sink = [0; 4096];
            while std::io::Read::read(&mut reading, &mut sink).is_ok_and(|read| read > 0) {}
        });
        while venue.0.send(Message::Ping("?".into())).is_ok() {}
        reader.join().unwrap();
    });
    let reader = Reader::of("endless pings", &patient(), &peer.stocks());
    until("the flood has come", || {
        reader.handle.health().counters.control_frames > 5_000
    });
    reader.end();
}

#[test]
fn text_in_binary_frames_and_what_is_no_text_at_all() {
    survives("JSON in a binary frame", 0, |_, venue| {
        let _ = venue
            .0
            .send(Message::binary(format!("[{}]", quote(1)).into_bytes()));
    });
    // An array of 2^32 - 1 elements, as MessagePack has it.
    survives("MessagePack", 1, |_, venue| {
        let _ = venue
            .0
            .send(Message::binary(vec![0xdd, 0xff, 0xff, 0xff, 0xff, 0x81]));
    });
    survives("MessagePack in a text frame", 1, |_, venue| {
        venue.say("\u{1}\u{2}")
    });
    survives("NaN", 1, |_, venue| {
        venue.say(format!("[{}]", quote(1).replace("187.24", "NaN")));
    });
    survives("no array", 1, |_, venue| venue.say("7"));
}

#[test]
fn a_key_that_stands_twice_in_an_item_costs_that_item_at_most() {
    let peer = Peer::live(|_, venue| {
        venue.confirm();
        let twice = trade(2).replace(r#""p":187.25"#, r#""p":187.25,"p":1"#);
        venue.say(format!("[{},{twice},{}]", trade(1), trade(3)));
        venue.serve();
    });
    let reader = Reader::of("twice", &patient(), &peer.stocks());
    let (mut ids, mut odd) = (Vec::new(), 0);
    while !ids.contains(&3) {
        let update = reader.trades.recv_timeout(GENEROUS).unwrap();
        odd += u32::from(matches!(
            update,
            Update::Notice(Declared {
                what: Notice::Unparsed(_),
                ..
            })
        ));
        ids.extend(trade_id(&update));
    }
    assert!(
        ids == [1, 2, 3] || (ids == [1, 3] && odd == 1),
        "{ids:?} {odd}"
    );
    reader.end();
}

#[test]
fn control_frames_between_the_fragments_of_a_message_leave_it_whole() {
    let peer = Peer::live(|mut line, venue| {
        venue.confirm();
        let text = format!("[{}]", trade(1));
        let (one, two) = text.as_bytes().split_at(50);
        let mut frames = vec![0x01, one.len() as u8];
        frames.extend(one);
        // A ping and a pong that nobody asked for.
        frames.extend([0x89, 1, b'?', 0x8a, 0]);
        frames.extend([0x80, 126, 0, two.len() as u8]);
        frames.extend(two);
        line.write(&frames);
        venue.say(format!("[{}]", trade(2)));
        venue.serve();
    });
    let mut reader = Reader::of("fragments", &patient(), &peer.stocks());
    reader.read_trades(2);
    assert_eq!((reader.ledger.gaps, reader.ledger.unparsed), (0, 0));
    reader.end();
}

#[test]
fn malformed_close_frames_and_ends_that_never_come_are_left_behind() {
    // The frame, and whether anything follows it: nothing does, and TCP stays open.
    for (name, frame) in [
        ("half a code", &[0x88, 1, 3][..]),
        ("a code that does not exist", &[0x88, 2, 0, 7]),
        ("a reason that is no text", &[0x88, 4, 3, 0xe8, 0xff, 0xfe]),
        ("a good one, and no end of stream", &[0x88, 2, 3, 0xe8]),
        ("no end behind half a frame", &[0x81, 126, 1]),
    ] {
        let peer = Peer::live(move |mut line, venue| {
            venue.confirm();
            if line.number == 0 {
                venue.say(format!("[{}]", trade(1)));
                line.write(frame);
                line.hold();
            } else {
                for id in 10..20 {
                    venue.say(format!("[{}]", trade(id)));
                }
                venue.serve();
            }
        });
        let mut reader = Reader::of(name, &suspicious(), &peer.stocks());
        reader.read_trades(1);
        let cause = reader.read_past_a_gap();
        assert!(
            ["lost", "protocol"].contains(&cause.code()),
            "{name}: {cause:?}"
        );
        reader.end();
    }
}

#[test]
fn a_server_that_stops_reading_holds_nobody_up() {
    let peer = Peer::start(|line| {
        socket2::SockRef::from(&line.stream)
            .set_recv_buffer_size(4 << 10)
            .unwrap();
        let mut venue = line.venue();
        venue.log_in();
        line.hold();
    });
    let mut config = suspicious();
    config.request_timeout = Duration::from_millis(100);
    config.backoff.initial = common::NEVER;
    config.backoff.cap = common::NEVER;
    let credentials = credentials();
    let venue = peer.stocks().with_rules(hurried);
    let handle = open(&config, &venue, &credentials);
    handle.wait_live(GENEROUS).unwrap();
    // More than the kernel takes for a peer that does not read.
    let many: Vec<_> = (0..60_000).map(|number| format!("S{number}")).collect();
    let subscriptions: Vec<_> = (0..2)
        .map(|_| {
            let symbols = many.iter().map(String::as_str);
            handle.subscribe(alpaca::quotes(symbols)).unwrap()
        })
        .collect();
    let cause = failure(&handle);
    assert_eq!(cause.code(), "lost", "{cause:?}");
    let begun = Instant::now();
    drop(subscriptions);
    drop(handle);
    assert!(begun.elapsed() < GENEROUS);
    until_no_thread(&credentials);
}

// ----------------------------------------------------------------------------------------------------------- the table

#[test]
fn every_test_that_the_table_names_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let table = fs::read_to_string(root.join("tests/faults.md")).unwrap();
    let (mut rows, mut shown) = (0, 0);
    for line in table.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<_> = line.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 4, "{line}");
        if cells[0] == "Fault" {
            continue;
        }
        rows += 1;
        if cells[3].starts_with("none") {
            assert!(cells[3].len() > "none: ".len(), "it says why: {line}");
            continue;
        }
        shown += 1;
        for named in cells[3].split(',') {
            let (file, test) = named
                .trim()
                .trim_matches('`')
                .split_once(": ")
                .unwrap_or_else(|| panic!("`FILE: TEST` is what it should be: {line}"));
            let text = fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{file}: {error}: {line}"));
            assert!(
                text.contains(&format!("fn {test}()")),
                "there is no {test} in {file}"
            );
        }
    }
    assert!(rows >= 90 && shown >= 80, "{shown} of {rows}");
}
