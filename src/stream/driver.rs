//! The loop of a stream's thread: one connection at a time, its session, and what becomes of both.
//!
//! ```text
//!            ┌────────────── Waiting ◀──────────────┐
//!            ▼ time                                 │ closed, to be tried again
//!  ───▶ SettingUp ──session up──▶ Live ──fault──▶ Closing ──▶ Over
//!            └──────────fault, deadline────────────▶┘  closed, fatal or asked to stop
//! ```
//!
//! A turn: take over what callers want; move the connection on; read until nothing is left or the budget is spent, and
//! give each message to the session; hand what the session made to the hub; say when to be woken. The session gets one
//! input at a time, and its output is taken before the next.
//!
//! A turn also looks whether the machine slept since the one before. What wakes the thread after that is what wakes it at
//! any time: a message, a wish of a caller, or its deadline, of which the rest is waited for that was left when the machine
//! went to sleep.
//!
//! Nothing here blocks but [`Transport::wait`], and nothing runs under a lock. With a transport that keeps its own
//! time, [`step`](Driver::step) runs a stream without sockets and without waiting.

use std::{
    cell::Cell,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    Shared as _, Stream,
    behind::Behind,
    hub::{Ask, Hub, Outage, Silence, Word},
    liveness::{Due, Liveness, Outlook, time_left},
    meter::Meter,
};
use crate::{
    ambient::Ambient,
    attempts::{Attempts, Hold},
    backoff::{self, Class, NextAttempt, Refusals, Worth},
    calendar::{Calendar, TradingSession},
    clock::{self, SUSPEND},
    config::Config,
    credentials::Credentials,
    error::{At, Error, Rejection, RejectionKind},
    event::{Concerns, EndReason, Gap, Notice, Unparsed},
    market::Timestamp,
    phase::Phase,
    record,
    topic::list,
    transport::{Close, Fault, Incoming, Target, Transport},
    venue::{Item, Message, Output, Request, Routed as _, Session, Stamped, Venue, Verdict},
};

pub(crate) struct Driver<V: Venue, T> {
    stream: Arc<Stream<V>>,
    transport: T,
    ambient: Box<dyn Ambient>,
    /// Those at all hosts that have failed, of all streams that share this.
    attempts: Arc<Attempts>,
    hub: Hub<V::Event>,
    link: Link<V::Session>,
    /// The stream's share. Taken out when it stops.
    credentials: Option<Credentials>,
    out: Output<V::Event>,
    /// The hub has changed: what it asks for is to be asked, and what it knows to be shown, once the output is settled.
    is_changed: bool,
    epoch: u64,
    failures: u32,
    was_live: bool,
    /// The venue refuses credentials that it accepted before.
    refusals: Option<Refusals>,
    calendar: Calendar,
    /// It was said that its table ends.
    calendar_ends: bool,
    /// When a connection was given up last because it was mute.
    gave_up_mute: Option<Timestamp>,
    /// When the last message was read, for the gap that may follow.
    last_message: Option<Instant>,
    /// How long the machine had been asleep at the last turn.
    asleep: Duration,
    meter: Meter,
}

