//! Which paths of the venue's are served, and what can be asked for on each.
//!
//! Written down from the venue's documentation and from its SDKs, and not taken from the client's own list: so that the
//! two can disagree.

use crate::{
    alpaca::{Codec, CryptoFeed, DataFeed, Feed, OptionFeed},
    market::{
        BARS, DAILY_BARS, IMBALANCES, LULDS, MarketEvent, NEWS, ORDERBOOKS, PRICING, QUOTES,
        STATUSES, Symbol, TRADES, UPDATED_BARS,
    },
    order::TRADE_UPDATES,
    topic::Channel,
};

/// A path, and what trades there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Path {
    pub(super) name: &'static str,
    pub(super) market: Market,
}

/// What has a tape of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Market {
    Stocks,
    Crypto,
    /// Perpetual futures on coins.
    Perpetuals,
    Options,
    News,
    /// The orders of an account, which have a protocol of their own.
    Orders,
}

impl Path {
    pub(super) const ALL: [Self; 17] = [
        Self::new("/v2/iex", Market::Stocks),
        Self::new("/v2/sip", Market::Stocks),
        Self::new("/v2/delayed_sip", Market::Stocks),
        Self::new("/v1beta1/boats", Market::Stocks),
        Self::new("/v1beta1/overnight", Market::Stocks),
        Self::new(TEST, Market::Stocks),
        Self::new("/v1beta3/crypto/us", Market::Crypto),
        Self::new("/v1beta3/crypto/us-1", Market::Crypto),
        Self::new("/v1beta3/crypto/us-2", Market::Crypto),
        Self::new("/v1beta3/crypto/eu-1", Market::Crypto),
        Self::new("/v1beta3/crypto/bs-1", Market::Crypto),
        Self::new("/v1beta3/crypto/global", Market::Crypto),
        Self::new("/v1beta1/crypto-perps/global", Market::Perpetuals),
        Self::new("/v1beta1/indicative", Market::Options),
        Self::new("/v1beta1/opra", Market::Options),
        Self::new("/v1beta1/news", Market::News),
        Self::new("/stream", Market::Orders),
    ];

    const fn new(name: &'static str, market: Market) -> Self {
        Self { name, market }
    }

    /// A trailing slash is what older clients send.
    pub(super) fn of(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        Self::ALL.into_iter().find(|served| served.name == path)
    }

    /// The feed of the made-up stock.
    pub(super) fn is_test(self) -> bool {
        self.name == TEST
    }

    pub(super) fn speaks(self, codec: Codec) -> bool {
        codec == Codec::MessagePack || self.market != Market::Options
    }

    /// What may be asked for, in the order of the venue's replies.
    pub(super) fn channels(self) -> &'static [Channel] {
        match self.market {
            Market::Stocks if self.is_test() => &[TRADES, QUOTES, BARS],
            Market::Stocks => &[
                TRADES,
                QUOTES,
                BARS,
                UPDATED_BARS,
                DAILY_BARS,
                STATUSES,
                LULDS,
                IMBALANCES,
            ],
            Market::Crypto => &[TRADES, QUOTES, ORDERBOOKS, BARS, UPDATED_BARS, DAILY_BARS],
            Market::Perpetuals => &[
                TRADES,
                QUOTES,
                ORDERBOOKS,
                BARS,
                UPDATED_BARS,
                DAILY_BARS,
                PRICING,
            ],
            Market::Options => &[TRADES, QUOTES],
            Market::News => &[NEWS],
            Market::Orders => &[TRADE_UPDATES],
        }
    }

    /// What comes with trades unasked, and is listed like them.
    pub(super) fn automatic(self) -> &'static [&'static str] {
        if self.market == Market::Stocks && !self.is_test() {
            &["corrections", "cancelErrors"]
        } else {
            &[]
        }
    }
}

impl Market {
    /// Where a symbol is traded.
    pub(super) fn of_symbol(symbol: &str) -> Self {
        if symbol.contains('/') {
            Self::Crypto
        } else if symbol.ends_with("-PERP") {
            Self::Perpetuals
        } else if is_contract(symbol) {
            Self::Options
        } else {
            Self::Stocks
        }
    }

    /// Where an event comes from.
    pub(super) fn of(event: &MarketEvent) -> Self {
        match event {
            MarketEvent::News(_) => Self::News,
            other => other
                .symbol()
                .map_or(Self::Stocks, |symbol| Self::of_symbol(symbol)),
        }
    }

    /// A feed whose messages are written like all of this market's.
    pub(super) fn feed(self) -> DataFeed {
        match self {
            // Orders are written apart from all of these.
            Self::Stocks | Self::Orders => DataFeed::Stocks(Feed::Sip),
            Self::Crypto => DataFeed::Crypto(CryptoFeed::Us),
            Self::Perpetuals => DataFeed::Perpetuals,
            Self::Options => DataFeed::Options(OptionFeed::Opra),
            Self::News => DataFeed::News,
        }
    }
}

/// Root, six digits of a date, `C` or `P`, eight digits of a strike price (OCC, without padding).
fn is_contract(symbol: &str) -> bool {
    let Some((root, contract)) = symbol
        .len()
        .checked_sub(15)
        .filter(|_| symbol.is_ascii())
        .map(|root| symbol.split_at(root))
    else {
        return false;
    };
    let (date, rest) = contract.split_at(6);
    let (side, strike) = rest.split_at(1);
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    !root.is_empty() && digits(date) && digits(strike) && matches!(side, "C" | "P")
}

pub(super) fn is_well_formed(symbol: &Symbol) -> bool {
    (1..=32).contains(&symbol.len())
        && symbol
            .bytes()
            .all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_lowercase())
        && (symbol.as_str() == "*" || !symbol.contains('*'))
}

const TEST: &str = "/v2/test";

#[cfg(test)]
mod tests;
