//! The one error type: what was being done, to which stream, in which phase, why, and what to do about it.
//!
//! | you ask | by |
//! |---|---|
//! | what went wrong, for a decision | [`Error::kind`], an [`ErrorKind`] to match on |
//! | whether trying again can help | [`Error::is_retryable`] |
//! | what to do | [`Error::remedy`] for a program, [`Error::advice`] for a person; the text has it, too |
//! | what to count it as | [`Error::code`]: a short name that stays |
//! | of which stream, in which phase, for whom | [`Error::at`], [`stream`](Error::stream), [`phase`](Error::phase), [`correlation`](Error::correlation) |
//! | what a venue said | the [`Rejection`] in the kind |
//!
//! Errors of other crates are never part of a kind: they are the [`source`](std::error::Error::source).

// `kind.rs` says what can go wrong, `words.rs` what it is called and what to do about it, and this file prints it.

mod kind;
mod proxy;
mod rejection;
#[cfg(test)]
mod tests;
mod words;

use std::{borrow::Cow, error::Error as StdError, fmt, sync::Arc};

use self::words::Words;
pub use self::{
    kind::{Doing, ErrorKind, Missed, SettingDifference},
    proxy::{ProxyAnswer, ProxyFault},
    rejection::{Rejection, RejectionCode, RejectionKind},
};
use crate::{
    correlation::{CorrelationId, Note},
    key::StreamKey,
    phase::Phase,
    price::NotFresh,
    source::write_bounded,
    topic::{Topic, list},
};
pub use crate::{
    credentials::CredentialsFault, invalid::InvalidValue, key::EndpointFault, remedy::Remedy,
    source::Source, symbol_budget::BudgetHolder,
};

/// `Result` with this crate's [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, where, and for whom. One word, so that every waiter is told the same reason.
///
/// `Display` says it all on one line: the stream, what went wrong, the causes, and what to do where that is more than to wait.
/// `Debug` says the same on several lines, because that is what a `main` that returns an error shows. Match on
/// [`kind`](Self::kind) for decisions, count by [`code`](Self::code), and ask [`is_retryable`](Self::is_retryable) and
/// [`remedy`](Self::remedy) for what a program can do, [`advice`](Self::advice) for what a human can.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

#[derive(Clone)]
struct Inner {
    at: At,
    kind: ErrorKind,
}

impl Error {
    pub(crate) fn new(at: At, kind: ErrorKind) -> Self {
        Self(Arc::new(Inner { at, kind }))
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// Where it happened, and for whom.
    #[must_use]
    pub fn at(&self) -> &At {
        &self.0.at
    }

    /// A short, stable name of the kind of error, for counters and alerts.
    #[must_use]
    pub fn code(&self) -> &'static str {
        self.words().code
    }

