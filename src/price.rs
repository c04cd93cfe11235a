//! What a [`PriceBook`](crate::PriceBook) answers: values that know their age, or why there is none.
//!
//! | you ask for | you get |
//! |---|---|
//! | the last trade | [`Reading`] of [`LastTrade`] |
//! | bid and ask | [`Reading`] of [`TopOfBook`](crate::market::TopOfBook) |
//! | the best price that there is | [`Aged`] [`BestPrice`], with its [`PriceSource`] |
//!
//! A [`Reading`] is fresh, or says why it is not: a [`Lack`], and the [`Obstacle`] behind it. [`NotFresh`] is that as an error.

use std::{
    fmt,
    ops::Deref,
    time::{Duration, Instant},
};

use rust_decimal::Decimal;

use crate::{
    calendar::TradingSession,
    market::{Sides, Symbol, Timestamp},
    phase::NextAttempt,
    source::Source,
};

/// A value of a [`PriceBook`](crate::PriceBook), by what may be made of it.
///
/// Closed on purpose: whoever prices from it has said what to do in each case.
#[derive(Clone, Debug)]
pub enum Reading<T> {
    /// At most as old as was allowed, on the connection that stands.
    Fresh(Aged<T>),
    /// Older than that, or of before the machine was asleep. The venue may have had nothing new to say.
    Stale(Aged<T>),
    /// The line broke after this value, or the venue stopped sending its topic: later ones were missed, however young it
    /// is. The first value of the new connection ends this.
    Cut(Aged<T>),
    /// Something came after this value that could not be read, and that may have been a later one: see
    /// [`Unparsed::concerns`](crate::event::Unparsed::concerns). The next value that can be read ends this.
    Missed(Aged<T>),
    /// There is no value, and never was, or the only one was taken back.
    Never(NotFresh),
}

impl<T> Reading<T> {
    /// The value if it is fresh.
    ///
    /// # Errors
    /// Why it is not. `?` makes an [`Error`](crate::Error) of it.
    pub fn fresh(self) -> Result<Aged<T>, NotFresh> {
        let (value, lack) = match self {
            Self::Fresh(value) => return Ok(value),
            Self::Stale(value) => {
                let age = value.age;
                (value, Lack::Stale { age })
            }
            Self::Cut(value) => {
                let (age, epoch) = (value.age, value.epoch);
                (value, Lack::Cut { age, epoch })
            }
            Self::Missed(value) => {
                let age = Some(value.age);
                (value, Lack::Unparsed { age })
            }
            Self::Never(why) => return Err(why),
        };
        Err(NotFresh {
            symbol: value.symbol,
            lack,
        })
    }

    /// Whether it is [`Fresh`](Self::Fresh).
    #[must_use]
    pub fn is_fresh(&self) -> bool {
        matches!(self, Self::Fresh(_))
    }

    /// The value, in whatever state: for a display, not for an order.
    #[must_use]
    pub fn value(&self) -> Option<&Aged<T>> {
        match self {
            Self::Fresh(value) | Self::Stale(value) | Self::Cut(value) | Self::Missed(value) => {
                Some(value)
            }
            Self::Never(_) => None,
        }
    }
}

/// A value of a symbol, how old it is, and which connection brought it. Derefs to the value.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct Aged<T> {
    /// The symbol.
    pub symbol: Symbol,
    /// The value.
    #[cfg_attr(feature = "serde", serde(flatten))]
    pub data: T,
    /// The time from the socket read that brought it to this reading of the book, on a monotonic clock, and with it the
    /// time that the machine was asleep. No jump of the wall clock changes it on Linux and macOS; elsewhere a step forward
    /// looks like sleep. How long the venue had it before that is not in it: compare the value's `timestamp`.
    pub age: Duration,
    /// When the read from the socket that brought it returned, on a clock that may stand still while the machine sleeps.
    #[cfg_attr(feature = "serde", serde(skip))]
    pub received: Instant,
    /// Which connection of the stream brought it, counted from 1.
    pub epoch: u64,
}

impl<T> Aged<T> {
    /// Something else that is as old.
    pub(crate) fn with<U>(&self, data: U) -> Aged<U> {
        Aged {
            symbol: self.symbol.clone(),
            data,
            age: self.age,
            received: self.received,
            epoch: self.epoch,
        }
    }
}

impl<T> Deref for Aged<T> {
    type Target = T;
    fn deref(&self) -> &T {
        &self.data
    }
}

impl<T: fmt::Display> fmt::Display for Aged<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}, {:.1?} old", self.symbol, self.data, self.age)
    }
}

/// The trade of a symbol that was reported last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct LastTrade {
    /// Price per share or unit, in the quote currency.
    pub price: Decimal,
    /// Shares or units.
    pub size: Decimal,
    /// When it happened, UTC, by the exchange's or the tape's clock.
    pub timestamp: Timestamp,
    /// Whether price and size are those of a correction. The age is the trade's.
    pub is_corrected: bool,
}

