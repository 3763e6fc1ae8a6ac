//! Consul's snapshot formats (`reference/raft-and-snapshots.md` sections 9 and 10).
//!
//! - [`Meta`]: `meta.json`, which says what a snapshot is of.
//! - [`archive`]: what `consul snapshot save` writes and `/v1/snapshot` carries.
//! - [`RecordType`] and [`Splitter`]: the records of a `state.bin`.
//!
//! All of it works on streams: what is held in memory is a buffer, or one record.
//! What a record means is the business of the domains.

pub mod archive;
mod meta;
mod record;
mod splitter;

pub use meta::Meta;
pub use record::{ORDER, RecordType};
pub use splitter::{RECORD_BYTES_MAX, Record, RecordError, Splitter, StateHeader};
