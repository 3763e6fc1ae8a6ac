//! Term, vote and a few named values.
//!
//! One file of two slots that are written in turn: a torn write leaves the other slot
//! with what was there before. A slot is magic, sequence, length, CRC-32 and contents.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use raft::{HardState, ServerId, Term};

use crate::disk::{Disk, DiskError, DiskErrorKind, DiskFile, read_exact_at};
use crate::record::{long, short};

const MAGIC: &[u8; 8] = b"PROCSTA1";
const SLOT_BYTES: usize = 16 * 1024;
const SLOT_HEADER_BYTES: usize = 24;

/// Most bytes of all names and values together.
pub const VALUES_BYTES_MAX: usize = 8 * 1024;

/// Most bytes of the id of the server that got the vote.
const VOTE_BYTES_MAX: usize = 4 * 1024;

/// Why the stable store could not do it.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StableError {
    /// The disk refused; what was stored before still is.
    #[error("the stable store's disk: {0}")]
    Disk(#[from] DiskError),
    /// A sync failed, now or earlier: the process must stop.
    #[error("{0}: what this disk holds is not known any more, and this server must stop")]
    Poisoned(DiskError),
    /// Neither slot is sound.
    #[error(
        "{file} is damaged: neither of its copies of the term and vote is readable. Check the \
         disk, then remove this server's raft directory and let it join again"
    )]
    Damaged {
        /// The path.
        file: String,
    },
    /// More than fits.
    #[error("values in the stable store would take {0} bytes, more than there is room for")]
    TooLarge(usize),
}

/// The store.
#[derive(Debug)]
pub struct StableStore {
    file: Box<dyn DiskFile>,
    sequence: u64,
    contents: Contents,
    poison: Option<DiskError>,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Contents {
    state: HardState,
    values: BTreeMap<String, Bytes>,
}

impl StableStore {
    /// Opens the store in `directory`, or makes an empty one.
    ///
    /// # Errors
    /// [`StableError::Damaged`], or the disk's.
    pub fn open(disk: &Arc<dyn Disk>, directory: &str) -> Result<Self, StableError> {
        disk.create_dir(directory)?;
        let path = format!("{directory}/stable");
        let mut file = match disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.kind == DiskErrorKind::NotFound => {
                make(disk.as_ref(), directory, &path)?
            }
            Err(error) => return Err(error.into()),
        };
        let newest = [0, 1]
            .into_iter()
            .filter_map(|slot| read_slot(file.as_ref(), &path, slot).transpose())
            .collect::<Result<Vec<_>, DiskError>>()?
            .into_iter()
            .max_by_key(|(sequence, _)| *sequence);
        let Some((sequence, contents)) = newest else {
            return Err(StableError::Damaged { file: path });
        };
        // A process that died without the machine may have left the newest to memory, and if a
        // sync had failed the system takes it for written. So it is written once more, as it is:
        // where the disk has it nothing changes, and where not the other slot stays what it was.
        file.write_at(slot_offset(sequence), &encode_slot(sequence, &contents))?;
        file.sync_data()?;
        disk.sync_dir(directory)?;
        Ok(Self { file, sequence, contents, poison: None })
    }

    /// The stored term and vote.
    pub fn hard_state(&self) -> &HardState {
        &self.contents.state
    }

    /// Stores term and vote; they last when this returns. One write, one sync.
    ///
    /// # Errors
    /// The disk's; [`StableError::Poisoned`] is for good.
    pub fn set_hard_state(&mut self, state: HardState) -> Result<(), StableError> {
        let contents = Contents { state, values: self.contents.values.clone() };
        self.store(contents)
    }

    /// A stored value.
    pub fn value(&self, name: &str) -> Option<&Bytes> {
        self.contents.values.get(name)
    }

    /// Stores a value, or removes it; it lasts when this returns.
    ///
    /// # Errors
    /// As [`StableStore::set_hard_state`], and [`StableError::TooLarge`].
    pub fn set_value(&mut self, name: &str, value: Option<Bytes>) -> Result<(), StableError> {
        let mut contents = self.contents.clone();
        match value {
            Some(value) => contents.values.insert(name.to_owned(), value),
            None => contents.values.remove(name),
        };
        self.store(contents)
    }

