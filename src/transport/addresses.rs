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
mod tests;
