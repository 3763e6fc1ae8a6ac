//! The health of nodes and services: the catalog's checks, asked for in the ways
//! that matter to whoever wants a healthy instance.
//!
//! It has no tables of its own; see `catalog` for the rules of checks.

mod endpoint;
mod query;
mod remote;

pub use query::{HealthChecksOfService, HealthNode, HealthService, HealthState, InstanceHealth};
pub(crate) use query::{keep_visible, with_checks};

use contract::Domain;

/// Health.
pub const DOMAIN: Domain = Domain {
    name: "health",
    tables: &[],
    commands: &[],
    records: &[],
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};
