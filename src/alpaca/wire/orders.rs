//! Alpaca's order updates as they stand on the wire, and nothing else. The simulator writes with the same tables that
//! the session reads with.
//!
//! A frame is one bare object whose `stream` names its kind. Decimals are strings, on old servers numbers; keys may be
//! missing, null or unknown. Each value is read by its field's type, so that an error can name the field.

mod field;
mod msgpack;

use rust_decimal::Decimal;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use self::field::{Field, Fields, json};
use super::{
    bounded,
    control::{to_json, to_msgpack},
    msgpack::notation,
};
#[cfg(any(feature = "sim", test))]
use crate::order::OrderClass;
use crate::{
    alpaca::Codec,
    event::Unparsed,
    market::{Code, Timestamp},
    order::{Amendment, Fill, LegFill, Order, OrderEvent, OrderUpdate},
    venue::Message,
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
pub(crate) fn decode(frame: &[u8], codec: Codec, mut each: impl FnMut(Result<Incoming, Unparsed>)) {
    if frame == [1] {
        return each(Ok(Incoming::Heartbeat));
    }
    let packed;
    // Whoever was asked for MessagePack, and speaks JSON all the same, can be told by the first byte.
    let text = if codec == Codec::MessagePack && !frame.starts_with(b"{") {
        packed = msgpack::to_json(frame);
        match &packed {
            Some(text) => text,
            None => {
                let shown = notation::of(frame);
                return each(Err(Unparsed::new(
                    shown.as_bytes(),
                    "no whole message in MessagePack",
                )));
            }
        }
    } else {
        match std::str::from_utf8(frame) {
            Ok(text) => text,
            Err(error) => return each(Err(Unparsed::new(frame, error))),
        }
    };
    let read = |item: &str| read(item).map_err(|why| Unparsed::new(item.as_bytes(), why));
    if !text.trim_ascii_start().starts_with('[') {
        return each(read(text));
    }
    match json::<Vec<&RawValue>>(text) {
        Ok(items) => bounded(each, |each| {
            items.iter().for_each(|item| each(read(item.get())));
        }),
        Err(why) => each(Err(Unparsed::new(text.as_bytes(), why))),
    }
}

/// A client's request: all that it wants to be sent.
pub(crate) fn listen(streams: &[&str], codec: Codec) -> Message {
    #[derive(Serialize)]
    struct Listen<'a> {
        action: &'static str,
        data: Streams<'a>,
    }
    #[derive(Serialize)]
    struct Streams<'a> {
        streams: &'a [&'a str],
    }
    let request = Listen {
        action: "listen",
        data: Streams { streams },
    };
    match codec {
        Codec::Json => Message::Text(to_json(&request)),
        Codec::MessagePack => Message::Binary(to_msgpack(&request)),
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
        if let Some(at) = entries.iter().position(|(name, _)| *name == "order_type") {
            entries.insert(at + 1, ("type", entries[at].1.clone()));
        }
        if order.order_class == OrderClass::MultiLeg {
            // What belongs to the legs alone, or to the whole alone, is empty here, and not null.
            for (name, json) in entries.iter_mut().filter(|(_, json)| json == "null") {
                match *name {
                    "asset_class" | "order_type" | "type" | "side" => *json = r#""""#.to_owned(),
                    "asset_id" => *json = format!("\"{NO_ASSET}\""),
                    _ => {}
                }
            }
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

/// Orders may have legs, and those legs of their own; more is no order, and must not use up the stack.
const DEEPEST: u8 = 4;

/// The asset of orders that have several.
const NO_ASSET: &str = "00000000-0000-0000-0000-000000000000";

#[cfg(any(feature = "sim", test))]
pub(crate) mod server;
#[cfg(test)]
pub(crate) mod tests;
