//! Options: trades and quotes. They have neither ids nor a tape, and one condition each.

use rust_decimal::Decimal;

use super::{Listing, Random, any};
use crate::market::{Code, MarketEvent, Quote, Symbol, Timestamp, Trade};

const EXCHANGES: [&str; 4] = ["A", "C", "N", "X"];

/// All contracts, and where each of them stands.
#[derive(Debug)]
pub(super) struct Options {
    random: Random,
    books: Listing<Book>,
}

/// One contract. Prices are in cents.
#[derive(Debug)]
struct Book {
    symbol: Symbol,
    mid: i64,
}

impl Options {
    pub(super) fn new(random: Random) -> Self {
        Self {
            random,
            books: Listing::new(),
        }
    }

    pub(super) fn list(&mut self, symbol: &Symbol) {
        let random = &mut self.random;
        self.books.list(symbol, || Book {
            symbol: symbol.clone(),
            mid: 100 + random.below(2_400) as i64,
        });
    }

    /// Four quotes to a trade.
    pub(super) fn next(&mut self, utc: Timestamp) -> Option<MarketEvent> {
        let random = &mut self.random;
        let book = self.books.pick(random)?;
        book.mid = (book.mid + random.below(7) as i64 - 3).clamp(10, 100_000);
        Some(if random.below(5) == 0 {
            MarketEvent::Trade(book.trade(utc, random))
        } else {
            MarketEvent::Quote(book.quote(utc, random))
        })
    }
}

impl Book {
    fn trade(&self, utc: Timestamp, random: &mut Random) -> Trade {
        Trade {
            symbol: self.symbol.clone(),
            id: None,
            exchange: any(&EXCHANGES, random).into(),
            price: Decimal::new(self.mid, 2),
            size: (1 + random.below(20)).into(),
            taker_side: Code::default(),
            conditions: [any(&["I", "a", "g"], random)].into_iter().collect(),
            tape: Code::default(),
            update: Code::default(),
            timestamp: utc,
        }
    }

    fn quote(&self, utc: Timestamp, random: &mut Random) -> Quote {
        let half_spread = 1 + random.below(5) as i64;
        Quote {
            symbol: self.symbol.clone(),
            bid_exchange: any(&EXCHANGES, random).into(),
            bid_price: Decimal::new(self.mid - half_spread, 2),
            bid_size: (1 + random.below(200)).into(),
            ask_exchange: any(&EXCHANGES, random).into(),
            ask_price: Decimal::new(self.mid + half_spread, 2),
            ask_size: (1 + random.below(200)).into(),
            exchange: Code::default(),
            conditions: ["A"].into_iter().collect(),
            tape: Code::default(),
            timestamp: utc,
        }
    }
}
