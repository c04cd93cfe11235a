//! The venue's vocabularies of orders, in any case. All of them are open: a word that is not known here is kept as it
//! came.

use std::fmt;

use crate::market::Code;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum $name {
            $($(#[$variant_doc])* $variant,)+
            /// A word that this version does not know, as it came. Empty where the venue said nothing.
            Other(Code),
        }

        impl $name {
            /// The venue's word for it.
            #[must_use]
            pub fn as_str(&self) -> &str {
                match self {
                    $(Self::$variant => $word,)+
                    Self::Other(word) => word,
                }
            }
        }

        impl From<&str> for $name {
            fn from(word: &str) -> Self {
                $(if word.eq_ignore_ascii_case($word) {
                    return Self::$variant;
                })+
                Self::Other(word.into())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }

        #[cfg(feature = "serde")]
        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                Code::deserialize(deserializer).map(|word| word.as_str().into())
            }
        }
    };
}

impl Default for OrderStatus {
    fn default() -> Self {
        Self::Other(Code::default())
    }
}

impl Default for TimeInForce {
    fn default() -> Self {
        Self::Other(Code::default())
    }
}

words! {
    /// Where an order stands.
    OrderStatus {
        /// Received, and not yet sent to where it is to be executed.
        Accepted = "accepted",
        /// Received, and under evaluation for pricing.
        AcceptedForBidding = "accepted_for_bidding",
        /// Sent to where it is to be executed, and not yet taken.
        PendingNew = "pending_new",
        /// Taken.
        New = "new",
        /// Filled in part.
        PartiallyFilled = "partially_filled",
        /// Filled.
        Filled = "filled",
        /// Done for the day.
        DoneForDay = "done_for_day",
        /// Canceled.
        Canceled = "canceled",
        /// Its time in force has ended.
        Expired = "expired",
        /// Another order took its place.
        Replaced = "replaced",
        /// To be canceled.
        PendingCancel = "pending_cancel",
        /// To be replaced.
        PendingReplace = "pending_replace",
        /// Under review.
        PendingReview = "pending_review",
        /// A trade is guaranteed, and not made yet.
        Stopped = "stopped",
        /// Refused.
        Rejected = "rejected",
        /// Not eligible to trade.
        Suspended = "suspended",
        /// Done for the day, with sums still to be settled.
        Calculated = "calculated",
        /// Waits for another order, as the legs of a bracket do.
        Held = "held",
    }
}

words! {
    /// What kind of order it is.
    OrderType {
        /// At any price.
        Market = "market",
        /// At the limit price or better.
        Limit = "limit",
        /// A market order once the stop price was reached.
        Stop = "stop",
        /// A limit order once the stop price was reached.
        StopLimit = "stop_limit",
        /// A stop order whose stop price follows the market.
        TrailingStop = "trailing_stop",
    }
}

words! {
    /// Which way an order goes.
    Side {
        /// Buy.
        Buy = "buy",
        /// Sell, or sell short.
        Sell = "sell",
    }
}

words! {
    /// How long an order lives.
    TimeInForce {
        /// For the day.
        Day = "day",
        /// Until it is canceled.
        GoodTilCanceled = "gtc",
        /// For the opening auction.
        AtTheOpen = "opg",
        /// For the closing auction.
        AtTheClose = "cls",
        /// What cannot be filled at once is canceled.
        ImmediateOrCancel = "ioc",
        /// All at once, or none of it.
        FillOrKill = "fok",
    }
}

words! {
    /// How an order stands to others.
    #[derive(Default)]
    OrderClass {
        /// By itself. The venue also says so with an empty word.
        #[default]
        Simple = "simple",
        /// With a target and a stop.
        Bracket = "bracket",
        /// One cancels the other.
        OneCancelsOther = "oco",
        /// One triggers the other.
        OneTriggersOther = "oto",
        /// Several legs that are filled together.
        MultiLeg = "mleg",
    }
}

words! {
    /// What an order does to the position.
    PositionIntent {
        /// Opens or adds to a long one.
        BuyToOpen = "buy_to_open",
        /// Closes or reduces a short one.
        BuyToClose = "buy_to_close",
        /// Opens or adds to a short one.
        SellToOpen = "sell_to_open",
        /// Closes or reduces a long one.
        SellToClose = "sell_to_close",
    }
}

words! {
    /// What is traded.
    AssetClass {
        /// US stocks.
        UsEquity = "us_equity",
        /// US options.
        UsOption = "us_option",
        /// Crypto.
        Crypto = "crypto",
        /// Crypto perpetuals.
        CryptoPerp = "crypto_perp",
    }
}
