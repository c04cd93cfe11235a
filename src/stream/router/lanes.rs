//! Sets of channels, a bit each: whether a member's wildcards cover a batch is one comparison.

/// A channel's bit: one of its own, unless there are more channels than bits.
pub(super) type Lane = u8;

/// In place of a channel's lane: of this event the places that a member notes say whether it gets it. It is in no member's set.
pub(super) const SINGLE: Lane = 63;

/// A set of channels.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Lanes(u64);

impl Lanes {
    #[inline]
    pub(super) fn insert(&mut self, lane: Lane) {
        self.0 |= 1 << lane;
    }

    pub(super) fn remove(&mut self, lane: Lane) {
        self.0 &= !(1 << lane);
    }

    #[inline]
    pub(super) fn has(self, lane: Lane) -> bool {
        self.0 >> lane & 1 != 0
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(super) fn meets(self, others: Self) -> bool {
        self.0 & others.0 != 0
    }

    pub(super) fn covers(self, others: Self) -> bool {
        others.0 & !self.0 == 0
    }
}
