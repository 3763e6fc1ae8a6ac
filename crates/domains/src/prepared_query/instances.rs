//! The instances that a definition asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use store::{Reader, State};
use types::NodeName;
use types::catalog::{CheckServiceNode, NodeService};
use types::prepared_query::{PreparedQuery, ServiceQuery};

use crate::catalog::{self, InstanceSelection, NODES};
use crate::{coordinate, health};

/// The instances of a definition in one datacenter, in no order that means anything.
/// Whoever executes the definition shares one evaluation with all others who do.
///
/// In another datacenter this is `PreparedQuery.ExecuteRemote`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryInstances {
    /// The definition, filled in.
    pub query: Arc<PreparedQuery>,
    /// Whether it is asked for what is reached through the mesh, whatever the definition
    /// says.
    pub connect: bool,
    /// The cluster peer whose instances are asked for; empty for the cluster's own.
    pub peer: String,
}

impl Query for QueryInstances {
    const NAME: &'static str = "PreparedQuery.ExecuteRemote";
    type Reply = Vec<CheckServiceNode>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let wanted = &self.query.service;
        let selection = InstanceSelection {
            connect: self.connect || wanted.connect,
            peer: self.peer.clone(),
            node_meta: wanted.node_meta.clone().unwrap_or_default(),
            ..InstanceSelection::of(wanted.service.as_str())
        };
        let no_meta = BTreeMap::new();
        let service_meta = wanted.service_meta.as_ref().unwrap_or(&no_meta);
        let (index, found) = selection.find(reader);
        let state = reader.unwatched();
        let entries = found
            .into_iter()
            .filter(|(_, row)| tags_fit(&row.service, wanted))
            .filter(|(_, row)| catalog::has_meta(&row.service.meta, service_meta))
            .map(|(node, row)| health::with_checks(state, node, &row))
            .filter(|entry| is_healthy(entry, wanted))
            .collect();
        Found::new(index, entries)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        health::keep_visible(who, reply)
    }
}

/// Whether it has all tags that are wanted, and none of those behind a `!`.
fn tags_fit(service: &NodeService, query: &ServiceQuery) -> bool {
    query.tags.iter().flatten().all(|tag| match tag.strip_prefix('!') {
        Some(unwanted) => !service.has_tag(unwanted),
        None => service.has_tag(tag),
    })
}

/// No check is critical, nor, if only those that pass are wanted, anything else; checks
/// that are ignored do not count.
fn is_healthy(entry: &CheckServiceNode, wanted: &ServiceQuery) -> bool {
    let is_ignored = |id: &str| wanted.ignore_check_ids.iter().flatten().any(|other| other == id);
    let mut counted = entry.checks.iter().filter(|check| !is_ignored(check.check_id.as_str()));
    counted.all(|check| check.status.is_handed_out(wanted.only_passing))
}

/// From where distances are measured.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Source {
    /// This node.
    Node(NodeName),
    /// The node with this address.
    Address(IpAddr),
}

/// The order of nodes by their distance from another.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct QueryOrder {
    /// From where.
    pub source: Source,
    /// The nodes, of which equally near ones stay in this order.
    pub nodes: Vec<NodeName>,
}

impl Query for QueryOrder {
    const NAME: &'static str = "PreparedQuery.Order";
    const KEPT: bool = false;
    /// Places in `nodes`, the nearest first.
    type Reply = Vec<usize>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["nodes", "coordinates"]);
        let state = reader.unwatched();
        let mut nodes: Vec<(usize, &str)> =
            self.nodes.iter().map(NodeName::as_str).enumerate().collect();
        if let Some(source) = self.source_node(state) {
            sort_by_distance(state, source.as_str(), &mut nodes);
        }
        Found::new(index, nodes.into_iter().map(|(at, _)| at).collect())
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}

impl QueryOrder {
    fn source_node(&self, state: &State) -> Option<NodeName> {
        match &self.source {
            Source::Node(node) => Some(node.clone()),
            Source::Address(address) => state
                .peek_prefix(&NODES, &[])
                .find(|node| node.address.parse() == Ok(*address))
                .map(|node| node.node.clone()),
        }
    }
}

/// Puts nodes in order by their distance from the source, which comes first itself,
/// coordinates or not.
fn sort_by_distance(state: &State, source: &str, nodes: &mut [(usize, &str)]) {
    coordinate::sort_by_round_trip(state, source, nodes, |(_, node)| node);
    nodes.sort_by_key(|(_, node)| !node.eq_ignore_ascii_case(source));
}
