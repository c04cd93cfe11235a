//! Coins: trades, quotes, bars also of minutes without a trade, and order books. Perpetual futures on them are the same,
//! and have pricing besides.

use std::{collections::BTreeMap, sync::Arc};

use rust_decimal::Decimal;

use super::{HOUR, Listing, Random, any, candle, floor, last_minute};
use crate::market::{
    Bar, Code, Conditions, Interval, MarketEvent, OrderBookUpdate, PerpetualPricing, PriceLevel,
    Quote, Symbol, Timestamp, Trade,
};

/// Every `BAR_EVERY`th event is a bar: a minute, an updated minute, a day, in turn.
const BAR_EVERY: u64 = 20;

/// Above 2^53, where a binary float no longer tells two numbers apart. From here on they count by one.
const FIRST_ID: i64 = (1 << 53) + 1;

/// How far from its middle an order book reaches, in cents.
const DEPTH: u64 = 12;

/// Cents, and millionths of a coin.
type Candle = candle::Candle<2, SIZE_SCALE>;
const SIZE_SCALE: u32 = 6;

/// All pairs, or all perpetual futures, and where each of them stands.
#[derive(Debug)]
pub(super) struct Crypto {
    random: Random,
    books: Listing<Book>,
    produced: u64,
    perpetual: bool,
}

/// One pair. Prices are in cents, sizes in millionths of a coin.
#[derive(Debug)]
struct Book {
    symbol: Symbol,
    mid: i64,
    trades: i64,
    minute: Option<Candle>,
    last_minute: Option<Candle>,
    day: Option<Candle>,
    orders: OrderBook,
}

/// Sizes by price. The two sides are on either side of a price that stays, so that they never cross.
#[derive(Debug, Default)]
struct OrderBook {
    middle: i64,
    bids: BTreeMap<i64, i64>,
    asks: BTreeMap<i64, i64>,
}

impl Crypto {
    pub(super) fn coins(random: Random) -> Self {
        Self {
            random,
            books: Listing::new(),
            produced: 0,
            perpetual: false,
        }
    }

    pub(super) fn perpetuals(random: Random) -> Self {
        Self {
            perpetual: true,
            ..Self::coins(random)
        }
    }

    pub(super) fn list(&mut self, symbol: &Symbol) {
        let random = &mut self.random;
        self.books
            .list(symbol, || Book::new(symbol.clone(), random));
    }

    pub(super) fn order_books(&self, symbol: &Symbol, utc: Timestamp) -> Vec<OrderBookUpdate> {
        if symbol.as_str() == "*" {
            let books = self.books.books.iter();
            return books.map(|book| book.whole_book(utc)).collect();
        }
        let book = self.books.of(symbol);
        book.map(|book| book.whole_book(utc)).into_iter().collect()
    }

    pub(super) fn next(&mut self, utc: Timestamp) -> Option<MarketEvent> {
        let turn = self.produced;
        self.produced += 1;
        let random = &mut self.random;
        let book = self.books.pick(random)?;
        book.mid = (book.mid + random.below(201) as i64 - 100).clamp(1_000, 100_000_000);
        if turn % BAR_EVERY == BAR_EVERY - 1 {
            return Some(MarketEvent::Bar(match turn / BAR_EVERY % 3 {
                0 => book.minute_bar(utc, random),
                1 => book.updated_bar(utc, random),
                _ => book.day_bar(utc),
            }));
        }
        // Of a hundred, 40 are quotes, 25 trades, 30 changes of order books (or, in part, pricing) and five bars.
        Some(match random.below(95) {
            0..40 => MarketEvent::Quote(book.quote(utc, random)),
            40..65 => MarketEvent::Trade(book.trade(utc, random)),
            65..75 if self.perpetual => MarketEvent::Pricing(Box::new(book.pricing(utc, random))),
            _ => MarketEvent::OrderBook(Box::new(book.order(utc, random))),
        })
    }
}

impl Book {
    fn new(symbol: Symbol, random: &mut Random) -> Self {
        let mid = 100_000 + random.below(9_900_000) as i64;
        let mut orders = OrderBook {
            middle: mid,
            ..OrderBook::default()
        };
        for distance in 1..=DEPTH as i64 {
            orders.bids.insert(mid - distance, size(random));
            orders.asks.insert(mid + distance, size(random));
        }
        Self {
            symbol,
            mid,
            trades: 0,
            minute: None,
            last_minute: None,
            day: None,
            orders,
        }
    }

    fn trade(&mut self, utc: Timestamp, random: &mut Random) -> Trade {
        let (price, size) = (self.mid, size(random));
        for candle in [&mut self.minute, &mut self.day] {
            candle
                .get_or_insert_with(|| Candle::new(price))
                .add(price, size.unsigned_abs());
        }
        self.trades += 1;
        Trade {
            symbol: self.symbol.clone(),
            id: Some(FIRST_ID - 1 + self.trades),
            exchange: Code::default(),
            price: cents(price),
            size: coins(size),
            taker_side: any(&["B", "S", "-"], random).into(),
            conditions: Conditions::default(),
            tape: Code::default(),
            update: Code::default(),
            timestamp: utc,
        }
    }

