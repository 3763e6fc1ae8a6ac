//! The rows.

use std::sync::Arc;

use contract::RecordDef;
use store::{KeyBuilder, Secondary, State, Table, Tx};
use types::catalog::{Node, NodeService, RegisterRequest};
use types::check::HealthCheck;
use types::{NodeName, msgpack};

use super::{index, usage};

/// All nodes, by name.
pub const NODES: Table<Node> = Table::with(
    "nodes",
    |node| node_key(node.node.as_str()).build(),
    &[Secondary {
        name: "id",
        keys: |node, file| {
            if !node.id.is_empty() {
                file(KeyBuilder::new().text_ignoring_case(node.id.as_str()));
            }
        },
    }],
);

/// In [`NODES`]: by node id.
pub(super) const NODES_BY_ID: usize = 0;

/// A service instance on its node.
#[derive(Clone, Debug, PartialEq)]
pub struct ServiceRow {
    /// The node, as it was registered.
    pub node: NodeName,
    /// The instance.
    pub service: Arc<NodeService>,
}

/// All instances, by node and id.
pub const SERVICES: Table<ServiceRow> = Table::with(
    "services",
    |row| instance_key(row.node.as_str(), row.service.id.as_str()).build(),
    &[
        Secondary {
            name: "service",
            keys: |row, file| file(service_key(row.service.service.as_str())),
        },
        Secondary {
            name: "target",
            keys: |row, file| {
                if let Some(target) = mesh_target(&row.service) {
                    file(service_key(target));
                }
            },
        },
    ],
);

/// In [`SERVICES`]: by service name.
pub const SERVICES_BY_NAME: usize = 0;

/// In [`SERVICES`]: by the service that is reached through them in the mesh.
pub const SERVICES_BY_TARGET: usize = 1;

/// All checks, by node and id.
pub const CHECKS: Table<HealthCheck> = Table::with(
    "checks",
    |check| check_key(check.node.as_str(), check.check_id.as_str()).build(),
    &[
        Secondary {
            name: "instance",
            keys: |check, file| {
                file(instance_key(check.node.as_str(), check.service_id.as_str()));
            },
        },
        Secondary {
            name: "service",
            keys: |check, file| {
                if !check.service_name.is_empty() {
                    file(service_key(check.service_name.as_str()));
                }
            },
        },
    ],
);

/// In [`CHECKS`]: by node and instance; the node's own checks under the empty id.
pub const CHECKS_BY_INSTANCE: usize = 0;

/// In [`CHECKS`]: by service name.
pub const CHECKS_BY_SERVICE: usize = 1;

/// The service whose mesh traffic goes to this instance, if any.
pub(super) fn mesh_target(service: &NodeService) -> Option<&str> {
    if service.kind == "connect-proxy" {
        return Some(service.proxy.destination_service_name.as_str());
    }
    service.connect.native.then(|| service.service.as_str())
}

/// The key of a node; also the beginning of the keys of all that is on it.
pub fn node_key(node: &str) -> KeyBuilder {
    KeyBuilder::new().text_ignoring_case(node)
}

/// The key of an instance.
pub fn instance_key(node: &str, service_id: &str) -> KeyBuilder {
    node_key(node).text(service_id)
}

/// The key of a check.
pub fn check_key(node: &str, check_id: &str) -> KeyBuilder {
    node_key(node).text(check_id)
}

/// The beginning of index keys for a service.
pub fn service_key(service: &str) -> KeyBuilder {
    KeyBuilder::new().text_ignoring_case(service)
}

/// How nodes, instances and checks stand in snapshots: as registrations, a node
/// first, then one for each instance and each check on it.
pub(super) const REGISTRATIONS: RecordDef =
    RecordDef { tag: 0, save: save_registrations, restore: restore_registration };

fn save_registrations(state: &State, write: &mut dyn FnMut(&[u8])) {
    for node in state.peek_prefix(&NODES, &[]) {
        let bare = RegisterRequest {
            datacenter: node.datacenter.clone(),
            id: node.id.clone(),
            node: node.node.clone(),
            address: node.address.clone(),
            tagged_addresses: node.tagged_addresses.clone(),
            node_meta: node.meta.clone(),
            locality: node.locality.clone(),
            peer_name: node.peer_name.clone(),
            create_index: node.create_index,
            modify_index: node.modify_index,
            ..RegisterRequest::default()
        };
        write(&msgpack::to_vec(&bare));
        let key = node_key(node.node.as_str());
        for row in state.peek_prefix(&SERVICES, key.as_bytes()) {
            let service = Some(NodeService::clone(&row.service));
            write(&msgpack::to_vec(&RegisterRequest { service, ..bare.clone() }));
        }
        for check in state.peek_prefix(&CHECKS, key.as_bytes()) {
            let check = Some(check.clone());
            write(&msgpack::to_vec(&RegisterRequest { check, ..bare.clone() }));
        }
    }
}

/// Rows keep the indexes they were saved with.
fn restore_registration(bytes: &[u8], tx: &mut Tx<'_>) -> Result<(), msgpack::Error> {
    let request: RegisterRequest = msgpack::from_slice(bytes)?;
    let node = node_of(&request);
    if let Some(service) = request.service {
        let row = ServiceRow { node: node.node.clone(), service: Arc::new(service) };
        index::restore_service(tx, &row.service);
        usage::put_service(tx, row);
    } else if let Some(check) = request.check {
        tx.put(&CHECKS, check);
    } else {
        usage::put_node(tx, node);
    }
    Ok(())
}

/// The node part of a registration.
pub(super) fn node_of(request: &RegisterRequest) -> Node {
    Node {
        id: request.id.clone(),
        node: request.node.clone(),
        address: request.address.clone(),
        datacenter: request.datacenter.clone(),
        peer_name: request.peer_name.clone(),
        tagged_addresses: request.tagged_addresses.clone(),
        meta: request.node_meta.clone(),
        locality: request.locality.clone(),
        create_index: request.create_index,
        modify_index: request.modify_index,
    }
}
