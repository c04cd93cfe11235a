//! The login itself: what is refused as credentials, and how the frame gets onto the wire.

use std::{io::Write as _, net::TcpListener, thread, time::Duration};

use trunkline::{
    Credentials, Manager,
    alpaca::{self, Feed},
};

use crate::{
    canary::{PLAIN, assert_clean, inside},
    peer::{AUTHENTICATED, Listener, Peer, WELCOME, server_frame},
    support::{WAIT, quick},
};

#[test]
fn the_auth_frame_is_whole_among_pongs_on_a_socket_that_is_full() {
    let key = format!("PK{}", r#"k"\"#.repeat(160));
    let secret = r#"\"s"#.repeat(165);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let listener = Listener::new(listener, None);
    let wanted = format!(
        r#"{{"action":"auth","key":"{}","secret":"{}"}}"#,
        inside(&key),
        inside(&secret)
    );
    thread::scope(|scope| {
        let server = scope.spawn(move || {
            let mut peer = Peer::open(&listener);
            let mut socket = peer.socket.try_clone().unwrap();
            let (done, finished) = crossbeam_channel::bounded(1);
            thread::scope(|scope| {
                scope.spawn(move || {
                    // Pings that nobody reads the answers of, until neither side's buffers hold more.
                    let ping = server_frame(0x89, &[b'p'; 125]);
                    for _ in 0..200 {
                        socket.write_all(&ping.repeat(256)).unwrap();
                    }
                    socket
                        .write_all(&server_frame(0x81, WELCOME.as_bytes()))
                        .unwrap();
                    done.send(()).unwrap();
                });
                let _ = finished.recv_timeout(Duration::from_secs(2));
                let auth = loop {
                    let message = peer.read();
                    assert!(message.masked);
                    if message.opcode == 1 {
                        break message.payload;
                    }
                    assert_eq!((message.opcode, message.payload), (0xa, vec![b'p'; 125]));
                };
                assert_eq!(String::from_utf8(auth).unwrap(), wanted);
            });
            peer.text(AUTHENTICATED);
            peer.serve_to_the_end();
        });
        let manager = {
            let mut config = quick();
            config.setup_timeout = WAIT;
            Manager::with_config(config).unwrap()
        };
        let credentials = Credentials::new(&key, &secret).unwrap();
        let feed = manager
            .open(
                &alpaca::stocks(Feed::Iex).at(format!("ws://{address}/v2/iex").parse().unwrap()),
                &credentials,
            )
            .unwrap();
        feed.wait_live(WAIT).unwrap();
        feed.close(WAIT).unwrap();
        server.join().unwrap();
    });
}

// ------------------------------------------------------------------------------------------------------ validation

#[test]
fn credentials_that_are_refused_are_not_echoed() {
    let canary = PLAIN.secret;
    let long = canary.repeat(4_097 / canary.len() + 1);
    let bad = [
        format!("{canary} "),
        format!("{canary}\n{canary}"),
        format!("\t{canary}"),
        format!("{canary}\u{0}"),
        format!("é{canary}"),
        format!("-----BEGIN PRIVATE KEY-----\n{canary}"),
        long,
    ];
    for value in &bad {
        for error in [
            Credentials::new(value, "fine").unwrap_err(),
            Credentials::new("PKFINE", value).unwrap_err(),
            Credentials::from_reader(format!("{value}\n{value}\n{value}").as_bytes()).unwrap_err(),
        ] {
            let whole = trunkline::Error::from(error.clone());
            assert_eq!(whole.code(), "invalid_credentials");
            let text = format!("{error} {error:?} {error:#?} {whole} {whole:?}");
            assert_clean(PLAIN, &text);
        }
    }
    for (key, secret) in [("", canary), (canary, ""), ("", "")] {
        let error = Credentials::new(key, secret).unwrap_err();
        assert_clean(PLAIN, &format!("{error} {error:?}"));
        assert!(error.to_string().contains("empty"), "{error}");
    }
    let credentials = Credentials::new(PLAIN.key, PLAIN.secret).unwrap();
    let shown = format!("{credentials:?}");
    assert!(shown.contains("***"), "{shown}");
    assert_clean(PLAIN, &shown);
}
