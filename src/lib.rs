//! One authenticated WebSocket stream per (credentials, endpoint), shared by every thread of a blocking trading bot.
//!
//! A broker allows one market-data connection per account. A second one is refused (`406 connection limit exceeded`),
//! and one that died without a close handshake keeps its slot for a minute and a half. trunkline gives each thread of
//! a process its own typed view of that one connection: opened by whoever comes first, closed by whoever leaves last,
//! reconnected in between, with everything that was missed declared in place.
//!
//! It is synchronous: OS threads, Condvars and channels, no async runtime anywhere in the dependency tree. It is not a
//! REST client, it places no orders and stores no history.
//!
//! # Example
//! ```no_run
//! use std::time::Duration;
//! use trunkline::{Credentials, Manager, Update, alpaca::{self, Feed}};
//!
//! fn main() -> trunkline::Result<()> {
//!     let manager = Manager::new();
//!     let credentials = Credentials::from_env()?;
//!     let feed = manager.open(&alpaca::stocks(Feed::Iex), &credentials)?;
//!     feed.wait_live(Duration::from_secs(10))?;
//!
//!     let quotes = feed.subscribe(alpaca::quotes(["AAPL", "MSFT"]))?;
//!     for update in &quotes {
//!         match update {
//!             Update::Event(quote) => println!("{quote}"),
//!             Update::Gap(gap) => println!("the line broke: {gap}"),
//!             Update::Dropped(n) => println!("I was too slow for {n}"),
//!             Update::Notice(notice) => println!("{notice}"),
//!             Update::Ended(end) => return end.into_result(),
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//! Without an account, the feature `sim` has an exchange in the box: see [`sim`]. Unit tests of a strategy need not even
//! that: see [`testing`].
//!
//! # Words
//! - A **stream** is what is shared: one per [`StreamKey`], which is an endpoint and a fingerprint of credentials.
//! - A **connection** is one socket's life. A stream has at most one at any instant, and many over time; events carry
//!   its number as their *epoch*.
//! - A **session** is the protocol of one connection, without I/O: [`venue::Session`].
//! - A **subscription** is one reader's view of a stream: [`Subscription`].
//! - A **book** is the newest price of each of its symbols, with its age: [`PriceBook`].
//! - A **lease** is what keeps a stream alive: every [`StreamHandle`], [`Subscription`] and [`PriceBook`] is one.
//! - A **venue** is an exchange and its protocol: [`venue::Venue`]. [`alpaca`] is one; you can write your own.
//!
//! # Threads
//! Each stream has one thread, named `tl-` and eight digits of the fingerprint. It alone touches the socket. It sleeps
//! in the poller until a frame, a wish of a caller or a deadline; an idle stream costs nothing between two pings. What
//! happens when the machine itself was asleep stands under [Reconnects and gaps](#reconnects-and-gaps).
//! [`Manager`], [`StreamHandle`], [`PriceBook`], [`Credentials`] and [`Error`] are `Clone + Send + Sync`. A [`Subscription`] is
//! `Send`: move it to the thread that reads it. Name lookups run on a helper thread, one per host, which a stop
//! abandons.
//!
//! # What blocks, and for how long
//! | call | blocks | bound |
//! |---|---|---|
//! | [`Manager::open`] | while a predecessor with the same key ends | [`Config::open_timeout`] |
//! | [`StreamHandle::wait_live`], [`Subscription::wait_confirmed`] | until it is so | the argument |
//! | [`Subscription::recv_timeout`], [`recv_deadline`](Subscription::recv_deadline) | until something is queued | the argument |
//! | [`PriceBook::wait_fresh`], [`wait_price`](PriceBook::wait_price) | until there is such a price | the argument |
//! | [`Subscription::recv`], iteration | until something is queued, or the end | none: the end always comes |
//! | dropping the last handle or subscription | until the thread has ended | [`Config::release_timeout`] |
//! | [`StreamHandle::close`], [`Manager::shutdown`] | until the thread has ended | the argument |
//!
//! Everything else returns at once. A stream that exceeds its bound (user code hangs on its thread) keeps its key
//! until it ends: never two connections. [`Manager::health`] shows it.
//!
//! # Reconnects and gaps
//! A stream reconnects for ever, with exponential backoff and full jitter ([`config::Backoff`]). What ends it is what trying
//! again cannot mend: credentials, or a plan without the feed, that the venue never accepted on this stream, or has
//! refused again for [`config::Backoff::credentials_patience`]; and, as long as it was never live, a wrong URL or certificate.
//! At a loss every subscription gets [`Update::Gap`] at once, behind what had been read before; when the
//! venue has answered for all of its topics again, [`Notice::Resumed`]. The venue replays nothing, and neither does
//! trunkline: between the two, refill by REST if you need to.
//!
//! Time for which the machine was asleep counts. No price that was read before is fresh after it, whatever age was
//! allowed, and its age includes the sleep. When the stream's thread wakes, it sends a ping at once, which has to be
//! answered as any other, and takes what was slept off every deadline of set-up, requests, backoff and closing. What
//! wakes it is a frame, a wish of a caller, or the rest of the deadline that it slept towards: the operating system counts
//! that without the sleep, so a silent line is probed after [`Config::ping_interval`] at the latest. The time-outs of
//! calls, and deadlines that a session of your own sets, do not count the sleep. On Linux and macOS the time asleep is
//! what two clocks differ by; elsewhere a step of the wall clock looks the same.
//!
//! # Slow readers
//! Each subscription has a queue of its own, whose length and [`Overflow`] policy it picks
//! ([`Topics::queue`]), and beside it a bound in bytes ([`Topics::queue_bytes`]). A reader that is too slow loses events
//! of its own, is told so where the hole is ([`Update::Dropped`]), and delays neither the socket nor another reader. Of order updates none may be lost: their
//! subscriptions end in place of dropping, and other policies are refused ([`ErrorKind::LossyQueue`]). What sharing costs, and what the knobs
//! trade, is on the page [`guide::performance`].
//!
//! # Whose operation it was
//! A stream is shared, and what happens to it concerns many. `correlated("order-7")` on a [`Manager`], a
//! [`StreamHandle`] or [`Topics`] names a scope: its [id](CorrelationId) is on every error that the scope's operations
//! get, on the log records that they cause, and on all that its subscriptions receive besides events
//! ([`Update::correlation`]). [`Health`] shows it beside each subscription's topics, which says who holds a symbol.
//! Scopes inherit, and the narrowest wins. The stream's own records have none.
//!
//! # Log records
//! Target `trunkline::stream`, with the key-values `event` and `stream`, and the stream in the message too. Records
//! that a caller's operation caused (marked *) have its `correlation` in both places, if it has one. None is written
//! per message, none under a lock, and none holds a secret.
//!
//! | event | level | when | further key-values |
//! |---|---|---|---|
//! | `opening` * | info | a stream is opened; names the account, paper or live, and the proxy, if there is one | `generation` |
//! | `phase` | debug | it enters another [`Phase`]; becoming live and ended have records of their own | |
//! | `live` | info | a connection is authenticated | `epoch` |
//! | `held_back` | warn | its first attempt waits, since this process failed so often at the same host of late | `code` |
//! | `confirmed` * | debug | the venue confirmed topics of a subscription, and had not before | |
//! | `refused` * | warn | the venue refused topics of a subscription, and had not before | `code` |
//! | `displaced` * | warn | topics were taken for a subscription of a higher priority | `code` |
//! | `old_addresses` | warn | the resolver failed; the addresses of its last answer are used, and the one that worked last | |
//! | `lost` | warn | a connection, or an attempt, failed; names the next | `attempt`, `code` |
//! | `mute` | warn | expected data did not come, or a busy topic fell silent; it is probed, or kept although nothing came | |
//! | `calendar` | warn | the table of holidays ends in less than 60 days, or has ended; once per stream | |
//! | `slept` | info | the machine was asleep; the line is probed | |
//! | `behind` | warn | events arrive late: the venue's buffer fills | |
//! | `stopping` * | info | the last holder let go, or somebody shut it down | |
//! | `stuck` * | error | a stream did not end in time for who waits; its key stays taken until it does | `phase` |
//! | `ended` | info, error | its thread is done | `code` |
//!
//! # Metrics
//! With the feature `metrics` each stream hands these to the recorder that the program has installed for the crate
//! `metrics`, labeled with its `fingerprint` and `endpoint`. Its thread does so four times a second at most, and only
//! after something happened: an event costs nothing, and an idle stream sleeps.
//!
//! | name | kind | what |
//! |---|---|---|
//! | `trunkline_attempts_total` | counter | attempts to connect |
//! | `trunkline_connections_total` | counter | connections that became live |
//! | `trunkline_messages_total` | counter | WebSocket messages read |
//! | `trunkline_bytes_total` | counter | bytes read, after TLS |
//! | `trunkline_events_total` | counter | events read |
//! | `trunkline_events_unmatched_total` | counter | events that matched nobody |
//! | `trunkline_events_unsettled_total` | counter | events of topics that were being subscribed or unsubscribed |
//! | `trunkline_odd_events_total` | counter | events with a field that could not be read |
//! | `trunkline_unparsed_total` | counter | items that could not be read |
//! | `trunkline_requests_total` | counter | requests sent |
//! | `trunkline_events_delivered_total` | counter | events that subscriptions have read |
//! | `trunkline_events_dropped_total` | counter | events that did not fit into a subscription's queue |
//! | `trunkline_events_conflated_total` | counter | events that a newer one took the place of |
//! | `trunkline_live` | gauge | 1 while it is live |
//! | `trunkline_leases` | gauge | handles and subscriptions that hold it |
//! | `trunkline_subscriptions` | gauge | subscriptions |
//! | `trunkline_topics_wanted` | gauge | topics that they want |
//! | `trunkline_topics_confirmed` | gauge | topics that the venue has confirmed |
//! | `trunkline_events_queued` | gauge | events that wait for their readers |
//! | `trunkline_lag_seconds` | gauge | age of events when they were read, of the slowest subscription |
//! | `trunkline_behind_seconds` | gauge | how much later than the freshest the newest event arrived |
//! | `trunkline_setup_seconds` | histogram | from the beginning of an attempt to live |
//! | `trunkline_outage_seconds` | histogram | from the loss of a live connection to live again |
//! | `trunkline_request_seconds` | histogram | from a request to its answer |
//!
//! # Secrets
//! [`Credentials`] live in one zeroizing buffer that clones and streams share. A stream gives its share back when it
//! starts to drain or has ended, and the last share wipes the buffer. Maps, logs, errors and health hold a one-way
//! [`Fingerprint`]. The login is written below the WebSocket library, so that no dependency logs or keeps it, even at
//! TRACE; of a venue of your own, a request or a message that holds the credentials is refused.
//!
//! Servers repeat what they were sent. Until a login is accepted, key and secret are masked in what arrives, in whatever
//! common spelling, before the WebSocket library can log it. After that they are masked in what this crate shows, and
//! in what arrives only where the WebSocket library may log it: the logger is asked once, when the login is accepted,
//! whether it takes DEBUG of `tungstenite::protocol` (close frames) or TRACE of `tungstenite::protocol::frame`. If so,
//! all that arrives on this connection is searched, which costs time, and a text that holds key or secret comes with
//! asterisks in their place. If not, nothing is paid. A level that is raised later holds from the next connection on:
//! until then the records of the WebSocket library show each message as it came.
//!
//! The user and the password of a [proxy](Proxy) are kept and hidden in the same way. What a proxy says is never shown, but for
//! its numbers. They go when the last of the configuration, the manager and the stream goes that hold them. In a tunnel
//! without TLS a proxy could repeat them in the venue's place, where they are not looked for.
//!
//! These copies are not this crate's to wipe: the environment keeps the variables that credentials were read from, which
//! a file or a reader does not. Of what is sent, rustls keeps the encrypted form only. But what a server repeats lies
//! decrypted in a buffer of rustls's, and after the login, unless it is masked, in one of the WebSocket library's, until
//! the memory is used again, which may be after the connection has ended.
//!
//! # Panics
//! A panic on a stream's thread (in a [`venue::Session`] of yours, or in a logger) ends that stream with
//! [`ErrorKind::Panicked`] for everybody who holds it. This needs `panic = "unwind"`, which is Rust's default.
//!
//! # Features
//! - `tls` (default): `wss://`, by rustls with ring. Without it only `ws://` works.
//! - `sim`: [`sim`], the simulator.
//! - `serde`: `Serialize` for events, updates and health; `Deserialize` for events of the market, orders and order updates.
//! - `metrics`: counters, gauges and histograms, for any exporter.
//! - `compression`: `Config::compression`, by which a server may compress what it sends (permessage-deflate, RFC 7692). A
//!   message takes about 2 µs longer; the simulator's come in a quarter of their bytes.
//!
//! # Versions
//! The minimum supported Rust version is 1.88, and is raised in minor releases only. Semantic versioning covers all
//! public items; [`Update`] is closed, so a new way of losing data is a breaking change. Linux is tested; nothing is
//! known to keep macOS or Windows from working.
//!
#![cfg_attr(feature = "sim", doc = "[`sim`]: crate::sim")]
#![cfg_attr(not(feature = "sim"), doc = "[`sim`]: #features")]
// Says of each item which feature it needs, where the compiler can: on docs.rs.
#![cfg_attr(docsrs, feature(doc_cfg))]
// Of times alone: `clippy.toml` says why.
#![cfg_attr(not(test), warn(clippy::arithmetic_side_effects))]

