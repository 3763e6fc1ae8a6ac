//! The servers of the quorum, as operators see them (`/v1/operator/raft/configuration`),
//! and what operators ask of servers over the server port.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::autopilot::{AutopilotServer, AutopilotState};
use crate::{Datacenter, GoDuration, Index, SecretId, Timestamp};

/// The servers of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftConfiguration {
    /// The servers, in the order of the configuration.
    pub servers: Vec<RaftServer>,
    /// Zero, whichever entry set the configuration: Consul tells no other.
    pub index: u64,
}

/// One server of the Raft configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RaftServer {
    /// The node id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name; [`RaftServer::UNKNOWN_NODE`] if gossip does not know it.
    pub node: String,
    /// `ip:port`.
    pub address: String,
    /// Whether it leads.
    pub leader: bool,
    /// The Raft protocol it speaks.
    pub protocol_version: String,
    /// Whether it votes.
    pub voter: bool,
    /// The end of its log, as far as the server that answers knows; zero if it does not.
    pub last_index: u64,
}

impl RaftServer {
    /// [`Self::node`] of a server that gossip does not know.
    pub const UNKNOWN_NODE: &str = "(unknown)";
}

/// What a recovery of the quorum would do, as the server sees it that is asked for one.
/// Consul has no such thing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Recovery {
    /// The node id of that server.
    #[serde(rename = "ID")]
    pub id: String,
    /// The term of the end of its log.
    pub last_term: u64,
    /// The end of its log.
    pub last_index: u64,
    /// As far as it knows that a majority had the log.
    pub commit_index: u64,
    /// How long ago it last heard of a leader, or was one.
    pub last_contact: GoDuration,
    /// The servers of the Raft configuration.
    pub servers: Vec<RecoveryServer>,
    /// Why there is to be none; empty if those that answer may go on.
    pub refused: String,
}

/// One server of the Raft configuration that is to be recovered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RecoveryServer {
    /// The node id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name; [`RaftServer::UNKNOWN_NODE`] if gossip does not know it.
    pub node: String,
    /// `ip:port` in the configuration.
    pub address: String,
    /// Whether it votes.
    pub voter: bool,
    /// How its member is doing; `none` without one.
    pub status: String,
    /// Whether it answers, and so is left.
    pub answers: bool,
    /// The term of the end of its log; zero if it does not answer.
    pub last_term: u64,
    /// The end of its log; zero if it does not answer.
    pub last_index: u64,
}

/// Which log an operator saw who orders a recovery.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RecoveryOrder {
    /// The term of its end.
    pub last_term: u64,
    /// Its end.
    pub last_index: u64,
}

/// By what a server of the configuration is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftPeer {
    /// Its node id.
    Id(String),
    /// Its `ip:port`.
    Address(String),
}

/// `Operator.RaftRemovePeerByID` and `Operator.RaftRemovePeerByAddress`
/// (`reference/rpc-wire.md` section 16).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct RemovePeerRequest {
    /// `ip:port` of the server, where it is named by that.
    pub address: String,
    /// Where to do it.
    pub datacenter: Datacenter,
    /// The node id of the server, where it is named by that.
    #[serde(rename = "ID")]
    pub id: String,
    /// The token.
    pub token: SecretId,
}

/// What comes first on a snapshot stream (`reference/rpc-wire.md` section 11).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SnapshotRequest {
    /// Whether any server may answer.
    pub allow_stale: bool,
    /// Which datacenter's state.
    pub datacenter: Datacenter,
    /// [`Self::SAVE`] or [`Self::RESTORE`].
    pub op: i64,
    /// The token.
    pub token: SecretId,
}

impl SnapshotRequest {
    /// [`Self::op`]: the archive comes back.
    pub const SAVE: i64 = 0;
    /// [`Self::op`]: the archive follows.
    pub const RESTORE: i64 = 1;
}

/// What answers a [`SnapshotRequest`]; the facts of a read stand in the same map.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SnapshotReply {
    /// Why there is no archive, or why none was restored; empty if it went well.
    pub error: String,
    /// The index of the state.
    pub index: Index,
    /// Whether the cluster has a leader.
    pub known_leader: bool,
    /// How long ago the server heard of the leader.
    pub last_contact: GoDuration,
}

