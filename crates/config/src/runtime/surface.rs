//! What clients meet: DNS, HTTP, UI, limits, TLS, telemetry.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use ipnet::IpNet;
use types::GoDuration;

/// The DNS server (`reference/dns.md`). All of `dns_config` applies on reload.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct DnsConfig {
    /// As configured, `consul.` by default.
    pub domain: String,
    /// A second domain, or empty.
    pub alt_domain: String,
    /// Servers asked about other names: `host:port`, where host may be a name and
    /// an IPv6 address stands in brackets.
    pub recursors: Vec<String>,
    /// Answers from any server.
    pub allow_stale: bool,
    /// Most address records in an answer; 0 for no limit.
    pub a_record_limit: usize,
    /// Longest age of a cached answer.
    pub cache_max_age: GoDuration,
    /// No name compression.
    pub disable_compression: bool,
    /// TXT records with node metadata beside other answers.
    pub enable_additional_node_meta_txt: bool,
    /// Set TC when an answer was shortened.
    pub enable_truncate: bool,
    /// Oldest answer taken from a server that is not the leader.
    pub max_stale: GoDuration,
    /// TTL of node answers.
    pub node_ttl: GoDuration,
    /// Leave out instances that only warn.
    pub only_passing: bool,
    /// In which order recursors are asked.
    pub recursor_strategy: RecursorStrategy,
    /// How long one recursor is waited for.
    pub recursor_timeout: GoDuration,
    /// TTL by service; a key may end in `*`.
    pub service_ttl: BTreeMap<String, GoDuration>,
    /// The SOA record.
    pub soa: SoaConfig,
    /// Most records in a UDP answer.
    pub udp_answer_limit: usize,
    /// Answer from the agent's cache.
    pub use_cache: bool,
}

/// In which order recursors are asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RecursorStrategy {
    /// As configured.
    #[default]
    Sequential,
    /// Shuffled for each question.
    Random,
}

/// Numbers of the SOA record, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SoaConfig {
    /// Refresh.
    pub refresh: u32,
    /// Retry.
    pub retry: u32,
    /// Expire.
    pub expire: u32,
    /// Minimum TTL.
    pub min_ttl: u32,
}

/// The HTTP server.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct HttpConfig {
    /// Path prefixes that are refused.
    pub block_endpoints: Vec<String>,
    /// Headers added to every answer.
    pub response_headers: BTreeMap<String, String>,
    /// Networks that may write; empty for all.
    pub allow_write_http_from: Vec<IpNet>,
    /// Whether `?cached` uses the agent's cache.
    pub use_cache: bool,
    /// Most bytes of request headers; 0 for 1 MiB.
    pub max_header_bytes: usize,
    /// Wait of a blocking query that names none.
    pub default_query_time: GoDuration,
    /// Longest wait of a blocking query.
    pub max_query_time: GoDuration,
    /// Whether unprintable characters in paths are let through.
    pub disable_unprintable_char_filter: bool,
}

/// The web interface.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct UiConfig {
    /// Whether it is served.
    pub enabled: bool,
    /// Files served instead of the built-in ones.
    pub dir: Option<PathBuf>,
    /// Begins and ends with `/`.
    pub content_path: String,
    /// Name of the metrics provider.
    pub metrics_provider: String,
    /// Scripts of metrics providers.
    pub metrics_provider_files: Vec<String>,
    /// A JSON object.
    pub metrics_provider_options_json: String,
    /// The proxy to the metrics store.
    pub metrics_proxy: MetricsProxy,
    /// Links to dashboards by name.
    pub dashboard_url_templates: BTreeMap<String, String>,
}

impl UiConfig {
    /// Whether there is a web interface, ours or another.
    pub fn is_served(&self) -> bool {
        self.enabled || self.dir.is_some()
    }
}

/// The proxy to the metrics store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MetricsProxy {
    /// `http` or `https`; empty for no proxy.
    pub base_url: String,
    /// Headers added to requests, in order.
    pub add_headers: Vec<(String, String)>,
    /// Paths that may be asked.
    pub path_allowlist: Vec<String>,
}

/// What the rate limit does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RateLimitMode {
    /// Nothing.
    #[default]
    Disabled,
    /// Log and count.
    Permissive,
    /// Refuse.
    Enforcing,
}

/// Limits on clients. Rates are per second; `None` is unlimited.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Limits {
    /// HTTP connections of one client address; 0 for no limit.
    pub http_max_conns_per_client: usize,
    /// TLS handshake on the HTTPS port.
    pub https_handshake_timeout: GoDuration,
    /// TLS handshake on the RPC port.
    pub rpc_handshake_timeout: GoDuration,
    /// Reply of a server to a client agent.
    pub rpc_client_timeout: GoDuration,
    /// RPC calls that a client agent makes.
    pub rpc_rate: Option<f64>,
    /// Burst of those.
    pub rpc_max_burst: usize,
    /// RPC connections of one client address; 0 for no limit.
    pub rpc_max_conns_per_client: usize,
    /// Largest value of a key, bytes.
    pub kv_max_value_size: u64,
    /// Largest transaction, bytes.
    pub txn_max_req_len: u64,
    /// What the request limits do.
    pub request_limits_mode: RateLimitMode,
    /// Reads.
    pub read_rate: Option<f64>,
    /// Writes.
    pub write_rate: Option<f64>,
}

