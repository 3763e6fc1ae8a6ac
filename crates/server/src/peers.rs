//! The other servers as this one calls them, whoever carries the calls.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use contract::CallError;
use types::Datacenter;

pub use crate::gossip::BoxFuture;

/// Another server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerServer {
    /// Its datacenter.
    pub datacenter: Datacenter,
    /// The node's name.
    pub name: String,
    /// Its id in the quorum.
    pub id: String,
    /// Where its port is.
    pub address: SocketAddr,
}

/// Why another server did not answer as it should.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct PeerError {
    /// What the caller is told.
    pub text: String,
    /// Whether the connection ended under the call: a read can be asked again.
    pub is_eof: bool,
}

/// The way to other servers.
pub trait Peers: Send + Sync + 'static {
    /// The server of this datacenter with that id, if gossip knows it.
    fn server(&self, id: &str) -> Option<PeerServer>;

    /// The server of another datacenter to ask.
    ///
    /// # Errors
    /// `No path to datacenter` when nobody knows it, and `Remote DC has no server currently
    /// reachable`.
    fn server_in(&self, datacenter: &Datacenter) -> Result<PeerServer, CallError>;

    /// That server did not answer: ask another one the next time.
    fn note_failed(&self, server: &PeerServer);

    /// All other datacenters, the nearest first.
    fn datacenters(&self) -> Vec<Datacenter>;

    /// Calls a method by its name with the msgpack of its arguments, and returns that of
    /// its reply.
    fn call<'p>(
        &'p self,
        server: &'p PeerServer,
        method: &'p str,
        args: Bytes,
        deadline: Duration,
    ) -> BoxFuture<'p, Result<Bytes, PeerError>>;
}

/// Nobody: for a server that is alone.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoPeers;

impl Peers for NoPeers {
    fn server(&self, _id: &str) -> Option<PeerServer> {
        None
    }

    fn server_in(&self, _datacenter: &Datacenter) -> Result<PeerServer, CallError> {
        Err(CallError::no_path_to_datacenter())
    }

    fn note_failed(&self, _server: &PeerServer) {}

    fn datacenters(&self) -> Vec<Datacenter> {
        Vec::new()
    }

    fn call<'p>(
        &'p self,
        server: &'p PeerServer,
        _method: &'p str,
        _args: Bytes,
        _deadline: Duration,
    ) -> BoxFuture<'p, Result<Bytes, PeerError>> {
        let text = format!("rpc error getting client: no way to {}", server.address);
        Box::pin(async move { Err(PeerError { text, is_eof: false }) })
    }
}
