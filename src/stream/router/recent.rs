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
mod tests {
    use super::*;

    #[test]
    fn the_last_ids_are_known_and_older_ones_are_forgotten() {
        let mut recent = Recent::default();
        let id = |number: usize| Arc::from(number.to_string());
        assert!((0..LIMIT).all(|number| recent.insert(&id(number))));
        assert!((0..LIMIT).all(|number| !recent.insert(&id(number))));
        assert!(recent.insert(&id(LIMIT)));
        assert!(!recent.insert(&id(1)), "the second oldest is still there");
        assert!(recent.insert(&id(0)), "the oldest is not");
        assert_eq!(
            (recent.known.len(), recent.oldest_first.len()),
            (LIMIT, LIMIT)
        );
    }
}
