//! What a leader tells of the servers that it replicates to, in hashicorp/raft's words.

use std::collections::BTreeMap;

use raft::{Change, Configuration, FollowerStatus, Server, ServerId, Suffrage};
use types::Index;

use crate::raft_host::stats::configuration_text;

/// The servers that were told of.
#[derive(Default)]
pub(super) struct PeerLines {
    /// Those that get the log, and whether they were found to follow it.
    followed: BTreeMap<ServerId, bool>,
    /// The entry that set the members who are told.
    told: Option<Index>,
}

impl PeerLines {
    /// A change of members that the leader has taken on.
    pub(super) fn changed(change: &Change, latest: &Configuration) {
        let (command, id, address) = match change {
            Change::AddVoter { id, address } => ("AddVoter", id, &**address),
            Change::AddNonvoter { id, address } => ("AddNonvoter", id, &**address),
            Change::DemoteVoter { id } => ("DemoteVoter", id, ""),
            Change::Remove { id } => ("RemoveServer", id, ""),
        };
        let servers = configuration_text(latest);
        tracing::info!(
            target: "agent.server.raft",
            { command, "server-id" = %id.0, "server-addr" = %address, servers },
            "updating configuration"
        );
    }

    /// This server leads no more.
    pub(super) fn stop(&mut self) {
        *self = Self::default();
    }

    /// Whether there may be something to tell: the members are others, or one of them was not
    /// yet found to follow.
    pub(super) fn wants(&self, set_at: Index) -> bool {
        self.told != Some(set_at) || self.followed.values().any(|follows| !follows)
    }

    /// These are the members while this server leads, and what it knows of the others.
    pub(super) fn note(
        &mut self,
        set_at: Index,
        members: &Configuration,
        followers: &[FollowerStatus],
    ) {
        if self.told.replace(set_at) != Some(set_at) {
            self.followed.retain(|id, _| {
                let stays = followers.iter().any(|follower| follower.id == *id);
                if !stays {
                    tracing::info!(target: "agent.server.raft", peer = %id.0, "removed peer, stopping replication");
                }
                stays
            });
            for FollowerStatus { id, .. } in followers {
                self.followed.entry(id.clone()).or_insert_with(|| {
                    tracing::info!(target: "agent.server.raft", peer = %id.0, "added peer, starting replication");
                    false
                });
            }
        }
        for follower in followers.iter().filter(|follower| follower.matched > Index::ZERO) {
            let Some(follows) = self.followed.get_mut(&follower.id) else { continue };
            if !std::mem::replace(follows, true)
                && let Some(server) = members.server(&follower.id)
            {
                let peer = peer_text(server);
                tracing::info!(target: "agent.server.raft", peer, "pipelining replication");
            }
        }
    }
}

/// A server as Go prints one.
fn peer_text(server: &Server) -> String {
    let suffrage = match server.suffrage {
        Suffrage::Voter => "Voter",
        Suffrage::Nonvoter => "Nonvoter",
    };
    format!("{{{suffrage} {} {}}}", server.id.0, server.address)
}
