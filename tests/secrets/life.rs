//! A whole life in which everything goes wrong once, with every record captured.

use std::{io, net::TcpListener};

use trunkline::{
    Credentials, Declared, EndReason, ErrorKind, Manager, Update, alpaca, error::RejectionKind,
};

use crate::{
    canary::{Canary, ODD, PLAIN, assert_clean},
    capture::{Capture, is_trade, read_until},
    child::{DONE, Server, with_child},
    peer::{AUTHENTICATED, Listener, Peer, WELCOME},
    support::WAIT,
};

#[test]
fn no_secret_is_in_any_record_of_any_level_or_in_any_text() {
    match Server::of_this_child() {
        Some(server) => live_a_whole_life(&server, PLAIN),
        None => with_child(
            "no_secret_is_in_any_record_of_any_level_or_in_any_text",
            |listener| serve_a_whole_life(listener, PLAIN),
        ),
    }
}

#[test]
fn a_secret_of_odd_characters_is_in_no_record_or_text_either() {
    match Server::of_this_child() {
        Some(server) => live_a_whole_life(&server, ODD),
        None => with_child(
            "a_secret_of_odd_characters_is_in_no_record_or_text_either",
            |listener| serve_a_whole_life(listener, ODD),
        ),
    }
}

fn serve_a_whole_life(listener: &Listener, canary: Canary) {
    // An error that reflects the credentials, before anything was sent, in small segments.
    let mut peer = Peer::open(listener);
    assert_clean(canary, &peer.head);
    let head = peer.head.to_lowercase();
    assert!(
        !head.contains("authorization") && !head.contains("apca"),
        "{head}"
    );
    assert_eq!(peer.ping(), 0, "it sends nothing before the welcome");
    peer.frame(0x81, canary.error(500).as_bytes(), 17);
    peer.serve_to_the_end();

    // The good one: welcome in single bytes, authentication, subscription, data, pings.
    let mut peer = Peer::open(listener);
    assert_clean(canary, &peer.head);
    peer.frame(0x81, WELCOME.as_bytes(), 9);
    let auth = peer.read();
    assert!(auth.masked && auth.opcode == 1);
    assert_eq!(String::from_utf8(auth.payload).unwrap(), canary.auth());
    peer.frame(0x81, AUTHENTICATED.as_bytes(), 10);
    peer.serve_until("AAPL");
    peer.trade(1);
    peer.ping();
    // An item that cannot be read, and reflects the credentials; once more in fragments, the first of which ends in the
    // middle of the secret, with a ping between them that reflects them too.
    let odd = format!(
        r#"[{{"T":"t","S":"AAPL","i":"?","p":null,"memo":"{} {}"}}]"#,
        canary.key_json(),
        canary.secret_json()
    );
    peer.frame(0x81, odd.as_bytes(), 29);
    let (first, second) = odd.as_bytes().split_at(odd.len() - 20);
    peer.frame(0x01, first, usize::MAX);
    peer.frame(0x89, canary.secret.as_bytes(), 7);
    peer.frame(0x80, second, usize::MAX);
    // Its pong is read before the trade lets the next request come.
    peer.ping();
    peer.trade(3);
    // A refusal that reflects them.
    assert_eq!(peer.request(), ["NVDA"]);
    peer.frame(0x81, canary.error(405).as_bytes(), 23);
    peer.ping();
    // And so does the reason of the close frame.
    let reason = format!("bye {} {}", canary.key, canary.secret);
    let mut close = 1011_u16.to_be_bytes().to_vec();
    close.extend(reason.as_bytes());
    peer.frame(0x88, &close, 24);
    peer.serve_to_the_end();

    // Connected again, and authenticated again, then cut.
    let (mut peer, auth) = Peer::live(listener);
    assert_eq!(auth, canary.auth());
    assert_clean(canary, &peer.head);
    peer.serve_until("AAPL");
    peer.ping();
    peer.trade(2);
    peer.ping();
    drop(peer);

    // No WebSocket this time.
    let mut peer = Peer::accept(listener);
    assert_clean(canary, &peer.head);
    peer.http(&format!(
        "HTTP/1.1 403 Forbidden\r\nX-Why: {} {}\r\nContent-Length: {}\r\n\r\n{} {}",
        canary.key,
        canary.secret,
        canary.key.len() + canary.secret.len() + 1,
        canary.key,
        canary.secret
    ));
    drop(peer);

    // The credentials are refused, with their values.
    let mut peer = Peer::open(listener);
    peer.text(WELCOME);
    assert_eq!(peer.read().payload, canary.auth().as_bytes());
    peer.frame(0x81, canary.error(402).as_bytes(), 19);
    peer.serve_to_the_end();

    // A new stream is turned away before it was ever live.
    let mut peer = Peer::accept(listener);
    peer.http("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
    drop(peer);

    // And another is sent elsewhere, where it must not go.
    let elsewhere = TcpListener::bind("127.0.0.1:0").unwrap();
    let mut peer = Peer::accept(listener);
    assert_clean(canary, &peer.head);
    peer.http(&format!(
        "HTTP/1.1 301 Moved Permanently\r\nLocation: ws://{}/v2/iex\r\nContent-Length: 0\r\n\r\n",
        elsewhere.local_addr().unwrap()
    ));
    drop(peer);
    // The child says that it has seen the end by connecting once more.
    let mut peer = Peer::accept(listener);
    elsewhere.set_nonblocking(true).unwrap();
    let followed = elsewhere.accept();
    assert!(
        matches!(&followed, Err(error) if error.kind() == io::ErrorKind::WouldBlock),
        "it followed the redirect: {followed:?}"
    );
    peer.http("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
}

fn live_a_whole_life(server: &Server, canary: Canary) {
    let capture = Capture::install();
    let credentials = Credentials::new(canary.key, canary.secret).unwrap();
    capture.add(format_args!("{credentials:?} {credentials:#?}"));
    let manager = Manager::with_config(server.config()).unwrap();
    let venue = server.venue();
    capture.add(format_args!("{venue:?} {venue}"));

    let feed = manager.open(&venue, &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    capture.add(format_args!("{trades:?} {trades:#?}"));
    feed.wait_live(WAIT).unwrap();
    read_until(capture, &trades, |update| is_trade(update, 1));
    capture.stream(&feed, &manager);

    let unparsed = read_until(capture, &trades, |update| {
        matches!(
            update,
            Update::Notice(Declared {
                what: trunkline::Notice::Unparsed(_),
                ..
            })
        )
    });
    let Update::Notice(Declared {
        what: trunkline::Notice::Unparsed(unparsed),
        ..
    }) = unparsed
    else {
        unreachable!()
    };
    assert!(unparsed.raw.contains("memo"), "{unparsed}");

    read_until(capture, &trades, |update| is_trade(update, 3));

    let refused = feed.subscribe(alpaca::trades(["NVDA"])).unwrap();
    let error = refused.wait_confirmed(WAIT).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::Refused { rejection, .. } if rejection.kind == RejectionKind::SymbolLimit),
        "{error:?}"
    );
    capture.error(&error);
    read_until(capture, &refused, |update| {
        matches!(
            update,
            Update::Notice(Declared {
                what: trunkline::Notice::Refused { .. },
                ..
            })
        )
    });
    drop(refused);
    capture.stream(&feed, &manager);

    read_until(capture, &trades, |update| is_trade(update, 2));
    capture.stream(&feed, &manager);
    let end = read_until(capture, &trades, |update| {
        matches!(update, Update::Ended(_))
    });
    let Update::Ended(end) = end else {
        unreachable!()
    };
    assert!(
        matches!(&end.reason, EndReason::Failed(error) if matches!(error.kind(), ErrorKind::Rejected { .. })),
        "{end:?}"
    );
    capture.stream(&feed, &manager);
    capture.add(format_args!("{trades:?}"));
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    capture.error(&error);
    drop((feed, trades));

    for (status, last) in [(403, false), (301, false), (403, true)] {
        let feed = manager.open(&venue, &credentials).unwrap();
        let error = feed.wait_live(WAIT).unwrap_err();
        capture.error(&error);
        capture.stream(&feed, &manager);
        assert!(
            matches!(error.kind(), ErrorKind::Upgrade { status: seen, .. } if *seen == status),
            "{error:?} (last: {last})"
        );
        let closed = feed.close(WAIT);
        capture.add(format_args!("{closed:?}"));
    }
    let shut = manager.shutdown(WAIT);
    capture.add(format_args!("{shut:?}"));
    capture.add(format_args!("{:?}", manager.shutdown_guard(WAIT)));

    let all = capture.0.lock().clone();
    assert!(
        all.contains("TRACE tungstenite") && all.contains(r#""i":1,"x":"V""#),
        "the dependencies' records were captured"
    );
    assert!(all.contains("trunkline::stream: "), "and the library's");
    assert_clean(canary, &all);
    println!("{DONE}");
}
