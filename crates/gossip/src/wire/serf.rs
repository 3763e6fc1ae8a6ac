//! serf's messages (`reference/gossip-wire.md` sections 10, 12 and 14): what memberlist carries
//! as user messages, as the user state of a push/pull, as a node's meta and in acks.
//!
//! A message is its type's byte and a msgpack map. What is read is bounded by the packet or
//! stream that carried it.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use types::Blob;
use types::coordinate::Coordinate;
use types::member::MemberStatus;
use types::msgpack;
use types::user_event::LamportTime;

use super::{Versions, field};

/// Most bytes of a node's meta.
pub const META_MAX: usize = 512;

/// Query flag: the asker wants to know who has heard it.
pub const QUERY_ACK: u32 = 1;
/// Query flag: do not pass it on.
pub const QUERY_NO_BROADCAST: u32 = 2;
/// Response flag: this is no answer, only word that the query was heard.
pub const RESPONSE_ACK: u32 = 1;

/// One of serf's messages.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "each struct says what it is")]
pub enum SerfMessage {
    Leave(Leave),
    Join(Join),
    PushPull(SerfPushPull),
    UserEvent(UserEvent),
    Query(Query),
    QueryResponse(QueryResponse),
    ConflictResponse(ConflictMember),
    KeyRequest(KeyRequest),
    KeyResponse(KeyResponse),
    Relay(Relay),
}

/// Why bytes are none of serf's messages.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SerfError {
    /// No type.
    #[error("serf message without a type")]
    Empty,
    /// A type that there is not.
    #[error("received message of unknown type: {0}")]
    UnknownType(u8),
    /// The body is not what the type says.
    #[error("serf message of type {kind}: {error}")]
    Body {
        /// The type.
        kind: u8,
        /// The mistake.
        error: msgpack::Error,
    },
}

impl SerfMessage {
    /// Reads a message.
    ///
    /// # Errors
    /// See [`SerfError`].
    pub fn decode(message: &[u8]) -> Result<Self, SerfError> {
        let (&kind, body) = message.split_first().ok_or(SerfError::Empty)?;
        let read = match kind {
            0 => msgpack::from_slice(body).map(Self::Leave),
            1 => msgpack::from_slice(body).map(Self::Join),
            2 => msgpack::from_slice(body).map(Self::PushPull),
            3 => msgpack::from_slice(body).map(Self::UserEvent),
            4 => msgpack::from_slice(body).map(Self::Query),
            5 => msgpack::from_slice(body).map(Self::QueryResponse),
            6 => msgpack::from_slice(body).map(Self::ConflictResponse),
            7 => msgpack::from_slice(body).map(Self::KeyRequest),
            8 => msgpack::from_slice(body).map(Self::KeyResponse),
            9 => Relay::decode(body).map(Self::Relay),
            other => return Err(SerfError::UnknownType(other)),
        };
        read.map_err(|error| SerfError::Body { kind, error })
    }

    /// The message's bytes.
    pub fn encode(&self) -> Bytes {
        let mut out = Vec::with_capacity(64);
        let mut put = |kind: u8, body: &dyn Fn(&mut Vec<u8>)| {
            out.push(kind);
            body(&mut out);
        };
        match self {
            Self::Leave(body) => put(0, &|out| msgpack::write(out, body)),
            Self::Join(body) => put(1, &|out| msgpack::write(out, body)),
            Self::PushPull(body) => put(2, &|out| msgpack::write(out, body)),
            Self::UserEvent(body) => put(3, &|out| msgpack::write(out, body)),
            Self::Query(body) => put(4, &|out| msgpack::write(out, body)),
            Self::QueryResponse(body) => put(5, &|out| msgpack::write(out, body)),
            Self::ConflictResponse(body) => put(6, &|out| msgpack::write(out, body)),
            Self::KeyRequest(body) => put(7, &|out| msgpack::write(out, body)),
            Self::KeyResponse(body) => put(8, &|out| msgpack::write(out, body)),
            Self::Relay(body) => put(9, &|out| body.append_to(out)),
        }
        out.into()
    }
}

/// A node is about to leave, or is to be counted as left.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Leave {
    /// When, by the members' clock.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
    /// Who.
    pub node: String,
    /// Whether to forget it entirely.
    pub prune: bool,
}

/// A node has joined.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Join {
    /// When, by the members' clock.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
    /// Who.
    pub node: String,
}

