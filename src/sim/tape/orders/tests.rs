use std::collections::BTreeSet;

use super::*;

fn reports(seed: u64, count: usize) -> Vec<OrderUpdate> {
    let mut orders = Orders::new(Random::new(seed));
    let symbols = ["AAPL", "MSFT"].map(Symbol::from);
    (0..)
        .filter_map(|turn| orders.next(symbols.iter(), Timestamp::from_nanos(turn)))
        .take(count)
        .collect()
}

#[test]
fn the_same_seed_makes_the_same_lives_and_every_kind_of_event_and_order_occurs() {
    let made = reports(7, 1_000);
    assert_eq!(made, reports(7, 1_000));
    assert_ne!(made[..20], reports(8, 20));
    let events: BTreeSet<_> = made.iter().map(|update| update.event.name()).collect();
    assert_eq!(events.len(), 19, "{events:?}");
    let of = |holds: fn(&OrderUpdate) -> bool| made.iter().filter(|update| holds(update)).count();
    assert!(of(|update| update.order.notional.is_some()) > 50);
    assert!(of(|update| update.order.order_class == OrderClass::MultiLeg) > 50);
    let numbers = made.iter().map(|update| update.event_id.clone().unwrap());
    assert!(numbers.eq((1..=1_000).map(|number| Code::from(format!("{number:026}")))));
}

#[test]
fn positions_and_filled_quantities_are_the_sums_of_the_fills() {
    let mut filled: BTreeMap<Code, Decimal> = BTreeMap::new();
    let mut positions: BTreeMap<Symbol, Decimal> = BTreeMap::new();
    for OrderUpdate { event, order, .. } in reports(3, 2_000) {
        let (OrderEvent::Fill(fill) | OrderEvent::PartialFill(fill)) = &event else {
            continue;
        };
        assert!(fill.qty > Decimal::ZERO, "{order}: {event}");
        let sum = filled.entry(order.id.clone()).or_default();
        *sum += fill.qty;
        assert_eq!(order.filled_qty, *sum);
        if matches!(event, OrderEvent::Fill(_)) && order.notional.is_none() {
            assert_eq!(order.qty, Some(*sum));
        }
        let sign =
            |side: &Option<Side>| Decimal::from(if *side == Some(Side::Sell) { -1 } else { 1 });
        if let Some(position) = fill.position_qty {
            let sum = positions.entry(order.symbol.clone()).or_default();
            *sum += fill.qty * sign(&order.side);
            assert_eq!(position, *sum);
        }
        for leg in &order.legs {
            let sum = positions.entry(leg.symbol.clone()).or_default();
            *sum += fill.qty * sign(&leg.side);
            assert_eq!(fill.position_qtys[&leg.symbol], *sum);
        }
    }
    assert!(positions.len() > 4 && filled.len() > 100);
}
