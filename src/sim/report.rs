//! What a simulator tells of what happened.

use std::{collections::BTreeMap, fmt, net::SocketAddr};

use crate::{alpaca::Codec, credentials::Fingerprint, market::Symbol};

/// What a [`Sim`](super::Sim) has seen and done so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct SimStats {
    /// Connections that were upgraded to WebSockets.
    pub connections_opened: u64,
    /// Connections that are open now: from the upgrade until the client's end of stream was seen.
    pub connections_open: usize,
    /// The most sockets that one key ever had open at once on one path, looked at whenever one of them authenticates,
    /// and after everything that other ones had sent was read. More than 1 is a client that breaks the venue's rule:
    /// it came before its last socket was closed. Sockets that were refused count until they are closed.
    pub most_open_per_key: usize,
    /// Authentications refused with 406, "connection limit exceeded".
    pub limit_errors: u64,
    /// Requests to subscribe and to unsubscribe from authenticated clients, refused ones included.
    pub requests: u64,
    /// Authentications refused with 402, "auth failed".
    pub auth_failures: u64,
    /// Data items sent, counted per connection. Faulty items are not among them.
    pub messages_sent: u64,
    /// Connections cut because they did not read.
    pub slow_clients: u64,
    /// Faults of the script, and of [`Sim::inject`](super::Sim::inject), that were played.
    pub faults_injected: u64,
    /// For each symbol, the id of the last trade that was sent to anybody.
    pub last_trade_ids: BTreeMap<Symbol, i64>,
}

/// Something that happened to a connection. `Display` is one line.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SimEvent {
    /// A client was upgraded to a WebSocket.
    Opened {
        /// The connection's number.
        connection: usize,
        /// The path, which names the feed.
        path: &'static str,
        /// How its messages are encoded.
        codec: Codec,
        /// The client.
        peer: SocketAddr,
    },
    /// A client came and was not upgraded: a path that does not exist, or no WebSocket handshake at all.
    NotUpgraded {
        /// The connection's number.
        connection: usize,
        /// The client.
        peer: SocketAddr,
        /// What was wrong.
        why: String,
    },
    /// A client authenticated.
    Authenticated {
        /// The connection's number.
        connection: usize,
        /// The fingerprint of its credentials.
        fingerprint: Fingerprint,
    },
    /// A client was told that something is wrong.
    Refused {
        /// The connection's number.
        connection: usize,
        /// The venue's number for it.
        code: u16,
        /// The venue's words for it.
        message: &'static str,
    },
    /// A connection is no more.
    Closed {
        /// The connection's number.
        connection: usize,
        /// How it ended.
        why: &'static str,
    },
}

impl fmt::Display for SimEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Opened {
                connection,
                path,
                codec,
                peer,
            } => write!(f, "#{connection} opened {path} from {peer}, {codec}"),
            Self::NotUpgraded {
                connection,
                peer,
                why,
            } => write!(f, "#{connection} not upgraded, from {peer}: {why}"),
            Self::Authenticated {
                connection,
                fingerprint,
            } => write!(f, "#{connection} authenticated [{fingerprint}]"),
            Self::Refused {
                connection,
                code,
                message,
            } => write!(f, "#{connection} refused: {code} {message}"),
            Self::Closed { connection, why } => write!(f, "#{connection} closed: {why}"),
        }
    }
}
