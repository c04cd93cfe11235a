//! How a connection ends: the error that tells why, what the failure means for the next attempt, and what is said of it.
//!
//! [`end`](Driver::end) begins here, at the one call of it in [`step`](Driver::step). What it calls returns no outcome:
//! the connection ends once.

use std::time::{Duration, Instant};

use super::{
    Driver, Ending,
    link::{Link, Next},
};
use crate::{
    attempts::Hold,
    backoff::{self, Class, Refusals, Worth},
    clock,
    config::Backoff,
    error::{At, Error, ErrorKind, Rejection, RejectionKind},
    event::{EndReason, Gap},
    phase::{NextAttempt, Phase},
    record,
    stream::{router::Outage, topics::TopicTable},
    transport::{Fault, Transport},
    venue::{Venue, Verdict},
};

/// The failures of one stream.
#[derive(Default)]
pub(super) struct StreamFailures {
    /// In a row.
    count: u32,
    was_live: bool,
    /// The venue refuses credentials, or the proxy its login, that it accepted before.
    refusals: Option<Refusals>,
    /// How often another connection took the place of this stream's, and none was kept for long since.
    evictions: u32,
}

/// What a failure means.
struct Judgment {
    /// The host was failed at, and every stream that asks it has to heed that.
    costs: bool,
    sequel: Sequel,
}

enum Sequel {
    /// Another attempt cannot help.
    Fatal,
    /// It was the last failure that the configuration allows.
    TooMany,
    Retry {
        class: Class,
        delay: Duration,
        /// When the stream gives up, if the patience with a refusal ends.
        gives_up_at: Option<Instant>,
    },
}

impl StreamFailures {
    /// The connection is live.
    pub(super) fn was_live(&mut self) {
        self.was_live = true;
        self.refusals = None;
    }

    /// Counts a failure of a connection that had been `worth` that much. `random` is from 0 to 1.
    fn judge(
        &mut self,
        error: &Error,
        worth: Worth,
        now: Instant,
        (backoff, reaping): (&Backoff, (Duration, Duration)),
        random: impl FnOnce() -> f64,
    ) -> Judgment {
        let class = backoff::class(error, self.was_live);
        if class == Class::Credentials {
            self.refusals
                .get_or_insert_with(|| Refusals::new(now))
                .count += 1;
        }
        self.evictions += u32::from(class == Class::Evicted);
        let refusals = self.refusals.filter(|_| class == Class::Credentials);
        let gives_up_at = refusals.and_then(|refusals| refusals.until(backoff));
        if class == Class::Fatal || gives_up_at.is_some_and(|at| at <= now) {
            return Judgment {
                costs: true,
                sequel: Sequel::Fatal,
            };
        }
        if worth.is_success() {
            self.count = 0;
        }
        self.count += 1;
        let sequel = if backoff.max_failures == Some(self.count) {
            Sequel::TooMany
        } else {
            let failures = match class {
                Class::Evicted => self.evictions,
                _ => refusals.map_or(self.count, |refusals| refusals.count),
            };
            let random = random();
            let delay = backoff::delay((backoff, reaping), error, class, failures, worth, random);
            // The last of those attempts is made when the patience ends, not after it.
            let patience = gives_up_at.map(|at| at.saturating_duration_since(now));
            Sequel::Retry {
                class,
                delay: delay.min(patience.unwrap_or(Duration::MAX)),
                gives_up_at,
            }
        };
        Judgment {
            costs: worth == Worth::Nothing,
            sequel,
        }
    }
}

impl<V: Venue, T: Transport> Driver<V, T> {
    /// The connection is over. Whether the stream is, too, follows from the reason.
    pub(super) fn end(&mut self, now: Instant, ending: Ending) {
        // Of what led to this, in front of the record of the loss.
        self.record();
        let error = match ending {
            Ending::Stopped => return self.stop(now),
            Ending::Verdict(Verdict::Done) => return self.lose(now, EndReason::Done),
            Ending::Verdict(Verdict::Protocol(why)) => Error::new(
                self.at(self.stream.lifecycle.phase()),
                ErrorKind::Protocol {
                    why: self.redact(&why),
                },
            ),
            Ending::Verdict(Verdict::Rejected(rejection)) => self.rejected(rejection),
            Ending::Fault(fault) => self.faulted(fault),
            Ending::Lost(error) => error,
        };
        self.fail(now, error);
    }

