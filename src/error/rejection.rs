//! What a venue said when it refused something, and what that means.

use std::fmt;

/// What a venue said when it refused something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// What it means.
    pub kind: RejectionKind,
    /// The venue's own number for it.
    pub code: Option<u16>,
    /// The venue's own words, with secrets masked and control characters escaped.
    pub message: String,
}

impl Rejection {
    /// A rejection for a [`Session`](crate::venue::Session) to report.
    #[must_use]
    pub fn new(kind: RejectionKind, code: Option<u16>, message: impl Into<String>) -> Self {
        Self {
            kind,
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        self.code.map_or(Ok(()), |code| write!(f, " ({code})"))
    }
}

/// What a venue's refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The credentials are wrong. Ends the stream.
    Credentials,
    /// The account's plan does not include it. Ends the stream when it concerns the connection.
    Entitlement,
    /// Too many connections for these credentials. Retried, with patience.
    ConnectionLimit,
    /// More symbols than the plan allows.
    SymbolLimit,
    /// The request makes no sense to the venue.
    BadRequest,
    /// The venue cut a client that read too slowly. Retried.
    SlowClient,
    /// A fault on the venue's side, or a deadline that passed. Retried.
    Temporary,
}
