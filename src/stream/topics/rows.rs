//! The rows of the table: what each subscription wants. Callers write them, and the stream's thread takes over what they changed.

use std::{cmp::Reverse, collections::HashMap};

use super::{
    Confirmation, SubscriptionId, TableNews, TopicTable, Wanted,
    state::{Cause, ReaderWorth, Upstream},
};
use crate::{correlation::CorrelationId, error::Error, topic::Topic};

/// What a reader was told last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    Nothing,
    Confirmed,
    /// A gap was declared, and its end was not.
    Lost,
    Refused(Cause),
    Displaced,
}

/// One topic of one subscription. It exists until it is neither wanted nor read.
pub(super) struct Row {
    pub(super) wanted: bool,
    /// Given up and wanted again before the stream's thread looked: the reader begins anew.
    pub(super) rejoined: bool,
    /// Refused, and wanted anew.
    pub(super) anew: bool,
    pub(super) builds: bool,
    /// Its place among the topic's readers.
    pub(super) seat: Option<ReaderWorth>,
    pub(super) told: Told,
    /// Why it was refused or displaced.
    pub(super) why: Option<Error>,
}

impl Row {
    pub(super) fn is_unsettled(&self) -> bool {
        self.wanted && (self.rejoined || matches!(self.told, Told::Nothing | Told::Lost))
    }

    pub(super) fn has_failed(&self) -> bool {
        self.wanted && !self.rejoined && matches!(self.told, Told::Refused(_) | Told::Displaced)
    }
}

pub(super) struct Subscriber {
    pub(super) correlation: Option<CorrelationId>,
    pub(super) priority: i32,
    pub(super) dropped: bool,
    pub(super) rows: HashMap<Topic, Row>,
    pub(super) wanted: usize,
    /// Rows that are wanted and have no answer.
    pub(super) unsettled: usize,
    /// Rows that are wanted and were refused or displaced.
    pub(super) failed: usize,
    /// A gap was declared, and its end was not.
    pub(super) broken: bool,
    /// The number of the last news that concerned it.
    pub(super) news: u64,
}

impl Subscriber {
    /// Changes a row, and counts what it is afterwards.
    pub(super) fn change<R>(
        &mut self,
        topic: &Topic,
        change: impl FnOnce(&mut Row) -> R,
    ) -> Option<R> {
        let row = self.rows.get_mut(topic)?;
        let counted =
            |row: &Row| [row.wanted, row.is_unsettled(), row.has_failed()].map(usize::from);
        let before = counted(row);
        let result = change(row);
        let after = counted(row);
        let counts = [&mut self.wanted, &mut self.unsettled, &mut self.failed];
        for ((count, before), after) in counts.into_iter().zip(before).zip(after) {
            *count = *count + after - before;
        }
        Some(result)
    }
}

/// For callers. They write what is wanted, and nothing else.
impl TopicTable {
    pub(crate) fn subscribe(
        &mut self,
        id: SubscriptionId,
        priority: i32,
        correlation: Option<CorrelationId>,
        topics: Vec<Wanted>,
    ) {
        let subscription = Subscriber {
            correlation,
            priority,
            dropped: false,
            rows: HashMap::new(),
            wanted: 0,
            unsettled: 0,
            failed: 0,
            broken: false,
            news: 0,
        };
        self.subscriptions.insert(id, subscription);
        self.add(id, topics);
    }

