//! The proxies of the environment, by the rules of Go's `net/http`
//! (<https://pkg.go.dev/golang.org/x/net/http/httpproxy>): `HTTP_PROXY`,
//! `HTTPS_PROXY` and `NO_PROXY`, also in lower case. This machine is never
//! reached through a proxy.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use ipnet::IpNet;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use super::body::Stream;
use super::tls::Peer;
use super::url::Url;
use super::{Settings, dial};

/// A proxy's answer to CONNECT may have this many bytes.
const CONNECT_ANSWER_MAX: usize = 16 * 1024;

/// Which proxy HTTP checks go through. The default is none at all.
#[derive(Clone, Default)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    exceptions: Vec<Exception>,
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |url: &Option<Url>| url.as_ref().map(Url::to_string);
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("exceptions", &self.exceptions)
            .finish()
    }
}

/// One entry of `NO_PROXY`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Exception {
    host: ExceptionHost,
    port: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum ExceptionHost {
    Any,
    Network(IpNet),
    /// A domain, and whether its own name counts too.
    Domain {
        suffix: String,
        itself: bool,
    },
}

impl Proxies {
    /// Reads the variables through `variable` (`std::env::var(name).ok()`). A
    /// proxy that is no URL is left out.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let get = |name: &str| {
            let found = variable(name).filter(|text| !text.is_empty());
            found.or_else(|| variable(&name.to_ascii_lowercase())).unwrap_or_default()
        };
        Self {
            http: read_proxy(&get("HTTP_PROXY")),
            https: read_proxy(&get("HTTPS_PROXY")),
            exceptions: get("NO_PROXY").split(',').filter_map(read_exception).collect(),
        }
    }

    /// The proxy for `url`, `None` for a direct connection.
    pub(super) fn for_url(&self, url: &Url) -> Option<&Url> {
        let proxy = if url.is_https() { self.https.as_ref() } else { self.http.as_ref() }?;
        let host = url.host().to_ascii_lowercase();
        let ip = host.parse::<IpAddr>().ok();
        if host == "localhost" || ip.is_some_and(|ip| ip.is_loopback()) {
            return None;
        }
        let excepted = |exception: &Exception| {
            let port_fits = exception.port.as_deref().is_none_or(|port| port == url.port());
            port_fits
                && match (&exception.host, ip) {
                    (ExceptionHost::Any, _) => true,
                    (ExceptionHost::Network(network), Some(ip)) => network.contains(&ip),
                    (ExceptionHost::Domain { suffix, itself }, None) => {
                        host.ends_with(suffix) || (*itself && host == suffix[1..])
                    }
                    _ => false,
                }
        };
        if self.exceptions.iter().any(excepted) { None } else { Some(proxy) }
    }
}

fn read_proxy(text: &str) -> Option<Url> {
    if text.is_empty() {
        return None;
    }
    let full = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    Url::parse(&full).ok()
}

fn read_exception(text: &str) -> Option<Exception> {
    let text = text.trim().to_ascii_lowercase();
    if text.is_empty() {
        return None;
    }
    if text == "*" {
        return Some(Exception { host: ExceptionHost::Any, port: None });
    }
    if let Ok(network) = text.parse::<IpNet>() {
        return Some(Exception { host: ExceptionHost::Network(network), port: None });
    }
    let (host, port) = match dial::split_host_port(&text) {
        Ok((host, port)) => (host, Some(port.to_owned())),
        Err(_) => (text.as_str(), None),
    };
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = match host.parse::<IpAddr>() {
        Ok(ip) => ExceptionHost::Network(ip.into()),
        Err(_) => {
            let bare = host.trim_start_matches('*').trim_start_matches('.');
            if bare.is_empty() {
                return None;
            }
            ExceptionHost::Domain { suffix: format!(".{bare}"), itself: host == bare }
        }
    };
    Some(Exception { host, port })
}

/// The value of `Authorization` or `Proxy-Authorization` for `url`'s user.
pub(super) fn basic_authorization(url: &Url) -> Option<String> {
    let (name, password) = url.credentials()?;
    let encoded = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    Some(format!("Basic {encoded}"))
}

