//! The parts of the configuration as the components want them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use config::RuntimeConfig;
use config::runtime::{CacheConfig, RateLimitMode, TlsVersion};
use contract::AgentFacts;
use http::{HeaderName, HeaderValue};
use http_server::{HttpSettings, Ui};
use server::ServerOptions;
use server::raft_host::RaftOptions;
use server::rate_limit::{LimitMode, RequestLimits};
use telemetry::{FilterSettings, SinkSettings};
use types::autopilot::AutopilotConfiguration;

use crate::cache::FetchRate;
use crate::delegate::ClientOptions;
use crate::environment;

/// What HTTP handlers may know, and what applies to every request.
pub(crate) fn http(config: &RuntimeConfig) -> HttpSettings {
    let facts = AgentFacts {
        datacenter: config.identity.datacenter.clone(),
        node: config.identity.node_name.clone(),
        kv_max_value_size: config.limits.kv_max_value_size,
        txn_max_req_len: config.limits.txn_max_req_len,
        discovery_max_stale: config.switches.discovery_max_stale.to_std(),
        connect: config.connect.enabled,
        coordinates: !config.switches.disable_coordinates,
        indents: config.dev,
    };
    let response_headers = config.http.response_headers.iter().filter_map(|(name, value)| {
        let header = (HeaderName::try_from(name.as_str()), HeaderValue::try_from(value.as_str()));
        match header {
            (Ok(name), Ok(value)) => Some((name, value)),
            _ => {
                tracing::warn!(target: "agent", header = %name, "http_config.response_headers: not a header");
                None
            }
        }
    });
    HttpSettings {
        response_headers: response_headers.collect(),
        block_endpoints: config.http.block_endpoints.clone(),
        allow_write_from: config.http.allow_write_http_from.clone(),
        allow_unprintable: config.http.disable_unprintable_char_filter,
        default_acl_policy: if config.acl.default_policy == "deny" { "deny" } else { "allow" },
        translate_wan_addrs: config.network.translate_wan_addrs,
        default_token: config.acl.tokens.default.clone(),
        ui: config
            .ui
            .is_served()
            .then(|| Ui { path: config.ui.content_path.clone(), dir: config.ui.dir.clone() }),
        facts: Arc::new(facts),
    }
}

/// What the server wants.
pub(crate) fn server(config: &RuntimeConfig) -> ServerOptions {
    ServerOptions {
        datacenter: config.identity.datacenter.clone(),
        default_query_time: config.http.default_query_time.to_std(),
        max_query_time: config.http.max_query_time.to_std(),
        hold_timeout: config.rpc.hold_timeout.to_std(),
        client_timeout: config.limits.rpc_client_timeout.to_std(),
        session_ttl_min: config.switches.session_ttl_min,
        connect_enabled: config.connect.enabled,
        is_primary: is_primary(config),
        makes_authority: makes_authority(config),
        coordinate_update_period: coordinate_update_period(config),
        autopilot: autopilot(config),
        enable_streaming: config.rpc.enable_streaming,
        keeps_acls: config.acl.is_ruled_out,
    }
}

/// How connections to servers are made and kept.
pub(crate) fn rpc_pool(config: &RuntimeConfig, tls: &rpc::Tls) -> rpc::PoolOptions {
    let options = match config.server {
        true => rpc::PoolOptions::server(),
        false => rpc::PoolOptions::default(),
    };
    let bind = config.network.bind;
    let source = (!bind.is_unspecified()).then(|| SocketAddr::new(bind, 0));
    let dial = rpc::Dial { source, tls: Some(tls.clone()), ..options.dial };
    rpc::PoolOptions { dial, ..options }
}

/// How TLS is spoken on the server port and on the way to it.
///
/// # Errors
/// A file cannot be read, or the settings contradict each other.
pub(crate) fn rpc_tls(config: &RuntimeConfig) -> Result<rpc::Tls, String> {
    rpc::Tls::new(&tls_of_rpc(config)).map_err(|error| error.to_string())
}

/// What is configured of that.
pub(crate) fn tls_of_rpc(config: &RuntimeConfig) -> rpc::TlsSettings {
    let tls = &config.tls.internal_rpc;
    rpc::TlsSettings {
        ca_file: tls.ca_file.clone(),
        ca_path: tls.ca_path.clone(),
        cert_file: tls.cert_file.clone(),
        key_file: tls.key_file.clone(),
        verify_incoming: tls.verify_incoming,
        verify_outgoing: tls.verify_outgoing,
        verify_server_hostname: tls.verify_server_hostname,
        only_tls_1_3: tls.min_version == TlsVersion::V1_3,
        cipher_suites: tls.cipher_suites.clone(),
        datacenter: config.identity.datacenter.clone(),
        domain: config.dns.domain.clone(),
        ..rpc::TlsSettings::default()
    }
}

