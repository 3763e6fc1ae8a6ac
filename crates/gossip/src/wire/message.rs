//! memberlist's messages (`reference/gossip-wire.md` section 3).
//!
//! A message is its type's byte and a msgpack map. Decoded messages borrow from the bytes.

use std::borrow::Cow;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use types::msgpack;

use super::field;

/// The first byte of a message or layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
#[allow(missing_docs, reason = "the names are those of the reference's table")]
pub enum MessageType {
    Ping = 0,
    IndirectPing = 1,
    Ack = 2,
    Suspect = 3,
    Alive = 4,
    Dead = 5,
    PushPull = 6,
    Compound = 7,
    User = 8,
    Compress = 9,
    Encrypt = 10,
    Nack = 11,
    HasCrc = 12,
    Error = 13,
    HasLabel = 244,
}

impl TryFrom<u8> for MessageType {
    type Error = u8;

    fn try_from(byte: u8) -> Result<Self, u8> {
        use MessageType::*;
        Ok(match byte {
            0 => Ping,
            1 => IndirectPing,
            2 => Ack,
            3 => Suspect,
            4 => Alive,
            5 => Dead,
            6 => PushPull,
            7 => Compound,
            8 => User,
            9 => Compress,
            10 => Encrypt,
            11 => Nack,
            12 => HasCrc,
            13 => Error,
            244 => HasLabel,
            other => return Err(other),
        })
    }
}

/// A message that is its type's byte and a map.
pub trait Message: Serialize {
    /// Its type.
    const TYPE: MessageType;

    /// Appends the whole message to `out`.
    fn append_to(&self, out: &mut Vec<u8>) {
        out.push(Self::TYPE as u8);
        msgpack::write(out, self);
    }

    /// The whole message.
    fn encode(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(128);
        self.append_to(&mut out);
        out
    }
}

/// Reads a message's body, the bytes behind its type.
///
/// # Errors
/// The body is not what the type says.
pub fn decode<'a, M: Deserialize<'a>>(body: &'a [u8]) -> Result<M, msgpack::Error> {
    msgpack::from_slice(body)
}

/// The protocol versions that a node understands and speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Versions {
    /// Lowest memberlist protocol understood.
    pub protocol_min: u8,
    /// Highest memberlist protocol understood.
    pub protocol_max: u8,
    /// The memberlist protocol spoken.
    pub protocol_current: u8,
    /// Lowest serf protocol understood.
    pub delegate_min: u8,
    /// Highest serf protocol understood.
    pub delegate_max: u8,
    /// The serf protocol spoken.
    pub delegate_current: u8,
}

impl Versions {
    /// Those of Consul 1.21.4.
    pub const CONSUL: Versions = Versions {
        protocol_min: 1,
        protocol_max: 5,
        protocol_current: 2,
        delegate_min: 2,
        delegate_max: 5,
        delegate_current: 4,
    };

    /// As they are written.
    pub fn to_bytes(self) -> [u8; 6] {
        [
            self.protocol_min,
            self.protocol_max,
            self.protocol_current,
            self.delegate_min,
            self.delegate_max,
            self.delegate_current,
        ]
    }
}

impl From<[u8; 6]> for Versions {
    fn from(bytes: [u8; 6]) -> Self {
        let [
            protocol_min,
            protocol_max,
            protocol_current,
            delegate_min,
            delegate_max,
            delegate_current,
        ] = bytes;
        Self {
            protocol_min,
            protocol_max,
            protocol_current,
            delegate_min,
            delegate_max,
            delegate_current,
        }
    }
}

/// Are you there?
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ping<'a> {
    /// Who is meant: others do not answer. Empty for whoever is at the address.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
    /// What the answer repeats.
    pub seq_no: u32,
    /// Where to answer; the packet's source if this or the port is missing.
    #[serde(with = "field::ip", skip_serializing_if = "Option::is_none")]
    pub source_addr: Option<IpAddr>,
    /// Who asks.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub source_node: Cow<'a, str>,
    /// The port to answer to.
    #[serde(skip_serializing_if = "is_zero")]
    pub source_port: u16,
}

/// Ask another node whether it is there, and tell me.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct IndirectPing<'a> {
    /// Whether to say so too if it does not answer.
    pub nack: bool,
    /// Who is asked about.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
    /// Its port; 0 for the same as the receiver's.
    pub port: u16,
    /// What the answer repeats.
    pub seq_no: u32,
    /// Where to answer; the packet's source if this or the port is missing.
    #[serde(with = "field::ip", skip_serializing_if = "Option::is_none")]
    pub source_addr: Option<IpAddr>,
    /// Who asks.
    #[serde(borrow, skip_serializing_if = "str::is_empty")]
    pub source_node: Cow<'a, str>,
    /// The port to answer to.
    #[serde(skip_serializing_if = "is_zero")]
    pub source_port: u16,
    /// The asked node's address.
    #[serde(with = "field::ip")]
    pub target: Option<IpAddr>,
}

