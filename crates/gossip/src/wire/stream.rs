//! Streams: one message each way (`reference/gossip-wire.md` section 4).
//!
//! Nothing says in front how long a message is, unless it is encrypted. A [`StreamReader`] is fed
//! with what came and says how much is missing; its work and its memory are bounded whatever
//! comes, and however slowly.

use bytes::Bytes;
use types::msgpack::{self, Extent};

use super::lzw::{self, DecompressError};
use super::message::{
    Ack, ErrorReply, Message as _, Ping, PushNode, PushPullHeader, UserHeader, decode,
};
use super::seal::{self, OpenError, Security};
use super::{MessageType, packet};

/// Most bytes of an encrypted message: memberlist's bound.
pub const SEALED_MAX: usize = 20 * 1024 * 1024;

/// Most bytes of a message without its layers. A pool of 5,000 nodes needs about 4 MiB.
pub const PLAIN_MAX: usize = 64 * 1024 * 1024;

/// Most bytes of serf's part of a push/pull.
pub const USER_STATE_MAX: usize = 20 * 1024 * 1024;

/// Most bytes of a user message. serf's have 9 KiB at most.
pub const USER_MAX: usize = 1024 * 1024;

/// Most nodes of a push/pull.
pub const NODES_MAX: usize = 128 * 1024;

/// Most bytes of one node, or of another message's map. A node's meta has 512 at most.
pub const RECORD_MAX: usize = 64 * 1024;

/// Most values, keys included, of such a map. The largest known has 15.
const RECORD_VALUES_MAX: usize = 64;

/// In front of an encrypted message: its type and how long it is.
const SEALED_PREFIX: usize = 5;

/// A message of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamMessage {
    /// All that a node knows; answered with the like.
    PushPull(PushPull),
    /// Answered with an ack.
    Ping(Ping<'static>),
    /// The answer to a ping: its number.
    Ack(u32),
    /// For serf.
    User(Bytes),
    /// Why there is no other answer.
    Error(String),
}

/// The nodes that a node knows, and what serf says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushPull {
    /// Whether the sender joins.
    pub join: bool,
    /// serf's part: its push/pull message.
    pub user_state: Bytes,
    count: usize,
    nodes: Bytes,
}

impl PushPull {
    /// The nodes.
    ///
    /// # Errors
    /// One of them is no node.
    pub fn nodes(&self) -> Result<Vec<PushNode<'_>>, msgpack::Error> {
        let mut rest: &[u8] = &self.nodes;
        let mut nodes = Vec::with_capacity(self.count);
        for _ in 0..self.count {
            let (node, behind) = msgpack::from_prefix(rest)?;
            nodes.push(node);
            rest = behind;
        }
        Ok(nodes)
    }
}

