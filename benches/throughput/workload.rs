//! What the firehose sends: stock quotes and trades as the venue spells them, three quotes to a trade, in frames of a
//! few messages each. A ring of frames is encoded once and sent over and over.

use std::fmt::Write as _;

/// Messages in the ring: a multiple of every frame size, and each symbol is in it equally often.
pub const RING: usize = 6_400;
pub const SYMBOLS: usize = 64;
/// Every so many messages one is a trade, and the first of each frame is.
const TRADE_EVERY: usize = 4;
/// Added to the clock to make a trade's id of it, so that all ids have the same length.
const ID_BASE: i64 = 100_000_000_000_000_000;

pub fn symbol(number: usize) -> String {
    let letter = |at: usize| char::from(b'A' + (at % 26) as u8);
    [letter(number / 26), letter(number), 'Q', letter(number * 7)]
        .iter()
        .collect()
}

/// When a trade was sent, by the monotonic clock, from the id that it was given then.
pub fn sent_at(id: i64) -> u64 {
    u64::try_from(id - ID_BASE).unwrap_or_default()
}

pub struct Ring {
    bytes: Vec<u8>,
    frames: Vec<Frame>,
}

/// Where a frame ends in the ring, and where the digits of its first trade's id stand.
#[derive(Clone, Copy)]
struct Frame {
    end: usize,
    id_at: usize,
}

impl Ring {
    /// Frames of `per_frame` messages, which happened at `time`.
    pub fn new(per_frame: usize, time: &str) -> Self {
        let mut ring = Self {
            bytes: Vec::new(),
            frames: Vec::new(),
        };
        for first in (0..RING).step_by(per_frame) {
            let mut text = String::from("[");
            for number in first..first + per_frame {
                if number > first {
                    text.push(',');
                }
                message(&mut text, number, per_frame, time);
            }
            text.push(']');
            ring.bytes.push(0x81);
            match text.len() {
                len @ 0..=125 => ring.bytes.push(len as u8),
                len => {
                    ring.bytes.push(126);
                    ring.bytes.extend((len as u16).to_be_bytes());
                }
            }
            let id = text.find("\"i\":").map(|at| ring.bytes.len() + at + 4);
            ring.bytes.extend(text.as_bytes());
            ring.frames.push(Frame {
                end: ring.bytes.len(),
                id_at: id.unwrap_or(0),
            });
        }
        ring
    }

    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub fn frames(&self) -> usize {
        self.frames.len()
    }

    /// A frame as it is sent at `now`.
    pub fn stamped(&mut self, frame: usize, now: u64) -> &[u8] {
        let start = frame
            .checked_sub(1)
            .map_or(0, |before| self.frames[before].end);
        let Frame { end, id_at } = self.frames[frame];
        if id_at > 0 {
            let id = (ID_BASE + now as i64).to_string();
            self.bytes[id_at..id_at + id.len()].copy_from_slice(id.as_bytes());
        }
        &self.bytes[start..end]
    }
}

fn message(text: &mut String, number: usize, per_frame: usize, time: &str) {
    let symbol = symbol((number + number / SYMBOLS) % SYMBOLS);
    let (dollars, cents) = (100 + number % 400, number % 90);
    let size = 1 + number % 9;
    let is_trade = if per_frame == 1 {
        number.is_multiple_of(TRADE_EVERY)
    } else {
        (number % per_frame).is_multiple_of(TRADE_EVERY)
    };
    let written = if is_trade {
        write!(
            text,
            r#"{{"T":"t","S":"{symbol}","i":{ID_BASE},"x":"V","p":{dollars}.{cents:02},"s":{size}00,"c":["@","I"],"z":"C","t":"{time}"}}"#
        )
    } else {
        write!(
            text,
            r#"{{"T":"q","S":"{symbol}","bx":"V","bp":{dollars}.{cents:02},"bs":{size},"ax":"V","ap":{dollars}.{:02},"as":{size},"c":["R"],"z":"C","t":"{time}"}}"#,
            cents + 3
        )
    };
    written.expect("a string takes everything");
}
