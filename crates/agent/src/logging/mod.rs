//! Log lines in Consul's formats, and everybody who receives them.
//!
//! Everything logs through `tracing`; the target of an event is Consul's logger name
//! (`agent.server.raft`). This module turns events into lines
//! (`reference/telemetry.md` section 3) and hands them to standard output, to the log
//! file, to syslog and to the followers of `/v1/agent/monitor`, each at its own level.

mod file;
mod format;
mod sink;
mod syslog;

pub use file::{LogFile, Rotation};
pub use format::{Level, LogEvent};
pub use sink::{Follower, Logging};
pub use syslog::Syslog;
