//! The byte stream under the WebSocket: TCP, with or without TLS.
//!
//! It stamps each read, inflates what the server compressed, masks secrets in what arrives until the connection is
//! authenticated or for as long as it is logged, and is where a secret frame goes out, below everything that would keep or
//! log a copy.

use std::{
    collections::VecDeque,
    io::{self, Read, Write},
    net::Shutdown,
    sync::Arc,
    time::Instant,
};

use mio::net::TcpStream;
use zeroize::Zeroizing;

#[cfg(feature = "compression")]
use super::inflate::{Agreement, Inflater, Input};
use super::{
    TURN,
    mask::{self, Mask},
};
use crate::{clock, credentials::Credentials, venue::SecretMessage};

pub(super) struct Wire {
    socket: Arc<TcpStream>,
    #[cfg(feature = "tls")]
    tls: Option<Box<rustls::ClientConnection>>,
    /// What broke in a record of the peer's.
    #[cfg(feature = "tls")]
    tls_error: Option<rustls::Error>,
    /// Where compression was offered.
    #[cfg(feature = "compression")]
    inflater: Option<Box<Inflater>>,
    mask: Option<Mask>,
    /// In order.
    secrets: VecDeque<Secret>,
    allowance: Allowance,
    /// When the last read that brought something returned.
    read_at: Instant,
    bytes_read: u64,
}

/// How much one turn may still read from the socket. The layers above read until they have something to hand on, and it
/// is the peer who decides when that is: records without plain text and messages of empty parts never come to anything.
/// So the socket says "not now" once this is spent, and deadlines and what callers want are looked at before it is read again.
///
/// Bytes do not say how much work they are: a mebibyte of empty parts is half a million frames. So time counts, too, which
/// is looked at with each read.
struct Allowance {
    reads: u32,
    bytes: usize,
    /// When the turn has read for long enough, from its first read on.
    until: Option<Instant>,
    is_over: bool,
}

impl Default for Allowance {
    fn default() -> Self {
        Self {
            reads: 256,
            bytes: 1 << 20,
            until: None,
            is_over: false,
        }
    }
}

impl Allowance {
    fn is_spent(&self) -> bool {
        self.reads == 0 || self.bytes == 0 || self.is_over
    }

    /// Looks at the clock.
    fn watch(&mut self) {
        let now = clock::now();
        let until = *self.until.get_or_insert_with(|| clock::after(now, TURN));
        self.is_over = until <= now;
    }
}

/// The socket, as far as the turn may read it.
struct Metered<'a>(&'a TcpStream, &'a mut Allowance);

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Self(socket, allowance) = self;
        allowance.watch();
        if allowance.is_spent() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let read = (&**socket).read(buffer)?;
        allowance.reads -= 1;
        allowance.bytes = allowance.bytes.saturating_sub(read);
        Ok(read)
    }
}

/// What TLS writes to. A socket's `write` sends, and is told not to raise SIGPIPE; its `write_vectored` cannot be told, and
/// a program that has that signal back at its default would die of a connection that was reset. So this has only the
/// first: `write_vectored` is the trait's own, which writes one buffer by `write`.
#[cfg(feature = "tls")]
struct Quiet<'a>(&'a TcpStream);

#[cfg(feature = "tls")]
impl Write for Quiet<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut socket = self.0;
        socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A frame on its way out, and how much of it is gone.
struct Secret {
    frame: Zeroizing<Vec<u8>>,
    sent: usize,
    has_begun: bool,
}

impl Wire {
    pub(super) fn new(socket: Arc<TcpStream>, secrets: &Credentials) -> Self {
        Self {
            socket,
            #[cfg(feature = "tls")]
            tls: None,
            #[cfg(feature = "tls")]
            tls_error: None,
            #[cfg(feature = "compression")]
            inflater: None,
            mask: (!secrets.is_none()).then(|| Mask::new(secrets)),
            secrets: VecDeque::new(),
            allowance: Allowance::default(),
            read_at: clock::now(),
            bytes_read: 0,
        }
    }

    #[cfg(feature = "tls")]
    pub(super) fn secure(&mut self, tls: rustls::ClientConnection) {
        self.tls = Some(Box::new(tls));
    }

