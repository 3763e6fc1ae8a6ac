//! Msgpack as Consul writes it: the "old spec" dialect of
//! `reference/gossip-wire.md` section 1 and `reference/rpc-wire.md` section 5.
//!
//! Writing: structs are maps whose keys are sorted bytewise; text and bytes are
//! both *raw* (never `str8` or `bin`); integers take the fewest bytes; `None`
//! is nil. Fields that `skip_serializing_if` leaves out are left out here too,
//! which every reader of the dialect takes for the zero value.
//!
//! Reading is liberal: newer string and binary forms, integers of any width,
//! nil for any field, missing and unknown fields, structs as arrays. Text that
//! is not UTF-8 is read with U+FFFD in place of the bad bytes; a [`crate::Blob`]
//! keeps its bytes. A length is believed only as far as there are bytes.
//!
//! The format is not human-readable in `serde`'s sense, so that the vocabulary's
//! types take their binary form (a duration is nanoseconds, a blob raw bytes).

mod read;
mod scan;
mod skip;
mod value;
mod write;

pub use read::{from_prefix, from_slice};
pub use scan::ValueScan;
pub use skip::{Extent, extent, value_len};
pub use value::Value;
pub use write::{to_vec, write, write_joined};

use std::fmt;

/// Most levels of arrays and maps in a message: what [`crate::json`] lets in,
/// and room for the envelopes around it.
pub const MAX_DEPTH: usize = crate::json::MAX_DEPTH + 32;

/// Why bytes could not be read as the type that was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The bytes end in the middle of a value, or a length goes past their end.
    #[error("msgpack: unexpected end of input")]
    UnexpectedEnd,
    /// More than [`MAX_DEPTH`] levels.
    #[error("msgpack: more than {MAX_DEPTH} levels")]
    TooDeep,
    /// More values than the reader wants to see.
    #[error("msgpack: more than {0} values")]
    TooMany(usize),
    /// A byte that starts no value.
    #[error("msgpack: unknown marker 0x{0:02x}")]
    UnknownMarker(u8),
    /// A value of another type than the one expected.
    #[error("msgpack: expected {expected}, found marker 0x{marker:02x}")]
    Mismatch {
        /// What was expected.
        expected: &'static str,
        /// The first byte of what was found.
        marker: u8,
    },
    /// An integer that does not fit its type.
    #[error("msgpack: integer {0} is out of range")]
    OutOfRange(i128),
    /// A visitor's own words.
    #[error("msgpack: {0}")]
    Custom(String),
}

impl serde::de::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error::Custom(message.to_string())
    }
}

impl serde::ser::Error for Error {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Error::Custom(message.to_string())
    }
}
