//! The figures of one server's part in the consensus.

use std::collections::BTreeMap;
use std::time::Duration;

use raft::{Configuration, FollowerStatus, RoleName, Status, Suffrage};
use types::Index;

/// What `/v1/agent/self` and `consul info` show as `raft`, and what autopilot and
/// telemetry want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RaftStats {
    /// Where the core stands.
    pub status: Status,
    /// The last entry that was applied here.
    pub applied: Index,
    /// Proposals that wait for their outcome.
    pub pending: usize,
    /// The members that are in effect.
    pub configuration: Configuration,
    /// The entry that set them.
    pub configuration_index: Index,
    /// How long ago the leader was heard of; `None` for never, zero on the leader.
    pub last_contact: Option<Duration>,
    /// The other servers, if this one leads.
    pub followers: Vec<FollowerStatus>,
}

impl RaftStats {
    /// The keys and values of `reference/cli.md`, section on `info`.
    pub fn to_map(&self) -> BTreeMap<&'static str, String> {
        let status = &self.status;
        let state = match status.role {
            RoleName::Follower => "Follower",
            RoleName::PreCandidate | RoleName::Candidate => "Candidate",
            RoleName::Leader => "Leader",
        };
        BTreeMap::from([
            ("applied_index", self.applied.to_string()),
            ("commit_index", status.commit.to_string()),
            ("fsm_pending", "0".to_owned()),
            ("last_contact", self.last_contact_text()),
            ("last_log_index", status.last.index.to_string()),
            ("last_log_term", status.last.term.0.to_string()),
            ("last_snapshot_index", status.snapshot.index.to_string()),
            ("last_snapshot_term", status.snapshot.term.0.to_string()),
            ("latest_configuration", configuration_text(&self.configuration)),
            ("latest_configuration_index", self.configuration_index.to_string()),
            ("num_peers", self.peers().to_string()),
            ("protocol_version", "3".to_owned()),
            ("protocol_version_max", "3".to_owned()),
            ("protocol_version_min", "0".to_owned()),
            ("snapshot_version_max", "1".to_owned()),
            ("snapshot_version_min", "0".to_owned()),
            ("state", state.to_owned()),
            ("term", status.term.0.to_string()),
        ])
    }

    /// [`Self::last_contact`] in words: `0` on the leader, `never`, or a duration.
    pub fn last_contact_text(&self) -> String {
        match self.last_contact {
            _ if self.status.role == RoleName::Leader => "0".to_owned(),
            None => "never".to_owned(),
            Some(contact) => types::GoDuration::from(contact).to_string(),
        }
    }

    /// The other voters, if this server is one.
    pub fn peers(&self) -> usize {
        let voters = self.configuration.voters().count();
        if self.configuration.is_voter(&self.status.id) { voters - 1 } else { 0 }
    }
}

pub(super) fn configuration_text(configuration: &Configuration) -> String {
    let servers = configuration.servers.iter().map(|server| {
        let suffrage = match server.suffrage {
            Suffrage::Voter => "Voter",
            Suffrage::Nonvoter => "Nonvoter",
        };
        format!("{{Suffrage:{suffrage} ID:{} Address:{}}}", server.id.0, server.address)
    });
    format!("[{}]", servers.collect::<Vec<_>>().join(" "))
}
