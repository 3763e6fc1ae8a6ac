//! Every option of the agent, once.
//!
//! [`all`] is the list: key, type, default, whether a reload applies it, and
//! which feature it belongs to, split by subject into the modules below. Typing
//! errors, unknown keys, merging, defaults, notes about features that are not
//! built, and the golden list of keys come from it (`reference/config.md`
//! sections 2 to 4).

mod agent;
mod cluster;
pub mod definitions;
pub mod deprecated;
mod security;
mod surface;

use std::collections::BTreeMap;
use std::sync::OnceLock;

use definitions::Field;

/// The type of an option.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// `true` or `false`.
    Bool,
    /// A whole number.
    Int,
    /// A number.
    Float,
    /// Text.
    Str,
    /// Text that is a Go duration.
    Duration,
    /// A list of texts; sources append.
    List,
    /// Text to text; sources overlay.
    Map,
    /// Text to list of texts.
    ListMap,
    /// Text to objects of these fields.
    ObjectMap(&'static [Field]),
    /// One object of these fields.
    Object(&'static [Field]),
    /// One object of the fields of a service: a service inside a service.
    Service,
    /// A list of objects of these fields; sources append.
    Objects(&'static [Field]),
    /// An object with free keys and values; sources overlay.
    Free,
    /// A list of objects with free keys and values; sources append.
    FreeObjects,
    /// A text or a list of texts.
    StrOrList,
}

/// The part of the product that gives an option its effect. A part that is not
/// in [`BUILT`] makes each of its options "accepted, no effect yet".
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Feature {
    /// A single server or dev agent: HTTP, DNS, services, checks, KV, Raft.
    Agent,
    /// Access control.
    Acl,
    /// The mesh: certificates, intentions, proxies, xDS.
    Connect,
    /// `auto_encrypt`.
    AutoEncrypt,
    /// `auto_config`.
    AutoConfig,
    /// Cluster peering.
    Peering,
    /// Gossip, joining and its encryption.
    Gossip,
    /// Several servers: voting, autopilot.
    Cluster,
    /// Calls among agents: the server port, and client agents.
    Rpc,
    /// Other datacenters.
    Wan,
    /// TLS between agents and gRPC.
    InternalTls,
    /// gRPC and xDS.
    Grpc,
    /// Watches.
    Watches,
    /// Metrics sent to collectors, and those of the machine.
    TelemetrySinks,
    /// Metrics sent to Circonus, whose service has ended.
    Circonus,
    /// Pages of the web interface.
    Ui,
    /// Config entries made at start.
    ConfigEntries,
    /// The agent's cache and streaming.
    Cache,
    /// Rate limits.
    RateLimits,
    /// Syslog.
    Syslog,
    /// Reloading when a file changes.
    AutoReload,
    /// HashiCorp's cloud: never built.
    Cloud,
    /// Coordinates.
    Coordinates,
    /// Consul's other log store and its verification.
    LogStore,
}

/// The features that exist. Adding one here makes its options take effect.
pub const BUILT: &[Feature] = &[
    Feature::Agent,
    Feature::Gossip,
    Feature::Cluster,
    Feature::Rpc,
    Feature::Wan,
    Feature::RateLimits,
    Feature::Syslog,
    Feature::AutoReload,
    Feature::Coordinates,
    Feature::TelemetrySinks,
    Feature::Watches,
];

/// One option.
#[derive(Clone, Copy, Debug)]
pub struct Opt {
    /// Dotted path, lower-case.
    pub key: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its default as text; empty for none or for one that depends on others.
    pub default: &'static str,
    /// Whether a reload applies it.
    pub reloadable: bool,
    /// Whether it belongs to the Enterprise edition: a warning, no effect.
    pub enterprise: bool,
    /// Whether its value is never shown.
    pub secret: bool,
    /// What gives it its effect.
    pub feature: Feature,
    /// One line for people.
    pub help: &'static str,
}

impl Opt {
    const fn new(key: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Self {
        Self {
            key,
            kind,
            default,
            reloadable: false,
            enterprise: false,
            secret: false,
            feature: Feature::Agent,
            help,
        }
    }

    const fn reloads(mut self) -> Self {
        self.reloadable = true;
        self
    }

    const fn enterprise(mut self) -> Self {
        self.enterprise = true;
        self
    }

    const fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    const fn of(mut self, feature: Feature) -> Self {
        self.feature = feature;
        self
    }

    /// Whether setting it changes nothing because its feature is not built.
    pub fn is_without_effect(&self) -> bool {
        !self.enterprise && !BUILT.contains(&self.feature)
    }
}

const fn flag(key: &'static str, default: bool, help: &'static str) -> Opt {
    Opt::new(key, Kind::Bool, if default { "true" } else { "false" }, help)
}

const fn int(key: &'static str, default: &'static str, help: &'static str) -> Opt {
    Opt::new(key, Kind::Int, default, help)
}

const fn float(key: &'static str, default: &'static str, help: &'static str) -> Opt {
    Opt::new(key, Kind::Float, default, help)
}

const fn text(key: &'static str, default: &'static str, help: &'static str) -> Opt {
    Opt::new(key, Kind::Str, default, help)
}

const fn duration(key: &'static str, default: &'static str, help: &'static str) -> Opt {
    Opt::new(key, Kind::Duration, default, help)
}

const fn list(key: &'static str, help: &'static str) -> Opt {
    Opt::new(key, Kind::List, "", help)
}

const fn map(key: &'static str, help: &'static str) -> Opt {
    Opt::new(key, Kind::Map, "", help)
}

const fn of_kind(key: &'static str, kind: Kind, help: &'static str) -> Opt {
    Opt::new(key, kind, "", help)
}

/// The help text, and mark, of options that the agent sets by itself whatever a
/// source says (`reference/config.md` section 8).
pub(crate) const NOT_CONFIGURABLE: &str = "Not configurable.";

/// The lists by subject.
const SUBJECTS: &[&[Opt]] =
    &[agent::OPTIONS, surface::OPTIONS, security::OPTIONS, cluster::OPTIONS];

/// Every option, by subject.
pub fn all() -> impl Iterator<Item = &'static Opt> {
    SUBJECTS.iter().flat_map(|subject| subject.iter())
}

/// The option of a dotted key.
pub fn find(key: &str) -> Option<&'static Opt> {
    index().get(key).copied()
}

/// Whether some option lies below the dotted path `path`.
pub(crate) fn is_block(path: &str) -> bool {
    let prefix = format!("{path}.");
    index().range(prefix.as_str()..).next().is_some_and(|(key, _)| key.starts_with(&prefix))
}

fn index() -> &'static BTreeMap<&'static str, &'static Opt> {
    static INDEX: OnceLock<BTreeMap<&'static str, &'static Opt>> = OnceLock::new();
    INDEX.get_or_init(|| all().map(|option| (option.key, option)).collect())
}
