//! What can change while the server runs.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use config::runtime::{self, DnsConfig};
use dns::{DnsOptions, OptionsError, RecursorAddress, RecursorStrategy, SoaOptions, Zones};
use thiserror::Error;
use types::GoDuration;

/// How long the name of one recursor may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How to answer: the configuration in the form that questions need. Made anew on
/// every reload.
#[derive(Clone, Debug)]
pub struct DnsSettings {
    /// The served zones.
    pub zones: Zones,
    /// Who is asked about other names, as configured.
    pub recursors: Vec<SocketAddr>,
    /// In which order.
    pub recursor_strategy: RecursorStrategy,
    /// How long each is waited for.
    pub recursor_timeout: Duration,
    /// How old rows may be.
    pub freshness: Freshness,
}

/// How old rows may be (`reference/dns.md` section 7).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Freshness {
    /// Whether any server may answer.
    pub allow_stale: bool,
    /// Older rows are asked for again at the leader.
    pub max_stale: GoDuration,
    /// Whether rows may come from the agent's cache.
    pub use_cache: bool,
    /// The oldest row that is taken from there; zero for no limit.
    pub cache_max_age: GoDuration,
}

/// Settings that no server can work with.
#[derive(Debug, Error)]
pub enum SettingsError {
    /// `domain` or `alt_domain` is wrong.
    #[error(transparent)]
    Zones(#[from] OptionsError),
    /// The text is no address.
    #[error("Invalid recursor address: {0}")]
    Recursor(String),
    /// A recursor's host name has no address.
    #[error("Failed to resolve recursor {host:?}: {error}")]
    Resolve {
        /// The name.
        host: String,
        /// What the resolver said.
        error: io::Error,
    },
}

impl DnsSettings {
    /// Prepares a configuration. Host names of recursors are resolved here, once.
    pub async fn new(
        config: &DnsConfig,
        datacenter: &str,
        translate_wan_addrs: bool,
    ) -> Result<Self, SettingsError> {
        let mut recursors = Vec::with_capacity(config.recursors.len());
        for text in &config.recursors {
            recursors.push(resolve(text).await?);
        }
        let zones = Zones::new(options(config, datacenter, translate_wan_addrs))?;
        let recursor_strategy = match config.recursor_strategy {
            runtime::RecursorStrategy::Sequential => RecursorStrategy::Sequential,
            runtime::RecursorStrategy::Random => RecursorStrategy::Random,
        };
        let freshness = Freshness {
            allow_stale: config.allow_stale,
            max_stale: config.max_stale,
            use_cache: config.use_cache,
            cache_max_age: config.cache_max_age,
        };
        let recursor_timeout = config.recursor_timeout.to_std();
        Ok(Self { zones, recursors, recursor_strategy, recursor_timeout, freshness })
    }
}

fn options(config: &DnsConfig, datacenter: &str, translate_wan_addrs: bool) -> DnsOptions {
    let limit = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
    let soa = config.soa;
    DnsOptions {
        domain: config.domain.clone(),
        alt_domain: config.alt_domain.clone(),
        datacenter: datacenter.to_owned(),
        node_ttl: config.node_ttl,
        service_ttl: config.service_ttl.clone(),
        only_passing: config.only_passing,
        enable_truncate: config.enable_truncate,
        udp_answer_limit: limit(config.udp_answer_limit),
        a_record_limit: limit(config.a_record_limit),
        disable_compression: config.disable_compression,
        enable_additional_node_meta_txt: config.enable_additional_node_meta_txt,
        soa: SoaOptions {
            refresh: soa.refresh,
            retry: soa.retry,
            expire: soa.expire,
            min_ttl: soa.min_ttl,
        },
        has_recursors: !config.recursors.is_empty(),
        translate_wan_addrs,
    }
}

async fn resolve(text: &str) -> Result<SocketAddr, SettingsError> {
    let address = RecursorAddress::parse(text);
    match address.ok_or_else(|| SettingsError::Recursor(text.to_owned()))? {
        RecursorAddress::Socket(address) => Ok(address),
        RecursorAddress::Host(host, port) => {
            let found = tokio::time::timeout(RESOLVE_TIMEOUT, first_address(&host, port)).await;
            found
                .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
                .map_err(|error| SettingsError::Resolve { host, error })
        }
    }
}

/// The first address of a host, IPv4 preferred.
async fn first_address(host: &str, port: u16) -> io::Result<SocketAddr> {
    let mut found: Vec<SocketAddr> = tokio::net::lookup_host((host, port)).await?.collect();
    found.sort_by_key(SocketAddr::is_ipv6);
    found.first().copied().ok_or_else(|| io::Error::other("no such host"))
}
