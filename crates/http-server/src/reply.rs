//! What goes back: status, headers, body, compression.

use std::io::{self, Write as _};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use contract::{Body, CallError, ErrorKind, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use hyper::body::{Body as HttpBody, Frame, SizeHint};
use tokio::sync::mpsc;

use crate::ReadMeta;

/// Bodies from this size on are compressed for clients that take it.
const GZIP_BYTES_MIN: usize = 1400;

/// What a local handler answers.
pub struct Reply {
    /// The response; its body is ignored when there is a stream.
    pub response: Response,
    /// What reads tell, for the few local endpoints that are reads.
    pub meta: Option<ReadMeta>,
    /// An endless body, and its content type.
    pub stream: Option<(&'static str, mpsc::Receiver<Bytes>)>,
    /// A body of any size that has an end, or breaks.
    pub download: Option<Download>,
    /// The error that the response tells, for the log.
    pub error: Option<String>,
}

impl From<Response> for Reply {
    fn from(response: Response) -> Self {
        Self { response, meta: None, stream: None, download: None, error: None }
    }
}

/// A body of any size. What has been sent cannot be taken back: an error within it
/// breaks the connection, so that the client knows that there was to be more.
pub struct Download {
    /// What is told of it, its content type for one.
    pub headers: HeaderMap,
    /// Its pieces, which are not compressed once more.
    pub pieces: mpsc::Receiver<io::Result<Bytes>>,
}

impl Download {
    /// Pieces of this content type.
    pub fn new(content_type: &'static str, pieces: mpsc::Receiver<io::Result<Bytes>>) -> Self {
        let content_type = HeaderValue::from_static(content_type);
        Self { headers: HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)]), pieces }
    }
}

/// The body of a response on the wire.
pub enum WireBody {
    /// All of it.
    Full(Option<Bytes>),
    /// As it comes, compressed on the way if the client takes it.
    Stream(mpsc::Receiver<Bytes>, Option<Box<GzEncoder<Vec<u8>>>>),
    /// As it comes, until it breaks.
    Download(mpsc::Receiver<io::Result<Bytes>>),
}

impl WireBody {
    pub(crate) fn empty() -> Self {
        WireBody::Full(None)
    }
}

