//! Transactions: several operations on keys, nodes, instances and checks, of which all
//! happen or none.
//!
//! Semantics: `reference/http-api.md` 3.3.
//!
//! - The operations run in order, each on what those before it left behind, as one
//!   command at one index: no reader sees a part of them.
//! - If one is refused, so is the transaction: the reply names every operation that
//!   failed, and the state is as it was.
//! - One that changes nothing is a read: it takes a snapshot and no log entry.
//! - An operation is what the resource's own command does: the rules of keys, sessions
//!   and catalog are written there, once.
//! - What the sender may not do is told operation by operation, in the reply.

mod access;
mod apply;
mod body;
mod command;
mod endpoint;
mod query;
mod read;
mod remote;
mod validate;

pub use body::parse_body;
pub use command::{TxnCommand, TxnReply};
pub use query::{TxnRead, TxnReadReply};
pub use read::ReadOp;

use contract::{CommandDef, Domain};

/// Transactions.
pub const DOMAIN: Domain = Domain {
    name: "txn",
    tables: &[],
    commands: &[CommandDef::of::<TxnCommand>()],
    records: &[],
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
