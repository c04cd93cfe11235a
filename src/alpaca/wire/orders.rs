//! Alpaca's order updates as they stand on the wire, and nothing else. The simulator writes with the same tables that
//! the session reads with.
//!
//! A frame is one bare object whose `stream` names its kind. Decimals are strings, on old servers numbers; keys may be
//! missing, null or unknown. Each value is read by its field's type, so that an error can name the field.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use rust_decimal::Decimal;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    event::Unparsed,
    market::{Code, Symbol, Timestamp},
    order::{
        Amendment, AssetClass, Fill, LegFill, Order, OrderClass, OrderEvent, OrderStatus,
        OrderType, OrderUpdate, PositionIntent, Side, TimeInForce,
    },
};

/// What a server's frame says.
#[derive(Debug, PartialEq)]
pub(crate) enum Incoming {
    Authorization(Authorization),
    /// Everything that is sent now.
    Listening(Vec<Code>),
    /// What old servers say in place of an authorization or a list.
    Objection(String),
    /// A fault on the server's side, which ends the connection.
    Fault(String),
    Update(Box<OrderUpdate>),
    /// The single byte with which old servers keep a line open.
    Heartbeat,
}

/// How a login, or what came before one, was received.
#[derive(Debug, PartialEq)]
pub(crate) struct Authorization {
    pub(crate) status: String,
    pub(crate) action: String,
    /// Why, where an undocumented field says so.
    pub(crate) message: String,
}

/// Reads a frame, text or binary, and hands out what it says: one thing, unless it is an array, which some clients of
/// this venue have seen.
pub(crate) fn decode(payload: &[u8], mut each: impl FnMut(Result<Incoming, Unparsed>)) {
    if payload == [1] {
        return each(Ok(Incoming::Heartbeat));
    }
    let unparsed = |raw: &str, why: String| Unparsed::new(raw.as_bytes(), why);
    let text = match std::str::from_utf8(payload) {
        Ok(text) => text,
        Err(error) => return each(Err(Unparsed::new(payload, error))),
    };
    if !text.trim_ascii_start().starts_with('[') {
        return each(read(text).map_err(|why| unparsed(text, why)));
    }
    match json::<Vec<&RawValue>>(text) {
        Ok(items) => {
            for item in items {
                each(read(item.get()).map_err(|why| unparsed(item.get(), why)));
            }
        }
        Err(why) => each(Err(unparsed(text, why))),
    }
}

fn read(text: &str) -> Result<Incoming, String> {
    #[derive(Deserialize)]
    struct Envelope<'a> {
        stream: Option<String>,
        action: Option<String>,
        #[serde(borrow)]
        data: Option<&'a RawValue>,
    }
    let Envelope {
        stream,
        action,
        data,
    } = json(text)?;
    let data = || {
        let data = data.ok_or("there is no data")?;
        Fields::read(data.get(), DEEPEST)
    };
    match (stream.as_deref(), action.as_deref()) {
        (Some("trade_updates"), _) => {
            update(&data()?).map(|update| Incoming::Update(Box::new(update)))
        }
        (Some("authorization"), _) => {
            let data = data()?;
            let text = |name| data.get::<Code>(name).map(|text| text.to_string());
            Ok(Incoming::Authorization(Authorization {
                status: text("status")?,
                action: text("action")?,
                message: text("message")?,
            }))
        }
        (Some("listening"), _) => {
            let data = data()?;
            Ok(match data.get::<Option<Code>>("error")? {
                Some(error) => Incoming::Objection(error.to_string()),
                None => Incoming::Listening(data.get("streams")?),
            })
        }
        (None, Some("error")) => {
            let message = data()?.get::<Code>("error_message")?;
            Ok(Incoming::Fault(message.to_string()))
        }
        (Some(stream), _) => Err(format!("unknown stream `{}`", stream.escape_debug())),
        (None, _) => Err("it belongs to no stream".to_owned()),
    }
}

fn update(data: &Fields<'_>) -> Result<OrderUpdate, String> {
    let Some(order) = data.get("order")? else {
        return Err("there is no order".to_owned());
    };
    let Rest {
        execution_id,
        timestamp,
        at,
        event_id,
        reason,
        account_id,
        commission,
    } = Rest::of(data)?;
    Ok(OrderUpdate {
        event: event(data)?,
        order,
        execution_id,
        timestamp,
        at,
        event_id,
        reason,
        account_id,
        commission,
    })
}

fn event(data: &Fields<'_>) -> Result<OrderEvent, String> {
    let word: Code = data.get("event")?;
    Ok(match word.as_str() {
        "fill" | "partial_fill" => {
            let (Some(price), Some(qty)) = (data.get("price")?, data.get("qty")?) else {
                return Ok(OrderEvent::Other(word));
            };
            let fill = Fill {
                price,
                qty,
                position_qty: data.get("position_qty")?,
                position_qtys: data.get("position_qtys")?,
                legs: data.get("legs")?,
            };
            if word == "fill" {
                OrderEvent::Fill(fill)
            } else {
                OrderEvent::PartialFill(fill)
            }
        }
        "trade_bust" => OrderEvent::TradeBust(Amendment::of(data)?),
        "trade_correct" => OrderEvent::TradeCorrect(Amendment::of(data)?),
        "accepted" => OrderEvent::Accepted,
        "pending_new" => OrderEvent::PendingNew,
        "new" => OrderEvent::New,
        "canceled" => OrderEvent::Canceled,
        "expired" => OrderEvent::Expired,
        "done_for_day" => OrderEvent::DoneForDay,
        "replaced" => OrderEvent::Replaced,
        "rejected" => OrderEvent::Rejected,
        "stopped" => OrderEvent::Stopped,
        "pending_cancel" => OrderEvent::PendingCancel,
        "pending_replace" => OrderEvent::PendingReplace,
        "pending_review" => OrderEvent::PendingReview,
        "calculated" => OrderEvent::Calculated,
        "suspended" => OrderEvent::Suspended,
        "held" => OrderEvent::Held,
        "order_cancel_rejected" => OrderEvent::OrderCancelRejected,
        "order_replace_rejected" => OrderEvent::OrderReplaceRejected,
        "restated" => OrderEvent::Restated,
        _ => OrderEvent::Other(word),
    })
}

