//! Manager: the front door. No state of its own but its configuration.

use std::{
    any::Any,
    fmt,
    sync::{
        Arc, LazyLock,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use crate::{
    clock,
    config::Config,
    correlation::CorrelationId,
    credentials::Credentials,
    error::{At, Error, ErrorKind, Result, SettingDifference},
    health::ManagerHealth,
    key::StreamKey,
    phase::Phase,
    process::is_forked,
    stream::{self, Acquired, Lease, ScopeId, Stream, StreamHandle, claims},
    transport,
    venue::Venue,
};

/// A scope with a configuration, from which streams are opened. Cheap to clone; clones are the same scope.
///
/// All managers of a process share one claim table: two of them that open the same endpoint with the same credentials
/// share one connection. (Two versions of this crate would have a table each, and Cargo refuses them in one program.)
/// Dropping a manager ends nothing; its handles hold their streams.
#[derive(Clone)]
pub struct Manager {
    scope: Arc<Scope>,
    correlation: Option<CorrelationId>,
}

struct Scope {
    id: ScopeId,
    config: Arc<Config>,
}

impl Drop for Scope {
    fn drop(&mut self) {
        // In a forked child the table's lock may be held for ever, by a thread that was not copied.
        if !is_forked() {
            claims().forget(self.id);
        }
    }
}

impl Manager {
    /// A manager with the default configuration.
    #[must_use]
    pub fn new() -> Self {
        Self::scope(Config::default())
    }

    /// A manager with this configuration.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidConfig`] for values that cannot work.
    pub fn with_config(config: Config) -> Result<Self> {
        config.validate()?;
        #[cfg(feature = "tls")]
        transport::tls::validate(&config)?;
        Ok(Self::scope(config))
    }

    /// The process's own manager, with the default configuration.
    pub fn global() -> &'static Self {
        static GLOBAL: LazyLock<Manager> = LazyLock::new(Manager::new);
        &GLOBAL
    }

    /// The same manager, in the scope of `id`: see [`CorrelationId`]. Handles that it opens inherit the scope.
    #[must_use]
    pub fn correlated(&self, id: impl fmt::Display) -> Self {
        Self {
            scope: Arc::clone(&self.scope),
            correlation: CorrelationId::of(id).or_else(|| self.correlation.clone()),
        }
    }

    /// The id of this scope, if it has one.
    #[must_use]
    pub fn correlation(&self) -> Option<&str> {
        self.correlation.as_ref().map(CorrelationId::as_str)
    }

    /// The stream of `venue` and `credentials`: the one that is open already, or a new one. Returns before it is
    /// live; see [`wait_live`](StreamHandle::wait_live).
    ///
    /// Blocks only while a predecessor with the same key is ending, for [`Config::open_timeout`] at most. Must not be
    /// called on a stream's own thread then, which would wait for itself.
    ///
    /// # Errors
    /// [`ErrorKind::Draining`] past that time. [`ErrorKind::SettingsConflict`] if the stream is open with other settings.
    /// [`ErrorKind::WrongAccount`] if the venue knows that the key is not meant for it. [`ErrorKind::InvalidConfig`] if the
    /// credentials stand in the URL or a header, which the WebSocket library logs, or if the environment names a proxy that
    /// cannot be understood. [`ErrorKind::Spawn`] if the operating
    /// system has no thread or poller left.
    ///
    /// # Examples
    /// ```
    /// use std::time::Duration;
    /// use trunkline::{Manager, sim::{Sim, SimConfig}};
    /// let sim = Sim::start(SimConfig::default())?;
    /// let manager = Manager::new();
    /// let one = manager.open(&sim.stocks(), &sim.credentials())?;
    /// let two = manager.open(&sim.stocks(), &sim.credentials())?;
    /// two.wait_live(Duration::from_secs(10))?;
    /// assert_eq!(sim.stats().connections_opened, 1);
    /// # Ok::<(), trunkline::Error>(())
    /// ```
    pub fn open<V: Venue + Clone>(
        &self,
        venue: &V,
        credentials: &Credentials,
    ) -> Result<StreamHandle<V>> {
        self.open_timeout(venue, credentials, self.scope.config.open_timeout)
    }

    /// [`open`](Self::open), with a time-out of its own for the wait.
    ///
    /// # Errors
    /// As for [`open`](Self::open).
    pub fn open_timeout<V: Venue + Clone>(
        &self,
        venue: &V,
        credentials: &Credentials,
        timeout: Duration,
    ) -> Result<StreamHandle<V>> {
        let key = StreamKey::new(venue.endpoint(), credentials);
        // Before the claim table, whose lock a thread of the parent's may have held at the fork.
        if is_forked() {
            let at = At::new(&key, Phase::Ended);
            return Err(Error::new(at, ErrorKind::Forked).told(
                &key,
                None,
                self.correlation.as_ref(),
            ));
        }
        // The search costs more than all the rest of joining a stream. Who joins one has its endpoint and credentials,
        // which were searched when it was opened, and sends no request.
        let joins = claims().is_live(&key);
        if !joins {
            // Told of no stream: its name may be where they stand.
            keep_out_of_the_request(venue, credentials)?;
        }
        self.acquire(venue, credentials, &key, timeout, joins)
            .map_err(|error| error.told(&key, None, self.correlation.as_ref()))
    }

    fn acquire<V: Venue + Clone>(
        &self,
        venue: &V,
        credentials: &Credentials,
        key: &StreamKey,
        timeout: Duration,
        is_unsearched: bool,
    ) -> Result<StreamHandle<V>> {
        venue.admit(credentials)?;
        let config = &self.scope.config;
        if key.endpoint().is_secure() && !cfg!(feature = "tls") {
            return Err(ErrorKind::InvalidEndpoint {
                why: "`wss` needs the feature `tls`, which this build is without",
            }
            .into());
        }
        // Cloned out here: a venue is user code, which never runs under a lock.
        let (new_venue, rules) = (venue.clone(), venue.rules());
        let new_config = Arc::clone(config);
        let mut created = None;
        let acquired =
            claims().acquire(key, self.scope.id, clock::deadline(timeout), |generation| {
                let rules = rules.clone();
                let stream = Stream::new(key.clone(), generation, rules, new_venue, new_config);
                created = Some(Arc::clone(&stream));
                stream
            });
        match acquired {
            Ok(Acquired::Created { stream }) => {
                let lease = Lease::counted(stream, self.correlation.clone());
                let stream = created.expect("a stream was created, and this is where it is kept");
                let searched = if is_unsearched {
                    // The stream that was to be joined has ended in between. It had the same endpoint, so that this can
                    // be named; its headers may have been others.
                    keep_out_of_the_request(venue, credentials)
                } else {
                    Ok(())
                };
                stream.start(searched, credentials.clone(), self.correlation.as_ref())?;
                Ok(StreamHandle::new(stream, lease, config.queue))
            }
            Ok(Acquired::Joined { stream: shared }) => {
                let lease = Lease::counted(Arc::clone(&shared), self.correlation.clone());
                let at = At::new(key, shared.lifecycle().phase());
                let any: Arc<dyn Any + Send + Sync> = shared;
                let Ok(stream) = any.downcast::<Stream<V>>() else {
                    // Of types there is no text to show.
                    let differences = vec![SettingDifference::new(
                        "venue",
                        String::new(),
                        String::new(),
                    )];
                    return Err(Error::new(at, ErrorKind::SettingsConflict { differences }));
                };
                let mut differences = stream.differences(venue, &rules, config);
                // A venue is user code.
                for SettingDifference { open, asked, .. } in &mut differences {
                    *open = credentials.redact(open);
                    *asked = credentials.redact(asked);
                }
                if !differences.is_empty() {
                    return Err(Error::new(at, ErrorKind::SettingsConflict { differences }));
                }
                Ok(StreamHandle::new(stream, lease, config.queue))
            }
            Err((predecessor, since)) => Err(Error::new(
                At::new(key, predecessor.lifecycle().phase()),
                ErrorKind::Draining {
                    waited: clock::now().saturating_duration_since(since),
                },
            )),
        }
    }

    /// Ends every stream that was opened from this manager, all at the same time, whoever else holds them, and waits
    /// for `timeout` at most. What holds them learns it from [`Update::Ended`](crate::Update::Ended).
    ///
    /// Says what became of each. A stream that did not end in time keeps its key until it does.
    pub fn shutdown(&self, timeout: Duration) -> Vec<StreamShutdown> {
        if is_forked() {
            return Vec::new();
        }
        let started = clock::now();
        let streams = claims().shutdown(self.scope.id);
        for stream in &streams {
            stream.stop(self.correlation.as_ref());
        }
        let deadline = clock::deadline(timeout);
        streams
            .iter()
            .map(|stream| {
                let gone = stream::end(stream, self.correlation.as_ref(), deadline);
                StreamShutdown {
                    stream: stream.key().clone(),
                    took: clock::now().saturating_duration_since(started),
                    stuck: (!gone).then(|| stream.lifecycle().phase()),
                }
            })
            .collect()
    }

    /// A guard that calls [`shutdown`](Self::shutdown) when it is dropped: one line at the top of `main`, because
    /// statics are not dropped at exit.
    #[must_use = "dropped at once, it shuts down at once"]
    pub fn shutdown_guard(&self, timeout: Duration) -> ShutdownGuard {
        ShutdownGuard {
            manager: self.clone(),
            timeout,
        }
    }

    /// A snapshot of the streams that were opened from this manager and are held, or still ending, and of the name
    /// lookups of the process.
    #[must_use]
    pub fn health(&self) -> ManagerHealth {
        if is_forked() {
            return ManagerHealth {
                streams: Vec::new(),
                lookups: Vec::new(),
            };
        }
        let streams = claims().streams(self.scope.id);
        ManagerHealth {
            streams: streams.iter().map(|stream| stream.health()).collect(),
            lookups: transport::resolve::pending(),
        }
    }

    /// The configuration.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.scope.config
    }

    fn scope(config: Config) -> Self {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = ScopeId(LAST.fetch_add(1, Ordering::Relaxed));
        Self {
            scope: Arc::new(Scope {
                id,
                config: Arc::new(config),
            }),
            correlation: None,
        }
    }
}

