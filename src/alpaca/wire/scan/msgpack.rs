//! The tokens of usual MessagePack. It must not know what they mean.
//!
//! Unusual are nil, numbers and texts in the place of others, 32-bit floats, maps of more than 15 pairs, and times that
//! are not the extension's two short forms.

use super::{
    super::{number, time},
    Codes, Key, Number, Text, Tokens,
};
use crate::market::{Conditions, Letters, Timestamp};

pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// How many items the frame still claims. None of that is believed before it is there.
    items: u32,
    /// How many pairs the item still claims.
    pairs: u8,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(frame: &'a [u8]) -> Option<Self> {
        let mut cursor = Self {
            rest: frame,
            items: 0,
            pairs: 0,
        };
        cursor.items = match cursor.byte()? {
            short @ 0x90..=0x9f => u32::from(short & 0x0f),
            0xdc => u16::from_be_bytes(cursor.array()?).into(),
            0xdd => u32::from_be_bytes(cursor.array()?),
            _ => return None,
        };
        Some(cursor)
    }
}

impl<'a> Tokens<'a> for Cursor<'a> {
    #[inline(always)]
    fn item(&mut self) -> Option<bool> {
        if self.items == 0 {
            return self.rest.is_empty().then_some(true);
        }
        self.items -= 1;
        Some(false)
    }

    #[inline(always)]
    fn kind(&mut self) -> Option<u8> {
        let [map @ 0x81..=0x8f, 0xa1, b'T', 0xa1, kind] = self.array()? else {
            return None;
        };
        // Without the one that was just read.
        self.pairs = (map & 0x0f) - 1;
        Some(kind)
    }

    #[inline(always)]
    fn end(&mut self) -> bool {
        self.pairs == 0
    }

    #[inline(always)]
    fn key(&mut self, key: Key) -> bool {
        let rest = match self.rest.split_first() {
            Some((marker, rest)) if *marker == 0xa0 | key.name.len() as u8 && self.pairs > 0 => {
                rest
            }
            _ => return false,
        };
        let Some(rest) = rest.strip_prefix(key.name.as_bytes()) else {
            return false;
        };
        self.rest = rest;
        self.pairs -= 1;
        true
    }

    #[inline(always)]
    fn text(&mut self) -> Option<Text<'a>> {
        let len = match self.byte()? {
            short @ 0xa0..=0xbf => short & 0x1f,
            0xd9 => self.byte()?,
            _ => return None,
        };
        let ahead = self.rest.first_chunk();
        let bytes = self.take(len.into())?;
        if let Some(ahead) = ahead
            && let Some(letters) = Letters::ascii(*ahead, len.into())
        {
            return Some(Text { bytes, letters });
        }
        let text = str::from_utf8(bytes).ok()?;
        let letters = Letters::new(text).unwrap_or_default();
        Some(Text { bytes, letters })
    }

    #[inline(always)]
    fn code(&mut self) -> Option<Text<'a>> {
        let [0xa1, letter @ 0..0x80, rest @ ..] = self.rest else {
            return self.text();
        };
        self.rest = rest;
        Some(Text::of(letter))
    }

    /// A list for stocks, and one text for options.
    #[inline(always)]
    fn codes(&mut self) -> Option<Codes<'a>> {
        let list = self.rest;
        let (count, mut rest) = match list.split_first()? {
            (0xa1, _) => (1, list),
            (short @ 0x90..=0x9f, rest) => (short & 0x0f, rest),
            _ => (u8::MAX, list),
        };
        let mut letters = Letters::default();
        for _ in 0..count {
            match *rest {
                [0xa1, letter @ 0..0x80, ref behind @ ..]
                    if letters.push_code(letter).is_some() =>
                {
                    rest = behind;
                }
                _ => {
                    (_, self.rest) = conditions(list)?;
                    return Some(Codes::Any(&list[..list.len() - self.rest.len()]));
                }
            }
        }
        self.rest = rest;
        Some(Codes::Few(letters))
    }

    fn conditions(list: &'a [u8]) -> Option<Conditions> {
        conditions(list).map(|(conditions, _)| conditions)
    }

    #[inline(always)]
    fn number(&mut self) -> Option<Number> {
        let [0xcb, rest @ ..] = self.rest else {
            return Some(Number {
                digits: self.integer()?,
                scale: 0,
                is_negative: false,
            });
        };
        self.rest = rest;
        let float = f64::from_be_bytes(self.array()?);
        match number::short(float) {
            Some((digits, scale)) => Some(Number {
                digits: digits.unsigned_abs(),
                scale,
                is_negative: digits < 0,
            }),
            None => long_number(float),
        }
    }

    #[inline(always)]
    fn integer(&mut self) -> Option<u64> {
        Some(match self.byte()? {
            short @ 0..0x80 => short.into(),
            0xcc => self.byte()?.into(),
            0xcd => u16::from_be_bytes(self.array()?).into(),
            0xce => u32::from_be_bytes(self.array()?).into(),
            0xcf => u64::from_be_bytes(self.array()?),
            // Go writes whatever is an `int64` in eight bytes.
            0xd3 => u64::try_from(i64::from_be_bytes(self.array()?)).ok()?,
            _ => return None,
        })
    }

    #[inline(always)]
    fn timestamp(&mut self) -> Option<Timestamp> {
        match self.array()? {
            [0xd6, 0xff] => time::from_ext(self.take(4)?).flatten(),
            [0xd7, 0xff] => time::from_ext(self.take(8)?).flatten(),
            _ => None,
        }
    }
}

impl<'a> Cursor<'a> {
    #[inline(always)]
    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.array()?;
        Some(byte)
    }

    #[inline(always)]
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.rest.split_first_chunk()?;
        self.rest = rest;
        Some(*array)
    }

    #[inline(always)]
    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(len)?;
        self.rest = rest;
        Some(taken)
    }
}

/// Any list of texts, or one that is not empty. And what stands behind it.
#[inline(never)]
fn conditions(list: &[u8]) -> Option<(Conditions, &[u8])> {
    let mut cursor = Cursor {
        rest: list,
        items: 0,
        pairs: 0,
    };
    let mut conditions = Conditions::default();
    if let [count @ 0x90..=0x9f, rest @ ..] = list {
        cursor.rest = rest;
        for _ in 0..count & 0x0f {
            conditions.push(cursor.text()?.as_str());
        }
    } else {
        let text = cursor.text()?.as_str();
        if !text.is_empty() {
            conditions.push(text);
        }
    }
    Some((conditions, cursor.rest))
}

#[inline(never)]
fn long_number(float: f64) -> Option<Number> {
    let number = number::shortest(float)?;
    Some(Number {
        digits: number.mantissa().unsigned_abs().try_into().ok()?,
        scale: number.scale(),
        is_negative: number.is_sign_negative(),
    })
}