    // ---- why ----

    fn rejected(&self, rejection: Rejection) -> Error {
        let at = self.at(self.stream.lifecycle.phase());
        let rejection = self.shown(rejection);
        match rejection.kind {
            RejectionKind::Credentials => Error::new(at, ErrorKind::Rejected { rejection }),
            RejectionKind::Entitlement => Error::new(at, ErrorKind::NotEntitled { rejection }),
            RejectionKind::ConnectionLimit => {
                Error::new(at, ErrorKind::ConnectionLimit { rejection })
            }
            RejectionKind::Evicted => Error::new(at, ErrorKind::Evicted { rejection }),
            RejectionKind::SymbolLimit
            | RejectionKind::BadRequest
            | RejectionKind::SlowClient
            | RejectionKind::Temporary => Error::new(at, ErrorKind::Refused { rejection }),
        }
    }

    fn faulted(&self, fault: Fault) -> Error {
        // The set-up may have gone through several phases since anybody was told.
        let phase = match &self.link {
            Link::Connecting { .. } => self.transport.phase(),
            _ => self.stream.lifecycle.phase(),
        };
        let at = self.at(phase);
        match fault {
            Fault::Resolve(source) => Error::new(at, ErrorKind::Unresolved { source }),
            Fault::Connect(source) => Error::new(at, ErrorKind::Unreachable { source }),
            Fault::Proxy {
                proxy,
                fault,
                source,
            } => Error::new(
                at,
                ErrorKind::Proxy {
                    proxy,
                    fault: Box::new(fault),
                    source,
                },
            ),
            Fault::Tls { why, certificate } => Error::new(
                at,
                ErrorKind::Tls {
                    why: self.redact(&why),
                    certificate,
                },
            ),
            Fault::Upgrade {
                status,
                retry_after,
                location,
            } => Error::new(
                at,
                ErrorKind::Upgrade {
                    kind: self.stream.venue.judge_status(status),
                    status,
                    retry_after,
                    location: location.map(|location| self.redact(&location)),
                },
            ),
            Fault::Protocol(why) => Error::new(
                at,
                ErrorKind::Protocol {
                    why: self.redact(&why),
                },
            ),
            Fault::Lost { why, source } => Error::new(at, ErrorKind::Lost { why, source }),
        }
    }

    // ---- what follows ----

    fn stop(&mut self, now: Instant) {
        match &mut self.link {
            // It was about to end anyway, for a reason of its own.
            Link::Closing {
                next: Next::End(_), ..
            }
            | Link::Over(_) => {}
            Link::Closing { next, .. } => *next = Next::End(EndReason::Closed),
            _ => self.close(now, Next::End(EndReason::Closed)),
        }
    }

    fn fail(&mut self, now: Instant, error: Error) {
        let backoff = &self.stream.config.backoff;
        let lived = match &self.link {
            Link::Live(live) => Some(now.saturating_duration_since(live.since)),
            _ => None,
        };
        let has_confirmed = self.stream.subscriptions.look(TopicTable::has_confirmed);
        let worth = Worth::of(lived, has_confirmed, backoff);
        let random = || self.ambient.random();
        if lived.is_some_and(|lived| lived >= backoff::KEPT) {
            self.failures.evictions = 0;
        }
        let reaping = self.stream.rules.reaping;
        let judgment = self
            .failures
            .judge(&error, worth, now, (backoff, reaping), random);
        if judgment.costs {
            let limit = &self.stream.rules.attempts;
            self.attempts.failed(&self.host, now, limit, &error);
        }
        match judgment.sequel {
            Sequel::Fatal => self.lose(now, EndReason::Failed(error)),
            Sequel::TooMany => {
                let given_up = Error::new(
                    self.at(self.stream.lifecycle.phase()),
                    ErrorKind::GaveUp {
                        failures: self.failures.count,
                        cause: error,
                    },
                );
                self.lose(now, EndReason::Failed(given_up));
            }
            Sequel::Retry {
                class,
                delay,
                gives_up_at,
            } => self.retry(now, error, class, delay, gives_up_at),
        }
    }

