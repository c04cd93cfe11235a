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
