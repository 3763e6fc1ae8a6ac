//! The server's end of a connection.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rpc::{BoxFuture, BoxedStream, Peer};
use telemetry::names;

use crate::{Request, Response};

/// The largest message that is taken, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 50 << 20;

/// Most calls and subscriptions at once over one connection.
const STREAMS_MAX: u32 = 2048;

/// What a request's headers may take, in bytes: a token and a path are short.
const HEADER_BYTES_MAX: u32 = 64 << 10;

/// A connection on which nothing was heard for this long is asked whether it is there.
const KEEP_ALIVE_INTERVAL: Duration = Duration::from_secs(30);

/// How long it may take to say so.
const KEEP_ALIVE_TIMEOUT: Duration = Duration::from_secs(20);

/// What answers requests.
pub trait Handler: Send + Sync + 'static {
    /// Answers one. The future is dropped when the caller goes away; what the body is made
    /// of goes with the body.
    fn handle(&self, from: &Peer, request: Request) -> BoxFuture<'static, Response>;
}

/// Serves a connection until it ends.
pub async fn serve(stream: BoxedStream, from: Peer, handler: Arc<dyn Handler>) {
    let _open = Open::new();
    let service = service_fn(|request| {
        names::GRPC_SERVER_REQUEST_COUNT.increment(["internal".into()], 1);
        let answer = handler.handle(&from, request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = http2::Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEADER_BYTES_MAX)
        .keep_alive_interval(KEEP_ALIVE_INTERVAL)
        .keep_alive_timeout(KEEP_ALIVE_TIMEOUT)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = connection.await {
        tracing::debug!(target: "agent.server.rpc", conn = %from.address, error = %error, "A gRPC connection broke");
    }
}

/// Counts a connection as long as it is there.
struct Open(telemetry::series::GaugeHandle);

impl Open {
    fn new() -> Self {
        names::GRPC_SERVER_CONNECTION_COUNT.increment([], 1);
        let open = names::GRPC_SERVER_CONNECTIONS.handle([]);
        open.increment(1.0);
        Self(open)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.decrement(1.0);
    }
}
