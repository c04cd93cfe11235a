//! News.

use std::{fmt, sync::Arc};

use super::{Code, Symbol, Timestamp};

/// A news article, or a new version of one that was sent before: `id` is the same then.
///
/// Texts are as the venue sends them, with whatever entities its HTML has. Cheap to clone, however long they are.
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct News {
    /// The article's id. Nothing where the venue wrote none that could be read.
    pub id: Option<i64>,
    /// The headline.
    pub headline: Arc<str>,
    /// A summary. May be empty.
    pub summary: Arc<str>,
    /// Who wrote it. May be empty.
    pub author: Arc<str>,
    /// When it was first published.
    pub created_at: Timestamp,
    /// When this version was. Nothing where the venue wrote no time that could be read.
    pub updated_at: Option<Timestamp>,
    /// Where it can be read.
    pub url: Arc<str>,
    /// The article as HTML. Can be very long, and may be empty.
    pub content: Arc<str>,
    /// What it is about. General news names no symbol, and reaches those who asked for all (`*`).
    pub symbols: Arc<[Symbol]>,
    /// Who published it.
    pub source: Code,
}

impl fmt::Display for News {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(f, "news #{id}")?,
            None => f.write_str("news")?,
        }
        for symbol in &*self.symbols {
            write!(f, " {symbol}")?;
        }
        let at = self.updated_at.unwrap_or(self.created_at);
        write!(f, ": {} at {at}", self.headline)
    }
}
