//! The log of entries.
//!
//! Segments are zeroed before they are used, so that an append writes into place and
//! the sync that follows has data to flush but no metadata. Records carry a checksum
//! (the module `record`); after a crash the log ends before the first record that is not
//! sound, unless a later one proves that it had been synced: then the disk has lost
//! what was promised and [`Log::open`] refuses.
//!
//! A batch never spans two segments, a segment that is not the last was synced as a
//! whole before the next one was made, and truncating the end makes a new segment.
//! So only the last segment can have a torn tail, and old bytes never come back.

mod error;
mod recovery;
mod spare;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use raft::{Entry, Term};
use types::Index;

use self::spare::{PREPARE_BYTES, Spare};
use crate::disk::{Disk, DiskError, DiskErrorKind, DiskFile};
use crate::record::{self, BODY_BYTES_MAX, HEADER_BYTES, Header};
use crate::segment::{Identity, PREAMBLE_BYTES, Segment};

pub use self::error::LogError;
pub use self::recovery::{Cut, Recovery};
pub use self::spare::{Preparation, Prepared};

const TEMPORARY_SUFFIX: &str = ".tmp";

/// Sizes of segments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogOptions {
    /// Bytes of the first segment; each further one has twice as many.
    pub segment_bytes_first: u64,
    /// Where the doubling ends. A larger batch gets a segment of its own size.
    pub segment_bytes_max: u64,
}

impl Default for LogOptions {
    /// 4 MiB, which an idle server never leaves, up to 64 MiB.
    fn default() -> Self {
        Self { segment_bytes_first: 4 << 20, segment_bytes_max: 64 << 20 }
    }
}

/// The log.
pub struct Log {
    disk: Arc<dyn Disk>,
    directory: String,
    options: LogOptions,
    /// By index; never empty, the last is written to.
    segments: Vec<Segment>,
    /// The first entry that counts; the first segment may hold older ones.
    first: Index,
    /// All up to here is synced.
    durable: Index,
    next_sequence: u64,
    /// Bytes of the last segment behind its end, up to here, may not be zero.
    dirty_to: u64,
    spare: Spare,
    poison: Option<DiskError>,
    /// Room for encoding, kept between batches.
    scratch: Vec<u8>,
}

impl fmt::Debug for Log {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let range = self.first..=self.last_index();
        f.debug_struct("Log").field("entries", &range).field("durable", &self.durable).finish()
    }
}

impl Log {
    /// Opens the log in `directory`, or makes an empty one.
    ///
    /// # Errors
    /// [`LogError::Damaged`] when synced entries are not there, or the disk's.
    pub fn open(
        disk: Arc<dyn Disk>,
        directory: &str,
        options: LogOptions,
    ) -> Result<(Log, Recovery), LogError> {
        disk.create_dir(directory)?;
        let mut log = Log {
            disk,
            directory: directory.to_owned(),
            options,
            segments: Vec::new(),
            first: Index(1),
            durable: Index::ZERO,
            next_sequence: 1,
            dirty_to: 0,
            spare: Spare::None,
            poison: None,
            scratch: Vec::new(),
        };
        let superseded = log.find_segments()?;
        let mut recovery = Recovery::default();
        if log.segments.is_empty() {
            let bytes = log.options.segment_bytes_first;
            let segment = log.make_segment(Index(1), true, bytes)?;
            log.segments.push(segment);
        } else {
            recovery = log.recover()?;
        }
        for path in superseded {
            log.disk.remove(&path)?;
        }
        log.disk.sync_dir(&log.directory)?;
        log.first = log.segments[0].first();
        log.durable = log.last_index();
        Ok((log, recovery))
    }

    /// The first entry in the log; one above the last when it is empty.
    pub fn first_index(&self) -> Index {
        self.first
    }

    /// The last entry in the log.
    pub fn last_index(&self) -> Index {
        Index(self.active().next().0 - 1)
    }

    /// The last entry that is synced.
    pub fn durable_index(&self) -> Index {
        self.durable
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.first > self.last_index()
    }

    /// The term of an entry, if it is in the log. Reads no disk.
    pub fn term(&self, index: Index) -> Option<Term> {
        self.contains(index).then(|| self.segment_of(index).term(index))
    }

