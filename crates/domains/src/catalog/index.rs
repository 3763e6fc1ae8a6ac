//! The indexes under which changes of the catalog are filed.
//!
//! Names: `reference/raft-and-snapshots.md` section 10. `~` is the local cluster,
//! where a real snapshot also has the names of cluster peers.

use store::{Reader, State, Tx};
use types::Index;
use types::catalog::NodeService;

use super::table::{SERVICES, SERVICES_BY_NAME, node_key, service_key};

/// When the last instance of any service went away.
const LAST_EXTINCTION: &str = "service_last_extinction";

/// The index of all instances that are mesh gateways.
pub(crate) const MESH_GATEWAYS: &str = "peer.~:service_kind.mesh-gateway";

fn node_name(node: &str) -> String {
    format!("peer.~:node.{}", node.to_lowercase())
}

fn service_name(service: &str) -> String {
    format!("peer.~:service.{}", service.to_lowercase())
}

/// The index of everything about a service: it covers its instances, their checks,
/// and the nodes they are on. Watching it is watching the whole answer.
pub fn service_index(reader: &mut Reader<'_>, service: &str) -> Index {
    match reader.index_of(&service_name(service)) {
        Index::ZERO => reader.unwatched().index_of(LAST_EXTINCTION).max(Index(1)),
        index => index,
    }
}

/// The index of everything on a node.
pub fn node_index(reader: &mut Reader<'_>, node: &str) -> Index {
    match reader.index_of(&node_name(node)) {
        Index::ZERO => reader.unwatched().index_of("nodes").max(Index(1)),
        index => index,
    }
}

/// Files a change of the node itself, which shows in the answers of all services on it.
pub(super) fn node_changed(tx: &mut Tx<'_>, node: &str) {
    tx.bump("nodes");
    tx.bump("peer.~:nodes");
    tx.bump(&node_name(node));
    bump_services_on(tx, node);
}

/// Files that a node is gone. What was on it has been taken away before.
pub(super) fn node_removed(tx: &mut Tx<'_>, node: &str) {
    tx.bump("nodes");
    tx.bump("peer.~:nodes");
    tx.forget_index(&node_name(node));
}

/// Files a change of an instance.
pub(super) fn service_changed(tx: &mut Tx<'_>, node: &str, service: &NodeService) {
    tx.bump("services");
    tx.bump("peer.~:services");
    tx.bump(&service_name(service.service.as_str()));
    tx.bump(&node_name(node));
    bump_targets(tx, service);
    tx.bump(&kind_name(service));
}

/// Files that an instance is gone.
pub(super) fn service_removed(tx: &mut Tx<'_>, node: &str, service: &NodeService) {
    service_changed(tx, node, service);
    let name = service.service.as_str();
    if !has_instances(tx, name) {
        tx.forget_index(&service_name(name));
        tx.bump(LAST_EXTINCTION);
    }
}

/// Files a change of a check, whose instance is known when it has one.
pub(super) fn check_changed(tx: &mut Tx<'_>, node: &str, service: Option<&NodeService>) {
    tx.bump("checks");
    tx.bump("peer.~:checks");
    tx.bump(&node_name(node));
    match service {
        Some(service) => {
            tx.bump(&service_name(service.service.as_str()));
            bump_targets(tx, service);
        }
        None => bump_services_on(tx, node),
    }
}

/// Rebuilds what a snapshot may lack: the index of each service that has instances.
pub(super) fn restore_service(tx: &mut Tx<'_>, service: &NodeService) {
    let name = service_name(service.service.as_str());
    if tx.index_of(&name) < service.modify_index {
        tx.set_index(&name, service.modify_index);
    }
}

fn kind_name(service: &NodeService) -> String {
    let kind = if service.kind.is_empty() { "typical" } else { &service.kind };
    format!("peer.~:service_kind.{kind}")
}

/// A proxy is part of the answer about the service it stands for.
fn bump_targets(tx: &mut Tx<'_>, service: &NodeService) {
    if service.kind == "connect-proxy" && !service.proxy.destination_service_name.is_empty() {
        tx.bump(&target_name(service.proxy.destination_service_name.as_str()));
    } else if service.connect.native {
        tx.bump(&target_name(service.service.as_str()));
    }
}

/// The index of what is reached through the mesh as this service. Ours: Consul
/// watches each proxy's own service.
fn target_name(service: &str) -> String {
    format!("connect.{}", service.to_lowercase())
}

/// The index of the mesh endpoints of a service.
pub(super) fn target_index(reader: &mut Reader<'_>, service: &str) -> Index {
    reader.index_of(&target_name(service)).max(Index(1))
}

fn bump_services_on(tx: &mut Tx<'_>, node: &str) {
    let key = node_key(node);
    let services: Vec<_> = tx.prefix(&SERVICES, key.as_bytes()).collect();
    for row in services {
        tx.bump(&service_name(row.service.service.as_str()));
        bump_targets(tx, &row.service);
    }
}

/// Whether a service has instances.
pub(super) fn has_instances(state: &State, service: &str) -> bool {
    let key = service_key(service);
    state.secondary(&SERVICES, SERVICES_BY_NAME, key.as_bytes()).next().is_some()
}
