//! Orders read by `serde`: as this crate writes them, and as the trading API writes them in the answers of its REST
//! interface.
//!
//! The second is looser than the first: null and the empty text say that there is nothing, fields may be missing or
//! unknown, and the kind of an order may be called `type`. So each field is asked what it holds before it is read as its
//! type, which works in formats that name their fields, such as JSON.

use std::{collections::BTreeMap, fmt, marker::PhantomData};

use rust_decimal::Decimal;
use serde::{
    Deserialize, Deserializer,
    de::{
        Error, IgnoredAny, IntoDeserializer as _, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};

use super::{
    Amendment, Fill, LegFill, NO_ASSET, Order, OrderClass, OrderEvent, OrderStatus, OrderUpdate,
    TimeInForce,
};
use crate::market::{Code, Symbol, Timestamp};

/// How the fields of a type are read, by their names; `needs` those without which it means nothing.
macro_rules! read {
    ($type:ident needs [$($needed:ident),*] { $($field:ident $(or $other:literal)?),+ $(,)? }) => {
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct FieldsVisitor;
                impl<'de> Visitor<'de> for FieldsVisitor {
                    type Value = $type;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("an object with the fields of an order, or of a part of one")
                    }

                    fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<$type, M::Error> {
                        let mut value = $type::default();
                        let mut missing: Vec<&str> = vec![$(stringify!($needed)),*];
                        while let Some(name) = map.next_key::<String>()? {
                            let is_given = match name.as_str() {
                                $(stringify!($field) $(| $other)? => {
                                    let Given(given) = map.next_value()?;
                                    value.$field.set_if_given(given)
                                })+
                                _ => map.next_value().map(|IgnoredAny| false)?,
                            };
                            missing.retain(|needed| !is_given || *needed != name);
                        }
                        match missing.first() {
                            Some(name) => Err(M::Error::missing_field(name)),
                            None => Ok(value),
                        }
                    }
                }
                deserializer.deserialize_map(FieldsVisitor)
            }
        }
    };
}

read! {
    Order needs [id] {
        id, client_order_id, created_at, updated_at, submitted_at, filled_at, expired_at, expires_at,
        cancel_requested_at, canceled_at, failed_at, replaced_at, replaced_by, replaces, asset_id, symbol,
        asset_class, notional, qty, filled_qty, filled_avg_price, order_class, order_type or "type", side,
        position_intent, time_in_force, limit_price, stop_price, status, extended_hours, legs, trail_percent,
        trail_price, hwm, ratio_qty, commission, source, subtag,
    }
}
read! { Fill needs [price, qty] { price, qty, position_qty, position_qtys, legs } }
read! { LegFill needs [] { execution_id, order_id, symbol, price, qty, timestamp } }
read! { Amendment needs [] { previous_execution_id, price, qty, position_qty } }

/// The fields of an update beside one another, as they are written: which of them there are depends on the event.
#[derive(Default)]
struct UpdateFields {
    event: Code,
    order: Option<Order>,
    execution_id: Option<Code>,
    timestamp: Option<Timestamp>,
    at: Option<Timestamp>,
    event_id: Option<Code>,
    reason: Option<Code>,
    account_id: Option<Code>,
    commission: Option<Decimal>,
    price: Option<Decimal>,
    qty: Option<Decimal>,
    position_qty: Option<Decimal>,
    position_qtys: BTreeMap<Symbol, Decimal>,
    legs: Vec<LegFill>,
    previous_execution_id: Option<Code>,
}
read! {
    UpdateFields needs [event] {
        event, order, execution_id, timestamp, at, event_id, reason, account_id, commission, price, qty, position_qty,
        position_qtys, legs, previous_execution_id,
    }
}

impl UpdateFields {
    fn take_event<E: Error>(&mut self) -> Result<OrderEvent, E> {
        let mut event = OrderEvent::from(self.event.as_str());
        match &mut event {
            OrderEvent::Fill(fill) | OrderEvent::PartialFill(fill) => {
                *fill = Fill {
                    price: self.price.ok_or_else(|| E::missing_field("price"))?,
                    qty: self.qty.ok_or_else(|| E::missing_field("qty"))?,
                    position_qty: self.position_qty,
                    position_qtys: std::mem::take(&mut self.position_qtys),
                    legs: std::mem::take(&mut self.legs),
                };
            }
            OrderEvent::TradeBust(amendment) | OrderEvent::TradeCorrect(amendment) => {
                *amendment = Amendment {
                    previous_execution_id: self.previous_execution_id.take(),
                    price: self.price,
                    qty: self.qty,
                    position_qty: self.position_qty,
                };
            }
            _ => {}
        }
        Ok(event)
    }
}

