//! `/v1/internal/ui/metrics-proxy/`: the way of the web UI to a metrics store
//! (`reference/http-api.md` 2.18).
//!
//! Only paths of the allow-list are asked, below `base_url`, with the query string as it came.
//! The store learns nothing of the token of whoever asks: it gets the headers of the
//! configuration instead.

use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ::acl::{Permission, Resource};
use client::{Client, Config, path_escape};
use config::runtime::MetricsProxy;
use contract::{CallError, Request, Response};
use http::{HeaderMap, HeaderName, Method, StatusCode, header};
use http_server::{Download, LocalRoute, Reply, token_in_headers};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{handler, route};
use crate::process::AgentHandle;

const PATH: &str = "/v1/internal/ui/metrics-proxy/";

/// How long the store may take to connect, and to answer. A query of Prometheus may take two
/// minutes unless its operator says otherwise.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);

/// How long the store may be silent within an answer.
const SILENCE_MAX: Duration = Duration::from_secs(60);

/// Pieces of an answer that wait for a slow client.
const PIECES_MAX: usize = 8;

/// Headers that are about a connection, not about what goes over it.
const OF_CONNECTION: &[&str] = &[
    "connection",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Headers of the request that are not for the store: what is made anew, and secrets.
const NOT_FOR_STORE: &[&str] = &["host", "content-length", "authorization", "x-consul-token"];

/// The route.
pub(crate) fn routes(agent: &AgentHandle) -> Vec<LocalRoute> {
    let proxy = (agent.clone(), Store::default());
    let ask =
        handler(
            &proxy,
            |(agent, store), request| async move { ask(&agent, &store, &request).await },
        );
    vec![route(PATH, Method::GET, ask)]
}

async fn ask(agent: &AgentHandle, store: &Store, request: &Request) -> Result<Reply, CallError> {
    let config = agent.config();
    if !config.ui.is_served() {
        return Err(CallError::not_found("UI is not enabled"));
    }
    let proxy = &config.ui.metrics_proxy;
    if proxy.base_url.is_empty() {
        return Err(CallError::not_found("Metrics proxy is not enabled"));
    }
    // A query string is the store's alone, even if there is a `token` in it.
    let token = token_in_headers(&request.headers);
    let token = token.unwrap_or_else(|| config.acl.tokens.default.clone());
    // The store knows of everything.
    let who = (agent.authorizer())(&token);
    who.require(Permission::read(Resource::Node, ""))?;
    who.require(Permission::read(Resource::Service, ""))?;
    store.ask(proxy, request).await
}

/// The connections to the store.
#[derive(Clone, Default)]
struct Store(Arc<Mutex<Option<(String, Client)>>>);

impl Store {
    async fn ask(&self, proxy: &MetricsProxy, request: &Request) -> Result<Reply, CallError> {
        let path = format!("/{}", request.tail);
        if !proxy.path_allowlist.contains(&path) {
            return Ok(Response { status: StatusCode::FORBIDDEN, ..Response::ok() }.into());
        }
        let client = self.client(&proxy.base_url).await?;
        let mut target = path_escape(&path);
        if !request.params.pairs().is_empty() {
            target.push('?');
            target.push_str(&request.params.encode());
        }
        let mut asked = client::Request::escaped(Method::GET, target);
        for (name, value) in headers_for_store(proxy, &request.headers, request.remote) {
            asked = asked.header(&name, value);
        }
        let sent = timeout(ANSWER_TIMEOUT, client.send(asked)).await;
        let problem = match sent {
            Ok(Ok(response)) => return Ok(hand_on(response)),
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("{}: no answer within {ANSWER_TIMEOUT:?}", proxy.base_url),
        };
        tracing::error!(target: "agent.ui_metrics_proxy", error = problem, "http: proxy error");
        Ok(Response { status: StatusCode::BAD_GATEWAY, ..Response::ok() }.into())
    }

    /// The client for this store; another one after a reload that names another store.
    async fn client(&self, base_url: &str) -> Result<Client, CallError> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some((_, client)) = kept.filter(|(url, _)| url == base_url) {
            return Ok(client);
        }
        let config = Config {
            address: base_url.to_owned(),
            connect_timeout: CONNECT_TIMEOUT,
            ..Config::default()
        };
        // It reads the authorities that the system trusts.
        let made = tokio::task::spawn_blocking(|| Client::new(config)).await;
        let client = made
            .map_err(|error| CallError::failed(error.to_string()))?
            .map_err(|error| CallError::failed(error.to_string()))?;
        let kept = (base_url.to_owned(), client.clone());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(client)
    }
}

