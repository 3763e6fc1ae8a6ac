//! Membership by gossip, compatible byte for byte with memberlist and serf
//! (`reference/gossip-wire.md`).
//!
//! - [`wire`]: messages and the layers around them.
//! - [`memberlist`]: who is there: probes, suspicion, push-pull.
//! - `serf`: what is told on top: intents, tags, events, queries, keys, coordinates.

pub mod memberlist;
pub mod wire;
