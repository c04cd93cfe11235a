//! What several tests need.
#![allow(dead_code, reason = "not every test binary uses all of it")]
#![allow(clippy::panic, clippy::disallowed_methods, reason = "tests")]
use std::time::{Duration, Instant};

/// Long enough for any machine; nothing takes it unless something is wrong.
pub const LONG: Duration = Duration::from_secs(20);

/// Waits for a condition, and fails after [`LONG`].
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}
