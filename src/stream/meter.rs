//! The stream's metrics, through the facade `metrics`: to whatever recorder the program has installed.
//!
//! The stream's thread hands its counters on a few times a second at most, and only after something happened: an event
//! costs nothing, and an idle stream sleeps. A recorder is user code, so it is never called under a lock.

use std::time::{Duration, Instant};

use metrics::{Label, Unit, counter, gauge, histogram};

use crate::{
    clock,
    health::{CounterValues, Health, SubscriptionHealth},
    key::StreamKey,
};

pub(super) struct Meter {
    labels: Vec<Label>,
    /// What was handed on last: the counters, and whether the stream was live.
    told: Option<(CounterValues, bool)>,
    /// When counters may be handed on again.
    next: Instant,
    /// Something happened since they were, and too soon to say so.
    is_behind: bool,
    lost_at: Option<Instant>,
    /// What subscriptions that are gone have counted.
    retired: Totals,
}

/// Of all subscriptions together.
#[derive(Clone, Copy, Default)]
struct Totals {
    delivered: u64,
    dropped: u64,
    conflated: u64,
}

impl Totals {
    fn add(&mut self, health: &SubscriptionHealth) {
        self.delivered += health.events_delivered;
        self.dropped += health.events_dropped;
        self.conflated += health.events_conflated;
    }
}

impl Meter {
    pub(super) fn new(stream: &StreamKey, now: Instant) -> Self {
        describe();
        Self {
            labels: vec![
                Label::new("fingerprint", stream.fingerprint().to_string()),
                // Its `Display` leaves the query out, which may hold a token.
                Label::new("endpoint", stream.endpoint().to_string()),
            ],
            told: None,
            next: now,
            is_behind: false,
            lost_at: None,
            retired: Totals::default(),
        }
    }

    /// At the end of each turn.
    pub(super) fn turn(
        &mut self,
        now: Instant,
        counters: impl FnOnce() -> CounterValues,
        is_live: bool,
        health: impl FnOnce() -> Health,
    ) {
        let state = (counters(), is_live);
        if self.told == Some(state) {
            self.is_behind = false;
        } else if now < self.next {
            self.is_behind = true;
        } else {
            self.told = Some(state);
            self.is_behind = false;
            self.next = clock::after(now, EVERY);
            self.tell(&health());
        }
    }

    /// When a turn is due for what was too soon to say.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.is_behind.then_some(self.next)
    }

    /// A connection became live, whose attempt began at `began`.
    pub(super) fn up(&mut self, now: Instant, began: Instant) {
        self.measure(SETUP, now.saturating_duration_since(began));
        if let Some(lost_at) = self.lost_at.take() {
            self.measure(OUTAGE, now.saturating_duration_since(lost_at));
        }
    }

    /// A connection that was live is gone.
    pub(super) fn lost(&mut self, now: Instant) {
        self.lost_at.get_or_insert(now);
    }

    /// The request that was made at `asked` is answered.
    pub(super) fn answered(&self, now: Instant, asked: Instant) {
        self.measure(REQUEST, now.saturating_duration_since(asked));
    }

    /// A subscription is gone, and this is what it counted.
    pub(super) fn retire(&mut self, health: impl FnOnce() -> Option<SubscriptionHealth>) {
        if let Some(health) = health() {
            self.retired.add(&health);
        }
    }

    /// The last word.
    pub(super) fn end(&self, health: impl FnOnce() -> Health) {
        self.tell(&health());
        for (name, _, _) in GAUGES {
            gauge!(*name, self.labels.iter()).set(0.0);
        }
    }

    fn measure(&self, name: &'static str, time: Duration) {
        histogram!(name, self.labels.iter()).record(time.as_secs_f64());
    }

    fn tell(&self, health: &Health) {
        let mut totals = self.retired;
        let (mut queued, mut lag) = (0, Duration::ZERO);
        for subscription in &health.subscriptions {
            totals.add(subscription);
            queued += subscription.events_queued;
            lag = lag.max(subscription.lag);
        }
        for (name, _, _, value) in COUNTERS {
            counter!(*name, self.labels.iter()).absolute(value(health, &totals));
        }
        let is_live = health.phase.is_live();
        let gauges = [
            f64::from(u8::from(is_live)),
            health.leases as f64,
            health.subscriptions.len() as f64,
            health.topics_wanted as f64,
            health.topics_confirmed as f64,
            queued as f64,
            lag.as_secs_f64(),
            health.behind.as_secs_f64(),
        ];
        for ((name, _, _), value) in GAUGES.iter().zip(gauges) {
            gauge!(*name, self.labels.iter()).set(value);
        }
    }
}

