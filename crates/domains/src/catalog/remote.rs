//! Nodes and instances on the server port. What is particular to registration and to the
//! addresses of services is in the files of these.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;

use contract::remote::{QueryMethod, QueryOptions, decode_args, header, is_zero, nil_if_empty};
use contract::{CallError, MethodClass, MethodDef, ReadFacts, RemoteCall};
use serde::{Deserialize, Serialize};
use types::catalog::{GatewayService, Node, ServiceNode};
use types::{NodeName, ServiceName};

use super::command::{Deregister, Register};
use super::manual_ip;
use super::query::{
    CatalogNode, CatalogNodeServices, CatalogNodes, CatalogService, CatalogServices,
    GatewayServices, NodeServiceList, NodeServices, PtrLookup, PtrTarget, ServiceTags,
    ServicesAtAddress, VirtualIp,
};
use super::selection::{InstanceSelection, RowFilter};
use super::usage::Usage;
use crate::coordinate::Near;
use crate::requests::{DcRequest, NO_NODE, NO_SERVICE, NodeRequest, ServiceRequest, given};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::write::<Register>(),
    MethodDef::write::<Deregister>(),
    MethodDef::read::<CatalogNodes>(),
    MethodDef::read::<CatalogServices>(),
    MethodDef::of("Catalog.ServiceNodes", MethodClass::Read, decode_service_nodes),
    MethodDef::read::<CatalogNode>(),
    MethodDef::read::<CatalogNodeServices>(),
    MethodDef::read::<GatewayServices>(),
    MethodDef::read::<VirtualIp>(),
    MethodDef::read::<PtrLookup>(),
    MethodDef::read::<Usage>(),
    MethodDef::of("Internal.AssignManualServiceVIPs", MethodClass::Read, manual_ip::decode_assign),
];

/// `IndexedNodes`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedNodes<R> {
    nodes: R,
}

impl QueryMethod for CatalogNodes {
    const MAY_BE_NOT_MODIFIED: bool = true;
    type Request = DcRequest;
    type Wire<'r> = IndexedNodes<Option<&'r [Arc<Node>]>>;
    type Received = IndexedNodes<Vec<Arc<Node>>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> DcRequest {
        DcRequest { node_meta_filters: self.node_meta.clone(), source: self.near.to_source() }
    }

    fn of_request(request: DcRequest, options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self {
            node_meta: request.node_meta_filters,
            near: Near::of_source(request.source),
            filter: RowFilter::of(&options.filter),
        })
    }

    fn wire(reply: &Vec<Arc<Node>>) -> Self::Wire<'_> {
        IndexedNodes { nodes: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.nodes)
    }
}

/// `IndexedServices`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedServices<R> {
    services: R,
}

impl QueryMethod for CatalogServices {
    const MAY_BE_NOT_MODIFIED: bool = true;
    type Request = DcRequest;
    type Wire<'r> = IndexedServices<Option<&'r BTreeMap<String, BTreeSet<String>>>>;
    type Received = IndexedServices<BTreeMap<String, Option<BTreeSet<String>>>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> DcRequest {
        DcRequest { node_meta_filters: self.node_meta.clone(), ..DcRequest::default() }
    }

    fn of_request(request: DcRequest, options: &QueryOptions) -> Result<Self, CallError> {
        let filter = RowFilter::of(&options.filter);
        Ok(Self { node_meta: request.node_meta_filters, filter })
    }

    fn wire(reply: &ServiceTags) -> Self::Wire<'_> {
        IndexedServices { services: reply.by_name() }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<ServiceTags, CallError> {
        let services = received.services.into_iter();
        let tags = services.map(|(name, tags)| (name, tags.unwrap_or_default()));
        Ok(ServiceTags::ByName(tags.collect()))
    }
}

/// `IndexedServiceNodes`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedServiceNodes<R> {
    service_nodes: R,
}

impl QueryMethod for CatalogService {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedServiceNodes<Option<&'r [ServiceNode]>>;
    type Received = IndexedServiceNodes<Vec<ServiceNode>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> ServiceRequest {
        self.selection.to_request()
    }

    fn of_request(request: ServiceRequest, options: &QueryOptions) -> Result<Self, CallError> {
        let selection = InstanceSelection::of_request(request)?;
        Ok(Self { selection, filter: RowFilter::of(&options.filter) })
    }

    fn wire(reply: &Vec<ServiceNode>) -> Self::Wire<'_> {
        IndexedServiceNodes { service_nodes: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.service_nodes)
    }
}

impl QueryMethod for ServicesAtAddress {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedServiceNodes<Option<&'r [ServiceNode]>>;
    type Received = IndexedServiceNodes<Vec<ServiceNode>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> ServiceRequest {
        ServiceRequest { service_address: self.address.clone(), ..ServiceRequest::default() }
    }

    fn of_request(request: ServiceRequest, options: &QueryOptions) -> Result<Self, CallError> {
        let filter = RowFilter::of(&options.filter);
        Ok(Self { address: request.service_address, filter })
    }

    fn wire(reply: &Vec<ServiceNode>) -> Self::Wire<'_> {
        IndexedServiceNodes { service_nodes: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.service_nodes)
    }
}

