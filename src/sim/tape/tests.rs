//! The markets, apart from anybody who looks at them.

use std::collections::BTreeMap;

use rust_decimal::Decimal;

use super::*;
use crate::{market::Interval, venue::Routed as _};

const UTC: Timestamp = Timestamp::from_nanos(1_773_757_805_123_456_789);

const SYMBOLS: [&str; 7] = [
    "AAPL",
    "MSFT",
    "BTC/USD",
    "ETH/USD",
    "AAPL271217C00250000",
    "AAPL271217P00250000",
    "ETH-PERP",
];

fn tape(seed: u64, incidents: u32) -> Tape {
    Tape::new(seed, &SYMBOLS.map(Symbol::from), incidents)
}

/// What happens in so many turns of one market.
fn turns(tape: &mut Tape, market: Market, count: usize) -> Vec<MarketEvent> {
    let mut events = Vec::new();
    for _ in 0..count {
        tape.next(market, UTC, &mut events);
    }
    events
}

fn events(seed: u64, count: usize) -> Vec<MarketEvent> {
    turns(&mut tape(seed, 0), Market::Stocks, count)
}

#[test]
fn a_seed_is_a_market() {
    assert_eq!(events(7, 500), events(7, 500));
    assert_ne!(events(7, 500), events(8, 500));
}

#[test]
fn trade_ids_and_bid_sizes_count() {
    let mut trades = HashMap::<Symbol, i64>::new();
    let mut quotes = HashMap::<Symbol, i64>::new();
    for event in events(1, 5_000) {
        match event {
            MarketEvent::Trade(trade) => {
                let last = trades.entry(trade.symbol).or_default();
                *last += 1;
                assert_eq!(trade.id, Some(*last));
            }
            MarketEvent::Quote(quote) => {
                let last = quotes.entry(quote.symbol).or_default();
                *last += 1;
                assert_eq!(quote.bid_size, Decimal::from(*last));
            }
            _ => {}
        }
    }
    assert!(trades.len() == 2 && quotes.len() == 2);
}

#[test]
fn prices_make_sense_and_every_kind_shows_up() {
    let mut kinds = [0; 5];
    for event in events(3, 20_000) {
        let kind = match event {
            MarketEvent::Quote(quote) => {
                assert!(quote.bid_price > Decimal::ZERO && quote.bid_price < quote.ask_price);
                0
            }
            MarketEvent::Trade(trade) => {
                assert!(trade.price > Decimal::ZERO && (2..=4).contains(&trade.price.scale()));
                1
            }
            MarketEvent::Bar(bar) => {
                assert!(bar.low <= bar.open && bar.open <= bar.high);
                assert!(bar.low <= bar.close && bar.close <= bar.high);
                let vwap = bar.vwap.unwrap();
                assert!(bar.low <= vwap && vwap <= bar.high);
                match bar.interval {
                    Interval::Minute => 2,
                    Interval::UpdatedMinute => 3,
                    Interval::Day => 4,
                }
            }
            other => panic!("{other}"),
        };
        kinds[kind] += 1;
    }
    assert!(kinds[0] > 11_000 && kinds[1] > 6_000, "{kinds:?}");
    assert!(kinds[2..].iter().all(|count| *count > 200), "{kinds:?}");
}

#[test]
fn bars_start_at_the_minute_and_the_day() {
    assert_eq!(last_minute(UTC).to_string(), "2026-03-17T14:29:00Z");
    assert_eq!(new_york_midnight(UTC).to_string(), "2026-03-17T05:00:00Z");
    let early: Timestamp = "2026-03-17T03:00:00Z".parse().unwrap();
    assert_eq!(new_york_midnight(early).to_string(), "2026-03-16T05:00:00Z");
}

#[test]
fn a_market_is_the_same_whatever_happens_in_the_others_and_besides() {
    let mut busy = tape(7, 100);
    let mut with_incidents = Vec::new();
    for _ in 0..500 {
        with_incidents.extend(turns(&mut busy, Market::Stocks, 1));
        turns(&mut busy, Market::Crypto, 1);
        turns(&mut busy, Market::Options, 1);
        turns(&mut busy, Market::News, 1);
    }
    let (mut ordinary, mut incidents) = (Vec::new(), Vec::new());
    for event in with_incidents {
        let is_ordinary = matches!(
            event,
            MarketEvent::Trade(_) | MarketEvent::Quote(_) | MarketEvent::Bar(_)
        );
        if is_ordinary {
            &mut ordinary
        } else {
            &mut incidents
        }
        .push(event);
    }
    assert_eq!(ordinary, events(7, 500));
    assert_eq!(incidents.len(), 50);
}

