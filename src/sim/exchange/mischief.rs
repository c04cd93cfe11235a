//! What goes wrong on purpose: when, whom it hits, and what is left of it on a connection.

use std::{
    collections::VecDeque,
    mem,
    time::{Duration, Instant},
};

use super::{
    ConnectionId, Effect, End, Exchange, Market, Moment, frame, message, orders,
    subscriptions::Oddity,
};
use crate::{
    clock,
    market::Symbol,
    sim::{FaultKind, FaultScript, gate::Pieces, tape::Random},
    venue::Message,
};

/// How a connection breaks.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sim) enum Breakage {
    /// Half a frame, and a reset.
    MidFrame,
    /// The announcement of a frame that nobody can hold, and silence.
    Oversized,
    /// Silence.
    HalfOpen,
}

/// How a client that has just connected is received.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::sim) enum Reception {
    /// Its upgrade is read, and answered as it deserves.
    Upgrade,
    /// With a reset, at once.
    Reset,
    /// Its upgrade is never answered.
    Stall,
    /// Its upgrade is answered with an HTTP status.
    Answer {
        status: u16,
        retry_after: Option<u32>,
    },
}

/// A fault of the script.
#[derive(Debug)]
pub(super) struct Scheduled {
    kind: FaultKind,
    every: Duration,
    pub(super) due: Instant,
}

/// Faults that wait for the next one who comes into their way: of each kind one at most.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) stall_welcome: bool,
    pub(super) expired: bool,
    pub(super) reply: Option<Oddity>,
    stall_upgrade: bool,
    answer: Option<(u16, Option<u32>)>,
    refuse_until: Option<Instant>,
    acknowledgment: Option<Acknowledgment>,
}

#[derive(Clone, Copy, Debug)]
enum Acknowledgment {
    Twice,
    Late,
}

/// What is wrong with a connection that goes on.
#[derive(Debug, Default)]
pub(super) struct Mischief {
    mute_for_data: bool,
    /// Frames that are to leave together.
    cork: Option<Held>,
    /// Replies that are to leave behind data.
    late: Option<(Held, Vec<Message>)>,
}

/// Until so many more frames were sent, or so much time has passed.
#[derive(Clone, Copy, Debug)]
struct Held {
    frames: usize,
    until: Instant,
}

impl Scheduled {
    pub(super) fn all(script: &FaultScript, now: Instant, chance: &mut Random) -> Vec<Self> {
        script
            .iter()
            .map(|fault| Self {
                kind: fault.kind,
                every: fault.every,
                due: clock::after(now, jitter(fault.every, chance)),
            })
            .collect()
    }
}

impl Mischief {
    pub(super) fn is_mute_for_data(&self) -> bool {
        self.mute_for_data
    }

    pub(super) fn deadline(&self) -> Option<Instant> {
        let late = self.late.as_ref().map(|(held, _)| held.until);
        self.cork
            .map(|held| held.until)
            .into_iter()
            .chain(late)
            .min()
    }

    /// A frame was sent.
    pub(super) fn sent(&mut self, id: ConnectionId, effects: &mut VecDeque<Effect>) {
        if let Some(cork) = &mut self.cork {
            cork.frames -= 1;
            if cork.frames == 0 {
                self.uncork(id, effects);
            }
        }
    }

    /// It was one of data.
    pub(super) fn sent_data(&mut self, id: ConnectionId, effects: &mut VecDeque<Effect>) {
        if let Some((held, _)) = &mut self.late {
            held.frames -= 1;
            if held.frames == 0 {
                self.send_late(id, effects);
            }
        }
    }

    fn uncork(&mut self, to: ConnectionId, effects: &mut VecDeque<Effect>) {
        if self.cork.take().is_some() {
            effects.push_back(Effect::Cork { to, on: false });
        }
    }

