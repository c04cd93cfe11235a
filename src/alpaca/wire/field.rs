//! Reading the fields of an item, each by its type.
//!
//! A field is *essential* where the item means nothing without it, and then costs the item. Any other that cannot be
//! read is absent, and its name is noted. What is null, missing, an empty text or, of a time, the year 1, is nothing.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use rust_decimal::Decimal;

use super::{
    number, time,
    value::{Pairs, Raw, Value},
};
use crate::{
    event::OddFields,
    market::{Code, Conditions, Symbol, Timestamp},
};

/// What was noticed while an item was read.
#[derive(Default)]
pub(super) struct Reading {
    odd: Vec<Box<str>>,
    /// The names of the fields around the one that is being read.
    within: Vec<String>,
    /// Bytes of the item that are no text were replaced by U+FFFD.
    was_mended: bool,
}

impl Reading {
    pub(super) fn new(was_mended: bool) -> Self {
        Self {
            was_mended,
            ..Self::default()
        }
    }

    pub(super) fn into_odd_fields(self) -> OddFields {
        self.odd.into_iter().collect()
    }

    /// How many fields lie around the one that is being read.
    pub(super) fn depth(&self) -> usize {
        self.within.len()
    }

    /// The field that is being read, or a part of it, could not be.
    pub(super) fn note_odd(&mut self) {
        let name = self.within.join(".").into_boxed_str();
        // A list may have many odd parts.
        if self.odd.last() != Some(&name) {
            self.odd.push(name);
        }
    }

    pub(super) fn inside<T>(&mut self, name: &str, read: impl FnOnce(&mut Self) -> T) -> T {
        self.within.push(name.to_owned());
        let read = read(self);
        self.within.pop();
        read
    }

    fn text<'a>(&self, text: Cow<'a, str>) -> Option<Cow<'a, str>> {
        let is_mended = self.was_mended && text.contains(char::REPLACEMENT_CHARACTER);
        (!is_mended).then_some(text)
    }
}

/// A value that cannot be read as its field's type.
pub(super) struct Odd;

/// A type of value.
pub(super) trait Field: Sized {
    /// What it should have been, as an error says it.
    const WHAT: &'static str;
    /// Reads what is not null. Nothing where it says that there is none.
    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd>;
}

/// What holds a value that may be absent: an option, or a type that has an own value for it.
pub(super) trait Slot: Sized {
    type Value: Field;
    fn of(value: Option<Self::Value>) -> Self;
}

impl<T: Field> Slot for Option<T> {
    type Value = T;
    fn of(value: Self) -> Self {
        value
    }
}

/// Types whose default says that there is none.
macro_rules! slots {
    ($($type:ty)+) => {$(
        impl $crate::alpaca::wire::field::Slot for $type {
            type Value = Self;
            fn of(value: Option<Self>) -> Self {
                value.unwrap_or_default()
            }
        }
    )+};
}
pub(super) use slots;
slots! { Code Symbol Conditions Decimal bool String Arc<str> Arc<[Symbol]> BTreeMap<Symbol, Decimal> }

impl<T: Field> Slot for Vec<T> {
    type Value = Self;
    fn of(value: Option<Self>) -> Self {
        value.unwrap_or_default()
    }
}

/// A list. What is null in it is left out, and so is what is odd.
impl<T: Field> Field for Vec<T> {
    const WHAT: &'static str = "a list";

    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        let mut list = Self::new();
        for item in raw.list().ok_or(Odd)? {
            if matches!(item.value(), Value::Null) {
                continue;
            }
            match T::read(item, reading) {
                Ok(item) => list.extend(item),
                Err(Odd) => reading.note_odd(),
            }
        }
        Ok(Some(list))
    }
}

/// The fields of a map, unread.
pub(super) struct Fields<'a>(Pairs<'a>);

impl<'a> Fields<'a> {
    pub(super) fn of(raw: Raw<'a>) -> Result<Self, String> {
        raw.map().map(Self)
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, Raw<'a>)> {
        self.0.iter().map(|(key, value)| (key.as_ref(), *value))
    }

