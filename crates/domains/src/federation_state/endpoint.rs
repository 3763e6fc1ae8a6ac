//! `/v1/internal/federation-state`.

use std::any::Any;
use std::sync::Arc;

use contract::{Call, CallError, Encoding, ReadFacts, Request, Response, Route, Verb, reply_of};
use serde::Serialize;
use types::Datacenter;
use types::federation_state::FederationState;
use types::query_meta::QueryMeta;

use super::query::{FederationStateOf, FederationStates, MeshGateways};

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/internal/federation-states", verbs: &[Verb::get(list)] },
    Route {
        path: "/v1/internal/federation-states/mesh-gateways",
        verbs: &[Verb::get(mesh_gateways)],
    },
    Route { path: "/v1/internal/federation-state/", verbs: &[Verb::get(one)] },
];

fn list(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    Ok(Call::read(FederationStates, options).with_facts_of_errors())
}

fn mesh_gateways(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    Ok(Call::read(MeshGateways, options).with_facts_of_errors())
}

/// A state with the facts of the read, which Consul shows in the body here.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StateWithFacts {
    #[serde(flatten)]
    meta: QueryMeta,
    state: Arc<FederationState>,
}

fn one(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let datacenter = Datacenter::from(request.tail_or("Missing datacenter name")?);
    let call = Call::read_with_facts(FederationStateOf { datacenter }, options, show);
    Ok(call.with_facts_of_errors().bare_if_not_found())
}

fn show(reply: &(dyn Any + Send + Sync), facts: &ReadFacts, encoding: Encoding) -> Response {
    let Some(state) = reply_of::<FederationStateOf>(reply) else { return Response::not_found() };
    // The index is that of the state alone; the consistency is not told here.
    let meta = QueryMeta { index: state.modify_index, ..facts.to_meta("") };
    Response::json(&StateWithFacts { meta, state: Arc::clone(state) }, encoding)
}
