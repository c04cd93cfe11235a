//! Names as the venue spells them: symbols, codes, and lists of condition codes.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

/// A ticker symbol, as the venue spells it.
///
/// Cheap to clone; up to 23 bytes, which covers every option symbol, without an allocation. Hashes, orders and
/// compares as the `str` it holds, so a `HashMap<Symbol, _>` can be asked with a `&str`.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct Symbol(Text<23>);

/// A short code of a venue: an exchange, a tape, a taker's side. Empty where there is none.
///
/// Sixteen bytes, of which up to fifteen are text: every event has several.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(transparent)
)]
pub struct Code(Text<15>);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// The text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                self.0.as_str()
            }

            /// Whether it is empty.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.as_str().is_empty()
            }
        }
        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.into())
            }
        }
        impl From<Letters> for $name {
            #[inline(always)]
            fn from(letters: Letters) -> Self {
                Self(letters.into())
            }
        }
        impl Deref for $name {
            type Target = str;
            fn deref(&self) -> &str {
                self.as_str()
            }
        }
        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                self.as_str()
            }
        }
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                self.as_str()
            }
        }
        impl PartialEq<str> for $name {
            fn eq(&self, other: &str) -> bool {
                self.as_str() == other
            }
        }
        impl PartialEq<&str> for $name {
            fn eq(&self, other: &&str) -> bool {
                self.as_str() == *other
            }
        }
        impl From<&String> for $name {
            fn from(text: &String) -> Self {
                text.as_str().into()
            }
        }
        impl From<String> for $name {
            fn from(text: String) -> Self {
                text.as_str().into()
            }
        }
        impl From<&Self> for $name {
            fn from(other: &Self) -> Self {
                other.clone()
            }
        }
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self.as_str(), f)
            }
        }
    };
}
text!(Symbol);
text!(Code);

/// Condition codes, in the venue's order. A code may be a single space.
///
/// Held as one text in which each code is closed by a unit separator, so that the usual one to four codes need no
/// allocation.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Conditions(Text<15>);

const CLOSE: &str = "\u{1f}";

impl Conditions {
    /// The codes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.as_str().split_terminator(CLOSE)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.as_str().is_empty()
    }

    pub(crate) fn push(&mut self, code: &str) {
        self.0.push(code);
        self.0.push(CLOSE);
    }
}

impl From<Letters> for Conditions {
    // Of those that codes were pushed to.
    #[inline(always)]
    fn from(letters: Letters) -> Self {
        Self(letters.into())
    }
}

impl<S: AsRef<str>> FromIterator<S> for Conditions {
    fn from_iter<I: IntoIterator<Item = S>>(codes: I) -> Self {
        let mut all = Self::default();
        for code in codes {
            all.push(code.as_ref());
        }
        all
    }
}

impl fmt::Debug for Conditions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Conditions {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

#[cfg(feature = "serde")]
impl<'de> serde::Deserialize<'de> for Conditions {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<Code>::deserialize(deserializer).map(Self::from_iter)
    }
}

/// A text that is nearly always at most `N` bytes long. Equal texts are equal in their bytes, too.
#[derive(Clone, PartialEq, Eq)]
enum Text<const N: usize> {
    Short(Short<N>),
    // Not `Arc<str>`, which is two words by itself.
    Long(Arc<String>),
}

/// Its length, and its bytes in front of zeros. The length leaves room for the kind of text in the same byte, so that a
/// clone is a move of the whole.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Short<const N: usize> {
    len: Len,
    bytes: [u8; N],
}

impl<const N: usize> Short<N> {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len as usize]
    }

    /// With more behind it, if there is room.
    fn and(&self, more: &[u8]) -> Option<Self> {
        let mut bytes = self.bytes;
        let (start, end) = (self.len as usize, self.len as usize + more.len());
        bytes.get_mut(start..end)?.copy_from_slice(more);
        Some(Self {
            len: Len::new(end)?,
            bytes,
        })
    }
}