    /// The entries from `from` to `to`, both included: as many as fit in `bytes_max`,
    /// but at least one. Their data share one buffer.
    ///
    /// # Errors
    /// [`LogError::OutOfRange`], [`LogError::Damaged`] when a record is not what was
    /// written, or the disk's.
    pub fn entries(
        &self,
        from: Index,
        to: Index,
        bytes_max: usize,
    ) -> Result<Vec<Entry>, LogError> {
        self.check_poison()?;
        for index in [from, to] {
            if !self.contains(index) {
                let (first, last) = (self.first, self.last_index());
                return Err(LogError::OutOfRange { index, first, last });
            }
        }
        let mut entries = Vec::new();
        let mut next = from;
        let mut room = bytes_max as u64;
        while next <= to {
            let segment = self.segment_of(next);
            let start = segment.offset(next);
            let mut behind = next;
            while behind <= to && behind < segment.next() {
                let fits = segment.offset(behind.next()) - start <= room;
                if !fits && (behind > next || !entries.is_empty()) {
                    break;
                }
                behind = behind.next();
            }
            if behind == next {
                break;
            }
            let end = segment.offset(behind);
            decode(segment, next, start, segment.read(start, end)?.into(), &mut entries)?;
            room = room.saturating_sub(end - start);
            next = behind;
        }
        Ok(entries)
    }

