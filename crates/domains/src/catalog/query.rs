//! Reads of nodes and instances.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use acl::{Authorizer, PermissionDenied};
use contract::{CallError, Found, Interest, Pruned, Query};
use filter::schemas;
use serde::{Deserialize, Serialize};
use store::{KeyBuilder, Reader, State};
use types::catalog::{GatewayService, Node, NodeService, ServiceNode};
use types::{Index, NodeName};

use super::access;
use super::index;
use super::selection::{InstanceSelection, RowFilter, has_meta};
use super::table::{NODES, NODES_BY_ID, SERVICES, node_key};
use super::virtual_ip::{SERVICE_VIRTUAL_IPS, virtual_ip};
use crate::coordinate::Near;

/// All nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CatalogNodes {
    /// Metadata that a node must have.
    pub node_meta: BTreeMap<String, String>,
    /// `near=`.
    pub near: Near,
    /// `filter=`.
    pub filter: RowFilter,
}

impl Query for CatalogNodes {
    const NAME: &'static str = "Catalog.ListNodes";
    type Reply = Vec<Arc<Node>>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["nodes"]);
        let state = reader.unwatched();
        let has_meta = |node: &Arc<Node>| has_meta(&node.meta, &self.node_meta);
        let mut nodes: Vec<_> = state.prefix(&NODES, &[]).filter(has_meta).collect();
        self.near.sort(reader, &mut nodes, |node| node.node.as_str());
        Found::new(index, nodes)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::keep(reply, |node| access::can_see_node(who, node.node.as_str()))
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::NODE, &mut reply, |node| node)?;
        Ok(reply)
    }
}

/// The names of all services with the tags of their instances.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CatalogServices {
    /// Metadata that the node of an instance must have.
    pub node_meta: BTreeMap<String, String>,
    /// `filter=`, applied to instances.
    pub filter: RowFilter,
}

impl Query for CatalogServices {
    const NAME: &'static str = "Catalog.ListServices";
    type Reply = ServiceTags;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let with_nodes = !self.node_meta.is_empty() || self.filter != RowFilter::default();
        let names: &[&str] = if with_nodes { &["services", "nodes"] } else { &["services"] };
        let index = reader.max_index_of(names);
        let state = reader.unwatched();
        let rows = state.prefix(&SERVICES, &[]).filter_map(|row| {
            let node = state.get(&NODES, node_key(row.node.as_str()).as_bytes())?;
            has_meta(&node.meta, &self.node_meta).then(|| (node, Arc::clone(&row.service)))
        });
        Found::new(index, ServiceTags::Instances(rows.collect()))
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let ServiceTags::Instances(rows) = reply else { return Pruned::nothing(reply) };
        let kept = Pruned::keep(rows, |(_, s)| access::can_see_service(who, s.service.as_str()));
        Pruned { reply: ServiceTags::Instances(kept.reply), removed: kept.removed }
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        let ServiceTags::Instances(rows) = reply else { return Ok(reply) };
        let filter = self.filter.compile(&schemas::SERVICE_NODE)?;
        let mut tags: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for (node, service) in rows {
            if filter.as_ref().is_some_and(|f| !f.matches(&ServiceNode::join(&node, &service))) {
                continue;
            }
            let of_service = tags.entry(service.service.as_str().to_owned()).or_default();
            of_service.extend(service.tags.iter().cloned());
        }
        Ok(ServiceTags::ByName(tags))
    }
}

/// The answer to [`CatalogServices`], before and after it is boiled down.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum ServiceTags {
    /// The instances, while it is decided which count.
    #[serde(skip)]
    Instances(Vec<(Arc<Node>, Arc<NodeService>)>),
    /// What is shown: tags by service name.
    ByName(BTreeMap<String, BTreeSet<String>>),
}

impl ServiceTags {
    /// The tags by service name, once they are known.
    pub fn by_name(&self) -> Option<&BTreeMap<String, BTreeSet<String>>> {
        match self {
            Self::ByName(tags) => Some(tags),
            Self::Instances(_) => None,
        }
    }

    /// The names of the services that are shown, in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name().into_iter().flat_map(|tags| tags.keys().map(String::as_str))
    }
}

/// The instances of a service, joined with their nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CatalogService {
    /// Which instances.
    pub selection: InstanceSelection,
    /// `filter=`.
    pub filter: RowFilter,
}

