//! The way between the Raft hosts of a cluster, over streams that have already been told apart
//! by their first byte (`reference/raft-and-snapshots.md` section 1).
//!
//! To each other server there are three lanes, each with a short queue, a connection of its own
//! and a few unanswered requests at most: heartbeats, which never wait behind entries; entries;
//! and all else, which is about elections. A snapshot takes a connection for itself. A lane
//! that is behind refuses: the core hears of each request that went nowhere, and decides.
//!
//! What comes from other servers is answered in its order ([`Incoming`]). Who is asking is what
//! the header of a request says: who may connect at all is the business of TLS. Servers that are
//! so old that they give no id are known by their address.
//!
//! Beyond what hashicorp/raft does: an answer that comes from another server than the one that
//! was asked counts as none (an address may have found a new owner); when the leader's connection
//! breaks and nobody listens any more where it did, the core is told so; and a server that closes
//! the connection at the word of a pre-vote, but answers an empty AppendEntries, is one that
//! knows no pre-votes, and does not stand in the way of an election.

mod book;
mod calls;
mod incoming;
mod lane;
mod snapshot_in;
mod snapshot_out;
mod whereabouts;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use raft::wire::Sender;
use raft::{Body, Destination, Message, RequestId, ServerId};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::timeout;
use wal::SnapshotStore;

pub use self::book::{AddressBook, FixedAddresses, Members};
pub use self::incoming::Incoming;
pub use raft::wire::Sender as RaftSender;

use self::calls::Calls;
use self::lane::{Lane, LaneKind, Outgoing};
use self::whereabouts::Whereabouts;
use crate::raft_host::{Inlet, Transport};

/// How long a connection, a request and its answer may take, as in Consul.
pub const TIMEOUT: Duration = Duration::from_secs(10);

/// Requests that wait for a lane.
const QUEUE: usize = 8;

/// A server that nothing was sent to for so long is forgotten.
const FORGET_AFTER: Duration = Duration::from_secs(600);

/// How often a leader is looked after whose connection ended; and for how long a connection to it
/// that says nothing, as none of a live server does, has to last.
const LOOKS: usize = 5;
const LOOK: Duration = Duration::from_secs(1);

/// A stream to another server.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for T {}

/// See [`Stream`].
pub type BoxedStream = Box<dyn Stream>;

/// Connects to other servers.
pub trait Dial: Send + Sync + 'static {
    /// A stream to the Raft of the server with this id, which was last heard of at this
    /// address. The first byte, and TLS, are done with.
    ///
    /// # Errors
    /// When there is no way to it; of kind [`io::ErrorKind::ConnectionRefused`] if nobody listens
    /// there.
    fn dial<'d>(
        &'d self,
        id: &'d ServerId,
        address: SocketAddr,
    ) -> Pin<Box<dyn Future<Output = io::Result<BoxedStream>> + Send + 'd>>;
}

/// What a transport takes.
#[derive(Clone)]
pub struct TransportOptions {
    /// This server, as it tells others of itself.
    pub sender: Sender,
    /// Where servers are.
    pub book: Arc<dyn AddressBook>,
    /// How to get there.
    pub dial: Arc<dyn Dial>,
    /// Where the transport's tasks run.
    pub runtime: Handle,
    /// How long a connection, a request and its answer may take: [`TIMEOUT`].
    pub timeout: Duration,
}

/// Sends what a Raft host has to say.
pub struct RaftTransport {
    shared: Arc<Shared>,
    peers: BTreeMap<ServerId, Peer>,
    /// All that run on behalf of this transport; they end with it.
    tasks: JoinSet<()>,
}

/// What the lanes have in common.
struct Shared {
    options: TransportOptions,
    inlet: Inlet,
    calls: Arc<Calls>,
    whereabouts: Whereabouts,
}

/// The lanes to another server.
struct Peer {
    heartbeats: mpsc::Sender<Outgoing>,
    entries: mpsc::Sender<Outgoing>,
    elections: mpsc::Sender<Outgoing>,
    snapshot: Option<AbortHandle>,
    used: Instant,
}

/// The two halves of a host's way to others.
pub fn start(options: TransportOptions, inlet: Inlet) -> (RaftTransport, Incoming) {
    let whereabouts = Whereabouts::new(options.book.clone());
    let shared = Arc::new(Shared { options, inlet, calls: Arc::default(), whereabouts });
    let incoming = Incoming::new(shared.clone());
    (RaftTransport { shared, peers: BTreeMap::new(), tasks: JoinSet::new() }, incoming)
}

