//! The README's recipe for `env_logger`, looked at: each record is one line that says all that matters.
#![allow(clippy::unwrap_used, reason = "a test: it panics")]

mod support;

use support::lines::{Lines, assert_a_short_life_is_told};

#[test]
fn env_logger_shows_stream_and_correlation() {
    let lines = Lines::default();
    env_logger::Builder::new()
        .parse_filters("trunkline=info")
        .target(env_logger::Target::Pipe(Box::new(lines.clone())))
        .init();
    assert_a_short_life_is_told(&lines, "INFO  trunkline::stream] ");
}
