//! `/v1/health/`.

use contract::{CacheKind, Call, CallError, Request, Route, Verb};

use super::query::{HealthChecksOfService, HealthNode, HealthService, HealthState, InstanceHealth};
use crate::catalog::{InstanceSelection, RowFilter, parse_node_meta};
use crate::coordinate::Near;

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/health/node/", verbs: &[Verb::get(node)] },
    Route { path: "/v1/health/checks/", verbs: &[Verb::get(checks)] },
    Route { path: "/v1/health/state/", verbs: &[Verb::get(state)] },
    Route { path: "/v1/health/service/", verbs: &[Verb::get(service)] },
    Route { path: "/v1/health/connect/", verbs: &[Verb::get(connect)] },
    Route { path: "/v1/health/ingress/", verbs: &[Verb::get(ingress)] },
];

const MISSING_SERVICE: &str = "Missing service name";

fn node(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let node = request.tail_or("Missing node name")?.to_owned();
    let query = HealthNode { node, filter: RowFilter::parse(request) };
    Ok(Call::read(query, options).telling_consistency())
}

fn checks(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let service = request.tail_or(MISSING_SERVICE)?.to_owned();
    let query = HealthChecksOfService {
        service,
        node_meta: parse_node_meta(request),
        near: Near::parse(request),
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency())
}

fn state(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let status = request.tail_or("Missing check state")?.to_owned();
    let query = HealthState {
        status,
        node_meta: parse_node_meta(request),
        near: Near::parse(request),
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency())
}

fn service(request: &Request) -> Result<Call, CallError> {
    instances(request, false)
}

fn connect(request: &Request) -> Result<Call, CallError> {
    instances(request, true)
}

fn instances(request: &Request, connect: bool) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let service = request.tail_or(MISSING_SERVICE)?;
    let query = HealthService {
        selection: InstanceSelection::parse(request, service, connect),
        health: parse_passing(request)?,
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency().cached_as(cache_kind(request)))
}

/// What needs the whole catalog is not served from a stream of one service's events.
fn cache_kind(request: &Request) -> CacheKind {
    let unstreamed = ["near", "sg", "sameness-group", "merge-central-config"];
    if unstreamed.iter().any(|param| request.params.has(param)) {
        CacheKind::Refreshed
    } else {
        CacheKind::Streamed
    }
}

/// The ingress gateways of a service.
fn ingress(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let service = request.tail_or(MISSING_SERVICE)?;
    let selection = InstanceSelection::parse(request, service, false);
    let query = HealthService {
        selection: InstanceSelection { ingress: true, ..selection },
        health: parse_passing(request)?,
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency())
}

/// `passing`: present without a value means yes.
fn parse_passing(request: &Request) -> Result<InstanceHealth, CallError> {
    match request.params.get("passing") {
        None => Ok(InstanceHealth::Any),
        Some("" | "1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(InstanceHealth::Passing),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(InstanceHealth::Any),
        Some(_) => Err(CallError::bad_request("Invalid value for ?passing")),
    }
}
