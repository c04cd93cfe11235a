//! Masks secrets in what arrives, before anything above can log them: until the connection is authenticated, a server
//! may repeat what it was sent, and one that is logged may do so at any time.
//!
//! What is masked is the text of a message, also where it is cut into fragments and a header stands in the middle of a
//! secret. Bytes are held back for as long as their end may be the beginning of a secret, but never the end of a whole
//! message. What comes behind them waits, too: of one message in fragments, the pings in between.
//!
//! A masked frame, which only clients may send, is refused, and nothing of it handed on: a secret in it stands next to the
//! key that unmasks it, and the layer above would log both before it refused them.

use std::{io, ops::Range};

use zeroize::Zeroizing;

use crate::credentials::Credentials;

pub(super) struct Mask {
    /// None once it was taken off.
    secrets: Credentials,
    held: Zeroizing<Vec<u8>>,
    /// How much of `held` is masked and may be handed on.
    clear: usize,
    frames: Frames,
    /// Where in `held` the text stands that is not clear yet: of the message, and of the frame that may stand between
    /// two of its fragments.
    texts: [Text; 2],
}

impl Mask {
    pub(super) fn new(secrets: &Credentials) -> Self {
        Self {
            secrets: secrets.clone(),
            // Never more than fits: it does not grow, and leaves no copy behind. What is kept back, what is read, and
            // as much again between two fragments.
            held: Zeroizing::new(Vec::with_capacity(secrets.longest_spelling() + 3 * READ)),
            clear: 0,
            frames: Frames::Upgrade {
                at: 0,
                switches: true,
                matched: 0,
            },
            texts: Default::default(),
        }
    }

    pub(super) fn is_on(&self) -> bool {
        !self.secrets.is_none()
    }

    /// From here on bytes are handed on as they come. What is held back still comes first.
    pub(super) fn take_off(&mut self) {
        self.clear = self.held.len();
        self.secrets = Credentials::none();
    }

    /// Taken off, and nothing is held back any more.
    pub(super) fn is_spent(&self) -> bool {
        !self.is_on() && self.held.is_empty()
    }

    pub(super) fn has_clear(&self) -> bool {
        self.clear > 0
    }

    /// Adds what arrived, masks it, and clears all but an end that may be the beginning of a secret. At the end of
    /// the stream everything is cleared.
    ///
    /// # Errors
    /// A frame that could hide a secret, or too much between two fragments that may hold one. Nothing of it is ever
    /// handed on.
    pub(super) fn take_in(&mut self, fresh: &[u8]) -> io::Result<()> {
        let refused = |why| io::Error::new(io::ErrorKind::InvalidData, why);
        let mut at = self.held.len();
        if at + fresh.len() > self.held.capacity() {
            return Err(refused("too much between the fragments of a message"));
        }
        self.held.extend_from_slice(fresh);
        let Self {
            secrets,
            held,
            frames,
            texts,
            ..
        } = self;
        let passed = frames.pass(fresh, |step| match step {
            Step::Header => at += 1,
            Step::Text(kind, len) => {
                texts[kind as usize].add(at..at + len);
                at += len;
            }
            Step::Ends(kind) => texts[kind as usize].end(secrets, held),
        });
        if passed.is_err() {
            return Err(refused("a masked frame from a server"));
        }
        for text in &mut *texts {
            if fresh.is_empty() {
                text.end(secrets, held);
            } else {
                text.mask(secrets, held, false);
            }
        }
        let begins = texts.iter().filter_map(Text::begins).min();
        self.clear = begins.unwrap_or(held.len());
        Ok(())
    }

    pub(super) fn hand_on(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.clear.min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        self.clear -= count;
        for text in &mut self.texts {
            text.move_back(count);
        }
        count
    }
}

/// Where a text stands that headers may cut into pieces.
#[derive(Default)]
struct Text(Vec<Range<usize>>);

impl Text {
    fn add(&mut self, piece: Range<usize>) {
        match self.0.last_mut() {
            Some(last) if last.end == piece.start => last.end = piece.end,
            _ => self.0.push(piece),
        }
    }

    fn begins(&self) -> Option<usize> {
        self.0.first().map(|piece| piece.start)
    }

    /// Masks it, and keeps no more than an end that may be the beginning of a secret: nothing where it `is_whole`.
    fn mask(&mut self, secrets: &Credentials, held: &mut [u8], is_whole: bool) {
        let beginning = |text: &[u8]| {
            if is_whole { 0 } else { secrets.beginning(text) }
        };
        let mut keep = match self.0.as_slice() {
            [] => return,
            [piece] => {
                let text = &mut held[piece.clone()];
                secrets.mask(text);
                beginning(text)
            }
            pieces => {
                let len = pieces.iter().map(ExactSizeIterator::len).sum();
                let mut text = Zeroizing::new(Vec::with_capacity(len));
                for piece in pieces {
                    text.extend_from_slice(&held[piece.clone()]);
                }
                secrets.mask(&mut text);
                let mut rest = text.as_slice();
                for piece in pieces {
                    let (masked, after) = rest.split_at(piece.len());
                    held[piece.clone()].copy_from_slice(masked);
                    rest = after;
                }
                beginning(&text)
            }
        };
        for piece in self.0.iter_mut().rev() {
            let kept = keep.min(piece.len());
            piece.start = piece.end - kept;
            keep -= kept;
        }
        self.0.retain(|piece| !piece.is_empty());
    }

