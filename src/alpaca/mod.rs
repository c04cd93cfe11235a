//! Alpaca: endpoints, feeds and topics. The protocols are in the files beside this one.
//!
//! Facts about the venue are from its public documentation ("WebSocket Stream", "Real-time Stock Data") and from the
//! code of its official SDKs.

mod market_data;
mod order_updates;
pub(crate) mod wire;

use std::{fmt, str::FromStr};

pub use self::{
    market_data::{MarketData, MarketDataSession},
    order_updates::{OrderUpdates, OrderUpdatesSession},
};
use crate::{
    credentials::Credentials,
    error::{Error, Result},
    key::Endpoint,
    market::{
        BARS, Bar, DAILY_BARS, QUOTES, Quote, Symbol, TRADES, TradeEvent, UPDATED_BARS, topics,
    },
    order::{OrderUpdate, TRADE_UPDATES},
    topic::{Topic, Topics},
};

/// The stream of US stock data on `feed`, encoded as JSON.
///
/// # Examples
/// ```no_run
/// use trunkline::{Credentials, Manager, alpaca::{self, Feed}};
/// let feed = Manager::global().open(&alpaca::stocks(Feed::Iex), &Credentials::from_env()?)?;
/// # Ok::<(), trunkline::Error>(())
/// ```
#[must_use]
pub fn stocks(feed: Feed) -> MarketData {
    MarketData::stocks(feed)
}

/// The order updates of one account: every fill, cancel and refusal, whoever placed the order. Paper keys have no live
/// account, and live keys no paper one: a key that plainly belongs to the other is refused before connecting.
///
/// # Examples
/// ```no_run
/// use std::time::Duration;
/// use trunkline::{Credentials, Manager, alpaca::{self, Account}};
/// let account = Manager::global().open(&alpaca::order_updates(Account::Paper), &Credentials::from_env()?)?;
/// let orders = account.subscribe(alpaca::orders())?;
/// orders.wait_confirmed(Duration::from_secs(10))?; // fills are seen from here on: place orders now
/// # Ok::<(), trunkline::Error>(())
/// ```
#[must_use]
pub fn order_updates(account: Account) -> OrderUpdates {
    OrderUpdates::new(account)
}

/// The updates of all orders of the account.
///
/// None is ever dropped: the queue ends the subscription when it overflows, so that what was read has no hole, and
/// policies that drop are refused ([`Error::LossyQueue`]). What the venue sends again, after a reconnect for example, is
/// not delivered again: each subscription remembers its last 4,096 execution ids.
#[must_use]
pub fn orders() -> Topics<OrderUpdate> {
    Topics::new([Topic::new(TRADE_UPDATES, "*")])
}

/// Trades, and the corrections and cancels that amend them. `*` stands for every symbol.
pub fn trades<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<TradeEvent> {
    Topics::new(topics(TRADES, symbols))
}

/// Quotes: the best bid and ask. `*` stands for every symbol.
pub fn quotes<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<Quote> {
    Topics::new(topics(QUOTES, symbols))
}

/// Minute bars, sent right after each minute with a trade. `*` stands for every symbol.
pub fn bars<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<Bar> {
    Topics::new(topics(BARS, symbols))
}

/// Minute bars that late trades changed, sent about half a minute later. `*` stands for every symbol.
pub fn updated_bars<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<Bar> {
    Topics::new(topics(UPDATED_BARS, symbols))
}

/// The running day's bar, sent every minute. `*` stands for every symbol.
pub fn daily_bars<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<Bar> {
    Topics::new(topics(DAILY_BARS, symbols))
}

/// A feed of US stock data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Feed {
    /// The IEX exchange only. In the free plan.
    Iex,
    /// All US exchanges. Needs a paid plan.
    Sip,
    /// All US exchanges, 15 minutes late.
    DelayedSip,
    /// Blue Ocean ATS, the overnight session.
    Boats,
    /// Alpaca's own derived overnight feed.
    Overnight,
    /// A made-up stock, `FAKEPACA`, around the clock and for any account.
    Test,
}

impl Feed {
    const ALL: [Self; 6] = [
        Self::Iex,
        Self::Sip,
        Self::DelayedSip,
        Self::Boats,
        Self::Overnight,
        Self::Test,
    ];

    /// The path of its endpoint. The overnight feeds live under another version than the others.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Iex => "/v2/iex",
            Self::Sip => "/v2/sip",
            Self::DelayedSip => "/v2/delayed_sip",
            Self::Boats => "/v1beta1/boats",
            Self::Overnight => "/v1beta1/overnight",
            Self::Test => "/v2/test",
        }
    }
}

impl fmt::Display for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Iex => "iex",
            Self::Sip => "sip",
            Self::DelayedSip => "delayed_sip",
            Self::Boats => "boats",
            Self::Overnight => "overnight",
            Self::Test => "test",
        })
    }
}

impl FromStr for Feed {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|feed| feed.to_string() == name)
            .ok_or_else(|| Error::InvalidConfig {
                why: format!(
                    "`{}` is no feed: iex, sip, delayed_sip, boats, overnight or test",
                    name.escape_debug()
                ),
            })
    }
}

/// Which of a user's two accounts: paper, with play money, or live. Paper unless live is spelled out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Account {
    /// Play money.
    #[default]
    Paper,
    /// Real money.
    Live,
}

impl Account {
    /// The account that the key plainly belongs to: Alpaca's paper keys start with `PK`, its live keys with `AK`.
    #[must_use]
    pub fn of(credentials: &Credentials) -> Option<Self> {
        credentials.expose(|key, _| match key.get(..2) {
            Some("PK") => Some(Self::Paper),
            Some("AK") => Some(Self::Live),
            _ => None,
        })
    }

    /// The base URL of the REST interface that belongs to it: where to place the orders whose updates
    /// [`order_updates()`] brings.
    ///
    /// # Examples
    /// ```
    /// use trunkline::alpaca::Account;
    /// assert_eq!(Account::default().rest_url(), "https://paper-api.alpaca.markets");
    /// ```
    #[must_use]
    pub fn rest_url(self) -> &'static str {
        match self {
            Self::Paper => "https://paper-api.alpaca.markets",
            Self::Live => "https://api.alpaca.markets",
        }
    }

    fn host(self) -> &'static str {
        self.rest_url().trim_start_matches("https://")
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Live => "live",
        }
    }
}

impl fmt::Display for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Account {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "paper" => Ok(Self::Paper),
            "live" => Ok(Self::Live),
            _ => Err(Error::InvalidConfig {
                why: format!("`{}` is no account: paper or live", name.escape_debug()),
            }),
        }
    }
}

/// The host of all market data.
fn data_endpoint(path: &str) -> Endpoint {
    Endpoint::wss("stream.data.alpaca.markets", path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_and_accounts_survive_text() {
        for feed in Feed::ALL {
            assert_eq!(feed.to_string().parse::<Feed>().unwrap(), feed);
        }
        assert!("IEX".parse::<Feed>().is_err());
        assert_eq!("live".parse::<Account>().unwrap(), Account::Live);
        assert_eq!(Account::default(), Account::Paper);
    }

    #[test]
    fn overnight_feeds_live_under_their_own_version() {
        assert_eq!(
            stocks(Feed::Boats).to_string(),
            "wss://stream.data.alpaca.markets/v1beta1/boats"
        );
        assert_eq!(
            stocks(Feed::Iex).to_string(),
            "wss://stream.data.alpaca.markets/v2/iex"
        );
    }
}