impl Query for CatalogService {
    const NAME: &'static str = "Catalog.ServiceNodes";
    type Reply = Vec<ServiceNode>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let (index, rows) = self.selection.find(reader);
        let rows = rows.iter().map(|(node, row)| ServiceNode::join(node, &row.service)).collect();
        Found::new(index, rows)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        if self.selection.connect && !access::can_see_service(who, &self.selection.service) {
            return Pruned { removed: !reply.is_empty(), reply: Vec::new() };
        }
        Pruned::keep(reply, |row| {
            access::can_see_instance(who, row.node.as_str(), row.service_name.as_str())
        })
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::SERVICE_NODE, &mut reply, |row| row)?;
        Ok(reply)
    }

    fn interest<'q>(&'q self, reply: &Self::Reply) -> Option<Interest<'q>> {
        Some(self.selection.interest(!reply.is_empty()))
    }
}

/// The instances that are reached at an address of their own, whatever their service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct ServicesAtAddress {
    /// The address.
    pub address: String,
    /// `filter=`.
    pub filter: RowFilter,
}

impl Query for ServicesAtAddress {
    const NAME: &'static str = "Catalog.ServiceNodes";
    type Reply = Vec<ServiceNode>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["services", "nodes"]);
        let state = reader.unwatched();
        let there = state
            .peek_prefix(&SERVICES, &[])
            .filter(|row| row.service.address == self.address)
            .filter_map(|row| {
                let node = state.peek(&NODES, node_key(row.node.as_str()).as_bytes())?;
                Some(ServiceNode::join(node, &row.service))
            });
        Found::new(index, there.collect())
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::keep(reply, |row| {
            access::can_see_instance(who, row.node.as_str(), row.service_name.as_str())
        })
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        self.filter.keep(&schemas::SERVICE_NODE, &mut reply, |row| row)?;
        Ok(reply)
    }
}

/// A node with its instances by id (`catalog/node`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CatalogNode {
    /// The node's name, or the beginning of its id.
    pub node: String,
    /// `filter=`, applied to the instances.
    pub filter: RowFilter,
}

/// The answer to [`CatalogNode`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeServices {
    /// The node.
    pub node: Arc<Node>,
    /// Its instances by id.
    pub services: BTreeMap<String, Arc<NodeService>>,
}

impl Query for CatalogNode {
    const NAME: &'static str = "Catalog.NodeServices";
    type Reply = Option<NodeServices>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let (index, found) = find_on_node(reader, &self.node);
        let reply = found.map(|(node, services)| NodeServices {
            node,
            services: services.into_iter().map(|s| (s.id.as_str().to_owned(), s)).collect(),
        });
        Found::new(index, reply)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let Some(mut found) = reply else { return Pruned::nothing(None) };
        if !access::can_see_node(who, found.node.node.as_str()) {
            return Pruned { reply: None, removed: true };
        }
        let before = found.services.len();
        found.services.retain(|_, service| access::can_see_service(who, service.service.as_str()));
        Pruned { removed: found.services.len() < before, reply: Some(found) }
    }

    fn refine(&self, reply: Self::Reply) -> Result<Self::Reply, CallError> {
        let filter = self.filter.compile(&schemas::NODE_SERVICE)?;
        let Some(mut found) = reply else { return Ok(None) };
        if let Some(filter) = filter {
            found.services.retain(|_, service| filter.matches(service));
        }
        Ok(Some(found))
    }
}

/// A node with its instances as a list (`catalog/node-services`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct CatalogNodeServices {
    /// The node's name, or the beginning of its id.
    pub node: String,
    /// Whether instances are shown with what is configured centrally for their service;
    /// nothing is yet.
    pub merge_central_config: bool,
    /// `filter=`, applied to the instances.
    pub filter: RowFilter,
}

/// The answer to [`CatalogNodeServices`]; both parts are `null` for an unknown node.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeServiceList {
    /// The node.
    pub node: Option<Arc<Node>>,
    /// Its instances.
    pub services: Option<Vec<Arc<NodeService>>>,
}

impl Query for CatalogNodeServices {
    const NAME: &'static str = "Catalog.NodeServiceList";
    type Reply = NodeServiceList;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let (index, found) = find_on_node(reader, &self.node);
        let reply = match found {
            Some((node, services)) => {
                NodeServiceList { node: Some(node), services: Some(services) }
            }
            None => NodeServiceList::default(),
        };
        Found::new(index, reply)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let NodeServiceList { node: Some(node), services: Some(services) } = reply else {
            return Pruned::nothing(reply);
        };
        if !access::can_see_node(who, node.node.as_str()) {
            return Pruned { reply: NodeServiceList::default(), removed: true };
        }
        let kept = Pruned::keep(services, |s| access::can_see_service(who, s.service.as_str()));
        let reply = NodeServiceList { node: Some(node), services: Some(kept.reply) };
        Pruned { reply, removed: kept.removed }
    }

    fn refine(&self, mut reply: Self::Reply) -> Result<Self::Reply, CallError> {
        let mut none = Vec::new();
        let services = reply.services.as_mut().unwrap_or(&mut none);
        self.filter.keep(&schemas::NODE_SERVICE, services, |service| service)?;
        Ok(reply)
    }
}

