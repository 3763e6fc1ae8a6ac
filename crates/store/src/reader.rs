//! Reads that remember what they looked at.

use std::sync::Arc;

use types::Index;

use crate::index::{INDEXES, IndexRow};
use crate::state::State;
use crate::table::Table;
use crate::watch::{Place, Span, WatchSet};

/// Runs a query over a snapshot and records the watch set.
pub struct Reader<'s> {
    state: &'s State,
    watch: WatchSet,
}

impl<'s> Reader<'s> {
    /// A reader that records.
    pub fn new(state: &'s State) -> Self {
        Self { state, watch: WatchSet::default() }
    }

    /// The snapshot itself, whose reads are not recorded. Only for what cannot
    /// change the answer, or what a recorded index guards (see [`Self::index_of`]).
    pub fn unwatched(&self) -> &'s State {
        self.state
    }

    /// What was looked at.
    pub fn into_watch_set(self) -> WatchSet {
        self.watch
    }

    /// See [`State::get`].
    pub fn get<R: Send + Sync + 'static>(
        &mut self,
        table: &Table<R>,
        key: &[u8],
    ) -> Option<Arc<R>> {
        self.record(Place::primary(self.state.slot(table.name)), Span::Exact(Arc::from(key)));
        self.state.get(table, key)
    }

    /// See [`State::prefix`].
    pub fn prefix<'p, R: Send + Sync + 'static>(
        &mut self,
        table: &Table<R>,
        prefix: &'p [u8],
    ) -> impl Iterator<Item = Arc<R>> + use<'s, 'p, R> {
        self.record(Place::primary(self.state.slot(table.name)), Span::Prefix(Arc::from(prefix)));
        self.state.prefix(table, prefix)
    }

    /// See [`State::secondary`].
    pub fn secondary<'p, R: Send + Sync + 'static>(
        &mut self,
        table: &Table<R>,
        which: usize,
        prefix: &'p [u8],
    ) -> impl Iterator<Item = Arc<R>> + use<'s, 'p, R> {
        let place = Place::secondary(self.state.slot(table.name), which);
        self.record(place, Span::Prefix(Arc::from(prefix)));
        self.state.secondary(table, which, prefix)
    }

    /// The named index. A domain that files every relevant change under a name may
    /// record that one name and read the rows through [`Self::unwatched`].
    pub fn index_of(&mut self, name: &str) -> Index {
        self.get(&INDEXES, name.as_bytes()).map_or(Index::ZERO, |row: Arc<IndexRow>| row.value)
    }

    /// The largest of the named indexes, at least one: what an empty answer reports.
    pub fn max_index_of(&mut self, names: &[&str]) -> Index {
        names.iter().map(|name| self.index_of(name)).fold(Index(1), Index::max)
    }

    fn record(&mut self, place: Place, span: Span) {
        self.watch.add(place, span);
    }
}
