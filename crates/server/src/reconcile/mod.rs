//! Members become nodes of the catalog and servers of the quorum: a duty of the leader.
//!
//! `reference/raft-and-snapshots.md` section 14. [`plan`] decides what a member calls for.
//! Here, what changed in gossip is carried out at once, and everything is looked at again
//! now and then: whatever failed or was missed is found then.

mod plan;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use contract::CallError;
use domains::catalog::{Deregister, Register};
use telemetry::names;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, MissedTickBehavior, timeout};
use types::member::Member;
use types::{NodeName, SecretId};

use self::plan::{CatalogChange, Plan, QuorumChange, Reason, World, rival};
use crate::Server;
use crate::autopilot::membership::{MembershipError, add_server, remove_server};
use crate::duties::OnDuty;

/// How often all members are compared with the catalog when nothing happens.
const PASS_INTERVAL: Duration = Duration::from_secs(60);

/// How long to wait before the next pass after one in which something failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// Nodes that gossip does not know are taken to be gone after this time, so in the next pass at
/// the earliest. A server that was started lately, and leads already, does not know its members
/// yet: with their nodes it would drop their sessions, and its own followers from the quorum.
const STRANGER_AFTER: Duration = Duration::from_secs(50);

/// How long a pass waits for what was committed before to be applied here.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(120);

/// Most changes of the catalog that are under way at a time: when a thousand agents are
/// gone at once, their changes share the syncs of the log.
const CHANGES_MAX: usize = 64;

/// Reconciles for as long as it runs: while this server leads. Tells when everything was
/// looked at.
pub(crate) async fn run(
    server: &Server,
    own: &NodeName,
    members: &mut watch::Receiver<Vec<Member>>,
    on_duty: &OnDuty,
    tell: impl Fn(),
) {
    let mut passes = tokio::time::interval(PASS_INTERVAL);
    passes.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut known, mut strangers) = (Vec::new(), Strangers::default());
    loop {
        let is_pass = tokio::select! {
            _ = passes.tick() => true,
            Ok(()) = members.changed() => false,
        };
        let present = members.borrow_and_update().clone();
        let done = match is_pass {
            true => pass(server, own, (&present, &mut strangers), on_duty).await,
            false => follow(server, own, (&known, &present), on_duty).await,
        };
        if is_pass {
            tell();
        }
        known = present;
        if !done {
            passes.reset_after(RETRY_INTERVAL);
        }
    }
}

/// Looks at everything. False if anything failed.
async fn pass(
    server: &Server,
    own: &NodeName,
    (members, strangers): (&[Member], &mut Strangers),
    on_duty: &OnDuty,
) -> bool {
    let start = Instant::now();
    let barrier = timeout(BARRIER_TIMEOUT, server.raft().barrier()).await;
    names::LEADER_BARRIER.record([], start.elapsed());
    let error = match barrier {
        Ok(Ok(_)) => None,
        Ok(Err(error)) => Some(error.to_string()),
        Err(_) => Some("timed out".to_owned()),
    };
    if let Some(error) = error {
        tracing::error!(target: "agent.server", error, "failed to wait for barrier");
        return false;
    }
    let start = Instant::now();
    let plans = {
        let state = server.store().snapshot();
        let world = World { state: &state, own };
        let of_members = members.iter().map(|m| (m.name.clone(), world.plan(m)));
        let strangers = strangers.gone(world.plan_strangers(members), start).into_iter();
        of_members.chain(strangers.map(|(name, plan)| (name.to_string(), plan))).collect()
    };
    let done = carry_out(server, plans, members, on_duty).await;
    names::LEADER_RECONCILE.record([], start.elapsed());
    done
}

/// Nodes of the catalog that gossip does not know, and since when that is so.
#[derive(Debug, Default)]
struct Strangers(BTreeMap<NodeName, Instant>);

impl Strangers {
    /// Those of them that have been unknown for long enough.
    fn gone<T>(&mut self, found: Vec<(NodeName, T)>, now: Instant) -> Vec<(NodeName, T)> {
        let before = std::mem::take(&mut self.0);
        let since = |name: &NodeName| before.get(name).copied().unwrap_or(now);
        self.0 = found.iter().map(|(name, _)| (name.clone(), since(name))).collect();
        let is_gone = |name: &NodeName| now.duration_since(self.0[name]) >= STRANGER_AFTER;
        found.into_iter().filter(|(name, _)| is_gone(name)).collect()
    }
}

