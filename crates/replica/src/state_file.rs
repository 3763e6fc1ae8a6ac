//! The state as bytes: Consul's `state.bin` (`reference/raft-and-snapshots.md` 10).
//!
//! A header map, then records: one tag byte and one msgpack value each, until the
//! end. Reading takes the records in any order. Records of kinds that no domain here
//! understands are carried ([`domains::carried`]) and told of.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Read, Write};

use contract::RecordDef;
use domains::carried;
use domains::carried::acl::AclRecords;
use serde::{Deserialize, Serialize};
use snapshot::{ORDER, Record, RecordError, RecordType, Splitter, StateHeader};
use store::{INDEXES, State, Store};
use types::{Index, msgpack};

use crate::fsm::ACLS_NOT_BUILT;

/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 64 << 10;

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
    /// The records cannot be told apart.
    #[error(transparent)]
    Split(#[from] RecordError),
    /// A record is not what its kind says.
    #[error("the snapshot's record number {number} ({kind}) cannot be read: {error}")]
    Record {
        /// Which record, from one.
        number: u64,
        /// Its kind.
        kind: RecordType,
        /// What is wrong.
        error: msgpack::Error,
    },
    /// A record of a kind that this version does not know.
    #[error("Unrecognized msg type {}", .0.0)]
    Unknown(RecordType),
    /// A record of a feature that Community Edition does not have.
    #[error("msg type <{}> is a Consul Enterprise log entry. Consul CE cannot restore it", .0.0)]
    Enterprise(RecordType),
    /// A record of the ACL system that Consul gave up.
    #[error("legacy ACL command has been removed with the legacy ACL system")]
    LegacyAcl,
    /// The state of a cluster whose access control is in force.
    #[error("the snapshot is of a cluster with ACLs in force ({0}): {hint}", hint = ACLS_NOT_BUILT)]
    Acls(AclRecords),
}

/// What a state is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Contents {
    /// The Raft index of the state.
    pub index: Index,
    /// How many records of each kind are kept without being in force.
    pub carried: BTreeMap<RecordType, u64>,
    /// What there is of access control.
    pub acls: AclRecords,
}

impl Contents {
    /// What there is to say about what is carried: `ACLToken 3, ConfigEntry 2`.
    pub fn carried_text(&self) -> Option<String> {
        let texts: Vec<String> =
            self.carried.iter().map(|(kind, count)| format!("{kind} {count}")).collect();
        (!texts.is_empty()).then(|| texts.join(", "))
    }

    /// What becomes of a record, which it counts.
    ///
    /// # Errors
    /// If it has no place in a state of this version.
    pub fn judge(&mut self, record: Record<'_>) -> Result<Fate, RestoreError> {
        let kind = match record {
            Record::Header(StateHeader { last_index }) => {
                self.index = last_index;
                return Ok(Fate::Header);
            }
            Record::Of(kind, bytes) => {
                self.acls.note(kind.0, bytes);
                kind
            }
        };
        if let Some(known) = definition(kind) {
            return Ok(Fate::Restored(known));
        }
        match kind {
            RecordType::INDEX => {
                if let Record::Of(_, bytes) = record
                    && let Ok(IndexRecord { key, value }) = msgpack::from_slice(bytes)
                {
                    self.acls.note_index(&key, value);
                }
                Ok(Fate::Index)
            }
            RecordType::LEGACY_ACL => Err(RestoreError::LegacyAcl),
            kind if kind.is_enterprise() => Err(RestoreError::Enterprise(kind)),
            kind if kind.place().is_none() => Err(RestoreError::Unknown(kind)),
            kind => {
                *self.carried.entry(kind).or_default() += 1;
                Ok(Fate::Carried)
            }
        }
    }
}

/// What becomes of a record.
pub enum Fate {
    /// It says what the state is.
    Header,
    /// Its domain restores its rows.
    Restored(&'static RecordDef),
    /// It is a named index.
    Index,
    /// It is kept without being in force.
    Carried,
}

/// The domain's definition of a kind.
fn definition(kind: RecordType) -> Option<&'static RecordDef> {
    let mut records = domains::ALL.iter().flat_map(|domain| domain.records);
    records.find(|known| known.tag == kind.0)
}

/// Writes a state: the same bytes for the same state.
pub fn save(state: &State, out: &mut dyn Write) -> io::Result<()> {
    let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
    out.write_all(&msgpack::to_vec(&StateHeader { last_index: state.index() }))?;
    for kind in ORDER {
        let mut outcome = Ok(());
        let mut write = |bytes: &[u8]| {
            if outcome.is_ok() {
                outcome = out.write_all(&[kind.0]).and_then(|()| out.write_all(bytes));
            }
        };
        match (*kind, definition(*kind)) {
            (_, Some(known)) => (known.save)(state, &mut write),
            (RecordType::INDEX, _) => {
                for row in state.peek_prefix(&INDEXES, &[]) {
                    let record = IndexRecord { key: row.name.to_string(), value: row.value };
                    write(&msgpack::to_vec(&record));
                }
            }
            (kind, None) => {
                carried::for_each(state, kind.0, |record| write(&record.bytes));
            }
        }
        outcome?;
    }
    out.flush()
}

/// Reads a state and puts it in place of the store's; all watches fire. Nothing is
/// changed if anything is wrong.
pub fn restore(input: &mut dyn Read, store: &Store) -> Result<Contents, RestoreError> {
    restore_if(input, store, |_| Ok(()))
}

