//! The other servers as this one calls them.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use grpc::{Connections, KeepAlive};
use raft::ServerId;
use rpc::{BoxFuture, BoxedStream, Pool, PoolOptions, Protocol, Router, RpcError, ServerAddr};
use telemetry::names;
use types::Datacenter;

use crate::forward::is_unsent;
use crate::raft_transport::{self, Dial};

/// The way to other servers. Cloning gives another handle.
#[derive(Clone)]
pub struct Peers {
    pool: Pool,
    grpc: Connections,
    router: Router,
}

impl Peers {
    /// Connections of `pool` to the servers that `router` knows.
    pub fn new(pool: Pool, router: Router) -> Self {
        let grpc = Connections::new(pool.clone(), KeepAlive::default());
        Self { pool, grpc, router }
    }

    /// Nobody: for a server that is alone.
    pub(crate) fn none(datacenter: Datacenter) -> Self {
        Self::new(Pool::new(PoolOptions::server()), Router::new(datacenter))
    }

    /// The server with that id in a datacenter, if gossip knows it.
    pub(crate) fn server(&self, datacenter: &Datacenter, id: &str) -> Option<ServerAddr> {
        self.router.routes().servers(datacenter).iter().find(|server| server.id == id).cloned()
    }

    /// The server to ask in another datacenter.
    pub(crate) fn server_in(&self, datacenter: &Datacenter) -> Result<ServerAddr, RpcError> {
        self.router.find(datacenter)
    }

    /// All datacenters but that one, the nearest first.
    pub(crate) fn others(
        &self,
        own: &Datacenter,
        distance: impl Fn(&ServerAddr) -> Option<f64>,
    ) -> Vec<Datacenter> {
        let mut near = self.router.routes().datacenters_by_distance(distance);
        near.retain(|datacenter| datacenter != own);
        near
    }

    /// The connections over which gRPC is spoken.
    pub(crate) fn grpc(&self) -> &Connections {
        &self.grpc
    }

    /// A server did not answer: others are asked first.
    pub(crate) fn fail_server(&self, server: &ServerAddr) {
        self.router.fail_server(server);
    }

    /// A connection to a server for something else than calls.
    pub(crate) async fn open(
        &self,
        server: &ServerAddr,
        protocol: Protocol,
    ) -> Result<BoxedStream, RpcError> {
        self.pool.open(server, protocol).await
    }

    /// As [`Self::open`], to a server of another datacenter.
    pub(crate) async fn open_in(
        &self,
        datacenter: &Datacenter,
        protocol: Protocol,
    ) -> Result<BoxedStream, RpcError> {
        let server = self.server_in(datacenter)?;
        let opened = self.open(&server, protocol).await;
        opened.inspect_err(|_| self.router.fail_server(&server))
    }

    /// Calls a method by its name with the msgpack of its arguments, and returns that of
    /// its reply.
    pub(crate) async fn call(
        &self,
        server: &ServerAddr,
        method: &str,
        args: Bytes,
        deadline: Duration,
    ) -> Result<Bytes, RpcError> {
        self.pool.call(server, method, args, deadline).await
    }

    /// As [`Self::call`], at a server of another datacenter. The one that does not answer is
    /// asked last the next time; what changes nothing is asked of another one at once.
    pub(crate) async fn call_in(
        &self,
        datacenter: &Datacenter,
        (method, args): (&str, Bytes),
        deadline: Duration,
        changes: bool,
    ) -> Result<Bytes, RpcError> {
        let mut tried: Option<(ServerAddr, RpcError)> = None;
        loop {
            let server = self.server_in(datacenter)?;
            if let Some((before, error)) = tried.take()
                && before == server
            {
                return Err(error);
            }
            names::RPC_CROSS_DC.increment([datacenter.as_str().to_owned().into()], 1);
            let outcome = self.call(&server, method, args.clone(), deadline).await;
            let Err(error) = outcome else { return outcome };
            let unsent = is_unsent(&error);
            if !unsent && !error.is_eof_like() {
                return Err(error);
            }
            tracing::warn!(target: "agent.server.rpc", %server, method, error = %error, "RPC failed to server in DC");
            self.router.fail_server(&server);
            if changes && !unsent {
                return Err(error);
            }
            tried = Some((server, error));
        }
    }
}

/// Connects the Raft of this server to that of others.
pub struct RaftDial {
    pool: Pool,
    datacenter: Datacenter,
}

impl RaftDial {
    /// Connections as `pool` makes them, to the servers of this server's datacenter.
    pub fn new(pool: Pool, datacenter: Datacenter) -> Self {
        Self { pool, datacenter }
    }
}

impl Dial for RaftDial {
    fn dial<'d>(
        &'d self,
        id: &'d ServerId,
        address: SocketAddr,
    ) -> BoxFuture<'d, io::Result<raft_transport::BoxedStream>> {
        let server = ServerAddr {
            datacenter: self.datacenter.clone(),
            id: id.0.to_string(),
            name: String::new(),
            address,
        };
        Box::pin(async move {
            let stream = self.pool.open(&server, Protocol::Raft).await;
            let stream = stream.map_err(|error| match error.is_refused() {
                true => io::Error::new(io::ErrorKind::ConnectionRefused, error.to_string()),
                false => io::Error::other(error.to_string()),
            })?;
            Ok(Box::new(stream) as raft_transport::BoxedStream)
        })
    }
}
