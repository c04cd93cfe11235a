//! Events on their way from a session to those who want them.

use std::{ops::Deref, time::Instant};

use crate::event::{OddFields, Origin};

/// Events in order, and which fields of which of them could not be read. Derefs to the events.
///
/// Odd fields have a list of their own, which is nearly always empty: every event is copied several times on its way, and
/// a word more in each of them costs several hundredths of the whole.
pub(crate) struct Events<E> {
    stamped: Vec<Stamped<E>>,
    /// Where in the events those with odd fields stand, in order, and which fields these are.
    odd: Vec<(usize, OddFields)>,
}

/// An event, and when the socket read that brought it returned.
pub(crate) struct Stamped<E> {
    pub(crate) event: E,
    pub(crate) received: Instant,
}

impl<E> Events<E> {
    pub(crate) const fn new() -> Self {
        Self {
            stamped: Vec::new(),
            odd: Vec::new(),
        }
    }

    #[inline]
    pub(crate) fn push(&mut self, event: E, received: Instant) {
        self.stamped.push(Stamped { event, received });
    }

    /// The same for an event with odd fields.
    pub(crate) fn push_odd(&mut self, event: E, received: Instant, odd_fields: OddFields) {
        if !odd_fields.is_empty() {
            self.odd.push((self.stamped.len(), odd_fields));
        }
        self.push(event, received);
    }

    /// How many of the events have odd fields.
    pub(crate) fn odd(&self) -> usize {
        self.odd.len()
    }

    /// How the event at this place came here.
    #[inline]
    pub(crate) fn origin(&self, place: usize, epoch: u64) -> Origin {
        let received = self.stamped[place].received;
        if self.odd.is_empty() {
            return Origin::plain(received, epoch);
        }
        Origin::new(received, epoch, self.odd_fields(place))
    }

    #[cold]
    pub(crate) fn odd_fields(&self, place: usize) -> OddFields {
        let found = self.odd.binary_search_by_key(&place, |(place, _)| *place);
        found.map_or_else(|_| OddFields::default(), |at| self.odd[at].1.clone())
    }

    /// Takes the first `count` out.
    pub(crate) fn take_first(&mut self, count: usize) -> Self {
        let behind = self.stamped.split_off(count);
        let odd_before = self.odd.partition_point(|(place, _)| *place < count);
        let mut odd_behind = self.odd.split_off(odd_before);
        for (place, _) in &mut odd_behind {
            *place -= count;
        }
        let behind = Self {
            stamped: behind,
            odd: odd_behind,
        };
        std::mem::replace(self, behind)
    }

    /// Empties it, and keeps its memory.
    pub(crate) fn clear(&mut self) {
        self.stamped.clear();
        self.odd.clear();
    }
}

impl<E> Deref for Events<E> {
    type Target = [Stamped<E>];
    fn deref(&self) -> &[Stamped<E>] {
        &self.stamped
    }
}

#[cfg(test)]
mod tests;
