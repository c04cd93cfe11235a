//! The receiving half of permessage-deflate (RFC 7692), below the WebSocket library, which knows no extension.
//!
//! ```text
//!  socket ▶ TLS ▶ Inflater ▶ mask ▶ tungstenite
//! ```
//! It reads the frames of the server. Control frames, and messages that are not compressed, pass as they came. The fragments
//! of a compressed message are inflated as they come, and the message is handed on as one plain frame once it is whole;
//! control frames between its fragments pass at once. The mask stands above, because it cannot find a secret in compressed
//! bytes.
//!
//! Nothing that is sent is compressed: RFC 7692 lets each message be sent as it is (section 6). So the length of a log-in
//! never depends on what is in it, which is how compression gives secrets away.
//!
//! What breaks RFC 6455 passes as it came, and the WebSocket library refuses it: reserved bits that mean nothing, masked
//! frames, unknown opcodes.

mod agreement;

use std::{error::Error, fmt, io, mem};

use miniz_oxide::inflate::{
    TINFLStatus as Status,
    core::{DecompressorOxide, decompress, inflate_flags::TINFL_FLAG_HAS_MORE_INPUT},
};
use zeroize::Zeroizing;

pub(super) use self::agreement::{Agreement, OFFER, agreement};

/// Where the bytes come from, and what one turn may still do with them.
pub(super) trait Input {
    fn fetch(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Inflated bytes count as if they had been read: a peer decides how many a read makes.
    ///
    /// # Errors
    /// "Would block" once the turn has read all that it may.
    fn spend(&mut self, bytes: usize) -> io::Result<()>;
}

pub(super) struct Inflater {
    part: Part,
    /// What was read is in its first `filled` bytes, and was looked at before `at`.
    fresh: Zeroizing<Vec<u8>>,
    filled: usize,
    at: usize,
    /// What is to be handed on, of which everything before `handed` was.
    ready: Zeroizing<Vec<u8>>,
    handed: usize,
    /// The compressed message that is being read.
    message: Option<Unfinished>,
    /// What it came to so far, behind room for a header.
    inflated: Zeroizing<Vec<u8>>,
    /// The largest message, in bytes, both as it comes and inflated.
    limit: usize,
    decompressor: Box<DecompressorOxide>,
    /// The last 32 KiB that were inflated: a ring, whose next byte stands at `end`. Wiped with the connection.
    window: Zeroizing<Vec<u8>>,
    end: usize,
    keeps_window: bool,
}

/// Of what the next byte is a part.
#[derive(Clone, Copy)]
enum Part {
    /// In the response to the upgrade. Nothing behind its end is handed on before it is known what was agreed upon.
    Upgrade { at_line_start: bool },
    /// In the header of a frame, of which so many bytes were read.
    Header { bytes: [u8; 10], len: usize },
    /// In a payload that passes.
    Plain { left: u64 },
    /// In a payload that is compressed.
    Compressed { left: u64, is_last: bool },
    /// Behind a compressed message: in [`TAIL`].
    Tail { at: usize },
    /// Everything passes from here on.
    Rest,
}

struct Unfinished {
    opcode: u8,
    /// Bytes as they came.
    compressed: u64,
}

impl Inflater {
    /// Waits for the end of the upgrade.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            part: Part::Upgrade {
                at_line_start: false,
            },
            fresh: Zeroizing::new(vec![0; READ]),
            filled: 0,
            at: 0,
            ready: Zeroizing::default(),
            handed: 0,
            message: None,
            inflated: Zeroizing::default(),
            limit,
            decompressor: Box::default(),
            window: Zeroizing::new(vec![0; WINDOW]),
            end: 0,
            keeps_window: true,
        }
    }

    /// The upgrade is over. Without an agreement everything passes.
    pub(super) fn begin(&mut self, agreement: Option<Agreement>) {
        self.part = match agreement {
            Some(agreement) => {
                self.keeps_window = agreement.keeps_window;
                Part::BETWEEN
            }
            None => Part::Rest,
        };
    }

    /// Whether it has nothing more to do.
    pub(super) fn is_done(&self) -> bool {
        matches!(self.part, Part::Rest) && self.at == self.filled && self.ready.is_empty()
    }

    /// Reads what the layer above is to see.
    pub(super) fn read(&mut self, buffer: &mut [u8], input: &mut impl Input) -> io::Result<usize> {
        loop {
            if !self.ready.is_empty() {
                return Ok(self.hand_on(buffer));
            }
            if let Part::Tail { at } = self.part {
                self.finish(at, input)?;
                continue;
            }
            if self.at == self.filled {
                (self.at, self.filled) = (0, 0);
                self.filled = input.fetch(&mut self.fresh)?;
                if self.filled == 0 {
                    return Ok(0);
                }
            }
            let fresh = &self.fresh[self.at..self.filled];
            match &mut self.part {
                Part::Upgrade { at_line_start } => {
                    let mut passed = 0;
                    let mut is_over = false;
                    while passed < fresh.len().min(buffer.len()) && !is_over {
                        let byte = fresh[passed];
                        is_over = byte == b'\n' && *at_line_start;
                        *at_line_start = byte == b'\n' || (byte == b'\r' && *at_line_start);
                        passed += 1;
                    }
                    return Ok(self.pass(buffer, passed));
                }
                Part::Header { bytes, len } => {
                    bytes[*len] = fresh[0];
                    *len += 1;
                    let (bytes, len) = (*bytes, *len);
                    self.at += 1;
                    if len == header_len(bytes) {
                        self.enter(bytes, len)?;
                    }
                }
                Part::Plain { left } => {
                    let here = fresh.len().min(buffer.len());
                    let here = usize::try_from(*left).map_or(here, |left| here.min(left));
                    *left -= here as u64;
                    if *left == 0 {
                        self.part = Part::BETWEEN;
                    }
                    return Ok(self.pass(buffer, here));
                }
                Part::Compressed { left, is_last } => {
                    let here = usize::try_from(*left).map_or(fresh.len(), |l| l.min(fresh.len()));
                    let (left, is_last) = (*left, *is_last);
                    let bytes = mem::take(&mut *self.fresh);
                    let done = self.inflate(&bytes[self.at..self.at + here]);
                    *self.fresh = bytes;
                    let Progress { read, written, .. } = done?;
                    self.at += read;
                    self.part = Part::in_compressed(left - read as u64, is_last);
                    input.spend(written)?;
                }
                Part::Rest => {
                    let here = fresh.len().min(buffer.len());
                    return Ok(self.pass(buffer, here));
                }
                Part::Tail { .. } => {}
            }
        }
    }

    fn pass(&mut self, buffer: &mut [u8], count: usize) -> usize {
        buffer[..count].copy_from_slice(&self.fresh[self.at..self.at + count]);
        self.at += count;
        count
    }

    fn hand_on(&mut self, buffer: &mut [u8]) -> usize {
        let rest = &self.ready[self.handed..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.handed += count;
        if self.handed == self.ready.len() {
            self.handed = 0;
            if self.ready.capacity() > KEPT {
                self.ready = Zeroizing::default();
            }
            self.ready.clear();
        }
        count
    }

    /// The header of a frame is whole.
    fn enter(&mut self, bytes: [u8; 10], len: usize) -> Result<(), Broken> {
        let [first, second, ..] = bytes;
        let length = match len {
            2 => u64::from(second & 0x7f),
            _ => bytes[2..len]
                .iter()
                .fold(0, |length, byte| (length << 8) | u64::from(*byte)),
        };
        let (is_last, reserved, opcode) = (first & FIN != 0, first & RESERVED, first & 0x0f);
        let is_masked = second & 0x80 != 0;
        match (&mut self.message, opcode) {
            _ if is_masked => {}
            (Some(message), 0) if reserved == 0 => {
                message.compressed = message.compressed.saturating_add(length);
                return self.enter_compressed(length, is_last);
            }
            (Some(_), 1 | 2) => return Err(Broken::Interleaved),
            (None, 1 | 2) if reserved == RSV1 => {
                self.message = Some(Unfinished {
                    opcode,
                    compressed: length,
                });
                self.inflated.clear();
                self.inflated.extend([0; HEADROOM]);
                return self.enter_compressed(length, is_last);
            }
            _ => {}
        }
        self.ready.extend_from_slice(&bytes[..len]);
        self.part = match length {
            _ if is_masked => Part::Rest,
            0 => Part::BETWEEN,
            left => Part::Plain { left },
        };
        Ok(())
    }

    fn enter_compressed(&mut self, length: u64, is_last: bool) -> Result<(), Broken> {
        // What cannot be made smaller grows by less than this.
        let most = self.limit.saturating_add(self.limit / 64 + 64);
        if let Some(message) = &self.message
            && message.compressed > most as u64
        {
            return Err(Broken::TooLarge(self.limit));
        }
        self.part = Part::in_compressed(length, is_last);
        Ok(())
    }

    /// Goes on in what the sender left out.
    fn finish(&mut self, at: usize, input: &mut impl Input) -> io::Result<()> {
        let step = self.inflate(&TAIL[at..])?;
        let at = at + step.read;
        self.part = Part::Tail { at };
        if at == TAIL.len() && step.status != Status::HasMoreOutput {
            // The last block of the tail is one that ends a stream: anything else says that the message broke off.
            if step.status != Status::Done {
                return Err(Broken::Data.into());
            }
            self.part = Part::BETWEEN;
            self.complete();
        }
        input.spend(step.written)
    }

    /// Inflates up to the end of the window.
    fn inflate(&mut self, bytes: &[u8]) -> Result<Progress, Broken> {
        let (status, read, written) = decompress(
            &mut self.decompressor,
            bytes,
            &mut self.window,
            self.end,
            TINFL_FLAG_HAS_MORE_INPUT,
        );
        match status {
            Status::Done => self.decompressor.init(),
            Status::NeedsMoreInput | Status::HasMoreOutput => {}
            _ => return Err(Broken::Data),
        }
        if self.inflated.len() - HEADROOM + written > self.limit {
            return Err(Broken::TooLarge(self.limit));
        }
        reserve(&mut self.inflated, written);
        self.inflated
            .extend_from_slice(&self.window[self.end..self.end + written]);
        self.end = (self.end + written) % WINDOW;
        Ok(Progress {
            status,
            read,
            written,
        })
    }

    /// The message is whole: it becomes one plain frame.
    fn complete(&mut self) {
        let Some(message) = self.message.take() else {
            return;
        };
        let length = self.inflated.len() - HEADROOM;
        let mut header = [0; HEADROOM];
        header[2..].copy_from_slice(&(length as u64).to_be_bytes());
        let start = match length {
            0..=125 => {
                header[9] = length as u8;
                8
            }
            126..=0xffff => {
                header[7] = 126;
                6
            }
            _ => {
                header[1] = 127;
                0
            }
        };
        header[start] = FIN | message.opcode;
        self.inflated[..HEADROOM].copy_from_slice(&header);
        mem::swap(&mut self.ready, &mut self.inflated);
        self.handed = start;
        if !self.keeps_window {
            self.window.fill(0);
            self.end = 0;
        }
    }
}

