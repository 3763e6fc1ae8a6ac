//! A node of the pool.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;

use crate::wire::Versions;

/// What is known of a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its name, which no other node of the pool has.
    pub name: Arc<str>,
    /// Where it gossips.
    pub addr: SocketAddr,
    /// What serf says of it: its tags. At most 512 bytes.
    pub meta: Bytes,
    /// What it understands and speaks.
    pub versions: Versions,
    /// How it is doing.
    pub state: NodeState,
    /// Counts up whenever the node has something new to say of itself.
    pub incarnation: u32,
}

/// How a node is doing, with the numbers that a push/pull has for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeState {
    /// It answers.
    Alive = 0,
    /// It did not answer, and may still say that it is there.
    Suspect = 1,
    /// It did not answer in time.
    Dead = 2,
    /// It said that it leaves.
    Left = 3,
}

impl NodeState {
    /// The state of a number; `None` for a number that is none.
    pub fn from_number(number: i64) -> Option<Self> {
        Some(match number {
            0 => Self::Alive,
            1 => Self::Suspect,
            2 => Self::Dead,
            3 => Self::Left,
            _ => return None,
        })
    }

    /// Whether it is gone, for one reason or the other.
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Dead | Self::Left)
    }
}
