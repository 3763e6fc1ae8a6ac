//! The RPCs between servers as hashicorp/raft writes them: `reference/raft-and-snapshots.md`
//! sections 1 to 3.
//!
//! A request is one type byte and one msgpack map; an answer is an error text, empty for
//! none, and one map. Neither has a length in front: [`Splitter`] finds where each ends. Behind
//! the map of an InstallSnapshot come as many raw bytes as its `Size` says; they are the
//! transport's.
//!
//! What comes is believed only within bounds: of bytes for a request, of entries, of the length
//! of names. Entries share the memory of the request that they came in.

mod entry;
mod error;
mod fields;
mod raw;
mod splitter;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use types::{Index, msgpack};

use crate::entry::{Configuration, LogPosition, ServerId, SnapshotMeta, Suffrage, Term};
use crate::message::{
    AppendEntries, AppendEntriesResponse, Body, InstallSnapshot, InstallSnapshotResponse,
    RequestPreVote, RequestVote, VoteResponse,
};

pub use error::WireError;
pub use splitter::Splitter;

use entry::{WireEntries, WireEntry};
use raw::Raw;

/// What we speak.
const PROTOCOL_VERSION: i64 = 3;

/// The only version of snapshots with a configuration.
const SNAPSHOT_VERSION: i64 = 1;

/// What a server answers to a protocol version that it does not speak.
pub const UNSUPPORTED_PROTOCOL: &str = "operation not supported with current protocol version";

/// What a server that knows no pre-votes may answer to one; it then counts as granted.
pub const UNEXPECTED_COMMAND: &str = "unexpected command";

/// The calls. The numbers are the wire's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rpc {
    /// See [`Body::AppendEntries`].
    AppendEntries = 0,
    /// See [`Body::RequestVote`].
    RequestVote = 1,
    /// See [`Body::InstallSnapshot`].
    InstallSnapshot = 2,
    /// See [`Body::TimeoutNow`].
    TimeoutNow = 3,
    /// See [`Body::RequestPreVote`].
    RequestPreVote = 4,
}

impl Rpc {
    /// The call of a type byte.
    ///
    /// # Errors
    /// [`WireError::UnknownRpc`].
    pub fn from_byte(byte: u8) -> Result<Self, WireError> {
        Ok(match byte {
            0 => Rpc::AppendEntries,
            1 => Rpc::RequestVote,
            2 => Rpc::InstallSnapshot,
            3 => Rpc::TimeoutNow,
            4 => Rpc::RequestPreVote,
            other => return Err(WireError::UnknownRpc(other)),
        })
    }

    /// The call that a request makes; `None` for an answer.
    pub fn of(body: &Body) -> Option<Self> {
        Some(match body {
            Body::AppendEntries(_) => Rpc::AppendEntries,
            Body::RequestVote(_) => Rpc::RequestVote,
            Body::RequestPreVote(_) => Rpc::RequestPreVote,
            Body::InstallSnapshot(_) => Rpc::InstallSnapshot,
            Body::TimeoutNow => Rpc::TimeoutNow,
            _ => return None,
        })
    }
}

/// Who sends: what stands in the header of each message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sender {
    /// Its node id.
    pub id: ServerId,
    /// `ip:port` at which others reach it.
    pub address: Arc<str>,
}

/// A request as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The protocol that the sender speaks; see [`Request::is_supported`].
    pub protocol_version: i64,
    /// The sender's node id. Servers before Consul 1.14 or so do not give it.
    pub id: Option<ServerId>,
    /// The sender's address as it knows it, empty if it does not say.
    pub address: Arc<str>,
    /// The request.
    pub body: Body,
}

impl Request {
    /// Whether the sender's protocol can be spoken here; answered with
    /// [`UNSUPPORTED_PROTOCOL`] otherwise.
    pub fn is_supported(&self) -> bool {
        (PROTOCOL_VERSION - 1..=PROTOCOL_VERSION).contains(&self.protocol_version)
    }
}

/// An answer as it came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// Who answers, if it says so.
    pub id: Option<ServerId>,
    /// The answer, or the text with which the request was refused.
    pub body: Result<Body, String>,
}

