//! Snapshots of the state machine on disk.
//!
//! A snapshot is a directory `<term>-<index>-<unix ms>` with `meta.json` and
//! `state.bin`, as `reference/raft-and-snapshots.md` section 9 has it. While it is
//! written its name ends in `.tmp`; it counts once renamed. The newest
//! [`RETAINED`] are kept.
//!
//! The store holds nothing in memory, so that a clone of it may write a snapshot on
//! another thread.

use std::io::{self, Read, Write};
use std::sync::Arc;

use raft::{Configuration, LogPosition, SnapshotMeta, Term};
use snapshot::Meta;
use types::{Blob, Index};

use crate::crc64::Crc64;
use crate::disk::{Disk, DiskError, DiskErrorKind, DiskFile, read_exact_at};

/// How many snapshots are kept.
pub const RETAINED: usize = 2;

const TEMPORARY_SUFFIX: &str = ".tmp";
const META: &str = "meta.json";
const STATE: &str = "state.bin";

/// Bytes that are written or read at a time.
const BUFFER_BYTES: usize = 256 * 1024;

/// Bytes of state between two syncs while writing, so that the disk stays usable for
/// the log meanwhile.
const SYNC_BYTES: u64 = 8 << 20;

/// Most bytes of a `meta.json` that is believed in.
const META_BYTES_MAX: u64 = 1 << 20;

/// Why a snapshot could not be written or read.
#[derive(Debug, thiserror::Error)]
pub enum SnapshotError {
    /// The disk refused. After a failed sync the process must stop.
    #[error("the snapshots' disk: {0}")]
    Disk(#[from] DiskError),
    /// The snapshot is not what it was.
    #[error("snapshot {id} is damaged: {reason}")]
    Damaged {
        /// Its directory.
        id: String,
        /// What is wrong.
        reason: String,
    },
}

/// The newest sound snapshot, and those newer ones that are not.
#[derive(Debug, Default)]
pub struct Newest {
    /// What it is, and its state.
    pub snapshot: Option<(SnapshotMeta, SnapshotReader)>,
    /// Newer ones that were passed over; worth a warning each.
    pub rejected: Vec<SnapshotError>,
}

/// Where snapshots are.
#[derive(Clone, Debug)]
pub struct SnapshotStore {
    disk: Arc<dyn Disk>,
    directory: String,
}

impl SnapshotStore {
    /// Opens the store and removes what was never finished.
    ///
    /// # Errors
    /// The disk's.
    pub fn open(disk: Arc<dyn Disk>, directory: &str) -> Result<Self, DiskError> {
        disk.create_dir(directory)?;
        for name in disk.list(directory)? {
            if name.ends_with(TEMPORARY_SUFFIX) {
                disk.remove_dir(&format!("{directory}/{name}"))?;
            }
        }
        // A snapshot that was renamed may be in the system's memory only.
        disk.sync_dir(directory)?;
        Ok(Self { disk, directory: directory.to_owned() })
    }

    /// Begins a snapshot of the state as of `last`. `now` is in milliseconds since
    /// the Unix epoch and only makes the name.
    ///
    /// # Errors
    /// The disk's.
    pub fn create(
        &self,
        last: LogPosition,
        configuration: Configuration,
        configuration_index: Index,
        now: u64,
    ) -> Result<SnapshotWriter, DiskError> {
        let taken = self.disk.list(&self.directory)?;
        let is_taken = |id: &String| {
            taken.iter().any(|name| name.strip_suffix(TEMPORARY_SUFFIX).unwrap_or(name) == id)
        };
        let id = (now..)
            .map(|at| format!("{}-{}-{at}", last.term.0, last.index.0))
            .find(|id| !is_taken(id))
            .expect("fewer names are taken than there are milliseconds");
        let temporary = format!("{}/{id}{TEMPORARY_SUFFIX}", self.directory);
        self.disk.create_dir(&temporary)?;
        let state = self.disk.create(&format!("{temporary}/{STATE}"))?;
        let meta = SnapshotMeta { id, last, configuration, configuration_index, size: 0 };
        Ok(SnapshotWriter {
            store: self.clone(),
            meta,
            temporary,
            state,
            buffer: Vec::with_capacity(BUFFER_BYTES),
            synced: 0,
            sum: Crc64::default(),
            finished: false,
        })
    }

