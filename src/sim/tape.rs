//! The simulated market: what trades, at which prices, in which order. The same seed makes the same market.
//!
//! It knows nothing of connections, and takes the wall clock as an argument.

use std::collections::HashMap;

use rust_decimal::Decimal;

use crate::market::{
    Bar, Code, Conditions, Interval, MarketEvent, Quote, Symbol, Timestamp, Trade,
};

/// Every `BAR_EVERY`th event is a bar: a minute, an updated minute, a day, in turn.
const BAR_EVERY: u64 = 20;

const EXCHANGES: [&str; 4] = ["V", "P", "Q", "K"];

/// All symbols, and where each of them stands.
#[derive(Debug)]
pub(super) struct Tape {
    random: Random,
    books: Vec<Book>,
    by_symbol: HashMap<Symbol, usize>,
    produced: u64,
}

impl Tape {
    pub(super) fn new(seed: u64, symbols: &[Symbol]) -> Self {
        let mut tape = Self {
            random: Random::new(seed),
            books: Vec::new(),
            by_symbol: HashMap::new(),
            produced: 0,
        };
        for symbol in symbols {
            tape.list(symbol);
        }
        tape
    }

    /// Lists a symbol, unless it is.
    pub(super) fn list(&mut self, symbol: &Symbol) {
        if !self.by_symbol.contains_key(symbol) {
            self.by_symbol.insert(symbol.clone(), self.books.len());
            let cents = 2_000 + self.random.below(48_000) as i64;
            self.books.push(Book::new(symbol.clone(), cents));
        }
    }

    /// The next event of the market; nothing when no symbol is listed.
    pub(super) fn next(&mut self, utc: Timestamp) -> Option<MarketEvent> {
        let turn = self.produced;
        self.produced += 1;
        if self.books.is_empty() {
            return None;
        }
        let pick = self.random.below(self.books.len() as u64) as usize;
        let book = &mut self.books[pick];
        book.walk(&mut self.random);
        let bar = if turn % BAR_EVERY == BAR_EVERY - 1 {
            match turn / BAR_EVERY % 3 {
                0 => book.minute_bar(utc),
                1 => book.updated_bar(utc, &mut self.random),
                _ => book.day_bar(utc),
            }
        } else {
            None
        };
        Some(match bar {
            Some(bar) => MarketEvent::Bar(bar),
            // Of a hundred events, five are bars, 60 quotes and 35 trades.
            None if self.random.below(95) < 60 => {
                MarketEvent::Quote(book.quote(utc, &mut self.random))
            }
            None => MarketEvent::Trade(book.trade(utc, &mut self.random)),
        })
    }
}

/// One symbol. Prices are in cents where they are called so, else in hundredths of a cent.
#[derive(Debug)]
struct Book {
    symbol: Symbol,
    mid_cents: i64,
    half_spread_cents: i64,
    trades: i64,
    quotes: u64,
    minute: Option<Candle>,
    last_minute: Option<Candle>,
    day: Option<Candle>,
}

impl Book {
    fn new(symbol: Symbol, mid_cents: i64) -> Self {
        Self {
            symbol,
            mid_cents,
            half_spread_cents: 1,
            trades: 0,
            quotes: 0,
            minute: None,
            last_minute: None,
            day: None,
        }
    }

    fn walk(&mut self, random: &mut Random) {
        let step = random.below(5) as i64 - 2;
        self.mid_cents = (self.mid_cents + step).clamp(100, 10_000_000);
        self.half_spread_cents = 1 + random.below(3) as i64;
    }

    fn quote(&mut self, utc: Timestamp, random: &mut Random) -> Quote {
        // The bid's size counts the symbol's quotes, so that a reader can prove that none is missing.
        let bid_size = self.quotes % 1_000_000 + 1;
        self.quotes += 1;
        Quote {
            symbol: self.symbol.clone(),
            bid_exchange: exchange(random),
            bid_price: Decimal::new(self.mid_cents - self.half_spread_cents, 2),
            bid_size: bid_size.into(),
            ask_exchange: exchange(random),
            ask_price: Decimal::new(self.mid_cents + self.half_spread_cents, 2),
            ask_size: (1 + random.below(20)).into(),
            exchange: Code::default(),
            conditions: ["R"].into_iter().collect(),
            tape: Code::from("C"),
            timestamp: utc,
        }
    }

