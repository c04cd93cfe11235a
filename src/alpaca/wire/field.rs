//! ItemReading the fields of an item, each by its type.
//!
//! A field is *essential* where the item means nothing without it, and then costs the item. Any other that cannot be
//! read is absent, and its name is noted. What is null, missing, an empty text or, of a time, the year 1, is nothing.

use std::{borrow::Cow, collections::BTreeMap, sync::Arc};

use rust_decimal::Decimal;

use super::{
    number, time,
    value::{Pairs, Raw, Value, tag},
};
use crate::{
    event::OddFields,
    market::{Code, Conditions, Symbol, Timestamp},
};

/// What was noticed while an item was read.
#[derive(Default)]
pub(super) struct ItemReading {
    odd: Vec<Box<str>>,
    /// The name of the field that is being read.
    name: &'static str,
    /// The names of the fields around it.
    outer: Vec<&'static str>,
    /// Bytes of the item that are no text were replaced by U+FFFD.
    was_mended: bool,
}

impl ItemReading {
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
        self.outer.len()
    }

    /// The field that is being read, or a part of it, could not be.
    #[cold]
    pub(super) fn note_odd(&mut self) {
        let names = self.outer.iter().chain([&self.name]).copied();
        let name = names.collect::<Vec<_>>().join(".");
        // A list may have many odd parts.
        if self.odd.last().is_none_or(|last| **last != *name) {
            self.odd.push(name.into());
        }
    }

    fn field<T>(&mut self, name: &'static str, read: impl FnOnce(&mut Self) -> T) -> T {
        let before = std::mem::replace(&mut self.name, name);
        let read = read(self);
        self.name = before;
        read
    }

    /// Reads the fields of the field that is being read.
    pub(super) fn inside<T>(&mut self, read: impl FnOnce(&mut Self) -> T) -> T {
        self.outer.push(self.name);
        let read = read(self);
        self.outer.pop();
        read
    }

    fn text<'a>(&self, text: Cow<'a, str>) -> Result<Cow<'a, str>, Odd> {
        if self.was_mended && text.contains(char::REPLACEMENT_CHARACTER) {
            return Err(Odd);
        }
        Ok(text)
    }
}

/// A value that cannot be read as its field's type.
pub(super) struct Odd;

/// A value, or nothing where it is null or says otherwise that there is none.
pub(super) type Read<T> = Result<Option<T>, Odd>;

/// A type of value.
pub(super) trait Field: Sized {
    /// What it should have been, as an error says it.
    const WHAT: &'static str;
    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self>;
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

impl<T: Field> Slot for Vec<T> {
    type Value = Self;
    fn of(value: Option<Self>) -> Self {
        value.unwrap_or_default()
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
slots! { Code Symbol Conditions Decimal bool String Arc<str> Arc<[Symbol]> Listed BTreeMap<Symbol, Decimal> }

/// The fields of a map, unread.
pub(super) struct Fields<'a>(Pairs<'a>);

impl<'a> Fields<'a> {
    pub(super) fn of(raw: Raw<'a>) -> Result<Self, String> {
        raw.map().map(Self)
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = (&str, Raw<'a>)> {
        self.0.iter().map(|pair| (pair.key.as_ref(), pair.value))
    }

    /// A field's value, if it is there. It is odd where the field stands there twice: nobody knows which one holds.
    #[inline]
    fn find(&self, name: &str) -> Read<Raw<'a>> {
        let tag = tag(name);
        let mut values = self.0.iter().filter(|pair| pair.is(name, tag));
        match (values.next(), values.next()) {
            (None, _) => Ok(None),
            (Some(pair), None) => Ok(Some(pair.value)),
            (Some(_), Some(_)) => Err(Odd),
        }
    }

    #[inline]
    fn read<T: Field>(&self, name: &'static str, reading: &mut ItemReading) -> Read<T> {
        match self.find(name)? {
            Some(raw) => reading.field(name, |reading| T::read(raw, reading)),
            None => Ok(None),
        }
    }

    /// A field that is not essential.
    #[inline]
    pub(super) fn optional<S: Slot>(&self, name: &'static str, reading: &mut ItemReading) -> S {
        let value = self.read(name, reading).unwrap_or_else(|Odd| {
            reading.field(name, ItemReading::note_odd);
            None
        });
        S::of(value)
    }

    /// A field without which the item means nothing.
    #[inline]
    pub(super) fn essential<T: Field>(
        &self,
        name: &'static str,
        reading: &mut ItemReading,
    ) -> Result<T, String> {
        match self.read(name, reading) {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(self.absent(name)),
            Err(Odd) => Err(self.odd(name, T::WHAT)),
        }
    }

