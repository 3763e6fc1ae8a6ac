//! What can be wrong with what another server sends.

use types::msgpack;

use crate::error::ConfigurationError;

/// Why a request or an answer cannot be read. The stream it came on is of no use afterwards.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WireError {
    /// Nothing at all.
    #[error("an empty request")]
    Empty,
    /// A type byte that stands for no call.
    #[error("unknown rpc type {0}")]
    UnknownRpc(u8),
    /// More bytes than any honest message has.
    #[error("a message of more than {0} bytes")]
    TooLarge(usize),
    /// It is not the msgpack that was expected.
    #[error(transparent)]
    Msgpack(#[from] msgpack::Error),
    /// An entry of a kind that is not used any more, or not yet.
    #[error(
        "log entries of kind {0} are unknown (2 and 3 are those of Raft protocol 2 and before: \
         upgrade the other servers first)"
    )]
    EntryKind(u8),
    /// The configuration beside a snapshot.
    #[error(transparent)]
    Configuration(#[from] ConfigurationError),
    /// A snapshot of another form.
    #[error("snapshots of version {0} cannot be read")]
    SnapshotVersion(i64),
    /// A snapshot of less than nothing.
    #[error("a snapshot of {0} bytes")]
    SnapshotSize(i64),
    /// The id or the address is not text, or has no end.
    #[error("the sender's id or address is too long or no text")]
    Sender,
}