/// What the driver is doing with its one connection.
enum Link<S> {
    Waiting {
        until: Instant,
    },
    SettingUp {
        began: Instant,
        deadline: Instant,
        session: Option<S>,
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

impl<S> Link<S> {
    fn session(&mut self) -> Option<&mut S> {
        match self {
            Self::SettingUp { session, .. } => session.as_mut(),
            Self::Live(live) => Some(&mut live.session),
            Self::Waiting { .. } | Self::Closing { .. } | Self::Over(_) => None,
        }
    }
}

struct Live<S> {
    session: S,
    since: Instant,
    /// When the request in flight was sent.
    asked: Option<Instant>,
    liveness: Liveness,
    behind: Behind,
    /// The whole line has fallen silent, and was asked for again.
    is_silent: bool,
}

impl<S> Live<S> {
    /// When the request in flight has to be answered.
    fn answer_by(&self, config: &Config) -> Option<Instant> {
        self.asked
            .map(|asked| clock::after(asked, config.request_timeout))
    }
}

/// What comes after closing.
enum Next {
    Retry(Instant),
    End(EndReason),
}

impl<V: Venue, T: Transport> Driver<V, T> {
    pub(crate) fn new(
        stream: Arc<Stream<V>>,
        transport: T,
        ambient: Box<dyn Ambient>,
        attempts: Arc<Attempts>,
        credentials: Credentials,
    ) -> Self {
        let now = ambient.now();
        let calendar = stream.venue.calendar();
        let meter = Meter::new(&stream.key, now);
        let hub = Hub::new(&stream.key, stream.venue.symbol_budget());
        let asleep = ambient.asleep();
        Self {
            stream,
            transport,
            ambient,
            attempts,
            hub,
            link: Link::Waiting { until: now },
            credentials: Some(credentials),
            out: Output::new(now),
            is_changed: false,
            epoch: 0,
            failures: 0,
            was_live: false,
            refusals: None,
            calendar,
            calendar_ends: false,
            gave_up_mute: None,
            last_message: None,
            asleep,
            meter,
        }
    }

    /// Runs the stream to its end.
    pub(crate) fn run(&mut self) -> EndReason {
        loop {
            let now = self.ambient.now();
            let deadline = self.step(now);
            if let Link::Over(reason) = &self.link {
                self.meter.end(|| self.stream.health());
                return reason.clone();
            }
            self.transport.wait(deadline);
        }
    }

    #[cfg(test)]
    pub(super) fn utc(&self) -> Timestamp {
        self.ambient.utc()
    }

    /// One turn. Returns when the next is due if nothing happens before.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Instant> {
        self.count_sleep(now);
        self.take_wishes(now);
        match &self.link {
            Link::Waiting { until } if *until <= now => self.connect(now),
            Link::SettingUp { .. } => self.set_up(now),
            Link::Live(_) => self.live(now),
            Link::Closing { .. } => self.closing(now),
            Link::Waiting { .. } | Link::Over(_) => {}
        }
        // However the turn ended: also what a connection brought before it broke was read.
        self.stream.counters.bytes.set(self.transport.bytes_read());
        if let Some(at) = self.last_message {
            self.stream.counters.last_read.set(at);
        }
        self.meter.turn(
            now,
            || self.stream.counters.values(),
            matches!(self.link, Link::Live(_)),
            || self.stream.health(),
        );
        [self.deadline(), self.meter.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    fn deadline(&self) -> Option<Instant> {
        match &self.link {
            Link::Waiting { until } | Link::Closing { until, .. } => Some(*until),
            Link::SettingUp {
                deadline, session, ..
            } => {
                let session = session.as_ref().and_then(Session::deadline);
                [Some(*deadline), self.transport.deadline(), session]
                    .into_iter()
                    .flatten()
                    .min()
            }
            Link::Live(live) => [
                Some(live.liveness.deadline()),
                live.answer_by(&self.stream.config),
                live.session.deadline(),
            ]
            .into_iter()
            .flatten()
            .min(),
            Link::Over(_) => None,
        }
    }

    // ---- sleep ----

    /// Looks whether the machine slept since the last turn. All deadlines and stamps here are of the monotonic clock, which
    /// stood still meanwhile: so they move into the past by what was slept. Whatever may have become of the line, it is
    /// probed in this turn.
    fn count_sleep(&mut self, now: Instant) {
        let asleep = self.ambient.asleep();
        let slept = asleep.saturating_sub(self.asleep);
        self.asleep = asleep;
        if slept < SUSPEND {
            return;
        }
        record!(Info, "slept", self.stream.key; "the machine slept for {slept:.1?}");
        let move_back = |at: &mut Instant| *at = clock::before(*at, slept);
        self.last_message.iter_mut().for_each(move_back);
        self.hub.slept(slept);
        match &mut self.link {
            Link::Waiting { until } => {
                move_back(until);
                let until = *until;
                self.stream
                    .lifecycle
                    .change(now, |state| state.retry_at = Some(until));
            }
            Link::SettingUp {
                began, deadline, ..
            } => [began, deadline].into_iter().for_each(move_back),
            Link::Live(live) => {
                move_back(&mut live.since);
                live.asked.iter_mut().for_each(move_back);
                live.liveness.slept(slept);
            }
            Link::Closing { until, next } => {
                move_back(until);
                if let Next::Retry(at) = next {
                    move_back(at);
                }
            }
            Link::Over(_) => {}
        }
    }

    // ---- wishes ----

    fn take_wishes(&mut self, now: Instant) {
        let changes = self.stream.wishes.take_changes();
        let changed = !changes.subscriptions.is_empty();
        for (id, wish) in changes.subscriptions {
            if wish.is_none() {
                self.meter.retire(|| self.hub.health(id));
            }
            self.hub.update(id, wish, now);
        }
        if let Some(stop) = changes.stop.filter(|_| self.credentials.is_some()) {
            record!(Info, "stopping", self.stream.key, for &stop.correlation; "asked to end by its last holder, or by a shutdown");
            self.stop(now);
        } else if changed {
            self.is_changed = true;
            self.settle(now);
        }
    }

    fn stop(&mut self, now: Instant) {
        // The stream's share of the secret ends here, whatever the peer still does.
        self.credentials = None;
        let reason = match &self.link {
            // It was about to end anyway, for a reason of its own.
            Link::Closing {
                next: Next::End(reason),
                ..
            }
            | Link::Over(reason) => reason.clone(),
            _ => EndReason::Closed,
        };
        match &mut self.link {
            Link::Closing { next, .. } => *next = Next::End(reason),
            Link::Over(_) => {}
            _ => self.close(now, Next::End(reason)),
        }
    }

    // ---- connecting ----

    fn connect(&mut self, now: Instant) {
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
            deadline,
        });
        self.stream.counters.attempts.add(1);
        self.link = Link::SettingUp {
            began: now,
            deadline,
            session: None,
            passed: None,
        };
        self.enter(now, Phase::Resolving);
        self.set_up(now);
    }

    fn set_up(&mut self, now: Instant) {
        let Link::SettingUp {
            deadline, session, ..
        } = &self.link
        else {
            return;
        };
        if *deadline <= now {
            let doing = self.stream.lifecycle.phase();
            let why = format!(
                "not authenticated within {:?}{}",
                self.stream.config.setup_timeout,
                self.passed()
            );
            let error = Error::Lost {
                at: self.at(doing),
                why,
                source: self.transport.obstacle(),
            };
            return self.fail(now, error);
        }
        if session.is_some() {
            if let Err(fault) = self.transport.flush() {
                return self.fault(now, fault);
            }
            self.read(now);
            return self.time_out_session(now);
        }
        match self.transport.progress(now) {
            Ok(Phase::Live) => {
                let Some(credentials) = self.credentials.clone() else {
                    return;
                };
                let mut session = self.stream.venue.session(credentials);
                self.enter(now, Phase::Authenticating);
                session.handle_open(now, &mut self.out);
                if let Link::SettingUp { session: slot, .. } = &mut self.link {
                    *slot = Some(session);
                }
                self.settle(now);
                self.read(now);
            }
            Ok(phase) => self.enter(now, phase),
            Err(fault) => self.fault(now, fault),
        }
    }

    fn up(&mut self, now: Instant) {
        let Link::SettingUp { began, session, .. } = &mut self.link else {
            return;
        };
        let began = *began;
        let Some(session) = session.take() else {
            return;
        };
        self.meter.up(now, began);
        self.transport.unmask();
        self.epoch += 1;
        self.was_live = true;
        self.refusals = None;
        let ping_interval = self.stream.config.ping_interval;
        let asked_for = self.stream.venue.ping_interval();
        let ping_interval = asked_for.map_or(ping_interval, |most| most.min(ping_interval));
        let live = Live {
            session,
            since: now,
            asked: None,
            liveness: Liveness::new(now, ping_interval),
            behind: Behind::default(),
            is_silent: false,
        };
        self.link = Link::Live(Box::new(live));
        let epoch = self.epoch;
        self.stream.lifecycle.change(now, |state| {
            state.phase = Phase::Live;
            state.epoch = epoch;
            state.retry_at = None;
            state.gives_up_at = None;
        });
        self.hub.connected(now);
        record!(Info, "live", self.stream.key, epoch = epoch; "connection {epoch} is live");
        self.look_at_calendar();
        self.is_changed = true;
    }

    // ---- live ----

    fn live(&mut self, now: Instant) {
        if let Err(fault) = self.transport.flush() {
            return self.fault(now, fault);
        }
        self.read(now);
        self.time_out_session(now);
        if matches!(&self.link, Link::Live(live) if live.liveness.is_probed()) {
            // What has just been read may be what was missing: the line is live again at once.
            self.look(now);
        }
        self.listen(now);
        let config = &self.stream.config;
        let Link::Live(live) = &mut self.link else {
            return;
        };
        if live
            .answer_by(config)
            .is_some_and(|deadline| deadline <= now)
        {
            live.asked = None;
            if live.is_silent {
                // The line brings nothing, and what it was asked for is not answered either.
                let at = self.at(Phase::Mute);
                return self.fail(now, Error::Mute { at });
            }
            let why = format!(
                "the venue did not answer within {:?}",
                config.request_timeout
            );
            let error = self.refusal(Rejection::new(RejectionKind::Temporary, None, why));
            let left_out = self.left_out();
            self.hub.run_out(error, now, || left_out.clone());
            self.is_changed = true;
        }
        self.is_changed |= self.hub.asks_again(now);
        self.settle(now);
        let config = &self.stream.config;
        let Link::Live(live) = &mut self.link else {
            return;
        };
        match live.liveness.due(now, config) {
            None => {}
            Some(Due::Ping) => {
                // It has been quiet for long. What a burst took is given back.
                self.hub.release_memory();
                self.out.reuse(Vec::new());
                self.ping(now);
                self.look_at_calendar();
            }
            Some(Due::Look) => self.look(now),
            Some(Due::Dead(silent)) => {
                let why = format!("nothing was heard for {silent:.1?}, a ping was not answered");
                let error = Error::Lost {
                    at: self.at(Phase::Live),
                    why,
                    source: None,
                };
                self.fail(now, error);
            }
        }
    }

    fn ping(&mut self, now: Instant) {
        self.stream.counters.pings.add(1);
        if let Err(fault) = self.transport.ping() {
            self.fault(now, fault);
        }
    }

    /// Looks whether topics have fallen silent that brought something all the time.
    fn listen(&mut self, now: Instant) {
        let Link::Live(live) = &mut self.link else {
            return;
        };
        let (venue, calendar, utc) = (&self.stream.venue, &self.calendar, self.ambient.utc());
        let is_trading = || calendar.session_at(utc) == TradingSession::Regular;
        let silence = self
            .hub
            .silence(now, is_trading, |topic| venue.has_rhythm(topic));
        let Some(Silence {
            topics,
            is_whole_line,
            is_over,
        }) = silence
        else {
            return;
        };
        let was_silent = std::mem::replace(&mut live.is_silent, is_whole_line);
        if is_over {
            let at = self.at(Phase::Mute);
            return self.fail(now, Error::Mute { at });
        }
        if was_silent && !is_whole_line && !live.liveness.is_probed() {
            self.enter(now, Phase::Live);
        }
        if topics.is_empty() {
            return;
        }
        record!(Warn, "mute", self.stream.key; "nothing comes any more of {}; asking for it again", list(&topics));
        if is_whole_line {
            self.enter(now, Phase::Mute);
            self.ping(now);
        }
        self.hub.restart(&topics);
        self.is_changed = true;
        self.settle(now);
    }

    /// Looks whether what is expected has come.
    fn look(&mut self, now: Instant) {
        let Link::Live(live) = &mut self.link else {
            return;
        };
        let venue = &self.stream.venue;
        let (calendar, ambient) = (&self.calendar, &self.ambient);
        let utc = ambient.utc();
        if live.liveness.is_kept() && calendar.session_at(utc) != TradingSession::Regular {
            // What did not come on this day is not missed on the next.
            self.hub.expect_anew(now);
        }
        let (since, came) = (live.since, Cell::new(false));
        let left = self.hub.least_left(
            |topic| venue.expects(topic),
            |within, heard| {
                let left = time_left(calendar, ambient.utc_of(heard), utc, within);
                came.set(came.get() || left.is_zero() && heard > since);
                left
            },
        );
        match live.liveness.expect(now, left, &self.stream.config) {
            Outlook::Fine | Outlook::Waiting => {}
            Outlook::Recovered if live.is_silent => {}
            Outlook::Recovered => self.enter(now, Phase::Live),
            Outlook::Probe => {
                record!(Warn, "mute", self.stream.key; "what is expected does not come; probing");
                self.enter(now, Phase::Mute);
                self.ping(now);
            }
            Outlook::Mute => self.give_up_mute(now, utc, came.get()),
        }
    }

    /// Says once that the calendar's table ends soon, or has ended.
    fn look_at_calendar(&mut self) {
        if self.calendar_ends {
            return;
        }
        if let Some(end) = self.calendar.ends_soon(self.ambient.utc()) {
            self.calendar_ends = true;
            record!(Warn, "calendar", self.stream.key; "the calendar knows no holidays from {end} on: later, a mute line is kept, since the market may be closed");
        }
    }

    /// Ends a connection that brings nothing of what is expected, where another may bring it: not if the market may be
    /// closed without the calendar's knowledge, which a calendar that never closes cannot be wrong about. `came` is
    /// whether any of it came on this connection.
    fn give_up_mute(&mut self, now: Instant, utc: Timestamp, came: bool) {
        let in_vain = !came
            && self
                .gave_up_mute
                .is_some_and(|at| self.calendar.is_same_day(at, utc));
        if self.calendar.covers(utc) && !in_vain {
            self.gave_up_mute = Some(utc);
            let at = self.at(Phase::Mute);
            return self.fail(now, Error::Mute { at });
        }
        let Link::Live(live) = &mut self.link else {
            return;
        };
        if !live.liveness.keep(now) {
            let why = if in_vain {
                "nor did it come on the connection before"
            } else {
                "the calendar's table of holidays does not cover this day"
            };
            record!(Warn, "mute", self.stream.key; "what is expected does not come, and the connection is kept: {why}");
        }
    }

    fn time_out_session(&mut self, now: Instant) {
        let Some(session) = self.link.session() else {
            return;
        };
        if session.deadline().is_some_and(|deadline| deadline <= now) {
            session.handle_timeout(now, &mut self.out);
            self.settle(now);
            self.flush();
        }
    }

    /// Reads until nothing is left or the turn's budget is spent. Events lie in the output until then, so that a burst
    /// becomes few batches, and none waits for a message that is not there yet.
    fn read(&mut self, now: Instant) {
        let turn_ends = clock::after(now, TURN);
        for _ in 0..FRAMES_PER_TURN {
            let (incoming, read_at) = match self.transport.read() {
                Ok(Some(read)) => read,
                Ok(None) => break,
                Err(fault) => return self.fault(now, fault),
            };
            if let Link::Live(live) = &mut self.link {
                live.liveness.heard(read_at);
            }
            // Without a session it has ended the connection, and the rest is still in the buffers.
            let Some(session) = self.link.session() else {
                return;
            };
            match incoming {
                Incoming::Message(payload) => {
                    self.stream.counters.messages.add(1);
                    self.out.stamp(read_at);
                    session.handle_frame(read_at, payload.frame(), &mut self.out);
                    self.last_message = Some(read_at);
                    self.settle(now);
                    if self.out.pending() >= EVENTS_PER_BATCH {
                        self.flush();
                    }
                }
                Incoming::Control => self.stream.counters.control_frames.add(1),
                Incoming::Close(close) => {
                    session.handle_close(now, close.code(), &mut self.out);
                    self.settle(now);
                    if self.link.session().is_none() {
                        // The session knew what it means.
                        return;
                    }
                    let why = match close {
                        Close::Nothing => "closed by the peer, without a code".to_owned(),
                        Close::Code { code, reason } => format!(
                            "closed by the peer with code {code} {}",
                            self.redact(&reason)
                        ),
                        Close::Forbidden => {
                            "closed by the peer with a code that no close frame may carry"
                                .to_owned()
                        }
                    };
                    let phase = self.stream.lifecycle.phase();
                    let error = Error::Lost {
                        at: self.at(phase),
                        why: format!("{}{}", why.trim_end(), self.passed()),
                        source: None,
                    };
                    return self.fail(now, error);
                }
            }
            // A batch of large messages is a long turn; a stop must not wait for many of them.
            if read_at >= turn_ends {
                break;
            }
        }
        self.flush();
    }

    /// Takes everything the session put out that is not an event, and makes the requests that follow from it.
    ///
    /// The only place that does: a request may be answered in the output of the session that makes it, and whoever
    /// handles an item here only says that something has changed, so the depth of the stack does not grow with what the
    /// peer sends. An answer is of a request that was made before it was read, so what is there is taken first.
    fn settle(&mut self, now: Instant) {
        loop {
            self.take_items(now);
            if !std::mem::take(&mut self.is_changed) {
                return;
            }
            self.ask(now);
            self.publish(now);
        }
    }

    fn take_items(&mut self, now: Instant) {
        while let Some((mut events, item)) = self.out.next_item() {
            self.deliver(&mut events);
            let sent = match item {
                Item::Unparsed(unparsed) => {
                    self.unparsed(&unparsed);
                    Ok(())
                }
                Item::Send(message) if self.shows_secrets(&message) => Err(Fault::Protocol(
                    "a message with the credentials in it was not meant to be secret".to_owned(),
                )),
                Item::Send(message) => self.transport.send(message),
                Item::SendSecret(message) => self.transport.send_secret(message),
                Item::Up => {
                    self.up(now);
                    Ok(())
                }
                Item::Confirmed(confirmed) => {
                    let left_out = self.left_out();
                    if self.hub.confirm(confirmed, || left_out.clone()) {
                        self.answered(now);
                    }
                    self.is_changed = true;
                    Ok(())
                }
                Item::Resync(topics) => {
                    self.hub.restart(&topics);
                    self.is_changed = true;
                    Ok(())
                }
                Item::Refused(rejection) if self.hub.has_request() => {
                    self.answered(now);
                    let error = self.refusal(rejection);
                    self.hub.refuse(error, now);
                    self.is_changed = true;
                    Ok(())
                }
                Item::Refused(rejection) => {
                    let text = rejection.to_string();
                    // No event was in it.
                    let unparsed = Unparsed::new(text.as_bytes(), "answers no request");
                    self.unparsed(&unparsed.concerning(Concerns::Nobody));
                    Ok(())
                }
                Item::Down(verdict) => {
                    self.out.clear();
                    return self.down(now, verdict);
                }
            };
            if let Err(fault) = sent {
                self.out.clear();
                return self.fault(now, fault);
            }
        }
    }

    fn flush(&mut self) {
        let mut events = self.out.take_events();
        self.deliver(&mut events);
        self.out.reuse(events);
    }

    /// Hands events to the hub, which leaves other memory in their place.
    fn deliver(&mut self, events: &mut Vec<Stamped<V::Event>>) {
        if events.is_empty() {
            return;
        }
        // One look a batch is enough to see a buffer fill.
        let newest = events
            .last()
            .and_then(|newest| Some((newest.event.happened_at()?, newest.received)));
        self.stream.counters.events.add(events.len() as u64);
        self.stream.counters.odd.add(self.out.take_odd());
        let routing = self.hub.dispatch(events, self.epoch, self.asleep);
        self.stream.counters.add_routing(&routing);
        if routing.newest.is_some() {
            self.stream.standing.lock().unmatched = routing.newest;
        }
        if let (Some((happened, received)), Link::Live(live)) = (newest, &mut self.link) {
            let arrived = self.ambient.utc_of(received);
            let elapsed = received.saturating_duration_since(live.since);
            let threshold = self.stream.config.behind_warning;
            let warning = live.behind.saw(happened, arrived, elapsed, threshold);
            let behind = u64::try_from(live.behind.by().as_nanos()).unwrap_or(u64::MAX);
            self.stream.counters.behind_nanos.set(behind);
            if let Some(by) = warning {
                record!(Warn, "behind", self.stream.key; "events arrive {by:.1?} late");
                self.hub.notice(&Notice::behind(by));
            }
        }
    }

    fn unparsed(&mut self, unparsed: &Unparsed) {
        self.stream.counters.unparsed.add(1 + unparsed.more);
        let Some(credentials) = &self.credentials else {
            return;
        };
        let raw = if unparsed.is_cut() {
            credentials.masked_cut(&unparsed.raw)
        } else {
            credentials.masked(&unparsed.raw)
        };
        let why = credentials.redact(&unparsed.why).into();
        let unparsed = Unparsed {
            raw: raw.into(),
            why,
            at: Some(self.ambient.utc()),
            ..unparsed.clone()
        };
        if let Link::SettingUp { passed, .. } = &mut self.link {
            let shown: String = unparsed.to_string().chars().take(200).collect();
            *passed = Some(shown);
        }
        self.hub.unparsed(&unparsed);
    }

    /// What came in place of what the set-up waits for, as the end of an error's text.
    fn passed(&self) -> String {
        match &self.link {
            Link::SettingUp {
                passed: Some(passed),
                ..
            } => format!("; last came, and was waited past: {passed}"),
            _ => String::new(),
        }
    }

    // ---- requests ----

    /// Makes the next request, if the connection is live and none is in flight. What the session puts out for it is
    /// settled by the caller.
    fn ask(&mut self, now: Instant) {
        let Link::Live(live) = &mut self.link else {
            return;
        };
        let Some(ask) = self
            .hub
            .next_request(self.stream.venue.request_limit(), now)
        else {
            let epoch = self.epoch;
            self.hub.resume(epoch, || self.ambient.utc());
            return;
        };
        live.asked = Some(now);
        self.stream.counters.requests.add(1);
        let request = match &ask {
            Ask::Subscribe(topics) => Request::Subscribe(topics),
            Ask::Unsubscribe(topics) => Request::Unsubscribe(topics),
        };
        live.session.request(now, request, &mut self.out);
    }

    /// Has topics begin anew whose events build on one that was missed.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn restart(&mut self, topics: &[crate::Topic], now: Instant) {
        self.hub.restart(topics);
        self.is_changed = true;
        self.settle(now);
    }