impl<'de> Deserialize<'de> for OrderEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        UpdateFields::deserialize(deserializer)?.take_event()
    }
}

impl<'de> Deserialize<'de> for OrderUpdate {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = UpdateFields::deserialize(deserializer)?;
        let order = fields.order.take();
        Ok(Self {
            event: fields.take_event()?,
            order: order.ok_or_else(|| D::Error::missing_field("order"))?,
            execution_id: fields.execution_id,
            timestamp: fields.timestamp,
            at: fields.at,
            event_id: fields.event_id,
            reason: fields.reason,
            account_id: fields.account_id,
            commission: fields.commission,
        })
    }
}

/// What a field can hold, and what it takes over of what was given for it. A field that says nothing leaves what is there,
/// so that of two names for one field either will do.
trait Settable {
    type Value;
    /// Whether anything was given.
    fn set_if_given(&mut self, given: Option<Self::Value>) -> bool;
}

impl<T> Settable for Option<T> {
    type Value = T;
    fn set_if_given(&mut self, given: Self) -> bool {
        let is_given = given.is_some();
        if is_given {
            *self = given;
        }
        is_given
    }
}

/// Types whose default says that there is nothing.
macro_rules! settable {
    ($($type:ty)+) => {$(
        impl Settable for $type {
            type Value = Self;
            fn set_if_given(&mut self, given: Option<Self>) -> bool {
                given.map(|value| *self = value).is_some()
            }
        }
    )+};
}
settable! {
    Code Symbol Decimal bool OrderClass OrderStatus TimeInForce Vec<Order> Vec<LegFill>
}

impl Settable for BTreeMap<Symbol, Decimal> {
    type Value = BTreeMap<Symbol, Given<Decimal>>;

    fn set_if_given(&mut self, given: Option<Self::Value>) -> bool {
        let is_given = given.is_some();
        let given = given.into_iter().flatten();
        self.extend(given.filter_map(|(symbol, Given(number))| Some((symbol, number?))));
        is_given
    }
}

/// A value, or nothing where null, the empty text or the id of no asset stands for one.
struct Given<T>(Option<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Given<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(GivenVisitor(PhantomData))
    }
}

struct GivenVisitor<T>(PhantomData<T>);

/// Values that a text, a number or a flag may be.
macro_rules! visit {
    ($($visit:ident $type:ty),+) => {$(
        fn $visit<E: Error>(self, value: $type) -> Result<Given<T>, E> {
            T::deserialize(value.into_deserializer()).map(Some).map(Given)
        }
    )+};
}

impl<'de, T: Deserialize<'de>> Visitor<'de> for GivenVisitor<T> {
    type Value = Given<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or nothing")
    }

    visit! { visit_bool bool, visit_i64 i64, visit_u64 u64 }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Given<T>, E> {
        if !is_exact(value) {
            let why = "a number of more than 15 digits, which only a text can give exactly";
            return Err(E::custom(why));
        }
        T::deserialize(value.into_deserializer())
            .map(Some)
            .map(Given)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Given<T>, E> {
        if text.is_empty() || text == NO_ASSET {
            return Ok(Given(None));
        }
        T::deserialize(text.into_deserializer())
            .map(Some)
            .map(Given)
    }

    fn visit_unit<E: Error>(self) -> Result<Given<T>, E> {
        Ok(Given(None))
    }

    fn visit_none<E: Error>(self) -> Result<Given<T>, E> {
        Ok(Given(None))
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Given<T>, D::Error> {
        Given::deserialize(deserializer)
    }

    fn visit_seq<S: SeqAccess<'de>>(self, values: S) -> Result<Given<T>, S::Error> {
        T::deserialize(SeqAccessDeserializer::new(values))
            .map(Some)
            .map(Given)
    }

    fn visit_map<M: MapAccess<'de>>(self, fields: M) -> Result<Given<T>, M::Error> {
        T::deserialize(MapAccessDeserializer::new(fields))
            .map(Some)
            .map(Given)
    }
}

/// Whether a binary float can be what was written: of up to 15 digits each decimal has a float of its own, whose shortest form is
/// that decimal. Of more digits, several decimals share a float.
fn is_exact(value: f64) -> bool {
    let text = value.to_string();
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    digits.trim_matches('0').len() <= f64::DIGITS as usize
}
