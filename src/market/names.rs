//! Names as the venue spells them: symbols, codes, and lists of condition codes.

use std::{
    borrow::Borrow,
    cmp::Ordering,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use smol_str::SmolStr;

/// A ticker symbol, as the venue spells it.
///
/// Cheap to clone; up to 23 bytes, which covers every option symbol, without an allocation. Hashes, orders and
/// compares as the `str` it holds, so a `HashMap<Symbol, _>` can be asked with a `&str`.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Symbol(SmolStr);

/// A short code of a venue: an exchange, a tape, a taker's side. Empty where there is none.
///
/// Sixteen bytes, of which up to fourteen are text: every event has several.
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "serde", derive(serde::Serialize), serde(transparent))]
pub struct Code(Text);

macro_rules! text {
    ($name:ident) => {
        impl $name {
            /// Whether it is empty.
            #[must_use]
            pub fn is_empty(&self) -> bool {
                self.as_str().is_empty()
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

impl Symbol {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Symbol {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl Code {
    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// A code of one letter, which must be ASCII.
    #[inline]
    pub(crate) fn letter(letter: u8) -> Self {
        Self(Text::short([letter]))
    }
}

impl From<&str> for Code {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

/// Condition codes, in the venue's order. A code may be a single space.
///
/// Held as one text in which each code is closed by a unit separator, so that the usual one to four codes need no
/// allocation.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Conditions(Text);

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

    /// One code of one letter, which must be ASCII.
    #[inline]
    pub(crate) fn letter(letter: u8) -> Self {
        Self(Text::short([letter, CLOSE.as_bytes()[0]]))
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

/// Text that is nearly always a few letters, in two words. Equal texts are equal in their bytes, too.
#[derive(Clone, PartialEq, Eq)]
enum Text {
    /// Its length, and its bytes in front of zeros.
    Short(u8, [u8; SHORT]),
    // Not `Arc<str>`, which is two words by itself.
    Long(Arc<String>),
}

const SHORT: usize = 14;

impl Text {
    #[inline]
    fn short<const N: usize>(letters: [u8; N]) -> Self {
        const { assert!(N <= SHORT) };
        let mut bytes = [0; SHORT];
        bytes[..N].copy_from_slice(&letters);
        Self::Short(N as u8, bytes)
    }

    fn as_str(&self) -> &str {
        match self {
            // It was made from whole `str`s.
            Self::Short(len, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default()
            }
            Self::Long(text) => text,
        }
    }

    fn push(&mut self, more: &str) {
        match self {
            Self::Short(len, bytes) => {
                let start = usize::from(*len);
                match bytes.get_mut(start..start + more.len()) {
                    Some(place) => {
                        place.copy_from_slice(more.as_bytes());
                        // Not longer than `SHORT`.
                        *len += more.len() as u8;
                    }
                    None => *self = Self::Long(Arc::new([self.as_str(), more].concat())),
                }
            }
            Self::Long(text) => Arc::make_mut(text).push_str(more),
        }
    }
}

impl Default for Text {
    #[inline]
    fn default() -> Self {
        Self::short([])
    }
}

impl From<&str> for Text {
    fn from(text: &str) -> Self {
        let mut short = Self::default();
        short.push(text);
        short
    }
}

impl Hash for Text {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Text {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Text {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_option_symbol_needs_no_allocation_and_hashes_as_str() {
        let symbol = Symbol::from("MSFT260619C00450000");
        assert!(!symbol.0.is_heap_allocated());
        let map = std::collections::HashMap::from([(symbol, 1)]);
        assert_eq!(map.get("MSFT260619C00450000"), Some(&1));
    }

    #[test]
    fn a_code_keeps_its_text_whatever_its_length() {
        for text in [
            "",
            "V",
            " ",
            "fourteen bytes",
            "fifteen bytes..",
            "é".repeat(8).as_str(),
        ] {
            let code = Code::from(text);
            assert_eq!(code, text);
            assert_eq!(code.clone(), code);
            assert_eq!(code.cmp(&"V".into()), text.cmp("V"));
            let map = std::collections::HashMap::from([(code, 1)]);
            assert_eq!(map.get(text), Some(&1));
        }
        assert_eq!(size_of::<Code>(), 16);
    }

    #[test]
    fn conditions_keep_order_spaces_and_empty_codes() {
        for codes in [
            &["@", " ", "TI"][..],
            &[],
            &[""],
            &["fourteen bytes", "I"],
            &["@", "F", "T", "I", "6", "X", "Y", "Z", "long"],
        ] {
            assert_eq!(
                codes
                    .iter()
                    .collect::<Conditions>()
                    .iter()
                    .collect::<Vec<_>>(),
                codes
            );
        }
    }
}
