//! The tokens of usual JSON, eight bytes at a time: most codes and numbers fit into one word, and a word is looked at
//! without a branch per byte. It must not know what the tokens mean.
//!
//! Unusual are white space, escapes, what is not ASCII, null, signs, exponents, numbers of more than 18 digits, and times
//! with an offset other than `Z`.
//!
//! Words are little-endian on every machine: the first byte of the text is the lowest. A word that reaches beyond the
//! text is filled up with zeros, which no token can hold; so no token ends behind the text.

use super::{Codes, Key, Number, Text, Tokens};
use crate::market::{Conditions, Letters, Timestamp};

pub(super) struct Cursor<'a, 'd> {
    rest: &'a [u8],
    /// Whether the frame's bracket was passed.
    is_open: bool,
    day: &'d mut LastDay,
}

impl<'a, 'd> Cursor<'a, 'd> {
    pub(super) fn new(frame: &'a [u8], day: &'d mut LastDay) -> Self {
        Self {
            rest: frame,
            is_open: false,
            day,
        }
    }
}

/// The day of the time that was read last: it is that of nearly all that follow, and is not worked out again for them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct LastDay {
    /// Its year and its month, as they stand in the text.
    month: [u8; 8],
    /// In the month.
    number: u8,
    since_1970: u32,
}

impl Default for LastDay {
    fn default() -> Self {
        Self {
            month: *b"1970-01-",
            number: 1,
            since_1970: 0,
        }
    }
}

impl LastDay {
    /// The days from 1970 to this one, which is remembered.
    #[inline(always)]
    fn since_1970_of(&mut self, month: [u8; 8], number: u8) -> Option<u32> {
        if (self.month, self.number) != (month, number) {
            *self = Self::read(month, number)?;
        }
        Some(self.since_1970)
    }

    #[cold]
    #[inline(never)]
    fn read(text: [u8; 8], number: u8) -> Option<Self> {
        let [century, _, year, _, _, month, ..] = pairs(text, *b"0000-00-")?;
        let since_1970 = days(u32::from(century) * 100 + u32::from(year), month, number)?;
        Some(Self {
            month: text,
            number,
            since_1970,
        })
    }
}

impl<'a> Tokens<'a> for Cursor<'a, '_> {
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

