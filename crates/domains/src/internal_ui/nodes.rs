//! Nodes with all that is on them.

use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{CallError, Found, Pruned, Query};
use filter::{Field, ListOf, Schema, schemas};
use serde::{Deserialize, Serialize, Serializer};
use store::{Reader, State};
use types::catalog::{Meta, Node, NodeService};
use types::check::HealthCheck;
use types::stored::Stored;
use types::{NodeId, NodeName};

use crate::catalog::{
    self, CHECKS, NODES, RowFilter, SERVICES, can_see_check, can_see_instance, node_key,
};

/// All nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NodeDump {
    /// `filter=`.
    pub filter: RowFilter,
}

/// One node.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NodeInfo {
    /// Its name.
    pub node: String,
    /// The cluster peer whose node it is; there are none, and so none of their nodes.
    pub peer: String,
}

/// A node with its instances and its checks.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeRow {
    #[serde(rename = "ID")]
    id: NodeId,
    node: NodeName,
    #[serde(skip_serializing_if = "String::is_empty")]
    peer_name: String,
    address: String,
    tagged_addresses: Meta,
    meta: Meta,
    #[serde(serialize_with = "stored_services")]
    services: Vec<Arc<NodeService>>,
    #[serde(serialize_with = "stored_checks")]
    checks: Vec<Arc<HealthCheck>>,
}

fn stored_services<S: Serializer>(
    rows: &[Arc<NodeService>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| Stored(&**row)))
}

fn stored_checks<S: Serializer>(
    rows: &[Arc<HealthCheck>],
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_seq(rows.iter().map(|row| Stored(&**row)))
}

/// The selectors of a row.
static NODE_ROW: Schema<NodeRow> = Schema {
    fields: &[
        Field::text("ID", |row| row.id.as_str()),
        Field::text("Node", |row| row.node.as_str()),
        // Partitions are Enterprise's: always empty.
        Field::text("Partition", |_| ""),
        Field::text("PeerName", |row| &row.peer_name),
        Field::text("Address", |row| &row.address),
        Field::text_map("TaggedAddresses", |row| row.tagged_addresses.as_ref()),
        Field::text_map("Meta", |row| row.meta.as_ref()),
        Field::nested(
            "Services",
            &ListOf {
                get: |row: &NodeRow| &row.services,
                element: |service: &Arc<NodeService>| &**service,
                schema: &schemas::NODE_SERVICE,
            },
        ),
        Field::nested(
            "Checks",
            &ListOf {
                get: |row: &NodeRow| &row.checks,
                element: |check: &Arc<HealthCheck>| &**check,
                schema: &schemas::HEALTH_CHECK,
            },
        ),
    ],
};

impl NodeRow {
    fn gather(state: &State, node: &Node) -> Self {
        let key = node_key(node.node.as_str());
        let services = state.prefix(&SERVICES, key.as_bytes());
        Self {
            id: node.id.clone(),
            node: node.node.clone(),
            peer_name: node.peer_name.clone(),
            address: node.address.clone(),
            tagged_addresses: node.tagged_addresses.clone(),
            meta: node.meta.clone(),
            services: services.map(|row| Arc::clone(&row.service)).collect(),
            checks: state.prefix(&CHECKS, key.as_bytes()).collect(),
        }
    }
}

fn keep_visible(who: &Authorizer, rows: Vec<NodeRow>) -> Pruned<Vec<NodeRow>> {
    if who.allows_everything() {
        return Pruned::nothing(rows);
    }
    let mut kept = Pruned::keep(rows, |row| catalog::can_see_node(who, row.node.as_str()));
    for row in &mut kept.reply {
        let before = row.services.len() + row.checks.len();
        let node = row.node.as_str();
        row.services.retain(|service| can_see_instance(who, node, service.service.as_str()));
        row.checks.retain(|check| can_see_check(who, check));
        kept.removed |= row.services.len() + row.checks.len() < before;
    }
    kept
}

impl Query for NodeDump {
    const NAME: &'static str = "Internal.NodeDump";
    type Reply = Vec<NodeRow>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["nodes", "services", "checks"]);
        let state = reader.unwatched();
        let rows = state.prefix(&NODES, &[]).map(|node| NodeRow::gather(state, &node)).collect();
        Found::new(index, rows)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        keep_visible(who, reply)
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&NODE_ROW, &mut reply, |row| row)?;
        Ok(reply)
    }
}

impl Query for NodeInfo {
    const NAME: &'static str = "Internal.NodeInfo";
    type Reply = Vec<NodeRow>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = catalog::node_index(reader, &self.node);
        let state = reader.unwatched();
        let node = state.get(&NODES, node_key(&self.node).as_bytes());
        let node = node.filter(|_| self.peer.is_empty());
        Found::new(index, node.iter().map(|node| NodeRow::gather(state, node)).collect())
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        keep_visible(who, reply)
    }
}
