//! The fields of objects that stand in lists: services, checks, watches, ….
//!
//! Each field knows its file spelling (snake_case), the further spellings that
//! files may use, and its name in JSON, so that a definition from a file becomes
//! the same Rust struct as one from the API (`reference/config.md` section 7).

use super::Kind;

/// One field of a definition.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Name in files, lower-case.
    pub key: &'static str,
    /// Further spellings in files, lower-case.
    pub aliases: &'static [&'static str],
    /// Name in JSON.
    pub json: &'static str,
    /// Type.
    pub kind: Kind,
}

const fn field(key: &'static str, json: &'static str, kind: Kind) -> Field {
    Field { key, aliases: &[], json, kind }
}

const fn also(
    key: &'static str,
    aliases: &'static [&'static str],
    json: &'static str,
    kind: Kind,
) -> Field {
    Field { key, aliases, json, kind }
}

/// The field that a key, lower-cased, means.
pub fn find(fields: &'static [Field], key: &str) -> Option<&'static Field> {
    fields.iter().find(|field| field.key == key || field.aliases.contains(&key))
}

/// `service`, `services[]`, and with the same fields `sidecar_service`.
pub const SERVICE: &[Field] = &[
    field("kind", "Kind", Kind::Str),
    field("id", "ID", Kind::Str),
    field("name", "Name", Kind::Str),
    field("tags", "Tags", Kind::List),
    field("address", "Address", Kind::Str),
    field("tagged_addresses", "TaggedAddresses", Kind::ObjectMap(SERVICE_ADDRESS)),
    field("meta", "Meta", Kind::Map),
    field("port", "Port", Kind::Int),
    field("socket_path", "SocketPath", Kind::Str),
    field("check", "Check", Kind::Object(CHECK)),
    field("checks", "Checks", Kind::Objects(CHECK)),
    field("token", "Token", Kind::Str),
    field("weights", "Weights", Kind::Object(WEIGHTS)),
    also("enable_tag_override", &["enabletagoverride"], "EnableTagOverride", Kind::Bool),
    field("proxy", "Proxy", Kind::Object(PROXY)),
    field("connect", "Connect", Kind::Object(CONNECT)),
    field("locality", "Locality", Kind::Object(LOCALITY)),
    field("namespace", "", Kind::Str),
    field("partition", "", Kind::Str),
];

const SERVICE_ADDRESS: &[Field] =
    &[field("address", "Address", Kind::Str), field("port", "Port", Kind::Int)];

const WEIGHTS: &[Field] =
    &[field("passing", "Passing", Kind::Int), field("warning", "Warning", Kind::Int)];

const LOCALITY: &[Field] =
    &[field("region", "Region", Kind::Str), field("zone", "Zone", Kind::Str)];

const CONNECT: &[Field] = &[
    field("native", "Native", Kind::Bool),
    field("sidecar_service", "SidecarService", Kind::Service),
];

/// `check`, `checks[]` (`reference/checks.md` section 1).
pub const CHECK: &[Field] = &[
    also("id", &["check_id", "checkid"], "CheckID", Kind::Str),
    field("name", "Name", Kind::Str),
    field("notes", "Notes", Kind::Str),
    field("status", "Status", Kind::Str),
    also("service_id", &["serviceid"], "ServiceID", Kind::Str),
    field("token", "Token", Kind::Str),
    // Refused by Consul since 1.1; read here as `/bin/sh -c`, see `deprecated`.
    field("script", "Script", Kind::Str),
    also("args", &["scriptargs", "script_args"], "ScriptArgs", Kind::List),
    field("http", "HTTP", Kind::Str),
    field("header", "Header", Kind::ListMap),
    field("method", "Method", Kind::Str),
    field("body", "Body", Kind::Str),
    field("disable_redirects", "DisableRedirects", Kind::Bool),
    field("output_max_size", "OutputMaxSize", Kind::Int),
    field("tcp", "TCP", Kind::Str),
    field("tcp_use_tls", "TCPUseTLS", Kind::Bool),
    field("udp", "UDP", Kind::Str),
    field("interval", "Interval", Kind::Duration),
    also("docker_container_id", &["dockercontainerid"], "DockerContainerID", Kind::Str),
    field("shell", "Shell", Kind::Str),
    field("grpc", "GRPC", Kind::Str),
    field("grpc_use_tls", "GRPCUseTLS", Kind::Bool),
    field("h2ping", "H2PING", Kind::Str),
    field("h2ping_use_tls", "H2PingUseTLS", Kind::Bool),
    field("os_service", "OSService", Kind::Str),
    field("alias_node", "AliasNode", Kind::Str),
    field("alias_service", "AliasService", Kind::Str),
    field("tls_server_name", "TLSServerName", Kind::Str),
    also("tls_skip_verify", &["tlsskipverify"], "TLSSkipVerify", Kind::Bool),
    field("timeout", "Timeout", Kind::Duration),
    field("ttl", "TTL", Kind::Duration),
    field("success_before_passing", "SuccessBeforePassing", Kind::Int),
    field("failures_before_warning", "FailuresBeforeWarning", Kind::Int),
    field("failures_before_critical", "FailuresBeforeCritical", Kind::Int),
    also(
        "deregister_critical_service_after",
        &["deregistercriticalserviceafter"],
        "DeregisterCriticalServiceAfter",
        Kind::Duration,
    ),
    field("namespace", "", Kind::Str),
    field("partition", "", Kind::Str),
];

const PROXY: &[Field] = &[
    field("destination_service_name", "DestinationServiceName", Kind::Str),
    field("destination_service_id", "DestinationServiceID", Kind::Str),
    field("local_service_address", "LocalServiceAddress", Kind::Str),
    field("local_service_port", "LocalServicePort", Kind::Int),
    field("local_service_socket_path", "LocalServiceSocketPath", Kind::Str),
    field("mode", "Mode", Kind::Str),
    field("config", "Config", Kind::Free),
    field("upstreams", "Upstreams", Kind::Objects(UPSTREAM)),
    field("mesh_gateway", "MeshGateway", Kind::Object(MESH_GATEWAY)),
    field("expose", "Expose", Kind::Object(EXPOSE)),
    field("transparent_proxy", "TransparentProxy", Kind::Object(TRANSPARENT_PROXY)),
    field("envoy_extensions", "EnvoyExtensions", Kind::Objects(ENVOY_EXTENSION)),
    field("access_logs", "AccessLogs", Kind::Object(ACCESS_LOGS)),
];

const ENVOY_EXTENSION: &[Field] = &[
    field("name", "Name", Kind::Str),
    field("required", "Required", Kind::Bool),
    field("arguments", "Arguments", Kind::Free),
    field("consul_version", "ConsulVersion", Kind::Str),
    field("envoy_version", "EnvoyVersion", Kind::Str),
];

const ACCESS_LOGS: &[Field] = &[
    field("enabled", "Enabled", Kind::Bool),
    field("disable_listener_logs", "DisableListenerLogs", Kind::Bool),
    field("type", "Type", Kind::Str),
    field("path", "Path", Kind::Str),
    field("json_format", "JSONFormat", Kind::Str),
    field("text_format", "TextFormat", Kind::Str),
];

const UPSTREAM: &[Field] = &[
    field("destination_type", "DestinationType", Kind::Str),
    field("destination_name", "DestinationName", Kind::Str),
    field("destination_namespace", "DestinationNamespace", Kind::Str),
    field("destination_partition", "DestinationPartition", Kind::Str),
    field("destination_peer", "DestinationPeer", Kind::Str),
    field("datacenter", "Datacenter", Kind::Str),
    field("local_bind_address", "LocalBindAddress", Kind::Str),
    field("local_bind_port", "LocalBindPort", Kind::Int),
    field("local_bind_socket_path", "LocalBindSocketPath", Kind::Str),
    field("local_bind_socket_mode", "LocalBindSocketMode", Kind::Str),
    field("config", "Config", Kind::Free),
    field("mesh_gateway", "MeshGateway", Kind::Object(MESH_GATEWAY)),
];

const MESH_GATEWAY: &[Field] = &[field("mode", "Mode", Kind::Str)];

const EXPOSE: &[Field] =
    &[field("checks", "Checks", Kind::Bool), field("paths", "Paths", Kind::Objects(EXPOSE_PATH))];

const EXPOSE_PATH: &[Field] = &[
    field("path", "Path", Kind::Str),
    field("local_path_port", "LocalPathPort", Kind::Int),
    field("listener_port", "ListenerPort", Kind::Int),
    field("protocol", "Protocol", Kind::Str),
];

const TRANSPARENT_PROXY: &[Field] = &[
    field("outbound_listener_port", "OutboundListenerPort", Kind::Int),
    field("dialed_directly", "DialedDirectly", Kind::Bool),
];

/// `watches[]`; the JSON names are the file names (`reference/config.md` 7.3).
pub const WATCH: &[Field] = &[
    field("type", "type", Kind::Str),
    field("key", "key", Kind::Str),
    field("prefix", "prefix", Kind::Str),
    field("service", "service", Kind::Str),
    field("tag", "tag", Kind::StrOrList),
    field("passingonly", "passingonly", Kind::Bool),
    field("state", "state", Kind::Str),
    field("name", "name", Kind::Str),
    field("filter", "filter", Kind::Str),
    field("service_id", "service_id", Kind::Str),
    field("stale", "stale", Kind::Bool),
    field("datacenter", "datacenter", Kind::Str),
    field("token", "token", Kind::Str),
    field("args", "args", Kind::List),
    field("handler", "handler", Kind::Str),
    field("handler_type", "handler_type", Kind::Str),
    field("http_handler_config", "http_handler_config", Kind::Object(HTTP_HANDLER)),
];

const HTTP_HANDLER: &[Field] = &[
    field("path", "path", Kind::Str),
    field("method", "method", Kind::Str),
    field("header", "header", Kind::ListMap),
    field("timeout", "timeout", Kind::Str),
    field("tls_skip_verify", "tls_skip_verify", Kind::Bool),
];

/// `ui_config.metrics_proxy.add_headers[]`.
pub const HEADER: &[Field] =
    &[field("name", "name", Kind::Str), field("value", "value", Kind::Str)];

/// `acl.tokens.managed_service_provider[]` (Enterprise).
pub const SERVICE_PROVIDER_TOKEN: &[Field] =
    &[field("accessor_id", "accessor_id", Kind::Str), field("secret_id", "secret_id", Kind::Str)];

/// `segments[]` (Enterprise).
pub const SEGMENT: &[Field] = &[
    field("name", "name", Kind::Str),
    field("bind", "bind", Kind::Str),
    field("port", "port", Kind::Int),
    field("rpc_listener", "rpc_listener", Kind::Bool),
    field("advertise", "advertise", Kind::Str),
];
