//! Autopilot: how servers look after each other, and how they are doing
//! (`reference/http-api.md` 3.18, `reference/raft-and-snapshots.md` section 15).

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{GoDuration, Index, Timestamp};

/// What autopilot goes by. A body that leaves a field out gets the default.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotConfiguration {
    /// Whether dead servers are taken out of the quorum.
    pub cleanup_dead_servers: bool,
    /// The longest time since a healthy server and the leader heard of each other.
    pub last_contact_threshold: GoDuration,
    /// How many entries a healthy server may be behind.
    pub max_trailing_logs: u64,
    /// Dead servers are left in when fewer voters than this would remain.
    pub min_quorum: u64,
    /// How long a new server must be healthy before it may vote.
    pub server_stabilization_time: GoDuration,
    /// Enterprise: the node metadata that names a server's zone.
    pub redundancy_zone_tag: String,
    /// Enterprise: no migration to servers of a newer version.
    pub disable_upgrade_migration: bool,
    /// Enterprise: the node metadata that names a server's version.
    pub upgrade_version_tag: String,
    /// The index that brought it.
    pub create_index: Index,
    /// The index of its last change.
    pub modify_index: Index,
}

impl Default for AutopilotConfiguration {
    fn default() -> Self {
        Self {
            cleanup_dead_servers: true,
            last_contact_threshold: GoDuration::from_millis(200),
            max_trailing_logs: 250,
            min_quorum: 0,
            server_stabilization_time: GoDuration::from_secs(10),
            redundancy_zone_tag: String::new(),
            disable_upgrade_migration: false,
            upgrade_version_tag: String::new(),
            create_index: Index::ZERO,
            modify_index: Index::ZERO,
        }
    }
}

/// How the servers are doing (`/v1/operator/autopilot/state`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotState {
    /// Whether all servers are healthy.
    pub healthy: bool,
    /// How many healthy voters may fail before there is no quorum.
    pub failure_tolerance: u64,
    /// Enterprise: the same, counting servers that would take over. Else the same number.
    pub optimistic_failure_tolerance: u64,
    /// The servers by id.
    pub servers: BTreeMap<String, AutopilotServer>,
    /// The id of the leader.
    pub leader: String,
    /// The ids of those who vote, in order.
    pub voters: Vec<String>,
}

/// How one server is doing.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct AutopilotServer {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name.
    pub name: String,
    /// `ip:port`.
    pub address: String,
    /// What gossip says: `alive`, `left`, `failed` or `none`.
    pub node_status: String,
    /// The version it runs.
    pub version: String,
    /// How long ago it and the leader heard of each other; zero for the leader.
    pub last_contact: GoDuration,
    /// The term of the end of its log.
    pub last_term: u64,
    /// The end of its log.
    pub last_index: u64,
    /// Whether it is healthy.
    pub healthy: bool,
    /// Since when that is so.
    pub stable_since: Timestamp,
    /// Enterprise: whether it never votes.
    pub read_replica: bool,
    /// `leader`, `voter` or `non-voter`.
    pub status: String,
    /// The node's metadata.
    pub meta: Option<BTreeMap<String, String>>,
    /// `voter` in Community Edition.
    pub node_type: String,
}

impl AutopilotServer {
    /// [`Self::status`] of the leader.
    pub const LEADER: &str = "leader";
    /// [`Self::status`] of another voter.
    pub const VOTER: &str = "voter";
    /// [`Self::status`] of a server that only listens.
    pub const NON_VOTER: &str = "non-voter";
}

/// How the servers are doing, in fewer words (`/v1/operator/autopilot/health`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct OperatorHealth {
    /// Whether all servers are healthy.
    pub healthy: bool,
    /// How many healthy voters may fail before there is no quorum.
    pub failure_tolerance: u64,
    /// The servers by id.
    pub servers: Vec<ServerHealth>,
}

