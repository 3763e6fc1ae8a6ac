//! What only a leader does: members become catalog nodes, old tombstones go, sessions
//! end when their time is over, coordinates are written, servers are watched over, and there is a root of the mesh.
//!
//! All are reconcilers: they compare what is with what should be, take no input,
//! and are safe to run twice (`reference/raft-and-snapshots.md` sections 13 to 17).

use std::collections::BTreeMap;
use std::time::Duration;

use contract::CallError;
use domains::catalog::{CHECKS, NODES, Register, SERVICES, check_key, instance_key, node_key};
use domains::kv::{TOMBSTONES, TombstoneReap};
use store::State;
use telemetry::names;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use types::catalog::{Meta, Node, NodeService, RegisterRequest, Weights};
use types::check::{HealthCheck, Status};
use types::member::{Member, MemberStatus};
use types::{Index, SecretId};

use crate::{Server, authority, autopilot, coordinates, federation, session_expiry};

/// How often members are compared with the catalog when nothing happens.
const RECONCILE_INTERVAL: Duration = Duration::from_secs(60);

/// How long tombstones are kept, and how finely their age is known.
const TOMBSTONE_AGE: Duration = Duration::from_secs(15 * 60);
const TOMBSTONE_STEP: Duration = Duration::from_secs(30);

const SERF_HEALTH: &str = "serfHealth";

/// Runs the duties of a leader whenever this server leads, until `stop`. What the
/// server's own agent says of its node is registered with it: the agent registers the
/// same at the same time, and whichever comes second must change nothing.
pub async fn run(
    server: Server,
    own: Node,
    mut members: watch::Receiver<Vec<Member>>,
    mut stop: watch::Receiver<bool>,
) {
    let mut roles = server.raft().watch_leadership();
    let duties = &server.shared.duties;
    let watched = members.clone();
    loop {
        tokio::select! {
            () = until(&mut roles, true) => {}
            () = until(&mut stop, true) => return,
        }
        tracing::info!(target: "agent.server", "cluster leadership acquired");
        let on_duty = tokio::select! {
            on_duty = duties.begin() => on_duty,
            () = until(&mut roles, false) => {
                tracing::info!(target: "agent.server", "cluster leadership lost");
                continue;
            }
            () = until(&mut stop, true) => return,
        };
        tokio::select! {
            // The authority is made while the other duties run: nothing waits for it.
            ((), (), (), (), (), ()) = async {
                tokio::join!(
                    lead(&server, &own, &mut members),
                    session_expiry::run(&server, &on_duty),
                    authority::establish(&server),
                    coordinates::run(&server),
                    federation::run(&server),
                    autopilot::run(&server, watched.clone()),
                )
            } => {}
            () = until(&mut roles, false) => {
                tracing::info!(target: "agent.server", "cluster leadership lost");
            }
            // Another state is about to come: its sessions have all their time, its members are
            // compared with those that there are, its mesh may need a root.
            () = duties.until_paused() => {}
            () = until(&mut stop, true) => return,
        }
    }
}

/// Completes when the watched flag has this value, or never if nobody can set it.
pub(crate) async fn until(flag: &mut watch::Receiver<bool>, value: bool) {
    if flag.wait_for(|now| *now == value).await.is_err() {
        std::future::pending::<()>().await;
    }
}

async fn lead(server: &Server, own: &Node, members: &mut watch::Receiver<Vec<Member>>) {
    let mut reconcile = tokio::time::interval(RECONCILE_INTERVAL);
    reconcile.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut reaping = tokio::time::interval(TOMBSTONE_STEP);
    let mut bins = TombstoneBins::default();
    loop {
        tokio::select! {
            _ = reconcile.tick() => reconcile_members(server, own, members).await,
            Ok(()) = members.changed() => reconcile_members(server, own, members).await,
            now = reaping.tick() => {
                let newest = newest_tombstone(&server.store().snapshot());
                if let Some(index) = bins.handle_step(newest, now) {
                    reap(server, index).await;
                }
            }
        }
    }
}

async fn reconcile_members(
    server: &Server,
    own: &Node,
    members: &mut watch::Receiver<Vec<Member>>,
) {
    let members = members.borrow_and_update().clone();
    let start = Instant::now();
    for member in &members {
        let began = Instant::now();
        let outcome = reconcile_member(server, own, member).await;
        names::LEADER_RECONCILE_MEMBER.record([], began.elapsed());
        if let Err(error) = outcome {
            tracing::error!(target: "agent.server", member = %member.name, error = %error, "failed to reconcile member");
        }
    }
    names::LEADER_RECONCILE.record([], start.elapsed());
}

async fn reconcile_member(server: &Server, own: &Node, member: &Member) -> Result<(), CallError> {
    if member.status != MemberStatus::ALIVE {
        return Ok(());
    }
    let Some(request) = registration_of(member, own, &server.store().snapshot()) else {
        return Ok(());
    };
    tracing::info!(target: "agent.server", member = %member.name, partition = "default", "member joined, marking health alive");
    server.write_typed(Register(request), &SecretId::default()).await
}

