//! Entries, and when they were appended.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, Deserialize, Deserializer, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use types::Index;

use super::WireError;
use super::raw::Raw;
use crate::entry::{Entry, EntryKind, Term};

/// Most entries of one request: what hashicorp/raft lets anybody configure. Consul sends 64.
const ENTRIES_MAX: usize = 1024;

/// Entries; `None` is nil, which marks a heartbeat.
#[derive(Default)]
pub(super) struct WireEntries<'a>(pub(super) Option<Vec<WireEntry<'a>>>);

/// Fields stand in the order in which they are written.
#[derive(Default, Serialize, serde::Deserialize)]
#[serde(default, rename_all = "PascalCase")]
pub(super) struct WireEntry<'a> {
    #[serde(borrow)]
    appended_at: Raw<'a>,
    #[serde(borrow)]
    data: Raw<'a>,
    #[serde(borrow)]
    extensions: Raw<'a>,
    index: u64,
    term: u64,
    r#type: u8,
}

impl<'a> From<&'a Entry> for WireEntry<'a> {
    fn from(entry: &'a Entry) -> Self {
        Self {
            appended_at: Raw::from(encode_time(entry.appended_at).to_vec()),
            data: Raw::from(&*entry.data),
            extensions: Raw::from(&*entry.extensions),
            index: entry.index.0,
            term: entry.term.0,
            r#type: entry.kind as u8,
        }
    }
}

impl WireEntry<'_> {
    /// The entry; its bytes share the memory of the whole request.
    pub(super) fn into_entry(self, whole: &Bytes) -> Result<Entry, WireError> {
        let kind = match self.r#type {
            0 => EntryKind::Command,
            1 => EntryKind::Noop,
            4 => EntryKind::Barrier,
            5 => EntryKind::Configuration,
            other => return Err(WireError::EntryKind(other)),
        };
        Ok(Entry {
            index: Index(self.index),
            term: Term(self.term),
            kind,
            data: self.data.into_bytes(whole),
            extensions: self.extensions.into_bytes(whole),
            appended_at: decode_time(&self.appended_at),
        })
    }
}

impl Serialize for WireEntries<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for WireEntries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = WireEntries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "at most {ENTRIES_MAX} entries")
            }

            fn visit_none<E: de::Error>(self) -> Result<Self::Value, E> {
                Ok(WireEntries(None))
            }

            fn visit_some<D: Deserializer<'de>>(
                self,
                deserializer: D,
            ) -> Result<Self::Value, D::Error> {
                deserializer.deserialize_seq(self)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = seq.next_element()? {
                    if entries.len() == ENTRIES_MAX {
                        return Err(de::Error::invalid_length(ENTRIES_MAX + 1, &self));
                    }
                    entries.push(entry);
                }
                Ok(WireEntries(Some(entries)))
            }
        }

        deserializer.deserialize_option(EntriesVisitor)
    }
}

/// From the first second of year 1, where Go's time begins, to the Unix epoch.
const EPOCH_SECONDS: u64 = 62_135_596_800;
const NANOS: u64 = 1_000_000_000;
const TIME_BYTES: usize = 15;
const TIME_VERSION: u8 = 1;

/// Go's binary form: a version, seconds, nanoseconds, minutes east of UTC. The unknown time is
/// Go's zero, whose zone is -1; a known one is told as a host in UTC would.
fn encode_time(unix_nanos: u64) -> [u8; TIME_BYTES] {
    let mut time = [0; TIME_BYTES];
    time[0] = TIME_VERSION;
    match unix_nanos {
        0 => time[13..].fill(0xff),
        nanos => {
            time[1..9].copy_from_slice(&(nanos / NANOS + EPOCH_SECONDS).to_be_bytes());
            time[9..13].copy_from_slice(&((nanos % NANOS) as u32).to_be_bytes());
        }
    }
    time
}

/// Zero for what is not known, or not told in this form: nothing depends on it.
fn decode_time(bytes: &[u8]) -> u64 {
    let Some((&[TIME_VERSION], rest)) = bytes.split_first_chunk() else { return 0 };
    let Some((seconds, rest)) = rest.split_first_chunk() else { return 0 };
    let Some((nanos, _zone)) = rest.split_first_chunk() else { return 0 };
    let since = u64::from_be_bytes(*seconds).checked_sub(EPOCH_SECONDS);
    let nanos = u64::from(u32::from_be_bytes(*nanos)).min(NANOS - 1);
    since.and_then(|since| since.checked_mul(NANOS)?.checked_add(nanos)).unwrap_or(0)
}
