//! HTTP checks: one request on a fresh connection, redirects followed as Go's
//! client follows them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::{Method, Response, StatusCode};
use tokio::time::{Instant, timeout_at};
use types::CheckId;
use types::check::{CheckDefinition, Status};

use super::body::{BodyTail, CheckRequest, Stream, handshake, transport_error};
use super::dial::DialError;
use super::tls::{HandshakeError, Peer};
use super::url::Url;
use super::{Settings, alongside, dial, proxy};
use crate::status::{Outcome, definition, output};

/// A check sends at most this many requests in one run.
const REQUESTS_MAX: usize = 10;
/// A redirect to another host does not carry these along.
const SECRET_HEADERS: [HeaderName; 4] = [
    header::AUTHORIZATION,
    header::COOKIE,
    header::WWW_AUTHENTICATE,
    HeaderName::from_static("cookie2"),
];

#[derive(Debug)]
pub(super) struct Http {
    /// The URL as it was written, for the output.
    url_text: String,
    method_text: String,
    /// The first request, or why there can be none.
    first: Result<Hop, String>,
    body: Bytes,
    follow_redirects: bool,
    peer: Peer,
    timeout: Duration,
    output_limit: usize,
    unpack_gzip: bool,
}

/// One request of a chain of redirects.
#[derive(Clone, Debug)]
struct Hop {
    url: Url,
    method: Method,
    headers: HeaderMap,
    /// A `Host` that is not that of the URL.
    host: Option<HeaderValue>,
    with_body: bool,
}

/// What one request brought.
enum Answer {
    Final(Outcome),
    Redirect { status: StatusCode, location: String },
}

enum Failure {
    /// The time of the whole run is over.
    Timeout,
    Text(String),
}

impl From<String> for Failure {
    fn from(text: String) -> Self {
        Failure::Text(text)
    }
}

impl Http {
    pub(super) fn new(definition: &CheckDefinition, settings: &Settings) -> Self {
        let exposed = !definition.proxy_http.is_empty();
        let url_text = if exposed { &definition.proxy_http } else { &definition.http }.clone();
        let method_text = match definition.method.as_str() {
            "" => "GET".to_owned(),
            method => method.to_owned(),
        };
        let mut first = first_hop(&url_text, &method_text, definition);
        let mut unpack_gzip = false;
        if let Ok(hop) = &mut first {
            let asked = [header::ACCEPT_ENCODING, header::RANGE];
            unpack_gzip = hop.method != Method::HEAD
                && !asked.iter().any(|name| hop.headers.contains_key(name));
            if unpack_gzip {
                hop.headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
            }
        }
        Self {
            url_text,
            method_text,
            first,
            body: Bytes::from(definition.body.clone()),
            follow_redirects: !definition.disable_redirects,
            peer: Peer::new(definition, false),
            timeout: definition::timeout(definition, definition::NETWORK_TIMEOUT),
            output_limit: output::limit(definition.output_max_size, settings.output_max_size),
            unpack_gzip,
        }
    }

    pub(super) async fn run(&self, check: &CheckId, settings: &Settings) -> Outcome {
        self.follow(check, settings).await.unwrap_or_else(Outcome::critical)
    }

    /// Sends the request and those that redirects ask for.
    async fn follow(&self, check: &CheckId, settings: &Settings) -> Result<Outcome, String> {
        let deadline = Instant::now() + self.timeout;
        let mut hop = self.first.clone()?;
        let mut sent = 0;
        loop {
            sent += 1;
            let (status, location) = match self.ask(&hop, check, settings, deadline).await {
                Ok(Answer::Final(outcome)) => return Ok(outcome),
                Ok(Answer::Redirect { status, location }) => (status, location),
                Err(Failure::Text(text)) => return Err(self.error(&hop.url.to_string(), &text)),
                Err(Failure::Timeout) => {
                    let text = "context deadline exceeded \
                                (Client.Timeout exceeded while awaiting headers)";
                    return Err(self.error(&hop.url.to_string(), text));
                }
            };
            if sent == REQUESTS_MAX {
                let text = format!("stopped after {REQUESTS_MAX} redirects");
                return Err(self.error(&location, &text));
            }
            hop = next_hop(&hop, status, &location)
                .map_err(|text| self.error(&hop.url.to_string(), &text))?;
        }
    }

    fn error(&self, url: &str, text: &str) -> String {
        request_error(&self.method_text, url, text)
    }

