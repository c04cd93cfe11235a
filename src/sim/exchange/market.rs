//! What happens when, and who gets it.

use std::{
    collections::{BTreeSet, VecDeque},
    mem,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{Connection, ConnectionId, Effect, Exchange, Market, Moment, State};
use crate::{
    alpaca::wire::server,
    clock,
    market::{MarketEvent, Symbol, Timestamp},
    topic::Channel,
    venue::Routed as _,
};

/// The markets' speed: how many events are due since when, so that no rounding adds up.
#[derive(Debug)]
pub(super) struct Pace {
    since: Instant,
    produced: u64,
    last: Instant,
    paused: bool,
    /// Of the others nobody has asked for anything yet.
    visited: BTreeSet<Market>,
    /// Stocks and their options do not trade.
    closed: bool,
}

impl Pace {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            since: now,
            produced: 0,
            last: now,
            paused: false,
            visited: [Market::Stocks].into(),
            closed: false,
        }
    }

    pub(super) fn visit(&mut self, market: Market) {
        self.visited.insert(market);
    }

    pub(super) fn pause(&mut self) {
        self.paused = true;
    }

    pub(super) fn resume(&mut self, now: Instant) {
        if mem::replace(&mut self.paused, false) {
            self.since = now;
            self.last = now;
            self.produced = 0;
        }
    }

    pub(super) fn open(&mut self) {
        self.closed = false;
    }

    fn is_open(&self, market: Market) -> bool {
        let closes = matches!(market, Market::Stocks | Market::Options);
        self.visited.contains(&market) && !(closes && self.closed)
    }
}

impl Exchange {
    /// Produces what the markets owe up to now.
    pub(super) fn catch_up(&mut self, at: Moment) {
        let rate = u64::from(self.config.rate);
        if self.pace.paused || rate == 0 {
            return;
        }
        let due = events_in(at.now.saturating_duration_since(self.pace.since), rate);
        let owed = due.saturating_sub(self.pace.produced);
        if owed == 0 {
            return;
        }
        self.pace.produced = due;
        self.pace.last = at.now;
        let markets = self.pace.visited.iter().copied();
        let open: Vec<_> = markets
            .filter(|market| self.pace.is_open(*market))
            .collect();
        // Where nobody listened, or the process was stopped, the market does not owe more than a second. A rate that
        // the machine cannot keep up with becomes a slower market, and not a server that is busy with nothing else.
        let mut events = Vec::new();
        for offset in 0..owed.min(rate).min(LONGEST_BURST) {
            let nanos = at.utc.as_nanos().saturating_add(offset as i64);
            let utc = Timestamp::from_nanos(nanos);
            for market in &open {
                if *market == Market::Orders {
                    if let Some(update) = self.tape.next_order(utc) {
                        self.report_order(&update);
                    }
                    continue;
                }
                self.tape.next(*market, utc, &mut events);
                for event in events.drain(..) {
                    self.route(*market, &event);
                }
            }
        }
        self.finish_frames();
    }

    /// When the next event is due: never where nobody listens, so that an idle simulator sleeps.
    pub(super) fn next_event(&self) -> Option<Instant> {
        let listens = |id: &ConnectionId, connection: &Connection| {
            connection.state == State::Live
                && !connection.subscriptions.is_empty()
                && self.pace.is_open(connection.path.market)
                && !connection.mischief.is_mute_for_data()
                && !self.is_mute(*id)
        };
        let rate = u64::from(self.config.rate);
        if self.pace.paused || rate == 0 || !self.connections.iter().any(|(id, c)| listens(id, c)) {
            return None;
        }
        let nanos = (u128::from(self.pace.produced) + 1) * NANOS_PER_SECOND;
        let nanos = u64::try_from(nanos.div_ceil(u128::from(rate))).unwrap_or(u64::MAX);
        let due = clock::after(self.pace.since, Duration::from_nanos(nanos));
        Some(due.max(clock::after(self.pace.last, SHORTEST_TICK)))
    }

