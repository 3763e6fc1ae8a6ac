//! A server leaves for good (`reference/raft-and-snapshots.md` section 16).

use std::sync::atomic::Ordering;
use std::time::Duration;

use raft::{Change, ServerId};
use tokio::time::{Instant, MissedTickBehavior, interval, timeout_at};

use crate::Server;

/// How long to wait for the quorum to have let this server go.
const REMOVED_TIMEOUT: Duration = Duration::from_secs(5);

/// How often to look whether it has.
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

impl Server {
    /// Leaves: leadership goes to another server, the gossip pools are told, and those who
    /// still ask are sent elsewhere for the time of `drain`. The server that leads then
    /// takes this one out of the quorum. Whatever fails is logged: leaving goes on.
    pub async fn leave(&self, drain: Duration) {
        tracing::info!(target: "agent.server", "server starting leave");
        let (voters, own) = self.voters().await;
        let leads = self.raft().is_leader();
        if leads && voters > 1 {
            self.stop_leading(own.clone()).await;
        }
        if let Err(error) = self.gossip().leave().await {
            tracing::error!(target: "agent.server", error, "failed to leave the gossip pools");
        }
        self.shared.leaving.store(true, Ordering::Release);
        tracing::info!(target: "agent.server", drain_time = %types::GoDuration::from(drain), "Waiting to drain RPC traffic");
        tokio::time::sleep(drain).await;
        if !self.raft().is_leader() && voters > 1 {
            self.until_removed(&own).await;
        }
    }

    /// Whether this server is about to leave.
    pub(crate) fn is_leaving(&self) -> bool {
        self.shared.leaving.load(Ordering::Acquire)
    }

    /// How many servers vote, and the id of this one.
    async fn voters(&self) -> (usize, Option<ServerId>) {
        let stats = self.raft().stats().await;
        stats.map_or((0, None), |s| (s.configuration.voters().count(), Some(s.status.id)))
    }

    /// Another server takes over. If none does, at least this one does not count any more.
    async fn stop_leading(&self, own: Option<ServerId>) {
        let Err(error) = self.hand_over(None).await else { return };
        tracing::error!(target: "agent.server", error = %error, "failed to transfer leadership, removing the server");
        let Some(id) = own else { return };
        if let Err(error) = self.raft().change_membership(Change::Remove { id }, None).await {
            tracing::error!(target: "agent.server", error = %error, "failed to remove ourself as raft peer");
        }
    }

    /// Waits until the quorum has let this server go.
    async fn until_removed(&self, own: &Option<ServerId>) {
        let Some(own) = own else { return };
        let deadline = Instant::now() + REMOVED_TIMEOUT;
        let removed = async {
            let mut looks = interval(LOOK_INTERVAL);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                let Ok(stats) = self.raft().stats().await else { return };
                if stats.configuration.server(own).is_none() {
                    return;
                }
            }
        };
        if timeout_at(deadline, removed).await.is_err() {
            tracing::warn!(target: "agent.server", "failed to leave raft configuration gracefully, timeout");
        }
    }
}
