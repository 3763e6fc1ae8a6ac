//! `/v1/txn`.

use std::any::Any;

use contract::{
    Body, Call, CallError, Encoding, ErrorKind, ReadFacts, Request, Response, Route, Verb,
    applied_reply_of, reply_of,
};
use http::StatusCode;
use serde::Serialize;
use types::Index;
use types::query_meta::QueryMeta;
use types::txn::{TxnError, TxnOp, TxnResult};

use super::body;
use super::command::TxnCommand;
use super::query::TxnRead;
use super::read::ReadOp;

pub(super) const ROUTES: &[Route] = &[Route { path: "/v1/txn", verbs: &[Verb::put(apply)] }];

/// Most operations of a transaction.
const OPS_MAX: usize = 128;

fn apply(request: &Request) -> Result<Call, CallError> {
    let limit = request.agent.txn_max_req_len.max(request.agent.kv_max_value_size);
    let size = request.body.len() as u64;
    if size > limit {
        return Err(too_large(format!(
            "Request body({size} bytes) too large, max size: {limit} bytes. See \
             https://developer.hashicorp.com/docs/agent/config/config-files#txn_max_req_len."
        )));
    }
    let (count, ops) = body::parse_body(&request.body)
        .map_err(|error| CallError::decode("Failed to parse body: ", &error))?;
    if count > OPS_MAX {
        return Err(too_large(format!(
            "Transaction contains too many operations ({count} > {OPS_MAX})"
        )));
    }
    for entry in ops.iter().filter_map(|op| op.kv.as_ref()).map(|op| &op.entry) {
        let (size, limit) = (entry.value.len() as u64, request.agent.kv_max_value_size);
        if size > limit {
            let key = types::json::quote(&entry.key);
            return Err(too_large(format!(
                "Value for key {key} is too large ({size} > {limit} bytes)"
            )));
        }
    }
    if ops.iter().all(TxnOp::is_read) {
        return read(request, &ops);
    }
    let command = TxnCommand { datacenter: request.datacenter(), ops };
    Ok(Call::write_with(command, &request.token, show_applied))
}

/// A transaction never blocks, whatever is asked for.
fn read(request: &Request, ops: &[TxnOp]) -> Result<Call, CallError> {
    let mut options = request.read_options()?;
    options.min_index = Index::ZERO;
    let query = TxnRead { ops: ops.iter().filter_map(ReadOp::of).collect() };
    Ok(Call::read_with_facts(query, options, show_read).bare())
}

fn too_large(text: String) -> CallError {
    CallError::new(ErrorKind::TooLarge, text)
}

/// One of the two is `null`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Outcome<'r> {
    results: Option<&'r [TxnResult]>,
    errors: Option<&'r [TxnError]>,
}

impl<'r> Outcome<'r> {
    fn new(results: &'r [TxnResult], errors: &'r [TxnError]) -> Self {
        match errors {
            [] => Self { results: Some(results), errors: None },
            _ => Self { results: None, errors: Some(errors) },
        }
    }

    fn status(&self) -> StatusCode {
        if self.errors.is_some() { StatusCode::CONFLICT } else { StatusCode::OK }
    }
}

/// The outcome of a read, with what other reads tell in headers.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ReadOutcome<'r> {
    #[serde(flatten)]
    outcome: Outcome<'r>,
    #[serde(flatten)]
    meta: QueryMeta,
}

pub(super) fn show_applied(reply: &(dyn Any + Send), encoding: Encoding) -> Response {
    let reply = applied_reply_of::<TxnCommand>(reply);
    let outcome = Outcome::new(&reply.results, &reply.errors);
    respond(outcome.status(), encoding, &outcome)
}

fn show_read(reply: &(dyn Any + Send + Sync), facts: &ReadFacts, encoding: Encoding) -> Response {
    let reply = reply_of::<TxnRead>(reply);
    let outcome = Outcome::new(&reply.results, &reply.errors);
    let status = outcome.status();
    let known_leader = facts.known_leader && !reply.unasked;
    let index = if reply.unasked { Index::ZERO } else { facts.index };
    let meta = QueryMeta { index, known_leader, ..facts.to_meta("") };
    respond(status, encoding, &ReadOutcome { outcome, meta })
        .with_header("X-Consul-KnownLeader", known_leader.to_string())
        .with_header("X-Consul-LastContact", facts.last_contact.as_millis().to_string())
}

fn respond(status: StatusCode, encoding: Encoding, outcome: &impl Serialize) -> Response {
    Response { status, headers: Vec::new(), body: Body::Json(encoding.encode(outcome)) }
}
