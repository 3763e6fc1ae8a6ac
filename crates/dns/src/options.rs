//! What an operator can set, and the form of it that answers are made with.

use std::collections::BTreeMap;

use thiserror::Error;
use types::GoDuration;

use crate::name::Name;

/// The options of `reference/dns.md` section 12 and the three names that
/// generated records carry. `Default` is Consul's default.
#[derive(Clone, Debug, PartialEq)]
pub struct DnsOptions {
    /// The zone that is served, with or without final dot (`domain`).
    pub domain: String,
    /// A second name of the same zone; empty for none (`alt_domain`).
    pub alt_domain: String,
    /// The agent's own datacenter.
    pub datacenter: String,
    /// TTL of node, addr, virtual, NS and glue records (`node_ttl`); whole seconds count.
    pub node_ttl: GoDuration,
    /// TTL by service name; keys ending in `*` are prefixes (`service_ttl`).
    pub service_ttl: BTreeMap<String, GoDuration>,
    /// Whether instances with warnings are left out (`only_passing`).
    pub only_passing: bool,
    /// Whether TC is set on answers that were cut (`enable_truncate`).
    pub enable_truncate: bool,
    /// Most answers over UDP to a client that takes 512 octets (`udp_answer_limit`).
    /// Never more than 8, and one answer always stays.
    pub udp_answer_limit: u32,
    /// Most address records of a service; 0 for no limit (`a_record_limit`).
    pub a_record_limit: u32,
    /// Whether names are written in full (`disable_compression`).
    pub disable_compression: bool,
    /// Whether node metadata is added as TXT (`enable_additional_node_meta_txt`).
    pub enable_additional_node_meta_txt: bool,
    /// The numbers of SOA records (`soa`).
    pub soa: SoaOptions,
    /// Whether `recursors` names any server: sets RA and opens the root zone.
    pub has_recursors: bool,
    /// Whether instances of other datacenters answer with their WAN addresses
    /// (`translate_wan_addrs`).
    pub translate_wan_addrs: bool,
}

/// `dns_config.soa`: seconds (RFC 1035 section 3.3.13).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SoaOptions {
    /// REFRESH.
    pub refresh: u32,
    /// RETRY.
    pub retry: u32,
    /// EXPIRE.
    pub expire: u32,
    /// MINIMUM, and the TTL of the SOA record itself.
    pub min_ttl: u32,
}

impl Default for SoaOptions {
    fn default() -> Self {
        Self { refresh: 3600, retry: 600, expire: 86400, min_ttl: 0 }
    }
}

impl Default for DnsOptions {
    fn default() -> Self {
        Self {
            domain: "consul.".to_owned(),
            alt_domain: String::new(),
            datacenter: "dc1".to_owned(),
            node_ttl: GoDuration::ZERO,
            service_ttl: BTreeMap::new(),
            only_passing: false,
            enable_truncate: false,
            udp_answer_limit: 3,
            a_record_limit: 0,
            disable_compression: false,
            enable_additional_node_meta_txt: true,
            soa: SoaOptions::default(),
            has_recursors: false,
            translate_wan_addrs: false,
        }
    }
}

/// Options that no zone can be made of.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum OptionsError {
    /// The text is not a domain name.
    #[error("{0:?} is not a domain name")]
    Domain(String),
}

/// The served zones and how to answer for them. Made once per configuration
/// and shared by all questions.
#[derive(Clone, Debug)]
pub struct Zones {
    pub(crate) options: DnsOptions,
    pub(crate) domain: Zone,
    pub(crate) alt_domain: Option<Zone>,
    pub(crate) arpa: Name,
    pub(crate) node_ttl: u32,
    service_ttl: BTreeMap<String, u32>,
    /// Prefixes without the `*`, longest first.
    service_ttl_prefixes: Vec<(String, u32)>,
}

/// One served domain.
#[derive(Clone, Debug)]
pub(crate) struct Zone {
    pub(crate) name: Name,
    /// Octets of the zone in a question's text, the dot before it excluded.
    pub(crate) text_octets: usize,
}

/// Which domain a question used: names in its answer end with the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ZoneId {
    /// `domain`.
    Domain,
    /// `alt_domain`.
    AltDomain,
}

impl Zones {
    /// Checks and prepares options.
    pub fn new(options: DnsOptions) -> Result<Self, OptionsError> {
        let domain = Zone::new(&options.domain)?;
        let alt_domain = match options.alt_domain.as_str() {
            "" => None,
            text => Some(Zone::new(text)?),
        };
        let mut arpa = Name::root();
        // Cannot fail: four octets fit into an empty name.
        let _ = arpa.push_label(b"arpa");
        let mut service_ttl = BTreeMap::new();
        let mut service_ttl_prefixes = Vec::new();
        for (key, ttl) in &options.service_ttl {
            let ttl = ttl_seconds(*ttl);
            match key.strip_suffix('*') {
                Some(prefix) => service_ttl_prefixes.push((prefix.to_owned(), ttl)),
                None => drop(service_ttl.insert(key.clone(), ttl)),
            }
        }
        service_ttl_prefixes.sort_by_key(|(prefix, _)| std::cmp::Reverse(prefix.len()));
        let node_ttl = ttl_seconds(options.node_ttl);
        Ok(Self { options, domain, alt_domain, arpa, node_ttl, service_ttl, service_ttl_prefixes })
    }

    /// The options the zones were made of.
    pub fn options(&self) -> &DnsOptions {
        &self.options
    }

    /// The TTL of a service in seconds: exact name, else longest prefix, else 0
    /// (`reference/dns.md` section 5).
    pub fn service_ttl(&self, service: &str) -> u32 {
        let exact = self.service_ttl.get(service).copied();
        exact.unwrap_or_else(|| {
            let mut prefixes = self.service_ttl_prefixes.iter();
            prefixes.find(|(prefix, _)| service.starts_with(prefix.as_str())).map_or(0, |p| p.1)
        })
    }

    pub(crate) fn zone(&self, id: ZoneId) -> &Zone {
        match (id, &self.alt_domain) {
            (ZoneId::AltDomain, Some(zone)) => zone,
            _ => &self.domain,
        }
    }

    /// The own domain that `name` lies in; the longer one if both match.
    pub(crate) fn own_zone(&self, name: &Name) -> Option<ZoneId> {
        let domain = name.is_within(&self.domain.name).then_some(ZoneId::Domain);
        let alt_domain = self
            .alt_domain
            .as_ref()
            .filter(|zone| name.is_within(&zone.name))
            .filter(|zone| domain.is_none() || zone.text_octets > self.domain.text_octets);
        alt_domain.map(|_| ZoneId::AltDomain).or(domain)
    }
}

impl Zone {
    fn new(text: &str) -> Result<Self, OptionsError> {
        let wrong = || OptionsError::Domain(text.to_owned());
        let name = Name::from_text(&text.to_ascii_lowercase()).ok_or_else(wrong)?;
        Ok(Self { text_octets: name.lowercase_text().len(), name })
    }
}

/// Whole seconds of a TTL; below zero is zero.
pub(crate) fn ttl_seconds(ttl: GoDuration) -> u32 {
    u32::try_from(ttl.to_std().as_secs()).unwrap_or(u32::MAX)
}