macro_rules! lengths {
    ($($number:literal $name:ident)+) => {
        /// The length of a short text.
        #[derive(Clone, Copy, Default, PartialEq, Eq)]
        #[repr(u8)]
        enum Len { #[default] L0, $($name),+ }

        impl Len {
            #[inline(always)]
            const fn new(length: usize) -> Option<Self> {
                match length {
                    0 => Some(Self::L0),
                    $($number => Some(Self::$name),)+
                    _ => None,
                }
            }
        }
    };
}
lengths!(
    1 L1 2 L2 3 L3 4 L4 5 L5 6 L6 7 L7 8 L8 9 L9 10 L10 11 L11 12 L12 13 L13 14 L14 15 L15 16
    L16 17 L17 18 L18 19 L19 20 L20 21 L21 22 L22 23 L23
);

impl<const N: usize> Text<N> {
    fn as_str(&self) -> &str {
        match self {
            // It was made from whole `str`s.
            Self::Short(short) => std::str::from_utf8(short.as_bytes()).unwrap_or_default(),
            Self::Long(text) => text,
        }
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Short(short) => short.as_bytes(),
            Self::Long(text) => text.as_bytes(),
        }
    }

    fn push(&mut self, more: &str) {
        match self {
            Self::Short(short) => {
                *self = match short.and(more.as_bytes()) {
                    Some(longer) => Self::Short(longer),
                    None => Self::Long(Arc::new([self.as_str(), more].concat())),
                }
            }
            Self::Long(text) => Arc::make_mut(text).push_str(more),
        }
    }
}

impl<const N: usize> Default for Text<N> {
    #[inline]
    fn default() -> Self {
        const { assert!(Len::new(N).is_some()) };
        Self::Short(Short {
            len: Len::default(),
            bytes: [0; N],
        })
    }
}

impl<const N: usize> From<&str> for Text<N> {
    fn from(text: &str) -> Self {
        let mut short = Self::default();
        short.push(text);
        short
    }
}

impl<const N: usize> From<Letters> for Text<N> {
    #[inline(always)]
    fn from(letters: Letters) -> Self {
        const { assert!(N >= Letters::MOST) };
        let mut bytes = [0; N];
        bytes[..Letters::MOST].copy_from_slice(&letters.bytes.to_le_bytes());
        Self::Short(Short {
            len: letters.len,
            bytes,
        })
    }
}

/// A text of at most eight bytes, which fits into a register: the first byte is the lowest of the word, and zeros stand
/// behind the last.
#[derive(Clone, Copy, Default)]
pub(crate) struct Letters {
    bytes: u64,
    len: Len,
}

impl Letters {
    pub(crate) const MOST: usize = size_of::<u64>();

    /// The text, if it is short enough.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let mut bytes = [0; Self::MOST];
        bytes
            .get_mut(..text.len())?
            .copy_from_slice(text.as_bytes());
        Some(Self {
            bytes: u64::from_le_bytes(bytes),
            len: Len::new(text.len())?,
        })
    }

    /// One letter, which must be ASCII.
    #[inline(always)]
    pub(crate) const fn letter(letter: u8) -> Self {
        Self {
            bytes: letter as u64,
            len: Len::L1,
        }
    }

    /// The first so many of these bytes, which have to be less than all of them, if they are ASCII.
    #[inline(always)]
    pub(crate) fn ascii(bytes: [u8; Self::MOST], len: usize) -> Option<Self> {
        let above = 1_u64.checked_shl(len as u32 * 8)?;
        let bytes = u64::from_le_bytes(bytes) & (above - 1);
        let len = Len::new(len)?;
        (bytes & HIGH_BITS == 0).then_some(Self { bytes, len })
    }

    /// One more [condition code](Conditions) of one letter, which must be ASCII. None where there is no room.
    #[inline(always)]
    pub(crate) fn push_code(&mut self, letter: u8) -> Option<()> {
        let code = u64::from(letter) | u64::from(CLOSE.as_bytes()[0]) << 8;
        let len = self.len as usize;
        self.bytes |= code.checked_shl(len as u32 * 8)?;
        self.len = Len::new(len + 2)?;
        Some(())
    }
}

const HIGH_BITS: u64 = 0x8080_8080_8080_8080;

impl<const N: usize> Hash for Text<N> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl<const N: usize> PartialOrd for Text<N> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<const N: usize> Ord for Text<N> {
    /// Texts are in the order of their bytes. To make a `str` of a short one would check it each time, and ordered maps compare
    /// far more often than they are read.
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_bytes().cmp(other.as_bytes())
    }
}

#[cfg(feature = "serde")]
impl<const N: usize> serde::Serialize for Text<N> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(feature = "serde")]
impl<'de, const N: usize> serde::Deserialize<'de> for Text<N> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TextVisitor<const N: usize>;
        impl<const N: usize> serde::de::Visitor<'_> for TextVisitor<N> {
            type Value = Text<N>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text")
            }
            fn visit_str<E>(self, text: &str) -> Result<Text<N>, E> {
                Ok(text.into())
            }
        }
        deserializer.deserialize_str(TextVisitor)
    }
}

#[cfg(test)]
mod tests;
