//! What each kind of error is called, says and advises: a row each.

use std::{borrow::Cow, error::Error as StdError, time::Duration};

use super::{At, ErrorKind, ProxyFault, Rejection, RejectionKind};
use crate::{
    phase::{NextAttempt, Phase},
    price::{Lack, NotFresh},
    remedy::Remedy,
    symbol_budget::{self, named},
    topic::Bytes,
};

/// What an error says.
pub(super) struct Words {
    /// Its short, stable name.
    pub(super) code: &'static str,
    /// What went wrong, without its causes.
    pub(super) text: String,
    pub(super) remedy: Remedy,
    /// What to do about just this one. Nothing where the text says it.
    pub(super) advice: Option<Cow<'static, str>>,
}

impl Words {
    fn new(code: &'static str, remedy: Remedy, text: impl Into<String>) -> Self {
        let (text, advice) = (text.into(), None);
        Self {
            code,
            text,
            remedy,
            advice,
        }
    }

    fn advising(self, advice: impl Into<Cow<'static, str>>) -> Self {
        let advice = Some(advice.into());
        Self { advice, ..self }
    }

    /// What to do about an error is what to do about its cause, if it has one.
    fn because_of(self, cause: Option<&super::Error>) -> Self {
        let Some(Self { remedy, advice, .. }) = cause.map(super::Error::words) else {
            return self;
        };
        Self {
            remedy,
            advice,
            ..self
        }
    }
}

