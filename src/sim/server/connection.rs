//! One client's socket, from its arrival to its end.

use std::{
    collections::VecDeque,
    io::{self, Read as _},
    mem,
    net::{Shutdown, SocketAddr},
    sync::{Arc, OnceLock},
    time::Instant,
};

use mio::net::TcpStream;
use tungstenite::{
    Bytes, Error, HandshakeError, Message, WebSocket,
    handshake::{MidHandshake, server::ServerHandshake},
    protocol::{CloseFrame, WebSocketConfig, frame::coding::CloseCode},
};

#[cfg(feature = "compression")]
use super::deflate::Deflater;
use super::{LOST, upgrade::Route, would_block};
use crate::{
    sim::{
        exchange::{Arrival, Breakage},
        gate::Gate,
    },
    venue,
};

/// One client's socket.
pub(super) struct Connection {
    pub(super) stage: Stage,
    /// What the upgrade request says, once it was read.
    pub(super) arrival: Arc<OnceLock<Arrival>>,
    /// Where it may compress: set once the client has offered it.
    #[cfg(feature = "compression")]
    pub(super) offer: Option<Arc<OnceLock<()>>>,
    /// Where both do.
    #[cfg(feature = "compression")]
    pub(super) deflater: Option<Deflater>,
    pub(super) peer: SocketAddr,
    /// Messages read in another connection's turn.
    pub(super) backlog: VecDeque<Bytes>,
    pub(super) give_up: Option<Instant>,
    /// The HTTP status and `Retry-After` that its upgrade is answered with, whatever it asks for.
    pub(super) answer: Option<(u16, Option<u32>)>,
    /// How it is to break, once everything that was sent has left.
    pub(super) breakage: Option<Breakage>,
    /// How its end began.
    pub(super) why: Option<&'static str>,
}

pub(super) enum Stage {
    Arrived(Gate),
    Upgrading(Box<MidHandshake<ServerHandshake<Gate, Route>>>),
    Open(Box<WebSocket<Gate>>),
    /// Nothing more is read from it but its end; what is queued goes out, then our end of stream.
    Finishing(Box<WebSocket<Gate>>),
    /// Our end of stream is sent; the client's is awaited.
    Draining(Box<WebSocket<Gate>>),
    /// Nothing is written any more, and only the client's end is noticed.
    Deaf(Gate),
    Gone,
}

/// What one read found.
pub(super) enum Step {
    Blocked,
    Upgraded(Box<Arrival>),
    NotUpgraded(String),
    Message(Bytes),
    /// A ping, which was answered, or a pong.
    SignOfLife,
    /// The session is over, the socket is not.
    Farewell(&'static str),
    Gone(&'static str),
}

/// On whose behalf a connection is read.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Turn {
    Own,
    Others,
}

impl Connection {
    pub(super) fn step(&mut self, turn: Turn, mute: bool, config: &WebSocketConfig) -> Step {
        if turn == Turn::Own
            && let Some(message) = self.backlog.pop_front()
        {
            return Step::Message(message);
        }
        match mem::replace(&mut self.stage, Stage::Gone) {
            stage @ (Stage::Arrived(_) | Stage::Upgrading(_)) if mute => {
                self.stage = stage;
                Step::Blocked
            }
            Stage::Arrived(gate) => {
                let route = Route {
                    arrival: Arc::clone(&self.arrival),
                    answer: self.answer,
                    #[cfg(feature = "compression")]
                    offer: self.offer.clone(),
                };
                self.upgrade(tungstenite::accept_hdr_with_config(
                    gate,
                    route,
                    Some(*config),
                ))
            }
            Stage::Upgrading(handshake) => self.upgrade(handshake.handshake()),
            Stage::Open(socket) => self.read_message(socket, mute),
            Stage::Finishing(mut socket) => {
                let step = read_to_end(&mut socket.get_mut().stream);
                self.stage = Stage::Finishing(socket);
                step
            }
            Stage::Draining(mut socket) => {
                let step = read_to_end(&mut socket.get_mut().stream);
                self.stage = Stage::Draining(socket);
                step
            }
            Stage::Deaf(mut gate) => {
                let step = read_to_end(&mut gate.stream);
                self.stage = Stage::Deaf(gate);
                step
            }
            Stage::Gone => Step::Gone(LOST),
        }
    }