    /// The ids of all finished snapshots, newest first; none is looked into.
    ///
    /// # Errors
    /// The disk's.
    pub fn ids(&self) -> Result<Vec<String>, DiskError> {
        let mut ids: Vec<(LogPosition, u64, String)> = self
            .disk
            .list(&self.directory)?
            .into_iter()
            .filter_map(|name| parse_id(&name).map(|(last, at)| (last, at, name)))
            .collect();
        ids.sort_unstable_by(|a, b| b.cmp(a));
        Ok(ids.into_iter().map(|(_, _, id)| id).collect())
    }

    /// Opens the newest snapshot whose checksum is right; reads the whole state for it.
    ///
    /// # Errors
    /// The disk's; a damaged snapshot is none, see [`Newest::rejected`].
    pub fn open_newest(&self) -> Result<Newest, DiskError> {
        let mut newest = Newest::default();
        for id in self.ids()? {
            match self.open_snapshot(&id) {
                Ok(snapshot) => {
                    newest.snapshot = Some(snapshot);
                    break;
                }
                Err(error) => newest.rejected.push(error),
            }
        }
        Ok(newest)
    }

    /// Opens one snapshot and checks it as a whole.
    ///
    /// # Errors
    /// [`SnapshotError::Damaged`], or the disk's.
    pub fn open_snapshot(&self, id: &str) -> Result<(SnapshotMeta, SnapshotReader), SnapshotError> {
        let damaged = |reason: String| SnapshotError::Damaged { id: id.to_owned(), reason };
        let missing = |error: DiskError| match error.kind {
            DiskErrorKind::NotFound => damaged(error.to_string()),
            _ => SnapshotError::Disk(error),
        };
        let path = format!("{}/{id}/{META}", self.directory);
        let file = self.disk.open(&path).map_err(missing)?;
        let mut bytes = vec![0; file.size()?.min(META_BYTES_MAX) as usize];
        read_exact_at(file.as_ref(), &path, 0, &mut bytes)?;
        let wire = Meta::decode(&bytes).map_err(|e| damaged(e.to_string()))?;
        let expected = <[u8; 8]>::try_from(&*wire.crc)
            .map(u64::from_be_bytes)
            .map_err(|_| damaged("its checksum has not eight bytes".to_owned()))?;
        let meta = SnapshotMeta::from(wire);

        let path = format!("{}/{id}/{STATE}", self.directory);
        let file = self.disk.open(&path).map_err(missing)?;
        if file.size()? != meta.size {
            return Err(damaged(format!("{STATE} has {} bytes, not {}", file.size()?, meta.size)));
        }
        let mut reader = SnapshotReader { file, at: 0, size: meta.size };
        let mut sum = Crc64::default();
        let mut buffer = vec![0; BUFFER_BYTES.min(meta.size as usize)];
        loop {
            match reader.read_some(&mut buffer)? {
                0 => break,
                count => sum.update(&buffer[..count]),
            }
        }
        if sum.value() != expected {
            return Err(damaged(format!("the checksum of {STATE} is another")));
        }
        reader.at = 0;
        Ok((meta, reader))
    }

    /// Removes a snapshot that must not be found again.
    ///
    /// # Errors
    /// The disk's.
    pub fn remove(&self, id: &str) -> Result<(), DiskError> {
        self.disk.remove_dir(&format!("{}/{id}", self.directory))?;
        self.disk.sync_dir(&self.directory)
    }

