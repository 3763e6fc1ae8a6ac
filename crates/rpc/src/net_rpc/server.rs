//! Answering the calls of one stream, one after the other.

use std::time::Duration;

use bytes::Bytes;
use telemetry::names;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use types::msgpack;

use super::HEADER_BYTES_MAX;
use super::header::{EMPTY, RequestHeader, ResponseHeader, join};
use super::value::{ValueError, ValueReader};
use crate::service::{Peer, Service};

/// What a caller may send ahead while its call runs. More waits in the connection.
const AHEAD_BYTES_MAX: usize = 16 << 10;

/// How much is read of a stream that was ended, and for how long.
const UNREAD_BYTES_MAX: u64 = 1 << 20;
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Answers calls until the stream ends. A caller that goes away while its call runs takes
/// the call with it.
///
/// # Errors
/// What came is no request, or the stream broke.
pub async fn serve(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    from: &Peer,
    service: &dyn Service,
    argument_bytes_max: usize,
) -> Result<(), ValueError> {
    let mut reader = ValueReader::default();
    while let Some(bytes) = reader.next(stream, HEADER_BYTES_MAX).await? {
        let RequestHeader { seq, service_method: method } = msgpack::from_slice(&bytes)?;
        drop(bytes);
        let mut respond = Respond { stream: &mut *stream, seq, method: &method };
        if let Err(refusal) = service.admit(from, &method) {
            // Its argument is not read, so nothing behind it can be found.
            respond.send(Err(refusal)).await?;
            return Ok(end(stream).await?);
        }
        let arguments = match reader.next(respond.stream, argument_bytes_max).await {
            Ok(Some(arguments)) => arguments,
            Ok(None) => return Err(ValueError::Ended),
            Err(error @ (ValueError::TooLong(_) | ValueError::Malformed(_))) => {
                respond.send(Err(error.to_string())).await?;
                end(stream).await?;
                return Err(error);
            }
            Err(error) => return Err(error),
        };
        let outcome = if method.contains('.') {
            tokio::select! {
                biased;
                outcome = service.call(from, &method, arguments) => outcome,
                () = reader.ended(respond.stream, AHEAD_BYTES_MAX) => return Ok(()),
            }
        } else {
            Err(format!("rpc: service/method request ill-formed: {method}"))
        };
        respond.send(outcome).await?;
        names::RPC_REQUEST.increment([], 1);
    }
    Ok(())
}

/// Ends a stream whose caller may still be sending: what it was told is to reach it, which
/// closing with unread bytes would prevent.
async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> std::io::Result<()> {
    stream.shutdown().await?;
    let (mut unread, mut nowhere) = (stream.take(UNREAD_BYTES_MAX), tokio::io::sink());
    let rest = tokio::io::copy(&mut unread, &mut nowhere);
    // A caller that goes on for longer has to do without.
    let _ = tokio::time::timeout(END_TIMEOUT, rest).await;
    Ok(())
}

/// What net/rpc says of a method that there is not, where `methods` are all that there are.
pub fn unknown_method<'m>(method: &str, methods: impl IntoIterator<Item = &'m str>) -> String {
    let service = |method: &str| method.rsplit_once('.').map(|(service, _)| service.to_owned());
    let known = methods.into_iter().any(|known| service(known) == service(method));
    let what = if known { "method" } else { "service" };
    format!("rpc: can't find {what} {method}")
}

/// Sends the answer of one call.
struct Respond<'a, S> {
    stream: &'a mut S,
    seq: u64,
    method: &'a str,
}

impl<S: AsyncWrite + Unpin> Respond<'_, S> {
    async fn send(&mut self, outcome: Result<Bytes, String>) -> std::io::Result<()> {
        let (reply, error) = match outcome {
            Ok(reply) => (reply, String::new()),
            Err(error) => (EMPTY, error),
        };
        let service_method = self.method.to_owned();
        let (head, rest) = join(&ResponseHeader { error, seq: self.seq, service_method }, reply);
        self.stream.write_all(&head).await?;
        self.stream.write_all(&rest).await?;
        self.stream.flush().await
    }
}
