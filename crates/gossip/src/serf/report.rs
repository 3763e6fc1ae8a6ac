//! What is worth a line in the log, and what is counted.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use types::member::MemberStatus;
use types::user_event::LamportTime;

use crate::memberlist::{self, Warning};

/// How much a line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// For those who look for a fault here.
    Debug,
    /// The usual course.
    Info,
    /// Something may be wrong.
    Warn,
    /// Something is wrong.
    Error,
}

/// Something to log. Texts that people search for are serf's; the shell puts `serf: ` or
/// `memberlist: ` in front.
#[derive(Clone, Debug, PartialEq)]
pub enum Report {
    /// Of the machine underneath.
    Memberlist(Warning),
    /// A change of a member.
    Member {
        /// Which.
        change: Change,
        /// Whether an operator forced it.
        forced: bool,
        /// Of whom.
        name: String,
        /// Where it is.
        address: IpAddr,
    },
    /// A message that cannot be read.
    Undecodable {
        /// What it should have been.
        what: &'static str,
        /// Why not.
        error: String,
    },
    /// A message of a type that is not known.
    UnknownMessage(u8),
    /// An event that is older than what is remembered.
    OldEvent(String, LamportTime, LamportTime),
    /// A query that is older than what is remembered.
    OldQuery(String, LamportTime, LamportTime),
    /// An answer to a query that is over.
    LateResponse(LamportTime, u32, String),
    /// A filter of a query that cannot be used.
    BadFilter(String),
    /// An internal query that is not known.
    UnknownQuery(String),
    /// An answer that was not sent.
    NotAnswered(String),
    /// A relay to an address that is no member's.
    StrangeRelay(SocketAddr),
    /// Two nodes with one name.
    NameConflict {
        /// The name.
        name: String,
        /// Where it was until now.
        known: SocketAddr,
        /// Who claims it too.
        other: SocketAddr,
    },
    /// Another node with the name of this one.
    OwnNameConflict {
        /// Where that one is.
        other: SocketAddr,
        /// Whether it is found out who goes.
        resolves: bool,
    },
    /// How the pool decided on the name: how many know this node, out of how many.
    NameResolution {
        /// Those that know this node under the name.
        matching: usize,
        /// Those that answered.
        responses: usize,
        /// Whether this node stays.
        stays: bool,
    },
    /// A leave intent from an earlier life was refuted.
    RefutedLeave,
    /// A node told of its end while it was not there.
    BadStateWhenLeft(MemberStatus),
    /// A round trip or coordinate that was refused.
    CoordinateRejected(String, String),
    /// A payload of a probe of a version that is not known.
    PingVersion(u8),
    /// Trying to reach a failed member.
    Reconnecting(String, SocketAddr),
    /// Trying to reach a member of an earlier life.
    Rejoining(String, SocketAddr),
    /// A member of an earlier life was reached.
    Rejoined(String, SocketAddr),
    /// No member of an earlier life could be reached.
    NotRejoined,
    /// Messages of a queue that was too long are dropped.
    QueueTooLong {
        /// `Intent`, `Event` or `Query`.
        queue: &'static str,
        /// Its length.
        depth: usize,
        /// How long it may be.
        limit: usize,
    },
    /// The leave was not passed on in time; it goes on all the same.
    LeaveTimeout,
    /// A query about keys arrived.
    KeyQuery(&'static str),
    /// What it asked for failed.
    KeyQueryFailed(&'static str, String),
    /// The end without a leave.
    ShutdownWithoutLeave,
}

/// A change of a member.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "see the events of the same names")]
pub enum Change {
    Join,
    Leave,
    Failed,
    Update,
    Reap,
}

impl Report {
    /// How much it matters.
    pub fn level(&self) -> Level {
        match self {
            Report::Memberlist(warning) => level(warning),
            Report::Member { .. }
            | Report::Reconnecting(..)
            | Report::Rejoining(..)
            | Report::Rejoined(..)
            | Report::NameResolution { stays: true, .. }
            | Report::KeyQuery(_) => Level::Info,
            Report::RefutedLeave | Report::CoordinateRejected(..) => Level::Debug,
            Report::Undecodable { .. }
            | Report::NotAnswered(_)
            | Report::OwnNameConflict { .. }
            | Report::PingVersion(_)
            | Report::KeyQueryFailed(..) => Level::Error,
            _ => Level::Warn,
        }
    }
}

fn level(warning: &Warning) -> Level {
    match warning.level() {
        memberlist::Level::Info => Level::Info,
        memberlist::Level::Warn => Level::Warn,
        memberlist::Level::Error => Level::Error,
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Report::Memberlist(warning) => warning.fmt(f),
            Report::Member { change: Change::Update, name, .. } => {
                write!(f, "EventMemberUpdate: {name}")
            }
            Report::Member { change: Change::Reap, forced: false, name, .. } => {
                write!(f, "EventMemberReap: {name}")
            }
            Report::Member { change, forced, name, address } => {
                let forced = if *forced { " (forced)" } else { "" };
                write!(f, "EventMember{change:?}{forced}: {name} {address}")
            }
            Report::Undecodable { what, error } => write!(f, "Error decoding {what}: {error}"),
            Report::UnknownMessage(kind) => {
                write!(f, "Received message of unknown type: {kind}")
            }
            Report::OldEvent(name, time, current) => {
                write!(f, "received old event {name} from time {} (current: {})", time.0, current.0)
            }
            Report::OldQuery(name, time, current) => {
                write!(f, "received old query {name} from time {} (current: {})", time.0, current.0)
            }
            Report::LateResponse(time, id, from) => {
                write!(f, "reply for non-running query (LTime: {}, ID: {id}) From: {from}", time.0)
            }
            Report::BadFilter(why) => write!(f, "query has a filter that cannot be used: {why}"),
            Report::UnknownQuery(name) => write!(f, "Unhandled internal query '{name}'"),
            Report::NotAnswered(why) => write!(f, "Failed to respond to query: {why}"),
            Report::StrangeRelay(to) => {
                write!(f, "Not relaying a response to {to}: no member has this address")
            }
            Report::NameConflict { name, known, other } => {
                write!(f, "Name conflict for '{name}' both {known} and {other} are claiming")
            }
            Report::OwnNameConflict { other, resolves } => write!(
                f,
                "Node name conflicts with another node at {other}. Names must be unique! \
                 (Resolution enabled: {resolves})"
            ),
            Report::NameResolution { matching, responses, stays: true } => {
                write!(f, "majority in name conflict resolution [{matching} / {responses}]")
            }
            Report::NameResolution { matching, responses, stays: false } => write!(
                f,
                "minority in name conflict resolution, quitting [{matching} / {responses}]"
            ),
            Report::RefutedLeave => f.write_str("Refuting an older leave intent"),
            Report::BadStateWhenLeft(status) => {
                write!(f, "Bad state when leave: {}", status.as_str())
            }
            Report::CoordinateRejected(name, why) => {
                write!(f, "Rejected coordinate from {name}: {why}")
            }
            Report::PingVersion(version) => write!(f, "Unsupported ping version: {version}"),
            Report::Reconnecting(name, to) => {
                write!(f, "attempting reconnect to {name} {to}")
            }
            Report::Rejoining(name, to) => {
                write!(f, "Attempting re-join to previously known node: {name}: {to}")
            }
            Report::Rejoined(name, to) => {
                write!(f, "Re-joined to previously known node: {name}: {to}")
            }
            Report::NotRejoined => f.write_str("Failed to re-join any previously known node"),
            Report::QueueTooLong { queue, depth, limit } => write!(
                f,
                "{queue} queue depth ({depth}) exceeds limit ({limit}), dropping messages!"
            ),
            Report::LeaveTimeout => f.write_str("timeout while waiting for graceful leave"),
            Report::KeyQuery(operation) => write!(f, "Received {operation} query"),
            Report::KeyQueryFailed(operation, why) => {
                write!(f, "Failed to answer {operation} query: {why}")
            }
            Report::ShutdownWithoutLeave => f.write_str("Shutdown without a Leave"),
        }
    }
}

/// Something to count; the names are those of `reference/telemetry.md`.
#[derive(Clone, Debug, PartialEq)]
pub enum Measure {
    /// `serf.msgs.received`: bytes of a message.
    Received(usize),
    /// `serf.msgs.sent`: bytes of a message.
    Sent(usize),
    /// `serf.events`, and one of this name.
    Event(String),
    /// `serf.queries`, and one of this name.
    Query(String),
    /// `serf.query_acks` or `serf.query_duplicate_acks`.
    Ack {
        /// Whether it came before.
        duplicate: bool,
    },
    /// `serf.query_responses` or `serf.query_duplicate_responses`.
    Response {
        /// Whether it came before.
        duplicate: bool,
    },
    /// `serf.member.flap`.
    Flap,
    /// `serf.coordinate.adjustment-ms`: how far this node moved, in milliseconds.
    CoordinateAdjusted(f64),
    /// `serf.coordinate.rejected`.
    CoordinateRejected,
    /// `serf.coordinate.zero-rtt`.
    ZeroRoundTrip,
    /// `serf.queue.Event`, `.Intent` or `.Query`: its length.
    QueueDepth(&'static str, usize),
}
