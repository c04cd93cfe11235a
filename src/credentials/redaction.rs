//! Finding key and secret in what a server says, however it may have spelled them, and masking them there.
//!
//! A server repeats what it was sent in its own ways: in JSON, with whatever escapes it likes and perhaps twice over,
//! in a URL, in HTML, in the name of a header, in a header's Base64, as a list of numbers. All of these write one character
//! after another, as itself, as a number or by its name, with signs of punctuation in between; and Base64 is a text of
//! its own alphabet. So there is one search: it knows the [spellings] of a character, and passes over whatever is
//! neither letter nor digit. Nothing here makes a copy of a secret to compare with: each spelling is compared character by
//! character.
//!
//! The time that a search takes grows with the length of the text: from each place it reads no more than a secret's length
//! of bounded spellings.

use std::ops::Range;

use zeroize::Zeroizing;

use super::{Credentials, pem};

impl Credentials {
    /// A server's text as it may be shown: key and secret masked, control characters escaped, length capped.
    pub(crate) fn redact(&self, text: &str) -> String {
        const SHOWN: usize = 512;
        let masked = Zeroizing::new(self.masked(text));
        let mut shown = String::new();
        for character in masked.chars() {
            if shown.len() >= SHOWN {
                shown.push('…');
                break;
            }
            if character.is_control() {
                shown.extend(character.escape_default());
            } else {
                shown.push(character);
            }
        }
        shown
    }

    /// A text that was cut, perhaps in the middle of key or secret, with both masked, and otherwise as it is.
    pub(crate) fn masked_cut(&self, text: &str) -> String {
        let mut text = Zeroizing::new(self.masked(text));
        let tail = self.beginning(text.as_bytes());
        let kept = text.len() - tail;
        text.replace_range(kept.., &"*".repeat(tail));
        std::mem::take(&mut *text)
    }

    /// Overwrites every occurrence of key and secret with asterisks. Lengths stay as they are.
    pub(crate) fn mask(&self, bytes: &mut [u8]) {
        for needle in self.needles() {
            let mut rest = &mut *bytes;
            while let Some(found) = needle.find(rest) {
                rest[found.clone()].fill(b'*');
                rest = &mut rest[found.end..];
            }
        }
    }

    /// Whether key or secret stands in a text.
    pub(crate) fn stand_in(&self, text: &[u8]) -> bool {
        self.needles().any(|needle| needle.find(text).is_some())
    }

    /// How many bytes at the end of `text` may be a beginning, but not the whole, of key or secret.
    pub(crate) fn beginning(&self, text: &[u8]) -> usize {
        self.needles()
            .map(|needle| needle.beginning(text))
            .max()
            .unwrap_or(0)
    }

    /// In how many bytes a text may spell key or secret.
    pub(crate) fn longest_spelling(&self) -> usize {
        let longest = self.needles().map(|needle| needle.bytes.len()).max();
        LONGEST_SPELLING * longest.unwrap_or(0)
    }

    /// A text with key and secret masked, and otherwise as it is.
    pub(crate) fn masked(&self, text: &str) -> String {
        let mut bytes = Zeroizing::new(text.as_bytes().to_vec());
        self.mask(&mut bytes);
        // Only ASCII was overwritten, with ASCII.
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn needles(&self) -> impl Iterator<Item = Needle<'_>> {
        let (key, secret) = self.parts();
        pem::pieces(secret)
            .chain([key])
            .filter(|part| part.len() >= SHORTEST_MASKED)
            // Any escape may be a part of one that is all backslashes.
            .filter(|part| part.iter().any(|byte| *byte != b'\\'))
            .map(Needle::new)
    }
}

/// Key or secret, or a piece of it, to be looked for.
struct Needle<'a> {
    bytes: &'a [u8],
    /// In which alphabets a spelling may begin with a byte, a bit each. Most of a text is passed over by this alone: a
    /// server may send a lot of it before the line is authenticated.
    begins: [u8; 256],
}

