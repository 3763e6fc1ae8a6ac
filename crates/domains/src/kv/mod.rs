//! The key/value store.
//!
//! Keys are texts in byte order; "folders" exist only in the eye of the client.
//! Semantics: `reference/http-api.md` 3.1.
//!
//! - Every write that changes something sets the key's `ModifyIndex`; writing what
//!   is already there changes nothing and wakes nobody.
//! - A deleted key leaves a tombstone with the index of its deletion, and keys that are
//!   deleted by their prefix leave one together, so that the index of a prefix does not go
//!   backwards. Tombstones are reaped in time.
//! - The value, the flags and the lock are one row: a reader sees them together.
//! - A lock is held by a session that exists: its end is the end of its locks, in the
//!   same transaction.

mod access;
mod around;
mod command;
mod endpoint;
mod query;
mod remote;
mod table;

pub(crate) use access::{
    read as read_permission, write as write_permission, write_tree as write_tree_permission,
};
pub use around::{Around, KvAround};
pub(crate) use command::change;
pub use command::{KvCommand, KvOp, TombstoneReap};
pub use query::{KvGet, KvKeys, KvList};
pub(crate) use table::end_locks;
pub use table::{KVS, TOMBSTONES, Tombstone};

use contract::{CommandDef, Domain};

/// The key/value store.
pub const DOMAIN: Domain = Domain {
    name: "kv",
    tables: &[&KVS, &TOMBSTONES],
    commands: &[CommandDef::of::<KvCommand>(), CommandDef::of::<TombstoneReap>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};
