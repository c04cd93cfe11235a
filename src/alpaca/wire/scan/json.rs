//! The tokens of usual JSON, eight bytes at a time: most codes and numbers fit into one word, and a word is looked at
//! without a branch per byte. It must not know what the tokens mean.
//!
//! Unusual are white space, escapes, what is not ASCII, null, signs, exponents, numbers of more than 18 digits, and times
//! with an offset other than `Z`.
//!
//! Words are little-endian on every machine: the first byte of the text is the lowest. A word that reaches beyond the
//! text is filled up with zeros, which no token can hold; so no token ends behind the text.

use rust_decimal::Decimal;

use super::{Key, Tokens};
use crate::market::{Code, Conditions, Symbol, Timestamp};

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Whether the frame's bracket was passed.
    is_open: bool,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Self {
        Self {
            rest: frame,
            is_open: false,
        }
    }
}

impl Tokens for Cursor<'_> {
    #[inline(always)]
    fn item(&mut self) -> Option<bool> {
        if !self.is_open {
            self.is_open = true;
            self.pass(b'[')?;
            return Some(false);
        }
        if self.pass(b',').is_some() {
            return Some(false);
        }
        self.pass(b']')?;
        self.rest.is_empty().then_some(true)
    }

    #[inline(always)]
    fn kind(&mut self) -> Option<u8> {
        let (word, rest) = self.rest.split_first_chunk()?;
        let [b'{', b'"', b'T', b'"', b':', b'"', kind, b'"'] = *word else {
            return None;
        };
        self.rest = rest;
        Some(kind)
    }

    #[inline(always)]
    fn end(&mut self) -> bool {
        self.pass(b'}').is_some()
    }

    #[inline(always)]
    fn key(&mut self, key: Key) -> bool {
        let Some(rest) = self.rest.strip_prefix(key.json.as_bytes()) else {
            return false;
        };
        self.rest = rest;
        true
    }

    #[inline(always)]
    fn symbol(&mut self) -> Option<Symbol> {
        self.text().map(Symbol::from)
    }

    #[inline(always)]
    fn code(&mut self) -> Option<Code> {
        match self.letter() {
            Some(letter) => Some(Code::letter(letter)),
            None => self.text().map(Code::from),
        }
    }

    #[inline(always)]
    fn conditions(&mut self) -> Option<Conditions> {
        // Nearly always it is one letter.
        if let [b'[', b'"', letter, b'"', b']', ..] = *self.rest
            && is_plain(letter)
        {
            self.advance(5)?;
            return Some(Conditions::letter(letter));
        }
        self.pass(b'[')?;
        let mut conditions = Conditions::default();
        if self.pass(b']').is_some() {
            return Some(conditions);
        }
        loop {
            conditions.push(self.text()?);
            if self.pass(b',').is_none() {
                return self.pass(b']').map(|()| conditions);
            }
        }
    }

    /// A number without sign and exponent, of at most 18 digits: with its scale it is exactly what its text says.
    #[inline(always)]
    fn decimal(&mut self) -> Option<Decimal> {
        let word = self.word();
        let others = above_nine(word ^ repeat(b'0'));
        let whole = before(others);
        // Cleared of its lowest bit. Where there is none, the number is longer than the word.
        let behind = others & others.wrapping_sub(1);
        if behind == 0 {
            return self.long_decimal();
        }
        if !is_whole(word, whole / 8) {
            return None;
        }
        if (word >> whole) as u8 != b'.' {
            self.advance(whole as usize / 8)?;
            return Decimal::try_new(digits(word, whole), 0).ok();
        }
        let end = before(behind);
        let scale = end / 8 - whole / 8 - 1;
        if scale == 0 {
            return None;
        }
        // The digits behind the point take its place.
        let head = (1 << whole) - 1;
        let together = (word & head) | ((word >> 8) & !head);
        self.advance(end as usize / 8)?;
        Decimal::try_new(digits(together, end - 8), scale).ok()
    }

    /// A whole number without sign, of at most 18 digits.
    #[inline(always)]
    fn integer(&mut self) -> Option<u64> {
        u64::try_from(self.whole()?.0).ok()
    }

    /// A time as RFC 3339 writes it, with a `Z` and at most nine digits of a second, from 1970 to 2261.
    #[inline(always)]
    fn timestamp(&mut self) -> Option<Timestamp> {
        let (text, rest) = self.rest.split_first_chunk::<20>()?;
        let [b'"', date @ .., b':', tens, ones] = text else {
            return None;
        };
        let (date, clock) = date.split_first_chunk()?;
        let [century, _, year, _, _, month, ..] = pairs(*date, *b"0000-00-")?;
        let [day, _, _, hour, _, _, minute, _] = pairs(*clock.first_chunk()?, *b"00T00:00")?;
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        let second = (tens - b'0') * 10 + (ones - b'0');
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = days(u32::from(century) * 100 + u32::from(year), month, day)?;
        self.rest = rest;
        let mut nanos = 0;
        if self.pass(b'.').is_some() {
            let (fraction, digits) = self.digits()?;
            nanos = fraction * POWERS.get(9_usize.checked_sub(digits as usize)?)?;
        }
        self.pass(b'Z')?;
        self.pass(b'"')?;
        let minutes = u32::from(hour) * 60 + u32::from(minute);
        let seconds = i64::from(days) * 86_400 + i64::from(minutes * 60 + u32::from(second));
        Some(Timestamp::from_nanos(seconds * 1_000_000_000 + nanos))
    }
}

