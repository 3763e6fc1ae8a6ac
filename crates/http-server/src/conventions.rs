//! One request from its head to its response.

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use contract::{CacheKind, Call, CallError, Encoding, Request, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use types::SecretId;

use crate::path::{self, Decoded};
use crate::reply::{self, Reply, WireBody};
use crate::router::{Entry, Handler, Verb};
use crate::{Backend, HttpSettings, ReadMeta, Router, Upload};

/// Most bytes of a request body. Values have limits of their own below this.
const BODY_BYTES_MAX: usize = 64 << 20;

/// Answers requests.
pub struct HttpService {
    settings: Arc<ArcSwap<HttpSettings>>,
    router: Router,
    backend: Arc<dyn Backend>,
}

type HttpResponse = http::Response<WireBody>;

impl HttpService {
    /// A service of these routes.
    pub fn new(
        settings: Arc<ArcSwap<HttpSettings>>,
        router: Router,
        backend: Arc<dyn Backend>,
    ) -> Self {
        Self { settings, router, backend }
    }

    /// Answers one request.
    pub async fn handle(
        &self,
        request: http::Request<Incoming>,
        remote: Option<SocketAddr>,
    ) -> HttpResponse {
        let settings = self.settings.load_full();
        let mut headers = HeaderMap::new();
        for (name, value) in &settings.response_headers {
            headers.append(name.clone(), value.clone());
        }
        let (parts, body) = request.into_parts();
        let path = match path::decode_path(parts.uri.path(), settings.allow_unprintable) {
            Decoded::Path(path) => path,
            Decoded::Malformed => {
                let response = Response::text(StatusCode::BAD_REQUEST, "400 Bad Request");
                return send(response.into(), headers, false, false);
            }
            Decoded::Unprintable => {
                return raw(StatusCode::BAD_REQUEST, headers, WireBody::empty());
            }
        };
        if !path::is_clean(&path) {
            let clean = path::clean_path(&path);
            return redirect(StatusCode::TEMPORARY_REDIRECT, &clean, &parts, headers);
        }
        let Some((entry, tail)) = self.router.find(&path) else {
            return self.unrouted(&path, &parts, &settings, headers).await;
        };
        let exchange = Exchange { settings: &settings, entry, parts: &parts, remote };
        exchange.answer(&*self.backend, &path, tail, body, headers).await
    }

    /// Paths that no route claims: the UI, redirects, and everything that does not exist.
    async fn unrouted(
        &self,
        path: &str,
        parts: &http::request::Parts,
        settings: &HttpSettings,
        headers: HeaderMap,
    ) -> HttpResponse {
        let text = |status, text: &str| -> Reply { Response::text(status, text).into() };
        if self.router.wants_slash(path) {
            return redirect(StatusCode::TEMPORARY_REDIRECT, &format!("{path}/"), parts, headers);
        }
        if path == "/robots.txt" {
            let robots = "# http://www.robotstxt.org\nUser-agent: *\nDisallow: /\n";
            return send(text(StatusCode::OK, robots), headers, false, false);
        }
        if let Some(ui) = &settings.ui {
            if path == "/" && ui.path != "/" {
                return redirect(StatusCode::MOVED_PERMANENTLY, &ui.path, parts, headers);
            }
            if path == ui.path.trim_end_matches('/') {
                return redirect(StatusCode::TEMPORARY_REDIRECT, &ui.path, parts, headers);
            }
            if let Some(rest) = path.strip_prefix(&ui.path)
                && !path.starts_with("/v1/")
            {
                let gzip = accepts_gzip(&parts.headers);
                return send(ui.answer(rest).await, headers, gzip, false);
            }
        } else if path == "/" {
            let off = "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in the \
                       agent configuration and restart.";
            return send(text(StatusCode::OK, off), headers, false, false);
        }
        let missing = if path.contains("/v1/") {
            "Invalid URL path: not a recognized HTTP API endpoint\n"
        } else {
            "Invalid URL path: if attempting to use the HTTP API, ensure the path starts with '/v1/'\n"
        };
        send(text(StatusCode::NOT_FOUND, missing), headers, false, false)
    }
}

/// One request that a route claims.
struct Exchange<'e> {
    settings: &'e HttpSettings,
    entry: &'e Entry,
    parts: &'e http::request::Parts,
    remote: Option<SocketAddr>,
}

