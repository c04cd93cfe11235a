//! Reading and writing one value by the type of its field.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    market::{Code, Symbol, Timestamp},
    order::{AssetClass, OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce},
};

/// An object's values by their keys, unread.
pub(super) struct Fields<'a> {
    values: HashMap<String, &'a RawValue>,
    /// How much deeper orders may lie in one another.
    deeper: u8,
}

impl<'a> Fields<'a> {
    pub(super) fn read(text: &'a str, deeper: u8) -> Result<Self, String> {
        Ok(Self {
            values: json(text)?,
            deeper,
        })
    }

    /// A value; the type's own nothing where it is missing or null.
    pub(super) fn get<T: Field>(&self, name: &str) -> Result<T, String> {
        match self.values.get(name).map(|value| value.get()) {
            None | Some("null") => Ok(T::default()),
            Some(text) => T::read(text, self.deeper).map_err(|why| format!("{name}: {why}")),
        }
    }
}

/// A type of value. Each has a nothing of its own, for keys that are missing or null.
pub(super) trait Field: Default {
    /// From JSON that is not null. Orders may lie in orders, but only so much deeper.
    fn read(text: &str, deeper: u8) -> Result<Self, String>;

    /// As JSON.
    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String;
}

/// A list; null where it is empty. Items that are null are left out.
impl<T: Clone> Field for Vec<T>
where
    Option<T>: Field,
{
    fn read(text: &str, deeper: u8) -> Result<Self, String> {
        let items: Vec<Option<&RawValue>> = json(text)?;
        let items = items.into_iter().flatten();
        items
            .filter_map(|item| Option::<T>::read(item.get(), deeper).transpose())
            .collect()
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        if self.is_empty() {
            return "null".to_owned();
        }
        let items: Vec<_> = self.iter().map(|item| Some(item.clone()).write()).collect();
        format!("[{}]", items.join(","))
    }
}

/// Quantities by symbol.
impl Field for BTreeMap<Symbol, Decimal> {
    fn read(text: &str, deeper: u8) -> Result<Self, String> {
        let mut quantities = Self::new();
        for (symbol, qty) in Fields::read(text, deeper)?.values {
            if let Some(qty) = Field::read(qty.get(), deeper)? {
                quantities.insert(symbol.into(), qty);
            }
        }
        Ok(quantities)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        if self.is_empty() {
            return "null".to_owned();
        }
        let quantities: Vec<_> = self
            .iter()
            .map(|(symbol, qty)| (symbol.as_str(), Some(*qty).write()))
            .collect();
        super::server::object(&quantities)
    }
}

impl Field for Option<Decimal> {
    /// A string, or a number by its own digits.
    fn read(text: &str, _deeper: u8) -> Result<Self, String> {
        let digits: Cow<'_, str> = if text.starts_with('"') {
            json::<String>(text)?.into()
        } else {
            text.into()
        };
        if digits.is_empty() {
            return Ok(None);
        }
        let parsed = if digits.contains(['e', 'E']) {
            Decimal::from_scientific(&digits)
        } else {
            Decimal::from_str_exact(&digits)
        };
        let number = parsed
            .map_err(|error| format!("`{}` is no exact decimal: {error}", digits.escape_debug()));
        number.map(Some)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        self.map_or_else(|| "null".to_owned(), |number| format!("\"{number}\""))
    }
}

impl Field for Decimal {
    fn read(text: &str, deeper: u8) -> Result<Self, String> {
        Option::read(text, deeper).map(Option::unwrap_or_default)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        Some(*self).write()
    }
}

impl Field for Option<Timestamp> {
    fn read(text: &str, _deeper: u8) -> Result<Self, String> {
        let text: String = json(text)?;
        // Nothing, as Go writes it.
        if text.is_empty() || text.starts_with("0001-01-01T") {
            return Ok(None);
        }
        let time = text
            .parse()
            .map_err(|_| format!("`{}` is no RFC 3339 timestamp", text.escape_debug()));
        time.map(Some)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        self.map_or_else(|| "null".to_owned(), |time| format!("\"{time}\""))
    }
}

impl Field for bool {
    fn read(text: &str, _deeper: u8) -> Result<Self, String> {
        json(text)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        self.to_string()
    }
}

macro_rules! words {
    ($($word:ident)+) => {$(
        impl Field for $word {
            fn read(text: &str, _deeper: u8) -> Result<Self, String> {
                json::<String>(text).map(|text| Self::from(text.as_str()))
            }

            #[cfg(any(feature = "sim", test))]
            fn write(&self) -> String {
                crate::alpaca::wire::control::to_json(&self.as_str())
            }
        }
    )+};
}
words! { Code Symbol OrderStatus TimeInForce }

/// Words that may be empty, which is nothing.
macro_rules! maybe_words {
    ($($word:ident)+) => {$(
        impl Field for Option<$word> {
            fn read(text: &str, _deeper: u8) -> Result<Self, String> {
                let text: String = json(text)?;
                Ok((!text.is_empty()).then(|| text.as_str().into()))
            }

            #[cfg(any(feature = "sim", test))]
            fn write(&self) -> String {
                self.as_ref()
                    .map_or_else(|| "null".to_owned(), |word| crate::alpaca::wire::control::to_json(&word.as_str()))
            }
        }
    )+};
}
maybe_words! { Code AssetClass OrderClass OrderType PositionIntent Side }

impl Field for OrderClass {
    fn read(text: &str, deeper: u8) -> Result<Self, String> {
        Option::read(text, deeper).map(Option::unwrap_or_default)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        match self {
            // As the venue does.
            Self::Simple => r#""""#.to_owned(),
            class => crate::alpaca::wire::control::to_json(&class.as_str()),
        }
    }
}

pub(super) fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}
