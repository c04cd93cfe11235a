//! An error of another module, or of another crate, kept as the cause of ours.

use std::{
    error::Error as StdError,
    fmt::{self, Write as _},
    sync::Arc,
};

/// An error whose type is no part of this crate's interface, kept for [`source`](StdError::source).
#[derive(Clone)]
pub struct Source(Arc<dyn StdError + Send + Sync>);

impl Source {
    pub(crate) fn new(error: impl StdError + Send + Sync + 'static) -> Self {
        Self(Arc::new(error))
    }

    /// The error itself, for those who know its type: [`downcast_ref`](StdError#method.downcast_ref-1).
    #[must_use]
    pub fn get(&self) -> &(dyn StdError + 'static) {
        &*self.0
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_bounded(f, &self.0);
        Ok(())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

impl StdError for Source {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}

/// Writes what a foreign error says, as far as anybody reads it: its `Display` may have no end.
pub(crate) fn write_bounded(out: &mut dyn fmt::Write, text: &dyn fmt::Display) {
    let left = 4_096;
    // It fails at the bound, or by itself. What was written until then is the text.
    let _ = write!(Bounded { out, left }, "{text}");
}

struct Bounded<'a> {
    out: &'a mut dyn fmt::Write,
    left: usize,
}

impl fmt::Write for Bounded<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        // An empty text counts, too.
        let left = self.left.checked_sub(text.len().max(1));
        self.left = left.unwrap_or(0);
        if left.is_none() {
            return Err(fmt::Error);
        }
        self.out.write_str(text)
    }
}
