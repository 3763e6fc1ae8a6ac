//! `/v1/internal/federation-state`.

use std::sync::Arc;

use contract::{Call, CallError, Request, Response, Route, Verb};
use serde::Serialize;
use types::federation_state::FederationState;
use types::{Datacenter, Index};

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
    backend: u8,
    consistency_level: &'static str,
    index: Index,
    known_leader: bool,
    last_contact: u64,
    not_modified: bool,
    #[serde(rename = "ResultsFilteredByACLs")]
    results_filtered_by_acls: bool,
    state: Arc<FederationState>,
}

fn one(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let datacenter = Datacenter::from(request.tail_or("Missing datacenter name")?);
    let call = Call::read_with(FederationStateOf { datacenter }, options, |found, encoding| {
        let Some(state) = found else { return Response::not_found() };
        let shown = StateWithFacts {
            backend: 0,
            consistency_level: "",
            index: state.modify_index,
            known_leader: true,
            last_contact: 0,
            not_modified: false,
            results_filtered_by_acls: false,
            state: Arc::clone(state),
        };
        Response::json(&shown, encoding)
    });
    Ok(call.with_facts_of_errors().bare_if_not_found())
}
