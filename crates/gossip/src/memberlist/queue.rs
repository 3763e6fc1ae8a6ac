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
    order: BTreeMap<Turn, Slot>,
    kept: Vec<Option<Queued<W>>>,
    free: Vec<Slot>,
    /// Where the broadcast about a name is.
    named: HashMap<Arc<str>, Slot>,
    last_id: u64,
    finished: Vec<W>,
}

/// How often it was sent, how long it is, and its number: the order to send in.
type Turn = (u32, Reverse<usize>, Reverse<u64>);

/// Where a message is kept: it stays there while its turn changes.
type Slot = u32;

#[derive(Clone, Debug)]
struct Queued<W> {
    message: Bytes,
    name: Option<Arc<str>>,
    waited: Option<W>,
    turn: Turn,
}

impl<W> BroadcastQueue<W> {
    /// An empty queue. Each message is sent `retransmit_mult` times the logarithm of the pool's
    /// size.
    pub fn new(retransmit_mult: u32) -> Self {
        Self {
            retransmit_mult,
            order: BTreeMap::new(),
            kept: Vec::new(),
            free: Vec::new(),
            named: HashMap::new(),
            last_id: 0,
            finished: Vec::new(),
        }
    }

    /// Adds a message. One of the same name goes: it is out of date. `waited` comes out of
    /// [`BroadcastQueue::take_finished`] when the message has been sent often enough, or goes.
    pub fn push(&mut self, name: Option<Arc<str>>, message: Bytes, waited: Option<W>) {
        if let Some(name) = &name
            && let Some(slot) = self.named.get(name)
        {
            self.finish(*slot);
        }
        self.last_id += 1;
        let turn = (0, Reverse(message.len()), Reverse(self.last_id));
        let slot = self.free.pop().unwrap_or_else(|| {
            self.kept.push(None);
            self.kept.len() as Slot - 1
        });
        if let Some(name) = &name {
            self.named.insert(Arc::clone(name), slot);
        }
        self.order.insert(turn, slot);
        self.kept[slot as usize] = Some(Queued { message, name, waited, turn });
    }

    /// Messages for one packet, of `limit` bytes together, `overhead` for each counted. Each
    /// counts as sent, to one of `nodes` nodes in the pool.
    pub fn take(&mut self, overhead: usize, limit: usize, nodes: usize) -> Vec<Bytes> {
        let mut taken = Vec::new();
        let Some(&(mut tier, ..)) = self.order.keys().next() else { return taken };
        let transmit_limit = self.transmit_limit(nodes);
        let mut free = limit;
        let mut again = Vec::new();
        while free > overhead {
            let fits = (tier, Reverse(free - overhead), Reverse(u64::MAX));
            let Some((&turn, &slot)) = self.order.range(fits..).next() else { break };
            if turn.0 != tier {
                tier = turn.0;
                continue;
            }
            let Some(queued) = &mut self.kept[slot as usize] else { break };
            free -= overhead + queued.message.len();
            taken.push(queued.message.clone());
            if tier + 1 >= transmit_limit {
                self.finish(slot);
            } else {
                // Put back after the search, which would find it again.
                self.order.remove(&turn);
                queued.turn.0 += 1;
                again.push((queued.turn, slot));
            }
        }
        self.order.extend(again);
        taken
    }

    /// What was waited for of the messages that have gone since the last call.
    pub fn take_finished(&mut self) -> Vec<W> {
        std::mem::take(&mut self.finished)
    }

    /// Lets the messages go that were sent most often, until there are at most `most`.
    pub fn prune(&mut self, most: usize) {
        while self.len() > most
            && let Some((_, &slot)) = self.order.last_key_value()
        {
            self.finish(slot);
        }
    }

    /// How many messages there are.
    pub fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.order.is_empty()
    }

    /// How often a message is sent in a pool of `nodes` nodes.
    fn transmit_limit(&self, nodes: usize) -> u32 {
        self.retransmit_mult * ((nodes + 1) as f64).log10().ceil() as u32
    }

    /// Lets a message go.
    fn finish(&mut self, slot: Slot) {
        let Some(queued) = self.kept[slot as usize].take() else { return };
        self.order.remove(&queued.turn);
        self.free.push(slot);
        if let Some(name) = queued.name {
            self.named.remove(&name);
        }
        self.finished.extend(queued.waited);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A queue in a pool of 9 nodes, where each message goes out twice.
    fn queue(messages: &[&'static str]) -> BroadcastQueue<&'static str> {
        let mut queue = BroadcastQueue::new(2);
        for &message in messages {
            queue.push(None, Bytes::from(message), Some(message));
        }
        queue
    }

    fn take(queue: &mut BroadcastQueue<&'static str>, limit: usize) -> String {
        let taken = queue.take(2, limit, 9);
        taken.iter().map(|message| String::from_utf8_lossy(message)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn the_longest_that_fits_goes_first_and_of_these_the_newest() {
        let mut queue = queue(&["old", "longest", "new", "x"]);
        assert_eq!(take(&mut queue, 17), "longest new x");
        assert_eq!(take(&mut queue, 100), "old longest new x", "those not sent yet go before");
        assert_eq!(take(&mut queue, 100), "old");
        assert_eq!(take(&mut queue, 100), "");
    }

    #[test]
    fn what_does_not_fit_waits() {
        let mut queue = queue(&["longest", "x"]);
        assert_eq!(take(&mut queue, 2), "");
        assert_eq!(take(&mut queue, 8), "x");
        assert_eq!(take(&mut queue, 9), "longest");
        assert_eq!(queue.take_finished(), [""; 0]);
        assert_eq!(take(&mut queue, 13), "longest x");
        assert_eq!((queue.len(), queue.take_finished()), (0, vec!["longest", "x"]));
    }

    #[test]
    fn news_of_a_name_replace_what_was_said_before() {
        let mut queue = BroadcastQueue::new(2);
        for (name, message) in [("a", "alive"), ("b", "alive"), ("a", "dead")] {
            queue.push(Some(name.into()), Bytes::from(message), Some(message));
        }
        assert_eq!((queue.len(), queue.take_finished()), (2, vec!["alive"]));
        assert_eq!(take(&mut queue, 100), "alive dead");
        queue.push(Some("a".into()), Bytes::from("back"), None);
        assert_eq!((queue.len(), queue.take_finished()), (2, vec!["dead"]));
        assert_eq!(take(&mut queue, 100), "back alive");
    }

    #[test]
    fn what_was_sent_most_often_goes_when_there_is_no_room() {
        let mut queue = queue(&["first", "second"]);
        assert_eq!(take(&mut queue, 100), "second first");
        queue.push(None, Bytes::from("third"), None);
        queue.prune(2);
        assert_eq!((queue.len(), queue.take_finished()), (2, vec!["first"]));
        queue.prune(0);
        assert!(queue.is_empty());
    }

    #[test]
    fn larger_pools_need_more() {
        let queue = queue(&[]);
        let limits = [0, 1, 9, 10, 99, 100, 5_000].map(|nodes| queue.transmit_limit(nodes));
        assert_eq!(limits, [0, 2, 2, 4, 4, 6, 8]);
    }
}
