//! A proxy that the environment names, and that connections do not go through.
//!
//! It is looked for only when a connection did not come about: where nothing but the proxy can be reached, nothing else
//! would say why.

use std::fmt;

use crate::error::Source;

/// Why a connection failed, with what else may be the reason.
pub(super) fn note(error: Source) -> Source {
    match variable() {
        Some(variable) => Source::new(Unused {
            variable,
            error: Some(error),
        }),
        None => error,
    }
}

/// What may be the reason of a connection that does not come about, without an error of its own.
pub(super) fn unused() -> Option<Source> {
    let error = None;
    variable().map(|variable| Source::new(Unused { variable, error }))
}

/// Its value is not looked at: it may hold a password.
fn variable() -> Option<&'static str> {
    let is_set = |name: &&str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    VARIABLES.into_iter().find(is_set)
}

const VARIABLES: [&str; 4] = ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"];

#[derive(Debug)]
struct Unused {
    variable: &'static str,
    error: Option<Source>,
}

impl fmt::Display for Unused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(error) = &self.error {
            write!(f, "{error}; ")?;
        }
        write!(
            f,
            "the environment variable {} is set, and is not used: connections go to the server directly",
            self.variable
        )
    }
}

impl std::error::Error for Unused {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.error.as_ref().and_then(std::error::Error::source)
    }
}
