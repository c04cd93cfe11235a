//! The README's recipe for `tracing`, looked at: its subscriber takes `log` records by itself, and drops their
//! key-values, which is why stream and correlation stand in the message.
#![allow(clippy::unwrap_used, reason = "a test: it panics")]

mod support;

use support::lines::{Lines, assert_a_short_life_is_told};

#[test]
fn tracing_shows_stream_and_correlation() {
    let lines = Lines::default();
    let writer = lines.clone();
    tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::INFO)
        .with_writer(move || writer.clone())
        .init();
    assert_a_short_life_is_told(&lines, "INFO trunkline::stream: ");
}
