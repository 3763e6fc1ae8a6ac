//! What is built on top.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;

use super::Node;

/// What serf adds: memberlist's delegates in one trait. The machine calls it while it handles an
/// input; what it is told has happened already, its own answers take effect at once.
///
/// Every method has a default that adds nothing.
pub trait Delegate {
    /// A user message came: a packet's source, or the peer of a stream.
    fn handle_user(&mut self, from: SocketAddr, message: &[u8]) {
        let _ = (from, message);
    }

    /// What may go along in a packet: messages of which each costs `overhead` bytes besides
    /// itself, together at most `limit` bytes, each counted as sent. The machine puts the byte
    /// of a user message in front, for which `overhead` has room.
    fn broadcasts(&mut self, overhead: usize, limit: usize) -> Vec<Bytes> {
        let _ = (overhead, limit);
        Vec::new()
    }

    /// The user state of a push/pull that goes out. `join` says whether it is part of a join, ours
    /// or theirs.
    fn local_state(&mut self, join: bool) -> Bytes {
        let _ = join;
        Bytes::new()
    }

    /// The user state of a push/pull that came, if it was not empty; after the nodes are merged.
    fn merge_remote_state(&mut self, state: &[u8], join: bool) {
        let _ = (state, join);
    }

    /// A node that was unknown or gone is there. The own node comes first of all.
    fn joined(&mut self, node: &Node) {
        let _ = node;
    }

    /// A node is gone: [`Node::state`] says whether on its own word.
    fn left(&mut self, node: &Node) {
        let _ = node;
    }

    /// A node that is there says something new of itself in [`Node::meta`].
    fn updated(&mut self, node: &Node) {
        let _ = node;
    }

    /// Another node claims a name whose owner has another address and is there, or was until
    /// recently. The claim is ignored.
    fn conflict(&mut self, existing: &Node, other: &Node) {
        let _ = (existing, other);
    }

    /// Why a node that says it is there, or of which others say so, is to be ignored: another
    /// datacenter, an address that may not take part. Not asked again while nothing new is said.
    fn refuses_alive(&mut self, node: &Node) -> Option<String> {
        let _ = node;
        None
    }

    /// Why a joining push/pull with these nodes is to be ignored as a whole.
    fn refuses_merge(&mut self, nodes: &[Node]) -> Option<String> {
        let _ = nodes;
        None
    }

    /// What goes along with the answer to a ping.
    fn ack_payload(&mut self) -> Bytes {
        Bytes::new()
    }

    /// A node answered a ping directly and in time.
    fn ping_complete(&mut self, node: &Node, rtt: Duration, payload: &[u8]) {
        let _ = (node, rtt, payload);
    }
}

/// Nothing on top.
impl Delegate for () {}
