//! How many copies of the credentials the process's own memory holds.

use std::hint::black_box;

use trunkline::{
    Config, Credentials, Manager, Phase, Topics,
    alpaca::{self, Account},
    venue::{Payload, Venue},
};

use crate::{
    child::{DONE, Server, with_child, with_child_of_key},
    hidden::{self, Needle, copies},
    peer::{Identity, Listener, Peer, WELCOME},
    support::{WAIT, eventually},
};

/// Far down the stack, where what it leaves behind is not overwritten by whatever is called next.
#[inline(never)]
fn load(key: Needle) -> Credentials {
    let above = black_box([0_u8; 64 << 10]);
    let credentials = Credentials::from_reader(hidden::Lines::new(key)).unwrap();
    black_box(&above);
    credentials
}

#[track_caller]
pub(crate) fn assert_copies(key: Needle, when: &str, wanted: usize) {
    for (what, needle) in [("secret", hidden::SECRET), ("key id", key)] {
        let found = copies(needle);
        assert!(
            found.plain.len() == wanted && found.reversed.is_empty() && found.masked.is_empty(),
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
    let key = hidden::key(40);
    assert_copies(key, "before", 0);
    for (what, needle) in [("secret", hidden::SECRET), ("key id", key)] {
        let plant = |from: usize, mask: [u8; 4]| -> Vec<u8> {
            (from..needle.len)
                .map(|at| needle.at(at) ^ mask[at % 4])
                .collect()
        };
        // Of sixteen bytes and more something is found, wherever they are cut.
        for from in [0, 1, 2, 3, needle.len - 16] {
            let planted = plant(from, [0; 4]);
            let found = copies(needle);
            assert!(
                found.plain.len() == 1 && found.masked.is_empty(),
                "{what}: {found:?}"
            );
            drop(zeroize::Zeroizing::new(planted));
            // As SHA-256 holds them.
            let mut planted = plant(from, [0; 4]);
            planted
                .as_chunks_mut::<4>()
                .0
                .iter_mut()
                .for_each(|word| word.reverse());
            let found = copies(needle);
            assert!(
                found.plain.is_empty() && found.reversed.len() == 1 && found.masked.is_empty(),
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
    // A short one is found as a whole.
    let short = hidden::key(8);
    let mut planted: Vec<u8> = (0..8).map(|at| short.at(at)).collect();
    assert_eq!(copies(short).plain.len(), 1);
    for word in planted.as_chunks_mut::<4>().0 {
        word.reverse();
    }
    assert_eq!(copies(short).reversed.len(), 1);
    drop(zeroize::Zeroizing::new(planted));
    println!("{DONE}");
}

// ------------------------------------------------------------------------------------------------------------- a life

const RECONNECTS: u64 = 20;
const HANDLES: usize = 8;
/// With 24 characters and more of the key id the secret lies in another block of what is hashed, padded or not.
const KEY_LENS: [usize; 4] = [8, 20, 26, 64];

#[test]
fn one_copy_is_in_memory_while_live_and_none_once_the_stream_drains() {
    const NAME: &str = "one_copy_is_in_memory_while_live_and_none_once_the_stream_drains";
    live_lives(NAME, None, serve_market_data, |server| {
        live(server, &server.venue(), || alpaca::trades(["AAPL"]));
    });
}

#[test]
fn one_copy_is_in_memory_over_tls_and_none_once_the_stream_drains() {
    const NAME: &str = "one_copy_is_in_memory_over_tls_and_none_once_the_stream_drains";
    live_lives(NAME, Some(&Identity::new()), serve_market_data, |server| {
        live(server, &server.venue(), || alpaca::trades(["AAPL"]));
    });
}

#[test]
fn one_copy_is_in_memory_of_order_updates_and_none_once_the_stream_drains() {
    const NAME: &str = "one_copy_is_in_memory_of_order_updates_and_none_once_the_stream_drains";
    live_lives(NAME, None, serve_orders, |server| {
        let venue = alpaca::order_updates(Account::Paper).at(server.url.parse().unwrap());
        live(server, &venue, alpaca::orders);
    });
}

fn live_lives(
    name: &str,
    identity: Option<&Identity>,
    serve: fn(&Listener),
    live: impl FnOnce(&Server),
) {
    match Server::of_this_child() {
        None => KEY_LENS
            .into_iter()
            .for_each(|len| with_child_of_key(len, name, identity, serve)),
        Some(server) => live(&server),
    }
}

/// Lives from the child's knock to its next one, and the close frame that is not answered before it has looked.
fn serve_lives(listener: &Listener, open: fn(&Listener) -> Peer, refuse: fn(&mut Peer)) {
    for _ in 1..=RECONNECTS {
        let peer = open(listener);
        listener.wait_for_a_knock();
        drop(peer);
    }
    let mut peer = Peer::open(listener);
    refuse(&mut peer);
    peer.serve_to_the_end();
    drop(peer);
    let peer = open(listener);
    listener.wait_for_a_knock();
    drop(peer);
}

fn serve_market_data(listener: &Listener) {
    let open = |listener: &Listener| {
        let (mut peer, auth) = Peer::live(listener);
        assert!(auth.starts_with(r#"{"action":"auth","key":""#));
        peer.serve_until("AAPL");
        peer
    };
    serve_lives(listener, open, |peer| {
        peer.text(WELCOME);
        peer.read();
        peer.text(r#"[{"T":"error","code":402,"msg":"auth failed"}]"#);
    });
}

fn serve_orders(listener: &Listener) {
    serve_lives(listener, Peer::listening, |peer| {
        peer.read();
        peer.text(
            r#"{"stream":"authorization","data":{"status":"unauthorized","action":"authenticate"}}"#,
        );
    });
}

/// Nothing but what is looked at happens, however long it takes to look.
fn quiet(server: &Server) -> Config {
    let mut config = server.config();
    config.close_timeout = WAIT;
    config.ping_interval = WAIT;
    config.ping_timeout = WAIT;
    config
}

fn live<V: Venue + Clone, T: Payload<Source = V::Event>>(
    server: &Server,
    venue: &V,
    topics: fn() -> Topics<T>,
) {
    let key = hidden::key(server.key_len);
    assert_copies(key, "before", 0);
    drop(load(key));
    assert_copies(key, "loaded and dropped", 0);
    let credentials = load(key);
    assert_copies(key, "loaded", 1);
    let manager = Manager::with_config(quiet(server)).unwrap();
    let open = || {
        let feed = manager.open(venue, &credentials).unwrap();
        let topics = feed.subscribe(topics()).unwrap();
        (feed, topics)
    };
    let handles: Vec<_> = (0..HANDLES).map(|_| open()).collect();
    let feed = handles[0].0.clone();
    for connection in 1..=RECONNECTS {
        eventually("the line is live", || {
            feed.health().epoch == connection && feed.phase() == Phase::Live
        });
        for (_, topics) in &handles {
            topics.wait_confirmed(WAIT).unwrap();
        }
        if [1, 2, RECONNECTS].contains(&connection) {
            assert_copies(key, &format!("on connection {connection}"), 1);
        }
        server.knock();
    }
    eventually("the stream has ended", || feed.phase() == Phase::Ended);
    assert_eq!(feed.wait_live(WAIT).unwrap_err().code(), "rejected");
    assert_copies(key, "refused", 1);
    drop((feed, handles));

    let (feed, last) = open();
    drop(credentials);
    last.wait_confirmed(WAIT).unwrap();
    assert_copies(key, "the stream's share alone", 1);
    let ending = manager.shutdown(std::time::Duration::ZERO);
    eventually("it waits for the peer to close", || {
        feed.phase() == Phase::Closing
    });
    assert_copies(key, "draining", 0);
    server.knock();
    for shut in manager.shutdown(WAIT) {
        assert_eq!(shut.stuck, None, "{shut}");
    }
    eventually("it has ended", || feed.phase() == Phase::Ended);
    drop((feed, last, manager, ending));
    assert_copies(key, "dropped", 0);
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
    let key = hidden::key(server.key_len);
    let credentials = load(key);
    let manager = Manager::with_config(server.config()).unwrap();
    let feed = manager.open(&server.venue(), &credentials).unwrap();
    let error = feed.wait_live(WAIT).unwrap_err();
    assert_eq!(error.code(), "rejected");
    eventually("the thread has ended", || feed.phase() == Phase::Ended);
    assert_copies(key, "failed", 1);
    drop(credentials);
    assert_copies(key, "failed, and handle and error held", 0);
    drop((feed, error, manager));
    assert_copies(key, "dropped", 0);
    println!("{DONE}");
}
