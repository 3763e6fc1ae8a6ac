//! What a server puts behind the port.

use std::net::SocketAddr;

use bytes::Bytes;

use crate::stream::{BoxFuture, BoxedStream};

/// Who is on the other side of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it connected from.
    pub address: SocketAddr,
    /// Whether the connection is TLS.
    pub tls: bool,
}

/// What a server puts behind the port.
pub trait Service: Send + Sync + 'static {
    /// Whether this call may be made now. A refusal is the text that crosses the wire; it
    /// ends the stream, and the argument is not read.
    ///
    /// # Errors
    /// The refusal, as of a rate limit.
    fn admit(&self, from: &Peer, method: &str) -> Result<(), String> {
        let _ = (from, method);
        Ok(())
    }

    /// Answers a call: `args` and the reply are msgpack values. An error is the text that
    /// crosses the wire; for a method that there is not, see [`crate::unknown_method`].
    /// The future is dropped when the caller goes away.
    fn call<'a>(
        &'a self,
        from: &'a Peer,
        method: &'a str,
        args: Bytes,
    ) -> BoxFuture<'a, Result<Bytes, String>>;

    /// Has a connection of another server's Raft, behind its first byte.
    fn raft(&self, from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()>;

    /// Has a connection that asks for a snapshot or brings one, behind its first byte.
    fn snapshot(&self, from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()>;

    /// Has a connection that speaks gRPC, behind its first byte.
    fn grpc(&self, from: Peer, stream: BoxedStream) -> BoxFuture<'_, ()>;
}
