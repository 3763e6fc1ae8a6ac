//! The connections of an agent to servers, and what is asked over them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::Uri;
use http::uri::PathAndQuery;
use prost::Message;
use rpc::{Pool, Protocol, RpcError, ServerAddr};
use tokio::time::{Instant, timeout};
use tonic::client::Grpc;
use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Request, Status, Streaming};

use crate::TOKEN_METADATA;
use crate::codec::{Encoded, Raw};
use crate::link::{KeepAlive, Lease, Link};
use crate::serve::MESSAGE_BYTES_MAX;

/// Most calls over one connection; one more opens the next. Servers take twice as many,
/// and let those beyond wait without a word.
const CALLS_MAX: usize = 1024;

/// Those who ask within this time of a failure to connect are told of it; they wanted the
/// same connection.
const FAILURE_SHARED: Duration = Duration::from_millis(500);

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// There is no connection to the server.
    #[error("{0}")]
    Connect(RpcError),
    /// The server closed the connection without a word: it does not speak gRPC.
    #[error("the server does not speak gRPC on its port")]
    NotSpoken,
    /// What the server says, or what befell the connection.
    #[error("rpc error making call: rpc error: code = {} desc = {}", code_name(.0), .0.message())]
    Status(Status),
}

/// Connections to servers. Cloning gives another handle. A connection closes when its last
/// call ends.
#[derive(Clone)]
pub struct Connections {
    pool: Pool,
    keep_alive: KeepAlive,
    places: Arc<Mutex<HashMap<ServerAddr, Arc<Place>>>>,
}

/// What there is of one server. Held while dialling, so that all who want a connection
/// wait for the same one.
type Place = tokio::sync::Mutex<Links>;

#[derive(Default)]
struct Links {
    links: Vec<Weak<Link>>,
    failed: Option<(Instant, RpcError)>,
}

impl Connections {
    /// Connections as `pool` makes them.
    pub fn new(pool: Pool, keep_alive: KeepAlive) -> Self {
        Self { pool, keep_alive, places: Arc::default() }
    }

    /// Asks for one message.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call<R: Message + Default + 'static>(
        &self,
        server: &ServerAddr,
        path: &'static str,
        message: &impl Message,
        beside: &[(&'static str, &str)],
        deadline: Duration,
    ) -> Result<R, Failure> {
        let lease = self.lease(server).await?;
        let request = request(message, beside)?;
        let mut grpc = speak(&lease, server)?;
        let path = PathAndQuery::from_static(path);
        let called = timeout(deadline, grpc.unary(request, path, Encoded::<R>::new()));
        match called.await {
            Ok(Ok(reply)) => Ok(reply.into_inner()),
            Ok(Err(status)) => Err(failure(&lease, status)),
            Err(_) => Err(Failure::Status(Status::deadline_exceeded("context deadline exceeded"))),
        }
    }

    /// Asks for a stream of messages. This takes as long as the server has nothing to tell:
    /// Go's servers answer with the first message only.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn stream<R: Message + Default + 'static>(
        &self,
        server: &ServerAddr,
        path: &'static str,
        message: &impl Message,
    ) -> Result<EventStream<R>, Failure> {
        let lease = self.lease(server).await?;
        let request = request(message, &[])?;
        let mut grpc = speak(&lease, server)?;
        let path = PathAndQuery::from_static(path);
        let asked = grpc.server_streaming(request, path, Encoded::<R>::new()).await;
        begun(lease, asked)
    }

