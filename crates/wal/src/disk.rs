//! The disk as the stores see it, so that a simulator can stand in for it.
//!
//! Paths are relative to the root of the disk, with `/` between names, and never
//! contain `..`. A disk may be shared between threads; a file belongs to one at a time.

use std::fmt;

/// A place for files.
pub trait Disk: Send + Sync + fmt::Debug {
    /// Makes an empty file for reading and writing; one that was there is emptied.
    fn create(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Opens a file for reading and writing; [`DiskErrorKind::NotFound`] without one.
    fn open(&self, path: &str) -> Result<Box<dyn DiskFile>, DiskError>;

    /// Makes a directory and those above it; fine if it is there. It lasts.
    fn create_dir(&self, path: &str) -> Result<(), DiskError>;

    /// The names in a directory, sorted.
    fn list(&self, path: &str) -> Result<Vec<String>, DiskError>;

    /// Gives a file or directory another name; a file there is replaced at once and
    /// as a whole. Lasts after [`Disk::sync_dir`] of the directory.
    fn rename(&self, from: &str, to: &str) -> Result<(), DiskError>;

    /// Removes a file. Lasts after [`Disk::sync_dir`].
    fn remove(&self, path: &str) -> Result<(), DiskError>;

    /// Removes a directory with all in it. Lasts after [`Disk::sync_dir`].
    fn remove_dir(&self, path: &str) -> Result<(), DiskError>;

    /// Makes the names in a directory last.
    fn sync_dir(&self, path: &str) -> Result<(), DiskError>;
}

/// An open file.
pub trait DiskFile: Send + fmt::Debug {
    /// Reads up to `into.len()` bytes; fewer only at the end of the file.
    fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError>;

    /// Writes all bytes. After an error any part of them may be there.
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> Result<(), DiskError>;

    /// Makes contents and size last. After an error nothing is known about any byte
    /// written since the last success, now or after another try.
    fn sync_data(&mut self) -> Result<(), DiskError>;

    /// Lengthens the file to `len` bytes by writing zeroes, so that writes inside of
    /// it need neither room nor metadata. A longer file stays as it is.
    fn preallocate(&mut self, len: u64) -> Result<(), DiskError>;

    /// Bytes in the file.
    fn size(&self) -> Result<u64, DiskError>;
}

/// What sort of failure, as far as the stores have to tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DiskErrorKind {
    /// No room, or over quota. Passes when somebody makes room.
    Full,
    /// A sync failed. Fatal: see [`DiskFile::sync_data`].
    SyncFailed,
    /// There is no such file or directory.
    NotFound,
    /// Anything else.
    Other,
}

/// A failed operation on a [`Disk`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{operation} {path}: {detail}")]
pub struct DiskError {
    /// What sort of failure.
    pub kind: DiskErrorKind,
    /// What was tried: `write`, `sync`, …
    pub operation: &'static str,
    /// On which path.
    pub path: String,
    /// What the disk said.
    pub detail: String,
}

impl DiskError {
    /// Whether the cause is a lack of room.
    pub fn is_full(&self) -> bool {
        self.kind == DiskErrorKind::Full
    }
}

/// Reads exactly `into.len()` bytes or says that the file is too short.
pub(crate) fn read_exact_at(
    file: &dyn DiskFile,
    path: &str,
    offset: u64,
    into: &mut [u8],
) -> Result<(), DiskError> {
    let read = file.read_at(offset, into)?;
    if read == into.len() {
        return Ok(());
    }
    Err(DiskError {
        kind: DiskErrorKind::Other,
        operation: "read",
        path: path.to_owned(),
        detail: format!("file ends at byte {}", offset + read as u64),
    })
}
