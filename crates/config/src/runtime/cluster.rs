//! What agents do among themselves: Raft, RPC, gossip, joining, ACL, mesh.

use std::collections::BTreeMap;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;

use ipnet::IpNet;
use serde_json::Value as Json;
use types::{GoDuration, SecretId};

/// Raft timings and its log store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RaftConfig {
    /// Always 3.
    pub protocol: u8,
    /// Scales the three timings below; 1 to 10.
    pub multiplier: u32,
    /// Longest silence before a candidate stands up.
    pub election_timeout: GoDuration,
    /// Longest silence of a leader.
    pub heartbeat_timeout: GoDuration,
    /// How long a leader trusts that it still leads.
    pub leader_lease_timeout: GoDuration,
    /// Entries since the last snapshot that make a new one.
    pub snapshot_threshold: u64,
    /// How often that is looked at.
    pub snapshot_interval: GoDuration,
    /// Entries kept after a snapshot.
    pub trailing_logs: u64,
    /// No pre-vote round.
    pub prevote_disabled: bool,
    /// The log store.
    pub log_store: LogStoreConfig,
}

/// Snapshots that a server saves by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotSchedule {
    /// How often; at least [`SnapshotSchedule::INTERVAL_MIN`].
    pub interval: GoDuration,
    /// Where they go.
    pub target: SnapshotTarget,
    /// Whether each is read and checked before it counts.
    pub verify: bool,
    /// Whether every server saves its own state; else the leader alone saves.
    pub stale: bool,
}

impl SnapshotSchedule {
    /// The shortest interval: a second.
    pub const INTERVAL_MIN: GoDuration = GoDuration::from_secs(1);
}

/// Where scheduled snapshots go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotTarget {
    /// To files.
    Directory {
        /// The folder, with its whole path.
        path: PathBuf,
        /// How many are kept; at least one.
        retain: usize,
    },
    /// To the input of a program: its path, then its arguments.
    Command(Vec<String>),
}

/// Which log store is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogStoreBackend {
    /// Whatever the data directory has; the write-ahead log for a new one.
    #[default]
    Default,
    /// BoltDB.
    BoltDb,
    /// The write-ahead log.
    Wal,
}

/// The log store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogStoreConfig {
    /// Which.
    pub backend: LogStoreBackend,
    /// Whether the log is verified against the leader's.
    pub verification: bool,
    /// How often; zero for never.
    pub verification_interval: GoDuration,
    /// Size of a segment, MiB, 1 to 1024.
    pub wal_segment_size_mb: u32,
}

/// Calls among agents.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RpcConfig {
    /// Always 2 or 3.
    pub protocol: u8,
    /// Streaming of changes to client agents.
    pub enable_streaming: bool,
    /// How long a call waits for a leader.
    pub hold_timeout: GoDuration,
    /// Keep-alive period of gRPC connections.
    pub grpc_keepalive_interval: GoDuration,
    /// How long a keep-alive answer may take.
    pub grpc_keepalive_timeout: GoDuration,
    /// Spreads xDS streams over servers.
    pub enable_xds_load_balancing: bool,
    /// xDS updates per second.
    pub xds_update_max_per_second: f64,
}

/// Gossip.
#[derive(Clone, Debug, PartialEq)]
pub struct GossipConfig {
    /// Inside the datacenter.
    pub lan: GossipPool,
    /// Among servers; `None` when `ports.serf_wan` is disabled or on a client.
    pub wan: Option<GossipPool>,
    /// Base64 of a key of 16, 24 or 32 bytes; empty for plain text.
    pub encrypt: SecretId,
    /// Whether plain text is refused.
    pub encrypt_verify_incoming: bool,
    /// Whether own packets are encrypted.
    pub encrypt_verify_outgoing: bool,
    /// Whether keys are only in memory.
    pub disable_keyring_file: bool,
    /// How long clients are kept after they vanish; zero for the pool's.
    pub advertise_reconnect_timeout: GoDuration,
}

/// One gossip pool.
#[derive(Clone, Debug, PartialEq)]
pub struct GossipPool {
    /// Where it listens.
    pub bind: SocketAddr,
    /// What it announces.
    pub advertise: SocketAddr,
    /// Networks that members may come from; empty for all.
    pub allowed_cidrs: Vec<IpNet>,
    /// Timings.
    pub timings: GossipTimings,
    /// How long a failed member is tried; zero for 72 hours.
    pub reconnect_timeout: GoDuration,
}

