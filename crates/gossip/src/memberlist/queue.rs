//! Broadcasts on their way (`reference/gossip-wire.md` section 8). memberlist has one such queue,
//! serf three more.

use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use bytes::Bytes;

/// Messages that go out with several packets each. Those sent least often go first, of these
/// the longest that fits, of these the newest.
#[derive(Clone, Debug)]
pub struct BroadcastQueue<W> {
    retransmit_mult: u32,
    queue: BTreeMap<Place, Queued<W>>,
    /// Where the broadcast about a name is.
    named: HashMap<Arc<str>, Place>,
    next_id: u64,
    finished: Vec<W>,
}

/// How often it was sent, how long it is, and its number: the order to send in.
type Place = (u32, Reverse<usize>, Reverse<u64>);

#[derive(Clone, Debug)]
struct Queued<W> {
    message: Bytes,
    name: Option<Arc<str>>,
    waited: Option<W>,
}

impl<W> BroadcastQueue<W> {
    /// An empty queue. Each message is sent `retransmit_mult` times the logarithm of the pool's
    /// size.
    pub fn new(retransmit_mult: u32) -> Self {
        Self {
            retransmit_mult,
            queue: BTreeMap::new(),
            named: HashMap::new(),
            next_id: 0,
            finished: Vec::new(),
        }
    }

    /// Adds a message. One of the same name goes: it is out of date. `waited` comes out of
    /// [`BroadcastQueue::take_finished`] when the message has been sent often enough, or goes.
    pub fn push(&mut self, name: Option<Arc<str>>, message: Bytes, waited: Option<W>) {
        if let Some(name) = &name
            && let Some(place) = self.named.get(name)
        {
            let place = *place;
            self.finish(place);
        }
        self.next_id += 1;
        let place = (0, Reverse(message.len()), Reverse(self.next_id));
        self.insert(place, Queued { message, name, waited });
    }

    /// Messages for one packet, of `limit` bytes together, `overhead` for each counted. Each
    /// counts as sent, to one of `nodes` nodes in the pool.
    pub fn take(&mut self, overhead: usize, limit: usize, nodes: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let mut again = Vec::new();
        let mut free = limit;
        let transmit_limit = self.transmit_limit(nodes);
        let Some(&(mut tier, ..)) = self.queue.keys().next() else { return taken };
        while free > overhead {
            let fits = (tier, Reverse(free - overhead), Reverse(u64::MAX));
            let Some((&place, _)) = self.queue.range(fits..).next() else { break };
            if place.0 != tier {
                tier = place.0;
                continue;
            }
            let Some(queued) = self.remove(place) else { break };
            free -= overhead + queued.message.len();
            taken.push(queued.message.clone());
            if tier + 1 >= transmit_limit {
                self.finished.extend(queued.waited);
            } else {
                // Put back after the search, which would find it again.
                again.push(((tier + 1, place.1, place.2), queued));
            }
        }
        for (place, queued) in again {
            self.insert(place, queued);
        }
        taken
    }

    /// What was waited for of the messages that have gone since the last call.
    pub fn take_finished(&mut self) -> Vec<W> {
        std::mem::take(&mut self.finished)
    }

    /// Lets the messages go that were sent most often, until there are at most `most`.
    pub fn prune(&mut self, most: usize) {
        while self.queue.len() > most
            && let Some((&place, _)) = self.queue.last_key_value()
        {
            self.finish(place);
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// How often a message is sent in a pool of `nodes` nodes.
    fn transmit_limit(&self, nodes: usize) -> u32 {
        self.retransmit_mult * ((nodes + 1) as f64).log10().ceil() as u32
    }

    fn insert(&mut self, place: Place, queued: Queued<W>) {
        if let Some(name) = &queued.name {
            self.named.insert(Arc::clone(name), place);
        }
        self.queue.insert(place, queued);
    }

    fn remove(&mut self, place: Place) -> Option<Queued<W>> {
        let queued = self.queue.remove(&place)?;
        if let Some(name) = &queued.name {
            self.named.remove(name);
        }
        Some(queued)
    }

    fn finish(&mut self, place: Place) {
        if let Some(queued) = self.remove(place) {
            self.finished.extend(queued.waited);
        }
    }
}
