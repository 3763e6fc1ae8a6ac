//! Which Consul this behaves as, and what it is.
//!
//! Where programs look, the answer is the version whose behaviour is kept; our own
//! name and version stand beside it.

/// The version of Consul whose behaviour this is.
pub const CONSUL_VERSION: &str = "1.21.4";

/// The revision that stands behind that version where Consul shows one.
pub const CONSUL_REVISION: &str = "6b5ca6a8";

/// When that version was made.
pub const CONSUL_BUILD_DATE: &str = "2025-08-13T08:13:32Z";

/// Our own version.
pub const PROCONSUL_VERSION: &str = env!("CARGO_PKG_VERSION");
