//! The proxy in front of a venue: which one it is (`environment`), and how it is asked for a connection to the venue
//! (`connect`, `socks5`). The handshakes touch no socket: they say what is to be sent, and are given what came.

mod connect;
mod environment;
mod socks5;

use std::io::{self, Read, Write};

use zeroize::Zeroizing;

pub(crate) use self::environment::proxy_for;
use self::{connect::Connect, socks5::Socks5};
use crate::{
    error::{ProxyFault, Source},
    key::Endpoint,
    proxy::{ProxyKind, ProxyServer},
};

/// A connection to a proxy that is to become one to the venue.
pub(super) enum Tunnel {
    Connect(Connect),
    Socks5(Socks5),
}

/// Why it did not become one.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) fault: ProxyFault,
    pub(super) source: Option<Source>,
}

impl From<ProxyFault> for Refusal {
    fn from(fault: ProxyFault) -> Self {
        let source = None;
        Self { fault, source }
    }
}

impl Tunnel {
    pub(super) fn new(server: &ProxyServer, venue: &Endpoint) -> Self {
        match server.kind() {
            ProxyKind::Http => Self::Connect(Connect::new(server, venue)),
            ProxyKind::Socks5 => Self::Socks5(Socks5::new(server, venue)),
        }
    }

    /// Goes on until the socket has nothing more. Says whether the proxy is through to the venue. What a proxy can make
    /// this read is bounded by the handshakes.
    pub(super) fn progress(&mut self, mut socket: impl Read + Write) -> Result<bool, Refusal> {
        loop {
            let moved = match self.outgoing().rest() {
                [] => self.receive(&mut socket)?,
                rest => match socket.write(rest) {
                    Ok(sent) => {
                        self.outgoing().sent(sent);
                        Some(false)
                    }
                    Err(error) => waits(error)?,
                },
            };
            match moved {
                Some(false) => {}
                Some(true) => return Ok(true),
                None => return Ok(false),
            }
        }
    }

    /// Says whether the handshake is over, or nothing where there is nothing to read.
    fn receive(&mut self, socket: &mut impl Read) -> Result<Option<bool>, Refusal> {
        let room = match self {
            Self::Connect(connect) => connect.room(),
            Self::Socks5(socks) => socks.room(),
        };
        match socket.read(room) {
            Ok(0) => Err(ProxyFault::Ended.into()),
            Ok(read) => Ok(Some(match self {
                Self::Connect(connect) => connect.received(read)?,
                Self::Socks5(socks) => socks.received(read)?,
            })),
            Err(error) => waits(error),
        }
    }

    fn outgoing(&mut self) -> &mut Outgoing {
        match self {
            Self::Connect(connect) => connect.outgoing(),
            Self::Socks5(socks) => socks.outgoing(),
        }
    }
}

/// What an error of the socket means: not now, once more, or the end.
fn waits(error: io::Error) -> Result<Option<bool>, Refusal> {
    match error.kind() {
        io::ErrorKind::WouldBlock => Ok(None),
        io::ErrorKind::Interrupted => Ok(Some(false)),
        _ => Err(Refusal {
            fault: ProxyFault::Ended,
            source: Some(Source::new(error)),
        }),
    }
}

/// Bytes on their way out, which may hold a password: they are wiped as soon as they are gone.
#[derive(Default)]
struct Outgoing {
    bytes: Zeroizing<Vec<u8>>,
    sent: usize,
}

impl Outgoing {
    /// `parts` in a buffer of exactly their size, so that no growth leaves a copy behind.
    fn new(parts: &[&[u8]]) -> Self {
        let len = parts.iter().map(|part| part.len()).sum();
        let mut bytes = Zeroizing::new(Vec::with_capacity(len));
        for part in parts {
            bytes.extend_from_slice(part);
        }
        Self { bytes, sent: 0 }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    fn sent(&mut self, sent: usize) {
        self.sent += sent;
        if self.rest().is_empty() {
            *self = Self::default();
        }
    }
}

fn not_a_proxy(why: &str) -> ProxyFault {
    ProxyFault::NotAProxy(why.to_owned())
}

/// How a proxy is told where the venue is, and how it is shown: `host:port`.
fn host_and_port(venue: &Endpoint) -> String {
    let (host, port) = (venue.server_name(), venue.port());
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A proxy that answers each of what it is sent with the next of its answers, in pieces of so many bytes.
    pub(super) struct Script {
        answers: std::vec::IntoIter<Vec<u8>>,
        pub(super) heard: Vec<Vec<u8>>,
        pending: std::collections::VecDeque<u8>,
        piece: usize,
        /// Every second call finds nothing to do, as with a socket that is not ready.
        is_ready: bool,
        ends: bool,
    }

    impl Script {
        pub(super) fn new(piece: usize, answers: &[&[u8]]) -> Self {
            let answers: Vec<_> = answers.iter().map(|answer| answer.to_vec()).collect();
            Self {
                answers: answers.into_iter(),
                heard: vec![Vec::new()],
                pending: Default::default(),
                piece,
                is_ready: false,
                ends: false,
            }
        }

        /// After its answers comes the end of the stream.
        pub(super) fn ending(mut self) -> Self {
            self.ends = true;
            self
        }

        fn turn(&mut self) -> io::Result<()> {
            self.is_ready = !self.is_ready;
            if self.is_ready {
                Ok(())
            } else {
                Err(io::ErrorKind::WouldBlock.into())
            }
        }

        /// Runs a handshake to its end, and gives what it came to.
        pub(super) fn run(&mut self, server: &str, venue: &str) -> Result<bool, ProxyFault> {
            let server = server.parse().unwrap();
            let mut tunnel = Tunnel::new(&server, &venue.parse().unwrap());
            for _ in 0..100_000 {
                match tunnel.progress(&mut *self) {
                    Ok(true) => return Ok(true),
                    Ok(false) if self.is_exhausted() => return Ok(false),
                    Ok(false) => {}
                    Err(refusal) => return Err(refusal.fault),
                }
            }
            panic!("it never comes to anything");
        }

        fn is_exhausted(&self) -> bool {
            !self.ends && self.pending.is_empty() && self.answers.len() == 0 && !self.is_ready
        }
    }

    impl Read for Script {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            assert!(!buffer.is_empty(), "no room, which would look like an end");
            self.turn()?;
            if self.pending.is_empty() && self.heard.last().is_some_and(|heard| !heard.is_empty()) {
                self.pending.extend(self.answers.next().unwrap_or_default());
                self.heard.push(Vec::new());
            }
            let read = self.piece.min(buffer.len()).min(self.pending.len());
            if read == 0 && !self.ends {
                return Err(io::ErrorKind::WouldBlock.into());
            }
            for (to, from) in buffer.iter_mut().zip(self.pending.drain(..read)) {
                *to = from;
            }
            Ok(read)
        }
    }

    impl Write for Script {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.turn()?;
            let written = self.piece.min(bytes.len());
            self.heard.last_mut().unwrap().extend(&bytes[..written]);
            Ok(written)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
}
