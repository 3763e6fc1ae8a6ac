//! The replicated resources, one folder each.
//!
//! A folder holds everything about its resource, under the same file names
//! everywhere: `mod.rs` (what it is, its invariants), `table.rs`, `command.rs`
//! (what changes it), `query.rs` (what reads it), `endpoint.rs` (its HTTP routes),
//! `remote.rs` (its methods on the server port), `access.rs` (who may). It becomes part of the system by one line in [`ALL`].
//!
//! A domain may change the rows of another that stands to its right in this order:
//! `txn` → `catalog` → `session` → `kv`, `prepared_query`, and `catalog` → `coordinate`. Any
//! of them may look at the rows of any other.

pub mod autopilot;
pub mod carried;
pub mod catalog;
pub mod chunking;
pub mod connect_ca;
pub mod coordinate;
pub mod federation_state;
pub mod health;
pub mod internal_ui;
pub mod kv;
pub mod prepared_query;
mod requests;
pub mod session;
pub mod system_metadata;
pub mod txn;

use contract::Domain;

/// Every domain there is.
pub const ALL: &[&Domain] = &[
    &kv::DOMAIN,
    &session::DOMAIN,
    &catalog::DOMAIN,
    &health::DOMAIN,
    &txn::DOMAIN,
    &connect_ca::DOMAIN,
    &coordinate::DOMAIN,
    &autopilot::DOMAIN,
    &federation_state::DOMAIN,
    &internal_ui::DOMAIN,
    &prepared_query::DOMAIN,
    &system_metadata::DOMAIN,
    &carried::DOMAIN,
    &chunking::DOMAIN,
];

/// The tables of all domains, in the order in which a state lays them out.
pub fn tables() -> Vec<&'static dyn store::AnyTable> {
    ALL.iter().flat_map(|domain| domain.tables.iter().copied()).collect()
}
