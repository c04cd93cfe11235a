//! The smallest pieces of MessagePack: one value, or the beginning of an array or a map.

use rmp::Marker;

/// Borrows its bytes, and holds nothing that a header merely claims.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::alpaca::wire) enum Token<'a> {
    Nil,
    Bool(bool),
    Integer(i128),
    Single(f32),
    Double(f64),
    Str(&'a [u8]),
    Bin(&'a [u8]),
    Ext(i8, &'a [u8]),
    /// So many values follow.
    Array(u32),
    /// So many pairs of values follow.
    Map(u32),
}

/// The first token, and what follows. Nothing where it is not all there.
pub(in crate::alpaca::wire) fn token(bytes: &[u8]) -> Option<(Token<'_>, &[u8])> {
    let mut rest = Rest(bytes);
    let token = match Marker::from_u8(rest.byte()?) {
        Marker::Null => Token::Nil,
        Marker::True => Token::Bool(true),
        Marker::False => Token::Bool(false),
        Marker::FixPos(value) => Token::Integer(value.into()),
        Marker::FixNeg(value) => Token::Integer(value.into()),
        Marker::U8 => Token::Integer(rest.byte()?.into()),
        Marker::U16 => Token::Integer(u16::from_be_bytes(rest.array()?).into()),
        Marker::U32 => Token::Integer(u32::from_be_bytes(rest.array()?).into()),
        Marker::U64 => Token::Integer(u64::from_be_bytes(rest.array()?).into()),
        Marker::I8 => Token::Integer(i8::from_be_bytes(rest.array()?).into()),
        Marker::I16 => Token::Integer(i16::from_be_bytes(rest.array()?).into()),
        Marker::I32 => Token::Integer(i32::from_be_bytes(rest.array()?).into()),
        Marker::I64 => Token::Integer(i64::from_be_bytes(rest.array()?).into()),
        Marker::F32 => Token::Single(f32::from_be_bytes(rest.array()?)),
        Marker::F64 => Token::Double(f64::from_be_bytes(rest.array()?)),
        Marker::FixStr(len) => Token::Str(rest.take(len.into())?),
        Marker::Str8 => Token::Str(rest.sized::<1>()?),
        Marker::Str16 => Token::Str(rest.sized::<2>()?),
        Marker::Str32 => Token::Str(rest.sized::<4>()?),
        Marker::Bin8 => Token::Bin(rest.sized::<1>()?),
        Marker::Bin16 => Token::Bin(rest.sized::<2>()?),
        Marker::Bin32 => Token::Bin(rest.sized::<4>()?),
        Marker::FixExt1 => rest.ext(1)?,
        Marker::FixExt2 => rest.ext(2)?,
        Marker::FixExt4 => rest.ext(4)?,
        Marker::FixExt8 => rest.ext(8)?,
        Marker::FixExt16 => rest.ext(16)?,
        Marker::Ext8 => {
            let len = rest.length::<1>()?;
            rest.ext(len)?
        }
        Marker::Ext16 => {
            let len = rest.length::<2>()?;
            rest.ext(len)?
        }
        Marker::Ext32 => {
            let len = rest.length::<4>()?;
            rest.ext(len)?
        }
        Marker::FixArray(count) => Token::Array(count.into()),
        Marker::Array16 => Token::Array(u16::from_be_bytes(rest.array()?).into()),
        Marker::Array32 => Token::Array(u32::from_be_bytes(rest.array()?)),
        Marker::FixMap(count) => Token::Map(count.into()),
        Marker::Map16 => Token::Map(u16::from_be_bytes(rest.array()?).into()),
        Marker::Map32 => Token::Map(u32::from_be_bytes(rest.array()?)),
        Marker::Reserved => return None,
    };
    Some((token, rest.0))
}

/// What follows the first value. Nothing where it is not all there.
#[inline]
pub(in super::super) fn skip(bytes: &[u8]) -> Option<&[u8]> {
    // What nearly every value is, without looking at what it says.
    let len = match bytes {
        [0x00..=0x7f | 0xc0 | 0xc2 | 0xc3 | 0xe0..=0xff, ..] => 1,
        [head @ 0xa0..=0xbf, ..] => 1 + usize::from(head & 0x1f),
        [0xcc | 0xd0, ..] => 2,
        [0xcd | 0xd1, ..] => 3,
        [0xca | 0xce | 0xd2, ..] => 5,
        [0xcb | 0xcf | 0xd3, ..] => 9,
        [0xd6, ..] => 6,
        [0xd7, ..] => 10,
        _ => return skip_any(bytes),
    };
    bytes.get(len..)
}

fn skip_any(bytes: &[u8]) -> Option<&[u8]> {
    let mut rest = bytes;
    // At most four thousand million more for each of the bytes of a frame: it cannot overflow.
    let mut left: u64 = 1;
    while left > 0 {
        let (token, after) = token(rest)?;
        rest = after;
        left -= 1;
        match token {
            Token::Array(count) => left += u64::from(count),
            Token::Map(count) => left += 2 * u64::from(count),
            _ => {}
        }
    }
    Some(rest)
}

struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn byte(&mut self) -> Option<u8> {
        let [byte] = self.array()?;
        Some(byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn take(&mut self, len: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(taken)
    }

    /// A length of so many bytes.
    fn length<const N: usize>(&mut self) -> Option<usize> {
        let bytes: [u8; N] = self.array()?;
        Some(
            bytes
                .iter()
                .fold(0, |len, byte| len << 8 | usize::from(*byte)),
        )
    }

    fn sized<const N: usize>(&mut self) -> Option<&'a [u8]> {
        let len = self.length::<N>()?;
        self.take(len)
    }

    fn ext(&mut self, len: usize) -> Option<Token<'a>> {
        let [kind] = self.array()?;
        Some(Token::Ext(kind as i8, self.take(len)?))
    }
}
