//! `/v1/kv/`.

use std::sync::Arc;

use contract::response::Body;
use contract::{Call, CallError, ErrorKind, Request, Response, Route, Verb};
use http::StatusCode;
use types::kv::KvEntry;
use types::{Index, SessionId};

use super::command::{KvCommand, KvOp};
use super::query::{KvGet, KvKeys, KvList};

pub(super) const ROUTES: &[Route] =
    &[Route { path: "/v1/kv/", verbs: &[Verb::get(get), Verb::put(put), Verb::delete(delete)] }];

const MISSING_KEY: &str = "Missing key name";

fn get(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let params = &request.params;
    let prefix: Arc<str> = Arc::from(request.tail.as_str());
    if params.has("keys") {
        let separator = match params.text("separator") {
            "" => params.text("seperator"),
            separator => separator,
        };
        let query = KvKeys { prefix: Arc::clone(&prefix), separator: separator.to_owned() };
        return Ok(Call::read_with(query, options, move |keys, encoding| {
            if keys.is_empty() && !prefix.is_empty() {
                return Response::not_found();
            }
            Response::json(keys, encoding)
        }));
    }
    if params.has("recurse") {
        return Ok(Call::read_with(KvList { prefix }, options, |entries, encoding| {
            if entries.is_empty() {
                return Response::not_found();
            }
            Response::json(entries, encoding)
        }));
    }
    request.tail_or(MISSING_KEY)?;
    let raw = params.has("raw");
    Ok(Call::read_with(KvGet { key: prefix }, options, move |entry, encoding| match entry {
        None => Response::not_found(),
        Some(entry) if raw => raw_value(entry),
        Some(entry) => Response::json(std::slice::from_ref(entry), encoding),
    }))
}

/// The bare bytes, with headers that keep a browser from running what somebody stored.
fn raw_value(entry: &KvEntry) -> Response {
    let body = Body::Bytes { content_type: "text/plain", bytes: entry.value.0.clone() };
    Response { status: StatusCode::OK, headers: Vec::new(), body }
        .with_header("X-Content-Type-Options", "nosniff")
        .with_header("Content-Security-Policy", "sandbox")
}

fn put(request: &Request) -> Result<Call, CallError> {
    let key = request.tail_or(MISSING_KEY)?;
    refuse_conflicts(request, &["cas", "acquire", "release"])?;
    let params = &request.params;
    let mut entry = KvEntry { key: Arc::from(key), ..KvEntry::default() };
    if params.has("flags") {
        entry.flags = parse_number(params.text("flags"))?;
    }
    let mut op = KvOp::Set;
    if params.has("cas") {
        entry.modify_index = Index(parse_number(params.text("cas"))?);
        op = KvOp::Cas;
    }
    for (param, locking) in [("acquire", KvOp::Lock), ("release", KvOp::Unlock)] {
        if params.has(param) {
            entry.session = SessionId::from(params.text(param));
            op = locking;
        }
    }
    let (size, limit) = (request.body.len() as u64, request.agent.kv_max_value_size);
    if size > limit {
        return Err(CallError::new(
            ErrorKind::TooLarge,
            format!(
                "Request body({size} bytes) too large, max size: {limit} bytes. See \
                 https://developer.hashicorp.com/docs/agent/config/config-files#kv_max_value_size."
            ),
        ));
    }
    entry.value = request.body.clone().into();
    Ok(write(request, op, entry))
}

fn delete(request: &Request) -> Result<Call, CallError> {
    refuse_conflicts(request, &["recurse", "cas"])?;
    let params = &request.params;
    let mut entry = KvEntry { key: Arc::from(request.tail.as_str()), ..KvEntry::default() };
    if params.has("recurse") {
        return Ok(write(request, KvOp::DeleteTree, entry));
    }
    request.tail_or(MISSING_KEY)?;
    if params.has("cas") {
        entry.modify_index = Index(parse_number(params.text("cas"))?);
        return Ok(write(request, KvOp::DeleteCas, entry));
    }
    Ok(write(request, KvOp::Delete, entry))
}

fn write(request: &Request, op: KvOp, entry: KvEntry) -> Call {
    let command = KvCommand { datacenter: request.datacenter(), op, entry };
    Call::write(command, &request.token)
}

/// Refuses parameters of which only one can be meant.
fn refuse_conflicts(request: &Request, exclusive: &[&str]) -> Result<(), CallError> {
    if exclusive.iter().filter(|name| request.params.has(name)).count() < 2 {
        return Ok(());
    }
    Err(CallError::bad_request(format!("Conflicting flags: {}\n", request.params.encode())))
}

fn parse_number(text: &str) -> Result<u64, CallError> {
    text.parse().map_err(|error: std::num::ParseIntError| {
        let reason = match error.kind() {
            std::num::IntErrorKind::PosOverflow => "value out of range",
            _ => "invalid syntax",
        };
        CallError::failed(format!("strconv.ParseUint: parsing {text:?}: {reason}"))
    })
}
