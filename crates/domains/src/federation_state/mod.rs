//! What datacenters tell each other of the mesh gateways that lead into them.
//!
//! Semantics: `reference/http-api.md` 2.10. The leader of each datacenter writes the state
//! of its own; those of others are copies.

mod command;
mod endpoint;
mod query;
mod remote;
mod table;

pub use command::{FederationStateCommand, FederationStateOp};
pub use query::{FederationStateOf, FederationStates, MeshGateways, OwnMeshGateways};
pub use table::FEDERATION_STATES;

use contract::{CommandDef, Domain};

/// Federation states.
pub const DOMAIN: Domain = Domain {
    name: "federation_state",
    tables: &[&FEDERATION_STATES],
    commands: &[CommandDef::of::<FederationStateCommand>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
