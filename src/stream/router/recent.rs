//! The events that one subscription was given last, by their ids: what tells a repeat.
//!
//! It belongs to the subscription, and not to a session or a stream: it has to outlive connections, since a venue
//! repeats itself after a reconnect; and what one subscription was given is still news to another that came later.

use std::{
    collections::{HashSet, VecDeque},
    sync::Arc,
};

#[derive(Default)]
pub(super) struct Recent {
    known: HashSet<Arc<str>>,
    oldest_first: VecDeque<Arc<str>>,
}

impl Recent {
    /// Remembers an id, and forgets the oldest where there are too many. Says whether it is new.
    pub(super) fn insert(&mut self, id: &Arc<str>) -> bool {
        let is_new = self.known.insert(Arc::clone(id));
        if is_new {
            self.oldest_first.push_back(Arc::clone(id));
            if self.oldest_first.len() > LIMIT
                && let Some(oldest) = self.oldest_first.pop_front()
            {
                self.known.remove(&oldest);
            }
        }
        is_new
    }
}

/// More open orders than an account has, and some hundred kilobytes.
const LIMIT: usize = 4_096;

#[cfg(test)]
mod tests;
