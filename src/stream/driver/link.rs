//! The one connection: its states, their deadlines, and how it is set up and closed.

use std::time::{Duration, Instant};

use super::{Driver, Ending, Outcome, pace::Sent};
use crate::{
    clock,
    event::EndReason,
    phase::Phase,
    record,
    stream::{behind::Behind, liveness::Liveness, topics::TopicTable},
    transport::{Target, Transport},
    venue::{Session, Venue},
};

/// What the driver is doing with its one connection.
pub(super) enum Link<S> {
    Waiting {
        until: Instant,
    },
    Connecting {
        began: Instant,
        deadline: Instant,
    },
    LoggingIn {
        began: Instant,
        deadline: Instant,
        session: S,
        /// What the session could not use and waits past, for the error if nothing better comes.
        passed: Option<String>,
    },
    Live(Box<Live<S>>),
    Closing {
        until: Instant,
        next: Next,
    },
    Over(EndReason),
}

pub(super) struct Live<S> {
    pub(super) session: S,
    pub(super) since: Instant,
    pub(super) liveness: Liveness,
    pub(super) behind: Behind,
    /// The whole line has fallen silent, and was asked for again.
    pub(super) is_silent: bool,
    /// Something that is expected is late, and nothing else comes either.
    pub(super) is_mute: bool,
    pub(super) sent: Sent,
    /// A request may be due, and is not to be made before: by the venue's pace, or because this turn made enough of them.
    pub(super) next_request: Option<Instant>,
    /// A request waits for the socket to take what was sent before it, and until then at most.
    pub(super) unsent_until: Option<Instant>,
}

/// What comes after closing.
#[derive(Clone)]
pub(super) enum Next {
    Retry(Instant),
    End(EndReason),
}

impl<S: Session> Link<S> {
    pub(super) fn session(&mut self) -> Option<&mut S> {
        match self {
            Self::LoggingIn { session, .. } => Some(session),
            Self::Live(live) => Some(&mut live.session),
            Self::Waiting { .. }
            | Self::Connecting { .. }
            | Self::Closing { .. }
            | Self::Over(_) => None,
        }
    }

    pub(super) fn live(&mut self) -> Option<&mut Live<S>> {
        match self {
            Self::Live(live) => Some(live),
            Self::Waiting { .. }
            | Self::Connecting { .. }
            | Self::LoggingIn { .. }
            | Self::Closing { .. }
            | Self::Over(_) => None,
        }
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Waiting { until } | Self::Closing { until, .. } => Some(*until),
            Self::Connecting { deadline, .. } => Some(*deadline),
            Self::LoggingIn {
                deadline, session, ..
            } => [Some(*deadline), session.deadline()]
                .into_iter()
                .flatten()
                .min(),
            Self::Live(live) => [
                Some(live.liveness.deadline()),
                live.session.deadline(),
                live.next_request,
                live.unsent_until,
            ]
            .into_iter()
            .flatten()
            .min(),
            Self::Over(_) => None,
        }
    }

    /// The machine slept for so long, and the monotonic clock stood still meanwhile.
    pub(super) fn slept(&mut self, slept: Duration) {
        let move_back = |at: &mut Instant| *at = clock::before(*at, slept);
        match self {
            Self::Waiting { until } => move_back(until),
            Self::Connecting { began, deadline }
            | Self::LoggingIn {
                began, deadline, ..
            } => [began, deadline].into_iter().for_each(move_back),
            Self::Live(live) => {
                move_back(&mut live.since);
                live.sent.slept(slept);
                live.next_request.iter_mut().for_each(move_back);
                live.unsent_until.iter_mut().for_each(move_back);
                live.liveness.slept(slept);
            }
            Self::Closing { until, next } => {
                move_back(until);
                if let Next::Retry(at) = next {
                    move_back(at);
                }
            }
            Self::Over(_) => {}
        }
    }
}

impl<V: Venue, T: Transport> Driver<V, T> {
    // ---- set-up ----

    pub(super) fn connect(&mut self, now: Instant) {
        if let Some(hold) = self.hold(now) {
            return self.hold_back(now, hold);
        }
        let Some(credentials) = &self.credentials else {
            return;
        };
        let deadline = clock::after(now, self.stream.config.setup_timeout);
        self.transport.connect(Target {
            endpoint: self.stream.venue.endpoint().clone(),
            headers: self.stream.venue.headers(),
            secrets: credentials.clone(),
            proxy: self.proxy.clone(),
            deadline,
        });
        self.stream.counters.attempts.add(1);
        self.link = Link::Connecting {
            began: now,
            deadline,
        };
        self.enter(now, Phase::Resolving);
    }

