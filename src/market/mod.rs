//! Market data: one type for each kind of event, and the parts of these. Any venue may use them.
//!
//! | what happens | type | its channel |
//! |---|---|---|
//! | a trade, its correction or its cancellation | [`TradeEvent`]: [`Trade`], [`TradeCorrection`], [`TradeCancel`] | [`TRADES`] |
//! | a new best bid or offer | [`Quote`], with [`mid`](Quote::mid) and [`spread`](Quote::spread) | [`QUOTES`] |
//! | a minute or a day ends, or a minute is corrected | [`Bar`] | [`BARS`], [`DAILY_BARS`], [`UPDATED_BARS`] |
//! | levels of an order book change | [`OrderBookUpdate`], of [`PriceLevel`]s | [`ORDERBOOKS`] |
//! | trading halts or goes on | [`TradingStatus`] | [`STATUSES`] |
//! | price bands move | [`LuldBand`] | [`LULDS`] |
//! | an auction's imbalance | [`Imbalance`] | [`IMBALANCES`] |
//! | a perpetual's mark price and funding rate | [`PerpetualPricing`] | [`PRICING`] |
//! | an article | [`News`] | [`NEWS`] |
//! | any of these | [`MarketEvent`], which each of them converts into | |
//!
//! [`topics`](topics()) makes [`Topics`](crate::Topics) of several channels at once. To build values for a unit test, see
//! [`testing`](crate::testing).
//!
//! Prices and sizes are exact decimals and times keep their nanoseconds. One type serves every kind of instrument: what
//! a kind lacks is `None` or empty. Nothing here knows where a value came from.

mod bar;
mod event;
mod halt;
mod news;
mod order_book;
mod perpetual;
mod quote;
mod trade;

pub use self::{
    bar::{Bar, Interval},
    event::{
        BARS, DAILY_BARS, IMBALANCES, LULDS, MarketEvent, NEWS, ORDERBOOKS, PRICING, QUOTES,
        STATUSES, TRADES, UPDATED_BARS, topics,
    },
    halt::{Imbalance, LuldBand, TradingStatus},
    news::News,
    order_book::{OrderBookUpdate, PriceLevel},
    perpetual::PerpetualPricing,
    quote::{Quote, Sides, TopOfBook},
    trade::{Trade, TradeCancel, TradeCorrection, TradeEvent},
};
pub(crate) use crate::names::Letters;
pub use crate::{
    names::{Code, Conditions, Symbol},
    timestamp::Timestamp,
};
