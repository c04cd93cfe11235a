//! A transport without sockets, and its surroundings: the test is the peer and the clock.

use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

pub(crate) use crate::ambient::SplitMix64 as Dice;

use super::{Close, Fault, Incoming, Payload, Target, Transport};
use crate::{
    ambient::Ambient,
    attempts::Attempts,
    clock::{self, Moment},
    market::Timestamp,
    phase::Phase,
    venue::{Message, SecretMessage},
};

/// The stream's end.
pub(crate) struct MemoryTransport(Arc<Mutex<World>>);

/// The test's end: the peer, and the time.
#[derive(Clone)]
pub(crate) struct Peer(Arc<Mutex<World>>, Arc<Attempts>);

/// The time and the random numbers of the test.
struct WorldAmbient(Arc<Mutex<World>>);

struct World {
    now: Instant,
    started: Instant,
    /// The wall clock when it started.
    utc: Timestamp,
    asleep: Duration,
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
    deeds: Vec<Deed>,
    masked: bool,
    /// What waits, in order, while the socket takes nothing.
    blocked: Option<VecDeque<String>>,
    /// Whatever is written fails with this, as after a reset that was not read yet. Until the next connection.
    broken_pipe: Option<Fault>,
    jitter: Jitter,
    /// How long it takes to read what the peer said.
    read_time: Duration,
}

/// What the stream did, in the order it did it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Connect,
    /// The WebSocket is open.
    Open,
    /// Took the next thing that the peer had said.
    Read,
    Sent(String),
    Close,
    Abort,
}

/// Where random numbers come from.
enum Jitter {
    Fixed(f64),
    Dice(Dice),
}

impl Peer {
    pub(crate) fn new() -> (Self, MemoryTransport) {
        Self::with_attempts(Arc::new(Attempts::new()))
    }

    /// One of several that share the count of failed attempts.
    pub(crate) fn with_attempts(attempts: Arc<Attempts>) -> (Self, MemoryTransport) {
        let now = clock::now();
        let world = Arc::new(Mutex::new(World {
            now,
            started: now,
            utc: Timestamp::from_nanos(0),
            asleep: Duration::ZERO,
            connected: false,
            answers_close: true,
            closing: false,
            outcomes: VecDeque::new(),
            attempts: 0,
            overlaps: 0,
            inbound: VecDeque::new(),
            deeds: Vec::new(),
            masked: false,
            blocked: None,
            broken_pipe: None,
            jitter: Jitter::Fixed(0.5),
            read_time: Duration::ZERO,
        }));
        (Self(Arc::clone(&world), attempts), MemoryTransport(world))
    }

    /// What the stream goes by: the time and the random numbers of this test.
    pub(crate) fn ambient(&self) -> Box<dyn Ambient> {
        Box::new(WorldAmbient(Arc::clone(&self.0)))
    }

