//! The configuration of autopilot: by which rules servers look after each other.
//!
//! Semantics: `reference/http-api.md` 3.18. How the servers are doing is not here: that is
//! known to the leader, not to the log.
//!
//! - There is one row. The first leader of a new cluster makes it from its configuration
//!   file; from then on the file does not count.

mod command;
mod endpoint;
mod query;
mod remote;
mod table;

pub use command::AutopilotSet;
pub use query::AutopilotGet;
pub use table::{AUTOPILOT, configuration};

use contract::{CommandDef, Domain};

/// The configuration of autopilot.
pub const DOMAIN: Domain = Domain {
    name: "autopilot",
    tables: &[&AUTOPILOT],
    commands: &[CommandDef::of::<AutopilotSet>()],
    records: table::RECORDS,
    routes: endpoint::ROUTES,
    methods: remote::METHODS,
};

#[cfg(test)]
mod tests;
