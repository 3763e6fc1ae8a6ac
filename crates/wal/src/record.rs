//! One entry as bytes.
//!
//! | at | bytes | what |
//! |---|---|---|
//! | 0 | 4 | CRC-32 of all that follows, seeded with the segment |
//! | 4 | 4 | length of the body |
//! | 8 | 8 | index |
//! | 16 | 8 | term |
//! | 24 | 8 | appended at |
//! | 32 | 4 | length of the extensions, the rear part of the body |
//! | 36 | 4 | how far back the last entry is that was synced when this was written |
//! | 40 | 1 | kind |
//! | 41 | 7 | zero |
//! | 48 | | body: data, extensions; then zeroes up to a multiple of 8 |
//!
//! All numbers are little-endian. The distance at 36 is what tells a torn tail from a
//! damaged middle: a sound record behind a bad one convicts the disk only if it knows
//! that the bad one had been synced.

use bytes::Bytes;
use raft::{Entry, EntryKind, Term};
use types::Index;

/// Bytes before the body.
pub(crate) const HEADER_BYTES: usize = 48;

/// Most bytes of data and extensions in an entry. Consul cuts values at 512 KiB and
/// bounds requests far below this.
pub(crate) const BODY_BYTES_MAX: usize = 256 << 20;

/// Records start at multiples of this.
pub(crate) const ALIGNMENT: usize = 8;

/// The fixed part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) index: Index,
    pub(crate) term: Term,
    pub(crate) kind: EntryKind,
    pub(crate) appended_at: u64,
    body_bytes: usize,
    extensions_bytes: usize,
    /// No entry above this was known to be synced.
    pub(crate) durable: Index,
}

impl Header {
    /// Reads the fixed part; nothing if it cannot be one. The checksum is not looked at.
    pub(crate) fn parse(bytes: &[u8]) -> Option<Header> {
        let bytes: &[u8; HEADER_BYTES] = bytes.get(..HEADER_BYTES)?.try_into().ok()?;
        let index = long(bytes, 8);
        let header = Header {
            index: Index(index),
            term: Term(long(bytes, 16)),
            kind: kind(bytes[40])?,
            appended_at: long(bytes, 24),
            body_bytes: short(bytes, 4) as usize,
            extensions_bytes: short(bytes, 32) as usize,
            durable: Index(index.saturating_sub(short(bytes, 36).into())),
        };
        let sound = index > 0
            && header.body_bytes <= BODY_BYTES_MAX
            && header.extensions_bytes <= header.body_bytes
            && bytes[41..] == [0; 7];
        sound.then_some(header)
    }

    /// Bytes of the record, padding included.
    pub(crate) fn record_bytes(&self) -> usize {
        record_bytes(self.body_bytes)
    }

    /// The entry of a whole record that [`is_intact`].
    pub(crate) fn entry(&self, record: &Bytes) -> Entry {
        let data_end = HEADER_BYTES + self.body_bytes - self.extensions_bytes;
        Entry {
            index: self.index,
            term: self.term,
            kind: self.kind,
            data: record.slice(HEADER_BYTES..data_end),
            extensions: record.slice(data_end..HEADER_BYTES + self.body_bytes),
            appended_at: self.appended_at,
        }
    }
}

/// Bytes that `entry` takes in a segment.
pub(crate) fn entry_bytes(entry: &Entry) -> usize {
    record_bytes(entry.data.len() + entry.extensions.len())
}

/// Appends the record of `entry`, written when all up to `durable` is synced, to `out`.
///
/// # Panics
/// When the body is larger than [`BODY_BYTES_MAX`]; the caller has checked.
pub(crate) fn encode(out: &mut Vec<u8>, entry: &Entry, durable: Index, segment: u64) {
    let body_bytes = entry.data.len() + entry.extensions.len();
    assert!(body_bytes <= BODY_BYTES_MAX, "an entry's size is checked before it is encoded");
    let distance = u32::try_from(entry.index.0.saturating_sub(durable.0)).unwrap_or(u32::MAX);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(body_bytes as u32).to_le_bytes());
    out.extend_from_slice(&entry.index.0.to_le_bytes());
    out.extend_from_slice(&entry.term.0.to_le_bytes());
    out.extend_from_slice(&entry.appended_at.to_le_bytes());
    out.extend_from_slice(&(entry.extensions.len() as u32).to_le_bytes());
    out.extend_from_slice(&distance.to_le_bytes());
    out.extend_from_slice(&[entry.kind as u8, 0, 0, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&entry.data);
    out.extend_from_slice(&entry.extensions);
    out.resize(start + record_bytes(body_bytes), 0);
    let sum = checksum(&out[start..], segment);
    out[start..start + 4].copy_from_slice(&sum.to_le_bytes());
}

/// Whether the checksum of a whole record is right for the segment.
pub(crate) fn is_intact(record: &[u8], segment: u64) -> bool {
    record.len() >= HEADER_BYTES && short(record, 0) == checksum(record, segment)
}

fn checksum(record: &[u8], segment: u64) -> u32 {
    let seed = (segment as u32) ^ ((segment >> 32) as u32);
    let mut hasher = crc32fast::Hasher::new_with_initial(seed);
    hasher.update(&record[4..]);
    hasher.finalize()
}

fn record_bytes(body_bytes: usize) -> usize {
    HEADER_BYTES + body_bytes.next_multiple_of(ALIGNMENT)
}

fn kind(number: u8) -> Option<EntryKind> {
    [EntryKind::Command, EntryKind::Noop, EntryKind::Barrier, EntryKind::Configuration]
        .into_iter()
        .find(|kind| *kind as u8 == number)
}

/// The little-endian `u32` at `at`, which the caller knows to be there.
pub(crate) fn short(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

/// The little-endian `u64` at `at`, which the caller knows to be there.
pub(crate) fn long(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}
