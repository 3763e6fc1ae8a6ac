//! Planted bugs of pools: proof that their checkers bite.
//!
//! Each is made by the simulated shell, or by altering what passes between two machines. No code
//! path of the product knows of them.

use bytes::Bytes;
use gossip::wire::message::{Alive, Dead, Message as _, decode};
use gossip::wire::serf::{QueryResponse, Relay, SerfMessage};
use gossip::wire::{MessageType, PushPull, packet, stream};

/// A mistake to make.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bug {
    /// A node that says that it is there after all does so with the incarnation it began with.
    RefuteQuietly,
    /// A suspect has all the time in the world.
    SuspicionNeverEnds,
    /// A death of an incarnation that has been refuted counts.
    OldDeathCounts,
    /// What a push/pull tells as left is taken for alive.
    LeftIgnored,
    /// A file of an earlier life does not tell how far the clock of events was.
    EventClockForgotten,
    /// A node does not hear that others think that it leaves.
    LeaveUnheard,
    /// What was to be passed on to an asker is not.
    RelayLost,
    /// Whoever passes on an answer gives it for its own.
    RelayAnswers,
    /// Nobody asks others about a node that does not answer.
    IndirectLost,
    /// A node whose name the pool knows elsewhere stays.
    TwinStays,
    /// Keys that are told as kept are not.
    KeyNotKept,
    /// A node trusts itself however late it is, and gives suspects no time for that.
    NoAwareness,
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 12] = [
        Bug::RefuteQuietly,
        Bug::SuspicionNeverEnds,
        Bug::OldDeathCounts,
        Bug::LeftIgnored,
        Bug::EventClockForgotten,
        Bug::LeaveUnheard,
        Bug::RelayLost,
        Bug::RelayAnswers,
        Bug::IndirectLost,
        Bug::TwinStays,
        Bug::KeyNotKept,
        Bug::NoAwareness,
    ];

    /// The bug of that name, as `Debug` prints it.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}

/// A packet in which each message is what `alter` makes of it; as it was if that is nothing, and
/// left out if that is empty.
fn altered(plain: &Bytes, mut alter: impl FnMut(MessageType, &[u8]) -> Option<Vec<u8>>) -> Bytes {
    let (mut parts, mut changed) = (Vec::new(), false);
    let read = packet::unpack(plain, &mut |kind, body| {
        let new = alter(kind, body);
        changed |= new.is_some();
        let part = new.unwrap_or_else(|| [&[kind as u8], body].concat());
        if !part.is_empty() {
            parts.push(part);
        }
    });
    if read.is_ok() && changed { packet::compound(&parts).into() } else { plain.clone() }
}

/// The packet of a node that never raises its incarnation.
pub(super) fn quiet_packet(plain: &Bytes, own: &str) -> Bytes {
    altered(plain, |kind, body| {
        let claim = decode::<Alive<'_>>(body).ok().filter(|_| kind == MessageType::Alive)?;
        (claim.node == own).then(|| Alive { incarnation: 1, ..claim }.encode())
    })
}

/// Likewise its push/pull.
pub(super) fn quiet_push_pull(all: &PushPull, own: &str) -> Option<Bytes> {
    let mut nodes = all.nodes().ok()?;
    nodes.iter_mut().filter(|node| node.name == own).for_each(|node| node.incarnation = 1);
    Some(stream::encode_push_pull(all.join, nodes.into_iter(), &all.user_state).into())
}

/// A packet whose deaths are those of the incarnations that the receiver knows.
pub(super) fn deaths_renewed(plain: &Bytes, known: impl Fn(&str) -> u32) -> Bytes {
    altered(plain, |kind, body| {
        let claim = decode::<Dead<'_>>(body).ok().filter(|_| kind == MessageType::Dead)?;
        let latest = known(&claim.node);
        let old = claim.from != claim.node && claim.incarnation < latest;
        old.then(|| Dead { incarnation: latest, ..claim }.encode())
    })
}

/// A packet without what others say of the receiver's own leave.
pub(super) fn own_leave_left_out(plain: &Bytes, own: &str) -> Bytes {
    serf_altered(plain, |message| match message {
        SerfMessage::Leave(leave) if leave.node == own => Some(Vec::new()),
        _ => None,
    })
}

/// A packet without what is to be passed on.
pub(super) fn relays_left_out(plain: &Bytes) -> Bytes {
    serf_altered(plain, |message| matches!(message, SerfMessage::Relay(_)).then(Vec::new))
}

/// A packet whose relayed answers are those of the receiver.
pub(super) fn relays_as_own(plain: &Bytes, own: &str) -> Bytes {
    serf_altered(plain, |message| {
        let SerfMessage::Relay(relay) = message else { return None };
        let Ok(SerfMessage::QueryResponse(answer)) = SerfMessage::decode(&relay.message) else {
            return None;
        };
        let answer = QueryResponse { from: own.to_owned(), ..answer };
        let message = SerfMessage::QueryResponse(answer).encode();
        let relay = SerfMessage::Relay(Relay { message, ..relay }).encode();
        Some([&[MessageType::User as u8], &relay[..]].concat())
    })
}

/// A packet in which nobody is asked about others.
pub(super) fn indirect_left_out(plain: &Bytes) -> Bytes {
    altered(plain, |kind, _| (kind == MessageType::IndirectPing).then(Vec::new))
}

fn serf_altered(plain: &Bytes, mut alter: impl FnMut(SerfMessage) -> Option<Vec<u8>>) -> Bytes {
    altered(plain, |kind, body| match SerfMessage::decode(body) {
        Ok(message) if kind == MessageType::User => alter(message),
        _ => None,
    })
}

/// A push/pull in which nobody has left.
pub(super) fn nobody_left(all: &PushPull) -> Option<Bytes> {
    let mut nodes = all.nodes().ok()?;
    nodes.iter_mut().filter(|node| node.state == 3).for_each(|node| node.state = 0);
    Some(stream::encode_push_pull(all.join, nodes.into_iter(), &all.user_state).into())
}
