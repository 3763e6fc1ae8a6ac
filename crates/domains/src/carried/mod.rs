//! Records of snapshots that no domain of this version understands: tokens, config
//! entries, peerings and the like of a Consul that has them.
//!
//! They are kept as they came and written into every later snapshot, so that moving
//! here and back loses nothing. They are not in force: nothing reads them. The version
//! that has a domain for them finds them where each of its records is, in the snapshot
//! that it starts from.
//!
//! - They change only by a restore, and then all of them.
//! - Those of one kind keep their order.

use std::sync::Arc;

use bytes::Bytes;
use contract::Domain;
use store::{State, Table, Tx};

/// One record that is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedRecord {
    /// Its kind: the first byte in a snapshot.
    pub kind: u8,
    /// Its place among all records of the snapshot that it came with.
    pub number: u64,
    /// What stands behind the first byte.
    pub bytes: Bytes,
}

/// All records that are carried, by kind and place.
pub const CARRIED: Table<CarriedRecord> = Table::new("carried", |record| {
    let mut key = [record.kind; 9];
    key[1..].copy_from_slice(&record.number.to_be_bytes());
    Arc::from(&key[..])
});

/// Keeps a record.
pub fn carry(tx: &mut Tx<'_>, kind: u8, number: u64, bytes: &[u8]) {
    tx.put(&CARRIED, CarriedRecord { kind, number, bytes: Bytes::copy_from_slice(bytes) });
}

/// Visits the records of one kind, in their order.
pub fn for_each(state: &State, kind: u8, visit: impl FnMut(&CarriedRecord)) {
    state.peek_prefix(&CARRIED, &[kind]).for_each(visit);
}

/// What is carried.
pub const DOMAIN: Domain = Domain {
    name: "carried",
    tables: &[&CARRIED],
    commands: &[],
    records: &[],
    routes: &[],
    methods: &[],
};
