//! The newest of a series of small records: one writer, any number of readers, no lock.
//!
//! The writer fills two slots in turn and then counts the record; a reader takes the slot of the last record counted,
//! and looks at the count again. So the writer never waits, and a reader waits for nobody either, not even for a
//! writer that was put to sleep half-way: it reads the record before. It only reads again if a whole record was
//! counted while it read.
//!
//! **Why no reader sees a mixture.** Record `n` lies in slot `n % 2`, which is next touched by the writing of `n + 2`:
//! after `n + 1` was counted. Words are stored with `Release` and loaded with `Acquire`, so a reader that loaded even
//! one word of `n + 2` sees a count of `n + 1` at least when it looks again, and starts over. And a reader that loaded
//! the count `n` (`Acquire`) sees all of record `n`, which was stored before (`Release`).

use crate::sync::atomic::{AtomicU64, Ordering};

/// See the module's documentation.
pub(super) struct Latest<const N: usize> {
    written: AtomicU64,
    slots: [[AtomicU64; N]; 2],
}

impl<const N: usize> Latest<N> {
    pub(super) fn new() -> Self {
        let slot = || std::array::from_fn(|_| AtomicU64::new(0));
        Self {
            written: AtomicU64::new(0),
            slots: [slot(), slot()],
        }
    }

    /// Makes `record` the newest. From one thread at a time.
    pub(super) fn write(&self, record: [u64; N]) {
        let number = self.written.load(Ordering::Relaxed) + 1;
        for (word, value) in self.slots[slot(number)].iter().zip(record) {
            word.store(value, Ordering::Release);
        }
        self.written.store(number, Ordering::Release);
    }

    /// The newest record and its number, counted from 1.
    pub(super) fn read(&self) -> Option<(u64, [u64; N])> {
        let mut number = self.written.load(Ordering::Acquire);
        while number > 0 {
            let words = &self.slots[slot(number)];
            let record = std::array::from_fn(|at| words[at].load(Ordering::Acquire));
            match self.written.load(Ordering::Acquire) {
                unchanged if unchanged == number => return Some((number, record)),
                newer => number = newer,
            }
        }
        None
    }

    /// The number of the newest record.
    pub(super) fn written(&self) -> u64 {
        self.written.load(Ordering::Acquire)
    }
}

const fn slot(number: u64) -> usize {
    (number % 2) as usize
}
