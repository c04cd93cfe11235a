//! How an event came here.

use std::time::Instant;

use super::OddFields;

/// When the read that brought an event returned, which connection it was, and which of the event's fields could not be
/// read.
///
/// Every event in a reader's hands has one, and nearly none has odd fields: for those that have, everything lies behind
/// one pointer, so that the others do not grow. The kind is told by the part of the instant that can never be: the whole
/// is as large as an instant and a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Origin {
    Plain { received: Instant, epoch: u64 },
    Odd(Box<Odd>),
}

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Odd {
    received: Instant,
    epoch: u64,
    fields: OddFields,
}

impl Origin {
    #[inline]
    pub(crate) const fn plain(received: Instant, epoch: u64) -> Self {
        Self::Plain { received, epoch }
    }

    pub(crate) fn new(received: Instant, epoch: u64, fields: OddFields) -> Self {
        if fields.is_empty() {
            return Self::plain(received, epoch);
        }
        Self::Odd(Box::new(Odd {
            received,
            epoch,
            fields,
        }))
    }

    #[inline]
    pub(crate) fn received(&self) -> Instant {
        match self {
            Self::Plain { received, .. } => *received,
            Self::Odd(odd) => odd.received,
        }
    }

    #[inline]
    pub(crate) fn epoch(&self) -> u64 {
        match self {
            Self::Plain { epoch, .. } => *epoch,
            Self::Odd(odd) => odd.epoch,
        }
    }

    pub(crate) fn odd_fields(&self) -> &OddFields {
        const NONE: &OddFields = &OddFields(None);
        match self {
            Self::Plain { .. } => NONE,
            Self::Odd(odd) => &odd.fields,
        }
    }
}
