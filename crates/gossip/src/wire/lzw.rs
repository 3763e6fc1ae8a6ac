//! Compression: LZW as Go's `compress/lzw` has it (least significant bit first, 8 bits), in an
//! envelope `{Algo, Buf}`.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use types::msgpack;
use weezl::{BitOrder, LzwStatus};

use super::MessageType;
use super::field;

/// The only algorithm there is.
const LZW: u8 = 0;

/// Bits of a literal.
const LITERAL_BITS: u8 = 8;

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Compressed<'a> {
    algo: u8,
    #[serde(borrow, with = "field::raw::or_nil")]
    buf: Cow<'a, [u8]>,
}

/// Why something compressed cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecompressError {
    /// The envelope is not one.
    #[error("compressed message: {0}")]
    Envelope(#[from] msgpack::Error),
    /// An algorithm other than LZW.
    #[error("cannot decompress unknown algorithm {0}")]
    UnknownAlgorithm(u8),
    /// Not LZW, or it ends in the middle.
    #[error("lzw: corrupt input")]
    Corrupt,
    /// More comes out than the reader takes.
    #[error("compressed message is more than {limit} bytes long when decompressed")]
    TooLarge {
        /// The most, in bytes.
        limit: usize,
    },
}

/// `plain` compressed, its type's byte in front.
pub fn compress(plain: &[u8]) -> Vec<u8> {
    let packed = weezl::encode::Encoder::new(BitOrder::Lsb, LITERAL_BITS)
        .encode(plain)
        .expect("every byte is a literal of eight bits");
    let mut out = Vec::with_capacity(packed.len() + 16);
    out.push(MessageType::Compress as u8);
    msgpack::write(&mut out, &Compressed { algo: LZW, buf: packed.into() });
    out
}

/// What `body`, an envelope without its type's byte, holds: at most `limit` bytes.
///
/// # Errors
/// See [`DecompressError`].
pub fn decompress(body: &[u8], limit: usize) -> Result<Vec<u8>, DecompressError> {
    let envelope: Compressed<'_> = msgpack::from_slice(body)?;
    if envelope.algo != LZW {
        return Err(DecompressError::UnknownAlgorithm(envelope.algo));
    }
    let mut decoder = weezl::decode::Decoder::new(BitOrder::Lsb, LITERAL_BITS);
    let mut input: &[u8] = &envelope.buf;
    let mut out = vec![0; (input.len() * 4).clamp(64, limit.max(64))];
    let mut filled = 0;
    loop {
        let progress = decoder.decode_bytes(input, &mut out[filled..]);
        input = &input[progress.consumed_in..];
        filled += progress.consumed_out;
        if filled > limit {
            return Err(DecompressError::TooLarge { limit });
        }
        match progress.status {
            Ok(LzwStatus::Done) => break,
            // One byte above the limit is room enough to see that it is passed.
            Ok(_) if filled == out.len() => out.resize((out.len() * 2).min(limit + 1), 0),
            Ok(LzwStatus::Ok) if progress.consumed_in + progress.consumed_out > 0 => {}
            // There is room and nothing comes: the end is missing.
            Ok(_) | Err(_) => return Err(DecompressError::Corrupt),
        }
    }
    out.truncate(filled);
    Ok(out)
}
