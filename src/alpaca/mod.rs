//! Alpaca: endpoints, feeds and topics. The protocols are in the files beside this one.
//!
//! | venue | of | topics |
//! |---|---|---|
//! | [`stocks`] | [`Feed`] | [`trades`], [`quotes`], [`bars`], [`updated_bars`], [`daily_bars`], [`statuses`], [`lulds`], [`imbalances`] |
//! | [`crypto`] | [`CryptoFeed`] | [`trades`], [`quotes`], [`bars`], [`updated_bars`], [`daily_bars`], [`orderbooks`] |
//! | [`perpetuals`] | | those of crypto, and [`pricing`] |
//! | [`options`] | [`OptionFeed`] | [`trades`], [`quotes`] |
//! | [`news`] | | [`news_about`] |
//! | [`order_updates`](order_updates()) | [`Account`] | [`orders`] |
//!
//! Facts about the venue are from its public documentation ("WebSocket Stream", "Real-time Stock Data", "Real-time
//! Crypto Data", "Real-time Option Data", "Real-time News") and from the code of its official SDKs.

mod credentials;
mod feed;
mod market_data;
mod order_updates;
#[cfg(test)]
mod quirks;
mod symbols;
pub(crate) mod wire;

use std::{fmt, str::FromStr, time::Duration};

pub(crate) use self::feed::DataFeed;
pub use self::{
    credentials::credentials_from_env,
    feed::{Codec, CryptoFeed, Feed, OptionFeed},
    market_data::{MarketData, MarketDataSession},
    order_updates::{OrderUpdates, OrderUpdatesSession},
};
use crate::{
    credentials::Credentials,
    error::{Error, ErrorKind, Result},
    key::Endpoint,
    market::{
        BARS, Bar, DAILY_BARS, IMBALANCES, Imbalance, LULDS, LuldBand, NEWS, News, ORDERBOOKS,
        OrderBookUpdate, PRICING, PerpetualPricing, QUOTES, Quote, STATUSES, Symbol, TRADES,
        TradeEvent, TradingStatus, UPDATED_BARS, topics,
    },
    order::{OrderUpdate, TRADE_UPDATES},
    topic::{Topic, Topics},
    venue::Rules,
};

/// A connection that died without a close handshake counts for about 90 s: a dozen attempts at most until then, and live again
/// 12 s later at the latest.
const RULES: Rules = Rules::new().reaping(Duration::from_secs(9), Duration::from_secs(12));

/// The stream of US stock data on `feed`.
///
/// # Examples
/// ```no_run
/// use trunkline::{Credentials, Manager, alpaca::{self, Feed}};
/// let feed = Manager::global().open(&alpaca::stocks(Feed::Iex), &Credentials::from_env()?)?;
/// # Ok::<(), trunkline::Error>(())
/// ```
#[must_use]
pub fn stocks(feed: Feed) -> MarketData {
    MarketData::of(DataFeed::Stocks(feed))
}

/// The stream of crypto data on `feed`. Its symbols are pairs, such as `BTC/USD`.
///
/// # Examples
/// ```no_run
/// use trunkline::{Credentials, Manager, alpaca::{self, CryptoFeed}};
/// let coins = Manager::global().open(&alpaca::crypto(CryptoFeed::Us), &Credentials::from_env()?)?;
/// let trades = coins.subscribe(alpaca::trades(["BTC/USD", "ETH/USD"]))?;
/// # Ok::<(), trunkline::Error>(())
/// ```
#[must_use]
pub fn crypto(feed: CryptoFeed) -> MarketData {
    MarketData::of(DataFeed::Crypto(feed))
}

/// The stream of perpetual futures. Its symbols are such as `ETH-PERP`.
///
/// Known from Alpaca's Go SDK only: not every account may have it.
#[must_use]
pub fn perpetuals() -> MarketData {
    MarketData::of(DataFeed::Perpetuals)
}

/// The stream of options data on `feed`, in MessagePack. Its symbols are contracts, such as `MSFT260619C00450000`; it
/// has trades and quotes, and no quotes for all contracts at once.
#[must_use]
pub fn options(feed: OptionFeed) -> MarketData {
    MarketData::of(DataFeed::Options(feed))
}

/// The stream of news.
#[must_use]
pub fn news() -> MarketData {
    MarketData::of(DataFeed::News)
}