    fn answered(&mut self, now: Instant) {
        if let Link::Live(live) = &mut self.link
            && let Some(asked) = live.asked.take()
        {
            self.meter.answered(now, asked);
        }
    }

    /// What those get whose topics the venue left out of its reply.
    fn left_out(&self) -> Error {
        let why = "the venue left it out of its reply";
        self.refusal(Rejection::new(RejectionKind::BadRequest, None, why))
    }

    fn refusal(&self, rejection: Rejection) -> Error {
        Error::Refused {
            at: self.at(Phase::Live),
            rejection: self.shown(rejection),
        }
    }

    /// Shows what the hub knows, and looks whether the topics that are confirmed now bring what is expected.
    fn publish(&mut self, now: Instant) {
        self.show();
        self.look(now);
    }

    /// What the hub knows, for health, and what it told its members, for the records.
    fn show(&mut self) {
        for told in self.hub.take_told() {
            let topics = list(&told.topics);
            match told.word {
                Word::Confirmed => {
                    record!(Debug, "confirmed", self.stream.key, for &told.correlation; "confirmed {topics}");
                }
                Word::Refused(error) => {
                    record!(Warn, "refused", self.stream.key, for &told.correlation, code = error.code(); "refused {topics}: {}", error.for_record());
                }
                Word::Displaced(error) => {
                    record!(Warn, "displaced", self.stream.key, for &told.correlation, code = error.code(); "{topics}: {}", error.for_record());
                }
            }
        }
        *self.stream.standing.lock() = self.hub.standing();
    }

