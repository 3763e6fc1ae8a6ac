//! `/v1/catalog/`.

use contract::{CacheKind, Call, CallError, Request, Route, Verb};
use types::catalog::{DeregisterRequest, RegisterRequest};

use super::command::{Deregister, Register};
use super::manual_ip;
use super::query::{
    CatalogNode, CatalogNodeServices, CatalogNodes, CatalogService, CatalogServices,
};
use super::selection::{InstanceSelection, RowFilter, parse_node_meta};
use crate::coordinate::Near;

pub(super) const ROUTES: &[Route] = &[
    Route { path: "/v1/catalog/register", verbs: &[Verb::put(register)] },
    Route { path: "/v1/catalog/deregister", verbs: &[Verb::put(deregister)] },
    Route { path: "/v1/catalog/nodes", verbs: &[Verb::get(nodes)] },
    Route { path: "/v1/catalog/services", verbs: &[Verb::get(services)] },
    Route { path: "/v1/catalog/service/", verbs: &[Verb::get(service)] },
    Route { path: "/v1/catalog/connect/", verbs: &[Verb::get(connect)] },
    Route { path: "/v1/catalog/node/", verbs: &[Verb::get(node)] },
    Route { path: "/v1/catalog/node-services/", verbs: &[Verb::get(node_services)] },
    Route { path: "/v1/catalog/gateway-services/", verbs: &[Verb::get(gateway_services)] },
    Route { path: "/v1/internal/service-virtual-ip", verbs: &[Verb::put(manual_ip::assign)] },
];

const DECODE: &str = "Request decode failed: ";
const MISSING_SERVICE: &str = "Missing service name";
const MISSING_NODE: &str = "Missing node name";

fn register(request: &Request) -> Result<Call, CallError> {
    let mut body: RegisterRequest = request.json(DECODE)?;
    if body.datacenter.is_empty() {
        body.datacenter = request.datacenter();
    }
    Ok(Call::write_then_true(Register(body), &request.token))
}

fn deregister(request: &Request) -> Result<Call, CallError> {
    let mut body: DeregisterRequest = request.json(DECODE)?;
    if body.datacenter.is_empty() {
        body.datacenter = request.datacenter();
    }
    Ok(Call::write_then_true(Deregister(body), &request.token))
}

fn nodes(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let query = CatalogNodes {
        node_meta: parse_node_meta(request),
        near: Near::parse(request),
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency())
}

fn services(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let query =
        CatalogServices { node_meta: parse_node_meta(request), filter: RowFilter::parse(request) };
    Ok(Call::read(query, options).telling_consistency().cached_as(CacheKind::Refreshed))
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
    let query = CatalogService {
        selection: InstanceSelection::parse(request, service, connect),
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency().cached_as(CacheKind::Refreshed))
}

fn node(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let node = request.tail_or(MISSING_NODE)?.to_owned();
    let query = CatalogNode { node, filter: RowFilter::parse(request) };
    Ok(Call::read(query, options).telling_consistency())
}

fn node_services(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let node = request.tail_or(MISSING_NODE)?.to_owned();
    let query = CatalogNodeServices {
        node,
        merge_central_config: request.params.has("merge-central-config"),
        filter: RowFilter::parse(request),
    };
    Ok(Call::read(query, options).telling_consistency())
}

/// The services behind a gateway. Gateways are linked by config entries, of which
/// there are none yet, so no gateway has services.
fn gateway_services(request: &Request) -> Result<Call, CallError> {
    let options = request.read_options()?;
    let gateway = request.tail_or("Missing gateway name")?.to_owned();
    Ok(Call::read(super::query::GatewayServices { gateway }, options).telling_consistency())
}