    /// A field that may be absent, but without whose value the item would mean something else.
    #[inline]
    pub(super) fn decisive<S: Slot>(
        &self,
        name: &'static str,
        reading: &mut ItemReading,
    ) -> Result<S, String> {
        let value = self.read(name, reading);
        value
            .map(S::of)
            .map_err(|Odd| self.odd(name, S::Value::WHAT))
    }

    /// A field that holds fields, of which `read` makes what they mean.
    pub(super) fn inside<T>(
        &self,
        name: &'static str,
        reading: &mut ItemReading,
        read: impl FnOnce(&Self, &mut ItemReading) -> Result<T, String>,
    ) -> Result<T, String> {
        let fields = self.map(name)?;
        reading.field(name, |reading| {
            reading.inside(|reading| read(&fields, reading))
        })
    }

    /// A field that holds fields.
    pub(super) fn map(&self, name: &str) -> Result<Self, String> {
        match self.find(name) {
            Ok(Some(raw)) if matches!(raw.value(), Value::Map) => Self::of(raw),
            Ok(Some(raw)) if !matches!(raw.value(), Value::Null) => Err(self.odd(name, "a map")),
            Ok(_) => Err(self.absent(name)),
            Err(Odd) => Err(self.odd(name, "a map")),
        }
    }

    /// A text that says what the item is. Anything else says nothing.
    pub(super) fn word(&self, name: &str, reading: &ItemReading) -> Result<Cow<'a, str>, String> {
        let word = match self.find(name).map(|raw| raw.map(Raw::value)) {
            Ok(None) => return Err(self.absent(name)),
            Ok(Some(Value::Text(word))) if !word.is_empty() => reading.text(word),
            Ok(Some(_)) | Err(Odd) => Err(Odd),
        };
        word.map_err(|Odd| self.odd(name, "a word"))
    }

    #[cold]
    fn absent(&self, name: &str) -> String {
        match self.find(name) {
            Ok(Some(_)) => format!("there is nothing in field `{name}`"),
            _ => format!("missing field `{name}`"),
        }
    }

    #[cold]
    fn odd(&self, name: &str, what: &str) -> String {
        match self.find(name) {
            Ok(Some(raw)) => format!("field `{name}` is not {what}: {raw}"),
            _ => format!("field `{name}` stands there twice"),
        }
    }
}

impl Field for Decimal {
    const WHAT: &'static str = "an exact decimal number";