    /// Puts an event into the frames of those who asked for it. It is encoded once for each codec, and only for
    /// somebody.
    pub(super) fn route(&mut self, market: Market, event: &MarketEvent) {
        let (channel, symbols) = (event.channel(), event.symbols());
        let mut encoded: [Option<Arc<[u8]>>; 2] = [None, None];
        for (id, connection) in &mut self.connections {
            if self.mute
                || connection.mute
                || connection.path.market != market
                || !connection.wants(channel, symbols)
            {
                continue;
            }
            let codec = connection.codec;
            let item = encoded[codec as usize]
                .get_or_insert_with(|| server::event(event, market.feed(), codec).into());
            connection.frame.push(Arc::clone(item));
            self.stats.messages_sent += 1;
            if connection.frame.len() >= self.config.batch {
                connection.send_data(*id, &mut self.effects);
            }
        }
        if let MarketEvent::Trade(trade) = event
            && let Some(trade_id) = trade.id
            && encoded.iter().any(Option::is_some)
        {
            self.fresh_trades.insert(trade.symbol.clone(), trade_id);
        }
    }

    pub(super) fn finish_frames(&mut self) {
        for (id, connection) in &mut self.connections {
            if connection.frame.len() > 0 {
                connection.send_data(*id, &mut self.effects);
            }
        }
    }

    /// The first that a subscriber to an order book gets is the whole of it.
    pub(super) fn send_whole_books(&mut self, at: Moment, id: ConnectionId, symbols: &[Symbol]) {
        if self.config.rate == 0 || self.pace.paused || self.is_mute(id) {
            return;
        }
        let Some(connection) = self.connections.get_mut(&id) else {
            return;
        };
        let market = connection.path.market;
        let books = symbols
            .iter()
            .flat_map(|symbol| self.tape.order_books(market, symbol, at.utc));
        for book in books {
            if connection.mischief.is_mute_for_data() {
                break;
            }
            let event = MarketEvent::OrderBook(Box::new(book));
            let item = server::event(&event, market.feed(), connection.codec);
            connection.frame.push(item.into());
            self.stats.messages_sent += 1;
        }
        self.finish_frames();
    }

    /// Stocks and their options stop trading, with the last bars of their day.
    pub(super) fn close_market(&mut self, at: Moment) {
        if self.pace.closed {
            return;
        }
        self.pace.closed = true;
        for event in self.tape.close(at.utc) {
            self.route(Market::Stocks, &event);
        }
        self.finish_frames();
    }
}

impl Connection {
    /// General news, which names no symbol, is for those alone who want all.
    fn wants(&self, channel: Channel, symbols: &[Symbol]) -> bool {
        if self.mischief.is_mute_for_data() {
            return false;
        }
        let Some(held) = self.subscriptions.get(&channel) else {
            return false;
        };
        // On the test feed the wildcard stands for its one made-up stock, elsewhere for everything but that.
        let is_fake = symbols.iter().any(|symbol| symbol.as_str() == FAKEPACA);
        let covered = self.path.is_test() == is_fake && held.contains("*");
        covered || symbols.iter().any(|symbol| held.contains(symbol))
    }

    /// Sends the frame that is being filled.
    fn send_data(&mut self, id: ConnectionId, effects: &mut VecDeque<Effect>) {
        effects.push_back(Effect::Send {
            to: id,
            message: self.frame.finish(),
        });
        self.mischief.sent(id, effects);
        self.mischief.sent_data(id, effects);
    }
}

fn events_in(time: Duration, rate: u64) -> u64 {
    u64::try_from(time.as_nanos() * u128::from(rate) / NANOS_PER_SECOND).unwrap_or(u64::MAX)
}

/// The made-up stock of the test feed.
pub(super) const FAKEPACA: &str = "FAKEPACA";

const NANOS_PER_SECOND: u128 = 1_000_000_000;

/// More often would cost wake-ups and gain nothing: batches are what a client gets then.
const SHORTEST_TICK: Duration = Duration::from_millis(1);

/// Events produced at once.
const LONGEST_BURST: u64 = 20_000;
