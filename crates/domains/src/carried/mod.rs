//! Records that no domain of this version understands: tokens, config entries, intentions
//! and the like of a Consul that has them.
//!
//! They come with snapshots, and with the log of a cluster whose leader is a Consul server.
//! They are kept and written into every later snapshot, so that moving here and back loses
//! nothing, and so that servers of both kinds agree on the state. They are not in force:
//! nothing reads them. The version that has a domain for them finds them where each of its
//! records is, in the snapshot that it starts from.
//!
//! - [`command`]: what the log does to them: sets and removes whole records. Commands whose
//!   meaning is more than that are none of these, and stop the server.
//! - [`acl`]: whether the cluster that they come from relies on access control.
//! - A record whose kind is known has one place: that of its id. Others keep their order.

pub mod acl;
pub mod command;
mod record;

use std::sync::Arc;

use bytes::Bytes;
use contract::Domain;
use store::{State, Table, Tx};

/// One record that is carried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CarriedRecord {
    /// Its kind: the first byte in a snapshot.
    pub kind: u8,
    /// Its place among those of its kind: by what identifies it, or by its number in the
    /// snapshot that it came with.
    place: Vec<u8>,
    /// What stands behind the first byte.
    pub bytes: Bytes,
}

/// All records that are carried, by kind and place.
pub const CARRIED: Table<CarriedRecord> =
    Table::new("carried", |record| Arc::from(key_of(record.kind, &record.place)));

fn key_of(kind: u8, place: &[u8]) -> Vec<u8> {
    [&[kind], place].concat()
}

/// Keeps a record of a snapshot, which was number `number` in it.
pub fn carry(tx: &mut Tx<'_>, kind: u8, number: u64, bytes: &[u8]) {
    let unknown = || [&[0][..], &number.to_be_bytes()].concat();
    let place = record::place_of(kind, bytes).unwrap_or_else(unknown);
    tx.put(&CARRIED, CarriedRecord { kind, place, bytes: Bytes::copy_from_slice(bytes) });
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

#[cfg(test)]
mod tests;
