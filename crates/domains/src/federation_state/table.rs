//! The rows.

use std::sync::Arc;

use contract::RecordDef;
use store::{State, Table, Tx};
use types::federation_state::FederationState;
use types::msgpack;

use super::command::{FederationStateCommand, FederationStateOp};

/// All states, by datacenter.
pub const FEDERATION_STATES: Table<FederationState> =
    Table::new("federation-states", |row| Arc::from(row.datacenter.as_str().as_bytes()));

/// How they stand in snapshots: as the commands that wrote them
/// (`reference/raft-and-snapshots.md` section 10).
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 0x1e, save, restore }];

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    for row in state.peek_prefix(&FEDERATION_STATES, &[]) {
        write(&msgpack::to_vec(&FederationStateCommand {
            op: FederationStateOp::Upsert,
            state: Some(row.clone()),
            ..FederationStateCommand::default()
        }));
    }
}

/// A row keeps the indexes it was saved with.
fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let command: FederationStateCommand = msgpack::from_slice(bytes)?;
    if let Some(row) = command.state {
        tx.put(&FEDERATION_STATES, row);
    }
    Ok(())
}
