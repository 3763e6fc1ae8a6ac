//! Raft, RPC, gossip, joining, ACL, mesh.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use types::{GoDuration, SecretId};

use super::Build;
use super::surface::{networks, not_negative};
use crate::runtime::{
    AclConfig, AclTokens, AutopilotConfig, CacheConfig, ConnectConfig, GossipConfig, GossipPool,
    GossipTimings, JoinConfig, JoinPool, LogStoreBackend, LogStoreConfig, NetworkConfig, Ports,
    RaftConfig, RpcConfig,
};
use crate::value::Value;

pub(super) fn raft(build: &mut Build<'_>) -> Result<RaftConfig, String> {
    let settings = build.settings;
    let protocol = settings.int("raft_protocol");
    if protocol != 3 {
        return Err(format!(
            "raft_protocol version {protocol} is not supported by this version of Consul"
        ));
    }
    let multiplier = settings.int("performance.raft_multiplier");
    if !(1..=10).contains(&multiplier) {
        return Err(format!(
            "performance.raft_multiplier cannot be {multiplier}. Must be between 1 and 10"
        ));
    }
    // Dev mode has fixed timings (`reference/config.md` section 8).
    let (election, heartbeat, lease) = match build.dev {
        true => (52, 35, 20),
        false => (1000 * multiplier, 1000 * multiplier, 500 * multiplier),
    };
    Ok(RaftConfig {
        protocol: 3,
        multiplier: build.count("performance.raft_multiplier"),
        election_timeout: GoDuration::from_millis(election),
        heartbeat_timeout: GoDuration::from_millis(heartbeat),
        leader_lease_timeout: GoDuration::from_millis(lease),
        snapshot_threshold: build.count("raft_snapshot_threshold"),
        snapshot_interval: build.duration("raft_snapshot_interval"),
        trailing_logs: build.count("raft_trailing_logs"),
        prevote_disabled: settings.bool("raft_prevote_disabled"),
        log_store: log_store(build)?,
    })
}

fn log_store(build: &mut Build<'_>) -> Result<LogStoreConfig, String> {
    let backend = match build.settings.text("raft_logstore.backend").as_str() {
        "default" | "" => LogStoreBackend::Default,
        "boltdb" => LogStoreBackend::BoltDb,
        "wal" => LogStoreBackend::Wal,
        _ => return Err("raft_logstore.backend must be one of 'boltdb' or 'wal'".to_owned()),
    };
    let size = build.settings.int("raft_logstore.wal.segment_size_mb");
    if !(1..=1024).contains(&size) {
        return Err(format!(
            "raft_logstore.wal.segment_size_mb cannot be {size}. Must be between 1 and 1024"
        ));
    }
    Ok(LogStoreConfig {
        backend,
        verification: build.settings.bool("raft_logstore.verification.enabled"),
        verification_interval: build.duration("raft_logstore.verification.interval"),
        wal_segment_size_mb: build.count("raft_logstore.wal.segment_size_mb"),
    })
}

pub(super) fn rpc(build: &mut Build<'_>) -> RpcConfig {
    let settings = build.settings;
    let protocol = settings.int("protocol");
    if !(2..=3).contains(&protocol) {
        build.errors.push(format!("protocol: version {protocol} is not supported, 2 and 3 are"));
    }
    let enable_streaming = build.bool_or("rpc.enable_streaming", build.server);
    let rpc = RpcConfig {
        protocol: u8::try_from(protocol).unwrap_or(2),
        enable_streaming,
        hold_timeout: build.duration("performance.rpc_hold_timeout"),
        grpc_keepalive_interval: build.duration("performance.grpc_keepalive_interval"),
        grpc_keepalive_timeout: build.duration("performance.grpc_keepalive_timeout"),
        enable_xds_load_balancing: settings.bool("performance.enable_xds_load_balancing"),
        xds_update_max_per_second: settings.float("xds.update_max_per_second"),
    };
    for (key, value) in [
        ("performance.grpc_keepalive_interval", rpc.grpc_keepalive_interval),
        ("performance.grpc_keepalive_timeout", rpc.grpc_keepalive_timeout),
    ] {
        if value < GoDuration::from_secs(1) {
            build.errors.push(format!("{key}: duration '{value}' cannot be less than: 1s"));
        }
    }
    rpc
}

pub(super) fn gossip(
    build: &mut Build<'_>,
    network: &NetworkConfig,
    ports: &Ports,
) -> Result<GossipConfig, String> {
    let lan = pool(build, "lan", network, ports.serf_lan)?;
    let wan = match ports.serf_wan.filter(|_| build.server) {
        Some(port) => Some(pool(build, "wan", network, port)?),
        None => None,
    };
    let settings = build.settings;
    Ok(GossipConfig {
        lan,
        wan,
        encrypt: SecretId::from(settings.text("encrypt")),
        encrypt_verify_incoming: settings.bool("encrypt_verify_incoming"),
        encrypt_verify_outgoing: settings.bool("encrypt_verify_outgoing"),
        disable_keyring_file: settings.bool("disable_keyring_file"),
        advertise_reconnect_timeout: build.duration("advertise_reconnect_timeout"),
    })
}

