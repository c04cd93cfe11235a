//! Masks secrets in what arrives, before anything above can log them: until the connection is authenticated, a server
//! may repeat what it was sent.
//!
//! Bytes are held back for as long as their end may be the beginning of a secret, but never the end of a whole frame.
//!
//! What would hide a secret from this is refused, and nothing of it handed on. A secret across two fragments of one
//! message has a frame header in its middle, and would be whole again only above; no venue sends its answer to a login
//! in fragments. In a masked frame, which only clients may send, it stands next to the key that unmasks it; the layer
//! above would log both before it refused them.

use std::io;

use zeroize::Zeroizing;

use crate::credentials::Credentials;

pub(super) struct Mask {
    /// None once it was taken off.
    secrets: Credentials,
    held: Zeroizing<Vec<u8>>,
    /// How much of `held` is masked and may be handed on.
    clear: usize,
    frames: Frames,
}

impl Mask {
    pub(super) fn new(secrets: &Credentials) -> Self {
        Self {
            secrets: secrets.clone(),
            // Never more than one read and the beginning of a secret: it does not grow, and leaves no copy behind.
            held: Zeroizing::new(Vec::with_capacity(4 * READ)),
            clear: 0,
            frames: Frames::Upgrade {
                at: 0,
                switches: true,
                matched: 0,
            },
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
    /// A frame that could hide a secret. Nothing of it is ever handed on.
    pub(super) fn take_in(&mut self, fresh: &[u8]) -> io::Result<()> {
        if let Err(hidden) = self.frames.pass(fresh) {
            let why = match hidden {
                Hidden::Fragmented => "a fragmented message before authentication",
                Hidden::Masked => "a masked frame from a server",
            };
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        self.held.extend_from_slice(fresh);
        self.secrets.mask(&mut self.held);
        let keep = if fresh.is_empty() || self.frames.are_whole() {
            0
        } else {
            self.secrets.beginning(&self.held)
        };
        self.clear = self.held.len() - keep;
        Ok(())
    }

    pub(super) fn hand_on(&mut self, buffer: &mut [u8]) -> usize {
        let count = self.clear.min(buffer.len());
        buffer[..count].copy_from_slice(&self.held[..count]);
        self.held.drain(..count);
        self.clear -= count;
        count
    }
}

/// How a frame could hide a secret.
#[derive(Debug)]
enum Hidden {
    Fragmented,
    Masked,
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
    /// In the header of a frame, of which so much was seen, and `more` bytes of its length are to come.
    Header {
        seen: usize,
        length: u64,
        more: usize,
    },
    /// In the payload of a frame, of which so much is left.
    Payload { left: u64 },
}

impl Frames {
    const HEADER: Self = Self::Header {
        seen: 0,
        length: 0,
        more: 0,
    };

    /// Whether the last byte was the last of a frame.
    fn are_whole(&self) -> bool {
        matches!(self, Self::Header { seen: 0, .. })
    }

    /// Goes on by these bytes.
    ///
    /// # Errors
    /// A frame that could hide a secret begins in them.
    fn pass(&mut self, bytes: &[u8]) -> Result<(), Hidden> {
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
                    *switches &= START.get(*at).is_none_or(|start| start == byte);
                    *at += 1;
                    *matched = if *byte == END[*matched] {
                        *matched + 1
                    } else {
                        usize::from(*byte == END[0])
                    };
                    if *matched == END.len() {
                        *self = if *switches { Self::HEADER } else { Self::Plain };
                    }
                }
                Self::Plain => return Ok(()),
                Self::Header { seen: 0, .. } => {
                    let (is_final, opcode) = (byte & 0x80 != 0, byte & 0x0f);
                    if !is_final || opcode == 0 {
                        return Err(Hidden::Fragmented);
                    }
                    *self = Self::Header {
                        seen: 1,
                        length: 0,
                        more: 0,
                    };
                }
                Self::Header { seen, length, more } => {
                    if *seen == 1 {
                        if byte & 0x80 != 0 {
                            return Err(Hidden::Masked);
                        }
                        (*length, *more) = match byte & 0x7f {
                            126 => (0, 2),
                            127 => (0, 8),
                            length => (u64::from(length), 0),
                        };
                    } else {
                        *length = (*length << 8) | u64::from(*byte);
                        *more -= 1;
                    }
                    *seen += 1;
                    if *more == 0 {
                        *self = match *length {
                            0 => Self::HEADER,
                            left => Self::Payload { left },
                        };
                    }
                }
                Self::Payload { left } => {
                    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(rest.len());
                    *left -= here as u64;
                    rest = &rest[here..];
                    if *left == 0 {
                        *self = Self::HEADER;
                    }
                    continue;
                }
            }
            rest = after;
        }
        Ok(())
    }
}