pub mod alpaca;
mod ambient;
mod attempts;
mod backoff;
pub mod calendar;
mod clock;
pub mod config;
mod correlation;
mod credentials;
pub mod error;
pub mod event;
pub mod guide;
pub mod health;
mod invalid;
mod key;
mod manager;
pub mod market;
mod names;
pub mod order;
mod phase;
mod plural;
pub mod price;
mod price_book;
mod process;
mod proxy;
mod record;
mod remedy;
mod resolver;
#[cfg(feature = "sim")]
pub mod sim;
mod source;
pub mod stream;
mod symbol_budget;
mod sync;
pub mod testing;
mod thread;
mod timestamp;
mod topic;
mod transport;
pub mod venue;

pub(crate) use self::record::record;
pub use self::{
    config::Config,
    correlation::CorrelationId,
    credentials::{Credentials, Fingerprint},
    error::{Error, ErrorKind, Result},
    event::{Declared, Dropped, EndReason, Ended, Event, Gap, Notice, Update},
    health::Health,
    key::{Endpoint, StreamKey},
    manager::{Manager, ShutdownGuard, StreamShutdown},
    market::{Bar, MarketEvent, Quote, Symbol, Timestamp, Trade},
    order::OrderUpdate,
    phase::Phase,
    price_book::{PriceBook, SymbolPrice},
    proxy::Proxy,
    stream::{RecvError, RecvTimeoutError, StreamHandle, Subscription, TryRecvError},
    symbol_budget::{Counts, SymbolBudget},
    topic::{Channel, Overflow, Topic, Topics},
};
pub use crossbeam_channel::{self, select};
pub use rust_decimal::Decimal;

/// The README's code is compiled like any other example.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
pub struct Readme;
