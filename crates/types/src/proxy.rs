//! The mesh part of a service registration: proxies, upstreams, exposed paths.
//!
//! Shapes: `reference/http-api.md` 1.15 (ConnectProxy, Upstream). Fields are
//! kept and shown as registered; the mesh itself gives them their meaning.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{ServiceId, ServiceName};

/// Free-form configuration, kept verbatim.
pub type Opaque = BTreeMap<String, serde_json::Value>;

/// `Proxy` of a service: what it is a proxy for and how it reaches others.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConnectProxy {
    /// Extensions applied to the proxy, in order.
    #[serde(alias = "envoy_extensions", skip_serializing_if = "Vec::is_empty")]
    pub envoy_extensions: Vec<EnvoyExtension>,
    /// The service this is a proxy for.
    #[serde(alias = "destination_service_name", skip_serializing_if = "ServiceName::is_empty")]
    pub destination_service_name: ServiceName,
    /// The instance this is a proxy for.
    #[serde(
        rename = "DestinationServiceID",
        alias = "destination_service_id",
        skip_serializing_if = "ServiceId::is_empty"
    )]
    pub destination_service_id: ServiceId,
    /// Where the local application listens.
    #[serde(alias = "local_service_address", skip_serializing_if = "String::is_empty")]
    pub local_service_address: String,
    /// The port of the local application.
    #[serde(alias = "local_service_port", skip_serializing_if = "is_zero")]
    pub local_service_port: i64,
    /// The socket of the local application, instead of address and port.
    #[serde(alias = "local_service_socket_path", skip_serializing_if = "String::is_empty")]
    pub local_service_socket_path: String,
    /// `""`, `direct` or `transparent`.
    pub mode: String,
    /// Free-form proxy configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Opaque>,
    /// The services that the application reaches through the proxy.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub upstreams: Vec<Upstream>,
    /// How traffic leaves the datacenter.
    #[serde(alias = "mesh_gateway")]
    pub mesh_gateway: MeshGateway,
    /// Paths reachable without the mesh.
    pub expose: Expose,
    /// Settings of transparent mode.
    #[serde(alias = "transparent_proxy", skip_serializing_if = "is_default")]
    pub transparent_proxy: TransparentProxy,
    /// Access logging of the proxy.
    #[serde(alias = "access_logs", skip_serializing_if = "is_default")]
    pub access_logs: AccessLogs,
}

/// One extension of the proxy.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct EnvoyExtension {
    /// Which extension.
    pub name: String,
    /// Whether the proxy is refused when it cannot be applied.
    pub required: bool,
    /// Its settings, verbatim.
    pub arguments: Option<Opaque>,
    /// A version constraint on Consul.
    pub consul_version: String,
    /// A version constraint on Envoy.
    pub envoy_version: String,
}

/// One service that a proxy reaches for its application.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Upstream {
    /// `service` or `prepared_query`.
    #[serde(alias = "destination_type")]
    pub destination_type: String,
    /// Enterprise only; kept empty.
    #[serde(alias = "destination_namespace", skip_serializing_if = "String::is_empty")]
    pub destination_namespace: String,
    /// Enterprise only; kept empty.
    #[serde(alias = "destination_partition", skip_serializing_if = "String::is_empty")]
    pub destination_partition: String,
    /// The cluster peer that exports the service.
    #[serde(alias = "destination_peer", skip_serializing_if = "String::is_empty")]
    pub destination_peer: String,
    /// The service or query.
    #[serde(alias = "destination_name")]
    pub destination_name: String,
    /// The datacenter, empty for the local one.
    pub datacenter: String,
    /// The address the proxy listens on for this upstream; default 127.0.0.1.
    #[serde(alias = "local_bind_address", skip_serializing_if = "String::is_empty")]
    pub local_bind_address: String,
    /// The port the proxy listens on.
    #[serde(alias = "local_bind_port", skip_serializing_if = "is_zero")]
    pub local_bind_port: i64,
    /// A socket instead of address and port.
    #[serde(alias = "local_bind_socket_path", skip_serializing_if = "String::is_empty")]
    pub local_bind_socket_path: String,
    /// Octal mode of that socket.
    #[serde(alias = "local_bind_socket_mode", skip_serializing_if = "String::is_empty")]
    pub local_bind_socket_mode: String,
    /// Free-form configuration.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub config: Option<Opaque>,
    /// How traffic to this upstream leaves the datacenter.
    #[serde(alias = "mesh_gateway")]
    pub mesh_gateway: MeshGateway,
    /// Whether central configuration made this upstream.
    #[serde(skip_serializing_if = "is_default")]
    pub centrally_configured: bool,
}

/// `none`, `local`, `remote`, or empty for the default.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct MeshGateway {
    /// The mode.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub mode: String,
}

/// What a proxy exposes outside the mesh.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Expose {
    /// Whether the paths of HTTP and gRPC checks are exposed.
    #[serde(skip_serializing_if = "is_default")]
    pub checks: bool,
    /// The paths.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<ExposePath>,
}

/// One exposed path.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ExposePath {
    /// The port of the proxy for this path.
    #[serde(alias = "listener_port", skip_serializing_if = "is_zero")]
    pub listener_port: i64,
    /// The path.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// The port of the application for this path.
    #[serde(alias = "local_path_port", skip_serializing_if = "is_zero")]
    pub local_path_port: i64,
    /// `http` or `http2`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub protocol: String,
    /// Whether a check caused it.
    #[serde(alias = "parsed_from_check", skip_serializing_if = "is_default")]
    pub parsed_from_check: bool,
}

/// Settings of transparent mode.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct TransparentProxy {
    /// The port that outbound traffic is sent to.
    #[serde(alias = "outbound_listener_port", skip_serializing_if = "is_zero")]
    pub outbound_listener_port: i64,
    /// Whether instances may be dialled by their own address.
    #[serde(alias = "dialed_directly", skip_serializing_if = "is_default")]
    pub dialed_directly: bool,
}

/// Access logging of a proxy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AccessLogs {
    /// Whether the proxy logs requests.
    #[serde(skip_serializing_if = "is_default")]
    pub enabled: bool,
    /// Whether listener logs are left out.
    #[serde(alias = "disable_listener_logs", skip_serializing_if = "is_default")]
    pub disable_listener_logs: bool,
    /// `stdout`, `stderr` or `file`.
    #[serde(rename = "Type", skip_serializing_if = "String::is_empty")]
    pub sink: String,
    /// The file.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub path: String,
    /// A JSON format.
    #[serde(
        rename = "JSONFormat",
        alias = "json_format",
        skip_serializing_if = "String::is_empty"
    )]
    pub json_format: String,
    /// A text format.
    #[serde(alias = "text_format", skip_serializing_if = "String::is_empty")]
    pub text_format: String,
}

pub(crate) fn is_zero(number: &i64) -> bool {
    *number == 0
}

pub(crate) fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}
