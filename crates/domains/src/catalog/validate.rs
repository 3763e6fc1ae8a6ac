//! What is refused before it reaches the log, and what is filled in.
//!
//! Texts: `reference/http-api.md` 3.4 and 3.8.

use contract::CallError;
use types::catalog::{NodeService, RegisterRequest};
use types::check::{HealthCheck, Status};
use types::{CheckId, NodeId, ServiceId};

/// Checks a registration and fills in what it leaves out.
pub(super) fn registration(request: &mut RegisterRequest) -> Result<(), CallError> {
    if request.node.is_empty() {
        return Err(CallError::failed("Must provide node"));
    }
    if request.address.is_empty() && !request.skip_node_update {
        return Err(CallError::failed("Must provide address if SkipNodeUpdate is not set"));
    }
    node_id(&request.id)?;
    if !request.peer_name.is_empty() {
        return Err(CallError::failed("cannot register requests with PeerName in them"));
    }
    if let Some(service) = &mut request.service {
        complete_service(service)?;
    }
    let mut checks: Vec<HealthCheck> = request.checks.take().unwrap_or_default();
    checks.extend(request.check.take());
    for check in &mut checks {
        complete_check(request.node.as_str(), check)?;
    }
    if !checks.is_empty() {
        request.checks = Some(checks);
    }
    Ok(())
}

/// A node id is a UUID or empty.
pub(crate) fn node_id(id: &NodeId) -> Result<(), CallError> {
    if id.is_empty() || is_uuid(id.as_str()) {
        return Ok(());
    }
    Err(CallError::failed("Bad node ID: uuid string is wrong length"))
}

fn complete_service(service: &mut NodeService) -> Result<(), CallError> {
    service_on_its_own(service)?;
    default_service_id(service);
    Ok(())
}

/// The id of an instance that gives none.
pub(crate) fn default_service_id(service: &mut NodeService) {
    if service.id.is_empty() {
        service.id = ServiceId::from(service.service.as_str());
    }
}

/// What can be said about an instance without looking at the state.
pub(crate) fn service_on_its_own(service: &NodeService) -> Result<(), CallError> {
    if service.service.is_empty() && !service.id.is_empty() {
        return Err(CallError::failed(
            "Must provide service name (Service.Service) when service ID is provided",
        ));
    }
    if service.service.is_empty() {
        return Err(CallError::failed("Must provide service name (Service.Service)"));
    }
    if is_any_address(&service.address) {
        return Err(CallError::failed("Invalid service address"));
    }
    let mistakes = validate_service(service);
    if !mistakes.is_empty() {
        return Err(CallError::failed(multi_error(&mistakes)));
    }
    Ok(())
}

fn complete_check(node: &str, check: &mut HealthCheck) -> Result<(), CallError> {
    check_defaults(check);
    if check.node.is_empty() {
        check.node = node.into();
    }
    if check.node.as_str().to_lowercase() != node.to_lowercase() {
        return Err(CallError::failed(format!(
            "Node '{}' for check '{}' doesn't match register request node '{}'",
            check.node, check.check_id, node
        )));
    }
    Ok(())
}

/// What a check gets that does not say.
pub(crate) fn check_defaults(check: &mut HealthCheck) {
    if check.check_id.is_empty() {
        check.check_id = CheckId::from(check.name.as_str());
    }
    if check.status == Status::Other("".into()) {
        check.status = Status::Critical;
    }
    if check.kind.is_empty() {
        check.kind = kind_of(&check.definition).to_owned();
    }
}

/// The kind of a check that only the catalog knows, from its definition.
fn kind_of(definition: &types::check::HealthCheckDefinition) -> &'static str {
    match definition {
        d if !d.grpc.is_empty() => "grpc",
        d if !d.http.is_empty() => "http",
        d if !d.ttl.is_zero() => "ttl",
        d if !d.tcp.is_empty() => "tcp",
        d if !d.udp.is_empty() => "udp",
        d if !d.alias_node.is_empty() || !d.alias_service.is_empty() => "alias",
        d if !d.docker_container_id.is_empty() => "docker",
        d if !d.script_args.is_empty() => "script",
        d if !d.h2ping.is_empty() => "h2ping",
        d if !d.os_service.is_empty() => "os_service",
        _ => "",
    }
}

