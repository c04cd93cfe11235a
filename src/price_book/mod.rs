//! PriceBook: the newest quote and trade of a few symbols, folded by the stream's thread, for whoever asks.
//!
//! ```text
//!  router ── Fold ──▶ Table ── Index ──▶ Cell: Latest quote, Latest trade ◀── quote, trade, best_price
//!                                      └─ Gate ◀── wait_fresh, wait_price
//! ```
//! It is a member of the router like a subscription, with cells in the place of a queue. It knows nothing of sockets and
//! sessions, and the stream nothing of it.

mod cell;
mod gate;
mod index;
mod latest;
#[cfg(all(test, loom))]
mod model;
mod reading;
mod record;
mod table;
#[cfg(test)]
#[cfg(not(loom))]
mod tests;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use self::{
    cell::Cell,
    gate::{Counted, Gate},
    table::Table,
};
use crate::{
    calendar::{Calendar, TradingSession},
    clock,
    error::{At, Error, ErrorKind, Result},
    market::{MarketEvent, QUOTES, Symbol, TRADES, Timestamp, TopOfBook, topics},
    price::{Aged, BestPrice, Lack, LastTrade, NotFresh, Obstacle, Reading},
    stream::{StreamHandle, sink::Attached},
    topic::Topic,
    venue::Venue,
};

/// The newest quote and the last trade of each of its symbols, with their ages. Made by [`StreamHandle::price_book`].
///
/// Most bots do not want a stream, they want the price now, and the worst orders are those priced from a quote that was
/// old without saying so. So nothing here is read without saying how old it may be, and what comes back says what it
/// is: see [`Reading`].
///
/// Clones are the same book. It keeps its stream alive; the last clone that is dropped (every [`SymbolPrice`] holds one)
/// unsubscribes what nobody else wants, and if that was the last hold on the stream, waits for its end like a
/// [`Subscription`](crate::Subscription).
///
/// # What a reading costs
/// No lock, no allocation, and the stream's thread is never held up: a reader copies a few words and looks whether they
/// were replaced meanwhile. By name that takes a hash and a walk down a small tree; a [`SymbolPrice`] goes without, for hot
/// loops.
///
/// # Memory
/// Readers hold no lock, so the place of a symbol is never given back while the book lives: it grows by less than a
/// kilobyte for each symbol that it ever had, and by nothing for one that comes back. A bot whose symbols change all day
/// for weeks makes a new book now and then, on the same stream.
///
/// # Trades that are amended
/// The last trade is the one that was reported last, whatever its conditions, odd lots and late reports among them:
/// subscribe to [`alpaca::trades`](crate::alpaca::trades) if you need to tell them apart. A correction of it changes
/// price and size, and not the age. A cancel of it leaves no last trade until the next one is reported: the one before
/// is not brought back, as it is older and may have been canceled as well. What amends an earlier trade changes
/// nothing.
///
/// # What could not be read
/// A quote or a trade that could not be read is a loss: the one before it is not fresh any more, but
/// [`Reading::Missed`], until the next one of the same topic. Where the symbol could not be read either, that goes for
/// every symbol of the channel, and where nothing could be read, for the whole book. The book knows before any
/// subscription is told.
///
/// # Forks
/// In a forked child nothing comes in any more: values grow old there, and waiting is [`ErrorKind::Forked`].
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use trunkline::{Manager, price::Reading, sim::{Sim, SimConfig}};
///
/// let sim = Sim::start(SimConfig::default())?;
/// let feed = Manager::new().open(&sim.stocks(), &sim.credentials())?;
/// let book = feed.price_book(["AAPL", "MSFT"])?;
///
/// let (second, patience) = (Duration::from_secs(1), Duration::from_secs(10));
/// let price = book.wait_price("AAPL", second, patience)?;
/// println!("{price}"); // AAPL 187.42 (mid), 3.1ms old
///
/// match book.quote("AAPL", second) {
///     Reading::Fresh(quote) => assert!(quote.age <= second),
///     Reading::Stale(quote) => println!("nothing new for {:?}", quote.age),
///     Reading::Cut(quote) => println!("the line broke after {quote}"),
///     Reading::Missed(quote) => println!("what came after {quote} could not be read"),
///     Reading::Never(why) => println!("{why}"),
/// }
/// let last = book.trade("TSLA", second).fresh();
/// assert_eq!(last.unwrap_err().to_string(), "nothing fresh of TSLA: it is not in the book");
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone)]
pub struct PriceBook(Arc<Inner>);

struct Inner {
    table: Arc<Table>,
    calendar: Calendar,
    attached: Attached,
}