    /// What a human, or the program, should do: for programs.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        self.words().remedy
    }

    /// What to do, made from what this error knows: for people.
    #[must_use]
    pub fn advice(&self) -> Cow<'static, str> {
        let words = self.words();
        let advice = words.advice;
        advice.unwrap_or_else(|| words.remedy.to_string().into())
    }

    /// Whether doing the same again, later, can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.remedy(), Remedy::RetryLater | Remedy::CloseOthers)
    }

    /// The stream it happened to, where there is one.
    #[must_use]
    pub fn stream(&self) -> Option<&StreamKey> {
        self.at().stream.as_ref()
    }

    /// The phase the stream was in, where there was a stream.
    #[must_use]
    pub fn phase(&self) -> Option<Phase> {
        self.at().phase
    }

    /// The [correlation id](CorrelationId) of the scope whose operation got this error, if it has one.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.at().correlation.as_ref().map(CorrelationId::as_str)
    }

    /// A topic that a venue does not have: for [`Venue::validate`](crate::venue::Venue::validate).
    #[must_use]
    pub fn invalid_topic(topic: &Topic, why: impl Into<String>) -> Self {
        let (topic, why) = (topic.clone(), why.into());
        ErrorKind::InvalidTopic { topic, why }.into()
    }

    pub(crate) fn invalid_config(why: impl Into<String>) -> Self {
        ErrorKind::InvalidConfig { why: why.into() }.into()
    }

    /// Without the stream, which a record names in front of it.
    pub(crate) fn for_record(&self) -> String {
        let mut text = self.words().text;
        self.write_rest(&mut text);
        text
    }

    /// As the scope `correlation` gets it for its operation on `stream`: what was known better before stays.
    ///
    /// The stream's own errors, which all of its holders share, have no correlation.
    pub(crate) fn told(
        mut self,
        stream: &StreamKey,
        phase: Option<Phase>,
        correlation: Option<&CorrelationId>,
    ) -> Self {
        let at = &mut Arc::make_mut(&mut self.0).at;
        at.stream.get_or_insert_with(|| stream.clone());
        at.phase = at.phase.or(phase);
        if correlation.is_some() {
            at.correlation = correlation.cloned();
        }
        self
    }

    /// The same, about `topics`.
    pub(crate) fn about(mut self, topics: &[Topic]) -> Self {
        topics.clone_into(&mut Arc::make_mut(&mut self.0).at.topics);
        self
    }

    fn words(&self) -> Words {
        self.kind().words(self.at())
    }

    /// What stands behind the text: the causes, and what to do where that is more than to wait.
    fn write_rest(&self, out: &mut dyn fmt::Write) {
        for cause in self.causes() {
            // A `String` takes everything, and a formatter that refuses has nobody who reads on.
            let _ = out.write_str(": ");
            self.write_cause(out, cause);
        }
        let words = self.words();
        if let Some(advice) = words.advice.filter(|_| words.remedy != Remedy::RetryLater) {
            let _ = write!(out, "; what to do: {advice}");
        }
    }

    /// The causes, as many as anybody reads: a foreign error may be its own cause.
    fn causes(&self) -> impl Iterator<Item = &(dyn StdError + 'static)> {
        std::iter::successors(self.source(), |cause| (*cause).source()).take(16)
    }

    /// A cause without its own causes, which follow. One of ours that happened to the same stream does not name it again.
    fn write_cause(&self, out: &mut dyn fmt::Write, cause: &(dyn StdError + 'static)) {
        let Some(error) = cause.downcast_ref::<Self>() else {
            return write_bounded(out, cause);
        };
        if error.stream() != self.stream() {
            let _ = write!(out, "{}", error.at());
        }
        let _ = out.write_str(&error.words().text);
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.kind().cause()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.at(), self.words().text)?;
        self.write_rest(f);
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (text, advice) = (self.words().text, self.advice());
        write!(f, "{}{text}\n  what to do: {advice}", self.at())?;
        for cause in self.causes() {
            f.write_str("\n  caused by: ")?;
            self.write_cause(f, cause);
        }
        write!(f, "\n  code: {}", self.code())
    }
}

/// Of what happened nowhere yet.
impl From<ErrorKind> for Error {
    fn from(kind: ErrorKind) -> Self {
        Self::new(At::default(), kind)
    }
}

impl From<CredentialsFault> for Error {
    fn from(fault: CredentialsFault) -> Self {
        ErrorKind::InvalidCredentials { fault }.into()
    }
}

impl From<EndpointFault> for Error {
    fn from(EndpointFault(why): EndpointFault) -> Self {
        ErrorKind::InvalidEndpoint { why }.into()
    }
}

impl From<InvalidValue> for Error {
    fn from(value: InvalidValue) -> Self {
        Self::invalid_config(value.to_string())
    }
}

impl From<NotFresh> for Error {
    fn from(missing: NotFresh) -> Self {
        ErrorKind::NotFresh { missing }.into()
    }
}

/// Where an error happened, for whom, and about what. What does not apply is `None`.
///
/// `Display` is how a message begins: `wss://host/path [1a2b3c4d] (correlation order-7): `, or as much of it as is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct At {
    /// The stream.
    pub stream: Option<StreamKey>,
    /// The phase it was in. `None` where there was no stream yet.
    pub phase: Option<Phase>,
    /// Whose operation got the error, where that has a correlation id.
    pub correlation: Option<CorrelationId>,
    /// The topics that it is about, where it is about some and its kind does not say so.
    pub topics: Vec<Topic>,
}

impl At {
    /// A subscription's, of a stream, whatever its phase.
    pub(crate) fn of(stream: Option<&StreamKey>, correlation: Option<&CorrelationId>) -> Self {
        Self {
            stream: stream.cloned(),
            phase: None,
            correlation: correlation.cloned(),
            topics: Vec::new(),
        }
    }

    pub(crate) fn new(stream: &StreamKey, phase: Phase) -> Self {
        Self {
            stream: Some(stream.clone()),
            phase: Some(phase),
            ..Self::default()
        }
    }
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let note = Note(self.correlation.as_ref());
        match (&self.stream, &self.correlation) {
            (Some(stream), _) => write!(f, "{stream}{note}: ")?,
            (None, Some(id)) => write!(f, "(correlation {id}): ")?,
            (None, None) => {}
        }
        match &*self.topics {
            [] => Ok(()),
            topics => write!(f, "{}: ", list(topics)),
        }
    }
}
