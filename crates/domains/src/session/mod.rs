//! Sessions: what holds locks on keys.
//!
//! Semantics: `reference/http-api.md` 3.2, `reference/raft-and-snapshots.md` section 17.
//!
//! - A session belongs to a node and depends on checks of that node. It ends in the
//!   same transaction in which the node or one of the checks goes away or a check
//!   becomes critical.
//! - Together with it end the locks that it holds: the keys are released or deleted.
//!   So do the prepared queries that are bound to it.
//! - While a session is there its node and its checks are.
//! - How long a session lives without being renewed, and how long the keys of a dead
//!   one cannot be locked, is known to the leader alone and is not part of the state.

mod access;
mod command;
mod endpoint;
mod query;
mod remote;
mod table;

pub use command::{SessionCommand, SessionOp, SessionReply};
pub(crate) use command::{end, handle_check_lost, handle_node_removed};
pub use query::{NodeSessions, SessionInfo, Sessions};
pub use table::{LOCK_DELAYS, LockDelay, SESSIONS, exists, take_lock_delays};

use contract::{CommandDef, Domain};

/// Sessions.
pub const DOMAIN: Domain = Domain {
    name: "session",
    tables: &[&SESSIONS, &LOCK_DELAYS],
    commands: &[CommandDef::of::<SessionCommand>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
