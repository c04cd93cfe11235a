//! What went wrong at a proxy, and who has to mend it.

use std::{fmt, time::Duration};

use super::words::retry_after_note;

/// What went wrong at a proxy. `Display` goes on behind its name: `the proxy http://proxy:3128 …`.
///
/// | | who has to mend it |
/// |---|---|
/// | [`LoginWanted`](Self::LoginWanted), [`LoginRefused`](Self::LoginRefused), [`NotAProxy`](Self::NotAProxy) | who configured the proxy here |
/// | [`Forbidden`](Self::Forbidden) | who runs the proxy |
/// | [`VenueUnreachable`](Self::VenueUnreachable) | the venue, or the network between it and the proxy |
/// | [`Unresolved`](Self::Unresolved), [`Unreachable`](Self::Unreachable), [`Silent`](Self::Silent), [`Ended`](Self::Ended), [`Failed`](Self::Failed) | time, or who runs the proxy |
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProxyFault {
    /// Its host name could not be resolved. (The venue's is looked up by the proxy.)
    #[error("cannot be found: its host name does not resolve")]
    Unresolved,
    /// No connection to it came about.
    #[error("cannot be reached")]
    Unreachable,
    /// It did not answer in the time that the set-up has.
    #[error("did not let the connection through in time")]
    Silent,
    /// It ended the connection in place of an answer.
    #[error("ended the connection and gave no answer")]
    Ended,
    /// It wants a login: none is configured, or it takes none of the kind that is spoken here, which is `Basic` in HTTP, and
    /// user and password in SOCKS.
    #[error("wants a login ({answer}), and {}", wanted(*.is_configured, .offers))]
    LoginWanted {
        /// What it said.
        answer: ProxyAnswer,
        /// Whether a user and a password are configured.
        is_configured: bool,
        /// The kinds of login that it takes, as far as it names them and they are known.
        offers: String,
    },
    /// It refused the user and the password.
    #[error("refused its user and password ({0})")]
    LoginRefused(ProxyAnswer),
    /// It does not let connections through to the venue's host or port. The venue was not asked.
    #[error("does not allow connections to {venue} ({answer}); the venue was not asked")]
    Forbidden {
        /// The venue's host and port.
        venue: String,
        /// What it said.
        answer: ProxyAnswer,
    },
    /// It could not reach the venue.
    #[error(
        "could not reach {venue} ({answer}): the venue, or the network between the two, is at fault rather than the proxy"
    )]
    VenueUnreachable {
        /// The venue's host and port.
        venue: String,
        /// What it said.
        answer: ProxyAnswer,
    },
    /// It failed, for a reason that it does not tell or that passes.
    #[error("failed ({0})")]
    Failed(ProxyAnswer),
    /// What answers there is no proxy, or one of another kind.
    #[error("does not answer like a proxy of its kind: {0}")]
    NotAProxy(String),
}

impl ProxyFault {
    /// What it said, if it said something.
    fn answer(&self) -> Option<ProxyAnswer> {
        match self {
            Self::LoginWanted { answer, .. }
            | Self::LoginRefused(answer)
            | Self::Forbidden { answer, .. }
            | Self::VenueUnreachable { answer, .. }
            | Self::Failed(answer) => Some(*answer),
            Self::Unresolved
            | Self::Unreachable
            | Self::Silent
            | Self::Ended
            | Self::NotAProxy(_) => None,
        }
    }

    /// Whether it does not take the user and the password that are configured.
    pub(crate) fn refuses_login(&self) -> bool {
        matches!(
            self,
            Self::LoginRefused(_)
                | Self::LoginWanted {
                    is_configured: true,
                    ..
                }
        )
    }

    /// Whether it takes a login of the kind that is spoken here, as far as it says.
    pub(super) fn speaks_login(&self) -> bool {
        match self {
            Self::LoginWanted { offers, .. } => speaks(offers),
            _ => true,
        }
    }

    /// When it asks to be tried again.
    pub(crate) fn retry_after(&self) -> Option<Duration> {
        match self.answer()? {
            ProxyAnswer::Http { retry_after, .. } => retry_after,
            ProxyAnswer::Socks(_) => None,
        }
    }
}

fn speaks(offers: &str) -> bool {
    offers.is_empty() || offers.split(", ").any(|offer| offer == "Basic")
}

fn wanted(is_configured: bool, offers: &str) -> String {
    match (speaks(offers), is_configured) {
        (false, _) => format!(
            "takes {offers} alone, of which none is spoken here, only Basic: name a local helper that speaks it (such as cntlm) as the proxy, or except the venue from it"
        ),
        (true, true) => "takes no user and password, but others".to_owned(),
        (true, false) => "no user and password are configured for it".to_owned(),
    }
}

/// What a proxy said, in its own numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ProxyAnswer {
    /// An HTTP proxy's.
    Http {
        /// The status.
        status: u16,
        /// What `Retry-After` asked for.
        retry_after: Option<Duration>,
    },
    /// The number in a SOCKS reply (RFC 1928, section 6), or of a refused login (RFC 1929).
    Socks(u8),
}

impl fmt::Display for ProxyAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Http {
                status,
                retry_after,
            } => write!(f, "HTTP {status}{}", retry_after_note(*retry_after)),
            Self::Socks(reply) => write!(f, "SOCKS reply {reply}"),
        }
    }
}
