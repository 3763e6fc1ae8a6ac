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
pub const BUILT: &[Feature] = &[Feature::Agent, Feature::Coordinates, Feature::TelemetrySinks];
