//! The rows.

use contract::RecordDef;
use store::{State, Table, Tx};
use types::coordinate::NodeCoordinate;
use types::msgpack;

use crate::catalog::node_key;

/// All coordinates, by node and segment.
pub const COORDINATES: Table<NodeCoordinate> =
    Table::new("coordinates", |row| node_key(row.node.as_str()).text(&row.segment).build());

/// The coordinates of a node go with it.
pub(crate) fn handle_node_removed(tx: &mut Tx<'_>, node: &str) {
    let of_node = node_key(node);
    let rows: Vec<_> = tx.prefix(&COORDINATES, of_node.as_bytes()).collect();
    for row in &rows {
        tx.delete(&COORDINATES, of_node.clone().text(&row.segment).as_bytes());
    }
    if !rows.is_empty() {
        tx.bump(COORDINATES.name);
    }
}

/// How coordinates stand in snapshots: each as a batch of one
/// (`reference/raft-and-snapshots.md` section 10).
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 6, save, restore }];

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    for row in state.peek_prefix(&COORDINATES, &[]) {
        write(&msgpack::to_vec(&[row]));
    }
}

fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let rows: Vec<NodeCoordinate> = msgpack::from_slice(bytes)?;
    for row in rows {
        tx.put(&COORDINATES, row);
    }
    Ok(())
}
