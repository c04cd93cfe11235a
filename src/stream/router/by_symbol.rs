//! A map by symbol, for the hot path: every event is looked up in it.

use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

use crate::market::Symbol;

pub(super) type BySymbol<V> = HashMap<Symbol, V, BuildHasherDefault<SymbolHasher>>;

/// Multiplies and folds, eight bytes at a time. It does not withstand keys that are chosen to collide, and need not: the
/// keys are what this process subscribes to. What a venue sends is only looked up.
#[derive(Default)]
pub(super) struct SymbolHasher(u64);

impl SymbolHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word) * u128::from(FACTOR);
        self.0 = (product as u64) ^ ((product >> 64) as u64);
    }
}

impl Hasher for SymbolHasher {
    fn write(&mut self, bytes: &[u8]) {
        let mut words = bytes.chunks_exact(8);
        for word in words.by_ref() {
            self.mix(word.iter().fold(0, shift_in));
        }
        let rest = words.remainder();
        // The length tells `A` from `A\0`.
        self.mix(rest.iter().fold(rest.len() as u64, shift_in));
    }

    /// What ends a text. Its length was mixed in.
    fn write_u8(&mut self, _end: u8) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

fn shift_in(word: u64, byte: &u8) -> u64 {
    word << 8 | u64::from(*byte)
}

/// The golden ratio in 64 bits, odd.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

#[cfg(test)]
mod tests;
