//! What a server must not forget: the Raft log, the hard state and the snapshots.
//!
//! - [`Log`]: entries in preallocated segment files. Many entries go down with
//!   one write and one sync ([`Log::append`], then [`Log::sync`]).
//! - [`StableStore`]: term, vote and a few named values; one sync for each change.
//! - [`SnapshotStore`]: states of the machine as directories of `meta.json` and
//!   `state.bin` (`reference/raft-and-snapshots.md` section 9).
//!
//! All of it works on a [`Disk`], which is the outside: [`memory::MemDisk`] loses,
//! tears and refuses on demand; [`file::FileDisk`] is the real one, and the only
//! place in this crate that touches the operating system.
//!
//! # What is promised
//! - What was synced is there after a crash, in order and unchanged, or the store
//!   refuses to open and says what is wrong where ([`LogError::Damaged`]).
//! - What was not synced is there as a prefix or not at all.
//! - After a failed sync nobody knows what the disk holds. The store is then
//!   *poisoned*: each further call gives the same error, and the process has to stop.
//!   Nothing is ever synced a second time in the hope that it works.
//! - A full disk is an error of one call. What was there stays, and the store works
//!   again once there is room.

mod crc64;
pub mod disk;
pub mod file;
pub mod log;
pub mod memory;
mod record;
mod scan;
mod segment;
pub mod snapshot;
pub mod stable;

pub use disk::{Disk, DiskError, DiskErrorKind, DiskFile};
pub use file::FileDisk;
pub use log::{Cut, Log, LogError, LogOptions, Preparation, Prepared, Recovery};
pub use memory::MemDisk;
pub use snapshot::{SnapshotError, SnapshotReader, SnapshotStore, SnapshotWriter};
pub use stable::{StableError, StableStore};