/// As [`restore`], where it may be refused for what is in it.
pub(crate) fn restore_if(
    input: &mut dyn Read,
    store: &Store,
    check: impl FnOnce(&Contents) -> Result<(), RestoreError>,
) -> Result<Contents, RestoreError> {
    let (state, contents) = read(input)?;
    check(&contents)?;
    store.replace(state);
    Ok(contents)
}

fn read(input: &mut dyn Read) -> Result<(State, Contents), RestoreError> {
    let mut state = State::new(&domains::tables());
    let mut contents = Contents::default();
    let mut number = 0;
    let mut splitter = Splitter::new(|record: Record<'_>| -> Result<(), RestoreError> {
        let fate = contents.judge(record)?;
        let Record::Of(kind, bytes) = record else { return Ok(()) };
        number += 1;
        let broken = |error| RestoreError::Record { number, kind, error };
        state.fill(contents.index, |tx| match fate {
            Fate::Header => Ok(()),
            Fate::Restored(known) => (known.restore)(bytes, tx).map_err(broken),
            Fate::Index => {
                let index: IndexRecord = msgpack::from_slice(bytes).map_err(broken)?;
                tx.set_index(&index.key, index.value);
                Ok(())
            }
            Fate::Carried => {
                carried::carry(tx, kind.0, number, bytes);
                Ok(())
            }
        })
    });
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => splitter.feed(&buffer[..count])?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
    splitter.finish()?;
    state.fill(contents.index, |_| ());
    Ok((state, contents))
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
        fsm.apply(numbered, &mut ()).expect("all are known");
        fsm.store().clone()
    }

    #[test]
    fn a_saved_state_comes_back_whole() {
        let (before, after) = (filled(), Store::new(&domains::tables()));
        let mut bytes = Vec::new();
        save(&before.snapshot(), &mut bytes).expect("memory takes all");
        let contents = restore(&mut bytes.as_slice(), &after).expect("it was just saved");
        assert_eq!(contents, Contents { index: Index(7), ..Contents::default() });
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
        let bytes = saved(&filled());
        for (what, broken, expected) in [
            ("nothing", vec![], "the snapshot's state ends in the middle of record number 0"),
            ("cut", bytes[..bytes.len() - 1].to_vec(), "the snapshot's state ends in the middle"),
            ("no header", vec![0x02, 0xc0], "the snapshot's state does not begin with its index"),
            ("no msgpack", with(&bytes, 2, b"\xc1"), "(KVS) cannot be read: msgpack: unknown"),
            ("another shape", with(&bytes, 2, b"\x01"), "(KVS) cannot be read: msgpack: expected"),
            ("unknown", with(&bytes, 62, b"\xc0"), "Unrecognized msg type 62"),
            ("no record of snapshots", with(&bytes, 1, b"\x80"), "Unrecognized msg type 1"),
            ("Enterprise", with(&bytes, 64, b"\xc0"), "msg type <64> is a Consul Enterprise"),
            ("old ACLs", with(&bytes, 4, b"\x80"), "legacy ACL command has been removed"),
        ] {
            let store = filled();
            let error = restore(&mut broken.as_slice(), &store).expect_err(what).to_string();
            assert!(error.contains(expected), "{what}: {error}");
            assert_eq!(saved(&store), bytes, "{what}");
        }
    }

    #[test]
    fn records_without_a_domain_are_carried_in_their_order_until_the_next_restore() {
        let entry = |name: &str| msgpack::to_vec(&vec![name]);
        let kind = ORDER.iter().find(|kind| definition(**kind).is_none()).expect("some are left");
        let (first, second) = (entry("z"), entry("a"));
        let bytes = with(&with(&saved(&filled()), kind.0, &first), kind.0, &second);
        let store = Store::new(&domains::tables());
        let contents = restore(&mut bytes.as_slice(), &store).expect("it is sound");
        assert_eq!(contents.carried, BTreeMap::from([(*kind, 2)]));
        assert_eq!(contents.carried_text(), Some(format!("{kind} 2")));

        let again = saved(&store);
        let mut kept = Vec::new();
        let mut splitter = Splitter::new(|record: Record<'_>| -> Result<(), RestoreError> {
            if let Record::Of(found, bytes) = record
                && found == *kind
            {
                kept.push(bytes.to_vec());
            }
            Ok(())
        });
        splitter.feed(&again).expect("it was just saved");
        splitter.finish().expect("it was just saved");
        assert_eq!(kept, [first, second]);

        restore(&mut saved(&filled()).as_slice(), &store).expect("it is sound");
        assert_eq!(saved(&store), saved(&filled()));
    }

    #[test]
    fn every_record_of_a_domain_has_its_place() {
        for record in domains::ALL.iter().flat_map(|domain| domain.records) {
            let kind = RecordType(record.tag);
            assert!(kind.place().is_some(), "{kind} would not be saved: add it to the order");
        }
    }

    fn saved(store: &Store) -> Vec<u8> {
        let mut bytes = Vec::new();
        save(&store.snapshot(), &mut bytes).expect("memory takes all");
        bytes
    }

    /// The state with one more record.
    fn with(bytes: &[u8], kind: u8, record: &[u8]) -> Vec<u8> {
        [bytes, &[kind], record].concat()
    }
}
