//! Planted bugs: proof that the checkers bite.
//!
//! Each is a mistake of a shell or of a peer, made here by the simulated server or by altering
//! what passes between it and the core. No code path of the product knows of them.

/// A mistake to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// The vote is left out when term and vote are stored.
    VoteNotPersisted,
    /// Term and vote are not stored at all.
    TermNotPersisted,
    /// The core is told that writes are durable before they are begun.
    ReplyBeforePersist,
    /// Syncs return without having synced.
    LostSync,
    /// Entries that find a full disk are called durable.
    FullDiskIgnored,
    /// A leader calls committed what a majority has, though it is of an older term
    /// (thesis figure 3.7).
    CommitOlderTerm,
    /// A leader calls committed what it has itself.
    CommitWithoutQuorum,
    /// A nonvoter's acknowledgement counts as a voter's.
    NonvotersCount,
    /// A follower keeps its own entries where the leader's differ.
    ConflictIgnored,
    /// After a restart the first entries are applied again behind the ones that follow.
    ApplyTwiceAfterRestart,
    /// A state machine whose outcome depends on the server.
    UnequalApply,
    /// A default read asks whether this server leads, not whether its lease holds.
    StaleReadWithoutLease,
    /// A consistent read does not wait until what was committed is applied.
    ReadBeforeApplied,
    /// A write is acknowledged when it is appended, not when it is committed.
    AcknowledgedBeforeCommit,
    /// A snapshot lacks the effect of the last entry it claims to include.
    SnapshotMissingLast,
    /// A received snapshot is made durable, but the state in memory stays.
    SnapshotNotRestored,
    /// A snapshot lacks the sessions.
    SnapshotWithoutSessions,
    /// Applying a command reads the server's clock.
    ApplyReadsClock,
    /// The end of a session leaves its locks held.
    LocksOutlive,
    /// The end of a session leaves the keys that it should delete.
    KeysOutlive,
    /// A lock is given to who asks for it, though another holds it.
    LockGivenTwice,
    /// A query that waits is not woken.
    WakeLost,
    /// A query that waits is woken by whatever is applied.
    WakeWithoutChange,
    /// Who leads again remembers when sessions were over the last time that it led.
    TimersKept,
    /// An answer tells the index of the last command, not that of its rows.
    IndexTooNew,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 25] = [
        Bug::VoteNotPersisted,
        Bug::TermNotPersisted,
        Bug::ReplyBeforePersist,
        Bug::LostSync,
        Bug::FullDiskIgnored,
        Bug::CommitOlderTerm,
        Bug::CommitWithoutQuorum,
        Bug::NonvotersCount,
        Bug::ConflictIgnored,
        Bug::ApplyTwiceAfterRestart,
        Bug::UnequalApply,
        Bug::StaleReadWithoutLease,
        Bug::ReadBeforeApplied,
        Bug::AcknowledgedBeforeCommit,
        Bug::SnapshotMissingLast,
        Bug::SnapshotNotRestored,
        Bug::SnapshotWithoutSessions,
        Bug::ApplyReadsClock,
        Bug::LocksOutlive,
        Bug::KeysOutlive,
        Bug::LockGivenTwice,
        Bug::WakeLost,
        Bug::WakeWithoutChange,
        Bug::TimersKept,
        Bug::IndexTooNew,
    ];

    /// Whether it is one of applying commands, which all servers have alike.
    pub(crate) fn is_in_apply(self) -> bool {
        matches!(self, Bug::LocksOutlive | Bug::KeysOutlive | Bug::LockGivenTwice)
    }

    /// The bug of that name, as `Debug` prints it.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}
