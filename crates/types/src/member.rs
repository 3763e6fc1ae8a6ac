//! Members of a gossip pool, as the agent shows them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// One agent of a pool (`reference/http-api.md` 2.2, `/v1/agent/members`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Member {
    /// Node name; in the WAN pool `<node>.<datacenter>`.
    pub name: String,
    /// IP address.
    pub addr: String,
    /// Gossip port.
    pub port: u16,
    /// What it says of itself.
    pub tags: BTreeMap<String, String>,
    /// How it is doing.
    pub status: MemberStatus,
    /// Lowest gossip protocol it understands.
    pub protocol_min: u8,
    /// Highest gossip protocol it understands.
    pub protocol_max: u8,
    /// The gossip protocol it speaks.
    pub protocol_cur: u8,
    /// Lowest Serf protocol it understands.
    pub delegate_min: u8,
    /// Highest Serf protocol it understands.
    pub delegate_max: u8,
    /// The Serf protocol it speaks.
    pub delegate_cur: u8,
}

/// How a member is doing. JSON shows the number; one that is not known is kept.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MemberStatus(pub u8);

impl MemberStatus {
    /// Nothing is known of it.
    pub const NONE: MemberStatus = MemberStatus(0);
    /// It answers.
    pub const ALIVE: MemberStatus = MemberStatus(1);
    /// It said that it is about to leave.
    pub const LEAVING: MemberStatus = MemberStatus(2);
    /// It left in order.
    pub const LEFT: MemberStatus = MemberStatus(3);
    /// It does not answer any more.
    pub const FAILED: MemberStatus = MemberStatus(4);

    /// The word for it: `none`, `alive`, `leaving`, `left` or `failed`; `unknown` beyond these.
    pub fn as_str(self) -> &'static str {
        match self.0 {
            0 => "none",
            1 => "alive",
            2 => "leaving",
            3 => "left",
            4 => "failed",
            _ => "unknown",
        }
    }
}
