//! Pings for other nodes (SWIM section 3.1; `reference/gossip-wire.md` section 3).

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::Instant;

use super::action::Warning;
use super::delegate::Delegate;
use super::pool::Pool;
use crate::wire::message::{Ack, IndirectPing, Message as _, Nack};

/// Pings for others that may be under way at once.
const RELAYS_MAX: usize = 4096;

/// Pings that others have asked for.
#[derive(Clone, Debug, Default)]
pub(super) struct Relays {
    waiting: BTreeMap<u32, Relay>,
    /// In the order of their deadlines. Those that were answered are not in `waiting`.
    deadlines: VecDeque<(Instant, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Relay {
    asker: SocketAddr,
    /// The asker's number for it.
    sequence: u32,
    nack: bool,
}

impl Relays {
    pub(super) fn next_timeout(&self) -> Option<Instant> {
        self.deadlines.front().map(|(deadline, _)| *deadline)
    }

    /// Pings a node for another one.
    pub(super) fn begin(
        &mut self,
        request: &IndirectPing<'_>,
        from: SocketAddr,
        pool: &mut Pool,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        let Some(ip) = request.target else { return };
        if self.deadlines.len() >= RELAYS_MAX {
            return pool.warn(Warning::Full { what: "an indirect ping", limit: RELAYS_MAX });
        }
        let port = if request.port == 0 { pool.options.advertise.port() } else { request.port };
        let sequence = pool.next_sequence();
        let relay = Relay {
            asker: request.source().unwrap_or(from),
            sequence: request.seq_no,
            nack: request.nack,
        };
        self.waiting.insert(sequence, relay);
        let deadline = now + pool.options.timings.probe_timeout;
        self.deadlines.push_back((deadline, sequence));
        let ping = pool.ping(sequence, &request.node).encode();
        pool.send_with_broadcasts(SocketAddr::new(ip, port), ping, delegate);
    }

    /// A ping was answered, maybe one for another node.
    pub(super) fn handle_ack(
        &mut self,
        ack: &Ack<'_>,
        pool: &mut Pool,
        delegate: &mut dyn Delegate,
    ) {
        let Some(relay) = self.waiting.remove(&ack.seq_no) else { return };
        let ack = Ack { payload: (&[][..]).into(), seq_no: relay.sequence };
        pool.send_with_broadcasts(relay.asker, ack.encode(), delegate);
    }

    /// Says who did not answer in time.
    pub(super) fn handle_timeout(
        &mut self,
        pool: &mut Pool,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        while let Some(&(deadline, sequence)) = self.deadlines.front()
            && deadline <= now
        {
            self.deadlines.pop_front();
            if let Some(relay) = self.waiting.remove(&sequence)
                && relay.nack
            {
                let nack = Nack { seq_no: relay.sequence };
                pool.send_with_broadcasts(relay.asker, nack.encode(), delegate);
            }
        }
    }
}
