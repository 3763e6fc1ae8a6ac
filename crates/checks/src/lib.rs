//! Health checks of an agent: what a result means, and how it is obtained.
//!
//! [`status`] is pure: which definitions are valid, when a result changes the
//! status of a check, when a TTL runs out, how much output is kept, what an
//! alias takes over, when a critical service is removed. It reads no clock and
//! makes no random numbers.
//!
//! [`runner`] is the shell: one task for each check asks the world (a process,
//! a URL, a port, …) and tells a [`Reporter`] what the pure part made of it.
//!
//! [`program`] starts and ends the processes, for the agent's other work too.
//!
//! This crate keeps no list of checks, writes no files and knows no catalog:
//! that is the agent's work. Source of the behaviour: `reference/checks.md`.

pub mod program;
pub mod runner;
pub mod status;

pub use runner::alias::{
    AliasAnswer, AliasFailure, AliasQuery, AliasSource, AliasState, NoAliases,
};
pub use runner::proxy::Proxies;
pub use runner::tls::{AgentIdentity, Tls, TlsError};
pub use runner::{CheckHandle, Reporter, Runner, Settings, StartError, TtlUpdates};
pub use status::deregister::{Deregistrations, Overdue};
pub use status::ttl::{NotTtl, SavedTtl, Ttl};
pub use status::{Outcome, Thresholds, Verdict};
