//! The archive: gzip of a tar of `meta.json`, `state.bin` and `SHA256SUMS`.
//!
//! [`write`] and [`read`] are the two directions. Reading believes nothing: sums, sizes
//! and names are compared, all else is refused, and the caller learns that the archive
//! is sound only at its end. What it did with the state until then must not count
//! before. Where Consul refuses too, the words are Consul's.

mod error;
mod gunzip;
mod read;
mod untar;
mod write;

pub use error::{ArchiveError, Remaining};
pub use read::read;
pub use write::{WriteState, write};

const META: &str = "meta.json";
const STATE: &str = "state.bin";
const SUMS: &str = "SHA256SUMS";

/// Most bytes of a `meta.json`: some thousand servers.
const META_BYTES_MAX: u64 = 1 << 20;

/// Most bytes of a `SHA256SUMS`, which has two lines.
const SUMS_BYTES_MAX: u64 = 4 << 10;

/// Bytes that are read or written at a time.
const BUFFER_BYTES: usize = 64 << 10;
