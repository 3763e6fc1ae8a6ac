//! What may go wrong with a pool.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

use gossip::serf::{KeyringFileError, NotBroadcast, QueryTooLarge, TagsTooLong, UserEventError};
use gossip::wire::keyring::KeyError;

/// Why a pool does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The address cannot be had.
    #[error("Failed to start {protocol} listener on \"{address}\" for gossip: {source}")]
    Bind {
        /// `TCP` or `UDP`.
        protocol: &'static str,
        /// The address.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// `encrypt` is no key.
    #[error("encrypt: {0}")]
    Key(#[from] KeyError),
    /// A file cannot be used.
    #[error("{action} {}: {source}", .path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The keyring's file is not one. Nothing was changed: without the keys, this agent would
    /// be in no pool, or in the wrong one.
    #[error("the gossip keyring {} cannot be read: {source}", .path.display())]
    Keyring {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: KeyringFileError,
    },
    /// A file is larger than any that a pool writes.
    #[error("{} has more than {limit} bytes: move it away to start without it", .path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// How large it may be.
        limit: u64,
    },
    /// What this agent says of itself does not fit.
    #[error(transparent)]
    Tags(#[from] TagsTooLong),
}

/// Why a pool did not do something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PoolError {
    /// It has stopped.
    #[error("the gossip pool has stopped")]
    Stopped,
    /// The event is too large.
    #[error(transparent)]
    Event(#[from] UserEventError),
    /// The tags are too long.
    #[error(transparent)]
    Tags(#[from] TagsTooLong),
    /// The query is too large.
    #[error(transparent)]
    Query(#[from] QueryTooLarge),
    /// Word of it was not passed on in time.
    #[error(transparent)]
    NotBroadcast(#[from] NotBroadcast),
}