/// The registration that a living member needs; `None` if the catalog has it already.
fn registration_of(member: &Member, own: &Node, state: &State) -> Option<RegisterRequest> {
    let name = member.name.as_str();
    let node = state.peek(&NODES, node_key(name).as_bytes());
    let service = (member.tags.get("role").map(String::as_str) == Some("consul"))
        .then(|| server_instance(member));
    if let Some(node) = node {
        let healthy = state
            .peek(&CHECKS, check_key(name, SERF_HEALTH).as_bytes())
            .is_some_and(|check| check.status == Status::Passing);
        let present = state.peek(&SERVICES, instance_key(name, "consul").as_bytes());
        let same_service = match &service {
            Some(wanted) => present.is_some_and(|row| {
                row.service.meta == wanted.meta && row.service.port == wanted.port
            }),
            None => true,
        };
        if node.address == member.addr && healthy && same_service {
            return None;
        }
    }
    let check = HealthCheck {
        node: name.into(),
        check_id: SERF_HEALTH.into(),
        name: "Serf Health Status".to_owned(),
        status: Status::Passing,
        output: "Agent alive and reachable".to_owned(),
        ..HealthCheck::default()
    };
    let version = member.tags.get("build").map(|build| build.split(':').next().unwrap_or(""));
    let node = node.or_else(|| (own.node.as_str() == name).then_some(own));
    let mut meta = node.and_then(|node| node.meta.clone()).unwrap_or_default();
    if let Some(version) = version {
        meta.insert("consul-version".to_owned(), version.to_owned());
    }
    Some(RegisterRequest {
        id: member.tags.get("id").map_or("", String::as_str).into(),
        node: name.into(),
        address: member.addr.clone(),
        tagged_addresses: node.and_then(|node| node.tagged_addresses.clone()),
        node_meta: Some(meta),
        service,
        check: Some(check),
        ..RegisterRequest::default()
    })
}

/// The instance of the service `consul` that stands for a server.
fn server_instance(member: &Member) -> NodeService {
    let tag = |name: &str| member.tags.get(name).cloned();
    let mut meta: BTreeMap<String, String> = BTreeMap::from([
        ("non_voter".to_owned(), "false".to_owned()),
        ("read_replica".to_owned(), "false".to_owned()),
        ("serf_protocol_current".to_owned(), member.protocol_cur.to_string()),
        ("serf_protocol_max".to_owned(), member.protocol_max.to_string()),
        ("serf_protocol_min".to_owned(), member.protocol_min.to_string()),
    ]);
    if let Some(version) = tag("raft_vsn") {
        meta.insert("raft_version".to_owned(), version);
    }
    if let Some(build) = tag("build") {
        meta.insert("version".to_owned(), build.split(':').next().unwrap_or("").to_owned());
    }
    for name in ["grpc_port", "grpc_tls_port"] {
        if let Some(port) = tag(name) {
            meta.insert(name.to_owned(), port);
        }
    }
    NodeService {
        id: "consul".into(),
        service: "consul".into(),
        port: tag("port").and_then(|port| port.parse().ok()).unwrap_or(0),
        weights: Some(Weights::default()),
        meta: Meta::Some(meta),
        ..NodeService::default()
    }
}

/// Tombstones by age: which index was the newest at each step, so that everything up
/// to it can go once the step is old enough.
#[derive(Debug, Default)]
struct TombstoneBins {
    steps: Vec<(Instant, Index)>,
}

impl TombstoneBins {
    /// Notes the newest tombstone, and tells up to which index tombstones are old.
    fn handle_step(&mut self, newest: Option<Index>, now: Instant) -> Option<Index> {
        if let Some(newest) = newest
            && self.steps.last().is_none_or(|(_, index)| *index < newest)
        {
            self.steps.push((now, newest));
        }
        let old = self.steps.iter().take_while(|(at, _)| now.duration_since(*at) >= TOMBSTONE_AGE);
        let old = old.count();
        self.steps.drain(..old).next_back().map(|(_, index)| index)
    }
}

fn newest_tombstone(state: &State) -> Option<Index> {
    (state.len(&TOMBSTONES) > 0).then(|| state.index_of(TOMBSTONES.name))
}

async fn reap(server: &Server, index: Index) {
    let start = Instant::now();
    let command =
        TombstoneReap { op: "reap".to_owned(), reap_index: index, ..TombstoneReap::default() };
    if let Err(error) = server.write_typed(command, &SecretId::default()).await {
        tracing::warn!(target: "agent.server", error = %error, "failed to reap tombstones");
    }
    names::LEADER_REAP_TOMBSTONES.record([], start.elapsed());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tombstones_go_once_they_are_old() {
        let mut bins = TombstoneBins::default();
        let start = Instant::now();
        assert_eq!(bins.handle_step(Some(Index(5)), start), None);
        assert_eq!(bins.handle_step(Some(Index(9)), start + TOMBSTONE_STEP), None);
        assert_eq!(bins.handle_step(Some(Index(9)), start + TOMBSTONE_AGE), Some(Index(5)));
        let later = start + TOMBSTONE_AGE + TOMBSTONE_STEP;
        assert_eq!(bins.handle_step(Some(Index(9)), later), Some(Index(9)));
        assert_eq!(bins.handle_step(None, later), None);
    }

    #[test]
    fn a_member_that_is_registered_needs_no_registration() {
        let store = store::Store::new(&domains::tables());
        let member = Member {
            name: "n1".into(),
            addr: "127.0.0.1".into(),
            status: MemberStatus::ALIVE,
            tags: [("role", "consul"), ("port", "8300"), ("build", "1.21.4:abc")]
                .map(|(k, v)| (k.to_owned(), v.to_owned()))
                .into(),
            ..Member::default()
        };
        let request = registration_of(&member, &Node::default(), &store.snapshot())
            .expect("it is not there yet");
        let fsm = crate::fsm::Fsm::new(store.clone());
        let command = Box::new(Register(request));
        let one = std::iter::once((Index(1), crate::fsm::FsmCommand::Typed(command)));
        assert!(fsm.apply(one).expect("known").remove(0).is_ok());
        assert_eq!(registration_of(&member, &Node::default(), &store.snapshot()), None);
    }
}
