//! What can go wrong with the log.

use types::Index;

use crate::disk::DiskError;
use crate::record::BODY_BYTES_MAX;

/// Why the log could not do it. Nothing was changed, except where it says so.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// The disk refused. If it was full, try again later.
    #[error("the log's disk: {0}")]
    Disk(#[from] DiskError),
    /// A sync failed, now or earlier: the process must stop.
    #[error("{0}: what this disk holds is not known any more, and this server must stop")]
    Poisoned(DiskError),
    /// What had been synced is not there.
    #[error(
        "{file} is damaged at byte {offset}, at entry {index}: {reason}. Check the disk. If other \
         servers have the data, remove this server's raft directory and let it join again; \
         if not, restore a snapshot"
    )]
    Damaged {
        /// The path of the segment.
        file: String,
        /// Where in it.
        offset: u64,
        /// The entry that is not readable.
        index: Index,
        /// What is wrong.
        reason: String,
    },
    /// The entry is larger than any that a peer would send.
    #[error("entry {0} has {1} bytes, more than {BODY_BYTES_MAX}")]
    TooLarge(Index, usize),
    /// The entry is not in the log: compacted, or not yet there.
    #[error("entry {index} is not in the log, which holds {first} to {last}")]
    OutOfRange {
        /// The one asked for.
        index: Index,
        /// The first there is.
        first: Index,
        /// The last there is; one below the first when the log is empty.
        last: Index,
    },
}

impl LogError {
    /// Whether room on the disk would help.
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Disk(error) if error.is_full())
    }

    /// Whether nothing but stopping the process helps.
    pub fn is_fatal(&self) -> bool {
        matches!(self, Self::Poisoned(_) | Self::Damaged { .. })
    }
}