/// `Operator.AutopilotState` as it crosses the wire (`reference/rpc-wire.md` section 16).
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotStateReply {
    failure_tolerance: u64,
    healthy: bool,
    leader: String,
    servers: BTreeMap<String, ServerState>,
    voters: Vec<String>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServerState {
    health: HealthOfServer,
    server: ServerOfState,
    state: String,
    stats: StatsOfServer,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HealthOfServer {
    healthy: bool,
    stable_since: Timestamp,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct ServerOfState {
    address: String,
    #[serde(rename = "ID")]
    id: String,
    is_leader: bool,
    meta: Option<BTreeMap<String, String>>,
    name: String,
    node_status: String,
    node_type: String,
    raft_version: u64,
    version: String,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct StatsOfServer {
    last_contact: GoDuration,
    last_index: u64,
    last_term: u64,
}

impl From<&AutopilotState> for AutopilotStateReply {
    fn from(state: &AutopilotState) -> Self {
        let servers = state.servers.iter().map(|(id, server)| {
            let server = ServerState {
                health: HealthOfServer {
                    healthy: server.healthy,
                    stable_since: server.stable_since,
                },
                server: ServerOfState {
                    address: server.address.clone(),
                    id: server.id.clone(),
                    is_leader: server.status == AutopilotServer::LEADER,
                    meta: server.meta.clone(),
                    name: server.name.clone(),
                    node_status: server.node_status.clone(),
                    node_type: server.node_type.clone(),
                    raft_version: 3,
                    version: server.version.clone(),
                },
                state: server.status.clone(),
                stats: StatsOfServer {
                    last_contact: server.last_contact,
                    last_index: server.last_index,
                    last_term: server.last_term,
                },
            };
            (id.clone(), server)
        });
        Self {
            failure_tolerance: state.failure_tolerance,
            healthy: state.healthy,
            leader: state.leader.clone(),
            servers: servers.collect(),
            voters: state.voters.clone(),
        }
    }
}

impl From<AutopilotStateReply> for AutopilotState {
    fn from(reply: AutopilotStateReply) -> Self {
        let servers = reply.servers.into_iter().map(|(id, from)| {
            let ServerState { health, server, state, stats } = from;
            let server = AutopilotServer {
                id: server.id,
                name: server.name,
                address: server.address,
                node_status: server.node_status,
                version: server.version,
                last_contact: stats.last_contact,
                last_term: stats.last_term,
                last_index: stats.last_index,
                healthy: health.healthy,
                stable_since: health.stable_since,
                read_replica: false,
                status: state,
                meta: server.meta,
                node_type: server.node_type,
            };
            (id, server)
        });
        Self {
            healthy: reply.healthy,
            failure_tolerance: reply.failure_tolerance,
            optimistic_failure_tolerance: reply.failure_tolerance,
            servers: servers.collect(),
            leader: reply.leader,
            voters: reply.voters,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::msgpack;

    #[test]
    fn the_state_of_autopilot_survives_the_wire() {
        let server = AutopilotServer {
            id: "u-1".to_owned(),
            name: "s1".to_owned(),
            status: AutopilotServer::LEADER.to_owned(),
            last_contact: GoDuration::from_millis(7),
            last_index: 9,
            meta: Some(BTreeMap::from([("a".to_owned(), "b".to_owned())])),
            ..AutopilotServer::default()
        };
        let state = AutopilotState {
            healthy: true,
            failure_tolerance: 1,
            optimistic_failure_tolerance: 1,
            servers: BTreeMap::from([("u-1".to_owned(), server)]),
            leader: "u-1".to_owned(),
            voters: vec!["u-1".to_owned()],
        };
        let bytes = msgpack::to_vec(&AutopilotStateReply::from(&state));
        let read: AutopilotStateReply = msgpack::from_slice(&bytes).expect("it was written");
        assert_eq!(AutopilotState::from(read), state);
    }
}