    async fn ask(
        &self,
        hop: &Hop,
        check: &CheckId,
        settings: &Settings,
        deadline: Instant,
    ) -> Result<Answer, Failure> {
        let proxied = settings.proxies.for_url(&hop.url);
        let absolute = proxied.filter(|_| !hop.url.is_https());
        let request = self.request(hop, absolute)?;
        let connect = self.connect(&hop.url, proxied, settings, deadline);
        let connected = timeout_at(deadline, connect).await.map_err(|_| Failure::Timeout)??;
        let (stream, path) = connected;
        let failed = |error: hyper::Error| Failure::Text(transport_error(&error, &path));
        let (mut sender, connection) = handshake(stream).await.map_err(failed)?;
        alongside(connection, async {
            let sent = timeout_at(deadline, sender.send_request(request)).await;
            let response = sent.map_err(|_| Failure::Timeout)?.map_err(failed)?;
            if let Some(location) = self.redirect(&response) {
                return Ok(Answer::Redirect { status: response.status(), location });
            }
            Ok(Answer::Final(self.judge(response, check, deadline).await))
        })
        .await
    }

    fn request(&self, hop: &Hop, proxy: Option<&Url>) -> Result<CheckRequest, String> {
        let body = if hop.with_body { self.body.clone() } else { Bytes::new() };
        let target = if proxy.is_some() { hop.url.absolute_target() } else { hop.url.target() };
        let uri: hyper::Uri = target.parse().map_err(|error| format!("invalid URL: {error}"))?;
        let value = |text: String| {
            HeaderValue::try_from(text).map_err(|_| "invalid header value".to_owned())
        };
        let mut request = CheckRequest::new(Full::new(body));
        *request.method_mut() = hop.method.clone();
        *request.uri_mut() = uri;
        let headers = request.headers_mut();
        let host = match &hop.host {
            Some(host) => host.clone(),
            None => value(hop.url.host_port().to_owned())?,
        };
        headers.insert(header::HOST, host);
        headers.extend(hop.headers.clone());
        if !headers.contains_key(header::AUTHORIZATION)
            && let Some(authorization) = proxy::basic_authorization(&hop.url)
        {
            headers.insert(header::AUTHORIZATION, value(authorization)?);
        }
        if let Some(authorization) = proxy.and_then(proxy::basic_authorization) {
            headers.insert(header::PROXY_AUTHORIZATION, value(authorization)?);
        }
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        Ok(request)
    }

    /// The stream to the server and its `<local>-><peer>`.
    async fn connect(
        &self,
        url: &Url,
        proxied: Option<&Url>,
        settings: &Settings,
        deadline: Instant,
    ) -> Result<(Box<dyn Stream>, String), Failure> {
        let address = url.address();
        let mut path = String::new();
        let stream: Box<dyn Stream> = match proxied {
            Some(proxy) => {
                let mut stream = proxy::connect(proxy, settings, deadline).await?;
                if url.is_https() {
                    proxy::open_tunnel(&mut stream, proxy, &address).await?;
                }
                stream
            }
            None => {
                let stream = dial::tcp(&address, deadline).await.map_err(|error| match error {
                    DialError::Timeout { .. } => Failure::Timeout,
                    other => Failure::Text(other.to_string()),
                })?;
                if let (Ok(local), Ok(peer)) = (stream.local_addr(), stream.peer_addr()) {
                    path = format!("{local}->{peer}");
                }
                Box::new(stream)
            }
        };
        if !url.is_https() {
            return Ok((stream, path));
        }
        let stream = settings.tls.load_full().connect(stream, &address, &self.peer, deadline).await;
        let stream = stream.map_err(|error| match error {
            HandshakeError::Timeout => Failure::Timeout,
            other => Failure::Text(other.to_string()),
        })?;
        Ok((Box::new(stream), path))
    }

    /// Where the answer sends us, if we go.
    fn redirect(&self, response: &Response<Incoming>) -> Option<String> {
        let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
        let location = response.headers().get(header::LOCATION)?;
        let location = String::from_utf8_lossy(location.as_bytes()).into_owned();
        (self.follow_redirects && is_redirect && !location.is_empty()).then_some(location)
    }

