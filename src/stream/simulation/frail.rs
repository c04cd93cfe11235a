//! A venue whose session panics, once, at a call that the day has chosen.

use std::{
    panic::resume_unwind,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    Calendar, Credentials, Endpoint, Error, MarketEvent, SymbolBudget, Topic,
    alpaca::MarketData,
    venue::{Frame, Output, Request, Session, Venue},
};

/// What the panic says.
pub(super) const BUG: &str = "user code's own bug";

/// How many calls are left up to the one that panics. Zero: none does.
#[derive(Clone, Default)]
pub(super) struct Fuse(Arc<AtomicU64>);

impl Fuse {
    pub(super) fn panic_at(&self, call: u64) {
        self.0.store(call, Ordering::Relaxed);
    }

    fn call(&self) {
        let left = self
            .0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        if left == Ok(1) {
            // Without the panic hook, which would print it.
            resume_unwind(Box::new(BUG.to_owned()));
        }
    }
}

/// The venue, and what its session does beside.
pub(super) struct Frail {
    pub(super) venue: MarketData,
    pub(super) fuse: Fuse,
}

impl Venue for Frail {
    type Event = MarketEvent;
    type Session = FrailSession;

    fn endpoint(&self) -> &Endpoint {
        self.venue.endpoint()
    }

    fn validate(&self, topic: &Topic) -> Result<(), Error> {
        self.venue.validate(topic)
    }

    fn calendar(&self) -> Calendar {
        Venue::calendar(&self.venue)
    }

    fn expects(&self, topic: &Topic) -> Option<Duration> {
        self.venue.expects(topic)
    }

    fn has_rhythm(&self, topic: &Topic) -> bool {
        self.venue.has_rhythm(topic)
    }

    fn symbol_budget(&self) -> Option<SymbolBudget> {
        Venue::symbol_budget(&self.venue)
    }

    fn request_limit(&self) -> usize {
        self.fuse.call();
        self.venue.request_limit()
    }

    fn session(&self, credentials: Credentials) -> FrailSession {
        self.fuse.call();
        FrailSession {
            session: self.venue.session(credentials),
            fuse: self.fuse.clone(),
        }
    }
}

pub(super) struct FrailSession {
    session: <MarketData as Venue>::Session,
    fuse: Fuse,
}

impl Session for FrailSession {
    type Event = MarketEvent;

    fn handle_open(&mut self, now: Instant, out: &mut Output<MarketEvent>) {
        self.fuse.call();
        self.session.handle_open(now, out);
    }

    fn handle_frame(&mut self, now: Instant, frame: Frame<'_>, out: &mut Output<MarketEvent>) {
        // In front of some of its events, or behind them: what it put out is lost with it.
        self.fuse.call();
        self.session.handle_frame(now, frame, out);
        self.fuse.call();
    }

    fn handle_close(&mut self, now: Instant, code: Option<u16>, out: &mut Output<MarketEvent>) {
        self.fuse.call();
        self.session.handle_close(now, code, out);
    }

    fn handle_timeout(&mut self, now: Instant, out: &mut Output<MarketEvent>) {
        self.fuse.call();
        self.session.handle_timeout(now, out);
    }

    fn deadline(&self) -> Option<Instant> {
        self.session.deadline()
    }

    fn request(&mut self, now: Instant, request: Request<'_>, out: &mut Output<MarketEvent>) {
        self.fuse.call();
        self.session.request(now, request, out);
    }
}

impl Drop for FrailSession {
    fn drop(&mut self) {
        self.fuse.call();
    }
}
