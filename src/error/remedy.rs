//! What to do about an error.

use std::fmt;

use super::{Error, ProxyFault, RejectionKind};

impl Error {
    /// What a human, or the program, should do.
    #[must_use]
    pub fn remedy(&self) -> Remedy {
        match self {
            Self::InvalidCredentials { .. } | Self::WrongAccount { .. } | Self::Rejected { .. } => {
                Remedy::FixCredentials
            }
            Self::InvalidEndpoint { .. }
            | Self::InvalidTopic { .. }
            | Self::NoTopics { .. }
            | Self::LossyQueue { .. }
            | Self::InvalidConfig { .. }
            | Self::SettingsConflict { .. } => Remedy::FixRequest,
            Self::Closed { .. } | Self::Forked { .. } => Remedy::OpenAgain,
            Self::Tls {
                certificate: true, ..
            } => Remedy::FixRequest,
            Self::Proxy { fault, .. } => match **fault {
                ProxyFault::LoginWanted { .. }
                | ProxyFault::LoginRefused(_)
                | ProxyFault::NotAProxy(_) => Remedy::FixProxy,
                ProxyFault::Forbidden { .. } => Remedy::AllowInProxy,
                ProxyFault::Unresolved
                | ProxyFault::Unreachable
                | ProxyFault::Silent
                | ProxyFault::Ended
                | ProxyFault::VenueUnreachable { .. }
                | ProxyFault::Failed(_) => Remedy::RetryLater,
            },
            Self::Upgrade {
                kind: RejectionKind::BadRequest,
                status: 401 | 403 | 407,
                ..
            } => Remedy::CheckNetwork,
            Self::Upgrade { kind, .. } => Remedy::of(*kind),
            Self::NotEntitled { .. } => Remedy::ChangePlan,
            Self::Refused { rejection, .. } => Remedy::of(rejection.kind),
            Self::OverBudget { .. } | Self::Displaced { .. } => Remedy::ReduceSymbols,
            Self::ConnectionLimit { .. } | Self::Evicted { .. } => Remedy::CloseOthers,
            Self::Missed { remedy, .. } => *remedy,
            Self::Overflow { .. } => Remedy::ReadFaster,
            Self::Panicked { .. } => Remedy::ReportBug,
            Self::GaveUp { cause, .. }
            | Self::TimedOut {
                cause: Some(cause), ..
            }
            | Self::NoPrice {
                cause: Some(cause), ..
            } => cause.remedy(),
            Self::Draining { .. }
            | Self::TimedOut { .. }
            | Self::Unresolved { .. }
            | Self::Unreachable { .. }
            | Self::Tls { .. }
            | Self::Protocol { .. }
            | Self::Lost { .. }
            | Self::Mute { .. }
            | Self::HeldBack { .. }
            | Self::NotFresh { .. }
            | Self::NoPrice { .. }
            | Self::StillShared { .. }
            | Self::Spawn { .. } => Remedy::RetryLater,
        }
    }

    /// Whether doing the same again, later, can help.
    #[must_use]
    pub fn is_retryable(&self) -> bool {
        matches!(self.remedy(), Remedy::RetryLater | Remedy::CloseOthers)
    }
}

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

impl Remedy {
    fn of(kind: RejectionKind) -> Self {
        match kind {
            RejectionKind::Credentials => Self::FixCredentials,
            RejectionKind::Entitlement => Self::ChangePlan,
            RejectionKind::ConnectionLimit | RejectionKind::Evicted => Self::CloseOthers,
            RejectionKind::SymbolLimit => Self::ReduceSymbols,
            RejectionKind::BadRequest => Self::FixRequest,
            RejectionKind::SlowClient => Self::ReadFaster,
            RejectionKind::Temporary => Self::RetryLater,
        }
    }
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
