//! Credentials that stand nowhere as one piece, and the search for them in the process's own memory.

use std::{collections::BTreeSet, hint::black_box, os::unix::fs::FileExt as _};

/// What is looked for. It is computed character by character, so that nothing holds it as one piece.
#[derive(Clone, Copy)]
pub(crate) struct Needle {
    seed: usize,
    pub(crate) len: usize,
}

pub(crate) const SECRET: Needle = Needle { seed: 17, len: 40 };

/// A key id of this many characters.
pub(crate) const fn key(len: usize) -> Needle {
    Needle { seed: 29, len }
}

impl Needle {
    /// The character at a place. Mixed, because in a sum of powers alone parts would repeat.
    pub(crate) fn at(self, at: usize) -> u8 {
        const SIGNS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
        let mixed = (black_box(at * at * 7 + at * self.seed + self.seed * 13) * 0x9e37_79b1) >> 11;
        SIGNS[mixed % SIGNS.len()]
    }
}

/// White space in front, which is cut: what an allocator writes into freed memory stands at its beginning.
const BEFORE: usize = 500;

/// Gives out the two lines, a byte at a time.
pub(crate) struct Lines {
    key: Needle,
    at: usize,
}

impl Lines {
    pub(crate) fn new(key: Needle) -> Self {
        Self { key, at: 0 }
    }
}

impl std::io::Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (at, Some(byte)) = (self.at, buffer.first_mut()) else {
            return Ok(0);
        };
        let key = self.key;
        *byte = match at.checked_sub(BEFORE) {
            None => b' ',
            Some(at) if at < key.len => key.at(at),
            Some(at) if at == key.len => b'\n',
            Some(at) if at <= key.len + SECRET.len => SECRET.at(at - key.len - 1),
            Some(_) => return Ok(0),
        };
        self.at += 1;
        Ok(1)
    }
}

/// Where the process's writable memory holds a needle, or more than a few characters of it: as it is, with the bytes of
/// each word reversed as SHA-256 reads them, and under a mask of four bytes. What two bytes that stand four apart differ
/// in is the same under any mask.
pub(crate) fn copies(needle: Needle) -> Copies {
    let fragments = Fragment::all(needle);
    let width = needle.len.min(FRAGMENT);
    let mut begins = vec![false; 1 << 16];
    for fragment in &fragments {
        let [first, second, ..] = fragment.differences[..] else {
            unreachable!("a needle has eight characters at least")
        };
        begins[usize::from(first) << 8 | usize::from(second)] = true;
    }
    let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
    let memory = std::fs::File::open("/proc/self/mem").unwrap();
    let mut buffer = vec![0_u8; 1 << 20];
    // What is read here stands here, too.
    let own = buffer.as_ptr() as usize..buffer.as_ptr() as usize + buffer.len();
    let mut copies = Copies::default();
    for line in maps.lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let name = fields.nth(3).unwrap_or("anonymous");
        if !rights.starts_with("rw") {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let mut at = usize::from_str_radix(start, 16).unwrap();
        let end = usize::from_str_radix(end, 16).unwrap();
        while at + width <= end {
            let want = buffer.len().min(end - at);
            let Ok(read) = memory.read_at(&mut buffer[..want], at as u64) else {
                break;
            };
            if read < width {
                break;
            }
            // Most of a process's memory is zeros, and is passed over piece by piece.
            for piece in (0..=read - width).step_by(PIECE) {
                let behind = read.min(piece + PIECE + width - 1);
                if buffer[piece..behind] == [0; PIECE + FRAGMENT][..behind - piece] {
                    continue;
                }
                for offset in piece..=behind - width {
                    let differs =
                        |by: usize| usize::from(buffer[offset + by] ^ buffer[offset + by + 4]);
                    if !begins[differs(0) << 8 | differs(1)] || own.contains(&(at + offset)) {
                        continue;
                    }
                    let window = &buffer[offset..offset + width];
                    for fragment in fragments.iter().filter(|fragment| fragment.is_in(window)) {
                        // Fragments of one copy are one.
                        let copy = format!("{:x} in {name}", at + offset - fragment.offset);
                        match (fragment.is_bare(needle, window), fragment.order) {
                            (true, Order::Straight) => copies.plain.insert(copy),
                            (true, Order::Reversed) => copies.reversed.insert(copy),
                            // A shorter one cannot be told from chance under an unknown mask.
                            (false, Order::Straight) if width == FRAGMENT => {
                                copies.masked.insert(copy)
                            }
                            (false, _) => false,
                        };
                    }
                }
            }
            at += read - width + 1;
        }
    }
    buffer.fill(0);
    black_box(&buffer);
    copies
}

/// Addresses, with the names of their mappings.
#[derive(Debug, Default)]
pub(crate) struct Copies {
    pub(crate) plain: BTreeSet<String>,
    pub(crate) reversed: BTreeSet<String>,
    pub(crate) masked: BTreeSet<String>,
}

/// What is left of a copy after an allocator has written into the beginning of its memory is found, too. This holds what
/// its bytes differ in and not the bytes, or it would be a copy itself.
struct Fragment {
    offset: usize,
    order: Order,
    differences: Vec<u8>,
}

#[derive(Clone, Copy)]
enum Order {
    Straight,
    /// Each word of four bytes from its last to its first.
    Reversed,
}

impl Order {
    fn place(self, at: usize) -> usize {
        match self {
            Self::Straight => at,
            Self::Reversed => at / 4 * 4 + 3 - at % 4,
        }
    }
}

impl Fragment {
    fn all(needle: Needle) -> Vec<Self> {
        let width = needle.len.min(FRAGMENT);
        let last = needle.len - width;
        let straight = (0..=last)
            .step_by(4)
            .map(|at| Self::of(needle, at, width, Order::Straight));
        // Where its words begin depends on what was hashed before it.
        let reversed = (0..=last).map(|at| Self::of(needle, at, width, Order::Reversed));
        straight.chain(reversed).collect()
    }

    fn of(needle: Needle, offset: usize, width: usize, order: Order) -> Self {
        let byte = |at: usize| needle.at(offset + order.place(at));
        Self {
            offset,
            order,
            differences: (0..width - 4).map(|at| byte(at) ^ byte(at + 4)).collect(),
        }
    }

    fn is_in(&self, window: &[u8]) -> bool {
        let differences = self.differences.iter().enumerate();
        differences.fold(true, |same, (at, difference)| {
            same & (window[at] ^ window[at + 4] == *difference)
        })
    }

    /// Whether it stands in a window as it is, which must hold it under some mask.
    fn is_bare(&self, needle: Needle, window: &[u8]) -> bool {
        (0..4).all(|at| window[at] == needle.at(self.offset + self.order.place(at)))
    }
}

const FRAGMENT: usize = 12;
const PIECE: usize = 4_096;
