//! Stocks: trades, quotes and bars, and now and then an incident: a halt, a band, an imbalance, a correction, a cancel.

use rust_decimal::Decimal;

use super::{Listing, Random, any, candle, last_minute, new_york_midnight};
use crate::market::{
    Bar, Code, Conditions, Imbalance, Interval, LuldBand, MarketEvent, Quote, Symbol, Timestamp,
    Trade, TradeCancel, TradeCorrection, TradingStatus,
};

/// Every `BAR_EVERY`th event is a bar: a minute, an updated minute, a day, in turn.
const BAR_EVERY: u64 = 20;

const EXCHANGES: [&str; 4] = ["V", "P", "Q", "K"];
const TAPE: &str = "C";

/// Hundredths of a cent, and whole shares.
type Candle = candle::Candle<4, 0>;

/// All symbols, and where each of them stands.
#[derive(Debug)]
pub(super) struct Stocks {
    random: Random,
    books: Listing<Book>,
    produced: u64,
    incidents: Incidents,
}

/// What happens besides. Its randomness is its own, so that the market is the same with and without it.
#[derive(Debug)]
struct Incidents {
    random: Random,
    /// For each thousand ordinary events.
    per_thousand: u64,
    produced: u64,
}

impl Stocks {
    pub(super) fn new(random: Random, incidents: Random, per_thousand: u32) -> Self {
        Self {
            random,
            books: Listing::new(),
            produced: 0,
            incidents: Incidents {
                random: incidents,
                per_thousand: per_thousand.into(),
                produced: 0,
            },
        }
    }

    pub(super) fn list(&mut self, symbol: &Symbol) {
        let random = &mut self.random;
        self.books.list(symbol, || {
            Book::new(symbol.clone(), 2_000 + random.below(48_000) as i64)
        });
    }

    pub(super) fn symbols(&self) -> impl Iterator<Item = &Symbol> {
        self.books.books.iter().map(|book| &book.symbol)
    }

    pub(super) fn next(&mut self, utc: Timestamp, events: &mut Vec<MarketEvent>) {
        let turn = self.produced;
        self.produced += 1;
        let Some(book) = self.books.pick(&mut self.random) else {
            return;
        };
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
        events.push(match bar {
            Some(bar) => MarketEvent::Bar(bar),
            // Of a hundred events, five are bars, 60 quotes and 35 trades.
            None if self.random.below(95) < 60 => {
                MarketEvent::Quote(book.quote(utc, &mut self.random))
            }
            None => MarketEvent::Trade(book.trade(utc, &mut self.random)),
        });
        self.happen(utc, events);
    }

    /// Incidents, as many as are due, each kind in turn.
    fn happen(&mut self, utc: Timestamp, events: &mut Vec<MarketEvent>) {
        let incidents = &mut self.incidents;
        while incidents.produced < self.produced * incidents.per_thousand / 1_000 {
            let turn = incidents.produced;
            incidents.produced += 1;
            let Some(book) = self.books.pick(&mut incidents.random) else {
                return;
            };
            events.extend(match turn % 5 {
                0 => Some(book.status(utc)),
                1 => Some(book.band(utc)),
                2 => Some(book.imbalance(utc)),
                3 => book.correction(utc),
                _ => book.cancel(utc),
            });
        }
    }

    /// The last bars of every symbol's day.
    pub(super) fn close(&mut self, utc: Timestamp) -> Vec<MarketEvent> {
        let bars = |book: &mut Book| [book.minute_bar(utc), book.day_bar(utc)];
        let books = self.books.books.iter_mut();
        books
            .flat_map(bars)
            .flatten()
            .map(MarketEvent::Bar)
            .collect()
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
    last_trade: Option<Trade>,
    halted: bool,
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
            last_trade: None,
            halted: false,
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
            conditions: ["R"].into_iter().collect(),
            exchange: Code::default(),
            tape: TAPE.into(),
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
        let trade = Trade {
            symbol: self.symbol.clone(),
            id: Some(self.trades),
            exchange: exchange(random),
            price: shown,
            size: size.into(),
            taker_side: Code::default(),
            conditions,
            tape: TAPE.into(),
            update: Code::default(),
            timestamp: utc,
        };
        self.last_trade = Some(trade.clone());
        trade
    }

    /// A halt, or the end of one.
    fn status(&mut self, utc: Timestamp) -> MarketEvent {
        self.halted = !self.halted;
        let (code, message, reason_code, reason) = if self.halted {
            ("H", "Trading Halt", "T1", "Halt News Pending")
        } else {
            ("T", "Trading Resumption", "", "")
        };
        MarketEvent::Status(Box::new(TradingStatus {
            symbol: self.symbol.clone(),
            status_code: code.into(),
            status_message: message.into(),
            reason_code: reason_code.into(),
            reason_message: reason.into(),
            tape: TAPE.into(),
            timestamp: utc,
        }))
    }

    /// Five percent up and down.
    fn band(&self, utc: Timestamp) -> MarketEvent {
        MarketEvent::Luld(Box::new(LuldBand {
            symbol: self.symbol.clone(),
            limit_up: Decimal::new(self.mid_cents * 105 / 100, 2),
            limit_down: Decimal::new(self.mid_cents * 95 / 100, 2),
            indicator: "B".into(),
            tape: TAPE.into(),
            timestamp: utc,
        }))
    }

    fn imbalance(&self, utc: Timestamp) -> MarketEvent {
        MarketEvent::Imbalance(Box::new(Imbalance {
            symbol: self.symbol.clone(),
            price: Decimal::new(self.mid_cents, 2),
            tape: TAPE.into(),
            timestamp: utc,
        }))
    }

    /// The last trade, a cent off.
    fn correction(&self, utc: Timestamp) -> Option<MarketEvent> {
        let trade = self.last_trade.as_ref()?;
        let id = trade.id?;
        Some(MarketEvent::Correction(Box::new(TradeCorrection {
            symbol: trade.symbol.clone(),
            exchange: trade.exchange.clone(),
            original_id: Some(id),
            original_price: trade.price,
            original_size: trade.size,
            original_conditions: trade.conditions.clone(),
            corrected_id: Some(CORRECTED + id),
            corrected_price: trade.price + Decimal::new(1, 2),
            corrected_size: trade.size,
            corrected_conditions: trade.conditions.clone(),
            tape: trade.tape.clone(),
            timestamp: utc,
        })))
    }

    fn cancel(&self, utc: Timestamp) -> Option<MarketEvent> {
        let trade = self.last_trade.as_ref()?;
        Some(MarketEvent::Cancel(Box::new(TradeCancel {
            symbol: trade.symbol.clone(),
            id: Some(trade.id?),
            exchange: trade.exchange.clone(),
            price: trade.price,
            size: trade.size,
            action: "C".into(),
            tape: trade.tape.clone(),
            timestamp: utc,
        })))
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

fn exchange(random: &mut Random) -> Code {
    any(&EXCHANGES, random).into()
}

/// The ids of corrected trades: fourteen digits, far from those of trades, which count from one.
const CORRECTED: i64 = 10_000_000_000_000;
