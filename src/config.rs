//! Settings: each with its meaning, its unit and its default. [`Config`] holds them, and each [`Manager`](crate::Manager) has one.

use std::time::Duration;

use crate::{
    error::{Error, Result, SettingDifference},
    topic::{Overflow, QueueLimit},
};
pub use crate::{
    proxy::{Proxy, ProxyServer},
    resolver::Resolver,
};

/// The configuration of a [`Manager`](crate::Manager).
///
/// A stream keeps the settings of its first opener; an open with others gets
/// [`ErrorKind::SettingsConflict`](crate::ErrorKind::SettingsConflict), except for `open_timeout` and `queue`, which belong to
/// the caller and not to the stream.
///
/// `Duration::MAX` means "no bound", here and wherever else a time-out is asked for. The times for a set-up and for pings
/// are 1 ms at least.
///
/// # Examples
/// ```
/// use std::time::Duration;
/// use trunkline::{Config, Manager};
/// let mut config = Config::default();
/// config.release_timeout = Duration::from_secs(1);
/// let manager = Manager::with_config(config)?;
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long `open` waits for a predecessor with the same key to end. Default 5 s.
    pub open_timeout: Duration,
    /// How long a `Drop` that ends a stream waits for its thread. Default 5 s.
    pub release_timeout: Duration,
    /// For one whole attempt: name, TCP, a proxy's answer, TLS, upgrade, welcome and authentication. Default 15 s.
    pub setup_timeout: Duration,
    /// How long a connection that is being closed waits for the peer's end. Default 1 s.
    pub close_timeout: Duration,
    /// How long a request may stay unanswered. Then nobody knows what the venue sends: the topics are taken back and asked for
    /// once more, and are refused where that is not answered either. An answer that comes late is believed. A venue that
    /// twice does not say that it stopped sending something is given up. Default 10 s.
    pub request_timeout: Duration,
    /// How long the peer may be silent before it is sent a ping. Default 10 s. Less where the venue asks for less
    /// ([`Rules::ping_interval`](crate::venue::Rules::ping_interval)): on Alpaca's order updates, where silence is normal,
    /// 5 s at most.
    pub ping_interval: Duration,
    /// How long it may be silent after that before the connection is given up. Default 5 s, so that a line which is dead
    /// without a word is given up after 15 s.
    pub ping_timeout: Duration,
    /// How much older than the freshest ones events may be when they arrive, before
    /// [`Notice::Behind`](crate::Notice::Behind) warns. Default 5 s.
    pub behind_warning: Duration,
    /// When to connect again.
    pub backoff: Backoff,
    /// The socket's read buffer, in bytes. Default 16 KiB, at most 16 MiB; more than the default helps
    /// only at tens of messages per read.
    pub read_buffer_size: usize,
    /// How long the stream's thread lets messages gather after it has handed some on, before it reads again. It costs
    /// events up to so much latency, and saves most of the wake-ups of readers: 200 µs is a good value for a dashboard.
    /// An event after a pause that was longer is handed on at once. At most 10 ms. Default zero: never wait.
    pub linger: Duration,
    /// The queue of subscriptions that do not choose one. Default 65,536 events, drop the oldest. Where no event may be
    /// dropped, as with order updates, its length holds, and it ends the subscription. Its [bound in
    /// bytes](QueueLimit::bytes) holds for every subscription that does not choose one by
    /// [`queue_bytes`](crate::Topics::queue_bytes).
    pub queue: QueueLimit,
    /// How host names become addresses. Default: the operating system's resolver.
    pub resolver: Resolver,
    /// Through which proxy to connect. Default: the one that the environment names. Its handshake is part of the set-up.
    pub proxy: Proxy,
    /// Whether to offer the server to compress what it sends (permessage-deflate, RFC 7692), where the venue takes it
    /// ([`Rules::compresses`](crate::venue::Rules::compresses)). It saves traffic, and costs time for each message:
    /// see the crate's [features](crate#features). Nothing that is sent is compressed. Default false.
    #[cfg(feature = "compression")]
    pub compression: bool,
    /// Which certificates to trust for `wss://`.
    pub roots: Roots,
    /// Further certificates to trust, PEM.
    pub extra_roots: Vec<u8>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            open_timeout: Duration::from_secs(5),
            release_timeout: Duration::from_secs(5),
            setup_timeout: Duration::from_secs(15),
            close_timeout: Duration::from_secs(1),
            request_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(10),
            ping_timeout: Duration::from_secs(5),
            behind_warning: Duration::from_secs(5),
            backoff: Backoff::default(),
            read_buffer_size: 16 << 10,
            linger: Duration::ZERO,
            queue: QueueLimit::new(65_536, Overflow::DropOldest),
            resolver: Resolver::default(),
            proxy: Proxy::default(),
            #[cfg(feature = "compression")]
            compression: false,
            roots: Roots::default(),
            extra_roots: Vec::new(),
        }
    }
}