    fn quote(&self, utc: Timestamp, random: &mut Random) -> Quote {
        let half_spread = 1 + random.below(50) as i64;
        Quote {
            symbol: self.symbol.clone(),
            bid_exchange: Code::default(),
            bid_price: cents(self.mid - half_spread),
            bid_size: coins(size(random)),
            ask_exchange: Code::default(),
            ask_price: cents(self.mid + half_spread),
            ask_size: coins(size(random)),
            exchange: Code::default(),
            conditions: Conditions::default(),
            tape: Code::default(),
            timestamp: utc,
        }
    }

    /// A minute without a trade has a bar all the same, at the middle of the quotes.
    fn minute_bar(&mut self, utc: Timestamp, random: &mut Random) -> Bar {
        // Of every eight minutes one is without: its trades go to the next.
        let candle = self.minute.take_if(|_| random.below(8) > 0);
        let candle = candle.unwrap_or_else(|| Candle::new(self.mid));
        self.last_minute = Some(candle);
        candle.bar(&self.symbol, Interval::Minute, last_minute(utc))
    }

    /// The last minute bar with a late trade.
    fn updated_bar(&mut self, utc: Timestamp, random: &mut Random) -> Bar {
        let candle = self.last_minute.take();
        let mut candle = candle.unwrap_or_else(|| Candle::new(self.mid));
        candle.add(candle.low, size(random).unsigned_abs());
        candle.bar(&self.symbol, Interval::UpdatedMinute, last_minute(utc))
    }

    fn day_bar(&self, utc: Timestamp) -> Bar {
        let candle = self.day.unwrap_or_else(|| Candle::new(self.mid));
        candle.bar(&self.symbol, Interval::Day, floor(utc, 24 * HOUR, 0))
    }

    /// Funding is every eight hours, and goes either way.
    fn pricing(&self, utc: Timestamp, random: &mut Random) -> PerpetualPricing {
        PerpetualPricing {
            symbol: self.symbol.clone(),
            index_price: Some(cents(self.mid)),
            mark_price: Some(cents(self.mid + random.below(101) as i64 - 50)),
            funding_rate: Some(Decimal::new(random.below(2_001) as i64 - 1_000, 7)),
            open_interest: Some(coins(1_000_000_000 + size(random))),
            next_funding: Some(floor(utc, 8 * HOUR, 8 * HOUR)),
            exchange: Code::default(),
            timestamp: utc,
        }
    }

    /// One level set or taken away.
    fn order(&mut self, utc: Timestamp, random: &mut Random) -> OrderBookUpdate {
        let distance = 1 + random.below(DEPTH) as i64;
        let buys = random.below(2) == 0;
        let (side, price) = if buys {
            (&mut self.orders.bids, self.orders.middle - distance)
        } else {
            (&mut self.orders.asks, self.orders.middle + distance)
        };
        let left = match side.remove(&price) {
            Some(_) if random.below(3) == 0 => 0,
            _ => {
                let size = size(random);
                side.insert(price, size);
                size
            }
        };
        let level: Arc<[_]> = [level(price, left)].into();
        let nothing: Arc<[_]> = [].into();
        let (bids, asks) = if buys {
            (level, nothing)
        } else {
            (nothing, level)
        };
        self.update(utc, false, bids, asks)
    }

    fn whole_book(&self, utc: Timestamp) -> OrderBookUpdate {
        let levels = |(price, size): (&i64, &i64)| level(*price, *size);
        // The best first.
        let bids = self.orders.bids.iter().rev().map(levels).collect();
        let asks = self.orders.asks.iter().map(levels).collect();
        self.update(utc, true, bids, asks)
    }

    fn update(
        &self,
        utc: Timestamp,
        reset: bool,
        bids: Arc<[PriceLevel]>,
        asks: Arc<[PriceLevel]>,
    ) -> OrderBookUpdate {
        OrderBookUpdate {
            symbol: self.symbol.clone(),
            reset,
            bids,
            asks,
            exchange: Code::default(),
            timestamp: utc,
        }
    }
}

/// Up to five coins.
fn size(random: &mut Random) -> i64 {
    1 + random.below(5_000_000) as i64
}

fn level(price: i64, size: i64) -> PriceLevel {
    PriceLevel {
        price: cents(price),
        size: coins(size),
    }
}

fn cents(cents: i64) -> Decimal {
    Decimal::new(cents, 2)
}

fn coins(millionths: i64) -> Decimal {
    Decimal::new(millionths, SIZE_SCALE).normalize()
}