/// By name, or by address where there is none.
fn decode_service_nodes(args: &[u8]) -> Result<RemoteCall, CallError> {
    let (request, options): (ServiceRequest, _) = (decode_args(args)?, header(args)?);
    if request.service_name.is_empty() && !request.service_address.is_empty() {
        return Ok(RemoteCall::read(ServicesAtAddress::of_request(request, &options)?, &options));
    }
    Ok(RemoteCall::read(CatalogService::of_request(request, &options)?, &options))
}

/// `IndexedNodeServices` and `IndexedNodeServiceList`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedNodeServices<R> {
    node_services: R,
}

impl QueryMethod for CatalogNode {
    type Request = NodeRequest;
    type Wire<'r> = IndexedNodeServices<Option<&'r NodeServices>>;
    type Received = IndexedNodeServices<Option<NodeServices>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> NodeRequest {
        NodeRequest::of(self.node.as_str())
    }

    fn of_request(request: NodeRequest, options: &QueryOptions) -> Result<Self, CallError> {
        let filter = RowFilter::of(&options.filter);
        Ok(Self { node: given(request.node, NO_NODE)?, filter })
    }

    fn wire(reply: &Option<NodeServices>) -> Self::Wire<'_> {
        IndexedNodeServices { node_services: reply.as_ref() }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.node_services)
    }
}

impl QueryMethod for CatalogNodeServices {
    type Request = NodeRequest;
    type Wire<'r> = IndexedNodeServices<&'r NodeServiceList>;
    type Received = IndexedNodeServices<NodeServiceList>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> NodeRequest {
        let merge_central_config = self.merge_central_config;
        NodeRequest { merge_central_config, ..NodeRequest::of(self.node.as_str()) }
    }

    fn of_request(request: NodeRequest, options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self {
            node: given(request.node, NO_NODE)?,
            merge_central_config: request.merge_central_config,
            filter: RowFilter::of(&options.filter),
        })
    }

    fn wire(reply: &NodeServiceList) -> Self::Wire<'_> {
        IndexedNodeServices { node_services: reply }
    }

    /// A node without instances may come with none or with an empty list of them.
    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<NodeServiceList, CallError> {
        let mut list = received.node_services;
        if list.node.is_some() {
            list.services.get_or_insert_default();
        }
        Ok(list)
    }
}

/// `IndexedGatewayServices`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedGatewayServices<R> {
    services: R,
}

impl QueryMethod for GatewayServices {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedGatewayServices<Option<&'r [GatewayService]>>;
    type Received = IndexedGatewayServices<Vec<GatewayService>>;

    fn request(&self) -> ServiceRequest {
        ServiceRequest::of(self.gateway.as_str())
    }

    fn of_request(request: ServiceRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { gateway: given(request.service_name, NO_SERVICE)? })
    }

    fn wire(reply: &Vec<GatewayService>) -> Self::Wire<'_> {
        IndexedGatewayServices { services: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        Ok(received.services)
    }
}

/// The reply is the bare address, empty for none.
impl QueryMethod for VirtualIp {
    const TELLS_FACTS: bool = false;
    type Request = ServiceRequest;
    type Wire<'r> = String;
    type Received = String;

    fn request(&self) -> ServiceRequest {
        ServiceRequest::of(self.service.as_str())
    }

    fn of_request(request: ServiceRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { service: given(request.service_name, NO_SERVICE)? })
    }

    fn wire(reply: &Self::Reply) -> String {
        reply.map_or_else(String::new, |address| address.to_string())
    }

    fn of_wire(&self, received: String, _facts: &ReadFacts) -> Result<Self::Reply, CallError> {
        Ok(received.parse().ok())
    }
}

/// What asks who has an address.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReverseLookupRequest {
    address: String,
}

/// Who has it.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ReverseLookup {
    #[serde(skip_serializing_if = "is_zero")]
    node: NodeName,
    #[serde(skip_serializing_if = "is_zero")]
    service: ServiceName,
}

impl QueryMethod for PtrLookup {
    const METHOD: &'static str = "Proconsul.ReverseLookup";
    type Request = ReverseLookupRequest;
    type Wire<'r> = ReverseLookup;
    type Received = ReverseLookup;

    fn request(&self) -> ReverseLookupRequest {
        ReverseLookupRequest { address: self.address.to_string() }
    }

    fn of_request(
        request: ReverseLookupRequest,
        _options: &QueryOptions,
    ) -> Result<Self, CallError> {
        let address: Option<IpAddr> = request.address.parse().ok();
        let address = address.ok_or_else(|| CallError::failed("Must provide an IP address"))?;
        Ok(Self { address })
    }

    fn wire(reply: &Option<PtrTarget>) -> ReverseLookup {
        let mut told = ReverseLookup::default();
        match reply {
            Some(PtrTarget::Node(node)) => told.node = node.clone(),
            Some(PtrTarget::Service(service)) => told.service = service.clone(),
            None => {}
        }
        told
    }

    fn of_wire(
        &self,
        received: ReverseLookup,
        _facts: &ReadFacts,
    ) -> Result<Self::Reply, CallError> {
        let ReverseLookup { node, service } = received;
        Ok(match (node.is_empty(), service.is_empty()) {
            (false, _) => Some(PtrTarget::Node(node)),
            (true, false) => Some(PtrTarget::Service(service)),
            (true, true) => None,
        })
    }
}
