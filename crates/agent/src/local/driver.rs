//! The one task that tells the catalog and removes services that stay critical.
//!
//! It holds no decisions: [`super::sync::Syncer`] says what to do, this does it.

use std::sync::Arc;
use std::time::Instant;

use checks::status::deregister::SCAN_INTERVAL;
use contract::CallError;
use tokio::task::JoinSet;

use super::catalog::{NodeQuery, RemoteNode};
use super::state::Target;
use super::sync::{Action, Event, Lane};
use super::{Inner, Shared, now};

enum Done {
    Remote(Result<RemoteNode, CallError>),
    Other(Lane, Result<(), CallError>),
}

/// Runs until it is told to stop. Work that is under way then is given up.
pub(super) async fn drive(shared: Arc<Shared>) {
    let mut changes = shared.changes.subscribe();
    let mut stop = shared.stop.subscribe();
    let mut under_way: JoinSet<Done> = JoinSet::new();
    let mut scan_at = now() + SCAN_INTERVAL;
    loop {
        changes.borrow_and_update();
        let wake_at = step(&shared, &mut under_way).map_or(scan_at, |at| at.min(scan_at));
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = changes.changed() => {}
            Some(done) = under_way.join_next() => take(&shared, done),
            () = tokio::time::sleep_until(wake_at.into()) => {}
        }
        let now = now();
        if now >= scan_at {
            scan_at = now + SCAN_INTERVAL;
            remove_overdue(&shared, now).await;
        }
    }
}

/// Starts what is to be done, and tells when to come back although nothing changes.
fn step(shared: &Arc<Shared>, under_way: &mut JoinSet<Done>) -> Option<Instant> {
    let now = now();
    let mut inner = shared.lock();
    let Inner { state, syncer, troubles, .. } = &mut *inner;
    syncer.handle_timeout(state, now);
    let mut actions = Vec::new();
    while let Some(action) = syncer.poll_action(state, now) {
        actions.push(action);
    }
    let mut events = Vec::new();
    while let Some(event) = syncer.poll_event() {
        troubles.handle_event(&event);
        events.push(event);
    }
    // While work is under way its end wakes the task: a full sync that is due waits.
    let wake_at = syncer
        .poll_timeout(state)
        .filter(|at| *at > now || actions.is_empty() && under_way.is_empty());
    let node = state.node.node.clone();
    drop(inner);
    events.iter().for_each(log);
    for (lane, action) in actions {
        let catalog = shared.catalog.clone();
        let work = match action {
            Action::FetchRemote { token } => {
                let query = NodeQuery { node: node.clone(), token, ..NodeQuery::default() };
                let answer = catalog.remote(query);
                under_way.spawn(async move { Done::Remote(answer.await) });
                continue;
            }
            Action::SyncNode(request, token) | Action::Register(request, token) => {
                catalog.register(*request, token)
            }
            Action::Deregister(request, token) => catalog.deregister(request, token),
        };
        under_way.spawn(async move { Done::Other(lane, work.await) });
    }
    wake_at
}

fn take(shared: &Shared, done: Result<Done, tokio::task::JoinError>) {
    let mut inner = shared.lock();
    let Inner { state, syncer, rng, .. } = &mut *inner;
    let now = now();
    match done {
        Ok(Done::Remote(remote)) => syncer.handle_remote(remote, state, now, rng),
        Ok(Done::Other(lane, result)) => syncer.handle_result(&lane, result, state, now, rng),
        // The panic hook has told of it; nobody knows any more which lane it was.
        Err(_) => syncer.handle_lost(now),
    }
    drop(inner);
    shared.progress.send_replace(());
}

async fn remove_overdue(shared: &Arc<Shared>, now: Instant) {
    let ticket = shared.change(|inner| {
        let mut changes = Vec::new();
        for overdue in inner.deregistrations.handle_scan(now) {
            changes.extend(shared.remove_service(inner, &overdue.service));
            overdue.log();
        }
        shared.enqueue(changes)
    });
    if let Err(error) = shared.settle(ticket).await {
        tracing::error!(target: "agent", error = %error, "Failed removing files of services and checks");
    }
}

/// The lines that operators look for (`reference/telemetry.md` section 4).
fn log(event: &Event) {
    match event {
        Event::InSync(target) => match target {
            Target::Node => tracing::debug!(target: "agent", "Node info in sync"),
            Target::Service(service) => {
                tracing::debug!(target: "agent", %service, "Service in sync")
            }
            Target::Check { id, .. } => {
                tracing::debug!(target: "agent", check = %id, "Check in sync")
            }
        },
        Event::Synced(target) => match target {
            Target::Node => tracing::info!(target: "agent", "Synced node info"),
            Target::Service(service) => tracing::info!(target: "agent", %service, "Synced service"),
            Target::Check { id, .. } => {
                tracing::info!(target: "agent", check = %id, "Synced check")
            }
        },
        Event::Removed(target) => match target {
            Target::Node => {}
            Target::Service(service) => {
                tracing::info!(target: "agent", %service, "Deregistered service");
            }
            Target::Check { id, .. } => {
                tracing::info!(target: "agent", check = %id, "Deregistered check");
            }
        },
        Event::Blocked { target, removal } => log_blocked(target, *removal),
        Event::Failed { target, error } => {
            match target {
                Target::Node => {
                    tracing::warn!(target: "agent", error = %error, "Syncing node info failed.");
                }
                Target::Service(service) => {
                    tracing::warn!(target: "agent", %service, error = %error, "Syncing service failed.");
                }
                Target::Check { id, .. } => {
                    tracing::warn!(target: "agent", check = %id, error = %error, "Syncing check failed.");
                }
            }
            tracing::error!(target: "agent.anti_entropy", error = %error, "failed to sync changes");
        }
        Event::FetchFailed(error) => {
            tracing::error!(target: "agent.anti_entropy", error = %error, "failed to sync remote state");
        }
        Event::Skipped(check) => tracing::debug!(
            target: "agent",
            %check,
            "Skipping remote check since it is managed automatically"
        ),
    }
}

fn log_blocked(target: &Target, removal: bool) {
    // Tokens are known by their accessor in logs; the agent knows only their secrets.
    let accessor = "";
    match (target, removal) {
        (Target::Node, _) => {
            tracing::warn!(target: "agent", accessorID = accessor, "Node info update blocked by ACLs");
        }
        (Target::Service(service), false) => {
            tracing::warn!(target: "agent", %service, accessorID = accessor, "Service registration blocked by ACLs");
        }
        (Target::Service(service), true) => {
            tracing::warn!(target: "agent", %service, accessorID = accessor, "Service deregistration blocked by ACLs");
        }
        (Target::Check { id, .. }, false) => {
            tracing::warn!(target: "agent", check = %id, accessorID = accessor, "Check registration blocked by ACLs");
        }
        (Target::Check { id, .. }, true) => {
            tracing::warn!(target: "agent", check = %id, accessorID = accessor, "Check deregistration blocked by ACLs");
        }
    }
}
