//! Services, each as a summary of its instances.

use acl::{Authorizer, PermissionDenied};
use contract::{CallError, Found, Pruned, Query};
use filter::schemas;
use serde::{Serialize, Serializer};
use store::{Reader, State};
use types::ServiceName;
use types::catalog::{CheckServiceNode, GatewayService};

use super::summary::{ServiceSummary, Summaries};
use crate::catalog::{NODES, RowFilter, SERVICES, node_key};
use crate::health;

/// All services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceDump {
    /// The cluster peer whose services are asked for; there are none, and so none of
    /// their services.
    pub peer: String,
    /// The only kind of instances that counts, empty for those of no special kind.
    pub kind: Option<String>,
    /// `filter=`, applied to instances.
    pub filter: RowFilter,
}

/// The answer to [`ServiceDump`]: instances, and what is behind gateways. What is shown are
/// the services that these make.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Services {
    /// The instances, in the order of nodes.
    pub nodes: Vec<CheckServiceNode>,
    /// Links of gateways to services. They are made by config entries, of which there are
    /// none yet.
    pub gateways: Vec<GatewayService>,
}

/// A service in the list of all.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ServiceListing {
    #[serde(flatten)]
    summary: ServiceSummary,
    connected_with_proxy: bool,
    connected_with_gateway: bool,
}

impl Serialize for Services {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let summaries = Summaries::of(&self.nodes);
        serializer.collect_seq(summaries.names().map(|name| {
            let (summary, connected_with_proxy) = summaries.get(name);
            let connected_with_gateway =
                self.gateways.iter().any(|link| link.service.name.as_str() == name);
            ServiceListing { summary, connected_with_proxy, connected_with_gateway }
        }))
    }
}

impl Query for ServiceDump {
    const NAME: &'static str = "Internal.ServiceDump";
    type Reply = Services;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["services", "nodes", "checks"]);
        let mut nodes = match self.peer.as_str() {
            "" => instances(reader.unwatched()),
            _ => Vec::new(),
        };
        if let Some(kind) = &self.kind {
            nodes.retain(|row| row.service.kind == *kind);
        }
        Found::new(index, Services { nodes, gateways: Vec::new() })
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let kept = health::keep_visible(who, reply.nodes);
        Pruned { reply: Services { nodes: kept.reply, ..reply }, removed: kept.removed }
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::CHECK_SERVICE_NODE, &mut reply.nodes, |row| row)?;
        Ok(reply)
    }
}

/// Every instance with its checks, in the order of nodes.
pub(super) fn instances(state: &State) -> Vec<CheckServiceNode> {
    let rows = state.prefix(&SERVICES, &[]);
    rows.filter_map(|row| {
        let node = state.get(&NODES, node_key(row.node.as_str()).as_bytes())?;
        Some(health::with_checks(state, node, &row))
    })
    .collect()
}

/// The services that are exported to a cluster peer.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExportedServices {
    /// The peer.
    pub peer: String,
}

/// The answer to [`ExportedServices`]: their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServiceNames(pub Vec<ServiceName>);

/// Nothing but the name is known of what somebody else serves.
impl Serialize for ServiceNames {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|name| ServiceListing {
            summary: ServiceSummary { name: name.as_str().to_owned(), ..ServiceSummary::default() },
            connected_with_proxy: false,
            connected_with_gateway: false,
        }))
    }
}

impl Query for ExportedServices {
    const NAME: &'static str = "Internal.ExportedServicesForPeer";
    type Reply = ServiceNames;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        Found::new(reader.max_index_of(&["peering"]), ServiceNames::default())
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        match self.peer.as_str() {
            "" => Err(CallError::failed("must provide PeerName")),
            _ => Ok(reply),
        }
    }
}
