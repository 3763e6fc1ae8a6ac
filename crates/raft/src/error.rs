//! What can go wrong, by what was asked.

use types::Index;

use crate::entry::{LogPosition, ServerId};

/// The stored log could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("raft log: {0}")]
pub struct LogError(pub String);

/// Why entries were not accepted. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProposeError {
    /// This server does not lead; the last known leader.
    #[error("node is not the leader")]
    NotLeader(Option<ServerId>),
    /// Leadership is being transferred.
    #[error("leadership transfer in progress")]
    TransferInProgress,
    /// A snapshot is being restored by the operator.
    #[error("snapshot restore in progress")]
    RestoreInProgress,
    /// A configuration goes through [`crate::Core::change_membership`].
    #[error("a configuration cannot be proposed as an entry")]
    ConfigurationEntry,
}

/// Why a change of members or of leadership, or an operator's restore, was refused or failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// See [`ProposeError`].
    #[error(transparent)]
    Propose(#[from] ProposeError),
    /// The latest change is not committed yet, or the new leader's first entry is not.
    #[error("configuration change already in progress")]
    InProgress,
    /// The configuration is no longer the one the caller saw.
    #[error("configuration changed since {expected} (latest is {latest})")]
    Changed {
        /// The index the caller saw.
        expected: Index,
        /// The index of the latest configuration.
        latest: Index,
    },
    /// The result would not be a configuration.
    #[error(transparent)]
    Invalid(#[from] ConfigurationError),
    /// No voter other than this server can take over, or the one named is none.
    #[error("cannot find peer")]
    NoTarget,
    /// The transfer did not happen within the election timeout.
    #[error("leadership transfer timeout")]
    TransferTimeout,
    /// Leadership was lost for another reason while transferring.
    #[error("leadership lost while committing log")]
    LeadershipLost,
}

/// Why a configuration is not valid.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConfigurationError {
    /// No server votes.
    #[error("need at least one voter in configuration")]
    NoVoter,
    /// A server without an id.
    #[error("empty ID in configuration")]
    EmptyId,
    /// A server without an address.
    #[error("empty address in configuration: {0:?}")]
    EmptyAddress(ServerId),
    /// Two servers with one id.
    #[error("found duplicate ID in configuration: {0:?}")]
    DuplicateId(ServerId),
    /// Two servers with one address.
    #[error("found duplicate address in configuration: {0}")]
    DuplicateAddress(String),
    /// The bytes of a configuration entry are not one.
    #[error("configuration entry: {0}")]
    Undecodable(String),
}

/// Why a cluster was not bootstrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BootstrapError {
    /// There is a log, a snapshot or a term already.
    #[error("bootstrap only works on new clusters")]
    NotNew,
    /// The configuration is not valid.
    #[error(transparent)]
    Invalid(#[from] ConfigurationError),
}

/// Why a server does not go on without the majority ([`crate::Core::recover`]). Nothing was
/// changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RecoverError {
    /// It leads, so there is a majority, or was a moment ago.
    #[error("this server leads: there is a majority")]
    Leads,
    /// It has heard of a leader lately.
    #[error("this server follows {0:?}: there is a majority")]
    LeaderKnown(ServerId),
    /// It takes a snapshot, or has stopped.
    #[error("this server takes a snapshot of a leader, or has stopped")]
    Busy,
    /// Its log is not what it was when the operator judged.
    #[error("the log has changed meanwhile: it ended at {expected:?} and ends at {last:?}")]
    Changed {
        /// Where it ended.
        expected: LogPosition,
        /// Where it ends.
        last: LogPosition,
    },
    /// The configuration is not valid.
    #[error(transparent)]
    Invalid(#[from] ConfigurationError),
    /// It would have no vote itself.
    #[error("this server would not vote")]
    NotAVoter,
    /// A server that is none of the members, and may have another log.
    #[error("{0:?} is not in the configuration")]
    Stranger(ServerId),
}
