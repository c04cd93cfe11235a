//! A connection that is live: what is due on it, and whether what is expected of it comes.

use std::{cell::Cell, time::Instant};

use super::{Driver, Ending, Outcome};
use crate::{
    calendar::TradingSession,
    error::Error,
    market::Timestamp,
    phase::Phase,
    record,
    stream::{
        liveness::{Due, Outlook, time_left},
        router::Silence,
    },
    topic::list,
    transport::Transport,
    venue::{Events, Session as _, Venue},
};

impl<V: Venue, T: Transport> Driver<V, T> {
    pub(super) fn live(&mut self, now: Instant) -> Outcome {
        self.transport.flush()?;
        self.read(now)?;
        self.time_out_session(now)?;
        let live = self.link.live();
        if live.is_some_and(|live| live.liveness.is_probed()) {
            // What has just been read may be what was missing: the line is live again at once.
            self.look(now)?;
        }
        self.listen(now)?;
        self.time_out_requests(now)?;
        let next_request = self.link.live().and_then(|live| live.next_request);
        self.is_changed |= next_request.is_some_and(|at| at <= now);
        self.settle(now)?;
        let config = &self.stream.config;
        let due = self
            .link
            .live()
            .and_then(|live| live.liveness.due(now, config));
        match due {
            None => Ok(()),
            Some(Due::Ping) => {
                // It has been quiet for long. What a burst took is given back.
                self.router.release_memory();
                self.out.reuse(Events::new());
                self.ping()?;
                self.look_at_calendar();
                Ok(())
            }
            Some(Due::Look) => self.look(now),
            Some(Due::Dead(silent)) => {
                let why = format!("nothing was heard for {silent:.1?}, a ping was not answered");
                Err(Ending::Lost(Error::Lost {
                    at: self.at(Phase::Live),
                    why,
                    source: None,
                }))
            }
        }
    }

    pub(super) fn time_out_session(&mut self, now: Instant) -> Outcome {
        let deadline = self.link.session().and_then(|session| session.deadline());
        if deadline.is_some_and(|deadline| deadline <= now) {
            self.input(now, |session, cx| session.handle_timeout(cx))?;
            self.flush();
        }
        Ok(())
    }

    /// Requests that were not answered in time.
    fn time_out_requests(&mut self, now: Instant) -> Outcome {
        let (is_late, is_deaf) = self.stream.subscriptions.with_table(|table| {
            let is_due = table.deadline().is_some_and(|at| at <= now);
            self.is_changed |= is_due;
            (is_due && table.tick(now), table.is_deaf())
        });
        if is_late && self.link.live().is_some_and(|live| live.is_silent) {
            // The line brings nothing, and what it was asked for is not answered either.
            return Err(self.mute());
        }
        if is_deaf {
            let within = self.stream.config.request_timeout;
            return Err(Ending::Lost(Error::Lost {
                at: self.at(Phase::Live),
                why: format!("the venue answers no requests, each within {within:?}"),
                source: None,
            }));
        }
        Ok(())
    }

    fn ping(&mut self) -> Outcome {
        self.stream.counters.pings.add(1);
        Ok(self.transport.ping()?)
    }

    // ---- what is expected ----

    /// Looks whether topics have fallen silent that brought something all the time.
    fn listen(&mut self, now: Instant) -> Outcome {
        let Some(live) = self.link.live() else {
            return Ok(());
        };
        let (venue, calendar, utc) = (&self.stream.venue, &self.calendar, self.ambient.utc());
        let is_trading = || calendar.session_at(utc) == TradingSession::Regular;
        let silence = self
            .router
            .silence(now, is_trading, |topic| venue.has_rhythm(topic));
        let Some(Silence {
            topics,
            is_whole_line,
            is_over,
        }) = silence
        else {
            return Ok(());
        };
        let was_silent = std::mem::replace(&mut live.is_silent, is_whole_line);
        let has_recovered = was_silent && !is_whole_line && !live.liveness.is_probed();
        if is_over {
            return Err(self.mute());
        }
        if has_recovered {
            self.enter(now, Phase::Live);
        }
        if topics.is_empty() {
            return Ok(());
        }
        record!(Warn, "mute", self.stream.key; "nothing comes any more of {}; asking for it again", list(&topics));
        if is_whole_line {
            self.enter(now, Phase::Mute);
            self.ping()?;
        }
        self.stream
            .subscriptions
            .with_table(|table| table.restart(&topics));
        self.is_changed = true;
        self.settle(now)
    }

    /// Looks whether what is expected has come.
    pub(super) fn look(&mut self, now: Instant) -> Outcome {
        let Some(live) = self.link.live() else {
            return Ok(());
        };
        let (calendar, ambient) = (&self.calendar, &self.ambient);
        let utc = ambient.utc();
        if live.liveness.is_kept() && calendar.session_at(utc) != TradingSession::Regular {
            // What did not come on this day is not missed on the next.
            self.router.expect_anew(now);
        }
        let (since, came) = (live.since, Cell::new(false));
        let left = self.router.least_left(|within, heard| {
            let left = time_left(calendar, ambient.utc_of(heard), utc, within);
            came.set(came.get() || left.is_zero() && heard > since);
            left
        });
        match live.liveness.expect(now, left, &self.stream.config) {
            Outlook::Fine | Outlook::Waiting => {}
            Outlook::Recovered if live.is_silent => {}
            Outlook::Recovered => self.enter(now, Phase::Live),
            Outlook::Probe => {
                record!(Warn, "mute", self.stream.key; "what is expected does not come; probing");
                self.enter(now, Phase::Mute);
                self.ping()?;
            }
            Outlook::Mute => self.give_up_mute(now, utc, came.get())?,
        }
        Ok(())
    }

    /// Ends a connection that brings nothing of what is expected, where another may bring it: not if the market may be
    /// closed without the calendar's knowledge, which a calendar that never closes cannot be wrong about. `came` is
    /// whether any of it came on this connection.
    fn give_up_mute(&mut self, now: Instant, utc: Timestamp, came: bool) -> Outcome {
        let in_vain = !came
            && self
                .gave_up_mute
                .is_some_and(|at| self.calendar.is_same_day(at, utc));
        if self.calendar.covers(utc) && !in_vain {
            self.gave_up_mute = Some(utc);
            return Err(self.mute());
        }
        let live = self.link.live();
        if live.is_some_and(|live| !live.liveness.keep(now)) {
            let why = if in_vain {
                "nor did it come on the connection before"
            } else {
                "the calendar's table of holidays does not cover this day"
            };
            record!(Warn, "mute", self.stream.key; "what is expected does not come, and the connection is kept: {why}");
        }
        Ok(())
    }

    fn mute(&self) -> Ending {
        Ending::Lost(Error::Mute {
            at: self.at(Phase::Mute),
        })
    }

    /// Says once that the calendar's table ends soon, or has ended.
    pub(super) fn look_at_calendar(&mut self) {
        if self.calendar_ends {
            return;
        }
        if let Some(end) = self.calendar.ends_soon(self.ambient.utc()) {
            self.calendar_ends = true;
            record!(Warn, "calendar", self.stream.key; "the calendar knows no holidays from {end} on: later, a mute line is kept, since the market may be closed");
        }
    }
}
