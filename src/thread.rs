//! Threads: the only place that starts one. Every thread has a name.

use std::{
    io,
    thread::{Builder, JoinHandle},
};

/// Starts a thread. An operating system that refuses is an error, not a panic. Linux shows 15 bytes of the name.
pub(crate) fn spawn(
    name: String,
    body: impl FnOnce() + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    #[expect(clippy::disallowed_methods, reason = "this is the one rightful place")]
    Builder::new().name(name).spawn(body)
}
