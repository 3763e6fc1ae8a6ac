//! Membership by gossip, compatible byte for byte with memberlist and serf
//! (`reference/gossip-wire.md`).
//!
//! - [`wire`]: messages and the layers around them.
//! - [`memberlist`]: who is there: probes, suspicion, push-pull.
//! - [`serf`]: what is told on top: intents, tags, events, queries, keys.
//! - [`coordinate`]: where a node is in the space of round trips.
//! - [`consul`]: what Consul says with all that: its tags, and who may be in its pools.

pub mod consul;
pub mod coordinate;
pub mod memberlist;
pub mod serf;
pub mod wire;
