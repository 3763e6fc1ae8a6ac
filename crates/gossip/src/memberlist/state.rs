//! What becomes of a node when somebody says something of it (SWIM section 4.2;
//! `reference/gossip-wire.md` section 6).
//!
//! Of two claims the one of the higher incarnation counts, which only the node itself raises. Of
//! one incarnation dead counts more than suspect, and suspect more than alive.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::action::{Waited, Warning};
use super::delegate::Delegate;
use super::node::{Node, NodeState};
use super::nodes::{Known, OWN, Place};
use super::pool::Pool;
use super::suspicion::Suspicion;
use super::{META_MAX, NAME_MAX};
use crate::wire::message::{Alive, Dead, Message as _, PushNode, Suspect};
use crate::wire::{Versions, stream};

impl Pool {
    /// Somebody says that a node is there.
    pub(super) fn alive(&mut self, claim: &Alive<'_>, now: Instant, delegate: &mut dyn Delegate) {
        let own = *claim.node == *self.options.name;
        if own && self.leaving {
            return;
        }
        let Some((addr, versions)) = self.believable(claim) else { return };
        let found = self.nodes.find(&claim.node);
        if let Some(place) = found {
            let node = &self.nodes.get(place).node;
            // Known already: nothing to ask the delegate about.
            if !own && node.addr == addr && claim.incarnation <= node.incarnation {
                return;
            }
        } else if claim.incarnation == 0 {
            return;
        }
        let other = Node {
            name: claim.node.as_ref().into(),
            addr,
            meta: Bytes::copy_from_slice(&claim.meta),
            versions,
            state: NodeState::Alive,
            incarnation: claim.incarnation,
        };
        if let Some(reason) = delegate.refuses_alive(&other) {
            return self.refuse(claim, addr.to_string(), reason);
        }
        match found {
            None => self.welcome(other, now, delegate),
            Some(OWN) => self.defend(other, delegate),
            Some(place) => self.renew(place, other, now, delegate),
        }
    }

    /// Address and versions of a node, if what is said of it can be so.
    fn believable(&mut self, claim: &Alive<'_>) -> Option<(SocketAddr, Versions)> {
        let addr = claim.addr.map(|ip| SocketAddr::new(ip, claim.port));
        let reason = match (addr, claim.versions) {
            (Some(addr), Some(versions)) => {
                let Versions { protocol_min, protocol_max, .. } = versions;
                if protocol_min == 0 || protocol_max == 0 || protocol_min > protocol_max {
                    format!("protocol versions are wrong: {protocol_min} to {protocol_max}")
                } else if claim.node.is_empty() || claim.node.len() > NAME_MAX {
                    format!("a name of {} bytes, of 1 to {NAME_MAX}", claim.node.len())
                } else if claim.meta.len() > META_MAX {
                    format!("meta of {} bytes, of at most {META_MAX}", claim.meta.len())
                } else {
                    return Some((addr, versions));
                }
            }
            (None, _) => "it has no IP address".to_owned(),
            (_, None) => "Vsn is not present".to_owned(),
        };
        self.refuse(claim, addr.map_or_else(|| "?".to_owned(), |addr| addr.to_string()), reason);
        None
    }

    fn refuse(&mut self, claim: &Alive<'_>, addr: String, reason: String) {
        let node = claim.node.chars().take(NAME_MAX).collect();
        self.warn(Warning::AliveRefused { node, addr, reason });
    }

    /// A node that was not known.
    fn welcome(&mut self, node: Node, now: Instant, delegate: &mut dyn Delegate) {
        if self.nodes.len() >= stream::NODES_MAX {
            return self.warn(Warning::Full { what: "nodes", limit: stream::NODES_MAX });
        }
        self.counts.alive += 1;
        self.broadcast_alive(&node, None);
        delegate.joined(&node);
        let known = Known { node, changed: now, suspicion: None };
        self.nodes.insert(known, &mut self.rng);
    }

