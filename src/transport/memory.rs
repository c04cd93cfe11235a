//! A transport without sockets: the test is the peer and the clock.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::{Fault, Incoming, Payload, Target, Transport};
use crate::{
    budget::Budget,
    clock,
    market::Timestamp,
    phase::Phase,
    venue::{Message, SecretMessage},
};

/// The stream's end.
pub(crate) struct MemoryTransport(Arc<Mutex<World>>, Budget);

/// The test's end: the peer, and the time.
#[derive(Clone)]
pub(crate) struct Peer(Arc<Mutex<World>>);

struct World {
    now: Instant,
    started: Instant,
    /// The wall clock when it started.
    utc: Timestamp,
    connected: bool,
    /// Whether a close is answered.
    answers_close: bool,
    closing: bool,
    /// How the next attempts end; an attempt without an entry succeeds.
    outcomes: VecDeque<Fault>,
    attempts: u32,
    /// Connections that were opened while another one was.
    overlaps: u32,
    inbound: VecDeque<Result<Incoming, Fault>>,
    sent: Vec<String>,
    masked: bool,
}

impl Peer {
    pub(crate) fn new() -> (Self, MemoryTransport) {
        let now = clock::now();
        let world = Arc::new(Mutex::new(World {
            now,
            started: now,
            utc: Timestamp::from_nanos(0),
            connected: false,
            answers_close: true,
            closing: false,
            outcomes: VecDeque::new(),
            attempts: 0,
            overlaps: 0,
            inbound: VecDeque::new(),
            sent: Vec::new(),
            masked: false,
        }));
        (
            Self(Arc::clone(&world)),
            MemoryTransport(world, Budget::new()),
        )
    }

    pub(crate) fn now(&self) -> Instant {
        self.0.lock().now
    }

    pub(crate) fn advance(&self, by: Duration) -> Instant {
        let mut world = self.0.lock();
        world.now += by;
        world.now
    }

    pub(crate) fn advance_to(&self, then: Instant) -> Instant {
        let mut world = self.0.lock();
        world.now = world.now.max(then);
        world.now
    }

    pub(crate) fn set_utc(&self, utc: Timestamp) {
        let mut world = self.0.lock();
        world.started = world.now;
        world.utc = utc;
    }

    pub(crate) fn fail_next(&self, fault: Fault) {
        self.0.lock().outcomes.push_back(fault);
    }

    pub(crate) fn say(&self, text: impl Into<String>) {
        let text: String = text.into();
        self.0
            .lock()
            .inbound
            .push_back(Ok(Incoming::Message(Payload::Text(text.into()))));
    }

    pub(crate) fn pong(&self) {
        self.0.lock().inbound.push_back(Ok(Incoming::Control));
    }

    pub(crate) fn cut(&self) {
        let fault = Fault::Lost {
            why: "cut".to_owned(),
            source: None,
        };
        self.0.lock().inbound.push_back(Err(fault));
    }

    pub(crate) fn never_answers_close(&self) {
        self.0.lock().answers_close = false;
    }

    pub(crate) fn take_sent(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().sent)
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.0.lock().attempts
    }

    pub(crate) fn overlaps(&self) -> u32 {
        self.0.lock().overlaps
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.0.lock().connected
    }

    pub(crate) fn is_masked(&self) -> bool {
        self.0.lock().masked
    }
}

impl Transport for MemoryTransport {
    fn connect(&mut self, _target: Target) {
        let mut world = self.0.lock();
        world.attempts += 1;
        world.overlaps += u32::from(world.connected);
        world.inbound.clear();
        world.masked = true;
        world.closing = false;
    }

    fn progress(&mut self, _now: Instant) -> Result<Phase, Fault> {
        let mut world = self.0.lock();
        match world.outcomes.pop_front() {
            Some(fault) => Err(fault),
            None => {
                world.connected = true;
                Ok(Phase::Live)
            }
        }
    }

    fn phase(&self) -> Phase {
        Phase::Connecting
    }

    fn deadline(&self) -> Option<Instant> {
        None
    }

    fn read(&mut self) -> Result<Option<(Incoming, Instant)>, Fault> {
        let mut world = self.0.lock();
        let now = world.now;
        world
            .inbound
            .pop_front()
            .transpose()
            .map(|incoming| incoming.map(|incoming| (incoming, now)))
    }

    fn send(&mut self, message: Message) -> Result<(), Fault> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        self.0.lock().sent.push(text);
        Ok(())
    }

    fn send_secret(&mut self, message: SecretMessage) -> Result<(), Fault> {
        let (bytes, _) = message.into_parts();
        let text = String::from_utf8_lossy(&bytes[SecretMessage::HEADROOM..]).into_owned();
        self.send(Message::Text(text))
    }

    fn ping(&mut self) -> Result<(), Fault> {
        self.send(Message::Text("<ping>".to_owned()))
    }

    fn flush(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn unmask(&mut self) {
        self.0.lock().masked = false;
    }

    fn close(&mut self) {
        let mut world = self.0.lock();
        world.closing = world.connected;
        world.inbound.clear();
    }

    fn is_closed(&mut self) -> bool {
        let world = self.0.lock();
        !world.closing || world.answers_close
    }

    fn abort(&mut self) {
        let mut world = self.0.lock();
        world.connected = false;
        world.closing = false;
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let mut world = self.0.lock();
        world.now = deadline.unwrap_or(world.now).max(world.now);
    }

    fn now(&self) -> Instant {
        self.0.lock().now
    }

    fn utc(&self) -> Timestamp {
        let world = self.0.lock();
        let nanos = world
            .now
            .saturating_duration_since(world.started)
            .as_nanos();
        let nanos = i64::try_from(nanos).unwrap_or(i64::MAX);
        Timestamp::from_nanos(world.utc.as_nanos().saturating_add(nanos))
    }

    fn random(&mut self) -> f64 {
        0.5
    }

    fn budget(&self) -> &Budget {
        &self.1
    }

    fn bytes_read(&self) -> u64 {
        0
    }
}