    fn trade(&mut self, utc: Timestamp, random: &mut Random) -> Trade {
        self.trades += 1;
        let size = 1 + random.below(400);
        // One in four is inside the spread, at a fraction of a cent.
        let (price, shown) = if random.below(4) == 0 {
            let price = self.mid_cents * 100 + random.below(99) as i64;
            (price, Decimal::new(price, 4))
        } else {
            let cents = self.mid_cents + random.below(3) as i64 - 1;
            (cents * 100, Decimal::new(cents, 2))
        };
        for candle in [&mut self.minute, &mut self.day] {
            candle
                .get_or_insert_with(|| Candle::new(price))
                .add(price, size);
        }
        let conditions: Conditions = if size < 100 {
            ["@", "I"].into_iter().collect()
        } else {
            ["@"].into_iter().collect()
        };
        Trade {
            symbol: self.symbol.clone(),
            id: Some(self.trades),
            exchange: exchange(random),
            price: shown,
            size: size.into(),
            taker_side: Code::default(),
            conditions,
            tape: Code::from("C"),
            update: Code::default(),
            timestamp: utc,
        }
    }

    /// A minute without a trade has no bar.
    fn minute_bar(&mut self, utc: Timestamp) -> Option<Bar> {
        let candle = self.minute.take()?;
        self.last_minute = Some(candle);
        Some(candle.bar(&self.symbol, Interval::Minute, last_minute(utc)))
    }

    /// The last minute bar with a late trade.
    fn updated_bar(&mut self, utc: Timestamp, random: &mut Random) -> Option<Bar> {
        let mut candle = self.last_minute.take()?;
        candle.add(candle.low, 1 + random.below(100));
        Some(candle.bar(&self.symbol, Interval::UpdatedMinute, last_minute(utc)))
    }

    fn day_bar(&mut self, utc: Timestamp) -> Option<Bar> {
        Some(
            self.day?
                .bar(&self.symbol, Interval::Day, new_york_midnight(utc)),
        )
    }
}

/// Prices in hundredths of a cent.
#[derive(Clone, Copy, Debug)]
struct Candle {
    open: i64,
    high: i64,
    low: i64,
    close: i64,
    volume: u64,
    trades: u64,
    turnover: i128,
}

impl Candle {
    fn new(price: i64) -> Self {
        Self {
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0,
            trades: 0,
            turnover: 0,
        }
    }

    fn add(&mut self, price: i64, size: u64) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.volume += size;
        self.trades += 1;
        self.turnover += i128::from(price) * i128::from(size);
    }

    fn bar(&self, symbol: &Symbol, interval: Interval, timestamp: Timestamp) -> Bar {
        let vwap = self.turnover / i128::from(self.volume.max(1));
        Bar {
            symbol: symbol.clone(),
            interval,
            open: Decimal::new(self.open, 4),
            high: Decimal::new(self.high, 4),
            low: Decimal::new(self.low, 4),
            close: Decimal::new(self.close, 4),
            volume: self.volume.into(),
            trade_count: Some(self.trades),
            // An average of prices lies between them, so it fits where they did.
            vwap: i64::try_from(vwap).ok().map(|vwap| Decimal::new(vwap, 4)),
            exchange: Code::default(),
            timestamp,
        }
    }
}

fn exchange(random: &mut Random) -> Code {
    Code::from(EXCHANGES[random.below(EXCHANGES.len() as u64) as usize])
}

const MINUTE: i64 = 60_000_000_000;
const HOUR: i64 = 60 * MINUTE;

/// The start of the minute that ended last.
fn last_minute(utc: Timestamp) -> Timestamp {
    floor(utc, MINUTE, -MINUTE)
}

/// Midnight in New York as if it were always winter there: 05:00Z. The simulator has no time zone data.
fn new_york_midnight(utc: Timestamp) -> Timestamp {
    let nanos = utc.as_nanos().saturating_sub(5 * HOUR);
    floor(Timestamp::from_nanos(nanos), 24 * HOUR, 5 * HOUR)
}

fn floor(utc: Timestamp, unit: i64, shift: i64) -> Timestamp {
    let nanos = utc.as_nanos();
    Timestamp::from_nanos(
        nanos
            .saturating_sub(nanos.rem_euclid(unit))
            .saturating_add(shift),
    )
}

/// SplitMix64 (Steele, Lea and Flood, 2014): ten lines that give the same numbers on every platform and for ever,
/// which no crate promises.
#[derive(Debug)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number from 0 to `bound - 1`. The bias of so small bounds is of no concern here.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UTC: Timestamp = Timestamp::from_nanos(1_773_757_805_123_456_789);

    fn events(seed: u64, count: usize) -> Vec<MarketEvent> {
        let mut tape = Tape::new(seed, &["AAPL".into(), "MSFT".into()]);
        (0..count).filter_map(|_| tape.next(UTC)).collect()
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
}
