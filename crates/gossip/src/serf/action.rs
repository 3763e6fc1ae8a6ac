//! What the shell is to do, and what it learns.

use std::fmt;
use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use types::member::Member;
use types::user_event::LamportTime;

use super::keys::KeyAnswers;
use super::report::{Measure, Report};
use super::snapshot::SnapshotWrite;
use crate::memberlist::ExchangeId;

/// What the shell is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Seal these bytes and send them as one packet.
    Packet {
        /// To whom.
        to: SocketAddr,
        /// What, before it is sealed.
        plain: Bytes,
    },
    /// Open a stream, send this message, read one, and say how it went with
    /// [`super::Serf::handle_stream_answer`].
    Exchange {
        /// Names it.
        id: ExchangeId,
        /// To whom.
        to: SocketAddr,
        /// What, before it is sealed.
        message: Bytes,
        /// Whether the other side answers. If not, it is over once all is sent.
        answered: bool,
        /// When to give up.
        deadline: Instant,
    },
    /// Tell those who listen.
    Event(Event),
    /// Tell the one who waits for this operation.
    Completed(OperationId, Outcome),
    /// Write to the snapshot's file.
    Snapshot(SnapshotWrite),
    /// Put this in the place of the keyring's file, readable by its owner alone, then say how
    /// that went with [`super::Serf::handle_persisted`].
    PersistKeyring(KeyringChange, KeyringFile),
    /// Write to the log.
    Report(Report),
    /// Count.
    Measure(Measure),
    /// End: another node has this one's name, and the pool knows that one.
    Shutdown,
}

/// Something that happened in the pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A member is there, for the first time or again.
    MemberJoin(Member),
    /// A member left of its own will, or was declared gone by an operator.
    MemberLeave(Member),
    /// A member does not answer any more.
    MemberFailed(Member),
    /// A member says something else of itself.
    MemberUpdate(Member),
    /// A member that was gone is forgotten.
    MemberReap(Member),
    /// An event that somebody sent to all.
    User(UserEvent),
    /// A question to all, or to some that this node is among.
    Query(Query),
}

/// An event that somebody sent to all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserEvent {
    /// When.
    pub lamport_time: LamportTime,
    /// What it is.
    pub name: String,
    /// What it carries.
    pub payload: Bytes,
    /// Whether several of this name may be taken for one. Consul never says so.
    pub coalesce: bool,
}

/// A question that can be answered with [`super::Serf::respond`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// When it was asked.
    pub lamport_time: LamportTime,
    /// Tells it from others of the same time.
    pub id: u32,
    /// What is asked.
    pub name: String,
    /// What the question carries.
    pub payload: Bytes,
    /// Who asks.
    pub source_node: String,
    /// Where the answer goes.
    pub source: SocketAddr,
    /// Over how many other members the answer goes as well.
    pub relay_factor: u8,
    /// Until when answers are waited for.
    pub deadline: Instant,
}

/// Names what somebody waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OperationId(pub(super) u64);

/// How an operation ended, or what came of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A join.
    Joined(Joined),
    /// A leave.
    Left,
    /// A forced leave, which was passed on; or it was not, in time.
    ForcedLeave(Result<(), NotBroadcast>),
    /// An operation on keys.
    Keys(KeyAnswers),
    /// A node has the query.
    Acknowledged(String),
    /// A node answers the query.
    Answered {
        /// Who.
        from: String,
        /// What.
        payload: Bytes,
    },
    /// There are no more answers to the query.
    Closed,
}

/// How a join went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Joined {
    /// How many were reached.
    pub contacted: usize,
    /// Of each that was not, why.
    pub errors: Vec<String>,
}

/// A message was not passed on in time. The text is serf's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("timed out broadcasting node removal")]
pub struct NotBroadcast;

/// Names a change of the keyring that is to be on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyringChange(pub(super) u64);

/// The text of a keyring's file. It holds keys: it does not show.
#[derive(Clone, PartialEq, Eq)]
pub struct KeyringFile(pub String);

impl fmt::Debug for KeyringFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyringFile(<hidden>)")
    }
}