impl ErrorKind {
    /// The one table of what is said. A kind that is missing here does not compile.
    pub(super) fn words(&self, at: &At) -> Words {
        use Remedy::{
            ChangePlan, CheckNetwork, CloseOthers, FixCredentials, FixRequest, OpenAgain,
            ReadFaster, ReduceSymbols, ReportBug, RetryLater,
        };
        let phase = at.phase.map_or("none", Phase::name);
        let endpoint = at.stream.as_ref().map(|stream| stream.endpoint());
        let url = endpoint.map_or_else(String::new, |it| it.to_string().replacen("ws", "http", 1));
        let host = endpoint.map_or_else(|| "the host".to_owned(), |it| format!("`{}`", it.host()));
        match self {
            Self::InvalidCredentials { fault } => Words::new(
                "invalid_credentials",
                FixCredentials,
                format!("invalid credentials: {}", fault.why()),
            )
            .advising(fault.advice()),
            Self::InvalidEndpoint { why } => Words::new(
                "invalid_endpoint",
                FixRequest,
                format!("invalid endpoint: {why}"),
            )
            .advising("write `wss://host/path`, or `ws://host:port/path` where there is no TLS"),
            Self::InvalidTopic { topic, why } => Words::new(
                "invalid_topic",
                FixRequest,
                format!("invalid topic {topic}: {why}"),
            ),
            Self::NoTopics => Words::new("no_topics", FixRequest, "no topics were given")
                .advising("name at least one symbol, or `*` for all of them"),
            Self::LossyQueue { overflow } => Words::new(
                "lossy_queue",
                FixRequest,
                format!("no event of this venue may be dropped, which `{overflow}` does"),
            )
            .advising("use `.queue(10_000, Overflow::End)`, or no `.queue(…)` at all"),
            Self::InvalidConfig { why } => Words::new(
                "invalid_config",
                FixRequest,
                format!("invalid configuration: {why}"),
            ),
            Self::WrongAccount { wanted, found } => Words::new(
                "wrong_account",
                FixCredentials,
                format!("this is a {found} key, but a {wanted} account was asked for"),
            )
            .advising(format!(
                "use the key of the {wanted} account, or ask for the {found} account"
            )),
            Self::SettingsConflict { differences } => {
                let differences: Vec<_> = differences.iter().map(ToString::to_string).collect();
                let differences = differences.join(", ");
                Words::new(
                    "settings_conflict",
                    FixRequest,
                    format!("open with other settings already: {differences}"),
                )
                .advising("ask for the settings that it is open with, or close it first: those of the first opener hold")
            }
            Self::Draining { waited } => Words::new(
                "draining",
                RetryLater,
                format!(
                    "the previous connection is still ending (phase {phase}, for {waited:.1?})"
                ),
            )
            .advising("open it again in a moment, or wait longer: `Manager::open_timeout`"),
            Self::TimedOut {
                doing,
                retry_in,
                cause,
            } => {
                let next = retry_in.map_or_else(String::new, |wait| format!(", {}", NextAttempt(wait)));
                let missing = match (cause, at.phase.and_then(Phase::waits_for)) {
                    (None, Some(missing)) => format!(": {missing}"),
                    _ => String::new(),
                };
                Words::new(
                    "timed_out",
                    RetryLater,
                    format!("timed out {doing} (phase {phase}{missing}{next})"),
                )
                .advising("wait again: the stream goes on by itself")
                .because_of(cause.as_ref())
            }
            Self::Rejected { rejection } => Words::new(
                "rejected",
                FixCredentials,
                format!("the venue rejected the credentials: {rejection}"),
            )
            .advising(hint(rejection, "check that key id and secret belong together, are still active, and are of the account that is asked for (paper or live); if in doubt, make a new pair on the venue's page of API keys")),
            Self::NotEntitled { rejection } => Words::new(
                "not_entitled",
                ChangePlan,
                format!("not included in the account's plan: {rejection}"),
            )
            .advising(hint(rejection, "ask for a feed that the plan includes, or change the plan on the venue's website")),
            Self::ConnectionLimit { rejection } => Words::new(
                "connection_limit",
                CloseOthers,
                format!("{rejection}: another process uses this key, or one that died still counts"),
            )
            .advising(hint(rejection, "close the other program that uses this key, or wait until the venue has dropped its dead connection: the stream tries again by itself")),
            Self::Evicted { rejection } => Words::new(
                "evicted",
                CloseOthers,
                format!("{rejection}: a newcomer took the line, perhaps another program with this key, here or on another machine"),
            )
            .advising(hint(rejection, "close the other program, or give it a key of its own: the stream comes back by itself")),
            Self::Refused { rejection } => {
                let remedy = rejection.kind.remedy();
                let advice = match rejection.advice() {
                    Some(advice) => advice.into(),
                    None => Cow::from(remedy.to_string()),
                };
                Words::new("refused", remedy, format!("request refused: {rejection}"))
                    .advising(advice)
            }
            Self::OverBudget {
                limit,
                counts,
                holders,
                said,
            } => {
                let holders = symbol_budget::list(holders);
                let said = said.as_ref().map_or_else(String::new, |said| format!("; the venue said: {said}"));
                Words::new(
                    "over_budget",
                    ReduceSymbols,
                    format!("refused: the plan allows {} on a connection, and all are in use: {holders}{said}", counts.number(*limit)),
                )
                .advising("ask for fewer symbols, or give those that matter a higher priority: `.priority(1)`")
            }
            Self::Displaced { by, priority } => Words::new(
                "displaced",
                ReduceSymbols,
                format!("displaced by {}, whose priority is {priority}", named(by.as_ref())),
            )
            .advising(format!(
                "ask for fewer symbols, or give this subscription a priority above {priority}; its topics come back when there is room"
            )),
            Self::Unresolved { .. } => Words::new(
                "unresolved",
                RetryLater,
                "cannot resolve the host name",
            )
            .advising(format!("check the spelling of {host}, and that this machine has a network and a DNS server")),
            Self::Unreachable { .. } => Words::new(
                "unreachable",
                RetryLater,
                format!("cannot connect (phase {phase})"),
            )
            .advising(format!("check that {host} and the port are right, that a server listens there, and that no firewall is in between")),
            Self::Proxy { proxy, fault, .. } => {
                let (remedy, advice) = proxy_advice(fault, proxy);
                Words::new("proxy", remedy, format!("the proxy {proxy} {fault}")).advising(advice)
            }
            Self::Tls { why, certificate } => {
                let words = Words::new(
                    "tls",
                    if *certificate { FixRequest } else { RetryLater },
                    format!("TLS failed: {why}"),
                );
                words.advising(if *certificate {
                    format!("check that {host} is the host that was meant, and this machine's clock (`date -u`); if a proxy or an authority of your own signs, set `Config::roots` to `Roots::Platform`, or add its certificate to `Config::extra_roots`")
                } else {
                    format!("check the port of {host}, and whether it is `ws://`; the stream tries again by itself")
                })
            }
            Self::Upgrade {
                status,
                kind,
                retry_after,
                location,
            } => {
                let location = location.as_ref().map_or_else(String::new, |location| {
                    format!(", a redirect to {location}, which is not followed")
                });
                let wait = retry_after_note(*retry_after);
                // The upgrade says nothing of who asks, so it is not that which was refused, unless the venue means
                // something else by it.
                let is_network = matches!((kind, status), (RejectionKind::BadRequest, 401 | 403 | 407));
                let network = if is_network {
                    ": no credentials were sent yet, so a proxy, a firewall or a wrong host says this"
                } else {
                    ""
                };
                let words = Words::new(
                    "upgrade",
                    if is_network { CheckNetwork } else { kind.remedy() },
                    format!("the server answered the WebSocket upgrade with HTTP {status}{location}{wait}{network}"),
                );
                let path = endpoint.map_or("", |it| it.path());
                match (kind, status) {
                    _ if is_network => words.advising(format!(
                        "see who answers (`curl -v {url}`): look for a proxy, a firewall or a VPN, and for a wrong host in the endpoint"
                    )),
                    (RejectionKind::BadRequest, 300..400) => words.advising(
                        "if that is the venue's new address, open it instead; if not, a proxy or a login page answers here",
                    ),
                    (RejectionKind::BadRequest, 404 | 410) => words.advising(format!(
                        "check the endpoint's path `{path}`: {host} has nothing there"
                    )),
                    (RejectionKind::BadRequest, _) => words.advising(format!(
                        "check the endpoint's host and path: a web server answers at {host}, and no WebSocket at `{path}`"
                    )),
                    _ => {
                        let advice = words.remedy.to_string();
                        words.advising(advice)
                    }
                }
            }
            Self::Protocol { why } => Words::new(
                "protocol",
                RetryLater,
                format!("protocol error (phase {phase}): {why}"),
            )
            .advising(match at.phase {
                Some(Phase::Upgrading) => format!("check the port of {host}: what answers there may be no WebSocket server"),
                _ => "nothing at once: the stream connects again by itself; if it goes on, report it to the venue".to_owned(),
            }),
            Self::Lost { why, .. } => Words::new(
                "lost",
                RetryLater,
                format!("connection lost (phase {phase}): {why}"),
            )
            .advising("nothing: the stream connects again by itself"),
            Self::Mute => Words::new(
                "mute",
                RetryLater,
                "mute: nothing of what is expected came, although the line answers",
            )
            .advising("nothing: the stream connects again by itself; where quiet is normal, say how much: `Topics::expect_within`"),
            Self::HeldBack { failures, .. } => Words::new(
                "held_back",
                RetryLater,
                format!("held back: this process failed {failures} times at this host of late"),
            )
            .advising("nothing: the stream tries by itself; see the cause for what fails"),
            Self::GaveUp { failures, cause } => Words::new(
                "gave_up",
                RetryLater,
                format!("given up after {}", times(*failures)),
            )
            .because_of(Some(cause)),
            Self::Closed => Words::new(
                "closed",
                OpenAgain,
                "closed in this process, by its last handle or by a shutdown",
            )
            .advising("open it again: `Manager::open`"),
            Self::NotFresh { missing } => {
                let text = match &missing.lack {
                    // Which is the cause.
                    Lack::Refused(_) => {
                        format!("nothing fresh of {}: the venue refused it", missing.symbol)
                    }
                    _ => missing.to_string(),
                };
                Words::new("not_fresh", RetryLater, text).lacking(missing)
            }
            Self::NoPrice {
                missing,
                obstacle,
                cause,
            } => Words::new(
                "no_price",
                RetryLater,
                format!("timed out waiting for a price: {missing}; {obstacle} (phase {phase})"),
            )
            .lacking(missing)
            .because_of(cause.as_ref()),
            Self::StillShared { leases } => {
                let others = match leases {
                    1 => "1 other handle or subscription".to_owned(),
                    _ => format!("{leases} other handles or subscriptions"),
                };
                Words::new("still_shared", FixRequest, format!("still shared by {others}"))
                    .advising("drop those first, or end the stream for all of them: `Manager::shutdown`")
            }
            Self::Missed {
                missed,
                since,
                remedy,
                ..
            } => {
                let since = since.map_or_else(String::new, |since| format!(" since {since}"));
                Words::new("missed", *remedy, format!("events may be missing{since}: {missed}"))
                    .advising(remedy.to_string())
            }
            Self::Overflow {
                capacity,
                capacity_bytes,
            } => Words::new(
                "overflow",
                ReadFaster,
                format!("the consumer was too slow for its queue of {capacity} and {}, whose policy is to end", Bytes(*capacity_bytes)),
            )
            .advising(format!(
                "read faster, or give the queue more room: `.queue({}, Overflow::End)`",
                capacity.saturating_mul(4)
            )),
            Self::Spawn { .. } => Words::new("spawn", RetryLater, "cannot start the stream's thread")
                .advising("look at this machine's limits of threads, open files and memory (`ulimit -a`)"),
            Self::Forked => Words::new(
                "forked",
                OpenAgain,
                "belongs to the parent of this forked process",
            )
            .advising("open the stream after the fork, in the process that uses it"),
            Self::Panicked { message } => Words::new(
                "panicked",
                ReportBug,
                format!("the stream's thread panicked (phase {phase}): {message}"),
            )
            .advising("find the line on stderr, with `RUST_BACKTRACE=1`; report it to whoever wrote the code there"),
        }
    }