    /// Printable ASCII without escapes.
    #[inline(always)]
    fn text(&mut self) -> Option<Text<'a>> {
        self.pass(b'"')?;
        let ahead = self.word();
        let (end, is_end) = end_of_text(ahead)?;
        if is_end {
            let len = end as usize / 8;
            let (bytes, rest) = self.rest.split_at_checked(len)?;
            self.rest = rest;
            self.pass(b'"')?;
            let letters = Letters::ascii(ahead.to_le_bytes(), len)?;
            return Some(Text { bytes, letters });
        }
        let (text, rest) = long_text(self.rest)?;
        self.rest = rest;
        Some(text)
    }

    #[inline(always)]
    fn code(&mut self) -> Option<Text<'a>> {
        let [b'"', letter, b'"', rest @ ..] = self.rest else {
            return self.text();
        };
        if !is_plain(*letter) {
            return self.text();
        }
        self.rest = rest;
        Some(Text::of(letter))
    }

    #[inline(always)]
    fn codes(&mut self) -> Option<Codes<'a>> {
        let list = self.rest;
        self.pass(b'[')?;
        let mut letters = Letters::default();
        if self.pass(b']').is_some() {
            return Some(Codes::Few(letters));
        }
        while let [b'"', letter, b'"', behind, ref rest @ ..] = *self.rest
            && is_plain(letter)
            && letters.push_code(letter).is_some()
        {
            self.rest = rest;
            match behind {
                b',' => {}
                b']' => return Some(Codes::Few(letters)),
                _ => return None,
            }
        }
        (_, self.rest) = conditions(list)?;
        Some(Codes::Any(&list[..list.len() - self.rest.len()]))
    }

    fn conditions(list: &'a [u8]) -> Option<Conditions> {
        conditions(list).map(|(conditions, _)| conditions)
    }

    /// A number without sign and exponent, of at most 18 digits: with its scale it is exactly what its text says.
    #[inline(always)]
    fn number(&mut self) -> Option<Number> {
        let word = self.word();
        let others = above_nine(word ^ repeat(b'0'));
        let whole = before(others);
        // Cleared of its lowest bit. Where there is none, the number is longer than the word.
        let behind = others & others.wrapping_sub(1);
        if behind == 0 {
            let (number, rest) = long_number(self.rest)?;
            self.rest = rest;
            return Some(number);
        }
        if !is_whole(word, whole / 8) {
            return None;
        }
        if (word >> whole) as u8 != b'.' {
            self.advance(whole as usize / 8)?;
            return Some(positive(digits(word, whole), 0));
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
        Some(positive(digits(together, end - 8), scale))
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
        let [day, _, _, hour, _, _, minute, _] = pairs(*clock.first_chunk()?, *b"00T00:00")?;
        if !tens.is_ascii_digit() || !ones.is_ascii_digit() {
            return None;
        }
        let second = (tens - b'0') * 10 + (ones - b'0');
        if hour > 23 || minute > 59 || second > 59 {
            return None;
        }
        let days = self.day.since_1970_of(*date, day)?;
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

impl Cursor<'_, '_> {
    /// Passes the byte, if it is the next.
    #[inline(always)]
    fn pass(&mut self, byte: u8) -> Option<()> {
        let (first, rest) = self.rest.split_first()?;
        (*first == byte).then(|| self.rest = rest)
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

// These take what is left and give back what they leave: a cursor that others change lies in memory.

/// The rest of a string that does not end in its first eight bytes, and what stands behind it.
#[inline(never)]
fn long_text(text: &[u8]) -> Option<(Text<'_>, &[u8])> {
    let mut day = LastDay::default();
    let mut cursor = Cursor::new(text, &mut day);
    loop {
        let (end, is_end) = end_of_text(cursor.word())?;
        cursor.advance(end as usize / 8)?;
        if is_end {
            let bytes = text.get(..text.len() - cursor.rest.len())?;
            cursor.advance(1)?;
            let letters = Letters::new(str::from_utf8(bytes).ok()?).unwrap_or_default();
            return Some((Text { bytes, letters }, cursor.rest));
        }
    }
}

/// Any list of strings, and what stands behind it.
#[inline(never)]
fn conditions(list: &[u8]) -> Option<(Conditions, &[u8])> {
    let mut day = LastDay::default();
    let mut cursor = Cursor::new(list, &mut day);
    let mut conditions = Conditions::default();
    cursor.pass(b'[')?;
    loop {
        conditions.push(cursor.text()?.as_str());
        if cursor.pass(b',').is_none() {
            cursor.pass(b']')?;
            return Some((conditions, cursor.rest));
        }
    }
}

/// A number that may not end in its first eight bytes, and what stands behind it.
#[inline(never)]
fn long_number(number: &[u8]) -> Option<(Number, &[u8])> {
    let mut day = LastDay::default();
    let mut cursor = Cursor::new(number, &mut day);
    let (whole, digits) = cursor.whole()?;
    if cursor.pass(b'.').is_none() {
        return Some((positive(whole, 0), cursor.rest));
    }
    let (fraction, scale) = cursor.digits()?;
    if digits + scale > MAX_DIGITS {
        return None;
    }
    let digits = whole * POWERS.get(scale as usize)? + fraction;
    Some((positive(digits, scale), cursor.rest))
}

#[inline(always)]
const fn positive(digits: i64, scale: u32) -> Number {
    Number {
        digits: digits as u64,
        scale,
        is_negative: false,
    }
}

/// Where a string ends in a word, or how much of the word it is without an end. None where something odd comes first.
#[inline(always)]
fn end_of_text(word: u64) -> Option<(u32, bool)> {
    let quotes = zero_bytes(word ^ repeat(b'"'));
    let odd = zero_bytes(word ^ repeat(b'\\')) | below_space(word) | (word & repeat(HIGH_BIT));
    // In either mask only the lowest bit is sure, which is the one that counts.
    let (end, odd) = (before(quotes), before(odd));
    (odd >= end).then_some((end, quotes != 0))
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
