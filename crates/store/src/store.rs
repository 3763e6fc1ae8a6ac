//! The newest state, its writer and its readers.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use types::Index;

use crate::state::State;
use crate::table::AnyTable;
use crate::tx::{Change, Tx};
use crate::watch::{Cell, Registry, Subscription, WatchSet};

/// The newest state. Cloning gives another handle to the same store.
#[derive(Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

pub(crate) struct Shared {
    inner: Mutex<Inner>,
}

pub(crate) struct Inner {
    state: State,
    /// The snapshot of the present version, once somebody asked for it. A snapshot
    /// makes the maps copy what is written next, so none is taken without need.
    snapshot: Option<Arc<State>>,
    replaced: u64,
    pub(crate) registry: Registry,
}

impl Shared {
    /// A writer that panics half-way leaves a state that must not be served, and the
    /// process ends (`panic = "abort"`); in tests the poisoned state is only dropped.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Store {
    /// An empty store of these tables.
    pub fn new(tables: &[&dyn AnyTable]) -> Self {
        let inner = Inner {
            state: State::new(tables),
            snapshot: None,
            replaced: 0,
            registry: Registry::default(),
        };
        Self { shared: Arc::new(Shared { inner: Mutex::new(inner) }) }
    }

    /// The newest state. It does not change afterwards.
    pub fn snapshot(&self) -> Arc<State> {
        let mut inner = self.shared.lock();
        if let Some(snapshot) = &inner.snapshot {
            return Arc::clone(snapshot);
        }
        let snapshot = Arc::new(inner.state.clone());
        inner.snapshot = Some(Arc::clone(&snapshot));
        snapshot
    }

    /// Runs a batch of changes as one commit: readers see all of it or nothing.
    pub fn write<T>(&self, batch: impl FnOnce(&mut Batch<'_>) -> T) -> T {
        let mut inner = self.shared.lock();
        // Freed before writing, so that an unused snapshot costs the writer no copies.
        inner.snapshot = None;
        let mut changes = Vec::new();
        let result = batch(&mut Batch { state: &mut inner.state, changes: &mut changes });
        inner.state.version += 1;
        let marked = inner.registry.mark(&changes);
        drop(inner);
        marked.iter().for_each(|cell| cell.wake());
        result
    }

    /// Replaces the whole state, as a restore does; every watch fires.
    pub fn replace(&self, mut state: State) {
        let mut inner = self.shared.lock();
        state.version = inner.state.version + 1;
        inner.replaced += 1;
        inner.snapshot = None;
        let old = std::mem::replace(&mut inner.state, state);
        let marked = inner.registry.mark_all();
        drop(inner);
        drop(old);
        marked.iter().for_each(|cell| cell.wake());
    }

    /// How many times the whole state was replaced. Who waits for an index that only the
    /// replaced state could reach has to stop when this grows.
    pub fn replaced(&self) -> u64 {
        self.shared.lock().replaced
    }

    /// Files a watch set. Returns the subscription and the version of the state at
    /// that moment: if it is not the version that was read, something relevant may
    /// have been missed, and the query must run again.
    pub fn subscribe(&self, set: WatchSet) -> (Subscription, u64) {
        let cell = Arc::new(Cell::default());
        let mut inner = self.shared.lock();
        inner.registry.file(&set, &cell);
        let version = inner.state.version;
        drop(inner);
        (Subscription::new(Arc::clone(&self.shared), set, cell), version)
    }

    /// How many spans are watched, for telemetry.
    pub fn watched_spans(&self) -> usize {
        self.shared.lock().registry.len()
    }
}

/// The commands of one commit, each with its own Raft index.
pub struct Batch<'s> {
    state: &'s mut State,
    changes: &'s mut Vec<Change>,
}

impl Batch<'_> {
    /// A transaction for the command at this index.
    pub fn tx(&mut self, index: Index) -> Tx<'_> {
        self.state.index = index;
        Tx::new(self.state, self.changes, index)
    }
}

/// Builds a state from rows, outside any store: for restores.
impl State {
    /// Fills the state without firing watches.
    pub fn fill<T>(&mut self, index: Index, rows: impl FnOnce(&mut Tx<'_>) -> T) -> T {
        self.index = index;
        let mut changes = Vec::new();
        rows(&mut Tx::new(self, &mut changes, index))
    }
}
