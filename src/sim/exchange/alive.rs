//! Pings, and who shows no sign of life.

use std::time::{Duration, Instant};

use super::{Connection, ConnectionId, Effect, End, Exchange, Moment, State};
use crate::clock;

/// When a client was last heard, and when to ask it.
#[derive(Debug)]
pub(super) struct Alive {
    heard: Instant,
    ping_at: Option<Instant>,
}

impl Alive {
    pub(super) fn new(now: Instant, interval: Option<Duration>) -> Self {
        Self {
            heard: now,
            ping_at: interval.map(|interval| clock::after(now, interval)),
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }
}

impl Exchange {
    /// Pings those whose turn it is, and drops those that have not been heard for too long.
    pub(super) fn ping(&mut self, at: Moment) {
        let Some(interval) = self.config.ping_interval else {
            return;
        };
        let due: Vec<_> = self
            .connections
            .iter()
            .filter(|(id, connection)| {
                self.alive_until(**id, connection)
                    .is_some_and(|due| due <= at.now)
            })
            .map(|(id, _)| *id)
            .collect();
        for to in due {
            let Some(connection) = self.connections.get_mut(&to) else {
                continue;
            };
            if at.now.saturating_duration_since(connection.alive.heard) >= self.config.pong_timeout
            {
                self.end(at, to, End::Abrupt);
                let why = "showed no sign of life";
                self.effects.push_back(Effect::Cut { to, why });
            } else {
                connection.alive.ping_at = Some(clock::after(at.now, interval));
                self.effects.push_back(Effect::Ping { to });
            }
        }
    }

    /// When a connection has to be pinged or dropped. Nobody expects anything of whom nobody hears.
    pub(super) fn alive_until(&self, id: ConnectionId, connection: &Connection) -> Option<Instant> {
        if self.is_mute(id) || connection.state == State::Over {
            return None;
        }
        let dead_at = clock::after(connection.alive.heard, self.config.pong_timeout);
        connection.alive.ping_at.map(|ping_at| ping_at.min(dead_at))
    }
}
