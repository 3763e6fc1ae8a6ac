//! What a member calls for: from its state in gossip and in the catalog to changes of both
//! the quorum and the catalog. No clock and no I/O.

use std::collections::{BTreeMap, BTreeSet};

use domains::catalog::{CHECKS, NODES, SERVICES, check_key, instance_key, node_key};
use raft::ServerId;
use store::State;
use types::NodeName;
use types::catalog::{DeregisterRequest, Meta, Node, NodeService, RegisterRequest, Weights};
use types::check::{HealthCheck, Status};
use types::member::{Member, MemberStatus};

use crate::server_member::{self, ServerMember};

/// The check that says what gossip knows of a node. Nodes without it were registered by
/// hand and are nobody's business here.
const SERF_HEALTH: &str = "serfHealth";

/// The service that stands for a server.
const CONSUL: &str = "consul";

/// What is to be done about one member.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// To the quorum, first.
    pub(super) quorum: Option<QuorumChange>,
    /// To the catalog.
    pub(super) catalog: Option<CatalogChange>,
}

/// A change of who is in the quorum. It may be so already.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum QuorumChange {
    Add(ServerMember),
    Remove(ServerId),
}

/// A change of the catalog, which is not so yet.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum CatalogChange {
    Alive(RegisterRequest),
    Failed(RegisterRequest),
    Gone(DeregisterRequest, Reason),
}

/// Why a node leaves the catalog.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It said so.
    Left,
    /// It failed for so long that gossip forgot it.
    Reaped,
}

impl Reason {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Left => "left",
            Self::Reaped => "reaped",
        }
    }
}

/// What is known beside the member.
pub(super) struct World<'w> {
    /// The catalog.
    pub(super) state: &'w State,
    /// The node of this server.
    pub(super) own: &'w NodeName,
}

impl World<'_> {
    /// What this member calls for as it is.
    pub(super) fn plan(&self, member: &Member) -> Plan {
        match member.status {
            MemberStatus::ALIVE => Plan {
                quorum: ServerMember::parse(member).map(QuorumChange::Add),
                catalog: self.alive(member).map(CatalogChange::Alive),
            },
            MemberStatus::FAILED => {
                let catalog = self.failed(member).map(CatalogChange::Failed);
                Plan { quorum: None, catalog }
            }
            MemberStatus::LEFT => self.plan_gone(member, Reason::Left),
            // Who is leaving will have left before long.
            _ => Plan::default(),
        }
    }

    /// What a member that is no longer one calls for.
    pub(super) fn plan_gone(&self, member: &Member, reason: Reason) -> Plan {
        if same_name(&member.name, self.own.as_str()) {
            return Plan::default();
        }
        let known = self.node(&member.name).is_some();
        Plan {
            quorum: ServerMember::parse(member).map(|server| QuorumChange::Remove(server.id)),
            catalog: known.then(|| gone(&member.name, reason)),
        }
    }

    /// What the nodes call for that gossip once knew, and does not any more.
    pub(super) fn plan_strangers(&self, members: &[Member]) -> Vec<(NodeName, Plan)> {
        let known: BTreeSet<String> =
            members.iter().map(|member| member.name.to_lowercase()).collect();
        let watched = self.state.peek_prefix(&CHECKS, b"").filter(|check| {
            check.check_id.as_str() == SERF_HEALTH
                && check.peer_name.is_empty()
                && !same_name(check.node.as_str(), self.own.as_str())
                && !known.contains(&check.node.as_str().to_lowercase())
        });
        watched.map(|check| (check.node.clone(), self.plan_stranger(&check.node))).collect()
    }

    /// The catalog tells whether it was a server, and its id.
    fn plan_stranger(&self, name: &NodeName) -> Plan {
        let key = instance_key(name.as_str(), CONSUL);
        let was_server = self.state.peek(&SERVICES, key.as_bytes()).is_some();
        let id = self.node(name.as_str()).map(|node| node.id.as_str());
        let id = id.filter(|id| was_server && !id.is_empty());
        Plan {
            quorum: id.map(|id| QuorumChange::Remove(ServerId(id.into()))),
            catalog: Some(gone(name.as_str(), Reason::Reaped)),
        }
    }

    /// The registration that a living member needs; `None` if the catalog has it already.
    fn alive(&self, member: &Member) -> Option<RegisterRequest> {
        let name = member.name.as_str();
        let node = self.node(name);
        let service = ServerMember::parse(member).map(|server| instance(member, &server));
        if node.is_some_and(|node| node.address == member.addr)
            && self.serf_health(name) == Some(Status::Passing)
            && service.as_ref().is_none_or(|service| self.has_instance(name, service))
        {
            return None;
        }
        let mut meta = node.and_then(|node| node.meta.clone()).unwrap_or_default();
        if let Some(version) = server_member::version(member) {
            meta.insert("consul-version".to_owned(), version.to_owned());
        }
        let check = serf_health(name, Status::Passing, "Agent alive and reachable");
        Some(RegisterRequest {
            id: member.tags.get("id").map_or("", String::as_str).into(),
            node: name.into(),
            address: member.addr.clone(),
            tagged_addresses: node.and_then(|node| node.tagged_addresses.clone()),
            node_meta: Some(meta),
            service,
            check: Some(check),
            // Its agent may register it meanwhile, and knows more of it.
            skip_node_update: self.node(name).is_none(),
            ..RegisterRequest::default()
        })
    }

    /// The registration that a failed member needs. A node that the catalog does not know
    /// is not put there to say that it failed.
    fn failed(&self, member: &Member) -> Option<RegisterRequest> {
        let name = member.name.as_str();
        self.node(name)?;
        if self.serf_health(name) == Some(Status::Critical) {
            return None;
        }
        let check = serf_health(name, Status::Critical, "Agent not live or unreachable");
        Some(RegisterRequest {
            id: member.tags.get("id").map_or("", String::as_str).into(),
            node: name.into(),
            address: member.addr.clone(),
            check: Some(check),
            skip_node_update: true,
            ..RegisterRequest::default()
        })
    }

    fn node(&self, name: &str) -> Option<&Node> {
        self.state.peek(&NODES, node_key(name).as_bytes())
    }

    fn serf_health(&self, name: &str) -> Option<Status> {
        let check = self.state.peek(&CHECKS, check_key(name, SERF_HEALTH).as_bytes())?;
        Some(check.status.clone())
    }

    fn has_instance(&self, name: &str, wanted: &NodeService) -> bool {
        let present = self.state.peek(&SERVICES, instance_key(name, CONSUL).as_bytes());
        present
            .is_some_and(|row| row.service.meta == wanted.meta && row.service.port == wanted.port)
    }
}