/// serf's part of a push/pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct SerfPushPull {
    /// The events' clock.
    #[serde(rename = "EventLTime")]
    pub event_time: LamportTime,
    /// The ring of recent events: real agents write exactly 512 places. From elsewhere there may
    /// be any number.
    #[serde(deserialize_with = "field::at_most::list::<EVENT_PLACES_MAX, _, _>")]
    pub events: Vec<Option<UserEvents>>,
    /// Who has left.
    #[serde(deserialize_with = "field::at_most::list::<MEMBERS_MAX, _, _>")]
    pub left_members: Vec<String>,
    /// The members' clock.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
    /// The queries' clock.
    #[serde(rename = "QueryLTime")]
    pub query_time: LamportTime,
    /// When each member's status changed last.
    #[serde(
        rename = "StatusLTimes",
        deserialize_with = "field::at_most::map::<MEMBERS_MAX, _, _, _>"
    )]
    pub status_times: BTreeMap<String, LamportTime>,
}

/// Places of the ring of events that are read; there are 512.
const EVENT_PLACES_MAX: usize = 4096;

/// Events of one time that are read.
const EVENTS_MAX: usize = 256;

/// Members of a push/pull that are read.
const MEMBERS_MAX: usize = super::stream::NODES_MAX;

/// The events of one time, in a push/pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserEvents {
    /// The events.
    #[serde(deserialize_with = "field::at_most::list::<EVENTS_MAX, _, _>")]
    pub events: Vec<PastEvent>,
    /// When, by the events' clock.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
}

/// An event, in a push/pull.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct PastEvent {
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Blob,
}

/// Something happened that everybody should know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct UserEvent {
    /// Whether events of one name may be taken together.
    #[serde(rename = "CC")]
    pub coalesce: bool,
    /// When, by the events' clock.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
    /// Its name.
    pub name: String,
    /// What it carries.
    pub payload: Blob,
}

/// A question to everybody.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Query {
    /// Where to answer.
    #[serde(with = "field::ip")]
    pub addr: Option<IpAddr>,
    /// Who is asked: [`Filter`]s, all of which must pass.
    #[serde(serialize_with = "field::list_or_nil::serialize")]
    pub filters: Vec<Blob>,
    /// [`QUERY_ACK`] and [`QUERY_NO_BROADCAST`].
    pub flags: u32,
    /// Tells it from others of the same time.
    #[serde(rename = "ID")]
    pub id: u32,
    /// When, by the queries' clock.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
    /// What is asked.
    pub name: String,
    /// What it carries.
    pub payload: Blob,
    /// Where to answer.
    pub port: u16,
    /// How many others carry each answer too.
    pub relay_factor: u8,
    /// Who asks.
    pub source_node: String,
    /// How long answers are awaited, in nanoseconds.
    pub timeout: i64,
}

/// An answer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct QueryResponse {
    /// [`RESPONSE_ACK`].
    pub flags: u32,
    /// Who answers.
    pub from: String,
    /// That of the query.
    #[serde(rename = "ID")]
    pub id: u32,
    /// That of the query.
    #[serde(rename = "LTime")]
    pub time: LamportTime,
    /// The answer.
    pub payload: Blob,
}

/// Who a node takes the asker to be.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct ConflictMember {
    /// Its address.
    #[serde(with = "field::ip")]
    pub addr: Option<IpAddr>,
    /// The serf protocol spoken.
    pub delegate_cur: u8,
    /// Highest serf protocol understood.
    pub delegate_max: u8,
    /// Lowest serf protocol understood.
    pub delegate_min: u8,
    /// Its name.
    pub name: String,
    /// Its gossip port.
    pub port: u16,
    /// The memberlist protocol spoken.
    pub protocol_cur: u8,
    /// Highest memberlist protocol understood.
    pub protocol_max: u8,
    /// Lowest memberlist protocol understood.
    pub protocol_min: u8,
    /// How it is doing.
    pub status: MemberStatus,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

impl ConflictMember {
    /// Sets the six version numbers.
    pub fn with_versions(mut self, versions: Versions) -> Self {
        self.protocol_min = versions.protocol_min;
        self.protocol_max = versions.protocol_max;
        self.protocol_cur = versions.protocol_current;
        self.delegate_min = versions.delegate_min;
        self.delegate_max = versions.delegate_max;
        self.delegate_cur = versions.delegate_current;
        self
    }
}

/// What a query about keys carries.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyRequest {
    /// The key itself; empty to ask for all.
    #[serde(with = "field::raw")]
    pub key: Bytes,
}

/// A key is a secret.
impl std::fmt::Debug for KeyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "KeyRequest(of {} bytes)", self.key.len())
    }
}

/// What a node has to say about its keys.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct KeyResponse {
    /// The keys, in base64.
    #[serde(serialize_with = "field::list_or_nil::serialize")]
    pub keys: Vec<String>,
    /// Why not, or what is missing.
    pub message: String,
    /// The key that encrypts, in base64.
    pub primary_key: String,
    /// Whether it did as it was told.
    pub result: bool,
}

