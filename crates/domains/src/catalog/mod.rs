//! Nodes, the service instances on them, and their checks.
//!
//! Three tables and one set of rules (`reference/http-api.md` 2.3, 3.8 and 6.1):
//!
//! - An instance and a check belong to a node; a check may belong to an instance
//!   of that node, and then carries its service's name and tags.
//! - Names of nodes and services are compared without regard to case.
//! - Registering what is already there changes no index and wakes nobody.
//! - Whatever changes an answer about a service (an instance, one of its checks, a
//!   check of its node, the node) files the index of that service, so that one
//!   watched index stands for the whole answer. The names of these indexes are
//!   those of Consul's snapshots.

mod access;
mod apply;
mod command;
mod endpoint;
mod index;
mod manual_ip;
mod query;
mod remote;
mod selection;
mod table;
mod usage;
mod validate;
mod virtual_ip;

pub use access::{can_see_check, can_see_instance};
pub(crate) use access::{can_see_node, can_see_service, require_check, require_service};
pub(crate) use apply::{
    node_by_id, put_check, put_node, put_service, remove_check, remove_node, remove_service,
};
pub use command::{Deregister, Register};
pub(crate) use index::MESH_GATEWAYS;
pub use index::{node_index, service_index};
pub use manual_ip::{PeeredServiceName, UpdateVirtualIp, UpdateVirtualIpReply};
pub use query::{
    CatalogNode, CatalogNodeServices, CatalogNodes, CatalogService, CatalogServices,
    GatewayServices, NodeServiceList, NodeServices, PtrLookup, PtrTarget, ServiceTags,
    ServicesAtAddress, VirtualIp,
};
pub(crate) use selection::has_meta;
pub use selection::{InstanceSelection, RowFilter, parse_node_meta};
pub use table::{
    CHECKS, CHECKS_BY_INSTANCE, CHECKS_BY_SERVICE, NODES, SERVICES, SERVICES_BY_NAME,
    SERVICES_BY_TARGET, ServiceRow, check_key, instance_key, node_key, service_key,
};
pub use usage::{USAGE, Usage, usage};
pub use validate::validate_service;
pub(crate) use validate::{check_defaults, default_service_id, node_id, service_on_its_own};
pub use virtual_ip::{FREE_VIRTUAL_IPS, SERVICE_VIRTUAL_IPS, virtual_ip};

use contract::{CommandDef, Domain};

/// Nodes, instances and checks.
pub const DOMAIN: Domain = Domain {
    name: "catalog",
    tables: &[&NODES, &SERVICES, &CHECKS, &SERVICE_VIRTUAL_IPS, &FREE_VIRTUAL_IPS, &USAGE],
    commands: &[
        CommandDef::of::<Register>(),
        CommandDef::of::<Deregister>(),
        CommandDef::of::<UpdateVirtualIp>(),
    ],
    records: RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

/// In the order in which Consul writes them.
const RECORDS: &[contract::RecordDef] = {
    let [assigned, free] = virtual_ip::RECORDS;
    &[assigned, free, table::REGISTRATIONS]
};
