//! Checks.

use types::check::{HealthCheck, HealthCheckDefinition, Status};
use types::{CheckId, GoDuration, NodeName, ServiceId, ServiceName};

use super::{given, indexes, number, of_indexes, text};
use crate::messages;

const SECOND: i64 = 1_000_000_000;

pub(super) fn to_message(check: &HealthCheck) -> messages::HealthCheck {
    messages::HealthCheck {
        node: text(check.node.as_str()),
        check_id: text(check.check_id.as_str()),
        name: check.name.clone(),
        status: text(check.status.as_str()),
        notes: check.notes.clone(),
        output: check.output.clone(),
        service_id: text(check.service_id.as_str()),
        service_name: text(check.service_name.as_str()),
        service_tags: check.service_tags.clone(),
        definition: Some(definition_to_message(&check.definition)),
        raft_index: indexes(check.create_index, check.modify_index),
        r#type: check.kind.clone(),
        enterprise_meta: Some(messages::EnterpriseMeta::default()),
        exposed_port: number(check.exposed_port),
        interval: check.interval.clone(),
        timeout: check.timeout.clone(),
        peer_name: check.peer_name.clone(),
    }
}

pub(super) fn of_message(message: messages::HealthCheck) -> HealthCheck {
    let (create_index, modify_index) = of_indexes(message.raft_index);
    HealthCheck {
        node: NodeName::from(message.node),
        check_id: CheckId::from(message.check_id),
        name: message.name,
        status: Status::from(message.status.as_str()),
        notes: message.notes,
        output: message.output,
        service_id: ServiceId::from(message.service_id),
        service_name: ServiceName::from(message.service_name),
        service_tags: message.service_tags,
        kind: message.r#type,
        interval: message.interval,
        timeout: message.timeout,
        exposed_port: message.exposed_port.into(),
        peer_name: message.peer_name,
        definition: message.definition.map(definition_of_message).unwrap_or_default(),
        create_index,
        modify_index,
    }
}

fn definition_to_message(definition: &HealthCheckDefinition) -> messages::HealthCheckDefinition {
    let header = definition.header.iter().flatten();
    messages::HealthCheckDefinition {
        http: definition.http.clone(),
        tls_skip_verify: definition.tls_skip_verify,
        header: header
            .map(|(name, value)| (name.clone(), messages::HeaderValue { value: value.clone() }))
            .collect(),
        method: definition.method.clone(),
        tcp: definition.tcp.clone(),
        interval: duration(definition.interval),
        timeout: duration(definition.timeout),
        deregister_critical_service_after: duration(definition.deregister_critical_service_after),
        output_max_size: u32::try_from(definition.output_max_size).unwrap_or(u32::MAX),
        script_args: definition.script_args.clone(),
        docker_container_id: definition.docker_container_id.clone(),
        shell: definition.shell.clone(),
        grpc: definition.grpc.clone(),
        grpc_use_tls: definition.grpc_use_tls,
        alias_node: definition.alias_node.clone(),
        alias_service: definition.alias_service.clone(),
        ttl: duration(definition.ttl),
        body: definition.body.clone(),
        tls_server_name: definition.tls_server_name.clone(),
        h2ping: definition.h2ping.clone(),
        h2_ping_use_tls: definition.h2ping_use_tls,
        disable_redirects: definition.disable_redirects,
        udp: definition.udp.clone(),
        os_service: definition.os_service.clone(),
        tcp_use_tls: definition.tcp_use_tls,
        session_name: definition.session_name.clone(),
    }
}

fn definition_of_message(message: messages::HealthCheckDefinition) -> HealthCheckDefinition {
    let header = message.header.into_iter().map(|(name, header)| (name, header.value));
    HealthCheckDefinition {
        http: message.http,
        tls_server_name: message.tls_server_name,
        tls_skip_verify: message.tls_skip_verify,
        header: given(header.collect()),
        method: message.method,
        body: message.body,
        disable_redirects: message.disable_redirects,
        tcp: message.tcp,
        tcp_use_tls: message.tcp_use_tls,
        udp: message.udp,
        h2ping: message.h2ping,
        h2ping_use_tls: message.h2_ping_use_tls,
        os_service: message.os_service,
        interval: of_duration(message.interval),
        timeout: of_duration(message.timeout),
        deregister_critical_service_after: of_duration(message.deregister_critical_service_after),
        output_max_size: message.output_max_size.into(),
        script_args: message.script_args,
        docker_container_id: message.docker_container_id,
        shell: message.shell,
        grpc: message.grpc,
        grpc_use_tls: message.grpc_use_tls,
        alias_node: message.alias_node,
        alias_service: message.alias_service,
        session_name: message.session_name,
        ttl: of_duration(message.ttl),
    }
}

/// Servers write a span of zero, too.
fn duration(span: GoDuration) -> Option<prost_types::Duration> {
    let nanoseconds = span.as_nanos();
    let (seconds, rest) = (nanoseconds / SECOND, nanoseconds % SECOND);
    // The rest is less than a second, either way.
    Some(prost_types::Duration { seconds, nanos: rest as i32 })
}

fn of_duration(message: Option<prost_types::Duration>) -> GoDuration {
    let message = message.unwrap_or_default();
    let whole = message.seconds.saturating_mul(SECOND);
    GoDuration::from_nanos(whole.saturating_add(message.nanos.into()))
}
