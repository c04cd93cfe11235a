//! Names as the venue spells them: symbols, codes, and lists of condition codes.

use std::{
    borrow::Borrow,
    fmt,
    hash::{Hash, Hasher},
    ops::Deref,
    sync::Arc,
};

use smol_str::{SmolStr, SmolStrBuilder};

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
#[derive(Clone)]
pub struct Code(Text);

#[derive(Clone)]
enum Text {
    Short(u8, [u8; SHORT]),
    Long(Arc<String>),
}

const SHORT: usize = 14;

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
        match &self.0 {
            // It was made from a `str`.
            Text::Short(len, bytes) => {
                std::str::from_utf8(&bytes[..usize::from(*len)]).unwrap_or_default()
            }
            Text::Long(text) => text,
        }
    }
}

impl From<&str> for Code {
    fn from(text: &str) -> Self {
        let mut bytes = [0; SHORT];
        Self(match bytes.get_mut(..text.len()) {
            Some(place) => {
                place.copy_from_slice(text.as_bytes());
                // Not longer than `SHORT`.
                Text::Short(text.len() as u8, bytes)
            }
            None => Text::Long(Arc::new(text.to_owned())),
        })
    }
}

impl Default for Code {
    fn default() -> Self {
        "".into()
    }
}

impl PartialEq for Code {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Code {}

impl Hash for Code {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

impl PartialOrd for Code {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Code {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.as_str().cmp(other.as_str())
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for Code {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self)
    }
}

/// Condition codes, in the venue's order. A code may be a single space.
///
/// Held as one text in which each code is closed by a unit separator, so that the usual one to four codes need no
/// allocation.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Conditions(SmolStr);

const CLOSE: char = '\u{1f}';

impl Conditions {
    /// The codes, in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.0.split_terminator(CLOSE)
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: AsRef<str>> FromIterator<S> for Conditions {
    fn from_iter<I: IntoIterator<Item = S>>(codes: I) -> Self {
        let mut all = ConditionsBuilder::default();
        for code in codes {
            all.push(code.as_ref());
        }
        all.finish()
    }
}

/// Makes [`Conditions`] code by code, without keeping the codes.
#[derive(Default)]
pub(crate) struct ConditionsBuilder(SmolStrBuilder);

impl ConditionsBuilder {
    pub(crate) fn push(&mut self, code: &str) {
        self.0.push_str(code);
        self.0.push(CLOSE);
    }

    pub(crate) fn finish(self) -> Conditions {
        Conditions(self.0.finish())
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
        for codes in [&["@", " ", "TI"][..], &[], &[""]] {
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