/// Appends a request to `out`. `false`, and nothing, for an answer.
pub fn encode_request(out: &mut Vec<u8>, sender: &Sender, body: &Body) -> bool {
    let Some(rpc) = Rpc::of(body) else { return false };
    out.push(rpc as u8);
    let (addr, id) = (Raw::from(&*sender.address), Raw::from(&*sender.id.0));
    let (leader, protocol_version) = (addr.clone(), PROTOCOL_VERSION);
    match body {
        Body::AppendEntries(body) => {
            let entries: Vec<WireEntry<'_>> = body.entries.iter().map(WireEntry::from).collect();
            let entries = WireEntries((!body.is_heartbeat()).then_some(entries));
            let fields = fields::AppendEntries {
                addr,
                entries,
                id,
                leader,
                leader_commit_index: body.leader_commit.0,
                prev_log_entry: body.previous.index.0,
                prev_log_term: body.previous.term.0,
                protocol_version,
                term: body.term.0,
            };
            msgpack::write(out, &fields);
        }
        Body::RequestVote(body) => {
            let fields = fields::RequestVote {
                addr,
                candidate: leader,
                id,
                last_log_index: body.last.index.0,
                last_log_term: body.last.term.0,
                leadership_transfer: body.leadership_transfer,
                protocol_version,
                term: body.term.0,
            };
            msgpack::write(out, &fields);
        }
        Body::RequestPreVote(body) => {
            let fields = fields::RequestPreVote {
                addr,
                id,
                last_log_index: body.last.index.0,
                last_log_term: body.last.term.0,
                protocol_version,
                term: body.term.0,
            };
            msgpack::write(out, &fields);
        }
        Body::InstallSnapshot(InstallSnapshot { term, snapshot }) => {
            let fields = fields::InstallSnapshot {
                addr,
                configuration: Raw::from(snapshot.configuration.encode().to_vec()),
                configuration_index: snapshot.configuration_index.0,
                id,
                last_log_index: snapshot.last.index.0,
                last_log_term: snapshot.last.term.0,
                leader,
                peers: Raw::from(encode_peers(&snapshot.configuration)),
                protocol_version,
                size: i64::try_from(snapshot.size).unwrap_or(i64::MAX),
                snapshot_version: SNAPSHOT_VERSION,
                term: term.0,
            };
            msgpack::write(out, &fields);
        }
        _ => msgpack::write(out, &fields::Header { addr, id, protocol_version }),
    }
    true
}

/// The voters' addresses, for servers of before there were configurations.
fn encode_peers(configuration: &Configuration) -> Vec<u8> {
    let servers = configuration.servers.iter();
    let voters = servers.filter(|server| server.suffrage == Suffrage::Voter);
    let addresses: Vec<&str> = voters.map(|server| &*server.address).collect();
    msgpack::to_vec(&addresses)
}

/// Reads a whole request, as [`Splitter`] gives it.
///
/// # Errors
/// See [`WireError`]. The stream is of no use afterwards.
pub fn decode_request(request: &Bytes) -> Result<Request, WireError> {
    let (&byte, map) = request.split_first().ok_or(WireError::Empty)?;
    match Rpc::from_byte(byte)? {
        Rpc::AppendEntries => {
            let fields: fields::AppendEntries<'_> = msgpack::from_slice(map)?;
            let term = Term(fields.term);
            let previous = position(fields.prev_log_term, fields.prev_log_entry);
            let leader_commit = Index(fields.leader_commit_index);
            let entries = fields.entries.0.unwrap_or_default();
            let entries = entries.into_iter().map(|entry| entry.into_entry(request));
            let entries = entries.collect::<Result<Vec<_>, _>>()?;
            let body = AppendEntries { term, previous, entries, leader_commit };
            let header = (fields.protocol_version, fields.id, fields.addr, fields.leader);
            from_header(header, Body::AppendEntries(body))
        }
        Rpc::RequestVote => {
            let fields: fields::RequestVote<'_> = msgpack::from_slice(map)?;
            let body = RequestVote {
                term: Term(fields.term),
                last: position(fields.last_log_term, fields.last_log_index),
                leadership_transfer: fields.leadership_transfer,
            };
            let header = (fields.protocol_version, fields.id, fields.addr, fields.candidate);
            from_header(header, Body::RequestVote(body))
        }
        Rpc::RequestPreVote => {
            let fields: fields::RequestPreVote<'_> = msgpack::from_slice(map)?;
            let last = position(fields.last_log_term, fields.last_log_index);
            let body = RequestPreVote { term: Term(fields.term), last };
            let header = (fields.protocol_version, fields.id, fields.addr, Raw::default());
            from_header(header, Body::RequestPreVote(body))
        }
        Rpc::InstallSnapshot => {
            let fields: fields::InstallSnapshot<'_> = msgpack::from_slice(map)?;
            if fields.snapshot_version != SNAPSHOT_VERSION {
                return Err(WireError::SnapshotVersion(fields.snapshot_version));
            }
            let snapshot = SnapshotMeta {
                id: String::new(),
                last: position(fields.last_log_term, fields.last_log_index),
                configuration: Configuration::decode(&fields.configuration)?,
                configuration_index: Index(fields.configuration_index),
                size: u64::try_from(fields.size)
                    .map_err(|_| WireError::SnapshotSize(fields.size))?,
            };
            let body = InstallSnapshot { term: Term(fields.term), snapshot };
            let header = (fields.protocol_version, fields.id, fields.addr, fields.leader);
            from_header(header, Body::InstallSnapshot(body))
        }
        Rpc::TimeoutNow => {
            let fields: fields::Header<'_> = msgpack::from_slice(map)?;
            let header = (fields.protocol_version, fields.id, fields.addr, Raw::default());
            from_header(header, Body::TimeoutNow)
        }
    }
}

