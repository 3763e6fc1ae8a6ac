//! Which services a service speaks to, and which speak to it.
//!
//! Known from what proxies say of their upstreams. Intentions and config entries would
//! say more; without them every service may speak to every other.

use std::collections::{BTreeMap, BTreeSet};

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{CallError, Found, Pruned, Query};
use serde::{Deserialize, Serialize, Serializer};
use store::Reader;
use types::catalog::CheckServiceNode;

use super::services::instances;
use super::summary::{PROXY, ServiceSummary, Summaries};
use crate::catalog::can_see_service;
use crate::health;

/// The protocol of services that nobody configured.
const DEFAULT_PROTOCOL: &str = "tcp";

/// How a neighbour is known: from what a proxy was registered with.
const REGISTRATION: &str = "proxy-registration";

/// The neighbours of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceTopology {
    /// The service.
    pub service: String,
}

/// The answer to [`ServiceTopology`]. What is shown are the services that the instances
/// make.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Neighbours {
    /// Instances of the services it speaks to, and of their proxies.
    pub(super) upstreams: Vec<CheckServiceNode>,
    /// How these are known, by service.
    pub(super) upstream_sources: BTreeMap<String, String>,
    /// Whether it may speak to them.
    pub(super) upstream_decisions: BTreeMap<String, IntentionDecision>,
    /// Instances of the services that speak to it, and of their proxies.
    pub(super) downstreams: Vec<CheckServiceNode>,
    /// How these are known, by service.
    pub(super) downstream_sources: BTreeMap<String, String>,
    /// Whether they may speak to it.
    pub(super) downstream_decisions: BTreeMap<String, IntentionDecision>,
    /// The protocol that it speaks.
    pub(super) metrics_protocol: String,
    /// Whether a proxy of its catches all traffic.
    pub(super) transparent_proxy: bool,
}

/// See [`Neighbours`]; before it is boiled down, all instances.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Topology {
    /// The instances of all services, while it is decided which count.
    instances: Vec<CheckServiceNode>,
    /// What counts.
    pub(super) neighbours: Neighbours,
    /// Whether something was taken away.
    pub(super) filtered_by_acls: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Shown<'t> {
    protocol: &'t str,
    transparent_proxy: bool,
    upstreams: Vec<Neighbour<'t>>,
    downstreams: Vec<Neighbour<'t>>,
    #[serde(rename = "FilteredByACLs")]
    filtered_by_acls: bool,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Neighbour<'t> {
    #[serde(flatten)]
    summary: ServiceSummary,
    source: &'t str,
    intention: IntentionDecision,
}

/// Whether the one may speak to the other.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct IntentionDecision {
    default_allow: bool,
    allowed: bool,
    has_permissions: bool,
    external_source: String,
    has_exact: bool,
}

impl Serialize for Topology {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = &self.neighbours;
        Shown {
            protocol: &of.metrics_protocol,
            transparent_proxy: of.transparent_proxy,
            upstreams: neighbours(&of.upstreams, &of.upstream_sources, &of.upstream_decisions),
            downstreams: neighbours(
                &of.downstreams,
                &of.downstream_sources,
                &of.downstream_decisions,
            ),
            filtered_by_acls: self.filtered_by_acls,
        }
        .serialize(serializer)
    }
}

fn neighbours<'t>(
    rows: &[CheckServiceNode],
    sources: &'t BTreeMap<String, String>,
    decisions: &BTreeMap<String, IntentionDecision>,
) -> Vec<Neighbour<'t>> {
    let summaries = Summaries::of(rows);
    let neighbour = |(name, source): (&String, &'t String)| Neighbour {
        summary: summaries.get(name).0,
        source,
        intention: decisions.get(name).cloned().unwrap_or_default(),
    };
    sources.iter().map(neighbour).collect()
}