impl HttpBody for WireBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            WireBody::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            WireBody::Download(pieces) => {
                pieces.poll_recv(context).map(|next| next.map(|piece| piece.map(Frame::data)))
            }
            WireBody::Stream(receiver, None) => {
                receiver.poll_recv(context).map(|next| next.map(|bytes| Ok(Frame::data(bytes))))
            }
            WireBody::Stream(receiver, Some(encoder)) => receiver
                .poll_recv(context)
                .map(|next| next.map(|bytes| Ok(Frame::data(squeeze(encoder, &bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, WireBody::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            WireBody::Full(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            WireBody::Stream(..) | WireBody::Download(_) => SizeHint::default(),
        }
    }
}

/// Compresses one piece so that the client can read it at once. Writing to memory
/// cannot fail.
fn squeeze(encoder: &mut GzEncoder<Vec<u8>>, bytes: &[u8]) -> Bytes {
    let written = encoder.write_all(bytes).and_then(|()| encoder.flush());
    debug_assert!(written.is_ok());
    std::mem::take(encoder.get_mut()).into()
}

/// The response of an error (`reference/http-api.md` 1.6).
pub fn error_response(error: &CallError) -> Response {
    Response::text(status_of(error), error.text())
}

fn status_of(error: &CallError) -> StatusCode {
    let text = error.text();
    if text.contains("Permission denied") || text.contains("ACL not found") {
        return StatusCode::FORBIDDEN;
    }
    match error.kind() {
        ErrorKind::BadRequest => StatusCode::BAD_REQUEST,
        ErrorKind::Disabled => StatusCode::UNAUTHORIZED,
        ErrorKind::Denied => StatusCode::FORBIDDEN,
        ErrorKind::NotFound => StatusCode::NOT_FOUND,
        ErrorKind::Conflict => StatusCode::CONFLICT,
        ErrorKind::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        ErrorKind::TooMany => StatusCode::TOO_MANY_REQUESTS,
        ErrorKind::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        ErrorKind::NotAvailable => StatusCode::NOT_IMPLEMENTED,
        ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// Puts a reply on the wire: its own headers, those of reads, the body.
pub(crate) fn finish(
    reply: Reply,
    headers: &mut HeaderMap,
    accepts_gzip: bool,
    newline: bool,
) -> (StatusCode, WireBody) {
    let Reply { response, meta, stream, download, error: _ } = reply;
    if let Some(meta) = &meta {
        write_meta(meta, headers);
    }
    for (name, value) in &response.headers {
        if let Ok(value) = HeaderValue::from_str(value) {
            headers.append(HeaderName::from_static(lower(name)), value);
        }
    }
    if let Some(Download { headers: told, pieces }) = download {
        headers.extend(told);
        return (response.status, WireBody::Download(pieces));
    }
    if let Some((content_type, receiver)) = stream {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
        let encoder = accepts_gzip.then(|| {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Box::new(GzEncoder::new(Vec::new(), Compression::fast()))
        });
        return (response.status, WireBody::Stream(receiver, encoder));
    }
    let (content_type, bytes) = match response.body {
        Body::Empty => {
            if response.status == StatusCode::OK {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
            }
            return (response.status, WireBody::empty());
        }
        Body::Json(bytes) if newline => ("application/json", with_newline(&bytes)),
        Body::Json(bytes) => ("application/json", bytes),
        Body::Bytes { content_type, bytes } => (content_type, bytes),
    };
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    let bytes = if accepts_gzip && bytes.len() >= GZIP_BYTES_MIN {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        let mut encoder = GzEncoder::new(Vec::with_capacity(bytes.len() / 4), Compression::fast());
        let written = encoder.write_all(&bytes);
        debug_assert!(written.is_ok(), "writing to memory cannot fail");
        encoder.finish().map(Bytes::from).unwrap_or(bytes)
    } else {
        bytes
    };
    (response.status, WireBody::Full((!bytes.is_empty()).then_some(bytes)))
}

fn with_newline(bytes: &Bytes) -> Bytes {
    let mut longer = Vec::with_capacity(bytes.len() + 1);
    longer.extend_from_slice(bytes);
    longer.push(b'\n');
    longer.into()
}

fn write_meta(meta: &ReadMeta, headers: &mut HeaderMap) {
    let text = |text: &'static str| HeaderValue::from_static(text);
    let flag = |flag: bool| text(if flag { "true" } else { "false" });
    headers.insert("x-consul-index", HeaderValue::from(meta.index.0.max(1)));
    headers.insert("x-consul-knownleader", flag(meta.known_leader));
    headers.insert("x-consul-lastcontact", HeaderValue::from(meta.last_contact_ms));
    headers.insert("x-consul-query-backend", text(meta.backend));
    if let Some(consistency) = meta.consistency {
        headers.insert("x-consul-effective-consistency", text(consistency));
    }
    if meta.removed {
        headers.insert("x-consul-results-filtered-by-acls", flag(true));
    }
    if let Some((hit, age)) = meta.cache {
        headers.insert("x-cache", text(if hit { "HIT" } else { "MISS" }));
        if hit {
            headers.insert(header::AGE, HeaderValue::from(age));
        }
    }
}

/// Header names of responses are written as Consul documents them and sent in lower
/// case, which is the same name.
fn lower(name: &'static str) -> &'static str {
    match name {
        "Location" => "location",
        "X-Proconsul-Carried" => "x-proconsul-carried",
        "Age" => "age",
        "Allow" => "allow",
        "X-Cache" => "x-cache",
        "X-Consul-Index" => "x-consul-index",
        "X-Consul-Reason" => "x-consul-reason",
        "X-Consul-KnownLeader" => "x-consul-knownleader",
        "X-Consul-LastContact" => "x-consul-lastcontact",
        "X-Consul-ContentHash" => "x-consul-contenthash",
        "X-Content-Type-Options" => "x-content-type-options",
        "Content-Security-Policy" => "content-security-policy",
        other => {
            debug_assert!(!other.bytes().any(|b| b.is_ascii_uppercase()), "add {other} here");
            other
        }
    }
}