    // ---- ending ----

    fn down(&mut self, now: Instant, verdict: Verdict) {
        let phase = self.stream.lifecycle.phase();
        let at = self.at(phase);
        match verdict {
            Verdict::Done => self.lose(now, EndReason::Done),
            Verdict::Protocol(why) => {
                let why = self.redact(&why);
                self.fail(now, Error::Protocol { at, why });
            }
            Verdict::Rejected(rejection) => {
                let rejection = self.shown(rejection);
                self.fail(
                    now,
                    match rejection.kind {
                        RejectionKind::Credentials => Error::Rejected { at, rejection },
                        RejectionKind::Entitlement => Error::NotEntitled { at, rejection },
                        RejectionKind::ConnectionLimit => Error::ConnectionLimit { at, rejection },
                        RejectionKind::SymbolLimit
                        | RejectionKind::BadRequest
                        | RejectionKind::SlowClient
                        | RejectionKind::Temporary => Error::Refused { at, rejection },
                    },
                );
            }
        }
    }

    fn fault(&mut self, now: Instant, fault: Fault) {
        // The set-up may have gone through several phases since anybody was told.
        let phase = match &self.link {
            Link::SettingUp { session: None, .. } => self.transport.phase(),
            _ => self.stream.lifecycle.phase(),
        };
        let at = self.at(phase);
        self.fail(
            now,
            match fault {
                Fault::Resolve(source) => Error::Unresolved { at, source },
                Fault::Connect(source) => Error::Unreachable { at, source },
                Fault::Tls { why, certificate } => Error::Tls {
                    at,
                    why: self.redact(&why),
                    certificate,
                },
                Fault::Upgrade {
                    status,
                    retry_after,
                    location,
                } => Error::Upgrade {
                    at,
                    status,
                    retry_after,
                    location: location.map(|location| self.redact(&location)),
                },
                Fault::Protocol(why) => Error::Protocol {
                    at,
                    why: self.redact(&why),
                },
                Fault::Lost { why, source } => Error::Lost { at, why, source },
            },
        );
    }

