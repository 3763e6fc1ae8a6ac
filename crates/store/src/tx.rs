//! Changes to a state.

use std::ops::Deref;
use std::sync::Arc;

use types::Index;

use crate::index::{INDEXES, IndexRow};
use crate::key::{Key, KeyBuilder};
use crate::state::{Row, State, typed};
use crate::table::{Secondary, Table};
use crate::watch::Place;

/// A transaction: the only way to change a state. Reads see its own writes.
///
/// There is one writer at a time, so changes are made in place; what readers
/// hold is not touched, because the maps share structure. A command that may
/// fail half-way takes a [`Tx::mark`] first and goes back to it.
pub struct Tx<'s> {
    state: &'s mut State,
    changes: &'s mut Vec<Change>,
    index: Index,
}

/// One changed key of one map: what watches are compared with.
pub(crate) struct Change {
    pub(crate) place: Place,
    pub(crate) key: Key,
}

/// A point to go back to.
pub struct Mark {
    state: State,
    changes: usize,
}

impl Deref for Tx<'_> {
    type Target = State;

    fn deref(&self) -> &State {
        self.state
    }
}

impl<'s> Tx<'s> {
    pub(crate) fn new(state: &'s mut State, changes: &'s mut Vec<Change>, index: Index) -> Self {
        Self { state, changes, index }
    }

    /// The Raft index of the command that is being applied.
    pub fn index(&self) -> Index {
        self.index
    }

    /// Stores a row in place of the one with the same key, which is returned.
    pub fn put<R: Send + Sync + 'static>(&mut self, table: &Table<R>, row: R) -> Option<Arc<R>> {
        let key = (table.key)(&row);
        let row: Row = Arc::new(row);
        let slot = self.state.slot(table.name);
        let old = self.state.tables[slot].rows.insert(Arc::clone(&key), Arc::clone(&row));
        if let Some(old) = &old {
            self.unfile(table, slot, &key, old);
        }
        self.file(table, slot, &key, &row);
        self.changes.push(Change { place: Place::primary(slot), key });
        old.as_ref().map(typed)
    }

    /// Removes the row with this key and returns it.
    pub fn delete<R: Send + Sync + 'static>(
        &mut self,
        table: &Table<R>,
        key: &[u8],
    ) -> Option<Arc<R>> {
        let slot = self.state.slot(table.name);
        let (key, old) = self.state.tables[slot].rows.remove_with_key(key)?;
        self.unfile(table, slot, &key, &old);
        self.changes.push(Change { place: Place::primary(slot), key });
        Some(typed(&old))
    }

    /// Files the index of this transaction under a name (see [`INDEXES`]).
    pub fn bump(&mut self, name: &str) {
        let index = self.index;
        self.set_index(name, index);
    }

    /// Files an index under a name, for restores.
    pub fn set_index(&mut self, name: &str, value: Index) {
        if self.state.peek(&INDEXES, name.as_bytes()).is_some_and(|row| row.value == value) {
            return;
        }
        self.put(&INDEXES, IndexRow { name: Arc::from(name), value });
    }

    /// Forgets the index that was filed under a name.
    pub fn forget_index(&mut self, name: &str) {
        self.delete(&INDEXES, name.as_bytes());
    }

    /// Remembers the present state.
    pub fn mark(&self) -> Mark {
        Mark { state: self.state.clone(), changes: self.changes.len() }
    }

    /// Undoes everything since the mark.
    pub fn roll_back(&mut self, mark: Mark) {
        *self.state = mark.state;
        self.changes.truncate(mark.changes);
    }

    fn file<R: Send + Sync + 'static>(
        &mut self,
        table: &Table<R>,
        slot: usize,
        key: &Key,
        row: &Row,
    ) {
        for (which, secondary) in table.secondary.iter().enumerate() {
            for filed in filed_keys(secondary, key, row) {
                let map = &mut self.state.tables[slot].secondary[which];
                map.insert(Arc::clone(&filed), Arc::clone(row));
                self.changes.push(Change { place: Place::secondary(slot, which), key: filed });
            }
        }
    }

    fn unfile<R: Send + Sync + 'static>(
        &mut self,
        table: &Table<R>,
        slot: usize,
        key: &Key,
        row: &Row,
    ) {
        for (which, secondary) in table.secondary.iter().enumerate() {
            for filed in filed_keys(secondary, key, row) {
                self.state.tables[slot].secondary[which].remove(&filed);
                self.changes.push(Change { place: Place::secondary(slot, which), key: filed });
            }
        }
    }
}

/// The keys of a row in a secondary index, each made unique by the primary key.
fn filed_keys<R: Send + Sync + 'static>(
    secondary: &Secondary<R>,
    key: &Key,
    row: &Row,
) -> Vec<Key> {
    let mut keys = Vec::new();
    let row: &R = crate::state::typed_ref(row);
    (secondary.keys)(row, &mut |filed: KeyBuilder| keys.push(filed.raw(key).build()));
    keys
}