    /// As [`Self::stream`], where the messages are for somebody else: they stay bytes.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn stream_raw(
        &self,
        server: &ServerAddr,
        path: &'static str,
        message: &impl Message,
    ) -> Result<EventStream<Bytes>, Failure> {
        let lease = self.lease(server).await?;
        let request = request(message, &[])?;
        let mut grpc = speak(&lease, server)?;
        let path = PathAndQuery::from_static(path);
        let asked = grpc.server_streaming(request, path, Raw).await;
        begun(lease, asked)
    }

    /// A place in a connection to the server.
    async fn lease(&self, server: &ServerAddr) -> Result<Lease, Failure> {
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            // Servers come and go.
            places.retain(|other, place| other == server || is_used(place));
            Arc::clone(places.entry(server.clone()).or_default())
        };
        let mut place = place.lock().await;
        place.links.retain(|link| link.strong_count() > 0);
        let open = place.links.iter().filter_map(Weak::upgrade);
        if let Some(link) = open.into_iter().find(|l| l.is_open() && l.used() < CALLS_MAX) {
            return Ok(link.lease());
        }
        if let Some((at, error)) = &place.failed
            && at.elapsed() < FAILURE_SHARED
        {
            return Err(Failure::Connect(error.clone()));
        }
        let connected = match self.pool.open(server, Protocol::Grpc).await {
            Ok(stream) => {
                let link = Link::new(stream, self.keep_alive).await;
                link.map_err(|error| RpcError::Broken(error.to_string()))
            }
            Err(error) => Err(error),
        };
        match connected {
            Ok(link) => {
                place.links.push(Arc::downgrade(&link));
                place.failed = None;
                Ok(link.lease())
            }
            Err(error) => {
                place.failed = Some((Instant::now(), error.clone()));
                Err(Failure::Connect(error))
            }
        }
    }
}

/// Whether somebody dials, or has a connection.
fn is_used(place: &Place) -> bool {
    place.try_lock().map_or(true, |place| place.links.iter().any(|link| link.strong_count() > 0))
}

fn request(
    message: &impl Message,
    beside: &[(&'static str, &str)],
) -> Result<Request<Bytes>, Failure> {
    let mut metadata = MetadataMap::new();
    for (name, value) in beside.iter().filter(|(_, value)| !value.is_empty()) {
        // A token that no header can carry is none that any server knows.
        let mut value = MetadataValue::try_from(*value)
            .map_err(|_| Failure::Status(Status::unauthenticated("ACL not found")))?;
        value.set_sensitive(*name == TOKEN_METADATA);
        metadata.insert(*name, value);
    }
    let body = Bytes::from(message.encode_to_vec());
    Ok(Request::from_parts(metadata, tonic::Extensions::default(), body))
}

fn begun<R>(
    lease: Lease,
    outcome: Result<tonic::Response<Streaming<R>>, Status>,
) -> Result<EventStream<R>, Failure> {
    match outcome {
        Ok(reply) => Ok(EventStream { messages: reply.into_inner(), _lease: lease }),
        Err(status) => Err(failure(&lease, status)),
    }
}

/// The way of one call to a server.
fn speak<'l>(lease: &'l Lease, server: &ServerAddr) -> Result<Grpc<&'l Lease>, Failure> {
    let origin = Uri::builder()
        .scheme("http")
        .authority(server.address.to_string())
        .path_and_query("/")
        .build()
        .map_err(|error| Failure::Status(Status::internal(error.to_string())))?;
    Ok(Grpc::with_origin(lease, origin).max_decoding_message_size(MESSAGE_BYTES_MAX))
}

fn failure(lease: &Lease, status: Status) -> Failure {
    let broke = |error: &hyper::Error| !error.is_user();
    let source = std::error::Error::source(&status).and_then(|source| source.downcast_ref());
    if !lease.link.was_heard() && source.is_some_and(broke) {
        return Failure::NotSpoken;
    }
    Failure::Status(explained(status))
}

/// What befell the connection in words, as Go's library tells it.
fn explained(status: Status) -> Status {
    let Some(source) = std::error::Error::source(&status) else { return status };
    let mut text = format!("error reading from server: {source}");
    let mut deeper = source.source();
    while let Some(source) = deeper {
        text.push_str(&format!(": {source}"));
        deeper = source.source();
    }
    Status::unavailable(text)
}

/// A code as Go's library names it.
fn code_name(status: &Status) -> String {
    format!("{:?}", status.code())
}

/// Messages as they come.
pub struct EventStream<R> {
    messages: Streaming<R>,
    _lease: Lease,
}

impl<R> EventStream<R> {
    /// The next message; `None` where the server ended the stream in peace.
    ///
    /// # Errors
    /// The server ended it, or the connection broke.
    pub async fn next(&mut self) -> Result<Option<R>, Status> {
        self.messages.message().await.map_err(explained)
    }
}

impl<R> Stream for EventStream<R> {
    type Item = Result<R, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Pin::new(&mut self.messages).poll_next(context)
    }
}
