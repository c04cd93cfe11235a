//! The integration tests that need no process of their own, in one program: each program of tests is linked again at
//! every change of the library, and this takes longer than to compile the tests.
//!
//! A file of its own in `tests/` is for tests of what a whole process has one of: a logger, an allocator, a fork, an
//! exit. A single test that counts threads or files runs itself in a child process (`common::alone`).

#[path = "../common/mod.rs"]
mod common;
#[path = "../example/mod.rs"]
mod example;
#[path = "../foreign/mod.rs"]
mod foreign;
#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod codecs;
mod compression;
mod delivery;
mod echo;
mod examples;
mod faults;
mod foreign_orders;
mod foreign_sdks;
mod foreign_server;
mod hostile;
mod lifecycle;
mod lookup;
mod orders;
mod prices;
mod real_proxies;
mod scarcity;
mod seeds;
mod sharing;
mod testing;
mod tidy;
