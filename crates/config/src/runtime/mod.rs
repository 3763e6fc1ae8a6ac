//! The finished configuration: one small struct per component. A component
//! receives its own struct, never the whole.
//!
//! Units: a [`GoDuration`] says its own; sizes are bytes; a port is
//! `Option<u16>`, where `None` is a disabled port that Consul shows as `-1`.
//! Defaults and meanings: `reference/config.md` sections 2 and 3.

mod agent;
mod cluster;
mod network;
mod surface;

use std::path::PathBuf;

use serde_json::Value as Json;
use types::check::CheckDefinition;
use types::service::ServiceDefinition;

pub use agent::{
    Bootstrap, CheckDefaults, DefinitionSource, LeaveConfig, LogConfig, LogLevel, NodeIdentity,
    ScriptChecks, Switches,
};
pub use cluster::{
    AclConfig, AclTokens, AutopilotConfig, CacheConfig, ConnectConfig, GossipConfig, GossipPool,
    GossipTimings, JoinConfig, JoinPool, LogStoreBackend, LogStoreConfig, RaftConfig, RpcConfig,
    SnapshotSchedule, SnapshotTarget,
};
pub use network::{
    ListenAddr, Listeners, NetworkConfig, PortRange, Ports, UnixSockets, shown_port,
};
pub use surface::{
    DnsConfig, HttpConfig, Limits, MetricsProxy, RateLimitMode, RecursorStrategy, SoaConfig,
    TelemetryConfig, TlsConfig, TlsListenerConfig, TlsVersion, UiConfig,
};

use crate::settings::Settings;

/// The whole configuration of an agent, validated.
#[derive(Clone, Debug, PartialEq)]
pub struct RuntimeConfig {
    /// Whether `-dev` was given: nothing is persisted, timings are short.
    pub dev: bool,
    /// Whether the agent is a server.
    pub server: bool,
    /// Who the agent is.
    pub identity: NodeIdentity,
    /// Where state is kept; `None` only in dev mode.
    pub data_dir: Option<PathBuf>,
    /// File that holds the process id while the agent runs.
    pub pid_file: Option<PathBuf>,
    /// Addresses that the agent binds and announces.
    pub network: NetworkConfig,
    /// Ports by purpose.
    pub ports: Ports,
    /// Sockets of the client-facing servers.
    pub listeners: Listeners,
    /// How the first servers find together.
    pub bootstrap: Bootstrap,
    /// The DNS server.
    pub dns: DnsConfig,
    /// The HTTP server.
    pub http: HttpConfig,
    /// The web interface.
    pub ui: UiConfig,
    /// Limits on clients.
    pub limits: Limits,
    /// Certificates and verification, per listener.
    pub tls: TlsConfig,
    /// Logging.
    pub log: LogConfig,
    /// Metrics.
    pub telemetry: TelemetryConfig,
    /// How checks run.
    pub checks: CheckDefaults,
    /// Leaving and interrupting.
    pub leave: LeaveConfig,
    /// Raft timings and its log store.
    pub raft: RaftConfig,
    /// Snapshots that a server saves by itself.
    pub snapshot_schedule: Option<SnapshotSchedule>,
    /// Server-to-server and client-to-server calls.
    pub rpc: RpcConfig,
    /// Gossip pools.
    pub gossip: GossipConfig,
    /// Joining other agents.
    pub join: JoinConfig,
    /// Access control.
    pub acl: AclConfig,
    /// The mesh.
    pub connect: ConnectConfig,
    /// The first autopilot configuration of a new cluster.
    pub autopilot: AutopilotConfig,
    /// The agent's cache of upstream answers.
    pub cache: CacheConfig,
    /// Small switches that belong to no component.
    pub switches: Switches,
    /// Services, checks, watches and entries defined in files.
    pub definitions: DefinitionSource,
    /// Every setting that a source set, merged: for the diff on reload and for
    /// showing the configuration. Secrets are hidden when it is printed.
    pub settings: Settings,
}

impl RuntimeConfig {
    /// The services defined in files, in the order of the sources.
    pub fn services(&self) -> &[ServiceDefinition] {
        &self.definitions.services
    }

    /// The checks defined in files outside of services.
    pub fn check_definitions(&self) -> &[CheckDefinition] {
        &self.definitions.checks
    }

    /// The watches defined in files, with snake_case keys.
    pub fn watches(&self) -> &[Json] {
        &self.definitions.watches
    }

    /// The agent's DNS domain without the dots around it: `consul`.
    pub fn domain(&self) -> &str {
        self.dns.domain.trim_matches('.')
    }
}
