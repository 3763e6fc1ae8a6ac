//! What a node knows of its pool, and what it has to say.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;

use super::action::{Action, Waited, Warning};
use super::delegate::Delegate;
use super::exchange::Exchanges;
use super::node::{Node, NodeState};
use super::nodes::{Known, Nodes, Place};
use super::options::Options;
use super::queue::BroadcastQueue;
use crate::wire::message::{Ping, PushNode, Suspect};
use crate::wire::{Versions, stream};

/// Up to this many nodes, the regular exchange keeps its interval.
const PUSH_PULL_SCALE_NODES: f64 = 32.0;

/// What memberlist counts for operators. The shell tells what has been added since it last
/// looked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// News that a node is there, or has something new to say: `memberlist.msg.alive`.
    pub alive: u64,
    /// Nodes that became suspect: `memberlist.msg.suspect`.
    pub suspect: u64,
    /// Nodes that became dead or left: `memberlist.msg.dead`.
    pub dead: u64,
    /// Probes that took longer because this node takes itself to be unwell:
    /// `memberlist.degraded.probe`.
    pub degraded_probes: u64,
    /// Suspicions that ended in a death with fewer confirmations than expected:
    /// `memberlist.degraded.timeout`.
    pub degraded_timeouts: u64,
}

/// What all parts of the machine share.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    pub(super) options: Options,
    pub(super) rng: Rng,
    pub(super) nodes: Nodes,
    /// When the time of each suspect is over.
    pub(super) suspicions: BTreeSet<(Instant, Place)>,
    pub(super) queue: BroadcastQueue<Waited>,
    /// Until when a broadcast's end is waited for.
    pub(super) waits: BTreeMap<Waited, Instant>,
    /// How unwell this node takes itself to be: 0 for well.
    pub(super) awareness: u32,
    pub(super) leaving: bool,
    pub(super) counts: Counts,
    /// Number of the last ping.
    sequence: u32,
    pub(super) exchanges: Exchanges,
    pub(super) actions: VecDeque<Action>,
}

impl Pool {
    pub(super) fn new(options: Options, rng: Rng, now: Instant) -> Self {
        let node = Node {
            name: Arc::clone(&options.name),
            addr: options.advertise,
            meta: options.meta.clone(),
            versions: options.versions,
            state: NodeState::Alive,
            incarnation: 1,
        };
        Self {
            nodes: Nodes::new(Known { node, changed: now, suspicion: None }),
            suspicions: BTreeSet::new(),
            queue: BroadcastQueue::new(options.timings.retransmit_mult),
            waits: BTreeMap::new(),
            awareness: 0,
            leaving: false,
            counts: Counts::default(),
            sequence: 0,
            exchanges: Exchanges::default(),
            actions: VecDeque::new(),
            rng,
            options,
        }
    }

    pub(super) fn next_timeout(&self) -> Option<Instant> {
        let suspicion = self.suspicions.first().map(|(deadline, _)| *deadline);
        suspicion.into_iter().chain(self.waits.values().copied()).min()
    }

    pub(super) fn handle_timeout(&mut self, now: Instant, delegate: &mut dyn Delegate) {
        self.time_out_suspicions(now, delegate);
        self.time_out_waits(now);
    }

    pub(super) fn members(&self) -> impl ExactSizeIterator<Item = &Node> + Clone {
        self.nodes.iter().map(|known| &known.node)
    }

    /// Puts a message about a node on its way, for the one before it.
    pub(super) fn broadcast(&mut self, node: Arc<str>, message: Vec<u8>, waited: Option<Waited>) {
        // Kept a while by each node: without room to grow.
        self.queue.push(Some(node), message.into_boxed_slice().into(), waited);
        self.tell_finished();
    }

    /// Waits for a broadcast, unless there is nobody to hear it.
    pub(super) fn wait(&mut self, what: Waited, timeout: Duration, now: Instant) {
        let others =
            self.members().any(|node| !node.state.is_gone() && node.name != self.options.name);
        if others {
            self.waits.insert(what, now + timeout);
        } else {
            self.tell_broadcast(what, true);
        }
    }

    fn time_out_waits(&mut self, now: Instant) {
        while let Some((&what, _)) = self.waits.iter().find(|(_, deadline)| **deadline <= now) {
            self.waits.remove(&what);
            self.tell_broadcast(what, false);
        }
    }

