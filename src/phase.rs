//! Where a stream is in its life.

use std::{fmt, time::Duration};

/// What a stream is doing.
///
/// ```text
///  Resolving ▶ Connecting ▶ (Tunneling) ▶ Securing ▶ Upgrading ▶ Authenticating ▶ Live
///      ▲           │             │            │          │             │           │
///      └─ Waiting ◀┴─────────────┴────────────┴──────────┴─────────────┴───────────┘   any of them ▶ Closing ▶ Ended
/// ```
/// Through a proxy, the first two are those of the proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum Phase {
    /// Looking up the host's addresses. Also the phase of a stream whose thread has not begun yet.
    Resolving,
    /// Opening the TCP connection.
    Connecting,
    /// Asking the proxy for a connection to the venue.
    Tunneling,
    /// TLS handshake.
    Securing,
    /// WebSocket upgrade.
    Upgrading,
    /// Waiting for the venue's welcome and the answer to the authentication.
    Authenticating,
    /// Authenticated. What is subscribed to arrives.
    Live,
    /// Live, but what is expected does not arrive, although the market trades. It was probed, and is about to be given
    /// up, or is kept, where another connection would bring no more.
    Mute,
    /// Between two attempts to connect.
    Waiting,
    /// The connection is being closed: waiting for the peer's end.
    Closing,
    /// The thread has ended, and the socket is gone.
    Ended,
}

impl Phase {
    /// Whether the connection is authenticated and in use.
    pub(crate) fn is_live(self) -> bool {
        matches!(self, Self::Live | Self::Mute)
    }

    /// The name in lower case.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Resolving => "resolving",
            Self::Connecting => "connecting",
            Self::Tunneling => "tunneling",
            Self::Securing => "securing",
            Self::Upgrading => "upgrading",
            Self::Authenticating => "authenticating",
            Self::Live => "live",
            Self::Mute => "mute",
            Self::Waiting => "waiting",
            Self::Closing => "closing",
            Self::Ended => "ended",
        }
    }

    /// What a stream in this phase has not got yet.
    pub(crate) fn waits_for(self) -> Option<&'static str> {
        match self {
            Self::Resolving => Some("the name of the host is still looked up"),
            Self::Connecting => Some("nothing has answered at that address and port"),
            Self::Tunneling => Some("the proxy has not answered"),
            Self::Securing => Some("the server has not answered in TLS"),
            Self::Upgrading => Some("the server has not answered the WebSocket upgrade"),
            Self::Authenticating => Some("the venue has not answered the login"),
            Self::Live | Self::Mute | Self::Waiting | Self::Closing | Self::Ended => None,
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// When the next attempt is made, for people.
pub(crate) struct NextAttempt(pub(crate) Duration);

impl fmt::Display for NextAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 < Duration::from_millis(1) {
            return f.write_str("next attempt at once");
        }
        write!(f, "next attempt in {:.1?}", self.0)
    }
}
