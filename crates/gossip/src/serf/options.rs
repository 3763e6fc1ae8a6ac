//! How a pool behaves on this node.

use std::time::Duration;

use ipnet::IpNet;

use super::snapshot::Snapshot;
use crate::consul::{MergeRules, Tags};
use crate::memberlist;
use crate::wire::Security;

/// Settings of one node in one pool.
#[derive(Clone, Debug)]
pub struct Options {
    /// What is underneath: name, address, timings.
    pub memberlist: memberlist::Options,
    /// What this node says of itself.
    pub tags: Tags,
    /// Who may be in the pool.
    pub merge: MergeRules,
    /// Networks that members may be in; empty for all.
    pub allowed_networks: Vec<IpNet>,
    /// Keys and label, with which the shell seals and opens.
    pub security: Security,
    /// Whether a change of the keys is only told as done once the shell has it on disk.
    pub persist_keyring: bool,
    /// What a file of an earlier life said; `None` if none is kept.
    pub snapshot: Option<Snapshot>,
    /// Whether a node whose name another one has too asks the pool which of them is to go.
    pub resolve_name_conflicts: bool,
    /// Durations.
    pub timings: Timings,
    /// Sizes.
    pub limits: Limits,
    /// Where randomness starts.
    pub seed: u64,
}

impl Options {
    /// Consul's, for a pool without keys and files that everybody may join.
    pub fn new(memberlist: memberlist::Options, seed: u64) -> Self {
        Self {
            memberlist,
            tags: Tags::new(),
            merge: MergeRules::Everybody,
            allowed_networks: Vec::new(),
            security: Security::default(),
            persist_keyring: false,
            snapshot: None,
            resolve_name_conflicts: false,
            timings: Timings::default(),
            limits: Limits::default(),
            seed,
        }
    }
}

/// Durations. The defaults are Consul's (`reference/gossip-wire.md` sections 9 and 11).
#[derive(Clone, Debug)]
pub struct Timings {
    /// How long a failed member is kept and tried, unless it says otherwise.
    pub reconnect_timeout: Duration,
    /// How long a member that left is kept.
    pub tombstone_timeout: Duration,
    /// How long an intent for a member that is not known is kept.
    pub recent_intent_timeout: Duration,
    /// How long to wait until a message has been passed on.
    pub broadcast_timeout: Duration,
    /// How long to stay after a leave, for the others to hear of it.
    pub leave_propagate_delay: Duration,
    /// A member that comes back within this time flaps.
    pub flap_timeout: Duration,
    /// Between removals of what is kept no longer.
    pub reap_interval: Duration,
    /// Between tries to reach a failed member.
    pub reconnect_interval: Duration,
    /// Between looks at the lengths of the queues.
    pub queue_check_interval: Duration,
}

impl Default for Timings {
    fn default() -> Self {
        const HOUR: Duration = Duration::from_secs(3600);
        Self {
            reconnect_timeout: 72 * HOUR,
            tombstone_timeout: 24 * HOUR,
            recent_intent_timeout: Duration::from_secs(300),
            broadcast_timeout: Duration::from_secs(5),
            leave_propagate_delay: Duration::from_secs(3),
            flap_timeout: Duration::from_secs(60),
            reap_interval: Duration::from_secs(15),
            reconnect_interval: Duration::from_secs(30),
            queue_check_interval: Duration::from_secs(30),
        }
    }
}

/// Most bytes of messages, and most messages. The defaults are Consul's.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a user event.
    pub event: usize,
    /// Bytes of a query.
    pub query: usize,
    /// Bytes of an answer to a query.
    pub response: usize,
    /// Messages that wait in each queue, if that is more than two for each member.
    pub queue_depth: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { event: 512, query: 1024, response: 1024, queue_depth: 4096 }
    }
}
