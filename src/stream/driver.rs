//! The loop of a stream's thread: one connection at a time, its session, and what becomes of both.
//!
//! ```text
//!           ┌──────────────────────── Waiting ◀────────────────────────┐
//!           ▼ time                                                     │ closed, to be tried again
//!  ───▶ Connecting ──WebSocket open──▶ LoggingIn ──session up──▶ Live  │
//!           └──────────────┬───────────────┴───────────────────────┘   │
//!                          └──ending: fault, verdict, deadline──▶ Closing ──▶ Over
//!                                                                  closed, fatal or asked to stop
//! ```
//!
//! | state | what it waits for | what moves it on | file |
//! |---|---|---|---|
//! | `Waiting` | the time of the next attempt | `connect` | `link.rs` |
//! | `Connecting` | the transport: lookup, TCP, a proxy, TLS, upgrade | `progress` | `link.rs` |
//! | `LoggingIn` | the session's word that it is up | `up` | `link.rs` |
//! | `Live` | nothing: it is used, and watched | an ending alone | `live.rs` |
//! | `Closing` | the peer's end, for as long as it may take | `go_on_closing` | `link.rs` |
//! | any but `Closing` and `Over` | | `end`, which leads to `Closing` | `failure.rs` |
//!
//! # A turn
//! 1. What the machine slept since the last turn is counted. What wakes the thread after that is what wakes it at any
//!    time: a message, a wish of a caller, or its deadline, of which the rest is waited for that was left when the machine
//!    went to sleep.
//! 2. What callers want is taken over. A stop is an ending like any other, and the credentials go when it is seen.
//! 3. The connection is moved on by its state: connected, logged in, or read until nothing is left or the turn's budget is
//!    spent. The session gets one input at a time, and its output is taken before the next (`flow.rs`). What has changed
//!    is shown before the next, too: whoever is told of what came later finds it in health and in the records.
//! 4. If topics have changed, what is expected of them is looked at.
//! 5. A handler that finds the connection over returns an [`Ending`], and with `?` that goes straight up: nothing of steps
//!    2 to 4 runs after it. [`step`](Driver::step) alone takes it, and `end` decides whether the stream tries again. What
//!    was decoded before the break is delivered, then every fold is cut, then queues are told of the gap.
//! 6. A connection that closes goes on closing.
//! 7. The deadline of the next turn is computed.
//!
//! Nothing here blocks but [`Transport::wait`], and nothing runs under a lock. With a transport and an [`Ambient`] that
//! keep their own time, [`step`](Driver::step) runs a stream without sockets and without waiting.

mod failure;
mod flow;
mod link;
mod live;
mod pace;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use self::{failure::StreamFailures, link::Link};
use super::{
    SharedStream as _, Stream,
    meter::Meter,
    router::{Router, TopicFate},
    topics::TopicTable,
};
use crate::{
    ambient::Ambient,
    attempts::Attempts,
    calendar::Calendar,
    clock::{self, SUSPEND},
    credentials::Credentials,
    error::Error,
    event::EndReason,
    proxy::ProxyServer,
    record,
    topic::list,
    transport::{Fault, Transport},
    venue::{Answer, Output, Venue, Verdict},
};

pub(crate) struct Driver<V: Venue, T> {
    stream: Arc<Stream<V>>,
    transport: T,
    ambient: Box<dyn Ambient>,
    router: Router<V::Event>,
    link: Link<V::Session>,
    /// The stream's share. Taken out when it stops.
    credentials: Option<Credentials>,
    /// What to connect through, which may have a login. The stream's share of that goes with the credentials. The
    /// configuration keeps its own, as it does of [`Proxy::At`](crate::Proxy::At).
    proxy: Option<ProxyServer>,
    /// What its attempts are counted for: the venue's host, or that and the proxy in front of it. What fails at a proxy
    /// does not hold back those who do without it.
    host: String,
    out: Output<V::Event>,
    /// What the venue said of topics in the frame at hand.
    answers: Vec<Answer>,
    /// The topic table has changed: what follows is to be asked for and told, once the output is settled.
    is_changed: bool,
    /// Members were told of topics in this turn: what is expected of these is to be looked at.
    to_look: bool,
    /// How many requests this turn may still make.
    requests_left: usize,
    epoch: u64,
    failures: StreamFailures,
    /// The failed attempts at each host, of all streams that share the count.
    attempts: Arc<Attempts>,
    calendar: Calendar,
    /// It was said that its table ends.
    calendar_ends: bool,
    /// When the last message was read, for the gap that may follow.
    last_message: Option<Instant>,
    /// How long the machine had been asleep at the last turn.
    asleep: Duration,
    meter: Meter,
}

/// What a handler returns. It goes on, or the connection is over.
type Outcome = Result<(), Ending>;

/// Why a connection is over.
enum Ending {
    /// The stream was asked to end.
    Stopped,
    /// The transport failed.
    Fault(Fault),
    /// The session ended it.
    Verdict(Verdict),
    /// The driver gives it up.
    Lost(Error),
}

