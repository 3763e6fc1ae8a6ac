//! The keys, and what remains of deleted ones.

use std::sync::Arc;

use contract::RecordDef;
use serde::{Deserialize, Serialize};
use store::{Key, KeyBuilder, Secondary, State, Table, Tx};
use types::kv::KvEntry;
use types::{Index, SessionId, msgpack};

/// All keys.
pub const KVS: Table<KvEntry> = Table::with(
    "kvs",
    |entry| key(&entry.key),
    &[Secondary {
        name: "session",
        keys: |entry, file| {
            if !entry.session.is_empty() {
                file(session_key(&entry.session));
            }
        },
    }],
);

/// In [`KVS`]: by the session that holds the lock.
const KVS_BY_SESSION: usize = 0;

fn session_key(session: &SessionId) -> KeyBuilder {
    KeyBuilder::new().text(session.as_str())
}

/// What remains of deleted keys.
pub const TOMBSTONES: Table<Tombstone> = Table::new("tombstones", |tombstone| key(&tombstone.key));

/// The primary key shares the memory of the row's own text.
fn key(text: &Arc<str>) -> Key {
    Arc::from(Arc::clone(text))
}

/// A deleted key, or a prefix whose keys were deleted together, and when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tombstone {
    /// The key or the prefix.
    pub key: Arc<str>,
    /// The index of the deletion.
    pub index: Index,
}

/// The index that an answer about nothing reports: the last change of any key.
pub(super) fn table_index(state: &State) -> Index {
    state.index_of(KVS.name).max(state.index_of(TOMBSTONES.name))
}

/// Stores a key as it is and files the change.
pub(super) fn store(tx: &mut Tx<'_>, entry: KvEntry) {
    tx.put(&KVS, entry);
    tx.bump(KVS.name);
}

/// Deletes a key, leaving a tombstone. Deleting nothing changes nothing.
pub(super) fn delete(tx: &mut Tx<'_>, key: &str) -> bool {
    let Some(old) = tx.delete(&KVS, key.as_bytes()) else { return false };
    let index = tx.index();
    tx.put(&TOMBSTONES, Tombstone { key: Arc::clone(&old.key), index });
    tx.bump(KVS.name);
    tx.bump(TOMBSTONES.name);
    true
}

/// Deletes all keys with a prefix. One tombstone stands for all of them, under the prefix:
/// what is read below it later has the index of the whole table, which is newer. The store as
/// a whole needs none for the same reason.
pub(super) fn delete_tree(tx: &mut Tx<'_>, prefix: &str) {
    let keys: Vec<Arc<str>> =
        tx.peek_prefix(&KVS, prefix.as_bytes()).map(|entry| Arc::clone(&entry.key)).collect();
    if keys.is_empty() {
        return;
    }
    for key in keys {
        tx.delete(&KVS, key.as_bytes());
    }
    tx.bump(KVS.name);
    if !prefix.is_empty() {
        let index = tx.index();
        tx.put(&TOMBSTONES, Tombstone { key: prefix.into(), index });
        tx.bump(TOMBSTONES.name);
    }
}

/// Ends the locks of a session that is gone: the keys are deleted, or stay as they are
/// without it. Returns the keys.
pub(crate) fn end_locks(tx: &mut Tx<'_>, session: &SessionId, delete_keys: bool) -> Vec<Arc<str>> {
    let held: Vec<Arc<KvEntry>> =
        tx.secondary(&KVS, KVS_BY_SESSION, session_key(session).as_bytes()).collect();
    for entry in &held {
        if delete_keys {
            delete(tx, &entry.key);
        } else {
            let released = KvEntry {
                session: SessionId::default(),
                modify_index: tx.index(),
                ..KvEntry::clone(entry)
            };
            store(tx, released);
        }
    }
    held.iter().map(|entry| Arc::clone(&entry.key)).collect()
}

/// How keys and tombstones stand in snapshots.
pub(super) const RECORDS: &[RecordDef] = &[
    RecordDef { tag: 2, save: save_keys, restore: restore_key },
    RecordDef { tag: 5, save: save_tombstones, restore: restore_tombstone },
];

fn save_keys(state: &State, write: &mut dyn FnMut(&[u8])) {
    for entry in state.peek_prefix(&KVS, &[]) {
        write(&msgpack::to_vec(entry));
    }
}

fn restore_key(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let entry: KvEntry = msgpack::from_slice(bytes)?;
    tx.put(&KVS, entry);
    Ok(())
}

/// A tombstone in a snapshot is an entry of which only two fields matter.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TombstoneRecord {
    key: String,
    modify_index: Index,
}

fn save_tombstones(state: &State, write: &mut dyn FnMut(&[u8])) {
    for tombstone in state.peek_prefix(&TOMBSTONES, &[]) {
        let record =
            TombstoneRecord { key: tombstone.key.to_string(), modify_index: tombstone.index };
        write(&msgpack::to_vec(&record));
    }
}

fn restore_tombstone(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let record: TombstoneRecord = msgpack::from_slice(bytes)?;
    tx.put(&TOMBSTONES, Tombstone { key: record.key.into(), index: record.modify_index });
    Ok(())
}
