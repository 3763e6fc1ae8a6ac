//! Calls on one stream, one after the other.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use types::msgpack;

use super::header::{RequestHeader, ResponseHeader, join};
use super::value::{Limits, ValueError, ValueReader};
use super::{HEADER_BYTES_MAX, REPLY_BYTES_MAX};

/// A stream that calls are made on.
#[derive(Debug)]
pub struct Caller<S> {
    stream: S,
    reader: ValueReader,
    seq: u64,
}

/// Why a call had no reply.
#[derive(Debug, PartialEq, Eq)]
pub enum Failure {
    /// The server says so. The stream can carry more calls.
    Remote(String),
    /// The stream is of no use any more.
    Broken(String),
}

impl<S: AsyncRead + AsyncWrite + Unpin> Caller<S> {
    /// Nothing was called yet.
    pub fn new(stream: S) -> Self {
        Self { stream, reader: ValueReader::default(), seq: 0 }
    }

    /// What is below.
    pub fn stream(&self) -> &S {
        &self.stream
    }

    /// Whether nothing came that was not asked for.
    pub fn is_quiet(&self) -> bool {
        self.reader.is_empty()
    }

    /// Calls a method. A stream on which a call was dropped halfway is of no use any more.
    ///
    /// # Errors
    /// See [`Failure`].
    pub async fn call(&mut self, method: &str, arguments: Bytes) -> Result<Bytes, Failure> {
        self.seq += 1;
        let header = RequestHeader { seq: self.seq, service_method: method.to_owned() };
        let (head, rest) = join(&header, arguments);
        let sent = async {
            self.stream.write_all(&head).await?;
            self.stream.write_all(&rest).await?;
            self.stream.flush().await
        };
        sent.await.map_err(|error| Failure::Broken(error.to_string()))?;
        let head = self.value(HEADER_BYTES_MAX, "EOF").await?;
        let head: ResponseHeader = msgpack::from_slice(&head)
            .map_err(|error| Failure::Broken(format!("the answer is none: {error}")))?;
        if head.seq != self.seq {
            let wrong = format!("the answer is that of call {}, not {}", head.seq, self.seq);
            return Err(Failure::Broken(wrong));
        }
        let reply = self.value(REPLY_BYTES_MAX, "unexpected EOF").await?;
        if head.error.is_empty() { Ok(reply) } else { Err(Failure::Remote(head.error)) }
    }

    /// What is below, without the caller.
    pub fn into_stream(self) -> S {
        self.stream
    }

    async fn value(&mut self, bytes_max: usize, end: &str) -> Result<Bytes, Failure> {
        match self.reader.next(&mut self.stream, Limits::bytes(bytes_max)).await {
            Ok(Some(value)) => Ok(value),
            Ok(None) => Err(Failure::Broken(end.to_owned())),
            Err(ValueError::Io(error)) => Err(Failure::Broken(error.to_string())),
            Err(error) => Err(Failure::Broken(error.to_string())),
        }
    }
}