    fn send_late(&mut self, to: ConnectionId, effects: &mut VecDeque<Effect>) {
        let late = self.late.take().into_iter();
        for message in late.flat_map(|(_, messages)| messages) {
            effects.push_back(Effect::Send { to, message });
            self.sent(to, effects);
        }
    }
}

impl Exchange {
    /// A client has connected: what becomes of it.
    pub(in crate::sim) fn arrived(&mut self, at: Moment) -> Reception {
        let waiting = &mut self.waiting;
        if waiting.refuse_until.is_some_and(|until| at.now < until) {
            Reception::Reset
        } else if mem::take(&mut waiting.stall_upgrade) {
            Reception::Stall
        } else if let Some((status, retry_after)) = waiting.answer.take() {
            Reception::Answer {
                status,
                retry_after,
            }
        } else {
            Reception::Upgrade
        }
    }

    /// Sends what was held back for long enough.
    pub(super) fn let_go(&mut self, at: Moment) {
        for (id, connection) in &mut self.connections {
            let mischief = &mut connection.mischief;
            let is_due = |held: &Held| held.until <= at.now;
            if mischief.cork.as_ref().is_some_and(is_due) {
                mischief.uncork(*id, &mut self.effects);
            }
            if mischief.late.as_ref().is_some_and(|(held, _)| is_due(held)) {
                if self.mute || connection.mute {
                    mischief.late = None;
                } else {
                    mischief.send_late(*id, &mut self.effects);
                }
            }
        }
    }

    /// Sends the reply to a request.
    pub(super) fn acknowledge(&mut self, at: Moment, id: ConnectionId, reply: Message) {
        if self.is_mute(id) {
            return;
        }
        let fault = self.waiting.acknowledgment.take();
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        if let Some((_, late)) = &mut connection.mischief.late {
            // Replies keep their order.
            late.push(reply);
            return;
        }
        match fault {
            None => self.send_message(id, reply),
            Some(Acknowledgment::Twice) => {
                self.send_message(id, reply.clone());
                self.send_message(id, reply);
            }
            Some(Acknowledgment::Late) => {
                let held = Held {
                    frames: LATE_FRAMES,
                    until: clock::after(at.now, LATE),
                };
                connection.mischief.late = Some((held, vec![reply]));
            }
        }
    }

    pub(super) fn play_faults(&mut self, at: Moment) {
        for position in 0..self.faults.len() {
            let fault = &mut self.faults[position];
            if fault.due > at.now {
                continue;
            }
            fault.due = clock::after(at.now, jitter(fault.every, &mut self.chance));
            let kind = fault.kind;
            self.strike(at, kind);
        }
    }

    /// Injects a fault, where there is anything for it to hit.
    pub(super) fn strike(&mut self, at: Moment, kind: FaultKind) {
        if !self.lie_in_wait(at, kind) {
            let victims: Vec<_> = self.live().filter(|id| !self.is_mute(*id)).collect();
            if victims.is_empty() {
                return;
            }
            let pick = self.chance.below(victims.len() as u64) as usize;
            self.inject(at, kind, victims[pick]);
        }
        self.stats.faults_injected += 1;
    }

    /// Notes a fault of those that wait. Says whether it is one.
    fn lie_in_wait(&mut self, at: Moment, kind: FaultKind) -> bool {
        let waiting = &mut self.waiting;
        match kind {
            FaultKind::StallWelcome => waiting.stall_welcome = true,
            FaultKind::StallUpgrade => waiting.stall_upgrade = true,
            FaultKind::Expired => waiting.expired = true,
            FaultKind::DuplicateAck => waiting.acknowledgment = Some(Acknowledgment::Twice),
            FaultKind::LateAck => waiting.acknowledgment = Some(Acknowledgment::Late),
            FaultKind::NilLists => waiting.reply = Some(Oddity::Nil),
            FaultKind::ShortReply => waiting.reply = Some(Oddity::Short),
            FaultKind::Http {
                status,
                retry_after,
            } => waiting.answer = Some((status, retry_after)),
            FaultKind::Refuse(time) => waiting.refuse_until = Some(clock::after(at.now, time)),
            _ => return false,
        }
        true
    }

