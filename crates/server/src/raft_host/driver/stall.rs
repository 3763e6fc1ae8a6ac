//! A leader whose disk stalls hands leadership over.
//!
//! Every write waits for the leader's disk, even though a majority without it would do. A
//! follower whose disk stalls holds up nobody.

use std::time::{Duration, Instant};

use raft::ServerId;

use super::Driver;

/// A sync that takes longer than the lease divided by this is a stall: 1.25 s with Consul's
/// default timings, 250 ms with `raft_multiplier` 1. After one that takes the whole lease, or
/// longer than followers wait for a heartbeat, leadership is lost without a successor that was
/// chosen, and after a time in which nobody leads.
const LEASE_FRACTION: u32 = 2;

/// Least time between two stalls of which a leader takes notice. Where all disks are equally
/// slow, leadership does not go around in circles.
const PATIENCE: Duration = Duration::from_secs(60);

impl Driver {
    /// Hands over, if the disk has stalled and there is somebody to hand over to.
    pub(super) fn mind_stalled_disk(&mut self) {
        let stall = self.writes.take_longest_sync();
        let bound = self.core.options().leader_lease_timeout / LEASE_FRACTION;
        if stall <= bound || !self.core.is_leader() {
            return;
        }
        let now = Instant::now();
        if self.handed_over.is_some_and(|at| now.duration_since(at) < PATIENCE) {
            return;
        }
        let Some(target) = self.successor(now, stall) else { return };
        if self.core.transfer_leadership(Some(target.clone()), now).is_ok() {
            self.handed_over = Some(now);
            tracing::warn!(
                target: "agent.server.raft",
                took = ?stall, most = ?bound, peer = %target.0,
                "the disk of this server stalls: leadership is handed to another server"
            );
        }
    }

    /// The voter that has most of the log, of those that are there. A time in which this
    /// server itself did nothing is not held against them.
    pub(super) fn successor(&self, now: Instant, stall: Duration) -> Option<ServerId> {
        let patience = self.core.options().heartbeat_timeout + stall;
        let members = &self.core.configurations().latest;
        let followers = self.core.followers_status().into_iter();
        let there = followers.filter(|follower| {
            let contact = follower.last_contact;
            members.is_voter(&follower.id)
                && contact.is_some_and(|at| now.saturating_duration_since(at) < patience)
        });
        there.max_by_key(|follower| follower.matched).map(|follower| follower.id)
    }
}
