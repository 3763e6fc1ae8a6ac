//! The log of entries.
//!
//! Segments are zeroed before they are used, so that an append writes into place and
//! the sync that follows has data to flush but no metadata. Records carry a checksum
//! ([`crate::record`]); after a crash the log ends before the first record that is not
//! sound, unless a later one proves that it had been synced: then the disk has lost
//! what was promised and [`Log::open`] refuses.
//!
//! A batch never spans two segments, a segment that is not the last was synced as a
//! whole before the next one was made, and truncating the end makes a new segment.
//! So only the last segment can have a torn tail, and old bytes never come back.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use raft::{Entry, Term};
use types::Index;

use crate::disk::{Disk, DiskError, DiskErrorKind, DiskFile, read_exact_at};
use crate::record::{self, BODY_BYTES_MAX, HEADER_BYTES, Header};
use crate::scan::{self, Window};
use crate::segment::{Identity, PREAMBLE_BYTES, Segment};

const TEMPORARY_SUFFIX: &str = ".tmp";

/// What a spare segment writes and syncs at a time, to leave the disk to others between.
const PREPARE_BYTES: u64 = 1 << 20;

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

/// What opening the log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// Bytes behind the last entry that a crash left, and that are gone.
    pub cut: Option<Cut>,
}

/// A torn tail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// The path of the segment.
    pub file: String,
    /// Where the log ends.
    pub offset: u64,
    /// How far the remains went.
    pub bytes: u64,
    /// The first entry that was not whole.
    pub index: Index,
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

/// The next segment's file.
enum Spare {
    /// To be made when the last segment is half full.
    None,
    /// Somebody has the [`Preparation`], or it failed.
    Pending,
    Ready(Prepared),
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
    /// restart that comes between an error and the next append may find the first of them
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
        let size = self.next_segment_bytes().max(PREAMBLE_BYTES as u64 + bytes);
        let unused = self.active().is_empty();
        let starts_anew = unused && self.active().identity.starts_anew;
        let segment = self.make_segment(self.active().next(), starts_anew, size)?;
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

    /// Opens the segments that make up the log and returns the paths of the others.
    fn find_segments(&mut self) -> Result<Vec<String>, LogError> {
        let mut named = Vec::new();
        for name in self.disk.list(&self.directory)? {
            let path = format!("{}/{name}", self.directory);
            if let Some((first, sequence)) = Identity::parse_file_name(&name) {
                named.push((sequence, first, path));
            } else if name.ends_with(TEMPORARY_SUFFIX) {
                self.disk.remove(&path)?;
            }
        }
        named.sort_unstable();
        let mut superseded = Vec::new();
        for (sequence, first, path) in named {
            let segment = open_segment(self.disk.as_ref(), first, sequence, path)?;
            self.next_sequence = sequence + 1;
            while let Some(last) = self.segments.pop() {
                if !segment.identity.starts_anew && last.first() < first {
                    self.segments.push(last);
                    break;
                }
                superseded.push(last.path);
            }
            self.segments.push(segment);
        }
        Ok(superseded)
    }

    /// Finds the records of all segments and makes the last one fit to be written to.
    fn recover(&mut self) -> Result<Recovery, LogError> {
        let limits: Vec<Option<Index>> =
            self.segments.iter().skip(1).map(|segment| Some(segment.first())).collect();
        let mut recovery = Recovery::default();
        for (place, limit) in limits.into_iter().chain([None]).enumerate() {
            let segment = &mut self.segments[place];
            scan_segment(segment, limit)?;
            if limit.is_some_and(|limit| segment.next() < limit) {
                let (file, offset, index) = (segment.path.clone(), segment.end, segment.next());
                let reason = "no sound record here, but later segments go on".to_owned();
                return Err(LogError::Damaged { file, offset, index, reason });
            }
            if limit.is_none() {
                recovery.cut = cut_tail(segment)?;
            }
        }
        Ok(recovery)
    }
}

/// The making of a segment ahead of its use.
#[derive(Debug)]
pub struct Preparation {
    disk: Arc<dyn Disk>,
    path: String,
    bytes: u64,
}

impl Preparation {
    /// Does it; takes about as long as writing the bytes to the disk.
    ///
    /// # Errors
    /// The disk's. Hand them to [`Log::accept`] too.
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
    file: Box<dyn DiskFile>,
    path: String,
    bytes: u64,
}

fn open_segment(
    disk: &dyn Disk,
    first: Index,
    sequence: u64,
    path: String,
) -> Result<Segment, LogError> {
    let file = disk.open(&path)?;
    let size = file.size()?;
    let mut preamble = [0; PREAMBLE_BYTES];
    if size >= PREAMBLE_BYTES as u64 {
        read_exact_at(file.as_ref(), &path, 0, &mut preamble)?;
    }
    match Identity::decode(&preamble) {
        Some(identity) if identity.first == first && identity.sequence == sequence => {
            Ok(Segment::new(file, path, identity, size))
        }
        _ => {
            let reason = "the segment does not start as its name says".to_owned();
            Err(LogError::Damaged { file: path, offset: 0, index: first, reason })
        }
    }
}

fn scan_segment(segment: &mut Segment, limit: Option<Index>) -> Result<(), DiskError> {
    let mut found = Vec::new();
    let mut window = Window::new(segment.file.as_ref());
    let Identity { first, sequence, .. } = segment.identity;
    scan::records(&mut window, sequence, first, limit, |record| found.push(record))?;
    for record in found {
        segment.push(record.term, record.bytes);
    }
    Ok(())
}

/// Clears what a crash left behind the last record, and makes sure of all before it:
/// a process that died without the machine may have left it to the system's memory.
fn cut_tail(segment: &mut Segment) -> Result<Option<Cut>, LogError> {
    let mut window = Window::new(segment.file.as_ref());
    let (offset, index) = (segment.end, segment.next());
    let behind = scan::behind(&mut window, segment.identity.sequence, offset, index)?;
    if let Some((at, witness)) = behind.witness {
        let reason = format!("no sound record here, but entry {witness} at byte {at} is sound");
        return Err(LogError::Damaged { file: segment.path.clone(), offset, index, reason });
    }
    let bytes = behind.dirty_to - offset;
    // The last word may reach over the end of a file that a crash left short.
    let end = behind.dirty_to.min(segment.size);
    zero(segment.file.as_mut(), offset, end)?;
    Ok((bytes > 0).then(|| Cut { file: segment.path.clone(), offset, bytes, index }))
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
