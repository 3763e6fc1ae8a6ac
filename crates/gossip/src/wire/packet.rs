//! The layers of a packet that need no key: compound, compression, checksum
//! (`reference/gossip-wire.md` section 2).

use super::MessageType;
use super::lzw::{self, DecompressError};

/// What a packet may hold when it leaves, in bytes: memberlist's buffer.
pub const PACKET_MAX: usize = 1400;

/// What a packet may be when it comes, in bytes.
pub const PACKET_RECEIVE_MAX: usize = 65_536;

/// What all the compressed parts of one packet may expand to, in bytes. Senders compress what
/// is no longer than a packet.
pub const EXPANDED_MAX: usize = 64 * 1024;

/// Messages of one packet, whatever the layers. Without a bound a small packet of compressed
/// pings would be answered by thousands.
pub const MESSAGES_MAX: usize = 256;

/// Layers inside each other; senders make three.
pub const LAYERS_MAX: usize = 8;

/// Parts of one compound.
pub const COMPOUND_PARTS_MAX: usize = 255;

/// Bytes of a compound besides its parts and their lengths.
pub const COMPOUND_HEADER: usize = 2;

/// Bytes that a part costs besides itself.
pub const COMPOUND_PART_OVERHEAD: usize = 2;

/// Below this size, in bytes, compression costs time and gains nothing: nearly all of what is
/// that small becomes larger.
const COMPRESS_MIN: usize = 150;

/// Why a packet, or a part of it, is not read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PacketError {
    /// Nothing in it.
    #[error("missing message type byte")]
    Empty,
    /// A type that there is not.
    #[error("msg type ({0}) not supported")]
    UnknownType(u8),
    /// A type that comes in streams, or further out.
    #[error("msg type ({0}) not supported in a packet")]
    Misplaced(u8),
    /// Fewer bytes than a checksum has, or not those that were summed.
    #[error("invalid checksum for packet: {computed:#x} != {sent:#x}")]
    Checksum {
        /// That of the bytes.
        computed: u32,
        /// That in the packet.
        sent: u32,
    },
    /// Shorter than its own header says.
    #[error("truncated {0}")]
    Truncated(&'static str),
    /// See [`DecompressError`].
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// More than [`LAYERS_MAX`].
    #[error("more than {LAYERS_MAX} layers")]
    TooDeep,
    /// More than [`MESSAGES_MAX`].
    #[error("more than {MESSAGES_MAX} messages in a packet")]
    TooMany,
}

/// Takes a packet without label and encryption apart and gives each message, its type and its
/// body, to `each`. Parts before and after one that cannot be read are given all the same.
///
/// # Errors
/// The first mistake.
pub fn unpack(packet: &[u8], each: &mut dyn FnMut(MessageType, &[u8])) -> Result<(), PacketError> {
    let mut reader = Unpacker { each, expandable: EXPANDED_MAX, messages: MESSAGES_MAX };
    reader.read(packet, LAYERS_MAX)
}

struct Unpacker<'e> {
    each: &'e mut dyn FnMut(MessageType, &[u8]),
    /// How many more bytes may come out of compression.
    expandable: usize,
    /// How many more messages are given.
    messages: usize,
}

impl Unpacker<'_> {
    fn read(&mut self, packet: &[u8], layers: usize) -> Result<(), PacketError> {
        let (&kind, body) = packet.split_first().ok_or(PacketError::Empty)?;
        let inner = layers.checked_sub(1).ok_or(PacketError::TooDeep)?;
        match MessageType::try_from(kind).map_err(PacketError::UnknownType)? {
            MessageType::HasCrc => self.read(checked(body)?, inner),
            MessageType::Compound => self.compound(body, inner),
            MessageType::Compress => {
                let plain = lzw::decompress(body, self.expandable)?;
                self.expandable -= plain.len();
                self.read(&plain, inner)
            }
            MessageType::PushPull
            | MessageType::Encrypt
            | MessageType::Error
            | MessageType::HasLabel => Err(PacketError::Misplaced(kind)),
            kind => {
                self.messages = self.messages.checked_sub(1).ok_or(PacketError::TooMany)?;
                (self.each)(kind, body);
                Ok(())
            }
        }
    }

    fn compound(&mut self, body: &[u8], inner: usize) -> Result<(), PacketError> {
        let truncated = PacketError::Truncated("compound message");
        let Some((&count, rest)) = body.split_first() else { return Err(truncated) };
        let Some((lengths, mut parts)) = rest.split_at_checked(usize::from(count) * 2) else {
            return Err(truncated);
        };
        let mut outcome = Ok(());
        for length in lengths.chunks_exact(2) {
            let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
            let Some((part, behind)) = parts.split_at_checked(length) else {
                return outcome.and(Err(truncated));
            };
            parts = behind;
            outcome = outcome.and(self.read(part, inner));
        }
        outcome
    }
}

/// The bytes behind a checksum, if it is theirs.
fn checked(body: &[u8]) -> Result<&[u8], PacketError> {
    let (sent, rest) = body.split_first_chunk().ok_or(PacketError::Truncated("checksum"))?;
    let (sent, computed) = (u32::from_be_bytes(*sent), crc32fast::hash(rest));
    if sent == computed { Ok(rest) } else { Err(PacketError::Checksum { computed, sent }) }
}

/// Several messages as one.
///
/// # Panics
/// With more than [`COMPOUND_PARTS_MAX`] parts, or one of 64 KiB.
pub fn compound<T: AsRef<[u8]>>(parts: &[T]) -> Vec<u8> {
    let count = u8::try_from(parts.len()).expect("callers split what is more than 255 parts");
    let lengths = parts.iter().map(|part| part.as_ref().len() + COMPOUND_PART_OVERHEAD);
    let mut out = Vec::with_capacity(COMPOUND_HEADER + lengths.sum::<usize>());
    out.extend([MessageType::Compound as u8, count]);
    for part in parts {
        let length = u16::try_from(part.as_ref().len()).expect("a part is smaller than a packet");
        out.extend(length.to_be_bytes());
    }
    parts.iter().for_each(|part| out.extend(part.as_ref()));
    out
}

/// Puts compression (if that makes it smaller) and a checksum around a message.
pub fn pack(message: Vec<u8>, compress: bool, checksum: bool) -> Vec<u8> {
    let message = if compress { compressed_if_smaller(message) } else { message };
    if !checksum {
        return message;
    }
    let mut out = Vec::with_capacity(message.len() + 5);
    out.push(MessageType::HasCrc as u8);
    out.extend(crc32fast::hash(&message).to_be_bytes());
    out.extend(message);
    out
}

fn compressed_if_smaller(message: Vec<u8>) -> Vec<u8> {
    if message.len() < COMPRESS_MIN {
        return message;
    }
    let compressed = lzw::compress(&message);
    if compressed.len() < message.len() { compressed } else { message }
}
