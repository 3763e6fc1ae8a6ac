//! The next segment, zeroed before it is needed.

use std::sync::Arc;

use crate::disk::{Disk, DiskError, DiskFile};

/// What a spare segment writes and syncs at a time, to leave the disk to others between.
pub(super) const PREPARE_BYTES: u64 = 1 << 20;

/// The next segment's file.
pub(super) enum Spare {
    /// To be made when the last segment is half full.
    None,
    /// Somebody has the [`Preparation`], or it failed.
    Pending,
    Ready(Prepared),
}

/// The making of a segment ahead of its use.
#[derive(Debug)]
pub struct Preparation {
    pub(super) disk: Arc<dyn Disk>,
    pub(super) path: String,
    pub(super) bytes: u64,
}

impl Preparation {
    /// Does it; takes about as long as writing the bytes to the disk.
    ///
    /// # Errors
    /// The disk's. Hand them to [`crate::Log::accept`] too.
    pub fn run(self) -> Result<Prepared, DiskError> {
        let mut file = self.disk.create(&self.path)?;
        let mut bytes = 0;
        while bytes < self.bytes {
            bytes = (bytes + PREPARE_BYTES).min(self.bytes);
            let made = file.preallocate(bytes).and_then(|()| file.sync_data());
            if let Err(error) = made {
                // The room is needed elsewhere; if this fails too, open will do it.
                let _ = self.disk.remove(&self.path);
                return Err(error);
            }
        }
        Ok(Prepared { file, path: self.path, bytes })
    }
}

/// A zeroed file that waits to be a segment.
#[derive(Debug)]
pub struct Prepared {
    pub(super) file: Box<dyn DiskFile>,
    pub(super) path: String,
    pub(super) bytes: u64,
}