/// Why a stream's message is not read. memberlist's words where it has them.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// See [`OpenError`].
    #[error(transparent)]
    Open(#[from] OpenError),
    /// It is not, and must be.
    #[error("Encryption is configured but remote state is not encrypted")]
    NotEncrypted,
    /// It is, and there is no key.
    #[error("Remote state is encrypted and encryption is not configured")]
    Encrypted,
    /// More than [`SEALED_MAX`] bytes.
    #[error("Remote node state is larger than limit ({0})")]
    SealedTooLarge(usize),
    /// More than [`PLAIN_MAX`] bytes, or a part of it above its own bound.
    #[error("{what} is larger than limit ({limit})")]
    TooLarge {
        /// What it is.
        what: &'static str,
        /// In bytes, or nodes.
        limit: usize,
    },
    /// A number of nodes or bytes below zero.
    #[error("{0} is below zero")]
    Negative(&'static str),
    /// See [`DecompressError`].
    #[error(transparent)]
    Decompress(#[from] DecompressError),
    /// A map that is none.
    #[error(transparent)]
    Map(#[from] msgpack::Error),
    /// A type that streams do not have.
    #[error("Received invalid msgType ({0})")]
    Type(u8),
    /// What was encrypted or compressed ends in the middle of a message.
    #[error("the message is shorter than it says")]
    Truncated,
}

/// How reading goes on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// At least this many bytes are missing; never zero.
    More(usize),
    /// The message. What may have come after it is not looked at.
    Message(StreamMessage),
}

/// Reads the one message of a stream.
///
/// ```
/// use gossip::wire::{Progress, Security, StreamMessage, StreamReader, stream};
///
/// let sent = stream::encode_user(b"hello");
/// let (mut reader, security) = (StreamReader::new(), Security::default());
/// let mut socket = sent.iter();
/// let message = loop {
///     match reader.next(&security)? {
///         Progress::More(bytes) => reader.buffer().extend(socket.by_ref().take(bytes)),
///         Progress::Message(message) => break message,
///     }
/// };
/// assert_eq!(message, StreamMessage::User("hello".into()));
/// # Ok::<(), stream::StreamError>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct StreamReader {
    buffer: Vec<u8>,
    /// Where what is not understood yet begins.
    at: usize,
    stage: Stage,
}

#[derive(Clone, Debug, Default)]
enum Stage {
    #[default]
    Label,
    Encryption,
    Sealed {
        length: usize,
    },
    Compression,
    Message(Scan),
}

impl StreamReader {
    /// A reader at the beginning of a stream.
    pub fn new() -> Self {
        Self::default()
    }

    /// Where to append what comes. What is there must not be changed.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// The message if it is all there, or how much is missing.
    ///
    /// # Errors
    /// See [`StreamError`]; there is no reading on after one. A shell may answer with
    /// [`encode_error`].
    pub fn next(&mut self, security: &Security) -> Result<Progress, StreamError> {
        loop {
            let rest = &self.buffer[self.at..];
            let Some(&first) = rest.first() else { return Ok(Progress::More(1)) };
            match &mut self.stage {
                Stage::Label => {
                    if first == MessageType::HasLabel as u8 {
                        let wanted = 2 + rest.get(1).map_or(0, |length| usize::from(*length));
                        if rest.len() < wanted {
                            return Ok(Progress::More(wanted - rest.len()));
                        }
                        self.at = wanted;
                    }
                    let (label, _) = seal::split_label(rest)?;
                    if label != security.label {
                        return Err(seal::wrong_label(label).into());
                    }
                    self.stage = Stage::Encryption;
                }
                Stage::Encryption if first == MessageType::Encrypt as u8 => {
                    if security.keyring.is_none() {
                        return Err(StreamError::Encrypted);
                    }
                    let Some(prefix) = rest.first_chunk::<SEALED_PREFIX>() else {
                        return Ok(Progress::More(SEALED_PREFIX - rest.len()));
                    };
                    let [_, length @ ..] = *prefix;
                    let length = u32::from_be_bytes(length) as usize;
                    if length > SEALED_MAX {
                        return Err(StreamError::SealedTooLarge(length));
                    }
                    self.stage = Stage::Sealed { length };
                }
                Stage::Encryption => {
                    if security.keyring.is_some() && security.verify_incoming {
                        return Err(StreamError::NotEncrypted);
                    }
                    self.stage = Stage::Compression;
                }
                Stage::Sealed { length } => {
                    let wanted = SEALED_PREFIX + *length;
                    let Some(sealed) = rest.get(..wanted) else {
                        return Ok(Progress::More(wanted - rest.len()));
                    };
                    return opened(sealed, security).map(Progress::Message);
                }
                Stage::Compression if first == MessageType::Compress as u8 => {
                    let limit = SEALED_MAX;
                    return match extent(&rest[1..], "a compressed message", limit)? {
                        Extent::Short(missing) => Ok(Progress::More(missing)),
                        Extent::Whole(length) => {
                            decompressed(&rest[1..=length]).map(Progress::Message)
                        }
                    };
                }
                Stage::Compression => self.stage = Stage::Message(Scan::default()),
                Stage::Message(scan) => {
                    if let Some(missing) = scan.advance(rest)? {
                        return Ok(Progress::More(missing));
                    }
                    let scan = std::mem::take(scan);
                    let whole = Bytes::from(std::mem::take(&mut self.buffer)).slice(self.at..);
                    self.at = 0;
                    return scan.finish(&whole).map(Progress::Message);
                }
            }
        }
    }
}

/// The message in an encrypted blob and its prefix.
fn opened(sealed: &[u8], security: &Security) -> Result<StreamMessage, StreamError> {
    let (prefix, blob) = sealed.split_at(SEALED_PREFIX);
    let keyring = security.keyring.as_ref().ok_or(StreamError::Encrypted)?;
    let plain = seal::open(keyring, &[prefix, &security.label].concat(), blob)?;
    match plain.split_first() {
        Some((&kind, body)) if kind == MessageType::Compress as u8 => decompressed(body),
        _ => whole(plain),
    }
}

fn decompressed(envelope: &[u8]) -> Result<StreamMessage, StreamError> {
    whole(lzw::decompress(envelope, PLAIN_MAX)?)
}

/// The message that some bytes are from their beginning.
fn whole(plain: Vec<u8>) -> Result<StreamMessage, StreamError> {
    let mut scan = Scan::default();
    match scan.advance(&plain)? {
        Some(_) => Err(StreamError::Truncated),
        None => scan.finish(&plain.into()),
    }
}

/// How far the map at the beginning of some bytes reaches.
fn extent(bytes: &[u8], what: &'static str, limit: usize) -> Result<Extent, StreamError> {
    let extent = msgpack::extent(bytes, RECORD_VALUES_MAX)?;
    let length = match extent {
        Extent::Whole(length) => length,
        Extent::Short(missing) => bytes.len().saturating_add(missing),
    };
    if length > limit { Err(StreamError::TooLarge { what, limit }) } else { Ok(extent) }
}

/// How far a message without layers has been looked through.
#[derive(Clone, Debug, Default)]
struct Scan {
    /// Where the next part begins; the type's byte is at 0.
    at: usize,
    part: Part,
}

#[derive(Clone, Copy, Debug, Default)]
enum Part {
    #[default]
    Map,
    Nodes {
        header: PushPullHeader,
        /// Where the first one begins.
        start: usize,
        left: usize,
    },
    /// Raw bytes.
    User {
        length: usize,
        /// What they follow, if it is a push/pull.
        nodes: Option<(PushPullHeader, usize)>,
    },
    Nothing,
}

impl Scan {
    /// Looks on through `bytes`, of which there may be more than before. `None` when the message
    /// is all there, else how much is missing at least.
    fn advance(&mut self, bytes: &[u8]) -> Result<Option<usize>, StreamError> {
        loop {
            let kind = *bytes.first().ok_or(StreamError::Truncated)?;
            self.at = self.at.max(1);
            let rest = &bytes[self.at..];
            if self.at > PLAIN_MAX {
                return Err(StreamError::TooLarge { what: "a message", limit: PLAIN_MAX });
            }
            match self.part {
                Part::Map => {
                    let kind = stream_type(kind)?;
                    let length = match extent(rest, "a message's map", RECORD_MAX)? {
                        Extent::Short(missing) => return Ok(Some(missing)),
                        Extent::Whole(length) => length,
                    };
                    self.at += length;
                    self.part = after_map(kind, &rest[..length], self.at)?;
                }
                Part::Nodes { header, start, left: 0 } => {
                    let length =
                        bounded(header.user_state_len, "user state length", USER_STATE_MAX)?;
                    self.part = Part::User { length, nodes: Some((header, start)) };
                }
                Part::Nodes { header, start, left } => {
                    match extent(rest, "a node's record", RECORD_MAX)? {
                        // Each of the others is a byte at least.
                        Extent::Short(missing) => return Ok(Some(missing + left - 1)),
                        Extent::Whole(length) => self.at += length,
                    }
                    self.part = Part::Nodes { header, start, left: left - 1 };
                }
                Part::User { length, .. } if rest.len() < length => {
                    return Ok(Some(length - rest.len()));
                }
                Part::User { .. } | Part::Nothing => return Ok(None),
            }
        }
    }

    /// The message that [`Scan::advance`] has found all there.
    fn finish(&self, bytes: &Bytes) -> Result<StreamMessage, StreamError> {
        let (kind, body) = bytes.split_first().ok_or(StreamError::Truncated)?;
        match (self.part, MessageType::try_from(*kind)) {
            (Part::User { length, nodes: None }, _) => {
                Ok(StreamMessage::User(bytes.slice(self.at..self.at + length)))
            }
            (Part::User { length, nodes: Some((header, start)) }, _) => {
                Ok(StreamMessage::PushPull(PushPull {
                    join: header.join,
                    user_state: bytes.slice(self.at..self.at + length),
                    count: bounded(header.nodes, "number of nodes", NODES_MAX)?,
                    nodes: bytes.slice(start..self.at),
                }))
            }
            (_, Ok(MessageType::Ping)) => {
                Ok(StreamMessage::Ping(decode::<Ping<'_>>(body)?.into_owned()))
            }
            (_, Ok(MessageType::Ack)) => Ok(StreamMessage::Ack(decode::<Ack<'_>>(body)?.seq_no)),
            (_, Ok(MessageType::Error)) => {
                let reply: ErrorReply<'_> = decode(body)?;
                Ok(StreamMessage::Error(reply.error.into_owned()))
            }
            _ => Err(StreamError::Type(*kind)),
        }
    }
}

/// What follows a message's first map, which ends at `at`.
fn after_map(kind: MessageType, map: &[u8], at: usize) -> Result<Part, StreamError> {
    Ok(match kind {
        MessageType::PushPull => {
            let header: PushPullHeader = decode(map)?;
            let left = bounded(header.nodes, "number of nodes", NODES_MAX)?;
            Part::Nodes { header, start: at, left }
        }
        MessageType::User => {
            let header: UserHeader = decode(map)?;
            let length = bounded(header.user_msg_len, "user message length", USER_MAX)?;
            Part::User { length, nodes: None }
        }
        _ => Part::Nothing,
    })
}

/// The type of a message that streams have.
fn stream_type(byte: u8) -> Result<MessageType, StreamError> {
    use MessageType::{Ack, Error, Ping, PushPull, User};
    match MessageType::try_from(byte) {
        Ok(kind @ (Ping | Ack | PushPull | User | Error)) => Ok(kind),
        _ => Err(StreamError::Type(byte)),
    }
}

fn bounded(number: i64, what: &'static str, limit: usize) -> Result<usize, StreamError> {
    let number = usize::try_from(number).map_err(|_| StreamError::Negative(what))?;
    if number > limit { Err(StreamError::TooLarge { what, limit }) } else { Ok(number) }
}

/// A push/pull of `nodes` and serf's part.
pub fn encode_push_pull<'n>(
    join: bool,
    nodes: impl ExactSizeIterator<Item = PushNode<'n>>,
    user_state: &[u8],
) -> Vec<u8> {
    let header =
        PushPullHeader { join, nodes: nodes.len() as i64, user_state_len: user_state.len() as i64 };
    let mut out = Vec::with_capacity(64 + 256 * nodes.len() + user_state.len());
    out.push(MessageType::PushPull as u8);
    msgpack::write(&mut out, &header);
    nodes.for_each(|node| msgpack::write(&mut out, &node));
    out.extend(user_state);
    out
}

/// A message for serf.
pub fn encode_user(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(32 + message.len());
    out.push(MessageType::User as u8);
    msgpack::write(&mut out, &UserHeader { user_msg_len: message.len() as i64 });
    out.extend(message);
    out
}

/// Why there is no other answer.
pub fn encode_error(error: &str) -> Vec<u8> {
    ErrorReply { error: error.into() }.encode()
}

/// Puts compression around a message if that makes it smaller.
pub fn pack(message: Vec<u8>, compress: bool) -> Vec<u8> {
    packet::pack(message, compress, false)
}

/// In front of an encrypted message of this many bytes.
pub(super) fn sealed_prefix(length: usize) -> [u8; SEALED_PREFIX] {
    let [a, b, c, d] = (length as u32).to_be_bytes();
    [MessageType::Encrypt as u8, a, b, c, d]
}
