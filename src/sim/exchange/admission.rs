//! Who may come in: right credentials, a plan that has the feed, and a free slot.
//!
//! A slot is taken by a `Live` connection. It is free at once when that ends in good order, and after
//! [`SimConfig::reap_after`](super::SimConfig::reap_after) when it does not. Sockets that are `Over` and not gone are
//! counted apart, to catch a client that connects before its last socket is closed.

use std::{mem, time::Instant};

use super::{
    Connection, ConnectionId, Effect, End, Exchange, Login, Moment, State,
    refusal::{AUTH_FAILED, AUTH_TIMEOUT, CONNECTION_LIMIT, MSGPACK_ONLY, NOT_IN_PLAN},
};
use crate::{
    alpaca::wire::{
        orders,
        server::{self, ClientMessage},
    },
    clock,
    credentials::Credentials,
    sim::{
        Accept, SimEvent,
        path::{Market, Path},
    },
};

/// What stays of a connection that ended without a close handshake.
#[derive(Debug)]
pub(super) struct Ghost {
    pub(super) path: Path,
    pub(super) account: String,
    pub(super) reaped_at: Instant,
}

impl Exchange {
    /// The connections whose end would make room for `id`, should `message` be an authentication.
    pub(in crate::sim) fn rivals(&self, id: ConnectionId, message: &[u8]) -> Vec<ConnectionId> {
        let Some(newcomer) = self.connections.get(&id).filter(|_| self.is_newcomer(id)) else {
            return Vec::new();
        };
        let login = if newcomer.path.market == Market::Orders {
            match orders::server::ClientMessage::decode(message, newcomer.codec) {
                Some(orders::server::ClientMessage::Login { key, secret }) => Login { key, secret },
                _ => return Vec::new(),
            }
        } else {
            match ClientMessage::decode(message, newcomer.codec) {
                Some(ClientMessage::Auth { key, secret }) => Login { key, secret },
                _ => return Vec::new(),
            }
        };
        self.rivals_at(newcomer.path, &login, id)
    }

    /// The same for credentials that came with the upgrade.
    pub(in crate::sim) fn rivals_at(
        &self,
        path: Path,
        login: &Login,
        id: ConnectionId,
    ) -> Vec<ConnectionId> {
        let Ok(credentials) = Credentials::new(&login.key, &login.secret) else {
            return Vec::new();
        };
        self.of_account(path, &account(login, &credentials))
            .filter(|(rival, _)| **rival != id)
            .map(|(rival, _)| *rival)
            .collect()
    }

    /// Whether a connection is to authenticate yet.
    pub(in crate::sim) fn is_newcomer(&self, id: ConnectionId) -> bool {
        self.connections
            .get(&id)
            .is_some_and(|connection| matches!(connection.state, State::Greeted { .. }))
    }

    pub(super) fn log_in(&mut self, at: Moment, id: ConnectionId, login: Login) {
        let Some(connection) = self.connections.get(&id) else {
            return;
        };
        let (path, codec) = (connection.path, connection.codec);
        if !path.speaks(codec) {
            return self.refuse(id, MSGPACK_ONLY);
        }
        let accepted = Credentials::new(&login.key, &login.secret)
            .ok()
            .filter(|credentials| match &self.config.accept {
                Accept::Any => true,
                Accept::Only(only) => only.fingerprint() == credentials.fingerprint(),
            });
        let expired = mem::take(&mut self.waiting.expired);
        let Some(credentials) = accepted.filter(|_| !expired) else {
            self.stats.auth_failures += 1;
            return self.refuse(id, AUTH_FAILED);
        };
        if self.config.not_in_plan.iter().any(|out| out == path.name) {
            return self.refuse(id, NOT_IN_PLAN);
        }
        let account = account(&login, &credentials);
        drop(login);
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.account = Some(account.clone());
        }
        let same: Vec<_> = self
            .of_account(path, &account)
            .map(|(_, connection)| connection.state)
            .collect();
        // This one is among them: it bears the key now.
        self.stats.most_open_per_key = self.stats.most_open_per_key.max(same.len());
        let live = same.iter().filter(|state| **state == State::Live);
        self.ghosts.retain(|ghost| ghost.reaped_at > at.now);
        let ghosts = self
            .ghosts
            .iter()
            .filter(|ghost| ghost.path == path && ghost.account == account);
        let is_free = live.count() + ghosts.count() < self.config.connection_limit;
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.state = if is_free {
                State::Live
            } else {
                // Official clients try again on the same socket, so the deadline starts anew.
                State::Greeted {
                    auth_by: clock::after(at.now, self.config.auth_timeout),
                }
            };
        }
        if !is_free {
            self.stats.limit_errors += 1;
            return self.refuse(id, CONNECTION_LIMIT);
        }
        self.effects
            .push_back(Effect::Report(SimEvent::Authenticated {
                connection: id,
                fingerprint: credentials.fingerprint(),
            }));
        if path.market == Market::Orders {
            let answer = orders::server::authorization("authorized", "authenticate");
            let answer = self.trading_message(id, &answer);
            return self.send_message(id, answer);
        }
        self.send(id, server::success("authenticated", codec));
    }

    /// Ends those who have not authenticated in time.
    pub(super) fn turn_away_the_late(&mut self, at: Moment) {
        let late: Vec<_> = self
            .connections
            .iter()
            .filter(|(id, connection)| {
                matches!(connection.state, State::Greeted { auth_by } if auth_by <= at.now)
                    && !self.is_mute(**id)
            })
            .map(|(id, _)| *id)
            .collect();
        for id in late {
            self.refuse(id, AUTH_TIMEOUT);
            self.end(at, id, End::Clean);
            self.effects.push_back(Effect::Close {
                to: id,
                code: 1008,
                why: "authentication timed out",
            });
        }
    }

    fn of_account(
        &self,
        path: Path,
        account: &str,
    ) -> impl Iterator<Item = (&ConnectionId, &Connection)> {
        self.connections.iter().filter(move |(_, connection)| {
            connection.path == path && connection.account.as_deref() == Some(account)
        })
    }
}

/// Whose connections count together: a key's, or, since every token comes as the secret of the same key, a token's.
fn account(login: &Login, credentials: &Credentials) -> String {
    if login.key == "oauth" {
        format!("oauth {}", credentials.fingerprint())
    } else {
        login.key.clone()
    }
}
