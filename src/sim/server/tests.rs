//! What clients may say on the wire, and how: upgrades, codecs, fragments, pings.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

use tungstenite::{
    Error as WsError, Message, WebSocket,
    client::IntoClientRequest as _,
    handshake::client::Response,
    protocol::{
        Role,
        frame::{
            Frame,
            coding::{Data, OpCode},
        },
    },
};

use crate::{
    clock,
    sim::{Sim, SimConfig, SimEvent},
};

const GENEROUS: Duration = Duration::from_secs(10);
const AUTH: &str = r#"{"action":"auth","key":"PKONE","secret":"s1"}"#;
const CONNECTED: &str = r#"[{"T":"success","msg":"connected"}]"#;
const AUTHENTICATED: &str = r#"[{"T":"success","msg":"authenticated"}]"#;

/// A simulator that sends only what is pushed.
fn quiet(change: impl FnOnce(&mut SimConfig)) -> Sim {
    let mut config = SimConfig {
        rate: 0,
        ..SimConfig::default()
    };
    change(&mut config);
    Sim::start(config).unwrap()
}

fn upgrade(
    sim: &Sim,
    path: &str,
    headers: &[(&'static str, &str)],
) -> (WebSocket<TcpStream>, Response) {
    let mut request = sim
        .endpoint(path)
        .to_string()
        .into_client_request()
        .unwrap();
    for (name, value) in headers {
        request.headers_mut().insert(*name, value.parse().unwrap());
    }
    let stream = TcpStream::connect(sim.local_addr()).unwrap();
    stream.set_read_timeout(Some(GENEROUS)).unwrap();
    tungstenite::client(request, stream).unwrap_or_else(|error| panic!("{error}"))
}

fn text(socket: &mut WebSocket<TcpStream>) -> String {
    match socket.read().unwrap() {
        Message::Text(text) => text.to_string(),
        other => panic!("{other}"),
    }
}

#[test]
fn credentials_in_headers_are_answered_unasked_by_two_frames() {
    let sim = quiet(|_| {});
    let broker = data_encoding::BASE64.encode(b"PKTWO:a:secret");
    let basic = format!("Basic {broker}");
    for headers in [
        &[("APCA-API-KEY-ID", "PKONE"), ("APCA-API-SECRET-KEY", "s1")][..],
        &[("Authorization", &basic)],
    ] {
        let (mut socket, _) = upgrade(&sim, "/v2/iex", headers);
        assert_eq!(text(&mut socket), CONNECTED);
        assert_eq!(text(&mut socket), AUTHENTICATED);
    }
    for (headers, code) in [
        (&[("APCA-API-KEY-ID", "PKONE")][..], "402"),
        (&[("Authorization", "Basic not-base64")], ""),
        (&[("Authorization", "Bearer token")], ""),
    ] {
        let (mut socket, _) = upgrade(&sim, "/v2/iex", headers);
        assert_eq!(text(&mut socket), CONNECTED);
        if code.is_empty() {
            socket.send(Message::text(AUTH)).unwrap();
            assert_eq!(text(&mut socket), AUTHENTICATED);
        } else {
            assert!(text(&mut socket).contains(code));
        }
    }
}

#[test]
fn an_end_that_arrived_counts_before_credentials_in_headers_that_are_read_first() {
    let sim = quiet(|_| {});
    let credentials = [("APCA-API-KEY-ID", "PKONE"), ("APCA-API-SECRET-KEY", "s1")];
    for round in 1..=30 {
        // The newcomer has the lower number, so its turn comes first where both are ready.
        let mut new = TcpStream::connect(sim.local_addr()).unwrap();
        new.set_read_timeout(Some(GENEROUS)).unwrap();
        let (mut old, _) = upgrade(&sim, "/v2/iex", &credentials);
        assert_eq!(text(&mut old), CONNECTED);
        assert_eq!(text(&mut old), AUTHENTICATED);
        {
            // The thread is kept from its poller until both have happened.
            let _held = sim.shared.desk.lock();
            sim.wake();
            drop(old);
            new.write_all(
                b"GET /v2/iex HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
                Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
                APCA-API-KEY-ID: PKONE\r\nAPCA-API-SECRET-KEY: s1\r\n\r\n",
            )
            .unwrap();
        }
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            new.read_exact(&mut byte).unwrap();
            head.extend(byte);
        }
        let mut new = WebSocket::from_raw_socket(new, Role::Client, None);
        assert_eq!(text(&mut new), CONNECTED);
        assert_eq!(text(&mut new), AUTHENTICATED, "round {round}");
    }
    let stats = sim.stats();
    assert_eq!((stats.limit_errors, stats.most_open_per_key), (0, 1));
}

#[test]
fn the_content_type_picks_the_codec_and_compression_is_declined() {
    let sim = quiet(|_| {});
    let (mut socket, response) = upgrade(
        &sim,
        "/v1beta1/indicative",
        &[
            ("Content-Type", "application/msgpack"),
            (
                "Sec-WebSocket-Extensions",
                "permessage-deflate; client_max_window_bits",
            ),
        ],
    );
    assert!(!response.headers().contains_key("Sec-WebSocket-Extensions"));
    let welcome = b"\x91\x82\xa1T\xa7success\xa3msg\xa9connected";
    assert_eq!(socket.read().unwrap(), Message::binary(&welcome[..]));
    let login = b"\x83\xa6action\xa4auth\xa3key\xa3PK1\xa6secret\xa2s3";
    // By codec, whatever the opcode: this is UTF-8 by chance, but for its first byte.
    socket.send(Message::binary(&login[..])).unwrap();
    let answer = b"\x91\x82\xa1T\xa7success\xa3msg\xadauthenticated";
    assert_eq!(socket.read().unwrap(), Message::binary(&answer[..]));

    for content_type in ["application/json", "text/plain"] {
        let (mut socket, _) = upgrade(&sim, "/v1beta1/news", &[("Content-Type", content_type)]);
        assert_eq!(text(&mut socket), CONNECTED);
    }
}

#[test]
fn a_message_may_come_in_fragments_with_pings_between_them() {
    let sim = quiet(|_| {});
    let (mut socket, _) = upgrade(&sim, "/v2/iex", &[]);
    assert_eq!(text(&mut socket), CONNECTED);
    let symbols: Vec<_> = (0..10_000)
        .map(|number| format!(r#""S{number}""#))
        .collect();
    let subscribe = format!(r#"{{"action":"subscribe","bars":[{}]}}"#, symbols.join(","));
    assert!(subscribe.len() > 2 * FRAGMENT);
    for message in [AUTH, &subscribe] {
        let pieces: Vec<_> = message.as_bytes().chunks(FRAGMENT).collect();
        for (position, piece) in pieces.iter().enumerate() {
            let data = if position == 0 {
                Data::Text
            } else {
                Data::Continue
            };
            let is_last = position == pieces.len() - 1;
            let frame = Frame::message(piece.to_vec(), OpCode::Data(data), is_last);
            socket.send(Message::Frame(frame)).unwrap();
            socket.send(Message::Ping("?".into())).unwrap();
        }
        let answer = loop {
            match socket.read().unwrap() {
                Message::Pong(_) => {}
                Message::Text(text) => break text.to_string(),
                other => panic!("{other}"),
            }
        };
        assert!(answer == AUTHENTICATED || answer.contains(r#""S9999""#));
    }
    assert_eq!(sim.stats().requests, 1);
}

/// What Alpaca's Python SDK cuts its messages into.
const FRAGMENT: usize = 32_768;

#[test]
fn whoever_does_not_answer_pings_is_cut_and_whoever_does_is_not() {
    let (events, happened) = crossbeam_channel::bounded(1024);
    let sim = quiet(|config| {
        config.ping_interval = Some(Duration::from_millis(10));
        config.pong_timeout = Duration::from_millis(500);
        config.events = Some(events);
    });
    let brief = Some(Duration::from_millis(5));
    let (mut silent, _) = upgrade(&sim, "/v2/iex", &[]);
    silent.get_mut().set_read_timeout(brief).unwrap();
    let (mut good, _) = upgrade(&sim, "/v2/sip", &[]);
    good.get_mut().set_read_timeout(brief).unwrap();
    let mut pings = 0;
    let deadline = clock::now() + GENEROUS;
    loop {
        assert!(clock::now() < deadline);
        match good.read() {
            Ok(Message::Ping(payload)) => {
                assert!(payload.is_empty());
                pings += 1;
            }
            Ok(_) | Err(WsError::Io(_)) => {}
            Err(other) => panic!("{other}"),
        }
        // Its bytes are read past the WebSocket, which would answer.
        match silent.get_mut().read(&mut [0; 4096]) {
            Ok(0) => break,
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::WouldBlock),
        }
    }
    assert!(pings > 0);
    drop(silent);
    let closed = loop {
        let event = happened.recv_timeout(GENEROUS).unwrap();
        if matches!(event, SimEvent::Closed { .. }) {
            break event.to_string();
        }
    };
    assert_eq!(closed, "#1 closed: showed no sign of life");
}