    /// Adds topics, and asks anew for those of the subscription that were refused.
    pub(crate) fn add(&mut self, id: SubscriptionId, topics: Vec<Wanted>) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        for Wanted { topic, builds } in topics {
            subscription.rows.entry(topic.clone()).or_insert(Row {
                wanted: false,
                rejoined: false,
                anew: false,
                builds,
                seat: None,
                told: Told::Nothing,
                why: None,
            });
            let is_new = subscription.change(&topic, |row| {
                let is_new = !std::mem::replace(&mut row.wanted, true);
                row.rejoined |= is_new && row.seat.is_some();
                is_new
            });
            if is_new == Some(true) {
                self.changed.insert((id, topic));
            }
        }
        self.ask_anew(id);
    }

    pub(crate) fn remove(&mut self, id: SubscriptionId, topics: &[Topic]) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        for topic in topics {
            let was_wanted =
                subscription.change(topic, |row| std::mem::replace(&mut row.wanted, false));
            if was_wanted == Some(true) {
                self.changed.insert((id, topic.clone()));
            }
        }
        self.ask_anew(id);
    }

    pub(crate) fn unsubscribe(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        subscription.dropped = true;
        let topics: Vec<Topic> = subscription.rows.keys().cloned().collect();
        self.remove(id, &topics);
        if topics.is_empty() {
            self.forget(id);
        }
    }

    /// What was refused is wanted anew: something may have made room, or the venue may have changed its mind.
    pub(super) fn ask_anew(&mut self, id: SubscriptionId) {
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        if subscription.failed == 0 {
            return;
        }
        let refused = subscription.rows.iter();
        let refused = refused.filter(|(_, row)| matches!(row.told, Told::Refused(_)) && row.wanted);
        let topics: Vec<Topic> = refused.map(|(topic, _)| topic.clone()).collect();
        for topic in topics {
            subscription.change(&topic, |row| {
                row.anew = true;
                row.told = Told::Nothing;
            });
            self.changed.insert((id, topic));
        }
    }

    pub(super) fn forget(&mut self, id: SubscriptionId) {
        self.full.take();
        self.subscriptions.remove(&id);
        self.broken.remove(&id);
    }

    /// Whether a subscription sees every event of all that it wants, from here on.
    pub(crate) fn confirmation(&self, id: SubscriptionId) -> Confirmation {
        let Some(subscription) = self.subscriptions.get(&id) else {
            return Confirmation::Pending;
        };
        if subscription.failed > 0 {
            let failed = subscription.rows.iter().filter(|(_, row)| row.has_failed());
            let first = failed.min_by_key(|(topic, _)| *topic);
            if let Some((topic, Some(error))) = first.map(|(topic, row)| (topic, &row.why)) {
                let error = error.clone().about(std::slice::from_ref(topic));
                return Confirmation::Failed(error);
            }
        }
        // What the stream's thread has decided and not told yet is not so yet.
        if subscription.unsettled > 0 || subscription.news > self.reached {
            return Confirmation::Pending;
        }
        Confirmation::Confirmed
    }

    /// How many topics of a subscription are confirmed, and how many have no answer.
    pub(crate) fn counts(&self, id: SubscriptionId) -> (usize, usize) {
        self.subscriptions.get(&id).map_or((0, 0), |subscription| {
            let answered = subscription.unsettled + subscription.failed;
            (subscription.wanted - answered, subscription.unsettled)
        })
    }

    /// What a subscription wants, sorted.
    pub(crate) fn wanted_by(&self, id: SubscriptionId) -> Vec<Topic> {
        let rows = self
            .subscriptions
            .get(&id)
            .map(|subscription| &subscription.rows);
        let wanted = rows.into_iter().flatten().filter(|(_, row)| row.wanted);
        let mut topics: Vec<Topic> = wanted.map(|(topic, _)| topic.clone()).collect();
        topics.sort_unstable();
        topics
    }

    /// Whether one topic of a subscription was refused, or displaced, and was not asked for anew since.
    pub(crate) fn is_refused(&self, id: SubscriptionId, topic: &Topic) -> bool {
        let rows = self
            .subscriptions
            .get(&id)
            .map(|subscription| &subscription.rows);
        rows.and_then(|rows| rows.get(topic))
            .is_some_and(Row::has_failed)
    }
}

/// For the stream's thread, which takes over what callers have changed.
impl TopicTable {
    /// Takes over what callers have changed.
    pub(crate) fn take_over(&mut self) {
        for (id, topic) in std::mem::take(&mut self.changed) {
            self.take_over_row(id, topic);
        }
    }

    pub(super) fn take_over_row(&mut self, id: SubscriptionId, topic: Topic) {
        let Some(row) = self.row(id, &topic) else {
            return;
        };
        let (wanted, rejoined) = (row.wanted, row.rejoined);
        if !wanted || rejoined {
            self.leave(id, &topic);
        }
        let Some(subscription) = self.subscriptions.get_mut(&id) else {
            return;
        };
        if !wanted {
            subscription.rows.remove(&topic);
            if subscription.dropped && subscription.rows.is_empty() {
                self.forget(id);
            }
            return self.refile(&topic);
        }
        let priority = subscription.priority;
        let taken = subscription.change(&topic, |row| {
            row.rejoined = false;
            (
                row.seat,
                std::mem::replace(&mut row.anew, false),
                row.builds,
            )
        });
        let Some((seat, anew, builds)) = taken else {
            return;
        };
        if seat.is_none() {
            self.arrivals += 1;
            let seat = ReaderWorth {
                priority,
                seniority: Reverse(self.arrivals),
            };
            if let Some(row) = self.row(id, &topic) {
                row.seat = Some(seat);
            }
            let entry = self.entry(&topic);
            entry.builds |= builds;
            entry.readers.push((seat, id));
            self.announce(Some(id), TableNews::Joined(id, topic.clone()));
            self.join(id, &topic);
        } else if anew {
            self.asked_anew(&topic);
            self.tell(id, &topic);
        }
        self.refile(&topic);
    }

    pub(super) fn row(&mut self, id: SubscriptionId, topic: &Topic) -> Option<&mut Row> {
        self.subscriptions.get_mut(&id)?.rows.get_mut(topic)
    }

    /// A new reader of a topic.
    pub(super) fn join(&mut self, id: SubscriptionId, topic: &Topic) {
        let entry = self.entry(topic);
        if entry.refused.is_some() || entry.no_room {
            return self.asked_anew(topic);
        }
        if entry.upstream == Upstream::Confirmed && entry.builds && !entry.restart {
            // The reader has not seen what the changes build on: all of the topic's readers begin again.
            return self.restart_one(topic);
        }
        self.tell(id, topic);
    }

    /// A reader leaves a topic.
    pub(super) fn leave(&mut self, id: SubscriptionId, topic: &Topic) {
        let Some(seat) = self.row(id, topic).and_then(|row| row.seat.take()) else {
            return;
        };
        self.entry(topic)
            .readers
            .retain(|reader| *reader != (seat, id));
        self.set_told(id, topic, Told::Nothing, None);
        self.announce(Some(id), TableNews::Left(id, topic.clone()));
    }
}