/// Keys are secrets.
impl std::fmt::Debug for KeyResponse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyResponse")
            .field("keys", &self.keys.len())
            .field("message", &self.message)
            .field("result", &self.result)
            .finish_non_exhaustive()
    }
}

/// A message to be passed on to another node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relay {
    /// Where to.
    pub to: Option<SocketAddr>,
    /// Who is there.
    pub to_name: String,
    /// The whole message, its type's byte first.
    pub message: Bytes,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RelayHeader {
    dest_addr: UdpAddr,
    dest_name: String,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UdpAddr {
    #[serde(rename = "IP", with = "field::ip")]
    ip: Option<IpAddr>,
    port: i64,
    zone: String,
}

impl Relay {
    fn decode(body: &[u8]) -> Result<Self, msgpack::Error> {
        let (header, message) = msgpack::from_prefix::<RelayHeader>(body)?;
        let port = u16::try_from(header.dest_addr.port).ok();
        let to = header.dest_addr.ip.zip(port).map(|(ip, port)| SocketAddr::new(ip, port));
        Ok(Self { to, to_name: header.dest_name, message: Bytes::copy_from_slice(message) })
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        let dest_addr = UdpAddr {
            ip: self.to.map(|to| to.ip()),
            port: self.to.map_or(0, |to| to.port().into()),
            zone: String::new(),
        };
        msgpack::write(out, &RelayHeader { dest_addr, dest_name: self.to_name.clone() });
        out.extend(&self.message);
    }
}

/// Who a query is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Filter {
    /// Nodes of these names.
    Nodes(Vec<String>),
    /// Nodes whose tag matches.
    Tag {
        /// The tag; a node without it has the empty value.
        tag: String,
        /// A regular expression in Go's syntax.
        expression: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct TagFilter {
    expr: String,
    tag: String,
}

impl Filter {
    /// Reads one of [`Query::filters`].
    ///
    /// # Errors
    /// See [`SerfError`].
    pub fn decode(filter: &[u8]) -> Result<Self, SerfError> {
        let (&kind, body) = filter.split_first().ok_or(SerfError::Empty)?;
        let read = match kind {
            0 => msgpack::from_slice(body).map(Self::Nodes),
            1 => msgpack::from_slice(body)
                .map(|TagFilter { expr, tag }| Self::Tag { tag, expression: expr }),
            other => return Err(SerfError::UnknownType(other)),
        };
        read.map_err(|error| SerfError::Body { kind, error })
    }

    /// As it stands in [`Query::filters`].
    pub fn encode(&self) -> Blob {
        let mut out = Vec::new();
        match self {
            Self::Nodes(names) => {
                out.push(0);
                msgpack::write(&mut out, names);
            }
            Self::Tag { tag, expression } => {
                out.push(1);
                let filter = TagFilter { expr: expression.clone(), tag: tag.clone() };
                msgpack::write(&mut out, &filter);
            }
        }
        Blob(out.into())
    }
}

/// In front of tags that are a map.
const TAGS: u8 = 0xff;

/// In front of a coordinate.
const COORDINATE: u8 = 1;

/// A node's meta: its tags. The result may be longer than [`META_MAX`]; that is the caller's to say.
pub fn encode_tags(tags: &BTreeMap<String, String>) -> Bytes {
    let mut out = vec![TAGS];
    msgpack::write(&mut out, tags);
    out.into()
}

/// The tags in a node's meta. A meta of old is the value of the tag `role`.
///
/// # Errors
/// The map is not one.
pub fn decode_tags(meta: &[u8]) -> Result<BTreeMap<String, String>, msgpack::Error> {
    match meta.split_first() {
        Some((&TAGS, map)) => msgpack::from_slice(map),
        _ => {
            let role = String::from_utf8_lossy(meta).into_owned();
            Ok(BTreeMap::from([("role".to_owned(), role)]))
        }
    }
}

/// An ack's payload.
pub fn encode_coordinate(coordinate: &Coordinate) -> Bytes {
    let mut out = Vec::with_capacity(136);
    out.push(COORDINATE);
    msgpack::write(&mut out, coordinate);
    out.into()
}

/// The coordinate in an ack's payload. It is not checked.
///
/// # Errors
/// See [`SerfError`].
pub fn decode_coordinate(payload: &[u8]) -> Result<Coordinate, SerfError> {
    let (&version, body) = payload.split_first().ok_or(SerfError::Empty)?;
    if version != COORDINATE {
        return Err(SerfError::UnknownType(version));
    }
    msgpack::from_slice(body).map_err(|error| SerfError::Body { kind: version, error })
}