impl Limits {
    /// Fails when the process may not open enough files for the connections
    /// that `http_max_conns_per_client` allows. `allowed` is the soft limit.
    pub fn check_open_files(&self, allowed: u64) -> Result<(), String> {
        let configured = self.http_max_conns_per_client as u64;
        let needed = configured.saturating_add(20);
        if allowed >= needed {
            return Ok(());
        }
        Err(format!(
            "system allows a max of {allowed} file descriptors, but \
             limits.http_max_conns_per_client: {configured} needs at least {needed}"
        ))
    }
}

/// TLS protocol versions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum TlsVersion {
    /// `TLS_AUTO`
    Auto,
    /// `TLSv1_0`
    V1_0,
    /// `TLSv1_1`
    V1_1,
    /// `TLSv1_2`
    #[default]
    V1_2,
    /// `TLSv1_3`
    V1_3,
}

impl TlsVersion {
    /// All versions with their configuration names.
    pub const ALL: [(&'static str, TlsVersion); 5] = [
        ("TLS_AUTO", Self::Auto),
        ("TLSv1_0", Self::V1_0),
        ("TLSv1_1", Self::V1_1),
        ("TLSv1_2", Self::V1_2),
        ("TLSv1_3", Self::V1_3),
    ];
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, version)| version == self).map(|(name, _)| *name);
        f.write_str(name.unwrap_or_default())
    }
}

/// TLS of one listener; unset keys were taken from `tls.defaults`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsListenerConfig {
    /// Authorities, one file.
    pub ca_file: Option<PathBuf>,
    /// Authorities, a folder.
    pub ca_path: Option<PathBuf>,
    /// Own certificate.
    pub cert_file: Option<PathBuf>,
    /// Own key.
    pub key_file: Option<PathBuf>,
    /// Oldest version spoken.
    pub min_version: TlsVersion,
    /// Suites below 1.3, by name; empty for the default set.
    pub cipher_suites: Vec<String>,
    /// Whether peers need a certificate.
    pub verify_incoming: bool,
    /// Whether own connections use TLS and verify.
    pub verify_outgoing: bool,
    /// Whether own connections check `server.<dc>.<domain>`.
    pub verify_server_hostname: bool,
    /// Whether the certificate made by auto-encrypt is used (gRPC only).
    pub use_auto_cert: bool,
}

/// TLS of all listeners. Applies on reload.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TlsConfig {
    /// Between agents.
    pub internal_rpc: TlsListenerConfig,
    /// The HTTPS port.
    pub https: TlsListenerConfig,
    /// The gRPC TLS port.
    pub grpc: TlsListenerConfig,
    /// `server_name`: own name in TLS, or empty.
    pub server_name: String,
    /// A client that gets its certificate from the servers.
    pub auto_encrypt: bool,
    /// A server that gives them.
    pub auto_encrypt_allow: bool,
}

impl TlsConfig {
    /// What can be told to be wrong without reading the files, in the words
    /// that the agent prints when it starts.
    pub fn check(&self) -> Result<(), String> {
        for listener in [&self.internal_rpc, &self.grpc, &self.https] {
            let no_authority = listener.ca_file.is_none() && listener.ca_path.is_none();
            if listener.verify_outgoing && no_authority && !self.auto_encrypt {
                return Err("VerifyOutgoing set but no CA certificates were provided".to_owned());
            }
            if !listener.verify_incoming {
                continue;
            }
            if no_authority && !self.auto_encrypt_allow {
                return Err("VerifyIncoming set but no CA certificates were provided".to_owned());
            }
            let no_certificate = listener.cert_file.is_none() || listener.key_file.is_none();
            if no_certificate && !self.auto_encrypt_allow {
                return Err("VerifyIncoming set but no Certificate and Private Key were provided"
                    .to_owned());
            }
        }
        Ok(())
    }
}

/// Metrics (`reference/telemetry.md`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TelemetryConfig {
    /// First part of every name.
    pub metrics_prefix: String,
    /// No host name in gauges.
    pub disable_hostname: bool,
    /// Whether a metric that no rule names is kept.
    pub filter_default: bool,
    /// Prefixes kept.
    pub allowed_prefixes: Vec<String>,
    /// Prefixes dropped.
    pub blocked_prefixes: Vec<String>,
    /// How long Prometheus may take to read a value; zero disables the format.
    pub prometheus_retention_time: GoDuration,
    /// `host:port`, or empty.
    pub statsd_address: String,
    /// `host:port`, or empty.
    pub statsite_address: String,
    /// `host:port`, or empty.
    pub dogstatsd_addr: String,
    /// Tags for DogStatsD.
    pub dogstatsd_tags: Vec<String>,
    /// Whether a collector that cannot be reached at the start is tried again.
    pub retry_failed_connection: bool,
    /// Metrics of the machine.
    pub enable_host_metrics: bool,
}
