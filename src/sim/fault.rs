//! Faults that the simulator plays by itself, and the script that says which and how often.

use std::{fmt, str::FromStr, time::Duration};

use crate::error::{Error, Result};

/// What goes wrong.
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
    /// A frame that is not JSON.
    Garbage,
    /// The connection stays open and gets nothing any more, not even pongs.
    Mute,
    /// The next connection to open gets no welcome, and nothing after it.
    StallWelcome,
}

/// One line of a [`FaultScript`]: what goes wrong, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Fault {
    /// What goes wrong. It hits one authenticated connection, picked at random.
    pub kind: FaultKind,
    /// How often, give or take a fifth of it.
    pub every: Duration,
}

/// Faults, each with its own period.
///
/// As text: `KIND@PERIOD`, separated by commas. Kinds are `cut`, `reset`, `close:CODE`, `unknown`, `null`, `garbage`,
/// `mute` and `stall-welcome`; periods are whole numbers with `ms`, `s` or `m`. An empty text is an empty script.
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
        let millis = self.every.as_millis();
        if millis.is_multiple_of(60_000) {
            write!(f, "{}@{}m", self.kind, millis / 60_000)
        } else if millis.is_multiple_of(1_000) {
            write!(f, "{}@{}s", self.kind, millis / 1_000)
        } else {
            write!(f, "{}@{millis}ms", self.kind)
        }
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
        Ok(match name {
            "cut" => Self::Cut,
            "reset" => Self::Reset,
            "unknown" => Self::Unknown,
            "null" => Self::Null,
            "garbage" => Self::Garbage,
            "mute" => Self::Mute,
            "stall-welcome" => Self::StallWelcome,
            _ => {
                return Err(invalid(
                    name,
                    "the kinds of faults are cut, reset, close:CODE, unknown, null, garbage, mute and stall-welcome",
                ));
            }
        })
    }
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Cut => "cut",
            Self::Reset => "reset",
            Self::Close(code) => return write!(f, "close:{code}"),
            Self::Unknown => "unknown",
            Self::Null => "null",
            Self::Garbage => "garbage",
            Self::Mute => "mute",
            Self::StallWelcome => "stall-welcome",
        })
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
    Error::InvalidConfig {
        why: format!("`{}` in the fault script: {allowed}", text.escape_debug()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scripts_survive_text() {
        for text in [
            "",
            "reset@5s",
            "reset@5s,close:1012@10s,cut@3s,unknown@1s,null@2s,garbage@4s,mute@20s,stall-welcome@1m,cut@250ms",
        ] {
            assert_eq!(text.parse::<FaultScript>().unwrap().to_string(), text);
        }
        assert_eq!(
            " cut@1s , cut@2s "
                .parse::<FaultScript>()
                .unwrap()
                .to_string(),
            "cut@1s,cut@2s"
        );
    }

    #[test]
    fn bad_scripts_say_what_is_allowed() {
        for (text, hint) in [
            ("reset", "KIND@PERIOD"),
            ("explode@1s", "stall-welcome"),
            ("close@1s", "close:CODE"),
            ("close:99@1s", "1000 to 4999"),
            ("cut@1", "500ms"),
            ("cut@0s", "above 0"),
            ("cut@s", "500ms"),
            ("cut@1s,", "KIND@PERIOD"),
        ] {
            let error = text.parse::<FaultScript>().unwrap_err().to_string();
            assert!(error.contains(hint), "{text}: {error}");
        }
    }
}
