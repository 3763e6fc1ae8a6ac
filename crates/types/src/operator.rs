//! The servers of the quorum, as operators see them (`/v1/operator/raft/configuration`).

use serde::{Deserialize, Serialize};

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

/// By what a server of the configuration is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RaftPeer {
    /// Its node id.
    Id(String),
    /// Its `ip:port`.
    Address(String),
}