impl Exchange<'_> {
    async fn answer(
        &self,
        backend: &dyn Backend,
        path: &str,
        tail: &str,
        body: Incoming,
        mut headers: HeaderMap,
    ) -> HttpResponse {
        headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        // Profiles are no part of the API.
        if !self.entry.path.starts_with("/debug/") {
            headers.insert(
                "x-consul-default-acl-policy",
                HeaderValue::from_static(self.settings.default_acl_policy),
            );
        }
        if self.settings.translate_wan_addrs {
            headers.insert("x-consul-translate-addresses", HeaderValue::from_static("true"));
        }
        let verb = match self.admit(path) {
            Ok(verb) => verb,
            Err(reply) => return send(*reply, headers, false, false),
        };
        let accepts_gzip = accepts_gzip(&self.parts.headers);
        let Some(params) = path::parse_query(self.parts.uri.query().unwrap_or("")) else {
            let nothing = Response::text(StatusCode::INTERNAL_SERVER_ERROR, "");
            return send(nothing.into(), headers, false, false);
        };
        let (body, upload) = match verb.handler {
            Handler::Upload(_) => (Bytes::new(), Some(Upload(body))),
            _ => match collect(body).await {
                Ok(body) => (body, None),
                Err(response) => return send((*response).into(), headers, false, false),
            },
        };
        let newline = params.has("pretty");
        let encoding = match newline || self.settings.facts.indents {
            true => Encoding::Indented,
            false => Encoding::Compact,
        };
        let token = self.token(params.text("token"));
        let request = Request {
            method: self.parts.method.clone(),
            path: path.to_owned(),
            tail: tail.to_owned(),
            params,
            headers: self.parts.headers.clone(),
            body,
            token,
            remote: self.remote.map(|remote| remote.ip()),
            agent: Arc::clone(&self.settings.facts),
        };
        let started = std::time::Instant::now();
        let reply = run(&verb.handler, backend, request, upload, encoding).await;
        let took = started.elapsed();
        self.log(&reply, took);
        let node = self.settings.facts.node.as_str();
        verb.metrics.record(&self.parts.method, self.entry.path, node, &reply, took);
        send(reply, headers, accepts_gzip, newline)
    }

    /// Blocked paths, `OPTIONS`, wrong methods and restricted writers.
    fn admit(&self, path: &str) -> Result<&Verb, Box<Reply>> {
        let refuse = |status, text: String| Box::new(Reply::from(Response::text(status, text)));
        if self.settings.block_endpoints.iter().any(|blocked| path.starts_with(blocked.as_str())) {
            let text = "Endpoint is blocked by agent configuration".to_owned();
            return Err(refuse(StatusCode::FORBIDDEN, text));
        }
        let method = &self.parts.method;
        let is_read = matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS);
        if !is_read && !self.may_write() {
            return Err(refuse(StatusCode::FORBIDDEN, "Access is restricted".to_owned()));
        }
        if method == Method::OPTIONS && !self.entry.answers_options() {
            let options = Response::ok().with_header("Allow", self.entry.allow.clone());
            return Err(Box::new(options.into()));
        }
        self.entry.verb(method).ok_or_else(|| {
            let text = format!("method {method} not allowed");
            let response = Response::text(StatusCode::METHOD_NOT_ALLOWED, text);
            Box::new(response.with_header("Allow", self.entry.allow.clone()).into())
        })
    }

    /// The lines that operators look for (`reference/telemetry.md` section 4).
    fn log(&self, reply: &Reply, latency: std::time::Duration) {
        let method = &self.parts.method;
        if self.parts.uri.query().is_some_and(path::has_token) {
            let url = path::without_token(&self.parts.uri);
            tracing::warn!(
                target: "agent.http",
                logUrl = %url,
                "This request used the token query parameter which is deprecated and will be \
                 removed in a future Consul version"
            );
        }
        if let Some(error) = &reply.error {
            let (url, from) = (path::without_token(&self.parts.uri), self.from());
            tracing::error!(target: "agent.http", %method, %url, from, error, "Request error");
        }
        if tracing::enabled!(target: "agent.http", tracing::Level::DEBUG) {
            let (url, from) = (path::without_token(&self.parts.uri), self.from());
            let latency = types::GoDuration::from(latency);
            tracing::debug!(target: "agent.http", %method, %url, from, %latency, "Request finished");
        }
    }

    fn from(&self) -> String {
        self.remote.map(|address| address.to_string()).unwrap_or_default()
    }

    /// A request over a unix socket has no address, and so none that is restricted.
    fn may_write(&self) -> bool {
        let allowed = &self.settings.allow_write_from;
        match self.remote {
            Some(address) if !allowed.is_empty() => {
                allowed.iter().any(|network| network.contains(&address.ip()))
            }
            _ => true,
        }
    }

    /// The first token that is given (`reference/http-api.md` 1.3).
    fn token(&self, in_query: &str) -> SecretId {
        if !in_query.is_empty() {
            return SecretId::from(in_query);
        }
        let in_headers = token_in_headers(&self.parts.headers);
        in_headers.unwrap_or_else(|| self.settings.default_token.clone())
    }
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let accepted = headers.get(header::ACCEPT_ENCODING);
    accepted.and_then(|value| value.to_str().ok()).is_some_and(|value| {
        value.split(',').any(|coding| {
            let (name, quality) = coding.split_once(';').unwrap_or((coding, ""));
            name.trim() == "gzip" && quality.trim() != "q=0"
        })
    })
}

