//! Which services a service speaks to, and which speak to it.
//!
//! Known from what proxies say of their upstreams. Intentions and config entries would
//! say more; without them every service may speak to every other.

use std::collections::BTreeSet;

use acl::{Authorizer, Permission, PermissionDenied, Resource};
use contract::{CallError, Found, Pruned, Query};
use serde::Serialize;
use store::Reader;
use types::catalog::CheckServiceNode;

use super::services::instances;
use super::summary::{PROXY, ServiceSummary, Summaries};
use crate::catalog::can_see_service;
use crate::health;

/// The protocol of services that nobody configured.
const DEFAULT_PROTOCOL: &str = "tcp";

/// The neighbours of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceTopology {
    /// The service.
    pub service: String,
}

/// The answer to [`ServiceTopology`], before and after it is boiled down.
#[derive(Clone, Debug, Serialize)]
#[serde(untagged)]
pub enum Topology {
    /// The instances of all services, and whether some were taken away.
    #[serde(skip)]
    Instances(Vec<CheckServiceNode>, bool),
    /// What is shown.
    Neighbours(Neighbours),
}

/// The services around one.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub struct Neighbours {
    protocol: &'static str,
    transparent_proxy: bool,
    upstreams: Vec<Neighbour>,
    downstreams: Vec<Neighbour>,
    #[serde(rename = "FilteredByACLs")]
    filtered_by_acls: bool,
}

#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Neighbour {
    #[serde(flatten)]
    summary: ServiceSummary,
    source: &'static str,
    intention: IntentionDecision,
}

/// Whether the one may speak to the other.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct IntentionDecision {
    default_allow: bool,
    allowed: bool,
    has_permissions: bool,
    external_source: &'static str,
    has_exact: bool,
}

impl contract::remote::RemoteQuery for ServiceTopology {}

impl Query for ServiceTopology {
    const NAME: &'static str = "Internal.ServiceTopology";
    type Reply = Topology;

    fn authorize(&self, who: &Authorizer) -> Result<(), PermissionDenied> {
        who.require(Permission::read(Resource::Service, &self.service))
    }

    fn run(&self, reader: &mut Reader<'_>) -> Found<Topology> {
        let index = reader.max_index_of(&["services", "nodes", "checks"]);
        Found::new(index, Topology::Instances(instances(reader.unwatched()), false))
    }

    fn prune(&self, who: &Authorizer, reply: Topology) -> Pruned<Topology> {
        let Topology::Instances(rows, _) = reply else { return Pruned::nothing(reply) };
        let kept = health::keep_visible(who, rows);
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
        Pruned { reply: Topology::Instances(rows, removed), removed }
    }

    fn refine(&self, reply: Topology) -> Result<Topology, CallError> {
        let Topology::Instances(rows, removed) = reply else { return Ok(reply) };
        let summaries = Summaries::of(&rows);
        let proxies = || rows.iter().filter(|row| row.service.kind == PROXY);
        let target = |row: &CheckServiceNode| row.service.proxy.destination_service_name.clone();
        let own = || proxies().filter(|row| target(row).as_str() == self.service);
        let up: BTreeSet<&str> = own().flat_map(upstreams).collect();
        let down: BTreeSet<String> = proxies()
            .filter(|row| upstreams(row).any(|name| name == self.service))
            .map(|row| target(row).as_str().to_owned())
            .collect();
        let neighbour = |name: &str| Neighbour {
            summary: summaries.get(name).0,
            source: "proxy-registration",
            intention: IntentionDecision {
                default_allow: true,
                allowed: true,
                has_permissions: false,
                external_source: "",
                has_exact: false,
            },
        };
        Ok(Topology::Neighbours(Neighbours {
            protocol: DEFAULT_PROTOCOL,
            transparent_proxy: own().any(|row| row.service.proxy.mode == "transparent"),
            upstreams: up.into_iter().map(neighbour).collect(),
            downstreams: down.iter().map(|name| neighbour(name)).collect(),
            filtered_by_acls: removed,
        }))
    }
}

/// The services of this cluster that a proxy reaches for its application.
fn upstreams(row: &CheckServiceNode) -> impl Iterator<Item = &str> {
    let local = row.service.proxy.upstreams.iter().filter(|upstream| {
        matches!(upstream.destination_type.as_str(), "" | "service")
            && upstream.destination_peer.is_empty()
    });
    local.map(|upstream| upstream.destination_name.as_str())
}