/// The stream of market data at `endpoint`, which may be a proxy or a simulator. Which feed it is follows from the end
/// of the path, such as `/v2/iex`, `/v1beta3/crypto/us`, `/v1beta1/opra` or `/v1beta1/news`.
///
/// # Errors
/// [`ErrorKind::InvalidEndpoint`] where the path is none of Alpaca's. Name the feed then, and use [`MarketData::at`].
///
/// # Examples
/// ```
/// use trunkline::alpaca;
/// let options = alpaca::market_data("ws://127.0.0.1:9000/v1beta1/opra".parse()?)?;
/// assert_eq!(options.to_string(), "ws://127.0.0.1:9000/v1beta1/opra");
/// # Ok::<(), trunkline::Error>(())
/// ```
pub fn market_data(endpoint: Endpoint) -> Result<MarketData> {
    let feed = DataFeed::of_path(endpoint.path()).ok_or_else(|| {
        Error::from(ErrorKind::InvalidEndpoint {
            why: "its path is that of no feed of Alpaca's, such as `/v2/iex`",
        })
    })?;
    Ok(MarketData::of(feed).at(endpoint))
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
/// orders.wait_confirmed(Duration::from_secs(10))?; // fills are seen from here on
/// // Now ask REST for the open orders and positions, and then place orders. Asked before, a fill between the two is missed.
/// # Ok::<(), trunkline::Error>(())
/// ```
#[must_use]
pub fn order_updates(account: Account) -> OrderUpdates {
    OrderUpdates::new(account)
}

/// The updates of all orders of the account.
///
/// None is ever dropped: the queue ends the subscription when it overflows, so that what was read has no hole, and
/// policies that drop are refused ([`ErrorKind::LossyQueue`]). What the venue sends again, after a reconnect for example, is
/// not delivered again: each subscription remembers its last 4,096 execution ids.
#[must_use]
pub fn orders() -> Topics<OrderUpdate> {
    Topics::new([Topic::new(TRADE_UPDATES, "*")])
}

/// Trades, and the corrections and cancels that amend them. `*` stands for every symbol.
pub fn trades<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<TradeEvent> {
    Topics::new(topics(TRADES, symbols))
}

/// Quotes: the best bid and ask. `*` stands for every symbol, but on options feeds, which refuse it.
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

/// Halts, pauses and resumptions of stocks. `*` stands for every symbol.
pub fn statuses<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<TradingStatus> {
    Topics::new(topics(STATUSES, symbols))
}

/// Limit-up-limit-down bands of stocks. `*` stands for every symbol.
pub fn lulds<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<LuldBand> {
    Topics::new(topics(LULDS, symbols))
}

/// Imbalances of stocks during limit-up-limit-down halts. `*` stands for every symbol.
pub fn imbalances<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<Imbalance> {
    Topics::new(topics(IMBALANCES, symbols))
}

/// Order books of crypto: the whole book first, then its changes. `*` stands for every symbol.
///
/// The venue sends the whole book once, when the line first asks for it: a subscription that joins another's symbol
/// sees changes alone. Changes that are lost make a book wrong, so do not [`conflate`](Topics::conflate), and start
/// from nothing after a gap.
pub fn orderbooks<S: Into<Symbol>>(
    symbols: impl IntoIterator<Item = S>,
) -> Topics<OrderBookUpdate> {
    Topics::new(topics(ORDERBOOKS, symbols))
}

/// The pricing of perpetual futures.
pub fn pricing<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<PerpetualPricing> {
    Topics::new(topics(PRICING, symbols))
}

/// News about symbols. `*` stands for all news, also that which names no symbol.
///
/// # Examples
/// ```no_run
/// # use trunkline::{Credentials, Manager, alpaca};
/// let wire = Manager::global().open(&alpaca::news(), &Credentials::from_env()?)?;
/// let news = wire.subscribe(alpaca::news_about(["AAPL", "BTCUSD"]))?;
/// # Ok::<(), trunkline::Error>(())
/// ```
pub fn news_about<S: Into<Symbol>>(symbols: impl IntoIterator<Item = S>) -> Topics<News> {
    Topics::new(topics(NEWS, symbols))
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
            _ => Err(Error::invalid_config(format!(
                "`{}` is no account: paper or live",
                name.escape_debug()
            ))),
        }
    }
}

#[cfg(test)]
mod tests;
