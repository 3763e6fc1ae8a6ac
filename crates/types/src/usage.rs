//! How much there is in a datacenter (`/v1/operator/usage`).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Nodes, services and instances, counted.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServiceUsage {
    /// Nodes.
    pub nodes: u64,
    /// Names of services.
    pub services: u64,
    /// Instances of all services.
    pub service_instances: u64,
    /// Instances by their kind in the mesh.
    pub connect_service_instances: BTreeMap<String, u64>,
    /// Instances that do something of their own: no proxies, no gateways, no servers.
    pub billable_service_instances: u64,
}
