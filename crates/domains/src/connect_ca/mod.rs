//! The certificate authority of the mesh: its roots, its configuration and the key of
//! the built-in provider.
//!
//! Semantics: `reference/http-api.md` 2.7, `reference/grpc-and-xds.md` section 7.
//!
//! - Once there is a root, exactly one is active.
//! - Roots and configuration change under compare-and-set, so two leaders that both
//!   believe there is no root cannot make two.
//! - The provider's state holds a private key: no query reads it and nothing prints it.

mod command;
mod endpoint;
mod query;
mod remote;
mod table;

pub use command::{CaCommand, CaOp, CaReply};
pub use query::CaRootsQuery;
pub use table::{CA_CONFIG, CA_PROVIDER_STATE, CA_ROOTS};

use contract::{CommandDef, Domain};

/// The certificate authority.
pub const DOMAIN: Domain = Domain {
    name: "connect_ca",
    tables: &[&CA_ROOTS, &CA_CONFIG, &CA_PROVIDER_STATE],
    commands: &[CommandDef::of::<CaCommand>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
