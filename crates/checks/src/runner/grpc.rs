//! gRPC checks: `grpc.health.v1.Health/Check`
//! (<https://github.com/grpc/grpc/blob/master/doc/health-checking.md>).
//!
//! The two messages have one field each, so they are written and read here by
//! hand: `HealthCheckRequest { string service = 1; }` and
//! `HealthCheckResponse { ServingStatus status = 1; }`.

use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, client};
use hyper::header::{CONTENT_TYPE, HeaderMap, TE, USER_AGENT};
use hyper::{Method, Request, StatusCode};
use tokio::time::{Instant, timeout_at};
use types::check::CheckDefinition;

use super::h2ping::{connect, error_text};
use super::tls::Peer;
use super::url::percent_decoded;
use super::{Settings, alongside};
use crate::status::{Outcome, definition};

/// An answer has at most this many bytes.
const ANSWER_MAX: usize = 64 * 1024;
/// Headers and trailers together have at most this many bytes.
const HEADERS_MAX: u32 = 16 * 1024;

#[derive(Debug)]
pub(super) struct Grpc {
    /// As it was written: `host:port[/service]`.
    target: String,
    address: String,
    service: String,
    tls: Option<Peer>,
    timeout: Duration,
}

/// A gRPC status that is not OK.
#[derive(Debug)]
struct RpcError {
    code: u32,
    description: String,
}

const UNKNOWN: u32 = 2;
const DEADLINE_EXCEEDED: u32 = 4;
const INTERNAL: u32 = 13;
const UNAVAILABLE: u32 = 14;

impl Grpc {
    pub(super) fn new(definition: &CheckDefinition) -> Self {
        let exposed = !definition.proxy_grpc.is_empty();
        let target = if exposed { &definition.proxy_grpc } else { &definition.grpc }.clone();
        let (address, service) = target.split_once('/').unwrap_or((&target, ""));
        Self {
            address: address.to_owned(),
            service: service.to_owned(),
            tls: definition.grpc_use_tls.then(|| Peer::new(definition, true)),
            timeout: definition::timeout(definition, definition::NETWORK_TIMEOUT),
            target,
        }
    }

    pub(super) async fn run(&self, settings: &Settings) -> Outcome {
        let deadline = Instant::now() + self.timeout;
        let status = timeout_at(deadline, self.ask(settings, deadline)).await;
        let late = || RpcError::new(DEADLINE_EXCEEDED, "context deadline exceeded");
        match status.unwrap_or_else(|_| Err(late())) {
            Ok(1) => Outcome::passing(format!("gRPC check {}: success", self.target)),
            Ok(status) => Outcome::critical(format!(
                "gRPC {} serving status: {}",
                self.target,
                serving_status(status)
            )),
            Err(error) => Outcome::critical(error.to_string()),
        }
    }

    /// The `ServingStatus` of the service.
    async fn ask(&self, settings: &Settings, deadline: Instant) -> Result<u64, RpcError> {
        let stream = connect(&self.address, self.tls.as_ref(), settings, deadline)
            .await
            .map_err(|error| self.connect_error(&error))?;
        let mut builder = client::Builder::new();
        builder.max_header_list_size(HEADERS_MAX);
        let (sender, connection) =
            builder.handshake::<_, Bytes>(stream).await.map_err(|error| broken(&error))?;
        alongside(connection, async {
            let mut sender = sender.ready().await.map_err(|error| broken(&error))?;
            let (response, mut body) =
                sender.send_request(self.request()?, false).map_err(|error| broken(&error))?;
            body.send_data(request_frame(&self.service), true).map_err(|error| broken(&error))?;
            let (parts, body) = response.await.map_err(|error| broken(&error))?.into_parts();
            refuse_other_protocols(parts.status, &parts.headers)?;
            // An answer of trailers alone has its status in the headers.
            if parts.headers.contains_key("grpc-status") {
                rpc_status(&parts.headers)?;
            }
            receive(body).await
        })
        .await
    }

