//! Bodies of requests: all there, or as they come.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// A body that is sent as its pieces come. An error among them, or a sender that goes
/// away before the last byte, breaks the request.
#[derive(Debug)]
pub struct Upload {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    bytes: u64,
    sent: u64,
}

impl Upload {
    /// The body of this many bytes that comes out of the channel.
    pub fn new(pieces: mpsc::Receiver<io::Result<Bytes>>, bytes: u64) -> Self {
        Self { pieces, bytes, sent: 0 }
    }
}

/// The body of a request on the wire.
pub(crate) enum Outgoing {
    /// All of it.
    Whole(Option<Bytes>),
    /// As it comes.
    Upload(Upload),
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Upload(upload) => upload.pieces.poll_recv(context).map(|piece| match piece {
                Some(Ok(piece)) => {
                    upload.sent += piece.len() as u64;
                    Some(Ok(Frame::data(piece)))
                }
                Some(Err(error)) => Some(Err(error)),
                None if upload.sent < upload.bytes => {
                    Some(Err(io::ErrorKind::UnexpectedEof.into()))
                }
                None => None,
            }),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Outgoing::Whole(bytes) => bytes.as_ref().map_or(0, |bytes| bytes.len() as u64),
            Outgoing::Upload(upload) => upload.bytes - upload.sent.min(upload.bytes),
        })
    }
}
