//! Parts that wait for the rest of their command.

use std::collections::BTreeMap;
use std::sync::Arc;

use contract::RecordDef;
use serde::{Deserialize, Serialize};
use store::{State, Table, Tx};
use types::{Blob, msgpack};

use super::part::{PARTS_MAX, Part};

/// A part of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub struct Chunk {
    /// The command.
    pub op_num: u64,
    /// The part, from zero.
    pub sequence_num: u32,
    /// How many parts the command has.
    pub num_chunks: u32,
    /// The term of the leader that cut it.
    pub term: u64,
    /// The part's bytes.
    pub data: Blob,
}

/// Parts, by command and place.
pub const CHUNKS: Table<Chunk> = Table::new("chunks", |chunk| {
    let mut key = [0; 12];
    key[..8].copy_from_slice(&chunk.op_num.to_be_bytes());
    key[8..].copy_from_slice(&chunk.sequence_num.to_be_bytes());
    Arc::from(&key[..])
});

/// Forgets parts that no leader will complete.
pub(super) fn drop_other_terms(tx: &mut Tx<'_>, term: u64) {
    let others = tx.peek_prefix(&CHUNKS, &[]).filter(|chunk| chunk.term != term);
    let keys: Vec<_> = others.map(|chunk| (CHUNKS.key)(chunk)).collect();
    for key in keys {
        tx.delete(&CHUNKS, &key);
    }
}

pub(super) fn put(tx: &mut Tx<'_>, part: Part, term: u64, data: &[u8]) {
    let Part { op: op_num, sequence: sequence_num, count: num_chunks } = part;
    let data = Blob(bytes::Bytes::copy_from_slice(data));
    tx.put(&CHUNKS, Chunk { op_num, sequence_num, num_chunks, term, data });
}

/// The command, once all its parts are there; they are forgotten then.
pub(super) fn take_whole(tx: &mut Tx<'_>, part: Part) -> Option<Vec<u8>> {
    let op = part.op.to_be_bytes();
    let there = tx.peek_prefix(&CHUNKS, &op).filter(|chunk| !chunk.data.is_empty()).count();
    if there < part.count as usize {
        return None;
    }
    let mut whole = Vec::new();
    let mut keys = Vec::new();
    for chunk in tx.peek_prefix(&CHUNKS, &op) {
        whole.extend_from_slice(&chunk.data);
        keys.push((CHUNKS.key)(chunk));
    }
    for key in keys {
        tx.delete(&CHUNKS, &key);
    }
    Some(whole)
}

/// How they stand in snapshots: one record for all.
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 29, save, restore }];

/// The parts of each command, with nothing in the places of those that have not come.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
struct ChunkingState {
    chunk_map: BTreeMap<u64, Vec<Option<Chunk>>>,
}

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    let mut record = ChunkingState::default();
    for chunk in state.peek_prefix(&CHUNKS, &[]) {
        let parts = record.chunk_map.entry(chunk.op_num).or_default();
        parts.resize(chunk.num_chunks as usize, None);
        if let Some(place) = parts.get_mut(chunk.sequence_num as usize) {
            *place = Some(chunk.clone());
        }
    }
    write(&msgpack::to_vec(&record));
}

fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let record: ChunkingState = msgpack::from_slice(bytes)?;
    for chunk in record.chunk_map.into_values().flatten().flatten() {
        let possible = chunk.sequence_num < chunk.num_chunks && chunk.num_chunks <= PARTS_MAX;
        if possible && !chunk.data.is_empty() {
            tx.put(&CHUNKS, chunk);
        }
    }
    Ok(())
}