/// Timings of a gossip pool.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct GossipTimings {
    /// Between rounds.
    pub gossip_interval: GoDuration,
    /// Members told per round.
    pub gossip_nodes: u32,
    /// Between probes.
    pub probe_interval: GoDuration,
    /// Answer to a probe.
    pub probe_timeout: GoDuration,
    /// How long suspicion lasts.
    pub suspicion_mult: u32,
    /// How often a message is repeated.
    pub retransmit_mult: u32,
}

/// Joining other agents (`reference/config.md` section 6).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinConfig {
    /// In the datacenter.
    pub lan: JoinPool,
    /// Other datacenters.
    pub wan: JoinPool,
    /// Gateways of the primary datacenter.
    pub primary_gateways: Vec<String>,
    /// How often those are looked up.
    pub primary_gateways_interval: GoDuration,
}

/// Joining one pool.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct JoinPool {
    /// Addresses and provider strings, in order.
    pub retry_join: Vec<String>,
    /// Between attempts.
    pub interval: GoDuration,
    /// Most attempts; 0 for no end.
    pub max_attempts: u32,
}

/// Access control. Texts are checked by the server when it starts.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AclConfig {
    /// Whether it is on.
    pub enabled: bool,
    /// Whether the configuration itself says that it is off, rather than nothing.
    pub is_ruled_out: bool,
    /// `allow` or `deny`.
    pub default_policy: String,
    /// `allow`, `deny`, `extend-cache` or `async-cache`.
    pub down_policy: String,
    /// Whether mesh traffic is allowed by default; empty follows `default_policy`.
    pub default_intention_policy: String,
    /// How long a token is cached.
    pub token_ttl: GoDuration,
    /// How long a policy is cached.
    pub policy_ttl: GoDuration,
    /// How long a role is cached.
    pub role_ttl: GoDuration,
    /// Whether listing keys needs its own permission.
    pub enable_key_list_policy: bool,
    /// Whether tokens are replicated from the primary datacenter.
    pub enable_token_replication: bool,
    /// Whether tokens set through the API are kept on disk.
    pub enable_token_persistence: bool,
    /// The agent's own tokens.
    pub tokens: AclTokens,
}

/// The agent's own tokens. They apply on reload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AclTokens {
    /// Made at first start of a cluster.
    pub initial_management: SecretId,
    /// For replication.
    pub replication: SecretId,
    /// For when servers cannot be reached.
    pub agent_recovery: SecretId,
    /// For requests without a token.
    pub default: SecretId,
    /// For what the agent does itself.
    pub agent: SecretId,
    /// For definitions in files.
    pub config_file_service_registration: SecretId,
    /// For DNS.
    pub dns: SecretId,
}

/// The mesh. `Debug` does not show `ca_config`, which may hold keys.
#[derive(Clone, Default, PartialEq)]
pub struct ConnectConfig {
    /// Whether it is on.
    pub enabled: bool,
    /// `consul`, `vault`, `aws-pca`, or empty.
    pub ca_provider: String,
    /// Settings of the provider, keys as written.
    pub ca_config: BTreeMap<String, Json>,
    /// Federation through mesh gateways.
    pub mesh_gateway_wan_federation: bool,
}

impl fmt::Debug for ConnectConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ConnectConfig")
            .field("enabled", &self.enabled)
            .field("ca_provider", &self.ca_provider)
            .field("mesh_gateway_wan_federation", &self.mesh_gateway_wan_federation)
            .finish_non_exhaustive()
    }
}

/// The first autopilot configuration of a new cluster.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct AutopilotConfig {
    /// Remove dead servers.
    pub cleanup_dead_servers: bool,
    /// Longest silence of a healthy server.
    pub last_contact_threshold: GoDuration,
    /// Most entries that a healthy server lags.
    pub max_trailing_logs: u64,
    /// Never fewer servers than this.
    pub min_quorum: u32,
    /// How long a new server must be healthy before it votes.
    pub server_stabilization_time: GoDuration,
}

/// The agent's cache of upstream answers. Applies on reload.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheConfig {
    /// Fetches of one entry at once.
    pub entry_fetch_max_burst: u32,
    /// Fetches of one entry per second; `None` is unlimited.
    pub entry_fetch_rate: Option<f64>,
}
