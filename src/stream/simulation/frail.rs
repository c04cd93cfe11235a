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
    Credentials, Endpoint, Error, SymbolBudget, Topic,
    calendar::Calendar,
    error::RejectionKind,
    venue::{Context, Delivery, Frame, Request, Rules, Session, Venue},
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

/// A venue, and what its session does beside.
#[derive(Clone)]
pub(super) struct Frail<V> {
    pub(super) venue: V,
    pub(super) fuse: Fuse,
}

impl<V: Venue> Venue for Frail<V> {
    type Event = V::Event;
    type Session = FrailSession<V::Session>;

    fn endpoint(&self) -> &Endpoint {
        self.venue.endpoint()
    }

    fn rules(&self) -> Rules {
        self.fuse.call();
        self.venue.rules()
    }

    fn canonical(&self, topic: &Topic) -> Topic {
        self.venue.canonical(topic)
    }

    fn validate(&self, topic: &Topic) -> Result<(), Error> {
        self.venue.validate(topic)
    }

    fn delivery(&self, topic: &Topic) -> Delivery {
        self.venue.delivery(topic)
    }

    fn calendar(&self) -> Calendar {
        self.venue.calendar()
    }

    fn expects(&self, topic: &Topic) -> Option<Duration> {
        self.venue.expects(topic)
    }

    fn has_rhythm(&self, topic: &Topic) -> bool {
        self.venue.has_rhythm(topic)
    }

    fn judge_status(&self, status: u16) -> RejectionKind {
        self.venue.judge_status(status)
    }

    fn symbol_budget(&self) -> Option<SymbolBudget> {
        self.venue.symbol_budget()
    }

    fn session(&self, credentials: Credentials) -> Self::Session {
        self.fuse.call();
        FrailSession {
            session: self.venue.session(credentials),
            fuse: self.fuse.clone(),
        }
    }
}

pub(super) struct FrailSession<S> {
    session: S,
    fuse: Fuse,
}

impl<S: Session> Session for FrailSession<S> {
    type Event = S::Event;

    fn handle_open(&mut self, cx: &mut Context<'_, S::Event>) {
        self.fuse.call();
        self.session.handle_open(cx);
    }

    fn handle_frame(&mut self, frame: Frame<'_>, cx: &mut Context<'_, S::Event>) {
        // In front of some of its events, or behind them: what it put out is lost with it.
        self.fuse.call();
        self.session.handle_frame(frame, cx);
        self.fuse.call();
    }

    fn handle_close(&mut self, code: Option<u16>, cx: &mut Context<'_, S::Event>) {
        self.fuse.call();
        self.session.handle_close(code, cx);
    }

    fn handle_timeout(&mut self, cx: &mut Context<'_, S::Event>) {
        self.fuse.call();
        self.session.handle_timeout(cx);
    }

    fn deadline(&self) -> Option<Instant> {
        self.session.deadline()
    }

    fn request(&mut self, request: Request<'_>, cx: &mut Context<'_, S::Event>) {
        self.fuse.call();
        self.session.request(request, cx);
    }
}

impl<S> Drop for FrailSession<S> {
    fn drop(&mut self) {
        self.fuse.call();
    }
}