/// An object's values by their keys, unread.
struct Fields<'a> {
    values: HashMap<String, &'a RawValue>,
    /// How much deeper orders may lie in one another.
    deeper: u8,
}

impl<'a> Fields<'a> {
    fn read(text: &'a str, deeper: u8) -> Result<Self, String> {
        Ok(Self {
            values: json(text)?,
            deeper,
        })
    }

    /// A value; the type's own nothing where it is missing or null.
    fn get<T: Field>(&self, name: &str) -> Result<T, String> {
        match self.values.get(name).map(|value| value.get()) {
            None | Some("null") => Ok(T::default()),
            Some(text) => T::read(text, self.deeper).map_err(|why| format!("{name}: {why}")),
        }
    }
}

/// A type of value. Each has a nothing of its own, for keys that are missing or null.
trait Field: Default {
    /// From JSON that is not null. Orders may lie in orders, but only so much deeper.
    fn read(text: &str, deeper: u8) -> Result<Self, String>;

    /// As JSON.
    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String;
}

/// The one table of each object, for both directions. Of the fields behind the semicolon those that are nothing are
/// left out when it is written; the others are null then.
macro_rules! object {
    ($type:ident { $($field:ident),* ; $($rare:ident),* }) => {
        impl $type {
            fn of(fields: &Fields<'_>) -> Result<Self, String> {
                Ok(Self {
                    $($field: fields.get(stringify!($field))?,)*
                    $($rare: fields.get(stringify!($rare))?,)*
                })
            }

            #[cfg(any(feature = "sim", test))]
            fn entries(&self) -> Vec<(&'static str, String)> {
                let always = [$((stringify!($field), self.$field.write())),*];
                let rare = [$((stringify!($rare), self.$rare.write())),*];
                let rare = rare.into_iter().filter(|(_, json)| json != "null");
                always.into_iter().chain(rare).collect()
            }
        }
    };
}

object! {
    Order {
        id, client_order_id, created_at, updated_at, submitted_at, filled_at, expired_at, cancel_requested_at,
        canceled_at, failed_at, replaced_at, replaced_by, replaces, asset_id, symbol, asset_class, notional, qty,
        filled_qty, filled_avg_price, order_class, order_type, side, time_in_force, limit_price, stop_price, status,
        extended_hours, legs, trail_percent, trail_price, hwm;
        expires_at, position_intent, ratio_qty, commission, source, subtag
    }
}
object! { LegFill { execution_id, order_id, symbol, price, qty, timestamp; } }
object! { Amendment { ; previous_execution_id, price, qty, position_qty } }

/// What any update may have besides its event and its order.
struct Rest {
    execution_id: Option<Code>,
    timestamp: Option<Timestamp>,
    at: Option<Timestamp>,
    event_id: Option<Code>,
    reason: Option<Code>,
    account_id: Option<Code>,
    commission: Option<Decimal>,
}
object! { Rest { ; execution_id, timestamp, at, event_id, reason, account_id, commission } }

impl Field for Option<Order> {
    fn read(text: &str, deeper: u8) -> Result<Self, String> {
        let deeper = deeper
            .checked_sub(1)
            .ok_or("orders lie too deep in one another")?;
        let fields = Fields::read(text, deeper)?;
        let mut order = Order::of(&fields)?;
        // The venue says it twice, and either may be missing.
        if order.order_type.is_none() {
            order.order_type = fields.get("type")?;
        }
        order.asset_id = order.asset_id.filter(|id| id.as_str() != NO_ASSET);
        Ok(Some(order))
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        let Some(order) = self else {
            return "null".to_owned();
        };
        let mut entries = order.entries();
        let twice = entries.iter().position(|(name, _)| *name == "order_type");
        if let Some(at) = twice {
            entries.insert(at + 1, ("type", entries[at].1.clone()));
        }
        server::object(&entries)
    }
}

impl Field for Option<LegFill> {
    fn read(text: &str, deeper: u8) -> Result<Self, String> {
        LegFill::of(&Fields::read(text, deeper)?).map(Some)
    }

    #[cfg(any(feature = "sim", test))]
    fn write(&self) -> String {
        self.as_ref()
            .map_or_else(|| "null".to_owned(), |leg| server::object(&leg.entries()))
    }
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
        server::object(&quantities)
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
                super::control::to_json(&self.as_str())
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
                    .map_or_else(|| "null".to_owned(), |word| super::control::to_json(&word.as_str()))
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
            class => super::control::to_json(&class.as_str()),
        }
    }
}

fn json<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, String> {
    serde_json::from_str(text).map_err(|error| error.to_string())
}

/// Orders may have legs, and those legs of their own; more is no order, and must not use up the stack.
const DEEPEST: u8 = 4;

/// The asset of orders that have several.
const NO_ASSET: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(any(feature = "sim", test))]
pub(crate) mod server;
#[cfg(test)]
mod tests;
