//! Credentials that stand nowhere as one piece, and the search for them in the process's own memory.

use std::{collections::BTreeSet, hint::black_box, os::unix::fs::FileExt as _};

/// The byte at each place of one of them.
pub(crate) type Needle = fn(usize) -> u8;

pub(crate) const LEN: usize = 40;
/// White space in front, which is cut: what an allocator writes into freed memory stands at its beginning.
const BEFORE: usize = 500;

fn character(seed: usize, at: usize) -> u8 {
    const SIGNS: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    SIGNS[black_box(at * at * at * 7 + at * seed + seed * 13) % SIGNS.len()]
}

pub(crate) fn key(at: usize) -> u8 {
    character(black_box(29), at)
}

pub(crate) fn secret(at: usize) -> u8 {
    character(black_box(17), at)
}

/// Gives out the two lines, a byte at a time.
pub(crate) struct Lines(pub(crate) usize);

impl std::io::Read for Lines {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let (at, Some(byte)) = (self.0, buffer.first_mut()) else {
            return Ok(0);
        };
        *byte = match at.checked_sub(BEFORE) {
            None => b' ',
            Some(at @ 0..LEN) => key(at),
            Some(LEN) => b'\n',
            Some(at) if at <= 2 * LEN => secret(at - LEN - 1),
            Some(_) => return Ok(0),
        };
        self.0 += 1;
        Ok(1)
    }
}

/// Where the process's writable memory holds key id or secret, or more than a few characters of either: as they are, and
/// under a mask of four bytes. What two bytes that stand four apart differ in is the same under any mask.
pub(crate) fn copies(needle: Needle) -> Copies {
    let fragments: Vec<Fragment> = (0..=LEN - FRAGMENT)
        .step_by(4)
        .map(|offset| Fragment::of(needle, offset))
        .collect();
    let mut begins = vec![false; 1 << 16];
    for fragment in &fragments {
        begins[usize::from(fragment.differences[0]) << 8 | usize::from(fragment.differences[1])] =
            true;
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
        while at + FRAGMENT <= end {
            let want = buffer.len().min(end - at);
            let Ok(read) = memory.read_at(&mut buffer[..want], at as u64) else {
                break;
            };
            if read < FRAGMENT {
                break;
            }
            for offset in 0..=read - FRAGMENT {
                let differs =
                    |by: usize| usize::from(buffer[offset + by] ^ buffer[offset + by + 4]);
                if !begins[differs(0) << 8 | differs(1)] || own.contains(&(at + offset)) {
                    continue;
                }
                let window = &buffer[offset..offset + FRAGMENT];
                for fragment in fragments.iter().filter(|fragment| fragment.is_in(window)) {
                    let is_plain = window[0] == needle(fragment.offset);
                    // Fragments of one copy are one.
                    let copy = format!("{:x} in {name}", at + offset - fragment.offset);
                    if is_plain {
                        copies.plain.insert(copy);
                    } else {
                        copies.masked.insert(copy);
                    }
                }
            }
            at += read - FRAGMENT + 1;
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
    pub(crate) masked: BTreeSet<String>,
}

/// What is left of a copy after an allocator has written into the beginning of its memory is found, too.
struct Fragment {
    offset: usize,
    differences: [u8; FRAGMENT - 4],
}

impl Fragment {
    fn of(needle: Needle, offset: usize) -> Self {
        Self {
            offset,
            differences: std::array::from_fn(|at| needle(offset + at) ^ needle(offset + at + 4)),
        }
    }

    fn is_in(&self, window: &[u8]) -> bool {
        let differences = self.differences.iter().enumerate();
        differences.fold(true, |same, (at, difference)| {
            same & (window[at] ^ window[at + 4] == *difference)
        })
    }
}

const FRAGMENT: usize = 12;
