//! The cells of a book, and how the stream's thread fills them. It knows no handle and no lease.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use super::{
    cell::Cell,
    index::Index,
    record::{Arrival, Quoted, Report, Traded},
};
use crate::{
    clock,
    event::{Concerns, EndReason},
    health::SubscriptionHealth,
    market::{Code, MarketEvent, QUOTES, TRADES, Trade, TradeCancel, TradeCorrection},
    stream::{
        Batch, Slice,
        sink::{Fold, TopicNews},
    },
    sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence},
    topic::{Channel, Overflow, Topic},
    venue::Stamped,
};

pub(super) struct Table {
    pub(super) index: Index,
    /// What arrivals are counted from.
    pub(super) origin: Instant,
    ended: OnceLock<EndReason>,
    /// Nothing more comes of this connection, nor of those before it.
    cut: AtomicU64,
    /// Threads that wait at any gate of this book: while there is none, a batch costs the writer one look at this.
    pub(super) waiting: AtomicUsize,
    folded: AtomicU64,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            index: Index::new(),
            origin: clock::now(),
            ended: OnceLock::new(),
            cut: AtomicU64::new(0),
            waiting: AtomicUsize::new(0),
            folded: AtomicU64::new(0),
        }
    }

    pub(super) fn ended(&self) -> Option<&EndReason> {
        self.ended.get()
    }

    /// Whether later values than one of connection `epoch` were missed, or nothing more comes at all.
    pub(super) fn is_cut(&self, epoch: u64) -> bool {
        epoch <= self.cut.load(Ordering::Acquire)
    }

    /// Lets everybody who waits look again.
    pub(super) fn turn_all(&self) {
        fence(Ordering::SeqCst);
        self.index.each(|cell| cell.turn());
    }

    fn cell(&self, event: &MarketEvent) -> Option<&Cell> {
        self.index.get(event.symbol()?).map(AsRef::as_ref)
    }

    fn take_in(&self, stamped: &Stamped<MarketEvent>, batch: &Batch<MarketEvent>) {
        let event = &stamped.event;
        let Some(cell) = self.cell(event) else {
            return;
        };
        let arrival = Arrival::new(stamped.received, batch.asleep, self.origin, batch.epoch);
        match event {
            MarketEvent::Quote(quote) => {
                cell.quote.latest.write(Quoted::new(quote, arrival).pack())
            }
            MarketEvent::Trade(trade) => report(cell, trade, arrival),
            MarketEvent::Correction(correction) => correct(cell, correction),
            MarketEvent::Cancel(taken_back) => cancel(cell, taken_back),
            // Only quotes and trades are subscribed to.
            _ => {}
        }
    }
}

impl Fold<MarketEvent> for Table {
    fn fold(&self, batch: &Batch<MarketEvent>, slice: Slice) {
        for stamped in batch.events_of(slice) {
            self.take_in(stamped, batch);
        }
        let folded = self.folded.load(Ordering::Relaxed) + slice.len() as u64;
        self.folded.store(folded, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        if self.waiting.load(Ordering::Relaxed) == 0 {
            return;
        }
        for stamped in batch.events_of(slice) {
            if let Some(cell) = self.cell(&stamped.event) {
                cell.turn_for_news();
            }
        }
    }

    fn told(&self, topic: &Topic, news: TopicNews<'_>) {
        match self.index.get(&topic.symbol) {
            Some(cell) if topic.channel == QUOTES => cell.quote.told(news),
            Some(cell) if topic.channel == TRADES => cell.trade.told(news),
            _ => {}
        }
        if let TopicNews::Refused(_) = news {
            self.turn_all();
        }
    }

    fn missed(&self, concerns: &Concerns) {
        let miss = |cell: &Cell, channel: Option<Channel>| {
            if channel.is_none_or(|channel| channel == QUOTES) {
                cell.quote.miss();
            }
            if channel.is_none_or(|channel| channel == TRADES) {
                cell.trade.miss();
            }
        };
        match concerns {
            Concerns::Topic(topic) if !topic.is_wildcard() => {
                if let Some(cell) = self.index.get(&topic.symbol) {
                    miss(cell, Some(topic.channel));
                }
            }
            Concerns::Topic(Topic { channel, .. }) | Concerns::Channel(channel) => {
                self.index.each(|cell| miss(cell, Some(*channel)));
            }
            Concerns::Everybody => self.index.each(|cell| miss(cell, None)),
            Concerns::Nobody => {}
        }
    }

    fn cut(&self, epoch: u64) {
        self.cut.fetch_max(epoch, Ordering::AcqRel);
    }

    fn end(&self, reason: &EndReason) {
        // The first reason stays.
        let _ = self.ended.set(reason.clone());
        self.cut(u64::MAX);
        self.turn_all();
    }

    /// It keeps the newest of each topic, like a queue that conflates and that nobody reads.
    fn health(&self, id: u64) -> SubscriptionHealth {
        let folded = self.folded.load(Ordering::Relaxed);
        let mut capacity = 0;
        self.index
            .each(|cell| capacity += 2 * usize::from(cell.is_member()));
        SubscriptionHealth {
            id,
            correlation: None,
            priority: 0,
            topics: Vec::new(),
            events_routed: folded,
            events_delivered: 0,
            events_dropped: 0,
            events_conflated: folded,
            events_queued: 0,
            capacity,
            bytes_queued: 0,
            capacity_bytes: 0,
            overflow: Overflow::Conflate,
            lag: Duration::ZERO,
            topics_confirmed: 0,
            topics_pending: 0,
        }
    }
}

fn report(cell: &Cell, trade: &Trade, arrival: Arrival) {
    let traded = Traded {
        price: trade.price,
        size: trade.size,
        timestamp: trade.timestamp,
        arrival,
        report: Report::Stands,
    };
    *cell.reported.lock() = Some((trade.id, trade.exchange.clone()));
    cell.trade.latest.write(traded.pack());
}

/// The trade keeps its age: a correction says what was traded then, not that somebody traded now.
fn correct(cell: &Cell, correction: &TradeCorrection) {
    let Some((number, last)) = named(cell, correction.original_id, &correction.exchange) else {
        return;
    };
    let corrected = Traded {
        price: correction.corrected_price,
        size: correction.corrected_size,
        report: Report::Corrected,
        ..last
    };
    let name = (correction.corrected_id, correction.exchange.clone());
    *cell.reported.lock() = Some(name);
    cell.trade.amend(number, corrected.pack());
}

/// No last trade is left then. The one before it is not brought back: it is older, and may have been canceled as well.
fn cancel(cell: &Cell, cancel: &TradeCancel) {
    if let Some((number, last)) = named(cell, cancel.id, &cancel.exchange) {
        let canceled = Traded {
            report: Report::Canceled,
            ..last
        };
        *cell.reported.lock() = None;
        cell.trade.amend(number, canceled.pack());
    }
}

/// The last trade and its number, if that is its name. What amends an earlier one changes nothing here. Where a part of
/// either name is missing it may be the last one's: then that trade is not to be relied on.
fn named(cell: &Cell, id: Option<i64>, exchange: &Code) -> Option<(u64, Traded)> {
    let reported = cell.reported.lock();
    let (last_id, last_exchange) = reported.as_ref()?;
    let is_exchange_missing = exchange.is_empty() != last_exchange.is_empty();
    if id.is_none() || last_id.is_none() || (id == *last_id && is_exchange_missing) {
        cell.trade.miss();
        return None;
    }
    if (*last_id, last_exchange) != (id, exchange) {
        return None;
    }
    let (number, words) = cell.trade.latest.read()?;
    Some((number, Traded::unpack(words)))
}
