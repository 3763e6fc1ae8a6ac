//! Operations that change nothing.

use std::sync::Arc;

use store::State;
use types::json::quote;
use types::kv::KvEntry;
use types::txn::{KvVerb, RowVerb, TxnOp, TxnResult};
use types::{Blob, CheckId, Index, NodeId, NodeName, ServiceId, SessionId};

use crate::catalog::{self, CHECKS, NODES, SERVICES, check_key, instance_key, node_key};
use crate::kv::KVS;

/// An operation that changes nothing: of a [`TxnOp`], what counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ReadOp {
    /// Reads or checks keys. An unknown verb is one of these, and is refused.
    Key {
        /// What to do.
        verb: KvVerb,
        /// The key, or the prefix.
        key: Arc<str>,
        /// The index that it must have.
        index: Index,
        /// The session that must hold it.
        session: SessionId,
    },
    /// Reads a node: by its id if there is one, else by its name.
    Node {
        /// The id.
        id: NodeId,
        /// The name.
        name: NodeName,
    },
    /// Reads a service instance.
    Service {
        /// Its node.
        node: NodeName,
        /// Its id.
        id: ServiceId,
    },
    /// Reads a check.
    Check {
        /// Its node.
        node: NodeName,
        /// Its id.
        id: CheckId,
    },
}

impl ReadOp {
    /// The operation, if it changes nothing.
    pub fn of(op: &TxnOp) -> Option<Self> {
        match op {
            TxnOp { kv: Some(op), .. } if op.verb.is_read() => Some(ReadOp::Key {
                verb: op.verb.clone(),
                key: Arc::clone(&op.entry.key),
                index: op.entry.modify_index,
                session: op.entry.session.clone(),
            }),
            TxnOp { kv: Some(_), .. } => None,
            TxnOp { node: Some(op), .. } => (op.verb == RowVerb::Get)
                .then(|| ReadOp::Node { id: op.node.id.clone(), name: op.node.node.clone() }),
            TxnOp { service: Some(op), .. } => (op.verb == RowVerb::Get)
                .then(|| ReadOp::Service { node: op.node.clone(), id: op.service.id.clone() }),
            TxnOp { check: Some(op), .. } => (op.verb == RowVerb::Get).then(|| ReadOp::Check {
                node: op.check.node.clone(),
                id: op.check.check_id.clone(),
            }),
            TxnOp { .. } => None,
        }
    }

    /// Runs it and adds the rows that it gives, or says why it is refused.
    pub(super) fn run(&self, state: &State, rows: &mut Vec<TxnResult>) -> Result<(), String> {
        match self {
            ReadOp::Key { verb, key, index, session } => {
                read_key(state, (verb, key), *index, session, rows)?;
            }
            ReadOp::Node { id, name } => {
                let node = if id.is_empty() {
                    state.get(&NODES, node_key(name.as_str()).as_bytes())
                } else {
                    catalog::node_by_id(state, id.as_str())
                };
                let missing = || format!("node {} doesn't exist", quote(name.as_str()));
                rows.push(TxnResult::Node(node.ok_or_else(missing)?));
            }
            ReadOp::Service { node, id } => {
                let key = instance_key(node.as_str(), id.as_str());
                let Some(row) = state.peek(&SERVICES, key.as_bytes()) else {
                    let (id, node) = (quote(id.as_str()), quote(node.as_str()));
                    return Err(format!("service {id} on node {node} doesn't exist"));
                };
                rows.push(TxnResult::Service(Arc::clone(&row.service)));
            }
            ReadOp::Check { node, id } => {
                let key = check_key(node.as_str(), id.as_str());
                let Some(check) = state.get(&CHECKS, key.as_bytes()) else {
                    let (id, node) = (quote(id.as_str()), quote(node.as_str()));
                    return Err(format!("check {id} on node {node} doesn't exist"));
                };
                rows.push(TxnResult::Check(check));
            }
        }
        Ok(())
    }
}

fn read_key(
    state: &State,
    (verb, key): (&KvVerb, &Arc<str>),
    index: Index,
    session: &SessionId,
    rows: &mut Vec<TxnResult>,
) -> Result<(), String> {
    if *verb == KvVerb::GetTree {
        rows.extend(state.prefix(&KVS, key.as_bytes()).map(TxnResult::Kv));
        return Ok(());
    }
    let entry = state.get(&KVS, key.as_bytes());
    let name = quote(key);
    let row = match (verb, entry) {
        (KvVerb::Get | KvVerb::GetOrEmpty, Some(entry)) => TxnResult::Kv(entry),
        (KvVerb::Get, None) => return Err(format!("key {name} doesn't exist")),
        (KvVerb::GetOrEmpty, None) => {
            TxnResult::Kv(Arc::new(KvEntry { key: Arc::clone(key), ..KvEntry::default() }))
        }
        (KvVerb::CheckIndex, Some(entry)) if entry.modify_index == index => without_value(&entry),
        (KvVerb::CheckIndex, Some(entry)) => {
            return Err(format!(
                "failed index check for key {name}, current modify index {} != {index}",
                entry.modify_index
            ));
        }
        (KvVerb::CheckIndex, None) => {
            return Err(format!("failed to check index, key {name} doesn't exist"));
        }
        (KvVerb::CheckSession, Some(entry)) if entry.session == *session => without_value(&entry),
        (KvVerb::CheckSession, Some(entry)) => {
            return Err(format!(
                "failed session check for key {name}, current session {} != {}",
                quote(entry.session.as_str()),
                quote(session.as_str())
            ));
        }
        (KvVerb::CheckSession, None) => {
            return Err(format!("failed to check session, key {name} doesn't exist"));
        }
        (KvVerb::CheckNotExists, None) => return Ok(()),
        (KvVerb::CheckNotExists, Some(_)) => return Err(format!("key {name} exists")),
        (verb, _) => return Err(format!("unknown KV operation: {verb}")),
    };
    rows.push(row);
    Ok(())
}

/// The row of a key where nobody asked for the value.
pub(super) fn without_value(entry: &KvEntry) -> TxnResult {
    TxnResult::Kv(Arc::new(KvEntry { value: Blob::default(), ..entry.clone() }))
}
