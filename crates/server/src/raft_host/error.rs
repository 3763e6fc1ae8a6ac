//! What can go wrong in the host, by who is told.

use contract::CallError;
use raft::{ChangeError, ServerId};
use wal::{DiskError, LogError, StableError};

/// Why a proposal, or another request to the host, failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProposeError {
    /// This server does not lead; the leader it knows.
    #[error("node is not the leader")]
    NotLeader(Option<ServerId>),
    /// Leadership was lost before the outcome was known.
    #[error("leadership lost while committing log")]
    LeadershipLost,
    /// A snapshot was restored before the outcome was known.
    #[error("snapshot restored while committing log")]
    SnapshotRestored,
    /// Leadership is on its way to another server.
    #[error("leadership transfer in progress")]
    TransferInProgress,
    /// An operator's restore is under way.
    #[error("snapshot restore in progress")]
    RestoreInProgress,
    /// A change of members or leadership was refused.
    #[error(transparent)]
    Change(ChangeError),
    /// The servers that are left do not go on without the others.
    #[error(transparent)]
    Recover(#[from] raft::RecoverError),
    /// The queue stayed full for 30 seconds.
    #[error("timed out enqueuing operation")]
    EnqueueTimeout,
    /// The command has more bytes than any entry may have.
    #[error("a command of {0} bytes is too large")]
    TooLarge(usize),
    /// There is no room on this server's disk.
    #[error("the disk of this server is full, make room for its data directory: {error}")]
    DiskFull {
        /// What the disk said.
        error: DiskError,
        /// Whether the command is in the log already, and takes effect once there is room.
        queued: bool,
    },
    /// The snapshot could not be written.
    #[error("snapshot: {0}")]
    Snapshot(String),
    /// The host has ended in order.
    #[error("raft is already shutdown")]
    Shutdown,
    /// The host could not go on.
    #[error(transparent)]
    Fatal(Fatal),
}

impl ProposeError {
    /// Whether the command may have taken effect, or may yet.
    pub fn is_ambiguous(&self) -> bool {
        matches!(
            self,
            Self::LeadershipLost
                | Self::SnapshotRestored
                | Self::DiskFull { queued: true, .. }
                | Self::Shutdown
                | Self::Fatal(_)
        )
    }

    /// What the client is told.
    pub fn to_call_error(&self) -> CallError {
        match self {
            Self::NotLeader(_) => CallError::no_leader(),
            other => CallError::failed(other.to_string()),
        }
    }
}

impl From<raft::ProposeError> for ProposeError {
    fn from(error: raft::ProposeError) -> Self {
        match error {
            raft::ProposeError::NotLeader(leader) => Self::NotLeader(leader),
            raft::ProposeError::TransferInProgress => Self::TransferInProgress,
            raft::ProposeError::RestoreInProgress => Self::RestoreInProgress,
            raft::ProposeError::ConfigurationEntry => {
                Self::Change(ChangeError::Propose(raft::ProposeError::ConfigurationEntry))
            }
        }
    }
}

impl From<ChangeError> for ProposeError {
    fn from(error: ChangeError) -> Self {
        match error {
            ChangeError::Propose(error) => error.into(),
            other => Self::Change(other),
        }
    }
}

/// Why the host could not go on. The process must exit with this text: what is in
/// memory is ahead of, or other than, what is on disk.
#[derive(Clone, Debug, thiserror::Error)]
#[error("raft cannot go on and this server must stop: {reason}")]
pub struct Fatal {
    /// What happened.
    pub reason: String,
}

impl Fatal {
    pub(super) fn new(reason: impl ToString) -> Self {
        Self { reason: reason.to_string() }
    }
}

/// Why a host did not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The log could not be opened.
    #[error("raft log: {0}")]
    Log(#[from] LogError),
    /// Term and vote could not be read.
    #[error("raft stable store: {0}")]
    Stable(#[from] StableError),
    /// The snapshots could not be looked at.
    #[error("raft snapshots: {0}")]
    Snapshots(#[from] DiskError),
    /// There are snapshots but none that is sound, and the log does not begin at one.
    #[error("no raft snapshot is readable: {0}")]
    NoSnapshot(String),
    /// The state machine refuses the snapshot.
    #[error("raft snapshot {id}: {reason}")]
    Restore {
        /// Which.
        id: String,
        /// Why.
        reason: String,
    },
    /// What an operator wrote into `peers.json` cannot be put in force. Nothing has changed.
    #[error(
        "recovery with raft/peers.json failed: {0}; mend the file, or remove it to start as before"
    )]
    Recovery(String),
    /// Log and snapshot do not fit together.
    #[error(transparent)]
    Core(#[from] raft::LogError),
    /// The own configuration is not valid.
    #[error(transparent)]
    Bootstrap(#[from] raft::BootstrapError),
    /// The thread could not be started.
    #[error("raft thread: {0}")]
    Thread(std::io::Error),
}