/// How much is read at once while masking; more than twice the longest secret.
pub(super) const READ: usize = 2_048;

#[cfg(test)]
mod tests {
    use super::*;

    const UPGRADE: &[u8] = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n";

    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![first];
        if payload.len() < 126 {
            frame.push(payload.len() as u8);
        } else {
            frame.push(126);
            frame.extend((payload.len() as u16).to_be_bytes());
        }
        frame.extend(payload);
        frame
    }

    /// What is handed on when the bytes come in pieces of this length.
    fn through(bytes: &[u8], cut: usize) -> io::Result<Vec<u8>> {
        let secrets = Credentials::new("KEYID", "s3cr3t-s3cr3t!").unwrap();
        let mut mask = Mask::new(&secrets);
        let mut out = Vec::new();
        for piece in bytes.chunks(cut) {
            mask.take_in(piece)?;
            let mut buffer = [0; 7];
            while mask.has_clear() {
                let count = mask.hand_on(&mut buffer);
                out.extend_from_slice(&buffer[..count]);
            }
        }
        Ok(out)
    }

    #[test]
    fn a_secret_never_shows_however_its_bytes_are_cut() {
        let text = b"[{\"msg\":\"s3cr3t-s3cr3t! for KEYID, s3cr3t-s3c no, KEYI no\"}]";
        let masked = b"[{\"msg\":\"************** for *****, s3cr3t-s3c no, KEYI no\"}]";
        let long = [&text[..], &[b' '; 200], text].concat();
        let long_masked = [&masked[..], &[b' '; 200], masked].concat();
        let bytes = [
            UPGRADE,
            &frame(0x81, text),
            &frame(0x81, &long),
            &frame(0x89, b""),
        ]
        .concat();
        let expected = [
            UPGRADE,
            &frame(0x81, masked),
            &frame(0x81, &long_masked),
            &frame(0x89, b""),
        ]
        .concat();
        for cut in 1..bytes.len() {
            assert_eq!(through(&bytes, cut).unwrap(), expected, "cut at {cut}");
        }
    }

    /// In MessagePack a frame ends with the text it says, and that may end as a secret begins.
    #[test]
    fn a_whole_frame_is_never_held_back() {
        let secrets = Credentials::new("KEYID", "d3d3-s3cr3t").unwrap();
        for end in ["connected", "d", "d3d3-s3cr3", "KEYI"] {
            let mut mask = Mask::new(&secrets);
            let bytes = [UPGRADE, &frame(0x82, end.as_bytes())].concat();
            mask.take_in(&bytes).unwrap();
            let mut buffer = [0; 256];
            assert_eq!(mask.hand_on(&mut buffer), bytes.len(), "{end}");
        }
    }

    #[test]
    fn a_message_in_fragments_is_refused_however_its_bytes_are_cut() {
        let whole = frame(0x81, b"[{}]");
        let fragments = [frame(0x01, b"s3cr3t-"), frame(0x80, b"s3cr3t!")].concat();
        let bytes = [UPGRADE, &whole, &fragments].concat();
        for cut in 1..bytes.len() {
            assert!(through(&bytes, cut).is_err(), "cut at {cut}");
        }
        assert!(through(&[UPGRADE, &whole, &whole].concat(), 3).is_ok());
    }

    #[test]
    fn a_masked_frame_is_refused_however_its_bytes_are_cut() {
        let mask = [0x11, 0x22, 0x33, 0x44];
        let payload: Vec<u8> = b"s3cr3t-s3cr3t!"
            .iter()
            .zip(mask.iter().cycle())
            .map(|(byte, mask)| byte ^ mask)
            .collect();
        let mut reflected = frame(0x82, &[&mask[..], &payload].concat());
        reflected[1] = 0x80 | payload.len() as u8;
        let bytes = [UPGRADE, &reflected].concat();
        for cut in 1..bytes.len() {
            assert!(through(&bytes, cut).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn a_refused_upgrade_may_have_any_body() {
        let refusal = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n\x01\x00 KEYID";
        for cut in 1..refusal.len() {
            let shown = through(refusal, cut).unwrap();
            assert!(shown.ends_with(b"\x01\x00 *****"), "cut at {cut}");
        }
    }
}
