//! The port: accepting connections and handing them to whom they are for
//! (`reference/rpc-wire.md` 1).

mod insecure;
mod limit;
mod switch;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use telemetry::names;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::net_rpc;
use crate::net_rpc::server::ServerLimits;
use crate::net_rpc::value::ValueError;
use crate::protocol::Protocol;
use crate::rpc_tls::Tls;
use crate::service::{Peer, Service};
use crate::stream::BoxedStream;
use crate::yamux;

pub use limit::ConnectionLimit;

use insecure::Insecure;
use switch::{Refusal, Switched};

/// How long accepting rests when it fails, most likely for want of descriptors.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Settings of the port.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// `limits.rpc_handshake_timeout`: for the first byte and TLS together.
    pub handshake_timeout: Duration,
    /// `limits.rpc_max_conns_per_client`.
    pub connections: Arc<ConnectionLimit>,
    /// What is done for one caller at most, and for all.
    pub calls: ServerLimits,
    /// Limits of multiplexed connections.
    pub yamux: yamux::Options,
    /// How TLS is spoken; without it, it is not.
    pub tls: Option<Tls>,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            handshake_timeout: Duration::from_secs(5),
            connections: Arc::new(ConnectionLimit::new(100)),
            calls: ServerLimits::default(),
            yamux: yamux::Options::default(),
            tls: None,
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
    let insecure: Arc<dyn Service> = Arc::new(Insecure(Arc::clone(&service)));
    let port = Arc::new(Port { options, service, insecure });
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
    /// For those who show no certificate.
    insecure: Arc<dyn Service>,
}

impl Port {
    async fn converse(self: Arc<Self>, stream: TcpStream, address: SocketAddr) {
        // Held until the connection ends.
        let Some(_place) = self.options.connections.enter(address.ip()) else {
            tracing::error!(
                target: "agent.server.rpc",
                conn = %address,
                "rejecting RPC conn because limits.rpc_max_conns_per_client is exceeded"
            );
            return;
        };
        names::RPC_ACCEPT_CONN.increment([], 1);
        // Without it calls are slower, and right all the same.
        let _ = stream.set_nodelay(true);
        match switch::switch(&self.options, stream).await {
            Ok(switched) => self.hand_over(switched, address).await,
            Err(refusal) => refusal.log(address),
        }
    }

    async fn hand_over(self: Arc<Self>, switched: Switched, address: SocketAddr) {
        let Switched { protocol, mut stream, tls } = switched;
        let from = Peer { address, tls };
        match protocol {
            Protocol::Consul => self.answer(&mut stream, &from, &*self.service).await,
            Protocol::TlsInsecure => self.answer(&mut stream, &from, &*self.insecure).await,
            Protocol::MultiplexV2 => self.demultiplex(stream, from).await,
            Protocol::Raft => {
                names::RPC_RAFT_HANDOFF.increment([], 1);
                self.service.raft(from, stream).await;
            }
            Protocol::Snapshot => self.service.snapshot(from, stream).await,
            Protocol::Grpc => self.service.grpc(from, stream).await,
            Protocol::Multiplex | Protocol::Tls | Protocol::Gossip | Protocol::RaftForwarding => {
                Refusal::Unknown(protocol.byte()).log(address);
            }
        }
    }

    async fn answer(
        &self,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        from: &Peer,
        service: &dyn Service,
    ) {
        match net_rpc::server::serve(stream, from, service, &self.options.calls).await {
            Ok(()) => {}
            Err(ValueError::Io(error)) => {
                tracing::debug!(target: "agent.server.rpc", conn = %from.address, error = %error, "A caller is gone");
            }
            Err(error) => {
                names::RPC_REQUEST_ERROR.increment([], 1);
                note(from.address, &error);
            }
        }
    }

    async fn demultiplex(self: Arc<Self>, stream: BoxedStream, from: Peer) {
        let (_connection, mut incoming, driver) =
            yamux::connect(stream, yamux::Role::Server, self.options.yamux.clone());
        let mut driver = std::pin::pin!(driver);
        let mut streams = JoinSet::new();
        loop {
            tokio::select! {
                end = &mut driver => {
                    if end != "EOF" {
                        tracing::error!(
                            target: "agent.server.rpc",
                            conn = %from.address,
                            error = end,
                            "multiplex conn accept failed"
                        );
                    }
                    return;
                }
                Some(mut stream) = incoming.next() => {
                    let (port, from) = (Arc::clone(&self), from.clone());
                    streams.spawn(async move {
                        port.answer(&mut stream, &from, &*port.service).await;
                    });
                }
                Some(_) = streams.join_next(), if !streams.is_empty() => {}
            }
        }
    }
}

/// Clients that misbehave are worth a line each, as in Consul.
fn note(from: SocketAddr, error: &dyn std::fmt::Display) {
    tracing::error!(target: "agent.server.rpc", conn = %from, error = %error, "RPC error");
}
