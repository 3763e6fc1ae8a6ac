//! The rows.

use std::sync::Arc;

use contract::RecordDef;
use serde::{Deserialize, Serialize};
use store::{State, Table, Tx};
use types::{Index, msgpack};

/// A text under a key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SystemMetadataEntry {
    /// The key, such as [`super::VIRTUAL_IPS`].
    pub key: String,
    /// The text.
    pub value: String,
    /// The index that created it.
    pub create_index: Index,
    /// The index of the last write.
    pub modify_index: Index,
}

/// All entries, by key in lower case.
pub const SYSTEM_METADATA: Table<SystemMetadataEntry> =
    Table::new("system-metadata", |row| Arc::from(place_of(&row.key).as_bytes()));

/// Where the entry of a key stands: case makes no difference.
pub(super) fn place_of(key: &str) -> String {
    key.to_lowercase()
}

/// The text under a key, if there is one.
pub fn value<'s>(state: &'s State, key: &str) -> Option<&'s str> {
    let row = state.peek(&SYSTEM_METADATA, place_of(key).as_bytes())?;
    Some(row.value.as_str())
}

/// How they stand in snapshots.
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 0x1f, save, restore }];

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    for row in state.peek_prefix(&SYSTEM_METADATA, &[]) {
        write(&msgpack::to_vec(row));
    }
}

fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let row: SystemMetadataEntry = msgpack::from_slice(bytes)?;
    tx.put(&SYSTEM_METADATA, row);
    Ok(())
}