/// Looks at what changed. False if anything failed.
async fn follow(
    server: &Server,
    own: &NodeName,
    (known, present): (&[Member], &[Member]),
    on_duty: &OnDuty,
) -> bool {
    let plans = {
        let state = server.store().snapshot();
        let world = World { state: &state, own };
        let changes = Changes::between(known, present);
        let changed = changes.changed.iter().map(|m| (m.name.clone(), world.plan(m)));
        let reaped = changes.gone.iter();
        let reaped = reaped.map(|m| (m.name.clone(), world.plan_gone(m, Reason::Reaped)));
        changed.chain(reaped).collect()
    };
    carry_out(server, plans, present, on_duty).await
}

/// What is different between two looks at the members.
#[derive(Debug, PartialEq)]
struct Changes<'m> {
    /// Those that are new or not as before, as they are.
    changed: Vec<&'m Member>,
    /// Those that are not there any more, as they were.
    gone: Vec<&'m Member>,
}

impl<'m> Changes<'m> {
    fn between(known: &'m [Member], present: &'m [Member]) -> Self {
        let by_name = |members: &'m [Member]| -> BTreeMap<&'m str, &'m Member> {
            members.iter().map(|member| (member.name.as_str(), member)).collect()
        };
        let (before, after) = (by_name(known), by_name(present));
        let changed = after.iter().filter(|(name, member)| before.get(*name) != Some(member));
        let gone = before.iter().filter(|(name, _)| !after.contains_key(*name));
        Self {
            changed: changed.map(|(_, member)| *member).collect(),
            gone: gone.map(|(_, member)| *member).collect(),
        }
    }
}

/// Carries plans out: changes of the quorum one after another, those of the catalog
/// together. False if anything failed.
async fn carry_out(
    server: &Server,
    plans: Vec<(String, Plan)>,
    members: &[Member],
    on_duty: &OnDuty,
) -> bool {
    let (mut done, mut running) = (true, JoinSet::new());
    for (member, plan) in plans {
        let began = Instant::now();
        if let Some(change) = plan.quorum
            && let Err(error) = change_quorum(server, change, members).await
        {
            tracing::error!(target: "agent.server", member, error = %error, "failed to reconcile member");
            // It is a node all the same.
            done = false;
        }
        let Some(change) = plan.catalog else {
            names::LEADER_RECONCILE_MEMBER.record([], began.elapsed());
            continue;
        };
        if running.len() >= CHANGES_MAX {
            done &= running.join_next().await.is_none_or(|ended| ended.unwrap_or(false));
        }
        let (server, on_duty) = (server.clone(), on_duty.clone());
        running.spawn(async move {
            let _on_duty = on_duty;
            let outcome = change_catalog(&server, &member, change).await;
            names::LEADER_RECONCILE_MEMBER.record([], began.elapsed());
            if let Err(error) = &outcome {
                tracing::error!(target: "agent.server", member, error = %error, "failed to reconcile member");
            }
            outcome.is_ok()
        });
    }
    while let Some(ended) = running.join_next().await {
        done &= ended.unwrap_or(false);
    }
    done
}

async fn change_quorum(
    server: &Server,
    change: QuorumChange,
    members: &[Member],
) -> Result<(), MembershipError> {
    match change {
        QuorumChange::Add(joining) => {
            if let Some(rival) = rival(&joining, members) {
                tracing::error!(
                    target: "agent.server", node_to_add = joining.name, other = rival,
                    "Two nodes are in bootstrap mode. Only one node should be in bootstrap mode, not adding Raft peer."
                );
                return Ok(());
            }
            add_server(server, &joining).await
        }
        QuorumChange::Remove(id) => remove_server(server, &id).await,
    }
}

async fn change_catalog(
    server: &Server,
    member: &str,
    change: CatalogChange,
) -> Result<(), CallError> {
    let (token, partition) = (SecretId::default(), "default");
    match change {
        CatalogChange::Alive(request) => {
            tracing::info!(target: "agent.server", member, partition, "member joined, marking health alive");
            server.write_typed(Register(request), &token).await
        }
        CatalogChange::Failed(request) => {
            tracing::info!(target: "agent.server", member, partition, "member failed, marking health critical");
            server.write_typed(Register(request), &token).await
        }
        CatalogChange::Gone(request, reason) => {
            let reason = reason.as_str();
            tracing::info!(target: "agent.server", member, partition, reason, "deregistering member");
            server.write_typed(Deregister(request), &token).await
        }
    }
}
