//! A socket whose writes can be held back and cut into pieces. It changes when bytes leave, never which: the WebSocket
//! above it keeps what it wanted to write, in order and whole, for the time when it may.

use std::io::{self, Read, Write};

use mio::net::TcpStream;

use super::tape::Random;

/// How to cut what is written.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Pieces {
    /// So many bytes one by one.
    Dribble { bytes: usize },
    /// So many bytes at random places.
    Split { bytes: usize, seed: u64 },
}

pub(super) struct Gate {
    pub(super) stream: TcpStream,
    /// Nothing is written.
    pub(super) mute: bool,
    /// Nothing is written yet: more is to be written with it.
    pub(super) corked: bool,
    knife: Option<Knife>,
    /// This turn's piece was written.
    spent: bool,
    /// Something waits for the next turn.
    waits: bool,
}

struct Knife {
    left: usize,
    random: Option<Random>,
}

impl Gate {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            mute: false,
            corked: false,
            knife: None,
            spent: false,
            waits: false,
        }
    }

    /// From here on one piece a turn, until so many bytes are written.
    pub(super) fn cut(&mut self, pieces: Pieces) {
        self.knife = Some(match pieces {
            Pieces::Dribble { bytes } => Knife {
                left: bytes,
                random: None,
            },
            Pieces::Split { bytes, seed } => Knife {
                left: bytes,
                random: Some(Random::new(seed)),
            },
        });
    }

    /// Whatever held writes back does so no longer.
    pub(super) fn clear(&mut self) {
        self.corked = false;
        self.knife = None;
    }

    pub(super) fn waits_for_a_turn(&self) -> bool {
        self.waits
    }

    pub(super) fn next_turn(&mut self) {
        self.spent = false;
        self.waits = false;
    }
}

impl Read for Gate {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.read(buffer)
    }
}

impl Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.mute || self.corked {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let Some(knife) = &mut self.knife else {
            return self.stream.write(bytes);
        };
        if self.spent {
            self.waits = true;
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let piece = match &mut knife.random {
            None => 1,
            Some(random) => 1 + random.below(LARGEST_PIECE) as usize,
        };
        let written = self.stream.write(&bytes[..piece.min(bytes.len())])?;
        self.spent = true;
        knife.left = knife.left.saturating_sub(written);
        if knife.left == 0 {
            self.knife = None;
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Smaller than most frames, larger than most headers.
const LARGEST_PIECE: u64 = 200;
