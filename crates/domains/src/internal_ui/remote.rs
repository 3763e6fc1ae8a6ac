//! The reads of the web UI on the server port.

use contract::remote::{QueryMethod, QueryOptions, is_zero, nil_if_empty};
use contract::{CallError, MethodDef, ReadFacts};
use serde::{Deserialize, Serialize};
use types::catalog::{CheckServiceNode, GatewayService, NestedName};

use super::gateway::GatewayServiceDump;
use super::nodes::{NodeDump, NodeInfo, NodeRow};
use super::overview::{CatalogOverview, Overview};
use super::services::{ExportedServices, ServiceDump, ServiceNames, Services};
use super::topology::{Neighbours, ServiceTopology, Topology};
use crate::catalog::RowFilter;
use crate::requests::{DcRequest, NO_NODE, NO_SERVICE, NodeRequest, ServiceRequest, given};

pub(super) const METHODS: &[MethodDef] = &[
    MethodDef::read::<NodeDump>(),
    MethodDef::read::<NodeInfo>(),
    MethodDef::read::<ServiceDump>(),
    MethodDef::read::<CatalogOverview>(),
    MethodDef::read::<ServiceTopology>(),
    MethodDef::read::<ExportedServices>(),
    MethodDef::read::<GatewayServiceDump>(),
];

/// `IndexedNodeDump`, without what was imported from cluster peers.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedNodeDump<R> {
    dump: R,
}

impl QueryMethod for NodeDump {
    type Request = DcRequest;
    type Wire<'r> = IndexedNodeDump<Option<&'r [NodeRow]>>;
    type Received = IndexedNodeDump<Vec<NodeRow>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { filter: RowFilter::of(&options.filter) })
    }

    fn wire(reply: &Vec<NodeRow>) -> Self::Wire<'_> {
        IndexedNodeDump { dump: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Vec<NodeRow>, CallError> {
        Ok(received.dump)
    }
}

impl QueryMethod for NodeInfo {
    type Request = NodeRequest;
    type Wire<'r> = IndexedNodeDump<Option<&'r [NodeRow]>>;
    type Received = IndexedNodeDump<Vec<NodeRow>>;

    fn request(&self) -> NodeRequest {
        NodeRequest { peer_name: self.peer.clone(), ..NodeRequest::of(self.node.as_str()) }
    }

    fn of_request(request: NodeRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { node: given(request.node, NO_NODE)?, peer: request.peer_name })
    }

    fn wire(reply: &Vec<NodeRow>) -> Self::Wire<'_> {
        IndexedNodeDump { dump: nil_if_empty(reply) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<Vec<NodeRow>, CallError> {
        Ok(received.dump)
    }
}

/// `ServiceDumpRequest`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceDumpRequest {
    #[serde(skip_serializing_if = "is_zero")]
    peer_name: String,
    #[serde(skip_serializing_if = "is_zero")]
    service_kind: String,
    #[serde(skip_serializing_if = "is_zero")]
    use_service_kind: bool,
}

/// `IndexedNodesWithGateways`, without what was imported from cluster peers.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedNodesWithGateways<G, R> {
    gateways: G,
    nodes: R,
}

impl QueryMethod for ServiceDump {
    type Request = ServiceDumpRequest;
    type Wire<'r> =
        IndexedNodesWithGateways<Option<&'r [GatewayService]>, Option<&'r [CheckServiceNode]>>;
    type Received = IndexedNodesWithGateways<Vec<GatewayService>, Vec<CheckServiceNode>>;

    fn filter(&self) -> &str {
        self.filter.as_str()
    }

    fn request(&self) -> ServiceDumpRequest {
        ServiceDumpRequest {
            peer_name: self.peer.clone(),
            service_kind: self.kind.clone().unwrap_or_default(),
            use_service_kind: self.kind.is_some(),
        }
    }

    fn of_request(request: ServiceDumpRequest, options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self {
            peer: request.peer_name,
            kind: request.use_service_kind.then_some(request.service_kind),
            filter: RowFilter::of(&options.filter),
        })
    }

    fn wire(reply: &Services) -> Self::Wire<'_> {
        IndexedNodesWithGateways {
            gateways: nil_if_empty(&reply.gateways),
            nodes: nil_if_empty(&reply.nodes),
        }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Services, CallError> {
        Ok(Services { nodes: received.nodes, gateways: received.gateways })
    }
}

/// `CatalogSummary`, which tells no facts.
impl QueryMethod for CatalogOverview {
    const TELLS_FACTS: bool = false;
    type Request = DcRequest;
    type Wire<'r> = &'r Overview;
    type Received = Overview;

    fn request(&self) -> DcRequest {
        DcRequest::default()
    }

    fn of_request(_request: DcRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self)
    }

    fn wire(reply: &Overview) -> &Overview {
        reply
    }

    fn of_wire(&self, received: Overview, _facts: &ReadFacts) -> Result<Overview, CallError> {
        Ok(received)
    }
}

/// `IndexedServiceTopology`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedServiceTopology<T> {
    #[serde(rename = "FilteredByACLs")]
    filtered_by_acls: bool,
    service_topology: T,
}

impl QueryMethod for ServiceTopology {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedServiceTopology<&'r Neighbours>;
    type Received = IndexedServiceTopology<Neighbours>;

    fn request(&self) -> ServiceRequest {
        ServiceRequest::of(self.service.as_str())
    }

    fn of_request(request: ServiceRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { service: given(request.service_name, NO_SERVICE)? })
    }

    fn wire(reply: &Topology) -> Self::Wire<'_> {
        IndexedServiceTopology {
            filtered_by_acls: reply.filtered_by_acls,
            service_topology: &reply.neighbours,
        }
    }

    fn of_wire(&self, received: Self::Received, _facts: &ReadFacts) -> Result<Topology, CallError> {
        let IndexedServiceTopology { filtered_by_acls, service_topology } = received;
        Ok(Topology::received(service_topology, filtered_by_acls))
    }
}

/// `IndexedServiceList`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedServiceList {
    services: Option<Vec<NestedName>>,
}

impl QueryMethod for ExportedServices {
    type Request = ServiceDumpRequest;
    type Wire<'r> = IndexedServiceList;
    type Received = IndexedServiceList;

    fn request(&self) -> ServiceDumpRequest {
        ServiceDumpRequest { peer_name: self.peer.clone(), ..ServiceDumpRequest::default() }
    }

    fn of_request(request: ServiceDumpRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { peer: request.peer_name })
    }

    fn wire(reply: &ServiceNames) -> IndexedServiceList {
        let names = || reply.0.iter().map(|name| NestedName { name: name.clone() }).collect();
        IndexedServiceList { services: (!reply.0.is_empty()).then(names) }
    }

    fn of_wire(
        &self,
        received: IndexedServiceList,
        _facts: &ReadFacts,
    ) -> Result<ServiceNames, CallError> {
        let names = received.services.into_iter().flatten().map(|nested| nested.name);
        Ok(ServiceNames(names.collect()))
    }
}
