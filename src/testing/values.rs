//! One line for an event of each kind, for tests of code that reads them.

use std::fmt;

use rust_decimal::Decimal;

use crate::{
    market::{
        Bar, Imbalance, LuldBand, News, OrderBookUpdate, PerpetualPricing, PriceLevel, Quote,
        Symbol, Timestamp, Trade, TradeCancel, TradeCorrection, TradingStatus,
    },
    order::{
        AssetClass, Fill, Order, OrderEvent, OrderStatus, OrderType, OrderUpdate, Side, TimeInForce,
    },
};

/// When all of it happens: 2026-03-17T14:30:05Z.
const AT: Timestamp = Timestamp::from_nanos(1_773_757_805_000_000_000);

/// A number of a test: whatever prints as one.
#[expect(clippy::panic, reason = "a test is to fail where it is wrong")]
#[track_caller]
fn number(number: impl fmt::Display) -> Decimal {
    let text = number.to_string();
    match text.parse() {
        Ok(number) => number,
        Err(error) => panic!("`{text}` is no number: {error}"),
    }
}

/// A quote of a stock, 100 shares on each side. A price of zero means that this side is empty.
///
/// # Panics
/// When a price is no number.
#[must_use]
#[track_caller]
pub fn quote(
    symbol: impl Into<Symbol>,
    bid_price: impl fmt::Display,
    ask_price: impl fmt::Display,
) -> Quote {
    Quote {
        symbol: symbol.into(),
        bid_exchange: "V".into(),
        bid_price: number(bid_price),
        bid_size: Decimal::ONE_HUNDRED,
        ask_exchange: "V".into(),
        ask_price: number(ask_price),
        ask_size: Decimal::ONE_HUNDRED,
        conditions: ["R"].iter().collect(),
        tape: "A".into(),
        timestamp: AT,
        ..Quote::default()
    }
}

/// A trade of a stock, whose id is 1.
///
/// # Panics
/// When price or size is no number.
#[must_use]
#[track_caller]
pub fn trade(
    symbol: impl Into<Symbol>,
    price: impl fmt::Display,
    size: impl fmt::Display,
) -> Trade {
    Trade {
        symbol: symbol.into(),
        id: Some(1),
        exchange: "V".into(),
        price: number(price),
        size: number(size),
        conditions: ["@"].iter().collect(),
        tape: "A".into(),
        timestamp: AT,
        ..Trade::default()
    }
}

/// What replaces `trade`: another price and size, by the next id.
///
/// # Panics
/// When price or size is no number.
#[must_use]
#[track_caller]
pub fn correction(
    trade: &Trade,
    price: impl fmt::Display,
    size: impl fmt::Display,
) -> TradeCorrection {
    TradeCorrection {
        symbol: trade.symbol.clone(),
        exchange: trade.exchange.clone(),
        original_id: trade.id,
        original_price: trade.price,
        original_size: trade.size,
        original_conditions: trade.conditions.clone(),
        corrected_id: trade.id.map(|id| id.wrapping_add(1)),
        corrected_price: number(price),
        corrected_size: number(size),
        corrected_conditions: trade.conditions.clone(),
        tape: trade.tape.clone(),
        timestamp: trade.timestamp,
    }
}

/// What takes `trade` back.
#[must_use]
#[track_caller]
pub fn cancel(trade: &Trade) -> TradeCancel {
    TradeCancel {
        symbol: trade.symbol.clone(),
        id: trade.id,
        exchange: trade.exchange.clone(),
        price: trade.price,
        size: trade.size,
        action: "C".into(),
        tape: trade.tape.clone(),
        timestamp: trade.timestamp,
    }
}

/// A minute bar of a stock, of the minute that it happens in: [`interval`](Bar::interval) and
/// [`timestamp`](Bar::timestamp) say so.
///
/// # Panics
/// When a price or the volume is no number.
#[must_use]
#[track_caller]
pub fn bar(
    symbol: impl Into<Symbol>,
    open: impl fmt::Display,
    high: impl fmt::Display,
    low: impl fmt::Display,
    close: impl fmt::Display,
    volume: impl fmt::Display,
) -> Bar {
    const MINUTE: i64 = 60_000_000_000;
    Bar {
        symbol: symbol.into(),
        open: number(open),
        high: number(high),
        low: number(low),
        close: number(close),
        volume: number(volume),
        timestamp: Timestamp::from_nanos(AT.as_nanos() / MINUTE * MINUTE),
        ..Bar::default()
    }
}

/// A change of whether a stock of tape C trades, by the tape's code: `H` for a halt, `P` for a pause, `T` for a resumption.
#[must_use]
#[track_caller]
pub fn status(symbol: impl Into<Symbol>, code: &str) -> TradingStatus {
    TradingStatus {
        symbol: symbol.into(),
        status_code: code.into(),
        tape: "C".into(),
        timestamp: AT,
        ..TradingStatus::default()
    }
}

/// The band of prices in which a stock may trade.
///
/// # Panics
/// When a price is no number.
#[must_use]
#[track_caller]
pub fn luld_band(
    symbol: impl Into<Symbol>,
    limit_down: impl fmt::Display,
    limit_up: impl fmt::Display,
) -> LuldBand {
    LuldBand {
        symbol: symbol.into(),
        limit_up: number(limit_up),
        limit_down: number(limit_down),
        indicator: "B".into(),
        tape: "C".into(),
        timestamp: AT,
    }
}

