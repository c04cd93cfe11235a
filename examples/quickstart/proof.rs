//! The proof: what each reader counted, and what is left when everything was dropped.

use std::{
    collections::HashMap,
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use trunkline::{
    Dropped, Gap, Health, Manager, MarketEvent, Quote, Symbol, market::TradeEvent, sim::Sim,
    venue::Payload,
};

use crate::common::{line_threads, settled};

/// What a reading thread needs of an event.
pub(crate) trait Item: Payload<Source = MarketEvent> {
    const NAME: &'static str;
    fn symbol(&self) -> &Symbol;
    /// What the simulator numbers consecutively, symbol by symbol: trades by their ids, quotes by the bids' sizes.
    fn number(&self) -> Option<i64>;
    fn line(&self) -> String;
}

impl Item for Quote {
    const NAME: &'static str = "quotes";

    fn symbol(&self) -> &Symbol {
        &self.symbol
    }

    fn number(&self) -> Option<i64> {
        self.bid_size.try_into().ok()
    }

    fn line(&self) -> String {
        format!(
            "{:<6} bid {:>7} x {:<4} ask {:>7} x {}",
            self.symbol, self.bid_price, self.bid_size, self.ask_price, self.ask_size
        )
    }
}

impl Item for TradeEvent {
    const NAME: &'static str = "trades";

    fn symbol(&self) -> &Symbol {
        match self {
            Self::Trade(trade) => &trade.symbol,
            Self::Correction(correction) => &correction.symbol,
            Self::Cancel(cancel) => &cancel.symbol,
        }
    }

    fn number(&self) -> Option<i64> {
        self.trade().and_then(|trade| trade.id)
    }

    fn line(&self) -> String {
        match self.trade() {
            Some(trade) => format!(
                "{:<6}     {:>7} x {:<4} #{}",
                trade.symbol,
                trade.price,
                trade.size,
                trade.id.unwrap_or_default()
            ),
            None => self.to_string(),
        }
    }
}

/// What a thread hands back: what it counted, and its part of the line, to be dropped.
pub(crate) type Part = (Counted, Box<dyn Send>);

/// A whole line, from whichever thread.
pub(crate) fn say(what: &str, text: impl std::fmt::Display) -> io::Result<()> {
    writeln!(io::stdout(), "{what:<7} {text}")
}

/// What one reader saw.
#[derive(Default)]
pub(crate) struct Counted {
    events: u64,
    /// Numbers that never came.
    missing: u64,
    /// Events that the library declared dropped.
    dropped: u64,
    breaks: u64,
    last: HashMap<Symbol, i64>,
    shown: Option<(Instant, Symbol)>,
}

impl Counted {
    /// Says whether this event is one of the few that are shown: three a second, and each symbol in its turn.
    pub(crate) fn event(&mut self, item: &impl Item, symbols: usize) -> bool {
        self.events += 1;
        if let Some(number) = item.number()
            && let Some(last) = self.last.insert(item.symbol().clone(), number)
        {
            self.missing += number.abs_diff(last % NUMBERS + 1);
        }
        let is_shown = self.shown.as_ref().is_none_or(|(at, symbol)| {
            at.elapsed() >= BETWEEN_LINES && (symbol != item.symbol() || symbols == 1)
        });
        if is_shown {
            self.shown = Some((Instant::now(), item.symbol().clone()));
        }
        is_shown
    }

    pub(crate) fn gap(&mut self, gap: &Gap) {
        self.breaks += gap.breaks;
        self.last.clear();
    }

    pub(crate) fn dropped(&mut self, dropped: &Dropped) {
        self.dropped += dropped.count;
    }
}

/// What has to hold.
pub(crate) struct Proof {
    /// The line while everybody held it.
    shared: Health,
    counted: Vec<Counted>,
    ended_in: Duration,
}

impl Proof {
    /// Drops the threads' parts of the line, the last of which ends it.
    pub(crate) fn of(parts: Vec<Part>) -> anyhow::Result<Self> {
        let mut streams = Manager::global().health().streams;
        let (counted, held): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
        let ending = Instant::now();
        drop(held);
        Ok(Self {
            shared: streams.pop().context("there is no line")?,
            counted,
            ended_in: ending.elapsed(),
        })
    }

    /// Counts what is left, prints all of it, and says whether the proof holds. Only the simulator numbers what it sends.
    pub(crate) fn print(&self, out: &mut impl io::Write, sim: Option<&Sim>) -> io::Result<bool> {
        let sum = |count: fn(&Counted) -> u64| self.counted.iter().map(count).sum::<u64>();
        let events = sum(|counted| counted.events);
        let lost = match sim {
            Some(_) => sum(|counted| counted.missing.max(counted.dropped)),
            None => sum(|counted| counted.dropped),
        };
        let breaks = self.counted.iter().map(|counted| counted.breaks).max();
        let breaks = breaks.unwrap_or_default();
        let connections_opened = match sim {
            Some(sim) => sim.stats().connections_opened,
            None => self.shared.counters.attempts,
        };
        let threads_left = settled(SOON, line_threads);
        let connections_left = settled(SOON, || Some(sim?.stats().connections_open));
        let subscriptions = self.shared.subscriptions.len();
        let handles = self.shared.leases.saturating_sub(subscriptions);
        let shared = format!("{handles} handles, {subscriptions} subscriptions");
        let ended_in = format!("{:.1} ms", self.ended_in.as_secs_f64() * 1e3);
        let or_not = |count: Option<usize>| {
            count.map_or_else(|| "not counted".to_owned(), |n| n.to_string())
        };
        // A row: what is shown, and whether it has to be otherwise.
        let rows = [
            (
                "connections opened",
                connections_opened.to_string(),
                connections_opened == 1,
            ),
            ("shared by", shared, (handles, subscriptions) == (3, 2)),
            ("events received", events.to_string(), events > 0),
            ("events lost", lost.to_string(), lost == 0),
            ("breaks of the line", breaks.to_string(), breaks == 0),
            (
                "threads left",
                or_not(threads_left),
                threads_left.unwrap_or(0) == 0,
            ),
            (
                "connections left",
                or_not(connections_left),
                connections_left.unwrap_or(0) == 0,
            ),
            ("ended in", ended_in, true),
        ];
        writeln!(out)?;
        for (name, value, holds) in &rows {
            let but = if *holds { "" } else { "  (!)" };
            writeln!(out, "  {name:<20} {value}{but}")?;
        }
        let holds = rows.iter().all(|(.., holds)| *holds);
        let verdict = if holds {
            "proved: one connection, nothing lost, nothing left behind"
        } else {
            "NOT proved: see (!)"
        };
        writeln!(out, "\n{verdict}")?;
        if sim.is_none() && events == 0 {
            writeln!(out, "no data? market closed: try --live --feed test")?;
        }
        Ok(holds)
    }
}

/// How long threads and connections may take to be off every list.
const SOON: Duration = Duration::from_secs(5);
const BETWEEN_LINES: Duration = Duration::from_millis(330);

/// The simulator's bid sizes go to this and start over.
const NUMBERS: i64 = 1_000_000;
