//! What is told of a subject, and what changed of it from one answer to the next. Pure.

use std::any::Any;
use std::collections::BTreeMap;
use std::sync::Arc;

use acl::{Authorizer, Permission, Resource};
use bytes::Bytes;
use domains::catalog::{ServiceTags, can_see_check, can_see_instance};
use grpc::convert;
use grpc::messages::event::Payload;
use grpc::messages::{
    CatalogOp, EnterpriseMeta, Event, EventBatch, ServiceHealthUpdate, ServiceListUpdate,
};
use prost::Message as _;
use types::catalog::CheckServiceNode;
use types::{Index, ServiceId};

/// A snapshot is sent in pieces of about this many bytes at most, or of one row.
const PIECE_BYTES: usize = 1 << 20;

/// What is told, by what it is known by.
pub(super) type Rows = BTreeMap<Key, Row>;

/// The name of a node or a service in lower case, as they are compared, and the id of an
/// instance on a node.
pub(super) type Key = (String, ServiceId);

/// One thing that is told.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Row {
    /// An instance with its node and checks.
    Instance(CheckServiceNode),
    /// The name of a service.
    Service(String),
}

/// A row that is new or other than it was, or is gone.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) op: CatalogOp,
    pub(super) row: Row,
}

/// The rows of an answer to the question of a subject.
pub(super) fn rows_of(reply: &(dyn Any + Send + Sync)) -> Rows {
    if let Some(instances) = reply.downcast_ref::<Vec<CheckServiceNode>>() {
        return instances.iter().map(|row| (key_of(row), Row::Instance(row.clone()))).collect();
    }
    let names = reply.downcast_ref::<ServiceTags>().into_iter().flat_map(ServiceTags::names);
    let keyed =
        |name: &str| ((name.to_lowercase(), ServiceId::EMPTY), Row::Service(name.to_owned()));
    names.map(keyed).collect()
}

fn key_of(row: &CheckServiceNode) -> Key {
    (row.node.node.as_str().to_lowercase(), row.service.id.clone())
}

/// What has to be told to somebody who knows `before`.
pub(super) fn changes(before: &Rows, after: &Rows) -> Vec<Change> {
    let gone = before
        .iter()
        .filter(|(key, _)| !after.contains_key(*key))
        .map(|(_, row)| Change { op: CatalogOp::Deregister, row: row.clone() });
    let new = after
        .iter()
        .filter(|(key, row)| before.get(*key).is_none_or(|known| !is_same(known, row)))
        .map(|(_, row)| Change { op: CatalogOp::Register, row: row.clone() });
    gone.chain(new).collect()
}

/// Rows share what did not change, so that most are told to be the same by their addresses.
fn is_same(a: &Row, b: &Row) -> bool {
    match (a, b) {
        (Row::Instance(a), Row::Instance(b)) => {
            let same = Arc::ptr_eq(&a.node, &b.node)
                && Arc::ptr_eq(&a.service, &b.service)
                && a.checks.len() == b.checks.len()
                && a.checks.iter().zip(&b.checks).all(|(a, b)| Arc::ptr_eq(a, b));
            same || a == b
        }
        _ => a == b,
    }
}

/// The changes that the holder of a token may hear of.
pub(super) fn visible(who: &Authorizer, changes: &[Change]) -> Vec<Change> {
    let seen = changes.iter().filter_map(|change| {
        let row = match &change.row {
            Row::Instance(row) => {
                let (node, service) = (row.node.node.as_str(), row.service.service.as_str());
                if !can_see_instance(who, node, service) {
                    return None;
                }
                let mut row = row.clone();
                row.checks.retain(|check| can_see_check(who, check));
                Row::Instance(row)
            }
            Row::Service(name) => {
                if !who.allows(Permission::read(Resource::Service, name)) {
                    return None;
                }
                change.row.clone()
            }
        };
        Some(Change { op: change.op, row })
    });
    seen.collect()
}

/// Everything there is, as events in pieces, and the word that this is all.
pub(super) fn snapshot(index: Index, who: &Authorizer, rows: &Rows) -> Vec<Bytes> {
    let all: Vec<Change> =
        rows.values().map(|row| Change { op: CatalogOp::Register, row: row.clone() }).collect();
    let all = if who.allows_everything() { all } else { visible(who, &all) };
    let mut pieces = Vec::new();
    let (mut piece, mut length) = (Vec::new(), 0);
    for change in &all {
        let event = event_of(index, change);
        let bytes = event.encoded_len();
        if length + bytes > PIECE_BYTES && !piece.is_empty() {
            pieces.push(encode(index, std::mem::take(&mut piece)));
            length = 0;
        }
        length += bytes;
        piece.push(event);
    }
    if !piece.is_empty() {
        pieces.push(encode(index, piece));
    }
    pieces.push(end_of_snapshot(index));
    pieces
}

/// Changes that came with one index; `None` if there are none.
pub(super) fn batch(index: Index, changes: &[Change]) -> Option<Bytes> {
    let events: Vec<Event> = changes.iter().map(|change| event_of(index, change)).collect();
    (!events.is_empty()).then(|| encode(index, events))
}

/// The word that what was told so far is all that there was.
pub(super) fn end_of_snapshot(index: Index) -> Bytes {
    let event = Event { index: index.0, payload: Some(Payload::EndOfSnapshot(true)) };
    event.encode_to_vec().into()
}

/// The word that everything comes anew.
pub(super) fn new_snapshot_to_follow() -> Bytes {
    let event = Event { index: 0, payload: Some(Payload::NewSnapshotToFollow(true)) };
    event.encode_to_vec().into()
}

/// One event stands for itself, several stand in a batch. The names of services always do.
fn encode(index: Index, mut events: Vec<Event>) -> Bytes {
    let is_alone = events.len() == 1
        && events.iter().all(|event| matches!(event.payload, Some(Payload::ServiceHealth(_))));
    let alone = if is_alone { events.pop() } else { None };
    let event = match alone {
        Some(event) => event,
        None => {
            let batch = EventBatch { events };
            Event { index: index.0, payload: Some(Payload::EventBatch(batch)) }
        }
    };
    event.encode_to_vec().into()
}

fn event_of(index: Index, Change { op, row }: &Change) -> Event {
    let op_number = i32::from(*op);
    let payload = match row {
        Row::Instance(row) => {
            let message = match op {
                CatalogOp::Register => convert::to_message(row),
                CatalogOp::Deregister => convert::identity_to_message(row),
            };
            Payload::ServiceHealth(ServiceHealthUpdate {
                op: op_number,
                check_service_node: Some(message),
            })
        }
        Row::Service(name) => Payload::Service(ServiceListUpdate {
            op: op_number,
            name: name.clone(),
            enterprise_meta: Some(EnterpriseMeta::default()),
            peer_name: String::new(),
        }),
    };
    Event { index: index.0, payload: Some(payload) }
}

#[cfg(test)]
mod tests;
