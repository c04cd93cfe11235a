//! Threads: the only place that starts one. Every thread has a name.

use std::{
    any::Any,
    cell::RefCell,
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

thread_local! {
    /// What is dropped when the thread has ended.
    ///
    /// The standard library runs the destructors of a thread's locals in reverse order of their first use. It does not
    /// promise that; where it were otherwise, this one would run before some of the others.
    static LAST: RefCell<Option<Box<dyn Any>>> = const { RefCell::new(None) };
}

/// To be called first on a thread, so that [`after_destructors`] runs last.
pub(crate) fn before_destructors() {
    LAST.with(|_| ());
}

/// Drops `last` behind the destructors of the thread's other locals, which may be user code that takes its time.
pub(crate) fn after_destructors(last: impl Any) {
    LAST.set(Some(Box::new(last)));
}