    /// The connection failed. Whether the stream ends or tries again follows from the error.
    fn fail(&mut self, now: Instant, error: Error) {
        let class = backoff::class(&error, self.was_live);
        if class == Class::Credentials {
            self.refusals
                .get_or_insert_with(|| Refusals::new(now))
                .count += 1;
        }
        let refusals = self.refusals.filter(|_| class == Class::Credentials);
        let gives_up_at = refusals.and_then(|refusals| refusals.until(&self.stream.config.backoff));
        if class == Class::Fatal || gives_up_at.is_some_and(|at| at <= now) {
            self.spend(now, &error);
            return self.lose(now, EndReason::Failed(error));
        }
        let lived = match &self.link {
            Link::Live(live) => Some(now.saturating_duration_since(live.since)),
            _ => None,
        };
        let worth = Worth::of(lived, self.hub.has_confirmed(), &self.stream.config.backoff);
        if worth == Worth::Nothing {
            self.spend(now, &error);
        }
        if worth.is_success() {
            self.failures = 0;
        }
        self.failures += 1;
        if self.stream.config.backoff.max_failures == Some(self.failures) {
            let given_up = Error::GaveUp {
                at: self.at(self.stream.lifecycle.phase()),
                failures: self.failures,
                cause: Arc::new(error),
            };
            return self.lose(now, EndReason::Failed(given_up));
        }
        let random = self.ambient.random();
        let delay = backoff::delay(
            &self.stream.config.backoff,
            &error,
            class,
            refusals.map_or(self.failures, |refusals| refusals.count),
            worth,
            random,
        );
        // The last of those attempts is made when the patience ends, not after it.
        let patience = gives_up_at.map(|at| at.saturating_duration_since(now));
        let delay = delay.min(patience.unwrap_or(Duration::MAX));
        let hold = self.hold(now).filter(|hold| hold.wait > delay);
        let delay = hold.as_ref().map_or(delay, |hold| hold.wait);
        let origin = match hold {
            Some(hold) => format!(
                ", since this process failed {} times at this host of late",
                hold.failures
            ),
            None => backoff::origin(delay, &error)
                .map_or_else(String::new, |origin| format!(", {origin}")),
        };
        let patience = patience.map_or_else(String::new, |left| {
            format!(", given up in {left:.1?}, since the venue accepted them before")
        });
        record!(Warn, "lost", self.stream.key, attempt = self.failures, code = error.code(); "{}; {}{origin}{patience}", error.for_record(), NextAttempt(delay));
        let was_live = matches!(self.link, Link::Live(_));
        self.disconnected(now, &error);
        let outage = Outage {
            attempt: self.failures,
            cause: error.clone(),
            retry_at: clock::after(now, delay),
        };
        self.hub.not_live(outage, was_live, now);
        let failures = self.failures;
        self.stream.lifecycle.change(now, |state| {
            state.failures = failures;
            state.cause = Some(error);
            state.gives_up_at = gives_up_at;
        });
        self.close(now, Next::Retry(clock::after(now, delay)));
    }

