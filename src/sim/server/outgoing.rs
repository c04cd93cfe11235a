//! What goes to clients: what the exchange wants is done here, as far as their sockets take it.

use std::io::Write as _;

use tungstenite::{
    Bytes, Error, Message,
    protocol::{CloseFrame, frame::coding::CloseCode},
};

use super::{
    LINGER, LOST, Server,
    connection::{Connection, Stage},
    reset, would_block,
};
use crate::{
    clock,
    sim::exchange::{Breakage, ConnectionId, Effect},
};

impl Server {
    /// Does what the exchange wants.
    pub(super) fn carry_out(&mut self) {
        while let Some(effect) = self.exchange.next_effect() {
            match effect {
                Effect::Send { to, message } => {
                    if let Some(connection) = self.connections.get_mut(&to) {
                        let message = connection.sent(message);
                        self.send(to, message);
                    }
                }
                Effect::Ping { to } => self.send(to, Message::Ping(Bytes::new())),
                Effect::Close { to, code, why } => {
                    if let Some(connection) = self.ending(to, why)
                        && let Stage::Open(socket) = &mut connection.stage
                    {
                        let farewell = CloseFrame {
                            code: CloseCode::from(code),
                            reason: "".into(),
                        };
                        // Where there is no room even for this, the client is not told.
                        if let Err(Error::WriteBufferFull(_)) = socket.close(Some(farewell)) {
                            connection.finish();
                        }
                    }
                    self.unflushed.insert(to);
                }
                Effect::Cut { to, why } => {
                    if let Some(connection) = self.ending(to, why) {
                        connection.shut();
                    }
                    self.woken.insert(to);
                }
                Effect::Dismiss { to, message } => {
                    if let Some(connection) = self.ending(to, "too slow") {
                        connection.finish();
                        let message = connection.sent(message);
                        if let Stage::Finishing(socket) = &mut connection.stage {
                            let room = message.len() + 16;
                            socket.set_config(|config| config.max_write_buffer_size += room);
                            // Best effort: if it cannot be written now, flushing will try until the client is given up.
                            let _ = socket.write(message);
                        }
                    }
                    self.unflushed.insert(to);
                }
                Effect::Reset { to } => {
                    self.reset(to, "reset");
                }
                Effect::Break { to, how } => {
                    if let Some(connection) = self.ending(to, "broken by the fault script") {
                        connection.finish();
                        connection.breakage = Some(how);
                    }
                    self.unflushed.insert(to);
                }
                Effect::Slice { to, pieces } => {
                    if let Some(gate) = self.connections.get_mut(&to).and_then(Connection::gate) {
                        gate.cut(pieces);
                    }
                }
                Effect::Cork { to, on } => {
                    if let Some(gate) = self.connections.get_mut(&to).and_then(Connection::gate) {
                        gate.corked = on;
                    }
                    self.unflushed.insert(to);
                }
                Effect::Report(event) => self.report(event),
            }
        }
    }

    fn send(&mut self, to: ConnectionId, message: Message) {
        let Some(connection) = self.connections.get_mut(&to) else {
            return;
        };
        let Stage::Open(socket) = &mut connection.stage else {
            return;
        };
        socket.get_mut().mute = false;
        match socket.write(message) {
            Ok(()) => {}
            Err(error) if would_block(&error) => {}
            Err(Error::WriteBufferFull(_)) => {
                // Nothing that was meant to follow may slip in behind the hole.
                connection.finish();
                self.exchange.too_slow(self.at, to);
            }
            // Reading finds out how it ended.
            Err(_) => {
                self.woken.insert(to);
            }
        }
        self.unflushed.insert(to);
    }

    pub(super) fn flush(&mut self, id: ConnectionId) {
        let mute = self.exchange.is_mute(id);
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let is_open = matches!(connection.stage, Stage::Open(_));
        let (Stage::Open(socket) | Stage::Finishing(socket)) = &mut connection.stage else {
            return;
        };
        socket.get_mut().mute = mute;
        match socket.flush() {
            Ok(()) if is_open => {}
            Ok(()) if connection.breakage.is_some() => self.break_off(id),
            Err(error) if would_block(&error) => {
                if socket.get_ref().waits_for_a_turn() {
                    self.in_pieces.insert(id);
                }
            }
            Ok(()) | Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                connection.shut();
                connection
                    .give_up
                    .get_or_insert_with(|| clock::after(self.at.now, LINGER));
                self.woken.insert(id);
            }
            Err(_) => self.lose(id, LOST),
        }
    }

    /// Everything that was sent has left: now it breaks.
    fn break_off(&mut self, id: ConnectionId) {
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let Some(how) = connection.breakage.take() else {
            return;
        };
        if let Some(gate) = connection.gate() {
            let last: &[u8] = match how {
                Breakage::MidFrame => &HALF_A_FRAME,
                Breakage::Oversized => &GIANT_HEADER,
                Breakage::HalfOpen => &[],
            };
            // Where not even this fits, it breaks without.
            let _ = gate.write(last);
        }
        if how == Breakage::MidFrame {
            self.reset(id, "reset in the middle of a frame");
        } else {
            connection.deafen();
            // The client is the one to end it.
            connection.give_up = None;
            self.woken.insert(id);
        }
    }

    fn reset(&mut self, id: ConnectionId, why: &'static str) {
        if let Some(gate) = self.connections.get_mut(&id).and_then(Connection::gate) {
            reset(&gate.stream);
        }
        self.lose(id, why);
    }

    /// A connection that is to end, with a bound on how long that takes.
    fn ending(&mut self, id: ConnectionId, why: &'static str) -> Option<&mut Connection> {
        let give_up = clock::after(self.at.now, LINGER);
        let mute = self.exchange.is_mute(id);
        let connection = self.connections.get_mut(&id)?;
        connection.why.get_or_insert(why);
        connection.give_up = Some(give_up);
        if let Stage::Open(socket) = &mut connection.stage {
            socket.get_mut().mute = mute;
            socket.get_mut().clear();
        }
        Some(connection)
    }
}

/// 256 bytes of text are announced.
const HALF_A_FRAME: [u8; 12] = *b"\x81\x7e\x01\x00[{\"T\":\"t";

/// 2^40 bytes of text are announced.
const GIANT_HEADER: [u8; 10] = [0x81, 0x7f, 0, 0, 1, 0, 0, 0, 0, 0];