impl<'a> Cursor<'a> {
    /// Passes the byte, if it is the next.
    #[inline(always)]
    fn pass(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
    }

    /// A string of one letter.
    #[inline(always)]
    fn letter(&mut self) -> Option<u8> {
        match *self.rest {
            [b'"', letter, b'"', ..] if is_plain(letter) => {
                self.advance(3)?;
                Some(letter)
            }
            _ => None,
        }
    }

    /// A string of printable ASCII without escapes.
    #[inline(always)]
    fn text(&mut self) -> Option<&'a str> {
        self.pass(b'"')?;
        let text = self.rest;
        loop {
            let word = self.word();
            let quotes = zero_bytes(word ^ repeat(b'"'));
            let odd =
                zero_bytes(word ^ repeat(b'\\')) | below_space(word) | (word & repeat(HIGH_BIT));
            // In either mask only the lowest bit is sure, which is the one that counts.
            let (end, odd) = (before(quotes), before(odd));
            if odd < end {
                return None;
            }
            self.advance(end as usize / 8)?;
            if quotes != 0 {
                let len = text.len() - self.rest.len();
                self.advance(1)?;
                return str::from_utf8(text.get(..len)?).ok();
            }
        }
    }

    #[inline(never)]
    fn long_decimal(&mut self) -> Option<Decimal> {
        let (whole, digits) = self.whole()?;
        if self.pass(b'.').is_none() {
            return Decimal::try_new(whole, 0).ok();
        }
        let (fraction, scale) = self.digits()?;
        if digits + scale > MAX_DIGITS {
            return None;
        }
        let power = POWERS.get(scale as usize)?;
        Decimal::try_new(whole * power + fraction, scale).ok()
    }

    /// Digits without a leading zero, and how many.
    #[inline(always)]
    fn whole(&mut self) -> Option<(i64, u32)> {
        let word = self.word();
        let (value, digits) = self.digits()?;
        is_whole(word, digits).then_some((value, digits))
    }

    /// 1 to 18 digits, and how many.
    #[inline(always)]
    fn digits(&mut self) -> Option<(i64, u32)> {
        let (mut value, mut count) = (0, 0);
        loop {
            let word = self.word();
            let end = before(above_nine(word ^ repeat(b'0')));
            let more = end / 8;
            self.advance(more as usize)?;
            count += more;
            if count > MAX_DIGITS {
                return None;
            }
            value = value * POWERS[more as usize] + digits(word, end);
            if more < 8 {
                return (count > 0).then_some((value, count));
            }
        }
    }

    /// The next eight bytes.
    #[inline(always)]
    fn word(&self) -> u64 {
        match self.rest.first_chunk() {
            Some(chunk) => u64::from_le_bytes(*chunk),
            None => padded(self.rest),
        }
    }

    #[inline(always)]
    fn advance(&mut self, bytes: usize) -> Option<()> {
        self.rest = self.rest.get(bytes..)?;
        Some(())
    }
}