    /// The error that led to this one.
    pub(super) fn cause(&self) -> Option<&(dyn StdError + 'static)> {
        match self {
            Self::Unresolved { source } | Self::Unreachable { source } | Self::Spawn { source } => {
                Some(source)
            }
            Self::Proxy { source, .. } | Self::Lost { source, .. } => {
                source.as_ref().map(|source| source as _)
            }
            Self::HeldBack { cause, .. } | Self::GaveUp { cause, .. } => Some(cause),
            Self::TimedOut { cause, .. }
            | Self::NoPrice { cause, .. }
            | Self::Missed { cause, .. } => cause.as_ref().map(|cause| cause as _),
            Self::NotFresh { missing } => match &missing.lack {
                Lack::Refused(refusal) => Some(refusal.get()),
                _ => None,
            },
            _ => None,
        }
    }
}

impl Words {
    /// What to do about a price that is missing.
    fn lacking(self, missing: &NotFresh) -> Self {
        match &missing.lack {
            Lack::NotInBook => Self {
                remedy: Remedy::FixRequest,
                ..self.advising(format!(
                    "add it to the book first: `book.add([\"{}\"])`",
                    missing.symbol
                ))
            },
            Lack::Refused(refusal) => self.because_of(refusal.get().downcast_ref()),
            _ => self.advising("ask again later, or wait for it: the book goes on by itself"),
        }
    }
}

