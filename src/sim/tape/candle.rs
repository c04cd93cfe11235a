//! Open, high, low, close and volume, as they come together.

use rust_decimal::Decimal;

use crate::market::{Bar, Code, Interval, Symbol, Timestamp};

/// Prices in units of 10^-`PRICE_SCALE`, sizes of 10^-`SIZE_SCALE`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candle<const PRICE_SCALE: u32, const SIZE_SCALE: u32> {
    open: i64,
    high: i64,
    pub(super) low: i64,
    close: i64,
    volume: u64,
    trades: u64,
    turnover: i128,
}

impl<const PRICE_SCALE: u32, const SIZE_SCALE: u32> Candle<PRICE_SCALE, SIZE_SCALE> {
    /// One without a trade.
    pub(super) fn new(price: i64) -> Self {
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

    pub(super) fn add(&mut self, price: i64, size: u64) {
        self.high = self.high.max(price);
        self.low = self.low.min(price);
        self.close = price;
        self.volume += size;
        self.trades += 1;
        self.turnover += i128::from(price) * i128::from(size);
    }

    pub(super) fn bar(&self, symbol: &Symbol, interval: Interval, timestamp: Timestamp) -> Bar {
        let vwap = self.turnover / i128::from(self.volume.max(1));
        let price = |units| Decimal::new(units, PRICE_SCALE);
        Bar {
            symbol: symbol.clone(),
            interval,
            open: price(self.open),
            high: price(self.high),
            low: price(self.low),
            close: price(self.close),
            volume: Decimal::from_i128_with_scale(self.volume.into(), SIZE_SCALE).normalize(),
            trade_count: Some(self.trades),
            // An average of prices lies between them, so it fits where they did.
            vwap: i64::try_from(vwap).ok().map(price),
            exchange: Code::default(),
            timestamp,
        }
    }
}
