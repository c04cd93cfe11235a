//! Events that match nobody. They are told where a subscription may be waiting for them under another name: a venue that
//! spells a symbol in another way than the subscriber sends events that reach nobody.

use std::collections::BTreeSet;

use super::{Seat, members::Members, readers::Readers};
use crate::{event::Notice, topic::Topic, venue::Routed};

/// Tells of an unmatched event those who have a confirmed topic of its channel that has never had an event, once each.
#[cold]
pub(super) fn tell<E: Routed>(topic: &Topic, readers: &Readers, members: &mut Members<E>) {
    let unheard = readers
        .of_channel(topic.channel)
        .filter(|of| of.heard.get().is_none());
    let seats: BTreeSet<Seat> = unheard.flat_map(|of| &of.readers).copied().collect();
    for seat in seats {
        let Some(member) = members.get_mut(seat) else {
            continue;
        };
        if member.told_unmatched.contains(&topic.channel) {
            continue;
        }
        member.told_unmatched.push(topic.channel);
        member.sink.notice(|| Notice::Unmatched {
            topic: topic.clone(),
        });
    }
}