impl Config {
    /// # Errors
    /// [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig) for values that cannot work.
    pub(crate) fn validate(&self) -> Result<()> {
        let invalid = |why: String| Err(Error::invalid_config(why));
        self.queue.validate()?;
        for (name, value) in [
            ("setup_timeout", self.setup_timeout),
            ("ping_interval", self.ping_interval),
            ("ping_timeout", self.ping_timeout),
        ] {
            if value < Duration::from_millis(1) {
                return invalid(format!("`{name}` is {value:?}: give it 1 ms or more"));
            }
        }
        let size = self.read_buffer_size;
        if !(1_024..=MAX_READ_BUFFER).contains(&size) {
            return invalid(format!(
                "`read_buffer_size` is {size}: give it 1,024 bytes to 16 MiB"
            ));
        }
        let linger = self.linger;
        if linger > MAX_LINGER {
            return invalid(format!("`linger` is {linger:?}: give it 10 ms or less"));
        }
        if self.backoff.max_failures == Some(0) {
            return invalid(
                "`backoff.max_failures` is 0: give it 1 or more, or `None` for no limit".to_owned(),
            );
        }
        let (initial, cap) = (self.backoff.initial, self.backoff.cap);
        if initial.is_zero() || cap < initial {
            return invalid(format!(
                "`backoff.initial` is {initial:?} and `backoff.cap` {cap:?}: give the first more than zero, and the second no less"
            ));
        }
        Ok(())
    }

    /// The stream's settings in which `self`, which it is open with, and `other` differ.
    pub(crate) fn differences(&self, other: &Self) -> Vec<SettingDifference> {
        use SettingDifference as Of;
        // Taken apart without `..`, so that a new field has to be placed here.
        let Self {
            open_timeout: _,
            queue: _,
            release_timeout,
            setup_timeout,
            close_timeout,
            request_timeout,
            ping_interval,
            ping_timeout,
            behind_warning,
            backoff,
            read_buffer_size,
            linger,
            resolver,
            proxy,
            #[cfg(feature = "compression")]
            compression,
            roots,
            extra_roots,
        } = self;
        // Whole certificates are not shown.
        let size = |roots: &[u8]| format!("{} bytes", roots.len());
        let roots_differ = *extra_roots != other.extra_roots;
        let extra = Of::new("extra_roots", size(extra_roots), size(&other.extra_roots));
        let differences = [
            Of::between("release_timeout", release_timeout, &other.release_timeout),
            Of::between("setup_timeout", setup_timeout, &other.setup_timeout),
            Of::between("close_timeout", close_timeout, &other.close_timeout),
            Of::between("request_timeout", request_timeout, &other.request_timeout),
            Of::between("ping_interval", ping_interval, &other.ping_interval),
            Of::between("ping_timeout", ping_timeout, &other.ping_timeout),
            Of::between("behind_warning", behind_warning, &other.behind_warning),
            Of::between("backoff", backoff, &other.backoff),
            Of::between(
                "read_buffer_size",
                read_buffer_size,
                &other.read_buffer_size,
            ),
            Of::between("linger", linger, &other.linger),
            Of::between("resolver", resolver, &other.resolver),
            Of::between("proxy", proxy, &other.proxy),
            #[cfg(feature = "compression")]
            Of::between("compression", compression, &other.compression),
            Of::between("roots", roots, &other.roots),
            roots_differ.then_some(extra),
        ];
        differences.into_iter().flatten().collect()
    }
}

/// It is there from the beginning of each connection.
const MAX_READ_BUFFER: usize = 16 << 20;

/// A stream's thread that lingers looks at nothing else.
const MAX_LINGER: Duration = Duration::from_millis(10);

/// When to connect again after a failure: a random time between zero and a bound that doubles with each failure.
///
/// It starts over in steps. A connection on which the venue confirmed topics, and that lived for
/// [`initial`](Self::initial), is a success: the failures before it are forgotten, and the next attempt comes soon, but
/// not before twice that time has passed. If such connections die younger, the bound grows with each. One that was live
/// for [`reset_after`](Self::reset_after) may be followed by an attempt at once.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// The first bound. Default 500 ms.
    pub initial: Duration,
    /// The largest bound. Default 30 s.
    pub cap: Duration,
    /// How many failures in a row, with no success in between, end the stream with
    /// [`ErrorKind::GaveUp`](crate::ErrorKind::GaveUp). Default none: it tries for ever.
    pub max_failures: Option<u32>,
    /// How long a connection must have been live for the bound to start over. Default 30 s.
    pub reset_after: Duration,
    /// How long a stream goes on when the venue refuses credentials or an entitlement, or the proxy a login, that it accepted
    /// before on this stream: venues have refused good keys for minutes. The first two attempts are 2 to 5 s apart, later ones further.
    /// The stream ends at the first refusal after that time. Credentials that were never accepted end it at once.
    /// Default five minutes; zero ends it at the first refusal.
    pub credentials_patience: Duration,
}

impl Backoff {
    /// The least time between the end of a connection that served and the next attempt.
    pub(crate) fn spacing(&self) -> Duration {
        self.initial.saturating_mul(2).min(self.cap)
    }
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(500),
            cap: Duration::from_secs(30),
            max_failures: None,
            reset_after: Duration::from_secs(30),
            credentials_patience: Duration::from_secs(300),
        }
    }
}

/// Which certificate authorities to trust.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Roots {
    /// Mozilla's, compiled in: the same everywhere, also in a container without certificates.
    #[default]
    Bundled,
    /// The operating system's, read on a helper thread when a stream is opened. The set-up waits for it.
    Platform,
    /// None but [`Config::extra_roots`].
    ExtraOnly,
}
