//! One connection to a server, and the calls over it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rpc::{BoxFuture, BoxedStream};
use telemetry::names;
use tonic::body::Body;
use tonic::client::GrpcService;

use crate::heard::{Heard, Listening};

/// How a connection is kept alive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive {
    /// `performance.grpc_keepalive_interval`: when nothing was heard for this long, the
    /// server is asked whether it is there.
    pub interval: Duration,
    /// `performance.grpc_keepalive_timeout`: how long it may take to say so.
    pub timeout: Duration,
}

impl Default for KeepAlive {
    fn default() -> Self {
        Self { interval: Duration::from_secs(30), timeout: Duration::from_secs(20) }
    }
}

/// One connection. It closes when nobody holds it any more.
pub(crate) struct Link {
    requests: http2::SendRequest<Body>,
    heard: Heard,
    /// How many calls are under way.
    used: AtomicUsize,
}

impl Link {
    /// Speaks gRPC over a stream on which nothing was said yet.
    ///
    /// # Errors
    /// The stream broke.
    pub(crate) async fn new(
        stream: BoxedStream,
        keep_alive: KeepAlive,
    ) -> Result<Arc<Self>, hyper::Error> {
        let heard = Heard::default();
        let stream = TokioIo::new(Listening { stream, heard: heard.clone() });
        let (requests, connection) = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(keep_alive.interval)
            .keep_alive_timeout(keep_alive.timeout)
            .keep_alive_while_idle(true)
            .handshake(stream)
            .await?;
        names::GRPC_CLIENT_CONNECTION_COUNT.increment([], 1);
        let open = names::GRPC_CLIENT_CONNECTIONS.handle([]);
        tokio::spawn(async move {
            open.increment(1.0);
            if let Err(error) = connection.await {
                tracing::debug!(target: "agent.pool", error = %error, "A gRPC connection ended");
            }
            open.decrement(1.0);
        });
        Ok(Arc::new(Self { requests, heard, used: AtomicUsize::new(0) }))
    }

    /// Whether calls can be made over it.
    pub(crate) fn is_open(&self) -> bool {
        !self.requests.is_closed()
    }

    /// Whether the server ever said anything.
    pub(crate) fn was_heard(&self) -> bool {
        self.heard.anything()
    }

    /// How many calls are under way.
    pub(crate) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A place for one call.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        self.used.fetch_add(1, Ordering::Relaxed);
        Lease { link: Arc::clone(self) }
    }
}

/// A connection while a call uses it.
pub(crate) struct Lease {
    pub(crate) link: Arc<Link>,
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.link.used.fetch_sub(1, Ordering::Relaxed);
    }
}

impl GrpcService<Body> for &Lease {
    type ResponseBody = Incoming;
    type Error = hyper::Error;
    type Future = BoxFuture<'static, Result<http::Response<Incoming>, hyper::Error>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        names::GRPC_CLIENT_REQUEST_COUNT.increment(["internal".into()], 1);
        let mut requests = self.link.requests.clone();
        Box::pin(async move {
            requests.ready().await?;
            requests.send_request(request).await
        })
    }
}
