//! What only a leader does: members become catalog nodes and servers of the quorum, old
//! tombstones go, sessions end when their time is over, coordinates are written, servers are
//! watched over, and there is a root of the mesh.
//!
//! All are reconcilers: they compare what is with what should be, take no input,
//! and are safe to run twice (`reference/raft-and-snapshots.md` sections 13 to 17).

mod tombstones;
mod transfer;

use std::time::Duration;

use bytes::Bytes;
use contract::CallError;
use telemetry::names;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use types::NodeName;
use types::member::Member;

pub(crate) use self::transfer::hand_over;
use crate::duties::OnDuty;
use crate::{
    Server, authority, autopilot, coordinates, federation, reconcile, session_expiry,
    system_metadata,
};

/// How long a new leader waits for what was committed before it to be applied here.
const BARRIER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long to wait before the next try after one that failed.
const RETRY_INTERVAL: Duration = Duration::from_secs(5);

/// The event by which all agents learn of a new leader; its payload is the node's name.
const NEW_LEADER: &str = "consul:new-leader";

/// Runs the duties of a leader whenever this server, whose node is `own`, leads, until `stop`.
pub async fn run(
    server: Server,
    own: NodeName,
    mut members: watch::Receiver<Vec<Member>>,
    mut stop: watch::Receiver<bool>,
) {
    // From now on a leader has duties, and is none before it has taken them on.
    server.shared.established.send_replace(false);
    server.shared.reconciled.send_replace(false);
    let mut roles = server.raft().watch_leadership();
    let duties = &server.shared.duties;
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
            () = lead(&server, &own, &mut members, &on_duty) => {}
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

/// All duties, in the order in which a leader takes them on. They end when this is dropped.
async fn lead(
    server: &Server,
    own: &NodeName,
    members: &mut watch::Receiver<Vec<Member>>,
    on_duty: &OnDuty,
) {
    let (watched, known) = (members.clone(), members.clone());
    announce(server, own).await;
    catch_up(server).await;
    let established = Told(&server.shared.established);
    let reconciled = Told(&server.shared.reconciled);
    // The authority is made while the other duties run: nothing waits for it.
    let _: ((), (), (), (), (), (), (), ()) = tokio::join!(
        tombstones::run(server),
        session_expiry::run(server, on_duty),
        autopilot::run(server, watched, || established.tell()),
        federation::run(server),
        authority::establish(server),
        coordinates::run(server),
        system_metadata::run(server, known),
        reconcile::run(server, own, members, on_duty, || reconciled.tell()),
    );
}

/// Tells all agents who leads. Those that do not hear it lose nothing but a log line.
async fn announce(server: &Server, own: &NodeName) {
    let payload = Bytes::copy_from_slice(own.as_str().as_bytes());
    if let Err(error) = server.gossip().user_event(NEW_LEADER, payload, false).await {
        tracing::warn!(target: "agent.server", error, "failed to broadcast new leader event");
    }
}

/// Waits until all is applied here that earlier leaders committed. A leader that cannot get
/// an entry through the log lets another one try.
async fn catch_up(server: &Server) {
    loop {
        let start = Instant::now();
        let barrier = timeout(BARRIER_TIMEOUT, server.raft().barrier()).await;
        names::LEADER_BARRIER.record([], start.elapsed());
        let error = match barrier {
            Ok(Ok(_)) => return,
            Ok(Err(error)) => error.to_string(),
            Err(_) => "timed out".to_owned(),
        };
        tracing::error!(target: "agent.server", error, "failed to wait for barrier");
        if let Err(error) = hand_over(server, None).await {
            tracing::error!(target: "agent.server", error = %error, "failed to transfer leadership");
        }
        tokio::time::sleep(RETRY_INTERVAL).await;
    }
}

/// What a leader has done, told for as long as this lives.
struct Told<'t>(&'t watch::Sender<bool>);

impl Told<'_> {
    fn tell(&self) {
        self.0.send_replace(true);
    }
}

impl Drop for Told<'_> {
    fn drop(&mut self) {
        self.0.send_replace(false);
    }
}

/// Waits until the leader that this server is has taken on its duties, as long as a
/// request may be held. Where nobody takes on any there is nothing to wait for.
pub(crate) async fn until_established(server: &Server) -> Result<(), CallError> {
    let mut established = server.shared.established.subscribe();
    let hold = server.shared.options.hold_timeout;
    match timeout(hold, established.wait_for(|done| *done)).await {
        Ok(Ok(_)) => Ok(()),
        _ => Err(CallError::failed("Not ready to serve consistent reads")),
    }
}

/// Waits until a leader has looked at the members once, as long as a request may be held:
/// what this server's agent tells of its node comes after what the leader makes of the
/// member. Nobody knows when that was where another server leads: it is not waited for.
pub async fn until_reconciled(server: &Server) {
    let mut reconciled = server.shared.reconciled.subscribe();
    let (raft, mut leader) = (server.raft(), server.raft().watch_leader());
    let done = async {
        loop {
            let is_another =
                leader.borrow_and_update().as_ref().is_some_and(|l| l.id != *raft.id());
            if is_another || *reconciled.borrow_and_update() {
                return;
            }
            let changed = tokio::select! {
                changed = leader.changed() => changed,
                changed = reconciled.changed() => changed,
            };
            if changed.is_err() {
                return;
            }
        }
    };
    // Too long a wait is none for the agent: its own call will tell what is wrong.
    let _ = timeout(server.shared.options.hold_timeout, done).await;
}
