//! How host names become addresses.

use std::{
    fmt, io,
    net::{SocketAddr, ToSocketAddrs as _},
    sync::Arc,
    time::Duration,
};

/// Turns a host and a port into addresses. The default is the operating system's resolver.
///
/// Runs on a helper thread of its own, one per host at a time: it may block for as long as it likes, and a stream that
/// is stopped meanwhile does not wait for it.
///
/// # Examples
/// Addresses that are known beforehand:
/// ```
/// use trunkline::{Config, config::Resolver};
/// let mut config = Config::default();
/// config.resolver = Resolver::new(|_host, port| Ok(vec![([192, 0, 2, 7], port).into()]));
/// ```
#[derive(Clone)]
pub struct Resolver(Arc<Lookup>);

type Lookup = dyn Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync;

impl Resolver {
    /// A resolver of your own. Two of them are equal only if one is a clone of the other.
    pub fn new(
        lookup: impl Fn(&str, u16) -> io::Result<Vec<SocketAddr>> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(lookup))
    }

    /// Looks up. An answer without an address is an error. Blocks for as long as the resolver does.
    ///
    /// # Errors
    /// Whatever the resolver says.
    pub fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let addresses = (self.0)(host, port)?;
        if addresses.is_empty() {
            return Err(io::Error::new(
                io::ErrorKind::NotFound,
                "the name has no address",
            ));
        }
        Ok(addresses)
    }

    /// What tells it from another one.
    pub(crate) fn id(&self) -> usize {
        Arc::as_ptr(&self.0).cast::<()>() as usize
    }
}

impl Default for Resolver {
    fn default() -> Self {
        /// One for the whole process, so that two default configurations are equal.
        static SYSTEM: std::sync::LazyLock<Resolver> = std::sync::LazyLock::new(|| {
            Resolver::new(|host, port| Ok((host, port).to_socket_addrs()?.collect()))
        });
        SYSTEM.clone()
    }
}

impl PartialEq for Resolver {
    fn eq(&self, other: &Self) -> bool {
        self.id() == other.id()
    }
}

impl Eq for Resolver {}

impl fmt::Debug for Resolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if *self == Self::default() {
            "Resolver(system)"
        } else {
            "Resolver(..)"
        })
    }
}

/// A name lookup that runs on its helper thread. Nothing can cancel it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct PendingLookup {
    /// `host:port`.
    pub host: String,
    /// For how long it has been running.
    pub running_for: Duration,
    /// Whether the streams that asked have all been stopped since.
    pub is_abandoned: bool,
}

impl fmt::Display for PendingLookup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whose = if self.is_abandoned { ", abandoned" } else { "" };
        write!(
            f,
            "looking up {} for {:.1?}{whose}",
            self.host, self.running_for
        )
    }
}
