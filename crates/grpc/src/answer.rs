//! One request: its message is read, its reply is written.

use std::future::Future;

use bytes::Bytes;
use futures_core::Stream;
use prost::Message;
use rpc::BoxFuture;
use tonic::server::{Grpc, ServerStreamingService, UnaryService};
use tonic::{Request, Response, Status};

use crate::codec::Encoded;
use crate::serve::MESSAGE_BYTES_MAX;

/// A request, read.
pub struct Asked<M> {
    /// The message.
    pub message: M,
    /// What stands beside it.
    pub metadata: tonic::metadata::MetadataMap,
}

impl<M> Asked<M> {
    /// The token that the caller shows; empty for none.
    pub fn token(&self) -> &str {
        self.text(crate::TOKEN_METADATA)
    }

    /// A text that stands beside the message; empty for none.
    pub fn text(&self, name: &str) -> &str {
        self.metadata.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Answers a request by one message.
pub fn once<M, R, F>(
    request: crate::Request,
    answer: impl FnOnce(Asked<M>) -> F + Send + 'static,
) -> BoxFuture<'static, crate::Response>
where
    M: Message + Default + 'static,
    R: Message + 'static,
    F: Future<Output = Result<R, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(Encoded::<M>::new()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        grpc.unary(Once(Some(answer)), request).await
    })
}

/// Answers a request by a stream of encoded messages.
pub fn stream<M, S, F>(
    request: crate::Request,
    answer: impl FnOnce(Asked<M>) -> F + Send + 'static,
) -> BoxFuture<'static, crate::Response>
where
    M: Message + Default + 'static,
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send + 'static,
{
    Box::pin(async move {
        let mut grpc = Grpc::new(Encoded::<M>::new()).max_decoding_message_size(MESSAGE_BYTES_MAX);
        grpc.server_streaming(Once(Some(answer)), request).await
    })
}

/// Answers a request for a method that there is not.
pub fn unimplemented(path: &str) -> crate::Response {
    // As Go's servers say it.
    let text = match path.strip_prefix('/').and_then(|path| path.rsplit_once('/')) {
        Some((service, method)) if crate::paths::has_service(service) => {
            format!("unknown method {method} for service {service}")
        }
        Some((service, _)) => format!("unknown service {service}"),
        None => format!("malformed method name: {path:?}"),
    };
    refuse(Status::unimplemented(text))
}

/// Answers a request by a status alone.
pub fn refuse(status: Status) -> crate::Response {
    status.into_http()
}

struct Once<A>(Option<A>);

impl<A> Once<A> {
    fn take(&mut self) -> A {
        self.0.take().expect("a request is answered once")
    }
}

fn asked<M>(request: Request<M>) -> Asked<M> {
    let (metadata, _, message) = request.into_parts();
    Asked { message, metadata }
}

impl<M, R, F, A> UnaryService<M> for Once<A>
where
    R: Message + 'static,
    F: Future<Output = Result<R, Status>> + Send + 'static,
    A: FnOnce(Asked<M>) -> F,
{
    type Response = Bytes;
    type Future = BoxFuture<'static, Result<Response<Bytes>, Status>>;

    fn call(&mut self, request: Request<M>) -> Self::Future {
        let reply = self.take()(asked(request));
        Box::pin(async move { Ok(Response::new(reply.await?.encode_to_vec().into())) })
    }
}

impl<M, S, F, A> ServerStreamingService<M> for Once<A>
where
    S: Stream<Item = Result<Bytes, Status>> + Send + 'static,
    F: Future<Output = Result<S, Status>> + Send + 'static,
    A: FnOnce(Asked<M>) -> F,
{
    type Response = Bytes;
    type ResponseStream = S;
    type Future = BoxFuture<'static, Result<Response<S>, Status>>;

    fn call(&mut self, request: Request<M>) -> Self::Future {
        let stream = self.take()(asked(request));
        Box::pin(async move { Ok(Response::new(stream.await?)) })
    }
}
