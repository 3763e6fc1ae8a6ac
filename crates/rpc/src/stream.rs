//! Bytes in both directions, whatever carries them.

use std::future::Future;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};

/// A connection, a TLS session or one stream of a multiplexer. Shutting it down ends this
/// side's bytes and leaves the other side's.
pub trait RawStream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> RawStream for S {}

/// Any of them.
pub type BoxedStream = Box<dyn RawStream>;

/// A future on the heap.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
