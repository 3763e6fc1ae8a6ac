//! Transactions on the server port.

use std::sync::Arc;

use bytes::Bytes;
use contract::remote::{
    CommandMethod, QueryMethod, QueryOptions, ReplyReader, encode, nil_if_empty, reading,
};
use contract::{CallError, MethodDef, ReadFacts};
use serde::{Deserialize, Serialize};
use types::Index;
use types::catalog::{Node, NodeService};
use types::check::HealthCheck;
use types::kv::KvEntry;
use types::txn::{
    RowVerb, TxnCheckOp, TxnError, TxnKvOp, TxnNodeOp, TxnOp, TxnResult, TxnServiceOp,
};

use super::command::{TxnCommand, TxnReply};
use super::query::{TxnRead, TxnReadReply};
use super::read::ReadOp;

pub(super) const METHODS: &[MethodDef] =
    &[MethodDef::write::<TxnCommand>(), MethodDef::read::<TxnRead>()];

/// `TxnResponse`, and what is of it in `TxnReadResponse`: either of the two.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnResponse<E, R> {
    errors: E,
    results: R,
}

type Sent<'r> = TxnResponse<Option<&'r [TxnError]>, Option<&'r [TxnResult]>>;
type Received = TxnResponse<Vec<TxnError>, Vec<TxnRow>>;

/// `TxnResult` as it is read: one of these.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnRow {
    #[serde(rename = "KV")]
    kv: Option<Arc<KvEntry>>,
    node: Option<Arc<Node>>,
    service: Option<Arc<NodeService>>,
    check: Option<Arc<HealthCheck>>,
}

fn rows(received: Vec<TxnRow>) -> Vec<TxnResult> {
    let row = |row: TxnRow| {
        let kv = row.kv.map(TxnResult::Kv);
        let other = row.node.map(TxnResult::Node).or(row.service.map(TxnResult::Service));
        kv.or(other).or(row.check.map(TxnResult::Check))
    };
    received.into_iter().filter_map(row).collect()
}

/// Without errors there are results, if no more than an empty list of them.
fn sent<'r>(errors: &'r [TxnError], results: &'r [TxnResult]) -> Sent<'r> {
    TxnResponse { errors: nil_if_empty(errors), results: errors.is_empty().then_some(results) }
}

impl CommandMethod for TxnCommand {
    fn encode_reply(reply: &TxnReply) -> Bytes {
        encode(&sent(&reply.errors, &reply.results))
    }

    fn reply_reader(&self) -> ReplyReader<TxnReply> {
        reading(Self::METHOD, |received: Received| {
            let Received { errors, results } = received;
            Ok(TxnReply { results: rows(results), errors })
        })
    }
}

/// `TxnReadRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TxnReadRequest {
    ops: Vec<TxnOp>,
}

impl QueryMethod for TxnRead {
    type Request = TxnReadRequest;
    type Wire<'r> = Sent<'r>;
    type Received = Received;

    fn request(&self) -> TxnReadRequest {
        TxnReadRequest { ops: self.ops.iter().map(operation).collect() }
    }

    fn of_request(request: TxnReadRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        let ops: Option<Vec<ReadOp>> = request.ops.iter().map(ReadOp::of).collect();
        let refusal = || CallError::failed("cannot change anything in a read-only transaction");
        Ok(Self { ops: ops.ok_or_else(refusal)? })
    }

    fn wire(reply: &TxnReadReply) -> Sent<'_> {
        sent(&reply.errors, &reply.results)
    }

    fn facts(reply: &TxnReadReply, facts: &ReadFacts) -> ReadFacts {
        match reply.unasked {
            true => ReadFacts { known_leader: false, index: Index::ZERO, ..*facts },
            false => *facts,
        }
    }

    fn of_wire(&self, received: Received, facts: &ReadFacts) -> Result<TxnReadReply, CallError> {
        let Received { errors, results } = received;
        let unasked = !errors.is_empty() && !facts.known_leader;
        Ok(TxnReadReply { results: rows(results), errors, unasked })
    }
}

/// The operation as it travels.
fn operation(op: &ReadOp) -> TxnOp {
    match op {
        ReadOp::Key { verb, key, index, session } => {
            let entry = KvEntry {
                key: Arc::clone(key),
                modify_index: *index,
                session: session.clone(),
                ..KvEntry::default()
            };
            TxnOp { kv: Some(TxnKvOp { verb: verb.clone(), entry }), ..TxnOp::default() }
        }
        ReadOp::Node { id, name } => {
            let node = Node { id: id.clone(), node: name.clone(), ..Node::default() };
            let op = TxnNodeOp { verb: RowVerb::Get, node };
            TxnOp { node: Some(Box::new(op)), ..TxnOp::default() }
        }
        ReadOp::Service { node, id } => {
            let service = NodeService { id: id.clone(), ..NodeService::default() };
            let op = TxnServiceOp { verb: RowVerb::Get, node: node.clone(), service };
            TxnOp { service: Some(Box::new(op)), ..TxnOp::default() }
        }
        ReadOp::Check { node, id } => {
            let check =
                HealthCheck { node: node.clone(), check_id: id.clone(), ..HealthCheck::default() };
            let op = TxnCheckOp { verb: RowVerb::Get, check };
            TxnOp { check: Some(Box::new(op)), ..TxnOp::default() }
        }
    }
}
