//! What stands for the meter in a build without the feature `metrics`: nothing.

use std::time::Instant;

use crate::{
    health::{CounterValues, Health, SubscriptionHealth},
    key::StreamKey,
};

pub(super) struct Meter;

impl Meter {
    pub(super) fn new(_stream: &StreamKey, _now: Instant) -> Self {
        Self
    }

    pub(super) fn turn(
        &mut self,
        _now: Instant,
        _counters: impl FnOnce() -> CounterValues,
        _is_live: bool,
        _health: impl FnOnce() -> Health,
    ) {
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        None
    }

    pub(super) fn up(&mut self, _now: Instant, _began: Instant) {}

    pub(super) fn lost(&mut self, _now: Instant) {}

    pub(super) fn answered(&self, _now: Instant, _asked: Instant) {}

    pub(super) fn retire(&mut self, _health: impl FnOnce() -> Option<SubscriptionHealth>) {}

    pub(super) fn end(&self, _health: impl FnOnce() -> Health) {}
}
