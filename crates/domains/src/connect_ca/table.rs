//! Roots, the configuration, and what the built-in provider keeps.

use std::sync::Arc;

use contract::RecordDef;
use serde::Serialize;
use serde::de::DeserializeOwned;
use store::{State, Table, Tx};
use types::connect_ca::{CaConfiguration, CaProviderState, CaRoot};
use types::msgpack;

/// The roots by id.
pub const CA_ROOTS: Table<CaRoot> =
    Table::new("connect-ca-roots", |root| Arc::from(root.id.as_bytes()));

/// The configuration, one row with an empty key.
pub const CA_CONFIG: Table<CaConfiguration> =
    Table::new("connect-ca-config", |_| Arc::from(&b""[..]));

/// What the built-in provider keeps, by id.
pub const CA_PROVIDER_STATE: Table<CaProviderState> =
    Table::new("connect-ca-builtin", |state| Arc::from(state.id.as_bytes()));

/// The name under which the last serial number that was given out is filed.
pub(super) const SERIAL: &str = "connect-ca-builtin-serial";

/// How the rows stand in snapshots (`reference/raft-and-snapshots.md` section 10).
pub(super) const RECORDS: &[RecordDef] = &[
    RecordDef {
        tag: 0x0d,
        save: |state, write| save(state, &CA_ROOTS, write),
        restore: |bytes, tx| restore(bytes, &CA_ROOTS, tx),
    },
    RecordDef {
        tag: 0x0e,
        save: |state, write| save(state, &CA_PROVIDER_STATE, write),
        restore: |bytes, tx| restore(bytes, &CA_PROVIDER_STATE, tx),
    },
    RecordDef {
        tag: 0x0f,
        save: |state, write| save(state, &CA_CONFIG, write),
        restore: |bytes, tx| restore(bytes, &CA_CONFIG, tx),
    },
];

fn save<R>(state: &State, table: &Table<R>, write: &mut dyn FnMut(&[u8]))
where
    R: Serialize + Send + Sync + 'static,
{
    for row in state.peek_prefix(table, &[]) {
        write(&msgpack::to_vec(row));
    }
}

fn restore<R>(bytes: &[u8], table: &Table<R>, tx: &mut Tx<'_>) -> Result<(), msgpack::Error>
where
    R: DeserializeOwned + Send + Sync + 'static,
{
    let row: R = msgpack::from_slice(bytes)?;
    tx.put(table, row);
    Ok(())
}