    /// News of a node that is known.
    fn renew(&mut self, place: Place, other: Node, now: Instant, delegate: &mut dyn Delegate) {
        let known = self.nodes.get(place);
        let (old, taken_over) = (&known.node, known.node.addr != other.addr);
        if taken_over {
            let reclaim = self.options.timings.dead_node_reclaim;
            let dead_for = now.saturating_duration_since(known.changed);
            let free = match old.state {
                NodeState::Left => true,
                NodeState::Dead => !reclaim.is_zero() && dead_for > reclaim,
                NodeState::Alive | NodeState::Suspect => false,
            };
            let node = old.name.to_string();
            if !free {
                delegate.conflict(old, &other);
                let (mine, theirs, state) = (old.addr, other.addr, old.state);
                return self.warn(Warning::Conflict { node, mine, theirs, state });
            }
            let (from, to) = (old.addr, other.addr);
            self.warn(Warning::AddressUpdated { node, from, to });
        } else if other.incarnation <= old.incarnation {
            return;
        }
        self.counts.alive += 1;
        self.end_suspicion(place);
        self.broadcast_alive(&other, None);
        let known = self.nodes.get_mut(place);
        let old = std::mem::replace(&mut known.node, other);
        known.node.name = old.name;
        if old.state != NodeState::Alive {
            known.changed = now;
        }
        if old.state.is_gone() {
            delegate.joined(&known.node);
        } else if old.meta != known.node.meta {
            delegate.updated(&known.node);
        }
    }

    /// Somebody says something of this node.
    fn defend(&mut self, other: Node, delegate: &mut dyn Delegate) {
        let own = &self.nodes.get(OWN).node;
        if own.addr != other.addr {
            delegate.conflict(own, &other);
            let (node, mine, theirs) = (own.name.to_string(), own.addr, other.addr);
            return self.warn(Warning::Conflict { node, mine, theirs, state: own.state });
        }
        let same = own.meta == other.meta && own.versions == other.versions;
        if other.incarnation < own.incarnation || (other.incarnation == own.incarnation && same) {
            return;
        }
        // A former life of this node, with other things to say of itself.
        let (incarnation, mine) = (other.incarnation, own.incarnation);
        self.refute(incarnation);
        self.warn(Warning::RefutingAlive { node: other.name.to_string(), incarnation, mine });
    }

    /// Somebody says of this node that it is not there.
    fn contradict(&mut self, kind: &'static str, accused: u32, from: &str) {
        self.refute(accused);
        self.warn(Warning::Refuting { kind, from: from.to_owned() });
    }

    /// Says again that this node is there, louder than what was said of it.
    fn refute(&mut self, accused: u32) {
        let own = &mut self.nodes.get_mut(OWN).node;
        own.incarnation = own.incarnation.max(accused).saturating_add(1);
        let own = own.clone();
        self.broadcast_alive(&own, None);
        self.change_awareness(1);
    }

    /// What this node says of itself has changed; it waits until the others can know.
    pub(super) fn announce(&mut self, meta: Bytes, delegate: &mut dyn Delegate) {
        let own = &mut self.nodes.get_mut(OWN).node;
        own.incarnation = own.incarnation.saturating_add(1);
        let changed = own.meta != meta;
        own.meta = meta;
        let own = own.clone();
        self.broadcast_alive(&own, Some(Waited::Update));
        if changed {
            delegate.updated(&own);
        }
    }

    /// Somebody says that a node does not answer.
    pub(super) fn suspect(&mut self, claim: &Suspect<'_>, now: Instant) {
        let Some(place) = self.nodes.find(&claim.node) else { return };
        let nodes = self.nodes.len();
        let known = self.nodes.get_mut(place);
        if claim.incarnation < known.node.incarnation {
            return;
        }
        if let Some(suspicion) = &mut known.suspicion {
            let before = suspicion.deadline();
            if suspicion.confirm(&claim.from) {
                let after = suspicion.deadline();
                let name = Arc::clone(&known.node.name);
                self.suspicions.remove(&(before, place));
                self.suspicions.insert((after, place));
                self.broadcast(name, claim.encode(), None);
            }
            return;
        }
        if known.node.state != NodeState::Alive {
            return;
        }
        if place == OWN {
            return self.contradict("suspect", claim.incarnation, &claim.from);
        }
        self.counts.suspect += 1;
        let suspicion = Suspicion::new(&claim.from, nodes, &self.options.timings, now);
        self.suspicions.insert((suspicion.deadline(), place));
        known.suspicion = Some(Box::new(suspicion));
        known.node.incarnation = claim.incarnation;
        known.node.state = NodeState::Suspect;
        known.changed = now;
        let name = Arc::clone(&known.node.name);
        self.broadcast(name, claim.encode(), None);
    }

