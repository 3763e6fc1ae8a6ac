//! Services, each as a summary of its instances.

use acl::{Authorizer, PermissionDenied};
use contract::{CallError, Found, Pruned, Query};
use filter::schemas;
use serde::Serialize;
use store::{Reader, State};
use types::catalog::CheckServiceNode;

use super::summary::{ServiceSummary, Summaries};
use crate::catalog::{NODES, RowFilter, SERVICES, node_key};
use crate::health;

/// All services.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServiceDump {
    /// The cluster peer whose services are asked for; there are none, and so none of
    /// their services.
    pub peer: String,
    /// `filter=`, applied to instances.
    pub filter: RowFilter,
}

/// The answer to [`ServiceDump`], before and after it is boiled down.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Services {
    /// The instances, while it is decided which count.
    #[serde(skip)]
    Instances(Vec<CheckServiceNode>),
    /// What is shown.
    Listings(Vec<ServiceListing>),
}

/// A service in the list of all.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct ServiceListing {
    #[serde(flatten)]
    summary: ServiceSummary,
    connected_with_proxy: bool,
    connected_with_gateway: bool,
}

impl contract::remote::RemoteQuery for ServiceDump {}

impl Query for ServiceDump {
    const NAME: &'static str = "Internal.ServiceDump";
    type Reply = Services;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["services", "nodes", "checks"]);
        let rows = match self.peer.as_str() {
            "" => instances(reader.unwatched()),
            _ => Vec::new(),
        };
        Found::new(index, Services::Instances(rows))
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let Services::Instances(rows) = reply else { return Pruned::nothing(reply) };
        let kept = health::keep_visible(who, rows);
        Pruned { reply: Services::Instances(kept.reply), removed: kept.removed }
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        let Services::Instances(mut rows) = reply else { return Ok(reply) };
        self.filter.keep(&schemas::CHECK_SERVICE_NODE, &mut rows, |row| row)?;
        let summaries = Summaries::of(&rows);
        let listing = |name| {
            let (summary, connected_with_proxy) = summaries.get(name);
            ServiceListing { summary, connected_with_proxy, connected_with_gateway: false }
        };
        Ok(Services::Listings(summaries.names().map(listing).collect()))
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

impl contract::remote::RemoteQuery for ExportedServices {}

impl Query for ExportedServices {
    const NAME: &'static str = "Internal.ExportedServicesForPeer";
    type Reply = Vec<ServiceListing>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        Found::new(reader.max_index_of(&["peering"]), Vec::new())
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
