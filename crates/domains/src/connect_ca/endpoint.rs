//! `/v1/connect/ca/roots` and its twin at the agent.

use contract::response::Body;
use contract::{CacheKind, Call, CallError, Request, Response, Route, Verb};
use http::StatusCode;
use types::connect_ca::CaRoots;

use super::query::CaRootsQuery;

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/connect/ca/roots", verbs: &[Verb::get(roots)] },
    Route { path: "/v1/agent/connect/ca/roots", verbs: &[Verb::get(agent_roots)] },
];

/// Media type of `?pem=true`.
const PEM_CHAIN: &str = "application/pem-certificate-chain";

fn roots(request: &Request) -> Result<Call, CallError> {
    refuse_if_off(request)?;
    let options = request.read_options()?;
    if wants_pem(request)? {
        return Ok(Call::read_with(CaRootsQuery, options, |roots, _| pem_chain(roots)).bare());
    }
    Ok(Call::read(CaRootsQuery, options).with_facts_of_errors())
}

/// Always through the agent's cache.
fn agent_roots(request: &Request) -> Result<Call, CallError> {
    refuse_if_off(request)?;
    let mut options = request.read_options()?;
    options.cached = true;
    Ok(Call::read(CaRootsQuery, options).cached_as(CacheKind::Refreshed))
}

fn refuse_if_off(request: &Request) -> Result<(), CallError> {
    if request.agent.connect {
        return Ok(());
    }
    Err(CallError::failed("Connect must be enabled in order to use this endpoint"))
}

/// `pem=`, with the texts that Go takes for a boolean.
fn wants_pem(request: &Request) -> Result<bool, CallError> {
    match request.params.text("pem") {
        "" | "0" | "f" | "F" | "false" | "False" | "FALSE" => Ok(false),
        "1" | "t" | "T" | "true" | "True" | "TRUE" => Ok(true),
        _ => Err(CallError::bad_request("The 'pem' query parameter must be a boolean value")),
    }
}

fn pem_chain(roots: &CaRoots) -> Response {
    let pem: String = roots.roots.iter().map(|root| root.root_cert.as_str()).collect();
    let body = Body::Bytes { content_type: PEM_CHAIN, bytes: pem.into() };
    Response { status: StatusCode::OK, headers: Vec::new(), body }
}