    /// The connection and the stream end for good.
    fn lose(&mut self, now: Instant, reason: EndReason) {
        if let EndReason::Failed(error) = &reason {
            self.disconnected(now, error);
            let cause = error.clone();
            self.stream
                .lifecycle
                .change(now, |state| state.cause = Some(cause));
        }
        self.credentials = None;
        self.close(now, Next::End(reason));
    }

    /// Tells the hub, and with it every subscriber, what the connection was worth. Behind what was already decoded.
    fn disconnected(&mut self, now: Instant, cause: &Error) {
        self.flush();
        let gap = matches!(self.link, Link::Live(_)).then(|| Gap {
            // Each subscription has its own.
            since: None,
            last: self.last_message.map(|at| self.ambient.utc_of(at)),
            cause: cause.clone(),
            epoch: self.epoch,
            breaks: 1,
            correlation: None,
        });
        if gap.is_some() {
            self.meter.lost(now);
        }
        self.hub.disconnected(gap.as_ref());
        // Without a look: nothing is expected of topics that are no longer confirmed, and a mute line that is given up
        // would be taken for one that has recovered.
        self.show();
    }

    /// Closes the connection in good order: never a second one while the peer may still count the first.
    fn close(&mut self, now: Instant, next: Next) {
        self.out.clear();
        self.is_changed = false;
        self.hub.cut(self.epoch);
        self.transport.close();
        self.link = Link::Closing {
            until: clock::after(now, self.stream.config.close_timeout),
            next,
        };
        self.closing(now);
    }