impl<'a> Needle<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        let mut begins = [0; 256];
        for alphabet in 0..ALPHABETS {
            for sign in signs(bytes, alphabet) {
                sign.beginnings(|byte| begins[usize::from(byte)] |= 1 << alphabet);
                // A backslash may have got lost, and what is behind it is the beginning then.
                if sign.standard != b'\\' {
                    break;
                }
            }
        }
        Self { bytes, begins }
    }

    /// Where it stands first.
    fn find(&self, text: &[u8]) -> Option<Range<usize>> {
        self.read_each(text, 0).find_map(|(from, read)| match read {
            Read::Len(len) => Some(from..from + len),
            Read::TooShort | Read::Other => None,
        })
    }

    /// How many bytes at the end of `text` may be its beginning.
    fn beginning(&self, text: &[u8]) -> usize {
        let longest = text.len().min(LONGEST_SPELLING * self.bytes.len());
        self.read_each(text, text.len() - longest)
            .find(|(_, read)| *read == Read::TooShort)
            .map_or(0, |(from, _)| text.len() - from)
    }

    /// What the text is from each position on that is worth a look.
    fn read_each(&self, text: &[u8], from: usize) -> impl Iterator<Item = (usize, Read)> {
        let bytes = text.iter().enumerate().skip(from);
        bytes.filter_map(move |(at, first)| match self.begins[usize::from(*first)] {
            0 => None,
            alphabets => Some((at, self.read(&text[at..], alphabets))),
        })
    }

    fn read(&self, text: &[u8], alphabets: u8) -> Read {
        (0..ALPHABETS)
            .filter(|alphabet| alphabets >> alphabet & 1 == 1)
            .map(|alphabet| read(text, signs(self.bytes, alphabet)))
            .find(|read| *read != Read::Other)
            .unwrap_or(Read::Other)
    }
}

/// What the beginning of a text is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Read {
    /// What was looked for, in so many bytes.
    Len(usize),
    /// What was looked for, as far as the text goes.
    TooShort,
    /// Something else.
    Other,
}

/// One character that is looked for.
#[derive(Clone, Copy)]
struct Sign {
    standard: u8,
    /// Base64 has two alphabets. Otherwise the same.
    other: u8,
    /// HTTP/2 writes the names of headers in lower case.
    any_case: bool,
}

impl Sign {
    fn plain(byte: u8) -> Self {
        Self {
            standard: byte,
            other: byte,
            any_case: true,
        }
    }

    fn base64(sextet: u8) -> Self {
        let (standard, other) = match sextet & 63 {
            sextet @ 0..26 => (b'A' + sextet, b'A' + sextet),
            sextet @ 26..52 => (b'a' + sextet - 26, b'a' + sextet - 26),
            sextet @ 52..62 => (b'0' + sextet - 52, b'0' + sextet - 52),
            62 => (b'+', b'-'),
            _ => (b'/', b'_'),
        };
        Self {
            standard,
            other,
            any_case: false,
        }
    }

    fn is(self, byte: u8) -> bool {
        byte == self.standard
            || byte == self.other
            || (self.any_case && byte.eq_ignore_ascii_case(&self.standard))
    }

    /// The bytes that a spelling of it may begin with.
    fn beginnings(self, mut begin: impl FnMut(u8)) {
        let value = self.standard;
        begin(value);
        begin(self.other);
        if self.any_case {
            begin(value.to_ascii_lowercase());
            begin(value.to_ascii_uppercase());
        }
        // In Base64 letters and digits are written as they are.
        if self.any_case || !value.is_ascii_alphanumeric() {
            ESCAPES.iter().for_each(|escape| begin(*escape));
            // No character that credentials may hold has a letter for its first digit.
            for digit in [value >> 4, first_digit(value, 10), first_digit(value, 8)] {
                begin(b'0' + digit);
            }
        }
    }
}

fn first_digit(value: u8, base: u8) -> u8 {
    if value < base {
        value
    } else {
        first_digit(value / base, base)
    }
}

/// What is looked for, in the alphabet of texts, or in that of Base64 behind none, one or two bytes of another group.
fn signs(bytes: &[u8], alphabet: usize) -> impl Iterator<Item = Sign> {
    let (plain, encoded) = match alphabet.checked_sub(1) {
        None => (bytes, &[][..]),
        Some(skipped) => (&[][..], bytes.get(skipped..).unwrap_or_default()),
    };
    // Only whole groups: they are the same whatever follows them.
    let encoded = if encoded.len() < SHORTEST_BASE64 {
        &[]
    } else {
        encoded
    };
    let encoded = encoded.chunks_exact(3).flat_map(|group| {
        [
            group[0] >> 2,
            group[0] << 4 | group[1] >> 4,
            group[1] << 2 | group[2] >> 6,
            group[2],
        ]
    });
    plain
        .iter()
        .map(|byte| Sign::plain(*byte))
        .chain(encoded.map(Sign::base64))
}

