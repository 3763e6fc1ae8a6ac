//! The sessions.

use std::sync::Arc;
use std::time::Duration;

use contract::RecordDef;
use store::{Key, Secondary, State, Table, Tx};
use types::session::Session;
use types::{SessionId, msgpack};

use crate::catalog::{check_key, node_key};

/// All sessions, by id.
pub const SESSIONS: Table<Session> = Table::with(
    "sessions",
    |session| Key::from(session.id.as_str().as_bytes()),
    &[
        Secondary { name: "node", keys: |session, file| file(node_key(session.node.as_str())) },
        Secondary {
            name: "check",
            keys: |session, file| {
                for check in session.all_checks() {
                    file(check_key(session.node.as_str(), check.as_str()));
                }
            },
        },
    ],
);

/// In [`SESSIONS`]: by node.
pub(super) const SESSIONS_BY_NODE: usize = 0;

/// In [`SESSIONS`]: by each check that they depend on.
pub(super) const SESSIONS_BY_CHECK: usize = 1;

/// Keys that the command being applied took from sessions that ended, and that cannot
/// be locked for a while. Whoever applies a command takes them out behind it
/// ([`take_lock_delays`]), so between commands and in snapshots there are none: the
/// delay runs on the leader's clock, which no state knows.
pub const LOCK_DELAYS: Table<LockDelay> =
    Table::new("session-lock-delays", |delay| Arc::from(Arc::clone(&delay.key)));

/// A key that cannot be locked for a while.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LockDelay {
    /// The key.
    pub key: Arc<str>,
    /// For how long from now on.
    pub delay: Duration,
}

/// Whether there is such a session.
pub fn exists(state: &State, id: &SessionId) -> bool {
    state.peek(&SESSIONS, id.as_str().as_bytes()).is_some()
}

/// Takes out what the command that was just applied left in [`LOCK_DELAYS`].
pub fn take_lock_delays(tx: &mut Tx<'_>) -> Vec<LockDelay> {
    if tx.len(&LOCK_DELAYS) == 0 {
        return Vec::new();
    }
    let delays: Vec<LockDelay> = tx.peek_prefix(&LOCK_DELAYS, &[]).cloned().collect();
    for delay in &delays {
        tx.delete(&LOCK_DELAYS, delay.key.as_bytes());
    }
    delays
}

/// How sessions stand in snapshots.
pub(super) const RECORDS: &[RecordDef] = &[RecordDef { tag: 3, save, restore }];

fn save(state: &State, write: &mut dyn FnMut(&[u8])) {
    for session in state.peek_prefix(&SESSIONS, &[]) {
        write(&msgpack::to_vec(session));
    }
}

fn restore(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let session: Session = msgpack::from_slice(bytes)?;
    tx.put(&SESSIONS, session);
    Ok(())
}
