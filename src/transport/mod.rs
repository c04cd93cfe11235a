//! What the driver needs of the network: one connection at a time, and a wait. The clocks are beside it, in `ambient`.
//!
//! [`websocket`] is the real one, and the only one that touches a socket; `memory` is its twin for tests of the
//! driver. A transport knows nothing of any venue's protocol, and never tries again by itself.

mod addresses;
#[cfg(feature = "tls")]
mod certificate;
mod connecting;
#[cfg(feature = "compression")]
mod inflate;
mod mask;
#[cfg(test)]
#[cfg(not(loom))]
pub(crate) mod memory;
pub(crate) mod proxy;
pub(crate) mod resolve;
mod retry_after;
#[cfg(feature = "tls")]
mod system_roots;
#[cfg(feature = "tls")]
pub(crate) mod tls;
pub(crate) mod websocket;
mod wire;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use tungstenite::{Bytes, Utf8Bytes};

use crate::{
    credentials::Credentials,
    error::{ProxyFault, Source},
    key::Endpoint,
    phase::Phase,
    proxy::ProxyServer,
    venue::{Frame, Message, SecretMessage},
};

/// One connection at a time. No call blocks but [`wait`](Self::wait).
pub(crate) trait Transport {
    /// Begins to connect. There is no connection now.
    fn connect(&mut self, target: Target);

    /// Moves the set-up on. `Live` stands for an open WebSocket.
    fn progress(&mut self, now: Instant) -> Result<Phase, Fault>;

    /// How far the set-up got, also after it failed.
    fn phase(&self) -> Phase;

    /// What becomes of a set-up that takes too long. `why` says how long that is.
    fn overdue(&self, why: String) -> Fault {
        Fault::Lost { why, source: None }
    }

    /// What is to be recorded of the set-up, which goes on.
    fn take_remark(&mut self) -> Option<String> {
        None
    }

    /// When [`progress`](Self::progress) wants to be called even if nothing happens.
    fn deadline(&self) -> Option<Instant>;

    /// The next thing that arrived, and when; nothing if all was read.
    fn read(&mut self) -> Result<Option<(Incoming, Instant)>, Fault>;

    /// Sends a message, or keeps what the socket does not take now.
    fn send(&mut self, message: Message) -> Result<(), Fault>;

    /// The same for a message that must leave no copy.
    fn send_secret(&mut self, message: SecretMessage) -> Result<(), Fault>;

    fn ping(&mut self) -> Result<(), Fault>;

    /// Sends on what an earlier call had to keep.
    fn flush(&mut self) -> Result<(), Fault>;

    /// Whether something was kept that the socket did not take. When it takes more, [`wait`](Self::wait) returns.
    fn has_unsent(&self) -> bool;

    /// Secrets need no longer be masked in what arrives, unless it is logged.
    fn unmask(&mut self);

    /// Begins to close in good order.
    fn close(&mut self);

    /// Goes on closing; says whether the peer's end was seen, or there is no connection.
    fn is_closed(&mut self) -> bool;

    /// Ends the connection, whatever state it is in: shut down, deregistered, closed.
    fn abort(&mut self);

    /// Sleeps until something happens on the connection, a wake, or the deadline. The deadline is of a clock that stands
    /// still while the machine sleeps: after that, whichever of the three comes first wakes the thread.
    fn wait(&mut self, deadline: Option<Instant>);

    /// Bytes read from the connections so far.
    fn bytes_read(&self) -> u64;
}

/// Where to connect to, and how to ask.
pub(crate) struct Target {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: Vec<(&'static str, String)>,
    /// Masked in what arrives until [`Transport::unmask`].
    pub(crate) secrets: Credentials,
    /// What to go through.
    pub(crate) proxy: Option<ProxyServer>,
    /// For the whole set-up. The driver keeps it; here it says how long there is for a resolver, and for each address.
    pub(crate) deadline: Instant,
}

/// What arrives.
pub(crate) enum Incoming {
    Message(Payload),
    /// A ping, which was answered, or a pong: a sign of life.
    Control,
    /// The peer's close frame.
    Close(Close),
}

/// What a close frame says.
pub(crate) enum Close {
    Nothing,
    Code {
        code: u16,
        reason: String,
    },
    /// A code that no close frame may carry (RFC 6455, 7.4). Which, the WebSocket library does not tell.
    Forbidden,
}

impl Close {
    pub(crate) fn code(&self) -> Option<u16> {
        match self {
            Self::Code { code, .. } => Some(*code),
            Self::Nothing | Self::Forbidden => None,
        }
    }
}

/// A message's content, where it was read to.
pub(crate) enum Payload {
    Text(Utf8Bytes),
    Binary(Bytes),
}

impl Payload {
    pub(crate) fn frame(&self) -> Frame<'_> {
        match self {
            Self::Text(text) => Frame::Text(text.as_str()),
            Self::Binary(bytes) => Frame::Binary(bytes),
        }
    }
}

/// How a connection failed.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    Resolve(Source),
    Connect(Source),
    Proxy {
        proxy: String,
        fault: ProxyFault,
        source: Option<Source>,
    },
    Tls {
        why: String,
        certificate: bool,
    },
    Upgrade {
        status: u16,
        retry_after: Option<Duration>,
        /// Where a redirect leads.
        location: Option<String>,
    },
    Protocol(String),
    Lost {
        why: String,
        source: Option<Source>,
    },
}

/// Wakes a transport out of [`Transport::wait`], from any thread.
pub(crate) trait Wake: Send + Sync {
    /// Never blocks.
    fn wake(&self);
}

pub(crate) type Waker = Arc<dyn Wake>;

/// How long is read before deadlines and what callers want are looked at again, within a message and from one to the next.
pub(crate) const TURN: Duration = Duration::from_millis(5);