    /// Goes on with the TLS handshake; says whether it is done. The secret frame goes out long after it: before its
    /// end, rustls would queue plain text.
    #[cfg(feature = "tls")]
    pub(super) fn handshake(&mut self) -> io::Result<bool> {
        let Some(tls) = self.tls.as_mut() else {
            return Ok(true);
        };
        loop {
            while tls.wants_write() {
                match tls.write_tls(&mut Quiet(&self.socket)) {
                    Ok(_) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Err(error),
                }
            }
            if !tls.is_handshaking() {
                return Ok(!tls.wants_write());
            }
            match tls.read_tls(&mut Metered(&self.socket, &mut self.allowance)) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
            if let Err(error) = tls.process_new_packets() {
                // The alert that says why is the peer's due, if it takes it.
                let _ = tls.write_tls(&mut Quiet(&self.socket));
                return Err(io::Error::new(io::ErrorKind::InvalidData, error));
            }
        }
    }

    /// Whether the server has answered in TLS.
    #[cfg(feature = "tls")]
    pub(super) fn speaks_tls(&self) -> bool {
        let tls = self.tls.as_ref();
        tls.is_some_and(|tls| tls.protocol_version().is_some())
    }

    /// Before the upgrade: compression is offered in it. No message may be larger than `limit` bytes.
    #[cfg(feature = "compression")]
    pub(super) fn offer_compression(&mut self, limit: usize) {
        self.inflater = Some(Box::new(Inflater::new(limit)));
    }

    /// The upgrade is over, and this is what was agreed upon.
    #[cfg(feature = "compression")]
    pub(super) fn begin_frames(&mut self, agreement: Option<Agreement>) {
        if let Some(inflater) = &mut self.inflater {
            inflater.begin(agreement);
        }
    }

    /// From here on the next turn may read as much again.
    pub(super) fn begin_turn(&mut self) {
        self.allowance = Allowance::default();
    }

    /// Whether this turn has read all that it may: more may be left in the socket then.
    pub(super) fn is_spent(&self) -> bool {
        self.allowance.is_spent()
    }

    pub(super) fn read_at(&self) -> Instant {
        self.read_at
    }

    pub(super) fn bytes_read(&self) -> u64 {
        self.bytes_read
    }

    /// Whether secrets are still looked for in what arrives.
    pub(super) fn is_masking(&self) -> bool {
        self.mask.as_ref().is_some_and(Mask::is_on)
    }

    /// From here on bytes are handed on as they come, if the WebSocket library does not log them. What is held back
    /// still comes first.
    pub(super) fn unmask(&mut self) {
        if let Some(mask) = &mut self.mask
            && !may_be_logged()
        {
            mask.take_off();
        }
    }

    /// Nothing is read any more: the share of the credentials goes, and so does a secret that waits. Says whether a part
    /// of one is gone already, so that nothing else can follow it.
    pub(super) fn forget_secrets(&mut self) -> bool {
        if self.is_masking() {
            self.mask = None;
        }
        self.secrets.drain(..).any(|secret| secret.has_begun)
    }

    /// Queues a frame that no layer above has seen. Nothing else may be on its way out above.
    pub(super) fn put_secret(&mut self, message: SecretMessage) -> io::Result<()> {
        let (bytes, text) = message.into_parts();
        self.secrets.push_back(Secret {
            sent: frame_start(&bytes),
            frame: masked(bytes, text)?,
            has_begun: false,
        });
        self.flush()
    }

    /// No more will be sent.
    pub(super) fn shut_down_writing(&mut self) {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.as_mut() {
            tls.send_close_notify();
            let _ = tls.write_tls(&mut Quiet(&self.socket));
        }
        // A socket that is gone already needs no shutting down.
        let _ = self.socket.shutdown(Shutdown::Write);
    }

