//! Which process this is. A fork copies memory and one thread: in the child, no stream's thread runs, and any lock may
//! be held for ever by a thread that was not copied. So whatever a stream's memory is used for there, this is asked
//! first, before any lock.

use std::sync::atomic::{AtomicU32, Ordering};

/// The process that something was made in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn this() -> Self {
        Self(std::process::id())
    }

    /// Whether this is a forked child of the process that it was made in.
    pub(crate) fn is_parent(self) -> bool {
        self != Self::this()
    }
}

/// Whether this is a forked child of the process that owns the claim table: of the first that asked. Takes no lock, not
/// even one of the first use, which another thread may have held at the fork.
pub(crate) fn is_forked() -> bool {
    static OWNER: AtomicU32 = AtomicU32::new(NOBODY);
    let Process(this) = Process::this();
    match OWNER.compare_exchange(NOBODY, this, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => false,
        Err(owner) => owner != this,
    }
}

/// No process has this id.
const NOBODY: u32 = 0;
