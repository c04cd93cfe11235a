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
mod tests;
