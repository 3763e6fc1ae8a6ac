//! Whether the catalog has a thing as it is here. Pure.

use types::catalog::{Meta, Node, NodeService};
use types::check::HealthCheck;

/// The tagged address that the catalog gives to services in the mesh.
const VIRTUAL_ADDRESS: &str = "consul-virtual";

/// Whether the catalog has the node as it is here.
pub(super) fn same_node(local: &Node, remote: &Node) -> bool {
    local.id == remote.id
        && local.node == remote.node
        && local.address == remote.address
        && local.locality == remote.locality
        && same_meta(&local.tagged_addresses, &remote.tagged_addresses)
        && same_meta(&local.meta, &remote.meta)
}

/// Whether the catalog has a service as it is here. What the catalog adds by itself
/// (indexes, the virtual address, how peers reach it) does not count.
pub(super) fn same_service(local: &NodeService, remote: &NodeService) -> bool {
    let addresses = |service: &NodeService, keep_virtual: bool| {
        let mut addresses = service.tagged_addresses.clone().unwrap_or_default();
        if !keep_virtual {
            addresses.remove(VIRTUAL_ADDRESS);
        }
        addresses
    };
    let own_virtual =
        local.tagged_addresses.as_ref().is_some_and(|map| map.contains_key(VIRTUAL_ADDRESS));
    local.id == remote.id
        && local.service == remote.service
        && local.kind == remote.kind
        && local.tags == remote.tags
        && local.address == remote.address
        && addresses(local, own_virtual) == addresses(remote, own_virtual)
        && same_meta(&local.meta, &remote.meta)
        && local.port == remote.port
        && local.socket_path == remote.socket_path
        && local.weights.clone().unwrap_or_default() == remote.weights.clone().unwrap_or_default()
        && local.enable_tag_override == remote.enable_tag_override
        && local.locality == remote.locality
        && local.proxy == remote.proxy
        && local.connect.native == remote.connect.native
}

/// Whether the catalog has a check as it is here. The catalog fills in the name and
/// the tags of its service.
pub(super) fn same_check(local: &HealthCheck, remote: &HealthCheck, output_waits: bool) -> bool {
    local.name == remote.name
        && local.status == remote.status
        && local.notes == remote.notes
        && (output_waits || local.output == remote.output)
        && local.service_id == remote.service_id
        && local.kind == remote.kind
        && local.interval == remote.interval
        && local.timeout == remote.timeout
        && local.exposed_port == remote.exposed_port
        && local.definition == remote.definition
}

fn same_meta(a: &Meta, b: &Meta) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => a == b,
        (Some(only), None) | (None, Some(only)) => only.is_empty(),
        (None, None) => true,
    }
}