/// Those of the client, but for secrets and what is about its connection; then those of the
/// configuration, which take the place of others.
fn headers_for_store(
    proxy: &MetricsProxy,
    of_client: &HeaderMap,
    remote: Option<IpAddr>,
) -> Vec<(String, String)> {
    let is_configured = |name: &HeaderName| {
        proxy.add_headers.iter().any(|(own, _)| own.eq_ignore_ascii_case(name.as_str()))
    };
    let mut headers = Vec::new();
    let mut forwarded = Vec::new();
    for (name, value) in end_to_end(of_client) {
        let Ok(value) = value.to_str() else { continue };
        if name == "x-forwarded-for" {
            forwarded.push(value.to_owned());
        } else if !NOT_FOR_STORE.contains(&name.as_str()) && !is_configured(name) {
            headers.push((name.as_str().to_owned(), value.to_owned()));
        }
    }
    forwarded.extend(remote.map(|address| address.to_string()));
    if !forwarded.is_empty() {
        headers.push(("x-forwarded-for".to_owned(), forwarded.join(", ")));
    }
    headers.extend(proxy.add_headers.iter().cloned());
    headers
}

/// Headers that are not about the connection, be it that everybody knows them or that
/// `Connection` names them.
fn end_to_end(headers: &HeaderMap) -> impl Iterator<Item = (&HeaderName, &http::HeaderValue)> {
    let named = |name: &HeaderName| {
        let lists = headers.get_all(header::CONNECTION).iter().filter_map(|v| v.to_str().ok());
        lists.flat_map(|list| list.split(',')).any(|n| n.trim().eq_ignore_ascii_case(name.as_str()))
    };
    headers.iter().filter(move |(name, _)| !OF_CONNECTION.contains(&name.as_str()) && !named(name))
}

/// The answer of the store, piece by piece.
fn hand_on(mut response: client::Response) -> Reply {
    let headers = end_to_end(response.headers()).map(|(n, v)| (n.clone(), v.clone())).collect();
    let status = response.status();
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    // It ends with the answer, or when the client has gone.
    tokio::spawn(async move {
        loop {
            let piece = match timeout(SILENCE_MAX, response.chunk()).await {
                Ok(Ok(None)) => return,
                Ok(Ok(Some(piece))) => Ok(piece),
                Ok(Err(error)) => Err(io::Error::other(error.to_string())),
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            };
            let is_last = piece.is_err();
            if sender.send(piece).await.is_err() || is_last {
                return;
            }
        }
    });
    let response = Response { status, ..Response::ok() };
    Reply { download: Some(Download { headers, pieces }), ..Reply::from(response) }
}

#[cfg(test)]
mod tests {
    use bytes::{Bytes, BytesMut};
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::super::metrics::tests::request;
    use super::*;

