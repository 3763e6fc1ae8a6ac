//! Nodes, service instances and the views that join them.
//!
//! Shapes: `reference/http-api.md` 1.15; msgpack names: `reference/rpc-wire.md`
//! section 16.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::check::HealthCheck;
use crate::null::nil_to_machines;
use crate::proxy::{ConnectProxy, is_default, is_zero};
use crate::{CheckId, Datacenter, Index, NodeId, NodeName, SecretId, ServiceId, ServiceName};

/// Metadata: text to text. `None` is Consul's `null`, which differs from `{}`.
pub type Meta = Option<BTreeMap<String, String>>;

/// A machine that runs an agent, or one that was registered by hand.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Node {
    /// UUID of the agent, empty for hand-made nodes.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// The name.
    #[serde(rename = "Node")]
    pub node: NodeName,
    /// IP address or host name.
    pub address: String,
    /// The datacenter.
    pub datacenter: Datacenter,
    /// The cluster peer it was imported from.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,
    /// Addresses by kind: `lan`, `wan`, `lan_ipv4`, ….
    pub tagged_addresses: Meta,
    /// Metadata.
    pub meta: Meta,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// The index that created the node.
    pub create_index: Index,
    /// The index of the last write that changed the node.
    pub modify_index: Index,
}

/// Region and zone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Locality {
    /// Region.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub region: String,
    /// Zone in the region.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub zone: String,
}

/// One of the named addresses of a service instance.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceAddress {
    /// IP address or host name.
    pub address: String,
    /// Port.
    pub port: i64,
}

/// DNS weights of an instance, by its health.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Weights {
    /// Weight while passing.
    pub passing: i64,
    /// Weight while warning.
    pub warning: i64,
}

impl Default for Weights {
    fn default() -> Self {
        Self { passing: 1, warning: 1 }
    }
}

/// One service instance on a node, as the catalog stores it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NodeService {
    /// `""`, `connect-proxy`, `mesh-gateway`, ….
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// The id, unique on the node.
    #[serde(rename = "ID")]
    pub id: ServiceId,
    /// The service.
    pub service: ServiceName,
    /// Tags.
    #[serde(serialize_with = "nil_to_machines")]
    pub tags: Vec<String>,
    /// IP address or host name; empty for the node's.
    pub address: String,
    /// Named addresses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tagged_addresses: Option<BTreeMap<String, ServiceAddress>>,
    /// Metadata.
    pub meta: Meta,
    /// Port.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: i64,
    /// A unix socket instead of address and port.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub socket_path: String,
    /// DNS weights. `None` is Consul's "not given" on input; stored rows have it.
    pub weights: Option<Weights>,
    /// Whether tags set in the catalog survive the agent's sync.
    pub enable_tag_override: bool,
    /// Where it stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// Mesh proxy settings.
    pub proxy: Box<ConnectProxy>,
    /// Mesh settings.
    pub connect: ServiceConnect,
    /// The cluster peer it was imported from.
    pub peer_name: String,
    /// The index that created the instance.
    pub create_index: Index,
    /// The index of the last write that changed the instance.
    pub modify_index: Index,
}

impl NodeService {
    /// Whether it has this tag, compared without regard to case.
    pub fn has_tag(&self, wanted: &str) -> bool {
        let lower = |letter: char| letter.to_lowercase();
        self.tags.iter().any(|tag| {
            tag == wanted || tag.chars().flat_map(lower).eq(wanted.chars().flat_map(lower))
        })
    }
}

/// `Connect` of a service.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceConnect {
    /// Whether the application speaks the mesh protocol itself.
    #[serde(skip_serializing_if = "is_default")]
    pub native: bool,
    /// How peers reach an imported service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peer_meta: Option<PeerMeta>,
}

/// How peers reach an imported service.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PeerMeta {
    /// Server names.
    #[serde(rename = "SNI", skip_serializing_if = "Vec::is_empty")]
    pub sni: Vec<String>,
    /// Identities.
    #[serde(rename = "SpiffeID", skip_serializing_if = "Vec::is_empty")]
    pub spiffe_id: Vec<String>,
    /// Protocol.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
}

/// A name in a struct of its own, as some of Consul's structs nest it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct NestedName {
    /// The name.
    pub name: ServiceName,
}

/// A service behind a gateway (`catalog/gateway-services`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct GatewayService {
    /// The gateway.
    pub gateway: NestedName,
    /// The service.
    pub service: NestedName,
    /// The kind of the gateway.
    pub gateway_kind: String,
    /// The port of the gateway.
    #[serde(skip_serializing_if = "is_zero")]
    pub port: i64,
    /// The protocol of the listener.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// The hosts that the listener answers to.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The CA by which the service is verified.
    #[serde(rename = "CAFile", skip_serializing_if = "String::is_empty")]
    pub ca_file: String,
    /// The certificate shown to the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub cert_file: String,
    /// The key of that certificate: a path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub key_file: String,
    /// The name that the service is asked for by.
    #[serde(rename = "SNI", skip_serializing_if = "String::is_empty")]
    pub sni: String,
    /// Whether a wildcard stands for it.
    #[serde(skip_serializing_if = "is_default")]
    pub from_wildcard: bool,
    /// The kind of the service.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub service_kind: String,
    /// The index that created the link.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
    /// Whether the host is rewritten to the name of the service.
    #[serde(skip_serializing_if = "is_default")]
    pub auto_host_rewrite: bool,
}