    /// Writes entries behind the last, without a sync: all or, after an error, none. A
    /// restart that comes between an error and the next success may find the first of them
    /// all the same.
    ///
    /// # Errors
    /// The disk's; if it is full, nothing was lost and a later try may succeed.
    ///
    /// # Panics
    /// When the indexes do not follow on the last entry's.
    pub fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        self.check_poison()?;
        let mut bytes = 0;
        for (entry, place) in entries.iter().zip(1..) {
            assert_eq!(entry.index.0, self.last_index().0 + place, "entries follow on the last");
            let body_bytes = entry.data.len() + entry.extensions.len();
            if body_bytes > BODY_BYTES_MAX {
                return Err(LogError::TooLarge(entry.index, body_bytes));
            }
            bytes += record::entry_bytes(entry) as u64;
        }
        if entries.is_empty() {
            return Ok(());
        }
        self.clean()?;
        if self.active().end + bytes > self.active().size {
            self.start_segment(bytes)?;
        }
        let mut scratch = std::mem::take(&mut self.scratch);
        scratch.clear();
        let sequence = self.active().identity.sequence;
        for entry in entries {
            record::encode(&mut scratch, entry, self.durable, sequence);
        }
        let active = self.active_mut();
        let (start, end) = (active.end, active.end + bytes);
        let written = active.file.write_at(start, &scratch);
        if scratch.capacity() <= 1 << 20 {
            self.scratch = scratch;
        }
        if let Err(error) = written {
            self.dirty_to = self.dirty_to.max(end);
            return Err(self.failed(error));
        }
        for entry in entries {
            self.active_mut().push(entry.term, record::entry_bytes(entry));
        }
        debug_assert_eq!(self.active().end, end, "offsets follow what was written");
        Ok(())
    }

    /// Makes all that was appended last, and returns its last index.
    ///
    /// # Errors
    /// [`LogError::Poisoned`]: the process must stop.
    pub fn sync(&mut self) -> Result<Index, LogError> {
        self.check_poison()?;
        if self.durable < self.last_index() {
            let synced = self.active_mut().file.sync_data();
            synced.map_err(|error| self.failed(error))?;
            self.durable = self.last_index();
        }
        Ok(self.durable)
    }

    /// Removes the entry `index` and all behind it; it lasts when this returns.
    ///
    /// # Errors
    /// The disk's.
    pub fn truncate_from(&mut self, index: Index) -> Result<(), LogError> {
        self.check_poison()?;
        if index > self.last_index() {
            return Ok(());
        }
        if index <= self.first {
            return self.reset(index);
        }
        // The segment that stays must be whole, as all but the last are.
        self.sync()?;
        let segment = self.make_segment(index, false, self.active().size)?;
        while self.active().first() >= index {
            let stale = self.segments.pop().map(|segment| segment.path);
            self.remove_stale(stale);
        }
        self.active_mut().forget_from(index);
        self.install(segment);
        self.durable = self.last_index();
        Ok(())
    }

    /// Lets go of the entries up to `index`. Files go once all in them has; those
    /// that are left give their older entries back after a restart.
    ///
    /// # Errors
    /// The disk's; entries may be gone all the same.
    pub fn truncate_prefix(&mut self, index: Index) -> Result<(), LogError> {
        // A crash must not take entries that stand before those that are let go.
        self.sync()?;
        self.first = self.first.max(Index(index.0.min(self.last_index().0) + 1));
        // Oldest first and one at a time, so that a crash leaves no hole.
        while self.segments.len() > 1 && self.segments[1].first() <= self.first {
            let path = self.segments[0].path.clone();
            let removed =
                self.disk.remove(&path).and_then(|()| self.disk.sync_dir(&self.directory));
            removed.map_err(|error| self.failed(error))?;
            self.segments.remove(0);
        }
        Ok(())
    }

    /// Empties the log; `next` is the index of the entry to be appended next. For a
    /// server that was sent a snapshot.
    ///
    /// # Errors
    /// The disk's.
    pub fn reset(&mut self, next: Index) -> Result<(), LogError> {
        self.check_poison()?;
        assert!(next > Index::ZERO, "the first index is one");
        let segment = self.make_segment(next, true, self.options.segment_bytes_first)?;
        let stale: Vec<Segment> = self.segments.drain(..).collect();
        self.install(segment);
        self.remove_stale(stale.into_iter().map(|segment| segment.path));
        self.first = next;
        self.durable = self.last_index();
        Ok(())
    }

    /// The work of making the next segment, once for each segment and when the last
    /// one is half full. Run it on another thread and hand the outcome to
    /// [`Log::accept`]; without, an append now and then takes as long as it does.
    pub fn preparation(&mut self) -> Option<Preparation> {
        let due = matches!(self.spare, Spare::None) && self.active().end > self.active().size / 2;
        if !due || self.poison.is_some() {
            return None;
        }
        self.spare = Spare::Pending;
        let path = format!("{}/spare{TEMPORARY_SUFFIX}", self.directory);
        Some(Preparation { disk: self.disk.clone(), path, bytes: self.next_segment_bytes() })
    }

    /// Takes what [`Preparation::run`] gave. A full disk is no error here: the append
    /// that needs the room will say so.
    ///
    /// # Errors
    /// [`LogError::Poisoned`] when a sync failed.
    pub fn accept(&mut self, prepared: Result<Prepared, DiskError>) -> Result<(), LogError> {
        match prepared {
            Ok(prepared) => self.spare = Spare::Ready(prepared),
            Err(error) if error.kind == DiskErrorKind::SyncFailed => return Err(self.failed(error)),
            Err(_) => {}
        }
        Ok(())
    }

    fn active(&self) -> &Segment {
        self.segments.last().expect("open makes a segment and each that goes is replaced")
    }

    fn active_mut(&mut self) -> &mut Segment {
        self.segments.last_mut().expect("open makes a segment and each that goes is replaced")
    }

    fn contains(&self, index: Index) -> bool {
        index >= self.first && index <= self.last_index()
    }

    /// The segment of an entry that is in the log.
    fn segment_of(&self, index: Index) -> &Segment {
        let place = self.segments.partition_point(|segment| segment.first() <= index);
        &self.segments[place - 1]
    }

    fn check_poison(&self) -> Result<(), LogError> {
        self.poison.as_ref().map_or(Ok(()), |error| Err(LogError::Poisoned(error.clone())))
    }

    /// What `error` means to the caller; from a failed sync there is no way back.
    fn failed(&mut self, error: DiskError) -> LogError {
        if error.kind != DiskErrorKind::SyncFailed {
            return LogError::Disk(error);
        }
        self.poison = Some(error.clone());
        LogError::Poisoned(error)
    }

    /// Zeroes what a failed write may have left, lest a crash bring it back.
    fn clean(&mut self) -> Result<(), LogError> {
        let (start, end) = (self.active().end, self.dirty_to);
        if start < end {
            let cleaned = zero(self.active_mut().file.as_mut(), start, end);
            cleaned.map_err(|error| self.failed(error))?;
            self.durable = self.last_index();
        }
        self.dirty_to = 0;
        Ok(())
    }

    /// Goes on in a new segment that has room for `bytes` of records.
    fn start_segment(&mut self, bytes: u64) -> Result<(), LogError> {
        self.sync()?;
        let bytes = PREAMBLE_BYTES as u64 + bytes;
        let (size, least) =
            (self.next_segment_bytes().max(bytes), self.options.segment_bytes_first.max(bytes));
        let unused = self.active().is_empty();
        let starts_anew = unused && self.active().identity.starts_anew;
        let next = self.active().next();
        let segment = match self.make_segment(next, starts_anew, size) {
            // What room there is does until there is more.
            Err(error) if error.is_full() && least < size => {
                self.make_segment(next, starts_anew, least)?
            }
            made => made?,
        };
        if unused {
            let stale = self.segments.pop().map(|segment| segment.path);
            self.remove_stale(stale);
        }
        self.install(segment);
        Ok(())
    }

    fn install(&mut self, segment: Segment) {
        self.segments.push(segment);
        self.dirty_to = 0;
    }

    fn next_segment_bytes(&self) -> u64 {
        let doubled = self.active().size.saturating_mul(2);
        doubled.clamp(self.options.segment_bytes_first, self.options.segment_bytes_max)
    }

    /// Makes a segment's file so that it lasts. After an error it may or may not be
    /// found by the next [`Log::open`], but only if the log is poisoned.
    fn make_segment(
        &mut self,
        first: Index,
        starts_anew: bool,
        size: u64,
    ) -> Result<Segment, LogError> {
        let identity = Identity { first, sequence: self.next_sequence, starts_anew };
        self.next_sequence += 1;
        let spare = match std::mem::replace(&mut self.spare, Spare::None) {
            Spare::Ready(spare) if spare.bytes >= size => Some(spare),
            Spare::Ready(small) => {
                self.remove_stale([small.path]);
                None
            }
            Spare::Pending => {
                // Whoever prepares it is late; what comes serves the next time.
                self.spare = Spare::Pending;
                None
            }
            Spare::None => None,
        };
        let temporary = match &spare {
            Some(spare) => spare.path.clone(),
            None => format!("{}/{:016x}{TEMPORARY_SUFFIX}", self.directory, identity.sequence),
        };
        let made = self.write_segment(identity, spare, &temporary, size);
        made.map_err(|error| {
            if error.kind != DiskErrorKind::SyncFailed {
                self.remove_stale([temporary]);
            }
            self.failed(error)
        })
    }

    fn write_segment(
        &self,
        identity: Identity,
        spare: Option<Prepared>,
        temporary: &str,
        size: u64,
    ) -> Result<Segment, DiskError> {
        let (mut file, size) = match spare {
            Some(spare) => (spare.file, spare.bytes),
            None => {
                let mut file = self.disk.create(temporary)?;
                file.preallocate(size)?;
                (file, size)
            }
        };
        file.write_at(0, &identity.encode())?;
        file.sync_data()?;
        let path = format!("{}/{}", self.directory, identity.file_name());
        self.disk.rename(temporary, &path)?;
        self.disk.sync_dir(&self.directory)?;
        Ok(Segment::new(file, path, identity, size))
    }

    /// Removes files that are not part of the log any more. If it fails they are
    /// removed when the log is next opened, so the outcome does not matter here.
    fn remove_stale(&self, paths: impl IntoIterator<Item = String>) {
        for path in paths {
            let _ = self.disk.remove(&path);
        }
    }
}