    fn retry(
        &mut self,
        now: Instant,
        error: Error,
        class: Class,
        delay: Duration,
        gives_up_at: Option<Instant>,
    ) {
        let hold = self.hold(now).filter(|hold| hold.wait > delay);
        let delay = hold.as_ref().map_or(delay, |hold| hold.wait);
        let origin = match hold {
            Some(hold) => format!(
                ", since this process failed {} times at this host of late",
                hold.failures
            ),
            None => backoff::origin(delay, &error, class)
                .map_or_else(String::new, |origin| format!(", {origin}")),
        };
        let patience = gives_up_at.map(|at| at.saturating_duration_since(now));
        let patience = patience.map_or_else(String::new, |left| {
            format!(", given up in {left:.1?}, since they were accepted before")
        });
        let failures = self.failures.count;
        record!(Warn, "lost", self.stream.key, attempt = failures, code = error.code(); "{}; {}{origin}{patience}", error.for_record(), NextAttempt(delay));
        let was_live = matches!(self.link, Link::Live(_));
        self.disconnected(now, &error);
        let outage = Outage {
            attempt: failures,
            cause: error.clone(),
            retry_at: clock::after(now, delay),
        };
        self.router.not_live(outage, was_live, now);
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
        self.forget_secrets();
        self.close(now, Next::End(reason));
    }

    /// Tells the router, and with it every subscriber, what the connection was worth. Behind what was already decoded.
    fn disconnected(&mut self, now: Instant, cause: &Error) {
        self.flush();
        let gap = matches!(self.link, Link::Live(_)).then(|| Gap {
            // Each subscription has its own.
            since: None,
            last: self.last_message.map(|at| self.ambient.utc_of(at)),
            cause: cause.clone(),
            epoch: self.epoch,
            topics: Box::default(),
            breaks: 1,
        });
        if gap.is_some() {
            self.meter.lost(now);
        }
        self.answers.clear();
        self.router.disconnected(gap.as_ref());
        let cause = gap.is_some().then_some(cause);
        self.stream
            .subscriptions
            .with_table(|table| table.disconnected(cause, now));
        self.tell_news();
    }

    /// Closes the connection in good order: never a second one while the peer may still count the first.
    fn close(&mut self, now: Instant, next: Next) {
        self.out.clear();
        self.is_changed = false;
        self.to_look = false;
        self.router.cut(self.epoch);
        self.transport.close();
        self.link = Link::Closing {
            until: clock::after(now, self.stream.config.close_timeout),
            next,
        };
    }

    // ---- what other streams have failed at ----

    /// Whether the host has to be left alone, for what all streams have shown it.
    pub(super) fn hold(&self, now: Instant) -> Option<Hold> {
        let limit = &self.stream.rules.attempts;
        self.attempts.hold(&self.host, now, limit)
    }

    /// Waits for the host's sake. A stream that has not failed itself says so, since nothing else tells why it waits.
    pub(super) fn hold_back(&mut self, now: Instant, hold: Hold) {
        if self.failures.count == 0 {
            let error = Error::new(
                self.at(self.stream.lifecycle.phase()),
                ErrorKind::HeldBack {
                    failures: hold.failures,
                    cause: hold.last,
                },
            );
            let wait = hold.wait;
            record!(Warn, "held_back", self.stream.key, code = error.code(); "{}; {}", error.for_record(), NextAttempt(wait));
            let outage = Outage {
                attempt: 0,
                cause: error.clone(),
                retry_at: clock::after(now, wait),
            };
            self.router.not_live(outage, false, now);
            self.stream
                .lifecycle
                .change(now, |state| state.cause = Some(error));
        }
        self.wait_until(now, clock::after(now, hold.wait));
    }

    // ---- what is said ----

    pub(super) fn at(&self, phase: Phase) -> At {
        At::new(&self.stream.key, phase)
    }

    pub(super) fn shown(&self, rejection: Rejection) -> Rejection {
        rejection.map_texts(|text| self.redact(text))
    }

    /// A server's text as it may be shown. Once the credentials are out, nothing of the server's is shown any more.
    pub(crate) fn redact(&self, text: &str) -> String {
        self.credentials
            .as_ref()
            .map_or_else(String::new, |credentials| credentials.redact(text))
    }
}