    fn inject(&mut self, at: Moment, kind: FaultKind, to: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&to) else {
            return;
        };
        let codec = connection.codec;
        if connection.path.market == Market::Orders
            && let Some(odd) = orders::odd(kind)
        {
            let odd = self.trading_message(to, odd);
            return self.send_message(to, odd);
        }
        match kind {
            FaultKind::Cut => {
                self.end(at, to, End::Abrupt);
                self.effects.push_back(Effect::Cut { to, why: "cut" });
            }
            FaultKind::Reset => {
                self.end(at, to, End::Abrupt);
                self.effects.push_back(Effect::Reset { to });
            }
            FaultKind::Close(code) => {
                self.end(at, to, End::Clean);
                self.effects.push_back(Effect::Close {
                    to,
                    code,
                    why: "closed by the fault script",
                });
            }
            FaultKind::HalfOpen => self.break_off(at, to, Breakage::HalfOpen),
            FaultKind::ResetMidFrame => self.break_off(at, to, Breakage::MidFrame),
            FaultKind::Oversized => self.break_off(at, to, Breakage::Oversized),
            FaultKind::SlowClient => self.dismiss(at, to),
            FaultKind::Unknown => connection.frame.push_odd(frame::unknown(codec)),
            FaultKind::Null => {
                let symbol = connection.subscriptions.values().flatten();
                let symbol = symbol.into_iter().find(|symbol| symbol.as_str() != "*");
                let symbol = symbol.cloned().unwrap_or_else(|| Symbol::from("AAPL"));
                let item = frame::priceless(symbol, at.utc, codec);
                connection.frame.push_odd(item);
            }
            FaultKind::Garbage => self.send_message(to, message(frame::garbage(codec), codec)),
            FaultKind::Truncated => {
                self.send_message(to, message(frame::truncated(at.utc, codec), codec));
            }
            FaultKind::Mute => connection.mute = true,
            FaultKind::MuteData => connection.mischief.mute_for_data = true,
            FaultKind::Dribble => self.effects.push_back(Effect::Slice {
                to,
                pieces: Pieces::Dribble { bytes: DRIBBLED },
            }),
            FaultKind::Split => {
                let seed = self.chance.below(u64::MAX);
                self.effects.push_back(Effect::Slice {
                    to,
                    pieces: Pieces::Split { bytes: SPLIT, seed },
                });
            }
            FaultKind::Coalesce => {
                connection.mischief.cork = Some(Held {
                    frames: COALESCED_FRAMES,
                    until: clock::after(at.now, COALESCED),
                });
                self.effects.push_back(Effect::Cork { to, on: true });
            }
            // They wait, and are dealt with there.
            FaultKind::StallWelcome
            | FaultKind::StallUpgrade
            | FaultKind::Expired
            | FaultKind::DuplicateAck
            | FaultKind::LateAck
            | FaultKind::NilLists
            | FaultKind::ShortReply
            | FaultKind::Http { .. }
            | FaultKind::Refuse(_) => {}
        }
    }

    fn break_off(&mut self, at: Moment, to: ConnectionId, how: Breakage) {
        self.end(at, to, End::Abrupt);
        self.effects.push_back(Effect::Break { to, how });
    }
}

/// A period, give or take a fifth.
fn jitter(period: Duration, chance: &mut Random) -> Duration {
    clock::times(period, (800 + chance.below(401)) as f64 / 1000.0)
}

/// Bytes.
const DRIBBLED: usize = 256;
const SPLIT: usize = 4 << 10;

const COALESCED_FRAMES: usize = 4;
const COALESCED: Duration = Duration::from_millis(20);

const LATE_FRAMES: usize = 3;
const LATE: Duration = Duration::from_millis(50);