    fn request(&self) -> Result<Request<()>, RpcError> {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        // Go's authority of an address without a host is the address itself.
        let host = if self.address.starts_with(':') { "localhost" } else { "" };
        let milliseconds = self.timeout.as_millis().min(99_999_999);
        Request::builder()
            .method(Method::POST)
            .uri(format!("{scheme}://{host}{}/grpc.health.v1.Health/Check", self.address))
            .header(CONTENT_TYPE, "application/grpc")
            .header(TE, "trailers")
            .header(USER_AGENT, "Consul Health Check")
            .header("grpc-timeout", format!("{milliseconds}m"))
            .body(())
            .map_err(|error| RpcError::new(UNAVAILABLE, format!("invalid target: {error}")))
    }

    fn connect_error(&self, error: &str) -> RpcError {
        if error == "context deadline exceeded" || error.ends_with("i/o timeout") {
            return RpcError::new(DEADLINE_EXCEEDED, "context deadline exceeded");
        }
        let what = if error.starts_with("dial ") {
            "Error while dialing"
        } else {
            "authentication handshake failed"
        };
        let quoted = error.replace('\\', "\\\\").replace('"', "\\\"");
        let description = format!("connection error: desc = \"transport: {what}: {quoted}\"");
        RpcError::new(UNAVAILABLE, description)
    }
}

impl RpcError {
    fn new(code: u32, description: impl Into<String>) -> Self {
        Self { code, description: description.into() }
    }
}

impl std::fmt::Display for RpcError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        const NAMES: [&str; 17] = [
            "OK",
            "Canceled",
            "Unknown",
            "InvalidArgument",
            "DeadlineExceeded",
            "NotFound",
            "AlreadyExists",
            "PermissionDenied",
            "ResourceExhausted",
            "FailedPrecondition",
            "Aborted",
            "OutOfRange",
            "Unimplemented",
            "Internal",
            "Unavailable",
            "DataLoss",
            "Unauthenticated",
        ];
        let Self { code, description } = self;
        match NAMES.get(*code as usize) {
            Some(name) => write!(f, "rpc error: code = {name} desc = {description}"),
            None => write!(f, "rpc error: code = Code({code}) desc = {description}"),
        }
    }
}

fn broken(error: &h2::Error) -> RpcError {
    RpcError::new(UNAVAILABLE, format!("connection error: desc = \"{}\"", error_text(error)))
}

fn serving_status(status: u64) -> String {
    match status {
        0 => "UNKNOWN".to_owned(),
        1 => "SERVING".to_owned(),
        2 => "NOT_SERVING".to_owned(),
        3 => "SERVICE_UNKNOWN".to_owned(),
        other => other.to_string(),
    }
}

/// A gRPC frame: no compression, the length, the message.
fn request_frame(service: &str) -> Bytes {
    let mut message = BytesMut::new();
    if !service.is_empty() {
        message.put_u8(1 << 3 | 2);
        let mut length = service.len();
        while length >= 0x80 {
            message.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        message.put_u8(length as u8);
        message.put_slice(service.as_bytes());
    }
    let mut frame = BytesMut::with_capacity(5 + message.len());
    frame.put_u8(0);
    frame.put_u32(message.len() as u32);
    frame.put(message);
    frame.freeze()
}

/// The message and the trailers that say whether it counts.
async fn receive(mut body: RecvStream) -> Result<u64, RpcError> {
    let mut frame = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk.map_err(|error| broken(&error))?;
        if frame.len() + chunk.len() > ANSWER_MAX {
            return Err(RpcError::new(INTERNAL, "the answer is too large"));
        }
        // A stream that has ended needs no more room, which is no error.
        let _ = body.flow_control().release_capacity(chunk.len());
        frame.extend_from_slice(&chunk);
    }
    match body.trailers().await.map_err(|error| broken(&error))? {
        Some(trailers) => rpc_status(&trailers)?,
        None => {
            return Err(RpcError::new(
                INTERNAL,
                "server closed the stream without sending trailers",
            ));
        }
    }
    let message = match frame.get(..5) {
        Some([0, length @ ..])
            if length.iter().fold(0, |n, b| n << 8 | usize::from(*b)) == frame.len() - 5 =>
        {
            &frame[5..]
        }
        Some([1, ..]) => {
            return Err(RpcError::new(
                INTERNAL,
                "the answer is compressed, which was not asked for",
            ));
        }
        _ => return Err(RpcError::new(INTERNAL, "unexpected EOF")),
    };
    read_status(message)
        .ok_or_else(|| RpcError::new(INTERNAL, "the answer is no HealthCheckResponse"))
}