impl<V: Venue<Event = MarketEvent>> StreamHandle<V> {
    /// A book of the newest quote and trade of `symbols`. Returns at once; before the stream is live, and while it
    /// reconnects, the topics wait for it.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidTopic`] if the venue has no such symbols, for `*` (a book names its symbols), or the error the
    /// stream ended with.
    pub fn price_book<S: Into<Symbol>>(
        &self,
        symbols: impl IntoIterator<Item = S>,
    ) -> Result<PriceBook> {
        let symbols = Symbols::new(symbols, |topic| self.venue().canonical(topic))
            .map_err(|error| self.told(error))?;
        let table = Arc::new(Table::new());
        for symbol in &symbols.0 {
            table.index.insert(symbol);
        }
        let attached = self.attach(Arc::clone(&table) as _, symbols.topics())?;
        for cell in symbols.cells(&table) {
            cell.set_member(true);
        }
        Ok(PriceBook(Arc::new(Inner {
            table,
            calendar: self.venue().calendar(),
            attached,
        })))
    }
}

impl PriceBook {
    /// The newest quote, which is fresh if it is at most `max_age` old.
    #[must_use]
    pub fn quote(&self, symbol: &str, max_age: Duration) -> Reading<TopOfBook> {
        self.cell(symbol).map_or_else(Reading::Never, |cell| {
            self.0.table.quote(cell, max_age, clock::moment)
        })
    }

    /// The last trade, which is fresh if it is at most `max_age` old.
    #[must_use]
    pub fn trade(&self, symbol: &str, max_age: Duration) -> Reading<LastTrade> {
        self.cell(symbol).map_or_else(Reading::Never, |cell| {
            self.0.table.trade(cell, max_age, clock::moment)
        })
    }

    /// The best of what is fresh: the mid of a quote that has both sides and is not crossed, else the price of the last
    /// trade, else the only side of a quote that lacks the other. Only prices above zero count.
    ///
    /// # Errors
    /// [`ErrorKind::NotFresh`].
    pub fn best_price(&self, symbol: &str, max_age: Duration) -> Result<Aged<BestPrice>> {
        self.cell(symbol)
            .and_then(|cell| self.0.table.best_price(cell, max_age, clock::moment))
            .map_err(|missing| self.not_fresh(missing))
    }

    /// Blocks until the newest quote is at most `max_age` old, for `timeout` at most. It may lack a side or be crossed:
    /// see [`TopOfBook::sides`].
    ///
    /// # Errors
    /// [`ErrorKind::NoPrice`] says what stands in the way. At once: the error that the stream ended with, the venue's
    /// refusal of the symbol's quotes, or [`ErrorKind::NotFresh`] for a symbol that is not in the book.
    pub fn wait_fresh(
        &self,
        symbol: &str,
        max_age: Duration,
        timeout: Duration,
    ) -> Result<Aged<TopOfBook>> {
        let cell = self
            .cell(symbol)
            .map_err(|missing| self.not_fresh(missing))?;
        self.wait_for_quote(cell, max_age, timeout)
    }

    /// Blocks until there is a [`best_price`](Self::best_price), for `timeout` at most.
    ///
    /// # Errors
    /// Those of [`wait_fresh`](Self::wait_fresh); a refusal if both quotes and trades were refused.
    pub fn wait_price(
        &self,
        symbol: &str,
        max_age: Duration,
        timeout: Duration,
    ) -> Result<Aged<BestPrice>> {
        let cell = self
            .cell(symbol)
            .map_err(|missing| self.not_fresh(missing))?;
        self.wait_for_price(cell, max_age, timeout)
    }

    /// One symbol of the book, to be read without looking it up again. `None` if the book does not have it.
    #[must_use]
    pub fn symbol(&self, symbol: &str) -> Option<SymbolPrice> {
        let cell = self.cell(symbol).ok()?;
        cell.is_member().then(|| SymbolPrice {
            book: self.clone(),
            cell: Arc::clone(cell),
        })
    }

    /// The symbols of the book, sorted.
    #[must_use]
    pub fn symbols(&self) -> Vec<Symbol> {
        let mut symbols = Vec::new();
        self.0.table.index.each(|cell| {
            if cell.is_member() {
                symbols.push(cell.symbol.clone());
            }
        });
        symbols.sort();
        symbols
    }

    /// The topics of the book that the venue has not confirmed on the connection that stands, and why it refused them,
    /// if it did. Sorted.
    #[must_use]
    pub fn unconfirmed(&self) -> Vec<(Topic, Option<Error>)> {
        let mut unconfirmed = Vec::new();
        self.0.table.index.each(|cell| {
            let mut add = |channel, is_confirmed: bool, refusal: Option<Error>| {
                if cell.is_member() && !is_confirmed {
                    let refusal = refusal.map(|error| self.0.attached.told(error));
                    unconfirmed.push((Topic::new(channel, &cell.symbol), refusal));
                }
            };
            add(QUOTES, cell.quote.is_confirmed(), cell.quote.refusal());
            add(TRADES, cell.trade.is_confirmed(), cell.trade.refusal());
        });
        unconfirmed.sort_by(|(one, _), (other, _)| one.cmp(other));
        unconfirmed
    }