    fn store(&mut self, contents: Contents) -> Result<(), StableError> {
        if let Some(error) = &self.poison {
            return Err(StableError::Poisoned(error.clone()));
        }
        if contents == self.contents {
            return Ok(());
        }
        let values_bytes: usize =
            contents.values.iter().map(|(name, value)| 8 + name.len() + value.len()).sum();
        let vote_bytes = contents.state.vote.as_ref().map_or(0, |(_, id)| id.0.len());
        if values_bytes > VALUES_BYTES_MAX || vote_bytes > VOTE_BYTES_MAX {
            return Err(StableError::TooLarge(values_bytes + vote_bytes));
        }
        let sequence = self.sequence + 1;
        let slot = encode_slot(sequence, &contents);
        self.file.write_at(slot_offset(sequence), &slot)?;
        if let Err(error) = self.file.sync_data() {
            self.poison = Some(error.clone());
            return Err(StableError::Poisoned(error));
        }
        self.sequence = sequence;
        self.contents = contents;
        Ok(())
    }
}

fn slot_offset(sequence: u64) -> u64 {
    sequence % 2 * SLOT_BYTES as u64
}

fn make(disk: &dyn Disk, directory: &str, path: &str) -> Result<Box<dyn DiskFile>, DiskError> {
    let temporary = format!("{path}.tmp");
    let mut file = disk.create(&temporary)?;
    file.preallocate(2 * SLOT_BYTES as u64)?;
    file.write_at(slot_offset(0), &encode_slot(0, &Contents::default()))?;
    file.sync_data()?;
    disk.rename(&temporary, path)?;
    disk.sync_dir(directory)?;
    Ok(file)
}

fn encode_slot(sequence: u64, contents: &Contents) -> Vec<u8> {
    let mut body = Vec::with_capacity(256);
    let raw = |body: &mut Vec<u8>, bytes: &[u8]| {
        body.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
        body.extend_from_slice(bytes);
    };
    body.extend_from_slice(&contents.state.term.0.to_le_bytes());
    match &contents.state.vote {
        None => body.push(0),
        Some((term, candidate)) => {
            body.push(1);
            body.extend_from_slice(&term.0.to_le_bytes());
            raw(&mut body, candidate.0.as_bytes());
        }
    }
    for (name, value) in &contents.values {
        raw(&mut body, name.as_bytes());
        raw(&mut body, value);
    }
    let mut slot = Vec::with_capacity(SLOT_HEADER_BYTES + body.len());
    slot.extend_from_slice(MAGIC);
    slot.extend_from_slice(&sequence.to_le_bytes());
    slot.extend_from_slice(&(body.len() as u32).to_le_bytes());
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&slot[8..]);
    hasher.update(&body);
    slot.extend_from_slice(&hasher.finalize().to_le_bytes());
    slot.extend_from_slice(&body);
    slot
}

/// Sequence and contents of a slot; nothing if it is not sound.
fn read_slot(
    file: &dyn DiskFile,
    path: &str,
    slot: u64,
) -> Result<Option<(u64, Contents)>, DiskError> {
    let offset = slot_offset(slot);
    let size = file.size()?.saturating_sub(offset).min(SLOT_BYTES as u64);
    let mut bytes = vec![0; size as usize];
    read_exact_at(file, path, offset, &mut bytes)?;
    Ok(decode_slot(&bytes))
}

fn decode_slot(bytes: &[u8]) -> Option<(u64, Contents)> {
    if bytes.len() < SLOT_HEADER_BYTES || !bytes.starts_with(MAGIC) {
        return None;
    }
    let mut body = bytes[SLOT_HEADER_BYTES..].get(..short(bytes, 16) as usize)?;
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&bytes[8..20]);
    hasher.update(body);
    if hasher.finalize() != short(bytes, 20) {
        return None;
    }
    let mut contents = Contents::default();
    contents.state.term = Term(take_long(&mut body)?);
    let (voted, rest) = body.split_first()?;
    body = rest;
    if *voted == 1 {
        let term = Term(take_long(&mut body)?);
        contents.state.vote = Some((term, ServerId(take_text(&mut body)?.into())));
    }
    while !body.is_empty() {
        let name = take_text(&mut body)?.to_owned();
        contents.values.insert(name, Bytes::copy_from_slice(take_raw(&mut body)?));
    }
    Some((long(bytes, 8), contents))
}

fn take_long(body: &mut &[u8]) -> Option<u64> {
    let (word, rest) = body.split_at_checked(8)?;
    *body = rest;
    Some(long(word, 0))
}

fn take_raw<'a>(body: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = body.split_at_checked(4)?;
    let (raw, rest) = rest.split_at_checked(short(len, 0) as usize)?;
    *body = rest;
    Some(raw)
}

fn take_text<'a>(body: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_raw(body)?).ok()
}
