//! What to do about an error.

use std::fmt;

macro_rules! remedies {
    ($($name:ident $text:literal)+) => {
        /// What to do about an error: for programs. What a human does is [`Error::advice`](crate::Error::advice).
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Remedy {
            $(#[doc = concat!($text, ".")] $name,)+
        }

        impl fmt::Display for Remedy {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$name => $text,)+
                })
            }
        }
    };
}

remedies! {
    RetryLater "try again later, as streams do by themselves"
    OpenAgain "open the stream again"
    FixCredentials "use other credentials"
    CheckNetwork "look for a proxy, a firewall or a wrong host between here and the venue"
    FixProxy "correct the proxy's address, user or password: in the environment, or in `Config::proxy`"
    AllowInProxy "have the proxy let the venue's host and port through, or go without it (`NO_PROXY`)"
    ChangePlan "change the plan, or use a feed that it includes"
    ReduceSymbols "ask for fewer symbols"
    FixRequest "correct what is named here"
    CloseOthers "close the other program that uses this key, or wait until the venue has dropped its dead connection"
    ReadFaster "read faster, or give the queue more room"
    Backfill "ask the venue's REST interface for what is missing, if you need it, then go on reading"
    Reconcile "a fill may be missing: ask the venue's REST interface for open orders and positions, then go on reading"
    ReportBug "report a bug"
}