    /// Adds symbols, for every clone of the book. One that was removed begins anew: what was known of it is
    /// [`Reading::Cut`]. The venue is asked again for what it had refused.
    ///
    /// # Errors
    /// Those of [`StreamHandle::price_book`]; nothing is added then.
    pub fn add<S: Into<Symbol>>(&self, symbols: impl IntoIterator<Item = S>) -> Result<()> {
        let attached = &self.0.attached;
        // Before the table's own locks: a symbol that another thread was about to insert at the fork never comes.
        let lifecycle = attached.stream().lifecycle();
        lifecycle
            .check_process()
            .map_err(|error| attached.told(error))?;
        let symbols = Symbols::new(symbols, |topic| attached.stream().canonical(topic))
            .map_err(|error| attached.told(error))?;
        let table = &self.0.table;
        for symbol in &symbols.0 {
            let cell = table.index.insert(symbol);
            if !cell.is_member() {
                cell.cut();
            }
        }
        attached.add(symbols.topics(), &mut || {
            for cell in symbols.cells(table) {
                cell.set_member(true);
            }
        })
    }

    /// Removes symbols, for every clone of the book. Whoever waits for one is told at once.
    ///
    /// # Errors
    /// The error the stream ended with.
    pub fn remove<S: Into<Symbol>>(&self, symbols: impl IntoIterator<Item = S>) -> Result<()> {
        let symbols = symbols
            .into_iter()
            .map(|symbol| self.spelled(symbol.into()));
        let symbols = Symbols(symbols.collect());
        let table = &self.0.table;
        self.0.attached.remove(&symbols.topics(), &mut || {
            for cell in symbols.cells(table) {
                cell.set_member(false);
            }
        })?;
        table.turn_all();
        Ok(())
    }

    fn cell(&self, symbol: &str) -> Result<&Arc<Cell>, NotFresh> {
        let index = &self.0.table.index;
        // The venue, which is user code, is not asked for a symbol that is there.
        let found = index.get(symbol);
        let found = found.or_else(|| index.get(&self.spelled(symbol.into())));
        found.ok_or_else(|| NotFresh {
            symbol: symbol.into(),
            lack: Lack::NotInBook,
        })
    }

    /// A symbol as the venue writes it.
    fn spelled(&self, symbol: Symbol) -> Symbol {
        let topic = Topic::new(QUOTES, symbol);
        self.0.attached.stream().canonical(&topic).symbol
    }

    fn not_fresh(&self, missing: NotFresh) -> Error {
        self.0.attached.told(Error::from(missing))
    }

    fn wait_for_quote(
        &self,
        cell: &Cell,
        max_age: Duration,
        timeout: Duration,
    ) -> Result<Aged<TopOfBook>> {
        self.wait(&cell.quoted, timeout, || {
            let quote = self.0.table.quote(cell, max_age, clock::moment);
            quote.fresh().map_err(|lack| (lack, cell.quote.refusal()))
        })
    }

    fn wait_for_price(
        &self,
        cell: &Cell,
        max_age: Duration,
        timeout: Duration,
    ) -> Result<Aged<BestPrice>> {
        self.wait(&cell.priced, timeout, || {
            let price = self.0.table.best_price(cell, max_age, clock::moment);
            let trades = cell.trade.refusal();
            price.map_err(|lack| (lack, cell.quote.refusal().filter(|_| trades.is_some())))
        })
    }

    /// Waits at `gate` until `look` finds a value, or until nothing can be hoped for.
    fn wait<T>(
        &self,
        gate: &Gate,
        timeout: Duration,
        look: impl Fn() -> Result<T, (NotFresh, Option<Error>)>,
    ) -> Result<T> {
        let table = &self.0.table;
        let lifecycle = self.0.attached.stream().lifecycle();
        lifecycle
            .check_process()
            .map_err(|error| self.0.attached.told(error))?;
        let _counted = Counted::new(&table.waiting);
        let found = gate.wait(clock::deadline(timeout), || match look() {
            Ok(value) => Some(Ok(value)),
            Err((missing, refusal)) => {
                if let Some(reason) = table.ended() {
                    return Some(Err(lifecycle.ended(reason.clone())));
                }
                match (&missing.lack, refusal) {
                    (Lack::NotInBook, _) => Some(Err(missing.into())),
                    (_, Some(refusal)) if self.is_refused(&missing.symbol) => {
                        let topic = Topic::new(QUOTES, &missing.symbol);
                        Some(Err(refusal.about(&[topic])))
                    }
                    _ => None,
                }
            }
        });
        let found = found.unwrap_or_else(|| match look() {
            Ok(value) => Ok(value),
            Err((missing, _)) => Err(self.no_price(missing, clock::now(), clock::utc())),
        });
        found.map_err(|error| self.0.attached.told(error))
    }

