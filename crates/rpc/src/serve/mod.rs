//! The port: accepting connections and finding out what each is for
//! (`reference/rpc-wire.md` 1).

mod limit;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use telemetry::names;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::net_rpc::{self, ARGUMENT_BYTES_MAX};
use crate::protocol::Protocol;
use crate::service::{Peer, Service};
use crate::stream::RawStream;
use crate::yamux;

pub use limit::ConnectionLimit;

/// How long accepting rests when it fails, most likely for want of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Settings of the port.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// `limits.rpc_handshake_timeout`: for the first byte, and for TLS.
    pub handshake_timeout: Duration,
    /// `limits.rpc_max_conns_per_client`.
    pub connections: Arc<ConnectionLimit>,
    /// Most bytes of the argument of a call.
    pub argument_bytes_max: usize,
    /// Limits of multiplexed connections.
    pub yamux: yamux::Options,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            connections: Arc::new(ConnectionLimit::new(100)),
            argument_bytes_max: ARGUMENT_BYTES_MAX,
            yamux: yamux::Options::default(),
        }
    }
}

/// Serves the port until `stop` says so or its sender is gone. All connections end with it.
pub async fn serve(
    listener: TcpListener,
    options: ServeOptions,
    service: Arc<dyn Service>,
    mut stop: watch::Receiver<bool>,
) {
    let port = Arc::new(Port { options, service });
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    connections.spawn(Arc::clone(&port).converse(stream, address));
                }
                Err(error) => {
                    tracing::warn!(target: "agent.server.rpc", error = %error, "failed to accept RPC conn");
                    tokio::time::sleep(ACCEPT_REST).await;
                }
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            () = stopped(&mut stop) => break,
        }
    }
    drop(listener);
    connections.shutdown().await;
}

/// Completes when the server is to stop, or nobody is left to say so.
pub(crate) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

struct Port {
    options: ServeOptions,
    service: Arc<dyn Service>,
}

impl Port {
    async fn converse(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        let Some(_place) = self.options.connections.enter(address.ip()) else {
            tracing::error!(
                target: "agent.server.rpc",
                conn = %address,
                "rejecting RPC conn from because rpc_max_conns_per_client exceeded"
            );
            return;
        };
        names::RPC_ACCEPT_CONN.increment([], 1);
        // Without it calls are slower, and right all the same.
        let _ = stream.set_nodelay(true);
        // The place is held until the connection ends.
        Arc::clone(&self).switch(stream, Peer { address, tls: false }).await;
    }

    /// Reads what a connection is for and hands it on.
    async fn switch(self: Arc<Self>, mut stream: TcpStream, from: Peer) {
        let byte =
            match tokio::time::timeout(self.options.handshake_timeout, stream.read_u8()).await {
                Ok(Ok(byte)) => byte,
                Ok(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => return,
                Ok(Err(error)) => return note(&from, "failed to read byte", &error),
                Err(elapsed) => return note(&from, "failed to read byte", &elapsed),
            };
        match Protocol::from_byte(byte) {
            Some(protocol) => self.speak(protocol, stream, from).await,
            None => note(&from, "unrecognized RPC byte", &byte),
        }
    }

    async fn speak(self: Arc<Self>, protocol: Protocol, stream: impl RawStream, from: Peer) {
        match protocol {
            Protocol::Consul => self.speak_single(stream, &from).await,
            Protocol::MultiplexV2 => self.speak_multiplexed(stream, from).await,
            Protocol::Raft => {
                names::RPC_RAFT_HANDOFF.increment([], 1);
                self.service.raft(from, Box::new(stream)).await;
            }
            Protocol::Snapshot => self.service.snapshot(from, Box::new(stream)).await,
            Protocol::Grpc => self.service.grpc(from, Box::new(stream)).await,
            Protocol::Multiplex
            | Protocol::Tls
            | Protocol::TlsInsecure
            | Protocol::Gossip
            | Protocol::RaftForwarding => {
                note(&from, "unrecognized RPC byte", &protocol.byte());
            }
        }
    }

    async fn speak_single(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin, from: &Peer) {
        let bytes_max = self.options.argument_bytes_max;
        let served = net_rpc::server::serve(&mut stream, from, &*self.service, bytes_max);
        if let Err(error) = served.await {
            names::RPC_REQUEST_ERROR.increment([], 1);
            note(from, "RPC error", &error);
        }
    }

    async fn speak_multiplexed(self: Arc<Self>, stream: impl RawStream, from: Peer) {
        let (_connection, mut incoming, driver) =
            yamux::connect(stream, yamux::Role::Server, self.options.yamux.clone());
        let mut driver = std::pin::pin!(driver);
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                end = &mut driver => {
                    if end != "EOF" {
                        note(&from, "multiplex conn accept failed", &end);
                    }
                    return;
                }
                Some(stream) = incoming.next() => {
                    let (port, from) = (Arc::clone(&self), from.clone());
                    streams.spawn(async move { port.speak_single(stream, &from).await });
                }
                Some(_) = streams.join_next(), if !streams.is_empty() => {}
            }
        }
    }
}

fn note(from: &Peer, what: &str, error: &dyn std::fmt::Display) {
    tracing::error!(target: "agent.server.rpc", conn = %from.address, error = %error, "{what}");
}
