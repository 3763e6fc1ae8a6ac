//! Packets: what comes, what goes, and what goes along (`reference/gossip-wire.md` sections 2
//! and 8).

use std::net::SocketAddr;
use std::time::Instant;

use bytes::Bytes;
use serde::Deserialize;

use super::action::{Action, Warning};
use super::delegate::Delegate;
use super::node::{Node, NodeState};
use super::nodes::OWN;
use super::pool::Pool;
use super::{Memberlist, later};
use crate::wire::MessageType;
use crate::wire::message::{
    Ack, Alive, Dead, IndirectPing, Message as _, Nack, Ping, Suspect, decode,
};
use crate::wire::packet::{
    self, COMPOUND_HEADER, COMPOUND_PART_OVERHEAD, COMPOUND_PARTS_MAX, PACKET_MAX,
};

/// Bytes of a user message besides serf's.
const USER_OVERHEAD: usize = 1;

/// The lowest protocol of a node that understands checksums.
const PROTOCOL_CHECKSUM: u8 = 5;

impl Memberlist {
    /// A packet came, without its label and decrypted. What cannot be read is told as a
    /// [`Warning`], and the rest taken.
    pub fn handle_packet(
        &mut self,
        from: SocketAddr,
        plain: &[u8],
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        let read = packet::unpack(plain, &mut |kind, body| {
            self.handle_message(kind, body, from, now, delegate);
        });
        if let Err(error) = read {
            self.pool.warn(Warning::Packet { from, error });
        }
    }

    fn handle_message(
        &mut self,
        kind: MessageType,
        body: &[u8],
        from: SocketAddr,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        match kind {
            MessageType::Ping => {
                let Some(ping) = self.read::<Ping<'_>>("ping", body, from) else { return };
                self.answer_ping(&ping, from, delegate);
            }
            MessageType::IndirectPing => {
                let request: Option<IndirectPing<'_>> = self.read("indirect ping", body, from);
                let Some(request) = request else { return };
                self.relays.begin(&request, from, &mut self.pool, now, delegate);
            }
            MessageType::Ack => {
                let Some(ack) = self.read::<Ack<'_>>("ack", body, from) else { return };
                if !self.probes.handle_ack(&ack, &mut self.pool, now, delegate)
                    && !self.pings.handle_ack(&ack, now, delegate)
                {
                    self.relays.handle_ack(&ack, &mut self.pool, delegate);
                }
            }
            MessageType::Nack => {
                let Some(nack) = self.read::<Nack>("nack", body, from) else { return };
                self.probes.handle_nack(nack);
            }
            MessageType::Suspect => {
                let Some(claim) = self.read::<Suspect<'_>>("suspect", body, from) else { return };
                self.pool.suspect(&claim, now);
            }
            MessageType::Alive => {
                let Some(mut claim) = self.read::<Alive<'_>>("alive", body, from) else { return };
                if claim.port == 0 {
                    claim.port = self.pool.options.advertise.port();
                }
                self.pool.alive(&claim, now, delegate);
            }
            MessageType::Dead => {
                let Some(claim) = self.read::<Dead<'_>>("dead", body, from) else { return };
                self.pool.dead(&claim, now, delegate);
            }
            MessageType::User => delegate.handle_user(from, body),
            // `unpack` gives none of the others.
            _ => {}
        }
    }

    fn read<'a, M: Deserialize<'a>>(
        &mut self,
        kind: &'static str,
        body: &'a [u8],
        from: SocketAddr,
    ) -> Option<M> {
        decode(body).map_err(|error| self.pool.warn(Warning::Message { from, kind, error })).ok()
    }

    fn answer_ping(&mut self, ping: &Ping<'_>, from: SocketAddr, delegate: &mut dyn Delegate) {
        if !self.is_meant(&ping.node, from) {
            return;
        }
        let payload = delegate.ack_payload();
        let ack = Ack { payload: payload.as_ref().into(), seq_no: ping.seq_no };
        self.pool.send_with_broadcasts(ping.source().unwrap_or(from), ack.encode(), delegate);
    }

    /// Whether a ping for `node` is for this one.
    pub(super) fn is_meant(&mut self, node: &str, from: SocketAddr) -> bool {
        let meant = node.is_empty() || *node == *self.pool.options.name;
        if !meant {
            let node = node.chars().take(super::NAME_MAX).collect();
            self.pool.warn(Warning::UnexpectedPing { from, node });
        }
        meant
    }