/// A service instance joined with its node, flattened (`catalog/service`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[allow(missing_docs, reason = "each field is the field of Node or NodeService of that name")]
pub struct ServiceNode {
    #[serde(rename = "ID")]
    pub id: NodeId,
    pub node: NodeName,
    pub address: String,
    pub datacenter: Datacenter,
    pub tagged_addresses: Meta,
    pub node_meta: Meta,
    pub service_kind: String,
    #[serde(rename = "ServiceID")]
    pub service_id: ServiceId,
    pub service_name: ServiceName,
    #[serde(serialize_with = "nil_to_machines")]
    pub service_tags: Vec<String>,
    pub service_address: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tagged_addresses: Option<BTreeMap<String, ServiceAddress>>,
    pub service_weights: Weights,
    pub service_meta: Meta,
    pub service_port: i64,
    pub service_socket_path: String,
    pub service_enable_tag_override: bool,
    pub service_proxy: Box<ConnectProxy>,
    pub service_connect: ServiceConnect,
    pub service_locality: Option<Locality>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,
    pub create_index: Index,
    pub modify_index: Index,
}

impl ServiceNode {
    /// Joins an instance with its node. The indexes are those of the instance.
    pub fn join(node: &Node, service: &NodeService) -> Self {
        Self {
            id: node.id.clone(),
            node: node.node.clone(),
            address: node.address.clone(),
            datacenter: node.datacenter.clone(),
            tagged_addresses: node.tagged_addresses.clone(),
            node_meta: node.meta.clone(),
            service_kind: service.kind.clone(),
            service_id: service.id.clone(),
            service_name: service.service.clone(),
            service_tags: service.tags.clone(),
            service_address: service.address.clone(),
            service_tagged_addresses: service.tagged_addresses.clone(),
            service_weights: service.weights.clone().unwrap_or_default(),
            // This view shows `{}` where the instance itself shows `null`.
            service_meta: Some(service.meta.clone().unwrap_or_default()),
            service_port: service.port,
            service_socket_path: service.socket_path.clone(),
            service_enable_tag_override: service.enable_tag_override,
            service_proxy: service.proxy.clone(),
            service_connect: service.connect.clone(),
            service_locality: service.locality.clone(),
            peer_name: service.peer_name.clone(),
            create_index: service.create_index,
            modify_index: service.modify_index,
        }
    }
}

/// A service instance with its node and all checks that concern it (`health/service`).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct CheckServiceNode {
    /// The node.
    pub node: Arc<Node>,
    /// The instance.
    pub service: Arc<NodeService>,
    /// The checks of the node, then those of the instance.
    pub checks: Vec<Arc<HealthCheck>>,
}

/// Body of `PUT /v1/catalog/register`, Raft command 0 and snapshot record 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RegisterRequest {
    /// The datacenter to register in; empty for the local one.
    pub datacenter: Datacenter,
    /// UUID of the node.
    #[serde(rename = "ID")]
    pub id: NodeId,
    /// Name of the node.
    pub node: NodeName,
    /// Address of the node.
    pub address: String,
    /// Addresses of the node by kind.
    pub tagged_addresses: Meta,
    /// Metadata of the node.
    pub node_meta: Meta,
    /// An instance to register.
    pub service: Option<NodeService>,
    /// A check to register.
    pub check: Option<HealthCheck>,
    /// More checks to register.
    pub checks: Option<Vec<HealthCheck>>,
    /// Where the node stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub locality: Option<Locality>,
    /// Whether an existing node is left as it is.
    pub skip_node_update: bool,
    /// The cluster peer; must be empty in requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,
    /// Accepted and ignored: the token travels beside the request.
    #[serde(skip_serializing)]
    pub token: SecretId,
    /// Index of the node, in snapshots only.
    #[serde(skip_serializing_if = "is_default")]
    pub create_index: Index,
    /// Index of the node, in snapshots only.
    #[serde(skip_serializing_if = "is_default")]
    pub modify_index: Index,
}

/// Body of `PUT /v1/catalog/deregister` and Raft command 1. With a service id
/// the instance goes, else with a check id the check, else the whole node.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct DeregisterRequest {
    /// The datacenter; empty for the local one.
    pub datacenter: Datacenter,
    /// The node.
    pub node: NodeName,
    /// Accepted and ignored.
    #[serde(skip_serializing)]
    pub address: String,
    /// The instance to remove.
    #[serde(rename = "ServiceID")]
    pub service_id: ServiceId,
    /// The check to remove.
    #[serde(rename = "CheckID")]
    pub check_id: CheckId,
    /// The cluster peer; empty in requests.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub peer_name: String,
    /// Accepted and ignored: the token travels beside the request.
    #[serde(skip_serializing)]
    pub token: SecretId,
}
