//! A server leaves for good (`reference/raft-and-snapshots.md` section 16).

use std::sync::atomic::Ordering;
use std::time::Duration;

use contract::remote::{QueryOptions, decode_reply, encode};
use raft::{Change, ServerId};
use tokio::time::{MissedTickBehavior, interval, timeout};
use types::operator::RaftConfiguration;

use crate::Server;
use crate::leader::hand_over;
use crate::operator::RAFT_CONFIGURATION;

/// How long to wait for the quorum to have let this server go.
const REMOVED_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to look whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(100);

/// Leaves: leadership goes to another server, the gossip pools are told, and those who
/// still ask are sent elsewhere for the time of `drain`. The server that leads then
/// takes this one out of the quorum. Whatever fails is logged: leaving goes on.
pub async fn leave(server: &Server, drain: Duration) {
    tracing::info!(target: "agent.server", "server starting leave");
    // Who is alone has nobody to send anywhere.
    let is_alone = server.gossip().members().len() <= 1;
    let stats = server.raft().stats().await;
    let stats = stats.map(|stats| (stats.configuration.voters().count(), stats.status.id));
    // Without a quorum there is nobody to leave but the pools.
    let others = stats.ok().filter(|(voters, _)| *voters > 1).map(|(_, own)| own);
    if let Some(own) = &others
        && server.raft().is_leader()
    {
        stop_leading(server, own).await;
    }
    if let Err(error) = server.gossip().leave().await {
        tracing::error!(target: "agent.server", error, "failed to leave the gossip pools");
    }
    server.shared.leaving.store(true, Ordering::Release);
    if !is_alone {
        let drain_time = types::GoDuration::from(drain);
        tracing::info!(target: "agent.server", %drain_time, "Waiting to drain RPC traffic");
        tokio::time::sleep(drain).await;
    }
    if let Some(own) = &others
        && !server.raft().is_leader()
    {
        until_removed(server, own).await;
    }
}

/// Another server takes over. If none does, at least this one does not count any more.
async fn stop_leading(server: &Server, own: &ServerId) {
    let Err(error) = hand_over(server, None).await else { return };
    tracing::error!(target: "agent.server", error = %error, "failed to transfer leadership, removing the server");
    let change = Change::Remove { id: own.clone() };
    if let Err(error) = server.raft().change_membership(change, None).await {
        tracing::error!(target: "agent.server", error = %error, "failed to remove ourself as raft peer");
    }
}

/// Waits until the quorum has let this server go. Who is let go may not hear of it, so the
/// leader is asked too.
async fn until_removed(server: &Server, own: &ServerId) {
    let removed = async {
        let mut looks = interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut leader = None;
        loop {
            looks.tick().await;
            let Ok(stats) = server.raft().stats().await else { return };
            if stats.configuration.server(own).is_none() {
                return;
            }
            leader = server.raft().leader().or(leader);
            if let Some(leader) = &leader
                && is_removed(server, own, &leader.id).await
            {
                return;
            }
        }
    };
    if timeout(REMOVED_TIMEOUT, removed).await.is_err() {
        tracing::warn!(target: "agent.server", "failed to leave raft configuration gracefully, timeout");
    }
}

/// Whether the leader says that this server is not in the quorum any more.
async fn is_removed(server: &Server, own: &ServerId, leader: &ServerId) -> bool {
    let (peers, datacenter) = (server.peers(), &server.shared.options.datacenter);
    let Some(leader) = peers.server(datacenter, &leader.0) else { return false };
    let args = encode(&QueryOptions::default());
    // Without an answer it is asked again.
    let Ok(reply) = peers.call(&leader, RAFT_CONFIGURATION, args, REMOVED_TIMEOUT).await else {
        return false;
    };
    decode_reply::<RaftConfiguration>(RAFT_CONFIGURATION, &reply)
        .is_ok_and(|told| told.servers.iter().all(|listed| *listed.id != *own.0))
}
