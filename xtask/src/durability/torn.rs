//! Torn tails: what a lost machine may do to the end of the log, done to the file of a
//! killed server.
//!
//! A kill alone leaves in the system's memory what was written and not synced. So the
//! tail is damaged by hand, but only where nothing was promised: behind the last record
//! that a later one knows to be synced, and behind the last one that holds a write which
//! was, or may have been, acknowledged. The layout of the records is read here a second
//! time on purpose, from its description alone.

use std::fs::OpenOptions;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use anyhow::Context as _;

const PREAMBLE_BYTES: usize = 64;
const HEADER_BYTES: usize = 48;

/// Bytes of a record that are made up at most.
const DEBRIS_BYTES_MAX: usize = 4096;

/// A record as far as the test has to know it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Record {
    index: u64,
    /// All up to here was synced when this was written.
    synced: u64,
    start: usize,
    end: usize,
}

/// What was done to a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Damage {
    /// A bit of an unpromised record is another.
    Flipped,
    /// From somewhere in an unpromised record on, there are zeroes.
    Zeroed,
    /// From there on the file has ended.
    CutShort,
    /// Behind the last record stands the beginning of another.
    HalfRecord,
    /// Behind the last record stands something.
    Garbage,
}

/// Damages the end of a segment, the newest of its log. `is_unacknowledged` tells of a
/// record's body whether it is a write that nobody was promised.
///
/// # Errors
/// Only the file's.
pub(super) fn tear(
    path: &Path,
    random: &mut fastrand::Rng,
    is_unacknowledged: impl Fn(&[u8]) -> bool,
) -> anyhow::Result<Damage> {
    let mut bytes = std::fs::read(path).with_context(|| path.display().to_string())?;
    let records = records(&bytes);
    let end = records.last().map_or(PREAMBLE_BYTES, |record| record.end);
    let from = unpromised(&bytes, &records, is_unacknowledged);
    let damage = if from == end {
        [Damage::HalfRecord, Damage::Garbage][random.usize(..2)]
    } else {
        [Damage::Flipped, Damage::Zeroed, Damage::CutShort][random.usize(..3)]
    };
    let whole = bytes.len();
    match damage {
        Damage::Flipped => bytes[random.usize(from..end)] ^= 1 << random.u32(..8),
        Damage::Zeroed => {
            let at = random.usize(from..end);
            bytes[at..end].fill(0);
        }
        Damage::CutShort => bytes.truncate(random.usize(from..end)),
        Damage::HalfRecord => half_record(&mut bytes, records.last(), end, random),
        Damage::Garbage => {
            let last = (end + DEBRIS_BYTES_MAX).min(bytes.len());
            let count = random.usize(..=last - end);
            random.fill(&mut bytes[end..end + count]);
        }
    }
    // In place, as a disk would.
    let file = OpenOptions::new().write(true).open(path)?;
    file.write_all_at(&bytes[from..], from as u64)?;
    if bytes.len() < whole {
        file.set_len(bytes.len() as u64)?;
    }
    Ok(damage)
}

/// The first part of what could be the next record.
fn half_record(bytes: &mut [u8], last: Option<&Record>, end: usize, random: &mut fastrand::Rng) {
    let Some(last) = last else { return };
    let mut next = bytes[last.start..last.end].to_vec();
    next[8..16].copy_from_slice(&(last.index + 1).to_le_bytes());
    let count = random.usize(..next.len()).min(bytes.len() - end);
    bytes[end..end + count].copy_from_slice(&next[..count]);
}

/// Where the part begins that may be lost: the end of the last record that must stay.
fn unpromised(
    bytes: &[u8],
    records: &[Record],
    is_unacknowledged: impl Fn(&[u8]) -> bool,
) -> usize {
    let synced = records.iter().map(|record| record.synced).max().unwrap_or(0);
    let end = records.last().map_or(PREAMBLE_BYTES, |record| record.end);
    let lost = records.iter().rev().take_while(|record| {
        record.index > synced && is_unacknowledged(&bytes[record.start + HEADER_BYTES..record.end])
    });
    lost.last().map_or(end, |record| record.start)
}

/// The records of a segment, up to the first place where none can be.
fn records(bytes: &[u8]) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    let mut start = PREAMBLE_BYTES;
    while let Some(header) = bytes.get(start..start + HEADER_BYTES) {
        let body = short(header, 4) as usize;
        let index = long(header, 8);
        let end = start + HEADER_BYTES + body.next_multiple_of(8);
        let follows = records.last().is_none_or(|last| index == last.index + 1);
        if index == 0 || !follows || end > bytes.len() {
            break;
        }
        let synced = index.saturating_sub(u64::from(short(header, 36)));
        records.push(Record { index, synced, start, end });
        start = end;
    }
    records
}

fn short(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

fn long(bytes: &[u8], at: usize) -> u64 {
    u64::from(short(bytes, at)) | u64::from(short(bytes, at + 4)) << 32
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A segment whose records hold these texts, each written when all up to the index
    /// beside it was synced. The first has index 10.
    fn segment(texts: &[(&str, u64)]) -> Vec<u8> {
        let mut bytes = vec![1; PREAMBLE_BYTES];
        for ((text, synced), index) in texts.iter().zip(10_u64..) {
            let start = bytes.len();
            bytes.resize(start + HEADER_BYTES, 0);
            bytes[start + 4..start + 8].copy_from_slice(&(text.len() as u32).to_le_bytes());
            bytes[start + 8..start + 16].copy_from_slice(&index.to_le_bytes());
            let distance = (index - synced) as u32;
            bytes[start + 36..start + 40].copy_from_slice(&distance.to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
            bytes.resize(start + HEADER_BYTES + text.len().next_multiple_of(8), 0);
        }
        bytes.resize(bytes.len() + 10_000, 0);
        bytes
    }

    fn is_in_flight(body: &[u8]) -> bool {
        body.starts_with(b"in flight")
    }

    /// How many records stay whatever happens.
    fn promised(texts: &[(&str, u64)]) -> usize {
        let bytes = segment(texts);
        let records = records(&bytes);
        assert_eq!(records.len(), texts.len());
        let from = unpromised(&bytes, &records, is_in_flight);
        records.iter().filter(|record| record.end <= from).count()
    }

    #[test]
    fn only_what_nobody_was_promised_may_be_lost() {
        assert_eq!(promised(&[]), 0);
        assert_eq!(promised(&[("told", 9), ("told", 9)]), 2);
        assert_eq!(promised(&[("told", 9), ("in flight", 9)]), 1);
        assert_eq!(promised(&[("in flight", 9), ("in flight", 9)]), 0);
        assert_eq!(promised(&[("in flight", 9), ("told", 9)]), 2);
        let synced_later = [("told", 9), ("in flight", 9), ("in flight", 11)];
        assert_eq!(promised(&synced_later), 2, "the third record knows the second to be synced");
    }

    #[test]
    fn damage_never_reaches_what_was_promised() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("segment");
        for texts in [&[("told", 9), ("in flight", 9)][..], &[("told", 9), ("told", 9)], &[]] {
            let whole = segment(texts);
            let kept = unpromised(&whole, &records(&whole), is_in_flight);
            for seed in 0..40 {
                std::fs::write(&path, &whole).unwrap();
                tear(&path, &mut fastrand::Rng::with_seed(seed), is_in_flight).unwrap();
                let torn = std::fs::read(&path).unwrap();
                assert_eq!(torn[..kept], whole[..kept]);
            }
        }
    }
}