type OnNode = (Arc<Node>, Vec<Arc<NodeService>>);

/// A node with what is on it. A name that does not exist may be the beginning of
/// exactly one node id (at least two characters of it).
fn find_on_node(reader: &mut Reader<'_>, name: &str) -> (Index, Option<OnNode>) {
    let mut index = index::node_index(reader, name);
    let state = reader.unwatched();
    let named = state.get(&NODES, node_key(name).as_bytes());
    let node = match named {
        Some(node) => Some(node),
        None => {
            let node = by_id_prefix(state, name);
            if let Some(node) = &node {
                index = index::node_index(reader, node.node.as_str());
            }
            node
        }
    };
    let Some(node) = node else { return (index, None) };
    let key = node_key(node.node.as_str());
    let services =
        state.prefix(&SERVICES, key.as_bytes()).map(|row| Arc::clone(&row.service)).collect();
    (index, Some((node, services)))
}

fn by_id_prefix(state: &State, prefix: &str) -> Option<Arc<Node>> {
    const SHORTEST: usize = 2;
    let looks_like_id = prefix.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-');
    if prefix.len() < SHORTEST || !looks_like_id {
        return None;
    }
    let key = KeyBuilder::new().raw(prefix.to_lowercase().as_bytes());
    let mut found = state.secondary(&NODES, NODES_BY_ID, key.as_bytes());
    let first = found.next()?;
    found.next().is_none().then_some(first)
}

/// What a reverse DNS look-up finds for an address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PtrLookup {
    /// The address.
    pub address: IpAddr,
}

/// Who has an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PtrTarget {
    /// A node of this name.
    Node(NodeName),
    /// An instance of the service of this name.
    Service(types::ServiceName),
}

impl Query for PtrLookup {
    const NAME: &'static str = "Catalog.ReverseLookup";
    type Reply = Option<PtrTarget>;

    fn authorize(&self, _who: &Authorizer) -> Result<(), PermissionDenied> {
        Ok(())
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&["nodes", "services"]);
        let state = reader.unwatched();
        let is_it = |text: &str| text.parse() == Ok(self.address);
        let node = state
            .peek_prefix(&NODES, &[])
            .find(|node| is_it(&node.address))
            .map(|node| PtrTarget::Node(node.node.clone()));
        let found = node.or_else(|| {
            state
                .peek_prefix(&SERVICES, &[])
                .find(|row| is_it(&row.service.address))
                .map(|row| PtrTarget::Service(row.service.service.clone()))
        });
        Found::new(index, found)
    }

    fn prune(&self, who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        let visible = match &reply {
            Some(PtrTarget::Node(node)) => access::can_see_node(who, node.as_str()),
            Some(PtrTarget::Service(service)) => access::can_see_service(who, service.as_str()),
            None => true,
        };
        if visible { Pruned::nothing(reply) } else { Pruned { reply: None, removed: true } }
    }
}

/// The services that a gateway serves.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct GatewayServices {
    /// The gateway.
    pub gateway: String,
}

impl Query for GatewayServices {
    const NAME: &'static str = "Catalog.GatewayServices";
    type Reply = Vec<GatewayService>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(acl::Permission::read(acl::Resource::Service, &self.gateway))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        Found::new(reader.max_index_of(&["gateway-services"]), Vec::new())
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}

/// The virtual address of a service of the mesh.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct VirtualIp {
    /// The service.
    pub service: String,
}

impl Query for VirtualIp {
    const NAME: &'static str = "Catalog.VirtualIPForService";
    type Reply = Option<Ipv4Addr>;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(acl::Permission::read(acl::Resource::Service, &self.service))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Self::Reply> {
        let index = reader.max_index_of(&[SERVICE_VIRTUAL_IPS.name]);
        Found::new(index, virtual_ip(reader.unwatched(), &self.service))
    }

    fn prune(&self, _who: &Authorizer, reply: Self::Reply) -> Pruned<Self::Reply> {
        Pruned::nothing(reply)
    }
}
