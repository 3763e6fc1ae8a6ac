//! What is refused before it reaches the log or the state.

use contract::LeaderMemory;
use types::json::quote;
use types::txn::{KvVerb, RowVerb, TxnKvOp, TxnNodeOp, TxnOp, TxnServiceOp};

use crate::catalog;

/// What can be said about an operation without looking at the state.
pub(super) fn operation(op: &TxnOp) -> Result<(), String> {
    match op {
        TxnOp { kv: Some(op), .. } => key(&op.verb, &op.entry.key),
        TxnOp { node: Some(op), .. } => node(op),
        TxnOp { service: Some(op), .. } => service(op),
        TxnOp { check: Some(op), .. } => known(&op.verb, "check"),
        TxnOp { session: Some(_), .. } => Ok(()),
        TxnOp { .. } => Err(EMPTY.to_owned()),
    }
}

/// An operation without any part, which HTTP requests cannot make.
pub(super) const EMPTY: &str = "the operation is empty";

pub(super) fn key(verb: &KvVerb, key: &str) -> Result<(), String> {
    if key.is_empty() && *verb != KvVerb::DeleteTree {
        return Err("Must provide key".to_owned());
    }
    match verb {
        KvVerb::Unknown(verb) => Err(format!("unknown KV operation: {verb}")),
        _ => Ok(()),
    }
}

fn node(op: &TxnNodeOp) -> Result<(), String> {
    known(&op.verb, "node")?;
    if op.verb == RowVerb::Get {
        return Ok(());
    }
    if op.node.node.is_empty() {
        return Err("Must provide node".to_owned());
    }
    catalog::node_id(&op.node.id).map_err(|error| error.to_string())
}

fn service(op: &TxnServiceOp) -> Result<(), String> {
    known(&op.verb, "service")?;
    if op.verb == RowVerb::Get {
        return Ok(());
    }
    catalog::service_on_its_own(&op.service).map_err(|error| error.to_string())
}

fn known(verb: &RowVerb, what: &str) -> Result<(), String> {
    match verb {
        RowVerb::Unknown(verb) => Err(format!("unknown {what} operation: {verb}")),
        _ => Ok(()),
    }
}

/// A key whose lock ended with its session cannot be locked for a while.
pub(super) fn lock_delay(op: &TxnOp, memory: &dyn LeaderMemory) -> Result<(), String> {
    let TxnOp { kv: Some(TxnKvOp { verb: KvVerb::Lock, entry }), .. } = op else { return Ok(()) };
    if !memory.is_lock_delayed(&entry.key) {
        return Ok(());
    }
    Err(format!("failed to lock key {} due to lock delay", quote(&entry.key)))
}
