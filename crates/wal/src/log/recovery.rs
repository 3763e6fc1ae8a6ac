//! Finding the log again after a restart.

use types::Index;

use super::{Log, LogError, TEMPORARY_SUFFIX, zero};
use crate::disk::{Disk, DiskError, read_exact_at};
use crate::scan::{self, Window};
use crate::segment::{Identity, PREAMBLE_BYTES, Segment};

/// Bytes that are written again at a time.
const REWRITE_BYTES: u64 = 1 << 20;

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

impl Log {
    /// Opens the segments that make up the log and returns the paths of the others.
    pub(super) fn find_segments(&mut self) -> Result<Vec<String>, LogError> {
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
    pub(super) fn recover(&mut self) -> Result<Recovery, LogError> {
        let limits: Vec<Option<Index>> =
            self.segments.iter().skip(1).map(|segment| Some(segment.first())).collect();
        let mut recovery = Recovery::default();
        for (place, limit) in limits.into_iter().chain([None]).enumerate() {
            let segment = &mut self.segments[place];
            let proven = scan_segment(segment, limit)?;
            if limit.is_some_and(|limit| segment.next() < limit) {
                let (file, offset, index) = (segment.path.clone(), segment.end, segment.next());
                let reason = "no sound record here, but later segments go on".to_owned();
                return Err(LogError::Damaged { file, offset, index, reason });
            }
            if limit.is_none() {
                write_again(segment, proven.next())?;
                recovery.cut = cut_tail(segment)?;
            }
        }
        Ok(recovery)
    }
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

/// Finds the records of a segment. Returns the last entry that one of them knows to have been
/// synced.
fn scan_segment(segment: &mut Segment, limit: Option<Index>) -> Result<Index, DiskError> {
    let mut found = Vec::new();
    let mut window = Window::new(segment.file.as_ref());
    let Identity { first, sequence, .. } = segment.identity;
    scan::records(&mut window, sequence, first, limit, |record| found.push(record))?;
    let mut proven = Index::ZERO;
    for record in found {
        proven = proven.max(record.durable);
        segment.push(record.term, record.bytes);
    }
    Ok(proven)
}

/// Writes the records from `first` on once more, as they are. A process that stopped because a
/// sync failed has left them in the system's memory only, and the system takes them for written:
/// without this the next sync would succeed and do nothing.
fn write_again(segment: &mut Segment, first: Index) -> Result<(), DiskError> {
    let first = first.clamp(segment.first(), segment.next());
    let mut at = segment.offset(first);
    while at < segment.end {
        let end = segment.end.min(at + REWRITE_BYTES);
        let bytes = segment.read(at, end)?;
        segment.file.write_at(at, &bytes)?;
        at = end;
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
