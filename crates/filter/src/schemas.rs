//! The selectors of the catalog's types (`reference/http-api.md` section 1.11,
//! "Selectors by endpoint").

use std::sync::Arc;

use types::catalog::{
    CheckServiceNode, Node, NodeService, ServiceAddress, ServiceConnect, ServiceNode, Weights,
};
use types::check::HealthCheck;
use types::proxy::{ConnectProxy, Expose, ExposePath, MeshGateway, TransparentProxy, Upstream};

use crate::schema::{Field, ListOf, MapOf, Schema, StructOf};

/// A node: `catalog/nodes`, and `Node` of a health entry.
pub static NODE: Schema<Node> = Schema {
    fields: &[
        Field::text("ID", |node| node.id.as_str()),
        Field::text("Node", |node| node.node.as_str()),
        Field::text("Address", |node| &node.address),
        Field::text("Datacenter", |node| node.datacenter.as_str()),
        // Partitions are Enterprise's: always empty.
        Field::text("Partition", |_| ""),
        Field::text("PeerName", |node| &node.peer_name),
        Field::text_map("TaggedAddresses", |node| node.tagged_addresses.as_ref()),
        Field::text_map("Meta", |node| node.meta.as_ref()),
    ],
};

/// A check: `health/node`, `health/checks`, `health/state`, `agent/checks` (there
/// with [`crate::LazyFilter`]), and `Checks` of a health entry.
pub static HEALTH_CHECK: Schema<HealthCheck> = Schema {
    fields: &[
        Field::text("CheckID", |check| check.check_id.as_str()),
        Field::text("Name", |check| &check.name),
        Field::text("Node", |check| check.node.as_str()),
        Field::text("Notes", |check| &check.notes),
        Field::text("Output", |check| &check.output),
        Field::text("ServiceID", |check| check.service_id.as_str()),
        Field::text("ServiceName", |check| check.service_name.as_str()),
        Field::text("Status", |check| check.status.as_str()),
        Field::text("Type", |check| &check.kind),
        Field::text("Interval", |check| &check.interval),
        Field::text("Timeout", |check| &check.timeout),
        Field::text("PeerName", |check| &check.peer_name),
        Field::signed("ExposedPort", |check| check.exposed_port),
        Field::text_list("ServiceTags", |check| &check.service_tags),
    ],
};

/// A service instance: `catalog/node`, `catalog/node-services`, `agent/services`,
/// and `Service` of a health entry.
pub static NODE_SERVICE: Schema<NodeService> = Schema {
    fields: &[
        Field::text("Kind", |service| &service.kind),
        Field::text("ID", |service| service.id.as_str()),
        Field::text("Service", |service| service.service.as_str()),
        Field::text_list("Tags", |service| &service.tags),
        Field::text("Address", |service| &service.address),
        Field::nested(
            "TaggedAddresses",
            &MapOf {
                get: |service: &NodeService| service.tagged_addresses.as_ref(),
                schema: &SERVICE_ADDRESS,
            },
        ),
        Field::text_map("Meta", |service| service.meta.as_ref()),
        Field::signed("Port", |service| service.port),
        Field::text("SocketPath", |service| &service.socket_path),
        Field::nested(
            "Weights",
            &StructOf {
                get: |service: &NodeService| service.weights.as_ref().unwrap_or(&DEFAULT_WEIGHTS),
                schema: &WEIGHTS,
            },
        ),
        Field::flag("EnableTagOverride", |service| service.enable_tag_override),
        Field::nested(
            "Proxy",
            &StructOf { get: |service: &NodeService| &*service.proxy, schema: &CONNECT_PROXY },
        ),
        Field::nested(
            "Connect",
            &StructOf { get: |service: &NodeService| &service.connect, schema: &SERVICE_CONNECT },
        ),
        Field::text("PeerName", |service| &service.peer_name),
    ],
};

/// An instance joined with its node: `catalog/service`, `catalog/connect`,
/// `catalog/services`.
pub static SERVICE_NODE: Schema<ServiceNode> = Schema {
    fields: &[
        Field::text("ID", |row| row.id.as_str()),
        Field::text("Node", |row| row.node.as_str()),
        Field::text("Address", |row| &row.address),
        Field::text("Datacenter", |row| row.datacenter.as_str()),
        Field::text_map("TaggedAddresses", |row| row.tagged_addresses.as_ref()),
        Field::text_map("NodeMeta", |row| row.node_meta.as_ref()),
        Field::text("ServiceKind", |row| &row.service_kind),
        Field::text("ServiceID", |row| row.service_id.as_str()),
        Field::text("ServiceName", |row| row.service_name.as_str()),
        Field::text_list("ServiceTags", |row| &row.service_tags),
        Field::text("ServiceAddress", |row| &row.service_address),
        Field::nested(
            "ServiceTaggedAddresses",
            &MapOf {
                get: |row: &ServiceNode| row.service_tagged_addresses.as_ref(),
                schema: &SERVICE_ADDRESS,
            },
        ),
        Field::nested(
            "ServiceWeights",
            &StructOf { get: |row: &ServiceNode| &row.service_weights, schema: &WEIGHTS },
        ),
        Field::text_map("ServiceMeta", |row| row.service_meta.as_ref()),
        Field::signed("ServicePort", |row| row.service_port),
        Field::text("ServiceSocketPath", |row| &row.service_socket_path),
        Field::flag("ServiceEnableTagOverride", |row| row.service_enable_tag_override),
        Field::nested(
            "ServiceProxy",
            &StructOf { get: |row: &ServiceNode| &*row.service_proxy, schema: &CONNECT_PROXY },
        ),
        Field::nested(
            "ServiceConnect",
            &StructOf { get: |row: &ServiceNode| &row.service_connect, schema: &SERVICE_CONNECT },
        ),
        Field::text("PeerName", |row| &row.peer_name),
    ],
};

