//! The agent itself: identity, logging, leaving, checks, definitions.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use serde_json::Value as Json;
use types::catalog::Locality;
use types::check::CheckDefinition;
use types::service::ServiceDefinition;
use types::{Datacenter, GoDuration, NodeName};

use crate::settings::without_tokens;

/// Who the agent is.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NodeIdentity {
    /// The datacenter, lower-case.
    pub datacenter: Datacenter,
    /// The datacenter that rules ACLs and the mesh; the own one by default.
    pub primary_datacenter: Datacenter,
    /// The name, trimmed.
    pub node_name: NodeName,
    /// `node_id` as written, lower-case. [`crate::node_id::parse`] checks it when
    /// the agent starts; `None` means the id in the data directory or a new one.
    pub node_id: Option<String>,
    /// Whether a new id is random instead of made from the host's.
    pub disable_host_node_id: bool,
    /// `node_meta` as configured, without what the agent adds.
    pub node_meta: BTreeMap<String, String>,
    /// Addresses by kind; always has `lan`, `wan` and those of the family.
    pub tagged_addresses: BTreeMap<String, String>,
    /// Where the agent stands.
    pub locality: Option<Locality>,
}

/// How the first servers of a datacenter find together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bootstrap {
    /// This server starts a cluster alone. Set by `bootstrap`, by
    /// `bootstrap_expect = 1`; dev mode bootstraps although it is false.
    pub bootstrap: bool,
    /// How many servers to wait for; 0 for none, never 1.
    pub expect: u32,
}

/// Log levels, from chatty to quiet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// `TRACE`
    Trace,
    /// `DEBUG`
    Debug,
    /// `INFO`
    #[default]
    Info,
    /// `WARN`
    Warn,
    /// `ERR` and `ERROR`
    Error,
}

impl LogLevel {
    /// Reads a level in any case; `None` for an unknown one.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.to_ascii_uppercase().as_str() {
            "TRACE" => Self::Trace,
            "DEBUG" => Self::Debug,
            "INFO" => Self::Info,
            "WARN" => Self::Warn,
            "ERR" | "ERROR" => Self::Error,
            _ => return None,
        })
    }

    /// The level as configuration spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "TRACE",
            Self::Debug => "DEBUG",
            Self::Info => "INFO",
            Self::Warn => "WARN",
            Self::Error => "ERROR",
        }
    }
}

/// Logging (`reference/telemetry.md`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogConfig {
    /// `log_level` as written. [`LogConfig::level`] checks it when logging
    /// starts: Consul accepts any text while it reads the configuration.
    pub level_text: String,
    /// JSON lines instead of text.
    pub json: bool,
    /// A file besides stdout; a path that ends in `/` is a folder.
    pub file: Option<PathBuf>,
    /// Rotate after this many bytes; 0 for never.
    pub rotate_bytes: i64,
    /// Rotate after this long.
    pub rotate_duration: GoDuration,
    /// Archives to keep: 0 for all, negative for none.
    pub rotate_max_files: i64,
    /// Whether lines go to syslog too.
    pub syslog: bool,
    /// The syslog facility.
    pub syslog_facility: String,
}

impl LogConfig {
    /// The level, or the text that refuses it.
    pub fn level(&self) -> Result<LogLevel, String> {
        LogLevel::parse(&self.level_text).ok_or_else(|| {
            format!(
                "Invalid log level: {}. Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]",
                self.level_text
            )
        })
    }
}

/// Whether checks may run commands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ScriptChecks {
    /// From files (`enable_local_script_checks` or `enable_script_checks`).
    pub local: bool,
    /// From the API too (`enable_script_checks`).
    pub remote: bool,
}

impl ScriptChecks {
    /// Refuses a check from a file that runs a command while that is off.
    pub fn allow_from_file(self) -> Result<(), &'static str> {
        if self.local {
            return Ok(());
        }
        Err("Scripts are disabled on this agent; to enable, configure 'enable_script_checks' or \
             'enable_local_script_checks' to true")
    }

    /// Refuses a check from the API that runs a command while that is off.
    pub fn allow_from_api(self) -> Result<(), &'static str> {
        if self.remote {
            return Ok(());
        }
        Err("Scripts are disabled on this agent from remote calls; to enable, configure \
             'enable_script_checks' to true")
    }
}

/// How checks run (`reference/checks.md`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CheckDefaults {
    /// Commands in checks.
    pub scripts: ScriptChecks,
    /// Most bytes of output kept, at least 1.
    pub output_max_size: u64,
    /// How long a change of the output alone may wait.
    pub update_interval: GoDuration,
    /// Whether output is thrown away.
    pub discard_output: bool,
    /// Whether checks use the agent's certificates.
    pub agent_tls: bool,
    /// Not configurable: how often critical services are looked for.
    pub reap_interval: GoDuration,
    /// Not configurable: the least `deregister_critical_service_after`.
    pub deregister_interval_min: GoDuration,
}

/// Leaving and interrupting.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LeaveConfig {
    /// Whether SIGTERM leaves the cluster.
    pub on_terminate: bool,
    /// Whether SIGINT does not.
    pub skip_on_interrupt: bool,
    /// How long a leaving server still answers.
    pub drain_time: GoDuration,
    /// Whether an agent that left joins again at start.
    pub rejoin_after: bool,
    /// How long a server may be away before it refuses to start.
    pub server_rejoin_age_max: GoDuration,
}

/// Small switches that belong to no component.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Switches {
    /// Watch configuration files and reload on change.
    pub auto_reload_config: bool,
    /// No agent id in the update check.
    pub disable_anonymous_signature: bool,
    /// No network coordinates.
    pub disable_coordinates: bool,
    /// No `consul exec`.
    pub disable_remote_exec: bool,
    /// No update check. This implementation never makes one.
    pub disable_update_check: bool,
    /// Profiling endpoints.
    pub enable_debug: bool,
    /// Services take central defaults.
    pub enable_central_service_config: bool,
    /// Client agents use streaming.
    pub use_streaming_backend: bool,
    /// Names of experiments; none is known.
    pub experiments: Vec<String>,
    /// Cluster peering.
    pub peering: bool,
    /// Shortest life of a session with a time limit.
    pub session_ttl_min: GoDuration,
    /// How stale answers of `discovery` queries may be.
    pub discovery_max_stale: GoDuration,
}

/// What files define besides options. `Debug` hides tokens.
#[derive(Clone, Default, PartialEq)]
pub struct DefinitionSource {
    /// Services, in the order of the sources.
    pub services: Vec<ServiceDefinition>,
    /// Checks outside of services, in the order of the sources.
    pub checks: Vec<CheckDefinition>,
    /// Watches as JSON objects with snake_case keys.
    pub watches: Vec<Json>,
    /// `config_entries.bootstrap` as JSON objects, keys as written.
    pub config_entries: Vec<Json>,
}

impl fmt::Debug for DefinitionSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hide = |list: &[Json]| list.iter().cloned().map(without_tokens).collect::<Vec<_>>();
        f.debug_struct("DefinitionSource")
            .field("services", &self.services)
            .field("checks", &self.checks)
            .field("watches", &hide(&self.watches))
            .field("config_entries", &hide(&self.config_entries))
            .finish()
    }
}