    /// Tells of the awaited broadcasts that have gone out.
    pub(super) fn tell_finished(&mut self) {
        for what in self.queue.take_finished() {
            if self.waits.remove(&what).is_some() {
                self.tell_broadcast(what, true);
            }
        }
    }

    pub(super) fn tell_broadcast(&mut self, what: Waited, sent: bool) {
        self.actions.push_back(Action::Broadcast { what, sent });
    }

    /// Whether every node here and there speaks what all that are alive understand.
    pub(super) fn check_versions(&self, theirs: &[PushNode<'_>]) -> Result<(), String> {
        let alive = NodeState::Alive as i64;
        let theirs_alive = theirs.iter().filter(|node| node.state == alive);
        let ours_alive = self.members().filter(|node| node.state == NodeState::Alive);
        let understood = theirs_alive
            .filter_map(|node| node.versions)
            .chain(ours_alive.map(|node| node.versions))
            .fold(Understood::default(), Understood::and);
        for node in theirs {
            understood.check(&node.name, node.versions)?;
        }
        for node in self.members() {
            understood.check(&node.name, Some(node.versions))?;
        }
        Ok(())
    }

    pub(super) fn push_pull_message(&self, join: bool, delegate: &mut dyn Delegate) -> Bytes {
        let user_state = delegate.local_state(join);
        let nodes = self.nodes.iter().map(|known| PushNode {
            addr: Some(known.node.addr.ip()),
            incarnation: known.node.incarnation,
            meta: known.node.meta.as_ref().into(),
            name: known.node.name.as_ref().into(),
            port: known.node.addr.port(),
            state: known.node.state as i64,
            versions: Some(known.node.versions),
        });
        let message = stream::encode_push_pull(join, nodes, &user_state);
        stream::pack(message, self.options.compress).into()
    }

    /// Large pools exchange more rarely, for each exchange is larger.
    pub(super) fn push_pull_interval(&self) -> Duration {
        let nodes = self.nodes.len() as f64;
        let doublings = (nodes / PUSH_PULL_SCALE_NODES).log2().ceil().max(0.0);
        self.options.timings.push_pull_interval * (doublings as u32 + 1)
    }

    pub(super) fn ping<'a>(&'a self, sequence: u32, node: &'a str) -> Ping<'a> {
        let own = self.options.advertise;
        Ping {
            node: node.into(),
            seq_no: sequence,
            source_addr: Some(own.ip()),
            source_node: self.options.name.as_ref().into(),
            source_port: own.port(),
        }
    }

    pub(super) fn suspicion_of<'a>(&'a self, node: &'a Node) -> Suspect<'a> {
        Suspect {
            from: self.options.name.as_ref().into(),
            incarnation: node.incarnation,
            node: node.name.as_ref().into(),
        }
    }

    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    pub(super) fn change_awareness(&mut self, by: i32) {
        let worst = self.options.timings.awareness_max.saturating_sub(1);
        self.awareness = self.awareness.saturating_add_signed(by).min(worst);
    }

    pub(super) fn warn(&mut self, warning: Warning) {
        self.actions.push_back(Action::Warning(warning));
    }
}

/// The versions that all nodes of some understand.
#[derive(Clone, Copy, Debug)]
struct Understood {
    protocol: (u8, u8),
    delegate: (u8, u8),
}

impl Default for Understood {
    fn default() -> Self {
        Self { protocol: (0, u8::MAX), delegate: (0, u8::MAX) }
    }
}

impl Understood {
    fn and(self, versions: Versions) -> Self {
        let both = |(low, high): (u8, u8), min: u8, max: u8| (low.max(min), high.min(max));
        Self {
            protocol: both(self.protocol, versions.protocol_min, versions.protocol_max),
            delegate: both(self.delegate, versions.delegate_min, versions.delegate_max),
        }
    }

    fn check(&self, name: &str, versions: Option<Versions>) -> Result<(), String> {
        let current = versions.map_or((0, 0), |v| (v.protocol_current, v.delegate_current));
        for (what, current, (low, high)) in [
            ("protocol", current.0, self.protocol),
            ("delegate protocol", current.1, self.delegate),
        ] {
            if !(low..=high).contains(&current) {
                return Err(format!(
                    "Node '{name}' {what} version ({current}) is incompatible: [{low}, {high}]"
                ));
            }
        }
        Ok(())
    }
}