/// A connection to `proxy`, ready for requests with a full URL.
pub(super) async fn connect(
    proxy: &Url,
    settings: &Settings,
    deadline: Instant,
) -> Result<Box<dyn Stream>, String> {
    let address = proxy.address();
    match proxy.scheme.as_str() {
        "http" | "https" => {}
        other => return Err(format!("unsupported proxy scheme \"{other}\"")),
    }
    let failed = |error: String| format!("proxyconnect tcp: {error}");
    let stream = dial::tcp(&address, deadline).await.map_err(|error| failed(error.to_string()))?;
    if !proxy.is_https() {
        return Ok(Box::new(stream));
    }
    let stream = settings.tls.load_full().connect(stream, &address, &Peer::proxy(), deadline).await;
    Ok(Box::new(stream.map_err(|error| failed(error.to_string()))?))
}

/// Asks the proxy at the other end of `stream` for a tunnel to `address`.
pub(super) async fn open_tunnel(
    stream: &mut dyn Stream,
    proxy: &Url,
    address: &str,
) -> Result<(), String> {
    let mut request = format!("CONNECT {address} HTTP/1.1\r\nHost: {address}\r\n");
    if let Some(authorization) = basic_authorization(proxy) {
        request.push_str(&format!("Proxy-Authorization: {authorization}\r\n"));
    }
    request.push_str("\r\n");
    let failed = |error: std::io::Error| dial::errno_text(&error);
    stream.write_all(request.as_bytes()).await.map_err(failed)?;
    stream.flush().await.map_err(failed)?;
    // Byte by byte, so that nothing that follows the answer is swallowed.
    let mut answer = Vec::new();
    while !answer.ends_with(b"\r\n\r\n") {
        if answer.len() == CONNECT_ANSWER_MAX {
            return Err("the proxy's answer to CONNECT is too long".to_owned());
        }
        answer.push(stream.read_u8().await.map_err(|_| "unexpected EOF".to_owned())?);
    }
    let answer = String::from_utf8_lossy(&answer);
    let status = answer.lines().next().unwrap_or_default();
    match status.split_once(' ') {
        Some((_, status)) if status.starts_with("200") => Ok(()),
        Some((_, status)) => {
            Err(status.split_once(' ').map_or(status, |(_, text)| text).to_owned())
        }
        None => Err(format!("malformed HTTP response \"{status}\"")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxies(no_proxy: &str) -> Proxies {
        let no_proxy = no_proxy.to_owned();
        Proxies::from_variables(move |name| match name {
            "HTTP_PROXY" => Some("proxy.local:3128".to_owned()),
            "https_proxy" => Some("https://me:pw@secure.local".to_owned()),
            "NO_PROXY" => Some(no_proxy.clone()),
            _ => None,
        })
    }

    #[test]
    fn the_scheme_chooses_the_proxy_and_exceptions_go_direct() {
        let cases = [
            ("", "http://web/", "http://proxy.local:3128"),
            ("", "https://web/", "https://me:***@secure.local"),
            ("", "http://127.0.0.1:80/", ""),
            ("", "http://localhost/", ""),
            ("*", "http://web/", ""),
            ("example.com", "http://example.com/", ""),
            ("example.com", "http://a.example.com/", ""),
            (".example.com", "http://example.com/", "http://proxy.local:3128"),
            (".example.com", "http://a.example.com/", ""),
            ("10.0.0.0/8, 192.0.2.1", "http://10.1.2.3/", ""),
            ("10.0.0.0/8, 192.0.2.1", "http://192.0.2.1/", ""),
            ("10.0.0.0/8, 192.0.2.1", "http://192.0.2.2/", "http://proxy.local:3128"),
            ("web:8080", "http://web:8080/", ""),
            ("web:8080", "http://web/", "http://proxy.local:3128"),
        ];
        for (no_proxy, url, expect) in cases {
            let got = proxies(no_proxy).for_url(&Url::parse(url).unwrap()).map(Url::to_string);
            assert_eq!(got.unwrap_or_default(), expect, "{no_proxy} {url}");
        }
    }
}
