//! The numbers of a venue.

use std::time::Duration;

/// What a venue demands of its clients, and grants them, in numbers that only the venue can know.
///
/// Each number has a default that any venue can live with. What is out of bounds is brought within them.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use trunkline::venue::Rules;
/// // Binance's market streams.
/// let rules = Rules::new()
///     .request_limit(200)
///     .requests_at_once(5)
///     .pace(4, Duration::from_secs(1))
///     .message_size(16 << 20);
/// assert_ne!(rules, Rules::default());
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    pub(crate) message_size: usize,
    pub(crate) request_limit: usize,
    pub(crate) requests_at_once: usize,
    pub(crate) pace: Option<Pace>,
    pub(crate) answers_per_topic: bool,
    pub(crate) attempts: AttemptBudget,
    pub(crate) reaping: (Duration, Duration),
    pub(crate) ping_interval: Option<Duration>,
    pub(crate) compresses: bool,
}

/// A bound on the failed attempts at a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct AttemptBudget {
    /// Failures that are followed by further attempts as the backoff says.
    pub(crate) burst: u32,
    /// Above that, one attempt per so much time.
    pub(crate) interval: Duration,
}

/// At most so many requests within any such time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Pace {
    pub(crate) requests: usize,
    pub(crate) within: Duration,
}

impl Rules {
    /// The defaults.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            message_size: 4 << 20,
            request_limit: 100,
            requests_at_once: 1,
            pace: None,
            answers_per_topic: false,
            attempts: AttemptBudget {
                burst: 20,
                interval: Duration::from_secs(1),
            },
            reaping: (Duration::from_secs(9), Duration::from_secs(12)),
            ping_interval: None,
            compresses: false,
        }
    }

    /// The largest message that it sends, in bytes, inflated where it is compressed. A larger one costs the connection. From 1 KiB to 1 GiB; by default
    /// 4 MiB.
    #[must_use]
    pub const fn message_size(mut self, bytes: usize) -> Self {
        self.message_size = within(bytes, 1 << 10, 1 << 30);
        self
    }

    /// How many topics one request may name. One at least; by default 100.
    #[must_use]
    pub const fn request_limit(mut self, topics: usize) -> Self {
        self.request_limit = within(topics, 1, usize::MAX);
        self
    }

    /// How many requests may wait for their answers at the same time. More than one only where answers name the request
    /// or the topic. From 1, which is the default, to 1,024.
    #[must_use]
    pub const fn requests_at_once(mut self, requests: usize) -> Self {
        self.requests_at_once = within(requests, 1, 1_024);
        self
    }

    /// How many requests one connection may be sent within any stretch of `within`. Only those are counted that
    /// [`Session::request`](super::Session::request) is called for: leave room for whatever else the session sends, and
    /// for pings and pongs where the venue counts them. One at least; by default there is no bound.
    #[must_use]
    pub const fn pace(mut self, requests: usize, within: Duration) -> Self {
        let requests = self::within(requests, 1, usize::MAX);
        self.pace = Some(Pace { requests, within });
        self
    }

    /// Whether it answers for each topic of a request by itself: then a refusal that names no topic concerns one of them. By
    /// default it answers for the request.
    #[must_use]
    pub const fn answers_per_topic(mut self, does: bool) -> Self {
        self.answers_per_topic = does;
        self
    }

    /// How many failed attempts all streams of the process together may show its host: `burst` of them are followed by
    /// further attempts as the backoff says, and above that there is one attempt in each `interval`. What the streams share is
    /// the count of failures; each stream waits by its own bound. Those who go through a proxy have a count for themselves, for
    /// each proxy. Connections on which the venue confirmed topics are free, and so are those that were live for
    /// [`Backoff::reset_after`](crate::config::Backoff::reset_after) and those that are ended by their holders. By default 20, and 1 s.
    #[must_use]
    pub const fn attempts(mut self, burst: u32, interval: Duration) -> Self {
        self.attempts = AttemptBudget { burst, interval };
        self
    }

    /// The least and most time to wait after it named its connection limit: a connection that died without a close
    /// handshake counts until the venue reaps it. By default 9 and 12 s. `most` is `least` at least.
    #[must_use]
    pub const fn reaping(mut self, least: Duration, most: Duration) -> Self {
        let is_less = most.as_nanos() < least.as_nanos();
        self.reaping = (least, if is_less { least } else { most });
        self
    }

    /// After how long a silence it is to be pinged at the latest, where that is less than
    /// [`Config::ping_interval`](crate::Config::ping_interval). 1 ms at least; by default that is all there is.
    #[must_use]
    pub const fn ping_interval(mut self, most: Duration) -> Self {
        let is_tiny = most.as_nanos() < 1_000_000;
        self.ping_interval = Some(if is_tiny {
            Duration::from_millis(1)
        } else {
            most
        });
        self
    }

    /// Whether it compresses what it sends where a client offers that (permessage-deflate, RFC 7692). Only then
    /// `Config::compression`, of the feature `compression`, does anything. By default it does not.
    #[must_use]
    pub const fn compresses(mut self, does: bool) -> Self {
        self.compresses = does;
        self
    }
}

impl Default for Rules {
    fn default() -> Self {
        Self::new()
    }
}

const fn within(value: usize, least: usize, most: usize) -> usize {
    if value < least {
        least
    } else if value > most {
        most
    } else {
        value
    }
}

#[cfg(test)]
mod tests;
