//! A segment: one file of the log, with the places of its records in memory.
//!
//! The name is `<first index, 20 digits>-<sequence, 16 hex digits>.wal`. Sequences
//! only grow. A segment replaces what older ones hold at and behind its first index;
//! that is how the log is truncated without touching bytes that were written.

use raft::Term;
use types::Index;

use crate::disk::{DiskError, DiskFile, read_exact_at};
use crate::record::{ALIGNMENT, long, short};

/// Bytes before the first record.
pub(crate) const PREAMBLE_BYTES: usize = 64;

const MAGIC: &[u8; 8] = b"PROCWAL1";
const SUFFIX: &str = ".wal";

/// What a segment's name and first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    /// The index of the first record.
    pub(crate) first: Index,
    /// Later segments have higher ones.
    pub(crate) sequence: u64,
    /// Nothing before this segment is part of the log.
    pub(crate) starts_anew: bool,
}

impl Identity {
    pub(crate) fn file_name(&self) -> String {
        format!("{:020}-{:016x}{SUFFIX}", self.first.0, self.sequence)
    }

    /// Index and sequence of a file name; nothing if it is not a segment's.
    pub(crate) fn parse_file_name(name: &str) -> Option<(Index, u64)> {
        let (first, sequence) = name.strip_suffix(SUFFIX)?.split_once('-')?;
        let digits = |text: &str, len| text.len() == len && text.is_ascii();
        if !digits(first, 20) || !digits(sequence, 16) {
            return None;
        }
        Some((Index(first.parse().ok()?), u64::from_str_radix(sequence, 16).ok()?))
    }

    /// Magic, flags, sequence, first index, CRC-32, zeroes.
    pub(crate) fn encode(&self) -> [u8; PREAMBLE_BYTES] {
        let mut bytes = [0; PREAMBLE_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8] = self.starts_anew.into();
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        let sum = crc32fast::hash(&bytes[..32]);
        bytes[32..36].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    pub(crate) fn decode(bytes: &[u8; PREAMBLE_BYTES]) -> Option<Identity> {
        let sound = bytes.starts_with(MAGIC) && short(bytes, 32) == crc32fast::hash(&bytes[..32]);
        sound.then(|| Identity {
            first: Index(long(bytes, 24)),
            sequence: long(bytes, 16),
            starts_anew: bytes[8] == 1,
        })
    }
}

/// An open segment.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) file: Box<dyn DiskFile>,
    pub(crate) path: String,
    pub(crate) identity: Identity,
    /// Bytes in the file, written or not.
    pub(crate) size: u64,
    /// Where the next record goes, or where the last one that counts ends.
    pub(crate) end: u64,
    /// The start of each record in units of [`ALIGNMENT`]: four bytes an entry.
    offsets: Vec<u32>,
    /// The first index of each run of equal terms.
    terms: Vec<(Index, Term)>,
}

impl Segment {
    pub(crate) fn new(
        file: Box<dyn DiskFile>,
        path: String,
        identity: Identity,
        size: u64,
    ) -> Segment {
        let end = PREAMBLE_BYTES as u64;
        Segment { file, path, identity, size, end, offsets: Vec::new(), terms: Vec::new() }
    }

    pub(crate) fn first(&self) -> Index {
        self.identity.first
    }

    /// The index behind the last record.
    pub(crate) fn next(&self) -> Index {
        Index(self.identity.first.0 + self.offsets.len() as u64)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.offsets.is_empty()
    }

    /// Notes a record of `bytes` bytes at the end.
    pub(crate) fn push(&mut self, term: Term, bytes: usize) {
        if self.terms.last().is_none_or(|(_, last)| *last != term) {
            self.terms.push((self.next(), term));
        }
        // A segment is bounded by the largest batch, far below 2^32 units.
        self.offsets.push((self.end / ALIGNMENT as u64) as u32);
        self.end += bytes as u64;
    }

    /// Forgets the records at and behind `index`.
    pub(crate) fn forget_from(&mut self, index: Index) {
        self.end = self.offset(index);
        self.offsets.truncate((index.0 - self.first().0) as usize);
        self.terms.retain(|(first, _)| *first < index);
    }

    pub(crate) fn term(&self, index: Index) -> Term {
        let run = self.terms.partition_point(|(first, _)| *first <= index);
        self.terms[run - 1].1
    }

    /// Where the record of `index` starts; the end for the index behind the last.
    pub(crate) fn offset(&self, index: Index) -> u64 {
        let place = (index.0 - self.first().0) as usize;
        self.offsets.get(place).map_or(self.end, |units| u64::from(*units) * ALIGNMENT as u64)
    }

    /// Reads the bytes from `start` to `end`.
    pub(crate) fn read(&self, start: u64, end: u64) -> Result<Vec<u8>, DiskError> {
        let mut bytes = vec![0; (end - start) as usize];
        read_exact_at(self.file.as_ref(), &self.path, start, &mut bytes)?;
        Ok(bytes)
    }
}
