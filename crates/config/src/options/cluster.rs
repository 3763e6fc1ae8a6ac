//! What agents do among themselves: Raft, RPC, gossip, joining, the mesh.

use super::definitions::SEGMENT;
use super::{Feature, Kind, Opt, duration, flag, float, int, list, of_kind, text};

pub(super) const OPTIONS: &[Opt] = &[
    // Raft and RPC.
    int("protocol", "2", "Protocol of the agents, 2 or 3."),
    int("raft_protocol", "3", "Protocol of Raft, 3."),
    int("raft_snapshot_threshold", "16384", "Entries that make a snapshot.").reloads(),
    duration("raft_snapshot_interval", "30s", "How often that is looked at.").reloads(),
    int("raft_trailing_logs", "10240", "Entries kept after a snapshot.").reloads(),
    flag("raft_prevote_disabled", false, "No pre-vote.").of(Feature::Cluster),
    text("raft_logstore.backend", "default", "default, boltdb or wal.").of(Feature::LogStore),
    flag("raft_logstore.disable_log_cache", false, "Accepted, never had an effect."),
    flag("raft_logstore.verification.enabled", false, "Verify the log.").of(Feature::LogStore),
    duration("raft_logstore.verification.interval", "0s", "How often.").of(Feature::LogStore),
    flag("raft_logstore.boltdb.no_freelist_sync", false, "Setting of BoltDB.")
        .of(Feature::LogStore),
    int("raft_logstore.wal.segment_size_mb", "64", "Size of a log segment, MiB."),
    // Snapshots that a server saves by itself; not an option of Consul.
    duration("snapshot_schedule.interval", "", "How often the state is saved.").reloads(),
    text("snapshot_schedule.directory", "", "Folder that gets the archives.").reloads(),
    int("snapshot_schedule.retain", "30", "Archives kept in the folder.").reloads(),
    list("snapshot_schedule.command", "Program that gets each archive as its input.").reloads(),
    flag("snapshot_schedule.verify", true, "Check each archive before it counts.").reloads(),
    flag("snapshot_schedule.stale", false, "Every server saves, not the leader alone.").reloads(),
    flag("read_replica", false, "A server without a vote.").enterprise(),
    int("performance.raft_multiplier", "5", "Scales Raft's timings, 1 to 10.").reloads(),
    duration("performance.leave_drain_time", "5s", "How long a leaving server answers.")
        .of(Feature::Cluster),
    duration("performance.rpc_hold_timeout", "7s", "How long a call waits for a leader."),
    duration("performance.grpc_keepalive_interval", "30s", "Keep-alive period.").of(Feature::Rpc),
    duration("performance.grpc_keepalive_timeout", "20s", "Keep-alive wait.").of(Feature::Rpc),
    flag("performance.enable_xds_load_balancing", true, "Spread xDS streams.").of(Feature::Grpc),
    float("xds.update_max_per_second", "250", "xDS updates per second.")
        .reloads()
        .of(Feature::Grpc),
    flag("rpc.enable_streaming", false, "Streaming to clients; true on servers.").of(Feature::Rpc),
    int("cache.entry_fetch_max_burst", "2", "Fetches of one entry at once.").reloads(),
    float("cache.entry_fetch_rate", "", "Fetches of one entry per second.").reloads(),
    flag("autopilot.cleanup_dead_servers", true, "Remove dead servers."),
    duration("autopilot.last_contact_threshold", "200ms", "Longest healthy silence."),
    int("autopilot.max_trailing_logs", "250", "Most entries behind."),
    int("autopilot.min_quorum", "0", "Never fewer servers."),
    duration("autopilot.server_stabilization_time", "10s", "Health before a vote."),
    flag("autopilot.disable_upgrade_migration", false, "Upgrades.").enterprise(),
    text("autopilot.redundancy_zone_tag", "", "Zones.").enterprise(),
    text("autopilot.upgrade_version_tag", "", "Upgrades.").enterprise(),
    // Gossip.
    text("encrypt", "", "Base64 of the gossip key.").of(Feature::Gossip).secret(),
    flag("encrypt_verify_incoming", true, "Refuse plain gossip.").of(Feature::Gossip),
    flag("encrypt_verify_outgoing", true, "Encrypt gossip.").of(Feature::Gossip),
    flag("disable_keyring_file", false, "Keep gossip keys in memory.").of(Feature::Gossip),
    text("serf_lan", "", "Address of LAN gossip.").of(Feature::Gossip),
    text("serf_wan", "", "Address of WAN gossip.").of(Feature::Wan),
    list("serf_lan_allowed_cidrs", "Networks of LAN members.").of(Feature::Gossip),
    list("serf_wan_allowed_cidrs", "Networks of WAN members.").of(Feature::Wan),
    duration("reconnect_timeout", "0s", "How long failed members are tried.").of(Feature::Gossip),
    duration("reconnect_timeout_wan", "0s", "The same for WAN members.").of(Feature::Wan),
    duration("advertise_reconnect_timeout", "", "How long others try this client.")
        .of(Feature::Gossip),
    duration("gossip_lan.gossip_interval", "200ms", "Between rounds.").of(Feature::Gossip),
    int("gossip_lan.gossip_nodes", "3", "Members told per round.").of(Feature::Gossip),
    duration("gossip_lan.probe_interval", "1s", "Between probes.").of(Feature::Gossip),
    duration("gossip_lan.probe_timeout", "500ms", "Answer to a probe.").of(Feature::Gossip),
    int("gossip_lan.suspicion_mult", "4", "Length of suspicion.").of(Feature::Gossip),
    int("gossip_lan.retransmit_mult", "4", "Repetitions of a message.").of(Feature::Gossip),
    duration("gossip_wan.gossip_interval", "500ms", "Between rounds.").of(Feature::Wan),
    int("gossip_wan.gossip_nodes", "3", "Members told per round.").of(Feature::Wan),
    duration("gossip_wan.probe_interval", "5s", "Between probes.").of(Feature::Wan),
    duration("gossip_wan.probe_timeout", "3s", "Answer to a probe.").of(Feature::Wan),
    int("gossip_wan.suspicion_mult", "6", "Length of suspicion.").of(Feature::Wan),
    int("gossip_wan.retransmit_mult", "4", "Repetitions of a message.").of(Feature::Wan),
    text("segment", "", "Network segment.").enterprise(),
    of_kind("segments", Kind::Objects(SEGMENT), "Network segments.").enterprise(),
    // Joining.
    list("retry_join", "Agents to join.").of(Feature::Gossip),
    list("retry_join_wan", "Servers of other datacenters to join.").of(Feature::Wan),
    duration("retry_interval", "30s", "Between attempts.").of(Feature::Gossip),
    duration("retry_interval_wan", "30s", "Between attempts.").of(Feature::Wan),
    int("retry_max", "0", "Most attempts; 0 for no end.").of(Feature::Gossip),
    int("retry_max_wan", "0", "Most attempts; 0 for no end.").of(Feature::Wan),
    list("primary_gateways", "Gateways of the primary datacenter.").of(Feature::Connect),
    duration("primary_gateways_interval", "30s", "How often those are looked up.")
        .of(Feature::Connect),
    // The mesh and replicated settings.
    flag("connect.enabled", true, "The mesh."),
    text("connect.ca_provider", "", "consul, vault or aws-pca."),
    of_kind("connect.ca_config", Kind::Free, "Settings of the provider.")
        .of(Feature::Connect)
        .secret(),
    flag("connect.enable_mesh_gateway_wan_federation", false, "Federation by gateways.")
        .of(Feature::Connect),
    flag("peering.enabled", true, "Cluster peering.").of(Feature::Peering),
    of_kind("config_entries.bootstrap", Kind::FreeObjects, "Entries made at first start.")
        .reloads()
        .of(Feature::ConfigEntries),
];
