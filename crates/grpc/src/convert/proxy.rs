//! The mesh part of an instance.

use types::proxy::{
    AccessLogs, ConnectProxy, EnvoyExtension, Expose, ExposePath, MeshGateway, TransparentProxy,
    Upstream,
};
use types::{ServiceId, ServiceName};

use super::{number, opaque, text};
use crate::messages;

pub(super) fn to_message(proxy: &ConnectProxy) -> messages::ConnectProxyConfig {
    messages::ConnectProxyConfig {
        destination_service_name: text(proxy.destination_service_name.as_str()),
        destination_service_id: text(proxy.destination_service_id.as_str()),
        local_service_address: proxy.local_service_address.clone(),
        local_service_port: number(proxy.local_service_port),
        config: proxy.config.as_ref().map(opaque::to_message),
        upstreams: proxy.upstreams.iter().map(upstream_to_message).collect(),
        mesh_gateway: Some(gateway_to_message(&proxy.mesh_gateway)),
        expose: Some(expose_to_message(&proxy.expose)),
        mode: proxy.mode.clone(),
        transparent_proxy: Some(messages::TransparentProxyConfig {
            outbound_listener_port: number(proxy.transparent_proxy.outbound_listener_port),
            dialed_directly: proxy.transparent_proxy.dialed_directly,
        }),
        local_service_socket_path: proxy.local_service_socket_path.clone(),
        envoy_extensions: proxy.envoy_extensions.iter().map(extension_to_message).collect(),
        access_logs: Some(messages::AccessLogsConfig {
            enabled: proxy.access_logs.enabled,
            disable_listener_logs: proxy.access_logs.disable_listener_logs,
            r#type: proxy.access_logs.sink.clone(),
            path: proxy.access_logs.path.clone(),
            json_format: proxy.access_logs.json_format.clone(),
            text_format: proxy.access_logs.text_format.clone(),
        }),
    }
}

pub(super) fn of_message(message: messages::ConnectProxyConfig) -> ConnectProxy {
    let transparent = message.transparent_proxy.unwrap_or_default();
    let logs = message.access_logs.unwrap_or_default();
    ConnectProxy {
        envoy_extensions: message
            .envoy_extensions
            .into_iter()
            .map(|extension| EnvoyExtension {
                name: extension.name,
                required: extension.required,
                arguments: extension.arguments.map(opaque::of_message),
                consul_version: extension.consul_version,
                envoy_version: extension.envoy_version,
            })
            .collect(),
        destination_service_name: ServiceName::from(message.destination_service_name),
        destination_service_id: ServiceId::from(message.destination_service_id),
        local_service_address: message.local_service_address,
        local_service_port: message.local_service_port.into(),
        local_service_socket_path: message.local_service_socket_path,
        mode: message.mode,
        config: message.config.map(opaque::of_message),
        upstreams: message.upstreams.into_iter().map(upstream_of_message).collect(),
        mesh_gateway: gateway_of_message(message.mesh_gateway),
        expose: message.expose.map(expose_of_message).unwrap_or_default(),
        transparent_proxy: TransparentProxy {
            outbound_listener_port: transparent.outbound_listener_port.into(),
            dialed_directly: transparent.dialed_directly,
        },
        access_logs: AccessLogs {
            enabled: logs.enabled,
            disable_listener_logs: logs.disable_listener_logs,
            sink: logs.r#type,
            path: logs.path,
            json_format: logs.json_format,
            text_format: logs.text_format,
        },
    }
}

fn upstream_to_message(upstream: &Upstream) -> messages::Upstream {
    messages::Upstream {
        destination_type: upstream.destination_type.clone(),
        destination_namespace: upstream.destination_namespace.clone(),
        destination_name: upstream.destination_name.clone(),
        datacenter: upstream.datacenter.clone(),
        local_bind_address: upstream.local_bind_address.clone(),
        local_bind_port: number(upstream.local_bind_port),
        config: upstream.config.as_ref().map(opaque::to_message),
        mesh_gateway: Some(gateway_to_message(&upstream.mesh_gateway)),
        centrally_configured: upstream.centrally_configured,
        local_bind_socket_path: upstream.local_bind_socket_path.clone(),
        local_bind_socket_mode: upstream.local_bind_socket_mode.clone(),
        destination_partition: upstream.destination_partition.clone(),
        destination_peer: upstream.destination_peer.clone(),
    }
}

fn upstream_of_message(message: messages::Upstream) -> Upstream {
    Upstream {
        destination_type: message.destination_type,
        destination_namespace: message.destination_namespace,
        destination_partition: message.destination_partition,
        destination_peer: message.destination_peer,
        destination_name: message.destination_name,
        datacenter: message.datacenter,
        local_bind_address: message.local_bind_address,
        local_bind_port: message.local_bind_port.into(),
        local_bind_socket_path: message.local_bind_socket_path,
        local_bind_socket_mode: message.local_bind_socket_mode,
        config: message.config.map(opaque::of_message),
        mesh_gateway: gateway_of_message(message.mesh_gateway),
        centrally_configured: message.centrally_configured,
    }
}

fn gateway_to_message(gateway: &MeshGateway) -> messages::MeshGatewayConfig {
    messages::MeshGatewayConfig { mode: gateway.mode.clone() }
}

fn gateway_of_message(message: Option<messages::MeshGatewayConfig>) -> MeshGateway {
    MeshGateway { mode: message.unwrap_or_default().mode }
}

fn expose_to_message(expose: &Expose) -> messages::ExposeConfig {
    let paths = expose.paths.iter().map(|path| messages::ExposePath {
        listener_port: number(path.listener_port),
        path: path.path.clone(),
        local_path_port: number(path.local_path_port),
        protocol: path.protocol.clone(),
        parsed_from_check: path.parsed_from_check,
    });
    messages::ExposeConfig { checks: expose.checks, paths: paths.collect() }
}

fn expose_of_message(message: messages::ExposeConfig) -> Expose {
    let paths = message.paths.into_iter().map(|path| ExposePath {
        listener_port: path.listener_port.into(),
        path: path.path,
        local_path_port: path.local_path_port.into(),
        protocol: path.protocol,
        parsed_from_check: path.parsed_from_check,
    });
    Expose { checks: message.checks, paths: paths.collect() }
}

fn extension_to_message(extension: &EnvoyExtension) -> messages::EnvoyExtension {
    messages::EnvoyExtension {
        name: extension.name.clone(),
        required: extension.required,
        arguments: extension.arguments.as_ref().map(opaque::to_message),
        consul_version: extension.consul_version.clone(),
        envoy_version: extension.envoy_version.clone(),
    }
}
