//! JSON as Consul's HTTP API reads and writes it, which is Go's
//! `encoding/json` (`reference/http-api.md` 1.4 and 1.5).
//!
//! Reading ([`decode`]): field names match without regard to case, `null`
//! leaves a field as it was, the last of several equal keys wins, what follows
//! the first value is not looked at, and mistakes are told in Go's words.
//! Writing ([`encode`]): compact, with `<`, `>` and `&` escaped, floats in Go's
//! form.
//!
//! The structs themselves are ordinary `serde` structs with
//! `#[serde(default)]`. A struct that uses `#[serde(flatten)]` or is an untagged
//! enum hides its field names from the decoder and gets exact matching only.

mod decode;
mod encode;
mod error;
mod object;
mod parse;

pub use decode::{Unknown, decode, decode_value, decode_whole};
pub use encode::{encode, encode_into, encode_pretty, encode_stored};
pub use error::{DecodeError, quote};

/// Most levels of arrays and objects in a document. Go stops at 10,000; nothing
/// that Consul understands comes near either number.
pub const MAX_DEPTH: usize = 128;
