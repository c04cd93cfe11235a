//! Numbers of things in words.

use std::fmt;

/// So many of these: "1 lease", "3 leases". For words whose plural ends in "s".
pub(crate) struct Plural(pub(crate) u64, pub(crate) &'static str);

impl Plural {
    pub(crate) fn of(number: usize, what: &'static str) -> Self {
        Self(u64::try_from(number).unwrap_or(u64::MAX), what)
    }
}

impl fmt::Display for Plural {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ending = if self.0 == 1 { "" } else { "s" };
        write!(f, "{} {}{ending}", self.0, self.1)
    }
}