/// Says once for each stream what the names mean; a recorder that has heard it before makes nothing of it.
fn describe() {
    for (name, unit, what, _) in COUNTERS {
        metrics::describe_counter!(*name, *unit, *what);
    }
    for (name, unit, what) in GAUGES {
        metrics::describe_gauge!(*name, *unit, *what);
    }
    for (name, what) in HISTOGRAMS {
        metrics::describe_histogram!(*name, Unit::Seconds, *what);
    }
}

type CounterRow = (
    &'static str,
    Unit,
    &'static str,
    fn(&Health, &Totals) -> u64,
);

/// How often counters are handed on at most.
const EVERY: Duration = Duration::from_millis(250);

const SETUP: &str = "trunkline_setup_seconds";
const OUTAGE: &str = "trunkline_outage_seconds";
const REQUEST: &str = "trunkline_request_seconds";

const COUNTERS: &[CounterRow] = &[
    (
        "trunkline_attempts_total",
        Unit::Count,
        "Attempts to connect",
        |health, _| health.counters.attempts,
    ),
    (
        "trunkline_connections_total",
        Unit::Count,
        "Connections that became live",
        |health, _| health.epoch,
    ),
    (
        "trunkline_messages_total",
        Unit::Count,
        "WebSocket messages read",
        |health, _| health.counters.messages,
    ),
    (
        "trunkline_bytes_total",
        Unit::Bytes,
        "Bytes read, after TLS",
        |health, _| health.counters.bytes,
    ),
    (
        "trunkline_events_total",
        Unit::Count,
        "Events read",
        |health, _| health.counters.events,
    ),
    (
        "trunkline_events_unmatched_total",
        Unit::Count,
        "Events that matched nobody",
        |health, _| health.counters.events_unmatched,
    ),
    (
        "trunkline_events_unsettled_total",
        Unit::Count,
        "Events of topics that were being subscribed or unsubscribed",
        |health, _| health.counters.events_unsettled,
    ),
    (
        "trunkline_odd_events_total",
        Unit::Count,
        "Events with a field that could not be read",
        |health, _| health.counters.odd_events,
    ),
    (
        "trunkline_unparsed_total",
        Unit::Count,
        "Items that could not be read",
        |health, _| health.counters.unparsed,
    ),
    (
        "trunkline_requests_total",
        Unit::Count,
        "Requests sent",
        |health, _| health.counters.requests,
    ),
    (
        "trunkline_events_delivered_total",
        Unit::Count,
        "Events that subscriptions have read",
        |_, totals| totals.delivered,
    ),
    (
        "trunkline_events_dropped_total",
        Unit::Count,
        "Events that did not fit into a subscription's queue",
        |_, totals| totals.dropped,
    ),
    (
        "trunkline_events_conflated_total",
        Unit::Count,
        "Events that a newer one took the place of",
        |_, totals| totals.conflated,
    ),
];

const GAUGES: &[(&str, Unit, &str)] = &[
    ("trunkline_live", Unit::Count, "1 while the stream is live"),
    (
        "trunkline_leases",
        Unit::Count,
        "Handles and subscriptions that hold the stream",
    ),
    ("trunkline_subscriptions", Unit::Count, "Subscriptions"),
    ("trunkline_topics_wanted", Unit::Count, "Topics wanted"),
    (
        "trunkline_topics_confirmed",
        Unit::Count,
        "Topics confirmed",
    ),
    (
        "trunkline_events_queued",
        Unit::Count,
        "Events that wait for their readers",
    ),
    (
        "trunkline_lag_seconds",
        Unit::Seconds,
        "Age of events when they were read, of the slowest subscription",
    ),
    (
        "trunkline_behind_seconds",
        Unit::Seconds,
        "How much later than the freshest the newest event arrived",
    ),
];

const HISTOGRAMS: &[(&str, &str)] = &[
    (SETUP, "From the beginning of an attempt to live"),
    (OUTAGE, "From the loss of a live connection to live again"),
    (REQUEST, "From a request to its answer"),
];

#[cfg(test)]
mod tests;