/// Zeroes the bytes from `start` to `end` and syncs the file.
fn zero(file: &mut dyn DiskFile, start: u64, end: u64) -> Result<(), DiskError> {
    let zeroes = vec![0; end.saturating_sub(start).min(PREPARE_BYTES) as usize];
    let mut at = start;
    while at < end {
        let count = (end - at).min(PREPARE_BYTES);
        file.write_at(at, &zeroes[..count as usize])?;
        at += count;
    }
    file.sync_data()
}

/// Splits `bytes`, the records from `index` on, into entries.
fn decode(
    segment: &Segment,
    mut index: Index,
    start: u64,
    bytes: Bytes,
    entries: &mut Vec<Entry>,
) -> Result<(), LogError> {
    let mut at = 0;
    while at < bytes.len() {
        let header = Header::parse(&bytes[at..])
            .filter(|header| header.index == index && at + header.record_bytes() <= bytes.len());
        let record = header.map(|header| bytes.slice(at..at + header.record_bytes()));
        match (header, record) {
            (Some(header), Some(record))
                if record::is_intact(&record, segment.identity.sequence) =>
            {
                entries.push(header.entry(&record));
                at += record.len();
                index = index.next();
            }
            _ => {
                let (file, offset) = (segment.path.clone(), start + at as u64);
                let reason = "the record is not as it was written".to_owned();
                return Err(LogError::Damaged { file, offset, index, reason });
            }
        }
    }
    debug_assert!(bytes.len() >= HEADER_BYTES, "a read covers a record at least");
    Ok(())
}
