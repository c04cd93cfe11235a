//! A connection that is live: what is due on it, and whether what is expected of it comes.

use std::time::Instant;

use super::{Driver, Ending, Outcome};
use crate::{
    ErrorKind,
    calendar::TradingSession,
    error::Error,
    phase::Phase,
    record,
    stream::{
        liveness::{Due, time_left},
        router::{Missing, Outlook, Silence},
    },
    topic::{Topic, list},
    transport::Transport,
    venue::{Events, Session as _, Venue},
};

impl<V: Venue, T: Transport> Driver<V, T> {
    pub(super) fn live(&mut self, now: Instant) -> Outcome {
        self.send_on(now)?;
        self.read(now)?;
        self.time_out_session(now)?;
        if self.router.is_any_late() {
            // What has just been read may be what was missing, or the answer to the probe.
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
                self.router.release_memory(now);
                self.out.reuse(Events::new());
                self.ping()?;
                self.look_at_calendar();
                Ok(())
            }
            Some(Due::Look) => self.look(now),
            Some(Due::Dead(silent)) => {
                let why = format!("nothing was heard for {silent:.1?}, a ping was not answered");
                Err(Ending::Lost(Error::new(
                    self.at(Phase::Live),
                    ErrorKind::Lost { why, source: None },
                )))
            }
        }
    }

    /// Sends on what the socket did not take before. What is to be asked for waits behind that, and not for ever: a peer may go
    /// on sending, and answer pings, and read nothing.
    fn send_on(&mut self, now: Instant) -> Outcome {
        self.transport.flush()?;
        let Some(live) = self.link.live() else {
            return Ok(());
        };
        let Some(until) = live.unsent_until else {
            return Ok(());
        };
        if !self.transport.has_unsent() {
            live.unsent_until = None;
            self.is_changed = true;
        } else if until <= now {
            let within = self.stream.config.request_timeout;
            return Err(Ending::Lost(Error::new(
                self.at(Phase::Live),
                ErrorKind::Lost {
                    why: format!("the peer did not read what it was sent within {within:?}"),
                    source: None,
                },
            )));
        }
        Ok(())
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
            return Err(Ending::Lost(Error::new(
                self.at(Phase::Live),
                ErrorKind::Lost {
                    why: format!("the venue answers no requests, each within {within:?}"),
                    source: None,
                },
            )));
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
        live.is_silent = is_whole_line;
        if is_over {
            return Err(self.mute());
        }
        self.show_mute(now);
        if topics.is_empty() {
            return Ok(());
        }
        if is_whole_line {
            self.ping()?;
        }
        self.ask_again(now, &topics)
    }

    /// Asks again for topics of which nothing comes, and leaves all others alone.
    fn ask_again(&mut self, now: Instant, topics: &[Topic]) -> Outcome {
        record!(Warn, "mute", self.stream.key; "nothing comes of {}; asking for it again", list(topics));
        self.stream
            .subscriptions
            .with_table(|table| table.ask_again(topics));
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
        let missing = self.router.look(&Outlook {
            now,
            utc,
            is_trading: calendar.session_at(utc) == TradingSession::Regular,
            messages: live.liveness.messages(),
            patience: self.stream.config.request_timeout,
            left: &|within, heard| time_left(calendar, ambient.utc_of(heard), utc, within),
            // The market may be closed without the calendar's knowledge, which a calendar that never closes cannot be wrong
            // about. Then another connection brings no more.
            may_give_up: &|came, gave_up| {
                let in_vain = gave_up.is_some_and(|at| calendar.is_same_day(at, utc));
                calendar.covers(utc) && (came || !in_vain)
            },
        });
        live.liveness.look_at(missing.next);
        live.is_mute = missing.is_whole_line;
        self.show_mute(now);
        let Missing {
            late,
            to_ask,
            kept,
            given_up,
            ..
        } = missing;
        if !given_up.is_empty() {
            record!(Warn, "mute", self.stream.key; "nothing came of {}, and the connection is given up", list(&given_up));
            return Err(self.mute());
        }
        if !kept.is_empty() {
            let why = if self.calendar.covers(utc) {
                "nor did it come on the connection before"
            } else {
                "the calendar's table of holidays does not cover this day"
            };
            record!(Warn, "mute", self.stream.key; "nothing came of {}, and the connection is kept: {why}", list(&kept));
        }
        if !late.is_empty() {
            record!(Warn, "mute", self.stream.key; "what is expected of {} does not come; probing", list(&late));
            self.ping()?;
        }
        if to_ask.is_empty() {
            return Ok(());
        }
        self.ask_again(now, &to_ask)
    }

    /// Shows whether the line is mute, as far as it is live.
    fn show_mute(&mut self, now: Instant) {
        let Some(live) = self.link.live() else {
            return;
        };
        let is_mute = live.is_silent || live.is_mute;
        self.enter(now, if is_mute { Phase::Mute } else { Phase::Live });
    }

    fn mute(&self) -> Ending {
        Ending::Lost(Error::new(self.at(Phase::Mute), ErrorKind::Mute))
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