/// The first token that headers give.
pub fn token_in_headers(headers: &HeaderMap) -> Option<SecretId> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if let Some(token) = text("x-consul-token").filter(|token| !token.is_empty()) {
        return Some(SecretId::from(token));
    }
    let mut words = text("authorization").unwrap_or("").split_ascii_whitespace();
    let is_bearer = words.next().is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"));
    words.next().filter(|_| is_bearer).map(SecretId::from)
}

async fn run(
    handler: &Handler,
    backend: &dyn Backend,
    request: Request,
    upload: Option<Upload>,
    encoding: Encoding,
) -> Reply {
    let client = request.remote;
    let call = match handler {
        Handler::Local(handler) => {
            return handler(request).await.unwrap_or_else(|error| failed(&error, None));
        }
        Handler::Upload(handler) => {
            let upload = upload.expect("the body of an upload is not collected");
            return handler(request, upload).await.unwrap_or_else(|error| failed(&error, None));
        }
        Handler::Domain(handler) => match handler(&request) {
            Ok(call) => call,
            Err(error) => return failed(&error, None),
        },
    };
    let told = match &call {
        Call::Read(read) if read.facts_with_error && read.cache != CacheKind::Streamed => {
            Some(ReadMeta::unknown())
        }
        Call::Act(_) => Some(ReadMeta::unknown()),
        _ => None,
    };
    match backend.run(call, encoding, client).await {
        Ok(outcome) => Reply { meta: outcome.meta, ..Reply::from(outcome.response) },
        Err(error) => failed(&error, told),
    }
}

/// All of a body, within the limit.
async fn collect(body: Incoming) -> Result<Bytes, Box<Response>> {
    match Limited::new(body, BODY_BYTES_MAX).collect().await {
        // The bytes are a part of the connection's read buffer; whoever keeps a small
        // value must not keep that whole buffer alive.
        Ok(body) => Ok(Bytes::copy_from_slice(&body.to_bytes())),
        Err(error) if error.is::<http_body_util::LengthLimitError>() => {
            let text = format!("Request body too large, max size: {BODY_BYTES_MAX} bytes");
            Err(Box::new(Response::text(StatusCode::PAYLOAD_TOO_LARGE, text)))
        }
        Err(error) => {
            let text = format!("Cannot read the body: {error}");
            Err(Box::new(Response::text(StatusCode::BAD_REQUEST, text)))
        }
    }
}

fn failed(error: &CallError, meta: Option<ReadMeta>) -> Reply {
    let error_text = Some(error.text().to_owned());
    Reply { meta, error: error_text, ..Reply::from(reply::error_response(error)) }
}

fn send(reply: Reply, mut headers: HeaderMap, accepts_gzip: bool, newline: bool) -> HttpResponse {
    let (status, body) = reply::finish(reply, &mut headers, accepts_gzip, newline);
    raw(status, headers, body)
}

fn raw(status: StatusCode, headers: HeaderMap, body: WireBody) -> HttpResponse {
    let mut response = http::Response::new(body);
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

/// A redirect as Go's server sends it: with a link for people who read it with GET.
fn redirect(
    status: StatusCode,
    to: &str,
    parts: &http::request::Parts,
    mut headers: HeaderMap,
) -> HttpResponse {
    let mut location = to.to_owned();
    if let Some(query) = parts.uri.query() {
        location.push('?');
        location.push_str(query);
    }
    let Ok(value) = HeaderValue::from_str(&location) else {
        return raw(StatusCode::BAD_REQUEST, headers, WireBody::empty());
    };
    headers.insert(header::LOCATION, value);
    if parts.method != Method::GET {
        return raw(status, headers, WireBody::empty());
    }
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    let reason = status.canonical_reason().unwrap_or("Redirect");
    let escaped = location.replace('&', "&amp;").replace('"', "&#34;").replace('<', "&lt;");
    let page = format!("<a href=\"{escaped}\">{reason}</a>.\n\n");
    raw(status, headers, WireBody::Full(Some(page.into())))
}
