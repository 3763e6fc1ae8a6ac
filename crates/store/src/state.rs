//! One version of all tables.

use std::any::Any;
use std::ops::Bound;
use std::sync::Arc;

use imbl::OrdMap;
use types::Index;

use crate::index::{INDEXES, IndexRow};
use crate::key::Key;
use crate::table::{AnyTable, Table};

pub(crate) type Row = Arc<dyn Any + Send + Sync>;

/// All tables as of one commit. Cloning shares everything.
#[derive(Clone)]
pub struct State {
    names: Arc<[&'static str]>,
    pub(crate) tables: Vec<TableState>,
    pub(crate) index: Index,
    pub(crate) version: u64,
}

/// The rows of one table by primary key, and by each secondary index.
#[derive(Clone, Default)]
pub(crate) struct TableState {
    pub(crate) rows: OrdMap<Key, Row>,
    pub(crate) secondary: Vec<OrdMap<Key, Row>>,
}

impl State {
    /// An empty state of these tables and [`INDEXES`].
    ///
    /// # Panics
    ///
    /// If two tables have the same name.
    pub fn new(tables: &[&dyn AnyTable]) -> Self {
        let own: &dyn AnyTable = &INDEXES;
        let all: Vec<&dyn AnyTable> = std::iter::once(own).chain(tables.iter().copied()).collect();
        let names: Arc<[&'static str]> = all.iter().map(|table| table.name()).collect();
        for (at, name) in names.iter().enumerate() {
            assert!(!names[..at].contains(name), "two tables are named {name}");
        }
        let tables = all
            .iter()
            .map(|table| TableState {
                rows: OrdMap::new(),
                secondary: vec![OrdMap::new(); table.secondary_count()],
            })
            .collect();
        Self { names, tables, index: Index::ZERO, version: 0 }
    }

    /// The Raft index of the last commit in this state.
    pub fn index(&self) -> Index {
        self.index
    }

    /// A number that grows with every commit. It is not the Raft index: a commit
    /// may come without one, and a restore may lower the index.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The row with this primary key.
    pub fn get<R: Send + Sync + 'static>(&self, table: &Table<R>, key: &[u8]) -> Option<Arc<R>> {
        self.table(table).rows.get(key).map(typed)
    }

    /// As [`Self::get`], without sharing the row.
    pub fn peek<R: Send + Sync + 'static>(&self, table: &Table<R>, key: &[u8]) -> Option<&R> {
        self.table(table).rows.get(key).map(typed_ref)
    }

    /// All rows whose primary key begins with `prefix`, in key order.
    pub fn prefix<'s, 'p, R: Send + Sync + 'static>(
        &'s self,
        table: &Table<R>,
        prefix: &'p [u8],
    ) -> impl Iterator<Item = Arc<R>> + use<'s, 'p, R> {
        scan(&self.table(table).rows, prefix).map(typed)
    }

    /// As [`Self::prefix`], without sharing the rows.
    pub fn peek_prefix<'s, 'p, R: Send + Sync + 'static>(
        &'s self,
        table: &Table<R>,
        prefix: &'p [u8],
    ) -> impl Iterator<Item = &'s R> + use<'s, 'p, R> {
        scan(&self.table(table).rows, prefix).map(typed_ref)
    }

    /// Of the rows whose primary key is the beginning of `text`, the one with the longest.
    /// Takes a few look-ups, whatever the number of rows.
    pub fn longest_prefix<R: Send + Sync + 'static>(
        &self,
        table: &Table<R>,
        text: &[u8],
    ) -> Option<Arc<R>> {
        let rows = &self.table(table).rows;
        let mut text = text;
        loop {
            let below = (Bound::Unbounded, Bound::Included(text));
            let (key, row) = rows.range::<_, [u8]>(below).next_back()?;
            if text.starts_with(key) {
                return Some(typed(row));
            }
            // The greatest key up to the text is none of its beginnings, so those that
            // are stand below it and are no longer than what the two have in common.
            let common = text.iter().zip(key.iter()).take_while(|(a, b)| a == b).count();
            text = &text[..common];
        }
    }

    /// All rows that the secondary index number `which` files under keys that begin
    /// with `prefix`, in index order.
    pub fn secondary<'s, 'p, R: Send + Sync + 'static>(
        &'s self,
        table: &Table<R>,
        which: usize,
        prefix: &'p [u8],
    ) -> impl Iterator<Item = Arc<R>> + use<'s, 'p, R> {
        scan(&self.table(table).secondary[which], prefix).map(typed)
    }

    /// How many rows the table has.
    pub fn len<R>(&self, table: &Table<R>) -> usize {
        self.table(table).rows.len()
    }

    /// The named index, zero when nothing was ever filed under it.
    pub fn index_of(&self, name: &str) -> Index {
        self.peek(&INDEXES, name.as_bytes()).map_or(Index::ZERO, |row: &IndexRow| row.value)
    }

    pub(crate) fn table<R>(&self, table: &Table<R>) -> &TableState {
        &self.tables[self.slot(table.name)]
    }

    /// The place of a table. Names are few and static: comparing them beats hashing.
    pub(crate) fn slot(&self, name: &'static str) -> usize {
        self.names
            .iter()
            .position(|known| std::ptr::eq(*known, name) || *known == name)
            .unwrap_or_else(|| panic!("table {name} is not part of this state"))
    }
}

pub(crate) fn scan<'s, 'p>(
    rows: &'s OrdMap<Key, Row>,
    prefix: &'p [u8],
) -> impl Iterator<Item = &'s Row> + use<'s, 'p> {
    rows.range::<_, [u8]>((Bound::Included(prefix), Bound::Unbounded))
        .take_while(move |(key, _)| key.starts_with(prefix))
        .map(|(_, row)| row)
}

pub(crate) fn typed<R: Send + Sync + 'static>(row: &Row) -> Arc<R> {
    Arc::clone(row).downcast::<R>().expect("a table holds rows of its own type only")
}

pub(crate) fn typed_ref<R: Send + Sync + 'static>(row: &Row) -> &R {
    row.downcast_ref::<R>().expect("a table holds rows of its own type only")
}
