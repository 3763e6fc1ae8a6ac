//! What the machine asks its shell to do, and tells it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::wire::packet::PacketError;

/// Names one exchange over a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExchangeId(pub u64);

/// One thing to do or to know. Taken in order from [`super::Memberlist::poll_action`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Send a packet. The shell encrypts it and puts the label in front
    /// ([`crate::wire::Security::seal_packet`]). What cannot be sent is lost.
    Packet {
        /// Where to.
        to: SocketAddr,
        /// Without encryption and label.
        plain: Bytes,
    },
    /// Dial, send a message, read one, and hand it to
    /// [`super::Memberlist::handle_stream_answer`]; or say there why not, by `deadline` at the
    /// latest. The shell encrypts ([`crate::wire::Security::seal_stream`]).
    Exchange {
        /// Its name.
        id: ExchangeId,
        /// Where to.
        to: SocketAddr,
        /// Who should be there, if that is known.
        name: Option<Arc<str>>,
        /// Without encryption and label.
        message: Bytes,
        /// Whether the other side answers. If not, the answer is `Ok(None)` once all is sent.
        answered: bool,
        /// When to give up.
        deadline: Instant,
    },
    /// A join or a user message asked for by [`super::Memberlist::join`] or
    /// [`super::Memberlist::send_user_stream`] is done, or why not.
    Exchanged {
        /// Its name.
        id: ExchangeId,
        /// For people.
        outcome: Result<(), String>,
    },
    /// What was waited for has gone out as often as it should, nobody is there to hear it, or
    /// the time for it is over.
    Broadcast {
        /// What.
        what: Waited,
        /// Whether it went out; false: time is over.
        sent: bool,
    },
    /// Worth a line in the log.
    Warning(Warning),
}

/// A broadcast whose end is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waited {
    /// [`super::Memberlist::leave`].
    Leave,
    /// [`super::Memberlist::update_meta`].
    Update,
}

/// What a person may want to know. The texts are memberlist's.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are those of the texts")]
pub enum Warning {
    /// A packet, or part of one, was not read.
    #[error("{error} from={from}")]
    Packet { from: SocketAddr, error: PacketError },
    /// A message's body was not what its type says.
    #[error("Failed to decode {kind} message: {error} from={from}")]
    Message { from: SocketAddr, kind: &'static str, error: types::msgpack::Error },
    /// A ping for another node: an address has changed hands.
    #[error("Got ping for unexpected node '{node}' from={from}")]
    UnexpectedPing { from: SocketAddr, node: String },
    /// A node is refused.
    #[error("ignoring alive message for '{node}' ({addr}): {reason}")]
    AliveRefused { node: String, addr: String, reason: String },
    /// A name is taken.
    #[error("Conflicting address for {node}. Mine: {mine} Theirs: {theirs} Old state: {state:?}")]
    Conflict { node: String, mine: SocketAddr, theirs: SocketAddr, state: super::NodeState },
    /// A name changed hands.
    #[error("Updating address for left or failed node {node} from {from} to {to}")]
    AddressUpdated { node: String, from: SocketAddr, to: SocketAddr },
    /// Somebody said something of this node that is not so.
    #[error("Refuting a {kind} message (from: {from})")]
    Refuting { kind: &'static str, from: String },
    /// Others remember a former life of this node.
    #[error("Refuting an alive message for '{node}': incarnation {incarnation}, mine is {mine}")]
    RefutingAlive { node: String, incarnation: u32, mine: u32 },
    /// A node did not answer, neither here nor to others.
    #[error("Suspect {node} has failed, no acks received")]
    Suspect { node: String },
    /// A suspect's time is over.
    #[error(
        "Marking {node} as failed, suspect timeout reached ({confirmations} peer confirmations)"
    )]
    Failed { node: String, confirmations: usize },
    /// Packets do not arrive.
    #[error(
        "Was able to connect to {node} over TCP but UDP probes failed, network may be misconfigured"
    )]
    OnlyStreams { node: String },
    /// It does not answer over a stream either, or nothing that fits.
    #[error("Failed fallback TCP ping to {node}: {error}")]
    StreamPing { node: String, error: String },
    /// A regular exchange failed.
    #[error("Push/Pull with {node} failed: {error}")]
    PushPull { node: String, error: String },
    /// What somebody sent of the pool was not merged.
    #[error("Failed push/pull merge: {error} from={from}")]
    Merge { from: SocketAddr, error: String },
    /// There is no room for more.
    #[error("Ignoring {what}: there are {limit} already")]
    Full { what: &'static str, limit: usize },
}

/// How much a person wants to know a [`Warning`]: memberlist's levels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names are those of every log")]
pub enum Level {
    Info,
    Warn,
    Error,
}

impl Warning {
    /// The level of its line.
    pub fn level(&self) -> Level {
        match self {
            Self::AddressUpdated { .. } | Self::Suspect { .. } | Self::Failed { .. } => Level::Info,
            Self::UnexpectedPing { .. }
            | Self::AliveRefused { .. }
            | Self::Refuting { .. }
            | Self::RefutingAlive { .. }
            | Self::OnlyStreams { .. }
            | Self::Full { .. } => Level::Warn,
            Self::Packet { .. }
            | Self::Message { .. }
            | Self::Conflict { .. }
            | Self::StreamPing { .. }
            | Self::PushPull { .. }
            | Self::Merge { .. } => Level::Error,
        }
    }
}