    pub(super) fn progress(&mut self, now: Instant) -> Outcome {
        let progress = self.transport.progress(now);
        if let Some(remark) = self.transport.take_remark() {
            record!(Warn, "old_addresses", self.stream.key; "{remark}");
        }
        match progress? {
            Phase::Live => self.open(now),
            phase => {
                self.enter(now, phase);
                Ok(())
            }
        }
    }

    /// The WebSocket is open: the session begins. What came with the upgrade is read at once.
    fn open(&mut self, now: Instant) -> Outcome {
        let (&Link::Connecting { began, deadline }, Some(credentials)) =
            (&self.link, &self.credentials)
        else {
            return Ok(());
        };
        self.link = Link::LoggingIn {
            began,
            deadline,
            session: self.stream.venue.session(credentials.clone()),
            passed: None,
        };
        self.enter(now, Phase::Authenticating);
        self.input(now, |session, cx| session.handle_open(cx))?;
        self.read(now)
    }

    pub(super) fn log_in(&mut self, now: Instant) -> Outcome {
        self.transport.flush()?;
        self.read(now)?;
        self.time_out_session(now)
    }

    /// The set-up took too long.
    pub(super) fn too_late(&self) -> Ending {
        let why = format!(
            "not authenticated within {:?}{}",
            self.stream.config.setup_timeout,
            self.passed()
        );
        Ending::Fault(self.transport.overdue(why))
    }

    /// What came in place of what the set-up waits for, as the end of an error's text.
    pub(super) fn passed(&self) -> String {
        match &self.link {
            Link::LoggingIn {
                passed: Some(passed),
                ..
            } => format!("; last came, and was waited past: {passed}"),
            _ => String::new(),
        }
    }

    /// The session says that it is up. One that says so again changes nothing.
    pub(super) fn up(&mut self, now: Instant) {
        let (began, session) = match std::mem::replace(&mut self.link, Link::Waiting { until: now })
        {
            Link::LoggingIn { began, session, .. } => (began, session),
            link => {
                self.link = link;
                return;
            }
        };
        self.meter.up(now, began);
        self.transport.unmask();
        self.epoch += 1;
        self.failures.was_live();
        let ping_interval = self.stream.config.ping_interval;
        let most = self.stream.rules.ping_interval;
        let ping_interval = most.map_or(ping_interval, |most| most.min(ping_interval));
        self.link = Link::Live(Box::new(Live {
            session,
            since: now,
            liveness: Liveness::new(now, ping_interval),
            behind: Behind::default(),
            is_silent: false,
            is_mute: false,
            sent: Sent::default(),
            next_request: None,
            unsent_until: None,
        }));
        let epoch = self.epoch;
        self.stream.lifecycle.change(now, |state| {
            state.phase = Phase::Live;
            state.epoch = epoch;
            state.retry_at = None;
            state.gives_up_at = None;
        });
        self.router.connected(now);
        self.stream.subscriptions.with_table(TopicTable::connected);
        record!(Info, "live", self.stream.key, epoch = epoch; "connection {epoch} is live");
        self.look_at_calendar();
        self.is_changed = true;
    }

    // ---- closing ----

    pub(super) fn go_on_closing(&mut self, now: Instant) {
        let Link::Closing { until, next } = &self.link else {
            return;
        };
        if !self.transport.is_closed() && now < *until {
            return self.enter(now, Phase::Closing);
        }
        self.transport.abort();
        match next.clone() {
            Next::Retry(until) => self.wait_until(now, until),
            Next::End(reason) => self.link = Link::Over(reason),
        }
    }

    pub(super) fn wait_until(&mut self, now: Instant, until: Instant) {
        self.link = Link::Waiting { until };
        let waited = self.stream.lifecycle.phase() == Phase::Waiting;
        self.stream.lifecycle.change(now, |state| {
            state.phase = Phase::Waiting;
            state.retry_at = Some(until);
        });
        if !waited {
            let left = until.saturating_duration_since(now);
            record!(Debug, "phase", self.stream.key; "{} for {left:.1?}", Phase::Waiting);
        }
    }

    pub(super) fn enter(&self, now: Instant, phase: Phase) {
        if self.stream.lifecycle.phase() != phase {
            self.stream.lifecycle.change(now, |state| {
                state.phase = phase;
                state.retry_at = None;
            });
            record!(Debug, "phase", self.stream.key; "{phase}");
        }
    }
}
