//! Asking nodes whether they are there (SWIM section 3.1 and 4.3, Lifeguard section IV-A;
//! `reference/gossip-wire.md` section 7).
//!
//! One node at a time: a ping; then, without an answer, others are asked to ping it and it is
//! pinged over a stream; then it is suspected. Who misses answers that it should have had takes
//! itself to be unwell, and gives others more time.

use std::sync::Arc;
use std::time::Instant;

use super::action::{ExchangeId, Warning};
use super::delegate::Delegate;
use super::exchange::{Asked, Exchange};
use super::later;
use super::node::{Node, NodeState};
use super::nodes::OWN;
use super::pool::Pool;
use crate::wire::message::{Ack, IndirectPing, Message as _, Nack, Suspect};
use crate::wire::{packet, stream};

/// The lowest protocol of a node that says when another did not answer.
const PROTOCOL_NACK: u8 = 4;

/// The lowest protocol of a node that answers pings over streams.
const PROTOCOL_STREAM_PING: u8 = 3;

/// When nodes are probed, and the probe that is under way.
#[derive(Clone, Debug, Default)]
pub(super) struct Probes {
    /// The next turn; `None` if there is none.
    at: Option<Instant>,
    /// A turn came while a probe was under way.
    due: bool,
    current: Option<Probe>,
}

#[derive(Clone, Debug)]
struct Probe {
    /// The node as it was at the beginning.
    target: Node,
    sequence: u32,
    sent: Instant,
    /// When others are asked; `None` when they are.
    ask_others: Option<Instant>,
    deadline: Instant,
    /// Of how many others word is expected, one way or the other.
    nacks_expected: u32,
    nacks: u32,
    /// The ping over a stream, and whether it was answered.
    stream: Option<ExchangeId>,
    stream_answered: bool,
}

impl Probes {
    pub(super) fn starting(at: Option<Instant>) -> Self {
        Self { at, ..Self::default() }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let current = self.current.as_ref();
        let current = current.map(|probe| probe.ask_others.unwrap_or(probe.deadline));
        self.at.into_iter().chain(current).min()
    }

    /// Does what is due.
    pub(super) fn handle_timeout(
        &mut self,
        pool: &mut Pool,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        let current = self.current.as_mut();
        if current.is_some_and(|probe| probe.ask_others.take_if(|at| *at <= now).is_some()) {
            self.ask_others(pool, now, delegate);
        }
        if self.current.as_ref().is_some_and(|probe| probe.deadline <= now) {
            self.probe_failed(pool, now, delegate);
        }
        let Some(at) = self.at.filter(|at| *at <= now) else { return };
        self.at = Some(later(at, pool.options.timings.probe_interval, now));
        if self.current.is_some() {
            self.due = true;
        } else {
            self.begin_probe(pool, now, delegate);
        }
    }

    fn begin_probe(&mut self, pool: &mut Pool, now: Instant, delegate: &mut dyn Delegate) {
        let timings = &pool.options.timings;
        let kept = timings.gossip_to_the_dead;
        let Some(place) = pool.nodes.next_to_probe(now, kept, &mut pool.rng) else { return };
        pool.counts.degraded_probes += u64::from(pool.awareness > 0);
        let target = pool.nodes.get(place).node.clone();
        let deadline = now + pool.options.timings.probe_interval * (pool.awareness + 1);
        let probe = Probe {
            sequence: pool.next_sequence(),
            sent: now,
            ask_others: Some(deadline.min(now + pool.options.timings.probe_timeout)),
            deadline,
            nacks_expected: 0,
            nacks: 0,
            stream: None,
            stream_answered: false,
            target,
        };
        let ping = pool.ping(probe.sequence, &probe.target.name).encode();
        if probe.target.state == NodeState::Alive {
            pool.send_with_broadcasts(probe.target.addr, ping, delegate);
        } else {
            // So that it can say at once that it is there.
            let suspect = pool.suspicion_of(&probe.target).encode();
            let both = packet::compound(&[ping, suspect]);
            pool.send_to_node(&probe.target, both);
        }
        self.current = Some(probe);
    }

