//! From symbols to their cells: a trie of hashes that only grows, so that lookups take no lock and copy nothing.
//!
//! A lookup hashes the name and compares about as many names as the number of symbols has base-four digits. What was
//! inserted stays, in use or not: a book holds as many cells as it ever had different symbols.

use std::{
    hash::{BuildHasher as _, RandomState},
    sync::{Arc, OnceLock},
};

use super::cell::Cell;
use crate::market::Symbol;

/// See the module's documentation.
pub(super) struct Index {
    hasher: RandomState,
    root: Slot,
}

type Slot = OnceLock<Box<Node>>;

struct Node {
    cell: Arc<Cell>,
    children: [Slot; 4],
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            root: Slot::new(),
        }
    }

    pub(super) fn get(&self, symbol: &str) -> Option<&Arc<Cell>> {
        let mut hash = self.hasher.hash_one(symbol);
        let mut slot = &self.root;
        while let Some(node) = slot.get() {
            if *node.cell.symbol == *symbol {
                return Some(&node.cell);
            }
            slot = node.child(&mut hash);
        }
        None
    }

    /// The symbol's cell, a new one if it has none. Whichever of two threads that insert at one place comes second
    /// goes on from what the first has put there.
    pub(super) fn insert(&self, symbol: &Symbol) -> &Arc<Cell> {
        let mut hash = self.hasher.hash_one(symbol.as_str());
        let mut slot = &self.root;
        loop {
            let node = slot.get_or_init(|| {
                Box::new(Node {
                    cell: Arc::new(Cell::new(symbol.clone())),
                    children: Default::default(),
                })
            });
            if node.cell.symbol == *symbol {
                return &node.cell;
            }
            slot = node.child(&mut hash);
        }
    }

    pub(super) fn each(&self, mut visit: impl FnMut(&Arc<Cell>)) {
        let mut slots = vec![&self.root];
        while let Some(slot) = slots.pop() {
            if let Some(node) = slot.get() {
                visit(&node.cell);
                slots.extend(&node.children);
            }
        }
    }
}

impl Node {
    /// Where the next two bits of the hash lead. Once they are used up it is the first child: a list, for the sake of
    /// names whose hashes are equal.
    fn child(&self, hash: &mut u64) -> &Slot {
        let child = &self.children[(*hash >> 62) as usize];
        *hash <<= 2;
        child
    }
}
