//! What Consul says through a pool: tags, names, who may be in it, and events of its own
//! (`reference/gossip-wire.md` sections 15 and 16).
//!
//! - `tags`: what an agent says of itself.
//! - `server`: a member that is a server, read from its tags.
//! - `merge`: which members a pool lets in.

mod merge;
mod server;
mod tags;

pub use merge::{MergeRules, Refusal, enforces_acls};
pub use server::{Build, Server, client_datacenter};
pub use tags::{ClientTags, ServerTags, Tags, reconnect_timeout};

/// The event by which a new leader is announced in the LAN pool; its payload is the name of
/// the leader's node.
pub const NEW_LEADER_EVENT: &str = "consul:new-leader";

/// What stands before the names of the events of users.
pub const USER_EVENT_PREFIX: &str = "consul:event:";

/// The name of a server in the WAN pool.
pub fn wan_name(node: &str, datacenter: &str) -> String {
    format!("{node}.{datacenter}")
}
