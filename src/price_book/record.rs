//! Quotes and trades as words that atomics can hold: exact, with the time on the monotonic clock and what was slept.

use std::time::{Duration, Instant};

use rust_decimal::Decimal;

use crate::clock;
use crate::market::{Quote, Timestamp};

/// When a value came, on the monotonic clock and on which connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Arrival {
    /// Nanoseconds since the book was made; what was read before it was is before zero.
    pub(super) nanos: i64,
    /// Nanoseconds that the machine had been asleep, as [`clock::asleep`] counts them.
    pub(super) asleep: u64,
    pub(super) epoch: u64,
}

impl Arrival {
    pub(super) fn new(received: Instant, asleep: Duration, origin: Instant, epoch: u64) -> Self {
        let nanos = |span: Duration| i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
        let nanos = match received.checked_duration_since(origin) {
            Some(since) => nanos(since),
            None => -nanos(origin.saturating_duration_since(received)),
        };
        Self {
            nanos,
            asleep: u64::try_from(asleep.as_nanos()).unwrap_or(u64::MAX),
            epoch,
        }
    }

    /// How much the machine slept since.
    pub(super) fn slept_since(self, asleep: Duration) -> Duration {
        asleep.saturating_sub(Duration::from_nanos(self.asleep))
    }

    pub(super) fn received(self, origin: Instant) -> Instant {
        let span = Duration::from_nanos(self.nanos.unsigned_abs());
        if self.nanos < 0 {
            clock::before(origin, span)
        } else {
            clock::after(origin, span)
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quoted {
    pub(super) bid_price: Decimal,
    pub(super) bid_size: Decimal,
    pub(super) ask_price: Decimal,
    pub(super) ask_size: Decimal,
    pub(super) timestamp: Timestamp,
    pub(super) arrival: Arrival,
}

impl Quoted {
    pub(super) const WORDS: usize = 12;

    pub(super) fn new(quote: &Quote, arrival: Arrival) -> Self {
        Self {
            bid_price: quote.bid_price,
            bid_size: quote.bid_size,
            ask_price: quote.ask_price,
            ask_size: quote.ask_size,
            timestamp: quote.timestamp,
            arrival,
        }
    }

    pub(super) fn pack(&self) -> [u64; Self::WORDS] {
        let [b0, b1] = halves(self.bid_price);
        let [b2, b3] = halves(self.bid_size);
        let [a0, a1] = halves(self.ask_price);
        let [a2, a3] = halves(self.ask_size);
        let [t, n, z, e] = times(self.timestamp, self.arrival);
        [b0, b1, b2, b3, a0, a1, a2, a3, t, n, z, e]
    }

    pub(super) fn unpack(words: [u64; Self::WORDS]) -> Self {
        let [b0, b1, b2, b3, a0, a1, a2, a3, t, n, z, e] = words;
        let (timestamp, arrival) = of_times([t, n, z, e]);
        Self {
            bid_price: whole([b0, b1]),
            bid_size: whole([b2, b3]),
            ask_price: whole([a0, a1]),
            ask_size: whole([a2, a3]),
            timestamp,
            arrival,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traded {
    pub(super) price: Decimal,
    pub(super) size: Decimal,
    pub(super) timestamp: Timestamp,
    pub(super) arrival: Arrival,
    pub(super) report: Report,
}

/// What became of a trade after it was reported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Report {
    Stands,
    Corrected,
    Canceled,
}

impl Traded {
    pub(super) const WORDS: usize = 9;

    pub(super) fn pack(&self) -> [u64; Self::WORDS] {
        let [p0, p1] = halves(self.price);
        let [s0, s1] = halves(self.size);
        let [t, n, z, e] = times(self.timestamp, self.arrival);
        let report = match self.report {
            Report::Stands => 0,
            Report::Corrected => 1,
            Report::Canceled => 2,
        };
        [p0, p1, s0, s1, t, n, z, e, report]
    }

    pub(super) fn unpack(words: [u64; Self::WORDS]) -> Self {
        let [p0, p1, s0, s1, t, n, z, e, report] = words;
        let (timestamp, arrival) = of_times([t, n, z, e]);
        Self {
            price: whole([p0, p1]),
            size: whole([s0, s1]),
            timestamp,
            arrival,
            report: match report {
                0 => Report::Stands,
                1 => Report::Corrected,
                _ => Report::Canceled,
            },
        }
    }
}

fn halves(number: Decimal) -> [u64; 2] {
    let bits = u128::from_le_bytes(number.serialize());
    [bits as u64, (bits >> 64) as u64]
}

fn whole([low, high]: [u64; 2]) -> Decimal {
    Decimal::deserialize((u128::from(high) << 64 | u128::from(low)).to_le_bytes())
}

fn times(timestamp: Timestamp, arrival: Arrival) -> [u64; 4] {
    [
        timestamp.as_nanos().cast_unsigned(),
        arrival.nanos.cast_unsigned(),
        arrival.asleep,
        arrival.epoch,
    ]
}

fn of_times([timestamp, nanos, asleep, epoch]: [u64; 4]) -> (Timestamp, Arrival) {
    let arrival = Arrival {
        nanos: nanos.cast_signed(),
        asleep,
        epoch,
    };
    (Timestamp::from_nanos(timestamp.cast_signed()), arrival)
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
