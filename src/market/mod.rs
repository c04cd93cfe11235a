//! Values of the market that any venue may use: symbols, timestamps, trades, quotes, bars, and the rest.
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