    /// Sends broadcasts to random nodes if it is time.
    pub(super) fn time_out_gossip(&mut self, now: Instant, delegate: &mut dyn Delegate) {
        let Some(at) = self.gossip_at.filter(|at| *at <= now) else { return };
        let timings = &self.pool.options.timings;
        self.gossip_at = Some(later(at, timings.gossip_interval, now));
        let dead_max = timings.gossip_to_the_dead;
        let places =
            self.pool.nodes.random(timings.gossip_nodes, &mut self.pool.rng, |place, known| {
                place != OWN
                    && match known.node.state {
                        NodeState::Alive | NodeState::Suspect => true,
                        NodeState::Dead => now.saturating_duration_since(known.changed) <= dead_max,
                        NodeState::Left => false,
                    }
            });
        for place in places {
            let messages = self.pool.take_broadcasts(self.pool.packet_room(), delegate);
            if messages.is_empty() {
                return;
            }
            let node = &self.pool.nodes.get(place).node;
            let (to, checksum) = (node.addr, takes_checksum(node));
            for messages in messages.chunks(COMPOUND_PARTS_MAX) {
                let plain = match messages {
                    [message] => message.to_vec(),
                    messages => packet::compound(messages),
                };
                self.pool.send(to, plain, checksum);
            }
        }
    }

    /// Sends serf's message in one packet. It may be lost.
    pub fn send_user(&mut self, to: SocketAddr, message: &[u8]) {
        self.pool.send(to, user_message(message), false);
    }

    /// Sends serf's message to a node in one packet. It may be lost. False if the node is not
    /// known.
    pub fn send_user_to(&mut self, name: &str, message: &[u8]) -> bool {
        let Some(place) = self.pool.nodes.find(name) else { return false };
        let node = &self.pool.nodes.get(place).node;
        let (to, checksum) = (node.addr, takes_checksum(node));
        self.pool.send(to, user_message(message), checksum);
        true
    }
}

impl Pool {
    /// Sends a message, and broadcasts for which there is room.
    pub(super) fn send_with_broadcasts(
        &mut self,
        to: SocketAddr,
        message: Vec<u8>,
        delegate: &mut dyn Delegate,
    ) {
        let room = self.packet_room().saturating_sub(message.len() + COMPOUND_PART_OVERHEAD);
        let mut others = self.take_broadcasts(room, delegate);
        if others.is_empty() {
            return self.send(to, message, false);
        }
        others.insert(0, message.into());
        for messages in others.chunks(COMPOUND_PARTS_MAX) {
            self.send(to, packet::compound(messages), false);
        }
    }

    /// Sends a message to a node that is known.
    pub(super) fn send_to_node(&mut self, node: &Node, message: Vec<u8>) {
        self.send(node.addr, message, takes_checksum(node));
    }

    pub(super) fn send(&mut self, to: SocketAddr, message: Vec<u8>, checksum: bool) {
        let plain = packet::pack(message, self.options.compress, checksum).into();
        self.actions.push_back(Action::Packet { to, plain });
    }

    /// Broadcasts of this machine's, then of serf's, of `room` bytes together.
    pub(super) fn take_broadcasts(
        &mut self,
        room: usize,
        delegate: &mut dyn Delegate,
    ) -> Vec<Bytes> {
        let overhead = COMPOUND_PART_OVERHEAD;
        let mut messages = self.queue.take(overhead, room, self.nodes.len());
        self.tell_finished();
        let used: usize = messages.iter().map(|message| message.len() + overhead).sum();
        let room = room.saturating_sub(used);
        if room > overhead + USER_OVERHEAD {
            let users = delegate.broadcasts(overhead + USER_OVERHEAD, room);
            messages.extend(users.iter().map(|message| user_message(message).into()));
        }
        messages
    }

    /// Bytes that the parts of a packet may have together.
    pub(super) fn packet_room(&self) -> usize {
        PACKET_MAX.saturating_sub(COMPOUND_HEADER + self.options.packet_overhead)
    }
}

fn user_message(message: &[u8]) -> Vec<u8> {
    [&[MessageType::User as u8], message].concat()
}

fn takes_checksum(node: &Node) -> bool {
    node.versions.protocol_max >= PROTOCOL_CHECKSUM
}