/// What the venue's session knows to do, or else what can be said of any venue.
fn hint(rejection: &Rejection, otherwise: &'static str) -> &'static str {
    rejection.advice().unwrap_or(otherwise)
}

fn proxy_advice(fault: &ProxyFault, proxy: &str) -> (Remedy, Cow<'static, str>) {
    match fault {
        ProxyFault::LoginWanted { .. } if !fault.speaks_login() => (
            Remedy::FixProxy,
            "name such a helper as the proxy, or go without one: put the host into `NO_PROXY`, or set `Config::proxy` to `Proxy::Never`".into(),
        ),
        ProxyFault::LoginWanted { .. } | ProxyFault::LoginRefused(_) => (
            Remedy::FixProxy,
            "write user and password into the proxy's URL, `http://user:password@host:port`, or use `ProxyServer::login`; ask whoever runs the proxy for them".into(),
        ),
        ProxyFault::NotAProxy(_) => (
            Remedy::FixProxy,
            format!("correct the address of the proxy where it is set: {proxy}").into(),
        ),
        ProxyFault::Forbidden { venue, .. } => (
            Remedy::AllowInProxy,
            format!("have whoever runs the proxy allow `CONNECT {venue}`, or go without it: put the host into `NO_PROXY`, or set `Config::proxy` to `Proxy::Never`").into(),
        ),
        ProxyFault::VenueUnreachable { .. } => (
            Remedy::RetryLater,
            "nothing: the stream tries again by itself; if it goes on, ask whoever runs the proxy".into(),
        ),
        ProxyFault::Unresolved
        | ProxyFault::Unreachable
        | ProxyFault::Silent
        | ProxyFault::Ended
        | ProxyFault::Failed(_) => (
            Remedy::RetryLater,
            format!("check the address of the proxy and whether it runs: {proxy}; the stream tries again by itself").into(),
        ),
    }
}

fn times(failures: u32) -> String {
    match failures {
        1 => "1 failure".to_owned(),
        _ => format!("{failures} failures in a row"),
    }
}

pub(super) fn retry_after_note(retry_after: Option<Duration>) -> String {
    retry_after.map_or_else(String::new, |wait| {
        format!(", to be retried after {wait:.0?}")
    })
}
