//! Orders and what happens to them.
//!
//! A subscription to order updates receives [`OrderUpdate`]s: what happened ([`OrderEvent`], a fill among others), and the whole
//! [`Order`] after it. The words of an order ([`Side`], [`OrderType`], [`TimeInForce`], [`OrderStatus`] and others) are types
//! of their own; a word that this version does not know is kept as the venue wrote it.
//!
//! Prices and quantities are exact decimals; times are UTC, whatever offset the venue wrote them with.

#[cfg(feature = "serde")]
mod read;
mod words;

use std::{collections::BTreeMap, fmt};

use rust_decimal::Decimal;

pub use self::words::{
    AssetClass, OrderClass, OrderStatus, OrderType, PositionIntent, Side, TimeInForce,
};
use crate::{
    error::Remedy,
    market::{Code, Symbol, Timestamp},
    topic::{Channel, Payload},
    venue::Routed,
};

/// What happened to an order, and the order after it.
///
/// Fields that the venue leaves out of some events are options, and empty then.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct OrderUpdate {
    /// What happened.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub event: OrderEvent,
    /// The order after it.
    pub order: Order,
    /// The venue's unique id of this report. Orders of several legs have none: their legs do.
    pub execution_id: Option<Code>,
    /// When it happened. The venue promises it for fills, cancels, expiries, replacements and rejections.
    pub timestamp: Option<Timestamp>,
    /// When the venue sent it out.
    pub at: Option<Timestamp>,
    /// The venue's id of the event, which sorts by time.
    pub event_id: Option<Code>,
    /// Why, in the venue's words: of a cancel, a refusal, or a trade taken back.
    pub reason: Option<Code>,
    /// Whose order it is, where one stream serves several accounts.
    pub account_id: Option<Code>,
    /// What it cost.
    pub commission: Option<Decimal>,
}

/// What can happen to an order, with what is known of that kind alone.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub enum OrderEvent {
    /// It was received, and not yet sent to where it is to be executed.
    Accepted,
    /// It was sent, and not yet taken.
    PendingNew,
    /// It was taken.
    #[default]
    New,
    /// A part of it was filled.
    PartialFill(Fill),
    /// The rest of it was filled.
    Fill(Fill),
    /// It was canceled.
    Canceled,
    /// Its time in force has ended.
    Expired,
    /// It is done for today.
    DoneForDay,
    /// Another order took its place: [`Order::replaced_by`].
    Replaced,
    /// It was refused.
    Rejected,
    /// A trade is guaranteed, and not made yet.
    Stopped,
    /// It is to be canceled. It may still be filled.
    PendingCancel,
    /// It is to be replaced. It may still be filled.
    PendingReplace,
    /// It is under review.
    PendingReview,
    /// It is done for the day, with sums still to be settled.
    Calculated,
    /// It is not eligible to trade.
    Suspended,
    /// It waits for another order.
    Held,
    /// It was not canceled, and lives on.
    OrderCancelRejected,
    /// It was not replaced, and lives on.
    OrderReplaceRejected,
    /// The venue changed it.
    Restated,
    /// A trade was taken back.
    TradeBust(Amendment),
    /// A trade was corrected.
    TradeCorrect(Amendment),
    /// Something that this version does not know, by the venue's word for it.
    Other(Code),
}

/// An execution.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Fill {
    /// Price per share or unit of this execution. The average of the order so far is [`Order::filled_avg_price`].
    pub price: Decimal,
    /// Shares or units of this execution. Those of the order so far are `filled_qty` of the order.
    pub qty: Decimal,
    /// The whole position in the order's symbol right after this execution; negative when short. Fills come in the order
    /// of their positions, while their timestamps may run backwards: the last that came is the newest. Nothing on orders
    /// of several legs.
    pub position_qty: Option<Decimal>,
    /// Of an order of several legs: the positions afterwards.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "BTreeMap::is_empty"))]
    pub position_qtys: BTreeMap<Symbol, Decimal>,
    /// Of an order of several legs: their executions.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Vec::is_empty"))]
    pub legs: Vec<LegFill>,
}

/// The execution of one leg.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LegFill {
    /// The venue's unique id of it.
    pub execution_id: Option<Code>,
    /// The leg's order.
    pub order_id: Option<Code>,
    /// The leg's symbol.
    pub symbol: Symbol,
    /// Price per unit.
    pub price: Option<Decimal>,
    /// Units.
    pub qty: Option<Decimal>,
    /// When it happened.
    pub timestamp: Option<Timestamp>,
}

/// What became of an earlier execution.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Amendment {
    /// The execution that no longer holds.
    pub previous_execution_id: Option<Code>,
    /// Price per share or unit.
    pub price: Option<Decimal>,
    /// Shares or units; negative where they are taken back.
    pub qty: Option<Decimal>,
    /// The whole position afterwards; negative when short.
    pub position_qty: Option<Decimal>,
}