#[cold]
fn padded(rest: &[u8]) -> u64 {
    let mut word = [0; 8];
    for (place, byte) in word.iter_mut().zip(rest) {
        *place = *byte;
    }
    u64::from_le_bytes(word)
}

/// Whether it stands for itself in a string.
#[inline(always)]
const fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Whether so many digits are a whole number: some, and no zero in front of others.
#[inline(always)]
const fn is_whole(word: u64, digits: u32) -> bool {
    (digits == 1) | ((digits > 1) & (word as u8 != b'0'))
}

/// Days since 1970-01-01, of a date that exists.
///
/// The year is taken to start in March, so that the leap day is its last; the months' lengths are then a straight line,
/// rounded (Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`).
#[inline(always)]
fn days(year: u32, month: u8, day: u8) -> Option<u32> {
    const LENGTHS: [u8; 13] = [0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let is_leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let length = *LENGTHS.get(usize::from(month))? + u8::from(month == 2 && is_leap);
    // Every instant of these years fits into 64 bits of nanoseconds.
    if !(1970..=2261).contains(&year) || day == 0 || day > length {
        return None;
    }
    let (month, day) = (u32::from(month), u32::from(day));
    let (year, month) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(year * 365 + year / 4 - year / 100 + year / 400 + day_of_year - 719_468)
}

/// The text has digits where the pattern has zeros, and is like it elsewhere: in each place the number that the digits
/// there and behind it make.
#[inline(always)]
fn pairs(text: [u8; 8], pattern: [u8; 8]) -> Option<[u8; 8]> {
    let pattern = u64::from_le_bytes(pattern);
    let digits = u64::from_le_bytes(text) ^ pattern;
    let separators = !(zero_bytes(pattern ^ repeat(b'0')) >> 7).wrapping_mul(0xff);
    if above_nine(digits) | (digits & separators) != 0 {
        return None;
    }
    // Two digits make at most 99: nothing is carried from one byte into the next.
    Some((digits.wrapping_mul(10).wrapping_add(digits >> 8)).to_le_bytes())
}

/// The number that the digits in the lowest bits of a word make.
#[inline(always)]
const fn digits(word: u64, bits: u32) -> i64 {
    // What stands behind the digits is shifted out, and zeros stand in front of them.
    let digits = match (word ^ repeat(b'0')).checked_shl(64 - bits) {
        Some(digits) => digits,
        None => 0,
    };
    let pairs = digits.wrapping_mul(10).wrapping_add(digits >> 8) & 0x00ff_00ff_00ff_00ff;
    let fours = pairs.wrapping_mul(100).wrapping_add(pairs >> 16) & 0x0000_ffff_0000_ffff;
    (fours.wrapping_mul(10_000).wrapping_add(fours >> 32) & 0xffff_ffff) as i64
}

/// The byte in all places.
const fn repeat(byte: u8) -> u64 {
    byte as u64 * 0x0101_0101_0101_0101
}

const HIGH_BIT: u8 = 0x80;

/// The high bit of each byte that is zero. Bytes above the lowest such byte may be marked although they are not zero.
#[inline(always)]
const fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(repeat(1)) & !word & repeat(HIGH_BIT)
}

/// The same for bytes below the space.
#[inline(always)]
const fn below_space(word: u64) -> u64 {
    word.wrapping_sub(repeat(b' ')) & !word & repeat(HIGH_BIT)
}

/// The high bit of each byte that is above nine.
#[inline(always)]
const fn above_nine(word: u64) -> u64 {
    (((word & !repeat(HIGH_BIT)) + repeat(0x7f - 9)) | word) & repeat(HIGH_BIT)
}

/// How many bits lie in front of the first byte that is marked.
#[inline(always)]
const fn before(marks: u64) -> u32 {
    marks.trailing_zeros() & !7
}

const MAX_DIGITS: u32 = 18;

/// Powers of ten, up to that of the most digits.
const POWERS: [i64; MAX_DIGITS as usize + 1] = {
    let mut powers = [1; MAX_DIGITS as usize + 1];
    let mut at = 1;
    while at < powers.len() {
        powers[at] = powers[at - 1] * 10;
        at += 1;
    }
    powers
};