/// Goes through the text with all readings of it at once, so that the first one that fits a character need not be the
/// right one.
fn read(text: &[u8], signs: impl Iterator<Item = Sign>) -> Read {
    let mut ends = Ends::default();
    ends.add(0);
    let mut is_cut = false;
    for sign in signs {
        let mut next = Ends::default();
        for from in ends.iter() {
            is_cut |= spellings(&text[from..], sign, from == 0, |len| next.add(from + len));
        }
        if next.len == 0 {
            return if is_cut { Read::TooShort } else { Read::Other };
        }
        ends = next;
    }
    match ends.iter().max() {
        None | Some(0) => Read::Other,
        Some(len) => Read::Len(len),
    }
}

/// Where the readings of a text have come to.
#[derive(Default)]
struct Ends {
    at: [usize; MOST_READINGS],
    len: usize,
}

impl Ends {
    fn add(&mut self, end: usize) {
        if self.len < MOST_READINGS && self.iter().all(|known| known != end) {
            self.at[self.len] = end;
            self.len += 1;
        }
    }

    fn iter(&self) -> impl Iterator<Item = usize> {
        self.at[..self.len].iter().copied()
    }
}

/// The lengths in which a text may begin with a character: with what may stand in front of one, and as itself, as a
/// [number] or by its [name]. Gives whether the text was too short to tell.
///
/// In front of the first character only an escape is part of it. Whatever else stands there belongs to somebody else.
fn spellings(text: &[u8], sign: Sign, is_first: bool, mut found: impl FnMut(usize)) -> bool {
    let mut is_cut = false;
    let mut is_there = false;
    // A bit for each place to which what stands in front may reach, and for those of them where an escape goes on.
    let (mut reached, mut behind_escape) = (1_u64, 0_u64);
    if sign.standard == b'\\' {
        // One escape more or less, and it has got lost.
        found(0);
    }
    let most = if is_first {
        MOST_IN_FRONT
    } else {
        MOST_BETWEEN
    };
    for at in 0..=most {
        if reached >> at & 1 == 0 {
            continue;
        }
        let Some(byte) = text.get(at) else {
            is_cut = true;
            break;
        };
        let may_be_bare = !is_first || at == 0 || text[at - 1] == b'\\';
        if sign.is(*byte) && may_be_bare && !is_there {
            found(at + 1);
            // Of signs of punctuation the nearest will do, since the others are passed over.
            is_there = !byte.is_ascii_alphanumeric();
        }
        let is_behind_escape = behind_escape >> at & 1 == 1;
        if byte.is_ascii_alphanumeric() {
            let mut is_written = |value: u8, len: usize| {
                if sign.is(value) {
                    found(at + len);
                }
                // What is escaped may be the beginning of an escape itself: an `&` is `&amp;` or `%26` or `\u0026`.
                if is_behind_escape && PUNCTUATION.contains(&value) {
                    reached |= 1 << (at + len);
                    behind_escape |= u64::from(ESCAPES.contains(&value)) << (at + len);
                }
            };
            is_cut |= number(&text[at..], &mut is_written);
            if is_behind_escape {
                is_cut |= name(&text[at..], &mut is_written);
                let is_white_space = text[at - 1] == b'\\' && b"nrt".contains(byte);
                reached |= u64::from(is_white_space && !is_first) << (at + 1);
            }
        } else if ESCAPES.contains(byte) || (is_behind_escape && *byte == b';') {
            reached |= 1 << (at + 1);
            behind_escape |= 1 << (at + 1);
        } else if !is_first {
            reached |= 1 << (at + 1);
        }
    }
    is_cut
}

