use std::{io::Read as _, net::TcpListener, time::Duration};

use super::*;
use crate::{clock, transport::addresses::KnownAddresses};

const WAIT: Duration = Duration::from_secs(60);

fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn of(addresses: &[SocketAddr]) -> Connecting {
    let now = clock::now();
    let known = KnownAddresses::default();
    Connecting::new(Candidates::new(
        addresses,
        &known,
        now,
        clock::after(now, WAIT),
    ))
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = clock::now() + WAIT;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(clock::now() < deadline, "it never comes");
        std::thread::yield_now();
    }
}

#[test]
fn of_several_that_are_there_the_first_is_kept_and_nothing_is_sent_on_the_others() {
    let poll = mio::Poll::new().unwrap();
    let listeners = [listener(), listener(), listener()];
    let mut connecting = of(&[]);
    for (_, address) in &listeners {
        let socket = begin(*address, poll.registry(), Token(0)).unwrap();
        connecting.begun.push((*address, socket));
    }
    let all_are_there = || {
        let there = |(_, socket): &(SocketAddr, TcpStream)| is_connected(socket).unwrap();
        connecting.begun.iter().all(there).then_some(())
    };
    until(all_are_there);
    let (address, socket) = connecting
        .progress(clock::now(), poll.registry(), Token(0))
        .unwrap()
        .expect("they are there");
    assert_eq!(address, listeners[0].1);
    for (listener, _) in &listeners[1..] {
        let (mut peer, _) = listener.accept().unwrap();
        peer.set_read_timeout(Some(WAIT)).unwrap();
        let end = peer.read(&mut [0]);
        // A reset is as good an end.
        let is_reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
        assert!(
            end.as_ref().map_or_else(is_reset, |read| *read == 0),
            "{end:?}"
        );
    }
    let (peer, _) = listeners[0].0.accept().unwrap();
    assert_eq!(peer.peer_addr().unwrap(), socket.local_addr().unwrap());
}

#[test]
fn what_became_of_each_address_is_told_when_all_have_failed() {
    let poll = mio::Poll::new().unwrap();
    // Nobody listens there any more.
    let addresses = [(); 10].map(|()| listener().1);
    let mut connecting = of(&addresses);
    let failures = until(|| {
        connecting
            .progress(clock::now(), poll.registry(), Token(0))
            .err()
    });
    let text = failures.to_string();
    for address in &addresses[..8] {
        assert!(text.contains(&format!("{address}: ")), "{text}");
    }
    assert!(text.ends_with("; and 2 more addresses"), "{text}");
}

/// Addresses that hang take no more sockets than that, however many they are and however long the set-up may take.
#[test]
fn addresses_that_hang_take_a_bounded_number_of_sockets() {
    let poll = mio::Poll::new().unwrap();
    let full = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
    full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
        .unwrap();
    full.listen(0).unwrap();
    let port = full.local_addr().unwrap().as_socket().unwrap().port();
    let mut fillers = Vec::new();
    let hangs = SocketAddr::from(([127, 0, 0, 1], port));
    while let Ok(filler) = std::net::TcpStream::connect_timeout(&hangs, Duration::from_millis(200))
    {
        fillers.push(filler);
    }
    let mut connecting = of(&[]);
    let mut now = clock::now();
    for _ in 0..3 * MOST {
        connecting.candidates = of(&[hangs]).candidates;
        now = now.max(clock::now());
        let there = connecting.progress(now, poll.registry(), Token(0)).unwrap();
        assert!(there.is_none());
        assert!(connecting.begun.len() <= MOST);
    }
    assert_eq!(connecting.begun.len(), MOST);
    let made_room = connecting.obstacle().to_string();
    assert!(
        made_room.contains(&format!("{} more", 3 * MOST - 8)),
        "{made_room}"
    );
    connecting.close(poll.registry());
    let made_room = connecting.obstacle().to_string();
    assert!(made_room.contains("made room for others"), "{made_room}");
}