    fn closing(&mut self, now: Instant) {
        let Link::Closing { until, .. } = &self.link else {
            return;
        };
        if !self.transport.is_closed() && now < *until {
            return self.enter(now, Phase::Closing);
        }
        self.transport.abort();
        let Link::Closing { next, .. } =
            std::mem::replace(&mut self.link, Link::Waiting { until: now })
        else {
            return;
        };
        match next {
            Next::Retry(until) => self.wait_until(now, until),
            Next::End(reason) => self.link = Link::Over(reason),
        }
    }

    fn wait_until(&mut self, now: Instant, until: Instant) {
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

    // ---- small things ----

    /// Whether the host has to be left alone, for what all streams have shown it.
    fn hold(&self, now: Instant) -> Option<Hold> {
        let host = self.stream.venue.endpoint().authority();
        let limit = &self.stream.config.attempt_budget;
        self.attempts.hold(&host, now, limit)
    }

    fn spend(&self, now: Instant, error: &Error) {
        let host = self.stream.venue.endpoint().authority();
        let limit = &self.stream.config.attempt_budget;
        self.attempts.failed(&host, now, limit, error);
    }

    /// Waits for the host's sake. A stream that has not failed itself says so, since nothing else tells why it waits.
    fn hold_back(&mut self, now: Instant, hold: Hold) {
        if self.failures == 0 {
            let error = Error::HeldBack {
                at: self.at(self.stream.lifecycle.phase()),
                failures: hold.failures,
                cause: Arc::new(hold.last),
            };
            let wait = hold.wait;
            record!(Warn, "held_back", self.stream.key, code = error.code(); "{}; {}", error.for_record(), NextAttempt(wait));
            let outage = Outage {
                attempt: 0,
                cause: error.clone(),
                retry_at: clock::after(now, wait),
            };
            self.hub.not_live(outage, false, now);
            self.stream
                .lifecycle
                .change(now, |state| state.cause = Some(error));
        }
        self.wait_until(now, clock::after(now, hold.wait));
    }

    fn enter(&self, now: Instant, phase: Phase) {
        if self.stream.lifecycle.phase() != phase {
            self.stream.lifecycle.change(now, |state| {
                state.phase = phase;
                state.retry_at = None;
            });
            record!(Debug, "phase", self.stream.key; "{phase}");
        }
    }

    fn at(&self, phase: Phase) -> At {
        At::new(&self.stream.key, phase)
    }

    fn shown(&self, rejection: Rejection) -> Rejection {
        Rejection {
            message: self.redact(&rejection.message),
            ..rejection
        }
    }

    /// What is sent by way of the WebSocket library is logged and kept by it.
    fn shows_secrets(&self, message: &Message) -> bool {
        let payload = match message {
            Message::Text(text) => text.as_bytes(),
            Message::Binary(bytes) => bytes,
        };
        let credentials = self.credentials.as_ref();
        credentials.is_some_and(|credentials| credentials.stand_in(payload))
    }

    /// A server's text as it may be shown. Once the credentials are out, nothing of the server's is shown any more.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.credentials
            .as_ref()
            .map_or_else(String::new, |credentials| credentials.redact(text))
    }
}

/// How much is read before the wishes are looked at again, so that a flood cannot keep a stop waiting.
const FRAMES_PER_TURN: usize = 4_096;
const TURN: Duration = Duration::from_millis(5);
/// When a batch is handed on even though more is there to be read.
const EVENTS_PER_BATCH: usize = 4_096;