    /// A field's value, if it is there. It is odd where the field stands there twice: nobody knows which one holds.
    fn find(&self, name: &str) -> Result<Option<Raw<'a>>, Odd> {
        let mut values = self.pairs().filter(|(key, _)| *key == name);
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some((_, value)), None) => Ok(Some(value)),
            (Some(_), Some(_)) => Err(Odd),
        }
    }

    fn read<T: Field>(&self, name: &str, reading: &mut Reading) -> Result<Option<T>, Odd> {
        match self.find(name)? {
            Some(raw) if !matches!(raw.value(), Value::Null) => {
                reading.inside(name, |reading| T::read(raw, reading))
            }
            _ => Ok(None),
        }
    }

    /// A field that is not essential.
    pub(super) fn optional<S: Slot>(&self, name: &str, reading: &mut Reading) -> S {
        let value = self.read(name, reading).unwrap_or_else(|Odd| {
            reading.inside(name, Reading::note_odd);
            None
        });
        S::of(value)
    }

    /// A field without which the item means nothing.
    pub(super) fn essential<T: Field>(
        &self,
        name: &str,
        reading: &mut Reading,
    ) -> Result<T, String> {
        match self.read(name, reading) {
            Ok(Some(value)) => Ok(value),
            Err(Odd) => Err(self.why(name, T::WHAT)),
            Ok(None) if matches!(self.find(name), Ok(None)) => {
                Err(format!("missing field `{name}`"))
            }
            Ok(None) => Err(format!("there is nothing in field `{name}`")),
        }
    }

    /// A field that may be absent, but without whose value the item would mean something else.
    pub(super) fn decisive<S: Slot>(&self, name: &str, reading: &mut Reading) -> Result<S, String> {
        match self.read(name, reading) {
            Ok(value) => Ok(S::of(value)),
            Err(Odd) => Err(self.why(name, S::Value::WHAT)),
        }
    }

    /// A field that holds fields.
    pub(super) fn map(&self, name: &str) -> Result<Self, String> {
        match self.find(name) {
            Ok(Some(raw)) if !matches!(raw.value(), Value::Null) => {
                Self::of(raw).map_err(|_| self.why(name, "a map"))
            }
            Ok(_) => Err(format!("missing field `{name}`")),
            Err(Odd) => Err(self.why(name, "a map")),
        }
    }

    /// A text that says what the item is. Anything else says nothing.
    pub(super) fn word(&self, name: &str) -> Result<Cow<'a, str>, String> {
        match self.find(name) {
            Ok(None) => Err(format!("missing field `{name}`")),
            Ok(Some(raw)) => match raw.value() {
                Value::Text(word) if !word.is_empty() => Ok(word),
                _ => Err(self.why(name, "a word")),
            },
            Err(Odd) => Err(self.why(name, "a word")),
        }
    }

    fn why(&self, name: &str, what: &str) -> String {
        match self.find(name) {
            Ok(Some(raw)) => format!("field `{name}` is not {what}: {raw}"),
            _ => format!("field `{name}` stands there twice"),
        }
    }
}

impl Field for Decimal {
    const WHAT: &'static str = "an exact decimal number";

    /// A number, or a text that holds one.
    fn read(raw: Raw<'_>, _reading: &mut Reading) -> Result<Option<Self>, Odd> {
        let number = match raw.value() {
            Value::Digits(digits) => number::parse(digits),
            Value::Integer(integer) => Self::try_from_i128_with_scale(integer, 0).ok(),
            Value::Double(float) => number::shortest(float),
            Value::Single(float) => number::shortest_of_single(float),
            Value::Text(text) if text.is_empty() => return Ok(None),
            Value::Text(text) => number::parse(text.trim()),
            _ => return Err(Odd),
        };
        number.map(Some).ok_or(Odd)
    }
}

/// Integers, however they are written: `7`, `"7"` or `7.0`.
macro_rules! integers {
    ($($type:ident $what:literal)+) => {$(
        impl Field for $type {
            const WHAT: &'static str = $what;
            fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
                let Some(number) = Decimal::read(raw, reading)? else {
                    return Ok(None);
                };
                let whole = number.is_integer().then(|| Self::try_from(number).ok());
                whole.flatten().map(Some).ok_or(Odd)
            }
        }
    )+};
}
integers! { i64 "an integer" u64 "a count" u16 "a code" }

impl Field for bool {
    const WHAT: &'static str = "true or false";

