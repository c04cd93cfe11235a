//! What a venue said when it refused something, and what that means.

use std::fmt;

use crate::remedy::Remedy;

/// What a venue said when it refused something.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rejection {
    /// What it means.
    pub kind: RejectionKind,
    /// The venue's own words, with secrets masked and control characters escaped.
    pub message: Box<str>,
    code: Option<RejectionCode>,
    advice: Option<&'static str>,
}

impl Rejection {
    /// A rejection for a [`Session`](crate::venue::Session) to report.
    ///
    /// # Examples
    /// ```
    /// use trunkline::{error::{Rejection, RejectionKind}};
    /// let rejection = Rejection::new(RejectionKind::Temporary, "try again").with_code(-1003);
    /// assert!(rejection.code().is_some_and(|code| *code == -1003));
    /// assert_eq!(rejection.to_string(), "try again (-1003)");
    /// ```
    #[must_use]
    pub fn new(kind: RejectionKind, message: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            code: None,
            advice: None,
        }
    }

    /// The same, where the venue has a code for it.
    #[must_use]
    pub fn with_code(self, code: impl Into<RejectionCode>) -> Self {
        Self {
            code: Some(code.into()),
            ..self
        }
    }

    /// The venue's own code for it, if it gave one.
    #[must_use]
    pub fn code(&self) -> Option<&RejectionCode> {
        self.code.as_ref()
    }

    /// The same, where the session knows better than this crate what to do: what to type, or where to click.
    #[must_use]
    pub fn with_advice(self, advice: &'static str) -> Self {
        Self {
            advice: Some(advice),
            ..self
        }
    }

    /// What the session says to do, if it knows something.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        self.advice
    }

    /// The same with its texts changed.
    pub(crate) fn map_texts(self, change: impl Fn(&str) -> String) -> Self {
        let mut code = self.code;
        if let Some(RejectionCode::Text(text)) = &mut code {
            *text = change(text).into();
        }
        Self {
            message: change(&self.message).into(),
            code,
            ..self
        }
    }
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match self.code() {
            // Some venues have no other words for it.
            Some(RejectionCode::Text(code)) if **code == *self.message => Ok(()),
            Some(code) => write!(f, " ({code})"),
            None => Ok(()),
        }
    }
}

/// A venue's own code for a refusal: a number, or a text. Compares with either.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum RejectionCode {
    /// Such as 406, or -1021.
    Number(i64),
    /// Such as `EAPI:Invalid key`.
    Text(Box<str>),
}

impl fmt::Display for RejectionCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

impl From<i64> for RejectionCode {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<&str> for RejectionCode {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl PartialEq<i64> for RejectionCode {
    fn eq(&self, other: &i64) -> bool {
        matches!(self, Self::Number(number) if number == other)
    }
}

impl PartialEq<str> for RejectionCode {
    fn eq(&self, other: &str) -> bool {
        matches!(self, Self::Text(text) if **text == *other)
    }
}

#[cfg(test)]
mod tests;

/// What a venue's refusal means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RejectionKind {
    /// The credentials are wrong. Ends the stream.
    Credentials,
    /// The account's plan does not include it. Ends the stream when it concerns the connection.
    Entitlement,
    /// Too many connections for these credentials: this one, the newcomer, is refused. Retried, with patience.
    ConnectionLimit,
    /// Too many connections for these credentials: a newcomer has taken the place of this one. Retried after a minute at
    /// least, and later each time it happens again, up to a quarter of an hour: two that take the line from each other at
    /// once would go on for ever.
    Evicted,
    /// More symbols than the plan allows.
    SymbolLimit,
    /// The request makes no sense to the venue.
    BadRequest,
    /// The venue cut a client that read too slowly. Retried.
    SlowClient,
    /// A fault on the venue's side, or a deadline that passed. Retried.
    Temporary,
}

impl RejectionKind {
    pub(super) fn remedy(self) -> Remedy {
        match self {
            Self::Credentials => Remedy::FixCredentials,
            Self::Entitlement => Remedy::ChangePlan,
            Self::ConnectionLimit | Self::Evicted => Remedy::CloseOthers,
            Self::SymbolLimit => Remedy::ReduceSymbols,
            Self::BadRequest => Remedy::FixRequest,
            Self::SlowClient => Remedy::ReadFaster,
            Self::Temporary => Remedy::RetryLater,
        }
    }
}
