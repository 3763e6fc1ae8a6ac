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

/// How a member is doing. JSON shows the number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum MemberStatus {
    /// Not known.
    #[default]
    None = 0,
    /// It answers.
    Alive = 1,
    /// It said that it is about to leave.
    Leaving = 2,
    /// It left.
    Left = 3,
    /// It does not answer.
    Failed = 4,
}

impl Serialize for MemberStatus {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u8(*self as u8)
    }
}

impl<'de> Deserialize<'de> for MemberStatus {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(match u8::deserialize(deserializer)? {
            1 => MemberStatus::Alive,
            2 => MemberStatus::Leaving,
            3 => MemberStatus::Left,
            4 => MemberStatus::Failed,
            _ => MemberStatus::None,
        })
    }
}
