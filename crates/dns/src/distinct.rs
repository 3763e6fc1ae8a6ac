//! Finding duplicates while records are made.

use std::collections::HashSet;
use std::hash::Hash;

use foldhash::fast::FixedState;

/// Finds duplicates: by comparing while they are few, by hash afterwards.
pub(crate) struct Distinct<T> {
    few: Vec<T>,
    many: HashSet<T, FixedState>,
}

/// Above this many, hashing is cheaper.
const COMPARED_MAX: usize = 16;

impl<T: Eq + Hash + Copy> Distinct<T> {
    pub(crate) fn new(seed: u64) -> Self {
        Self { few: Vec::new(), many: HashSet::with_hasher(FixedState::with_seed(seed)) }
    }

    /// Whether the value is new.
    pub(crate) fn insert(&mut self, value: T) -> bool {
        if self.few.len() < COMPARED_MAX {
            let new = !self.few.contains(&value);
            if new {
                self.few.push(value);
            }
            return new;
        }
        if self.many.is_empty() {
            self.many.extend(self.few.iter().copied());
        }
        self.many.insert(value)
    }
}
