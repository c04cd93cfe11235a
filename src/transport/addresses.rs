//! The addresses of a host: in which order they are tried, when the next one is (RFC 8305), and what is known of them from
//! earlier connections. No socket, no resolver and no clock.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    time::{Duration, Instant},
};

use crate::clock;

/// What a stream knows of its host's addresses, from one connection to the next.
#[derive(Default)]
pub(super) struct KnownAddresses {
    /// The newest answer of the resolver.
    answer: Vec<SocketAddr>,
    /// The address of the newest connection that became a WebSocket.
    worked: Option<SocketAddr>,
    /// The address of the newest connection that came about and did not become one.
    failed: Option<SocketAddr>,
}

impl KnownAddresses {
    pub(super) fn answered(&mut self, answer: &[SocketAddr]) {
        self.answer = answer.to_vec();
    }

    /// The set-up goes on with this address. Until it is through, nothing speaks for the address.
    pub(super) fn connected(&mut self, address: SocketAddr) {
        self.failed = Some(address);
    }

    /// The set-up is through, with the address that it last went on with.
    pub(super) fn opened(&mut self) {
        self.worked = self.failed.take();
    }

    /// The newest answer and the address that has worked, which may be of an earlier one: for a resolver that fails.
    pub(super) fn fallback(&self) -> Option<Vec<SocketAddr>> {
        let worked = self.worked?;
        Some([&[worked], &*self.answer].concat())
    }

    /// The addresses in the order in which they are tried. What worked last comes first, and what a set-up failed on last
    /// comes last: a server that accepts connections and serves none must not hide the others behind it. Between the
    /// two, the families take turns (RFC 8305, section 4).
    fn order(&self, answer: &[SocketAddr]) -> VecDeque<SocketAddr> {
        let mut rest: Vec<SocketAddr> = Vec::new();
        for address in answer {
            if !rest.contains(address) {
                rest.push(*address);
            }
        }
        let last = take(&mut rest, |address| Some(*address) == self.failed);
        let first = take(&mut rest, |address| Some(*address) == self.worked);
        let mut order: VecDeque<_> = first.into_iter().collect();
        while !rest.is_empty() {
            let previous = order.back().map(SocketAddr::is_ipv6);
            let other = take(&mut rest, |address| Some(address.is_ipv6()) != previous);
            order.extend(other.or_else(|| take(&mut rest, |_| true)));
        }
        order.extend(last);
        order
    }
}

/// Takes the first address out that is `wanted`.
fn take(
    addresses: &mut Vec<SocketAddr>,
    wanted: impl FnMut(&SocketAddr) -> bool,
) -> Option<SocketAddr> {
    let at = addresses.iter().position(wanted)?;
    Some(addresses.remove(at))
}

/// The addresses that are still to be tried, and when the next one is.
pub(super) struct Candidates {
    waiting: VecDeque<SocketAddr>,
    next_at: Instant,
    deadline: Instant,
}

impl Candidates {
    /// `deadline` is the whole set-up's.
    pub(super) fn new(
        addresses: &[SocketAddr],
        known: &KnownAddresses,
        now: Instant,
        deadline: Instant,
    ) -> Self {
        Self {
            waiting: known.order(addresses),
            next_at: now,
            deadline,
        }
    }

    /// An address whose turn has come. The next one waits from here on.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<SocketAddr> {
        if now < self.next_at {
            return None;
        }
        let address = self.waiting.pop_front()?;
        // Where little time is left, each that waits gets its share of it.
        let left = self.deadline.saturating_duration_since(now);
        let share = left / u32::try_from(self.waiting.len() + 1).unwrap_or(u32::MAX);
        self.next_at = clock::after(now, share.min(STAGGER));
        Some(address)
    }

    /// An address has failed: nothing is gained by waiting for it.
    pub(super) fn failed(&mut self, now: Instant) {
        self.next_at = now;
    }

    /// When the next address is due. Nothing when all were tried.
    pub(super) fn next_at(&self) -> Option<Instant> {
        (!self.waiting.is_empty()).then_some(self.next_at)
    }
}

