//! Alpaca's order updates as they stand on the wire, and nothing else. The simulator writes with the same tables that
//! the session reads with.
//!
//! A frame is one bare object whose `stream` names its kind. Decimals are strings, on old servers numbers; keys may be
//! missing, null or unknown.

#[cfg(any(feature = "sim", test))]
mod form;

use rust_decimal::Decimal;
use serde::Serialize;

#[cfg(any(feature = "sim", test))]
use self::form::Form as _;
use super::{
    Item, bounded,
    control::{to_json, to_msgpack},
    field::{Field, Fields, ItemReading, Odd, Read, map, slots, texts},
    items,
    value::Raw,
};
use crate::{
    alpaca::Codec,
    event::{OddFields, Unparsed},
    market::{Code, Timestamp},
    order::{
        Amendment, AssetClass, Fill, LegFill, NO_ASSET, Order, OrderClass, OrderEvent, OrderStatus,
        OrderType, OrderUpdate, PositionIntent, Side, TimeInForce,
    },
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
    /// An update, and its fields that could not be read.
    Update(Box<OrderUpdate>, OddFields),
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
/// this venue have seen. Whatever cannot be read may have been an update.
pub(crate) fn decode(frame: &[u8], codec: Codec, mut each: impl FnMut(Result<Incoming, Unparsed>)) {
    if frame == [1] {
        return each(Ok(Incoming::Heartbeat));
    }
    bounded(each, |each| {
        items(frame, codec, 0, |item| {
            each(item.and_then(|item| read(&item).map_err(|why| item.unparsed(why))));
        });
    });
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

fn read(item: &Item<'_>) -> Result<Incoming, String> {
    let fields = Fields::of(item.raw)?;
    let word = |name| -> Option<String> {
        let word: Option<String> = fields.optional(name, &mut item.reading());
        word.map(|word| word.to_ascii_lowercase())
    };
    let (stream, action) = (word("stream"), word("action"));
    let data = || fields.map("data");
    let mut reading = item.reading();
    match (stream.as_deref(), action.as_deref()) {
        (Some("trade_updates"), _) => {
            let update = update(&data()?, &mut reading)?;
            Ok(Incoming::Update(
                Box::new(update),
                reading.into_odd_fields(),
            ))
        }
        (Some("authorization"), _) => {
            let data = data()?;
            let mut text = |name| data.optional::<String>(name, &mut reading);
            Ok(Incoming::Authorization(Authorization {
                status: text("status"),
                action: text("action"),
                message: text("message"),
            }))
        }
        (Some("listening"), _) => {
            let data = data()?;
            Ok(
                match data.optional::<Option<String>>("error", &mut reading) {
                    Some(error) => Incoming::Objection(error),
                    None => Incoming::Listening(data.decisive("streams", &mut reading)?),
                },
            )
        }
        (None, Some("error")) => {
            const NAMES: [&str; 5] = ["error_message", "message", "msg", "error", "reason"];
            let data = data()?;
            let message = NAMES
                .iter()
                .find_map(|name| data.optional::<Option<String>>(name, &mut reading));
            Ok(Incoming::Fault(message.unwrap_or_default()))
        }
        (Some(stream), _) => Err(format!("unknown stream `{}`", stream.escape_debug())),
        (None, _) => Err("it belongs to no stream".to_owned()),
    }
}

fn update(data: &Fields<'_>, reading: &mut ItemReading) -> Result<OrderUpdate, String> {
    let event = event(data, reading)?;
    let order = data.inside("order", reading, order)?;
    let Rest {
        execution_id,
        timestamp,
        at,
        event_id,
        reason,
        account_id,
        commission,
    } = Rest::of(data, reading)?;
    Ok(OrderUpdate {
        event,
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

fn event(data: &Fields<'_>, reading: &mut ItemReading) -> Result<OrderEvent, String> {
    let word = data.word("event", reading)?;
    let mut event = OrderEvent::from(word.as_ref());
    match &mut event {
        OrderEvent::Fill(fill) | OrderEvent::PartialFill(fill) => {
            *fill = Fill::of(data, reading)?;
        }
        OrderEvent::TradeBust(amendment) | OrderEvent::TradeCorrect(amendment) => {
            *amendment = Amendment::of(data, reading)?;
        }
        _ => {}
    }
    Ok(event)
}

/// The one table of each object, for both directions: fields without which it means nothing; others; and others that
/// are left out when they are nothing and it is written, where the former are null.
macro_rules! object {
    ($type:ident { $($essential:ident),* ; $($field:ident),* ; $($rare:ident),* }) => {
        impl $type {
            fn of(fields: &Fields<'_>, reading: &mut ItemReading) -> Result<Self, String> {
                Ok(Self {
                    $($essential: fields.essential(stringify!($essential), reading)?,)*
                    $($field: fields.optional(stringify!($field), reading),)*
                    $($rare: fields.optional(stringify!($rare), reading),)*
                })
            }

            #[cfg(any(feature = "sim", test))]
            fn entries(&self) -> Vec<(&'static str, String)> {
                let essential = [$((stringify!($essential), self.$essential.write())),*];
                let always = [$((stringify!($field), self.$field.write())),*];
                let rare = [$((stringify!($rare), self.$rare.write())),*];
                let rare = rare.into_iter().filter(|(_, json)| json != "null");
                essential.into_iter().chain(always).chain(rare).collect()
            }
        }
    };
}

object! {
    Order {
        id;
        client_order_id, created_at, updated_at, submitted_at, filled_at, expired_at, cancel_requested_at,
        canceled_at, failed_at, replaced_at, replaced_by, replaces, asset_id, symbol, asset_class, notional, qty,
        filled_qty, filled_avg_price, order_class, order_type, side, time_in_force, limit_price, stop_price, status,
        extended_hours, legs, trail_percent, trail_price, hwm;
        expires_at, position_intent, ratio_qty, commission, source, subtag
    }
}
object! { LegFill { ; execution_id, order_id, symbol, price, qty, timestamp; } }
object! { Fill { price, qty; ; position_qty, position_qtys, legs } }
object! { Amendment { ; ; previous_execution_id, price, qty, position_qty } }

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
object! { Rest { ; ; execution_id, timestamp, at, event_id, reason, account_id, commission } }

impl Field for Order {
    const WHAT: &'static str = "an order";

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        // Orders may have legs, and those legs of their own; more is no order, and must not use up the stack.
        if reading.depth() > DEEPEST {
            return Err(Odd);
        }
        let Some(fields) = map(raw)? else {
            return Ok(None);
        };
        let order = reading.inside(|reading| order(&fields, reading));
        order.map(Some).map_err(|_| Odd)
    }
}

fn order(fields: &Fields<'_>, reading: &mut ItemReading) -> Result<Order, String> {
    let mut order = Order::of(fields, reading)?;
    // The venue says it twice, and either may be missing.
    if order.order_type.is_none() {
        order.order_type = fields.optional("type", reading);
    }
    order.asset_id = order.asset_id.filter(|id| id.as_str() != NO_ASSET);
    Ok(order)
}

impl Field for LegFill {
    const WHAT: &'static str = "a leg";

    fn read(raw: Raw<'_>, reading: &mut ItemReading) -> Read<Self> {
        let Some(fields) = map(raw)? else {
            return Ok(None);
        };
        let leg = reading.inside(|reading| Self::of(&fields, reading));
        leg.map(Some).map_err(|_| Odd)
    }
}

texts! { AssetClass OrderClass OrderStatus OrderType PositionIntent Side TimeInForce }
slots! { OrderClass OrderStatus TimeInForce }

/// How many fields may lie around an order.
const DEEPEST: usize = 4;

#[cfg(any(feature = "sim", test))]
pub(crate) mod server;
#[cfg(test)]
pub(crate) mod tests;
