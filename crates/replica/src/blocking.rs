//! When a query that waits has its answer (`reference/http-api.md` 1.8).

use contract::Evaluated;
use store::Store;
use types::Index;

/// A query that waits until its index is above one that the asker knows.
#[derive(Clone, Copy, Debug)]
pub struct Blocking {
    min_index: Index,
    replaced: u64,
}

impl Blocking {
    /// Begins to wait at this moment.
    pub fn new(store: &Store, min_index: Index) -> Self {
        Self { min_index, replaced: store.replaced() }
    }

    /// Whether this result, current at this moment, is the answer. If not, the next look is
    /// due when the result is outdated.
    ///
    /// Once the whole state was replaced any result is: the new one has indexes of its own,
    /// of which the one that was waited for says nothing.
    pub fn is_over(&self, store: &Store, current: &Evaluated) -> bool {
        current.index > self.min_index || store.replaced() != self.replaced
    }
}
