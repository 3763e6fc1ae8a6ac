//! Who is there: SWIM (Das, Gupta, Motivala, 2002) with Lifeguard (Dadgar, Phillips, Currey, 2018),
//! as memberlist speaks it (`reference/gossip-wire.md` sections 2 to 9).
//!
//! Each node asks another one in turn whether it is there, and others to ask when it gets no
//! answer. A node that does not answer is suspected and told so; if it does not say in time that
//! it is there, with a higher incarnation, it is dead. Such news travel as broadcasts, a few with
//! every packet; what they miss is found by exchanging all that is known with a random node now
//! and then, which is also how a node joins.
//!
//! # Driving it
//!
//! A shell owns sockets, keys and the clock. It feeds inputs ([`Memberlist::handle_packet`],
//! [`Memberlist::handle_stream_request`], [`Memberlist::handle_stream_answer`], and
//! [`Memberlist::handle_timeout`] at [`Memberlist::next_timeout`]), and drains
//! [`Memberlist::poll_action`] after each. What is built on top hears of it through a
//! [`Delegate`] that comes with each input.
//!
//! # Where it differs from memberlist
//!
//! No observer can tell by a message. Messages are handled as they come, not queued by kind. A
//! refutation replaces the own node's broadcast before it. Incarnations stop at the highest
//! number, where memberlist's begin anew. Names, nodes and pings for others are bounded; an alive
//! without a name or with too long a meta is refused for everybody, not by the delegate. The turns
//! of nodes that start together are spread over the first interval.

pub mod action;
pub mod delegate;
mod exchange;
mod gossip;
pub mod node;
mod nodes;
pub mod options;
mod ping;
mod pool;
mod probe;
pub mod queue;
mod relay;
mod state;
mod suspicion;

pub use action::{Action, ExchangeId, Level, Waited, Warning};
pub use delegate::Delegate;
pub use node::{Node, NodeState};
pub use options::{Options, Timings};
pub use pool::Counts;
pub use queue::BroadcastQueue;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use crate::wire::message::Dead;
use nodes::OWN;
use ping::Pings;
use pool::Pool;
use probe::Probes;
use relay::Relays;

/// Most bytes of a node's meta.
pub const META_MAX: usize = 512;

/// Most bytes of a node's name.
pub const NAME_MAX: usize = 512;

/// One node of a pool.
#[derive(Clone, Debug)]
pub struct Memberlist {
    pool: Pool,
    probes: Probes,
    pings: Pings,
    relays: Relays,
    gossip_at: Option<Instant>,
    push_pull_at: Option<Instant>,
}

impl Memberlist {
    /// A node that knows only itself. The delegate is told that it joined.
    pub fn new(options: Options, now: Instant, delegate: &mut dyn Delegate) -> Self {
        let timings = options.timings.clone();
        let mut rng = Rng::with_seed(options.seed);
        let mut first = |interval: Duration| {
            let within = interval.as_micros() as u64;
            (within > 0).then(|| now + Duration::from_micros(rng.u64(1..=within)))
        };
        let (probe_at, gossip_at) = (first(timings.probe_interval), first(timings.gossip_interval));
        let push_pull_at =
            first(timings.push_pull_interval).map(|at| at + timings.push_pull_interval);
        let pool = Pool::new(options, rng, now);
        delegate.joined(&pool.nodes.get(OWN).node);
        Self {
            pool,
            probes: Probes::starting(probe_at),
            pings: Pings::default(),
            relays: Relays::default(),
            gossip_at,
            push_pull_at,
        }
    }

