//! `/v1/internal/ui/`, but for the proxy to a metrics store, which the agent is.

use contract::{Call, CallError, Request, Response, Route, Verb};
use types::Index;

use super::gateway::GatewayServiceDump;
use super::nodes::{NodeDump, NodeInfo};
use super::overview::CatalogOverview;
use super::services::{ExportedServices, ServiceDump};
use super::topology::ServiceTopology;
use crate::catalog::{GatewayServices, RowFilter};

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/internal/ui/nodes", verbs: &[Verb::get(nodes)] },
    Route { path: "/v1/internal/ui/node/", verbs: &[Verb::get(node)] },
    Route { path: "/v1/internal/ui/services", verbs: &[Verb::get(services)] },
    Route { path: "/v1/internal/ui/exported-services", verbs: &[Verb::get(exported_services)] },
    Route { path: "/v1/internal/ui/catalog-overview", verbs: &[Verb::get(catalog_overview)] },
    Route { path: "/v1/internal/ui/gateway-services-nodes/", verbs: &[Verb::get(behind_gateway)] },
    Route { path: "/v1/internal/ui/gateway-intentions/", verbs: &[Verb::get(gateway_intentions)] },
    Route { path: "/v1/internal/ui/service-topology/", verbs: &[Verb::get(service_topology)] },
];

const MISSING_GATEWAY: &str = "Missing gateway name";

fn nodes(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let query = NodeDump { filter: RowFilter::parse(request) };
    Ok(Call::read(query, options).with_facts_of_errors())
}

fn node(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let node = request.tail_or("Missing node name")?.to_owned();
    let query = NodeInfo { node, peer: request.params.text("peer").to_owned() };
    let call = Call::read_with(query, options, |rows, encoding| match rows.first() {
        Some(row) => Response::json(row, encoding),
        None => Response::not_found(),
    });
    Ok(call.with_facts_of_errors().bare_if_not_found())
}

fn services(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let peer = request.params.text("peer").to_owned();
    let query = ServiceDump { peer, kind: None, filter: RowFilter::parse(request) };
    Ok(Call::read(query, options).with_facts_of_errors())
}

fn exported_services(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let query = ExportedServices { peer: request.params.text("peer").to_owned() };
    Ok(Call::read(query, options).with_facts_of_errors())
}

/// It does not block.
fn catalog_overview(request: &Request) -> Result<Call, CallError> {
    let mut options = request.read_options()?;
    options.min_index = Index::ZERO;
    Ok(Call::read(CatalogOverview, options).bare())
}

fn behind_gateway(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let gateway = request.tail_or(MISSING_GATEWAY)?.to_owned();
    Ok(Call::read(GatewayServiceDump { gateway }, options).with_facts_of_errors())
}

/// Who may speak to what is behind a gateway. There are no intentions yet, so nothing is
/// said of anybody.
fn gateway_intentions(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let gateway = request.tail_or(MISSING_GATEWAY)?.to_owned();
    let none = |_: &_, encoding| Response::json(&[(); 0], encoding);
    Ok(Call::read_with(GatewayServices { gateway }, options, none).with_facts_of_errors())
}

fn service_topology(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let service = request.tail_or("Missing service name")?.to_owned();
    match request.params.get("kind") {
        None => return Err(CallError::bad_request("Missing service kind")),
        Some("" | "ingress-gateway" | "api-gateway") => {}
        Some(kind) => {
            return Err(CallError::bad_request(format!("Unsupported service kind {kind:?}")));
        }
    }
    Ok(Call::read(ServiceTopology { service }, options).with_facts_of_errors())
}