/// The characters that a text may begin with as numbers, of two digits or three, and their lengths: `61`, `97`, `141`,
/// `0x61`, `x61`, `u0061`, `U00000061`, `u{61}`, `0o141`, `0000097`. Gives whether the text was too short to tell.
fn number(text: &[u8], mut found: impl FnMut(u8, usize)) -> bool {
    let is = |at: usize, of: &[u8]| text.get(at).is_some_and(|byte| of.contains(byte));
    let mut at = usize::from(is(0, b"0") && is(1, b"xXoO"));
    if is(at, b"xXuUoO") {
        at += 1;
        at += usize::from(is(at, b"{"));
    }
    let zeros = text[at..].iter().take(MOST_ZEROS);
    at += zeros.take_while(|byte| **byte == b'0').count();
    let mut values = [0_u32; 3];
    let mut is_of_base = [true; 3];
    for len in 1..=3 {
        let Some(digit) = text.get(at + len - 1) else {
            return true;
        };
        let Some(digit) = char::from(*digit).to_digit(16) else {
            return false;
        };
        for ((value, is_of_base), base) in values.iter_mut().zip(&mut is_of_base).zip([16, 10, 8]) {
            *value = *value * base + digit;
            *is_of_base &= digit < base && (base < 16 || len < 3);
            if let Ok(value) = u8::try_from(*value)
                && *is_of_base
                && len > 1
            {
                found(value, at + len);
            }
        }
    }
    false
}

/// The character whose name in HTML a text may begin with, and the length of the name. Gives whether the text was too
/// short to tell.
fn name(text: &[u8], mut found: impl FnMut(u8, usize)) -> bool {
    let mut is_cut = false;
    for (value, names) in NAMES {
        for name in *names {
            let len = text.len().min(name.len());
            if text[..len].eq_ignore_ascii_case(&name.as_bytes()[..len]) {
                if len == name.len() {
                    found(*value, len);
                } else {
                    is_cut = true;
                }
            }
        }
    }
    is_cut
}

/// Of texts, and of Base64 at its three alignments.
const ALPHABETS: usize = 4;
/// What escapes begin with: of programming languages, URLs, HTML, and quoted-printable.
const ESCAPES: &[u8] = b"\\%&#=";
/// What may be written as an escape and stand between two characters, or begin an escape of its own.
const PUNCTUATION: &[u8] = b"\\%&#=;:, \"'";
/// HTML's names for characters that credentials may hold.
const NAMES: &[(u8, &[&str])] = &[
    (b'!', &["excl"]),
    (b'"', &["quot"]),
    (b'#', &["num"]),
    (b'$', &["dollar"]),
    (b'%', &["percnt"]),
    (b'&', &["amp"]),
    (b'\'', &["apos"]),
    (b'(', &["lpar"]),
    (b')', &["rpar"]),
    (b'*', &["ast", "midast"]),
    (b'+', &["plus"]),
    (b',', &["comma"]),
    (b'.', &["period"]),
    (b'/', &["sol"]),
    (b':', &["colon"]),
    (b';', &["semi"]),
    (b'<', &["lt"]),
    (b'=', &["equals"]),
    (b'>', &["gt"]),
    (b'?', &["quest"]),
    (b'@', &["commat"]),
    (b'[', &["lsqb", "lbrack"]),
    (b'\\', &["bsol"]),
    (b']', &["rsqb", "rbrack"]),
    (b'^', &["Hat"]),
    (b'_', &["lowbar", "UnderBar"]),
    (b'`', &["grave"]),
    (b'{', &["lcub", "lbrace"]),
    (b'|', &["vert", "verbar"]),
    (b'}', &["rcub", "rbrace"]),
];

/// Shorter parts are not looked for in what a server says: a key `con` would be found in every `connection`, and in the
/// words of the protocol itself. Real ones are some twenty and forty characters long.
const SHORTEST_MASKED: usize = 5;
/// Two whole groups. Fewer characters would be found in any text.
const SHORTEST_BASE64: usize = 6;
/// In bytes, what may stand between two characters: a line break with an indent, or the escape of an escape.
const MOST_BETWEEN: usize = 32;
/// In bytes, an escape in front of the first character: several times over, at the most.
const MOST_IN_FRONT: usize = 12;
const MOST_ZEROS: usize = 7;
/// In bytes, a number: a prefix, zeros, and three digits. No name is longer.
const LONGEST_FORM: usize = 3 + MOST_ZEROS + 3;
const LONGEST_SPELLING: usize = MOST_BETWEEN + LONGEST_FORM;
/// Few texts have more than one reading. The most have those that are all punctuation and escaped several times over.
const MOST_READINGS: usize = 16;

#[cfg(test)]
mod tests;
