//! What a Raft log holds, and what a server must not forget.
//!
//! Field meanings and numbers follow `reference/raft-and-snapshots.md`
//! sections 2 and 3, so that an entry can cross to a real Consul server.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use types::Index;

/// An election term. Zero is "before the first election".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Term(pub u64);

/// The identity of a server: its node id. Addresses are looked up elsewhere at send time.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerId(pub Arc<str>);

impl fmt::Debug for ServerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What an entry carries. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum EntryKind {
    /// A command for the state machine.
    Command = 0,
    /// Nothing: a new leader's first entry.
    Noop = 1,
    /// Nothing: proof that all before it is applied.
    Barrier = 4,
    /// An encoded [`Configuration`].
    Configuration = 5,
}

/// One entry of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log, from one.
    pub index: Index,
    /// The term of the leader that appended it.
    pub term: Term,
    /// What `data` is.
    pub kind: EntryKind,
    /// The command or configuration; opaque to the core.
    pub data: Bytes,
    /// Chunking and verification data, replicated verbatim.
    pub extensions: Bytes,
    /// When the leader appended it, in nanoseconds since the Unix epoch; zero when
    /// unknown. Information only, nothing depends on it.
    pub appended_at: u64,
}

/// Index and term of one entry: enough to compare two logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LogPosition {
    /// Compared first, as Raft's "more up to date" rule asks.
    pub term: Term,
    /// Compared second.
    pub index: Index,
}

/// Whether a server votes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Suffrage {
    /// Votes and counts for the quorum.
    Voter = 0,
    /// Receives the log only.
    Nonvoter = 1,
}

/// One member of the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Who.
    pub id: ServerId,
    /// `ip:port` when it was added; a hint, see [`ServerId`].
    pub address: Arc<str>,
    /// Voter or not.
    pub suffrage: Suffrage,
}

/// The members of the cluster. It takes effect when appended, not when committed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Configuration {
    /// The members; order is kept but means nothing.
    pub servers: Vec<Server>,
}

/// What must be on disk before a server answers a vote or an append.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HardState {
    /// The highest term seen.
    pub term: Term,
    /// The term of the last vote and who got it.
    pub vote: Option<(Term, ServerId)>,
}

/// What a snapshot stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// `<term>-<index>-<unix milliseconds>`, the name of its directory.
    pub id: String,
    /// The last entry it includes.
    pub last: LogPosition,
    /// The members as of that entry.
    pub configuration: Configuration,
    /// The index of the entry that set those members.
    pub configuration_index: Index,
    /// Bytes of state.
    pub size: u64,
}
