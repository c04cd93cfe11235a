//! What is known of one symbol: its newest quote and trade, what the venue says of both topics, and who waits.

use parking_lot::Mutex;

use super::{
    gate::Gate,
    latest::Latest,
    record::{Quoted, Traded},
};
use crate::{
    error::Error,
    market::{Code, Symbol},
    process::is_forked,
    stream::sink::TopicNews,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

pub(super) struct Cell {
    pub(super) symbol: Symbol,
    pub(super) quote: Side<{ Quoted::WORDS }>,
    pub(super) trade: Side<{ Traded::WORDS }>,
    /// For those who wait for a quote.
    pub(super) quoted: Gate,
    /// For those who wait for a price, whatever its source.
    pub(super) priced: Gate,
    /// How the venue named the last trade, for what amends it. Of the stream's thread alone, so never contended.
    pub(super) reported: Mutex<Option<(Option<i64>, Code)>>,
    is_member: AtomicBool,
}

impl Cell {
    pub(super) fn new(symbol: Symbol) -> Self {
        Self {
            symbol,
            quote: Side::new(),
            trade: Side::new(),
            quoted: Gate::new(),
            priced: Gate::new(),
            reported: Mutex::new(None),
            is_member: AtomicBool::new(false),
        }
    }

    /// Whether the book has the symbol. Called under the lock of the topic table: of two threads that add and remove it at
    /// once, the one that the table hears last decides here, too.
    pub(super) fn set_member(&self, is_member: bool) {
        self.is_member.store(is_member, Ordering::Release);
    }

    pub(super) fn is_member(&self) -> bool {
        self.is_member.load(Ordering::Acquire)
    }

    /// What is here now was known before the symbol was left out for a while.
    pub(super) fn cut(&self) {
        self.quote.cut();
        self.trade.cut();
    }

    /// Lets everybody who waits look again. A `SeqCst` fence stands between what they are to see and this.
    pub(super) fn turn(&self) {
        self.quoted.turn();
        self.priced.turn();
    }

    /// Lets those look again for whom something was written since the last time, once. Of the stream's thread alone.
    pub(super) fn turn_for_news(&self) {
        let quotes = self.quote.has_news();
        let trades = self.trade.has_news();
        if quotes {
            self.quoted.turn();
        }
        if quotes || trades {
            self.priced.turn();
        }
    }
}

/// One topic of a symbol.
pub(super) struct Side<const N: usize> {
    pub(super) latest: Latest<N>,
    /// The number of the last record that was cut off: events of the topic were missed after it.
    cut: AtomicU64,
    /// One more than the number of the last record after which something came that could not be read. Zero is none, and
    /// one is before the first record.
    missed: AtomicU64,
    /// The number of the last record that those who wait were told of.
    told: AtomicU64,
    standing: AtomicU64,
    refusal: Mutex<Option<Error>>,
}

impl<const N: usize> Side<N> {
    fn new() -> Self {
        Self {
            latest: Latest::new(),
            cut: AtomicU64::new(0),
            missed: AtomicU64::new(0),
            told: AtomicU64::new(0),
            standing: AtomicU64::new(PENDING),
            refusal: Mutex::new(None),
        }
    }

    /// Events are missed from here on, until the next one comes.
    pub(super) fn cut(&self) {
        self.cut.fetch_max(self.latest.written(), Ordering::AcqRel);
    }

    /// Something came that could not be read. What is here may not be the newest, until the next one comes.
    pub(super) fn miss(&self) {
        self.missed
            .fetch_max(self.latest.written() + 1, Ordering::AcqRel);
    }

    /// Whether something that could not be read came after this record; number zero is none.
    pub(super) fn is_missed(&self, number: u64) -> bool {
        number < self.missed.load(Ordering::Acquire)
    }

    fn has_news(&self) -> bool {
        let written = self.latest.written();
        let is_new = written > self.told.load(Ordering::Relaxed);
        self.told.store(written, Ordering::Relaxed);
        is_new
    }

    /// Puts `record` in the place of the newest, which is `number`: it is no more the newest than that was.
    pub(super) fn amend(&self, number: u64, record: [u64; N]) {
        if self.is_cut(number) {
            self.cut.fetch_max(number + 1, Ordering::AcqRel);
        }
        if self.is_missed(number) {
            self.missed.fetch_max(number + 2, Ordering::AcqRel);
        }
        self.latest.write(record);
    }

    pub(super) fn is_cut(&self, number: u64) -> bool {
        number <= self.cut.load(Ordering::Acquire)
    }

    /// What became of the topic. Nothing comes of it unless it was confirmed. Of the stream's thread alone, so that nothing
    /// older is written behind the cut.
    pub(super) fn told(&self, news: TopicNews<'_>) {
        let standing = match news {
            TopicNews::Confirmed => CONFIRMED,
            TopicNews::Stopped => PENDING,
            TopicNews::Refused(_) => REFUSED,
        };
        if standing != CONFIRMED {
            self.cut();
        }
        if let TopicNews::Refused(why) = news {
            *self.refusal.lock() = Some(why.clone());
        }
        self.standing.store(standing, Ordering::Release);
    }

    pub(super) fn is_confirmed(&self) -> bool {
        self.standing.load(Ordering::Acquire) == CONFIRMED
    }

    /// Why the venue refused the topic, if it did.
    pub(super) fn refusal(&self) -> Option<Error> {
        // In a forked child, the stream's thread may hold that lock for ever.
        if self.standing.load(Ordering::Acquire) != REFUSED || is_forked() {
            return None;
        }
        self.refusal.lock().clone()
    }
}

const PENDING: u64 = 0;
const CONFIRMED: u64 = 1;
const REFUSED: u64 = 2;
