//! Faults that the simulator plays by itself, and the script that says which and how often.

use std::{fmt, str::FromStr, time::Duration};

use crate::error::{Error, Result};

/// What goes wrong, and what the client sees of it.
///
/// Some hit a connection that is authenticated, picked at random, and are skipped where there is none. The others wait
/// for the next one that comes into their way, and of each of those kinds one waits at most, so that a script does not
/// lock out every newcomer after a quiet hour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection ends without a close frame.
    Cut,
    /// The connection is reset.
    Reset,
    /// The connection is closed in good order, with this code.
    Close(u16),
    /// An item of an unknown type stands among good ones in the next frame of data.
    Unknown,
    /// A trade whose price is null stands among good ones in the next frame of data.
    Null,
    /// A frame that is no JSON, or no MessagePack.
    Garbage,
    /// A frame of one trade that stops in its middle and does not parse. The trade has no number, so none is missing.
    Truncated,
    /// The connection stays open and gets nothing any more, not even pongs. What the client sends is read.
    Mute,
    /// The connection stays open, pings and requests are answered, and no data comes any more.
    MuteData,
    /// The connection goes silent: nothing is read, nothing is written, and TCP stays as it is until the client ends it.
    /// Its slot is free after [`SimConfig::reap_after`](super::SimConfig::reap_after).
    HalfOpen,
    /// Half a frame, and then a reset, which may overtake it.
    ResetMidFrame,
    /// A frame of a tebibyte is announced, and nothing follows: a client should not wait for it.
    Oversized,
    /// 407, "slow client", and then the end without a close frame.
    SlowClient,
    /// The next 256 bytes come one at a time, each in a write of its own.
    Dribble,
    /// The next 4 KiB come cut at random places, each piece in a write of its own.
    Split,
    /// The next four frames come in one write; what there is of them, when 20 ms have passed.
    Coalesce,
    /// The next reply to a request is sent twice.
    DuplicateAck,
    /// The next reply to a request comes only behind three frames of data that it confirms, or when 50 ms have passed.
    LateAck,
    /// In the next reply to a request, lists without a symbol are nil in place of empty.
    NilLists,
    /// The next reply to a request ends after its first two lists. In MessagePack its header counts all of them, as the
    /// venue's overnight feed does; in JSON the others are missing.
    ShortReply,
    /// The next authentication is answered with 402, "auth failed", as if the key had been revoked. The one after it is
    /// judged as usual.
    Expired,
    /// For so long, each new connection is accepted and reset at once. The client's connect succeeds, because the kernel
    /// accepts; it sees the reset in place of the answer to its upgrade, or before it has looked at its connection.
    Refuse(Duration),
    /// The next upgrade is answered with an HTTP status, and the connection ends.
    Http {
        /// The status, from 300 to 599.
        status: u16,
        /// What `Retry-After` says, in seconds.
        retry_after: Option<u32>,
    },
    /// The next upgrade is never answered.
    StallUpgrade,
    /// The next connection to open gets no welcome, and nothing after it.
    StallWelcome,
}

/// One line of a [`FaultScript`]: what goes wrong, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fault {
    /// What goes wrong.
    pub kind: FaultKind,
    /// How often, give or take a fifth of it.
    pub every: Duration,
}

/// Faults, each with its own period.
///
/// As text: `KIND@PERIOD`, separated by commas. Kinds are `cut`, `reset`, `close:CODE`, `unknown`, `null`, `garbage`,
/// `truncated`, `mute`, `mute-data`, `half-open`, `reset-mid-frame`, `oversized`, `slow-client`, `dribble`, `split`,
/// `coalesce`, `duplicate-ack`, `late-ack`, `nil-lists`, `short-reply`, `expired`, `refuse:TIME` (`refuse` alone is for a second), `http:STATUS`,
/// `http:STATUS/RETRY_AFTER_SECONDS`, `stall-upgrade` and `stall-welcome`; [`FaultKind`] says what they are. Periods and
/// times are whole numbers with `ms`, `s` or `m`. An empty text is an empty script.
///
/// # Examples
/// ```
/// use trunkline::sim::FaultScript;
/// let script: FaultScript = "reset@5s,close:1012@10s,null@500ms".parse()?;
/// assert_eq!(script.to_string(), "reset@5s,close:1012@10s,null@500ms");
/// assert!("explode@5s".parse::<FaultScript>().is_err());
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct FaultScript(Vec<Fault>);

impl Fault {
    /// `kind`, once in every `every`.
    #[must_use]
    pub const fn new(kind: FaultKind, every: Duration) -> Self {
        Self { kind, every }
    }
}

impl FaultScript {
    /// A script of these faults.
    #[must_use]
    pub fn new(faults: impl IntoIterator<Item = Fault>) -> Self {
        Self(faults.into_iter().collect())
    }

    /// The faults, in order.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.0.iter()
    }
}

impl FromStr for FaultScript {
    type Err = Error;

    fn from_str(script: &str) -> Result<Self> {
        if script.trim().is_empty() {
            return Ok(Self::default());
        }
        script
            .split(',')
            .map(|fault| fault.trim().parse())
            .collect::<Result<_>>()
            .map(Self)
    }
}

