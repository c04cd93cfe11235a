//! The simulated markets: what trades, at which prices, in which order. The same seed makes the same markets.
//!
//! Each market has a file, and randomness of its own: whether one is listened to changes nothing in another. They know
//! nothing of connections, and take the wall clock as an argument.

mod candle;
mod crypto;
mod news;
mod options;
mod orders;
mod stocks;

use std::collections::HashMap;

use rust_decimal::Decimal;

use self::{crypto::Crypto, news::Newsroom, options::Options, orders::Orders, stocks::Stocks};
use super::path::Market;
use crate::{
    market::{MarketEvent, OrderBookUpdate, Symbol, Timestamp},
    order::{OrderUpdate, Side},
};

#[derive(Debug)]
pub(super) struct Tape {
    stocks: Stocks,
    crypto: Crypto,
    perpetuals: Crypto,
    options: Options,
    news: Newsroom,
    orders: Orders,
}

impl Tape {
    /// Symbols go to the market that they look like. `incidents` are those for each thousand of the stocks' ordinary
    /// events.
    pub(super) fn new(seed: u64, symbols: &[Symbol], incidents: u32) -> Self {
        // Any three numbers would do, as long as they differ.
        let of = |market: u64| Random::new(seed.wrapping_add(market << 32));
        let mut tape = Self {
            stocks: Stocks::new(Random::new(seed), of(1), incidents),
            crypto: Crypto::coins(of(2)),
            perpetuals: Crypto::perpetuals(of(5)),
            options: Options::new(of(3)),
            news: Newsroom::new(of(4)),
            orders: Orders::new(of(6)),
        };
        for symbol in symbols {
            tape.list(symbol);
        }
        tape
    }

    /// Lists a symbol in its market, unless it is.
    pub(super) fn list(&mut self, symbol: &Symbol) {
        match Market::of_symbol(symbol) {
            Market::Stocks => self.stocks.list(symbol),
            Market::Crypto => self.crypto.list(symbol),
            Market::Perpetuals => self.perpetuals.list(symbol),
            Market::Options => self.options.list(symbol),
            Market::News | Market::Orders => {}
        }
    }

    /// What happens next in a market: an ordinary event and, among stocks, now and then an incident. Nothing where no
    /// symbol is listed.
    pub(super) fn next(&mut self, market: Market, utc: Timestamp, events: &mut Vec<MarketEvent>) {
        match market {
            Market::Stocks => self.stocks.next(utc, events),
            Market::Crypto => events.extend(self.crypto.next(utc)),
            Market::Perpetuals => events.extend(self.perpetuals.next(utc)),
            Market::Options => events.extend(self.options.next(utc)),
            Market::News => events.extend(self.news.next(self.stocks.symbols(), utc)),
            // Orders are no market data.
            Market::Orders => {}
        }
    }

    /// What is reported next of the account's orders, if anything is.
    pub(super) fn next_order(&mut self, utc: Timestamp) -> Option<OrderUpdate> {
        self.orders.next(self.stocks.symbols(), utc)
    }

    /// A market order of the account's that is taken and filled at once.
    pub(super) fn fill(
        &mut self,
        symbol: Symbol,
        side: Side,
        qty: Decimal,
        price: Decimal,
        utc: Timestamp,
    ) -> [OrderUpdate; 2] {
        self.orders.fill(symbol, side, qty, price, utc)
    }

    /// The whole order books of a symbol, or of all, where a market has such.
    pub(super) fn order_books(
        &self,
        market: Market,
        symbol: &Symbol,
        utc: Timestamp,
    ) -> Vec<OrderBookUpdate> {
        match market {
            Market::Crypto => self.crypto.order_books(symbol, utc),
            Market::Perpetuals => self.perpetuals.order_books(symbol, utc),
            Market::Stocks | Market::Options | Market::News | Market::Orders => Vec::new(),
        }
    }

    /// The last bars of the stocks' day.
    pub(super) fn close(&mut self, utc: Timestamp) -> Vec<MarketEvent> {
        self.stocks.close(utc)
    }
}

/// Symbols in the order they were listed, each with where it stands.
#[derive(Debug)]
struct Listing<B> {
    books: Vec<B>,
    by_symbol: HashMap<Symbol, usize>,
}

impl<B> Listing<B> {
    fn new() -> Self {
        Self {
            books: Vec::new(),
            by_symbol: HashMap::new(),
        }
    }

    /// Lists a symbol, unless it is.
    fn list(&mut self, symbol: &Symbol, book: impl FnOnce() -> B) {
        if !self.by_symbol.contains_key(symbol) {
            self.by_symbol.insert(symbol.clone(), self.books.len());
            self.books.push(book());
        }
    }

    fn of(&self, symbol: &Symbol) -> Option<&B> {
        self.by_symbol.get(symbol).map(|at| &self.books[*at])
    }

    /// Any of them, if there is one.
    fn pick(&mut self, random: &mut Random) -> Option<&mut B> {
        let bound = self.books.len() as u64;
        if bound == 0 {
            return None;
        }
        let pick = random.below(bound) as usize;
        self.books.get_mut(pick)
    }
}

/// One of a few words.
fn any<'a>(words: &[&'a str], random: &mut Random) -> &'a str {
    words[random.below(words.len() as u64) as usize]
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
mod tests;
