//! How much there is: gauges of the state, of the members and of this server's role,
//! set again and again (`reference/telemetry.md` section 2, usage gauges).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use domains::catalog::{NODES, SERVICES};
use domains::kv::KVS;
use raft::Suffrage;
use store::State;
use telemetry::names;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;
use types::Index;
use types::member::Member;

use crate::Server;
use crate::leader::until;

/// How often usage is told. Shorter than an interval of the metrics, so that each has it.
const USAGE_INTERVAL: Duration = Duration::from_secs(9);

/// How often it is told who leads, and how many sessions are timed.
const ROLE_INTERVAL: Duration = Duration::from_secs(1);

/// Kinds of instances in the mesh.
const MESH_KINDS: [&str; 6] = [
    "connect-proxy",
    NATIVE,
    "mesh-gateway",
    "terminating-gateway",
    "ingress-gateway",
    "api-gateway",
];

/// Instances that speak the mesh's protocol themselves; not a kind of theirs.
const NATIVE: &str = "connect-native";

/// Instances in the catalog.
#[derive(Debug, Default, PartialEq, Eq)]
struct Instances {
    /// Names.
    services: usize,
    /// All of them.
    all: usize,
    /// Those that do something of their own: no proxies, no gateways, no servers.
    billable: usize,
    /// By kind in the mesh.
    mesh: BTreeMap<&'static str, usize>,
}

impl Instances {
    fn count(state: &State) -> Self {
        let mut instances = Self { all: state.len(&SERVICES), ..Self::default() };
        let mut services = BTreeSet::new();
        for row in state.peek_prefix(&SERVICES, &[]) {
            let service = &*row.service;
            services.insert(service.service.as_str());
            if service.kind.is_empty() && service.service.as_str() != "consul" {
                instances.billable += 1;
            }
            if let Some(kind) = MESH_KINDS.iter().find(|kind| **kind == service.kind) {
                *instances.mesh.entry(kind).or_default() += 1;
            }
            if service.connect.native {
                *instances.mesh.entry(NATIVE).or_default() += 1;
            }
        }
        instances.services = services.len();
        instances
    }
}

/// Tells what there is, until `stop`.
pub async fn run(
    server: Server,
    members: watch::Receiver<Vec<Member>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut usage = tokio::time::interval(USAGE_INTERVAL);
    let mut role = tokio::time::interval(ROLE_INTERVAL);
    usage.set_missed_tick_behavior(MissedTickBehavior::Skip);
    role.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let mut counted = (Index::ZERO, Instances::default());
    loop {
        tokio::select! {
            () = until(&mut stop, true) => return,
            _ = role.tick() => tell_role(&server),
            _ = usage.tick() => {
                tell_state(&server, &mut counted);
                tell_members(&server, &members.borrow());
                tell_health(&server).await;
            }
        }
    }
}

fn tell_role(server: &Server) {
    let leads = server.raft().is_leader();
    names::SERVER_IS_LEADER.set([], f64::from(u8::from(leads)));
    let sessions = if leads { server.shared.memory.sessions.timed_sessions() } else { 0 };
    names::SESSION_TTL_ACTIVE.set([], sessions as f64);
}

/// Counts the state; instances only if they changed, for there may be many.
fn tell_state(server: &Server, counted: &mut (Index, Instances)) {
    let state = server.store().snapshot();
    let changed = state.index_of(SERVICES.name);
    if counted.0 != changed {
        *counted = (changed, Instances::count(&state));
    }
    let datacenter = || server.shared.options.datacenter.as_str().to_owned().into();
    let Instances { services, all, billable, mesh } = &counted.1;
    names::STATE_NODES.set([datacenter()], state.len(&NODES) as f64);
    names::STATE_SERVICES.set([datacenter()], *services as f64);
    names::STATE_SERVICE_INSTANCES.set([datacenter()], *all as f64);
    names::STATE_BILLABLE_SERVICE_INSTANCES.set([datacenter()], *billable as f64);
    names::STATE_KV_ENTRIES.set([datacenter()], state.len(&KVS) as f64);
    for kind in MESH_KINDS {
        let number = mesh.get(kind).copied().unwrap_or_default();
        names::STATE_CONNECT_INSTANCES.set([datacenter(), kind.into()], number as f64);
    }
}

fn tell_members(server: &Server, members: &[Member]) {
    let datacenter = || server.shared.options.datacenter.as_str().to_owned().into();
    let is_server = |member: &&Member| member.tags.get("role").is_some_and(|r| r == "consul");
    let servers = members.iter().filter(is_server).count();
    names::MEMBERS_SERVERS.set([datacenter()], servers as f64);
    names::MEMBERS_CLIENTS.set([datacenter()], (members.len() - servers) as f64);
}

/// The leader of one voter is as healthy as can be, and may not fail.
async fn tell_health(server: &Server) {
    if !server.raft().is_leader() {
        return;
    }
    let Ok(stats) = server.raft().stats().await else { return };
    let servers = &stats.configuration.servers;
    let voters = servers.iter().filter(|server| server.suffrage == Suffrage::Voter).count();
    names::AUTOPILOT_HEALTHY.set([], 1.0);
    names::AUTOPILOT_FAILURE_TOLERANCE.set([], (voters.saturating_sub(1) / 2) as f64);
}

#[cfg(test)]
mod tests {
    use contract::Command as _;
    use domains::catalog::Register;
    use store::Store;
    use types::catalog::{NodeService, RegisterRequest, ServiceConnect};

    use super::*;

    #[test]
    fn instances_are_counted_by_what_they_are() {
        let store = Store::new(&domains::tables());
        let services = [
            ("web", "web1", "", false),
            ("web", "web2", "", true),
            ("consul", "consul", "", false),
            ("web-proxy", "p1", "connect-proxy", false),
            ("gate", "g1", "mesh-gateway", false),
        ];
        for (index, (service, id, kind, native)) in (1..).zip(services) {
            let service = NodeService {
                service: service.into(),
                id: id.into(),
                kind: kind.into(),
                connect: ServiceConnect { native, ..ServiceConnect::default() },
                ..NodeService::default()
            };
            let request = RegisterRequest {
                node: "n1".into(),
                address: "127.0.0.1".into(),
                service: Some(service),
                ..RegisterRequest::default()
            };
            store
                .write(|batch| Register(request).apply(&mut batch.tx(Index(index))))
                .expect("it is sound");
        }
        let expected = Instances {
            services: 4,
            all: 5,
            billable: 2,
            mesh: BTreeMap::from([("connect-proxy", 1), (NATIVE, 1), ("mesh-gateway", 1)]),
        };
        assert_eq!(Instances::count(&store.snapshot()), expected);
    }
}
