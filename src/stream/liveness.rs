//! Whether a connection that is open is alive, and for how long something may stay away in trading time.
//!
//! A silent line is pinged, and given up if nothing at all comes back. What is expected of topics is looked at when it is due; the
//! router knows how that stands. No clock in here: time is an argument.

use std::time::{Duration, Instant};

use crate::{
    calendar::{Calendar, TradingSession},
    clock,
    config::Config,
    market::Timestamp,
};

pub(super) struct Liveness {
    /// How long the peer may be silent before it is sent a ping.
    ping_interval: Duration,
    /// When anything arrived last.
    heard: Instant,
    /// A ping was sent, and anything has to arrive by then.
    pong_by: Option<Instant>,
    /// The machine slept, and nobody knows what became of the line: a ping is due whatever was heard.
    slept: bool,
    /// How many messages were read, control frames among them.
    messages: u64,
    /// When to look at what is expected.
    look_at: Option<Instant>,
}

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// Nothing came back for so long.
    Dead(Duration),
    /// Look at what is expected.
    Look,
}

impl Liveness {
    pub(super) fn new(now: Instant, ping_interval: Duration) -> Self {
        Self {
            ping_interval,
            heard: now,
            pong_by: None,
            slept: false,
            messages: 0,
            look_at: None,
        }
    }

    pub(super) fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
        self.messages += 1;
        self.pong_by = None;
    }

    /// How many messages of any kind were read.
    pub(super) fn messages(&self) -> u64 {
        self.messages
    }

    /// What is expected is to be looked at then.
    pub(super) fn look_at(&mut self, at: Option<Instant>) {
        self.look_at = at;
    }

    /// The machine slept for so long. A pong that was due is given its whole time again, by another ping.
    pub(super) fn slept(&mut self, slept: Duration) {
        self.heard = clock::before(self.heard, slept);
        self.look_at = self.look_at.map(|at| clock::before(at, slept));
        self.pong_by = None;
        self.slept = true;
    }

    fn ping_at(&self) -> Instant {
        clock::after(self.heard, self.ping_interval)
    }

    pub(super) fn deadline(&self) -> Instant {
        let ping = self.pong_by.unwrap_or_else(|| self.ping_at());
        self.look_at.map_or(ping, |look| look.min(ping))
    }

    pub(super) fn due(&mut self, now: Instant, config: &Config) -> Option<Due> {
        if std::mem::take(&mut self.slept) {
            self.pong_by = Some(clock::after(now, config.ping_timeout));
            return Some(Due::Ping);
        }
        match self.pong_by {
            Some(deadline) if deadline <= now => {
                return Some(Due::Dead(now.saturating_duration_since(self.heard)));
            }
            None if self.ping_at() <= now => {
                self.pong_by = Some(clock::after(now, config.ping_timeout));
                return Some(Due::Ping);
            }
            _ => {}
        }
        self.look_at.is_some_and(|look| look <= now).then(|| {
            self.look_at = None;
            Due::Look
        })
    }
}

/// For how long, from `now`, something may stay away that is expected `within` so much trading time since `since`.
pub(super) fn time_left(
    calendar: &Calendar,
    since: Timestamp,
    now: Timestamp,
    within: Duration,
) -> Duration {
    let regular = [TradingSession::Regular];
    let mut left = within.saturating_sub(calendar.open_time_between(since, now, &regular));
    // Trading time passes no faster than time, so nothing can be missed before that. The calendar is asked day by day, and
    // centuries of days would hold up the stream.
    if left > WEEK {
        return left;
    }
    let mut from = now;
    while !left.is_zero() {
        let change = calendar.next_change(from);
        let ahead = change.map(|change| between(from, change));
        if calendar.session_at(from) == TradingSession::Regular {
            if ahead.is_none_or(|ahead| ahead >= left) {
                return between(now, from).saturating_add(left);
            }
            left = left.saturating_sub(ahead.unwrap_or_default());
        }
        let Some(change) = change else {
            // Closed for good.
            return Duration::MAX;
        };
        from = change;
    }
    between(now, from)
}

const WEEK: Duration = Duration::from_secs(7 * 24 * 3_600);

fn between(from: Timestamp, to: Timestamp) -> Duration {
    let nanos = i128::from(to.as_nanos()) - i128::from(from.as_nanos());
    u64::try_from(nanos).map_or(Duration::ZERO, Duration::from_nanos)
}

#[cfg(test)]
mod tests;
