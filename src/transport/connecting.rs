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
mod tests;
