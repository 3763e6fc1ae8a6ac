//! A `state.bin` in pieces of any size becomes its records.

use std::io::{self, Write};

use serde::{Deserialize, Serialize};
use types::{Index, msgpack};

use crate::record::RecordType;

/// Most bytes of one record. Values of keys have half a MiB unless an operator lets
/// more in; what is larger than this was made to fill the memory of who reads it.
pub const RECORD_BYTES_MAX: usize = 256 << 20;

/// What stands before the records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub struct StateHeader {
    /// The Raft index of the state.
    pub last_index: Index,
}

/// One part of a `state.bin`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record<'b> {
    /// What stands before the records, once.
    Header(StateHeader),
    /// A record: its kind and its msgpack.
    Of(RecordType, &'b [u8]),
}

/// Why a `state.bin` cannot be split.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// A record is no msgpack.
    #[error("the snapshot's record number {number} ({kind}) cannot be read: {error}")]
    Broken {
        /// Which record, from one.
        number: u64,
        /// Its kind.
        kind: RecordType,
        /// What is wrong.
        error: msgpack::Error,
    },
    /// There is no header.
    #[error("the snapshot's state does not begin with its index: {0}")]
    Header(msgpack::Error),
    /// It ends within a record.
    #[error("the snapshot's state ends in the middle of record number {number}")]
    Cut {
        /// Which record, from one; zero for the header.
        number: u64,
    },
    /// A record has more than [`RECORD_BYTES_MAX`].
    #[error(
        "the snapshot's record number {number} ({kind}) has more than {RECORD_BYTES_MAX} bytes"
    )]
    TooLarge {
        /// Which record, from one.
        number: u64,
        /// Its kind.
        kind: RecordType,
    },
}

/// Takes the bytes of a `state.bin` as they come and gives each record to `visit` once
/// all of it is there. An error ends it: of the splitter's own or of `visit`.
///
/// As a [`Write`] it can stand behind whatever gives the bytes; the error that it met
/// is then told by [`Splitter::finish`].
pub struct Splitter<F, E> {
    visit: F,
    /// What has come and is no whole record yet.
    rest: Vec<u8>,
    /// With fewer bytes it is of no use to look again.
    needed: usize,
    /// Records so far.
    number: u64,
    has_header: bool,
    error: Option<E>,
}

impl<F, E> Splitter<F, E>
where
    F: FnMut(Record<'_>) -> Result<(), E>,
    E: From<RecordError>,
{
    /// Before the first byte.
    pub fn new(visit: F) -> Self {
        Self { visit, rest: Vec::new(), needed: 1, number: 0, has_header: false, error: None }
    }

    /// The next bytes.
    ///
    /// # Errors
    /// Those of [`RecordError`] and of the visitor.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), E> {
        if self.rest.is_empty() {
            // Most pieces hold many records, which need not be moved.
            let used = self.visit_all(bytes)?;
            self.rest.extend_from_slice(&bytes[used..]);
            return Ok(());
        }
        self.rest.extend_from_slice(bytes);
        if self.rest.len() < self.needed {
            return Ok(());
        }
        let rest = std::mem::take(&mut self.rest);
        let used = self.visit_all(&rest)?;
        self.rest = rest;
        self.rest.drain(..used);
        Ok(())
    }

    /// Behind the last byte.
    ///
    /// # Errors
    /// The first one there was, or that a record is not complete.
    pub fn finish(mut self) -> Result<(), E> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let rest = std::mem::take(&mut self.rest);
        let used = self.visit_all(&rest)?;
        if !self.has_header || used < rest.len() {
            let number = if self.has_header { self.number + 1 } else { 0 };
            return Err(RecordError::Cut { number }.into());
        }
        Ok(())
    }

    /// Visits the whole records and tells how many bytes they were.
    fn visit_all(&mut self, bytes: &[u8]) -> Result<usize, E> {
        let mut rest = bytes;
        while !rest.is_empty() {
            let envelope = usize::from(self.has_header);
            let kind = RecordType(rest[0]);
            let number = self.number + 1;
            let length = msgpack::value_len(&rest[envelope..]).map_err(|error| {
                if self.has_header {
                    RecordError::Broken { number, kind, error }
                } else {
                    RecordError::Header(error)
                }
            })?;
            let Some(length) = length else {
                if rest.len() > RECORD_BYTES_MAX {
                    return Err(RecordError::TooLarge { number, kind }.into());
                }
                // Twice as many before the next look keep the work linear.
                self.needed = rest.len() * 2;
                break;
            };
            let (record, behind) = rest.split_at(envelope + length);
            if self.has_header {
                self.number = number;
                (self.visit)(Record::Of(kind, &record[1..]))?;
            } else {
                let header = msgpack::from_slice(record).map_err(RecordError::Header)?;
                self.has_header = true;
                (self.visit)(Record::Header(header))?;
            }
            rest = behind;
        }
        Ok(bytes.len() - rest.len())
    }
}

impl<F, E> Write for Splitter<F, E>
where
    F: FnMut(Record<'_>) -> Result<(), E>,
    E: From<RecordError>,
{
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.feed(bytes) {
            Ok(()) => Ok(bytes.len()),
            Err(error) => {
                self.error.get_or_insert(error);
                Err(io::Error::other("a record of the state is not sound"))
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
