//! How many symbols one connection may carry, what counts against that, and who holds them. Values; what keeps to them
//! is not known here.

use std::{fmt, str::FromStr};

use crate::{correlation::CorrelationId, invalid::InvalidValue, plural::Plural};

/// A plan's limit on what one connection may be subscribed to, which a stream keeps to by itself.
///
/// Topics that are shared count once. `*` is no symbol and is not counted: whether the plan grants it is the venue's to
/// say. When the budget is full, a subscription of a higher
/// [priority](crate::Topics::priority) displaces the lowest: whose topics those were is told by
/// [`Notice::Displaced`](crate::Notice::Displaced), and gets them back, with a
/// [`Notice::Confirmed`](crate::Notice::Confirmed), when room appears. Anybody else is refused with
/// [`ErrorKind::OverBudget`](crate::ErrorKind::OverBudget), which names the holders, and is asked for as well when there is
/// room. Nobody is displaced in silence.
///
/// A limit that the venue enforces and that is not the one given here is learned from its refusals, whose words are in
/// the error then. It is never lower than what the venue confirmed, and is forgotten after ten minutes, and with the
/// connection: another may be under another plan.
///
/// # Examples
/// ```
/// use trunkline::{Counts, SymbolBudget, alpaca::{self, Feed}};
/// let paid = alpaca::stocks(Feed::Iex).symbol_budget(Some(SymbolBudget::of(200)));
/// let pairs = alpaca::stocks(Feed::Iex).symbol_budget(Some(SymbolBudget::of(30).counting(Counts::Topics)));
/// assert_eq!(SymbolBudget::of(30).to_string(), "30 symbols");
/// # let _ = (paid, pairs);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SymbolBudget {
    limit: Option<usize>,
    counts: Counts,
}

impl SymbolBudget {
    /// Nothing is known until the venue refuses for a limit: then it is found out which.
    #[must_use]
    pub const fn learned() -> Self {
        Self {
            limit: None,
            counts: Counts::Symbols,
        }
    }

    /// So many.
    #[must_use]
    pub const fn of(limit: usize) -> Self {
        Self {
            limit: Some(limit),
            counts: Counts::Symbols,
        }
    }

    /// Counts these. By default symbols; a venue that refuses a further channel of symbols that count already is taken
    /// to count topics.
    #[must_use]
    pub const fn counting(self, counts: Counts) -> Self {
        Self { counts, ..self }
    }

    pub(crate) const fn limit(self) -> Option<usize> {
        self.limit
    }

    pub(crate) const fn counts(self) -> Counts {
        self.counts
    }
}

impl fmt::Display for SymbolBudget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{limit} {}", self.counts),
            None => write!(f, "learned {}", self.counts),
        }
    }
}

/// What a venue counts against its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Serialize),
    serde(rename_all = "snake_case")
)]
pub enum Counts {
    /// Symbols, on however many channels.
    #[default]
    Symbols,
    /// Topics: pairs of a channel and a symbol.
    Topics,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Symbols => "symbols",
            Self::Topics => "topics",
        })
    }
}

impl Counts {
    /// So many of them.
    pub(crate) fn number(self, number: usize) -> String {
        let one = match self {
            Self::Symbols => "symbol",
            Self::Topics => "topic",
        };
        Plural::of(number, one).to_string()
    }
}

impl FromStr for Counts {
    type Err = InvalidValue;

    fn from_str(name: &str) -> Result<Self, InvalidValue> {
        [Self::Symbols, Self::Topics]
            .into_iter()
            .find(|counts| counts.to_string() == name)
            .ok_or_else(|| {
                InvalidValue::new(format!(
                    "`{}` is nothing to count: symbols or topics",
                    name.escape_debug()
                ))
            })
    }
}

/// How much of a stream's budget is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[non_exhaustive]
pub struct BudgetUse {
    /// What the venue sends, or was asked for.
    pub used: usize,
    /// The limit: given, or learned on this connection.
    pub limit: Option<usize>,
    /// What is counted.
    pub counts: Counts,
}

impl fmt::Display for BudgetUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.limit {
            Some(limit) => write!(f, "{} of {}", self.used, self.counts.number(limit)),
            None => write!(
                f,
                "{} in use, plan's limit unknown",
                self.counts.number(self.used)
            ),
        }
    }
}

/// A subscription that holds a part of a full budget.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct BudgetHolder {
    /// Whose it is, if that has a name.
    pub correlation: Option<CorrelationId>,
    /// Its priority.
    pub priority: i32,
    /// How much it holds, alone or with others.
    pub holds: usize,
}

impl fmt::Display for BudgetHolder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = named(self.correlation.as_ref());
        write!(f, "{name} ({}, priority {})", self.holds, self.priority)
    }
}

pub(crate) fn named(correlation: Option<&CorrelationId>) -> &str {
    correlation.map_or("somebody without a correlation id", CorrelationId::as_str)
}

/// Holders for a reader: the first few, and how many more.
pub(crate) fn list(holders: &[BudgetHolder]) -> String {
    const SHOWN: usize = 8;
    if holders.is_empty() {
        return "nobody".to_owned();
    }
    let mut text = holders
        .iter()
        .take(SHOWN)
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(", ");
    if holders.len() > SHOWN {
        text.push_str(&format!(" and {} more", holders.len() - SHOWN));
    }
    text
}

#[cfg(test)]
mod tests;