/// An order, with every field that the venue has for it.
///
/// Prices are per share or unit, in the quote currency; quantities are shares or units. With the feature `serde` it is
/// read from the JSON that the venue's REST interface answers with, too. There the venue writes decimals as texts, which are
/// read exactly. A number with a fraction and without quotes reaches a reader as a binary float: up to 15 digits of it are exact,
/// and one that has more is refused.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Order {
    /// The venue's id.
    pub id: Code,
    /// The id that its owner gave it.
    pub client_order_id: Code,
    /// When it was made.
    pub created_at: Option<Timestamp>,
    /// When it changed last.
    pub updated_at: Option<Timestamp>,
    /// When it was sent to where it is to be executed.
    pub submitted_at: Option<Timestamp>,
    /// When it was filled.
    pub filled_at: Option<Timestamp>,
    /// When its time in force ended.
    pub expired_at: Option<Timestamp>,
    /// When its time in force is to end.
    pub expires_at: Option<Timestamp>,
    /// When it was asked to be canceled.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it was canceled.
    pub canceled_at: Option<Timestamp>,
    /// When it was refused.
    pub failed_at: Option<Timestamp>,
    /// When another order took its place.
    pub replaced_at: Option<Timestamp>,
    /// The order that took its place.
    pub replaced_by: Option<Code>,
    /// The order whose place it took.
    pub replaces: Option<Code>,
    /// What is traded, by the venue's id. Nothing on orders of several legs.
    pub asset_id: Option<Code>,
    /// What is traded. Empty on orders of several legs.
    pub symbol: Symbol,
    /// What kind of thing is traded. Nothing on orders of several legs.
    pub asset_class: Option<AssetClass>,
    /// How much money to trade for, where that was asked in place of a quantity.
    pub notional: Option<Decimal>,
    /// How much to trade. Nothing where `notional` is given.
    pub qty: Option<Decimal>,
    /// How much was traded so far.
    pub filled_qty: Decimal,
    /// The average price of that.
    pub filled_avg_price: Option<Decimal>,
    /// How it stands to other orders.
    pub order_class: OrderClass,
    /// What kind of order it is. Nothing on legs.
    pub order_type: Option<OrderType>,
    /// Which way it goes. May be nothing on orders of several legs.
    pub side: Option<Side>,
    /// What it does to the position, where the venue says.
    pub position_intent: Option<PositionIntent>,
    /// How long it lives.
    pub time_in_force: TimeInForce,
    /// The worst price to trade at.
    pub limit_price: Option<Decimal>,
    /// The price that triggers it.
    pub stop_price: Option<Decimal>,
    /// Where it stands.
    pub status: OrderStatus,
    /// Whether it may trade outside the regular session.
    pub extended_hours: bool,
    /// Its legs, each an order.
    pub legs: Vec<Self>,
    /// Of a trailing stop: how far it trails, in percent of the high-water mark.
    pub trail_percent: Option<Decimal>,
    /// Of a trailing stop: how far it trails, in money.
    pub trail_price: Option<Decimal>,
    /// Of a trailing stop: the high-water mark.
    pub hwm: Option<Decimal>,
    /// Of a leg: its share of the whole.
    pub ratio_qty: Option<Decimal>,
    /// What it cost.
    pub commission: Option<Decimal>,
    /// Where it came from.
    pub source: Option<Code>,
    /// A note of a broker's.
    pub subtag: Option<Code>,
}

/// What the venue writes for the asset of an order that has several.
pub(crate) const NO_ASSET: &str = "00000000-0000-0000-0000-000000000000";

/// Order updates of the account.
pub const TRADE_UPDATES: Channel = Channel::new("trade_updates");

impl OrderUpdate {
    /// The execution, where something was filled.
    #[must_use]
    pub fn fill(&self) -> Option<&Fill> {
        match &self.event {
            OrderEvent::Fill(fill) | OrderEvent::PartialFill(fill) => Some(fill),
            _ => None,
        }
    }
}

impl OrderEvent {
    /// The venue's word for it.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Accepted => "accepted",
            Self::PendingNew => "pending_new",
            Self::New => "new",
            Self::PartialFill(_) => "partial_fill",
            Self::Fill(_) => "fill",
            Self::Canceled => "canceled",
            Self::Expired => "expired",
            Self::DoneForDay => "done_for_day",
            Self::Replaced => "replaced",
            Self::Rejected => "rejected",
            Self::Stopped => "stopped",
            Self::PendingCancel => "pending_cancel",
            Self::PendingReplace => "pending_replace",
            Self::PendingReview => "pending_review",
            Self::Calculated => "calculated",
            Self::Suspended => "suspended",
            Self::Held => "held",
            Self::OrderCancelRejected => "order_cancel_rejected",
            Self::OrderReplaceRejected => "order_replace_rejected",
            Self::Restated => "restated",
            Self::TradeBust(_) => "trade_bust",
            Self::TradeCorrect(_) => "trade_correct",
            Self::Other(word) => word,
        }
    }
}

