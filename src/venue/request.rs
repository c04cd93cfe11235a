//! What a session is asked to ask for.

use std::fmt;

use crate::topic::Topic;

/// A change of what the venue should send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Request<'a> {
    /// Its number. A venue that repeats it in its answers lets several requests wait for them.
    pub id: RequestId,
    /// More, or less.
    pub verb: Verb,
    /// Of what: one topic at least, and as many as [`Rules::request_limit`](super::Rules::request_limit) at the most.
    pub topics: &'a [Topic],
}

impl<'a> Request<'a> {
    /// One that a test makes of its session.
    #[must_use]
    pub fn new(id: RequestId, verb: Verb, topics: &'a [Topic]) -> Self {
        Self { id, verb, topics }
    }
}

/// Whether topics are to be sent from now on, or no longer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Send these, too.
    Subscribe,
    /// Send these no longer.
    Unsubscribe,
}

/// The number of a request. No other request of the stream has it, on this connection or another.
///
/// # Examples
/// A session sends the number, and makes it again of what the venue says:
/// ```
/// use trunkline::venue::RequestId;
/// let id = RequestId::new(7);
/// let sent = format!(r#"{{"method":"SUBSCRIBE","id":{id}}}"#);
/// assert!(sent.ends_with(r#""id":7}"#));
/// assert_eq!(RequestId::new(id.number()), id);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RequestId(pub(crate) u64);

impl RequestId {
    /// The request of this number. There need not be one: the answer to a request that was never made is none.
    #[must_use]
    pub fn new(number: u64) -> Self {
        Self(number)
    }

    /// From 1 on, without holes.
    #[must_use]
    pub fn number(self) -> u64 {
        self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
