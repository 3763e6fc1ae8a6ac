//! What a node knows, and what the machine underneath asks of it.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::Bytes;
use fastrand::Rng;
use types::coordinate::Coordinate;
use types::member::{Member, MemberStatus};
use types::user_event::LamportTime;

use super::action::{Action, KeyringChange};
use super::clock::{Clock, next};
use super::keys::Unpersisted;
use super::members::{Members, member_of};
use super::options::Options;
use super::queries::Running;
use super::report::{Measure, Report};
use super::snapshot::Snapshot;
use super::user_events::{Ring, Told};
use crate::coordinate::Vivaldi;
use crate::memberlist::{BroadcastQueue, Delegate, Node, NodeState};
use crate::wire::Security;
use crate::wire::serf::{
    self as wire, META_MAX, SerfError, SerfMessage, SerfPushPull, encode_coordinate,
};

/// Whether the node is in the pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Alive,
    Leaving,
    Left,
}

/// All of serf that is not the machine underneath.
#[derive(Debug)]
pub(super) struct Core {
    pub(super) options: Options,
    pub(super) security: Security,
    pub(super) name: String,
    pub(super) address: SocketAddr,
    pub(super) gossip_interval: Duration,
    /// The time of the call that is being handled.
    pub(super) now: Instant,
    pub(super) rng: Rng,
    pub(super) phase: Phase,
    pub(super) clock: Clock,
    pub(super) event_clock: Clock,
    pub(super) query_clock: Clock,
    pub(super) members: Members,
    pub(super) events: Ring<Told>,
    pub(super) queries: Ring<u32>,
    pub(super) running: BTreeMap<LamportTime, Running>,
    /// With the tickets of those who wait until a message was passed on.
    pub(super) intent_queue: BroadcastQueue<u64>,
    pub(super) event_queue: BroadcastQueue<u64>,
    pub(super) query_queue: BroadcastQueue<u64>,
    pub(super) unpersisted: BTreeMap<KeyringChange, Unpersisted>,
    pub(super) last_keyring_change: u64,
    pub(super) vivaldi: Vivaldi,
    /// Where the peers say that they are, and this node, by name.
    pub(super) coordinates: BTreeMap<String, Coordinate>,
    pub(super) snapshot: Option<Snapshot>,
    /// Whether events from before a join that is being answered do not count.
    pub(super) ignore_old_events: bool,
    /// Messages straight to one node.
    pub(super) sends: VecDeque<(SocketAddr, Bytes)>,
    pub(super) out: VecDeque<Action>,
}

impl Core {
    pub(super) fn new(mut options: Options, rng: Rng, now: Instant) -> Self {
        let snapshot = options.snapshot.take();
        let clocks = snapshot.as_ref().map_or_else(Default::default, Snapshot::clocks);
        let [clock, event_clock, query_clock] = clocks.map(Clock::after);
        let queue = || BroadcastQueue::new(options.memberlist.timings.retransmit_mult);
        Self {
            security: options.security.clone(),
            name: options.memberlist.name.to_string(),
            address: options.memberlist.advertise,
            gossip_interval: options.memberlist.timings.gossip_interval,
            now,
            rng,
            phase: Phase::Alive,
            clock,
            event_clock,
            query_clock,
            members: Members::default(),
            events: Ring::new(next(clocks[1])),
            queries: Ring::new(next(clocks[2])),
            running: BTreeMap::new(),
            intent_queue: queue(),
            event_queue: queue(),
            query_queue: queue(),
            unpersisted: BTreeMap::new(),
            last_keyring_change: 0,
            vivaldi: Vivaldi::default(),
            coordinates: BTreeMap::new(),
            snapshot,
            ignore_old_events: false,
            sends: VecDeque::new(),
            out: VecDeque::new(),
            options,
        }
    }

    pub(super) fn report(&mut self, report: Report) {
        self.out.push_back(Action::Report(report));
    }

    pub(super) fn measure(&mut self, measure: Measure) {
        self.out.push_back(Action::Measure(measure));
    }

    fn undecodable(&mut self, what: &'static str, error: &SerfError) {
        self.report(Report::Undecodable { what, error: error.to_string() });
    }

    fn merge(&mut self, state: SerfPushPull, join: bool) {
        // Nobody has sent anything at the times that the clocks show.
        let before = |time: LamportTime| LamportTime(time.0.saturating_sub(1));
        self.clock.witness(before(state.time));
        self.event_clock.witness(before(state.event_time));
        self.query_clock.witness(before(state.query_time));
        self.merge_intents(&state.status_times, &state.left_members);
        if join && self.ignore_old_events {
            self.events.ignore_before(state.event_time);
        }
        self.merge_events(state.events);
    }

    /// A node as the rules of the pool look at it.
    fn offered(&mut self, node: &Node) -> Member {
        let tags = self.tags_of(node);
        let left = node.state == NodeState::Left;
        let status = if left { MemberStatus::LEFT } else { MemberStatus::NONE };
        Member { status, ..member_of(node, tags) }
    }
}

