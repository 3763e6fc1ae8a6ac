//! Pings beside the turns of the probes: how far is a node? (memberlist's `Ping`.)
//!
//! Whether there is an answer has no consequence for the node: probes are for that.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::delegate::Delegate;
use super::node::Node;
use super::pool::Pool;
use crate::wire::message::{Ack, Message as _};

/// Most answers that are waited for at a time; those who wait for more are probed in turn.
const PINGS_MAX: usize = 256;

/// The pings that wait for an answer, by sequence number.
#[derive(Clone, Debug, Default)]
pub(super) struct Pings(BTreeMap<u32, Waiting>);

#[derive(Clone, Debug)]
struct Waiting {
    target: Node,
    sent: Instant,
    until: Instant,
}

impl Pings {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.0.values().map(|waiting| waiting.until).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        self.0.retain(|_, waiting| waiting.until > now);
    }

    /// Pings a node, unless it is being pinged already. False if it was not pinged.
    pub(super) fn begin(
        &mut self,
        name: &str,
        timeout: Duration,
        pool: &mut Pool,
        now: Instant,
    ) -> bool {
        let is_waited_for = self.0.values().any(|waiting| *waiting.target.name == *name);
        let Some(place) = pool.nodes.find(name) else { return false };
        if is_waited_for || self.0.len() >= PINGS_MAX {
            return false;
        }
        let target = pool.nodes.get(place).node.clone();
        let sequence = pool.next_sequence();
        let ping = pool.ping(sequence, &target.name).encode();
        // Without broadcasts: they would be spent on a node that just came and knows them.
        pool.send_to_node(&target, ping);
        self.0.insert(sequence, Waiting { target, sent: now, until: now + timeout });
        true
    }

    /// A ping was answered. False if it is none of these.
    pub(super) fn handle_ack(
        &mut self,
        ack: &Ack<'_>,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) -> bool {
        let Some(waiting) = self.0.remove(&ack.seq_no) else { return false };
        let rtt = now.saturating_duration_since(waiting.sent);
        delegate.ping_complete(&waiting.target, rtt, &ack.payload);
        true
    }
}