    /// A store that answers one request after the other with the same bytes. Gives its
    /// address, and the heads of requests as they come.
    async fn store(answer: &'static str) -> (String, mpsc::Receiver<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (sender, heads) = mpsc::channel(10);
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match stream.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8_lossy(&head).to_lowercase();
                if sender.send(head).await.is_err() {
                    return;
                }
                // The client may have gone.
                let _ = stream.write_all(answer.as_bytes()).await;
            }
        });
        (address, heads)
    }

    fn proxy(base_url: String) -> MetricsProxy {
        MetricsProxy {
            base_url,
            add_headers: vec![("Authorization".to_owned(), "Basic c3RvcmU=".to_owned())],
            path_allowlist: vec!["/api/v1/query".to_owned()],
        }
    }

    fn asking(tail: &str, params: &[(&str, &str)]) -> Request {
        let mut request = request(&format!("{PATH}{tail}"), params);
        request.tail = tail.to_owned();
        request.remote = Some(IpAddr::from([10, 0, 0, 9]));
        for (name, value) in [
            ("x-consul-token", "secret"),
            ("authorization", "Bearer secret"),
            ("connection", "close, x-hop"),
            ("x-hop", "1"),
            ("accept", "application/json"),
            ("x-forwarded-for", "192.0.2.1"),
        ] {
            let name = HeaderName::from_static(name);
            request.headers.insert(name, value.parse().expect("a value"));
        }
        request
    }

    async fn body(reply: Reply) -> io::Result<Bytes> {
        let mut pieces = reply.download.expect("it is handed on").pieces;
        let mut whole = BytesMut::new();
        while let Some(piece) = pieces.recv().await {
            whole.extend_from_slice(&piece?);
        }
        Ok(whole.freeze())
    }

    #[tokio::test]
    async fn the_store_gets_the_question_without_the_secrets_of_whoever_asks() {
        let (address, mut heads) = store(
            "HTTP/1.1 422 Unprocessable Entity\r\nContent-Type: application/json\r\n\
             Keep-Alive: timeout=5\r\nX-Store: prom\r\nContent-Length: 2\r\n\r\n{}",
        )
        .await;
        let proxy = proxy(format!("http://{address}/prom/"));
        let request = asking("api/v1/query", &[("query", "up{a=\"b\"}"), ("token", "t")]);
        let reply = Store::default().ask(&proxy, &request).await.expect("it may be asked");
        assert_eq!(reply.response.status, StatusCode::UNPROCESSABLE_ENTITY);
        let headers = &reply.download.as_ref().expect("it is handed on").headers;
        assert_eq!(
            (&headers["x-store"], headers.get("keep-alive")),
            (&"prom".parse().unwrap(), None)
        );
        assert_eq!(headers["content-type"], "application/json");
        assert_eq!(body(reply).await.expect("it is whole"), "{}");

        let head = heads.recv().await.expect("it was asked");
        let first = "get /prom/api/v1/query?query=up%7ba%3d%22b%22%7d&token=t http/1.1\r\n";
        assert!(head.starts_with(first), "{head}");
        for line in [
            &format!("\r\nhost: {address}\r\n"),
            "\r\nauthorization: basic c3rvcmu=\r\n",
            "\r\naccept: application/json\r\n",
            "\r\nx-forwarded-for: 192.0.2.1, 10.0.0.9\r\n",
        ] {
            assert!(head.contains(line), "{line} in {head}");
        }
        assert!(!head.contains("secret") && !head.contains("x-hop"), "{head}");
    }

    #[tokio::test]
    async fn paths_that_are_not_on_the_list_are_forbidden() {
        let proxy = proxy("http://127.0.0.1:1".to_owned());
        for path in ["api/v1/query/", "api/v1/series", "", "api/v1/query%2F.."] {
            let reply = Store::default().ask(&proxy, &asking(path, &[])).await.expect("an answer");
            assert_eq!(reply.response.status, StatusCode::FORBIDDEN, "{path}");
        }
    }

    #[tokio::test]
    async fn a_store_that_is_away_is_a_bad_gateway_and_one_that_breaks_off_breaks_the_answer() {
        let store_of = Store::default();
        let asked = asking("api/v1/query", &[]);
        let away = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = away.local_addr().expect("it is bound");
        drop(away);
        let reply = store_of.ask(&proxy(format!("http://{address}")), &asked).await;
        assert_eq!(reply.expect("an answer").response.status, StatusCode::BAD_GATEWAY);

        let (address, _heads) = store("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhalf").await;
        let reply = store_of.ask(&proxy(format!("http://{address}")), &asked).await;
        body(reply.expect("it begins well")).await.expect_err("it does not end well");
    }
}
