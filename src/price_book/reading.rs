//! What may be made of what a table holds, at a point in time.

use std::time::Duration;

use super::{
    cell::{Cell, Side},
    record::{Arrival, Quoted, Report, Traded},
    table::Table,
};
use crate::{
    clock::{Moment, SUSPEND},
    market::{Sides, TopOfBook},
    price::{Aged, BestPrice, Lack, LastTrade, NotFresh, PriceSource, Reading},
    source::Source,
};

impl Table {
    /// The clocks are read after the value: a reader that was held up in between must not call it younger than it is.
    pub(super) fn quote(
        &self,
        cell: &Cell,
        max_age: Duration,
        now: impl FnOnce() -> Moment,
    ) -> Reading<TopOfBook> {
        let Some((number, words)) = cell.quote.latest.read().filter(|_| cell.is_member()) else {
            return Reading::Never(nothing(cell, &cell.quote));
        };
        let quoted = Quoted::unpack(words);
        let quote = TopOfBook {
            bid_price: quoted.bid_price,
            bid_size: quoted.bid_size,
            ask_price: quoted.ask_price,
            ask_size: quoted.ask_size,
            timestamp: quoted.timestamp,
        };
        let (value, slept) = self.aged(cell, quote, quoted.arrival, now());
        self.judge(value, slept, &cell.quote, number, max_age)
    }

    pub(super) fn trade(
        &self,
        cell: &Cell,
        max_age: Duration,
        now: impl FnOnce() -> Moment,
    ) -> Reading<LastTrade> {
        let Some((number, words)) = cell.trade.latest.read().filter(|_| cell.is_member()) else {
            return Reading::Never(nothing(cell, &cell.trade));
        };
        let traded = Traded::unpack(words);
        if traded.report == Report::Canceled {
            return Reading::Never(NotFresh {
                symbol: cell.symbol.clone(),
                lack: Lack::Canceled,
            });
        }
        let trade = LastTrade {
            price: traded.price,
            size: traded.size,
            timestamp: traded.timestamp,
            is_corrected: traded.report == Report::Corrected,
        };
        let (value, slept) = self.aged(cell, trade, traded.arrival, now());
        self.judge(value, slept, &cell.trade, number, max_age)
    }

    pub(super) fn best_price(
        &self,
        cell: &Cell,
        max_age: Duration,
        now: impl Fn() -> Moment,
    ) -> Result<Aged<BestPrice>, NotFresh> {
        let quote = self.quote(cell, max_age, &now).fresh();
        if let Ok(quote) = &quote
            && let Some(mid) = quote.mid()
        {
            return Ok(quote.with(BestPrice::new(mid, PriceSource::Mid)));
        }
        if let Reading::Fresh(trade) = self.trade(cell, max_age, &now)
            && trade.price.is_sign_positive()
            && !trade.price.is_zero()
        {
            return Ok(trade.with(BestPrice::new(trade.price, PriceSource::LastTrade)));
        }
        let quote = quote?;
        let one_sided = match quote.sides() {
            Sides::BidOnly => BestPrice::new(quote.bid_price, PriceSource::Bid),
            Sides::AskOnly => BestPrice::new(quote.ask_price, PriceSource::Ask),
            sides => {
                return Err(NotFresh {
                    symbol: quote.symbol,
                    lack: Lack::Unusable(sides),
                });
            }
        };
        Ok(quote.with(one_sided))
    }

    /// The value with its age, and how much of that the machine slept.
    fn aged<T>(
        &self,
        cell: &Cell,
        data: T,
        arrival: Arrival,
        present: Moment,
    ) -> (Aged<T>, Duration) {
        let received = arrival.received(self.origin);
        let slept = arrival.slept_since(present.asleep);
        let awake = present.now.saturating_duration_since(received);
        let aged = Aged {
            symbol: cell.symbol.clone(),
            data,
            age: awake.saturating_add(slept),
            received,
            epoch: arrival.epoch,
        };
        (aged, slept)
    }

    fn judge<T, const N: usize>(
        &self,
        value: Aged<T>,
        slept: Duration,
        side: &Side<N>,
        number: u64,
        max_age: Duration,
    ) -> Reading<T> {
        if side.is_cut(number) || self.is_cut(value.epoch) {
            Reading::Cut(value)
        } else if side.is_missed(number) {
            Reading::Missed(value)
        } else if value.age > max_age || slept >= SUSPEND {
            Reading::Stale(value)
        } else {
            Reading::Fresh(value)
        }
    }
}

/// Why nothing came of a topic.
fn nothing<const N: usize>(cell: &Cell, side: &Side<N>) -> NotFresh {
    let lack = if !cell.is_member() {
        Lack::NotInBook
    } else if let Some(error) = side.refusal() {
        Lack::Refused(Source::new(error))
    } else if side.is_confirmed() && side.is_missed(0) {
        Lack::Unparsed { age: None }
    } else if side.is_confirmed() {
        Lack::Silent
    } else {
        Lack::Unconfirmed
    };
    NotFresh {
        symbol: cell.symbol.clone(),
        lack,
    }
}
