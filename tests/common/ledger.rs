//! Whether a subscription told the truth: every trade id consecutive, except where it was declared that one is missing.

use std::collections::BTreeMap;

use trunkline::{
    Declared, EndReason, ErrorKind, Notice, Overflow, Symbol, Update, health::SubscriptionHealth,
    market::TradeEvent,
};

/// What one subscription to trades has read.
pub struct Ledger {
    name: String,
    /// A newer trade may take the place of an older one.
    conflates: bool,
    pages: BTreeMap<Symbol, Page>,
    /// Events read.
    pub events: u64,
    /// Events declared dropped.
    pub dropped: u64,
    /// Gaps read.
    pub gaps: u64,
    /// Resumptions read.
    pub resumed: u64,
    /// Items that could not be read.
    pub unparsed: u64,
    /// How it ended, if it has.
    pub ended: Option<EndReason>,
}

struct Page {
    last: i64,
    /// Nothing may be missing behind it.
    sure: bool,
}

impl Ledger {
    /// An empty one. Failures name `name`.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            conflates: false,
            pages: BTreeMap::new(),
            events: 0,
            dropped: 0,
            gaps: 0,
            resumed: 0,
            unparsed: 0,
            ended: None,
        }
    }

    /// For a subscription with this policy.
    pub fn with_overflow(mut self, overflow: Overflow) -> Self {
        self.conflates = overflow == Overflow::Conflate;
        self
    }

    /// Enters one update. A match without a catch-all: the enum is closed.
    pub fn enter(&mut self, update: &Update<TradeEvent>) {
        assert!(
            self.ended.is_none(),
            "{}: after the end: {update:?}",
            self.name
        );
        match update {
            Update::Event(event) => {
                self.events += 1;
                let trade = event.trade().unwrap();
                let new = Page {
                    last: trade.id.unwrap(),
                    sure: true,
                };
                if let Some(Page { last, sure }) = self.pages.insert(trade.symbol.clone(), new) {
                    let (symbol, id) = (&trade.symbol, trade.id.unwrap());
                    assert!(id > last, "{}: {symbol} {id} came after {last}", self.name);
                    assert!(
                        !sure || self.conflates || id == last + 1,
                        "{}: {symbol} {id} came after {last}, and nothing was declared",
                        self.name
                    );
                }
            }
            Update::Gap(_) => {
                self.gaps += 1;
                self.excuse(|_| true);
            }
            Update::Dropped(dropped) => {
                assert!(dropped.count > 0, "{}", self.name);
                self.dropped += dropped.count;
                self.excuse(|_| true);
            }
            Update::Notice(Declared {
                what: Notice::Confirmed { topics, .. } | Notice::Refused { topics, .. },
                ..
            }) => {
                self.excuse(|symbol| topics.iter().any(|topic| topic.symbol == *symbol));
            }
            Update::Notice(Declared {
                what: Notice::Resumed { .. },
                ..
            }) => self.resumed += 1,
            Update::Notice(Declared {
                what: Notice::Unparsed(unparsed),
                ..
            }) => self.unparsed += 1 + unparsed.more,
            Update::Notice(_) => {}
            Update::Ended(ended) => self.ended = Some(ended.reason.clone()),
        }
    }

    /// Compares with what the subscription counted, once everything that was queued has been read.
    pub fn settle(&self, health: &SubscriptionHealth) {
        let name = &self.name;
        assert_eq!(
            health.events_routed,
            health.events_delivered
                + health.events_queued
                + health.events_dropped
                + health.events_conflated,
            "{name}: {health:?}"
        );
        assert_eq!(
            (health.events_delivered, health.events_queued),
            (self.events, 0),
            "{name}: {health:?}"
        );
        // An overflow that ends is itself the declaration of what did not fit.
        let overflowed = matches!(&self.ended, Some(EndReason::Failed(error)) if matches!(error.kind(), ErrorKind::Overflow { .. }));
        assert!(
            health.events_dropped == self.dropped || overflowed,
            "{name}: declared {}, {health:?}",
            self.dropped
        );
        assert!(self.conflates || health.events_conflated == 0, "{name}");
    }

    fn excuse(&mut self, which: impl Fn(&Symbol) -> bool) {
        for (symbol, page) in &mut self.pages {
            page.sure &= !which(symbol);
        }
    }
}
