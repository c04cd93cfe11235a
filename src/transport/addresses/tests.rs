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
