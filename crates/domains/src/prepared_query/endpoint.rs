//! `/v1/query`.

use std::any::Any;
use std::net::IpAddr;

use contract::{
    CacheKind, Call, CallError, Encoding, ReadOptions, Request, Response, Route, Verb, WriteCall,
};
use filter::coerce;
use http::{Method, StatusCode};
use serde::Serialize;
use types::Index;
use types::prepared_query::PreparedQuery;

use super::command::{PreparedQueryCommand, PreparedQueryOp, PreparedQueryReply};
use super::execution::{ExecuteRequest, Execution};
use super::query::{Explanation, PreparedQueries, PreparedQueryExplain, PreparedQueryGet};

/// Below `/v1/query/` the methods depend on what the path ends with.
pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/query", verbs: &[Verb::get(list), Verb::post(create)] },
    Route { path: "/v1/query/", verbs: &[Verb::any(below)] },
];

const DECODE: &str = "Request decode failed: ";

fn list(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    Ok(Call::read(PreparedQueries, options).telling_consistency())
}

fn create(request: &Request) -> Result<Call, CallError> {
    Ok(write(request, PreparedQueryOp::Create, request.json(DECODE)?))
}

type Handler = fn(&Request, &str) -> Result<Call, CallError>;

/// What the rest of the path asks for, and the methods that it can be asked by.
fn below(request: &Request) -> Result<Call, CallError> {
    let tail = request.tail.as_str();
    let executed = ending(tail, "execute").map(|name| (name, "GET", execute as Handler));
    let explained = ending(tail, "explain").map(|name| (name, "GET", explain as Handler));
    let (name, allowed, handler) =
        executed.or(explained).unwrap_or((tail, "GET,PUT,DELETE", one as Handler));
    let method = request.method.as_str();
    if request.method == Method::OPTIONS {
        let options = Response::json(&serde_json::json!({}), Encoding::Compact);
        return Ok(Call::Answer(options.with_header("Allow", format!("OPTIONS,{allowed}"))));
    }
    if !allowed.split(',').any(|allowed| allowed == method) {
        let text = format!("method {method} not allowed");
        let refusal = Response::text(StatusCode::METHOD_NOT_ALLOWED, text);
        return Ok(Call::Answer(refusal.with_header("Allow", allowed)));
    }
    handler(request, name)
}

/// What stands before the word at the end. The word alone is a name, too: that of the
/// query that it asks for.
fn ending<'t>(tail: &'t str, word: &str) -> Option<&'t str> {
    if tail == word { Some(tail) } else { tail.strip_suffix(word)?.strip_suffix('/') }
}

fn one(request: &Request, id: &str) -> Result<Call, CallError> {
    let id = id.to_owned();
    if request.method == Method::PUT {
        let body = match request.body.is_empty() {
            true => PreparedQuery::default(),
            false => request.json(DECODE)?,
        };
        return Ok(write(request, PreparedQueryOp::Update, PreparedQuery { id, ..body }));
    }
    if request.method == Method::DELETE {
        let query = PreparedQuery { id, ..PreparedQuery::default() };
        return Ok(write(request, PreparedQueryOp::Delete, query));
    }
    let options = request.read_options()?;
    let show = |reply: &Result<_, CallError>, encoding: Encoding| match reply {
        Ok(rows) => Response::json(rows, encoding),
        Err(error) => Response::text(StatusCode::INTERNAL_SERVER_ERROR, error.text()),
    };
    Ok(Call::read_with(PreparedQueryGet { id }, options, show).telling_consistency())
}

fn execute(request: &Request, id_or_name: &str) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let limit = match request.params.text("limit") {
        "" => 0,
        text => coerce::parse_decimal(text)
            .map_err(|error| CallError::failed(format!("Bad limit: {error}")))?,
    };
    let connect = match request.params.text("connect") {
        "" => false,
        text => coerce::parse_bool(text).map_err(|error| {
            CallError::failed(format!("Error parsing 'connect' value: {error}"))
        })?,
    };
    let execute = ExecuteRequest {
        id_or_name: id_or_name.to_owned(),
        limit: usize::try_from(limit).unwrap_or(0),
        connect,
        near: request.params.text("near").to_owned(),
        agent: request.agent.node.clone(),
        segment: String::new(),
        datacenter: request.agent.datacenter.clone(),
        address: client_address(request),
    };
    let execution = Execution::new(execute, unblocked(options.clone()));
    Ok(Call::act(execution, options).cached_as(CacheKind::Refreshed))
}

fn explain(request: &Request, id_or_name: &str) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let query = PreparedQueryExplain { id_or_name: id_or_name.to_owned(), segment: String::new() };
    Ok(Call::act(Explanation { query, options: unblocked(options.clone()) }, options))
}

/// Neither waits for anything, whatever the client says.
fn unblocked(options: ReadOptions) -> ReadOptions {
    ReadOptions { min_index: Index::ZERO, ..options }
}

/// Where the client is: the first address that proxies on the way noted, else its own.
fn client_address(request: &Request) -> Option<IpAddr> {
    let forwarded = request.headers.get("x-forwarded-for").and_then(|value| value.to_str().ok());
    let first = forwarded.and_then(|list| list.split(',').next());
    first.and_then(|text| text.trim().parse().ok()).or(request.remote)
}

fn write(request: &Request, op: PreparedQueryOp, query: PreparedQuery) -> Call {
    let datacenter = request.datacenter();
    let command = PreparedQueryCommand { datacenter, op, query };
    let token = request.token.clone();
    Call::Write(WriteCall { command: Box::new(command), token, show: show_written })
}

fn show_written(reply: &(dyn Any + Send), encoding: Encoding) -> Response {
    #[derive(Serialize)]
    struct Created<'r> {
        #[serde(rename = "ID")]
        id: &'r str,
    }
    let reply: &PreparedQueryReply =
        reply.downcast_ref().expect("a command's reply has the command's reply type");
    match reply {
        PreparedQueryReply::Created(id) => Response::json(&Created { id }, encoding),
        PreparedQueryReply::Done(_) => Response::ok(),
    }
}
