//! Planted bugs of pools: proof that their checkers bite.
//!
//! Each is made by the simulated shell, or by altering what passes between two machines. No code
//! path of the product knows of them.

use bytes::Bytes;
use gossip::wire::message::{Alive, Dead, Message as _, decode};
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
}

impl Bug {
    /// All of them.
    pub const ALL: [Bug; 5] = [
        Bug::RefuteQuietly,
        Bug::SuspicionNeverEnds,
        Bug::OldDeathCounts,
        Bug::LeftIgnored,
        Bug::EventClockForgotten,
    ];

    /// The bug of that name, as `Debug` prints it.
    pub fn named(name: &str) -> Option<Bug> {
        Bug::ALL.into_iter().find(|bug| format!("{bug:?}") == name)
    }
}

/// A packet in which each message is what `alter` makes of it; as it was if that is nothing.
fn altered(plain: &Bytes, mut alter: impl FnMut(MessageType, &[u8]) -> Option<Vec<u8>>) -> Bytes {
    let (mut parts, mut changed) = (Vec::new(), false);
    let read = packet::unpack(plain, &mut |kind, body| {
        let new = alter(kind, body);
        changed |= new.is_some();
        parts.push(new.unwrap_or_else(|| [&[kind as u8], body].concat()));
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

/// A push/pull in which nobody has left.
pub(super) fn nobody_left(all: &PushPull) -> Option<Bytes> {
    let mut nodes = all.nodes().ok()?;
    nodes.iter_mut().filter(|node| node.state == 3).for_each(|node| node.state = 0);
    Some(stream::encode_push_pull(all.join, nodes.into_iter(), &all.user_state).into())
}