fn position(term: u64, index: u64) -> LogPosition {
    LogPosition { term: Term(term), index: Index(index) }
}

/// The older servers give their address beside the header.
fn from_header(
    (protocol_version, id, addr, older): (i64, Raw<'_>, Raw<'_>, Raw<'_>),
    body: Body,
) -> Result<Request, WireError> {
    let address = if addr.is_empty() { older.name()? } else { addr.name()? };
    let id = id.server_id()?;
    Ok(Request { protocol_version, id, address: address.into(), body })
}

/// Appends an answer to `out`: a response, or the text of a refusal. `false`, and nothing, for
/// a request.
pub fn encode_response(out: &mut Vec<u8>, sender: &Sender, answer: Result<&Body, &str>) -> bool {
    let body = match answer {
        Ok(body) if !body.is_response() => return false,
        Ok(body) => body,
        Err(text) => {
            msgpack::write(out, text);
            msgpack::write(out, &());
            return true;
        }
    };
    msgpack::write(out, "");
    let (addr, id) = (Raw::from(&*sender.address), Raw::from(&*sender.id.0));
    let protocol_version = PROTOCOL_VERSION;
    match body {
        Body::AppendEntriesResponse(body) => {
            let fields = fields::AppendEntriesResponse {
                addr,
                id,
                last_log: body.last_log.0,
                no_retry_backoff: body.no_retry_backoff,
                protocol_version,
                success: body.success,
                term: body.term.0,
            };
            msgpack::write(out, &fields);
        }
        Body::RequestVoteResponse(body) => {
            let (granted, peers, term) = (body.granted, Raw::default(), body.term.0);
            let fields =
                fields::RequestVoteResponse { addr, granted, id, peers, protocol_version, term };
            msgpack::write(out, &fields);
        }
        Body::RequestPreVoteResponse(body) => {
            let (granted, term) = (body.granted, body.term.0);
            let fields =
                fields::RequestPreVoteResponse { addr, granted, id, protocol_version, term };
            msgpack::write(out, &fields);
        }
        Body::InstallSnapshotResponse(body) => {
            let (success, term) = (body.success, body.term.0);
            let fields =
                fields::InstallSnapshotResponse { addr, id, protocol_version, success, term };
            msgpack::write(out, &fields);
        }
        _ => msgpack::write(out, &fields::Header { addr, id, protocol_version }),
    }
    true
}

/// Reads a whole answer to a call, as [`Splitter`] gives it.
///
/// # Errors
/// See [`WireError`]. The stream is of no use afterwards.
pub fn decode_response(rpc: Rpc, answer: &[u8]) -> Result<Response, WireError> {
    let (refusal, map): (Raw<'_>, &[u8]) = msgpack::from_prefix(answer)?;
    let (id, body) = match rpc {
        Rpc::AppendEntries => {
            let fields: fields::AppendEntriesResponse<'_> = msgpack::from_slice(map)?;
            let body = AppendEntriesResponse {
                term: Term(fields.term),
                last_log: Index(fields.last_log),
                success: fields.success,
                no_retry_backoff: fields.no_retry_backoff,
            };
            (fields.id, Body::AppendEntriesResponse(body))
        }
        Rpc::RequestVote => {
            let fields: fields::RequestVoteResponse<'_> = msgpack::from_slice(map)?;
            let body = VoteResponse { term: Term(fields.term), granted: fields.granted };
            (fields.id, Body::RequestVoteResponse(body))
        }
        Rpc::RequestPreVote => {
            let fields: fields::RequestPreVoteResponse<'_> = msgpack::from_slice(map)?;
            let body = VoteResponse { term: Term(fields.term), granted: fields.granted };
            (fields.id, Body::RequestPreVoteResponse(body))
        }
        Rpc::InstallSnapshot => {
            let fields: fields::InstallSnapshotResponse<'_> = msgpack::from_slice(map)?;
            let body = InstallSnapshotResponse { term: Term(fields.term), success: fields.success };
            (fields.id, Body::InstallSnapshotResponse(body))
        }
        Rpc::TimeoutNow => {
            let fields: fields::Header<'_> = msgpack::from_slice(map)?;
            (fields.id, Body::TimeoutNowResponse)
        }
    };
    let body = if refusal.is_empty() { Ok(body) } else { Err(refusal.text()) };
    Ok(Response { id: id.server_id()?, body })
}