fn pool(
    build: &mut Build<'_>,
    name: &str,
    network: &NetworkConfig,
    port: u16,
) -> Result<GossipPool, String> {
    let key = format!("serf_{name}");
    let bind = build.one_ip(&key, &build.settings.text(&key))?.unwrap_or(network.bind);
    let wan = name == "wan";
    let advertise = if wan { network.advertise_wan } else { network.advertise_lan };
    let cidrs = format!("serf_{name}_allowed_cidrs");
    let timing = |key: &str| format!("gossip_{name}.{key}");
    Ok(GossipPool {
        bind: SocketAddr::new(bind, port),
        advertise: SocketAddr::new(advertise, port),
        allowed_cidrs: networks(build, &cidrs, &cidrs),
        timings: GossipTimings {
            gossip_interval: build.duration(&timing("gossip_interval")),
            gossip_nodes: build.count(&timing("gossip_nodes")),
            probe_interval: build.duration(&timing("probe_interval")),
            probe_timeout: build.duration(&timing("probe_timeout")),
            suspicion_mult: build.count(&timing("suspicion_mult")),
            retransmit_mult: build.count(&timing("retransmit_mult")),
        },
        reconnect_timeout: build.duration(if wan {
            "reconnect_timeout_wan"
        } else {
            "reconnect_timeout"
        }),
    })
}

pub(super) fn join(build: &mut Build<'_>) -> Result<JoinConfig, String> {
    let primary_gateways = build.entries("primary_gateways");
    Ok(JoinConfig {
        lan: join_pool(build, "")?,
        wan: join_pool(build, "_wan")?,
        primary_gateways,
        primary_gateways_interval: build.duration("primary_gateways_interval"),
    })
}

fn join_pool(build: &mut Build<'_>, suffix: &str) -> Result<JoinPool, String> {
    let max = format!("retry_max{suffix}");
    not_negative(&max, build.settings.int(&max))?;
    Ok(JoinPool {
        retry_join: build.entries(&format!("retry_join{suffix}")),
        interval: build.duration(&format!("retry_interval{suffix}")),
        max_attempts: build.count(&max),
    })
}

pub(super) fn acl(build: &mut Build<'_>) -> AclConfig {
    let settings = build.settings;
    let token = |key: &str| SecretId::from(settings.text(&format!("acl.tokens.{key}")));
    AclConfig {
        enabled: settings.bool("acl.enabled"),
        is_ruled_out: matches!(settings.get("acl.enabled"), Some(Value::Bool(false))),
        default_policy: settings.text("acl.default_policy"),
        down_policy: settings.text("acl.down_policy"),
        default_intention_policy: settings.text("default_intention_policy"),
        token_ttl: build.duration("acl.token_ttl"),
        policy_ttl: build.duration("acl.policy_ttl"),
        role_ttl: build.duration("acl.role_ttl"),
        enable_key_list_policy: settings.bool("acl.enable_key_list_policy"),
        enable_token_replication: settings.bool("acl.enable_token_replication"),
        enable_token_persistence: settings.bool("acl.enable_token_persistence"),
        tokens: AclTokens {
            initial_management: token("initial_management"),
            replication: token("replication"),
            agent_recovery: token("agent_recovery"),
            default: token("default"),
            agent: token("agent"),
            config_file_service_registration: token("config_file_service_registration"),
            dns: token("dns"),
        },
    }
}

pub(super) fn connect(build: &mut Build<'_>) -> ConnectConfig {
    let settings = build.settings;
    let ca_provider = settings.text("connect.ca_provider");
    if !matches!(ca_provider.as_str(), "" | "consul" | "vault" | "aws-pca") {
        build.errors.push(format!("{ca_provider} is not a valid CA provider"));
    }
    let ca_config = match settings.get("connect.ca_config") {
        Some(Value::Object(object)) => {
            object.iter().map(|(key, value)| (key.clone(), value.to_json())).collect()
        }
        _ => BTreeMap::new(),
    };
    ConnectConfig {
        enabled: settings.bool("connect.enabled")
            || (build.server && settings.bool("auto_encrypt.allow_tls")),
        ca_provider,
        ca_config,
        mesh_gateway_wan_federation: settings.bool("connect.enable_mesh_gateway_wan_federation"),
    }
}

pub(super) fn autopilot(build: &mut Build<'_>) -> Result<AutopilotConfig, String> {
    let settings = build.settings;
    for key in ["autopilot.max_trailing_logs", "autopilot.min_quorum"] {
        not_negative(key, settings.int(key))?;
    }
    Ok(AutopilotConfig {
        cleanup_dead_servers: settings.bool("autopilot.cleanup_dead_servers"),
        last_contact_threshold: build.duration("autopilot.last_contact_threshold"),
        max_trailing_logs: build.count("autopilot.max_trailing_logs"),
        min_quorum: build.count("autopilot.min_quorum"),
        server_stabilization_time: build.duration("autopilot.server_stabilization_time"),
    })
}

pub(super) fn cache(build: &Build<'_>) -> Result<CacheConfig, String> {
    let settings = build.settings;
    let burst = settings.int("cache.entry_fetch_max_burst");
    let entry_fetch_max_burst =
        u32::try_from(burst).ok().filter(|burst| *burst > 0).ok_or_else(|| {
            format!("cache.entry_fetch_max_burst must be strictly positive, was: {burst}")
        })?;
    let rate = settings.float("cache.entry_fetch_rate");
    let is_set = settings.is_set("cache.entry_fetch_rate");
    if is_set && rate <= 0.0 {
        let shown = Value::Float(rate).shown();
        return Err(format!("cache.entry_fetch_rate must be strictly positive, was: {shown}"));
    }
    Ok(CacheConfig { entry_fetch_max_burst, entry_fetch_rate: is_set.then_some(rate) })
}
