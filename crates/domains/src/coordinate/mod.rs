//! Network coordinates: where each node is in the space of round trips, and lists of
//! nodes in the order of their distance (`near=`).
//!
//! Semantics: `reference/http-api.md` 2.8.
//!
//! - A coordinate belongs to a node of the catalog and goes with it; one of an unknown node
//!   is passed over in silence.
//! - Updates do not go through the log one by one: the leader gathers them and writes a batch
//!   now and then (see [`contract::LeaderMemory::note_coordinate`]).
//! - A coordinate that does not change changes no index and wakes nobody.

mod command;
mod endpoint;
mod near;
mod query;
mod remote;
mod table;

pub use command::{CoordinateBatch, CoordinateUpdate};
pub use near::{Near, sort_by_round_trip};
pub use query::{CoordinatesOfNode, CoordinatesOfNodes};
pub use table::COORDINATES;
pub(crate) use table::handle_node_removed;

use contract::{CommandDef, Domain};

/// Coordinates.
pub const DOMAIN: Domain = Domain {
    name: "coordinate",
    tables: &[&COORDINATES],
    commands: &[CommandDef::of::<CoordinateBatch>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