impl fmt::Display for LastTrade {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let corrected = if self.is_corrected {
            " (corrected)"
        } else {
            ""
        };
        write!(f, "{} x {}{corrected}", self.price, self.size)
    }
}

/// One number for what a symbol is worth now, and where it comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BestPrice {
    /// The price, in the quote currency.
    pub price: Decimal,
    /// What kind of price it is.
    pub source: PriceSource,
}

impl BestPrice {
    pub(crate) fn new(price: Decimal, source: PriceSource) -> Self {
        Self { price, source }
    }
}

impl fmt::Display for BestPrice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.price, self.source)
    }
}

/// What a [`BestPrice`] is, the best first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum PriceSource {
    /// Half-way between bid and ask.
    Mid,
    /// The last trade.
    LastTrade,
    /// The bid of a quote without an ask.
    Bid,
    /// The ask of a quote without a bid.
    Ask,
}

impl fmt::Display for PriceSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Mid => "mid",
            Self::LastTrade => "last trade",
            Self::Bid => "bid",
            Self::Ask => "ask",
        })
    }
}

/// Why there is no fresh value. `?` makes an [`Error`](crate::Error) of it.
#[derive(Clone)]
#[non_exhaustive]
pub struct NotFresh {
    /// The symbol that was asked for.
    pub symbol: Symbol,
    /// What is wrong with what there is. Where either of two would have done, that of the quote.
    pub lack: Lack,
}

impl fmt::Display for NotFresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "nothing fresh of {}: {}", self.symbol, self.lack)
    }
}

/// Reads like the text: it is what a `main` that returns it shows.
impl fmt::Debug for NotFresh {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for NotFresh {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.lack {
            Lack::Refused(error) => Some(error.get()),
            _ => None,
        }
    }
}

/// What is wrong with what a price book has.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Lack {
    /// The newest is too old.
    Stale {
        /// How old.
        age: Duration,
    },
    /// The line broke after the newest, or the venue stopped sending the topic.
    Cut {
        /// How old it is.
        age: Duration,
        /// The connection that brought it.
        epoch: u64,
    },
    /// Something came after the newest that could not be read, and that may have been a later one.
    Unparsed {
        /// How old the newest is, if there is one.
        age: Option<Duration>,
    },
    /// The venue has not answered for the topic yet.
    Unconfirmed,
    /// The venue refused the topic: with an [`Error`](crate::Error).
    Refused(Source),
    /// The venue confirmed the topic, and has sent nothing of it.
    Silent,
    /// The last trade was canceled. What was traded before is not brought back.
    Canceled,
    /// The quote is fresh and no price can be made of it.
    Unusable(Sides),
    /// The book does not have the symbol.
    NotInBook,
}

impl fmt::Display for Lack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stale { age } => write!(f, "the newest is {age:.1?} old"),
            Self::Cut { age, epoch } => write!(
                f,
                "connection {epoch} broke after the newest, which is {age:.1?} old"
            ),
            Self::Unparsed { age: None } => {
                f.write_str("what came could not be read, and nothing else has come")
            }
            Self::Unparsed { age: Some(age) } => write!(
                f,
                "what came after the newest could not be read; that is {age:.1?} old"
            ),
            Self::Unconfirmed => f.write_str("the venue has not confirmed it yet"),
            Self::Refused(error) => write!(f, "the venue refused it: {error}"),
            Self::Silent => f.write_str("the venue confirmed it and has sent none"),
            Self::Canceled => f.write_str("the last one was canceled"),
            Self::Unusable(sides) => write!(f, "the quote is {sides}"),
            Self::NotInBook => f.write_str("it is not in the book"),
        }
    }
}

/// What stands in the way of a price that was waited for in vain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Obstacle {
    /// The line is not live. The error has its phase and last cause.
    Line {
        /// When the next attempt to connect is due, if one is: also while the venue still counts an earlier connection.
        retry_in: Option<Duration>,
    },
    /// The line is live, and nothing trades.
    MarketClosed {
        /// The session that the market opens with, and when, UTC; if that can be said.
        opens: Option<(TradingSession, Timestamp)>,
    },
    /// The line is live and the market open, in this session: the venue had nothing to say.
    Quiet(TradingSession),
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { retry_in: None } => f.write_str("the line is not live"),
            Self::Line {
                retry_in: Some(wait),
            } => write!(f, "the line is not live, {}", NextAttempt(*wait)),
            Self::MarketClosed { opens: None } => f.write_str("the market is closed"),
            Self::MarketClosed {
                opens: Some((session, at)),
            } => write!(f, "the market is closed until {at} ({session})"),
            Self::Quiet(session) => {
                write!(f, "the line is live and the market open ({session})")
            }
        }
    }
}