    fn ask_others(&mut self, pool: &mut Pool, now: Instant, delegate: &mut dyn Delegate) {
        let Some(mut probe) = self.current.take() else { return };
        let target = &probe.target;
        let checks = pool.options.timings.indirect_checks;
        let others = pool.nodes.random(checks, &mut pool.rng, |place, known| {
            place != OWN && known.node.state == NodeState::Alive && known.node.name != target.name
        });
        let own = pool.options.advertise;
        for other in others {
            let other = &pool.nodes.get(other).node;
            let nack = other.versions.protocol_max >= PROTOCOL_NACK;
            probe.nacks_expected += u32::from(nack);
            let request = IndirectPing {
                nack,
                node: target.name.as_ref().into(),
                port: target.addr.port(),
                seq_no: probe.sequence,
                source_addr: Some(own.ip()),
                source_node: pool.options.name.as_ref().into(),
                source_port: own.port(),
                target: Some(target.addr.ip()),
            };
            let (to, request) = (other.addr, request.encode());
            pool.send_with_broadcasts(to, request, delegate);
        }
        let streams = pool.options.stream_pings
            && target.versions.protocol_max >= PROTOCOL_STREAM_PING
            && now < probe.deadline;
        if streams {
            let ping = pool.ping(probe.sequence, &target.name).encode();
            let exchange = Exchange::Ping { sequence: probe.sequence };
            let message = stream::pack(ping, pool.options.compress).into();
            let name = Some(Arc::clone(&target.name));
            let to = target.addr;
            let asked = Asked { to, name, message, deadline: probe.deadline };
            probe.stream = Some(pool.exchange(exchange, asked));
        }
        self.current = Some(probe);
    }

    fn probe_failed(&mut self, pool: &mut Pool, now: Instant, delegate: &mut dyn Delegate) {
        let Some(probe) = self.current.take() else { return };
        if let Some(id) = probe.stream {
            pool.exchanges.end(id);
        }
        let node = probe.target.name.to_string();
        if probe.stream_answered {
            pool.warn(Warning::OnlyStreams { node });
            pool.change_awareness(-1);
        } else {
            let missed = match probe.nacks_expected {
                0 => 1,
                expected => expected - probe.nacks,
            };
            pool.change_awareness(missed as i32);
            pool.warn(Warning::Suspect { node });
            let own = Arc::clone(&pool.options.name);
            let suspect = Suspect {
                from: (&*own).into(),
                incarnation: probe.target.incarnation,
                node: probe.target.name.as_ref().into(),
            };
            pool.suspect(&suspect, now);
        }
        self.probe_over(pool, now, delegate);
    }

    fn probe_over(&mut self, pool: &mut Pool, now: Instant, delegate: &mut dyn Delegate) {
        if std::mem::take(&mut self.due) {
            self.begin_probe(pool, now, delegate);
        }
    }

    /// A ping was answered. False if it is none of ours.
    pub(super) fn handle_ack(
        &mut self,
        ack: &Ack<'_>,
        pool: &mut Pool,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) -> bool {
        let ours = |probe: &mut Probe| probe.sequence == ack.seq_no;
        let Some(probe) = self.current.take_if(ours) else { return false };
        if let Some(id) = probe.stream {
            pool.exchanges.end(id);
        }
        // An answer by way of others says nothing of the distance.
        if probe.ask_others.is_some() {
            let rtt = now.saturating_duration_since(probe.sent);
            delegate.ping_complete(&probe.target, rtt, &ack.payload);
        }
        pool.change_awareness(-1);
        self.probe_over(pool, now, delegate);
        true
    }

    /// Another node had no answer either.
    pub(super) fn handle_nack(&mut self, nack: Nack) {
        if let Some(probe) = &mut self.current
            && probe.sequence == nack.seq_no
        {
            probe.nacks = (probe.nacks + 1).min(probe.nacks_expected);
        }
    }

    /// The ping over a stream is done.
    pub(super) fn handle_stream_ping(
        &mut self,
        sequence: u32,
        answer: Result<u32, String>,
        pool: &mut Pool,
    ) {
        let Some(probe) = &mut self.current else { return };
        if probe.sequence != sequence {
            return;
        }
        match answer {
            Ok(answered) if answered == sequence => probe.stream_answered = true,
            answer => {
                let error = match answer {
                    Ok(other) => format!(
                        "Sequence number from ack ({other}) doesn't match ping ({sequence})"
                    ),
                    Err(error) => error,
                };
                let node = probe.target.name.to_string();
                pool.warn(Warning::StreamPing { node, error });
            }
        }
    }
}
