//! Correlation ids: whose operation it was, although the stream is shared. A value; what carries it is not known here.

use std::{
    fmt::{self, Write as _},
    sync::Arc,
};

/// The id of a scope, given by `correlated` on a [`Manager`](crate::Manager), a [`StreamHandle`](crate::StreamHandle)
/// or [`Topics`](crate::Topics): the name of an order, a request or a strategy.
///
/// It is on the errors and log records that the scope's operations cause, and on everything that its subscriptions
/// receive besides events. Scopes inherit: from manager to handle to subscription, and the narrowest that has an id
/// wins.
///
/// Giving one cannot fail. The text is cut to 64 characters, and white space around it goes; characters that could
/// forge or garble a log line (control, line breaks, text direction) become `_`. Where nothing is left, the scope keeps
/// the id that it inherits. It is shown wherever the scope is: never put a secret in it.
///
/// # Examples
/// ```
/// use trunkline::{Manager, sim::{Sim, SimConfig}};
/// let sim = Sim::start(SimConfig::default())?;
/// let manager = Manager::new().correlated("bot-1");
/// let feed = manager.open(&sim.stocks(), &sim.credentials())?;
/// let order = feed.correlated(format_args!("order-{}", 7));
/// assert_eq!(feed.correlation(), Some("bot-1"));
/// assert_eq!(order.correlation(), Some("order-7"));
/// # Ok::<(), trunkline::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CorrelationId(Arc<str>);

impl CorrelationId {
    /// The id that `text` gives, if anything is left of it.
    pub(crate) fn of(text: impl fmt::Display) -> Option<Self> {
        let mut start = Start::default();
        // An error says that it is long enough, or comes from the caller's own `Display`: what is there is the id.
        let _ = write!(start, "{text}");
        let shown = |character| if garbles(character) { '_' } else { character };
        let id: String = start.text.trim_end().chars().map(shown).collect();
        (!id.is_empty()).then(|| Self(id.into()))
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for CorrelationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

#[cfg(feature = "serde")]
impl serde::Serialize for CorrelationId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// How texts say an id: ` (correlation order-7)`, or nothing.
pub(crate) struct Note<'a>(pub(crate) Option<&'a CorrelationId>);

impl fmt::Display for Note<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.map_or(Ok(()), |id| write!(f, " (correlation {id})"))
    }
}

/// Takes in as much of a text as an id can have, so that no `Display` can make it long.
#[derive(Default)]
struct Start {
    text: String,
    characters: usize,
    /// Pieces and characters that came, those that are left out included.
    taken: usize,
}

impl fmt::Write for Start {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.taken += 1;
        for character in text.chars() {
            self.taken += 1;
            if self.text.is_empty() && character.is_whitespace() {
                continue;
            }
            if self.characters == MAX_CHARACTERS {
                return Err(fmt::Error);
            }
            self.characters += 1;
            self.text.push(character);
        }
        if self.taken > MAX_TAKEN {
            return Err(fmt::Error);
        }
        Ok(())
    }
}

/// Whether a log viewer may take it for something else than a character: a break, a command, a change of direction, or
/// nothing at all.
fn garbles(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

const MAX_CHARACTERS: usize = 64;
/// White space in front, and pieces without text, are left out; a text of nothing else has an end here.
const MAX_TAKEN: usize = 4_096;

#[cfg(test)]
mod tests;
