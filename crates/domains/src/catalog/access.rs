//! Who may see and change nodes, instances and checks (`reference/http-api.md` 1.13, 3.8).

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use store::{State, Store};
use types::NodeName;
use types::catalog::{DeregisterRequest, Node, NodeService, RegisterRequest};
use types::check::HealthCheck;

use super::table::{CHECKS, NODES, SERVICES, check_key, instance_key, node_key};

/// Whether an instance on this node may be seen.
pub fn can_see_instance(who: &Authorizer, node: &str, service: &str) -> bool {
    can_see_node(who, node) && can_see_service(who, service)
}

/// Whether a check may be seen.
pub fn can_see_check(who: &Authorizer, check: &HealthCheck) -> bool {
    can_see_node(who, check.node.as_str())
        && (check.service_name.is_empty() || can_see_service(who, check.service_name.as_str()))
}

/// Whether a node may be seen.
pub(crate) fn can_see_node(who: &Authorizer, node: &str) -> bool {
    who.allows(Permission::read(Resource::Node, node))
}

/// Whether a service may be seen.
pub(crate) fn can_see_service(who: &Authorizer, service: &str) -> bool {
    who.allows(Permission::read(Resource::Service, service))
}

/// The node part needs a permission only if it changes something.
pub(super) fn register(
    who: &Authorizer,
    store: &Store,
    request: &RegisterRequest,
) -> Result<(), PermissionDenied> {
    if who.allows_everything() {
        return Ok(());
    }
    let state = &*store.snapshot();
    let node = request.node.as_str();
    if changes_node(state, request) {
        who.require(Permission::write(Resource::Node, node))?;
    }
    if let Some(service) = &request.service {
        require_service(who, service)?;
        let present = state.peek(&SERVICES, instance_key(node, service.id.as_str()).as_bytes());
        if let Some(present) = present {
            require_service(who, &present.service)?;
        }
    }
    for check in request.check.iter().chain(request.checks.iter().flatten()) {
        require_check(who, state, &request.node, check, request.service.as_ref())?;
    }
    Ok(())
}

pub(super) fn deregister(
    who: &Authorizer,
    store: &Store,
    request: &DeregisterRequest,
) -> Result<(), PermissionDenied> {
    let node = request.node.as_str();
    let node_write = Permission::write(Resource::Node, node);
    if who.allows(node_write) {
        return Ok(());
    }
    let state = store.snapshot();
    if !request.service_id.is_empty() {
        let key = instance_key(node, request.service_id.as_str());
        if let Some(row) = state.peek(&SERVICES, key.as_bytes()) {
            return require_service(who, &row.service);
        }
    } else if !request.check_id.is_empty() {
        let key = check_key(node, request.check_id.as_str());
        if let Some(check) = state.peek(&CHECKS, key.as_bytes())
            && !check.service_name.is_empty()
        {
            return who.require(Permission::write(Resource::Service, check.service_name.as_str()));
        }
    }
    who.require(node_write)
}

fn changes_node(state: &State, request: &RegisterRequest) -> bool {
    if request.skip_node_update {
        return false;
    }
    let Some(present) = state.peek(&NODES, node_key(request.node.as_str()).as_bytes()) else {
        return true;
    };
    let wanted = super::table::node_of(request);
    let comparable =
        |node: &Node| (node.address.clone(), node.tagged_addresses.clone(), node.meta.clone());
    comparable(present) != comparable(&wanted)
}

/// To change an instance: its service, and the one that it stands for as a proxy.
pub(crate) fn require_service(
    who: &Authorizer,
    service: &NodeService,
) -> Result<(), PermissionDenied> {
    who.require(Permission::write(Resource::Service, service.service.as_str()))?;
    let target = service.proxy.destination_service_name.as_str();
    if service.kind == "connect-proxy" && !target.is_empty() {
        who.require(Permission::write(Resource::Service, target))?;
    }
    Ok(())
}

/// To change a check: its instance's service, or its node.
pub(crate) fn require_check(
    who: &Authorizer,
    state: &State,
    node: &NodeName,
    check: &HealthCheck,
    registered: Option<&NodeService>,
) -> Result<(), PermissionDenied> {
    if check.service_id.is_empty() {
        return who.require(Permission::write(Resource::Node, node.as_str()));
    }
    if let Some(service) = registered.filter(|service| service.id == check.service_id) {
        return require_service(who, service);
    }
    let key = instance_key(node.as_str(), check.service_id.as_str());
    match state.peek(&SERVICES, key.as_bytes()) {
        Some(row) => require_service(who, &row.service),
        None => who.require(Permission::write(Resource::Node, node.as_str())),
    }
}
