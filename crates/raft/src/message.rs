//! What servers say to each other: `reference/raft-and-snapshots.md` section 2.
//!
//! The header of the wire (protocol version, ID, address) is the transport's: it knows both
//! sides. Each request is a call with one answer; [`RequestId`] pairs them.

use types::Index;

use crate::entry::{Entry, LogPosition, ServerId, SnapshotMeta, Term};

/// Pairs an answer with its request. The sender of a request chooses it and it never crosses
/// the wire: the sender's transport gives the answer the number of the call it answers; the
/// receiver's transport may choose any number for an incoming call, which the answer repeats.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);

/// One request or answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    /// Which call it belongs to.
    pub request: RequestId,
    /// What is said.
    pub body: Body,
}

/// The requests and answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// Replicates entries, spreads the commit index, and keeps followers from campaigning.
    AppendEntries(AppendEntries),
    /// Answer to [`Body::AppendEntries`].
    AppendEntriesResponse(AppendEntriesResponse),
    /// Asks for a vote.
    RequestVote(RequestVote),
    /// Answer to [`Body::RequestVote`].
    RequestVoteResponse(VoteResponse),
    /// Asks whether a vote would be given; changes nothing at the receiver.
    RequestPreVote(RequestPreVote),
    /// Answer to [`Body::RequestPreVote`]. A peer that answers `unexpected command` counts as
    /// granting: the transport then makes up `{term: request.term, granted: true}`.
    RequestPreVoteResponse(VoteResponse),
    /// Announces a snapshot. When the core gets it, the transport has already received all its
    /// bytes, as the receiver must read them before it answers.
    InstallSnapshot(InstallSnapshot),
    /// Answer to [`Body::InstallSnapshot`].
    InstallSnapshotResponse(InstallSnapshotResponse),
    /// Tells a follower to campaign at once, so that leadership moves to it.
    TimeoutNow,
    /// Answer to [`Body::TimeoutNow`]; says nothing.
    TimeoutNowResponse,
}

impl Body {
    /// Whether it answers a request.
    pub fn is_response(&self) -> bool {
        matches!(
            self,
            Body::AppendEntriesResponse(_)
                | Body::RequestVoteResponse(_)
                | Body::RequestPreVoteResponse(_)
                | Body::InstallSnapshotResponse(_)
                | Body::TimeoutNowResponse
        )
    }
}

/// No honest term or index comes near this; sums with smaller ones cannot overflow.
const LIMIT: u64 = 1 << 60;

impl Body {
    /// Whether terms and indexes can be those of a real cluster.
    pub(crate) fn is_sane(&self) -> bool {
        let (term, position, other) = match self {
            Body::AppendEntries(b) => (b.term, b.previous, b.leader_commit),
            Body::AppendEntriesResponse(b) => (b.term, LogPosition::default(), b.last_log),
            Body::RequestVote(b) => (b.term, b.last, Index::ZERO),
            Body::RequestPreVote(b) => (b.term, b.last, Index::ZERO),
            Body::InstallSnapshot(b) => (b.term, b.snapshot.last, b.snapshot.configuration_index),
            Body::RequestVoteResponse(b) | Body::RequestPreVoteResponse(b) => {
                (b.term, LogPosition::default(), Index::ZERO)
            }
            Body::InstallSnapshotResponse(b) => (b.term, LogPosition::default(), Index::ZERO),
            Body::TimeoutNow | Body::TimeoutNowResponse => return true,
        };
        [term.0, position.term.0, position.index.0, other.0].iter().all(|number| *number < LIMIT)
    }
}

/// Thesis figure 3.1. The wire's `Leader` is the address of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEntries {
    /// The leader's term.
    pub term: Term,
    /// `PrevLogEntry` and `PrevLogTerm`: the entry before `entries`; zero asks for no check.
    pub previous: LogPosition,
    /// The entries; none for a heartbeat or a probe.
    pub entries: Vec<Entry>,
    /// `LeaderCommitIndex`; zero in a heartbeat.
    pub leader_commit: Index,
}

impl AppendEntries {
    /// Whether it is a heartbeat proper: on the wire its `Entries` are nil, not an empty array.
    pub fn is_heartbeat(&self) -> bool {
        self.entries.is_empty() && self.previous.index == Index::ZERO
    }
}

/// What became of an AppendEntries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AppendEntriesResponse {
    /// The receiver's term.
    pub term: Term,
    /// The receiver's last index: where the leader should try next after a mismatch.
    pub last_log: Index,
    /// Whether the entries are in the receiver's log, durably.
    pub success: bool,
    /// Whether the leader should try again at once: it was a mere mismatch.
    pub no_retry_backoff: bool,
}

/// Thesis figure 3.1. The wire's `Candidate` is the address of the sender.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestVote {
    /// The candidate's term.
    pub term: Term,
    /// The end of its log.
    pub last: LogPosition,
    /// Whether the old leader asked for this election, so that voters need not protect it.
    pub leadership_transfer: bool,
}

/// Thesis section 9.6.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestPreVote {
    /// The term the candidate would have: its own plus one.
    pub term: Term,
    /// The end of its log.
    pub last: LogPosition,
}

/// What became of a [`RequestVote`] or [`RequestPreVote`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VoteResponse {
    /// The voter's term; for a granted vote, and for a pre-vote with a newer term, the request's.
    pub term: Term,
    /// The answer.
    pub granted: bool,
}

/// Thesis section 5.2. The bytes travel beside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallSnapshot {
    /// The leader's term.
    pub term: Term,
    /// What the snapshot stands for. Its `id` is the sender's own name for it and does not
    /// cross the wire; the receiver's transport puts its own name there.
    pub snapshot: SnapshotMeta,
}

/// What became of an [`InstallSnapshot`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InstallSnapshotResponse {
    /// The receiver's term.
    pub term: Term,
    /// Whether it is durable and the receiver's state is now the snapshot's.
    pub success: bool,
}

/// Who a message is for. The address is the configuration's, a hint: a transport looks the
/// id up elsewhere first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The server.
    pub id: ServerId,
    /// `ip:port` as in the latest configuration, empty when the server is not in it.
    pub address: std::sync::Arc<str>,
}