#[test]
fn incidents_are_of_every_kind_and_amend_trades_that_were() {
    let mut tape = tape(1, 1_000);
    let mut trades = BTreeMap::new();
    let mut kinds = BTreeMap::<&str, u32>::new();
    let mut halted = BTreeMap::<Symbol, bool>::new();
    for event in turns(&mut tape, Market::Stocks, 2_000) {
        let kind = match event {
            MarketEvent::Trade(trade) => {
                trades.insert((trade.symbol.clone(), trade.id), trade.price);
                continue;
            }
            MarketEvent::Correction(correction) => {
                let key = (correction.symbol.clone(), correction.original_id);
                assert_eq!(trades[&key], correction.original_price);
                assert_ne!(correction.corrected_price, correction.original_price);
                "correction"
            }
            MarketEvent::Cancel(cancel) => {
                assert_eq!(trades[&(cancel.symbol.clone(), cancel.id)], cancel.price);
                "cancel"
            }
            MarketEvent::Status(status) => {
                let was_halted = halted.entry(status.symbol.clone()).or_default();
                *was_halted = !*was_halted;
                assert_eq!(status.status_code == "H", *was_halted, "{status}");
                "status"
            }
            MarketEvent::Luld(band) => {
                assert!(band.limit_down < band.limit_up);
                "band"
            }
            MarketEvent::Imbalance(imbalance) => {
                assert!(imbalance.price > Decimal::ZERO);
                "imbalance"
            }
            _ => continue,
        };
        *kinds.entry(kind).or_default() += 1;
    }
    assert_eq!(kinds.len(), 5);
    assert!(kinds.values().all(|count| *count > 390), "{kinds:?}");
}

#[test]
fn the_day_ends_with_the_last_bars_of_what_was_traded() {
    let mut tape = tape(1, 0);
    turns(&mut tape, Market::Stocks, 515);
    let mut bars = BTreeMap::<Symbol, Vec<Interval>>::new();
    for event in tape.close(UTC) {
        let MarketEvent::Bar(bar) = event else {
            panic!("{event}")
        };
        bars.entry(bar.symbol).or_default().push(bar.interval);
    }
    assert_eq!(bars.len(), 2);
    for intervals in bars.values() {
        assert_eq!(intervals[..], [Interval::Minute, Interval::Day]);
    }
}

#[test]
fn an_order_book_can_be_followed_from_any_whole_one() {
    let mut tape = tape(5, 0);
    let whole = |tape: &Tape, symbol: &str| {
        let mut books = tape.order_books(Market::Crypto, &symbol.into(), UTC);
        assert_eq!(books.len(), 1);
        books.remove(0)
    };
    let mut sides = [BTreeMap::new(), BTreeMap::new()];
    let mut apply = |book: &OrderBookUpdate| {
        for (side, levels) in sides.iter_mut().zip([&book.bids, &book.asks]) {
            if book.reset {
                side.clear();
            }
            for level in levels.iter() {
                if level.size.is_zero() {
                    assert!(side.remove(&level.price).is_some(), "it was there");
                } else {
                    side.insert(level.price, level.size);
                }
            }
        }
        sides.clone()
    };
    turns(&mut tape, Market::Crypto, 300);
    assert!(whole(&tape, "BTC/USD").reset);
    apply(&whole(&tape, "BTC/USD"));
    let (mut updates, mut followed) = (0, Default::default());
    for event in turns(&mut tape, Market::Crypto, 3_000) {
        if let MarketEvent::OrderBook(update) = event
            && update.symbol == "BTC/USD"
        {
            assert!(!update.reset);
            followed = apply(&update);
            let [bids, asks] = &followed;
            assert!(bids.keys().next_back() < asks.keys().next());
            updates += 1;
        }
    }
    assert!(updates > 300, "{updates}");
    assert_eq!(apply(&whole(&tape, "BTC/USD")), followed);
    let books = |market, symbol: &str| tape.order_books(market, &symbol.into(), UTC).len();
    assert_eq!(books(Market::Crypto, "*"), 2);
    assert_eq!(books(Market::Crypto, "DOGE/USD"), 0);
    assert_eq!(books(Market::Perpetuals, "*"), 1);
    assert_eq!(books(Market::Stocks, "*"), 0);
}

