//! What servers tell themselves and those after them of the state: texts by keys.
//!
//! Semantics: `reference/raft-and-snapshots.md` section 7. Clients see nothing of it.
//!
//! - A key that stands for a feature is written by the leader once every server of the
//!   datacenter has that feature, as from then on the log means something else
//!   ([`VIRTUAL_IPS`]: registrations give out addresses). It is never taken away.

mod command;
mod table;

pub use command::{SystemMetadataCommand, SystemMetadataOp};
pub use table::{SYSTEM_METADATA, SystemMetadataEntry, value};

use contract::{CommandDef, Domain};

/// `true` once services in the mesh have virtual addresses.
pub const VIRTUAL_IPS: &str = "virtual-ips";

/// `true` once services behind terminating gateways have them, too.
pub const TERMINATING_GATEWAY_VIRTUAL_IPS: &str = "virtual-ips-term-gateway";

/// `config-entry` once no intention is in the form of old versions.
pub const INTENTION_FORMAT: &str = "intention-format";

/// The metadata.
pub const DOMAIN: Domain = Domain {
    name: "system_metadata",
    tables: &[&SYSTEM_METADATA],
    commands: &[CommandDef::of::<SystemMetadataCommand>()],
    records: table::RECORDS,
    routes: &[],
    methods: &[],
};

#[cfg(test)]
mod tests;