    pub(crate) fn failed_attempts(&self) -> Arc<Attempts> {
        Arc::clone(&self.1)
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

    pub(crate) fn moment(&self) -> Moment {
        let world = self.0.lock();
        Moment {
            now: world.now,
            asleep: world.asleep,
        }
    }

    /// The machine sleeps: the monotonic clock stands still, and the wall clock goes on.
    pub(crate) fn suspend(&self, slept: Duration) {
        let mut world = self.0.lock();
        world.asleep += slept;
        let nanos = i64::try_from(slept.as_nanos()).unwrap_or(i64::MAX);
        world.utc = Timestamp::from_nanos(world.utc.as_nanos().saturating_add(nanos));
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
        self.break_with(Fault::Lost {
            why: "cut".to_owned(),
            source: None,
        });
    }

    /// The connection fails behind what was said.
    pub(crate) fn break_with(&self, fault: Fault) {
        self.0.lock().inbound.push_back(Err(fault));
    }

    pub(crate) fn close_frame(&self, frame: Option<(u16, String)>) {
        let mut world = self.0.lock();
        let close = frame.map_or(Close::Nothing, |(code, reason)| Close::Code {
            code,
            reason,
        });
        world.inbound.push_back(Ok(Incoming::Close(close)));
    }

    pub(crate) fn break_pipe(&self, fault: Fault) {
        self.0.lock().broken_pipe = Some(fault);
    }

    /// The socket takes nothing, until [`unblock`](Self::unblock) or the next connection.
    pub(crate) fn block(&self) {
        self.0.lock().blocked.get_or_insert_default();
    }

    pub(crate) fn unblock(&self) {
        let mut world = self.0.lock();
        let waited = world.blocked.take().unwrap_or_default();
        world.deeds.extend(waited.into_iter().map(Deed::Sent));
    }

    pub(crate) fn never_answers_close(&self) {
        self.answer_close(false);
    }

    pub(crate) fn answer_close(&self, answers: bool) {
        self.0.lock().answers_close = answers;
    }

    /// Random numbers from a seed. Without it, or after [`fix_jitter`](Self::fix_jitter), they are all the same.
    pub(crate) fn seed_jitter(&self, seed: u64) {
        self.0.lock().jitter = Jitter::Dice(Dice::new(seed));
    }

    pub(crate) fn fix_jitter(&self, fraction: f64) {
        self.0.lock().jitter = Jitter::Fixed(fraction);
    }

    /// From here on each read takes so long, as that of a large message does.
    pub(crate) fn set_read_time(&self, time: Duration) {
        self.0.lock().read_time = time;
    }

    pub(crate) fn take_sent(&self) -> Vec<String> {
        let sent = |deed| match deed {
            Deed::Sent(text) => Some(text),
            _ => None,
        };
        self.take_deeds().into_iter().filter_map(sent).collect()
    }

    pub(crate) fn take_deeds(&self) -> Vec<Deed> {
        std::mem::take(&mut self.0.lock().deeds)
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

impl Drop for MemoryTransport {
    fn drop(&mut self) {
        self.abort();
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
        world.broken_pipe = None;
        world.blocked = None;
        world.deeds.push(Deed::Connect);
    }

    fn progress(&mut self, _now: Instant) -> Result<Phase, Fault> {
        let mut world = self.0.lock();
        match world.outcomes.pop_front() {
            Some(fault) => Err(fault),
            None => {
                world.connected = true;
                world.deeds.push(Deed::Open);
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
        let Some(incoming) = world.inbound.pop_front() else {
            return Ok(None);
        };
        world.deeds.push(Deed::Read);
        let read_time = world.read_time;
        world.now += read_time;
        Ok(Some((incoming?, world.now)))
    }

    fn send(&mut self, message: Message) -> Result<(), Fault> {
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        };
        let mut world = self.0.lock();
        if let Some(fault) = &world.broken_pipe {
            return Err(fault.clone());
        }
        match &mut world.blocked {
            Some(waiting) => waiting.push_back(text),
            None => world.deeds.push(Deed::Sent(text)),
        }
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
        self.0.lock().broken_pipe.clone().map_or(Ok(()), Err)
    }

    fn has_unsent(&self) -> bool {
        let world = self.0.lock();
        world
            .blocked
            .as_ref()
            .is_some_and(|waiting| !waiting.is_empty())
    }

    fn unmask(&mut self) {
        self.0.lock().masked = false;
    }

    fn close(&mut self) {
        let mut world = self.0.lock();
        world.closing = world.connected;
        world.inbound.clear();
        world.deeds.push(Deed::Close);
    }

    fn is_closed(&mut self) -> bool {
        let world = self.0.lock();
        !world.closing || world.answers_close
    }

    fn abort(&mut self) {
        let mut world = self.0.lock();
        world.connected = false;
        world.closing = false;
        world.deeds.push(Deed::Abort);
    }

    fn wait(&mut self, deadline: Option<Instant>) {
        let mut world = self.0.lock();
        world.now = deadline.unwrap_or(world.now).max(world.now);
    }

    fn bytes_read(&self) -> u64 {
        0
    }
}

impl Ambient for WorldAmbient {
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

    fn asleep(&self) -> Duration {
        self.0.lock().asleep
    }

    fn random(&mut self) -> f64 {
        match &mut self.0.lock().jitter {
            Jitter::Fixed(fraction) => *fraction,
            Jitter::Dice(dice) => dice.fraction(),
        }
    }

    fn roll(&mut self) -> u64 {
        match &mut self.0.lock().jitter {
            Jitter::Fixed(fraction) => fraction.to_bits(),
            Jitter::Dice(dice) => dice.roll(),
        }
    }
}

mod tests {
    use super::*;
    use crate::venue::Piece;

    #[test]
    fn what_waits_for_a_blocked_socket_comes_in_order() {
        let (peer, mut transport) = Peer::new();
        let secret = |text: &str| SecretMessage::text(|piece| piece(Piece::Plain(text)));
        peer.block();
        transport.send_secret(secret("a secret")).unwrap();
        transport.send_secret(secret("another secret")).unwrap();
        transport.send(Message::Text("after".to_owned())).unwrap();
        transport.ping().unwrap();
        assert!(peer.take_sent().is_empty());
        peer.unblock();
        assert_eq!(
            peer.take_sent(),
            ["a secret", "another secret", "after", "<ping>"]
        );
    }
}
