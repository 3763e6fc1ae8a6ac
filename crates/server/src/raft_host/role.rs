//! What operators are told of this server's role, in the words that they look for
//! (`reference/telemetry.md` section 4, Raft and leadership).

use std::sync::Arc;

use raft::{Configuration, LossReason, RoleName, Status, Term};
use telemetry::names;

use super::stats::configuration_text;

/// The role that was told of last.
pub(super) struct RoleLines {
    address: Arc<str>,
    role: Option<RoleName>,
    /// The leader that was known while following, as `(address, id)`.
    leader: (String, String),
}

impl RoleLines {
    /// Nothing was told yet. `address` is how other servers reach this one.
    pub(super) fn new(address: Arc<str>) -> Self {
        Self { address, role: None, leader: Default::default() }
    }

    /// The members at the start.
    pub(super) fn configuration(index: types::Index, configuration: &Configuration) {
        let servers = configuration_text(configuration);
        tracing::info!(target: "agent.server.raft", index = index.0, servers, "initial configuration");
    }

    /// The leader that is followed.
    pub(super) fn note_leader(&mut self, leader: Option<&raft::Server>) {
        self.leader = leader.map_or_else(Default::default, |server| {
            (server.address.to_string(), server.id.0.to_string())
        });
    }

    /// Tells the role, if it is another than the last time.
    pub(super) fn note(&mut self, status: &Status, voters: usize) {
        if self.role == Some(status.role) {
            return;
        }
        let before = self.role.replace(status.role);
        match status.role {
            RoleName::Follower => self.follows(),
            RoleName::PreCandidate => self.stands(before, status.term),
            RoleName::Candidate => {
                self.stands(before, status.term);
                Self::pre_voted(before, status.term, voters);
            }
            RoleName::Leader => {
                self.stands(before, status.term);
                Self::pre_voted(before, status.term, voters);
                self.leads(status.term, voters);
            }
        }
    }

    fn follows(&self) {
        let follower = self.node("Follower");
        let (address, id) = (self.leader.0.as_str(), self.leader.1.as_str());
        tracing::info!(
            target: "agent.server.raft",
            follower, "leader-address" = %address, "leader-id" = %id, "entering follower state"
        );
        names::RAFT_STATE_FOLLOWER.increment([], 1);
    }

    /// Tells of the candidate, unless that was told already.
    fn stands(&self, before: Option<RoleName>, term: Term) {
        if !matches!(before, None | Some(RoleName::Follower)) {
            return;
        }
        let (address, id) = (self.leader.0.as_str(), self.leader.1.as_str());
        tracing::warn!(
            target: "agent.server.raft",
            { "last-leader-addr" = %address, "last-leader-id" = %id },
            "heartbeat timeout reached, starting election"
        );
        names::RAFT_TRANSITION_HEARTBEAT_TIMEOUT.increment([], 1);
        let node = self.node("Candidate");
        tracing::info!(target: "agent.server.raft", node, term = term.0, "entering candidate state");
        names::RAFT_STATE_CANDIDATE.increment([], 1);
    }

    /// Tells that the round before the election was won.
    fn pre_voted(before: Option<RoleName>, term: Term, voters: usize) {
        if before == Some(RoleName::PreCandidate) {
            let votes = voters / 2 + 1;
            tracing::info!(
                target: "agent.server.raft",
                { term = term.0, tally = votes, votesNeeded = votes },
                "pre-vote successful, starting election"
            );
        }
    }

    fn leads(&self, term: Term, voters: usize) {
        // The core does not tell how many votes there were: it took a majority.
        let tally = voters / 2 + 1;
        tracing::info!(target: "agent.server.raft", term = term.0, tally, "election won");
        let leader = self.node("Leader");
        tracing::info!(target: "agent.server.raft", leader, "entering leader state");
        names::RAFT_STATE_LEADER.increment([], 1);
    }

    /// Why leadership was lost.
    pub(super) fn lost(term: Term, reason: LossReason) {
        if reason == LossReason::LeaseExpired {
            names::RAFT_TRANSITION_LEADER_LEASE_TIMEOUT.increment([], 1);
        }
        tracing::warn!(target: "agent.server.raft", term = term.0, ?reason, "lost leadership");
    }

    fn node(&self, role: &str) -> String {
        format!("Node at {} [{role}]", self.address)
    }
}
