//! No secret in any log, text or memory: whole lives with a canary for credentials, in processes of their own.
//!
//! The server's side is in this process, on bare sockets; the client's is in a child process, this same binary run
//! again for one test. So every record that is captured there, and every byte of memory, is the client's.
#![allow(
    clippy::disallowed_methods,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test: it panics, it has its own clock, and the child reports on its standard output"
)]

mod canary;
mod capture;
mod careless;
mod child;
#[cfg(target_os = "linux")]
mod hidden;
mod life;
mod login;
#[cfg(target_os = "linux")]
mod memory;
mod peer;
mod proxy;
mod reflection;
mod source;
#[path = "../support/mod.rs"]
mod support;
mod text;
mod types;