    /// A number, or a text that holds one.
    fn read(raw: Raw<'_>, _reading: &mut ItemReading) -> Read<Self> {
        let number = match raw.value() {
            Value::Digits(digits) => number::parse(digits),
            Value::Integer(integer) => Self::try_from_i128_with_scale(integer, 0).ok(),
            Value::Double(float) => number::shortest(float),
            Value::Single(float) => number::shortest_of_single(float),
            Value::Null => return Ok(None),
            Value::Text(text) if text.is_empty() => return Ok(None),
            Value::Text(text) => number::parse(text.trim()),
            _ => None,
        };
        number.map(Some).ok_or(Odd)
    }
}

/// Integers, however they are written: `7`, `"7"` or `7.0`.
macro_rules! integers {
    ($($type:ident $what:literal)+) => {$(
        impl Field for $type {
            const WHAT: &'static str = $what;
            fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
                if let Value::Integer(integer) = raw.value() {
                    return Self::try_from(integer).map(Some).map_err(|_| Odd);
                }
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

    fn read(raw: Raw<'_>, _reading: &mut ItemReading) -> Read<Self> {
        match raw.value() {
            Value::Bool(flag) => Ok(Some(flag)),
            Value::Null => Ok(None),
            Value::Text(text) if text.is_empty() => Ok(None),
            Value::Text(text) if text.eq_ignore_ascii_case("true") => Ok(Some(true)),
            Value::Text(text) if text.eq_ignore_ascii_case("false") => Ok(Some(false)),
            _ => Err(Odd),
        }
    }
}

/// A text. A number will do, by its digits: ids are written as either.
pub(super) fn text<'a>(raw: Raw<'a>, reading: &mut ItemReading) -> Read<Cow<'a, str>> {
    let text = match raw.value() {
        Value::Text(text) => reading.text(text)?,
        Value::Null => return Ok(None),
        Value::Digits(digits) => digits.into(),
        Value::Integer(integer) => integer.to_string().into(),
        Value::Double(_) | Value::Single(_) => match Decimal::read(raw, reading)? {
            Some(number) => number.to_string().into(),
            None => return Ok(None),
        },
        _ => return Err(Odd),
    };
    Ok(Some(text).filter(|text| !text.is_empty()))
}

/// Types of texts.
macro_rules! texts {
    ($($type:ty)+) => {$(
        impl $crate::alpaca::wire::field::Field for $type {
            const WHAT: &'static str = "a text";
            fn read(
                raw: $crate::alpaca::wire::value::Raw<'_>,
                reading: &mut $crate::alpaca::wire::field::ItemReading,
            ) -> $crate::alpaca::wire::field::Read<Self> {
                let text = $crate::alpaca::wire::field::text(raw, reading)?;
                Ok(text.map(|text| text.as_ref().into()))
            }
        }
    )+};
}
pub(super) use texts;
texts! { Code String Arc<str> }

impl Field for Symbol {
    const WHAT: &'static str = "a symbol";

    /// A text and nothing else: of another kind it would be no symbol that anybody asked for.
    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        match raw.value() {
            Value::Text(_) | Value::Null => {
                let text = text(raw, reading)?;
                Ok(text.map(|text| text.as_ref().into()))
            }
            _ => Err(Odd),
        }
    }
}

/// The values of a list.
pub(super) fn list(raw: Raw<'_>) -> Read<Vec<Raw<'_>>> {
    match raw.value() {
        Value::Null => Ok(None),
        Value::List => raw.list().map(Some).ok_or(Odd),
        _ => Err(Odd),
    }
}

/// The fields of a map.
pub(super) fn map(raw: Raw<'_>) -> Read<Fields<'_>> {
    match raw.value() {
        Value::Null => Ok(None),
        _ => Fields::of(raw).map(Some).map_err(|_| Odd),
    }
}

/// A list. What is null in it is left out, and so is what is odd.
impl<T: Field> Field for Vec<T> {
    const WHAT: &'static str = "a list";

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        let Some(items) = list(raw)? else {
            return Ok(None);
        };
        let mut list = Self::new();
        for item in items {
            match T::read(item, reading) {
                Ok(item) => list.extend(item),
                Err(Odd) => reading.note_odd(),
            }
        }
        Ok(Some(list))
    }
}

impl Field for Arc<[Symbol]> {
    const WHAT: &'static str = "a list of symbols";

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        let Some(symbols) = list(raw)? else {
            return Ok(None);
        };
        let symbols = symbols
            .into_iter()
            .map(|symbol| Symbol::read(symbol, reading)?.ok_or(Odd));
        symbols.collect::<Result<_, _>>().map(Some)
    }
}

/// Symbols, however many there are: of a venue's state, where a whole market may be listed on each channel. What bounds them is
/// the size of the frame.
#[derive(Default)]
pub(super) struct Listed(pub(super) Vec<Symbol>);

impl Field for Listed {
    const WHAT: &'static str = "a list of symbols";

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        match raw.value() {
            Value::Null => return Ok(None),
            Value::List => {}
            _ => return Err(Odd),
        }
        let (mut symbols, mut is_odd) = (Vec::new(), false);
        let count = raw.each(|symbol| match Symbol::read(symbol, reading) {
            Ok(Some(symbol)) => symbols.push(symbol),
            Ok(None) | Err(Odd) => is_odd = true,
        });
        if count.is_none() || is_odd {
            return Err(Odd);
        }
        Ok(Some(Self(symbols)))
    }
}

impl Field for Conditions {
    const WHAT: &'static str = "a list of condition codes";

    /// A list for stocks, one bare text for options.
    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        let mut codes = Self::default();
        if !matches!(raw.value(), Value::List) {
            let code = text(raw, reading)?;
            return Ok(code.map(|code| [code].iter().collect()));
        }
        for code in raw.list().ok_or(Odd)? {
            match text(code, reading) {
                Ok(Some(code)) => codes.push(&code),
                Ok(None) if matches!(code.value(), Value::Text(_)) => codes.push(""),
                Ok(None) | Err(Odd) => reading.note_odd(),
            }
        }
        Ok(Some(codes))
    }
}

impl Field for Timestamp {
    const WHAT: &'static str = "a time from 1677 to 2262";

    /// RFC 3339 in JSON; the timestamp extension in MessagePack, where old servers also wrote a text, or seconds and
    /// nanoseconds.
    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        match raw.value() {
            Value::Text(text) => time::of_text(&text).ok_or(Odd),
            Value::Time(time) => Ok(time),
            Value::Null => Ok(None),
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

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        let Some(fields) = map(raw)? else {
            return Ok(None);
        };
        let mut quantities = Self::new();
        for (symbol, qty) in fields.pairs() {
            match Decimal::read(qty, reading) {
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