impl fmt::Display for FaultScript {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (position, fault) in self.0.iter().enumerate() {
            let comma = if position == 0 { "" } else { "," };
            write!(f, "{comma}{fault}")?;
        }
        Ok(())
    }
}

impl FromStr for Fault {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, every) = text
            .split_once('@')
            .ok_or_else(|| invalid(text, "a fault is KIND@PERIOD, such as reset@5s"))?;
        Ok(Self {
            kind: kind.parse()?,
            every: period(every)?,
        })
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.kind, Period(self.every))
    }
}

impl FromStr for FaultKind {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        if let Some(code) = name.strip_prefix("close:") {
            return match code.parse() {
                Ok(code @ 1000..=4999) => Ok(Self::Close(code)),
                _ => Err(invalid(code, "a close code is a number from 1000 to 4999")),
            };
        }
        if let Some(answer) = name.strip_prefix("http:") {
            return http(answer);
        }
        if let Some(time) = name.strip_prefix("refuse:") {
            return period(time).map(Self::Refuse);
        }
        PLAIN
            .iter()
            .find(|(_, plain)| *plain == name)
            .map(|(kind, _)| *kind)
            .ok_or_else(|| {
                let mut kinds: Vec<_> = PLAIN.iter().map(|(_, name)| *name).collect();
                kinds.extend(["close:CODE", "refuse:TIME", "http:STATUS"]);
                let kinds = kinds.join(", ");
                invalid(
                    name,
                    &format!("the kinds of faults are {kinds} and http:STATUS/RETRY_AFTER_SECONDS"),
                )
            })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Close(code) => write!(f, "close:{code}"),
            Self::Http {
                status,
                retry_after: None,
            } => write!(f, "http:{status}"),
            Self::Http {
                status,
                retry_after: Some(seconds),
            } => write!(f, "http:{status}/{seconds}"),
            kind => match (PLAIN.iter().find(|(plain, _)| plain == kind), kind) {
                (Some((_, name)), _) => f.write_str(name),
                (None, Self::Refuse(time)) => write!(f, "refuse:{}", Period(*time)),
                // Every other kind stands in the table, which a test sees to.
                (None, other) => write!(f, "{other:?}"),
            },
        }
    }
}

/// The kinds that need no number, by their names.
const PLAIN: [(FaultKind, &str); 23] = [
    (FaultKind::Cut, "cut"),
    (FaultKind::Reset, "reset"),
    (FaultKind::Unknown, "unknown"),
    (FaultKind::Null, "null"),
    (FaultKind::Garbage, "garbage"),
    (FaultKind::Truncated, "truncated"),
    (FaultKind::Mute, "mute"),
    (FaultKind::MuteData, "mute-data"),
    (FaultKind::HalfOpen, "half-open"),
    (FaultKind::ResetMidFrame, "reset-mid-frame"),
    (FaultKind::Oversized, "oversized"),
    (FaultKind::SlowClient, "slow-client"),
    (FaultKind::Dribble, "dribble"),
    (FaultKind::Split, "split"),
    (FaultKind::Coalesce, "coalesce"),
    (FaultKind::DuplicateAck, "duplicate-ack"),
    (FaultKind::LateAck, "late-ack"),
    (FaultKind::NilLists, "nil-lists"),
    (FaultKind::ShortReply, "short-reply"),
    (FaultKind::Expired, "expired"),
    (FaultKind::Refuse(Duration::from_secs(1)), "refuse"),
    (FaultKind::StallUpgrade, "stall-upgrade"),
    (FaultKind::StallWelcome, "stall-welcome"),
];

/// `STATUS` or `STATUS/RETRY_AFTER_SECONDS`.
fn http(answer: &str) -> Result<FaultKind> {
    let (status, seconds) = match answer.split_once('/') {
        Some((status, seconds)) => (status, Some(seconds.parse())),
        None => (answer, None),
    };
    match (status.parse(), seconds.transpose()) {
        (Ok(status @ 300..=599), Ok(retry_after)) => Ok(FaultKind::Http {
            status,
            retry_after,
        }),
        _ => Err(invalid(
            answer,
            "an HTTP status is a number from 300 to 599, and Retry-After a whole number of seconds: 429/5",
        )),
    }
}

/// A period as text.
struct Period(Duration);

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let millis = self.0.as_millis();
        if millis.is_multiple_of(60_000) {
            write!(f, "{}m", millis / 60_000)
        } else if millis.is_multiple_of(1_000) {
            write!(f, "{}s", millis / 1_000)
        } else {
            write!(f, "{millis}ms")
        }
    }
}

fn period(text: &str) -> Result<Duration> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let millis = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        _ => 0,
    };
    match number.parse::<u32>() {
        // No unit makes zero, too: both are refused together.
        Ok(number) if number > 0 && millis > 0 => {
            Ok(Duration::from_millis(u64::from(number) * millis))
        }
        _ => Err(invalid(
            text,
            "a period is a whole number above 0 with its unit: 500ms, 5s or 1m",
        )),
    }
}

fn invalid(text: &str, allowed: &str) -> Error {
    Error::invalid_config(format!(
        "`{}` in the fault script: {allowed}",
        text.escape_debug()
    ))
}

#[cfg(test)]
mod tests;
