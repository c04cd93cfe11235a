//! Texts and lists of them. What is null or missing is empty.

use std::{fmt, marker::PhantomData, sync::Arc};

use serde::{
    Deserialize, Deserializer, Serializer,
    de::{Error, SeqAccess, Visitor},
};

use crate::market::{Conditions, Symbol};

pub(super) fn deserialize<'de, D: Deserializer<'de>, T: for<'a> From<&'a str>>(
    deserializer: D,
) -> Result<T, D::Error> {
    struct Text<T>(PhantomData<T>);
    impl<T: for<'a> From<&'a str>> Visitor<'_> for Text<T> {
        type Value = T;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }
        fn visit_str<E>(self, text: &str) -> Result<T, E> {
            Ok(text.into())
        }
        fn visit_unit<E>(self) -> Result<T, E> {
            Ok("".into())
        }
    }
    deserializer.deserialize_any(Text(PhantomData))
}

pub(super) fn serialize<S: Serializer>(text: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// For `skip_serializing_if`.
pub(super) fn is_empty(text: &str) -> bool {
    text.is_empty()
}

/// A text that borrows nothing and is held nowhere: `take` sees it while it is read.
struct Each<F>(F);

impl<'de, F: FnMut(&str)> serde::de::DeserializeSeed<'de> for Each<F> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<F: FnMut(&str)> Visitor<'_> for Each<F> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }
    fn visit_str<E>(mut self, text: &str) -> Result<(), E> {
        (self.0)(text);
        Ok(())
    }
}

/// Condition codes: a list for stocks, one bare string for options, or null.
pub(super) mod codes {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Conditions, D::Error> {
        struct Codes;
        impl<'de> Visitor<'de> for Codes {
            type Value = Conditions;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of condition codes")
            }
            fn visit_str<E>(self, code: &str) -> Result<Conditions, E> {
                Ok(Some(code)
                    .filter(|code| !code.is_empty())
                    .into_iter()
                    .collect())
            }
            fn visit_unit<E>(self) -> Result<Conditions, E> {
                Ok(Conditions::default())
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Conditions, A::Error> {
                let mut codes = Conditions::default();
                while items
                    .next_element_seed(Each(|code: &str| codes.push(code)))?
                    .is_some()
                {}
                Ok(codes)
            }
        }
        deserializer.deserialize_any(Codes)
    }

    pub(in super::super) fn serialize<S: Serializer>(
        codes: &Conditions,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        // Collected, so that its length is known: MessagePack writes it in front.
        serializer.collect_seq(codes.iter().collect::<Vec<_>>())
    }
}

/// A list of symbols, or null.
pub(super) mod symbols {
    use super::*;

    pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Arc<[Symbol]>, D::Error> {
        Ok(Symbols::deserialize(deserializer)?.0.into())
    }

    pub(in super::super) fn serialize<S: Serializer>(
        list: &[Symbol],
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(Symbol::as_str))
    }
}

pub(super) struct Symbols(pub(super) Vec<Symbol>);

impl<'de> Deserialize<'de> for Symbols {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> Visitor<'de> for List {
            type Value = Symbols;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of symbols")
            }
            fn visit_unit<E>(self) -> Result<Symbols, E> {
                Ok(Symbols(Vec::new()))
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Symbols, A::Error> {
                let mut list = Vec::new();
                while items
                    .next_element_seed(Each(|symbol: &str| list.push(symbol.into())))?
                    .is_some()
                {
                    if list.len() > LONGEST {
                        return Err(A::Error::custom(LONGER));
                    }
                }
                Ok(Symbols(list))
            }
        }
        deserializer.deserialize_any(List)
    }
}

/// How many elements a list of symbols or prices may have. Each takes more memory than its bytes in the frame, and
/// there are not half as many symbols on all feeds together.
pub(super) const LONGEST: usize = 1 << 16;
pub(super) const LONGER: &str = "a list of more than 65,536 elements";

/// For a text that is missing.
pub(super) fn none() -> Arc<str> {
    "".into()
}