#[test]
fn coins_have_exact_ids_above_what_a_float_can_hold_and_bars_without_trades() {
    let mut last = BTreeMap::<Symbol, i64>::new();
    let mut kinds = BTreeMap::<&str, u32>::new();
    let mut empty_bars = 0;
    for event in turns(&mut tape(2, 0), Market::Crypto, 4_000) {
        *kinds.entry(event.channel().name()).or_default() += 1;
        match event {
            MarketEvent::Trade(trade) => {
                let last = last.entry(trade.symbol).or_insert(1 << 53);
                *last += 1;
                assert_eq!(trade.id, Some(*last));
                assert!(["B", "S", "-"].contains(&trade.taker_side.as_str()));
            }
            MarketEvent::Bar(bar) if bar.volume.is_zero() => {
                assert_eq!((bar.trade_count, bar.vwap), (Some(0), Some(Decimal::ZERO)));
                empty_bars += 1;
            }
            _ => {}
        }
    }
    assert_eq!(last.len(), 2);
    assert_eq!(kinds.len(), 6, "{kinds:?}");
    assert!(empty_bars > 0);
}

#[test]
fn perpetual_futures_are_coins_that_have_pricing() {
    let mut kinds = BTreeMap::<&str, u32>::new();
    let (mut positive, mut negative) = (0, 0);
    for event in turns(&mut tape(2, 0), Market::Perpetuals, 2_000) {
        *kinds.entry(event.channel().name()).or_default() += 1;
        assert_eq!(event.symbol().unwrap(), "ETH-PERP");
        if let MarketEvent::Pricing(pricing) = event {
            let next = pricing.next_funding.unwrap();
            assert!(next > UTC && next.as_nanos() - UTC.as_nanos() <= 8 * HOUR);
            match pricing.funding_rate.unwrap() {
                rate if rate > Decimal::ZERO => positive += 1,
                _ => negative += 1,
            }
        }
    }
    assert_eq!(kinds.len(), 7, "{kinds:?}");
    assert!(positive > 50 && negative > 50);
}

#[test]
fn contracts_have_one_condition_and_no_id() {
    let (mut trades, mut quotes) = (0, 0);
    for event in turns(&mut tape(2, 0), Market::Options, 1_000) {
        match event {
            MarketEvent::Trade(trade) => {
                assert_eq!((trade.id, trade.conditions.iter().count()), (None, 1));
                trades += 1;
            }
            MarketEvent::Quote(quote) => {
                assert!(Decimal::ZERO < quote.bid_price && quote.bid_price < quote.ask_price);
                quotes += 1;
            }
            other => panic!("{other}"),
        }
    }
    assert!(trades > 150 && quotes > 700, "{trades} {quotes}");
}

#[test]
fn articles_are_about_stocks_or_none_and_come_again() {
    let mut versions = BTreeMap::<Option<i64>, u32>::new();
    let (mut general, mut long) = (0, 0);
    for event in turns(&mut tape(3, 0), Market::News, 2_000) {
        let MarketEvent::News(news) = event else {
            panic!("{event}")
        };
        *versions.entry(news.id).or_default() += 1;
        assert!(
            news.symbols
                .iter()
                .all(|symbol| SYMBOLS[..2].contains(&symbol.as_str()))
        );
        general += u32::from(news.symbols.is_empty());
        long += u32::from(news.content.len() > usize::from(u16::MAX));
        assert_eq!(
            news.updated_at > Some(news.created_at),
            versions[&news.id] > 1
        );
    }
    assert_eq!(versions.values().sum::<u32>(), 200);
    assert!(versions.values().any(|count| *count == 2));
    assert!(general > 10 && long > 0, "{general} {long}");
}
