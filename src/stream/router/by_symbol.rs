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
mod tests {
    use std::{
        collections::HashSet,
        hash::{BuildHasher as _, BuildHasherDefault},
    };

    use super::*;

    /// The map takes its buckets from the low bits, and tells their tenants apart by the high ones.
    #[test]
    fn symbols_that_look_alike_spread_over_both_ends_of_the_hash() {
        let build = BuildHasherDefault::<SymbolHasher>::default();
        let symbols = (0..4_096_u32).map(|number| match number % 3 {
            0 => format!("S{number}"),
            1 => format!("AAPL2606{:02}C{number:08}", number % 28),
            _ => format!("{number:04}/USD"),
        });
        let hashes: Vec<u64> = symbols
            .map(|symbol| build.hash_one(Symbol::from(symbol)))
            .collect();
        let distinct = |part: fn(u64) -> u64| {
            hashes
                .iter()
                .map(|hash| part(*hash))
                .collect::<HashSet<_>>()
                .len()
        };
        assert_eq!(distinct(|hash| hash), hashes.len());
        // Of 4,096 throws into as many buckets, 63 % hit one of their own.
        assert!(distinct(|hash| hash & 0xfff) > 2_400);
        assert!(distinct(|hash| hash >> 52) > 2_400);
    }
}
