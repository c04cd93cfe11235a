//! What several of the integration tests need: deadlines, conditions, a quick configuration.
#![allow(
    dead_code,
    reason = "every test binary compiles this file and uses a part of it"
)]
#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "tests stand outside the walls of the library"
)]

pub(crate) mod lines;
pub(crate) mod logger;

use std::time::{Duration, Instant};

use trunkline::{
    Config, Credentials, Proxy,
    sim::{Sim, SimConfig},
};

/// Far more than anything here takes. Reached only by a test that fails.
pub(crate) const WAIT: Duration = Duration::from_secs(60);

/// Waits until `holds`, and fails with `what` when it does not.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + WAIT;
    let nothing = crossbeam_channel::never::<()>();
    while !holds() {
        assert!(Instant::now() < deadline, "never came true: {what}");
        let _ = nothing.recv_timeout(Duration::from_millis(1));
    }
}

/// The defaults, but quick to connect again, and without a proxy of the machine that runs the tests.
pub(crate) fn quick() -> Config {
    let mut config = Config::default();
    config.proxy = Proxy::Never;
    config.backoff.initial = Duration::from_millis(5);
    config.backoff.cap = Duration::from_millis(10);
    config
}

/// A simulator that sends only what is pushed, unless `change` says otherwise.
pub(crate) fn sim(change: impl FnOnce(&mut SimConfig)) -> Sim {
    let mut config = SimConfig::default();
    config.rate = 0;
    change(&mut config);
    Sim::start(config).expect("loopback has a free port")
}

/// Credentials of this test alone.
pub(crate) fn credentials(test: &str) -> Credentials {
    Credentials::new(format!("PK{test}"), format!("secret-of-{test}"))
        .expect("they are well formed")
}
