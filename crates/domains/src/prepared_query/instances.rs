//! The instances that a definition asks for.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{Found, Pruned, Query};
use store::{Reader, State};
use types::NodeName;
use types::catalog::{CheckServiceNode, NodeService};
use types::check::Status;
use types::prepared_query::{PreparedQuery, ServiceQuery};

use crate::catalog::{InstanceSelection, NODES};
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
        let (index, found) = selection.find(reader);
        let state = reader.unwatched();
        let tags = TagRules::of(wanted);
        let entries = found
            .into_iter()
            .filter(|(_, row)| tags.fit(&row.service))
            .filter(|(_, row)| has_meta(&row.service, wanted.service_meta.as_ref()))
            .map(|(node, row)| health::with_checks(state, node, &row))
            .filter(|entry| is_healthy(entry, wanted))
            .collect();
        Found::new(index, entries)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        health::keep_visible(who, reply)
    }
}

/// The tags that an instance must have, and those that it must not have, in lower case.
struct TagRules {
    wanted: Vec<String>,
    unwanted: Vec<String>,
}

impl TagRules {
    fn of(query: &ServiceQuery) -> Self {
        let (mut wanted, mut unwanted) = (Vec::new(), Vec::new());
        for tag in query.tags.iter().flatten() {
            let tag = tag.to_lowercase();
            match tag.strip_prefix('!') {
                Some(tag) => unwanted.push(tag.to_owned()),
                None => wanted.push(tag),
            }
        }
        Self { wanted, unwanted }
    }

    fn fit(&self, service: &NodeService) -> bool {
        let has = |wanted: &String| {
            service.tags.iter().any(|tag| tag == wanted || tag.to_lowercase() == *wanted)
        };
        self.wanted.iter().all(has) && !self.unwanted.iter().any(has)
    }
}

fn has_meta(service: &NodeService, wanted: Option<&BTreeMap<String, String>>) -> bool {
    wanted.into_iter().flatten().all(|(key, value)| {
        service.meta.as_ref().and_then(|meta| meta.get(key)).is_some_and(|found| found == value)
    })
}

/// No check is critical, nor, if only those that pass are wanted, anything else; checks
/// that are ignored do not count.
fn is_healthy(entry: &CheckServiceNode, wanted: &ServiceQuery) -> bool {
    let is_ignored = |id: &str| wanted.ignore_check_ids.iter().flatten().any(|other| other == id);
    entry.checks.iter().filter(|check| !is_ignored(check.check_id.as_str())).all(|check| {
        match wanted.only_passing {
            true => check.status == Status::Passing,
            false => check.status != Status::Critical,
        }
    })
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
