//! Orders of an account that nobody placed: each is walked through a life, from its first report to its last. The same
//! seed makes the same lives.

use std::collections::{BTreeMap, VecDeque};

use rust_decimal::Decimal;

use super::Random;
use crate::{
    market::{Code, Symbol, Timestamp},
    order::{
        AssetClass, Fill, LegFill, Order, OrderClass, OrderEvent, OrderStatus, OrderType,
        OrderUpdate, PositionIntent, Side, TimeInForce,
    },
};

/// What is going on, and what was made so far.
#[derive(Debug)]
pub(in crate::sim) struct Orders {
    random: Random,
    working: Vec<Working>,
    positions: BTreeMap<Symbol, Decimal>,
    placed: usize,
    reported: u64,
    turns: u64,
}

/// An order, and the rest of its life.
#[derive(Debug)]
struct Working {
    order: Order,
    price: Decimal,
    rest: VecDeque<Step>,
}

/// What happens to an order next.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    Accept,
    Send,
    Take,
    FillHalf,
    Fill,
    AskToCancel,
    Cancel,
    RefuseToCancel,
    AskToReplace,
    /// The rest is the life of the successor.
    Replace,
    RefuseToReplace,
    Expire,
    Reject,
    EndDay,
    Calculate,
    Stop,
    Suspend,
    Hold,
    Review,
}

use Step::{
    Accept, AskToCancel, AskToReplace, Calculate, Cancel, EndDay, Expire, Fill as FillAll,
    FillHalf, Hold, RefuseToCancel, RefuseToReplace, Reject, Replace, Review, Send, Stop, Suspend,
    Take,
};

/// In turn, so that each of them comes soon.
const LIVES: [&[Step]; 13] = [
    &[Send, Take, FillAll],
    &[Take, FillHalf, FillHalf, FillAll],
    &[Take, AskToCancel, Cancel],
    &[Take, FillHalf, AskToReplace, Replace, Take, FillAll],
    &[Take, AskToCancel, FillHalf, Cancel],
    &[Accept, Take, Expire],
    &[Reject],
    &[Take, AskToCancel, RefuseToCancel, FillAll],
    &[Take, AskToReplace, RefuseToReplace, FillAll],
    &[Take, FillHalf, EndDay, Calculate],
    &[Take, Stop, FillAll],
    &[Review, Take, Suspend, Cancel],
    &[Hold, Take, FillAll],
];

