//! What readers are told: the difference between what they were told and what is so.

use smallvec::SmallVec;

use super::{
    SubscriptionId, TableNews, TopicTable,
    rows::{Row, Told},
    state::{Cause, Standing},
};
use crate::{
    error::{At, Error, ErrorKind},
    phase::Phase,
    topic::Topic,
};

impl TopicTable {
    pub(super) fn tell_all(&mut self, topic: &Topic) {
        let readers: SmallVec<[SubscriptionId; 4]> = self
            .entry(topic)
            .readers
            .iter()
            .map(|(_, id)| *id)
            .collect();
        for id in readers {
            self.tell(id, topic);
        }
    }

    /// Tells one reader the difference between what it was told and what is so.
    pub(super) fn tell(&mut self, id: SubscriptionId, topic: &Topic) {
        let row = self
            .subscriptions
            .get(&id)
            .and_then(|subscription| subscription.rows.get(topic));
        let (Some(row), Some(entry)) = (row, self.topics.get(topic)) else {
            return;
        };
        let topic = topic.clone();
        let (told, news) = match (entry.standing(), row.told) {
            (Standing::Confirmed, Told::Confirmed) | (Standing::NoRoom, Told::Displaced) => return,
            (Standing::NoRoom, Told::Refused(Cause::NoRoom)) => return,
            (Standing::Confirmed, told) => {
                let again = told == Told::Lost;
                (Told::Confirmed, TableNews::Confirmed { id, topic, again })
            }
            (Standing::Pending, Told::Confirmed) => return self.lose(id, &topic),
            (Standing::Pending, _) => return,
            (Standing::Refused(refusal), Told::Refused(known)) if refusal.cause == known => return,
            (Standing::Refused(refusal), _) => {
                let error = refusal.error.clone();
                (
                    Told::Refused(refusal.cause),
                    TableNews::Refused(id, topic, error),
                )
            }
            (Standing::NoRoom, told) => {
                let had_a_place = matches!(told, Told::Confirmed | Told::Lost);
                match entry.displaced_by.clone().filter(|_| had_a_place) {
                    Some((by, priority)) => {
                        let at = At::new(&self.stream, Phase::Live);
                        let error = Error::new(at, ErrorKind::Displaced { by, priority });
                        (Told::Displaced, TableNews::Displaced(id, topic, error))
                    }
                    None => {
                        let error = self.full.get_or_init(|| self.over_plan()).clone();
                        (
                            Told::Refused(Cause::NoRoom),
                            TableNews::Refused(id, topic, error),
                        )
                    }
                }
            }
        };
        let (topic, why) = match &news {
            TableNews::Refused(_, topic, why) | TableNews::Displaced(_, topic, why) => {
                (topic, Some(why))
            }
            TableNews::Confirmed { topic, .. } => (topic, None),
            _ => return,
        };
        let (topic, why) = (topic.clone(), why.cloned());
        self.set_told(id, &topic, told, why);
        self.announce(Some(id), news);
    }

    /// Tells those who read a topic that they lost it, and that they have it again.
    pub(super) fn interrupt(&mut self, topic: &Topic) {
        let readers = self.entry(topic).readers.clone();
        for (_, id) in readers {
            let is_told = |row: &mut Row| row.told == Told::Confirmed;
            if self.row(id, topic).is_some_and(is_told) {
                self.lose(id, topic);
            }
        }
        self.tell_all(topic);
    }

    fn lose(&mut self, id: SubscriptionId, topic: &Topic) {
        self.set_told(id, topic, Told::Lost, None);
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.broken = true;
            self.broken.insert(id);
        }
        self.announce(Some(id), TableNews::Lost(id, topic.clone()));
    }

    pub(super) fn set_told(
        &mut self,
        id: SubscriptionId,
        topic: &Topic,
        told: Told,
        why: Option<Error>,
    ) {
        if let Some(subscription) = self.subscriptions.get_mut(&id) {
            subscription.change(topic, |row| {
                row.why = why;
                row.told = told;
            });
        }
    }

    pub(super) fn announce(&mut self, id: Option<SubscriptionId>, news: TableNews) {
        self.made += 1;
        if let Some(subscription) = id.and_then(|id| self.subscriptions.get_mut(&id)) {
            subscription.news = self.made;
        }
        self.news.push(news);
    }

    /// Subscriptions that had a gap, and an answer to all that they want since.
    pub(super) fn resume(&mut self) {
        let is_over = |id: &SubscriptionId| {
            let subscription = self.subscriptions.get(id);
            subscription.is_none_or(|subscription| subscription.unsettled == 0)
        };
        let over: Vec<SubscriptionId> = self.broken.iter().copied().filter(is_over).collect();
        for id in over {
            self.broken.remove(&id);
            if let Some(subscription) = self.subscriptions.get_mut(&id) {
                subscription.broken = false;
                self.announce(Some(id), TableNews::Resumed(id));
            }
        }
    }
}
