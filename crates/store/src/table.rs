//! Descriptions of tables.

use crate::key::{Key, KeyBuilder};

/// A table of rows of type `R`: a constant that a domain declares.
pub struct Table<R: 'static> {
    /// The name, unique among all tables; Consul's name where it has one.
    pub name: &'static str,
    /// The primary key of a row.
    pub key: fn(&R) -> Key,
    /// Other ways to find rows.
    pub secondary: &'static [Secondary<R>],
}

/// A secondary index: for each row any number of keys, which need not be unique.
pub struct Secondary<R: 'static> {
    /// For diagnostics.
    pub name: &'static str,
    /// Calls the function once for each key under which the row is to be found.
    pub keys: fn(&R, &mut dyn FnMut(KeyBuilder)),
}

impl<R> Table<R> {
    /// A table that is only found by its primary key.
    pub const fn new(name: &'static str, key: fn(&R) -> Key) -> Self {
        Self { name, key, secondary: &[] }
    }

    /// The same with secondary indexes.
    pub const fn with(
        name: &'static str,
        key: fn(&R) -> Key,
        secondary: &'static [Secondary<R>],
    ) -> Self {
        Self { name, key, secondary }
    }
}

/// A table whatever its row type: enough to lay out a state.
pub trait AnyTable: Sync {
    /// The name of the table.
    fn name(&self) -> &'static str;
    /// How many secondary indexes it has.
    fn secondary_count(&self) -> usize;
}

impl<R> AnyTable for Table<R> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn secondary_count(&self) -> usize {
        self.secondary.len()
    }
}
