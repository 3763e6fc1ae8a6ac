//! The table of indexes: when did something last change, by name.

use std::sync::Arc;

use types::Index;

use crate::table::Table;

/// One named index: of a table (`kvs`) or of a part of one
/// (`peer.~:service.web`). Names as in `reference/raft-and-snapshots.md` section 10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IndexRow {
    /// The name.
    pub name: Arc<str>,
    /// The index of the last change.
    pub value: Index,
}

/// All named indexes. Every state has this table; snapshots carry it.
pub const INDEXES: Table<IndexRow> = Table::new("index", |row| Arc::from(row.name.as_bytes()));