impl Orders {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            working: Vec::new(),
            positions: BTreeMap::new(),
            placed: 0,
            reported: 0,
            turns: 0,
        }
    }

    /// What is reported next; nothing in most turns, as an account trades less than a market.
    pub(super) fn next<'a>(
        &mut self,
        symbols: impl Iterator<Item = &'a Symbol>,
        utc: Timestamp,
    ) -> Option<OrderUpdate> {
        self.turns += 1;
        if !self.turns.is_multiple_of(TURNS) {
            return None;
        }
        let symbols: Vec<_> = symbols.collect();
        if symbols.is_empty() {
            return None;
        }
        if self.working.is_empty() || self.working.len() < AT_ONCE && self.random.below(3) == 0 {
            self.place(&symbols, utc);
        }
        let pick = self.random.below(self.working.len() as u64) as usize;
        let mut working = self.working.swap_remove(pick);
        let step = working.rest.pop_front()?;
        // Now and then a cent or two better than asked for, so that averages are not all round.
        let better = Decimal::new(self.random.below(3) as i64, 2);
        working.price += match working.order.side {
            Some(Side::Sell) => better,
            _ => -better,
        };
        let update = self.walk(&mut working, step, utc);
        if !working.rest.is_empty() {
            self.working.push(working);
        }
        Some(update)
    }

    /// A market order that is taken and filled at once.
    pub(super) fn fill(
        &mut self,
        symbol: Symbol,
        side: Side,
        qty: Decimal,
        price: Decimal,
        utc: Timestamp,
    ) -> [OrderUpdate; 2] {
        let order = Order {
            symbol,
            side: Some(side),
            qty: Some(qty),
            order_type: Some(OrderType::Market),
            ..self.order(utc)
        };
        let mut working = Working {
            order,
            price,
            rest: VecDeque::new(),
        };
        [Take, FillAll].map(|step| self.walk(&mut working, step, utc))
    }

    fn place(&mut self, symbols: &[&Symbol], utc: Timestamp) {
        let life = LIVES[self.placed % LIVES.len()];
        let shape = self.placed / LIVES.len() % 3;
        let symbol = symbols[self.random.below(symbols.len() as u64) as usize];
        let price = Decimal::new(2_000 + self.random.below(48_000) as i64, 2);
        let qty = Decimal::from(10 * (1 + self.random.below(20)));
        let side = if self.random.below(2) == 0 {
            Side::Buy
        } else {
            Side::Sell
        };
        let mut order = Order {
            symbol: symbol.clone(),
            side: Some(side),
            ..self.order(utc)
        };
        match shape {
            0 => {
                order.order_type = Some(OrderType::Limit);
                order.limit_price = Some(price);
                order.qty = Some(qty);
            }
            1 => {
                order.order_type = Some(OrderType::Market);
                order.notional = Some((price * qty).round_dp(2));
            }
            _ => self.spread(&mut order, price, qty, utc),
        }
        self.working.push(Working {
            order,
            price,
            rest: life.iter().copied().collect(),
        });
    }

    /// An order with nothing of its own yet.
    fn order(&mut self, utc: Timestamp) -> Order {
        self.placed += 1;
        Order {
            id: self.id(),
            client_order_id: format!("sim-{}", self.placed).into(),
            created_at: Some(utc),
            updated_at: Some(utc),
            submitted_at: Some(utc),
            asset_id: Some(self.id()),
            asset_class: Some(AssetClass::UsEquity),
            time_in_force: TimeInForce::Day,
            status: OrderStatus::PendingNew,
            ..Order::default()
        }
    }

    /// Makes it one of two legs, as the venue writes those: what belongs to the legs is nothing on their parent.
    fn spread(&mut self, order: &mut Order, price: Decimal, qty: Decimal, utc: Timestamp) {
        let root = order.symbol.clone();
        order.legs = [("C00100000", Side::Buy), ("C00110000", Side::Sell)]
            .into_iter()
            .map(|(contract, side)| Order {
                symbol: format!("{root}271217{contract}").into(),
                asset_class: Some(AssetClass::UsOption),
                order_class: OrderClass::MultiLeg,
                position_intent: Some(if side == Side::Buy {
                    PositionIntent::BuyToOpen
                } else {
                    PositionIntent::SellToOpen
                }),
                side: Some(side),
                qty: Some(qty),
                ratio_qty: Some(Decimal::ONE),
                ..self.order(utc)
            })
            .collect();
        order.symbol = Symbol::default();
        order.asset_id = None;
        order.asset_class = None;
        order.side = None;
        order.order_class = OrderClass::MultiLeg;
        order.order_type = Some(OrderType::Limit);
        order.limit_price = Some(price);
        order.qty = Some(qty);
    }

    fn walk(&mut self, working: &mut Working, step: Step, utc: Timestamp) -> OrderUpdate {
        let execution_id = self.id();
        let (order, time) = (&mut working.order, Some(utc));
        order.updated_at = time;
        let mut reason = None;
        let mut successor = None;
        let event = match step {
            Accept => OrderEvent::Accepted,
            Send => OrderEvent::PendingNew,
            Take => {
                order.submitted_at = time;
                OrderEvent::New
            }
            FillHalf => OrderEvent::PartialFill(self.execute(order, working.price, false, utc)),
            FillAll => {
                order.filled_at = time;
                OrderEvent::Fill(self.execute(order, working.price, true, utc))
            }
            AskToCancel => {
                order.cancel_requested_at = time;
                OrderEvent::PendingCancel
            }
            Cancel => {
                order.canceled_at = time;
                OrderEvent::Canceled
            }
            RefuseToCancel => {
                reason = Some("TOO_LATE_TO_CANCEL".into());
                OrderEvent::OrderCancelRejected
            }
            AskToReplace => OrderEvent::PendingReplace,
            Replace => {
                let next = self.successor(order, utc);
                order.replaced_at = time;
                order.replaced_by = Some(next.id.clone());
                successor = Some(next);
                OrderEvent::Replaced
            }
            RefuseToReplace => OrderEvent::OrderReplaceRejected,
            Expire => {
                order.expired_at = time;
                OrderEvent::Expired
            }
            Reject => {
                order.failed_at = time;
                OrderEvent::Rejected
            }
            EndDay => OrderEvent::DoneForDay,
            Calculate => OrderEvent::Calculated,
            Stop => OrderEvent::Stopped,
            Suspend => OrderEvent::Suspended,
            Hold => OrderEvent::Held,
            Review => OrderEvent::PendingReview,
        };
        order.status = match &event {
            OrderEvent::Fill(_) => OrderStatus::Filled,
            OrderEvent::PartialFill(_) if order.status != OrderStatus::PendingCancel => {
                OrderStatus::PartiallyFilled
            }
            // It lives on as what it was before it was asked for.
            OrderEvent::OrderCancelRejected | OrderEvent::OrderReplaceRejected => OrderStatus::New,
            OrderEvent::PartialFill(_) => OrderStatus::PendingCancel,
            event => event.name().into(),
        };
        for leg in &mut order.legs {
            leg.status = order.status.clone();
            leg.updated_at = time;
        }
        let is_spread = !order.legs.is_empty();
        self.reported += 1;
        let update = OrderUpdate {
            event,
            order: order.clone(),
            execution_id: (!is_spread).then_some(execution_id),
            timestamp: time,
            at: time,
            event_id: Some(format!("{:026}", self.reported).into()),
            reason,
            ..OrderUpdate::default()
        };
        if let Some(successor) = successor {
            working.order = successor;
        }
        update
    }

    /// The order that takes the place of another, for what is left of it.
    fn successor(&mut self, old: &Order, utc: Timestamp) -> Order {
        Order {
            replaces: Some(old.id.clone()),
            asset_id: old.asset_id.clone(),
            asset_class: old.asset_class.clone(),
            symbol: old.symbol.clone(),
            side: old.side.clone(),
            qty: old.qty.map(|qty| qty - old.filled_qty),
            notional: old.notional,
            order_type: old.order_type.clone(),
            order_class: old.order_class.clone(),
            limit_price: old.limit_price,
            legs: old.legs.clone(),
            ..self.order(utc)
        }
    }

    /// Fills what is left of an order, or half of that.
    fn execute(&mut self, order: &mut Order, price: Decimal, all: bool, utc: Timestamp) -> Fill {
        let whole = match (order.qty, order.notional) {
            (Some(qty), _) => qty,
            // What is bought for money comes in fractions.
            (None, notional) => (notional.unwrap_or_default() / price).round_dp(9),
        };
        let left = whole - order.filled_qty;
        let half = left / Decimal::TWO;
        let qty = match (all, order.qty) {
            (true, _) => left,
            (false, Some(_)) => half.ceil(),
            (false, None) => half.round_dp(9),
        };
        let worth = order.filled_avg_price.unwrap_or_default() * order.filled_qty + price * qty;
        order.filled_qty += qty;
        if !order.filled_qty.is_zero() {
            order.filled_avg_price = Some((worth / order.filled_qty).round_dp(9));
        }
        let mut fill = Fill {
            price,
            qty,
            ..Fill::default()
        };
        if order.legs.is_empty() {
            let position = self.move_position(&order.symbol, order.side.as_ref(), qty);
            fill.position_qty = Some(position);
        }
        for leg in &mut order.legs {
            leg.filled_qty = order.filled_qty;
            leg.filled_avg_price = order.filled_avg_price;
            leg.filled_at = order.filled_at;
            let position = self.move_position(&leg.symbol, leg.side.as_ref(), qty);
            fill.position_qtys.insert(leg.symbol.clone(), position);
            fill.legs.push(LegFill {
                execution_id: Some(self.id()),
                order_id: Some(leg.id.clone()),
                symbol: leg.symbol.clone(),
                price: Some(price),
                qty: Some(qty),
                timestamp: Some(utc),
            });
        }
        fill
    }

    fn move_position(&mut self, symbol: &Symbol, side: Option<&Side>, qty: Decimal) -> Decimal {
        let position = self.positions.entry(symbol.clone()).or_default();
        *position += if side == Some(&Side::Sell) { -qty } else { qty };
        *position
    }

    /// A UUID, version 4.
    fn id(&mut self) -> Code {
        let (high, low) = (self.random.next(), self.random.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-8{:03x}-{:012x}",
            high >> 32,
            high >> 16 & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
        .into()
    }
}

/// One in so many turns reports something.
const TURNS: u64 = 50;

/// So many orders at most work at the same time.
const AT_ONCE: usize = 6;

#[cfg(test)]
mod tests;