    /// Whether a refusal of the symbol's quotes is the venue's last word: it is not, where it is asked anew.
    fn is_refused(&self, symbol: &Symbol) -> bool {
        self.0.attached.is_refused(&Topic::new(QUOTES, symbol))
    }

    /// What a call whose deadline passed gets.
    fn no_price(&self, missing: NotFresh, now: Instant, utc: Timestamp) -> Error {
        let stream = self.0.attached.stream();
        let state = stream.lifecycle().snapshot();
        let is_live = state.phase.is_live();
        let calendar = &self.0.calendar;
        let obstacle = match calendar.session_at(utc) {
            _ if !is_live => Obstacle::Line {
                retry_in: state.retry_at.map(|at| at.saturating_duration_since(now)),
            },
            TradingSession::Closed => Obstacle::MarketClosed {
                opens: calendar.next_open(utc),
            },
            session => Obstacle::Quiet(session),
        };
        Error::new(
            At::new(stream.key(), state.phase),
            ErrorKind::NoPrice {
                missing,
                obstacle,
                cause: state.cause.filter(|_| !is_live),
            },
        )
    }
}

impl fmt::Debug for PriceBook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PriceBook")
            .field("stream", self.0.attached.stream().key())
            .field("symbols", &self.symbols())
            .finish()
    }
}

/// One symbol of a [`PriceBook`], to be read without looking it up. Keeps the book alive.
///
/// Once the symbol is removed from the book there is nothing to read, until it is added again.
#[derive(Clone)]
pub struct SymbolPrice {
    book: PriceBook,
    cell: Arc<Cell>,
}

impl SymbolPrice {
    /// The symbol.
    #[must_use]
    pub fn symbol(&self) -> &Symbol {
        &self.cell.symbol
    }

    /// See [`PriceBook::quote`].
    #[must_use]
    pub fn quote(&self, max_age: Duration) -> Reading<TopOfBook> {
        self.book.0.table.quote(&self.cell, max_age, clock::moment)
    }

    /// See [`PriceBook::trade`].
    #[must_use]
    pub fn trade(&self, max_age: Duration) -> Reading<LastTrade> {
        self.book.0.table.trade(&self.cell, max_age, clock::moment)
    }

    /// See [`PriceBook::best_price`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFresh`].
    pub fn best_price(&self, max_age: Duration) -> Result<Aged<BestPrice>> {
        let table = &self.book.0.table;
        table
            .best_price(&self.cell, max_age, clock::moment)
            .map_err(|missing| self.book.not_fresh(missing))
    }

    /// See [`PriceBook::wait_fresh`].
    ///
    /// # Errors
    /// The same.
    pub fn wait_fresh(&self, max_age: Duration, timeout: Duration) -> Result<Aged<TopOfBook>> {
        self.book.wait_for_quote(&self.cell, max_age, timeout)
    }

    /// See [`PriceBook::wait_price`].
    ///
    /// # Errors
    /// The same.
    pub fn wait_price(&self, max_age: Duration, timeout: Duration) -> Result<Aged<BestPrice>> {
        self.book.wait_for_price(&self.cell, max_age, timeout)
    }
}

impl fmt::Debug for SymbolPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SymbolPrice")
            .field(&self.cell.symbol)
            .finish()
    }
}

/// Symbols that a caller named.
struct Symbols(Vec<Symbol>);

impl Symbols {
    /// As the venue writes them.
    fn new<S: Into<Symbol>>(
        symbols: impl IntoIterator<Item = S>,
        canonical: impl Fn(&Topic) -> Topic,
    ) -> Result<Self> {
        let symbols = symbols.into_iter().map(|symbol| Topic::new(QUOTES, symbol));
        let symbols: Vec<Symbol> = symbols.map(|topic| canonical(&topic).symbol).collect();
        if let Some(topic) = topics(QUOTES, &symbols).find(Topic::is_wildcard) {
            return Err(Error::invalid_topic(
                &topic,
                "a price book has no `*`: name its symbols",
            ));
        }
        Ok(Self(symbols))
    }

    fn topics(&self) -> Vec<Topic> {
        topics(QUOTES, &self.0)
            .chain(topics(TRADES, &self.0))
            .collect()
    }

    /// Their cells, of those that have one.
    fn cells<'a>(&'a self, table: &'a Table) -> impl Iterator<Item = &'a Cell> {
        self.0
            .iter()
            .filter_map(|symbol| Some(&**table.index.get(symbol)?))
    }
}