impl Query for ServiceTopology {
    const NAME: &'static str = "Internal.ServiceTopology";
    type Reply = Topology;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Service, &self.service))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Topology> {
        let index = reader.max_index_of(&["services", "nodes", "checks"]);
        let instances = instances(reader.unwatched());
        Found::new(index, Topology { instances, ..Topology::default() })
    }

    fn prune(&self, who: &Authorizer, reply: Topology) -> Pruned<Topology> {
        let kept = health::keep_visible(who, reply.instances);
        // A proxy may name services that nobody may know of.
        let hidden = kept.reply.iter().any(|row| {
            let names = upstreams(row).chain([row.service.proxy.destination_service_name.as_str()]);
            names.filter(|name| !name.is_empty()).any(|name| !can_see_service(who, name))
        });
        let mut rows = kept.reply;
        if hidden {
            for row in &mut rows {
                if upstreams(row).any(|name| !can_see_service(who, name)) {
                    let service = std::sync::Arc::make_mut(&mut row.service);
                    service.proxy.upstreams.retain(|up| can_see_service(who, &up.destination_name));
                }
            }
            rows.retain(|row| {
                let target = row.service.proxy.destination_service_name.as_str();
                target.is_empty() || can_see_service(who, target)
            });
        }
        let removed = kept.removed || hidden;
        let reply = Topology { instances: rows, filtered_by_acls: removed, ..reply };
        Pruned { reply, removed }
    }

    fn refine(&self, reply: Topology) -> Result<Topology, CallError> {
        let rows = reply.instances;
        let proxies = || rows.iter().filter(|row| row.service.kind == PROXY);
        let own = || proxies().filter(|row| target(row) == self.service);
        let up: BTreeSet<&str> = own().flat_map(upstreams).collect();
        let reaches = |row: &&CheckServiceNode| upstreams(row).any(|name| name == self.service);
        let down: BTreeSet<&str> = proxies().filter(reaches).map(target).collect();
        let neighbours = Neighbours {
            upstreams: rows_of(&rows, &up),
            upstream_sources: for_each(&up, REGISTRATION.to_owned()),
            upstream_decisions: for_each(&up, IntentionDecision::allowed()),
            downstreams: rows_of(&rows, &down),
            downstream_sources: for_each(&down, REGISTRATION.to_owned()),
            downstream_decisions: for_each(&down, IntentionDecision::allowed()),
            metrics_protocol: DEFAULT_PROTOCOL.to_owned(),
            transparent_proxy: own().any(|row| row.service.proxy.mode == "transparent"),
        };
        Ok(Topology { instances: Vec::new(), neighbours, ..reply })
    }
}

impl Topology {
    /// What came from another server.
    pub(super) fn received(neighbours: Neighbours, filtered_by_acls: bool) -> Self {
        Self { instances: Vec::new(), neighbours, filtered_by_acls }
    }
}

impl IntentionDecision {
    /// Nothing is said of the two.
    fn allowed() -> Self {
        Self { default_allow: true, allowed: true, ..Self::default() }
    }
}

/// The service that a proxy stands for.
fn target(row: &CheckServiceNode) -> &str {
    row.service.proxy.destination_service_name.as_str()
}

/// The instances of these services, and of the proxies that stand for them.
fn rows_of(rows: &[CheckServiceNode], names: &BTreeSet<&str>) -> Vec<CheckServiceNode> {
    let counts = |row: &&CheckServiceNode| {
        let stands_for = row.service.kind == PROXY && names.contains(target(row));
        stands_for || names.contains(row.service.service.as_str())
    };
    rows.iter().filter(counts).cloned().collect()
}

fn for_each<T: Clone>(names: &BTreeSet<&str>, value: T) -> BTreeMap<String, T> {
    names.iter().map(|name| ((*name).to_owned(), value.clone())).collect()
}

/// The services of this cluster that a proxy reaches for its application.
fn upstreams(row: &CheckServiceNode) -> impl Iterator<Item = &str> {
    let local = row.service.proxy.upstreams.iter().filter(|upstream| {
        matches!(upstream.destination_type.as_str(), "" | "service")
            && upstream.destination_peer.is_empty()
    });
    local.map(|upstream| upstream.destination_name.as_str())
}
