//! The public types, each of them once. `tidy.rs` sees to it that none is missing.
#![allow(
    dead_code,
    reason = "two test binaries compile this file, and each uses a part of it"
)]

/// Their `Debug` is shown to hide secrets, of values from a life with a canary, in `text.rs`. In alphabetical order.
pub(crate) const SHOWN: &str = "\
    Accept At Backoff Calendar Channel Config Context CounterValues Credentials CredentialsFault \
    Declared Doing Drain Dropped EndReason Ended Endpoint Error ErrorKind Event Fault FaultKind FaultScript Fingerprint Frame \
    Gap Health Iter LimitCounts LineClosed Manager ManagerHealth MarketData MarketDataSession Message Notice \
    OrderUpdates OrderUpdatesSession Output PendingLookup Phase Phases Piece Proxy ProxyServer QueueLimit Ready Rejection RejectionCode RejectionKind \
    Remedy Request Resolver Roots Rules SecretMessage SettingDifference ShutdownGuard Sim SimConfig SimEvent SimStats Source \
    StreamHandle StreamKey StreamShutdown Subscription SubscriptionHealth Topic Topics TradeEvent Unparsed \
    Update Verdict";

/// What a venue says of markets and orders, value by value, and what is folded from it; choices among a few words;
/// errors without content; names that users give. There is no place in them for a credential, and so nothing to show.
pub(crate) const DATA: &str = "\
    Account Aged Amendment AssetClass Bar BestPrice BudgetHolder BudgetUse Code Codec Concerns Conditions CorrelationId Counts CryptoFeed Delivery EndpointFault Feed Fill \
    Imbalance Interval InvalidValue Lack LastTrade LegFill LuldBand MarketEvent Missed News NotFresh Obstacle OddFields OptionFeed Order \
    OrderBookUpdate OrderClass OrderEvent OrderStatus OrderType OrderUpdate Overflow PerpetualPricing \
    PositionIntent PriceBook PriceLevel PriceSource ProxyAnswer ProxyFault Quote Reading RecvError RecvTimeoutError RequestId Side Sides \
    Symbol SymbolBudget SymbolPrice TestFeed TimeInForce Timestamp TopOfBook Trade TradeCancel TradeCorrection TradingSession \
    TradingStatus TryRecvError Verb";
