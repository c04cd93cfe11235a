//! The forms in which values of orders are written, as JSON: null where there is none.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::{LegFill, NO_ASSET, Order, server::object};
use crate::{
    alpaca::wire::control::to_json,
    market::{Code, Symbol, Timestamp},
    order::{AssetClass, OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce},
};

const NULL: &str = "null";

pub(super) trait Form {
    fn write(&self) -> String;
}

impl<T: Form> Form for Option<T> {
    fn write(&self) -> String {
        self.as_ref().map_or_else(|| NULL.to_owned(), T::write)
    }
}

/// Null where it is empty.
impl<T: Form> Form for Vec<T> {
    fn write(&self) -> String {
        if self.is_empty() {
            return NULL.to_owned();
        }
        let items: Vec<_> = self.iter().map(T::write).collect();
        format!("[{}]", items.join(","))
    }
}

/// Null where it is empty.
impl Form for BTreeMap<Symbol, Decimal> {
    fn write(&self) -> String {
        if self.is_empty() {
            return NULL.to_owned();
        }
        let quantities: Vec<_> = self
            .iter()
            .map(|(symbol, qty)| (symbol.as_str(), qty.write()))
            .collect();
        object(&quantities)
    }
}

impl Form for Decimal {
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Form for Timestamp {
    fn write(&self) -> String {
        format!("\"{self}\"")
    }
}

impl Form for bool {
    fn write(&self) -> String {
        self.to_string()
    }
}

impl Form for OrderClass {
    fn write(&self) -> String {
        match self {
            // As the venue does.
            Self::Simple => r#""""#.to_owned(),
            class => to_json(&class.as_str()),
        }
    }
}

macro_rules! words {
    ($($word:ident)+) => {$(
        impl Form for $word {
            fn write(&self) -> String {
                to_json(&self.as_str())
            }
        }
    )+};
}
words! { Code Symbol AssetClass OrderStatus OrderType PositionIntent Side TimeInForce }

impl Form for Order {
    fn write(&self) -> String {
        let mut entries = self.entries();
        if let Some(at) = entries.iter().position(|(name, _)| *name == "order_type") {
            // The venue says it twice.
            entries.insert(at + 1, ("type", entries[at].1.clone()));
        }
        if self.order_class == OrderClass::MultiLeg {
            // What belongs to the legs alone, or to the whole alone, is empty here, and not null.
            for (name, json) in entries.iter_mut().filter(|(_, json)| json == NULL) {
                match *name {
                    "asset_class" | "order_type" | "type" | "side" => *json = r#""""#.to_owned(),
                    "asset_id" => *json = format!("\"{NO_ASSET}\""),
                    _ => {}
                }
            }
        }
        object(&entries)
    }
}

impl Form for LegFill {
    fn write(&self) -> String {
        object(&self.entries())
    }
}
