//! Answering the calls of one stream, one after the other.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, Bytes};
use telemetry::names;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::time::timeout;
use types::msgpack;

use super::header::{EMPTY, RequestHeader, ResponseHeader, join};
use super::value::{Limits, ValueError, ValueReader};
use super::{ARGUMENT_BYTES_MAX, ARGUMENT_VALUES_MAX, Budget, HEADER_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::service::{Peer, Service};

/// What a caller may send ahead while its call runs. More waits in the connection.
const AHEAD_BYTES_MAX: usize = 16 << 10;

/// How much is read of a stream that was ended, and for how long.
const UNREAD_BYTES_MAX: u64 = 1 << 20;
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// What a server does for one caller at most.
#[derive(Clone, Debug)]
pub struct ServerLimits {
    /// Most bytes of an argument.
    pub argument_bytes_max: usize,
    /// Most values that an argument consists of.
    pub argument_values_max: u64,
    /// How long a caller may stop in the middle of a request, or take nothing of its answer.
    pub stall: Duration,
    /// Bytes of all requests.
    pub budget: Arc<Budget>,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            argument_bytes_max: ARGUMENT_BYTES_MAX,
            argument_values_max: ARGUMENT_VALUES_MAX,
            stall: Duration::from_secs(60),
            budget: Budget::new(REQUEST_BYTES_MAX),
        }
    }
}

impl ServerLimits {
    fn header(&self) -> Limits {
        Limits { stall: self.stall, ..Limits::bytes(HEADER_BYTES_MAX) }
    }

    fn argument(&self) -> Limits {
        Limits {
            bytes_max: self.argument_bytes_max,
            values_max: self.argument_values_max,
            stall: self.stall,
            begun: true,
        }
    }
}

/// Answers calls until the stream ends. A caller that goes away while its call runs takes
/// the call with it.
///
/// # Errors
/// What came is no request, or the stream broke.
pub async fn serve(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    from: &Peer,
    service: &dyn Service,
    limits: &ServerLimits,
) -> Result<(), ValueError> {
    let mut reader = ValueReader::sharing(limits.budget.share());
    while let Some(bytes) = reader.next(stream, limits.header()).await? {
        let RequestHeader { seq, service_method: method } = msgpack::from_slice(&bytes)?;
        drop(bytes);
        let stall = limits.stall;
        let mut respond = Respond { stream: &mut *stream, seq, method: &method, stall };
        if let Err(refusal) = service.admit(from, &method) {
            // Its argument is not read, so nothing behind it can be found.
            respond.send(Err(refusal)).await?;
            return Ok(end(stream).await?);
        }
        let arguments = match reader.next(respond.stream, limits.argument()).await {
            Ok(Some(arguments)) => arguments,
            Ok(None) => return Err(ValueError::Ended),
            Err(error @ (ValueError::Ended | ValueError::Stalled(_) | ValueError::Io(_))) => {
                return Err(error);
            }
            Err(error) => {
                respond.send(Err(error.to_string())).await?;
                end(stream).await?;
                return Err(error);
            }
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
        reader.forget();
        respond.send(outcome).await?;
        names::RPC_REQUEST.increment([], 1);
    }
    Ok(())
}

/// Ends a stream whose caller may still be sending: what it was told is to reach it, which
/// closing with unread bytes would prevent.
async fn end(stream: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> io::Result<()> {
    stream.shutdown().await?;
    let (mut unread, mut nowhere) = (stream.take(UNREAD_BYTES_MAX), tokio::io::sink());
    let rest = tokio::io::copy(&mut unread, &mut nowhere);
    // A caller that goes on for longer has to do without.
    let _ = timeout(END_TIMEOUT, rest).await;
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
    stall: Duration,
}

impl<S: AsyncWrite + Unpin> Respond<'_, S> {
    async fn send(&mut self, outcome: Result<Bytes, String>) -> Result<(), ValueError> {
        let (reply, error) = match outcome {
            Ok(reply) => (reply, String::new()),
            Err(error) => (EMPTY, error),
        };
        let service_method = self.method.to_owned();
        let (head, rest) = join(&ResponseHeader { error, seq: self.seq, service_method }, reply);
        self.write(head).await?;
        self.write(rest).await?;
        let flushed = timeout(self.stall, self.stream.flush()).await;
        Ok(flushed.map_err(|_| ValueError::Stalled(self.stall))??)
    }

    /// Writes as long as the caller takes anything.
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), ValueError> {
        while !bytes.is_empty() {
            let taken = timeout(self.stall, self.stream.write(&bytes)).await;
            match taken.map_err(|_| ValueError::Stalled(self.stall))?? {
                0 => return Err(ValueError::Io(io::ErrorKind::WriteZero.into())),
                taken => bytes.advance(taken),
            }
        }
        Ok(())
    }
}