/// How long an address has to itself before the next one is tried beside it (RFC 8305, section 5).
const STAGGER: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    fn four(last: u8) -> SocketAddr {
        ([192, 0, 2, last], 443).into()
    }

    fn six(last: u16) -> SocketAddr {
        ([0x2001, 0xdb8, 0, 0, 0, 0, 0, last], 443).into()
    }

    fn order(known: &KnownAddresses, addresses: &[SocketAddr]) -> Vec<SocketAddr> {
        known.order(addresses).into()
    }

    #[test]
    fn families_take_turns_and_nothing_is_tried_twice() {
        let known = KnownAddresses::default();
        assert_eq!(
            order(&known, &[six(1), six(2), six(1), six(3), four(1), four(2)]),
            [six(1), four(1), six(2), four(2), six(3)]
        );
        assert_eq!(
            order(&known, &[four(1), four(2), four(1), six(1)]),
            [four(1), six(1), four(2)]
        );
        assert_eq!(order(&known, &[]), []);
    }

    #[test]
    fn what_worked_comes_first_and_what_a_set_up_failed_on_comes_last() {
        let mut known = KnownAddresses::default();
        let answer = [six(1), six(2), four(1)];
        known.answered(&answer);
        assert_eq!(known.fallback(), None, "none of them has worked");
        known.connected(six(1));
        assert_eq!(order(&known, &answer), [six(2), four(1), six(1)]);
        assert_eq!(known.fallback(), None, "a connection is no WebSocket");
        known.connected(four(1));
        known.opened();
        assert_eq!(order(&known, &answer), [four(1), six(1), six(2)]);
        let fallback = |known: &KnownAddresses| known.order(&known.fallback().unwrap());
        assert_eq!(fallback(&known), [four(1), six(1), six(2)]);
        // It worked before, and does no longer.
        known.connected(four(1));
        assert_eq!(order(&known, &answer), [six(1), six(2), four(1)]);
        assert_eq!(fallback(&known), [six(1), six(2), four(1)]);
        // The name has moved: what worked is no address of it any more.
        assert_eq!(order(&known, &[six(7), four(7)]), [six(7), four(7)]);
        // Or the resolver left it out once. None of the others became a WebSocket.
        known.answered(&[six(7), four(7)]);
        known.connected(six(7));
        assert_eq!(fallback(&known), [four(1), four(7), six(7)]);
        known.connected(four(1));
        // There is no other one.
        assert_eq!(order(&known, &[four(1), four(1)]), [four(1)]);
    }

    #[test]
    fn the_next_address_is_due_after_a_moment_or_at_once_where_one_failed() {
        let now = clock::now();
        let at = |millis| now + Duration::from_millis(millis);
        let known = KnownAddresses::default();
        let addresses = [four(1), four(2), four(3), four(4)];
        let mut candidates = Candidates::new(&addresses, &known, now, at(15_000));
        assert_eq!(candidates.take_due(now), Some(four(1)));
        assert_eq!(candidates.next_at(), Some(at(250)));
        assert_eq!(candidates.take_due(at(249)), None);
        assert_eq!(candidates.take_due(at(250)), Some(four(2)));
        assert_eq!(candidates.take_due(at(251)), None);
        candidates.failed(at(251));
        assert_eq!(candidates.take_due(at(251)), Some(four(3)));
        assert_eq!(candidates.take_due(at(501)), Some(four(4)));
        assert_eq!(candidates.next_at(), None);
        assert_eq!(candidates.take_due(at(9_000)), None);
    }

    /// A set-up of less than a second has several addresses, too.
    #[test]
    fn where_little_time_is_left_every_address_gets_its_share() {
        let now = clock::now();
        let deadline = now + Duration::from_millis(90);
        let known = KnownAddresses::default();
        let mut candidates = Candidates::new(&[four(1), four(2), four(3)], &known, now, deadline);
        let mut began = Vec::new();
        while let Some(at) = candidates.next_at() {
            began.push(at.saturating_duration_since(now).as_millis());
            assert!(candidates.take_due(at).is_some());
        }
        assert_eq!(began, [0, 30, 60]);
        // Nor does a set-up without a bound make anybody wait for ever.
        let far = clock::after(now, Duration::MAX);
        let mut candidates = Candidates::new(&[four(1), four(2)], &known, now, far);
        assert!(candidates.take_due(now).is_some());
        assert_eq!(candidates.next_at(), Some(now + STAGGER));
    }
}