/// Everything that is wrong with the mesh part of a service, in Consul's words.
pub fn validate_service(service: &NodeService) -> Vec<String> {
    let mut mistakes = Vec::new();
    let reachable = service.port != 0 || !service.socket_path.is_empty();
    match service.kind.as_str() {
        "connect-proxy" => validate_proxy(service, reachable, &mut mistakes),
        kind @ ("mesh-gateway" | "terminating-gateway" | "ingress-gateway" | "api-gateway") => {
            validate_gateway(kind, service, &mut mistakes);
        }
        _ => {}
    }
    if service.connect.native && !reachable {
        mistakes.push("Port or SocketPath must be set for a Connect native service.".to_owned());
    }
    for path in &service.proxy.expose.paths {
        if path.path.is_empty() {
            mistakes.push("expose.paths: empty path exposed".to_owned());
        }
        if !(1..=65535).contains(&path.listener_port) {
            mistakes.push(format!("expose.paths: invalid listener port: {}", path.listener_port));
        }
    }
    mistakes
}

fn validate_proxy(service: &NodeService, reachable: bool, mistakes: &mut Vec<String>) {
    let target = service.proxy.destination_service_name.as_str();
    if !reachable {
        mistakes.push("Port or SocketPath must be set for a connect-proxy".to_owned());
    }
    match target {
        "" => mistakes.push(
            "Proxy.DestinationServiceName must be non-empty for Connect proxy services".to_owned(),
        ),
        "*" => mistakes.push(
            "Proxy.DestinationServiceName must not be a wildcard for Connect proxy services"
                .to_owned(),
        ),
        _ => {}
    }
    if service.connect.native {
        mistakes.push("A Proxy cannot also be Connect Native, only typical services".to_owned());
    }
    validate_upstreams(service, mistakes);
}

fn validate_upstreams(service: &NodeService, mistakes: &mut Vec<String>) {
    let mut listeners = std::collections::BTreeSet::new();
    for upstream in &service.proxy.upstreams {
        match upstream.destination_type.as_str() {
            "" | "service" | "prepared_query" => {}
            other => mistakes.push(format!("unknown upstream destination type: {other:?}")),
        }
        match upstream.destination_name.as_str() {
            "" => mistakes.push("upstream destination name cannot be empty".to_owned()),
            "*" => mistakes.push("upstream destination name cannot be a wildcard".to_owned()),
            _ => {}
        }
        if !upstream.destination_peer.is_empty() && !upstream.datacenter.is_empty() {
            mistakes
                .push("upstream cannot specify both destination peer and datacenter".to_owned());
        }
        let (port, socket) = (upstream.local_bind_port, &upstream.local_bind_socket_path);
        if port == 0 && socket.is_empty() && !upstream.centrally_configured {
            mistakes.push(
                "upstream local bind port or local socket path must be defined and nonzero"
                    .to_owned(),
            );
        }
        if port != 0 && !socket.is_empty() {
            mistakes.push(
                "only one of upstream local bind port or local socket path can be defined and nonzero"
                    .to_owned(),
            );
        }
        let address = match upstream.local_bind_address.as_str() {
            "" => "127.0.0.1",
            address => address,
        };
        let listener = if socket.is_empty() { format!("{address}:{port}") } else { socket.clone() };
        if (port != 0 || !socket.is_empty()) && !listeners.insert(listener.clone()) {
            mistakes.push(format!(
                "upstreams cannot contain duplicates by local bind address and port or unix path; \
                 {listener:?} is specified twice"
            ));
        }
    }
}

fn validate_gateway(kind: &str, service: &NodeService, mistakes: &mut Vec<String>) {
    if service.port == 0 && !matches!(kind, "ingress-gateway" | "api-gateway") {
        mistakes.push(format!("Port must be non-zero for a {kind}"));
    }
    let proxy = &service.proxy;
    let forbidden = [
        ("DestinationServiceName", !proxy.destination_service_name.is_empty()),
        ("DestinationServiceID", !proxy.destination_service_id.is_empty()),
        ("LocalServiceAddress", !proxy.local_service_address.is_empty()),
        ("LocalServicePort", proxy.local_service_port != 0),
        ("LocalServiceSocketPath", !proxy.local_service_socket_path.is_empty()),
        ("Upstreams", !proxy.upstreams.is_empty()),
    ];
    for (field, present) in forbidden {
        if present {
            mistakes.push(format!("The Proxy.{field} configuration is invalid for a {kind}"));
        }
    }
}

/// Several mistakes in one text, laid out as clients know it.
pub(super) fn multi_error(mistakes: &[String]) -> String {
    let noun = if mistakes.len() == 1 { "error" } else { "errors" };
    let mut text = format!("{} {noun} occurred:\n", mistakes.len());
    for mistake in mistakes {
        text.push_str(&format!("\t* {mistake}\n"));
    }
    text.push('\n');
    text
}

fn is_any_address(address: &str) -> bool {
    matches!(address, "0.0.0.0" | "::" | "[::]")
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}