    /// Removes all but the newest [`RETAINED`].
    fn reap(&self) -> Result<(), DiskError> {
        let stale = self.ids()?.split_off(RETAINED.min(self.ids()?.len()));
        for id in &stale {
            self.disk.remove_dir(&format!("{}/{id}", self.directory))?;
        }
        if stale.is_empty() { Ok(()) } else { self.disk.sync_dir(&self.directory) }
    }
}

/// A snapshot that is being written, through [`Write`]. Dropped before
/// [`SnapshotWriter::finish`] it leaves nothing behind.
#[derive(Debug)]
pub struct SnapshotWriter {
    store: SnapshotStore,
    /// The size is that of what is in the file.
    meta: SnapshotMeta,
    temporary: String,
    state: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    synced: u64,
    sum: Crc64,
    finished: bool,
}

impl SnapshotWriter {
    /// The name that the snapshot will have.
    pub fn id(&self) -> &str {
        &self.meta.id
    }

    /// Makes the snapshot last and count, and removes the oldest.
    ///
    /// # Errors
    /// The disk's; the snapshot does not count then, unless only an old one could not
    /// be removed.
    pub fn finish(mut self) -> Result<SnapshotMeta, DiskError> {
        self.write_out()?;
        self.state.sync_data()?;
        let disk = self.store.disk.clone();
        let mut meta = disk.create(&format!("{}/{META}", self.temporary))?;
        let mut described = Meta::from(&self.meta);
        described.crc = Blob(self.sum.value().to_be_bytes().to_vec().into());
        meta.write_at(0, &described.encode())?;
        meta.sync_data()?;
        disk.sync_dir(&self.temporary)?;
        let directory = &self.store.directory;
        disk.rename(&self.temporary, &format!("{directory}/{}", self.meta.id))?;
        self.finished = true;
        disk.sync_dir(directory)?;
        self.store.reap()?;
        Ok(self.meta.clone())
    }

    fn write_out(&mut self) -> Result<(), DiskError> {
        self.state.write_at(self.meta.size, &self.buffer)?;
        self.sum.update(&self.buffer);
        self.meta.size += self.buffer.len() as u64;
        self.buffer.clear();
        if self.meta.size - self.synced >= SYNC_BYTES {
            self.state.sync_data()?;
            self.synced = self.meta.size;
        }
        Ok(())
    }
}

impl Write for SnapshotWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES && !self.buffer.is_empty() {
            self.write_out().map_err(into_io)?;
        }
        let count = bytes.len().min(BUFFER_BYTES);
        self.buffer.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.write_out().map_err(into_io)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            // If it fails, the next open does it.
            let _ = self.store.disk.remove_dir(&self.temporary);
        }
    }
}

/// The state of a snapshot, through [`Read`]. It stays readable when the snapshot is
/// removed meanwhile.
#[derive(Debug)]
pub struct SnapshotReader {
    file: Box<dyn DiskFile>,
    at: u64,
    size: u64,
}

impl SnapshotReader {
    /// Reads up to `into.len()` bytes at `offset`, for sending a snapshot in pieces;
    /// fewer only at the end.
    ///
    /// # Errors
    /// The disk's.
    pub fn read_at(&self, offset: u64, into: &mut [u8]) -> Result<usize, DiskError> {
        let len = self.size.saturating_sub(offset).min(into.len() as u64) as usize;
        self.file.read_at(offset, &mut into[..len])
    }

    fn read_some(&mut self, into: &mut [u8]) -> Result<usize, DiskError> {
        let count = self.read_at(self.at, into)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Read for SnapshotReader {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.read_some(into).map_err(into_io)
    }
}

fn into_io(error: DiskError) -> io::Error {
    let kind = match error.kind {
        DiskErrorKind::Full => io::ErrorKind::StorageFull,
        DiskErrorKind::NotFound => io::ErrorKind::NotFound,
        DiskErrorKind::SyncFailed | DiskErrorKind::Other => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

/// Position and milliseconds of a directory's name.
fn parse_id(name: &str) -> Option<(LogPosition, u64)> {
    let mut parts = name.splitn(3, '-').map(|part| part.parse::<u64>().ok());
    let (term, index, at) = (parts.next()??, parts.next()??, parts.next()??);
    Some((LogPosition { term: Term(term), index: Index(index) }, at))
}
