use std::net::SocketAddr;

#[cfg(feature = "compression")]
use tungstenite::handshake::server::Response;

use super::*;
use crate::{credentials::Credentials, venue::Piece};

#[test]
fn secret_messages_go_out_in_order_with_all_others_though_the_socket_was_blocked() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (read, may_read) = crossbeam_channel::bounded::<()>(1);
    let serve = move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let mut peer = tungstenite::accept(socket).unwrap();
        may_read.recv().unwrap();
        let mut read = Vec::new();
        while read.last().is_none_or(|last| last != "last secret") {
            match peer.read().unwrap() {
                WsMessage::Text(text) => read.push(text.to_string()),
                WsMessage::Ping(_) => read.push("ping".to_owned()),
                _ => {}
            }
        }
        read
    };
    let order = thread::scope(|scope| {
        let server = scope.spawn(serve);
        let mut transport = open(address);
        while !transport.unsent {
            transport.send(Message::Binary(vec![0; 1 << 16])).unwrap();
        }
        transport.send(Message::Text("before".to_owned())).unwrap();
        transport.send_secret(secret("a secret")).unwrap();
        transport.send_secret(secret("another secret")).unwrap();
        transport.send(Message::Text("after".to_owned())).unwrap();
        transport.ping().unwrap();
        transport.send_secret(secret("last secret")).unwrap();
        read.send(()).unwrap();
        let deadline = clock::now() + WAIT;
        while transport.unsent && clock::now() < deadline {
            transport.wait(Some(deadline));
            transport.flush().unwrap();
        }
        server.join().unwrap()
    });
    assert_eq!(
        order,
        [
            "before",
            "a secret",
            "another secret",
            "after",
            "ping",
            "last secret"
        ]
    );
}

fn secret(text: &str) -> SecretMessage {
    SecretMessage::text(|piece| piece(Piece::Plain(text)))
}

fn open(address: SocketAddr) -> WebSocketTransport {
    open_with(&Config::default(), &Rules::new(), address)
}

fn open_with(config: &Config, rules: &Rules, address: SocketAddr) -> WebSocketTransport {
    let mut transport = WebSocketTransport::new(config, rules).unwrap();
    transport.connect(Target {
        endpoint: format!("ws://{address}").parse().unwrap(),
        headers: Vec::new(),
        secrets: Credentials::none(),
        proxy: None,
        deadline: clock::now() + WAIT,
    });
    while transport.progress(clock::now()).unwrap() != Phase::Live {
        transport.wait(Some(clock::now() + WAIT));
    }
    transport
}

#[test]
fn messages_behind_a_secret_that_a_peer_does_not_read_are_bounded() {
    let mut transport = WebSocketTransport::new(&Config::default(), &Rules::new()).unwrap();
    let mut sent = 0;
    while transport
        .enqueue(Outgoing::Secret(secret("a secret")))
        .is_ok()
    {
        sent += 1;
    }
    assert_eq!(sent, MAX_WAITING);
    assert!(matches!(
        transport.write(WsMessage::text("after")),
        Err(Fault::Lost { why, .. }) if why == DOES_NOT_READ
    ));
}

/// A server that breaks the rules while its connection is closed has not ended it.
#[cfg(feature = "compression")]
#[test]
fn what_cannot_be_inflated_is_no_end_of_a_connection_that_is_closing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (end, may_end) = crossbeam_channel::bounded::<()>(1);
    let serve = move || {
        let (socket, _) = listener.accept().unwrap();
        socket.set_read_timeout(Some(WAIT)).unwrap();
        let mut raw = socket.try_clone().unwrap();
        #[expect(clippy::result_large_err, reason = "the signature is not ours")]
        let agree = |_: &tungstenite::handshake::server::Request, mut answer: Response| {
            let headers = answer.headers_mut();
            let agreed = "permessage-deflate".parse().unwrap();
            headers.insert("Sec-WebSocket-Extensions", agreed);
            Ok(answer)
        };
        let mut peer = tungstenite::accept_hdr(socket, agree).unwrap();
        assert!(peer.read().unwrap().is_close());
        io::Write::write_all(&mut raw, b"\xc1\x01\x07").unwrap();
        may_end.recv().unwrap();
    };
    thread::scope(move |scope| {
        let server = scope.spawn(serve);
        let config = Config {
            compression: true,
            ..Config::default()
        };
        let mut transport = open_with(&config, &Rules::new().compresses(true), address);
        transport.close();
        let deadline = clock::now() + WAIT;
        while !matches!(transport.state, State::HalfClosed) {
            assert!(!transport.is_closed() && clock::now() < deadline);
            transport.wait(Some(deadline));
        }
        assert!(!transport.is_closed());
        end.send(()).unwrap();
        while !transport.is_closed() && clock::now() < deadline {
            transport.wait(Some(deadline));
        }
        server.join().unwrap();
        assert!(transport.is_closed());
    });
}

const WAIT: Duration = Duration::from_secs(60);
