//! All nodes that are known, and the order in which they are probed.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use fastrand::Rng;

use super::node::Node;
use super::suspicion::Suspicion;

/// Where a node is kept; another node may be there once it is forgotten.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place(u32);

/// Where the own node is kept, for good.
pub(super) const OWN: Place = Place(0);

/// A node and what only this machine knows of it.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) node: Node,
    /// Since when it is in its state.
    pub(super) changed: Instant,
    /// While it is suspected; few are at a time.
    pub(super) suspicion: Option<Box<Suspicion>>,
}

/// The nodes, the own one first among them.
#[derive(Clone, Debug)]
pub(super) struct Nodes {
    kept: Vec<Option<Known>>,
    free: Vec<Place>,
    names: HashMap<Arc<str>, Place>,
    /// Every node once, in the order of probes.
    order: Vec<Place>,
    /// The next to be probed.
    next: usize,
}

impl Nodes {
    pub(super) fn new(own: Known) -> Self {
        Self {
            names: HashMap::from([(Arc::clone(&own.node.name), OWN)]),
            kept: vec![Some(own)],
            free: Vec::new(),
            order: vec![OWN],
            next: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.order.len()
    }

    pub(super) fn find(&self, name: &str) -> Option<Place> {
        self.names.get(name).copied()
    }

    pub(super) fn get(&self, place: Place) -> &Known {
        self.kept[place.0 as usize].as_ref().expect("a place is given up with its name")
    }

    pub(super) fn get_mut(&mut self, place: Place) -> &mut Known {
        self.kept[place.0 as usize].as_mut().expect("a place is given up with its name")
    }

    /// The nodes in the order of probes.
    pub(super) fn iter(&self) -> impl ExactSizeIterator<Item = &Known> + Clone {
        self.order.iter().map(|place| self.get(*place))
    }

    /// Adds a node at a random turn, so that new nodes are not all probed at the end.
    pub(super) fn insert(&mut self, known: Known, rng: &mut Rng) -> Place {
        let place = self.free.pop().unwrap_or_else(|| {
            self.kept.push(None);
            Place(self.kept.len() as u32 - 1)
        });
        self.names.insert(Arc::clone(&known.node.name), place);
        self.kept[place.0 as usize] = Some(known);
        self.order.push(place);
        let last = self.order.len() - 1;
        self.order.swap(rng.usize(..last), last);
        place
    }

    /// The next node to be probed: not the own one, and there. When all had their turn, nodes
    /// gone for longer than `kept` are forgotten and the order is drawn anew.
    pub(super) fn next_to_probe(
        &mut self,
        now: Instant,
        kept: Duration,
        rng: &mut Rng,
    ) -> Option<Place> {
        let mut looked_at = 0;
        while looked_at < self.order.len() {
            if self.next >= self.order.len() {
                self.forget_gone(now, kept);
                rng.shuffle(&mut self.order);
                self.next = 0;
                continue;
            }
            looked_at += 1;
            let place = self.order[self.next];
            self.next += 1;
            if place != OWN && !self.get(place).node.state.is_gone() {
                return Some(place);
            }
        }
        None
    }

    fn forget_gone(&mut self, now: Instant, kept: Duration) {
        let Self { kept: slots, names, free, order, .. } = self;
        order.retain(|place| {
            let slot = &mut slots[place.0 as usize];
            let goes = |known: &mut Known| {
                *place != OWN
                    && known.node.state.is_gone()
                    && now.saturating_duration_since(known.changed) > kept
            };
            let Some(gone) = slot.take_if(goes) else { return true };
            names.remove(&gone.node.name);
            free.push(*place);
            false
        });
    }

    /// `count` random nodes that are wanted, or all of these. Drawing finds them at once where many
    /// are wanted; where few are, it may pass over some, for which all are looked at. (memberlist
    /// lets it be: of three nodes, every fortieth indirect probe asks nobody.)
    pub(super) fn random(
        &self,
        count: usize,
        rng: &mut Rng,
        wanted: impl Fn(Place, &Known) -> bool,
    ) -> Vec<Place> {
        let mut chosen = Vec::with_capacity(count.min(self.len()));
        for _ in 0..3 * self.len() {
            if chosen.len() == count {
                break;
            }
            let place = self.order[rng.usize(..self.order.len())];
            if !chosen.contains(&place) && wanted(place, self.get(place)) {
                chosen.push(place);
            }
        }
        if chosen.len() < count {
            let rest = self.order.iter().copied();
            let rest =
                rest.filter(|place| !chosen.contains(place) && wanted(*place, self.get(*place)));
            let rest: Vec<Place> = rest.take(count - chosen.len()).collect();
            chosen.extend(rest);
        }
        chosen
    }
}