impl Part {
    const BETWEEN: Self = Self::Header {
        bytes: [0; 10],
        len: 0,
    };

    fn in_compressed(left: u64, is_last: bool) -> Self {
        match left {
            0 if is_last => Self::Tail { at: 0 },
            0 => Self::BETWEEN,
            left => Self::Compressed { left, is_last },
        }
    }
}

/// What one call of the decompressor came to.
struct Progress {
    status: Status,
    read: usize,
    written: usize,
}

/// How long a header is, as far as its first two bytes are known.
fn header_len(bytes: [u8; 10]) -> usize {
    match bytes[1] & 0x7f {
        126 => 4,
        127 => 10,
        _ => 2,
    }
}

/// Makes room, and leaves no copy in what was outgrown.
fn reserve(bytes: &mut Zeroizing<Vec<u8>>, more: usize) {
    let needed = bytes.len() + more;
    if needed > bytes.capacity() {
        let mut grown = Zeroizing::new(Vec::with_capacity(needed.max(2 * bytes.capacity())));
        grown.extend_from_slice(bytes);
        *bytes = grown;
    }
}

/// How a server broke RFC 7692.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Broken {
    /// It is no deflate, or breaks off.
    Data,
    /// A message began between the fragments of a compressed one.
    Interleaved,
    TooLarge(usize),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Data => f.write_str("a compressed message cannot be inflated"),
            Self::Interleaved => {
                f.write_str("a message began between the fragments of a compressed one")
            }
            Self::TooLarge(limit) => {
                write!(f, "a compressed message is longer than {limit} bytes")
            }
        }
    }
}

impl Error for Broken {}

impl From<Broken> for io::Error {
    fn from(broken: Broken) -> Self {
        Self::new(io::ErrorKind::InvalidData, broken)
    }
}

const FIN: u8 = 0x80;
const RSV1: u8 = 0x40;
const RESERVED: u8 = 0x70;

/// The end of a block that a sender leaves out (RFC 7692, 7.2.2), and then an empty one that ends the stream: the
/// decompressor comes to this end only if the message was whole, and begins anew.
const TAIL: [u8; 9] = [0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff];

/// The longest header of a frame from a server.
const HEADROOM: usize = 10;

/// As far as deflate looks back (RFC 1951, 2). Whatever smaller window a server agrees to is in it.
const WINDOW: usize = 32 << 10;

/// How much is read at once. It bounds the work between two looks at the clock: blocks of no content cost 3 ms at most.
const READ: usize = 8 << 10;

/// A larger buffer is given back once it is empty.
const KEPT: usize = 256 << 10;

#[cfg(test)]
mod tests;