impl Delegate for Core {
    fn handle_user(&mut self, _from: SocketAddr, message: &[u8]) {
        self.measure(Measure::Received(message.len()));
        let decoded = match SerfMessage::decode(message) {
            Ok(decoded) => decoded,
            Err(SerfError::Empty) => return,
            Err(SerfError::UnknownType(kind)) => return self.report(Report::UnknownMessage(kind)),
            Err(error) => return self.undecodable("message", &error),
        };
        let pass_on = |queue: &mut BroadcastQueue<u64>| {
            queue.push(None, Bytes::copy_from_slice(message), None)
        };
        match decoded {
            SerfMessage::Leave(intent) => {
                if self.leave_intent(&intent) {
                    pass_on(&mut self.intent_queue);
                }
            }
            SerfMessage::Join(intent) => {
                if self.join_intent(&intent) {
                    pass_on(&mut self.intent_queue);
                }
            }
            SerfMessage::UserEvent(event) => {
                if self.handle_user_event(event) {
                    pass_on(&mut self.event_queue);
                }
            }
            SerfMessage::Query(query) => {
                if self.handle_query(query) {
                    pass_on(&mut self.query_queue);
                }
            }
            SerfMessage::QueryResponse(response) => self.handle_response(response),
            SerfMessage::Relay(relay) => self.handle_relay(relay),
            // These travel inside others.
            SerfMessage::PushPull(_)
            | SerfMessage::ConflictResponse(_)
            | SerfMessage::KeyRequest(_)
            | SerfMessage::KeyResponse(_) => {
                self.report(Report::UnknownMessage(message.first().copied().unwrap_or_default()));
            }
        }
    }

    fn broadcasts(&mut self, overhead: usize, limit: usize) -> Vec<Bytes> {
        let nodes = self.members.known.len();
        let mut all = Vec::new();
        let mut left = limit;
        for queue in [&mut self.intent_queue, &mut self.query_queue, &mut self.event_queue] {
            let messages = queue.take(overhead, left, nodes);
            let used: usize = messages.iter().map(|message| message.len() + overhead).sum();
            left = left.saturating_sub(used);
            all.extend(messages);
        }
        let sent = all.iter().map(|message| Action::Measure(Measure::Sent(message.len())));
        self.out.extend(sent);
        all
    }

    fn local_state(&mut self, _join: bool) -> Bytes {
        let known = self.members.known.iter();
        let left = known.clone().filter(|(_, known)| known.member.status == MemberStatus::LEFT);
        // A time without a leave is taken for that of a join. Who has that does not believe the
        // leave when it hears of it, and takes it for a failure.
        let times = known.filter(|(_, known)| known.member.status != MemberStatus::LEAVING);
        SerfMessage::PushPull(SerfPushPull {
            time: self.clock.time(),
            status_times: times.map(|(name, known)| (name.clone(), known.status_time)).collect(),
            left_members: left.map(|(name, _)| name.clone()).collect(),
            event_time: self.event_clock.time(),
            events: self.events.to_wire(),
            query_time: self.query_clock.time(),
        })
        .encode()
    }

    fn merge_remote_state(&mut self, state: &[u8], join: bool) {
        match SerfMessage::decode(state) {
            Ok(SerfMessage::PushPull(state)) => self.merge(state, join),
            Ok(_) => {
                let error = SerfError::UnknownType(state.first().copied().unwrap_or_default());
                self.undecodable("remote state", &error);
            }
            Err(error) => self.undecodable("remote state", &error),
        }
    }

    fn joined(&mut self, node: &Node) {
        self.member_joined(node);
    }

    fn left(&mut self, node: &Node) {
        self.member_left(node);
    }

    fn updated(&mut self, node: &Node) {
        self.member_updated(node);
    }

    fn conflict(&mut self, existing: &Node, other: &Node) {
        self.name_conflict(existing, other);
    }

    fn refuses_alive(&mut self, node: &Node) -> Option<String> {
        let (networks, ip) = (&self.options.allowed_networks, node.addr.ip());
        if !networks.is_empty() && !networks.iter().any(|network| network.contains(&ip)) {
            return Some(format!("{ip} is not allowed"));
        }
        self.refuses_merge(std::slice::from_ref(node))
    }

    fn refuses_merge(&mut self, nodes: &[Node]) -> Option<String> {
        if nodes.iter().any(|node| node.meta.len() > META_MAX) {
            return Some(format!("Encoded length of tags exceeds limit of {META_MAX} bytes"));
        }
        let offered: Vec<Member> = nodes.iter().map(|node| self.offered(node)).collect();
        let new = offered.iter().filter(|member| !self.members.known.contains_key(&member.name));
        let rules = &self.options.merge;
        let outcome = rules.check(&offered).and_then(|()| rules.check_new(new));
        outcome.err().map(|refusal| refusal.to_string())
    }

    fn ack_payload(&mut self) -> Bytes {
        encode_coordinate(self.vivaldi.coordinate())
    }

    fn ping_complete(&mut self, node: &Node, rtt: Duration, payload: &[u8]) {
        let coordinate = match wire::decode_coordinate(payload) {
            Ok(coordinate) => coordinate,
            Err(SerfError::Empty) => return,
            Err(SerfError::UnknownType(kind)) => return self.report(Report::PingVersion(kind)),
            Err(error) => return self.undecodable("coordinate", &error),
        };
        if rtt.is_zero() {
            self.measure(Measure::ZeroRoundTrip);
        }
        let before = self.vivaldi.coordinate().clone();
        match self.vivaldi.update(&node.name, &coordinate, rtt, &mut self.rng) {
            Err(error) => {
                self.measure(Measure::CoordinateRejected);
                let (name, error) = (node.name.to_string(), error.to_string());
                self.report(Report::CoordinateRejected(name, error));
            }
            Ok(()) => {
                const MILLIS_PER_SECOND: f64 = 1.0e3;
                let own = self.vivaldi.coordinate().clone();
                let moved = before.distance_to(&own).unwrap_or_default() * MILLIS_PER_SECOND;
                self.measure(Measure::CoordinateAdjusted(moved));
                self.coordinates.insert(node.name.to_string(), coordinate);
                self.coordinates.insert(self.name.clone(), own);
            }
        }
    }
}