/// The event that the venue has this word for, in any case. What is known of that kind alone is empty.
impl From<&str> for OrderEvent {
    fn from(word: &str) -> Self {
        match word.to_ascii_lowercase().as_str() {
            "accepted" => Self::Accepted,
            "pending_new" => Self::PendingNew,
            "new" => Self::New,
            "partial_fill" => Self::PartialFill(Fill::default()),
            "fill" => Self::Fill(Fill::default()),
            "canceled" => Self::Canceled,
            "expired" => Self::Expired,
            "done_for_day" => Self::DoneForDay,
            "replaced" => Self::Replaced,
            "rejected" => Self::Rejected,
            "stopped" => Self::Stopped,
            "pending_cancel" => Self::PendingCancel,
            "pending_replace" => Self::PendingReplace,
            "pending_review" => Self::PendingReview,
            "calculated" => Self::Calculated,
            "suspended" => Self::Suspended,
            "held" => Self::Held,
            "order_cancel_rejected" => Self::OrderCancelRejected,
            "order_replace_rejected" => Self::OrderReplaceRejected,
            "restated" => Self::Restated,
            "trade_bust" => Self::TradeBust(Amendment::default()),
            "trade_correct" => Self::TradeCorrect(Amendment::default()),
            _ => Self::Other(word.into()),
        }
    }
}

impl Routed for OrderUpdate {
    fn channel(&self) -> Channel {
        TRADE_UPDATES
    }

    fn symbols(&self) -> &[Symbol] {
        std::slice::from_ref(&self.order.symbol)
    }

    fn happened_at(&self) -> Option<Timestamp> {
        // Not `timestamp`: what is sent again after a reconnect happened long before.
        self.at
    }

    fn heap_size(&self) -> usize {
        let orders = size_of_val(&*self.order.legs);
        let fills = self.fill().map_or(0, |fill| {
            let position = size_of::<Symbol>() + size_of::<Decimal>();
            size_of_val(&*fill.legs) + fill.position_qtys.len() * position
        });
        orders + fills
    }

    /// The id of the event, else of the execution, else those of the legs' executions, else when it happened and what was
    /// filled by then. With the event and the order beside it: should the venue ever use one id for two reports, then
    /// better the same twice than one of them never. For that reason there is none where nothing says when it happened.
    fn unique_id(&self) -> Option<String> {
        let legs = || {
            let legs = self.fill().map_or(&[][..], |fill| &fill.legs);
            let ids = legs.iter().map(|leg| leg.execution_id.as_deref());
            let ids: Option<Vec<_>> = ids.collect();
            ids.filter(|ids| !ids.is_empty()).map(|ids| ids.join(" "))
        };
        let moment = || {
            let at = self.timestamp.or(self.order.updated_at)?;
            Some(format!("{at} {}", self.order.filled_qty))
        };
        let id = self.event_id.as_ref().or(self.execution_id.as_ref());
        let id = id.map(Code::to_string).or_else(legs).or_else(moment)?;
        Some(format!("{id} {} {}", self.event.name(), self.order.id))
    }
}

impl Payload for OrderUpdate {
    type Source = Self;
    fn project(update: &Self) -> Option<impl FnOnce() -> Self> {
        Some(|| update.clone())
    }

    /// A fill may be among what was missed.
    fn after_loss() -> Remedy {
        Remedy::Reconcile
    }
}

impl fmt::Display for OrderUpdate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.order, self.event)?;
        if let Some(reason) = &self.reason {
            write!(f, " ({reason})")?;
        }
        self.timestamp.map_or(Ok(()), |at| write!(f, " at {at}"))
    }
}

impl fmt::Display for OrderEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())?;
        match self {
            Self::Fill(fill) | Self::PartialFill(fill) => {
                write!(f, " {} @ {}", fill.qty, fill.price)?;
                fill.position_qty
                    .map_or(Ok(()), |qty| write!(f, ", position {qty}"))
            }
            _ => Ok(()),
        }
    }
}

impl fmt::Display for Order {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let symbol = if self.symbol.is_empty() {
            self.order_class.as_str()
        } else {
            &self.symbol
        };
        write!(f, "{symbol} order {}", self.id)?;
        if let Some(side) = &self.side {
            write!(f, ", {side}")?;
        }
        match (self.qty, self.notional) {
            (Some(qty), _) => write!(f, " {qty}")?,
            (None, Some(notional)) => write!(f, " for {notional}")?,
            (None, None) => {}
        }
        self.limit_price
            .map_or(Ok(()), |limit| write!(f, " @ {limit}"))
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for OrderEvent {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Tagged<'a, T> {
            event: &'a str,
            #[serde(flatten)]
            rest: Option<&'a T>,
        }
        let event = self.name();
        match self {
            Self::Fill(fill) | Self::PartialFill(fill) => Tagged {
                event,
                rest: Some(fill),
            }
            .serialize(serializer),
            Self::TradeBust(amendment) | Self::TradeCorrect(amendment) => Tagged {
                event,
                rest: Some(amendment),
            }
            .serialize(serializer),
            _ => Tagged::<Fill> { event, rest: None }.serialize(serializer),
        }
    }
}