/// How one server is doing, in fewer words.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServerHealth {
    /// Its id.
    #[serde(rename = "ID")]
    pub id: String,
    /// The node's name.
    pub name: String,
    /// `ip:port`.
    pub address: String,
    /// What gossip says: `alive`, `left`, `failed` or `none`.
    pub serf_status: String,
    /// The version it runs.
    pub version: String,
    /// Whether it leads.
    pub leader: bool,
    /// How long ago it and the leader heard of each other; zero for the leader.
    pub last_contact: GoDuration,
    /// The term of the end of its log.
    pub last_term: u64,
    /// The end of its log.
    pub last_index: u64,
    /// Whether it is healthy.
    pub healthy: bool,
    /// Whether it votes.
    pub voter: bool,
    /// Since when it is as healthy as it is.
    pub stable_since: Timestamp,
}

impl From<&AutopilotState> for OperatorHealth {
    fn from(state: &AutopilotState) -> Self {
        let servers = state.servers.values().map(|server| ServerHealth {
            id: server.id.clone(),
            name: server.name.clone(),
            address: server.address.clone(),
            serf_status: server.node_status.clone(),
            version: server.version.clone(),
            leader: server.status == AutopilotServer::LEADER,
            last_contact: server.last_contact,
            last_term: server.last_term,
            last_index: server.last_index,
            healthy: server.healthy,
            voter: server.status != AutopilotServer::NON_VOTER,
            stable_since: server.stable_since,
        });
        Self {
            healthy: state.healthy,
            failure_tolerance: state.failure_tolerance,
            servers: servers.collect(),
        }
    }
}

/// What a server says of its part in the consensus: the reply of `Status.RaftStats`
/// (`reference/rpc-wire.md` sections 14 and 16).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ServerRaftStats {
    /// How long ago it heard of the leader, as a Go duration; `0` on the leader, `never`.
    pub last_contact: String,
    /// The term of the end of its log.
    pub last_term: u64,
    /// The end of its log.
    pub last_index: u64,
}

impl ServerRaftStats {
    /// [`Self::last_contact`]; `None` for never, or for a text that says nothing.
    pub fn since_contact(&self) -> Option<std::time::Duration> {
        match self.last_contact.as_str() {
            "never" => None,
            "0" => Some(std::time::Duration::ZERO),
            text => GoDuration::parse(text).ok().map(GoDuration::to_std),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::{self, Unknown};

    #[test]
    fn a_body_is_the_defaults_and_what_it_says() {
        let read =
            |text: &str| json::decode::<AutopilotConfiguration>(text.as_bytes(), Unknown::Deny);
        let default = AutopilotConfiguration::default();
        assert_eq!(read("{}"), Ok(default.clone()));
        let expected = AutopilotConfiguration {
            cleanup_dead_servers: false,
            last_contact_threshold: GoDuration::from_millis(500),
            min_quorum: 3,
            ..default
        };
        let text =
            r#"{"CleanupDeadServers": false, "LastContactThreshold": "500ms", "minquorum": 3}"#;
        assert_eq!(read(text), Ok(expected.clone()));
        let shown = r#"{"CleanupDeadServers":false,"LastContactThreshold":"500ms","MaxTrailingLogs":250,"MinQuorum":3,"ServerStabilizationTime":"10s","RedundancyZoneTag":"","DisableUpgradeMigration":false,"UpgradeVersionTag":"","CreateIndex":0,"ModifyIndex":0}"#;
        assert_eq!(String::from_utf8_lossy(&json::encode(&expected)), shown);
        for wrong in
            [r#"{"Foo":1}"#, r#"{"MaxTrailingLogs":-1}"#, r#"{"LastContactThreshold":"soon"}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn contact_is_a_duration_or_a_word() {
        let since = |text: &str| {
            ServerRaftStats { last_contact: text.to_owned(), ..Default::default() }.since_contact()
        };
        let ms = std::time::Duration::from_millis;
        for (text, expected) in [
            ("0", Some(ms(0))),
            ("never", None),
            ("13.5ms", Some(std::time::Duration::from_micros(13_500))),
            ("1m2s", Some(ms(62_000))),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(since(text), expected, "{text}");
        }
    }
}