impl From<Fault> for Ending {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

impl<V: Venue, T: Transport> Driver<V, T> {
    pub(crate) fn new(
        stream: Arc<Stream<V>>,
        transport: T,
        ambient: Box<dyn Ambient>,
        attempts: Arc<Attempts>,
        credentials: Credentials,
        proxy: Option<ProxyServer>,
    ) -> Self {
        let now = ambient.now();
        stream.set_rules();
        let calendar = stream.venue.calendar();
        let meter = Meter::new(&stream.key, now);
        let asleep = ambient.asleep();
        let venue = stream.venue.endpoint().authority();
        let host = match &proxy {
            Some(proxy) => format!("{venue} through {}", proxy.url()),
            None => venue,
        };
        Self {
            stream,
            transport,
            ambient,
            router: Router::new(now),
            link: Link::Waiting { until: now },
            credentials: Some(credentials),
            proxy,
            host,
            out: Output::default(),
            answers: Vec::new(),
            is_changed: false,
            to_look: false,
            requests_left: 0,
            epoch: 0,
            failures: StreamFailures::default(),
            attempts,
            calendar,
            calendar_ends: false,
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

    /// One turn. Returns when the next is due if nothing happens before.
    pub(crate) fn step(&mut self, now: Instant) -> Option<Instant> {
        self.count_sleep(now);
        if let Err(ending) = self.turn(now) {
            self.end(now, ending);
        }
        self.go_on_closing(now);
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
        let is_live = matches!(self.link, Link::Live(_));
        let topics = is_live.then(|| self.stream.subscriptions.look(TopicTable::deadline));
        [
            self.link.deadline(),
            topics.flatten(),
            self.transport.deadline(),
            self.meter.deadline(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What can end the connection.
    fn turn(&mut self, now: Instant) -> Outcome {
        self.requests_left = flow::REQUESTS_PER_TURN;
        self.take_over(now)?;
        if let Link::Waiting { until } = self.link
            && until <= now
        {
            self.connect(now);
        }
        match &self.link {
            Link::Connecting { deadline, .. } | Link::LoggingIn { deadline, .. }
                if *deadline <= now =>
            {
                return Err(self.too_late());
            }
            Link::Connecting { .. } => self.progress(now)?,
            Link::LoggingIn { .. } => self.log_in(now)?,
            Link::Live(_) => self.live(now)?,
            Link::Waiting { .. } | Link::Closing { .. } | Link::Over(_) => {}
        }
        // Not after an ending: nothing is expected of topics that are no longer confirmed, and a mute line that is given
        // up would be taken for one that has recovered.
        while std::mem::take(&mut self.to_look) {
            self.look(now)?;
        }
        Ok(())
    }

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
        if let Some(at) = &mut self.last_message {
            *at = clock::before(*at, slept);
        }
        self.router.slept(slept);
        self.stream
            .subscriptions
            .with_table(|table| table.slept(slept));
        self.link.slept(slept);
        if let Link::Waiting { until } = self.link {
            self.stream
                .lifecycle
                .change(now, |state| state.retry_at = Some(until));
        }
    }

    fn take_over(&mut self, now: Instant) -> Outcome {
        let changes = self.stream.subscriptions.take_changes();
        self.is_changed |= changes.is_changed;
        for joined in changes.joined {
            self.router.join(joined, now);
        }
        self.tell_news();
        for id in changes.left {
            self.meter.retire(|| self.router.health(id));
            self.router.leave(id);
        }
        if let Some(stop) = changes.stop.filter(|_| self.credentials.is_some()) {
            record!(Info, "stopping", self.stream.key, for &stop.correlation; "asked to end by its last holder, or by a shutdown");
            // The stream's share of the secret ends here, whatever the peer still does.
            self.forget_secrets();
            return Err(Ending::Stopped);
        }
        self.settle(now)
    }

    fn forget_secrets(&mut self) {
        self.credentials = None;
        self.proxy = None;
    }

    /// Records what members were told of their topics.
    fn record(&mut self) {
        for told in self.router.take_told() {
            let topics = list(&told.topics);
            match told.fate {
                TopicFate::Confirmed => {
                    record!(Debug, "confirmed", self.stream.key, for &told.correlation; "confirmed {topics}");
                }
                TopicFate::Refused(error) => {
                    record!(Warn, "refused", self.stream.key, for &told.correlation, code = error.code(); "refused {topics}: {}", error.for_record());
                }
                TopicFate::Displaced(error) => {
                    record!(Warn, "displaced", self.stream.key, for &told.correlation, code = error.code(); "{topics}: {}", error.for_record());
                }
            }
        }
    }

    /// From here on the router keeps a log of what it hands out.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn log_routed(&mut self) {
        self.router.log = Some(Vec::new());
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn router(&mut self) -> &mut Router<V::Event> {
        &mut self.router
    }

    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn is_over(&self) -> bool {
        matches!(self.link, Link::Over(_))
    }

    #[cfg(test)]
    pub(super) fn utc(&self) -> crate::market::Timestamp {
        self.ambient.utc()
    }

    /// Has topics begin anew in the next turn, whose events build on one that was missed.
    #[cfg(test)]
    #[cfg(not(loom))]
    pub(super) fn restart(&mut self, topics: &[crate::Topic]) {
        self.stream
            .subscriptions
            .with_table(|table| table.restart(topics));
        self.is_changed = true;
    }
}
