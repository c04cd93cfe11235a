//! TCP connections to the addresses of one host, begun one after another until the first of them is there (RFC 8305).
//!
//! The others are closed in the same turn, with nothing sent on them: there is never a second one that is secured,
//! upgraded or authenticated.

use std::{
    fmt, io,
    net::{Shutdown, SocketAddr},
    time::Instant,
};

use mio::{Interest, Registry, Token, net::TcpStream};

use super::addresses::Candidates;
use crate::error::Source;

pub(super) struct Connecting {
    candidates: Candidates,
    /// In the order in which they were begun.
    begun: Vec<(SocketAddr, TcpStream)>,
    failures: Vec<(SocketAddr, io::Error)>,
}

impl Connecting {
    pub(super) fn new(candidates: Candidates) -> Self {
        Self {
            candidates,
            begun: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Goes on: gives the first connection that is there, and nothing while all are under way. They are registered with
    /// `token`.
    ///
    /// # Errors
    /// All addresses have failed.
    pub(super) fn progress(
        &mut self,
        now: Instant,
        registry: &Registry,
        token: Token,
    ) -> Result<Option<(SocketAddr, TcpStream)>, Source> {
        if let Some(first) = self.look(now, registry) {
            self.close(registry);
            return Ok(Some(first));
        }
        while let Some(address) = self.candidates.take_due(now) {
            match begin(address, registry, token) {
                Ok(socket) => self.begun.push((address, socket)),
                Err(error) => {
                    self.failures.push((address, error));
                    self.candidates.failed(now);
                }
            }
            if self.begun.len() > MOST {
                let (address, longest) = self.begun.remove(0);
                end(longest, registry);
                let why = io::Error::other("has not answered, and made room for others");
                self.failures.push((address, why));
            }
        }
        if self.begun.is_empty() && self.candidates.next_at().is_none() {
            let failures = std::mem::take(&mut self.failures);
            return Err(Source::new(FailedAddresses(failures)));
        }
        Ok(None)
    }

    /// Looks at all that were begun: the first that is there, without those that have failed.
    fn look(&mut self, now: Instant, registry: &Registry) -> Option<(SocketAddr, TcpStream)> {
        let mut at = 0;
        while let Some((_, socket)) = self.begun.get(at) {
            match is_connected(socket) {
                Ok(false) => at += 1,
                Ok(true) => return Some(self.begun.remove(at)),
                Err(error) => {
                    let (address, socket) = self.begun.remove(at);
                    end(socket, registry);
                    self.failures.push((address, error));
                    self.candidates.failed(now);
                }
            }
        }
        None
    }

    /// When the next address is due.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.candidates.next_at()
    }

    /// What is waited for, and what has failed.
    pub(super) fn obstacle(&self) -> Source {
        let silent = |(address, _): &(SocketAddr, TcpStream)| {
            (*address, io::Error::other("has not answered yet"))
        };
        let mut all: Vec<_> = self.begun.iter().map(silent).collect();
        let again = |(address, error): &(SocketAddr, io::Error)| {
            (*address, io::Error::other(error.to_string()))
        };
        all.extend(self.failures.iter().map(again));
        Source::new(FailedAddresses(all))
    }

    /// Ends all that were begun.
    pub(super) fn close(&mut self, registry: &Registry) {
        for (_, socket) in self.begun.drain(..) {
            end(socket, registry);
        }
    }
}

fn begin(address: SocketAddr, registry: &Registry, token: Token) -> io::Result<TcpStream> {
    let mut socket = TcpStream::connect(address)?;
    let interest = Interest::READABLE | Interest::WRITABLE;
    if let Err(error) = registry.register(&mut socket, token, interest) {
        end(socket, registry);
        return Err(error);
    }
    // Without this, a pong or a request would wait for the peer's acknowledgement of the one before it.
    let _ = socket.set_nodelay(true);
    Ok(socket)
}

fn is_connected(socket: &TcpStream) -> io::Result<bool> {
    if let Some(error) = socket.take_error()? {
        return Err(error);
    }
    match socket.peer_addr() {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(false),
        // What macOS says while it is still connecting.
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(false),
        Err(error) => Err(error),
    }
}

/// Shut down before it is closed, because a copy in a forked child would keep it open.
pub(super) fn end(mut socket: TcpStream, registry: &Registry) {
    let _ = socket.shutdown(Shutdown::Both);
    let _ = registry.deregister(&mut socket);
}

/// A name with more addresses than that, all of which hang, does not take more sockets: the oldest makes room. It has had
/// sixteen turns then, which are four seconds, or less where others failed at once or the set-up has little time.
const MOST: usize = 16;

/// What became of each address.
#[derive(Debug)]
struct FailedAddresses(Vec<(SocketAddr, io::Error)>);

impl fmt::Display for FailedAddresses {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 8;
        for (at, (address, error)) in self.0.iter().take(SHOWN).enumerate() {
            let separator = if at == 0 { "" } else { "; " };
            write!(f, "{separator}{address}: {error}")?;
        }
        match self.0.len().checked_sub(SHOWN) {
            Some(more @ 1..) => write!(f, "; and {more} more addresses"),
            _ => Ok(()),
        }
    }
}

impl std::error::Error for FailedAddresses {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        None
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests {
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
        let full =
            socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        full.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        full.listen(0).unwrap();
        let port = full.local_addr().unwrap().as_socket().unwrap().port();
        let mut fillers = Vec::new();
        let hangs = SocketAddr::from(([127, 0, 0, 1], port));
        while let Ok(filler) =
            std::net::TcpStream::connect_timeout(&hangs, Duration::from_millis(200))
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
}