/// Whether `-bootstrap` was given to another server too: two that each think to be the
/// first one of a cluster must not be brought together.
pub(super) fn rival<'m>(server: &ServerMember, members: &'m [Member]) -> Option<&'m str> {
    if !server.bootstraps {
        return None;
    }
    let rival = members.iter().find(|other| {
        other.name != server.name && ServerMember::parse(other).is_some_and(|s| s.bootstraps)
    });
    rival.map(|rival| rival.name.as_str())
}

/// Names differ by case only if the catalog's do.
fn same_name(one: &str, other: &str) -> bool {
    one.to_lowercase() == other.to_lowercase()
}

fn gone(name: &str, reason: Reason) -> CatalogChange {
    let request = DeregisterRequest { node: name.into(), ..DeregisterRequest::default() };
    CatalogChange::Gone(request, reason)
}

fn serf_health(node: &str, status: Status, output: &str) -> HealthCheck {
    HealthCheck {
        node: node.into(),
        check_id: SERF_HEALTH.into(),
        name: "Serf Health Status".to_owned(),
        status,
        output: output.to_owned(),
        ..HealthCheck::default()
    }
}

/// The instance of the service `consul` that stands for a server.
fn instance(member: &Member, server: &ServerMember) -> NodeService {
    let tag = |name: &str| member.tags.get(name).cloned();
    let flag = |name: &str| member.tags.contains_key(name).to_string();
    let mut meta: BTreeMap<String, String> = BTreeMap::from([
        ("non_voter".to_owned(), flag("nonvoter")),
        ("read_replica".to_owned(), flag("read_replica")),
        ("serf_protocol_current".to_owned(), member.protocol_cur.to_string()),
        ("serf_protocol_max".to_owned(), member.protocol_max.to_string()),
        ("serf_protocol_min".to_owned(), member.protocol_min.to_string()),
        ("version".to_owned(), server.version.clone()),
    ]);
    if let Some(version) = tag("raft_vsn") {
        meta.insert("raft_version".to_owned(), version);
    }
    for name in ["grpc_port", "grpc_tls_port"] {
        if let Some(port) = tag(name) {
            meta.insert(name.to_owned(), port);
        }
    }
    NodeService {
        id: CONSUL.into(),
        service: CONSUL.into(),
        port: i64::from(server.address.port()),
        weights: Some(Weights::default()),
        meta: Meta::Some(meta),
        ..NodeService::default()
    }
}