    fn upgrade(
        &mut self,
        result: Result<WebSocket<Gate>, HandshakeError<ServerHandshake<Gate, Route>>>,
    ) -> Step {
        match (result, self.arrival.get()) {
            (Ok(socket), Some(arrival)) => {
                #[cfg(feature = "compression")]
                if self
                    .offer
                    .as_ref()
                    .is_some_and(|offer| offer.get().is_some())
                {
                    self.deflater = Some(Deflater::new());
                }
                self.stage = Stage::Open(Box::new(socket));
                Step::Upgraded(Box::new(arrival.clone()))
            }
            // The callback names the path before it agrees, so this does not happen.
            (Ok(_), None) => Step::NotUpgraded("no path".to_owned()),
            (Err(HandshakeError::Interrupted(handshake)), _) => {
                self.stage = Stage::Upgrading(Box::new(handshake));
                Step::Blocked
            }
            (Err(HandshakeError::Failure(error)), _) => Step::NotUpgraded(error.to_string()),
        }
    }

    /// A message as it is sent to this client.
    pub(super) fn sent(&mut self, message: venue::Message) -> Message {
        #[cfg(feature = "compression")]
        if let Some(deflater) = &mut self.deflater {
            return deflater.message(&message);
        }
        match message {
            venue::Message::Text(text) => Message::text(text),
            venue::Message::Binary(bytes) => Message::binary(bytes),
        }
    }

    fn read_message(&mut self, mut socket: Box<WebSocket<Gate>>, mute: bool) -> Step {
        socket.get_mut().mute = mute;
        let (code, why) = match socket.read() {
            Ok(message @ (Message::Text(_) | Message::Binary(_))) => {
                self.stage = Stage::Open(socket);
                return Step::Message(message.into_data());
            }
            // The answer to it is queued, and leaves with the next read or flush.
            Ok(Message::Close(_)) => {
                self.stage = Stage::Open(socket);
                return Step::Farewell("closed by the client");
            }
            Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_)) => {
                self.stage = Stage::Open(socket);
                return Step::SignOfLife;
            }
            Err(error) if would_block(&error) => {
                self.stage = Stage::Open(socket);
                return Step::Blocked;
            }
            Err(Error::ConnectionClosed | Error::AlreadyClosed) => {
                self.stage = Stage::Open(socket);
                self.shut();
                return Step::Farewell("closed");
            }
            Err(Error::Io(_)) => return Step::Gone(LOST),
            Err(Error::Protocol(
                tungstenite::error::ProtocolError::ResetWithoutClosingHandshake,
            )) => return Step::Gone("ended by the client without a close frame"),
            Err(Error::Capacity(_)) => (CloseCode::Size, "the client's message is too big"),
            Err(Error::Utf8(_)) => (CloseCode::Invalid, "the client's text is not UTF-8"),
            Err(_) => (
                CloseCode::Protocol,
                "the client broke the WebSocket protocol",
            ),
        };
        // What cannot be written now leaves with the flush.
        let _ = socket.close(Some(CloseFrame {
            code,
            reason: "".into(),
        }));
        self.stage = Stage::Finishing(socket);
        Step::Farewell(why)
    }

    pub(super) fn is_upgrading(&self) -> bool {
        matches!(self.stage, Stage::Arrived(_) | Stage::Upgrading(_))
    }

    pub(super) fn finish(&mut self) {
        match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Open(socket) => self.stage = Stage::Finishing(socket),
            other => self.stage = other,
        }
    }

    /// Sends our end of stream.
    pub(super) fn shut(&mut self) {
        match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Open(socket) | Stage::Finishing(socket) => {
                // It fails when the client is gone already, which the next read notices.
                let _ = socket.get_ref().stream.shutdown(Shutdown::Write);
                self.stage = Stage::Draining(socket);
            }
            other => self.stage = other,
        }
    }

    /// Neither hears nor says anything from here on.
    pub(super) fn deafen(&mut self) {
        match mem::replace(&mut self.stage, Stage::Gone) {
            Stage::Open(socket) | Stage::Finishing(socket) => {
                self.stage = Stage::Deaf(socket.into_inner());
            }
            other => self.stage = other,
        }
    }

    pub(super) fn gate(&mut self) -> Option<&mut Gate> {
        match &mut self.stage {
            Stage::Open(socket) | Stage::Finishing(socket) | Stage::Draining(socket) => {
                Some(socket.get_mut())
            }
            Stage::Deaf(gate) => Some(gate),
            Stage::Arrived(_) | Stage::Upgrading(_) | Stage::Gone => None,
        }
    }
}

fn read_to_end(stream: &mut TcpStream) -> Step {
    let mut discarded = [0; 4096];
    loop {
        match stream.read(&mut discarded) {
            Ok(0) => return Step::Gone("ended"),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Step::Blocked,
            Err(_) => return Step::Gone(LOST),
        }
    }
}