    fn read(raw: Raw<'_>, _reading: &mut Reading) -> Result<Option<Self>, Odd> {
        match raw.value() {
            Value::Bool(flag) => Ok(Some(flag)),
            Value::Text(text) if text.is_empty() => Ok(None),
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(Odd),
        }
    }
}

/// A text. A number will do, by its digits: ids are written as either.
impl Field for String {
    const WHAT: &'static str = "a text";

    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        let text = match raw.value() {
            Value::Text(text) => reading.text(text).ok_or(Odd)?.into_owned(),
            Value::Digits(digits) => digits.to_owned(),
            Value::Integer(integer) => integer.to_string(),
            Value::Double(_) | Value::Single(_) => {
                Decimal::read(raw, reading)?.ok_or(Odd)?.to_string()
            }
            _ => return Err(Odd),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }
}

/// Texts of other types.
macro_rules! texts {
    ($($type:ty)+) => {$(
        impl $crate::alpaca::wire::field::Field for $type {
            const WHAT: &'static str = String::WHAT;
            fn read(
                raw: $crate::alpaca::wire::value::Raw<'_>,
                reading: &mut $crate::alpaca::wire::field::Reading,
            ) -> Result<Option<Self>, $crate::alpaca::wire::field::Odd> {
                Ok(String::read(raw, reading)?.map(|text| text.as_str().into()))
            }
        }
    )+};
}
pub(super) use texts;
texts! { Code Arc<str> }

impl Field for Symbol {
    const WHAT: &'static str = "a symbol";

    /// A text and nothing else: of another kind it would be no symbol that anybody asked for.
    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        match raw.value() {
            Value::Text(text) => {
                let text = reading.text(text).ok_or(Odd)?;
                Ok(Some(text.as_ref().into()).filter(|symbol: &Self| !symbol.is_empty()))
            }
            _ => Err(Odd),
        }
    }
}

impl Field for Arc<[Symbol]> {
    const WHAT: &'static str = "a list of symbols";

    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        let symbols = raw.list().ok_or(Odd)?;
        let symbols = symbols
            .into_iter()
            .map(|symbol| Symbol::read(symbol, reading)?.ok_or(Odd));
        symbols.collect::<Result<_, _>>().map(Some)
    }
}

impl Field for Conditions {
    const WHAT: &'static str = "a list of condition codes";

    /// A list for stocks, one bare text for options.
    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        let mut codes = Self::default();
        match raw.value() {
            Value::List => {
                for code in raw.list().ok_or(Odd)? {
                    match String::read(code, reading) {
                        Ok(code) => codes.push(&code.unwrap_or_default()),
                        Err(Odd) => reading.note_odd(),
                    }
                }
            }
            _ => {
                if let Some(code) = String::read(raw, reading)? {
                    codes.push(&code);
                }
            }
        }
        Ok(Some(codes))
    }
}

impl Field for Timestamp {
    const WHAT: &'static str = "a time from 1677 to 2262";

    /// RFC 3339 in JSON; the timestamp extension in MessagePack, where old servers also wrote a text, or seconds and
    /// nanoseconds.
    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        match raw.value() {
            Value::Text(text) => time::of_text(&text).ok_or(Odd),
            Value::Time(time) => Ok(time),
            Value::List => {
                let parts = raw.list().ok_or(Odd)?;
                let [seconds, nanos] = parts[..] else {
                    return Err(Odd);
                };
                let mut part = |raw| i64::read(raw, reading)?.ok_or(Odd);
                time::of_parts(part(seconds)?, part(nanos)?).ok_or(Odd)
            }
            _ => Err(Odd),
        }
    }
}

/// Quantities by symbol. What is odd is left out.
impl Field for BTreeMap<Symbol, Decimal> {
    const WHAT: &'static str = "quantities by symbol";

    fn read(raw: Raw<'_>, reading: &mut Reading) -> Result<Option<Self>, Odd> {
        let fields = Fields::of(raw).map_err(|_| Odd)?;
        let mut quantities = Self::new();
        for (symbol, _) in fields.pairs() {
            match fields.read(symbol, reading) {
                Ok(Some(qty)) => {
                    quantities.insert(symbol.into(), qty);
                }
                Ok(None) => {}
                // By the name of the whole: the venue chose the others.
                Err(Odd) => reading.note_odd(),
            }
        }
        Ok(Some(quantities))
    }
}