/// An instance with its node and its checks: `health/service`, `health/connect`,
/// `health/ingress`.
pub static CHECK_SERVICE_NODE: Schema<CheckServiceNode> = Schema {
    fields: &[
        Field::nested(
            "Node",
            &StructOf { get: |entry: &CheckServiceNode| &*entry.node, schema: &NODE },
        ),
        Field::nested(
            "Service",
            &StructOf { get: |entry: &CheckServiceNode| &*entry.service, schema: &NODE_SERVICE },
        ),
        Field::nested(
            "Checks",
            &ListOf {
                get: |entry: &CheckServiceNode| entry.checks.as_slice(),
                element: |check: &Arc<HealthCheck>| &**check,
                schema: &HEALTH_CHECK,
            },
        ),
    ],
};

/// What an instance counts that was stored without weights.
static DEFAULT_WEIGHTS: Weights = Weights { passing: 1, warning: 1 };

static WEIGHTS: Schema<Weights> = Schema {
    fields: &[
        Field::signed("Passing", |weights| weights.passing),
        Field::signed("Warning", |weights| weights.warning),
    ],
};

static SERVICE_ADDRESS: Schema<ServiceAddress> = Schema {
    fields: &[
        Field::text("Address", |address| &address.address),
        Field::signed("Port", |address| address.port),
    ],
};

static SERVICE_CONNECT: Schema<ServiceConnect> =
    Schema { fields: &[Field::flag("Native", |connect| connect.native)] };

/// `Config` is free-form and has no selectors.
static CONNECT_PROXY: Schema<ConnectProxy> = Schema {
    fields: &[
        Field::text("Mode", |proxy| &proxy.mode),
        Field::text("DestinationServiceID", |proxy| proxy.destination_service_id.as_str()),
        Field::text("DestinationServiceName", |proxy| proxy.destination_service_name.as_str()),
        Field::text("LocalServiceAddress", |proxy| &proxy.local_service_address),
        Field::signed("LocalServicePort", |proxy| proxy.local_service_port),
        Field::text("LocalServiceSocketPath", |proxy| &proxy.local_service_socket_path),
        Field::nested(
            "TransparentProxy",
            &StructOf {
                get: |proxy: &ConnectProxy| &proxy.transparent_proxy,
                schema: &TRANSPARENT_PROXY,
            },
        ),
        Field::nested(
            "MeshGateway",
            &StructOf { get: |proxy: &ConnectProxy| &proxy.mesh_gateway, schema: &MESH_GATEWAY },
        ),
        Field::nested(
            "Expose",
            &StructOf { get: |proxy: &ConnectProxy| &proxy.expose, schema: &EXPOSE },
        ),
        Field::nested(
            "Upstreams",
            &ListOf {
                get: |proxy: &ConnectProxy| proxy.upstreams.as_slice(),
                element: |upstream: &Upstream| upstream,
                schema: &UPSTREAM,
            },
        ),
    ],
};

static TRANSPARENT_PROXY: Schema<TransparentProxy> = Schema {
    fields: &[
        Field::signed("OutboundListenerPort", |proxy| proxy.outbound_listener_port),
        Field::flag("DialedDirectly", |proxy| proxy.dialed_directly),
    ],
};

static MESH_GATEWAY: Schema<MeshGateway> =
    Schema { fields: &[Field::text("Mode", |gateway| &gateway.mode)] };

static EXPOSE: Schema<Expose> = Schema {
    fields: &[
        Field::flag("Checks", |expose| expose.checks),
        Field::nested(
            "Paths",
            &ListOf {
                get: |expose: &Expose| expose.paths.as_slice(),
                element: |path: &ExposePath| path,
                schema: &EXPOSE_PATH,
            },
        ),
    ],
};

static EXPOSE_PATH: Schema<ExposePath> = Schema {
    fields: &[
        Field::signed("ListenerPort", |path| path.listener_port),
        Field::text("Path", |path| &path.path),
        Field::signed("LocalPathPort", |path| path.local_path_port),
        Field::text("Protocol", |path| &path.protocol),
        Field::flag("ParsedFromCheck", |path| path.parsed_from_check),
    ],
};

static UPSTREAM: Schema<Upstream> = Schema {
    fields: &[
        Field::text("DestinationType", |upstream| &upstream.destination_type),
        Field::text("DestinationNamespace", |upstream| &upstream.destination_namespace),
        Field::text("DestinationPartition", |upstream| &upstream.destination_partition),
        Field::text("DestinationPeer", |upstream| &upstream.destination_peer),
        Field::text("DestinationName", |upstream| &upstream.destination_name),
        Field::text("Datacenter", |upstream| &upstream.datacenter),
        Field::text("LocalBindAddress", |upstream| &upstream.local_bind_address),
        Field::signed("LocalBindPort", |upstream| upstream.local_bind_port),
        Field::text("LocalBindSocketPath", |upstream| &upstream.local_bind_socket_path),
        Field::text("LocalBindSocketMode", |upstream| &upstream.local_bind_socket_mode),
        Field::nested(
            "MeshGateway",
            &StructOf { get: |upstream: &Upstream| &upstream.mesh_gateway, schema: &MESH_GATEWAY },
        ),
        Field::flag("CentrallyConfigured", |upstream| upstream.centrally_configured),
    ],
};
