//! What the web UI reads: nodes and services with everything that is known of them, in
//! one answer each (`reference/http-api.md` 2.18).
//!
//! It has no tables of its own. Gateways, intentions and what other clusters export are
//! made by config entries and peerings, of which there are none yet: those lists are empty.

mod endpoint;
mod gateway;
mod nodes;
mod overview;
mod remote;
mod services;
mod summary;
mod topology;

pub use gateway::{BehindGateway, GatewayServiceDump, ServiceInfo};
pub use nodes::{NodeDump, NodeInfo, NodeRow};
pub use overview::{CatalogOverview, Overview};
pub use services::{ExportedServices, ServiceDump, ServiceNames, Services};
pub use topology::{ServiceTopology, Topology};

use contract::Domain;

/// The reads of the web UI.
pub const DOMAIN: Domain = Domain {
    name: "internal_ui",
    tables: &[],
    commands: &[],
    records: &[],
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