    /// The same of its end: no more of it will come.
    fn end(&mut self, secrets: &Credentials, held: &mut [u8]) {
        self.mask(secrets, held, true);
    }

    fn move_back(&mut self, by: usize) {
        for piece in &mut self.0 {
            *piece = piece.start - by..piece.end - by;
        }
    }
}

/// A masked frame.
#[derive(Debug)]
struct Masked;

/// Of what a text is: of a control frame, or of a message in one frame or more.
#[derive(Clone, Copy)]
enum Kind {
    Message,
    Control,
}

/// What [`Frames`] meets in its bytes.
enum Step {
    /// A byte of a header.
    Header,
    Text(Kind, usize),
    /// The text is whole.
    Ends(Kind),
}

/// Where in the server's stream the next byte stands (RFC 6455, 5.2).
enum Frames {
    /// In the response to the upgrade: `at` which byte, whether its status is still 101, and how much of the empty line
    /// at its end was seen.
    Upgrade {
        at: usize,
        switches: bool,
        matched: usize,
    },
    /// The server did not switch to frames.
    Plain,
    /// Before the header of a frame.
    Between,
    /// In the header of a frame, whose length so far is this, while `more` bytes of it are to come. None before it is
    /// known how many.
    Header {
        head: Head,
        length: u64,
        more: Option<usize>,
    },
    /// In the payload of a frame, of which so much is left.
    Payload { head: Head, left: u64 },
}

/// What the first byte of a frame says.
#[derive(Clone, Copy)]
struct Head {
    kind: Kind,
    is_final: bool,
}

impl Frames {
    /// Goes on by these bytes.
    ///
    /// # Errors
    /// A masked frame begins in them.
    fn pass(&mut self, bytes: &[u8], mut meet: impl FnMut(Step)) -> Result<(), Masked> {
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            match self {
                Self::Upgrade {
                    at,
                    switches,
                    matched,
                } => {
                    const START: &[u8] = b"HTTP/1.1 101";
                    const END: &[u8] = b"\r\n\r\n";
                    meet(Step::Text(Kind::Message, 1));
                    *switches &= START.get(*at).is_none_or(|start| start == byte);
                    *at += 1;
                    *matched = if *byte == END[*matched] {
                        *matched + 1
                    } else {
                        usize::from(*byte == END[0])
                    };
                    if *matched == END.len() && *switches {
                        meet(Step::Ends(Kind::Message));
                        *self = Self::Between;
                    } else if *matched == END.len() {
                        *self = Self::Plain;
                    }
                }
                Self::Plain => {
                    meet(Step::Text(Kind::Message, rest.len()));
                    return Ok(());
                }
                Self::Between => {
                    let opcode = byte & 0x0f;
                    let head = Head {
                        kind: match opcode {
                            8.. => Kind::Control,
                            _ => Kind::Message,
                        },
                        is_final: byte & 0x80 != 0,
                    };
                    // All but a continuation begin a text, whatever became of the one before.
                    if opcode != 0 {
                        meet(Step::Ends(head.kind));
                    }
                    meet(Step::Header);
                    *self = Self::Header {
                        head,
                        length: 0,
                        more: None,
                    };
                }
                Self::Header { head, length, more } => {
                    meet(Step::Header);
                    let more = match more {
                        Some(more) => {
                            *length = (*length << 8) | u64::from(*byte);
                            *more -= 1;
                            *more
                        }
                        None if byte & 0x80 != 0 => return Err(Masked),
                        None => {
                            let (known, to_come) = match byte & 0x7f {
                                126 => (0, 2),
                                127 => (0, 8),
                                length => (u64::from(length), 0),
                            };
                            *length = known;
                            *more.insert(to_come)
                        }
                    };
                    if more == 0 {
                        *self = Self::payload(*head, *length, &mut meet);
                    }
                }
                Self::Payload { head, left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    meet(Step::Text(head.kind, here));
                    *self = Self::payload(*head, *left - here as u64, &mut meet);
                    rest = &rest[here..];
                    continue;
                }
            }
            rest = after;
        }
        Ok(())
    }

    /// In a frame of which so much is left.
    fn payload(head: Head, left: u64, meet: &mut impl FnMut(Step)) -> Self {
        if left > 0 {
            return Self::Payload { head, left };
        }
        if head.is_final {
            meet(Step::Ends(head.kind));
        }
        Self::Between
    }
}

/// How much is read at once while masking.
pub(super) const READ: usize = 2_048;

#[cfg(test)]
mod tests;
