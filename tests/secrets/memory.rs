//! How many copies of the credentials the process's own memory holds.

use trunkline::{Credentials, Manager, Phase, alpaca};

use crate::{
    child::{DONE, Server, with_child, with_child_over_tls},
    hidden::{self, Needle, copies},
    peer::{Listener, Peer, WELCOME},
    support::{WAIT, eventually},
};

const PARTS: [(&str, Needle); 2] = [("secret", hidden::secret), ("key id", hidden::key)];

#[track_caller]
fn assert_copies(when: &str, wanted: usize) {
    for (what, needle) in PARTS {
        let found = copies(needle);
        assert!(
            found.plain.len() == wanted && found.masked.is_empty(),
            "{when}: copies of the {what}, of which there should be {wanted}: {found:#?}"
        );
    }
}

// ------------------------------------------------------------------------------------------------------- the scanner

#[test]
fn planted_copies_are_found_plain_under_any_mask_and_in_fragments() {
    const NAME: &str = "planted_copies_are_found_plain_under_any_mask_and_in_fragments";
    if Server::of_this_child().is_none() {
        return with_child(NAME, |_| {});
    }
    assert_copies("before", 0);
    for (what, needle) in PARTS {
        let plant = |from: usize, mask: [u8; 4]| -> Vec<u8> {
            (from..hidden::LEN)
                .map(|at| needle(at) ^ mask[at % 4])
                .collect()
        };
        // Of sixteen bytes and more something is found, wherever they are cut.
        for from in [0, 1, 2, 3, hidden::LEN - 16] {
            let planted = plant(from, [0; 4]);
            let found = copies(needle);
            assert!(
                found.plain.len() == 1 && found.masked.is_empty(),
                "{what}: {found:?}"
            );
            drop(zeroize::Zeroizing::new(planted));
            for mask in [
                [1, 2, 3, 4],
                [4, 1, 2, 3],
                [3, 4, 1, 2],
                [2, 3, 4, 1],
                [255; 4],
            ] {
                let planted = plant(from, mask);
                let found = copies(needle);
                assert!(
                    found.plain.is_empty() && found.masked.len() == 1,
                    "{what}: {found:?}"
                );
                drop(zeroize::Zeroizing::new(planted));
            }
        }
    }
    println!("{DONE}");
}

// ------------------------------------------------------------------------------------------------------------- a life

const RECONNECTS: u64 = 20;

#[test]
fn one_copy_is_in_memory_while_live_and_none_once_the_stream_drains() {
    const NAME: &str = "one_copy_is_in_memory_while_live_and_none_once_the_stream_drains";
    match Server::of_this_child() {
        None => with_child(NAME, serve_a_life),
        Some(server) => live(&server),
    }
}

#[test]
fn one_copy_is_in_memory_over_tls_and_none_once_the_stream_drains() {
    const NAME: &str = "one_copy_is_in_memory_over_tls_and_none_once_the_stream_drains";
    match Server::of_this_child() {
        None => with_child_over_tls(NAME, serve_a_life),
        Some(server) => live(&server),
    }
}

fn cut(connection: u64) -> String {
    format!("CUT{connection}")
}

fn serve_a_life(listener: &Listener) {
    for connection in 1..=RECONNECTS {
        let (mut peer, auth) = Peer::live(listener);
        assert!(auth.starts_with(r#"{"action":"auth","key":""#));
        peer.serve_until(&cut(connection));
    }
    // The credentials are refused.
    let mut peer = Peer::open(listener);
    peer.text(WELCOME);
    peer.read();
    peer.text(r#"[{"T":"error","code":402,"msg":"auth failed"}]"#);
    peer.serve_to_the_end();
    drop(peer);
    // The close frame is not answered before the child has looked.
    let (peer, _) = Peer::live(listener);
    listener.wait_for_a_knock();
    drop(peer);
}

fn live(server: &Server) {
    assert_copies("before", 0);
    let credentials = Credentials::from_reader(hidden::Lines(0)).unwrap();
    assert_copies("made", 1);
    let mut config = server.config();
    config.close_timeout = WAIT;
    let manager = Manager::with_config(config).unwrap();
    let feed = manager.open(&server.venue(), &credentials).unwrap();
    let trades = feed.subscribe(alpaca::trades(["AAPL"])).unwrap();
    let clone = feed.clone();
    for connection in 1..=RECONNECTS {
        eventually("the line is live", || {
            clone.health().epoch == connection && clone.phase() == Phase::Live
        });
        if [1, 2, RECONNECTS].contains(&connection) {
            assert_copies(&format!("on connection {connection}"), 1);
        }
        trades.add(alpaca::trades([cut(connection)])).unwrap();
    }
    eventually("the stream has ended", || feed.phase() == Phase::Ended);
    assert_eq!(feed.wait_live(WAIT).unwrap_err().code(), "rejected");
    assert_copies("refused", 1);
    drop((feed, clone, trades));

    let more = credentials.clone();
    drop(credentials);
    let feed = manager.open(&server.venue(), &more).unwrap();
    drop(more);
    feed.wait_live(WAIT).unwrap();
    assert_copies("the stream's share alone", 1);
    let ending = manager.shutdown(std::time::Duration::ZERO);
    eventually("it waits for the peer to close", || {
        feed.phase() == Phase::Closing
    });
    assert_copies("draining", 0);
    server.knock();
    for shut in manager.shutdown(WAIT) {
        assert_eq!(shut.stuck, None, "{shut}");
    }
    eventually("it has ended", || feed.phase() == Phase::Ended);
    drop((feed, manager, ending));
    assert_copies("dropped", 0);
    println!("{DONE}");
}

// ------------------------------------------------------------------------------------------------ what a server repeats

#[test]
fn a_stream_that_failed_keeps_no_copy_though_the_venue_reflected_the_secret() {
    const NAME: &str = "a_stream_that_failed_keeps_no_copy_though_the_venue_reflected_the_secret";
    match Server::of_this_child() {
        None => with_child(NAME, reflect),
        Some(server) => fail(&server),
    }
}

/// Says in errors what it was sent, twice so that the stream goes on, and then for good.
fn reflect(listener: &Listener) {
    for (code, piece) in [(500, usize::MAX), (500, 13), (402, usize::MAX)] {
        let mut peer = Peer::open(listener);
        peer.text(WELCOME);
        let auth: serde_json::Value = serde_json::from_slice(&peer.read().payload).unwrap();
        let text = format!(
            r#"[{{"T":"error","code":{code},"msg":"not {} with {}"}}]"#,
            auth["key"].as_str().unwrap(),
            auth["secret"].as_str().unwrap()
        );
        peer.frame(0x81, text.as_bytes(), piece);
        peer.serve_to_the_end();
    }
}

fn fail(server: &Server) {
    let credentials = Credentials::from_reader(hidden::Lines(0)).unwrap();
    let manager = Manager::with_config(server.config()).unwrap();
    let feed = manager.open(&server.venue(), &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    eventually("the thread has ended", || feed.phase() == Phase::Ended);
    assert_copies("failed", 1);
    drop(credentials);
    assert_copies("failed, and handle and error held", 0);
    drop((feed, error, manager));
    assert_copies("dropped", 0);
    println!("{DONE}");
}
