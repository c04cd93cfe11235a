//! What to do about an error.

use std::fmt;

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Remedy {
    /// Try again later; streams do so by themselves.
    RetryLater,
    /// Open the stream again, in the process that uses it.
    OpenAgain,
    /// Use other credentials.
    FixCredentials,
    /// Look for a proxy, a firewall or a wrong host between here and the venue.
    CheckNetwork,
    /// Correct the proxy's address, user or password: in the environment, or in [`Config::proxy`](crate::Config::proxy).
    FixProxy,
    /// Have whoever runs the proxy let the venue's host and port through, or go without it: `NO_PROXY`, or
    /// [`Proxy::Never`](crate::Proxy::Never).
    AllowInProxy,
    /// Use another plan, or a feed that the plan includes.
    ChangePlan,
    /// Subscribe to fewer symbols.
    ReduceSymbols,
    /// Correct the request, the endpoint or the configuration.
    FixRequest,
    /// Find and close the other connection that uses the same key.
    CloseOthers,
    /// Read faster, use a longer queue, or another overflow policy.
    ReadFaster,
    /// Ask the venue's REST interface for what was missed, if it is needed, and go on reading.
    Backfill,
    /// Ask the venue's REST interface for open orders and positions, and go on reading: a fill may have been missed.
    Reconcile,
    /// Report a bug.
    ReportBug,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RetryLater => "retry later",
            Self::OpenAgain => "open the stream again, in the process that uses it",
            Self::FixCredentials => "fix the credentials",
            Self::CheckNetwork => {
                "look for a proxy, a firewall or a wrong host between here and the venue"
            }
            Self::FixProxy => {
                "correct the proxy's address, user or password: in the environment, or in `Config::proxy`"
            }
            Self::AllowInProxy => {
                "have the proxy let the venue's host and port through, or go without it (`NO_PROXY`)"
            }
            Self::ChangePlan => "change the plan, or use a feed that it includes",
            Self::ReduceSymbols => "reduce the number of symbols",
            Self::FixRequest => "correct the request, the endpoint or the configuration",
            Self::CloseOthers => {
                "find and close the other connection that uses this key, or wait until it is reaped"
            }
            Self::ReadFaster => "read faster, use a longer queue, or another overflow policy",
            Self::Backfill => {
                "ask the venue's REST interface for what is missing, if you need it, then go on reading"
            }
            Self::Reconcile => {
                "a fill may be missing: ask the venue's REST interface for open orders and positions, then go on reading"
            }
            Self::ReportBug => "report a bug",
        })
    }
}
