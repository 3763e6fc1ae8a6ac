//! The one row.

use std::sync::Arc;

use contract::RecordDef;
use store::{State, Table, Tx};
use types::autopilot::AutopilotConfiguration;
use types::msgpack;

/// The configuration, one row with an empty key.
pub const AUTOPILOT: Table<AutopilotConfiguration> =
    Table::new("autopilot-config", |_| Arc::from(&b""[..]));

/// The configuration, once a leader has made it.
pub fn configuration(state: &State) -> Option<&AutopilotConfiguration> {
    state.peek(&AUTOPILOT, b"")
}

/// How it stands in snapshots.
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 9, save, restore }];

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    if let Some(configuration) = configuration(state) {
        write(&msgpack::to_vec(configuration));
    }
}

fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let configuration: AutopilotConfiguration = msgpack::from_slice(bytes)?;
    tx.put(&AUTOPILOT, configuration);
    Ok(())
}