    /// Somebody says that a node is gone.
    pub(super) fn dead(&mut self, claim: &Dead<'_>, now: Instant, delegate: &mut dyn Delegate) {
        let Some(place) = self.nodes.find(&claim.node) else { return };
        if claim.incarnation < self.nodes.get(place).node.incarnation {
            return;
        }
        self.end_suspicion(place);
        let known = self.nodes.get_mut(place);
        if known.node.state.is_gone() {
            return;
        }
        if place == OWN && !self.leaving {
            return self.contradict("dead", claim.incarnation, &claim.from);
        }
        self.counts.dead += 1;
        known.node.incarnation = claim.incarnation;
        known.node.state = if claim.from == claim.node { NodeState::Left } else { NodeState::Dead };
        known.changed = now;
        delegate.left(&known.node);
        let waited = (place == OWN).then_some(Waited::Leave);
        let name = Arc::clone(&known.node.name);
        self.broadcast(name, claim.encode(), waited);
    }

    /// Ends the suspicions whose time is over.
    pub(super) fn time_out_suspicions(&mut self, now: Instant, delegate: &mut dyn Delegate) {
        while let Some(&(deadline, place)) = self.suspicions.first()
            && deadline <= now
        {
            let known = self.nodes.get(place);
            let name = Arc::clone(&known.node.name);
            let incarnation = known.node.incarnation;
            let suspicion = known.suspicion.as_ref();
            let confirmations = suspicion.map_or(0, |suspicion| suspicion.confirmations());
            let degraded = suspicion.is_some_and(|suspicion| suspicion.lacks_confirmations());
            self.counts.degraded_timeouts += u64::from(degraded);
            self.warn(Warning::Failed { node: name.to_string(), confirmations });
            let from = Arc::clone(&self.options.name);
            let dead = Dead { incarnation, node: (&*name).into(), from: (&*from).into() };
            self.dead(&dead, now, delegate);
        }
    }

    fn end_suspicion(&mut self, place: Place) {
        if let Some(suspicion) = self.nodes.get_mut(place).suspicion.take() {
            self.suspicions.remove(&(suspicion.deadline(), place));
        }
    }

    /// Takes over what another node knows.
    pub(super) fn merge_nodes(
        &mut self,
        nodes: &[PushNode<'_>],
        now: Instant,
        delegate: &mut dyn Delegate,
    ) {
        let own = Arc::clone(&self.options.name);
        for node in nodes {
            let (incarnation, name) = (node.incarnation, node.name.as_ref());
            match NodeState::from_number(node.state) {
                Some(NodeState::Alive) => {
                    let claim = Alive {
                        addr: node.addr,
                        incarnation,
                        meta: node.meta.as_ref().into(),
                        node: name.into(),
                        port: node.port,
                        versions: node.versions,
                    };
                    self.alive(&claim, now, delegate);
                }
                Some(NodeState::Left) => {
                    let claim = Dead { incarnation, node: name.into(), from: name.into() };
                    self.dead(&claim, now, delegate);
                }
                // Others may be wrong about a death: the node gets its chance to answer.
                Some(NodeState::Dead | NodeState::Suspect) => {
                    let claim = Suspect { incarnation, node: name.into(), from: (&*own).into() };
                    self.suspect(&claim, now);
                }
                None => {}
            }
        }
    }

    fn broadcast_alive(&mut self, node: &Node, waited: Option<Waited>) {
        let message = Alive {
            addr: Some(node.addr.ip()),
            incarnation: node.incarnation,
            meta: node.meta.as_ref().into(),
            node: node.name.as_ref().into(),
            port: node.addr.port(),
            versions: Some(node.versions),
        };
        self.broadcast(Arc::clone(&node.name), message.encode(), waited);
    }
}
