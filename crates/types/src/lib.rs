//! The words of Proconsul: names, indexes, Go-style durations, the public
//! resource structs, and the JSON and msgpack conventions that all of them
//! share.
//!
//! One struct describes one concept. The HTTP API, the Raft log, snapshots,
//! the command line and the agent's files all serialise the same Rust type:
//! `serde` tells a human-readable format (JSON, as Consul's HTTP API shows it)
//! from a binary one (msgpack, as Consul's RPC writes it) through
//! [`serde::Serializer::is_human_readable`].
//!
//! This crate does no I/O, reads no clock and makes no random numbers.

pub mod autopilot;
pub mod bytes;
pub mod catalog;
pub mod check;
pub mod connect_ca;
pub mod coordinate;
pub mod duration;
pub mod explain;
pub mod federation_state;
pub mod go_base64;
pub mod json;
pub mod keyring;
pub mod kv;
pub mod member;
pub mod meta;
pub mod msgpack;
pub mod name;
pub mod null;
pub mod operator;
pub mod prepared_query;
pub mod proxy;
pub mod query_meta;
pub mod remote_exec;
pub mod service;
pub mod session;
pub mod similar;
pub mod stored;
pub mod time;
pub mod txn;
pub mod usage;
pub mod user_event;
mod uuid;
pub mod version;

pub use crate::bytes::Blob;
pub use duration::GoDuration;
pub use name::{
    CheckId, Datacenter, EventId, Index, NodeId, NodeName, SecretId, ServiceId, ServiceName,
    SessionId,
};
pub use time::Timestamp;
pub use uuid::uuid;
