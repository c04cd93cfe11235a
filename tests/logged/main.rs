//! The integration tests that read the log records of their streams: the program has one logger, which they share.

#[path = "../common/mod.rs"]
mod common;
#[path = "../support/mod.rs"]
mod support;

mod addresses;
mod correlation;
mod proxies;
mod records;