impl Transport for RaftTransport {
    fn send(&mut self, to: Destination, message: Message) {
        let Message { request, body } = message;
        if body.is_response() {
            self.shared.calls.answer(request, body);
            return;
        }
        let peer = self.peer(&to.id);
        let lane = match &body {
            Body::AppendEntries(body) if body.is_heartbeat() => &peer.heartbeats,
            Body::AppendEntries(_) => &peer.entries,
            _ => &peer.elections,
        };
        let id = to.id.clone();
        let outgoing = Outgoing { request, body, address: to.address, at: Instant::now() };
        if lane.try_send(outgoing).is_err() {
            self.shared.fail(&id, request);
        }
    }

    fn send_snapshot(&mut self, to: Destination, message: Message, snapshots: &SnapshotStore) {
        let (shared, snapshots) = (self.shared.clone(), snapshots.clone());
        let id = to.id.clone();
        let sending = snapshot_out::send(shared, to, message, snapshots);
        let task = self.tasks.spawn_on(sending, &self.shared.options.runtime);
        // The core waits for one at a time: it has given up the one before.
        if let Some(before) = self.peer(&id).snapshot.replace(task) {
            before.abort();
        }
    }

    fn heard_at(&self, id: &ServerId) -> Option<Arc<str>> {
        self.shared.whereabouts.heard_at(id)
    }
}

impl RaftTransport {
    fn peer(&mut self, id: &ServerId) -> &mut Peer {
        let now = Instant::now();
        if !self.peers.contains_key(id) {
            while self.tasks.try_join_next().is_some() {}
            self.peers.retain(|_, peer| now.duration_since(peer.used) < FORGET_AFTER);
            let peer = self.new_peer(id, now);
            self.peers.insert(id.clone(), peer);
        }
        let peer = self.peers.get_mut(id).expect("it was put there if it was not");
        peer.used = now;
        peer
    }

    fn new_peer(&mut self, id: &ServerId, now: Instant) -> Peer {
        let mut lane = |kind| {
            let (queue, requests) = mpsc::channel(QUEUE);
            let lane = Lane::new(kind, id.clone(), self.shared.clone());
            self.tasks.spawn_on(lane.run(requests), &self.shared.options.runtime);
            queue
        };
        Peer {
            heartbeats: lane(LaneKind::Heartbeats),
            entries: lane(LaneKind::Entries),
            elections: lane(LaneKind::Elections),
            snapshot: None,
            used: now,
        }
    }
}

impl Drop for RaftTransport {
    fn drop(&mut self) {
        // The host has ended: nobody will answer any more.
        self.shared.calls.close();
    }
}

impl Shared {
    fn fail(&self, to: &ServerId, request: RequestId) {
        // If the host's queue is full, the core finds out by itself.
        let _ = self.inlet.fail(to.clone(), request);
    }

    fn deliver(&self, from: &ServerId, request: RequestId, body: Body) {
        let _ = self.inlet.deliver(from.clone(), Message { request, body });
    }

    /// A connection of `sender` has ended. If it is the leader's, and where it listened nobody
    /// does any more, its process has ended, and there is nothing to wait for.
    async fn look_after(&self, sender: ServerId) {
        for _ in 0..LOOKS {
            let leader = self.inlet.leader().filter(|leader| leader.id == sender);
            let Some(leader) = leader else { return };
            match self.connect(&sender, &leader.address).await {
                // A process that ends closes one thing after the other.
                Ok((mut stream, _)) => match timeout(LOOK, stream.read_u8()).await {
                    Ok(_) => {}
                    Err(_) => return,
                },
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                    tracing::warn!(target: "agent.server.raft", leader = %sender.0, "the leader's process has ended");
                    // If the queue is full, the heartbeat timeout will tell.
                    let _ = self.inlet.peer_down(sender);
                    return;
                }
                Err(_) => return,
            }
        }
    }

    /// Connects to a server, at the address that is known now. Tells that address, too.
    async fn connect(
        &self,
        to: &ServerId,
        configured: &str,
    ) -> io::Result<(BoxedStream, SocketAddr)> {
        let address = self.whereabouts.address(to, configured).ok_or_else(|| {
            let what = format!("{configured:?} is no IP address with a port");
            io::Error::new(io::ErrorKind::InvalidInput, what)
        })?;
        let dialled = self.options.dial.dial(to, address);
        let dialled = tokio::select! {
            dialled = timeout(self.options.timeout, dialled) => match dialled {
                Ok(dialled) => dialled,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            },
            () = self.whereabouts.moved(to, configured, address) => {
                return Err(io::Error::other(format!("it is not at {address} any more")));
            }
        };
        if dialled.is_err() {
            self.whereabouts.is_not_at(to, address);
        }
        Ok((dialled?, address))
    }
}