    async fn judge(
        &self,
        response: Response<Incoming>,
        check: &CheckId,
        deadline: Instant,
    ) -> Outcome {
        let code = response.status();
        let status = match code.as_u16() {
            200..=299 => Status::Passing,
            429 => Status::Warning,
            _ => Status::Critical,
        };
        let reason = match response.extensions().get::<hyper::ext::ReasonPhrase>() {
            Some(reason) => String::from_utf8_lossy(reason.as_bytes()).into_owned(),
            None => code.canonical_reason().unwrap_or_default().to_owned(),
        };
        let encoding = response.headers().get(header::CONTENT_ENCODING);
        let gzip = encoding.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"gzip"));
        let mut tail = BodyTail::new(self.output_limit, gzip && self.unpack_gzip);
        let received = timeout_at(deadline, tail.receive(response.into_body())).await;
        // The status line has been given: a body that breaks off does not change it.
        let broken = match received {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error),
            Err(_) => Some("context deadline exceeded".to_owned()),
        };
        if let Some(error) = broken {
            tracing::warn!(
                target: "agent", check = %check, error = %error, "Check response body was cut short"
            );
        }
        let separator = if reason.is_empty() { "" } else { " " };
        Outcome::new(
            status,
            format!(
                "HTTP {} {}: {}{separator}{reason} Output: {}",
                self.method_text,
                self.url_text,
                code.as_u16(),
                tail.text()
            ),
        )
    }
}

fn first_hop(url: &str, method: &str, definition: &CheckDefinition) -> Result<Hop, String> {
    let parsed = Method::from_bytes(method.as_bytes())
        .map_err(|_| format!("net/http: invalid method \"{method}\""))?;
    let url = Url::parse(url)?;
    let mut hop = Hop {
        url,
        method: parsed,
        headers: HeaderMap::new(),
        host: None,
        with_body: !definition.body.is_empty(),
    };
    for (name, values) in definition.header.iter().flatten() {
        let header_name = HeaderName::try_from(name.as_str())
            .map_err(|_| format!("net/http: invalid header field name \"{name}\""))?;
        for value in values {
            let value = HeaderValue::try_from(value.as_str())
                .map_err(|_| format!("net/http: invalid header field value for \"{name}\""))?;
            if header_name == header::HOST {
                hop.host = Some(value);
            } else {
                hop.headers.append(&header_name, value);
            }
        }
    }
    let defaults =
        [(header::USER_AGENT, "Consul Health Check"), (header::ACCEPT, "text/plain, text/*, */*")];
    for (name, value) in defaults {
        hop.headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    refuse_unreachable(&hop.url)
        .map_err(|text| request_error(method, &hop.url.to_string(), &text))?;
    Ok(hop)
}

/// `Get "http://…": <text>`.
fn request_error(method: &str, url: &str, text: &str) -> String {
    let mut letters = method.chars();
    let first: String = letters.next().into_iter().collect();
    format!("{first}{} \"{url}\": {text}", letters.as_str().to_lowercase())
}

fn refuse_unreachable(url: &Url) -> Result<(), String> {
    if !matches!(url.scheme.as_str(), "http" | "https") {
        return Err(format!("unsupported protocol scheme \"{}\"", url.scheme));
    }
    if url.host_port().is_empty() {
        return Err("http: no Host in request URL".to_owned());
    }
    Ok(())
}

/// The request that `status` and `location` ask for after `hop`.
fn next_hop(hop: &Hop, status: StatusCode, location: &str) -> Result<Hop, String> {
    let url = hop.url.resolve(location)?;
    refuse_unreachable(&url)?;
    let keeps_method = matches!(status.as_u16(), 307 | 308);
    let method = match &hop.method {
        method if keeps_method || *method == Method::HEAD => method.clone(),
        _ => Method::GET,
    };
    let relative = Url::parse(location).is_ok_and(|location| !location.is_absolute());
    let mut headers = hop.headers.clone();
    let same_host = url.host() == hop.url.host()
        || url.host().strip_suffix(hop.url.host()).is_some_and(|sub| sub.ends_with('.'));
    if !same_host {
        for name in &SECRET_HEADERS {
            headers.remove(name);
        }
    }
    let referer = HeaderValue::try_from(hop.url.to_string());
    if let Ok(referer) = referer
        && (url.is_https() || !hop.url.is_https())
        && hop.url.credentials().is_none()
    {
        headers.insert(header::REFERER, referer);
    }
    Ok(Hop {
        url,
        method,
        headers,
        host: hop.host.clone().filter(|_| relative),
        with_body: hop.with_body && keeps_method,
    })
}