    /// When [`Memberlist::handle_timeout`] is to be called next; `None` if nothing waits.
    pub fn next_timeout(&self) -> Option<Instant> {
        [
            self.probes.next_timeout(),
            self.pings.next_timeout(),
            self.relays.next_timeout(),
            self.pool.next_timeout(),
            self.gossip_at,
            self.push_pull_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does what is due at `now`. Too early a call does nothing.
    pub fn handle_timeout(&mut self, now: Instant, delegate: &mut dyn Delegate) {
        self.relays.handle_timeout(&mut self.pool, now, delegate);
        self.probes.handle_timeout(&mut self.pool, now, delegate);
        self.pings.handle_timeout(now);
        self.pool.handle_timeout(now, delegate);
        self.time_out_gossip(now, delegate);
        self.time_out_push_pull(now, delegate);
    }

    /// The next thing to do. To be asked until there is none, after every input.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.pool.actions.pop_front()
    }

    /// Pings a node beside the turns of the probes, to know how far it is: an answer within
    /// `timeout` is told to [`Delegate::ping_complete`]. False if no ping was sent: nobody has
    /// this name, it is being pinged already, or too many are.
    pub fn ping(&mut self, name: &str, timeout: Duration, now: Instant) -> bool {
        self.pings.begin(name, timeout, &mut self.pool, now)
    }

    /// Says something new of this node. [`Action::Broadcast`] tells when the others can know, or
    /// that `timeout` is over before. `meta` has at most [`META_MAX`] bytes.
    pub fn update_meta(
        &mut self,
        meta: Bytes,
        timeout: Duration,
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        if self.pool.leaving {
            return self.pool.tell_broadcast(Waited::Update, false);
        }
        self.pool.options.meta = meta.clone();
        self.pool.announce(meta, delegate);
        self.pool.wait(Waited::Update, timeout, now);
    }

    /// Says that this node leaves. [`Action::Broadcast`] tells when the others can know, or that
    /// `timeout` is over before. From then on this node is left for itself; it still answers.
    pub fn leave(&mut self, timeout: Duration, now: Instant, delegate: &mut dyn Delegate) {
        if self.pool.leaving {
            if !self.pool.waits.contains_key(&Waited::Leave) {
                self.pool.tell_broadcast(Waited::Leave, true);
            }
            return;
        }
        self.pool.leaving = true;
        let (name, incarnation) =
            (Arc::clone(&self.pool.options.name), self.local_node().incarnation);
        let dead = Dead { incarnation, node: (&*name).into(), from: (&*name).into() };
        self.pool.dead(&dead, now, delegate);
        self.pool.wait(Waited::Leave, timeout, now);
    }

    /// Every node that is known, the own one and those that are gone too, in an order that
    /// changes.
    pub fn members(&self) -> impl ExactSizeIterator<Item = &Node> + Clone {
        self.pool.members()
    }

    /// The node of a name.
    pub fn node(&self, name: &str) -> Option<&Node> {
        self.pool.nodes.find(name).map(|place| &self.pool.nodes.get(place).node)
    }

    /// This node.
    pub fn local_node(&self) -> &Node {
        &self.pool.nodes.get(OWN).node
    }

    /// How many nodes are known, those that are gone too for a while: what timeouts and
    /// retransmissions scale with.
    pub fn known_nodes(&self) -> usize {
        self.pool.nodes.len()
    }

    /// How many nodes are there, this one too.
    pub fn alive_nodes(&self) -> usize {
        self.members().filter(|node| !node.state.is_gone()).count()
    }

    /// How unwell this node takes itself to be: 0 for well, at most
    /// [`Timings::awareness_max`] - 1.
    pub fn health_score(&self) -> u32 {
        self.pool.awareness
    }

    /// Broadcasts on their way.
    pub fn queued(&self) -> usize {
        self.pool.queue.len()
    }

    /// What was counted since the beginning.
    pub fn counts(&self) -> Counts {
        self.pool.counts
    }

    /// Up to `count` different random nodes that are accepted.
    pub fn random_nodes(&mut self, count: usize, accepts: impl Fn(&Node) -> bool) -> Vec<Node> {
        let places =
            self.pool.nodes.random(count, &mut self.pool.rng, |_, known| accepts(&known.node));
        places.into_iter().map(|place| self.pool.nodes.get(place).node.clone()).collect()
    }

    /// The settings; the meta is the latest.
    pub fn options(&self) -> &Options {
        &self.pool.options
    }
}

/// The first of the turns at `at`, `at + interval`, ... that is after `now`.
fn later(at: Instant, interval: Duration, now: Instant) -> Instant {
    let next = at + interval;
    if next > now {
        return next;
    }
    let behind = now.saturating_duration_since(at).as_nanos();
    let into = behind % interval.as_nanos().max(1);
    now + interval - Duration::from_nanos(into as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some instant to count from. Tests have no other clock.
    #[expect(clippy::disallowed_methods, reason = "an instant can be had nowhere else")]
    pub(super) fn start() -> Instant {
        Instant::now()
    }

    #[test]
    fn turns_that_were_missed_are_skipped_and_keep_their_beat() {
        let at = start();
        let millis = Duration::from_millis;
        for (now, next) in [(0, 100), (99, 100), (100, 200), (250, 300), (1000, 1100)] {
            assert_eq!(later(at, millis(100), at + millis(now)), at + millis(next), "{now}");
        }
    }
}
