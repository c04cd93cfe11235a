use std::{sync::Arc, time::Duration};

use super::*;
use crate::{Credentials, thread};

const SCOPE: ScopeId = ScopeId(1);

fn key() -> StreamKey {
    StreamKey::new(&"ws://h/p".parse().unwrap(), &Credentials::none())
}

fn soon() -> Instant {
    clock::now() + Duration::from_secs(20)
}

fn acquire(registry: &Registry<u64>, deadline: Instant) -> Result<Acquired<u64>, (u64, Instant)> {
    registry.acquire(&key(), SCOPE, deadline, |generation| generation * 10)
}

#[test]
fn the_last_release_drains_and_only_vacate_frees_the_key() {
    let registry = Registry::new();
    let Ok(Acquired::Created { stream: 10 }) = acquire(&registry, soon()) else {
        panic!()
    };
    let Ok(Acquired::Joined { stream: 10 }) = acquire(&registry, soon()) else {
        panic!()
    };
    assert_eq!(registry.release(&key(), 1), Released::Shared(1));
    assert_eq!(registry.release(&key(), 1), Released::Last);
    assert_eq!(registry.release(&key(), 1), Released::Stale);
    let past = clock::now();
    assert!(
        matches!(acquire(&registry, past), Err((10, _))),
        "a draining key is not handed out"
    );
    registry.vacate(&key(), 1);
    let Ok(Acquired::Created { stream: 20 }) = acquire(&registry, past) else {
        panic!()
    };
}

#[test]
fn a_late_release_does_not_touch_the_successor() {
    let registry = Registry::new();
    assert!(acquire(&registry, soon()).is_ok());
    registry.vacate(&key(), 1);
    let Ok(Acquired::Created { stream: 20 }) = acquire(&registry, soon()) else {
        panic!()
    };
    assert_eq!(registry.release(&key(), 1), Released::Stale);
    registry.retain(&key(), 1);
    registry.vacate(&key(), 1);
    assert_eq!(registry.holds(&key(), 2), (1, None));
    assert_eq!(registry.release(&key(), 2), Released::Last);
}

#[test]
fn an_ended_slot_goes_with_its_last_holder() {
    let registry = Registry::new();
    assert!(acquire(&registry, soon()).is_ok());
    registry.retain(&key(), 1);
    registry.vacate(&key(), 1);
    assert_eq!(registry.streams(SCOPE), [10]);
    assert_eq!(registry.release(&key(), 1), Released::Stale);
    assert_eq!(registry.streams(SCOPE), [10]);
    assert_eq!(registry.release(&key(), 1), Released::Stale);
    assert!(registry.streams(SCOPE).is_empty());
}

#[test]
fn an_acquire_waits_for_its_predecessor_and_a_shutdown_takes_all() {
    let registry = Arc::new(Registry::new());
    assert!(acquire(&registry, soon()).is_ok());
    assert!(acquire(&registry, soon()).is_ok());
    assert_eq!(registry.shutdown(ScopeId(2)), Vec::<u64>::new());
    assert_eq!(registry.shutdown(SCOPE), [10]);
    let (sender, receiver) = crossbeam_channel::bounded(1);
    let waiter = thread::spawn("waiter".to_owned(), {
        let registry = Arc::clone(&registry);
        move || {
            let _ = sender.send(());
            let Ok(Acquired::Created { stream: 20 }) = acquire(&registry, soon()) else {
                panic!()
            };
        }
    })
    .unwrap();
    receiver.recv().unwrap();
    assert!(!registry.wait_gone(&key(), 1, clock::now()));
    registry.vacate(&key(), 1);
    assert!(registry.wait_gone(&key(), 1, soon()));
    waiter.join().unwrap();
}