/// How a client agent asks its servers.
pub(crate) fn client(config: &RuntimeConfig) -> ClientOptions {
    let limits = &config.limits;
    ClientOptions {
        hold_timeout: config.rpc.hold_timeout.to_std(),
        default_query_time: config.http.default_query_time.to_std(),
        max_query_time: config.http.max_query_time.to_std(),
        timeout: limits.rpc_client_timeout.to_std(),
        rate: limits.rpc_rate.unwrap_or(f64::INFINITY),
        burst: u32::try_from(limits.rpc_max_burst).unwrap_or(u32::MAX),
    }
}

/// How connections that speak gRPC are kept alive.
pub(crate) fn keep_alive(config: &RuntimeConfig) -> grpc::KeepAlive {
    grpc::KeepAlive {
        interval: config.rpc.grpc_keepalive_interval.to_std(),
        timeout: config.rpc.grpc_keepalive_timeout.to_std(),
    }
}

/// `consul.coordinate.update_period`, which cannot be configured (`reference/config.md` 8).
fn coordinate_update_period(config: &RuntimeConfig) -> Duration {
    if config.dev { Duration::from_millis(100) } else { Duration::from_secs(5) }
}

/// What autopilot goes by in a new cluster.
fn autopilot(config: &RuntimeConfig) -> AutopilotConfiguration {
    let autopilot = &config.autopilot;
    AutopilotConfiguration {
        cleanup_dead_servers: autopilot.cleanup_dead_servers,
        last_contact_threshold: autopilot.last_contact_threshold,
        max_trailing_logs: autopilot.max_trailing_logs,
        min_quorum: autopilot.min_quorum.into(),
        server_stabilization_time: autopilot.server_stabilization_time,
        ..AutopilotConfiguration::default()
    }
}

/// Whether a leader makes the root of the mesh: the built-in provider does, in the
/// primary datacenter.
fn makes_authority(config: &RuntimeConfig) -> bool {
    let built_in = matches!(config.connect.ca_provider.as_str(), "" | "consul");
    config.connect.enabled && is_primary(config) && built_in
}

/// Whether the datacenter is the one that the others follow.
fn is_primary(config: &RuntimeConfig) -> bool {
    let primary = &config.identity.primary_datacenter;
    primary.is_empty() || *primary == config.identity.datacenter
}

/// How many calls a second the server takes on.
pub(crate) fn request_limits(config: &RuntimeConfig) -> RequestLimits {
    let limits = &config.limits;
    RequestLimits {
        mode: match limits.request_limits_mode {
            RateLimitMode::Disabled => LimitMode::Disabled,
            RateLimitMode::Permissive => LimitMode::Permissive,
            RateLimitMode::Enforcing => LimitMode::Enforcing,
        },
        read_rate: limits.read_rate,
        write_rate: limits.write_rate,
    }
}

/// What consensus wants.
pub(crate) fn raft(config: &RuntimeConfig) -> RaftOptions {
    let at_least = |duration: types::GoDuration| duration.to_std().max(Duration::from_millis(1));
    RaftOptions {
        heartbeat_timeout: at_least(config.raft.heartbeat_timeout),
        election_timeout: at_least(config.raft.election_timeout),
        leader_lease_timeout: at_least(config.raft.leader_lease_timeout),
        pre_vote: !config.raft.prevote_disabled,
        trailing_logs: config.raft.trailing_logs,
        snapshot_threshold: config.raft.snapshot_threshold,
        ..RaftOptions::default()
    }
}

/// How often a client agent fetches what it keeps.
pub(crate) fn fetch_rate(config: &RuntimeConfig) -> FetchRate {
    let CacheConfig { entry_fetch_rate, entry_fetch_max_burst } = config.cache;
    FetchRate { per_second: entry_fetch_rate, burst: entry_fetch_max_burst }
}

/// What the metrics are called, and which of them are kept.
pub(crate) fn telemetry(config: &RuntimeConfig) -> telemetry::Settings {
    let telemetry = &config.telemetry;
    telemetry::Settings {
        prefix: telemetry.metrics_prefix.clone(),
        host: if telemetry.disable_hostname { String::new() } else { environment::host_name() },
        filter: FilterSettings {
            allowed: telemetry.allowed_prefixes.clone(),
            blocked: telemetry.blocked_prefixes.clone(),
            default: telemetry.filter_default,
        },
        sinks: SinkSettings {
            statsd: telemetry.statsd_address.clone(),
            statsite: telemetry.statsite_address.clone(),
            dogstatsd: telemetry.dogstatsd_addr.clone(),
            dogstatsd_tags: telemetry.dogstatsd_tags.clone(),
            retry: telemetry.retry_failed_connection,
        },
        host_metrics: telemetry
            .enable_host_metrics
            .then(|| config.data_dir.clone().unwrap_or_else(|| "/".into())),
        prometheus_retention: telemetry.prometheus_retention_time.to_std(),
    }
}
