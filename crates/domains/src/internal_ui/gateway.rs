//! What is behind a gateway, each service as a summary of its instances.

use std::sync::Arc;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::remote::{QueryMethod, QueryOptions, nil_if_empty};
use contract::{CallError, Found, Pruned, Query, ReadFacts};
use serde::{Deserialize, Serialize, Serializer};
use store::Reader;
use types::catalog::{CheckServiceNode, GatewayService, Node, NodeService};
use types::check::HealthCheck;

use super::summary::Summaries;
use crate::requests::{NO_SERVICE, ServiceRequest, given};

/// The services behind a gateway. They are linked by config entries, of which there are none
/// yet, so nothing is behind any.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayServiceDump {
    /// The gateway.
    pub gateway: String,
}

/// The answer to [`GatewayServiceDump`]. What is shown are the services that the instances
/// make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct BehindGateway(pub Vec<ServiceInfo>);

/// An instance behind a gateway, or, without a node, a service that has none.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceInfo {
    /// The checks of the instance and of its node.
    pub checks: Vec<Arc<HealthCheck>>,
    /// How the gateway is linked to the service.
    pub gateway_service: Option<GatewayService>,
    /// The node.
    pub node: Option<Arc<Node>>,
    /// The instance.
    pub service: Option<Arc<NodeService>>,
}

impl Serialize for BehindGateway {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let instance = |row: &ServiceInfo| {
            let (node, service) = (row.node.clone()?, row.service.clone()?);
            Some(CheckServiceNode { node, service, checks: row.checks.clone() })
        };
        let rows: Vec<CheckServiceNode> = self.0.iter().filter_map(instance).collect();
        let summaries = Summaries::of(&rows);
        serializer.collect_seq(summaries.names().map(|name| summaries.get(name).0))
    }
}

impl Query for GatewayServiceDump {
    const NAME: &'static str = "Internal.GatewayServiceDump";
    type Reply = BehindGateway;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Service, &self.gateway))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<BehindGateway> {
        Found::new(reader.max_index_of(&["gateway-services"]), BehindGateway::default())
    }

    fn prune(&self, _who: &Authorizer, reply: BehindGateway) -> Pruned<BehindGateway> {
        Pruned::nothing(reply)
    }
}

/// `IndexedServiceDump`.
#[derive(Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndexedServiceDump<R> {
    dump: R,
}

impl QueryMethod for GatewayServiceDump {
    type Request = ServiceRequest;
    type Wire<'r> = IndexedServiceDump<Option<&'r [ServiceInfo]>>;
    type Received = IndexedServiceDump<Vec<ServiceInfo>>;

    fn request(&self) -> ServiceRequest {
        ServiceRequest::of(self.gateway.as_str())
    }

    fn of_request(request: ServiceRequest, _options: &QueryOptions) -> Result<Self, CallError> {
        Ok(Self { gateway: given(request.service_name, NO_SERVICE)? })
    }

    fn wire(reply: &BehindGateway) -> Self::Wire<'_> {
        IndexedServiceDump { dump: nil_if_empty(&reply.0) }
    }

    fn of_wire(
        &self,
        received: Self::Received,
        _facts: &ReadFacts,
    ) -> Result<BehindGateway, CallError> {
        Ok(BehindGateway(received.dump))
    }
}
