//! The cell and the gate under a model checker, which runs every interleaving of the threads below.
//!
//! `RUSTFLAGS="--cfg loom" cargo test --release --lib model --target-dir target/loom`

use std::time::{Duration, Instant};

use loom::{
    model,
    sync::{Arc, atomic::fence},
    thread,
};

use super::{gate::Gate, latest::Latest};
use crate::{clock, sync::atomic::Ordering};

fn far() -> Instant {
    clock::now() + Duration::from_secs(3_600)
}

/// Each record is one number twice. Readers see whole records, never an older one after a newer one, and the newest
/// once the writer is known to have gone.
///
/// Planted and found (torn, each of them): a reader that does not look at the count again; one slot in the place of two;
/// the count stored before the words; words stored or loaded `Relaxed`; the count stored, or either time loaded,
/// `Relaxed`.
#[test]
fn model_a_reader_sees_whole_records_in_order() {
    model(|| {
        let latest = Arc::new(Latest::<2>::new());
        // The checker looks for conflicts with the last access to an atomic alone, and the writer loads the count before
        // it stores it: without words that both touch it would try one order only.
        latest.write([1, 1]);
        let writer = thread::spawn({
            let latest = Arc::clone(&latest);
            move || {
                for number in 2..=3 {
                    latest.write([number, number]);
                }
            }
        });
        let mut newest = 0;
        for _ in 0..2 {
            let (number, [one, other]) = latest.read().unwrap();
            assert_eq!((one, other), (number, number), "torn");
            assert!(number >= newest, "backwards");
            newest = number;
        }
        writer.join().unwrap();
        assert_eq!(latest.read(), Some((3, [3, 3])));
    });
}

/// A waiter whose deadline never comes. Planted and found: a writer, or a waiter, without its fence; a waiter that
/// counts itself after its look; a gate that turns without the lock; a waiter that takes the number of the turn after
/// its look (deadlock, each of them).
#[test]
fn model_no_update_is_slept_through() {
    model(|| {
        let shared = Arc::new((Latest::<1>::new(), Gate::new()));
        let waiter = thread::spawn({
            let shared = Arc::clone(&shared);
            move || {
                let (latest, gate) = &*shared;
                gate.wait(far(), || {
                    let (number, [value]) = latest.read()?;
                    (value == 2).then_some(number)
                })
            }
        });
        let (latest, gate) = &*shared;
        for value in [1, 2] {
            latest.write([value]);
            fence(Ordering::SeqCst);
            gate.turn();
        }
        assert_eq!(waiter.join().unwrap(), Some(2));
    });
}
