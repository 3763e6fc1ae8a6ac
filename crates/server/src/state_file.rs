//! The state as bytes: Consul's `state.bin` (`reference/raft-and-snapshots.md` 10).
//!
//! A header map, then records: one tag byte and one msgpack value each, until the
//! end. Reading takes the records in any order.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};
use store::{INDEXES, State, Store};
use types::{Index, msgpack};

/// Tag of the records of named indexes, which belong to no domain.
const TAG_INDEX: u8 = 0x10;

/// Tag of the record of half-received chunked commands, of which there are none.
const TAG_CHUNKS: u8 = 0x1d;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Header {
    last_index: Index,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct IndexRecord {
    key: String,
    value: Index,
}

/// Why a state could not be read.
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The bytes could not be had.
    #[error("cannot read the snapshot: {0}")]
    Io(#[from] io::Error),
    /// A record is broken.
    #[error("the snapshot's record number {number} (type {tag}) cannot be read: {error}")]
    Record {
        /// Which record, from one; zero for the header.
        number: u64,
        /// Its tag.
        tag: u8,
        /// What is wrong.
        error: msgpack::Error,
    },
    /// A record of a kind that this version does not know.
    #[error("Unrecognized msg type {tag}")]
    Unknown {
        /// Its tag.
        tag: u8,
    },
    /// A record of a feature that Community Edition does not have.
    #[error("msg type <{tag}> is a Consul Enterprise log entry. Consul CE cannot restore it")]
    Enterprise {
        /// Its tag.
        tag: u8,
    },
}

/// Writes a state.
pub fn save(state: &State, out: &mut dyn Write) -> io::Result<()> {
    out.write_all(&msgpack::to_vec(&Header { last_index: state.index() }))?;
    let mut outcome = Ok(());
    for domain in domains::ALL {
        for record in domain.records {
            (record.save)(state, &mut |bytes| {
                if outcome.is_ok() {
                    outcome = out.write_all(&[record.tag]).and_then(|()| out.write_all(bytes));
                }
            });
        }
    }
    outcome?;
    for row in state.peek_prefix(&INDEXES, &[]) {
        let record = IndexRecord { key: row.name.to_string(), value: row.value };
        out.write_all(&[TAG_INDEX])?;
        out.write_all(&msgpack::to_vec(&record))?;
    }
    out.write_all(b"\x1d\x81\xa8ChunkMap\x80")
}

/// Reads a state and puts it in place of the store's; all watches fire. Nothing is
/// changed if anything is wrong.
pub fn restore(input: &mut dyn Read, store: &Store) -> Result<Index, RestoreError> {
    let mut bytes = Vec::new();
    input.read_to_end(&mut bytes)?;
    let broken = |number, tag| move |error| RestoreError::Record { number, tag, error };
    let (header, mut rest): (Header, &[u8]) = msgpack::from_prefix(&bytes).map_err(broken(0, 0))?;
    let mut state = State::new(&domains::tables());
    let outcome: Result<(), RestoreError> = state.fill(header.last_index, |tx| {
        let mut number = 0;
        while let Some((&tag, after)) = rest.split_first() {
            number += 1;
            let length = msgpack::value_len(after).map_err(broken(number, tag))?;
            let length =
                length.ok_or(msgpack::Error::UnexpectedEnd).map_err(broken(number, tag))?;
            let (record, tail) = after.split_at(length);
            restore_record(tag, record, tx, number)?;
            rest = tail;
        }
        Ok(())
    });
    outcome?;
    store.replace(state);
    Ok(header.last_index)
}

fn restore_record(
    tag: u8,
    record: &[u8],
    tx: &mut store::Tx<'_>,
    number: u64,
) -> Result<(), RestoreError> {
    let broken = |error| RestoreError::Record { number, tag, error };
    if tag == TAG_CHUNKS {
        return Ok(());
    }
    if tag == TAG_INDEX {
        let index: IndexRecord = msgpack::from_slice(record).map_err(broken)?;
        tx.set_index(&index.key, index.value);
        return Ok(());
    }
    let known =
        domains::ALL.iter().flat_map(|domain| domain.records).find(|known| known.tag == tag);
    match known {
        Some(known) => (known.restore)(record, tx).map_err(broken),
        None if (64..0x80).contains(&tag) => Err(RestoreError::Enterprise { tag }),
        None => Err(RestoreError::Unknown { tag }),
    }
}

#[cfg(test)]
mod tests {
    use contract::AnyCommand;
    use domains::kv::{KVS, KvCommand, KvOp, TOMBSTONES};
    use types::kv::KvEntry;

    use super::*;
    use crate::fsm::{Fsm, FsmCommand};

    fn filled() -> Store {
        let fsm = Fsm::new(Store::new(&domains::tables()));
        let command = |op, key: &str| -> Box<dyn AnyCommand> {
            let entry =
                KvEntry { key: key.into(), value: (&b"v"[..]).into(), ..KvEntry::default() };
            Box::new(KvCommand { op, entry, ..KvCommand::default() })
        };
        let commands =
            [command(KvOp::Set, "a"), command(KvOp::Set, "b"), command(KvOp::Delete, "a")];
        let numbered = commands.into_iter().zip(5..).map(|(c, i)| (Index(i), FsmCommand::Typed(c)));
        fsm.apply(numbered).expect("all are known");
        fsm.store().clone()
    }

    #[test]
    fn a_saved_state_comes_back_whole() {
        let (before, after) = (filled(), Store::new(&domains::tables()));
        let mut bytes = Vec::new();
        save(&before.snapshot(), &mut bytes).expect("memory takes all");
        let index = restore(&mut bytes.as_slice(), &after).expect("it was just saved");
        assert_eq!(index, Index(7));
        let state = after.snapshot();
        assert_eq!(state.get(&KVS, b"b").map(|row| row.modify_index), Some(Index(6)));
        assert_eq!(state.get(&TOMBSTONES, b"a").map(|row| row.index), Some(Index(7)));
        assert_eq!(state.index_of("kvs"), Index(7));
        let mut again = Vec::new();
        save(&state, &mut again).expect("memory takes all");
        assert_eq!(bytes, again);
    }

    #[test]
    fn a_broken_snapshot_changes_nothing() {
        let mut bytes = Vec::new();
        save(&filled().snapshot(), &mut bytes).expect("memory takes all");
        let store = filled();
        for cut in 1..bytes.len() {
            // A cut between two records leaves a shorter but sound state.
            let _ = restore(&mut &bytes[..cut], &Store::new(&domains::tables()));
        }
        bytes.push(0x3f);
        bytes.push(0xc0);
        let error = restore(&mut bytes.as_slice(), &store).expect_err("the tag is unknown");
        assert!(matches!(error, RestoreError::Unknown { tag: 0x3f }));
        assert!(store.snapshot().get(&KVS, b"b").is_some());
    }
}