/// An imbalance of orders at a price.
///
/// # Panics
/// When the price is no number.
#[must_use]
#[track_caller]
pub fn imbalance(symbol: impl Into<Symbol>, price: impl fmt::Display) -> Imbalance {
    Imbalance {
        symbol: symbol.into(),
        price: number(price),
        tape: "C".into(),
        timestamp: AT,
    }
}

/// A whole order book of crypto: the price and size of each level, bids and asks. With
/// [`reset`](OrderBookUpdate::reset) set to false it is a change of one.
///
/// # Examples
/// ```
/// let mut change = trunkline::testing::order_book("BTC/USD", [("64000.5", "0")], []);
/// change.reset = false; // the level at 64000.5 is gone
/// assert!(change.bids[0].size.is_zero() && change.asks.is_empty());
/// ```
///
/// # Panics
/// When a price or a size is no number.
#[must_use]
#[track_caller]
pub fn order_book<'a>(
    symbol: impl Into<Symbol>,
    bids: impl IntoIterator<Item = (&'a str, &'a str)>,
    asks: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> OrderBookUpdate {
    let level = |(price, size)| PriceLevel {
        price: number(price),
        size: number(size),
    };
    OrderBookUpdate {
        symbol: symbol.into(),
        reset: true,
        bids: bids.into_iter().map(level).collect(),
        asks: asks.into_iter().map(level).collect(),
        timestamp: AT,
        ..OrderBookUpdate::default()
    }
}

/// What a perpetual future is worth: mark and index are the same.
///
/// # Panics
/// When the price is no number.
#[must_use]
#[track_caller]
pub fn perpetual_pricing(symbol: impl Into<Symbol>, price: impl fmt::Display) -> PerpetualPricing {
    let price = number(price);
    PerpetualPricing {
        symbol: symbol.into(),
        index_price: Some(price),
        mark_price: Some(price),
        timestamp: AT,
        ..PerpetualPricing::default()
    }
}

/// An article about some symbols, whose id is 1.
#[must_use]
#[track_caller]
pub fn news<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>, headline: &str) -> News {
    News {
        id: Some(1),
        headline: headline.into(),
        created_at: AT,
        updated_at: Some(AT),
        symbols: symbols.into_iter().map(Into::into).collect(),
        ..News::default()
    }
}

/// A market order of a stock for the day, none of which is filled yet. Its id is `order-` and the symbol.
///
/// # Panics
/// When the quantity is no number.
#[must_use]
#[track_caller]
pub fn order(symbol: impl Into<Symbol>, side: Side, qty: impl fmt::Display) -> Order {
    let symbol = symbol.into();
    Order {
        id: format!("order-{symbol}").into(),
        created_at: Some(AT),
        updated_at: Some(AT),
        submitted_at: Some(AT),
        symbol,
        asset_class: Some(AssetClass::UsEquity),
        qty: Some(number(qty)),
        order_type: Some(OrderType::Market),
        side: Some(side),
        time_in_force: TimeInForce::Day,
        status: OrderStatus::New,
        ..Order::default()
    }
}

/// That something happened to an order. The order is given as it is afterwards.
#[must_use]
#[track_caller]
pub fn order_update(order: &Order, event: OrderEvent) -> OrderUpdate {
    OrderUpdate {
        event,
        order: order.clone(),
        timestamp: Some(AT),
        at: Some(AT),
        ..OrderUpdate::default()
    }
}

/// That `qty` of an order, given as it was before, is filled: [`OrderEvent::Fill`] if nothing is left of it, and else
/// [`OrderEvent::PartialFill`]. The order in it is as it is afterwards, the position is what was filled of it, and the
/// execution has an id of its own.
///
/// # Panics
/// When quantity or price is no number, or when what they amount to is beyond all of them.
#[must_use]
#[track_caller]
pub fn fill(order: &Order, qty: impl fmt::Display, price: impl fmt::Display) -> OrderUpdate {
    let (qty, price) = (number(qty), number(price));
    let mut order = order.clone();
    let before = order.filled_qty;
    let paid = before * order.filled_avg_price.unwrap_or_default() + qty * price;
    order.filled_qty += qty;
    order.filled_avg_price = paid
        .checked_div(order.filled_qty)
        .map(|avg| avg.normalize());
    let position = match order.side {
        Some(Side::Sell) => -order.filled_qty,
        _ => order.filled_qty,
    };
    let fill = Fill {
        price,
        qty,
        position_qty: Some(position),
        ..Fill::default()
    };
    let is_whole = order.qty.is_none_or(|wanted| order.filled_qty >= wanted);
    let event = if is_whole {
        order.status = OrderStatus::Filled;
        order.filled_at = Some(AT);
        OrderEvent::Fill(fill)
    } else {
        order.status = OrderStatus::PartiallyFilled;
        OrderEvent::PartialFill(fill)
    };
    OrderUpdate {
        execution_id: Some(format!("{} filled {}", order.id, order.filled_qty).into()),
        ..order_update(&order, event)
    }
}