/// Field 1 of a message, 0 when it is not there; `None` for what is no message.
fn read_status(mut message: &[u8]) -> Option<u64> {
    let mut status = 0;
    while !message.is_empty() {
        let key = read_varint(&mut message)?;
        match key & 7 {
            0 => {
                let value = read_varint(&mut message)?;
                if key >> 3 == 1 {
                    status = value;
                }
            }
            1 => message = message.get(8..)?,
            2 => {
                let length = usize::try_from(read_varint(&mut message)?).ok()?;
                message = message.get(length..)?;
            }
            5 => message = message.get(4..)?,
            _ => return None,
        }
    }
    Some(status)
}

fn read_varint(message: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = message.split_first()?;
        *message = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn rpc_status(headers: &HeaderMap) -> Result<(), RpcError> {
    let text =
        |name: &str| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()));
    let code = text("grpc-status").and_then(|code| code.parse().ok()).unwrap_or(UNKNOWN);
    if code == 0 {
        return Ok(());
    }
    Err(RpcError::new(code, percent_decoded(&text("grpc-message").unwrap_or_default())))
}

/// An answer that is not gRPC gets the code that the gRPC rules give it.
fn refuse_other_protocols(status: StatusCode, headers: &HeaderMap) -> Result<(), RpcError> {
    if status != StatusCode::OK {
        let code = match status.as_u16() {
            400 => INTERNAL,
            401 => 16,
            403 => 7,
            404 => 12,
            429 | 502..=504 => UNAVAILABLE,
            _ => UNKNOWN,
        };
        let reason = status.canonical_reason().unwrap_or_default();
        let code_text = status.as_u16();
        let description =
            format!("unexpected HTTP status code received from server: {code_text} ({reason})");
        return Err(RpcError::new(code, description));
    }
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], |value| value.as_bytes());
    if kind.starts_with(b"application/grpc") {
        return Ok(());
    }
    let kind = String::from_utf8_lossy(kind);
    Err(RpcError::new(UNKNOWN, format!("transport: received unexpected content-type \"{kind}\"")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_request_is_the_message_that_protobuf_would_write() {
        assert_eq!(&request_frame("")[..], [0, 0, 0, 0, 0]);
        assert_eq!(&request_frame("ab")[..], [0, 0, 0, 0, 4, 0x0a, 2, b'a', b'b']);
        let long = request_frame(&"x".repeat(300));
        assert_eq!(long[..8], [0, 0, 0, 1, 47, 0x0a, 0xac, 0x02]);
    }

    #[test]
    fn the_status_is_found_among_unknown_fields() {
        assert_eq!(read_status(&[]), Some(0));
        assert_eq!(read_status(&[0x08, 1]), Some(1));
        assert_eq!(read_status(&[0x12, 1, 9, 0x08, 2, 0x1d, 1, 2, 3, 4]), Some(2));
        assert_eq!(read_status(&[0x08]), None);
        assert_eq!(read_status(&[0x12, 200, 1]), None);
    }

    proptest! {
        #[test]
        fn no_message_makes_reading_panic(message in proptest::collection::vec(any::<u8>(), 0..40)) {
            let _ = read_status(&message);
        }
    }
}
