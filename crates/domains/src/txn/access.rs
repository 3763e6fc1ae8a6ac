//! What each operation needs, and who may see its result (`reference/http-api.md` 3.3).

use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use store::{State, Store};
use types::txn::{KvVerb, RowVerb, TxnOp, TxnResult, TxnServiceOp};

use super::read::ReadOp;
use crate::catalog::{self, SERVICES, instance_key};
use crate::kv;

/// What the sender of a transaction may do, given what exists already.
pub(super) struct OfSender<'w> {
    who: &'w Authorizer,
    /// Looked at only if the answer can be no.
    state: Option<Arc<State>>,
}

impl<'w> OfSender<'w> {
    pub(super) fn new(who: &'w Authorizer, store: &Store) -> Self {
        let state = (!who.allows_everything()).then(|| store.snapshot());
        Self { who, state }
    }

    /// What an operation gives back may be hidden without an error, so that reading
    /// alone needs nothing.
    pub(super) fn require(&self, op: &TxnOp) -> Result<(), PermissionDenied> {
        let (who, Some(state)) = (self.who, self.state.as_deref()) else { return Ok(()) };
        match op {
            TxnOp { kv: Some(op), .. } => require_key(who, &op.verb, &op.entry.key),
            TxnOp { node: Some(op), .. } if op.verb != RowVerb::Get => {
                who.require(Permission::write(Resource::Node, op.node.node.as_str()))
            }
            TxnOp { service: Some(op), .. } if op.verb != RowVerb::Get => {
                require_service(who, state, op)
            }
            TxnOp { check: Some(op), .. } if op.verb != RowVerb::Get => {
                catalog::require_check(who, state, &op.check.node, &op.check, None)
            }
            TxnOp { session: Some(_), .. } => {
                who.require(Permission::write(Resource::Operator, ""))
            }
            TxnOp { .. } => Ok(()),
        }
    }
}

/// As [`OfSender::require`], for an operation that changes nothing.
pub(super) fn require_read(who: &Authorizer, op: &ReadOp) -> Result<(), PermissionDenied> {
    match op {
        ReadOp::Key { verb, key, .. } => require_key(who, verb, key),
        ReadOp::Node { .. } | ReadOp::Service { .. } | ReadOp::Check { .. } => Ok(()),
    }
}

fn require_key(who: &Authorizer, verb: &KvVerb, key: &str) -> Result<(), PermissionDenied> {
    match verb {
        KvVerb::Get | KvVerb::GetOrEmpty | KvVerb::GetTree => Ok(()),
        KvVerb::CheckIndex | KvVerb::CheckSession => who.require(kv::read_permission(key)),
        KvVerb::DeleteTree => who.require(kv::write_tree_permission(key)),
        _ => who.require(kv::write_permission(key)),
    }
}

fn require_service(
    who: &Authorizer,
    state: &State,
    op: &TxnServiceOp,
) -> Result<(), PermissionDenied> {
    catalog::require_service(who, &op.service)?;
    let key = instance_key(op.node.as_str(), op.service.id.as_str());
    match state.peek(&SERVICES, key.as_bytes()) {
        Some(present) => catalog::require_service(who, &present.service),
        None => Ok(()),
    }
}

/// Keeps the rows that may be seen; tells whether others were among them.
pub(super) fn keep_visible(who: &Authorizer, rows: &mut Vec<TxnResult>) -> bool {
    if who.allows_everything() {
        return false;
    }
    let before = rows.len();
    rows.retain(|row| match row {
        TxnResult::Kv(entry) => who.allows(kv::read_permission(&entry.key)),
        TxnResult::Node(node) => catalog::can_see_node(who, node.node.as_str()),
        TxnResult::Service(service) => catalog::can_see_service(who, service.service.as_str()),
        TxnResult::Check(check) => catalog::can_see_check(who, check),
    });
    rows.len() < before
}
