//! Alpaca's feeds: where each is, what it carries, and how it is encoded.

use std::{fmt, str::FromStr};

use crate::{
    calendar::Calendar,
    error::{Error, Result},
    market::{
        BARS, DAILY_BARS, IMBALANCES, LULDS, NEWS, ORDERBOOKS, PRICING, QUOTES, STATUSES, TRADES,
        UPDATED_BARS,
    },
    symbol_budget::SymbolBudget,
    topic::Channel,
};

/// Gives an enum its names: `Display`, `FromStr`, `ALL`.
macro_rules! named {
    ($what:literal: $type:ident { $($variant:ident = $name:literal),+ $(,)? }) => {
        impl $type {
            pub(crate) const ALL: &[Self] = &[$(Self::$variant),+];
        }
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(match self {
                    $(Self::$variant => $name),+
                })
            }
        }
        impl FromStr for $type {
            type Err = Error;
            fn from_str(name: &str) -> Result<Self> {
                Self::ALL
                    .iter()
                    .copied()
                    .find(|known| known.to_string() == name)
                    .ok_or_else(|| Error::invalid_config(format!(
                            concat!("`{}` is no ", $what, ": there is {}"),
                            name.escape_debug(),
                            [$($name),+].join(", ")
                        )))
            }
        }
    };
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

named!("feed of stocks": Feed {
    Iex = "iex",
    Sip = "sip",
    DelayedSip = "delayed_sip",
    Boats = "boats",
    Overnight = "overnight",
    Test = "test",
});

impl Feed {
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

/// A feed of crypto data, around the clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CryptoFeed {
    /// Alpaca's own exchange.
    Us,
    /// Kraken in the US.
    Us1,
    /// Kraken in Europe.
    Eu1,
}

named!("feed of crypto": CryptoFeed { Us = "us", Us1 = "us-1", Eu1 = "eu-1" });

impl CryptoFeed {
    /// The path of its endpoint.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Us => "/v1beta3/crypto/us",
            Self::Us1 => "/v1beta3/crypto/us-1",
            Self::Eu1 => "/v1beta3/crypto/eu-1",
        }
    }
}

/// A feed of options data. It speaks MessagePack only.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OptionFeed {
    /// Derived from OPRA: its quotes are not OPRA's own, and its trades are 15 minutes late. In the free plan.
    Indicative,
    /// OPRA, all US options exchanges. Needs a paid plan.
    Opra,
}

named!("feed of options": OptionFeed { Indicative = "indicative", Opra = "opra" });

impl OptionFeed {
    /// The path of its endpoint.
    #[must_use]
    pub fn path(self) -> &'static str {
        match self {
            Self::Indicative => "/v1beta1/indicative",
            Self::Opra => "/v1beta1/opra",
        }
    }
}

/// How messages are encoded, in both directions, for as long as a connection lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Codec {
    /// Text.
    #[default]
    Json,
    /// Binary, and shorter. The only one that options feeds speak.
    MessagePack,
}

named!("codec": Codec { Json = "json", MessagePack = "msgpack" });

impl Codec {
    /// The headers of an upgrade that ask for it. JSON is what the venue speaks unasked.
    pub(super) fn headers(self) -> Vec<(&'static str, String)> {
        match self {
            Self::Json => Vec::new(),
            Self::MessagePack => vec![("Content-Type", "application/msgpack".to_owned())],
        }
    }
}

/// Any feed of market data.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DataFeed {
    Stocks(Feed),
    Crypto(CryptoFeed),
    Perpetuals,
    Options(OptionFeed),
    News,
}

impl DataFeed {
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let stocks = Feed::ALL.iter().copied().map(Self::Stocks);
        let crypto = CryptoFeed::ALL.iter().copied().map(Self::Crypto);
        let options = OptionFeed::ALL.iter().copied().map(Self::Options);
        let others = [Self::Perpetuals, Self::News];
        stocks.chain(crypto).chain(options).chain(others)
    }

    /// The feed whose endpoint has this path, or ends with it: a proxy may have put something in front.
    pub(crate) fn of_path(path: &str) -> Option<Self> {
        let path = path.trim_end_matches('/');
        Self::all().find(|feed| path.ends_with(feed.path()))
    }

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Stocks(feed) => feed.path(),
            Self::Crypto(feed) => feed.path(),
            Self::Options(feed) => feed.path(),
            Self::Perpetuals => "/v1beta1/crypto-perps/global",
            Self::News => "/v1beta1/news",
        }
    }

    /// What can be asked for. Corrections and cancels come with trades by themselves.
    pub(crate) fn channels(self) -> &'static [Channel] {
        match self {
            Self::Stocks(Feed::Test) => &[TRADES, QUOTES, BARS],
            Self::Stocks(_) => &[
                TRADES,
                QUOTES,
                BARS,
                UPDATED_BARS,
                DAILY_BARS,
                STATUSES,
                LULDS,
                IMBALANCES,
            ],
            Self::Crypto(_) => &[TRADES, QUOTES, ORDERBOOKS, BARS, UPDATED_BARS, DAILY_BARS],
            Self::Perpetuals => &[
                TRADES,
                QUOTES,
                ORDERBOOKS,
                BARS,
                UPDATED_BARS,
                DAILY_BARS,
                PRICING,
            ],
            Self::Options(_) => &[TRADES, QUOTES],
            Self::News => &[NEWS],
        }
    }

    /// Whether `channel` can be had for all symbols at once.
    pub(crate) fn has_wildcard(self, channel: Channel) -> bool {
        !matches!(self, Self::Options(_)) || channel != QUOTES
    }

    pub(crate) fn default_codec(self) -> Codec {
        match self {
            Self::Options(_) => Codec::MessagePack,
            Self::Stocks(_) | Self::Crypto(_) | Self::Perpetuals | Self::News => Codec::Json,
        }
    }

    pub(crate) fn speaks(self, codec: Codec) -> bool {
        codec == Codec::MessagePack || !matches!(self, Self::Options(_))
    }

    /// The free plan grants 30 symbols of stocks, and has no other feed of them that is live. It may count pairs of
    /// channel and symbol instead: that is learned.
    pub(crate) fn symbol_budget(self) -> SymbolBudget {
        match self {
            Self::Stocks(Feed::Iex) => SymbolBudget::of(30),
            _ => SymbolBudget::learned(),
        }
    }

    pub(crate) fn calendar(self) -> Calendar {
        match self {
            Self::Stocks(Feed::Test) | Self::Crypto(_) | Self::Perpetuals | Self::News => {
                Calendar::always_open()
            }
            Self::Stocks(_) | Self::Options(_) => Calendar::us_equities(),
        }
    }

    /// Whether something comes every few seconds while the calendar's sessions last. The overnight feeds are silent
    /// then; of crypto and news nobody knows.
    pub(crate) fn is_busy(self) -> bool {
        match self {
            Self::Stocks(Feed::Boats | Feed::Overnight)
            | Self::Crypto(_)
            | Self::Perpetuals
            | Self::News => false,
            Self::Stocks(_) | Self::Options(_) => true,
        }
    }
}
