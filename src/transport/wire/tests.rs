use super::*;
use crate::venue::Piece;

const WAIT: std::time::Duration = std::time::Duration::from_secs(60);

#[test]
fn a_secret_frame_is_a_valid_masked_frame_of_every_length_class() {
    for len in [1, 125, 126, 0xffff, 0x1_0000] {
        let text = "x".repeat(len);
        let (bytes, is_text) = SecretMessage::text(|piece| piece(Piece::Plain(&text))).into_parts();
        assert_eq!(
            bytes.capacity(),
            bytes.len(),
            "an exact buffer leaves no copy behind"
        );
        let start = frame_start(&bytes);
        let frame = masked(bytes, is_text).unwrap()[start..].to_vec();
        // The server's side of the library that everybody uses is the judge.
        let mut server = tungstenite::WebSocket::from_raw_socket(
            io::Cursor::new(frame),
            tungstenite::protocol::Role::Server,
            None,
        );
        assert_eq!(server.read().unwrap().into_text().unwrap().as_str(), text);
    }
}

/// It is what came before that takes the time: a peer decides how much work its bytes are.
#[test]
fn a_turn_that_has_read_for_long_enough_reads_no_more_until_the_next() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.write_all(&[0; 64]).unwrap();
    let mut wire = Wire::new(Arc::new(TcpStream::from_std(socket)), &Credentials::none());
    for _ in 0..3 {
        wire.begin_turn();
        assert_eq!(wire.read(&mut [0]).unwrap(), 1);
        let until = clock::after(clock::now(), TURN);
        while clock::now() < until {
            std::thread::yield_now();
        }
        let error = wire.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(
            wire.is_spent(),
            "there is more, and the poller would not tell"
        );
    }
}

#[test]
fn a_secret_frame_waits_behind_another_that_the_socket_did_not_take() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    socket.set_nonblocking(true).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    peer.set_read_timeout(Some(WAIT)).unwrap();
    let socket = Arc::new(TcpStream::from_std(socket));
    let mut wire = Wire::new(socket, &Credentials::none());
    let mut filled = 0;
    while let Ok(more) = wire.write(&[0; 1 << 16]) {
        filled += more;
    }
    for text in ["a secret", "another secret"] {
        let message = SecretMessage::text(|piece| piece(Piece::Plain(text)));
        let error = wire.put_secret(message).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
    }
    std::thread::scope(|scope| {
        let server = scope.spawn(move || {
            peer.read_exact(&mut vec![0; filled]).unwrap();
            let role = tungstenite::protocol::Role::Server;
            let mut peer = tungstenite::WebSocket::from_raw_socket(peer, role, None);
            [(); 2].map(|()| peer.read().unwrap().into_text().unwrap().to_string())
        });
        let deadline = clock::now() + WAIT;
        while wire.flush().is_err() && clock::now() < deadline {
            std::thread::yield_now();
        }
        assert_eq!(server.join().unwrap(), ["a secret", "another secret"]);
    });
}

/// What a server compresses is inflated first: in compressed bytes no mask finds a secret.
#[cfg(feature = "compression")]
#[test]
fn a_secret_that_a_server_compresses_is_masked_all_the_same() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let head = b"HTTP/1.1 101 Switching Protocols\r\n\r\n";
    // "Hello", and "Hello" again by what is in the window (RFC 7692, 7.2.3).
    let frames = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00\xc1\x05\xf2\x00\x11\x00\x00";
    peer.write_all(&[&head[..], frames].concat()).unwrap();
    drop(peer);
    let secrets = Credentials::new("PKEY", "Hello").unwrap();
    let mut wire = Wire::new(Arc::new(TcpStream::from_std(socket)), &secrets);
    wire.offer_compression(1 << 20);
    let mut buffer = [0; 256];
    let read = wire.read(&mut buffer).unwrap();
    assert_eq!(&buffer[..read], head);
    let answer = [&b"permessage-deflate"[..]].into_iter();
    wire.begin_frames(crate::transport::inflate::agreement(answer).unwrap());
    let mut frames = Vec::new();
    wire.read_to_end(&mut frames).unwrap();
    assert_eq!(frames, b"\x81\x05*****\x81\x05*****");
    assert_eq!(wire.bytes_read(), head.len() as u64 + 16, "as they came");
}

/// Inflated bytes count: one read of the socket may come to megabytes.
#[cfg(feature = "compression")]
#[test]
fn a_turn_that_has_inflated_enough_reads_no_more_until_the_next() {
    const MESSAGE: usize = 700_000;
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let socket = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (mut peer, _) = listener.accept().unwrap();
    let mut payload = miniz_oxide::deflate::compress_to_vec(&vec![b' '; MESSAGE], 9);
    // It ends a stream of its own (RFC 7692, 7.2.3.4).
    payload.push(0);
    let mut message = vec![0xc2, 126];
    message.extend((payload.len() as u16).to_be_bytes());
    message.extend(payload);
    peer.write_all(&message.repeat(6)).unwrap();
    drop(peer);
    let mut wire = Wire::new(Arc::new(TcpStream::from_std(socket)), &Credentials::none());
    wire.offer_compression(1 << 20);
    let answer = [&b"permessage-deflate"[..]].into_iter();
    wire.begin_frames(crate::transport::inflate::agreement(answer).unwrap());
    let (mut all, mut turns, mut buffer) = (0, 0, vec![0; 1 << 16]);
    loop {
        wire.begin_turn();
        let begun = all;
        let over = loop {
            match wire.read(&mut buffer) {
                Ok(0) => break true,
                Ok(read) => all += read,
                Err(error) => {
                    assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
                    assert!(wire.is_spent(), "the poller would not tell of the rest");
                    break false;
                }
            }
        };
        turns += 1;
        assert!(all - begun <= 3 * MESSAGE, "{}", all - begun);
        if over {
            break;
        }
    }
    assert_eq!(all, 6 * (MESSAGE + 10));
    assert!(turns >= 4, "{turns}");
}
