//! A market-data message of any kind: where it belongs, and how those who asked for one kind see it.

use std::fmt;

use super::{
    Bar, Imbalance, LuldBand, News, OrderBookUpdate, PerpetualPricing, Quote, Symbol, Timestamp,
    Trade, TradeCancel, TradeCorrection, TradeEvent, TradingStatus,
};
use crate::topic::{Channel, Payload, Routed, Topic};

/// A market-data message of any kind. What is rare is boxed, so that trades and quotes stay small.
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize, serde::Deserialize),
    serde(tag = "type", rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum MarketEvent {
    /// A trade.
    Trade(Trade),
    /// A correction of a trade.
    Correction(Box<TradeCorrection>),
    /// A trade taken back.
    Cancel(Box<TradeCancel>),
    /// A quote.
    Quote(Quote),
    /// A bar.
    Bar(Bar),
    /// A halt, a pause or a resumption.
    Status(Box<TradingStatus>),
    /// A band of prices.
    Luld(Box<LuldBand>),
    /// An imbalance.
    Imbalance(Box<Imbalance>),
    /// A change of an order book.
    OrderBook(Box<OrderBookUpdate>),
    /// The pricing of a perpetual future.
    Pricing(Box<PerpetualPricing>),
    /// An article.
    News(Box<News>),
}

impl MarketEvent {
    /// The symbol it is about. News is about any number, which [`Routed::symbols`] gives.
    #[must_use]
    pub fn symbol(&self) -> Option<&Symbol> {
        Some(match self {
            Self::Trade(trade) => &trade.symbol,
            Self::Correction(correction) => &correction.symbol,
            Self::Cancel(cancel) => &cancel.symbol,
            Self::Quote(quote) => &quote.symbol,
            Self::Bar(bar) => &bar.symbol,
            Self::Status(status) => &status.symbol,
            Self::Luld(band) => &band.symbol,
            Self::Imbalance(imbalance) => &imbalance.symbol,
            Self::OrderBook(update) => &update.symbol,
            Self::Pricing(pricing) => &pricing.symbol,
            Self::News(_) => return None,
        })
    }
}

/// Trades and what amends them.
pub const TRADES: Channel = Channel::new("trades");
/// Quotes.
pub const QUOTES: Channel = Channel::new("quotes");
/// Minute bars.
pub const BARS: Channel = Channel::new("bars");
/// Minute bars that late trades changed.
pub const UPDATED_BARS: Channel = Channel::new("updatedBars");
/// The running day's bars.
pub const DAILY_BARS: Channel = Channel::new("dailyBars");
/// Halts, pauses and resumptions.
pub const STATUSES: Channel = Channel::new("statuses");
/// Limit-up-limit-down bands.
pub const LULDS: Channel = Channel::new("lulds");
/// Imbalances.
pub const IMBALANCES: Channel = Channel::new("imbalances");
/// Order books.
pub const ORDERBOOKS: Channel = Channel::new("orderbooks");
/// The pricing of perpetual futures.
pub const PRICING: Channel = Channel::new("pricing");
/// News.
pub const NEWS: Channel = Channel::new("news");

impl Routed for MarketEvent {
    fn channel(&self) -> Channel {
        match self {
            Self::Trade(_) | Self::Correction(_) | Self::Cancel(_) => TRADES,
            Self::Quote(_) => QUOTES,
            Self::Bar(bar) => bar.interval.channel(),
            Self::Status(_) => STATUSES,
            Self::Luld(_) => LULDS,
            Self::Imbalance(_) => IMBALANCES,
            Self::OrderBook(_) => ORDERBOOKS,
            Self::Pricing(_) => PRICING,
            Self::News(_) => NEWS,
        }
    }

    fn symbols(&self) -> &[Symbol] {
        match self {
            Self::News(news) => &news.symbols,
            other => other.symbol().map_or(&[], std::slice::from_ref),
        }
    }

    fn happened_at(&self) -> Option<Timestamp> {
        match self {
            // Trades of options have no id, and come 15 minutes late on a feed whose quotes do not.
            Self::Trade(trade) => trade.id.map(|_| trade.timestamp),
            Self::Quote(quote) => Some(quote.timestamp),
            Self::OrderBook(update) => Some(update.timestamp),
            // A correction may name a trade of long ago, a bar the start of its period, and the others are too rare
            // to measure by.
            Self::Correction(_)
            | Self::Cancel(_)
            | Self::Bar(_)
            | Self::Status(_)
            | Self::Luld(_)
            | Self::Imbalance(_)
            | Self::Pricing(_)
            | Self::News(_) => None,
        }
    }

    fn heap_size(&self) -> usize {
        match self {
            // Symbols and codes are short, and most are in place.
            Self::Trade(_) | Self::Quote(_) | Self::Bar(_) => 0,
            Self::Correction(correction) => size_of_val(&**correction),
            Self::Cancel(cancel) => size_of_val(&**cancel),
            Self::Luld(band) => size_of_val(&**band),
            Self::Imbalance(imbalance) => size_of_val(&**imbalance),
            Self::Pricing(pricing) => size_of_val(&**pricing),
            Self::Status(status) => {
                size_of_val(&**status) + status.status_message.len() + status.reason_message.len()
            }
            Self::OrderBook(update) => {
                let levels = size_of_val(&*update.bids) + size_of_val(&*update.asks);
                size_of_val(&**update) + levels
            }
            Self::News(news) => {
                let texts = [
                    &news.headline,
                    &news.summary,
                    &news.author,
                    &news.url,
                    &news.content,
                ];
                let texts: usize = texts.iter().map(|text| text.len()).sum();
                size_of_val(&**news) + texts + size_of_val(&*news.symbols)
            }
        }
    }
}

impl Payload for MarketEvent {
    type Source = Self;
    #[inline]
    fn project(event: &Self) -> Option<impl FnOnce() -> Self> {
        Some(|| event.clone())
    }
}

impl Payload for TradeEvent {
    type Source = MarketEvent;
    #[inline]
    fn project(event: &MarketEvent) -> Option<impl FnOnce() -> Self> {
        enum Kind<'a> {
            Trade(&'a Trade),
            Correction(&'a TradeCorrection),
            Cancel(&'a TradeCancel),
        }
        let kind = match event {
            MarketEvent::Trade(trade) => Kind::Trade(trade),
            MarketEvent::Correction(correction) => Kind::Correction(correction),
            MarketEvent::Cancel(cancel) => Kind::Cancel(cancel),
            _ => return None,
        };
        Some(move || match kind {
            Kind::Trade(trade) => Self::Trade(trade.clone()),
            Kind::Correction(correction) => Self::Correction(correction.clone().into()),
            Kind::Cancel(cancel) => Self::Cancel(cancel.clone().into()),
        })
    }
}

macro_rules! payload {
    ($($payload:ident from $variant:ident),+ $(,)?) => {$(
        impl Payload for $payload {
            type Source = MarketEvent;
            #[inline]
            fn project(event: &MarketEvent) -> Option<impl FnOnce() -> Self> {
                let MarketEvent::$variant(data) = event else {
                    return None;
                };
                let data: &Self = data;
                Some(|| data.clone())
            }
        }
    )+};
}
payload! {
    Quote from Quote,
    Bar from Bar,
    TradingStatus from Status,
    LuldBand from Luld,
    Imbalance from Imbalance,
    OrderBookUpdate from OrderBook,
    PerpetualPricing from Pricing,
    News from News,
}

/// One topic of `channel` for each of `symbols`.
pub fn topics<S: Into<Symbol>>(
    channel: Channel,
    symbols: impl IntoIterator<Item = S>,
) -> impl Iterator<Item = Topic> {
    symbols
        .into_iter()
        .map(move |symbol| Topic::new(channel, symbol))
}

/// Every kind is an event, boxed or not, so that whoever has a value can hand it on.
macro_rules! event {
    ($($data:ident is $variant:ident $(in $boxed:ident)?),+ $(,)?) => {$(
        impl From<$data> for MarketEvent {
            fn from(data: $data) -> Self {
                Self::$variant($($boxed::new)?(data))
            }
        }
    )+};
}
event! {
    Trade is Trade,
    TradeCorrection is Correction in Box,
    TradeCancel is Cancel in Box,
    Quote is Quote,
    Bar is Bar,
    TradingStatus is Status in Box,
    LuldBand is Luld in Box,
    Imbalance is Imbalance in Box,
    OrderBookUpdate is OrderBook in Box,
    PerpetualPricing is Pricing in Box,
    News is News in Box,
}

impl From<TradeEvent> for MarketEvent {
    fn from(event: TradeEvent) -> Self {
        match event {
            TradeEvent::Trade(trade) => Self::Trade(trade),
            TradeEvent::Correction(correction) => Self::Correction(correction),
            TradeEvent::Cancel(cancel) => Self::Cancel(cancel),
        }
    }
}

impl fmt::Display for MarketEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Trade(trade) => trade.fmt(f),
            Self::Correction(correction) => correction.fmt(f),
            Self::Cancel(cancel) => cancel.fmt(f),
            Self::Quote(quote) => quote.fmt(f),
            Self::Bar(bar) => bar.fmt(f),
            Self::Status(status) => status.fmt(f),
            Self::Luld(band) => band.fmt(f),
            Self::Imbalance(imbalance) => imbalance.fmt(f),
            Self::OrderBook(update) => update.fmt(f),
            Self::Pricing(pricing) => pricing.fmt(f),
            Self::News(news) => news.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests;
