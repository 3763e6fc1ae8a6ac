//! HTTP/1.1 over any stream, and bodies of which only the end is kept.

use std::io::Write;

use bytes::Bytes;
use flate2::write::GzDecoder;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::dial;
use crate::status::output::RingBuffer;

/// What a request can travel over: TCP, TLS, a Unix socket.
pub(super) trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// The body of every request of a check.
pub(super) type RequestBody = Full<Bytes>;

/// A request with its body.
pub(super) type CheckRequest = Request<RequestBody>;

/// Starts HTTP/1.1 on a stream. Header names are written as Go writes them.
pub(super) async fn handshake(
    stream: Box<dyn Stream>,
) -> hyper::Result<(SendRequest<RequestBody>, Connection<TokioIo<Box<dyn Stream>>, RequestBody>)> {
    http1::Builder::new().title_case_headers(true).handshake(TokioIo::new(stream)).await
}

/// What went wrong between request and answer, as Go says it where it can be
/// known. `path` is `<local>-><peer>` of the connection.
pub(super) fn transport_error(error: &hyper::Error, path: &str) -> String {
    if error.is_incomplete_message() || error.is_canceled() {
        return "EOF".to_owned();
    }
    if error.is_parse() {
        return "net/http: HTTP/1.x transport connection broken: malformed HTTP response"
            .to_owned();
    }
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return format!("read tcp {path}: read: {}", dial::errno_text(io));
        }
        source = inner.source();
    }
    error.to_string()
}

/// Receives a body and keeps its end.
pub(super) enum BodyTail {
    Plain(RingBuffer),
    Gzip(Box<GzDecoder<RingBuffer>>),
}

impl BodyTail {
    /// Keeps the last `limit` bytes, of the unpacked body when it is `gzip`.
    pub(super) fn new(limit: usize, gzip: bool) -> Self {
        let buffer = RingBuffer::new(limit);
        if gzip { Self::Gzip(Box::new(GzDecoder::new(buffer))) } else { Self::Plain(buffer) }
    }

    /// Takes the body to its end, in constant memory. On an error what came
    /// before it is kept.
    pub(super) async fn receive(&mut self, mut body: Incoming) -> Result<(), String> {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| transport_error(&error, ""))?;
            let Some(data) = frame.data_ref() else { continue };
            match self {
                Self::Plain(buffer) => buffer.push(data),
                Self::Gzip(decoder) => {
                    decoder.write_all(data).map_err(|error| format!("gzip: {error}"))?;
                }
            }
        }
        match self {
            Self::Plain(_) => Ok(()),
            Self::Gzip(decoder) => decoder.try_finish().map_err(|error| format!("gzip: {error}")),
        }
    }

    pub(super) fn text(&self) -> String {
        match self {
            Self::Plain(buffer) => buffer.text(),
            Self::Gzip(decoder) => decoder.get_ref().text(),
        }
    }
}
