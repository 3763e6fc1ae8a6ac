//! Reading segments after a restart: which records are there, and whether what
//! follows them is a torn tail or proof of damage.

use raft::Term;
use types::Index;

use crate::disk::{DiskError, DiskFile};
use crate::record::{self, ALIGNMENT, HEADER_BYTES, Header};
use crate::segment::PREAMBLE_BYTES;

/// Bytes that are read at a time, unless a record is larger.
const WINDOW_BYTES: usize = 256 * 1024;

/// A sound record, as far as the log remembers it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    pub(crate) term: Term,
    pub(crate) bytes: usize,
    /// What it knows to have been synced before it was written.
    pub(crate) durable: Index,
}

/// What lies behind the last sound record of a segment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behind {
    /// The place of a sound record that knows the first missing one to have been synced.
    pub(crate) witness: Option<(u64, Index)>,
    /// Behind the last byte that is not zero.
    pub(crate) dirty_to: u64,
}

/// A file seen through a buffer.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    start: u64,
    bytes: Vec<u8>,
}

impl<'a> Window<'a> {
    pub(crate) fn new(file: &'a dyn DiskFile) -> Self {
        Self { file, start: 0, bytes: Vec::new() }
    }

    /// The bytes at `offset`: `len` of them, or fewer at the end of the file.
    fn get(&mut self, offset: u64, len: usize) -> Result<&[u8], DiskError> {
        let end = offset + len as u64;
        if offset < self.start || end > self.start + self.bytes.len() as u64 {
            self.bytes.resize(len.max(WINDOW_BYTES), 0);
            let read = self.file.read_at(offset, &mut self.bytes)?;
            self.bytes.truncate(read);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }
}

/// The sound records from index `first` on, up to and without `limit`, in order.
pub(crate) fn records(
    window: &mut Window<'_>,
    sequence: u64,
    first: Index,
    limit: Option<Index>,
    mut found: impl FnMut(Found),
) -> Result<(), DiskError> {
    let mut offset = PREAMBLE_BYTES as u64;
    let mut index = first;
    while limit.is_none_or(|limit| index < limit) {
        let Some(header) = Header::parse(window.get(offset, HEADER_BYTES)?) else { break };
        if header.index != index {
            break;
        }
        let bytes = header.record_bytes();
        let record = window.get(offset, bytes)?;
        if record.len() < bytes || !record::is_intact(record, sequence) {
            break;
        }
        found(Found { term: header.term, bytes, durable: header.durable });
        offset += bytes as u64;
        index = index.next();
    }
    Ok(())
}

/// Looks at all that follows `from`, where the record of `missing` should start.
pub(crate) fn behind(
    window: &mut Window<'_>,
    sequence: u64,
    from: u64,
    missing: Index,
) -> Result<Behind, DiskError> {
    let mut behind = Behind { witness: None, dirty_to: from };
    let mut offset = from;
    loop {
        let chunk = window.get(offset, WINDOW_BYTES)?;
        if chunk.is_empty() {
            return Ok(behind);
        }
        let chunk_bytes = chunk.len();
        let dirty: Vec<u64> = chunk
            .chunks(ALIGNMENT)
            .zip((offset..).step_by(ALIGNMENT))
            .filter(|(word, _)| word.iter().any(|byte| *byte != 0))
            .map(|(_, at)| at)
            .collect();
        for at in dirty {
            behind.dirty_to = at + ALIGNMENT as u64;
            if behind.witness.is_none() {
                behind.witness = testimony(window, sequence, at, missing)?;
            }
        }
        offset += chunk_bytes as u64;
    }
}

/// Whether a sound record at `at` says that `missing` was synced before it.
fn testimony(
    window: &mut Window<'_>,
    sequence: u64,
    at: u64,
    missing: Index,
) -> Result<Option<(u64, Index)>, DiskError> {
    let Some(header) = Header::parse(window.get(at, HEADER_BYTES)?) else { return Ok(None) };
    // The bound on the index keeps bytes that merely look like a header from costing a
    // checksum each.
    let near = header.index > missing && header.index.0 - missing.0 < 1 << 32;
    if !near || header.durable < missing {
        return Ok(None);
    }
    let bytes = header.record_bytes();
    let record = window.get(at, bytes)?;
    let intact = record.len() == bytes && record::is_intact(record, sequence);
    Ok(intact.then_some((at, header.index)))
}
