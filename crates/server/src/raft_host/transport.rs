//! The way to other servers.

use std::sync::Arc;

use raft::{Configuration, Destination, Message, RequestId, Server, ServerId};
use wal::{DiskError, SnapshotStore};

use super::error::Fatal;
use super::inbox::{Inbox, Input};
use super::shared::Shared;

/// Sends messages. Calls come from the Raft thread and must not wait: a transport that
/// is behind drops messages and reports requests as failed through its [`Inlet`].
pub trait Transport: Send + 'static {
    /// Sends a request or an answer.
    fn send(&mut self, to: Destination, message: Message);

    /// Sends the announcement of a snapshot, and then the state named by its id.
    fn send_snapshot(&mut self, to: Destination, message: Message, snapshots: &SnapshotStore);

    /// Where a server says that it is, if it has said anything.
    fn heard_at(&self, _id: &ServerId) -> Option<Arc<str>> {
        None
    }
}

/// No way to anybody: for a server that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Transport for NoPeers {
    fn send(&mut self, _to: Destination, _message: Message) {}

    fn send_snapshot(&mut self, _to: Destination, _message: Message, _snapshots: &SnapshotStore) {}
}

/// Where a transport brings what it received.
#[derive(Clone)]
pub struct Inlet {
    inbox: Arc<Inbox>,
    shared: Arc<Shared>,
    snapshots: SnapshotStore,
}

impl Inlet {
    pub(super) fn new(inbox: Arc<Inbox>, shared: Arc<Shared>, snapshots: SnapshotStore) -> Self {
        Self { inbox, shared, snapshots }
    }

    /// A message from `from`, whose identity the transport has made sure of. An
    /// [`raft::Body::InstallSnapshot`] names a snapshot that is already in this server's
    /// store. `false` when the queue is full or the host gone: the message is dropped.
    #[must_use]
    pub fn deliver(&self, from: ServerId, message: Message) -> bool {
        self.inbox.push_bounded(Input::Message { from, message })
    }

    /// A request to `to` could not be sent or was not answered. `false` as for
    /// [`Self::deliver`]; the core then finds out by itself.
    #[must_use]
    pub fn fail(&self, to: ServerId, request: RequestId) -> bool {
        self.inbox.push_bounded(Input::Failure { to, request })
    }

    /// The process of a server has ended, as far as can be told. `false` as for
    /// [`Self::deliver`].
    #[must_use]
    pub fn peer_down(&self, id: ServerId) -> bool {
        self.inbox.push_bounded(Input::PeerDown(id))
    }

    /// Where a snapshot goes that another server sends.
    pub fn snapshots(&self) -> SnapshotStore {
        self.snapshots.clone()
    }

    /// The members of the cluster, as this server knows them.
    pub fn configuration(&self) -> Arc<Configuration> {
        self.shared.configuration.borrow().clone()
    }

    /// The leader that this server knows.
    pub fn leader(&self) -> Option<Server> {
        self.shared.leader.borrow().clone()
    }

    /// The disk failed in a way that this server must not outlive.
    pub fn halt(&self, error: &DiskError) {
        // A host that has ended has done so already.
        let _ = self.inbox.push(Input::Halt(Fatal::new(error)));
    }
}
