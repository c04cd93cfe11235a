//! What is wrong with a value that somebody wrote.

use std::{borrow::Cow, fmt};

/// Why a text or a number makes no value: what it is, and what it may be.
///
/// `?` makes an [`Error`](crate::Error) of it: [`ErrorKind::InvalidConfig`](crate::ErrorKind::InvalidConfig).
#[derive(Clone, PartialEq, Eq)]
pub struct InvalidValue(Cow<'static, str>);

impl InvalidValue {
    pub(crate) fn new(why: impl Into<Cow<'static, str>>) -> Self {
        Self(why.into())
    }
}

impl fmt::Display for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Reads like the text: it is what a `main` that returns it shows.
impl fmt::Debug for InvalidValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for InvalidValue {}
