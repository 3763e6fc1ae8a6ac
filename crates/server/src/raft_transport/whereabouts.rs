//! Where a server is, of all that is known of it.
//!
//! Gossip says it, and each server says it itself in its requests. Gossip may be late: as long
//! as a server counts as alive at its old address, or has not been dead for half a minute, its
//! new one is refused. What changed last is tried first, and the other one where nobody is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raft::{Configuration, ServerId};
use tokio::sync::watch;

use super::AddressBook;

/// The addresses of the other servers.
pub(super) struct Whereabouts {
    book: Arc<dyn AddressBook>,
    known: Mutex<BTreeMap<ServerId, Known>>,
    /// Told whenever a server says that it is elsewhere.
    moves: watch::Sender<()>,
}

/// What is known of one server.
struct Known {
    /// What gossip said when it was last asked.
    gossiped: Option<SocketAddr>,
    /// What the server said.
    heard: Option<SocketAddr>,
    /// That, as it said it.
    text: Arc<str>,
    believes_heard: bool,
}

impl Known {
    fn address(&self) -> Option<SocketAddr> {
        match self.believes_heard {
            true => self.heard.or(self.gossiped),
            false => self.gossiped.or(self.heard),
        }
    }
}

impl Whereabouts {
    /// Nobody has said anything yet.
    pub(super) fn new(book: Arc<dyn AddressBook>) -> Self {
        Self { book, known: Mutex::default(), moves: watch::Sender::new(()) }
    }

    /// A server says where it is. Only members of the cluster are listened to.
    pub(super) fn hear(&self, id: &ServerId, text: &Arc<str>, members: &Configuration) {
        let mut known = self.lock();
        if known.get(id).is_some_and(|known| known.text == *text) || members.server(id).is_none() {
            return;
        }
        let Ok(address) = text.parse() else { return };
        known.retain(|id, _| members.server(id).is_some());
        let (gossiped, heard) = (self.book.address(id), Some(address));
        let told = Known { gossiped, heard, text: text.clone(), believes_heard: true };
        known.insert(id.clone(), told);
        self.moves.send_replace(());
    }

    /// Where to look for a server. `configured` is where it was once.
    pub(super) fn address(&self, id: &ServerId, configured: &str) -> Option<SocketAddr> {
        let gossiped = self.book.address(id);
        let mut known = self.lock();
        let Some(known) = known.get_mut(id) else {
            return gossiped.or_else(|| configured.parse().ok());
        };
        if known.gossiped != gossiped {
            (known.gossiped, known.believes_heard) = (gossiped, gossiped.is_none());
        }
        known.address()
    }

    /// Where a server says that it is.
    pub(super) fn heard_at(&self, id: &ServerId) -> Option<Arc<str>> {
        self.lock().get(id).map(|known| known.text.clone())
    }

    /// The server is not there.
    pub(super) fn is_not_at(&self, id: &ServerId, address: SocketAddr) {
        if let Some(known) = self.lock().get_mut(id)
            && known.address() == Some(address)
        {
            known.believes_heard = !known.believes_heard;
        }
    }

    /// Waits until a server says that it is not at this address, or not any more.
    pub(super) async fn moved(&self, id: &ServerId, configured: &str, from: SocketAddr) {
        let mut moves = self.moves.subscribe();
        while self.address(id, configured).is_none_or(|address| address == from) {
            // It lives as long as this.
            let _ = moves.changed().await;
        }
    }

    /// Which server gossip knows at an address.
    pub(super) fn id_at(&self, address: SocketAddr) -> Option<ServerId> {
        self.book.id_at(address)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ServerId, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use raft::{Server, Suffrage};

    use super::*;
    use crate::raft_transport::FixedAddresses;

    fn id(name: &str) -> ServerId {
        ServerId(name.into())
    }

    fn address(n: u8) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, n], 8300))
    }

    fn text(n: u8) -> Arc<str> {
        address(n).to_string().into()
    }

    fn case() -> (Arc<FixedAddresses>, Whereabouts, Configuration) {
        let book = Arc::new(FixedAddresses::default());
        let server = Server { id: id("a"), address: text(1), suffrage: Suffrage::Voter };
        (book.clone(), Whereabouts::new(book), Configuration { servers: vec![server] })
    }

    #[test]
    fn what_changed_last_is_tried_first_and_then_the_other() {
        let (book, whereabouts, members) = case();
        let of_a = || whereabouts.address(&id("a"), &text(1));
        assert_eq!(of_a(), Some(address(1)), "nothing else is known");
        book.set(id("a"), address(2));
        assert_eq!(of_a(), Some(address(2)), "gossip knows more");
        whereabouts.hear(&id("a"), &text(3), &members);
        assert_eq!(of_a(), Some(address(3)), "it says so itself");
        whereabouts.is_not_at(&id("a"), address(2));
        assert_eq!(of_a(), Some(address(3)), "nobody looked there");
        whereabouts.is_not_at(&id("a"), address(3));
        whereabouts.is_not_at(&id("a"), address(3));
        assert_eq!(of_a(), Some(address(2)), "it is not there");
        whereabouts.is_not_at(&id("a"), address(2));
        assert_eq!(of_a(), Some(address(3)), "nor there");
        book.set(id("a"), address(4));
        assert_eq!(of_a(), Some(address(4)), "gossip has news");
        whereabouts.hear(&id("a"), &text(3), &members);
        assert_eq!(of_a(), Some(address(4)), "that is none");
    }

    #[test]
    fn only_members_are_listened_to_and_only_addresses_are_believed() {
        let (_, whereabouts, members) = case();
        whereabouts.hear(&id("b"), &text(2), &members);
        assert_eq!(whereabouts.address(&id("b"), ""), None);
        for nonsense in ["", "nowhere", "10.0.0.9"] {
            whereabouts.hear(&id("a"), &nonsense.into(), &members);
            assert_eq!(whereabouts.address(&id("a"), &text(1)), Some(address(1)));
        }
    }
}