    fn read_plain(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.as_mut() {
            loop {
                match tls.reader().read(buffer) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    other => return other,
                }
                // What was good before it was read first: a broken record takes nothing with it.
                if let Some(error) = &self.tls_error {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, error.clone()));
                }
                match tls.read_tls(&mut Metered(&self.socket, &mut self.allowance)) {
                    Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Ok(_) => {}
                    Err(error) => return Err(error),
                }
                if let Err(error) = tls.process_new_packets() {
                    self.tls_error = Some(error);
                }
                if tls.wants_write() {
                    // A key update, or an alert. What the socket does not take now goes with the next flush.
                    let _ = tls.write_tls(&mut Quiet(&self.socket));
                }
            }
        }
        Metered(&self.socket, &mut self.allowance).read(buffer)
    }

    /// Reads from the connection, and stamps what it brought.
    fn read_stamped(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.read_plain(buffer)?;
        self.read_at = clock::now();
        self.bytes_read += read as u64;
        Ok(read)
    }

    /// The same, inflated where it is compressed.
    fn read_inflated(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        #[cfg(feature = "compression")]
        if let Some(mut inflater) = self.inflater.take() {
            let read = inflater.read(buffer, self);
            self.inflater = (!inflater.is_done()).then_some(inflater);
            return read;
        }
        self.read_stamped(buffer)
    }

    /// Reads until the mask has something to hand on, or the stream has ended.
    fn fill(&mut self, mask: &mut Mask) -> io::Result<()> {
        while mask.is_on() && !mask.has_clear() {
            let mut fresh = Zeroizing::new([0; mask::READ]);
            let read = self.read_inflated(&mut fresh[..])?;
            mask.take_in(&fresh[..read])?;
            if read == 0 {
                break;
            }
        }
        Ok(())
    }

    fn write_plain(&mut self, bytes: &[u8]) -> io::Result<usize> {
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.as_mut() {
            // rustls takes what fits into its own buffer; first make room there.
            while tls.wants_write() {
                tls.write_tls(&mut Quiet(&self.socket))?;
            }
            return tls.writer().write(bytes);
        }
        (&*self.socket).write(bytes)
    }

    fn write_secrets(&mut self) -> io::Result<()> {
        while let Some(mut secret) = self.secrets.pop_front() {
            while secret.sent < secret.frame.len() {
                match self.write_plain(&secret.frame[secret.sent..]) {
                    Ok(sent) => {
                        secret.sent += sent;
                        secret.has_begun = true;
                    }
                    Err(error) => {
                        self.secrets.push_front(secret);
                        return Err(error);
                    }
                }
            }
        }
        Ok(())
    }
}

impl Read for Wire {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Some(mut mask) = self.mask.take() else {
            return self.read_inflated(buffer);
        };
        let filled = self.fill(&mut mask);
        let handed = mask.hand_on(buffer);
        // Taken off and drained, it has done its work.
        let spent = mask.is_spent();
        if !spent {
            self.mask = Some(mask);
        }
        match (filled, handed) {
            (Err(error), 0) => Err(error),
            (Ok(()), 0) if spent => self.read(buffer),
            (_, handed) => Ok(handed),
        }
    }
}

impl Write for Wire {
    /// While a secret frame is on its way, nothing else may get between its bytes.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_secrets()?;
        self.write_plain(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_secrets()?;
        #[cfg(feature = "tls")]
        if let Some(tls) = self.tls.as_mut() {
            while tls.wants_write() {
                tls.write_tls(&mut Quiet(&self.socket))?;
            }
        }
        Ok(())
    }
}

#[cfg(feature = "compression")]
impl Input for Wire {
    fn fetch(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_stamped(buffer)
    }

    fn spend(&mut self, bytes: usize) -> io::Result<()> {
        self.allowance.bytes = self.allowance.bytes.saturating_sub(bytes);
        if self.allowance.is_spent() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(())
    }
}

/// Whether the WebSocket library may log what it reads: messages and frames at TRACE, close frames at DEBUG.
fn may_be_logged() -> bool {
    log::log_enabled!(target: "tungstenite::protocol", log::Level::Debug)
        || log::log_enabled!(target: "tungstenite::protocol::frame", log::Level::Trace)
}

/// Where the frame starts in the buffer of a secret message: the header is written right before the payload.
fn frame_start(bytes: &[u8]) -> usize {
    SecretMessage::HEADROOM - header_len(bytes.len() - SecretMessage::HEADROOM)
}

fn header_len(payload: usize) -> usize {
    6 + match payload {
        0..=125 => 0,
        126..=0xffff => 2,
        _ => 8,
    }
}

/// Makes a client's frame of the payload, in place: header, mask, masked payload (RFC 6455, 5.2 and 5.3).
fn masked(mut bytes: Zeroizing<Vec<u8>>, text: bool) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut key = [0; 4];
    getrandom::fill(&mut key).map_err(|error| io::Error::other(error.to_string()))?;
    let payload = bytes.len() - SecretMessage::HEADROOM;
    let start = frame_start(&bytes);
    let (header, body) = bytes[start..].split_at_mut(header_len(payload));
    header[0] = 0x80 | if text { 1 } else { 2 };
    match payload {
        0..=125 => header[1] = 0x80 | payload as u8,
        126..=0xffff => {
            header[1] = 0x80 | 126;
            header[2..4].copy_from_slice(&(payload as u16).to_be_bytes());
        }
        _ => {
            header[1] = 0x80 | 127;
            header[2..10].copy_from_slice(&(payload as u64).to_be_bytes());
        }
    }
    let key_at = header.len() - 4;
    header[key_at..].copy_from_slice(&key);
    for (byte, key) in body.iter_mut().zip(key.into_iter().cycle()) {
        *byte ^= key;
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests;
