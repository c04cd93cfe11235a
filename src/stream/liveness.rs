//! Whether a connection that is open is alive: pings for the line, expectations for the data.
//!
//! A silent line is pinged, and given up if nothing at all comes back. A line on which the expected data does not come
//! is *mute*: it is probed with a ping, too, and given up if the data stays away, pong or not. Expectations run only
//! while the market trades, by the venue's calendar. A calendar may not know of a day on which nothing trades: so a line
//! is kept on a day beyond its table, and where giving one up brought nothing on the same day. No clock in here: time is an argument.

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
    /// When to look at the expectations.
    look_at: Option<Instant>,
    /// The line is mute and was probed: what is expected has to arrive by then.
    probed_until: Option<Instant>,
    /// The line stayed mute after that, and was not given up.
    kept: bool,
}

/// What has to be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Ping,
    /// Nothing came back for so long.
    Dead(Duration),
    /// Look at the expectations, and say how they stand.
    Look,
}

/// What became of the expectations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outlook {
    /// Nothing is expected, or it has come.
    Fine,
    /// It came after all.
    Recovered,
    /// It did not come: send a ping.
    Probe,
    /// It still did not come.
    Mute,
    /// It did not come, and was probed for already.
    Waiting,
}

impl Liveness {
    pub(super) fn new(now: Instant, ping_interval: Duration) -> Self {
        Self {
            ping_interval,
            heard: now,
            pong_by: None,
            slept: false,
            look_at: None,
            probed_until: None,
            kept: false,
        }
    }

    pub(super) fn heard(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
        self.pong_by = None;
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

    /// Whether the line is mute, and was probed.
    pub(super) fn is_probed(&self) -> bool {
        self.probed_until.is_some()
    }

    /// Whether the line is mute for longer than a probe, and was not given up.
    pub(super) fn is_kept(&self) -> bool {
        self.kept
    }

    /// The mute line is not given up. Says whether it had been decided before.
    pub(super) fn keep(&mut self, now: Instant) -> bool {
        const LOOK_AGAIN: Duration = Duration::from_secs(60);
        let until = clock::after(now, LOOK_AGAIN);
        self.probed_until = Some(until);
        self.look_at = Some(until);
        std::mem::replace(&mut self.kept, true)
    }

    /// `left` is for how long whoever expects most may go on waiting, or nothing where nobody expects anything.
    pub(super) fn expect(
        &mut self,
        now: Instant,
        left: Option<Duration>,
        config: &Config,
    ) -> Outlook {
        if left != Some(Duration::ZERO) {
            self.look_at = left.map(|left| clock::after(now, left));
            self.kept = false;
            return match self.probed_until.take() {
                Some(_) => Outlook::Recovered,
                None => Outlook::Fine,
            };
        }
        match self.probed_until {
            None => {
                // What is asked for has to come, which takes longer than a pong.
                let until = clock::after(now, config.request_timeout);
                self.probed_until = Some(until);
                self.look_at = Some(until);
                Outlook::Probe
            }
            Some(until) if until <= now => Outlook::Mute,
            Some(until) => {
                self.look_at = Some(until);
                Outlook::Waiting
            }
        }
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
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    #[test]
    fn expectations_run_only_while_the_market_trades() {
        let stocks = Calendar::us_equities();
        let minute = Duration::from_secs(60);
        for (since, now, left) in [
            // A Tuesday in March, New York at UTC-4: trading from 13:30 to 20:00.
            ("2026-03-17T15:00:00Z", "2026-03-17T15:00:20Z", 40),
            ("2026-03-17T15:00:00Z", "2026-03-17T15:02:00Z", 0),
            // Half a minute before the close, and on from there at the next opening.
            (
                "2026-03-17T19:59:30Z",
                "2026-03-17T19:59:30Z",
                30 + 17 * 3_600 + 1_800 + 30,
            ),
            // A Friday's last half minute, and a whole week-end.
            (
                "2026-03-20T19:59:30Z",
                "2026-03-21T12:00:00Z",
                49 * 3_600 + 1_800 + 30,
            ),
            // Before the opening nothing has been missed yet.
            ("2026-03-17T08:00:00Z", "2026-03-17T13:00:00Z", 1_800 + 60),
        ] {
            let time = time_left(&stocks, at(since), at(now), minute);
            assert_eq!(time, Duration::from_secs(left), "{since} {now}");
        }
        // Whoever waits for a year of trading looks again after a year.
        for time in [Duration::MAX, 52 * WEEK] {
            let day = at("2026-03-17T15:00:00Z");
            assert_eq!(time_left(&stocks, day, day, time), time);
        }
        let crypto = Calendar::always_open();
        assert_eq!(
            time_left(
                &crypto,
                at("2026-03-21T12:00:00Z"),
                at("2026-03-21T12:00:10Z"),
                minute
            ),
            Duration::from_secs(50)
        );
    }

    #[test]
    fn a_mute_line_is_probed_once_and_given_up_when_the_data_stays_away() {
        let config = Config::default();
        let now = clock::now();
        let mut line = Liveness::new(now, config.ping_interval);
        assert_eq!(
            line.expect(now, Some(Duration::from_secs(5)), &config),
            Outlook::Fine
        );
        let later = now + Duration::from_secs(5);
        assert_eq!(line.deadline(), later);
        assert_eq!(line.due(later, &config), Some(Due::Look));
        assert_eq!(
            line.expect(later, Some(Duration::ZERO), &config),
            Outlook::Probe
        );
        assert_eq!(
            line.expect(later, Some(Duration::ZERO), &config),
            Outlook::Waiting
        );
        let end = later + config.request_timeout;
        line.heard(later);
        assert_eq!(line.deadline(), end);
        assert_eq!(
            line.expect(end, Some(Duration::ZERO), &config),
            Outlook::Mute
        );

        assert_eq!(
            line.expect(end, Some(Duration::from_secs(1)), &config),
            Outlook::Recovered
        );
        assert_eq!(line.expect(end, None, &config), Outlook::Fine);
    }
}
