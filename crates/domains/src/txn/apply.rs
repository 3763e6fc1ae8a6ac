//! One operation as a change of the state.

use std::sync::Arc;

use contract::Applied;
use store::{State, Tx};
use types::Index;
use types::json::quote;
use types::txn::{KvVerb, RowVerb, TxnCheckOp, TxnKvOp, TxnNodeOp, TxnOp, TxnResult, TxnServiceOp};

use super::read::{ReadOp, without_value};
use super::validate::EMPTY;
use crate::catalog::{self, CHECKS, NODES, SERVICES, check_key, instance_key, node_key};
use crate::kv::{self, KVS, KvOp};
use crate::session;

/// Runs an operation and adds the rows that it gives, or says why it is refused. What is
/// refused may leave changes behind: the whole transaction is undone then.
pub(super) fn operation(
    tx: &mut Tx<'_>,
    op: &TxnOp,
    rows: &mut Vec<TxnResult>,
) -> Result<(), String> {
    if let Some(read) = ReadOp::of(op) {
        return read.run(tx, rows);
    }
    match op {
        TxnOp { kv: Some(op), .. } => change_key(tx, op, rows),
        TxnOp { node: Some(op), .. } => change_node(tx, op, rows),
        TxnOp { service: Some(op), .. } => change_service(tx, op, rows),
        TxnOp { check: Some(op), .. } => change_check(tx, op, rows),
        TxnOp { session: Some(op), .. } if op.verb == "delete" => {
            session::end(tx, &op.session.id);
            Ok(())
        }
        TxnOp { session: Some(op), .. } => Err(format!("unknown session operation: {}", op.verb)),
        TxnOp { .. } => Err(EMPTY.to_owned()),
    }
}

fn change_key(tx: &mut Tx<'_>, op: &TxnKvOp, rows: &mut Vec<TxnResult>) -> Result<(), String> {
    let key = &op.entry.key;
    let name = || quote(key);
    let (change, refused): (KvOp, fn(&str) -> String) = match &op.verb {
        KvVerb::Set => (KvOp::Set, |_| unreachable!("a plain write has no condition")),
        KvVerb::Cas => (KvOp::Cas, |key| format!("failed to set key {key}, index is stale")),
        KvVerb::Lock => {
            (KvOp::Lock, |key| format!("failed to lock key {key}, lock is already held"))
        }
        KvVerb::Unlock => (KvOp::Unlock, |key| {
            format!("failed to unlock key {key}, lock isn't held, or is held by another session")
        }),
        KvVerb::Delete => (KvOp::Delete, |_| unreachable!("a plain deletion has no condition")),
        KvVerb::DeleteTree => {
            (KvOp::DeleteTree, |_| unreachable!("a plain deletion has no condition"))
        }
        KvVerb::DeleteCas => {
            (KvOp::DeleteCas, |key| format!("failed to delete key {key}, index is stale"))
        }
        verb => return Err(format!("unknown KV operation: {verb}")),
    };
    if !kv::change(tx, change, &op.entry).map_err(|error| error.to_string())? {
        return Err(refused(&name()));
    }
    let written = matches!(change, KvOp::Set | KvOp::Cas | KvOp::Lock | KvOp::Unlock);
    if written && let Some(entry) = tx.peek(&KVS, key.as_bytes()) {
        rows.push(without_value(entry));
    }
    Ok(())
}

/// Whether a row with this index, if there is one, is what a conditional write expects:
/// zero stands for none.
fn is_expected(present: Option<Index>, expected: Index) -> bool {
    present.unwrap_or(Index::ZERO) == expected
}

fn text<T>(applied: Applied<T>) -> Result<T, String> {
    applied.map_err(|error| error.to_string())
}

fn change_node(tx: &mut Tx<'_>, op: &TxnNodeOp, rows: &mut Vec<TxnResult>) -> Result<(), String> {
    let name = op.node.node.as_str();
    let key = node_key(name);
    let present = tx.peek(&NODES, key.as_bytes()).map(|node| node.modify_index);
    let matches = is_expected(present, op.node.modify_index);
    let stale = |what: &str| Err(format!("failed to {what} node {}, index is stale", quote(name)));
    match &op.verb {
        RowVerb::Cas if !matches => stale("set"),
        RowVerb::Set | RowVerb::Cas => {
            let mut node = op.node.clone();
            node.create_index = Index::ZERO;
            text(catalog::put_node(tx, node))?;
            rows.extend(tx.get(&NODES, key.as_bytes()).map(TxnResult::Node));
            Ok(())
        }
        RowVerb::DeleteCas if present.is_none() || !matches => stale("delete"),
        RowVerb::Delete | RowVerb::DeleteCas => {
            catalog::remove_node(tx, name);
            Ok(())
        }
        verb => Err(format!("unknown node operation: {verb}")),
    }
}

fn change_service(
    tx: &mut Tx<'_>,
    op: &TxnServiceOp,
    rows: &mut Vec<TxnResult>,
) -> Result<(), String> {
    let (node, id) = (op.node.as_str(), op.service.id.as_str());
    let key = instance_key(node, id);
    let row =
        |state: &State| state.peek(&SERVICES, key.as_bytes()).map(|row| Arc::clone(&row.service));
    let present = row(tx).map(|service| service.modify_index);
    let matches = is_expected(present, op.service.modify_index);
    let stale = |what: &str| {
        let (id, node) = (quote(id), quote(node));
        Err(format!("failed to {what} service {id} on node {node}, index is stale"))
    };
    match &op.verb {
        RowVerb::Cas if !matches => stale("set"),
        RowVerb::Set | RowVerb::Cas => {
            text(catalog::put_service(tx, &op.node, op.service.clone()))?;
            rows.extend(row(tx).map(TxnResult::Service));
            Ok(())
        }
        RowVerb::DeleteCas if present.is_none() || !matches => stale("delete"),
        RowVerb::Delete | RowVerb::DeleteCas => {
            catalog::remove_service(tx, node, id);
            Ok(())
        }
        verb => Err(format!("unknown service operation: {verb}")),
    }
}

fn change_check(tx: &mut Tx<'_>, op: &TxnCheckOp, rows: &mut Vec<TxnResult>) -> Result<(), String> {
    let (node, id) = (op.check.node.as_str(), op.check.check_id.as_str());
    let key = check_key(node, id);
    let present = tx.peek(&CHECKS, key.as_bytes()).map(|check| check.modify_index);
    let matches = is_expected(present, op.check.modify_index);
    let stale = |what: &str| {
        let (id, node) = (quote(id), quote(node));
        Err(format!("failed to {what} check {id} on node {node}, index is stale"))
    };
    match &op.verb {
        RowVerb::Cas if !matches => stale("set"),
        RowVerb::Set | RowVerb::Cas => {
            text(catalog::put_check(tx, &op.check.node, op.check.clone()))?;
            rows.extend(tx.get(&CHECKS, key.as_bytes()).map(TxnResult::Check));
            Ok(())
        }
        RowVerb::DeleteCas if present.is_none() || !matches => stale("delete"),
        RowVerb::Delete | RowVerb::DeleteCas => {
            catalog::remove_check(tx, node, id);
            Ok(())
        }
        verb => Err(format!("unknown check operation: {verb}")),
    }
}