/// I am there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Ack<'a> {
    /// serf's: a coordinate ([`super::serf::decode_coordinate`]).
    #[serde(borrow, with = "field::raw::or_nil")]
    pub payload: Cow<'a, [u8]>,
    /// That of the ping.
    pub seq_no: u32,
}

/// The node that you asked about did not answer me.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Nack {
    /// That of the indirect ping.
    pub seq_no: u32,
}

/// Why a stream is not answered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ErrorReply<'a> {
    /// The reason.
    #[serde(borrow)]
    pub error: Cow<'a, str>,
}

/// A node does not answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Suspect<'a> {
    /// Who says so.
    #[serde(borrow)]
    pub from: Cow<'a, str>,
    /// The incarnation that did not answer.
    pub incarnation: u32,
    /// Who is suspected.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
}

/// A node is gone; on its own word if `from` is `node`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Dead<'a> {
    /// Who says so.
    #[serde(borrow)]
    pub from: Cow<'a, str>,
    /// The incarnation that is gone.
    pub incarnation: u32,
    /// Who is gone.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
}

/// A node is there.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Alive<'a> {
    /// Its address.
    #[serde(with = "field::ip")]
    pub addr: Option<IpAddr>,
    /// Counts up whenever the node has something new to say of itself.
    pub incarnation: u32,
    /// What serf says of it: its tags. At most 512 bytes.
    #[serde(borrow, with = "field::raw::or_nil")]
    pub meta: Cow<'a, [u8]>,
    /// Its name.
    #[serde(borrow)]
    pub node: Cow<'a, str>,
    /// Its gossip port.
    pub port: u16,
    /// What it understands.
    #[serde(rename = "Vsn", with = "field::versions")]
    pub versions: Option<Versions>,
}

/// What a node knows of one node, in a push/pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PushNode<'a> {
    /// Its address.
    #[serde(with = "field::ip")]
    pub addr: Option<IpAddr>,
    /// Its incarnation.
    pub incarnation: u32,
    /// What serf says of it.
    #[serde(borrow, with = "field::raw::or_nil")]
    pub meta: Cow<'a, [u8]>,
    /// Its name.
    #[serde(borrow)]
    pub name: Cow<'a, str>,
    /// Its gossip port.
    pub port: u16,
    /// 0 alive, 1 suspect, 2 dead, 3 left.
    pub state: i64,
    /// What it understands. Always send it: real agents look at all six bytes unasked.
    #[serde(rename = "Vsn", with = "field::versions")]
    pub versions: Option<Versions>,
}

/// In front of a push/pull's nodes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct PushPullHeader {
    /// Whether the sender joins.
    pub(super) join: bool,
    /// How many nodes follow.
    pub(super) nodes: i64,
    /// How many bytes of serf's follow them.
    pub(super) user_state_len: i64,
}

/// In front of a user message on a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub(super) struct UserHeader {
    /// How many bytes follow.
    pub(super) user_msg_len: i64,
}

impl Ping<'_> {
    /// Where to answer, if the ping says so.
    pub fn source(&self) -> Option<SocketAddr> {
        source(self.source_addr, self.source_port)
    }

    /// Without its borrows.
    pub fn into_owned(self) -> Ping<'static> {
        Ping {
            node: self.node.into_owned().into(),
            source_node: self.source_node.into_owned().into(),
            ..self
        }
    }
}

impl IndirectPing<'_> {
    /// Where to answer, if the message says so.
    pub fn source(&self) -> Option<SocketAddr> {
        source(self.source_addr, self.source_port)
    }
}

fn source(addr: Option<IpAddr>, port: u16) -> Option<SocketAddr> {
    addr.filter(|_| port != 0).map(|addr| SocketAddr::new(addr, port))
}

fn is_zero(port: &u16) -> bool {
    *port == 0
}

macro_rules! messages {
    ($($message:ty: $kind:ident;)*) => { $(
        impl Message for $message {
            const TYPE: MessageType = MessageType::$kind;
        }
    )* };
}

messages! {
    Ping<'_>: Ping;
    IndirectPing<'_>: IndirectPing;
    Ack<'_>: Ack;
    Nack: Nack;
    ErrorReply<'_>: Error;
    Suspect<'_>: Suspect;
    Dead<'_>: Dead;
    Alive<'_>: Alive;
}