/// The WebSocket library logs the upgrade request, and keeps copies of it.
fn keep_out_of_the_request(venue: &impl Venue, credentials: &Credentials) -> Result<()> {
    let refuse = |place: &str, instead: &str| {
        Error::invalid_config(format!(
            "the credentials stand in {place}, which is logged: {instead}"
        ))
    };
    if credentials.stand_in(venue.endpoint().request_url().as_bytes()) {
        return Err(refuse(
            "the endpoint",
            "take them out, and pass them as `Credentials` alone",
        ));
    }
    match venue
        .headers()
        .iter()
        .find(|(_, value)| credentials.stand_in(value.as_bytes()))
    {
        Some((name, _)) => Err(refuse(
            &format!("the header `{name}`"),
            "a venue sends its login with `Context::send_secret`",
        )),
        None => Ok(()),
    }
}

impl Default for Manager {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Manager {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Manager")
            .field("config", &self.scope.config)
            .field("correlation", &self.correlation)
            .finish()
    }
}

/// What a shutdown did to one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct StreamShutdown {
    /// The stream.
    pub stream: StreamKey,
    /// How long it took, or was waited for.
    pub took: Duration,
    /// The phase it was stuck in when the time was up; nothing if it has ended.
    pub stuck: Option<Phase>,
}

impl fmt::Display for StreamShutdown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.stuck {
            None => write!(f, "{}: ended after {:.1?}", self.stream, self.took),
            Some(phase) => write!(
                f,
                "{}: stuck in phase {phase} after {:.1?}",
                self.stream, self.took
            ),
        }
    }
}

/// Shuts a manager's streams down when it is dropped.
#[derive(Debug)]
pub struct ShutdownGuard {
    manager: Manager,
    timeout: Duration,
}

impl Drop for ShutdownGuard {
    fn drop(&mut self) {
        self.manager.shutdown(self.timeout);
    }
}

#[cfg(test)]
#[cfg(not(loom))]
mod tests;
