//! Sans-I/O consensus core with the semantics of hashicorp/raft.

pub mod entry;

pub use entry::{
    Configuration, Entry, EntryKind, HardState, LogPosition, Server, ServerId, SnapshotMeta,
    Suffrage, Term,
};
